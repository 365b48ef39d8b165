"""Containers whose shell and tools differ, and whose faults are cleared after each test."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.client import Target
from ecs_exec_magic.sandbox import Sandbox

from ..runtimes import WITHOUT_ENGINE

IMAGES = ("dash", "bash", "ash", "no-tar", "bare")
"""Their shells, and what they lack; ``bare`` has neither tar, gzip nor any SHA-256."""

_STUB = "printf '#!/bin/sh\\nexit 127\\n' >/usr/local/bin/{0}; chmod +x /usr/local/bin/{0}; "
_LACK: dict[str, tuple[str, ...]] = {
    "no-tar": ("tar",),
    "bare": ("tar", "gzip", "sha256sum", "busybox", "openssl"),
}


@pytest.fixture(scope="session")
def _cluster() -> Iterator[tuple[Sandbox, dict[str, Target]]]:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE) as sandbox:
        session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
        client = ecs.connect(endpoint_url=sandbox.url, session=session)
        found = [*client.targets("demo/web:nginx"), *client.targets("demo/web:sidecar")]
        targets = dict(zip(IMAGES, found, strict=False))
        for name, target in targets.items():
            for tool in _LACK.get(name, ()):
                target.run(_STUB.format(tool), check=True)
        targets["bash"].run("ln -sf /bin/bash /usr/local/bin/sh", check=True)
        targets["ash"].run("ln -sf /bin/busybox /usr/local/bin/sh", check=True)
        yield sandbox, targets


@pytest.fixture
def cluster(_cluster: Any) -> Iterator[Sandbox]:
    sandbox: Sandbox = _cluster[0]
    yield sandbox
    sandbox.faults.clear()


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest, cluster: Sandbox, _cluster: Any) -> Target:
    """Each of the containers."""
    target: Target = _cluster[1][request.param]
    return emptied(target)


@pytest.fixture
def target(cluster: Sandbox, _cluster: Any) -> Target:
    """One that has everything."""
    target: Target = _cluster[1]["dash"]
    return emptied(target)


def emptied(target: Target) -> Target:
    target.run("rm -rf /tmp/t; mkdir /tmp/t", check=True)
    return target


def temporaries(target: Target) -> list[str]:
    """What copies have left behind in the container."""
    found = target.run("find / -xdev -name '.ecs-cp-*' 2>/dev/null").stdout
    return [line for line in found.splitlines() if line]


def seen(top: Path, *, times: bool = True) -> dict[bytes, tuple[Any, ...]]:
    """All that is in a tree: kind, mode, time in seconds, content."""
    found: dict[bytes, tuple[Any, ...]] = {}
    raw = os.fsencode(top)
    paths = [raw]
    for directory, below, names in os.walk(raw):
        paths += [os.path.join(directory, name) for name in [*below, *names]]
    for path in paths:
        status = os.lstat(path)
        name = os.path.relpath(path, raw)
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link", os.readlink(path))
            continue
        mode, when = status.st_mode & 0o777, int(status.st_mtime) if times else 0
        if stat.S_ISDIR(status.st_mode):
            found[name] = ("directory", mode)
        else:
            found[name] = ("file", mode, when, Path(os.fsdecode(path)).read_bytes())
    return found
