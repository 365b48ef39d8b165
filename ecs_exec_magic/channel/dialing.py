"""How a websocket is connected: names, proxies, TLS, the upgrade, and what can go wrong there.

Knows URLs, sockets and certificates. Never knows sessions, tokens or what is sent afterwards.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from picows import WSHandshakeError, WSInvalidURL, ws_connect
from python_socks import ProxyError  # what picows raises of a proxy's refusal

from ..errors import ConnectError
from ..waiting import wait_for
from .websocket import MAX_MESSAGE, WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from picows import WSParsedURL

__all__ = ["Dialer", "UpgradeRefused", "choose_proxy", "without_query"]

_READ_BUFFER = 64 * 1024
"""What is read at once: one batch of messages. Every session holds so much for as long as it is
open; larger ones have made no output faster."""

_ADDRESS_PATIENCE = 5.0

_PROXY_VARIABLES = [
    name
    for each in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")
    for name in (each, each.upper())
]
_PROXIES_FRESH = 5.0  # seconds

# picows logs the upgrade request, credentials and all, at its lowest level. Its logger is therefore
# one that cannot be found by name and set lower.
_quiet = logging.Logger("ecs_exec_magic.channel.picows", logging.WARNING)
_quiet.parent = logging.getLogger("ecs_exec_magic.channel")


class UpgradeRefused(ConnectError):
    """The server answered the upgrade with another status.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, *, status: int, cause: str, cure: str) -> None:
        super().__init__(message, cause=cause, cure=cure)
        self.status = status


def without_query(url: str) -> str:
    """Return a URL as it may be shown: a query can hold a signature."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def choose_proxy(url: str, proxies: Mapping[str, str] | None) -> str | None:
    """Return the proxy for a websocket URL, or None for a direct connection.

    Args:
        url: ``wss://`` goes by the proxy for ``https``; ``ws://`` by that for ``http``, or else by
            that for ``https``.
        proxies: proxy URLs by scheme (``https``, ``http``, ``all``) and hosts to spare (``no``);
            None takes those of the environment, as boto3 does.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxies is None:
        place = parts.netloc.rpartition("@")[2]
        now = int(time.monotonic() / _PROXIES_FRESH)
        return _environments_proxy(parts.scheme, place, host, _proxy_variables(), now)
    return None if _spared(host, proxies.get("no", "")) else _of_scheme(parts.scheme, proxies)


def _proxy_variables() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, _PROXY_VARIABLES))


@functools.lru_cache(maxsize=64)
def _environments_proxy(
    scheme: str, place: str, host: str, variables: tuple[str | None, ...], now: int
) -> str | None:
    """The proxy that the environment names, or the system's settings do.

    Looking that up reads all of the environment three times, which for a fleet is much. What is
    kept goes with the variables that it came from, and after some seconds for what has no
    variables.
    """
    if proxy_bypass(place) or proxy_bypass(host):
        return None
    return _of_scheme(scheme, getproxies())


def _of_scheme(scheme: str, proxies: Mapping[str, str]) -> str | None:
    schemes = ("https", "all") if scheme == "wss" else ("http", "https", "all")
    for each in schemes:
        proxy = proxies.get(each)
        if proxy:
            return proxy if "://" in proxy else f"http://{proxy}"
    return None


def _spared(host: str, no_proxy: str) -> bool:
    for name in (item.strip().lower() for item in no_proxy.split(",")):
        if name == "*" or (name and (host == name or host.endswith("." + name.lstrip(".")))):
            return True
    return False


@functools.lru_cache(maxsize=16)
def _tls(ca_bundle: str | None, verify: bool, changed: float) -> ssl.SSLContext:
    if ca_bundle and os.path.isdir(ca_bundle):
        context = ssl.create_default_context(capath=ca_bundle)
    else:
        context = ssl.create_default_context(cafile=ca_bundle)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not ca_bundle and not context.cert_store_stats()["x509_ca"]:
        # Some Python builds (macOS) come without certificates of their own.
        try:
            import certifi
        except ImportError:
            pass
        else:
            context.load_verify_locations(certifi.where())
    return context


def _tls_context(ca_bundle: str | None, verify: bool) -> ssl.SSLContext:
    return _tls(ca_bundle, verify, os.stat(ca_bundle).st_mtime if ca_bundle else 0.0)


