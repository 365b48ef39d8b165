"""Reads the recordings of the official agent and plugin (described at the end of PROTOCOL 0.1)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecs_exec_magic.channel.frames import Frame, decode

WIRE = Path(__file__).parent.parent / "data" / "wire"
NAMES = sorted(path.stem for path in WIRE.glob("*.jsonl"))


@dataclass(frozen=True)
class Line:
    """One websocket message of a recording."""

    time: float
    direction: str
    text: str
    data: bytes

    @property
    def frame(self) -> Frame:
        return decode(self.data)


@dataclass(frozen=True)
class Recording:
    """One recorded session."""

    header: dict[str, Any]
    lines: tuple[Line, ...]

    @property
    def screen(self) -> bytes:
        return bytes.fromhex(self.header["screen_hex"])

    def to_client(self) -> list[Line]:
        return [line for line in self.lines if line.direction.endswith(">client")]

    def frames(self, direction: str) -> list[Line]:
        return [line for line in self.lines if line.direction == direction and line.data]

    @property
    def hello(self) -> dict[str, Any]:
        for line in self.lines:
            if line.direction == "client>gateway" and line.text:
                found: dict[str, Any] = json.loads(line.text)
                return found
        raise AssertionError("a recording without a client")

    @property
    def session_id(self) -> str:
        for line in self.frames("agent>client"):
            if line.frame.message_type == "agent_session_state":
                return str(json.loads(line.frame.payload)["SessionId"])
        raise AssertionError("a recording without a session id")

    def data_key(self) -> tuple[bytes, bytes, dict[str, str]]:
        """The data key's plaintext and ciphertext, and its encryption context."""
        for line in self.frames("client>agent"):
            if line.frame.payload_type == 6:
                for answer in json.loads(line.frame.payload)["ProcessedClientActions"]:
                    if answer["ActionType"] == "KMSEncryption":
                        blob = base64.b64decode(answer["ActionResult"]["KMSCipherTextKey"])
                        key, context = json.loads(base64.b64decode(blob))
                        return base64.b64decode(key), blob, context
        raise AssertionError("a recording without a data key")


def read(name: str) -> Recording:
    """Return one recording."""
    header, *lines = [
        json.loads(line) for line in (WIRE / f"{name}.jsonl").read_text().splitlines() if line
    ]
    return Recording(
        header,
        tuple(
            Line(line["t"], line["dir"], line.get("text", ""), bytes.fromhex(line.get("hex", "")))
            for line in lines
        ),
    )
