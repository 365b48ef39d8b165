"""What there is, for magics and completion: an account without any network."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from ecs_exec_magic.address import combine, parse_scope
from ecs_exec_magic.aws.listing import ClusterInfo
from ecs_exec_magic.aws.tasks import ContainerInfo, TaskInfo
from ecs_exec_magic.errors import AccessDenied, TargetNotFound

__all__ = ["NOW", "Account", "container", "task"]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
REGION = "eu-west-1"


def container(name: str, **more: Any) -> ContainerInfo:
    given: dict[str, Any] = {"status": "RUNNING", "agent_status": "RUNNING", **more}
    return ContainerInfo(name, **given)


def task(number: int, cluster: str, service: str | None, *containers: Any, **more: Any) -> TaskInfo:
    """A running task; containers by name, or made with :func:`container`."""
    task_id = f"{number:08x}" + "0123456789abcdef01234567"
    made = [container(each) if isinstance(each, str) else each for each in containers]
    given: dict[str, Any] = {
        "family": service or "lone",
        "revision": 7,
        "status": "RUNNING",
        "desired_status": "RUNNING",
        "exec_enabled": True,
        "started_at": NOW - timedelta(minutes=number),
        "zone": f"{REGION}a",
        "launch_type": "FARGATE",
        "tags": {"environment": "production"},
        **more,
    }
    arn = f"arn:aws:ecs:{REGION}:123456789012:task/{cluster}/{task_id}"
    return TaskInfo(
        cluster=cluster,
        service=service,
        task_id=task_id,
        task_arn=arn,
        region=REGION,
        containers=tuple(made),
        **given,
    )


@dataclass
class Account:
    """What clients answer from.

    Attributes:
        gate: while it is there and not set, no call comes back.
        denied: methods that AWS refuses.
        broken: what every call raises.
        calls: what was called, with its first argument.
    """

    clusters: list[str] = field(default_factory=list)
    tasks: list[TaskInfo] = field(default_factory=list)
    gate: threading.Event | None = None
    denied: set[str] = field(default_factory=set)
    broken: BaseException | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def asked(self, method: str, about: Any = None) -> None:
        self.calls.append((method, about))
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.broken is not None:
            raise self.broken
        if method in self.denied:
            raise AccessDenied(f"{method} is not allowed")

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.calls)

    # -- what a client answers -------------------------------------------------------------------

    def cluster_names(self) -> list[str]:
        self.asked("cluster_names")
        return self.clusters

    def cluster_infos(self) -> list[ClusterInfo]:
        self.asked("clusters")
        return [
            ClusterInfo(name, REGION, "ACTIVE", sum(t.cluster == name for t in self.tasks), 0, 1)
            for name in self.clusters
        ]

    def services(self, cluster: str | None) -> list[str]:
        self.asked("services", cluster)
        self._there(cluster or "default")
        return sorted({t.service for t in self.tasks if t.cluster == cluster and t.service})

    def list(self, scope: str | None, words: dict[str, Any], how: dict[str, Any]) -> list[TaskInfo]:
        query = combine(scope and parse_scope(scope), **words, nameless=True)
        self.asked("tasks", str(query))
        place = query.cluster or "default"
        self._there(place)
        found = [t for t in self.tasks if t.cluster == place and _is(t, query.name)]
        if query.name and not found:
            raise TargetNotFound(f"there is no {query.name} in {place}")
        found = [t for t in found if bool(t.stopped_at) == how.get("stopped", False)]
        return found[: how.get("limit")]

    def _there(self, cluster: str) -> None:
        if cluster not in self.clusters:
            error = TargetNotFound(f"there is no cluster {cluster!r}", cure="check it")
            error.code = "ClusterNotFoundException"
            raise error


def _is(task: TaskInfo, name: str | None) -> bool:
    return name is None or name in (task.service, task.family) or task.task_id.startswith(name)
