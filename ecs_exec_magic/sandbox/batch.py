"""A session without a terminal: NonInteractiveCommands (PROTOCOL 5.2 and 6.12).

Knows pipes, the exit code's message and the two signals. Never knows frames or the websocket.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from ..channel.frames import MAX_PAYLOAD, PayloadType
from .containers import Process, StartError
from .damage import OutputFilter
from .terminal import command_words, readable

if TYPE_CHECKING:
    from .agent import Agent

__all__ = ["BatchPlugin"]

_INTERRUPT, _QUIT = 0x03, 0x1C


class BatchPlugin:
    """Runs the command with pipes, or with a file when the streams are not kept apart."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._process: Process | None = None
        self._open: set[int] = set()

    async def run(self) -> str:
        """Run the command, send its output and, with separate streams, its exit code."""
        agent = self._agent
        mode = "separate" if agent.plan.separate else "merged"
        try:
            await agent.container.start()
            env = agent.container.environment()
            env["TERM"] = "xterm-256color"
            env.setdefault("LANG", "C.UTF-8")
            process = await agent.container.spawn(command_words(agent), env, mode)
        except StartError as error:
            if agent.plan.separate:
                await self._send_exit_code(1)
            await asyncio.sleep(agent.pace.batch_failure)
            await agent.send_stream(PayloadType.STDERR, str(error).encode())
            return ""
        self._process = process
        self._open = set(process.files)
        if agent.plan.separate:
            out, err = process.files
            pumps = [
                asyncio.ensure_future(self._pump(handle, kind, prefix.encode()))
                for handle, kind, prefix in (
                    (err, PayloadType.STDERR, agent.plan.prefixes[1]),
                    (out, PayloadType.OUTPUT, agent.plan.prefixes[0]),
                )
            ]
            try:
                await asyncio.gather(*pumps)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            await self._send_exit_code(_exit_code(await asyncio.shield(process.ended)))
        else:
            await asyncio.shield(process.ended)
            await self._send_file(process.files[0])
        return ""

    async def _send_exit_code(self, code: int) -> None:
        await self._agent.send_stream(PayloadType.EXIT_CODE, f"EXIT_CODE: {code}".encode())

    async def _pump(self, handle: int, payload_type: int, prefix: bytes) -> None:
        damage = OutputFilter()
        line_start = True
        while True:
            try:
                data = os.read(handle, MAX_PAYLOAD - len(prefix))
            except BlockingIOError:
                await readable(handle)
                continue
            if not data or not self._agent.active.is_set():
                break  # while paused the agent's reader gives up instead of waiting
            output = damage.feed(data)
            if output:
                begins = prefix if line_start else b""
                line_start = output.endswith(b"\n")
                await self._agent.send_stream(payload_type, begins + output)
            await asyncio.sleep(0)
        self._open.discard(handle)
        os.close(handle)

    async def _send_file(self, handle: int) -> None:
        damage = OutputFilter()
        while data := os.read(handle, MAX_PAYLOAD):
            output = damage.feed(data)
            if output:
                await self._agent.send_stream(PayloadType.OUTPUT, output)
            await asyncio.sleep(0)

    async def on_input(self, payload_type: int, payload: bytes) -> bool:
        """No stdin here: only the bytes for interrupt and quit mean something."""
        if payload_type == PayloadType.OUTPUT and self._process is not None:
            for byte, number in ((_INTERRUPT, signal.SIGINT), (_QUIT, signal.SIGQUIT)):
                if byte in payload:
                    await self._agent.container.kill(self._process, number)
        return True

    async def cancel(self) -> None:
        """SIGKILL to the started process only."""
        if self._process is not None:
            await self._agent.container.kill(self._process, signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes."""
        for handle in self._open:
            os.close(handle)
        self._open.clear()


def _exit_code(status: int) -> int:
    """Go's convention: a process ended by a signal has -1."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else -1
