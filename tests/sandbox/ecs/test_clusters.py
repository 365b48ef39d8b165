"""Clusters."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ecs

PARAMETER = "InvalidParameterException"


def exec_configuration(**execution: Any) -> dict[str, Any]:
    return {"executeCommandConfiguration": execution}


def test_create_describe_and_delete(ecs: Ecs) -> None:
    name = ecs.name("cluster")
    made = ecs.client.create_cluster(clusterName=name, tags=[{"key": "team", "value": "a"}])
    cluster = made["cluster"]
    assert cluster["clusterArn"] == f"arn:aws:ecs:us-east-1:{ecs.account}:cluster/{name}"
    assert cluster["status"] == "ACTIVE" and cluster["tags"] == [{"key": "team", "value": "a"}]
    assert cluster["clusterArn"] in ecs.client.list_clusters()["clusterArns"]
    by_arn = ecs.client.describe_clusters(clusters=[cluster["clusterArn"]])["clusters"][0]
    assert by_arn["clusterName"] == name
    gone = ecs.client.delete_cluster(cluster=name)["cluster"]
    assert gone["status"] == "INACTIVE"
    assert cluster["clusterArn"] not in ecs.client.list_clusters()["clusterArns"]
    assert ecs.client.describe_clusters(clusters=[name])["clusters"][0]["status"] == "INACTIVE"
    not_found = "ClusterNotFoundException"
    ecs.fails(not_found, "inactive", ecs.client.list_tasks, cluster=name)
    ecs.fails(not_found, "", ecs.client.delete_cluster, cluster=name)
    again = ecs.client.create_cluster(clusterName=name)["cluster"]
    assert again["status"] == "ACTIVE" and again["tags"] == []


def test_the_default_name_and_idempotence(ecs: Ecs) -> None:
    first = ecs.client.create_cluster(configuration=exec_configuration(logging="NONE"))["cluster"]
    assert first["clusterName"] == "default"
    second = ecs.client.create_cluster(clusterName="default")["cluster"]
    assert second["configuration"] == exec_configuration(logging="NONE"), "it is the same one"
    assert ecs.client.list_tasks()["taskArns"] == []


@pytest.mark.parametrize("name", ["bad name!", "a" * 256, "ümlaut", "a/b"])
def test_names_are_held_to_the_rule(ecs: Ecs, name: str) -> None:
    ecs.fails(PARAMETER, "Cluster name", ecs.client.create_cluster, clusterName=name)


def test_what_include_asks_for(ecs: Ecs) -> None:
    given = exec_configuration(
        logging="OVERRIDE",
        kmsKeyId="alias/k",
        logConfiguration={
            "cloudWatchLogGroupName": "/aws/ecs/x",
            "cloudWatchEncryptionEnabled": True,
            "s3BucketName": "b",
            "s3KeyPrefix": "p",
        },
    )
    name = ecs.cluster(
        configuration=given, settings=[{"name": "containerInsights", "value": "enabled"}]
    )

    def seen(*include: str) -> dict[str, Any]:
        found = ecs.client.describe_clusters(clusters=[name], include=list(include))
        cluster: dict[str, Any] = found["clusters"][0]
        return cluster

    bare = seen()
    assert "configuration" not in bare and bare["settings"] == [] and bare["statistics"] == []
    assert seen("CONFIGURATIONS")["configuration"] == given
    assert seen("SETTINGS")["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    counts = {s["name"]: s["value"] for s in seen("STATISTICS")["statistics"]}
    assert counts["runningFargateTasksCount"] == "0"


@pytest.mark.parametrize(
    "execution",
    [
        {"logging": "OVERRIDE"},
        {"logging": "OVERRIDE", "logConfiguration": {}},
        {"logging": "NONE", "logConfiguration": {"s3BucketName": "b"}},
        {"logging": "DEFAULT", "logConfiguration": {"s3BucketName": "b"}},
        {"logConfiguration": {"s3BucketName": "b"}},
        {"logging": "BOGUS"},
    ],
)
def test_exec_configuration_is_validated(ecs: Ecs, execution: dict[str, Any]) -> None:
    configuration = exec_configuration(**execution)
    name = ecs.name("cluster")
    ecs.fails(
        PARAMETER, "log", ecs.client.create_cluster, clusterName=name, configuration=configuration
    )
    known = ecs.cluster(configuration=exec_configuration(logging="NONE"))
    ecs.fails(
        PARAMETER, "log", ecs.client.update_cluster, cluster=known, configuration=configuration
    )
    kept = ecs.client.describe_clusters(clusters=[known], include=["CONFIGURATIONS"])
    assert kept["clusters"][0]["configuration"] == exec_configuration(logging="NONE")
    assert ecs.client.describe_clusters(clusters=[name])["failures"][0]["reason"] == "MISSING"


def test_updates(ecs: Ecs) -> None:
    name = ecs.cluster()
    changed = ecs.client.update_cluster(
        cluster=name, configuration=exec_configuration(logging="NONE")
    )
    assert changed["cluster"]["configuration"] == exec_configuration(logging="NONE")
    settings = [{"name": "containerInsights", "value": "enhanced"}]
    changed = ecs.client.update_cluster_settings(cluster=name, settings=settings)
    assert changed["cluster"]["settings"] == settings
    bad = [{"name": "containerInsights", "value": "perhaps"}]
    ecs.fails(PARAMETER, "", ecs.client.update_cluster_settings, cluster=name, settings=bad)
    ecs.fails("ClusterNotFoundException", "", ecs.client.update_cluster, cluster="nowhere")


def test_a_cluster_in_use_is_not_deleted(ecs: Ecs) -> None:
    name, definition = ecs.cluster(), ecs.register()
    task = ecs.run(name, definition)[0]["taskArn"]
    ecs.fails("ClusterContainsTasksException", "Tasks", ecs.client.delete_cluster, cluster=name)
    ecs.client.create_service(
        cluster=name,
        serviceName="s",
        taskDefinition=definition,
        launchType="FARGATE",
        networkConfiguration=ecs.vpc(),
        desiredCount=0,
    )
    ecs.fails(
        "ClusterContainsServicesException", "Services", ecs.client.delete_cluster, cluster=name
    )
    instance = ecs.client.register_container_instance(cluster=name)["containerInstance"]
    ecs.fails(
        "ClusterContainsContainerInstancesException",
        "Container Instances",
        ecs.client.delete_cluster,
        cluster=name,
    )
    ecs.client.deregister_container_instance(
        cluster=name, containerInstance=instance["containerInstanceArn"]
    )
    ecs.client.delete_service(cluster=name, service="s")
    ecs.client.stop_task(cluster=name, task=task)
    ecs.stopped(name, task)
    ecs.until(lambda: ecs.service(name, "s"), lambda s: s["status"] == "INACTIVE")
    assert ecs.client.delete_cluster(cluster=name)["cluster"]["status"] == "INACTIVE"


def test_capacity_providers(ecs: Ecs) -> None:
    name = ecs.cluster()
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
    changed = ecs.client.put_cluster_capacity_providers(
        cluster=name,
        capacityProviders=["FARGATE", "FARGATE_SPOT"],
        defaultCapacityProviderStrategy=strategy,
    )["cluster"]
    assert changed["defaultCapacityProviderStrategy"] == strategy
    task = ecs.run(name, ecs.register(), launchType=None)[0]
    assert (task["launchType"], task["capacityProviderName"]) == ("FARGATE", "FARGATE_SPOT")
    ecs.fails(
        PARAMETER,
        "capacity provider",
        ecs.client.put_cluster_capacity_providers,
        cluster=name,
        capacityProviders=["nope"],
        defaultCapacityProviderStrategy=[],
    )
    found = ecs.client.describe_capacity_providers(capacityProviders=["FARGATE", "nope"])
    assert found["capacityProviders"][0]["name"] == "FARGATE"
    assert found["failures"][0]["reason"] == "MISSING"


def test_regions_and_partitions(ecs: Ecs) -> None:
    for region, partition in (("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")):
        there = ecs.make(region)
        assert there.list_clusters()["clusterArns"] == []
        arn = there.create_cluster(clusterName="x")["cluster"]["clusterArn"]
        assert arn == f"arn:{partition}:ecs:{region}:{ecs.account}:cluster/x"
        assert arn not in ecs.client.list_clusters()["clusterArns"]
        ecs.fails("ClusterNotFoundException", "", ecs.client.list_tasks, cluster=arn)
