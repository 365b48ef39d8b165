"""A port of this machine that leads to one at the far end: listening, connections, beginning anew.

Knows local sockets, and what becomes of each connection. Never knows threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..aws.tasks import describe_tasks
from ..errors import EcsExecError, InvalidRequest, SessionLost
from .session import PortSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..address import ContainerRef
    from ..aws.api import AwsApi
    from .request import ForwardRequest
    from .streams import Stream

__all__ = ["LocalConnection", "Tunnel"]

logger = logging.getLogger(__name__)

MOST = 1000
"""Connections at once; those beyond are refused."""

HALF_CLOSED = 5.0
"""Seconds without a byte from the far end after which a connection that this side has finished
sending on is ended. smux knows only the end of both directions, so it must not come at once."""

HALF_CLOSED_ALONE = 0.5
"""The same with an old agent, where the next connection waits for it, and where the agent never
tells that the far end has hung up."""

_CHUNK = 32 * 1024
_AT_ONCE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass(slots=True)
class LocalConnection:
    """One connection to the local port.

    Attributes:
        number: counts from 1.
        peer: who has connected.
        sent: bytes from here to the far end.
        received: bytes from the far end.
        began: when, in seconds since 1970.
    """

    number: int
    peer: str
    sent: int = 0
    received: int = 0
    began: float = field(default_factory=time.time)


class Tunnel:
    """Listens, and carries each connection that comes; used on one loop.

    A session that was lost takes its connections with it; the next one that comes begins another.

    Attributes:
        connections: those that are open, by their number.
        accepted: how many there have been.
        refused: how many of them found nothing at the far end, or no session.
        sent: bytes to the far end, of all connections.
        received: bytes from the far end.
        restarts: how often a session was begun again.
        error: what went wrong last; None once a connection has got through.
        ended: whether nothing is listened on any more.
        cut: why it has ended, where that was not asked for.
        sessions: the ids of all sessions there have been.
    """

    def __init__(
        self,
        api: AwsApi,
        ref: ContainerRef,
        request: ForwardRequest,
        on_notice: Callable[[str], object] | None = None,
    ) -> None:
        self.connections: dict[int, LocalConnection] = {}
        self.accepted = self.refused = self.sent = self.received = self.restarts = 0
        self.error: EcsExecError | None = None
        self.cut: EcsExecError | None = None
        self.sessions: list[str] = []
        self.ended = False
        self.local_port = 0
        self._api = api
        self._ref = ref
        self._request = request
        self._on_notice = on_notice
        self._server: asyncio.Server | None = None
        self._session: PortSession | None = None
        self._turn = asyncio.Lock()
        self._looking = False
        self._serving: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    @property
    def session_id(self) -> str:
        """Of the session there is now; empty where there is none."""
        session = self._session
        return session.session_id if session is not None and not session.over.is_set() else ""

    @property
    def parallel(self) -> bool:
        """Whether the agent takes many connections at once."""
        return self._session is None or not self._session.carrier.parallel

    async def open(self) -> None:
        """Listen, and start the first session.

        Raises:
            InvalidRequest: the local port cannot be had.
            EcsExecError: as :meth:`PortSession.open` says.
        """
        listener = _listen(self._request)
        try:
            await self._live_session()
            self.local_port = int(listener.getsockname()[1])
            self._server = await asyncio.start_server(
                self._accept, sock=listener, start_serving=False
            )
            await self._server.start_serving()
        except BaseException:
            listener.close()
            await self.close(0)
            raise
        # The caller of open() hears of later troubles by `error`: its screen is another cell's.
        self._on_notice = None

    async def wait(self) -> None:
        """Wait for the end."""
        await self._over.wait()

    async def close(self, timeout: float = 3.0) -> None:
        """Stop listening, cut every connection and end the session.

        Args:
            timeout: seconds to wait until the agent has ended it; that goes on in the background.
        """
        self.ended = True
        if self._server is not None:
            self._server.close()
        tasks = [task for task in self._serving if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close(timeout)
        self._over.set()

    # -- sessions --------------------------------------------------------------------------------

    async def _live_session(self) -> PortSession:
        """The session that the next connection goes into; begun anew where there is none."""
        session = self._session
        if session is not None and session.carrier.spent:
            await session.over.wait()  # an old agent: connections take turns
        if session is not None and not session.over.is_set():
            return session
        self._session = await PortSession.open(
            self._api,
            self._ref,
            self._request,
            on_notice=self._on_notice,
            on_refused=self._far_end_refused,
        )
        self.restarts += bool(self.sessions)
        self.sessions.append(self._session.session_id)
        return self._session

    def _far_end_refused(self) -> None:
        self.error = SessionLost(
            f"the agent could not connect to {self._request.destination}",
            cause="nothing listens there, or a firewall is in the way",
        )

    async def _stop_if_gone(self) -> None:
        """Listen no more when the task has stopped: a refused connection says it better."""
        if self._looking:
            return
        self._looking = True
        with contextlib.suppress(EcsExecError):
            found = await describe_tasks(self._api, self._ref.cluster, [self._ref.task_arn])
            if not found or found[0].status == "STOPPED":
                self.error = self.cut = SessionLost(
                    f"the task of {self._ref} has stopped",
                    cause=found[0].stopped_reason if found else "",
                    cure="forward the port of another task",
                )
                await self.close(0)
        self._looking = False

    # -- connections -----------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if len(self.connections) >= MOST or self.ended:
            self.refused += 1
            self.error = SessionLost(f"more than {MOST} connections at once")
            _reset(writer)
            return
        host, port = (writer.get_extra_info("peername") or ("", 0))[:2]
        connection = LocalConnection(self.accepted, f"{host}:{port}")
        self.connections[connection.number] = connection
        task = asyncio.ensure_future(self._serve(connection, reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(
        self,
        connection: LocalConnection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            await self._carry(connection, reader, writer)
        except (EcsExecError, OSError) as error:
            if isinstance(error, EcsExecError):
                self.error = error
            _reset(writer)
            if isinstance(error, EcsExecError):
                await self._stop_if_gone()
        except asyncio.CancelledError:
            _reset(writer)
            raise
        finally:
            self.connections.pop(connection.number, None)
            writer.close()

    async def _carry(
        self,
        connection: LocalConnection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            async with self._turn:
                session = await self._live_session()
                stream = session.carrier.open()
        except EcsExecError:
            self.refused += 1
            raise
        linger = HALF_CLOSED_ALONE if session.carrier.parallel else HALF_CLOSED
        up = asyncio.ensure_future(self._up(connection, stream, reader, linger))
        down = asyncio.ensure_future(self._down(connection, stream, writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                down.result()
                # Whoever is here may still send, and close in peace.
                await asyncio.wait({up}, timeout=HALF_CLOSED)
            else:
                up.result()
                await asyncio.wait({down})
                down.result()
            if connection.received:
                self.error = None
        finally:
            for copy in (up, down):
                copy.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            stream.close()
            if session.carrier.spent:
                await session.close_behind()

    async def _up(
        self,
        connection: LocalConnection,
        stream: Stream,
        reader: asyncio.StreamReader,
        linger: float,
    ) -> None:
        """What comes from here goes there; what comes behind the far end's end is dropped."""
        while data := await reader.read(_CHUNK):
            await stream.write(data)
            connection.sent += len(data)
            self.sent += len(data)
        # There may be more to come, and its end would be the end of that too.
        seen = -1
        while not stream.ended and (seen != connection.received or stream.pending):
            seen = connection.received
            await asyncio.sleep(linger)
        stream.close()

    async def _down(
        self, connection: LocalConnection, stream: Stream, writer: asyncio.StreamWriter
    ) -> None:
        """What comes from there goes here, to its end."""
        while data := await stream.read():
            writer.write(data)
            await writer.drain()
            stream.taken(len(data))
            connection.received += len(data)
            self.received += len(data)
        if stream.refused:
            self.refused += 1
            raise ConnectionResetError
        # An end, and not a cut: whoever still reads here gets all of it.
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection so that its other end sees a cut and no orderly end."""
    made = writer.get_extra_info("socket")
    if made is not None:
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


def _listen(request: ForwardRequest) -> socket.socket:
    family = socket.AF_INET6 if ":" in request.bind else socket.AF_INET
    try:
        return socket.create_server((request.bind, request.local_port), family=family, backlog=128)
    except OSError as error:
        port = request.local_port
        if error.errno == errno.EADDRINUSE:
            raise InvalidRequest(
                f"local port {port} is taken",
                cause="another program, or another forward, listens on it",
                cure="name another with --local-port N (local_port=N in Python), 0 for one that is "
                f"free; %ecs_forward --stop {port} ends a forward of this notebook",
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise InvalidRequest(
                f"local port {port} may not be listened on",
                cause="ports below 1024 need special rights on most systems",
                cure=f"name another, such as --local-port {port + 8000}; 0 takes a free one",
            ) from None
        raise InvalidRequest(
            f"{request.bind}:{port} cannot be listened on: {error.strerror or error}",
            cure="leave --bind out: 127.0.0.1 serves this machine",
        ) from None
