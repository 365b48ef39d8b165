"""CloudTrail: what is remembered of calls, and how it is found."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.api import ApiError, Caller
from ecs_exec_magic.sandbox.pace import FAST
from ecs_exec_magic.sandbox.trail import Trail, TrailService, is_data_event, is_read_only

from .conftest import Cluster

CALLER = Caller("AKIAX", "us-east-1", "arn:aws:iam::123456789012:user/dev", "123456789012")

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def client(cluster: Cluster, service: str, region: str = "us-east-1") -> Any:
    return boto3.client(
        service,
        endpoint_url=cluster.sandbox.url,
        region_name=region,
        aws_access_key_id="AKIASANDBOX000000001",
        aws_secret_access_key="sandbox",
    )


def looked_up(cluster: Cluster, name: str, region: str = "us-east-1") -> list[dict[str, Any]]:
    """The records of an operation's events, newest first."""
    found = client(cluster, "cloudtrail", region).lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}]
    )
    return [json.loads(event["CloudTrailEvent"]) for event in found["Events"]]


def test_execute_command_as_cloudtrail_shows_it(own: Cluster) -> None:
    account = own.sandbox._server.account.account_id
    task = own.task("worker")["taskArn"]
    answer = own.ecs.execute_command(
        cluster="demo", task=task, container="worker", interactive=True, command="/bin/true"
    )
    events = client(own, "cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "ExecuteCommand"}]
    )["Events"]
    assert len(events) == 1
    event, record = events[0], json.loads(events[0]["CloudTrailEvent"])
    assert event["Username"] == "sandbox" and event["ReadOnly"] == "false"
    assert event["EventSource"] == record["eventSource"] == "ecs.amazonaws.com"
    assert event["EventId"] == record["eventID"] and event["AccessKeyId"] == "AKIATEST"
    assert {"ResourceType": "AWS::ECS::Cluster", "ResourceName": "demo"} in event["Resources"]
    assert record["requestParameters"] == {
        "cluster": "demo",
        "task": task,
        "container": "worker",
        "interactive": True,
        "command": "/bin/true",
    }
    shown = record["responseElements"]
    assert set(shown) == {
        "clusterArn",
        "containerArn",
        "containerName",
        "interactive",
        "session",
        "taskArn",
    }
    assert shown["session"] == {
        "sessionId": answer["session"]["sessionId"],
        "streamUrl": answer["session"]["streamUrl"],
        "tokenValue": "HIDDEN_DUE_TO_SECURITY_REASONS",
    }
    assert answer["session"]["tokenValue"] not in event["CloudTrailEvent"]
    assert record["requestID"] == answer["ResponseMetadata"]["RequestId"]
    assert record["eventVersion"] == "1.09" and record["eventCategory"] == "Management"
    assert record["awsRegion"] == "us-east-1" and record["recipientAccountId"] == account
    assert record["sourceIPAddress"] == "127.0.0.1" and "Boto3" in record["userAgent"]
    identity = record["userIdentity"]
    assert (identity["type"], identity["userName"]) == ("IAMUser", "sandbox")
    assert identity["arn"] == f"arn:aws:iam::{account}:user/sandbox"


def test_secrets_are_in_no_event(own: Cluster) -> None:
    kms, iam, sts = client(own, "kms"), client(own, "iam"), client(own, "sts")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    data = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    kms.decrypt(CiphertextBlob=data["CiphertextBlob"])
    iam.create_user(UserName="dev")
    made = iam.create_access_key(UserName="dev")["AccessKey"]
    iam.create_login_profile(UserName="dev", Password="hunter2-hunter2")
    trust = json.dumps(TRUST)
    arn = iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    session = sts.assume_role(RoleArn=arn, RoleSessionName="night")["Credentials"]
    target = own.target()
    token = own.ssm.start_session(Target=target)["TokenValue"]
    everything = str(client(own, "cloudtrail").lookup_events())
    for secret in (
        made["SecretAccessKey"],
        session["SecretAccessKey"],
        session["SessionToken"],
        token,
        "hunter2",
    ):
        assert secret not in everything
    assert made["AccessKeyId"] in everything and target in everything
    (decrypt,) = looked_up(own, "Decrypt")
    assert decrypt["readOnly"] is True and decrypt["responseElements"] is None
    (assumed,) = looked_up(own, "AssumeRole")
    assert assumed["responseElements"]["credentials"]["accessKeyId"] == session["AccessKeyId"]
    (created,) = looked_up(own, "CreateRole")
    assert created["requestParameters"]["roleName"] == "ops"
    assert created["responseElements"]["role"]["arn"] == arn


