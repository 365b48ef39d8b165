"""Taking away what a plan has made, and nothing else.

Knows how what is ours is found again, by its tags, and the order in which it goes. Never makes
anything.

A log group, a bucket or a key is found through what names it (the cluster, task definitions, an
alias), and where S3 and KMS let us look, by going through all of them. So what names others goes
last: a removal that is stopped half way finds the rest again.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, EcsExecError, ProvisionError
from .buckets import delete_bucket, own_buckets
from .building import saying
from .cluster import read_cluster
from .failures import not_empty, step_failed
from .instance_removal import profile_tags, remove_instance, remove_profile
from .instances import own_instances, state_of
from .keys import describe, key_tags, loose_keys
from .launch import own_tasks, read_service
from .names import BUCKET_TAG, TAG
from .part import Say, Site, beats, if_there, tags_of
from .roles import role_tags
from .steps import Step, StepEvent
from .storage import find_group, group_tags, is_filled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .building import Tell

__all__ = ["destroy", "made"]

_LIMIT = 900.0  # seconds that AWS may take to stop tasks or to let go of a network interface
_WINDOW = 7  # days until a key is deleted: the fewest that KMS knows
_GONE = (
    "ClusterNotFoundException",
    "InvalidGroup.NotFound",
    "InvalidInstanceID.NotFound",
    "NoSuchBucket",
    "NoSuchEntity",
    "NoSuchEntityException",
    "NotFoundException",
    "ResourceNotFoundException",
    "ServiceNotActiveException",
    "ServiceNotFoundException",
)


@dataclass(frozen=True)
class _Removal:
    """One resource that is ours, and how it goes."""

    step: Step
    remove: Callable[[Say], Awaitable[None]]


@dataclass(frozen=True)
class _Pointers:
    """What the cluster and the task definitions name."""

    cluster: dict[str, Any] | None
    definitions: tuple[dict[str, Any], ...]

    @property
    def _logs(self) -> dict[str, Any]:
        configuration = (self.cluster or {}).get("configuration") or {}
        execution = configuration.get("executeCommandConfiguration") or {}
        found: dict[str, Any] = execution.get("logConfiguration") or {}
        return found

    @property
    def cluster_tags(self) -> dict[str, str]:
        return tags_of((self.cluster or {}).get("tags"))

    def groups(self) -> set[str]:
        found = {str(self._logs.get("cloudWatchLogGroupName") or "")}
        for definition in self.definitions:
            for container in definition.get("containerDefinitions") or ():
                options = (container.get("logConfiguration") or {}).get("options") or {}
                found.add(str(options.get("awslogs-group") or ""))
        return found - {""}

    def buckets(self) -> set[str]:
        return {str(self._logs.get("s3BucketName") or "")} - {""}

    def intended_bucket(self, site: Site) -> str:
        """The bucket that was being made when the plan was stopped; empty for none."""
        tags = self.cluster_tags
        return tags.get(BUCKET_TAG, "") if site.owns(tags) else ""


async def made(site: Site, known: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """What this plan has made and is still there, in the order in which it goes.

    Args:
        known: kinds and names from a state file, to look at too.
    """
    return [each.step for each in await _find(site, known)]


async def destroy(
    site: Site, tell: Tell, *, empty_bucket: bool, known: Iterable[tuple[str, str]] = ()
) -> list[Step]:
    """Remove all of it; returns what was removed.

    Raises:
        ProvisionError: a bucket is not empty, and nothing was removed; or the step that failed.
        Stopped: the user wants no more.
    """
    found = await _find(site, known, empty_bucket=empty_bucket)
    if not empty_bucket:
        for each in found:
            if each.step.kind == "S3 bucket" and await is_filled(site.api, each.step.name):
                raise not_empty(each.step)
    total = len(found)
    for index, each in enumerate(found):
        say = saying(tell, each.step, index, total)
        site.pause.check()
        await tell(StepEvent(each.step, "running", index, total))
        try:
            await if_there(each.remove(say), *_GONE)
        except EcsExecError as error:
            failed = error
            if not isinstance(error, ProvisionError):
                failed = step_failed(each.step, error, done=index, verb="destroy")
                failed.__cause__ = error
            await tell(StepEvent(each.step, "failed", index, total, error=failed))
            raise failed from failed.__cause__
        await tell(StepEvent(each.step, "done", index, total))
    return [each.step for each in found]


# -- finding -------------------------------------------------------------------------------------


async def _find(
    site: Site, known: Iterable[tuple[str, str]], *, empty_bucket: bool = False
) -> list[_Removal]:
    """Everything that is ours, in the order in which it goes."""
    known = list(known)
    try:
        pointers = _Pointers(*await asyncio.gather(_cluster(site), _definitions(site)))
        groups = {site.log_group, site.names.log_group, *pointers.groups()}
        groups |= {name for kind, name in known if kind == "log group"}
        buckets = {site.options.bucket or "", *pointers.buckets()}
        buckets |= {name for kind, name in known if kind == "S3 bucket"}
        found = await asyncio.gather(
            _services(site, pointers),
            _tasks(site, pointers),
            _instances(site),
            _buckets(site, buckets - {""}, pointers.intended_bucket(site), empty_bucket),
            _groups(site, groups - {""}),
            _security_groups(site),
            _profile(site),
            _roles(site),
        )
        keys = await _keys(site)
    except EcsExecError as error:
        if isinstance(error, ProvisionError):
            raise
        step = Step("plan", site.options.name, "keep")
        raise step_failed(step, error, done=0, verb="destroy") from error
    last = [_definition(site, each) for each in pointers.definitions]
    if pointers.cluster is not None and site.owns(pointers.cluster_tags):
        last.append(_of(site, "cluster", site.options.name, _remove_cluster(site)))
    return [*(each for some in found for each in some), *last, *keys]


def _of(
    site: Site, kind: str, name: str, remove: Callable[[Say], Awaitable[None]], why: str = ""
) -> _Removal:
    return _Removal(Step(kind, name, "delete", why or "made by this plan"), remove)


async def _cluster(site: Site) -> dict[str, Any] | None:
    return await read_cluster(site.api, site.options.name)


async def _definitions(site: Site) -> tuple[dict[str, Any], ...]:
    """Our revisions of the family, with their tags."""
    api, family = site.api, site.options.name
    listed = await asyncio.gather(
        *(
            api.pages(
                "ecs",
                "list_task_definitions",
                "taskDefinitionArns",
                familyPrefix=family,
                status=status,
            )
            for status in ("ACTIVE", "INACTIVE")
        )
    )
    arns = [arn for some in listed for arn in some]
    answers = await asyncio.gather(
        *(
            api.call("ecs", "describe_task_definition", taskDefinition=arn, include=["TAGS"])
            for arn in arns
        )
    )
    return tuple(
        each["taskDefinition"]
        for each in answers
        if site.owns(tags_of(each.get("tags"))) and each["taskDefinition"].get("family") == family
    )


def _definition(site: Site, found: dict[str, Any]) -> _Removal:
    api, arn = site.api, found["taskDefinitionArn"]

    async def remove(say: Say) -> None:
        if found.get("status") == "ACTIVE":
            await api.call("ecs", "deregister_task_definition", taskDefinition=arn)
        answer = await api.call("ecs", "delete_task_definitions", taskDefinitions=[arn])
        for failure in answer.get("failures", ()):
            await say(f"AWS says: {failure.get('reason', '')}")

    return _of(site, "task definition", f"{found['family']}:{found['revision']}", remove)


async def _services(site: Site, pointers: _Pointers) -> list[_Removal]:
    name, api = site.options.name, site.api
    if pointers.cluster is None:
        return []
    found = await read_service(api, name, name)
    if found is None or not site.owns(tags_of(found.get("tags"))):
        return []

    async def remove(say: Say) -> None:
        if found["status"] == "ACTIVE":
            await api.call("ecs", "delete_service", cluster=name, service=name, force=True)
        for seconds in beats(_LIMIT):
            now = await read_service(api, name, name)
            if now is None:
                return
            running = now.get("runningCount", 0)
            await say(f"{running} of its tasks run" if running else "its tasks are stopping")
            await site.pause.sleep(seconds)
        raise _too_slow("the service's tasks have not stopped")

    return [_of(site, "service", name, remove)]


async def _tasks(site: Site, pointers: _Pointers) -> list[_Removal]:
    name, api = site.options.name, site.api
    if pointers.cluster is None:
        return []

    def removal(arn: str) -> _Removal:
        async def remove(say: Say) -> None:
            await api.call("ecs", "stop_task", cluster=name, task=arn, reason="its plan is removed")
            for seconds in beats(_LIMIT):
                answer = await api.call("ecs", "describe_tasks", cluster=name, tasks=[arn])
                states = [each.get("lastStatus", "") for each in answer.get("tasks", ())]
                if states in ([], ["STOPPED"]):
                    return
                await say(f"it is {states[0]}")
                await site.pause.sleep(seconds)
            raise _too_slow("the task has not stopped")

        return _of(site, "task", arn.rpartition("/")[2], remove)

    return [removal(each.task_arn) for each in await own_tasks(site)]


async def _instances(site: Site) -> list[_Removal]:
    def removal(id_: str) -> _Removal:
        async def remove(say: Say) -> None:
            await remove_instance(site, id_, say)

        return _of(site, "EC2 instance", site.names.instance, remove, f"{id_}, made by this plan")

    found = await own_instances(site)
    return [removal(each["InstanceId"]) for each in found if state_of(each) != "terminated"]


async def _profile(site: Site) -> list[_Removal]:
    tags = await profile_tags(site)
    if tags is None or not site.owns(tags):
        return []

    async def remove(say: Say) -> None:
        await remove_profile(site)

    return [_of(site, "instance profile", site.names.instance_role, remove)]


async def _buckets(site: Site, names: set[str], intended: str, empty: bool) -> list[_Removal]:
    def removal(name: str) -> _Removal:
        async def remove(say: Say) -> None:
            await delete_bucket(site, name, say, empty=empty)

        return _of(site, "S3 bucket", name, remove)

    return [removal(name) for name in await own_buckets(site, names, intended)]


async def _groups(site: Site, names: set[str]) -> list[_Removal]:
    async def own(name: str) -> _Removal | None:
        group = await find_group(site.api, name)
        if group is None or not site.owns(await group_tags(site.api, group)):
            return None

        async def remove(say: Say) -> None:
            await site.api.call("logs", "delete_log_group", logGroupName=name)

        return _of(site, "log group", name, remove)

    return [each for each in await asyncio.gather(*map(own, sorted(names))) if each]


async def _security_groups(site: Site) -> list[_Removal]:
    api = site.api
    groups = await api.pages(
        "ec2",
        "describe_security_groups",
        "SecurityGroups",
        Filters=[{"Name": f"tag:{TAG}", "Values": [site.options.name]}],
    )

    def removal(group: dict[str, Any]) -> _Removal:
        async def remove(say: Say) -> None:
            for seconds in beats(_LIMIT):
                try:
                    await api.call("ec2", "delete_security_group", GroupId=group["GroupId"])
                except EcsExecError as error:
                    if error.code != "DependencyViolation":
                        raise
                    await say("AWS has not yet let go of the network interfaces of its tasks")
                    await site.pause.sleep(seconds)
                else:
                    return
            raise _too_slow("something else still uses the security group")

        return _of(site, "security group", group["GroupName"], remove)

    return [removal(group) for group in groups]


async def _roles(site: Site) -> list[_Removal]:
    api = site.api

    async def own(kind: str, name: str) -> _Removal | None:
        call = api.call("iam", "get_role", _about=name, RoleName=name)
        answer = await if_there(call, "NoSuchEntity", "NoSuchEntityException")
        if answer is None or not site.owns(role_tags(answer["Role"])):
            return None

        async def remove(say: Say) -> None:
            attached, inline = await asyncio.gather(
                api.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name),
                api.pages("iam", "list_role_policies", "PolicyNames", RoleName=name),
            )
            for policy in attached:
                arn = policy["PolicyArn"]
                await api.call("iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
            for policy in inline:
                await api.call("iam", "delete_role_policy", RoleName=name, PolicyName=policy)
            await api.call("iam", "delete_role", RoleName=name)

        return _of(site, kind, name, remove)

    names = site.names
    found = await asyncio.gather(
        own("execution role", names.execution_role),
        own("task role", names.task_role),
        own("instance role", names.instance_role),
    )
    return [each for each in found if each]


async def _keys(site: Site) -> list[_Removal]:
    api, alias = site.api, site.names.alias
    named = await describe(api, alias)
    found = []
    if named is not None and site.owns(await key_tags(api, named["KeyId"])):
        found.append((named, alias))
    # Without the permission to list keys, only what an alias leads to can be found.
    with contextlib.suppress(AccessDenied):
        found += [(key, "") for key in await loose_keys(site)]

    def removal(key: dict[str, Any], name: str) -> _Removal:
        async def remove(say: Say) -> None:
            if key["KeyState"] != "PendingDeletion":
                await api.call(
                    "kms",
                    "schedule_key_deletion",
                    KeyId=key["KeyId"],
                    PendingWindowInDays=_WINDOW,
                )
            if name:
                await api.call("kms", "delete_alias", AliasName=name)

        why = f"KMS deletes it after {_WINDOW} days, the least there is"
        return _of(site, "KMS key", name or key["KeyId"], remove, why)

    return [removal(key, name) for key, name in found]


def _remove_cluster(site: Site) -> Callable[[Say], Awaitable[None]]:
    async def remove(say: Say) -> None:
        await site.api.call("ecs", "delete_cluster", cluster=site.options.name)

    return remove


def _too_slow(what: str) -> ProvisionError:
    return ProvisionError(
        f"{what} after {_LIMIT / 60:.0f} minutes", cure="look at it in the console; destroy again"
    )
