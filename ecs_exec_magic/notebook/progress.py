"""Things a front end shows and replaces in place: progress, folded output, jobs.

Knows display handles. Never knows commands.
"""

from __future__ import annotations

import html
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.display import publish_display_data

from ..cleaning import without_colours
from ..views import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from .display import Fold, Screen

__all__ = ["GREY", "InPlace", "Progress", "seconds", "show_fold"]

GREY = "opacity:.7;font-size:90%"
"""The style of what is said about a run: readable on light and dark pages."""

_publish: Any = publish_display_data  # untyped

_EVERY = 1.0
_WIDTH = 100


class InPlace:
    """One place in a cell's output whose content can be replaced, and taken away.

    Args:
        publisher: the shell's ``display_pub`` of the moment. The place stays with it: while another
            cell captures its output, the shell's is a different one.
    """

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self._id = ""

    @property
    def captured(self) -> bool:
        """Whether what is shown goes into a variable (``%%capture``) and not to a front end."""
        return isinstance(self._publisher, CapturingDisplayPublisher)

    def show(self, text: str, markup: str) -> None:
        """Show something, in place of what was there."""
        update, self._id = bool(self._id), self._id or os.urandom(16).hex()
        self._publisher.publish(
            data={"text/plain": text, "text/html": markup},
            metadata={},
            transient={"display_id": self._id},
            update=update,
        )

    def remove(self) -> None:
        """Leave an empty place: a front end cannot take a single output away."""
        if self._id:
            self.show("", "")


class StatusLine:
    """The last line of a terminal, where what is said about a run stands until output comes.

    Args:
        screen: what writes output to the same terminal.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._there = False
        screen.before_writing = self.remove

    def show(self, text: str, markup: str) -> None:
        """Show something, in place of what was there."""
        if self._screen.at_line_start:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K\x1b[2m{text[:width]}\x1b[0m")
            sys.stderr.flush()
            self._there = True

    def remove(self) -> None:
        """Take it away."""
        if self._there:
            self._there = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class Progress:
    """Says that a command still runs: how long, how much has come, and its last line.

    Args:
        screen: what shows its output.
        place: where it says so.
        after: seconds without a word; negative for ever.
        note: what else there is to say at the moment.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        screen: Screen,
        place: InPlace | StatusLine,
        *,
        after: float,
        note: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = screen
        self._after = after
        self._note = note
        self._clock = clock
        self._began = clock()
        self._next = self._began + after
        self._place = place
        self._shown = False

    def tick(self) -> None:
        """Bring it up to date; called several times a second."""
        if self._after < 0 or self._clock() < self._next:
            return
        self._next = self._clock() + _EVERY
        self._shown = True
        passed = seconds(self._clock() - self._began)
        parts = [f"running {passed}", self._note()]
        if self._screen.received:
            parts.append(f"{size(self._screen.received)} received")
        if self._screen.folding:
            parts.append("what comes now is folded")
        said = " · ".join(filter(None, parts))
        last = without_colours(self._screen.last_line).strip()[:_WIDTH]
        text = f"{said} · {last}" if last else said
        code = f" · <code>{html.escape(last)}</code>" if last else ""
        self._place.show(text, f'<span style="{GREY}">● {html.escape(said)}{code}</span>')

    def end(self, *, success: bool) -> None:
        """Take it away after success; after a failure it says how long that took."""
        if not self._shown:
            return
        if success or isinstance(self._place, StatusLine):
            self._place.remove()
            return
        said = f"ended after {seconds(self._clock() - self._began)}"
        self._place.show(said, f'<span style="{GREY}">{said}</span>')


def show_fold(fold: Fold) -> None:
    """Show that output is folded, with its begin to unfold where the front end can."""
    more = "" if len(fold.text) >= fold.chars else f"\n… the first {len(fold.text):,} characters"
    markup = (
        f'<details><summary style="{GREY};cursor:pointer">… {html.escape(str(fold))}</summary>'
        f'<pre style="margin:0">{html.escape(fold.text)}{more}</pre></details>'
    )
    _publish({"text/plain": f"… {fold} …", "text/html": markup})


def seconds(count: float) -> str:
    """A duration for people, as in ``3.2 s`` or ``2 min 5 s``."""
    if count < 60:
        return f"{count:.1f} s"
    minutes, rest = divmod(round(count), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
