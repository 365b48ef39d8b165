"""Errors about what is not there, that say what is.

Knows how to look around in a cluster. Never fails itself: what may not be listed is left out.
"""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import EcsExecError, TargetNotFound
from .tasks import describe_tasks, list_clusters, list_services, list_task_arns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from ..address import Address
    from .api import AwsApi
    from .tasks import TaskInfo

__all__ = ["cluster_missing", "no_running_task", "unknown_name", "what_takes_commands"]

_T = TypeVar("_T")
_SHOWN = 10


async def cluster_missing(api: AwsApi, cluster: str, *, named: bool) -> TargetNotFound:
    """The cluster is not there.

    Args:
        named: whether the address named it, or it is the one meant without a name.
    """
    clusters = await _or_none(list_clusters(api))
    cause = f"clusters in {api.region}: {_listed(clusters, 'none')}" if clusters is not None else ""
    if not named and api.named_cluster is None:
        cause = f"no cluster was named, so {cluster!r} was meant; {cause}".rstrip("; ")
    close = _closest(cluster, clusters or ())
    if close:
        cure = f"did you mean {close}?"
    elif clusters and not named:
        cure = f"name the cluster, as in {clusters[0]}/NAME, or give --cluster"
    else:
        cure = "check its name and the region (--region)"
    error = TargetNotFound(
        f"there is no cluster {cluster!r} in {api.region}", cause=cause, cure=cure
    )
    error.code = "ClusterNotFoundException"
    return error


async def unknown_name(api: AwsApi, cluster: str, query: Address) -> TargetNotFound:
    """Nothing in the cluster has that name."""
    name = query.name or ""
    services, tasks, clusters = await asyncio.gather(
        _or_none(list_services(api, cluster)),
        _or_none(_some_tasks(api, cluster)),
        _or_none(list_clusters(api)) if query.cluster is None else _nothing(),
    )
    families = sorted({task.family for task in tasks or ()})
    parts = []
    if services is not None:
        parts.append(f"services: {_listed(services, 'none')}")
    if tasks is not None:
        parts.append(f"families that run: {_listed(families, 'none')}")
    cause = f"in cluster {cluster} there are {'; '.join(parts)}" if parts else ""
    others = [each for each in clusters or () if each != cluster]
    if others:
        cause += f"; no cluster was named, others are: {_listed(others, '')}"
    kind = query.kind or "service, family or task"
    short = [task.task_id for task in tasks or () if name and task.task_id.startswith(name)]
    close = _closest(name, sorted({*(services or ()), *families}))
    if short and len(name) < 6:
        cure = "a task id needs 6 or more of its characters"
    elif close:
        cure = f"did you mean {cluster}/{close}?"
    else:
        cure = "check the name, the cluster and the region"
    return TargetNotFound(
        f"there is no {kind} {name!r} in {cluster} ({api.region})", cause=cause, cure=cure
    )


async def no_running_task(
    api: AwsApi, cluster: str, query: Address, tasks: Sequence[TaskInfo]
) -> TargetNotFound:
    """The name is known, or may have been, but none of its tasks runs.

    Args:
        tasks: those that were found, none of them running.
    """
    name = query.name or ""
    if tasks:
        return _not_running(tasks)
    # A task's id or ARN names something that is gone; a family may only be out of work.
    if query.kind == "task":
        return await unknown_name(api, cluster, query)
    service = None if query.kind == "family" else await _or_none(_service(api, cluster, name))
    filters = {"service": name} if service else {"family": name}
    stopped = await _or_none(_stopped(api, cluster, filters)) or []
    ended, stopping = _how_they_ended(stopped)
    if service is None and not stopped:
        return await unknown_name(api, cluster, query)
    there = await what_takes_commands(api, cluster)
    if service is None:
        return TargetNotFound(
            f"no task of family {name!r} runs in {cluster} ({api.region})",
            cause="; ".join(part for part in (ended, there) if part),
            cure="start one with: aws ecs run-task --enable-execute-command ...",
        )
    why, cure = _why_no_task(service, cluster, name)
    if stopping and service.get("desiredCount") and service.get("status", "ACTIVE") == "ACTIVE":
        cure = "wait until the service has started others"
    return TargetNotFound(
        f"service {cluster}/{name} has no running task",
        cause="; ".join(part for part in (why, ended, there) if part),
        cure=cure,
    )


