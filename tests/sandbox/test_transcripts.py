"""Session logs: what is refused, what arrives and where, and what stays away, and why."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.channel.frames import PayloadType
from ecs_exec_magic.sandbox import account, agentlog
from ecs_exec_magic.sandbox.pace import FAST
from ecs_exec_magic.sandbox.transcripts import LoggingPlan, Transcripts, log_events

from .conftest import Cluster, left_idle
from .rawclient import RawClient, Seen

ROLE = "arn:aws:iam::123456789012:role/web"
GROUP = "/aws/ecs/exec"
BOTH = LoggingPlan(GROUP, bucket="exec-logs", prefix="some/prefix/")
NOT_ENCRYPTED = (
    "We couldn't start the session because encryption is not set up on the selected {}. Either "
    "encrypt the {} or choose an option to enable logging without encryption."
)


def refused(code: str, message: str = "no", status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Some")


class FakeAccount:
    """Log groups and buckets in memory."""

    account_id = "123456789012"

    def __init__(self) -> None:
        self.groups: dict[str, str | None] = {GROUP: None}
        self.streams: dict[tuple[str, str], list[list[str]]] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.fail: dict[str, ClientError] = {}
        self.regions: set[str] = set()

    async def call(
        self, service: str, operation: str, region: str, /, **given: Any
    ) -> dict[str, Any]:
        self.regions.add(region)
        await asyncio.sleep(0)
        if operation in self.fail:
            raise self.fail[operation]
        result: dict[str, Any] = getattr(self, f"{service}_{operation}")(**given)
        return result

    def logs_describe_log_groups(
        self, logGroupNamePrefix: str, nextToken: str = ""
    ) -> dict[str, Any]:
        names = sorted(n for n in [*self.groups, GROUP + "-b"] if n.startswith(logGroupNamePrefix))
        page = names[:1] if not nextToken else names[1:]
        groups = [{"logGroupName": n, "kmsKeyId": self.groups.get(n)} for n in page[::-1]]
        return {"logGroups": groups, **({} if nextToken else {"nextToken": "1"})}

    def logs_create_log_stream(self, logGroupName: str, logStreamName: str) -> dict[str, Any]:
        self.streams[logGroupName, logStreamName] = []
        return {}

    def logs_put_log_events(
        self, logGroupName: str, logStreamName: str, logEvents: list[dict[str, Any]]
    ) -> dict[str, Any]:
        messages = [event["message"] for event in logEvents]
        self.streams[logGroupName, logStreamName].append(messages)
        return {}

    def s3_get_bucket_encryption(self, Bucket: str) -> dict[str, Any]:
        return {"ServerSideEncryptionConfiguration": {"Rules": [{}]}}

    def s3_put_object(self, Bucket: str, Key: str, Body: Any, ContentType: str) -> dict[str, Any]:
        assert ContentType == "text/plain"
        self.objects[Bucket, Key] = Body.read()
        return {}

    def log_of(self, session_id: str) -> str:
        """What CloudWatch has of a session; an error when there is not exactly one stream."""
        calls = self.streams[GROUP, session_id]
        return "\n".join(message for call in calls for message in call)


class FakeRoles:
    """A role that may do all but what is denied."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.asked: list[tuple[str | None, str, str]] = []

    async def role_allows(
        self,
        role_arn: str | None,
        action: str,
        resource: str = "*",
        context: Mapping[str, Sequence[str]] = {},
    ) -> bool:
        self.asked.append((role_arn, action, resource))
        return action not in self.denied


