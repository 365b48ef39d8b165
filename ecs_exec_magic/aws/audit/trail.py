"""CloudTrail's LookupEvents: at its own pace, page by page, as far back as it goes.

Knows its limits: two calls a second for account and region, one attribute a call, 90 days, events
up to 15 minutes late. Never knows what events mean beyond :mod:`.calls`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError, Throttled
from .calls import Call, read
from .sources import Source, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api import AwsApi

__all__ = ["DELAY", "KEPT", "NAMES", "Trail", "look_up"]

DELAY = timedelta(minutes=15)
"""How late events may be, as AWS says."""

KEPT = timedelta(days=90)
"""How far back LookupEvents sees."""

NAMES = ("ExecuteCommand", "StartSession", "TerminateSession", "ResumeSession")

INTERVAL = 0.5
"""Seconds between two calls: two a second are allowed to the whole account."""

_TRIES = 6
_ACTION = "cloudtrail:LookupEvents"


@dataclass(frozen=True, slots=True)
class Trail:
    """What CloudTrail told.

    Attributes:
        calls: without order.
        floor: there may be more events before this time, which were not looked up.
        readable: whether anything could be looked up.
        source: what to say of it.
    """

    calls: tuple[Call, ...]
    floor: datetime
    readable: bool
    source: Source


class _Pacer:
    """Lets two calls a second pass, and slows down when that is too much."""

    def __init__(self) -> None:
        self._next = 0.0

    async def turn(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._next - loop.time()
        self._next = max(self._next, loop.time()) + INTERVAL
        if wait > 0:
            await asyncio.sleep(wait)

    async def back_off(self, tries: int) -> None:
        # Somebody else in the account looks up events, too.
        await asyncio.sleep(INTERVAL * 2**tries)


async def look_up(
    api: AwsApi,
    since: datetime,
    until: datetime | None,
    *,
    limit: int | None = None,
    wanted: Callable[[Call], bool] | None = None,
) -> Trail:
    """All events about sessions of containers, in one region.

    Args:
        since: when they begin.
        until: when they end; None for now.
        limit: stop after so many calls that are wanted, of each kind; the newest come first.
        wanted: which calls count for the limit.
    """
    begin = max(since, datetime.now(timezone.utc) - KEPT)
    calls: list[Call] = []
    floor, pacer = begin, _Pacer()
    for name in NAMES:
        found: list[Call] = []
        calls_of_name = _pages(api, name, begin, until, pacer)
        count = 0
        try:
            async for page, more in calls_of_name:
                found += page
                count += sum(wanted is None or wanted(each) for each in page)
                if limit is not None and count >= limit and name in NAMES[:2] and more:
                    floor = max(floor, min((each.at for each in page), default=floor))
                    break
        except EcsExecError as error:
            calls += found
            if name == NAMES[0] and not found:
                lost = "who called, from where, and what was refused is not known"
                return Trail((), begin, False, refused("CloudTrail", error, _ACTION, lost=lost))
            if name in NAMES[:2]:
                floor = max([floor, *(each.at for each in found[-1:])])
            lost = f"{_count(calls)}, and there may be more {name} events"
            if isinstance(error, Throttled):
                lost += "; the whole account has two look-ups a second"
            source = refused("CloudTrail", error, _ACTION, lost=lost, partly=True)
            return Trail(tuple(calls), floor, True, source)
        finally:
            await calls_of_name.aclose()
        calls += found
    text = _count(calls)
    if begin > since:
        text += f"; it has nothing before {begin:%Y-%m-%d %H:%M} UTC, which is 90 days ago"
    if floor > begin:
        text += f"; events before {floor:%Y-%m-%d %H:%M:%S} UTC were not looked up"
    return Trail(tuple(calls), floor, True, Source("CloudTrail", "ok", text))


async def _pages(
    api: AwsApi, name: str, since: datetime, until: datetime | None, pacer: _Pacer
) -> Any:
    given: dict[str, Any] = {
        "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": name}],
        "StartTime": since,
        "MaxResults": 50,
    }
    if until is not None:
        given["EndTime"] = until
    while True:
        answer = await _page(api, given, pacer)
        calls = [read(event) for event in answer.get("Events") or ()]
        token = answer.get("NextToken")
        yield [call for call in calls if call is not None], bool(token)
        if not token:
            return
        given["NextToken"] = token


async def _page(api: AwsApi, given: dict[str, Any], pacer: _Pacer) -> dict[str, Any]:
    for tries in range(_TRIES):
        await pacer.turn()
        try:
            return await api.call("cloudtrail", "lookup_events", _once=True, **given)
        except Throttled:
            if tries == _TRIES - 1:
                raise
            await pacer.back_off(tries)
    raise AssertionError("a call returns or raises")


def _count(calls: list[Call]) -> str:
    started = sum(call.name in NAMES[:2] for call in calls)
    return f"{started} event{'s' * (started != 1)} of sessions"
