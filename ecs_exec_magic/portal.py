"""Bridges from blocking code to coroutines: an own loop thread, or the notebook's own loop.

Knows threads, loops and the interrupt key. Never knows commands or AWS.

The default bridge keeps one event loop in a daemon thread, started at first use, since a magic
runs inside a running loop, where nothing may block on that loop. ``bridge="nest"`` instead runs
coroutines on the caller's own loop with nest_asyncio, for those who must share loop-bound objects
with it; where the original library is known to break, its continuation nest-asyncio2 takes over.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import importlib
import os
import queue
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from .errors import BridgeError, Interrupted, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

__all__ = [
    "Bridge",
    "Gate",
    "NestBridge",
    "Portal",
    "ThreadBridge",
    "awaited",
    "bridge_named",
    "on_loop",
    "portal",
    "wait",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
QUEUED_BYTES = 8 * 1024 * 1024
"""Bytes of output that may wait for the calling thread before the command is held back."""

_BEFORE = "it was interrupted before a command ran"

_TICK = 0.2  # waits for locks cannot be interrupted on Windows: they are cut into pieces


class Followed(Protocol[T_co]):
    """Something that runs while its caller watches, as a command does."""

    def start(
        self, emit: Callable[[Any, int], object], gate: Callable[[], Awaitable[None]]
    ) -> Coroutine[Any, Any, T_co]:
        """Return the coroutine to run; it hands things to show to ``emit`` with their weight."""
        ...

    async def interrupt(self) -> None:
        """The user pressed the interrupt key."""
        ...


class Bridge(Protocol):
    """A way to run coroutines from blocking code."""

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; the interrupt key cancels it."""
        ...

    def follow(self, work: Followed[T], show: Callable[[Any], object]) -> T:
        """Run work to its end, calling ``show`` in the calling thread with what it emits.

        The first and second press of the interrupt key are passed on; the third gives up waiting.
        """
        ...


class Portal:
    """One event loop in a daemon thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._at_exit: list[Callable[[], Coroutine[Any, Any, Any]]] = []
        self._submitted: set[concurrent.futures.Future[Any]] = set()
        self._asked: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Portal {'running' if self._loop else 'idle'}>"

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, started if need be."""
        with self._lock:
            # A forked child has the loop's memory but not its thread.
            if self._loop is None or self._pid != os.getpid():
                if not self._pid:
                    atexit.register(self.stop)
                self._pid = os.getpid()
                self._submitted, self._asked = set(), set()
                self._loop = asyncio.new_event_loop()
                # An empty context: the loop must not keep what the creating cell had in its own.
                self._thread = threading.Thread(
                    target=contextvars.Context().run,
                    args=(_serve, self._loop),
                    name="ecs-exec-magic",
                    daemon=True,
                )
                self._thread.start()
            return self._loop

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop."""
        future = asyncio.run_coroutine_threadsafe(self._run(coroutine), self.loop())
        self._submitted.add(future)
        future.add_done_callback(self._submitted.discard)
        return future

    async def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._asked.add(task)
        try:
            return await coroutine
        finally:
            self._asked.discard(task)

    def at_stop(self, finish: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Have ``finish()`` awaited on the loop before it stops; it should be quick."""
        if finish not in self._at_exit:
            self._at_exit.append(finish)

    @property
    def _busy(self) -> bool:
        # Who waits for a future learns of its end a moment before it is taken out of the set.
        return any(not future.done() for future in list(self._submitted))

    def settle(self, timeout: float = 8.0) -> bool:
        """Wait for what goes on after its work has ended, unless something runs.

        Returns:
            Whether nothing runs; what has not ended after ``timeout`` seconds goes on.
        """
        if self._busy:
            return False
        if self._loop is not None and self._pid == os.getpid():
            with contextlib.suppress(concurrent.futures.TimeoutError):
                self.submit(self._settled()).result(timeout)
        return True

    async def _settled(self) -> None:
        await asyncio.gather(*(finish() for finish in self._at_exit), return_exceptions=True)

    def rest(self) -> bool:
        """Stop the loop and its thread if nothing runs on it; returns whether they are stopped."""
        if self._busy:
            return False
        self.stop()
        return True

    def stop(self, timeout: float = 8.0) -> None:
        """Stop the loop and its thread; the next use starts new ones."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or self._pid != os.getpid() or not thread.is_alive():
            return
        # The last second is for what has still to be cancelled then.
        finishing = asyncio.run_coroutine_threadsafe(self._finish(timeout - 1), loop)
        with contextlib.suppress(Exception):
            finishing.result(timeout)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout)

    async def _finish(self, timeout: float) -> None:
        """Let everything end that runs, and its sessions with it, in so many seconds."""
        from .runner import unsettled

        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        await self._settled()
        # Only what was asked for is cancelled at first: to end its session it has tasks of its own.
        asked = {task for task in self._asked if task.get_loop() is loop}
        await _cancelled(asked, end - loop.time())
        while (ending := unsettled(loop)) and loop.time() < end:
            await asyncio.wait(ending, timeout=end - loop.time())
        await _cancelled(asyncio.all_tasks() - {cast("Any", asyncio.current_task())}, 0.5)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _cancelled(tasks: set[asyncio.Task[Any]], timeout: float | None = None) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)


portal = Portal()
"""The process's own loop, shared by all clients."""


