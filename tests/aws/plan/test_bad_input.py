"""What can be wrong with an account: told at the step that it is about, and in time.

What is there with other settings stops a plan before anything is touched. What only a call tells (a
name that is taken, a quota, a permission) stops it at its step: what was made before stays, in the
account and in the state file, and applying again goes on there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.aws.plan.policies import trust_policy

from .conftest import World

Undo = Callable[[], object]


@pytest.fixture
def name(world: World) -> Iterator[str]:
    """A plan's name, all of which is gone afterwards."""
    world.count += 1
    name, before = f"bad-{world.count}", world.listing()
    yield name
    world.client().plan(name, look=False).destroy(empty_bucket=True)
    assert world.listing() == before


# -- with other settings ---------------------------------------------------------------------------

TRUST = json.dumps(trust_policy("lambda.amazonaws.com"))


def a_cluster(world: World, name: str) -> Undo:
    world.aws("ecs").create_cluster(clusterName=name)
    return lambda: world.aws("ecs").delete_cluster(cluster=name)


def a_log_group(world: World, name: str) -> Undo:
    world.aws("logs").create_log_group(logGroupName=f"/aws/ecs/{name}")
    return lambda: world.aws("logs").delete_log_group(logGroupName=f"/aws/ecs/{name}")


def a_bucket(world: World, name: str) -> Undo:
    world.aws("s3").create_bucket(Bucket=f"{name}-sessions")
    return lambda: world.aws("s3").delete_bucket(Bucket=f"{name}-sessions")


def a_security_group(world: World, name: str) -> Undo:
    vpc = world.aws("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    group = world.aws("ec2").create_security_group(
        GroupName=f"ecs-exec-{name}", Description="x", VpcId=vpc
    )["GroupId"]
    return lambda: world.aws("ec2").delete_security_group(GroupId=group)


def a_role(kind: str) -> Callable[[World, str], Undo]:
    def make(world: World, name: str) -> Undo:
        role, iam = f"{name}-{world.region}-{kind}", world.aws("iam")
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)
        return lambda: iam.delete_role(RoleName=role)

    return make


def a_profile(world: World, name: str) -> Undo:
    profile, iam = f"{name}-{world.region}-instance", world.aws("iam")
    iam.create_instance_profile(InstanceProfileName=profile)
    return lambda: iam.delete_instance_profile(InstanceProfileName=profile)


def a_key(world: World, name: str) -> Undo:
    kms = world.aws("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/ecs-exec-{name}", TargetKeyId=key)
    kms.disable_key(KeyId=key)

    def undo() -> None:
        kms.delete_alias(AliasName=f"alias/ecs-exec-{name}")
        kms.schedule_key_deletion(KeyId=key)

    return undo


def a_definition(world: World, name: str) -> Undo:
    aws = world.aws("ecs")
    container = {"name": "other", "image": "nginx", "memory": 64}
    aws.register_task_definition(family=name, containerDefinitions=[container])

    def undo() -> None:
        aws.deregister_task_definition(taskDefinition=f"{name}:1")
        aws.delete_task_definitions(taskDefinitions=[f"{name}:1"])

    return undo


@pytest.mark.parametrize(
    ("kind", "make", "options", "difference"),
    [
        ("cluster", a_cluster, {}, "logging is none; wanted: OVERRIDE"),
        ("log group", a_log_group, {"kms_key": "new", "encrypt_logs": True}, "its key is none"),
        ("S3 bucket", a_bucket, {}, "public access to it is not blocked"),
        ("security group", a_security_group, {}, "TCP 80 is not let in"),
        ("execution role", a_role("execution"), {}, "it does not trust ECS tasks"),
        ("task role", a_role("task"), {}, "it has no policy ecs-exec"),
        ("instance role", a_role("instance"), {"launch_type": "EC2"}, "it does not trust EC2"),
        ("instance profile", a_profile, {"launch_type": "EC2"}, "its role is none"),
        ("KMS key", a_key, {"kms_key": "new"}, "its state is Disabled; wanted: Enabled"),
        ("task definition", a_definition, {}, "containers is other; wanted: nginx"),
    ],
)
def test_what_is_there_with_other_settings_is_shown_and_nothing_touched(
    world: World,
    name: str,
    kind: str,
    make: Callable[[World, str], Undo],
    options: dict[str, Any],
    difference: str,
) -> None:
    undo = make(world, name)
    before = world.listing()
    plan = world.client().plan(name, bucket=f"{name}-sessions", **options)
    (step,) = [step for step in plan.steps if step.action == "conflict"]
    assert step.kind == kind
    assert difference in "; ".join(step.difference)
    assert difference in str(plan.show())
    told: list[Any] = []
    with pytest.raises(ecs.ProvisionError, match=f"nothing was touched: {kind}") as caught:
        plan.apply(told.append)
    assert difference in caught.value.cause
    assert ".steps" not in caught.value.cure  # a line and a form have none
    assert caught.value.steps == plan.steps
    assert told == []
    assert world.listing() == before
    undo()


