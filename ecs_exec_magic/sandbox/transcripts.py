"""Session logs: all that a session printed, in CloudWatch Logs and in S3 (PROTOCOL 6.9, 6.10).

Knows what the agent checks before a session, how it makes the log and where it puts it. Never
knows frames, or what ran.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from . import agentlog
from .account import partition
from .containers import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .agent import SessionPlan
    from .containers import Container
    from .pace import Pace

__all__ = ["Account", "LoggingPlan", "Roles", "Transcript", "Transcripts", "log_events"]

_EVENT_LIMIT = 200_000  # bytes of one event
_EVENTS_PER_CALL = 4
_UPLOAD_TRIES = 5  # the real agent tries until it is stopped, and the session stays open so long
_MEMORY = 1 << 16  # bytes of output kept in memory; more goes to a file
_CHUNK = 1 << 16

_GROUP_NOT_ENCRYPTED = (
    "We couldn't start the session because encryption is not set up on the selected CloudWatch "
    "Logs log group. Either encrypt the log group or choose an option to enable logging without "
    "encryption."
)
_BUCKET_NOT_ENCRYPTED = (
    "We couldn't start the session because encryption is not set up on the selected Amazon S3 "
    "bucket. Either encrypt the bucket or choose an option to enable logging without encryption."
)
_BUCKET_UNKNOWN = (
    "Couldn't start the session because we are unable to validate encryption on Amazon S3 bucket. "
    "Error: "
)
_NO_GROUP = (
    "The CloudWatch log group specified in session preferences either does not exist or unable to "
    "validate its existence. This might result in no logging of session data to CloudWatch."
)


class Account(Protocol):
    """What this room needs of the account."""

    account_id: str

    async def call(
        self, service: str, operation: str, region: str, /, **parameters: Any
    ) -> dict[str, Any]:
        """Call an AWS API; raises botocore's ClientError."""


class Roles(Protocol):
    """What this room needs of the authoriser."""

    async def role_allows(
        self,
        role_arn: str | None,
        action: str,
        resource: str = "*",
        context: Mapping[str, Sequence[str]] = ...,
    ) -> bool:
        """Whether a task's role may do this."""


@dataclass(frozen=True, slots=True)
class LoggingPlan:
    """Where the log of a session goes, as the cluster's configuration says.

    Attributes:
        log_group: of CloudWatch Logs, or None.
        log_group_encrypted: the session must not start unless the group is encrypted with a key.
        bucket: of S3, or None.
        prefix: of the object's key.
        bucket_encrypted: the session must not start unless the bucket is encrypted.
    """

    log_group: str | None = None
    log_group_encrypted: bool = False
    bucket: str | None = None
    prefix: str = ""
    bucket_encrypted: bool = False


