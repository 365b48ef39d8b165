"""Starting sessions, once and never twice.

Knows ExecuteCommand and StartSession, and when to ask again. Never knows the channel's bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..channel.connection import SessionGrant, SessionServices
from ..errors import (
    AccessDenied,
    AgentNotConnected,
    EcsExecError,
    ExecNotEnabled,
    InvalidRequest,
    MethodUnavailable,
    ServiceError,
    TargetNotFound,
    Throttled,
)
from .census import ours
from .services import AwsSessionServices
from .tasks import describe_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..address import ContainerRef
    from .api import AwsApi
    from .tasks import ContainerInfo, TaskInfo

__all__ = ["Retry", "StartedSession", "start_exec", "start_forwarding", "start_noninteractive"]

_CANCEL_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class StartedSession:
    """A session that AWS has granted; its token is used once, at once.

    Attributes:
        request_id: of the API call; CloudTrail has it.
    """

    grant: SessionGrant = field(repr=False)  # a stream URL can be presigned: a secret as well
    services: SessionServices = field(repr=False)
    request_id: str = ""

    @property
    def session_id(self) -> str:
        """Of Session Manager."""
        return self.grant.session_id


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to try again when an agent is not there yet, and on what clock.

    Attributes:
        window: seconds after the start of an agent in which it may still be connecting.
        first: seconds before the second attempt; later ones come after 1.7 times the one before.
        longest: seconds between attempts at most.
        attempts: at AWS's own troubles.
        throttled: seconds for which a call goes on being tried when AWS takes fewer than there
            are; the pace of all of them slows down meanwhile.
        sleep, now, jitter: for tests; ``jitter`` gives a factor.
    """

    window: float = 60.0
    first: float = 1.0
    longest: float = 8.0
    attempts: int = 5
    throttled: float = 60.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    jitter: Callable[[], float] = lambda: random.uniform(0.7, 1.3)

    def pause(self, attempt: int) -> float:
        """Seconds before the attempt after number ``attempt``, which counts from 0."""
        return float(min(self.first * 1.7**attempt, self.longest)) * self.jitter()


_RETRY = Retry()


async def start_exec(
    api: AwsApi,
    ref: ContainerRef,
    command: str,
    *,
    retry: Retry = _RETRY,
    on_wait: Callable[[str], object] | None = None,
) -> StartedSession:
    """Start a command with ``ecs:ExecuteCommand``; it runs from then on.

    The call is repeated only when AWS says that nothing was started: an agent that is still
    connecting, throttling, or a service that is unavailable. An answer that got lost is an error,
    because the command may run.

    When cancelled, a session that was started all the same is ended.

    Args:
        api: where to ask.
        ref: the container.
        command: what the agent splits into words and executes, without a shell.
        retry: how long to try again.
        on_wait: called with a sentence for people before the first repetition.

    Raises:
        InvalidRequest: the command is blank.
        AgentNotConnected: the agent is not there, also after the time it may need.
        ExecNotEnabled: the task was started without ECS Exec.
        TargetNotFound: the task or container is gone.
        AccessDenied: the caller lacks ``ecs:ExecuteCommand``.
    """
    if not command.strip():
        raise InvalidRequest("the command is blank", cure="name a program to run")
    return await _persistently(
        lambda: _started(
            api,
            ref,
            "ecs",
            "execute_command",
            cluster=ref.cluster,
            task=ref.task_arn,
            container=ref.container,
            command=command,
            interactive=True,
        ),
        api,
        ref,
        retry,
        on_wait,
    )


async def start_noninteractive(api: AwsApi, ref: ContainerRef, command: str) -> StartedSession:
    """Start a command with ``ssm:StartSession``: no PTY, separate streams, an exit code.

    The second way, to be chosen explicitly: it needs a right that many deny, ECS does not log it,
    and that AWS takes this document for ECS containers is not proven.

    Raises:
        InvalidRequest: the command is blank.
        MethodUnavailable: AWS refuses to start such a session.
    """
    if not command.strip():
        raise InvalidRequest("the command is blank", cure="name a program to run")
    try:
        return await _started(
            api,
            ref,
            "ssm",
            "start_session",
            Target=ref.session_target,
            DocumentName="AWS-StartNonInteractiveCommand",
            Parameters={"command": [command], "separateOutputStream": ["True"]},
        )
    except Throttled:
        raise
    except (
        AccessDenied,
        AgentNotConnected,
        InvalidRequest,
        ServiceError,
        TargetNotFound,
    ) as error:
        refused = MethodUnavailable(
            f'method="start-session" is refused for {ref}: {error.message}',
            cause="it needs ssm:StartSession on the task, which many deny because ECS does not "
            "log such sessions; that AWS takes it for ECS containers is not proven"
            + (f". {error.cause}" if error.cause else ""),
            cure='use method="execute-command", or allow ssm:StartSession on the task and on the '
            "document AWS-StartNonInteractiveCommand",
        )
        refused.code, refused.request_id = error.code, error.request_id
        raise refused from error


