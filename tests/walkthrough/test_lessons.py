"""What goes wrong with ECS Exec, one lesson each: what AWS answers, and what our client says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.aws import sessions
from ecs_exec_magic.sandbox import Sandbox

from ..runtimes import WITHOUT_ENGINE
from ..sandbox.conftest import left_idle
from .test_walkthrough import TRUST

CHANNEL = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
]


def document(*statements: tuple[list[str], str]) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": actions, "Resource": resource}
                for actions, resource in statements
            ],
        }
    )


class Account:
    """An account in which the checks are real, with what the lessons need in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = self._session(sandbox.environment)
        self.aws = {n: self.client(n) for n in ("ecs", "iam", "kms", "logs", "s3", "ec2", "ssm")}
        self.count = 0
        self.role = self.new_role((CHANNEL, "*"))
        self.aws["ecs"].create_cluster(clusterName="lessons")

    @staticmethod
    def _session(environment: dict[str, str]) -> boto3.Session:
        return boto3.Session(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def client(self, name: str, session: boto3.Session | None = None) -> Any:
        return (session or self.session).client(name, endpoint_url=self.sandbox.url)

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}-{self.count}"

    def new_role(self, *statements: tuple[list[str], str]) -> str:
        name, iam = self.name("role"), self.aws["iam"]
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        return str(role["Arn"])

    def new_user(self, *statements: tuple[list[str], str]) -> boto3.Session:
        name, iam = self.name("user"), self.aws["iam"]
        iam.create_user(UserName=name)
        iam.put_user_policy(
            UserName=name, PolicyName="inline", PolicyDocument=document(*statements)
        )
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")

    def task(
        self,
        *containers: str,
        role: str = "",
        cluster: str = "lessons",
        exec_on: bool = True,
        container: dict[str, Any] | None = None,
        **definition: Any,
    ) -> str:
        """The ARN of a task that runs."""
        family = self.name("lesson")
        self.aws["ecs"].register_task_definition(
            family=family,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            taskRoleArn=role or self.role,
            containerDefinitions=[
                {"name": name, "image": "busybox", **(container or {})}
                for name in (containers or ("app",))
            ],
            **definition,
        )
        subnet = self.aws["ec2"].describe_subnets()["Subnets"][0]["SubnetId"]
        arn = self.aws["ecs"].run_task(
            cluster=cluster,
            taskDefinition=family,
            launchType="FARGATE",
            enableExecuteCommand=exec_on,
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )["tasks"][0]["taskArn"]
        waiter = self.aws["ecs"].get_waiter("tasks_running")
        waiter.wait(cluster=cluster, tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return str(arn)

    def agent(self, task: str, cluster: str = "lessons") -> dict[str, Any]:
        """The exec agent of a task's first container, once it has settled."""
        for _ in range(600):
            found = self.aws["ecs"].describe_tasks(cluster=cluster, tasks=[task])["tasks"][0]
            agent: dict[str, Any] = found["containers"][0]["managedAgents"][0]
            if agent["lastStatus"] != "PENDING":
                return agent
            time.sleep(0.1)
        raise AssertionError(f"the agent stays {agent}")

    def execute(self, task: str, container: str | None = None, **more: Any) -> dict[str, Any]:
        given = {"cluster": "lessons", "task": task, "command": "ls", "interactive": True, **more}
        if container:
            given["container"] = container
        answer: dict[str, Any] = self.aws["ecs"].execute_command(**given)
        return answer

    def connect(self, session: boto3.Session | None = None) -> Any:
        return ecs.connect(endpoint_url=self.sandbox.url, session=session or self.session)


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE, iam=True) as sandbox:
        yield Account(sandbox)


def refused(account: Account, code: str, task: str, *where: str, **more: Any) -> str:
    """The words with which ExecuteCommand is refused; the class must be the one for the code."""
    with pytest.raises(getattr(account.aws["ecs"].exceptions, code, ClientError)) as caught:
        account.execute(task, *where, **more)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    return str(error["Message"])


def test_exec_was_not_enabled_when_the_task_was_run(account: Account) -> None:
    task = account.task(exec_on=False)
    assert "execute command was not enabled" in refused(account, "InvalidParameterException", task)
    with pytest.raises(ecs.ExecNotEnabled) as caught:
        account.connect().target(f"lessons/{task.rpartition('/')[2]}")
    assert "enable" in caught.value.cure


