"""Policy documents: JSON to statements, and what IAM refuses.

Knows the grammar of policies. Never knows who calls or what a call needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..api import ApiError
from .conditions import Condition, operator

__all__ = ["Policy", "PolicyError", "Statement", "check_call", "check_document", "parse"]

_VERSIONS = ("2012-10-17", "2008-10-17")
_ELEMENTS = frozenset(
    "Sid Effect Principal NotPrincipal Action NotAction Resource NotResource Condition".split()
)
_SID = re.compile(r"[0-9A-Za-z]*")
_ACTION = re.compile(r"\*|[0-9A-Za-z*?-]+:[0-9A-Za-z*?._-]+")
_POLICY_CALLS = {
    "PutRolePolicy": "PolicyDocument",
    "PutUserPolicy": "PolicyDocument",
    "PutGroupPolicy": "PolicyDocument",
    "CreatePolicy": "PolicyDocument",
    "CreatePolicyVersion": "PolicyDocument",
}
_TRUST_CALLS = {
    "CreateRole": "AssumeRolePolicyDocument",
    "UpdateAssumeRolePolicy": "PolicyDocument",
}


class PolicyError(ValueError):
    """A document that IAM does not take.

    Args:
        where: the line and column, or the path of the element.
        message: what is wrong there.
        code_message: IAM's own words for this kind of mistake.
    """

    def __init__(
        self, where: str, message: str, code_message: str = "Syntax errors in policy."
    ) -> None:
        super().__init__(f"{code_message} ({where}: {message})")
        self.where = where
        self.message = message


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Args:
        sid: its name, or an empty text.
        allow: its effect.
        actions: patterns of actions, in lower case.
        resources: patterns of resources.
        conditions: all of them must hold.
        other_actions: NotAction: every action but these.
        other_resources: NotResource: every resource but these.
        variables: whether ``${...}`` means a variable (by the policy's version).
    """

    sid: str
    allow: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    other_actions: bool = False
    other_resources: bool = False
    variables: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """A document and where it comes from.

    Args:
        name: the name that a simulation tells.
        statements: in the order of the document.
    """

    name: str
    statements: tuple[Statement, ...]


