"""What each call needs: actions, resources and condition keys.

Knows which table tells it. Never knows who calls or what the policies say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from . import needs_ecs, needs_other, needs_s3
from .requests import Need, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EITHER", "SELF_CHECKED", "Facts", "NoFacts", "needs"]

SELF_CHECKED = frozenset({"ecs:ExecuteCommand"})
"""Calls whose own handler asks, as it alone knows which container is meant."""

EITHER = frozenset({"ecs:ExecuteCommand"})
"""Actions that are allowed when one of their resources is, and none is denied.

The reference stars both the cluster and the task; AWS's announcement of ECS Exec grants it on the
cluster alone. Both kinds of policy work here.
"""

_FREE = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
_RESOURCES = {"ecs": needs_ecs.resources, **needs_other.RESOURCES}
_KEYS = {"ecs": needs_ecs.keys, **needs_other.KEYS}


class Facts(Protocol):
    """What authorisation must know about resources of ECS."""

    async def tags_of(self, arn: str, /) -> Mapping[str, str] | None:
        """The tags of a resource; None when there is none of that ARN."""
        ...

    async def roles_of(self, task_definition: str, region: str, /) -> Sequence[str]:
        """The role ARNs of a task definition (an ARN, ``family`` or ``family:revision``)."""
        ...


class NoFacts:
    """Nothing is known: no resource has tags, no definition has roles."""

    async def tags_of(self, arn: str, /) -> Mapping[str, str] | None:
        """None."""
        return None

    async def roles_of(self, task_definition: str, region: str, /) -> Sequence[str]:
        """None."""
        return ()


def needs(request: Request, roles: Sequence[str] = ()) -> list[Need]:
    """Everything a call needs.

    A call that no table knows needs ``service:Operation`` on ``*``.

    Args:
        request: the call.
        roles: what :meth:`Facts.roles_of` tells of the task definition named in it.
    """
    action = f"{request.service}:{request.operation}"
    if action in _FREE:
        return []
    if request.service == "s3":
        return needs_s3.needs(request)
    resources = _RESOURCES.get(request.service)
    keys = _KEYS.get(request.service)
    need = Need(
        action,
        (resources(request) if resources else ()) or ("*",),
        keys(request) if keys else {},
    )
    return [need, *(needs_ecs.passed(request, roles) if request.service == "ecs" else [])]
