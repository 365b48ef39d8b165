"""Whether policies allow something, as far as their documents say: where IAM may not be asked.

Knows actions, resources and their wildcards. Never knows conditions: a statement that has some
counts as no permission, and as a denial.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ...errors import AccessDenied, EcsExecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..api import AwsApi
    from ..simulation import Question

__all__ = ["allowed", "document_of", "listed", "role_documents"]


def allowed(documents: Iterable[Mapping[str, Any]], question: Question) -> bool:
    """Whether these documents together allow what is asked."""
    found = False
    for document in documents:
        for statement in listed(document.get("Statement")):
            if not _speaks(statement, question):
                continue
            if statement.get("Effect") != "Allow":
                return False
            found = found or not statement.get("Condition")
    return found


def _speaks(statement: Mapping[str, Any], question: Question) -> bool:
    return _names(statement, "Action", question.action.lower(), lower=True) and _names(
        statement, "Resource", question.resource
    )


def _names(statement: Mapping[str, Any], element: str, text: str, *, lower: bool = False) -> bool:
    turned = f"Not{element}"
    patterns = listed(statement.get(turned, statement.get(element)))
    fits = any(_fits(str(each).lower() if lower else str(each), text) for each in patterns)
    return fits != (turned in statement)


def _fits(pattern: str, text: str) -> bool:
    """Whether a pattern takes in a text, which may have wildcards of its own."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def listed(value: Any) -> list[Any]:
    """What a document gives as one thing or as a list, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def document_of(given: Any) -> dict[str, Any]:
    """A document as IAM answers it: taken out of JSON, or still in it and quoted for URLs."""
    if isinstance(given, str):
        given = json.loads(given if given.lstrip().startswith("{") else unquote(given))
    return dict(given)


async def role_documents(api: AwsApi, role: str) -> dict[str, dict[str, Any]]:
    """The policies of a role by name, as far as they may be read.

    Raises:
        EcsExecError: IAM fails otherwise than by refusing.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        for name in await api.pages("iam", "list_role_policies", "PolicyNames", RoleName=role):
            answer = await api.call("iam", "get_role_policy", RoleName=role, PolicyName=name)
            found[name] = document_of(answer["PolicyDocument"])
        attached = await api.pages(
            "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role
        )
        for policy in attached:
            arn = policy["PolicyArn"]
            version = (await api.call("iam", "get_policy", PolicyArn=arn))["Policy"]
            answer = await api.call(
                "iam", "get_policy_version", PolicyArn=arn, VersionId=version["DefaultVersionId"]
            )
            found[policy["PolicyName"]] = document_of(answer["PolicyVersion"]["Document"])
    except AccessDenied:
        pass
    except EcsExecError as error:
        if error.code not in ("NoSuchEntity", "NoSuchEntityException"):
            raise
    return found
