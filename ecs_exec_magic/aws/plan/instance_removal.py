"""How a plan's EC2 instance leaves the cluster and ends, and its profile goes.

Knows that tasks have to be gone before an instance goes. Never knows whose they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ProvisionError
from .instances import members_of, own_instances, set_status, state_of
from .part import beats, if_there, tags_of

if TYPE_CHECKING:
    from .part import Say, Site

__all__ = ["profile_tags", "remove_instance", "remove_profile"]

_MISSING = ("NoSuchEntity", "NoSuchEntityException")
_LIMIT = 900.0  # seconds that tasks may take to move away, or an instance to end


async def remove_instance(site: Site, id_: str, say: Say) -> None:
    """Drain an instance, take it out of the cluster and terminate it, waiting for each.

    Nothing is forced: what others run on it ends it with a timeout, and stays.
    """
    api, cluster = site.api, site.options.name
    for seconds in beats(_LIMIT):
        members = await members_of(api, cluster)
        member = next((each for each in members if each.get("ec2InstanceId") == id_), None)
        if member is None:
            break
        if member.get("status") == "ACTIVE":
            await set_status(site, member["containerInstanceArn"], "DRAINING")
        busy = member.get("runningTasksCount", 0) + member.get("pendingTasksCount", 0)
        if not busy:
            await api.call(
                "ecs",
                "deregister_container_instance",
                cluster=cluster,
                containerInstance=member["containerInstanceArn"],
            )
            break
        await say(f"{busy} tasks still run on it")
        await site.pause.sleep(seconds)
    else:
        raise ProvisionError(
            f"tasks still run on instance {id_} after {_LIMIT / 60:.0f} minutes",
            cure="stop what this plan has not started; destroy again",
        )
    await api.call("ec2", "terminate_instances", InstanceIds=[id_])
    for seconds in beats(_LIMIT):
        own = await own_instances(site)
        now = next((each for each in own if each["InstanceId"] == id_), None)
        if now is None or state_of(now) == "terminated":
            return
        await say(f"instance {id_} is {state_of(now)}")
        await site.pause.sleep(seconds)
    raise ProvisionError(
        f"instance {id_} has not ended after {_LIMIT / 60:.0f} minutes",
        cure="look at it in the console; destroy again",
    )


async def profile_tags(site: Site) -> dict[str, str] | None:
    """The tags of the plan's instance profile; None when there is none."""
    name = site.names.instance_role
    call = site.api.call("iam", "get_instance_profile", _about=name, InstanceProfileName=name)
    answer = await if_there(call, *_MISSING)
    return None if answer is None else tags_of(answer["InstanceProfile"].get("Tags"))


async def remove_profile(site: Site) -> None:
    """Take the role out of the plan's instance profile, and delete it."""
    api, name = site.api, site.names.instance_role
    answer = await api.call("iam", "get_instance_profile", InstanceProfileName=name)
    for role in answer["InstanceProfile"].get("Roles", ()):
        await api.call(
            "iam",
            "remove_role_from_instance_profile",
            InstanceProfileName=name,
            RoleName=role["RoleName"],
        )
    await api.call("iam", "delete_instance_profile", InstanceProfileName=name)