class _Refused(Exception):
    """An AWS call did not succeed; the text is as the agent's SDK words it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Transcripts:
    """Makes the logs of all sessions.

    Args:
        account: where groups, streams and buckets are.
        roles: says what a task's role may do.
        pace: how long an upload takes.
    """

    def __init__(self, account: Account, roles: Roles, pace: Pace) -> None:
        self._account = account
        self._roles = roles
        self._pace = pace

    async def refusal(self, plan: SessionPlan, container: Container) -> str:
        """Why a session must not start, in the agent's words; empty when it may."""
        logging = plan.logging
        if logging is None:
            return ""
        if logging.log_group:
            group = await self._group(plan, container)
            if group is None:
                await agentlog.write(container, plan.session_id, "WARN", _NO_GROUP)
            if logging.log_group_encrypted and not (group or {}).get("kmsKeyId"):
                return _GROUP_NOT_ENCRYPTED
        if logging.bucket and logging.bucket_encrypted:
            try:
                encrypted = await self._is_encrypted(plan, logging.bucket)
            except _Refused as error:
                return f"{_BUCKET_UNKNOWN}{error}"
            if not encrypted:
                return _BUCKET_NOT_ENCRYPTED
        return ""

    def begin(self, plan: SessionPlan) -> Transcript | None:
        """Start to keep what a session prints; None when nobody wants its log."""
        logging = plan.logging
        if logging is None or not (logging.log_group or logging.bucket):
            return None
        return Transcript(self, plan)

    async def upload(self, plan: SessionPlan, container: Container, log: IO[bytes]) -> None:
        """Put a log where it belongs; what fails is told in the agent's log only."""
        assert plan.logging is not None
        if plan.logging.bucket:
            log.seek(0)
            await self._to_bucket(plan, container, plan.logging.bucket, log)
        if plan.logging.log_group:
            log.seek(0)
            await self._to_group(plan, container, plan.logging.log_group, log)

    # calls with the task's role

    async def _call(
        self, plan: SessionPlan, action: str, resource: str, operation: str, **parameters: Any
    ) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        service = action.partition(":")[0]
        if not await self._roles.role_allows(plan.role_arn, action, resource):
            if service == "s3":
                raise _Refused("AccessDenied", _worded("AccessDenied", "Access Denied", 403))
            role = (plan.role_arn or "no role").rpartition("/")[2]
            task = plan.target_id.rpartition("_")[0].rpartition("_")[2]
            message = (
                f"User: arn:aws:sts::{self._account.account_id}:assumed-role/{role}/{task} is not "
                f"authorized to perform: {action} on resource: {resource} because no "
                f"identity-based policy allows the {action} action"
            )
            code = "AccessDeniedException"
            raise _Refused(code, _worded(code, message, 400))
        try:
            return await self._account.call(service, operation, plan.region, **parameters)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            raise _Refused(code, _worded(code, message, status)) from None

    async def _group(self, plan: SessionPlan, container: Container) -> dict[str, Any] | None:
        assert plan.logging is not None
        name = plan.logging.log_group
        more: dict[str, str] = {}
        while True:
            try:
                page = await self._call(
                    plan,
                    "logs:DescribeLogGroups",
                    "*",
                    "describe_log_groups",
                    logGroupNamePrefix=name,
                    **more,
                )
            except _Refused as error:
                text = f"Error in calling DescribeLogGroups:{error}"
                await agentlog.write(container, plan.session_id, "ERROR", text)
                return None
            for group in page["logGroups"]:
                if group["logGroupName"] == name:
                    found: dict[str, Any] = group
                    return found
            if not page.get("nextToken"):
                return None
            more = {"nextToken": page["nextToken"]}

    async def _is_encrypted(self, plan: SessionPlan, bucket: str) -> bool:
        try:
            answer = await self._call(
                plan,
                "s3:GetEncryptionConfiguration",
                f"arn:{partition(plan.region)}:s3:::{bucket}",
                "get_bucket_encryption",
                Bucket=bucket,
            )
        except _Refused as error:
            if error.code == "ServerSideEncryptionConfigurationNotFoundError":
                return False
            raise
        return bool(answer["ServerSideEncryptionConfiguration"]["Rules"])

    async def _to_bucket(
        self, plan: SessionPlan, container: Container, bucket: str, log: IO[bytes]
    ) -> None:
        assert plan.logging is not None
        prefix = plan.logging.prefix.strip("/")
        key = f"{prefix}/{plan.session_id}.log" if prefix else f"{plan.session_id}.log"
        try:
            await self._call(
                plan,
                "s3:PutObject",
                f"arn:{partition(plan.region)}:s3:::{bucket}/{key}",
                "put_object",
                Bucket=bucket,
                Key=key,
                Body=log,
                ContentType="text/plain",
            )
        except _Refused as error:
            text = f"Failed uploading {_log_path(plan)} to s3://{bucket}/{key} err:{error}"
            await agentlog.write(container, plan.session_id, "ERROR", text)

    async def _to_group(
        self, plan: SessionPlan, container: Container, group: str, log: IO[bytes]
    ) -> None:
        where = f"arn:{partition(plan.region)}:logs:{plan.region}:{self._account.account_id}"
        stream = f"{where}:log-group:{group}:log-stream:{plan.session_id}"
        names = {"logGroupName": group, "logStreamName": plan.session_id}
        await asyncio.sleep(self._pace.upload)
        if await self._group(plan, container) is None:
            text = (
                f'CloudWatch log group "{group}" does not exist. Log streaming cannot be continued.'
            )
            await agentlog.write(container, plan.session_id, "ERROR", text)
            return
        try:
            await self._call(plan, "logs:CreateLogStream", stream, "create_log_stream", **names)
        except _Refused as error:
            if error.code != "ResourceAlreadyExistsException":
                text = f"Error Creating Log Stream for CloudWatchLogs output: {error}"
                await agentlog.write(container, plan.session_id, "ERROR", text)
                return
        events: list[dict[str, Any]] = []
        for message in log_events(log):
            events.append({"timestamp": int(time.time() * 1000), "message": message})
            if len(events) == _EVENTS_PER_CALL:
                if not await self._put(plan, container, stream, names, events):
                    return
                events = []
        if events:
            await self._put(plan, container, stream, names, events)

    async def _put(
        self,
        plan: SessionPlan,
        container: Container,
        stream: str,
        names: dict[str, str],
        events: list[dict[str, Any]],
    ) -> bool:
        for _ in range(_UPLOAD_TRIES):
            try:
                await self._call(
                    plan, "logs:PutLogEvents", stream, "put_log_events", logEvents=events, **names
                )
            except _Refused as error:
                text = f"Failed to upload message to CloudWatch, err: {error}"
                await agentlog.write(container, plan.session_id, "WARN", text)
                if error.code == "ResourceNotFoundException":
                    return False
            else:
                await asyncio.sleep(self._pace.upload)  # until the agent's next look at the file
                return True
            await asyncio.sleep(self._pace.upload)
        return False


