"""The EC2 instance that a plan's tasks run on, and how it joins the cluster.

Knows EC2's instances, IAM's instance profiles and ECS's container instances. Never knows tasks.

One instance, and no Auto Scaling group: a plan is for one service to exec into, whoever needs more
has a cluster with instances already (``instance_type=None``), and nothing is to come back behind a
removal.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError, ProvisionError
from .launch import NO_CLUSTER
from .names import TAG
from .part import Part, Say, beats, difference, if_there, patiently, tag_list, tags_of
from .steps import Step

if TYPE_CHECKING:
    from ..api import AwsApi
    from .part import Site

__all__ = [
    "Instance",
    "Joined",
    "Profile",
    "image_parameter",
    "members_of",
    "own_instances",
    "set_status",
    "state_of",
    "user_data",
]

_MISSING = ("NoSuchEntity", "NoSuchEntityException")
_GONE = ("shutting-down", "terminated")
_NO_TYPE = ("InvalidInstanceType", "InvalidParameterValue")
_LIMIT = 900.0  # seconds that an instance may take to boot and join
_AT_ONCE = 100  # container instances that one call describes


def image_parameter(arm: bool = False) -> str:
    """The public parameter with the id of today's ECS-optimised AMI."""
    kind = "/arm64" if arm else ""
    return f"/aws/service/ecs/optimized-ami/amazon-linux-2023{kind}/recommended/image_id"


def user_data(cluster: str) -> str:
    """What an instance runs when it boots: its ECS agent learns which cluster to join."""
    return f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n"


async def members_of(api: AwsApi, cluster: str) -> list[dict[str, Any]]:
    """The container instances of a cluster that may take tasks, now or once they are connected."""
    listed = await if_there(
        api.pages("ecs", "list_container_instances", "containerInstanceArns", cluster=cluster),
        NO_CLUSTER,
    )
    arns = list(listed or ())
    answers = await asyncio.gather(
        *(
            api.call(
                "ecs",
                "describe_container_instances",
                cluster=cluster,
                containerInstances=arns[start : start + _AT_ONCE],
            )
            for start in range(0, len(arns), _AT_ONCE)
        )
    )
    found = [each for answer in answers for each in answer.get("containerInstances", ())]
    return [each for each in found if each.get("status") != "INACTIVE"]


async def set_status(site: Site, arn: str, status: str) -> None:
    """Have a container instance take tasks (``ACTIVE``) or not (``DRAINING``)."""
    await site.api.call(
        "ecs",
        "update_container_instances_state",
        cluster=site.options.name,
        containerInstances=[arn],
        status=status,
    )


async def own_instances(site: Site) -> list[dict[str, Any]]:
    """Instances of this plan; those that were terminated are listed for about an hour."""
    reservations = await site.api.pages(
        "ec2",
        "describe_instances",
        "Reservations",
        Filters=[{"Name": f"tag:{TAG}", "Values": [site.options.name]}],
    )
    return [each for some in reservations for each in some.get("Instances", ())]


def state_of(instance: dict[str, Any]) -> str:
    """``pending``, ``running``, ``stopping``, ``stopped``, ``shutting-down`` or ``terminated``."""
    return str(instance.get("State", {}).get("Name", ""))


class Joined(Part):
    """Container instances that the cluster has already: they are used, and never changed."""

    kind = "container instances"
    lasts = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._count = 0

    @property
    def name(self) -> str:
        return self.site.options.name

    async def look(self) -> None:
        members = await members_of(self.site.api, self.name)
        ready = [e for e in members if e.get("status") == "ACTIVE" and e.get("agentConnected")]
        self._count, self.there = len(ready), bool(ready)

    def differences(self) -> list[str]:
        return []

    def step(self) -> Step:
        if not self.there:
            why = "the cluster has no active container instance whose agent is connected"
            cure = ("add one, or give an instance type to have one made",)
            return Step(self.kind, self.name, "conflict", why, cure)
        return Step(self.kind, self.name, "keep", f"{self._count} of the cluster's own")

    async def make(self, say: Say) -> None:
        """Nothing: they are there."""


