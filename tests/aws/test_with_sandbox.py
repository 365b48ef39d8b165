"""The same calls over the practice cluster's sockets."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import TYPE_CHECKING

import boto3
import pytest

from ecs_exec_magic import sandbox
from ecs_exec_magic.aws.api import AwsApi
from ecs_exec_magic.aws.listing import list_tasks
from ecs_exec_magic.aws.ports import container_url
from ecs_exec_magic.aws.sessions import Retry, start_exec, start_noninteractive
from ecs_exec_magic.aws.targets import find, resolve
from ecs_exec_magic.aws.tasks import list_clusters, list_services
from ecs_exec_magic.errors import (
    AccessDenied,
    AgentNotConnected,
    AmbiguousTarget,
    ExecNotEnabled,
    InvalidRequest,
    MethodUnavailable,
    TargetNotFound,
)

from ..runtimes import WITHOUT_ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster() -> Iterator[sandbox.Sandbox]:
    running = sandbox.start(port=0, pace="fast", runtime=WITHOUT_ENGINE)
    yield running
    running.stop()


@pytest.fixture
def api(cluster: sandbox.Sandbox) -> AwsApi:
    return make_api(cluster)


def make_api(cluster: sandbox.Sandbox) -> AwsApi:
    environment = cluster.environment
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    return AwsApi(session, endpoint_url=cluster.url, cluster="demo")


async def test_what_is_seeded(api: AwsApi) -> None:
    assert await list_clusters(api) == ["demo"]
    assert await list_services(api) == ["web", "worker"]
    tasks = await list_tasks(api, tags=True)
    families = sorted(task.family for task in tasks)
    assert families == ["agent-down", "no-exec", *["web"] * 3, *["worker"] * 2]
    ages = [task.age or 0.0 for task in tasks]
    assert ages == sorted(ages, reverse=True)


async def test_one_of_three_and_all_three(api: AwsApi) -> None:
    found = await find(api, "demo/web:nginx")
    every = await resolve(api, "demo/web:nginx", want="all")
    assert len(every) == 3
    assert found.refs[0] == every[0]
    assert found.refs[0].task_id in found.note
    assert len(await resolve(api, "web:*", want="all")) == 6
    for ref in every:
        assert await resolve(api, ref.address) == [ref]
        assert await resolve(api, ref.task_arn, container="nginx") == [ref]
        assert await resolve(api, f"{ref.task_id[:12]}:nginx") == [ref]


async def test_one_container_needs_no_name(api: AwsApi) -> None:
    assert [ref.container for ref in await resolve(api, "worker")] == ["worker"]
    assert len(await resolve(api, service="worker", want="all")) == 2


async def test_two_containers_do(api: AwsApi) -> None:
    with pytest.raises(AmbiguousTarget) as caught:
        await resolve(api, "web", want="all")
    assert caught.value.choices == ("demo/web:nginx", "demo/web:sidecar")


async def test_exec_not_enabled(api: AwsApi) -> None:
    with pytest.raises(ExecNotEnabled, match="not enabled"):
        await resolve(api, "no-exec")
    (ref,) = await resolve(api, "no-exec", want="all")
    with pytest.raises(ExecNotEnabled, match="not enabled"):
        await start_exec(api, ref, "true")


async def test_agent_down(api: AwsApi) -> None:
    (task,) = await list_tasks(api, family="agent-down")
    reason = task.containers[0].agent_reason
    assert reason
    with pytest.raises(AgentNotConnected, match="STOPPED") as caught:
        await resolve(api, "agent-down")
    assert reason in caught.value.cause
    (ref,) = await resolve(api, "agent-down", want="all")
    with pytest.raises(AgentNotConnected, match="STOPPED") as caught:
        await start_exec(api, ref, "true")
    assert reason in caught.value.cause


async def test_unknown_targets(api: AwsApi) -> None:
    with pytest.raises(TargetNotFound, match="'wbe'") as caught:
        await resolve(api, "wbe")
    assert "web" in caught.value.cure
    assert "worker" in caught.value.cause
    with pytest.raises(TargetNotFound, match="no cluster 'prod'") as caught:
        await resolve(api, "prod/web")
    assert "demo" in caught.value.cause
    with pytest.raises(TargetNotFound, match="no container"):
        await resolve(api, "web:apache")
    for kind in ("service", "family"):
        with pytest.raises(TargetNotFound):
            await resolve(api, cluster="demo", **{kind: "nope"})  # type: ignore[arg-type]  # by name
    with pytest.raises(TargetNotFound):
        await resolve(api, "f" * 32)


async def test_wrong_region(api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    with pytest.raises(InvalidRequest, match="eu-central-1"):
        await resolve(api, ref.task_arn.replace(ref.region, "eu-central-1"))


async def test_throttled_starts_are_tried_again(cluster: sandbox.Sandbox, api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    cluster.faults.throttle = {"ExecuteCommand": 2}
    told: list[str] = []
    session = await start_exec(api, ref, "true", retry=Retry(first=0.01), on_wait=told.append)
    await session.services.terminate()
    assert cluster.faults.throttle.get("ExecuteCommand", 0) == 0
    assert len(told) == 1
    assert "throttled" in told[0]


async def test_resuming_may_be_over_or_denied(cluster: sandbox.Sandbox, api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    session = await start_exec(api, ref, "sleep 60")
    try:
        cluster.faults.lose_resume = True
        assert (await session.services.resume())[1] == ""
        cluster.faults.refuse_resume = True
        with pytest.raises(AccessDenied, match="ssm:ResumeSession"):
            await session.services.resume()
    finally:
        cluster.faults.clear()
        await session.services.terminate()


async def test_second_way_denied(cluster: sandbox.Sandbox, api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    cluster.faults.deny_start_session = True
    try:
        with pytest.raises(MethodUnavailable, match="start-session") as caught:
            await start_noninteractive(api, ref, "true")
    finally:
        cluster.faults.clear()
    assert "ssm:StartSession" in caught.value.cause


async def test_cancelled_start_leaves_no_session(cluster: sandbox.Sandbox, api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    for turns in range(12):
        starting = asyncio.create_task(start_exec(api, ref, "sleep 60"))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        starting.cancel()
        try:
            session = await starting
        except asyncio.CancelledError:
            continue
        await session.services.terminate()
    assert await asyncio.to_thread(cluster.wait_idle)


async def test_session_is_started_resumed_and_ended(api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    session = await start_exec(api, ref, "sleep 60")
    assert session.session_id.startswith("ecs-execute-command-")
    assert session.request_id
    assert session.grant.token
    assert session.grant.token not in repr(session)
    assert session.grant.target == ref.session_target
    url, token = await session.services.resume()
    assert session.session_id in url
    assert token
    signature = await session.services.sign(url)
    assert signature == {} or "ssmmessages" in signature["Authorization"]
    await session.services.terminate()
    await session.services.terminate()


async def test_second_way(api: AwsApi) -> None:
    (ref,) = await resolve(api, "worker")
    session = await start_noninteractive(api, ref, "sleep 60")
    assert session.grant.token
    assert not session.session_id.startswith("ecs-execute-command-")
    await session.services.terminate()


async def test_port_answers_where_it_is_said(api: AwsApi) -> None:
    (ref,) = await resolve(api, "web:nginx")
    url = await container_url(api, ref, 80)
    assert url.startswith("http://127.0.0.1:")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = await asyncio.to_thread(lambda: opener.open(url, timeout=20).read())
    assert page
