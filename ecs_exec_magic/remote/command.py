"""One command over one session: from the begin record to the proof of its output.

Knows the wrapper's records and what they mean for a command. Never knows how sessions are started,
or the far end's AWS side.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..capture import Capture
from ..channel.events import Closed, Event, ExitCode, Lost, Output, StdErr
from ..errors import (
    AgentNotConnected,
    EcsExecError,
    MethodUnavailable,
    ProtocolError,
    SessionLost,
    StartFailed,
)
from ..results import OutputEvent
from ..waiting import wait_for
from . import stdin as stdin_source
from .decoder import (
    Begin,
    Credit,
    Damage,
    Noise,
    PlainExit,
    Proof,
    Record,
    RecordReader,
    Stream,
    StreamData,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .wrapper import Wrapped

__all__ = [
    "Channel",
    "Execution",
    "NoShell",
    "Outcome",
    "agent_words",
    "silent_agent",
    "start_failed",
]

START_LIMIT = 45.0
"""Seconds that the agent may be silent before the session counts as dead: more than its start
delay, and more than both limits of a handshake together (PROTOCOL 10)."""

KILL_GRACE = 3.0
"""Seconds between TERM and KILL in the far end's time limit."""

CROSS_CHECK_LIMIT = 1.0
"""Seconds to wait for the agent's own exit code, where there is one."""

WINDOW = 16 * 1024
"""Bytes of standard input that may lie at the far end without the command having taken them.

A pipe holds 64 KiB: within this the wrapper's helpers never block, so that signals always pass.
"""

_NOISE_LIMIT = 64 * 1024
_NAMES = {"o": "stdout", "e": "stderr"}


class Channel(Protocol):
    """What a command needs of a connection; each ``send`` arrives in one piece."""

    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> list[Event]: ...
    async def terminate(self) -> None: ...


class NoShell(StartFailed):
    """The image has no ``sh``: nothing can be wrapped."""

    cause = "the container's image has no shell, as distroless images have none"
    cure = "give the command as a list of arguments: it is then run directly, without exact output"


@dataclass(slots=True)
class Outcome:
    """What is known of a command; grows while it runs.

    Attributes:
        exit_code: None until it is known, and when it cannot be.
        missing: why nothing proves the output, in words; empty when it is proved.
        began: the wrapper's begin record was seen.
    """

    stdout: Capture
    stderr: Capture
    exit_code: int | None = None
    timed_out: bool = False
    exact: bool = False
    missing: str = ""
    noise: bytearray = field(default_factory=bytearray)
    began: bool = False


