"""What an account has that a plan can use, for whoever chooses.

Knows the lists. Never chooses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError
from ..tasks import list_clusters
from .network import read_vpcs
from .options import AccountChoices

if TYPE_CHECKING:
    from ..api import AwsApi

__all__ = ["account_choices"]

_AWS_OWN = "alias/aws/"


async def account_choices(api: AwsApi) -> AccountChoices:
    """Everything at once; what may not be listed is empty, and it is said why."""
    listers = {
        "vpcs": read_vpcs(api),
        "clusters": list_clusters(api),
        "log_groups": _log_groups(api),
        "buckets": _buckets(api),
        "keys": _keys(api),
        "roles": _roles(api),
    }
    outcomes = await asyncio.gather(*listers.values(), return_exceptions=True)
    found: dict[str, Any] = {}
    denied: dict[str, str] = {}
    for name, outcome in zip(listers, outcomes, strict=True):
        if isinstance(outcome, EcsExecError):
            denied[name] = str(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            found[name] = tuple(outcome)
    if len(denied) == len(listers):
        # Nothing at all: no credentials, or no way to AWS. That is no matter of permissions.
        raise next(each for each in outcomes if isinstance(each, EcsExecError))
    return AccountChoices(region=api.region, denied=denied, **found)


async def _log_groups(api: AwsApi) -> list[str]:
    found = await api.pages("logs", "describe_log_groups", "logGroups")
    return sorted(each["logGroupName"] for each in found)


async def _buckets(api: AwsApi) -> list[str]:
    answer = await api.call("s3", "list_buckets")
    return sorted(each["Name"] for each in answer.get("Buckets", ()))


async def _keys(api: AwsApi) -> list[str]:
    """Aliases, then ids of keys that have none; without AWS's own."""
    keys, aliases = await asyncio.gather(
        api.pages("kms", "list_keys", "Keys"), api.pages("kms", "list_aliases", "Aliases")
    )
    named = [each for each in aliases if each.get("TargetKeyId")]
    own = sorted(e["AliasName"] for e in named if not e["AliasName"].startswith(_AWS_OWN))
    known = {each["TargetKeyId"] for each in named}
    return own + sorted(each["KeyId"] for each in keys if each["KeyId"] not in known)


async def _roles(api: AwsApi) -> list[str]:
    """Roles that are not AWS's own."""
    found = await api.pages("iam", "list_roles", "Roles")
    return sorted(
        each["RoleName"] for each in found if not each.get("Path", "/").startswith("/aws-")
    )
