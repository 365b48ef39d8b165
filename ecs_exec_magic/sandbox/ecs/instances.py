"""The operations on container instances.

Knows their parameters and AWS's error texts. Never knows what runs on them.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from ..api import ApiError, operation
from .model import Instance
from .requests import find_cluster, invalid, last_part, page, tags_of
from .views import instance_view

if TYPE_CHECKING:
    from ..api import Caller
    from ..world import World
    from .model import Cluster

__all__ = ["InstanceOperations"]

_CPU, _MEMORY = 2048, 3884  # of a t3.medium, as ECS sees them


class InstanceOperations:
    """Registering, listing, describing, draining and deregistering."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    def _cluster(self, given: dict[str, Any], caller: Caller) -> Cluster:
        return find_cluster(self._world.state.region(caller.region), given.get("cluster"))

    @staticmethod
    def _instance(cluster: Cluster, name: str) -> Instance:
        instance = cluster.instances.get(last_part(name))
        if instance is None:
            raise invalid("Container instance not found.")
        return instance

    @operation("RegisterContainerInstance")
    def op_register(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Add an instance, as the ECS agent on it does."""
        cluster = find_cluster(self._world.state.region(caller.region), given.get("cluster"))
        tags = tags_of(given.get("tags"))
        sizes = {r.get("name"): r.get("integerValue", 0) for r in given.get("totalResources", ())}
        instance = self.add(
            cluster,
            _ec2_id(given.get("instanceIdentityDocument", "")),
            sizes.get("CPU") or _CPU,
            sizes.get("MEMORY") or _MEMORY,
            list(given.get("attributes", ())),
        )
        instance.tags = tags
        version = given.get("versionInfo", {})
        instance.agent_version = version.get("agentVersion") or instance.agent_version
        return {"containerInstance": instance_view(instance, tags=True)}

    def add(
        self, cluster: Cluster, ec2_id: str, cpu: int, memory: int, attributes: list[dict[str, Any]]
    ) -> Instance:
        """A new instance of a cluster, which tasks may be placed on at once."""
        instance_id = uuid.uuid4().hex
        instance = Instance(
            cluster.region.arn("container-instance", f"{cluster.name}/{instance_id}"),
            instance_id,
            ec2_id,
            cluster,
            cpu,
            memory,
            time.time(),
            attributes=attributes,
        )
        cluster.instances[instance_id] = instance
        self._world.scheduler.room(cluster)
        return instance

    @operation("ListContainerInstances")
    def op_list(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List the ARNs of instances, by status."""
        cluster = self._cluster(given, caller)
        if given.get("filter"):
            raise invalid("The practice cluster does not evaluate the cluster query language.")
        wanted = given.get("status")
        arns = [i.arn for i in cluster.instances.values() if wanted in (None, i.status)]
        chosen, token = page(arns, given)
        return {"containerInstanceArns": chosen, "nextToken": token}

    @operation("DescribeContainerInstances")
    def op_describe(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe up to a hundred instances."""
        cluster = self._cluster(given, caller)
        found, failures = self._look_up(cluster, given["containerInstances"], 100)
        tags = "TAGS" in given.get("include", ())
        views = [instance_view(i, tags=tags) for i in found]
        return {"containerInstances": views, "failures": failures}

    @operation("UpdateContainerInstancesState")
    def op_update_state(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Drain instances, or take them back; services move their tasks away from drained ones."""
        cluster = self._cluster(given, caller)
        status = given["status"]
        if status not in ("ACTIVE", "DRAINING"):
            raise invalid("Container instance status should be one of [ACTIVE,DRAINING]")
        found, failures = self._look_up(cluster, given["containerInstances"], 10)
        for instance in found:
            instance.status = status
            instance.version += 1
            if status == "DRAINING":
                for task in instance.tasks():
                    if task.deployment is not None:
                        self._world.stop_task(
                            task,
                            "Container instance is in DRAINING state",
                            "ServiceSchedulerInitiated",
                        )
        self._world.scheduler.room(cluster)
        views = [instance_view(i, tags=True) for i in found]
        return {"containerInstances": views, "failures": failures}

    @operation("DeregisterContainerInstance")
    def op_deregister(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Take an instance out; one with tasks must be forced."""
        cluster = self._cluster(given, caller)
        instance = self._instance(cluster, given["containerInstance"])
        tasks = instance.tasks()
        if tasks and not given.get("force"):
            raise invalid("Found running tasks on the instance.")
        instance.status = "INACTIVE"
        instance.connected = False
        cluster.instances.pop(instance.instance_id)
        for task in tasks:
            self._world.stop_task(task, "Container instance was deregistered", "TerminationNotice")
        return {"containerInstance": instance_view(instance, tags=True)}

    @staticmethod
    def _look_up(
        cluster: Cluster, names: list[str], most: int
    ) -> tuple[list[Instance], list[dict[str, str]]]:
        if not names:
            raise invalid("Container instance cannot be empty.")
        if len(names) > most:
            raise invalid(f"Container instances cannot exceed {most} elements.")
        found, failures = [], []
        for name in names:
            instance = cluster.instances.get(last_part(name))
            if instance is None:
                path = f"{cluster.name}/{last_part(name)}"
                arn = cluster.region.arn("container-instance", path)
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(instance)
        return found, failures


def _ec2_id(document: str) -> str:
    """The EC2 instance id of an identity document; one is made up without a document."""
    if not document:
        return f"i-0{uuid.uuid4().hex[:16]}"
    try:
        return str(json.loads(document)["instanceId"])
    except (ValueError, KeyError, TypeError):
        raise ApiError("ClientException", "The instance identity document is not valid.") from None
