"""What a task definition must be like, and what ECS makes of it.

Knows AWS's rules and their words. Never knows where definitions are kept.
"""

from __future__ import annotations

import re
from typing import Any

from ..api import ApiError
from .requests import invalid

__all__ = ["normalise"]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_ROLE = re.compile(r"arn:(aws|aws-cn|aws-us-gov):iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")
_IMAGE = re.compile(r"[A-Za-z0-9_\-:./#@]{1,255}")
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.")
_LOG_DRIVERS = ("awslogs", "splunk", "awsfirelens")
_GIB = 1024
_MEMORY: dict[int, tuple[int, ...]] = {  # MiB that Fargate offers, by CPU units
    256: (512, 1024, 2048),
    512: tuple(range(1 * _GIB, 5 * _GIB, _GIB)),
    1024: tuple(range(2 * _GIB, 9 * _GIB, _GIB)),
    2048: tuple(range(4 * _GIB, 17 * _GIB, _GIB)),
    4096: tuple(range(8 * _GIB, 31 * _GIB, _GIB)),
    8192: tuple(range(16 * _GIB, 61 * _GIB, 4 * _GIB)),
    16384: tuple(range(32 * _GIB, 121 * _GIB, 8 * _GIB)),
}
_CAPABILITY = "com.amazonaws.ecs.capability"


def _refused(message: str) -> ApiError:
    return ApiError("ClientException", message)


def _size(text: str, what: str, unit: str) -> str:
    """CPU or memory in whole units: AWS takes ``1 vCPU`` and ``.5 GB`` too."""
    found = re.fullmatch(rf"(\d+)|(\d*\.?\d+)\s*{unit}", text.strip(), re.IGNORECASE)
    if found is None:
        raise _refused(f"Invalid '{what}' setting for task.")
    return found[1] or str(int(float(found[2]) * 1024))


def normalise(given: dict[str, Any], account_iam: str) -> dict[str, Any]:
    """Check a request of RegisterTaskDefinition and return the document that is kept.

    Args:
        account_iam: the beginning of the account's role ARNs, up to ``role/``.

    Raises:
        ApiError: ClientException or InvalidParameterException, as AWS words them.
    """
    document = {k: v for k, v in given.items() if k != "tags"}
    family = document["family"]
    if not family:
        raise _refused("Family should not be null or empty.")
    if not _NAME.fullmatch(family):
        raise _refused("Family contains invalid characters.")
    for name, unit in (("cpu", "vCPU"), ("memory", "GB")):
        if document.get(name):
            document[name] = _size(document[name], name, unit)
    for role in ("taskRoleArn", "executionRoleArn"):
        if document.get(role):
            document[role] = _role(document[role], account_iam)
    wanted = document.get("requiresCompatibilities", [])
    if "FARGATE" in wanted:
        _check_fargate(document)
    document.setdefault("networkMode", "bridge")
    document["containerDefinitions"] = _containers(document)
    fits = document["networkMode"] == "awsvpc" and _fits_fargate(document)
    document["compatibilities"] = [*(["EXTERNAL"] if not fits else []), "EC2"]
    if document["networkMode"] == "awsvpc":
        document["compatibilities"] = ["EC2", *(["FARGATE"] if fits else [])]
    document.setdefault("volumes", [])
    document.setdefault("placementConstraints", [])
    document["requiresAttributes"] = [{"name": n} for n in _attributes(document)]
    return document


def _role(role: str, account_iam: str) -> str:
    if _ROLE.fullmatch(role):
        return role
    if _ROLE_NAME.fullmatch(role):
        return account_iam + role
    raise _refused("Role is not valid")


def _fits_fargate(document: dict[str, Any]) -> bool:
    cpu, memory = document.get("cpu"), document.get("memory")
    return bool(cpu and memory) and int(memory or 0) in _MEMORY.get(int(cpu or 0), ())


def _check_fargate(document: dict[str, Any]) -> None:
    if document.get("networkMode") != "awsvpc":
        raise _refused("Fargate only supports network mode ‘awsvpc’.")
    for name in ("cpu", "memory"):
        if not document.get(name):
            raise _refused(f"Fargate requires that '{name}' be defined at the task level.")
    if not _fits_fargate(document):
        raise _refused(
            f"No Fargate configuration exists for given values: {document['cpu']} CPU, "
            f"{document['memory']} memory. See the Amazon ECS documentation for the valid values."
        )
    if document.get("pidMode") == "host":
        raise _refused("Tasks using the Fargate launch type do not support pidMode 'host'.")
    for container in document["containerDefinitions"]:
        driver = container.get("logConfiguration", {}).get("logDriver")
        if driver and driver not in _LOG_DRIVERS:
            raise _refused(
                f"Log driver {driver} is not supported for tasks using the Fargate launch type."
            )
        if container.get("privileged"):
            raise _refused("Fargate does not support privileged containers.")
        if document.get("executionRoleArn"):
            continue
        if driver == "awslogs":
            raise _refused(
                "Fargate requires task definition to have execution role ARN to support log "
                "driver awslogs."
            )
        if _ECR.match(container.get("image", "")):
            raise _refused(
                "Fargate requires task definition to have execution role ARN to support ECR images."
            )


