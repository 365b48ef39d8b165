"""Sessions and the message gateway between their two ends (PROTOCOL 0, 1.4, 3.5 and 6.11).

Knows tokens, who is attached, pauses, slots and ``channel_closed``. Never knows what a session
runs: that is the agent's.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..channel.frames import Frame, MessageType, encode
from .agent import Agent, AgentGone, SessionPlan, never_starts
from .relay import Relay
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from .agent import Keys, Plugin
    from .containers import Container
    from .faults import Counters, Faults
    from .pace import Pace
    from .transcripts import Transcripts

__all__ = ["IDLE_LIMIT", "Gateway", "Session"]

IDLE_LIMIT = 1200.0
"""Seconds without traffic after which the service ends a session."""

_OPEN_LIMIT = 30.0
_REMEMBERED = 5000  # sessions that have ended; AWS forgets them after thirty days


@dataclass(eq=False, slots=True)
class Session:
    """One session, from the call that made it to its end.

    Attributes:
        token: what the next client must show; None when it has been used.
        number: its place in the order of sessions.
        reason: why it ended.
    """

    plan: SessionPlan
    container: Container
    runtime_id: str
    document: str
    owner: str
    token: str | None = field(repr=False)
    number: int = 0
    started: float = field(default_factory=time.time)
    ended: float | None = None
    reason: str = ""
    relay: Relay | None = None
    agent: Agent | None = None
    states: list[str] = field(default_factory=list)
    terminated: bool = False
    ending: bool = False
    in_slot: bool = False
    last_traffic: float = field(default_factory=time.monotonic)

    @property
    def session_id(self) -> str:
        """Its id."""
        return self.plan.session_id


class Gateway:
    """Every session of the account.

    Args:
        make_plugin: builds what runs in a session, by its kind.
        transcripts: makes the logs of sessions; None when there is no account to put them in.
        idle_limit: seconds without traffic after which the service ends a session.
        wedge: whether too many sessions get a container's agent stuck; None: as the pace says.
    """

    def __init__(
        self,
        *,
        keys: Keys,
        pace: Pace,
        faults: Faults,
        counters: Counters,
        make_plugin: Callable[[Agent], Plugin],
        transcripts: Transcripts | None = None,
        idle_limit: float = IDLE_LIMIT,
        wedge: bool | None = None,
    ) -> None:
        self.sessions: dict[str, Session] = {}
        self.idle_limit = idle_limit
        self.wedge = pace.wedge if wedge is None else wedge
        self._keys = keys
        self._pace = pace
        self._faults = faults
        self._counters = counters
        self._make_plugin = make_plugin
        self._transcripts = transcripts
        self._workers: dict[str, Workers] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._over: deque[str] = deque()
        self._opened = 0
        self._closed = False

    def open(
        self, plan: SessionPlan, container: Container, runtime_id: str, *, document: str, owner: str
    ) -> Session:
        """Begin a session; its agent starts by itself, whether or not a client comes."""
        self._opened += 1
        session = Session(plan, container, runtime_id, document, owner, _token(), self._opened)
        session.relay = Relay(session, self._faults)
        self.sessions[session.session_id] = session
        task = asyncio.ensure_future(self._live(session))
        self._tasks[session.session_id] = task
        task.add_done_callback(lambda _: self._forget(session))
        self._watch(session)
        return session

    def _forget(self, session: Session) -> None:
        self._tasks.pop(session.session_id, None)
        timer = self._timers.pop(session.session_id, None)
        if timer is not None:
            timer.cancel()
        self._over.append(session.session_id)
        if len(self._over) > _REMEMBERED:
            self.sessions.pop(self._over.popleft(), None)

    async def _live(self, session: Session) -> None:
        if self._closed:
            return
        if never_starts(session.plan.command):
            await self._silence(session)
            return
        workers = self._workers.get(session.runtime_id)
        if workers is None:
            workers = Workers(self._pace.retry, self.wedge)
            self._workers[session.runtime_id] = workers
        try:
            await workers.take()
        except asyncio.CancelledError:
            if not session.ending:
                raise
            await self._finish(session, "")
            return
        session.in_slot = True
        self._counters.session_begun(session.runtime_id)
        try:
            await self._serve(session)
        finally:
            session.in_slot = False
            workers.give()
            self._counters.session_ended(session.runtime_id, session.session_id)
        if session.ended is None:  # the agent is gone; the service waits for it
            await self._silence(session)

    async def _silence(self, session: Session) -> None:
        """Nothing comes until the session is ended from outside."""
        try:
            if not session.ending:
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if not session.ending:
                raise
        await self._finish(session, "")

    async def _serve(self, session: Session) -> None:
        await asyncio.sleep(self._pace.agent_join)
        relay = session.relay
        assert relay is not None
        session.agent = Agent(
            session.plan,
            session.container,
            relay.to_client,
            keys=self._keys,
            pace=self._pace,
            faults=self._faults,
            make_plugin=self._make_plugin,
            transcripts=self._transcripts,
        )
        if session.ending:
            session.agent.cancel()
        if relay.client is None:
            relay.pause_agent()
        try:
            output = await session.agent.run()
        except AgentGone:
            session.reason = "the agent died"
            session.agent = None
            return
        except Exception as error:  # noqa: BLE001  # one session must not end the server
            output = f"\n----------ERROR-------\nThe practice agent failed: {error!r}\n\n"
        session.agent = None
        await asyncio.sleep(self._pace.closing + self._faults.hold_closed)
        await self._finish(session, output)

    async def _finish(self, session: Session, output: str) -> None:
        if session.ended is None:
            session.ended = time.time()
        relay = session.relay
        assert relay is not None
        if self._faults.lose_closed:
            return
        message = {
            "MessageType": MessageType.CHANNEL_CLOSED,
            "MessageId": str(uuid.uuid4()),
            "DestinationId": session.runtime_id.partition("-")[0],
            "SessionId": session.session_id,
            "SchemaVersion": 1,
            "CreatedDate": str(int(time.time() * 1000)),
            "Output": output,
        }
        frame = Frame(
            MessageType.CHANNEL_CLOSED,
            0,
            0,
            uuid.uuid4(),
            int(time.time() * 1000),
            0,
            json.dumps(message).encode(),
        )
        await relay.say_farewell(encode(frame))

    def _watch(self, session: Session) -> None:
        """Look at the session again when it may have been idle for too long."""
        quiet = time.monotonic() - session.last_traffic
        if quiet >= self.idle_limit:
            session.reason = "idle"
            self._end(session)
            return
        loop = asyncio.get_running_loop()
        self._timers[session.session_id] = loop.call_later(
            self.idle_limit - quiet, self._watch, session
        )

    def _end(self, session: Session) -> None:
        """End a session from outside, wherever it is in its life."""
        if session.ending or session.ended is not None:
            return
        session.ending = True
        if session.agent is not None:
            session.agent.cancel()
        elif not session.in_slot and session.session_id in self._tasks:
            self._tasks[session.session_id].cancel()
        # else the agent sees it when it has joined

    # what the APIs do

    def resume(self, session: Session) -> str:
        """A new token, empty when the session has ended; the old one no longer counts."""
        if session.ended is not None or self._faults.lose_resume:
            return ""
        session.token = _token()
        return session.token

    def terminate(self, session: Session) -> None:
        """End a session from outside."""
        if session.terminated or session.ended is not None:
            return
        session.terminated = True
        self._counters.session_terminated(session.session_id)
        self._end(session)

    def task_stopped(self, task_id: str) -> None:
        """The containers of a task are gone: its sessions end, but those that still tell a client.

        Without one an agent waits for it before it looks at its process, and never learns.
        """
        for runtime_id in [r for r in self._workers if r.startswith(task_id)]:
            del self._workers[runtime_id]
        for session in [self.sessions[session_id] for session_id in self._tasks]:
            attached = session.relay is not None and session.relay.client is not None
            if session.runtime_id.startswith(task_id) and not attached:
                session.reason = "the task stopped"
                self._end(session)

    def kill_agents(self, task_id: str = "") -> int:
        """Let exec agents die without a word; a new one takes the place of each.

        Args:
            task_id: of their task, or the beginning of it; empty for all.

        Returns:
            How many sessions are lost.
        """
        for runtime_id in [r for r in self._workers if r.startswith(task_id)]:
            self._workers.pop(runtime_id).die()
        lost = 0
        for session in self.sessions.values():
            if session.agent is not None and session.runtime_id.startswith(task_id):
                session.agent.die()
                lost += 1
        return lost

    async def cut(self, close: bool) -> int:
        """Cut every client's connection, with or without a close frame; returns how many."""
        relays = [s.relay for s in self.sessions.values() if s.relay and s.relay.client]
        for relay in relays:
            await relay.cut(close)
        return len(relays)

    async def attach(self, session: Session | None, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket: a client's whole attachment."""
        from aiohttp import WSMsgType, web

        socket = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=5.0)
        await socket.prepare(request)
        try:
            first = await socket.receive(_OPEN_LIMIT)
        except asyncio.TimeoutError:
            await socket.close(code=1003, message=b"No token was presented in time.")
            return socket
        if first.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return socket
        text = first.data if first.type == WSMsgType.TEXT else ""
        if not self._admit(session, text):
            await socket.close(code=1003, message=b"Channel message: token is missing or invalid.")
            return socket
        assert session is not None and session.relay is not None
        self._counters.client_attached(session.session_id)
        await session.relay.serve(socket, request)
        return socket

    def _admit(self, session: Session | None, text: str) -> bool:
        try:
            message: Any = json.loads(text)
            token = message["TokenValue"]
            complete = all(
                message.get(k) for k in ("MessageSchemaVersion", "RequestId", "ClientId")
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        if session is None or session.token is None or not isinstance(token, str) or not complete:
            return False
        if self._faults.take_token():
            session.token = None
            return False
        relay = session.relay
        over = session.ended is not None and (relay is None or relay.farewell is None)
        if over or not secrets.compare_digest(token.encode(), session.token.encode()):
            return False
        session.token = None
        return True

    async def stop(self) -> None:
        """End every session; none that a request still opens begins to live."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self.sessions.values():
            if session.relay is not None:
                await session.relay.close()


def _token() -> str:
    return secrets.token_urlsafe(96)
