"""Runtimes for the tests of this folder, among them engines of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecs_exec_magic.sandbox.namespaces import UnshareRuntime
from ecs_exec_magic.sandbox.runtimes import (
    BubblewrapRuntime,
    LocalRuntime,
    ProcessRuntime,
    Runtime,
    choose,
)

from .helpers import marked

ISOLATED = ["bwrap", "unshare"]
ENGINES = ["docker", "podman"]

_CONTAINERS_CONF = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
init_path = "/usr/bin/catatonit"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def local(name: str) -> LocalRuntime:
    """A runtime of this host by its name."""
    if name == "process":
        return ProcessRuntime()
    if sys.platform != "linux":
        pytest.skip("isolated containers of the host's own are Linux's")
    return UnshareRuntime() if name == "unshare" else BubblewrapRuntime("/usr/bin/bwrap")


@pytest.fixture(params=[*ISOLATED, "process"])
def rung(request: pytest.FixtureRequest) -> LocalRuntime:
    """Each of the host's own rungs."""
    return local(request.param)


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest) -> LocalRuntime:
    """Each of the host's own rungs that isolates."""
    return local(request.param)


def _serve(name: str, directory: Path) -> tuple[list[str], dict[str, str], Path]:
    socket = directory / "engine.sock"
    if name == "docker":
        options = ["--data-root", "data", "--exec-root", "exec", "--pidfile", "pid"]
        paths = [o if o.startswith("-") else str(directory / o) for o in options]
        return ["dockerd", *paths, "-H", f"unix://{socket}"], {}, socket
    settings = directory / "containers.conf"
    settings.write_text(_CONTAINERS_CONF)
    options = ["--root", "root", "--runroot", "run", "--tmpdir", "tmp"]
    paths = [o if o.startswith("-") else str(directory / o) for o in options]
    command = ["podman", *paths, "system", "service", "-t", "0", f"unix://{socket}"]
    return command, {"CONTAINERS_CONF": str(settings)}, socket


def _engine(name: str, directory: Path) -> Iterator[str]:
    if sys.platform != "linux" or (os.geteuid() != 0 and "CI" not in os.environ):
        pytest.skip("the engines of these tests need root on Linux")
    command, environment, socket = _serve(name, directory)
    assert shutil.which(command[0]), f"{command[0]} is not installed"
    log = directory / "log"
    with log.open("wb") as output:
        engine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30
        while not socket.exists():
            assert engine.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(30)
        finally:
            engine.kill()
            engine.wait()
            for pid in marked(f"{directory}/"):  # Podman's monitors stay for five minutes
                os.kill(int(pid), signal.SIGKILL)
            _unmount(directory)  # Podman leaves its storage mounted


def _unmount(directory: Path) -> None:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed(places):
        if place.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", place], check=False)


@pytest.fixture(scope="session")
def docker_url() -> Iterator[str]:
    """A Docker of our own."""
    with tempfile.TemporaryDirectory(prefix="docker-", ignore_cleanup_errors=True) as directory:
        yield from _engine("docker", Path(directory))


@pytest.fixture(scope="session")
def podman_url() -> Iterator[str]:
    """A Podman of our own."""
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as directory:
        yield from _engine("podman", Path(directory))


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine by its name, with ``DOCKER_HOST`` set to it."""
    monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue(f"{request.param}_url"))
    return str(request.param)


@pytest.fixture
def engine(engine_name: str) -> Iterator[Runtime]:
    """Each engine, not allowed to fetch images."""
    runtime = choose(engine_name, pull=False)
    yield runtime
    runtime.close()
