"""Plans: from an account to a running service that commands can be run in, and back.

Knows how to say in blocking calls what :mod:`.aws.plan` does, and who is told of it. Never knows
notebooks.

::

    plan = ecs.connect().plan("demo", kms_key="new", bucket="demo-sessions-4711")
    plan.show()
    plan.apply()
    ...
    plan.destroy(empty_bucket=True)
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .aws.plan import PlanOptions, Step, StepEvent
from .aws.plan.building import apply, looked_at, site_of
from .aws.plan.documents import costs_of, documents_of
from .aws.plan.removal import destroy, made
from .aws.plan.state import State
from .carrying import Carried
from .errors import InvalidRequest
from .plan_views import PlanView

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from .aws.api import AwsApi
    from .aws.plan.building import Tell
    from .aws.plan.export_draft import Draft
    from .aws.plan.part import Pause
    from .portal import Bridge

__all__ = ["Plan", "PlanOptions", "Step", "StepEvent"]

Progress = "Callable[[StepEvent], object]"


class Plan(Carried):
    """All of AWS's walkthrough of ECS Exec under one name; made by ``client.plan(NAME)``.

    Attributes:
        options: what was asked for.
        steps: what had to happen, in order, when the plan was made or last refreshed.
        documents: the policies by title, as in ``task role``; what is not made yet stands in
            brackets.
    """

    def __init__(
        self,
        api: AwsApi,
        bridge: Bridge,
        options: PlanOptions,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        if problems := options.problems():
            name, problem = next(iter(problems.items()))
            others = f"; also wrong: {', '.join(list(problems)[1:])}" if len(problems) > 1 else ""
            raise InvalidRequest(
                f"{name}={getattr(options, name)!r} is not possible",
                cause=problem + others,
                cure="nothing was called; PlanOptions(...).problems() lists all that is wrong",
            )
        super().__init__(api, bridge, state)
        self.options = options
        if state is not None:
            self._state()  # refuses a file that is not its own
        self.steps: tuple[Step, ...] = ()
        self.documents: Mapping[str, Mapping[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Plan {self.options.name!r} on {self._api!r}>"

    # -- what it says ----------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where commands can be run once it is applied: ``NAME/NAME:CONTAINER``."""
        return f"{self.options.name}/{self.options.name}:{self.options.container}"

    @property
    def costs(self) -> tuple[str, ...]:
        """What of it costs money, a sentence each."""
        return costs_of(self.options)

    def refresh(self) -> Plan:
        """Look again at what there is; returns the plan.

        Raises:
            ProvisionError: something may not be looked at.
        """

        async def look() -> None:
            site = await site_of(self._api, self.options)
            self.steps = tuple(await looked_at(site))
            self.documents = documents_of(site)

        self._bridge.call(look())
        return self

    def show(self) -> PlanView:
        """The plan as something to look at: HTML in a notebook, text elsewhere."""
        steps = self.steps
        counts = dict.fromkeys(("create", "update", "keep", "conflict"), 0)
        for step in steps:
            counts[step.action] += 1
        said = ", ".join(f"{count} to {action}" for action, count in counts.items() if count)
        said = said.replace("to conflict", "in conflict")
        caption = f"plan {self.options.name} in {self._api.region}: {said}"
        return PlanView(caption, steps, self.costs, self.documents)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.show()._repr_mimebundle_()

    def cloudformation(self) -> str:
        """The same as a CloudFormation template in YAML, for a stack to own; it only looks.

        What is there already and not the plan's own is named, and not declared. The tag by which
        a plan knows what it has made is left out: what a stack makes, no notebook removes.

        Raises:
            ProvisionError: something is there with other settings, or may not be looked at.
        """
        from .aws.plan.export_cloudformation import cloudformation

        return cloudformation(self._draft("CloudFormation"))

    def terraform(self) -> str:
        """The same as a Terraform configuration in HCL, as for :meth:`cloudformation`.

        It is one file, for the AWS provider from version 5 on.
        """
        from .aws.plan.export_terraform import terraform

        return terraform(self._draft("Terraform"))

    def _draft(self, tool: str) -> Draft:
        from .aws.plan.export_draft import draft_of

        async def look() -> Draft:
            site = await site_of(self._api, self.options)
            await looked_at(site)
            return draft_of(site, tool)

        return self._bridge.call(look())

    def leftovers(self) -> tuple[Step, ...]:
        """What :meth:`destroy` would remove now, in its order."""

        async def look() -> tuple[Step, ...]:
            site = await site_of(self._api, self.options)
            return tuple(await made(site, self._state().resources))

        return self._bridge.call(look())

    # -- what it does ----------------------------------------------------------------------------

    def apply(self, progress: Callable[[StepEvent], object] | None = None) -> tuple[Step, ...]:
        """Make what is missing, and wait until commands can be run.

        It can be repeated at any time: what is there already is found by its tags, and kept.

        Args:
            progress: called in this thread with each event; the next call to AWS waits for it.

        Returns:
            what was done to each resource.

        Raises:
            ProvisionError: something is there with other settings, and nothing was touched; or a
                step failed, and those before it stay.
            Interrupted: by the interrupt key, after the call that was under way.
        """
        state = self._state()

        async def work(pause: Pause, tell: Tell) -> tuple[Step, ...]:
            site = await site_of(self._api, self.options, pause)
            steps = tuple(await apply(site, tell, state.made))
            self.documents = documents_of(site)
            return steps

        return self._follow(work, progress, f"apply of plan {self.options.name}")

    def destroy(
        self,
        progress: Callable[[StepEvent], object] | None = None,
        empty_bucket: bool = False,
    ) -> tuple[Step, ...]:
        """Remove what this plan has made, and nothing else; a second time there is nothing.

        Args:
            progress: as for :meth:`apply`.
            empty_bucket: also delete the objects in the bucket; else they stop it before anything
                is removed.

        Returns:
            what was removed.

        Raises:
            ProvisionError: the bucket has objects in it, or a step failed.
            Interrupted: by the interrupt key, after the call that was under way.
        """
        state = self._state()

        async def work(pause: Pause, tell: Tell) -> tuple[Step, ...]:
            site = await site_of(self._api, self.options, pause)
            known = state.resources
            return tuple(await destroy(site, tell, empty_bucket=empty_bucket, known=known))

        removed = self._follow(work, progress, f"destroy of plan {self.options.name}")
        state.end()
        return removed

    def _state(self) -> State:
        return State(self._state_path, self.options.name, self._api.region)


def options_of(name: str, given: Mapping[str, Any]) -> PlanOptions:
    """Options from keyword arguments.

    Raises:
        InvalidRequest: there is no such option.
    """
    known = {each.name for each in fields(PlanOptions)} - {"name"}
    if unknown := sorted(set(given) - known):
        raise InvalidRequest(
            f"a plan has no option {unknown[0]}", cure=f"there are {', '.join(sorted(known))}"
        )
    lists = {key: tuple(given[key]) for key in ("subnets", "command") if key in given}
    return PlanOptions(name, **{**given, **lists})
