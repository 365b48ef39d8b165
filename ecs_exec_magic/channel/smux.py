"""Many byte streams over one: the smux protocol, without any I/O (PROTOCOL 7.3).

Knows frames, streams, windows and limits, for either end. Never knows sockets, clocks, or what the
streams carry.

The framing is that of github.com/xtaci/smux, which the agent and the official plugin are built
with: frame.go (header and commands), session.go (which stream numbers are used, what is a breach)
and stream.go (windows of version 2). Agents speak version 1, which knows no window of a stream: one
that nobody reads holds up all of them once :attr:`Mux.full` says so.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Arrived", "Finished", "Mux", "MuxEvent", "Opened"]

SYN, FIN, PSH, NOP, UPD = range(5)

HEADER = struct.Struct("<BBHI")
_WINDOW = struct.Struct("<II")
_FIRST_WINDOW = 262_144
"""What may be sent on a stream of version 2 before its first window is known."""

MAX_FRAME = 32_768
"""Bytes of data in one frame that we send; 65535 can be received."""

RECEIVE_LIMIT = 4 * 1024 * 1024
"""Bytes of all streams that may wait to be consumed."""

STREAM_LIMIT = 65_536
"""Bytes of one stream that may wait to be sent; in version 2, also to be consumed."""

MAX_STREAMS = 4096


@dataclass(frozen=True, slots=True)
class Opened:
    """The other end has opened a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """Data has come on a stream; tell :meth:`Mux.consumed` when it is dealt with."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The other end has closed a stream: nothing more comes, and nothing more arrives there."""

    stream: int


MuxEvent = Opened | Arrived | Finished


@dataclass(slots=True)
class _Stream:
    """One stream: what waits in it in each direction, in bytes."""

    outgoing: bytearray = field(default_factory=bytearray)
    sent: int = 0
    window: int = _FIRST_WINDOW
    seen_consumed: int = 0
    told_consumed: int = 0
    unconsumed: int = 0
    consumed: int = 0
    finished: bool = False
    closing: bool = False
    waiting: bool = False


