"""Sessions are started once, ended when nobody wants them, and tell no secrets."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import traceback
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from ecs_exec_magic.aws.services import AwsSessionServices
from ecs_exec_magic.aws.sessions import (
    Retry,
    StartedSession,
    start_exec,
    start_forwarding,
    start_noninteractive,
)
from ecs_exec_magic.aws.targets import resolve
from ecs_exec_magic.channel.connection import SessionGrant
from ecs_exec_magic.errors import (
    AccessDenied,
    AgentNotConnected,
    CredentialsError,
    EcsExecError,
    ExecNotEnabled,
    InvalidRequest,
    MethodUnavailable,
    ServiceError,
    TargetNotFound,
    Throttled,
)

from .fake import NOW, FakeAws, FakeTask, Refusal

NOT_CONNECTED = Refusal(
    "TargetNotConnectedException",
    "The execute command failed due to an internal error. Try again later.",
)
NOT_ENABLED = Refusal(
    "InvalidParameterException",
    "The execute command failed because execute command was not enabled when the task was run or "
    "the execute command agent isn't running. Wait and try again or run a new task with execute "
    "command enabled and try again.",
)
UNAVAILABLE = Refusal("ServerException", "Service Unavailable. Please try again later.", 500)
THROTTLED = Refusal("ThrottlingException", "Rate exceeded")


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def retry(self) -> Retry:
        return Retry(sleep=self.sleep, now=lambda: self.now, jitter=lambda: 1.0)


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


def one(aws: FakeAws, **more: Any) -> FakeTask:
    return aws.task("prod", "web", 0xA1, service="web", containers=("nginx", "sidecar"), **more)


async def start(aws: FakeAws, clock: Clock | None = None, **more: Any) -> StartedSession:
    task = aws.tasks[0]
    api = aws.api()
    status, task.status, agent, task.agent = task.status, "RUNNING", task.agent, "RUNNING"
    enabled, task.exec_enabled = task.exec_enabled, True
    (ref,) = await resolve(api, f"prod/{task.id}:nginx")
    task.status, task.agent, task.exec_enabled = status, agent, enabled
    return await start_exec(api, ref, "uptime", retry=(clock or Clock()).retry(), **more)


# -- what is started -----------------------------------------------------------------------------


async def test_execute_command(aws: FakeAws) -> None:
    task = one(aws)
    session = await start(aws)
    operation, asked = aws.calls[-1]
    assert operation == "ExecuteCommand"
    assert asked == {
        "cluster": "prod",
        "task": task.arn,
        "container": "nginx",
        "command": "uptime",
        "interactive": True,
    }
    assert session.session_id == "ecs-execute-command-1"
    assert session.request_id == f"request-{len(aws.calls)}"
    assert session.grant.token == "SECRET-TOKEN"
    assert session.grant.stream_url.startswith("wss://")
    assert session.grant.target == f"ecs:prod_{task.id}_{task.id}-0"


async def test_start_session(aws: FakeAws) -> None:
    one(aws)
    api = aws.api()
    (ref,) = await resolve(api, "prod/web:nginx")
    session = await start_noninteractive(api, ref, "sh -c 'exit 3'")
    assert aws.calls[-1] == (
        "StartSession",
        {
            "Target": ref.session_target,
            "DocumentName": "AWS-StartNonInteractiveCommand",
            "Parameters": {"command": ["sh -c 'exit 3'"], "separateOutputStream": ["True"]},
        },
    )
    assert session.grant == SessionGrant(
        "me-1", session.grant.stream_url, "SECRET-TOKEN", ref.session_target
    )


@pytest.mark.parametrize("begin", [start_exec, start_noninteractive])
async def test_blank_command(aws: FakeAws, begin: Any) -> None:
    one(aws)
    (ref,) = await resolve(aws.api(), "prod/web:nginx")
    calls = len(aws.calls)
    with pytest.raises(InvalidRequest):
        await begin(aws.api(), ref, "  \n")
    assert len(aws.calls) == calls


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("AccessDeniedException", "User: arn:aws:iam::1:user/me is not authorized"),
        Refusal("InvalidDocument", "Document does not exist"),
        Refusal("TargetNotConnected", "ecs:prod_x is not connected."),
        Refusal("ValidationException", "target does not match pattern"),
        Refusal("InternalServerError", "", 500),
    ],
)
async def test_start_session_refused(aws: FakeAws, refusal: Refusal) -> None:
    one(aws)
    (ref,) = await resolve(aws.api(), "prod/web:nginx")
    aws.always["StartSession"] = refusal
    with pytest.raises(MethodUnavailable) as caught:
        await start_noninteractive(aws.api(), ref, "true")
    assert "ssm:StartSession" in caught.value.cause
    assert "not log" in caught.value.cause
    assert "not proven" in caught.value.cause
    assert "execute-command" in caught.value.cure
    assert caught.value.code == refusal.code
    assert aws.count("StartSession") == 1


async def test_a_port_is_waited_for_as_a_command_is(aws: FakeAws) -> None:
    one(aws, agent_started=NOW - timedelta(seconds=20))
    (ref,) = await resolve(aws.api(), "prod/web:nginx")
    not_yet = Refusal("TargetNotConnected", "ecs:prod_x is not connected.")
    aws.refuse("StartSession", not_yet, UNAVAILABLE, not_yet)
    clock = Clock()
    told: list[str] = []
    session = await start_forwarding(
        aws.api(), ref, 5432, "db.internal", retry=clock.retry(), on_wait=told.append
    )
    assert session.session_id == "me-1"
    assert aws.count("StartSession") == 4
    assert len(clock.slept) == 3
    assert len(told) == 1
    assert "just started" in told[0]
    assert aws.calls[-1][1]["Parameters"] == {"portNumber": ["5432"], "host": ["db.internal"]}


async def test_a_port_of_an_agent_that_is_not_there(aws: FakeAws) -> None:
    one(aws, agent_started=NOW - timedelta(hours=1))
    (ref,) = await resolve(aws.api(), "prod/web:nginx")
    aws.always["StartSession"] = Refusal("TargetNotConnected", "ecs:prod_x is not connected.")
    clock = Clock()
    with pytest.raises(AgentNotConnected):
        await start_forwarding(aws.api(), ref, 80, retry=clock.retry())
    assert clock.slept == []
    assert aws.count("StartSession") == 1


async def test_bad_credentials_are_not_the_methods_fault(aws: FakeAws) -> None:
    one(aws)
    (ref,) = await resolve(aws.api(), "prod/web:nginx")
    aws.always["StartSession"] = Refusal("ExpiredTokenException", "The security token is expired")
    with pytest.raises(CredentialsError):
        await start_noninteractive(aws.api(), ref, "true")


# -- trying again --------------------------------------------------------------------------------


async def test_agent_that_has_just_started_is_waited_for(aws: FakeAws) -> None:
    one(aws, agent_started=NOW - timedelta(seconds=20))
    aws.refuse("ExecuteCommand", NOT_CONNECTED, NOT_CONNECTED, NOT_CONNECTED)
    clock = Clock()
    told: list[str] = []
    session = await start(aws, clock, on_wait=told.append)
    assert session.session_id == "ecs-execute-command-4"
    assert clock.slept == pytest.approx([1.0, 1.7, 2.89])
    assert len(told) == 1
    assert "just started" in told[0]


async def test_agent_that_never_connects_is_given_up_after_its_first_minute(aws: FakeAws) -> None:
    one(aws, agent_started=NOW - timedelta(seconds=20))
    aws.always["ExecuteCommand"] = NOT_CONNECTED
    clock = Clock()
    with pytest.raises(AgentNotConnected) as caught:
        await start(aws, clock)
    assert 40 <= sum(clock.slept) <= 48
    assert max(clock.slept) == 8.0
    assert caught.value.code == "TargetNotConnectedException"
    assert "ssmmessages" in caught.value.cause
    assert caught.value.request_id


async def test_agent_of_an_hour_is_not_waited_for(aws: FakeAws) -> None:
    one(aws, agent_started=NOW - timedelta(hours=1))
    aws.always["ExecuteCommand"] = NOT_CONNECTED
    clock = Clock()
    with pytest.raises(AgentNotConnected):
        await start(aws, clock)
    assert clock.slept == []


async def test_agents_clock_ahead_of_ours(aws: FakeAws) -> None:
    one(aws, agent_started=NOW + timedelta(hours=1))
    aws.always["ExecuteCommand"] = NOT_CONNECTED
    clock = Clock()
    with pytest.raises(AgentNotConnected):
        await start(aws, clock)
    assert 60 <= sum(clock.slept) <= 68


async def test_start_of_the_task_stands_in_for_the_agents(aws: FakeAws) -> None:
    one(aws, started=NOW - timedelta(seconds=58))
    aws.refuse("ExecuteCommand", NOT_CONNECTED)
    assert (await start(aws)).session_id


async def test_one_message_two_meanings(aws: FakeAws) -> None:
    task = one(aws, agent_started=NOW - timedelta(hours=1), exec_enabled=False)
    aws.always["ExecuteCommand"] = NOT_ENABLED
    with pytest.raises(ExecNotEnabled, match="not enabled"):
        await start(aws)
    task.exec_enabled, task.agent, task.agent_reason = True, "STOPPED", "no memory"
    with pytest.raises(AgentNotConnected, match="STOPPED") as caught:
        await start(aws)
    assert caught.value.cause == "no memory"
    task.agent, task.agent_reason = "RUNNING", ""
    with pytest.raises(AgentNotConnected, match="not ready"):
        await start(aws)


async def test_agent_that_is_starting_is_waited_for(aws: FakeAws) -> None:
    one(aws, agent="PENDING", started=NOW - timedelta(hours=2))
    aws.refuse("ExecuteCommand", NOT_ENABLED, NOT_ENABLED)
    clock = Clock()
    assert (await start(aws, clock)).session_id == "ecs-execute-command-3"
    assert len(clock.slept) == 2


async def test_task_that_is_gone(aws: FakeAws) -> None:
    task = one(aws, agent_started=NOW)
    (ref,) = await resolve(aws.api(), "prod/web:nginx")
    task.status = task.desired = "STOPPED"
    task.stopped_reason = "Scaling activity"
    aws.always["ExecuteCommand"] = NOT_CONNECTED
    clock = Clock()
    with pytest.raises(TargetNotFound, match="STOPPED") as caught:
        await start_exec(aws.api(), ref, "uptime", retry=clock.retry())
    assert caught.value.cause == "Scaling activity"
    assert clock.slept == []


@pytest.mark.parametrize("refusal", [UNAVAILABLE, THROTTLED])
async def test_troubles_of_aws_are_tried_again(aws: FakeAws, refusal: Refusal) -> None:
    one(aws)
    aws.refuse("ExecuteCommand", *[refusal] * 4)
    clock = Clock()
    assert (await start(aws, clock)).session_id == "ecs-execute-command-5"
    assert len(clock.slept) == 4


async def test_troubles_of_aws_are_given_up(aws: FakeAws) -> None:
    one(aws)
    aws.always["ExecuteCommand"] = THROTTLED
    clock = Clock()
    began = clock.now
    with pytest.raises(Throttled):
        await start(aws, clock)
    assert 10 < aws.count("ExecuteCommand") < 40
    assert 60 <= (clock.now - began).total_seconds() < 80
    aws.always["ExecuteCommand"] = UNAVAILABLE
    with pytest.raises(ServiceError):
        await start(aws)


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("InternalFailure", "something broke", 500),
        Refusal("ServerException", "something broke", 500),
        Refusal("ClientException", "Unable to start new execute sessions because the maximum "
                "session limit of 2 has been reached."),
    ],
)  # fmt: skip
async def test_what_may_have_started_is_never_repeated(aws: FakeAws, refusal: Refusal) -> None:
    one(aws)
    aws.always["ExecuteCommand"] = refusal
    with pytest.raises(ServiceError):
        await start(aws)
    assert aws.count("ExecuteCommand") == 1


async def test_denied(aws: FakeAws) -> None:
    one(aws)
    aws.always["ExecuteCommand"] = Refusal(
        "AccessDeniedException",
        "User: arn:aws:iam::1:user/me is not authorized to perform: ecs:ExecuteCommand on "
        "resource: arn:aws:ecs:eu-west-1:1:cluster/prod because no identity-based policy allows",
    )
    with pytest.raises(AccessDenied) as caught:
        await start(aws)
    assert "ecs:ExecuteCommand" in caught.value.cure
    assert "cluster/prod" in caught.value.cure
    assert "condition" in caught.value.cure
    assert caught.value.request_id


# -- cancelling ----------------------------------------------------------------------------------


async def test_session_that_nobody_waits_for_any_more_is_ended(aws: FakeAws) -> None:
    one(aws)
    aws.gate = threading.Event()
    starting = asyncio.create_task(start(aws))
    assert await asyncio.to_thread(aws.entered.wait, 60)
    starting.cancel()
    await asyncio.sleep(0.02)
    aws.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert aws.ended == ["ecs-execute-command-1"]


async def test_cancelled_at_every_step(aws: FakeAws) -> None:
    """However many turns of the loop it is until the cancellation, no session is left over."""
    one(aws)
    for turns in range(40):
        before = len(aws.ended)
        begun = aws.count("ExecuteCommand")
        starting = asyncio.create_task(start(aws))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            left = aws.count("ExecuteCommand") - begun
            for _ in range(12_000):
                if len(aws.ended) - before == left:
                    break
                await asyncio.sleep(0.005)
            assert len(aws.ended) - before == left
    assert aws.count("ExecuteCommand") > 0


async def test_impatient_second_cancellation_still_ends_the_session(aws: FakeAws) -> None:
    one(aws)
    aws.gate = threading.Event()
    starting = asyncio.create_task(start(aws))
    assert await asyncio.to_thread(aws.entered.wait, 60)
    starting.cancel()
    await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert aws.ended == []
    aws.gate.set()
    assert await asyncio.to_thread(aws.one_ended.wait, 60)
    assert aws.ended == ["ecs-execute-command-1"]


# -- secrets -------------------------------------------------------------------------------------


async def test_token_in_no_text(aws: FakeAws, caplog: pytest.LogCaptureFixture) -> None:
    one(aws)
    with caplog.at_level(logging.DEBUG):
        session = await start(aws)
        await session.services.resume()
    for text in (repr(session), str(session), repr(session.services), caplog.text, f"{session}"):
        assert "SECRET-TOKEN" not in text
        assert "data-channel" not in text or text is caplog.text


async def test_answer_without_a_session_tells_no_token(aws: FakeAws) -> None:
    one(aws)
    aws.ExecuteCommand = lambda asked: {  # type: ignore[method-assign]  # a broken service
        "session": {"tokenValue": "SECRET-TOKEN", "sessionId": "s"}
    }
    with pytest.raises(ServiceError) as caught:
        await start(aws)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


async def test_errors_pickle(aws: FakeAws) -> None:
    one(aws)
    aws.always["ExecuteCommand"] = THROTTLED
    with pytest.raises(Throttled) as caught:
        await start(aws)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.code) == (Throttled, str(caught.value), caught.value.code)
    assert copy.cure == caught.value.cure


# -- what a running session needs ----------------------------------------------------------------


def services(aws: FakeAws) -> AwsSessionServices:
    return AwsSessionServices(aws.api(), SessionGrant("s-1", "wss://old", "SECRET-TOKEN", "ecs:x"))


async def test_resume(aws: FakeAws) -> None:
    session = services(aws)
    assert await session.resume() == ("wss://new", "NEXT")
    assert aws.calls[-1] == ("ResumeSession", {"SessionId": "s-1"})
    aws.refuse("ResumeSession", Refusal("DoesNotExistException", "no such session"))
    assert await session.resume() == ("wss://new", "")
    aws.refuse("ResumeSession", Refusal("AccessDeniedException", "no"))
    with pytest.raises(AccessDenied, match="ssm:ResumeSession"):
        await session.resume()


async def test_terminate(aws: FakeAws) -> None:
    session = services(aws)
    await session.terminate()
    assert aws.ended == ["s-1"]
    aws.refuse("TerminateSession", Refusal("DoesNotExistException", "no such session"))
    await session.terminate()
    aws.refuse("TerminateSession", Refusal("AccessDeniedException", "no"))
    with pytest.raises(AccessDenied, match="ssm:TerminateSession"):
        await session.terminate()


async def test_data_key(aws: FakeAws) -> None:
    context = {"aws:ssm:SessionId": "s-1", "aws:ssm:TargetId": "ecs:x"}
    clear, sealed = await services(aws).generate_data_key("alias/k", context)
    assert (len(clear), sealed) == (64, b"sealed")
    assert aws.calls[-1] == (
        "GenerateDataKey",
        {"KeyId": "alias/k", "NumberOfBytes": 64, "EncryptionContext": context},
    )
    aws.always["GenerateDataKey"] = Refusal("AccessDeniedException", "not authorized")
    with pytest.raises(AccessDenied) as caught:
        await services(aws).generate_data_key("alias/k", context)
    assert "kms:GenerateDataKey" in caught.value.cure
    for code, word in (("DisabledException", "enable"), ("NotFoundException", "update-cluster")):
        aws.always["GenerateDataKey"] = Refusal(code, "x")
        with pytest.raises(ServiceError) as failed:
            await services(aws).generate_data_key("alias/k", context)
        assert word in failed.value.cure


async def test_signature_is_the_one_of_botocore(aws: FakeAws) -> None:
    url = "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/s-1?role=publish_subscribe&a=b"
    api = aws.api()
    headers = await AwsSessionServices(api, SessionGrant("s", url, "t", "")).sign(url)
    assert set(headers) == {"X-Amz-Date", "Authorization"}
    assert "eu-west-1/ssmmessages/aws4_request" in headers["Authorization"]
    assert "SignedHeaders=host;x-amz-date" in headers["Authorization"]
    # Signed again at the same time, by hand:
    request = AWSRequest("GET", url.replace("wss", "https"))
    request.context["timestamp"] = headers["X-Amz-Date"]
    request.headers["X-Amz-Date"] = headers["X-Amz-Date"]
    credentials: Any = api.session.get_credentials()
    auth = SigV4Auth(credentials, "ssmmessages", "eu-west-1")
    expected = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    assert headers["Authorization"].endswith(f"Signature={expected}")
    assert datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")


async def test_the_first_upgrade_is_signed_with_the_start(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    one(aws)
    started = await start(aws)
    url, services = started.grant.stream_url, started.services
    assert isinstance(services, AwsSessionServices)
    asked: list[Any] = []

    async def in_thread(work: Any) -> Any:
        asked.append(work)
        return work()

    monkeypatch.setattr(services._api, "in_thread", in_thread)
    assert "Authorization" in await services.sign(url)
    assert not asked
    # Later ones are signed when they are made: a signature is good for some minutes only.
    assert "Authorization" in await services.sign(url)
    assert len(asked) == 1


async def test_presigned_urls_and_missing_credentials_are_not_signed(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = services(aws)
    assert await session.sign("wss://h/p?role=x&X-Amz-Signature=abc") == {}
    assert await session.sign("wss://h/p?x-amz-algorithm=") == {}
    api = aws.api()
    monkeypatch.setattr(api.session, "get_credentials", lambda: None)
    grant = SessionGrant("s", "wss://h/p", "t", "")
    assert await AwsSessionServices(api, grant).sign("wss://h/p") == {}

    def fail() -> None:
        raise EcsExecError("expired")

    monkeypatch.setattr(api.session, "get_credentials", fail)
    assert await AwsSessionServices(api, grant).sign("wss://h/p") == {}
