"""How fast calls that AWS throttles may follow each other.

Knows calls, clocks and refusals. Never knows what is called.

AWS documents no rate at which ECS Exec's calls are taken, and it depends on who else calls in the
account. So nothing is held back until AWS throttles once. From then on the rate follows what AWS
takes: less at each refusal, a little more with each call that is served.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Pace"]

_LESS = 0.7
_LEAST = 1.0
"""Calls a second that are tried in any case."""

_MORE = 1.0
"""How much the rate grows for each second of calls that are served."""

_FREE = 200.0
"""Calls a second from which on nothing is held back any more."""

_SPAN = 1.0
"""Seconds in which served calls are counted, and in which refusals count as one."""


class Pace:
    """The rate of one kind of call; safe with several threads and event loops.

    Args:
        now: a clock in seconds.

    Attributes:
        rate: calls a second; None: nothing is held back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.rate: float | None = None
        self._now = now
        self._lock = threading.Lock()
        self._next = 0.0
        self._served: deque[float] = deque()
        self._lowered = float("-inf")

    async def turn(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Wait until the next call may be made.

        Args:
            sleep: waits for so many seconds.
        """
        with self._lock:
            if self.rate is None:
                return
            now = self._now()
            at = max(now, self._next)
            self._next = at + 1 / self.rate
        if at > now:
            await sleep(at - now)

    def served(self) -> None:
        """A call was taken."""
        with self._lock:
            now = self._now()
            self._served.append(now)
            self._forget(now)
            if self.rate is not None:
                grown = self.rate + _MORE / self.rate
                self.rate = None if grown > _FREE else grown

    def throttled(self) -> None:
        """A call was refused, because there were too many."""
        with self._lock:
            now = self._now()
            self._forget(now)
            # Calls that were under way together are refused together: that is one piece of news.
            if now - self._lowered < _SPAN:
                return
            self._lowered = now
            seen = len(self._served) / _SPAN
            before = seen if self.rate is None else min(self.rate, max(seen, self.rate * _LESS))
            self.rate = max(before * _LESS, _LEAST)
            self._next = max(self._next, now + 1 / self.rate)

    def _forget(self, now: float) -> None:
        while self._served and self._served[0] <= now - _SPAN:
            self._served.popleft()
