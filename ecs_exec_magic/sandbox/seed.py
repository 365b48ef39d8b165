"""The cluster every practice session begins with.

Knows names and numbers of what is there at first. Never knows requests or processes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import image as images
from .ecs.definition_rules import normalise
from .ecs.deployment import Service
from .ecs.model import Launch
from .iam.starter import EXECUTION_ROLE, TASK_ROLE

if TYPE_CHECKING:
    from .ecs.deployment import Deployment
    from .ecs.model import AwsVpc, Cluster, Task
    from .ecs.state import Region

__all__ = ["connect", "seed"]

_AGENT_DOWN = "ExecuteCommandAgent process exited with exit code: 1"
_TAGS = {"environment": "practice"}
_DAYS = 3 * 86400.0
_CONTAINERS = {
    "web": (("nginx", images.NGINX), ("sidecar", images.SIDECAR)),
    "worker": (("worker", images.WORKER),),
    "no-exec": (("app", images.SIDECAR),),
    "agent-down": (("app", images.SIDECAR),),
}
_REVISIONS = {"web": 3, "worker": 2}
_AGES = (  # seconds that each task has been there
    ("web", 7200.0),
    ("web", 5400.0),
    ("web", 3600.0),
    ("worker", 9000.0),
    ("worker", 1800.0),
    ("no-exec", 600.0),
    ("agent-down", 300.0),
)


def _document(family: str, region: Region) -> dict[str, Any]:
    containers = [
        {
            "name": name,
            "image": image.name,
            "essential": index == 0,
            "portMappings": [{"containerPort": 80}] if image is images.NGINX else [],
            "linuxParameters": {"initProcessEnabled": True},
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-create-group": "true",
                    "awslogs-group": f"/aws/ecs/{family}",
                    "awslogs-region": region.name,
                    "awslogs-stream-prefix": "container-stdout",
                },
            },
        }
        for index, (name, image) in enumerate(_CONTAINERS[family])
    ]
    given = {
        "family": family,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": TASK_ROLE,
        "executionRoleArn": EXECUTION_ROLE,
        "containerDefinitions": containers,
    }
    return normalise(given, region.iam("role/"))


def _service(cluster: Cluster, launch: Launch, count: int) -> Deployment:
    name, region = launch.definition.family, cluster.region
    arn = region.arn("service", f"{cluster.name}/{name}")
    service = Service(name, arn, cluster, count, region.iam("user/sandbox"))
    service.tags = dict(_TAGS)
    service.propagate = "SERVICE"
    service.created = time.time() - _DAYS
    deployment = service.deploy(launch)
    deployment.created = deployment.updated = service.created
    deployment.state = "COMPLETED"
    service.proven = launch
    service.tell("has reached a steady state.")
    service.steady = True
    cluster.services[name] = service
    return deployment


def _run(cluster: Cluster, launch: Launch, deployment: Deployment | None, age: float) -> Task:
    task = cluster.region.add_task(cluster, launch, tags=_TAGS, deployment=deployment)
    task.created = time.time() - age
    task.connected = task.created + 6
    task.pull_started, task.pull_stopped = task.created + 12, task.created + 19
    task.started = task.created + 25
    task.status, task.version = "RUNNING", 5
    for container in task.containers:
        container.status = "RUNNING"
        if launch.definition.family == "agent-down":
            container.agent, container.agent_reason = "STOPPED", _AGENT_DOWN
            container.control_channel = False
        elif launch.exec_enabled:
            container.agent, container.agent_started = "RUNNING", task.started + 5
    return task


def seed(region: Region) -> list[Task]:
    """Fill an empty region and return the tasks that run in it; none has an address yet."""
    cluster = region.add_cluster("demo")
    cluster.tags = dict(_TAGS)
    cluster.capacity_providers = ["FARGATE", "FARGATE_SPOT"]
    cluster.strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    launches: dict[str, Launch] = {}
    deployments: dict[str, Deployment] = {}
    for family in _CONTAINERS:
        for _ in range(_REVISIONS.get(family, 1)):
            definition = region.add_definition(
                _document(family, region), region.iam("user/sandbox"), dict(_TAGS)
            )
            definition.registered = time.time() - _DAYS
        is_service = family in _REVISIONS
        launches[family] = Launch(
            definition,
            exec_enabled=family != "no-exec",
            group=f"service:{family}" if is_service else f"family:{family}",
        )
        if is_service:
            count = sum(name == family for name, _ in _AGES)
            deployments[family] = _service(cluster, launches[family], count)
    return [_run(cluster, launches[family], deployments.get(family), age) for family, age in _AGES]


def connect(tasks: list[Task], network: AwsVpc) -> None:
    """Say in which subnets the seeded tasks and services are, once that is known."""
    launches: dict[str, Launch] = {}
    for task in tasks:
        family = task.definition.family
        launches.setdefault(family, replace(task.launch, network=network))
        task.launch = launches[family]
        if task.deployment is not None:
            task.deployment.launch = launches[family]
