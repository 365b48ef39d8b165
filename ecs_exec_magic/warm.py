"""A kept shell's session: asked for, kept alive, watched and given back; everything is asyncio.

Knows sessions and their places. Never knows threads, notebooks, or how targets are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .aws import sessions
from .aws.slots import slots
from .capture import Capture
from .channel.connection import Connection
from .channel.session import ConnectionOptions
from .errors import AgentNotConnected, EcsExecError, InvalidRequest, SessionLost
from .remote import stdin as stdin_source
from .remote.command import Outcome
from .remote.shell import Shell
from .remote.wrapper import shell_line, wrap_shell
from .results import CommandResult
from .runner import CLOSE_LIMIT, PROBE_AFTER, PROBES, check_task, explain_silence, settling
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .remote.wrapper import Wrapped
    from .results import OutputEvent

__all__ = ["MAX_IDLE", "ShellRun", "WarmSession", "close_all"]

MAX_IDLE = 3600.0
"""Seconds without a command after which a kept shell is closed, unless another time is given."""

KEEP_ALIVE = 240.0
"""Seconds between two signs of life from an idle shell; AWS ends a session that had none for 20
minutes (PROTOCOL 6.11)."""

_SIZE = (80, 24)
_GIVE_BACK_LIMIT = 60.0

_open: set[WarmSession] = set()


class WarmSession:
    """One session with a shell in it, made by :meth:`open`.

    Attributes:
        session_id: of Session Manager.
        request_id: of the call that started it; CloudTrail has it.
        commands: how many have been run.
    """

    def __init__(
        self,
        api: AwsApi,
        ref: ContainerRef,
        connection: Connection,
        wrapped: Wrapped,
        place: contextlib.AsyncExitStack,
        request_id: str,
        max_idle: float,
    ) -> None:
        self.session_id = connection.session_id
        self.request_id = request_id
        self.commands = 0
        self.busy = False
        self.shell = Shell(connection, wrapped, on_over=lambda: self._give_back_soon(self.over))
        self._api = api
        self._ref = ref
        self._connection = connection
        self._place = place
        self._max_idle = max_idle
        self._lock = asyncio.Lock()
        # One timer at a time: for what a command's silence means, or for signs of life without one.
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._sign: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._given_back: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        _open.add(self)

    def __repr__(self) -> str:
        return f"<WarmSession {self.session_id} {self.over or 'open'}>"

    @classmethod
    async def open(
        cls,
        api: AwsApi,
        ref: ContainerRef,
        *,
        max_idle: float = MAX_IDLE,
        on_notice: Callable[[str], object] | None = None,
    ) -> WarmSession:
        """Start a shell; its place in the container is held until it is closed.

        Raises:
            EcsExecError: as a command of its own would; MethodUnavailable where the image lacks
                what a kept shell needs.
        """
        if not max_idle > 0:
            raise InvalidRequest(f"max_idle={max_idle!r} is not possible", cure="give seconds")
        wrapped = wrap_shell()
        place = contextlib.AsyncExitStack()
        await place.enter_async_context(slots.hold(ref, on_notice))
        try:
            started = await sessions.start_exec(api, ref, wrapped.api_command, on_wait=on_notice)
            options = ConnectionOptions(ca_bundle=api.ca_bundle)
            connection = await Connection.open(started.grant, started.services, options)
        except BaseException:
            await place.aclose()
            raise
        session = cls(api, ref, connection, wrapped, place, started.request_id, max_idle)
        try:
            async with session._watched():
                await session.shell.open()
        except BaseException as error:
            session._give_back_soon("it did not open")
            if isinstance(error, AgentNotConnected):
                await explain_silence(api, error, ref)
            raise
        session._rest()
        return session

    @property
    def over(self) -> str:
        """Why it is over, in words; empty while commands can be run."""
        return self.shell.over

    async def run(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any,
        timeout: float | None,
        max_bytes: int | None,
        outcome: Outcome,
        on_output: Callable[[OutputEvent], object] | None,
        on_batch: Callable[[], Awaitable[object]] | None,
    ) -> None:
        """Run a command; ``outcome`` is what is known of it. One runs after the other."""
        async with self._lock:
            self.busy = True
            try:
                async with self._watched():
                    await self.shell.run(
                        command,
                        stdin=stdin,
                        timeout=timeout,
                        max_bytes=max_bytes,
                        on_output=on_output,
                        on_batch=on_batch,
                        outcome=outcome,
                    )
            except InvalidRequest:
                if outcome.began:  # what was to be its input is none
                    self.shell.finish("the input of a command could not be read to its end")
                raise
            except BaseException:
                self.shell.finish("a command in it did not come to an end that is known")
                raise
            finally:
                self.busy = False
                self.commands += 1
                self._rest()

    async def close(self, why: str = "it was closed", timeout: float = CLOSE_LIMIT) -> None:
        """End the shell and what runs in it.

        Args:
            timeout: seconds to wait until the agent has ended it; that goes on in the background.
        """
        self._give_back_soon(why)
        if self._given_back is not None and timeout > 0:
            await asyncio.wait({self._given_back}, timeout=timeout)

    # -- in between ------------------------------------------------------------------------------

    def _after(self, seconds: float, then: Callable[[], object]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)

    def _rest(self) -> None:
        """Wait for the next command, or give the session back if there can be none."""
        if self.over:
            self._give_back_soon(self.over)
            return
        self._idle_since = self._loop.time()
        self._after(min(self._max_idle, KEEP_ALIVE), self._idle)

    def _idle(self) -> None:
        """Keep the session alive while no command runs, for a while."""
        left = self._idle_since + self._max_idle - self._loop.time()
        if left <= 0:
            self._give_back_soon(f"no command came for {self._max_idle / 60:g} minutes")
            return
        self._after(min(left, KEEP_ALIVE), self._idle)
        self._sign = asyncio.ensure_future(self._show_life())

    async def _show_life(self) -> None:
        if not self._connection.ended:
            await self._connection.resize(*_SIZE)
            with contextlib.suppress(SessionLost):
                await self._connection.send(b"\n")  # a line that says nothing

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Give up what is done here when the far end turns out to be gone without a word."""
        here = asyncio.current_task()
        lost: list[BaseException] = []

        def given_up(watching: asyncio.Task[None]) -> None:
            error = None if watching.cancelled() else watching.exception()
            # Not when it is scheduled already, and what it was for has just been done.
            if error is not None and here is not None and self._watching is watching:
                lost.append(error)
                here.cancel()

        def watch() -> None:
            self._watching = asyncio.ensure_future(self._watch())
            self._watching.add_done_callback(given_up)

        self._after(PROBE_AFTER, watch)
        try:
            yield
        except asyncio.CancelledError:
            if not lost:
                raise
            if here is not None and hasattr(here, "uncancel"):
                here.uncancel()  # it was meant for what was done here, and not for who waits for it
            raise lost[0] from None
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._watching is not None:
                self._watching.remove_done_callback(given_up)
                self._watching.cancel()
                self._watching = None

    async def _watch(self) -> None:
        """Raise when a command is quiet because nobody is there any more."""
        connection = self._connection
        asked, unanswered = self._loop.time() - PROBE_AFTER, 0
        while True:
            last = connection.last_activity
            if connection.unread or last > asked:
                unanswered = 0
            if not connection.unread and self._loop.time() - last >= PROBE_AFTER:
                if unanswered >= PROBES:
                    raise SessionLost(
                        f"the agent in {self._ref} does not answer",
                        cause="the agent died or lost its connection, and the shell with it",
                        cure="whether the command finished is unknown: check before you run it "
                        "again",
                    )
                asked, unanswered = self._loop.time(), unanswered + 1
                await connection.resize(*_SIZE)
                await check_task(self._api, self._ref)
            await asyncio.sleep(PROBE_AFTER)

    # -- the end ---------------------------------------------------------------------------------

    def _give_back_soon(self, why: str) -> None:
        self.shell.finish(why)
        if self._timer is not None:
            self._timer.cancel()
        if self._given_back is None:
            _open.discard(self)
            self._given_back = settling(self._give_back())

    async def _give_back(self) -> None:
        """End what has not ended; the agent counts a session until its channel has closed."""
        connection = self._connection
        async with self._place:
            try:
                self.shell.let_go()
                drain = asyncio.ensure_future(connection.drain())
                with contextlib.suppress(asyncio.TimeoutError):
                    await wait_for(self.shell.farewell(), CLOSE_LIMIT)
                wait = CLOSE_LIMIT if self.shell.exit_code is not None else 0.0
                closed = connection.ended or (wait and await connection.wait_closed(wait))
                if not closed and not connection.ended:
                    await connection.terminate()
                    await connection.wait_closed(_GIVE_BACK_LIMIT)
                drain.cancel()
            finally:
                await connection.aclose()


