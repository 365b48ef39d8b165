"""The fork server's client: how the sandbox asks for networks, sockets and containers.

Knows the helper script's frames (``zygote.py``). Never knows what a container holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ForkError", "ForkServer", "Link", "raise_file_limit"]

_SCRIPT = str(Path(__file__).with_name("zygote.py"))
_ANSWER_LIMIT = 20.0  # seconds


class ForkError(Exception):
    """The fork server could not do it; the message says why, as the system words it."""


def raise_file_limit() -> None:
    """Allow this process as many descriptors as it may have: each session needs a few."""
    try:
        import resource
    except ImportError:  # not a Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS reports no limit and does not take it
            return


class Link:
    """One socket to a fork of the server.

    Args:
        ours: our end.
        on_message: takes each message; its descriptors are under ``handles``.
        on_end: called once, when the other end has gone or :meth:`close` was called.
    """

    def __init__(
        self,
        ours: socket.socket,
        on_message: Callable[[dict[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._on_message = on_message
        self._on_end = on_end
        self._pending = bytearray()
        self._handles: list[int] = []
        self._turn = asyncio.Lock()
        self._open = True
        asyncio.get_running_loop().add_reader(ours, self._on_readable)

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message; when the other end has gone, nothing happens (``on_end`` tells)."""
        data = _frame(message, 0)
        try:
            async with self._turn:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            return

    def hang_up(self) -> None:
        """Say that nothing more comes; the other end finishes and closes."""
        if self._open:
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close; harmless when repeated."""
        if not self._open:
            return
        self._open = False
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        for handle in self._handles:
            os.close(handle)
        self._handles.clear()
        self._on_end()

    def _on_readable(self) -> None:
        try:
            data, handles, _flags, _address = socket.recv_fds(self._socket, 1 << 16, 16)
        except BlockingIOError:
            return
        except OSError:
            data, handles = b"", []
        for handle in handles:
            os.set_inheritable(handle, False)
        self._handles += handles
        if not data:
            self.close()
            return
        self._pending += data
        while len(self._pending) >= 4:
            size = struct.unpack_from(">I", self._pending)[0]
            if len(self._pending) < 4 + size:
                return
            message = json.loads(self._pending[4 : 4 + size])
            del self._pending[: 4 + size]
            count = message["fds"]
            message["handles"], self._handles = self._handles[:count], self._handles[count:]
            self._on_message(message)


def _frame(message: dict[str, Any], handles: int) -> bytes:
    data = json.dumps({**message, "fds": handles}).encode()
    return struct.pack(">I", len(data)) + data


class ForkServer:
    """One bare interpreter that forks for every container; runs while anybody uses it."""

    def __init__(self) -> None:
        self._users = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._turn = asyncio.Lock()

    def acquire(self) -> None:
        """Use it; every use is to be given back by :meth:`release`."""
        self._users += 1

    async def release(self) -> None:
        """Give a use back; the last one ends the server."""
        self._users -= 1
        if self._users == 0:
            await self._end()

    async def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is not None:
            await asyncio.get_running_loop().run_in_executor(None, process.wait)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-X", "utf8", _SCRIPT],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return ours

    async def open(
        self,
        request: dict[str, Any],
        handles: Sequence[int],
        on_message: Callable[[dict[str, Any]], None],
        on_end: Callable[[], None],
    ) -> Link:
        """Have a request served by a fork of its own.

        Args:
            request: what is wanted.
            handles: descriptors that go with it; they stay the caller's.
            on_message: takes the fork's messages.
            on_end: called once when the fork has ended or the link was closed.

        Raises:
            ForkError: the server cannot be reached.
        """
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        try:
            with theirs:
                async with self._turn:
                    if self._process is not None and self._process.poll() is not None:
                        await self._end()  # somebody killed it; the next one takes over
                    if self._socket is None:
                        self._socket = self._start()
                    server, given = self._socket, [theirs.fileno(), *handles]
                    data = _frame(request, len(given))
                    while True:
                        try:
                            sent = socket.send_fds(server, [data], given)
                            break
                        except BlockingIOError:
                            await asyncio.sleep(0.001)
                    await loop.sock_sendall(server, data[sent:])
        except OSError as error:
            ours.close()
            raise ForkError(f"the fork server has gone: {error.strerror or error}") from error
        except BaseException:
            ours.close()
            raise
        return Link(ours, on_message, on_end)

    async def ask(self, request: dict[str, Any], handles: Sequence[int] = ()) -> list[int]:
        """Have something made that is handed out as descriptors, which are then the caller's.

        Raises:
            ForkError: it could not be made.
        """
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

        def on_message(message: dict[str, Any]) -> None:
            if answer.done():
                for handle in message["handles"]:
                    os.close(handle)
            elif "error" in message:
                answer.set_exception(ForkError(message["error"]))
            else:
                answer.set_result(message["handles"])

        def on_end() -> None:
            if not answer.done():
                answer.set_exception(ForkError("the fork server gave no answer"))

        link = await self.open(request, handles, on_message, on_end)
        try:
            return await wait_for(answer, _ANSWER_LIMIT)
        except asyncio.TimeoutError:
            raise ForkError("the fork server gave no answer in time") from None
        finally:
            link.close()
