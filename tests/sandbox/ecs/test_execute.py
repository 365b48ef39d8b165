"""ExecuteCommand: the order of its checks, and what it hands to the session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pytest

from ecs_exec_magic.sandbox.api import ApiError

from .conftest import Ecs

PARAMETER = "InvalidParameterException"
APP: dict[str, Any] = {"name": "app", "image": "busybox"}


def execute(ecs: Ecs, cluster: str, task: str, **given: Any) -> dict[str, Any]:
    given = {"command": "true", "interactive": True, **given}
    answer: dict[str, Any] = ecs.client.execute_command(cluster=cluster, task=task, **given)
    return answer


def started(ecs: Ecs, cluster: str, **given: Any) -> str:
    """A running task with exec; returns its ARN."""
    arn: str = ecs.run(cluster, ecs.register(**given), enableExecuteCommand=True)[0]["taskArn"]
    ecs.running(cluster, arn)
    return arn


def plan(ecs: Ecs, answer: dict[str, Any]) -> Any:
    return ecs.sandbox._server.gateway.sessions[answer["session"]["sessionId"]].plan


def test_the_answer(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    arn = started(ecs, cluster)
    answer = execute(ecs, cluster, arn)
    assert answer["taskArn"] == arn and answer["containerName"] == "app"
    assert answer["clusterArn"].endswith(f":cluster/{cluster}")
    assert answer["containerArn"].startswith(arn.replace(":task/", ":container/"))
    assert answer["session"]["sessionId"].startswith("ecs-execute-command-")
    found = plan(ecs, answer)
    runtime_id = ecs.task(cluster, arn)["containers"][0]["runtimeId"]
    assert found.target_id == f"ecs:{cluster}_{arn.rpartition('/')[2]}_{runtime_id}"
    assert found.region == "us-east-1"
    assert found.role_arn == f"arn:aws:iam::{ecs.account}:role/sandbox-task-role"
    assert found.logging is None and found.key_id is None
    assert answer["session"]["tokenValue"] not in repr(found)


def test_refusals_in_their_order(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    two = started(ecs, cluster, containers=[APP, {"name": "b", "image": "busybox"}])
    off = ecs.run(cluster, ecs.register())[0]["taskArn"]
    ecs.running(cluster, off)

    def refused(code: str, text: str, **given: Any) -> None:
        given = {"cluster": cluster, "task": two, "interactive": False, **given}
        ecs.fails(code, text, execute, ecs=ecs, **given)

    refused("ClusterNotFoundException", "Cluster not found.", cluster="no", task="short")
    refused(PARAMETER, "task length should be one of [32,36]", task="short")
    refused(PARAMETER, "Interactive is the only mode supported currently.", task="0" * 32)
    refused(PARAMETER, "not found", task="0" * 32, interactive=True)
    refused(PARAMETER, "multiple containers", interactive=True)
    refused(PARAMETER, "was not found in the task", interactive=True, container="c")
    refused(PARAMETER, "not enabled", task=off, interactive=True)
    assert execute(ecs, cluster, two, container="b")["containerName"] == "b"
    ecs.client.stop_task(cluster=cluster, task=two)
    refused(PARAMETER, "agent isn", interactive=True, container="b")


def test_a_read_only_root(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    arn = started(ecs, cluster, containers=[{**APP, "readonlyRootFilesystem": True}])
    ecs.fails(PARAMETER, "agent isn", execute, ecs=ecs, cluster=cluster, task=arn)


def test_an_agent_that_crashed(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    arn = started(ecs, cluster)
    execute(ecs, cluster, arn)
    task = ecs.world.state.find(arn)

    async def crash() -> None:
        ecs.world.stop_agent(cast(Any, task), "app")

    ecs.sandbox.call(crash())
    agent = ecs.task(cluster, arn)["containers"][0]["managedAgents"][0]
    assert (agent["lastStatus"], "exit code" in agent["reason"]) == ("STOPPED", True)
    ecs.fails(PARAMETER, "agent isn", execute, ecs=ecs, cluster=cluster, task=arn)


def test_one_process_namespace_has_one_agent(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    containers = [APP, {"name": "b", "image": "busybox"}]
    arn = started(ecs, cluster, containers=containers, pidMode="task")
    assert execute(ecs, cluster, arn, container="app")["containerName"] == "app"
    not_connected = "TargetNotConnectedException"
    text = "The execute command failed due to an internal error. Try again later."
    ecs.fails(not_connected, text, execute, ecs=ecs, cluster=cluster, task=arn, container="b")


class Roles:
    """Allows all but one action, and remembers what was asked."""

    def __init__(self, denied: str) -> None:
        self.enabled = False
        self.denied = denied
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def check(
        self, caller: Any, action: str, resource: str, context: Mapping[str, Sequence[str]]
    ) -> None:
        self.asked.append((action, resource, dict(context)))
        if self.denied == action:
            raise ApiError("AccessDeniedException", f"not authorized to perform: {action}")

    async def role_allows(self, role_arn: str | None, action: str, resource: str = "*") -> bool:
        return action != self.denied


@pytest.fixture
def roles(ecs: Ecs) -> Iterator[Roles]:
    kept, deny = ecs.world.authorizer, Roles("")
    ecs.world.authorizer = cast(Any, deny)
    yield deny
    ecs.world.authorizer = kept


@pytest.mark.parametrize("direction", ["Create", "Open"])
@pytest.mark.parametrize("channel", ["Control", "Data"])
def test_each_action_of_the_task_role_counts(
    ecs: Ecs, roles: Roles, direction: str, channel: str
) -> None:
    cluster = ecs.cluster()
    arn = started(ecs, cluster)
    roles.denied = f"ssmmessages:{direction}{channel}Channel"
    refused = "TargetNotConnectedException"
    ecs.fails(refused, "internal error", execute, ecs=ecs, cluster=cluster, task=arn)
    roles.denied = ""
    execute(ecs, cluster, arn)


def test_the_caller_is_asked_about(ecs: Ecs, roles: Roles) -> None:
    cluster = ecs.cluster(tags=[{"key": "team", "value": "a"}])
    arn = ecs.run(
        cluster,
        ecs.register(),
        enableExecuteCommand=True,
        tags=[{"key": "environment", "value": "production"}],
    )[0]["taskArn"]
    ecs.running(cluster, arn)
    execute(ecs, cluster, arn)
    action, resource, context = roles.asked[-1]
    assert (action, resource) == ("ecs:ExecuteCommand", arn)
    assert context["ecs:container-name"] == ["app"] and context["ecs:task"] == [arn]
    assert context["ecs:ResourceTag/environment"] == ["production"]
    assert context["aws:ResourceTag/team"] == ["a"]
    roles.denied = "ecs:ExecuteCommand"
    denied = "AccessDeniedException"
    ecs.fails(denied, "ecs:ExecuteCommand", execute, ecs=ecs, cluster=cluster, task=arn)
    # Who may not do it learns nothing of what there is.
    ecs.fails(denied, "", execute, ecs=ecs, cluster=cluster, task="0" * 32, interactive=False)


def test_where_transcripts_go(ecs: Ecs) -> None:
    logged = {
        **APP,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/stdout",
                "awslogs-region": "us-east-1",
                "awslogs-create-group": "true",
            },
        },
    }

    def logging(cluster: str, container: dict[str, Any]) -> Any:
        arn = started(ecs, cluster, containers=[container])
        return plan(ecs, execute(ecs, cluster, arn)).logging

    def configured(**execution: Any) -> str:
        return ecs.cluster(configuration={"executeCommandConfiguration": execution})

    assert logging(configured(logging="NONE"), logged) is None
    assert logging(configured(logging="DEFAULT"), APP) is None
    default = logging(configured(logging="DEFAULT"), logged)
    assert (default.log_group, default.bucket) == ("/stdout", None)
    assert logging(ecs.cluster(), logged) == default, "DEFAULT is the default"
    override = {
        "cloudWatchLogGroupName": "/exec",
        "cloudWatchEncryptionEnabled": True,
        "s3BucketName": "bucket",
        "s3EncryptionEnabled": True,
        "s3KeyPrefix": "exec-output",
    }
    found = logging(configured(logging="OVERRIDE", logConfiguration=override), logged)
    assert (found.log_group, found.log_group_encrypted) == ("/exec", True)
    assert (found.bucket, found.bucket_encrypted, found.prefix) == ("bucket", True, "exec-output")


def test_start_session_wants_a_connected_container(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    arn = started(ecs, cluster)
    import boto3

    ssm = boto3.client(
        "ssm",
        endpoint_url=ecs.sandbox.url,
        region_name="eu-west-1",
        aws_access_key_id="AKIASANDBOX000000001",
        aws_secret_access_key="sandbox",
    )
    runtime_id = ecs.task(cluster, arn)["containers"][0]["runtimeId"]
    target = f"ecs:{cluster}_{arn.rpartition('/')[2]}_{runtime_id}"
    with pytest.raises(ssm.exceptions.TargetNotConnected):
        ssm.start_session(Target=target)  # it is in another region
