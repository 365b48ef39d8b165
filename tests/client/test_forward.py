"""Forwarded ports, against a practice cluster: what goes through is what comes out."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import os
import pickle
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.aws.slots import slots
from ecs_exec_magic.channel.smux import Mux
from ecs_exec_magic.client import Client, Forward, Target, read_ports
from ecs_exec_magic.errors import (
    InvalidRequest,
    MethodUnavailable,
    StartFailed,
)
from ecs_exec_magic.forwarding import session as port_session
from ecs_exec_magic.forwarding import tunnel
from ecs_exec_magic.forwarding.forward import open_forwards
from ecs_exec_magic.sandbox import Sandbox
from ecs_exec_magic.sandbox import forwarding as agent_side

from .conftest import wait_until

OLD_AGENT = "3.0.196.0"
MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("80", (None, "", 80)),
        ("8080:80", (8080, "", 80)),
        ("0:80", (0, "", 80)),
        ("5432:db.internal:15432", (5432, "db.internal", 15432)),
        ("80:[fd00::1]:90", (80, "fd00::1", 90)),
    ],
)
def test_ports_as_a_line_names_them(text: str, read: tuple[int | None, str, int]) -> None:
    assert read_ports(text) == read


@given(st.text(st.sampled_from("0189:[].a- ")) | st.text())
@example("1:[[a]]:1")
def test_whatever_is_typed_is_ports_or_told_of(text: str) -> None:
    try:
        local, host, port = read_ports(text)
    except ValueError as error:
        assert "PORT" in str(error)
        return
    assert local is None or 0 <= local < 65536
    assert 0 < port < 65536
    where = f"[{host}]" if ":" in host else host
    again = ":".join(filter(None, ("" if local is None else str(local), where, str(port))))
    assert read_ports(again) == (local, host, port)


class Service:
    """A server of this machine, which the practice cluster takes for a host behind the container.

    Args:
        serve: what to do with each connection, in a thread of its own.
    """

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        self.errors: list[AssertionError] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._run, args=(connection,))
            self._open.add(connection)
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._serve(connection)
        except OSError:
            pass  # cut: that is what some tests are about
        except AssertionError as error:
            self.errors.append(error)
        finally:
            self._open.discard(connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(20)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        assert not self.errors


@pytest.fixture
def service() -> Iterator[Callable[[Callable[[socket.socket], object]], Service]]:
    made: list[Service] = []

    def make(serve: Callable[[socket.socket], object]) -> Service:
        made.append(Service(serve))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def _none_is_left(target: Target) -> Iterator[None]:
    yield
    for forward in open_forwards():
        forward.stop()
    wait_until(lambda: not slots.taken(target.ref), 20)


def exactly(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = connection.recv(count - len(got))
        if not piece:
            break
        got += piece
    return got


@contextlib.contextmanager
def held(forward: Forward) -> Iterator[Forward]:
    with forward:
        yield forward


@pytest.fixture
def old_agent(cluster: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection at a time; that old agents reach no other host does not matter here."""
    cluster.faults.agent_version = OLD_AGENT
    monkeypatch.setattr(port_session, "_REMOTE_HOSTS", (0,))


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def connected(forward: Forward) -> socket.socket:
    return socket.create_connection(forward.address, timeout=30)


def ask(forward: Forward, words: bytes) -> bytes:
    """What an echo server answers over a connection of its own."""
    with connected(forward) as connection:
        connection.sendall(words)
        got = b""
        while len(got) < len(words):
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
        return got


def test_http_of_the_container_itself(cluster: Sandbox, client: Client) -> None:
    with held(client.target("demo/web:nginx").forward(80)) as forward:
        assert forward.url == f"http://127.0.0.1:{forward.local_port}"
        for _ in range(3):
            with urllib.request.urlopen(forward.url, timeout=30) as answer:
                assert answer.status == 200
                assert b"<" in answer.read()
        assert forward.accepted == 3
        assert forward.bytes_received > forward.bytes_sent > 0
    assert not forward.running
    with pytest.raises(OSError, match="refused"):
        connected(forward)


def test_a_with_block_has_the_number_of_the_port(target: Target, service: Any) -> None:
    forward = target.forward(service(echo).port, "db.internal")
    with forward as local_port:
        assert type(local_port) is int
        with socket.create_connection(("127.0.0.1", local_port), timeout=30) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
        assert "db.internal" in repr(forward)
    assert repr(forward).endswith("stopped>")


