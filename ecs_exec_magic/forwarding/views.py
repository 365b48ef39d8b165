"""How forwarded ports look: a link, and a table of all.

Knows what a forward tells of itself. Never knows IPython.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..masking import mask
from ..tables import Cell, Column, Row, Table, dot, escaped
from ..views import short_address, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .forward import Forward

__all__ = ["forward_html", "forward_table"]

_COLUMNS = (
    Column("LOCAL", least=16, mono=True),
    Column("STATE"),
    Column("TO", least=12, mono=True),
    Column("CONTAINER", least=20),
    Column("OPEN", number=True),
    Column("SEEN", number=True),
    Column("SENT", number=True),
    Column("RECEIVED", number=True),
)
_COLOURS = {"open": "good", "idle": "wait", "stopped": "none"}


def _link(forward: Forward) -> str:
    shown = forward.url.partition("//")[2]
    return (
        f'<a href="{escaped(forward.url)}" target="_blank" rel="noopener noreferrer">'
        f"{escaped(shown)}</a>"
    )


def _trouble(forward: Forward) -> str:
    notes = []
    if not forward.parallel:
        notes.append("an old agent: connections take turns")
    if forward.error is not None:
        notes.append(mask(str(forward.error)).text)
    return "; ".join(notes)


def forward_html(forward: Forward) -> str:
    """One line: a link to what is forwarded, where it leads, and what went wrong."""
    state = forward.state
    place = _link(forward) if forward.running else escaped(str(forward.local_port))
    to = escaped(f"{forward.destination} through" if forward.host else f"{forward.destination} of")
    where = forward.target.address
    trouble = _trouble(forward)
    note = f'<div style="opacity:.65;font-size:85%">{escaped(trouble)}</div>' if trouble else ""
    return (
        f"<div>{dot(_COLOURS[state], state)} {place} → {to} "
        f'<span title="{escaped(where)}">{escaped(short_address(where))}</span>{note}</div>'
    )


def forward_table(forwards: Sequence[Forward]) -> Table:
    """All of them, with what has passed through each."""
    count = f"{len(forwards)} forwarded port{'' if len(forwards) == 1 else 's'}"
    caption = count if forwards else "no port is forwarded; %ecs_forward PORT forwards one"
    return Table(caption, _COLUMNS, tuple(map(_row, forwards)))


def _row(forward: Forward) -> Row:
    state, where = forward.state, forward.target.address
    shown = forward.url.partition("//")[2]
    return Row(
        (
            Cell(shown, _link(forward) if forward.running else None),
            Cell(state, dot(_COLOURS[state], state)),
            Cell(forward.destination),
            Cell(short_address(where), title=where),
            Cell(str(len(forward.connections))),
            Cell(str(forward.accepted)),
            Cell(size(forward.bytes_sent)),
            Cell(size(forward.bytes_received)),
        ),
        note=_trouble(forward),
    )
