"""Which container instance a task goes to.

Knows CPU, memory and ports. Never knows requests or processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from .model import Cluster, Instance, Launch

__all__ = ["free", "place", "refusal"]


def free(instance: Instance) -> tuple[int, int, frozenset[int]]:
    """CPU units and MiB that are left on an instance, and the ports that are taken."""
    tasks = instance.tasks()
    ports = frozenset[int]().union(*(t.launch.host_ports for t in tasks))
    return (
        instance.cpu - sum(t.launch.cpu for t in tasks),
        instance.memory - sum(t.launch.memory for t in tasks),
        ports,
    )


def refusal(instance: Instance, launch: Launch) -> str:
    """Why a task cannot go to an instance, as ``failures`` names it; empty when it can."""
    if instance.status != "ACTIVE":
        return "INACTIVE" if instance.status == "INACTIVE" else "DRAINING"
    if not instance.connected:
        return "AGENT"
    cpu, memory, ports = free(instance)
    if launch.cpu > cpu:
        return "RESOURCE:CPU"
    if launch.memory > memory:
        return "RESOURCE:MEMORY"
    if launch.host_ports & ports:
        return "RESOURCE:PORTS"
    return ""


def place(
    cluster: Cluster, launch: Launch, *, without: Container[Instance | None] = ()
) -> tuple[Instance | None, str]:
    """The instance with the most memory left, or the reason why there is none.

    The reason is empty when the cluster has no instances at all.

    Args:
        cluster: whose instances.
        launch: what needs room.
        without: instances that are not wanted: a daemon has one task on each.
    """
    reasons = {
        i: refusal(i, launch)
        for i in cluster.instances.values()
        if i.status == "ACTIVE" and i not in without
    }
    fit = [instance for instance, reason in reasons.items() if not reason]
    if fit:
        return max(fit, key=lambda i: free(i)[1]), ""
    return None, next(iter(reasons.values()), "")