def test_the_agent_has_stopped(account: Account) -> None:
    arn = account.aws["ecs"].list_tasks(cluster="demo", family="agent-down")["taskArns"][0]
    agent = account.agent(arn, "demo")
    assert agent["lastStatus"] == "STOPPED"
    assert agent["reason"]
    words = refused(account, "InvalidParameterException", arn, cluster="demo")
    assert "agent isn’t running" in words
    with pytest.raises(ecs.AgentNotConnected) as caught:
        account.connect().target("demo/agent-down")
    assert agent["reason"] in caught.value.cause


def test_the_task_role_may_not_open_the_channel(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A minute is what an agent that has just started may need; here it would never come.
    defaults = {**(sessions.start_exec.__kwdefaults__ or {}), "retry": sessions.Retry(window=1.0)}
    monkeypatch.setattr(sessions.start_exec, "__kwdefaults__", defaults)
    task = account.task(role=account.new_role())
    assert account.agent(task)["lastStatus"] == "RUNNING"  # it runs, and reaches nobody
    words = refused(account, "TargetNotConnectedException", task)
    assert words == "The execute command failed due to an internal error. Try again later."
    target = account.connect().target(f"lessons/{task.rpartition('/')[2]}")
    with pytest.raises(ecs.AgentNotConnected) as caught:
        target.run("true", timeout=60)
    assert "ssmmessages" in caught.value.cause + caught.value.cure


def test_a_role_that_is_given_the_right_later_works_at_once(account: Account) -> None:
    role = account.new_role()
    task = account.task(role=role)
    refused(account, "TargetNotConnectedException", task)
    account.aws["iam"].put_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyName="inline",
        PolicyDocument=document((CHANNEL, "*")),
    )
    assert account.connect().target(f"lessons/{task.rpartition('/')[2]}").run("echo x").ok


def test_no_task_role_at_all(account: Account) -> None:
    family = account.name("no-role")
    account.aws["ecs"].register_task_definition(
        family=family,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "busybox"}],
    )
    subnet = account.aws["ec2"].describe_subnets()["Subnets"][0]["SubnetId"]
    with pytest.raises(account.aws["ecs"].exceptions.InvalidParameterException) as caught:
        account.aws["ecs"].run_task(
            cluster="lessons",
            taskDefinition=family,
            launchType="FARGATE",
            enableExecuteCommand=True,
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )
    assert "taskRoleArn" in str(caught.value)


def test_a_read_only_root_file_system(account: Account) -> None:
    task = account.task(container={"readonlyRootFilesystem": True})
    assert account.agent(task)["lastStatus"] == "STOPPED"
    assert "agent isn’t running" in refused(account, "InvalidParameterException", task)


def test_containers_that_share_their_process_ids(account: Account) -> None:
    task = account.task("one", "two", pidMode="task")
    assert account.execute(task, "one")["containerName"] == "one"
    refused(account, "TargetNotConnectedException", task, "two")


def test_the_caller_may_not_make_a_data_key(account: Account) -> None:
    cluster, _key = with_key(account)
    task = account.task(cluster=cluster)
    everything_else = account.new_user((["ecs:*", "ssm:*", "sts:*"], "*"))
    target = account.connect(everything_else).target(f"{cluster}/{task.rpartition('/')[2]}")
    with pytest.raises(ecs.EcsExecError) as caught:
        target.run("true", timeout=60)
    assert "kms:GenerateDataKey" in f"{caught.value} {caught.value.cause} {caught.value.cure}"


def test_the_task_role_may_not_decrypt(account: Account) -> None:
    cluster, key = with_key(account)
    task = account.task(cluster=cluster)
    target = account.connect().target(f"{cluster}/{task.rpartition('/')[2]}")
    with pytest.raises(ecs.StartFailed) as caught:
        target.run("true", timeout=60)
    assert "kms:Decrypt" in f"{caught.value} {caught.value.cause} {caught.value.cure}"
    good = account.task(
        cluster=cluster, role=account.new_role((CHANNEL, "*"), (["kms:Decrypt"], key))
    )
    result = account.connect().target(f"{cluster}/{good.rpartition('/')[2]}").run("echo sealed")
    assert (result.stdout, result.exact) == ("sealed\n", True)


def with_key(account: Account) -> tuple[str, str]:
    key = account.aws["kms"].create_key()["KeyMetadata"]["Arn"]
    name = account.name("sealed")
    account.aws["ecs"].create_cluster(
        clusterName=name,
        configuration={"executeCommandConfiguration": {"kmsKeyId": key, "logging": "DEFAULT"}},
    )
    return name, str(key)


def test_a_wrong_container_name(account: Account) -> None:
    task = account.task("app")
    assert "nope" in refused(account, "InvalidParameterException", task, "nope")
    with pytest.raises(ecs.TargetNotFound, match="nope"):
        account.connect().target(f"lessons/{task.rpartition('/')[2]}:nope")


