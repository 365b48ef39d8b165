"""The walkthrough of AWS's announcement of ECS Exec with the stock AWS CLI, command by command.

In its order, from ``create-key`` to ``delete-security-group``; what is left at the end is only what
the announcement itself leaves: the task definition and the key that is to be deleted.
"""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ecs_exec_magic import sandbox as package

from ..runtimes import WITHOUT_ENGINE
from .conftest import Shell

REGION = "us-west-2"
BUCKET = "ecs-exec-demo-output-12345"
GROUP = "/aws/ecs/ecs-exec-demo"
CLUSTER = "ecs-exec-demo-cluster"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["ecs-tasks.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}


def task_role_policy(account: str, key_arn: str) -> dict[str, Any]:
    """What the task's role may do: hold the channel, write the logs, decrypt the data key."""
    logs = f"arn:aws:logs:{REGION}:{account}:log-group:{GROUP}:*"
    rights: list[tuple[list[str], str]] = [
        (
            [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "*",
        ),
        (["logs:DescribeLogGroups"], "*"),
        (["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], logs),
        (["s3:PutObject"], f"arn:aws:s3:::{BUCKET}/*"),
        (["s3:GetEncryptionConfiguration"], f"arn:aws:s3:::{BUCKET}"),
        (["kms:Decrypt"], key_arn),
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": resource}
            for actions, resource in rights
        ],
    }


def task_definition(account: str) -> dict[str, Any]:
    """The announcement's task definition: nothing about exec in it."""
    return {
        "family": "ecs-exec-demo",
        "networkMode": "awsvpc",
        "executionRoleArn": f"arn:aws:iam::{account}:role/ecs-exec-demo-task-execution-role",
        "taskRoleArn": f"arn:aws:iam::{account}:role/ecs-exec-demo-task-role",
        "containerDefinitions": [
            {
                "name": "nginx",
                "image": "nginx",
                "linuxParameters": {"initProcessEnabled": True},
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": GROUP,
                        "awslogs-region": REGION,
                        "awslogs-stream-prefix": "container-stdout",
                    },
                },
            }
        ],
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("iam", [False, True], ids=["", "iam"])
def test_the_whole_walkthrough(tmp_path: Path, iam: bool) -> None:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE, seed=False, iam=iam) as sandbox:
        walk(Shell(sandbox, tmp_path, REGION))


def walk(shell: Shell) -> None:
    aws = shell.aws
    at = ("--region", REGION)

    # What there must be before: a VPC with public subnets.
    account = aws("sts", "get-caller-identity")["Account"]
    vpc = aws("ec2", "describe-vpcs", "--filters", "Name=is-default,Values=true")["Vpcs"][0]
    vpc_id = vpc["VpcId"]
    subnets = aws("ec2", "describe-subnets", "--filters", f"Name=vpc-id,Values={vpc_id}")
    first, second = (s["SubnetId"] for s in subnets["Subnets"][:2])
    assert all(s["MapPublicIpOnLaunch"] for s in subnets["Subnets"])
    gateways = aws(
        "ec2", "describe-internet-gateways", "--filters", f"Name=attachment.vpc-id,Values={vpc_id}"
    )["InternetGateways"]
    assert len(gateways) == 1
    tables = aws("ec2", "describe-route-tables", "--filters", f"Name=vpc-id,Values={vpc_id}")
    routes = {r["DestinationCidrBlock"]: r["GatewayId"] for r in tables["RouteTables"][0]["Routes"]}
    assert routes["0.0.0.0/0"] == gateways[0]["InternetGatewayId"]

    # The key, the cluster, the log group, the bucket.
    key_arn = aws("kms", "create-key", *at)["KeyMetadata"]["Arn"]
    alias = "alias/ecs-exec-demo-kms-key"
    aws("kms", "create-alias", "--alias-name", alias, "--target-key-id", key_arn, *at)
    configuration = (
        f"executeCommandConfiguration={{logging=OVERRIDE,kmsKeyId={key_arn},"
        f"logConfiguration={{cloudWatchLogGroupName={GROUP},s3BucketName={BUCKET},"
        "s3KeyPrefix=exec-output}}"
    )
    made = aws(
        "ecs", "create-cluster", "--cluster-name", CLUSTER, *at, "--configuration", configuration
    )["cluster"]
    assert made["status"] == "ACTIVE"
    assert made["configuration"]["executeCommandConfiguration"]["logging"] == "OVERRIDE"
    aws("logs", "create-log-group", "--log-group-name", GROUP, *at)
    aws(
        *("s3api", "create-bucket", "--bucket", BUCKET, *at),
        *("--create-bucket-configuration", f"LocationConstraint={REGION}"),
    )

    # The security group.
    group_id = aws(
        *("ec2", "create-security-group", "--group-name", "ecs-exec-demo-SG"),
        *("--description", "ECS exec demo SG", "--vpc-id", vpc_id, *at),
    )["GroupId"]
    aws(
        *("ec2", "authorize-security-group-ingress", "--group-id", group_id),
        *("--protocol", "tcp", "--port", "80", "--cidr", "0.0.0.0/0", *at),
    )

    # The roles.
    execution_role, task_role = "ecs-exec-demo-task-execution-role", "ecs-exec-demo-task-role"
    trust = shell.file("ecs-tasks-trust-policy.json", TRUST)
    for role in (execution_role, task_role):
        aws("iam", "create-role", "--role-name", role, "--assume-role-policy-document", trust, *at)
    managed = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    aws("iam", "attach-role-policy", "--role-name", execution_role, "--policy-arn", managed)
    policy = shell.file("ecs-exec-demo-task-role-policy.json", task_role_policy(account, key_arn))
    aws(
        *("iam", "put-role-policy", "--role-name", task_role),
        *("--policy-name", "ecs-exec-demo-task-role-policy", "--policy-document", policy),
    )

    # The task definition and the task.
    definition = shell.file("ecs-exec-demo.json", task_definition(account))
    registered = aws("ecs", "register-task-definition", "--cli-input-json", definition, *at)[
        "taskDefinition"
    ]
    assert (registered["family"], registered["revision"]) == ("ecs-exec-demo", 1)
    network = (
        f"awsvpcConfiguration={{subnets=[{first},{second}],securityGroups=[{group_id}],"
        "assignPublicIp=ENABLED}"
    )
    task = aws(
        *("ecs", "run-task", "--cluster", CLUSTER, "--task-definition", "ecs-exec-demo"),
        *("--network-configuration", network, "--enable-execute-command"),
        *("--launch-type", "FARGATE", "--tags", "key=environment,value=production"),
        *("--platform-version", "1.4.0", *at),
    )["tasks"][0]
    task_arn = task["taskArn"]
    task_id = task_arn.rpartition("/")[2]
    assert task["enableExecuteCommand"] is True
    aws("ecs", "wait", "tasks-running", "--cluster", CLUSTER, "--tasks", task_arn, *at)
    for _ in range(20):  # the agent comes up a moment after its task
        found = described(shell, task_arn)
        container = found["containers"][0]
        if container["managedAgents"][0]["lastStatus"] != "PENDING":
            break
    assert found["lastStatus"] == "RUNNING"
    assert container["managedAgents"][0]["name"] == "ExecuteCommandAgent"
    assert container["managedAgents"][0]["lastStatus"] == "RUNNING"
    assert container["runtimeId"].startswith(task_id)
    interface = next(
        d["value"] for d in found["attachments"][0]["details"] if d["name"] == "networkInterfaceId"
    )
    public = aws("ec2", "describe-network-interfaces", "--network-interface-ids", interface)
    assert public["NetworkInterfaces"][0]["Association"]["PublicIp"]

    # A shell in the container, in which the web page is changed.
    execute = ("ecs", "execute-command", *at, "--cluster", CLUSTER, "--task", task_arn)
    root = "/usr/share/nginx/html"
    page = "This page has been created with ECS Exec"
    typed = f"hostname\nls\necho '{page}' >{root}/index.html\nexit\n"
    said = aws(
        *execute, "--container", "nginx", "--command", "/bin/bash", "--interactive", typed=typed
    )
    assert "Starting session with SessionId: ecs-execute-command-" in said
    assert "usr" in said.split("hostname", 1)[1]
    port = container_port(described(shell, task_arn))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert page in answer.read().decode()

    # A single command; the only container need not be named.
    said = aws(*execute, "--command", "ls", "--interactive")
    session_id = said.split("SessionId: ")[1].split()[0]
    assert "bin" in said

    # What is kept of it: the event, the log stream, the object.
    looked_up = ("cloudtrail", "lookup-events", *at, "--lookup-attributes")
    events = aws(*looked_up, "AttributeKey=EventName,AttributeValue=ExecuteCommand")["Events"]
    assert len(events) == 2
    latest = events[0]["CloudTrailEvent"]
    assert '"command": "ls"' in latest or '"command":"ls"' in latest
    assert session_id in latest
    assert "HIDDEN_DUE_TO_SECURITY_REASONS" in latest
    shell.aws("s3", "cp", f"s3://{BUCKET}/exec-output/{session_id}.log", "session.log")
    assert "bin" in (shell.directory / "session.log").read_text()
    streams = aws("logs", "describe-log-streams", "--log-group-name", GROUP, *at)["logStreams"]
    names = {s["logStreamName"] for s in streams}
    assert session_id in names
    kept = aws(
        *("logs", "get-log-events", "--log-group-name", GROUP, *at),
        *("--log-stream-name", session_id),
    )
    assert "bin" in "".join(e["message"] for e in kept["events"])

    clean_up(shell, task_arn, group_id, key_arn)
    left_over(shell, vpc_id, key_arn)


def described(shell: Shell, task_arn: str) -> dict[str, Any]:
    answer = shell.aws("ecs", "describe-tasks", "--cluster", CLUSTER, "--tasks", task_arn)
    task: dict[str, Any] = answer["tasks"][0]
    return task


def container_port(task: dict[str, Any]) -> int:
    """Where the practice cluster publishes the container's port 80."""
    return int(task["containers"][0]["networkBindings"][0]["hostPort"])


def clean_up(shell: Shell, task_arn: str, group_id: str, key_arn: str) -> None:
    """As the announcement does it, in its order."""
    aws, at = shell.aws, ("--region", REGION)
    in_use = shell.fails("ec2", "delete-security-group", "--group-id", group_id)
    assert "DependencyViolation" in in_use
    busy = shell.fails("ecs", "delete-cluster", "--cluster", CLUSTER, *at)
    assert "ClusterContainsTasksException" in busy
    aws("ecs", "stop-task", "--cluster", CLUSTER, *at, "--task", task_arn)
    aws("ecs", "wait", "tasks-stopped", "--cluster", CLUSTER, "--tasks", task_arn, *at)
    aws("ecs", "delete-cluster", "--cluster", CLUSTER, *at)
    aws("logs", "delete-log-group", "--log-group-name", GROUP, *at)
    full = shell.fails("s3api", "delete-bucket", "--bucket", BUCKET)
    assert "BucketNotEmpty" in full
    aws("s3", "rm", f"s3://{BUCKET}", "--recursive")
    aws("s3api", "delete-bucket", "--bucket", BUCKET)
    managed = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    role = ("--role-name", "ecs-exec-demo-task-execution-role")
    aws("iam", "detach-role-policy", *role, "--policy-arn", managed)
    aws("iam", "delete-role", *role)
    role = ("--role-name", "ecs-exec-demo-task-role")
    aws("iam", "delete-role-policy", *role, "--policy-name", "ecs-exec-demo-task-role-policy")
    aws("iam", "delete-role", *role)
    aws("kms", "schedule-key-deletion", "--key-id", key_arn, *at)
    aws("ec2", "delete-security-group", "--group-id", group_id, *at)


def left_over(shell: Shell, vpc_id: str, key_arn: str) -> None:
    """Nothing but the task definition and the key that waits for its deletion."""
    aws = shell.aws
    assert aws("ecs", "list-clusters")["clusterArns"] == []
    gone = aws("ecs", "describe-clusters", "--clusters", CLUSTER)["clusters"]
    assert [c["status"] for c in gone] in ([], ["INACTIVE"])
    assert aws("logs", "describe-log-groups")["logGroups"] == []
    assert aws("s3api", "list-buckets")["Buckets"] == []
    assert not [r["RoleName"] for r in aws("iam", "list-roles")["Roles"] if "demo" in r["RoleName"]]
    groups = aws("ec2", "describe-security-groups", "--filters", f"Name=vpc-id,Values={vpc_id}")
    assert [g["GroupName"] for g in groups["SecurityGroups"]] == ["default"]
    assert aws("ec2", "describe-network-interfaces")["NetworkInterfaces"] == []
    keys = [k["KeyArn"] for k in aws("kms", "list-keys")["Keys"]]
    assert keys == [key_arn]
    state = aws("kms", "describe-key", "--key-id", key_arn)["KeyMetadata"]["KeyState"]
    assert state == "PendingDeletion"
    definitions = aws("ecs", "list-task-definitions")["taskDefinitionArns"]
    assert [d.rpartition("/")[2] for d in definitions] == ["ecs-exec-demo:1"]
