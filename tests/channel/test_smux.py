"""Streams over one stream: cut, mixed, held back, and broken."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.channel.events import Flag, HandshakeComplete, Output
from ecs_exec_magic.channel.protocol import DataChannel
from ecs_exec_magic.channel.smux import HEADER, Arrived, Finished, Mux, Opened
from ecs_exec_magic.errors import ProtocolError

from .recordings import read

SYN, FIN, PSH, NOP, UPD = range(5)


def frame(command: int, stream: int, data: bytes = b"", version: int = 1) -> bytes:
    return HEADER.pack(version, command, len(data), stream) + data


def move(source: Mux, target: Mux, limit: int = 32_768) -> list[Any]:
    """Carry all that one end has to send to the other."""
    events: list[Any] = []
    while source.has_data_to_send:
        events += target.receive(source.data_to_send(limit))
    return events


def test_the_bytes_of_a_stream_are_those_of_the_library() -> None:
    mux = Mux(client=True)
    stream = mux.open()
    assert mux.send(stream, b"hello") == 5
    mux.nop()
    mux.close(stream)
    assert mux.data_to_send() == bytes.fromhex(
        "01000000030000000103000000000000010205000300000068656c6c6f0101000003000000"
    )
    assert not mux.has_data_to_send
    assert len(mux) == 0


def test_both_directions_and_the_end() -> None:
    client, server = Mux(client=True), Mux(client=False)
    one, two = client.open(), client.open()
    assert (one, two) == (3, 5)
    client.send(two, b"to two")
    assert move(client, server) == [Opened(3), Opened(5), Arrived(5, b"to two")]
    server.send(3, b"from three")
    server.close(3)
    assert move(server, client) == [Arrived(3, b"from three"), Finished(3)]
    assert client.send(3, b"into the void") == 13
    client.close(3)
    move(client, server)
    assert client.streams == server.streams == (5,)


@pytest.mark.parametrize("version", [1, 2])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_split_and_any_interleaving_gives_every_stream_its_bytes(
    version: int, data: st.DataObject
) -> None:
    draw = random.Random(data.draw(st.integers()))
    client = Mux(client=True, version=version, stream_limit=300)
    server = Mux(client=False, version=version, stream_limit=300)
    wanted = {client.open(): draw.randbytes(draw.randrange(3000)) for _ in range(4)}
    left, got = dict(wanted), dict.fromkeys(wanted, b"")
    ended: list[int] = []
    while len(ended) < 4:
        for stream in draw.sample(list(left), len(left)):
            piece = left[stream][: draw.randrange(1, 500)]
            left[stream] = left[stream][client.send(stream, piece) :]
            if not left[stream]:
                client.close(stream)
                del left[stream]
        wire = client.data_to_send(draw.randrange(1, 2000))
        while wire:
            cut = draw.randrange(1, 40)
            for event in server.receive(wire[:cut]):
                if isinstance(event, Arrived):
                    got[event.stream] += event.data
                    server.consumed(event.stream, len(event.data))
                elif isinstance(event, Finished):
                    ended.append(event.stream)
                    server.close(event.stream)
            wire = wire[cut:]
        client.receive(server.data_to_send())
    assert got == wanted
    assert len(client) == len(server) == server.held == 0


@given(st.lists(st.binary(max_size=60), max_size=20), st.booleans(), st.sampled_from([1, 2]))
def test_garbage_is_a_protocol_error_for_good_or_nothing_at_all(
    pieces: list[bytes], client: bool, version: int
) -> None:
    mux = Mux(client=client, version=version)
    broken = False
    for piece in pieces:
        try:
            mux.receive(piece)
        except ProtocolError:
            broken = True
        else:
            assert not (broken and piece) or not broken
        assert mux.held <= sum(map(len, pieces))
    if broken:
        with pytest.raises(ProtocolError):
            mux.receive(b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\n",
        frame(SYN, 4),
        frame(SYN, 3) + frame(SYN, 3),
        frame(SYN, 3, b"x"),
        frame(FIN, 5),
        frame(PSH, 5, b"x"),
        frame(UPD, 3, bytes(8)),
        frame(7, 3),
        frame(NOP, 0, version=2),
    ],
    ids=lambda wire: wire[:12].hex(),
)
def test_what_breaks_the_protocol(wire: bytes) -> None:
    for cut in (1, len(wire)):
        mux = Mux(client=False)
        with pytest.raises(ProtocolError):
            for at in range(0, len(wire), cut):
                mux.receive(wire[at : at + cut])


def test_the_other_end_opens_no_streams_to_a_client() -> None:
    with pytest.raises(ProtocolError):
        Mux(client=True).receive(frame(SYN, 3))


def test_a_stream_takes_no_more_than_there_is_room_for() -> None:
    mux = Mux(client=True, stream_limit=1000)
    stream = mux.open()
    assert mux.send(stream, bytes(5000)) == 1000
    assert mux.send(stream, b"more") == 0 == mux.room(stream)
    mux.data_to_send()
    assert mux.room(stream) == 1000


def test_a_window_that_does_not_open_holds_the_sender_back() -> None:
    client, server = Mux(client=True, version=2), Mux(client=False, version=2)
    stream, offered, arrived = client.open(), 0, 0
    for _ in range(1000):
        offered += client.send(stream, bytes(4096))
        for event in server.receive(client.data_to_send()):
            arrived += len(event.data) if isinstance(event, Arrived) else 0
    assert arrived == 262_144  # the first window, which nobody has answered
    assert offered == 262_144 + 65_536
    assert client.room(stream) == 0
    assert not client.has_data_to_send
    server.consumed(stream, arrived)
    client.receive(server.data_to_send())
    assert client.has_data_to_send


def test_consuming_more_than_was_sent_is_a_breach() -> None:
    client = Mux(client=True, version=2)
    client.open()
    with pytest.raises(ProtocolError, match="more than was sent"):
        client.receive(frame(UPD, 3, struct.pack("<II", 10, 1000), version=2))


def test_in_version_1_all_streams_share_one_room() -> None:
    client, server = Mux(client=True), Mux(client=False, receive_limit=10_000)
    slow, quick = client.open(), client.open()
    client.send(slow, bytes(20_000))
    move(client, server)
    assert (server.full, server.held) == (True, 20_000)
    server.consumed(slow, 15_000)
    assert (server.full, server.held) == (False, 5_000)
    client.send(quick, b"x")
    assert move(client, server) == [Arrived(quick, b"x")]
    server.close(slow, drop=True)
    assert server.held == 1


def test_streams_take_turns() -> None:
    client = Mux(client=True)
    streams = [client.open() for _ in range(3)]
    client.data_to_send()
    for stream in streams:
        client.send(stream, bytes(3000))
    order = []
    while client.has_data_to_send:
        wire = client.data_to_send(1024)
        order.append(HEADER.unpack_from(wire)[3])
    assert order[:3] == streams
    assert order[3:6] == streams


def test_a_closed_stream_can_drop_what_waits() -> None:
    client, server = Mux(client=True), Mux(client=False)
    stream = client.open()
    client.send(stream, b"never sent")
    client.close(stream, drop=True)
    assert move(client, server) == [Opened(stream), Finished(stream)]
    assert server.receive(frame(NOP, 0)) == []
    client.close(stream)
    assert not client.has_data_to_send


def test_too_many_streams() -> None:
    mux = Mux(client=True, max_streams=2)
    mux.open()
    mux.open()
    with pytest.raises(ProtocolError, match="no more connections"):
        mux.open()


def test_the_recording_of_the_official_plugin_is_understood() -> None:
    recording = read("port_http")
    client, server = Mux(client=True), Mux(client=False)
    channel = DataChannel(recording.session_id)
    channel.connect("token", 0.0)
    answers: dict[int, bytes] = {}
    ended: list[int] = []
    for line in recording.lines:
        if line.direction == "client>agent" and line.data:
            sent = line.frame
            if sent.message_type == "input_stream_data" and sent.payload_type == 1:
                for told in server.receive(sent.payload):
                    if isinstance(told, Opened):
                        assert client.open() == told.stream
                        answers[told.stream] = b""
                    elif isinstance(told, Finished):
                        ended.append(told.stream)
        elif line.direction.endswith(">client") and line.data:
            channel.receive(line.data, 0.0)
            for event in channel.events_received():
                assert not isinstance(event, Flag)
                if isinstance(event, HandshakeComplete):
                    assert event.session_type == "Port"
                    assert event.properties["type"] == "LocalPortForwarding"
                    assert event.properties["portNumber"] == "9099"
                elif isinstance(event, Output):
                    for one in client.receive(event.data):
                        if isinstance(one, Arrived):
                            answers[one.stream] += one.data
    assert list(answers) == [3, 5]
    assert all(answer.startswith(b"HTTP/1.0 200") for answer in answers.values())
    assert ended == [3, 5]
