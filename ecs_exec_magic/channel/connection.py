"""One asyncio connection that drives a data channel (PROTOCOL 1).

Knows when to send, wait, stop reading and end. Never knows boto3, notebooks, or what is being run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from ..errors import ConnectError, SessionLost
from ..waiting import wait_for
from .frames import MAX_PAYLOAD
from .link import Link, words
from .protocol import DataChannel
from .session import ConnectionOptions, SessionGrant, SessionServices

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any

    from .events import DataKeyNeeded, Event

__all__ = ["Connection", "ConnectionOptions", "SessionGrant", "SessionServices", "unfinished"]

logger = logging.getLogger(__name__)

_unfinished: set[asyncio.Task[None]] = set()
"""Closings that go on after the one who asked was cancelled; kept, or they might be collected."""

_AFTER_TERMINATE = 5.0


class Connection:
    """One session, connected; made by :meth:`open`.

    Reading goes on by itself and stops while too much waits for :meth:`receive`. A connection that
    is cut is resumed without anything lost or doubled; only when that fails does the session end
    with :class:`~.events.Lost`.

    Attributes:
        session_id: the session's name.
        last_activity: the loop's time at which the last message came.
    """

    def __init__(
        self, grant: SessionGrant, services: SessionServices, options: ConnectionOptions
    ) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.session_id = grant.session_id
        self.last_activity = now
        self._services = services
        self._options = options
        self._channel = DataChannel(grant.session_id, target=grant.target, epoch=time.time() - now)
        self._link = Link(
            grant,
            services,
            options,
            on_open=self._opened,
            on_messages=self._received,
            on_gone=self._gone,
            progress=lambda: self._channel.progress,
        )
        self._readable = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        self._send_lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._key_task: asyncio.Task[None] | None = None
        self._termination: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._given_up = False

    def __repr__(self) -> str:
        return f"<Connection {self.session_id} {'ended' if self._channel.ended else 'open'}>"

    # ------------------------------------------------------------------ opening and ending

    @classmethod
    async def open(
        cls,
        grant: SessionGrant,
        services: SessionServices,
        options: ConnectionOptions | None = None,
    ) -> Connection:
        """Connect to a session that AWS has started; if that fails the session is terminated.

        Args:
            grant: what AWS gave.
            services: what the connection needs of AWS from here on.
            options: settings; None for the defaults.

        Raises:
            ConnectError: the gateway cannot be reached, or refuses.
        """
        connection = cls(grant, services, options or ConnectionOptions())
        try:
            await connection._link.open()
        except BaseException as error:
            await connection.aclose()
            if isinstance(error, ConnectError):
                # Before Python 3.11 what the event loop threw hangs itself on again.
                error.__context__ = None
            raise
        return connection

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def closed(self) -> bool:
        """Whether the session has ended in order: channel_closed was seen (PROTOCOL 3.7)."""
        return self._channel.closed

    @property
    def ended(self) -> bool:
        """Whether the session has ended, in order or not; events may still wait."""
        return self._channel.ended

    @property
    def ready(self) -> bool:
        """Whether the agent takes input; until then it is held back (PROTOCOL 3.4)."""
        return self._channel.ready

    @property
    def unread(self) -> bool:
        """Whether events wait for :meth:`receive`; reading may have stopped until it is called."""
        return self._channel.has_events

    @property
    def unanswered(self) -> int:
        """Bytes of input that the agent has not acknowledged although the connection stands."""
        return self._channel.outstanding if self._link.up and self._link.reading else 0

    async def terminate(self) -> None:
        """Ask AWS to end the session, at most once; a failure is logged, not raised.

        The agent then kills the process, and the session ends with :class:`~.events.Closed`.
        """
        if self._termination is None:
            self._termination = _spawn(self._terminate())
        await asyncio.shield(self._termination)

    async def _terminate(self) -> None:
        try:
            await wait_for(self._services.terminate(), self._options.terminate_timeout)
        except Exception as error:  # noqa: BLE001  # best effort, whatever AWS's layer raises
            logger.info(
                "session %s could not be terminated: %s", self.session_id, type(error).__name__
            )

    async def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait for the end of the session; True when it ended in order.

        Output must be received meanwhile, or reading stops when too much waits.

        Args:
            timeout: seconds; None waits for ever.
        """
        if not self._channel.ended:
            with contextlib.suppress(asyncio.TimeoutError):
                await wait_for(self._over.wait(), timeout)
        return self._channel.closed

    async def aclose(self) -> None:
        """Close; a session that has not ended by itself is terminated (PROTOCOL 5.4).

        Goes on in the background if the caller is cancelled.
        """
        if self._closing is None:
            self._closing = _spawn(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # Without TerminateSession the remote process would run on until the idle timeout.
        ends = [] if self._channel.closed else [asyncio.ensure_future(self.terminate())]
        if self._key_task is not None:
            self._key_task.cancel()
        self._flush()
        self._channel.fail("closed by this side")
        self._update()
        await self._link.close()
        if ends:
            await asyncio.wait(ends)

    # ------------------------------------------------------------------ input

    async def send(self, data: bytes) -> None:
        """Send input; waits while too much of it is unacknowledged.

        Several callers are served one after the other. One that is cancelled has sent the first
        part of its data, in order.

        Raises:
            SessionLost: the session has ended.
        """
        window = self._options.window
        async with self._send_lock:
            at = 0
            while at < len(data):
                room = window - self._channel.outstanding
                if self._channel.ended:
                    raise SessionLost("the session has ended: input can no longer be sent")
                if room <= 0:
                    self._room.clear()
                    await self._room.wait()
                    continue
                take = max(MAX_PAYLOAD, room - room % MAX_PAYLOAD)
                self._channel.send_input(data[at : at + take], self._loop.time())
                self._update()
                at += take

    async def send_flag(self, value: int) -> None:
        """Send a flag of a port session (PROTOCOL 2.2)."""
        self._channel.send_flag(value, self._loop.time())
        self._update()

    async def resize(self, cols: int, rows: int) -> None:
        """Tell the far end the size of the terminal."""
        if not self._channel.ended:
            self._channel.send_size(cols, rows, self._loop.time())
            self._update()

    async def drained(self) -> None:
        """Wait until all input is acknowledged.

        Raises:
            SessionLost: the session has ended before.
        """
        while self._channel.outstanding:
            if self._channel.ended:
                raise SessionLost("the session has ended before all input was taken")
            self._room.clear()
            await self._room.wait()

    # ------------------------------------------------------------------ output

    async def receive(self) -> list[Event]:
        """Wait for something to happen and return all that has, neighbouring output joined.

        The last event is Closed or Lost; after it an empty list is returned at once, for ever.
        """
        while not self._channel.has_events:
            if self._channel.ended:
                return []
            self._readable.clear()
            await self._readable.wait()
        events = self._channel.events_received()
        self._link.resume_reading()
        return events

    async def drain(self) -> None:
        """Forget whatever comes until it is over: an agent that cannot send does not end."""
        while await self.receive():
            pass

    # ------------------------------------------------------------------ the link calls these

    def _opened(self, token: str) -> None:
        self._channel.connect(token, self._loop.time())
        self._update()

    def _received(self, messages: list[bytes | str]) -> None:
        now = self._loop.time()
        self.last_activity = now
        self._channel.receive_many(messages, now)
        self._update()

    def _gone(self, reason: str) -> None:
        self._channel.fail(reason)
        self._update()

    def _flush(self) -> None:
        if self._link.up:
            self._link.send(self._channel.data_to_send())

    def _update(self) -> None:
        """Do what the channel's state now asks for; after everything that may have changed it."""
        channel = self._channel
        self._flush()
        if channel.has_events:
            self._readable.set()
        if channel.queued > self._options.max_queued:
            self._link.pause_reading()
        if channel.ended:
            self._over.set()
            self._readable.set()
            self._room.set()
            self._link.finish()
        elif channel.outstanding < self._options.window:
            self._room.set()
        if channel.data_key_needed is not None and self._key_task is None:
            self._key_task = self._loop.create_task(self._fetch_key(channel.data_key_needed))
        self._set_timer()

    def _set_timer(self) -> None:
        at = self._channel.next_timeout()
        if self._timer is not None:
            if at is not None and self._timer.when() <= at and not self._timer.cancelled():
                return  # will look again when it fires
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        if not self._link.up or not self._link.reading:
            # Acknowledgements may be waiting unread, and nothing is to be sent anyway.
            self._timer = self._loop.call_later(0.1, self._tick)
            return
        self._channel.tick(now)
        if self._channel.exhausted and not self._given_up:
            self._given_up = True
            logger.warning("session %s takes no input any more, ending it", self.session_id)
            _spawn(self._give_up())
        self._update()

    async def _give_up(self) -> None:
        """End a session whose agent acknowledges nothing (PROTOCOL 1.6)."""
        await self.terminate()
        if not await self.wait_closed(_AFTER_TERMINATE):
            self._gone("input was not acknowledged")

    async def _fetch_key(self, needed: DataKeyNeeded) -> None:
        channel = self._channel
        try:
            plaintext, ciphertext = await wait_for(
                self._services.generate_data_key(needed.key_id, dict(needed.context)),
                self._options.data_key_timeout,
            )
        except Exception as error:  # noqa: BLE001  # the agent must hear of it, whatever it was
            text = f"Failed to generate a data key with KMS: {words(error)}"
            channel.refuse_data_key(text, self._loop.time())
        else:
            channel.provide_data_key(plaintext, ciphertext, self._loop.time())
        self._update()


def unfinished() -> set[asyncio.Task[None]]:
    """What is being done to end sessions, in any loop; it takes seconds at most."""
    return set(_unfinished)


def _spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
    return task
