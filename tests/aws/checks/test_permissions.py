"""A permission that is missing makes one finding unknown, and no more."""

from __future__ import annotations

import pytest

from ecs_exec_magic.aws.checks import CHECKS
from ecs_exec_magic.client import Findings
from ecs_exec_magic.errors import CredentialsError, InvalidRequest, TargetNotFound

from .cases import whole_cluster
from .conftest import World

pytestmark = pytest.mark.timeout(180)

# Permissions whose absence a check of its own tells as a failure, not as something unknown.
TOLD = {"ecs:DescribeTasks": "caller.describe-tasks", "ecs:ExecuteCommand": "caller"}
PERMISSIONS = sorted({each for check in CHECKS.values() for each in check.needs} - set(TOLD))
SESSIONS = {"ssm:TerminateSession", "kms:GenerateDataKey"}  # what every session needs
OF_INSTANCES = ("ecs:DescribeContainerInstances", "ec2:DescribeInstances", "iam:GetInstanceProfile")
NEEDS_NOTHING = {"sts:GetCallerIdentity"}  # as on AWS


@pytest.fixture(scope="module")
def address(world: World) -> str:
    """A service in a VPC with an endpoint, in a cluster with everything."""
    role = world.role(["ssmmessages:*", "logs:*", "s3:*", "kms:*"])
    vpc = world.vpc()
    vpc.endpoint()
    network = world.network(vpc.subnet, vpc.group, public=False)
    cluster = whole_cluster(world)["cluster"]
    family = world.family(role)
    return world.service(cluster, family, desiredCount=1, networkConfiguration=network)


@pytest.fixture(scope="module")
def before(world: World, address: str) -> Findings:
    found = world.check(address)
    assert not [each for each in found if each.status == "unknown"], found
    return found


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_one_denied(world: World, address: str, before: Findings, permission: str) -> None:
    if permission in OF_INSTANCES:
        address, before = _on_an_instance(world)
    found = world.user(permission).check(address, inside=False)
    unknown = [each for each in found if each.status == "unknown"]
    if permission in NEEDS_NOTHING:
        assert unknown == []
        return
    assert len(unknown) == 1, found
    said = unknown[0].title + unknown[0].evidence + unknown[0].cure
    needed = "s3:HeadBucket" if permission == "s3:ListBucket" else permission
    assert permission in said or needed in said
    # What is not told any more is named in the one that is not known, and all else is as before.
    rest = {each.id: each.status for each in found if each is not unknown[0]}
    was = {each.id: each.status for each in before}
    for id_, status in was.items():
        if id_ in rest:
            assert rest[id_] == status or id_.startswith("caller."), found
        else:
            assert id_ == unknown[0].id or id_ in unknown[0].evidence, (id_, found)


def _on_an_instance(world: World) -> tuple[str, Findings]:
    cluster = world.cluster()
    world.instance(cluster, profile=world.profile(world.role(service="ec2")))
    address = world.run_on_instance(cluster, None)
    return address, world.check(address)


@pytest.mark.parametrize("on_instance", [False, True])
def test_what_is_listed_is_enough(world: World, address: str, *, on_instance: bool) -> None:
    """Who has the permissions that checks say they need, and no other, learns everything."""
    if on_instance:
        address, _ = _on_an_instance(world)
    actions = sorted({each for check in CHECKS.values() for each in check.needs} | SESSIONS)
    allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    found = world.user(statements=[allow]).check(address, agent_log=True)
    denied = [each for each in found if each.status == "unknown" and "denied" in str(each)]
    assert denied == [], found


def test_every_check_says_what_it_needs() -> None:
    assert all(check.needs for id_, check in CHECKS.items() if id_ != "local.boto3")


def test_tasks_that_may_not_be_described(world: World, address: str) -> None:
    found = world.user("ecs:DescribeTasks").check(address, inside=False)
    by_id = {each.id: each for each in found}
    assert by_id["caller.describe-tasks"].status == "fail"
    unknown = [each for each in found if each.status == "unknown"]
    assert [each.id for each in unknown] == ["service.exec-enabled"]
    assert "ecs:DescribeTasks" in unknown[0].title


