"""Standard input for the commands of a kept shell, one after the other.

Knows how much of it may be on its way, and how it ends when a command does not read it. Never knows
what the commands print.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from ..errors import SessionLost
from . import stdin
from .command import WINDOW

if TYPE_CHECKING:
    from .command import Channel

__all__ = ["ShellInput"]


class ShellInput:
    """Sends input as the far end takes it.

    The far end says of each piece that it has gone, whether a command read it or not: so what is on
    its way is known across commands, and never more than a pipe holds.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._room = WINDOW
        self._came = asyncio.Event()
        self._sending = asyncio.Lock()
        self._over = False
        self._task: asyncio.Task[None] | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What sends the input of the command that runs; it fails as its source does."""
        return self._task

    def credit(self, count: int) -> None:
        """The far end has got rid of so many bytes."""
        self._room += count
        self._came.set()

    def begin(self, source: Any) -> asyncio.Task[None]:
        """Start to send; the line of its command has been sent."""
        self._over = False
        self._task = asyncio.ensure_future(self._feed(source))
        return self._task

    async def end(self) -> None:
        """The command has ended: what it has not read is thrown away."""
        task, self._task = self._task, None
        if task is None:
            return
        async with self._sending:  # a piece that is cut in the middle would be the end of all order
            over, self._over = self._over, True
            task.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait({task})
            task.exception()
        if not over or self._room < WINDOW:
            with contextlib.suppress(SessionLost):
                await self._channel.send(b"D\n" if over else b"D\nE\n")

    async def _feed(self, source: Any) -> None:
        async with contextlib.aclosing(stdin.pieces(source)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                while self._room < len(piece):
                    self._came.clear()
                    await self._came.wait()
                await self._send(b"I %d\n" % len(piece) + piece, len(piece))
        await self._send(b"E\n", last=True)

    async def _send(self, data: bytes, count: int = 0, *, last: bool = False) -> None:
        async with self._sending:
            if self._over:
                return
            self._over = last
            self._room -= count
            with contextlib.suppress(SessionLost):
                await self._channel.send(data)
