"""The operations on services.

Knows their parameters and AWS's error texts. Never starts or stops a task: the scheduler does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..api import ApiError, operation
from .deployment import Service
from .launching import launch_of
from .requests import (
    check_name,
    definition_of,
    find_cluster,
    find_service,
    invalid,
    last_part,
    page,
    tags_of,
)
from .views import service_view

if TYPE_CHECKING:
    from ..api import Caller
    from ..world import World
    from .definition import TaskDefinition
    from .model import Cluster, Launch

__all__ = ["ServiceOperations"]

_KEPT = (  # members that are kept and shown as they were given
    "deploymentConfiguration",
    "deploymentController",
    "schedulingStrategy",
    "loadBalancers",
    "serviceRegistries",
    "placementConstraints",
    "placementStrategy",
    "healthCheckGracePeriodSeconds",
    "availabilityZoneRebalancing",
)
_LAUNCHING = (  # members whose change means a new deployment
    "taskDefinition",
    "capacityProviderStrategy",
    "networkConfiguration",
    "platformVersion",
)
_NOT_ACTIVE = "Service was not ACTIVE."


class ServiceOperations:
    """Creating, updating, listing, describing and deleting services."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    def _cluster(self, given: dict[str, Any], caller: Caller) -> Cluster:
        return find_cluster(self._world.state.region(caller.region), given.get("cluster"))

    @staticmethod
    def _definition(cluster: Cluster, name: str) -> TaskDefinition:
        definition = definition_of(cluster.region, name, "TaskDefinition not found.")
        if definition.status != "ACTIVE":
            raise ApiError("ClientException", "TaskDefinition is inactive")
        return definition

    @operation("CreateService")
    async def op_create_service(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a service; the scheduler starts its tasks."""
        cluster = self._cluster(given, caller)
        name = check_name(given["serviceName"], "Service name")
        if not given.get("taskDefinition"):
            raise invalid("Task definition can not be null or empty.")
        daemon = given.get("schedulingStrategy") == "DAEMON"
        if daemon and given.get("desiredCount"):
            raise invalid("The daemon scheduling strategy does not support a desired count.")
        desired = self._desired(given.get("desiredCount", 0))
        definition = self._definition(cluster, given["taskDefinition"])
        launch = await self._launch(given, cluster, definition, name, "created")
        if daemon and launch.launch_type == "FARGATE":
            raise invalid(
                "The Fargate launch type does not support the DAEMON scheduling strategy."
            )
        old = cluster.services.get(name)
        if old is not None and old.status == "ACTIVE":
            if given.get("clientToken") and given["clientToken"] == old.client_token:
                return {"service": service_view(old, tags=True)}
            raise invalid("Creation of service was not idempotent.")
        if old is not None and old.status == "DRAINING":
            raise invalid("Unable to Start a service that is still Draining.")
        arn = cluster.region.arn("service", f"{cluster.name}/{name}")
        service = Service(name, arn, cluster, desired, caller.arn)
        service.tags = tags_of(given.get("tags"))
        self._settle(service, given)
        service.client_token = given.get("clientToken", "")
        service.deploy(launch)
        cluster.services[name] = service
        self._world.scheduler.changed(service)
        return {"service": service_view(service, tags=True)}

    @operation("UpdateService")
    async def op_update_service(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Change a service; what concerns its tasks makes a new deployment."""
        await self._world.settled()
        cluster = self._cluster(given, caller)
        service = find_service(cluster, given["service"])
        if service.status != "ACTIVE":
            raise ApiError("ServiceNotActiveException", _NOT_ACTIVE)
        now = service.primary.launch
        name = given.get("taskDefinition")
        definition = self._definition(cluster, name) if name else now.definition
        merged = {**_words(now), **given}
        if given.get("capacityProviderStrategy"):
            merged.pop("launchType", None)
        launch = await self._launch(merged, cluster, definition, service.name, "updated")
        desired = self._desired(given.get("desiredCount", service.desired))
        self._settle(service, given)
        service.desired = desired
        # Turning exec on or off does not touch what runs: only later tasks have it.
        other = launch != now
        if given.get("forceNewDeployment") or (other and any(k in given for k in _LAUNCHING)):
            service.deploy(launch)
        elif other:
            service.primary.launch = launch
        service.steady = service.steady and "desiredCount" not in given
        self._world.scheduler.changed(service)
        return {"service": service_view(service, tags=True)}

    @operation("DeleteService")
    async def op_delete_service(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Drain a service; one that still wants tasks must be forced."""
        await self._world.settled()
        cluster = self._cluster(given, caller)
        service = find_service(cluster, given["service"])
        if service.status == "INACTIVE":
            raise ApiError("ServiceNotFoundException", "Service not found.")
        if service.status == "ACTIVE":
            daemon = service.options.get("schedulingStrategy") == "DAEMON"
            if service.desired > 0 and not (given.get("force") or daemon):
                raise invalid("The service cannot be stopped while it is scaled above 0.")
            service.status, service.desired = "DRAINING", 0
            self._world.scheduler.changed(service)
        return {"service": service_view(service, tags=True)}

    @operation("ListServices")
    def op_list_services(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List the ARNs of services, ten to a page unless told otherwise."""
        cluster = self._cluster(given, caller)
        arns = []
        for service in cluster.services.values():
            launch_type = service.primary.launch.launch_type
            strategy = service.options.get("schedulingStrategy", "REPLICA")
            if (
                service.status != "INACTIVE"
                and given.get("launchType", launch_type) == launch_type
                and given.get("schedulingStrategy", strategy) == strategy
            ):
                arns.append(service.arn)
        chosen, token = page(arns, given, 10)
        return {"serviceArns": chosen, "nextToken": token}

    @operation("DescribeServices")
    async def op_describe_services(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe up to ten services."""
        await self._world.settled()
        self._world.scheduler.catch_up()
        cluster = self._cluster(given, caller)
        names = given["services"]
        if not names:
            raise invalid("Services cannot be empty.")
        if len(names) > 10:
            raise invalid("Services cannot exceed 10 elements.")
        found, failures = [], []
        tags = "TAGS" in given.get("include", ())
        for name in names:
            try:
                found.append(service_view(find_service(cluster, name), tags=tags))
            except ApiError as error:
                if error.code != "ServiceNotFoundException":
                    raise
                arn = cluster.region.arn("service", f"{cluster.name}/{last_part(name)}")
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"services": found, "failures": failures}

    # parts of requests

    @staticmethod
    def _desired(count: int) -> int:
        if not 0 <= count <= 5000:
            raise invalid("desiredCount must be between 0 and 5000.")
        return count

    async def _launch(
        self,
        given: dict[str, Any],
        cluster: Cluster,
        definition: TaskDefinition,
        name: str,
        verb: str,
    ) -> Launch:
        given = {k: v for k, v in given.items() if k not in ("overrides", "startedBy")}
        refused = f"The service couldn't be {verb}"
        launch = launch_of(given, cluster, definition, refusal=refused, group=f"service:{name}")
        if launch.network is not None:
            vpc = launch.network
            await self._world.network.check(cluster.region.name, vpc.subnets, vpc.groups)
        return launch

    @staticmethod
    def _settle(service: Service, given: dict[str, Any]) -> None:
        """Take over what is only kept and shown."""
        propagate = given.get("propagateTags", service.propagate)
        if propagate not in ("SERVICE", "TASK_DEFINITION", "NONE"):
            raise invalid(f"propagateTags {propagate!r} is not valid.")
        least = given.get("deploymentConfiguration", {}).get("minimumHealthyPercent", 100)
        most = given.get("deploymentConfiguration", {}).get("maximumPercent", 200)
        if not 0 <= least <= most or most < 100:
            raise invalid(
                "minimumHealthyPercent cannot be less than 0 or greater than maximumPercent."
            )
        service.propagate = propagate
        service.platform = given.get("platformVersion") or service.platform
        service.managed_tags = bool(given.get("enableECSManagedTags", service.managed_tags))
        service.options.update({k: given[k] for k in _KEPT if k in given})


def _words(launch: Launch) -> dict[str, Any]:
    """A launch in the words of a request, for an update to change some of them."""
    words: dict[str, Any] = {"enableExecuteCommand": launch.exec_enabled}
    if launch.capacity:
        words["capacityProviderStrategy"] = [{"capacityProvider": launch.capacity, "weight": 1}]
    else:
        words["launchType"] = launch.launch_type
    if launch.platform:
        words["platformVersion"] = launch.platform
    if launch.network is not None:
        words["networkConfiguration"] = launch.network.view()
    return words