@dataclass(frozen=True, slots=True)
class Dialer:
    """Opens websockets.

    Attributes:
        ca_bundle: file or directory with the certificates to trust in place of the system's.
        verify: whether certificates are checked.
        proxies: see :func:`choose_proxy`.
        timeout: seconds for everything until the upgrade is done.
    """

    ca_bundle: str | None = None
    verify: bool = True
    proxies: Mapping[str, str] | None = None
    timeout: float = 45.0

    async def open(
        self, url: str, headers: dict[str, str], make: Callable[[], WebSocket]
    ) -> WebSocket:
        """Return an open websocket.

        Args:
            url: used as it is, query included.
            headers: additional ones for the upgrade request.
            make: makes the object that will receive.

        Raises:
            UpgradeRefused: the server did not upgrade.
            ConnectError: no connection could be made.
        """
        failure: ConnectError
        proxy = choose_proxy(url, self.proxies)
        try:
            return await self._open(url, headers, make, proxy)
        except ConnectError as error:
            failure = error
        except (
            OSError,
            asyncio.TimeoutError,
            WSHandshakeError,
            WSInvalidURL,
            ProxyError,
            ValueError,
        ) as error:
            failure = _explain(error, url, proxy, self.ca_bundle)
        # Raised out here, so that what picows raised, and with it the request, does not hang on it.
        failure.__context__ = None
        raise failure

    async def _open(
        self, url: str, headers: dict[str, str], make: Callable[[], WebSocket], proxy: str | None
    ) -> WebSocket:
        context: ssl.SSLContext | None = None
        if url.lower().startswith("wss:") or (proxy or "").lower().startswith("https:"):
            context = await asyncio.to_thread(_tls_context, self.ca_bundle, self.verify)
        sockets: list[socket.socket] = []

        async def connect(where: WSParsedURL) -> socket.socket:
            sockets.append(await _connect_tcp(where.host, where.port))
            return sockets[0]

        task = asyncio.ensure_future(
            ws_connect(
                make,
                url,
                ssl_context=context,
                proxy=proxy,
                proxy_ssl_context=context if (proxy or "").startswith("https:") else None,
                extra_headers=headers,
                max_redirects=0,
                websocket_handshake_timeout=None,
                enable_auto_pong=False,
                max_frame_size=MAX_MESSAGE,
                read_buffer_init_size=_READ_BUFFER,
                logger_name=_quiet,
                socket_factory=connect,
            )
        )
        try:
            transport, listener = await wait_for(task, self.timeout)
        except BaseException:
            # picows leaves the transport of an unfinished upgrade alone. Its end of file makes the
            # transport close itself.
            for opened in sockets:
                _shut(opened)
            raise
        if not isinstance(listener, WebSocket) or transport.is_disconnected:
            raise ConnectionResetError("closed before the upgrade was answered")
        return listener


def _shut(opened: socket.socket) -> None:
    try:
        opened.shutdown(socket.SHUT_RDWR)
    except OSError:
        # Not owned by a transport yet, or closed already.
        if opened.fileno() != -1:
            opened.close()


async def _connect_tcp(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host that answers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failures: list[OSError] = []
    for number, (family, kind, protocol, _, address) in enumerate(found, 1):
        opened = socket.socket(family, kind, protocol)
        opened.setblocking(False)
        try:
            patience = None if number == len(found) else _ADDRESS_PATIENCE
            await wait_for(loop.sock_connect(opened, address), patience)
        except (OSError, asyncio.TimeoutError) as error:
            opened.close()
            failures.append(error if isinstance(error, OSError) else TimeoutError())
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise failures[0] if failures else OSError("the name has no address")


def _explain(error: Exception, url: str, proxy: str | None, ca_bundle: str | None) -> ConnectError:
    """Say in the user's words why a connection could not be made."""
    shown = without_query(url)
    host = urlsplit(url).hostname or "the host"
    via = ""
    if proxy:
        parts = urlsplit(proxy)
        via = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    peer = f"the proxy {via}" if via else host
    message = f"cannot connect to {shown}" + (f" through the proxy {via}" if via else "")
    proxy_cure = (
        "check HTTPS_PROXY and NO_PROXY, or ask who runs the proxy to let this host through"
    )

    if isinstance(error, WSHandshakeError):
        if error.response is None:
            return ConnectError(
                message,
                cause=f"what {host} answered is not a websocket's upgrade",
                cure="check the endpoint and whether a proxy stands in between",
            )
        status = int(error.response.status)
        return UpgradeRefused(
            message,
            status=status,
            cause=f"{host} refused the upgrade with HTTP status {status}",
            cure="the session's token may have run out: start the command again; "
            "where websockets are signed, the caller needs ssmmessages:OpenDataChannel",
        )
    if isinstance(error, ProxyError):
        return ConnectError(message, cause=f"{peer}: {error}", cure=proxy_cure)
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectError(
            message,
            cause=f"the certificate of {host} is not trusted: {error.verify_message}",
            cure="if a proxy or firewall of your network opens TLS, name its certificate in "
            "AWS_CA_BUNDLE",
        )
    if isinstance(error, ssl.SSLError):
        return ConnectError(
            message,
            cause=f"TLS with {host} failed: {error.reason or 'unknown reason'}",
            cure="check the endpoint and whether a proxy stands in between",
        )
    if isinstance(error, WSInvalidURL):
        return ConnectError(message, cause="it is not a websocket's URL", cure="check the endpoint")
    if isinstance(error, socket.gaierror):
        return ConnectError(
            message,
            cause=f"the name of {peer} cannot be resolved",
            cure=proxy_cure if via else "check the region, the endpoint and the network's DNS",
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectError(
            message,
            cause=f"{peer} refused the connection",
            cure=proxy_cure if via else "check the endpoint and its port",
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return ConnectError(
            message,
            cause=f"{peer} did not answer in time",
            cure=proxy_cure
            if via
            else "check the route to it: a firewall, or a missing VPC endpoint for ssmmessages",
        )
    if isinstance(error, FileNotFoundError) and ca_bundle:
        return ConnectError(
            message, cause=f"there is no {ca_bundle}", cure="check AWS_CA_BUNDLE or ca_bundle"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return ConnectError(
            message,
            cause="this process has as many files open as it may, and a connection is one",
            cure="raise the limit (ulimit -n 4096) before Python is started, or run in fewer "
            "containers at once",
        )
    if isinstance(error, ConnectionError):
        return ConnectError(
            message,
            cause=f"{peer} closed the connection before the upgrade was done",
            cure=proxy_cure if via else "check the endpoint and whether a proxy stands in between",
        )
    words = error.strerror if isinstance(error, OSError) and error.strerror else "unknown reason"
    return ConnectError(
        message,
        cause=f"{peer} cannot be reached: {words}",
        cure=proxy_cure if via else "check the network and the endpoint",
    )
