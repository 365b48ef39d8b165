"""An interactive session: keys go in, output comes out as it is, and it ends in one known way.

Knows one session, on one event loop. Never knows threads, local terminals, or what the bytes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..aws import sessions
from ..aws.slots import slots
from ..channel.connection import Connection
from ..channel.events import Closed, Lost, Output, StdErr
from ..channel.session import ConnectionOptions
from ..errors import EcsExecError, InvalidRequest, SessionLost
from ..remote.command import NoShell, agent_words, start_failed
from ..remote.wrapper import API_LIMIT, quote_word
from ..runner import CLOSE_LIMIT, check_task, settling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from ..address import ContainerRef
    from ..aws.api import AwsApi
    from ..channel.events import Event

__all__ = ["UNREAD", "Ending", "TerminalSession", "close_all"]

UNREAD = 64 * 1024
"""Bytes of output that may wait on each of two stages before the far end is held back. Small: after
Ctrl-C all of it still passes over the screen."""

LOOK_AFTER = 30.0
"""Seconds of silence after which AWS is asked whether the task still runs."""

_GIVE_BACK_LIMIT = 60.0

_open_sessions: set[TerminalSession] = set()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended.

    Attributes:
        how: ``closed`` by the far end, ``lost``, or ``ended`` by this side.
        error: what to raise when it did not end as it should; None for a program that came to its
            end, whose exit status nobody tells (PROTOCOL 5.2), and for an end of ours.
    """

    how: Literal["closed", "lost", "ended"]
    error: EcsExecError | None = None


