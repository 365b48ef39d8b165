"""One command, from a container's name to a finished result; everything here is asyncio.

Knows how a session is asked for, run and given back. Never knows threads, notebooks or how targets
are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import shlex
import time
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from .aws import sessions
from .aws.slots import slots
from .aws.tasks import describe_tasks
from .capture import Capture
from .channel.connection import Connection, unfinished
from .channel.session import ConnectionOptions
from .errors import (
    AgentNotConnected,
    EcsExecError,
    InvalidRequest,
    MethodUnavailable,
    SessionLost,
)
from .remote import stdin as stdin_source
from .remote.command import Execution, NoShell, Outcome
from .remote.wrapper import API_LIMIT, quote_word, wrap
from .results import CommandResult, OutputEvent
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .remote.wrapper import Wrapped
    from .room import Room

__all__ = [
    "Job",
    "Method",
    "Request",
    "check_task",
    "script_arguments",
    "settle",
    "settling",
    "unsettled",
]

logger = logging.getLogger(__name__)

Method = Literal["execute-command", "start-session"]

CLOSE_LIMIT = 3.0
"""Seconds that a session may take to close by itself once its command has ended."""

_GIVE_BACK_LIMIT = 60.0

PROBE_AFTER = 20.0
"""Seconds without any frame after which the far end is probed."""

PROBES = 4
"""Probes in a row without an answer after which it counts as gone. Counted and not timed, so that a
laptop that was asleep asks again first."""

_SIZE = (80, 24)

_SCRIPT_FLAGS = dict.fromkeys(("perl", "ruby", "node", "nodejs", "lua"), "-e") | {"php": "-r"}
_SCRIPT_FLAGS |= dict.fromkeys(("sh", "bash", "dash", "ash", "ksh", "zsh", "mksh"), "-c")

_settling: set[asyncio.Task[None]] = set()
"""Sessions whose command has ended but which still hold their place in the container."""


@dataclass(frozen=True)
class Request:
    """What is to be run, checked as far as that is possible without running it.

    Attributes:
        command: a string for ``sh -c``, or a list of arguments.
        stdin: see :mod:`~ecs_exec_magic.remote.stdin`; None for none.
        timeout: seconds for the command.
        method: how the session is started.
        max_bytes: how much of each stream to keep.
        script: the command is an interpreter, its flag and a script.
        title: what results show as the command, where it is something else.
        bulk: nobody waits for single pieces of its output.
    """

    command: str | Sequence[str | bytes]
    stdin: Any = None
    timeout: float | None = None
    method: Method = "execute-command"
    max_bytes: int | None = None
    script: bool = False
    title: str | None = None
    bulk: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("execute-command", "start-session"):
            raise InvalidRequest(
                f"{self.method!r} is not a method",
                cure='use method="execute-command" or method="start-session"',
            )
        if self.timeout is not None and not 0 < self.timeout < 1e8:
            raise InvalidRequest(f"a timeout of {self.timeout!r} s is not possible")
        if self.max_bytes is not None and self.max_bytes < 0:
            raise InvalidRequest(f"max_bytes={self.max_bytes!r} is not possible")
        if self.stdin is not None:
            if self.pipes:
                raise MethodUnavailable(
                    'method="start-session" has no stdin',
                    cause="the agent gives such a session's command no input (PROTOCOL 6.12)",
                    cure='use method="execute-command", or put the data into the command',
                )
            stdin_source.check(self.stdin)
        _ = self.wrapped  # refuses what cannot be run before anything is started

    @classmethod
    def of(cls, command: Any, shell: str | None, *how: Any) -> Request:
        """A request for a command, or for a script where an interpreter is named."""
        return cls(command, *how) if shell is None else cls.of_script(command, shell, *how)

    @classmethod
    def of_script(
        cls,
        body: str,
        shell: str,
        stdin: Any = None,
        timeout: float | None = None,
        method: Method = "execute-command",
        max_bytes: int | None = None,
    ) -> Request:
        """The request that runs a script in an interpreter, as an argument or else as its stdin.

        Raises:
            InvalidRequest: no interpreter is named, or both script and data would be its stdin.
        """
        try:
            words = shlex.split(shell)
        except ValueError as error:
            raise InvalidRequest(f"{shell!r} cannot be read: {error}") from None
        if not words:
            raise InvalidRequest("no shell is named", cure='use shell="/bin/sh", for example')
        arguments = script_arguments(body, words)
        if arguments is not None:
            return cls(arguments, stdin, timeout, method, max_bytes, script=True)
        if stdin is not None:
            raise InvalidRequest(
                f"{words[0]!r} gets the script as its stdin, which leaves none for the data",
                cause=f"only of {', '.join(_SCRIPT_FLAGS)}, python and pypy is it known how they "
                "take a script as an argument",
            )
        return cls(words, body, timeout, method, max_bytes, title=body)

    @property
    def pipes(self) -> bool:
        """Whether the session has pipes in place of a terminal."""
        return self.method == "start-session"

    def __getstate__(self) -> dict[str, Any]:
        # The mark of its output is made where it runs, and known nowhere else.
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @functools.cached_property
    def wrapped(self) -> Wrapped:
        """The command with the far end's wrapper around it."""
        return wrap(
            self.command,
            timeout=self.timeout,
            stdin=self.stdin is not None,
            input_possible=not self.pipes,
            script=self.script,
            bulk=self.bulk and self.pipes,
        )

    def shown(self) -> str | list[str]:
        """The command as a result shows it."""
        if self.title is not None:
            return self.title
        if isinstance(self.command, str):
            return self.command
        words = self.words()
        return words[-1] if self.script else words

    def words(self) -> list[str]:
        """The command's arguments as text; a string is one."""
        words = [self.command] if isinstance(self.command, str) else self.command
        return [w if isinstance(w, str) else w.decode("utf-8", "surrogateescape") for w in words]


