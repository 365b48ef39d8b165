"""What runs: a service, or tasks without one.

Knows how both are started and what they are compared by. Never knows how long that takes.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from ...errors import ServiceError
from ..tasks import describe_tasks, list_task_arns
from .part import Part, Say, beats, difference, if_there, patiently, tag_list, tags_of
from .steps import Step

if TYPE_CHECKING:
    from ..api import AwsApi
    from ..tasks import TaskInfo
    from .part import Site

__all__ = ["NO_CLUSTER", "Service", "Tasks", "own_tasks", "placing", "read_service"]

NO_CLUSTER = "ClusterNotFoundException"

# What AWS says when no container instance takes a task, and what helps.
_PLACING = {
    "resource:port": "another task has the port: port none, or stop that task",
    "resource:memory": "ask for less memory, or choose a bigger instance type",
    "resource:cpu": "ask for less CPU, or choose a bigger instance type",
    "agent": "the ECS agent of the instance is not connected: look into its log, or reboot it",
    "no container instance": "the instance has no room: ask for less, or choose a bigger one",
}
_UNTRUSTED = ("unable to assume", "role")
_DRAIN_LIMIT = 600.0


async def read_service(api: AwsApi, cluster: str, name: str) -> dict[str, Any] | None:
    """A service that is active or draining, with its tags; None when there is none."""
    call = api.call(
        "ecs",
        "describe_services",
        _about=f"{cluster}/{name}",
        cluster=cluster,
        services=[name],
        include=["TAGS"],
    )
    answer = await if_there(call, NO_CLUSTER)
    found = [each for each in (answer or {}).get("services", ()) if each["status"] != "INACTIVE"]
    return found[0] if found else None


async def own_tasks(site: Site, *, status: str = "RUNNING") -> list[TaskInfo]:
    """Tasks without a service that this plan has started."""
    name = site.options.name
    arns = await if_there(list_task_arns(site.api, name, family=name, status=status), NO_CLUSTER)
    found = await describe_tasks(site.api, name, arns, tags=True) if arns else []
    return [each for each in found if each.service is None and site.owns(each.tags)]


async def stop_task(site: Site, task: TaskInfo) -> None:
    """Stop a task of ours; it ends by itself after that."""
    await site.api.call(
        "ecs",
        "stop_task",
        cluster=site.options.name,
        task=task.task_arn,
        reason="replaced by its plan",
    )


def _network(site: Site) -> dict[str, Any]:
    """The network of tasks that have one; on EC2 they use their instance's."""
    if site.options.on_ec2:
        return {}
    return {
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(site.subnets),
                "securityGroups": [site.group_id],
                "assignPublicIp": "ENABLED" if site.public else "DISABLED",
            }
        }
    }


def _deployment(site: Site) -> dict[str, Any]:
    """How revisions follow each other: on one instance the old one has to make room first."""
    if not site.options.on_ec2:
        return {}
    bounds = {"maximumPercent": 100, "minimumHealthyPercent": 0}
    return {"deploymentConfiguration": bounds}