def _containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    containers = [_container(c, document) for c in document["containerDefinitions"]]
    if not containers:
        raise _refused("Container list cannot be empty.")
    names = [c["name"] for c in containers]
    if len(set(names)) != len(names):
        raise _refused("Container names must be unique within a task definition.")
    if not any(c["essential"] for c in containers):
        raise _refused("A task definition must have at least one essential container.")
    for container in containers:
        for dependency in container.get("dependsOn", ()):
            if dependency["containerName"] not in names:
                raise _refused(
                    f"Invalid 'dependsOn' setting for container '{container['name']}': container "
                    f"'{dependency['containerName']}' does not exist in the task definition."
                )
    if document.get("memory"):
        asked = sum(c.get("memoryReservation") or c.get("memory") or 0 for c in containers)
        if asked > int(document["memory"]):
            raise _refused(
                "Invalid setting for task. The total memory of its containers "
                f"({asked}) exceeds the task memory ({document['memory']})."
            )
    return containers


def _container(given: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    container = {
        "cpu": 0,
        "portMappings": [],
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
        **given,
    }
    name = container.get("name")
    if not name:
        raise _refused("Container.name should not be null or empty.")
    if not _NAME.fullmatch(name):
        raise _refused("Container.name contains invalid characters.")
    image = container.get("image")
    if not image:
        raise _refused("Container.image should not be null or empty.")
    if not _IMAGE.fullmatch(image):
        raise _refused("Container.image contains invalid characters.")
    memory, reserved = container.get("memory"), container.get("memoryReservation")
    if not document.get("memory") and not memory and not reserved:
        raise _refused(
            f"Invalid setting for container '{name}'. At least one of 'memory' or "
            "'memoryReservation' must be specified."
        )
    if memory is not None and memory < 6:
        raise _refused(f"Invalid 'memory' setting for container '{name}'. The minimum is 6 MiB.")
    if memory and reserved and reserved > memory:
        raise _refused(
            f"Invalid setting for container '{name}'. 'memory' must be greater than "
            "'memoryReservation'."
        )
    _check_logs(container)
    awsvpc = document["networkMode"] == "awsvpc"
    container["portMappings"] = [_port(name, m, awsvpc) for m in container["portMappings"]]
    return container


def _check_logs(container: dict[str, Any]) -> None:
    configuration = container.get("logConfiguration") or {}
    if configuration.get("logDriver") != "awslogs":
        return
    for option in ("awslogs-group", "awslogs-region"):
        if not (configuration.get("options") or {}).get(option):
            raise _refused(f"Log driver awslogs requires options: {option}.")


def _port(name: str, mapping: dict[str, Any], awsvpc: bool) -> dict[str, Any]:
    port = mapping.get("containerPort")
    if port is None and not mapping.get("containerPortRange"):
        raise _refused(f"Invalid 'portMappings' setting for container '{name}'.")
    if port is not None and not 1 <= port <= 65535:
        raise invalid(f"Invalid 'containerPort' setting for container '{name}'.")
    filled = {"protocol": "tcp", **mapping}
    if port is not None:
        host = mapping.get("hostPort", 0)
        if awsvpc and host not in (0, port):
            raise _refused(
                "When networkMode=awsvpc, the host ports and container ports in port mappings "
                "must match."
            )
        filled["hostPort"] = port if awsvpc else host
    return filled


def _attributes(document: dict[str, Any]) -> list[str]:
    """What an instance must be able to do to run such tasks."""
    names: list[str] = []
    if document.get("taskRoleArn"):
        names.append(f"{_CAPABILITY}.task-iam-role")
    if document["networkMode"] == "awsvpc":
        names.append("ecs.capability.task-eni")
    for container in document["containerDefinitions"]:
        driver = (container.get("logConfiguration") or {}).get("logDriver")
        if driver:
            names.append(f"{_CAPABILITY}.logging-driver.{driver}")
        if driver == "awslogs" and document.get("executionRoleArn"):
            names.append("ecs.capability.execution-role-awslogs")
        if _ECR.match(container["image"]):
            names.append(f"{_CAPABILITY}.ecr-auth")
            if document.get("executionRoleArn"):
                names.append("ecs.capability.execution-role-ecr-pull")
        if container.get("dependsOn"):
            names.append("ecs.capability.container-ordering")
        if container.get("healthCheck"):
            names.append("ecs.capability.container-health-check")
        if container.get("secrets"):
            names.append("ecs.capability.secrets.ssm.environment-variables")
    if document.get("pidMode") or document.get("ipcMode"):
        names.append("ecs.capability.pid-ipc-namespace-sharing")
    names.append(f"{_CAPABILITY}.docker-remote-api.1.{19 if names else 18}")
    return list(dict.fromkeys(names))
