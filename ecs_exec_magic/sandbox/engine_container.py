"""One container that an engine runs.

Knows its creation, commands in it and its end. Never knows sessions or AWS.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..waiting import wait_for
from . import engine_streams as streams
from . import image as images
from .containers import KILLED, TERMINATED, Container, Process, StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .containers import ContainerSpec, Events
    from .engine import Engine, EnginePod

__all__ = ["EngineContainer", "EngineProcess"]

_WAIT = ["sleep", "2147483647"]
_LOOK_UP = """case $1 in
*/*) f=$1 ;;
*) f=; IFS=:; for d in $PATH; do
    if [ -f "${d:-.}/$1" ] && [ -x "${d:-.}/$1" ]; then f=${d:-.}/$1; break; fi
done; unset IFS ;;
esac
"""
_RUN = (
    _LOOK_UP
    + """if [ -z "$f" ]; then echo missing
elif [ ! -e "$f" ]; then echo absent
elif [ -d "$f" ] || [ ! -x "$f" ]; then echo denied
else echo "pid $$"; unset f d; exec "$@"
fi"""
)
"""Reports on a first line, then becomes the command: its id is what a signal needs."""
_GO_ERROR = re.compile(r'exec: "[^"]*": [^:]*(?::[^:]*no such file[^:]*)?')
_NO_DETACH = "ctrl-@,ctrl-_,ctrl-^,ctrl-]"
"""The engine swallows the keys that detach; these, in this order, nobody types."""
_LISTEN_LIMIT = 5.0  # seconds
_RECHECK = 0.05
_KILL_LIMIT = 10.0


@dataclass(slots=True)
class EngineProcess(Process):
    """A process that the engine runs.

    Attributes:
        container: where.
        exec_id: as the engine calls it.
    """

    container: EngineContainer
    exec_id: str

    async def resize(self, rows: int, cols: int) -> None:
        """Set the terminal's size."""
        if not self.ended.done():
            await self.container.resize(self.exec_id, rows, cols)


class EngineContainer(Container):
    """One container of a pod.

    Args:
        engine: runs it.
        pod: whose network it is in.
        spec: what it is.
        events: what becomes of its main process's output and end.
    """

    def __init__(self, engine: Engine, pod: EnginePod, spec: ContainerSpec, events: Events) -> None:
        self.name = spec.name
        self._engine = engine
        self._pod = pod
        self._spec = spec
        self._events = events
        self._kind = images.find(spec.image)
        self._id: str | None = None
        self._network_id = ""
        self._config: dict[str, Any] = {}
        self._shell = True
        self._stopped = False
        self._starting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[int] | None = None
        self._watching: asyncio.Task[int] | None = None
        self._streaming: set[asyncio.Task[None]] = set()

    @property
    def eager(self) -> bool:
        """Whether it is to start with its task."""
        return self._spec.has_own_main or self._kind is images.PLAIN

    @property
    def workdir(self) -> str:
        """Where commands start."""
        return self._config.get("WorkingDir") or self._spec.working_directory or "/"

    def environment(self) -> dict[str, str]:
        """What the agent's environment is; the image's own part is known once it has started."""
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": self._spec.hostname,
            "HOME": "/root",
        }
        for pair in self._config.get("Env") or ():
            name, _, value = pair.partition("=")
            env[name] = value
        return {**env, **self._spec.environment}

    # start

    async def start(self) -> None:
        """Start the container and its main process, if they do not run yet."""
        if self._stopped:
            raise StartError("the container has stopped")
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        from .engine import EngineError

        engine, spec = self._engine, self._spec
        try:
            tag, stand_in = await engine.call(engine.image, spec.image)
            network = await self._pod.network_of(self)
            made = await engine.call(
                engine.api.create_container, tag, **self._settings(stand_in, network)
            )
            self._id = str(made["Id"])
            self._network_id = network or self._id
            about = await engine.call(engine.api.inspect_container, self._id)
            self._config = about["Config"]
            output = await engine.hijack(
                f"/containers/{self._id}/attach?stream=1&stdout=1&stderr=1", {}
            )
            try:
                await engine.call(engine.api.start, self._id)
            except BaseException:
                output.close()
                raise
        except EngineError as error:
            raise StartError(_go_error(str(error))) from None
        self._watching = asyncio.ensure_future(self._watch(output))
        if self._kind.is_web_server and not spec.has_own_main:
            await self._listening(self._kind.port)

    def _settings(self, stand_in: bool, network: str | None) -> dict[str, Any]:
        spec = self._spec
        command = list(spec.command) if spec.command else None
        if not spec.has_own_main:
            if stand_in:
                command = list(self._kind.main) or _WAIT
            elif not self._kind.main and not self.eager:
                command = _WAIT  # its own would be a shell that ends at once
        host: dict[str, Any] = {
            "init": spec.init or not spec.has_own_main,
            "read_only": spec.read_only,
        }
        if spec.memory:
            host["mem_limit"] = f"{spec.memory}m"
        settings: dict[str, Any] = {
            "command": command,
            "environment": {**(self._kind.environment if stand_in else {}), **spec.environment},
            "labels": self._engine.labels(),
        }
        if network is None:
            settings["hostname"] = spec.hostname
            settings["ports"] = list(spec.ports)
            host["port_bindings"] = dict.fromkeys(spec.ports, ("127.0.0.1",))
        else:
            host["network_mode"] = f"container:{network}"
            if self._engine.is_podman:  # Docker gives the other container's and takes none
                settings["hostname"] = spec.hostname
        if spec.entry_point:
            settings["entrypoint"] = list(spec.entry_point)
        workdir = spec.working_directory or (self._kind.workdir if stand_in else "")
        if workdir:
            settings["working_dir"] = workdir
        return {**settings, "host_config": self._engine.api.create_host_config(**host)}

    async def _listening(self, port: int) -> None:
        """Wait until a web server answers; when it never does its own log says why."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LISTEN_LIMIT
        while self._watching is not None and not self._watching.done() and loop.time() < deadline:
            with contextlib.suppress(OSError, asyncio.TimeoutError), await self._connect(port) as s:
                await loop.sock_sendall(s, b"HEAD / HTTP/1.0\r\n\r\n")
                if await wait_for(loop.sock_recv(s, 1), 1):
                    return
            await asyncio.sleep(_RECHECK)

    # processes

    async def spawn(self, argv: Sequence[str], env: Mapping[str, str], mode: str) -> Process:
        """Start a process."""
        await self.start()
        if not argv:
            raise StartError("exec: no command")
        if any("\0" in word for word in (*argv, *env, *env.values())):
            raise StartError(f"fork/exec {argv[0]}: invalid argument")
        from .engine import EngineError

        try:
            if self._shell:
                # On two streams the engine would not keep the order of what was written.
                script = _RUN.replace('"$@"', '"$@" 2>&1') if mode == "merged" else _RUN
                process = await self._exec(["sh", "-c", script, "sh", *argv], argv, env, mode)
                if process is not None:
                    return process
                self._shell = False
            process = await self._exec(list(argv), argv, env, mode, reports=False)
        except (EngineError, OSError) as error:
            raise StartError(_go_error(str(error))) from None
        assert process is not None
        return process

    async def _exec(
        self,
        words: list[str],
        argv: Sequence[str],
        env: Mapping[str, str],
        mode: str,
        *,
        reports: bool = True,
    ) -> EngineProcess | None:
        """Start a command; None when the image has no shell to report what became of it."""
        engine, tty = self._engine, mode == "terminal"
        made = await engine.call(
            engine.api.exec_create,
            self._id,
            words,
            stdin=tty,
            tty=tty,
            user="0",
            environment=[f"{name}={value}" for name, value in env.items()],
            detach_keys=_NO_DETACH if tty else None,
        )
        exec_id = str(made["Id"])
        far = await engine.hijack(f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty})
        try:
            source: streams.Source = streams.Raw(far) if tty else streams.Framed(far)
            pid = 0
            if reports:
                report = await source.read_line()
                if "executable file not found" in report and '"sh"' in report:
                    far.close()
                    return None
                pid = _reported(report, argv[0])
        except BaseException:
            far.close()
            raise
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        files, pump = streams.pump(source, far, mode)
        process = EngineProcess(pid, files, ended, self, exec_id)
        task = asyncio.ensure_future(self._follow(process, pump, far))
        self._streaming.add(task)
        task.add_done_callback(self._streaming.discard)
        return process

    async def _follow(self, process: EngineProcess, pump: streams.Pump, far: socket.socket) -> None:
        """Carry a process's streams to their end, and learn its exit code."""
        from .engine import EngineError

        code = KILLED
        try:
            broken = await pump()
            if broken is not None:
                await self.kill(process, broken)
            far.close()
            for _ in range(200):
                about = await self._engine.call(self._engine.api.exec_inspect, process.exec_id)
                if not about["Running"]:
                    code = int(about["ExitCode"] or 0)
                    break
                await asyncio.sleep(_RECHECK)
        except EngineError:
            pass  # removed with its container
        finally:
            far.close()
            if not process.ended.done():
                process.ended.set_result(code << 8)

    async def resize(self, exec_id: str, rows: int, cols: int) -> None:
        """Set the size of a command's terminal."""
        from .engine import EngineError

        with contextlib.suppress(EngineError):  # it has just ended
            await self._engine.call(self._engine.api.exec_resize, exec_id, rows, cols)

    async def kill(self, process: Process, number: int) -> None:
        """Send a signal to a process, from inside: its id is known there."""
        if process.pid and not process.ended.done():
            await self._quietly(["sh", "-c", f"kill -{number} {process.pid}"])

    async def _quietly(self, words: list[str]) -> int:
        """Run a command without streams; return its exit code."""
        from .engine import EngineError

        api = self._engine.api

        def work() -> int:
            made = api.exec_create(self._id, words, user="0")
            api.exec_start(made["Id"])
            return int(api.exec_inspect(made["Id"])["ExitCode"] or 0)

        try:
            return await self._engine.call(work)
        except EngineError:
            return KILLED

    async def has(self, program: str) -> bool:
        """Whether a program is on its ``PATH``."""
        await self.start()
        script = _LOOK_UP + '[ -n "$f" ] && [ -x "$f" ]'
        return await self._quietly(["sh", "-c", script, "sh", program]) == 0

    async def connect(self, port: int) -> socket.socket:
        """Return a connection to a port: a published one, else at the container's address."""
        await self.start()
        return await self._connect(port)

    async def _connect(self, port: int) -> socket.socket:
        from .engine import EngineError

        try:
            about = await self._engine.call(self._engine.api.inspect_container, self._network_id)
        except EngineError as error:
            raise ConnectionRefusedError(str(error)) from None
        settings = about["NetworkSettings"]
        published = (settings.get("Ports") or {}).get(f"{port}/tcp")
        if published:
            address = ("127.0.0.1", int(published[0]["HostPort"]))
        else:
            networks = (settings.get("Networks") or {}).values()
            address = (next((n["IPAddress"] for n in networks if n["IPAddress"]), ""), port)
            if not address[0]:
                raise ConnectionRefusedError("the container has no address")
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return made

    # the end

    async def _watch(self, output: socket.socket) -> int:
        """Pass on the main process's output to its end; return its exit code."""
        from .engine import EngineError

        with output:
            source = streams.Framed(output)
            with contextlib.suppress(OSError):
                while (piece := await source.read()) is not None:
                    self._events.on_output(self.name, piece[1])
        code = KILLED
        try:
            while True:
                about = await self._engine.call(self._engine.api.inspect_container, self._id)
                if not about["State"]["Running"]:
                    code = int(about["State"]["ExitCode"])
                    break
                await asyncio.sleep(_RECHECK)
        except EngineError:
            pass  # somebody removed it
        if not self._stopped:
            self._stopped = True
            self._events.on_exit(self.name, code)
        return code

    async def stop(self, grace: float = 0.0) -> int:
        """End every process of the container and remove it; return the exit code."""
        self._stopped = True
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._stop(grace))
        elif not grace and self._watching is not None and not self._watching.done():
            await self._signal(signal.SIGKILL)
        return await asyncio.shield(self._ending)

    async def _stop(self, grace: float) -> int:
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        code = 0 if self._kind.main and not self._spec.has_own_main else TERMINATED
        if self._watching is not None:
            for number, limit in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_LIMIT)):
                if limit > 0 and not self._watching.done():
                    await self._signal(number)
                    await asyncio.wait([self._watching], timeout=limit)
            if not self._watching.done():
                self._watching.cancel()
            (result,) = await asyncio.gather(self._watching, return_exceptions=True)
            code = result if isinstance(result, int) else KILLED
        await self._remove()
        for task in list(self._streaming):
            task.cancel()
        await asyncio.gather(*self._streaming, return_exceptions=True)
        return code

    async def _signal(self, number: int) -> None:
        from .engine import EngineError

        with contextlib.suppress(EngineError):  # it has just ended
            await self._engine.call(self._engine.api.kill, self._id, int(number))

    async def _remove(self) -> None:
        from .engine import EngineError

        if self._id is not None:
            with contextlib.suppress(EngineError):  # somebody was faster
                await self._engine.call(
                    self._engine.api.remove_container, self._id, v=True, force=True
                )


def _go_error(text: str) -> str:
    """What Go's exec package said, out of the words of the engine around it."""
    found = _GO_ERROR.search(text)
    return found.group().strip() if found else text.strip()


def _reported(report: str, program: str) -> int:
    """The id in the first line of the shell's report.

    Raises:
        StartError: there is no such program, in the words of Go.
    """
    word, _, rest = report.partition(" ")
    if word == "pid" and rest.isdecimal():
        return int(rest)
    texts = {
        "missing": f'exec: "{program}": executable file not found in $PATH',
        "absent": f"fork/exec {program}: no such file or directory",
        "denied": f"fork/exec {program}: permission denied",
    }
    raise StartError(texts.get(report) or _go_error(report) or "the container has stopped")
