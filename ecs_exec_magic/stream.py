"""The output of a running command as an iterator.

Knows the loop thread and how output reaches another one. Never knows how targets are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from typing import TYPE_CHECKING

from .portal import Gate, portal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator
    from types import TracebackType

    from .results import CommandResult, OutputEvent
    from .running import Work

    Gated = Callable[[], Awaitable[None]]

__all__ = ["OutputStream"]


class OutputStream:
    """The output of a running command, piece by piece; made by :meth:`Target.stream`.

    An iterator and a context manager. Closing it ends the command.

    Attributes:
        result: the whole, once the iteration has ended; None before.
    """

    def __init__(
        self,
        make: Callable[[Callable[[OutputEvent], object], Gated], Work[CommandResult]],
        *,
        check: bool,
    ) -> None:
        self.result: CommandResult | None = None
        self._check = check
        self._iterator = self._events(make)

    def __iter__(self) -> Iterator[OutputEvent]:
        return self

    def __next__(self) -> OutputEvent:
        return next(self._iterator)

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the command, if it still runs, and wait until it has."""
        self._iterator.close()

    def _events(
        self,
        make: Callable[[Callable[[OutputEvent], object], Gated], Work[CommandResult]],
    ) -> Generator[OutputEvent, None, None]:
        # Between two events the caller does what it likes: only an own loop can go on meanwhile.
        items: queue.SimpleQueue[OutputEvent | None] = queue.SimpleQueue()
        gate = Gate(portal.loop())

        def put(event: OutputEvent) -> None:
            gate.put(len(event.data))
            items.put(event)

        job = make(put, gate.passed)
        future = portal.submit(job.run())
        future.add_done_callback(lambda _: items.put(None))
        try:
            while True:
                try:
                    event = items.get(timeout=0.2)
                except queue.Empty:
                    continue
                if event is None:
                    break
                gate.taken(len(event.data))
                yield event
            self.result = future.result()
            if self._check:
                self.result.check()
        finally:
            if not future.done():
                gate.open()
                stopping = portal.submit(job.stop())
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    self.result = future.result()
                stopping.cancel()