def test_who_called_and_what_failed(own: Cluster) -> None:
    iam, sts = client(own, "iam"), client(own, "sts")
    trust = json.dumps(TRUST)
    arn = iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    session = sts.assume_role(RoleArn=arn, RoleSessionName="night")["Credentials"]
    logs = boto3.client(
        "logs",
        endpoint_url=own.sandbox.url,
        region_name="us-east-1",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    with pytest.raises(ClientError):
        logs.delete_log_group(logGroupName="none")
    (record,) = looked_up(own, "DeleteLogGroup")
    assert record["errorCode"] == "ResourceNotFoundException" and record["errorMessage"]
    assert record["responseElements"] is None
    identity = record["userIdentity"]
    assert identity["type"] == "AssumedRole" and identity["arn"].endswith("ops/night")
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == arn
    found = client(own, "cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "night"}]
    )
    assert [e["EventName"] for e in found["Events"]] == ["DeleteLogGroup"]


def test_data_events_are_left_out_and_regions_kept_apart(own: Cluster) -> None:
    s3, logs = client(own, "s3"), client(own, "logs", "eu-west-1")
    s3.create_bucket(Bucket="trail-bucket")
    s3.put_object(Bucket="trail-bucket", Key="k", Body=b"1")
    s3.get_object(Bucket="trail-bucket", Key="k")["Body"].read()
    s3.list_objects_v2(Bucket="trail-bucket")
    logs.create_log_group(logGroupName="g")
    client(own, "iam", "eu-west-1").list_users()
    names = [e["EventName"] for e in client(own, "cloudtrail").lookup_events()["Events"]]
    assert names == ["ListUsers", "CreateBucket"]
    assert looked_up(own, "ListUsers")[0]["awsRegion"] == "us-east-1"
    (bucket,) = looked_up(own, "CreateBucket")
    asked = bucket["requestParameters"]
    assert asked["bucketName"] == "trail-bucket" and asked["Host"] == "s3.amazonaws.com"
    (west,) = looked_up(own, "CreateLogGroup", "eu-west-1")
    assert west["requestParameters"] == {"logGroupName": "g"}
    calls = [c.operation for c in own.sandbox.counters.calls()]
    assert "PutObject" in calls and "GetObject" in calls


def test_lookup_attributes_times_and_pages(own: Cluster) -> None:
    trail = client(own, "cloudtrail")
    for number in range(7):
        own.ecs.create_cluster(clusterName=f"c{number}")
    own.ecs.list_clusters()

    def found(key: str, value: str) -> list[str]:
        attributes = [{"AttributeKey": key, "AttributeValue": value}]
        events = trail.lookup_events(LookupAttributes=attributes)["Events"]
        return [event["EventName"] for event in events]

    assert found("ResourceName", "c3") == ["CreateCluster"]
    assert found("ResourceType", "AWS::ECS::Cluster") == ["CreateCluster"] * 7
    assert found("ReadOnly", "true")[-1] == "ListClusters"
    assert found("EventSource", "kms.amazonaws.com") == []
    assert len(found("AccessKeyId", "AKIATEST")) == 8
    (event,) = trail.lookup_events(
        LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": "c3"}]
    )["Events"]
    assert found("EventId", event["EventId"]) == ["CreateCluster"]
    pages = trail.get_paginator("lookup_events").paginate(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateCluster"}],
        PaginationConfig={"PageSize": 3},
    )
    names = [
        json.loads(e["CloudTrailEvent"])["requestParameters"]["clusterName"]
        for page in pages
        for e in page["Events"]
    ]
    assert names == [f"c{n}" for n in range(6, -1, -1)]
    now = datetime.now(timezone.utc)
    hour = timedelta(hours=1)
    assert trail.lookup_events(StartTime=now + hour)["Events"] == []
    assert trail.lookup_events(EndTime=now - hour)["Events"] == []
    assert trail.lookup_events(StartTime=now - hour, EndTime=now + hour)["Events"]


def test_lookups_that_are_refused(shared: Cluster) -> None:
    trail = client(shared, "cloudtrail")
    one = {"AttributeKey": "EventName", "AttributeValue": "x"}
    now = datetime.now(timezone.utc)
    with pytest.raises(trail.exceptions.InvalidLookupAttributesException):
        trail.lookup_events(LookupAttributes=[one, one])
    with pytest.raises(trail.exceptions.InvalidLookupAttributesException):
        trail.lookup_events(LookupAttributes=[{**one, "AttributeKey": "Bogus"}])
    with pytest.raises(trail.exceptions.InvalidTimeRangeException):
        trail.lookup_events(StartTime=now, EndTime=now - timedelta(1))
    with pytest.raises(trail.exceptions.InvalidNextTokenException):
        trail.lookup_events(NextToken="!")
    with pytest.raises(trail.exceptions.InvalidMaxResultsException):
        trail.lookup_events(MaxResults=51)


def note(trail: Trail, name: str = "CreateCluster", **parameters: Any) -> None:
    trail.record(
        service="ecs",
        operation=name,
        caller=CALLER,
        parameters=parameters,
        output=None,
        error=None,
        request_id="r",
        source="127.0.0.1",
        agent="test",
    )


def test_events_are_found_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    trail = Trail(dataclasses.replace(FAST, trail=60.0))
    note(trail)
    now = 1059.0
    assert not list(trail.newest_first("us-east-1"))
    now = 1060.0
    assert len(list(trail.newest_first("us-east-1"))) == 1


def test_two_lookups_a_second_for_each_region(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    service = TrailService(Trail(dataclasses.replace(FAST, lookups=2)))
    west = dataclasses.replace(CALLER, region="eu-west-1")
    service.op_lookup_events({}, CALLER)
    now = 1000.5
    service.op_lookup_events({}, CALLER)
    for _ in range(3):
        with pytest.raises(ApiError, match="ThrottlingException"):
            service.op_lookup_events({}, CALLER)
    service.op_lookup_events({}, west)
    now = 1001.0
    service.op_lookup_events({}, CALLER)


def test_only_the_last_events_are_kept() -> None:
    trail = Trail(FAST)
    for number in range(10_050):
        note(trail, clusterName=str(number))
    kept = list(trail.newest_first("us-east-1"))
    assert len(kept) == 10_000
    assert kept[-1].record["requestParameters"] == {"clusterName": "50"}


@given(
    names=st.lists(st.sampled_from(["A", "B", "C"]), max_size=30),
    size=st.integers(1, 50),
    wanted=st.sampled_from(["A", "B", None]),
    late=st.integers(0, 5),
)
def test_pages_are_the_whole_without_gaps(
    names: list[str], size: int, wanted: str | None, late: int
) -> None:
    """Events that come between two pages neither repeat nor hide others."""
    trail = Trail(FAST)
    for number, name in enumerate(names):
        note(trail, name, number=number)
    service = TrailService(trail)
    asked: dict[str, Any] = {"MaxResults": size}
    if wanted:
        asked["LookupAttributes"] = [{"AttributeKey": "EventName", "AttributeValue": wanted}]
    seen: list[int] = []
    while True:
        answer = service.op_lookup_events(asked, CALLER)
        assert len(answer["Events"]) <= size
        records = [json.loads(event["CloudTrailEvent"]) for event in answer["Events"]]
        seen += [record["requestParameters"]["number"] for record in records]
        for _ in range(late):
            note(trail, "A", number=-1)
        if answer["NextToken"] is None:
            break
        asked["NextToken"] = answer["NextToken"]
    chosen = [n for n, name in enumerate(names) if wanted in (None, name)]
    assert seen == chosen[::-1]


@given(st.text())
def test_tokens_that_were_not_given_out(token: str) -> None:
    service = TrailService(Trail(FAST))
    with pytest.raises(ApiError, match="InvalidNextTokenException"):
        service.op_lookup_events({"NextToken": token}, CALLER)


def test_kinds_of_events() -> None:
    for service, name, reads, data in (
        ("s3", "GetObject", True, True),
        ("s3", "PutObjectAcl", False, True),
        ("s3", "UploadPart", False, True),
        ("s3", "CompleteMultipartUpload", False, True),
        ("s3", "ListObjectsV2", True, True),
        ("s3", "GetObjectLockConfiguration", True, False),
        ("s3", "DeleteBucket", False, False),
        ("s3", "HeadBucket", True, False),
        ("logs", "PutLogEvents", False, True),
        ("logs", "CreateLogStream", False, False),
        ("kms", "GenerateDataKeyWithoutPlaintext", True, False),
        ("kms", "ScheduleKeyDeletion", False, False),
        ("iam", "SimulatePrincipalPolicy", True, False),
        ("ecs", "ExecuteCommand", False, False),
        ("sts", "AssumeRole", True, False),
    ):
        assert (is_read_only(service, name), is_data_event(service, name)) == (reads, data), name
