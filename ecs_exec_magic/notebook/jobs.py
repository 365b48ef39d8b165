"""Commands in the background: one object for each, and a live view of it in its own cell.

Knows display handles and running commands. Never knows how commands are started.
"""

from __future__ import annotations

import html
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ..cleaning import plain
from ..errors import CommandFailed
from ..files import Amount, CopyResult
from ..results import CommandResult, one_line
from ..views import BAD, GOOD, short_address, size
from .kept import KeptShell
from .ports import ForwardedPort
from .progress import GREY, InPlace, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .keeping import Kept
    from .workspace import Workspace

__all__ = ["BackgroundJob", "Job", "Jobs"]

_EVERY = 1.0
"""Seconds between two updates of a view."""

_TAIL = 5
_TAIL_BYTES = 4000
_KEPT = 50
_MARKS = {
    "running": ("●", "inherit"),
    "done": ("✓", GOOD),
    "failed": ("✗", BAD),
    "cancelled": ("■", "#b26a00"),
    "interrupted": ("■", "#b26a00"),
}


class BackgroundJob:
    """A command that runs while the notebook goes on; what ``--bg`` returns.

    It can be awaited. Shown in a cell, it is a live view of its state and its last lines.

    Attributes:
        number: by which ``%ecs_jobs`` knows it.
        command: what runs.
        where: the container's address.
    """

    def __init__(
        self,
        workspace: Workspace,
        number: int,
        command: str,
        where: str,
        on_end: Callable[[BackgroundJob], object],
    ) -> None:
        self.number = number
        self.command = command
        self.where = where
        self._workspace = workspace
        self._on_end = on_end
        self._running: Any = None
        self._views: list[InPlace] = []
        self._shown_at: object = None
        self._updated = 0.0
        self._over = False
        self._notice = ""
        # Views are made and changed in this thread and in the package's own.
        self._lock = threading.RLock()

    def begin(self, start: Callable[..., Any], *, view: bool = True) -> None:
        """Start it; ``start`` gets hooks for its end, time and notices, and returns what runs."""
        self._running = start(on_done=self._ended, on_tick=self._tick, on_notice=self._noticed)
        if view and self._workspace.in_kernel:
            self._view()
        if self._running.done():  # so soon that nobody knew yet what had ended
            self._ended()

    # -- as a future -----------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``running``, ``done``, ``failed``, ``interrupted`` or ``cancelled``."""
        return str(self._running.state)

    @property
    def elapsed(self) -> float:
        """Seconds since it was started, until its end."""
        return float(self._running.elapsed)

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return bool(self._running.done())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether it has come."""
        done = bool(self._running.wait(timeout))
        if done:  # from this cell, too: headless, nothing else reaches the view
            self._update()
        return done

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the result.

        The interrupt key ends the waiting, not the command.

        Raises:
            TimeoutError: it still runs.
            CommandFailed: its exit code is not 0, unless it was started with --no-raise-error.
        """
        self.wait(timeout)
        return self._running.result(0)

    def exception(self) -> BaseException | None:
        """What went wrong, if it has ended and something did."""
        error: BaseException | None = self._running.exception()
        return error

    def __await__(self) -> Generator[Any, None, Any]:
        result = yield from self._running.__await__()
        self._update()
        return result

    def cancel(self) -> bool:
        """Ask it to end: SIGTERM, and after 3 s the end of its session; False if it had ended."""
        return bool(self._running.cancel())

    def interrupt(self) -> bool:
        """Send SIGINT; the second time, end its session; False if it had ended."""
        return bool(self._running.interrupt())

    def so_far(self) -> Any:
        """The result as far as it has come; whole once it is done."""
        return self._running.so_far()

    def follow(self, show: Callable[[Any], object], on_tick: Callable[[], object]) -> None:
        """Show what comes until it ends; see :meth:`RunningCommand.follow`."""
        self._running.follow(show, on_tick=on_tick)

    def tail(self, n: int = 10, stream: str = "stdout") -> str:
        """The last ``n`` lines that have come."""
        return str(self._running.tail(n, stream))

    # -- as a view -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<job {self.number} {self.state} {seconds(self.elapsed)}: {self.title()}>"

    def title(self, width: int = 60) -> str:
        """The command in one line, masked."""
        return one_line(self._workspace.masked(self.command), width)

    def _ipython_display_(self) -> None:
        if not self._workspace.in_kernel:
            sys.stdout.write(f"{self._shown()[0]}\n")
        elif self._shown_at != self._workspace.moment:
            # Otherwise it is the cell that has started it, and has a view already.
            self._view()

    def _view(self) -> None:
        self._shown_at = self._workspace.moment
        place = InPlace(self._workspace.shell.display_pub)
        with self._lock:
            if not place.captured:
                self._views.append(place)
            self._updated = time.monotonic()
            place.show(*self._shown())

    def _ended(self) -> None:
        with self._lock:
            if self._running is None or self._over:
                return
            self._over = True
        self._on_end(self)
        self._update()

    def _tick(self) -> None:
        if self._running is not None and time.monotonic() - self._updated >= _EVERY:
            self._update()

    def _noticed(self, text: str) -> None:
        self._notice = text

    def _update(self) -> None:
        with self._lock:
            self._updated = time.monotonic()
            shown = self._shown()
            for place in self._views:
                place.show(*shown)

    def facts(self) -> str:
        """State, time, size and outcome in a few words."""
        # Not by done(), which is true only when those who are told of the end know of it.
        ended = self.state != "running"
        so_far, parts = self.so_far(), [self.state, seconds(self.elapsed)]
        if isinstance(so_far, CommandResult):
            count = len(so_far.captured_stdout) + len(so_far.captured_stderr)
            if count:
                parts.append(size(count))
            elif self._notice and not ended:
                parts.append(self._notice)
            if ended and so_far.exit_code is not None:
                parts.append(f"exit code {so_far.exit_code}")
        elif isinstance(so_far, Amount | CopyResult):
            said = [str(so_far), "" if ended else self._notice]
            parts += [self._workspace.masked(text) for text in said if text]
        elif so_far is not None:
            parts.append(f"{len(so_far)} ended")
        error = self.exception()
        if error is not None and not isinstance(error, CommandFailed):
            parts.append(self._workspace.masked(f"{type(error).__name__}: {error}"))
        return " · ".join(parts)

    def _shown(self) -> tuple[str, str]:
        mark, colour = _MARKS[self.state]
        facts, tail = self.facts(), self._tail()
        head = f"{mark} job {self.number}: {self.title()}"
        said = f"{short_address(self.where)} · {facts}"
        text = f"{head}\n  {said}" + "".join(f"\n  │ {line}" for line in tail.splitlines())
        pre = f'<pre style="margin:.2em 0 0 1.4em">{html.escape(tail)}</pre>' if tail else ""
        markup = (
            f'<div><b style="color:{colour}">{mark}</b> job {self.number}: '
            f"<code>{html.escape(self.title())}</code>"
            f'<div style="{GREY};padding-left:1.4em">{html.escape(said)}</div>'
            f"{pre}</div>"
        )
        return text, markup

    def _tail(self) -> str:
        so_far = self.so_far()
        if not isinstance(so_far, CommandResult):
            return ""
        failed = self.state != "running" and not so_far.ok and len(so_far.captured_stderr)
        capture = so_far.captured_stderr if failed else so_far.captured_stdout
        text = capture.last_lines(_TAIL, at_most=_TAIL_BYTES).decode("utf-8", "replace")
        return self._workspace.masked(plain(text))