async def start_forwarding(
    api: AwsApi,
    ref: ContainerRef,
    port: int,
    host: str | None = None,
    *,
    retry: Retry = _RETRY,
    on_wait: Callable[[str], object] | None = None,
) -> StartedSession:
    """Start a session that carries connections to a port, with ``ssm:StartSession``.

    The call is repeated, and a session that was started all the same is ended, as with
    :func:`start_exec`.

    Args:
        port: of the container, or of ``host``.
        host: another host that the container reaches; None for the container itself.
        retry: how long to try again.
        on_wait: called with a sentence for people before the first repetition.

    Raises:
        MethodUnavailable: the caller may not start such a session.
        AgentNotConnected: the agent is not there, also after the time it may need.
        ExecNotEnabled: the task was started without ECS Exec.
        TargetNotFound: the task or container is gone.
    """
    document = "AWS-StartPortForwardingSession" + ("ToRemoteHost" if host else "")
    parameters = {"portNumber": [str(port)], **({"host": [host]} if host else {})}
    try:
        return await _persistently(
            lambda: _started(
                api,
                ref,
                "ssm",
                "start_session",
                Target=ref.session_target,
                DocumentName=document,
                Parameters=parameters,
            ),
            api,
            ref,
            retry,
            on_wait,
        )
    except AccessDenied as error:
        arn = f"{ref.task_arn.split(':')[1]}:ssm:{ref.region}::document/{document}"
        allowed = {
            "Effect": "Allow",
            "Action": "ssm:StartSession",
            "Resource": [ref.task_arn, f"arn:{arn}"],
        }
        refused = MethodUnavailable(
            f"forwarding a port of {ref} is refused: {error.message}",
            cause="it needs ssm:StartSession on the task, which many deny because ECS does not "
            "log such sessions" + (f". {error.cause}" if error.cause else ""),
            cure="take away the policy that denies it, if there is one, and add to yours: "
            + json.dumps(allowed),
        )
        refused.code, refused.request_id = error.code, error.request_id
        raise refused from error


# -- the call ------------------------------------------------------------------------------------


async def _started(
    api: AwsApi, ref: ContainerRef, service: str, operation: str, **params: Any
) -> StartedSession:
    """Make the call that starts a session, and never lose track of one that was started."""
    lock = threading.Lock()
    state = {"abandoned": False}
    finished: list[StartedSession] = []

    def work() -> StartedSession:
        answer = getattr(api.client(service, once=True), operation)(**params)
        started = _read(api, ref, answer)
        ours(started.session_id)
        with lock:
            finished.append(started)
            abandoned = state["abandoned"]
        if abandoned:
            _end(api, started.session_id)
        return started

    call = asyncio.ensure_future(
        api.in_thread(
            work,
            operation="ecs:ExecuteCommand" if service == "ecs" else "ssm:StartSession",
            about=str(ref),
        )
    )
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        with lock:
            state["abandoned"] = True
            started = finished[0] if finished else None
        rest: asyncio.Future[Any] = call
        if started is not None:
            # The answer is here already, so the thread has not seen that nobody waits for it.
            session_id = started.session_id
            rest = asyncio.wrap_future(api.submit(lambda: _end(api, session_id)))
        rest.add_done_callback(_drop)
        # The caller gives its place in the container away next: let the session end before.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({rest}, timeout=_CANCEL_GRACE)
        raise


def _drop(call: asyncio.Future[Any]) -> None:
    if not call.cancelled():
        call.exception()  # seen: asyncio need not complain about it


def _end(api: AwsApi, session_id: str) -> None:
    api.client("ssm").terminate_session(SessionId=session_id)


