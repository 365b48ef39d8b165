"""Where clusters send the logs of their sessions, and which tasks there are.

Knows ``executeCommandConfiguration`` (WALKTHROUGH 11). Never knows what is in the logs. What a
cluster says now need not be what it said when a session ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError
from ..tasks import TaskInfo, describe_tasks, list_clusters
from .sources import Part, Source, refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..api import AwsApi

__all__ = ["Place", "clusters_there", "places_of", "tasks_of", "with_task_logs"]

_BATCH = 100
_DEFINITIONS = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sessions of one cluster are logged.

    Attributes:
        logging: ``NONE``, ``DEFAULT``, ``OVERRIDE``, ``GONE`` for a cluster that is not there any
            more, or empty when it could not be asked.
        groups: log groups of CloudWatch Logs.
        bucket: of S3; empty for none.
        prefix: of the keys in it, without a slash at the end.
    """

    cluster: str
    logging: str
    groups: tuple[str, ...] = ()
    bucket: str = ""
    prefix: str = ""


async def clusters_there(api: AwsApi) -> Part[list[str]]:
    """All clusters of the region, by their short names."""
    try:
        return Part(await list_clusters(api))
    except EcsExecError as error:
        lost = "session logs of clusters without an event are not looked for"
        return Part([], (refused("clusters", error, "ecs:ListClusters", lost=lost),))


async def places_of(api: AwsApi, clusters: Iterable[str]) -> Part[dict[str, Place]]:
    """How clusters log sessions; those that could not be asked have no ``logging``."""
    names = sorted(set(clusters))
    found = {name: Place(name, "") for name in names}
    try:
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            answer = await api.call(
                "ecs", "describe_clusters", clusters=batch, include=["CONFIGURATIONS"]
            )
            found.update(dict.fromkeys(batch, Place("", "GONE")))
            for cluster in answer.get("clusters") or ():
                place = _place(cluster)
                found[place.cluster] = place
    except EcsExecError as error:
        lost = "where the clusters log sessions is not known"
        return Part(found, (refused("clusters", error, "ecs:DescribeClusters", lost=lost),))
    return Part(found)


def _place(cluster: Mapping[str, Any]) -> Place:
    name = str(cluster.get("clusterName", ""))
    if cluster.get("status") == "INACTIVE":
        return Place(name, "GONE")
    configuration = cluster.get("configuration") or {}
    execution = configuration.get("executeCommandConfiguration") or {}
    logging = execution.get("logging") or "DEFAULT"
    log = execution.get("logConfiguration") or {} if logging == "OVERRIDE" else {}
    group = log.get("cloudWatchLogGroupName")
    return Place(
        name,
        logging,
        (group,) if group else (),
        log.get("s3BucketName") or "",
        (log.get("s3KeyPrefix") or "").strip("/"),
    )


async def tasks_of(
    api: AwsApi, ids: Mapping[str, set[str]]
) -> Part[dict[tuple[str, str], TaskInfo]]:
    """Tasks by cluster and id, as far as AWS still knows them: about an hour after their end."""

    async def of(cluster: str, some: set[str]) -> list[TaskInfo]:
        return await describe_tasks(api, cluster, sorted(some))

    asked = [(cluster, some) for cluster, some in ids.items() if cluster and some]
    answers = await asyncio.gather(*(of(*each) for each in asked), return_exceptions=True)
    found: dict[tuple[str, str], TaskInfo] = {}
    sources: tuple[Source, ...] = ()
    for (cluster, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, EcsExecError):
            if answer.code == "ClusterNotFoundException" or sources:
                continue
            lost = f"the services of the tasks in {cluster} are not known"
            sources = (refused("tasks", answer, "ecs:DescribeTasks", lost=lost),)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.update({(task.cluster, task.task_id): task for task in answer})
    return Part(found, sources)


async def with_task_logs(api: AwsApi, place: Place, tasks: Iterable[TaskInfo]) -> Part[Place]:
    """A cluster that logs by DEFAULT, with the groups of its tasks' own awslogs drivers."""
    definitions = sorted(
        {f"{task.family}:{task.revision}" for task in tasks if task.cluster == place.cluster}
    )[:_DEFINITIONS]
    try:
        answers = await asyncio.gather(
            *(
                api.call("ecs", "describe_task_definition", taskDefinition=name)
                for name in definitions
            )
        )
    except EcsExecError as error:
        lost = f"the log groups of the tasks in {place.cluster} are not known"
        source = refused("task definitions", error, "ecs:DescribeTaskDefinition", lost=lost)
        return Part(place, (source,))
    groups = {
        (logs.get("options") or {}).get("awslogs-group", "")
        for answer in answers
        for container in (answer.get("taskDefinition") or {}).get("containerDefinitions") or ()
        for logs in (container.get("logConfiguration") or {},)
        if logs.get("logDriver") == "awslogs"
    }
    named = tuple(sorted(group for group in groups if group))
    return Part(Place(place.cluster, place.logging, named))