class Profile(Part):
    """Hands the instance role to the instance."""

    kind = "instance profile"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._roles: list[str] = []

    @property
    def name(self) -> str:
        return self.site.names.instance_role

    def why(self) -> str:
        return "hands the instance role to the instance"

    async def look(self) -> None:
        call = self.site.api.call(
            "iam", "get_instance_profile", _about=self.name, InstanceProfileName=self.name
        )
        answer = await if_there(call, *_MISSING)
        if answer is not None:
            profile = answer["InstanceProfile"]
            self.there, self.ours = True, self.site.owns(tags_of(profile.get("Tags")))
            self._roles = [role["RoleName"] for role in profile.get("Roles", ())]

    def differences(self) -> list[str]:
        return difference("its role", self._roles, [self.site.names.instance_role])

    def request(self) -> dict[str, Any]:
        """What a new profile is made with."""
        return {"InstanceProfileName": self.name, "Tags": tag_list(self.site.tags)}

    async def make(self, say: Say) -> None:
        api, role = self.site.api, self.site.names.instance_role
        if not self.there:
            await api.call("iam", "create_instance_profile", **self.request())
            self.there = self.ours = True
        for other in self._roles:
            if other != role:
                await api.call(
                    "iam",
                    "remove_role_from_instance_profile",
                    InstanceProfileName=self.name,
                    RoleName=other,
                )
        if role not in self._roles:
            await api.call(
                "iam", "add_role_to_instance_profile", InstanceProfileName=self.name, RoleName=role
            )
            self.site.fresh = True
        self._roles = [role]


