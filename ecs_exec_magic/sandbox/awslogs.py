"""The awslogs driver: what main processes print goes to CloudWatch Logs.

Knows groups, streams, events and their limits. Never knows tasks or pipes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .account import Account
    from .iam import Authorizer

__all__ = ["AwsLogs", "LogError", "LogTarget"]

_LOG = logging.getLogger(__name__)
_BATCH = 10_000  # events
_BATCH_BYTES = 900_000
_EVENT_BYTES = 256 * 1024 - 26
_OVERHEAD = 26  # bytes that CloudWatch Logs counts for each event
_KEPT_BYTES = 4 << 20  # of one stream while the service does not take them
_PAUSE = 0.05  # seconds that lines are gathered for


class LogError(Exception):
    """The driver cannot start; the message is what a task's stoppedReason then says."""


@dataclass(frozen=True, slots=True)
class LogTarget:
    """One container's stream.

    Attributes:
        create: whether a missing group is made (``awslogs-create-group``).
    """

    region: str
    group: str
    stream: str
    create: bool = False

    @classmethod
    def of(cls, definition: dict[str, Any], region: str, task_id: str) -> LogTarget | None:
        """Where a container definition sends its output, if to CloudWatch Logs."""
        configuration = definition.get("logConfiguration") or {}
        if configuration.get("logDriver") != "awslogs":
            return None
        options = configuration.get("options") or {}
        prefix = options.get("awslogs-stream-prefix")
        stream = f"{prefix}/{definition['name']}/{task_id}" if prefix else task_id
        return cls(
            options.get("awslogs-region") or region,
            options.get("awslogs-group", ""),
            stream,
            options.get("awslogs-create-group") == "true",
        )


@dataclass(slots=True)
class _Stream:
    """Lines of one stream that wait to be sent, and the bytes of a line without its end."""

    events: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    rest: bytes = b""

    def add(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        while len(self.rest) > _EVENT_BYTES:
            lines.append(self.rest[:_EVENT_BYTES])
            self.rest = self.rest[_EVENT_BYTES:]
        for line in lines:
            self._event(line)

    def end(self) -> None:
        self._event(self.rest)
        self.rest = b""

    def _event(self, line: bytes) -> None:
        now = int(time.time() * 1000)
        for start in range(0, len(line), _EVENT_BYTES):  # an empty line is no event
            text = line[start : start + _EVENT_BYTES].rstrip(b"\r").decode("utf-8", "replace")
            if text and self.size < _KEPT_BYTES:
                self.events.append({"timestamp": now, "message": text})
                self.size += len(text) + _OVERHEAD


def _batches(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    batches: list[list[dict[str, Any]]] = [[]]
    size = 0
    for event in events:
        length = len(event["message"].encode()) + _OVERHEAD
        if batches[-1] and (len(batches[-1]) >= _BATCH or size + length > _BATCH_BYTES):
            batches.append([])
            size = 0
        batches[-1].append(event)
        size += length
    return batches


class AwsLogs:
    """Every stream of the practice cluster's tasks."""

    def __init__(self, account: Account, authorizer: Authorizer) -> None:
        self._account = account
        self._authorizer = authorizer
        self._streams: dict[LogTarget, _Stream] = {}
        self._due: set[LogTarget] = set()
        self._sender: asyncio.Task[None] | None = None

    async def open(self, target: LogTarget, role_arn: str | None, group_arn: str) -> None:
        """Make the stream, as the driver does before the container starts.

        Args:
            target: which.
            role_arn: the execution role; without one the instance's own role counts, which may.
            group_arn: of the log group.

        Raises:
            LogError: the group is missing, or the execution role may not write to it.
        """
        from botocore.exceptions import ClientError

        actions = ["logs:CreateLogStream", *(["logs:CreateLogGroup"] if target.create else [])]
        for action in actions if role_arn else ():
            if not await self._authorizer.role_allows(role_arn, action, f"{group_arn}:*"):
                raise LogError(
                    "ResourceInitializationError: failed to validate logger args: create stream "
                    "has been retried 1 times: failed to create Cloudwatch log stream: "
                    "AccessDeniedException: The execution role is not authorized to perform: "
                    f"{action} on resource: {group_arn} : exit status 1"
                )
        try:
            await self._make(target)
        except ClientError as error:
            found = error.response["Error"]
            raise LogError(
                "ResourceInitializationError: failed to validate logger args: create stream "
                "has been retried 1 times: failed to create Cloudwatch log stream: "
                f"{found['Code']}: {found['Message']} : exit status 1"
            ) from None

    async def _make(self, target: LogTarget) -> None:
        """Make a stream, and its group only when it is missing and may be made."""
        from botocore.exceptions import ClientError

        async def call(operation: str, **names: str) -> str:
            try:
                await self._account.call(
                    "logs", operation, target.region, logGroupName=target.group, **names
                )
            except ClientError as error:
                code = str(error.response["Error"]["Code"])
                may_create = target.create and operation == "create_log_stream"
                if code == "ResourceNotFoundException" and may_create:
                    return code
                if code != "ResourceAlreadyExistsException":
                    raise
            return ""

        if await call("create_log_stream", logStreamName=target.stream):
            await call("create_log_group")
            target = replace(target, create=False)  # a second time it is an error
            await call("create_log_stream", logStreamName=target.stream)

    def write(self, target: LogTarget, data: bytes) -> None:
        """Take output; it is sent a moment later. Never waits."""
        self._streams.setdefault(target, _Stream()).add(data)
        self._wake(target)

    def close(self, target: LogTarget) -> None:
        """The container has ended: an unfinished line counts too."""
        if target in self._streams:
            self._streams[target].end()
            self._wake(target)

    def _wake(self, target: LogTarget) -> None:
        self._due.add(target)
        if self._sender is None:
            self._sender = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        while self._due:
            await asyncio.sleep(_PAUSE)
            due, self._due = self._due, set()
            for target in due:
                stream = self._streams.get(target)
                if stream is None:  # it was sent meanwhile
                    continue
                events, stream.events, stream.size = stream.events, [], 0
                if not stream.rest:
                    self._streams.pop(target)
                await self._put(target, events)
        self._sender = None

    async def _put(self, target: LogTarget, events: list[dict[str, Any]]) -> None:
        try:
            for batch in _batches(events) if events else ():
                await self._account.call(
                    "logs",
                    "put_log_events",
                    target.region,
                    logGroupName=target.group,
                    logStreamName=target.stream,
                    logEvents=batch,
                )
        except Exception as error:  # noqa: BLE001  # a deleted group must not stop the others
            _LOG.debug("log events are lost: %s", error)

    async def stop(self) -> None:
        """Send what is left."""
        while self._sender is not None:
            await asyncio.gather(self._sender, return_exceptions=True)
