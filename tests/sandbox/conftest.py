"""Practice clusters and clients for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import Sandbox

from ..runtimes import WITHOUT_ENGINE


def left_idle(sandbox: Sandbox, session_id: str, share: float = 1.0) -> None:
    """Let a session be older by a share of the time it may be idle, and the gateway look at it."""
    gateway = sandbox._server.gateway
    session = gateway.sessions[session_id]

    async def look() -> None:
        session.last_traffic -= share * gateway.idle_limit
        gateway._watch(session)

    sandbox.call(look())


class Cluster:
    """A sandbox with boto3 clients for it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.account = sandbox.account_id
        session = boto3.Session(
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        self.ecs, self.ssm, self.kms, self.sts = (
            session.client(name, endpoint_url=sandbox.url) for name in ("ecs", "ssm", "kms", "sts")
        )

    def task(self, family: str = "worker", index: int = 0) -> dict[str, Any]:
        arns = self.ecs.list_tasks(cluster="demo", family=family)["taskArns"]
        found = self.ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"]
        task: dict[str, Any] = found[index]
        return task

    def execute(
        self, command: str, family: str = "worker", container: str = "worker", index: int = 0
    ) -> dict[str, str]:
        answer = self.ecs.execute_command(
            cluster="demo",
            task=self.task(family, index)["taskArn"],
            container=container,
            interactive=True,
            command=command,
        )
        session: dict[str, str] = answer["session"]
        return session

    def subnets(self) -> list[str]:
        """Subnets of the account's default network."""
        network = self.sandbox._server.world.network
        found: list[str] = self.sandbox.call(network.defaults("us-east-1"))[0]
        return found

    def target(self, family: str = "worker", index: int = 0) -> str:
        task = self.task(family, index)
        task_id = task["taskArn"].rpartition("/")[2]
        return f"ecs:demo_{task_id}_{task['containers'][0]['runtimeId']}"

    def batch(self, command: str, *, separate: bool = True) -> dict[str, str]:
        parameters = {"command": [command]}
        if separate:
            parameters["separateOutputStream"] = ["True"]
        answer = self.ssm.start_session(
            Target=self.target(),
            DocumentName="AWS-StartNonInteractiveCommand",
            Parameters=parameters,
        )
        return {
            "sessionId": answer["SessionId"],
            "streamUrl": answer["StreamUrl"],
            "tokenValue": answer["TokenValue"],
        }


@pytest.fixture(scope="session")
def isolation() -> str:
    """The best isolation of this host that needs no engine."""
    return WITHOUT_ENGINE


@pytest.fixture(scope="module")
def shared(isolation: str) -> Iterator[Cluster]:
    """A fast practice cluster for tests that break nothing."""
    with package.start(pace="fast", runtime=isolation) as sandbox:
        yield Cluster(sandbox)


@pytest.fixture
def own(isolation: str) -> Iterator[Cluster]:
    """A fast practice cluster for one test."""
    with package.start(pace="fast", runtime=isolation) as sandbox:
        yield Cluster(sandbox)
