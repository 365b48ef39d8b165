"""A copy in a thread of its own: started, told of, and ended before its end.

Knows one blocking copy and when it is not wanted any more. Never knows event loops or sessions.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import CopyFailed
from ..views import size

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Amount", "Behind"]

T = TypeVar("T")

_BAR = 20


class Amount:
    """How much of a copy has been done; told by one thread and read by others."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    def told(self, done: int, total: int | None) -> None:
        """Take how many bytes it is now, and of how many; None where nobody knows."""
        self.done, self.total = done, total

    def __str__(self) -> str:
        if not self.done:
            return ""
        if not self.total:
            return size(self.done)
        part = min(1.0, self.done / self.total)
        return f"{'█' * round(part * _BAR):░<{_BAR}} {part:.0%} of {size(self.total)}"


class Behind(Generic[T]):
    """One copy, from :meth:`start` to the one call of ``on_end``.

    Args:
        copy: does it, and blocks; takes ``on_progress`` and ``on_tick``, and ends with whatever the
            latter raises.
    """

    def __init__(self, copy: Callable[..., T]) -> None:
        self.amount = Amount()
        self._copy = copy
        self._unwanted = threading.Event()
        self._is_over = threading.Event()

    def start(self, on_end: Callable[[T | None, BaseException | None], object]) -> None:
        """Begin; ``on_end`` is called in the thread with the result, or with the error."""

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = self._copy(on_progress=self.amount.told, on_tick=self._tick)
            except BaseException as raised:  # noqa: BLE001 - handed to the one who waits
                error = raised
            self._is_over.set()
            on_end(result, error)

        # A daemon: at the end of the process nobody waits for it.
        threading.Thread(target=work, name="ecs-exec-copy", daemon=True).start()

    def end(self) -> None:
        """Ask it to end; what was at the destination stays as it was."""
        self._unwanted.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, in seconds; return whether it has come."""
        return self._is_over.wait(timeout)

    def _tick(self, *_: Any) -> None:
        if self._unwanted.is_set():
            raise CopyFailed(
                "the copy was ended",
                cause="it was asked to end before all was there",
                cure="what was at the destination is as it was; start it again if it is wanted",
            )
