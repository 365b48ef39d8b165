"""The ECS API of the practice cluster.

Knows parameters, paging and AWS's own error texts. Never knows frames or processes.
"""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Any

from .agent import SessionPlan
from .api import ApiError, Caller, operation
from .model import Cluster, ContainerState, Service, Task, TaskDefinition, tag_list
from .views import cluster_view, definition_view, service_view, task_view

if TYPE_CHECKING:
    from .sessions import Gateway
    from .world import World

__all__ = ["EcsService"]

_NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or "
    "the execute command agent isn’t running. Wait and try again or run a new task with "
    "execute command enabled and try again."
)
_NOT_CONNECTED = "The execute command failed due to an internal error. Try again later."


def page(items: list[str], given: dict[str, Any], default: int) -> tuple[list[str], str | None]:
    """One page of a sorted list and the token of the next.

    Raises:
        ApiError: InvalidParameterException for a token that was not given out.
    """
    size = given.get("maxResults") or default
    if not 1 <= size <= 100:
        raise ApiError("InvalidParameterException", "maxResults must be between 1 and 100.")
    start = 0
    if given.get("nextToken"):
        try:
            start = int(base64.b64decode(given["nextToken"], validate=True).decode("ascii"))
        except ValueError:
            raise ApiError("InvalidParameterException", "Invalid token.") from None
    more = start + size < len(items)
    token = base64.b64encode(str(start + size).encode()).decode() if more else None
    return items[start : start + size], token


def last_part(name: str) -> str:
    """The last element of an ARN, or the name itself."""
    return name.rpartition("/")[2]


