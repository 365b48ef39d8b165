"""An account that plans, applies and cleans up as the real planner says it does, without AWS."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ecs_exec_magic.client import AccountChoices, PlanOptions, Step, StepEvent, Subnet, Vpc
from ecs_exec_magic.errors import EcsExecError, InvalidRequest, ProvisionError


def choices(region: str = "eu-west-1") -> AccountChoices:
    own = (
        Subnet("subnet-1", f"{region}a", "one", "10.0.0.0/24", True),
        Subnet("subnet-2", f"{region}b", "", "10.0.1.0/24", True),
        Subnet("subnet-3", f"{region}a", "inner", "10.0.2.0/24"),
    )
    other = (Subnet("subnet-9", f"{region}c", "", "10.1.0.0/24", True),)
    return AccountChoices(
        region,
        vpcs=(
            Vpc("vpc-1", "", "10.0.0.0/16", True, own),
            Vpc("vpc-2", "other", "10.1.0.0/16", False, other),
        ),
        clusters=("prod",),
        log_groups=("/aws/ecs/prod",),
        buckets=("a-bucket", "b-bucket"),
        keys=("alias/one",),
        roles=("a-role",),
    )


@dataclass
class PlannedAccount:
    """What there is, what goes wrong, and what was asked.

    Attributes:
        there: (kind, name) of what exists.
        conflicts: kinds that exist with other settings.
        fails: kinds whose step fails once, with the error.
        objects: whether the bucket has some.
        gate: plans wait for it.
        step_gate: every step waits for it.
        reading_gate: reading what there is waits for it.
    """

    choices: AccountChoices = field(default_factory=choices)
    there: list[tuple[str, str]] = field(default_factory=list)
    conflicts: set[str] = field(default_factory=set)
    fails: dict[str, EcsExecError] = field(default_factory=dict)
    objects: bool = False
    gate: threading.Event | None = None
    step_gate: threading.Event | None = None
    reading_gate: threading.Event | None = None
    unreadable: EcsExecError | None = None
    unplannable: EcsExecError | None = None
    unseen: EcsExecError | None = None
    unready: EcsExecError | None = None
    asked: list[tuple[str | None, str, dict[str, Any]]] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    applied: int = 0
    read: list[str | None] = field(default_factory=list)

    def plan(self, region: str | None, name: str, options: dict[str, Any]) -> FakePlan:
        self.asked.append((region, name, options))
        self.began.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.unplannable is not None:
            raise self.unplannable
        made = PlanOptions(name, **options)
        if made.problems():
            raise InvalidRequest(f"{made.problems()}")
        return FakePlan(self, made)


class FakePlan:
    def __init__(self, account: PlannedAccount, options: PlanOptions) -> None:
        self._account = account
        self.options = options
        wanted = [("log group", options.log_group or f"/aws/ecs/{options.name}")]
        if options.bucket:
            wanted.append(("S3 bucket", options.bucket))
        wanted += [("task role", f"{options.name}-task"), ("cluster", options.name)]
        wanted.append(("service", options.name))
        self.steps = tuple(self._step(*each) for each in wanted)
        self.documents = {
            f"inline policy of {options.name}-task": {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "ssmmessages:*", "Resource": "*"}],
            }
        }
        self.costs = (f"{options.count} Fargate task with {options.cpu / 1024:g} vCPU",)

    def _step(self, kind: str, name: str) -> Step:
        if kind in self._account.conflicts:
            return Step(kind, name, "conflict", "made by somebody else", ("logging: NONE, not X",))
        if (kind, name) in self._account.there:
            return Step(kind, name, "keep", "as wanted")
        return Step(kind, name, "create", f"a {kind} for exec")

    def apply(self, progress: Any = None) -> None:
        self._account.applied += 1
        error, self._account.unready = self._account.unready, None
        if error is not None:  # before any step
            raise error
        now = FakePlan(self._account, self.options).steps
        if any(step.action == "conflict" for step in now):
            raise ProvisionError(
                "nothing was touched: cluster web cannot be used",
                cure="choose another name",
                steps=now,
            )
        self._take(self.steps, progress)

    @property
    def address(self) -> str:
        return f"{self.options.name}/{self.options.name}:{self.options.container}"

    def leftovers(self) -> tuple[Step, ...]:
        if self._account.unseen is not None:
            raise self._account.unseen
        return tuple(
            Step(step.kind, step.name, "delete")
            for step in reversed(self.steps)
            if (step.kind, step.name) in self._account.there
        )

    def destroy(self, progress: Any = None, empty_bucket: bool = False) -> None:
        gone = self.leftovers()
        if self._account.objects and not empty_bucket:
            error = ProvisionError("nothing was removed: the bucket has objects")
            error.code = "BucketNotEmpty"
            raise error
        self._take(gone, progress)

    def _take(self, steps: Any, progress: Any) -> None:
        for index, step in enumerate(steps):
            tell = partial(_tell, progress, step, index, len(steps))
            tell("running", said="PROVISIONING password=hunter2hunter2")
            if self._account.step_gate is not None:
                assert self._account.step_gate.wait(30)
            error = self._account.fails.pop(step.kind, None)
            if error is not None:
                tell("failed", error=error)
                raise error
            key = (step.kind, step.name)
            if step.action == "delete":
                self._account.there.remove(key)
            elif step.action == "create":
                self._account.there.append(key)
            tell("done")


def _tell(
    progress: Any, step: Step, index: int, total: int, state: Any, said: str = "", error: Any = None
) -> None:
    if progress is not None:
        progress(StepEvent(step, state, index, total, said, error))


class PlanningClient:
    """A client that knows only accounts and plans."""

    def __init__(self, account: PlannedAccount, settings: dict[str, Any]) -> None:
        self._account = account
        self.settings = settings

    def unattended(self) -> PlanningClient:
        return self

    def close(self) -> None:
        pass

    def choices(self) -> AccountChoices:
        region = self.settings["region"]
        self._account.read.append(region)
        if self._account.reading_gate is not None:
            assert self._account.reading_gate.wait(30)
        if self._account.unreadable is not None:
            raise self._account.unreadable
        return choices(region) if region else self._account.choices

    def plan(self, name: str, **options: Any) -> FakePlan:
        return self._account.plan(self.settings["region"], name, options)
