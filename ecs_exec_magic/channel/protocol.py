"""The client's end of a data channel, without any I/O (PROTOCOL 2 to 4).

Knows what to answer to every message and when to repeat. Never knows sockets, clocks, KMS or what
is being run: bytes and times go in, websocket messages and events come out.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from .events import Closed, ExitCode, Flag, Lost, Output, StdErr
from .frames import (
    HEADER_LENGTH,
    MAX_PAYLOAD,
    Frame,
    FrameError,
    MessageType,
    PayloadType,
    acknowledgement,
    decode,
    encode,
)
from .handshake import CLIENT_VERSION, HandshakeError
from .identifiers import MessageIds, uuid_text
from .negotiation import Negotiation, SecurityError
from .ordering import Incoming, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .events import DataKeyNeeded, Event

__all__ = ["DataChannel"]

logger = logging.getLogger(__name__)

_EXIT_CODE = re.compile(rb"EXIT_CODE:\s*(-?\d{1,18})\b")

_SILENCE = 3.0
"""Seconds without any frame after which a Size is sent to find out whether the far end is ready."""
_SETTLE = 1.0
"""Seconds without a handshake after that Size was acknowledged, before input may follow."""

# What the hot path of receive_many() reads of a frame of output.
_OUTPUT_START = struct.pack(">I32s", HEADER_LENGTH, MessageType.OUTPUT.encode().ljust(32))
_START = len(_OUTPUT_START)
_PAYLOAD = HEADER_LENGTH + 4
_FIELDS = struct.Struct(">QqQ16s32sI")
_FIELDS_AT = 40


class _Run(Protocol):
    """Output or StdErr: what neighbouring payloads are joined to."""

    def __call__(self, data: bytes) -> Output | StdErr: ...


class DataChannel:
    """One session's state: it outlives the websockets that carry it.

    Every ``now`` is in seconds on one clock that does not jump; ``now + epoch`` is the time since
    the epoch, which frames carry.

    Args:
        session_id: as AWS gave it.
        target: ``ecs:<cluster>_<task>_<runtimeId>``; only needed where a KMS key is configured.
        epoch: what to add to ``now`` to have the seconds since 1970.
        client_id: UUID text that names this client, the same over reconnects (PROTOCOL 1.4).
        client_version: reported to the service and the agent.
        new_id: gives the 16 bytes of the next message id.
        new_nonce: gives the 12 bytes of the next nonce.

    Attributes:
        ready: whether input is sent; until then it is held back (PROTOCOL 3.4).
        closed: whether the session has ended in order, by channel_closed.
        ended: whether nothing more will come, in order or not.
        queued: bytes of output that wait in :meth:`events_received`.
        progress: counts what has moved the session on in either direction.
        dropped: counts messages that were dropped as broken.
    """

    def __init__(
        self,
        session_id: str,
        *,
        target: str = "",
        epoch: float = 0.0,
        client_id: str | None = None,
        client_version: str = CLIENT_VERSION,
        new_id: Callable[[], bytes] | None = None,
        new_nonce: Callable[[], bytes] | None = None,
    ) -> None:
        self.session_id = session_id
        self.ready = False
        self.closed = False
        self.ended = False
        self.queued = 0
        self.progress = 0
        self.dropped = 0
        self._epoch = epoch
        self._version = client_version
        self._new_id = new_id or MessageIds()
        self._client_id = client_id or uuid_text(self._new_id())
        self._incoming: Incoming[Frame] = Incoming()
        self._outgoing = Outgoing()
        self._to_send: list[bytes | str] = []
        self._events: list[Event] = []
        self._run: list[bytes] = []
        self._run_kind: _Run = Output
        self._held: list[tuple[PayloadType, bytes]] = []
        self._held_size = 0
        self._size: tuple[int, int] | None = None
        self._negotiation = Negotiation(session_id, target, client_version, new_nonce)
        self._opened_at: float | None = None
        self._probe: int | None = None
        self._probe_acked_at: float | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "ended" if self.ended else "open"
        return f"<DataChannel {self.session_id} {state}>"

    # ------------------------------------------------------------------ connection

    def connect(self, token: str, now: float) -> None:
        """A websocket has been opened, the first one or another: say who we are (PROTOCOL 1.4).

        All that is not yet acknowledged is sent again, in order (PROTOCOL 1.6).
        """
        acks = [m for m in self._to_send if isinstance(m, bytes) and _is_acknowledgement(m)]
        hello = {
            "MessageSchemaVersion": "1.0",
            "RequestId": uuid_text(self._new_id()),
            "TokenValue": token,
            "ClientId": self._client_id,
            "ClientVersion": self._version,
        }
        self._to_send = [json.dumps(hello, separators=(",", ":")), *acks]
        self._to_send += self._outgoing.resend_all(now)
        self._opened_at = now

    def data_to_send(self) -> list[bytes | str]:
        """Return the websocket messages to send: text as str, binary as bytes. Empties the list."""
        messages, self._to_send = self._to_send, []
        return messages

    def events_received(self) -> list[Event]:
        """Return what has happened, neighbouring output joined. Empties the list."""
        self._end_run()
        events, self._events = self._events, []
        self.queued = 0
        return events

    @property
    def has_events(self) -> bool:
        """Whether :meth:`events_received` would return anything."""
        return bool(self._run or self._events)

    def fail(self, reason: str) -> None:
        """End the session as lost; a second end is ignored."""
        if not self.ended:
            self._end(Lost(reason))

    # ------------------------------------------------------------------ sending

    @property
    def outstanding(self) -> int:
        """Bytes of input that were given to us and are not yet acknowledged."""
        return self._outgoing.size + self._held_size

    @property
    def exhausted(self) -> bool:
        """Whether input was repeated so often that the session should be given up."""
        return self._outgoing.exhausted

    @property
    def expected(self) -> int:
        """The number of the next message from the agent."""
        return self._incoming.expected

    def send_input(self, data: bytes, now: float) -> None:
        """Send keyboard input or a port's bytes, in messages of at most 1024 bytes."""
        for start in range(0, len(data), MAX_PAYLOAD):
            self._send(PayloadType.OUTPUT, data[start : start + MAX_PAYLOAD], now)

    def send_size(self, cols: int, rows: int, now: float) -> None:
        """Tell the agent the size of the terminal; before it is ready only the last one counts."""
        size = (min(max(int(cols), 0), 0xFFFF), min(max(int(rows), 0), 0xFFFF))
        if self.ready:
            self._send(PayloadType.SIZE, _size(*size), now)
        else:
            self._size = size

    def send_flag(self, value: int, now: float) -> None:
        """Send a flag of a port session (PROTOCOL 2.2)."""
        self._send(PayloadType.FLAG, struct.pack(">I", value), now)

    def _send(self, kind: PayloadType, payload: bytes, now: float) -> None:
        if self.ended or not payload:
            return
        if self.ready:
            self._transmit(kind, payload, now)
        else:
            self._held.append((kind, payload))
            self._held_size += len(payload)

    def _transmit(self, kind: PayloadType, payload: bytes, now: float) -> None:
        size = len(payload)
        if kind is PayloadType.OUTPUT:
            payload = self._negotiation.encrypt(payload)
        message = encode(
            Frame(
                MessageType.INPUT,
                self._outgoing.next_sequence,
                0,
                UUID(bytes=self._new_id()),
                self._milliseconds(now),
                kind,
                payload,
            )
        )
        self._outgoing.add(message, size, now)
        self._to_send.append(message)

    def _become_ready(self, now: float) -> None:
        self.ready = True
        if self._size is not None:
            self._transmit(PayloadType.SIZE, _size(*self._size), now)
            self._size = None
        held, self._held, self._held_size = self._held, [], 0
        for kind, payload in held:
            self._transmit(kind, payload, now)

    # ------------------------------------------------------------------ time

    def next_timeout(self) -> float | None:
        """When :meth:`tick` wants to be called next, or None while there is nothing to wait for."""
        times = [time for time in (self._outgoing.next_timeout(), self._ready_at()) if time]
        return min(times) if times and not self.ended else None

    def tick(self, now: float) -> None:
        """Let time pass: repeat what was not acknowledged in time (PROTOCOL 3.3)."""
        if self.ended:
            return
        message = self._outgoing.tick(now)
        if message is not None:
            self._to_send.append(message)
        at = self._ready_at()
        if at is not None and now >= at:
            if self._probe is None:
                self._probe = self._outgoing.next_sequence
                self._transmit(PayloadType.SIZE, _size(*(self._size or (80, 24))), now)
            else:
                self._become_ready(now)

    def _ready_at(self) -> float | None:
        """When to do something about a far end that says nothing (PROTOCOL 9.1).

        A silent command sends no output that would show that it is ready. A Size is acknowledged
        as soon as its terminal is open. If by then no handshake has begun, none will come; until
        then no input is sent, as it would be thrown away, or go out in the clear.
        """
        wanted = self._held or self._size
        if self.ready or not wanted or self._negotiation.started or self._opened_at is None:
            return None
        if self._probe is None:
            return self._opened_at + _SILENCE
        return None if self._probe_acked_at is None else self._probe_acked_at + _SETTLE

    def _milliseconds(self, now: float) -> int:
        return max(1, int((now + self._epoch) * 1000 + 0.5))

    # ------------------------------------------------------------------ receiving

    def receive(self, message: bytes | str, now: float) -> None:
        """Take one websocket message. Never raises, whatever it is."""
        self.receive_many((message,), now)

    def receive_many(self, messages: Iterable[bytes | str], now: float) -> None:
        """Take all websocket messages of one read. Never raises, whatever they are.

        Output that comes in order, the mass of all traffic, is handled here without making an
        object for each frame; everything else goes through :meth:`_receive`.
        """
        created = self._milliseconds(now)
        new_id, fields, output = self._new_id, _FIELDS.unpack_from, MessageType.OUTPUT
        incoming = self._incoming
        quick = self._is_plain_output()
        for message in messages:
            if quick and message[:_START] == _OUTPUT_START and len(message) > _PAYLOAD:
                date, sequence, _, wire_id, digest, kind = fields(message, _FIELDS_AT)  # type: ignore[arg-type]  # bytes: it begins with some
                if kind == 1 and sequence == incoming.expected and date:
                    payload: bytes = message[_PAYLOAD:]  # type: ignore[assignment]  # as above
                    if sha256(payload).digest() == digest:
                        incoming.expected = sequence + 1
                        self._to_send.append(
                            acknowledgement(output, wire_id, sequence, new_id(), created)
                        )
                        self._run.append(payload)
                        self.queued += len(payload)
                        self.progress += 1
                        continue
            self._receive(message, now)
            quick = self._is_plain_output()

    def _is_plain_output(self) -> bool:
        """Whether nothing is to be done with output in order but to acknowledge and keep it."""
        return (
            self.ready
            and not self.ended
            and self._negotiation.plain
            and not len(self._incoming)
            and self._run_kind is Output
        )

    def _receive(self, message: bytes | str, now: float) -> None:
        if self.ended:
            return
        if isinstance(message, str):
            message = message.encode("utf-8", "surrogatepass")
        try:
            frame = decode(message)
        except FrameError as error:
            self._drop(str(error))
            return
        kind = frame.message_type
        if kind == MessageType.OUTPUT:
            self._receive_output(frame, now)
        elif kind == MessageType.ACKNOWLEDGE:
            self._receive_acknowledgement(frame.payload, now)
        elif kind == MessageType.CHANNEL_CLOSED:
            self._receive_closed(frame.payload)
        elif kind not in (
            MessageType.START_PUBLICATION,
            MessageType.PAUSE_PUBLICATION,
            MessageType.AGENT_SESSION_STATE,
        ):
            self._drop("a message of unknown type")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        logger.debug("%s: dropped: %s", self.session_id, why)

    def _receive_output(self, frame: Frame, now: float) -> None:
        if not frame.digest_ok and frame.payload:
            self._drop("its digest is not that of its payload")
            return
        if not self._incoming.accept(frame.sequence, frame, len(frame.payload)):
            self._drop("too far ahead of what is expected")
            return
        raw = frame.message_id.bytes
        self._to_send.append(
            acknowledgement(
                frame.message_type,
                raw[8:] + raw[:8],
                frame.sequence,
                self._new_id(),
                self._milliseconds(now),
            )
        )
        while not self.ended and (next_frame := self._incoming.pop()) is not None:
            self.progress += 1
            self._handle(next_frame, now)

    def _receive_acknowledgement(self, payload: bytes, now: float) -> None:
        try:
            value = json.loads(payload)
            sequence = value["AcknowledgedMessageSequenceNumber"]
        except (ValueError, RecursionError, KeyError, TypeError):
            self._drop("an acknowledgement that cannot be read")
            return
        if type(sequence) is not int or not self._outgoing.acknowledge(sequence, now):
            return
        self.progress += 1
        if sequence == self._probe:
            self._probe_acked_at = now

    def _receive_closed(self, payload: bytes) -> None:
        try:
            value = json.loads(payload)
            text = value.get("Output")
        except (ValueError, RecursionError, AttributeError):
            text = None
        self.closed = True
        self._end(Closed(text if isinstance(text, str) else ""))

    def _end(self, event: Closed | Lost) -> None:
        self._end_run()
        self._events.append(event)
        self.ended = True
        self._incoming.clear()
        self._held.clear()

    def _end_run(self) -> None:
        if self._run:
            self._events.append(self._run_kind(b"".join(self._run)))
            self._run.clear()

    # ------------------------------------------------------------------ payloads

    def _handle(self, frame: Frame, now: float) -> None:
        kind, payload, negotiation = frame.payload_type, frame.payload, self._negotiation
        try:
            if kind in (PayloadType.OUTPUT, PayloadType.STDERR, PayloadType.EXIT_CODE):
                self._handle_data(kind, payload, now)
            elif kind == PayloadType.FLAG and len(payload) == 4:
                self._report(Flag(int.from_bytes(payload, "big")))
            elif kind == PayloadType.ERROR:
                # No known agent sends it; what one might say belongs before the user's eyes.
                self._append(StdErr, payload)
            elif kind == PayloadType.HANDSHAKE_REQUEST:
                response = negotiation.take_request(payload)
                self._answer(PayloadType.HANDSHAKE_RESPONSE, response, now)
            elif kind == PayloadType.ENC_CHALLENGE_REQUEST:
                answer = negotiation.take_challenge(payload)
                self._answer(PayloadType.ENC_CHALLENGE_RESPONSE, answer, now)
            elif kind == PayloadType.HANDSHAKE_COMPLETE:
                self._report(negotiation.take_complete(payload))
                self._become_ready(now)
        except HandshakeError as error:
            self._drop(str(error))
        except SecurityError as error:
            self.fail(str(error))

    def _handle_data(self, kind: int, payload: bytes, now: float) -> None:
        payload = self._negotiation.decrypt(payload)
        if not self.ready and not self._negotiation.started:
            self._negotiation.skip()
            self._become_ready(now)
        if kind == PayloadType.OUTPUT:
            self._append(Output, payload)
        elif kind == PayloadType.STDERR:
            self._append(StdErr, payload)
        else:
            found = _EXIT_CODE.search(payload)
            if found is None:
                self._drop("an exit code that cannot be read")
            else:
                self._report(ExitCode(int(found[1])))

    def _append(self, kind: _Run, payload: bytes) -> None:
        if self._run_kind is not kind:
            self._end_run()
            self._run_kind = kind
        if payload:
            self._run.append(payload)
            self.queued += len(payload)

    def _report(self, event: Event) -> None:
        self._end_run()
        self._events.append(event)

    # ------------------------------------------------------------------ handshake

    @property
    def data_key_needed(self) -> DataKeyNeeded | None:
        """Set while the agent waits for a data key; answer it with one of the next two."""
        return None if self.ended else self._negotiation.data_key_needed

    def provide_data_key(self, plaintext: bytes, ciphertext: bytes, now: float) -> None:
        """Go on with the handshake: here is what :attr:`data_key_needed` asked for."""
        response = self._negotiation.provide_data_key(plaintext, ciphertext)
        self._answer(PayloadType.HANDSHAKE_RESPONSE, response, now)

    def refuse_data_key(self, text: str, now: float) -> None:
        """No data key could be had: tell the agent why. It will close the session."""
        response = self._negotiation.refuse_data_key(text)
        self._answer(PayloadType.HANDSHAKE_RESPONSE, response, now)

    def _answer(self, kind: PayloadType, payload: bytes | None, now: float) -> None:
        if payload is not None and not self.ended:
            self._transmit(kind, payload, now)


def _size(cols: int, rows: int) -> bytes:
    return b'{"cols":%d,"rows":%d}' % (cols, rows)


def _is_acknowledgement(message: bytes) -> bool:
    return message[4:15] == b"acknowledge"
