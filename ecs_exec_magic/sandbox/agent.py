"""The agent's end of one data channel: order, acknowledgements, handshake, start and end.

Knows PROTOCOL 3, 4 and 6.1. Never knows AWS APIs, the websocket, or how a process is isolated.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID, uuid4

from ..channel.encryption import DecryptionError, SessionCipher
from ..channel.frames import Frame, FrameError, MessageType, PayloadType, decode, encode
from ..waiting import wait_for
from . import handshake
from .api import ApiError
from .faults import denial
from .outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from .containers import Container
    from .faults import Faults
    from .pace import Pace
    from .transcripts import LoggingPlan, Transcript, Transcripts

__all__ = ["Agent", "AgentGone", "Keys", "Plugin", "SessionPlan", "Stuck", "banner", "never_starts"]

_TICK = 0.1
_DRAIN = 2.0
_INCOMING = 100_000
_ENCRYPTED_TYPES = (PayloadType.OUTPUT, PayloadType.STDERR, PayloadType.EXIT_CODE)
_PARAMETER = re.compile(r"\{\{ *ssm:[/\w.:-]+ *\}\}")


class AgentGone(Exception):
    """The agent died (a fault asked for it): nothing more comes from it."""


class Stuck(Exception):
    """A handler failed: the message is not acknowledged and the counter stays."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session is to run.

    Attributes:
        session_id: its id.
        kind: ``InteractiveCommands``, ``NonInteractiveCommands``, ``Standard_Stream``, ``Port``.
        command: the command as it was given, not split.
        target_id: the target, as the encryption context names it.
        key_id: the KMS key for the channel, or None.
        separate: whether both output streams are kept apart.
        prefixes: texts put before lines of stdout and stderr.
        region: of the task.
        role_arn: the task's role, or None.
        logging: where the session's log goes, or None.
        properties: of a port session: which port, and of which host.
    """

    session_id: str
    kind: str
    command: str
    target_id: str
    key_id: str | None = None
    separate: bool = False
    prefixes: tuple[str, str] = ("", "")
    region: str = "us-east-1"
    role_arn: str | None = None
    logging: LoggingPlan | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


class Keys(Protocol):
    """KMS, as the agent calls it with the task's role."""

    async def decrypt(
        self, region: str, blob: bytes, context: dict[str, str], key_id: str, role_arn: str | None
    ) -> bytes:
        """Open a data key; raises ApiError."""


class Plugin(Protocol):
    """What runs in a session once the handshake is decided."""

    async def run(self) -> str:
        """Run to the end; return the text for ``channel_closed``, usually empty."""

    async def on_input(self, payload_type: int, payload: bytes) -> bool:
        """Take one input message; False when not ready for it. Raises Stuck."""

    async def cancel(self) -> None:
        """End it from outside (PROTOCOL 6.8)."""

    def close(self) -> None:
        """Let go of every descriptor."""


def banner(text: str) -> str:
    """An error as ``channel_closed`` carries it (PROTOCOL 6.9)."""
    output = f"\n----------ERROR-------\n{text}\n\n"
    ending = "---Error truncated----"
    return output if len(output) <= 2500 else output[: 2500 - len(ending)] + ending


def never_starts(command: str) -> bool:
    """Whether the agent's document parser swallows the request without a word (PROTOCOL 6.3)."""
    return _PARAMETER.search(command) is not None


