"""Switching exec on for services that are there, and putting everything back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from ecs_exec_magic.client import Enabling, Step
from ecs_exec_magic.errors import (
    InvalidRequest,
    ProvisionError,
    TargetNotFound,
)

from .conftest import Shop

CHANNEL = "ssmmessages:*"


def steps(plan: Enabling) -> dict[str, Step]:
    return {step.kind: step for step in plan.steps}


def actions(plan: Enabling) -> dict[str, str]:
    return {step.kind: step.action for step in plan.steps}


def test_exec_on_and_off_again(shop: Shop, tmp_path: Path) -> None:
    cluster, name = shop.name(), shop.name()
    role = shop.role(f"{name}-task", "s3:GetObject", Path="/teams/")
    shop.service(cluster, name, shop.define(name, role), count=2)
    before, client, address = shop.shown(cluster, name), shop.client(), f"{cluster}/{name}"
    plan = client.enable_exec(address, state=tmp_path / "state.json")
    assert actions(plan) == {
        "service tags": "update",
        "task role": "keep",
        "role policy": "create",
        "cluster": "keep",
        "task definition": "keep",
        "service": "update",
        "exec agent": "create",
    }
    assert "lacks ssmmessages:CreateControlChannel" in steps(plan)["role policy"].why
    assert "2 of its tasks were started without exec" in steps(plan)["service"].difference
    assert shop.shown(cluster, name) == before  # it only looked
    events: list[Any] = []
    done = plan.apply(events.append)
    assert [step.kind for step in done] == list(actions(plan))
    assert events[-1].state == "done" and events[-1].step.kind == "exec agent"
    shop.settled(cluster, name)
    assert client.run(address, "echo on").ok
    after = shop.shown(cluster, name)
    own = [policy for policy in after[f"role {name}-task"] if policy != "of-the-team"]
    assert len(own) == 1 and own[0].startswith(f"ecs-exec-{name}-")
    assert after[f"role {name}-task"][own[0]] == plan.documents["task role"]
    assert {"key": "team", "value": "ops"} in after[name][2]
    again = client.enable_exec(address)
    assert set(actions(again).values()) == {"keep"}
    again.apply()
    assert shop.shown(cluster, name) == after
    saved = json.loads((tmp_path / "state.json").read_text())
    assert {"kind": "role policy", "name": own[0]} in saved["resources"]
    undo = client.enable_exec(address, look=False, state=tmp_path / "state.json")
    assert [(step.action, step.kind) for step in undo.leftovers()] == [
        ("update", "service"),
        ("delete", "role policy"),
        ("delete", "service tags"),
    ]
    undo.undo()
    assert shop.shown(cluster, name) == before
    assert undo.leftovers() == () and undo.undo() == ()
    assert not (tmp_path / "state.json").exists()


def test_a_service_that_was_deleted_first(shop: Shop, tmp_path: Path) -> None:
    """Its tags are gone: the cluster's tags and the state file find what is left."""
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", "s3:GetObject")))
    before, client, state = shop.shown(cluster), shop.client(), tmp_path / "state.json"
    client.enable_exec(f"{cluster}/{name}", logging="none", state=state).apply()
    shop.aws("ecs").delete_service(cluster=cluster, service=name, force=True)
    undo = client.enable_exec(f"{cluster}/{name}", look=False, state=state)
    kinds = [step.kind for step in undo.leftovers()]
    assert kinds == ["role policy", "cluster"]
    undo.undo()
    assert shop.shown(cluster) == before


