"""One connection against a gateway on loopback: resumed, slowed down, ended, in every way."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSMessage, WSMsgType, web

from ecs_exec_magic.channel.connection import Connection, ConnectionOptions, SessionGrant
from ecs_exec_magic.channel.events import Closed, Event, HandshakeComplete, Lost, Output
from ecs_exec_magic.errors import AccessDenied, ConnectError, SessionLost

from .peer import SESSION, TARGET, Gateway, Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "AAEAAS-the-token-of-the-session"
FAST = ConnectionOptions(resume_delay=0.01, open_timeout=60.0, terminate_timeout=1.0)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    started = await Gateway().start()
    yield started
    await started.stop()


def grant(gateway: Gateway) -> SessionGrant:
    return SessionGrant(SESSION, gateway.url, TOKEN, TARGET)


def prompt(gateway: Gateway) -> None:
    """Let the agent greet the first client, which makes it ready."""

    async def greet(_: Gateway, __: web.WebSocketResponse) -> None:
        if len(gateway.hellos) == 1:
            gateway.agent.say(b"$ ")

    gateway.on_connect = greet


async def collect(connection: Connection) -> list[Event]:
    """Everything to the end of the session."""
    events: list[Event] = []
    while batch := await connection.receive():
        events += batch
    return events


def text(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Output))


async def ready(gateway: Gateway, services: Services, options: Any = FAST) -> Connection:
    prompt(gateway)
    connection = await Connection.open(grant(gateway), services, options)
    assert await connection.receive() == [Output(b"$ ")]
    return connection


# ---------------------------------------------------------------------- the ordinary way


async def test_a_session_from_beginning_to_end(gateway: Gateway) -> None:
    services = Services()
    connection = await ready(gateway, services)
    async with connection:
        assert gateway.hellos[0]["TokenValue"] == TOKEN
        await connection.resize(132, 40)
        await connection.send(b"echo hi\r")
        await connection.drained()
        assert gateway.agent.typed == b"echo hi\r"
        assert gateway.agent.sizes == [{"cols": 132, "rows": 40}]
        gateway.agent.say(b"hi")
        gateway.agent.say(b"\r\n")
        gateway.agent.close()
        await gateway.flush()
        events = await collect(connection)  # the output in one piece or in two
        assert (text(events), events[-1]) == (b"hi\r\n", Closed(""))
        assert await connection.receive() == []
        assert await connection.wait_closed(60.0)
        assert connection.closed
        assert connection.last_activity > 0
    assert services.terminated == 0
    await gateway.until(lambda: gateway.agent.acked == [0, 1, 2])


async def test_the_token_is_used_before_anything_else_is_sent(gateway: Gateway) -> None:
    """Output may be there before the upgrade is known to be done."""

    async def eager(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_bytes(gateway.agent.say(b"early"))
        first: WSMessage = await ws.receive()
        assert first.type is WSMsgType.TEXT
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/{path:.*}", eager)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/x"
    services = Services(url=gateway.url)
    connection = await Connection.open(SessionGrant(SESSION, url, TOKEN), services, FAST)
    assert await connection.receive() == [Output(b"early")]
    await connection.aclose()
    await runner.cleanup()


async def test_flags_are_sent(gateway: Gateway) -> None:
    async with await ready(gateway, Services()) as connection:
        await connection.send_flag(2)
        await gateway.until(lambda: gateway.agent.flags == [2])


# ---------------------------------------------------------------------- encryption


async def test_an_encrypted_session(gateway: Gateway) -> None:
    services = Services(data_key=bytes(range(64)))
    gateway.agent.data_key = services.data_key

    async def shake(_: Gateway, __: web.WebSocketResponse) -> None:
        gateway.agent.shake(kms=True)

    gateway.on_connect = shake
    async with await Connection.open(grant(gateway), services, FAST) as connection:
        (complete,) = await connection.receive()
        assert isinstance(complete, HandshakeComplete)
        assert complete.encrypted
        assert connection.ready
        assert services.contexts == [
            (
                "alias/exec",
                {
                    "aws:ssm:SessionId": SESSION,
                    "aws:ssm:TargetId": TARGET,
                    "aws:ssm:RandomChallenge": "Y2hhbGxlbmdl",
                },
            )
        ]
        await connection.send(b"typed")
        await connection.drained()
        assert gateway.agent.typed == b"typed"
        gateway.agent.say(b"answered")
        await gateway.flush()
        assert await connection.receive() == [Output(b"answered")]


async def test_a_refused_data_key_is_told_to_the_agent(gateway: Gateway) -> None:
    services = Services(key_error=AccessDenied("no", cause="the caller lacks kms:GenerateDataKey"))

    async def shake(_: Gateway, __: web.WebSocketResponse) -> None:
        gateway.agent.shake(kms=True)

    gateway.on_connect = shake
    async with await Connection.open(grant(gateway), services, FAST) as connection:
        (closed,) = await collect(connection)
    assert isinstance(closed, Closed)
    assert "status 2" in closed.output
    assert "kms:GenerateDataKey" in closed.output


# ---------------------------------------------------------------------- resuming


async def test_a_cut_in_the_middle_of_output_loses_and_doubles_nothing(gateway: Gateway) -> None:
    services = Services()
    connection = await ready(gateway, services)
    pieces = [b"%06d\n" % number * 20 for number in range(300)]

    async def speak() -> None:
        for number, piece in enumerate(pieces):
            gateway.agent.say(piece)
            await gateway.flush()
            if number in (40, 41, 150):
                await asyncio.sleep(0)
                await gateway.interrupt()
        gateway.agent.close()
        await gateway.until(lambda: not len(gateway.agent.outgoing))
        await gateway.flush()

    events, _ = await asyncio.gather(collect(connection), speak())
    assert text(events) == b"".join(pieces)
    assert events[-1] == Closed("")
    assert services.resumed >= 3
    assert [hello["TokenValue"] for hello in gateway.hellos[1:]] == [services.token] * (
        len(gateway.hellos) - 1
    )
    assert len({hello["ClientId"] for hello in gateway.hellos}) == 1
    await connection.aclose()


async def test_a_cut_in_the_middle_of_input_loses_and_doubles_nothing(gateway: Gateway) -> None:
    services = Services()
    async with await ready(gateway, services) as connection:
        whole = bytes(range(256)) * 1200
        sending = asyncio.ensure_future(connection.send(whole))
        for share in (50_000, 120_000, 200_000):
            await gateway.until(lambda n=share: len(gateway.agent.typed) >= n)  # type: ignore[misc]  # a default is how a lambda keeps a value
            await gateway.interrupt()
        await sending
        await connection.drained()
        assert gateway.agent.typed == whole


async def test_the_hourly_bye_is_resumed_at_the_new_url(gateway: Gateway) -> None:
    services = Services()
    async with await ready(gateway, services) as connection:
        services.url = gateway.url + "&cell-number=7"
        assert gateway.ws is not None
        await gateway.ws.close(code=1000, message=b"Bye")
        await gateway.until(lambda: len(gateway.hellos) == 2)
        assert gateway.paths[1].endswith("cell-number=7")
        gateway.agent.say(b"on it goes")
        await gateway.flush()
        assert await connection.receive() == [Output(b"on it goes")]


async def test_an_empty_token_means_that_the_session_is_over(gateway: Gateway) -> None:
    services = Services(token="")
    async with await ready(gateway, services) as connection:
        await gateway.cut()
        assert await collect(connection) == [Lost("timed out")]
        assert not connection.closed
        assert not await connection.wait_closed(1.0)
        with pytest.raises(SessionLost):
            await connection.send(b"x")


async def test_attempts_to_resume_are_bounded(gateway: Gateway) -> None:
    services = Services(resume_error=RuntimeError("the secret words of some library"))
    async with await ready(gateway, services) as connection:
        await gateway.cut()
        (lost,) = await collect(connection)
        assert isinstance(lost, Lost)
        assert "could not be resumed" in lost.reason
        assert "secret" not in lost.reason
        assert services.resumed == FAST.resume_attempts
    assert services.terminated == 1


async def test_a_server_that_always_cuts_is_given_up(gateway: Gateway) -> None:
    services = Services()
    async with await ready(gateway, services) as connection:

        async def cut(_: Gateway, __: web.WebSocketResponse) -> None:
            await gateway.cut()

        gateway.on_connect = cut
        await gateway.cut()
        (lost,) = await collect(connection)
        assert isinstance(lost, Lost)
        assert services.resumed == FAST.resume_attempts


async def test_a_caller_who_may_not_resume_is_told_at_once(gateway: Gateway) -> None:
    services = Services(resume_error=AccessDenied("ssm:ResumeSession is not allowed"))
    async with await ready(gateway, services) as connection:
        await gateway.cut()
        (lost,) = await collect(connection)
        assert isinstance(lost, Lost)
        assert "ssm:ResumeSession" in lost.reason
        assert services.resumed == 1


async def test_a_peer_that_does_not_answer_pings_is_left_and_resumed(gateway: Gateway) -> None:
    class Answering(Services):
        async def resume(self) -> tuple[str, str]:
            gateway.autoping = True
            return await super().resume()

    options = ConnectionOptions(ping_interval=0.2, dead_after=0.1, resume_delay=0.01)
    gateway.autoping = False
    prompt(gateway)
    async with await Connection.open(grant(gateway), Answering(), options) as connection:
        assert await connection.receive() == [Output(b"$ ")]
        await gateway.until(lambda: len(gateway.hellos) >= 2)
        gateway.agent.say(b"alive")
        await gateway.flush()
        assert text(await connection.receive()) == b"alive"


async def test_closed_in_the_moment_in_which_it_is_resumed(gateway: Gateway) -> None:
    """What comes with the upgrade's answer wakes the caller together with who resumes."""
    async with await ready(gateway, Services()) as connection:
        gateway.first = gateway.agent.say(b"last words")
        gateway.agent.to_send.clear()
        await gateway.cut()
        assert text(await connection.receive()) == b"last words"
        await asyncio.wait_for(connection.aclose(), 50)
    assert connection._link._keeper is not None
    assert connection._link._keeper.done()
    assert not connection._link.up


