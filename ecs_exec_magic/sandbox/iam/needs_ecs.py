"""What calls to Amazon ECS need.

Knows the service authorization reference of ECS as far as its calls are served here. Never knows
who calls or what the policies say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .requests import Need, Request, Resources, mappings, request_tags, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROLE_READERS", "keys", "passed", "resources"]

ROLE_READERS = frozenset({"RunTask", "StartTask"})
"""Calls that hand the roles of a task definition to ECS."""

_STARTERS = frozenset("RunTask StartTask CreateService".split())
_INSIDE_CLUSTER = frozenset(
    "RunTask StartTask StopTask DescribeTasks ListTasks ExecuteCommand CreateService UpdateService "
    "DeleteService DescribeServices ListServices DescribeContainerInstances "
    "UpdateContainerInstancesState UpdateContainerAgent GetTaskProtection "
    "UpdateTaskProtection".split()
)


def _arns(request: Request, kind: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(n if n.startswith("arn:") else request.arn(f"{kind}/{n}", "ecs") for n in names)


def _cluster_name(request: Request) -> str:
    return str(request.given.get("cluster") or "default").rpartition("/")[2]


def _by(kind: str, member: str, default: str = "") -> Resources:
    """What a member names, by name or by ARN."""

    def find(request: Request) -> tuple[str, ...]:
        names = texts(request.given.get(member)) or ([default] if default else [])
        return _arns(request, kind, names)

    return find


def _inside(kind: str, member: str, default: str = "") -> Resources:
    """The same, of resources in a cluster."""

    def find(request: Request) -> tuple[str, ...]:
        names = texts(request.given.get(member)) or ([default] if default else [])
        return _arns(request, f"{kind}/{_cluster_name(request)}", names)

    return find


def _registered(request: Request) -> tuple[str, ...]:
    return (request.arn(f"task-definition/{request.given.get('family', '')}:*", "ecs"),)


_IN_CLUSTER = _by("cluster", "cluster", "default")
_BY_DEFINITION = _by("task-definition", "taskDefinition")
_BY_RESOURCE = _by("", "resourceArn")
_INSTANCE = _inside("container-instance", "containerInstance")
_INSTANCES = _inside("container-instance", "containerInstances")
_TABLE: dict[str, Resources] = {
    "CreateCluster": _by("cluster", "clusterName", "default"),
    "DescribeClusters": _by("cluster", "clusters", "default"),
    "UpdateCluster": _IN_CLUSTER,
    "UpdateClusterSettings": _IN_CLUSTER,
    "DeleteCluster": _IN_CLUSTER,
    "PutClusterCapacityProviders": _IN_CLUSTER,
    "ListContainerInstances": _IN_CLUSTER,
    "RegisterContainerInstance": _IN_CLUSTER,
    "DeregisterContainerInstance": _IN_CLUSTER,
    "ListAttributes": _IN_CLUSTER,
    "DescribeCapacityProviders": _by("capacity-provider", "capacityProviders"),
    "DescribeContainerInstances": _INSTANCES,
    "UpdateContainerInstancesState": _INSTANCES,
    "UpdateContainerAgent": _INSTANCE,
    "ListTasks": _inside("container-instance", "containerInstance", "*"),
    "RegisterTaskDefinition": _registered,
    "DeleteTaskDefinitions": _by("task-definition", "taskDefinitions"),
    "RunTask": _BY_DEFINITION,
    "StartTask": _BY_DEFINITION,
    "StopTask": _inside("task", "task"),
    "DescribeTasks": _inside("task", "tasks"),
    "GetTaskProtection": _inside("task", "tasks"),
    "UpdateTaskProtection": _inside("task", "tasks"),
    "CreateService": _inside("service", "serviceName"),
    "UpdateService": _inside("service", "service"),
    "DeleteService": _inside("service", "service"),
    "DescribeServices": _inside("service", "services"),
    "TagResource": _BY_RESOURCE,
    "UntagResource": _BY_RESOURCE,
    "ListTagsForResource": _BY_RESOURCE,
    "ExecuteCommand": lambda request: (
        *_IN_CLUSTER(request),
        *_inside("task", "task")(request),
    ),
}


def resources(request: Request) -> tuple[str, ...]:
    """The resources of a call."""
    return (_TABLE.get(request.operation) or (lambda _: ()))(request)


def keys(request: Request) -> dict[str, tuple[str, ...]]:
    """The condition keys of a call, but those of tags on its resources."""
    given, operation = request.given, request.operation
    found: dict[str, tuple[str, ...]] = {
        "ecs:cluster": _IN_CLUSTER(request) if operation in _INSIDE_CLUSTER else (),
        "ecs:service": _inside("service", "service")(request),
        "ecs:task": _inside("task", "task")(request),
        "ecs:task-definition": _BY_DEFINITION(request),
        "ecs:container-name": tuple(texts(given.get("container"))),
        "ecs:container-instances": (*_INSTANCE(request), *_INSTANCES(request)),
        "ecs:account-setting": tuple(texts(given.get("name"))),
        "ecs:capacity-provider": tuple(
            name
            for one in mappings(given.get("capacityProviderStrategy"))
            for name in texts(one.get("capacityProvider"))
        ),
    }
    if operation in _STARTERS or "enableExecuteCommand" in given:
        found["ecs:enable-execute-command"] = (
            str(bool(given.get("enableExecuteCommand"))).lower(),
        )
    return {**{k: v for k, v in found.items() if v}, **request_tags(given)}


def passed(request: Request, roles: Sequence[str]) -> list[Need]:
    """iam:PassRole for every role that a call hands to ECS."""
    places = (request.given, *mappings(request.given.get("overrides")))
    named = [one.get(m) for one in places for m in ("taskRoleArn", "executionRoleArn")]
    known = roles if request.operation in ROLE_READERS else ()
    arns = [
        role if role.startswith("arn:") else request.global_arn(f"role/{role}")
        for role in (*texts(named), *known)
        if role
    ]
    service = {"iam:PassedToService": ("ecs-tasks.amazonaws.com",)}
    return [Need("iam:PassRole", tuple(dict.fromkeys(arns)), service)] if arns else []