class EcsService:
    """The operations.

    Args:
        world: what there is.
        gateway: opens sessions.
        stream_url: makes the stream URL of a session id.
    """

    service = "ecs"

    def __init__(self, world: World, gateway: Gateway, stream_url: Any) -> None:
        self._world = world
        self._gateway = gateway
        self._stream_url = stream_url

    # finding

    def _cluster(self, given: dict[str, Any]) -> Cluster:
        name = last_part(given.get("cluster") or "default")
        cluster = self._world.state.clusters.get(name)
        if cluster is None or cluster.status == "INACTIVE":
            raise ApiError("ClusterNotFoundException", "Cluster not found.")
        return cluster

    @staticmethod
    def _task(cluster: Cluster, name: str, field_name: str) -> Task | None:
        if name.startswith("arn:"):
            parts = name.split("/")
            if len(parts) == 3 and parts[1] != cluster.name:
                raise ApiError(
                    "InvalidParameterException",
                    f"Invalid identifier: Identifier is for cluster {parts[1]}. Your cluster is "
                    f"{cluster.name}",
                )
        task_id = last_part(name)
        if len(task_id) not in (32, 36):
            raise ApiError(
                "InvalidParameterException", f"{field_name} length should be one of [32,36]"
            )
        return cluster.tasks.get(task_id)

    def _definition(self, name: str) -> TaskDefinition:
        family, _, revision = last_part(name).partition(":")
        known = self._world.state.definitions.get(family, [])
        if revision:
            known = [d for d in known if str(d.revision) == revision]
        if not known:
            raise ApiError("ClientException", "Unable to describe task definition.")
        return known[-1]

    def _service_tasks(self, cluster: Cluster, service: Service) -> list[Task]:
        return [t for t in cluster.tasks.values() if t.service == service.name]

    # clusters

    @operation("ListClusters")
    def op_list_clusters(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List cluster ARNs."""
        clusters = self._world.state.clusters.values()
        arns, token = page([c.arn(caller.region) for c in clusters], given, 100)
        return {"clusterArns": arns, "nextToken": token}

    @operation("DescribeClusters")
    def op_describe_clusters(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe clusters; an unknown one is a failure in the answer, not an error."""
        found, failures = [], []
        for name in given.get("clusters") or ["default"]:
            cluster = self._world.state.clusters.get(last_part(name))
            if cluster is None:
                arn = Cluster(last_part(name)).arn(caller.region)
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(cluster_view(cluster, given.get("include", []), caller.region))
        return {"clusters": found, "failures": failures}

    @operation("CreateCluster")
    def op_create_cluster(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a cluster; one of the same name is returned as it is."""
        name = given.get("clusterName") or "default"
        cluster = self._world.state.clusters.get(name)
        if cluster is None:
            cluster = Cluster(name, tags={t["key"]: t["value"] for t in given.get("tags", [])})
            self._configure(cluster, given)
            self._world.state.clusters[name] = cluster
        include = ["CONFIGURATIONS", "SETTINGS", "TAGS"]
        return {"cluster": cluster_view(cluster, include, caller.region)}

    @operation("UpdateCluster")
    def op_update_cluster(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Change the settings and the configuration of exec sessions."""
        cluster = self._cluster(given)
        self._configure(cluster, given)
        include = ["CONFIGURATIONS", "SETTINGS", "TAGS"]
        return {"cluster": cluster_view(cluster, include, caller.region)}

    @staticmethod
    def _configure(cluster: Cluster, given: dict[str, Any]) -> None:
        for setting in given.get("settings", []):
            cluster.settings[setting["name"]] = setting["value"]
        configuration = given.get("configuration")
        if configuration is None:
            return
        execution = configuration.get("executeCommandConfiguration", {})
        logging = execution.get("logging", "DEFAULT")
        if logging not in ("NONE", "DEFAULT", "OVERRIDE"):
            raise ApiError("InvalidParameterException", f"logging cannot be {logging}.")
        if (logging == "OVERRIDE") != ("logConfiguration" in execution):
            raise ApiError(
                "InvalidParameterException",
                "A logConfiguration must be specified if and only if logging is OVERRIDE.",
            )
        cluster.configuration = configuration

    # services

    @operation("ListServices")
    def op_list_services(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List service ARNs, ten to a page unless told otherwise."""
        cluster = self._cluster(given)
        services = list(cluster.services.values())
        if given.get("launchType", "FARGATE") != "FARGATE":
            services = []
        if given.get("schedulingStrategy", "REPLICA") != "REPLICA":
            services = []
        arns, token = page([s.arn(caller.region) for s in services], given, 10)
        return {"serviceArns": arns, "nextToken": token}

    @operation("DescribeServices")
    def op_describe_services(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe up to ten services."""
        cluster = self._cluster(given)
        names = given["services"]
        if not 1 <= len(names) <= 10:
            raise ApiError("InvalidParameterException", "Services cannot be empty or exceed 10.")
        found, failures = [], []
        for name in names:
            service = cluster.services.get(last_part(name))
            if service is None:
                arn = f"{cluster.arn(caller.region).replace(':cluster/', ':service/')}"
                failures.append({"arn": f"{arn}/{last_part(name)}", "reason": "MISSING"})
            else:
                alive = [t for t in self._service_tasks(cluster, service) if not t.stopped]
                tags = "TAGS" in given.get("include", [])
                found.append(service_view(service, alive, caller.region, tags=tags))
        return {"services": found, "failures": failures}

    # tasks

    @operation("ListTasks")
    def op_list_tasks(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List task ARNs by service, family, starter, launch type and desired status."""
        cluster = self._cluster(given)
        service = given.get("serviceName")
        if service is not None and last_part(service) not in cluster.services:
            raise ApiError("ServiceNotFoundException", "Service not found.")
        desired = given.get("desiredStatus", "RUNNING")
        if desired not in ("RUNNING", "PENDING", "STOPPED"):
            raise ApiError("InvalidParameterException", "desiredStatus is not valid.")
        chosen = [
            t.arn(caller.region)
            for t in cluster.tasks.values()
            if t.desired == desired
            and (service is None or t.service == last_part(service))
            and given.get("family", t.definition.family) == t.definition.family
            and given.get("startedBy", t.started_by) == t.started_by
            and given.get("launchType", t.launch_type) == t.launch_type
            and not given.get("containerInstance")
        ]
        arns, token = page(chosen, given, 100)
        return {"taskArns": arns, "nextToken": token}

    @operation("DescribeTasks")
    def op_describe_tasks(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe up to a hundred tasks."""
        cluster = self._cluster(given)
        names = given["tasks"]
        if not 1 <= len(names) <= 100:
            raise ApiError("InvalidParameterException", "Tasks cannot be empty or exceed 100.")
        tags = "TAGS" in given.get("include", [])
        found, failures = [], []
        for name in names:
            task = self._task(cluster, name, "taskId")
            if task is None:
                arn = cluster.arn(caller.region).replace(":cluster/", ":task/")
                failures.append({"arn": f"{arn}/{last_part(name)}", "reason": "MISSING"})
            else:
                found.append(task_view(task, caller.region, tags=tags))
        return {"tasks": found, "failures": failures}

    @operation("RunTask")
    def op_run_task(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Start tasks of a known family."""
        cluster = self._cluster(given)
        try:
            definition = self._definition(given["taskDefinition"])
        except ApiError:
            raise ApiError("ClientException", "TaskDefinition not found.") from None
        if "networkConfiguration" not in given:
            raise ApiError(
                "InvalidParameterException",
                "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
            )
        count = given.get("count", 1)
        if not 1 <= count <= 10:
            raise ApiError("InvalidParameterException", "count must be between 1 and 10.")
        tasks = [
            self._world.state.new_task(
                cluster,
                definition,
                self._world.image_names,
                created=time.time(),
                exec_enabled=given.get("enableExecuteCommand", False),
                group=given.get("group", f"family:{definition.family}"),
                started_by=given.get("startedBy", ""),
                tags={t["key"]: t["value"] for t in given.get("tags", [])},
            )
            for _ in range(count)
        ]
        views = [task_view(t, caller.region, tags=True) for t in tasks]
        for task in tasks:
            self._world.launch(task)
        return {"tasks": views, "failures": []}

    @operation("StopTask")
    def op_stop_task(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Stop a task."""
        cluster = self._cluster(given)
        task = self._task(cluster, given["task"], "taskId")
        if task is None:
            raise ApiError("InvalidParameterException", "The referenced task was not found.")
        self._world.stop_task(task, given.get("reason", ""))
        return {"task": task_view(task, caller.region, tags=True)}

    # task definitions

    @operation("DescribeTaskDefinition")
    def op_describe_task_definition(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe a revision, by default the latest."""
        definition = self._definition(given["taskDefinition"])
        view = definition_view(definition, self._world.image_names, caller.region)
        tags = tag_list({"environment": "practice"}) if "TAGS" in given.get("include", []) else []
        return {"taskDefinition": view, "tags": tags}

    @operation("ListTaskDefinitionFamilies")
    def op_list_families(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List families by prefix."""
        prefix = given.get("familyPrefix", "")
        names = sorted(f for f in self._world.state.definitions if f.startswith(prefix))
        if given.get("status") == "INACTIVE":
            names = []
        families, token = page(names, given, 100)
        return {"families": families, "nextToken": token}

    @operation("ListTaskDefinitions")
    def op_list_task_definitions(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List revisions of a family."""
        prefix = given.get("familyPrefix")
        names = [
            d.arn(caller.region)
            for family in sorted(self._world.state.definitions)
            if prefix in (None, family)
            for d in self._world.state.definitions[family]
        ]
        if given.get("sort") == "DESC":
            names.reverse()
        arns, token = page(names, given, 100)
        return {"taskDefinitionArns": arns, "nextToken": token}

    # exec

    @operation("ExecuteCommand")
    def op_execute_command(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Open a session with a terminal."""
        cluster = self._cluster(given)
        task = self._task(cluster, given["task"], "task")
        if not given["interactive"]:
            raise ApiError(
                "InvalidParameterException", "Interactive is the only mode supported currently."
            )
        if task is None:
            raise ApiError("InvalidParameterException", "The referenced task was not found.")
        container = self._container(task, given.get("container"))
        if task.status != "RUNNING" or not task.exec_enabled or container.agent != "RUNNING":
            raise ApiError("InvalidParameterException", _NOT_ENABLED)
        if not container.control_channel:
            raise ApiError("TargetNotConnectedException", _NOT_CONNECTED)
        session_id = f"ecs-execute-command-{secrets.token_hex(9)[:17]}"
        plan = SessionPlan(
            session_id,
            "InteractiveCommands",
            given["command"],
            f"ecs:{cluster.name}_{task.task_id}_{container.runtime_id}",
            cluster.key_id,
        )
        session = self._gateway.open(
            plan,
            self._world.container(task, container),
            container.runtime_id,
            document="",
            owner=caller.arn,
        )
        return {
            "clusterArn": cluster.arn(caller.region),
            "containerArn": f"{task.arn(caller.region).replace(':task/', ':container/')}"
            f"/{container.container_id}",
            "containerName": container.name,
            "interactive": True,
            "session": {
                "sessionId": session_id,
                "streamUrl": self._stream_url(session_id),
                "tokenValue": session.token,
            },
            "taskArn": task.arn(caller.region),
        }

    @staticmethod
    def _container(task: Task, name: str | None) -> ContainerState:
        if name is None:
            if len(task.containers) > 1:
                raise ApiError(
                    "InvalidParameterException",
                    "A container name must be specified for tasks with multiple containers.",
                )
            return task.containers[0]
        for container in task.containers:
            if container.name == name:
                return container
        raise ApiError(
            "InvalidParameterException", f"The container {name} was not found in the task."
        )