async def test_a_peer_that_answers_pings_is_kept(gateway: Gateway) -> None:
    services = Services()
    options = ConnectionOptions(ping_interval=600, dead_after=600)  # this test is the clock
    async with await ready(gateway, services, options) as connection:
        link = connection._link
        websocket = link._websocket
        assert websocket is not None

        async def ping() -> None:
            pinged_at = asyncio.get_running_loop().time()
            link._beat(websocket)
            await gateway.until(lambda: websocket.last_seen > pinged_at)
            link._check(websocket, pinged_at)

        for _ in range(5):
            await ping()
        await asyncio.sleep(0.01)
        assert not websocket.lost
        assert services.resumed == 0
        assert not connection.ended


# ---------------------------------------------------------------------- flow control


async def test_send_waits_while_nothing_is_acknowledged(gateway: Gateway) -> None:
    async with await ready(gateway, Services()) as connection:
        gateway.agent.accepting = False
        whole = bytes(range(256)) * 1000
        sending = asyncio.ensure_future(connection.send(whole))
        drained = asyncio.ensure_future(connection.drained())
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert not drained.done()
        assert FAST.window <= connection._channel.outstanding < FAST.window + 1024
        gateway.agent.accepting = True
        await asyncio.wait_for(sending, 20)
        await asyncio.wait_for(connection.drained(), 20)
        await drained
        assert gateway.agent.typed == whole


