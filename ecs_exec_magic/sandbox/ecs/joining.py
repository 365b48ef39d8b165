"""EC2 instances that join clusters: what their user data says becomes a container instance.

Knows user data, instance profiles and the sizes of instance types. Never knows tasks.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from ..api import ApiError, operation
from .instances import InstanceOperations

if TYPE_CHECKING:
    from ..api import Caller
    from ..world import World
    from .model import Cluster, Instance

__all__ = ["InstancesThatJoin"]

_CLUSTER = re.compile(r"^\s*(?:echo\s+[\'\"]?)?ECS_CLUSTER=[\'\"]?([A-Za-z0-9_-]+)", re.MULTILINE)
_SEEN, _OF = 3884, 4096  # MiB of a t3.medium: what ECS sees, and what it has


class InstancesThatJoin:
    """What RunInstances and its like mean for clusters.

    Args:
        world: whose clusters.
    """

    service = "ec2"

    def __init__(self, world: World) -> None:
        self._world = world
        self._instances = InstanceOperations(world)
        self._known: set[str] = set()

    @operation("RunInstances")
    async def op_check(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse an instance type and a profile that are not there."""
        kind = given.get("InstanceType", "m1.small")
        profile = (given.get("IamInstanceProfile") or {}).get("Name")

        def problem() -> ApiError | None:
            from moto.ec2.models.instance_types import INSTANCE_TYPES

            if kind not in INSTANCE_TYPES:
                text = f"Invalid value '{kind}' for InstanceType."
                return ApiError("InvalidParameterValue", text)
            iam = self._world.account.backend("iam", caller.region)
            if profile and all(e.name != profile for e in iam.instance_profiles.values()):
                text = f"Value ({profile}) for parameter iamInstanceProfile.name is invalid. "
                text += "Invalid IAM Instance Profile name"
                return ApiError("InvalidParameterValue", text)
            return None

        if found := await self._world.account.run(problem):
            raise found

    @operation("RunInstances", "StartInstances", after=True)
    async def op_boot(self, given: dict[str, Any], caller: Caller) -> None:
        """Let instances that run and are in no cluster boot."""
        for found in await self._running(caller.region):
            member = self._member(found["InstanceId"], caller.region)
            if member is not None:
                member.connected = True
                self._world.scheduler.room(member.cluster)
            elif found["InstanceId"] not in self._known:
                self._known.add(found["InstanceId"])
                self._world.live(self._join(found, caller))

    @operation("StopInstances", after=True)
    async def op_stop(self, given: dict[str, Any], caller: Caller) -> None:
        """The ECS agent of an instance that is stopped is gone, and so are its tasks."""
        for name in given.get("InstanceIds", ()):
            member = self._member(name, caller.region)
            if member is not None:
                member.connected = False
                self._stop_tasks(member, "Host EC2 (instance stopped)")

    @operation("TerminateInstances", after=True)
    async def op_terminate(self, given: dict[str, Any], caller: Caller) -> None:
        """ECS takes an instance that is terminated out of its cluster."""
        for name in given.get("InstanceIds", ()):
            member = self._member(name, caller.region)
            if member is not None:
                member.status, member.connected = "INACTIVE", False
                member.cluster.instances.pop(member.instance_id)
                self._stop_tasks(member, f"Host EC2 (instance {name}) terminated.")

    def _stop_tasks(self, member: Instance, reason: str) -> None:
        for task in member.tasks():
            self._world.stop_task(task, reason, "TerminationNotice")

    def _member(self, ec2_id: str, region: str) -> Instance | None:
        clusters = self._world.state.region(region).clusters.values()
        members = (each for cluster in clusters for each in cluster.instances.values())
        return next((each for each in members if each.ec2_id == ec2_id), None)

    async def _running(self, region: str) -> list[dict[str, Any]]:
        states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        call = self._world.account.call
        answer = await call("ec2", "describe_instances", region, Filters=states)
        return [each for some in answer["Reservations"] for each in some["Instances"]]

    async def _join(self, found: dict[str, Any], caller: Caller) -> None:
        """Boot, and register as the ECS agent does, once the instance's role lets it."""
        await asyncio.sleep(self._world.pace.transition)
        cluster = await self._cluster(found["InstanceId"], caller.region)
        if cluster is None or not await self._may(found, cluster, caller.region):
            self._known.discard(found["InstanceId"])  # it tries again when it is started again
            return
        cpu, memory = await self._size(found["InstanceType"], caller.region)
        attributes = {
            "ecs.ami-id": found["ImageId"],
            "ecs.availability-zone": found["Placement"]["AvailabilityZone"],
            "ecs.instance-type": found["InstanceType"],
            "ecs.os-type": "linux",
        }
        self._instances.add(
            cluster,
            found["InstanceId"],
            cpu,
            memory,
            [{"name": name, "value": value} for name, value in attributes.items()],
        )

    async def _cluster(self, instance: str, region: str) -> Cluster | None:
        """The active cluster that an instance's user data names."""
        answer = await self._world.account.call(
            "ec2", "describe_instance_attribute", region, InstanceId=instance, Attribute="userData"
        )
        text = answer.get("UserData", {}).get("Value", "")
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        named = _CLUSTER.search(text)
        cluster = self._world.state.region(region).clusters.get(named[1]) if named else None
        return cluster if cluster is not None and cluster.status == "ACTIVE" else None

    async def _may(self, found: dict[str, Any], cluster: Cluster, region: str) -> bool:
        """Whether the role of its profile may register it; where IAM is enforced."""
        authorizer = self._world.authorizer
        if not authorizer.enabled:
            return True
        arn = (found.get("IamInstanceProfile") or {}).get("Arn", "")
        if not arn:
            return False
        name = arn.rpartition("/")[2]
        answer = await self._world.account.call(
            "iam", "get_instance_profile", region, InstanceProfileName=name
        )
        for role in answer["InstanceProfile"]["Roles"]:
            action = "ecs:RegisterContainerInstance"
            if await authorizer.role_allows(role["Arn"], action, cluster.arn):
                return True
        return False

    async def _size(self, kind: str, region: str) -> tuple[int, int]:
        """CPU units and MiB, as ECS sees them."""
        call = self._world.account.call
        answer = await call("ec2", "describe_instance_types", region, InstanceTypes=[kind])
        (found,) = answer["InstanceTypes"]
        memory: int = found["MemoryInfo"]["SizeInMiB"]
        return found["VCpuInfo"]["DefaultVCpus"] * 1024, memory * _SEEN // _OF
