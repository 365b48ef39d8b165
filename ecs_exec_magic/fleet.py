"""One command in many containers at once.

Knows jobs, and which of them may run when. Never knows how containers are found, nor notebooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .aws.census import Census
from .aws.slots import SESSIONS_PER_CONTAINER, slots
from .errors import (
    AgentNotConnected,
    EcsExecError,
    InvalidRequest,
    NotBegun,
    ProtocolError,
    ServiceError,
    SessionLost,
    Throttled,
    WorkerLost,
)
from .fleet_result import FleetResult, Outcome
from .results import CommandResult
from .room import Room
from .runner import Job, Request
from .running import RunningCommand, watch
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .dask_jobs import RemoteJob
    from .portal import Bridge
    from .runner import Method

    OnResult = Callable[[str, "Outcome"], object]
    OnNotice = Callable[[str], object]

__all__ = ["Fleet", "FleetJob", "FleetResult", "Limits"]

_REPEATABLE = (str, bytes, bytearray, memoryview, os.PathLike, list, tuple)

_NOTHING_RAN = (AgentNotConnected, Throttled)
_NOBODY_KNOWS = (ServiceError, SessionLost, ProtocolError)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds between attempts
_DEATHS = 3  # workers that may die under one command before it is given up
_CROWDED = 60.0  # seconds that others' sessions are waited for
_LOOK_AGAIN = 3.0


@dataclass(frozen=True)
class Limits:
    """How a run in many containers goes on.

    Attributes:
        max_parallel: containers at once.
        retry: how often a command is begun again in a container where it failed.
        max_failures: once so many have failed, no more are begun; None: all are.
        idempotent: running the command twice does no harm, so that it may also be begun again
            where nobody knows whether it ran.

    Raises:
        InvalidRequest: a number is too small.
    """

    max_parallel: int = 50
    retry: int = 0
    max_failures: int | None = None
    idempotent: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_parallel", 1), ("retry", 0), ("max_failures", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidRequest(f"{name}={value} is not possible; {least} is the least")

    def may_repeat(self, outcome: Outcome) -> bool:
        """Whether a command may be begun again after that outcome, by its nature.

        One that ended, with whatever exit code, is what ``retry`` is for. One whose end was not
        seen may still run: it is never repeated behind the user's back.
        """
        if isinstance(outcome, CommandResult):
            return outcome.exit_code is not None or outcome.timed_out or self.idempotent
        if isinstance(outcome, _NOTHING_RAN):
            return True
        return self.idempotent and isinstance(outcome, _NOBODY_KNOWS)


class Fleet:
    """Several containers, as a :class:`~ecs_exec_magic.client.Target` is one.

    Made by :meth:`Client.fleet`.

    Attributes:
        targets: the containers.
        addresses: of the containers, as results have them.
    """

    def __init__(self, api: AwsApi, bridge: Bridge, targets: Sequence[ContainerRef]) -> None:
        self._api = api
        self._bridge = bridge
        self.targets = list(targets)
        self.addresses = [target.address for target in targets]

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.addresses)} containers>"

    def run(
        self,
        command: str | Sequence[str | bytes],
        *,
        shell: str | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        max_parallel: int = 50,
        retry: int = 0,
        max_failures: int | None = None,
        fail_fast: bool = False,
        idempotent: bool = False,
        executor: Any = None,
        worker_credentials: bool = False,
        on_result: Callable[[str, Outcome], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> FleetResult:
        """Run a command in all of them and wait for the last.

        Args:
            command: as for :meth:`Target.run`.
            shell: the command is a script for this interpreter, as for :meth:`Target.script`.
            stdin: text, bytes, a path or a list: each container gets all of it.
            timeout: seconds for each command.
            check: raise unless all of them end with exit code 0.
            max_parallel: containers at once; fewer where the process may not open enough files.
            retry: begin the command again up to so often where it fails, with growing pauses.
                Where nobody knows whether it ran it is not repeated, unless ``idempotent``.
            max_failures: once it has failed in so many, begin no more; those that run go on.
            fail_fast: the same as ``max_failures=1``.
            idempotent: running it twice does no harm.
            executor: a ``distributed.Client``: sessions are opened by the workers of its cluster.
                A worker that dies takes what it knew of its commands with it: they count as
                unknown, as :class:`~ecs_exec_magic.errors.WorkerLost`, and only with
                ``idempotent`` are they begun again at others, up to three times.
            worker_credentials: workers use the AWS credentials that they have themselves; else
                they are sent those of this client.
            on_result: called in this thread with address and outcome as each ends.
            on_notice: called in this thread with a sentence when something takes long.
            on_tick: called in this thread ten times a second.

        Raises:
            FleetFailed: ``check`` was asked for, and one failed.
            Interrupted: the interrupt key was pressed; ``.result`` holds what came.
        """
        make = self._maker(
            Request.of(command, shell, stdin, timeout, method, max_bytes),
            Limits(max_parallel, retry, 1 if fail_fast else max_failures, idempotent),
            executor,
            own=worker_credentials,
        )

        def show(item: tuple[str, Outcome] | str) -> None:
            if isinstance(item, str):
                if on_notice is not None:
                    on_notice(item)
            elif on_result is not None:
                on_result(*item)

        result = watch(
            self._bridge,
            # Nothing is carried to this thread for nobody: each time, both threads would wait.
            lambda emit, _: make(
                None if on_result is None else lambda *both: emit(both, 0),
                None if on_notice is None else lambda text: emit(text, 0),
            ),
            show,
            on_tick,
        )
        return result.check() if check else result

    def start(
        self,
        command: str | Sequence[str | bytes],
        *,
        shell: str | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        max_parallel: int = 50,
        retry: int = 0,
        max_failures: int | None = None,
        fail_fast: bool = False,
        idempotent: bool = False,
        executor: Any = None,
        worker_credentials: bool = False,
        on_result: Callable[[str, Outcome], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_done: Callable[[], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> RunningCommand[FleetResult]:
        """Start a command in all of them and return at once; otherwise as :meth:`run`.

        What begins with ``on_`` is called in the package's own thread.
        """
        make = self._maker(
            Request.of(command, shell, stdin, timeout, method, max_bytes),
            Limits(max_parallel, retry, 1 if fail_fast else max_failures, idempotent),
            executor,
            own=worker_credentials,
        )
        return RunningCommand(
            make(on_result, on_notice), check=check, on_done=on_done, on_tick=on_tick
        )

    def _maker(
        self, request: Request, limits: Limits, executor: Any, *, own: bool
    ) -> Callable[[OnResult | None, OnNotice | None], FleetJob]:
        if request.stdin is not None and not isinstance(request.stdin, _REPEATABLE):
            kind = type(request.stdin).__name__
            raise InvalidRequest(
                f"stdin is {kind}, which can be read only once, and every container needs it",
                cause="each container gets all of it, and each attempt too",
                cure="give str, bytes, a path or a list",
            )
        if executor is not None:
            from .dask_jobs import Crew, checked

            checked(executor)
        elif own:
            raise InvalidRequest("worker_credentials goes with executor=")
        refs = {each.address: _plain(each) for each in self.targets}

        def make(on_result: OnResult | None, on_notice: OnNotice | None) -> FleetJob:
            at_once = min(limits.max_parallel, len(refs))
            crew: Crew | None = None
            if executor is None:
                room = Room.of(at_once)
                if room.limit is not None and on_notice is not None:
                    on_notice(
                        f"only {room.running} containers at once: this process may have no more "
                        f"than {room.limit} files open (ulimit -n)"
                    )
                at_once = room.running
            else:
                crew = Crew(
                    executor, self._api, refs, request, at_once, own=own, on_notice=on_notice
                )

            def job(address: str) -> Job | RemoteJob:
                if crew is not None:
                    return crew.job(address)
                # A request of its own for each: the mark of its output must not be known elsewhere.
                return Job(
                    self._api,
                    refs[address],
                    replace(request),
                    on_notice=on_notice,
                    room=room,
                )

            census = Census(self._api)

            async def crowd(address: str) -> int:
                others = await census.others(refs[address])
                # Without others, places of this process are a matter of waiting for one's turn.
                return others and others + slots.taken(refs[address])

            return FleetJob(
                job,
                list(refs),
                request.shown(),
                limits=replace(limits, max_parallel=max(1, at_once)),
                crowd=crowd,
                within=crew,
                on_result=on_result,
                on_notice=on_notice,
            )

        return make


def _plain(target: ContainerRef) -> ContainerRef:
    ref: ContainerRef = getattr(target, "ref", target)
    return ref


class FleetJob:
    """Runs a job for each container, so many at once, and gathers what comes of them.

    Args:
        make: a new job for an address.
        addresses: of the containers.
        command: as results show it.
        limits: how it goes on.
        crowd: tells how many sessions others have in a container.
        within: is entered before the first is begun, and left behind the last.
        on_result: called with address and outcome as each ends, on the event loop.
        on_notice: called there with a sentence when something takes long.
    """

    def __init__(
        self,
        make: Callable[[str], Job | RemoteJob],
        addresses: Sequence[str],
        command: str | list[str],
        *,
        limits: Limits,
        crowd: Callable[[str], Awaitable[int]],
        within: contextlib.AbstractAsyncContextManager[Any] | None = None,
        on_result: OnResult | None = None,
        on_notice: OnNotice | None = None,
    ) -> None:
        self._make = make
        self._addresses = addresses
        self._command = command
        self._limits = limits
        self._crowd = crowd
        self._within = within or contextlib.nullcontext()
        self._on_result = on_result
        self._on_notice = on_notice
        self._outcomes: dict[str, Outcome] = {}
        self._attempts: dict[str, int] = {}
        self._running: dict[str, Job | RemoteJob] = {}
        self._failures = 0
        self._given_up = asyncio.Event()
        self._interrupted = False
        self._callback_error: Exception | None = None

    async def run(self) -> FleetResult:
        """Run all of them to their end; one that fails changes nothing for the others.

        What a callback raises is raised when all have ended; :meth:`so_far` has their outcomes.
        """
        places = asyncio.Semaphore(self._limits.max_parallel)
        async with self._within:
            await asyncio.gather(*(self._one(places, address) for address in self._addresses))
        if self._callback_error is not None:
            raise self._callback_error
        return self.so_far()

    async def _one(self, places: asyncio.Semaphore, address: str) -> None:
        async with places:
            outcome = await self._tried(address)
        self._outcomes[address] = outcome
        good = isinstance(outcome, CommandResult) and outcome.ok
        self._failures += not good and not isinstance(outcome, NotBegun)
        if self._on_result is not None:
            self._call(self._on_result, address, outcome)

    def _call(self, callback: Callable[..., object], *given: Any) -> None:
        """Call something of the user's; what it raises must not take the others' outcomes away."""
        try:
            callback(*given)
        except Exception as error:  # noqa: BLE001 - it is raised when all have ended
            self._callback_error = self._callback_error or error

    async def _tried(self, address: str) -> Outcome:
        """Run it in a container, more than once where that was asked for."""
        if why := self._closed() or await self._busy(address):
            return why
        pause = _FIRST_PAUSE
        while True:
            attempt = self._attempts[address] = self._attempts.get(address, 0) + 1
            outcome = await self._attempted(address)
            good = isinstance(outcome, CommandResult) and outcome.ok
            # That a worker died is no fault of the command: it needs no retry that was asked for.
            died = isinstance(outcome, WorkerLost)
            retries = max(self._limits.retry, _DEATHS) if died else self._limits.retry
            if good or attempt > retries or not self._limits.may_repeat(outcome):
                return outcome
            if await self._ended_within(pause):
                return outcome
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _attempted(self, address: str) -> Outcome:
        job = self._running[address] = self._make(address)
        try:
            return await job.run()
        except EcsExecError as error:
            # A command whose time was up is an outcome like another exit code.
            if isinstance(error.result, CommandResult) and error.result.timed_out:
                return error.result
            return error
        except Exception as error:  # noqa: BLE001 - the others go on whatever it is
            outcome = EcsExecError(f"{type(error).__name__}: {error}")
            outcome.__cause__ = error
            return outcome
        finally:
            del self._running[address]

    # -- what keeps one from being begun ---------------------------------------------------------

    def _closed(self) -> NotBegun | None:
        most = self._limits.max_failures
        if self._given_up.is_set():
            return NotBegun("not begun: the run was ended before")
        if most is not None and self._failures >= most:
            return NotBegun(
                f"not begun: it had failed in {self._failures} containers before",
                cause=f"max_failures={most}",
            )
        return None

    async def _busy(self, address: str) -> NotBegun | None:
        """Wait until others have left a place in a container (PROTOCOL 9, FIELD 1)."""
        waited = 0.0
        while (open_now := await self._crowd(address)) >= SESSIONS_PER_CONTAINER:
            if waited >= _CROWDED:
                return NotBegun(
                    f"not begun: {address} has had {open_now} sessions, others' among them, for "
                    f"{waited:.0f} s, and its agent takes no more",
                    cure="end one (aws ssm terminate-session --session-id ID), or try again later",
                )
            if not waited and self._on_notice is not None:
                self._call(
                    self._on_notice,
                    f"{address} has {open_now} sessions, others' among them, as many as its agent "
                    "takes; waiting for one of them to end",
                )
            if await self._ended_within(_LOOK_AGAIN):
                return self._closed()
            waited += _LOOK_AGAIN
        return self._closed()

    async def _ended_within(self, seconds: float) -> bool:
        try:
            await wait_for(self._given_up.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return False
        return True

    # -- from outside ----------------------------------------------------------------------------

    @property
    def interrupted(self) -> bool:
        """Whether :meth:`interrupt` was called."""
        return self._interrupted

    async def interrupt(self) -> None:
        """Send SIGINT to every command, and begin no more of them."""
        self._interrupted = True
        await self._end(lambda job: job.interrupt())

    async def stop(self) -> None:
        """End every command, and begin no more of them."""
        await self._end(lambda job: job.stop())

    async def _end(self, how: Callable[[Job | RemoteJob], Any]) -> None:
        self._given_up.set()
        await asyncio.gather(*(how(job) for job in list(self._running.values())))

    def so_far(self) -> FleetResult:
        """What there is by now, in the order of the containers."""
        there = {a: self._outcomes[a] for a in self._addresses if a in self._outcomes}
        return FleetResult(there, self._command, self._attempts)
