"""Output of a running command on the screen of the cell that runs it.

Knows text, streams and how much of it a notebook takes. Never knows commands or connections.

Everything is written from the calling thread to the ``sys.stdout`` and ``sys.stderr`` of the
moment: only so does it land in the right cell on every kernel, and in ``%%capture``.
"""

from __future__ import annotations

import codecs
import re
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["SCREEN_CHARS", "Cleaner", "OutputEvent", "Screen"]

SCREEN_CHARS = 256 * 1024
"""Characters of one command shown as they come; Jupyter drops output beyond 1 MB/s."""

_TAIL_CHARS = 4 * 1024
# A kernel sends what a stream holds every 0.2 s by itself. These are the flushes on top of that,
# which keep stdout and stderr in order: a few at once, then so many a second.
_FLUSH_BURST = 10
_FLUSH_RATE = 5.0

# ESC and C1 controls begin sequences; the other controls stand alone. TAB, LF, CR and BS stay:
# every front end renders them.
_SPECIAL = re.compile("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_STRING_END = re.compile("[\x07\x1b\x9c]")
_CSI_BODY = re.compile("[\x20-\x3f]*")
_SGR = re.compile(r"[0-9;:]*$")
_SGR_RESET = re.compile(r"[0;:]*$")
_SGR_LONGEST = 64


class OutputEvent(Protocol):
    """A piece of output as the client reports it."""

    @property
    def stream(self) -> str:
        """``stdout`` or ``stderr``."""

    @property
    def data(self) -> bytes:
        """The bytes, cut anywhere."""


class Cleaner:
    """Takes terminal control sequences out of text, except colours (ECMA-48 SGR).

    Works on text that comes in pieces cut anywhere: pieces give together what the whole would.
    """

    def __init__(self) -> None:
        self._state = "text"
        self._body = ""
        self.coloured = False
        """Whether a colour is on, which somebody must turn off in the end."""

    def feed(self, text: str) -> str:
        """Return the text without its control sequences; unfinished ones are held back."""
        if self._state == "text" and not _SPECIAL.search(text):
            return text
        out: list[str] = []
        position = 0
        while position < len(text):
            position = getattr(self, f"_in_{self._state}")(text, position, out)
        return "".join(out)

    def _in_text(self, text: str, position: int, out: list[str]) -> int:
        match = _SPECIAL.search(text, position)
        if match is None:
            out.append(text[position:])
            return len(text)
        out.append(text[position : match.start()])
        self._state = {
            "\x1b": "escape",
            "\x9b": "csi",
            "\x90": "string",
            "\x98": "string",
            "\x9d": "string",
            "\x9e": "string",
            "\x9f": "string",
        }.get(match[0], "text")
        return match.end()

    def _in_escape(self, text: str, position: int, out: list[str]) -> int:
        char = text[position]
        if char == "[":
            self._state = "csi"
        elif char in "]PX^_":
            self._state = "string"
        elif char == "\x1b" or "\x20" <= char <= "\x2f":
            pass  # begun anew, or an intermediate byte: the sequence goes on
        elif "\x30" <= char <= "\x7e":
            self._state = "text"
        else:  # no sequence: the character counts for itself
            self._state = "text"
            return position
        return position + 1

    def _in_csi(self, text: str, position: int, out: list[str]) -> int:
        match = _CSI_BODY.match(text, position)
        assert match is not None, "the pattern matches nothing at all, too"
        # One character more than is ever shown, so that what is too long stays too long.
        self._body = (self._body + match[0])[: _SGR_LONGEST + 1]
        if match.end() == len(text):
            return match.end()
        final, body = text[match.end()], self._body
        self._state, self._body = "text", ""
        if not "\x40" <= final <= "\x7e":
            return match.end()  # broken off: the character counts for itself
        if final == "m" and len(body) <= _SGR_LONGEST and _SGR.match(body):
            out.append(f"\x1b[{body}m")
            self.coloured = not _SGR_RESET.match(body)
        return match.end() + 1

    def _in_string(self, text: str, position: int, out: list[str]) -> int:
        match = _STRING_END.search(text, position)
        if match is None:
            return len(text)
        self._state = "string_escape" if match[0] == "\x1b" else "text"
        return match.end()

    def _in_string_escape(self, text: str, position: int, out: list[str]) -> int:
        if text[position] == "\\":
            self._state = "text"
            return position + 1
        self._state = "escape"  # ESC ends a string, and begins something else
        return position


class _Stream:
    """One stream on its way from bytes to clean text."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.cleaner = Cleaner()

    def text(self, data: bytes, final: bool = False) -> str:
        return self.cleaner.feed(self.decoder.decode(data, final))


class Screen:
    """Shows a command's output as it comes.

    Args:
        limit: characters to show as they come. Of what follows only the end is shown, by
            :meth:`close`, with the amount that is hidden.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, limit: int = SCREEN_CHARS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._streams = {"stdout": _Stream(), "stderr": _Stream()}
        self._limit = limit
        self._clock = clock
        self._shown = 0
        self._hidden = 0
        self._tail: deque[tuple[str, str]] = deque()
        self._tail_size = 0
        self._last = ""
        self._line_open = False
        self._flushes = float(_FLUSH_BURST)
        self._refilled = clock()

    # -- in --------------------------------------------------------------------------------------

    def output(self, event: OutputEvent) -> None:
        """Show a piece of output; what the client calls with every event."""
        self._take(event.stream, self._streams[event.stream].text(event.data))

    def notice(self, text: str) -> None:
        """Show a line about the run itself, on stderr."""
        if self._line_open and (self._last == "stderr" or _is_terminal(sys.stderr)):
            self._write("stderr", "\n")
        self._write("stderr", f"{text.rstrip()}\n")
        _flush(sys.stderr)  # somebody waits for what it says

    def close(self) -> None:
        """Show what is held back, and how much is not shown at all."""
        for name, stream in self._streams.items():
            self._take(name, stream.text(b"", final=True))
        if self._hidden:
            self._show_tail()
        self._reset_colours()
        for file in (sys.stdout, sys.stderr):
            _flush(file)

    # -- out -------------------------------------------------------------------------------------

    def _take(self, name: str, text: str) -> None:
        if not text:
            return
        room = self._limit - self._shown
        if not self._hidden and len(text) <= room:
            self._shown += len(text)
            self._write(name, text)
            return
        if not self._hidden:
            cut = text.rfind("\n", 0, room) + 1 or room
            self._shown = self._limit
            if cut:
                self._write(name, text[:cut])
            text = text[cut:]
            self._reset_colours()
            self.notice(
                f"… more than {_amount(self._limit)}: the rest is kept in the result, "
                "its end is shown when the command is done …"
            )
        self._hidden += len(text)
        self._tail.append((name, text[-_TAIL_CHARS:]))
        self._tail_size += len(self._tail[-1][1])
        while self._tail_size - len(self._tail[0][1]) >= _TAIL_CHARS:
            self._tail_size -= len(self._tail.popleft()[1])

    def _show_tail(self) -> None:
        pieces = list(self._tail)
        first_name, first = pieces[0]
        first = first[max(0, self._tail_size - _TAIL_CHARS) :]
        if len(first) < self._hidden:
            first = first[first.find("\n") + 1 :]  # begin with a whole line where there is one
        pieces[0] = first_name, first
        hidden = self._hidden - sum(len(text) for _, text in pieces)
        if hidden:
            self.notice(f"… {_amount(hidden)} not shown …")
        for name, text in pieces:
            if text:
                self._write(name, text)

    def _reset_colours(self) -> None:
        for name, stream in self._streams.items():
            if stream.cleaner.coloured:
                stream.cleaner.coloured = False
                self._write(name, "\x1b[0m")

    def _write(self, name: str, text: str) -> None:
        file = sys.stderr if name == "stderr" else sys.stdout
        if self._last not in ("", name) and self._may_flush():
            # Both are buffered apart; without this the order between them is lost.
            _flush(sys.stdout if name == "stderr" else sys.stderr)
        file.write(text)
        self._last = name
        self._line_open = not text.endswith("\n")
        if _is_terminal(file):
            _flush(file)

    def _may_flush(self) -> bool:
        now = self._clock()
        self._flushes = min(_FLUSH_BURST, self._flushes + (now - self._refilled) * _FLUSH_RATE)
        self._refilled = now
        if self._flushes < 1:
            return False
        self._flushes -= 1
        return True


def _flush(file: TextIO) -> None:
    flush = getattr(file, "flush", None)  # a stand-in for stdout need not have it
    if flush is not None:
        flush()


def _is_terminal(file: TextIO) -> bool:
    isatty = getattr(file, "isatty", None)
    return bool(isatty and isatty())


def _amount(count: int) -> str:
    if count < 1024:
        return f"{count} characters"
    size = count / 1024
    return f"{size:.0f} KiB" if size < 1024 else f"{size / 1024:.1f} MiB"
