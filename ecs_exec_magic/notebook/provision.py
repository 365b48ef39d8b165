"""``%ecs_provision`` and ``%ecs_cleanup``: a plan shown, confirmed, carried out and removed.

Knows who has to be asked, and how far the steps are. Never knows what a step does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..errors import Interrupted, InvalidRequest, ProvisionError
from ..tables import Cell, Column, Row, Table, dot
from .exporting import ExportView, write_export
from .plan_lines import CLEANUP_LINE, EXPORTS, PROVISION_LINE, enabling_options, given_options
from .progress import InPlace
from .settings import CLIENT
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..client import Plan, Step, StepEvent
    from .options import Command, Parsed
    from .workspace import Workspace

__all__ = ["EcsProvision", "StepsShown"]

_COLOURS = {"running": "wait", "failed": "bad", "delete": "bad"}
_PAST = {"create": "made", "update": "changed", "delete": "removed", "keep": "kept"}


@magics_class
class EcsProvision(EcsMagics):
    """Make what exec needs, and remove it."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @PROVISION_LINE.document
    def ecs_provision(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        space = self._workspace
        parsed = PROVISION_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(PROVISION_LINE.help())
            return None
        if not parsed.words:
            return self._form(parsed)
        name = _only(PROVISION_LINE, parsed)
        if parsed["export"]:
            if _is_there(name):
                raise PROVISION_LINE.error("--export writes a plan of a new NAME down")
            return self._export(name, parsed)
        if parsed["to"]:
            raise PROVISION_LINE.error("--to needs --export")
        if not parsed["dry_run"]:
            self._refuse_unattended(parsed, f"make plan {name}")
        client, state = self._client(parsed), parsed["state"]
        if _is_there(name):
            plan = client.enable_exec(name, state=state, **enabling_options(parsed.values))
        else:
            plan = client.plan(name, state=state, **given_options(parsed.values))
        if parsed["dry_run"]:
            return plan
        space.show(plan.show()._repr_mimebundle_())
        new = [step for step in plan.steps if step.action in ("create", "update")]
        refused = any(step.action == "conflict" for step in plan.steps)
        if new and not refused:
            what = f"make these {len(new)}, some of which cost money"
            if _is_there(name):
                what = f"do these {len(new)}, which change what runs"
            self._confirm(parsed, what)
        shown = self._steps_shown(plan.steps)
        plan.apply(shown.event)
        self._made(plan, parsed)
        return None

    @no_var_expand
    @needs_local_scope
    @line_magic
    @CLEANUP_LINE.document
    def ecs_cleanup(self, line: str, local_ns: Mapping[str, Any] | None = None) -> None:
        space = self._workspace
        parsed = CLEANUP_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(CLEANUP_LINE.help())
            return
        name = _only(CLEANUP_LINE, parsed)
        if not parsed["dry_run"]:
            self._refuse_unattended(parsed, f"remove plan {name}")
        client = self._client(parsed)
        make = client.enable_exec if _is_there(name) else client.plan
        plan = make(name, state=parsed["state"], look=False)
        whose = f"exec for {name}" if _is_there(name) else f"plan {name}"
        steps = plan.leftovers()
        if not steps:
            sys.stdout.write(f"there is nothing of {whose}\n")
            return
        verb = "undo" if _is_there(name) else "remove"
        caption = f"{len(steps)} to {verb} of {whose}"
        if parsed["dry_run"]:
            space.show(_steps_table(steps, {}, caption).bundle())
            return
        shown = self._steps_shown(steps, caption)
        shown.begin()
        self._confirm(parsed, f"{verb} these {len(steps)}{'' if verb == 'undo' else ' for good'}")
        try:
            plan.destroy(shown.event, empty_bucket=bool(parsed["yes"]))
        except ProvisionError as error:
            if error.code != "BucketNotEmpty" or parsed["yes"] or error.step is None:
                raise
            bucket = error.step.name
            self._confirm(parsed, f"bucket {bucket} is not empty; delete all objects in it too")
            plan.destroy(shown.event, empty_bucket=True)
        settings = space.settings
        if settings.target.partition(":")[0] == f"{name}/{name}":
            settings.target = ""
        sys.stdout.write(f"nothing of {whose} is left\n")

    # -- parts -----------------------------------------------------------------------------------

    def _client(self, parsed: Parsed) -> Any:
        return self._workspace.client_of(parsed.values)

    def _form(self, parsed: Parsed) -> Any:
        """The form, where there is a front end that shows it."""
        given = [name for name, value in parsed.values.items() if value]
        if given:
            raise PROVISION_LINE.error("a NAME is missing")
        space = self._workspace
        if space.in_kernel and not space.headless:
            from .widgets import ProvisionForm

            return ProvisionForm(space)
        sys.stdout.write(
            "a form needs a notebook; %ecs_provision NAME --dry-run shows a plan, and "
            "%ecs_provision? lists its options\n"
        )
        return None

    def _export(self, name: str, parsed: Parsed) -> ExportView | None:
        """The plan as a template: shown, or written to a file."""
        kind = parsed["export"]
        plan = self._client(parsed).plan(name, look=False, **given_options(parsed.values))
        text: str = getattr(plan, kind)()
        if not parsed["to"]:
            return ExportView(text, EXPORTS[kind])
        write_export(text, parsed["to"], name, replace=bool(parsed["yes"]))
        sys.stdout.write(f"{parsed['to']} has plan {name} for {kind}; nothing was made\n")
        return None

    def _refuse_unattended(self, parsed: Parsed, what: str) -> None:
        """Money and data are at stake: where nobody can be asked, the line itself must say so."""
        if self._workspace.headless and not parsed["yes"]:
            raise InvalidRequest(
                f"nobody is there to confirm: {what}", cure="add --yes, or look with --dry-run"
            )

    def _confirm(self, parsed: Parsed, what: str) -> None:
        if not parsed["yes"] and not self._workspace.agreed(what):
            raise Interrupted(f"not confirmed: {what}")

    def _steps_shown(self, steps: Sequence[Step], caption: str = "") -> StepsShown:
        live = self._workspace.in_kernel and not self._workspace.headless
        return StepsShown(
            steps, InPlace(self._workspace.shell.display_pub) if live else None, caption
        )

    def _made(self, plan: Plan, parsed: Parsed) -> None:
        """Make what now runs the notebook's target, unless the line was for another account."""
        settings = self._workspace.settings
        elsewhere = [
            f"--{name.replace('_', '-')} {parsed[name]}"
            for name in CLIENT
            if parsed.values.get(name) and parsed[name] != getattr(settings, name)
        ]
        if elsewhere:
            sys.stdout.write(
                f"{plan.address} runs; %ecs_target {plan.address} {' '.join(elsewhere)} makes it "
                "this notebook's target\n"
            )
            return
        settings.target = plan.address
        sys.stdout.write(f"{plan.address} runs, and is this notebook's target now\n")


def _is_there(name: str) -> bool:
    """Whether a word is the address of a service: names of plans have no slash and no colon."""
    return "/" in name or name.startswith("arn:")


def _only(line: Command, parsed: Parsed) -> str:
    if len(parsed.words) != 1:
        raise line.error(f"one NAME is expected; there are {len(parsed.words)}")
    return parsed.words[0]


# -- how far the steps are -----------------------------------------------------------------------

_COLUMNS = (
    Column("state"),
    Column("what"),
    Column("name", least=24, mono=True),
    Column("", least=20),
)


class StepsShown:
    """The steps of a plan while they are taken: a table replaced in place, or a line for each.

    Args:
        place: where the table stands; None writes lines.
        caption: of the table.
    """

    def __init__(self, steps: Sequence[Step], place: InPlace | None, caption: str = "") -> None:
        self._steps = {(step.kind, step.name): step for step in steps}
        self._events: dict[tuple[str, str], StepEvent] = {}
        self._place = place
        self._caption = caption

    def begin(self) -> None:
        """Show what is to be done."""
        table = _steps_table(tuple(self._steps.values()), {}, self._caption)
        if self._place is None:
            sys.stdout.write(f"{table.text()}\n")
        else:
            self._place.show(table.text(), table.html())

    def event(self, event: StepEvent) -> None:
        """Show an event; the ``progress`` of a plan."""
        key = (event.step.kind, event.step.name)
        self._steps[key] = event.step
        self._events[key] = event
        if self._place is None:
            self._line(event)
            return
        table = _steps_table(tuple(self._steps.values()), self._events, self._title(event))
        self._place.show(table.text(), table.html())

    def _title(self, event: StepEvent) -> str:
        done = sum(each.state == "done" for each in self._events.values())
        said = f"{done} of {event.total} steps done"
        return f"{self._caption}: {said}" if self._caption else said

    def _line(self, event: StepEvent) -> None:
        step = event.step
        head = f"[{event.index + 1}/{event.total}] {step.kind} {step.name}"
        if event.state == "done":
            sys.stdout.write(f"{head}: {_outcome(step)}\n")
        elif event.state == "failed":
            sys.stdout.write(f"{head}: failed\n")
        elif event.said:
            sys.stdout.write(f"{head}: {event.said}\n")


def _outcome(step: Step) -> str:
    return "running" if step.kind == "exec agent" else _PAST.get(step.action, "done")


def _steps_table(
    steps: Sequence[Step], events: Mapping[tuple[str, str], StepEvent], caption: str
) -> Table:
    rows = []
    for step in steps:
        event = events.get((step.kind, step.name))
        state: str = event.state if event else step.action
        said = event.said if event and event.state == "running" else ""
        colour = _COLOURS.get(state, "none")
        if state == "done":
            state = _outcome(step)
            colour = "none" if step.action == "keep" else "good"
        cells = (Cell(state, dot(colour, state)), Cell(step.kind), Cell(step.name))
        rows.append(Row((*cells, Cell(said or step.why))))
    return Table(caption, _COLUMNS, tuple(rows))