def test_nothing_but_the_right_to_list(world: World, address: str) -> None:
    lists = {"Effect": "Allow", "Action": ["ecs:List*", "ecs:DescribeTasks"], "Resource": "*"}
    found = world.user(statements=[lists]).check(address, inside=False)
    assert found.worst == "unknown"
    assert found.find("task.exec-enabled").status == "ok"  # type: ignore[union-attr]
    titles = " ".join(each.title for each in found if each.status == "unknown")
    for action in ("iam:SimulatePrincipalPolicy", "ecs:DescribeClusters", "ssm:DescribeSessions"):
        assert action in titles


def test_throttling_is_waited_for(world: World, address: str, before: Findings) -> None:
    world.sandbox.faults.throttle = {"DescribeClusters": 1, "SimulatePrincipalPolicy": 2}
    try:
        found = world.check(address)
    finally:
        world.sandbox.faults.throttle = {}
    assert [(each.id, each.status) for each in found] == [(each.id, each.status) for each in before]


def test_credentials_that_have_expired(world: World) -> None:
    world.sandbox.faults.expire_credentials = True
    try:
        with pytest.raises(CredentialsError):
            world.check("demo/web")
    finally:
        world.sandbox.faults.expire_credentials = False


def test_what_is_not_there(world: World) -> None:
    with pytest.raises(TargetNotFound, match="no cluster"):
        world.check("nowhere/web")
    with pytest.raises(TargetNotFound, match="wbe"):
        world.check("demo/wbe")
    with pytest.raises(TargetNotFound, match="container"):
        world.check("demo/web:apache")
    with pytest.raises(InvalidRequest):
        world.check("demo/web:a b")


@pytest.mark.parametrize("address", ["demo", "demo/"])
def test_a_whole_cluster(world: World, address: str) -> None:
    found = world.check(address)
    assert found.where == "demo"
    assert {"demo/web", "demo/worker"} <= set(found.services)
    assert "no-exec" in str(found) or found.find("task.exec-enabled").status == "fail"  # type: ignore[union-attr]
    assert found.find("agent.running").status == "fail"  # type: ignore[union-attr]


def test_words_say_the_same(world: World) -> None:
    service = world.admin.check(cluster="demo", service="worker", inside=False)
    assert service.where == "demo/worker"
    assert service.services == ("demo/worker",)
    family = world.admin.check(cluster="demo", family="no-exec", inside=False)
    assert family.find("task.exec-enabled").status == "fail"  # type: ignore[union-attr]
    target = world.admin.target("demo/web:sidecar")
    one = world.admin.check(target.address, inside=False)
    assert one.find("agent.running").title == "1 exec agent runs"  # type: ignore[union-attr]
    by_arn = world.admin.check(target.task_arn, inside=False)
    assert by_arn.find("agent.running").title == "2 exec agents run"  # type: ignore[union-attr]
    cluster = world.admin.check(cluster="demo", inside=False)
    assert cluster.where == "demo"


def test_progress_is_told_in_this_thread(world: World) -> None:
    import threading

    here = threading.get_ident()
    told: list[tuple[str, int, int]] = []

    def tell(id_: str, done: int, total: int) -> None:
        assert threading.get_ident() == here
        told.append((id_, done, total))

    world.check("demo/worker", progress=tell)
    assert [done for _, done, _ in told] == list(range(1, len(CHECKS) + 1))
    assert {id_ for id_, _, _ in told} == set(CHECKS)


def test_nothing_is_changed(world: World, address: str) -> None:
    """A check makes read-only calls, and sessions only where it may look inside."""
    names, _ = world.called(lambda: world.check(address))
    reads = ("Describe", "List", "Get", "Simulate", "Head")
    assert names
    assert [name for name in names if not name.startswith(reads)] == []