class Logged:
    """A practice cluster whose sessions are logged as a test says."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.account: Any = FakeAccount()
        self.roles = FakeRoles()
        self.plan = BOTH
        gateway = cluster.sandbox._server.gateway
        gateway._transcripts = Transcripts(self.account, self.roles, FAST)
        self.gateway = gateway
        open_as_it_is = gateway.open

        def open_logged(plan: Any, *args: Any, **how: Any) -> Any:
            plan = dataclasses.replace(plan, logging=self.plan, role_arn=ROLE)
            return open_as_it_is(plan, *args, **how)

        gateway.open = open_logged  # type: ignore[method-assign]  # what the cluster would say

    def use(self, account: Any) -> None:
        self.account = account
        self.gateway._transcripts = Transcripts(account, self.roles, FAST)

    async def run(self, command: str) -> tuple[str, Seen]:
        session = self.cluster.execute(command)
        async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
            return session["sessionId"], await client.finish()

    async def agent_log(self) -> str:
        plan, self.plan = self.plan, LoggingPlan()
        _, seen = await self.run(f"cat {agentlog.PATH}")
        self.plan = plan
        return seen.payload().decode()


@pytest.fixture
def logged(isolation: str) -> Iterator[Logged]:
    with package.start(pace="fast", runtime=isolation) as sandbox:
        yield Logged(Cluster(sandbox))


# -- what arrives --------------------------------------------------------------------------------


async def test_a_log_arrives_in_both_places(logged: Logged) -> None:
    session_id, seen = await logged.run("sh -c 'echo hello; echo oops >&2'")
    assert seen.output == ""
    messages = logged.account.log_of(session_id).split("\n")
    assert messages[0].startswith("Script started on 20")
    assert messages[0].endswith("<not executed on terminal>]")
    assert 'COMMAND="cat /var/lib/amazon/ssm/demo_' in messages[0]
    assert messages[1:4] == ["hello\r", "oops\r", ""]
    assert messages[4].endswith('[COMMAND_EXIT_CODE="0"]')
    (where,) = logged.account.objects
    assert where == ("exec-logs", f"some/prefix/{session_id}.log")
    assert b">]\nhello\r\r\noops\r\r\n\nScript done on " in logged.account.objects[where]
    asked = {(action, resource) for _, action, resource in logged.roles.asked}
    stream = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}:log-stream:{session_id}"
    assert asked == {
        ("logs:DescribeLogGroups", "*"),
        ("logs:CreateLogStream", stream),
        ("logs:PutLogEvents", stream),
        ("s3:PutObject", f"arn:aws:s3:::exec-logs/some/prefix/{session_id}.log"),
    }
    assert {role for role, _, _ in logged.roles.asked} == {ROLE}


async def test_what_is_typed_is_in_the_log_and_a_resumed_session_is_whole(logged: Logged) -> None:
    session = logged.cluster.execute("sh -c 'echo up; read x; echo got $x'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(lambda s: b"up" in s.payload())
        await client.send(PayloadType.OUTPUT, b"the word\n")
        await client.until(lambda s: b"got" in s.payload())
        # gone without a word before the session has ended
    sandbox = logged.cluster.sandbox
    token = logged.cluster.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
    if token:
        async with RawClient(session["streamUrl"], token) as client:
            await client.until(lambda s: s.closed is not None or s.close_code is not None)
    assert await asyncio.to_thread(sandbox.wait_idle)
    text = logged.account.log_of(session["sessionId"])
    assert "\nthe word\r\n" in text
    assert "\ngot the word\r\n" in text


async def test_a_terminated_session_is_logged(logged: Logged) -> None:
    session = logged.cluster.execute("sh -c 'echo up; sleep 60'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(lambda s: b"up" in s.payload())
        logged.cluster.ssm.terminate_session(SessionId=session["sessionId"])
        assert (await client.finish()).output == ""
    assert "\nup\r\n" in logged.account.log_of(session["sessionId"])


async def test_a_session_that_nobody_attends_is_logged_at_its_idle_end(logged: Logged) -> None:
    session = logged.cluster.execute("sh -c 'echo up; sleep 600'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(lambda s: b"up" in s.payload())
    left_idle(logged.cluster.sandbox, session["sessionId"])
    assert await asyncio.to_thread(logged.cluster.sandbox.wait_idle)
    assert "\nup\r\n" in logged.account.log_of(session["sessionId"])


async def test_an_encrypted_session_is_logged_in_clear(logged: Logged) -> None:
    key = logged.cluster.kms.create_key()["KeyMetadata"]["Arn"]
    logged.cluster.ecs.update_cluster(
        cluster="demo", configuration={"executeCommandConfiguration": {"kmsKeyId": key}}
    )
    session = logged.cluster.execute("echo in clear")
    client = RawClient(session["streamUrl"], session["tokenValue"])
    client.kms = logged.cluster.kms
    client.context = {
        "aws:ssm:SessionId": session["sessionId"],
        "aws:ssm:TargetId": logged.cluster.target(),
    }
    async with client:
        seen = await client.finish()
    assert b"in clear" not in seen.payload()
    assert "\nin clear\r\n" in logged.account.log_of(session["sessionId"])


async def test_a_long_log_comes_in_few_events_and_calls(logged: Logged) -> None:
    session_id, _ = await logged.run("sh -c 'seq 1 160000; printf %070000d 7'")
    calls = logged.account.streams[GROUP, session_id]
    assert len(calls) > 1
    assert all(1 <= len(call) <= 4 for call in calls)
    assert all(len(m.encode()) <= 200_000 for call in calls for m in call)
    lines = logged.account.log_of(session_id).split("\n")
    assert lines[1:160001] == [f"{n}\r" for n in range(1, 160001)]
    assert f"{7:070000d}" in lines


async def test_a_command_that_did_not_start_has_no_log(logged: Logged) -> None:
    _, seen = await logged.run("nope")
    assert "executable file not found" in seen.output
    assert not logged.account.streams and not logged.account.objects


async def test_without_a_place_there_is_no_log(logged: Logged) -> None:
    logged.plan = LoggingPlan()
    _, seen = await logged.run("echo x")
    assert seen.payload() == b"x\r\n"
    assert not logged.account.streams and not logged.roles.asked


# -- what is refused -----------------------------------------------------------------------------


async def test_an_encrypted_group_is_demanded(logged: Logged) -> None:
    logged.plan = LoggingPlan(GROUP, log_group_encrypted=True)
    _, seen = await logged.run("echo x")
    assert seen.output == NOT_ENCRYPTED.format("CloudWatch Logs log group", "log group")
    assert seen.stream() == []
    logged.account.groups[GROUP] = "arn:aws:kms:us-east-1:123456789012:key/some"
    session_id, seen = await logged.run("echo x")
    assert seen.output == ""
    assert logged.account.log_of(session_id)
    # Whoever may not look cannot know.
    logged.roles.denied = {"logs:DescribeLogGroups"}
    _, seen = await logged.run("echo x")
    assert seen.output == NOT_ENCRYPTED.format("CloudWatch Logs log group", "log group")
    assert "is not authorized to perform: logs:DescribeLogGroups" in await logged.agent_log()


async def test_an_encrypted_bucket_is_demanded(logged: Logged) -> None:
    logged.plan = LoggingPlan(bucket="exec-logs", bucket_encrypted=True)
    session_id, seen = await logged.run("echo x")
    assert seen.output == ""
    assert list(logged.account.objects) == [("exec-logs", f"{session_id}.log")]
    code = "ServerSideEncryptionConfigurationNotFoundError"
    logged.account.fail["get_bucket_encryption"] = refused(code, "not found", 404)
    _, seen = await logged.run("echo x")
    assert seen.output == NOT_ENCRYPTED.format("Amazon S3 bucket", "bucket")
    logged.account.fail["get_bucket_encryption"] = refused("NoSuchBucket", "is not there", 404)
    _, seen = await logged.run("echo x")
    head = (
        "Couldn't start the session because we are unable to validate encryption on Amazon S3 "
        "bucket. Error: "
    )
    assert seen.output.startswith(f"{head}NoSuchBucket: is not there\n\tstatus code: 404")
    logged.roles.denied = {"s3:GetEncryptionConfiguration"}
    _, seen = await logged.run("echo x")
    assert seen.output.startswith(f"{head}AccessDenied: Access Denied\n\tstatus code: 403")
    assert seen.stream() == []


# -- what stays away, and why --------------------------------------------------------------------


@pytest.mark.parametrize("program", ["script", "cat"])
async def test_an_image_without_the_tools(
    logged: Logged, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def has(_container: Any, name: str) -> bool:
        return name != program

    monkeypatch.setattr(agentlog, "has_program", has)
    _, seen = await logged.run("echo x")
    assert seen.payload() == b"x\r\n", "the session itself works"
    assert seen.output.startswith("\n----------ERROR-------\nunable to generate log data: Failed ")
    assert ('exec: "script": executable file not found' in seen.output) == (program == "script")
    assert not logged.account.streams and not logged.account.objects
    assert "unable to generate log data" in await logged.agent_log()


async def test_programs_are_looked_up_in_the_container(logged: Logged) -> None:
    await logged.run("mkdir /tmp/only")
    (session,) = logged.gateway.sessions.values()
    container = session.container
    sandbox = logged.cluster.sandbox

    def has(name: str) -> bool:
        return bool(sandbox.call(agentlog.has_program(container, name)))

    assert await asyncio.to_thread(has, "cat")
    assert not await asyncio.to_thread(has, "no-such-program")


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("logs:DescribeLogGroups", f'CloudWatch log group "{GROUP}" does not exist.'),
        ("logs:CreateLogStream", "Error Creating Log Stream for CloudWatchLogs output: AccessDen"),
        ("logs:PutLogEvents", "Failed to upload message to CloudWatch, err: AccessDenied"),
        ("s3:PutObject", "to s3://exec-logs/some/prefix/"),
    ],
)
async def test_without_permission_nothing_arrives(logged: Logged, action: str, text: str) -> None:
    logged.roles.denied = {action}
    session_id, seen = await logged.run("echo x")
    assert (seen.output, seen.payload()) == ("", b"x\r\n")
    in_group = logged.account.streams.get((GROUP, session_id), [])
    assert bool(in_group) == action.startswith("s3")
    assert bool(logged.account.objects) == action.startswith("logs")
    log = await logged.agent_log()
    assert text in log
    assert "AccessDenied" in log
    assert session_id in log


async def test_a_group_or_bucket_that_is_not_there(logged: Logged) -> None:
    del logged.account.groups[GROUP]
    logged.account.fail["put_object"] = refused("NoSuchBucket", "It is not there.", 404)
    _, seen = await logged.run("echo x")
    assert (seen.output, seen.payload()) == ("", b"x\r\n")
    assert not logged.account.streams
    log = await logged.agent_log()
    assert "does not exist or unable to validate its existence" in log
    assert "NoSuchBucket: It is not there." in log


async def test_a_stream_that_vanishes_is_not_written_to_again(logged: Logged) -> None:
    logged.account.fail["put_log_events"] = refused("ResourceNotFoundException")
    logged.account.fail["create_log_stream"] = refused("ResourceAlreadyExistsException")
    await logged.run("seq 1 300000")
    asked = [action for _, action, _ in logged.roles.asked]
    assert asked.count("logs:PutLogEvents") == 1


# -- the pieces ----------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([b"a", b"bc\r\n", b"\n", b"0123456789", b"\xff", b"x\n"])))
def test_events_hold_every_line_in_order(pieces: list[bytes]) -> None:
    log = b"head\n" + b"".join(pieces)
    messages = list(log_events(io.BytesIO(log), 12))
    assert all(len(message.encode("utf-8", "replace")) <= 3 * 12 for message in messages)
    plain = log.replace(b"\r\n", b"\n").decode("utf-8", "replace")
    assert "".join(messages).replace("\n", "").replace("\r", "") == plain.replace("\n", "").replace(
        "\r", ""
    )
    if len(log) <= 12:
        assert messages == [plain.removesuffix("\n")]


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_names_belong_to_the_partition(region: str, partition: str) -> None:
    assert account.partition(region) == partition


# -- with a real account -------------------------------------------------------------------------


class MotoAccount:
    """An account that moto keeps, in this process."""

    account_id = "123456789012"

    def __init__(self) -> None:
        import boto3
        from botocore.awsrequest import AWSResponse
        from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

        self._session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
        stubber: Any = BotocoreStubber()

        def answer(request: Any, **_: Any) -> Any:
            status, headers, body = stubber.process_request(request)
            return AWSResponse(request.url, status, headers, MockRawResponse(body))

        self._session.events.register("before-send.*", answer)

    async def call(self, service: str, operation: str, region: str, **given: Any) -> Any:
        client = self._session.client(service, region_name=region)
        return getattr(client, operation)(**given)


async def test_a_log_in_an_account_of_moto(logged: Logged) -> None:
    account = MotoAccount()
    await account.call("logs", "create_log_group", "us-east-1", logGroupName=GROUP)
    await account.call("s3", "create_bucket", "us-east-1", Bucket="exec-logs")
    logged.use(account)
    try:
        session_id, seen = await logged.run("echo hello")
        assert seen.output == ""
        events = await account.call(
            "logs", "get_log_events", "us-east-1", logGroupName=GROUP, logStreamName=session_id
        )
        (event,) = events["events"]
        assert "\nhello\r\n" in event["message"]
        key = f"some/prefix/{session_id}.log"
        found = await account.call("s3", "get_object", "us-east-1", Bucket="exec-logs", Key=key)
        assert b"\nhello\r\r\n" in found["Body"].read()
        assert found["ContentType"] == "text/plain"
        await account.call("s3", "delete_object", "us-east-1", Bucket="exec-logs", Key=key)
    finally:
        await account.call("s3", "delete_bucket", "us-east-1", Bucket="exec-logs")
        await account.call("logs", "delete_log_group", "us-east-1", logGroupName=GROUP)
