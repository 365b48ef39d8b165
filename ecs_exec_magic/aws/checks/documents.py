"""What a resource's policy says: of a key, an endpoint, a role's trust.

Knows the form of policy documents. Never knows IAM's own policies, which the simulator knows, nor
the values of conditions.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Says", "read", "says"]

Says = Literal["allow", "deny", "perhaps", "nothing"]
"""``perhaps``: it depends on conditions."""


def read(document: Any) -> list[dict[str, Any]]:
    """The statements of a document, which may be JSON or read already."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return []
    statements = document.get("Statement", ()) if isinstance(document, dict) else ()
    found = [statements] if isinstance(statements, dict) else list(statements)
    return [each for each in found if isinstance(each, dict)]


def says(document: Any, action: str, principals: Sequence[str] = (), resource: str = "*") -> Says:
    """What a policy says to an action.

    Args:
        principals: who asks, in every way in which it may be named: ARNs, account, service. Empty:
            statements have no principals, or it does not matter.
        resource: an ARN; ``*`` for any.
    """
    found = {
        (statement.get("Effect"), bool(statement.get("Condition")))
        for statement in read(document)
        if _fits(statement, "Action", action, re.IGNORECASE)
        and (resource == "*" or _fits(statement, "Resource", resource, missing=True))
        and _is_for(statement, principals)
    }
    if ("Deny", False) in found:
        return "deny"
    if ("Allow", False) in found:
        return "perhaps" if ("Deny", True) in found else "allow"
    return "perhaps" if ("Allow", True) in found else "nothing"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(each) for each in value] if isinstance(value, list) else []


def _like(patterns: Iterable[str], text: str, flags: int = 0) -> bool:
    return any(
        re.fullmatch(re.escape(each).replace(r"\*", ".*").replace(r"\?", "."), text, flags)
        for each in patterns
    )


def _fits(
    statement: dict[str, Any], member: str, text: str, flags: int = 0, *, missing: bool = False
) -> bool:
    if member in statement:
        return _like(_texts(statement[member]), text, flags)
    if f"Not{member}" in statement:
        return not _like(_texts(statement[f"Not{member}"]), text, flags)
    return missing


def _is_for(statement: dict[str, Any], principals: Sequence[str]) -> bool:
    if not principals:
        return True
    named = "Principal" if "Principal" in statement else "NotPrincipal"
    value = statement.get(named, "*")
    groups = value.values() if isinstance(value, dict) else [value]
    names = [name for group in groups for name in _texts(group)]
    hit = "*" in names or any(each in names for each in principals)
    return hit if named == "Principal" else not hit