class Service(Part):
    """A service that keeps tasks running, with exec on."""

    kind = "service"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._found: dict[str, Any] = {}
        self._strays: list[TaskInfo] = []

    @property
    def name(self) -> str:
        return self.site.options.name

    def why(self) -> str:
        count = self.site.options.count
        return f"keeps {count} task{'' if count == 1 else 's'} running, with exec on"

    async def look(self) -> None:
        found, self._strays = await asyncio.gather(
            read_service(self.site.api, self.name, self.name), own_tasks(self.site)
        )
        if found is not None:
            self._found = found
            self.there = found["status"] == "ACTIVE"
            self.ours = self.site.owns(tags_of(found.get("tags")))

    def differences(self) -> list[str]:
        site, found = self.site, self._found
        network = (found.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        lines = difference(
            "its task definition",
            _short(found.get("taskDefinition", "")),
            _definition(site),
        )
        lines += difference("its count", found.get("desiredCount"), site.options.count)
        lines += difference("exec", bool(found.get("enableExecuteCommand")), True)
        lines += self._moved()
        if not site.options.on_ec2:
            subnets = sorted(network.get("subnets", ()))
            lines += difference("its subnets", subnets, sorted(site.subnets))
            lines += difference(
                "its security groups",
                network.get("securityGroups", []),
                [site.group_id or site.names.security_group],
            )
            public = network.get("assignPublicIp") == "ENABLED"
            lines += difference("its public address", public, site.public)
        if self.ours and self._strays:
            lines.append(f"{len(self._strays)} tasks of this plan run without it")
        return lines

    def _moved(self) -> list[str]:
        found, wanted = self._found.get("launchType"), self.site.options.launch_type
        return difference("its launch type", found, wanted) if found else []

    def step(self) -> Step:
        if self.there and self.ours and self._moved():
            why = "AWS does not change the launch type of a service"
            difference = (*self._moved(), "clean up first, or keep the launch type")
            return Step(self.kind, self.name, "conflict", why, difference)
        return super().step()

    def request(self) -> dict[str, Any]:
        """What a new service is made with."""
        site = self.site
        return {
            "cluster": self.name,
            "serviceName": self.name,
            "taskDefinition": site.definition_arn,
            "desiredCount": site.options.count,
            "launchType": site.options.launch_type,
            **_network(site),
            **_deployment(site),
            "enableExecuteCommand": True,
            "enableECSManagedTags": True,
            "propagateTags": "SERVICE",
            "tags": tag_list(site.tags, "key", "value"),
        }

    async def make(self, say: Say) -> None:
        site, api = self.site, self.site.api
        for each in self._strays:
            await stop_task(site, each)
        self._strays = []
        if self.there:
            if self.differences():
                await api.call(
                    "ecs",
                    "update_service",
                    cluster=self.name,
                    service=self.name,
                    taskDefinition=site.definition_arn,
                    desiredCount=site.options.count,
                    enableExecuteCommand=True,
                    forceNewDeployment=True,
                    **_network(site),
                    **_deployment(site),
                )
            return
        await self._drained(say)
        await patiently(
            site,
            lambda: api.call("ecs", "create_service", **self.request()),
            _UNTRUSTED,
            say,
        )
        self.there = self.ours = True

    async def _drained(self, say: Say) -> None:
        """Wait until a former service of that name is gone: until then AWS makes no other."""
        for seconds in beats(_DRAIN_LIMIT):
            found = await read_service(self.site.api, self.name, self.name)
            if found is None or found["status"] != "DRAINING":
                return
            await say("the former service of this name is still draining")
            await self.site.pause.sleep(seconds)


class Tasks(Part):
    """Tasks that are run once, with exec on."""

    kind = "task"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._running: list[TaskInfo] = []
        self._stopped: list[TaskInfo] = []
        self._service = False

    @property
    def name(self) -> str:
        return self.site.options.name

    def why(self) -> str:
        count = self.site.options.count
        return f"runs {count} task{'' if count == 1 else 's'} once, with exec on"

    async def look(self) -> None:
        running, self._stopped, service = await asyncio.gather(
            own_tasks(self.site),
            own_tasks(self.site, status="STOPPED"),
            read_service(self.site.api, self.name, self.name),
        )
        self._running = [each for each in running if each.exec_enabled]
        self._service = service is not None and service["status"] == "ACTIVE"
        self.there = self.ours = bool(self._running)

    def step(self) -> Step:
        if self._service:  # NAME/NAME would mean its tasks, and not these
            why = "a service of this name is there"
            return Step(self.kind, self.name, "conflict", why, ("keep it, or clean up first",))
        return super().step()

    def _current(self) -> list[TaskInfo]:
        """Tasks of the revision that is wanted."""
        wanted = _definition(self.site)
        return [each for each in self._running if f"{each.family}:{each.revision}" == wanted]

    def differences(self) -> list[str]:
        others = len(self._running) - len(self._current())
        lines = difference("their count", len(self._current()), self.site.options.count)
        return lines + ([f"{others} of another task definition run"] if others else [])

    async def make(self, say: Say) -> None:
        site, current = self.site, self._current()
        for each in self._running:
            if each not in current or current.index(each) >= site.options.count:
                await stop_task(site, each)
        missing = site.options.count - len(current)
        if missing > 0:
            answer = await patiently(site, lambda: self._run(missing), _UNTRUSTED, say)
            if failures := answer.get("failures"):
                reason = str(failures[0].get("reason", ""))
                raise ServiceError(
                    "AWS could not place the tasks",
                    cause=f"AWS says: {reason}",
                    cure=placing(reason),
                    code=reason,
                )
        self.there = self.ours = True

    def request(self) -> dict[str, Any]:
        """What tasks are run with, but their token."""
        site = self.site
        return {
            "cluster": self.name,
            "taskDefinition": site.definition_arn,
            "launchType": site.options.launch_type,
            **_network(site),
            "enableExecuteCommand": True,
            "enableECSManagedTags": True,
            "startedBy": site.names.started_by,
            "tags": tag_list(site.tags, "key", "value"),
        }

    async def _run(self, count: int) -> dict[str, Any]:
        site = self.site
        # The same token as long as nothing has changed: a call whose answer was never read is not
        # made twice, even while ListTasks does not yet know of it.
        known = sorted(each.task_arn for each in (*self._running, *self._stopped))
        text = "\n".join([site.definition_arn, str(count), *known])
        token = hashlib.sha256(text.encode()).hexdigest()[:36]
        return await site.api.call(
            "ecs", "run_task", count=count, clientToken=token, **self.request()
        )


def _definition(site: Site) -> str:
    """The revision that is to run; one that is not registered yet has no number."""
    pending = any(
        part.kind == "task definition" and part.step().action != "keep" for part in site.parts
    )
    return "a new one" if pending else _short(site.definition_arn) or "a new one"


def placing(reason: str) -> str:
    """What helps where no instance takes a task; empty when that is not known."""
    return next((cure for word, cure in _PLACING.items() if word in reason.lower()), "")


def _short(arn: str) -> str:
    return arn.rpartition("/")[2]