def script_arguments(body: str, words: Sequence[str]) -> list[str] | None:
    """The arguments that run a script: the interpreter, its flag, the script.

    Returns:
        None when it is not known how that interpreter takes a script as an argument.
    """
    program = words[0].rsplit("/", 1)[-1].rstrip("0123456789.")
    flag = "-c" if program.startswith(("python", "pypy")) else _SCRIPT_FLAGS.get(program)
    # A dash asks for the way by stdin.
    return None if flag is None or words[-1] == "-" else [*words, flag, body]


class Job:
    """One run of a request in one container.

    Args:
        api: how AWS is called.
        ref: the container.
        request: what to run.
        on_output: called with each piece of output, on the event loop.
        on_notice: called with a sentence for people when something takes long, on the event loop.
        on_batch: awaited between pieces of output; holds the command back while it waits.
        room: what it shares with others that run beside it.
        on_session: called with the id of each session that it has, on the event loop.
    """

    def __init__(
        self,
        api: AwsApi,
        ref: ContainerRef,
        request: Request,
        *,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_batch: Callable[[], Awaitable[object]] | None = None,
        room: Room | None = None,
        on_session: Callable[[str], object] | None = None,
    ) -> None:
        self._api = api
        self._ref = ref
        self._request = request
        self._on_output = on_output
        self._on_notice = on_notice
        self._on_batch = on_batch
        self._room = room
        self._on_session = on_session
        self._execution: Execution | None = None
        self._task: asyncio.Task[Any] | None = None
        self._giving_back: list[asyncio.Task[None]] = []
        self._interrupts = 0
        self._stopped = False
        self._started_at = datetime.now(timezone.utc)
        self._start = 0.0
        self._session_id = ""
        self._request_id = ""

    async def run(self) -> CommandResult:
        """Run to the end; after :meth:`interrupt`, return what there is then.

        Raises:
            CommandTimeout: its time was up; ``.result`` holds what came.
            EcsExecError: as the layers below say; ``.result`` holds what came, if anything ran.
        """
        self._task = asyncio.current_task()
        self._start = time.monotonic()
        self._started_at = datetime.now(timezone.utc)
        try:
            try:
                wrapped = self._request.wrapped
                outcome = await self._in_session(wrapped.api_command, wrapped)
            except NoShell:
                if isinstance(self._request.command, str) or self._request.script:
                    raise
                self._execution = None
                if self._given_up:
                    return self._unbegun()
                outcome = await self._bare()
        except EcsExecError as error:
            if self._execution is not None and error.result is None:
                error.result = self._result(self._execution.outcome)
            if self._given_up:
                return error.result or self._unbegun()
            raise
        except asyncio.CancelledError:
            if self._given_up and self._execution is not None:
                self._execution.outcome.missing = "the session was ended"
                return self._result(self._execution.outcome)
            if self._given_up:
                return self._unbegun()
            raise
        result = self._result(outcome)
        if self._given_up:
            return result
        return result.check() if result.timed_out else result

    @property
    def interrupted(self) -> bool:
        """Whether :meth:`interrupt` was called."""
        # KeyboardInterrupt cannot say so: raised in a task, it would stop the loop.
        return self._interrupts > 0

    @property
    def _given_up(self) -> bool:
        """Whether the caller ended it: what there is then is its result, and no error."""
        return self.interrupted or self._stopped

    @property
    def session_id(self) -> str:
        """Of Session Manager; empty until the session is there."""
        return self._session_id

    def so_far(self) -> CommandResult:
        """What there is by now, from any thread; its streams grow while the command runs."""
        if self._execution is None:
            return self._result(Outcome(Capture(), Capture(), missing="it has not begun"))
        return self._result(self._execution.outcome)

    async def interrupt(self) -> None:
        """Send SIGINT to the command, or if it has not begun, end it; the second time, end it."""
        self._interrupts += 1
        if self._execution is not None:
            await self._execution.interrupt()
        elif self._task is not None:
            self._task.cancel()

    async def stop(self, grace: float = 3.0) -> None:
        """End the command: SIGTERM first, and its session if it has not ended in ``grace`` seconds.

        :meth:`run` then returns what there is.
        """
        self._stopped = True
        if self._task is None:
            return
        if self._execution is None:
            self._task.cancel()
            return
        await self._execution.stop()
        _, outlived = await asyncio.wait([self._task], timeout=grace)
        if outlived:
            await self._execution.end()

    # -- in a session ----------------------------------------------------------------------------

    async def _bare(self) -> Outcome:
        """Run the arguments without the wrapper, for an image without a shell."""
        words = self._request.words()
        if self._request.stdin is not None:
            raise MethodUnavailable("this container cannot take stdin", cause=NoShell.cause)
        api_command = " ".join(quote_word(word) for word in words)
        try:
            size = len(api_command.encode("utf-8"))
        except UnicodeEncodeError:
            raise InvalidRequest(
                "in an image without a shell, arguments must be UTF-8 text"
            ) from None
        if size > API_LIMIT:
            raise InvalidRequest("the command is too long for an image without a shell")
        return await self._in_session(api_command, None)

    async def _in_session(self, api_command: str, wrapped: Wrapped | None) -> Outcome:
        place = contextlib.AsyncExitStack()
        try:
            await place.enter_async_context(slots.hold(self._ref, self._on_notice))
            async with contextlib.AsyncExitStack() as opening:
                if self._room is not None:
                    await place.enter_async_context(self._room.sessions)
                    await opening.enter_async_context(self._room.opening)
                connection = await self._connect(api_command)
        except BaseException:
            await place.aclose()
            raise
        self._execution = Execution(
            connection,
            wrapped,
            stdin=self._request.stdin,
            timeout=self._request.timeout,
            pipes=self._request.pipes,
            max_bytes=self._request.max_bytes,
            on_output=self._on_output,
            on_batch=self._on_batch,
        )
        try:
            return await self._watched(connection, self._execution)
        except AgentNotConnected as error:
            await explain_silence(self._api, error, self._ref)
            raise
        except BaseException:
            # Whatever went wrong, nobody waits for this command any more.
            with contextlib.suppress(asyncio.CancelledError):
                await self._execution.end()
            raise
        finally:
            self._giving_back.append(settling(_give_back(connection, self._execution, place)))

    async def settled(self) -> None:
        """Wait, after :meth:`run`, until its place in the container is free again."""
        if self._giving_back:
            await asyncio.wait(self._giving_back)

    async def _watched(self, connection: Connection, execution: Execution) -> Outcome:
        """Run to the end, unless the far end turns out to be gone without a word."""
        running = asyncio.ensure_future(execution.run())
        watching = asyncio.ensure_future(self._watch(connection))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                watching.result()  # it only ever ends by raising
            return await running
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)

    async def _watch(self, connection: Connection) -> None:
        """Raise when a session that is quiet is quiet because nobody is there any more.

        The agent acknowledges a Size at once, whatever the command does; the gateway answers pings
        all the same when it has lost the agent. A Size also counts as traffic.
        """
        loop = asyncio.get_running_loop()
        asked, unanswered = loop.time(), 0
        while True:
            await asyncio.sleep(PROBE_AFTER)
            last = connection.last_activity
            if connection.unread or last > asked:
                unanswered = 0  # who does not read cannot blame the other end
            if connection.unread or loop.time() - last < PROBE_AFTER:
                continue
            if unanswered >= PROBES and not self._request.pipes:
                raise SessionLost(
                    f"the agent in {self._ref} does not answer",
                    cause="the agent died or lost its connection, and the session with it",
                    cure="whether the command finished is unknown: check before you run it again",
                )
            asked, unanswered = loop.time(), unanswered + 1
            if not self._request.pipes:
                await connection.resize(*_SIZE)
            await check_task(self._api, self._ref)

    async def _connect(self, api_command: str) -> Connection:
        if self._request.pipes:
            started = await sessions.start_noninteractive(self._api, self._ref, api_command)
        else:
            started = await sessions.start_exec(
                self._api, self._ref, api_command, on_wait=self._on_notice
            )
        self._session_id, self._request_id = started.session_id, started.request_id
        if self._on_session is not None:
            self._on_session(started.session_id)
        options = ConnectionOptions(ca_bundle=self._api.ca_bundle)
        return await Connection.open(started.grant, started.services, options)

    def _unbegun(self) -> CommandResult:
        return self._result(Outcome(Capture(), Capture(), missing="ended before the command began"))

    def _result(self, outcome: Outcome) -> CommandResult:
        return CommandResult(
            exit_code=outcome.exit_code,
            command=self._request.shown(),
            target=self._ref,
            timed_out=outcome.timed_out,
            exact=outcome.exact,
            duration=time.monotonic() - self._start,
            started_at=self._started_at,
            session_id=self._session_id,
            request_id=self._request_id,
            noise=bytes(outcome.noise),
            missing=outcome.missing,
            captured_stdout=outcome.stdout,
            captured_stderr=outcome.stderr,
        )


