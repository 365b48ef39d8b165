"""What runs, or has run, in a cluster or under a name: for tables and for completion.

Knows how to list. Never chooses: a name that means several things gives the tasks of all of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..address import Address, combine, parse_scope
from ..errors import AccessDenied, TargetNotFound
from .absence import cluster_missing, unknown_name
from .targets import TASK_ID, TASK_ID_PREFIX, arns_of_service, check_region
from .tasks import by_age, describe_tasks, list_clusters, list_services, list_task_arns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .api import AwsApi
    from .tasks import TaskInfo

__all__ = ["ClusterInfo", "describe_all_clusters", "list_services_of", "list_tasks"]

_BATCH = 100  # what DescribeClusters takes at once


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """One cluster.

    Attributes:
        running, pending, services: how many tasks and services there are; None: not known, since
            DescribeClusters was not allowed.
    """

    name: str
    region: str
    status: str = ""
    running: int | None = None
    pending: int | None = None
    services: int | None = None

    def __str__(self) -> str:
        return self.name


async def describe_all_clusters(api: AwsApi) -> list[ClusterInfo]:
    """All clusters by name, with counts as far as the caller may see them."""
    names = await list_clusters(api)
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    try:
        answers = await asyncio.gather(
            *(api.call("ecs", "describe_clusters", clusters=batch) for batch in batches)
        )
    except AccessDenied:
        answers = []
    found = {each["clusterName"]: each for answer in answers for each in answer["clusters"]}
    return [_cluster(name, api.region, found.get(name, {})) for name in names]


def _cluster(name: str, region: str, answer: dict[str, Any]) -> ClusterInfo:
    return ClusterInfo(
        name,
        region,
        answer.get("status", ""),
        answer.get("runningTasksCount"),
        answer.get("pendingTasksCount"),
        answer.get("activeServicesCount"),
    )


async def list_services_of(api: AwsApi, cluster: str | None = None) -> list[str]:
    """Short names of a cluster's services.

    Args:
        cluster: short name or ARN; None: the cluster of ``api``.

    Raises:
        TargetNotFound: there is no such cluster; the error lists what there is.
    """
    query = Address() if cluster is None else parse_scope(cluster)
    check_region(api, query)
    try:
        return await list_services(api, query.cluster)
    except TargetNotFound as error:
        named = query.cluster is not None
        raise await cluster_missing(api, query.cluster or api.cluster, named=named) from error


async def list_tasks(
    api: AwsApi,
    scope: str | None = None,
    *,
    cluster: str | None = None,
    service: str | None = None,
    task: str | None = None,
    family: str | None = None,
    container: str | None = None,
    tags: bool = False,
    stopped: bool = False,
    limit: int | None = None,
) -> list[TaskInfo]:
    """Tasks of a cluster, or of what has a name in it.

    Args:
        scope: ``CLUSTER[/NAME[:CONTAINER]]``; None: the cluster of ``api``. The options say the
            same in words.
        container: only tasks that have this one.
        tags: with their tags.
        stopped: those that have stopped, or are about to, in place of those that run or start; AWS
            knows them for about an hour. A task that is named by its whole id is given in any case.
        limit: no more than so many; which ones is AWS's choice.

    Returns:
        those that have run longest first; stopped ones by when they stopped, the last first.

    Raises:
        InvalidRequest: what is asked is malformed or contradicts itself; nothing was called.
        TargetNotFound: there is no such cluster or name; the error lists what there is.
    """
    query = combine(
        None if scope is None else parse_scope(scope),
        cluster=cluster,
        service=service,
        task=task,
        family=family,
        container=container,
        nameless=True,
    )
    check_region(api, query)
    place = query.cluster or api.cluster
    lister = _Lister(api, place, "STOPPED" if stopped else "RUNNING", limit)
    try:
        arns = await lister.arns(query)
        tasks = await describe_tasks(api, place, arns[:limit], tags=tags) if arns else []
    except TargetNotFound as error:
        if error.code != "ClusterNotFoundException":
            raise
        raise await cluster_missing(api, place, named=query.cluster is not None) from error
    if not tasks and query.name and not await lister.known(query):
        raise await unknown_name(api, place, query)
    if not (stopped or _whole_id(query)):  # some may have ended between the two calls
        tasks = [each for each in tasks if each.desired_status != "STOPPED"]
    return sorted(_having(tasks, query, place), key=_by_end if stopped else by_age)


class _Lister:
    """Lists the ARNs of one cluster's tasks that have, or will have, one status."""

    def __init__(self, api: AwsApi, place: str, status: str, limit: int | None) -> None:
        self._api = api
        self._place = place
        self._status = status
        self._limit = limit
        self._is_service = False

    async def arns(self, query: Address) -> Sequence[str]:
        """All of what a query may mean."""
        name, kind = query.name, query.kind
        if name is None:
            return await self._list()
        if _whole_id(query):
            return [query.arn or name]
        found = await asyncio.gather(
            self._of_service(name) if kind in (None, "service") else _nothing(),
            self._list(family=name) if kind in (None, "family") else _nothing(),
            self._of_prefix(name) if kind in (None, "task") else _nothing(),
        )
        return list(dict.fromkeys(arn for arns in found for arn in arns))

    async def known(self, query: Address) -> bool:
        """Whether a name of which no task was found means something after all."""
        if self._is_service:
            return True
        if query.kind in ("service", "task") or _whole_id(query):
            return False
        other = "RUNNING" if self._status == "STOPPED" else "STOPPED"
        lister = _Lister(self._api, self._place, other, 1)
        return bool(await lister.arns(replace(query, kind="family")))

    async def _list(self, **filters: Any) -> list[str]:
        return await list_task_arns(
            self._api, self._place, status=self._status, limit=self._limit, **filters
        )

    async def _of_service(self, name: str) -> list[str]:
        arns = await arns_of_service(
            self._api, self._place, name, status=self._status, limit=self._limit
        )
        self._is_service = arns is not None
        return arns or []

    async def _of_prefix(self, prefix: str) -> list[str]:
        if not TASK_ID_PREFIX.fullmatch(prefix):
            return []
        arns = await list_task_arns(self._api, self._place, status=self._status)
        return [arn for arn in arns if arn.rpartition("/")[2].startswith(prefix)]


def _whole_id(query: Address) -> bool:
    if query.arn:
        return query.kind == "task"
    return query.kind in (None, "task") and bool(TASK_ID.fullmatch(query.name or ""))


async def _nothing() -> list[str]:
    return []


def _having(tasks: list[TaskInfo], query: Address, place: str) -> list[TaskInfo]:
    """The tasks that have the container that was asked for."""
    if query.container in (None, "*") or not tasks:
        return tasks
    having = [task for task in tasks if task.container(query.container or "")]
    if not having:
        names = sorted({each.name for task in tasks for each in task.containers})
        raise TargetNotFound(
            f"no task of {query.name or place} has a container {query.container!r}",
            cause=f"their containers are {', '.join(names)}" if names else "they have none yet",
            cure="name one of these" if names else "wait until they run",
        )
    return having


def _by_end(task: TaskInfo) -> tuple[bool, float, str]:
    ended = task.stopped_at
    return ended is not None, -ended.timestamp() if ended else 0.0, task.task_arn
