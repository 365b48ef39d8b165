"""One running container, and running commands in it.

Knows how to say in blocking and awaitable calls what a job does. Never knows how it was found.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .address import ContainerRef
from .aws import ports
from .copies import Copies
from .errors import InvalidRequest
from .forwarding.forward import Forward
from .forwarding.request import LOOPBACK, ForwardRequest
from .portal import on_loop
from .runner import Job, Method, Request, script_arguments
from .running import RunningCommand, watch_command
from .shell import WarmShell
from .stream import OutputStream
from .terminal.threads import Terminal
from .warm import MAX_IDLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .client import Client
    from .portal import Bridge
    from .results import CommandResult, OutputEvent

__all__ = ["Target"]


@dataclass(frozen=True, repr=False)
class Target(ContainerRef, Copies):
    """One running container; found by :meth:`Client.target`, and able to run commands.

    Attributes:
        note: which task was taken among several, as a sentence; empty if there was one.
    """

    note: str = field(default="", compare=False, repr=False)
    _client: Client | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, ref: ContainerRef, client: Client, note: str = "") -> Target:
        """A target from plain data."""
        values = {each.name: getattr(ref, each.name) for each in fields(ContainerRef)}
        return cls(**values, note=note, _client=client)

    @property
    def ref(self) -> ContainerRef:
        """The same as plain data, with no connection behind it."""
        values = {each.name: getattr(self, each.name) for each in fields(ContainerRef)}
        return ContainerRef(**values)

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"<Target {self.address}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    # -- running commands ------------------------------------------------------------------------

    def run(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CommandResult:
        """Run a command and wait for its end.

        Args:
            command: a string is given to ``sh -c``; a list is a program and its arguments, which
                no shell reads.
            stdin: text, bytes, a path, an open file, or an iterator of text or bytes.
            timeout: seconds from the command's start; then it gets SIGTERM, and SIGKILL 3 s later.
            check: raise on an exit code other than 0.
            method: ``start-session`` is the opt-in second way, without a terminal and faster; it
                needs ssm:StartSession, takes no stdin, and ECS does not log it.
            max_bytes: keep no more than this of each stream; the result is then ``truncated``.
            on_output: called in this thread with each piece of output as it comes.
            on_notice: called in this thread with a sentence when something takes long.
            on_tick: called in this thread ten times a second, whether something comes or not.

        Raises:
            CommandFailed: ``check`` was asked for, and the exit code is not 0.
            CommandTimeout: its time was up; ``.result`` holds what came.
            Interrupted: the interrupt key was pressed; ``.result`` holds what came.
            EcsExecError: see :mod:`ecs_exec_magic.errors`.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        return self._run(request, check, on_output, on_notice, on_tick)

    async def run_async(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """:meth:`run`, awaitable; cancelling it ends the command.

        ``on_output`` and ``on_notice`` are called on the caller's loop.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        client = self._connected()
        here = asyncio.get_running_loop()
        job = Job(
            client._api,
            self.ref,
            request,
            on_output=on_loop(here, on_output),
            on_notice=on_loop(here, on_notice),
        )
        result = await client._awaited(job.run())
        return result.check() if check else result

    def script(
        self,
        body: str,
        *,
        shell: str = "/bin/sh",
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CommandResult:
        """Run a whole script in a shell or another interpreter of the container.

        Args:
            body: the script.
            shell: a program with arguments, as in ``bash -e``, ``python3`` or ``psql -d app``. One
                that is not known to take a script as an argument gets it as its stdin.
        """
        request = Request.of_script(body, shell, stdin, timeout, method, max_bytes)
        return self._run(request, check, on_output, on_notice, on_tick)

    def stream(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
    ) -> OutputStream:
        """Run a command and iterate over its output as it comes.

        Leaving the loop early and closing the iterator ends the command; after the last event,
        ``.result`` is the whole.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        client = self._connected()

        def make(put: Callable[[OutputEvent], object], gate: Callable[[], Awaitable[None]]) -> Job:
            return Job(client._api, self.ref, request, on_output=put, on_batch=gate)

        return OutputStream(make, check=check)

    def terminal(
        self,
        command: str | Sequence[str] = "/bin/sh",
        *,
        script: str | None = None,
        on_output: Callable[[bytes], object],
        columns: int = 80,
        rows: int = 24,
        on_notice: Callable[[str], object] | None = None,
        on_made: Callable[[Terminal], object] | None = None,
    ) -> Terminal:
        """Run a program on a terminal: what is written is typed, and its output comes as it is.

        Args:
            command: a program and its arguments, as a list or as the agent splits it; no shell
                reads it, and nothing is wrapped around it.
            script: given to that program to run, as :meth:`script` does.
            on_output: see :class:`~.terminal.threads.Terminal`.
            on_made: called with the terminal before it opens, so that it can be closed meanwhile.

        Raises:
            InvalidRequest: how that program takes a script as an argument is not known.
            EcsExecError: see :mod:`ecs_exec_magic.errors`.
        """
        api = self._connected()._api
        if script is not None:
            words = command.split() if isinstance(command, str) else list(command)
            arguments = script_arguments(script, words) if words else None
            if arguments is None:
                raise InvalidRequest(
                    f"how {command!r} takes a script as an argument is not known",
                    cure="leave the script out, and type it",
                )
            command = arguments
        terminal = Terminal(on_output)
        if on_made is not None:
            on_made(terminal)
        return terminal.open(api, self.ref, command, columns, rows, on_notice)

    def shell(self, *, max_idle: float = MAX_IDLE) -> WarmShell:
        """One shell for many commands: directory, variables and functions are kept between them.

        ``with target.shell() as sh: sh.run("cd /tmp"); sh.run("pwd")``

        Args:
            max_idle: seconds without a command after which it is closed, and says so.
        """
        client = self._connected()
        return WarmShell(client._api, self.ref, max_idle=max_idle)

    def url(self, port: int) -> str:
        """Where that port of the container answers HTTP.

        The public address of the task on AWS, loopback in a practice cluster.

        Raises:
            InvalidRequest: it has no address that can be reached.
        """
        client = self._connected()
        return client._call(ports.container_url(client._api, self.ref, port))

    def forward(
        self,
        port: int,
        host: str | None = None,
        local_port: int = 0,
        *,
        bind: str = LOOPBACK,
        on_notice: Callable[[str], object] | None = None,
    ) -> Forward:
        """Make a port of the container, or of a host that it reaches, a port of this machine.

        What connects to :attr:`Forward.local_port` talks to it until :meth:`Forward.stop`, or the
        end of a ``with`` block. It holds one of the two sessions that the container's agent takes.

        Args:
            port: at the far end.
            host: a host as the container knows it; None for the container itself.
            local_port: on this machine; 0 for any that is free.
            bind: the local address to listen on; any but the default lets others in.
            on_notice: called in the package's own thread with a sentence when it takes long.

        Raises:
            InvalidRequest: the local port cannot be had.
            MethodUnavailable: the caller may not ``ssm:StartSession``; the error has the policy.
            StartFailed: the agent cannot forward it.
        """
        request = ForwardRequest(port, host or "", local_port, bind)
        return Forward.open(self._connected()._api, self.ref, request, on_notice)

    async def forward_async(
        self,
        port: int,
        host: str | None = None,
        local_port: int = 0,
        *,
        bind: str = LOOPBACK,
        on_notice: Callable[[str], object] | None = None,
    ) -> Forward:
        """:meth:`forward`, awaitable; cancelling it gives up.

        It is served by the package's own thread, whatever the caller's loop does meanwhile.
        ``on_notice`` is called on the caller's loop.
        """
        request = ForwardRequest(port, host or "", local_port, bind)
        told = on_loop(asyncio.get_running_loop(), on_notice)
        return await Forward.open_async(self._connected()._api, self.ref, request, told)

    def start(
        self,
        command: str | Sequence[str | bytes],
        *,
        shell: str | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_done: Callable[[], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> RunningCommand[CommandResult]:
        """Start a command and return at once; the rest is as for :meth:`run`.

        Args:
            shell: the command is a script for this interpreter, as for :meth:`script`.
            on_output: called in the package's own thread; it must not block.
            on_notice: likewise.
            on_done: likewise, when it has ended.
            on_tick: likewise, ten times a second while it runs.
        """
        request = Request.of(command, shell, stdin, timeout, method, max_bytes)
        job = Job(
            self._connected()._api, self.ref, request, on_output=on_output, on_notice=on_notice
        )
        return RunningCommand(job, check=check, on_done=on_done, on_tick=on_tick)

    def _run(
        self,
        request: Request,
        check: bool,
        on_output: Callable[[OutputEvent], object] | None,
        on_notice: Callable[[str], object] | None,
        on_tick: Callable[[], object] | None,
    ) -> CommandResult:
        client = self._connected()
        return self._watched(client._bridge, request, check, on_output, on_notice, on_tick)

    def _watched(
        self,
        bridge: Bridge,
        request: Request,
        check: bool,
        on_output: Callable[[OutputEvent], object] | None,
        on_notice: Callable[[str], object] | None,
        on_tick: Callable[[], object] | None,
    ) -> CommandResult:
        make = functools.partial(Job, self._connected()._api, self.ref, request)
        result = watch_command(bridge, make, on_output, on_notice, on_tick)
        return result.check() if check else result

    def _connected(self) -> Client:
        if self._client is None:
            raise InvalidRequest(
                f"{self} has been unpickled and has no connection",
                cause="connections and credentials do not travel with a target",
                cure=f"client.target({self.address!r}) makes a live one",
            )
        return self._client
