"""Services that run without exec, in an account in which IAM decides."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ecs_exec_magic import sandbox as package

from ...runtimes import WITHOUT_ENGINE
from ..plan.conftest import World

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


class Shop(World):
    """Makes services, and tells all that exec may change of them."""

    number = 0

    def name(self) -> str:
        self.number += 1
        return f"shop-{self.number}"

    def role(self, name: str, *allowed: str, **more: Any) -> str:
        iam = self.aws("iam")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, **more)
        if allowed:
            document = {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": list(allowed), "Resource": "*"}],
            }
            iam.put_role_policy(
                RoleName=name, PolicyName="of-the-team", PolicyDocument=json.dumps(document)
            )
        return str(iam.get_role(RoleName=name)["Role"]["Arn"])

    def network(self) -> dict[str, Any]:
        subnets = self.aws("ec2").describe_subnets()["Subnets"]
        return {"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]]}}

    def define(self, family: str, role: str = "", **more: Any) -> str:
        container = {
            "name": "app",
            "image": "nginx",
            "essential": True,
            "environment": [{"name": "MODE", "value": "x"}],
            **more.pop("container", {}),
        }
        answer = self.aws("ecs").register_task_definition(
            family=family,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[container, *more.pop("others", ())],
            tags=[{"key": "team", "value": "ops"}],
            **({"taskRoleArn": role} if role else {}),
            **more,
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def service(
        self, cluster: str, name: str, definition: str, count: int = 1, **more: Any
    ) -> None:
        api = self.aws("ecs")
        api.create_cluster(clusterName=cluster, **more.pop("settings", {}))
        api.create_service(
            cluster=cluster,
            serviceName=name,
            taskDefinition=definition,
            desiredCount=count,
            launchType="FARGATE",
            networkConfiguration=self.network(),
            tags=[{"key": "team", "value": "ops"}],
            **more,
        )
        self.settled(cluster, name)

    def settled(self, cluster: str, name: str) -> None:
        """Wait until exactly the wanted tasks run: old ones may do so beside new ones."""
        api = self.aws("ecs")
        deadline = time.monotonic() + 60
        while True:
            found = api.describe_services(cluster=cluster, services=[name])["services"][0]
            if len(found["deployments"]) == 1 and found["runningCount"] == found["desiredCount"]:
                arns = api.list_tasks(cluster=cluster, serviceName=name)["taskArns"]
                if len(arns) == found["desiredCount"]:
                    return
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def shown(self, cluster: str, *services: str) -> dict[str, Any]:
        """Everything that exec may change."""
        api, iam = self.aws("ecs"), self.aws("iam")
        include = ["CONFIGURATIONS", "TAGS"]
        told = api.describe_clusters(clusters=[cluster], include=include)["clusters"][0]
        execution = (told.get("configuration") or {}).get("executeCommandConfiguration") or {}
        if execution == {"logging": "DEFAULT"}:  # AWS's own word for nothing
            execution = {}
        found: dict[str, Any] = {"cluster": [told.get("tags"), execution]}
        for name in services:
            self.settled(cluster, name)
            service = api.describe_services(cluster=cluster, services=[name], include=["TAGS"])
            one = service["services"][0]
            found[name] = [
                one["taskDefinition"],
                one["enableExecuteCommand"],
                one.get("tags"),
                one["desiredCount"],
            ]
        for role in iam.list_roles()["Roles"]:
            name = role["RoleName"]
            found[f"role {name}"] = {
                policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
            }
        found["definitions"] = [
            arn
            for status in ("ACTIVE", "INACTIVE")
            for arn in api.list_task_definitions(status=status)["taskDefinitionArns"]
        ]
        return found


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    sandbox = package.start(pace="fast", runtime=WITHOUT_ENGINE, seed=False, iam=True)
    there = Shop(sandbox)
    try:
        yield there
    finally:
        there.close()
