"""The one port as a proxy: what is led to the cluster, and that nothing is led elsewhere."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import ProxyConnectionError
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import Sandbox
from ecs_exec_magic.sandbox.authority import Authority, is_aws
from ecs_exec_magic.sandbox.intercept import Listener, origin_form, refusal

REGION = "us-west-2"
KMS = "kms.us-west-2.amazonaws.com"
LIMIT = 20


@pytest.fixture(scope="module")
def practice(isolation: str) -> Iterator[Sandbox]:
    with package.start(pace="fast", runtime=isolation, region=REGION) as sandbox:
        yield sandbox


def client(sandbox: Sandbox, service: str, **more: Any) -> Any:
    """A client that knows the proxy and its certificate authority only."""
    environment = sandbox.proxy_environment
    return boto3.client(
        service,
        region_name=REGION,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        verify=environment["AWS_CA_BUNDLE"],
        config=Config(
            proxies={"https": environment["HTTPS_PROXY"]},
            ignore_configured_endpoint_urls=True,
            retries={"total_max_attempts": 1},
            **more,
        ),
    )


def connection(sandbox: Sandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sandbox.port), timeout=LIMIT)


def all_of(sock: socket.socket) -> bytes:
    """Everything until the other side ends it."""
    parts = []
    while data := sock.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def answer_to(sandbox: Sandbox, request: bytes) -> bytes:
    with connection(sandbox) as sock:
        sock.sendall(request)
        return all_of(sock)


def trusting(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=sandbox.proxy_environment["AWS_CA_BUNDLE"])


def tunnel(sandbox: Sandbox, host: str = KMS) -> socket.socket:
    """A connection that is led to a host."""
    sock = connection(sandbox)
    sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 200 ")
    return sock


# -- what is led to the cluster --------------------------------------------------------------------


def test_clients_reach_the_cluster_at_awss_own_hosts(practice: Sandbox) -> None:
    kms = client(practice, "kms")
    assert kms.meta.endpoint_url == f"https://{KMS}"
    key = kms.create_key()["KeyMetadata"]
    assert f":{REGION}:{practice.account_id}:" in key["Arn"]
    made = kms.generate_data_key(KeyId=key["KeyId"], NumberOfBytes=64)
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]
    clusters = client(practice, "ecs").list_clusters()["clusterArns"]
    assert [arn.rpartition("/")[2] for arn in clusters] == ["demo"]


@pytest.mark.parametrize("style", ["virtual", "path"])
def test_buckets_are_hosts_of_their_own(practice: Sandbox, style: str) -> None:
    s3 = client(practice, "s3", s3={"addressing_style": style})
    bucket = f"intercepted-{style}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    body = bytes(range(256)) * 4096
    s3.put_object(Bucket=bucket, Key="a b/c", Body=body)
    assert s3.get_object(Bucket=bucket, Key="a b/c")["Body"].read() == body


def test_what_knows_the_endpoint_goes_there_as_before(practice: Sandbox) -> None:
    assert practice.proxy_environment.items() >= practice.environment.items()
    ecs = boto3.client(
        "ecs",
        endpoint_url=practice.url,
        region_name=REGION,
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
    )
    assert ecs.list_clusters()["clusterArns"]
    assert b"practice cluster" in answer_to(practice, b"GET / HTTP/1.0\r\n\r\n")
    # However slowly it comes, or all at once with the next one.
    with connection(practice) as sock:
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.0\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert all_of(sock).count(b"practice cluster") == 2


def test_data_channels_are_led_there_too(practice: Sandbox) -> None:
    ecs = client(practice, "ecs")
    task = ecs.list_tasks(cluster="demo", family="worker")["taskArns"][0]
    session = ecs.execute_command(
        cluster="demo", task=task, container="worker", interactive=True, command="echo led"
    )["session"]
    host = f"ssmmessages.{REGION}.amazonaws.com"
    path = session["streamUrl"].removeprefix(f"ws://127.0.0.1:{practice.port}")
    upgrade = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    hello = {
        "MessageSchemaVersion": "1.0",
        "RequestId": "00000000-0000-4000-8000-000000000000",
        "TokenValue": session["tokenValue"],
        "ClientId": "00000000-0000-4000-8000-000000000001",
        "ClientVersion": "1.2.694.0",
    }
    text = json.dumps(hello).encode()
    frame = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text  # its mask is zero
    with (
        tunnel(practice, host) as sock,
        trusting(practice).wrap_socket(sock, server_hostname=host) as tls,
    ):
        tls.sendall(upgrade.encode())
        seen = b""
        for wanted in (b"101 Switching Protocols", b"output_stream_data"):
            while wanted not in seen:
                data = tls.recv(1 << 16)
                assert data, seen
                seen += data
            if wanted.startswith(b"101"):
                tls.sendall(frame)


def test_a_request_may_come_with_the_end_of_the_handshake(practice: Sandbox) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(practice).wrap_bio(incoming, outgoing, server_hostname=KMS)
    with tunnel(practice) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(1 << 16))
        tls.write(b"GET / HTTP/1.0\r\n\r\n")
        sock.sendall(outgoing.read())  # "Finished" and the request at once
        text = b""
        while b"practice cluster" not in text:
            data = sock.recv(1 << 16)
            assert data, text
            incoming.write(data)
            try:
                text += tls.read()
            except ssl.SSLWantReadError:
                continue


def test_plain_requests_for_a_host_of_awss_are_answered(practice: Sandbox) -> None:
    for place in (f"http://{KMS}/", f"http://{KMS}:80/", f"{practice.url}/"):
        request = f"GET {place} HTTP/1.0\r\n\r\n".encode()
        answer = answer_to(practice, request)
        assert answer.startswith(b"HTTP/1.0 200 ") and b"practice cluster" in answer


# -- certificates ----------------------------------------------------------------------------------


def test_a_certificate_is_for_its_host_alone(practice: Sandbox) -> None:
    context = trusting(practice)
    with tunnel(practice) as sock, context.wrap_socket(sock, server_hostname=KMS) as tls:
        found = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [KMS]
    with (
        tunnel(practice) as sock,
        pytest.raises(ssl.SSLCertVerificationError),
        context.wrap_socket(sock, server_hostname="sts.amazonaws.com"),
    ):
        pass
    with (
        tunnel(practice) as sock,
        pytest.raises(ssl.SSLCertVerificationError),
        ssl.create_default_context().wrap_socket(sock, server_hostname=KMS),
    ):
        pass
    client(practice, "kms").list_keys()


def test_the_authority_can_vouch_for_awss_hosts_only() -> None:
    authority = Authority()
    certificate = x509.load_pem_x509_certificate(authority.pem)
    limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert {name.value for name in limits.value.permitted_subtrees or ()} == {
        "amazonaws.com",
        "amazonaws.com.cn",
        "api.aws",
    }
    with pytest.raises(ValueError, match="not AWS's"):
        authority.context("example.com")
    assert authority.context(KMS) is authority.context(KMS)
    assert Authority().pem != authority.pem
    for number in range(300):
        authority.context(f"b{number}.s3.amazonaws.com")
    assert len(authority._contexts) == 256


def test_strict_clients_are_content() -> None:
    authority = Authority()
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in (KMS, "ecs.cn-north-1.amazonaws.com.cn", "s3.us-east-1.api.aws", "a.b_c.api.aws"):
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        here = context.wrap_bio(to_client, to_server, server_hostname=host)
        there = authority.context(host).wrap_bio(to_server, to_client, server_side=True)
        for side in (here, there, here):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        assert here.version() == "TLSv1.3"


def test_only_the_certificate_is_written(practice: Sandbox) -> None:
    path = Path(practice.proxy_environment["AWS_CA_BUNDLE"])
    client(practice, "kms").list_keys()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes().count(b"-----BEGIN") == 1
    for file in path.parent.iterdir():
        assert not file.is_file() or b"PRIVATE" not in file.read_bytes()


# -- what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "example.com:443",
        "127.0.0.1:443",
        "[::1]:443",
        f"{KMS}:80",
        f"{KMS}:",
        KMS,
        ":443",
        "amazonaws.com:443",
        "notamazonaws.com:443",
        "kms.amazonaws.com.example.com:443",
        "-.amazonaws.com:443",
        "a@kms.amazonaws.com:443",
        f"{'a' * 250}.amazonaws.com:443",
    ],
)
def test_nothing_leads_elsewhere(practice: Sandbox, place: str) -> None:
    answer = answer_to(practice, f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert body.endswith(b"leads nowhere else\n") and body.count(b"\n") == 1
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize(
    "place",
    ["http://example.com/", "http://127.0.0.1:1/", "http://a@b/"],
)
def test_plain_requests_lead_nowhere_else_either(practice: Sandbox, place: str) -> None:
    answer = answer_to(practice, f"GET {place} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 403 ")
    assert answer.endswith(b"leads nowhere else\n")


def test_a_refusal_is_plain_ascii() -> None:
    assert refusal("http://\udcff\n/").isascii()


def test_another_host_is_refused_to_boto3(practice: Sandbox) -> None:
    other = boto3.client(
        "sts",
        region_name=REGION,
        endpoint_url="https://sts.example.com",
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
        config=Config(proxies={"https": practice.url}, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ProxyConnectionError):
        other.get_caller_identity()


@pytest.mark.parametrize(
    "request_line",
    [
        b"CONNECT \r\n\r\n",
        b"CONNECT kms.amazonaws.com:443\r\n\r\n",
        b"CONNECT kms.amazonaws.com:443 HTTP/2\r\n\r\n",
        b"CONNECT a b HTTP/1.1\r\n\r\n",
        b"CONNECT \xff\x00:443 HTTP/1.1\r\n\r\n",
        b"CONNECT kms.amazonaws.com:443 HTTP/1.1\r\n\r\nand more",
    ],
)
def test_what_is_no_request_to_connect_is_told_so(practice: Sandbox, request_line: bytes) -> None:
    assert answer_to(practice, request_line).startswith(b"HTTP/1.1 400 ")


def test_an_endless_head_is_refused(practice: Sandbox) -> None:
    head = b"CONNECT kms.amazonaws.com:443 HTTP/1.1\r\nX: "
    assert answer_to(practice, head.ljust((16 << 10) + 1, b"x")).startswith(b"HTTP/1.1 431 ")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=4))
def test_nothing_that_is_sent_breaks_it(practice: Sandbox, rest: bytes, cuts: list[int]) -> None:
    whole = b"CONNECT " + rest + b"\r\n\r\n"
    with connection(practice) as sock:
        at = 0
        try:
            for cut in [*sorted(cuts), len(whole)]:
                sock.sendall(whole[at : max(cut, at)])
                at = max(cut, at)
            answer = all_of(sock)
        except ConnectionError:  # refused before the rest was sent
            return
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "HTTP://"]))
def test_no_target_breaks_it(rest: str, scheme: str) -> None:
    found = origin_form(f"{scheme}{rest}", 4670)
    if not scheme and "://" not in rest:
        assert found == rest
    elif found is not None and scheme:
        assert found.startswith("/")


@given(st.text(max_size=300))
def test_a_host_of_awss_ends_as_one(host: str) -> None:
    assert not is_aws(host)
    assert not is_aws(f"{host}.example.com")
    if is_aws(f"{host}.amazonaws.com"):
        assert host.isascii() and host == host.lower() and "/" not in host and ":" not in host


def test_an_absolute_target_loses_its_host_only() -> None:
    for target, expected in (
        ("/a%20b?c", "/a%20b?c"),
        ("*", "*"),
        ("http://s3.amazonaws.com/http://x/?y", "/http://x/?y"),
        ("HTTP://S3.amazonaws.com:80?list", "/?list"),
        ("http://localhost:4670/a", "/a"),
        ("http://localhost:4671/a", None),
        ("http:///a", None),
    ):
        assert origin_form(target, 4670) == expected


# -- limits and the end ----------------------------------------------------------------------------


@asynccontextmanager
async def listening(limit: float) -> AsyncIterator[tuple[Listener, int]]:
    app = web.Application()

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = Listener(runner, Authority(), limit=limit)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield listener, port
    finally:
        await listener.close()


async def true(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    while not condition():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("beginning", [b"C", b"CONNECT", b"CONNECT x:443 HTTP/1.1\r\n"])
async def test_a_slow_request_to_connect_is_given_up(beginning: bytes) -> None:
    async with listening(0.05) as (listener, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        answer = await asyncio.wait_for(reader.read(), LIMIT)
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()
        assert not listener.waiting


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01"])
async def test_what_speaks_no_tls_is_given_up(words: bytes) -> None:
    async with listening(0.2) as (listener, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT kms.amazonaws.com:443 HTTP/1.1\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(words)
        with suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), LIMIT)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await asyncio.gather(*listener.tasks)
        assert not listener.waiting and not listener.tasks


async def test_clients_that_leave_half_way_leave_nothing() -> None:
    async with listening(LIMIT) as (listener, port):
        for words in (b"", b"CONN", b"CONNECT kms.amazonaws.com:443 HTTP/1.1\r\n\r\n"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(words)
            await true(lambda: bool(listener.waiting))
            writer.transport.abort()
            await true(lambda: not listener.waiting and not listener.tasks)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}") as reply:
            assert await reply.text() == "hello"


async def test_its_end_cuts_what_is_open() -> None:
    async with listening(LIMIT) as (listener, port):
        context = ssl.create_default_context(cadata=listener.authority.pem.decode())
        readers, writers = [], []
        for words in (b"", b"CONN", *2 * [b"CONNECT kms.amazonaws.com:443 HTTP/1.1\r\n\r\n"]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(words)
            if words.endswith(b"\n"):
                await reader.readuntil(b"\r\n\r\n")
            readers.append(reader)
            writers.append(writer)
        async with aiohttp.ClientSession() as http:
            reply = await http.get(
                "https://kms.amazonaws.com/", proxy=f"http://127.0.0.1:{port}", ssl=context
            )
            assert await reply.text() == "hello"
            await true(lambda: len(listener.waiting) == len(writers))
            await asyncio.wait_for(listener.close(), LIMIT)
        for reader in readers:
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), LIMIT) == b""
        for writer in writers:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)
        assert not listener.waiting and not listener.tasks
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    gc.collect()


def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with package.start(pace="fast", runtime="process", seed=False) as sandbox:
        kms = client(sandbox, "kms")
        kms.list_keys()  # its connection stays open
        half = tunnel(sandbox)
        silent = connection(sandbox)
        assert Path(sandbox.proxy_environment["AWS_CA_BUNDLE"]).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for sock in (half, silent):
        with sock, suppress(ConnectionError):
            assert all_of(sock) == b""
    kms.close()
    gc.collect()
