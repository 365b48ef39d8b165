"""Jobs that run on the workers of a Dask cluster, for a run in many containers.

Knows Dask's client, workers, and which job is with which of them. Never knows sessions, nor how a
run goes on: that stays here, in :mod:`.fleet`.

Dask's tasks are of no use for this: when a worker dies, its scheduler begins them again elsewhere,
up to three times and without a word. So a worker is called directly, as ``Client.run`` does it, and
no scheduler has anything to begin again; nor do secrets stand in a graph, a key or a dashboard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, hosting
from .aws.lending import keys_of, lent_by
from .aws.slots import slots
from .dask_line import ANSWER, Line
from .errors import ConnectError, EcsExecError, InvalidRequest, NotBegun
from .hosting import Message, Parcel, Welcome
from .results import CommandResult
from .runner import settling
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import distributed

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .aws.lending import Keys
    from .dask_line import Errand
    from .runner import Request

    OnNotice = Callable[[str], object]

__all__ = ["Crew", "RemoteJob", "checked"]

logger = logging.getLogger(__name__)

_LOOK = 5.0  # seconds between two looks at which workers there are
_PATIENCE = 120.0  # seconds for which a new worker is waited for when all are gone
_RENEW = 60.0

_SAME = 'install the same version on the workers: pip install "ecs-exec-magic=={}"'


def checked(executor: object) -> distributed.Client:
    """Return the executor, if runs can be spread with it.

    Raises:
        InvalidRequest: it is no client of Dask, it is closed, or it belongs to the caller's loop.
    """
    try:
        import distributed
    except ImportError:
        raise InvalidRequest(
            "executor= needs Dask, which is not installed",
            cure='pip install "ecs-exec-magic[fleet]"',
        ) from None
    if not isinstance(executor, distributed.Client):
        raise InvalidRequest(
            f"executor is {type(executor).__name__}, not a client of Dask",
            cure="give a distributed.Client, as in Client('tcp://scheduler:8786')",
        )
    if executor.status != "running":
        raise InvalidRequest(
            f"the Dask client is {executor.status}",
            cure="connect a new one: distributed.Client(ADDRESS)",
        )
    if executor.asynchronous:
        raise InvalidRequest(
            "this Dask client runs on the event loop of this thread",
            cause="that loop would stand still while the run is waited for",
            cure="give a client that is not asynchronous, as distributed.Client(ADDRESS) is",
        )
    return executor


class Crew:
    """The workers of a cluster while they run one request; an asynchronous context.

    Args:
        executor: a client of Dask that :func:`checked` has let pass.
        api: how AWS is called here, and with what credentials.
        refs: the containers by address.
        request: what to run.
        at_once: commands that run at the same time, on all workers together.
        own: workers use their own credentials; else those of ``api`` are sent to them.
        on_notice: called with a sentence when something takes long.
    """

    def __init__(
        self,
        executor: distributed.Client,
        api: AwsApi,
        refs: Mapping[str, ContainerRef],
        request: Request,
        at_once: int,
        *,
        own: bool = False,
        on_notice: OnNotice | None = None,
    ) -> None:
        self.api = api
        self.request = request
        self._at_once = at_once
        self._executor = executor
        self._refs = refs
        self._own = own
        self._on_notice = on_notice
        self._parcel: Parcel | None = None
        self._keys: Keys | None = None
        self._lines: dict[str, Line] = {}
        self._refused: dict[str, EcsExecError] = {}
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._helpers: list[asyncio.Task[None]] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._shared = False  # a worker that is this very process counts places with us

    # -- from the beginning to the end -----------------------------------------------------------

    async def __aenter__(self) -> Crew:
        lent = await lent_by(self.api, own=self._own)
        self._keys = lent.keys
        request = await _portable(self.request)
        self._parcel = Parcel("", lent, request, self._at_once)
        try:
            await self._look()
        except Exception as error:
            raise ConnectError(
                f"the Dask cluster does not answer: {type(error).__name__}: {error}"
            ) from error
        if not self._lines:
            for refusal in self._refused.values():
                raise refusal
            raise InvalidRequest(
                "the Dask cluster has no worker",
                cure="start some, as with cluster.scale(2), and wait: client.wait_for_workers(1)",
            )
        self._helpers = [asyncio.ensure_future(self._looking())]
        if not self._own:
            self._helpers.append(asyncio.ensure_future(self._renewing()))
        return self

    async def __aexit__(self, *error: object) -> None:
        # Sessions that still close keep their places: that is waited for off the result's path.
        settling(self._leave(at_once=error[0] is not None))

    async def _leave(self, at_once: bool) -> None:
        for helper in self._helpers:
            helper.cancel()
        # A worker that is being asked just now would keep what it was lent, unless it is told.
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(line.close(at_once) for line in self._lines.values()))

    # -- workers ---------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See which workers there are, and get the new ones ready."""
        there = await self.workers()
        self._refused = {each: self._refused[each] for each in there if each in self._refused}
        known = {each for each, line in self._lines.items() if line.alive} | self._refused.keys()
        new = [each for each in there if each not in known]
        opening = [asyncio.ensure_future(self._open(address)) for address in new]
        self._opening.update(opening)
        if opening:
            await asyncio.wait(opening)
        for each in opening:
            each.result()

    async def _open(self, address: str) -> None:
        assert self._parcel is not None
        parcel = replace(self._parcel, party=uuid.uuid4().hex)
        try:
            welcome: Welcome = await self.call(address, hosting.open_party, parcel)
        except Exception as error:  # noqa: BLE001 - whatever a worker that cannot do it raises
            if address in await self.workers():
                self._refuse(address, _unready(address, error))
            return
        if welcome.version != __version__:
            with contextlib.suppress(Exception):  # it would forget it by itself, but later
                await self.call(address, hosting.tell, parcel.party, [Message(1, "close")])
            self._refuse(
                address,
                InvalidRequest(
                    f"the Dask worker {address} has ecs-exec-magic {welcome.version}, "
                    f"not {__version__}",
                    cure=_SAME.format(__version__),
                ),
            )
            return
        self._shared = self._shared or welcome == Welcome.here()
        self._lines[address] = Line(self, address, parcel.party)
        self._changed.set()

    def _refuse(self, address: str, error: EcsExecError) -> None:
        self._refused[address] = error
        self.notice(f"{error}; it runs nothing")

    async def _looking(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await wait_for(self._gone.wait(), _LOOK)
            self._gone.clear()
            with contextlib.suppress(Exception):
                await self._look()

    async def _renewing(self) -> None:
        """Send credentials again when they have changed: temporary ones expire during long runs."""
        while True:
            await asyncio.sleep(_RENEW)
            try:
                keys = await keys_of(self.api)
            except EcsExecError as error:
                logger.debug("credentials were not renewed: %s", error)
                continue
            if keys == self._keys or self._parcel is None:
                continue
            self._keys = keys
            self._parcel = replace(self._parcel, lent=replace(self._parcel.lent, keys=keys))
            for line in self._lines.values():
                line.say("keys", keys)

    async def worker(self) -> Line:
        """The worker that has least to do.

        Raises:
            NotBegun: there is none any more.
        """
        end = time.monotonic() + _PATIENCE
        if not any(each.alive for each in self._lines.values()):
            self.notice("all workers of the Dask cluster are gone; waiting for a new one")
        while not (alive := [each for each in self._lines.values() if each.alive]):
            left = end - time.monotonic()
            if left <= 0:
                raise NotBegun(
                    "not begun: the Dask cluster has no worker any more",
                    cure="start some, and run it again where it was not begun",
                )
            self._changed.clear()
            self._gone.set()
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await wait_for(self._changed.wait(), left)
        return min(alive, key=lambda each: len(each.errands))

    def lost(self) -> None:
        """A worker is gone; its nanny may start another."""
        self._gone.set()

    # -- jobs ------------------------------------------------------------------------------------

    def job(self, address: str) -> RemoteJob:
        """A job for a container, to be run on one of the workers."""
        return RemoteJob(self, self._refs[address])

    def place(self, ref: ContainerRef) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold a place in a container, whichever worker it is for."""
        if self._shared:
            return contextlib.nullcontext()
        return slots.hold(ref, self.notice)

    def notice(self, text: str) -> None:
        """Tell people something."""
        try:
            if self._on_notice is not None:
                self._on_notice(text)
        except Exception:  # what the user's callback raises must not end the news of others
            logger.warning("on_notice failed", exc_info=True)

    # -- Dask ------------------------------------------------------------------------------------

    async def call(
        self, address: str, function: Callable[..., Any], *args: Any, limit: float = ANSWER
    ) -> Any:
        """Call a function in a worker, once; raises whatever Dask does."""

        async def there() -> Any:
            answers = await self._executor.run(function, *args, workers=[address])
            return answers[address]

        return await self._on_dask(there(), limit)

    async def workers(self) -> list[str]:
        """Addresses of the workers that there are."""

        async def there() -> list[str]:
            return list(await self._executor.nthreads())  # type: ignore[no-untyped-call]

        found: list[str] = await self._on_dask(there(), ANSWER)
        return found

    async def _on_dask(self, work: Any, limit: float) -> Any:
        """Await something on the loop of Dask's client."""
        try:
            loop: Any = self._executor.loop
            future = asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)
        except BaseException:
            work.close()
            raise
        return await wait_for(asyncio.wrap_future(future), limit)


