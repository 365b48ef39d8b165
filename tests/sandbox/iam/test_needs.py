"""What calls need: resources and condition keys."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.iam.permissions import needs
from ecs_exec_magic.sandbox.iam.requests import Request

from .practice import calm

ACCOUNT = "123456789012"
ECS = f"arn:aws:ecs:us-east-1:{ACCOUNT}:"
TASK = "0123456789abcdef0123456789abcdef"


def request(service: str, operation: str, /, region: str = "us-east-1", **given_: Any) -> Request:
    me = f"arn:aws:iam::{ACCOUNT}:user/dev"
    return Request(service, operation, given_, region, ACCOUNT, me)


def resources(service: str, operation: str, /, **given_: Any) -> tuple[str, ...]:
    return needs(request(service, operation, **given_))[0].resources


@pytest.mark.parametrize(
    ("operation", "parameters", "expected"),
    [
        ("ListClusters", {}, ("*",)),
        ("DescribeTaskDefinition", {"taskDefinition": "web"}, ("*",)),
        ("CreateCluster", {}, (ECS + "cluster/default",)),
        ("CreateCluster", {"clusterName": "x"}, (ECS + "cluster/x",)),
        ("DescribeClusters", {"clusters": ["a", ECS + "cluster/b"]},
         (ECS + "cluster/a", ECS + "cluster/b")),
        ("DeleteCluster", {"cluster": "x"}, (ECS + "cluster/x",)),
        ("RunTask", {"taskDefinition": "web"}, (ECS + "task-definition/web",)),
        ("RunTask", {"taskDefinition": "web:3"}, (ECS + "task-definition/web:3",)),
        ("RegisterTaskDefinition", {"family": "web"}, (ECS + "task-definition/web:*",)),
        ("DescribeTasks", {"cluster": "demo", "tasks": [TASK]}, (ECS + f"task/demo/{TASK}",)),
        ("StopTask", {"cluster": ECS + "cluster/demo", "task": TASK},
         (ECS + f"task/demo/{TASK}",)),
        ("ListTasks", {"cluster": "demo"}, (ECS + "container-instance/demo/*",)),
        ("UpdateService", {"service": "web"}, (ECS + "service/default/web",)),
        ("TagResource", {"resourceArn": ECS + "cluster/x"}, (ECS + "cluster/x",)),
        ("ExecuteCommand", {"cluster": "demo", "task": TASK},
         (ECS + "cluster/demo", ECS + f"task/demo/{TASK}")),
    ],
)  # fmt: skip
def test_resources_of_ecs(operation: str, parameters: Any, expected: tuple[str, ...]) -> None:
    assert resources("ecs", operation, **parameters) == expected


def test_condition_keys_of_ecs() -> None:
    run = needs(
        request("ecs", "RunTask", cluster="demo", taskDefinition="web:1",
                enableExecuteCommand=True, tags=[{"key": "environment", "value": "production"}])
    )[0].context  # fmt: skip
    assert run == {
        "ecs:cluster": (ECS + "cluster/demo",),
        "ecs:task-definition": (ECS + "task-definition/web:1",),
        "ecs:enable-execute-command": ("true",),
        "aws:RequestTag/environment": ("production",),
        "aws:TagKeys": ("environment",),
    }
    plain = needs(request("ecs", "CreateService", serviceName="web"))[0].context
    assert plain["ecs:enable-execute-command"] == ("false",)
    update = needs(request("ecs", "UpdateService", service="web", cluster="demo"))[0].context
    assert "ecs:enable-execute-command" not in update
    assert update["ecs:service"] == (ECS + "service/demo/web",)
    assert "ecs:cluster" not in needs(request("ecs", "UpdateCluster", cluster="demo"))[0].context


def test_roles_that_are_handed_on() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/task"
    register = needs(
        request("ecs", "RegisterTaskDefinition", family="web", taskRoleArn=role,
                executionRoleArn="execution")
    )  # fmt: skip
    assert [n.action for n in register] == ["ecs:RegisterTaskDefinition", "iam:PassRole"]
    assert register[1].resources == (role, f"arn:aws:iam::{ACCOUNT}:role/execution")
    assert register[1].context == {"iam:PassedToService": ("ecs-tasks.amazonaws.com",)}
    run = needs(
        request("ecs", "RunTask", taskDefinition="web", overrides={"taskRoleArn": role}),
        [role, f"{role}2"],
    )
    assert run[1].resources == (role, f"{role}2")
    assert len(needs(request("ecs", "DescribeTaskDefinition", taskDefinition="web"), [role])) == 1


def test_partitions() -> None:
    china = request("ecs", "DeleteCluster", region="cn-north-1", cluster="x")
    assert needs(china)[0].resources == (f"arn:aws-cn:ecs:cn-north-1:{ACCOUNT}:cluster/x",)


def test_sessions() -> None:
    target = f"ecs:my_cluster_{TASK}_{TASK}-123"
    assert resources("ssm", "StartSession", Target=target) == (ECS + f"task/my_cluster/{TASK}",)
    document = "AWS-StartNonInteractiveCommand"
    assert resources("ssm", "StartSession", Target=target, DocumentName=document) == (
        ECS + f"task/my_cluster/{TASK}",
        f"arn:aws:ssm:us-east-1::document/{document}",
    )
    assert resources("ssm", "StartSession", Target="i-1")[0].endswith(":instance/i-1")
    mine = f"arn:aws:ssm:us-east-1:{ACCOUNT}:session/s-1"
    assert resources("ssm", "TerminateSession", SessionId="s-1") == (mine,)
    assert resources("ssm", "DescribeSessions", State="Active") == (
        f"arn:aws:ssm:us-east-1:{ACCOUNT}:*",
    )


def test_keys() -> None:
    kms = f"arn:aws:kms:us-east-1:{ACCOUNT}:"
    assert resources("kms", "CreateKey") == ("*",)
    assert resources("kms", "GenerateDataKey", KeyId="abc") == (kms + "key/abc",)
    assert resources("kms", "GenerateDataKey", KeyId="alias/x") == (kms + "alias/x",)
    assert resources("kms", "CreateAlias", AliasName="alias/x", TargetKeyId="abc") == (
        kms + "alias/x",
        kms + "key/abc",
    )
    name = "ba9b638e-dcce-49a6-883c-1feb1659a60a"
    assert resources("kms", "Decrypt", CiphertextBlob=name.encode() + b"\xff") == (
        kms + f"key/{name}",
    )
    assert resources("kms", "Decrypt", CiphertextBlob=b"\xff\x00") == ("*",)
    context = needs(
        request("kms", "GenerateDataKey", KeyId="alias/x", EncryptionContext={"a": "b"})
    )[0].context
    assert context == {
        "kms:EncryptionContext:a": ("b",),
        "kms:EncryptionContextKeys": ("a",),
        "kms:RequestAlias": ("alias/x",),
    }


def test_logs() -> None:
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"
    assert resources("logs", "DescribeLogGroups") == (group + ":log-stream:",)
    assert resources("logs", "CreateLogGroup", logGroupName="/x") == (group + "/x:log-stream:",)
    assert resources("logs", "PutLogEvents", logGroupName="/x", logStreamName="s") == (
        group + "/x:log-stream:s",
    )
    assert resources("logs", "TagResource", resourceArn=group + "/x") == (group + "/x",)


def test_iam_ec2_and_sts() -> None:
    iam = f"arn:aws:iam::{ACCOUNT}:"
    assert resources("iam", "CreateRole", RoleName="r", Path="/p/") == (iam + "role/p/r",)
    assert resources("iam", "GetUser") == (iam + "user/dev",)
    assert resources("iam", "ListRoles") == (iam + "role/",)
    assert resources("iam", "ListPolicies") == ("*",)
    attach = needs(request("iam", "AttachRolePolicy", RoleName="r", PolicyArn="arn:p"))[0]
    assert attach.resources == (iam + "role/r",)
    assert attach.context == {"iam:PolicyARN": ("arn:p",)}
    ec2 = f"arn:aws:ec2:us-east-1:{ACCOUNT}:"
    assert resources("ec2", "DescribeSubnets", SubnetIds=["subnet-1"]) == ("*",)
    assert resources("ec2", "CreateSecurityGroup", VpcId="vpc-1") == (
        ec2 + "security-group/*",
        ec2 + "vpc/vpc-1",
    )
    assert resources("ec2", "DeleteSecurityGroup", GroupId="sg-1") == (ec2 + "security-group/sg-1",)
    assert needs(request("sts", "GetCallerIdentity")) == []
    assert resources("sts", "AssumeRole", RoleArn="arn:r") == ("arn:r",)
    assert resources("cloudtrail", "LookupEvents") == ("*",)


@pytest.mark.parametrize(
    ("operation", "given_", "action", "resource"),
    [
        ("ListBuckets", {}, "s3:ListAllMyBuckets", "*"),
        ("CreateBucket", {"Bucket": "b"}, "s3:CreateBucket", "b"),
        ("DeleteBucket", {"Bucket": "b"}, "s3:DeleteBucket", "b"),
        ("HeadBucket", {"Bucket": "b"}, "s3:ListBucket", "b"),
        ("ListObjectsV2", {"Bucket": "b"}, "s3:ListBucket", "b"),
        ("GetBucketEncryption", {"Bucket": "b"}, "s3:GetEncryptionConfiguration", "b"),
        ("GetBucketLocation", {"Bucket": "b"}, "s3:GetBucketLocation", "b"),
        ("DeleteObjects", {"Bucket": "b"}, "s3:DeleteObject", "b/*"),
        ("GetObject", {"Bucket": "b", "Key": "k/x"}, "s3:GetObject", "b/k/x"),
        ("HeadObject", {"Bucket": "b", "Key": "k"}, "s3:GetObject", "b/k"),
        ("GetObject", {"Bucket": "b", "Key": "k", "VersionId": "1"}, "s3:GetObjectVersion", "b/k"),
        ("PutObject", {"Bucket": "b", "Key": "k"}, "s3:PutObject", "b/k"),
        ("UploadPart", {"Bucket": "b", "Key": "k"}, "s3:PutObject", "b/k"),
        ("AbortMultipartUpload", {"Bucket": "b", "Key": "k"}, "s3:AbortMultipartUpload", "b/k"),
        ("GetObjectTagging", {"Bucket": "b", "Key": "k"}, "s3:GetObjectTagging", "b/k"),
    ],
)
def test_s3(operation: str, given_: Any, action: str, resource: str) -> None:
    need = needs(request("s3", operation, **given_))[0]
    wanted = resource if resource == "*" else f"arn:aws:s3:::{resource}"
    assert (need.action, need.resources) == (action, (wanted,))


def test_a_listing_tells_its_prefix_and_a_copy_its_source() -> None:
    listing = needs(request("s3", "ListObjectsV2", Bucket="b", Prefix="a/", MaxKeys=5))[0]
    assert listing.context == {"s3:prefix": ("a/",), "s3:max-keys": ("5",)}
    copy = needs(
        request("s3", "CopyObject", Bucket="b", Key="k", CopySource="/c/a%20b?versionId=1")
    )
    assert [(n.action, n.resources[0]) for n in copy] == [
        ("s3:PutObject", "arn:aws:s3:::b/k"),
        ("s3:GetObject", "arn:aws:s3:::c/a b"),
    ]


_SERVICES = ("ecs", "ssm", "kms", "logs", "iam", "ec2", "sts", "s3")
_OPERATIONS = [
    (name, operation)
    for name in _SERVICES
    for operation in botocore.session.Session().get_service_model(name).operation_names
]
_MEMBERS = st.sampled_from(
    "cluster clusters tasks task service services taskDefinition container overrides tags "
    "capacityProviderStrategy KeyId CiphertextBlob EncryptionContext Target DocumentName RoleName "
    "PolicyArn GroupId GroupIds resourceArn logGroupName logGroupIdentifier RoleArn Path "
    "taskRoleArn tagKeys name Bucket Key CopySource".split()
)
_value = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_MEMBERS, inner, max_size=2),
    max_leaves=6,
)


@calm
@given(st.sampled_from(_OPERATIONS), st.dictionaries(_MEMBERS, _value, max_size=5))
def test_nothing_that_comes_is_an_accident(name: tuple[str, str], given_: dict[str, Any]) -> None:
    for need in needs(request(*name, **given_)):
        assert need.resources
        assert all(isinstance(one, str) for one in need.resources)
        assert all(isinstance(v, tuple) for v in need.context.values())
