"""From the words of a request to how tasks are launched.

Knows launch types, platform versions, network configurations and overrides, and AWS's words for
what does not fit. Never starts anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..api import ApiError
from .model import AwsVpc, Launch
from .requests import invalid

if TYPE_CHECKING:
    from .definition import TaskDefinition
    from .model import Cluster

__all__ = ["launch_of"]

_LATEST = "1.4.0"
_PLATFORMS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")
_FARGATE_PROVIDERS = ("FARGATE", "FARGATE_SPOT")


def launch_of(
    given: dict[str, Any], cluster: Cluster, definition: TaskDefinition, *, refusal: str, group: str
) -> Launch:
    """How the tasks of a request are launched.

    Args:
        given: RunTask, StartTask, CreateService or UpdateService, as merged with what was.
        refusal: how a refusal begins, such as ``The service couldn't be created``.
        group: the tasks' group.

    Raises:
        ApiError: as AWS answers what does not fit together.
    """
    capacity = _capacity(given, cluster)
    launch_type = "FARGATE" if capacity else given.get("launchType") or "EC2"
    network = _network(given, definition)
    platform = ""
    if launch_type == "FARGATE":
        if "FARGATE" not in definition.document["compatibilities"]:
            raise invalid(
                "Task definition does not support launch_type FARGATE."
                if definition.network_mode == "awsvpc"
                else "When using Fargate launch type, networkMode 'awsvpc' must be specified."
            )
        platform = _platform(given.get("platformVersion"))
    elif given.get("platformVersion"):
        raise invalid(
            "The platform version must be null when specifying an EC2 launch type."
            if launch_type == "EC2"
            else "The platform version must be null when specifying an EXTERNAL launch type."
        )
    if network is not None and network.public and launch_type != "FARGATE":
        raise invalid("Assign public IP is not supported for this launch type.")
    overrides = given.get("overrides") or {}
    _check_overrides(overrides, definition)
    launch = Launch(
        definition,
        launch_type,
        capacity,
        platform,
        network,
        bool(given.get("enableExecuteCommand")),
        group,
        given.get("startedBy", ""),
        overrides,
    )
    if launch.exec_enabled:
        _check_exec(launch, refusal)
    return launch


def _capacity(given: dict[str, Any], cluster: Cluster) -> str:
    """The capacity provider to use, or empty for a launch type."""
    strategy = given.get("capacityProviderStrategy") or []
    if strategy and given.get("launchType"):
        raise invalid(
            "Specifying both a launch type and capacity provider strategy is not supported."
        )
    if not strategy and not given.get("launchType"):
        strategy = cluster.strategy
    for item in strategy:
        if item["capacityProvider"] not in cluster.capacity_providers:
            raise invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that "
                "is not associated with the cluster. Associate the capacity provider with the "
                "cluster and try again."
            )
    if not strategy:
        return ""
    return str(
        max(strategy, key=lambda s: (s.get("base", 0), s.get("weight", 0)))["capacityProvider"]
    )


def _platform(version: str | None) -> str:
    if version in (None, "LATEST"):
        return _LATEST
    if version not in _PLATFORMS:
        raise ApiError("PlatformUnknownException", "The specified platform does not exist.")
    return str(version)


def _network(given: dict[str, Any], definition: TaskDefinition) -> AwsVpc | None:
    vpc = (given.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if definition.network_mode != "awsvpc":
        if vpc is not None:
            raise invalid(
                "Network Configuration is not valid for the given networkMode of this task "
                "definition."
            )
        return None
    if vpc is None:
        raise invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        )
    subnets, groups = vpc.get("subnets") or [], vpc.get("securityGroups") or []
    if not subnets:
        raise invalid("subnets can not be empty.")
    if len(subnets) > 16:
        raise invalid("subnets can have at most 16 items.")
    if len(groups) > 5:
        raise invalid("securityGroups can have at most 5 items.")
    public = vpc.get("assignPublicIp", "DISABLED")
    if public not in ("ENABLED", "DISABLED"):
        raise invalid(f"assignPublicIp {public!r} is not valid.")
    return AwsVpc(tuple(subnets), tuple(groups), public == "ENABLED")


def _check_overrides(overrides: dict[str, Any], definition: TaskDefinition) -> None:
    names = {c["name"] for c in definition.containers}
    for override in overrides.get("containerOverrides", ()):
        if override.get("name") not in names:
            raise invalid(
                f"Override for container named {override.get('name')} is not a container in the "
                "TaskDefinition."
            )
    for name in ("cpu", "memory"):
        if overrides.get(name) and not str(overrides[name]).isdigit():
            raise invalid(f"Invalid '{name}' setting for task override.")


def _check_exec(launch: Launch, refusal: str) -> None:
    if launch.launch_type == "FARGATE" and launch.platform != "1.4.0":
        raise invalid(
            f"{refusal} because the specified platform version does not support execute command. "
            "Specify platform version 1.4.0 or later and try again."
        )
    if launch.launch_type == "FARGATE" and launch.role_arn is None:
        raise invalid(
            f"{refusal} because a valid taskRoleArn is not being used. Specify a valid task role "
            "in your task definition and try again."
        )
