"""The steps of a plan, and what is told while they are taken.

Knows names and states. Never knows what a step calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ...errors import EcsExecError

__all__ = ["Action", "Step", "StepEvent", "StepState"]

Action = Literal["create", "keep", "update", "delete", "conflict"]
StepState = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One resource, and what happens to it.

    Attributes:
        kind: as in ``KMS key``, ``cluster``, ``task role``.
        name: of the resource.
        action: ``keep`` for what is there already and as wanted; ``conflict`` for what is there
            with other settings, so that nothing of the plan can be applied.
        why: in a few words.
        difference: with ``update`` and ``conflict``: lines that say what is and what is wanted.
    """

    kind: str
    name: str
    action: Action
    why: str = ""
    difference: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What ``progress`` is called with.

    Attributes:
        index: of the step in what is being done; ``total`` is how many these are.
        said: what it waits for, in AWS's words where there are any; empty for nothing.
        error: with ``failed``.
    """

    step: Step
    state: StepState
    index: int
    total: int
    said: str = ""
    error: EcsExecError | None = None
