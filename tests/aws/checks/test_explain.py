"""An error about an agent offers the finding that explains it, and is never held up for long."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from ecs_exec_magic.aws.checks import explain
from ecs_exec_magic.errors import AgentNotConnected, EcsExecError, ExecNotEnabled

from .conftest import World, long_there

pytestmark = pytest.mark.timeout(180)


def refused(world: World, address: str) -> EcsExecError:
    with pytest.raises((AgentNotConnected, ExecNotEnabled)) as caught:
        world.admin.target(address).run("true")
    return caught.value


def test_a_role_that_may_not_connect(world: World) -> None:
    role = world.role(["s3:GetObject"])
    address = world.run("demo", world.family(role))
    long_there(world, address)
    error = refused(world, address)
    assert isinstance(error, AgentNotConnected)
    assert [each.id for each in error.findings] == ["role.channel"]
    assert role in error.cause
    assert "ssmmessages:CreateControlChannel" in error.cause
    assert "aws iam put-role-policy --role-name" in error.cure
    shown = error._render_traceback_()
    assert len(shown) <= 5
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.cause, copy.findings) == (error.cause, error.findings)


def test_no_way_to_aws(world: World) -> None:
    vpc = world.vpc()
    role = world.role(["s3:GetObject"])
    network = world.network(vpc.subnet, vpc.group, public=False)
    address = world.run("demo", world.family(role), networkConfiguration=network)
    long_there(world, address)
    error = refused(world, address)
    assert isinstance(error, AgentNotConnected)
    assert {each.id for each in error.findings} >= {"role.channel", "network.route"}


def test_a_service_without_exec(world: World) -> None:
    address = world.service("demo", enableExecuteCommand=False, desiredCount=1)
    error = refused(world, address)
    assert isinstance(error, ExecNotEnabled)
    assert [each.id for each in error.findings] == ["service.exec-enabled"]
    assert f"--service {address.partition('/')[2]} --enable-execute-command" in error.cure


def test_a_task_of_its_own_without_exec(world: World) -> None:
    error = refused(world, "demo/no-exec")
    assert isinstance(error, ExecNotEnabled)
    assert [each.id for each in error.findings] == ["task.exec-enabled"]
    assert "--cluster demo --task-definition no-exec:1 --enable-execute-command" in error.cure


def test_a_service_that_has_exec_by_now(world: World) -> None:
    address = world.service("demo", enableExecuteCommand=False, desiredCount=1)
    world.admin.tasks(address)
    world.aws("ecs").update_service(
        cluster="demo", service=address.partition("/")[2], enableExecuteCommand=True
    )
    task = world.admin.tasks(address)[0].address
    error = refused(world, task)
    assert isinstance(error, ExecNotEnabled)
    assert "exec on by now" in error.cause
    assert error.cure.endswith("--force-new-deployment")


def test_nothing_to_offer(world: World) -> None:
    error = refused(world, "demo/agent-down")
    assert isinstance(error, AgentNotConnected)
    assert error.findings == ()
    assert "exit code: 1" in error.cause


def test_an_explanation_may_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("an accident")

    monkeypatch.setattr(explain, "_run", broken)
    address = world.service("demo", enableExecuteCommand=False, desiredCount=1)
    error = refused(world, address)
    assert isinstance(error, ExecNotEnabled)
    assert error.findings == ()


def test_an_explanation_may_take_too_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []

    async def endless(*_: Any) -> Any:
        begun.append(True)
        await asyncio.sleep(3600)

    monkeypatch.setattr(explain, "_run", endless)
    monkeypatch.setattr(explain, "LIMIT", 0.05)
    address = world.service("demo", enableExecuteCommand=False, desiredCount=1)
    error = refused(world, address)  # the test's own time limit says whether it was held up
    assert isinstance(error, ExecNotEnabled)
    assert begun


def test_many_containers_are_explained_once(world: World) -> None:
    role = world.role(["s3:GetObject"])
    address = world.service("demo", world.family(role), desiredCount=3)
    for task in world.admin.tasks(address):
        long_there(world, task.address)
    calls, result = world.called(lambda: world.admin.run(address, "true"))
    assert len(result.errors) == 3
    for error in result.errors.values():
        assert isinstance(error, AgentNotConnected)
        assert [each.id for each in error.findings] == ["role.channel"]
    assert calls.count("SimulatePrincipalPolicy") == 1
    assert calls.count("DescribeRouteTables") == 1
