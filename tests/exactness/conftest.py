"""Containers whose ``sh`` is dash, bash or busybox ash, reached in every way there is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.results import CommandResult
from ecs_exec_magic.sandbox import Sandbox

from ..runtimes import WITHOUT_ENGINE

SHELLS = {"dash": "/bin/dash", "bash": "/bin/bash", "ash": "/bin/busybox"}
WAYS = ("terminal", "terminal+kms", "pipes")


@dataclass(frozen=True)
class Container:
    """One container and one way into it."""

    target: Target
    shell: str
    way: str
    sandbox: Sandbox

    @property
    def pipes(self) -> bool:
        return self.way == "pipes"

    def run(self, command: Any, **how: Any) -> CommandResult:
        return self.target.run(command, **self._how(how))

    def script(self, body: str, **how: Any) -> CommandResult:
        return self.target.script(body, **self._how(how))

    def stream(self, command: Any, **how: Any) -> Any:
        return self.target.stream(command, **self._how(how))

    def _how(self, how: dict[str, Any]) -> dict[str, Any]:
        return {"method": "start-session" if self.pipes else "execute-command", **how}


def until_gone(pattern: str) -> str:
    """Shell code that waits until no process has such words as its own."""
    return f"for n in $(seq 200); do pgrep -f {pattern!r} || exit 0; sleep 0.3; done; exit 1"


def no_sigint(container: Container) -> bool:
    """Whether children ignore SIGINT: without a terminal, busybox ash has no way to change that."""
    return container.pipes and container.shell == "ash"


@pytest.fixture(scope="session")
def cluster() -> Iterator[tuple[Sandbox, Client, dict[str, Target]]]:
    """A practice cluster, and a container for each shell."""
    missing = [path for path in SHELLS.values() if shutil.which(path) is None]
    assert not missing, f"these tests need {missing}: apt-get install dash bash busybox-static"
    with package.start(pace="fast", runtime=WITHOUT_ENGINE) as sandbox:
        client = ecs.connect(
            endpoint_url=sandbox.url,
            session=boto3.Session("AKIATEST", "secret", region_name="us-east-1"),
        )
        targets = dict(zip(SHELLS, client.targets("demo/web:nginx"), strict=True))
        for name, path in SHELLS.items():
            targets[name].run(f"ln -sf {path} /usr/local/bin/sh", check=True)
        yield sandbox, client, targets


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest, cluster: Any) -> str:
    """The way into the containers."""
    return opened(cluster, str(request.param))


def opened(cluster: Any, way: str) -> str:
    """Make a way into the containers; with KMS the cluster has a key for its sessions."""
    sandbox, _, _ = cluster
    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    key = ""
    if way == "terminal+kms":
        made = session.client("kms", endpoint_url=sandbox.url).create_key()
        key = made["KeyMetadata"]["Arn"]
    configuration: dict[str, Any] = {"logging": "DEFAULT"}
    if key:
        configuration["kmsKeyId"] = key
    session.client("ecs", endpoint_url=sandbox.url).update_cluster(
        cluster="demo", configuration={"executeCommandConfiguration": configuration}
    )
    return way


@pytest.fixture(params=SHELLS)
def container(request: pytest.FixtureRequest, way: str, cluster: Any) -> Container:
    """A container in which ``sh`` is a given shell, and a way into it."""
    sandbox, _, targets = cluster
    return Container(targets[request.param], request.param, way, sandbox)


@pytest.fixture
def terminal(container: Container) -> Container:
    """Only the ways that take input: a session with pipes has none (PROTOCOL 6.12)."""
    if container.pipes:
        with pytest.raises(ecs.MethodUnavailable, match="no stdin"):
            container.run("cat", stdin="x")
    return container
