"""From an address to the containers that it means.

Knows the rules of addressing, and asks AWS what runs. Never knows sessions or commands.

The rules:

- NAME is a service, a task id or 6 and more of its first characters, a family, or an ARN.
- A service wins over a family of its own tasks; ``--family`` includes tasks on their own.
- Several tasks are no error: one container is taken from the task that has run longest with its
  exec agent RUNNING, or every task's is.
- A name that means different sets of tasks, a prefix of two task ids, and a task with several
  containers of which none is named are errors that list the choices.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..address import Address, ContainerRef, combine
from ..errors import (
    AgentNotConnected,
    AmbiguousTarget,
    EcsExecError,
    ExecNotEnabled,
    InvalidRequest,
    TargetNotFound,
)
from .absence import cluster_missing, no_running_task, unknown_name, what_takes_commands
from .tasks import ContainerInfo, TaskInfo, by_age, describe_tasks, list_task_arns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .api import AwsApi

__all__ = [
    "TASK_ID",
    "TASK_ID_PREFIX",
    "Found",
    "arns_of_service",
    "check_region",
    "find",
    "resolve",
]

TASK_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TASK_ID_PREFIX = re.compile(r"[0-9a-f][0-9a-f-]{5,35}")

_NO_SERVICE = ("ServiceNotFoundException", "ServiceNotActiveException", "InvalidParameterException")


@dataclass(frozen=True, slots=True)
class Found:
    """What an address means.

    Attributes:
        refs: the containers.
        tasks: the tasks that they are in.
        note: what was taken among several, as a sentence for people; empty if nothing was chosen.
    """

    refs: tuple[ContainerRef, ...]
    tasks: tuple[TaskInfo, ...]
    note: str = ""


async def resolve(
    api: AwsApi,
    address: Address | str | None = None,
    *,
    cluster: str | None = None,
    service: str | None = None,
    task: str | None = None,
    family: str | None = None,
    container: str | None = None,
    want: Literal["one", "all"] = "one",
) -> list[ContainerRef]:
    """The containers that an address means; :func:`find` says more about them."""
    found = await find(
        api,
        address,
        cluster=cluster,
        service=service,
        task=task,
        family=family,
        container=container,
        want=want,
    )
    return list(found.refs)


async def find(
    api: AwsApi,
    address: Address | str | None = None,
    *,
    cluster: str | None = None,
    service: str | None = None,
    task: str | None = None,
    family: str | None = None,
    container: str | None = None,
    tags: Mapping[str, str | None] | None = None,
    want: Literal["one", "all"] = "one",
) -> Found:
    """Look up what an address, or the options that say the same in words, means.

    Args:
        api: where to ask.
        address: as in ``prod/web:nginx``.
        cluster: short name or ARN; without one ``api.cluster`` is meant.
        service: short name or ARN.
        task: id, prefix of an id, or ARN.
        family: of the task definition.
        container: name, or ``*`` for every one.
        tags: only tasks with these; None as a value: whatever it is. Nothing need be named then: a
            whole cluster may be meant.
        want: ``one`` container that takes commands, or ``all`` running ones.

    Raises:
        InvalidRequest: what is asked is malformed or contradicts itself; nothing was called.
        TargetNotFound: nothing of that name runs; the error lists what does.
        AmbiguousTarget: the address means several things; the error lists them.
        ExecNotEnabled: ``one`` was wanted, and its task was started without ECS Exec.
        AgentNotConnected: ``one`` was wanted, and its exec agent is not running.
    """
    query = combine(
        address,
        cluster=cluster,
        service=service,
        task=task,
        family=family,
        container=container,
        nameless=bool(tags),
    )
    if want == "one" and query.container == "*":
        raise InvalidRequest(
            f"{str(query)!r} means every container, and one is wanted here",
            cure="name one, or use --all (targets(), client.run()) for every one",
        )
    check_region(api, query)
    place = query.cluster or api.cluster
    try:
        tasks = await _tasks_of(api, place, query)
    except TargetNotFound as error:
        if error.code != "ClusterNotFoundException":
            raise
        raise await cluster_missing(api, place, named=query.cluster is not None) from error
    running = sorted((each for each in tasks if each.running), key=by_age)
    if tags:
        running = await _tagged(api, place, query, running, tags)
    elif not running:
        raise await no_running_task(api, place, query, tasks)
    pairs = _containers(running, place, query)
    if want == "all":
        return _found(pairs)
    try:
        return _longest_running(pairs, f"{place}/{query.name}")
    except (AgentNotConnected, ExecNotEnabled) as error:
        oldest, first = pairs[0]
        if first.agent_status == "PENDING":
            raise
        from .checks.explain import explained

        better = await explained(api, error, oldest.ref(first))
        there = await what_takes_commands(api, place)
        better.cause = "; ".join(part for part in (better.cause, there) if part)
        raise better from None


def check_region(api: AwsApi, query: Address) -> None:
    """Refuse an ARN of another region than the one in use."""
    if query.region and query.region != api.region:
        raise InvalidRequest(
            f"{str(query)!r} is in {query.region}, but the region in use is {api.region}",
            cure=f"give --region {query.region} (region={query.region!r})",
        )


# -- tasks ---------------------------------------------------------------------------------------


async def _tasks_of(api: AwsApi, place: str, query: Address) -> list[TaskInfo]:
    name = query.name or ""
    if not name:
        return await _describe(api, place, await list_task_arns(api, place))
    if query.kind == "service":
        arns = await arns_of_service(api, place, name)
        if arns is None:
            raise await unknown_name(api, place, query)
        return await _describe(api, place, arns)
    if query.kind == "family":
        return await _describe(api, place, await list_task_arns(api, place, family=name))
    if query.arn or TASK_ID.fullmatch(name):
        found = await describe_tasks(api, place, [query.arn or name])
        if found or query.kind == "task":
            return found
    if query.kind == "task":
        if not TASK_ID_PREFIX.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} is not a task id",
                cure="give the whole id, 6 or more of its first characters, or its ARN",
            )
        return await _describe(api, place, _one_id(place, await _of_prefix(api, place, name)))
    return await _tasks_by_name(api, place, query)


async def _tagged(
    api: AwsApi,
    place: str,
    query: Address,
    tasks: Sequence[TaskInfo],
    tags: Mapping[str, str | None],
) -> list[TaskInfo]:
    """Those with tags, in the same order."""
    arns = [task.task_arn for task in tasks]
    told = await describe_tasks(api, place, arns, tags=True) if arns else []
    found = sorted((task for task in told if task.running and task.has_tags(tags)), key=by_age)
    if found:
        return found
    said = ", ".join(key if value is None else f"{key}={value}" for key, value in tags.items())
    there = sorted({f"{key}={value}" for task in told for key, value in task.tags.items()})
    raise TargetNotFound(
        f"no running task of {_label(place, query)} has the tag {said}",
        cause=f"of {len(told)} running tasks the tags are {_listed(there) if there else 'none'}",
        cure="tags of a service reach its tasks only with propagateTags; %ecs_tasks CLUSTER lists "
        "what runs",
    )


def _label(place: str, query: Address) -> str:
    return f"{place}/{query.name}" if query.name else place


async def _tasks_by_name(api: AwsApi, place: str, query: Address) -> list[TaskInfo]:
    """Tasks of a name that may be a service's, a family's, or the beginning of a task id."""
    name = query.name or ""
    looks_like_id = TASK_ID_PREFIX.fullmatch(name) and not TASK_ID.fullmatch(name)
    of_service, of_family, of_prefix = await asyncio.gather(
        arns_of_service(api, place, name),
        list_task_arns(api, place, family=name),
        _of_prefix(api, place, name) if looks_like_id else _nothing(),
    )
    meanings: dict[str, set[str]] = {}
    if of_service is not None:
        meanings["service"] = set(of_service)
    if of_family:
        meanings["family"] = set(of_family)
    if of_prefix:
        meanings["task"] = set(of_prefix)
    if not meanings:
        raise await unknown_name(api, place, query)
    if "service" in meanings and "family" in meanings:
        own = meanings["service"] & meanings["family"]
        if own or (not meanings["service"] and await _family_of(api, place, name) == name):
            del meanings["family"]  # a service wins over a family of its own tasks
    sets = list(meanings.values())
    if any(each != sets[0] for each in sets):
        raise await _different_meanings(api, place, name, meanings)
    if list(meanings) == ["task"]:
        _one_id(place, of_prefix)
    return await _describe(api, place, sorted(sets[0]))


async def _nothing() -> list[str]:
    return []


async def _describe(api: AwsApi, place: str, arns: Sequence[str]) -> list[TaskInfo]:
    return await describe_tasks(api, place, arns) if arns else []


async def arns_of_service(
    api: AwsApi, place: str, name: str, *, status: str = "RUNNING", limit: int | None = None
) -> list[str] | None:
    """Tasks of a service; None when there is no such service."""
    try:
        return await list_task_arns(api, place, service=name, status=status, limit=limit)
    except EcsExecError as error:
        if error.code in _NO_SERVICE:
            return None
        raise


async def _of_prefix(api: AwsApi, place: str, prefix: str) -> list[str]:
    arns = await list_task_arns(api, place)
    return [arn for arn in arns if arn.rpartition("/")[2].startswith(prefix)]


async def _family_of(api: AwsApi, place: str, service: str) -> str:
    """Family of the task definition that a service would start now."""
    answer = await api.call("ecs", "describe_services", cluster=place, services=[service])
    for each in answer.get("services", ()):
        definition = str(each.get("taskDefinition", "")).rpartition("/")[2]
        return definition.partition(":")[0]
    return ""


def _one_id(place: str, arns: Sequence[str]) -> Sequence[str]:
    if len(arns) > 1:
        ids = sorted(arn.rpartition("/")[2] for arn in arns)
        raise AmbiguousTarget(
            f"{len(ids)} task ids in {place} begin so: {_listed(ids)}",
            cure="give more characters of the id",
            choices=tuple(f"{place}/{each}" for each in ids),
        )
    return arns


async def _different_meanings(
    api: AwsApi, place: str, name: str, meanings: dict[str, set[str]]
) -> AmbiguousTarget:
    said = []
    for kind, arns in meanings.items():
        ids = sorted(arn.rpartition("/")[2] for arn in arns)
        what = "the beginning of the id of" if kind == "task" else f"a {kind} of"
        said.append(f"{what} {_listed(ids) if ids else 'no running task'}")
    every = sorted({arn for arns in meanings.values() for arn in arns})
    options = " or ".join(f"--{kind} {name}" for kind in meanings)
    return AmbiguousTarget(
        f"{name!r} means different tasks in {place}: {'; '.join(said)}",
        cure=f"say which: {options}; or name a task by its id",
        choices=tuple(f"{place}/{arn.rpartition('/')[2]}" for arn in every),
    )


def _listed(names: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


# -- containers ----------------------------------------------------------------------------------

_Pair = tuple[TaskInfo, ContainerInfo]


def _containers(tasks: Sequence[TaskInfo], place: str, query: Address) -> list[_Pair]:
    """The running containers that are meant in tasks that run."""
    wanted = query.container
    pairs: list[_Pair] = []
    if wanted is None:
        for task in tasks:
            own = [each for each in task.containers if not each.injected] or task.containers
            # Those that have stopped count as well: that only a sidecar is left does not make it
            # what the user meant.
            if len(own) > 1:
                raise _name_a_container(tasks, own, place, query)
            pairs += [(task, each) for each in own]
    else:
        pairs = [
            (task, each)
            for task in tasks
            for each in task.containers
            if wanted in ("*", each.name) and not (wanted == "*" and each.injected)
        ]
    if not pairs:
        names = sorted({each.name for task in tasks for each in task.containers})
        raise TargetNotFound(
            f"{_label(place, query)} has no container {wanted!r}",
            cause=f"its containers are {_listed(names)}" if names else "it has none yet",
            cure=f"write {place}/{query.name}:{names[0]}" if names else "wait until it runs",
        )
    running = [(task, each) for task, each in pairs if each.status == "RUNNING"]
    if not running:
        task, container = pairs[0]
        code = "" if container.exit_code is None else f", exit code {container.exit_code}"
        raise TargetNotFound(
            f"container {container.name!r} of {task.address} does not run: it is "
            f"{container.status}{code}",
            cause=container.reason,
            cure="replace the task, or name another container",
        )
    return running


def _name_a_container(
    tasks: Sequence[TaskInfo], own: Sequence[ContainerInfo], place: str, query: Address
) -> AmbiguousTarget:
    by_id = query.kind in ("task", "family") or not query.name
    name = tasks[0].task_id if by_id else query.name
    names = [each.name for each in own]
    return AmbiguousTarget(
        f"{place}/{name} has {len(names)} containers: {_listed(names)}",
        cure=f"name one, as in {place}/{name}:{names[0]}, or all of them with :*",
        choices=tuple(f"{place}/{name}:{each}" for each in names),
    )


def _found(pairs: Sequence[_Pair], note: str = "") -> Found:
    tasks = {task.task_arn: task for task, _ in pairs}
    return Found(
        tuple(task.ref(container) for task, container in pairs), tuple(tasks.values()), note
    )


def _longest_running(pairs: Sequence[_Pair], name: str) -> Found:
    """The first of the containers, which are sorted by age, that takes commands."""
    for index, (task, container) in enumerate(pairs):
        if task.refusal(container) is None:
            note = ""
            if len(pairs) > 1:
                why = "which has run longest"
                if index:
                    why += " of those whose exec agent is running"
                note = f"{name} has {len(pairs)} running tasks; took {task.task_id}, {why}"
            return _found([(task, container)], note)
    task, container = pairs[0]
    error = task.refusal(container)
    assert error is not None
    if len(pairs) > 1:
        error.cause = f"{error.cause}; it is no better with the other {len(pairs) - 1} tasks"
    raise error
