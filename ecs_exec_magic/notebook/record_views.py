"""Recorded runs on the screen: many as a table, one as a whole.

Knows text and HTML. Never knows where records come from.
"""

from __future__ import annotations

import dataclasses
import html
import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .. import results
from ..results import CommandResult
from ..views import BAD, GOOD, size
from .excerpt import excerpt, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..journal import Record

__all__ = [
    "KeptResult",
    "Records",
    "command_text",
    "duration_text",
    "facts",
    "one_line",
    "state_of",
]

_SHOWN_LINES = 400

_MARKS = {"good": ("✓", GOOD), "bad": ("✗", BAD), "open": ("…", "inherit")}


class Records(list[Any]):
    """A list of runs that shows itself as a table.

    Attributes:
        note: what the list does not have, in a sentence.
    """

    def __init__(self, records: Iterable[Record] = (), note: str = "") -> None:
        super().__init__(records)
        self.note = note

    def __repr__(self) -> str:
        return self._text()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self._text(), "text/html": self._html()}

    def _rows(self) -> list[tuple[str, ...]]:
        today = datetime.now().astimezone().date()
        return [
            (
                str(record.number),
                _local(record.started, today),
                plain(record.where),
                one_line(record, 60),
                record.outcome,
                duration_text(record),
            )
            for record in self
        ]

    def _text(self) -> str:
        if not self:
            return self.note
        rows = [_heads(), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
        lines = []
        for row in rows:
            cells = [
                cell.rjust(width) if head in _RIGHT else cell.ljust(width)
                for head, cell, width in zip(_HEADS, row, widths, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _html(self) -> str:
        note = f'<div style="opacity:.65">{html.escape(self.note)}</div>' if self.note else ""
        if not self:
            return note
        head = "".join(
            f'<th style="{_cell(name)}">{html.escape(text)}</th>'
            for name, text in zip(_HEADS, _heads(), strict=True)
        )
        rows = []
        for record, row in zip(self, self._rows(), strict=True):
            mark, colour = _MARKS[state_of(record)]
            cells = [html.escape(cell) for cell in row]
            whole = html.escape(plain(command_text(record)), quote=True)
            cells[3] = f'<code title="{whole}">{cells[3]}</code>'
            cells[4] = f'<span style="color:{colour}"><b>{mark}</b> {cells[4]}</span>'
            filled = zip(_HEADS, cells, strict=True)
            row_html = "".join(f'<td style="{_cell(name)}">{cell}</td>' for name, cell in filled)
            rows.append(f"<tr>{row_html}</tr>")
        table = '<table style="border-collapse:collapse">'
        return f"{table}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{note}"


_HEADS = ("run", "when", "target", "command", "outcome", "took")
_RIGHT = ("run", "took")


def _heads() -> tuple[str, ...]:
    zone = datetime.now().astimezone().tzname() or "local"
    return tuple(f"{name} ({zone})" if name == "when" else name for name in _HEADS)


def _cell(head: str) -> str:
    align = "right" if head in _RIGHT else "left"
    wrap = {"command": "", "outcome": ";min-width:8em"}.get(head, ";white-space:nowrap")
    return f"text-align:{align};vertical-align:top;padding:.1em .8em .1em 0{wrap}"


@dataclass(frozen=True, eq=False, repr=False)
class KeptResult(CommandResult):
    """A recorded run, re-opened: a CommandResult that shows itself with all that is recorded.

    Attributes:
        record: all that is.
    """

    record: Record | None = None

    @classmethod
    def of(cls, record: Record) -> KeptResult:
        """Re-open a run."""
        result = record.result()
        values = {
            each.name: getattr(result, each.name)
            for each in dataclasses.fields(CommandResult)
            if each.init
        }
        return cls(**values, record=record)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self._whole_text(), "text/html": self._whole_html()}

    def _whole_text(self) -> str:
        assert self.record is not None
        lines = [f"run {self.record.number}: {self.record.outcome}"]
        lines += [f"  {name:<10}{value}" for name, value in facts(self.record)]
        lines += ["command:", *_indented(plain(command_text(self.record)))]
        for name, text in self._outputs():
            lines += [f"{name}:", *_indented(text)]
        return "\n".join(lines)

    def _whole_html(self) -> str:
        assert self.record is not None
        mark, colour = _MARKS[state_of(self.record)]
        left = "text-align:left;vertical-align:top;padding:0 .8em 0 0"
        rows = "".join(
            f'<tr><td style="{left};opacity:.65;white-space:nowrap">{html.escape(name)}</td>'
            f'<td style="{left}">{html.escape(value)}</td></tr>'
            for name, value in facts(self.record)
        )
        blocks = [("command", plain(command_text(self.record))), *self._outputs()]
        body = "".join(
            f'<details open><summary>{html.escape(name)}</summary><pre style="margin:0;'
            f'padding-left:1em;max-height:30em;overflow:auto">{html.escape(text)}</pre></details>'
            for name, text in blocks
        )
        return (
            f'<div><b style="color:{colour}">{mark}</b> <b>run {self.record.number}</b> '
            f"{html.escape(self.record.outcome)}"
            f'<table style="border-collapse:collapse">{rows}</table>{body}</div>'
        )

    def _outputs(self) -> list[tuple[str, str]]:
        assert self.record is not None
        found = []
        for name in ("stdout", "stderr"):
            stored = getattr(self.record, name)
            if not stored.size:
                continue
            try:
                cut = excerpt(self.record.output(name), _SHOWN_LINES)
            except OSError:
                found.append((f"{name} ({stored.size} bytes)", "… it cannot be read any more …"))
                continue
            text = cut.head
            if cut.hidden or cut.tail:
                text += f"… {cut.hidden} lines not shown …\n{cut.tail}"
            text = text or f"… it {stored.lost} …"
            lines = "1 line" if cut.lines == 1 else f"{cut.lines} lines"
            found.append((f"{name} ({lines}, {stored.size} bytes)", text))
        return found


def facts(record: Record) -> list[tuple[str, str]]:
    """The circumstances of a run, by short names; only those that are known."""
    ended = f" to {record.ended:%H:%M:%S}" if record.ended else ""
    target = record.target
    found = [
        ("when", f"{record.started:%Y-%m-%d %H:%M:%S}{ended} UTC, took {duration_text(record)}"),
        ("target", plain(record.where)),
        ("task", target.task_arn if target else ""),
        ("asked as", record.address if record.address != record.where else ""),
        ("shell", record.interpreter),
        ("user", record.identity),
        ("session", record.session_id),
        ("request", record.request_id),
        ("notebook", record.notebook),
        ("process", f"{record.process.pid} on {record.process.host}"),
        ("traffic", _traffic(record)),
        ("error", f"{record.error}: {record.message}".rstrip(": ")),
        ("cause", record.cause),
        ("secrets", f"{record.masked} masked" if record.masked else ""),
        ("proof", "" if record.state != "ended" else _proof(record)),
        ("id", record.id),
    ]
    return [(name, plain(value).replace("\n", " ")) for name, value in found if value]


def _traffic(record: Record) -> str:
    """What went through a port."""
    traffic = record.traffic
    if traffic is None:
        return ""
    refused = f" ({traffic.refused} refused)" if traffic.refused else ""
    count = traffic.connections
    return (
        f"local port {traffic.local_port}, {count} connection{'' if count == 1 else 's'}{refused}, "
        f"{size(traffic.sent)} sent, {size(traffic.received)} received"
    )


def _proof(record: Record) -> str:
    if record.exact and record.kind == "copy":
        return "the checksums of both ends agree"
    if record.exact:
        return "the output is exact: both ends counted the same"
    return f"none: {record.missing}" if record.missing else ""


def state_of(record: Record) -> str:
    """``good``, ``bad`` or ``open``."""
    return {True: "good", False: "bad", None: "open"}[record.ok]


def command_text(record: Record) -> str:
    """A command as it would be typed."""
    return record.command if isinstance(record.command, str) else shlex.join(record.command)


def one_line(record: Record, width: int) -> str:
    """A command in one line of bounded length; of a script, its first."""
    return results.one_line(plain(command_text(record)), width)


def duration_text(record: Record) -> str:
    """How long a run took; empty while that is not known."""
    if record.ended is None:
        return ""
    seconds = record.duration
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _local(moment: datetime, today: Any) -> str:
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


def _indented(text: str) -> list[str]:
    return [f"  {line}".rstrip() for line in text.rstrip("\n").split("\n")]
