"""How far the steps of a plan are, while it is applied or taken away.

Knows steps and events. Never knows widgets, or what a step does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...client import Step, StepEvent
    from ...errors import EcsExecError

__all__ = ["PlanRun", "StepStatus"]


@dataclass(frozen=True, slots=True)
class StepStatus:
    """One step, and what is known of it.

    Attributes:
        state: ``waiting``, ``running``, ``done`` or ``failed``; empty while nothing was begun.
        said: what it waits for.
    """

    step: Step
    state: str = ""
    said: str = ""
    error: EcsExecError | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells steps apart."""
        return self.step.kind, self.step.name


@dataclass(frozen=True)
class PlanRun:
    """The steps of one plan; every event makes a new one.

    Attributes:
        steps: in their order.
    """

    steps: tuple[StepStatus, ...] = ()

    @classmethod
    def of(cls, steps: Iterable[Step], state: str = "") -> PlanRun:
        """Steps that are yet to be taken; what is kept takes none."""
        return cls(
            tuple(StepStatus(step, "" if step.action == "keep" else state) for step in steps)
        )

    def after(self, event: StepEvent) -> PlanRun:
        """What is known when an event has come."""
        new = StepStatus(event.step, event.state, event.said, event.error)
        steps = list(self.steps)
        # By what it is: the events of what is taken away count differently from those of the plan.
        place = next((n for n, each in enumerate(steps) if each.key == new.key), None)
        if place is None:
            steps.append(new)
        else:
            steps[place] = new
        return PlanRun(tuple(steps))

    def ended(self) -> PlanRun:
        """When nothing more comes: what was not done by then does not happen."""
        return PlanRun(
            tuple(
                replace(each, state="", said="") if each.state in ("waiting", "running") else each
                for each in self.steps
            )
        )

    @property
    def done(self) -> int:
        """Steps that were taken."""
        return sum(each.state == "done" for each in self.steps)

    @property
    def wanted(self) -> int:
        """Steps that are to be taken, or were."""
        return sum(each.step.action != "keep" for each in self.steps)

    @property
    def now(self) -> StepStatus | None:
        """The step that runs."""
        return next((each for each in reversed(self.steps) if each.state == "running"), None)

    @property
    def failed(self) -> StepStatus | None:
        """The step that failed."""
        return next((each for each in reversed(self.steps) if each.state == "failed"), None)
