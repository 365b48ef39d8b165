"""The provisioning form: fill in, see the plan, apply it, and take it away again.

Knows plans by their interface, and what may be done when. Never knows what a step calls.

Nothing here waits: the account is read, and plans are made, applied and taken away, in threads of
their own. One lock holds whatever these and the front end's messages change.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets

from ...client import region_names
from ...errors import Interrupted
from ..plan_lines import provision_line
from .form_actions import Actions
from .form_editor import FormEditor
from .form_fields import Entries
from .form_preview import Preview, headline
from .form_rows import live, set_value
from .parts import Panel, copy_line, said, workspace_here
from .plan_run import PlanRun, StepStatus
from .plan_view import count_of, error_text, summary
from .work import Worker

if TYPE_CHECKING:
    from ...client import AccountChoices, Step, StepEvent
    from ..workspace import Workspace

__all__ = ["ProvisionForm"]

_BUSY = ("applying", "looking", "cleaning")
_PAUSE = 0.6
"""Seconds without a key until a plan is made."""


class ProvisionForm(Panel):
    """A form over a plan; ``%ecs_provision`` without arguments shows it.

    Args:
        workspace: of the notebook; None: the one whose magics are loaded.
        pause: seconds without a change until a plan is made.

    Attributes:
        phase: ``form``, ``applying``, ``failed``, ``made``, ``looking`` (for what there is to
            delete), ``cleaning``, ``left`` (clean-up has failed) or ``clean``.
    """

    _over = True

    def __init__(self, workspace: Workspace | None = None, *, pause: float = _PAUSE) -> None:
        self._workspace = workspace or workspace_here()
        self._pause = pause
        self._lock = threading.RLock()
        self._changes = threading.Condition(self._lock)
        self._version = 0
        self._over = False
        self.phase = "form"
        self._problems: dict[str, str] = {}
        self._plan: Any = None
        self._error: BaseException | None = None
        self._planned: Entries | None = None
        self._run = PlanRun()
        self._read_for: str | None = None
        self._leftovers: tuple[Step, ...] = ()
        self._outcome: tuple[str, str] = ("", "plain")
        self._reader = Worker("ecs-form-reader")
        self._planner = Worker("ecs-form-planner")
        self._doer = Worker("ecs-form-doer")
        self._build()
        super().__init__(
            (
                ipywidgets.HTML(
                    "<div style='line-height:1.45'><b>From an account to a container to exec into"
                    "</b><div style='opacity:.75;font-size:90%'>A name is enough. Nothing is made "
                    "before Apply.</div></div>"
                ),
                self.editor,
                self.preview,
                self._said,
                self.actions,
                self._line,
            ),
            layout=ipywidgets.Layout(max_width="860px", overflow="visible"),
        )
        self._workspace.keep(self)
        self._read()
        self._changed()

    def _build(self) -> None:
        self.editor = FormEditor(self._lock, self._changed)
        self.preview = Preview(self._workspace.masked)
        self._said = ipywidgets.HTML(layout=ipywidgets.Layout(margin="6px 2px 0"))
        self._line = ipywidgets.HTML()
        self.actions = Actions(
            self._lock,
            apply=self._apply_clicked,
            again=self._again_clicked,
            clean=self._clean_clicked,
            delete=self._delete_confirmed,
        )

    def close(self) -> None:
        """Begin nothing more and change nothing more; what is being made goes on to its end."""
        if self._over:  # a form that was never made is closed by its __del__, too
            return
        with self._lock:
            self._over = True
            self._changes.notify_all()
        for worker in (self._reader, self._planner, self._doer):
            worker.close()
        super().close()

    def settle(self, timeout: float) -> bool:
        """Wait until nothing is read, planned or done; return whether that has come."""
        return all(worker.idle(timeout) for worker in (self._reader, self._planner, self._doer))

    # -- the account -----------------------------------------------------------------------------

    def _client(self, region: str) -> Any:
        # In a thread of its own nothing can run on the notebook's loop.
        values = {"region": region or None, "cluster": None}
        return self._workspace.client(self._workspace.key(values, bridge="thread"))

    def _read(self) -> None:
        region = self.editor.entries().region
        self._read_for = region
        self.editor.note_reading()
        self._reader.ask(partial(self._read_choices, region))

    def _read_choices(self, region: str) -> None:
        choices: AccountChoices | None = None
        why = ""
        names = region_names()
        try:
            choices = self._client(region).unattended().choices()
        except Exception as error:  # noqa: BLE001 - the form shows it
            why = error_text(error, self._workspace.masked)
        with self._lock:
            if self._over or region != self._read_for:
                return
            self.editor.offer_regions(names)
            if choices is None:
                self.editor.unreadable(why)
            else:
                self.editor.fill(choices)
            self.editor.show(self._problems)

    # -- the plan --------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Something was typed or chosen."""
        with self._lock:
            if self._over or self.phase in _BUSY:
                return
            entries = self.editor.entries()
            if entries.region != self._read_for:
                self._read()
            self._problems = entries.problems()
            self.editor.show(self._problems)
            if entries != self._planned:
                self._make_plan(entries)

    def _make_plan(self, entries: Entries, *, pause: bool = True) -> None:
        self._version += 1
        self._changes.notify_all()  # whoever waits for a pause in typing
        self._plan, self._error, self._planned = None, None, entries
        self.phase, self._outcome = "form", ("", "plain")
        self.actions.dismiss()
        if not self._problems:
            wait = self._pause if pause else 0.0
            self._planner.ask(partial(self._plan_after, wait, self._version, entries))
        self._show()

    def _plan_after(self, pause: float, version: int, entries: Entries) -> None:
        with self._changes:
            outdated = self._changes.wait_for(lambda: self._outdated(version), pause)
            if outdated:
                return
        plan, error = None, None
        try:
            plan = self._client(entries.region).plan(entries.name.strip(), **entries.given())
        except (Exception, Interrupted) as caught:  # noqa: BLE001 - the form shows it
            error = caught
        with self._lock:
            if self._outdated(version):
                return
            self._plan, self._error = plan, error
            self._run = PlanRun() if plan is None else PlanRun.of(plan.steps)
            self._show()

    def _outdated(self, version: int) -> bool:
        return self._over or version != self._version

    def _again_clicked(self) -> None:
        if self.phase in _BUSY:
            return
        self._read()
        self._problems = self.editor.entries().problems()
        self._make_plan(self.editor.entries(), pause=False)

    # -- making it -------------------------------------------------------------------------------

    @property
    def _obstacle(self) -> str:
        """Why nothing can be applied now; empty when it can."""
        if self.phase in _BUSY:
            return ""
        if "name" in self._problems and len(self._problems) == 1:
            return "type a name" if not self.editor.entries().name.strip() else "see the name above"
        if self._problems:
            return "see " + ", ".join(self.editor.label(name) for name in self._problems)
        if self.phase in ("made", "clean", "left"):
            return ""
        if self._error is not None and self._plan is None:
            return "there is no plan"
        if self._plan is None:
            return "planning…"
        if any(step.action == "conflict" for step in self._plan.steps):
            return "something is in the way: see the plan"
        return ""

    def _apply_clicked(self) -> None:
        if self.phase not in ("form", "failed") or self._obstacle or self._plan is None:
            return
        assert self._planned is not None
        going_on = self.phase == "failed"
        self.phase, self._outcome, self._error = "applying", ("", "plain"), None
        self.actions.dismiss()
        if not going_on:
            self._run = PlanRun.of(self._plan.steps, "waiting")
        self._doer.ask(partial(self._apply, self._planned, going_on))
        self._show()

    def _apply(self, entries: Entries, going_on: bool) -> None:
        error: BaseException | None = None
        plan = self._plan
        try:
            if going_on:  # what was made by then is there now
                plan = self._client(entries.region).plan(entries.name.strip(), **entries.given())
                self._replanned(plan)
            plan.apply(progress=self._progressed)
        except (Exception, Interrupted) as caught:  # noqa: BLE001 - the form shows it
            error = caught
        with self._lock:
            if error is None:
                self.phase = "made"
                self._aim(plan, entries)
            else:
                self._fail("failed", error)
            self._show()

    def _replanned(self, plan: Any) -> None:
        with self._lock:
            self._plan, self._run = plan, PlanRun.of(plan.steps, "waiting")
            self._show()

    def _aim(self, plan: Any, entries: Entries) -> None:
        """Let the notebook's commands run in what was made, if they look there."""
        settings = self._workspace.settings
        address = plan.address
        if entries.region and entries.region != settings.region:
            line = f"%ecs_target {address} --region {entries.region}"
            self._outcome = (f"{address} runs; {line} makes it this notebook's target.", "good")
            return
        settings.target = address
        self._outcome = (
            f"{address} runs, and is this notebook's target now: try %ecs_exec hostname.",
            "good",
        )

    def _progressed(self, event: StepEvent) -> None:
        with self._lock:
            self._run = self._run.after(event)
            self._show_run()

    def _fail(self, phase: str, error: BaseException) -> None:
        self.phase = phase
        self._run = self._run.ended()
        shown = self._run.failed
        # In its own row, where it is one step's; else here.
        self._error = None if shown is not None and shown.error is not None else error
        found = getattr(error, "steps", ())
        if found:  # what there is now, and not what the plan was made from
            self._run = PlanRun.of(found)
            self._outcome = (f"Nothing was touched: {summary(found)}.", "bad")
            return
        where = f" at {shown.step.kind} {shown.step.name}" if shown is not None else ""
        then = {
            "failed": "Go on takes up where it stopped.",
            "left": "Clean up again takes what is left.",
        }[phase]
        self._outcome = (f"Stopped{where}; {count_of(self._run.done, 'step')} done. {then}", "bad")

    # -- taking it away --------------------------------------------------------------------------

    def _clean_clicked(self) -> None:
        if self.phase in _BUSY or self._plan is None:
            return
        before, self.phase = self.phase, "looking"
        self._doer.ask(partial(self._look, self._plan, before))
        self._show()

    def _look(self, plan: Any, before: str) -> None:
        error: BaseException | None = None
        gone: tuple[Step, ...] = ()
        try:
            gone = plan.leftovers()
        except (Exception, Interrupted) as caught:  # noqa: BLE001 - the form shows it
            error = caught
        with self._lock:
            self.phase, name = before, plan.options.name
            self._leftovers = gone
            if error is not None:
                self._outcome = (error_text(error, self._workspace.masked), "bad")
            elif not gone:
                self._outcome = (f"There is nothing of {name} to delete.", "plain")
            self._show()
            if gone:
                self._ask(name)

    def _ask(self, name: str) -> None:
        if self._over:
            return
        self.actions.ask(
            name,
            [f"{step.kind} {step.name}" for step in self._leftovers],
            has_bucket=any("bucket" in step.kind for step in self._leftovers),
        )

    def _delete_confirmed(self, empty_bucket: bool) -> None:
        if self.phase in _BUSY or self._plan is None:
            return
        self.phase, self._outcome, self._error = "cleaning", ("", "plain"), None
        self._run = PlanRun.of(self._leftovers, "waiting")
        self._doer.ask(partial(self._destroy, self._plan, empty_bucket))
        self._show()

    def _destroy(self, plan: Any, empty_bucket: bool) -> None:
        error: BaseException | None = None
        try:
            plan.destroy(progress=self._progressed, empty_bucket=empty_bucket)
        except (Exception, Interrupted) as caught:  # noqa: BLE001 - the form shows it
            error = caught
        with self._lock:
            if error is None:
                self.phase = "clean"
                self._outcome = (f"All that was made for {plan.options.name} is deleted.", "good")
                settings = self._workspace.settings
                if settings.target == plan.address:
                    settings.target = ""
            elif getattr(error, "code", "") == "BucketNotEmpty":
                self.phase, self._run = "left", self._run.ended()
                self._outcome = (
                    f"{error}. Save what you need, and tick its deletion below.",
                    "bad",
                )
            else:
                self._fail("left", error)
            self._show()
            if getattr(error, "code", "") == "BucketNotEmpty":
                self._ask(plan.options.name)

    # -- showing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        """Bring everything up to date; called with the lock."""
        if self._over:
            return
        busy = self.phase in _BUSY
        self.editor.enable(not busy)
        obstacle = self._obstacle
        ready = not (busy or obstacle or self._plan is None)
        there = self.phase == "left" or any(map(_is_there, self._run.steps))
        self.actions.update(
            {"failed": "Go on", "applying": "Applying…"}.get(self.phase, "Apply"),
            why=obstacle,
            apply=ready and self.phase in ("form", "failed"),
            again=not busy and not self._problems,
            clean=not busy if there and self.phase not in ("cleaning", "clean") else None,
        )
        set_value(self._said, live(said(*self._outcome)))
        self._show_run()
        hidden = self._plan is None or self.phase in ("cleaning", "clean")
        self.preview.show_facts(None if hidden else self._plan)
        line = ""
        if self._plan is not None:
            region = (self._planned or Entries()).region
            again = self._workspace.masked(provision_line(self._plan.options, region))
            line = copy_line(again, "the same as a line")
        set_value(self._line, line)

    def _show_run(self) -> None:
        if not self._over:
            run = PlanRun() if self._problems else self._run
            stale = self._plan is None
            self.preview.show_run(self._headline(), run, self._error, stale=stale)

    def _headline(self) -> str:
        if self._problems:
            return ""
        if self._plan is None:
            return "could not be made" if self._error else "planning…"
        return headline(self.phase, self._run)

    # -- as text ---------------------------------------------------------------------------------

    def text(self) -> str:
        with self._lock:
            entries, plan = self.editor.entries(), self._plan
            masked = self._workspace.masked
            lines = ["Provisioning form: from an account to a container to exec into", ""]
            lines += self.editor.lines(self._problems)
            lines.append("")
            head = self._headline() or self._obstacle
            lines += self.preview.lines(head, self._run, self._error, plan)
            if self._outcome[0]:
                lines.append(self._outcome[0])
            if self._problems:
                line = f"%ecs_provision {entries.name.strip() or 'NAME'}"
            else:
                line = provision_line(entries.options(), entries.region)
            lines += ["", f"{masked(line)} does the same without a form."]
            return "\n".join(lines)


def _is_there(each: StepStatus) -> bool:
    """Whether a resource exists that may be the plan's; of a step that failed it may."""
    found = each.step.action in ("keep", "update", "conflict") and each.step.kind != "network"
    return found or each.state in ("done", "failed")
