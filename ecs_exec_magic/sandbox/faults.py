"""What may be broken on purpose: one switch for each thing that goes wrong in life.

Knows switches, their spelling on a command line, and a seed. Never acts by itself: each room asks
it at the right place, and :mod:`.chaos` does what has to be done at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import hashlib
import time
import typing
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from .counters import Call, Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ACTIONS", "Call", "Counters", "Faults", "explanations"]

ACTIONS = {
    "cut": "cut every client's connection now; VALUE close: with a close frame",
    "kill_agent": "the exec agent dies now, in the task of VALUE (an id or its beginning) or in all"
    ", and starts anew: its sessions never hear of it again",
    "kill_task": "stop the task VALUE (an id or its beginning)",
}
"""Faults that strike once, when they are asked for."""

_MANY = 10**9
_LOOK = 0.02  # seconds until a switch is looked at again
_TOKEN = "The security token included in the request is expired"
_EXPIRED = {
    "": ("ExpiredTokenException", _TOKEN, 403),
    "sts": ("ExpiredToken", _TOKEN, 403),
    "iam": ("ExpiredToken", _TOKEN, 403),
    "ec2": ("RequestExpired", "Request has expired.", 400),
    "s3": ("ExpiredToken", "The provided token has expired.", 400),
}
_THROTTLED = {
    "": ("ThrottlingException", "Rate exceeded", 400),
    "sts": ("Throttling", "Rate exceeded", 400),
    "iam": ("Throttling", "Rate exceeded", 400),
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
}
_ON = ("on", "true", "yes", "1", "")
_OFF = ("off", "false", "no", "0")


def _fault(default: Any, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(slots=True)
class Faults:
    """Switches that may be set at any time, from any thread; all off at first.

    Numbers of frames are sequence numbers of *stream* frames: the agent's, where nothing else is
    said. A frame that is lost or broken by its number is so the first time it is sent only. Rates
    are probabilities from 0 to 1; they are decided by ``seed``, the session's place in the order of
    sessions, the frame's number and how often it was sent, so that a run can be had again.

    Attributes:
        on_action: what :meth:`cut`, :meth:`kill_agent` and :meth:`kill_task` call.
    """

    # the connection
    cut_after_frames: int | None = _fault(
        None, "cut the connection after so many frames to the client; counted anew for each client"
    )
    cut_after_inputs: int | None = _fault(None, "the same, after so many frames from the client")
    cut_times: int = _fault(1, "how many more such cuts are to be made")
    cut_close: bool = _fault(False, "such cuts send a close frame first, as the hourly one does")
    close_before_data: bool = _fault(False, "close instead of delivering the first frame")
    stall_output: bool = _fault(False, "hold what goes to the client until this is off again")
    stall_input: bool = _fault(False, "hold what comes from the client until this is off again")
    latency: float = _fault(0.0, "seconds by which every frame comes later, in both directions")
    slow_writes: float = _fault(0.0, "seconds the gateway takes for each frame to the client")
    # frames
    drop: set[int] = field(default_factory=set, metadata={"text": "lose these frames of the agent"})
    duplicate: set[int] = field(
        default_factory=set, metadata={"text": "deliver these frames twice"}
    )
    delay: set[int] = field(
        default_factory=set, metadata={"text": "deliver these frames after the next one"}
    )
    corrupt: set[int] = field(
        default_factory=set, metadata={"text": "break a byte of these frames' payload"}
    )
    wrong_digest: set[int] = field(
        default_factory=set, metadata={"text": "break the digest of these frames"}
    )
    drop_inputs: set[int] = field(
        default_factory=set, metadata={"text": "lose these frames of the client"}
    )
    drop_acks: int = _fault(0, "lose so many acknowledgements to the client")
    drop_rate: float = _fault(0.0, "lose stream frames, in both directions")
    duplicate_rate: float = _fault(0.0, "deliver stream frames twice, in both directions")
    reorder_rate: float = _fault(0.0, "deliver stream frames after the next, in both directions")
    corrupt_rate: float = _fault(0.0, "break a byte of frames to the client")
    text_frames: bool = _fault(False, "deliver frames that are UTF-8 in text messages")
    unknown_frames: int | None = _fault(
        None, "send frames of unknown types before every n-th frame to the client"
    )
    # the agent
    never_ready: bool = _fault(False, "the terminal never opens: no output, no acknowledgement")
    discard_window: float = _fault(0.0, "seconds in which early input is taken and thrown away")
    terminal_delay: float = _fault(0.0, "seconds before the terminal opens")
    agent_version: str = _fault(
        "", "the version that agents say they have; 3.0.196.0 and older forward one connection"
    )
    agent_dies_after: int | None = _fault(None, "the agent vanishes after so many stream frames")
    # the end
    hold_closed: float = _fault(0.0, "seconds before channel_closed")
    lose_closed: bool = _fault(False, "never send channel_closed")
    # permissions and the APIs
    expire_token: int = _fault(0, "refuse the token of the next so many clients")
    lose_resume: bool = _fault(False, "ResumeSession answers that the session has timed out")
    refuse_resume: bool = _fault(False, "ResumeSession answers AccessDeniedException")
    deny_start_session: bool = _fault(False, "StartSession answers AccessDeniedException")
    throttle: dict[str, int] = field(
        default_factory=dict,
        metadata={
            "text": "ThrottlingException for the next so many calls: NAME=COUNT,... or *=COUNT"
        },
    )
    expire_credentials: bool = _fault(False, "every call answers ExpiredTokenException")
    deny_kms: bool = _fault(False, "the agent may not decrypt the session's data key")
    deny_kms_caller: bool = _fault(False, "the caller may not have a data key made")
    session_quota: int | None = _fault(None, "Service Quotas tells of so many ECS Exec sessions")

    seed: int = _fault(0, "decides where rates strike")
    on_action: Callable[[str, str], str] | None = field(default=None, repr=False, compare=False)

    # what happens at once

    def cut(self, close: bool = False) -> str:
        """Cut every client's connection, without or with a close frame; says how many."""
        return self.act("cut", "close" if close else "")

    def kill_agent(self, task: str = "") -> str:
        """Let the exec agents of a task (all tasks when empty) die; they start anew at once."""
        return self.act("kill_agent", task)

    def kill_task(self, task: str) -> str:
        """Stop a task, named by its id or the beginning of it."""
        return self.act("kill_task", task)

    def act(self, name: str, value: str = "") -> str:
        """Do one of :data:`ACTIONS`; returns what was done, in words.

        Raises:
            ValueError: there is nothing to do it to.
        """
        if self.on_action is None:
            raise ValueError("no practice cluster runs")
        return self.on_action(name, value)

    # settings by name

    def set(self, name: str, text: str = "") -> None:
        """Set a switch from the text of a command line.

        Raises:
            ValueError: there is no such switch, or it does not take this value.
        """
        name = name.replace("-", "_")
        kind = _kinds().get(name)
        if kind is None:
            near = difflib.get_close_matches(name, [*_kinds(), *ACTIONS], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"there is no fault {name}{hint}")
        value = _read(name, kind, text.strip())
        if name.endswith("_rate") and not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability from 0 to 1, not {text}")
        setattr(self, name, value)

    def clear(self, name: str | None = None) -> None:
        """Switch everything off again, or one switch; the seed stays.

        Raises:
            ValueError: there is no such switch.
        """
        if name is not None and name.replace("-", "_") not in _kinds():
            raise ValueError(f"there is no fault {name}")
        for one, default in _defaults():
            if one != "seed" and name in (None, one, one.replace("_", "-")):
                setattr(self, one, default)

    def active(self) -> dict[str, Any]:
        """Every switch that is not as at first, as plain values."""
        on = {}
        for name, default in _defaults():
            value = getattr(self, name)
            if value != default:
                on[name] = sorted(value) if isinstance(value, set) else value
        return on

    # what the rooms ask

    def take(self, name: str, number: int) -> bool:
        """Whether the set ``name`` holds ``number``; it is taken out, so a fault strikes once."""
        chosen: set[int] = getattr(self, name)
        if number not in chosen:
            return False
        chosen.discard(number)
        return True

    async def lapse(self, name: Literal["discard_window", "terminal_delay"]) -> None:
        """Wait as many seconds as a switch says, also when it is set to others meanwhile."""
        began = time.monotonic()
        while (left := began + getattr(self, name) - time.monotonic()) > 0:  # noqa: ASYNC110  # other threads set it
            await asyncio.sleep(min(left, _LOOK))

    def take_cut(self, count: int, limit: int | None) -> bool:
        """Whether a cut is due now; each one is used up."""
        if limit is None or count < limit or self.cut_times <= 0:
            return False
        self.cut_times -= 1
        return True

    def take_token(self) -> bool:
        """Whether this client's token is to be refused."""
        if self.expire_token <= 0:
            return False
        self.expire_token -= 1
        return True

    @property
    def has_rates(self) -> bool:
        """Whether any rate is above nothing."""
        return bool(self.drop_rate or self.duplicate_rate or self.reorder_rate or self.corrupt_rate)

    def strikes(
        self, rate: Literal["drop", "duplicate", "reorder", "corrupt"], *frame: object
    ) -> bool:
        """Whether a rate strikes a frame; the same frame and seed give the same answer."""
        probability: float = getattr(self, f"{rate}_rate")
        if probability <= 0:
            return False
        key = repr((self.seed, rate, *frame)).encode()
        drawn = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
        return drawn < probability * 2**64

    def refusal(self, service: str, name: str, caller: str) -> tuple[str, str, int] | None:
        """How an API call is to fail: AWS's code, its message and the HTTP status; mostly None.

        Args:
            service: as in the endpoint's name.
            name: of the operation.
            caller: the caller's ARN.
        """
        if self.expire_credentials:
            return _EXPIRED.get(service, _EXPIRED[""])
        for which in (name, "*"):
            if self.throttle.get(which, 0) > 0:
                self.throttle[which] -= 1
                return _THROTTLED.get(service, _THROTTLED[""])
        if self.deny_kms_caller and service == "kms" and name.startswith("GenerateDataKey"):
            return "AccessDeniedException", denial(caller, f"kms:{name}"), 400
        return None


