"""How ECS shows a task and its containers.

Knows the documented output fields, and which of them there are at which point of a task's life.
Never knows requests or sessions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from .views import tag_list

if TYPE_CHECKING:
    from .model import ContainerState, Task

__all__ = ["container_arn", "task_view"]

_ATTACHMENT = {
    "PROVISIONING": "PRECREATED",
    "PENDING": "ATTACHING",
    "STOPPED": "DELETED",
    "DEPROVISIONING": "DETACHING",
}


def container_arn(task: Task, container: ContainerState) -> str:
    """The ARN of a container."""
    return f"{task.arn.replace(':task/', ':container/')}/{container.container_id}"


def _digest(image: str) -> str:
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def _agents(container: ContainerState) -> list[dict[str, Any]] | None:
    if container.agent is None:
        return None
    return [
        {
            "name": "ExecuteCommandAgent",
            "lastStatus": container.agent,
            "lastStartedAt": container.agent_started,
            "reason": container.agent_reason or None,
        }
    ]


def _health(task: Task, container: ContainerState) -> str:
    """Health checks are not run: a container that has one and runs is healthy."""
    checked = task.definition.container(container.name).get("healthCheck")
    return "HEALTHY" if checked and container.status == "RUNNING" else "UNKNOWN"


def _task_health(task: Task) -> str:
    essential = [_health(task, c) for c in task.containers if c.essential]
    return "HEALTHY" if "HEALTHY" in essential else "UNKNOWN"


def _container_view(task: Task, container: ContainerState) -> dict[str, Any]:
    definition = task.definition.container(container.name)
    override = task.launch.override_of(container.name)
    memory = override.get("memory", definition.get("memory"))
    reserved = override.get("memoryReservation", definition.get("memoryReservation"))
    # A container has no runtime id before it was created.
    created = task.pull_stopped is not None
    view: dict[str, Any] = {
        "containerArn": container_arn(task, container),
        "taskArn": task.arn,
        "name": container.name,
        "image": container.image,
        "imageDigest": _digest(container.image) if created else None,
        "runtimeId": container.runtime_id if created else None,
        "lastStatus": container.status,
        "exitCode": container.exit_code,
        "reason": container.reason or None,
        "networkBindings": [
            {"bindIP": "127.0.0.1", "containerPort": port, "hostPort": host, "protocol": "tcp"}
            for port, host in container.bindings
        ],
        "networkInterfaces": [],
        "healthStatus": _health(task, container),
        "managedAgents": _agents(container),
        "cpu": str(override.get("cpu", definition.get("cpu", 0))),
        "memory": None if memory is None else str(memory),
        "memoryReservation": None if reserved is None else str(reserved),
    }
    if task.interface is not None and task.status != "PROVISIONING":
        view["networkInterfaces"] = [
            {
                "attachmentId": task.interface.attachment_id,
                "privateIpv4Address": task.interface.private_address,
            }
        ]
    return view


def _attachments(task: Task) -> list[dict[str, Any]]:
    interface = task.interface
    if interface is None:
        return []
    details = {"subnetId": interface.subnet_id}
    if task.status != "PROVISIONING":
        details |= {
            "networkInterfaceId": interface.eni_id,
            "macAddress": interface.mac,
            "privateDnsName": interface.private_name,
            "privateIPv4Address": interface.private_address,
        }
    return [
        {
            "id": interface.attachment_id,
            "type": "ElasticNetworkInterface",
            "status": _ATTACHMENT.get(task.status, "ATTACHED"),
            "details": [{"name": k, "value": v} for k, v in details.items()],
        }
    ]


def _overrides(task: Task) -> dict[str, Any]:
    given = task.launch.overrides
    return {
        **given,
        "containerOverrides": [
            {**task.launch.override_of(c.name), "name": c.name} for c in task.containers
        ],
        "inferenceAcceleratorOverrides": [],
    }


def task_view(task: Task, *, tags: bool) -> dict[str, Any]:
    """A task, as DescribeTasks shows it."""
    launch, document = task.launch, task.definition.document
    fargate = launch.launch_type == "FARGATE"
    memory = launch.overrides.get("memory") or document.get("memory") or launch.memory
    return {
        "taskArn": task.arn,
        "clusterArn": task.cluster.arn,
        "taskDefinitionArn": task.definition.arn,
        "containerInstanceArn": task.instance.arn if task.instance else None,
        "capacityProviderName": launch.capacity or None,
        "group": launch.group or f"family:{task.definition.family}",
        "lastStatus": task.status,
        "desiredStatus": task.desired,
        "launchType": launch.launch_type,
        "platformVersion": launch.platform if fargate else None,
        "platformFamily": "Linux" if fargate else None,
        "availabilityZone": task.interface.zone if task.interface else None,
        "cpu": str(launch.overrides.get("cpu") or document.get("cpu") or launch.cpu),
        "memory": str(memory),
        "connectivity": "CONNECTED" if task.connected else None,
        "connectivityAt": task.connected,
        "createdAt": task.created,
        "pullStartedAt": task.pull_started,
        "pullStoppedAt": task.pull_stopped,
        "startedAt": task.started,
        "startedBy": launch.started_by or None,
        "stoppingAt": task.stopping,
        "executionStoppedAt": task.execution_stopped,
        "stoppedAt": task.stopped,
        "stopCode": task.stop_code,
        "stoppedReason": task.stopped_reason,
        "enableExecuteCommand": launch.exec_enabled,
        "healthStatus": _task_health(task),
        "version": task.version,
        "ephemeralStorage": (document.get("ephemeralStorage") or {"sizeInGiB": 20})
        if fargate
        else None,
        "overrides": _overrides(task),
        "inferenceAccelerators": [],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "attachments": _attachments(task),
        "containers": [_container_view(task, c) for c in task.containers],
        "tags": tag_list(task.tags) if tags else [],
    }
