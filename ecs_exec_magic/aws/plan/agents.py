"""Waiting until commands can be run: tasks come up, and the exec agents in them.

Knows what tasks say of themselves on their way, and when to give up. Never starts anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...errors import AgentNotConnected, ProvisionError, ServiceError
from ..tasks import describe_tasks, list_task_arns
from .launch import NO_CLUSTER, own_tasks, read_service
from .part import Part, Say, beats, if_there
from .steps import Step

if TYPE_CHECKING:
    from ..tasks import TaskInfo
    from .part import Site

__all__ = ["Agents", "cure_of"]

LIMIT = 900.0
"""Seconds until tasks have to be up: pulling a big image takes minutes."""

_NO_SERVICE = (NO_CLUSTER, "ServiceNotFoundException", "ServiceNotActiveException")
_MEANT = ("ServiceSchedulerInitiated", "UserInitiated")
_FAILURES = 2  # tasks of a service that fail before it is told; one may be an accident

# What tasks that could not start say, and what helps.
_CURES = {
    ("cannotpullcontainer", "pull image", "pulling image"): "check the image's name, and that the "
    "subnets have a way to its registry: a public address, a NAT gateway, or endpoints for "
    "ecr.api, ecr.dkr and s3",
    ("resourceinitializationerror", "log group", "logger"): "the execution role must be able to "
    "write to the log group, and the subnets need a way to CloudWatch Logs",
    ("unable to assume",): "the role must trust ecs-tasks.amazonaws.com",
    ("outofmemory", "out of memory"): "give the task more memory",
    ("essential container", "essentialcontainerexited"): "the container's command ended by "
    "itself: give one that goes on, as in command=('sleep', '3600'), or look into its log group",
    ("capacity is unavailable", "resource:"): "try again later, or name subnets in other zones",
    ("vcpu limit", "limit on the number of"): "have the Fargate quota of the account raised",
}


def cure_of(reason: str) -> str:
    """What to do about the reason why a task stopped; empty when it is not known."""
    text = reason.lower()
    return next((cure for words, cure in _CURES.items() if any(word in text for word in words)), "")


class Agents(Part):
    """The exec agents of all tasks: nothing to make, but the end that all is for."""

    kind = "exec agent"
    lasts = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._gone: set[str] = set()

    @property
    def name(self) -> str:
        name = self.site.options.name
        return f"{name}/{name}:{self.site.options.container}"

    @property
    def count(self) -> int:
        """How many tasks are to run."""
        return self.site.options.count

    @property
    def kept(self) -> bool:
        """Whether a service keeps them running."""
        return self.site.options.service

    def why(self) -> str:
        return "comes up by itself; it is waited for"

    async def look(self) -> None:
        tasks, stopped = await asyncio.gather(self._tasks(), self._stopped())
        self._gone = {each.task_arn for each in stopped}
        ready = [each for each in tasks if self._ready(each)]
        self.there = len(ready) == len(tasks) == self.count
        self.ours = True

    def differences(self) -> list[str]:
        return []

    def step(self) -> Step:
        if self.there:
            return Step(self.kind, self.name, "keep", "runs in every task")
        return super().step()

    async def _tasks(self) -> list[TaskInfo]:
        """The tasks that are to run."""
        name, options = self.site.options.name, self.site.options
        if not options.service:
            return [each for each in await own_tasks(self.site) if each.exec_enabled]
        arns = await if_there(
            list_task_arns(self.site.api, name, service=name),
            *_NO_SERVICE,
        )
        return await describe_tasks(self.site.api, name, arns) if arns else []

    async def _failed(self) -> list[TaskInfo]:
        """Tasks that have failed since the plan was looked at."""
        return [
            each
            for each in await self._stopped()
            if each.task_arn not in self._gone and each.stop_code not in _MEANT
        ]

    async def _stopped(self) -> list[TaskInfo]:
        name = self.site.options.name
        if not self.site.options.service:
            return await own_tasks(self.site, status="STOPPED")
        arns = await if_there(
            list_task_arns(self.site.api, name, service=name, status="STOPPED"), *_NO_SERVICE
        )
        return await describe_tasks(self.site.api, name, arns) if arns else []

    async def make(self, say: Say) -> None:
        said = ""
        for seconds in beats(LIMIT):
            current = [each for each in await self._tasks() if self._is_current(each)]
            if len([each for each in current if self._ready(each)]) >= self.count:
                self.there = True
                return
            self._refuse_dead_agents(current)
            failed = await self._failed()
            if len(failed) >= (_FAILURES if self.kept else 1):
                raise _failure(failed[0])
            said = self._state(current) or await self._event() or "there is no task yet"
            await say(said)
            await self.site.pause.sleep(seconds)
        raise ProvisionError(
            f"the exec agents are not running after {LIMIT / 60:.0f} minutes",
            cause=said,
            cure="apply again to go on waiting",
        )

    def _ready(self, task: TaskInfo) -> bool:
        return task.running and task.exec_enabled and bool(task.containers) and not task.agents_off

    def _state(self, tasks: list[TaskInfo]) -> str:
        """What the first task that is not ready is at."""
        for task in tasks:
            if not self._ready(task):
                if task.status != "RUNNING":
                    return f"task {task.task_id[:8]} is {task.status}"
                name, state = next(iter(task.agents_off.items()), ("", "missing"))
                return f"task {task.task_id[:8]} is RUNNING; the agent of {name} is {state}"
        return ""

    def _is_current(self, task: TaskInfo) -> bool:
        return self.site.definition_arn.endswith(f"/{task.family}:{task.revision}")

    def _refuse_dead_agents(self, tasks: list[TaskInfo]) -> None:
        for task in tasks:
            for container in task.containers:
                if task.running and container.agent_status == "STOPPED":
                    error = task.refusal(container)
                    assert isinstance(error, AgentNotConnected)
                    raise error

    async def _event(self) -> str:
        """The last thing that AWS says about the service."""
        name = self.site.options.name
        if not self.site.options.service:
            return ""
        found = await read_service(self.site.api, name, name)
        events = (found or {}).get("events") or ()
        return str(events[0].get("message", "")) if events else ""


def _failure(task: TaskInfo) -> ServiceError:
    reasons = [each.reason for each in task.containers if each.reason]
    codes = [
        f"{each.name} ended with exit code {each.exit_code}"
        for each in task.containers
        if each.exit_code not in (None, 0)
    ]
    said = "; ".join(dict.fromkeys([task.stopped_reason, *reasons, *codes]))
    return ServiceError(
        f"task {task.task_id[:8]} stopped instead of running",
        cause=f"AWS says: {said or task.stop_code}",
        cure=cure_of(f"{said} {task.stop_code}") or "look into the log group of the task",
        code=task.stop_code,
    )
