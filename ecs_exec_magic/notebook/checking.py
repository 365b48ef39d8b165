"""``%ecs_check``: everything that commands need, looked at in one go, and put right where asked.

Knows what a line asks for, and who has to be asked. Never knows what a check looks at.
"""

from __future__ import annotations

import html
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..errors import InvalidRequest
from .choice import Choice
from .options import ACCOUNT, WHERE, Command, Option
from .progress import GREY, InPlace
from .provision import StepsShown
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..client import Findings
    from .options import Parsed
    from .workspace import Workspace

__all__ = ["CHECK_LINE", "EcsCheck"]

_HELP = {
    "cluster": "cluster of what is checked; alone: the whole cluster",
    "service": "check this service",
    "task": "check this task (id or ARN)",
    "family": "check tasks of this definition",
    "container": "only containers of this name",
}
_WHAT = tuple(replace(option, help=_HELP[option.dest]) for option in WHERE)

CHECK_LINE = Command(
    "%ecs_check",
    "[TARGET]",
    "Look at everything that commands in a container need, and say what is wrong and what helps.",
    (
        Option(
            ("--agent-log",), "agent_log", "also fetch what the exec agent in the container logged"
        ),
        Option(("--outside",), "outside", "open no session to look into containers"),
        Option(("--json",), "json", "write the findings as JSON"),
        Option(("--fix",), "fix", "put right what can be put right safely; shows it, and asks"),
        Option(("-y", "--yes"), "yes", "with --fix: do not ask"),
        *_WHAT,
        *ACCOUNT,
    ),
    """
    TARGET is [CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN, or the
    name of a cluster. It need not run, nor have exec on. Without one the notebook's target is
    checked, and where none is set the cluster.

    The value is a sequence of findings with .id, .status (ok, warn, fail, unknown), .title,
    .evidence, .cure and .call; .ok, .failed, .worst, .find(ID) and .json() are of all of them. A
    permission that is missing makes one finding unknown.

    --fix adds the policy that the task role lacks, and switches exec on with a new deployment, as
    `client.enable_exec` does. It takes nothing away, and opens no network.
    """,
    takes_words=True,
)


@magics_class
class EcsCheck(EcsMagics):
    """See whether commands can be run, and why not."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @CHECK_LINE.document
    def ecs_check(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Findings | None:
        space = self._workspace
        parsed = CHECK_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(CHECK_LINE.help())
            return None
        if len(parsed.words) > 1:
            raise CHECK_LINE.error(f"one TARGET is enough; there are {len(parsed.words)}")
        if parsed["yes"] and not parsed["fix"]:
            raise CHECK_LINE.error("--yes goes with --fix")
        if parsed["fix"] and space.headless and not parsed["yes"]:
            raise InvalidRequest("nobody is there to confirm a fix", cure="add --yes")
        choice = self._choice(parsed)
        client = space.client_of(parsed.values)
        found = self._checked(client, choice, parsed)
        if parsed["fix"]:
            found = self._fixed(client, choice, parsed, found)
        if parsed["json"]:
            sys.stdout.write(found.json() + "\n")
            return None
        return found

    def _choice(self, parsed: Parsed) -> Choice:
        """What is checked: what the line says, else the notebook's target, else the cluster."""
        space = self._workspace
        values = {**parsed.values, "target": parsed.words[0] if parsed.words else None}
        choice = Choice.from_options(values)
        if choice or choice.cluster:
            return choice
        if space.choice:
            return space.choice.overridden(values)
        return replace(choice, cluster=space.cluster)

    def _checked(self, client: Any, choice: Choice, parsed: Parsed) -> Findings:
        told = _Told(self._workspace)
        try:
            found: Findings = client.check(
                choice.address,
                **choice.words(),
                inside=not parsed["outside"],
                agent_log=parsed["agent_log"],
                progress=told,
            )
        finally:
            told.end()
        return found

    def _fixed(self, client: Any, choice: Choice, parsed: Parsed, found: Findings) -> Findings:
        from ..client import fixable, fixes

        space = self._workspace
        if not fixable(found):
            said = "nothing has failed" if not found.failed else "what has failed is not for --fix"
            sys.stderr.write(f"{said}: each finding says what helps\n")
            return found
        asked = changed = False
        for service, plan in fixes(client, found):
            if not parsed["yes"] and not asked:
                space.show(found._repr_mimebundle_())
                asked = True
            space.show(plan.show()._repr_mimebundle_())
            count = sum(each.action in ("create", "update") for each in plan.steps)
            if not parsed["yes"] and not space.agreed(f"change these {count} in {service}"):
                break
            live = space.in_kernel and not space.headless
            place = InPlace(space.shell.display_pub) if live else None
            plan.apply(StepsShown(plan.steps, place).event)
            changed = True
        return self._checked(client, choice, parsed) if changed else found


class _Told:
    """How far a check is, in one place that goes away; nothing where nobody looks."""

    def __init__(self, space: Workspace) -> None:
        quiet = space.headless or not space.in_kernel or space.settings.progress_after < 0
        self._place = None if quiet else InPlace(space.shell.display_pub)
        self._from = time.monotonic() + space.settings.progress_after
        self._shown = False

    def __call__(self, id_: str, done: int, total: int) -> None:
        if self._place is None or time.monotonic() < self._from or done == total:
            return
        self._shown = True
        said = f"{done} of {total} checks done · {id_}"
        self._place.show(said, f'<span style="{GREY}">● {html.escape(said)}</span>')

    def end(self) -> None:
        """Take it away."""
        if self._place is not None and self._shown:
            self._place.remove()
