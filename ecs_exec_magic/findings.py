"""What a check has found, and how that looks: as text, as HTML, as JSON.

Knows statuses, sentences and tables. Never knows AWS.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from .cleaning import plain
from .masking import mask
from .tables import Cell, Column, Row, Table, dot, escaped, muted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .results import CommandResult

__all__ = ["STATUSES", "Finding", "Findings", "Status"]

Status = Literal["ok", "warn", "fail", "unknown"]

STATUSES: tuple[Status, ...] = ("fail", "unknown", "warn", "ok")
"""From the worst to the best: what is not known may be a failure."""

_COLOURS = {"ok": "good", "warn": "wait", "fail": "bad", "unknown": "none"}
_WORDS = {"fail": "failed", "unknown": "unknown", "warn": "to look at", "ok": "fine"}
_COLUMNS = (
    Column("status"),
    Column("check", mono=True),
    Column("", least=30),
)
_LOG_LINES = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes:
        id: of the check, as in ``role.channel``.
        status: ``ok``, ``warn`` (exec works, or may work, but look), ``fail`` (it cannot work, or
            loses its logs) or ``unknown`` (it could not be looked at).
        title: what is so, in one line.
        evidence: how that is known: what AWS says, and of which tasks or containers.
        cure: what to do about it, in words; empty when there is nothing to do.
        call: the command that cures, on one line, to be copied; empty when there is none.
    """

    id: str
    status: Status
    title: str
    evidence: str = ""
    cure: str = ""
    call: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return self.status == "ok"

    def __str__(self) -> str:
        return f"{self.status}: {self.id}: {self.title}"


class Findings(tuple[Finding, ...]):
    """All that a check has found, the worst first; it shows itself as a table.

    Attributes:
        where: what was looked at, as in ``prod/web``.
        agent_log: what the agent in a container has logged, whole, where that was asked for and
            could be read.
        services: addresses of the services that were looked at, as in ``prod/web``.
    """

    where: str
    services: tuple[str, ...]
    agent_log: CommandResult | None

    def __new__(
        cls,
        findings: Iterable[Finding] = (),
        where: str = "",
        agent_log: CommandResult | None = None,
        services: Iterable[str] = (),
    ) -> Findings:
        found = super().__new__(cls, sorted(findings, key=lambda each: STATUSES.index(each.status)))
        found.where = where
        found.agent_log = agent_log
        found.services = tuple(services)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Findings, (tuple(self), self.where, self.agent_log, self.services)

    @property
    def ok(self) -> bool:
        """Whether nothing has failed and everything is known; warnings do not count."""
        return self.worst in ("ok", "warn")

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Those that say that exec cannot work, or loses its logs."""
        return tuple(each for each in self if each.status == "fail")

    @property
    def worst(self) -> Status:
        """The worst status of all."""
        return self[0].status if self else "ok"

    def find(self, id: str) -> Finding | None:
        """The finding of one check; None when it did not concern what was looked at."""
        return next((each for each in self if each.id == id), None)

    def json(self) -> str:
        """All of it as JSON: ``where``, ``worst`` and a list of ``findings``; no secrets."""
        told: dict[str, Any] = {
            "where": self.where,
            "worst": self.worst,
            # Before they are quoted: behind a backslash a secret does not look like one.
            "findings": [
                {name: mask(text).text for name, text in asdict(each).items()} for each in self
            ],
        }
        if self.agent_log is not None:
            told["agent_log"] = mask(self.agent_log.stdout).text
        return json.dumps(told, indent=2, ensure_ascii=False)

    # -- how it looks ----------------------------------------------------------------------------

    def caption(self) -> str:
        """How many there are of each status."""
        counts = [
            f"{count} {_WORDS[status]}"
            for status in STATUSES
            if (count := sum(each.status == status for each in self))
        ]
        return f"exec in {self.where}: {', '.join(counts) or 'nothing was looked at'}"

    def table(self) -> Table:
        """Status, check and title; of what is not fine also evidence, cure and call."""
        return Table(self.caption(), _COLUMNS, tuple(map(_row, self)))

    def __repr__(self) -> str:
        # Not the table's own text: calls are to be copied, and are never cut.
        lines = [self.caption(), ""]
        width = max((len(each.id) for each in self), default=0)
        for each in self:
            lines.append(f"{each.status:<7}  {each.id:<{width}}  {each.title}")
            if not each.ok:
                lines += [f"{'':9}{text}" for text in _details(each)]
        if self.agent_log is not None:
            lines += ["", f"the agent's log ({self._log_title()}):", self._log()]
        return mask("\n".join(lines)).text

    __str__ = __repr__

    def html(self) -> str:
        """The table as one HTML element; what is fine, and the agent's log, are folded."""
        wrong = tuple(_row(each) for each in self if not each.ok)
        fine = tuple(_row(each) for each in self if each.ok)
        parts = [Table(self.caption(), _COLUMNS, wrong).html()]
        if fine:
            parts.append(
                f'<details><summary style="cursor:pointer">{len(fine)} fine</summary>'
                f"{Table('', _COLUMNS, fine).html()}</details>"
            )
        if self.agent_log is not None:
            lines = "\n".join(map(escaped, self._log().splitlines()))
            parts.append(
                f'<details><summary style="cursor:pointer">The agent\'s log '
                f'({escaped(self._log_title())})</summary><pre style="margin:0">{lines}</pre>'
                "</details>"
            )
        return f"<div>{mask(''.join(parts)).text}</div>"

    def _log(self) -> str:
        assert self.agent_log is not None
        lines = plain(self.agent_log.stdout).splitlines()
        return "\n".join(lines[-_LOG_LINES:])

    def _log_title(self) -> str:
        assert self.agent_log is not None
        count = len(self.agent_log.stdout.splitlines())
        shown = f"last {_LOG_LINES} of {count}" if count > _LOG_LINES else f"{count}"
        return f"{self.agent_log.target}, {shown} lines"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.html()}


def _details(finding: Finding) -> list[str]:
    """Evidence, cure and call, a line each."""
    named = (("", finding.evidence), ("cure: ", finding.cure), ("call: ", finding.call))
    return [f"{name}{' '.join(text.split())}" for name, text in named if text]


def _row(finding: Finding) -> Row:
    said = [f"<b>{escaped(finding.title)}</b>" if not finding.ok else escaped(finding.title)]
    if finding.evidence:
        said.append(muted(finding.evidence))
    if finding.cure and not finding.ok:
        said.append(escaped(finding.cure))
    if finding.call and not finding.ok:
        style = "white-space:pre-wrap;overflow-wrap:anywhere"
        said.append(f'<code style="{style}">{escaped(finding.call)}</code>')
    return Row(
        (
            Cell(finding.status, dot(_COLOURS[finding.status], finding.status)),
            Cell(finding.id, f'<span style="white-space:nowrap">{escaped(finding.id)}</span>'),
            Cell(finding.title, "<br>".join(said)),
        )
    )
