"""Containers that this host's kernel isolates, by the fork server; also those of no isolation.

Knows root directories, the helper's messages and a container's life. Never knows sessions or AWS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from ..waiting import wait_for
from . import image as images
from .containers import TERMINATED, Container, Events, Process, StartError
from .forks import ForkError, Link
from .leftovers import remove
from .networks import HostNetwork, Network, PrivateNetwork

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .containers import ContainerSpec
    from .pages import PageServer
    from .runtimes import LocalRuntime

__all__ = ["LocalContainer", "LocalPod"]

_START_LIMIT = 20.0  # seconds
_END_LIMIT = 10.0
_LISTEN_LIMIT = 5.0
_RECHECK = 0.02
_CHUNK = 1 << 16
_NO_EVENTS = Events(lambda _name, _data: None, lambda _name, _code: None)


class LocalContainer(Container):
    """One container below a root directory.

    Args:
        root: an empty or absent directory that becomes its root directory.
        image: what it holds.
        runtime: how it is isolated.
        hostname: its name within.
        address: its private address, for ``/etc/hosts``.
        environment: further variables for every command.
        name: its name for ``events``.
        network: the task's; one of its own when None.
        workdir: where commands start; empty for the image's own.
        read_only: whether commands cannot write to its root file system.
        main: its main process, or None to only wait.
        web_port: serve its web root there in place of a main process.
        events: what becomes of the main process's output and end.
    """

    def __init__(
        self,
        root: Path,
        image: images.Image,
        runtime: LocalRuntime,
        *,
        hostname: str,
        address: str,
        environment: Mapping[str, str],
        name: str = "",
        network: Network | None = None,
        workdir: str = "",
        read_only: bool = False,
        main: Sequence[str] | None = None,
        web_port: int | None = None,
        events: Events = _NO_EVENTS,
    ) -> None:
        self.name = name
        self.root = root
        self.image = image
        self._runtime = runtime
        self._hostname = hostname
        self._address = address
        self._environment = dict(environment)
        self._network = network or _network(runtime)
        self._owns_network = network is None
        self._workdir = workdir or image.workdir
        self._read_only = read_only
        self._main_argv = list(main) if main is not None else None
        self._web_port = web_port
        self._events = events
        self._pages: PageServer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[int] | None = None
        self._main: Process | None = None
        self._watching: asyncio.Task[int] | None = None
        self._link: Link | None = None
        self._ready: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._running: dict[int, asyncio.Future[int]] = {}
        self._number = 0
        self._stopped = False

    @property
    def eager(self) -> bool:
        """Whether it is to start with its task: unless its main process is its image's own."""
        return self._main_argv is not None and self._main_argv != list(self.image.main)

    @property
    def workdir(self) -> str:
        """Where commands start."""
        if self._runtime.isolated:
            return self._workdir
        return str(self.root / self._workdir.lstrip("/"))

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

    # start

    async def start(self) -> None:
        """Start the container and its main process, if they do not run yet."""
        if self._stopped:
            raise StartError("the container has stopped")
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        # The start belongs to the container, not to the session that asked first: cut off half
        # way, it would leave processes that nobody knows of.
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            await self._make()
        except (OSError, asyncio.TimeoutError) as error:
            text = getattr(error, "strerror", None) or str(error) or "no answer in time"
            raise StartError(text) from error

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        layout = await loop.run_in_executor(
            None, images.build, self.root, self.image, self._hostname, self._address, self._workdir
        )
        enclosure = self._runtime.enclosure(layout, self._hostname, read_only=self._read_only)
        request = {
            "op": "container",
            "argv": enclosure.argv,
            "env": {"PATH": os.environ.get("PATH", os.defpath)},
            "namespaces": enclosure.namespaces,
            "options": enclosure.options,
        }
        self._ready = loop.create_future()
        self._runtime.server.acquire()
        try:
            self._link = await self._runtime.server.open(
                request, await self._network.handles(), self._on_message, self._on_end
            )
        except ForkError as error:
            self._gone.set()
            raise StartError(str(error)) from None
        await wait_for(self._ready, _START_LIMIT)
        if self._main_argv is not None:
            self._main = await self._spawn(self._main_argv, self.environment(), "separate")
            self._watching = asyncio.ensure_future(self._watch(self._main))
            if self.image.is_web_server and self._main_argv == list(self.image.main):
                await self._listening(self.image.port)
        elif self._web_port is not None:
            from .pages import PageServer  # with aiohttp, which the package loads only when needed

            self._pages = PageServer(self.root / images.WEB_ROOT)
            await self._pages.start(await self._network.listen(self._web_port))

    async def _listening(self, port: int) -> None:
        """Wait until a web server answers; when it never does its own log says why."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LISTEN_LIMIT
        while self._watching is not None and not self._watching.done() and loop.time() < deadline:
            with contextlib.suppress(OSError):
                (await self._network.connect(port)).close()
                return
            await asyncio.sleep(_RECHECK)

    # processes

    async def spawn(self, argv: Sequence[str], env: Mapping[str, str], mode: str) -> Process:
        """Start a process."""
        await self.start()
        return await self._spawn(argv, env, mode)

    async def _spawn(self, argv: Sequence[str], env: Mapping[str, str], mode: str) -> Process:
        if not argv:
            raise StartError("exec: no command")
        reply = await self._ask(
            {
                "op": "spawn",
                "argv": list(argv),
                "env": dict(env),
                "cwd": self.workdir,
                "mode": mode,
            }
        )
        if "error" in reply:
            raise StartError(reply["error"])
        for handle in reply["handles"]:
            os.set_blocking(handle, False)
        return Process(reply["pid"], reply["handles"], reply["ended"])

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._link is None:
            raise StartError("the container has stopped")
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        try:
            await self._link.send({**request, "id": self._number})
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                self._abandon(answer.result())
            answer.cancel()
            raise

    def _abandon(self, reply: dict[str, Any]) -> None:
        """Nobody waits for it any more: end what was just started."""
        for handle in reply["handles"]:
            os.close(handle)
        if "pid" in reply and self._link is not None:
            request = {"op": "kill", "pid": reply["pid"], "signal": signal.SIGKILL}
            asyncio.ensure_future(self._link.send(request)).add_done_callback(lambda _: None)

    async def kill(self, process: Process, number: int) -> None:
        """Send a signal to a process, if it still runs."""
        if self._link is not None and not process.ended.done():
            await self._link.send({"op": "kill", "pid": process.pid, "signal": number})

    async def has(self, program: str) -> bool:
        """Whether a program is on its ``PATH``."""
        await self.start()
        path = self.environment()["PATH"]
        return "path" in await self._ask({"op": "which", "program": program, "path": path})

    async def connect(self, port: int) -> socket.socket:
        """Return a connection to a port inside the task's network."""
        await self.start()
        return await self._network.connect(port)

    def _on_message(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            ended = self._running.pop(message["exit"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["status"])
        elif "id" in message:
            if "pid" in message:
                message["ended"] = asyncio.get_running_loop().create_future()
                self._running[message["pid"]] = message["ended"]
            answer = self._waiting.pop(message["id"])
            if answer.done():
                self._abandon(message)
            else:
                answer.set_result(message)
        elif self._ready is not None and not self._ready.done():
            if "error" in message:
                self._ready.set_exception(StartError(message["error"]))
            else:
                self._ready.set_result(None)

    def _on_end(self) -> None:
        """The helper is gone: nothing waits for ever."""
        self._link = None
        self._gone.set()
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

    # the end

    async def _watch(self, main: Process) -> int:
        """Pass on the main process's output; when it ends so does the container."""
        pumps = [asyncio.ensure_future(self._pump(handle)) for handle in main.files]
        status = await main.ended
        if self._link is not None:
            self._link.hang_up()
        _, held = await asyncio.wait(pumps, timeout=_END_LIMIT)
        for pump in held:  # a process that got away has its output open
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        code = os.waitstatus_to_exitcode(status)
        code = code if code >= 0 else 128 - code
        if not self._stopped:
            self._stopped = True
            self._events.on_exit(self.name, code)
        return code

    async def _pump(self, handle: int) -> None:
        loop = asyncio.get_running_loop()
        more = asyncio.Event()
        loop.add_reader(handle, more.set)
        try:
            while True:
                try:
                    data = os.read(handle, _CHUNK)
                except BlockingIOError:
                    more.clear()
                    await more.wait()
                    continue
                if not data:
                    return
                self._events.on_output(self.name, data)
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    async def stop(self, grace: float = 0.0) -> int:
        """End every process of the container and remove its files; return the exit code."""
        self._stopped = True
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._stop(grace))
        elif not grace and self._main is not None:
            await self.kill(self._main, signal.SIGKILL)
        return await asyncio.shield(self._ending)

    async def _stop(self, grace: float) -> int:
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        code = 0 if self.image.main else TERMINATED
        if self._main is not None and self._watching is not None:
            await self.kill(self._main, signal.SIGTERM)
            await asyncio.wait([self._main.ended], timeout=grace)
        if self._pages is not None:
            await self._pages.stop()
        if self._link is not None:
            self._link.hang_up()
            with contextlib.suppress(asyncio.TimeoutError):
                await wait_for(self._gone.wait(), _END_LIMIT)
        if self._link is not None:
            self._link.close()
        if self._watching is not None:
            code = await self._watching
        if self._owns_network:
            self._network.close()
        if self._starting is not None and self._ready is not None:
            await self._runtime.server.release()
        await asyncio.get_running_loop().run_in_executor(None, remove, self.root)
        return code


def _network(runtime: LocalRuntime) -> Network:
    return PrivateNetwork(runtime.server) if runtime.isolated else HostNetwork()


class LocalPod:
    """The containers of one task, which share a network.

    Args:
        root: a directory for their root directories.
        runtime: how they are isolated.
        specs: what they are.
        events: what becomes of their main processes' output and ends.
    """

    def __init__(
        self, root: Path, runtime: LocalRuntime, specs: Sequence[ContainerSpec], events: Events
    ) -> None:
        self._root = root
        self._network = _network(runtime)
        self.containers: dict[str, Container] = {}
        for number, spec in enumerate(specs):
            image = images.find(spec.image)
            main = images.main_of(spec, image, runtime.isolated)
            self.containers[spec.name] = LocalContainer(
                root / str(number),
                image,
                runtime,
                hostname=spec.hostname,
                address=spec.address,
                environment=spec.environment,
                name=spec.name,
                network=self._network,
                workdir=spec.working_directory,
                read_only=spec.read_only,
                main=main,
                web_port=images.web_port(spec, image) if main is None else None,
                events=events,
            )

    async def close(self) -> None:
        """Let go of the network and the directory."""
        self._network.close()
        await asyncio.get_running_loop().run_in_executor(None, remove, self._root)
