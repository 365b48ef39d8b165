"""Looking at what exec needs in a service that is there, and doing what is missing.

Knows the order. Never knows who looks on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, EcsExecError, InvalidRequest, ProvisionError, TargetNotFound
from ..plan.building import carry_out
from ..plan.failures import step_failed
from ..plan.names import Names
from ..plan.part import Pause
from ..plan.policies import trust_policy
from ..plan.steps import Step
from .cluster import ClusterSettings, NamedBucket, NamedGroup, NamedKey, others_with_exec
from .permissions import RolePolicy, TaskRole
from .place import Place, short
from .running import Notes, Revision, ServiceAgents, ServiceExec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..api import AwsApi
    from ..plan.building import Tell
    from ..plan.part import Part
    from .options import EnableOptions

__all__ = ["apply", "documents_of", "looked_at", "place_of"]

_CHANGED = ("create", "update")


async def place_of(api: AwsApi, options: EnableOptions, pause: Pause | None = None) -> Place:
    """Where exec is switched on; asks only who calls."""
    account, region = await api.account_region()
    names = Names(options.service, api.partition, region, account)
    return Place(api, options, names, pause or Pause())


async def looked_at(place: Place) -> list[Step]:
    """Look at everything, and say what has to happen to it.

    Raises:
        TargetNotFound: there is no such cluster or service.
        InvalidRequest: a task without a service is meant.
        ProvisionError: something may not be looked at, with the permission that is missing.
    """
    try:
        await place.read()
        await place.want()
        return await _judged(place)
    except (InvalidRequest, ProvisionError, TargetNotFound):
        raise
    except EcsExecError as error:
        step = Step("service", place.asked.address, "keep")
        raise step_failed(step, error, done=0, verb="try") from error


async def _judged(place: Place) -> list[Step]:
    asked = place.asked
    notes, role = Notes(place), TaskRole(place)
    policy, cluster = RolePolicy(place, role), ClusterSettings(place)
    revision, service, agents = Revision(place, role), ServiceExec(place), ServiceAgents(place)
    named: list[Part] = []
    if asked.kms_key:
        named.append(NamedKey(place))
    if asked.log_group:
        named.append(NamedGroup(place))
    if asked.bucket:
        named.append(NamedBucket(place))

    async def permissions() -> None:
        await role.look()
        await policy.look()

    outcomes = await asyncio.gather(
        permissions(),
        *(part.look() for part in (notes, cluster, revision, service, agents, *named)),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    place.redeploy = any(each.step().action in _CHANGED for each in (role, policy, revision))
    place.redeploy = place.redeploy or service.step().action in _CHANGED
    notes.needed = place.redeploy
    remembered = [notes] if notes.needed or notes.there else []
    place.parts = [*named, *remembered, role, policy, cluster, revision, service, agents]
    _warn(place)
    if cluster.step().action == "update":
        place.warnings += await _of_others(place)
    return [part.step() for part in place.parts]


def _warn(place: Place) -> None:
    closed = [name for name in place.containers if name in place.closed]
    if closed:
        place.warnings.append(
            f"the root filesystem of {', '.join(closed)} is read-only: no agent starts there, and "
            "no command can be run in it"
        )
    if place.definition.get("pidMode") == "task" and len(place.containers) > 1:
        place.warnings.append(
            "its containers share their processes (pidMode task): commands can be run in one of "
            "them only"
        )


async def _of_others(place: Place) -> list[str]:
    """What other services of the cluster will lack once its settings are changed."""
    former, wanted = place.current_execution, place.execution
    lacks = []
    if wanted.get("kmsKeyId") and wanted["kmsKeyId"] != former.get("kmsKeyId"):
        lacks.append("kms:Decrypt for the key")
    logs = wanted.get("logConfiguration")
    if logs and logs != former.get("logConfiguration"):
        lacks.append("the permissions of the logs")
    if not lacks:
        return []
    try:
        names = await others_with_exec(place)
    except AccessDenied:
        names = ["its other services (they may not be listed)"]
    if not names:
        return []
    said = (
        "the cluster's settings are those of all its services: the task roles of "
        f"{', '.join(names)} need {' and '.join(lacks)} too, or no command can be run there"
    )
    return [said]


async def apply(place: Place, tell: Tell, record: Callable[[Step], None]) -> list[Step]:
    """Do what is missing; arguments and errors as for plans."""
    steps = await looked_at(place)
    refused = [step for step in steps if step.action == "conflict"]
    if refused:
        first = refused[0]
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise ProvisionError(
            f"nothing was touched: {first.kind} {first.name}{more} is in the way",
            cause=first.why,
            cure="; ".join(first.difference) or "see .steps",
            step=first,
        )

    def remember(step: Step) -> None:
        record(step)
        if step.kind == RolePolicy.kind:  # found again by the role that has it
            record(Step(TaskRole.kind, short(place.role_arn), "keep"))

    return await carry_out(place, steps, tell, remember)


def documents_of(place: Place) -> Mapping[str, Mapping[str, Any]]:
    """The policies that are put on roles, by title."""
    found: dict[str, Mapping[str, Any]] = {}
    for part in place.parts:
        if isinstance(part, TaskRole) and part.ours | (part.step().action == "create"):
            found["trust of the task role"] = trust_policy()
        if isinstance(part, RolePolicy):
            found["task role"] = part.document
    return found
