"""What stands at the cursor: which magic's line, and which part of it.

Knows lines that are not finished, and the tables of :mod:`.options`. Never knows what could follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .options import Option, read_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .options import Command

__all__ = ["Ask", "Line", "ask", "magic_line"]

_CELL = re.compile(r"\s*%%(\w+)")
_LINE = re.compile(r"\s*%(\w+)")
_ASSIGNED = re.compile(r"([^%!?#]*[^%!?#=<>:+*/&|^@~-])=\s*%(\w+)")
_BARE = re.compile(r"\s*(\w+)(?=[ \t])(?![ \t]*=)")
_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a magic, with the cursor in it.

    Attributes:
        whole_cell: it is a cell magic.
        name: without percent signs.
        text: what follows the name.
        cursor: where in the text.
    """

    whole_cell: bool
    name: str
    text: str
    cursor: int


def magic_line(
    cell: str, row: int, column: int, is_magic: Callable[[str], bool] = lambda name: False
) -> Line | None:
    """The magic's line that the cursor is in, behind the magic's name; None for Python.

    Args:
        row, column: where the cursor is, both from 0.
        is_magic: whether a name without percent sign is a magic, as with ``%automagic``.
    """
    lines = cell.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), row)
    if match := _CELL.match(lines[first]):
        if row == first:
            return _behind(lines[first], column, match, whole_cell=True)
        if row < first or match[1].startswith("ecs_"):
            return None  # the cell belongs to the far end
    start = end = row
    while start > 0 and lines[start - 1].endswith("\\"):
        start -= 1
    while end < len(lines) - 1 and lines[end].endswith("\\"):
        end += 1
    # Blanks in place of the backslash and the newline, as many as these, keep every position.
    line = "  ".join(
        text[:-1] if number < end else text
        for number, text in enumerate(lines[start : end + 1], start)
    )
    column += sum(len(text) + 1 for text in lines[start:row])
    if match := _LINE.match(line):
        return _behind(line, column, match)
    match = _ASSIGNED.match(line)
    if match and not any(match[1].count(quote) % 2 for quote in "'\""):
        return _behind(line, column, match)
    match = _BARE.match(line)
    if match and is_magic(match[1]) and not "".join(lines[:start] + lines[end + 1 :]).strip():
        return _behind(line, column, match)
    return None


def _behind(
    line: str, column: int, match: re.Match[str], *, whole_cell: bool = False
) -> Line | None:
    text = line[match.end() :]
    if column <= match.end() or text[0] not in _BLANKS:
        return None
    return Line(whole_cell, match[match.re.groups], text, column - match.end())


@dataclass(frozen=True, slots=True)
class Ask:
    """What could be written at the cursor.

    Attributes:
        kind: ``flag`` for the name of an option, ``value`` for an option's value, or ``word``.
        typed: what is there of it, without quotes.
        quote: the quote that is open, if one is.
        option: whose value it is.
        values: what else is on the line, by ``dest``, as it stands there.
        words: those that are no options, but for the one at the cursor.
        unclear: there is more on the line that only Python could tell.
    """

    command: Command
    kind: str
    typed: str
    quote: str = ""
    option: Option | None = None
    values: Mapping[str, str | bool] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    unclear: bool = False


def ask(command: Command, text: str, cursor: int) -> Ask | None:
    """What could be written at the cursor; None where the line belongs to the far end.

    Args:
        text: what follows the magic's name.
    """
    values: dict[str, str | bool] = {}
    words: list[str] = []
    found: Ask | None = None
    pending: Option | None = None
    only_words = False
    for start, end in _spans(text, cursor):
        current = found is None and start <= cursor <= end
        raw, whole = text[start:end], (_unquoted(text[start:end]) or ("", ""))[0]
        typed = quote = ""
        if current:
            partly = _unquoted(text[start:cursor])
            if partly is None:
                return None
            typed, quote = partly
        if pending is not None:
            if current:
                found = Ask(command, "value", typed, quote, pending)
            else:
                values[pending.dest] = whole
            pending = None
            continue
        if only_words or raw[:1] != "-" or (raw == "-" and not current):
            if command.takes_words:
                if current:
                    found = Ask(command, "word", typed, quote)
                else:
                    words.append(whole)
                continue
            if current and not typed:
                found = Ask(command, "flag", "", quote)
            if raw:
                break  # the command begins
            continue
        if whole == "--" and not current:
            only_words = True
            if not command.takes_words:
                break
            continue
        if current:
            found = _at_option(command, typed, quote)
            if found is None:
                return None
            if found.kind == "value":
                continue
        flag, attached = command.split(whole)
        option = command.option(flag)
        if option is None:
            continue
        if not option.metavar:
            values[option.dest] = True
        elif attached is None:
            pending = option
        else:
            values[option.dest] = attached
    if found is None:
        return None
    return replace(found, values=values, words=tuple(words))


def _at_option(command: Command, typed: str, quote: str) -> Ask | None:
    """The cursor is in a word that begins with a dash: in its name, or in the value behind it."""
    flag, attached = command.split(typed)
    if attached is None:
        return Ask(command, "flag", typed, quote)
    option = command.option(flag)
    if option is None or not option.metavar:
        return None
    return Ask(command, "value", attached, quote, option)


def _spans(text: str, cursor: int) -> Iterator[tuple[int, int]]:
    """Where each word begins and ends, and an empty one at a cursor that is in none."""
    position, met = 0, False
    while True:
        start = position
        while start < len(text) and text[start] in _BLANKS:
            start += 1
        if not met and (cursor < start or start == len(text)):
            met = True
            yield cursor, cursor
        if start == len(text):
            return
        try:
            word = read_word(text, start)
            end = word.end if word else len(text)
        except ValueError:
            end = len(text)
        met = met or cursor <= end
        yield start, end
        position = end


def _unquoted(raw: str) -> tuple[str, str] | None:
    """The text of a word that may not be finished, and its open quote; None if nobody can say."""
    if not raw:
        return "", ""
    if raw.endswith("\\"):
        return None
    for quote in ("", "'", '"'):
        try:
            word = read_word(raw + quote)
        except ValueError:
            continue
        if word is not None:
            return word.text, quote
    return None