async def check_task(api: AwsApi, ref: ContainerRef) -> None:
    """Look whether the task of a quiet session is still there; nothing is said when AWS is not.

    Raises:
        SessionLost: the task has stopped.
    """
    try:
        found = await describe_tasks(api, ref.cluster, [ref.task_arn])
    except EcsExecError as error:
        logger.debug("the task could not be looked at: %s", error)
        return
    # A task that is to stop still runs for minutes: only its end ends the session.
    if not found or found[0].status != "STOPPED":
        return
    why = found[0].stopped_reason
    raise SessionLost(
        f"the task of {ref} has stopped" + (f": {why}" if why else ""),
        cause="the session ended with its task",
        cure="the service may have a new task; look before you run the command again",
    )


async def explain_silence(api: AwsApi, error: AgentNotConnected, ref: ContainerRef) -> None:
    """Put into an error of a silent agent whose sessions are in its way, if any are."""
    from .aws.checks.explain import silence_explained  # with all checks, which few commands need

    await silence_explained(api, error, ref)


async def _give_back(
    connection: Connection, execution: Execution, place: contextlib.AsyncExitStack
) -> None:
    """Wait for the end of a session off the result's path, and free its place after it.

    The agent counts a session through its drain and the upload of its log (PROTOCOL 6.7), so the
    place is free only when the channel has closed.
    """
    async with place:
        try:
            drain = asyncio.ensure_future(connection.drain())
            with contextlib.suppress(asyncio.TimeoutError):
                await wait_for(execution.farewell(), CLOSE_LIMIT)
            if not await connection.wait_closed(CLOSE_LIMIT) and not connection.ended:
                await connection.terminate()
                await connection.wait_closed(_GIVE_BACK_LIMIT)
            drain.cancel()
        finally:
            await connection.aclose()


def settling(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start what goes on after a session's result is known; :func:`settle` waits for it."""
    task = asyncio.ensure_future(work)
    _settling.add(task)
    task.add_done_callback(_settling.discard)
    return task


def unsettled(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[None]]:
    """What goes on in a loop after its commands have ended, until their sessions have."""
    return {task for task in _settling | unfinished() if task.get_loop() is loop}


async def settle(timeout: float = CLOSE_LIMIT + 2) -> None:
    """Wait until sessions of this loop whose commands have ended are closed.

    Args:
        timeout: seconds to wait at most.
    """
    tasks = unsettled(asyncio.get_running_loop())
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)
