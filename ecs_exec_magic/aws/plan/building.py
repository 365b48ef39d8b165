"""Looking at all resources of a plan at once, and making what is missing one by one.

Knows the order. Never knows who looks on, nor a single resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ...errors import EcsExecError, ProvisionError
from .agents import Agents
from .cluster import Cluster, Definition
from .failures import conflicts, step_failed
from .keys import Key
from .launch import Service, Tasks
from .names import Names
from .network import Network, SecurityGroup
from .part import Pause, Say, Site
from .roles import GivenRole, OwnRole, execution_policy
from .steps import Step, StepEvent
from .storage import Bucket, LogGroup

if TYPE_CHECKING:
    from ..api import AwsApi
    from .options import PlanOptions
    from .part import Part

__all__ = ["Tell", "apply", "carry_out", "looked_at", "saying", "site_of"]

Tell: TypeAlias = Callable[[StepEvent], Awaitable[None]]
"""Tells of an event; what comes next waits until it has been told."""


def saying(tell: Tell, step: Step, index: int, total: int) -> Say:
    """What a step tells its waits with; the same words are told once."""
    last = ""

    async def say(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            await tell(StepEvent(step, "running", index, total, text))

    return say


async def site_of(api: AwsApi, options: PlanOptions, pause: Pause | None = None) -> Site:
    """Where a plan is carried out; asks only who calls."""
    account, region = await api.account_region()
    names = Names(options.name, api.partition, region, account)
    return Site(api, options, names, pause or Pause())


def _parts(site: Site) -> list[Part]:
    """The resources that the options ask for, in the order in which they are made."""
    options = site.options
    cluster = Cluster(site)
    parts: list[Part] = [Network(site)]
    if options.kms_key is not None:
        parts.append(Key(site))
    parts.append(cluster)
    if site.log_group:
        parts.append(LogGroup(site))
    if site.bucket:
        parts.append(Bucket(site, cluster.intended_bucket, cluster.intend_bucket))
    parts.append(SecurityGroup(site))
    for kind, given, needed in (
        ("execution role", options.execution_role, execution_policy(site) is not None),
        ("task role", options.task_role, True),
    ):
        if given is not None:
            parts.append(GivenRole(site, kind))
        elif needed:
            parts.append(OwnRole(site, kind))
    parts += [Definition(site), Service(site) if options.service else Tasks(site), Agents(site)]
    return parts


async def looked_at(site: Site) -> list[Step]:
    """Look at everything, and say what has to happen to it.

    Raises:
        ProvisionError: something may not be looked at, with the permission that is missing.
    """
    site.parts = _parts(site)
    network, *others = site.parts
    outcomes = await asyncio.gather(
        _with_network(network, others), *map(_look, _outside(others)), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [part.step() for part in site.parts]


def _outside(parts: list[Part]) -> list[Part]:
    return [part for part in parts if not isinstance(part, SecurityGroup)]


async def _with_network(network: Part, others: list[Part]) -> None:
    """The security group is looked for in the VPC, which has to be known first."""
    await _look(network)
    for part in others:
        if isinstance(part, SecurityGroup):
            await _look(part)


async def _look(part: Part) -> None:
    try:
        await part.look()
    except EcsExecError as error:
        step = Step(part.kind, part.name, "keep")
        raise step_failed(step, error, done=0, verb="try") from error


async def apply(site: Site, tell: Tell, record: Callable[[Step], None]) -> list[Step]:
    """Make what is missing; returns what was done to each resource.

    Args:
        record: remembers each resource that is ours, before it is made.

    Raises:
        ProvisionError: of the step that failed; what was made before it stays.
        Stopped: the user wants no more.
    """
    steps = await looked_at(site)
    if refused := conflicts(steps):
        raise refused
    return await carry_out(site, steps, tell, record)


async def carry_out(
    site: Site, steps: list[Step], tell: Tell, record: Callable[[Step], None]
) -> list[Step]:
    """Make the parts of a site, of which each has a step; arguments and errors as above."""
    total = len(steps)
    for index, (part, step) in enumerate(zip(site.parts, steps, strict=True)):

        def event(state: Any, error: Any = None, step: Step = step, at: int = index) -> StepEvent:
            return StepEvent(step, state, at, total, error=error)

        site.pause.check()
        if part.lasts and (part.ours or step.action == "create"):
            record(step)
        if step.action != "keep":
            await tell(event("running"))
            try:
                await part.make(saying(tell, step, index, total))
            except EcsExecError as error:
                if not isinstance(error, ProvisionError):
                    error = _raised_from(error, step_failed(step, error, done=index, verb="apply"))
                error.step = error.step or step
                await tell(event("failed", error))
                raise error
        await tell(event("done"))
    return steps


def _raised_from(cause: EcsExecError, error: ProvisionError) -> ProvisionError:
    error.__cause__ = cause
    return error
