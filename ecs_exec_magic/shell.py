"""A kept shell, in blocking calls: one session, many commands, its state kept between them.

Knows how a caller's thread waits for commands in a session. Never knows how sessions are made.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from .errors import EcsExecError, InvalidRequest, SessionLost
from .portal import ThreadBridge, awaited, on_loop, portal
from .runner import Request
from .running import watch_command
from .stream import OutputStream
from .warm import MAX_IDLE, ShellRun, WarmSession, close_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .results import CommandResult, OutputEvent

__all__ = ["WarmShell"]


class WarmShell:
    """One shell in a container, kept open for many commands; made by :meth:`Target.shell`.

    Its session begins with the first command, or with :meth:`open`, and holds one of the two places
    of the container until it is closed::

        with target.shell() as sh:
            sh.run("cd /var/log; n=5")
            print(sh.run("tail -n $n syslog").stdout)

    Args:
        max_idle: seconds without a command after which it is closed.
    """

    def __init__(self, api: AwsApi, ref: ContainerRef, *, max_idle: float = MAX_IDLE) -> None:
        if not max_idle > 0:
            raise InvalidRequest(f"max_idle={max_idle!r} is not possible", cure="give seconds")
        self.ref = ref
        self._api = api
        # Whichever bridge the client has: it lives between calls, when a caller's loop may rest,
        # and has to be ended with the process.
        self._bridge = ThreadBridge()
        self._max_idle = max_idle
        self._session: WarmSession | None = None
        self._closed = ""
        self._opening = asyncio.Lock()
        portal.at_stop(close_all)

    def __repr__(self) -> str:
        return f"<WarmShell in {self.ref}, {self.state}>"

    def __enter__(self) -> WarmShell:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- what it is ------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``unopened``, ``idle``, ``busy``, or ``ended:`` and why."""
        if self.over:
            return f"ended: {self.over}"
        if self._session is None:
            return "unopened"
        return "busy" if self._session.busy else "idle"

    @property
    def over(self) -> str:
        """Why no more commands can be run, in words; empty while they can."""
        return self._closed or (self._session.over if self._session is not None else "")

    @property
    def session_id(self) -> str:
        """Of Session Manager; empty before it is open."""
        return self._session.session_id if self._session is not None else ""

    @property
    def commands(self) -> int:
        """How many commands have been run."""
        return self._session.commands if self._session is not None else 0

    # -- what it does ----------------------------------------------------------------------------

    def open(self) -> WarmShell:
        """Begin the session now, if it has not begun.

        Raises:
            MethodUnavailable: the image lacks what a kept shell needs.
            EcsExecError: as :meth:`Target.run` says.
        """
        self._bridge.call(self._opened())
        return self

    def run(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CommandResult:
        """Run a command in the shell itself, and wait for its end.

        What it sets stays: directory, variables, functions, options, traps. ``exit`` ends the
        shell, as does what ends a script: ``set -e``, ``exec``, an unset ``${x?}``. A mistake in
        syntax, or of a builtin, does not.

        Args:
            command: a string is evaluated by the shell; a list is a program, or a function, and its
                arguments.
            stdin: text, bytes, a path, an open file, or an iterator of text or bytes. What the
                command has not read when it ends is thrown away. None for an empty one.
            timeout: seconds; then what the shell runs gets SIGINT, and 3 s later the shell is
                ended.
            check: raise on an exit code other than 0.
            max_bytes: keep no more than this of each stream; the result is then ``truncated``.
            on_output: called in this thread with each piece of output as it comes.
            on_notice: called in this thread with a sentence when something takes long.
            on_tick: called in this thread ten times a second, whether something comes or not.

        Raises:
            CommandFailed: ``check`` was asked for, and the exit code is not 0.
            CommandTimeout: its time was up; :attr:`over` says whether the shell is.
            Interrupted: the interrupt key was pressed. The first press is for what the shell runs,
                the second ends the shell.
            SessionLost: the shell was over, and the command was not run; or it ended meanwhile,
                and what became of the command is unknown. The error says which.
        """
        how = {"stdin": stdin, "timeout": timeout, "max_bytes": max_bytes}
        return self._run(command, how, check, on_output, on_notice, on_tick)

    def _run(
        self,
        command: str | Sequence[str | bytes],
        how: dict[str, Any],
        check: bool,
        on_output: Callable[[OutputEvent], object] | None,
        on_notice: Callable[[str], object] | None,
        on_tick: Callable[[], object] | None,
    ) -> CommandResult:
        make = functools.partial(self._made, command, **how)
        result = watch_command(self._bridge, make, on_output, on_notice, on_tick)
        return result.check() if check else result

    async def run_async(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """:meth:`run`, awaitable; cancelling it ends the shell.

        ``on_output`` and ``on_notice`` are called on the caller's loop. Several at once run one
        after the other, in the order in which they were begun.
        """
        here = asyncio.get_running_loop()
        job = self._made(
            command,
            stdin=stdin,
            timeout=timeout,
            max_bytes=max_bytes,
            on_output=on_loop(here, on_output),
            on_notice=on_loop(here, on_notice),
        )
        result = await awaited(self._bridge, job.run())
        return result.check() if check else result

    def script(
        self,
        body: str,
        *,
        shell: str | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CommandResult:
        """Run a whole script; the rest is as for :meth:`run`.

        Args:
            body: the script.
            shell: None for the kept shell itself, which then keeps what the script sets. Else an
                interpreter, as for :meth:`Target.script`: it is a program that the shell starts.
        """
        command: str | Sequence[str | bytes] = body
        if shell is not None:
            request = Request.of_script(body, shell, stdin)
            command, stdin = request.command, request.stdin
        how = {"stdin": stdin, "timeout": timeout, "max_bytes": max_bytes, "title": body}
        return self._run(command, how, check, on_output, on_notice, on_tick)

    def stream(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        max_bytes: int | None = None,
    ) -> OutputStream:
        """Run a command and iterate over its output as it comes.

        Leaving the loop early and closing the iterator sends SIGTERM to what the shell runs; after
        the last event, ``.result`` is the whole.
        """

        def make(
            put: Callable[[OutputEvent], object], gate: Callable[[], Awaitable[None]]
        ) -> ShellRun:
            how = {"stdin": stdin, "timeout": timeout, "max_bytes": max_bytes}
            return self._made(command, **how, on_output=put, on_batch=gate)

        return OutputStream(make, check=check)

    def _made(
        self,
        command: str | Sequence[str | bytes],
        *,
        on_notice: Callable[[str], object] | None = None,
        **how: Any,
    ) -> ShellRun:
        return ShellRun(lambda: self._opened(on_notice), self.ref, command, **how)

    def close(self, why: str = "it was closed") -> None:
        """End the shell and what runs in it, and free its place; closing again does nothing."""
        session, self._closed = self._session, self.over or why
        if session is not None:
            self._bridge.call(session.close(why))

    async def _opened(self, on_notice: Callable[[str], object] | None = None) -> WarmSession:
        async with self._opening:  # two who await their first commands get one session
            if self.over:
                raise _over(self)
            if self._session is None:
                session = await WarmSession.open(
                    self._api, self.ref, max_idle=self._max_idle, on_notice=on_notice
                )
                self._session = session
                if self._closed:  # meanwhile, and with no session yet to close
                    await session.close(self._closed)
                    raise _over(self)
            return self._session


def _over(shell: WarmShell) -> EcsExecError:
    return SessionLost(
        f"the shell in {shell.ref} is over: {shell.over}",
        cause="a shell that has ended cannot be gone on with, and its state is gone",
        cure="open another; this command was not run",
    )
