"""What stops a plan: before anything is touched, or at a step, with what was made staying."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.aws.plan.names import BUCKET_TAG
from ecs_exec_magic.client import StepEvent

from .conftest import World


@pytest.fixture
def name(world: World) -> Iterator[str]:
    """A plan's name, all of which is gone afterwards."""
    world.count += 1
    name, before = f"refused-{world.count}", world.listing()
    yield name
    world.client().plan(name, look=False).destroy(empty_bucket=True)
    after = world.listing()
    assert after == before


def conflicts(plan: Any) -> dict[str, tuple[str, ...]]:
    return {step.kind: step.difference for step in plan.steps if step.action == "conflict"}


def test_bad_options_call_nothing() -> None:
    client = ecs.connect("eu-west-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(ecs.InvalidRequest, match="port=0") as caught:
        client.plan("web", cpu=300, port=0)
    assert "cpu" in caught.value.cause
    with pytest.raises(ecs.InvalidRequest, match="no option colour"):
        client.plan("web", colour="red")


def test_what_is_there_with_other_settings(world: World, name: str) -> None:
    aws = world.aws("ecs")
    aws.create_cluster(clusterName=name)
    before = world.listing()
    plan = world.client().plan(name)
    (found,) = conflicts(plan).values()
    assert "logging is none; wanted: OVERRIDE" in found
    with pytest.raises(ecs.ProvisionError, match=f"nothing was touched: cluster {name}") as caught:
        plan.apply()
    assert "OVERRIDE" in caught.value.cause
    assert caught.value.step.kind == "cluster"
    assert world.listing() == before
    aws.delete_cluster(cluster=name)


def test_what_is_there_as_wanted_is_kept_for_ever(world: World, name: str) -> None:
    group = f"/aws/ecs/{name}"
    world.aws("logs").create_log_group(logGroupName=group)
    world.aws("ecs").create_cluster(
        clusterName=name,
        configuration={
            "executeCommandConfiguration": {
                "logging": "OVERRIDE",
                "logConfiguration": {"cloudWatchLogGroupName": group},
            }
        },
    )
    before = world.listing()
    plan = world.client().plan(name)
    kept = {step.kind for step in plan.steps if step.action == "keep"}
    assert kept == {"network", "cluster", "log group"}
    plan.apply()
    assert world.client().target(plan.address).run("true").ok
    plan.destroy()
    assert world.listing() == before
    world.aws("ecs").delete_cluster(cluster=name)
    world.aws("logs").delete_log_group(logGroupName=group)


def test_a_permission_that_comes_later(world: World, name: str) -> None:
    session = world.user(["s3:CreateBucket"])
    client = world.client(session)
    user = world.aws("iam").list_users()["Users"][-1]["UserName"]
    plan = client.plan(name, bucket=f"{name}-sessions")
    told: list[StepEvent] = []
    with pytest.raises(ecs.ProvisionError, match=r"S3 bucket .* could not be made") as caught:
        plan.apply(told.append)
    assert "s3:CreateBucket is denied" in caught.value.cause
    assert "allow s3:CreateBucket" in caught.value.cure
    assert "then apply again" in caught.value.cure
    assert isinstance(caught.value.__cause__, ecs.AccessDenied)
    assert (told[-1].state, told[-1].error) == ("failed", caught.value)
    assert {step.kind for step in plan.leftovers()} == {"cluster", "log group"}
    world.deny(user, [])
    told.clear()
    plan.apply(told.append)
    first = {event.step.kind: event.step.action for event in told if event.state == "done"}
    assert first["cluster"] == "keep"
    assert first["S3 bucket"] == "create"


def test_a_permission_to_look(world: World) -> None:
    client = world.client(world.user(["iam:GetRole"]))
    with pytest.raises(ecs.ProvisionError, match=r"role .* could not be looked at") as caught:
        client.plan("look")
    assert "iam:GetRole" in caught.value.cure


def test_choices(world: World) -> None:
    found = world.client(world.user(["s3:ListAllMyBuckets", "kms:ListKeys"])).choices()
    assert set(found.denied) == {"buckets", "keys"}
    assert "s3:ListAllMyBuckets" in found.denied["buckets"]
    (vpc,) = found.vpcs
    assert vpc.default
    assert all(subnet.public for subnet in vpc.subnets)
    assert found.region == world.region


def test_a_bucket_of_somebody_else(world: World, name: str) -> None:
    with package.start(pace="fast", runtime="process", seed=False) as other:
        taken = f"{name}-taken"
        World(other).aws("s3").create_bucket(Bucket=taken)
        plan = world.client().plan(name, bucket=taken)
        assert set(conflicts(plan)) == {"S3 bucket"}
        with pytest.raises(ecs.ProvisionError, match="nothing was touched") as caught:
            plan.apply()
        assert "another account" in caught.value.cause


@pytest.mark.parametrize("named", ["vpc", "subnet", "none"])
def test_networks_without_a_way_to_aws(world: World, name: str, named: str) -> None:
    ec2 = world.aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    options: Any = {
        "vpc": {"vpc": vpc},
        "subnet": {"subnets": [subnet]},
        "none": {"vpc": "vpc-00000000"},
    }[named]
    try:
        plan = world.client().plan(name, **options)
        (step,) = [step for step in plan.steps if step.action == "conflict"]
        assert step.kind == "network"
        expected = "there is no VPC" if named == "none" else "no route to AWS"
        assert expected in step.why
        with pytest.raises(ecs.ProvisionError, match="nothing was touched"):
            plan.apply()
        # With an endpoint for the agent it is another matter.
        if named == "vpc":
            service = f"com.amazonaws.{world.region}.ssmmessages"
            endpoint = ec2.create_vpc_endpoint(
                VpcId=vpc, ServiceName=service, VpcEndpointType="Interface", SubnetIds=[subnet]
            )["VpcEndpoint"]["VpcEndpointId"]
            assert conflicts(plan.refresh()) == {}
            assert "without public addresses" in plan.steps[0].why
            ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    finally:
        ec2.delete_subnet(SubnetId=subnet)
        for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])[
            "SecurityGroups"
        ]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        ec2.delete_vpc(VpcId=vpc)


