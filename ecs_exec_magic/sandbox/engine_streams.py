"""The streams of a command that an engine runs.

Knows the engine's framing of two streams on one connection. Never knows what is in them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["Framed", "Pump", "Raw", "Source", "pump"]

_CHUNK = 1 << 16
_LINE_LIMIT = 4096
_STDERR = 2

Pump = Callable[[], Awaitable["int | None"]]
"""Carries streams to their end; returns the signal for the process when nobody reads them."""


class Source(Protocol):
    """What comes from the engine."""

    async def read(self) -> tuple[int, bytes] | None:
        """Return a stream's number and bytes of it, None at the end."""

    async def read_line(self) -> str:
        """Return the first line without its end; nothing behind it is lost."""


class _Lines:
    """Reads a first line piece by piece."""

    def __init__(self) -> None:
        self._pushed: list[tuple[int, bytes]] = []

    async def _next(self) -> tuple[int, bytes] | None:
        raise NotImplementedError

    async def read(self) -> tuple[int, bytes] | None:
        return self._pushed.pop(0) if self._pushed else await self._next()

    async def read_line(self) -> str:
        line = b""
        others: list[tuple[int, bytes]] = []
        while b"\n" not in line and len(line) < _LINE_LIMIT:
            piece = await self._next()
            if piece is None:
                break
            if piece[0] == _STDERR:
                # Engines carry both streams apart: what was written later can come sooner.
                others.append(piece)
                continue
            line += piece[1]
            if b"\n" in line:
                line, _, rest = line.partition(b"\n")
                if rest:
                    others.append((piece[0], rest))
                break
        if not line and others:  # the engine's own words, of a program that did not start
            line, others = b"".join(data for _, data in others), []
        self._pushed = others
        return line.decode("utf-8", "replace").strip()


class Raw(_Lines):
    """A terminal's bytes."""

    def __init__(self, far: socket.socket) -> None:
        super().__init__()
        self._far = far

    async def _next(self) -> tuple[int, bytes] | None:
        data = await asyncio.get_running_loop().sock_recv(self._far, _CHUNK)
        return (1, data) if data else None


class Framed(_Lines):
    """Two streams: before each piece its number and its size, in eight bytes."""

    def __init__(self, far: socket.socket) -> None:
        super().__init__()
        self._far = far
        self._left = 0
        self._stream = 1

    async def _next(self) -> tuple[int, bytes] | None:
        loop = asyncio.get_running_loop()
        while not self._left:
            head = b""
            while len(head) < 8:
                piece = await loop.sock_recv(self._far, 8 - len(head))
                if not piece:
                    return None
                head += piece
            self._stream, self._left = struct.unpack(">BxxxI", head)
        data = await loop.sock_recv(self._far, min(_CHUNK, self._left))
        if not data:
            return None
        self._left -= len(data)
        return self._stream, data


def pump(source: Source, far: socket.socket, mode: str) -> tuple[list[int], Pump]:
    """Return descriptors for a process's streams, and what carries the bytes to them."""
    if mode == "terminal":
        near, given = _pair()
        return [given], lambda: _terminal(source, far, near)
    if mode == "separate":
        (out, out_given), (err, err_given) = _pair(), _pair()
        return [out_given, err_given], lambda: _separate(source, out, err)
    handle, name = tempfile.mkstemp(prefix="ecs-exec-magic-session-")
    given = os.open(name, os.O_RDONLY)
    os.unlink(name)
    return [given], lambda: _merged(source, handle)


def _pair() -> tuple[socket.socket, int]:
    near, given = socket.socketpair()
    near.setblocking(False)
    given.setblocking(False)
    return near, given.detach()


async def _terminal(source: Source, far: socket.socket, near: socket.socket) -> int | None:
    """Both ways; when the near end closes, the terminal has hung up."""
    typing = asyncio.ensure_future(_type(near, far))
    showing = asyncio.ensure_future(_show(source, near))
    try:
        await asyncio.wait([typing, showing], return_when=asyncio.FIRST_COMPLETED)
        return None if showing.done() and showing.result() else signal.SIGHUP
    finally:
        for task in (typing, showing):
            task.cancel()
        await asyncio.gather(typing, showing, return_exceptions=True)
        near.close()


async def _type(near: socket.socket, far: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(near, _CHUNK):
            await loop.sock_sendall(far, data)
    except OSError:
        return


async def _show(source: Source, near: socket.socket) -> bool:
    """Return True at the end of the source, False when the near end closed first."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            piece = await source.read()
        except OSError:
            return True
        if piece is None:
            return True
        try:
            await loop.sock_sendall(near, piece[1])
        except OSError:
            return False


async def _separate(source: Source, out: socket.socket, err: socket.socket) -> int | None:
    loop = asyncio.get_running_loop()
    with out, err:
        while True:
            try:
                piece = await source.read()
            except OSError:
                return None
            if piece is None:
                return None
            try:
                await loop.sock_sendall(err if piece[0] == _STDERR else out, piece[1])
            except OSError:
                return signal.SIGPIPE


async def _merged(source: Source, handle: int) -> int | None:
    try:
        while True:
            try:
                piece = await source.read()
            except OSError:
                return None
            if piece is None:
                return None
            os.write(handle, piece[1])
    finally:
        os.close(handle)