class ShellRun:
    """One command in a kept shell, as those see it who watch it.

    Args:
        session: gives the session, which may be yet to open.
    """

    def __init__(
        self,
        session: Callable[[], Awaitable[WarmSession]],
        ref: ContainerRef,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        max_bytes: int | None = None,
        title: str | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_batch: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        if timeout is not None and not 0 < timeout < 1e8:
            raise InvalidRequest(f"a timeout of {timeout!r} s is not possible")
        shell_line(command)  # refuses what cannot be run before anything is started
        if stdin is not None:
            stdin_source.check(stdin)
        self._session_of = session
        self._ref = ref
        self._command = command
        self._stdin = stdin
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._title = title
        self._on_output = on_output
        self._on_batch = on_batch
        self._session: WarmSession | None = None
        self._task: asyncio.Task[Any] | None = None
        self._outcome = Outcome(Capture(limit=max_bytes), Capture(limit=max_bytes))
        self._interrupts = 0
        self._started_at = datetime.now(timezone.utc)
        self._start = time.monotonic()

    @property
    def interrupted(self) -> bool:
        """Whether :meth:`interrupt` was called."""
        return self._interrupts > 0

    async def run(self) -> CommandResult:
        """Run to the end; after :meth:`interrupt`, return what there is then.

        Raises:
            CommandTimeout: its time was up; ``.result`` holds what came.
            SessionLost: the shell is over, or ended meanwhile; ``.result`` holds what came.
        """
        self._task = asyncio.current_task()
        try:
            self._session = await self._session_of()
            await self._session.run(
                self._command,
                stdin=self._stdin,
                timeout=self._timeout,
                max_bytes=self._max_bytes,
                outcome=self._outcome,
                on_output=self._on_output,
                on_batch=self._on_batch,
            )
        except EcsExecError as error:
            self._outcome.missing = self._outcome.missing or str(error)
            if self._outcome.began and error.result is None:
                error.result = self.so_far()
            raise
        except asyncio.CancelledError:
            if self.interrupted and not self._outcome.began:
                self._outcome.missing = "ended before the command began"
                return self.so_far()
            raise
        result = self.so_far()
        if self.interrupted:
            return result
        return result.check() if result.timed_out else result

    async def interrupt(self) -> None:
        """Send SIGINT to the command; the second time, end its shell."""
        self._interrupts += 1
        if self._session is not None and self._outcome.began:
            await self._session.shell.interrupt()
        elif self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Ask the command to end."""
        if self._session is not None and self._outcome.began:
            await self._session.shell.stop()
        elif self._task is not None:
            self._task.cancel()

    def so_far(self) -> CommandResult:
        """What there is by now, from any thread."""
        outcome, session = self._outcome, self._session
        words = self._command if isinstance(self._command, str) else list(self._command)
        shown = words if isinstance(words, str) else [_text(word) for word in words]
        return CommandResult(
            exit_code=outcome.exit_code,
            command=shown if self._title is None else self._title,
            target=self._ref,
            timed_out=outcome.timed_out,
            exact=outcome.exact,
            duration=time.monotonic() - self._start,
            started_at=self._started_at,
            session_id=session.session_id if session is not None else "",
            request_id=session.request_id if session is not None else "",
            noise=bytes(outcome.noise),
            missing=outcome.missing,
            captured_stdout=outcome.stdout,
            captured_stderr=outcome.stderr,
        )


def _text(word: str | bytes) -> str:
    return word if isinstance(word, str) else word.decode("utf-8", "surrogateescape")


async def close_all() -> None:
    """Close every kept shell of this loop."""
    loop = asyncio.get_running_loop()
    here = [session for session in _open if session._loop is loop]
    await asyncio.gather(*(session.close() for session in here))