class Agent:
    """One session's agent.

    Args:
        plan: what to run.
        container: where.
        send: hands one frame to the gateway.
        keys: the KMS to decrypt with.
        pace: its waits.
        faults: what is broken on purpose.
        make_plugin: builds what runs in the session.
        transcripts: makes the session's log; None when there is no account to put it in.
    """

    def __init__(
        self,
        plan: SessionPlan,
        container: Container,
        send: Callable[[bytes], Awaitable[None]],
        *,
        keys: Keys,
        pace: Pace,
        faults: Faults,
        make_plugin: Callable[[Agent], Plugin],
        transcripts: Transcripts | None = None,
    ) -> None:
        self.plan = plan
        self.container = container
        self.pace = pace
        self.faults = faults
        self.active = asyncio.Event()
        self.active.set()
        self._send = send
        self._keys = keys
        self._plugin = make_plugin(self)
        self._transcripts = transcripts
        self._transcript: Transcript | None = None
        self._outbox = Outbox()
        self._drained = asyncio.Event()
        self._inbox: deque[bytes] = deque()
        self._expected = 0
        self._stored: dict[int, Frame] = {}
        self._decided = False
        self._client_version: Any = None
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._cipher: SessionCipher | None = None
        self._stream_frames = 0
        # Done when the session ends from outside, or with an error of ours.
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # There while there is something to read or to send again: an idle session has neither.
        self._reader: asyncio.Task[None] | None = None
        self._resender: asyncio.Task[None] | None = None

    async def run(self) -> str:
        """Run the session to its end and return the text for ``channel_closed``.

        Raises:
            AgentGone: the agent died.
        """
        body = asyncio.ensure_future(self._body())
        output = ""
        ended = False
        try:
            either: list[asyncio.Future[Any]] = [body, self._over]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                self._over.result()
            if body.done():
                output, ended = body.result(), True
            else:
                body.cancel()
                await asyncio.gather(body, return_exceptions=True)
                await self._plugin.cancel()
                ended = True
            if self._transcript is not None and not output:
                await _stop(self._reader)  # nothing is typed any more
                self._plugin.close()
                output = await self._transcript.finish(self.container)
                output = banner(output) if output else ""
            return output
        finally:
            await _stop(body, self._reader, self._resender)
            if not self._over.cancel() and not self._over.cancelled():
                self._over.exception()  # it may have come too late for anybody to look at it
            if not ended:
                await self._plugin.cancel()
            self._plugin.close()
            if self._transcript is not None:
                self._transcript.close()

    @property
    def version(self) -> str:
        """What it says it is."""
        return self.faults.agent_version or handshake.AGENT_VERSION

    @property
    def multiplexes(self) -> bool:
        """Whether a port session carries many connections."""
        return handshake.multiplexes(self.version, self._client_version)

    @property
    def keeps_alive(self) -> bool:
        """Whether the multiplexer of a port session wants signs of life, and gives them."""
        return handshake.keeps_alive(self.version, self._client_version)

    def cancel(self) -> None:
        """TerminateSession: end the process and the session (PROTOCOL 6.8)."""
        if not self._over.done():
            self._over.set_result(None)

    def die(self) -> None:
        """Vanish without a word."""
        self._fail(AgentGone())

    def _fail(self, error: BaseException) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)

        def done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._fail(error)

        task.add_done_callback(done)
        return task

    async def _body(self) -> str:
        await self._state("Connected")
        interactive = self.plan.kind not in ("NonInteractiveCommands", "Port")
        if not interactive or self.plan.key_id:
            try:
                self._cipher, response = await handshake.perform(
                    send=self._send_clear,
                    receive=self._answers.get,
                    kind=self.plan.kind,
                    separate=self.plan.separate,
                    key_id=None if self.plan.kind == "Port" else self.plan.key_id,
                    context={
                        "aws:ssm:SessionId": self.plan.session_id,
                        "aws:ssm:TargetId": self.plan.target_id,
                    },
                    decrypt=self._decrypt,
                    limit=self.pace.handshake,
                    properties=dict(self.plan.properties) or None,
                    agent_version=self.version,
                )
                self._client_version = response.get("ClientVersion")
            except handshake.HandshakeFailed as error:
                return banner(f"Encountered error while initiating handshake. {error}")
        else:
            await self.faults.lapse("discard_window")  # input is lost until here
        self._decided = True
        blank = not self.plan.command.strip(" \t\r\n")
        if blank and self.plan.kind not in ("Standard_Stream", "Port"):
            return f"Commands cannot be empty for session type {self.plan.kind}"
        if self._transcripts is not None and self.plan.kind != "Port":  # nothing of it is logged
            refusal = await self._transcripts.refusal(self.plan, self.container)
            if refusal:
                return refusal
            self._transcript = self._transcripts.begin(self.plan)
        output = await self._plugin.run()
        await self._drain()
        if not output:
            await self._state("Terminating")
            await self._drain()
        return output

    async def _decrypt(self, blob: bytes, context: dict[str, str]) -> bytes:
        plan = self.plan
        if self.faults.deny_kms:
            caller = "a task without a role"
            if plan.role_arn:
                account, role = plan.role_arn.split(":")[4], plan.role_arn.rpartition("/")[2]
                caller = f"arn:aws:sts::{account}:assumed-role/{role}"
            raise ApiError("AccessDeniedException", denial(caller, "kms:Decrypt"))
        return await self._keys.decrypt(
            plan.region, blob, context, plan.key_id or "", plan.role_arn
        )

    async def _drain(self) -> None:
        """Wait until everything is acknowledged, but not for long (PROTOCOL 3.5)."""
        if len(self._outbox):
            self._drained.clear()
            try:
                await wait_for(self._drained.wait(), _DRAIN)
            except asyncio.TimeoutError:
                return

    # sending

    async def send_stream(self, payload_type: int, payload: bytes) -> None:
        """Send one numbered message, encrypted where its type is."""
        if self._transcript is not None and payload_type in _ENCRYPTED_TYPES:
            self._transcript.add(payload)
        if self._cipher is not None and payload_type in _ENCRYPTED_TYPES:
            payload = self._cipher.encrypt(payload)
        await self._send_clear(payload_type, payload)

    async def _send_clear(self, payload_type: int, payload: bytes) -> None:
        limit = self.faults.agent_dies_after
        if limit is not None and self._stream_frames >= limit:
            raise AgentGone
        self._stream_frames += 1
        sequence = self._outbox.number()
        flags = 1 if sequence == 0 else 0
        data = encode(
            Frame(MessageType.OUTPUT, sequence, flags, uuid4(), _now_ms(), payload_type, payload)
        )
        self._outbox.add(sequence, data, time.monotonic())
        if self._resender is None:
            self._resender = self._in_background(self._send_again())
        if self.active.is_set():
            await self._send(data)

    async def _control(self, message_type: str, message: dict[str, Any]) -> None:
        payload = json.dumps(message, separators=(",", ":")).encode()
        await self._send(encode(Frame(message_type, 0, 3, uuid4(), _now_ms(), 0, payload)))

    async def _state(self, name: str) -> None:
        await self._control(
            MessageType.AGENT_SESSION_STATE,
            {"SchemaVersion": 1, "SessionState": name, "SessionId": self.plan.session_id},
        )

    async def _acknowledge(self, frame: Frame) -> None:
        await self._control(
            MessageType.ACKNOWLEDGE,
            {
                "AcknowledgedMessageType": frame.message_type,
                "AcknowledgedMessageId": str(UUID(int=frame.message_id.int)),
                "AcknowledgedMessageSequenceNumber": frame.sequence,
                "IsSequentialMessage": True,
            },
        )

    async def _send_again(self) -> None:
        while len(self._outbox):
            await asyncio.sleep(_TICK)
            if self.active.is_set():
                data = self._outbox.due(time.monotonic())
                if data is not None:
                    await self._send(data)
        self._resender = None

    # receiving

    def deliver(self, data: bytes) -> None:
        """Take one message off the data channel."""
        self._inbox.append(data)
        if self._reader is None:
            self._reader = self._in_background(self._read())

    async def _read(self) -> None:
        """One message after the other; a full terminal holds up all that follow (PROTOCOL 3.4)."""
        while self._inbox:
            try:
                frame = decode(self._inbox.popleft())  # the agent never looks at the digest
            except FrameError:
                continue
            if frame.message_type == MessageType.INPUT:
                self.active.set()
                await self._on_input(frame)
            elif frame.message_type == MessageType.ACKNOWLEDGE:
                self.active.set()
                self._on_acknowledge(frame)
            elif frame.message_type == MessageType.PAUSE_PUBLICATION:
                self.active.clear()
            elif frame.message_type == MessageType.START_PUBLICATION:
                self.active.set()
            elif frame.message_type == MessageType.CHANNEL_CLOSED:
                self.cancel()
        self._reader = None

    def _on_acknowledge(self, frame: Frame) -> None:
        try:
            sequence = json.loads(frame.payload)["AcknowledgedMessageSequenceNumber"]
        except (ValueError, KeyError, TypeError):
            return
        self._outbox.acknowledged(sequence, time.monotonic())
        if not len(self._outbox):
            self._drained.set()

    async def _on_input(self, frame: Frame) -> None:
        if frame.sequence < self._expected:
            await self._acknowledge(frame)
            return
        if frame.sequence > self._expected:
            if len(self._stored) < _INCOMING:
                self._stored[frame.sequence] = frame
                await self._acknowledge(frame)
            return
        if not await self._handle(frame):
            return
        await self._acknowledge(frame)
        self._expected += 1
        while self._expected in self._stored:
            if not await self._handle(self._stored[self._expected]):
                return
            del self._stored[self._expected]
            self._expected += 1

    async def _handle(self, frame: Frame) -> bool:
        """Whether the message counts as taken."""
        if frame.payload_type in (
            PayloadType.HANDSHAKE_RESPONSE,
            PayloadType.ENC_CHALLENGE_RESPONSE,
        ):
            try:
                answer = json.loads(frame.payload)
            except ValueError:
                return False
            if not self._decided and isinstance(answer, dict):
                self._answers.put_nowait(answer)
            return True
        if not self._decided:
            return True  # acknowledged and thrown away
        payload = frame.payload
        try:
            if self._cipher is not None and frame.payload_type == PayloadType.OUTPUT:
                payload = self._cipher.decrypt(payload)
            return await self._plugin.on_input(frame.payload_type, payload)
        except (Stuck, DecryptionError):
            return False


async def _stop(*tasks: asyncio.Task[Any] | None) -> None:
    there = [task for task in tasks if task is not None]
    for task in there:
        task.cancel()
    await asyncio.gather(*there, return_exceptions=True)


def _now_ms() -> int:
    return int(time.time() * 1000)
