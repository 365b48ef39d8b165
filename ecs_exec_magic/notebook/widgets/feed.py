"""What a terminal has shown, for all its views: those that look now, and those that come later.

Knows positions in one stream of bytes. Never knows widgets, threads or sessions.

Views get each piece once, as it comes, and say up to where they have shown it. The one that is
furthest gives the far end its credit: a page that was closed, or is slow, holds no other up. While
nobody looks the far end is held back as soon as its window is full; whoever comes next gets what
was kept, and with it the credit is given again.
"""

from __future__ import annotations

from dataclasses import dataclass

from .replay import ScreenModes

__all__ = ["KEPT", "Feed", "Replay"]

KEPT = 256 * 1024
"""Bytes that a view can get again: more than may wait to be shown."""

_SLACK = KEPT // 4  # cut off at once, not byte by byte


@dataclass(frozen=True)
class Replay:
    """What a view needs to go on.

    Attributes:
        at: position of the first byte.
        data: from there up to the newest.
        clear: the view shall forget what it has shown.
        before: shown first, and no part of the stream: modes that were set before ``at``.
        redraw: a full-screen program shall draw its screen anew: some of it was cut off.
    """

    at: int
    data: bytes
    clear: bool
    before: bytes = b""
    redraw: bool = False


class Feed:
    """A stream with its newest part.

    Attributes:
        end: position behind the newest byte.
        credit: up to where some view has shown it.
    """

    def __init__(self, keep: int = KEPT, slack: int = _SLACK) -> None:
        self.end = 0
        self.credit = 0
        self._keep = keep
        self._slack = slack
        self._data = bytearray()
        self._before = ScreenModes()  # at the first byte of what is kept

    @property
    def start(self) -> int:
        """Position of the oldest byte that is kept."""
        return self.end - len(self._data)

    def put(self, data: bytes) -> int:
        """Something new; returns its position."""
        at = self.end
        self._data += data
        self.end += len(data)
        if len(self._data) > self._keep + self._slack:
            del self._data[: self._before.pass_over(self._data, len(self._data) - self._keep)]
        return at

    def shown(self, position: int) -> int:
        """A view has shown everything before that position; returns what that frees, in bytes."""
        freed = min(position, self.end) - self.credit
        if freed <= 0:
            return 0
        self.credit += freed
        return freed

    def replay(self, position: int | None = None) -> Replay:
        """What a view needs that has all before ``position``, or nothing."""
        if position is not None and self.start <= position <= self.end:
            return Replay(position, bytes(self._data[position - self.start :]), False)
        now = self._before.copy()
        now.follow(self._data)
        redraw = now.alternate and self.start > 0
        return Replay(self.start, bytes(self._data), True, self._before.set_again(), redraw)

    def begin(self, words: bytes) -> tuple[int, bytes]:
        """Another far end follows; what the last one has left owes it nothing.

        Args:
            words: to stand between the two.

        Returns:
            position and bytes of what to show: modes are taken back, then the words.
        """
        modes = self._before.copy()
        modes.follow(self._data)
        data = modes.undone() + words
        at = self.put(data)
        self.credit = self.end
        return at, data