class RemoteJob:
    """One run of the crew's request in one container: a :class:`~.runner.Job` elsewhere."""

    def __init__(self, crew: Crew, ref: ContainerRef) -> None:
        self._crew = crew
        self._ref = ref
        self._task: asyncio.Task[Any] | None = None
        self._errand: Errand | None = None
        self._given_up = False
        self._started_at = datetime.now(timezone.utc)

    async def run(self) -> CommandResult:
        """Run to the end; after :meth:`interrupt`, return what there is then.

        Raises:
            WorkerLost: the worker is gone that had been asked to run it.
            NotBegun: there is no worker any more.
            EcsExecError: as :meth:`.runner.Job.run` says.
        """
        self._task = asyncio.current_task()
        outcome: Any = None
        try:
            while outcome is None:
                outcome = await self._once()
        except asyncio.CancelledError:
            if self._errand is not None:
                self._errand.line.say("end", self._errand.token)
            elif self._given_up:
                return self._unbegun()
            raise
        if isinstance(outcome, EcsExecError):
            raise outcome
        result: CommandResult = outcome
        return result

    async def _once(self) -> Any:
        """What came of it at one worker; None: that worker died before it knew of it."""
        self._errand = None
        if self._given_up:
            return self._unbegun()
        place = contextlib.AsyncExitStack()
        await place.enter_async_context(self._crew.place(self._ref))
        try:
            line = await self._crew.worker()
        except BaseException:
            await place.aclose()
            raise
        self._errand = line.begin(self._ref)
        settling(_give_back(place, self._errand))
        return await self._errand.outcome

    async def interrupt(self) -> None:
        """Send SIGINT to the command, or if it has not begun, end it; the second time, end it."""
        self._say("interrupt")

    async def stop(self) -> None:
        """End the command: SIGTERM first, and the end of the session 3 s after."""
        self._say("stop")

    def _say(self, what: str) -> None:
        self._given_up = True
        if self._errand is not None:
            self._errand.line.say(what, self._errand.token)
        elif self._task is not None:
            self._task.cancel()

    def _unbegun(self) -> CommandResult:
        return CommandResult(
            None,
            self._crew.request.shown(),
            self._ref,
            started_at=self._started_at,
            missing="ended before the command began",
        )


async def _give_back(place: contextlib.AsyncExitStack, errand: Errand) -> None:
    async with place:
        await errand.settled.wait()


async def _portable(request: Request) -> Request:
    """The same request, with what a worker could not read put into it."""
    if not isinstance(request.stdin, os.PathLike):
        return request
    path = Path(os.fspath(request.stdin))
    try:
        return replace(request, stdin=await asyncio.to_thread(path.read_bytes))
    except OSError as error:
        raise InvalidRequest(f"stdin cannot be read: {error}") from None


def _unready(address: str, error: Exception) -> EcsExecError:
    """Why a worker cannot take part."""
    if isinstance(error, ImportError | AttributeError):
        return InvalidRequest(
            f"the Dask worker {address} has no ecs-exec-magic of this version",
            cause=f"{type(error).__name__}: {error}",
            cure=_SAME.format(__version__),
        )
    if isinstance(error, EcsExecError):
        return error
    return EcsExecError(
        f"the Dask worker {address} cannot be made ready: {type(error).__name__}: {error}"
    )
