"""Reading the logs of sessions: what they showed, and where they ran if nothing else tells it.

Knows how much of a log is read. Never knows how it is joined with the rest.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from ..aws.audit.objects import read_object
from ..aws.audit.places import tasks_of
from ..aws.audit.streams import read_stream
from ..errors import AccessDenied, EcsExecError
from .transcript import transcript

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..aws.api import AwsApi
    from ..aws.audit import SessionLog
    from ..aws.tasks import TaskInfo
    from .entries import AuditEntry

__all__ = ["TRANSCRIPT_BYTES", "with_places", "with_transcripts"]

TRANSCRIPT_BYTES = 256 * 1024
"""Bytes of a session's log that are read."""

_HEAD_BYTES = 4096
_HEADS = 100
_AT_ONCE = 4


async def _read(api: AwsApi, log: SessionLog, at_most: int) -> tuple[bytes, bool]:
    return await (read_object if log.kind == "s3" else read_stream)(api, log, at_most)


async def with_places(
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
