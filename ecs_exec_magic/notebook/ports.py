"""Forwarded ports among the jobs of a notebook, and in its record of runs.

Knows forwards and how a job is told of. Never knows sessions, nor lines.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..views import size

if TYPE_CHECKING:
    from ..client import Forward
    from .keeping import Kept

__all__ = ["ForwardedPort"]


@dataclass(frozen=True)
class _Ended:
    """The end of a forward, as the record of runs takes it.

    Attributes:
        session_id: of its last session.
        traffic: what went through it.
        missing: why there is no output.
    """

    session_id: str
    traffic: dict[str, int]
    missing: str = "what goes through a port is not recorded"


class ForwardedPort:
    """One forward that stays open until it is stopped.

    Attributes:
        number: by which ``%ecs_jobs`` knows it.
        where: the container's address.
        forward: it itself.
    """

    def __init__(self, number: int, forward: Forward, kept: Kept) -> None:
        self.number = number
        self.where = forward.target.address
        self.forward = forward
        self.command = f"(port {forward.local_port})"
        self._kept = kept
        self._began = time.monotonic()
        self._ended: float | None = None
        forward.on_end(self._over)

    def _over(self) -> None:
        """It has ended: write down how; called in the package's own thread."""
        self._ended = time.monotonic()
        forward = self.forward
        told = {
            "local_port": forward.local_port,
            "connections": forward.accepted,
            "refused": forward.refused,
            "sent": forward.bytes_sent,
            "received": forward.bytes_received,
            "sessions": len(forward.session_ids),
        }
        last = (forward.session_ids or [""])[-1]
        self._kept.finish(_Ended(last, told), forward.cut, wait=0.0)

    def __repr__(self) -> str:
        return f"<job {self.number} {self.facts()}: {self.title()}>"

    @property
    def state(self) -> str:
        """``open``, ``idle`` while it has no session, or ``stopped``."""
        return self.forward.state

    @property
    def elapsed(self) -> float:
        """Seconds since it was opened, until its end."""
        return (self._ended or time.monotonic()) - self._began

    def title(self) -> str:
        """What it is, where a job has its command."""
        count = self.forward.accepted
        through = self.forward.bytes_sent + self.forward.bytes_received
        return (
            f"local port {self.forward.local_port} → {self.forward.destination}, "
            f"{count} connection{'' if count == 1 else 's'}"
            + (f", {size(through)}" if through else "")
        )

    def facts(self) -> str:
        """Its state, and why it has ended."""
        cut = self.forward.cut
        return self.state if cut is None else f"{self.state}: {cut}"

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return not self.forward.running

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has ended; it ends by no waiting."""
        return self.done()

    def so_far(self) -> Any:
        """Nothing: it has no output."""
        return None

    def cancel(self) -> bool:
        """Stop it, and cut what is connected; False if it had ended."""
        if self.done():
            return False
        self.forward.stop()
        return True

    def interrupt(self) -> bool:
        """Nothing runs in it that a signal could reach; False if it had ended."""
        return not self.done()
