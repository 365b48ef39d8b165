"""How the outcome of many containers looks: a grid of all, a table, and where they differ.

Knows rows and texts. Never knows results' classes, nor IPython.
"""

from __future__ import annotations

import difflib
import html
from typing import TYPE_CHECKING, Any

from .masking import mask
from .tables import Cell, Column, Row, Table, dot
from .views import short_address

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Differences", "differences", "fleet_html"]

GRID_FROM = 12
"""Containers from which a grid of all of them stands above the table."""

_GRID_MOST = 2000
_TABLE_MOST = 50
_DIFF_LINES = 5000
"""Lines of each text that are compared: the time grows with the product of both."""

_DIFF_MOST = 50
"""Texts that are compared with the most frequent one: a thousand hosts may each say their own."""

_LOOKS = {
    "ok": ("good", "✓"),
    "failed": ("bad", "✗"),
    "timed out": ("bad", "✗"),
    "error": ("wait", "!"),
    "not begun": ("none", "–"),
}
_COLUMNS = (
    Column("container", mono=True),
    Column("outcome"),
    Column("exit code", number=True),
    Column("seconds", number=True),
    Column("attempts", number=True),
    Column("last line", least=20),
)
_TILE = (
    "display:inline-block;width:1.25em;height:1.25em;line-height:1.25em;margin:1px;"
    "text-align:center;font-size:80%;border-radius:2px;color:#fff;background:"
)
_TINTS = {"good": "#2e9e5b", "wait": "#b97500", "bad": "#d64545", "none": "#8a8a8a"}


def fleet_html(caption: str, rows: Sequence[dict[str, Any]]) -> str:
    """A whole outcome: a tile for each container where there are many, and a table.

    Args:
        rows: as FleetResult.table() gives them.
    """
    grid = _grid(rows) if len(rows) >= GRID_FROM else ""
    shown = list(rows)
    foot = ""
    if len(rows) > _TABLE_MOST:
        # Those that need a look come first; the tiles have shown all of them.
        shown.sort(key=lambda row: row["outcome"] == "ok")
        foot = f"and {len(rows) - _TABLE_MOST} more; .table() has them all"
    table = Table("" if grid else caption, _COLUMNS, tuple(map(_row, shown[:_TABLE_MOST])), foot)
    head = f'<div style="opacity:.72;margin:0 0 4px">{html.escape(caption)}</div>' if grid else ""
    return f"<div>{head}{grid}{table.html()}</div>"


def _row(row: dict[str, Any]) -> Row:
    look, _ = _LOOKS[row["outcome"]]
    where, last = short_address(row["container"]), mask(str(row["last_line"])).text[:200]
    code, seconds = row["exit_code"], row["seconds"]
    return Row(
        (
            Cell(where, title=row["container"]),
            Cell(row["outcome"], dot(look, row["outcome"])),
            Cell("" if code is None else str(code)),
            Cell("" if seconds is None else f"{seconds:.2f}"),
            Cell("" if row["attempts"] < 2 else str(row["attempts"])),
            Cell(last),
        )
    )


def _grid(rows: Sequence[dict[str, Any]]) -> str:
    tiles = "".join(_tile(row) for row in rows[:_GRID_MOST])
    more = len(rows) - _GRID_MOST
    note = f"<div>… and {more} more</div>" if more > 0 else ""
    return f'<div style="max-width:60em;margin:4px 0;line-height:1.4">{tiles}</div>{note}'


def _tile(row: dict[str, Any]) -> str:
    look, sign = _LOOKS[row["outcome"]]
    said = f"{short_address(row['container'])}: {row['outcome']}"
    if row["exit_code"]:
        said += f", exit code {row['exit_code']}"
    title = html.escape(said, quote=True)
    style = f"{_TILE}{_TINTS[look]}"
    return f'<span role="img" aria-label="{title}" title="{title}" style="{style}">{sign}</span>'


class Differences(str):
    """A text that says what differs; coloured in a notebook."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        masked = mask(str(self)).text
        lines = "\n".join(map(_coloured, masked.splitlines()))
        markup = f'<pre style="margin:0">{lines}</pre>'
        return {"text/plain": masked, "text/html": markup}


def _coloured(line: str) -> str:
    text = html.escape(line)
    for start, style in (
        ("---", "font-weight:600"),
        ("+++", "font-weight:600"),
        ("@@", "opacity:.65"),
        ("-", f"color:{_TINTS['bad']}"),
        ("+", f"color:{_TINTS['good']}"),
    ):
        if line.startswith(start):
            return f'<span style="{style}">{text}</span>'
    return text


def differences(groups: Sequence[tuple[Sequence[str], str]]) -> Differences:
    """How texts differ from the most frequent one, as ``diff -u`` writes it.

    Args:
        groups: addresses with the text that they share, the rarest first.
    """
    if not groups:
        return Differences("there is nothing to compare")
    *odd, (usual, text) = groups
    if not odd:
        return Differences(f"no difference between {len(usual)} containers")
    parts: list[str] = []
    for addresses, other in odd[:_DIFF_MOST]:
        parts += [f"--- {_who(usual)}", f"+++ {_who(addresses)}"]
        before, after = text.splitlines(), other.splitlines()
        if max(len(before), len(after)) > _DIFF_LINES:
            parts.append(f"@@ {len(before)} lines and {len(after)}: too many to be compared @@")
            continue
        changes = list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
        parts += changes or ["@@ they differ in white space at the ends of lines @@"]
    if len(odd) > _DIFF_MOST:
        rest = sum(len(addresses) for addresses, _ in odd[_DIFF_MOST:])
        parts.append(
            f"@@ and {len(odd) - _DIFF_MOST} more texts, of {rest} containers; "
            ".group() has them all @@"
        )
    return Differences("\n".join(parts))


def _who(addresses: Sequence[str]) -> str:
    names = ", ".join(map(short_address, addresses[:3]))
    more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
    return f"{len(addresses)} container{'s' * (len(addresses) != 1)}: {names}{more}"
