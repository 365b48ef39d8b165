"""Output of a running command on the screen of the cell that runs it.

Knows text, streams and how much of it a notebook takes. Never knows commands or connections.

Unless a screen has a place of its own, everything is written from the calling thread to the
``sys.stdout`` and ``sys.stderr`` of the moment: only so does it land in the right cell on every
kernel, and in ``%%capture``.
"""

from __future__ import annotations

import codecs
import re
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..cleaning import Cleaner, last_colour, safe_cut, without_colours
from ..views import size

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["SCREEN_CHARS", "Filter", "Fold", "OutputEvent", "Screen"]

SCREEN_CHARS = 256 * 1024
"""Characters of one command shown as they come; Jupyter drops output beyond 1 MB/s."""

FOLD_CHARS = 64 * 1024
"""Characters that a fold holds at most; the result has all of them."""

TAIL_LINES = 20
"""Lines of a folded output that are shown at its end."""

_TAIL_CHARS = 4 * 1024
_SLACK = 128  # more than the longest colour sequence, before which a cut moves

# Messages to the front end: a few at once, so many a second, and two at the end. Together with one
# of progress these are at most ten in any second.
_BURST = 3.0
_RATE = 4.0
_ORDERED = 8
"""Changes between stdout and stderr that may wait to be shown in their order."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # str.splitlines also breaks at U+2028 and its like

_IDLE = 0.4
"""Seconds of silence after which an unfinished line is shown, as a prompt is."""


class OutputEvent(Protocol):
    """A piece of output as the client reports it."""

    @property
    def stream(self) -> str:
        """``stdout`` or ``stderr``."""

    @property
    def data(self) -> bytes:
        """The bytes, cut anywhere."""


class Filter(Protocol):
    """Masks text that comes in pieces; may hold back what it cannot judge yet."""

    @property
    def count(self) -> int:
        """Secrets masked so far."""

    def feed(self, text: str) -> str:
        """Return what can be shown."""

    def flush(self, *, final: bool) -> str:
        """Return what can be shown of what was held back; all of it when it is the end."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Output of one stream that is not shown.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        lines: how many.
        chars: how many.
        text: their beginning, without colours, at most :data:`FOLD_CHARS` of it.
    """

    stream: str
    lines: int
    chars: int
    text: str

    def __str__(self) -> str:
        lines = f"{self.lines:,} line{'' if self.lines == 1 else 's'} " if self.lines else ""
        of = "of stderr " if self.stream == "stderr" else ""
        return f"{lines}{of}folded ({size(self.chars)}); the result has it all"


class _Stream:
    """One stream on its way from bytes to clean text."""

    def __init__(self, masker: Filter | None, limit: int, lines: int) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.cleaner = Cleaner()
        self.masker = masker
        self.folded: _Folded | None = None  # once something is not shown
        self.coloured = False  # what is shown leaves a colour on
        self._room = limit
        self._lines_left: int | None = lines or None

    def text(self, data: bytes) -> str:
        text = self.cleaner.feed(self.decoder.decode(data))
        return self.masker.feed(text) if self.masker is not None else text

    def flush(self, final: bool) -> str:
        text = self.cleaner.feed(self.decoder.decode(b"", True)) if final else ""
        if self.masker is None:
            return text
        return self.masker.feed(text) + self.masker.flush(final=final)

    def fitting(self, text: str) -> int:
        """How many characters of a text are still shown; counts them."""
        end = len(text)
        if end > self._room:
            end = text.rfind("\n", 0, self._room) + 1 or safe_cut(text, self._room)
        if self._lines_left is not None:
            position, lines = 0, self._lines_left
            while lines and (found := text.find("\n", position, end)) >= 0:
                position, lines = found + 1, lines - 1
            self._lines_left = lines
            if not lines:
                end = position
        self._room -= end
        return end


class Screen:
    """Shows a command's output as it comes.

    Args:
        limit: characters of each stream to show as they come. Of what follows only the end is
            shown, by :meth:`close`, and the rest is folded.
        lines: lines of each stream to show as they come, likewise; 0 for no such limit.
        masker: makes a filter for each stream.
        on_fold: shows what is folded; without one, a line on stderr tells of it.
        write: shows a text of ``stdout`` or ``stderr``; None: these files of Python's do.
        clock: seconds, monotonic.

    Attributes:
        received: bytes that have come.
        last_line: the last line that has come, clean.
        before_writing: called before anything is written.
    """

    def __init__(
        self,
        *,
        limit: int = SCREEN_CHARS,
        lines: int = 0,
        masker: Callable[[], Filter] | None = None,
        on_fold: Callable[[Fold], object] | None = None,
        write: Callable[[str, str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.received = 0
        self.last_line = ""
        self.before_writing: Callable[[], object] | None = None
        names = ("stdout", "stderr")
        self._streams = {
            name: _Stream(masker() if masker else None, limit, lines) for name in names
        }
        self._on_fold = on_fold
        self._elsewhere = write
        self._clock = clock
        self._waiting: list[tuple[str, str]] = []
        self._unfinished = ""
        self._last = ""
        self._line_open = False
        self._messages = _BURST
        self._refilled = self._changed = clock()

    @property
    def at_line_start(self) -> bool:
        """Whether what comes next begins a line."""
        return self._waiting[-1][1].endswith("\n") if self._waiting else not self._line_open

    @property
    def folding(self) -> bool:
        """Whether something of what has come is not shown."""
        return any(stream.folded is not None for stream in self._streams.values())

    # -- in --------------------------------------------------------------------------------------

    def output(self, event: OutputEvent) -> None:
        """Show a piece of output; what the client calls with every event."""
        self.received += len(event.data)
        self._changed = self._clock()
        self._take(event.stream, self._streams[event.stream].text(event.data))
        self._pump()

    def notice(self, text: str) -> None:
        """Show a line about the run itself, on stderr."""
        self._pump(all_of_it=True)
        if self._line_open and (self._last == "stderr" or self._on_terminal()):
            self._write("stderr", "\n")
        self._write("stderr", f"{text.rstrip()}\n")

    def tick(self) -> None:
        """Show what has waited for its turn; called several times a second."""
        if self._clock() - self._changed >= _IDLE:
            for name, stream in self._streams.items():
                self._take(name, stream.flush(False))
        self._pump()

    def close(self) -> None:
        """Show what is held back, and tell what is not shown at all."""
        for name, stream in self._streams.items():
            self._take(name, stream.flush(True))
        for name, stream in self._streams.items():
            if stream.folded is not None:
                fold, tail = stream.folded.end(name)
                if fold is not None:
                    self._pump(all_of_it=True)
                    self._tell(fold)
                self._queue(name, tail)
        self._reset_colours()
        self._pump(all_of_it=True)
        if masked := sum(s.masker.count for s in self._streams.values() if s.masker is not None):
            what = "a secret is" if masked == 1 else f"{masked} secrets are"
            self.notice(f"{what} masked here; the result is exact")
        if self._elsewhere is None:
            for file in (sys.stdout, sys.stderr):
                _flush(file)

    # -- out -------------------------------------------------------------------------------------

    def _take(self, name: str, text: str) -> None:
        if not text:
            return
        self._remember(text)
        stream = self._streams[name]
        if stream.folded is None:
            room = stream.fitting(text)
            if room:
                self._queue(name, text[:room])
            text = text[room:]
            if not text:
                return
            self._reset_colours(name)
            stream.folded = _Folded()
        stream.folded.add(text)

    def _remember(self, text: str) -> None:
        lines = re.split(r"[\r\n]", self._unfinished + text[-2000:])
        self._unfinished = lines[-1][-1000:]
        self.last_line = next((line for line in reversed(lines) if line.strip()), self.last_line)

    def _queue(self, name: str, text: str) -> None:
        if not text:
            return
        colour = last_colour(text)
        if colour is not None:
            self._streams[name].coloured = colour
        if self._waiting and self._waiting[-1][0] == name:
            text = self._waiting.pop()[1] + text
        self._waiting.append((name, text))

    def _pump(self, all_of_it: bool = False) -> None:
        """Write what waits, in few messages."""
        if self._on_terminal():
            all_of_it = True
        else:
            now = self._clock()
            self._messages = min(_BURST, self._messages + (now - self._refilled) * _RATE)
            self._refilled = now
            many = len(self._waiting) > (max(2, int(self._messages)) if all_of_it else _ORDERED)
            if many:
                # More changes than there may be messages: each stream in its own order.
                whole = {name: "" for name, _ in self._waiting}
                for name in whole:
                    whole[name] = "".join(text for each, text in self._waiting if each == name)
                self._waiting = list(whole.items())
        done = 0
        for name, text in self._waiting:
            if not all_of_it and self._messages < 1:
                break
            self._messages -= 1
            self._write(name, text)
            done += 1
        del self._waiting[:done]

    def _tell(self, fold: Fold) -> None:
        if self._on_fold is not None:
            self._on_fold(fold)
        else:
            self.notice(f"… {fold} …")

    def _reset_colours(self, *names: str) -> None:
        for name in names or self._streams:
            if self._streams[name].coloured:
                self._queue(name, "\x1b[0m")

    def _write(self, name: str, text: str) -> None:
        if self.before_writing is not None:
            self.before_writing()
        if self._elsewhere is not None:
            self._elsewhere(name, text)
        else:
            file = sys.stderr if name == "stderr" else sys.stdout
            file.write(text)
            # Both streams are buffered apart; without this the order between them is lost.
            _flush(file)
        self._last = name
        self._line_open = not text.endswith("\n")

    def _on_terminal(self) -> bool:
        if self._elsewhere is not None:
            return False
        return _is_terminal(sys.stdout) or _is_terminal(sys.stderr)


class _Folded:
    """What is not shown of a stream: how much there is, its begin, and its end."""

    def __init__(self) -> None:
        self._begin: list[str] = []
        self._begin_size = 0
        self._lines = self._chars = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0

    def add(self, text: str) -> None:
        """Fold a text."""
        for line in _LINE.findall(text):
            if self._tail and not self._tail[-1].endswith("\n"):
                self._tail[-1] += line
            else:
                self._tail.append(line)
            self._tail_size += len(line)
            while len(self._tail) > TAIL_LINES or self._tail_size > _TAIL_CHARS:
                first = self._tail.popleft()
                if not self._tail:  # one line that is longer than the tail: its end stays
                    cut = safe_cut(first, len(first) - _TAIL_CHARS + _SLACK)
                    self._tail.append(first[cut:])
                    first = first[:cut]
                self._tail_size -= len(first)
                self._hide(first)

    def _hide(self, text: str) -> None:
        self._lines += text.count("\n")
        self._chars += len(text)
        if self._begin_size < FOLD_CHARS:
            self._begin.append(text[: FOLD_CHARS - self._begin_size])
            self._begin_size += len(self._begin[-1])

    def end(self, stream: str) -> tuple[Fold | None, str]:
        """What stays folded, if anything does, and what is shown behind it."""
        tail = "".join(self._tail)
        if not self._chars:
            return None, tail
        begin = without_colours("".join(self._begin))
        return Fold(stream, self._lines, self._chars, begin), tail


def _flush(file: TextIO) -> None:
    flush = getattr(file, "flush", None)  # a stand-in for stdout need not have it
    if flush is not None:
        flush()


def _is_terminal(file: TextIO) -> bool:
    isatty = getattr(file, "isatty", None)
    return bool(isatty and isatty())
