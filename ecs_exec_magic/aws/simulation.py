"""Asking IAM what somebody may do, without doing it: SimulatePrincipalPolicy.

Knows the simulator's rules, and what its answers mean in words. Never knows which questions matter.

What the simulator does not look at: session policies, the policies of buckets, keys and endpoints,
and of organisations only whether they allow the action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import AccessDenied, EcsExecError, InvalidRequest, TargetNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .api import AwsApi

__all__ = ["Decision", "Question", "Verdict", "principal_named", "principal_of", "simulate"]

Decision = Literal["allowed", "explicitDeny", "implicitDeny"]
Context = Mapping[str, "str | tuple[str, ...]"]

_AT_ONCE = 4  # calls: IAM's limits are low, and shared by the account
_MOST_ACTIONS = 100  # in a call
_MISSING = ("NoSuchEntity", "NoSuchEntityException")
_GENERATED = "AWSReservedSSO_"  # roles of IAM Identity Center, which are below a path

# The types of keys that are not texts; AWS's reference gives them.
_TYPES = {
    "aws:currenttime": "date",
    "aws:epochtime": "date",
    "aws:multifactorauthage": "numeric",
    "aws:multifactorauthpresent": "boolean",
    "aws:principalisawsservice": "boolean",
    "aws:securetransport": "boolean",
    "aws:sourceip": "ip",
    "aws:tokenissuetime": "date",
    "aws:viaawsservice": "boolean",
    "aws:vpcsourceip": "ip",
    "kms:bypasspolicylockoutsafetycheck": "boolean",
    "kms:grantisforawsresource": "boolean",
}


@dataclass(frozen=True)
class Question:
    """May somebody take an action on a resource?

    Attributes:
        action: as in ``ecs:ExecuteCommand``.
        resource: an ARN, or ``*``.
        context: condition keys of the request, as in ``ecs:container-name``; a tuple for a key
            that has several values.
    """

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Verdict:
    """What IAM says to a question.

    Attributes:
        decision: in IAM's words.
        by: names of the policies whose statements decided, as IAM gives them.
        missing_context: condition keys that policies ask for and the question did not have.
        denied_by_boundary: the principal's permissions boundary does not let it.
        denied_by_organisation: a policy of the organisation (SCP) does not let it.
    """

    question: Question
    decision: Decision
    by: tuple[str, ...] = ()
    missing_context: tuple[str, ...] = ()
    denied_by_boundary: bool = False
    denied_by_organisation: bool = False

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def allowed(self) -> bool:
        """Whether the action may be taken."""
        return self.decision == "allowed"

    @property
    def why(self) -> str:
        """The reason, in a few words."""
        policies = ", ".join(self.by)
        if self.allowed:
            return f"allowed by {policies}" if policies else "allowed"
        explicit = self.decision == "explicitDeny"
        if self.denied_by_organisation:
            verb = "denies it" if explicit else "does not allow it"
            return f"a policy of the organisation (SCP) {verb}"
        if self.denied_by_boundary:
            verb = "denies it" if explicit else "does not allow it"
            return f"the permissions boundary {verb}"
        if explicit:
            return f"denied explicitly by {policies}" if policies else "denied explicitly"
        if self.missing_context:
            keys = ", ".join(self.missing_context)
            return f"no policy allows it; one may if the request has {keys}"
        return "no policy allows it" + (", or its conditions do not hold" if policies else "")


async def simulate(
    api: AwsApi, principal_arn: str, questions: Sequence[Question]
) -> tuple[Verdict, ...]:
    """Ask IAM's simulator; questions about one resource in one context share a call.

    Args:
        principal_arn: of a user, group or role, as :func:`principal_of` gives it.
        questions: in any order.

    Returns:
        a verdict for each question, in their order.

    Raises:
        AccessDenied: the caller may not ask (``iam:SimulatePrincipalPolicy``).
        TargetNotFound: there is no such user, group or role.
    """
    groups: dict[Any, list[Question]] = {}
    for question in questions:
        members = groups.setdefault((question.resource, _frozen(question.context)), [])
        if all(question.action.lower() != other.action.lower() for other in members):
            members.append(question)
    turn = asyncio.Semaphore(_AT_ONCE)
    asked = [
        _ask(api, principal_arn, members[start : start + _MOST_ACTIONS], turn)
        for members in groups.values()
        for start in range(0, len(members), _MOST_ACTIONS)
    ]
    found: dict[Any, Verdict] = {}
    for verdicts in await asyncio.gather(*asked):
        found.update({_key(verdict.question): verdict for verdict in verdicts})
    return tuple(replace(found[_key(each)], question=each) for each in questions)


def _key(question: Question) -> Any:
    return question.action.lower(), question.resource, _frozen(question.context)


def _frozen(context: Context) -> Any:
    return tuple(sorted((name.lower(), _values(given)) for name, given in context.items()))


def _values(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


async def _ask(
    api: AwsApi, principal_arn: str, questions: Sequence[Question], turn: asyncio.Semaphore
) -> list[Verdict]:
    """One call; several where IAM does not take these actions together."""
    first = questions[0]
    asked: dict[str, Any] = {
        "PolicySourceArn": principal_arn,
        "ActionNames": [each.action for each in questions],
        "ResourceArns": [first.resource],
    }
    if entries := [_entry(name, given) for name, given in first.context.items()]:
        asked["ContextEntries"] = entries
    try:
        async with turn:
            results = await api.pages(
                "iam",
                "simulate_principal_policy",
                "EvaluationResults",
                _about=principal_arn,
                **asked,
            )
    except EcsExecError as error:
        if error.code in _MISSING:
            raise TargetNotFound(
                f"IAM has no {principal_arn}", cause=error.cause, cure="check name and account"
            ) from error
        # "Actions [...] and [...] require different authorization information": IAM does not say
        # beforehand which ones do.
        if error.code != "InvalidInput" or len(questions) == 1:
            raise
        alone = [_ask(api, principal_arn, [each], turn) for each in questions]
        return [verdict for some in await asyncio.gather(*alone) for verdict in some]
    answers = {str(each.get("EvalActionName", "")).lower(): each for each in results}
    return [_verdict(each, answers.get(each.action.lower(), {})) for each in questions]


def _entry(name: str, given: str | tuple[str, ...]) -> dict[str, Any]:
    values = list(_values(given))
    kind = _TYPES.get(name.lower(), "string")
    if not isinstance(given, str):
        kind += "List"
    return {"ContextKeyName": name, "ContextKeyValues": values, "ContextKeyType": kind}


def _verdict(question: Question, answer: Mapping[str, Any]) -> Verdict:
    """The answer on the one resource that was asked about."""
    specific = (answer.get("ResourceSpecificResults") or [{}])[0]
    boundary = _detail(specific, answer, "PermissionsBoundaryDecisionDetail")
    organisation = answer.get("OrganizationsDecisionDetail") or {}
    matched = specific.get("MatchedStatements") or answer.get("MatchedStatements") or ()
    names = (str(each.get("SourcePolicyId", "")) for each in matched)
    missing = specific.get("MissingContextValues") or answer.get("MissingContextValues") or ()
    decision: Decision = (
        specific.get("EvalResourceDecision") or answer.get("EvalDecision") or "implicitDeny"
    )
    refused = decision != "allowed"
    return Verdict(
        question,
        decision,
        by=tuple(dict.fromkeys(name for name in names if name)),
        missing_context=tuple(missing),
        denied_by_boundary=refused and boundary.get("AllowedByPermissionsBoundary") is False,
        denied_by_organisation=refused and organisation.get("AllowedByOrganizations") is False,
    )


def _detail(specific: Mapping[str, Any], answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = specific.get(name) or answer.get(name) or {}
    return found


# -- who is asked about --------------------------------------------------------------------------


async def principal_of(api: AwsApi, caller_arn: str) -> str:
    """The ARN that the simulator takes for a caller; of an assumed role, its role's.

    Args:
        caller_arn: as GetCallerIdentity tells it, or an ARN of IAM.

    Raises:
        InvalidRequest: the root user or a federated one, whom the simulator does not know.
        TargetNotFound: there is no such role.
        AccessDenied: a role's path may not be looked up (``iam:GetRole``), and matters.
    """
    parts = caller_arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] not in ("iam", "sts"):
        raise InvalidRequest(
            f"{caller_arn!r} is not the ARN of a user or role",
            cure="give a name, role/NAME, user/NAME, an ARN, or me",
        )
    partition, account, what = parts[1], parts[4], parts[5]
    kind, _, name = what.partition("/")
    if what == "root":
        raise InvalidRequest(
            f"the root user of {account} cannot be simulated",
            cause="it may do everything in its account, but for what an SCP denies",
            cure="name a user or role",
        )
    if kind == "federated-user":
        raise InvalidRequest(
            f"the federated user {name} cannot be simulated",
            cause="it may do what its session's policy and its user both allow, and IAM keeps no "
            "record of either",
            cure="name the user or role behind it",
        )
    if kind != "assumed-role":
        return caller_arn
    role = name.partition("/")[0]
    try:
        return await _arn(api, "role", role)
    except AccessDenied:
        if role.startswith(_GENERATED):
            raise
        return f"arn:{partition}:iam::{account}:role/{role}"  # most roles are below no path


async def principal_named(api: AwsApi, name: str) -> str:
    """The ARN of a user or role that a person names.

    Args:
        name: ``me``, ``user/NAME``, ``role/NAME``, ``group/NAME``, an ARN, or the bare name of a
            role or user.

    Raises:
        InvalidRequest: a user and a role have that name, or it cannot be simulated.
        TargetNotFound: nobody has it.
    """
    if name == "me":
        return await principal_of(api, str((await api.identity())["Arn"]))
    if name.startswith("arn:"):
        return await principal_of(api, name)
    kind, _, rest = name.rpartition("/")
    if kind:
        if kind not in ("role", "user", "group") or not rest:
            raise InvalidRequest(
                f"{name!r} is neither a user nor a role",
                cure="write role/NAME, user/NAME, group/NAME, an ARN, or me",
            )
        return await _arn(api, kind, rest)
    asked = (_if_there(api, kind, name) for kind in ("role", "user"))
    found = [arn for arn in await asyncio.gather(*asked) if arn]
    if not found:
        raise TargetNotFound(
            f"there is neither a role nor a user {name}",
            cure="check the name and the account, or give an ARN",
        )
    if len(found) > 1:
        raise InvalidRequest(
            f"there are a role and a user {name}", cure=f"write role/{name} or user/{name}"
        )
    return found[0]


async def _if_there(api: AwsApi, kind: str, name: str) -> str:
    try:
        return await _arn(api, kind, name)
    except TargetNotFound:
        return ""


async def _arn(api: AwsApi, kind: str, name: str) -> str:
    member = kind.capitalize()
    asked: dict[str, Any] = {f"{member}Name": name}
    try:
        answer = await api.call("iam", f"get_{kind}", _about=name, **asked)
    except EcsExecError as error:
        if error.code in _MISSING:
            raise TargetNotFound(f"there is no {kind} {name}", cause=error.cause) from error
        raise
    return str(answer[member]["Arn"])
