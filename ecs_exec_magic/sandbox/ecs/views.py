"""How ECS shows clusters, services, task definitions and container instances.

Knows the documented output fields. Never knows requests or sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .placement import free

if TYPE_CHECKING:
    from collections.abc import Collection

    from .definition import TaskDefinition
    from .deployment import Deployment, Service
    from .model import Cluster, Instance, Launch, Task

__all__ = ["cluster_view", "definition_view", "instance_view", "service_view", "tag_list"]


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as ECS shows them."""
    return [{"key": k, "value": v} for k, v in tags.items()]


def _counts(cluster: Cluster) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in cluster.tasks.values():
        if task.stopped is None and task.desired == "RUNNING":
            state = "running" if task.status == "RUNNING" else "pending"
            kind = "Fargate" if task.launch.launch_type == "FARGATE" else "EC2"
            for name in (state, f"{state}{kind}TasksCount"):
                counts[name] = counts.get(name, 0) + 1
    return counts


def cluster_view(cluster: Cluster, include: Collection[str]) -> dict[str, Any]:
    """A cluster; settings, configuration, tags and statistics only when asked for."""
    counts = _counts(cluster)
    services = [s for s in cluster.services.values() if s.status == "ACTIVE"]
    view: dict[str, Any] = {
        "clusterArn": cluster.arn,
        "clusterName": cluster.name,
        "status": cluster.status,
        "registeredContainerInstancesCount": len(cluster.instances),
        "runningTasksCount": counts.get("running", 0),
        "pendingTasksCount": counts.get("pending", 0),
        "activeServicesCount": len(services),
        "statistics": [],
        "tags": tag_list(cluster.tags) if "TAGS" in include else [],
        "settings": [],
        "capacityProviders": list(cluster.capacity_providers),
        "defaultCapacityProviderStrategy": list(cluster.strategy),
        "serviceConnectDefaults": cluster.connect_defaults or None,
    }
    if "SETTINGS" in include:
        view["settings"] = [{"name": k, "value": v} for k, v in cluster.settings.items()]
    if "CONFIGURATIONS" in include and cluster.configuration:
        view["configuration"] = cluster.configuration
    if "STATISTICS" in include:
        kinds = [f"{s}{k}TasksCount" for s in ("running", "pending") for k in ("EC2", "Fargate")]
        found = {name: counts.get(name, 0) for name in kinds}
        for kind in ("EC2", "Fargate"):
            of_kind = [s for s in cluster.services.values() if _kind(s.primary.launch) == kind]
            found[f"active{kind}ServiceCount"] = sum(s.status == "ACTIVE" for s in of_kind)
            found[f"draining{kind}ServiceCount"] = sum(s.status == "DRAINING" for s in of_kind)
        view["statistics"] = [{"name": k, "value": str(v)} for k, v in found.items()]
    return view


def _kind(launch: Launch) -> str:
    return "Fargate" if launch.launch_type == "FARGATE" else "EC2"


def definition_view(definition: TaskDefinition) -> dict[str, Any]:
    """A task definition, as DescribeTaskDefinition shows it."""
    return {
        "taskDefinitionArn": definition.arn,
        "revision": definition.revision,
        "status": definition.status,
        "registeredAt": definition.registered,
        "deregisteredAt": definition.deregistered,
        "deleteRequestedAt": definition.delete_requested,
        "registeredBy": definition.registered_by,
        **definition.document,
    }


def _launch_view(launch: Launch) -> dict[str, Any]:
    view: dict[str, Any] = {"taskDefinition": launch.definition.arn}
    if launch.capacity:
        view["capacityProviderStrategy"] = [
            {"capacityProvider": launch.capacity, "weight": 1, "base": 0}
        ]
    else:
        view["launchType"] = launch.launch_type
    if launch.launch_type == "FARGATE":
        view["platformVersion"] = launch.platform
        view["platformFamily"] = "Linux"
    if launch.network is not None:
        view["networkConfiguration"] = launch.network.view()
    return view