Job = BackgroundJob | KeptShell | ForwardedPort
"""Whatever has a number."""


class Jobs:
    """The jobs of one notebook, the shells that it keeps and its ports, by number."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._jobs: dict[int, Job] = {}
        self._count = 0

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def add(
        self, command: str, where: str, on_end: Callable[[BackgroundJob], object]
    ) -> BackgroundJob:
        """A new job, which is yet to begin."""
        self._count += 1
        job = BackgroundJob(self._workspace, self._count, command, where, on_end)
        self._forget()
        self._jobs[job.number] = job
        return job

    def shell(self, target: Any) -> tuple[KeptShell, str]:
        """The shell that is kept in a container, and why the one before is gone; begun at need."""
        gone = ""
        for each in self:
            if isinstance(each, KeptShell) and each.ref == target.ref:
                if not each.done():
                    return each, ""
                gone = each.facts()
        self._count += 1
        shell = KeptShell(self._count, target)
        self._forget()
        self._jobs[shell.number] = shell
        return shell, gone

    def port(self, forward: Any, kept: Kept) -> ForwardedPort:
        """Take a forward in; ``kept`` hears of its end."""
        self._count += 1
        port = ForwardedPort(self._count, forward, kept)
        self._forget()
        self._jobs[port.number] = port
        return port

    def _forget(self) -> None:
        ended = [each for each in self if each.done()]
        for old in ended[: max(0, len(self) + 1 - _KEPT)]:
            del self._jobs[old.number]

    def drop(self, job: Job) -> None:
        """Forget a job that did not begin."""
        self._jobs.pop(job.number, None)

    def get(self, number: int) -> Job:
        """The job of that number.

        Raises:
            LookupError: there is none; the text says which there are.
        """
        if number in self._jobs:
            return self._jobs[number]
        there = ", ".join(map(str, self._jobs)) or "none"
        raise LookupError(f"there is no job {number}; there are: {there}")

    def close(self, timeout: float = 5.0) -> None:
        """End what still runs."""
        running = [job for job in self if not job.done()]
        for job in running:
            job.cancel()
        for job in running:
            job.wait(timeout)
        self._jobs.clear()
