"""How many sessions may be open at once: what the caller wants, and what the system gives.

Knows counts, and the limit of open files. Never knows what a session does.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OPENING", "Room", "files_left"]

OPENING = 32
"""Sessions that are being opened at once: as many as there are threads for AWS.

Thousands that all begin together would wait for each other until their time limits are over.
"""

_SPARE = 2 * OPENING + 16
"""Files that are left for calls, names that are looked up, and the rest of the process."""


@dataclass(frozen=True)
class Room:
    """What jobs share that run beside each other.

    Attributes:
        running: commands at once.
        sessions: held while a session is open, its good-bye after the command's end included.
        opening: held while a session is asked for and connected to.
        limit: files that this process may have open, where that is why fewer run than was asked.
    """

    running: int
    sessions: asyncio.Semaphore
    opening: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPENING))
    limit: int | None = None

    @classmethod
    def of(cls, running: int) -> Room:
        """Room for so many commands at once, or for as many as the system gives files for.

        A command's place is free as soon as its result is known; its session says good-bye beside
        the next one. Of these there are never more than of the others.
        """
        wanted = 2 * running
        possible = max(1, files_left(wanted + _SPARE) - _SPARE)
        return cls(
            min(running, possible),
            asyncio.Semaphore(min(wanted, possible)),
            limit=None if possible >= running else _soft_limit(),
        )


def files_left(wanted: int) -> int:
    """How many files can still be opened, ``wanted`` at most.

    The process's own limit is raised as far as that takes, and as far as the system lets it; it is
    left alone where it is wide enough.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit for sockets
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    used = _open_files()
    if soft - used < wanted:
        more = used + wanted
        soft = _raised(resource, more if hard == resource.RLIM_INFINITY else min(more, hard), hard)
    return max(0, min(soft - used, wanted))


def _raised(resource: Any, to: int, hard: int) -> int:
    """The limit that is in force after trying to raise it."""
    before: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, to), hard))
    except (OSError, ValueError):
        return before  # macOS refuses more than its kern.maxfilesperproc, whatever it says of hard
    return max(before, to)


def _soft_limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _open_files() -> int:
    for place in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(place))
        except OSError:
            continue
    return 0
