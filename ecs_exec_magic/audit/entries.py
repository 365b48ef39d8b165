"""One line of an audit: who ran what, where, when, from where, and what came of it.

Knows finished facts. Never knows where they were found, or how they look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..remote.wrapper import unwrap
from ..results import one_line
from ..tables import clean

if TYPE_CHECKING:
    from datetime import datetime

    from ..aws.audit import SessionLog
    from ..journal import Record
    from .transcript import Transcript

__all__ = ["AuditEntry", "program_of", "readable_command"]

_PROGRAM = re.compile(
    r"\b(ecs-exec-magic|aws-cli|aws-sdk-[a-z0-9-]+|Boto3)/([0-9][0-9a-z.]*)", re.I
)
_ORDER = ("ecs-exec-magic", "aws-cli")


@dataclass(frozen=True, repr=False)
class AuditEntry:
    """One session, or one call that was refused; what is not known is empty or None.

    Attributes:
        time: when it was called for, in UTC; of a log alone, when that was written.
        kind: ``exec`` (ECS Exec), ``session`` (Session Manager directly), or ``log`` where nothing
            but the log of a session tells of it.
        who: the user's name, ``ROLE/SESSION``, or ``root``.
        arn: of the user.
        source_ip: where the call came from.
        user_agent: what made it; :attr:`program` is the short form.
        region: of the call.
        cluster: short name.
        service: short name of the task's service, while AWS or this notebook knows it.
        family: of the task's definition, likewise.
        command: what the user ran, without what this package puts around it; masked.
        session_id: empty when the call failed.
        event_id: of CloudTrail's event; empty when there is none.
        request_id: of the call.
        error: AWS's code when the call failed, as in ``AccessDenied``.
        error_message: what AWS said, masked.
        ended: when the session ended, as far as anything tells; to the second.
        exit_code: of the command, where a record of this notebook or the log tells it.
        duration: seconds, where a record of this notebook tells it.
        logs: where the session's log lies.
        records: of this notebook, if it ran this: several where a session took several commands.
        transcript: what the session showed, if that was read.
        notes: what is missing, and why; a sentence each.
    """

    time: datetime
    kind: str
    who: str = ""
    arn: str = ""
    source_ip: str = ""
    user_agent: str = ""
    region: str = ""
    cluster: str = ""
    service: str = ""
    family: str = ""
    task_id: str = ""
    task_arn: str = ""
    container: str = ""
    command: str = ""
    session_id: str = ""
    event_id: str = ""
    request_id: str = ""
    error: str = ""
    error_message: str = ""
    ended: datetime | None = None
    exit_code: int | None = None
    duration: float | None = None
    logs: tuple[SessionLog, ...] = ()
    records: tuple[Record, ...] = ()
    transcript: Transcript | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        what = clean(one_line(self.command)) or self.session_id
        told = [f"{self.time:%Y-%m-%d %H:%M:%S} UTC", self.who or "somebody", self.address, what]
        return f"<AuditEntry {', '.join(each for each in [*told, self.outcome] if each)}>"

    @property
    def program(self) -> str:
        """What made the call, in one word, as in ``aws-cli`` or ``ecs-exec-magic``."""
        return program_of(self.user_agent)

    @property
    def denied(self) -> bool:
        """Whether the caller was not allowed to."""
        return "denied" in self.error.lower() or self.error.startswith("Unauthorized")

    @property
    def address(self) -> str:
        """``CLUSTER/TASKID:CONTAINER``, as far as it is known."""
        place = "/".join(each for each in (self.cluster, self.task_id) if each)
        return f"{place}:{self.container}" if self.container else place

    @property
    def seconds(self) -> float | None:
        """How long it took: as this notebook measured it, else from the call to the end."""
        if self.duration is not None:
            return self.duration
        if self.ended is None or self.kind == "log":
            return None
        seconds = (self.ended - self.time).total_seconds()
        return seconds if seconds >= 1 else None  # AWS's times are whole seconds

    @property
    def outcome(self) -> str:
        """In a word or two: ``exit 0``, ``denied``, AWS's error code, or what is known else."""
        if self.error:
            return "denied" if self.denied else self.error.removesuffix("Exception")
        if self.records and self.exit_code is None:
            return self.records[-1].outcome
        if self.exit_code is not None:
            return f"exit {self.exit_code}"
        return "ended" if self.ended else ""

    def row(self) -> dict[str, Any]:
        """All of it in plain values, as a table or JSON takes them; times in UTC."""
        record = self.records[0] if self.records else None
        return {
            "time": self.time.isoformat(timespec="seconds"),
            "kind": self.kind,
            "who": self.who,
            "arn": self.arn,
            "source_ip": self.source_ip,
            "user_agent": self.user_agent,
            "region": self.region,
            "cluster": self.cluster,
            "service": self.service,
            "family": self.family,
            "task_id": self.task_id,
            "container": self.container,
            "command": self.command,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "error": self.error,
            "error_message": self.error_message,
            "ended": self.ended.isoformat(timespec="seconds") if self.ended else None,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "session_id": self.session_id,
            "event_id": self.event_id,
            "request_id": self.request_id,
            "logs": [log.where for log in self.logs],
            "runs": [each.number for each in self.records],
            "notebook": record.notebook if record else "",
            "transcript": self.transcript.text if self.transcript else None,
            "notes": list(self.notes),
        }


def program_of(user_agent: str) -> str:
    """What made a call, out of its user agent."""
    found = {match[1].lower(): match[1] for match in _PROGRAM.finditer(user_agent)}
    for name in _ORDER:
        if name in found:
            return name
    if found:
        return next(iter(found.values()))
    return user_agent.partition("/")[0].partition(" ")[0] if user_agent else ""


def readable_command(api_command: str) -> str:
    """What the user ran, of the string that the API was called with."""
    return unwrap(api_command)