class Execution:
    """Runs one wrapped command over one channel.

    Args:
        channel: an open connection whose session runs the command.
        wrapped: the command; None if it runs bare, without the wrapper.
        stdin: anything that :mod:`~ecs_exec_magic.remote.stdin` reads, or None.
        timeout: seconds for the command; the far end holds it by itself.
        pipes: the session has no terminal but two pipes (``method="start-session"``).
        max_bytes: how much of each stream to keep.
        on_output: called with each piece of output, on the event loop.
        on_batch: awaited after a number of them; while it waits, nothing more is received.
    """

    def __init__(
        self,
        channel: Channel,
        wrapped: Wrapped | None,
        *,
        stdin: Any = None,
        timeout: float | None = None,
        pipes: bool = False,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_batch: Callable[[], Awaitable[object]] | None = None,
        start_limit: float = START_LIMIT,
    ) -> None:
        self.outcome = Outcome(Capture(limit=max_bytes), Capture(limit=max_bytes))
        self._channel = channel
        self._wrapped = wrapped
        self._stdin = stdin
        self._timeout = timeout
        self._pipes = pipes
        self._on_output = on_output
        self._on_batch = on_batch
        self._start_limit = start_limit
        nonce = wrapped.nonce if wrapped else b""
        self._readers = {"o": RecordReader(nonce), "e": RecordReader(nonce)}
        self._streams: dict[str, Stream] = {}
        self._proofs: dict[str, bool] = {}
        self._decoders = {
            name: codecs.getincrementaldecoder("utf-8")("replace") for name in _NAMES.values()
        }
        self._begin: Begin | None = None
        self._bare_tail = b""
        self._damage = ""
        self._plain_exit: int | None = None
        self._native_exit: int | None = None
        self._interrupts = 0
        self._ended_by_us = False
        self._credit = WINDOW
        self._credit_came = asyncio.Event()
        self._feeder: asyncio.Task[None] | None = None

    # -- for the caller --------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Run to the end and return what is known.

        Raises:
            NoShell: the image has no shell.
            StartFailed: the agent could not start the command.
            AgentNotConnected: the agent stays silent.
            SessionLost: the session ended before the command was seen to.
            ProtocolError: what came is not what the far end sent.
            MethodUnavailable: the far end cannot take the input that the command needs.
        """
        loop = asyncio.get_running_loop()
        deadline: float | None = loop.time() + self._start_limit
        receiving: asyncio.Future[list[Event]] | None = None
        try:
            while not self._complete():
                # One receive is kept over several waits: cancelling it could lose what it has.
                receiving = receiving or asyncio.ensure_future(self._channel.receive())
                waiting: set[asyncio.Future[Any]] = {receiving}
                if self._feeder is not None:
                    waiting.add(self._feeder)
                left = None if deadline is None else max(0.0, deadline - loop.time())
                done, _ = await asyncio.wait(
                    waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                if self._feeder is not None and self._feeder in done:
                    feeder, self._feeder = self._feeder, None
                    feeder.result()
                if not done:
                    await self._too_late()
                    break
                if receiving not in done:
                    continue
                events, receiving = receiving.result(), None
                if not events:
                    self._session_over("the connection was closed")
                    break
                if self._take(events):
                    break
                if self._begin is not None and not self.outcome.began:
                    self.outcome.began = True
                    deadline = await self._begun(self._begin)
                elif self._wrapped is None and not self.outcome.began:
                    # Bare commands print what they print: the first frame is the sign of life.
                    self.outcome.began = True
                    deadline = self._hard_deadline()
                if self._on_batch is not None:
                    before = loop.time()
                    await self._on_batch()
                    if deadline is not None:  # a slow reader takes nothing from the command's time
                        deadline += loop.time() - before
        finally:
            if receiving is not None:
                receiving.cancel()
            if self._feeder is not None:
                self._feeder.cancel()
            self._flush()
        self._judge()
        if self._pipes and not self._interrupts and self._proofs:
            await self._cross_check()
        return self.outcome

    async def interrupt(self) -> None:
        """Send SIGINT to the command; the second time, end the session."""
        self._interrupts += 1
        if self._interrupts > 1:
            await self.end()
        elif self._begin is not None:
            await self._signal("INT")
        elif self._wrapped is None:
            await self._send(b"\x03")

    async def stop(self) -> None:
        """Ask the command to end (SIGTERM), as when its output is not wanted any more."""
        if self._begin is not None:
            await self._signal("TERM")

    async def farewell(self) -> None:
        """Tell the far end that everything has come: it waits for that, for a minute at most.

        The agent lets two seconds pass for what was lost in a cut connection (PROTOCOL 3.5), which
        is too short to send it all again; so the wrapper stays until it hears this.
        """
        if self._begin is not None and self._begin.transport in "rc":
            await self._send(b"\n")

    async def end(self) -> None:
        """End the session, and with it the command."""
        self._ended_by_us = True
        await self._channel.terminate()

    @property
    def interrupted(self) -> bool:
        """Whether the user interrupted."""
        return self._interrupts > 0

    # -- what comes ------------------------------------------------------------------------------

    def _take(self, events: list[Event]) -> bool:
        """Take events; return whether the session is over."""
        for event in events:
            match event:
                case Output(data):
                    self._feed("o", data)
                case StdErr(data):
                    self._feed("e", data)
                case ExitCode(code):
                    self._native_exit = code
                case Closed(text):
                    self._session_over(text.strip(), closed=True)
                    return True
                case Lost(reason):
                    self._session_over(reason)
                    return True
        return False

    def _feed(self, stream: str, data: bytes) -> None:
        if self._wrapped is None:
            self._bare(stream, data)
            return
        for record in self._readers[stream].feed(data):
            self._record(record, stream)

    def _record(self, record: Record, source: str) -> None:
        match record:
            case Begin():
                if self._begin is None:
                    self._begin = record
                    self._streams = {name: Stream(record.mark, record.checksum) for name in _NAMES}
            case StreamData(stream, data) if stream in self._streams:
                self._emit(stream, self._streams[stream].feed(data))
            case Proof(stream) if stream in self._streams:
                self._proofs[stream] = self._streams[stream].proves(record)
            case Credit(count):
                self._credit += count
                self._credit_came.set()
            case PlainExit(code):
                self._plain_exit = code
            case Noise(data):
                if self._begin is not None and self._begin.transport in "nm":
                    self._bare(source, data, cooked=self._begin.transport == "m")
                elif len(self.outcome.noise) < _NOISE_LIMIT:
                    self.outcome.noise += data[: _NOISE_LIMIT - len(self.outcome.noise)]
            case Damage(reason):
                self._damage = self._damage or reason

    def _bare(self, stream: str, data: bytes, *, cooked: bool = True) -> None:
        """Output as the terminal shows it; a cooked one has made CR LF of every LF."""
        if cooked and not self._pipes:
            data = self._bare_tail + data
            self._bare_tail = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(self._bare_tail)].replace(b"\r\n", b"\n")
        self._emit(stream, data)

    def _emit(self, stream: str, data: bytes, *, final: bool = False) -> None:
        name = _NAMES[stream]
        text = self._decoders[name].decode(data, final)
        if not data and not text:
            return
        (self.outcome.stdout if stream == "o" else self.outcome.stderr).write(data)
        if self._on_output is not None:
            self._on_output(OutputEvent(name, data, text))

    def _flush(self) -> None:
        for source, reader in self._readers.items():
            if self._wrapped is not None:
                for record in reader.flush():
                    self._record(record, source)
        tail, self._bare_tail = self._bare_tail, b""
        for name in _NAMES:
            held = self._streams[name].flush() if name in self._streams else b""
            self._emit(name, held + (tail if name == "o" else b""), final=True)

    def _complete(self) -> bool:
        return self._plain_exit is not None or len(self._proofs) == len(_NAMES)

    # -- what is sent ----------------------------------------------------------------------------

    async def _begun(self, begin: Begin) -> float | None:
        """React to the begin record; return until when the command may run."""
        payload = self._wrapped.payload if self._wrapped else b""
        if begin.transport not in ("r", "p") and (payload or self._stdin is not None):
            await self.end()
            what = "stdin" if self._stdin is not None else "so long a command"
            raise MethodUnavailable(
                f"this container cannot take {what}",
                cause="its image lacks stty or dd, without which input would be altered",
                cure="add coreutils to the image, or put the data into a file",
            )
        if payload:
            await self._channel.send(payload)
        if self._stdin is not None:
            self._feeder = asyncio.ensure_future(self._feed_stdin())
        if self._interrupts:
            await self._signal("INT")
        return self._hard_deadline()

    def _hard_deadline(self) -> float | None:
        """When the far end must have held the time limit, with a margin for what is on its way."""
        if self._timeout is None:
            return None
        return asyncio.get_running_loop().time() + self._timeout + KILL_GRACE + 5.0

    async def _feed_stdin(self) -> None:
        async for piece in stdin_source.pieces(self._stdin):
            while self._credit < len(piece):
                self._credit_came.clear()
                await self._credit_came.wait()
            self._credit -= len(piece)
            await self._send(b"I %d\n" % len(piece) + piece)
        await self._send(b"E\n")

    async def _signal(self, name: str) -> None:
        if self._pipes:
            # The agent turns this byte into SIGINT for the process that it started (PROTOCOL 6.12).
            await self._send(b"\x03")
        else:
            await self._send(f"S {name}\n".encode())

    async def _send(self, data: bytes) -> None:
        # A session that has just ended takes nothing more: what was read from it says why.
        with contextlib.suppress(SessionLost):
            await self._channel.send(data)

    # -- how it ended ----------------------------------------------------------------------------

    async def _too_late(self) -> None:
        await self.end()
        if self.outcome.began:
            self.outcome.timed_out = True
            self.outcome.missing = "the session was ended: the command outlived its time limit"
            return
        raise silent_agent(self._start_limit)

    async def _cross_check(self) -> None:
        """Compare with the agent's own exit code, which such a session has (PROTOCOL 5.2)."""
        end = asyncio.get_running_loop().time() + CROSS_CHECK_LIMIT
        while self._native_exit is None:
            left = end - asyncio.get_running_loop().time()
            try:
                events = await wait_for(self._channel.receive(), left)
            except asyncio.TimeoutError:
                return  # a child left behind holds the pipes: there is nothing to compare yet
            if not events or self._take(events):
                break
        native, ours = self._native_exit, self.outcome.exit_code
        # It says -1 for death by a signal, and ends with the wrapper's own where that was killed.
        if native is not None and native not in (ours, -1):
            self.outcome.exact = False
            raise _not_proved(f"its exit code is {ours}, and the agent saw {native}")

    def _session_over(self, words: str, *, closed: bool = False) -> None:
        """Judge the end of the session when the command's end was not seen before."""
        if self._complete() or self._ended_by_us:
            return
        bare = self._wrapped is None
        said = agent_words(words)
        if bare and closed and not said:
            self._plain_exit = -1
            return
        if self._begin is None and said and not len(self.outcome.stdout):
            raise start_failed(said)
        raise SessionLost(
            "the session ended before the command did" + (f": {said}" if said else ""),
            cause="the task or its agent stopped, the session was ended by somebody, or it was "
            "idle for 20 minutes",
            cure="whether the command finished is unknown: check before you run it again",
        )

    def _judge(self) -> None:
        outcome = self.outcome
        if self._wrapped is None:
            outcome.missing = "the image has no shell: the command ran on a bare terminal"
            return
        if self._plain_exit is not None:
            if self._damage:
                raise _not_proved(self._damage)
            outcome.exit_code = self._plain_exit
            outcome.missing = (
                "the image lacks dd, or both base64 and od: the streams came merged from a terminal"
            )
            return
        if not self._complete():
            outcome.missing = outcome.missing or "the session was ended"
            return
        words = self._streams["o"].words
        if words is None and all(self._proofs.values()):
            raise SessionLost(
                "the command's exit code was not seen: it killed the process that waits for it",
                cause="something in the container killed this session's own processes",
                cure="what it printed until then is in .result",
            )
        if words is None or len(words) != 2 or self._streams["e"].words is None:
            raise _not_proved("the command's end mark is missing from its output")
        outcome.exit_code = int(words[0]) if words[0].isdecimal() else None
        outcome.timed_out = words[1] == "1"
        outcome.exact = all(self._proofs.values())
        if outcome.exact:
            return
        assert self._begin is not None
        if self._begin.checksum or self._damage:
            raise _not_proved(self._damage or "checksums differ")
        outcome.missing = "the image has no cksum, sha256sum or md5sum (or no tee) to prove it with"


