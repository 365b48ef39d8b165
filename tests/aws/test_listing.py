"""What runs, as tables and completion list it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import boto3
import pytest

from ecs_exec_magic.aws.api import AwsApi
from ecs_exec_magic.aws.listing import describe_all_clusters, list_services_of, list_tasks
from ecs_exec_magic.aws.profiles import asks_for_codes, profile_names, region_names
from ecs_exec_magic.errors import AccessDenied, CredentialsError, InvalidRequest, TargetNotFound

from .fake import ACCOUNT, NOW, REGION, FakeAws, Refusal, task_id

DENIED = Refusal("AccessDeniedException", "User: me is not authorized to perform", 400)


def hours(number: float) -> Any:
    return NOW - timedelta(hours=number)


@pytest.fixture
def aws() -> FakeAws:
    """Cluster prod: service web of 2 tasks, api of another family, lone batch; more have ended."""
    aws = FakeAws()
    both = ("nginx", "sidecar")
    aws.task("prod", "web", 0xABCDA1, service="web", containers=both, started=hours(1))
    aws.task("prod", "web", 0xABCDA2, service="web", containers=both, started=hours(3))
    aws.task("prod", "api-td", 0xB1, service="api", started=hours(5))
    aws.task("prod", "batch", 0xC1, started=None, status="PENDING")
    gone: Any = {"status": "STOPPED", "desired": "STOPPED"}
    aws.task("prod", "web", 0xD1, service="web", started=hours(9), stopped=hours(2), **gone)
    aws.task("prod", "web", 0xD2, service="web", started=hours(9), stopped=hours(1), **gone)
    aws.task("prod", "once", 0xE1, stopped=hours(3), **gone)
    return aws


async def listed(aws: FakeAws, *scope: str, **options: Any) -> list[str]:
    return [task.task_id[:6] for task in await list_tasks(aws.api(), *scope, **options)]


# -- which tasks ---------------------------------------------------------------------------------


async def test_a_cluster_gives_what_runs_or_starts_longest_first(aws: FakeAws) -> None:
    assert await listed(aws, "prod") == ["0000b1", "abcda2", "abcda1", "0000c1"]
    assert await listed(aws, cluster="prod") == await listed(aws, "prod/")
    assert await listed(aws, f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/prod") == await listed(
        aws, "prod"
    )
    assert await listed(aws) == [], "the cluster that is called default"


async def test_stopped_ones_the_last_first(aws: FakeAws) -> None:
    assert await listed(aws, "prod", stopped=True) == ["0000d2", "0000d1", "0000e1"]
    assert await listed(aws, "prod/web", stopped=True) == ["0000d2", "0000d1"]
    (task, *_) = await list_tasks(aws.api(), "prod", stopped=True)
    assert (task.stopped_at, task.stop_code) == (hours(1), "EssentialContainerExited")


@pytest.mark.parametrize(
    ("scope", "options", "expected"),
    [
        ("prod/web", {}, ["abcda2", "abcda1"]),
        ("prod/api", {}, ["0000b1"]),
        ("prod/api-td", {}, ["0000b1"]),
        ("prod/batch", {}, ["0000c1"]),
        ("prod/abcda", {}, None),
        ("prod/abcda1", {}, ["abcda1"]),
        ("prod/web:nginx", {}, ["abcda2", "abcda1"]),
        ("prod/web:*", {}, ["abcda2", "abcda1"]),
        ("prod", {"container": "sidecar"}, ["abcda2", "abcda1"]),
        ("prod", {"service": "web"}, ["abcda2", "abcda1"]),
        ("prod", {"family": "web"}, ["abcda2", "abcda1"]),
        ("prod", {"task": "abcda2"}, ["abcda2"]),
        (None, {"cluster": "prod", "service": "api"}, ["0000b1"]),
        (f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/prod/web", {}, ["abcda2", "abcda1"]),
        (f"prod/{task_id(0xB1)}", {}, ["0000b1"]),
        (f"prod/{task_id(0xD1)}", {}, ["0000d1"]),
        (f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/prod/{task_id(0xD1)}", {}, ["0000d1"]),
    ],
)
async def test_names(
    aws: FakeAws, scope: str | None, options: Any, expected: list[str] | None
) -> None:
    if expected is None:  # five characters of an id
        with pytest.raises(TargetNotFound, match="no service, family or task"):
            await list_tasks(aws.api(), scope, **options)
    else:
        assert [t.task_id[:6] for t in await list_tasks(aws.api(), scope, **options)] == expected


async def test_a_name_with_several_meanings_gives_all_of_them(aws: FakeAws) -> None:
    aws.task("prod", "web", 0xF1, started=hours(4))  # on its own, of the same family
    assert await listed(aws, "prod/web") == ["0000f1", "abcda2", "abcda1"]
    assert await listed(aws, "prod", service="web") == ["abcda2", "abcda1"]


async def test_a_limit(aws: FakeAws) -> None:
    for number in range(1000, 1300):
        aws.task("prod", "big", number, service="big")
    aws.page = 100
    assert len(await listed(aws, "prod", limit=120)) == 120
    assert len(await listed(aws, "prod/big", limit=7)) == 7
    assert aws.count("DescribeTasks") == 3


async def test_tags_only_when_asked_for(aws: FakeAws) -> None:
    await list_tasks(aws.api(), "prod")
    await list_tasks(aws.api(), "prod", tags=True)
    include = [asked.get("include") for name, asked in aws.calls if name == "DescribeTasks"]
    assert include == [None, ["TAGS"]]


# -- what is not there ---------------------------------------------------------------------------


async def test_an_unknown_cluster_lists_the_clusters(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound, match="no cluster 'prd'") as caught:
        await list_tasks(aws.api(), "prd/web")
    assert "default, prod" in caught.value.cause
    assert caught.value.cure == "did you mean prod?"
    with pytest.raises(TargetNotFound, match="no cluster 'prd'") as caught:
        await list_services_of(aws.api(), "prd")
    assert "default, prod" in caught.value.cause


async def test_an_unknown_name_lists_names(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound, match="'wep'") as caught:
        await list_tasks(aws.api(), "prod/wep")
    assert "services: api, web" in caught.value.cause
    assert caught.value.cure == "did you mean prod/web?"
    with pytest.raises(TargetNotFound):
        await list_tasks(aws.api(), "prod", task=task_id(0x999))
    with pytest.raises(TargetNotFound):
        await list_tasks(aws.api(), "prod", service="batch")


async def test_a_name_that_is_known_may_have_no_task(aws: FakeAws) -> None:
    aws.service("prod", "idle", desiredCount=0)
    assert await listed(aws, "prod/idle") == []
    assert await listed(aws, "prod/idle", stopped=True) == []
    assert await listed(aws, "prod/once") == [], "a family whose task has stopped"
    assert await listed(aws, "prod/batch", stopped=True) == [], "a family whose task has not"


async def test_an_unknown_container_lists_containers(aws: FakeAws) -> None:
    with pytest.raises(TargetNotFound, match="no task of web has a container 'app'") as caught:
        await list_tasks(aws.api(), "prod/web:app")
    assert caught.value.cause == "their containers are nginx, sidecar"


@pytest.mark.parametrize("scope", ["", "a b", "prod:nginx", "/web", "arn:aws:ecs:x:1:task/y"])
async def test_malformed(aws: FakeAws, scope: str) -> None:
    with pytest.raises(InvalidRequest):
        await list_tasks(aws.api(), scope)
    assert aws.calls == []


async def test_another_region(aws: FakeAws) -> None:
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/prod"
    with pytest.raises(InvalidRequest, match="is in us-east-1"):
        await list_tasks(aws.api(), arn)


# -- clusters and services -----------------------------------------------------------------------


async def test_clusters_with_counts(aws: FakeAws) -> None:
    default, prod = await describe_all_clusters(aws.api())
    assert (default.name, default.running, default.services) == ("default", 0, 0)
    assert (prod.name, prod.running, prod.pending, prod.services) == ("prod", 7, 0, 2)
    assert (str(prod), prod.region, prod.status) == ("prod", REGION, "ACTIVE")


async def test_clusters_without_the_permission_to_describe(aws: FakeAws) -> None:
    aws.always["DescribeClusters"] = DENIED
    _, prod = await describe_all_clusters(aws.api())
    assert (prod.name, prod.running, prod.services) == ("prod", None, None)
    aws.always["ListClusters"] = DENIED
    with pytest.raises(AccessDenied):
        await describe_all_clusters(aws.api())


async def test_many_clusters(aws: FakeAws) -> None:
    aws.page = 100
    aws.clusters = [f"c{number:03}" for number in range(230)]
    assert len(await describe_all_clusters(aws.api())) == 230
    assert aws.count("DescribeClusters") == 3


async def test_services(aws: FakeAws) -> None:
    assert await list_services_of(aws.api(cluster="prod")) == ["api", "web"]
    assert await list_services_of(aws.api(), "prod") == ["api", "web"]
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/prod"
    assert await list_services_of(aws.api(), arn) == ["api", "web"]


# -- calls that nobody waits for -----------------------------------------------------------------


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n"
        "[profile plain]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = keys\n"
        "[profile guarded]\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
        "[profile behind]\nsource_profile = guarded\n"
        "[profile round]\nsource_profile = round\n"
    )
    (tmp_path / "credentials").write_text("[keys]\naws_access_key_id = a\n")


def test_profiles_and_regions_come_from_files(files: None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"default", "plain", "guarded", "behind", "round", "keys"}
    assert set(profile_names()) == expected
    assert {"eu-west-1", "us-gov-west-1", "cn-north-1"} <= set(region_names())
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert set(profile_names()) == expected
    assert "eu-west-1" in region_names()


@pytest.mark.parametrize(
    ("profile", "asks"),
    [("plain", False), ("guarded", True), ("behind", True), ("round", False), (None, False)],
)
def test_nobody_is_asked_for_a_code_behind_their_back(
    files: None, profile: str | None, asks: bool
) -> None:
    api = AwsApi(profile=profile, region="eu-west-1")
    assert asks_for_codes(api.session) is asks
    if asks:
        with pytest.raises(CredentialsError, match="MFA"):
            api.unattended()
    else:
        assert api.unattended().region == "eu-west-1"


def test_keys_of_the_environment_come_before_a_profile_that_asks(
    files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "guarded")
    assert asks_for_codes(boto3.Session())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    assert not asks_for_codes(boto3.Session())
    assert asks_for_codes(boto3.Session(profile_name="guarded"))
