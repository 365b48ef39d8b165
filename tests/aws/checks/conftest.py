"""A practice cluster in which IAM decides, and short words for making things that are broken."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.aws.checks import explain
from ecs_exec_magic.client import Client, Findings
from ecs_exec_magic.sandbox import Sandbox

from ...runtimes import WITHOUT_ENGINE
from ..account import Account

T = TypeVar("T")
CHANNEL = ["ssmmessages:*"]
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole"}
FAST = {"Delay": 0, "MaxAttempts": 20_000}


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class World(Account):
    """The practice cluster with its seed, and its account as the administrator sees it."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._numbers = itertools.count()
        self.admin = ecs.connect(session=self.session, endpoint_url=sandbox.url)
        sandbox.call(sandbox._server.world.settled())

    def close(self) -> None:
        self.admin.close()
        super().close()

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def called(self, work: Callable[[], T]) -> tuple[list[str], T]:
        """The names of the calls that arrive while something is done, and what it returns."""
        counters = self.sandbox.counters
        last = counters.calls()[-1]  # not how many: they are forgotten in the end
        result = work()
        calls = counters.calls()
        begin = next(n for n, call in enumerate(calls) if call is last) + 1
        return [call.operation for call in calls[begin:]], result

    def check(self, address: str, **how: Any) -> Findings:
        how.setdefault("inside", False)
        return self.admin.check(address, **how)

    # -- IAM -------------------------------------------------------------------------------------

    def user(self, *denied: str, statements: Sequence[Any] = ()) -> Client:
        """Somebody who may do everything but these actions, or only what statements say."""
        iam, name = self.aws("iam"), self.name("user")
        iam.create_user(UserName=name)
        said: list[Any] = list(statements) or [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
        if denied:
            said.append({"Effect": "Deny", "Action": list(denied), "Resource": "*"})
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*said))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.client(self._session(key["AccessKeyId"], key["SecretAccessKey"]))

    def role(
        self, actions: Sequence[str] = CHANNEL, service: str = "ecs-tasks", **more: Any
    ) -> str:
        """A role that may do this on everything, unless a condition is given."""
        iam, name = self.aws("iam"), self.name("role")
        trust = {**TRUST, "Principal": {"Service": f"{service}.amazonaws.com"}}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
        if actions:
            allow = {"Effect": "Allow", "Action": list(actions), "Resource": "*", **more}
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(allow))
        return name

    # -- ECS -------------------------------------------------------------------------------------

    def cluster(self, **exec_: Any) -> str:
        name = self.name("cluster")
        configuration = {"configuration": {"executeCommandConfiguration": exec_}} if exec_ else {}
        self.aws("ecs").create_cluster(clusterName=name, **configuration)
        return name

    def family(self, role: str | None = "sandbox-task-role", app: Any = None, **given: Any) -> str:
        """A task definition of one container."""
        family = self.name("family")
        container = {
            "name": "app",
            "image": "busybox",
            "memory": 64,
            "linuxParameters": {"initProcessEnabled": True},
            **(app or {}),
        }
        asked: dict[str, Any] = {
            "family": family,
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "taskRoleArn": role,
            "containerDefinitions": [container],
            **given,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        self.aws("ecs").register_task_definition(**asked)
        return family

    def network(self, subnet: str = "", group: str = "", public: bool = True) -> dict[str, Any]:
        """The default VPC's network, or that of a subnet."""
        subnets, groups = self.sandbox.call(
            self.sandbox._server.world.network.defaults(self.region)
        )
        return {
            "awsvpcConfiguration": {
                "subnets": [subnet] if subnet else subnets[:1],
                "securityGroups": [group] if group else ([] if subnet else groups),
                "assignPublicIp": "ENABLED" if public else "DISABLED",
            }
        }

    def service(self, cluster: str, family: str = "", **given: Any) -> str:
        """A service without tasks, unless a count is given; its address."""
        name = self.name("service")
        asked = {
            "desiredCount": 0,
            "enableExecuteCommand": True,
            "networkConfiguration": self.network(),
            "launchType": "FARGATE",
            **given,
        }
        self.aws("ecs").create_service(
            cluster=cluster, serviceName=name, taskDefinition=family or self.family(), **asked
        )
        if asked["desiredCount"]:
            waiter = self.aws("ecs").get_waiter("services_stable")
            waiter.wait(cluster=cluster, services=[name], WaiterConfig=FAST)
        return f"{cluster}/{name}"

    def run(self, cluster: str, family: str, **given: Any) -> str:
        """Run a task, wait until it runs and its agents have started or failed; its address."""
        asked = {
            "enableExecuteCommand": True,
            "launchType": "FARGATE",
            "networkConfiguration": self.network(),
            **given,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        api = self.aws("ecs")
        answer = api.run_task(cluster=cluster, taskDefinition=family, **asked)
        assert answer["failures"] == []
        arn = answer["tasks"][0]["taskArn"]
        api.get_waiter("tasks_running").wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)
        until(
            lambda: (
                "PENDING"
                not in [
                    agent["lastStatus"]
                    for container in api.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0][
                        "containers"
                    ]
                    for agent in container.get("managedAgents", [])
                ]
            )
        )
        return f"{cluster}/{arn.rpartition('/')[2]}"

    def instance(self, cluster: str, version: str = "1.75.0", profile: str = "") -> None:
        """A container instance on a real instance of EC2, with an instance profile if named."""
        given = {"IamInstanceProfile": {"Name": profile}} if profile else {}
        answer = self.aws("ec2").run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, **given
        )
        id_ = answer["Instances"][0]["InstanceId"]
        self.aws("ecs").register_container_instance(
            cluster=cluster,
            instanceIdentityDocument=json.dumps({"instanceId": id_}),
            totalResources=[
                {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": 2000},
            ],
            versionInfo={"agentVersion": version},
        )

    def run_on_instance(self, cluster: str, role: str | None = "sandbox-task-role") -> str:
        """A task on a container instance, in the instance's network; its address."""
        family = self.family(role, requiresCompatibilities=["EC2"], networkMode="bridge", cpu=None)
        return self.run(cluster, family, launchType="EC2", networkConfiguration=None)

    def profile(self, role: str) -> str:
        """An instance profile with a role."""
        self.aws("iam").create_instance_profile(InstanceProfileName=role)
        self.aws("iam").add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
        return role

    # -- EC2 -------------------------------------------------------------------------------------

    def vpc(self) -> Vpc:
        return Vpc(self)

    def backend(self, service: str, change: Callable[[Any], Any]) -> Any:
        """Change what no call of AWS's changes."""
        account = self.sandbox._server.account
        return self.sandbox.call(account.run(lambda: change(account.backend(service, self.region))))


class Vpc:
    """A VPC of its own: one private subnet, a security group, and endpoints if they are made."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ec2 = world.aws("ec2")
        self.id = self.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=self.id, EnableDnsHostnames={"Value": True})
        self.subnet = self.ec2.create_subnet(VpcId=self.id, CidrBlock="10.7.1.0/24")["Subnet"][
            "SubnetId"
        ]
        self.group = self.new_group()
        self.endpoint_group = self.new_group()
        self.let_in()

    def new_group(self) -> str:
        name = self.world.name("group")
        return str(
            self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.id)[
                "GroupId"
            ]
        )

    def let_in(self) -> None:
        self.ec2.authorize_security_group_ingress(
            GroupId=self.endpoint_group,
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "UserIdGroupPairs": [{"GroupId": self.group}],
                }
            ],
        )

    def endpoint(self, name: str = "ssmmessages", **given: Any) -> str:
        asked = {
            "VpcEndpointType": "Interface",
            "SubnetIds": [self.subnet],
            "SecurityGroupIds": [self.endpoint_group],
            "PrivateDnsEnabled": True,
            **given,
        }
        answer = self.ec2.create_vpc_endpoint(
            VpcId=self.id, ServiceName=f"com.amazonaws.{self.world.region}.{name}", **asked
        )
        return str(answer["VpcEndpoint"]["VpcEndpointId"])

    def gateway(self) -> None:
        """A way to the internet."""
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
        filters = [{"Name": "vpc-id", "Values": [self.id]}]
        table = self.ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["RouteTableId"]
        self.ec2.create_route(
            RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway
        )

    def service(self, cluster: str = "demo", *, public: bool = False) -> str:
        """A service without tasks in it; its address."""
        network = self.world.network(self.subnet, self.group, public)
        return self.world.service(cluster, networkConfiguration=network)


def until(look: Callable[[], Any], limit: float = 60.0) -> Any:
    deadline = time.monotonic() + limit
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return seen


def long_there(world: World, address: str) -> None:
    """Make the agents of a task old, so that nobody waits for them to connect."""
    cluster, _, task_id = address.partition("/")

    async def change() -> None:
        state = world.sandbox._server.world.state.region(world.region)
        for container in state.clusters[cluster].tasks[task_id].containers:
            container.agent_started = time.time() - 3600

    world.sandbox.call(change())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explanation is waited for, however slow this machine is."""
    monkeypatch.setattr(explain, "LIMIT", 60.0)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    sandbox = package.start(pace="fast", runtime=WITHOUT_ENGINE, iam=True)
    there = World(sandbox)
    try:
        yield there
    finally:
        there.close()
