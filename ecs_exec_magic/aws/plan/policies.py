"""The policies of a plan: the least that what was chosen needs.

Knows IAM's documents. Never knows who has them, nor makes a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .names import Names

__all__ = [
    "CHANNEL",
    "POLICY_NAME",
    "Document",
    "execution_role_policy",
    "key_policy",
    "logs_principal",
    "task_role_policy",
    "trust_policy",
]

Document = dict[str, Any]

POLICY_NAME = "ecs-exec"
"""Of the one inline policy that each role has."""

CHANNEL = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What the exec agent needs to be reached at all; AWS knows no resources for these."""

_TASKS = "ecs-tasks.amazonaws.com"


def _document(statements: Sequence[Document]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: Sequence[str], *resources: str) -> Document:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions[0] if len(actions) == 1 else list(actions),
        "Resource": resources[0] if len(resources) == 1 else list(resources),
    }


def trust_policy(service: str = _TASKS) -> Document:
    """Lets a service take on a role: by default ECS, for its tasks."""
    return _document(
        [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]
    )


def task_role_policy(
    names: Names,
    *,
    log_group: str = "",
    log_groups: Sequence[str] = (),
    bucket: str = "",
    prefix: str = "",
    key_arn: str = "",
    bucket_key: bool = False,
    bucket_key_arn: str = "",
) -> Document:
    """What the exec agent in a container may do.

    Args:
        log_group: that logs of sessions go to; empty for none.
        log_groups: the same, where there are several.
        bucket: likewise, with the prefix of their objects.
        key_arn: of the key that encrypts sessions; empty for none.
        bucket_key: the bucket encrypts with that key, too.
        bucket_key_arn: of the key that the bucket encrypts with, where it may be another.
    """
    statements = [_allow("ExecChannel", CHANNEL, "*")]
    groups = [*([log_group] if log_group else []), *log_groups]
    if groups:
        statements += [
            _allow("FindLogGroup", ["logs:DescribeLogGroups"], "*"),
            _allow(
                "WriteSessionLogs",
                ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                *(f"{names.log_group_arn(group)}:*" for group in groups),
            ),
        ]
    if bucket:
        where = names.bucket_arn(bucket)
        folder = prefix.strip("/")
        objects = f"{where}/{folder}/*" if folder else f"{where}/*"
        statements += [
            _allow("PutSessionLogs", ["s3:PutObject"], objects),
            _allow("CheckBucket", ["s3:GetBucketLocation", "s3:GetEncryptionConfiguration"], where),
        ]
    if key_arn:
        actions = ["kms:Decrypt"]
        if bucket and (bucket_key or bucket_key_arn == key_arn):
            actions.append("kms:GenerateDataKey")
        statements.append(_allow("SessionKey", actions, key_arn))
    if bucket_key_arn and bucket_key_arn != key_arn:
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        statements.append(_allow("BucketKey", actions, bucket_key_arn))
    return _document(statements)


def execution_role_policy(
    names: Names, *, log_group: str = "", repository_arn: str = ""
) -> Document | None:
    """What ECS may do to start containers; None when it needs no role for that.

    Args:
        log_group: that what containers print goes to; empty for none.
        repository_arn: of the image in ECR; empty when it is elsewhere.
    """
    statements = []
    if log_group:
        statements.append(
            _allow(
                "WriteContainerLogs",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                f"{names.log_group_arn(log_group)}:*",
            )
        )
    if repository_arn:
        pull = ["BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"]
        statements += [
            _allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], "*"),
            _allow("PullImage", [f"ecr:{action}" for action in pull], repository_arn),
        ]
    return _document(statements) if statements else None


def logs_principal(names: Names) -> str:
    """The name under which CloudWatch Logs of a region uses keys."""
    return f"logs.{names.region}.amazonaws.com" + (".cn" if names.partition == "aws-cn" else "")


def key_policy(names: Names, *, log_group: str = "") -> Document:
    """Who may use a new key: whom the account's IAM lets, and CloudWatch Logs for one group.

    Args:
        log_group: that the key encrypts; empty for none.
    """
    root = f"arn:{names.partition}:iam::{names.account}:root"
    statements: list[Document] = [
        {
            "Sid": "AccountByIAM",
            "Effect": "Allow",
            "Principal": {"AWS": root},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
    if log_group:
        actions = ("Decrypt*", "DescribeKey", "Encrypt*", "GenerateDataKey*", "ReEncrypt*")
        statements.append(
            {
                "Sid": "EncryptLogGroup",
                "Effect": "Allow",
                "Principal": {"Service": logs_principal(names)},
                "Action": [f"kms:{action}" for action in actions],
                "Resource": "*",
                "Condition": {
                    "ArnEquals": {
                        "kms:EncryptionContext:aws:logs:arn": names.log_group_arn(log_group)
                    }
                },
            }
        )
    return _document(statements)
