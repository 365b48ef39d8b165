"""The beginning and the end of a long output, as text to be read.

Knows lines and how much of them somebody reads. Never knows where they come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Excerpt", "excerpt", "plain"]

_SIDE_BYTES = 128 * 1024
_LONGEST = 2000
_CONTROLS = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI
    "|\x1b[\\]P^_X][^\x07\x1b\n]*(?:\x07|\x1b\\\\)?"  # strings, as of titles and links
    "|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Of a long output the first and the last lines, of a short one all in ``head``.

    Attributes:
        hidden: lines between both.
        lines: of the whole.
        size: bytes of the whole.
    """

    head: str
    tail: str = ""
    hidden: int = 0
    lines: int = 0
    size: int = 0


def excerpt(pieces: Iterable[bytes], most: int) -> Excerpt:
    """Cut an output to so many lines, without holding more of it than they need."""
    head, tail, size, newlines, last = b"", b"", 0, 0, b""
    for piece in pieces:
        room = _SIDE_BYTES - len(head)
        head += piece[:room]
        tail = (tail + piece[max(0, room) :])[-_SIDE_BYTES:]
        size += len(piece)
        newlines += piece.count(b"\n")
        last = piece[-1:] or last
    lines = newlines + (last not in (b"", b"\n"))
    whole = size <= 2 * _SIDE_BYTES
    if whole:
        head, tail = head + tail, b""
    if lines <= most and whole:
        return Excerpt(plain(_text(head)), lines=lines, size=size)
    side = max(1, most // 2)
    first = _lines(head)[:side]
    final = _lines(head if whole else tail)[-side:]
    hidden = max(0, lines - len(first) - len(final))
    return Excerpt(
        plain(_text(b"".join(first))), plain(_text(b"".join(final))), hidden, lines, size
    )


def plain(text: str) -> str:
    """A text as it would be read on a terminal: no control sequences, nothing overwritten."""
    text = _CONTROLS.sub("", text.replace("\r\n", "\n"))
    lines = []
    for line in text.split("\n"):
        # What a progress bar has written over is gone.
        line = line.rstrip("\r").rpartition("\r")[2]
        more = len(line) - _LONGEST
        lines.append(f"{line[:_LONGEST]} … {more} more characters …" if more > 0 else line)
    return "\n".join(lines)


def _lines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
