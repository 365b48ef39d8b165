"""The agent's sender: what was sent, what was acknowledged, what is to be sent again.

Knows sequence numbers and times. Never knows sockets or what a frame means (PROTOCOL 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outbox"]

_CAPACITY = 100_000
_CLOCK = 0.01
_LONGEST = 1.0


@dataclass(slots=True)
class _Sent:
    sequence: int
    data: bytes
    at: float


class Outbox:
    """Messages not acknowledged yet, in order, with the agent's estimate of the round trip."""

    def __init__(self) -> None:
        self._items: list[_Sent] = []
        self._next = 0
        self._srtt = 0.1
        self._variation = 0.0
        self.timeout = 0.2

    def __len__(self) -> int:
        return len(self._items)

    def number(self) -> int:
        """Take the next sequence number."""
        self._next += 1
        return self._next - 1

    def add(self, sequence: int, data: bytes, now: float) -> None:
        """Keep a message until it is acknowledged; a full outbox forgets it at once."""
        if len(self._items) < _CAPACITY:
            self._items.append(_Sent(sequence, data, now))

    def acknowledged(self, sequence: int, now: float) -> None:
        """Drop a message wherever it stands and learn from its time; unknown ones are ignored."""
        for index, item in enumerate(self._items):
            if item.sequence == sequence:
                del self._items[index]
                sample = now - item.at
                self._variation += (abs(self._srtt - sample) - self._variation) / 4
                self._srtt += (sample - self._srtt) / 8
                self.timeout = min(_LONGEST, self._srtt + max(_CLOCK, 4 * self._variation))
                return

    def due(self, now: float) -> bytes | None:
        """The head of the list if it has waited longer than the timeout; called every 100 ms."""
        if not self._items or now - self._items[0].at <= self.timeout:
            return None
        self._items[0].at = now
        return self._items[0].data
