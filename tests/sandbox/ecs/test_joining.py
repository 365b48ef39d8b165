"""EC2 instances that join clusters, as their user data says."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from .conftest import REGION, Ecs

IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
LIMIT = 30.0


def client(ecs: Ecs, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=ecs.sandbox.url,
        region_name=REGION,
        aws_access_key_id="AKIASANDBOX000000001",
        aws_secret_access_key="sandbox",
    )


def run(ecs: Ecs, script: str, **more: Any) -> str:
    image = client(ecs, "ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"]
    given = {"ImageId": image, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1}
    answer = client(ecs, "ec2").run_instances(UserData=script, **{**given, **more})
    found: str = answer["Instances"][0]["InstanceId"]
    return found


def members(ecs: Ecs, cluster: str) -> list[dict[str, Any]]:
    arns = ecs.client.list_container_instances(cluster=cluster)["containerInstanceArns"]
    if not arns:
        return []
    found = ecs.client.describe_container_instances(cluster=cluster, containerInstances=arns)
    answer: list[dict[str, Any]] = found["containerInstances"]
    return answer


def joined(ecs: Ecs, cluster: str, count: int = 1) -> list[dict[str, Any]]:
    end = time.monotonic() + LIMIT
    while len(found := members(ecs, cluster)) != count:
        assert time.monotonic() < end, "it did not join"
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/bash\necho ECS_CLUSTER={} >> /etc/ecs/ecs.config\n",
        "#!/bin/sh\nyum update\necho 'ECS_CLUSTER={}' > /etc/ecs/ecs.config",
        "#!/bin/bash\ncat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER={}\nA=b\nEOF\n",
    ],
)
def test_an_instance_joins_the_cluster_that_it_is_told(ecs: Ecs, script: str) -> None:
    cluster = ecs.cluster()
    instance = run(ecs, script.format(cluster))
    (member,) = joined(ecs, cluster)
    assert member["ec2InstanceId"] == instance
    assert (member["status"], member["agentConnected"]) == ("ACTIVE", True)
    sizes = {each["name"]: each.get("integerValue") for each in member["registeredResources"]}
    assert (sizes["CPU"], sizes["MEMORY"]) == (2048, 3884)
    attributes = {each["name"]: each.get("value") for each in member["attributes"]}
    assert attributes["ecs.instance-type"] == "t3.medium"
    client(ecs, "ec2").terminate_instances(InstanceIds=[instance])
    assert members(ecs, cluster) == []


def test_others_join_nothing(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    for script in ("#!/bin/bash\necho hello\n", "ECS_CLUSTER=no-such-cluster", ""):
        run(ecs, script)
    run(ecs, f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config")
    joined(ecs, cluster)
    every = ecs.client.list_clusters()["clusterArns"]
    assert sum(len(members(ecs, arn)) for arn in every) == 1


def test_an_instance_that_is_stopped_comes_back(ecs: Ecs) -> None:
    cluster, ec2 = ecs.cluster(), client(ecs, "ec2")
    instance = run(ecs, f"ECS_CLUSTER={cluster}")
    (first,) = joined(ecs, cluster)
    ec2.stop_instances(InstanceIds=[instance])
    assert [each["agentConnected"] for each in members(ecs, cluster)] == [False]
    ec2.start_instances(InstanceIds=[instance])
    (again,) = members(ecs, cluster)
    assert again["agentConnected"]
    assert again["containerInstanceArn"] == first["containerInstanceArn"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"InstanceType": "t9.nope"}, "Invalid value 't9.nope' for InstanceType"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "Invalid IAM Instance Profile name"),
    ],
)
def test_what_no_instance_can_have(ecs: Ecs, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        run(ecs, "", **given)


def test_public_parameters(ecs: Ecs) -> None:
    ssm = client(ecs, "ssm")
    arm = IMAGE.replace("/recommended", "/arm64/recommended")
    found = ssm.get_parameters(Names=[IMAGE, arm, "/my/own"])
    values = {each["Name"]: each["Value"] for each in found["Parameters"]}
    assert len(set(values.values())) == 2
    assert all(len(value) == len("ami-0123456789abcdef0") for value in values.values())
    assert found["InvalidParameters"] == ["/my/own"]
    with pytest.raises(ClientError, match="ParameterNotFound"):
        ssm.get_parameter(Name="/my/own")