async def what_takes_commands(api: AwsApi, cluster: str) -> str:
    """What else there is in a cluster, in a few words; nothing where that cannot be looked up."""
    tasks = await _or_none(_some_tasks(api, cluster))
    if tasks is None:
        return ""
    names = {
        f"{task.service or task.family}:{container.name}"
        for task in tasks
        for container in task.containers
        if task.running and not container.injected and task.refusal(container) is None
    }
    return f"what takes commands in {cluster}: {_listed(sorted(names), 'nothing')}"


def _why_no_task(service: dict[str, Any], cluster: str, name: str) -> tuple[str, str]:
    desired, pending = service.get("desiredCount", 0), service.get("pendingCount", 0)
    status = service.get("status", "ACTIVE")
    events = service.get("events") or ()
    if status != "ACTIVE":
        return f"the service is {status}: it was deleted", "create it again, or name another"
    if not desired:
        return (
            "its desired count is 0",
            f"aws ecs update-service --cluster {cluster} --service {name} --desired-count 1",
        )
    if pending:
        return f"{pending} of {desired} tasks are starting", "wait until one runs"
    last = f"its last event: {events[0].get('message', '')}" if events else ""
    return (
        last or f"it should have {desired}",
        f"aws ecs describe-services --cluster {cluster} --services {name}",
    )


def _not_running(tasks: Sequence[TaskInfo]) -> TargetNotFound:
    task = tasks[0]
    many = f" (and {len(tasks) - 1} others likewise)" if len(tasks) > 1 else ""
    if task.desired_status == "STOPPED" or task.status == "STOPPED":
        state = "has stopped" if task.status == "STOPPED" else "is stopping"
        cause, cure = task.stopped_reason, "name its service, or a task that runs"
    else:
        state = f"does not run yet: it is {task.status}"
        cause, cure = "", "wait until it runs"
    return TargetNotFound(f"task {task.address} {state}{many}", cause=cause, cure=cure)


async def _service(api: AwsApi, cluster: str, name: str) -> dict[str, Any] | None:
    answer = await api.call("ecs", "describe_services", cluster=cluster, services=[name])
    services: list[dict[str, Any]] = answer.get("services") or []
    return services[0] if services else None


async def _stopped(api: AwsApi, cluster: str, filters: dict[str, str]) -> list[TaskInfo]:
    """Those that have stopped and those that are about to, the newest first."""
    arns = await list_task_arns(api, cluster, status="STOPPED", limit=100, **filters)
    found = await describe_tasks(api, cluster, arns) if arns else []
    return sorted(found, key=lambda task: str(task.created_at or ""), reverse=True)


def _how_they_ended(tasks: Sequence[TaskInfo]) -> tuple[str, bool]:
    """What became of a service's tasks, and whether some are still at it."""
    if not tasks:
        return "", False
    stopping = [task for task in tasks if task.status != "STOPPED"]
    why = (stopping or tasks)[0].stopped_reason or "AWS gives no reason"
    if not stopping:
        return f"its last task stopped: {why}", False
    ids = _listed([task.task_id for task in stopping], "")
    are = "is" if len(stopping) == 1 else "are"
    return f"{len(stopping)} of its tasks {are} stopping ({ids}): {why}", True


async def _some_tasks(api: AwsApi, cluster: str) -> list[TaskInfo]:
    arns = await list_task_arns(api, cluster, limit=100)
    return await describe_tasks(api, cluster, arns) if arns else []


async def _nothing() -> None:
    return None


async def _or_none(call: Awaitable[_T]) -> _T | None:
    try:
        return await call
    except EcsExecError:
        return None


def _closest(name: str, names: Sequence[str]) -> str:
    return next(iter(difflib.get_close_matches(name, names, 1, 0.6)), "")


def _listed(names: Sequence[str] | None, none: str) -> str:
    if not names:
        return none
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
