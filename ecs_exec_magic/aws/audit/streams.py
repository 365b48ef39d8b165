"""Session logs in CloudWatch Logs: a stream for each session, named after it.

Knows groups, streams and events. Never knows what the text means.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError
from .sources import SESSION_NAME, Part, SessionLog, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..api import AwsApi

__all__ = ["read_stream", "streams_in"]

_PAGES = 40  # of 50 streams; then the sessions that are known are asked for one by one
_ASKED_ONE_BY_ONE = 200
_AT_ONCE = 4
_ACTION = "logs:DescribeLogStreams"


async def streams_in(
    api: AwsApi, group: str, cluster: str, since: datetime, known: Iterable[str]
) -> Part[list[SessionLog]]:
    """The logs of sessions in a group.

    Args:
        since: only those that were written at this time or later.
        known: ids of sessions whose logs are wanted in any case.
    """
    found: dict[str, SessionLog] = {}
    name = f"log group {group}"
    try:
        await _newest(api, group, cluster, since, found)
        # A stream's time follows its events by up to an hour: what is missing is asked for.
        missing = [each for each in known if each not in found][:_ASKED_ONE_BY_ONE]
        gate = asyncio.Semaphore(_AT_ONCE)

        async def ask(session_id: str) -> None:
            async with gate:
                answer = await _streams(api, group, logStreamNamePrefix=session_id)
            for stream in answer.get("logStreams") or ():
                if stream.get("logStreamName") == session_id:
                    found[session_id] = _log(stream, session_id, group, cluster)

        await asyncio.gather(*map(ask, missing))
    except EcsExecError as error:
        lost = "session logs there are not known"
        if error.code == "ResourceNotFoundException":
            error = EcsExecError("there is no such log group")
        source = refused(name, error, _ACTION, lost=lost, partly=bool(found))
        return Part(list(found.values()), (source,))
    return Part(list(found.values()))


async def _newest(
    api: AwsApi, group: str, cluster: str, since: datetime, found: dict[str, SessionLog]
) -> None:
    """Session logs by their last event, the newest first, until they are too old."""
    more: dict[str, Any] = {}
    for _ in range(_PAGES):
        answer = await _streams(api, group, orderBy="LastEventTime", descending=True, **more)
        streams = answer.get("logStreams") or ()
        for stream in streams:
            session_id = str(stream.get("logStreamName", ""))
            log = _log(stream, session_id, group, cluster)
            if SESSION_NAME.fullmatch(session_id) and log.written and log.written >= since:
                found[session_id] = log
        last = streams[-1].get("lastEventTimestamp") if streams else None
        if not answer.get("nextToken") or (last and _utc(last) < since):
            return
        more = {"nextToken": answer["nextToken"]}


async def _streams(api: AwsApi, group: str, **given: Any) -> dict[str, Any]:
    return await api.call(
        "logs", "describe_log_streams", _about=group, logGroupName=group, limit=50, **given
    )


def _log(stream: dict[str, Any], session_id: str, group: str, cluster: str) -> SessionLog:
    written = stream.get("lastEventTimestamp") or stream.get("creationTime")
    return SessionLog(
        session_id, "logs", group, session_id, _utc(written) if written else None, 0, cluster
    )


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


async def read_stream(api: AwsApi, log: SessionLog, at_most: int) -> tuple[bytes, bool]:
    """A log's beginning, and whether there is more.

    Raises:
        EcsExecError: it cannot be read.
    """
    messages: list[bytes] = []
    size = 0
    more: dict[str, Any] = {}
    while True:
        answer = await api.call(
            "logs",
            "get_log_events",
            _about=log.where,
            logGroupName=log.place,
            logStreamName=log.name,
            startFromHead=True,
            **more,
        )
        for event in answer.get("events") or ():
            # The end of a line was taken off each event.
            data = str(event.get("message", "")).encode("utf-8", "backslashreplace")
            messages.append(data)
            size += len(data) + 1
        token = answer.get("nextForwardToken")
        if size > at_most or not token or token == more.get("nextToken"):
            whole = b"\n".join(messages)
            return whole[:at_most], len(whole) > at_most
        more = {"nextToken": token}
