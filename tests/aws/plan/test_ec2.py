"""Plans on EC2: an instance of their own, or those that the cluster has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.aws.plan.instances import user_data
from ecs_exec_magic.aws.plan.names import TAG
from ecs_exec_magic.client import StepEvent

from .conftest import World

EC2: dict[str, Any] = {"launch_type": "EC2"}


@pytest.fixture
def name(world: World) -> Iterator[str]:
    """A plan's name, all of which is gone afterwards."""
    world.count += 1
    name, before = f"machines-{world.count}", world.listing()
    yield name
    world.client().plan(name, look=False).destroy(empty_bucket=True)
    assert world.listing() == before


def instances(world: World, name: str) -> list[dict[str, Any]]:
    found = world.aws("ec2").describe_instances(
        Filters=[
            {"Name": f"tag:{TAG}", "Values": [name]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]},
        ]
    )
    return [each for some in found["Reservations"] for each in some["Instances"]]


def test_an_instance_of_its_own(world: World, name: str) -> None:
    client = world.client()
    plan = client.plan(name, instance_type="t3.small", tags={"team": "ops"}, **EC2)
    made = [step.kind for step in plan.steps if step.action == "create"]
    assert made == [
        *("cluster", "log group", "security group", "execution role", "task role"),
        *("instance role", "instance profile", "EC2 instance"),
        *("task definition", "service", "exec agent"),
    ]
    assert "t3.small" in " ".join(plan.costs)
    assert "Fargate" not in " ".join(plan.costs)
    said: list[str] = []
    plan.apply(lambda event: said.append(event.said))

    # It has joined, the task runs on it, and commands run in the task.
    (instance,) = instances(world, name)
    assert instance["InstanceType"] == "t3.small"
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags == {"Name": f"ecs-exec-{name}", TAG: name, "team": "ops"}
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    (task,) = client.tasks(f"{name}/{name}")
    assert task.launch_type == "EC2"
    assert client.target(plan.address).run("echo here").stdout == "here\n"
    definition = world.aws("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
    assert definition["networkMode"] == "bridge"
    assert definition["requiresCompatibilities"] == ["EC2"]

    # A second time nothing happens; another revision takes the place of the first.
    there = world.listing()
    again = client.plan(name, instance_type="t3.small", tags={"team": "ops"}, **EC2)
    assert {step.action for step in again.steps} == {"keep"}
    again.apply()
    assert world.listing() == there
    client.plan(name, instance_type="t3.small", tags={"team": "ops"}, memory=256, **EC2).apply()
    (task,) = [each for each in client.tasks(f"{name}/{name}") if each.running]
    assert task.revision == 2

    order = [step.kind for step in client.plan(name, look=False).destroy()]
    assert order.index("service") < order.index("EC2 instance") < order.index("security group")
    assert order.index("instance profile") < order.index("instance role")
    assert instances(world, name) == []


def test_the_role_of_the_instance_may_join_this_cluster_only(world: World, name: str) -> None:
    plan = world.client().plan(name, **EC2)
    document = plan.documents["instance role"]
    allowed = {
        action: statement["Resource"]
        for statement in document["Statement"]
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }
    assert allowed["ecs:RegisterContainerInstance"].endswith(f":cluster/{name}")
    assert allowed["ecs:Poll"].endswith(f":container-instance/{name}/*")
    assert "ssmmessages:OpenDataChannel" not in json.dumps(document)
    assert "ssmmessages:OpenDataChannel" in json.dumps(plan.documents["task role"])
    trust = plan.documents["trust of the instance role"]["Statement"][0]["Principal"]
    assert trust == {"Service": "ec2.amazonaws.com"}


def test_instances_that_the_cluster_has(world: World, name: str) -> None:
    client, aws, ec2 = world.client(), world.aws("ecs"), world.aws("ec2")
    options = {**EC2, "instance_type": None, "log_group": "", "logging": "none"}
    plan = client.plan(name, **options)
    (refused,) = [step for step in plan.steps if step.action == "conflict"]
    assert refused.kind == "container instances"
    with pytest.raises(ecs.ProvisionError, match="nothing was touched"):
        plan.apply()
    configuration = {"executeCommandConfiguration": {"logging": "NONE"}}
    aws.create_cluster(clusterName=name, configuration=configuration)
    aws.register_container_instance(cluster=name)
    try:
        plan.refresh().apply()
        kinds = {step.kind for step in plan.steps}
        assert not kinds & {"network", "security group", "EC2 instance", "instance role"}
        (task,) = client.tasks(f"{name}/{name}")
        assert task.running
        assert client.target(plan.address).run("true").ok
        client.plan(name, look=False).destroy()
        (member,) = aws.list_container_instances(cluster=name, status="ACTIVE")[
            "containerInstanceArns"
        ]
        aws.deregister_container_instance(cluster=name, containerInstance=member)
    finally:
        aws.delete_cluster(cluster=name)
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_what_runs_on_it_and_is_not_ours_keeps_it(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = world.aws("ecs")
    plan = world.client().plan(name, port=None, memory=256, **EC2)
    plan.apply()
    (other,) = aws.run_task(cluster=name, taskDefinition=name, launchType="EC2")["tasks"]
    monkeypatch.setattr("ecs_exec_magic.aws.plan.instance_removal._LIMIT", 0.3)
    with pytest.raises(ecs.ProvisionError, match="tasks still run on instance") as caught:
        plan.destroy()
    assert "destroy again" in caught.value.cure
    assert len(instances(world, name)) == 1
    monkeypatch.undo()
    # Applied again it takes tasks again, though the removal has begun to drain it.
    plan.apply()
    assert world.client().target(plan.address).run("true").ok
    aws.stop_task(cluster=name, task=other["taskArn"])


def test_an_instance_that_was_stopped_is_started(world: World, name: str) -> None:
    plan = world.client().plan(name, **EC2)
    plan.apply()
    (instance,) = instances(world, name)
    world.aws("ec2").stop_instances(InstanceIds=[instance["InstanceId"]])
    (step,) = [step for step in plan.refresh().steps if step.kind == "EC2 instance"]
    assert (step.action, step.difference) == ("update", ("it is stopped",))
    plan.apply()
    assert world.client().target(plan.address).run("true").ok
    assert len(instances(world, name)) == 1


def test_an_instance_that_ended_is_made_again(world: World, name: str) -> None:
    plan = world.client().plan(name, **EC2)
    plan.apply()
    (first,) = instances(world, name)
    world.aws("ec2").terminate_instances(InstanceIds=[first["InstanceId"]])
    plan.apply()
    (second,) = instances(world, name)
    assert second["InstanceId"] != first["InstanceId"]


@pytest.mark.parametrize(
    ("first", "then", "kind", "words"),
    [
        ({}, {"launch_type": "EC2", "instance_type": "t9.nope"}, "EC2 instance", "t9.nope"),
        (EC2, {**EC2, "instance_type": "t3.small"}, "EC2 instance", "clean up first"),
        ({}, EC2, "service", "its launch type is FARGATE; wanted: EC2"),
    ],
    ids=["unknown type", "other type", "other launch type"],
)
def test_what_cannot_be_changed(
    world: World, name: str, first: dict[str, Any], then: dict[str, Any], kind: str, words: str
) -> None:
    client = world.client()
    if words != "t9.nope":
        client.plan(name, **first).apply()
    before = world.listing()
    plan = client.plan(name, **then)
    (step,) = [step for step in plan.steps if step.action == "conflict"]
    assert step.kind == kind
    assert words in " ".join([step.why, *step.difference])
    with pytest.raises(ecs.ProvisionError, match="nothing was touched"):
        plan.apply()
    assert world.listing() == before


def test_tasks_that_find_no_room(world: World, name: str) -> None:
    plan = world.client().plan(name, service=False, memory=2048, **EC2)
    with pytest.raises(ecs.ProvisionError, match=r"task .* could not be made") as caught:
        plan.apply()
    assert "RESOURCE:MEMORY" in caught.value.cause
    assert "bigger instance type" in caught.value.cure
    world.client().plan(name, service=False, memory=512, **EC2).apply()


def test_an_instance_whose_role_lets_it_nothing_is_waited_for_and_told(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody has taken its policy away: the practice cluster asks IAM, as AWS does."""
    iam, role = world.aws("iam"), f"{name}-{world.region}-instance"
    plan = world.client().plan(name, **EC2)

    def progress(event: StepEvent) -> None:
        if (event.step.kind, event.state) == ("instance profile", "done"):
            iam.delete_role_policy(RoleName=role, PolicyName="ecs-exec")

    monkeypatch.setattr("ecs_exec_magic.aws.plan.instances._LIMIT", 0.5)
    with pytest.raises(ecs.ProvisionError, match="has not joined the cluster after") as caught:
        plan.apply(progress)
    assert "its ECS agent has not joined the cluster yet" in caught.value.cause
    assert "get-console-output" in caught.value.cure
    # The policy is there again, but the agent of the practice cluster tries only when it boots.
    monkeypatch.undo()
    (instance,) = instances(world, name)
    world.aws("ec2").stop_instances(InstanceIds=[instance["InstanceId"]])
    plan.apply()
    assert len(instances(world, name)) == 1


def test_user_data_is_a_script() -> None:
    assert user_data("web").splitlines() == [
        "#!/bin/bash",
        "echo ECS_CLUSTER=web >> /etc/ecs/ecs.config",
    ]
