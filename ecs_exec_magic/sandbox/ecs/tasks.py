"""The operations on tasks.

Knows their parameters, filters and AWS's error texts. Never knows processes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..api import ApiError, operation
from .launching import launch_of
from .placement import place, refusal
from .requests import (
    definition_of,
    find_cluster,
    find_service,
    find_task,
    invalid,
    last_part,
    page,
    tags_of,
)
from .roles import check_roles
from .task_view import task_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..api import Caller
    from ..world import World
    from .definition import TaskDefinition
    from .model import Cluster, Instance, Launch, Task
    from .state import Region

__all__ = ["TaskOperations"]

_TOKENS = 1000  # client tokens that are remembered
_NOT_FOUND = "The referenced task was not found."


class TaskOperations:
    """Running, stopping, listing and describing tasks."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    def _region(self, caller: Caller) -> Region:
        return self._world.state.region(caller.region)

    # starting

    @operation("RunTask")
    async def op_run_task(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Start one to ten tasks."""
        region = self._region(caller)
        cluster = find_cluster(region, given.get("cluster"))
        token = given.get("clientToken")
        known = region.requests.get((cluster.name, token)) if token else None
        if known is not None:
            if known[0] != _fingerprint(given):
                raise ApiError(
                    "ConflictException",
                    "The request could not be processed because of conflicting parameters: the "
                    "client token was used with other parameters.",
                )
            return {"tasks": [task_view(t, tags=True) for t in known[1]], "failures": []}
        definition, launch = self._launch(given, cluster, "The task couldn't be started")
        count = given.get("count", 1)
        if not 1 <= count <= 10:
            raise invalid("Count must be between 1 and 10.")
        tags = self._tags(given, definition, cluster)
        if launch.launch_type != "FARGATE" and not cluster.instances:
            raise invalid("No Container Instances were found in your cluster.")
        tasks: list[Task] = []
        failures: list[dict[str, str]] = []
        for _ in range(count):
            instance: Instance | None = None
            if launch.launch_type != "FARGATE":
                instance, reason = place(cluster, launch)
                if instance is None:
                    failures += _failures(cluster, launch, reason)
                    continue
            tasks.append(region.add_task(cluster, launch, tags=tags, instance=instance))
        if token:
            region.requests[cluster.name, token] = (_fingerprint(given), tasks)
            if len(region.requests) > _TOKENS:  # boto3 sends one with every call
                region.requests.pop(next(iter(region.requests)))
        try:
            return {"tasks": await self._begin(tasks), "failures": failures}
        except BaseException:
            region.requests.pop((cluster.name, token or ""), None)
            raise

    @operation("StartTask")
    async def op_start_task(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Start a task on each of up to ten container instances that are named."""
        region = self._region(caller)
        cluster = find_cluster(region, given.get("cluster"))
        given = {**given, "launchType": "EC2"}
        definition, launch = self._launch(given, cluster, "The task couldn't be started")
        names = given["containerInstances"]
        if not 1 <= len(names) <= 10:
            raise invalid("Container instances cannot be empty or exceed 10.")
        tags = self._tags(given, definition, cluster)
        tasks: list[Task] = []
        failures = []
        for name in names:
            instance = cluster.instances.get(last_part(name))
            reason = "MISSING" if instance is None else refusal(instance, launch)
            if instance is None or reason:
                arn = region.arn("container-instance", f"{cluster.name}/{last_part(name)}")
                failures.append({"arn": arn, "reason": reason})
            else:
                tasks.append(region.add_task(cluster, launch, tags=tags, instance=instance))
        return {"tasks": await self._begin(tasks), "failures": failures}

    def _launch(
        self, given: dict[str, Any], cluster: Cluster, refused: str
    ) -> tuple[TaskDefinition, Launch]:
        definition = definition_of(
            cluster.region, given["taskDefinition"], "TaskDefinition not found."
        )
        if definition.status != "ACTIVE":
            raise ApiError("ClientException", "TaskDefinition is inactive")
        group = given.get("group") or f"family:{definition.family}"
        if group.startswith("service:"):
            raise invalid("Group name cannot start with 'service:'.")
        if len(given.get("startedBy", "")) > 128:
            raise invalid("startedBy cannot exceed 128 characters.")
        return definition, launch_of(given, cluster, definition, refusal=refused, group=group)

    @staticmethod
    def _tags(
        given: dict[str, Any], definition: TaskDefinition, cluster: Cluster
    ) -> dict[str, str]:
        tags = tags_of(given.get("tags"))
        propagate = given.get("propagateTags", "NONE")
        if propagate not in ("TASK_DEFINITION", "NONE"):
            raise invalid("Only TASK_DEFINITION is supported for propagateTags.")
        if propagate == "TASK_DEFINITION":
            tags = {**definition.tags, **tags}
        if given.get("enableECSManagedTags"):
            tags["aws:ecs:clusterName"] = cluster.name
        return tags

    async def _begin(self, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Give new tasks their interfaces, show them, and let them live."""
        try:
            for task in tasks[:1]:
                await check_roles(self._world, task.cluster.region.name, task.launch)
            for task in tasks:
                await self._world.attach(task)
        except BaseException:
            for task in tasks:
                await self._world.abandon(task)
            raise
        views = [task_view(t, tags=True) for t in tasks]
        for task in tasks:
            self._world.launch(task)
        return views

    # looking

    @operation("ListTasks")
    def op_list_tasks(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List task ARNs; every filter that is given must fit."""
        cluster = find_cluster(self._region(caller), given.get("cluster"))
        service = given.get("serviceName")
        if service is not None and given.get("startedBy") is not None:
            raise invalid("Cannot specify both serviceName and startedBy.")
        found = find_service(cluster, service) if service is not None else None
        desired = given.get("desiredStatus", "RUNNING")
        if desired not in ("RUNNING", "PENDING", "STOPPED"):
            raise invalid(f"desiredStatus {desired!r} is not valid.")
        instance = given.get("containerInstance")
        if instance is not None and last_part(instance) not in cluster.instances:
            raise invalid("Container instance not found.")

        def fits(task: Task) -> bool:
            return (
                task.desired == desired
                and (found is None or _service_of(task) is found)
                and given.get("family", task.definition.family) == task.definition.family
                and given.get("startedBy", task.launch.started_by) == task.launch.started_by
                and given.get("launchType", task.launch.launch_type) == task.launch.launch_type
                and (instance is None or task.instance is cluster.instances[last_part(instance)])
            )

        arns, token = page([t.arn for t in cluster.tasks.values() if fits(t)], given)
        return {"taskArns": arns, "nextToken": token}

    @operation("DescribeTasks")
    async def op_describe_tasks(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe up to a hundred tasks."""
        await self._world.settled()
        region = self._region(caller)
        cluster = find_cluster(region, given.get("cluster"))
        names = given["tasks"]
        if not names:
            raise invalid("Tasks cannot be empty.")
        if len(names) > 100:
            raise invalid("Tasks cannot exceed 100 elements.")
        tags = "TAGS" in given.get("include", ())
        found, failures = [], []
        for name in names:
            task = find_task(cluster, name)
            if task is None:
                arn = region.arn("task", f"{cluster.name}/{last_part(name)}")
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(task_view(task, tags=tags))
        return {"tasks": found, "failures": failures}

    # stopping

    @operation("StopTask")
    async def op_stop_task(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Stop a task; one that has stopped is shown as it is."""
        await self._world.settled()
        cluster = find_cluster(self._region(caller), given.get("cluster"))
        task = find_task(cluster, given["task"])
        if task is None:
            raise invalid(_NOT_FOUND)
        if len(given.get("reason", "")) > 1024:
            raise invalid("reason cannot exceed 1024 characters.")
        self._world.stop_task(task, given.get("reason", ""))
        return {"task": task_view(task, tags=True)}


def _service_of(task: Task) -> object:
    return task.deployment.service if task.deployment else None


def _fingerprint(given: dict[str, Any]) -> str:
    return json.dumps(given, sort_keys=True, default=str)


def _failures(cluster: Cluster, launch: Launch, reason: str) -> list[dict[str, str]]:
    """Why a task could not be placed, for each instance."""
    refusals = [(i.arn, refusal(i, launch) or reason) for i in cluster.instances.values()]
    return [{"arn": arn, "reason": why} for arn, why in refusals]
