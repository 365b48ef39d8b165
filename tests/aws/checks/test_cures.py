"""The commands of findings, run as they stand with the stock AWS CLI, do cure."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ecs_exec_magic.client import Client, Findings

from . import cases
from .conftest import World, long_there

pytestmark = pytest.mark.timeout(180)


def run(world: World, call: str) -> None:
    words = shlex.split(call)
    assert words[0] == "aws"
    done = subprocess.run(
        [sys.executable, "-m", "awscli", *words[1:]],
        env={**os.environ, **world.sandbox.environment, "AWS_PAGER": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, (call, done.stderr)


def cured(world: World, id_: str, found: Findings, client: Client | None = None) -> Findings:
    """Run the call of a finding, check again, and see that it is gone."""
    finding = found.find(id_)
    assert finding is not None
    assert finding.status in ("warn", "fail")
    run(world, finding.call)
    again = (client or world.admin).check(found.where, inside=False)
    after = again.find(id_)
    assert after is None or after.status != "fail", (finding.call, after)
    if finding.status == "warn":
        assert after is None or after.status == "ok", (finding.call, after)
    return again


@pytest.mark.parametrize(
    ("id_", "make"),
    [
        ("service.exec-enabled", cases.service_without_exec),
        ("service.deployment", cases.service_without_tasks),
        ("role.channel", cases.role_without_channel),
        ("role.channel", cases.poor_role_of_the_instance),
        ("role.trust", cases.role_that_is_gone),
        ("role.trust", cases.role_of_lambda),
        ("role.trust", cases.role_of_instances_only),
        ("network.route", cases.no_way_out),
        ("network.public-address", cases.private_behind_gateway),
        ("network.egress", cases.closed_group),
        ("network.dns", cases.no_dns),
        ("endpoint.private-dns", cases.no_host_names),
        ("endpoint.security-group", cases.closed_endpoint),
        ("key.usable", cases.disabled_key),
        ("logging.log-group", cases.missing_group),
        ("logging.bucket", cases.missing_bucket),
    ],
)
def test_of_cases(world: World, id_: str, make: Callable[[World], Findings]) -> None:
    cured(world, id_, make(world))


def test_of_endpoints_one_after_the_other(world: World) -> None:
    found = cases.one_endpoint_only(world)
    for _ in ("kms", "logs", "s3"):
        finding = found.find("network.endpoints")
        assert finding is not None
        assert finding.status == "fail"
        run(world, finding.call)
        found = world.check(found.where)
    after = found.find("network.endpoints")
    assert after is not None
    assert after.status == "ok"


def test_of_a_role_that_lacks_everything(world: World) -> None:
    found = cases.role_with_channel_only(world)
    for id_ in ("role.key", "role.log-group", "role.bucket"):
        found = cured(world, id_, found)
    assert not [each for each in found.failed if each.id.startswith("role.")]


def test_of_a_role_whose_policy_has_a_part(world: World) -> None:
    """The call writes the whole policy: what it has by now is not taken away for the rest."""
    role = world.role(["logs:PutLogEvents"])
    address = f"{cases.whole_cluster(world)['cluster']}/{world.family(role)}"
    for id_ in ("role.channel", "role.log-group"):
        cured(world, id_, world.check(address))
    world.aws("iam").delete_role_policy(RoleName=role, PolicyName="p")
    found = world.check(address)
    for id_ in ("role.channel", "role.log-group"):
        assert found.find(id_).status == "ok", found  # type: ignore[union-attr]


def test_of_a_role_in_two_clusters(world: World) -> None:
    role = world.role()
    family = world.family(role)
    places = []
    for _ in range(2):
        key = world.aws("kms").create_key()["KeyMetadata"]["Arn"]
        places.append(f"{world.cluster(kmsKeyId=key)}/{family}")
    for each in places:
        cured(world, "role.key", world.check(each))
    assert world.check(places[0]).find("role.key").status == "ok"  # type: ignore[union-attr]


def test_of_a_trust_policy_keeps_the_rest(world: World) -> None:
    role = world.role(service="lambda")
    cured(world, "role.trust", world.check("demo/" + world.family(role)))
    trust = world.aws("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    services = [each["Principal"]["Service"] for each in trust["Statement"]]
    assert services == ["lambda.amazonaws.com", "ecs-tasks.amazonaws.com"]


def test_of_public_addresses_keeps_the_rest(world: World) -> None:
    vpc = world.vpc()
    vpc.gateway()
    second = vpc.ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.7.2.0/24")["Subnet"]["SubnetId"]
    network = world.network(vpc.subnet, vpc.group, False)
    network["awsvpcConfiguration"]["subnets"].append(second)
    address = world.service("demo", networkConfiguration=network)
    cured(world, "network.public-address", world.check(address))
    api, name = world.aws("ecs"), address.partition("/")[2]
    (service,) = api.describe_services(cluster="demo", services=[name])["services"]
    now = service["networkConfiguration"]["awsvpcConfiguration"]
    assert set(now["subnets"]) == {vpc.subnet, second}
    assert now["securityGroups"] == [vpc.group]
    assert now["assignPublicIp"] == "ENABLED"


@pytest.mark.parametrize(
    ("id_", "make"),
    [
        ("role.present", cases.no_role),
        ("role.channel", cases.role_under_condition),
        ("network.acl", cases.closed_acl),
    ],
)
def test_of_what_people_decide(world: World, id_: str, make: Callable[[World], Findings]) -> None:
    finding = make(world).find(id_)
    assert finding is not None
    assert (finding.ok, finding.call) == (False, "")


@pytest.mark.parametrize(
    ("id_", "denied", "address"),
    [
        ("caller.execute-command", "ecs:ExecuteCommand", "demo/worker"),
        ("caller.resume-session", "ssm:ResumeSession", "demo/worker"),
        ("caller.data-key", "kms:GenerateDataKey", ""),
    ],
)
def test_of_callers(world: World, id_: str, denied: str, address: str) -> None:
    others = {"Effect": "Allow", "NotAction": denied, "Resource": "*"}
    client = world.user(statements=[others])
    address = address or world.service(cases.whole_cluster(world)["cluster"])
    found = client.check(address, inside=False)
    again = cured(world, id_, found, client)
    assert again.find(id_).status == "ok"  # type: ignore[union-attr]


def test_of_callers_that_can_go_around(world: World) -> None:
    client = world.user()
    again = cured(world, "caller.start-session", client.check("demo/worker", inside=False), client)
    assert again.find("caller.start-session").status == "ok"  # type: ignore[union-attr]


def test_of_sessions(world: World) -> None:
    made: Any = cases.full_of_sessions(world)
    try:
        cured(world, "sessions.in-use", next(made))
    finally:
        made.close()


def test_commands_run_once_the_role_may_connect(world: World) -> None:
    """From an error to a command that runs, by the call in the error's cure alone."""
    from ecs_exec_magic.errors import AgentNotConnected

    address = world.run("demo", world.family(world.role(["s3:GetObject"])))
    long_there(world, address)
    target = world.admin.target(address)
    with pytest.raises(AgentNotConnected) as caught:
        target.run("true")
    (finding,) = caught.value.findings
    assert finding.call in caught.value.cure
    run(world, finding.call)
    assert world.admin.target(address).run("echo it works").stdout == "it works\n"
