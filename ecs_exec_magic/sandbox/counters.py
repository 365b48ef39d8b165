"""What happened in a practice cluster, for tests to read.

Knows calls and counts. Never knows why something happened.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call", "Counters"]

_CALLS = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """One API call as it was understood: service, operation, parameters, error code or empty."""

    service: str
    operation: str
    parameters: dict[str, Any] = field(repr=False)
    region: str
    access_key: str
    error: str = ""


class Counters:
    """What happened, for tests to read from any thread; of the calls the last ten thousand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=_CALLS)
        self._active: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._terminated: list[str] = []
        self._ended: list[str] = []
        self._attached: Counter[str] = Counter()

    def add_call(self, call: Call) -> None:
        """Note one API call."""
        with self._lock:
            self._calls.append(call)

    def session_begun(self, runtime_id: str) -> None:
        """Note that a session took one of a container's slots."""
        with self._lock:
            self._active[runtime_id] += 1
            self._most[runtime_id] = max(self._most[runtime_id], self._active[runtime_id])

    def session_ended(self, runtime_id: str, session_id: str) -> None:
        """Note that a session has fully ended and gave its slot back."""
        with self._lock:
            self._active[runtime_id] -= 1
            self._ended.append(session_id)

    def session_terminated(self, session_id: str) -> None:
        """Note that TerminateSession ended a session."""
        with self._lock:
            self._terminated.append(session_id)

    def client_attached(self, session_id: str) -> None:
        """Note that a client opened the data channel of a session."""
        with self._lock:
            self._attached[session_id] += 1

    def calls(self, operation: str | None = None) -> list[Call]:
        """The API calls in their order, all of them or those of one operation."""
        with self._lock:
            return [c for c in self._calls if operation in (None, c.operation)]

    @property
    def active_sessions(self) -> dict[str, int]:
        """Sessions now in a slot, by runtimeId."""
        with self._lock:
            return dict(+self._active)

    @property
    def max_sessions(self) -> dict[str, int]:
        """The most sessions that were in a slot at once, by runtimeId."""
        with self._lock:
            return dict(self._most)

    @property
    def terminated(self) -> list[str]:
        """Ids of sessions ended by TerminateSession, in order."""
        with self._lock:
            return list(self._terminated)

    @property
    def ended(self) -> list[str]:
        """Ids of sessions that have fully ended, in order."""
        with self._lock:
            return list(self._ended)

    @property
    def attachments(self) -> dict[str, int]:
        """How often a client opened the data channel, by session id."""
        with self._lock:
            return dict(self._attached)
