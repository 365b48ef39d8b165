"""The cluster every practice session begins with.

Knows names and numbers of what is there at first. Never knows requests or processes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Cluster, State, Task

__all__ = ["seed"]

_AGENT_DOWN = "ExecuteCommandAgent process exited with exit code: 1"


def _run(state: State, cluster: Cluster, family: str, names: dict[str, str], age: float) -> Task:
    definition = state.definitions[family][-1]
    enabled = family != "no-exec"
    service = family if family in cluster.services else ""
    task = state.new_task(
        cluster,
        definition,
        names,
        created=time.time() - age,
        exec_enabled=enabled,
        service=service,
        group=f"service:{service}" if service else f"family:{family}",
        started_by=f"ecs-svc/{cluster.services[service].deployment}" if service else "",
        tags={"environment": "practice"},
    )
    task.status = "RUNNING"
    task.started = task.created + 25
    for container in task.containers:
        container.status = "RUNNING"
        container.agent = "RUNNING" if enabled else None
        if family == "agent-down":
            container.agent = "STOPPED"
            container.agent_reason = _AGENT_DOWN
            container.control_channel = False
    return task


def seed(state: State, image_names: dict[str, str]) -> list[Task]:
    """Fill an empty state and return the tasks that run in it."""
    from .model import Cluster, Service

    cluster = Cluster("demo", tags={"environment": "practice"})
    state.clusters["demo"] = cluster
    web = state.define("web", {"nginx": "nginx", "sidecar": "sidecar"}, revisions=3)
    worker = state.define("worker", {"worker": "worker"}, revisions=2)
    state.define("no-exec", {"app": "sidecar"})
    state.define("agent-down", {"app": "sidecar"})
    long_ago = time.time() - 86400 * 3
    for definition, count in ((web, 3), (worker, 2)):
        cluster.services[definition.family] = Service(
            definition.family,
            "demo",
            definition,
            count,
            long_ago,
            True,
            {"environment": "practice"},
        )
    ages = [("web", 7200.0), ("web", 5400.0), ("web", 3600.0), ("worker", 9000.0)]
    ages += [("worker", 1800.0), ("no-exec", 600.0), ("agent-down", 300.0)]
    return [_run(state, cluster, family, image_names, age) for family, age in ages]
