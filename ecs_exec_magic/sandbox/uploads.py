"""S3's chunked bodies, as SDKs send them: ``aws-chunked`` with or without signatures and trailers.

Knows the framing. Never knows what is uploaded; signatures are not verified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BadChunk", "Upload", "is_chunked", "unwrap"]

_LONGEST_LINE = 8192
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;.*)?$")


class BadChunk(Exception):
    """The framing is broken."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A body out of its chunks, and the trailer fields after it, names in small letters."""

    body: bytes
    trailers: dict[str, str]


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Whether a body is framed in chunks of its own (not HTTP's)."""
    return headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or (
        "aws-chunked" in headers.get("content-encoding", "")
    )


def unwrap(data: bytes) -> Upload:
    """Take a body out of its chunks.

    Raises:
        BadChunk: a size is no number, data is missing, or the last chunk is.
    """
    pieces: list[memoryview] = []
    view, position = memoryview(data), 0
    while True:
        line, position = _line(data, position)
        if not (found := _SIZE.match(line)):
            raise BadChunk("a chunk's size is no number")
        size = int(found[1], 16)
        if position + size > len(data):
            raise BadChunk("a chunk is cut short")
        if size == 0:
            return Upload(b"".join(pieces), _trailers(data, position))
        pieces.append(view[position : position + size])
        position += size
        if data[position : position + 2] != b"\r\n":
            raise BadChunk("a chunk does not end where it should")
        position += 2


def _line(data: bytes, position: int) -> tuple[bytes, int]:
    end = data.find(b"\r\n", position, position + _LONGEST_LINE)
    if end < 0:
        raise BadChunk("a line does not end")
    return data[position:end], end + 2


def _trailers(data: bytes, position: int) -> dict[str, str]:
    found = {}
    for line in data[position:].split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    return found
