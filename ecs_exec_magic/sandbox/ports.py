"""A loopback port of this host that leads to a port of a container.

Knows byte streams in both directions. Never knows what speaks over them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from .containers import StartError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["PortProxy"]

_CHUNK = 1 << 16


class PortProxy:
    """Listens, and connects onward for each connection that comes.

    Args:
        connect: gives a connection to the container's port; OSError or StartError when there is
            none to be had, and the caller's connection is then closed.
    """

    def __init__(self, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1 and return it."""
        listener = socket.create_server(("127.0.0.1", 0))
        # In two steps: one who is cancelled in the second still has what to close.
        self._server = await asyncio.start_server(self._accept, sock=listener, start_serving=False)
        await self._server.start_serving()
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = await self._connect()
        except (OSError, StartError):
            writer.transport.abort()
            return
        except BaseException:
            writer.transport.abort()
            raise
        far_reader, far_writer = await asyncio.open_connection(sock=target)
        copies = [
            asyncio.ensure_future(_copy(reader, far_writer)),
            asyncio.ensure_future(_copy(far_reader, writer)),
        ]
        try:
            await asyncio.gather(*copies)
        finally:
            for copy in copies:
                copy.cancel()
            for end in (writer, far_writer):
                end.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy to the end of the source, then end the target's; a torn connection tears the other."""
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
        target.write_eof()
    except OSError:
        with contextlib.suppress(OSError):
            target.transport.abort()
