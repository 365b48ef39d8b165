"""An account for the tests of authorisation: moto in this process, called without a socket."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings

from ecs_exec_magic.sandbox.api import Caller

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: a busy machine is no failure."""

_NUMBERS = itertools.count(880000000001)
REGION = "us-east-1"
Document = dict[str, Any]


def caller(key: str) -> Caller:
    """Who calls with a key, as far as authorisation looks at it."""
    return Caller(key, REGION, "arn:aws:iam::123456789012:user/somebody", "123456789012")


def document(*statements: Mapping[str, Any]) -> str:
    """A policy of these statements, as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(
    action: str | Sequence[str], resource: str | Sequence[str] = "*", **more: Any
) -> Document:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | Sequence[str], resource: str | Sequence[str] = "*", **more: Any) -> Document:
    """A statement that denies."""
    return {**allow(action, resource, **more), "Effect": "Deny"}


@dataclass(frozen=True)
class Known:
    """What the account tells of a key."""

    arn: str
    kind: str
    name: str
    identifier: str
    role_arn: str | None = None
    active: bool = True


@dataclass
class Shop:
    """Tags and roles of ECS resources."""

    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)

    async def tags_of(self, arn: str) -> Mapping[str, str] | None:
        return self.tags.get(arn)

    async def roles_of(self, task_definition: str, region: str) -> Sequence[str]:
        return self.roles.get(task_definition, [])


class MotoAccount:
    """The part of an account that authorisation needs."""

    def __init__(self) -> None:
        import boto3
        from botocore.awsrequest import AWSResponse
        from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

        self.account_id = str(next(_NUMBERS))
        self.calls: list[str] = []
        stubber = BotocoreStubber()

        def answer(request: Any, **_more: Any) -> Any:
            request.headers["x-moto-account-id"] = self.account_id
            found = stubber.process_request(request)
            assert found is not None
            status, headers, body = found
            return AWSResponse(request.url, status, headers, MockRawResponse(body))

        self._session = boto3.Session("AKIATEST", "secret", region_name=REGION)
        self._session.events.register("before-send.*", answer)
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, region: str = REGION) -> Any:
        if (service, region) not in self._clients:
            self._clients[service, region] = self._session.client(service, region_name=region)
        return self._clients[service, region]

    async def call(self, service: str, operation: str, region: str, /, **parameters: Any) -> Any:
        self.calls.append(operation)
        return getattr(self.client(service, region), operation)(**parameters)

    def known_key(self, access_key: str) -> Known | None:
        from moto.iam.models import iam_backends
        from moto.sts.models import sts_backends

        for role in sts_backends[self.account_id]["aws"].assumed_roles:
            if role.access_key_id == access_key:
                name = role.arn.partition("assumed-role/")[2]
                return Known(role.arn, "assumed-role", name, role.user_id, role.role_arn)
        for user in iam_backends[self.account_id]["aws"].users.values():
            for key in user.access_keys:
                if key.access_key_id == access_key:
                    active = key.status == "Active"
                    return Known(user.arn, "user", user.name, user.id, None, active)
        return None

    # making things

    def user(self, name: str, *statements: Mapping[str, Any]) -> str:
        """A user with an inline policy; its access key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(
                UserName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        return str(iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"])

    def role(self, name: str, *statements: Mapping[str, Any], **more: Any) -> str:
        """A role with an inline policy; its ARN."""
        iam = self.client("iam")
        service = {"Principal": {"Service": "ecs-tasks.amazonaws.com"}}
        trust = document({"Effect": "Allow", "Action": "sts:AssumeRole", **service})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **more)["Role"]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        return str(role["Arn"])

    def assume(self, role_arn: str, session: str) -> str:
        """Assume a role; the access key."""
        answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session)
        return str(answer["Credentials"]["AccessKeyId"])

    def close(self) -> None:
        """Forget the account."""
        from moto.backends import get_backend

        for service in ("iam", "sts", "kms"):
            get_backend(service).pop(self.account_id, None)
        for client in self._clients.values():
            client.close()
