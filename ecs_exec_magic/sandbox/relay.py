"""The two-way relay of one session: frames to the attached client, frames to the agent.

Knows who is attached, and where faults strike. Never reads a payload.
"""

from __future__ import annotations

import asyncio
import struct
import time
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING

from ..channel.frames import Frame, MessageType, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from .faults import Faults
    from .sessions import Session

__all__ = ["Relay"]

_SEQUENCE = struct.Struct(">q")
_TYPE_SLICE = slice(4, 36)
_DIGEST_AT = 80
_PAYLOAD_AT = 120
_LINGER = 5.0  # seconds the websocket stays open after channel_closed


def _type_of(data: bytes) -> str:
    return data[_TYPE_SLICE].decode("ascii", "replace").strip("\0 ")


def _sequence_of(data: bytes) -> int:
    return int(_SEQUENCE.unpack_from(data, 48)[0]) if len(data) >= 56 else -1


def _broken(data: bytes, at: int) -> bytes:
    """The same frame with one byte changed; a frame too short for that as it is."""
    if len(data) <= at:
        return data
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def _control(message_type: str, payload_type: int = 0) -> bytes:
    now = int(time.time() * 1000)
    return encode(Frame(message_type, 0, 0, uuid.uuid4(), now, payload_type, b""))


class _Line:
    """Frames on their way in one direction: late or held when faults say so, always in order."""

    _FULL = 1000
    _LOOK = 0.02

    def __init__(
        self,
        deliver: Callable[[bytes], Awaitable[None]],
        stalled: Callable[[], bool],
        latency: Callable[[], float],
    ) -> None:
        self._deliver = deliver
        self._stalled = stalled
        self._latency = latency
        self._frames: deque[tuple[float, bytes]] = deque()
        self._room = asyncio.Event()
        self._mover: asyncio.Task[None] | None = None

    async def send(self, data: bytes) -> None:
        """Pass a frame on, at once where nothing is wrong."""
        if self._mover is None and not self._stalled() and not self._latency():
            await self._deliver(data)
            return
        if len(self._frames) >= self._FULL:
            self._room.clear()
            await self._room.wait()
        self._frames.append((time.monotonic() + self._latency(), data))
        if self._mover is None:
            self._mover = asyncio.ensure_future(self._move())

    async def _move(self) -> None:
        while self._frames:
            due, data = self._frames[0]
            wait = due - time.monotonic()
            if wait > 0 or self._stalled():
                await asyncio.sleep(max(wait, self._LOOK if self._stalled() else 0))
                continue
            self._frames.popleft()
            self._room.set()
            await self._deliver(data)
        self._mover = None

    def stop(self) -> None:
        """Forget what is on its way."""
        if self._mover is not None:
            self._mover.cancel()


