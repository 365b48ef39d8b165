"""Policies for the people and the tasks of a cluster, and what to ask IAM about them.

Knows which actions, resources and condition keys exec needs. Never knows who has a policy.

AWS's announcement of ECS Exec shows conditions in two nested StringEquals blocks, which is no valid
policy: the keys of one condition stand in one block, and all of them must hold.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..address import parse_scope
from ..errors import EcsExecError, InvalidRequest, TargetNotFound
from .enabling.allowing import listed
from .exec_settings import (
    ExecSettings,
    bucket_key_of,
    by_alias,
    container_groups,
    read_settings,
)
from .plan.names import Names
from .plan.policies import Document, task_role_policy
from .simulation import Question
from .targets import check_region, find
from .tasks import describe_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .api import AwsApi
    from .tasks import TaskInfo

__all__ = ["KINDS", "Draft", "Kind", "Subject", "draft", "questions", "subject_of"]

Kind = Literal["operator", "task-role", "deny-start-session"]
KINDS: tuple[Kind, ...] = ("operator", "task-role", "deny-start-session")

_SESSIONS = "session/ecs-execute-command-*"

_NOTES = {
    "RunCommands": "ECS looks at the cluster and at the task: both have to be allowed",
    "SessionKey": "the caller's half of the data channel's key",
    "EndSessions": "ends sessions, and takes them up again after a cut",
    "SeeTasks": "finds out what an address means, and what its agents are at",
    "FindTasks": "AWS knows no resources for these, but the cluster as a condition",
    "FindClusters": "for lists to choose from; AWS knows neither resource nor condition",
    "NoSessionsAroundExec": "without it ssm:StartSession opens sessions that no ExecuteCommand "
    "event tells of and that are not logged; this package's --method start-session is one",
    "ExecChannel": "lets the agent be reached at all; AWS knows no resources for these",
    "FindLogGroup": "the agent looks for the log group; AWS knows no resources for this",
    "WriteSessionLogs": "writes session logs",
    "PutSessionLogs": "writes session logs",
    "CheckBucket": "the agent looks whether the bucket is encrypted, and where it is",
}


@dataclass(frozen=True)
class Subject:
    """What a policy is for.

    Attributes:
        settings: of the cluster.
        names: ARNs of this account.
        service: name, or empty for the whole cluster.
        container: the only one; empty for all of them.
        tags: that tasks must have.
        tasks: that run there, with their tags.
        log_groups: of sessions.
        bucket_key_arn: of the key that the bucket encrypts with.
    """

    settings: ExecSettings
    names: Names
    service: str = ""
    container: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[TaskInfo, ...] = ()
    log_groups: tuple[str, ...] = ()
    bucket_key_arn: str = ""

    def arn(self, kind: str, name: str = "*") -> str:
        """The ARN of something in the cluster."""
        return f"{self.settings.cluster_arn.replace(':cluster/', f':{kind}/')}/{name}"

    @property
    def sessions_arn(self) -> str:
        """The ARN of all sessions of ECS Exec."""
        names = self.names
        return f"arn:{names.partition}:ssm:{names.region}:{names.account}:{_SESSIONS}"


@dataclass(frozen=True)
class Draft:
    """A document, and what to know of it.

    Attributes:
        notes: what a statement is for, by its Sid.
        remarks: sentences about all of it.
    """

    kind: Kind
    document: Document
    notes: Mapping[str, str]
    remarks: tuple[str, ...] = ()


async def subject_of(
    api: AwsApi,
    target: str,
    *,
    tags: Mapping[str, str] | None = None,
    container: str | None = None,
) -> Subject:
    """Look up what a policy is for.

    Args:
        target: ``CLUSTER[/NAME[:CONTAINER]]``.

    Raises:
        TargetNotFound: there is no such cluster; the error lists what there is.
        InvalidRequest: two containers are named.
    """
    query = parse_scope(target)
    check_region(api, query)
    named = query.container if query.container != "*" else None
    if named and container and named != container:
        raise InvalidRequest(f"{target!r} and container {container!r} contradict each other")
    cluster = query.cluster or api.cluster
    account, region = await api.account_region()
    settings, tasks = await asyncio.gather(
        read_settings(api, cluster), _tasks_of(api, cluster, query.name)
    )
    groups: tuple[str, ...] = (settings.log_group,) if settings.log_group else ()
    if settings.logging == "default":
        groups = await _default_groups(api, tasks)
    return Subject(
        settings,
        Names(cluster, settings.cluster_arn.split(":")[1], region, account),
        service=query.name or "",
        container=container or named or "",
        tags=dict(tags or {}),
        tasks=tasks,
        log_groups=groups,
        bucket_key_arn=await bucket_key_of(api, settings),
    )


async def _tasks_of(api: AwsApi, cluster: str, name: str | None) -> tuple[TaskInfo, ...]:
    """What runs under that name; a name that is not running is no error."""
    if not name:
        return ()
    try:
        found = await find(api, f"{cluster}/{name}", container="*", want="all")
        arns = [task.task_arn for task in found.tasks]
        return tuple(await describe_tasks(api, cluster, arns, tags=True))
    except TargetNotFound:
        return ()


async def _default_groups(api: AwsApi, tasks: tuple[TaskInfo, ...]) -> tuple[str, ...]:
    names = sorted({f"{task.family}:{task.revision}" for task in tasks})
    found: list[str] = []
    for name in names:
        try:
            answer = await api.call("ecs", "describe_task_definition", taskDefinition=name)
        except EcsExecError:
            continue  # without it the policy lacks a log group, and a remark says so
        found += container_groups(answer["taskDefinition"], api.region)
    return tuple(dict.fromkeys(found))


# -- documents -----------------------------------------------------------------------------------


def draft(kind: Kind, subject: Subject) -> Draft:
    """The least policy of a kind.

    Raises:
        InvalidRequest: there is no such kind, or it takes no tags or container.
    """
    if kind not in KINDS:
        raise InvalidRequest(f"there is no policy {kind!r}", cure=f"there are {', '.join(KINDS)}")
    if kind != "operator" and (subject.tags or subject.container):
        raise InvalidRequest(
            f"the policy {kind} takes neither tags nor a container",
            cause="a task role is the task's as a whole"
            if kind == "task-role"
            else "what it denies, it denies in every task of the cluster",
            cure="leave them out",
        )
    if kind == "operator":
        return _operator(subject)
    if kind == "task-role":
        return _task_role(subject)
    statement = {
        "Sid": "NoSessionsAroundExec",
        "Effect": "Deny",
        "Action": "ssm:StartSession",
        "Resource": subject.arn("task"),
    }
    return _drafted(kind, [statement], ())


def _drafted(kind: Kind, statements: list[Document], remarks: tuple[str, ...]) -> Draft:
    document = {"Version": "2012-10-17", "Statement": statements}
    notes = {each["Sid"]: _NOTES[each["Sid"]] for each in statements if each["Sid"] in _NOTES}
    return Draft(kind, document, notes, remarks)


def _allow(sid: str, actions: list[str], resources: list[str], **condition: Any) -> Document:
    statement: Document = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions[0] if len(actions) == 1 else actions,
        "Resource": resources[0] if len(resources) == 1 else resources,
    }
    return {**statement, "Condition": condition} if condition else statement


def _operator(subject: Subject) -> Draft:
    settings = subject.settings
    cluster, task = settings.cluster_arn, subject.arn("task")
    narrowed = {f"aws:ResourceTag/{key}": value for key, value in subject.tags.items()}
    if subject.container:
        narrowed["ecs:container-name"] = subject.container
    conditions = {"StringEquals": narrowed} if narrowed else {}
    statements = [_allow("RunCommands", ["ecs:ExecuteCommand"], [cluster, task], **conditions)]
    if settings.key_arn:
        statements.append(_allow("SessionKey", ["kms:GenerateDataKey"], [settings.key_arn]))
        by_alias({"Statement": statements}, settings.key)
    statements += [
        _allow(
            "EndSessions", ["ssm:ResumeSession", "ssm:TerminateSession"], [subject.sessions_arn]
        ),
        _allow(
            "SeeTasks",
            ["ecs:DescribeClusters", "ecs:DescribeServices", "ecs:DescribeTasks"],
            [cluster, subject.arn("service"), task],
        ),
        _allow(
            "FindTasks",
            ["ecs:ListServices", "ecs:ListTasks"],
            ["*"],
            ArnEquals={"ecs:cluster": cluster},
        ),
        _allow("FindClusters", ["ecs:ListClusters"], ["*"]),
    ]
    return _drafted("operator", statements, tuple(_operator_remarks(subject)))


def _operator_remarks(subject: Subject) -> list[str]:
    where = "/".join(filter(None, (subject.settings.cluster, subject.service)))
    found = []
    if not subject.tags:
        narrower = f"IAM knows no services, so that it is not only {subject.service}'s; "
        found.append(
            f"It lets into every task of cluster {subject.settings.cluster}: "
            f"{narrower if subject.service else ''}--tag (tags=) narrows it to tasks with a tag."
        )
    else:
        fits = [task for task in subject.tasks if _has(task.tags, subject.tags)]
        shown = ", ".join(f"{key}={value}" for key, value in subject.tags.items())
        if subject.service:
            found.append(
                f"{len(fits)} of {len(subject.tasks)} running tasks of {where} have {shown}."
            )
        found.append("Whoever may tag tasks (ecs:TagResource) decides into which it lets.")
    names = {each.name for task in subject.tasks for each in task.containers}
    if subject.container and names and subject.container not in names:
        found.append(
            f"No running task of {where} has a container {subject.container}; there are "
            f"{', '.join(sorted(names))}."
        )
    found.append("Together with deny-start-session it leaves no way around the audit.")
    return found


def _has(tags: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(tags.get(key) == value for key, value in wanted.items())


def _task_role(subject: Subject) -> Draft:
    settings = subject.settings
    document = task_role_policy(
        subject.names,
        log_groups=subject.log_groups,
        bucket=settings.bucket,
        prefix=settings.prefix,
        key_arn=settings.key_arn,
        bucket_key_arn=subject.bucket_key_arn,
    )
    remarks = [f"For the task role, and not the execution role. Logging: {settings.logging}."]
    if settings.logging == "default" and not subject.log_groups:
        remarks.append(
            "Sessions are logged where containers write to with awslogs; name a service that runs "
            "(CLUSTER/SERVICE) to have its log groups in it."
        )
    return _drafted("task-role", by_alias(document, settings.key)["Statement"], tuple(remarks))


# -- questions -----------------------------------------------------------------------------------


def questions(kind: Kind, subject: Subject) -> tuple[Question, ...]:
    """What to ask IAM to learn what somebody can do there, with the context AWS would give."""
    plain = replace(subject, tags={}, container="")
    document = draft(kind, subject if kind == "operator" else plain).document
    found: list[Question] = []
    for statement in document["Statement"]:
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                if kind == "operator" and not _belongs(action, resource):
                    continue
                found += _asked(subject, action, resource)
    if kind == "operator":
        found += _asked(subject, "ssm:StartSession", subject.arn("task"))
    return tuple(found)


def _belongs(action: str, resource: str) -> bool:
    """Whether a statement of several actions and resources means these two together."""
    kinds = {"Clusters": ":cluster/", "Services": ":service/", "Tasks": ":task/"}
    name = action.partition(":Describe")[2]
    return name not in kinds or kinds[name] in resource


def _asked(subject: Subject, action: str, resource: str) -> list[Question]:
    """A question on things that there are, where a policy has wildcards."""
    task = subject.tasks[0] if subject.tasks else None
    if ":task/" in resource and task is not None:
        resource = task.task_arn
    if ":service/" in resource and subject.service:
        resource = subject.arn("service", subject.service)
    context: dict[str, str | tuple[str, ...]] = {"aws:RequestedRegion": subject.names.region}
    if not action.startswith(("ecs:", "ssm:Start")):
        return [Question(action, resource, context)]
    context["ecs:cluster"] = subject.settings.cluster_arn
    own = task.tags if task and ":task/" in resource else {}
    other = {} if task is None or ":task/" in resource else task.tags
    for key, value in {**other, **subject.settings.tags, **subject.tags, **own}.items():
        context[f"aws:ResourceTag/{key}"] = context[f"ecs:ResourceTag/{key}"] = value
    if action != "ecs:ExecuteCommand":
        return [Question(action, resource, context)]
    if task is not None:
        context["ecs:task"] = task.task_arn
    names = [each.name for each in task.containers if not each.injected] if task else []
    names = [subject.container] if subject.container else names
    if not names:
        return [Question(action, resource, context)]
    return [Question(action, resource, {**context, "ecs:container-name": each}) for each in names]
