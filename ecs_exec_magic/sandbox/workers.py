"""The exec agent of one container, as far as it takes sessions: two at once, one more waits.

Knows slots, the queue before them and the message loop that can get stuck (PROTOCOL 6.11). Never
knows what a session does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

__all__ = ["SLOTS", "Workers"]

SLOTS = 2
"""Sessions that one container's agent runs at once."""

_QUEUE = 1
_TRIES = 5


class Workers:
    """The workers of one agent.

    Args:
        retry: seconds between two tries to put a session into a full queue.
        wedge: after five tries the loop that hands out sessions waits for ever, as the real one
            does: no further session starts until the agent does anew. Without it the queue has
            no end.
    """

    def __init__(self, retry: float, wedge: bool) -> None:
        self._retry = retry
        self._wedge = wedge
        self._free = SLOTS
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.Lock()
        self._stuck = False
        self._dead = False

    @property
    def stuck(self) -> bool:
        """Whether the message loop waits for ever."""
        return self._stuck

    async def take(self) -> None:
        """Wait for a slot; cancelled, the place in the queue is given up."""
        if self._wedge:
            async with self._loop:
                await self._enqueue()
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # it was our turn, and we do not take it
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            raise

    async def _enqueue(self) -> None:
        """Wait until the queue takes one more."""
        for _ in range(_TRIES):
            if self._free or len(self._waiting) < _QUEUE or self._stuck:
                break
            await asyncio.sleep(self._retry)
        else:
            self._stuck = not self._free and len(self._waiting) >= _QUEUE
        if self._stuck or self._dead:
            await asyncio.get_running_loop().create_future()  # whoever comes later waits as well

    def give(self) -> None:
        """Give a slot back: to who has waited longest, if anybody."""
        while self._waiting and not self._dead:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def die(self) -> None:
        """The agent is gone: who waits for a slot of it waits for ever."""
        self._dead = True
