"""``%ecs_pick``: choose what the notebook's commands run in.

Knows the line, and who can choose at all. Never knows how the picker works.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..address import combine, parse_address, parse_scope
from ..errors import InvalidRequest
from .listing import Tasks
from .options import Command, Option
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .workspace import Workspace

__all__ = ["EcsPick"]


def _address(text: str) -> str:
    try:
        parse_address(text)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
    return text


PICK_LINE = Command(
    "%ecs_pick",
    "[CLUSTER[/SERVICE]]",
    "Choose the container that this notebook's commands run in, from a list.",
    (
        Option(("--default",), "default", "the target if none is set yet", "ADDRESS", _address),
        Option(("--no-run",), "no_run", "leave out the field for commands"),
    ),
    """
    What is chosen is the target at once, as if %ecs_target had set it; the cell does not wait.
    Ctrl or Shift with a click choose several, and %ecs_exec --all runs a command in each of them.
    The field for commands runs one right there, and shows the line that does the same.

    Run All does not wait for a click: with --default the cells below have a target in any case.
    Where nobody can click, as under papermill, the list is shown as text, and without a target or
    --default the line fails.
    """,
    takes_words=True,
)


@magics_class
class EcsPick(EcsMagics):
    """Pick from a list."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace
        self._last: weakref.ref[Any] | None = None

    @no_var_expand
    @needs_local_scope
    @line_magic
    @PICK_LINE.document
    def ecs_pick(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        space = self._workspace
        parsed = PICK_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(PICK_LINE.help())
            return None
        if len(parsed.words) > 1:
            raise PICK_LINE.error(f"one CLUSTER/SERVICE is enough; there are {len(parsed.words)}")
        scope = combine(parse_scope(parsed.words[0]) if parsed.words else None, nameless=True)
        if parsed["default"] and not (space.choice or space.picked):
            space.settings.target = parsed["default"]
        cluster, service = scope.cluster or "", scope.name or ""
        if space.in_kernel and not space.headless:
            from .widgets import TaskPicker

            last = self._last() if self._last is not None else None
            if last is not None:
                last.rest()  # one that lists the tasks again and again is enough
            picker = TaskPicker(space, cluster=cluster, service=service, run=not parsed["no_run"])
            self._last = weakref.ref(picker)
            return picker
        self._write(cluster, service)
        if not (space.choice or space.picked):
            raise InvalidRequest(
                "no target is set, and nobody can choose one here",
                cure="give %ecs_pick --default CLUSTER/SERVICE:CONTAINER, or use %ecs_target",
            )
        return None

    def _write(self, cluster: str, service: str) -> None:
        """The list as text, and the target."""
        space = self._workspace
        place = cluster or space.cluster or "default"
        scope = f"{place}/{service}" if service else place
        tasks = space.client(space.key({"cluster": None})).tasks(scope, tags=True)
        sys.stdout.write(f"{Tasks(tasks, scope).table().text()}\n")
        if space.choice:
            sys.stdout.write(f"target: {space.choice}\n")
