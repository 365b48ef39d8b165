"""The waits of the real agent and of AWS, and the way to leave them out.

Knows seconds. Never knows what waits.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAST", "PACES", "REAL", "Pace"]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of each wait (PROTOCOL 6.1, 6.5, 6.9, 6.12).

    Attributes:
        agent_join: from the call to the agent's data channel.
        start: the agent's sleep before it reads a terminal.
        read: its sleep after each chunk of a terminal's output.
        failure: its sleep after a command that could not be started.
        batch_failure: the same in a session without a terminal.
        transition: one step of a task's life.
        closing: from the agent's end to ``channel_closed``.
        upload: between two looks of the agent at a log that it uploads (PROTOCOL 6.10).
        trail: from an API call until CloudTrail tells of it.
        lookups: calls of LookupEvents a second that CloudTrail answers; 0 for all of them.
        retry: between two tries to hand a session to a worker that is busy (PROTOCOL 6.11).
        handshake: for each answer of the client in the handshake (PROTOCOL 4); longer at the fast
            pace, where a machine that has much to do is not to fail a session.
        wedge: whether the agent's message loop stays stuck when those tries have failed.
    """

    agent_join: float
    start: float
    read: float
    failure: float
    batch_failure: float
    transition: float
    closing: float
    upload: float
    trail: float
    lookups: int
    retry: float
    handshake: float
    wedge: bool


REAL = Pace(
    agent_join=0.02,
    start=1.0,
    read=0.001,
    failure=2.0,
    batch_failure=1.0,
    transition=2.0,
    closing=0.01,
    upload=1.0,
    trail=60.0,
    lookups=2,
    retry=1.0,
    handshake=15.0,
    wedge=True,
)
FAST = Pace(
    agent_join=0.0,
    start=0.0,
    read=0.0,
    failure=0.0,
    batch_failure=0.0,
    transition=0.0,
    closing=0.0,
    upload=0.0,
    trail=0.0,
    lookups=0,
    retry=0.0,
    handshake=60.0,
    wedge=False,
)
PACES = {"real": REAL, "fast": FAST}
