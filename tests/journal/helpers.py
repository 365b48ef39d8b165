"""Runs to be recorded."""

from __future__ import annotations

from typing import Any

from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.results import CommandResult

__all__ = ["TARGET", "finished"]

TARGET = ContainerRef(
    cluster="prod",
    service="web",
    family="web",
    task_id="0123456789abcdef0123456789abcdef",
    task_arn="arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef0123456789abcdef",
    container="nginx",
    runtime_id="0123456789abcdef0123456789abcdef-0123456789",
    region="eu-west-1",
)


def finished(
    stdout: bytes = b"", stderr: bytes = b"", exit_code: int | None = 0, **more: Any
) -> CommandResult:
    """A result as the client gives it."""
    return CommandResult(
        exit_code,
        more.pop("command", "ls -l /"),
        target=TARGET,
        exact=more.pop("exact", True),
        duration=more.pop("duration", 1.25),
        session_id="ecs-execute-command-0123",
        request_id="11111111-2222",
        captured_stdout=more.pop("captured", None) or Capture(stdout),
        captured_stderr=Capture(stderr),
        **more,
    )
