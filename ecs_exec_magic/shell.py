"""A kept shell, in blocking calls: one session, many commands, its state kept between them.

Knows how a caller's thread waits for commands in a session. Never knows how sessions are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import EcsExecError, InvalidRequest, SessionLost
from .portal import portal
from .results import OutputEvent
from .running import watch
from .warm import MAX_IDLE, ShellRun, WarmSession, close_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .portal import Bridge
    from .results import CommandResult

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

    def __init__(
        self, api: AwsApi, ref: ContainerRef, bridge: Bridge, *, max_idle: float = MAX_IDLE
    ) -> None:
        if not max_idle > 0:
            raise InvalidRequest(f"max_idle={max_idle!r} is not possible", cure="give seconds")
        self.ref = ref
        self._api = api
        self._bridge = bridge
        self._max_idle = max_idle
        self._session: WarmSession | None = None
        self._closed = ""
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
        timeout: float | None = None,
        check: bool = False,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CommandResult:
        """Run a command in the shell itself, and wait for its end; it has no input.

        What it sets stays: directory, variables, functions, options, traps. ``exit`` ends the
        shell, as does what ends a script: ``set -e``, ``exec``, an unset ``${x?}``. A mistake in
        syntax, or of a builtin, does not.

        Args:
            command: a string is evaluated by the shell; a list is a program, or a function, and its
                arguments.
            timeout: seconds; then what the shell runs gets SIGINT, and 3 s later the shell is
                ended.
            check: raise on an exit code other than 0.

        Raises:
            CommandFailed: ``check`` was asked for, and the exit code is not 0.
            CommandTimeout: its time was up; :attr:`over` says whether the shell is.
            Interrupted: the interrupt key was pressed. The first press is for what the shell runs,
                the second ends the shell.
            SessionLost: the shell was over, and the command was not run; or it ended meanwhile,
                and what became of the command is unknown. The error says which.
        """
        if timeout is not None and not 0 < timeout < 1e8:
            raise InvalidRequest(f"a timeout of {timeout!r} s is not possible")

        def make(
            emit: Callable[[Any, int], object], gate: Callable[[], Awaitable[None]]
        ) -> ShellRun:
            return ShellRun(
                lambda: self._opened((lambda text: emit(text, 0)) if on_notice else None),
                self.ref,
                command,
                timeout=timeout,
                max_bytes=max_bytes,
                on_output=(lambda event: emit(event, len(event.data))) if on_output else None,
                on_batch=gate,
            )

        def show(item: OutputEvent | str) -> None:
            if isinstance(item, OutputEvent):
                if on_output is not None:
                    on_output(item)
            elif on_notice is not None:
                on_notice(item)

        result = watch(self._bridge, make, show, on_tick)
        return result.check() if check else result

    def close(self, why: str = "it was closed") -> None:
        """End the shell and what runs in it, and free its place; closing again does nothing."""
        session, self._closed = self._session, self.over or why
        if session is not None:
            self._bridge.call(session.close(why))

    async def _opened(self, on_notice: Callable[[str], object] | None = None) -> WarmSession:
        if self.over:
            raise _over(self)
        if self._session is None:
            self._session = await WarmSession.open(
                self._api, self.ref, max_idle=self._max_idle, on_notice=on_notice
            )
        return self._session


def _over(shell: WarmShell) -> EcsExecError:
    return SessionLost(
        f"the shell in {shell.ref} is over: {shell.over}",
        cause="a shell that has ended cannot be gone on with, and its state is gone",
        cure="open another; this command was not run",
    )
