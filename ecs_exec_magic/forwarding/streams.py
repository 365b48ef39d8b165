"""The connections of one session: many over smux, or one where the agent is old (PROTOCOL 7).

Knows streams and how they are held back. Never knows AWS, nor local sockets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from ..channel.smux import Arrived, Finished, Mux
from ..errors import SessionLost

if TYPE_CHECKING:
    from ..channel.connection import Connection

__all__ = ["Carrier", "Multiplexed", "Single", "Stream"]

NOP_INTERVAL = 10.0
"""Seconds between signs of life to agents that otherwise end the session after 30."""

_PIECE = 16 * 1024  # handed to the connection at once, so that no stream waits long for its turn


class Stream:
    """One connection as the far end knows it.

    Attributes:
        refused: nothing listens at the far end.
    """

    def __init__(self, carrier: Carrier, number: int) -> None:
        self.refused = False
        self._carrier = carrier
        self._number = number
        self._arrived: deque[bytes] = deque()
        self._untaken = 0
        self._ended = False
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing more comes, and nothing more arrives there."""
        return self._ended

    @property
    def pending(self) -> bool:
        """Whether something has come that is not passed on yet."""
        return bool(self._arrived) or self._untaken > 0

    async def read(self) -> bytes:
        """What has come, some of it; nothing at the end. Tell :meth:`taken` when it is passed on.

        Raises:
            SessionLost: the session ended before the stream did.
        """
        while not self._arrived:
            if self._carrier.lost:
                raise SessionLost(self._carrier.lost)
            if self._ended or self._closed:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._arrived.popleft()
        self._untaken += len(data)
        return data

    def taken(self, count: int) -> None:
        """So many bytes were passed on."""
        self._untaken -= count
        self._carrier.taken(self._number, count)

    async def write(self, data: bytes) -> None:
        """Send something; waits while there is no room. Dropped when the stream has ended.

        Raises:
            SessionLost: the session has ended.
        """
        while data and not (self._ended or self._closed):
            if self._carrier.lost:
                raise SessionLost(self._carrier.lost)
            count = self._carrier.send(self._number, data)
            data = data[count:]
            if data:
                await self._carrier.room()

    def close(self) -> None:
        """End both directions, behind what was sent."""
        if not self._closed:
            self._closed = True
            self._changed.set()
            self._arrived.clear()
            self._carrier.close(self._number)

    # -- its carrier calls these -----------------------------------------------------------------

    def arrived(self, data: bytes) -> None:
        """Something has come."""
        if not self._closed:
            self._arrived.append(data)
            self._changed.set()

    def finish(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._changed.set()

    def wake(self) -> None:
        """The session has ended: whoever waits is to look."""
        self._changed.set()


class Carrier(Protocol):
    """What carries streams over a connection.

    Attributes:
        lost: why the session has ended; empty while it lasts.
        parallel: how many streams there can be at once; 0 for many.
        spent: no stream can be opened any more.
    """

    lost: str
    parallel: int

    @property
    def spent(self) -> bool: ...

    @property
    def busy(self) -> bool:
        """Whether there are streams."""
        ...

    def open(self) -> Stream:
        """Open a stream."""
        ...

    def send(self, number: int, data: bytes) -> int:
        """Take what there is room for; return how much."""
        ...

    async def room(self) -> None:
        """Wait until there may be room."""
        ...

    def taken(self, number: int, count: int) -> None: ...

    def close(self, number: int) -> None: ...

    def receive(self, data: bytes) -> None:
        """Bytes have come from the agent. Raises ProtocolError."""
        ...

    def refused(self) -> None:
        """The agent could not connect to the port."""
        ...

    def sign_of_life(self) -> None: ...

    async def readable(self) -> None:
        """Wait until more may be received."""
        ...

    async def sent(self) -> None:
        """Wait until all that streams have sent is on its way."""
        ...

    async def run(self) -> None:
        """Send what there is to send, until cancelled or the session ends."""
        ...

    def end(self, reason: str) -> None:
        """The session has ended."""
        ...


class _Base:
    """What both kinds share: who waits for what."""

    def __init__(self, connection: Connection) -> None:
        self.lost = ""
        self._connection = connection
        self._streams: dict[int, Stream] = {}
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def busy(self) -> bool:
        return bool(self._streams)

    async def room(self) -> None:
        if not self.lost:
            self._room.clear()
            await self._room.wait()

    async def sent(self) -> None:
        while self._unsent() and not self.lost:
            await self.room()

    def _unsent(self) -> bool:
        raise NotImplementedError

    def end(self, reason: str) -> None:
        self.lost = reason
        for event in (self._work, self._room, self._taken):
            event.set()
        for stream in self._streams.values():
            stream.wake()
        self._streams.clear()


class Multiplexed(_Base):
    """Many streams over smux."""

    parallel = 0
    spent = False

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._mux = Mux(client=True)
        self._refusals = 0
        self._heard: set[int] = set()

    def open(self) -> Stream:
        number = self._mux.open()
        self._streams[number] = Stream(self, number)
        self._work.set()
        return self._streams[number]

    def send(self, number: int, data: bytes) -> int:
        count = self._mux.send(number, data)
        self._work.set()
        return count

    def taken(self, number: int, count: int) -> None:
        self._mux.consumed(number, count)
        self._taken.set()

    def close(self, number: int) -> None:
        self._mux.close(number)
        self._streams.pop(number, None)
        self._heard.discard(number)
        self._work.set()
        self._taken.set()
        self._room.set()

    def receive(self, data: bytes) -> None:
        for event in self._mux.receive(data):
            stream = self._streams.get(event.stream)
            if stream is None:
                continue
            if isinstance(event, Arrived):
                self._heard.add(event.stream)
                stream.arrived(event.data)
            elif isinstance(event, Finished):
                # The flag names no stream: the first that ends without a word is the one.
                if self._refusals and event.stream not in self._heard:
                    self._refusals -= 1
                    stream.refused = True
                stream.finish()
                self._room.set()

    def refused(self) -> None:
        self._refusals += 1

    def sign_of_life(self) -> None:
        self._mux.nop()
        self._work.set()

    async def readable(self) -> None:
        while self._mux.full and not self.lost:
            self._taken.clear()
            await self._taken.wait()

    async def run(self) -> None:
        while not self.lost:
            self._work.clear()
            while self._mux.has_data_to_send and not self.lost:
                data = self._mux.data_to_send(_PIECE)
                self._room.set()
                await self._connection.send(data)
            self._room.set()
            await self._work.wait()

    def _unsent(self) -> bool:
        return self._mux.has_data_to_send


class Single(_Base):
    """One stream, whose bytes are all there is.

    The agent dials when the session begins, and does not tell when the far end hangs up. It could
    dial again for a next connection, but only at that one's first byte, which never comes where
    the server speaks first, and with the rest of the last one's bytes still on their way. So each
    connection gets a session of its own.
    """

    parallel = 1

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._only = Stream(self, 0)
        self._used = False
        self._held = 0
        self._outgoing = bytearray()

    @property
    def spent(self) -> bool:
        return self._used

    def open(self) -> Stream:
        self._used = True
        self._streams[0] = self._only
        return self._only

    def send(self, number: int, data: bytes) -> int:
        count = min(len(data), max(0, 4 * _PIECE - len(self._outgoing)))
        self._outgoing += data[:count]
        self._work.set()
        return count

    def taken(self, number: int, count: int) -> None:
        self._held -= count
        self._taken.set()

    def close(self, number: int) -> None:
        self._streams.pop(0, None)
        self._held = 0
        self._taken.set()
        self._room.set()

    def receive(self, data: bytes) -> None:
        self._held += len(data)
        self._only.arrived(data)

    def refused(self) -> None:
        self._only.refused = True

    def sign_of_life(self) -> None:
        """Nothing can be said here that would not be the connection's own."""

    async def readable(self) -> None:
        while self._held >= 1024 * 1024 and not self.lost:
            self._taken.clear()
            await self._taken.wait()

    async def run(self) -> None:
        while not self.lost:
            self._work.clear()
            while self._outgoing and not self.lost:
                data = bytes(self._outgoing[:_PIECE])
                del self._outgoing[: len(data)]
                self._room.set()
                await self._connection.send(data)
            self._room.set()
            await self._work.wait()

    def _unsent(self) -> bool:
        return bool(self._outgoing)
