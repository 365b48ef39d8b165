"""Work that a widget does not wait for, in a thread of its own.

Knows threads. Never knows widgets.

On most kernels a click is handled in the thread that runs cells: whatever takes long there keeps
every cell and every other click waiting.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Beat", "Worker"]


class Worker:
    """Does one thing at a time; of what is asked for meanwhile, only the last.

    The thread ends when nothing is left to do. Methods may be called from any thread.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Condition()
        self._next: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, work: Callable[[], object]) -> None:
        """Do this next, in place of what waits for its turn; it handles its own errors."""
        with self._lock:
            if self._closed:
                return
            self._next = work
            if self._thread is None:
                # An empty context: what is printed there must not go to some cell.
                self._thread = threading.Thread(
                    target=contextvars.Context().run, args=(self._run,), name=self._name
                )
                self._thread.daemon = True
                self._thread.start()

    @property
    def stale(self) -> bool:
        """Whether something newer waits, so that what is being done is of no use any more."""
        return self._closed or self._next is not None

    def idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; return whether that has come."""
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, timeout)

    def close(self) -> None:
        """Begin nothing any more; what is being done ends by itself."""
        with self._lock:
            self._closed, self._next = True, None

    def _run(self) -> None:
        while True:
            with self._lock:
                work, self._next = self._next, None
                if work is None:
                    self._thread = None
                    self._lock.notify_all()
                    return
            try:
                work()
            except Exception:
                logging.getLogger(__name__).exception("%s failed", self._name)


class Beat:
    """Calls something again and again, in a thread of its own, for as long as somebody looks.

    Args:
        name: of the thread.
        work: what is called; it handles its own errors.
        every: seconds from the end of one call to the next; asked each time.
        patience: seconds after the last sign of life after which the thread ends.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        every: Callable[[], float],
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._work = work
        self._every = every
        self._patience = patience
        self._clock = clock
        self._changed = threading.Condition()
        self._alive_until = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    def touch(self) -> None:
        """Somebody is there: go on, or begin again."""
        with self._changed:
            self._alive_until = self._clock() + self._patience
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=contextvars.Context().run, args=(self._run,), name=self._name
                )
                self._thread.daemon = True
                self._thread.start()

    def rest(self) -> None:
        """Nobody looks any more: end until the next sign of life."""
        with self._changed:
            self._alive_until = 0.0
            self._changed.notify_all()

    @property
    def beating(self) -> bool:
        """Whether it goes on by itself."""
        return self._thread is not None

    def close(self) -> None:
        """End it; what is being done ends by itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _left(self) -> bool:
        return self._closed or self._clock() >= self._alive_until

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._left, self._every())
                if self._left():
                    self._thread = None
                    return
            self._work()
