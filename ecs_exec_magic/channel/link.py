"""The chain of websockets that carries one session: opened, kept alive, resumed (PROTOCOL 1).

Knows tokens, signing, pings and how often to try again. Never knows frames or events.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from ..errors import AccessDenied, ConnectError, EcsExecError
from ..waiting import wait_for
from .dialing import Dialer, UpgradeRefused
from .websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import ConnectionOptions, SessionGrant, SessionServices

__all__ = ["Link", "words"]

logger = logging.getLogger(__name__)

_LONGEST_DELAY = 5.0
_SETTLED = 30.0
"""Seconds a websocket must have stood for its loss to be a new incident."""


class _SessionOver(Exception):
    """AWS says that there is nothing left to resume."""


class Link:
    """Carries messages for as long as the session can be resumed.

    Args:
        grant: the session.
        services: asked for signatures and to resume.
        options: times and attempts.
        on_open: called with the token of each websocket opened; what it sends goes first.
        on_messages: called with all messages of one read.
        on_gone: called once with the reason when there will be no further websocket.
        progress: a count that moves as long as the session does.
    """

    def __init__(
        self,
        grant: SessionGrant,
        services: SessionServices,
        options: ConnectionOptions,
        *,
        on_open: Callable[[str], None],
        on_messages: Callable[[list[bytes | str]], None],
        on_gone: Callable[[str], None],
        progress: Callable[[], int],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session_id = grant.session_id
        self._url = grant.stream_url
        self._first_token = grant.token
        self._services = services
        self._options = options
        self._on_open = on_open
        self._on_messages = on_messages
        self._on_gone = on_gone
        self._progress = progress
        self._dialer = Dialer(
            options.ca_bundle, options.verify, options.proxies, options.open_timeout
        )
        self._websocket: WebSocket | None = None
        self._opened_at = 0.0
        self._down = asyncio.Event()
        self._reason = ""
        self._finished = False
        self._keeper: asyncio.Task[None] | None = None
        self._heartbeat: asyncio.TimerHandle | None = None

    @property
    def up(self) -> bool:
        """Whether messages can be sent now."""
        return self._websocket is not None

    @property
    def reading(self) -> bool:
        """Whether anything is read."""
        return self._websocket is None or self._websocket.reading

    def send(self, messages: list[bytes | str]) -> None:
        """Send messages in one write; only while :attr:`up`."""
        if self._websocket is not None:
            self._websocket.send(messages)

    def pause_reading(self) -> None:
        """Stop reading."""
        if self._websocket is not None:
            self._websocket.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._websocket is not None:
            self._websocket.resume_reading()

    # ------------------------------------------------------------------ opening

    async def open(self) -> None:
        """Open the first websocket, and from then on keep the session connected.

        Raises:
            ConnectError: no connection could be made.
        """
        attempts = max(1, self._options.open_attempts)
        for attempt in range(attempts):
            try:
                await self._connect(self._first_token)
                break
            except UpgradeRefused as error:
                # A server that is overloaded says so; anything else will not get better.
                busy = error.status == 429 or error.status >= 500
                if not busy or attempt + 1 == attempts:
                    raise
            await asyncio.sleep(self._delay(attempt))
        self._first_token = ""
        self._keeper = self._loop.create_task(self._keep())

    async def _connect(self, token: str) -> None:
        headers = await self._sign()
        try:
            websocket = await self._dialer.open(self._url, headers, self._new_websocket)
        except UpgradeRefused as error:
            if not headers or not 400 <= error.status < 500:
                raise
            # Older gateways, and presigned URLs, take no signature (PROTOCOL 1.3).
            logger.debug("%s: signed upgrade refused, trying unsigned", self._session_id)
            websocket = None
        if websocket is None:
            websocket = await self._dialer.open(self._url, {}, self._new_websocket)
        if websocket.lost:
            raise ConnectError(
                "the data channel was closed as soon as it was opened",
                cause=websocket.reason,
                cure="start the command again",
            )
        self._websocket = websocket
        self._down.clear()
        self._opened_at = self._loop.time()
        # The answer to the upgrade was a sign of life: a short command needs no ping at all.
        self._next_beat(websocket)
        self._on_open(token)

    def _new_websocket(self) -> WebSocket:
        return WebSocket(self._on_messages, self._lost)

    async def _sign(self) -> dict[str, str]:
        try:
            return dict(await wait_for(self._services.sign(self._url), self._options.open_timeout))
        except Exception as error:  # noqa: BLE001  # unsigned may do, and is tried
            logger.debug("%s: not signed: %s", self._session_id, type(error).__name__)
            return {}

    # ------------------------------------------------------------------ life and death

    def _beat(self, websocket: WebSocket) -> None:
        """Ping, and look for the answer later; a dead link shows itself in no other way."""
        if websocket is not self._websocket:
            return
        websocket.ping()
        now = self._loop.time()
        self._loop.call_later(self._options.dead_after, self._check, websocket, now)
        self._next_beat(websocket)

    def _next_beat(self, websocket: WebSocket) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        wait = max(self._options.ping_interval, self._options.dead_after)
        self._heartbeat = self._loop.call_later(wait, self._beat, websocket)

    def _check(self, websocket: WebSocket, pinged_at: float) -> None:
        if websocket is self._websocket and websocket.reading and websocket.last_seen < pinged_at:
            websocket.abort("the far end no longer answers")

    def _lost(self, reason: str) -> None:
        if self._websocket is None:
            return  # of a websocket that was never in use
        logger.debug("%s: connection lost: %s", self._session_id, reason)
        self._websocket = None
        self._reason = reason
        self._down.set()

    async def _keep(self) -> None:
        """Resume whenever the websocket is lost."""
        attempts, mark = 0, self._progress()
        while True:
            await self._down.wait()
            if self._finished:
                return
            moved = self._progress()
            if moved != mark or self._loop.time() - self._opened_at > _SETTLED:
                attempts = 0
            mark = moved
            failure = self._reason
            while self._websocket is None:
                if attempts >= self._options.resume_attempts:
                    self._on_gone(f"the connection was lost and could not be resumed: {failure}")
                    return
                if attempts:
                    await asyncio.sleep(self._delay(attempts - 1))
                attempts += 1
                try:
                    await self._resume()
                except _SessionOver:
                    self._on_gone("timed out")
                    return
                except AccessDenied as error:
                    self._on_gone(f"the connection was lost and may not be resumed: {error}")
                    return
                except Exception as error:  # noqa: BLE001  # AWS's errors are its layer's
                    failure = words(error)
                    logger.debug("%s: not resumed: %s", self._session_id, type(error).__name__)

    async def _resume(self) -> None:
        url, token = await wait_for(self._services.resume(), self._options.open_timeout)
        if not token:
            raise _SessionOver
        if url:
            self._url = url  # its cell may have changed (PROTOCOL 1.6)
        await self._connect(token)
        logger.debug("%s: resumed", self._session_id)

    def _delay(self, attempt: int) -> float:
        first = self._options.resume_delay
        return min(first * (1 + random.random()) * float(2**attempt), _LONGEST_DELAY)

    def finish(self) -> None:
        """The session has ended: a websocket that is lost from now on stays lost."""
        self._finished = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()

    async def close(self) -> None:
        """Close the websocket and stop keeping it."""
        self.finish()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        websocket, self._websocket = self._websocket, None
        if websocket is not None:
            await websocket.close()


def words(error: BaseException) -> str:
    """Say what an error was, without what foreign code may have put into its text."""
    if isinstance(error, EcsExecError):
        return error.cause or str(error)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "no answer in time"
    return type(error).__name__
