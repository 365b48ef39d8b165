"""The plan as it stands below the form's fields: its steps, policies, costs, and errors.

Knows markup and plans by their interface. Never knows fields or buttons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

from ...tables import escaped
from .form_rows import live, set_value
from .plan_view import count_of, error_markup, error_text, facts_markup, steps_table, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from .plan_run import PlanRun

__all__ = ["Preview", "headline"]


class Preview(ipywidgets.VBox):
    """What would be done, or is being done.

    Args:
        masked: takes secrets out of a text.

    Attributes:
        head, table, facts: what stands there, as markup.
    """

    def __init__(self, masked: Callable[[str], str]) -> None:
        self._masked = masked
        self.head = ipywidgets.HTML(layout=ipywidgets.Layout(margin="10px 2px 0"))
        self.table = ipywidgets.HTML()
        self.facts = ipywidgets.HTML()
        super().__init__(
            (self.head, self.table, self.facts), layout=ipywidgets.Layout(overflow="visible")
        )

    def show_run(
        self, head: str, run: PlanRun, error: BaseException | None, *, stale: bool
    ) -> None:
        """Show steps and what went wrong.

        Args:
            head: in a few words; empty for no heading.
            stale: the steps are those of an earlier plan, and stand back.
        """
        markup = f"<b>Plan</b> <span style='opacity:.75'>{escaped(head)}</span>" if head else ""
        set_value(self.head, live(markup))
        table = ""
        if run.steps:
            table = steps_table(run, "", self._masked).html()
            if stale:
                table = f"<div style='opacity:.45' aria-hidden='true'>{table}</div>"
        if error is not None:
            table += error_markup(error, self._masked)
        set_value(self.table, table)

    def show_facts(self, plan: Any) -> None:
        """Show policies and costs; of None: nothing."""
        facts = "" if plan is None else facts_markup(plan.documents, plan.costs, self._masked)
        set_value(self.facts, facts)

    def lines(self, head: str, run: PlanRun, error: BaseException | None, plan: Any) -> list[str]:
        """The same as text."""
        if error is not None:
            return [f"Plan: {error_text(error, self._masked)}"]
        if plan is None:
            return [f"Plan: {head}"]
        table = steps_table(run, f"Plan: {head}", self._masked).text()
        return [table, *(f"Cost: {self._masked(each)}" for each in plan.costs)]


def headline(phase: str, run: PlanRun) -> str:
    """What a plan comes to, or how far it is, in a few words."""
    if phase == "looking":
        return "looking for what there is to delete…"
    if phase in ("applying", "cleaning"):
        now = run.now
        doing = f": {now.step.kind} {now.step.name}" if now else ""
        word = "applying" if phase == "applying" else "cleaning up"
        return f"{word}, {run.done} of {run.wanted or '…'}{doing}"
    if phase in ("failed", "left"):
        return f"stopped after {count_of(run.done, 'step')}"
    if phase in ("made", "clean"):
        return f"all {count_of(run.done, 'step')} done"
    return summary(each.step for each in run.steps)
