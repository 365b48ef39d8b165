"""A shell that is kept: one session, and command after command in the same shell.

Knows how a command is handed to the shell at the far end and where its output ends. Never knows
how sessions are started, or the far end's AWS side.

The far end is the wrapper of :mod:`~ecs_exec_magic.remote.command` around ``sh -s``. Each command
is a line of that shell's script, and the line behind it prints the end marks into both streams; the
wrapper's pump proves each stream up to its mark. So a command has the same proof as one that has a
session of its own, and no command is ever sent twice: the channel below repeats what was lost, and
when it cannot, what became of the command is unknown, and is said to be.

The pump waits for a command's end and then shows both streams at once, which takes the fewest
processes; a command that has not ended soon is asked for what it prints meanwhile.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from typing import TYPE_CHECKING, Any

from ..capture import Capture
from ..channel.events import Closed, Event, Lost, Output
from ..errors import EcsExecError, MethodUnavailable, ProtocolError, SessionLost
from ..results import OutputEvent
from .command import START_LIMIT, Channel, Outcome, agent_words, silent_agent, start_failed
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
from .shell_input import ShellInput
from .wrapper import shell_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .wrapper import Wrapped

__all__ = ["GRACE", "Shell"]

GRACE = 3.0
"""Seconds that a command has to end after SIGINT when its time is up, before its shell is ended."""

SOON = 0.03
"""Seconds after which a command is taken for one that takes long, and shown as it goes."""

BETWEEN = 1.0
"""Seconds after a command until what children in the background print is fetched: a pipe holds
64 KiB, and who fills it waits."""

_NOISE_LIMIT = 64 * 1024
_NAMES = {"o": "stdout", "e": "stderr"}


class Shell:
    """A shell at the far end of one channel.

    Args:
        channel: an open connection whose session runs ``wrapped``.
        wrapped: from :func:`~ecs_exec_magic.remote.wrapper.wrap_shell`.
        on_over: called when it turns out to be over while no command runs.
    """

    def __init__(
        self,
        channel: Channel,
        wrapped: Wrapped,
        *,
        start_limit: float = START_LIMIT,
        on_over: Callable[[], object] = lambda: None,
    ) -> None:
        self._channel = channel
        self._reader = RecordReader(wrapped.nonce)
        self._start_limit = start_limit
        self._begin: Begin | None = None
        self._streams: dict[str, Stream] = {}
        self._coming: dict[str, Stream] = {}  # of those that are done, for the next command
        self._proofs: dict[str, bool] = {}
        self._words: dict[str, list[str] | None] = {}
        self._held = dict.fromkeys(_NAMES, b"")
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in _NAMES}
        self._damage = ""
        self._outcome: Outcome | None = None
        self._on_output: Callable[[OutputEvent], object] | None = None
        self._number = 0  # of the commands begun
        self._input = ShellInput(channel)
        self._asking: asyncio.TimerHandle | None = None
        self._asked: asyncio.Task[None] | None = None
        self._status = 0
        self._interrupts = 0
        # One task takes what comes for as long as the session lives, and wakes who waits for it:
        # tasks for each command are what its time would go to.
        self._reading: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._deadline: float | None = None
        self._on_batch: Callable[[], Awaitable[object]] | None = None
        self._held_since: float | None = None  # while a slow reader holds the output back
        self._gone = False  # nothing comes any more
        self._on_over = on_over
        self._over = ""
        self.exit_code: int | None = None

    @property
    def over(self) -> str:
        """Why no more commands can be run, in words; empty while they can."""
        return self._over

    @property
    def interrupted(self) -> bool:
        """Whether the last command was interrupted."""
        return self._interrupts > 0

    def finish(self, why: str) -> None:
        """Nothing is run any more, for this reason."""
        self._over = self._over or why
        if self._asking is not None:
            self._asking.cancel()

    # -- for the caller --------------------------------------------------------------------------

    async def open(self) -> None:
        """Wait until the shell is there.

        Raises:
            NoShell: the image has no shell.
            AgentNotConnected: the agent stays silent.
            MethodUnavailable: the image lacks the tools with which output comes back exactly.
            SessionLost: the session ended.
        """
        self._deadline = asyncio.get_running_loop().time() + self._start_limit
        self._reading = asyncio.ensure_future(self._read())
        while self._begin is None:
            await self._more()
            if self._begin is None and self._late():
                await self.end("its agent stayed silent")
                raise silent_agent(self._start_limit)
        if self._begin.transport != "r" or not self._begin.checksum:
            await self.end("the image lacks tools")
            raise _unavailable()
        outcome = await self._run(shell_line(":"), timeout=self._start_limit)
        if not outcome.exact or outcome.exit_code != 0:
            await self.end("it did not begin as it should")
            raise ProtocolError("the shell at the far end does not answer as a shell does")

    async def run(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_batch: Callable[[], Awaitable[object]] | None = None,
        outcome: Outcome | None = None,
    ) -> Outcome:
        """Run a command in the shell, and return what is known when it has ended.

        Args:
            stdin: anything that :mod:`~ecs_exec_magic.remote.stdin` reads, or None for no input.
            timeout: seconds; then SIGINT, and the end of the shell :data:`GRACE` s later.
            outcome: what grows while it runs; a new one unless given.

        Raises:
            SessionLost: the session ended; whether the command did is not known.
            ProtocolError: what came is not what the far end sent.
        """
        line = shell_line(command)
        if self._status:
            line = f"(exit {self._status}) || {line}"  # for a command that asks for $?
        return await self._run(line, stdin, timeout, max_bytes, on_output, on_batch, outcome)

    async def interrupt(self) -> None:
        """Send SIGINT to what the shell runs; the second time, end the shell."""
        self._interrupts += 1
        if self._interrupts > 1:
            await self.end("it was ended by a second interrupt")
        elif self._outcome is not None:
            await self._send(b"K INT\n")

    async def stop(self) -> None:
        """Ask what the shell runs to end (SIGTERM)."""
        if self._outcome is not None:
            await self._send(b"K TERM\n")

    async def end(self, why: str) -> None:
        """End the session, and the shell with it."""
        self.finish(why)
        await self._channel.terminate()

    def let_go(self) -> None:
        """Take nothing any more: what still comes is for others, and who waits for it is told."""
        if self._reading is not None:
            self._reading.cancel()
        self._failure = self._failure or lost("the shell's session ended", self._over)
        self._wake()

    async def farewell(self) -> None:
        """Tell the far end that everything has come, where the shell has ended."""
        if self.exit_code is not None:
            await self._send(b"\n")

    # -- one command -----------------------------------------------------------------------------

    async def _run(
        self,
        line: str,
        stdin: Any = None,
        timeout: float | None = None,
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_batch: Callable[[], Awaitable[object]] | None = None,
        outcome: Outcome | None = None,
    ) -> Outcome:
        if self._words and self._number:
            self.finish("it was ended while no command ran")
        if self._over:
            raise SessionLost(f"the shell is over: {self._over}", cure="open another")
        outcome = outcome or Outcome(Capture(limit=max_bytes), Capture(limit=max_bytes))
        self._outcome, self._on_output, self._interrupts = outcome, on_output, 0
        self._next_streams()
        streams = self._streams
        loop = asyncio.get_running_loop()
        self._deadline = None if timeout is None else loop.time() + timeout
        self._on_batch = on_batch
        try:
            for name, held in self._held.items():  # what came between two commands
                self._held[name] = b""
                self._emit(name, held)
            self._number += 1
            self._ask_in(SOON, self._number)
            await self._channel.send(f"{'C' if stdin is None else 'N'} {line}\n".encode())
            outcome.began = True
            if stdin is not None:
                self._input.begin(stdin).add_done_callback(lambda _: self._wake())
            while not self._complete():
                await self._more()
                if self._complete():
                    break
                await self._look_at_input()
                if self._late():
                    if outcome.timed_out:
                        outcome.missing = "the shell was ended: the command outlived its time limit"
                        await self.end("a command in it outlived its time limit")
                        return outcome
                    outcome.timed_out = True
                    await self._send(b"K INT\n")
                    self._deadline = loop.time() + GRACE
            self._judge(outcome)
            return outcome
        except SessionLost:
            if self._interrupts > 1:
                outcome.missing = "the shell was ended"
                return outcome
            raise
        except asyncio.CancelledError:
            # Nobody knows any more which output is whose.
            self.finish("a command in it was given up")
            raise
        finally:
            for name in _NAMES:
                self._emit(name, streams[name].flush(), final=True)
            self._outcome = self._on_output = self._on_batch = None
            if self._gone:
                self.finish("its session has ended")
            if not self._over:
                self._ask_in(BETWEEN, self._number + 1)
            await self._input.end()

    def _ask_in(self, seconds: float, number: int) -> None:
        """Have what a command prints shown as it comes, if it has not ended by then."""
        if self._asking is not None:
            self._asking.cancel()

        def ask() -> None:
            self._asked = asyncio.ensure_future(self._send(b"W %d\n" % number))

        self._asking = asyncio.get_running_loop().call_later(seconds, ask)

    def _next_streams(self) -> None:
        assert self._begin is not None
        if self._streams and not self._words:
            return  # they have what came between two commands
        self._streams = {name: self._coming.get(name) or self._new_stream() for name in _NAMES}
        self._coming, self._proofs, self._words = {}, {}, {}

    def _new_stream(self) -> Stream:
        assert self._begin is not None
        return Stream(self._begin.mark, self._begin.checksum)

    def _judge(self, outcome: Outcome) -> None:
        words = self._words.get("o")
        if words is None or len(words) != 2 or self._words.get("e") is None:
            self.finish("its output could not be told apart any more")
            raise _not_proved(self._damage or "the command's end mark is missing")
        outcome.exit_code = int(words[0]) if words[0].isdecimal() else None
        outcome.exact = all(self._proofs.values())
        self._status = outcome.exit_code or 0
        if words[1] != "c":
            self.exit_code = outcome.exit_code
            self.finish(f"it has ended with exit code {outcome.exit_code}")
        self._next_streams()
        if not outcome.exact:
            self.finish("output was damaged on its way")
            raise _not_proved(self._damage or "checksums differ")

    # -- what comes ------------------------------------------------------------------------------

    def _complete(self) -> bool:
        """Whether both streams of the command have come to their ends."""
        return len(self._proofs) == len(_NAMES)

    def _late(self) -> bool:
        """Whether the command's time is up; it stands still while a slow reader holds it back."""
        if self._deadline is None:
            return False
        now = self._held_since
        return (asyncio.get_running_loop().time() if now is None else now) >= self._deadline

    async def _more(self) -> None:
        """Wait until something has come, or it is late."""
        if self._failure is None and not self._gone:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timed = self._deadline is not None and self._held_since is None
            timer = loop.call_at(self._deadline or 0.0, self._wake) if timed else None
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        if self._failure is not None and not self._complete():
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _look_at_input(self) -> None:
        """Fail as the source of the command's input did: what has come of it is not all."""
        feeding = self._input.task
        if feeding is not None and feeding.done() and feeding.exception() is not None:
            await self.end("the input of a command could not be read to its end")
            feeding.result()

    async def _read(self) -> None:
        """Take what comes until the session is over."""
        while self._failure is None and not self._gone:
            try:
                self._take(await self._channel.receive())
                if self._on_batch is not None and not self._complete():
                    await self._hold_back(self._on_batch)
            except Exception as error:  # noqa: BLE001 - of the caller's, too: it is for who waits
                self._failure = error
            if self._outcome is None and self._waiter is None:
                if self._words and self._number:
                    self.finish("it was ended while no command ran")
                if self._gone or self._failure is not None:
                    self.finish("its session has ended")
                if self._over:
                    self._on_over()
            self._wake()

    async def _hold_back(self, until: Callable[[], Awaitable[object]]) -> None:
        """Take nothing more while the output is read slowly, nor from the command's time."""
        loop = asyncio.get_running_loop()
        before = self._held_since = loop.time()
        try:
            await until()
        finally:
            self._held_since = None
            if self._deadline is not None:
                self._deadline += loop.time() - before

    def _take(self, events: list[Event]) -> None:
        if not events:
            self._session_over("the connection was closed")
        for event in events:
            match event:
                case Output(data):
                    for record in self._reader.feed(data):
                        self._record(record)
                case Closed(text):
                    self._session_over(agent_words(text))
                case Lost(reason):
                    self._session_over(reason)

    def _record(self, record: Record) -> None:
        match record:
            case Begin():
                self._begin = record
                self._next_streams()
            case StreamData(stream, data, sums) if stream in self._proofs:
                # A child prints while the other stream is not done yet: the far end counts this
                # to what comes next.
                self._held[stream] += self._coming[stream].feed(data, sums)
            case StreamData(stream, data, sums, last) if stream in self._streams:
                output = self._streams[stream].feed(data, sums)
                if self._outcome is None:
                    self._held[stream] += output
                else:
                    self._emit(stream, output)
                if last:
                    self._done(stream, self._streams[stream].summed)
            case Proof(stream) if stream in self._streams and stream not in self._proofs:
                self._done(stream, self._streams[stream].proves(record))
            case Credit(count):
                self._input.credit(count)
            case Noise(data):
                if self._outcome is not None and len(self._outcome.noise) < _NOISE_LIMIT:
                    self._outcome.noise += data[: _NOISE_LIMIT - len(self._outcome.noise)]
            case Damage(reason):
                self._damage = self._damage or reason
            case PlainExit():
                raise _unavailable()

    def _done(self, stream: str, proved: bool) -> None:
        self._proofs[stream] = proved
        self._words[stream] = self._streams[stream].words
        self._coming[stream] = self._new_stream()
        self._held[stream] += self._coming[stream].take(self._streams[stream].behind)

    def _emit(self, stream: str, data: bytes, *, final: bool = False) -> None:
        text = self._decoders[stream].decode(data, final)
        if final:
            self._decoders[stream].reset()
        if self._outcome is None or not (data or text):
            return
        capture = self._outcome.stdout if stream == "o" else self._outcome.stderr
        capture.write(data)
        if self._on_output is not None:
            self._on_output(OutputEvent(_NAMES[stream], data, text))

    async def _send(self, data: bytes) -> None:
        with contextlib.suppress(SessionLost):  # what was read from the session says why
            await self._channel.send(data)

    def _session_over(self, said: str) -> None:
        self._gone = True
        if self._complete():
            self.finish("its session has ended")
            return
        ours, self._over = self._over, self._over or "its session has ended"
        if self._begin is None and said:
            raise start_failed(said)
        raise lost(f"the shell's session ended{': ' + said if said else ''}", ours)


def lost(message: str, why: str = "") -> EcsExecError:
    """The error of a command whose shell has gone."""
    return SessionLost(
        message,
        cause=why
        or "the task or its agent stopped, the session was ended by somebody, or it was idle for "
        "20 minutes",
        cure="the shell's state is gone, and whether its last command finished is unknown: check "
        "before you run it again",
    )


def _not_proved(reason: str) -> ProtocolError:
    return ProtocolError(
        f"the output that came is not what the command wrote: {reason}",
        cause="something changed or lost bytes between the shell and here",
        cure="what came is in .result; the shell is over",
    )


def _unavailable() -> EcsExecError:
    return MethodUnavailable(
        "no shell can be kept in this container",
        cause="its image lacks stty, dd or od, or a program for checksums",
        cure="add coreutils to the image, or run each command by itself",
    )
