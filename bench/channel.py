"""How fast the data channel takes output: ``python -m bench.channel`` from the project's root.

A server in a process of its own sends 24 MiB in frames of 1 KiB that were made beforehand, and ends
the session once every one of them is acknowledged. The client is timed from the first frame to that
end. In the same run the bare websocket libraries take the same frames with a handler that does only
what no client can leave out (read the header, check the digest, send an acknowledgement), so that
the libraries, and what we add to them, can be compared as ratios.

For reference: the official session-manager-plugin (Go) was measured at 19 600 frames/s.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import multiprocessing
import os
import statistics
import struct
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ecs_exec_magic.channel.connection import Connection, ConnectionOptions, SessionGrant
from ecs_exec_magic.channel.events import Closed, Output
from ecs_exec_magic.channel.frames import Frame, MessageType, acknowledgement, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection as Pipe

OFFICIAL = 19_600
PAYLOAD = 1024
CREATED = 1_700_000_000_000


# ---------------------------------------------------------------------- the server


def _websocket_frame(message: bytes) -> bytes:
    size = len(message)
    assert 126 <= size < 1 << 16
    return b"\x82\x7e" + struct.pack(">H", size) + message


def _make_output(count: int) -> list[bytes]:
    """Return the whole session as blocks of websocket frames."""
    payload = os.urandom(PAYLOAD)
    frames = []
    for sequence in range(count):
        message_id = UUID(int=(0xABCDEF << 100) + sequence)
        frame = Frame(MessageType.OUTPUT, sequence, 0, message_id, CREATED, 1, payload)
        frames.append(_websocket_frame(encode(frame)))
    return [b"".join(frames[at : at + 56]) for at in range(0, count, 56)]


def _make_end() -> bytes:
    said = json.dumps({"MessageType": "channel_closed", "Output": "", "SchemaVersion": 1}).encode()
    return _websocket_frame(
        encode(Frame(MessageType.CHANNEL_CLOSED, 0, 0, UUID(int=1), CREATED, 0, said))
    )


class _Server(asyncio.Protocol):
    """Sends the blocks after the client's first message and counts what comes back."""

    def __init__(self, blocks: list[bytes], count: int) -> None:
        self._blocks = iter(blocks)
        self._left = count
        self._data = bytearray()
        self._upgraded = False
        self._greeted = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._push()

    def _push(self) -> None:
        while not self._paused:
            block = next(self._blocks, None)
            if block is None:
                return
            self._transport.write(block)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._upgraded:
            head, found, rest = bytes(self._data).partition(b"\r\n\r\n")
            if not found:
                return
            key = next(
                line.split(b":", 1)[1].strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key:")
            )
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + base64.b64encode(digest)
                + b"\r\n\r\n"
            )
            self._upgraded = True
            self._data = bytearray(rest)
        at, block, end = 0, self._data, len(self._data)
        while end - at >= 8:
            size = block[at + 1] & 0x7F
            header = 6
            if size == 126:
                size = block[at + 2] << 8 | block[at + 3]
                header = 8
            if end - at < header + size:
                break
            kind = block[at] & 0x0F
            at += header + size
            if kind == 1:
                self._greeted = True
                self._push()
            elif kind == 2:
                self._left -= 1
                if not self._left:
                    self._transport.write(_make_end())
        del block[:at]


def _serve(pipe: Pipe, count: int, core: int | None) -> None:
    _pin(core)
    blocks = _make_output(count)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Server(blocks, count), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.recv)
        server.close()

    asyncio.run(run())


def _pin(core: int | None) -> None:
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


# ---------------------------------------------------------------------- the clients


class _NoServices:
    async def resume(self) -> tuple[str, str]:
        raise AssertionError("the connection was lost")

    async def terminate(self) -> None:
        return None

    async def generate_data_key(self, key_id: str, context: dict[str, str]) -> tuple[bytes, bytes]:
        raise AssertionError("no key is asked for")

    async def sign(self, url: str) -> dict[str, str]:
        return {}


async def ours(url: str, count: int) -> None:
    """Our connection, as the layers above use it."""
    taken = 0
    grant = SessionGrant("bench", url, "token")
    async with await Connection.open(grant, _NoServices(), ConnectionOptions()) as connection:
        while not connection.closed or taken < count * PAYLOAD:
            for event in await connection.receive():
                if isinstance(event, Output):
                    taken += len(event.data)
                else:
                    assert isinstance(event, Closed), event
    assert taken == count * PAYLOAD


def _answer(message: bytes, ack_id: bytes) -> bytes | None:
    """What no client can leave out; None for the end of the session."""
    if message[4:22] != b"output_stream_data":
        return None
    (sequence,) = struct.unpack_from(">q", message, 48)
    payload = message[120:]
    assert hashlib.sha256(payload).digest() == message[80:112]
    return acknowledgement(MessageType.OUTPUT, message[64:80], sequence, ack_id, CREATED)