@pytest.mark.parametrize("version", ["", OLD_AGENT])
def test_big_transfers_both_ways(
    request: pytest.FixtureRequest, target: Target, service: Any, version: str
) -> None:
    if version:
        request.getfixturevalue("old_agent")
    blob = os.urandom(4 * MEBIBYTE)

    def serve(connection: socket.socket) -> None:
        got = b""
        while len(got) < len(blob):
            got += connection.recv(65536)
        connection.sendall(hashlib.sha256(got).digest() + got)
        connection.recv(1)

    with held(target.forward(service(serve).port, "store.internal")) as forward:
        assert forward.parallel == (not version)
        with connected(forward) as connection:
            connection.sendall(blob)
            wanted = 32 + len(blob)
            got = b""
            while len(got) < wanted:
                piece = connection.recv(65536)
                assert piece
                got += piece
        assert got == hashlib.sha256(blob).digest() + blob


def test_a_hundred_connections_at_once(target: Target, service: Any) -> None:
    ready = threading.Barrier(100)

    def one(number: int) -> bool:
        blob = hashlib.sha256(b"%d" % number).digest() * 1000
        with connected(forward) as connection:
            connection.sendall(blob[:10])
            assert exactly(connection, 10) == blob[:10]
            ready.wait(60)  # all of them are open now
            sending = threading.Thread(target=connection.sendall, args=(blob,))
            sending.start()
            got = b""
            while len(got) < len(blob):
                got += connection.recv(65536)
            sending.join()
            return got == blob

    with (
        held(target.forward(service(echo).port, "many.internal")) as forward,
        concurrent.futures.ThreadPoolExecutor(100) as threads,
    ):
        assert all(threads.map(one, range(100)))
        assert (forward.accepted, forward.refused) == (100, 0)