class Mux:
    """One end of a multiplexed connection.

    Bytes go in by :meth:`receive` and out by :meth:`data_to_send`. Nothing in it grows without
    limit: :meth:`send` takes only what there is room for, and while :attr:`full` is set no more
    should be received.

    Args:
        client: the end that opens streams; the other end only takes them.
        version: 1, as agents speak it, or 2.
        receive_limit: see :data:`RECEIVE_LIMIT`.
        stream_limit: see :data:`STREAM_LIMIT`.
    """

    def __init__(
        self,
        *,
        client: bool,
        version: int = 1,
        receive_limit: int = RECEIVE_LIMIT,
        stream_limit: int = STREAM_LIMIT,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        if version not in (1, 2):
            raise ValueError(f"there is no smux version {version}")
        self._client = client
        self._version = version
        self._receive_limit = receive_limit
        self._stream_limit = stream_limit
        self._max_streams = max_streams
        self._streams: dict[int, _Stream] = {}
        self._last = 1  # the first stream is number 3, as in the Go library
        self._control: deque[bytes] = deque()
        self._turns: deque[int] = deque()
        self._held = 0
        self._head = bytearray()
        self._rest = 0  # bytes of the current frame's data that have not come
        self._rest_stream = 0
        self._behind_head = 0  # bytes that belong to a head: the two numbers of a window
        self._broken = ""

    def __repr__(self) -> str:
        return f"<Mux {'client' if self._client else 'server'} {len(self._streams)} streams>"

    # ------------------------------------------------------------------ streams

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def streams(self) -> tuple[int, ...]:
        """The streams that are there, in the order in which they were opened."""
        return tuple(self._streams)

    def open(self) -> int:
        """Open a stream and return its number.

        Raises:
            ProtocolError: there are too many, or their numbers are used up.
        """
        if not self._client:
            raise ValueError("only the client opens streams")
        if len(self._streams) >= self._max_streams or self._last + 2 > 0xFFFFFFFF:
            raise ProtocolError("no more connections fit into this session")
        self._last += 2
        self._streams[self._last] = _Stream()
        self._control.append(self._header(SYN, 0, self._last))
        return self._last

    def send(self, stream: int, data: bytes) -> int:
        """Send the beginning of some data; returns how many bytes there was room for.

        On a stream that is closed, by either end, everything is taken and dropped.
        """
        found = self._streams.get(stream)
        if found is None or found.closing or found.finished:
            return len(data)
        taken = min(len(data), max(0, self._stream_limit - len(found.outgoing)))
        found.outgoing += data[:taken]
        self._want_turn(stream, found)
        return taken

    def room(self, stream: int) -> int:
        """How many bytes :meth:`send` would take now; much on a stream that is closed."""
        found = self._streams.get(stream)
        if found is None or found.closing or found.finished:
            return self._stream_limit
        return max(0, self._stream_limit - len(found.outgoing))

    def close(self, stream: int, *, drop: bool = False) -> None:
        """Close a stream behind what was sent; there is no closing of one direction.

        Args:
            drop: do not send what still waits.
        """
        found = self._streams.get(stream)
        if found is None or found.closing:
            return
        found.closing = True
        self._held -= found.unconsumed
        found.unconsumed = 0
        if drop or found.finished:
            found.outgoing.clear()
        self._want_turn(stream, found)

    def consumed(self, stream: int, count: int) -> None:
        """So many bytes that have arrived are dealt with: there is room for others."""
        found = self._streams.get(stream)
        if found is None or found.closing:
            return
        count = min(count, found.unconsumed)
        first = not found.consumed
        found.unconsumed -= count
        found.consumed += count
        self._held -= count
        if self._version == 2 and count and not found.finished:
            behind = found.consumed - found.told_consumed
            if first or behind >= self._stream_limit // 2:
                found.told_consumed = found.consumed
                told = _WINDOW.pack(found.consumed & 0xFFFFFFFF, self._stream_limit)
                self._control.append(self._header(UPD, len(told), stream) + told)

    # ------------------------------------------------------------------ sending

    def nop(self) -> None:
        """Send a sign of life."""
        self._control.append(self._header(NOP, 0, 0))

    @property
    def has_data_to_send(self) -> bool:
        """Whether :meth:`data_to_send` would return anything."""
        return bool(self._control or self._turns)

    def data_to_send(self, limit: int = MAX_FRAME) -> bytes:
        """The next bytes to send, about so many at most; each stream has its turn."""
        return b"".join(self._frames(limit))

    def _frames(self, limit: int) -> Iterator[bytes]:
        left = limit
        while self._control:
            frame = self._control.popleft()
            left -= len(frame)
            yield frame
        while self._turns and left > 0:
            number = self._turns.popleft()
            stream = self._streams[number]
            stream.waiting = False
            size = min(len(stream.outgoing), MAX_FRAME, self._window(stream), max(left, 1024))
            if size:
                yield self._header(PSH, size, number) + bytes(stream.outgoing[:size])
                del stream.outgoing[:size]
                stream.sent += size
                left -= size + HEADER.size
            if not stream.outgoing and stream.closing:
                del self._streams[number]
                yield self._header(FIN, 0, number)
                left -= HEADER.size
            else:
                self._want_turn(number, stream)

    def _window(self, stream: _Stream) -> int:
        """How much the other end has room for, as far as it says."""
        if self._version == 1:
            return MAX_FRAME
        return max(0, stream.window - ((stream.sent - stream.seen_consumed) & 0xFFFFFFFF))

    def _want_turn(self, number: int, stream: _Stream) -> None:
        if stream.waiting:
            return
        sendable = bool(stream.outgoing) and self._window(stream) > 0
        if sendable or (stream.closing and not stream.outgoing):
            stream.waiting = True
            self._turns.append(number)

    def _header(self, command: int, size: int, stream: int) -> bytes:
        return HEADER.pack(self._version, command, size, stream)

    # ------------------------------------------------------------------ receiving

    @property
    def held(self) -> int:
        """Bytes that have arrived and are not consumed."""
        return self._held

    @property
    def full(self) -> bool:
        """Whether so much waits to be consumed that no more should be received."""
        return self._held >= self._receive_limit

    def receive(self, data: bytes) -> list[MuxEvent]:
        """Take bytes, cut anywhere, and return what has happened.

        Raises:
            ProtocolError: they are not smux, or break it; nothing can be received after that.
        """
        if self._broken:
            raise ProtocolError(self._broken)
        events: list[MuxEvent] = []
        head, at, end = self._head, 0, len(data)
        while at < end:
            if self._rest:
                piece = data[at : at + self._rest]
                at += len(piece)
                self._rest -= len(piece)
                self._arrived(self._rest_stream, piece, events)
                continue
            needed = HEADER.size + self._behind_head
            piece = data[at : at + needed - len(head)]
            at += len(piece)
            head += piece
            if len(head) < needed:
                break
            command, size, stream = self._checked(head)
            if command == UPD and not self._behind_head:
                self._behind_head = size
                continue
            values = bytes(head[HEADER.size :])
            head.clear()
            self._behind_head = 0
            self._take(command, size, stream, values, events)
        return events

    def _checked(self, head: bytearray) -> tuple[int, int, int]:
        """A header's command, size and stream."""
        version, command, size, stream = HEADER.unpack_from(head)
        if version != self._version or command > (UPD if version == 2 else NOP):
            raise self._breach("what came is not smux")
        if size and command in (SYN, FIN, NOP):
            raise self._breach("a frame carries data that has no place there")
        if command == UPD and size != _WINDOW.size:
            raise self._breach("a window has a wrong size")
        return command, size, stream

    def _take(
        self, command: int, size: int, number: int, values: bytes, events: list[MuxEvent]
    ) -> None:
        if command == NOP:
            return
        if command == SYN:
            self._opened(number, events)
            return
        if number > self._last or number < 3 or not number % 2:
            raise self._breach("a frame belongs to a stream that was never opened")
        if command == PSH:
            self._rest, self._rest_stream = size, number
            return
        stream = self._streams.get(number)
        if stream is None:
            return  # closed here, and the other end did not know yet
        if command == UPD:
            self._update(number, stream, *_WINDOW.unpack(values))
        elif not stream.finished:
            stream.finished = True
            stream.outgoing.clear()
            events.append(Finished(number))
            self._want_turn(number, stream)

    def _opened(self, number: int, events: list[MuxEvent]) -> None:
        if self._client or number <= self._last or not number % 2:
            raise self._breach("the other end opens a stream that is not its to open")
        if len(self._streams) >= self._max_streams:
            raise self._breach("the other end opens too many streams")
        self._last = number
        self._streams[number] = _Stream()
        events.append(Opened(number))

    def _arrived(self, number: int, data: bytes, events: list[MuxEvent]) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.closing or stream.finished:
            return
        stream.unconsumed += len(data)
        self._held += len(data)
        events.append(Arrived(number, data))

    def _update(self, number: int, stream: _Stream, consumed: int, window: int) -> None:
        under_way = (stream.sent - consumed) & 0xFFFFFFFF
        if under_way > stream.sent:
            raise self._breach("the other end has consumed more than was sent")
        stream.seen_consumed, stream.window = consumed, window
        self._want_turn(number, stream)

    def _breach(self, how: str) -> ProtocolError:
        self._broken = f"the multiplexed session is broken: {how}"
        return ProtocolError(self._broken)
