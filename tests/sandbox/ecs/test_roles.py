"""Roles that ECS cannot assume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ecs_exec_magic.sandbox.ecs.roles import trusts

from .conftest import Ecs
from .test_services import create, messages

TRUST: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"Service": "ecs-tasks.amazonaws.com"},
    "Action": "sts:AssumeRole",
}


@pytest.mark.parametrize(
    ("change", "trusted"),
    [
        ({}, True),
        ({"Principal": {"Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]}}, True),
        ({"Action": ["sts:TagSession", "sts:AssumeRole"]}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"Service": "ecs.amazonaws.com"}}, False),
        ({"Principal": {"Service": "ecs-tasks.proxy.example"}}, False),
        ({"Principal": {"AWS": "*"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Action": "sts:GetCallerIdentity"}, False),
        ({"Principal": None}, False),
    ],
)
def test_trust(change: dict[str, Any], trusted: bool) -> None:
    statement = {**TRUST, **change}
    assert trusts({"Statement": [statement]}) is trusted
    assert trusts({"Statement": statement}) is trusted
    assert not trusts(json.dumps({"Statement": [statement]})) and not trusts(None)


@pytest.fixture
def enforced(ecs: Ecs) -> Iterator[dict[str, Any]]:
    """IAM is enforced, with these roles; everything is allowed."""
    roles: dict[str, Any] = {}
    kept = ecs.world.authorizer, ecs.world.account.call

    async def yes(*_args: Any, **_given: Any) -> bool:
        return True

    async def call(service: str, operation: str, region: str, **given: Any) -> Any:
        if service != "iam":
            return await kept[1](service, operation, region, **given)
        if given["RoleName"] not in roles:
            raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": ""}}, operation)
        return {"Role": {"AssumeRolePolicyDocument": {"Statement": roles[given["RoleName"]]}}}

    world = cast(Any, ecs.world)
    world.authorizer = SimpleNamespace(enabled=True, check=yes, role_allows=yes)
    world.account.call = call
    yield roles
    world.authorizer, world.account.call = kept


def test_a_role_that_does_not_trust_ecs(ecs: Ecs, enforced: dict[str, Any]) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    run = {"cluster": cluster, "definition": definition}
    text = f"ECS was unable to assume the role 'arn:aws:iam::{ecs.account}:role/sandbox-"
    ecs.fails("ClientException", f"{text}task-role'", ecs.run, **run)
    enforced["sandbox-task-role"] = TRUST
    ecs.fails("ClientException", f"{text}execution-role'", ecs.run, **run)
    assert ecs.client.list_tasks(cluster=cluster)["taskArns"] == []
    create(ecs, cluster, definition)
    service = ecs.until(
        lambda: ecs.service(cluster, "web"),
        lambda s: any("unable to consistently" in text for text in messages(s)),
    )
    assert service["deployments"][0]["failedTasks"] > 0
    stopped = ecs.client.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
    gone = ecs.stopped(cluster, stopped[0])
    assert gone["stopCode"] == "TaskFailedToStart" and text in gone["stoppedReason"]
    enforced["sandbox-execution-role"] = TRUST
    assert ecs.stable(cluster, "web")["runningCount"] == 2
