"""What the practice cluster is made of: clusters, services, task definitions, tasks, containers.

Knows their fields and how AWS shows them. Never knows requests, sessions or processes.
"""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from .api import ACCOUNT

__all__ = [
    "Cluster",
    "ContainerState",
    "Service",
    "State",
    "Task",
    "TaskDefinition",
    "tag_list",
]

SUBNETS = ("subnet-0a1b2c3d4e5f60718", "subnet-0918f7e6d5c4b3a29")
SECURITY_GROUP = "sg-0123456789abcdef0"


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as ECS shows them."""
    return [{"key": k, "value": v} for k, v in tags.items()]


@dataclass
class TaskDefinition:
    """One revision of a family.

    Attributes:
        images: the image kind of each container, by container name, in order.
    """

    family: str
    revision: int
    images: dict[str, str]
    registered: float
    init_process: bool = True

    def arn(self, region: str) -> str:
        """Its ARN."""
        return f"arn:aws:ecs:{region}:{ACCOUNT}:task-definition/{self.family}:{self.revision}"


@dataclass
class ContainerState:
    """One container of a task; ``image`` is the kind of its image.

    Attributes:
        agent: lastStatus of its ExecuteCommandAgent, or None without ECS Exec.
        host_port: where the host answers for its port 80, or 0.
    """

    name: str
    image: str
    image_name: str
    container_id: str
    runtime_id: str
    agent: str | None
    agent_reason: str = ""
    host_port: int = 0
    status: str = "PENDING"
    exit_code: int | None = None
    control_channel: bool = True


@dataclass
class Task:
    """One task."""

    task_id: str
    cluster: str
    definition: TaskDefinition
    containers: list[ContainerState]
    created: float
    exec_enabled: bool
    service: str = ""
    group: str = ""
    launch_type: str = "FARGATE"
    started_by: str = ""
    status: str = "PROVISIONING"
    desired: str = "RUNNING"
    started: float | None = None
    stopping: float | None = None
    stopped: float | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    address: str = "10.0.0.10"
    zone: str = "a"
    eni: str = ""

    @property
    def hostname(self) -> str:
        """The private DNS name, as the containers see it."""
        return f"ip-{self.address.replace('.', '-')}.ec2.internal"

    def arn(self, region: str) -> str:
        """Its ARN."""
        return f"arn:aws:ecs:{region}:{ACCOUNT}:task/{self.cluster}/{self.task_id}"


@dataclass
class Service:
    """One service."""

    name: str
    cluster: str
    definition: TaskDefinition
    desired: int
    created: float
    exec_enabled: bool
    tags: dict[str, str] = field(default_factory=dict)
    deployment: str = field(default_factory=lambda: str(random.randrange(10**18, 10**19)))

    def arn(self, region: str) -> str:
        """Its ARN."""
        return f"arn:aws:ecs:{region}:{ACCOUNT}:service/{self.cluster}/{self.name}"


@dataclass
class Cluster:
    """One cluster."""

    name: str
    status: str = "ACTIVE"
    tags: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=lambda: {"containerInsights": "disabled"})
    services: dict[str, Service] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)

    def arn(self, region: str) -> str:
        """Its ARN."""
        return f"arn:aws:ecs:{region}:{ACCOUNT}:cluster/{self.name}"

    @property
    def key_id(self) -> str | None:
        """The KMS key of its exec sessions."""
        found = self.configuration.get("executeCommandConfiguration", {}).get("kmsKeyId")
        return str(found) if found else None


class State:
    """Everything the account holds."""

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.definitions: dict[str, list[TaskDefinition]] = {}
        self._addresses = 0

    def define(self, family: str, images: dict[str, str], revisions: int = 1) -> TaskDefinition:
        """Register so many revisions of a family and return the last."""
        known = self.definitions.setdefault(family, [])
        for _ in range(revisions):
            known.append(TaskDefinition(family, len(known) + 1, dict(images), time.time()))
        return known[-1]

    def new_task(
        self, cluster: Cluster, definition: TaskDefinition, image_names: dict[str, str], **rest: Any
    ) -> Task:
        """Put a new task into a cluster; it is PROVISIONING."""
        task_id = uuid.uuid4().hex
        self._addresses += 1
        enabled = rest["exec_enabled"]
        containers = [
            ContainerState(
                name=name,
                image=image,
                image_name=image_names[image],
                container_id=str(uuid.uuid4()),
                runtime_id=f"{task_id}-{random.randrange(10**8, 4 * 10**9)}",
                agent="PENDING" if enabled else None,
            )
            for name, image in definition.images.items()
        ]
        task = Task(
            task_id,
            cluster.name,
            definition,
            containers,
            address=f"10.0.{self._addresses // 200 % 2}.{self._addresses % 200 + 10}",
            zone="ab"[self._addresses % 2],
            eni=f"eni-0{uuid.uuid4().hex[:16]}",
            **rest,
        )
        cluster.tasks[task_id] = task
        return task
