"""What runs: tasks and their containers as plain data, and the calls that list them.

Knows the answers of DescribeTasks and its kin. Never knows which of the tasks is meant.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..address import ContainerRef
from ..errors import AccessDenied, AgentNotConnected, EcsExecError, ExecNotEnabled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .api import AwsApi

__all__ = [
    "INJECTED",
    "ContainerInfo",
    "PortBinding",
    "TaskInfo",
    "describe_tasks",
    "list_clusters",
    "list_services",
    "list_task_arns",
    "with_public_addresses",
]

_BATCH = 100  # what DescribeTasks and DescribeNetworkInterfaces take at once

INJECTED = ("ecs-service-connect-", "aws-guardduty-agent")
"""How the names of containers begin that AWS itself puts into tasks; nobody means them without
naming them."""


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A container's port as the host of the task shows it."""

    container_port: int
    host: str
    host_port: int
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """One container of a task.

    Attributes:
        status: ``PENDING``, ``RUNNING`` or ``STOPPED``.
        agent_status: of the exec agent, likewise; empty when there is none.
        agent_reason: why the agent is not running, in AWS's words.
        agent_started_at: when the agent last started.
        reason: why the container stopped, in AWS's words.
    """

    name: str
    status: str
    runtime_id: str = ""
    image: str = ""
    agent_status: str = ""
    agent_reason: str = ""
    agent_started_at: datetime | None = None
    bindings: tuple[PortBinding, ...] = ()
    reason: str = ""
    exit_code: int | None = None
    health: str = ""

    @property
    def injected(self) -> bool:
        """Whether AWS put it into the task."""
        return self.name.startswith(INJECTED)


@dataclass(frozen=True, slots=True, repr=False)
class TaskInfo:
    """One task.

    Attributes:
        cluster: short name.
        service: short name, or None for a task on its own.
        revision: of the task definition; 0 when unknown.
        status: the last one, as in ``RUNNING``; ``desired_status`` is where it goes.
        exec_enabled: whether it was started with ECS Exec.
        stop_code: AWS's word for why it stopped, as in ``EssentialContainerExited``.
        public_ip: filled in by :func:`with_public_addresses`.
        tags: only when asked for.
    """

    cluster: str
    service: str | None
    family: str
    revision: int
    task_id: str
    task_arn: str
    region: str
    status: str
    desired_status: str
    exec_enabled: bool
    containers: tuple[ContainerInfo, ...]
    started_at: datetime | None = None
    created_at: datetime | None = None
    zone: str = ""
    launch_type: str = ""
    platform: str = ""
    stopped_reason: str = ""
    instance_arn: str = ""
    eni: str = ""
    private_ip: str = ""
    public_ip: str = ""
    tags: dict[str, str] = field(default_factory=dict, hash=False)
    stopped_at: datetime | None = None
    stop_code: str = ""

    def __repr__(self) -> str:
        return f"<TaskInfo {self.address} of {self.label}, {self.status}, exec {self.exec_state}>"

    @property
    def label(self) -> str:
        """Name of its service, or ``family:NAME`` for a task on its own."""
        return self.service or f"family:{self.family}"

    @property
    def address(self) -> str:
        """``CLUSTER/TASKID``."""
        return f"{self.cluster}/{self.task_id}"

    @property
    def running(self) -> bool:
        """Whether it runs and is to go on running."""
        return self.status == "RUNNING" and self.desired_status in ("RUNNING", "")

    @property
    def age(self) -> float | None:
        """Seconds since it started; None when it has not."""
        if self.started_at is None:
            return None
        return max(0.0, (datetime.now(timezone.utc) - self.started_at).total_seconds())

    @property
    def agents_off(self) -> dict[str, str]:
        """Containers whose exec agent is not running: their names, and the state with its reason.

        Containers that AWS put into the task do not count.
        """
        return {
            each.name: (each.agent_status.lower() or "missing")
            + (f" ({each.agent_reason})" if each.agent_reason else "")
            for each in self.containers
            if each.agent_status != "RUNNING" and not each.injected
        }

    @property
    def exec_state(self) -> str:
        """``on``, or why no command can be run in one of its containers, in a few words."""
        if not self.exec_enabled:
            return "off: not enabled when the task was started"
        for name, state in self.agents_off.items():
            return f"off: agent of {name} is {state}"
        return "on"

    def container(self, name: str) -> ContainerInfo | None:
        """The container of that name."""
        return next((each for each in self.containers if each.name == name), None)

    def ref(self, container: ContainerInfo) -> ContainerRef:
        """How the rest of the package names one of its containers."""
        return ContainerRef(
            cluster=self.cluster,
            service=self.service,
            family=self.family,
            task_id=self.task_id,
            task_arn=self.task_arn,
            container=container.name,
            runtime_id=container.runtime_id,
            region=self.region,
        )

    def has_tags(self, wanted: Mapping[str, str | None]) -> bool:
        """Whether it has all of these tags; None as a value: whatever it is."""
        return all(
            key in self.tags and value in (None, self.tags[key]) for key, value in wanted.items()
        )

    def refusal(self, container: ContainerInfo) -> EcsExecError | None:
        """Why no command can be run in a container, as an error; None when one can."""
        where = f"{self.address}:{container.name}"
        if not self.exec_enabled:
            if self.service:
                cure = (
                    f"aws ecs update-service --cluster {self.cluster} --service {self.service} "
                    "--enable-execute-command --force-new-deployment"
                )
            else:
                cure = "start a new task with: aws ecs run-task --enable-execute-command ..."
            return ExecNotEnabled(
                f"ECS Exec is not enabled for {where}",
                cause="the task was started without it, and a running task cannot be changed",
                cure=cure,
            )
        if container.agent_status == "RUNNING":
            return None
        if container.agent_status == "PENDING":
            return AgentNotConnected(
                f"the exec agent of {where} is still starting",
                cause=container.agent_reason or "its status is PENDING",
                cure="wait some seconds and try again",
            )
        if container.agent_status:
            return AgentNotConnected(
                f"the exec agent of {where} is {container.agent_status}",
                cause=container.agent_reason or "AWS gives no reason",
                cure="replace the task; the root filesystem must be "
                "writable and memory be left for the agent",
            )
        return AgentNotConnected(
            f"{where} has no exec agent",
            cause="AWS lists none for this container, though ECS Exec is enabled",
            cure="if the task has just started, wait; else check the platform version (Fargate "
            "1.4.0 or later) or the version of the ECS agent",
        )


