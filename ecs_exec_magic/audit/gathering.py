"""Asks every source, joins what they give, and keeps what was asked for.

Knows the order of calls. Never knows how answers look.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..aws.audit import Part, Source
from ..aws.audit.objects import objects_in
from ..aws.audit.places import clusters_there, places_of, tasks_of, with_task_logs
from ..aws.audit.sources import SESSION_NAME
from ..aws.audit.streams import streams_in
from ..aws.audit.trail import DELAY, look_up
from ..aws.targets import TASK_ID
from ..errors import EcsExecError
from .joining import Found, join
from .reading import with_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..aws.api import AwsApi
    from ..aws.audit import Place, SessionLog
    from ..aws.tasks import TaskInfo
    from ..journal import Record
    from .entries import AuditEntry
    from .question import Question

__all__ = ["gather"]

_EARLIER = timedelta(hours=1)
"""So much earlier, sessions may have begun whose logs fall into the time that is asked for."""

_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)


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
    entries = await with_places(api, join(found, masked=question.masked), tasks.items)
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
