"""What policies decide: explicit deny first, then allow, else the implicit deny.

Knows statements, actions, resources and context. Never knows where policies are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from .patterns import Context, arn_matches, matches, pattern, variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .documents import Policy, Statement

__all__ = ["Decision", "Match", "Verdict", "evaluate"]

Decision: TypeAlias = Literal["allowed", "explicitDeny", "implicitDeny"]


@dataclass(frozen=True, slots=True)
class Match:
    """A statement that decided, and the policy it stands in."""

    policy: str
    statement: Statement


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say of one action on one resource.

    Args:
        decision: in the words of IAM's simulator.
        matched: the statements that made the decision: the denying ones only, if there are any.
        missing: condition keys that statements about this action and resource ask for and the
            context has not, in alphabetical order.
        boundary: the permissions boundary refused it.
        limited: it would refuse it, whatever the other policies said.
    """

    decision: Decision
    matched: tuple[Match, ...] = ()
    missing: tuple[str, ...] = ()
    boundary: bool = False
    limited: bool = False

    @property
    def allowed(self) -> bool:
        """Whether the action may be taken."""
        return self.decision == "allowed"


def evaluate(
    policies: Sequence[Policy],
    action: str,
    resource: str,
    context: Context,
    boundary: Sequence[Policy] | None = None,
) -> Verdict:
    """Decide.

    Args:
        policies: the identity's.
        action: ``service:Operation``, in any case.
        resource: an ARN, or ``*``.
        context: see :func:`~.patterns.context_of`.
        boundary: the permissions boundary; what it does not allow is not allowed.
    """
    speaking = _speaking(policies, action, resource, context)
    limiting = _speaking(boundary or (), action, resource, context)
    own, limits = _applying(speaking, context), _applying(limiting, context)
    asked = {
        key
        for policy in (*policies, *(boundary or ()))
        for statement in policy.statements
        if statement.variables and _of_action(statement, action)
        for one in statement.resources
        for key in variables(one)
    }
    for match in (*speaking, *limiting):
        asked.update(key for each in match.statement.conditions for key in each.needed())
    missing = tuple(sorted(key for key in asked if key not in context))
    for found, limited in ((own, False), (limits, True)):
        denials = tuple(match for match in found if not match.statement.allow)
        if denials:
            return Verdict("explicitDeny", denials, missing, limited, limited)
    outside = boundary is not None and not limits
    if own and outside:
        return Verdict("implicitDeny", (), missing, True, True)
    return Verdict("allowed" if own else "implicitDeny", tuple(own), missing, False, outside)


def _speaking(
    policies: Sequence[Policy], action: str, resource: str, context: Context
) -> list[Match]:
    """The statements about an action and a resource, whatever their conditions."""
    return [
        Match(policy.name, statement)
        for policy in policies
        for statement in policy.statements
        if _of_action(statement, action) and _of_resource(statement, resource, context)
    ]


def _applying(found: Sequence[Match], context: Context) -> list[Match]:
    """Those whose conditions hold."""
    return [
        match
        for match in found
        if all(condition.holds(context) for condition in match.statement.conditions)
    ]


def _of_action(statement: Statement, action: str) -> bool:
    return _named(statement.actions, action.lower()) != statement.other_actions


def _of_resource(statement: Statement, resource: str, context: Context) -> bool:
    source = context if statement.variables else None
    wanted = (pattern(one, source) for one in statement.resources)
    inside = any(one is not None and arn_matches(one, resource) for one in wanted)
    return inside != statement.other_resources


@lru_cache(maxsize=4096)
def _named(actions: tuple[str, ...], action: str) -> bool:
    """Whether an action is among patterns; AWS's own policies list more than a thousand."""
    return any(matches(pattern(one) or (), action) for one in actions)