def test_two_containers_and_none_named(account: Account) -> None:
    task = account.task("one", "two")
    assert "container" in refused(account, "InvalidParameterException", task)
    with pytest.raises(ecs.AmbiguousTarget) as caught:
        account.connect().target(f"lessons/{task.rpartition('/')[2]}")
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_a_third_session_waits_until_one_of_two_has_ended(account: Account) -> None:
    task = account.task()
    target = account.connect().target(f"lessons/{task.rpartition('/')[2]}")
    held = [account.execute(task, command="sleep 600") for _ in range(2)]  # as others would hold it
    done = threading.Event()

    def third() -> None:
        assert target.run("echo third").stdout == "third\n"
        done.set()

    waiting = threading.Thread(target=third, daemon=True)
    waiting.start()
    assert not done.wait(2), "a third session ran beside the two"
    account.aws["ssm"].terminate_session(SessionId=held[0]["session"]["sessionId"])
    assert done.wait(60)
    waiting.join()
    account.aws["ssm"].terminate_session(SessionId=held[1]["session"]["sessionId"])


def test_a_session_that_is_idle_for_too_long_ends() -> None:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE) as sandbox:
        session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
        target = ecs.connect(endpoint_url=sandbox.url, session=session).target("demo/worker")
        wait = "until test -e go; do sleep .05; done"
        stream = target.stream(f"echo on; {wait}; echo more; sleep 600")
        assert next(stream).text == "on\n"
        ((session_id, watched),) = sandbox._server.gateway.sessions.items()
        left_idle(sandbox, session_id, 0.9)
        target.run("touch go")
        assert next(stream).text == "more\n"
        left_idle(sandbox, session_id, 0.9)
        assert not watched.ending  # what prints is not idle
        left_idle(sandbox, session_id)
        with pytest.raises(ecs.SessionLost, match="ended before the command did") as caught:
            next(stream)
        assert caught.value.result is not None
        assert caught.value.result.stdout == "on\nmore\n"
        assert "idle" in caught.value.cause


def test_the_cluster_demands_an_encrypted_log_group_and_it_is_not(account: Account) -> None:
    group, name = account.name("/lessons"), account.name("logged")
    account.aws["logs"].create_log_group(logGroupName=group)
    account.aws["ecs"].create_cluster(
        clusterName=name,
        configuration={
            "executeCommandConfiguration": {
                "logging": "OVERRIDE",
                "logConfiguration": {
                    "cloudWatchLogGroupName": group,
                    "cloudWatchEncryptionEnabled": True,
                },
            }
        },
    )
    role = account.new_role((CHANNEL, "*"), (["logs:*"], "*"))
    task = account.task(cluster=name, role=role)
    target = account.connect().target(f"{name}/{task.rpartition('/')[2]}")
    with pytest.raises(ecs.StartFailed) as caught:
        target.run("true", timeout=60)
    assert "encryption is not set up on the selected CloudWatch Logs log group" in str(caught.value)
    assert "encrypt" in caught.value.cure


def test_who_may_exec_by_the_tags_of_the_task(account: Account) -> None:
    # The announcement's example, in valid JSON: one StringEquals with both keys.
    iam, session = account.aws["iam"], account.new_user((["ecs:Describe*", "ecs:List*"], "*"))
    user = session.client("sts", endpoint_url=account.sandbox.url).get_caller_identity()["Arn"]
    iam.put_user_policy(
        UserName=user.rpartition("/")[2],
        PolicyName="exec",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "ecs:ExecuteCommand",
                        "Resource": "*",
                        "Condition": {
                            "StringEquals": {
                                "aws:ResourceTag/environment": "production",
                                "ecs:container-name": "app",
                            }
                        },
                    }
                ],
            }
        ),
    )
    theirs = account.client("ecs", session)
    given = {"cluster": "lessons", "command": "ls", "interactive": True}
    task = account.task("app", "other")
    with pytest.raises(ClientError) as caught:
        theirs.execute_command(task=task, container="app", **given)
    error = caught.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert f"User: {user} is not authorized to perform: ecs:ExecuteCommand" in error["Message"]
    account.aws["ecs"].tag_resource(
        resourceArn=task, tags=[{"key": "environment", "value": "production"}]
    )
    assert theirs.execute_command(task=task, container="app", **given)["containerName"] == "app"
    with pytest.raises(ClientError, match="AccessDenied"):
        theirs.execute_command(task=task, container="other", **given)
