"""The policies that users, groups and roles have.

Knows IAM's answers and how long they may be kept. Never knows what a call needs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import account
from .documents import Policy, PolicyError, Statement, parse
from .identity import SANDBOX_USER, AccountLike

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Entity", "Principals", "home_region", "partition_of"]

_log = logging.getLogger(__name__)

_KEPT = 1.0  # seconds: for changes that did not come through the port
_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
_EVERYTHING = Policy("AdministratorAccess", (Statement("", True, ("*",), ("*",)),))
_NOTHING = (Statement("", False, ("*",), ("*",)),)


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, group or role with its policies.

    Args:
        arn: its ARN.
        kind: ``user``, ``group`` or ``role``.
        name: without its path.
        unique_id: as IAM gives it.
        policies: inline, attached and, for a user, those of the groups.
        boundary: the permissions boundary, when there is one.
        tags: of the user or role.
    """

    arn: str
    kind: str
    name: str
    unique_id: str
    policies: tuple[Policy, ...]
    boundary: tuple[Policy, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def partition_of(text: str) -> str:
    """The partition of a region or an ARN."""
    return text.split(":")[1] if text.startswith("arn:") else account.partition(text)


def home_region(partition: str) -> str:
    """The region in which the global services of a partition are at home."""
    return _REGIONS.get(partition, "us-east-1")


class Principals:
    """What IAM holds, kept for a moment and read anew after every change.

    Args:
        account: where IAM is.
    """

    def __init__(self, account: AccountLike) -> None:
        self._account = account
        self._version = 0
        self._entities: dict[str, tuple[int, float, dict[str, Entity]]] = {}
        self._managed: dict[str, Policy] = {}
        self._lock = asyncio.Lock()

    def changed(self) -> None:
        """Something in IAM was written: what is kept is old."""
        self._version += 1

    async def entity(self, arn: str) -> Entity | None:
        """The user, group or role of that ARN.

        The sandbox's own user is there, as an administrator, even if IAM has none of its name.
        """
        partition = partition_of(arn)
        if partition not in _REGIONS:
            return None
        found = (await self._read(partition)).get(arn)
        if found is None and arn == f"arn:aws:iam::{self._account.account_id}:user/{SANDBOX_USER}":
            return Entity(arn, "user", SANDBOX_USER, "", (_EVERYTHING,))
        return found

    async def _read(self, partition: str) -> dict[str, Entity]:
        async with self._lock:
            kept = self._entities.get(partition)
            if kept and kept[0] == self._version and time.monotonic() - kept[1] < _KEPT:
                return kept[2]
            version = self._version
            entities = await self._load(home_region(partition))
            self._entities[partition] = (version, time.monotonic(), entities)
            return entities

    async def _load(self, region: str) -> dict[str, Entity]:
        details: dict[str, list[Any]] = {}
        marker: dict[str, str] = {}
        while True:
            page = await self._account.call(
                "iam",
                "get_account_authorization_details",
                region,
                Filter=["User", "Role", "Group", "LocalManagedPolicy"],
                **marker,
            )
            for name in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"):
                details.setdefault(name, []).extend(page.get(name, []))
            if not page.get("IsTruncated"):
                break
            marker = {"Marker": page["Marker"]}
        managed = {
            one["Arn"]: _policy(version["Document"], one["Arn"].rpartition("/")[2])
            for one in details["Policies"]
            for version in one["PolicyVersionList"]
            if version["IsDefaultVersion"]
        }
        groups: dict[str, Entity] = {}
        for group in details["GroupDetailList"]:
            groups[group["GroupName"]] = await self._entity("group", group, managed, region)
        entities = {group.arn: group for group in groups.values()}
        for user in details["UserDetailList"]:
            joined = [groups[name] for name in user.get("GroupList", []) if name in groups]
            one = await self._entity("user", user, managed, region, joined)
            entities[one.arn] = one
        for role in details["RoleDetailList"]:
            one = await self._entity("role", role, managed, region)
            entities[one.arn] = one
        return entities

    async def _entity(
        self,
        kind: str,
        detail: Mapping[str, Any],
        managed: Mapping[str, Policy],
        region: str,
        groups: list[Entity] | None = None,
    ) -> Entity:
        name = detail[f"{kind.title()}Name"]
        policies = [
            _policy(inline["PolicyDocument"], f"{kind}_{name}_{inline['PolicyName']}")
            for inline in detail.get(f"{kind.title()}PolicyList", [])
        ]
        policies += [
            await self._attached(attached["PolicyArn"], managed, region)
            for attached in detail.get("AttachedManagedPolicies", [])
        ]
        for group in groups or ():
            policies += group.policies
        limit = detail.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        boundary = (await self._attached(limit, managed, region),) if limit else None
        tags = {tag["Key"]: tag["Value"] for tag in detail.get("Tags", [])}
        return Entity(
            detail["Arn"],
            kind,
            name,
            detail.get(f"{kind.title()}Id", ""),
            tuple(policies),
            boundary,
            tags,
        )

    async def _attached(self, arn: str, managed: Mapping[str, Policy], region: str) -> Policy:
        """A managed policy; AWS's own never change, and are kept."""
        if arn in managed:
            return managed[arn]
        if arn not in self._managed:
            policy = (await self._account.call("iam", "get_policy", region, PolicyArn=arn))[
                "Policy"
            ]
            version = await self._account.call(
                "iam",
                "get_policy_version",
                region,
                PolicyArn=arn,
                VersionId=policy["DefaultVersionId"],
            )
            document = version["PolicyVersion"]["Document"]
            self._managed[arn] = _policy(document, policy["PolicyName"])
        return self._managed[arn]


def _policy(document: Any, name: str) -> Policy:
    """Read a stored document; one that cannot be read denies everything, to be safe."""
    try:
        return parse(document, name)
    except PolicyError as error:
        _log.warning("the policy %s cannot be read and denies everything: %s", name, error)
        return Policy(name, _NOTHING)