# -- the calls -----------------------------------------------------------------------------------


async def list_clusters(api: AwsApi) -> list[str]:
    """Short names of all clusters."""
    arns = await api.pages("ecs", "list_clusters", "clusterArns")
    return sorted(map(_last, arns))


async def list_services(api: AwsApi, cluster: str | None = None) -> list[str]:
    """Short names of a cluster's services."""
    place = cluster or api.cluster
    arns = await api.pages("ecs", "list_services", "serviceArns", _about=place, cluster=place)
    return sorted(map(_last, arns))


async def list_task_arns(
    api: AwsApi,
    cluster: str,
    *,
    service: str | None = None,
    family: str | None = None,
    status: str = "RUNNING",
    limit: int | None = None,
) -> list[str]:
    """ARNs of a cluster's tasks, by the status that they are to have."""
    params = {"cluster": cluster, "desiredStatus": status}
    if service:
        params["serviceName"] = service
    if family:
        params["family"] = family
    arns: list[str] = await api.pages(
        "ecs", "list_tasks", "taskArns", _about=cluster, _limit=limit, **params
    )
    return arns


async def describe_tasks(
    api: AwsApi, cluster: str, tasks: Sequence[str], *, tags: bool = False
) -> list[TaskInfo]:
    """Tasks by id or ARN; those that are gone are left out."""
    extra: dict[str, Any] = {"include": ["TAGS"]} if tags else {}
    answers = await asyncio.gather(
        *(
            api.call("ecs", "describe_tasks", _about=cluster, cluster=cluster, tasks=batch, **extra)
            for batch in _batches(tasks)
        )
    )
    return [_task(each, api.region) for answer in answers for each in answer.get("tasks", ())]


