"""At most two sessions at once in one container.

Knows places and who waits for them. Never knows AWS.

The agent in a container takes two sessions; one more waits, and those after that can block it for
good (FIELD 1). So this side never asks for a third. The count is of this process alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..address import ContainerRef

__all__ = ["SESSIONS_PER_CONTAINER", "Slots", "slots"]

SESSIONS_PER_CONTAINER = 2
"""Sessions that an agent takes at once."""

NOTICE_AFTER = 2.0
"""Seconds of waiting after which the user is told."""

_Key = tuple[str, str]


@dataclass(eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    turn: asyncio.Future[None]
    granted: bool = False


@dataclass
class _Container:
    taken: int = 0
    queue: deque[_Waiter] = field(default_factory=deque)


class Slots:
    """Places for sessions, handed out in the order in which they were asked for.

    Safe with several event loops in several threads: a place given back in one is handed to the
    first who waits, wherever that is.

    Args:
        limit: places in each container.
        notice_after: seconds of waiting after which ``on_wait`` is called.
    """

    def __init__(
        self, limit: int = SESSIONS_PER_CONTAINER, *, notice_after: float = NOTICE_AFTER
    ) -> None:
        self._limit = limit
        self._notice_after = notice_after
        # Re-entrant: the garbage collector can end a forgotten waiter while the lock is held.
        self._lock = threading.RLock()
        self._containers: dict[_Key, _Container] = {}

    def taken(self, ref: ContainerRef) -> int:
        """Places that are taken in a container now."""
        with self._lock:
            container = self._containers.get(_key(ref))
            return container.taken if container else 0

    @contextlib.asynccontextmanager
    async def hold(
        self, ref: ContainerRef, on_wait: Callable[[str], object] | None = None
    ) -> AsyncIterator[None]:
        """Hold a place from before the session is asked for until it is over.

        Args:
            ref: the container.
            on_wait: called once, with a sentence for people, if the wait becomes long.
        """
        await self._take(ref, on_wait)
        try:
            yield
        finally:
            self._give_back(_key(ref))

    async def _take(self, ref: ContainerRef, on_wait: Callable[[str], object] | None) -> None:
        key = _key(ref)
        loop = asyncio.get_running_loop()
        with self._lock:
            container = self._containers.setdefault(key, _Container())
            if container.taken < self._limit and not container.queue:
                container.taken += 1
                return
            waiter = _Waiter(loop, loop.create_future())
            container.queue.append(waiter)
        try:
            await asyncio.wait({waiter.turn}, timeout=self._notice_after)
            if not waiter.turn.done() and on_wait is not None:
                on_wait(
                    f"{ref} has {self._limit} sessions already, as many as its agent takes; "
                    "waiting for one of them to end"
                )
            await waiter.turn
        except BaseException:  # cancelled, or on_wait failed: nobody must wait for us
            with self._lock:
                if waiter in container.queue:
                    container.queue.remove(waiter)
                    self._forget_if_idle(key)
            if waiter.granted:
                self._give_back(key)
            raise

    def _give_back(self, key: _Key) -> None:
        with self._lock:
            container = self._containers[key]
            while container.queue:
                waiter = container.queue.popleft()
                try:
                    waiter.loop.call_soon_threadsafe(_wake, waiter.turn)
                except RuntimeError:
                    continue  # its loop is closed: it waits no more
                waiter.granted = True
                return  # the place goes over as it is
            container.taken -= 1
            self._forget_if_idle(key)

    def _forget_if_idle(self, key: _Key) -> None:
        container = self._containers.get(key)
        if container is not None and not container.taken and not container.queue:
            del self._containers[key]


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _key(ref: ContainerRef) -> _Key:
    return ref.task_arn, ref.container


slots = Slots()
"""The places of this process."""