async def test_a_cancelled_send_leaves_a_prefix_and_the_order(gateway: Gateway) -> None:
    async with await ready(gateway, Services()) as connection:
        gateway.agent.accepting = False
        first = b"a" * 200_000
        sending = asyncio.ensure_future(connection.send(first))
        await asyncio.sleep(0.1)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        gateway.agent.accepting = True
        await connection.send(b"bcd")
        await connection.drained()
        typed = gateway.agent.typed
        assert typed.endswith(b"abcd")
        assert typed == b"a" * (len(typed) - 3) + b"bcd"


async def test_a_waiting_send_ends_with_the_session(gateway: Gateway) -> None:
    async with await ready(gateway, Services()) as connection:
        gateway.agent.accepting = False
        sending = asyncio.ensure_future(connection.send(b"a" * 200_000))
        drained = asyncio.ensure_future(connection.drained())
        await asyncio.sleep(0.1)
        gateway.agent.close()
        await gateway.flush()
        with pytest.raises(SessionLost):
            await sending
        with pytest.raises(SessionLost):
            await drained


async def test_a_slow_consumer_stops_the_reading(gateway: Gateway) -> None:
    options = ConnectionOptions(max_queued=256 * 1024)
    async with await ready(gateway, Services(), options) as connection:
        total = 40 * 1024 * 1024
        sent = 0

        async def speak() -> None:
            nonlocal sent
            piece = bytes(64 * 1024)
            while sent < total:
                gateway.agent.say(piece)
                await gateway.flush()
                sent += len(piece)
            gateway.agent.close()
            await gateway.flush()

        speaking = asyncio.ensure_future(speak())
        await asyncio.sleep(0.8)
        assert not speaking.done()
        held = connection._channel.queued
        assert held < 10 * 1024 * 1024
        taken = 0
        while events := await connection.receive():
            size = len(text(events))
            assert size < 10 * 1024 * 1024
            taken += size
        await speaking
        assert taken == total
        assert connection.closed


