"""A task's network: its containers share one, and this host reaches into it.

Knows namespaces by their descriptors. Never knows containers or what listens.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Protocol

from .forks import ForkError

if TYPE_CHECKING:
    from .forks import ForkServer

__all__ = ["HostNetwork", "Network", "PrivateNetwork"]


class Network(Protocol):
    """Where the containers of a task find each other on ``localhost``."""

    async def handles(self) -> list[int]:
        """The descriptors of its namespaces, made at the first call; empty where it has none."""

    async def connect(self, port: int) -> socket.socket:
        """Return a non-blocking connection to a port within. Raises OSError."""

    async def listen(self, port: int) -> socket.socket:
        """Return a socket that listens on a port within. Raises OSError."""

    def close(self) -> None:
        """Let go of it; it ends with its last process."""


class PrivateNetwork:
    """A network namespace that only the task's containers are in.

    Args:
        server: makes it, and sockets in it; to be in use (``acquire``) while this is.
    """

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._making: asyncio.Task[list[int]] | None = None
        self._closed = False

    async def handles(self) -> list[int]:
        """The user namespace and the network namespace.

        Raises:
            ForkError: this host does not allow it.
        """
        if self._closed:
            raise ForkError("the network has gone")
        if self._making is None:
            self._making = asyncio.ensure_future(self._server.ask({"op": "network"}))
        return await asyncio.shield(self._making)

    async def _socket(self, kind: str, port: int) -> socket.socket:
        try:
            (handle,) = await self._server.ask(
                {"op": "socket", "kind": kind, "port": port}, await self.handles()
            )
        except ForkError as error:
            raise OSError(str(error)) from error
        made = socket.socket(fileno=handle)
        made.setblocking(False)
        return made

    async def connect(self, port: int) -> socket.socket:
        """Return a connection to a port within."""
        return await self._socket("connect", port)

    async def listen(self, port: int) -> socket.socket:
        """Return a listening socket."""
        return await self._socket("listen", port)

    def close(self) -> None:
        """Close the descriptors; harmless when repeated."""
        self._closed = True
        making, self._making = self._making, None
        if making is not None:
            making.add_done_callback(_close_made)


def _close_made(making: asyncio.Task[list[int]]) -> None:
    if not making.cancelled() and making.exception() is None:
        for handle in making.result():
            os.close(handle)


class HostNetwork:
    """No network of its own: this host's loopback, where each port exists only once.

    What :meth:`listen` opens gets a free port of the host, and :meth:`connect` finds it by the
    number it was asked for.
    """

    def __init__(self) -> None:
        self._moved: dict[int, int] = {}

    async def handles(self) -> list[int]:
        """None."""
        return []

    async def connect(self, port: int) -> socket.socket:
        """Return a connection to a loopback port."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            address = ("127.0.0.1", self._moved.get(port, port))
            await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return made

    async def listen(self, port: int) -> socket.socket:
        """Return a socket that listens on some loopback port."""
        made = socket.create_server(("127.0.0.1", 0))
        made.setblocking(False)
        self._moved[port] = made.getsockname()[1]
        return made

    def close(self) -> None:
        """Nothing is held."""
