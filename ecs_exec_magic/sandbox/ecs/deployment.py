"""Services and their deployments.

Knows their fields and how many tasks each has. Never decides which tasks are started or stopped.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Cluster, Launch, Task

__all__ = ["Deployment", "Service"]

_EVENTS = 100  # as many as AWS shows


def _number() -> str:
    return f"{random.randrange(10**18, 10**19):019d}"


@dataclass(eq=False, slots=True)
class Deployment:
    """One deployment of a service.

    Attributes:
        status: ``PRIMARY`` the one that is wanted, ``ACTIVE`` an older one that drains.
        desired: how many tasks it is to have.
        tasks: those that have not stopped yet.
        failures: how many tasks in a row could not be started, or ended by themselves.
    """

    launch: Launch
    desired: int
    number: str = field(default_factory=_number)
    status: str = "PRIMARY"
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    tasks: dict[str, Task] = field(default_factory=dict, repr=False)
    failed_tasks: int = 0
    failures: int = 0
    state: str = "IN_PROGRESS"
    service: Service | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """Its id as ECS shows it."""
        return f"ecs-svc/{self.number}"

    def alive(self) -> list[Task]:
        """Tasks that are to run, the oldest first."""
        return [t for t in self.tasks.values() if t.desired == "RUNNING"]

    def running(self) -> int:
        """How many tasks run."""
        return sum(t.status == "RUNNING" for t in self.alive())

    def pending(self) -> int:
        """How many tasks are starting."""
        return sum(t.status != "RUNNING" for t in self.alive())


@dataclass(eq=False, slots=True)
class Service:
    """One service.

    Attributes:
        platform: the platform version as it was asked for.
        options: members of CreateService that are kept and given back as they are.
        deployments: the newest, which is the wanted one, first.
        steady: whether the last event told of a steady state.
        proven: how the tasks of the last completed deployment were launched.
    """

    name: str
    arn: str
    cluster: Cluster = field(repr=False)
    desired: int
    created_by: str
    deployments: list[Deployment] = field(default_factory=list)
    created: float = field(default_factory=time.time)
    status: str = "ACTIVE"
    tags: dict[str, str] = field(default_factory=dict)
    platform: str = "LATEST"
    propagate: str = "NONE"
    managed_tags: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    steady: bool = False
    proven: Launch | None = None
    client_token: str = ""

    @property
    def primary(self) -> Deployment:
        """The wanted deployment."""
        return self.deployments[0]

    def deploy(self, launch: Launch) -> Deployment:
        """Make a deployment the wanted one; those before it drain."""
        for old in self.deployments:
            old.status = "ACTIVE"
        deployment = Deployment(launch, self.desired, service=self)
        self.deployments.insert(0, deployment)
        self.steady = False
        return deployment

    def tell(self, message: str) -> None:
        """Add an event."""
        self.events.appendleft(
            {
                "id": str(uuid.uuid4()),
                "createdAt": time.time(),
                "message": f"(service {self.name}) {message}",
            }
        )

    def bounds(self) -> tuple[int, int]:
        """The least and the most tasks during a deployment."""
        configuration = self.options.get("deploymentConfiguration", {})
        least = configuration.get("minimumHealthyPercent", 100)
        most = configuration.get("maximumPercent", 200)
        return min(-(-self.desired * least // 100), self.desired), max(
            self.desired * most // 100, 1
        )