def _not_proved(reason: str) -> ProtocolError:
    return ProtocolError(
        f"the output that came is not what the command wrote: {reason}",
        cause="something changed or lost bytes between the command and here",
        cure="what came is in .result; run the command again if that is harmless",
    )


def agent_words(text: str) -> str:
    """What channel_closed says, in one line and without its banner (PROTOCOL 6.9)."""
    return " ".join(text.replace("----------ERROR-------", "").split())


def silent_agent(seconds: float) -> AgentNotConnected:
    """The error of a session that opened, and in which nothing came for so many seconds."""
    return AgentNotConnected(
        f"the session opened, but its agent stayed silent for {seconds:g} s",
        cause="the agent hangs, or two sessions of others hold the places of this container",
        cure="wait and try again; if it stays so, replace the task",
    )


def start_failed(said: str) -> EcsExecError:
    """The error for what an agent says that could not start a command."""
    if re.search(r'exec: "sh": executable file not found|fork/exec \S*/sh: no such file', said):
        return NoShell(f"the agent could not start a shell: {said}")
    cures = (
        ("executable file not found", "the program is not in the image", "check its name and PATH"),
        ("no such file or directory", "the program is not in the image", "check its path"),
        (
            "encryption",
            "the cluster demands encrypted logs, and the log group or bucket is not encrypted",
            "encrypt it with KMS, or turn the demand off with ecs update-cluster",
        ),
        (
            "handshake",
            "the agent and this client could not agree on encryption",
            "check kms:GenerateDataKey of the caller and kms:Decrypt of the task role",
        ),
        ("data channel", "the agent cannot reach AWS", "check the task's way to ssmmessages"),
        ("log data", "the image lacks script or cat, which session logs need", "add util-linux"),
    )
    for sign, cause, cure in cures:
        if sign in said:
            return StartFailed(
                f"the agent could not start the command: {said}", cause=cause, cure=cure
            )
    return StartFailed(f"the agent could not start the command: {said}")
