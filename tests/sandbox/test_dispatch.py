"""How the Api chooses who answers, and what it does with each kind of failure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecs_exec_magic.sandbox.account import Account
from ecs_exec_magic.sandbox.api import Api, ApiError, Caller, Reply, operation
from ecs_exec_magic.sandbox.faults import Counters, Faults
from ecs_exec_magic.sandbox.front import Received
from ecs_exec_magic.sandbox.iam import Identities


class Ecs:
    """A few operations, each with a way to end."""

    service = "ecs"

    @operation("ListClusters")
    def op_list_clusters(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Answer with a member that does not exist."""
        return {"bogus": 1}

    @operation("DescribeClusters")
    async def op_describe_clusters(self, given: dict[str, Any], caller: Caller) -> None:
        """Answer with nothing."""

    @operation("CreateCluster", "UpdateCluster")
    async def op_create_cluster(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Fail inside the account."""
        said = {"Code": "ResourceNotFoundException", "Message": "gone"}
        raise ClientError({"Error": said, "ResponseMetadata": {"HTTPStatusCode": 404}}, "X")


class Guard:
    """Lets one service pass."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.changes = 0

    async def admit(
        self, caller: Caller, service: str, operation: str, given: Mapping[str, Any]
    ) -> None:
        self.asked.append((service, operation))
        if service != "iam":
            raise ApiError("AccessDeniedException", "no")

    def changed(self) -> None:
        self.changes += 1


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    made = Account()
    yield made
    await made.close()


def build(account: Account, gate: Guard | None = None) -> Api:
    identities = Identities(account)
    return Api([Ecs()], Faults(), Counters(), account=account, identities=identities, gate=gate)


async def call(api: Api, service: str, name: str, body: bytes = b"{}") -> tuple[Reply, str]:
    signature = f"AWS4-HMAC-SHA256 Credential=AKIAX/20260101/us-east-1/{service}/aws4_request, "
    headers = {"authorization": signature, "x-amz-target": f"X.{name}"}
    if service == "iam":
        del headers["x-amz-target"]
        body = f"Action={name}&Version=2010-05-08".encode()
    reply = await api.answer(Received("POST", "/", headers, body))
    code = json.loads(reply.body).get("__type", "") if service != "iam" else ""
    return reply, code


async def test_errors_of_inner_calls_reach_the_caller(account: Account) -> None:
    for name in ("CreateCluster", "UpdateCluster"):
        body = b'{"cluster": "x"}' if name == "UpdateCluster" else b"{}"
        reply, code = await call(build(account), "ecs", name, body)
        assert (reply.status, code) == (404, "ResourceNotFoundException")


async def test_an_error_of_ours_is_told_and_logged(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    reply, code = await call(build(account), "ecs", "ListClusters")
    assert (reply.status, code) == (500, "InternalFailure")
    assert "has no member bogus" in caplog.text


async def test_our_services_never_end_in_the_account(account: Account) -> None:
    reply, _ = await call(build(account), "ecs", "DescribeClusters")
    assert (reply.status, json.loads(reply.body)) == (200, {})
    _, code = await call(build(account), "ecs", "ListServices")
    assert code == "UnsupportedOperation"


async def test_nulls_are_no_parameters(account: Account) -> None:
    reply, _ = await call(build(account), "ecs", "DescribeClusters", b'{"clusters": null}')
    assert reply.status == 200


async def test_the_gate_is_asked_and_told_of_changes(account: Account) -> None:
    gate = Guard()
    api = build(account, gate)
    assert (await call(api, "ecs", "DescribeClusters"))[1] == "AccessDeniedException"
    assert (await call(api, "kms", "ListKeys"))[1] == "AccessDeniedException"
    assert (await call(api, "iam", "ListUsers"))[0].status == 200
    assert gate.changes == 0
    assert (await call(api, "iam", "CreateUser"))[0].status == 400  # it may have done something
    assert gate.changes == 1
    assert gate.asked == [("ecs", "DescribeClusters"), ("kms", "ListKeys"), ("iam", "ListUsers")]