def test_a_slow_reader_gets_everything_and_holds_the_sender_back(
    target: Target, service: Any
) -> None:
    total = 24 * MEBIBYTE
    sent = [0]
    block = bytes(range(256)) * 256

    def serve(connection: socket.socket) -> None:
        while sent[0] < total:
            connection.sendall(block)
            sent[0] += len(block)

    with held(target.forward(service(serve).port, "logs.internal")) as forward:
        with connected(forward) as connection:
            first = exactly(connection, 1)
            steady = [-1]

            def still() -> bool:
                before, steady[0] = steady[0], sent[0]
                return before == sent[0]

            threading.Event().wait(1.0)
            wait_until(still, 30)
            assert sent[0] < total  # nobody holds all of it
            got = first + read_all(connection)
        assert got == block * (total // len(block))


def test_this_side_may_finish_sending_and_still_read(
    target: Target, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "HALF_CLOSED", 60)  # however slow this machine is

    def serve(connection: socket.socket) -> None:
        assert exactly(connection, 5) == b"query"
        for _ in range(3):
            connection.sendall(b"row\n" * 1000)

    forward = target.forward(service(serve).port, "db.internal")
    with forward, connected(forward) as connection:
        connection.sendall(b"query")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"row\n" * 3000


def test_the_far_end_learns_in_time_that_this_side_has_closed(
    target: Target, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "HALF_CLOSED", 0.2)
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        assert read_all(connection) == b"good bye"
        closed.set()

    with held(target.forward(service(serve).port, "x.internal")) as forward:
        with connected(forward) as connection:
            connection.sendall(b"good bye")
        assert closed.wait(30)
        wait_until(lambda: not forward.connections)


def test_what_the_far_end_sent_before_its_end_arrives_first(target: Target, service: Any) -> None:
    blob = os.urandom(MEBIBYTE)
    with held(target.forward(service(lambda c: c.sendall(blob)).port, "x.internal")) as forward:
        with connected(forward) as connection:
            assert read_all(connection) == blob
            connection.sendall(b"too late")
        wait_until(lambda: not forward.connections, 20)


def test_nothing_listens_at_the_far_end(target: Target, service: Any) -> None:
    # A port that is taken, so that nobody else can listen on it, and that nobody listens on.
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    with taken, held(target.forward(taken.getsockname()[1], "off.internal")) as forward:
        with connected(forward) as connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        wait_until(lambda: forward.refused == 1)
        assert "could not connect" in str(forward.error)
        assert forward.running


def test_an_old_agent_says_at_once_that_nothing_listens(cluster: Sandbox, target: Target) -> None:
    cluster.faults.agent_version = OLD_AGENT
    words = (
        r"Unable to connect to specified port: dial tcp 127\.0\.0\.1:1: connect: connection refused"
    )
    with pytest.raises(StartFailed, match=words):
        target.forward(1)


def test_with_an_old_agent_connections_take_turns(
    old_agent: None, target: Target, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "HALF_CLOSED_ALONE", 0.1)

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\n")  # as mail and database servers do
        echo(connection)

    with held(target.forward(service(greet).port, "mail.internal")) as forward:
        with connected(forward) as first, connected(forward) as second:
            assert exactly(first, 10) == b"220 hello\n"
            second.sendall(b"second")
            first.sendall(b"first")
            assert exactly(first, 5) == b"first"
            first.close()
            assert exactly(second, 16) == b"220 hello\nsecond"
        assert forward.restarts >= 1


def test_too_old_for_other_hosts(cluster: Sandbox, target: Target) -> None:
    cluster.faults.agent_version = "3.1.1080.0"
    with pytest.raises(MethodUnavailable, match="too old to reach other hosts"):
        target.forward(5432, "db.internal")


def test_forbidden_addresses(target: Target) -> None:
    with pytest.raises(StartFailed, match="is forbidden"):
        target.forward(80, "169.254.169.254")


def test_a_cut_in_the_middle_loses_nothing(cluster: Sandbox, target: Target, service: Any) -> None:
    blob = os.urandom(3 * MEBIBYTE)
    cluster.faults.cut_after_frames = 700
    cluster.faults.cut_times = 3

    with held(target.forward(service(lambda c: c.sendall(blob)).port, "x.internal")) as forward:
        with connected(forward) as connection:
            assert read_all(connection) == blob
        assert forward.restarts == 0
    assert cluster.faults.cut_times == 0


def test_a_session_that_ended_is_begun_again_by_the_next_connection(
    cluster: Sandbox, target: Target, service: Any
) -> None:
    with held(target.forward(service(echo).port, "x.internal")) as forward:
        open_one = connected(forward)
        open_one.sendall(b"a")
        assert open_one.recv(1) == b"a"
        before = forward.session_id
        cluster.faults.lose_resume = True
        cluster.faults.cut()
        with pytest.raises(ConnectionResetError):
            open_one.recv(1)
        open_one.close()
        cluster.faults.lose_resume = False
        assert ask(forward, b"again") == b"again"
        assert forward.restarts == 1
        assert forward.session_id != before


def test_an_agent_that_died_is_noticed_and_its_successor_used(
    cluster: Sandbox, target: Target, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_session, "DEAD_AFTER", 2)
    with held(target.forward(service(echo).port, "x.internal")) as forward:
        assert ask(forward, b"one") == b"one"
        cluster.faults.kill_agent(target.task_id)
        with connected(forward) as connection, pytest.raises(ConnectionResetError):
            connection.sendall(b"two")
            connection.recv(1)
        assert "does not answer" in str(forward.error)
        assert ask(forward, b"three") == b"three"


def test_stop_with_open_connections(target: Target, service: Any) -> None:
    forward = target.forward(service(echo).port, "x.internal")
    there = [connected(forward) for _ in range(5)]
    for each in there:
        each.sendall(b"x")
        assert each.recv(1) == b"x"
    assert len(forward.connections) == 5
    assert slots.taken(target.ref) == 1
    forward.stop()
    for each in there:
        with pytest.raises(ConnectionResetError):
            each.recv(1)
        each.close()
    assert not forward.running
    assert not forward.connections
    wait_until(lambda: not slots.taken(target.ref))
    forward.stop()


def test_a_busy_local_port(target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidRequest, match=f"local port {port} is taken") as caught:
            target.forward(80, local_port=port)
    assert "--local-port" in caught.value.cure
    assert slots.taken(target.ref) == 0


def test_a_refused_start_session_has_the_policy(cluster: Sandbox, target: Target) -> None:
    cluster.faults.deny_start_session = True
    with pytest.raises(MethodUnavailable) as caught:
        target.forward(80)
    assert caught.value.code == "AccessDeniedException"
    assert "ssm:StartSession" in caught.value.cause
    for word in (target.task_arn, "document/AWS-StartPortForwardingSession", '"Allow"'):
        assert word in caught.value.cure
    assert len(caught.value._render_traceback_()) <= 5


def test_in_a_running_loop_and_with_a_loop_of_its_own(target: Target, service: Any) -> None:
    async def main() -> bytes:
        with held(target.forward(service(echo).port, "x.internal")) as forward:
            reader, writer = await asyncio.open_connection(*forward.address)
            writer.write(b"from a loop")
            got = await reader.readexactly(11)
            writer.close()
            return got

    assert asyncio.run(main()) == b"from a loop"


def test_awaited_on_a_loop_of_the_caller(target: Target, service: Any) -> None:
    async def main() -> tuple[bytes, Forward]:
        forward = await target.forward_async(service(echo).port, "x.internal")
        async with forward as local_port:
            reader, writer = await asyncio.open_connection("127.0.0.1", local_port)
            writer.write(b"awaited")
            got = await reader.readexactly(7)
            writer.close()
        return got, forward

    got, forward = asyncio.run(main())
    assert got == b"awaited"
    assert not forward.running
    assert len(forward.session_ids) == 1


def test_one_that_is_cancelled_while_it_opens_leaves_nothing(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    real = port_session.PortSession._take_up

    async def slow(self: port_session.PortSession) -> None:
        begun.set()
        await asyncio.sleep(600)
        await real(self)

    monkeypatch.setattr(port_session.PortSession, "_take_up", slow)

    async def main() -> None:
        opening = asyncio.ensure_future(target.forward_async(80, "x.internal"))
        assert await asyncio.to_thread(begun.wait, 20)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(main())
    wait_until(lambda: not slots.taken(target.ref), 20)
    assert not open_forwards()


def test_whoever_wants_to_hears_of_its_end(target: Target, service: Any) -> None:
    forward = target.forward(service(echo).port, "x.internal")
    ended = threading.Event()
    forward.on_end(ended.set)
    assert ask(forward, b"x") == b"x"
    assert not ended.is_set()
    assert (forward.state, forward.cut) == ("open", None)
    forward.stop()
    assert ended.wait(20)
    assert (forward.state, forward.cut) == ("stopped", None)


def test_the_practice_agent_dials_one_after_the_other(
    target: Target, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the real one does: a host that answers late holds up those behind it."""
    now, most = [0], [0]
    real = agent_side._Dial._dialed

    async def dialed(self: agent_side._Dial) -> socket.socket:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0.05)
        try:
            return await real(self)
        finally:
            now[0] -= 1

    monkeypatch.setattr(agent_side._Dial, "_dialed", dialed)
    with (
        held(target.forward(service(echo).port, "x.internal")) as forward,
        concurrent.futures.ThreadPoolExecutor(5) as threads,
    ):
        assert list(threads.map(lambda _: ask(forward, b"x"), range(5))) == [b"x"] * 5
    assert most == [1]


@pytest.mark.parametrize("said", [True, False])
def test_an_agent_that_wants_signs_of_life_gets_them(
    cluster: Sandbox, target: Target, service: Any, monkeypatch: pytest.MonkeyPatch, said: bool
) -> None:
    cluster.faults.agent_version = "3.1.1511.0"
    monkeypatch.setattr(agent_side, "KEEP_ALIVE", 0.5)
    monkeypatch.setattr(port_session, "NOP_INTERVAL", 0.1 if said else 600.0)
    signs = [0]

    class Counting(Mux):
        def nop(self) -> None:
            signs[0] += 1
            super().nop()

    monkeypatch.setattr(agent_side, "Mux", Counting)
    with held(target.forward(service(echo).port, "x.internal")) as forward:
        first = forward.session_id
        if said:
            wait_until(lambda: signs[0] >= 8, 60)  # more than twice the agent's patience
            assert forward.session_id == first
        else:
            wait_until(lambda: not forward.session_id, 30)
        assert ask(forward, b"x") == b"x"
        assert forward.restarts == (not said)


def test_a_stopped_task_ends_it(
    cluster: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_session, "LOOK_AFTER", 1)
    target = client.target("demo/web:sidecar")
    with held(target.forward(80, "x.internal")) as forward:
        cluster.faults.kill_task(target.task_id)
        wait_until(lambda: not forward.session_id, 60)
        with contextlib.suppress(OSError), connected(forward) as connection:
            connection.recv(1)
        wait_until(lambda: not forward.running, 30)
        assert "stopped" in str(forward.error)
        assert forward.cut is forward.error
    with pytest.raises(TypeError):
        pickle.dumps(forward)


@pytest.mark.parametrize(
    ("port", "host", "how"),
    [(0, None, {}), (70000, None, {}), (80, "a b", {}), (80, None, {"bind": ""})],
)
def test_what_cannot_be_asked(target: Target, port: int, host: str | None, how: Any) -> None:
    with pytest.raises(InvalidRequest):
        target.forward(port, host, **how)