# -- at its step -----------------------------------------------------------------------------------


class Refusal:
    """AWS's answer to one operation, as long as it is wanted."""

    def __init__(self, client: Any, service: str, operation: str, code: str, message: str) -> None:
        self._events = client._api.client(service).meta.events
        self._name = f"before-call.{service}.{operation}"
        self._answer = (
            SimpleNamespace(status_code=400),
            {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {}},
        )
        self._events.register(self._name, self._refuse)

    def _refuse(self, **_: Any) -> Any:
        return self._answer

    def lift(self) -> None:
        self._events.unregister(self._name, self._refuse)


@pytest.mark.parametrize(
    ("kind", "call", "code", "cure"),
    [
        ("KMS key", "kms:CreateKey", "LimitExceededException", "have the quota raised"),
        ("cluster", "ecs:CreateCluster", "LimitExceededException", "have the quota raised"),
        ("log group", "logs:CreateLogGroup", "LimitExceededException", "have the quota raised"),
        ("S3 bucket", "s3:CreateBucket", "TooManyBuckets", "service-code s3"),
        ("S3 bucket", "s3:CreateBucket", "BucketAlreadyExists", "choose another name"),
        (
            "security group",
            "ec2:CreateSecurityGroup",
            "SecurityGroupLimitExceeded",
            "quota of the VPC",
        ),
        ("execution role", "iam:CreateRole", "LimitExceeded", "have the quota raised"),
        ("execution role", "iam:CreateRole", "AccessDenied", "allow iam:CreateRole"),
        ("EC2 instance", "ec2:RunInstances", "VcpuLimitExceeded", "quota of vCPUs"),
        ("EC2 instance", "ec2:RunInstances", "InsufficientInstanceCapacity", "another zone"),
        ("EC2 instance", "ec2:RunInstances", "UnauthorizedOperation", "allow ec2:RunInstances"),
        ("service", "ecs:CreateService", "AccessDeniedException", "allow ecs:CreateService"),
    ],
)
def test_a_step_fails_with_its_cure_and_applying_again_goes_on(
    world: World, name: str, tmp_path: Path, kind: str, call: str, code: str, cure: str
) -> None:
    client, state = world.client(), tmp_path / "state.json"
    ec2: dict[str, Any] = {"launch_type": "EC2"} if kind == "EC2 instance" else {}
    plan = client.plan(name, kms_key="new", bucket=f"{name}-sessions", state=state, **ec2)
    kinds = [step.kind for step in plan.steps]
    said = "User: u is not authorized" if code[:2] in ("Ac", "Un") else "You have too many"
    service, operation = call.split(":")
    refusal = Refusal(client, service, operation, code, said)
    told: list[Any] = []
    with pytest.raises(ecs.ProvisionError, match=rf"^{kind} .* could not be made$") as caught:
        plan.apply(told.append)
    error = caught.value
    assert error.code == code
    assert cure in error.cure
    assert "then apply again" in error.cure
    assert len(error._render_traceback_()) <= 5
    assert (told[-1].step.kind, told[-1].state, told[-1].error) == (kind, "failed", error)

    # All steps before it are kept: in the account, in the state file, and by the next plan.
    made = [each for each in kinds[: kinds.index(kind)] if each != "network"]
    assert {step.kind for step in plan.leftovers()} == set(made)
    remembered = [each["kind"] for each in json.loads(state.read_text())["resources"]]
    assert remembered == [*made, kind]
    actions = {step.kind: step.action for step in plan.refresh().steps}
    assert {actions[each] for each in made} <= {"keep"}
    assert actions[kind] == "create"
    refusal.lift()
    plan.apply()
    assert client.target(plan.address).run("true").ok
