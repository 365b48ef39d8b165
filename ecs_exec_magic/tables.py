"""Tables for people: aligned text for terminals and logs, HTML for notebooks.

Knows widths, escaping, and how much is shown. Never knows what the cells mean.

The HTML is inline-styled and takes its colours from the page, light or dark: notebooks that are not
trusted, and static viewers, drop style sheets and scripts.
"""

from __future__ import annotations

import html
import textwrap
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "SHOWN_ROWS",
    "Cell",
    "Column",
    "Row",
    "Table",
    "clean",
    "cut",
    "dot",
    "escaped",
    "muted",
    "width_of",
]

SHOWN_ROWS = 200
"""Rows that are shown; a value holds all of them."""

TEXT_WIDTH = 100
_GAP = "  "
_NOTE_INDENT = "    "
_NOTE_LINES = 3

# Mid-tones, which stand out from white and from black alike.
_COLOURS = {"good": "#2e9e5b", "wait": "#d98a00", "bad": "#d64545", "none": "#8a8a8a"}
_CELL = "text-align:left;vertical-align:top;padding:4px 14px 4px 0;border:0"
_LINE = "border-bottom:1px solid rgba(128,128,128,.25)"
_MUTED = "opacity:.72"


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        least: characters that it may be cut down to when lines get too long; 0: never.
        number: it is aligned to the right.
        mono: HTML shows it in the type of code.
    """

    title: str
    least: int = 0
    number: bool = False
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell: as text, and as markup where that says it better.

    Attributes:
        markup: HTML; escaped already. None: the text.
        title: shown when the pointer rests on it.
    """

    text: str
    markup: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row, and a remark that belongs to it; in text the remark has a line of its own."""

    cells: tuple[Cell, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is ready to be shown.

    Attributes:
        caption: a line above it.
        foot: a line below it; empty for none.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    foot: str = ""

    def text(self, width: int = TEXT_WIDTH) -> str:
        """The table as lines of no more than so many columns, unless they cannot be cut so far."""
        lines = [clean(self.caption)]
        if self.rows:
            kept = self._kept()
            columns = [self.columns[index] for index in kept]
            shown = [
                [clean(row.cells[index].text) for index in kept] for row in self.rows[:SHOWN_ROWS]
            ]
            titles = [column.title for column in columns]
            widths = _fitted(
                columns,
                [max(map(width_of, texts)) for texts in zip(titles, *shown, strict=True)],
                width,
            )
            lines += ["", _text_line(columns, widths, titles)]
            for row, texts in zip(self.rows, shown, strict=False):
                lines.append(_text_line(columns, widths, texts))
                lines += _note_lines(row.note, width)
            lines += [text for text in (self._hidden(),) if text]
        lines += [clean(self.foot)] if self.foot else []
        return "\n".join(lines)

    def html(self) -> str:
        """The table as one HTML element."""
        parts = [f'<div style="{_MUTED};margin:0 0 4px">{escaped(self.caption)}</div>']
        if self.rows:
            kept = self._kept()
            head = "".join(self._html_title(self.columns[index]) for index in kept)
            body = "".join(self._html_row(row, kept) for row in self.rows[:SHOWN_ROWS])
            parts.append(
                # JupyterLab lays tables out in columns of the same width, and stripes them.
                '<table style="border-collapse:collapse;border:0;margin:0;font-size:inherit;'
                'table-layout:auto">'
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            )
        parts += [
            f'<div style="{_MUTED};margin:4px 0 0">{escaped(text)}</div>'
            for text in (self._hidden(), self.foot)
            if text
        ]
        return f'<div style="overflow-x:auto;line-height:1.4">{"".join(parts)}</div>'

    def bundle(self) -> dict[str, str]:
        """What IPython shows of it, by MIME type."""
        return {"text/plain": self.text(), "text/html": self.html()}

    def _kept(self) -> list[int]:
        """Columns that have something in them."""
        return [
            index
            for index in range(len(self.columns))
            if any(row.cells[index].text for row in self.rows)
        ]

    def _hidden(self) -> str:
        more = len(self.rows) - SHOWN_ROWS
        return f"and {more} more, which are not shown; the value has them" if more > 0 else ""

    @staticmethod
    def _html_title(column: Column) -> str:
        title = column.title if len(column.title) < 3 else column.title.capitalize()
        style = f"{_aligned(column)};{_LINE};{_MUTED};font-weight:600"
        return f'<th style="{style}">{escaped(title)}</th>'

    def _html_row(self, row: Row, kept: Sequence[int]) -> str:
        cells = []
        line = "" if row.note else f";{_LINE}"
        for index in kept:
            cell, column = row.cells[index], self.columns[index]
            style = _aligned(column) + line
            if column.mono:
                style += ";font-family:monospace"
            title = f' title="{escaped(cell.title)}"' if cell.title else ""
            inner = escaped(cell.text) if cell.markup is None else cell.markup
            cells.append(f'<td style="{style}"{title}>{inner}</td>')
        text = f'<tr style="background:transparent">{"".join(cells)}</tr>'
        if row.note:
            style = f"{_CELL};{_LINE};padding-top:0;{_MUTED}"
            text += (
                '<tr style="background:transparent">'
                f'<td style="{style}"></td>'
                f'<td colspan="{max(1, len(kept) - 1)}" style="{style}">'
                f'<div style="max-width:60em">{escaped(row.note)}</div></td></tr>'
            )
        return text


def _aligned(column: Column) -> str:
    return _CELL.replace("left", "right", 1) if column.number else _CELL


# -- markup --------------------------------------------------------------------------------------


def dot(colour: str, text: str) -> str:
    """A coloured point and a word that says the same.

    Args:
        colour: ``good``, ``wait``, ``bad`` or ``none``.
    """
    point = f'<span style="color:{_COLOURS[colour]}" aria-hidden="true">&#9679;</span>'
    return f'<span style="white-space:nowrap">{point} {escaped(text)}</span>'


def muted(text: str) -> str:
    """Text that stands back."""
    return f'<span style="{_MUTED}">{escaped(text)}</span>'


def escaped(text: str) -> str:
    """Text as markup."""
    return html.escape(clean(text), quote=True)


# -- text ----------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """The text on one line, without control characters, which would break a table or a terminal."""
    if text.isprintable():
        return text
    # Marks of the writing direction go too: they would turn the rest of the line around.
    kept = (
        char if char.isprintable() else " " * (char.isspace() or unicodedata.category(char) == "Cc")
        for char in text
    )
    return " ".join("".join(kept).split())


def width_of(text: str) -> int:
    """Columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def cut(text: str, width: int) -> str:
    """The beginning of a text, in so many columns, with an ellipsis if something is missing."""
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return f"{text.rstrip()}…" if width > 0 else ""


def _fitted(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Widths that sum up to the line's; the last column that may be cut is cut first."""
    too_much = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for index in reversed(range(len(widths))):
        least = columns[index].least
        if too_much > 0 and 0 < least < widths[index]:
            cut_off = min(too_much, widths[index] - least)
            widths[index] -= cut_off
            too_much -= cut_off
    return widths


def _text_line(columns: Sequence[Column], widths: Sequence[int], texts: Sequence[str]) -> str:
    parts = []
    for column, width, text in zip(columns, widths, texts, strict=True):
        shown = cut(text, width)
        blanks = " " * (width - width_of(shown))
        parts.append(blanks + shown if column.number else shown + blanks)
    return _GAP.join(parts).rstrip()


def _note_lines(note: str, width: int) -> list[str]:
    if not note:
        return []
    return textwrap.wrap(
        clean(note),
        width,
        initial_indent=_NOTE_INDENT,
        subsequent_indent=_NOTE_INDENT,
        max_lines=_NOTE_LINES,
        placeholder=" …",
    )