async def test_input_that_is_never_acknowledged_ends_the_session(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecs_exec_magic.channel.ordering.MAX_RESENDS", 2)
    monkeypatch.setattr("ecs_exec_magic.channel.connection._AFTER_TERMINATE", 0.1)
    services = Services()
    async with await ready(gateway, services) as connection:
        gateway.agent.accepting = False
        await connection.send(b"x")
        (lost,) = await collect(connection)
        assert lost == Lost("input was not acknowledged")
        assert services.terminated == 1


# ---------------------------------------------------------------------- every way out


async def test_closing_terminates_once(gateway: Gateway) -> None:
    services = Services()
    connection = await ready(gateway, services)
    await connection.terminate()
    await connection.terminate()
    await connection.aclose()
    await connection.aclose()
    assert services.terminated == 1
    assert await collect(connection) == [Lost("closed by this side")]


async def test_an_exception_terminates(gateway: Gateway) -> None:
    services = Services()
    with pytest.raises(ZeroDivisionError):
        async with await ready(gateway, services):
            raise ZeroDivisionError
    assert services.terminated == 1


async def test_cancelling_terminates(gateway: Gateway) -> None:
    services = Services()
    inside = asyncio.Event()

    async def use() -> None:
        async with await ready(gateway, services) as connection:
            inside.set()
            await connection.receive()

    task = asyncio.ensure_future(use())
    await inside.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert services.terminated == 1


async def test_cancelling_the_closing_does_not_stop_it(gateway: Gateway) -> None:
    services = Services()
    connection = await ready(gateway, services)
    closing = asyncio.ensure_future(connection.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await closing
    await connection.aclose()
    assert services.terminated == 1


async def test_a_failing_termination_is_logged_without_its_words(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    services = Services(terminate_error=RuntimeError("AKIA-secret"))
    connection = await ready(gateway, services)
    await connection.aclose()
    assert "could not be terminated" in caplog.text
    assert "AKIA-secret" not in caplog.text


async def test_a_session_that_cannot_be_opened_is_terminated(gateway: Gateway) -> None:
    services = Services()
    gateway.refuse = lambda request: 403
    with pytest.raises(ConnectError):
        await Connection.open(grant(gateway), services, FAST)
    assert services.terminated == 1


async def test_cancelling_the_opening_terminates(gateway: Gateway) -> None:
    services = Services()
    stalled = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stalled.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    task = asyncio.ensure_future(Connection.open(SessionGrant(SESSION, url, TOKEN), services, FAST))
    await stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert services.terminated == 1
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)
    gc.collect()  # an orphaned transport would warn here


# ---------------------------------------------------------------------- signing


async def test_the_upgrade_is_signed(gateway: Gateway) -> None:
    services = Services(headers={"Authorization": "AWS4-HMAC-SHA256 x", "X-Amz-Date": "now"})
    async with await ready(gateway, services):
        assert gateway.requests[0]["Authorization"] == "AWS4-HMAC-SHA256 x"
        assert gateway.requests[0]["X-Amz-Date"] == "now"


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refused_signature_is_left_out(gateway: Gateway, status: int) -> None:
    services = Services(headers={"Authorization": "AWS4-HMAC-SHA256 x"})
    gateway.refuse = lambda request: status if "Authorization" in request.headers else 0
    async with await ready(gateway, services):
        assert ["Authorization" in request for request in gateway.requests] == [True, False]


async def test_an_overloaded_gateway_is_tried_again(gateway: Gateway) -> None:
    gateway.refuse = lambda request: 503 if len(gateway.requests) < 3 else 0
    async with await ready(gateway, Services()):
        assert len(gateway.requests) == 3


async def test_where_nothing_can_be_signed_it_goes_unsigned(gateway: Gateway) -> None:
    class Broken(Services):
        async def sign(self, url: str) -> dict[str, str]:
            raise RuntimeError("no credentials")

    async with await ready(gateway, Broken()):
        assert "Authorization" not in gateway.requests[0]


# ---------------------------------------------------------------------- secrets


def chain(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return found


async def test_no_secret_is_in_any_log_repr_or_exception(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    for name in ("picows", "picows.client", "ecs_exec_magic"):
        caplog.set_level(1, logger=name)
    signature = "SIGNATURE-in-a-header"
    presigned = "SIGNATURE-in-a-query"
    key = b"data-key-" * 7 + b"!"
    services = Services(headers={"Authorization": signature}, data_key=key)
    gateway.agent.data_key = key
    services.url = gateway.url + f"&X-Amz-Signature={presigned}"

    async def shake(_: Gateway, __: web.WebSocketResponse) -> None:
        if len(gateway.hellos) == 1:
            gateway.agent.shake(kms=True)

    gateway.on_connect = shake
    given = SessionGrant(SESSION, services.url, TOKEN, TARGET)
    shown = [repr(given)]
    connection = await Connection.open(given, services, FAST)
    await connection.receive()
    await gateway.cut()
    await gateway.until(lambda: len(gateway.hellos) == 2)
    shown += [repr(connection), repr(connection._channel), repr(connection._link)]
    await connection.aclose()

    gateway.refuse = lambda request: 403
    with pytest.raises(ConnectError) as refused:
        await Connection.open(given, services, FAST)
    shown += chain(refused.value)
    gateway.refuse = lambda request: 0
    await gateway.stop()
    with pytest.raises(ConnectError) as unreachable:
        await Connection.open(given, services, FAST)
    shown += chain(unreachable.value)

    # The test's own server logs the whole request, as a client must not.
    logged = [record.getMessage() for record in caplog.records if record.name[:3] != "aio"]
    everything = "\n".join([*logged, *shown])
    assert SESSION in everything
    for secret in (TOKEN, services.token, signature, presigned, key.decode(), repr(key)):
        assert secret not in everything
