"""For every check, a place where it must find fault and one where all must be well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ecs_exec_magic.aws.checks import local
from ecs_exec_magic.aws.checks.agent import LOG_PATH
from ecs_exec_magic.client import Findings

from .conftest import World, document, long_there, until

LOGS = ["logs:*", "s3:*", "kms:*"]


@dataclass(frozen=True)
class Case:
    """A place in which a check has to find something.

    Attributes:
        id: of the check.
        status: what it must say.
        says: a part of title or evidence.
    """

    id: str
    status: str
    says: str
    findings: Callable[[World], Any]

    def __str__(self) -> str:
        return f"{self.id}-{self.status}-{self.findings.__name__}"


CASES: list[Case] = []


def case(id_: str, status: str, says: str = "") -> Callable[[Any], Any]:
    """Make a function that gives findings a case of one check, or of several."""

    def mark(function: Any) -> Any:
        CASES.append(Case(id_, status, says, function))
        return function

    return mark


# -- where all is well ---------------------------------------------------------------------------

_memo: dict[Any, Any] = {}


def _once(world: World, name: str, make: Callable[[], Any]) -> Any:
    key = (id(world), name)
    if key not in _memo:
        _memo[key] = make()
    return _memo[key]


def whole_cluster(world: World) -> dict[str, str]:
    """A cluster with key, encrypted log group and bucket, and what they are."""

    def make() -> dict[str, str]:
        key = world.aws("kms").create_key()["KeyMetadata"]["Arn"]
        group, bucket = world.name("/aws/ecs/whole"), world.name("whole-sessions")
        world.aws("logs").create_log_group(logGroupName=group, kmsKeyId=key)
        world.aws("s3").create_bucket(Bucket=bucket)
        name = world.cluster(
            kmsKeyId=key,
            logging="OVERRIDE",
            logConfiguration={
                "cloudWatchLogGroupName": group,
                "cloudWatchEncryptionEnabled": True,
                "s3BucketName": bucket,
                "s3EncryptionEnabled": True,
                "s3KeyPrefix": "sessions",
            },
        )
        return {"cluster": name, "key": key, "group": group, "bucket": bucket}

    found: dict[str, str] = _once(world, "whole", make)
    return found


WELL_ON_FARGATE = (
    *("local.boto3", "caller.execute-command", "caller.describe-tasks", "caller.data-key"),
    *("caller.start-session", "caller.resume-session", "cluster.active", "cluster.logging"),
    *("service.exec-enabled", "service.deployment", "task.running", "task.exec-enabled"),
    *("task.platform", "task.pid-mode", "task.init-process", "task.root-filesystem"),
    *("task.static-keys", "agent.running", "sessions.in-use", "sessions.quota"),
    *("role.present", "role.trust", "role.channel", "role.key", "role.log-group", "role.bucket"),
    *("network.owner", "network.route", "network.public-address", "network.egress"),
    *("network.acl", "network.dns", "network.endpoints", "key.usable", "key.policy"),
    *("logging.log-group", "logging.bucket", "image.shell", "image.transcript", "agent.log"),
    "agent.connected",
)


def well_on_fargate(world: World) -> Findings:
    """A service with everything that can be configured."""

    def make() -> Findings:
        role = world.role(["ssmmessages:*", *LOGS])
        cluster = whole_cluster(world)["cluster"]
        address = world.service(cluster, world.family(role), desiredCount=1)
        return world.user("ssm:StartSession").check(address, agent_log=True)

    found: Findings = _once(world, "well on Fargate", make)
    return found


for _name in WELL_ON_FARGATE:
    case(_name, "ok")(well_on_fargate)


def well_in_private(world: World) -> Findings:
    """A VPC without a way to the internet, and endpoints for all that is needed."""

    def make() -> Findings:
        vpc = world.vpc()
        for name in ("ssmmessages", "kms", "logs"):
            vpc.endpoint(name)
        vpc.endpoint("s3", VpcEndpointType="Gateway", SubnetIds=[], SecurityGroupIds=[])
        return world.check(vpc.service(whole_cluster(world)["cluster"]))

    found: Findings = _once(world, "well in private", make)
    return found


WELL_IN_PRIVATE = (
    *("endpoint.state", "endpoint.private-dns", "endpoint.security-group", "endpoint.policy"),
    *("network.route", "network.endpoints", "network.public-address", "network.egress"),
)

for _name in WELL_IN_PRIVATE:
    case(_name, "ok")(well_in_private)


def on_an_instance(world: World, version: str) -> Findings:
    cluster = world.cluster()
    world.instance(cluster, version)
    return world.check(world.run_on_instance(cluster))


@case("instance.agent-version", "ok", "1.75.0")
def current_agent(world: World) -> Findings:
    return on_an_instance(world, "1.75.0")


@case("role.channel", "ok", "role-")
@case("role.trust", "ok", "EC2 instances")
@case("role.present", "ok", "role-")
@case("network.route", "ok", "igw-")
def role_of_the_instance(world: World) -> Findings:
    """A task without a role has that of its instance."""
    cluster = world.cluster()
    world.instance(cluster, profile=world.profile(world.role(service="ec2")))
    return world.check(world.run_on_instance(cluster, None))


@case("role.channel", "fail", "ssmmessages:OpenDataChannel")
def poor_role_of_the_instance(world: World) -> Findings:
    cluster = world.cluster()
    world.instance(cluster, profile=world.profile(world.role(["s3:*"], service="ec2")))
    return world.check(world.run_on_instance(cluster, None))


@case("role.present", "fail", "no task role")
def instance_without_role(world: World) -> Findings:
    cluster = world.cluster()
    world.instance(cluster)
    return world.check(world.run_on_instance(cluster, None))


@case("instance.agent-version", "fail", "1.40.0")
def old_agent(world: World) -> Findings:
    return on_an_instance(world, "1.40.0")


# -- the caller ----------------------------------------------------------------------------------


@case("local.boto3", "fail", "ecs:TalkToContainer")
def old_boto3(world: World) -> Iterator[Findings]:
    before = local._NEEDED
    local._NEEDED = (*before[1:], ("ecs", "TalkToContainer"))
    try:
        yield world.check("demo/worker")
    finally:
        local._NEEDED = before


@case("caller.execute-command", "fail", "no policy allows it")
def may_only_look(world: World) -> Findings:
    looks = {"Effect": "Allow", "Action": ["ecs:Describe*", "ecs:List*", "iam:*"], "Resource": "*"}
    return world.user(statements=[looks]).check("demo/worker", inside=False)


@case("caller.execute-command", "fail", "denied explicitly")
def may_not_exec(world: World) -> Findings:
    return world.user("ecs:ExecuteCommand").check("demo/worker", inside=False)


EXEC = {"Effect": "Allow", "Action": "ecs:ExecuteCommand", "Resource": "*"}
LOOK = {"Effect": "Allow", "NotAction": "ecs:ExecuteCommand", "Resource": "*"}


def under(world: World, **condition: Any) -> Findings:
    statements = [LOOK, {**EXEC, "Condition": {"StringEquals": condition}}]
    return world.user(statements=statements).check("demo/web", inside=False)


@case("caller.execute-command", "fail", "nginx in task")
def of_another_container(world: World) -> Findings:
    """Conditions count: only the sidecar may be entered."""
    return under(world, **{"ecs:container-name": "sidecar"})


@case("caller.execute-command", "ok")
def of_that_tag(world: World) -> Findings:
    return under(world, **{"ecs:ResourceTag/environment": "practice"})


@case("caller.execute-command", "fail")
def of_another_tag(world: World) -> Findings:
    return under(world, **{"ecs:ResourceTag/environment": "production"})


@case("caller.execute-command", "ok")
def of_this_region(world: World) -> Findings:
    """What the official checker gets wrong: the region is part of the request."""
    return under(world, **{"aws:RequestedRegion": world.region})


@case("caller.execute-command", "warn", "and not on the task")
def of_the_cluster_only(world: World) -> Findings:
    arn = f"arn:aws:ecs:{world.region}:{world.sandbox.account_id}:cluster/demo"
    return world.user(statements=[LOOK, {**EXEC, "Resource": arn}]).check(
        "demo/worker", inside=False
    )


@case("caller.describe-tasks", "fail")
def may_not_describe(world: World) -> Findings:
    return world.user("ecs:DescribeTasks").check("demo/worker", inside=False)


@case("caller.data-key", "fail", "kms:GenerateDataKey")
def may_not_use_the_key(world: World) -> Findings:
    address = world.service(whole_cluster(world)["cluster"])
    return world.user("kms:GenerateDataKey").check(address, inside=False)


@case("caller.start-session", "warn", "not logged")
def may_start_sessions(world: World) -> Findings:
    return world.check("demo/worker")


@case("caller.resume-session", "warn", "ssm:ResumeSession")
def may_not_resume(world: World) -> Findings:
    return world.user("ssm:ResumeSession").check("demo/worker", inside=False)


# -- cluster and service -------------------------------------------------------------------------


@case("cluster.active", "fail", "INACTIVE")
def deleted_cluster(world: World) -> Findings:
    cluster = world.cluster()
    world.aws("ecs").delete_cluster(cluster=cluster)
    return world.check(f"{cluster}/anything")


@case("cluster.logging", "warn", "not logged")
def logging_off(world: World) -> Findings:
    return world.check(world.service(world.cluster(logging="NONE")))


@case("cluster.logging", "warn", "has none")
def no_log_driver(world: World) -> Findings:
    return world.check(world.service("demo"))


@case("cluster.logging", "ok", "own output")
def log_driver(world: World) -> Findings:
    return world.check("demo/web")


@case("service.exec-enabled", "fail", "exec is off in service")
def service_without_exec(world: World) -> Findings:
    return world.check(world.service("demo", enableExecuteCommand=False))


@case("service.deployment", "fail", "desired count is 0")
@case("task.running", "fail", "no task of")
def service_without_tasks(world: World) -> Findings:
    return world.check(world.service("demo"))


# -- tasks ---------------------------------------------------------------------------------------


@case("task.running", "fail", "STOPPED")
def stopped_task(world: World) -> Findings:
    address = world.run("demo", world.family())
    arn = address.rpartition("/")[2]
    world.aws("ecs").stop_task(cluster="demo", task=arn, reason="enough of it")
    world.aws("ecs").get_waiter("tasks_stopped").wait(
        cluster="demo", tasks=[arn], WaiterConfig={"Delay": 0, "MaxAttempts": 4000}
    )
    found = world.check(address)
    assert "enough of it" in found.find("task.running").evidence  # type: ignore[union-attr]
    return found


@case("task.exec-enabled", "fail", "exec is off")
def no_exec(world: World) -> Findings:
    return world.check("demo/no-exec")


@case("task.platform", "fail", "1.3.0")
def old_platform(world: World) -> Findings:
    return world.check(
        world.run("demo", world.family(), platformVersion="1.3.0", enableExecuteCommand=False)
    )


@case("task.pid-mode", "warn", "share process ids")
def shared_pids(world: World) -> Findings:
    two = [{"name": name, "image": "busybox", "memory": 64} for name in ("one", "two")]
    return world.check("demo/" + world.family(pidMode="task", containerDefinitions=two))


@case("task.init-process", "warn", "app of family")
def no_init(world: World) -> Findings:
    return world.check("demo/" + world.family(app={"linuxParameters": {}}))


@case("task.root-filesystem", "fail", "read-only")
def read_only(world: World) -> Findings:
    return world.check("demo/" + world.family(app={"readonlyRootFilesystem": True}))


@case("task.static-keys", "warn", "AWS_ACCESS_KEY_ID in app")
def keys_in_environment(world: World) -> Findings:
    keys = [{"name": "AWS_ACCESS_KEY_ID", "value": "AKIA"}]
    return world.check("demo/" + world.family(app={"environment": keys}))


@case("task.static-keys", "warn", "AWS_SECRET_ACCESS_KEY in app")
def keys_in_secrets(world: World) -> Findings:
    arn = f"arn:aws:ssm:{world.region}:{world.sandbox.account_id}:parameter/key"
    keys = [{"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": arn}]
    family = world.family(app={"secrets": keys}, executionRoleArn="sandbox-execution-role")
    return world.check(f"demo/{family}")


# -- agents and sessions -------------------------------------------------------------------------


@case("agent.running", "fail", "process exited with exit code: 1")
def agent_down(world: World) -> Findings:
    return world.check("demo/agent-down")


@case("sessions.in-use", "warn", "2 sessions are open")
@case("sessions.quota", "warn", "of 2 sessions are open")
def full_of_sessions(world: World) -> Iterator[Findings]:
    address = world.run("demo", world.family())
    target = world.admin.target(address)
    jobs = [target.start("echo here; sleep 600") for _ in range(2)]
    try:
        until(lambda: all(job.so_far().stdout for job in jobs))
        world.sandbox.faults.session_quota = 2
        yield world.check(address)
    finally:
        world.sandbox.faults.session_quota = None
        for job in jobs:
            job.cancel()
        for job in jobs:
            job.wait(60)


@case("agent.connected", "fail", "ssmmessages")
def agent_not_connected(world: World) -> Findings:
    address = world.run("demo", world.family(world.role(["s3:GetObject"])))
    long_there(world, address)
    return world.check(address, inside=True)


@case("agent.log", "warn", "1 error")
def error_in_log(world: World) -> Findings:
    address = world.run("demo", world.family())
    line = "2026-01-01 00:00:00 ERROR [ssm-agent-worker] it went wrong"
    world.admin.target(address).run(f"echo '{line}' >>{LOG_PATH}", check=True)
    found = world.check(address, agent_log=True)
    assert found.agent_log is not None
    assert line in found.agent_log.stdout
    return found


@case("agent.log", "warn", "there is no")
def no_log(world: World) -> Findings:
    address = world.run("demo", world.family())
    world.admin.target(address).run(f"rm {LOG_PATH}", check=True)
    return world.check(address, agent_log=True)


# -- the role ------------------------------------------------------------------------------------


@case("role.present", "fail", "no task role")
def no_role(world: World) -> Findings:
    return world.check("demo/" + world.family(None))


@case("role.trust", "fail", "does not trust")
def role_of_lambda(world: World) -> Findings:
    return world.check("demo/" + world.family(world.role(service="lambda")))


@case("role.trust", "fail", "does not trust ECS tasks")
def role_of_instances_only(world: World) -> Findings:
    """It is enough for an instance, and not for a task."""
    return world.check("demo/" + world.family(world.role(service="ec2")))


@case("role.trust", "fail", "there is no role")
def role_that_is_gone(world: World) -> Findings:
    role = world.role()
    family = world.family(role)
    world.aws("iam").delete_role_policy(RoleName=role, PolicyName="p")
    world.aws("iam").delete_role(RoleName=role)
    return world.check(f"demo/{family}")


@case("role.channel", "fail", "ssmmessages:OpenDataChannel")
def role_without_channel(world: World) -> Findings:
    return world.check("demo/" + world.family(world.role(["s3:*"])))


@case("role.channel", "warn", "depends on the request")
def role_under_condition(world: World) -> Findings:
    condition = {"StringEquals": {"aws:SourceVpc": "vpc-1"}}
    return world.check("demo/" + world.family(world.role(Condition=condition)))


@case("role.channel", "ok")
def role_in_this_region(world: World) -> Findings:
    condition = {"StringEquals": {"aws:RequestedRegion": world.region}}
    return world.check("demo/" + world.family(world.role(Condition=condition)))


@case("role.key", "fail", "kms:Decrypt")
@case("role.log-group", "fail", "logs:PutLogEvents")
@case("role.bucket", "fail", "s3:PutObject")
def role_with_channel_only(world: World) -> Findings:
    return world.check(f"{whole_cluster(world)['cluster']}/{world.family(world.role())}")


# -- the network ---------------------------------------------------------------------------------


@case("network.owner", "warn", "999999999999")
def shared_vpc(world: World) -> Findings:
    vpc = world.vpc()
    address = vpc.service()

    def give_away(ec2: Any) -> None:
        (subnet,) = ec2.describe_subnets(subnet_ids=[vpc.subnet])
        kind = type(subnet)
        subnet.__class__ = type("Shared", (kind,), {"owner_id": "999999999999"})

    world.backend("ec2", give_away)
    return world.check(address)


@case("network.route", "fail", "no default route")
def no_way_out(world: World) -> Findings:
    return world.check(world.vpc().service())


@case("network.public-address", "fail", "no public address")
def private_behind_gateway(world: World) -> Findings:
    vpc = world.vpc()
    vpc.gateway()
    return world.check(vpc.service())


@case("network.egress", "fail", "no HTTPS out")
def closed_group(world: World) -> Findings:
    vpc = world.vpc()
    vpc.gateway()
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    vpc.ec2.revoke_security_group_egress(GroupId=vpc.group, IpPermissions=everything)
    return world.check(vpc.service(public=True))


@case("network.egress", "warn", "some networks only")
def narrow_group(world: World) -> Findings:
    vpc = world.vpc()
    vpc.gateway()
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    vpc.ec2.revoke_security_group_egress(GroupId=vpc.group, IpPermissions=everything)
    some = [
        {
            "IpProtocol": "tcp",
            "FromPort": 443,
            "ToPort": 443,
            "IpRanges": [{"CidrIp": "192.0.2.0/24"}],
        }
    ]
    vpc.ec2.authorize_security_group_egress(GroupId=vpc.group, IpPermissions=some)
    return world.check(vpc.service(public=True))


@case("network.acl", "fail", "no HTTPS out")
def closed_acl(world: World) -> Findings:
    return _with_acl(world, egress=True)


@case("network.acl", "fail", "answers")
def acl_without_answers(world: World) -> Findings:
    return _with_acl(world, egress=False)


def _with_acl(world: World, *, egress: bool) -> Findings:
    vpc = world.vpc()
    filters = [{"Name": "vpc-id", "Values": [vpc.id]}]
    (acl,) = vpc.ec2.describe_network_acls(Filters=filters)["NetworkAcls"]
    vpc.ec2.create_network_acl_entry(
        NetworkAclId=acl["NetworkAclId"],
        RuleNumber=50,
        Protocol="6",
        RuleAction="deny",
        Egress=egress,
        CidrBlock="0.0.0.0/0",
        PortRange={"From": 443 if egress else 1024, "To": 443 if egress else 65535},
    )
    return world.check(vpc.service())


@case("network.dns", "fail", "resolves no names")
def no_dns(world: World) -> Findings:
    vpc = world.vpc()
    vpc.ec2.modify_vpc_attribute(VpcId=vpc.id, EnableDnsSupport={"Value": False})
    return world.check(vpc.service())


@case("network.endpoints", "fail", "kms, logs, s3")
@case("endpoint.state", "ok", "ssmmessages")
def one_endpoint_only(world: World) -> Findings:
    vpc = world.vpc()
    vpc.endpoint()
    return world.check(vpc.service(whole_cluster(world)["cluster"]))


@case("endpoint.state", "fail", "pendingAcceptance")
def endpoint_waits(world: World) -> Findings:
    vpc = world.vpc()
    id_ = vpc.endpoint()
    world.backend("ec2", lambda ec2: setattr(ec2.vpc_end_points[id_], "state", "pendingAcceptance"))
    return world.check(vpc.service())


@case("endpoint.private-dns", "fail", "no private DNS")
def endpoint_without_name(world: World) -> Findings:
    vpc = world.vpc()
    vpc.endpoint(PrivateDnsEnabled=False)
    return world.check(vpc.service())


@case("endpoint.private-dns", "warn", "no private DNS")
def endpoint_beside_the_internet(world: World) -> Findings:
    vpc = world.vpc()
    vpc.endpoint(PrivateDnsEnabled=False)
    vpc.gateway()
    return world.check(vpc.service(public=True))


@case("endpoint.private-dns", "fail", "enableDnsHostnames")
def no_host_names(world: World) -> Findings:
    vpc = world.vpc()
    vpc.endpoint()
    vpc.ec2.modify_vpc_attribute(VpcId=vpc.id, EnableDnsHostnames={"Value": False})
    return world.check(vpc.service())


@case("endpoint.security-group", "fail", "not in")
def closed_endpoint(world: World) -> Findings:
    vpc = world.vpc()
    vpc.endpoint(SecurityGroupIds=[vpc.new_group()])
    return world.check(vpc.service())


@case("endpoint.policy", "fail", "ssmmessages:CreateControlChannel")
def endpoint_for_others(world: World) -> Findings:
    vpc = world.vpc()
    other = {"Effect": "Allow", "Principal": "*", "Action": "ssm:*", "Resource": "*"}
    vpc.endpoint(PolicyDocument=document(other))
    return world.check(vpc.service())


# -- the key and the logs ------------------------------------------------------------------------


def with_key(world: World) -> tuple[str, str]:
    """A cluster with a key, a service in it."""
    key = world.aws("kms").create_key()["KeyMetadata"]["Arn"]
    return key, world.service(world.cluster(kmsKeyId=key))


@case("key.usable", "fail", "Disabled")
def disabled_key(world: World) -> Findings:
    key, address = with_key(world)
    world.aws("kms").disable_key(KeyId=key)
    return world.check(address)


@case("key.usable", "fail", "not there")
def missing_key(world: World) -> Findings:
    account = world.sandbox.account_id
    arn = f"arn:aws:kms:{world.region}:{account}:key/00000000-0000-0000-0000-000000000000"
    return world.check(world.service(world.cluster(kmsKeyId=arn)))


@case("key.policy", "fail", "kms:Decrypt")
def key_of_others(world: World) -> Findings:
    key, address = with_key(world)
    policy = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{world.sandbox.account_id}:user/sandbox"},
        "Action": "kms:*",
        "Resource": "*",
    }
    world.aws("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=document(policy))
    return world.check(address)


@case("logging.log-group", "fail", "there is no log group")
def missing_group(world: World) -> Findings:
    config = {"cloudWatchLogGroupName": world.name("/nowhere")}
    return world.check(world.service(world.cluster(logging="OVERRIDE", logConfiguration=config)))


@case("logging.log-group", "fail", "not encrypted")
def plain_group(world: World) -> Findings:
    group = world.name("/plain")
    world.aws("logs").create_log_group(logGroupName=group)
    config = {"cloudWatchLogGroupName": group, "cloudWatchEncryptionEnabled": True}
    return world.check(world.service(world.cluster(logging="OVERRIDE", logConfiguration=config)))


@case("logging.bucket", "fail", "there is no bucket")
def missing_bucket(world: World) -> Findings:
    config = {"s3BucketName": world.name("nowhere-at-all")}
    return world.check(world.service(world.cluster(logging="OVERRIDE", logConfiguration=config)))


# -- the image -----------------------------------------------------------------------------------


@case("image.shell", "fail", "no shell")
@case("image.transcript", "fail", "no shell")
def no_programs(world: World) -> Findings:
    """As in a distroless image: nothing is found on the PATH."""
    environment = [{"name": "PATH", "value": "/nowhere"}]
    role = world.role(["ssmmessages:*", *LOGS])
    family = world.family(role, app={"environment": environment})
    cluster = world.cluster(
        logging="OVERRIDE", logConfiguration={"cloudWatchLogGroupName": "/aws/ecs/web"}
    )
    return world.check(world.run(cluster, family), inside=True)


def told(findings: Findings, id_: str) -> str:
    """Everything that a finding says, for searching in."""
    found = findings.find(id_)
    return json.dumps([found.title, found.evidence, found.cure, found.call]) if found else ""
