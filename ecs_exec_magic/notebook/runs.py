"""One line's command on its way: what is shown of it, bound to names, kept, and raised.

Knows screens, names and the record of runs. Never knows how lines are spelled, nor connections.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CommandFailed, EcsExecError, FleetFailed, Interrupted
from ..results import CommandResult, OutputEvent
from ..views import short_address, size
from .keeping import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .display import Screen
    from .jobs import BackgroundJob
    from .progress import Progress
    from .workspace import Workspace

__all__ = ["Order", "Runs"]

ASK_FROM = 10
"""Containers from which on a command is confirmed before it runs in all of them."""

_SHOWN_BYTES = 64 * 1024  # of each stream of each container of many


@dataclass(frozen=True)
class Order:
    """What a line asks for.

    Attributes:
        command: as it goes to the far end.
        shell: the interpreter, when the command is a script.
        values: the line's options, which say where.
        names: variables to bind, by what they get: ``out``, ``stdout``, ``stderr``.
        raises: raise when an exit code is not 0.
        quiet: show nothing.
        executor: a client of Dask whose workers open the sessions.
    """

    command: str
    shell: str | None
    values: Mapping[str, Any]
    names: Mapping[str, str]
    stdin: Any = None
    timeout: float | None = None
    raises: bool = True
    quiet: bool = False
    executor: Any = None

    @property
    def many(self) -> bool:
        """Whether it is for every container that the target means."""
        return bool(self.values.get("all"))


class Runs:
    """Runs what lines ask for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def run(self, order: Order) -> Any:
        """Run a command and wait for its end.

        Returns:
            a CommandResult, or a FleetResult.

        Raises:
            EcsExecError: as the client says; the names are bound in any case.
        """
        self._bind(order, None)
        screen = None if order.quiet else self._workspace.screen()
        kept = Kept(self._workspace, order)
        result: Any = None
        failure: BaseException | None = None
        shown: Progress | None = None
        try:
            run, where = self._prepared(order, kept)
            shown = None if screen is None else self._workspace.progress(screen, where)
            result = run(screen, shown)
        except BaseException as error:
            failure, result = error, getattr(error, "result", None)
            if order.raises or result is None or not isinstance(error, CommandFailed):
                self._mark_shown(error, screen)
                raise
        finally:
            try:
                if shown is not None:
                    shown.end(success=bool(result) and failure is None)
                if screen is not None:
                    screen.close()
            finally:
                self._bind(order, result)
                kept.finish(result, failure)
                _tell(kept.notices)
        if order.raises:
            try:
                result.check()
            except EcsExecError as error:
                self._mark_shown(error, screen)
                raise
        return result

    def start(self, order: Order) -> BackgroundJob:
        """Start a command in the background."""
        self._bind(order, None)
        space, kept = self._workspace, Kept(self._workspace, order)

        def ended(job: BackgroundJob) -> None:
            error = job.exception()
            result = job.so_far() if error is None else getattr(error, "result", None)
            self._bind(order, result)
            kept.finish(result, error, wait=0.0)

        how = {**self._how(order), "check": order.raises, "shell": order.shell}
        try:
            if order.many:
                fleet = self._fleet(order, kept)
                where = f"{len(fleet.addresses)} containers"
                how.update(self._limits(order))
                how["on_result"] = lambda *both: kept.ended(*both, wait=0.0)
                start: Callable[..., Any] = fleet.start
            else:
                target = space.resolve(order.values)
                kept.found(target)
                where, start = target.address, target.start
            job = space.jobs.add(order.command, where, ended)
            try:
                job.begin(
                    lambda **hooks: start(order.command, **how, **hooks), view=not order.quiet
                )
            except BaseException:
                space.jobs.drop(job)
                raise
        except BaseException as error:
            kept.finish(None, error)
            raise
        finally:
            _tell(kept.notices)
        return job

    # -- parts of a run --------------------------------------------------------------------------

    def _prepared(
        self, order: Order, kept: Kept
    ) -> tuple[Callable[[Screen | None, Progress | None], Any], Callable[[], str]]:
        """Find where to run; return what runs it, and what progress says besides."""
        how = {**self._how(order), "check": False}
        if order.many:
            return self._in_many(order, how, kept)
        target = self._workspace.resolve(order.values)
        kept.found(target)

        def run(screen: Screen | None, progress: Progress | None) -> Any:
            how.update(
                on_output=screen and screen.output,
                on_notice=screen and screen.notice,
                on_tick=screen and _ticks(screen, progress),
            )
            if order.values.get("keep"):
                return self._in_kept(target, order, how, screen)
            if order.shell is None:
                return target.run(order.command, **how)
            return target.script(order.command, shell=order.shell, **how)

        return run, lambda: short_address(target.address)

    def _in_kept(
        self, target: Any, order: Order, how: dict[str, Any], screen: Screen | None
    ) -> Any:
        """Run in the shell that is kept in that container; say so when it is not the one before."""
        shell, gone = self._workspace.jobs.shell(target)
        if gone:
            text = f"the shell that was kept here has {gone}; a new one begins, without its state"
            if screen is not None:
                screen.notice(text)
            else:
                sys.stderr.write(f"{text}\n")
        names = ("stdin", "timeout", "check", "on_output", "on_notice", "on_tick")
        return shell.run(order.command, **{name: how[name] for name in names})

    def _in_many(
        self, order: Order, how: dict[str, Any], kept: Kept
    ) -> tuple[Callable[[Screen | None, Progress | None], Any], Callable[[], str]]:
        fleet = self._fleet(order, kept)
        done: list[bool] = []

        def run(screen: Screen | None, progress: Progress | None) -> Any:
            def ended(address: str, outcome: Any) -> None:
                done.append(isinstance(outcome, CommandResult) and outcome.ok)
                kept.ended(address, outcome)
                if screen is not None:
                    _show_outcome(screen, address, outcome)

            return fleet.run(
                order.command,
                shell=order.shell,
                **self._limits(order),
                on_result=ended,
                on_notice=screen and screen.notice,
                on_tick=screen and _ticks(screen, progress),
                **how,
            )

        def said() -> str:
            bad = done.count(False)
            return f"{len(done)} of {len(fleet.addresses)} containers done" + (
                f", {bad} failed" if bad else ""
            )

        return run, said

    def _fleet(self, order: Order, kept: Kept) -> Any:
        fleet = self._workspace.fleet(order.values)
        count = len(fleet.addresses)
        if count >= ASK_FROM and self._workspace.settings.confirm and not order.values.get("yes"):
            self._confirm(f"run this in {count} containers")
        kept.found_many(fleet.targets)
        return fleet

    def _confirm(self, what: str) -> None:
        if not self._workspace.headless and not self._workspace.agreed(what):
            raise Interrupted(f"not confirmed: {what}; --yes or %config EcsExec.confirm = False")

    def _limits(self, order: Order) -> dict[str, Any]:
        values = order.values
        return {
            "max_parallel": values.get("max_parallel") or self._workspace.settings.max_parallel,
            "retry": values.get("retry") or 0,
            "max_failures": values.get("max_failures"),
            "fail_fast": bool(values.get("fail_fast")),
            "idempotent": bool(values.get("idempotent")),
            **({} if order.executor is None else {"executor": order.executor}),
        }

    def _how(self, order: Order) -> dict[str, Any]:
        settings = self._workspace.settings
        return {
            "stdin": order.stdin,
            "timeout": order.timeout or settings.timeout,
            "method": settings.method,
        }

    def _mark_shown(self, error: BaseException, screen: Screen | None) -> None:
        """Spare the reader the same words twice: not a log, nor a cell that captures its output."""
        captured = hasattr(sys.stderr, "getvalue")
        if isinstance(error, (CommandFailed, FleetFailed)):
            error.output_shown = not (screen is None or captured or self._workspace.headless)

    def _bind(self, order: Order, result: Any) -> None:
        for kind, name in order.names.items():
            # "out" is the result, the others its texts.
            value = result if kind == "out" or result is None else _text(result, kind)
            self._workspace.variables[name] = value


