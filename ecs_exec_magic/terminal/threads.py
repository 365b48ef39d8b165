"""The same session for threads: served by the process's own loop, used from anywhere.

Knows the portal, and what waits between two threads. Never knows local terminals.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from ..errors import SessionLost
from ..portal import Gate, ThreadBridge, portal
from ..runner import CLOSE_LIMIT, settling
from .session import UNREAD, TerminalSession, close_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..address import ContainerRef
    from ..aws.api import AwsApi
    from .session import Ending

__all__ = ["Terminal"]

_PIECE = 16 * 1024


class Terminal:
    """A :class:`TerminalSession` for threads; its methods may be called from any of them.

    Args:
        on_output: called on the loop's thread with each piece of output, and with nothing at the
            end. It must not block: for each byte that it has dealt with :meth:`taken` is called,
            and while too many are not, the far end is held back.
        limit: how many these are.
    """

    def __init__(self, on_output: Callable[[bytes], object], *, limit: int = UNREAD) -> None:
        self._loop = portal.loop()
        self._on_output = on_output
        self._gate = Gate(self._loop, limit)
        self._session: TerminalSession | None = None
        self._opening: asyncio.Task[TerminalSession] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._typed = bytearray()
        self._unsent = 0
        self._typing: asyncio.Task[None] | None = None
        self._done: concurrent.futures.Future[Ending] = concurrent.futures.Future()

    def __repr__(self) -> str:
        return f"<Terminal {self.session_id or 'unopened'}>"

    def open(
        self,
        api: AwsApi,
        ref: ContainerRef,
        command: str | Sequence[str],
        columns: int,
        rows: int,
        on_notice: Callable[[str], object] | None = None,
    ) -> Terminal:
        """Open the session; arguments as for :meth:`TerminalSession.open`.

        ``on_notice`` is called on the loop's thread. The interrupt key gives up.

        Raises:
            SessionLost: it was closed meanwhile.
        """
        portal.at_stop(close_all)

        async def opened() -> TerminalSession:
            self._opening = asyncio.current_task()
            session = await TerminalSession.open(
                api, ref, command, columns=columns, rows=rows, on_notice=on_notice
            )
            self._session = session
            if self._closed:
                await session.close()
            return session

        given_up = SessionLost(f"the session in {ref} was closed before it had opened")
        if self._closed:
            raise given_up
        try:
            session = ThreadBridge().call(opened())
        except concurrent.futures.CancelledError:
            raise given_up from None
        except BaseException:
            # It may have opened in the moment in which it was given up.
            self.close(0)
            raise
        portal.submit(self._serve(session))
        return self

    @property
    def request_id(self) -> str:
        """Of the call that started the session; empty before."""
        return self._session.request_id if self._session is not None else ""

    @property
    def session_id(self) -> str:
        """Of Session Manager."""
        return self._session.session_id if self._session is not None else ""

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the far end has no room for yet."""
        return self._unsent

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it lasts."""
        return self._session.ending if self._session is not None else None

    def write(self, data: bytes) -> None:
        """Type something; what is typed when the session is over is dropped."""
        if data:
            with self._lock:
                self._unsent += len(data)
            self._on_loop(self._type, data)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal a size."""
        self._on_loop(self._resize, columns, rows)

    def taken(self, count: int) -> None:
        """So many bytes of output have been dealt with."""
        self._gate.taken(count)

    def close(self, timeout: float = CLOSE_LIMIT) -> None:
        """End the session and its program, if it has not ended; one that opens is given up.

        Args:
            timeout: seconds to wait until the agent has ended it; that goes on in the background.
                On the loop's own thread it must be 0.
        """
        self._closed = True
        session = self._session
        if session is None:
            if self._opening is not None:
                self._on_loop(self._opening.cancel)
            return
        if self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(session.close(timeout), self._loop)
        if timeout > 0:
            with contextlib.suppress(concurrent.futures.TimeoutError):
                closing.result(timeout + 0.5)

    def wait(self, timeout: float | None = None) -> Ending | None:
        """Wait until the session is over and all output has been handed out.

        Args:
            timeout: seconds to wait at most; None is then returned.
        """
        try:
            return self._done.result(timeout)
        except concurrent.futures.TimeoutError:
            return None

    # -- on the loop -----------------------------------------------------------------------------

    def _on_loop(self, what: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(what, *args)

    async def _serve(self, session: TerminalSession) -> None:
        try:
            ending = await self._hand_out(session)
        except BaseException as error:
            self._done.set_exception(error)
            raise
        self._done.set_result(ending)  # only now: who waits finds the end handed out

    async def _hand_out(self, session: TerminalSession) -> Ending:
        """Hand out what comes, and that it is over; how it ended."""
        # Once it is over nobody may take anything any more.
        over = asyncio.ensure_future(session.wait())
        over.add_done_callback(lambda _: self._gate.open())
        try:
            async for data in session:
                self._gate.put(len(data))
                self._on_output(data)
                await self._gate.passed()
            return await over
        except BaseException:
            over.cancel()
            await session.close(0)
            raise
        finally:
            if self._typing is not None:
                self._typing.cancel()
            self._on_output(b"")

    def _type(self, data: bytes) -> None:
        self._typed += data
        if self._typing is None:
            self._typing = self._loop.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._typed and self._session is not None:
                data = bytes(self._typed[:_PIECE])
                del self._typed[:_PIECE]
                with contextlib.suppress(SessionLost):
                    await self._session.write(data)
                with self._lock:
                    self._unsent -= len(data)
        finally:
            self._typing = None

    def _resize(self, columns: int, rows: int) -> None:
        if self._session is not None:
            # It never waits; but a task keeps the order in which sizes came.
            settling(self._session.resize(columns, rows))
