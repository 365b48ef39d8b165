"""The join that AWS leaves to its users: events, session logs and recorded runs, by session.

Knows which of them belong together, and what to say of those that stand alone: each of them is in
exactly one entry. Never asks anybody, and never drops anything.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..aws.audit import HIDDEN
from ..aws.audit.trail import DELAY
from ..masking import mask
from .entries import AuditEntry, readable_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..aws.audit import Call, Place, SessionLog
    from ..aws.tasks import TaskInfo
    from ..journal import Record

__all__ = ["Found", "join"]

_LOG_LATE = timedelta(minutes=2)
"""For so long after its end, a session's log may still be on its way."""

_STARTS = ("ExecuteCommand", "StartSession")


@dataclass(frozen=True)
class Found:
    """All that the sources gave.

    Attributes:
        calls: of CloudTrail.
        logs: of sessions.
        records: of this notebook, those that have the id of a session or of a request.
        places: how the clusters log, by their names.
        tasks: those that AWS still knows, by cluster and id.
        readable: whether CloudTrail could be asked.
        looked_for_logs: whether all places that are known could be looked through.
        now: when all that was.
    """

    calls: Sequence[Call] = ()
    logs: Sequence[SessionLog] = ()
    records: Sequence[Record] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    tasks: Mapping[tuple[str, str], TaskInfo] = field(default_factory=dict)
    readable: bool = True
    looked_for_logs: bool = True
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


@dataclass
class _Group:
    """What belongs together."""

    call: Call | None = None
    later: list[Call] = field(default_factory=list)
    logs: list[SessionLog] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def join(found: Found, *, masked: bool = True) -> list[AuditEntry]:
    """One entry for each session and each call that failed, the oldest first.

    Resumptions and ends of sessions that are known otherwise belong to these; others are left out,
    since nothing tells that they were about a container.
    """
    groups: dict[tuple[str, str], _Group] = {}
    by_request: dict[str, tuple[str, str]] = {}
    for call in {call.id or id(call): call for call in found.calls}.values():
        if call.name not in _STARTS:
            continue
        if call.session_id and call.session_id != HIDDEN:
            key = ("session", call.session_id)
            if key in groups and groups[key].call is not None:
                key = ("event", call.id)  # an id given twice, which AWS does not do
        else:
            key = ("event", call.id)
        while groups.get(key) is not None and groups[key].call is not None:
            key = (key[0], f"{key[1]}+")  # events without an id of their own
        groups.setdefault(key, _Group()).call = call
        if call.request_id:
            by_request.setdefault(call.request_id, key)
    for log in found.logs:
        groups.setdefault(("session", log.session_id), _Group()).logs.append(log)
    for record in found.records:
        key = ("session", record.session_id)
        if not record.session_id or key not in groups:
            key = by_request.get(record.request_id) or (
                key if record.session_id else ("request", record.request_id or record.id)
            )
        groups.setdefault(key, _Group()).records.append(record)
    for call in found.calls:
        group = groups.get(("session", call.session_id))
        if call.name not in _STARTS and group is not None:
            group.later.append(call)
    entries = [_entry(key, group, found, masked) for key, group in groups.items()]
    return sorted(entries, key=lambda entry: (entry.time, entry.session_id, entry.event_id))


def _entry(key: tuple[str, str], group: _Group, found: Found, masked: bool) -> AuditEntry:
    call = group.call
    records = sorted(group.records, key=lambda record: record.started)
    logs = sorted(group.logs, key=lambda log: (log.kind, log.where))
    first = records[0] if records else None
    target = first.target if first else None
    cluster = (
        (call.cluster if call else "")
        or (target.cluster if target else "")
        or next((log.cluster for log in logs if log.cluster), "")
    )
    task_id = (call.task_id if call else "") or (target.task_id if target else "")
    task = found.tasks.get((cluster, task_id))
    container = (call.container if call else "") or (target.container if target else "")
    if not container and call is not None and task is not None:
        container = _container(task, call)
    ended = _ended(group, records, logs)
    exit_code, duration = None, None
    if first is not None and first.ended is not None:
        exit_code, duration = first.exit_code, first.duration
        if len(records) > 1:
            exit_code, duration = records[-1].exit_code, sum(each.duration for each in records)
    entry = AuditEntry(
        time=_time(group, records, logs, found.now),
        kind=_kind(call, first),
        who=(call.who.name if call else "") or (_name(first.identity) if first else ""),
        arn=(call.who.arn if call else "") or (first.identity if first else ""),
        source_ip=call.source_ip if call else "",
        user_agent=call.user_agent if call else "",
        region=(call.region if call else "") or (target.region if target else ""),
        cluster=cluster,
        service=(task.service if task else (target.service if target else "")) or "",
        family=task.family if task else (target.family if target else ""),
        task_id=task_id,
        task_arn=(call.task_arn if call else "")
        or (task.task_arn if task else (target.task_arn if target else "")),
        container=container,
        command=_command(call, records, masked),
        session_id=key[1] if key[0] == "session" else (first.session_id if first else ""),
        event_id=call.id if call else "",
        request_id=(call.request_id if call else "") or (first.request_id if first else ""),
        error=call.error if call else "",
        error_message=_masked(call.error_message, masked) if call else "",
        ended=ended,
        exit_code=exit_code,
        duration=duration,
        logs=tuple(logs),
        records=tuple(records),
    )
    notes = tuple(_notes(entry, group, found))
    return AuditEntry(**{**entry.__dict__, "notes": notes})


