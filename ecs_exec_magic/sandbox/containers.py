"""Practice containers: isolated places in which commands run.

Knows how to start a container, run processes in it and remove every trace. Never knows sessions,
frames or AWS.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import image as images

if TYPE_CHECKING:
    from .runtimes import Enclosure, Runtime

__all__ = ["Container", "Process", "StartError"]

_ZYGOTE = str(Path(__file__).with_name("zygote.py"))
_START_LIMIT = 20.0  # seconds


class StartError(Exception):
    """A process could not be started; the message is what Go's exec package would say."""


@dataclass(slots=True)
class Process:
    """A process that was started in a container.

    Attributes:
        pid: its id as the helper knows it.
        files: descriptors to read from: the terminal's master, or pipes; the caller closes them.
        ended: resolves to the wait status when the process has ended.
    """

    pid: int
    files: list[int]
    ended: asyncio.Future[int]


class Container:
    """One container, started when its first process is.

    Args:
        root: an empty or absent directory that becomes its root directory.
        image: what it holds.
        runtime: how it is isolated.
        hostname: its name within.
        address: its private address, for ``/etc/hosts``.
        environment: further variables for every command.
    """

    def __init__(
        self,
        root: Path,
        image: images.Image,
        runtime: Runtime,
        *,
        hostname: str,
        address: str,
        environment: dict[str, str],
    ) -> None:
        self.root = root
        self.image = image
        self._runtime = runtime
        self._hostname = hostname
        self._address = address
        self._environment = environment
        self._starting: asyncio.Task[None] | None = None
        self._enclosure: Enclosure | None = None
        self._helper: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._pending = bytearray()
        self._handles: list[int] = []
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready: asyncio.Future[None] | None = None
        self._running: dict[int, asyncio.Future[int]] = {}
        self._number = 0
        self._stopped = False

    @property
    def workdir(self) -> str:
        """Where commands start."""
        if self._runtime.isolated:
            return self.image.workdir
        return str(self.root / self.image.workdir[1:])

    def environment(self) -> dict[str, str]:
        """What the agent's environment is, before it adds its own variables (PROTOCOL 6.4)."""
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": self._hostname,
            "HOME": "/root",
            **self.image.environment,
            **self._environment,
        }
        if not self._runtime.isolated:
            env["PATH"] = os.environ.get("PATH") or env["PATH"]
            env["HOME"] = str(self.root / "root")
            env["TMPDIR"] = str(self.root / "tmp")
        return env

    async def start(self) -> None:
        """Start the container if it is not running yet."""
        if self._stopped:
            raise StartError("the container has stopped")
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        # The start belongs to the container, not to the session that asked first: cut off half
        # way, it would leave processes that nobody knows of.
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        layout = images.build(self.root, self.image, self._hostname, self._address)
        self._enclosure = await loop.run_in_executor(
            None, self._runtime.enclose, layout, self._hostname
        )
        ours = self._launch(self._enclosure)
        self._ready = loop.create_future()
        loop.add_reader(ours, self._on_readable)
        await asyncio.wait_for(self._ready, _START_LIMIT)

    def _launch(self, enclosure: Enclosure) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", _ZYGOTE, enclosure.entry],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={},
                cwd="/",
            )
        ours.setblocking(False)
        self._link = ours
        return ours

    async def spawn(self, argv: list[str], env: dict[str, str], mode: str) -> Process:
        """Start a process.

        Args:
            argv: the command; its first word is looked up in ``env["PATH"]``.
            env: its whole environment.
            mode: ``terminal`` (a PTY, whose master is returned), ``separate`` (two pipes), or
                ``merged`` (a file for both streams).

        Raises:
            StartError: it could not be started.
        """
        await self.start()
        if self._link is None:
            raise StartError("the container has stopped")
        loop = asyncio.get_running_loop()
        self._number += 1
        number = self._number
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._waiting[number] = answer
        await self._send(
            {
                "op": "spawn",
                "id": number,
                "argv": argv,
                "env": env,
                "cwd": self.workdir,
                "mode": mode,
            }
        )
        reply = await answer
        if "error" in reply:
            raise StartError(reply["error"])
        for handle in reply["handles"]:
            os.set_blocking(handle, False)
        return Process(reply["pid"], reply["handles"], self._running[reply["pid"]])

    async def kill(self, process: Process, number: int) -> None:
        """Send a signal to a process, if it still runs."""
        if self._link is not None and not process.ended.done():
            await self._send({"op": "kill", "pid": process.pid, "signal": number})

    async def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        assert self._link is not None
        await asyncio.get_running_loop().sock_sendall(
            self._link, struct.pack(">I", len(data)) + data
        )

    def _on_readable(self) -> None:
        assert self._link is not None
        try:
            data, handles, _flags, _address = socket.recv_fds(self._link, 1 << 16, 16)
        except BlockingIOError:
            return
        except OSError:
            data, handles = b"", []
        self._handles += handles
        if not data:
            self._lost()
            return
        self._pending += data
        while len(self._pending) >= 4:
            size = struct.unpack_from(">I", self._pending)[0]
            if len(self._pending) < 4 + size:
                return
            message = json.loads(self._pending[4 : 4 + size])
            del self._pending[: 4 + size]
            self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        count = message["fds"]
        message["handles"], self._handles = self._handles[:count], self._handles[count:]
        loop = asyncio.get_running_loop()
        if "ready" in message:
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
        elif "exit" in message:
            ended = self._running.pop(message["exit"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["status"])
        else:
            if "pid" in message:
                self._running[message["pid"]] = loop.create_future()
            answer = self._waiting.pop(message["id"])
            if answer.done():  # nobody waits any more: end what was just started
                for handle in message["handles"]:
                    os.close(handle)
            else:
                answer.set_result(message)

    def _lost(self) -> None:
        """The helper is gone, or we close it: nothing waits for ever."""
        if self._link is not None:
            asyncio.get_running_loop().remove_reader(self._link)
            self._link.close()
            self._link = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result({"error": "the container has stopped", "handles": []})
        for ended in self._running.values():
            if not ended.done():
                ended.set_result(9)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(StartError("the container could not be entered"))
        self._waiting.clear()
        self._running.clear()
        for handle in self._handles:
            os.close(handle)
        self._handles.clear()

    async def stop(self) -> None:
        """End every process of the container and remove its files."""
        self._stopped = True
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        self._lost()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._stop_blocking)

    def _stop_blocking(self) -> None:
        if self._helper is not None:
            try:
                self._helper.wait(5)
            except subprocess.TimeoutExpired:
                self._helper.kill()
                self._helper.wait()
        if self._enclosure is not None:
            self._enclosure.close()
        if self.root.exists():
            if sys.version_info >= (3, 12):
                shutil.rmtree(self.root, onexc=_open_up)
            else:
                shutil.rmtree(self.root, onerror=_open_up)


def _open_up(function: Any, path: str, _error: Any) -> None:
    """A directory that its owner may not enter is still ours to remove."""
    parent = os.path.dirname(path)
    for directory in (parent, path):
        if os.path.isdir(directory) and not os.path.islink(directory):
            os.chmod(directory, 0o700)
    if function in (os.scandir, os.listdir, os.open):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        function(path)