class Transcript:
    """What one session has printed so far."""

    def __init__(self, owner: Transcripts, plan: SessionPlan) -> None:
        self._owner = owner
        self._plan = plan
        self._printed = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115  # close()

    def add(self, data: bytes) -> None:
        """Keep a piece of output."""
        self._printed.write(data)

    async def finish(self, container: Container) -> str:
        """Make the log in the container's own way and upload it.

        Returns:
            What failed, in the agent's words; empty when the session has ended well, whether or
            not the log could be put in its place.
        """
        try:
            failure = await _cannot_be_made(container, self._plan)
        except StartError:
            return ""  # the container has stopped, and the agent in it with it: there is no log
        if failure:
            text = f"unable to generate log data: {failure}"
            await agentlog.write(container, self._plan.session_id, "ERROR", text)
            return text
        with tempfile.TemporaryFile() as log:
            self._write(log)
            await self._owner.upload(self._plan, container, log)
        return ""

    def _write(self, log: IO[bytes]) -> None:
        """The log as ``script LOG -c "cat PRINTED"`` writes it: on a terminal of its own."""
        now = time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime())
        begins = f'[COMMAND="cat {_printed_path(self._plan)}" <not executed on terminal>]'
        log.write(f"Script started on {now} {begins}\n".encode())
        self._printed.seek(0)
        while chunk := self._printed.read(_CHUNK):
            log.write(chunk.replace(b"\n", b"\r\n"))
        now = time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime())
        log.write(f'\nScript done on {now} [COMMAND_EXIT_CODE="0"]\n'.encode())
        log.flush()

    def close(self) -> None:
        """Forget it."""
        self._printed.close()


def log_events(log: IO[bytes], limit: int = _EVENT_LIMIT) -> Iterator[str]:
    """The messages of a log's events: whole lines, as many as fit into ``limit`` bytes.

    A line longer than an event is cut; one line end is taken off each event.
    """
    event = b""
    while line := log.readline(limit):
        if len(event) + len(line) > limit:
            yield _message(event)
            event = b""
        event += line
    if event:
        yield _message(event)


def _message(event: bytes) -> str:
    text = event.replace(b"\r\n", b"\n").decode("utf-8", "replace")
    return text[:-1] if text.endswith("\n") else text


async def _cannot_be_made(container: Container, plan: SessionPlan) -> str:
    """Both ways in which the agent tries to make a log, and how they fail; empty if one works."""
    head = "Failed to generate transcript with the following errors:\n"
    if not await agentlog.has_program(container, "script"):
        missing = 'exec: "script": executable file not found in $PATH'
        return f"{head}{missing}: \n{missing}:"
    if not await agentlog.has_program(container, "cat"):
        usage = "script: unexpected number of arguments\nTry 'script --help' for more information."
        return f"{head}exit status 127: \nexit status 1:{usage}"
    return ""


def _printed_path(plan: SessionPlan) -> str:
    return f"{_directory(plan)}/ipcTempFile.log"


def _log_path(plan: SessionPlan) -> str:
    return f"{_directory(plan)}/{plan.session_id}.log"


def _directory(plan: SessionPlan) -> str:
    agent = plan.target_id.removeprefix("ecs:")
    where = f"/var/lib/amazon/ssm/{agent}/session/orchestration"
    return f"{where}/{plan.session_id}/{plan.kind}"


def _worded(code: str, message: str, status: int) -> str:
    return f"{code}: {message}\n\tstatus code: {status}, request id: {uuid.uuid4()}"
