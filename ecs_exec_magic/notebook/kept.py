"""Shells that lines with ``--keep`` share: one for each container, listed among the jobs.

Knows kept shells and how a job is told of. Never knows how sessions are made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..errors import EcsExecError

if TYPE_CHECKING:
    from ..client import Target

__all__ = ["KeptShell"]


class KeptShell:
    """One shell that holds its place in a container until it is ended.

    Attributes:
        number: by which ``%ecs_jobs`` knows it.
        where: the container's address.
    """

    def __init__(self, number: int, target: Target) -> None:
        self.number = number
        self.where = target.address
        self.command = "(shell)"
        self.ref = target.ref
        self._shell: Any = target.shell()
        self._began = time.monotonic()
        self._ended: float | None = None

    def __repr__(self) -> str:
        return f"<job {self.number} {self.facts()}: {self.title()}>"

    @property
    def state(self) -> str:
        """``idle``, ``running`` or ``ended``."""
        state = str(self._shell.state)
        if state.startswith("ended"):
            return "ended"
        return "running" if state == "busy" else "idle"

    @property
    def elapsed(self) -> float:
        """Seconds since it was begun, until it was found to have ended."""
        if self.done() and self._ended is None:
            self._ended = time.monotonic()
        return (self._ended or time.monotonic()) - self._began

    def title(self) -> str:
        """What it is, where a job has its command."""
        count = self._shell.commands
        return f"kept shell, {count} command{'' if count == 1 else 's'}"

    def facts(self) -> str:
        """Its state, and why it has ended."""
        return str(self._shell.state)

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return bool(self._shell.over)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has ended; it ends by no waiting."""
        return self.done()

    def run(self, command: str, **how: Any) -> Any:
        """Run a command in it."""
        return self._shell.run(command, **how)

    def so_far(self) -> Any:
        """Nothing: it has no output of its own, each of its commands has."""
        return None

    def cancel(self) -> bool:
        """End it and what runs in it, and free its place; False if it had ended."""
        if self.done():
            return False
        try:
            self._shell.close("it was ended from the notebook")
        except EcsExecError:
            return not self.done()
        return True

    def interrupt(self) -> bool:
        """A kept shell runs nothing when a cell can say this: there is nothing to interrupt."""
        return not self.done()
