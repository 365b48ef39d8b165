"""Proxies, certificates, and what can go wrong while connecting."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from ecs_exec_magic.channel.connection import Connection, ConnectionOptions, SessionGrant
from ecs_exec_magic.channel.dialing import choose_proxy, without_query
from ecs_exec_magic.channel.events import Output
from ecs_exec_magic.errors import ConnectError

from .peer import SESSION, AgentSide, Gateway, Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PROXY_VARIABLES = [
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (word, word.lower())
]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    started = await Gateway().start()
    yield started
    await started.stop()


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port that is taken, so that nobody else can listen on it, and that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def authority() -> Iterator[trustme.CA]:
    yield trustme.CA()


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[Gateway]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    started = await Gateway().start(context)
    yield started
    await started.stop()


class ConnectProxy:
    """A small HTTP proxy that knows CONNECT."""

    def __init__(self, status: str = "200 Connection established") -> None:
        self.status = status
        self.asked: list[str] = []
        self.headers: list[str] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ConnectProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split("\r\n")[0])
        self.headers.append(head)
        writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        if not self.status.startswith("200"):
            writer.close()
            return
        host, _, port = head.split()[1].rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        for pair in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.ensure_future(pump(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def options(**rest: object) -> ConnectionOptions:
    return ConnectionOptions(open_timeout=60.0, **rest)  # type: ignore[arg-type]  # names of its own


async def works(gateway: Gateway, given: ConnectionOptions) -> None:
    gateway.agent = AgentSide()

    async def greet(_: Gateway, __: object) -> None:
        gateway.agent.say(b"through")

    gateway.on_connect = greet
    grant = SessionGrant(SESSION, gateway.url, "token")
    async with await Connection.open(grant, Services(), given) as connection:
        assert await connection.receive() == [Output(b"through")]


async def fails(url: str, given: ConnectionOptions) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await Connection.open(SessionGrant(SESSION, url, "token"), Services(), given)
    assert caught.value.cause
    assert caught.value.cure
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# ---------------------------------------------------------------------- which proxy


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("wss://h.example/x", {}, None),
        ("wss://h.example/x", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("wss://h.example/x", {"https_proxy": "p:1"}, "http://p:1"),
        ("wss://h.example/x", {"ALL_PROXY": "socks5://p:1"}, "socks5://p:1"),
        ("wss://h.example/x", {"HTTP_PROXY": "http://p:1"}, None),
        ("ws://h.example/x", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("ws://h.example/x", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("wss://h.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "h.example"}, None),
        ("wss://a.h.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".h.example"}, None),
        ("wss://h.example:8/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "h.example:8"}, None),
        ("wss://h.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("wss://h.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other"}, "http://p:1"),
        ("ws://127.0.0.1:9/x", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "127.0.0.1"}, None),
    ],
)
def test_the_proxy_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], expected: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert choose_proxy(url, None) == expected


def test_given_proxies_take_the_place_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://wrong:1")
    assert choose_proxy("wss://h.example/x", {}) is None
    given = {"https": "http://right:1", "no": "b.example, c.example"}
    assert choose_proxy("wss://h.example/x", given) == "http://right:1"
    assert choose_proxy("wss://b.example/x", given) is None
    assert choose_proxy("wss://a.c.example/x", given) is None


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    assert without_query("wss://u:p@h.example:8/a/b?X-Amz-Signature=s") == "wss://h.example:8/a/b"


# ---------------------------------------------------------------------- through a proxy


async def test_through_a_proxy_of_the_environment(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        await works(gateway, options())
        assert proxy.asked == [f"CONNECT localhost:{gateway.port} HTTP/1.1"]
        monkeypatch.setenv("NO_PROXY", "localhost")
        await works(gateway, options())
        assert len(proxy.asked) == 1


async def test_tls_through_a_proxy_with_a_password(
    secure: Gateway, authority: trustme.CA, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    async with ConnectProxy() as proxy:
        await works(
            secure,
            options(
                ca_bundle=str(bundle),
                proxies={"https": f"http://me:let%20me%20in@127.0.0.1:{proxy.port}"},
            ),
        )
        given = base64.b64encode(b"me:let me in").decode()
        assert f"Proxy-Authorization: Basic {given}" in proxy.headers[0]


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required"])
async def test_a_proxy_that_refuses(gateway: Gateway, status: str) -> None:
    async with ConnectProxy(status) as proxy:
        given = options(proxies={"http": f"http://me:password@127.0.0.1:{proxy.port}"})
        error = await fails(gateway.url, given)
    assert status[:3] in error.cause
    assert f"proxy 127.0.0.1:{proxy.port}" in str(error) + error.cause
    assert "HTTPS_PROXY" in error.cure
    assert "password" not in str(error) + error.cause + error.cure + repr(given)


async def test_a_proxy_that_is_not_there(gateway: Gateway, refusing_port: int) -> None:
    given = options(proxies={"http": f"http://127.0.0.1:{refusing_port}"})
    error = await fails(gateway.url, given)
    assert "the proxy" in error.cause
    assert "refused" in error.cause


# ---------------------------------------------------------------------- certificates


async def test_an_own_certificate_authority(
    secure: Gateway, authority: trustme.CA, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    await works(secure, options(ca_bundle=str(bundle)))


async def test_without_verification(secure: Gateway) -> None:
    await works(secure, options(verify=False))


async def test_a_certificate_that_is_not_trusted(secure: Gateway) -> None:
    error = await fails(secure.url, options())
    assert "certificate" in error.cause
    assert "AWS_CA_BUNDLE" in error.cure


async def test_a_certificate_for_another_host(
    secure: Gateway, authority: trustme.CA, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    url = secure.url.replace("localhost", "127.0.0.1")
    error = await fails(url, options(ca_bundle=str(bundle)))
    assert "certificate" in error.cause


async def test_a_bundle_that_is_not_there(secure: Gateway, tmp_path: Path) -> None:
    error = await fails(secure.url, options(ca_bundle=str(tmp_path / "none.pem")))
    assert "none.pem" in error.cause


async def test_a_bundle_that_is_none(secure: Gateway, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("not a certificate")
    await fails(secure.url, options(ca_bundle=str(bundle)))


async def test_tls_with_a_server_that_speaks_none(gateway: Gateway) -> None:
    error = await fails(gateway.url.replace("ws:", "wss:"), options())
    assert "TLS" in error.cause


# ---------------------------------------------------------------------- other failures


async def test_a_refused_connection(refusing_port: int) -> None:
    error = await fails(f"ws://127.0.0.1:{refusing_port}/x?secret=1", options())
    assert "refused" in error.cause
    assert "secret" not in str(error)


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:  # a real name server may take its time
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    error = await fails("ws://no-such-host.invalid/x", options())
    assert "no-such-host.invalid" in error.cause


async def test_an_address_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    error = await fails("ws://127.0.0.1:9/x", options())
    assert "No route to host" in error.cause


async def test_no_file_is_left_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", full)
    error = await fails("ws://127.0.0.1:9/x", options())
    assert "as many files open as it may" in error.cause
    assert "ulimit -n" in error.cure


@pytest.mark.parametrize("url", ["http://h/x", "nonsense", "", "ws://h:port/x", "ws:///x"])
async def test_what_is_not_a_websocket_url(url: str) -> None:
    await fails(url, options())


async def test_a_server_that_never_answers() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"ws://127.0.0.1:{listening.getsockname()[1]}/x"
    error = await fails(url, ConnectionOptions(open_timeout=0.2))
    assert "did not answer in time" in error.cause
    listening.close()


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]
)
async def test_a_server_that_is_something_else(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    await fails(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/x", options())
    server.close()
    await server.wait_closed()


async def test_a_redirect_is_not_followed(gateway: Gateway) -> None:
    gateway.refuse = lambda request: 302
    error = await fails(gateway.url, options())
    assert "302" in error.cause


async def test_a_refusal_names_its_status_and_no_secret(gateway: Gateway) -> None:
    gateway.refuse = lambda request: 403
    error = await fails(gateway.url + "&X-Amz-Signature=secret", options())
    assert "403" in error.cause
    assert "secret" not in str(error) + error.cause + error.cure