def test_what_others_allow_is_not_allowed_again(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", CHANNEL)))
    before, client = shop.shown(cluster, name), shop.client()
    plan = client.enable_exec(f"{cluster}/{name}")
    assert steps(plan)["role policy"].action == "keep"
    assert "has all permissions already" in steps(plan)["role policy"].why
    plan.apply()
    assert list(shop.shown(cluster, name)[f"role {name}-task"]) == ["of-the-team"]
    plan.undo()
    assert shop.shown(cluster, name) == before


def test_the_settings_of_the_cluster_come_back(shop: Shop) -> None:
    """Two services of one cluster: the last one that goes puts the settings back."""
    cluster, one, two = shop.name(), shop.name(), shop.name()
    former = {
        "logging": "OVERRIDE",
        "logConfiguration": {"s3BucketName": f"{cluster}-old", "s3KeyPrefix": "it's (old)/*!"},
    }
    storage = {"managedStorageConfiguration": {"kmsKeyId": "alias/storage"}}
    configuration = {"executeCommandConfiguration": former, **storage}
    shop.aws("s3").create_bucket(Bucket=f"{cluster}-old")
    shop.aws("s3").create_bucket(Bucket=f"{cluster}-new")
    shop.aws("logs").create_log_group(logGroupName=f"/exec/{cluster}")
    role = shop.role(f"{cluster}-task")
    for name in (one, two):
        settings = {"configuration": configuration}
        shop.service(cluster, name, shop.define(name, role), settings=settings)
    before, client = shop.shown(cluster, one, two), shop.client()
    options: Any = {"logging": "override", "log_group": f"/exec/{cluster}", "kms_key": ""}
    first = client.enable_exec(f"{cluster}/{one}", **options)
    assert "cloudWatchLogGroupName is none" in steps(first)["cluster"].difference[0]
    first.apply()
    second = client.enable_exec(
        f"{cluster}/{two}", logging="override", bucket=f"{cluster}-new", prefix="new"
    )
    second.apply()
    documents = shop.shown(cluster, one, two)[f"role {cluster}-task"]
    assert len(documents) == 2  # each service has a policy of its own on the role
    said = json.dumps(documents)
    assert f"/exec/{cluster}:*" in said and f"{cluster}-new/new/*" in said
    first.undo()
    told = shop.aws("ecs").describe_clusters(clusters=[cluster], include=["CONFIGURATIONS"])
    now = told["clusters"][0]["configuration"]
    assert now["executeCommandConfiguration"]["logConfiguration"]["s3BucketName"].endswith("-new")
    assert now["managedStorageConfiguration"] == storage["managedStorageConfiguration"]
    second.undo()
    assert shop.shown(cluster, one, two) == before


def test_settings_that_somebody_has_changed_since_are_left(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", CHANNEL)))
    client = shop.client()
    plan = client.enable_exec(f"{cluster}/{name}", logging="none")
    plan.apply()
    theirs = {"logging": "DEFAULT", "kmsKeyId": "alias/theirs"}
    shop.aws("ecs").update_cluster(
        cluster=cluster, configuration={"executeCommandConfiguration": theirs}
    )
    said: list[str] = []
    plan.undo(lambda event: said.append(event.said))
    assert any("changed by somebody else" in each for each in said)
    tags, execution = shop.shown(cluster, name)["cluster"]
    assert execution == theirs and not tags


def test_a_task_definition_without_a_role(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    definition = shop.define(name, others=[{"name": "side", "image": "x", "essential": False}])
    shop.service(cluster, name, definition)
    before, client = shop.shown(cluster, name), shop.client()
    plan = client.enable_exec(f"{cluster}/{name}")
    assert actions(plan)["task role"] == actions(plan)["task definition"] == "create"
    assert plan.address == f"{cluster}/{name}:app"
    plan.apply()
    shop.settled(cluster, name)
    assert client.target(plan.address).run("echo on").ok
    api = shop.aws("ecs")
    answer = api.describe_task_definition(taskDefinition=name, include=["TAGS"])
    new, old = answer["taskDefinition"], api.describe_task_definition(taskDefinition=definition)
    own = new.pop("taskRoleArn").rpartition("/")[2]
    assert own.startswith(f"ecs-exec-{name}-")
    assert new["containerDefinitions"] == old["taskDefinition"]["containerDefinitions"]
    assert {"key": "team", "value": "ops"} in answer["tags"]
    plan.undo()
    assert shop.shown(cluster, name) == before


def test_a_role_that_a_later_revision_has_stays(shop: Shop) -> None:
    """A pipeline that copies our revision goes on using its role."""
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name))
    client, api = shop.client(), shop.aws("ecs")
    plan = client.enable_exec(f"{cluster}/{name}")
    plan.apply()
    role = api.describe_task_definition(taskDefinition=name)["taskDefinition"]["taskRoleArn"]
    theirs = shop.define(name, role)
    api.update_service(cluster=cluster, service=name, taskDefinition=theirs)
    shop.settled(cluster, name)
    kept = [step for step in plan.leftovers() if step.kind == "task role"]
    assert [step.action for step in kept] == ["keep"] and "stays" in kept[0].why
    plan.undo()
    after = shop.shown(cluster, name)
    assert after[name][:2] == [theirs, False]
    assert f"role {role.rpartition('/')[2]}" in after


def test_a_role_that_is_given(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name))
    given = shop.role(f"{name}-given")
    before, client = shop.shown(cluster, name), shop.client()
    with pytest.raises(ProvisionError, match="nothing was touched") as caught:
        client.enable_exec(f"{cluster}/{name}", task_role="nobody-has-it").apply()
    assert "there is no such role" in caught.value.cause
    plan = client.enable_exec(f"{cluster}/{name}", task_role=f"{name}-given")
    plan.apply()
    now = shop.aws("ecs").describe_task_definition(taskDefinition=name)["taskDefinition"]
    assert now["taskRoleArn"] == given
    plan.undo()
    assert shop.shown(cluster, name) == before


