"""Services: desired counts, deployments, their end."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ecs

PARAMETER = "InvalidParameterException"


def create(ecs: Ecs, cluster: str, definition: str, **given: Any) -> dict[str, Any]:
    given = {
        "serviceName": "web",
        "desiredCount": 2,
        "launchType": "FARGATE",
        "networkConfiguration": ecs.vpc(),
        **given,
    }
    answer = ecs.client.create_service(cluster=cluster, taskDefinition=definition, **given)
    service: dict[str, Any] = answer["service"]
    return service


def arns(ecs: Ecs, cluster: str, **given: Any) -> set[str]:
    return set(ecs.client.list_tasks(cluster=cluster, **given)["taskArns"])


def reaches(ecs: Ecs, cluster: str, count: int) -> None:
    ecs.until(lambda: len(arns(ecs, cluster)), lambda seen: seen == count)


def messages(service: dict[str, Any]) -> list[str]:
    return [event["message"] for event in service["events"]]


def test_a_service_from_start_to_end(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    made = create(
        ecs,
        cluster,
        definition,
        enableExecuteCommand=True,
        propagateTags="SERVICE",
        tags=[{"key": "team", "value": "a"}],
    )
    assert made["serviceArn"].endswith(f":service/{cluster}/web") and made["status"] == "ACTIVE"
    assert made["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    service = ecs.stable(cluster, "web")
    assert (service["runningCount"], service["pendingCount"]) == (2, 0)
    assert service["enableExecuteCommand"] and service["platformVersion"] == "LATEST"
    (deployment,) = service["deployments"]
    assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "COMPLETED")
    assert messages(service)[0] == "(service web) has reached a steady state."
    assert any("has started 2 tasks: (task " in text for text in messages(service))
    assert service["tags"] == []
    assert ecs.service(cluster, "web", include=["TAGS"])["tags"] == [{"key": "team", "value": "a"}]
    for arn in arns(ecs, cluster, serviceName="web"):
        task = ecs.task(cluster, arn, include=["TAGS"])
        assert task["group"] == "service:web" and task["enableExecuteCommand"]
        assert task["tags"] == [{"key": "team", "value": "a"}]

    delete = ecs.client.delete_service
    ecs.fails(PARAMETER, "scaled above 0", delete, cluster=cluster, service="web")
    draining = delete(cluster=cluster, service="web", force=True)["service"]
    assert draining["status"] == "DRAINING"
    ecs.client.get_waiter("services_inactive").wait(
        cluster=cluster, services=["web"], WaiterConfig={"Delay": 0, "MaxAttempts": 2000}
    )
    gone = ecs.service(cluster, "web")
    assert gone["status"] == "INACTIVE" and gone["deployments"] == []
    assert arns(ecs, cluster) == set()
    assert ecs.client.list_services(cluster=cluster)["serviceArns"] == []
    update = ecs.client.update_service
    ecs.fails("ServiceNotActiveException", "", update, cluster=cluster, service="web")
    ecs.fails("ServiceNotFoundException", "", delete, cluster=cluster, service="web")
    assert create(ecs, cluster, definition, desiredCount=0)["status"] == "ACTIVE"


def test_tasks_that_go_are_replaced(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    create(ecs, cluster, definition)
    ecs.stable(cluster, "web")
    before = arns(ecs, cluster)
    victim = sorted(before)[0]
    ecs.client.stop_task(cluster=cluster, task=victim)
    ecs.stopped(cluster, victim)
    reaches(ecs, cluster, 2)
    service = ecs.stable(cluster, "web")
    assert len(arns(ecs, cluster) - before) == 1
    assert messages(service)[0] == "(service web) has reached a steady state."


def test_scaling(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    create(ecs, cluster, definition, desiredCount=1)
    first = arns(ecs, cluster) if ecs.stable(cluster, "web") else set()
    for count in (4, 1, 0, 2):
        answer = ecs.client.update_service(cluster=cluster, service="web", desiredCount=count)
        assert answer["service"]["desiredCount"] == count
        assert len(answer["service"]["deployments"]) == 1, "scaling is no deployment"
        ecs.stable(cluster, "web")
        reaches(ecs, cluster, count)
        if count == 1:
            assert arns(ecs, cluster) == first, "the youngest went"
    stopped = ecs.client.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
    task = ecs.task(cluster, stopped[0])
    assert task["stopCode"] == "ServiceSchedulerInitiated"
    assert task["stoppedReason"].startswith("Scaling activity initiated by (deployment ecs-svc/")


def test_exec_comes_with_a_new_deployment_only(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    create(ecs, cluster, definition)
    ecs.stable(cluster, "web")
    old = arns(ecs, cluster)
    update = ecs.client.update_service
    changed = update(cluster=cluster, service="web", enableExecuteCommand=True)["service"]
    assert changed["enableExecuteCommand"] and len(changed["deployments"]) == 1
    same = update(cluster=cluster, service="web", taskDefinition=definition)["service"]
    assert len(same["deployments"]) == 1, "nothing has changed"
    assert arns(ecs, cluster) == old
    assert not any(ecs.task(cluster, arn)["enableExecuteCommand"] for arn in old)
    changed = update(
        cluster=cluster, service="web", enableExecuteCommand=True, forceNewDeployment=True
    )["service"]
    assert [d["status"] for d in changed["deployments"]] == ["PRIMARY", "ACTIVE"]
    service = ecs.stable(cluster, "web")
    assert service["deployments"][0]["rolloutState"] == "COMPLETED"
    new = arns(ecs, cluster)
    assert not new & old and len(new) == 2
    assert all(ecs.task(cluster, arn)["enableExecuteCommand"] for arn in new)
    completed = [text for text in messages(service) if "deployment completed" in text]
    assert len(completed) == 2


def test_a_deployment_keeps_what_must_stay_healthy(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    create(ecs, cluster, ecs.register(), desiredCount=3)
    ecs.stable(cluster, "web")
    newer = ecs.register()
    ecs.client.update_service(cluster=cluster, service="web", taskDefinition=newer)
    lows = []

    def look() -> dict[str, Any]:
        service = ecs.service(cluster, "web")
        lows.append(service["runningCount"])
        return service

    service = ecs.until(look, lambda s: len(s["deployments"]) == 1)
    assert min(lows) >= 3 and max(lows) <= 6
    assert service["taskDefinition"] == newer


def test_a_new_deployment_that_cannot_start_leaves_the_old_one(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    create(ecs, cluster, ecs.register(), desiredCount=2)
    ecs.stable(cluster, "web")
    old = arns(ecs, cluster)
    broken = ecs.register(
        containers=[{"name": "app", "image": "busybox", "command": ["no-such-program"]}]
    )
    ecs.client.update_service(cluster=cluster, service="web", taskDefinition=broken)
    service = ecs.until(
        lambda: ecs.service(cluster, "web"),
        lambda s: any("unable to consistently start" in text for text in messages(s)),
    )
    assert service["deployments"][0]["failedTasks"] >= 3
    assert service["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert old <= arns(ecs, cluster)
    ecs.client.update_service(cluster=cluster, service="web", desiredCount=0)
    ecs.stable(cluster, "web")


def test_the_circuit_breaker(ecs: Ecs) -> None:
    cluster = ecs.cluster()
    broken = ecs.register(
        containers=[{"name": "app", "image": "busybox", "command": ["no-such-program"]}]
    )
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    create(ecs, cluster, broken, deploymentConfiguration=breaker)
    service = ecs.until(
        lambda: ecs.service(cluster, "web"),
        lambda s: s["deployments"][0]["rolloutState"] == "FAILED",
    )
    assert "failed" in service["deployments"][0]["rolloutStateReason"]
    ecs.until(lambda: arns(ecs, cluster), lambda found: not found)


def test_the_circuit_breaker_goes_back(ecs: Ecs) -> None:
    cluster, sound = ecs.cluster(), ecs.register()
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    create(ecs, cluster, sound, deploymentConfiguration=breaker)
    ecs.stable(cluster, "web")
    old = arns(ecs, cluster)
    broken = ecs.register(
        containers=[{"name": "app", "image": "busybox", "command": ["no-such-program"]}]
    )
    ecs.client.update_service(cluster=cluster, service="web", taskDefinition=broken)
    service = ecs.until(
        lambda: ecs.service(cluster, "web"),
        lambda s: (
            any("rolling back" in text for text in messages(s)) and len(s["deployments"]) == 1
        ),
    )
    assert service["taskDefinition"] == sound and service["runningCount"] == 2
    assert len(old) == 2


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({"serviceName": "bad name"}, PARAMETER, "Service name"),
        ({"networkConfiguration": {}}, PARAMETER, "Network Configuration"),
        ({"desiredCount": -1}, PARAMETER, "desiredCount"),
        ({"enableExecuteCommand": True, "platformVersion": "1.3.0"}, PARAMETER, "platform version"),
        (
            {"deploymentConfiguration": {"minimumHealthyPercent": 150, "maximumPercent": 120}},
            PARAMETER,
            "minimumHealthyPercent",
        ),
        ({"schedulingStrategy": "DAEMON", "desiredCount": 0}, PARAMETER, "DAEMON"),
    ],
)
def test_refused_services(ecs: Ecs, given: dict[str, Any], code: str, text: str) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    ecs.fails(code, text, create, ecs=ecs, cluster=cluster, definition=definition, **given)
    assert ecs.client.list_services(cluster=cluster)["serviceArns"] == []


def test_other_refusals(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    ecs.fails(
        "ClientException",
        "TaskDefinition not found.",
        create,
        ecs=ecs,
        cluster=cluster,
        definition="no",
    )
    ecs.fails("ClusterNotFoundException", "", create, ecs=ecs, cluster="no", definition=definition)
    create(ecs, cluster, definition, desiredCount=0, clientToken="t")
    again = create(ecs, cluster, definition, desiredCount=0, clientToken="t")
    assert again["serviceName"] == "web"
    twice = {"ecs": ecs, "cluster": cluster, "definition": definition}
    ecs.fails(PARAMETER, "Creation of service was not idempotent.", create, **twice)
    update = ecs.client.update_service
    ecs.fails("ServiceNotFoundException", "", update, cluster=cluster, service="no")
    roleless = ecs.register(taskRoleArn=None)
    ecs.fails(
        PARAMETER,
        "The service couldn't be updated because a valid taskRoleArn is not being used.",
        update,
        cluster=cluster,
        service="web",
        taskDefinition=roleless,
        enableExecuteCommand=True,
    )
    describe = ecs.client.describe_services
    ecs.fails(PARAMETER, "empty", describe, cluster=cluster, services=[])
    ecs.fails(PARAMETER, "10", describe, cluster=cluster, services=["x"] * 11)
    failure = describe(cluster=cluster, services=["no"])["failures"][0]
    assert failure["reason"] == "MISSING" and failure["arn"].endswith(f"service/{cluster}/no")


def test_listing(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    made = [
        create(ecs, cluster, definition, serviceName=f"s{n}", desiredCount=0)["serviceArn"]
        for n in range(12)
    ]
    first = ecs.client.list_services(cluster=cluster)
    assert first["serviceArns"] == made[:10] and first["nextToken"]
    pages = ecs.client.get_paginator("list_services").paginate(
        cluster=cluster, PaginationConfig={"PageSize": 5}
    )
    assert [arn for page in pages for arn in page["serviceArns"]] == made
    assert ecs.client.list_services(cluster=cluster, launchType="EC2")["serviceArns"] == []


@pytest.mark.timeout(300)
def test_a_thousand_tasks(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    create(ecs, cluster, definition, desiredCount=1000)
    ecs.until(
        lambda: ecs.service(cluster, "web"),
        lambda s: s["runningCount"] == 1000 and len(s["deployments"]) == 1,
        limit=120.0,
    )
    paginator = ecs.client.get_paginator("list_tasks")
    pages = list(paginator.paginate(cluster=cluster, serviceName="web"))
    assert len({arn for page in pages for arn in page["taskArns"]}) == 1000
    assert len(ecs.world._starts) == 0, "nothing waits once all run"
    ecs.client.delete_service(cluster=cluster, service="web", force=True)
    ecs.until(lambda: ecs.service(cluster, "web"), lambda s: s["status"] == "INACTIVE", limit=120.0)
