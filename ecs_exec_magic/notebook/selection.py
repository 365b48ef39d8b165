"""Which of the recorded runs a line means.

Knows numbers, times and words by which people look for a run. Never knows how runs are shown.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from ..moments import since

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..journal import Record

__all__ = ["Selection", "numbered", "since"]

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_SHORTEST_ID = 4


@dataclass(frozen=True)
class Selection:
    """Conditions that runs have to meet.

    Attributes:
        failed: only those that are known not to have succeeded.
        target: part of the target's name, or a pattern with ``*``.
        grep: part of the command or of what it printed, in any case.
        since: only those that began at this time or later.
        notebook: only those of this notebook; empty for all.
    """

    failed: bool = False
    target: str = ""
    grep: str = ""
    since: datetime | None = None
    notebook: str = ""

    def matches(self, record: Record) -> bool:
        """Whether a run meets all of them."""
        return (
            not (self.notebook and record.notebook and record.notebook != self.notebook)
            and not (self.since is not None and record.started < self.since)
            and not (self.failed and record.ok is not False)
            and (not self.target or _has_target(record, self.target))
            and (not self.grep or _has_text(record, self.grep.lower()))
        )


def _has_target(record: Record, pattern: str) -> bool:
    target = record.target
    names = [record.address, record.where]
    if target is not None:
        # A container can be meant by its task's cluster, service and family, whatever was asked.
        names += [target.address, target.task_arn, target.service or "", target.family]
    pattern = pattern.lower()
    if not any(char in pattern for char in "*?["):
        pattern = f"*{pattern}*"
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for name in names if name)


def _has_text(record: Record, text: str) -> bool:
    command = record.command if isinstance(record.command, str) else " ".join(record.command)
    if text in command.lower() or text in record.message.lower():
        return True
    return any(_printed(record, stream, text) for stream in ("stdout", "stderr"))


def _printed(record: Record, stream: str, text: str) -> bool:
    before = ""
    try:
        for piece in record.output(stream):
            # What is looked for may be cut by the end of a piece.
            now = before + piece.decode("utf-8", "replace").lower()
            if text in now:
                return True
            before = now[-len(text) - 8 :]
    except OSError:
        pass  # what cannot be read any more holds nothing
    return False


def numbered(records: Sequence[Record], words: Sequence[str]) -> list[Record]:
    """The runs that numbers mean, as in ``12``, ``12-20``, ``last``, or the begin of an id.

    Raises:
        InvalidRequest: there is no such run; the message says which there are.
    """
    found: list[Record] = []
    for word in words:
        match = _RANGE.fullmatch(word)
        if word == "last" and records:
            found.append(records[-1])
        elif match is not None:
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last <= len(records):
                raise _no_such(word, records)
            found += records[first - 1 : last]
        else:
            same = [each for each in records if each.id.startswith(word)]
            if len(same) != 1 or len(word) < _SHORTEST_ID:
                raise _no_such(word, records)
            found += same
    return list({record.id: record for record in found}.values())


def _no_such(word: str, records: Sequence[Record]) -> InvalidRequest:
    there = f"there are 1 to {len(records)}" if len(records) > 1 else "there is only 1"
    return InvalidRequest(f"there is no run {word}: {there if records else 'none is recorded'}")