async def bare_picows(url: str, count: int) -> None:
    """picows, one write for each acknowledgement."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    done = asyncio.get_running_loop().create_future()

    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(WSMsgType.TEXT, b"{}")

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            answer = _answer(frame.get_payload_as_bytes(), bytes(16))
            if answer is not None:
                transport.send(WSMsgType.BINARY, answer)
            elif not done.done():
                done.set_result(None)

    transport, _ = await ws_connect(Listener, url, read_buffer_init_size=256 * 1024)
    await done
    transport.disconnect()
    await transport.wait_disconnected()


async def bare_aiohttp(url: str, count: int) -> None:
    """aiohttp, one write for each acknowledgement."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        websocket = await session.ws_connect(url, compress=0)
        await websocket.send_str("{}")
        while (answer := _answer(await websocket.receive_bytes(), bytes(16))) is not None:
            await websocket.send_bytes(answer)


async def bare_websockets(url: str, count: int) -> None:
    """websockets, one write for each acknowledgement."""
    from websockets.asyncio.client import connect

    websocket = await connect(url, compression=None, proxy=None, close_timeout=0.01)
    await websocket.send("{}")
    while (answer := _answer(await websocket.recv(decode=False), bytes(16))) is not None:
        await websocket.send(answer)
    await websocket.close()


CLIENTS: dict[str, Callable[[str, int], Awaitable[None]]] = {
    "ours": ours,
    "bare picows": bare_picows,
    "bare aiohttp": bare_aiohttp,
    "bare websockets": bare_websockets,
}


@dataclass(frozen=True)
class Figure:
    """One round."""

    rate: float
    micros: float
    megabytes: float


def _resident() -> float:
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _run_client(pipe: Pipe, name: str, port: int, count: int, core: int | None) -> None:
    _pin(core)

    async def run() -> None:
        url = f"ws://127.0.0.1:{port}/v1/data-channel/bench"
        before, cpu = time.perf_counter(), time.process_time()
        await CLIENTS[name](url, count)
        spent, cpu = time.perf_counter() - before, time.process_time() - cpu
        pipe.send((count / spent, cpu * 1e6 / count, _resident()))

    try:
        asyncio.run(run())
    except ImportError as error:
        pipe.send(str(error))


def _round(context: Any, name: str, port: int, count: int, core: int | None) -> Figure | str:
    here, there = context.Pipe()
    process = context.Process(target=_run_client, args=(there, name, port, count, core))
    process.start()
    there.close()
    try:
        said = here.recv()
    except EOFError:
        said = "it failed"
    process.join()
    return said if isinstance(said, str) else Figure(*said)


def measure(count: int, rounds: int, names: list[str]) -> dict[str, list[Figure] | str]:
    """Run every client ``rounds`` times, interleaved, against one server."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    ours_core, server_core = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there, count, server_core))
    server.start()
    figures: dict[str, list[Figure] | str] = {}
    try:
        port = here.recv()
        for _ in range(rounds):
            for name in names:
                if isinstance(figures.get(name), str):
                    continue
                figure = _round(context, name, port, count, ours_core)
                if isinstance(figure, str):
                    figures[name] = figure
                    continue
                series = figures.setdefault(name, [])
                assert isinstance(series, list)
                series.append(figure)
        here.send(None)
    finally:
        server.join(5)
        if server.is_alive():
            server.terminate()
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=sorted(CLIENTS), action="append")
    options = parser.parse_args()
    count = options.mebibytes * 1024 * 1024 // PAYLOAD
    print(f"{count} frames of {PAYLOAD} bytes, median of {options.rounds} interleaved rounds")
    figures = measure(count, options.rounds, options.only or list(CLIENTS))
    reference = figures.get("bare picows")
    base = statistics.median(f.rate for f in reference) if isinstance(reference, list) else None
    for name, series in figures.items():
        if isinstance(series, str):
            print(f"{name:16} not measured: {series}")
            continue
        rates = sorted(figure.rate for figure in series)
        rate = statistics.median(rates)
        ratio = f" {rate / base:5.2f} x bare picows" if base else ""
        print(
            f"{name:16} {rate:9,.0f} frames/s [{rates[0]:,.0f}..{rates[-1]:,.0f}]"
            f" {statistics.median(f.micros for f in series):6.2f} us CPU/frame"
            f" {max(f.megabytes for f in series):4.0f} MB{ratio}"
            f" {rate / OFFICIAL:5.2f} x official plugin"
        )


if __name__ == "__main__":
    main()
