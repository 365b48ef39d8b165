"""Putting back what exec was switched on over, and nothing else.

Knows how what was changed is found again: by the tags of the service and the cluster, and by names
that only this package gives. What finds the rest goes last.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, EcsExecError, ProvisionError
from ..plan.building import saying
from ..plan.failures import step_failed
from ..plan.part import Say, beats, if_there, tags_of
from ..plan.roles import role_tags
from ..plan.steps import Step, StepEvent
from .cluster import restore, users_of
from .memory import DEPLOY, EXEC, ROLE
from .place import FOR, Place, short
from .running import BASE, tasks_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ..plan.building import Tell

__all__ = ["made", "undo"]

_LIMIT = 900.0
_MISSING = ("NoSuchEntity", "NoSuchEntityException")


@dataclass(frozen=True)
class _Return:
    """One thing that goes back, and how."""

    step: Step
    take: Callable[[Say], Awaitable[None]]


async def made(place: Place, known: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """What there is to put back, in its order.

    Args:
        known: kinds and names from a state file, to look at too.
    """
    return [each.step for each in await _find(place, known)]


async def undo(place: Place, tell: Tell, known: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """Put all of it back; returns what was done.

    Raises:
        ProvisionError: of the step that failed.
        Stopped: the user wants no more.
    """
    found = await _find(place, known)
    total = len(found)
    for index, each in enumerate(found):
        place.pause.check()
        await tell(StepEvent(each.step, "running", index, total))
        try:
            await each.take(saying(tell, each.step, index, total))
        except EcsExecError as error:
            failed = error
            if not isinstance(error, ProvisionError):
                failed = step_failed(each.step, error, done=index, verb="undo")
                failed.__cause__ = error
            await tell(StepEvent(each.step, "failed", index, total, error=failed))
            raise failed from failed.__cause__
        await tell(StepEvent(each.step, "done", index, total))
    return [each.step for each in found]


async def _find(place: Place, known: Iterable[tuple[str, str]]) -> list[_Return]:
    try:
        await place.read(gone=True)
        tags = place.service_tags
        names = {tags.get(ROLE, ""), short(str(place.definition.get("taskRoleArn") or ""))}
        names |= {name for kind, name in known if kind == "task role"} | {place.own_name}
        found, revisions = await asyncio.gather(
            _roles(place, sorted(names - {""})), _revisions(place)
        )
    except EcsExecError as error:
        if isinstance(error, ProvisionError):
            raise
        step = Step("service", place.asked.address, "keep")
        raise step_failed(step, error, done=0, verb="undo") from error
    policies, roles = found
    parts: list[_Return | None] = [
        _service(place, bool(revisions), bool(roles)),
        *policies,
        *(_revision(place, each) for each in revisions),
        *roles,
        _cluster(place),
        _tags(place),
    ]
    return [each for each in parts if each is not None]


# -- the service ---------------------------------------------------------------------------------


def _service(place: Place, revisions: bool, roles: bool) -> _Return | None:
    """Exec off, and the former definition, where that was so before."""
    tags, service = place.service_tags, place.service
    if EXEC not in tags:
        return None
    was, _, former = tags[EXEC].partition(" ")
    ours = place.definition_tags.get(FOR) == place.owner
    base = place.definition_tags.get(BASE) or former
    off = was == "off" and bool(service.get("enableExecuteCommand"))
    if not (off or ours) and not (revisions or roles):
        return None
    lines = []
    if off:
        lines.append("exec is on; before: off")
    if ours:
        now = short(str(place.definition["taskDefinitionArn"]))
        lines.append(f"its task definition is {now}; before: {base}")
    if not lines:
        lines.append("its tasks of before are waited for")

    async def take(say: Say) -> None:
        if off or ours:
            asked: dict[str, Any] = {"taskDefinition": base} if ours else {}
            if was == "off":
                asked["enableExecuteCommand"] = False
            await place.api.call(
                "ecs",
                "update_service",
                cluster=place.asked.cluster,
                service=place.asked.service,
                forceNewDeployment=True,
                **asked,
            )
        if revisions or roles:
            await _tasks_without(place, say)

    why = "its tasks are replaced by new ones" if off or ours else ""
    return _Return(Step("service", place.asked.address, "update", why, tuple(lines)), take)


async def _tasks_without(place: Place, say: Say) -> None:
    """Wait until no task has what is removed next."""
    for seconds in beats(_LIMIT):
        # Revisions that others made may have our role as well; it then stays.
        tasks = await tasks_of(place)
        old = [each for each in tasks if await _is_ours(place, f"{each.family}:{each.revision}")]
        if not old:
            return
        await say(f"{len(old)} of its tasks still have the role that goes")
        await place.pause.sleep(seconds)
    raise ProvisionError(
        f"the service's tasks were not replaced after {_LIMIT / 60:.0f} minutes",
        cure="look at it in the console; undo again goes on",
    )


async def _is_ours(place: Place, name: str) -> bool:
    if name not in place.known_revisions:
        answer = await place.api.call(
            "ecs", "describe_task_definition", taskDefinition=name, include=["TAGS"]
        )
        tags = tags_of(answer.get("tags"))
        place.known_revisions[name] = tags.get(FOR) == place.owner
    return place.known_revisions[name]


def _tags(place: Place) -> _Return | None:
    own = [key for key in (EXEC, ROLE, DEPLOY) if key in place.service_tags]
    if not own:
        return None

    async def take(say: Say) -> None:
        arn = str(place.service["serviceArn"])
        await place.api.call("ecs", "untag_resource", resourceArn=arn, tagKeys=own)

    step = Step("service tags", place.asked.address, "delete", "what was remembered of before")
    return _Return(step, take)


# -- permissions ---------------------------------------------------------------------------------


async def _roles(place: Place, names: list[str]) -> tuple[list[_Return], list[_Return]]:
    """Our policy on each of these roles, and the role that is ours."""
    found = await asyncio.gather(*(_role(place, name) for name in names))
    return [one for one, _ in found if one], [one for _, one in found if one]


async def _role(place: Place, name: str) -> tuple[_Return | None, _Return | None]:
    api, own = place.api, place.own_name

    async def drop_policy(say: Say) -> None:
        call = api.call("iam", "delete_role_policy", RoleName=name, PolicyName=own)
        await if_there(call, *_MISSING)

    async def drop_role(say: Say) -> None:
        await if_there(api.call("iam", "delete_role", RoleName=name), *_MISSING)

    policy = Step("role policy", own, "delete", f"of role {name}")
    try:
        answer = await if_there(
            api.call("iam", "get_role_policy", RoleName=name, PolicyName=own), *_MISSING
        )
        role = None
        if name == own:
            role = await if_there(api.call("iam", "get_role", RoleName=name), *_MISSING)
    except AccessDenied:
        if name == own:
            return None, None
        raise
    ours = role is not None and role_tags(role["Role"]).get(FOR) == place.owner
    if ours and _still_used(place):
        kept = "a task definition of somebody else uses it, so that it stays"
        return None, _Return(Step("task role", name, "keep", kept), _nothing)
    return (
        _Return(policy, drop_policy) if answer else None,
        _Return(Step("task role", name, "delete", "made for exec"), drop_role) if ours else None,
    )


def _still_used(place: Place) -> bool:
    """Whether the service runs a definition with our role that is not ours."""
    role = short(str(place.definition.get("taskRoleArn") or ""))
    return role == place.own_name and place.definition_tags.get(FOR) != place.owner


async def _nothing(say: Say) -> None:
    """It stays."""


# -- the task definition and the cluster ---------------------------------------------------------


async def _revisions(place: Place) -> list[dict[str, Any]]:
    """Our revisions of the service's family; asked for only where one can be."""
    family = place.definition.get("family")
    if not family or EXEC not in place.service_tags:
        return []
    if place.service_tags.get(ROLE) != place.own_name and FOR not in place.definition_tags:
        former = place.service_tags[EXEC].partition(" ")[2]
        answer = await place.api.call(
            "ecs", "describe_task_definition", taskDefinition=former or family
        )
        if answer["taskDefinition"].get("taskRoleArn"):
            return []  # it had a role: there was nothing to register
    listed = await asyncio.gather(
        *(
            place.api.pages(
                "ecs",
                "list_task_definitions",
                "taskDefinitionArns",
                familyPrefix=family,
                status=status,
            )
            for status in ("ACTIVE", "INACTIVE")
        )
    )
    found = []
    base = _number(place.service_tags[EXEC].partition(" ")[2])
    for arn in (arn for some in listed for arn in some):
        if short(arn).rpartition(":")[0] != family or _number(arn) <= base:
            continue  # ours are newer than what was before
        answer = await place.api.call(
            "ecs", "describe_task_definition", taskDefinition=arn, include=["TAGS"]
        )
        if tags_of(answer.get("tags")).get(FOR) == place.owner:
            found.append(answer["taskDefinition"])
    return found


def _number(name: str) -> int:
    number = name.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _revision(place: Place, found: dict[str, Any]) -> _Return:
    arn = str(found["taskDefinitionArn"])

    async def take(say: Say) -> None:
        if found.get("status") == "ACTIVE":
            await place.api.call("ecs", "deregister_task_definition", taskDefinition=arn)
        answer = await place.api.call("ecs", "delete_task_definitions", taskDefinitions=[arn])
        for failure in answer.get("failures", ()):
            await say(f"AWS says: {failure.get('reason', '')}")

    return _Return(Step("task definition", short(arn), "delete", "made for exec"), take)


def _cluster(place: Place) -> _Return | None:
    if not place.cluster:
        return None
    own, others = users_of(place)
    if not own:
        return None
    why = "its settings of exec sessions of before"
    if others:
        why = f"its settings stay: {', '.join(others)} were given them too"

    async def take(say: Say) -> None:
        await restore(place, say)

    return _Return(Step("cluster", place.asked.cluster, "update", why), take)
