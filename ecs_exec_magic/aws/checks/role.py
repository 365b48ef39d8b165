"""Whether the task role lets the exec agent reach AWS, and write its logs.

Knows what the agent does with the role. Never knows the caller.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, EcsExecError
from ..plan.policies import CHANNEL
from ..simulation import Question
from .caller import request_context
from .documents import read, says
from .key import key_arn
from .registry import check, fail, ok, warn
from .scene import Record, Scene, listed
from .task import instances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...findings import Finding
    from ..simulation import Verdict

__all__ = ["Role", "roles"]

_SIMULATE = "iam:SimulatePrincipalPolicy"
_GET_ROLE = "iam:GetRole"
_DEFINITION = "ecs:DescribeTaskDefinition"
_MISSING = ("NoSuchEntity", "NoSuchEntityException")


@dataclass(frozen=True)
class Role:
    """A role that containers have.

    Attributes:
        users: tasks and services that have it.
        services: services that must be able to take it on, as in ``ecs-tasks``.
    """

    arn: str
    users: tuple[str, ...]
    services: tuple[str, ...] = ("ecs-tasks",)

    @property
    def name(self) -> str:
        """Without its path."""
        return self.arn.rpartition("/")[2]


async def roles(scene: Scene) -> tuple[list[Role], list[str]]:
    """The roles of what is looked at; and what has none."""
    found: dict[str, list[str]] = {}
    takers: dict[str, set[str]] = {}
    without: list[str] = []
    for label, definition, task in await scene.definitions():
        override = ((task or {}).get("overrides") or {}).get("taskRoleArn")
        arn, taker = override or definition.get("taskRoleArn"), "ecs-tasks"
        if not arn:
            arn, taker = await _instance_role(scene, task), "ec2"
        if not arn:
            without.append(label)
            continue
        if not arn.startswith("arn:"):  # a definition may name it without its ARN
            number = str((await scene.api.identity())["Account"])
            arn = f"arn:{scene.api.partition}:iam::{number}:role/{arn}"
        found.setdefault(arn, []).append(label)
        takers.setdefault(arn, set()).add(taker)
    made = [Role(arn, tuple(users), tuple(sorted(takers[arn]))) for arn, users in found.items()]
    return made, without


async def _instance_role(scene: Scene, task: Record | None) -> str:
    """The role of the EC2 instance below a task without one, which its containers then use."""
    arn = (task or {}).get("containerInstanceArn")
    if not arn or (task or {}).get("launchType") != "EC2":
        return ""
    for instance in await instances(scene):
        id_ = str(instance.get("ec2InstanceId", ""))
        if instance.get("containerInstanceArn") != arn or not id_.startswith("i-"):
            continue
        wanted = [{"Name": "instance-id", "Values": [id_]}]
        found = await scene.pages("ec2", "describe_instances", "Reservations", Filters=wanted)
        for reservation in found:
            for each in reservation.get("Instances", ()):
                profile = str((each.get("IamInstanceProfile") or {}).get("Arn", ""))
                if profile:
                    name = profile.rpartition("/")[2]
                    answer = await scene.call(
                        "iam", "get_instance_profile", InstanceProfileName=name
                    )
                    for role in answer["InstanceProfile"].get("Roles", ()):
                        return str(role["Arn"])
    return ""


async def _described(scene: Scene, role: Role) -> Record | None:
    """The role as IAM shows it; None when there is none of that name."""
    try:
        return dict((await scene.call("iam", "get_role", RoleName=role.name))["Role"])
    except EcsExecError as error:
        if error.code in _MISSING:
            return None
        raise


async def _there(scene: Scene) -> list[Role]:
    """The roles that exist, or may: which ones do not is told once."""
    found = []
    for role in (await roles(scene))[0]:
        try:
            if await _described(scene, role) is None:
                continue
        except AccessDenied:
            pass
        found.append(role)
    return found


@check(
    "role.present",
    "whether tasks have a role",
    _DEFINITION,
    "ec2:DescribeInstances",
    "iam:GetInstanceProfile",
)
async def present(scene: Scene) -> Finding | None:
    found, without = await roles(scene)
    if without:
        return fail(
            f"there is no task role in {listed(without)}",
            "taskRoleArn is not set: the exec agent has no credentials",
            "give the task definition a task role that allows the four ssmmessages actions",
        )
    return ok(f"the task role is {listed([role.name for role in found])}") if found else None


@check("role.trust", "whether tasks get the role", _GET_ROLE)
async def trust(scene: Scene) -> Finding | None:
    found = (await roles(scene))[0]
    for role in found:
        described = await _described(scene, role)
        if described is None:
            return fail(
                f"there is no role {role.name}",
                f"{listed(role.users)} name {role.arn}",
                "make it again, or name another in the task definition",
                f"aws iam create-role --role-name {role.name} --assume-role-policy-document "
                + _quoted(_trust(role.services)),
            )
        document = described.get("AssumeRolePolicyDocument")
        said = {
            each: says(document, "sts:AssumeRole", (f"{each}.amazonaws.com",))
            for each in role.services
        }
        lacking = tuple(each for each in said if said[each] in ("nothing", "deny"))
        if lacking:
            whom = " and ".join(f"{each}.amazonaws.com" for each in lacking)
            # What is allowed beside it cures no statement that denies.
            denied = "deny" in said.values()
            return fail(
                f"role {role.name} does not trust {_called(lacking)}",
                f"its trust policy does not let {whom} take it on",
                f"take away the statement that denies it to {whom}"
                if denied
                else f"let the service {whom} assume it, beside those who may by now",
                ""
                if denied
                else f"aws iam update-assume-role-policy --role-name {role.name} "
                f"--policy-document {_quoted(_trust(lacking, document))}",
            )
        if "perhaps" in said.values():
            return warn(
                f"role {role.name} trusts {_called(role.services)} under conditions",
                "its trust policy has a Condition, whose values are not known here",
                "see that aws:SourceArn and aws:SourceAccount in it fit this account and region",
            )
    if not found:
        return None
    return ok(f"{_called([each for role in found for each in role.services])} may take the role on")


@check("role.channel", "whether the agent may connect", _SIMULATE)
async def channel(scene: Scene) -> Finding | None:
    return await _judged(
        scene,
        [(action, "*") for action in CHANNEL],
        "open its channels",
        "ecs-exec-channel",
    )


@check("role.key", "whether the agent may decrypt", _SIMULATE)
async def key(scene: Scene) -> Finding | None:
    arn = await key_arn(scene)
    if arn is None:
        return None
    return await _judged(scene, [("kms:Decrypt", arn)], "decrypt the session's key", "ecs-exec-key")


@check("role.log-group", "whether the agent may write to the log group", _SIMULATE)
async def log_group(scene: Scene) -> Finding | None:
    group = (await scene.settings()).group
    if not group:
        return None
    arn = f"{await scene.arn('logs', f'log-group:{group}')}:*"
    writes = ("CreateLogStream", "DescribeLogStreams", "PutLogEvents")
    wanted = [("logs:DescribeLogGroups", "*"), *((f"logs:{each}", arn) for each in writes)]
    return await _judged(scene, wanted, f"write to log group {group}", "ecs-exec-log-group")


@check("role.bucket", "whether the agent may write to the bucket", _SIMULATE)
async def bucket(scene: Scene) -> Finding | None:
    settings = await scene.settings()
    if not settings.bucket:
        return None
    where = f"arn:{scene.api.partition}:s3:::{settings.bucket}"
    prefix = settings.prefix.strip("/")
    objects = f"{where}/{prefix}/*" if prefix else f"{where}/*"
    wanted = [("s3:PutObject", objects), ("s3:GetEncryptionConfiguration", where)]
    wanted.append(("s3:GetBucketLocation", where))
    return await _judged(scene, wanted, f"write to bucket {settings.bucket}", "ecs-exec-bucket")


async def _judged(
    scene: Scene, wanted: Sequence[tuple[str, str]], what: str, policy: str
) -> Finding | None:
    """What the simulator says of each role."""
    found = await _there(scene)
    context = request_context(scene)
    for role in found:
        asked = [
            Question(action, resource, {**context, **_own(role)}) for action, resource in wanted
        ]
        verdicts = await scene.verdicts(role.arn, asked)
        refused = [each for each in verdicts if not each]
        if not refused:
            continue
        names = ", ".join(each.question.action for each in refused)
        evidence = f"{names}: {refused[0].why}; it is the role of {listed(role.users)}"
        if all(_depends(each) for each in refused):
            keys = listed([name for each in refused for name in each.missing_context])
            return warn(
                f"whether role {role.name} may {what} depends on the request",
                evidence,
                f"see that the conditions on {keys} hold for requests from the containers",
            )
        cure = f"allow {names} to the task role"
        denied = any(each.decision == "explicitDeny" for each in refused)
        if denied:
            cure += "; a policy denies it explicitly, so take that away first"
        elif services := await scene.services_seen():
            cure += f"; %ecs_provision {scene.place}/{services[0]['serviceName']} does so"
        return fail(
            f"role {role.name} may not {what}",
            evidence,
            cure,
            ""
            if denied
            else f"aws iam put-role-policy --role-name {role.name} "
            f"--policy-name {_policy_name(policy, wanted)} "
            f"--policy-document {_quoted(_allowing(wanted))}",
        )
    return ok(f"the task role may {what}", listed([role.name for role in found])) if found else None


def _own(role: Role) -> dict[str, str]:
    return {"aws:PrincipalArn": role.arn, "aws:PrincipalAccount": role.arn.split(":")[4]}


def _depends(verdict: Verdict) -> bool:
    """Whether no policy allows it by what is known of a request, and one may by the rest."""
    return verdict.decision == "implicitDeny" and bool(verdict.missing_context)


def _policy_name(policy: str, wanted: Sequence[tuple[str, str]]) -> str:
    """One name for each key, group or bucket: a policy for another one is not overwritten."""
    resources = sorted({resource for _, resource in wanted if resource != "*"})
    if not resources:
        return policy
    return f"{policy}-{hashlib.sha256(' '.join(resources).encode()).hexdigest()[:8]}"


def _allowing(wanted: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """All of it, and not only what is refused: the policy may be there with a part of it."""
    by_resource: dict[str, list[str]] = {}
    for action, resource in wanted:
        by_resource.setdefault(resource, []).append(action)
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resource}
        for resource, actions in by_resource.items()
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _called(services: Sequence[str]) -> str:
    """Services that take roles on, for people."""
    names = {"ecs-tasks": "ECS tasks", "ec2": "EC2 instances"}
    return " and ".join(dict.fromkeys(names[each] for each in services))


def _trust(services: Sequence[str], before: Any = None) -> dict[str, Any]:
    """A trust policy for services, beside what the document says by now."""
    named = [f"{each}.amazonaws.com" for each in services]
    principal = {"Service": named[0] if len(named) == 1 else named}
    allow = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    kept = before if isinstance(before, dict) else {"Version": "2012-10-17"}
    return {**kept, "Statement": [*read(before), allow]}


def _quoted(document: dict[str, Any]) -> str:
    return shlex.quote(json.dumps(document, separators=(",", ":")))
