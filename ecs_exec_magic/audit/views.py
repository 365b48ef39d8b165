"""An audit on the screen: one table, what each source gave, and transcripts below.

Knows text and HTML. Never knows where entries come from.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from .. import results
from ..tables import SHOWN_ROWS, Cell, Column, Row, Table, clean, dot, escaped, muted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..aws.audit import Source
    from .entries import AuditEntry

__all__ = ["html_of", "table_of", "text_of"]

_SHARED = 3
"""A note that so many entries have is said once, below."""

_TEXT_LINES = 40
_HTML_LINES = 400
_SHOWN_TRANSCRIPTS = 20
_COMMAND_WIDTH = 80
_TEXT_WIDTH = 120
_LABELS = {"logs": "CW", "s3": "S3"}


def table_of(entries: Sequence[AuditEntry], caption: str, cluster: str) -> tuple[Table, list[str]]:
    """The table of entries, and the notes that many of them share.

    Args:
        cluster: named in the caption already; empty for none.
    """
    counts = Counter(note for entry in entries for note in entry.notes)
    shared = [note for note, count in counts.items() if count >= _SHARED]
    today = datetime.now().astimezone()
    hidden = len(entries) - SHOWN_ROWS
    foot = f"the oldest {hidden} are not shown; the value has them" if hidden > 0 else ""
    programs = {entry.program for entry in entries if entry.program}
    if len(programs) == 1 and len(entries) > 1:  # a second line in each row would say it
        caption += f", all with {programs.pop()}"
    columns = (
        Column("WHEN"),
        Column("WHO", least=20),
        Column("FROM"),
        Column("WHERE", least=20),
        Column("TASK", mono=True),
        Column("COMMAND", least=24, mono=True),
        Column("TOOK", number=True),
        Column("OUTCOME"),
        Column("LOG"),
    )
    rows = tuple(
        Row(
            (
                _when(entry, today),
                _who(entry),
                _from(entry, with_program=bool(programs)),
                _where(entry, cluster),
                Cell(entry.task_id[:8], title=entry.address),
                _command(entry),
                _took(entry),
                _outcome(entry),
                _log(entry),
            ),
            "; ".join(note for note in entry.notes if note not in shared),
        )
        for entry in entries[-SHOWN_ROWS:]
    )
    said = [f"{counts[note]} of {len(entries)}: {note}" for note in shared]
    return Table(caption, columns, rows, foot), said


def text_of(
    entries: Sequence[AuditEntry], sources: Sequence[Source], caption: str, cluster: str
) -> str:
    """The whole as text."""
    table, shared = table_of(entries, caption, cluster)
    lines = [table.text(_TEXT_WIDTH)]
    lines += ["", *(f"  {clean(line)}" for line in [*shared, *map(str, sources)])]
    for entry in _with_transcript(entries):
        found = entry.transcript
        assert found is not None
        text = found.text.strip("\n").split("\n")
        lines += ["", _headline(entry), *(f"  | {line}".rstrip() for line in text[:_TEXT_LINES])]
        if len(text) > _TEXT_LINES or found.cut:
            lines.append(f"  … {_more(len(text) - _TEXT_LINES, found.cut)}")
    return "\n".join(lines)


def html_of(
    entries: Sequence[AuditEntry], sources: Sequence[Source], caption: str, cluster: str
) -> str:
    """The whole as one HTML element; transcripts are folded."""
    table, shared = table_of(entries, caption, cluster)
    parts = [table.html()]
    lines = "".join(
        f"<div>{dot(_STATES[source.state], source.name + ':')} {escaped(source.text)}</div>"
        for source in sources
    )
    notes = "".join(f"<div>{escaped(note)}</div>" for note in shared)
    parts.append(
        '<div style="margin-top:6px;font-size:90%;opacity:.85;line-height:1.5">'
        f"{notes}{lines}</div>"
    )
    if shown := _with_transcript(entries):
        parts.append('<div style="margin-top:6px"></div>')
    for entry in shown:
        found = entry.transcript
        assert found is not None
        text = found.text.strip("\n").split("\n")
        more = ""
        if len(text) > _HTML_LINES or found.cut:
            more = f"<div>{muted('… ' + _more(len(text) - _HTML_LINES, found.cut))}</div>"
        body = "\n".join(map(_escaped_line, text[:_HTML_LINES]))
        parts.append(
            f'<details><summary style="cursor:pointer">{escaped(_headline(entry))}</summary>'
            '<pre style="margin:0;padding-left:1em;max-height:30em;overflow:auto">'
            f"{body}</pre>{more}</details>"
        )
    return f"<div>{''.join(parts)}</div>"


_STATES = {"ok": "good", "partly": "wait", "denied": "bad", "failed": "bad", "off": "none"}


# -- cells ---------------------------------------------------------------------------------------


def _when(entry: AuditEntry, today: datetime) -> Cell:
    local = entry.time.astimezone()
    text = f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local:%Y-%m-%d %H:%M}"
    return Cell(text, _unbroken(text), title=f"{entry.time:%Y-%m-%d %H:%M:%S} UTC")


def _who(entry: AuditEntry) -> Cell:
    role, slash, session = entry.who.partition("/")
    markup = _unbroken(entry.who)
    if slash:
        markup = f"{_unbroken(session)}<br>{_muted('role ' + role)}"
    return Cell(entry.who, markup, title=entry.arn)


def _from(entry: AuditEntry, *, with_program: bool) -> Cell:
    markup = _unbroken(entry.source_ip)
    if entry.program and with_program:
        markup += f"<br>{_muted(entry.program)}"
    return Cell(entry.source_ip, markup, title=entry.user_agent)


def _where(entry: AuditEntry, cluster: str) -> Cell:
    name = entry.service or (f"family {entry.family}" if entry.family else "")
    place = f"{entry.cluster}/" if entry.cluster not in ("", cluster) else ""
    text = place + (name or ("…" if entry.task_id else ""))
    if entry.container:
        text += f":{entry.container}"
    text = text.rstrip("/")
    return Cell(text, _unbroken(text), title=entry.address)


def _command(entry: AuditEntry) -> Cell:
    text = results.one_line(entry.command, _COMMAND_WIDTH)
    return Cell(text, title=entry.command[:2000] if text != entry.command else "")


def _outcome(entry: AuditEntry) -> Cell:
    text = entry.outcome
    if not text:
        return Cell("")
    if entry.error or (entry.exit_code not in (None, 0)):
        colour = "bad"
    elif entry.exit_code == 0:
        colour = "good"
    else:
        colour = "none"
    return Cell(text, dot(colour, text), title=entry.error_message)


def _log(entry: AuditEntry) -> Cell:
    text = ", ".join(dict.fromkeys(_LABELS[log.kind] for log in entry.logs))
    return Cell(text, _unbroken(text), title="\n".join(log.where for log in entry.logs))


def _took(entry: AuditEntry) -> Cell:
    """Measured by this notebook; or, with a tilde, from the call to where its log says it ended."""
    seconds = entry.seconds
    if seconds is None:
        return Cell("")
    about = "~" if entry.duration is None else ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        text = f"{about}{minutes // 60} h {minutes % 60:02d} min"
    elif minutes:
        text = f"{about}{minutes} min {rest:02d} s"
    else:
        text = f"{about}{rest} s" if about else f"{seconds:.1f} s"
    return Cell(text, _unbroken(text))


def _muted(text: str) -> str:
    return f'<span style="white-space:nowrap">{muted(text)}</span>'


def _unbroken(text: str) -> str:
    return f'<span style="white-space:nowrap">{escaped(text)}</span>'


# -- transcripts ---------------------------------------------------------------------------------


def _with_transcript(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    return [entry for entry in entries if entry.transcript and entry.transcript.text.strip()][
        -_SHOWN_TRANSCRIPTS:
    ]


def _headline(entry: AuditEntry) -> str:
    where = entry.service or entry.task_id[:8]
    who = entry.who or "somebody"
    command = results.one_line(entry.command, 50)
    parts = [f"{entry.time.astimezone():%H:%M:%S}", who, f"{where}:{entry.container}".rstrip(":")]
    return clean("  ".join(each for each in [*parts, command] if each))


def _more(lines: int, cut: bool) -> str:
    told = [f"{lines} more lines"] if lines > 0 else []
    told += ["only the beginning of the log was read"] if cut else []
    return "; ".join(told)


def _escaped_line(line: str) -> str:
    head = line[: len(line) - len(line.lstrip(" \t"))]
    # `escaped` puts a text on one line, and takes the blanks of a listing together.
    return head + "".join(
        part if part.isspace() else escaped(part) for part in _pieces(line[len(head) :])
    )


def _pieces(line: str) -> list[str]:
    pieces: list[str] = []
    for char in line:
        if pieces and pieces[-1].isspace() == char.isspace():
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces
