"""What the sources of an audit have in common: what was found, and what is missing and why.

Knows session logs as names and times, and how a refusal becomes a line. Never knows which calls
were made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ...errors import AccessDenied

if TYPE_CHECKING:
    from datetime import datetime

    from ...errors import EcsExecError

__all__ = ["SESSION_NAME", "Part", "SessionLog", "Source", "refused"]

SESSION_NAME = re.compile(r"ecs-execute-command-[0-9a-z]{8,}", re.ASCII)
"""Ids of ECS Exec's sessions, and so names of their log streams (FIELD 1)."""

_ACTION = re.compile(r"\b[a-z0-9-]{2,20}:[A-Z][A-Za-z]+\b")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Source:
    """What one source gave, in a line.

    Attributes:
        name: as in ``CloudTrail``.
        state: ``ok``, ``partly``, ``denied``, ``failed`` or ``off``.
        text: what there is, and what is missing and why.
        permission: the IAM action that would give the rest; empty when none would.
    """

    name: str
    state: str
    text: str
    permission: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class Part(Generic[_T]):
    """What a source gave, and what to say of it."""

    items: _T
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionLog:
    """Where the log of a session lies.

    Attributes:
        session_id: of the session; the log is named after it.
        kind: ``logs`` (CloudWatch Logs) or ``s3``.
        place: log group or bucket.
        name: log stream or key.
        written: when it was put there, which is when the session had ended.
        size: in bytes; 0 when not known.
        cluster: whose configuration names the place.
    """

    session_id: str
    kind: str
    place: str
    name: str
    written: datetime | None = None
    size: int = 0
    cluster: str = ""

    @property
    def where(self) -> str:
        """As people write it: ``GROUP/STREAM``, or ``s3://BUCKET/KEY``."""
        return (
            f"s3://{self.place}/{self.name}" if self.kind == "s3" else f"{self.place}:{self.name}"
        )


def refused(
    name: str, error: EcsExecError, action: str, *, lost: str, partly: bool = False
) -> Source:
    """The line of a source that an error has kept from us.

    Args:
        name: of the source.
        error: what happened.
        action: the IAM action of the call, used unless AWS names another.
        lost: what is missing for it, in a few words.
        partly: some of it was had.
    """
    if isinstance(error, AccessDenied):
        found = _ACTION.search(error.cause) or _ACTION.search(error.message)
        wanted = found[0] if found else action
        # A key's policy counts too, and AWS names its action only.
        return Source(name, "denied", f"{lost}: {wanted} is denied", wanted)
    why = error.message if not error.cause else f"{error.message} ({error.cause})"
    return Source(name, "partly" if partly else "failed", f"{lost}: {why}")
