"""Standard input from whatever the user has: text, bytes, a file, an iterator.

Knows how to cut a source into pieces without blocking the event loop. Never knows the wire.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["PIECE", "check", "pieces"]

PIECE = 4096
"""Bytes that travel in one frame at most."""

_END = object()


def check(source: object) -> None:
    """Refuse early what can give no bytes.

    Raises:
        InvalidRequest: the source gives no bytes, or is a path that cannot be read.
    """
    if isinstance(source, os.PathLike):
        if not os.access(source, os.R_OK) or os.path.isdir(source):
            raise InvalidRequest(f"{os.fspath(source)!r} is not a file that can be read")
    elif not any(hasattr(source, name) for name in ("read", "__iter__")):
        raise InvalidRequest(
            f"stdin is {type(source).__name__}, which gives no bytes",
            cure="give str, bytes, a path, an open file, or an iterator of str or bytes",
        )


async def pieces(source: Any) -> AsyncIterator[bytes]:
    """Yield the source as pieces of at most :data:`PIECE` bytes; empty ones are left out.

    Files and iterators are read in a thread, since they may block.
    """
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogateescape")
    if isinstance(source, bytes | bytearray | memoryview):
        whole = bytes(source)
        for start in range(0, len(whole), PIECE):
            yield whole[start : start + PIECE]
        return
    iterator = _read(source)
    try:
        while (item := await asyncio.to_thread(next, iterator, _END)) is not _END:
            raw = _bytes(item)
            for start in range(0, len(raw), PIECE):
                yield raw[start : start + PIECE]
    finally:
        if isinstance(source, os.PathLike):
            iterator.close()


def _read(source: Any) -> Any:
    if isinstance(source, os.PathLike):
        return _read_path(source)
    if hasattr(source, "read"):
        # read1 gives what a pipe has, where read would wait for all of it.
        read = getattr(source, "read1", None) or source.read
        return _until_empty(read)
    return iter(source)


def _read_path(path: os.PathLike[str]) -> Iterator[str | bytes]:
    with open(path, "rb") as file:
        yield from _until_empty(file.read)


def _until_empty(read: Any) -> Iterator[str | bytes]:
    while piece := read(16 * PIECE):
        yield piece


def _bytes(item: object) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "surrogateescape")
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    raise InvalidRequest(
        f"stdin gave {type(item).__name__}, not str or bytes", cure="convert it first"
    )
