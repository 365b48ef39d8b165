"""Standard input from whatever the user has: text, bytes, a file, an iterator.

Knows how to cut a source into pieces without blocking the event loop. Never knows the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

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
    async for item in _from_thread(source):
        raw = _bytes(item)
        for start in range(0, len(raw), PIECE):
            yield raw[start : start + PIECE]


async def _from_thread(source: Any) -> AsyncIterator[object]:
    """Items of a source that may block, read in a thread of its own.

    A daemon, so that a source that blocks for ever, as a terminal does, keeps nothing from ending;
    a little ahead and no further, so that what the command does not want is left where it is.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[object, BaseException | None]] = asyncio.Queue()
    room = threading.Semaphore(2)
    over = threading.Event()

    def put(item: object, error: BaseException | None = None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(items.put_nowait, (item, error))

    def read() -> None:
        try:
            with contextlib.closing(_read(source)) as iterator:
                while not over.is_set():
                    if room.acquire(timeout=0.5):
                        item = next(iterator, _END)
                        put(item)
                        if item is _END:
                            return
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            put(_END, error)

    threading.Thread(target=read, name="ecs-exec-stdin", daemon=True).start()
    try:
        while True:
            item, error = await items.get()
            room.release()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        over.set()


def _read(source: Any) -> Generator[object, None, None]:
    if isinstance(source, os.PathLike):
        return _read_path(source)
    if hasattr(source, "read"):
        # read1 gives what a pipe has, where read would wait for all of it.
        read = getattr(source, "read1", None) or source.read
        return _until_empty(read)
    return (item for item in source)


def _read_path(path: os.PathLike[str]) -> Generator[object, None, None]:
    with open(path, "rb") as file:
        yield from _until_empty(file.read)


def _until_empty(read: Any) -> Generator[object, None, None]:
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
