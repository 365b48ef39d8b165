"""A plan's whole life on the practice cluster: described, made, used, made again, removed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ecs_exec_magic.aws.plan.names import TAG
from ecs_exec_magic.client import Client, StepEvent

from .conftest import World

LIMIT = 60.0


def actions(steps: Any) -> dict[str, str]:
    return {step.kind: step.action for step in steps}


def awaited(found: Any) -> Any:
    """What a function returns once that is something."""
    end = time.monotonic() + LIMIT
    while not (value := found()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return value


def revisions(client: Client, address: str) -> set[int]:
    """Those that run: an old one may do so for a moment beside the one that is ready."""
    return {task.revision for task in client.tasks(address) if task.running}


def test_the_walkthrough_as_a_plan(world: World, tmp_path: Path) -> None:
    before, client = world.listing(), world.client()
    state = tmp_path / "deep" / "state.json"
    options: dict[str, Any] = {
        "kms_key": "new",
        "bucket": "walk-through-4711",
        "encrypt_logs": True,
        "tags": {"team": "ops"},
    }
    plan = client.plan("walk", state=state, **options)
    made = set(actions(plan.steps)) - {"network"}
    assert actions(plan.steps) == {**dict.fromkeys(made, "create"), "network": "keep"}
    assert made == {
        *("KMS key", "cluster", "log group", "S3 bucket", "security group", "execution role"),
        *("task role", "task definition", "service", "exec agent"),
    }
    assert world.listing() == before  # it only looked
    assert not state.exists()

    told: list[StepEvent] = []
    threads = set()

    def progress(event: StepEvent) -> None:
        told.append(event)
        threads.add(threading.current_thread())

    assert plan.apply(progress) == plan.steps
    assert threads == {threading.current_thread()}
    done = [event.step for event in told if event.state == "done"]
    assert done == list(plan.steps)
    assert {event.total for event in told} == {len(plan.steps)}
    assert plan.documents["task role"]["Statement"][-1]["Resource"].startswith("arn:aws:kms:")
    assert "(" not in json.dumps(plan.documents)  # what was to be made has its name now

    # Commands run there, and what they print is kept, encrypted, by the task's role.
    result = client.target(plan.address).run("echo kept-for-ever")
    assert result.stdout == "kept-for-ever\n"
    s3, logs = world.aws("s3"), world.aws("logs")
    objects = awaited(lambda: s3.list_objects_v2(Bucket="walk-through-4711").get("Contents"))
    assert objects[0]["Key"] == f"exec-output/{result.session_id}.log"
    awaited(
        lambda: [
            stream
            for stream in logs.describe_log_streams(logGroupName="/aws/ecs/walk")["logStreams"]
            if stream["logStreamName"] == result.session_id
        ]
    )
    key = world.aws("kms").describe_key(KeyId="alias/ecs-exec-walk")["KeyMetadata"]["Arn"]
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/aws/ecs/walk")["logGroups"]
    assert group["kmsKeyId"] == key
    (rule,) = s3.get_bucket_encryption(Bucket="walk-through-4711")[
        "ServerSideEncryptionConfiguration"
    ]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    closed = s3.get_public_access_block(Bucket="walk-through-4711")
    assert set(closed["PublicAccessBlockConfiguration"].values()) == {True}
    tags = s3.get_bucket_tagging(Bucket="walk-through-4711")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {TAG: "walk", "team": "ops"}
    (task,) = client.tasks("walk/walk")
    assert task.tags[TAG] == "walk"
    definition = world.aws("ecs").describe_task_definition(taskDefinition="walk")["taskDefinition"]
    assert definition["containerDefinitions"][0]["linuxParameters"]["initProcessEnabled"]
    (cluster,) = world.aws("ecs").describe_clusters(
        clusters=["walk"], include=["CONFIGURATIONS", "TAGS"]
    )["clusters"]
    assert {tag["key"] for tag in cluster["tags"]} == {TAG, "team"}  # and no bucket in the making

    # A second time there is nothing to do.
    there = world.listing()
    again = client.plan("walk", **options)
    assert set(actions(again.steps).values()) == {"keep"}
    again.apply()
    assert world.listing() == there
    resources = json.loads(state.read_text())["resources"]
    assert {each["kind"] for each in resources} == made - {"exec agent"}

    # The logs of sessions are in the way until somebody lets them go; until then all stays.
    with pytest.raises(Exception, match="has objects in it") as caught:
        again.destroy()
    assert "empty_bucket=True" in getattr(caught.value, "cure", "")
    assert world.listing() == there
    leftovers = client.plan("walk", look=False).leftovers()
    removed = client.plan("walk", look=False).destroy(empty_bucket=True)
    assert removed == leftovers
    assert {step.kind for step in removed} == made - {"exec agent"}
    assert world.listing() == before
    plan.destroy()
    assert not state.exists()
    assert client.plan("walk", look=False).leftovers() == ()
    assert client.plan("walk", look=False).destroy() == ()


def test_tasks_without_a_service(world: World) -> None:
    before, client = world.listing(), world.client()
    plan = client.plan("once", service=False, count=2, logging="none", log_group="", port=None)
    made = {step.kind for step in plan.steps if step.action == "create"}
    # Nothing is pulled from ECR or logged, so ECS itself needs no role.
    assert made == {
        *("cluster", "security group", "task role", "task definition", "task", "exec agent"),
    }
    plan.apply()
    tasks = client.tasks("once/once")
    assert len(tasks) == 2
    assert client.target(plan.address).run("true").ok
    # One is missing: only that one is started.
    world.aws("ecs").stop_task(cluster="once", task=tasks[0].task_arn)
    plan.apply()
    after = {task.task_arn for task in client.tasks("once/once")}
    assert len(after) == 2
    assert tasks[1].task_arn in after
    plan.destroy()
    assert world.listing() == before


def test_what_is_ours_is_changed(world: World) -> None:
    before, client = world.listing(), world.client()
    client.plan("change", log_group="/change/one").apply()
    plan = client.plan("change", log_group="/change/two", count=2, port=8080, memory=1024)
    found = {step.kind: step for step in plan.steps if step.action != "keep"}
    assert {kind: step.action for kind, step in found.items()} == {
        "cluster": "update",
        "log group": "create",
        "security group": "update",
        "execution role": "update",
        "task role": "update",
        "task definition": "update",
        "service": "update",
        "exec agent": "create",
    }
    assert "memory is 512; wanted: 1024" in found["task definition"].difference
    assert "its count is 1; wanted: 2" in found["service"].difference
    plan.apply()
    awaited(lambda: len(revisions(client, "change/change")) == 1)
    assert set(actions(client.plan("change", **_given(plan)).steps).values()) == {"keep"}
    plan.destroy()  # the first log group too, though no option names it any more
    assert world.listing() == before


@pytest.mark.parametrize("service", [True, False])
def test_another_revision_is_what_runs(world: World, service: bool) -> None:
    """Though nothing of the service itself is wanted otherwise."""
    before, client = world.listing(), world.client()
    client.plan("again", service=service).apply()
    plan = client.plan("again", service=service, memory=1024)
    found = {step.kind: step.action for step in plan.steps if step.action != "keep"}
    what = "service" if service else "task"
    assert found == {"task definition": "update", what: "update", "exec agent": "create"}
    plan.apply()
    newest = world.aws("ecs").describe_task_definition(taskDefinition="again")["taskDefinition"]
    assert newest["memory"] == "1024"
    awaited(lambda: revisions(client, "again/again") == {newest["revision"]})
    assert set(actions(plan.refresh().steps).values()) == {"keep"}
    plan.destroy()
    assert world.listing() == before


def _given(plan: Any) -> dict[str, Any]:
    names = ("log_group", "count", "port", "memory")
    return {name: getattr(plan.options, name) for name in names}


def test_from_tasks_to_a_service_and_not_back(world: World) -> None:
    before, client = world.listing(), world.client()
    client.plan("both", service=False).apply()
    (alone,) = client.tasks("both/both")
    client.plan("both").apply()
    awaited(lambda: alone.task_arn not in {task.task_arn for task in client.tasks("both/both")})
    back = client.plan("both", service=False)
    (step,) = [step for step in back.steps if step.action == "conflict"]
    assert (step.kind, step.why) == ("task", "a service of this name is there")
    back.destroy()
    assert world.listing() == before


def test_progress_that_fails_stops_it_and_it_goes_on_later(world: World) -> None:
    before, client = world.listing(), world.client()
    plan = client.plan("halt")

    def progress(event: StepEvent) -> None:
        if event.step.kind == "task role" and event.state == "done":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plan.apply(progress)
    kinds = {step.kind for step in plan.leftovers()}
    assert kinds == {"cluster", "log group", "security group", "execution role", "task role"}
    plan.apply()
    plan.destroy()
    assert world.listing() == before


def test_a_key_that_is_about_to_be_deleted_is_replaced_once(world: World) -> None:
    before, client, kms = world.listing(), world.client(), world.aws("kms")
    plan = client.plan("key-gone", kms_key="new", service=False)
    plan.apply()
    alias = {"KeyId": next(step.name for step in plan.steps if step.kind == "KMS key")}
    old = kms.describe_key(**alias)["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=old, PendingWindowInDays=7)
    assert actions(plan.refresh().steps)["KMS key"] == "create"
    plan.apply()
    (new,) = set(world.usable_keys()) - set(before["keys"])
    assert kms.describe_key(**alias)["KeyMetadata"]["KeyId"] == new != old
    assert actions(plan.refresh().steps)["KMS key"] == "keep"
    # As after a kill before the alias was moved: the key that is there is taken.
    kms.update_alias(AliasName=alias["KeyId"], TargetKeyId=old)
    plan.apply()
    assert set(world.usable_keys()) - set(before["keys"]) == {new}
    assert kms.describe_key(**alias)["KeyMetadata"]["KeyId"] == new
    plan.destroy()
    assert world.listing() == before


def test_a_key_of_ours_that_is_disabled_is_enabled(world: World) -> None:
    before, client, kms = world.listing(), world.client(), world.aws("kms")
    plan = client.plan("key-off", kms_key="new", service=False)
    plan.apply()
    alias = next(step.name for step in plan.steps if step.kind == "KMS key")
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
    for loose in (False, True):
        kms.disable_key(KeyId=key)
        if loose:
            kms.delete_alias(AliasName=alias)
        plan.apply()
        assert kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"] == key
        assert kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyState"] == "Enabled"
        assert actions(plan.refresh().steps)["KMS key"] == "keep"
    plan.destroy()
    assert world.listing() == before