def test_no_task_is_to_run(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", CHANNEL)), count=0)
    before, plan = shop.shown(cluster, name), shop.client().enable_exec(f"{cluster}/{name}")
    assert "desired count 0" in steps(plan)["exec agent"].why
    plan.apply()
    assert shop.shown(cluster, name)[name][1] is True
    plan.undo()
    assert shop.shown(cluster, name) == before


def test_exec_that_is_on_is_found_on(shop: Shop) -> None:
    """Nothing is remembered, and so nothing can be undone by accident."""
    cluster, name = shop.name(), shop.name()
    definition = shop.define(name, shop.role(f"{name}-task", CHANNEL))
    shop.service(cluster, name, definition, enableExecuteCommand=True)
    before, plan = shop.shown(cluster, name), shop.client().enable_exec(f"{cluster}/{name}")
    assert set(actions(plan).values()) == {"keep"}
    plan.apply()
    assert plan.leftovers() == ()
    assert shop.shown(cluster, name) == before


def test_a_flag_without_new_tasks_is_not_enough(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", CHANNEL)))
    shop.aws("ecs").update_service(cluster=cluster, service=name, enableExecuteCommand=True)
    client = shop.client()
    plan = client.enable_exec(f"{cluster}/{name}")
    assert steps(plan)["service"].difference[0].endswith("started without exec")
    plan.apply()
    shop.settled(cluster, name)
    assert client.run(f"{cluster}/{name}", "true").ok
    plan.undo()
    assert shop.shown(cluster, name)[name][1] is True  # as it was


# -- what is in the way --------------------------------------------------------------------------


def refused(shop: Shop, address: str, session: boto3.Session | None = None, **options: Any) -> str:
    """What an apply says that touches nothing."""
    cluster, name = address.split("/")
    before = shop.shown(cluster, name)
    with pytest.raises(ProvisionError, match="nothing was touched") as caught:
        shop.client(session).enable_exec(address, **options).apply()
    assert shop.shown(cluster, name) == before
    return f"{caught.value.cause} | {caught.value.cure}"


@pytest.mark.parametrize(
    ("controller", "words"), [("CODE_DEPLOY", "CodeDeploy"), ("EXTERNAL", "external controller")]
)
def test_deployments_that_are_not_ours_to_make(shop: Shop, controller: str, words: str) -> None:
    cluster, name = shop.name(), shop.name()
    definition = shop.define(name, shop.role(f"{name}-task", CHANNEL))
    shop.service(cluster, name, definition, deploymentController={"type": controller})
    said = refused(shop, f"{cluster}/{name}")
    assert words in said and "--enable-execute-command" in said


def test_a_platform_without_exec(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    definition = shop.define(name, shop.role(f"{name}-task", CHANNEL))
    shop.service(cluster, name, definition, platformVersion="1.3.0")
    said = refused(shop, f"{cluster}/{name}")
    assert "1.3.0" in said and "--platform-version LATEST" in said


def test_read_only_filesystems(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    role = shop.role(f"{name}-task", CHANNEL)
    closed = {"readonlyRootFilesystem": True}
    shop.service(cluster, name, shop.define(name, role, container=closed))
    assert "read-only" in refused(shop, f"{cluster}/{name}")
    other = shop.name()
    side = {"name": "side", "image": "nginx", "essential": False}
    shop.service(
        cluster, other, shop.define(other, role, container=closed, others=[side], pidMode="task")
    )
    plan = shop.client().enable_exec(f"{cluster}/{other}")
    assert "root filesystem of app is read-only" in plan.warnings[0]
    assert "pidMode" in plan.warnings[1]
    assert plan.warnings[0] in str(plan.show()) and "To know before" in plan.show().html()
    assert "conflict" not in actions(plan).values()


def test_what_no_policy_of_the_role_can_change(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    role = shop.role(f"{name}-task")
    shop.service(cluster, name, shop.define(name, role))
    iam = shop.aws("iam")
    deny = [{"Effect": "Deny", "Action": "ssmmessages:Open*", "Resource": "*"}]
    document = json.dumps({"Version": "2012-10-17", "Statement": deny})
    iam.put_role_policy(RoleName=f"{name}-task", PolicyName="stop", PolicyDocument=document)
    assert "denied explicitly by" in refused(shop, f"{cluster}/{name}")
    iam.delete_role_policy(RoleName=f"{name}-task", PolicyName="stop")
    limit = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    document = json.dumps({"Version": "2012-10-17", "Statement": limit})
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=f"{name}-task", PermissionsBoundary=arn)
    assert "permissions boundary" in refused(shop, f"{cluster}/{name}")


def test_without_the_simulator_documents_are_compared(shop: Shop) -> None:
    cluster, one, two = shop.name(), shop.name(), shop.name()
    shop.service(cluster, one, shop.define(one, shop.role(f"{one}-task", CHANNEL)))
    shop.service(cluster, two, shop.define(two, shop.role(f"{two}-task", "s3:*")))
    client = shop.client(shop.user(["iam:SimulatePrincipalPolicy"]))
    has, lacks = (client.enable_exec(f"{cluster}/{name}") for name in (one, two))
    assert steps(has)["role policy"].action == "keep"
    assert steps(lacks)["role policy"].action == "create"
    assert "as its documents say" in steps(lacks)["role policy"].why
    assert "SimulatePrincipalPolicy" in lacks.warnings[0]
    lacks.apply()
    lacks.undo()


def test_an_alias_that_may_not_be_looked_up_opens_no_other_key(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    kms = shop.aws("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{cluster}", TargetKeyId=key)
    settings = {"executeCommandConfiguration": {"kmsKeyId": f"alias/{cluster}"}}
    shop.service(
        cluster,
        name,
        shop.define(name, shop.role(f"{name}-task", CHANNEL)),
        settings={"configuration": settings},
    )
    client = shop.client(shop.user(["kms:DescribeKey"]))
    plan = client.enable_exec(f"{cluster}/{name}")
    statement = plan.documents["task role"]["Statement"][-1]
    assert statement["Resource"].endswith(":key/*")
    aliases = {"kms:ResourceAliases": f"alias/{cluster}"}
    assert statement["Condition"] == {"ForAnyValue:StringEquals": aliases}
    with pytest.raises(ProvisionError, match="could not be looked at") as caught:
        client.enable_exec(f"{cluster}/{name}", kms_key="alias/other")
    assert "kms:DescribeKey" in caught.value.cure


def test_a_permission_that_is_missing_stops_it_and_it_goes_on(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task")))
    before = shop.shown(cluster, name)
    session = shop.user(["ecs:UpdateService"])
    user = f"user-{shop.count}"
    client = shop.client(session)
    plan = client.enable_exec(f"{cluster}/{name}")
    with pytest.raises(ProvisionError, match="could not be changed") as caught:
        plan.apply()
    assert "ecs:UpdateService" in caught.value.cure and "apply again" in caught.value.cure
    shop.deny(user, [])
    plan.apply()
    shop.settled(cluster, name)
    assert client.run(f"{cluster}/{name}", "true").ok
    shop.deny(user, ["iam:DeleteRolePolicy"])
    with pytest.raises(ProvisionError, match="could not be removed") as caught:
        plan.undo()
    assert "undo again" in caught.value.cure
    shop.deny(user, [])
    plan.undo()
    assert shop.shown(cluster, name) == before


def test_what_is_named_must_be_there(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", "*")))
    address = f"{cluster}/{name}"
    for options, words in (
        ({"logging": "override", "log_group": "/none"}, "there is no such log group"),
        ({"logging": "override", "bucket": "there-is-none-such"}, "there is no such S3 bucket"),
        ({"kms_key": "alias/none"}, "there is no such KMS key"),
    ):
        assert words in refused(shop, address, **options)
    shop.aws("logs").create_log_group(logGroupName=f"/open/{name}")
    sealed: Any = {"logging": "override", "log_group": f"/open/{name}", "encrypt_logs": True}
    assert "no KMS key" in refused(shop, address, **sealed)


def test_a_task_on_its_own_is_told_the_line(shop: Shop) -> None:
    cluster, name = shop.name(), shop.name()
    shop.service(cluster, name, shop.define(name, shop.role(f"{name}-task", CHANNEL)))
    alone, api = shop.name(), shop.aws("ecs")
    shop.define(alone, shop.role(f"{alone}-task", CHANNEL))
    network = shop.network()
    started = api.run_task(
        cluster=cluster, taskDefinition=alone, launchType="FARGATE", networkConfiguration=network
    )["tasks"][0]["taskArn"]
    waiter = api.get_waiter("tasks_running")
    waiter.wait(cluster=cluster, tasks=[started], WaiterConfig={"Delay": 1})
    client, short = shop.client(), started.rpartition("/")[2]
    for named in (alone, short, short[:8]):
        with pytest.raises(InvalidRequest, match="a task without a service") as caught:
            client.enable_exec(f"{cluster}/{named}")
        line = caught.value.cure
        assert f"aws ecs run-task --region {shop.region} --cluster {cluster}" in line
        assert f"--task-definition {alone}:1 --enable-execute-command --launch-type" in line
        assert network["awsvpcConfiguration"]["subnets"][0] in line
    own = api.list_tasks(cluster=cluster, serviceName=name)["taskArns"][0].rpartition("/")[2]
    with pytest.raises(InvalidRequest, match=f"a task of service {name}") as caught:
        client.enable_exec(f"{cluster}/{own}")
    assert caught.value.cure == f"give {cluster}/{name}"
    with pytest.raises(TargetNotFound):
        client.enable_exec(f"{cluster}/nothing-here")
    with pytest.raises(TargetNotFound, match="no cluster"):
        client.enable_exec("no-cluster/web")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"logging": "override"}, "needs a log group, a bucket, or both"),
        ({"logging": "all"}, "none, default or override"),
        ({"log_group": "/a"}, "goes with logging override only"),
        ({"logging": "override", "log_group": "a b"}, "letters, digits"),
        ({"logging": "override", "bucket": "A"}, "lower-case"),
        ({"kms_key": "a b"}, "without blanks"),
    ],
)
def test_options_that_do_not_go_together(shop: Shop, options: Any, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        shop.client().enable_exec("prod/web", **options)
    assert words in caught.value.cause


def test_other_services_that_the_new_settings_would_lock_out_are_named(shop: Shop) -> None:
    cluster, name, other, without = (shop.name() for _ in range(4))
    role = shop.role(f"{cluster}-task", CHANNEL)
    for each, on in ((name, False), (other, True), (without, False)):
        shop.service(cluster, each, shop.define(each, role), enableExecuteCommand=on)
    key = shop.aws("kms").create_key()["KeyMetadata"]["KeyId"]
    shop.aws("logs").create_log_group(logGroupName=f"/exec/{cluster}")
    logs: Any = {"logging": "override", "log_group": f"/exec/{cluster}"}
    client, address = shop.client(), f"{cluster}/{name}"
    (said,) = client.enable_exec(address, kms_key=key, **logs).warnings
    assert f"the task roles of {other} need kms:Decrypt for the key and the permissions" in said
    assert without not in said
    assert client.enable_exec(address).warnings == ()
    assert client.enable_exec(address, logging="none").warnings == ()
    denied = shop.client(shop.user(["ecs:ListServices"]))
    (said,) = denied.enable_exec(address, kms_key=key).warnings
    assert "they may not be listed" in said and "logs" not in said
