"""The roles that the tasks of a new practice cluster have.

Knows the policies of the developer guide. Never knows tasks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .principals import partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .identity import AccountLike

__all__ = ["EXECUTION_ROLE", "EXEC_ACTIONS", "TASK_ROLE", "seed_roles"]

TASK_ROLE = "sandbox-task-role"
EXECUTION_ROLE = "sandbox-execution-role"
EXEC_ACTIONS = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What the agent of ECS Exec needs of the task role, on ``*``."""

_LOG_ACTIONS = (
    "logs:DescribeLogGroups",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "s3:GetBucketLocation",
    "s3:GetEncryptionConfiguration",
    "s3:PutObject",
    "kms:Decrypt",
)


async def seed_roles(account: AccountLike, region: str) -> None:
    """Make the task role and the execution role of the seeded task definitions, if need be.

    The task role may hold the agent's channels and write transcripts; the execution role has
    AmazonECSTaskExecutionRolePolicy and may make log groups.
    """
    from botocore.exceptions import ClientError

    trust = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}
    document = _document({**trust, "Action": "sts:AssumeRole"})
    managed = "service-role/AmazonECSTaskExecutionRolePolicy"
    for role in (TASK_ROLE, EXECUTION_ROLE):
        try:
            await account.call(
                "iam", "create_role", region, RoleName=role, AssumeRolePolicyDocument=document
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "EntityAlreadyExists":
                raise
    for role, name, actions in (
        (TASK_ROLE, "ecs-exec", [*EXEC_ACTIONS, *_LOG_ACTIONS]),
        (EXECUTION_ROLE, "create-log-groups", ["logs:CreateLogGroup"]),
    ):
        allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        await account.call(
            "iam",
            "put_role_policy",
            region,
            RoleName=role,
            PolicyName=name,
            PolicyDocument=_document(allow),
        )
    await account.call(
        "iam",
        "attach_role_policy",
        region,
        RoleName=EXECUTION_ROLE,
        PolicyArn=f"arn:{partition_of(region)}:iam::aws:policy/{managed}",
    )


def _document(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
