"""A practice cluster for the tests of the control plane, and short words for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import Sandbox

REGION = "us-east-1"
FAST = {"Delay": 0, "MaxAttempts": 20_000}


class Ecs:
    """A boto3 client, and what every test needs around it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.world = sandbox._server.world
        self.client = self.make()
        # Enums and lengths are the service's to refuse, not this client's.
        self.loose = self.make(parameter_validation=False)
        self.subnets, self.groups = sandbox.call(self.world.network.defaults(REGION))
        self.account = sandbox.account_id
        self._names = 0

    def make(self, region: str = REGION, **config: Any) -> Any:
        return boto3.client(
            "ecs",
            endpoint_url=self.sandbox.url,
            region_name=region,
            aws_access_key_id="AKIASANDBOX000000001",
            aws_secret_access_key="sandbox",
            config=Config(retries={"max_attempts": 1}, **config),
        )

    def name(self, stem: str = "thing") -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"{stem}-{self._names}"

    def cluster(self, **given: Any) -> str:
        name = self.name("cluster")
        self.client.create_cluster(clusterName=name, **given)
        return name

    def register(self, family: str | None = None, **given: Any) -> str:
        """A Fargate definition of one container ``app``; returns its ARN."""
        containers = given.pop("containers", None) or [{"name": "app", "image": "busybox"}]
        document: dict[str, Any] = {
            "family": family or self.name("family"),
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "taskRoleArn": "sandbox-task-role",
            "executionRoleArn": "sandbox-execution-role",
            "containerDefinitions": containers,
            **given,
        }
        document = {k: v for k, v in document.items() if v is not None}
        answer = self.client.register_task_definition(**document)
        arn: str = answer["taskDefinition"]["taskDefinitionArn"]
        return arn

    def vpc(self, public: str = "ENABLED") -> dict[str, Any]:
        return {
            "awsvpcConfiguration": {
                "subnets": self.subnets,
                "securityGroups": self.groups,
                "assignPublicIp": public,
            }
        }

    def run(self, cluster: str, definition: str, **given: Any) -> list[dict[str, Any]]:
        given = {"launchType": "FARGATE", "networkConfiguration": self.vpc(), **given}
        given = {k: v for k, v in given.items() if v is not None}
        answer = self.client.run_task(cluster=cluster, taskDefinition=definition, **given)
        assert answer["failures"] == []
        tasks: list[dict[str, Any]] = answer["tasks"]
        return tasks

    def task(self, cluster: str, arn: str, **given: Any) -> dict[str, Any]:
        found = self.client.describe_tasks(cluster=cluster, tasks=[arn], **given)
        assert found["failures"] == []
        task: dict[str, Any] = found["tasks"][0]
        return task

    def running(self, cluster: str, arn: str) -> dict[str, Any]:
        """Wait until a task runs with its agents decided."""
        waiter = self.client.get_waiter("tasks_running")
        waiter.wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)
        task: dict[str, Any] = self.until(
            lambda: self.task(cluster, arn),
            lambda task: all(
                agent["lastStatus"] != "PENDING"
                for container in task["containers"]
                for agent in container.get("managedAgents", [])
            ),
        )
        return task

    def stopped(self, cluster: str, arn: str) -> dict[str, Any]:
        waiter = self.client.get_waiter("tasks_stopped")
        waiter.wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)
        return self.task(cluster, arn)

    def service(self, cluster: str, name: str, **given: Any) -> dict[str, Any]:
        found = self.client.describe_services(cluster=cluster, services=[name], **given)
        assert found["failures"] == []
        service: dict[str, Any] = found["services"][0]
        return service

    def stable(self, cluster: str, name: str) -> dict[str, Any]:
        waiter = self.client.get_waiter("services_stable")
        waiter.wait(cluster=cluster, services=[name], WaiterConfig=FAST)
        return self.service(cluster, name)

    @staticmethod
    def until(look: Callable[[], Any], fits: Callable[[Any], Any], limit: float = 60.0) -> Any:
        """Look again and again until what is seen fits."""
        deadline = time.monotonic() + limit
        while not fits(seen := look()):
            assert time.monotonic() < deadline, f"it never came: {seen!r}"
            time.sleep(0.01)
        return seen

    def fails(self, code: str, text: str, call: Callable[..., Any], **given: Any) -> None:
        """The call raises boto3's own class of this error, with this text in its message."""
        kind = getattr(self.client.exceptions, code, ClientError)
        with pytest.raises(ClientError) as caught:
            call(**given)
        assert caught.value.response["Error"]["Code"] == code
        assert text in caught.value.response["Error"]["Message"]
        assert isinstance(caught.value, kind) or code == "ValidationException"


@pytest.fixture(scope="module")
def ecs(isolation: str) -> Iterator[Ecs]:
    with package.start(pace="fast", runtime=isolation) as sandbox:
        yield Ecs(sandbox)
