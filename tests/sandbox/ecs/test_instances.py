"""Container instances and what is placed on them."""

from __future__ import annotations

from typing import Any

from .conftest import Ecs

PARAMETER = "InvalidParameterException"


def resources(instance: dict[str, Any], kind: str = "remainingResources") -> dict[str, Any]:
    return {r["name"]: r.get("integerValue") or r.get("stringSetValue") for r in instance[kind]}


def add(ecs: Ecs, cluster: str, cpu: int = 1024, memory: int = 1000) -> str:
    answer = ecs.client.register_container_instance(
        cluster=cluster,
        totalResources=[
            {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
        ],
        versionInfo={"agentVersion": "1.75.0"},
    )
    arn: str = answer["containerInstance"]["containerInstanceArn"]
    return arn


def bridge(ecs: Ecs, port: int = 0, memory: int = 400) -> str:
    """A definition for EC2."""
    container = {"name": "app", "image": "busybox", "memory": memory, "cpu": 100}
    if port:
        container["portMappings"] = [{"containerPort": 80, "hostPort": port}]
    return ecs.register(
        requiresCompatibilities=["EC2"],
        networkMode=None,
        cpu=None,
        memory=None,
        containers=[container],
    )


def describe(ecs: Ecs, cluster: str, arn: str) -> dict[str, Any]:
    found = ecs.client.describe_container_instances(cluster=cluster, containerInstances=[arn])
    instance: dict[str, Any] = found["containerInstances"][0]
    return instance


def runs(ecs: Ecs, cluster: str, count: int) -> None:
    ecs.until(lambda: ecs.service(cluster, "d"), lambda s: s["runningCount"] == count)


def test_none_at_all(ecs: Ecs) -> None:
    assert ecs.client.list_container_instances(cluster="demo")["containerInstanceArns"] == []
    cluster, definition = ecs.cluster(), bridge(ecs)
    ecs.fails(
        PARAMETER,
        "No Container Instances were found in your cluster.",
        ecs.client.run_task,
        cluster=cluster,
        taskDefinition=definition,
        launchType="EC2",
    )


def test_placing_counts_resources(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), bridge(ecs)
    arn = add(ecs, cluster)
    answer = ecs.client.run_task(
        cluster=cluster, taskDefinition=definition, launchType="EC2", count=3
    )
    assert [t["containerInstanceArn"] for t in answer["tasks"]] == [arn, arn]
    assert answer["failures"] == [{"arn": arn, "reason": "RESOURCE:MEMORY"}]
    first, second = answer["tasks"]
    assert "platformVersion" not in first and first["attachments"] == []
    assert (first["cpu"], first["memory"]) == ("100", "400")
    ecs.running(cluster, first["taskArn"])
    ecs.running(cluster, second["taskArn"])
    instance = describe(ecs, cluster, arn)
    assert resources(instance)["MEMORY"] == 200 and resources(instance)["CPU"] == 824
    assert resources(instance, "registeredResources")["MEMORY"] == 1000
    assert (instance["runningTasksCount"], instance["agentConnected"]) == (2, True)
    assert instance["versionInfo"]["agentVersion"] == "1.75.0"
    listed = ecs.client.list_tasks(cluster=cluster, containerInstance=arn)["taskArns"]
    assert listed == [first["taskArn"], second["taskArn"]]
    assert ecs.client.list_tasks(cluster=cluster, launchType="FARGATE")["taskArns"] == []
    ecs.client.stop_task(cluster=cluster, task=first["taskArn"])
    ecs.stopped(cluster, first["taskArn"])
    assert resources(describe(ecs, cluster, arn))["MEMORY"] == 600


def test_host_ports_are_taken_once(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), bridge(ecs, port=8080, memory=100)
    arn = add(ecs, cluster)
    answer = ecs.client.run_task(
        cluster=cluster, taskDefinition=definition, launchType="EC2", count=2
    )
    assert len(answer["tasks"]) == 1
    assert answer["failures"] == [{"arn": arn, "reason": "RESOURCE:PORTS"}]


def test_start_task(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), bridge(ecs)
    arn = add(ecs, cluster)
    answer = ecs.client.start_task(
        cluster=cluster,
        taskDefinition=definition,
        containerInstances=[arn, "no-such"],
        enableExecuteCommand=True,
    )
    assert answer["tasks"][0]["containerInstanceArn"] == arn
    assert answer["failures"][0]["reason"] == "MISSING"
    task = ecs.running(cluster, answer["tasks"][0]["taskArn"])
    assert task["containers"][0]["managedAgents"][0]["lastStatus"] == "RUNNING"


def test_a_service_waits_for_an_instance(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), bridge(ecs)
    ecs.client.create_service(
        cluster=cluster,
        serviceName="s",
        taskDefinition=definition,
        launchType="EC2",
        desiredCount=1,
    )
    ecs.until(
        lambda: ecs.service(cluster, "s")["events"],
        lambda events: events and "was unable to place a task" in events[0]["message"],
    )
    arn = add(ecs, cluster)
    assert ecs.stable(cluster, "s")["runningCount"] == 1
    other = add(ecs, cluster)
    drained = ecs.client.update_container_instances_state(
        cluster=cluster, containerInstances=[arn], status="DRAINING"
    )["containerInstances"][0]
    assert drained["status"] == "DRAINING"
    ecs.until(
        lambda: ecs.client.list_tasks(cluster=cluster, containerInstance=other)["taskArns"], bool
    )
    ecs.until(lambda: describe(ecs, cluster, arn), lambda i: i["runningTasksCount"] == 0)
    statuses = ecs.client.list_container_instances(cluster=cluster, status="DRAINING")
    assert statuses["containerInstanceArns"] == [arn]


def test_daemons_run_once_on_each(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), bridge(ecs)
    ecs.client.create_service(
        cluster=cluster,
        serviceName="d",
        taskDefinition=definition,
        launchType="EC2",
        schedulingStrategy="DAEMON",
    )
    instances = set()
    for count in (1, 2, 3):  # each with more room than those before
        instances.add(add(ecs, cluster, memory=1000 * count))
        runs(ecs, cluster, count)
    ecs.client.update_service(cluster=cluster, service="d", forceNewDeployment=True)
    ecs.stable(cluster, "d")
    arns = ecs.client.list_tasks(cluster=cluster)["taskArns"]
    tasks = ecs.client.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
    assert {task["containerInstanceArn"] for task in tasks} == instances and len(tasks) == 3


def test_deregistering(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), bridge(ecs)
    arn = add(ecs, cluster)
    task = ecs.client.run_task(cluster=cluster, taskDefinition=definition, launchType="EC2")
    task_arn = task["tasks"][0]["taskArn"]
    deregister = ecs.client.deregister_container_instance
    ecs.fails(PARAMETER, "running tasks", deregister, cluster=cluster, containerInstance=arn)
    gone = deregister(cluster=cluster, containerInstance=arn, force=True)["containerInstance"]
    assert gone["status"] == "INACTIVE" and not gone["agentConnected"]
    assert ecs.stopped(cluster, task_arn)["stopCode"] == "TerminationNotice"
    failed = ecs.client.describe_container_instances(cluster=cluster, containerInstances=[arn])
    assert failed["failures"] == [{"arn": arn, "reason": "MISSING"}]
    ecs.fails(PARAMETER, "not found", deregister, cluster=cluster, containerInstance=arn)
