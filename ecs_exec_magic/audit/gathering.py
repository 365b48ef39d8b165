"""Asks every source, joins what they give, and keeps what was asked for.

Knows the order of questions and what an audit is of. Never knows how answers look.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..aws.audit import Part, Source
from ..aws.audit.objects import objects_in, read_object
from ..aws.audit.places import clusters_there, places_of, tasks_of, with_task_logs
from ..aws.audit.sources import SESSION_NAME
from ..aws.audit.streams import read_stream, streams_in
from ..aws.audit.trail import DELAY, look_up
from ..aws.targets import TASK_ID
from ..errors import AccessDenied, EcsExecError
from .joining import Found, join
from .transcript import transcript

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..address import Address
    from ..aws.api import AwsApi
    from ..aws.audit import Call, Place, SessionLog
    from ..aws.tasks import TaskInfo
    from ..journal import Record
    from .entries import AuditEntry

__all__ = ["TRANSCRIPT_BYTES", "Question", "gather", "with_transcripts"]

TRANSCRIPT_BYTES = 256 * 1024
"""Bytes of a session's log that are read."""

_EARLIER = timedelta(hours=1)
"""So much earlier, sessions may have begun whose logs fall into the time that is asked for."""

_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_HEAD_BYTES = 4096
_HEADS = 100
_AT_ONCE = 4


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


@dataclass(frozen=True)
class _Logs:
    """What was found where clusters log."""

    logs: list[SessionLog]
    complete: bool
    sources: list[Source]


async def gather(
    api: AwsApi, question: Question, records: Sequence[Record] | None
) -> tuple[list[AuditEntry], list[Source]]:
    """The entries, oldest first, and a line for each source.

    Args:
        records: of this notebook; None where none are kept.
    """
    begin = question.since - _EARLIER
    one = question.scope.cluster if question.scope is not None else None
    trail, there = await asyncio.gather(
        look_up(api, begin, question.until, limit=question.limit, wanted=question.wants),
        clusters_there(api) if one is None else _only(one),
    )
    sources = [_with_delay(trail.source, question), *there.sources]
    cut = trail.readable and trail.floor > begin + timedelta(seconds=1)
    ours = await _ours(api, records or (), max(question.since, trail.floor), question.until)
    seen = {each.cluster for each in trail.calls} | {r.target.cluster for r in ours if r.target}
    # Who was refused may have asked for anything; AWS refuses a whole list for one such name.
    seen = {name for name in seen if _CLUSTER.fullmatch(name)}
    clusters = {one} if one is not None else {*there.items, *seen}
    ids: dict[str, set[str]] = {}
    for call in trail.calls:
        if call.cluster in clusters and TASK_ID.fullmatch(call.task_id):
            ids.setdefault(call.cluster, set()).add(call.task_id)
    places, tasks = await asyncio.gather(places_of(api, clusters), tasks_of(api, ids))
    sources += [*places.sources, *tasks.sources]
    known: dict[str, set[str]] = {}
    started = [(c.cluster, c.session_id) for c in trail.calls if c.name == "ExecuteCommand"]
    started += [(r.target.cluster, r.session_id) for r in ours if r.target]
    for cluster, session_id in started:
        if SESSION_NAME.fullmatch(session_id):
            known.setdefault(cluster, set()).add(session_id)
    logs = await _logs(api, places.items, tasks.items, question.since, known)
    found = Found(
        trail.calls,
        logs.logs,
        ours,
        places.items,
        tasks.items,
        readable=trail.readable,
        looked_for_logs=logs.complete,
        now=question.at,
    )
    entries = await _with_places(api, join(found, masked=question.masked), tasks.items)
    kept, left_out = _kept(entries, question, cut)
    sources += logs.sources
    if records is not None:
        open_ones = sum(
            r.ended is None and not r.session_id and r.started >= question.since for r in records
        )
        runs = f"{len(ours)} of this directory's"
        if open_ones:  # its session stands in a record only when the run has ended
            runs += f"; {open_ones} without a recorded end, which nothing joins with a session"
        sources.append(Source("recorded runs", "ok", runs))
    sources += [
        Source("left out", "partly", f"{count} {'session' if count == 1 else 'sessions'} {why}")
        for why, count in left_out.items()
    ]
    sources += _hints(question, entries, kept, places.items)
    return kept, sources


