"""An empty practice cluster in which IAM decides, and what can be seen of its account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import Sandbox

from ...runtimes import WITHOUT_ENGINE
from ..account import Account


class World(Account):
    """An empty account in which IAM decides, as its administrator sees it."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self.count = 0

    def user(self, denied: list[str]) -> boto3.Session:
        """Somebody who may do everything but these actions."""
        self.count += 1
        iam, name = self.aws("iam"), f"user-{self.count}"
        iam.create_user(UserName=name)
        self.deny(name, denied)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self._session(key["AccessKeyId"], key["SecretAccessKey"])

    def deny(self, user: str, actions: list[str]) -> None:
        statements: list[Any] = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
        if actions:
            statements.append({"Effect": "Deny", "Action": actions, "Resource": "*"})
        document = {"Version": "2012-10-17", "Statement": statements}
        self.aws("iam").put_user_policy(
            UserName=user, PolicyName="p", PolicyDocument=json.dumps(document)
        )

    def listing(self) -> dict[str, list[str]]:
        """Everything in the account that costs money or takes a name; keys, only usable ones."""
        ecs_api, kms, ec2 = self.aws("ecs"), self.aws("kms"), self.aws("ec2")
        found: dict[str, list[str]] = {
            "clusters": ecs_api.list_clusters()["clusterArns"],
            "definitions": [
                arn
                for status in ("ACTIVE", "INACTIVE")
                for arn in ecs_api.list_task_definitions(status=status)["taskDefinitionArns"]
            ],
            "groups": [
                g["logGroupName"] for g in self.aws("logs").describe_log_groups()["logGroups"]
            ],
            "buckets": [b["Name"] for b in self.aws("s3").list_buckets()["Buckets"]],
            "security groups": [
                g["GroupId"] for g in ec2.describe_security_groups()["SecurityGroups"]
            ],
            "interfaces": [
                i["NetworkInterfaceId"]
                for i in ec2.describe_network_interfaces()["NetworkInterfaces"]
            ],
            "instances": [
                each["InstanceId"]
                for some in ec2.describe_instances()["Reservations"]
                for each in some["Instances"]
                if each["State"]["Name"] != "terminated"
            ],
            "profiles": [
                each["InstanceProfileName"]
                for each in self.aws("iam").list_instance_profiles()["InstanceProfiles"]
            ],
            "roles": [r["RoleName"] for r in self.aws("iam").list_roles()["Roles"]],
            "aliases": [
                a["AliasName"]
                for a in kms.list_aliases()["Aliases"]
                if not a["AliasName"].startswith("alias/aws/")
            ],
            "keys": self.usable_keys(),
        }
        for cluster in found["clusters"]:
            found[f"services of {cluster}"] = ecs_api.list_services(cluster=cluster)["serviceArns"]
            members = ecs_api.list_container_instances(cluster=cluster)
            found[f"instances of {cluster}"] = members["containerInstanceArns"]
            found[f"tasks of {cluster}"] = ecs_api.list_tasks(cluster=cluster)["taskArns"]
        return {kind: sorted(names) for kind, names in found.items()}

    def usable_keys(self) -> list[str]:
        kms = self.aws("kms")
        ids = [key["KeyId"] for key in kms.list_keys()["Keys"]]
        states = {id_: kms.describe_key(KeyId=id_)["KeyMetadata"] for id_ in ids}
        return sorted(
            id_
            for id_, key in states.items()
            if key["KeyState"] == "Enabled" and key["KeyManager"] == "CUSTOMER"
        )


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    sandbox = package.start(pace="fast", runtime=WITHOUT_ENGINE, seed=False, iam=True)
    there = World(sandbox)
    try:
        yield there
    finally:
        there.close()
