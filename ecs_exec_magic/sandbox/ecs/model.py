"""What the control plane is made of: clusters, tasks, containers, instances.

Knows their fields, names and numbers. Never knows requests, sessions or processes.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..network import Interface
    from .definition import TaskDefinition
    from .deployment import Deployment, Service
    from .state import Region

__all__ = [
    "AwsVpc",
    "Cluster",
    "ContainerState",
    "Instance",
    "Launch",
    "Task",
]

_KEPT = 3600.0  # seconds for which a stopped task is still described


@dataclass(frozen=True, slots=True)
class AwsVpc:
    """Where a task's network interface goes."""

    subnets: tuple[str, ...]
    groups: tuple[str, ...] = ()
    public: bool = False

    def view(self) -> dict[str, Any]:
        """As ECS shows it."""
        return {
            "awsvpcConfiguration": {
                "subnets": list(self.subnets),
                "securityGroups": list(self.groups),
                "assignPublicIp": "ENABLED" if self.public else "DISABLED",
            }
        }


@dataclass(frozen=True, slots=True)
class Launch:
    """How tasks are started; every task of a deployment shares one.

    Attributes:
        capacity: the name of a capacity provider, or empty.
        platform: a Fargate platform version such as ``1.4.0``, else empty.
        overrides: as RunTask takes them.
    """

    definition: TaskDefinition
    launch_type: str = "FARGATE"
    capacity: str = ""
    platform: str = "1.4.0"
    network: AwsVpc | None = None
    exec_enabled: bool = False
    group: str = ""
    started_by: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)

    def override_of(self, container: str) -> dict[str, Any]:
        """What is overridden of one container."""
        for override in self.overrides.get("containerOverrides", ()):
            if override.get("name") == container:
                return dict(override)
        return {}

    @property
    def role_arn(self) -> str | None:
        """The task role."""
        found = self.overrides.get("taskRoleArn") or self.definition.document.get("taskRoleArn")
        return str(found) if found else None

    @property
    def execution_role_arn(self) -> str | None:
        """The role that pulls images and sends logs."""
        found = self.overrides.get("executionRoleArn") or self.definition.document.get(
            "executionRoleArn"
        )
        return str(found) if found else None

    @property
    def cpu(self) -> int:
        """CPU units the task takes."""
        whole = self.overrides.get("cpu") or self.definition.document.get("cpu")
        if whole:
            return int(whole)
        return sum(c.get("cpu", 0) for c in self.definition.containers)

    @property
    def memory(self) -> int:
        """MiB the task takes."""
        whole = self.overrides.get("memory") or self.definition.document.get("memory")
        if whole:
            return int(whole)
        return sum(
            c.get("memoryReservation") or c.get("memory", 0) for c in self.definition.containers
        )

    @property
    def host_ports(self) -> frozenset[int]:
        """Fixed ports the task takes on its instance."""
        if self.definition.network_mode in ("awsvpc", "none"):
            return frozenset()
        return frozenset(
            mapping["hostPort"]
            for container in self.definition.containers
            for mapping in container.get("portMappings", ())
            if mapping.get("hostPort")
        )


@dataclass(eq=False, slots=True)
class ContainerState:
    """One container of a task.

    Attributes:
        agent: lastStatus of its ExecuteCommandAgent, or None without ECS Exec.
        control_channel: whether the agent holds its connection to the service.
        bindings: pairs of a container port and the loopback port that leads to it.
    """

    name: str
    image: str
    container_id: str
    runtime_id: str
    essential: bool
    agent: str | None
    agent_reason: str = ""
    agent_started: float | None = None
    control_channel: bool = True
    status: str = "PENDING"
    exit_code: int | None = None
    reason: str = ""
    bindings: tuple[tuple[int, int], ...] = ()


@dataclass(eq=False, slots=True)
class Task:
    """One task."""

    task_id: str
    arn: str
    cluster: Cluster = field(repr=False)
    launch: Launch
    containers: list[ContainerState]
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    deployment: Deployment | None = field(default=None, repr=False)
    instance: Instance | None = field(default=None, repr=False)
    interface: Interface | None = None
    status: str = "PROVISIONING"
    desired: str = "RUNNING"
    version: int = 1
    connected: float | None = None
    pull_started: float | None = None
    pull_stopped: float | None = None
    started: float | None = None
    stopping: float | None = None
    execution_stopped: float | None = None
    stopped: float | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None

    @property
    def definition(self) -> TaskDefinition:
        """Its task definition."""
        return self.launch.definition

    @property
    def hostname(self) -> str:
        """Its name, as the containers see it."""
        return self.interface.private_name if self.interface else self.task_id[:12]

    @property
    def address(self) -> str:
        """Its private address."""
        return self.interface.private_address if self.interface else "172.17.0.2"

    def container(self, name: str) -> ContainerState | None:
        """Its container of this name."""
        return next((c for c in self.containers if c.name == name), None)

    def to(self, status: str) -> None:
        """Take it to its next status."""
        self.status = status
        self.version += 1


@dataclass(eq=False, slots=True)
class Instance:
    """One container instance."""

    arn: str
    instance_id: str
    ec2_id: str
    cluster: Cluster = field(repr=False)
    cpu: int
    memory: int
    registered: float
    attributes: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "ACTIVE"
    connected: bool = True
    agent_version: str = "1.89.2"
    docker_version: str = "25.0.8"
    version: int = 1

    def tasks(self) -> list[Task]:
        """What takes room on it."""
        return [t for t in self.cluster.tasks.values() if t.instance is self and t.stopped is None]


@dataclass(eq=False, slots=True)
class Cluster:
    """One cluster."""

    name: str
    arn: str
    region: Region = field(repr=False)
    status: str = "ACTIVE"
    tags: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=lambda: {"containerInsights": "disabled"})
    capacity_providers: list[str] = field(default_factory=list)
    strategy: list[dict[str, Any]] = field(default_factory=list)
    connect_defaults: dict[str, Any] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict, repr=False)
    tasks: dict[str, Task] = field(default_factory=dict, repr=False)
    instances: dict[str, Instance] = field(default_factory=dict, repr=False)
    gone: deque[Task] = field(default_factory=deque, repr=False)

    @property
    def key_id(self) -> str | None:
        """The KMS key of its exec sessions."""
        found = self.configuration.get("executeCommandConfiguration", {}).get("kmsKeyId")
        return str(found) if found else None

    def prune(self) -> None:
        """Forget tasks that stopped long ago."""
        while self.gone and time.time() - (self.gone[0].stopped or 0.0) > _KEPT:
            self.tasks.pop(self.gone.popleft().task_id, None)