def _hints(
    question: Question,
    entries: Sequence[AuditEntry],
    kept: Sequence[AuditEntry],
    places: Mapping[str, Place],
) -> list[Source]:
    """What a slip in a name would look like: nothing at all, which an audit must not leave so."""
    scope = question.scope
    if scope is None:
        return []
    place = places.get(scope.cluster or "")
    if place is not None and place.logging == "GONE":
        return [Source("cluster", "partly", f"there is no {scope.cluster} in this region now")]
    if kept or not scope.name:
        return []
    found = {
        entry.service or entry.family
        for entry in entries
        if entry.cluster == scope.cluster and entry.time >= question.since
    }
    names = ", ".join(sorted(found - {""})[:8])
    return [Source("elsewhere", "ok", f"there are sessions of {names}")] if names else []


async def _only(cluster: str) -> Part[list[str]]:
    return Part([cluster])


def _with_delay(source: Source, question: Question) -> Source:
    recent = question.until is None or question.at - question.until < DELAY
    if source.state not in ("ok", "partly") or not recent:
        return source
    return replace(source, text=f"{source.text}; those of the last 15 minutes may not be there yet")


async def _ours(
    api: AwsApi, records: Sequence[Record], since: datetime, until: datetime | None
) -> list[Record]:
    """The recorded runs that AWS was called for: in this account and region, at that time."""
    account = ""
    if records:
        with contextlib.suppress(EcsExecError):
            account = (await api.account_region())[0]
    kept = []
    for record in records:
        arn = record.target.task_arn.split(":") if record.target is not None else []
        if not (record.session_id or record.request_id):
            continue
        if record.target is not None and record.target.region != api.region:
            continue
        if account and len(arn) > 4 and arn[4] != account:
            continue
        if since <= record.started and (until is None or record.started <= until):
            kept.append(record)
    return kept


async def _logs(
    api: AwsApi,
    places: Mapping[str, Place],
    tasks: Mapping[tuple[str, str], TaskInfo],
    since: datetime,
    known: Mapping[str, set[str]],
) -> _Logs:
    """Look where the clusters log, in each place once.

    Args:
        known: ids of sessions by their clusters.
    """

    def of_these(clusters: set[str]) -> set[str]:
        return {each for name in clusters for each in known.get(name, ())}

    sources: list[Source] = []
    with_logs = await asyncio.gather(
        *(
            with_task_logs(api, place, tasks.values())
            for place in places.values()
            if place.logging == "DEFAULT"
        )
    )
    for each in with_logs:
        sources += each.sources
    whole = {**places, **{each.items.cluster: each.items for each in with_logs}}
    groups: dict[str, set[str]] = {}
    buckets: dict[tuple[str, str], set[str]] = {}
    for place in whole.values():
        for group in place.groups:
            groups.setdefault(group, set()).add(place.cluster)
        if place.bucket:
            buckets.setdefault((place.bucket, place.prefix), set()).add(place.cluster)
    parts = await asyncio.gather(
        *(streams_in(api, name, _one(of), since, of_these(of)) for name, of in groups.items()),
        *(objects_in(api, *where, _one(of), since, of_these(of)) for where, of in buckets.items()),
    )
    names = [f"log group {name}" for name in groups] + [f"bucket {name}" for name, _ in buckets]
    for name, part in zip(names, parts, strict=True):
        count = len(part.items)
        told = f"{count} session log{'s' * (count != 1)}"
        sources += part.sources or (Source(name, "ok", told),)
    off = sorted(name for name, place in places.items() if place.logging == "NONE")
    if off:
        sources.append(Source("logging", "off", f"off in cluster {', '.join(off)}"))
    for name, place in whole.items():
        if place.logging == "DEFAULT" and not place.groups:
            text = f"cluster {name} logs where its tasks log, which is nowhere for those seen here"
            sources.append(Source("logging", "off", text))
    logs = [log for part in parts for log in part.items]
    return _Logs(logs, not any(part.sources for part in parts), sources)


