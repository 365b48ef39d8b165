"""The magics: parse, show, store, raise.

Knows IPython and the names of the Python API. Never knows sockets, frames or AWS calls.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from traitlets import observe

from .choice import Choice
from .expand import expanded
from .options import ACCOUNT, RUN, WHERE, Command, Option, Parsed
from .runs import Order, Runs
from .settings import Settings
from .workspace import EcsMagics, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EcsExec"]

_SHELL = Option(("--shell",), "shell", "the program that runs the script", "PATH")

_RUN_DETAILS = """
    Without -t the command runs in the container that %ecs_target has set. --container alone means
    another container of the same task. Option values may hold {name} of the notebook.

    A non-zero exit code raises CommandFailed; its .result, and -o NAME, hold all of the output.
    NAME is None until the command has ended, however it ends.

    With --bg the notebook goes on at once: the job that is returned has .done(), .result(),
    .cancel() and .tail(), and can be awaited. With --all the command runs in every running
    container that the target means, and the result is a FleetResult.

    With --keep the commands of a container share one shell: what one sets the next one finds, and
    only the first waits for a session. %ecs_jobs lists the shells, and --stop ends one.
"""

EXEC_LINE = Command(
    "%ecs_exec",
    "[--] COMMAND",
    "Run a command in a container and return its CommandResult.",
    (*RUN, *WHERE, *ACCOUNT),
    f"""{_RUN_DETAILS}
    COMMAND begins at the first word that is no option, or behind --. It goes to the shell at the
    far end as it stands: quotes, $name and {{name}} are not touched. IPython itself takes a line
    that ends in `word?` for a question about `word`: write such a command with %%ecs_shell. A `;`
    at the end of the line hides the returned result, as in Python.
    """,
)

SHELL_CELL = Command(
    "%%ecs_shell",
    "",
    "Run the cell as a script in a container and return its CommandResult.",
    (*RUN, _SHELL, *WHERE, *ACCOUNT),
    f"""{_RUN_DETAILS}
    The script goes to the far end as it stands. Its exit code is that of its last command; begin
    it with `set -e` to stop at the first that fails.
    """,
)


_KEEP_ALONE = {
    "all": "a kept shell is that of one container",
    "bg": "a shell runs one command at a time, in this cell",
}


@magics_class
class EcsExec(EcsMagics, Settings):
    """Run commands in Amazon ECS containers."""

    def __init__(self, shell: Any, **settings: Any) -> None:
        self.workspace = Workspace(shell, self)
        self._runs = Runs(self.workspace)
        super().__init__(shell, **settings)
        self.workspace.set_choice(Choice(self.target or None))

    @observe("target")
    def _target_set(self, change: Mapping[str, Any]) -> None:
        self.workspace.set_choice(Choice(change["new"] or None))

    def close(self) -> None:
        """Let go of clients and targets; the magics stay usable."""
        self.workspace.close()

    # -- magics ----------------------------------------------------------------------------------

    @no_var_expand
    @needs_local_scope
    @line_magic
    @EXEC_LINE.document
    def ecs_exec(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        parsed = EXEC_LINE.parse(line, self.workspace.expander(local_ns))
        if parsed.help:
            sys.stdout.write(EXEC_LINE.help())
            return None
        command = parsed.rest
        if not command.strip():
            raise EXEC_LINE.error("no command is given; %ecs_exec? explains")
        result = self._run(EXEC_LINE, parsed, local_ns, command)
        # IPython's own output_can_be_silenced reads the line as Python when the command is done:
        # an open bracket loses the result, and `find -exec ... \;` counts as silenced.
        silenced = command.rstrip().endswith(";") and not command.rstrip().endswith("\\;")
        return None if silenced else result

    @no_var_expand
    @needs_local_scope
    @cell_magic
    @SHELL_CELL.document
    def ecs_shell(self, line: str, cell: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        parsed = SHELL_CELL.parse(line, self.workspace.expander(local_ns))
        if parsed.help:
            sys.stdout.write(SHELL_CELL.help())
            return None
        if parsed.rest.strip():
            raise SHELL_CELL.error(f"the script begins below this line, not with {parsed.rest!r}")
        if not cell.strip():
            raise SHELL_CELL.error("the cell is empty")
        shell = parsed["shell"] or "/bin/sh"
        return self._run(SHELL_CELL, parsed, local_ns, cell, shell)

    # -- running ---------------------------------------------------------------------------------

    def _run(
        self,
        line: Command,
        parsed: Parsed,
        local_ns: Mapping[str, Any] | None,
        command: str,
        shell: str | None = None,
    ) -> Any:
        names = {kind: parsed[kind] for kind in ("out", "stdout", "stderr") if parsed[kind]}
        if len(set(names.values())) < len(names):
            raise line.error("one variable cannot hold two things: -o, --stdout, --stderr differ")
        many = ("max_parallel", "tag", "retry", "max_failures", "fail_fast", "executor", "yes")
        for dest in many:
            if parsed[dest] and not parsed["all"]:
                raise line.error(f"--{dest.replace('_', '-')} goes with --all")
        if parsed["idempotent"] and not (parsed["retry"] or parsed["executor"]):
            raise line.error("--idempotent says what --retry may do; it goes with it")
        if parsed["keep"]:
            for dest in ("all", "bg", "stdin"):
                if parsed[dest]:
                    raise line.error(f"--keep does not go with --{dest}: {_KEEP_ALONE[dest]}")
            if parsed.values.get("shell"):
                raise line.error("--keep does not go with --shell: the kept shell is sh")
        stdin = self._stdin(line, parsed["stdin"], local_ns)
        if parsed["expand"]:
            try:
                command = expanded(command, self.workspace.names(local_ns), shell)
            except ValueError as error:
                raise line.error(f"--expand: {error}") from None
        order = Order(
            command,
            shell,
            parsed.values,
            names,
            stdin=stdin,
            executor=self._variable(line, "executor", parsed["executor"], local_ns),
            timeout=parsed["timeout"],
            raises=self.raise_on_error and not parsed["no_raise"],
            quiet=parsed["quiet"],
        )
        return self._runs.start(order) if parsed["bg"] else self._runs.run(order)

    def _stdin(self, line: Command, name: str | None, local_ns: Mapping[str, Any] | None) -> Any:
        value = self._variable(line, "stdin", name, local_ns)
        if name is None:
            return None
        if isinstance(value, os.PathLike) or hasattr(value, "read") or hasattr(value, "__iter__"):
            return value
        kind = type(value).__name__
        raise line.error(f"--stdin: {name} is {kind}, not str, bytes, a path, a file or iterable")

    def _variable(
        self, line: Command, dest: str, name: str | None, local_ns: Mapping[str, Any] | None
    ) -> Any:
        """What the variable holds that an option names; None where it names none."""
        if name is None:
            return None
        for namespace in (local_ns or {}, self.workspace.variables):
            if name in namespace:
                return namespace[name]
        raise line.error(f"--{dest}: there is no variable {name!r}")
