"""A small client of the data channel, for tests of the practice cluster only.

It knows frames and acknowledgements and hides nothing: tests see every message.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from ecs_exec_magic.channel.encryption import SessionCipher
from ecs_exec_magic.channel.frames import (
    Frame,
    FrameError,
    MessageType,
    PayloadType,
    decode,
    encode,
)

CLIENT_VERSION = "1.2.694.0"
PATIENCE = 60.0  # seconds


@dataclass
class Seen:
    """What came over one channel."""

    frames: list[Frame] = field(default_factory=list)
    closed: dict[str, Any] | None = None
    close_code: int | None = None

    def stream(self) -> list[Frame]:
        """Agent's stream messages in their order, each once."""
        unique = {f.sequence: f for f in self.frames if f.message_type == MessageType.OUTPUT}
        return [unique[n] for n in sorted(unique)]

    def types(self) -> list[int]:
        return [f.payload_type for f in self.stream()]

    def payload(self, payload_type: int = PayloadType.OUTPUT) -> bytes:
        return b"".join(f.payload for f in self.stream() if f.payload_type == payload_type)

    def acked(self) -> list[int]:
        return [
            json.loads(f.payload)["AcknowledgedMessageSequenceNumber"]
            for f in self.frames
            if f.message_type == MessageType.ACKNOWLEDGE
        ]

    @property
    def output(self) -> str:
        assert self.closed is not None
        return str(self.closed["Output"])


class RawClient:
    """One attachment of a client to a session."""

    def __init__(self, url: str, token: str, *, ack: bool = True, sequence: int = 0) -> None:
        self.url = url
        self.token = token
        self.ack = ack
        self.sequence = sequence
        self.seen = Seen()
        self.news = asyncio.Event()
        self.cipher: SessionCipher | None = None
        self.kms: Any = None
        self.context: dict[str, str] = {}
        self.client_version = CLIENT_VERSION
        self.answer_handshake = True
        self._known: set[int] = set()

    async def __aenter__(self) -> RawClient:
        self.http = aiohttp.ClientSession()
        self.socket = await self.http.ws_connect(self.url, max_msg_size=0)
        await self.socket.send_str(
            json.dumps(
                {
                    "MessageSchemaVersion": "1.0",
                    "RequestId": str(uuid.uuid4()),
                    "TokenValue": self.token,
                    "ClientId": str(uuid.uuid4()),
                    "ClientVersion": CLIENT_VERSION,
                }
            )
        )
        self.reader = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reader.cancel()
        await asyncio.gather(self.reader, return_exceptions=True)
        await self.socket.close()
        await self.http.close()

    async def _read(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            async for message in self.socket:
                data = message.data
                try:
                    frame = decode(data if isinstance(data, bytes) else data.encode())
                except FrameError:
                    continue
                with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                    await self._take(frame)  # whose answer may come too late
                self.seen.frames.append(frame)
                self.news.set()
        self.seen.close_code = self.socket.close_code or 1006
        self.news.set()

    async def _take(self, frame: Frame) -> None:
        if frame.message_type == MessageType.CHANNEL_CLOSED:
            self.seen.closed = json.loads(frame.payload)
        if frame.message_type != MessageType.OUTPUT or not frame.digest_ok:
            return
        known = frame.sequence in self._known
        self._known.add(frame.sequence)
        if self.ack:
            await self.acknowledge(frame)
        if known or not self.answer_handshake:
            return
        if frame.payload_type == PayloadType.HANDSHAKE_REQUEST:
            await self.send(PayloadType.HANDSHAKE_RESPONSE, self._response(frame))
        elif frame.payload_type == PayloadType.ENC_CHALLENGE_REQUEST:
            assert self.cipher is not None
            secret = self.cipher.decrypt(base64.b64decode(json.loads(frame.payload)["Challenge"]))
            sealed = base64.b64encode(self.cipher.encrypt(secret)).decode()
            await self.send(
                PayloadType.ENC_CHALLENGE_RESPONSE, json.dumps({"Challenge": sealed}).encode()
            )

    def _response(self, frame: Frame) -> bytes:
        actions = []
        for action in json.loads(frame.payload)["RequestedClientActions"]:
            result: Any = None
            if action["ActionType"] == "KMSEncryption":
                result = self._data_key(action["ActionParameters"])
            actions.append(
                {
                    "ActionType": action["ActionType"],
                    "ActionStatus": 1,
                    "ActionResult": result,
                    "Error": "",
                }
            )
        return json.dumps(
            {
                "ClientVersion": self.client_version,
                "ProcessedClientActions": actions,
                "Errors": None,
            }
        ).encode()

    def _data_key(self, parameters: dict[str, str]) -> dict[str, Any]:
        context = {**self.context, "aws:ssm:RandomChallenge": parameters["Challenge"]}
        made = self.kms.generate_data_key(
            KeyId=parameters["KMSKeyId"], NumberOfBytes=64, EncryptionContext=context
        )
        self.cipher = SessionCipher(made["Plaintext"])
        return {
            "KMSCipherTextKey": base64.b64encode(made["CiphertextBlob"]).decode(),
            "KMSCipherTextHash": None,
            "ChallengeAcknowledgement": True,
        }

    async def acknowledge(self, frame: Frame) -> None:
        payload = json.dumps(
            {
                "AcknowledgedMessageType": frame.message_type,
                "AcknowledgedMessageId": str(frame.message_id),
                "AcknowledgedMessageSequenceNumber": frame.sequence,
                "IsSequentialMessage": True,
            }
        ).encode()
        await self._send_frame(MessageType.ACKNOWLEDGE, 0, 0, payload)

    async def send(self, payload_type: int, payload: bytes, sequence: int | None = None) -> int:
        """Send one stream message and return its number; encrypted by the caller if need be."""
        if sequence is None:
            sequence = self.sequence
            self.sequence += 1
        await self._send_frame(MessageType.INPUT, sequence, payload_type, payload)
        return sequence

    async def _send_frame(self, kind: str, sequence: int, payload_type: int, data: bytes) -> None:
        now = int(time.time() * 1000)
        flags = 3 if kind == MessageType.ACKNOWLEDGE else 0
        frame = Frame(kind, sequence, flags, uuid.uuid4(), now, payload_type, data)
        await self.socket.send_bytes(encode(frame))

    async def until(self, condition: Any, timeout: float = PATIENCE) -> None:
        """Wait until ``condition(seen)`` holds."""

        async def wait() -> None:
            while not condition(self.seen):
                self.news.clear()
                await self.news.wait()

        await asyncio.wait_for(wait(), timeout)

    async def finish(self, timeout: float = PATIENCE) -> Seen:
        """Wait for ``channel_closed``."""
        await self.until(lambda s: s.closed is not None, timeout)
        return self.seen
