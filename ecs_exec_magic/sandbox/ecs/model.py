"""What the control plane is made of: regions, clusters, tasks, containers, instances.

Knows their fields, names and numbers. Never knows requests, sessions or processes.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .definition import TaskDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..network import Interface
    from .deployment import Deployment, Service

__all__ = [
    "AwsVpc",
    "Cluster",
    "ContainerState",
    "Instance",
    "Launch",
    "Region",
    "State",
    "Task",
    "partition_of",
]

_KEPT = 3600.0  # seconds for which a stopped task is still described


def partition_of(region: str) -> str:
    """The partition that a region belongs to."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


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


class Region:
    """What one region holds.

    Attributes:
        families: revisions by family, in order.
        settings: account settings by principal and name.
        requests: what RunTask started by caller and client token, to start it once only.
    """

    def __init__(self, name: str, account_id: str) -> None:
        self.name = name
        self.account_id = account_id
        self.clusters: dict[str, Cluster] = {}
        self.families: dict[str, list[TaskDefinition]] = {}
        self.settings: dict[tuple[str, str], str] = {}
        self.requests: dict[tuple[str, str], tuple[str, list[Task]]] = {}
        self._revisions: dict[str, int] = {}

    def arn(self, kind: str, name: str) -> str:
        """An ARN of this region and account."""
        return f"arn:{partition_of(self.name)}:ecs:{self.name}:{self.account_id}:{kind}/{name}"

    def iam(self, resource: str) -> str:
        """An ARN of something in this account's IAM."""
        return f"arn:{partition_of(self.name)}:iam::{self.account_id}:{resource}"

    def add_cluster(self, name: str) -> Cluster:
        """A new cluster in the place of any of this name."""
        cluster = Cluster(name, self.arn("cluster", name), self)
        self.clusters[name] = cluster
        return cluster

    def add_definition(
        self, document: dict[str, Any], registered_by: str, tags: dict[str, str]
    ) -> TaskDefinition:
        """The next revision of the document's family."""
        revisions = self.families.setdefault(document["family"], [])
        revision = self._revisions.get(document["family"], 0) + 1
        self._revisions[document["family"]] = revision
        name = f"{document['family']}:{revision}"
        definition = TaskDefinition(
            self.arn("task-definition", name),
            revision,
            document,
            registered_by=registered_by,
            registered=time.time(),
            tags=tags,
        )
        revisions.append(definition)
        return definition

    def add_task(
        self,
        cluster: Cluster,
        launch: Launch,
        *,
        tags: dict[str, str] | None = None,
        deployment: Deployment | None = None,
        instance: Instance | None = None,
    ) -> Task:
        """A new task, PROVISIONING."""
        task_id = uuid.uuid4().hex
        containers = [
            ContainerState(
                name=each["name"],
                image=each["image"],
                container_id=str(uuid.uuid4()),
                runtime_id=f"{task_id}-{random.randrange(10**8, 4 * 10**9)}",
                essential=each.get("essential", True),
                agent="PENDING" if launch.exec_enabled else None,
            )
            for each in launch.definition.containers
        ]
        task = Task(
            task_id,
            self.arn("task", f"{cluster.name}/{task_id}"),
            cluster,
            launch,
            containers,
            time.time(),
            tags=dict(tags or {}),
            deployment=deployment,
            instance=instance,
        )
        cluster.tasks[task_id] = task
        if deployment is not None:
            deployment.tasks[task_id] = task
        return task


class State:
    """Everything the account holds, by region."""

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.regions: dict[str, Region] = {}

    def region(self, name: str) -> Region:
        """One region; it begins empty."""
        if name not in self.regions:
            self.regions[name] = Region(name, self.account_id)
        return self.regions[name]

    def clusters(self) -> Iterator[Cluster]:
        """Every cluster of every region."""
        for region in self.regions.values():
            yield from region.clusters.values()

    def find(self, arn: str) -> Cluster | Service | Task | TaskDefinition | Instance | None:
        """What an ARN names."""
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "ecs" or parts[4] != self.account_id:
            return None
        region = self.regions.get(parts[3])
        kind, _, rest = parts[5].partition("/")
        if region is None:
            return None
        if kind == "cluster":
            return region.clusters.get(rest)
        if kind == "task-definition":
            family, _, revision = rest.partition(":")
            known = region.families.get(family, [])
            return next((d for d in known if str(d.revision) == revision), None)
        cluster = region.clusters.get(rest.partition("/")[0])
        name = rest.partition("/")[2]
        if cluster is None:
            return None
        if kind == "task":
            return cluster.tasks.get(name)
        if kind == "service":
            return cluster.services.get(name)
        return cluster.instances.get(name) if kind == "container-instance" else None

    async def roles_of(self, name: str, region: str) -> list[str]:
        """The roles of a task definition, by family, ``family:revision`` or ARN."""
        family, _, revision = name.rpartition("/")[2].partition(":")
        known = self.region(region).families.get(family, [])
        fits = [d for d in known if (str(d.revision) == revision if revision else d.is_active)]
        roles = (
            (fits[-1].document.get(r) for r in ("taskRoleArn", "executionRoleArn")) if fits else ()
        )
        return [str(role) for role in roles if role]

    async def tags_of(self, arn: str) -> dict[str, str] | None:
        """The tags of what an ARN names; None when there is no such thing."""
        found = self.find(arn)
        return None if found is None else dict(found.tags)
