"""One command in many containers at once, and what came of it in each.

Knows results by address. Never knows how containers are found, nor notebooks.
"""

from __future__ import annotations

import asyncio
import html
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from .cleaning import plain
from .errors import EcsExecError, FleetFailed, InvalidRequest
from .masking import mask
from .results import CommandResult, one_line
from .runner import Job, Request
from .running import RunningCommand, watch
from .views import BAD, GOOD, short_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .portal import Bridge
    from .runner import Method

    OnResult = Callable[[str, "Outcome"], object]
    OnNotice = Callable[[str], object]

__all__ = ["Fleet", "FleetJob", "FleetResult"]

_REPEATABLE = (str, bytes, bytearray, memoryview, os.PathLike, list, tuple)

Outcome: TypeAlias = CommandResult | EcsExecError


class FleetResult(Mapping[str, Outcome]):
    """What a command gave in each of several containers.

    A mapping from addresses, as in ``prod/0123...:nginx``, to a
    :class:`~ecs_exec_magic.results.CommandResult`, or to the error that kept the command from
    running or its end from being seen. In the order of the containers that were asked for.
    """

    def __init__(self, outcomes: Mapping[str, Outcome], command: str | list[str] = "") -> None:
        self._outcomes = dict(outcomes)
        self.command = command

    def __getitem__(self, address: str) -> Outcome:
        return self._outcomes[address]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    # -- outcomes --------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """Whether there are containers, and the command ended with exit code 0 in each."""
        return bool(self._outcomes) and len(self.succeeded) == len(self)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def results(self) -> dict[str, CommandResult]:
        """Those whose end was seen, with whatever exit code."""
        return {a: each for a, each in self.items() if isinstance(each, CommandResult)}

    @property
    def succeeded(self) -> dict[str, CommandResult]:
        """Those that ended with exit code 0."""
        return {address: each for address, each in self.results.items() if each.ok}

    @property
    def failed(self) -> dict[str, CommandResult]:
        """Those that ended otherwise."""
        return {address: each for address, each in self.results.items() if not each.ok}

    @property
    def errors(self) -> dict[str, EcsExecError]:
        """Those where the command could not run, or its end was not seen."""
        return {a: each for a, each in self.items() if isinstance(each, EcsExecError)}

    def check(self) -> FleetResult:
        """Return self if the command succeeded everywhere.

        Raises:
            FleetFailed: it did not; the message counts and names where.
        """
        if self.ok:
            return self
        if not self._outcomes:
            raise FleetFailed("the command ran nowhere: there was no container", result=self)
        bad = [*self.failed, *self.errors]
        first = self[bad[0]]
        how = f"{type(first).__name__}: {first}"
        if isinstance(first, CommandResult):
            last = mask(_last_line(first, "stderr")).text
            how = f"{first._outcome()}" + (f": {last[-200:]}" if last else "")
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        what = repr(one_line(self.command)) if self.command else "the command"
        raise FleetFailed(
            f"{what} failed in {len(bad)} of {len(self)} containers: {bad[0]}{more}",
            cause=f"in {bad[0]}: {how}",
            cure="look at .result: .failed, .errors and .table() say what happened where",
            result=self,
        )

    # -- as data ---------------------------------------------------------------------------------

    def table(self) -> list[dict[str, Any]]:
        """A row for each container: address, outcome, exit code, sizes, seconds, last line."""
        return [_row(address, each) for address, each in self.items()]

    def dataframe(self) -> Any:
        """:meth:`table` as a pandas DataFrame.

        Raises:
            InvalidRequest: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InvalidRequest(
                "dataframe() needs pandas", cure="pip install pandas, or use table()"
            ) from None
        return pandas.DataFrame(self.table())

    def group(self) -> list[tuple[list[str], Outcome]]:
        """Addresses that gave the same outcome together, with one of it; the rarest first.

        Outcomes are the same when exit code and both streams are, or class and text of the error.
        """
        groups: dict[Any, list[str]] = {}
        for address, each in self.items():
            groups.setdefault(_likeness(each), []).append(address)
        ordered = sorted(groups.values(), key=len)
        return [(addresses, self[addresses[0]]) for addresses in ordered]

    # -- as text ---------------------------------------------------------------------------------

    def __repr__(self) -> str:
        counts = (
            ("ok", len(self.succeeded)),
            ("failed", len(self.failed)),
            ("errors", len(self.errors)),
        )
        said = ", ".join(f"{count} {name}" for name, count in counts if count)
        return f"<FleetResult of {len(self)} containers: {said or 'nothing ran'}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        columns = ("", "container", "outcome", "exit code", "seconds", "last line")
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in columns)
        body = "".join(map(_html_row, self.table()))
        return (
            f"<div>{html.escape(repr(self)[1:-1])}"
            f'<table style="margin:.3em 0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
            "</table></div>"
        )


def _likeness(outcome: Outcome) -> Any:
    if isinstance(outcome, CommandResult):
        return outcome.exit_code, outcome.stdout_bytes, outcome.stderr_bytes
    return type(outcome), str(outcome)


def _row(address: str, outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"container": address, "outcome": "error", "exit_code": None}
    if isinstance(outcome, CommandResult):
        row["outcome"] = "ok" if outcome.ok else "timed out" if outcome.timed_out else "failed"
        row["exit_code"] = outcome.exit_code
        row["stdout_bytes"] = len(outcome.captured_stdout)
        row["stderr_bytes"] = len(outcome.captured_stderr)
        row["seconds"] = round(outcome.duration, 3)
        stream = "stdout" if outcome.ok or not len(outcome.captured_stderr) else "stderr"
        row["last_line"] = _last_line(outcome, stream)
    else:
        row["stdout_bytes"] = row["stderr_bytes"] = 0
        row["seconds"] = None
        row["last_line"] = f"{type(outcome).__name__}: {outcome}"
    return row


def _last_line(result: CommandResult, stream: str) -> str:
    capture = getattr(result, f"captured_{stream}")
    return plain(capture.last_lines(1, at_most=1000).decode("utf-8", "replace")).strip()


def _html_row(row: dict[str, Any]) -> str:
    good = row["outcome"] == "ok"
    mark = f'<b style="color:{GOOD if good else BAD}">{"✓" if good else "✗"}</b>'
    where = short_address(row["container"])
    last = mask(row["last_line"]).text
    shown = [where, row["outcome"], row["exit_code"], row["seconds"], last]
    cells = "".join(
        f'<td style="text-align:left">{html.escape("" if each is None else str(each)[:200])}</td>'
        for each in shown
    )
    return f"<tr><td>{mark}</td>{cells}</tr>"


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
            max_parallel: containers at once.
            on_result: called in this thread with address and outcome as each ends.
            on_notice: called in this thread with a sentence when something takes long.
            on_tick: called in this thread ten times a second.

        Raises:
            FleetFailed: ``check`` was asked for, and one failed.
            Interrupted: the interrupt key was pressed; ``.result`` holds what came.
        """
        make = self._maker(
            Request.of(command, shell, stdin, timeout, method, max_bytes), max_parallel
        )

        def show(item: tuple[str, Outcome] | str) -> None:
            if isinstance(item, str):
                if on_notice is not None:
                    on_notice(item)
            elif on_result is not None:
                on_result(*item)

        result = watch(
            self._bridge,
            lambda emit, _: make(lambda *both: emit(both, 0), lambda text: emit(text, 0)),
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
        on_result: Callable[[str, Outcome], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_done: Callable[[], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> RunningCommand[FleetResult]:
        """Start a command in all of them and return at once; otherwise as :meth:`run`.

        What begins with ``on_`` is called in the package's own thread.
        """
        make = self._maker(
            Request.of(command, shell, stdin, timeout, method, max_bytes), max_parallel
        )
        return RunningCommand(
            make(on_result, on_notice), check=check, on_done=on_done, on_tick=on_tick
        )

    def _maker(
        self, request: Request, max_parallel: int
    ) -> Callable[[OnResult | None, OnNotice | None], FleetJob]:
        if max_parallel < 1:
            raise InvalidRequest(f"max_parallel={max_parallel} is not possible; 1 is the least")
        if request.stdin is not None and not isinstance(request.stdin, _REPEATABLE):
            kind = type(request.stdin).__name__
            raise InvalidRequest(
                f"stdin is {kind}, which can be read only once, and every container needs it",
                cure="give str, bytes, a path or a list",
            )

        def make(on_result: OnResult | None, on_notice: OnNotice | None) -> FleetJob:
            # A request of its own for each: the mark of its output must not be known elsewhere.
            jobs = {
                each.address: Job(self._api, _plain(each), replace(request), on_notice=on_notice)
                for each in self.targets
            }
            return FleetJob(jobs, request.shown(), max_parallel=max_parallel, on_result=on_result)

        return make


def _plain(target: ContainerRef) -> ContainerRef:
    ref: ContainerRef = getattr(target, "ref", target)
    return ref


class FleetJob:
    """Runs a job for each container, so many at once, and gathers what comes of them.

    Args:
        jobs: by address.
        command: as results show it.
        max_parallel: how many run at once.
        on_result: called with address and outcome as each ends, on the event loop.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        command: str | list[str],
        *,
        max_parallel: int,
        on_result: Callable[[str, Outcome], object] | None = None,
    ) -> None:
        self._jobs = jobs
        self._command = command
        self._max_parallel = max_parallel
        self._on_result = on_result
        self._outcomes: dict[str, Outcome] = {}
        self._begun: dict[str, Job] = {}
        self._given_up = False
        self._interrupted = False

    async def run(self) -> FleetResult:
        """Run all of them to their end; one that fails changes nothing for the others."""
        places = asyncio.Semaphore(self._max_parallel)
        await asyncio.gather(
            *(self._one(places, address, job) for address, job in self._jobs.items())
        )
        return self.so_far()

    async def _one(self, places: asyncio.Semaphore, address: str, job: Job) -> None:
        outcome: Outcome
        async with places:
            if self._given_up:
                outcome = EcsExecError("not begun: the run was ended before")
            else:
                self._begun[address] = job
                try:
                    outcome = await job.run()
                except EcsExecError as error:
                    # A command whose time was up is an outcome like another exit code.
                    ended = isinstance(error.result, CommandResult) and error.result.timed_out
                    outcome = error.result if ended else error
                except Exception as error:  # noqa: BLE001 - the others go on whatever it is
                    outcome = EcsExecError(f"{type(error).__name__}: {error}")
                    outcome.__cause__ = error
        self._outcomes[address] = outcome
        if self._on_result is not None:
            self._on_result(address, outcome)

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

    async def _end(self, how: Callable[[Job], Any]) -> None:
        self._given_up = True
        running = [job for address, job in self._begun.items() if address not in self._outcomes]
        await asyncio.gather(*(how(job) for job in running))

    def so_far(self) -> FleetResult:
        """What there is by now, in the order of the containers."""
        there = {a: self._outcomes[a] for a in self._jobs if a in self._outcomes}
        return FleetResult(there, self._command)
