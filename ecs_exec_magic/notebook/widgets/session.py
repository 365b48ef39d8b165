"""One session of a terminal widget, in a thread of its own: opened, shown, ended, recorded.

Knows targets and the record of runs. Never knows widgets: it calls back.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError, SessionLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..keeping import Kept

__all__ = ["Place", "Session"]

_BREATH = 0.012
"""Seconds between two messages, so that a far end that talks in crumbs does not flood the page. The
first one after a silence, such as the echo of a key, goes at once."""

_ENDED = "You ended the session."
_CAME_TO_ITS_END = "The program has ended; ECS Exec does not tell with which exit status."


class Place:
    """Where a session runs and what: the same for one session and the next.

    Args:
        resolve: finds the target; called in the session's thread.
        keep: makes the entry in the record of runs, or None.
        shell: the program.
        script: given to it; empty for none.
    """

    def __init__(
        self,
        resolve: Callable[[], Any],
        keep: Callable[[], Kept | None],
        shell: str,
        script: str,
    ) -> None:
        self.resolve = resolve
        self.keep = keep
        self.shell = shell
        self.script = script


class Session:
    """A session; its methods return at once and may be called from any thread.

    Args:
        show: called with output, in the session's thread.
        tell: called with a state and what there is to say, a sentence or an error: ``connecting``
            (once more with each notice), ``open``, and at last ``ended``, ``lost`` or ``failed``.
        found: called with the target.
    """

    def __init__(
        self,
        place: Place,
        show: Callable[[bytes], object],
        tell: Callable[[str, EcsExecError | str | None], object],
        found: Callable[[Any], object],
    ) -> None:
        self._place = place
        self._show = show
        self._tell = tell
        self._found = found
        self._news = threading.Condition()
        self._output: list[bytes] = []
        self._over = False
        self._closed = False
        self._remote: Any = None
        self._size = (80, 24)
        # An empty context: what is printed there must not go to some cell.
        self._thread = threading.Thread(
            target=contextvars.Context().run, args=(self._run,), name="ecs-terminal", daemon=True
        )

    def start(self, columns: int, rows: int) -> None:
        """Begin to open it."""
        self._size = columns, rows
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Type something."""
        if self._remote is not None:
            self._remote.write(data)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal a size."""
        self._size = columns, rows
        if self._remote is not None:
            self._remote.resize(columns, rows)

    def redraw(self) -> None:
        """Make a full-screen program draw its screen anew, by a size that comes and goes."""
        columns, rows = self._size
        self.resize(columns, max(rows - 1, 1))
        self.resize(columns, rows)

    def taken(self, count: int) -> None:
        """So many bytes of output have been shown to somebody."""
        if self._remote is not None:
            self._remote.taken(count)

    def close(self) -> None:
        """End it."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._remote is not None:
            self._remote.close(0)

    def join(self, timeout: float) -> bool:
        """Wait until it has ended and is recorded; return whether it is."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- in its thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        kept = self._place.keep()
        error: EcsExecError | None = None
        try:
            self._tell("connecting", None)
            self._open(kept)
            self._tell("open", None)
            while data := self._next():
                self._show(data)
                time.sleep(_BREATH)
            error = self._remote.wait().error
        except EcsExecError as problem:
            error = problem
        except Exception as problem:
            logging.getLogger(__name__).exception("a terminal failed")
            error = EcsExecError(f"{type(problem).__name__}: {problem}")
        if self._closed:
            error = None
        if kept is not None:
            kept.finish(self._remote, error, wait=0.0)
        if error is not None:
            self._tell("lost" if isinstance(error, SessionLost) else "failed", error)
        else:
            self._tell("ended", _ENDED if self._closed else _CAME_TO_ITS_END)

    def _open(self, kept: Kept | None) -> None:
        target = self._place.resolve()
        if kept is not None:
            kept.found(target)
        self._found(target)
        size = self._size
        target.terminal(
            self._place.shell,
            script=self._place.script or None,
            on_output=self._put,
            columns=size[0],
            rows=size[1],
            on_notice=lambda text: self._tell("connecting", text),
            on_made=self._made,
        )
        if self._size != size:
            self._remote.resize(*self._size)

    def _made(self, remote: Any) -> None:
        with self._news:
            self._remote = remote
            closed = self._closed
        if closed:
            remote.close(0)

    def _put(self, data: bytes) -> None:
        with self._news:
            self._output.append(data)
            self._over = not data
            self._news.notify_all()

    def _next(self) -> bytes:
        """All output that has come; nothing at the end."""
        with self._news:
            self._news.wait_for(lambda: self._output)
            data = b"".join(self._output)
            self._output = [b""] if self._over else []
            return data