class Gate:
    """Holds a producer on a loop back while too much waits for a consumer in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int = QUEUED_BYTES) -> None:
        self._loop = loop
        self._limit = limit
        self._waiting = 0
        self._lock = threading.Lock()
        self._free = asyncio.Event()

    def put(self, weight: int) -> None:
        """The producer has made something that weighs so many bytes."""
        with self._lock:
            self._waiting += weight

    def taken(self, weight: int) -> None:
        """The consumer has taken it; from any thread."""
        with self._lock:
            self._waiting -= weight
        if weight and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._free.set)

    def open(self) -> None:
        """Let everything pass from now on: nobody takes anything any more."""
        self.taken(1 << 60)

    async def passed(self) -> None:
        """Wait, on the producer's loop, until no more than the limit is waiting."""
        while self._waiting > self._limit:
            self._free.clear()
            if self._waiting > self._limit:
                await self._free.wait()


def wait(future: concurrent.futures.Future[Any], timeout: float | None = None) -> bool:
    """Wait until a future is done, at most ``timeout`` seconds; return whether it is.

    Raises:
        KeyboardInterrupt: the interrupt key was pressed; the future is left alone.
    """
    end = None if timeout is None else time.monotonic() + timeout
    interrupted = threading.Event()
    with interrupt_key(interrupted.set):
        while not future.done() and not interrupted.is_set():
            left = _TICK if end is None else min(_TICK, end - time.monotonic())
            if left <= 0:
                break
            concurrent.futures.wait({future}, left)
    if interrupted.is_set():
        raise KeyboardInterrupt
    return future.done()


class ThreadBridge:
    """Runs everything on the process's own loop; works in and outside of running loops."""

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = portal.submit(coroutine)
        try:
            wait(future)
        except KeyboardInterrupt:
            future.cancel()
            raise Interrupted(_BEFORE) from None
        return future.result()

    def follow(self, work: Followed[T], show: Callable[[Any], object]) -> T:
        # SimpleQueue is the one queue that a signal handler may put into.
        items: queue.SimpleQueue[tuple[str, Any, int]] = queue.SimpleQueue()
        gate = Gate(portal.loop())

        def emit(item: Any, weight: int) -> None:
            gate.put(weight)
            items.put(("item", item, weight))

        presses = 0
        with interrupt_key(lambda: items.put(("interrupt", None, 0))):
            # Only now: a press in between would leave it running with nobody who knows.
            future = portal.submit(work.start(emit, gate.passed))
            future.add_done_callback(lambda _: items.put(("done", None, 0)))
            while True:
                try:
                    kind, item, weight = items.get(timeout=_TICK)
                except queue.Empty:
                    continue
                if kind == "done":
                    return future.result()
                if kind == "interrupt":
                    presses += 1
                    if presses > 2:
                        future.cancel()
                        raise KeyboardInterrupt
                    portal.submit(work.interrupt())
                    continue
                try:
                    show(item)
                except BaseException:
                    portal.submit(work.interrupt())
                    future.cancel()
                    raise
                finally:
                    gate.taken(weight)


