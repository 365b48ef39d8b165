"""The operations on clusters.

Knows their parameters and AWS's error texts. Never knows processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..api import ApiError, operation
from .requests import check_name, find_cluster, invalid, last_part, page, tags_of
from .views import cluster_view

if TYPE_CHECKING:
    from ..api import Caller
    from ..world import World
    from .model import Cluster

__all__ = ["ClusterOperations"]

_WHOLE = ("CONFIGURATIONS", "SETTINGS", "TAGS")
_SETTINGS = {"containerInsights": ("enabled", "disabled", "enhanced")}
_FARGATE = ("FARGATE", "FARGATE_SPOT")


def _check_execution(configuration: dict[str, Any]) -> None:
    """Hold the configuration of exec sessions to AWS's rules."""
    execution = configuration.get("executeCommandConfiguration")
    if execution is None:
        return
    logging = execution.get("logging", "DEFAULT")
    if logging not in ("NONE", "DEFAULT", "OVERRIDE"):
        raise invalid(f"logging {logging!r} is not valid. Use NONE, DEFAULT or OVERRIDE.")
    log = execution.get("logConfiguration")
    if logging == "OVERRIDE" and log is None:
        raise invalid(
            "The executeCommandConfiguration logging is OVERRIDE but no logConfiguration is "
            "specified. Specify a logConfiguration and try again."
        )
    if logging != "OVERRIDE" and log is not None:
        raise invalid(
            "A logConfiguration can only be specified when the executeCommandConfiguration "
            "logging is OVERRIDE."
        )
    if log is not None and not (log.get("cloudWatchLogGroupName") or log.get("s3BucketName")):
        raise invalid(
            "The logConfiguration must specify a cloudWatchLogGroupName or an s3BucketName."
        )


def _check_settings(settings: list[dict[str, Any]]) -> dict[str, str]:
    for setting in settings:
        name, value = setting.get("name", ""), setting.get("value", "")
        if value not in _SETTINGS.get(name, ()):
            raise invalid(f"The setting {name} with value {value} is not valid.")
    return {s["name"]: s["value"] for s in settings}


class ClusterOperations:
    """Clusters and their capacity providers."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    def _cluster(self, given: dict[str, Any], caller: Caller) -> Cluster:
        return find_cluster(self._world.state.region(caller.region), given.get("cluster"))

    @operation("ListClusters")
    def op_list_clusters(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List the ARNs of active clusters."""
        clusters = self._world.state.region(caller.region).clusters.values()
        arns, token = page([c.arn for c in clusters if c.status != "INACTIVE"], given)
        return {"clusterArns": arns, "nextToken": token}

    @operation("DescribeClusters")
    def op_describe_clusters(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe clusters; an unknown one is a failure in the answer, not an error."""
        region = self._world.state.region(caller.region)
        names = given.get("clusters") or ["default"]
        if len(names) > 100:
            raise invalid("Clusters cannot exceed 100 elements.")
        found, failures = [], []
        for name in names:
            cluster = region.clusters.get(last_part(name))
            if cluster is None or (name.startswith("arn:") and name != cluster.arn):
                arn = name if name.startswith("arn:") else region.arn("cluster", name)
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(cluster_view(cluster, given.get("include", ())))
        return {"clusters": found, "failures": failures}

    @operation("CreateCluster")
    def op_create_cluster(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a cluster; an active one of the same name is returned as it is."""
        region = self._world.state.region(caller.region)
        name = check_name(given.get("clusterName") or "default", "Cluster name")
        tags = tags_of(given.get("tags"))
        configuration = given.get("configuration") or {}
        _check_execution(configuration)
        settings = _check_settings(given.get("settings", []))
        providers = given.get("capacityProviders", [])
        self._check_providers(providers, given.get("defaultCapacityProviderStrategy", []))
        cluster = region.clusters.get(name)
        if cluster is None or cluster.status == "INACTIVE":
            cluster = region.add_cluster(name)
            cluster.tags, cluster.configuration = tags, configuration
            cluster.settings.update(settings)
            cluster.capacity_providers = list(providers)
            cluster.strategy = list(given.get("defaultCapacityProviderStrategy", []))
            cluster.connect_defaults = given.get("serviceConnectDefaults") or {}
        return {"cluster": cluster_view(cluster, _WHOLE)}

    @operation("UpdateCluster")
    def op_update_cluster(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Change the settings and the configuration of exec sessions."""
        cluster = self._cluster(given, caller)
        configuration = given.get("configuration")
        _check_execution(configuration or {})
        cluster.settings.update(_check_settings(given.get("settings", [])))
        if configuration is not None:
            cluster.configuration = configuration
        if given.get("serviceConnectDefaults"):
            cluster.connect_defaults = given["serviceConnectDefaults"]
        return {"cluster": cluster_view(cluster, _WHOLE)}

    @operation("UpdateClusterSettings")
    def op_update_cluster_settings(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Change the settings."""
        cluster = self._cluster(given, caller)
        cluster.settings.update(_check_settings(given["settings"]))
        return {"cluster": cluster_view(cluster, _WHOLE)}

    @operation("DeleteCluster")
    def op_delete_cluster(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make an empty cluster INACTIVE."""
        cluster = self._cluster(given, caller)
        if any(i.status != "INACTIVE" for i in cluster.instances.values()):
            raise ApiError(
                "ClusterContainsContainerInstancesException",
                "The Cluster cannot be deleted while Container Instances are active or draining.",
            )
        if any(s.status != "INACTIVE" for s in cluster.services.values()):
            raise ApiError(
                "ClusterContainsServicesException",
                "The Cluster cannot be deleted while Services are active.",
            )
        if any(t.stopped is None for t in cluster.tasks.values()):
            raise ApiError(
                "ClusterContainsTasksException",
                "The Cluster cannot be deleted while Tasks are active.",
            )
        cluster.status = "INACTIVE"
        return {"cluster": cluster_view(cluster, ())}

    # capacity providers

    @staticmethod
    def _check_providers(names: list[str], strategy: list[dict[str, Any]]) -> None:
        for name in (*names, *(s["capacityProvider"] for s in strategy)):
            if name not in _FARGATE:
                raise invalid(
                    "The specified capacity provider was not found. Specify a valid capacity "
                    "provider and try again."
                )
        if any(s["capacityProvider"] not in names for s in strategy):
            raise invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that "
                "is not associated with the cluster. Associate the capacity provider with the "
                "cluster and try again."
            )

    @operation("PutClusterCapacityProviders")
    def op_put_capacity_providers(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Say which capacity providers a cluster has; Fargate's two are known."""
        cluster = self._cluster(given, caller)
        names, strategy = given["capacityProviders"], given["defaultCapacityProviderStrategy"]
        self._check_providers(names, strategy)
        cluster.capacity_providers, cluster.strategy = list(names), list(strategy)
        return {"cluster": cluster_view(cluster, _WHOLE)}

    @operation("DescribeCapacityProviders")
    def op_describe_capacity_providers(
        self, given: dict[str, Any], caller: Caller
    ) -> dict[str, Any]:
        """Describe Fargate's two capacity providers."""
        region = self._world.state.region(caller.region)
        found, failures = [], []
        for name in given.get("capacityProviders") or _FARGATE:
            arn = region.arn("capacity-provider", last_part(name))
            if last_part(name) in _FARGATE:
                found.append(
                    {
                        "capacityProviderArn": arn,
                        "name": last_part(name),
                        "status": "ACTIVE",
                        "tags": [],
                    }
                )
            else:
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"capacityProviders": found, "failures": failures}
