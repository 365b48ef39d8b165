"""Every fault strikes as it says, on a raw client; and our own stays exact or honest."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.channel.frames import MessageType, PayloadType
from ecs_exec_magic.client import Target
from ecs_exec_magic.sandbox import Faults

from .conftest import Cluster
from .rawclient import RawClient, Seen

NUMBERS = b"".join(b"%d\r\n" % n for n in range(1, 3001))


@pytest.fixture(scope="module")
def _cluster(isolation: str) -> Iterator[Cluster]:
    with package.start(pace="fast", runtime=isolation) as sandbox:
        yield Cluster(sandbox)


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    yield _cluster
    _cluster.sandbox.faults.clear()
    for session in _cluster.ssm.describe_sessions(State="Active")["Sessions"]:
        _cluster.ssm.terminate_session(SessionId=session["SessionId"])  # what a failure has left
    assert _cluster.sandbox.wait_idle()


@pytest.fixture
def faults(cluster: Cluster) -> Faults:
    return cluster.sandbox.faults


@pytest.fixture
def target(cluster: Cluster) -> Target:
    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    client = ecs.connect(endpoint_url=cluster.sandbox.url, session=session)
    return client.target("demo/worker")


def opened(session: dict[str, str], **how: Any) -> RawClient:
    return RawClient(session["streamUrl"], session["tokenValue"], **how)


async def run(cluster: Cluster, command: str) -> Seen:
    async with opened(cluster.execute(command)) as client:
        return await client.finish()


HELD = "sh -c 'seq 1 3000; read x'"
"""Prints :data:`NUMBERS` and stays: a session that ends gives what was lost a few seconds only."""


def whole(seen: Seen) -> bool:
    """Whether all of :data:`NUMBERS` has come unharmed."""
    good = {
        f.sequence: f.payload
        for f in seen.frames
        if f.digest_ok and f.message_type == MessageType.OUTPUT
    }
    return b"".join(good[number] for number in sorted(good)) == NUMBERS


async def run_held(cluster: Cluster) -> Seen:
    session = cluster.execute(HELD)
    async with opened(session) as client:
        await client.until(whole)
        cluster.ssm.terminate_session(SessionId=session["sessionId"])
        return client.seen


def has(text: bytes) -> Any:
    return lambda seen: text in seen.payload()


async def impatient(cluster: Cluster, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=cluster.sandbox.url,
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


# -- the connection ------------------------------------------------------------------------------


@pytest.mark.parametrize(("close", "code"), [(False, 1006), (True, 1000)])
async def test_a_cut_after_so_many_frames(
    cluster: Cluster, faults: Faults, close: bool, code: int
) -> None:
    faults.cut_after_frames, faults.cut_close = 2, close
    session = cluster.execute(HELD)
    async with opened(session) as client:
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.close_code == code
        assert len(client.seen.frames) == 2
        first = client.seen.frames
    token = cluster.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
    async with RawClient(session["streamUrl"], token) as client:
        client.seen.frames += first
        await client.until(whole)


@pytest.mark.parametrize(("close", "code"), [(False, 1006), (True, 1000)])
async def test_a_cut_at_once(cluster: Cluster, faults: Faults, close: bool, code: int) -> None:
    session = cluster.execute("sh -c 'echo up; read x; echo got $x'")
    async with opened(session) as client:
        await client.until(has(b"up"))
        assert await asyncio.to_thread(faults.cut, close) == "1 connections cut"
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.close_code == code
    token = cluster.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
    async with RawClient(session["streamUrl"], token) as client:
        await client.send(PayloadType.OUTPUT, b"it\n")
        assert b"got it" in (await client.finish()).payload()


async def test_what_is_stalled_comes_when_the_stall_ends(cluster: Cluster, faults: Faults) -> None:
    async with opened(
        cluster.execute("sh -c 'stty -echo; echo up; read x; echo got $x'")
    ) as client:
        await client.until(has(b"up"))
        faults.stall_input = True
        await client.send(PayloadType.OUTPUT, b"it\n")
        await asyncio.sleep(0.3)
        assert client.seen.acked() == []
        faults.stall_output = True  # first: what is let in is answered at once
        faults.stall_input = False
        await asyncio.sleep(0.3)
        assert client.seen.acked() == []
        assert client.seen.closed is None
        faults.stall_output = False
        seen = await client.finish()
    assert seen.acked() == [0]
    assert seen.payload() == b"up\r\ngot it\r\n"


async def test_latency_keeps_the_order(cluster: Cluster, faults: Faults) -> None:
    faults.latency = 0.15
    began = time.monotonic()
    seen = await run(cluster, "seq 1 3000")
    assert time.monotonic() - began >= 0.15
    came = [f.sequence for f in seen.frames if f.message_type == MessageType.OUTPUT]
    first = list(dict.fromkeys(came))
    assert first == sorted(first)
    assert seen.payload() == NUMBERS


async def test_slow_writes_lose_nothing(cluster: Cluster, faults: Faults) -> None:
    faults.slow_writes = 0.02
    began = time.monotonic()
    seen = await run(cluster, "seq 1 3000")
    assert seen.payload() == NUMBERS
    assert time.monotonic() - began >= 0.02 * len(seen.stream())


# -- frames --------------------------------------------------------------------------------------


async def test_a_corrupt_frame_is_sent_again(cluster: Cluster, faults: Faults) -> None:
    faults.corrupt = {0, 3}
    seen = await run_held(cluster)
    broken = [f for f in seen.frames if f.message_type == MessageType.OUTPUT and not f.digest_ok]
    assert [f.sequence for f in broken] == [0, 3]
    seen.frames = [f for f in seen.frames if f not in broken]
    assert seen.payload() == NUMBERS


async def test_lost_input_and_lost_acks(cluster: Cluster, faults: Faults) -> None:
    faults.drop_inputs, faults.drop_acks = {0}, 1
    async with opened(
        cluster.execute("sh -c 'stty -echo; echo up; read x; read y; echo got $x'")
    ) as client:
        await client.until(has(b"up"))
        for _ in range(3):  # lost; taken, but the answer is lost; taken already, and answered
            await client.send(PayloadType.OUTPUT, b"it\n", sequence=0)
        await client.until(lambda s: s.acked() == [0])
        await client.send(PayloadType.OUTPUT, b"end\n", sequence=1)
        seen = await client.finish()
    assert seen.acked() == [0, 1]
    assert seen.payload() == b"up\r\ngot it\r\n"


@pytest.mark.parametrize("rate", ["drop_rate", "duplicate_rate", "reorder_rate", "corrupt_rate"])
async def test_rates_are_seen_on_the_wire(cluster: Cluster, faults: Faults, rate: str) -> None:
    setattr(faults, rate, 0.3)
    seen = await run_held(cluster)
    stream = [f for f in seen.frames if f.message_type == MessageType.OUTPUT]
    came = [f.sequence for f in stream]
    if rate == "corrupt_rate":
        assert not all(f.digest_ok for f in stream)
        seen.frames = [f for f in seen.frames if f.digest_ok]
    elif rate == "duplicate_rate":
        assert len({f.message_id for f in stream}) < len(came)
    else:
        assert came != sorted(came)
    assert seen.payload() == NUMBERS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_our_client_is_exact_in_bad_weather(target: Target, faults: Faults, seed: int) -> None:
    faults.seed = seed
    faults.drop_rate = faults.duplicate_rate = faults.reorder_rate = faults.corrupt_rate = 0.05
    data = bytes(range(256)) * 40
    result = target.run("cat; echo err >&2; exit 3", stdin=data)
    assert result.stdout_bytes == data
    assert (result.stderr, result.exit_code, result.exact) == ("err\n", 3, True)


@pytest.mark.parametrize("fault", [{"corrupt": {0, 1, 4}}, {"latency": 0.05}])
def test_our_client_is_exact_all_the_same(
    target: Target, faults: Faults, fault: dict[str, Any]
) -> None:
    for name, value in fault.items():
        setattr(faults, name, value)
    result = target.run("seq 1 3000; exit 3")
    assert result.stdout_bytes == NUMBERS.replace(b"\r", b"")
    assert (result.exit_code, result.exact) == (3, True)


def test_our_client_outlives_cuts_and_stalls(target: Target, faults: Faults) -> None:
    stream = target.stream("echo on; read x; echo $x; seq 1 3000", stdin="word\n")
    text = next(stream).text
    assert text.startswith("on\n")
    faults.cut(close=True)
    faults.stall_output = True
    release = threading.Timer(0.5, faults.clear)
    release.start()
    text += "".join(event.text for event in stream)
    release.join()
    assert text == "on\nword\n" + NUMBERS.decode().replace("\r", "")
    assert stream.result is not None and stream.result.exact


# -- the agent and the task ----------------------------------------------------------------------


async def test_a_killed_agent_is_silent_and_comes_back(cluster: Cluster, faults: Faults) -> None:
    session = cluster.execute("sh -c 'echo up; read x; echo $x'")
    async with opened(session) as client:
        await client.until(has(b"up"))
        task = cluster.task()["taskArn"].rpartition("/")[2]
        assert await asyncio.to_thread(faults.kill_agent, "0" * 8) == "0 sessions lost"
        assert await asyncio.to_thread(faults.kill_agent, task) == "1 sessions lost"
        assert await asyncio.to_thread(cluster.sandbox.wait_idle)
        await client.send(PayloadType.OUTPUT, b"anybody\n")
        await asyncio.sleep(0.3)
        assert client.seen.acked() == []
        assert client.seen.closed is None
        cluster.ssm.terminate_session(SessionId=session["sessionId"])
        assert (await client.finish()).output == ""
    assert (await run(cluster, "echo new")).payload() == b"new\r\n"


async def test_a_killed_task_stops(cluster: Cluster, faults: Faults) -> None:
    task = cluster.task("worker", 1)["taskArn"]
    task_id = task.rpartition("/")[2]
    session = cluster.execute("sleep 50", index=1)
    async with opened(session) as client:
        assert await asyncio.to_thread(faults.kill_task, task_id[:12]) == f"task {task_id} stops"
        await client.until(lambda s: s.closed is not None or s.close_code is not None)
    waiter = cluster.ecs.get_waiter("tasks_stopped")
    waiter.wait(cluster="demo", tasks=[task], WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    for name in ("", "nothing", task_id):
        with pytest.raises(ValueError, match="task"):
            await asyncio.to_thread(faults.kill_task, name)


def test_our_client_says_that_the_task_is_gone(cluster: Cluster, faults: Faults) -> None:
    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    client = ecs.connect(endpoint_url=cluster.sandbox.url, session=session)
    target = client.targets("demo/worker")[-1]
    stream = target.stream("echo on; sleep 40")
    assert next(stream).text == "on\n"
    faults.kill_task(target.task_id)
    with pytest.raises(ecs.SessionLost):
        list(stream)


# -- the end -------------------------------------------------------------------------------------


async def test_channel_closed_is_held(cluster: Cluster, faults: Faults) -> None:
    faults.hold_closed = 0.5
    began = time.monotonic()
    await run(cluster, "echo x")
    assert time.monotonic() - began >= 0.5


async def test_channel_closed_is_lost(cluster: Cluster, faults: Faults) -> None:
    faults.lose_closed = True
    session = cluster.execute("echo x")
    async with opened(session) as client:
        await client.until(has(b"x"))
        assert await asyncio.to_thread(cluster.sandbox.wait_idle)
        past = cluster.ssm.describe_sessions(State="History")["Sessions"]
        assert session["sessionId"] in [s["SessionId"] for s in past]
        assert client.seen.closed is None


def test_our_client_needs_no_channel_closed(target: Target, faults: Faults) -> None:
    faults.lose_closed = True
    result = target.run("echo x; exit 4")
    assert (result.stdout, result.exit_code, result.exact) == ("x\n", 4, True)


# -- permissions and the APIs --------------------------------------------------------------------


async def test_an_expired_token(cluster: Cluster, faults: Faults) -> None:
    faults.expire_token = 1
    session = cluster.execute("echo x")
    async with opened(session) as client:
        await client.until(lambda s: s.close_code is not None)
        assert (client.seen.close_code, client.seen.frames) == (1003, [])
    assert faults.expire_token == 0
    async with opened(session) as client:
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.close_code == 1003, "an expired token does not come back to life"
    token = cluster.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
    async with RawClient(session["streamUrl"], token) as client:
        assert (await client.finish()).payload() == b"x\r\n"


def test_our_client_with_an_expired_token(target: Target, faults: Faults) -> None:
    faults.expire_token = 1
    try:
        result = target.run("echo x")
    except ecs.EcsExecError as error:
        assert error.cure
    else:
        assert (result.stdout, result.exact) == ("x\n", True)


async def test_resume_is_refused_or_comes_to_nothing(cluster: Cluster, faults: Faults) -> None:
    session = cluster.execute("cat")
    faults.refuse_resume = True
    with pytest.raises(ClientError) as caught:
        cluster.ssm.resume_session(SessionId=session["sessionId"])
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
    faults.refuse_resume, faults.lose_resume = False, True
    assert cluster.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"] == ""
    cluster.ssm.terminate_session(SessionId=session["sessionId"])


def test_our_client_says_that_it_may_not_resume(target: Target, faults: Faults) -> None:
    faults.refuse_resume, faults.cut_after_frames = True, 8
    with pytest.raises(ecs.EcsExecError) as caught:
        target.run("seq 1 20000; sleep 20")
    assert caught.value.result is not None
    assert not caught.value.result.exact
    assert caught.value.result.exit_code is None


async def test_throttling_by_name_and_of_everything(cluster: Cluster, faults: Faults) -> None:
    client, sts = await impatient(cluster, "ecs"), await impatient(cluster, "sts")
    faults.set("throttle", "ListClusters=1")
    with pytest.raises(ClientError, match="Rate exceeded"):
        client.list_clusters()
    assert client.list_clusters()["clusterArns"]
    faults.set("throttle", "*")
    for call in (
        client.list_clusters,
        client.list_task_definition_families,
        sts.get_caller_identity,
    ):
        try:
            call()
        except ClientError as error:
            assert "Rate exceeded" in str(error)
        else:
            raise AssertionError("it was not throttled")
    faults.clear("throttle")
    assert client.list_clusters()["clusterArns"]


async def test_expired_credentials(cluster: Cluster, faults: Faults, target: Target) -> None:
    faults.expire_credentials = True
    for service, code in (("ecs", "ExpiredTokenException"), ("sts", "ExpiredToken")):
        client = await impatient(cluster, service)
        call = client.list_clusters if service == "ecs" else client.get_caller_identity
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with pytest.raises(ecs.CredentialsError):
        await target.run_async("true")


@pytest.fixture
def encrypted(isolation: str) -> Iterator[Cluster]:
    """A cluster ``secret`` whose sessions are encrypted, with one task."""
    with package.start(pace="fast", runtime=isolation) as sandbox:
        cluster = Cluster(sandbox)
        key = cluster.kms.create_key()["KeyMetadata"]["Arn"]
        cluster.ecs.update_cluster(
            cluster="demo", configuration={"executeCommandConfiguration": {"kmsKeyId": key}}
        )
        yield cluster


async def test_the_agent_may_not_decrypt(encrypted: Cluster) -> None:
    encrypted.sandbox.faults.deny_kms = True
    session = encrypted.execute("echo x")
    async with opened(session) as client:
        client.kms = encrypted.kms
        client.context = {
            "aws:ssm:SessionId": session["sessionId"],
            "aws:ssm:TargetId": encrypted.target(),
        }
        seen = await client.finish()
    assert seen.output.startswith("\n----------ERROR-------\nEncountered error while initiating")
    assert "AccessDeniedException" in seen.output and "kms:Decrypt" in seen.output
    assert PayloadType.OUTPUT not in seen.types()
    target = encrypted_target(encrypted)
    with pytest.raises(ecs.EcsExecError) as caught:
        await target.run_async("echo x")
    assert "kms:Decrypt" in f"{caught.value} {caught.value.cause} {caught.value.cure}"


async def test_the_caller_may_not_make_a_key(encrypted: Cluster) -> None:
    encrypted.sandbox.faults.deny_kms_caller = True
    with pytest.raises(ClientError, match="not authorized to perform: kms:GenerateDataKey"):
        encrypted.kms.generate_data_key(KeyId="alias/x", NumberOfBytes=64)
    with pytest.raises(ecs.EcsExecError) as caught:
        await encrypted_target(encrypted).run_async("echo x")
    assert "GenerateDataKey" in f"{caught.value} {caught.value.cause} {caught.value.cure}"
    encrypted.sandbox.faults.clear()
    assert (await encrypted_target(encrypted).run_async("echo x")).stdout == "x\n"


def encrypted_target(cluster: Cluster) -> Target:
    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    return ecs.connect(endpoint_url=cluster.sandbox.url, session=session).target("demo/worker")
