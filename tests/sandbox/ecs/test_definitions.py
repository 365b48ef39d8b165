"""Task definitions."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ecs

APP: dict[str, Any] = {"name": "app", "image": "busybox"}


def test_what_is_registered_comes_back(ecs: Ecs) -> None:
    container = {
        **APP,
        "portMappings": [{"containerPort": 8080}],
        "environment": [{"name": "A", "value": "1"}],
        "linuxParameters": {"initProcessEnabled": True},
        "readonlyRootFilesystem": True,
        "healthCheck": {"command": ["CMD", "true"]},
        "stopTimeout": 5,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/g", "awslogs-region": "us-east-1"},
        },
    }
    family = ecs.name("family")
    arn = ecs.register(
        family,
        containers=[container],
        pidMode="task",
        ephemeralStorage={"sizeInGiB": 30},
        runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        tags=[{"key": "k", "value": "v"}],
    )
    assert arn == f"arn:aws:ecs:us-east-1:{ecs.account}:task-definition/{family}:1"
    answer = ecs.client.describe_task_definition(taskDefinition=family, include=["TAGS"])
    assert answer["tags"] == [{"key": "k", "value": "v"}]
    seen = answer["taskDefinition"]
    assert seen["containerDefinitions"] == [
        {
            **container,
            "cpu": 0,
            "essential": True,
            "mountPoints": [],
            "volumesFrom": [],
            "systemControls": [],
            "portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}],
        }
    ]
    assert (seen["status"], seen["revision"], seen["pidMode"]) == ("ACTIVE", 1, "task")
    assert seen["ephemeralStorage"] == {"sizeInGiB": 30}
    assert seen["taskRoleArn"] == f"arn:aws:iam::{ecs.account}:role/sandbox-task-role"
    assert seen["compatibilities"] == ["EC2", "FARGATE"]
    names = {a["name"] for a in seen["requiresAttributes"]}
    assert "ecs.capability.task-eni" in names
    assert "com.amazonaws.ecs.capability.logging-driver.awslogs" in names
    assert "registeredAt" in seen and seen["registeredBy"].endswith(":user/sandbox")
    assert "tags" not in ecs.client.describe_task_definition(taskDefinition=family)


def test_container_memory_may_be_left_out_on_fargate_only(ecs: Ecs) -> None:
    ecs.register()
    ecs.fails(
        "ClientException",
        "At least one of 'memory' or 'memoryReservation' must be specified.",
        ecs.client.register_task_definition,
        family="x",
        containerDefinitions=[APP],
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"cpu": "256", "memory": "4096"}, "No Fargate configuration exists for given values"),
        ({"cpu": "300", "memory": "512"}, "No Fargate configuration exists"),
        ({"cpu": None}, "'cpu' be defined at the task level"),
        ({"memory": None}, "'memory' be defined at the task level"),
        ({"networkMode": "bridge"}, "network mode ‘awsvpc’"),
        ({"networkMode": None}, "network mode ‘awsvpc’"),
        ({"taskRoleArn": "arn:aws:iam::1:role/x"}, "Role is not valid"),
        ({"executionRoleArn": "arn:aws:s3:::b"}, "Role is not valid"),
        ({"family": "bad name"}, "Family contains invalid characters."),
        ({"containers": [APP, APP]}, "unique"),
        ({"containers": [{**APP, "essential": False}]}, "essential"),
        ({"containers": [{"name": "a b", "image": "x"}]}, "Container.name"),
        ({"containers": [{"name": "a"}]}, "Container.image"),
        ({"containers": [{**APP, "memory": 1024}]}, "memory"),
        (
            {"containers": [{**APP, "portMappings": [{"containerPort": 80, "hostPort": 81}]}]},
            "must match",
        ),
        (
            {
                "executionRoleArn": None,
                "containers": [
                    {
                        **APP,
                        "logConfiguration": {
                            "logDriver": "awslogs",
                            "options": {"awslogs-group": "g", "awslogs-region": "us-east-1"},
                        },
                    }
                ],
            },
            "execution role ARN to support log driver awslogs.",
        ),
        (
            {
                "executionRoleArn": None,
                "containers": [
                    {"name": "a", "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1"}
                ],
            },
            "execution role ARN to support ECR images",
        ),
    ],
)
def test_refusals(ecs: Ecs, given: dict[str, Any], text: str) -> None:
    ecs.fails("ClientException", text, ecs.register, **given)


@pytest.mark.parametrize(
    ("cpu", "memory", "kept"),
    [(".25 vCPU", "1 GB", ("256", "1024")), ("1vcpu", "2GB", ("1024", "2048"))],
)
def test_sizes_in_words(ecs: Ecs, cpu: str, memory: str, kept: tuple[str, str]) -> None:
    arn = ecs.register(cpu=cpu, memory=memory)
    seen = ecs.client.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert (seen["cpu"], seen["memory"]) == kept


def test_revisions_and_their_end(ecs: Ecs) -> None:
    family = ecs.name("family")
    first, second = ecs.register(family), ecs.register(family)
    assert second.endswith(":2")
    describe, listed = ecs.client.describe_task_definition, ecs.client.list_task_definitions
    assert describe(taskDefinition=family)["taskDefinition"]["revision"] == 2
    assert listed(familyPrefix=family)["taskDefinitionArns"] == [first, second]
    assert listed(familyPrefix=family, sort="DESC")["taskDefinitionArns"] == [second, first]
    refuse = ecs.client.deregister_task_definition
    ecs.fails("InvalidParameterException", "Revision", refuse, taskDefinition=family)
    gone = refuse(taskDefinition=f"{family}:2")["taskDefinition"]
    assert gone["status"] == "INACTIVE" and "deregisteredAt" in gone
    assert describe(taskDefinition=second)["taskDefinition"]["status"] == "INACTIVE"
    assert describe(taskDefinition=family)["taskDefinition"]["revision"] == 1
    assert listed(familyPrefix=family, status="INACTIVE")["taskDefinitionArns"] == [second]
    ecs.fails("ClientException", "inactive", ecs.run, cluster=ecs.cluster(), definition=second)
    answer = ecs.client.delete_task_definitions(taskDefinitions=[first, second, f"{family}:9"])
    assert [d["taskDefinitionArn"] for d in answer["taskDefinitions"]] == [second]
    assert answer["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
    assert len(answer["failures"]) == 2
    unable = "Unable to describe task definition."
    ecs.fails("ClientException", unable, describe, taskDefinition=second)
    assert ecs.register(family).endswith(":3"), "numbers are never used twice"


def test_families(ecs: Ecs) -> None:
    stem = ecs.name("stem")
    names = [f"{stem}-{letter}" for letter in "abc"]
    arns = [ecs.register(name) for name in names]
    families = ecs.client.list_task_definition_families
    assert families(familyPrefix=stem)["families"] == names
    ecs.client.deregister_task_definition(taskDefinition=arns[1])
    assert families(familyPrefix=stem, status="ACTIVE")["families"] == [names[0], names[2]]
    assert families(familyPrefix=stem, status="INACTIVE")["families"] == [names[1]]
    assert families(familyPrefix=stem, status="ALL")["families"] == names
    pages = ecs.client.get_paginator("list_task_definition_families").paginate(
        familyPrefix=stem, status="ALL", PaginationConfig={"PageSize": 1}
    )
    assert [f for page in pages for f in page["families"]] == names
