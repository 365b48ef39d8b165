"""Policies: the least that is needed, in every partition."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.aws.plan.names import Names
from ecs_exec_magic.aws.plan.policies import (
    CHANNEL,
    execution_role_policy,
    key_policy,
    task_role_policy,
    trust_policy,
)

NAMES = Names("web", "aws", "eu-west-1", "123456789012")


def allowed(document: Any) -> dict[str, set[str]]:
    """Actions with the resources they are allowed on."""
    found: dict[str, set[str]] = {}
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, where = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            found.setdefault(action, set()).update([where] if isinstance(where, str) else where)
    return found


def test_exec_alone() -> None:
    assert allowed(task_role_policy(NAMES)) == {action: {"*"} for action in CHANNEL}


def test_everything() -> None:
    key = NAMES.key_arn("k")
    found = allowed(
        task_role_policy(
            NAMES, log_group="/g", bucket="b", prefix="/p/", key_arn=key, bucket_key=True
        )
    )
    group = "arn:aws:logs:eu-west-1:123456789012:log-group:/g:*"
    assert found == {
        **{action: {"*"} for action in CHANNEL},
        "logs:DescribeLogGroups": {"*"},
        "logs:CreateLogStream": {group},
        "logs:DescribeLogStreams": {group},
        "logs:PutLogEvents": {group},
        "s3:PutObject": {"arn:aws:s3:::b/p/*"},
        "s3:GetBucketLocation": {"arn:aws:s3:::b"},
        "s3:GetEncryptionConfiguration": {"arn:aws:s3:::b"},
        "kms:Decrypt": {key},
        "kms:GenerateDataKey": {key},
    }


def test_the_key_writes_to_the_bucket_only_where_it_encrypts_it() -> None:
    for bucket, bucket_key in (("", True), ("b", False)):
        found = allowed(task_role_policy(NAMES, bucket=bucket, key_arn="k", bucket_key=bucket_key))
        assert "kms:Decrypt" in found
        assert "kms:GenerateDataKey" not in found


def test_what_starts_containers() -> None:
    assert execution_role_policy(NAMES) is None
    logs = execution_role_policy(NAMES, log_group="/g")
    assert set(allowed(logs)) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    pull = allowed(execution_role_policy(NAMES, repository_arn="arn:r"))
    assert pull.pop("ecr:GetAuthorizationToken") == {"*"}
    assert set(pull) == {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    }
    assert all(where == {"arn:r"} for where in pull.values())


def test_the_key_serves_one_log_group() -> None:
    assert len(key_policy(NAMES)["Statement"]) == 1
    (_, logs) = key_policy(NAMES, log_group="/g")["Statement"]
    assert logs["Principal"] == {"Service": "logs.eu-west-1.amazonaws.com"}
    assert logs["Condition"] == {
        "ArnEquals": {
            "kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:eu-west-1:123456789012:log-group:/g"
        }
    }


def test_who_takes_on_the_roles() -> None:
    (statement,) = trust_policy()["Statement"]
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}


@given(
    st.sampled_from([("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")]),
    st.booleans(),
    st.booleans(),
)
def test_other_partitions(place: tuple[str, str], bucket: bool, encrypted: bool) -> None:
    partition, region = place
    names = Names("web", partition, region, "123456789012")
    documents = [
        task_role_policy(
            names,
            log_group="/g",
            bucket="b" if bucket else "",
            key_arn=names.key_arn("k") if encrypted else "",
            bucket_key=encrypted,
        ),
        execution_role_policy(names, log_group="/g"),
        key_policy(names, log_group="/g"),
    ]
    text = json.dumps(documents)
    assert "arn:aws:" not in text
    assert f"arn:{partition}:logs:{region}:" in text


@pytest.mark.parametrize(
    ("partition", "region", "principal"),
    [
        ("aws-cn", "cn-north-1", "logs.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-east-1", "logs.us-gov-east-1.amazonaws.com"),
    ],
)
def test_logs_in_other_partitions(partition: str, region: str, principal: str) -> None:
    (_, logs) = key_policy(Names("w", partition, region, "1"), log_group="g")["Statement"]
    assert logs["Principal"] == {"Service": principal}
