"""Practice containers: what the rest of the sandbox knows of one.

Knows the words: container, process, main process. Never knows how a container is isolated, nor
sessions, frames or AWS.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "KILLED",
    "TERMINATED",
    "Backend",
    "Container",
    "ContainerSpec",
    "Events",
    "Process",
    "StartError",
]

TERMINATED, KILLED = 143, 137
"""Exit codes of a main process that SIGTERM or SIGKILL ended."""


class StartError(Exception):
    """A process could not be started; the message is what Go's exec package would say."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a task definition, as far as running it goes.

    Attributes:
        name: unique in its task.
        image: as the task definition names it.
        hostname: its name within.
        address: its private address, for ``/etc/hosts``.
        environment: the task definition's variables, and what ECS adds.
        entry_point: the definition's; None for the image's own.
        command: the definition's; None for the image's own.
        working_directory: where commands start; empty for the image's own.
        read_only: whether the root file system cannot be written to.
        init: whether the first process reaps orphans.
        ports: what it listens on.
        memory: limit in MiB, where the runtime can hold it.
        essential: whether the task ends with it (the task's business, not the pod's).
    """

    name: str
    image: str
    hostname: str
    address: str
    environment: Mapping[str, str] = field(default_factory=dict)
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_directory: str = ""
    read_only: bool = False
    init: bool = False
    ports: tuple[int, ...] = ()
    memory: int | None = None
    essential: bool = True

    @property
    def has_own_main(self) -> bool:
        """Whether the definition says what to run."""
        return bool(self.entry_point or self.command)


@dataclass(frozen=True, slots=True)
class Events:
    """What becomes of main processes' output and ends; both get the container's name first."""

    on_output: Callable[[str, bytes], object]
    on_exit: Callable[[str, int], object]


@dataclass(slots=True)
class Process:
    """A process that was started in a container.

    Attributes:
        pid: its id as the helper knows it.
        files: descriptors to read from: the terminal's master (also written to), or pipes, or the
            file of both streams; the caller closes them.
        ended: resolves to the wait status when the process has ended.
    """

    pid: int
    files: list[int]
    ended: asyncio.Future[int]

    async def resize(self, rows: int, cols: int) -> None:
        """Set the terminal's size, in characters."""
        packed = struct.pack("HHHH", rows & 0xFFFF, cols & 0xFFFF, 0, 0)
        fcntl.ioctl(self.files[0], termios.TIOCSWINSZ, packed)


class Container(ABC):
    """One container, started when it is first needed."""

    name: str

    @property
    @abstractmethod
    def eager(self) -> bool:
        """Whether it is to start with its task, and not when it is first needed."""

    @property
    @abstractmethod
    def workdir(self) -> str:
        """Where commands start."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What the agent's environment is, before it adds its own variables (PROTOCOL 6.4)."""

    @abstractmethod
    async def start(self) -> None:
        """Start the container, and its main process, if they do not run yet.

        Raises:
            StartError: it could not be started, or it has stopped.
        """

    @abstractmethod
    async def spawn(self, argv: Sequence[str], env: Mapping[str, str], mode: str) -> Process:
        """Start a process.

        Args:
            argv: the command; its first word is looked up in ``env["PATH"]``.
            env: its whole environment.
            mode: ``terminal`` (a PTY, whose master is returned), ``separate`` (two pipes), or
                ``merged`` (a file for both streams).

        Raises:
            StartError: it could not be started.
        """

    @abstractmethod
    async def kill(self, process: Process, number: int) -> None:
        """Send a signal to a process, if it still runs."""

    @abstractmethod
    async def has(self, program: str) -> bool:
        """Whether a program is on its ``PATH``."""

    @abstractmethod
    async def connect(self, port: int) -> socket.socket:
        """Return a non-blocking connection to a port inside the task's network.

        Raises:
            OSError: nothing listens there.
            StartError: the container has stopped.
        """

    @abstractmethod
    async def stop(self, grace: float = 0.0) -> int:
        """End every process of the container and remove its files; return the exit code.

        A second call without grace ends the grace of the first.

        Args:
            grace: seconds between SIGTERM to the main process and SIGKILL.
        """


class Backend(Protocol):
    """The containers of one task as a runtime holds them."""

    @property
    def containers(self) -> Mapping[str, Container]:
        """Every container by its name."""

    async def close(self) -> None:
        """Remove what the containers shared, when all have stopped."""
