"""Sessions that others have in containers.

Knows DescribeSessions, and which sessions this process has started. Never knows who waits for what.

An agent takes two sessions, whoever they belong to; the places of :mod:`.slots` are those of this
process only. DescribeSessions tells of everybody's in the account, when one may ask it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from ..errors import EcsExecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..address import ContainerRef
    from .api import AwsApi

__all__ = ["Census", "ours"]

_FRESH = 3.0
_REMEMBERED = 20_000
_MOST = 20_000  # sessions that are looked through

_own: deque[str] = deque(maxlen=_REMEMBERED)


def ours(session_id: str) -> None:
    """A session that this process has started."""
    _own.append(session_id)


class Census:
    """Counts sessions that this process has not started, for many containers with one look.

    Belongs to one event loop.

    Args:
        api: where to ask.
        now: a clock in seconds.
    """

    def __init__(self, api: AwsApi, now: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._now = now
        self._at = float("-inf")
        self._lock = asyncio.Lock()
        self._counts: Counter[str] = Counter()

    async def others(self, ref: ContainerRef) -> int:
        """Active sessions of others in a container, as of some seconds ago at most.

        It is 0 where one may not ask: nobody is kept from working by a missing permission to look.
        """
        async with self._lock:
            if self._now() - self._at > _FRESH:
                self._counts = await self._count()
                self._at = self._now()
        return self._counts[ref.session_target]

    async def _count(self) -> Counter[str]:
        try:
            sessions = await self._api.pages(
                "ssm", "describe_sessions", "Sessions", State="Active", _limit=_MOST
            )
        except EcsExecError:
            return Counter()
        own = set(_own)
        return Counter(
            str(each.get("Target", "")) for each in sessions if each.get("SessionId") not in own
        )
