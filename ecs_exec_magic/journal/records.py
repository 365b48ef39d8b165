"""What is known of one run, as it was recorded.

Knows the fields of records and what their absence means. Never knows how they were written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..capture import Capture
from ..results import CommandResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..address import ContainerRef
    from .files import Folder
    from .processes import Process

__all__ = ["Record", "Stored", "Traffic"]

_STEP = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """One stream of a run.

    Attributes:
        size: bytes that the command printed.
        sha256: of these bytes, before anything was masked.
        masked: secrets that are masked in what was stored.
        truncated: the run itself kept no more than the beginning.
        text: what was stored, if it stands in the record itself.
        kept: name of the file that holds what was stored otherwise; empty when there is none.
        lost: why nothing was stored; empty when it was.
    """

    size: int = 0
    sha256: str = hashlib.sha256().hexdigest()
    masked: int = 0
    truncated: bool = False
    text: str | None = ""
    kept: str = ""
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through a forwarded port.

    Attributes:
        local_port: of this machine.
        connections: how many there were.
        refused: how many of them found nothing at the far end.
        sent: bytes to the far end.
        received: bytes from it.
        sessions: how many sessions carried them.
    """

    local_port: int = 0
    connections: int = 0
    refused: int = 0
    sent: int = 0
    received: int = 0
    sessions: int = 0


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        number: counts the runs of the directory, from 1.
        id: unique; ids sort as the runs began.
        kind: ``exec``, ``shell``, ``fleet``, ``copy``, ``forward``, or ``terminal``: of that only
            the session is recorded. What a copy did stands in its stdout, a line for each fact.
        command: a string, or a list of arguments; masked.
        interpreter: what read the command, when that was not the shell.
        address: the target as it was asked for.
        target: the container it ran in; None if none was found.
        group: the same for the runs of one command in several containers.
        started: when it was recorded, in UTC.
        ended: when its end was; None if that is not recorded.
        state: ``ended``, ``running``, ``killed`` (its kernel ended first) or ``unknown`` (it began
            on another host, and its end is not recorded).
        duration: seconds.
        exit_code: 0 to 255, or None if not known.
        error: class of the error it ended with; empty if none.
        message: of that error.
        cause: why it happened, as the error says.
        exact: the bytes of both streams were proved.
        missing: why they were not.
        masked: secrets masked in command, outputs and message.
        identity: ARN of the user.
        process: where it was run from.
        version: of this package.
        traffic: of a port that was forwarded, when it has ended.
    """

    number: int
    id: str
    kind: str
    command: str | list[str]
    started: datetime
    process: Process
    interpreter: str = ""
    address: str = ""
    target: ContainerRef | None = None
    group: str = ""
    notebook: str = ""
    identity: str = ""
    version: str = ""
    state: str = "unknown"
    ended: datetime | None = None
    duration: float = 0.0
    exit_code: int | None = None
    signal: str = ""
    timed_out: bool = False
    interrupted: bool = False
    exact: bool = False
    missing: str = ""
    error: str = ""
    message: str = ""
    cause: str = ""
    session_id: str = ""
    request_id: str = ""
    masked: int = 0
    stdout: Stored = field(default_factory=Stored)
    stderr: Stored = field(default_factory=Stored)
    traffic: Traffic | None = None
    folder: Folder | None = field(default=None, repr=False, compare=False)

    # -- outcome ---------------------------------------------------------------------------------

    @property
    def ok(self) -> bool | None:
        """Whether the command ended with exit code 0; None while that is not known."""
        if self.state in ("running", "unknown") or self._closed:
            return None
        if self.kind == "forward":
            return self.state == "ended" and not self.error
        return self.state == "ended" and self.exit_code == 0 and not (self.timed_out or self.error)

    @property
    def _closed(self) -> bool:
        """Whether it is a terminal that was closed, of whose commands nothing is known."""
        return self.kind == "terminal" and self.state == "ended" and not self.error

    @property
    def outcome(self) -> str:
        """What became of it, in a few words."""
        if self.state == "running":
            return "running"
        if self.state == "killed":
            return "the kernel ended while it ran"
        if self.state == "unknown":
            return f"not known: it began on {self.process.host or 'another host'}"
        if self._closed:
            return "closed"
        if self.timed_out:
            return "timed out"
        if self.interrupted:
            return "interrupted"
        if self.kind == "forward" and not self.error:
            count = self.traffic.connections if self.traffic else 0
            return f"stopped, {count} connection{'' if count == 1 else 's'}"
        if self.kind == "copy" and self.ok:
            return "copied"
        if self.exit_code is None:
            return self.error or "exit code unknown"
        return f"exit code {self.exit_code}" + (f" ({self.signal})" if self.signal else "")

    @property
    def where(self) -> str:
        """The container, by names that people know: cluster, service or family, container."""
        if self.target is None:
            return self.address
        name = self.target.service or self.target.family or self.target.task_id
        return f"{self.target.cluster}/{name}:{self.target.container}"

    # -- outputs ---------------------------------------------------------------------------------

    def output(self, stream: str) -> Iterator[bytes]:
        """What was stored of ``stdout`` or ``stderr``, in pieces.

        Raises:
            OSError: it lies in a file that cannot be read any more.
        """
        stored: Stored = getattr(self, stream)
        if stored.text is not None:
            yield stored.text.encode("utf-8", "surrogateescape")
        elif stored.kept and self.folder is not None:
            with self.folder.kept(stored.kept) as file:
                while piece := file.read(_STEP):
                    yield piece

    def result(self) -> CommandResult:
        """The run as an object, as far as it was stored.

        It is ``exact`` only if the run was, nothing is masked in it, and what was stored is what
        the command had printed; ``missing`` says what is different.
        """
        reasons: list[str] = []
        captures: dict[str, Capture] = {}
        for name in ("stdout", "stderr"):
            captures[name], reason = self._capture(name)
            if reason:
                reasons.append(f"{name} {reason}")
        if self.state != "ended":
            reasons = [self.outcome]
        elif not self.exact:
            reasons.insert(0, self.missing or "its bytes were not proved when it ran")
        return CommandResult(
            self.exit_code,
            self.command,
            target=self.target,
            timed_out=self.timed_out,
            exact=not reasons,
            duration=self.duration,
            started_at=self.started,
            session_id=self.session_id,
            request_id=self.request_id,
            missing="; ".join(reasons),
            captured_stdout=captures["stdout"],
            captured_stderr=captures["stderr"],
        )

    def _capture(self, name: str) -> tuple[Capture, str]:
        stored: Stored = getattr(self, name)
        capture, digest = Capture(), hashlib.sha256()
        lost = stored.lost
        try:
            for piece in self.output(name):
                capture.write(piece)
                digest.update(piece)
        except OSError as error:
            lost = f"cannot be read any more: {error.strerror}"
        capture.truncated = stored.truncated
        found = digest.hexdigest()
        if lost:
            return capture, lost
        if stored.kept and found != stored.kept:
            return capture, "has been changed since it was stored"
        if stored.masked:
            return capture, f"has {stored.masked} secret{'s' * (stored.masked > 1)} masked"
        if found != stored.sha256:
            return capture, "is not as the command had printed it"
        return capture, ""
