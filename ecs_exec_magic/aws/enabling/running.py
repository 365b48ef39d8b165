"""What runs: the task definition where it needs a role, the service, and its exec agents.

Knows how new tasks are started. Never knows permissions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..plan.agents import Agents
from ..plan.launch import read_service
from ..plan.names import OWN_TAGS
from ..plan.part import Part, Say, if_there, patiently, tag_list, tags_of
from ..plan.steps import Step
from ..tasks import TaskInfo, describe_tasks, list_task_arns
from .memory import DEPLOY, EXEC, ROLE
from .place import FOR, Place, short

if TYPE_CHECKING:
    from .permissions import TaskRole

__all__ = ["BASE", "Notes", "Revision", "ServiceAgents", "ServiceExec", "register"]

BASE = f"{OWN_TAGS}exec-base"
"""On a task definition of ours: the revision that it was made from."""

_OLD = (1, 4, 0)  # the first platform version of Fargate that has exec


class Notes(Part):
    """What is remembered on the service before anything of it is changed."""

    kind = "service tags"
    site: Place
    lasts = False
    needed = False

    @property
    def name(self) -> str:
        return self.site.asked.address

    async def look(self) -> None:
        self.there = self.ours = EXEC in self.site.service_tags

    def _missing(self) -> dict[str, str]:
        place, tags = self.site, self.site.service_tags
        on = "on" if place.service.get("enableExecuteCommand") else "off"
        wanted = {EXEC: tags.get(EXEC) or f"{on} {short(place.definition['taskDefinitionArn'])}"}
        wanted[ROLE] = short(place.role_arn)
        if place.redeploy:
            wanted[DEPLOY] = "wanted"
        return {key: value for key, value in wanted.items() if tags.get(key) != value}

    def differences(self) -> list[str]:
        return [f"{key} = {value}" for key, value in self._missing().items()]

    def step(self) -> Step:
        if not (self.needed and self._missing()):
            return Step(self.kind, self.name, "keep", "remember what was before")
        why = "remember what was before, for undoing it"
        return Step(self.kind, self.name, "update", why, tuple(self.differences()))

    async def make(self, say: Say) -> None:
        tags = tag_list(self._missing(), "key", "value")
        arn = str(self.site.service["serviceArn"])
        await self.site.api.call("ecs", "tag_resource", resourceArn=arn, tags=tags)


class Revision(Part):
    """The task definition; a new revision where it has no task role."""

    kind = "task definition"
    site: Place

    def __init__(self, site: Place, role: TaskRole) -> None:
        super().__init__(site)
        self._role = role
        site.definition_arn = str(site.definition["taskDefinitionArn"])
        self._base = short(site.definition_arn)

    @property
    def name(self) -> str:
        return self._base

    async def look(self) -> None:
        self.there = not self._role.replaces
        self.ours = self.site.definition_tags.get(FOR) == self.site.owner
        if self.there:
            return
        # One that was registered before it could be used.
        answer = await self.site.api.call(
            "ecs",
            "describe_task_definition",
            taskDefinition=self.site.definition["family"],
            include=["TAGS"],
        )
        tags = tags_of(answer.get("tags"))
        if tags.get(FOR) == self.site.owner and tags.get(BASE) == self._base:
            self.site.definition_arn = str(answer["taskDefinition"]["taskDefinitionArn"])

    def differences(self) -> list[str]:
        return []

    def step(self) -> Step:
        if not self.there:
            why = f"a new revision of it, with task role {self._role.name}"
            return Step(self.kind, self.name, "create", why)
        why = "made for exec" if self.ours else "is there, as wanted"
        return Step(self.kind, self.name, "keep", why)

    async def make(self, say: Say) -> None:
        place = self.site
        if short(place.definition_arn) == self._base:
            place.definition_arn = await register(place, self._base, say)
        self.there = self.ours = True


async def register(place: Place, base: str, say: Say) -> str:
    """Register a copy of the service's task definition with its role; returns the ARN."""
    api = place.api
    model = api.client("ecs").meta.service_model.operation_model("RegisterTaskDefinition")
    document = {
        name: value
        for name, value in place.definition.items()
        if name in model.input_shape.members and value not in (None, [], "")
    }
    document["taskRoleArn"] = place.role_arn
    own = {key: text for key, text in place.definition_tags.items() if not key.startswith("aws:")}
    tags = tag_list({**own, FOR: place.owner, BASE: base}, "key", "value")
    answer = await patiently(
        place,
        lambda: api.call("ecs", "register_task_definition", **{**document, "tags": tags}),
        ("role",),
        say,
    )
    return str(answer["taskDefinition"]["taskDefinitionArn"])


