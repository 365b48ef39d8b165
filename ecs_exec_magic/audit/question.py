"""What an audit is of: places, times and people.

Knows which entries are meant, and why one is left out. Never knows where entries come from.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..address import Address
    from ..aws.audit import Call
    from .entries import AuditEntry

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """What an audit is of.

    Attributes:
        scope: a cluster, and what is meant in it; None for the whole region.
        until: None for now.
        who: user name, ARN, role, name of a role's session, or a pattern with ``*``.
        limit: the newest so many.
    """

    scope: Address | None
    since: datetime
    until: datetime | None = None
    who: str = ""
    limit: int | None = None
    masked: bool = True
    at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def wants(self, call: Call) -> bool:
        """Whether a call may be of what is asked; its service is not known yet."""
        scope = self.scope
        return call.at >= self.since and (
            self._is_by(call.who.names)
            and (scope is None or not call.cluster or scope.cluster in (None, call.cluster))
        )

    def misses(self, entry: AuditEntry) -> str | None:
        """Why an entry is left out: in words that are counted, empty if none are needed."""
        if entry.time < self.since or (self.until is not None and entry.time > self.until):
            return ""
        if self.who and not entry.arn and not entry.who:
            return "with a log alone: who began them is not known"
        role, slash, session = entry.who.partition("/")
        names = (entry.arn, entry.who, *((role, session) if slash else ()))
        if not self._is_by(names):
            return ""
        return self._elsewhere(entry)

    def _is_by(self, names: Iterable[str]) -> bool:
        pattern = self.who.lower()
        return not pattern or any(fnmatch.fnmatchcase(name.lower(), pattern) for name in names)

    def _elsewhere(self, entry: AuditEntry) -> str | None:
        scope = self.scope
        if scope is None or (entry.error and not entry.task_id and not entry.cluster):
            return None  # a refused call that does not say where it was aimed is never hidden
        if scope.cluster is not None and entry.cluster and entry.cluster != scope.cluster:
            return ""
        if scope.container not in (None, "*"):
            if entry.container and entry.container != scope.container:
                return ""
            if not entry.container and not entry.error:
                return "in containers that nothing names any more"
        name = scope.name
        if name is None:
            return None
        if scope.kind in (None, "task") and entry.task_id.startswith(name) and len(name) >= 6:
            return None
        if scope.kind == "task":
            return "" if entry.task_id else self._unknown(entry)
        if entry.service or entry.family:
            known = [entry.service] if scope.kind == "service" else [entry.family]
            if scope.kind is None:
                known.append(entry.service)
            return None if name in known else ""
        return self._unknown(entry)

    @staticmethod
    def _unknown(entry: AuditEntry) -> str | None:
        if entry.error and not entry.task_id:
            return None
        return "in tasks that AWS does not know any more"
