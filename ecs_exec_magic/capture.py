"""Output kept exactly, in memory while small and in a temporary file once large.

Knows bytes and a temporary file. Never knows where they come from or what they mean.
"""

from __future__ import annotations

import tempfile
import threading
import weakref
from typing import IO, Any

__all__ = ["SPILL_BYTES", "Capture"]

SPILL_BYTES = 32 * 1024 * 1024
"""Bytes of one stream held in memory; what passes this moves to a temporary file."""


class Capture:
    """A growing run of bytes: written by one, readable by many, picklable as its bytes.

    The temporary file has no name and disappears with the last reference to this object.

    Args:
        data: bytes to begin with.
        spill: bytes to hold in memory.
        limit: keep no more bytes than this; :attr:`truncated` then says that there were more.
    """

    def __init__(
        self, data: bytes = b"", *, spill: int = SPILL_BYTES, limit: int | None = None
    ) -> None:
        self._lock = threading.Lock()
        # A bytearray while it grows, bytes once somebody has read all of it.
        self._held: bytes | bytearray = bytearray()
        self._file: IO[bytes] | None = None
        self._spill = spill
        self._limit = limit
        self._size = 0
        self.truncated = False
        if data:
            self.write(data)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<Capture of {self._size} bytes{' in a file' if self._file else ''}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Capture):
            return NotImplemented
        return len(self) == len(other) and self.read() == other.read()

    __hash__ = None  # type: ignore[assignment]  # mutable, as a list is

    @property
    def spilled(self) -> bool:
        """Whether the bytes lie in a temporary file."""
        return self._file is not None

    def write(self, data: bytes) -> None:
        """Append bytes; those past the limit are dropped and noted.

        Raises:
            OSError: the temporary file cannot be written; what was kept before stays readable.
        """
        with self._lock:
            if self._limit is not None and self._size + len(data) > self._limit:
                data = data[: max(0, self._limit - self._size)]
                self.truncated = True
            if not data:
                return
            if self._file is None and self._size + len(data) > self._spill:
                self._to_file()
            if self._file is not None:
                self._file.seek(self._size)
                self._file.write(data)
            else:
                if isinstance(self._held, bytes):
                    self._held = bytearray(self._held)
                self._held += data
            self._size += len(data)

    def _to_file(self) -> None:
        file = tempfile.TemporaryFile(prefix="ecs-exec-")  # noqa: SIM115 - lives as long as we do
        weakref.finalize(self, file.close)
        file.write(self._held)
        self._file, self._held = file, b""

    def read(self, start: int = 0, size: int = -1) -> bytes:
        """Return ``size`` bytes from ``start``, or all that follow."""
        with self._lock:
            start = max(0, start)
            stop = self._size if size < 0 else min(start + size, self._size)
            if self._file is not None:
                self._file.seek(start)
                return self._file.read(max(0, stop - start))
            if start == 0 and stop == self._size:
                self._held = bytes(self._held)
                return self._held
            return bytes(self._held[start:stop])

    def last_lines(self, count: int, at_most: int | None = None) -> bytes:
        """Return the last ``count`` lines without reading more than they need.

        Args:
            count: lines.
            at_most: bytes; of lines longer than this only the end comes.
        """
        if count <= 0:
            return b""
        step = 64 * 1024
        start = len(self)
        first = 0 if at_most is None else max(0, start - at_most)
        data = b""
        while start > first and data.rstrip(b"\n").count(b"\n") < count:
            begin = max(first, start - step)
            data = self.read(begin, start - begin) + data
            start, step = begin, step * 2
        return b"".join(data.splitlines(keepends=True)[-count:])

    def __getstate__(self) -> dict[str, Any]:
        return {
            "data": self.read(),
            "spill": self._spill,
            "limit": self._limit,
            "truncated": self.truncated,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["data"], spill=state["spill"], limit=state["limit"])  # type: ignore[misc]
        self.truncated = state["truncated"]
