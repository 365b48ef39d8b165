"""What a test may break on purpose, and what it may count.

Knows switches and counters. Never acts by itself: each room asks it at the right place.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call", "Counters", "Faults"]


@dataclass
class Faults:
    """Switches that may be set at any time, from any thread; all off at first.

    Frame faults name agent-to-client *stream* frames by sequence number, or every n-th frame of
    any kind that goes to the client.

    Attributes:
        cut_after_frames: cut the websocket without a close frame after so many frames to the
            client, counted anew for each attachment; the cut happens ``cut_times`` times.
        cut_after_inputs: the same, counted in frames *from* the client.
        cut_times: how many more cuts are to be made (both kinds).
        drop: sequence numbers of agent frames lost the first time they are sent.
        duplicate: sequence numbers of agent frames delivered twice.
        delay: sequence numbers of agent frames delivered after the next frame (reordering).
        wrong_digest: sequence numbers of agent frames whose digest is wrong the first time.
        drop_acks: how many acknowledgements to the client are lost.
        drop_inputs: sequence numbers of client frames lost the first time.
        text_frames: deliver agent frames in websocket text-typed messages where they are UTF-8.
        close_before_data: close the websocket instead of delivering the first frame.
        never_ready: the terminal never opens: input is never acknowledged, nothing comes.
        discard_window: extra seconds in which early input is acknowledged and thrown away.
        terminal_delay: extra seconds before the terminal opens.
        hold_closed: extra seconds before ``channel_closed`` (an upload of logs).
        lose_closed: never send ``channel_closed``.
        lose_resume: ResumeSession answers with an empty token.
        refuse_resume: ResumeSession answers AccessDeniedException.
        agent_dies_after: the agent vanishes without a word after so many stream frames.
        deny_start_session: StartSession answers AccessDeniedException.
        unknown_frames: send a frame of an unknown message type before every n-th frame.
        throttle: so many API calls of this name are answered ThrottlingException.
        slow_writes: seconds the gateway waits before each frame to the client.
    """

    cut_after_frames: int | None = None
    cut_after_inputs: int | None = None
    cut_times: int = 1
    drop: set[int] = field(default_factory=set)
    duplicate: set[int] = field(default_factory=set)
    delay: set[int] = field(default_factory=set)
    wrong_digest: set[int] = field(default_factory=set)
    drop_acks: int = 0
    drop_inputs: set[int] = field(default_factory=set)
    text_frames: bool = False
    close_before_data: bool = False
    never_ready: bool = False
    discard_window: float = 0.0
    terminal_delay: float = 0.0
    hold_closed: float = 0.0
    lose_closed: bool = False
    lose_resume: bool = False
    refuse_resume: bool = False
    agent_dies_after: int | None = None
    deny_start_session: bool = False
    unknown_frames: int | None = None
    throttle: dict[str, int] = field(default_factory=dict)
    slow_writes: float = 0.0

    def clear(self) -> None:
        """Switch everything off again."""
        for name, value in vars(Faults()).items():
            setattr(self, name, value)

    def refusal(self, service: str, name: str, caller: str) -> tuple[str, str, int] | None:
        """How an API call is to fail: AWS's code, its message and the HTTP status; mostly None."""
        if self.throttle.get(name, 0) <= 0:
            return None
        self.throttle[name] -= 1
        return "ThrottlingException", "Rate exceeded", 400

    def take(self, name: str, number: int) -> bool:
        """Whether the set ``name`` holds ``number``; it is taken out, so a fault strikes once."""
        chosen: set[int] = getattr(self, name)
        if number not in chosen:
            return False
        chosen.discard(number)
        return True

    def take_cut(self, count: int, limit: int | None) -> bool:
        """Whether a cut is due now; each one is used up."""
        if limit is None or count < limit or self.cut_times <= 0:
            return False
        self.cut_times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Call:
    """One API call as it was understood: service, operation, parameters, error code or empty."""

    service: str
    operation: str
    parameters: dict[str, Any]
    region: str
    access_key: str
    error: str = ""


class Counters:
    """What happened, for tests to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._active: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._terminated: list[str] = []
        self._ended: list[str] = []
        self._attached: Counter[str] = Counter()

    def add_call(self, call: Call) -> None:
        """Note one API call."""
        with self._lock:
            self._calls.append(call)

    def session_begun(self, runtime_id: str) -> None:
        """Note that a session took one of a container's slots."""
        with self._lock:
            self._active[runtime_id] += 1
            self._most[runtime_id] = max(self._most[runtime_id], self._active[runtime_id])

    def session_ended(self, runtime_id: str, session_id: str) -> None:
        """Note that a session has fully ended and gave its slot back."""
        with self._lock:
            self._active[runtime_id] -= 1
            self._ended.append(session_id)

    def session_terminated(self, session_id: str) -> None:
        """Note that TerminateSession ended a session."""
        with self._lock:
            self._terminated.append(session_id)

    def client_attached(self, session_id: str) -> None:
        """Note that a client opened the data channel of a session."""
        with self._lock:
            self._attached[session_id] += 1

    def calls(self, operation: str | None = None) -> list[Call]:
        """The API calls in their order, all of them or those of one operation."""
        with self._lock:
            return [c for c in self._calls if operation in (None, c.operation)]

    @property
    def active_sessions(self) -> dict[str, int]:
        """Sessions now in a slot, by runtimeId."""
        with self._lock:
            return dict(+self._active)

    @property
    def max_sessions(self) -> dict[str, int]:
        """The most sessions that were in a slot at once, by runtimeId."""
        with self._lock:
            return dict(self._most)

    @property
    def terminated(self) -> list[str]:
        """Ids of sessions ended by TerminateSession, in order."""
        with self._lock:
            return list(self._terminated)

    @property
    def ended(self) -> list[str]:
        """Ids of sessions that have fully ended, in order."""
        with self._lock:
            return list(self._ended)

    @property
    def attachments(self) -> dict[str, int]:
        """How often a client opened the data channel, by session id."""
        with self._lock:
            return dict(self._attached)
