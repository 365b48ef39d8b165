"""A session that forwards a port: many connections over smux, or one at a time (PROTOCOL 7).

Knows how the agent dials, multiplexes and gives up. Never knows frames or the websocket.

A name that is not the container's own means this machine's loopback, so that a "database in the
VPC" can be practised with, and nothing outside is ever reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

from ..channel.frames import MAX_PAYLOAD, PayloadType
from ..channel.smux import Arrived, Finished, Mux, Opened
from ..errors import ProtocolError
from .agent import banner
from .containers import StartError

if TYPE_CHECKING:
    from .agent import Agent, Plugin

__all__ = ["FORBIDDEN", "forwarder"]

DISCONNECT, TERMINATE, CONNECT_ERROR = 1, 2, 3

FORBIDDEN = frozenset(
    {
        "169.254.169.254",
        "169.254.169.253",
        "169.254.169.123",
        "169.254.169.250",
        "169.254.169.251",
        "fd00:ec2::254",
        "fd00:ec2::253",
        "fd00:ec2::123",
        "fd00:ec2::240",
    }
)
_CHUNK = 32_768

KEEP_ALIVE = 10.0
"""Seconds between two signs of life, where either end is old."""

_DEAD_AFTER = 3  # of these intervals


def forwarder(agent: Agent) -> Plugin:
    """What serves a port session: by one connection or by many, as the client's version says."""
    return _Forwarder(agent)


class _Forwarder:
    """Chooses once the handshake is done."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._chosen: _Single | _Multiplexed | None = None
        self._over = asyncio.Event()

    async def run(self) -> str:
        """Forward until the client or AWS ends it."""
        plan = self._agent.plan
        many = plan.properties.get("type") == "LocalPortForwarding"
        dial = _Dial(self._agent)
        try:
            dial.check()
            await self._agent.container.start()
            if many and self._agent.multiplexes:
                self._chosen = _Multiplexed(self._agent, dial)
            else:
                single = _Single(self._agent, dial)
                await single.connect()
                self._chosen = single
        except (OSError, StartError) as error:
            return banner(f"Unable to connect to specified port: {dial.words(error)}")
        except ValueError as error:
            return banner(str(error))
        work = asyncio.ensure_future(self._chosen.run())
        end = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            return ""
        finally:
            for each in (work, end):
                each.cancel()
            await asyncio.gather(work, end, return_exceptions=True)
            await self._chosen.stop()

    async def on_input(self, payload_type: int, payload: bytes) -> bool:
        """Bytes of the connections, or a flag."""
        if self._chosen is None:
            return False
        if payload_type == PayloadType.FLAG:
            flag = int.from_bytes(payload, "big")
            if flag == TERMINATE:
                self._over.set()
            elif flag == DISCONNECT:
                self._chosen.disconnect()
        elif payload_type == PayloadType.OUTPUT:
            await self._chosen.take(payload)
        return True

    async def cancel(self) -> None:
        """TerminateSession."""
        self._over.set()
        if self._chosen is not None:
            await self._chosen.stop()

    def close(self) -> None:
        """Nothing is held beyond the connections."""


class _Dial:
    """Connects to the port that the session is for."""

    def __init__(self, agent: Agent) -> None:
        properties = agent.plan.properties
        self._agent = agent
        self._host = properties.get("host", "")
        self._port = int(properties.get("portNumber") or 0)
        self._one_by_one = asyncio.Lock()

    def check(self) -> None:
        """Refuse what the agent forbids. Raises ValueError with its words."""
        if self._host in FORBIDDEN:
            raise ValueError(f"Forwarding to IP address {self._host} is forbidden.")

    def words(self, error: Exception) -> str:
        """A failure in the words of the agent's own language."""
        if "refused" in str(error).lower():
            where = f"{self._host or '127.0.0.1'}:{self._port}"
            return f"dial tcp {where}: connect: connection refused"
        return str(error)

    async def __call__(self) -> socket.socket:
        """Return a connection; raises OSError or StartError.

        The agent takes the next stream only when this one is connected or refused.
        """
        async with self._one_by_one:
            return await self._dialed()

    async def _dialed(self) -> socket.socket:
        if self._host in ("", "localhost", "127.0.0.1", "::1"):
            return await self._agent.container.connect(self._port)
        address = "127.0.0.1"
        with contextlib.suppress(ValueError):
            if not ipaddress.ip_address(self._host).is_loopback:
                raise OSError(f"dial tcp {self._host}:{self._port}: connect: no route to host")
            address = self._host
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, (address, self._port))
        except BaseException:
            made.close()
            raise
        return made


