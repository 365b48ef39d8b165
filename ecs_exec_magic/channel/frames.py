"""The binary frame of the data channel (PROTOCOL 2).

Knows how one message looks as bytes. Never knows order, time or meaning of a payload.

Both ends send the same layout, all integers big-endian::

    offset size field
         0    4 HeaderLength, 116: the offset of PayloadLength, not of the payload
         4   32 MessageType, ASCII padded with spaces
        36    4 SchemaVersion, 1
        40    8 CreatedDate, milliseconds since the epoch, never 0
        48    8 SequenceNumber, signed
        56    8 Flags, bit 0 SYN, bit 1 FIN
        64   16 MessageId, a UUID with its two halves swapped
        80   32 PayloadDigest, SHA-256 of the payload as transmitted
       112    4 PayloadType
       116    4 PayloadLength
       120    n Payload, to the end of the websocket message
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

__all__ = [
    "HEADER_LENGTH",
    "MAX_PAYLOAD",
    "Frame",
    "FrameError",
    "MessageType",
    "PayloadType",
    "acknowledgement",
    "decode",
    "encode",
]

HEADER_LENGTH = 116
"""Offset of PayloadLength, as the first field of every frame says."""

MAX_PAYLOAD = 1024
"""Bytes of plaintext that both official ends put into one message (PROTOCOL 10)."""

_HEADER = struct.Struct(">I32sIQqQ8s8s32sII")
assert _HEADER.size == HEADER_LENGTH + 4

_ACK_HEADER = struct.Struct(">40sQqQ8s8s32sII")
_ACK_START = struct.pack(">I32sI", HEADER_LENGTH, b"acknowledge".ljust(32), 1)


class MessageType:
    """The message types of the data channel, as they stand on the wire (PROTOCOL 2.1)."""

    INPUT = "input_stream_data"
    OUTPUT = "output_stream_data"
    ACKNOWLEDGE = "acknowledge"
    CHANNEL_CLOSED = "channel_closed"
    START_PUBLICATION = "start_publication"
    PAUSE_PUBLICATION = "pause_publication"
    AGENT_SESSION_STATE = "agent_session_state"


class PayloadType(enum.IntEnum):
    """What the payload of a stream message is (PROTOCOL 2.2)."""

    NONE = 0
    OUTPUT = 1
    ERROR = 2
    SIZE = 3
    PARAMETER = 4
    HANDSHAKE_REQUEST = 5
    HANDSHAKE_RESPONSE = 6
    HANDSHAKE_COMPLETE = 7
    ENC_CHALLENGE_REQUEST = 8
    ENC_CHALLENGE_RESPONSE = 9
    FLAG = 10
    STDERR = 11
    EXIT_CODE = 12


class FrameError(ValueError):
    """A message that both official ends would drop (PROTOCOL 2.4)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the data channel.

    Attributes:
        message_type: one of :class:`MessageType`, or a type unknown to us.
        sequence: the number in its direction; 0 in acknowledgements and control messages.
        flags: bit 0 SYN, bit 1 FIN; nobody checks them (PROTOCOL 2.3).
        message_id: names this message in its acknowledgement.
        created: milliseconds since the epoch.
        payload_type: a :class:`PayloadType`, or a number unknown to us.
        payload: the bytes as transmitted, encrypted where the channel is.
        digest_ok: whether the transmitted digest was that of the payload.
    """

    message_type: str
    sequence: int
    flags: int
    message_id: UUID
    created: int
    payload_type: int
    payload: bytes
    digest_ok: bool = True


def encode(frame: Frame) -> bytes:
    """Return the frame as the bytes of one websocket message."""
    raw_id = frame.message_id.bytes
    payload = frame.payload
    return (
        _HEADER.pack(
            HEADER_LENGTH,
            frame.message_type.encode("ascii").ljust(32),
            1,
            frame.created,
            frame.sequence,
            frame.flags,
            raw_id[8:],
            raw_id[:8],
            sha256(payload).digest(),
            frame.payload_type,
            len(payload),
        )
        + payload
    )


def decode(data: bytes) -> Frame:
    """Read one websocket message.

    A wrong digest is reported, not raised: whether it matters depends on the message type, since
    the gateway is known to rewrite some (PROTOCOL 2.4).

    Raises:
        FrameError: the message is too short, or has a field that both official ends refuse.
    """
    if len(data) < HEADER_LENGTH + 4:
        raise FrameError(f"a message of {len(data)} bytes is shorter than a header")
    (
        header_length,
        raw_type,
        _schema,
        created,
        sequence,
        flags,
        id_low,
        id_high,
        digest,
        payload_type,
        _payload_length,
    ) = _HEADER.unpack_from(data)
    if header_length + 4 > len(data) or header_length < HEADER_LENGTH:
        raise FrameError(f"header length {header_length} does not fit in {len(data)} bytes")
    try:
        message_type = raw_type.decode("ascii").strip("\0 \t\r\n")
    except UnicodeDecodeError:
        raise FrameError("the message type is not ASCII") from None
    if not message_type:
        raise FrameError("the message type is empty")
    if not created:
        raise FrameError("the creation date is zero")
    payload = bytes(data[header_length + 4 :])
    return Frame(
        message_type,
        sequence,
        flags,
        UUID(bytes=id_high + id_low),
        created,
        payload_type,
        payload,
        sha256(payload).digest() == digest,
    )


def acknowledgement(
    message_type: str, wire_id: bytes, sequence: int, ack_id: bytes, created: int
) -> bytes:
    """Return the acknowledgement of one stream message as a whole frame (PROTOCOL 3.2).

    One is sent for every message received, so it is put together from a template.

    Args:
        message_type: the type of the acknowledged message.
        wire_id: the acknowledged message's id as it stood on the wire, halves swapped.
        sequence: the acknowledged message's number.
        ack_id: 16 bytes, the id of the acknowledgement itself, not swapped.
        created: milliseconds since the epoch.
    """
    name = wire_id.hex()
    payload = (
        f'{{"AcknowledgedMessageType":"{message_type}","AcknowledgedMessageId":"'
        f"{name[16:24]}-{name[24:28]}-{name[28:]}-{name[:4]}-{name[4:16]}"
        f'","AcknowledgedMessageSequenceNumber":{sequence},"IsSequentialMessage":true}}'
    ).encode()
    return (
        _ACK_HEADER.pack(
            _ACK_START,
            created,
            0,
            3,
            ack_id[8:],
            ack_id[:8],
            sha256(payload).digest(),
            0,
            len(payload),
        )
        + payload
    )
