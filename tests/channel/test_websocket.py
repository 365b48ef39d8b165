"""Many messages in one write, and messages in many frames."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.channel.dialing import Dialer
from ecs_exec_magic.channel.websocket import WebSocket, join_masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def read_frames(block: bytes) -> list[tuple[int, bytes]]:
    """Parse a client's frames the slow way: opcode and payload of each."""
    found = []
    at = 0
    while at < len(block):
        assert block[at] & 0x80
        assert block[at + 1] & 0x80
        opcode, size = block[at] & 15, block[at + 1] & 0x7F
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(block[at : at + width], "big")
            assert size >= (126 if width == 2 else 65536)
            at += width
        key = block[at : at + 4]
        at += 4
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(block[at : at + size]))
        assert len(payload) == size
        at += size
        found.append((opcode, payload))
    return found


@given(st.lists(st.binary(max_size=400) | st.text(max_size=100), max_size=8))
def test_joined_messages_are_those_messages(messages: list[bytes | str]) -> None:
    expected = [
        (1, message.encode()) if isinstance(message, str) else (2, message) for message in messages
    ]
    assert read_frames(join_masked(messages)) == expected


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 127, 65535, 65536, 70000])
def test_every_form_of_length(size: int) -> None:
    message = bytes(range(256)) * 300
    assert read_frames(join_masked([message[:size], b"next"])) == [
        (2, message[:size]),
        (2, b"next"),
    ]


def test_every_message_has_a_mask_of_its_own() -> None:
    block = join_masked([bytes(4)] * 50)
    masks = {block[at + 2 : at + 6] for at in range(0, len(block), 10)}
    assert len(masks) > 45


class RawServer:
    """Upgrades, then sends the bytes it is told to."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.reader: asyncio.StreamReader | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/x"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = head.lower().split(b"sec-websocket-key:")[1].split(b"\r\n")[0]
        key = head[head.lower().index(b"sec-websocket-key:") + 18 :][: len(key)].strip()
        accept = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
        )
        self.reader, self.writer = reader, writer

    async def stop(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self._server.close()
        await self._server.wait_closed()


class Opened:
    """A websocket on a raw server, and what it reported."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.batches: list[list[bytes | str]] = []
        self.lost: list[str] = []
        self.changed = asyncio.Event()
        self.socket: WebSocket

    def make(self) -> WebSocket:
        def on_messages(batch: list[bytes | str]) -> None:
            self.batches.append(batch)
            self.changed.set()

        def on_lost(reason: str) -> None:
            self.lost.append(reason)
            self.changed.set()

        return WebSocket(on_messages, on_lost)

    @property
    def messages(self) -> list[bytes | str]:
        return [message for batch in self.batches for message in batch]

    async def write(self, data: bytes) -> None:
        assert self.server.writer is not None
        self.changed.clear()
        self.server.writer.write(data)
        await asyncio.wait_for(self.changed.wait(), 5)


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    server = RawServer()
    url = await server.start()
    both = Opened(server)
    both.socket = await Dialer(proxies={}).open(url, {}, both.make)
    yield both
    await both.socket.close()
    await server.stop()


def frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes((opcode | (0x80 if last else 0), len(payload))) + payload


async def test_messages_of_one_read_come_together(opened: Opened) -> None:
    await opened.write(frame(2, b"one") + frame(1, b"two") + frame(2, b"three"))
    assert opened.batches == [[b"one", "two", b"three"]]


async def test_a_ping_at_the_end_of_a_read_does_not_hold_it_back(opened: Opened) -> None:
    await opened.write(frame(2, b"one") + frame(9, b"are you there"))
    assert opened.batches == [[b"one"]]
    assert opened.server.reader is not None
    answer = await asyncio.wait_for(opened.server.reader.readexactly(2 + 4 + 13), 5)
    assert read_frames(answer) == [(10, b"are you there")]


async def test_a_message_in_many_frames_is_put_together(opened: Opened) -> None:
    await opened.write(
        frame(2, b"on", last=False)
        + frame(9, b"")
        + frame(0, b"e", last=False)
        + frame(0, b"!")
        + frame(1, b"tw", last=False)
        + frame(0, b"o")
    )
    assert opened.messages == [b"one!", "two"]


async def test_text_that_is_not_utf_8_is_handed_on_all_the_same(opened: Opened) -> None:
    await opened.write(frame(1, b"\xff"))
    assert opened.messages == ["\ufffd"]


async def test_messages_before_the_end_are_handed_on_first(opened: Opened) -> None:
    await opened.write(frame(2, b"last words") + frame(8, b"\x03\xe8Bye"))
    assert opened.messages == [b"last words"]
    await asyncio.sleep(0.05)
    assert opened.lost == ["closed by the far end, code 1000 (Bye)"]


@pytest.mark.parametrize("broken", [b"\xff\xff\xff\xff", b"\x82\x7f" + b"\x7f" * 8, b"\x83\x00"])
async def test_what_is_no_websocket_any_more_ends_it(opened: Opened, broken: bytes) -> None:
    await opened.write(frame(2, b"good") + b"")
    assert opened.server.writer is not None
    opened.server.writer.write(broken)
    for _ in range(100):
        if opened.lost:
            break
        await asyncio.sleep(0.05)
    assert len(opened.lost) == 1
    assert opened.messages == [b"good"]


async def test_a_message_without_end_is_given_up(opened: Opened) -> None:
    assert opened.server.writer is not None
    part = b"\x00\x7e" + (60_000).to_bytes(2, "big") + bytes(60_000)
    opened.server.writer.write(frame(2, b"x", last=False) + part * 20)
    for _ in range(100):
        if opened.lost:
            break
        await asyncio.sleep(0.02)
    assert opened.lost == ["a message was too long"]


async def test_many_messages_go_out_in_order(opened: Opened) -> None:
    assert opened.server.reader is not None
    opened.socket.send([b"1", "2", b"3" * 200])
    opened.socket.send([b"4"])
    opened.socket.send([])
    expected = (6 + 1) * 3 + 8 + 200
    block = await asyncio.wait_for(opened.server.reader.readexactly(expected), 5)
    assert read_frames(block) == [(2, b"1"), (1, b"2"), (2, b"3" * 200), (2, b"4")]


async def test_nothing_is_read_while_paused(opened: Opened) -> None:
    opened.socket.pause_reading()
    assert opened.server.writer is not None
    opened.server.writer.write(frame(2, b"later"))
    await asyncio.sleep(0.1)
    assert opened.messages == []
    opened.socket.resume_reading()
    await asyncio.wait_for(opened.changed.wait(), 5)
    assert opened.messages == [b"later"]


async def test_sending_after_the_end_does_nothing(opened: Opened) -> None:
    opened.socket.abort("enough")
    await asyncio.sleep(0.05)
    opened.socket.send([b"x"])
    opened.socket.send([b"x", b"y"])
    opened.socket.ping()
    opened.socket.resume_reading()
    assert opened.lost == ["enough"]
    assert "lost" in repr(opened.socket)