def _deployment_view(deployment: Deployment) -> dict[str, Any]:
    said = {"COMPLETED": "completed", "FAILED": "failed: tasks failed to start"}
    return {
        **_launch_view(deployment.launch),
        "id": deployment.id,
        "status": deployment.status,
        "desiredCount": deployment.desired if deployment.status == "PRIMARY" else 0,
        "pendingCount": deployment.pending(),
        "runningCount": deployment.running(),
        "failedTasks": deployment.failed_tasks,
        "createdAt": deployment.created,
        "updatedAt": deployment.updated,
        "rolloutState": deployment.state,
        "rolloutStateReason": f"ECS deployment {deployment.id} "
        f"{said.get(deployment.state, 'in progress')}.",
    }


def service_view(service: Service, *, tags: bool) -> dict[str, Any]:
    """A service, as DescribeServices shows it."""
    region = service.cluster.region
    options = {
        "deploymentConfiguration": {
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
            **service.options.get("deploymentConfiguration", {}),
        },
        "deploymentController": {"type": "ECS"},
        "schedulingStrategy": "REPLICA",
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "availabilityZoneRebalancing": "DISABLED",
    }
    options.update({k: v for k, v in service.options.items() if k != "deploymentConfiguration"})
    launch = _launch_view(service.primary.launch)
    if "platformVersion" in launch:
        launch["platformVersion"] = service.platform
    return {
        **launch,
        **options,
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": service.cluster.arn,
        "status": service.status,
        "desiredCount": service.desired,
        "runningCount": sum(d.running() for d in service.deployments),
        "pendingCount": sum(d.pending() for d in service.deployments),
        "deployments": [] if service.status == "INACTIVE" else _deployments(service),
        "events": list(service.events),
        "roleArn": region.iam("role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"),
        "createdAt": service.created,
        "createdBy": service.created_by,
        "propagateTags": service.propagate,
        "enableECSManagedTags": service.managed_tags,
        "enableExecuteCommand": service.primary.launch.exec_enabled,
        "tags": tag_list(service.tags) if tags else [],
    }


def _deployments(service: Service) -> list[dict[str, Any]]:
    return [_deployment_view(each) for each in service.deployments]


def instance_view(instance: Instance, *, tags: bool) -> dict[str, Any]:
    """A container instance, as DescribeContainerInstances shows it."""
    cpu, memory, ports = free(instance)
    tasks: list[Task] = instance.tasks()
    reserved = {"22", "2375", "2376", "51678", "51679"}

    def resources(cpu: int, memory: int, taken: set[str]) -> list[dict[str, Any]]:
        def number(name: str, value: int) -> dict[str, Any]:
            zero = {"doubleValue": 0.0, "longValue": 0}
            return {"name": name, "type": "INTEGER", **zero, "integerValue": value}

        def strings(name: str, values: set[str]) -> dict[str, Any]:
            zero = {"doubleValue": 0.0, "longValue": 0, "integerValue": 0}
            return {"name": name, "type": "STRINGSET", **zero, "stringSetValue": sorted(values)}

        return [
            number("CPU", cpu),
            number("MEMORY", memory),
            strings("PORTS", taken),
            strings("PORTS_UDP", set()),
        ]

    return {
        "containerInstanceArn": instance.arn,
        "ec2InstanceId": instance.ec2_id,
        "version": instance.version,
        "versionInfo": {
            "agentVersion": instance.agent_version,
            "agentHash": "0f5b4b5a",
            "dockerVersion": f"DockerVersion: {instance.docker_version}",
        },
        "remainingResources": resources(cpu, memory, reserved | {str(p) for p in ports}),
        "registeredResources": resources(instance.cpu, instance.memory, reserved),
        "status": instance.status,
        "agentConnected": instance.connected,
        "runningTasksCount": sum(t.status == "RUNNING" for t in tasks),
        "pendingTasksCount": sum(t.status != "RUNNING" for t in tasks),
        "attributes": list(instance.attributes),
        "registeredAt": instance.registered,
        "attachments": [],
        "tags": tag_list(instance.tags) if tags else [],
    }