def _kind(call: Call | None, record: Record | None) -> str:
    if call is not None:
        return "exec" if call.name == "ExecuteCommand" else "session"
    if record is None:
        return "log"
    return "exec" if record.session_id.startswith("ecs-execute-command-") else "session"


def _time(
    group: _Group, records: Sequence[Record], logs: Sequence[SessionLog], now: datetime
) -> datetime:
    if group.call is not None:
        return group.call.at
    if records:
        return records[0].started
    return _written(logs) or now


def _written(logs: Sequence[SessionLog]) -> datetime | None:
    """When a session's log was written; S3 tells whole seconds, and CloudWatch Logs more."""
    return max((log.written for log in logs if log.written), default=None)


def _ended(group: _Group, records: Sequence[Record], logs: Sequence[SessionLog]) -> datetime | None:
    """The end, from what knows it best: our own record, the call that ended it, its log."""
    ends = [record.ended for record in records]
    if ends and all(ends):
        return max(end for end in ends if end)
    asked = [c.at for c in group.later if c.name == "TerminateSession" and not c.error]
    return min(asked) if asked else _written(logs)


def _command(call: Call | None, records: Sequence[Record], masked: bool) -> str:
    ours = [
        each.command if isinstance(each.command, str) else shlex.join(each.command)
        for each in records
        if each.kind != "terminal"
    ]
    passed = call.command if call is not None else ""
    passed = "" if passed == HIDDEN else readable_command(passed)
    # One that was too long for the call stands there as its digest.
    if ours and (len(ours) > 1 or not passed or passed.startswith("sha256:")):
        passed = "\n".join(ours)
    return _masked(passed, masked)


def _container(task: TaskInfo, call: Call) -> str:
    """The container that Session Manager's name of it means, or the only one there is."""
    if call.runtime_id:
        return next((c.name for c in task.containers if c.runtime_id == call.runtime_id), "")
    own = [each.name for each in task.containers if not each.injected]
    return own[0] if len(own) == 1 else ""


def _name(arn: str) -> str:
    """The name that CloudTrail has for the user with this ARN."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        return rest
    return rest.rpartition("/")[2] or kind


def _masked(text: str, masked: bool) -> str:
    # A recorded command may have bytes that are no text, as halves of pairs of surrogates.
    text = text.encode("utf-8", "backslashreplace").decode()
    return mask(text).text if masked else text


# -- what is missing -----------------------------------------------------------------------------


def _notes(entry: AuditEntry, group: _Group, found: Found) -> Iterable[str]:
    call = group.call
    if call is None:
        yield _no_event(entry, found)
    elif call.command == HIDDEN:
        yield "CloudTrail hides the command"
    if entry.error_message:  # without the name of the caller, who stands beside it
        yield f"AWS said: {entry.error_message.replace(f'User: {entry.arn} is not', 'not')}"
    refused = [each for each in group.later if each.error]
    if refused:
        yield f"{refused[0].name} was refused to {refused[0].who.name}: {refused[0].error}"
    # The clients of sessions end these themselves; it is of interest when somebody else did.
    for other in group.later:
        if not other.error and other.who.arn and entry.arn and other.who.arn != entry.arn:
            verb = "ended" if other.name == "TerminateSession" else "resumed"
            yield f"{verb} by {other.who.name} from {other.source_ip}"
            break
    if not entry.error and not entry.logs and entry.kind != "log":
        yield from _no_log(entry, found)


def _no_event(entry: AuditEntry, found: Found) -> str:
    if not found.readable:
        return "CloudTrail could not be asked"
    if found.now - entry.time < DELAY:
        return "CloudTrail has no event yet: it is up to 15 minutes late"
    if entry.kind == "log":
        return "no event: the session began before what was looked up, or in another account"
    return "CloudTrail has no event of it in this account and region"


def _no_log(entry: AuditEntry, found: Found) -> Iterable[str]:
    if entry.kind == "session":
        yield "no log: sessions that ECS Exec has not started are never logged"
        return
    if not entry.session_id:
        return  # nothing was started
    place = found.places.get(entry.cluster)
    where = f"cluster {entry.cluster}" if entry.cluster else "the cluster"
    if place is None or not place.logging:
        yield f"no log: where {where} logs sessions is not known"
    elif place.logging == "GONE":
        yield f"no log: {where} is not there any more, and with it where its logs went"
    elif place.logging == "NONE":
        yield f"no log: logging is off in {where}"
    elif not place.groups and not place.bucket:
        why = "logs sessions where its tasks log, and they have no log group"
        yield f"no log: {where} {why}"
    elif not found.looked_for_logs:
        yield "no log: not all places could be looked through"
    elif entry.ended is None:
        yield "no log: it is written when the session ends"
    elif found.now - entry.ended < _LOG_LATE:
        yield "no log yet: it is written after the session's end"
    else:
        yield (
            f"no log where {where} logs now: the task role may not write there, the image lacks "
            "script or cat, or the configuration was another"
        )
