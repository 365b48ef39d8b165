"""``%ecs_target``: which container a notebook's commands run in.

Knows how the default target is set, shown and cleared. Never knows how commands run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..errors import InvalidRequest
from .choice import Choice
from .completion import Completion
from .options import ACCOUNT, WHERE, Command, Option
from .settings import CLIENT
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .workspace import Workspace

__all__ = ["EcsFind"]

TARGET_LINE = Command(
    "%ecs_target",
    "[ADDRESS]",
    "Set, show or clear the container that this notebook's commands run in.",
    (
        *WHERE,
        *ACCOUNT,
        Option(("--check",), "check", "run `true` there, to see that commands work"),
        Option(("--clear",), "clear", "forget the target"),
    ),
    """
    ADDRESS is [CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN. The
    container is looked up at once and stays the same until the target is set again; it is
    returned, so that `t = %ecs_target` gives Python a Target.

    --region, --profile, --endpoint-url, and --cluster without a name hold for all that follows.
    """,
    takes_words=True,
)


@magics_class
class EcsFind(EcsMagics):
    """Find what runs, and choose among it."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace
        self._completion = Completion(shell, workspace)
        self._completion.install()

    def close(self) -> None:
        """Complete no more."""
        self._completion.close()

    @no_var_expand
    @needs_local_scope
    @line_magic
    @TARGET_LINE.document
    def ecs_target(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        space = self._workspace
        parsed = TARGET_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(TARGET_LINE.help())
            return None
        if len(parsed.words) > 1:
            raise TARGET_LINE.error(f"one address is enough; there are {len(parsed.words)}")
        values = {**parsed.values, "target": parsed.words[0] if parsed.words else None}
        asked = Choice.from_options(values)
        settings = {name: parsed[name] for name in CLIENT if parsed[name]}
        if asked:
            settings.pop("cluster", None)  # it belongs to this target only
        if parsed["clear"]:
            if asked or settings or asked.container or parsed["check"]:
                raise TARGET_LINE.error("--clear stands alone")
            space.settings.target = ""
            return None
        if asked.container and not (asked or space.choice):
            raise InvalidRequest(
                "--container alone needs a target that is set",
                cure="name it too, as in %ecs_target prod/web:nginx",
            )
        names_one = bool(asked or asked.container)
        wanted = space.choice.overridden(values) if names_one else space.choice
        key = space.key(settings)
        if wanted and (names_one or settings or parsed["check"]):
            # Looked up before anything is changed: a slip of the pen leaves all as it was.
            target = space.find(wanted, key)
            if note := getattr(target, "note", ""):
                sys.stdout.write(f"{note}\n")
            if parsed["check"]:
                sys.stdout.write(f"{self._check(target)}\n")
            only_address = not any(wanted.words().values())
            space.settings.target = str(wanted) if only_address else target.address
            space.set_choice(wanted, (key, target))
        for name, value in settings.items():
            setattr(space.settings, name, value)
        if wanted:
            return space.resolve({})
        if not settings:
            sys.stdout.write("no target is set; %ecs_target CLUSTER/SERVICE:CONTAINER sets one\n")
        return None

    def _check(self, target: Any) -> str:
        """Run a command that does nothing, and say how that went."""
        settings = self._workspace.settings
        result = target.run("true", check=True, timeout=settings.timeout, method=settings.method)
        said = f"{target.address} runs commands: `true` was back in {result.duration:.2f} s"
        return said if result.exact else f"{said}, but nothing proves its output: {result.missing}"