class _Multiplexed:
    """Many connections, each a stream of smux."""

    def __init__(self, agent: Agent, dial: _Dial) -> None:
        self._agent = agent
        self._dial = dial
        self._mux = Mux(client=False)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._arrived: dict[int, asyncio.Queue[bytes]] = {}
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._heard = False

    async def run(self) -> None:
        """Carry the streams, until nothing is heard where signs of life are expected."""
        works = [asyncio.ensure_future(self._send())]
        if self._agent.keeps_alive:
            works.append(asyncio.ensure_future(self._keep_alive()))
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _keep_alive(self) -> None:
        """Give signs of life; return when three intervals have brought none."""
        while True:
            for _ in range(_DEAD_AFTER):
                await asyncio.sleep(KEEP_ALIVE)
                self._mux.nop()
                self._changed.set()
            if not (self._heard or self._mux.full):
                return
            self._heard = False

    async def _send(self) -> None:
        """Send what the streams have to say, in payloads of at most 1024 bytes."""
        while True:
            self._changed.clear()
            while self._mux.has_data_to_send:
                data = self._mux.data_to_send()
                self._wake()
                for at in range(0, len(data), MAX_PAYLOAD):
                    await self._agent.active.wait()
                    await self._agent.send_stream(PayloadType.OUTPUT, data[at : at + MAX_PAYLOAD])
                    if self._agent.pace.read:
                        await asyncio.sleep(self._agent.pace.read)
            await self._changed.wait()

    def _wake(self) -> None:
        self._room.set()
        self._room.clear()

    async def take(self, payload: bytes) -> None:
        """Bytes of the smux connection; waits while too much of them is not taken."""
        self._heard = True
        try:
            events = self._mux.receive(payload)
        except ProtocolError:
            await self.stop()
            return
        for event in events:
            if isinstance(event, Opened):
                self._arrived[event.stream] = asyncio.Queue()
                task = asyncio.ensure_future(self._serve(event.stream))
                self._tasks[event.stream] = task
            elif isinstance(event, Arrived):
                self._arrived[event.stream].put_nowait(event.data)
            elif isinstance(event, Finished) and event.stream in self._arrived:
                self._arrived[event.stream].put_nowait(b"")
        while self._mux.full:
            await self._room.wait()

    async def _serve(self, stream: int) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            try:
                made = await self._dial()
            except (OSError, StartError):
                await self._agent.send_stream(PayloadType.FLAG, CONNECT_ERROR.to_bytes(4, "big"))
                return
            reader, writer = await asyncio.open_connection(sock=made)
            copies = [
                asyncio.ensure_future(self._out(stream, reader)),
                asyncio.ensure_future(self._in(stream, writer)),
            ]
            try:
                # The end of either direction is the end of both: smux knows no other.
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.gather(*copies, return_exceptions=True)
        finally:
            if writer is not None:
                writer.close()
            self._mux.close(stream)
            self._arrived.pop(stream, None)
            self._tasks.pop(stream, None)
            self._changed.set()
            self._wake()

    async def _out(self, stream: int, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                while data:
                    data = data[self._mux.send(stream, data) :]
                    self._changed.set()
                    if data:
                        await self._room.wait()

    async def _in(self, stream: int, writer: asyncio.StreamWriter) -> None:
        arrived = self._arrived[stream]
        with contextlib.suppress(OSError):
            while data := await arrived.get():
                writer.write(data)
                await writer.drain()
                self._mux.consumed(stream, len(data))
                self._wake()

    def disconnect(self) -> None:
        """Means nothing here."""

    async def stop(self) -> None:
        """Cut every connection."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Single:
    """One connection at a time: its bytes as they are, and a flag at its end."""

    def __init__(self, agent: Agent, dial: _Dial) -> None:
        self._agent = agent
        self._dial = dial
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._again = asyncio.Event()
        self._failed = False

    async def connect(self) -> None:
        """Dial; raises OSError or StartError."""
        self._reader, self._writer = await asyncio.open_connection(sock=await self._dial())

    async def run(self) -> None:
        """Send what the port says; when it ends, wait for the next input, which dials again."""
        agent = self._agent
        while not self._failed:
            assert self._reader is not None
            reader = self._reader
            data = b""
            with contextlib.suppress(OSError):
                data = await reader.read(MAX_PAYLOAD)
            if data and reader is self._reader:
                await agent.active.wait()
                await agent.send_stream(PayloadType.OUTPUT, data)
                if agent.pace.read:
                    await asyncio.sleep(agent.pace.read)
                continue
            if reader is self._reader:
                self.disconnect()
                self._again.clear()
                await self._again.wait()

    async def take(self, payload: bytes) -> None:
        """Input of the connection; dials when there is none."""
        if self._writer is None:
            try:
                await self.connect()
            except (OSError, StartError):
                self._failed = True
                self._again.set()
                return
            self._again.set()
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.write(payload)
                await self._writer.drain()

    def disconnect(self) -> None:
        """The client's connection is over: so is this one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def stop(self) -> None:
        """Cut the connection."""
        self.disconnect()
