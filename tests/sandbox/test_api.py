"""The API side, through boto3."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from .conftest import Cluster


def fails(code: str, text: str, function: Any, **given: Any) -> None:
    with pytest.raises(ClientError) as caught:
        function(**given)
    assert caught.value.response["Error"]["Code"] == code
    assert text in caught.value.response["Error"]["Message"]


def test_seeded_services(shared: Cluster) -> None:
    arns = shared.ecs.list_services(cluster="demo")["serviceArns"]
    found = shared.ecs.describe_services(cluster="demo", services=arns)["services"]
    counts = {s["serviceName"]: (s["runningCount"], s["desiredCount"]) for s in found}
    assert counts == {"web": (3, 3), "worker": (2, 2)}
    answer = shared.ecs.describe_services(cluster="demo", services=["nope"])
    assert answer["failures"][0]["reason"] == "MISSING"
    fails(
        "ServiceNotFoundException",
        "Service not found.",
        shared.ecs.list_tasks,
        cluster="demo",
        serviceName="nope",
    )


def test_seeded_tasks_look_real(shared: Cluster) -> None:
    task = shared.task("web")
    assert re.fullmatch(
        rf"arn:aws:ecs:us-east-1:{shared.account}:task/demo/[0-9a-f]{{32}}", task["taskArn"]
    )
    assert task["enableExecuteCommand"] and task["platformVersion"] == "1.4.0"
    assert [c["name"] for c in task["containers"]] == ["nginx", "sidecar"]
    task_id = task["taskArn"].rpartition("/")[2]
    for container in task["containers"]:
        assert re.fullmatch(task_id + r"-\d+", container["runtimeId"])
        agent = container["managedAgents"][0]
        assert (agent["name"], agent["lastStatus"]) == ("ExecuteCommandAgent", "RUNNING")
    assert task["createdAt"] < task["startedAt"]
    starts = [shared.task("web", n)["startedAt"] for n in range(3)]
    assert len(set(starts)) == 3
    agent = shared.task("agent-down")["containers"][0]["managedAgents"][0]
    assert agent["lastStatus"] == "STOPPED" and "exit code" in agent["reason"]
    assert "managedAgents" not in shared.task("no-exec")["containers"][0]


def test_task_listing_filters_and_pages(shared: Cluster) -> None:
    def count(**given: Any) -> int:
        return len(shared.ecs.list_tasks(cluster="demo", **given)["taskArns"])

    assert count() == 7
    assert count(serviceName="web") == 3
    assert count(family="no-exec") == 1
    assert count(launchType="EC2") == 0
    assert count(desiredStatus="STOPPED") == 0
    pages = shared.ecs.get_paginator("list_tasks").paginate(
        cluster="demo", PaginationConfig={"PageSize": 2}
    )
    arns = [arn for page in pages for arn in page["taskArns"]]
    assert len(arns) == len(set(arns)) == 7
    fails(
        "InvalidParameterException",
        "oken",
        shared.ecs.list_tasks,
        cluster="demo",
        nextToken="!",
    )


def test_clusters(shared: Cluster) -> None:
    bare = shared.ecs.describe_clusters(clusters=["demo", "gone"])
    assert "configuration" not in bare["clusters"][0] and bare["clusters"][0]["tags"] == []
    assert bare["failures"][0]["reason"] == "MISSING"
    fails("ClusterNotFoundException", "Cluster not found.", shared.ecs.list_tasks)
    key = shared.kms.create_key()["KeyMetadata"]["Arn"]
    execution = {"kmsKeyId": key, "logging": "DEFAULT"}
    shared.ecs.create_cluster(
        clusterName="keyed", configuration={"executeCommandConfiguration": execution}
    )
    seen = shared.ecs.describe_clusters(clusters=["keyed"], include=["CONFIGURATIONS"])
    assert seen["clusters"][0]["configuration"]["executeCommandConfiguration"] == execution
    fails(
        "InvalidParameterException",
        "logConfiguration",
        shared.ecs.update_cluster,
        cluster="keyed",
        configuration={"executeCommandConfiguration": {"logging": "OVERRIDE"}},
    )


def test_regions_and_identity(shared: Cluster) -> None:
    there = boto3.client(
        "ecs",
        endpoint_url=shared.sandbox.url,
        region_name="eu-central-1",
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
    )
    assert there.list_clusters()["clusterArns"] == []
    arn = there.create_cluster(clusterName="there")["cluster"]["clusterArn"]
    assert arn == f"arn:aws:ecs:eu-central-1:{shared.account}:cluster/there"
    assert arn not in shared.ecs.list_clusters()["clusterArns"]
    assert shared.sts.get_caller_identity()["Account"] == f"{shared.account}"


def test_execute_command_refusals(shared: Cluster) -> None:
    web, execute = shared.task("web")["taskArn"], shared.ecs.execute_command
    base = {"cluster": "demo", "command": "ls", "interactive": True}
    parameter = "InvalidParameterException"
    fails(parameter, "not enabled", execute, task=shared.task("no-exec")["taskArn"], **base)
    fails(parameter, "agent isn", execute, task=shared.task("agent-down")["taskArn"], **base)
    fails(parameter, "multiple containers", execute, task=web, **base)
    fails(parameter, "not found", execute, task=web, container="nope", **base)
    fails(parameter, "task length should be one of [32,36]", execute, task="short", **base)
    fails(parameter, "not found", execute, task="0" * 32, **base)
    fails(
        parameter,
        "Interactive is the only mode supported currently.",
        execute,
        task=web,
        container="nginx",
        **{**base, "interactive": False},
    )
    fails("ClusterNotFoundException", "", execute, task=web, **{**base, "cluster": "nope"})
    other = web.replace("/demo/", "/other/")
    fails(parameter, "Identifier is for cluster other", execute, task=other, **base)


def test_target_not_connected(own: Cluster) -> None:
    world = own.sandbox._server.world
    task_id = own.task("worker")["taskArn"].rpartition("/")[2]
    demo = world.state.region("us-east-1").clusters["demo"]
    demo.tasks[task_id].containers[0].control_channel = False
    fails(
        "TargetNotConnectedException",
        "internal error",
        own.ecs.execute_command,
        cluster="demo",
        task=task_id,
        command="ls",
        interactive=True,
    )


def test_protocol_errors(shared: Cluster) -> None:
    fails(
        "UnsupportedOperation", "ecs:DeleteAttributes", shared.ecs.delete_attributes, attributes=[]
    )
    loose = boto3.client(
        "ecs",
        endpoint_url=shared.sandbox.url,
        region_name="us-east-1",
        aws_access_key_id="ASIAEXPIRED1",
        aws_secret_access_key="x",
        config=Config(parameter_validation=False, retries={"max_attempts": 1}),
    )
    fails("ExpiredTokenException", "expired", loose.list_clusters)
    request = urllib.request.Request(shared.sandbox.url + "/", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        assert answer.code == 403 and b"MissingAuthenticationToken" in answer.read()


def test_bad_parameters_are_refused(shared: Cluster) -> None:
    loose = boto3.client(
        "ecs",
        endpoint_url=shared.sandbox.url,
        region_name="us-east-1",
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
        config=Config(parameter_validation=False),
    )
    fails("InvalidParameterException", "", loose.list_tasks, cluster="demo", maxResults="x")
    fails("InvalidParameterException", "", loose.describe_tasks, cluster="demo")


def test_ssm_refusals_and_counters(own: Cluster) -> None:
    start, target = own.ssm.start_session, own.target()
    fails("InvalidDocument", "nope", start, Target=target, DocumentName="nope")
    fails("TargetNotConnected", "is not connected", start, Target="ecs:demo_x_y")
    fails(
        "InvalidParameters",
        "command",
        start,
        Target=target,
        DocumentName="AWS-StartNonInteractiveCommand",
        Parameters={},
    )
    own.sandbox.faults.deny_start_session = True
    fails("AccessDeniedException", "explicit deny", start, Target=target)
    fails("DoesNotExistException", "nope", own.ssm.terminate_session, SessionId="nope")
    own.sandbox.faults.throttle["ListClusters"] = 1
    assert own.ecs.list_clusters()["clusterArns"]  # boto3 tries again
    calls = own.sandbox.counters.calls("ListClusters")
    assert [c.error for c in calls] == ["ThrottlingException", ""]
    assert own.sandbox.counters.calls("StartSession")[0].parameters["DocumentName"] == "nope"


def test_kms_through_boto(shared: Cluster) -> None:
    key = shared.kms.create_key(Description="exec")["KeyMetadata"]
    assert shared.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["Arn"] == key["Arn"]
    context = {"aws:ssm:SessionId": "s"}
    made = shared.kms.generate_data_key(
        KeyId=key["Arn"], NumberOfBytes=64, EncryptionContext=context
    )
    opened = shared.kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
    assert opened["Plaintext"] == made["Plaintext"] and len(made["Plaintext"]) == 64
    fails(
        "InvalidCiphertextException",
        "",
        shared.kms.decrypt,
        CiphertextBlob=made["CiphertextBlob"],
        EncryptionContext={},
    )
    fails("NotFoundException", "", shared.kms.describe_key, KeyId="nope")


def test_run_and_stop_task(own: Cluster) -> None:
    network = {"awsvpcConfiguration": {"subnets": own.subnets()}}
    run = own.ecs.run_task(
        cluster="demo",
        taskDefinition="worker",
        networkConfiguration=network,
        enableExecuteCommand=True,
    )["tasks"][0]
    assert run["lastStatus"] == "PROVISIONING"
    own.ecs.get_waiter("tasks_running").wait(
        cluster="demo", tasks=[run["taskArn"]], WaiterConfig={"Delay": 0, "MaxAttempts": 20_000}
    )
    own.ecs.stop_task(cluster="demo", task=run["taskArn"], reason="enough")
    own.ecs.get_waiter("tasks_stopped").wait(
        cluster="demo", tasks=[run["taskArn"]], WaiterConfig={"Delay": 0, "MaxAttempts": 20_000}
    )
    stopped = own.ecs.describe_tasks(cluster="demo", tasks=[run["taskArn"]])["tasks"][0]
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough")


def test_web_root_is_served(shared: Cluster) -> None:
    binding = shared.task("web")["containers"][0]["networkBindings"][0]
    assert (binding["bindIP"], binding["containerPort"]) == ("127.0.0.1", 80)
    url = f"http://127.0.0.1:{binding['hostPort']}"
    with urllib.request.urlopen(url + "/") as page:
        assert b"Welcome to nginx!" in page.read()
    for path, code in (("/nope", 404), ("/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 403)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url + path)
        caught.value.close()
        assert caught.value.code in (code, 400, 404)
