"""How ECS shows clusters, services, tasks and task definitions.

Knows the documented output fields. Never knows requests or sessions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from .api import ACCOUNT
from .model import SECURITY_GROUP, SUBNETS, tag_list

if TYPE_CHECKING:
    from .model import Cluster, ContainerState, Service, Task, TaskDefinition

__all__ = ["cluster_view", "definition_view", "service_view", "task_view"]

_NETWORK = {
    "awsvpcConfiguration": {
        "subnets": list(SUBNETS),
        "securityGroups": [SECURITY_GROUP],
        "assignPublicIp": "ENABLED",
    }
}


def cluster_view(cluster: Cluster, include: list[str], region: str) -> dict[str, Any]:
    """A cluster; settings, configuration, tags and statistics only when asked for."""
    running = [t for t in cluster.tasks.values() if t.status == "RUNNING"]
    pending = [t for t in cluster.tasks.values() if t.status in ("PROVISIONING", "PENDING")]
    view: dict[str, Any] = {
        "clusterArn": cluster.arn(region),
        "clusterName": cluster.name,
        "status": cluster.status,
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": len(running),
        "pendingTasksCount": len(pending),
        "activeServicesCount": len(cluster.services),
        "statistics": [],
        "tags": tag_list(cluster.tags) if "TAGS" in include else [],
        "settings": [],
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
    }
    if "SETTINGS" in include:
        view["settings"] = [{"name": k, "value": v} for k, v in cluster.settings.items()]
    if "CONFIGURATIONS" in include and cluster.configuration:
        view["configuration"] = cluster.configuration
    if "STATISTICS" in include:
        counts = {
            "runningFargateTasksCount": len(running),
            "pendingFargateTasksCount": len(pending),
        }
        view["statistics"] = [{"name": k, "value": str(v)} for k, v in counts.items()]
    return view


def _container_view(task: Task, container: ContainerState, region: str) -> dict[str, Any]:
    digest = hashlib.sha256(container.image_name.encode()).hexdigest()
    view: dict[str, Any] = {
        "containerArn": f"arn:aws:ecs:{region}:{ACCOUNT}:container/{task.cluster}/"
        f"{task.task_id}/{container.container_id}",
        "taskArn": task.arn(region),
        "name": container.name,
        "image": container.image_name,
        "imageDigest": f"sha256:{digest}",
        "runtimeId": container.runtime_id,
        "lastStatus": container.status,
        "exitCode": container.exit_code,
        "networkBindings": [],
        "networkInterfaces": [
            {"attachmentId": _attachment_id(task), "privateIpv4Address": task.address}
        ],
        "healthStatus": "UNKNOWN",
        "cpu": "0",
    }
    if container.host_port:
        view["networkBindings"] = [
            {
                "bindIP": "127.0.0.1",
                "containerPort": 80,
                "hostPort": container.host_port,
                "protocol": "tcp",
            }
        ]
    if container.agent is not None:
        managed: dict[str, Any] = {"name": "ExecuteCommandAgent", "lastStatus": container.agent}
        if container.agent == "RUNNING":
            managed["lastStartedAt"] = task.started
        if container.agent_reason:
            managed["reason"] = container.agent_reason
        view["managedAgents"] = [managed]
    return view


def _attachment_id(task: Task) -> str:
    digest = hashlib.sha256(task.eni.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


def task_view(task: Task, region: str, *, tags: bool) -> dict[str, Any]:
    """A task, as DescribeTasks shows it."""
    number = int(hashlib.sha256(task.eni.encode()).hexdigest()[:10], 16).to_bytes(5, "big")
    attached = task.status == "RUNNING"
    details = {
        "subnetId": SUBNETS["ab".index(task.zone)],
        "networkInterfaceId": task.eni,
        "macAddress": "0a:" + ":".join(f"{b:02x}" for b in number),
        "privateDnsName": task.hostname,
        "privateIPv4Address": task.address,
    }
    view: dict[str, Any] = {
        "taskArn": task.arn(region),
        "clusterArn": f"arn:aws:ecs:{region}:{ACCOUNT}:cluster/{task.cluster}",
        "taskDefinitionArn": task.definition.arn(region),
        "group": task.group or f"family:{task.definition.family}",
        "lastStatus": task.status,
        "desiredStatus": task.desired,
        "launchType": task.launch_type,
        "platformVersion": "1.4.0",
        "platformFamily": "Linux",
        "availabilityZone": f"{region}{task.zone}",
        "cpu": "256",
        "memory": "512",
        "connectivity": "CONNECTED" if task.started else None,
        "connectivityAt": task.started,
        "createdAt": task.created,
        "pullStartedAt": task.started and task.started - 8,
        "pullStoppedAt": task.started and task.started - 3,
        "startedAt": task.started,
        "startedBy": task.started_by or None,
        "stoppingAt": task.stopping,
        "stoppedAt": task.stopped,
        "executionStoppedAt": task.stopped,
        "stopCode": task.stop_code,
        "stoppedReason": task.stopped_reason,
        "enableExecuteCommand": task.exec_enabled,
        "healthStatus": "UNKNOWN",
        "version": 4,
        "ephemeralStorage": {"sizeInGiB": 20},
        "overrides": {
            "containerOverrides": [{"name": c.name} for c in task.containers],
            "inferenceAcceleratorOverrides": [],
        },
        "inferenceAccelerators": [],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "attachments": [
            {
                "id": _attachment_id(task),
                "type": "ElasticNetworkInterface",
                "status": "ATTACHED" if attached else "PRECREATED",
                "details": [{"name": k, "value": v} for k, v in details.items()],
            }
        ],
        "containers": [_container_view(task, c, region) for c in task.containers],
        "tags": tag_list(task.tags) if tags else [],
    }
    return view


def service_view(service: Service, tasks: list[Task], region: str, *, tags: bool) -> dict[str, Any]:
    """A service, as DescribeServices shows it."""
    running = sum(t.status == "RUNNING" for t in tasks)
    pending = sum(t.status in ("PROVISIONING", "PENDING") for t in tasks)
    common = {
        "taskDefinition": service.definition.arn(region),
        "desiredCount": service.desired,
        "runningCount": running,
        "pendingCount": pending,
        "launchType": "FARGATE",
        "platformVersion": "LATEST",
        "platformFamily": "Linux",
        "networkConfiguration": _NETWORK,
        "createdAt": service.created,
    }
    state = "COMPLETED" if running == service.desired else "IN_PROGRESS"
    return {
        **common,
        "serviceArn": service.arn(region),
        "serviceName": service.name,
        "clusterArn": f"arn:aws:ecs:{region}:{ACCOUNT}:cluster/{service.cluster}",
        "status": "ACTIVE",
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100},
        "deployments": [
            {
                **common,
                "id": f"ecs-svc/{service.deployment}",
                "status": "PRIMARY",
                "updatedAt": service.created,
                "failedTasks": 0,
                "rolloutState": state,
                "rolloutStateReason": f"ECS deployment ecs-svc/{service.deployment} "
                f"{'completed' if state == 'COMPLETED' else 'in progress'}.",
            }
        ],
        "loadBalancers": [],
        "serviceRegistries": [],
        "events": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "propagateTags": "NONE",
        "enableECSManagedTags": False,
        "enableExecuteCommand": service.exec_enabled,
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/"
        "AWSServiceRoleForECS",
        "createdBy": f"arn:aws:iam::{ACCOUNT}:user/sandbox",
        "tags": tag_list(service.tags) if tags else [],
    }


def definition_view(
    definition: TaskDefinition, image_names: dict[str, str], region: str
) -> dict[str, Any]:
    """A task definition, as DescribeTaskDefinition shows it."""
    containers = [
        {
            "name": name,
            "image": image_names[image],
            "cpu": 0,
            "essential": index == 0,
            "portMappings": (
                [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]
                if image == "nginx"
                else []
            ),
            "environment": [],
            "mountPoints": [],
            "volumesFrom": [],
            "linuxParameters": {"initProcessEnabled": definition.init_process},
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": f"/aws/ecs/{definition.family}",
                    "awslogs-region": region,
                    "awslogs-stream-prefix": "container-stdout",
                },
            },
        }
        for index, (name, image) in enumerate(definition.images.items())
    ]
    return {
        "taskDefinitionArn": definition.arn(region),
        "family": definition.family,
        "revision": definition.revision,
        "status": "ACTIVE",
        "networkMode": "awsvpc",
        "compatibilities": ["EC2", "FARGATE"],
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/sandbox-task-role",
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/sandbox-execution-role",
        "volumes": [],
        "placementConstraints": [],
        "registeredAt": definition.registered,
        "registeredBy": f"arn:aws:iam::{ACCOUNT}:user/sandbox",
        "containerDefinitions": containers,
    }