def _text(result: Any, stream: str) -> Any:
    """A stream's text; of several containers, the texts by address."""
    if isinstance(result, CommandResult):
        return getattr(result, stream)
    return {address: getattr(each, stream) for address, each in result.results.items()}


def _ticks(screen: Screen, progress: Progress | None) -> Callable[[], None]:
    def tick() -> None:
        screen.tick()
        if progress is not None:
            progress.tick()

    return tick


def _tell(notices: list[str]) -> None:
    for notice in notices:
        sys.stderr.write(f"{notice}\n")


def _show_outcome(screen: Screen, address: str, outcome: Any) -> None:
    """One container's whole output under a line of its own."""
    seen = isinstance(outcome, CommandResult)
    said = outcome._outcome() if seen else f"{type(outcome).__name__}: {outcome}"
    begin = "" if screen.at_line_start else "\n"
    parts = [f"{begin}── {address} · {said}\n".encode()]
    if seen:
        for name, prefix in (("stdout", b""), ("stderr", b"stderr: ")):
            capture = getattr(outcome, f"captured_{name}")
            # In one stream, so that each stays with its container however many there are.
            text = capture.read(0, _SHOWN_BYTES)
            parts += [prefix + line for line in text.splitlines(keepends=True)]
            if text and not text.endswith(b"\n"):
                parts.append(b"\n")
            if hidden := len(capture) - len(text):
                parts.append(f"… {size(hidden)} more of {name}; the result has it all …\n".encode())
    screen.output(OutputEvent("stdout", b"".join(parts), ""))