class Instance(Part):
    """One EC2 instance that joins the cluster.

    Attributes:
        arm: its type has an ARM processor.
    """

    kind = "EC2 instance"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._found: dict[str, Any] = {}
        self._known: list[str] = []
        self._joined = False
        self._unknown_type = False
        self.arm = False

    @property
    def name(self) -> str:
        return self.site.names.instance

    def why(self) -> str:
        return f"{self.site.options.instance_type}, with the ECS-optimised image of today"

    async def look(self) -> None:
        api = self.site.api
        instances, members, types = await asyncio.gather(
            own_instances(self.site),
            members_of(api, self.site.options.name),
            if_there(
                api.call(
                    "ec2",
                    "describe_instance_types",
                    InstanceTypes=[self.site.options.instance_type],
                ),
                *_NO_TYPE,
            ),
        )
        self._known = sorted(each["InstanceId"] for each in instances)
        alive = [each for each in instances if state_of(each) not in _GONE]
        if alive:
            self._found, self.there, self.ours = alive[0], True, True
            self._joined = self._is_member(members)
        kinds = (types or {}).get("InstanceTypes") or ()
        self._unknown_type = not kinds
        for kind in kinds:
            self.arm = "arm64" in kind.get("ProcessorInfo", {}).get("SupportedArchitectures", ())

    def _is_member(self, members: list[dict[str, Any]]) -> bool:
        return any(
            each.get("ec2InstanceId") == self._found.get("InstanceId")
            and each.get("status") == "ACTIVE"
            and each.get("agentConnected")
            for each in members
        )

    def _other_type(self) -> list[str]:
        there = self._found.get("InstanceType")
        return difference("its type", there, self.site.options.instance_type)

    def differences(self) -> list[str]:
        found = self._other_type()
        if state_of(self._found) in ("stopping", "stopped"):
            found.append(f"it is {state_of(self._found)}")
        elif not self._joined:
            found.append("it has not joined the cluster")
        return found

    def step(self) -> Step:
        if self._unknown_type:
            why = f"there is no instance type {self.site.options.instance_type} in this region"
            return Step(self.kind, self.name, "conflict", why, ("name another, as in t3.micro",))
        if self.there and self._other_type():
            why = "ECS does not let the type of its instances be changed"
            difference = (*self._other_type(), "clean up first, or keep the type")
            return Step(self.kind, self.name, "conflict", why, difference)
        return super().step()

    def request(self) -> dict[str, Any]:
        """What a new instance is made with, but its image and the token."""
        site = self.site
        tags = {"Name": site.names.instance, **site.tags}
        return {
            "InstanceType": site.options.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "IamInstanceProfile": {"Name": site.names.instance_role},
            "UserData": user_data(site.options.name),
            # One hop: containers behind the bridge do not reach the instance's own credentials.
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "SubnetId": site.subnets[0],
                    "Groups": [site.group_id],
                    "AssociatePublicIpAddress": site.public,
                    "DeleteOnTermination": True,
                }
            ],
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": tag_list(tags)} for kind in ("instance", "volume")
            ],
        }

    def image(self) -> str:
        """The parameter that its image is named by."""
        return image_parameter(self.arm)

    async def make(self, say: Say) -> None:
        site, api = self.site, self.site.api
        if not self.there:
            answer = await api.call("ssm", "get_parameter", Name=self.image())
            image = answer["Parameter"]["Value"]
            await patiently(site, lambda: self._run(image), ("iaminstanceprofile",), say)
        await self._wait(say)

    async def _run(self, image: str) -> None:
        # The same token as long as nothing has changed: a call whose answer was never read does
        # not make a second instance, even while DescribeInstances does not yet know of the first.
        text = "\n".join([self.site.instance_role_id, *self._known])
        token = hashlib.sha256(text.encode()).hexdigest()
        try:
            answer = await self._launch(image, token)
        except EcsExecError as error:
            if error.code != "IdempotentInstanceTerminated":
                raise
            answer = await self._launch(image, uuid.uuid4().hex)
        self._found = answer["Instances"][0]
        self.there = self.ours = True

    async def _launch(self, image: str, token: str) -> dict[str, Any]:
        return await self.site.api.call(
            "ec2", "run_instances", ImageId=image, ClientToken=token, **self.request()
        )

    async def _wait(self, say: Say) -> None:
        """Until it has joined the cluster; one that is stopped is started."""
        api, cluster, id_ = self.site.api, self.site.options.name, self._found["InstanceId"]
        said = ""
        for seconds in beats(_LIMIT):
            members = await members_of(api, cluster)
            if self._is_member(members):
                self._joined = True
                return
            await self._take_back(members)
            own = await own_instances(self.site)
            now = next((each for each in own if each["InstanceId"] == id_), self._found)
            if state_of(now) in _GONE:
                reason = now.get("StateReason", {}).get("Message", "")
                raise ProvisionError(
                    f"instance {id_} ended instead of joining the cluster",
                    cause=f"AWS says: {reason}" if reason else "",
                    cure="apply again to make another",
                )
            if state_of(now) == "stopped":
                await api.call("ec2", "start_instances", InstanceIds=[id_])
            said = f"instance {id_} is {state_of(now)}"
            if state_of(now) == "running":
                said += ", and its ECS agent has not joined the cluster yet"
            await say(said)
            await self.site.pause.sleep(seconds)
        raise ProvisionError(
            f"the instance has not joined the cluster after {_LIMIT / 60:.0f} minutes",
            cause=said,
            cure="see that its subnet leads to AWS, and look into its console output: aws ec2 "
            f"get-console-output --instance-id {id_}; apply again to go on waiting",
        )

    async def _take_back(self, members: list[dict[str, Any]]) -> None:
        """A removal that was stopped may have left it draining."""
        for each in members:
            if each.get("ec2InstanceId") == self._found["InstanceId"]:
                if each.get("status") == "DRAINING":
                    await set_status(self.site, each["containerInstanceArn"], "ACTIVE")
                return