@pytest.mark.parametrize("service", [True, False])
def test_tasks_that_end_by_themselves(world: World, name: str, service: bool) -> None:
    plan = world.client().plan(name, image="busybox", command=["false"], service=service)
    with pytest.raises(ecs.ProvisionError, match="exec agent") as caught:
        plan.apply()
    assert "Essential container" in caught.value.cause
    assert "sleep" in caught.value.cure
    assert len(caught.value._render_traceback_()) <= 5


def test_the_stop_button(world: World, name: str) -> None:
    plan = world.client().plan(name)

    def press(event: StepEvent) -> None:
        if event.step.kind == "security group" and event.state == "running":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(ecs.Interrupted, match="apply again goes on"):
        plan.apply(press)
    left = {step.kind for step in plan.leftovers()}
    assert {"cluster", "log group"} <= left
    assert "service" not in left
    plan.apply()


def test_a_bucket_that_was_refused_is_never_taken_for_ours(world: World, name: str) -> None:
    """Somebody makes it later: neither applying nor removing the plan touches it."""
    client, bucket = world.client(world.user(["s3:CreateBucket"])), f"{name}-sessions"
    plan = client.plan(name, bucket=bucket)
    with pytest.raises(ecs.ProvisionError, match="could not be made"):
        plan.apply()
    told = world.aws("ecs").describe_clusters(clusters=[name], include=["TAGS"])["clusters"][0]
    assert BUCKET_TAG not in {tag["key"] for tag in told["tags"]}
    s3 = world.aws("s3")
    s3.create_bucket(Bucket=bucket)
    assert set(conflicts(plan.refresh())) == {"S3 bucket"}
    plan.destroy(empty_bucket=True)
    assert bucket in world.listing()["buckets"]
    s3.delete_bucket(Bucket=bucket)


def test_a_bucket_with_objects_is_not_one_whose_making_was_stopped(world: World, name: str) -> None:
    """The cluster still says that it was being made, as after a kill before the call."""
    client, bucket = world.client(), f"{name}-sessions"
    client.plan(name, service=False).apply()
    api, s3 = world.aws("ecs"), world.aws("s3")
    arn = api.describe_clusters(clusters=[name])["clusters"][0]["clusterArn"]
    api.tag_resource(resourceArn=arn, tags=[{"key": BUCKET_TAG, "value": bucket}])
    s3.create_bucket(Bucket=bucket)
    plan = client.plan(name, service=False, bucket=bucket)
    assert {step.kind: step.action for step in plan.steps}["S3 bucket"] == "update"
    assert "S3 bucket" in {step.kind for step in plan.leftovers()}
    s3.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    assert set(conflicts(plan.refresh())) == {"S3 bucket"}
    plan.destroy(empty_bucket=True)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["theirs"]
    s3.delete_object(Bucket=bucket, Key="theirs")
    s3.delete_bucket(Bucket=bucket)