async def with_public_addresses(api: AwsApi, tasks: Iterable[TaskInfo]) -> list[TaskInfo]:
    """The same tasks with their public addresses, as far as the caller may look them up."""
    tasks = list(tasks)
    enis = sorted({task.eni for task in tasks if task.eni})
    public: dict[str, str] = {}
    try:
        answers = await asyncio.gather(
            *(
                api.call("ec2", "describe_network_interfaces", NetworkInterfaceIds=batch)
                for batch in _batches(enis)
            )
        )
    except AccessDenied:
        return tasks
    except EcsExecError as error:
        # One task that ended in between makes EC2 refuse the whole batch.
        if not error.code.startswith("InvalidNetworkInterface") or len(tasks) == 1:
            if error.code.startswith("InvalidNetworkInterface"):
                return tasks
            raise
        each = await asyncio.gather(*(with_public_addresses(api, [task]) for task in tasks))
        return [task for group in each for task in group]
    for answer in answers:
        for interface in answer.get("NetworkInterfaces", ()):
            ip = (interface.get("Association") or {}).get("PublicIp", "")
            public[interface.get("NetworkInterfaceId", "")] = ip
    return [replace(task, public_ip=public.get(task.eni, "")) for task in tasks]


def by_age(task: TaskInfo) -> tuple[bool, float, str]:
    """A key that sorts tasks by how long they have run, longest first."""
    started = task.started_at
    return started is None, started.timestamp() if started else 0.0, task.task_arn


# -- reading answers -----------------------------------------------------------------------------


def _batches(items: Sequence[str]) -> Iterable[list[str]]:
    for start in range(0, len(items), _BATCH):
        yield list(items[start : start + _BATCH])


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]


def _task(task: dict[str, Any], region: str) -> TaskInfo:
    definition = _last(task.get("taskDefinitionArn", ""))
    family, _, revision = definition.partition(":")
    group = task.get("group") or ""
    eni = _eni(task.get("attachments") or ())
    return TaskInfo(
        cluster=_last(task.get("clusterArn", "")),
        service=group[len("service:") :] if group.startswith("service:") else None,
        family=family,
        revision=int(revision) if revision.isdigit() else 0,
        task_id=_last(task["taskArn"]),
        task_arn=task["taskArn"],
        region=region,
        status=task.get("lastStatus", ""),
        desired_status=task.get("desiredStatus", ""),
        exec_enabled=bool(task.get("enableExecuteCommand")),
        containers=tuple(map(_container, task.get("containers") or ())),
        started_at=_utc(task.get("startedAt")),
        created_at=_utc(task.get("createdAt")),
        zone=task.get("availabilityZone", ""),
        launch_type=task.get("launchType", ""),
        platform=task.get("platformVersion", ""),
        stopped_reason=task.get("stoppedReason", ""),
        instance_arn=task.get("containerInstanceArn", ""),
        eni=eni.get("networkInterfaceId", ""),
        private_ip=eni.get("privateIPv4Address", ""),
        tags={tag.get("key", ""): tag.get("value", "") for tag in task.get("tags") or ()},
        stopped_at=_utc(task.get("stoppedAt")),
        stop_code=task.get("stopCode", ""),
    )


def _eni(attachments: Iterable[dict[str, Any]]) -> dict[str, str]:
    for attachment in attachments:
        if attachment.get("type") in ("ElasticNetworkInterface", "eni"):
            details = attachment.get("details") or ()
            return {each.get("name", ""): each.get("value", "") for each in details}
    return {}


def _container(container: dict[str, Any]) -> ContainerInfo:
    agents = container.get("managedAgents") or ()
    agent: dict[str, Any] = next(
        (each for each in agents if each.get("name") == "ExecuteCommandAgent"), {}
    )
    return ContainerInfo(
        name=container.get("name", ""),
        status=container.get("lastStatus", ""),
        runtime_id=container.get("runtimeId", ""),
        image=container.get("image", ""),
        agent_status=agent.get("lastStatus", ""),
        agent_reason=agent.get("reason", ""),
        agent_started_at=_utc(agent.get("lastStartedAt")),
        bindings=tuple(
            PortBinding(
                container_port=int(each["containerPort"]),
                host=each.get("bindIP", ""),
                host_port=int(each["hostPort"]),
                protocol=each.get("protocol", "tcp"),
            )
            for each in container.get("networkBindings") or ()
            if each.get("containerPort") and each.get("hostPort")
        ),
        reason=container.get("reason", ""),
        exit_code=container.get("exitCode"),
        health=container.get("healthStatus", ""),
    )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)
