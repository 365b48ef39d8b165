"""``%ecs_shell`` in IPython's terminal: a program of the container, as if it ran here.

Knows the line, and what to say when it is over. Never knows termios or sockets.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

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
    "Open a terminal in a container, from IPython in a terminal.",
    (
        TARGET,
        Option(("--shell",), "shell", "the program to start, in place of /bin/sh", "PATH"),
        *WHERE,
        *ACCOUNT,
    ),
    """
    Every key goes to the far end, Ctrl-C, Ctrl-Z and Ctrl-D too, and so does the size of the
    window. The session ends with its program. To end one that hangs, type ~. at the beginning of a
    line, that is Enter ~ . as in ssh; ~~ there types one ~.

    With COMMAND the program runs it, as in `/bin/sh -c COMMAND`, and the session ends with it; it
    goes there as it stands. What is shown is not kept, only that there was a session, and the exit
    status is not known: ECS Exec does not tell it. To work with what a command says, use %ecs_exec.

    Without -t it is the container that %ecs_target has set. A cell that begins with %%ecs_shell is
    something else: its lines run as a script, in notebooks too.
    """,
)

_LAST_WORDS = 3.0  # seconds for the session to end before the process does
_DEADLY = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP", "SIGQUIT")]


@magics_class
class EcsTerminal(EcsMagics):
    """Terminals in containers."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

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
        if space.in_kernel or space.headless:
            raise no_terminal()
        local = local_terminal()
        inbox = Inbox(local.wake)
        columns, rows = local.size()
        shell, script = parsed["shell"] or "/bin/sh", parsed.rest.strip() or None
        kept = Kept(space, Order(script or shell, shell, parsed.values, {}), kind="terminal")
        remote: Any = None
        failure: BaseException | None = None
        try:
            target = space.resolve(parsed.values)
            kept.found(target)
            remote = target.terminal(
                shell,
                script=script,
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