def denial(caller: str, action: str) -> str:
    """AWS's words for a call that no policy allows."""
    return (
        f"User: {caller} is not authorized to perform: {action} because no identity-based policy "
        f"allows the {action} action"
    )


def explanations() -> Iterator[tuple[str, str]]:
    """Every fault's name with a line about it: switches first, then actions."""
    for one in fields(Faults):
        if "text" in one.metadata:
            yield one.name, one.metadata["text"]
    yield from ACTIONS.items()


def _defaults() -> Iterator[tuple[str, Any]]:
    for one in fields(Faults):
        if "text" in one.metadata:
            made = one.default_factory
            yield one.name, one.default if made is dataclasses.MISSING else made()


def _kinds() -> dict[str, Any]:
    # Callable is not there at run time; nothing but on_action needs it.
    hints = typing.get_type_hints(Faults, localns={"Callable": typing.Callable})
    return {name: hints[name] for name, _ in _defaults()}


def _read(name: str, kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() in (*_ON, *_OFF):
            return text.lower() in _ON
        raise ValueError(f"{name} is on or off, not {text}")
    try:
        if kind == set[int]:
            return set(_numbers(text))
        if kind == dict[str, int]:
            pairs = [part.partition("=") for part in text.split(",") if part.strip()]
            return {key.strip(): int(count) if count else _MANY for key, _, count in pairs}
        if kind is str:
            return text
        if kind is int and not text:
            return 1
        value = (float if kind is float else int)(text)
    except ValueError:
        wanted = {float: "a number", set[int]: "numbers such as 1,4-9"}
        what = "NAME=COUNT,..." if kind == dict[str, int] else wanted.get(kind, "a whole number")
        raise ValueError(f"{name} takes {what}, not {text or 'nothing'}") from None
    if not 0 <= value < _MANY:
        raise ValueError(f"{name} cannot be {text}")
    return value


def _numbers(text: str) -> Iterator[int]:
    if not text:
        raise ValueError(text)
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = int(first), int(last if dash else first)
        if high - low > 1_000_000:
            raise ValueError(text)
        yield from range(low, high + 1)
