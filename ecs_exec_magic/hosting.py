"""Jobs that another process asks for: begun once, and told of until that process has heard it.

Knows jobs, numbers of messages, and whether anybody still asks. Never knows Dask, nor how messages
get from one process to the other.

:func:`open_party`, :func:`tell` and :func:`ask` may be called on any event loop; the jobs run on
the package's own. A message that is told twice counts once, and what has happened is told again
until it is acknowledged: so a call may be repeated when nobody knows whether it was served.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import __version__
from .aws.lending import Borrowed, Keys
from .errors import EcsExecError, SessionLost
from .portal import portal
from .room import Room
from .runner import Job, settle
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from .address import ContainerRef
    from .aws.lending import Lent
    from .runner import Request

__all__ = ["LEASE", "Message", "News", "Parcel", "Welcome", "ask", "open_party", "tell"]

T = TypeVar("T")

LEASE = 90.0
"""Seconds without a question after which the other process counts as gone: its jobs are ended."""

_MOST_BYTES = 16 * 1024 * 1024  # of outcomes that one answer carries, if it is more than one

_NAME = uuid.uuid4().hex


@dataclass(frozen=True, repr=False)
class Parcel:
    """What is needed to run one request in many containers; never shown, it holds secrets.

    Attributes:
        party: a name for all that follows, never used before.
        at_once: commands that may run at the same time.
    """

    party: str
    lent: Lent
    request: Request
    at_once: int


@dataclass(frozen=True)
class Welcome:
    """What a process says of itself.

    Attributes:
        version: of this package.
        process: a name that no other process has.
    """

    version: str
    process: str

    @classmethod
    def here(cls) -> Welcome:
        """What this process says; a forked child is another one."""
        return cls(__version__, f"{_NAME}-{os.getpid()}")


@dataclass(frozen=True)
class Message:
    """What a process is told.

    Attributes:
        number: one more than that of the message before.
        kind: ``begin`` with a token and a container, ``interrupt``, ``stop`` or ``end`` with a
            token, ``keys`` with new ones, ``close``.
    """

    number: int
    kind: Literal["begin", "interrupt", "stop", "end", "keys", "close"]
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True, repr=False)
class News:
    """What has happened.

    Attributes:
        number: one more than that of the news before.
        kind: ``session`` with its id, ``notice`` with a sentence, ``outcome`` with a pickled one,
            ``settled`` when its place in the container is free.
        token: of the job.
    """

    number: int
    kind: Literal["session", "notice", "outcome", "settled"]
    token: str
    what: Any = None


_parties: dict[str, _Party] = {}


# -- what the other process calls ----------------------------------------------------------------


async def open_party(parcel: Parcel) -> Welcome:
    """Get ready to run a request; nothing is run yet."""
    return await _here(_open(parcel))


async def tell(party: str, messages: Sequence[Message]) -> bool:
    """Take messages, those that were taken before excepted; return whether there is that party."""
    return await _here(_tell(party, messages))


async def ask(party: str, heard: int, seconds: float) -> list[News] | None:
    """Wait until there is news, at most ``seconds``.

    Args:
        heard: the number of the last news that need not be told again.

    Returns:
        what has happened since; None when there is no such party, or no more.
    """
    return await _here(_ask(party, heard, seconds))


async def _here(work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(portal.submit(work))


async def _open(parcel: Parcel) -> Welcome:
    if parcel.party not in _parties:
        borrowed = await asyncio.to_thread(Borrowed, parcel.lent)
        _parties.setdefault(parcel.party, _Party(parcel, borrowed))
        portal.at_stop(settle)
    return Welcome.here()


async def _tell(party: str, messages: Sequence[Message]) -> bool:
    host = _parties.get(party)
    if host is None:
        return False
    for message in messages:
        await host.take(message)
    return True


async def _ask(party: str, heard: int, seconds: float) -> list[News] | None:
    host = _parties.get(party)
    return None if host is None else await host.news(heard, seconds)


# -- the jobs ------------------------------------------------------------------------------------


class _Party:
    """The jobs of one run of another process; everything here is on the package's loop."""

    def __init__(self, parcel: Parcel, borrowed: Borrowed) -> None:
        self._name = parcel.party
        self._request = parcel.request
        self._borrowed = borrowed
        self._room = Room.of(parcel.at_once)
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: deque[News] = deque()
        self._numbers = itertools.count(1)
        self._some = asyncio.Event()
        self._taken = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._helpers = {asyncio.ensure_future(self._lease())}

    async def take(self, message: Message) -> None:
        self._heard_at = self._loop.time()
        if self._closed or message.number <= self._taken:
            return
        self._taken = message.number
        if message.kind == "close":
            self.close()
        elif message.kind == "keys":
            (keys,) = message.parts
            assert isinstance(keys, Keys)
            self._borrowed.renew(keys)
        elif message.kind == "begin":
            token, ref = message.parts
            self._tasks[token] = asyncio.ensure_future(self._run(token, ref))
            # What follows, as an interrupt, finds the job running.
            await asyncio.sleep(0)
        elif (job := self._jobs.get(message.parts[0])) is not None:
            token = message.parts[0]
            if message.kind == "interrupt":
                self._besides(job.interrupt())
            elif message.kind == "stop":
                self._besides(job.stop())
            else:
                self._tasks[token].cancel()

    async def news(self, heard: int, seconds: float) -> list[News] | None:
        self._heard_at = self._loop.time()
        while self._news and self._news[0].number <= heard:
            self._news.popleft()
        if not self._news and not self._closed:
            self._some.clear()
            try:
                await wait_for(self._some.wait(), seconds)
            except (TimeoutError, asyncio.TimeoutError):
                return []
            finally:
                self._heard_at = self._loop.time()
        if self._closed:
            return None
        found: list[News] = []
        weight = 0
        for each in self._news:
            weight += len(each.what) if each.kind == "outcome" else 0
            if found and weight > _MOST_BYTES:
                break
            found.append(each)
        return found

    def close(self) -> None:
        """End what still runs, and be forgotten."""
        self._closed = True
        _parties.pop(self._name, None)
        for task in self._tasks.values():
            task.cancel()
        for helper in self._helpers:
            if helper is not asyncio.current_task():
                helper.cancel()
        self._some.set()

    async def _lease(self) -> None:
        while (left := self._heard_at + LEASE - self._loop.time()) > 0:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(left)
        self.close()

    async def _run(self, token: str, ref: ContainerRef) -> None:
        job = self._jobs[token] = Job(
            self._borrowed.api,
            ref,
            replace(self._request),
            on_session=lambda session_id: self._say("session", token, session_id),
            on_notice=lambda text: self._say("notice", token, text),
            room=self._room,
        )
        outcome: Any
        try:
            outcome = await job.run()
        except asyncio.CancelledError:
            outcome = SessionLost("it was ended: nobody waited for it any more")
        except EcsExecError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - it is told to who asked
            outcome = EcsExecError(f"{type(error).__name__}: {error}")
        self._say("outcome", token, _packed(outcome))
        del self._jobs[token]
        await job.settled()
        del self._tasks[token]
        self._say("settled", token)

    def _say(self, kind: Any, token: str, what: Any = None) -> None:
        self._news.append(News(next(self._numbers), kind, token, what))
        self._some.set()

    def _besides(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


def _packed(outcome: Any) -> bytes:
    """An outcome as bytes here and now, so that one that cannot travel fails alone."""
    try:
        return pickle.dumps(outcome, protocol=5)
    except Exception:  # noqa: BLE001 - whatever hangs on to it stays here
        told = EcsExecError(f"{type(outcome).__name__}: {outcome}")
        told.cause, told.cure = getattr(outcome, "cause", ""), getattr(outcome, "cure", "")
        return pickle.dumps(told, protocol=5)
