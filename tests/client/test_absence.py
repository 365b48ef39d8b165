"""Nothing runs, or nothing takes commands: the same words for commands, ports and fleets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from ecs_exec_magic.errors import EcsExecError, ExecNotEnabled, TargetNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecs_exec_magic.client import Client
    from ecs_exec_magic.sandbox import Sandbox

WAYS: dict[str, Callable[[Client, str], Any]] = {
    "command": lambda client, name: client.target(name).run("true"),
    "port": lambda client, name: client.target(name).forward(80),
    "fleet": lambda client, name: client.run(name, "true").check(),
}
way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def idle(cluster: Sandbox) -> Iterator[str]:
    """A service that is to have no tasks."""
    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    ecs = session.client("ecs", endpoint_url=cluster.url)
    (worker,) = ecs.describe_services(cluster="demo", services=["worker"])["services"]
    ecs.create_service(
        cluster="demo",
        serviceName="idle",
        taskDefinition="worker",
        desiredCount=0,
        enableExecuteCommand=True,
        networkConfiguration=worker["networkConfiguration"],
    )
    yield "demo/idle"
    ecs.delete_service(cluster="demo", service="idle", force=True)


@way
def test_desired_count_of_0(client: Client, idle: str, way: str) -> None:
    with pytest.raises(TargetNotFound, match="service demo/idle has no running task") as caught:
        WAYS[way](client, idle)
    error = caught.value
    assert "its desired count is 0" in error.cause
    assert "what takes commands in demo: web:nginx, web:sidecar, worker:worker" in error.cause
    assert "--service idle --desired-count 1" in error.cure
    assert len(error._render_traceback_()) <= 5


@way
def test_exec_is_off(client: Client, way: str) -> None:
    with pytest.raises(EcsExecError) as caught:
        WAYS[way](client, "demo/no-exec")
    error: Any = caught.value
    if way == "fleet":  # each container has an error of its own
        (error,) = error.result.errors.values()
    else:
        assert "what takes commands in demo: web:nginx" in error.cause
    assert isinstance(error, ExecNotEnabled)
    assert "ECS Exec is not enabled for demo/" in error.message
    assert "--enable-execute-command" in error.cure


@way
def test_no_such_name(client: Client, way: str) -> None:
    with pytest.raises(TargetNotFound, match="'nothing'") as caught:
        WAYS[way](client, "demo/nothing")
    assert "services: web, worker" in caught.value.cause
