"""Jobs seen from a caller's thread: watched to their end, or left running.

Knows the loop thread and how output reaches another one. Never knows how targets are found.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .errors import CommandFailed, EcsExecError, Interrupted
from .portal import interrupt_key, portal, wait
from .results import CommandResult, OutputEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from .capture import Capture
    from .portal import Bridge

    Emit = Callable[[Any, int], object]
    Gated = Callable[[], Awaitable[None]]

__all__ = ["RunningCommand", "Work", "watch", "watch_command"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_TELLING = 60.0  # seconds that those who are told of an end may take

_PIECE = 64 * 1024

TICK = 0.1
"""Seconds between two calls of ``on_tick``."""


class Work(Protocol[T_co]):
    """Something that runs on an event loop and can be ended: a command, or many."""

    def run(self) -> Coroutine[Any, Any, T_co]:
        """Run to the end."""

    async def interrupt(self) -> None:
        """Send SIGINT; the second time, end it."""

    async def stop(self) -> None:
        """End it, politely at first."""

    @property
    def interrupted(self) -> bool:
        """Whether :meth:`interrupt` was called."""

    def so_far(self) -> Any:
        """What there is by now, from any thread."""


REMIND_AFTER = 1.0
"""Seconds after an interrupt after which what still runs is told of."""

_STILL_RUNS = "SIGINT was sent and it still runs; a second interrupt ends its session"


class _Tick:
    """Nothing has come, but some time has passed."""


_TICKED = _Tick()


def watch(
    bridge: Bridge,
    make: Callable[[Emit, Gated], Work[T]],
    show: Callable[[Any], object],
    on_tick: Callable[[], object] | None = None,
) -> T:
    """Run work to its end and show in this thread what it emits.

    Args:
        make: makes the work, on its loop, from ``emit(item, weight)`` and an awaitable gate.
        show: called with each item; a ``str`` among them is a sentence for people.
        on_tick: called every :data:`TICK` seconds.

    Raises:
        Interrupted: the interrupt key was pressed; ``.result`` holds what came.
    """
    watched = _Watched(make, ticks=on_tick is not None)

    def take(item: Any) -> None:
        if item is not _TICKED:
            show(item)
        elif on_tick is not None:
            on_tick()

    try:
        result = bridge.follow(watched, take)
    except BaseException as error:
        so_far = watched.work.so_far() if watched.work is not None else None
        if type(error) is KeyboardInterrupt:  # pressed until nobody waited any more
            raise Interrupted("it was given up; what runs is ended", so_far) from None
        if getattr(error, "result", None) is None:
            with contextlib.suppress(AttributeError):
                error.result = so_far  # type: ignore[attr-defined]
        raise
    if watched.work is not None and watched.work.interrupted:
        raise Interrupted(f"{result!r}", result)
    return result


def watch_command(
    bridge: Bridge,
    make: Callable[..., Work[CommandResult]],
    on_output: Callable[[OutputEvent], object] | None,
    on_notice: Callable[[str], object] | None,
    on_tick: Callable[[], object] | None,
) -> CommandResult:
    """:func:`watch` a command whose output and sentences are shown by functions of their own.

    Args:
        make: makes the command, on its loop, from ``on_output``, ``on_notice`` and ``on_batch``.
    """

    def made(emit: Emit, gate: Gated) -> Work[CommandResult]:
        return make(
            on_output=(lambda event: emit(event, len(event.data))) if on_output else None,
            on_notice=(lambda text: emit(text, 0)) if on_notice else None,
            on_batch=gate,
        )

    def show(item: OutputEvent | str) -> None:
        if isinstance(item, OutputEvent):
            if on_output is not None:
                on_output(item)
        elif on_notice is not None:
            on_notice(item)

    return watch(bridge, made, show, on_tick)


class _Watched(Generic[T]):
    """Work whose output goes to a bridge."""

    def __init__(
        self,
        make: Callable[[Emit, Gated], Work[T]],
        *,
        ticks: bool,
    ) -> None:
        self._make = make
        self._ticks = ticks
        self._reminder: asyncio.TimerHandle | None = None
        self._emit: Emit | None = None
        self.work: Work[T] | None = None

    async def start(self, emit: Emit, gate: Gated) -> T:
        self._emit = emit
        self.work = self._make(emit, gate)
        ticking = asyncio.ensure_future(_tick(emit)) if self._ticks else None
        try:
            return await self.work.run()
        finally:
            self._emit = None
            for each in (ticking, self._reminder):
                if each is not None:
                    each.cancel()

    async def interrupt(self) -> None:
        if self.work is None:
            return
        if not self.work.interrupted:
            loop = asyncio.get_running_loop()
            self._reminder = loop.call_later(REMIND_AFTER, self._remind)
        await self.work.interrupt()

    def _remind(self) -> None:
        if self._emit is not None:
            self._emit(_STILL_RUNS, 0)


async def _tick(emit: Emit) -> None:
    while True:
        await asyncio.sleep(TICK)
        emit(_TICKED, 0)


class RunningCommand(Generic[T]):
    """A command that runs while the caller does something else; made by :meth:`Target.start`.

    It can be awaited, on any event loop; cancelling the one who awaits leaves it running.

    Attributes:
        started_at: when it was started, with time zone.
    """

    def __init__(
        self,
        work: Work[T],
        *,
        check: bool,
        on_done: Callable[[], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> None:
        self.started_at = datetime.now(timezone.utc)
        self._began = time.monotonic()
        self._ended: float | None = None
        self._work = work
        self._check = check
        self._cancelled = False
        self._on_tick = on_tick
        self._over = threading.Event()
        self._future: concurrent.futures.Future[T] = portal.submit(self._run())
        self._future.add_done_callback(lambda _: self._told(on_done))

    async def _run(self) -> T:
        on_tick = self._on_tick
        ticking = asyncio.ensure_future(_tick(lambda *_: on_tick())) if on_tick else None
        try:
            return await self._work.run()
        finally:
            self._ended = time.monotonic()
            if ticking is not None:
                ticking.cancel()

    def _told(self, on_done: Callable[[], object] | None) -> None:
        # Whoever waits finds what on_done does done.
        try:
            if on_done is not None:
                on_done()
        finally:
            self._over.set()

    def __repr__(self) -> str:
        return f"<RunningCommand {self.state}, {self.elapsed:.1f} s>"

    @property
    def state(self) -> str:
        """``running``, ``done``, ``failed``, ``interrupted`` or ``cancelled``."""
        if not self._future.done():
            return "running"
        if self._cancelled:
            return "cancelled"
        if self._work.interrupted:
            return "interrupted"
        error = self.exception()
        if error is not None or not getattr(self._future.result(), "ok", True):
            return "failed"
        return "done"

    @property
    def elapsed(self) -> float:
        """Seconds since it was started, until its end."""
        return (self._ended or time.monotonic()) - self._began

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._over.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether it has come.

        Raises:
            Interrupted: the interrupt key was pressed; the command runs on.
        """
        try:
            return wait(self._future, timeout) and self._over.wait(_TELLING)
        except KeyboardInterrupt:
            raise Interrupted("the waiting was interrupted; the command runs on") from None

    def exception(self) -> BaseException | None:
        """What went wrong, if it has ended and something did."""
        if not self._future.done():
            return None
        if self._future.cancelled():
            return Interrupted("the event loop ended")
        return self._future.exception()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result.

        The interrupt key ends the waiting, not the command.

        Args:
            timeout: seconds to wait.

        Raises:
            TimeoutError: it still runs.
            Interrupted: it was interrupted; ``.result`` holds what came.
            EcsExecError: as :meth:`Target.run` says.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"it still runs after {self.elapsed:.1f} s")
        return self._outcome()

    def _outcome(self) -> T:
        error = self.exception()
        if error is not None:
            raise error
        result = self._future.result()
        if self._work.interrupted and not self._cancelled:
            raise Interrupted(f"{result!r}", result)
        check = getattr(result, "check", None)
        if self._check and check is not None:
            check()
        return result

    def __await__(self) -> Generator[Any, None, T]:
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        waiting = asyncio.wrap_future(self._future)
        waiting.add_done_callback(lambda each: each.cancelled() or each.exception())
        # In short steps: a kernel's interrupt schedules something on this loop without waking it.
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=0.2)
        if not self.done():
            await asyncio.to_thread(self._over.wait, _TELLING)
        try:
            return self._outcome()
        except Interrupted as error:
            # A KeyboardInterrupt out of a task would stop the loop, and a kernel with it.
            message = f"it was interrupted: {error}"
            if isinstance(error.result, CommandResult):
                raise CommandFailed(message, result=error.result) from None
            raise EcsExecError(message, result=error.result) from None

    def cancel(self) -> bool:
        """Ask it to end: SIGTERM, and after 3 s the end of its session.

        Returns:
            whether it still ran.
        """
        if self._future.done():
            return False
        self._cancelled = True
        portal.submit(self._work.stop())
        return True

    def interrupt(self) -> bool:
        """Send SIGINT, as the interrupt key does; the second time, end its session.

        Returns:
            whether it still ran.
        """
        if self._future.done():
            return False
        portal.submit(self._work.interrupt())
        return True

    def so_far(self) -> T:
        """The result as far as it has come; whole once it is done."""
        if self._future.done():
            error = self.exception()
            result: T | None = self._future.result() if error is None else _result_of(error)
            if result is not None:
                return result
        so_far: T = self._work.so_far()
        return so_far

    def follow(
        self,
        show: Callable[[OutputEvent], object],
        *,
        lines: int = 50,
        on_tick: Callable[[], object] | None = None,
    ) -> None:
        """Show in this thread what comes, until the command ends.

        Args:
            show: called with each piece; the events of this method have no text.
            lines: of each stream to begin with, of those that have come already.
            on_tick: called about ten times a second.

        Raises:
            Interrupted: the interrupt key was pressed; the command runs on.
        """
        seen = {}
        for name, capture in self._captures().items():
            begin = capture.last_lines(lines, at_most=_PIECE)
            seen[name] = len(capture) - len(begin)
        pressed = threading.Event()
        with interrupt_key(pressed.set):
            while not pressed.is_set():
                done, more = self.done(), False
                for name, capture in self._captures().items():
                    data = capture.read(seen[name], _PIECE)
                    seen[name] += len(data)
                    if data:
                        more = True
                        show(OutputEvent(name, data, ""))
                if on_tick is not None:
                    on_tick()
                if not more:
                    if done:
                        return
                    concurrent.futures.wait({self._future}, TICK)
        raise Interrupted("the following was interrupted; the command runs on")

    def _captures(self) -> dict[str, Capture]:
        so_far: Any = self.so_far()
        return {name: getattr(so_far, f"captured_{name}") for name in ("stdout", "stderr")}

    def tail(self, n: int = 10, stream: str = "stdout") -> str:
        """The last ``n`` lines that have come."""
        so_far = self.so_far()
        return so_far.tail(n, stream) if isinstance(so_far, CommandResult) else str(so_far)


def _result_of(error: BaseException) -> Any:
    return getattr(error, "result", None)
