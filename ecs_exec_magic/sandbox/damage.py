"""What the agent does to output that is not plain UTF-8 (PROTOCOL 6.6).

Knows bytes and where runes end. Never knows frames or processes.
"""

from __future__ import annotations

__all__ = ["OutputFilter"]

_LONGEST = 4  # bytes of the longest UTF-8 sequence
_REPLACEMENT = b"\xef\xbf\xbd"


def _rune_length(data: bytes, at: int) -> int:
    """Bytes of the valid sequence that begins at ``at``, or 0."""
    first = data[at]
    if first < 0x80:
        return 1
    size = 2 if 0xC2 <= first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC2 or first > 0xF4:
        return 0
    try:
        data[at : at + size].decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return size if at + size <= len(data) else 0


class OutputFilter:
    """Walks one output stream chunk by chunk, with the agent's two defects.

    A byte that does not decode passes through unchanged, but when fewer than four bytes are left
    the rest waits for the next chunk: at the end of the stream it is lost. A *valid* U+FFFD cannot
    be told from an error: only its first byte passes.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what the agent would send for this chunk, at most three bytes more than it."""
        data = self._kept + chunk
        self._kept = b""
        if data.isascii():
            return data
        out = bytearray()
        at, end = 0, len(data)
        while at < end:
            size = _rune_length(data, at)
            is_replacement = size == 3 and data[at : at + 3] == _REPLACEMENT
            if size and not is_replacement:
                out += data[at : at + size]
                at += size
                continue
            if end - at < _LONGEST:
                self._kept = data[at:]
                break
            out.append(data[at])
            at += size or 1
        return bytes(out)
