"""One worker of a Dask cluster, as one talks with it: messages to it, and news from it.

Knows numbers of messages, and when a worker counts as gone. Never knows Dask, nor which worker gets
which command: that is the crew's, in :mod:`.dask_jobs`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import time
import uuid
from typing import TYPE_CHECKING, Any

from . import hosting
from .aws.census import ours
from .errors import EcsExecError, WorkerLost
from .hosting import Message, News
from .runner import settling
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from .address import ContainerRef
    from .dask_jobs import Crew

__all__ = ["ANSWER", "Errand", "Line"]

logger = logging.getLogger(__name__)

ANSWER = 60.0
"""Seconds that an answer of a worker may take, but for a question, which waits for news."""

_QUESTION = 20.0  # seconds that a worker may take to have news
_LOST = 30.0  # seconds without an answer after which a worker counts as gone
_AGAIN = 0.2
_TERMINATE = 10.0


class Errand:
    """One command that a worker was asked to run.

    Attributes:
        outcome: a CommandResult or an error; None: it was surely not begun.
        settled: its place in the container is free.
        sent: the worker may know of it.
    """

    def __init__(self, line: Line, ref: ContainerRef) -> None:
        self.token = uuid.uuid4().hex
        self.line = line
        self.ref = ref
        self.sent = False
        self.session_id = ""
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.settled = asyncio.Event()

    def end(self, outcome: Any) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Line:
    """Messages to one worker and news from it: each counts once, or the worker is gone.

    Attributes:
        alive: it is there, as far as one knows.
        errands: what it was asked for and is not over, by token.
    """

    def __init__(self, crew: Crew, address: str, party: str) -> None:
        self.alive = True
        self.errands: dict[str, Errand] = {}
        self._crew = crew
        self._address = address
        self._party = party
        self._number = 0
        self._unsent: list[Message] = []
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks = [asyncio.ensure_future(each) for each in (self._talk(), self._listen())]

    def begin(self, ref: ContainerRef) -> Errand:
        errand = Errand(self, ref)
        self.errands[errand.token] = errand
        self._idle.clear()
        self.say("begin", errand.token, ref)
        return errand

    def say(self, kind: Any, *parts: Any) -> None:
        self._number += 1
        self._unsent.append(Message(self._number, kind, parts))
        self._more.set()

    async def close(self, at_once: bool) -> None:
        """Let the worker forget the run, once its sessions are closed."""
        limit = _TERMINATE if at_once else hosting.LEASE
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await wait_for(self._idle.wait(), limit)
        if self.alive:
            self.say("close")
            # The question that is open is answered then.
            await asyncio.wait(self._tasks, timeout=ANSWER)
        for task in self._tasks:
            task.cancel()
        for errand in list(self.errands.values()):
            self._over(errand)

    def _over(self, errand: Errand) -> None:
        errand.end(self._unknown(errand))
        errand.settled.set()
        self.errands.pop(errand.token, None)
        if not self.errands:
            self._idle.set()

    # -- messages --------------------------------------------------------------------------------

    async def _talk(self) -> None:
        while self.alive:
            await self._more.wait()
            self._more.clear()
            while self._unsent and self.alive:
                # A worker that died just now is off the list before its silence is noticed: what
                # is kept back from it can be begun elsewhere.
                if not await self._listed():
                    self._lose()
                    return
                batch = list(self._unsent)
                for each in batch:
                    if each.kind == "begin":
                        # From here on nobody but the worker knows whether it was begun.
                        self.errands[each.parts[0]].sent = True
                if not await self._surely(hosting.tell, batch):
                    self._lose()
                    return
                del self._unsent[: len(batch)]

    async def _listen(self) -> None:
        heard = 0
        try:
            while True:
                news = await self._surely(hosting.ask, heard, _QUESTION, limit=_QUESTION + ANSWER)
                if news is None:
                    return
                for each in news:
                    heard = each.number
                    if each.token in self.errands:
                        self._hear(self.errands[each.token], each)
        finally:
            self._lose()

    def _hear(self, errand: Errand, news: News) -> None:
        if news.kind == "session":
            errand.session_id = news.what
            ours(news.what)
        elif news.kind == "notice":
            self._crew.notice(news.what)
        elif news.kind == "outcome":
            try:
                outcome = pickle.loads(news.what)
            except Exception as error:  # noqa: BLE001 - it ended, and this is all there is of it
                outcome = EcsExecError(f"what came of it cannot be read: {error}")
            errand.end(outcome)
        else:
            self._over(errand)

    async def _surely(self, function: Callable[..., Any], *args: Any, limit: float = ANSWER) -> Any:
        """Call the worker until it answers; None: it is gone."""
        end: float | None = None
        while self.alive:
            try:
                return await self._crew.call(
                    self._address, function, self._party, *args, limit=limit
                )
            except Exception as error:  # noqa: BLE001 - whatever a broken connection raises
                logger.debug("the Dask worker %s did not answer: %s", self._address, error)
            end = end or time.monotonic() + _LOST
            # A worker that has died is taken off the list within moments, and asking it once more
            # would take until a time-out.
            for _ in range(5):
                await asyncio.sleep(_AGAIN)
                if time.monotonic() > end or not await self._listed():
                    return None
        return None

    async def _listed(self) -> bool:
        try:
            return self._address in await self._crew.workers()
        except Exception:  # noqa: BLE001 - the scheduler is away; it may come back
            return True

    # -- a worker that is gone -------------------------------------------------------------------

    def _lose(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self._more.set()
        self._crew.lost()
        for errand in list(self.errands.values()):
            if errand.sent:
                settling(self._abandon(errand))
            else:
                errand.end(None)
                self._over(errand)

    async def _abandon(self, errand: Errand) -> None:
        """End the session of a command whose worker is gone: it holds a place, and nobody reads."""
        api = self._crew.api
        if errand.session_id:
            ending = api.call("ssm", "terminate_session", SessionId=errand.session_id)
            with contextlib.suppress(EcsExecError, asyncio.TimeoutError, TimeoutError):
                await wait_for(ending, _TERMINATE)
        self._over(errand)

    def _unknown(self, errand: Errand) -> WorkerLost:
        ended = "; its session was ended" if errand.session_id else ""
        return WorkerLost(
            f"the Dask worker {self._address} is gone, and nobody knows whether the command ran "
            f"in {errand.ref}",
            cause=f"it had been asked to run it, and what it knew died with it{ended}",
            cure="look before you run it again; idempotent=True has it run again by itself",
        )