def _one(clusters: set[str]) -> str:
    return next(iter(clusters)) if len(clusters) == 1 else ""


def _kept(
    entries: Sequence[AuditEntry], question: Question, cut: bool
) -> tuple[list[AuditEntry], Counter[str]]:
    kept: list[AuditEntry] = []
    left_out: Counter[str] = Counter()
    for entry in entries:
        why = question.misses(entry)
        if why is None and cut and entry.kind == "log":
            why = "with a log, and an event before what was looked up"
        if why is None:
            kept.append(entry)
        elif why:
            left_out[why] += 1
    limit = question.limit
    return (kept if limit is None else kept[-limit:] if limit else []), left_out


# -- reading logs --------------------------------------------------------------------------------


async def _read(api: AwsApi, log: SessionLog, at_most: int) -> tuple[bytes, bool]:
    return await (read_object if log.kind == "s3" else read_stream)(api, log, at_most)


async def _with_places(
    api: AwsApi, entries: list[AuditEntry], tasks: Mapping[tuple[str, str], TaskInfo]
) -> list[AuditEntry]:
    """Fill in where sessions ran of which only the log is there: its first line tells."""
    gate = asyncio.Semaphore(_AT_ONCE)

    runtimes: dict[str, str] = {}

    async def look(entry: AuditEntry) -> AuditEntry:
        async with gate:
            try:
                data, cut = await _read(api, entry.logs[-1], _HEAD_BYTES)
            except EcsExecError:
                return entry  # whoever wants the transcript is told why
        target = transcript(data, cut=cut).target
        if target is None:
            return entry
        cluster, task_id, runtimes[entry.session_id] = target
        return replace(entry, cluster=cluster, task_id=task_id)

    alone = [entry for entry in entries if entry.kind == "log"][-_HEADS:]
    if not alone:
        return entries
    looked = dict(zip(map(id, alone), await asyncio.gather(*map(look, alone)), strict=True))
    entries = [looked.get(id(entry), entry) for entry in entries]
    ids: dict[str, set[str]] = {}
    for entry in looked.values():
        if entry.task_id and (entry.cluster, entry.task_id) not in tasks:
            ids.setdefault(entry.cluster, set()).add(entry.task_id)
    more = {**tasks, **(await tasks_of(api, ids)).items}
    return [_named(each, more, runtimes.get(each.session_id, "")) for each in entries]


def _named(
    entry: AuditEntry, tasks: Mapping[tuple[str, str], TaskInfo], runtime_id: str
) -> AuditEntry:
    task = tasks.get((entry.cluster, entry.task_id)) if runtime_id else None
    if task is None:
        return entry
    return replace(
        entry,
        service=task.service or "",
        family=task.family,
        task_arn=task.task_arn,
        container=next((c.name for c in task.containers if c.runtime_id == runtime_id), ""),
    )


async def with_transcripts(
    api: AwsApi, entries: Sequence[AuditEntry], at_most: int, masked: bool
) -> list[AuditEntry]:
    """The same entries with what their sessions showed, as far as it can be read."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(entry: AuditEntry) -> AuditEntry:
        notes = list(entry.notes)
        # The copy in S3 is as it was written; CloudWatch's has lost bytes that are no text.
        for log in sorted(entry.logs, key=lambda log: log.kind != "s3"):
            try:
                async with gate:
                    data, cut = await _read(api, log, at_most)
            except EcsExecError as error:
                notes.append(f"{log.where} cannot be read: {_why(error)}")
                continue
            found = transcript(data, cut=cut, masked=masked)
            exit_code = found.exit_code if entry.exit_code is None else entry.exit_code
            return replace(entry, transcript=found, exit_code=exit_code, notes=tuple(notes))
        return replace(entry, notes=tuple(notes))

    return list(await asyncio.gather(*map(read, entries)))


def _why(error: EcsExecError) -> str:
    if isinstance(error, AccessDenied):
        return f"{error.message}; {error.cause}" if error.cause else error.message
    return error.message