class TerminalSession:
    """One program on a terminal of its container; made by :meth:`open`, used on one loop.

    Output is read only while somebody asks for it, so a far end that prints without end is held
    back by a reader that is slow. A cut connection is resumed without loss.

    Attributes:
        session_id: of Session Manager.
        request_id: of the call that started it; CloudTrail has it.
    """

    def __init__(
        self,
        api: AwsApi,
        ref: ContainerRef,
        connection: Connection,
        place: contextlib.AsyncExitStack,
        request_id: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.session_id = connection.session_id
        self.request_id = request_id
        self._api = api
        self._ref = ref
        self._connection = connection
        self._place = place
        self._over: asyncio.Future[Ending] = loop.create_future()
        self._receiving: asyncio.Future[list[Event]] | None = None
        self._something_came = False
        self._given_back: asyncio.Task[None] | None = None
        self._watching = loop.create_task(self._watch())
        _open_sessions.add(self)

    def __repr__(self) -> str:
        state = self._over.result().how if self._over.done() else "open"
        return f"<TerminalSession {self.session_id} {state}>"

    @classmethod
    async def open(
        cls,
        api: AwsApi,
        ref: ContainerRef,
        command: str | Sequence[str] = "/bin/sh",
        *,
        columns: int = 80,
        rows: int = 24,
        on_notice: Callable[[str], object] | None = None,
    ) -> TerminalSession:
        """Start a program and connect to its terminal.

        Args:
            command: a string is split into words by the agent, without a shell (PROTOCOL 6.3); a
                list is a program and its arguments.
            columns: of the terminal.
            rows: of the terminal.
            on_notice: called with a sentence for people when something takes long.

        Raises:
            InvalidRequest: the command cannot be asked for.
            EcsExecError: as :func:`~.aws.sessions.start_exec` says; ConnectError.
        """
        line = _call(command)
        place = contextlib.AsyncExitStack()
        await place.enter_async_context(slots.hold(ref, on_notice))
        try:
            started = await sessions.start_exec(api, ref, line, on_wait=on_notice)
            options = ConnectionOptions(ca_bundle=api.ca_bundle, max_queued=UNREAD)
            connection = await Connection.open(started.grant, started.services, options)
        except BaseException:
            await place.aclose()
            raise
        session = cls(api, ref, connection, place, started.request_id)
        await session.resize(columns, rows)
        return session

    # -- input -----------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Type something; waits while the far end takes nothing.

        Raises:
            SessionLost: the session is over.
        """
        sending = asyncio.ensure_future(self._connection.send(data))
        try:
            await self._unless_over(sending)
            if not sending.done():
                raise SessionLost("the session has ended: nothing can be typed any more")
            sending.result()
        finally:
            sending.cancel()

    async def resize(self, columns: int, rows: int) -> None:
        """Give the terminal a size; does nothing when the session is over."""
        # A terminal without columns or rows makes programs fail or guess.
        await self._connection.resize(max(columns, 1), max(rows, 1))

    # -- output ----------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """Some output, exactly as it came; nothing when the session is over."""
        while not self._over.done():
            if self._receiving is None:
                self._receiving = asyncio.ensure_future(self._connection.receive())
            await self._unless_over(self._receiving)
            if self._over.done():
                break
            # It is forgotten first: when this is cancelled before, the next read has what came.
            events, self._receiving = self._receiving.result(), None
            if data := self._take(events):
                return data
        return b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    def _take(self, events: list[Event]) -> bytes:
        pieces = [event.data for event in events if isinstance(event, (Output, StdErr))]
        self._something_came = self._something_came or bool(pieces)
        last = events[-1] if events else Lost("the connection was closed")
        if isinstance(last, Closed):
            self._finish(Ending("closed", self._failure(agent_words(last.output))))
        elif isinstance(last, Lost):
            self._finish(Ending("lost", _lost(self._ref, last.reason)))
        return b"".join(pieces)

    def _failure(self, said: str) -> EcsExecError | None:
        """What the words of an agent or of AWS mean that came with the end."""
        if not said:
            return None
        if self._something_came:
            return SessionLost(f"the session in {self._ref} was ended: {said}")
        error = start_failed(said)
        if isinstance(error, NoShell):
            error.cure = "name a program that the image has"
        return error

    # -- the end ---------------------------------------------------------------------------------

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it lasts."""
        return self._over.result() if self._over.done() else None

    async def wait(self) -> Ending:
        """Wait for the end; the output must be read meanwhile."""
        return await asyncio.shield(self._over)

    async def close(self, timeout: float = CLOSE_LIMIT) -> None:
        """End the session and its program, if it has not ended.

        Args:
            timeout: seconds to wait until the agent has ended it; that goes on in the background.
        """
        self._finish(Ending("ended"))
        if self._given_back is not None and timeout > 0:
            await asyncio.wait({self._given_back}, timeout=timeout)

    def _finish(self, ending: Ending) -> None:
        if self._over.done():
            return
        self._over.set_result(ending)
        self._watching.cancel()
        if self._receiving is not None:
            self._receiving.cancel()
        _open_sessions.discard(self)
        # Where nothing is any more nobody counts, either.
        self._given_back = settling(
            self._give_back(CLOSE_LIMIT if ending.how == "lost" else _GIVE_BACK_LIMIT)
        )

    async def _give_back(self, limit: float) -> None:
        """End what has not ended; the agent counts a session until its channel has closed."""
        connection = self._connection
        async with self._place:
            try:
                if not connection.ended:
                    drain = asyncio.ensure_future(connection.drain())
                    await connection.terminate()
                    await connection.wait_closed(limit)
                    drain.cancel()
            finally:
                await connection.aclose()

    async def _watch(self) -> None:
        """Notice that the task is gone when its gateway does not tell.

        No Size is sent to find out, as for commands: it would count as traffic, and whoever leaves
        a terminal alone should lose it as AWS has it.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_AFTER)
            if self._connection.unread or loop.time() - self._connection.last_activity < LOOK_AFTER:
                continue
            try:
                await check_task(self._api, self._ref)
            except SessionLost as error:
                error.cause = error.cure = ""
                self._finish(Ending("lost", error))

    async def _unless_over(self, work: asyncio.Future[Any]) -> None:
        waiting: set[asyncio.Future[Any]] = {work, self._over}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _call(command: str | Sequence[str]) -> str:
    """The command as ExecuteCommand takes it."""
    line = command if isinstance(command, str) else " ".join(quote_word(w) for w in command)
    try:
        size = len(line.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidRequest("the command of a terminal must be UTF-8 text") from None
    if size > API_LIMIT:
        raise InvalidRequest(
            f"the command has {size} bytes, and {API_LIMIT} are possible",
            cure="start a shell, and type it there",
        )
    if "\0" in line:
        raise InvalidRequest("the command holds a NUL character, which no program can take")
    return line


def _lost(ref: ContainerRef, reason: str) -> SessionLost:
    return SessionLost(f"the session in {ref} is lost: {reason}")


async def close_all() -> None:
    """Close every session of this loop."""
    loop = asyncio.get_running_loop()
    here = [session for session in _open_sessions if session._over.get_loop() is loop]
    await asyncio.gather(*(session.close() for session in here))
