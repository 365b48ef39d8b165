"""The exec agent's own log file, within the container.

Knows where it is and how a line of it looks. Never knows what happened.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from ..waiting import wait_for
from .containers import StartError

if TYPE_CHECKING:
    from .containers import Container, Process

__all__ = ["PATH", "has_program", "run_quietly", "write"]

PATH = "/var/log/amazon/ssm/amazon-ssm-agent.log"
_APPEND = 'mkdir -p "${2%/*}" && printf "%s\\n" "$1" >>"$2"'
_LIMIT = 10.0


async def write(container: Container, session_id: str, level: str, text: str) -> None:
    """Add a line; where the container has no shell to do it with, it is lost."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    line = f"{stamp} {level} [ssm-session-worker] [{session_id}] {text}"
    path = PATH
    root = str(getattr(container, "root", ""))
    if root and container.workdir.startswith(root):
        path = root + PATH  # not isolated: its root directory is one of the host's
    await run_quietly(container, ["sh", "-c", _APPEND, "sh", line, path])


async def has_program(container: Container, name: str) -> bool:
    """Whether a container has a program on its PATH. Raises StartError when it has stopped."""
    return await container.has(name)


async def run_quietly(container: Container, argv: list[str]) -> int | None:
    """Run a command whose output nobody wants; its wait status, None when it did not run."""
    try:
        await container.start()  # its environment is not known before
        process: Process = await container.spawn(argv, container.environment(), "merged")
    except (StartError, OSError):
        return None
    try:
        return await wait_for(asyncio.shield(process.ended), _LIMIT)
    except asyncio.TimeoutError:
        return None
    finally:
        for handle in process.files:
            os.close(handle)