class Relay:
    """Relays the frames of one session."""

    def __init__(self, session: Session, faults: Faults) -> None:
        self.client: web.WebSocketResponse | None = None
        self._session = session
        self._faults = faults
        self._request: web.Request | None = None
        self._to_client = 0
        self._from_client = 0
        self._held: dict[str, list[bytes]] = {}
        self._sent: Counter[tuple[str, int]] = Counter()
        self._outward = _Line(self._deliver, lambda: faults.stall_output, lambda: faults.latency)
        self._inward = _Line(self._to_agent, lambda: faults.stall_input, lambda: faults.latency)
        self._readers: dict[web.WebSocketResponse, asyncio.Task[None] | None] = {}
        self._goodbyes: dict[web.WebSocketResponse, bytes] = {}
        self.farewell: bytes | None = None
        self._hang_up: asyncio.TimerHandle | None = None

    # towards the client

    async def to_client(self, data: bytes) -> None:
        """Deliver one frame of the agent or the gateway; without a client it is lost."""
        kind = _type_of(data)
        if kind == MessageType.AGENT_SESSION_STATE:
            self._session.states.append(
                "Connected" if b'"SessionState":"Connected"' in data else "Terminating"
            )
            return
        if kind == MessageType.OUTPUT:
            self._session.last_traffic = time.monotonic()
        for one in self._with_faults(kind, data):
            await self._outward.send(one)

    def _with_faults(self, kind: str, data: bytes) -> list[bytes]:
        faults, sequence = self._faults, _sequence_of(data)
        frames = [data]
        if kind == MessageType.OUTPUT:
            if faults.take("drop", sequence):
                return []
            if faults.take("wrong_digest", sequence):
                frames = [_broken(data, _DIGEST_AT)]
            if faults.take("corrupt", sequence):
                frames = [_broken(data, _PAYLOAD_AT)]
            if faults.take("duplicate", sequence):
                frames *= 2
            if faults.take("delay", sequence):
                self._held.setdefault("out", []).extend(frames)
                return []
        elif kind == MessageType.ACKNOWLEDGE and faults.drop_acks > 0:
            faults.drop_acks -= 1
            return []
        frames = self._with_rates("out", frames, stream=kind == MessageType.OUTPUT)
        every = faults.unknown_frames
        if frames and every and self._to_client % every == 0:
            frames = [_control("interactive_shell"), _control("start_publication", 17), *frames]
        return frames

    def _with_rates(self, way: str, frames: list[bytes], *, stream: bool) -> list[bytes]:
        """What becomes of frames by chance, and what was held back for the next one to come."""
        faults = self._faults
        if stream and faults.has_rates:
            sequence = _sequence_of(frames[0])
            self._sent[way, sequence] += 1
            frame = (self._session.number, way, sequence, self._sent[way, sequence])
            if faults.strikes("drop", *frame):
                return []
            if way == "out" and faults.strikes("corrupt", *frame):
                frames = [_broken(frames[0], _PAYLOAD_AT)]
            if faults.strikes("duplicate", *frame):
                frames = frames * 2
            if faults.strikes("reorder", *frame):
                self._held.setdefault(way, []).extend(frames)
                return []
        return frames + self._held.pop(way, [])

    async def _deliver(self, data: bytes) -> None:
        client = self.client
        if client is None or client.closed:
            return
        faults = self._faults
        if faults.slow_writes:
            await asyncio.sleep(faults.slow_writes)
        if faults.close_before_data and self._to_client == 0:
            self._close(client, b"Bye")
            return
        self._to_client += 1
        try:
            if faults.text_frames:
                try:
                    await client.send_str(data.decode("utf-8"))
                except UnicodeDecodeError:
                    await client.send_bytes(data)
            else:
                await client.send_bytes(data)
        except (ConnectionError, RuntimeError):
            return  # it went away; what was not acknowledged is sent again
        if faults.take_cut(self._to_client, faults.cut_after_frames):
            await self.cut(faults.cut_close)

    async def cut(self, close: bool) -> None:
        """Drop the connection: with a close frame, or without a word."""
        if close and self.client is not None:
            self._close(self.client, b"Bye")
        elif self._request is not None and self._request.transport is not None:
            self._request.transport.abort()

    def _close(self, client: web.WebSocketResponse, reason: bytes) -> None:
        """Close a websocket in due form: only who reads it can wait for the client's answer."""
        if self.client is client:
            self.client = self._request = None
        task = self._readers.get(client)
        if task is None or client in self._goodbyes:
            return
        self._goodbyes[client] = reason
        if task is not asyncio.current_task():
            task.cancel()

    # from the client

    async def serve(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        """Relay until this client goes or another takes its place."""
        from aiohttp import WSMsgType

        former = self.client
        self._readers[socket] = asyncio.current_task()
        if former is not None:
            self._close(former, b"Another client has attached.")
        self.client, self._request = socket, request
        self._to_client = self._from_client = 0
        try:
            self._tell_agent(_control(MessageType.START_PUBLICATION))
            if self.farewell is not None:
                await self.say_farewell(self.farewell)
            async for message in socket:
                if message.type == WSMsgType.BINARY:
                    await self._on_frame(message.data)
                elif message.type == WSMsgType.TEXT:
                    await self._on_frame(message.data.encode())
                if socket in self._goodbyes:
                    break
        except asyncio.CancelledError:
            if socket not in self._goodbyes:
                raise
        finally:
            del self._readers[socket]
            if self.client is None or self.client is socket:
                self.client = self._request = None
                self.pause_agent()
            reason = self._goodbyes.pop(socket, None)
            if reason is not None:
                await socket.close(code=1000, message=reason)

    async def _on_frame(self, data: bytes) -> None:
        faults = self._faults
        self._from_client += 1
        is_input = _type_of(data) == MessageType.INPUT
        if is_input:
            self._session.last_traffic = time.monotonic()
            if faults.take("drop_inputs", _sequence_of(data)):
                return
        for one in self._with_rates("in", [data], stream=is_input):
            await self._inward.send(one)
        if faults.take_cut(self._from_client, faults.cut_after_inputs):
            await self.cut(faults.cut_close)

    async def _to_agent(self, data: bytes) -> None:
        self._tell_agent(data)

    def _tell_agent(self, data: bytes) -> None:
        """What comes before the agent has joined is not kept for it."""
        if self._session.agent is not None:
            self._session.agent.deliver(data)

    def pause_agent(self) -> None:
        """Nobody listens: the agent is to stop reading its process (PROTOCOL 3.5)."""
        self._tell_agent(_control(MessageType.PAUSE_PUBLICATION))

    async def say_farewell(self, data: bytes) -> None:
        """Send ``channel_closed``; it waits for a client whose token has not been used yet."""
        if self.client is None:
            self.farewell = data if self._session.token is not None else None
            return
        self.farewell = None
        await self.to_client(data)
        self._hang_up_later(_LINGER)

    def _hang_up_later(self, seconds: float) -> None:
        """Close the websocket if the client has not done so by then."""
        client, request = self.client, self._request

        def abort() -> None:
            transport = request.transport if request is not None else None
            if client is not None and not client.closed and transport is not None:
                transport.abort()

        self._hang_up = asyncio.get_running_loop().call_later(seconds, abort)

    async def close(self) -> None:
        """The server ends."""
        self._outward.stop()
        self._inward.stop()
        if self._hang_up is not None:
            self._hang_up.cancel()
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()
