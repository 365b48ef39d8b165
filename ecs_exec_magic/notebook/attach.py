"""A local terminal and a session, joined until one of them ends.

Knows the order in which keys and output go over, and whose end it was. Never knows termios, the
console, or how sessions work.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol

from ..errors import InvalidRequest
from .escape import Escapes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["End", "Inbox", "LocalTerminal", "Remote", "join", "local_terminal"]

MOST_UNSENT = 1024 * 1024
"""Bytes of typed or pasted input that may wait for a far end that takes none. Then keys are left in
the terminal, and with them ``~.``, so it is a lot."""

End = Literal["over", "escape", "signal", "gone"]
"""Who ended it: the session, the user's ``~.``, a signal, or the local terminal by going away."""


class LocalTerminal(Protocol):
    """What is needed of a terminal; as a context manager it is raw."""

    signal: int | None
    gone: bool

    def __enter__(self) -> LocalTerminal: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def size(self) -> tuple[int, int]: ...
    def wake(self) -> None: ...
    def wait(self, *, reading: bool, writing: bool) -> tuple[bool, bool]: ...
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> int: ...


class Remote(Protocol):
    """What is needed of a session."""

    @property
    def unsent(self) -> int: ...
    def write(self, data: bytes) -> None: ...
    def resize(self, columns: int, rows: int) -> None: ...
    def taken(self, count: int) -> None: ...


class Inbox:
    """Output on its way from the session's thread to the screen.

    Args:
        arrived: called when there is some, or when there will be none.
    """

    def __init__(self, arrived: Callable[[], object]) -> None:
        self._arrived = arrived
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._over = False

    def put(self, data: bytes) -> None:
        """Take output of the session; nothing means that it is over."""
        with self._lock:
            if data:
                self._pieces.append(data)
            else:
                self._over = True
        self._arrived()

    def first(self) -> bytes:
        """What is to be written next; nothing when nothing waits."""
        with self._lock:
            return self._pieces[0] if self._pieces else b""

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing will come."""
        with self._lock:
            return self._over and not self._pieces

    def written(self, count: int) -> None:
        """So much of it has been written."""
        with self._lock:
            rest = self._pieces.popleft()[count:]
            if rest:
                self._pieces.appendleft(rest)


def join(local: LocalTerminal, remote: Remote, inbox: Inbox, size: tuple[int, int]) -> End:
    """Pass keys, output and sizes on until there is an end; the terminal is raw already.

    Args:
        size: that the session was opened with.
    """
    escapes = Escapes()
    while not inbox.over:
        data = inbox.first()
        reading, writing = local.wait(reading=remote.unsent < MOST_UNSENT, writing=bool(data))
        if local.signal is not None:
            return "signal"
        if (now := local.size()) != size:
            size = now
            remote.resize(*size)
        if writing:
            count = local.write(data)
            inbox.written(count)
            remote.taken(count)
        # Keys that were typed behind the end belong to whoever reads them next.
        if reading and not inbox.over:
            typed = escapes.feed(local.read())
            remote.write(typed.data)
            if typed.end:
                return "escape"
        if local.gone:
            return "gone"
    return "over"


def local_terminal() -> LocalTerminal:
    """The terminal that this process is used from.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        keys, screen = sys.stdin.fileno(), sys.stdout.fileno()
        there = sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, OSError, ValueError):  # replaced by something that is no file
        there = False
    if not there:
        raise no_terminal()
    if sys.platform == "win32":
        from .console import ConsoleTerminal

        try:
            return ConsoleTerminal()
        except OSError:  # NUL, which also says that it is a terminal
            raise no_terminal() from None
    from .tty import PosixTerminal

    return PosixTerminal(keys, screen)


def no_terminal() -> InvalidRequest:
    """The error where there is no terminal to use."""
    return InvalidRequest(
        "%ecs_shell needs a terminal of its own, and there is none here",
        cause="it passes every key on, which only IPython in a terminal can do",
        cure="write the commands into a cell that begins with %%ecs_shell",
    )
