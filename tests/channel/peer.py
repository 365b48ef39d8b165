"""The far end for tests: an agent's side of the data channel, and a gateway on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiohttp import WSMsgType, web

from ecs_exec_magic.channel import handshake
from ecs_exec_magic.channel.encryption import SessionCipher
from ecs_exec_magic.channel.frames import (
    Frame,
    MessageType,
    PayloadType,
    acknowledgement,
    decode,
    encode,
)
from ecs_exec_magic.channel.identifiers import MessageIds
from ecs_exec_magic.channel.ordering import Incoming, Outgoing

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

CREATED = 1_700_000_000_000
SESSION = "ecs-execute-command-0123456789abcdef0"
TARGET = "ecs:demo_0123456789abcdef0123456789abcdef_0123456789abcdef0123456789abcdef-1111111111"


class AgentSide:
    """What the agent does with frames, as PROTOCOL 3.4 and 4 describe it; no I/O."""

    def __init__(self) -> None:
        self.ids = MessageIds(bytes(range(16)))
        self.outgoing = Outgoing()
        self.incoming: Incoming[Frame] = Incoming()
        self.to_send: list[bytes] = []
        self.typed = b""
        self.sizes: list[dict[str, int]] = []
        self.flags: list[int] = []
        self.acked: list[int] = []
        self.response: dict[str, Any] | None = None
        self.cipher: SessionCipher | None = None
        self.data_key = b""
        self.challenge = b""
        self.accepting = True
        self.acking = True

    def frame(
        self,
        message_type: str,
        payload: bytes,
        kind: int = 0,
        sequence: int = 0,
        flags: int = 3,
    ) -> bytes:
        return encode(
            Frame(message_type, sequence, flags, UUID(bytes=self.ids()), CREATED, kind, payload)
        )

    def say(self, payload: bytes, kind: int = PayloadType.OUTPUT, now: float = 0.0) -> bytes:
        if self.cipher is not None and kind in (1, 11, 12):
            payload = self.cipher.encrypt(payload)
        sequence = self.outgoing.next_sequence
        message = self.frame(MessageType.OUTPUT, payload, kind, sequence, 1 if sequence == 0 else 0)
        self.outgoing.add(message, len(payload), now)
        self.to_send.append(message)
        return message

    def shake(self, *, kms: bool, session_type: str = "InteractiveCommands") -> None:
        actions = [
            handshake.Action("SessionType", {"SessionType": session_type, "Properties": None})
        ]
        if kms:
            actions.append(
                handshake.Action(
                    "KMSEncryption", {"KMSKeyId": "alias/exec", "Challenge": "Y2hhbGxlbmdl"}
                )
            )
        self.say(handshake.build_request("3.3.1611.0", actions), PayloadType.HANDSHAKE_REQUEST)

    def close(self, output: str = "") -> bytes:
        message = self.frame(
            MessageType.CHANNEL_CLOSED,
            json.dumps(
                {
                    "MessageType": "channel_closed",
                    "MessageId": "d1157a03-f6cf-4011-aa19-d1c1dd3981b8",
                    "CreatedDate": "1700000000000",
                    "SessionId": SESSION,
                    "SchemaVersion": 1,
                    "Output": output,
                }
            ).encode(),
            flags=0,
        )
        self.to_send.append(message)
        return message

    def receive(self, message: bytes | str, now: float = 0.0) -> None:
        assert isinstance(message, bytes)
        frame = decode(message)
        assert frame.digest_ok
        if frame.message_type == MessageType.ACKNOWLEDGE:
            number = json.loads(frame.payload)["AcknowledgedMessageSequenceNumber"]
            self.acked.append(number)
            self.outgoing.acknowledge(number, now)
            return
        assert frame.message_type == MessageType.INPUT
        if not self.accepting:
            return
        if not self.incoming.accept(frame.sequence, frame, len(frame.payload)):
            return
        raw = frame.message_id.bytes
        if self.acking:
            self.to_send.append(
                acknowledgement(
                    frame.message_type, raw[8:] + raw[:8], frame.sequence, self.ids(), CREATED
                )
            )
        while (next_frame := self.incoming.pop()) is not None:
            self._take(next_frame)

    def _take(self, frame: Frame) -> None:
        payload = frame.payload
        if frame.payload_type == PayloadType.OUTPUT:
            assert len(payload) <= 1024 + 28
            self.typed += self.cipher.decrypt(payload) if self.cipher else payload
        elif frame.payload_type == PayloadType.SIZE:
            self.sizes.append(json.loads(payload))
        elif frame.payload_type == PayloadType.FLAG:
            self.flags.append(int.from_bytes(payload, "big"))
        elif frame.payload_type == PayloadType.HANDSHAKE_RESPONSE:
            self.response = handshake.parse_response(payload)
            answers = self.response["ProcessedClientActions"]
            if any(answer["ActionStatus"] != 1 for answer in answers):
                bad = next(answer for answer in answers if answer["ActionStatus"] != 1)
                self.close(
                    "\n----------ERROR-------\nEncountered error while initiating handshake. "
                    f"{bad['ActionType']} failed on client with status "
                    f"{bad['ActionStatus']} error: {bad['Error']}"
                )
            elif answers[-1]["ActionType"] == "KMSEncryption":
                self.cipher = SessionCipher(self.data_key, agent=True)
                self.challenge = os.urandom(64)
                self.say(
                    handshake.build_challenge(self.cipher.encrypt(self.challenge)),
                    PayloadType.ENC_CHALLENGE_REQUEST,
                )
            else:
                self._complete("")
        elif frame.payload_type == PayloadType.ENC_CHALLENGE_RESPONSE:
            assert self.cipher is not None
            assert self.cipher.decrypt(handshake.parse_challenge(payload)) == self.challenge
            self._complete("This session is encrypted using AWS KMS.")

    def _complete(self, text: str) -> None:
        self.say(
            handshake.build_complete(handshake.Complete(21818654, text)),
            PayloadType.HANDSHAKE_COMPLETE,
        )

    def data_to_send(self) -> list[bytes]:
        messages, self.to_send = self.to_send, []
        return messages


@dataclass
class Services:
    """SessionServices that tests set and watch."""

    url: str = ""
    token: str = "token-of-a-resumed-session"
    headers: dict[str, str] = field(default_factory=dict)
    data_key: bytes = b""
    resumed: int = 0
    terminated: int = 0
    contexts: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    resume_error: Exception | None = None
    terminate_error: Exception | None = None
    key_error: Exception | None = None

    async def resume(self) -> tuple[str, str]:
        self.resumed += 1
        if self.resume_error is not None:
            raise self.resume_error
        return self.url, self.token

    async def terminate(self) -> None:
        self.terminated += 1
        if self.terminate_error is not None:
            raise self.terminate_error

    async def generate_data_key(self, key_id: str, context: dict[str, str]) -> tuple[bytes, bytes]:
        self.contexts.append((key_id, context))
        if self.key_error is not None:
            raise self.key_error
        return self.data_key, b"ciphertext blob"

    async def sign(self, url: str) -> dict[str, str]:
        return dict(self.headers)


class Gateway:
    """A websocket server on loopback with one agent behind it."""

    def __init__(self) -> None:
        self.agent = AgentSide()
        self.hellos: list[dict[str, Any]] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.refuse: Callable[[web.Request], int] = lambda request: 0
        self.on_connect: Callable[[Gateway, web.WebSocketResponse], Awaitable[None]] | None = None
        self.autoping = True
        self.pings = 0
        self.relay = True
        self.connections = 0
        self.first = b""  # sent together with the answer to the upgrade
        self.ws: web.WebSocketResponse | None = None
        self.port = 0
        self.scheme = "ws"
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Event()

    async def start(self, tls: ssl.SSLContext | None = None) -> Gateway:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.scheme = "wss" if tls else "ws"
        return self

    @property
    def url(self) -> str:
        return (
            f"{self.scheme}://localhost:{self.port}/v1/data-channel/{SESSION}"
            "?role=publish_subscribe"
        )

    async def stop(self) -> None:
        if self.ws is not None:
            with contextlib.suppress(ConnectionError):
                await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.headers))
        self.paths.append(request.path_qs)
        status = self.refuse(request)
        if status:
            return web.Response(status=status, text="refused")
        ws = web.WebSocketResponse(autoping=self.autoping, autoclose=True, compress=False)
        await ws.prepare(request)
        self.ws = ws
        self.connections += 1
        if self.first:
            await ws.send_bytes(self.first)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                self.hellos.append(json.loads(message.data))
                for again in self.agent.outgoing.resend_all(0.0):
                    await ws.send_bytes(again)
                if self.on_connect is not None:
                    await self.on_connect(self, ws)
                await self.flush()
            elif message.type is WSMsgType.BINARY:
                if self.relay:
                    self.agent.receive(message.data)
                    await self.flush()
            elif message.type is WSMsgType.PING:
                self.pings += 1
            self._changed.set()
        return ws

    async def flush(self) -> None:
        """Send what the agent wants to say."""
        for message in self.agent.data_to_send():
            assert self.ws is not None
            with contextlib.suppress(ConnectionError):
                await self.ws.send_bytes(message)

    async def cut(self) -> None:
        """Drop the connection as a broken network does."""
        assert self.ws is not None
        transport = self.ws._req.transport if self.ws._req is not None else None
        if transport is not None:
            transport.abort()
        await asyncio.sleep(0)

    async def interrupt(self) -> None:
        """Drop the connection, and wait until the client is back on another."""
        before = len(self.hellos)
        await self.cut()
        await self.until(lambda: len(self.hellos) > before)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds; checked after each message and twenty times a second."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "it did not come to that"
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05)