def parse(
    document: str | Mapping[str, Any],
    name: str = "",
    *,
    trust: bool = False,
    strict: bool = False,
) -> Policy:
    """Read a document, given as JSON or already taken out of it.

    Args:
        document: the policy.
        name: the name of the result.
        trust: a trust policy, which has a Principal and no Resource.
        strict: refuse also what changes no decision: a Principal, odd or repeated Sids.

    Raises:
        PolicyError: it is not JSON, or no policy.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise PolicyError(where, error.msg) from None
        except RecursionError:
            raise PolicyError("the document", "nested too deeply") from None
    if not isinstance(document, Mapping):
        raise PolicyError("the document", "a policy is an object")
    for element in document:
        if element not in ("Version", "Id", "Statement"):
            raise PolicyError(str(element), "a policy has no such element")
    version = document.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise PolicyError("Version", f"must be {' or '.join(_VERSIONS)}")
    if "Statement" not in document:
        raise PolicyError("Statement", "is missing")
    listed = document["Statement"]
    if isinstance(listed, Mapping):
        listed = [listed]
    if not isinstance(listed, list) or not listed:
        raise PolicyError("Statement", "must be a statement or a list of them")
    modern = version == _VERSIONS[0]
    statements = tuple(
        _statement(one, f"Statement[{index}]", modern, trust, strict)
        for index, one in enumerate(listed)
    )
    named = [statement.sid for statement in statements if statement.sid]
    if strict and len(named) != len(set(named)):
        raise PolicyError(
            "Statement",
            "two statements have one Sid",
            "Statement IDs (SID) in a single policy must be unique.",
        )
    return Policy(name, statements)


def _statement(given: Any, path: str, modern: bool, trust: bool, strict: bool) -> Statement:
    if not isinstance(given, Mapping):
        raise PolicyError(path, "a statement is an object")
    for element in given:
        if element not in _ELEMENTS:
            raise PolicyError(f"{path}.{element}", "a statement has no such element")
    sid = given.get("Sid", "")
    if not isinstance(sid, str) or (strict and not _SID.fullmatch(sid)):
        raise PolicyError(
            f"{path}.Sid",
            "letters and digits only",
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the "
            "regular expression [0-9A-Za-z]*",
        )
    effect = given.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise PolicyError(f"{path}.Effect", "must be Allow or Deny")
    principal = "Principal" in given or "NotPrincipal" in given
    if strict and principal and not trust:
        raise PolicyError(
            path, "it has a Principal", "Policy document should not specify a principal."
        )
    actions, other_actions = _either(given, "Action", path)
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise PolicyError(
                f"{path}.Action",
                f"{action!r} is no SERVICE:ACTION",
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            )
    resources, other_resources = ((), False) if trust else _either(given, "Resource", path)
    for resource in resources:
        if not resource.startswith(("arn:", "*", "?", "${")):
            raise PolicyError(
                f"{path}.Resource",
                "an ARN is wanted",
                f'Resource {resource} must be in ARN format or "*".',
            )
    return Statement(
        sid,
        effect == "Allow",
        tuple(action.lower() for action in actions),
        resources,
        _conditions(given.get("Condition", {}), f"{path}.Condition", modern),
        other_actions,
        other_resources,
        modern,
    )


def _either(given: Mapping[str, Any], name: str, path: str) -> tuple[tuple[str, ...], bool]:
    """The element, or its opposite: exactly one must be there."""
    other = f"Not{name}"
    if (name in given) == (other in given):
        raise PolicyError(
            path,
            f"needs either {name} or {other}",
            f"Policy statement must contain {name.lower()}s.",
        )
    chosen = name if name in given else other
    values = given[chosen]
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise PolicyError(f"{path}.{chosen}", "must be a text or a list of texts")
    if not values:
        raise PolicyError(
            f"{path}.{chosen}", "is empty", f"Policy statement must contain {name.lower()}s."
        )
    return tuple(values), chosen == other


def _conditions(given: Any, path: str, modern: bool) -> tuple[Condition, ...]:
    if not isinstance(given, Mapping):
        raise PolicyError(path, "must be an object of operators")
    found = []
    for name, keys in given.items():
        known = operator(name)
        if known is None:
            raise PolicyError(f"{path}.{name}", "is no condition operator")
        if not isinstance(keys, Mapping):
            raise PolicyError(f"{path}.{name}", "must be an object of condition keys")
        for key, values in keys.items():
            listed = values if isinstance(values, list) else [values]
            texts = tuple(_text(value, f"{path}.{name}.{key}") for value in listed)
            found.append(Condition(known, key.lower(), texts, modern))
    return tuple(found)


def _text(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    kind = "an object" if isinstance(value, Mapping) else "nothing"
    raise PolicyError(path, f"the value of a condition key is a text, not {kind}")


def check_document(text: str, *, trust: bool = False) -> str | None:
    """What is wrong with a document in IAM's words and ours, or None when it is right."""
    try:
        parse(text, trust=trust, strict=True)
    except PolicyError as error:
        return str(error)
    return None


def check_call(service: str, operation: str, given: Mapping[str, Any]) -> None:
    """Refuse a call that brings a document which IAM would not take.

    The front calls it before the account's own IAM, which is more lenient.

    Raises:
        ApiError: MalformedPolicyDocument.
    """
    if service != "iam":
        return
    trust = operation in _TRUST_CALLS
    member = _TRUST_CALLS.get(operation) or _POLICY_CALLS.get(operation)
    document = given.get(member) if member else None
    if isinstance(document, str):
        wrong = check_document(document, trust=trust)
        if wrong is not None:
            raise ApiError("MalformedPolicyDocument", wrong)
