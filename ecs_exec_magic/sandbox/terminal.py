"""A session with a terminal: ECS Exec's only kind (PROTOCOL 6.2 to 6.9).

Knows the PTY, its output pump and its input. Never knows frames or the websocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
from typing import TYPE_CHECKING

from ..channel.frames import MAX_PAYLOAD, PayloadType
from ..waiting import wait_for
from .agent import Agent, AgentGone, Stuck, banner
from .containers import Process, StartError
from .damage import OutputFilter
from .words import SplitError, split

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TerminalPlugin", "command_words", "readable", "writable"]

_BUFFER = 4096
_RECHECK = 0.05


async def _until(add: Callable[..., object], remove: Callable[..., object], handle: int) -> None:
    event = asyncio.Event()
    add(handle, event.set)
    try:
        await event.wait()
    finally:
        remove(handle)


async def readable(handle: int) -> None:
    """Wait until a descriptor can be read."""
    loop = asyncio.get_running_loop()
    await _until(loop.add_reader, loop.remove_reader, handle)


async def writable(handle: int) -> None:
    """Wait until a descriptor can be written."""
    loop = asyncio.get_running_loop()
    await _until(loop.add_writer, loop.remove_writer, handle)


def command_words(agent: Agent) -> list[str]:
    """The command as the agent splits it.

    Raises:
        StartError: it cannot be split; the message is the agent's.
        AgentGone: there is no word in it.
    """
    command = agent.plan.command
    if not command.strip(" \t\r\n"):
        return ["sh"]
    try:
        words = split(command)
    except SplitError as error:
        raise StartError(f"Failed to parse commands input: {error}") from None
    if not words:  # nothing but a comment: the real agent's session worker panics
        raise AgentGone
    return words


class TerminalPlugin:
    """Runs the command on a terminal of its own; both output streams and the echo are one."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._process: Process | None = None
        self._master: int | None = None

    async def run(self) -> str:
        """Start the command, pump its output until no process holds the terminal."""
        agent = self._agent
        await agent.faults.lapse("terminal_delay")
        if agent.faults.never_ready:
            await asyncio.Event().wait()
        try:
            words = command_words(agent)
            try:
                await agent.container.start()
                env = agent.container.environment()
                env["TERM"] = "xterm-256color"
                env.setdefault("LANG", "C.UTF-8")
                self._process = await agent.container.spawn(words, env, "terminal")
            except StartError as error:
                raise StartError(f"Failed to start pty: {error}") from None
        except StartError as error:
            await asyncio.sleep(agent.pace.failure)
            return banner(f"Unable to start command: {error}")
        self._master = self._process.files[0]
        await asyncio.sleep(agent.pace.start)
        await self._pump(self._master)
        return ""

    async def _pump(self, master: int) -> None:
        damage = OutputFilter()
        while True:
            await self._agent.active.wait()
            try:
                data = os.read(master, _BUFFER)
            except BlockingIOError:
                await readable(master)
                continue
            except OSError as error:
                if error.errno == errno.EIO:  # the last holder of the terminal has closed it
                    return
                raise
            if not data:
                return
            for start in range(0, len(data), MAX_PAYLOAD):
                await self._agent.active.wait()
                output = damage.feed(data[start : start + MAX_PAYLOAD])
                if output:
                    await self._agent.send_stream(PayloadType.OUTPUT, output)
                await asyncio.sleep(self._agent.pace.read)

    async def on_input(self, payload_type: int, payload: bytes) -> bool:
        """Type into the terminal, or set its size; not ready until it is open."""
        master = self._master
        if master is None or self._process is None:
            return False
        if payload_type == PayloadType.OUTPUT:
            await self._write(master, payload)
        elif payload_type == PayloadType.SIZE:
            try:
                size = json.loads(payload)
                rows, cols = int(size.get("rows", 0)), int(size.get("cols", 0))
            except (ValueError, AttributeError, TypeError):
                raise Stuck from None
            await self._process.resize(rows, cols)
        return True

    async def _write(self, master: int, payload: bytes) -> None:
        while payload:
            try:
                payload = payload[os.write(master, payload) :]
            except BlockingIOError:
                with contextlib.suppress(asyncio.TimeoutError):
                    await wait_for(writable(master), _RECHECK)
            except OSError as error:
                raise Stuck from error

    async def cancel(self) -> None:
        """SIGKILL to the started process only; closing the terminal hangs up on the rest."""
        if self._process is not None:
            await self._agent.container.kill(self._process, signal.SIGKILL)

    def close(self) -> None:
        """Close the terminal."""
        if self._master is not None:
            os.close(self._master)
            self._master = None
