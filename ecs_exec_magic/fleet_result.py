"""What a command gave in each of several containers.

Knows results by address. Never knows how commands run, nor notebooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .cleaning import plain
from .errors import EcsExecError, FleetFailed, InvalidRequest, NotBegun
from .fleet_views import Differences, differences, fleet_html
from .masking import mask
from .results import CommandResult, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FleetResult", "Outcome"]

Outcome: TypeAlias = CommandResult | EcsExecError


class FleetResult(Mapping[str, Outcome]):
    """What a command gave in each of several containers.

    A mapping from addresses, as in ``prod/0123...:nginx``, to a
    :class:`~ecs_exec_magic.results.CommandResult`, or to the error that kept the command from
    running or its end from being seen. In the order of the containers that were asked for.

    Attributes:
        command: what was run.
        attempts: by address, how often it was begun; more than once only where ``retry`` asked.
    """

    def __init__(
        self,
        outcomes: Mapping[str, Outcome],
        command: str | list[str] = "",
        attempts: Mapping[str, int] | None = None,
    ) -> None:
        self._outcomes = dict(outcomes)
        self.command = command
        self.attempts = dict(attempts or {})

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

    @property
    def not_begun(self) -> dict[str, NotBegun]:
        """Those of :attr:`errors` where it was not tried, because the run was ended before."""
        return {a: each for a, each in self.items() if isinstance(each, NotBegun)}

    def check(self) -> FleetResult:
        """Return self if the command succeeded everywhere.

        Raises:
            FleetFailed: it did not; the message counts and names where.
        """
        if self.ok:
            return self
        if not self._outcomes:
            raise FleetFailed("the command ran nowhere: there was no container", result=self)
        # What ended the run is told, not what it kept from being begun.
        bad = sorted([*self.failed, *self.errors], key=lambda each: each in self.not_begun)
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
        return [
            {**_row(address, each), "attempts": self.attempts.get(address, 0)}
            for address, each in self.items()
        ]

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

    def diff(self, stream: Literal["stdout", "stderr"] = "stdout") -> Differences:
        """How outputs differ from the most frequent one, as ``diff -u`` writes it.

        What has no output, because the command did not run or its end was not seen, counts with
        the text of its error.

        Args:
            stream: which of the two is compared.

        Returns:
            a text, which a notebook shows in colours.
        """
        groups: dict[str, list[str]] = {}
        for address, each in self.items():
            if isinstance(each, CommandResult):
                text = getattr(each, stream)
                if not each.ok:
                    ended = "" if not text or text.endswith("\n") else "\n"
                    text += f"{ended}({_ending(each)})"
            else:
                text = f"({type(each).__name__}: {each})"
            groups.setdefault(text, []).append(address)
        ordered = sorted(groups.items(), key=lambda group: len(group[1]))
        return differences([(addresses, text) for text, addresses in ordered])

    # -- as text ---------------------------------------------------------------------------------

    def __repr__(self) -> str:
        counts = (
            ("ok", len(self.succeeded)),
            ("failed", len(self.failed)),
            ("errors", len(self.errors) - len(self.not_begun)),
            ("not begun", len(self.not_begun)),
        )
        said = ", ".join(f"{count} {name}" for name, count in counts if count)
        return f"<FleetResult of {len(self)} containers: {said or 'nothing ran'}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        return fleet_html(repr(self)[1:-1], self.table())


def _likeness(outcome: Outcome) -> Any:
    if isinstance(outcome, CommandResult):
        return outcome.exit_code, outcome.stdout_bytes, outcome.stderr_bytes
    return type(outcome), str(outcome)


def _ending(result: CommandResult) -> str:
    if result.timed_out:
        return "its time was up"
    code = result.exit_code
    return "exit code unknown" if code is None else f"exit code {code}"


def _row(address: str, outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"container": address, "outcome": "error", "exit_code": None}
    if isinstance(outcome, NotBegun):
        row["outcome"] = "not begun"
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
