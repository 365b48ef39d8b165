"""``%ecs_shell``: a program of the container, as if it ran here; in a notebook, in its cell.

Knows the line, and what to say when it is over. Never knows termios, widgets or sockets.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display

from ..errors import Interrupted
from .attach import Inbox, join, local_terminal, no_terminal
from .keeping import Kept
from .options import ACCOUNT, TARGET, WHERE, Command, Option
from .runs import Order
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .workspace import Workspace

__all__ = ["EcsTerminal"]

TERMINAL_LINE = Command(
    "%ecs_shell",
    "[--] [COMMAND]",
    "Open a terminal in a container: in the cell, or in IPython's own terminal.",
    (
        TARGET,
        Option(("--shell",), "shell", "the program to start, in place of /bin/sh", "PATH"),
        *WHERE,
        *ACCOUNT,
    ),
    """
    Every key goes to the far end, Ctrl-C, Ctrl-Z and Ctrl-D too, and so does the size of the
    window. The session ends with its program.

    In a notebook the cell is done at once, and the terminal stays in it; Ctrl+Shift+F6 leaves it by
    keyboard, Ctrl+Shift+C copies, Ctrl+V pastes, and its button ends the session. While another
    cell runs, most kernels deliver no keys, and output pauses. In IPython's terminal, to end a
    session that hangs, type ~. at the beginning of a line, that is Enter ~ . as in ssh; ~~ there
    types one ~.

    With COMMAND the program runs it, as in `/bin/sh -c COMMAND`, and the session ends with it; it
    goes there as it stands. What is shown is not kept, only that there was a session, and the exit
    status is not known: ECS Exec does not tell it. To work with what a command says, use %ecs_exec.

    Without -t it is the container that %ecs_target has set. A cell that begins with %%ecs_shell is
    something else: its lines run as a script, in notebooks too.
    """,
)

_display: Any = display  # untyped

_LAST_WORDS = 3.0  # seconds for the session to end before the process does
_DEADLY = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP", "SIGQUIT")]


@magics_class
class EcsTerminal(EcsMagics):
    """Terminals in containers."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace
        self._in_cells: dict[str, tuple[object, list[Any]]] = {}

    @no_var_expand
    @needs_local_scope
    @line_magic
    @TERMINAL_LINE.document
    def ecs_shell(self, line: str, local_ns: Mapping[str, Any] | None = None) -> None:
        space = self._workspace
        parsed = TERMINAL_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(TERMINAL_LINE.help())
            return
        shell, script = parsed["shell"] or "/bin/sh", parsed.rest.strip()
        if space.headless:
            raise no_terminal()
        if space.in_kernel:
            self._in_cell(shell, script, parsed.values)
        else:
            self._here(shell, script, parsed.values)

    def close(self) -> None:
        """Forget the terminals in cells; the workspace ends them."""
        self._in_cells.clear()

    def _in_cell(self, shell: str, script: str, values: Mapping[str, Any]) -> None:
        from .widgets.terminal import Terminal

        # A cell that runs again replaces what it has shown, and nobody can get at that any more.
        space, cell = self._workspace, _cell_id(self.shell)
        moment, there = self._in_cells.get(cell, (None, []))
        if moment != space.moment:
            for old in there:
                old.close()
            there = []
        widget = Terminal(script=script, shell=shell, values=values, workspace=space)
        if cell:
            self._in_cells[cell] = space.moment, [*there, widget]
        _display(widget)

    def _here(self, shell: str, script: str, values: Mapping[str, Any]) -> None:
        space = self._workspace
        local = local_terminal()
        inbox = Inbox(local.wake)
        columns, rows = local.size()
        kept = Kept(space, Order(script or shell, shell, values, {}), kind="terminal")
        remote: Any = None
        failure: BaseException | None = None
        try:
            target = space.resolve(values)
            kept.found(target)
            remote = target.terminal(
                shell,
                script=script or None,
                on_output=inbox.put,
                columns=columns,
                rows=rows,
                on_notice=_say,
            )
            _say(f"{target}; Enter ~ . ends a session that hangs")
            with local:
                end = join(local, remote, inbox, (columns, rows))
        except KeyboardInterrupt:
            failure = Interrupted("no session was opened")
            raise failure from None
        except BaseException as error:
            failure = error
            raise
        finally:
            if remote is not None:
                # Only a process that is about to end has to see to it that AWS has heard of it.
                remote.close(_LAST_WORDS if local.signal in _DEADLY else 0)
                if failure is None and remote.ending is not None:
                    failure = remote.ending.error
            kept.finish(remote, failure, wait=0.0)
        if end == "signal" and local.signal is not None:
            _obey(signal.Signals(local.signal))
        elif end == "escape":
            _say("the session was ended with ~.")
        elif end == "gone":
            _say("the session was ended: the local terminal is gone")
        elif remote.ending is not None and remote.ending.error is not None:
            raise remote.ending.error


def _cell_id(shell: Any) -> str:
    """Of the cell that runs, where the front end tells it: JupyterLab and VS Code do."""
    get_parent = getattr(shell, "get_parent", None)
    parent = get_parent() if get_parent is not None else None
    return str(((parent or {}).get("metadata") or {}).get("cellId") or "")


def _obey(number: signal.Signals) -> None:
    """Do what a signal asks for, now that everything is put away."""
    said = f"the session was ended by {number.name}"
    if number in _DEADLY:
        _say(said)
        signal.raise_signal(number)
    raise Interrupted(said)  # SIGINT, or another that somebody has taught not to end the process


def _say(text: str) -> None:
    # A terminal that is gone takes nothing, and that is no news.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
