"""Tasks: starting, looking, stopping."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .conftest import Ecs

PARAMETER = "InvalidParameterException"
ROLE = "arn:aws:iam::123456789012:role/other"


def test_a_task_from_start_to_end(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    definition = ecs.register(
        containers=[{"name": "a", "image": "busybox"}, {"name": "b", "image": "alpine:3"}]
    )
    task = ecs.run(
        cluster,
        definition,
        enableExecuteCommand=True,
        startedBy="me",
        tags=[{"key": "environment", "value": "production"}],
        platformVersion="LATEST",
    )[0]
    arn = task["taskArn"]
    assert re.fullmatch(rf"arn:aws:ecs:us-east-1:\d+:task/{cluster}/[0-9a-f]{{32}}", arn)
    assert (task["lastStatus"], task["desiredStatus"]) == ("PROVISIONING", "RUNNING")
    assert task["attachments"][0]["status"] == "PRECREATED"
    assert task["enableExecuteCommand"] and task["platformVersion"] == "1.4.0"
    assert (task["cpu"], task["memory"], task["version"]) == ("256", "512", 1)
    assert task["tags"] == [{"key": "environment", "value": "production"}]
    assert [c["managedAgents"][0]["lastStatus"] for c in task["containers"]] == ["PENDING"] * 2
    assert "runtimeId" not in task["containers"][0] and "startedAt" not in task

    seen = ecs.running(cluster, arn)
    assert seen["tags"] == [] and seen["startedBy"] == "me" and seen["version"] > 1
    assert seen["group"].startswith("family:") and seen["connectivity"] == "CONNECTED"
    assert seen["createdAt"] <= seen["pullStartedAt"] <= seen["pullStoppedAt"] <= seen["startedAt"]
    eni = {d["name"]: d["value"] for d in seen["attachments"][0]["details"]}
    assert seen["attachments"][0]["status"] == "ATTACHED"
    assert eni["subnetId"] in ecs.subnets and eni["networkInterfaceId"].startswith("eni-")
    task_id = arn.rpartition("/")[2]
    for container, image in zip(seen["containers"], ("busybox", "alpine:3"), strict=True):
        assert container["lastStatus"] == "RUNNING" and container["image"] == image
        assert re.fullmatch(task_id + r"-\d+", container["runtimeId"])
        assert container["networkInterfaces"][0]["privateIpv4Address"] == eni["privateIPv4Address"]
        agent = container["managedAgents"][0]
        assert agent["lastStatus"] == "RUNNING" and agent["lastStartedAt"] >= seen["startedAt"]

    stopping = ecs.client.stop_task(cluster=cluster, task=task_id, reason="enough")["task"]
    assert stopping["desiredStatus"] == "STOPPED" and stopping["lastStatus"] != "RUNNING"
    gone = ecs.stopped(cluster, arn)
    assert (gone["stopCode"], gone["stoppedReason"]) == ("UserInitiated", "enough")
    assert gone["stoppingAt"] <= gone["executionStoppedAt"] <= gone["stoppedAt"]
    assert all(
        c["lastStatus"] == "STOPPED" and c["exitCode"] in (137, 143) for c in gone["containers"]
    )
    assert gone["containers"][0]["managedAgents"][0]["lastStatus"] == "STOPPED"
    again = ecs.client.stop_task(cluster=cluster, task=arn, reason="twice")["task"]
    assert again["stoppedReason"] == "enough", "a second stop changes nothing"
    assert ecs.client.list_tasks(cluster=cluster)["taskArns"] == []
    assert ecs.client.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"] == [arn]


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({"networkConfiguration": None}, PARAMETER, "Network Configuration must be provided"),
        ({"count": 0}, PARAMETER, "ount"),
        ({"count": 11}, PARAMETER, "ount"),
        ({"platformVersion": "9.9"}, "PlatformUnknownException", "platform"),
        ({"platformVersion": "1.3.0", "enableExecuteCommand": True}, PARAMETER, "platform version"),
        ({"launchType": "EC2"}, PARAMETER, "Assign public IP is not supported"),
        ({"overrides": {"containerOverrides": [{"name": "x"}]}}, PARAMETER, "named x"),
        ({"group": "service:x"}, PARAMETER, "roup"),
        ({"tags": [{"key": "aws:x", "value": "1"}]}, PARAMETER, "aws:"),
        ({"startedBy": "x" * 129}, PARAMETER, "startedBy"),
        (
            {"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
            PARAMETER,
            "both a launch type and capacity provider strategy",
        ),
    ],
)
def test_refused_launches(ecs: Ecs, given: dict[str, Any], code: str, text: str) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    ecs.fails(code, text, ecs.run, cluster=cluster, definition=definition, **given)
    assert ecs.client.list_tasks(cluster=cluster)["taskArns"] == []


def test_unknown_things(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    ecs.fails("ClusterNotFoundException", "", ecs.run, cluster="no", definition=definition)
    ecs.fails(
        "ClientException", "TaskDefinition not found.", ecs.run, cluster=cluster, definition="no:1"
    )
    missing = "0" * 32
    answer = ecs.client.describe_tasks(cluster=cluster, tasks=[missing])
    assert answer["tasks"] == []
    assert answer["failures"] == [
        {
            "arn": f"arn:aws:ecs:us-east-1:{ecs.account}:task/{cluster}/{missing}",
            "reason": "MISSING",
        }
    ]
    ecs.fails(PARAMETER, "not found", ecs.client.stop_task, cluster=cluster, task=missing)
    ecs.fails(PARAMETER, "[32,36]", ecs.client.describe_tasks, cluster=cluster, tasks=["short"])
    ecs.fails(PARAMETER, "empty", ecs.client.describe_tasks, cluster=cluster, tasks=[])
    ecs.fails(PARAMETER, "100", ecs.client.describe_tasks, cluster=cluster, tasks=[missing] * 101)
    elsewhere = f"arn:aws:ecs:us-east-1:{ecs.account}:task/other/{missing}"
    ecs.fails(PARAMETER, "Your cluster is", ecs.client.stop_task, cluster=cluster, task=elsewhere)


def test_exec_needs_a_task_role(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register(taskRoleArn=None)
    text = "a valid taskRoleArn is not being used"
    with_exec: dict[str, Any] = {
        "cluster": cluster,
        "definition": definition,
        "enableExecuteCommand": True,
    }
    ecs.fails(PARAMETER, text, ecs.run, **with_exec)
    task = ecs.run(**with_exec, overrides={"taskRoleArn": ROLE})[0]
    assert task["overrides"]["taskRoleArn"] == ROLE


def test_a_client_token_starts_once(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    first = ecs.run(cluster, definition, clientToken="t", count=2)
    second = ecs.run(cluster, definition, clientToken="t", count=2)
    assert [t["taskArn"] for t in first] == [t["taskArn"] for t in second]
    again = {"cluster": cluster, "definition": definition, "clientToken": "t", "count": 1}
    ecs.fails("ConflictException", "client token", ecs.run, **again)
    assert len(ecs.client.list_tasks(cluster=cluster)["taskArns"]) == 2
    nowhere = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    again |= {"clientToken": "u", "networkConfiguration": nowhere}
    for _ in range(2):  # what was refused was not started
        ecs.fails(PARAMETER, "subnet-1", ecs.run, **again)


def test_tags_come_from_the_definition_when_asked(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    definition = ecs.register(tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "1"}])
    arn = ecs.run(
        cluster,
        definition,
        propagateTags="TASK_DEFINITION",
        enableECSManagedTags=True,
        tags=[{"key": "b", "value": "2"}],
    )[0]["taskArn"]
    tags = {t["key"]: t["value"] for t in ecs.task(cluster, arn, include=["TAGS"])["tags"]}
    assert tags == {"a": "1", "b": "2", "aws:ecs:clusterName": cluster}


def test_what_overrides_do(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    override: dict[str, Any] = {"name": "app", "command": ["sh", "-c", "exit $CODE"]}
    override["environment"] = [{"name": "CODE", "value": "7"}]
    task = ecs.run(cluster, definition, overrides={"containerOverrides": [override]})[0]
    assert task["overrides"]["containerOverrides"] == [override]
    gone = ecs.stopped(cluster, task["taskArn"])
    assert gone["containers"][0]["exitCode"] == 7
    assert gone["stopCode"] == "EssentialContainerExited"
    assert gone["stoppedReason"] == "Essential container in task exited"


def test_only_essential_containers_end_a_task(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    side = {
        "name": "side",
        "image": "busybox",
        "essential": False,
        "command": ["sh", "-c", "exit 3"],
    }
    definition = ecs.register(containers=[{"name": "app", "image": "busybox"}, side])
    arn = ecs.run(cluster, definition, enableExecuteCommand=True)[0]["taskArn"]
    task = ecs.until(
        lambda: ecs.task(cluster, arn),
        lambda t: t["lastStatus"] == "RUNNING" and t["containers"][1]["lastStatus"] == "STOPPED",
    )
    assert task["containers"][1]["exitCode"] == 3
    assert task["containers"][0]["lastStatus"] == "RUNNING"
    ecs.client.stop_task(cluster=cluster, task=arn)
    gone = ecs.stopped(cluster, arn)
    assert gone["containers"][1]["exitCode"] == 3, "a stop does not rewrite an end"


def test_a_command_that_is_not_in_the_image(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    definition = ecs.register(
        containers=[{"name": "app", "image": "busybox", "command": ["no-such-program"]}]
    )
    gone = ecs.stopped(cluster, ecs.run(cluster, definition)[0]["taskArn"])
    assert gone["stopCode"] == "TaskFailedToStart"
    assert gone["stoppedReason"].startswith("CannotStartContainerError")
    assert "executable file not found" in gone["containers"][0]["reason"]
    assert "exitCode" not in gone["containers"][0] and "startedAt" not in gone


def test_a_read_only_root_stops_the_agent(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    definition = ecs.register(
        containers=[{"name": "app", "image": "busybox", "readonlyRootFilesystem": True}]
    )
    task = ecs.running(
        cluster, ecs.run(cluster, definition, enableExecuteCommand=True)[0]["taskArn"]
    )
    agent = task["containers"][0]["managedAgents"][0]
    assert agent["lastStatus"] == "STOPPED" and "exit code" in agent["reason"]


def test_a_task_stopped_while_it_starts(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    for _ in range(5):
        arn = ecs.run(cluster, definition)[0]["taskArn"]
        ecs.client.stop_task(cluster=cluster, task=arn)
        gone = ecs.stopped(cluster, arn)
        assert gone["containers"][0]["lastStatus"] == "STOPPED"
    assert not [t for t in ecs.world._pods if t.cluster.name == cluster]
