"""Answers that are kept for a while, and fetched in threads.

Knows ages, threads and a time limit. Never knows what the answers are.

Whoever asks waits no longer than the limit; an answer that takes longer is there for the next one.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["Cache", "Wanted"]

Wanted = tuple["Hashable", "Callable[[], Any]"]

_MOST = 500


class _Entry:
    def __init__(self) -> None:
        self.value: Any = None
        self.due = 0.0
        self.thread: threading.Thread | None = None
        self.done = threading.Event()


class Cache:
    """Answers by key.

    Args:
        ttl: seconds that an answer is good for. An older one is still better than none, and is
            given when the new one takes too long.
        retry: seconds before something that failed is tried again.
        limit: seconds that one who asks waits.
    """

    def __init__(
        self,
        *,
        ttl: float = 30.0,
        retry: float = 5.0,
        limit: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl = ttl
        self._retry = retry
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def deadline(self) -> float:
        """When somebody who begins to ask now has to have an answer."""
        return self._clock() + self._limit

    def get(self, wanted: Sequence[Wanted], deadline: float) -> list[Any]:
        """The answers to several things at once; None for what is not known in time, or failed.

        Args:
            wanted: keys, and what fetches the answer; it may take long, and raise.
        """
        entries = [self._begun(key, fetch) for key, fetch in wanted]
        for entry in entries:
            entry.done.wait(max(0.0, deadline - self._clock()))
        return [entry.value for entry in entries]

    def forget(self) -> None:
        """Forget everything; what is being fetched goes nowhere."""
        with self._lock:
            self._entries = {}

    def _begun(self, key: Hashable, fetch: Callable[[], Any]) -> _Entry:
        with self._lock:
            if len(self._entries) > _MOST:
                self._entries = {}
            entry = self._entries.setdefault(key, _Entry())
            # In a forked child a thread that was at work is not alive any more; and one that has
            # its answer may be alive for another moment.
            thread = entry.thread
            working = thread is not None and thread.is_alive() and not entry.done.is_set()
            if not working and entry.due <= self._clock():
                entry.done.clear()
                # An empty context: output of the thread, if any, must not go to some cell.
                entry.thread = threading.Thread(
                    target=contextvars.Context().run,
                    args=(self._fetch, entry, fetch),
                    name="ecs-exec-completion",
                    daemon=True,
                )
                entry.thread.start()
            return entry

    def _fetch(self, entry: _Entry, fetch: Callable[[], Any]) -> None:
        try:
            entry.value = fetch()
            entry.due = self._clock() + self._ttl
        except BaseException as error:  # noqa: BLE001 - nobody waits for it, whatever it is
            logging.getLogger(__name__).debug("nothing to complete from: %s", error)
            entry.due = self._clock() + self._retry
        finally:
            entry.done.set()