class NestBridge:
    """Runs everything on the caller's own loop, made re-entrant by nest_asyncio.

    Raises:
        BridgeError: neither nest_asyncio nor nest-asyncio2 is safe here, with the reason.
    """

    def __init__(self) -> None:
        self._own: asyncio.AbstractEventLoop | None = None
        self._used: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._patch = _nest_library()
        self._prepared()

    def _prepared(self) -> asyncio.AbstractEventLoop:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if self._own is None or self._own.is_closed():
                self._own = asyncio.new_event_loop()
                atexit.register(_close, self._own)
            loop = self._own
        try:
            self._patch(loop)
        except ValueError as error:
            raise BridgeError(
                f'bridge="nest" cannot run on a loop of type {type(loop).__name__}',
                cause=f"nest_asyncio says: {error}",
                cure='use bridge="thread", the default, or an asyncio loop',
            ) from None
        self._finish_others(loop)
        self._used.add(loop)
        return loop

    def _finish_others(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drive loops that stand still with sessions on them, which would keep their places."""
        from .runner import settle, unsettled

        for other in list(self._used):
            idle = other is not loop and not other.is_closed() and not other.is_running()
            if idle and unsettled(other):
                self._patch(other)
                other.run_until_complete(settle())

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        loop = self._prepared()
        task = loop.create_task(coroutine)
        pressed = False

        def press() -> None:
            nonlocal pressed
            pressed = True
            loop.call_soon_threadsafe(task.cancel)

        with interrupt_key(press):
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError:
                if pressed:
                    raise Interrupted(_BEFORE) from None
                raise

    def follow(self, work: Followed[T], show: Callable[[Any], object]) -> T:
        loop = self._prepared()
        presses = 0

        async def passed() -> None:
            return None

        def press() -> None:
            nonlocal presses
            presses += 1
            if presses > 2:
                loop.call_soon_threadsafe(task.cancel)
            else:
                loop.call_soon_threadsafe(lambda: loop.create_task(work.interrupt()))

        with interrupt_key(press):
            task = loop.create_task(work.start(lambda item, _: show(item), passed))
            try:
                return loop.run_until_complete(task)
            except asyncio.CancelledError:
                if presses > 2:
                    raise KeyboardInterrupt from None
                raise


async def awaited(bridge: Bridge, coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine of ours from the caller's loop, whichever that is."""
    future: asyncio.Future[T]
    if isinstance(bridge, NestBridge):
        future = asyncio.ensure_future(coroutine)
    else:
        future = asyncio.wrap_future(portal.submit(coroutine))
    try:
        while True:
            # The kernel's interrupt only schedules something on this loop and does not wake it:
            # without a beat of our own it would pass unnoticed.
            done, _ = await asyncio.wait({future}, timeout=0.2)
            if done:
                return future.result()
    except asyncio.CancelledError:
        future.cancel()
        raise


def on_loop(
    loop: asyncio.AbstractEventLoop, callback: Callable[[Any], object] | None
) -> Callable[[Any], object] | None:
    """What calls ``callback`` on that loop, from any thread."""
    if callback is None:
        return None
    return lambda item: loop.call_soon_threadsafe(callback, item)


def bridge_named(name: str) -> Bridge:
    """Return the bridge of that name, ``thread`` or ``nest``.

    Raises:
        InvalidRequest: there is none of that name.
        BridgeError: it is not safe here.
    """
    if name == "thread":
        return ThreadBridge()
    if name == "nest":
        return NestBridge()
    raise InvalidRequest(f"{name!r} is not a bridge", cure='use bridge="thread" or bridge="nest"')


@contextlib.contextmanager
def interrupt_key(pressed: Callable[[], object]) -> Iterator[None]:
    """Call ``pressed`` in place of raising KeyboardInterrupt anywhere.

    Also needed where a cell awaits: there the kernel has put a handler of its own in place, which
    only schedules something on the loop that is blocked here. Signals belong to the main thread;
    elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is None or before == signal.SIG_IGN:  # set by C code, or not wanted by the user
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: pressed())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed() and not loop.is_running():
        from .runner import settle

        loop.run_until_complete(settle())
        loop.close()


def _nest_library() -> Callable[[asyncio.AbstractEventLoop], None]:
    """Choose the library that makes loops re-entrant without breaking what runs on them."""
    breaks = _original_breaks()
    applied = getattr(asyncio, "_nest_patched", False)
    if applied and not hasattr(asyncio, "_nest_asyncio2"):
        if breaks:
            raise BridgeError(
                'bridge="nest" is not safe here: nest_asyncio has been applied already',
                cause=f"nest_asyncio {breaks}, and nest-asyncio2 cannot heal that afterwards",
                cure='use bridge="thread", the default, or restart the kernel and do not apply it',
            )
        name = "nest_asyncio"
    else:
        name = "nest_asyncio2" if breaks or applied else "nest_asyncio"
    library = importlib.import_module(name)

    def patch(loop: asyncio.AbstractEventLoop) -> None:
        library.apply(loop)

    return patch


def _original_breaks() -> str:
    """How nest_asyncio is known to fail here; empty if it is not."""
    if sys.version_info >= (3, 14):
        return "breaks asyncio.timeout on Python 3.14 and later"
    kernel = sys.modules.get("ipykernel")
    if kernel is not None:
        version = tuple(int(part) for part in kernel.__version__.split(".")[:2])
        if version >= (7, 1):
            return "loses the next queued cell on ipykernel 7.1 and later"
    return ""
