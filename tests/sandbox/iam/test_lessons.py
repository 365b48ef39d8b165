"""Lessons of `--iam` over the port, with boto3: who may exec into what, and how a refusal reads.

The one seam: `start(...)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import Sandbox

from .practice import allow, deny

ADMINISTRATOR = "AKIASANDBOX000000001"
REGION = "us-east-1"


class School:
    """A practice cluster with a user `dev`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._url = sandbox.url
        self.ecs = self.client("ecs")
        self.iam = self.client("iam")
        self.iam.create_user(UserName="dev")
        made = self.iam.create_access_key(UserName="dev")["AccessKey"]
        self.key = made["AccessKeyId"]
        account = self.client("sts").get_caller_identity()["Account"]
        self.cluster = f"arn:aws:ecs:{REGION}:{account}:cluster/demo"
        self.user = f"arn:aws:iam::{account}:user/dev"
        arns = self.ecs.list_tasks(cluster="demo", serviceName="web")["taskArns"]
        self.task = self.ecs.describe_tasks(cluster="demo", tasks=arns[:1])["tasks"][0]

    def client(self, service: str, key: str = ADMINISTRATOR) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self._url,
            aws_access_key_id=key,
            aws_secret_access_key="secret",
        )

    def policy(self, *statements: Mapping[str, Any]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.iam.put_user_policy(UserName="dev", PolicyName="p", PolicyDocument=document)

    def execute(self, container: str = "nginx") -> Any:
        return self.client("ecs", self.key).execute_command(
            cluster="demo",
            task=self.task["taskArn"],
            container=container,
            command="ls",
            interactive=True,
        )

    def refused(self, container: str = "nginx") -> str:
        ecs = self.client("ecs", self.key)
        with pytest.raises(ecs.exceptions.AccessDeniedException) as caught:
            ecs.execute_command(
                cluster="demo",
                task=self.task["taskArn"],
                container=container,
                command="ls",
                interactive=True,
            )
        return str(caught.value.response["Error"]["Message"])


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with package.start(pace="fast", runtime="process", iam=True) as sandbox:
        yield sandbox


@pytest.fixture
def school(running: Sandbox) -> Iterator[School]:
    made = School(running)
    yield made
    for name in made.iam.list_user_policies(UserName="dev")["PolicyNames"]:
        made.iam.delete_user_policy(UserName="dev", PolicyName=name)
    made.iam.delete_access_key(UserName="dev", AccessKeyId=made.key)
    made.iam.delete_user(UserName="dev")


def test_nothing_is_allowed_at_first(school: School) -> None:
    assert school.refused() == (
        f"User: {school.user} is not authorized to perform: ecs:ExecuteCommand on resource: "
        f"{school.cluster} because no identity-based policy allows the ecs:ExecuteCommand action"
    )


def test_the_announcements_policy(school: School) -> None:
    wanted = {"ecs:container-name": "nginx", "ecs:ResourceTag/environment": "practice"}
    school.policy(allow("ecs:ExecuteCommand", school.cluster, Condition={"StringEquals": wanted}))
    assert school.execute()["containerName"] == "nginx"
    assert "because no identity-based policy allows" in school.refused("sidecar")
    wanted["ecs:ResourceTag/environment"] = "production"
    school.policy(allow("ecs:ExecuteCommand", school.cluster, Condition={"StringEquals": wanted}))
    school.refused()


def test_its_circulating_copy_is_no_policy(school: School) -> None:
    nested = {"StringEquals": {"ecs:container-name": "nginx", "StringEquals": {"a": "b"}}}
    with pytest.raises(school.iam.exceptions.MalformedPolicyDocumentException):
        school.policy(allow("ecs:ExecuteCommand", Condition=nested))


def test_an_explicit_denial(school: School) -> None:
    practice = {"StringEquals": {"aws:ResourceTag/environment": "practice"}}
    school.policy(allow("ecs:*"), deny("ecs:ExecuteCommand", Condition=practice))
    assert school.refused().endswith("with an explicit deny in an identity-based policy")


def test_sessions_outside_of_exec_can_be_denied(school: School) -> None:
    school.policy(allow("*"), deny("ssm:StartSession", "arn:aws:ecs:*:*:task/demo/*"))
    task_id = school.task["taskArn"].rpartition("/")[2]
    runtime_id = school.task["containers"][0]["runtimeId"]
    with pytest.raises(ClientError) as caught:
        school.client("ssm", school.key).start_session(Target=f"ecs:demo_{task_id}_{runtime_id}")
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    school.execute()


def test_the_simulator_agrees(school: School) -> None:
    school.policy(allow("ecs:ExecuteCommand", school.cluster))
    answer = school.iam.simulate_principal_policy(
        PolicySourceArn=school.user,
        ActionNames=["ecs:ExecuteCommand", "kms:Decrypt"],
        ResourceArns=[school.cluster],
    )
    assert [r["EvalDecision"] for r in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]
    assert answer["EvaluationResults"][0]["MatchedStatements"][0]["SourcePolicyId"] == "user_dev_p"


def test_a_task_role_without_ssmmessages(school: School) -> None:
    school.policy(allow("ecs:*"))
    names = {"RoleName": "sandbox-task-role", "PolicyName": "ecs-exec"}
    kept = school.iam.get_role_policy(**names)["PolicyDocument"]
    school.iam.delete_role_policy(**names)
    try:
        ecs = school.client("ecs", school.key)
        with pytest.raises(ecs.exceptions.TargetNotConnectedException):
            school.execute()
    finally:
        school.iam.put_role_policy(**names, PolicyDocument=json.dumps(kept))
    school.execute()


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("ecs", "list_clusters", "AccessDeniedException"),
        ("iam", "list_users", "AccessDenied"),
        ("ec2", "describe_vpcs", "UnauthorizedOperation"),
        ("s3", "list_buckets", "AccessDenied"),
        ("logs", "describe_log_groups", "AccessDeniedException"),
    ],
)
def test_each_service_in_its_own_form(school: School, service: str, call: str, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(school.client(service, school.key), call)()
    assert caught.value.response["Error"]["Code"] == code
    assert school.user in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("ecs", "list_clusters", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("ec2", "describe_vpcs", "AuthFailure"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
    ],
)
def test_a_key_that_nobody_gave_out(school: School, service: str, call: str, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(school.client(service, "AKIANOBODY0000000001"), call)()
    assert caught.value.response["Error"]["Code"] == code
