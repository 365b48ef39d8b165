"""A call as the permission tables see it, and what it needs.

Knows ARNs and the spelling of tags. Never knows services, policies or who calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .principals import partition_of

__all__ = ["Keys", "Need", "Request", "Resources", "mappings", "request_tags", "texts"]


@dataclass(frozen=True, slots=True)
class Request:
    """A call, as the table needs it.

    Args:
        service: as boto3 names it.
        operation: as the API names it.
        given: its parameters, in botocore's shapes.
        region: where it goes.
        account_id: whose account.
        principal: the ARN of the caller's user or role.
    """

    service: str
    operation: str
    given: Mapping[str, Any]
    region: str
    account_id: str
    principal: str = ""

    def arn(self, rest: str, service: str = "") -> str:
        """An ARN of this region and account."""
        head = f"arn:{partition_of(self.region)}:{service or self.service}"
        return f"{head}:{self.region}:{self.account_id}:{rest}"

    def global_arn(self, rest: str) -> str:
        """An ARN of IAM."""
        return f"arn:{partition_of(self.region)}:iam::{self.account_id}:{rest}"


@dataclass(frozen=True, slots=True)
class Need:
    """A permission that a call needs on each of its resources.

    Args:
        action: ``service:Action``.
        resources: ARNs, or ``*``.
        context: condition keys of the request, in the spelling of the documentation.
    """

    action: str
    resources: tuple[str, ...] = ("*",)
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


Resources: TypeAlias = Callable[[Request], tuple[str, ...]]
"""Tells the resources of a call; none means ``*``."""

Keys: TypeAlias = Callable[[Request], dict[str, tuple[str, ...]]]
"""Tells the condition keys of a call."""


def texts(value: Any) -> list[str]:
    """The texts of a member that holds one or a list of them."""
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The structures of a member that holds one or a list of them."""
    if isinstance(value, Mapping):
        return [value]
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def request_tags(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """``aws:RequestTag/KEY`` and ``aws:TagKeys``, however the service spells its tags."""
    tags = given.get("tags") or given.get("Tags")
    pairs: dict[str, str] = {}
    if isinstance(tags, Mapping):
        pairs = {str(k): str(v) for k, v in tags.items()}
    for tag in mappings(tags) if isinstance(tags, list) else ():
        key = tag.get("key") or tag.get("Key") or tag.get("TagKey")
        value = tag.get("value") or tag.get("Value") or tag.get("TagValue") or ""
        if key:
            pairs[str(key)] = str(value)
    names = (*pairs, *texts(given.get("tagKeys") or given.get("TagKeys")))
    found: dict[str, tuple[str, ...]] = {f"aws:RequestTag/{k}": (v,) for k, v in pairs.items()}
    if names:
        found["aws:TagKeys"] = names
    return found