def _read(api: AwsApi, ref: ContainerRef, answer: dict[str, Any]) -> StartedSession:
    session = answer.get("session") or answer
    grant = SessionGrant(
        session_id=session.get("sessionId") or session.get("SessionId") or "",
        stream_url=session.get("streamUrl") or session.get("StreamUrl") or "",
        token=session.get("tokenValue") or session.get("TokenValue") or "",
        target=ref.session_target,
    )
    request_id = str((answer.get("ResponseMetadata") or {}).get("RequestId") or "")
    if not (grant.session_id and grant.stream_url):
        error = ServiceError(
            f"AWS started a session for {ref}, but did not say where it is",
            cure="try again; if it stays so, the endpoint is not one of AWS",
        )
        error.request_id = request_id
        raise error
    services = AwsSessionServices(api, grant)
    services.sign_first()
    return StartedSession(grant, services, request_id)


# -- trying again --------------------------------------------------------------------------------


async def _persistently(
    start: Callable[[], Awaitable[StartedSession]],
    api: AwsApi,
    ref: ContainerRef,
    retry: Retry,
    on_wait: Callable[[str], object] | None,
) -> StartedSession:
    """Make a call again while AWS says that nothing was started, and that this may change."""
    deadline: datetime | None = None
    attempt = 0
    patience: datetime | None = None
    while True:
        await api.pace.turn(retry.sleep)
        try:
            started = await start()
            api.pace.served()
            return started
        except (AgentNotConnected, ExecNotEnabled) as error:
            task, container = await _look(api, ref)
            better = _explain(error, ref, task, container)
            if deadline is None:
                deadline = _until_connected(retry, task, container)
            if not _may_come(better, container) or retry.now() >= deadline:
                if container is None or container.agent_status != "PENDING":
                    from .checks.explain import explained

                    better = await explained(api, better, ref)
                if better is error:
                    raise
                raise better from error
            said = f"the exec agent of {ref} has just started and is not connected yet; waiting"
        except Throttled as error:
            api.pace.throttled()
            patience = patience or retry.now() + timedelta(seconds=retry.throttled)
            if retry.now() >= patience:
                raise
            said = f"{error.message}; trying again"
        except ServiceError as error:
            if not _nothing_started(error) or attempt + 1 >= retry.attempts:
                raise
            said = f"{error.message}; trying again"
        if attempt == 0 and on_wait is not None:
            on_wait(said)
        attempt += 1
        if patience is None:  # else the pace of all calls says when
            await retry.sleep(retry.pause(attempt - 1))


def _nothing_started(error: ServiceError) -> bool:
    """Whether AWS's answer says that no command runs, so that a repetition is safe."""
    if error.code not in ("ServerException", "ServiceUnavailable", "ServiceUnavailableException"):
        return False
    said = error.cause.lower()
    return "unavailable" in said or "try again" in said


async def _look(api: AwsApi, ref: ContainerRef) -> tuple[TaskInfo | None, ContainerInfo | None]:
    try:
        tasks = await describe_tasks(api, ref.cluster, [ref.task_arn])
    except EcsExecError:
        return None, None
    task = tasks[0] if tasks else None
    return task, task.container(ref.container) if task else None


def _explain(
    error: EcsExecError, ref: ContainerRef, task: TaskInfo | None, container: ContainerInfo | None
) -> EcsExecError:
    """The same error, or a better one if the task itself tells more."""
    better = error
    if task is not None and not task.running:
        better = TargetNotFound(
            f"task {task.address} does not run any more: it is {task.status}",
            cause=task.stopped_reason,
            cure="name its service, or a task that runs",
        )
    elif task is not None and container is not None:
        refusal = task.refusal(container)
        if refusal is not None:
            better = refusal
        elif isinstance(error, ExecNotEnabled):
            # AWS has one message for two things, and this task has ECS Exec: it is the agent.
            better = AgentNotConnected(
                f"the exec agent of {ref} is not ready",
                cause=error.cause,
                cure="wait some seconds and try again",
            )
    better.code, better.request_id = error.code, error.request_id
    return better


def _may_come(error: EcsExecError, container: ContainerInfo | None) -> bool:
    """Whether the agent may connect by itself."""
    starting = container is not None and container.agent_status in ("PENDING", "RUNNING")
    return isinstance(error, AgentNotConnected) and starting


def _until_connected(
    retry: Retry, task: TaskInfo | None, container: ContainerInfo | None
) -> datetime:
    """Until when an agent may still be connecting."""
    now = retry.now()
    started = container.agent_started_at if container else None
    if container is not None and container.agent_status == "PENDING":
        started = now
    elif started is None and task is not None:
        started = task.started_at
    if started is None:
        return now  # nothing tells that it is new
    # Clocks differ: an agent from the future has started just now.
    return min(started, now) + timedelta(seconds=retry.window)
