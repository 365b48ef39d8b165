"""One session of Session Manager that carries connections to one port.

Knows how it begins, what the handshake decides, and how it ends. Never knows local sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from ..aws import sessions
from ..aws.slots import slots
from ..channel.connection import Connection
from ..channel.events import Closed, Flag, HandshakeComplete, Lost, Output
from ..channel.session import ConnectionOptions
from ..errors import EcsExecError, MethodUnavailable, ProtocolError, SessionLost, StartFailed
from ..remote.command import agent_words
from ..runner import CLOSE_LIMIT, check_task, settling
from ..waiting import wait_for
from .streams import NOP_INTERVAL, Carrier, Multiplexed, Single

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..address import ContainerRef
    from ..aws.api import AwsApi
    from ..channel.events import Event
    from .request import ForwardRequest

__all__ = ["KEPT_ALIVE", "PortSession"]

logger = logging.getLogger(__name__)

_NO_FLAG, TERMINATE, CONNECT_ERROR = 0, 2, 3

START_LIMIT = 60.0
"""Seconds in which the agent must have joined and said what it can."""

KEEP_ALIVE = 300.0
"""Seconds between signs of life while there are connections; AWS ends a session after 1200
without."""

KEPT_ALIVE = 12 * 3600.0
"""Seconds without a byte for which connections are kept alive at most."""

LOOK_AFTER = 30
"""Seconds of silence after which AWS is asked whether the task still runs."""

DEAD_AFTER = 10
"""Seconds in a row that the agent acknowledges nothing, after which it counts as gone; counted and
not timed, so that a laptop that was asleep asks again first."""

_FEW = 32 * 1024  # bytes; where more is on its way, the far end may just not take it
_GIVE_BACK_LIMIT = 60.0

_MULTIPLEXING = (3, 0, 196, 0)
_KEEP_ALIVE_OFF = (3, 1, 1511, 0)
_REMOTE_HOSTS = (3, 1, 1188, 0)


class PortSession:
    """A session that is open; made by :meth:`open`, used on one loop.

    Attributes:
        session_id: of Session Manager.
        agent_version: as the agent gave it.
        carrier: what opens streams in it.
        error: why it ended, where that was not asked for.
    """

    def __init__(
        self,
        api: AwsApi,
        ref: ContainerRef,
        request: ForwardRequest,
        connection: Connection,
        place: contextlib.AsyncExitStack,
    ) -> None:
        self.session_id = connection.session_id
        self.agent_version = ""
        self.carrier: Carrier
        self.error: EcsExecError | None = None
        self.over = asyncio.Event()
        self._api = api
        self._ref = ref
        self._request = request
        self._connection = connection
        self._place = place
        self._said = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._given_back: asyncio.Task[None] | None = None
        self._on_refused: Callable[[], object] = lambda: None
        self._last_byte = asyncio.get_running_loop().time()

    @classmethod
    async def open(
        cls,
        api: AwsApi,
        ref: ContainerRef,
        request: ForwardRequest,
        *,
        on_notice: Callable[[str], object] | None = None,
        on_refused: Callable[[], object] = lambda: None,
    ) -> PortSession:
        """Start a session and wait until it carries connections.

        Raises:
            EcsExecError: as :func:`~.aws.sessions.start_forwarding` says; ConnectError;
                StartFailed with the agent's words.
        """
        place = contextlib.AsyncExitStack()
        await place.enter_async_context(slots.hold(ref, on_notice))
        try:
            started = await sessions.start_forwarding(
                api, ref, request.port, request.host or None, on_wait=on_notice
            )
            options = ConnectionOptions(ca_bundle=api.ca_bundle)
            connection = await Connection.open(started.grant, started.services, options)
        except BaseException:
            await place.aclose()
            raise
        session = cls(api, ref, request, connection, place)
        session._on_refused = on_refused
        try:
            await wait_for(session._begin(), START_LIMIT)
        except asyncio.TimeoutError:
            await session.close()
            raise SessionLost(
                f"the agent in {ref} has not begun to forward within {START_LIMIT:.0f} s",
                cause="it takes two sessions at once, and lets others wait in silence",
                cure="end a session in this container, or try again",
            ) from None
        except BaseException:
            await session.close(0)
            raise
        return session

    async def _begin(self) -> None:
        rest: list[Event] = []
        said = ""
        complete: HandshakeComplete | None = None
        while complete is None:
            events = await self._connection.receive()
            for event in events or [Lost("the connection was closed")]:
                if isinstance(event, HandshakeComplete):
                    complete = event
                elif isinstance(event, Output) and complete is None:
                    said += event.data.decode("utf-8", "replace")
                elif isinstance(event, Closed):
                    raise self._failed(agent_words(event.output or said))
                elif isinstance(event, Lost):
                    raise SessionLost(f"the session in {self._ref} is lost: {event.reason}")
                else:
                    rest.append(event)
        self._choose(complete)
        loop = asyncio.get_running_loop()
        for work in (self._read(rest), self._send(), self._keep_alive(), self._watch()):
            self._tasks.append(loop.create_task(work))
        await self._take_up()

    async def _take_up(self) -> None:
        """Wait until the agent takes input, which it does not before it is set up (PROTOCOL 7).

        The flag means nothing to it in either mode; what counts is that it is acknowledged.
        """
        await self._connection.send_flag(_NO_FLAG)
        ready = asyncio.ensure_future(self._connection.drained())
        over = asyncio.ensure_future(self.over.wait())
        await asyncio.wait({ready, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        ready.cancel()
        await asyncio.gather(ready, over, return_exceptions=True)
        if self._connection.ended:
            await self.over.wait()
            assert self.error is not None
            raise self._failed(self._said) if self._connection.closed else self.error

    def _choose(self, complete: HandshakeComplete) -> None:
        """How connections are carried: the handshake says it (PROTOCOL 7.1)."""
        self.agent_version = complete.agent_version
        if complete.session_type != "Port":
            raise ProtocolError(
                f"the agent in {self._ref} has begun a session of type {complete.session_type!r} "
                "in place of one that forwards a port"
            )
        version = _parts(complete.agent_version)
        if self._request.host and version < _REMOTE_HOSTS:
            # It would overlook the host, and connect to the same port of the container.
            raise MethodUnavailable(
                f"the agent in {self._ref} is too old to reach other hosts: "
                f"{complete.agent_version}",
                cause="agents before 3.1.1188 forward only ports of their own container",
                cure="restart the task: new tasks get a new agent",
            )
        many = complete.properties.get("type") == "LocalPortForwarding"
        if many and version > _MULTIPLEXING:
            self.carrier = Multiplexed(self._connection)
        else:
            self.carrier = Single(self._connection)

    def _failed(self, said: str) -> EcsExecError:
        where = f"{self._request.destination} of {self._ref}"
        if self._request.host:
            where = f"{self._request.destination} through {self._ref}"
        return StartFailed(
            f"{where} cannot be forwarded: {said or 'the session ended at once'}",
            cause="nothing listens there, or the agent does not let connections through"
            if "connect" in said
            else "",
            cure="look in the container which ports are listened on, as with `ss -ltn`",
        )

    # -- while it lasts --------------------------------------------------------------------------

    async def _read(self, events: list[Event]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for event in events:
                if isinstance(event, Output):
                    self._last_byte = loop.time()
                    try:
                        self.carrier.receive(event.data)
                    except ProtocolError as error:
                        self._finish(error)
                        return
                elif isinstance(event, Flag) and event.value == CONNECT_ERROR:
                    self.carrier.refused()
                    self._on_refused()
                elif isinstance(event, Closed):
                    said = self._said = agent_words(event.output)
                    self._finish(
                        SessionLost(
                            f"the session in {self._ref} was ended" + (f": {said}" if said else "")
                        )
                    )
                    return
                elif isinstance(event, Lost):
                    self._finish(SessionLost(f"the session in {self._ref} is lost: {event.reason}"))
                    return
            await self.carrier.readable()
            events = await self._connection.receive()
            if not events:
                self._finish(SessionLost(f"the session in {self._ref} was closed"))
                return

    async def _send(self) -> None:
        with contextlib.suppress(SessionLost):  # _read hears of it too, and says why
            await self.carrier.run()

    async def _keep_alive(self) -> None:
        """Say something now and then, so that connections that are quiet stay.

        Agents up to 3.1.1511 end a session of theirs that hears nothing for 30 s. With later ones
        only AWS's limit is kept off, as long as there are connections: a session without any is
        free to end, for the next connection begins another.
        """
        loop = asyncio.get_running_loop()
        old = _parts(self.agent_version) <= _KEEP_ALIVE_OFF
        while True:
            await asyncio.sleep(NOP_INTERVAL if old else KEEP_ALIVE)
            wanted = self.carrier.busy and loop.time() - self._last_byte < KEPT_ALIVE
            if wanted or old:
                self.carrier.sign_of_life()

    async def _watch(self) -> None:
        """Notice that the agent or its task is gone when the gateway does not tell."""
        connection, silent, last = self._connection, 0, 0.0
        while True:
            await asyncio.sleep(1.0)
            heard = connection.last_activity > last
            last = connection.last_activity
            silent = 0 if heard else silent + 1
            if silent >= DEAD_AFTER and 0 < connection.unanswered < _FEW:
                self._finish(
                    SessionLost(
                        f"the agent in {self._ref} does not answer",
                        cause="it died or lost its connection, and the session with it",
                        cure="connect again: that begins a new session",
                    )
                )
                return
            if silent and silent % LOOK_AFTER == 0:
                try:
                    await check_task(self._api, self._ref)
                except SessionLost as error:
                    self._finish(error)
                    return

    # -- the end ---------------------------------------------------------------------------------

    def _finish(self, error: EcsExecError | None) -> None:
        if self.over.is_set():
            return
        self.error = error
        self.over.set()
        if hasattr(self, "carrier"):
            self.carrier.end(str(error) if error else "the session was ended")
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        lost = error is not None and not self._connection.closed
        self._given_back = settling(self._give_back(CLOSE_LIMIT if lost else _GIVE_BACK_LIMIT))

    async def close(self, timeout: float = CLOSE_LIMIT) -> None:
        """End the session, and with it every connection.

        Args:
            timeout: seconds to wait until the agent has ended it; that goes on in the background.
        """
        self._finish(None)
        if self._given_back is not None and timeout > 0:
            await asyncio.wait({self._given_back}, timeout=timeout)

    async def close_behind(self) -> None:
        """End the session once all that was sent has arrived at the agent."""
        with contextlib.suppress(SessionLost, asyncio.TimeoutError):
            await wait_for(self._arrived(), CLOSE_LIMIT)
        await self.close(0)

    async def _arrived(self) -> None:
        await self.carrier.sent()
        await self._connection.drained()

    async def _give_back(self, limit: float) -> None:
        """End what has not ended; the agent counts a session until its channel has closed."""
        connection = self._connection
        async with self._place:
            try:
                if not connection.ended:
                    drain = asyncio.ensure_future(connection.drain())
                    # The agent's own way to end; TerminateSession reaches one that has lost it.
                    with contextlib.suppress(SessionLost):
                        await connection.send_flag(TERMINATE)
                    if not await connection.wait_closed(1.0) and not connection.ended:
                        await connection.terminate()
                        await connection.wait_closed(limit)
                    drain.cancel()
            finally:
                await connection.aclose()


def _parts(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        return (0,)
