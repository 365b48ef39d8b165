"""The one port as an HTTP proxy to AWS, for programs that know of no other endpoint.

Knows how a connection begins, ``CONNECT`` and TLS. Never knows requests; never leads anywhere else.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from .authority import Authority, is_aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

__all__ = ["Listener", "origin_form", "refusal"]

_VERB = b"CONNECT "
_END = b"\r\n\r\n"
_LONGEST_HEAD = 16 << 10
_LIMIT = 10.0  # seconds for a request to connect, and again for TLS
_BACKLOG = 128
_LINE = re.compile(rb"CONNECT ([!-~]+) HTTP/1\.[01]")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def refusal(place: str) -> str:
    """One line for a client that wants to be led where the cluster does not lead."""
    shown = place[:260].encode("ascii", "backslashreplace").decode()
    return f"{shown} is not AWS's; the practice cluster leads nowhere else\n"


def origin_form(target: str, port: int) -> str | None:
    """The path and query of a target that may name a host, as it does when sent to a proxy.

    Args:
        target: of a request, with its escapes.
        port: the cluster's own; it may be named too.

    Returns:
        None where the host is neither AWS's nor the cluster's own.
    """
    found = _ABSOLUTE.match(target)
    if found is None:
        return target
    place, rest = found[1].lower(), found[2].partition("#")[0]
    if not is_aws(place.removesuffix(":80")) and place not in _own(port):
        return None
    return rest if rest.startswith("/") else f"/{rest}"


def _own(port: int) -> tuple[str, str]:
    return f"127.0.0.1:{port}", f"localhost:{port}"


class Listener:
    """Listens on the one port and ends what came over it.

    Args:
        runner: serves HTTP; it is set up.
        authority: makes the certificates of AWS's hosts.
        limit: seconds that a client has to say where it wants to be led, and again for TLS.
    """

    def __init__(
        self, runner: web.AppRunner, authority: Authority, *, limit: float = _LIMIT
    ) -> None:
        self.authority = authority
        self.limit = limit
        self.waiting: set[_Beginning] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.tunnels: WeakSet[asyncio.Transport] = WeakSet()
        self._runner = runner
        self._server: asyncio.Server | None = None
        self._closed = False

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is a free one for 0.

        Raises:
            OSError: it is taken.
        """
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Beginning(self), host, port, backlog=_BACKLOG
        )
        return int(self._server.sockets[0].getsockname()[1])

    def wait(self, beginning: _Beginning) -> None:
        """Remember a connection that has said nothing yet."""
        if self._closed:  # it came in the moment of the end
            beginning.abort()
        else:
            self.waiting.add(beginning)

    def serve(self) -> asyncio.Protocol:
        """What speaks HTTP on a new connection."""
        make = cast("Callable[[], asyncio.Protocol]", self._runner.server)
        return make()

    async def close(self) -> None:
        """Listen no more, let requests end as the runner does, then cut what is left."""
        self._closed = True
        if self._server is not None:
            loop = asyncio.get_running_loop()
            for sock in self._server.sockets:
                loop.remove_reader(sock.fileno())
            for _ in range(3):  # asyncio loses a connection that is half accepted at its close
                await asyncio.sleep(0)
            self._server.close()
        for beginning in list(self.waiting):
            beginning.abort()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._runner.cleanup()
        for transport in list(self.tunnels):
            transport.abort()  # TLS would wait for the other side to say good-bye


class _Beginning(asyncio.Protocol):
    """A connection until it is known what it speaks; then HTTP takes it over.

    After ``CONNECT`` it is also what TLS gives its first bytes to.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._data = b""
        self._secured = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener.wait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._secured:
            return  # kept for HTTP, which takes over in a moment
        if not _VERB.startswith(self._data[: len(_VERB)]):
            self._hand_over(self._transport)
        elif _END in self._data:
            self._connect()
        elif len(self._data) > _LONGEST_HEAD:
            self._refuse("431 Request Header Fields Too Large", "this is too long\n")
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._listener.limit, self._too_late)

    def abort(self) -> None:
        """End it at once."""
        self._done()
        self._transport.abort()

    def _done(self) -> None:
        self._listener.waiting.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def _too_late(self) -> None:
        self._refuse("408 Request Timeout", "this took too long\n")

    def _refuse(self, status: str, text: str) -> None:
        self._done()
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
        self._transport.write(f"{head}Connection: close\r\n\r\n{text}".encode())
        self._transport.close()

    def _hand_over(self, transport: asyncio.Transport) -> None:
        self._done()
        protocol = self._listener.serve()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._data:
            protocol.data_received(self._data)

    def _connect(self) -> None:
        head, _, rest = self._data.partition(_END)
        found = _LINE.fullmatch(head.partition(b"\r\n")[0])
        if found is None or rest:  # nobody may speak on before the answer
            self._refuse("400 Bad Request", "this is no request to connect\n")
            return
        place = found[1].decode("ascii")
        host, _, port = place.lower().rpartition(":")
        if port != "443" or not is_aws(host):
            self._refuse("403 Forbidden", refusal(place))
            return
        self._data = b""
        self._secured = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.pause_reading()  # what comes next is for TLS
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        task = asyncio.get_running_loop().create_task(self._secure(host))
        self._listener.tasks.add(task)
        task.add_done_callback(self._listener.tasks.discard)

    async def _secure(self, host: str) -> None:
        transport, listener = self._transport, self._listener
        listener.tunnels.add(transport)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                listener.authority.context(host),
                server_side=True,
                ssl_handshake_timeout=listener.limit,
            )
        except OSError:  # the client has gone, or does not trust us
            self.abort()
            return
        if secured is None or transport.is_closing():
            self._done()
        else:
            self._hand_over(secured)