class ServiceExec(Part):
    """The service, with exec on and tasks that have it."""

    kind = "service"
    site: Place

    def __init__(self, site: Place) -> None:
        super().__init__(site)
        self._without = 0

    @property
    def name(self) -> str:
        return self.site.asked.address

    async def look(self) -> None:
        place = self.site
        self.there, self.ours = True, EXEC in place.service_tags
        tasks = await tasks_of(place)
        self._without = sum(not each.exec_enabled for each in tasks)

    def differences(self) -> list[str]:
        place, found = self.site, []
        if not place.service.get("enableExecuteCommand"):
            found.append("exec is off; wanted: on")
        if self._without:
            found.append(f"{self._without} of its tasks were started without exec")
        if place.redeploy or DEPLOY in place.service_tags:
            found.append("new tasks are needed, which have the permissions from their start")
        return found

    def _obstacle(self) -> tuple[str, str]:
        """What stands in the way, and what helps."""
        place = self.site
        where = f"--cluster {place.asked.cluster} --service {place.asked.service}"
        if place.controller == "CODE_DEPLOY":
            return "its tasks are started by AWS CodeDeploy", (
                f"aws ecs update-service {where} --enable-execute-command, then deploy it with "
                "CodeDeploy; after that this goes on"
            )
        if place.controller != "ECS":
            return "its task sets are made by an external controller", (
                f"aws ecs update-service {where} --enable-execute-command, then have the "
                "controller make a new task set; after that this goes on"
            )
        if version := _too_old(place):
            return f"Fargate platform version {version} has no exec", (
                f"aws ecs update-service {where} --platform-version LATEST --force-new-deployment"
            )
        if place.containers and not set(place.containers) - set(place.closed):
            return "the root filesystem of every container is read-only", (
                "exec's agent has to write there: register a revision without "
                "readonlyRootFilesystem"
            )
        return "", ""

    def step(self) -> Step:
        found = tuple(self.differences())
        if not found:
            return Step(self.kind, self.name, "keep", "exec is on, and its tasks have it")
        why, cure = self._obstacle()
        if why:
            return Step(self.kind, self.name, "conflict", why, (cure,))
        count = self.site.count
        why = f"{count} task{'' if count == 1 else 's'} will be replaced by new ones"
        if not count:
            why = "no task is to run; later ones will have exec"
        return Step(self.kind, self.name, "update", why, found)

    async def make(self, say: Say) -> None:
        place, api = self.site, self.site.api
        asked: dict[str, Any] = {}
        if place.definition_arn != place.service.get("taskDefinition"):
            asked["taskDefinition"] = place.definition_arn
        await patiently(
            place,
            lambda: api.call(
                "ecs",
                "update_service",
                cluster=place.asked.cluster,
                service=place.asked.service,
                enableExecuteCommand=True,
                forceNewDeployment=True,
                **asked,
            ),
            ("unable to assume", "role"),
            say,
        )
        arn = str(place.service["serviceArn"])
        await api.call("ecs", "untag_resource", resourceArn=arn, tagKeys=[DEPLOY])


def _too_old(place: Place) -> str:
    """The platform version, when it has no exec."""
    family = (place.definition.get("runtimePlatform") or {}).get("operatingSystemFamily") or ""
    version = str(place.service.get("platformVersion") or "LATEST")
    numbers = version.split(".")
    if not place.fargate or family.startswith("WINDOWS") or not all(map(str.isdigit, numbers)):
        return ""
    return version if tuple(map(int, numbers)) < _OLD else ""


async def tasks_of(place: Place, status: str = "RUNNING") -> list[TaskInfo]:
    """The tasks of the service."""
    asked = place.asked
    arns = await if_there(
        list_task_arns(place.api, asked.cluster, service=asked.service, status=status),
        "ServiceNotFoundException",
        "ServiceNotActiveException",
        "ClusterNotFoundException",
    )
    return await describe_tasks(place.api, asked.cluster, arns) if arns else []


class ServiceAgents(Agents):
    """The exec agents of the service's new tasks."""

    site: Place

    def __init__(self, site: Place) -> None:
        super().__init__(site)
        self._since: Any = None

    @property
    def name(self) -> str:
        return self.site.address

    @property
    def count(self) -> int:
        return self.site.count

    @property
    def kept(self) -> bool:
        return True

    def step(self) -> Step:
        if not self.count:
            return Step(self.kind, self.name, "keep", "no task is to run (desired count 0)")
        if self.site.redeploy:
            return Step(self.kind, self.name, "create", self.why())
        return super().step()

    def _ready(self, task: TaskInfo) -> bool:
        """Containers in which no agent can start are not waited for."""
        off = set(task.agents_off) - set(self.site.closed)
        return task.running and task.exec_enabled and bool(task.containers) and not off

    async def _tasks(self) -> list[TaskInfo]:
        service = await self._service()
        deployments = service.get("deployments") or ()
        primary: dict[str, Any] = next(
            (each for each in deployments if each.get("status") == "PRIMARY"), {}
        )
        self._since = primary.get("createdAt")
        return await tasks_of(self.site)

    def _is_current(self, task: TaskInfo) -> bool:
        if self._since is None or task.created_at is None:
            return task.exec_enabled
        return bool(task.created_at.timestamp() >= self._since.timestamp())

    async def _stopped(self) -> list[TaskInfo]:
        return await tasks_of(self.site, "STOPPED")

    async def _service(self) -> dict[str, Any]:
        asked = self.site.asked
        return await read_service(self.site.api, asked.cluster, asked.service) or {}

    async def _event(self) -> str:
        events = (await self._service()).get("events") or ()
        return str(events[0].get("message", "")) if events else ""

    def _refuse_dead_agents(self, tasks: list[TaskInfo]) -> None:
        closed = set(self.site.closed)
        open_ones = [
            replace(
                each, containers=tuple(one for one in each.containers if one.name not in closed)
            )
            for each in tasks
        ]
        super()._refuse_dead_agents(open_ones)
