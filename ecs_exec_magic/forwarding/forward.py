"""A forwarded port for threads: served by the process's own loop, used from anywhere.

Knows the portal. Never knows sessions' bytes, nor notebooks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from typing import TYPE_CHECKING

from ..portal import ThreadBridge, awaited, portal
from .tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from ..address import ContainerRef
    from ..aws.api import AwsApi
    from ..errors import EcsExecError
    from .request import ForwardRequest
    from .tunnel import LocalConnection

__all__ = ["Forward", "open_forwards"]

STOP_LIMIT = 3.0

_open: set[Forward] = set()


class Forward:
    """A port of a container, or of a host that it reaches, as a port of this machine.

    Made by :meth:`Target.forward`, and open from then on. Programs of this machine, this process's
    blocking clients too, connect to :attr:`local_port`. ``with`` and ``async with`` give the number
    of that port, as a plain int, which is all that sockets take, and stop it at the end.

    Attributes:
        target: the container.
        port: at the far end.
        host: at the far end; empty for the container itself.
    """

    def __init__(self, ref: ContainerRef, request: ForwardRequest, tunnel: Tunnel) -> None:
        self.target = ref
        self.port = request.port
        self.host = request.host
        self._request = request
        self._tunnel = tunnel
        self._loop = portal.loop()
        self._serving = portal.submit(tunnel.wait())  # the loop is needed until it ends
        _open.add(self)
        self._serving.add_done_callback(lambda _: _open.discard(self))

    @classmethod
    def open(
        cls,
        api: AwsApi,
        ref: ContainerRef,
        request: ForwardRequest,
        on_notice: Callable[[str], object] | None = None,
    ) -> Forward:
        """Listen and start a session; errors as :meth:`Tunnel.open` says.

        ``on_notice`` is called on the loop's thread. The interrupt key gives up.
        """
        portal.at_stop(_close_all)
        opening = _Opening(api, ref, request, on_notice)
        try:
            ThreadBridge().call(opening.opened())
        except BaseException:
            opening.give_up()
            raise
        return cls(ref, request, opening.tunnel)

    @classmethod
    async def open_async(
        cls,
        api: AwsApi,
        ref: ContainerRef,
        request: ForwardRequest,
        on_notice: Callable[[str], object] | None = None,
    ) -> Forward:
        """The same, awaitable on any loop; cancelling it gives up."""
        portal.at_stop(_close_all)
        opening = _Opening(api, ref, request, on_notice)
        try:
            await awaited(ThreadBridge(), opening.opened())
        except BaseException:
            opening.give_up()
            raise
        return cls(ref, request, opening.tunnel)

    # -- what it is ------------------------------------------------------------------------------

    @property
    def local_port(self) -> int:
        """The port to connect to."""
        return self._tunnel.local_port

    @property
    def address(self) -> tuple[str, int]:
        """Where to connect to, as sockets take it."""
        bind = self._request.bind
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
        return reachable, self.local_port

    @property
    def url(self) -> str:
        """The same as an HTTP address."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def destination(self) -> str:
        """What it leads to, in words: ``port 80``, or ``db.internal:5432``."""
        return self._request.destination

    @property
    def session_id(self) -> str:
        """Of Session Manager; empty while no session is there."""
        return self._tunnel.session_id

    # -- how it goes -----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether connections are taken."""
        return not self._tunnel.ended

    @property
    def state(self) -> str:
        """``open`` with a session, ``idle`` until the next connection begins one, ``stopped``."""
        if not self.running:
            return "stopped"
        return "open" if self.session_id else "idle"

    @property
    def connections(self) -> list[LocalConnection]:
        """Those that are open now."""
        return list(self._tunnel.connections.values())

    @property
    def accepted(self) -> int:
        """Connections there have been."""
        return self._tunnel.accepted

    @property
    def refused(self) -> int:
        """How many of them found nothing at the far end."""
        return self._tunnel.refused

    @property
    def bytes_sent(self) -> int:
        """To the far end, by all connections."""
        return self._tunnel.sent

    @property
    def bytes_received(self) -> int:
        """From the far end."""
        return self._tunnel.received

    @property
    def restarts(self) -> int:
        """How often a session was begun anew after one had ended."""
        return self._tunnel.restarts

    @property
    def parallel(self) -> bool:
        """Whether connections go side by side; with an old agent they take turns."""
        return self._tunnel.parallel

    @property
    def error(self) -> EcsExecError | None:
        """What went wrong last; None once a connection has got through."""
        return self._tunnel.error

    @property
    def cut(self) -> EcsExecError | None:
        """Why it has ended, where nobody asked for that; else None."""
        return self._tunnel.cut

    @property
    def session_ids(self) -> list[str]:
        """Of all sessions there have been, the last one last."""
        return list(self._tunnel.sessions)

    # -- the end ---------------------------------------------------------------------------------

    def stop(self, timeout: float = STOP_LIMIT) -> None:
        """Stop listening, cut what is connected, and end the session; harmless when it has ended.

        Args:
            timeout: seconds to wait until the agent has ended it; that goes on in the background.
        """
        _open.discard(self)
        if self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._tunnel.close(timeout), self._loop)
        with contextlib.suppress(
            concurrent.futures.TimeoutError, concurrent.futures.CancelledError
        ):
            closing.result(timeout + 2.0)

    async def stop_async(self, timeout: float = STOP_LIMIT) -> None:
        """:meth:`stop`, awaitable."""
        _open.discard(self)
        if self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._tunnel.close(timeout), self._loop)
        await asyncio.wait({asyncio.wrap_future(closing)}, timeout=timeout + 2.0)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have something called once it has ended, in the package's own thread.

        It is called in any case, and at once where it has ended already; it must not block.
        """
        self._serving.add_done_callback(lambda _: callback())

    def __enter__(self) -> int:
        return self.local_port

    async def __aenter__(self) -> int:
        return self.local_port

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop_async()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __reduce__(self) -> Any:
        raise TypeError("a forwarded port does not travel: it belongs to this process")

    def __repr__(self) -> str:
        to = f"{self.target} {self.destination}"
        if self.host:
            to = f"{self.destination} through {self.target}"
        host, port = self.address
        state = "" if self.running else ", stopped"
        return f"<Forward {host}:{port} to {to}{state}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from .views import forward_html

        return {"text/plain": repr(self), "text/html": forward_html(self)}


class _Opening:
    """A forward that is yet to open, or to be given up."""

    def __init__(
        self,
        api: AwsApi,
        ref: ContainerRef,
        request: ForwardRequest,
        on_notice: Callable[[str], object] | None,
    ) -> None:
        self.tunnel: Tunnel
        self._made: list[Tunnel] = []
        self._arguments = (api, ref, request, on_notice)

    async def opened(self) -> None:
        """Open it, on the portal's loop."""
        self.tunnel = Tunnel(*self._arguments)
        self._made.append(self.tunnel)
        await self.tunnel.open()

    def give_up(self) -> None:
        """Close it: it may have opened in the moment in which it was given up."""
        for each in self._made:
            portal.submit(each.close(0))


def open_forwards() -> list[Forward]:
    """Every forward of this process that takes connections."""
    return [forward for forward in list(_open) if forward.running]


async def _close_all() -> None:
    """Close every forward of this process, before its loop stops."""
    closing = list(_open)
    _open.clear()
    await asyncio.gather(*(each._tunnel.close() for each in closing), return_exceptions=True)
    # Whoever wants to hear of an end has heard of it then.
    ends = (asyncio.wrap_future(each._serving) for each in closing)
    await asyncio.gather(*ends, return_exceptions=True)
