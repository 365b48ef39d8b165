"""Every sentence of the rules of addressing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ecs_exec_magic.aws.listing import list_tasks
from ecs_exec_magic.aws.targets import find, resolve
from ecs_exec_magic.aws.tasks import list_clusters, list_services, with_public_addresses
from ecs_exec_magic.errors import (
    AccessDenied,
    AgentNotConnected,
    AmbiguousTarget,
    CredentialsError,
    ExecNotEnabled,
    InvalidRequest,
    TargetNotFound,
)

from .fake import ACCOUNT, NOW, REGION, FakeAws, Refusal, task_id


def hours(number: float) -> Any:
    return NOW - timedelta(hours=number)


@pytest.fixture
def aws() -> FakeAws:
    """The cluster ``prod``: service web of 3 tasks, api of 1, batch on its own."""
    aws = FakeAws()
    both = ("nginx", "sidecar")
    aws.task("prod", "web", 0xA1, service="web", containers=both, started=hours(1))
    aws.task("prod", "web", 0xA2, service="web", containers=both, started=hours(3))
    aws.task("prod", "web", 0xA3, service="web", containers=both, started=hours(2))
    aws.task("prod", "api-td", 0xB1, service="api", started=hours(5))
    aws.task("prod", "batch", 0xC1, started=hours(9))
    return aws


async def ids(aws: FakeAws, *address: str, **options: Any) -> list[str]:
    refs = await resolve(aws.api(), *address, **options)
    return [f"{ref.task_id[:6]}:{ref.container}" for ref in refs]


# -- what a name means ---------------------------------------------------------------------------


async def test_service_gives_the_task_that_has_run_longest_and_says_so(aws: FakeAws) -> None:
    found = await find(aws.api(), "prod/web:nginx")
    (ref,) = found.refs
    assert ref.address == f"prod/{task_id(0xA2)}:nginx"
    assert (ref.cluster, ref.service, ref.family, ref.region) == ("prod", "web", "web", REGION)
    assert ref.runtime_id == f"{ref.task_id}-0"
    assert ref.session_target == f"ecs:prod_{ref.task_id}_{ref.runtime_id}"
    assert "3 running tasks" in found.note
    assert ref.task_id in found.note
    assert "longest" in found.note


async def test_nothing_was_chosen_so_nothing_is_said(aws: FakeAws) -> None:
    found = await find(aws.api(), "prod/api")
    assert found.note == ""
    assert [each.container for each in found.refs] == ["app"]


async def test_all_gives_every_task_oldest_first(aws: FakeAws) -> None:
    assert await ids(aws, "prod/web:nginx", want="all") == [
        "0000a2:nginx",
        "0000a3:nginx",
        "0000a1:nginx",
    ]


async def test_star_is_every_container(aws: FakeAws) -> None:
    found = await ids(aws, "prod/web:*", want="all")
    assert len(found) == 6
    assert found[:2] == ["0000a2:nginx", "0000a2:sidecar"]


async def test_whole_task_id_takes_one_call(aws: FakeAws) -> None:
    assert await ids(aws, f"prod/{task_id(0xA3)}:sidecar") == ["0000a3:sidecar"]
    assert [name for name, _ in aws.calls] == ["DescribeTasks"]


async def test_canonical_address_is_accepted_back(aws: FakeAws) -> None:
    for ref in await resolve(aws.api(), "prod/web:*", want="all"):
        assert await resolve(aws.api(), ref.address) == [ref]


async def test_prefix_of_a_task_id(aws: FakeAws) -> None:
    assert await ids(aws, "prod/0000a3:nginx") == ["0000a3:nginx"]
    assert await ids(aws, cluster="prod", task="0000a30", container="nginx") == ["0000a3:nginx"]


async def test_prefix_of_two_task_ids_lists_them(aws: FakeAws) -> None:
    aws.task("prod", "batch", "abcdef01" + "0" * 24)
    aws.task("prod", "batch", "abcdef02" + "0" * 24)
    for options in ({"address": "prod/abcdef"}, {"cluster": "prod", "task": "abcdef0"}):
        with pytest.raises(AmbiguousTarget) as caught:
            await resolve(aws.api(), **options)  # type: ignore[arg-type]  # options by name
        assert caught.value.choices == (
            f"prod/abcdef01{'0' * 24}",
            f"prod/abcdef02{'0' * 24}",
        )
        assert "abcdef01" in str(caught.value)


async def test_prefix_shorter_than_six_is_no_prefix(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound) as caught:
        await resolve(aws.api(), "prod/0000a")
    assert "6" in caught.value.cure


async def test_family(aws: FakeAws) -> None:
    assert await ids(aws, "prod/batch") == ["0000c1:app"]
    assert await ids(aws, "prod/api-td") == ["0000b1:app"]


async def test_task_arn_with_and_without_container(aws: FakeAws) -> None:
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/prod/{task_id(0xA1)}"
    assert await ids(aws, f"{arn}:nginx") == ["0000a1:nginx"]
    assert await ids(aws, arn, container="sidecar") == ["0000a1:sidecar"]
    assert await ids(aws, task=arn, container="sidecar") == ["0000a1:sidecar"]
    with pytest.raises(AmbiguousTarget):
        await ids(aws, arn)


async def test_service_arn(aws: FakeAws) -> None:
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/prod/web"
    assert await ids(aws, f"{arn}:nginx") == ["0000a2:nginx"]
    assert len(await ids(aws, service=arn, container="nginx", want="all")) == 3


async def test_cluster_of_an_arn_wins_over_the_clients(aws: FakeAws) -> None:
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/prod/api"
    (ref,) = await resolve(aws.api(cluster="other"), arn)
    assert ref.cluster == "prod"


async def test_old_arn_without_cluster_uses_the_clients(aws: FakeAws) -> None:
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/api"
    (ref,) = await resolve(aws.api(cluster="prod"), arn)
    assert ref.cluster == "prod"


async def test_without_cluster_the_default_one_is_meant(aws: FakeAws) -> None:
    aws.task("default", "web", 0xD1, service="web")
    assert await ids(aws, "web") == ["0000d1:app"]
    (ref,) = await resolve(aws.api(cluster="prod"), "api")
    assert ref.task_id == task_id(0xB1)
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/prod"
    (ref,) = await resolve(aws.api(cluster=arn), "api")
    assert ref.task_id == task_id(0xB1)


@pytest.mark.parametrize(
    "options",
    [
        {"service": "web", "container": "nginx"},
        {"family": "web", "container": "nginx"},
        {"address": "web", "container": "nginx"},
        {"address": "web:nginx", "service": "web", "container": "nginx"},
        {"address": "prod/web", "container": "nginx"},
        {"address": "web:nginx", "family": "web"},
    ],
)
async def test_options_say_the_same(aws: FakeAws, options: dict[str, str]) -> None:
    assert await ids(aws, cluster="prod", **options) == ["0000a2:nginx"]
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/prod"
    assert await ids(aws, cluster=arn, **options) == ["0000a2:nginx"]


# -- a service and a family of one name ----------------------------------------------------------


async def test_service_wins_over_a_family_of_its_own_tasks(aws: FakeAws) -> None:
    aws.task("prod", "web", 0xA9, containers=("nginx", "sidecar"), started=hours(99))
    assert await ids(aws, "prod/web:nginx") == ["0000a2:nginx"]
    assert len(await ids(aws, "prod/web:nginx", want="all")) == 3


async def test_family_option_includes_stand_alone_tasks(aws: FakeAws) -> None:
    aws.task("prod", "web", 0xA9, containers=("nginx", "sidecar"), started=hours(99))
    assert await ids(aws, cluster="prod", family="web", container="nginx") == ["0000a9:nginx"]
    every = await ids(aws, cluster="prod", family="web", container="nginx", want="all")
    assert len(every) == 4


async def test_service_and_a_foreign_family_are_ambiguous(aws: FakeAws) -> None:
    aws.task("prod", "api", 0xE1)  # service api runs family api-td
    for want in ("one", "all"):
        with pytest.raises(AmbiguousTarget) as caught:
            await ids(aws, "prod/api", want=want)
        assert set(caught.value.choices) == {f"prod/{task_id(0xB1)}", f"prod/{task_id(0xE1)}"}
        assert "--service api" in caught.value.cure
        assert "--family api" in caught.value.cure
    assert await ids(aws, cluster="prod", service="api") == ["0000b1:app"]
    assert await ids(aws, cluster="prod", family="api") == ["0000e1:app"]


async def test_service_without_tasks_still_wins_over_its_family(aws: FakeAws) -> None:
    aws.service("prod", "batch", family="batch", desiredCount=0)
    with pytest.raises(TargetNotFound, match="service prod/batch has no running task") as caught:
        await ids(aws, "prod/batch")
    assert "desired count is 0" in caught.value.cause
    assert "--desired-count 1" in caught.value.cure
    assert await ids(aws, cluster="prod", family="batch") == ["0000c1:app"]


async def test_service_whose_name_begins_a_task_id(aws: FakeAws) -> None:
    aws.task("prod", "x", "facade01" + "0" * 24, service="facade")
    assert await ids(aws, "prod/facade") == ["facade:app"]  # both mean the same task
    aws.task("prod", "x", "facade02" + "0" * 24, service="facade")
    assert len(await ids(aws, "prod/facade", want="all")) == 2
    aws.task("prod", "y", "facade03" + "0" * 24)
    with pytest.raises(AmbiguousTarget, match="different tasks") as caught:
        await ids(aws, "prod/facade")
    assert len(caught.value.choices) == 3
    assert len(await ids(aws, cluster="prod", service="facade", want="all")) == 2


# -- containers ----------------------------------------------------------------------------------


async def test_several_containers_and_none_named(aws: FakeAws) -> None:
    for want in ("one", "all"):
        with pytest.raises(AmbiguousTarget) as caught:
            await ids(aws, "prod/web", want=want)
        assert caught.value.choices == ("prod/web:nginx", "prod/web:sidecar")
        assert caught.value.choices[0] in caught.value.cure
    assert await ids(aws, caught.value.choices[0]) == ["0000a2:nginx"]


async def test_a_stopped_container_still_counts(aws: FakeAws) -> None:
    aws.task("prod", "job", 0xF1, containers=("main", "log"), container_status={"main": "STOPPED"})
    with pytest.raises(AmbiguousTarget):
        await ids(aws, "prod/job")
    with pytest.raises(TargetNotFound, match="STOPPED"):
        await ids(aws, "prod/job:main")
    assert await ids(aws, "prod/job:*", want="all") == ["0000f1:log"]


async def test_containers_that_aws_put_in_do_not_count(aws: FakeAws) -> None:
    names = ("main", "ecs-service-connect-aBcD", "aws-guardduty-agent-xyz")
    aws.task("prod", "mesh", 0xF2, containers=names)
    assert await ids(aws, "prod/mesh") == ["0000f2:main"]
    assert await ids(aws, "prod/mesh:*", want="all") == ["0000f2:main"]
    assert await ids(aws, f"prod/mesh:{names[1]}") == [f"0000f2:{names[1]}"]


async def test_unknown_container_lists_those_there_are(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound, match="no container 'ngnix'") as caught:
        await ids(aws, "prod/web:ngnix")
    assert "nginx, sidecar" in caught.value.cause


async def test_star_is_not_one(aws: FakeAws) -> None:
    with pytest.raises(InvalidRequest, match="every container"):
        await ids(aws, "prod/api:*")
    assert aws.calls == []


# -- the exec agent ------------------------------------------------------------------------------


async def test_tasks_whose_agent_does_not_run_are_passed_over(aws: FakeAws) -> None:
    aws.tasks[1].agent = "STOPPED"
    found = await find(aws.api(), "prod/web:nginx")
    assert found.refs[0].task_id == task_id(0xA3)
    assert "agent" in found.note
    aws.tasks[2].exec_enabled = False
    found = await find(aws.api(), "prod/web:nginx")
    assert found.refs[0].task_id == task_id(0xA1)
    assert len(await ids(aws, "prod/web:nginx", want="all")) == 3


async def test_exec_not_enabled(aws: FakeAws) -> None:
    aws.tasks[3].exec_enabled = False
    aws.tasks[4].exec_enabled = False
    with pytest.raises(ExecNotEnabled, match="not enabled") as caught:
        await ids(aws, "prod/api")
    assert "--enable-execute-command --force-new-deployment" in caught.value.cure
    assert "--cluster prod --service api" in caught.value.cure
    with pytest.raises(ExecNotEnabled) as caught:
        await ids(aws, "prod/batch")
    assert "run-task --enable-execute-command" in caught.value.cure
    assert await ids(aws, "prod/api", want="all") == ["0000b1:app"]


async def test_agent_stopped_with_its_reason(aws: FakeAws) -> None:
    aws.tasks[3].agent = "STOPPED"
    aws.tasks[3].agent_reason = "ExecuteCommandAgent process exited with exit code: 1"
    with pytest.raises(AgentNotConnected, match="STOPPED") as caught:
        await ids(aws, "prod/api")
    assert "exit code: 1" in caught.value.cause
    assert await ids(aws, "prod/api", want="all") == ["0000b1:app"]


async def test_agent_pending_and_agent_missing(aws: FakeAws) -> None:
    aws.tasks[3].agent = "PENDING"
    with pytest.raises(AgentNotConnected, match="starting"):
        await ids(aws, "prod/api")
    aws.tasks[3].agent = ""
    with pytest.raises(AgentNotConnected, match="no exec agent"):
        await ids(aws, "prod/api")


async def test_no_task_of_several_takes_commands(aws: FakeAws) -> None:
    for task in aws.tasks[:3]:
        task.agent, task.agent_reason = "STOPPED", "out of memory"
    with pytest.raises(AgentNotConnected) as caught:
        await ids(aws, "prod/web:nginx")
    assert "out of memory" in caught.value.cause
    assert "other 2 tasks" in caught.value.cause


# -- what is not there ---------------------------------------------------------------------------


async def test_unknown_name_lists_what_is_there(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "prod/wbe")
    error = caught.value
    assert "'wbe'" in str(error)
    assert REGION in str(error)
    assert "services: api, web" in error.cause
    assert "families that run: api-td, batch, web" in error.cause
    assert "prod/web" in error.cure


async def test_unknown_name_in_the_default_cluster_tells_of_others(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "web")
    assert "others are: prod" in caught.value.cause


async def test_long_lists_are_cut(aws: FakeAws) -> None:
    for number in range(30):
        aws.service("prod", f"svc{number:02}")
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "prod/nothing-like-it")
    assert "and 22 more" in caught.value.cause
    assert len(caught.value.cause) < 400


@pytest.mark.parametrize("options", [{"service": "nope"}, {"family": "nope"}, {"task": "abcdef12"}])
async def test_unknown_by_option(aws: FakeAws, options: dict[str, str]) -> None:
    (kind,) = options
    with pytest.raises(TargetNotFound, match=f"no {kind}"):
        await ids(aws, cluster="prod", **options)


async def test_whole_id_and_arn_that_are_gone(aws: FakeAws) -> None:
    gone = "f" * 32
    for address in (f"prod/{gone}", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/prod/{gone}"):
        with pytest.raises(TargetNotFound, match=gone):
            await ids(aws, address)


async def test_unknown_cluster(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound, match=f"no cluster 'porod' in {REGION}") as caught:
        await ids(aws, "porod/web")
    assert "default, prod" in caught.value.cause
    assert "did you mean prod" in caught.value.cure


async def test_no_default_cluster(aws: FakeAws) -> None:
    aws.clusters.remove("default")
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "web")
    assert "no cluster was named" in caught.value.cause
    assert "prod" in caught.value.cause
    assert "prod/NAME" in caught.value.cure


async def test_looking_around_may_be_denied(aws: FakeAws) -> None:
    denied = Refusal("AccessDeniedException", "User: arn:aws:iam::1:user/me is not authorized")
    aws.always["ListServices"] = aws.always["ListClusters"] = denied
    with pytest.raises(TargetNotFound, match="nope"):
        await ids(aws, "prod/nope")
    with pytest.raises(TargetNotFound, match="no cluster"):
        await ids(aws, "nope/nope")


async def test_denied_is_said(aws: FakeAws) -> None:
    aws.always["ListTasks"] = Refusal(
        "AccessDeniedException",
        "User: arn:aws:iam::1:user/me is not authorized to perform: ecs:ListTasks on resource: *",
    )
    with pytest.raises(AccessDenied, match="ecs:ListTasks"):
        await ids(aws, "prod/web:nginx")


@pytest.mark.parametrize(
    ("code", "word"),
    [("UnrecognizedClientException", "configure list"), ("ExpiredTokenException", "sso login")],
)
async def test_credentials_that_are_refused(aws: FakeAws, code: str, word: str) -> None:
    refusal = Refusal(code, "The security token included in the request is not taken")
    aws.always = {"ListTasks": refusal, "DescribeTasks": refusal}
    for address in ("prod/web:nginx", f"prod/{task_id(0xA1)}"):
        with pytest.raises(CredentialsError) as caught:
            await ids(aws, address)
        assert word in caught.value.cure


async def test_service_that_is_starting(aws: FakeAws) -> None:
    aws.service("prod", "new", desiredCount=2, pendingCount=2)
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "prod/new")
    assert "2 of 2 tasks are starting" in caught.value.cause
    aws.task("prod", "new", 0xF7, service="new", status="PENDING", started=None)
    with pytest.raises(TargetNotFound, match="PENDING"):
        await ids(aws, "prod/new")


async def test_service_that_was_deleted(aws: FakeAws) -> None:
    aws.service("prod", "old", status="INACTIVE")
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "prod/old")
    assert "INACTIVE" in caught.value.cause


async def test_service_whose_tasks_die_says_why(aws: FakeAws) -> None:
    aws.service("prod", "bad", events=[{"message": "unable to place a task"}])
    aws.task(
        "prod",
        "bad",
        0xF8,
        service="bad",
        status="STOPPED",
        desired="STOPPED",
        stopped_reason="CannotPullContainerError",
    )
    with pytest.raises(TargetNotFound) as caught:
        await ids(aws, "prod/bad")
    assert "unable to place a task" in caught.value.cause
    assert "CannotPullContainerError" in caught.value.cause


async def test_service_whose_tasks_are_all_stopping(aws: FakeAws) -> None:
    aws.service("prod", "going", desiredCount=2)
    for number in (0xF9, 0xFA):
        aws.task(
            "prod",
            "going",
            number,
            service="going",
            status="STOPPING",
            desired="STOPPED",
            stopped_reason="Scaling activity",
        )
    with pytest.raises(TargetNotFound, match="service prod/going has no running task") as caught:
        await ids(aws, "prod/going")
    assert "2 of its tasks are stopping (" in caught.value.cause
    assert task_id(0xF9) in caught.value.cause
    assert "): Scaling activity" in caught.value.cause
    assert "what takes commands in prod: " in caught.value.cause
    assert "web:nginx" in caught.value.cause
    assert "going" not in caught.value.cause.partition("what takes")[2]
    assert "wait until" in caught.value.cure


async def test_stopped_task_says_why(aws: FakeAws) -> None:
    aws.tasks[4].status = aws.tasks[4].desired = "STOPPED"
    aws.tasks[4].stopped_reason = "Essential container in task exited"
    with pytest.raises(TargetNotFound, match="has stopped") as caught:
        await ids(aws, f"prod/{task_id(0xC1)}")
    assert "Essential" in caught.value.cause
    with pytest.raises(TargetNotFound, match="no task of family 'batch' runs") as caught:
        await ids(aws, cluster="prod", family="batch")
    assert "Essential" in caught.value.cause


# -- what cannot be asked ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("prod/web:nginx", {"container": "sidecar"}),
        ("prod/web", {"cluster": "demo"}),
        ("prod/web", {"service": "api"}),
        ("prod/web", {"task": "abcdef12"}),
        (None, {"service": "a", "task": "abcdef12"}),
        (None, {"service": "a", "family": "a"}),
        (None, {"cluster": "prod"}),
        (None, {}),
        ("", {}),
        ("a/b/c", {}),
        ("web:", {}),
        ("/web", {}),
        ("web:7:nginx", {}),
        ("we b", {}),
        (None, {"family": "web:7"}),
        (None, {"service": ""}),
        (None, {"cluster": "a/b", "service": "web"}),
        (None, {"service": "web", "container": "a b"}),
        (None, {"service": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/prod/{'0' * 32}"}),
        (f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/prod", {}),
        (f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/web:7", {}),
        ("arn:aws:s3:::bucket", {}),
        (f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/prod/web", {}),
        ("web", {"cluster": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/prod"}),
        (None, {"cluster": "prod", "task": "not-a-task"}),
    ],
)
async def test_what_cannot_be_asked_calls_nothing(
    aws: FakeAws, address: str | None, options: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest):
        await resolve(aws.api(), address, **options)  # type: ignore[arg-type]  # options by name
    assert aws.calls == []


async def test_another_region_says_which_to_give(aws: FakeAws) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await ids(aws, f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/prod/web")
    assert "us-east-1" in caught.value.cure
    assert REGION in str(caught.value)


# -- few calls, big clusters, tables -------------------------------------------------------------


async def test_described_in_batches_of_a_hundred() -> None:
    aws = FakeAws(page=100)
    for number in range(250):
        aws.task("prod", "big", number, service="big", started=hours(number))
    refs = await resolve(aws.api(), "prod/big", want="all")
    assert len({ref.task_id for ref in refs}) == 250
    assert aws.count("DescribeTasks") == 3
    (ref,) = await resolve(aws.api(), "prod/big")
    assert ref.task_id == task_id(249)


async def test_tables(aws: FakeAws) -> None:
    api = aws.api()
    assert await list_clusters(api) == ["default", "prod"]
    assert await list_services(api, "prod") == ["api", "web"]
    tasks = await list_tasks(api, "prod", tags=True)
    assert [task.task_id[:6] for task in tasks] == [
        "0000c1",
        "0000b1",
        "0000a2",
        "0000a3",
        "0000a1",
    ]
    first = tasks[0]
    assert first.tags == {"environment": "production"}
    assert (first.zone, first.revision, first.exec_state) == (f"{REGION}a", 7, "on")
    assert first.age is not None
    aws.tasks[4].exec_enabled = False
    aws.tasks[3].agent, aws.tasks[3].agent_reason = "STOPPED", "no memory"
    tasks = await list_tasks(api, "prod")
    assert "not enabled" in tasks[0].exec_state
    assert tasks[1].exec_state == "off: agent of app is stopped (no memory)"
    assert await list_tasks(api, "default") == []


async def test_public_addresses(aws: FakeAws) -> None:
    api = aws.api()
    for index, task in enumerate(aws.tasks):
        task.eni = f"eni-{index}"
        aws.addresses[task.eni] = f"203.0.113.{index}"
    tasks = await with_public_addresses(api, await list_tasks(api, "prod"))
    assert {task.public_ip for task in tasks} == {f"203.0.113.{index}" for index in range(5)}
    del aws.addresses["eni-0"]  # gone in between: the others are still told
    tasks = await with_public_addresses(api, await list_tasks(api, "prod"))
    assert sorted(task.public_ip for task in tasks)[:2] == ["", "203.0.113.1"]
    aws.always["DescribeNetworkInterfaces"] = Refusal("UnauthorizedOperation", "no", 403)
    tasks = await with_public_addresses(api, await list_tasks(api, "prod"))
    assert {task.public_ip for task in tasks} == {""}
