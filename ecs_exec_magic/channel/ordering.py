"""Numbers, order and repetition of stream messages (PROTOCOL 3).

Knows sequence numbers, times and when to send again. Never knows what a message says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["MAX_RESENDS", "RESEND_TICK", "Incoming", "Outgoing", "RoundTrip"]

RESEND_TICK = 0.1
"""Seconds between two looks at the head of the outgoing list (PROTOCOL 3.3)."""

MAX_RESENDS = 3000
"""Repetitions of one message after which the session is given up (PROTOCOL 1.6)."""

_EAGER_RESENDS = 20
_SLOW_RESEND = 1.0

T = TypeVar("T")


@dataclass(slots=True)
class RoundTrip:
    """The estimate of the round trip, and with it how long to wait for an acknowledgement.

    Attributes:
        smoothed: smoothed round trip, in seconds.
        variation: its mean deviation, in seconds.
        timeout: seconds after which a message counts as lost; at most 1.
    """

    smoothed: float = 0.1
    variation: float = 0.0
    timeout: float = 0.2

    def sample(self, seconds: float) -> None:
        """Take one measured round trip into account (PROTOCOL 3.3)."""
        seconds = max(seconds, 0.0)
        self.variation += (abs(self.smoothed - seconds) - self.variation) / 4
        self.smoothed += (seconds - self.smoothed) / 8
        self.timeout = min(self.smoothed + max(0.01, 4 * self.variation), 1.0)


@dataclass(slots=True)
class _Sent:
    message: bytes
    size: int
    last_sent: float
    resends: int = 0


@dataclass(slots=True)
class Outgoing:
    """Messages sent and not yet acknowledged, in the order of their numbers.

    As in both official programs, only the head is sent again while the connection stands; after
    a reconnect everything is. A head that stays unacknowledged most often means that the terminal
    at the far end is full, not that a message was lost: after some eager tries it is therefore
    repeated only once a second.

    When a repeated head is acknowledged at last, what was sent before its repetition shared its
    fate, most likely: the next head is then due at once, not after the next tick.

    Attributes:
        next_sequence: the number of the next new message.
        size: bytes of payload that are not yet acknowledged.
        round_trip: the estimate that the repetition follows.
    """

    next_sequence: int = 0
    size: int = 0
    round_trip: RoundTrip = field(default_factory=RoundTrip)
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _next_tick: float = 0.0
    _hurry: bool = False

    def __len__(self) -> int:
        return len(self._sent)

    def add(self, message: bytes, size: int, now: float) -> int:
        """Keep a message that is being sent, and return the number it was given.

        Args:
            message: the whole frame, which already carries :attr:`next_sequence`.
            size: bytes to count against the window.
            now: seconds.
        """
        sequence = self.next_sequence
        self.next_sequence = sequence + 1
        if not self._sent:
            self._next_tick = now + RESEND_TICK
        self._sent[sequence] = _Sent(message, size, now)
        self.size += size
        return sequence

    def acknowledge(self, sequence: int, now: float) -> bool:
        """Forget a message, wherever it stands; False when the number is not waited for."""
        sent = self._sent.pop(sequence, None)
        if sent is None:
            return False
        self.size -= sent.size
        self.round_trip.sample(now - sent.last_sent)
        if sent.resends and self._sent:
            self._hurry = self._head().last_sent < sent.last_sent
        return True

    def next_timeout(self) -> float | None:
        """When :meth:`tick` wants to be called, or None while there is nothing to repeat."""
        if not self._sent:
            return None
        head = self._head()
        if self._hurry:
            return head.last_sent
        return max(self._next_tick, head.last_sent + self._patience(head))

    def tick(self, now: float) -> bytes | None:
        """Return the head of the list if it is due again, byte for byte as it was sent."""
        due = self.next_timeout()
        if due is None or now < due:
            return None
        self._next_tick = now + RESEND_TICK
        self._hurry = False
        head = self._head()
        head.last_sent = now
        head.resends += 1
        return head.message

    def resend_all(self, now: float) -> list[bytes]:
        """Return all unacknowledged messages in order, for a connection that has just begun."""
        self._next_tick = now + RESEND_TICK
        self._hurry = False
        for sent in self._sent.values():
            sent.last_sent = now
            sent.resends = 0
        return [sent.message for sent in self._sent.values()]

    @property
    def exhausted(self) -> bool:
        """Whether the head was repeated more often than makes sense (PROTOCOL 1.6)."""
        return bool(self._sent) and self._head().resends > MAX_RESENDS

    def _head(self) -> _Sent:
        return next(iter(self._sent.values()))

    def _patience(self, sent: _Sent) -> float:
        if sent.resends < _EAGER_RESENDS:
            return self.round_trip.timeout
        return _SLOW_RESEND


@dataclass(slots=True)
class Incoming(Generic[T]):
    """Puts messages that come in any order, or twice, into the order of their numbers.

    Args:
        max_messages: how far ahead of the expected number a message may be.
        max_bytes: how many bytes may wait for a gap to close.

    Attributes:
        expected: the number that comes next.
    """

    max_messages: int = 10_000
    max_bytes: int = 16 * 1024 * 1024
    expected: int = 0
    waiting_bytes: int = 0
    _waiting: dict[int, tuple[T, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def accept(self, sequence: int, item: T, size: int) -> bool:
        """Take one message; False when it was not taken and must not be acknowledged.

        Messages that can now be handled are given by :meth:`pop`. One that was here before is
        accepted and forgotten: it must be acknowledged again, or the agent repeats it for ever
        and never comes to what follows (PROTOCOL 3.4).
        """
        if sequence < self.expected or sequence in self._waiting:
            return True
        if sequence != self.expected and (
            sequence - self.expected > self.max_messages
            or self.waiting_bytes + size > self.max_bytes
        ):
            return False
        self._waiting[sequence] = (item, size)
        self.waiting_bytes += size
        return True

    def pop(self) -> T | None:
        """Return the message that comes next, or None while it has not come."""
        found = self._waiting.pop(self.expected, None)
        if found is None:
            return None
        self.expected += 1
        self.waiting_bytes -= found[1]
        return found[0]

    def clear(self) -> None:
        """Forget what waits behind a gap that will never close."""
        self._waiting.clear()
        self.waiting_bytes = 0
