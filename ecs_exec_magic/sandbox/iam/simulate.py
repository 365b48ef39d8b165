"""IAM's policy simulator: SimulatePrincipalPolicy and SimulateCustomPolicy.

Knows the simulator's parameters, results and errors. Never knows how requests travel.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from ..api import ApiError, Caller, operation
from .authorizer import entity_context
from .documents import Policy, PolicyError, parse
from .patterns import context_of
from .policies import Verdict, evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .principals import Entity, Principals

__all__ = ["SimulateService"]

_ENTITY = re.compile(r"arn:[a-z-]+:iam::\d{12}:(user|group|role)/(?:.*/)?([^/]+)")
_ACTION = re.compile(r"[0-9A-Za-z-]+:[0-9A-Za-z*_.-]+")
_PAGE = 1000
_APART = ("iam:passrole", "sts:assumerole")  # not to be asked together with other actions
_WEIGHT = ("implicitDeny", "allowed", "explicitDeny")


class SimulateService:
    """The two simulator calls of IAM; they work whether calls are checked or not.

    Args:
        principals: whose policies there are.
        account_id: whose account.
    """

    service = "iam"

    def __init__(self, principals: Principals, account_id: str) -> None:
        self.principals = principals
        self._account_id = account_id

    @operation("SimulatePrincipalPolicy")
    async def op_simulate_principal_policy(
        self, given: dict[str, Any], caller: Caller
    ) -> dict[str, Any]:
        """What the policies of a user, group or role say, more policies given added."""
        entity = await self._entity(given["PolicySourceArn"])
        policies = [*entity.policies, *_inputs(given, "PolicyInputList")]
        actor = entity
        if given.get("CallerArn"):
            actor = await self._entity(given["CallerArn"])
        boundary: Sequence[Policy] | None = entity.boundary
        if given.get("PermissionsBoundaryPolicyInputList"):
            boundary = _inputs(given, "PermissionsBoundaryPolicyInputList")
        base = entity_context(actor, self._account_id) if actor.kind != "group" else {}
        return _simulate(given, policies, boundary, base)

    @operation("SimulateCustomPolicy")
    async def op_simulate_custom_policy(
        self, given: dict[str, Any], caller: Caller
    ) -> dict[str, Any]:
        """What the given policies say."""
        boundary = None
        if given.get("PermissionsBoundaryPolicyInputList"):
            boundary = _inputs(given, "PermissionsBoundaryPolicyInputList")
        base: Mapping[str, str] = {}
        if given.get("CallerArn"):
            base = entity_context(await self._entity(given["CallerArn"]), self._account_id)
        return _simulate(given, _inputs(given, "PolicyInputList"), boundary, base)

    async def _entity(self, arn: str) -> Entity:
        found = _ENTITY.fullmatch(arn)
        if found is None:
            raise ApiError(
                "InvalidInput",
                f"Invalid Entity Arn: {arn} does not clearly define entity type and name.",
            )
        entity = await self.principals.entity(arn)
        if entity is None:
            kind, name = found.groups()
            raise ApiError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
        return entity


def _inputs(given: Mapping[str, Any], member: str) -> list[Policy]:
    policies = []
    for number, text in enumerate(given.get(member, ()), 1):
        try:
            policies.append(parse(text, f"{member}.{number}"))
        except PolicyError as error:
            raise ApiError("InvalidInput", f"Invalid policy {member}.{number}: {error}") from None
    return policies


def _simulate(
    given: Mapping[str, Any],
    policies: Sequence[Policy],
    boundary: Sequence[Policy] | None,
    base: Mapping[str, str],
) -> dict[str, Any]:
    entries = given.get("ContextEntries", ())
    stated = {e["ContextKeyName"]: tuple(e["ContextKeyValues"]) for e in entries
              if "ContextKeyName" in e and "ContextKeyValues" in e}  # fmt: skip
    context = context_of(stated, base)
    actions = given["ActionNames"]
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise ApiError("InvalidInput", f"Invalid action name: {action}")
    _check_together(actions)
    resources = list(dict.fromkeys(given.get("ResourceArns") or ["*"]))
    start, size = _place(given), given.get("MaxItems") or _PAGE
    results = [
        _result(
            action,
            {
                resource: evaluate(policies, action, resource, context, boundary)
                for resource in resources
            },
        )
        for action in actions[start : start + size]
    ]
    more = start + size < len(actions)
    answer: dict[str, Any] = {"EvaluationResults": results, "IsTruncated": more}
    if more:
        answer["Marker"] = base64.b64encode(str(start + size).encode()).decode()
    return answer


def _check_together(actions: Sequence[str]) -> None:
    kinds: dict[str, list[str]] = {}
    for action in actions:
        kinds.setdefault(action.lower() if action.lower() in _APART else "", []).append(action)
    if len(kinds) > 1:
        shown = " and ".join(f"[{','.join(some)}]" for some in kinds.values())
        raise ApiError(
            "InvalidInput",
            f"Invalid Input Actions: {shown} require different authorization information.",
        )


def _place(given: Mapping[str, Any]) -> int:
    marker = given.get("Marker")
    if not marker:
        return 0
    try:
        place = int(base64.b64decode(marker, validate=True).decode("ascii"))
    except ValueError:
        place = -1
    if place < 0:
        raise ApiError("InvalidInput", "Invalid Marker.")
    return place


def _result(action: str, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """One action: the sum of what was said, and each resource for itself."""
    whole = max(verdicts.values(), key=lambda verdict: _WEIGHT.index(verdict.decision))
    single = next(iter(verdicts)) if len(verdicts) == 1 else "*"
    result: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": single,
        "EvalDecision": whole.decision,
        "MatchedStatements": _matched(whole),
        "MissingContextValues": list(whole.missing) if single == "*" else [],
    }
    if list(verdicts) != ["*"]:
        result["ResourceSpecificResults"] = [
            {
                "EvalResourceName": resource,
                "EvalResourceDecision": verdict.decision,
                "MatchedStatements": _matched(verdict),
                "MissingContextValues": list(verdict.missing),
                **_boundary(verdict),
            }
            for resource, verdict in verdicts.items()
        ]
    return {**result, **_boundary(whole)}


def _boundary(verdict: Verdict) -> dict[str, Any]:
    if not verdict.limited:
        return {}
    return {"PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False}}


def _matched(verdict: Verdict) -> list[dict[str, str]]:
    return [
        {"SourcePolicyId": match.policy, "SourcePolicyType": "IAM Policy"}
        for match in verdict.matched
    ]
