"""Where in a command a quoted value means one word, and where it would mean something else.

Knows the quoting of POSIX shells, and Python's tokens. Never knows values.

A value that is put in quotes is one word only in plain text of a script. In a string, a comment or
a here-document its quotes are characters like others, and what is in it could end the string and
run. Whoever cannot tell for sure has to refuse.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Span", "misplaced_in_python", "misplaced_in_shell"]

Span = tuple[int, int]
"""Begin and end of a field in a text."""

_BLANK = " \t\n;|&()<>"
_HERE = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]+)'|\"([^\"\n$`\\]+)\"|\\?([^\s'\"\\;|&<>()$`]+))")
_TOO_INTRICATE = "stands behind text whose quoting is too intricate to be sure of"
_CASE = re.compile(r"\bcase\b")


class _Unclear(Exception):
    """From here on nobody can tell what is quoted."""


class _Shell:
    """A reader of shell text that knows at every place what surrounds it."""

    def __init__(self, text: str, fields: Sequence[Span]) -> None:
        self._text = text
        self._fields = dict(fields)
        self._around = ["plain"]
        self._bodies: list[tuple[str, bool]] = []  # here-documents that begin with the next line
        self._word = False  # whether the place is inside a word
        self.problem: tuple[Span, str] | None = None

    def read(self) -> None:
        position = 0
        while position < len(self._text) and self.problem is None:
            if position in self._fields:
                position = self._field(position)
                continue
            try:
                position = self._step(position)
            except _Unclear:
                self._next_field(position, len(self._text), _TOO_INTRICATE)
                return

    def _field(self, begin: int) -> int:
        end = self._fields[begin]
        around = self._around[-1]
        where = {
            "double": "stands in double quotes",
            "backtick": "stands in backticks",
            "arithmetic": "stands in an arithmetic expression",
            "brace": "stands in a parameter expansion",
        }.get(around, "")
        if self._text[begin - 1 : begin] == "$":
            where = "stands behind a $"
        if where:
            self.problem = (begin, end), where
        self._word = True
        return end

    def _next_field(self, begin: int, end: int, where: str) -> int:
        """Skip text in which no field may stand."""
        inside = [span for span in self._fields.items() if begin <= span[0] < end]
        if inside:
            self.problem = min(inside), where
        return end

    def _step(self, position: int) -> int:
        text, around = self._text, self._around[-1]
        char, rest = text[position], text[position : position + 3]
        if char == "\\":
            self._word = self._word or rest[1:2] != "\n"
            return self._next_field(position + 1, position + 2, "stands behind a backslash")
        if around == "double":
            return self._in_double(position, char, rest)
        if around == "backtick":
            if char == "`":
                self._around.pop()
            elif char in "'\"":
                raise _Unclear
            return position + 1
        if around == "brace":
            if char == "}":
                self._around.pop()
                self._word = True
            elif char in "'\"`$":
                raise _Unclear
            return position + 1
        if around == "arithmetic":
            if rest[:2] == "))":
                self._around.pop()
                self._word = True
                return position + 2
            if char in "'\"`($":
                raise _Unclear
            return position + 1
        return self._in_plain(position, char, rest)

    def _in_double(self, position: int, char: str, rest: str) -> int:
        if char == '"':
            self._around.pop()
        elif char == "`":
            self._around.append("backtick")
        elif char == "$":
            return self._dollar(position, rest)
        return position + 1

    def _dollar(self, position: int, rest: str) -> int:
        if position + 1 in self._fields:
            self._word = True
            return position + 1
        if rest == "$((":
            self._around.append("arithmetic")
            return position + 3
        if rest[:2] == "$(":
            # A pattern of `case` ends with a parenthesis that closes nothing.
            if _CASE.search(self._text, position):
                raise _Unclear
            self._around.append("command")
            self._word = False
            return position + 2
        if rest[:2] == "${":
            self._around.append("brace")
            return position + 2
        if rest[:2] == "$'":
            raise _Unclear  # bash reads backslashes in it, other shells do not
        self._word = True
        return position + 1

    def _in_plain(self, position: int, char: str, rest: str) -> int:
        text = self._text
        if char == "'":
            end = text.find("'", position + 1)
            end = len(text) if end < 0 else end + 1
            self._word = True
            return self._next_field(position, end, "stands in quotes")
        if char == '"':
            self._around.append("double")
            self._word = True
        elif char == "`":
            self._around.append("backtick")
        elif char == "$":
            return self._dollar(position, rest)
        elif char == "#" and text[position - 1 : position] == ")":
            raise _Unclear  # a comment behind a subshell, a part of the word behind $( )
        elif char == "#" and not self._word:
            end = text.find("\n", position)
            return self._next_field(position, len(text) if end < 0 else end, "stands in a comment")
        elif rest[:2] == "((":
            raise _Unclear  # arithmetic, or two subshells
        elif char == "(":
            self._around.append("command")
        elif char == ")" and self._around[-1] == "command":
            self._around.pop()
        elif rest == "<<<":
            self._word = False
            return position + 3
        elif rest[:2] == "<<":
            return self._here(position)
        elif char == "\n" and self._bodies:
            self._word = False
            return self._skip_bodies(position + 1)
        self._word = char not in _BLANK if char not in "'\"" else True
        return position + 1

    def _here(self, position: int) -> int:
        match = _HERE.match(self._text, position)
        if match is None or any(position <= begin < match.end() for begin in self._fields):
            raise _Unclear
        if self._around != ["plain"]:
            raise _Unclear
        self._bodies.append((match[2] or match[3] or match[4], match[1] == "-"))
        self._word = True
        return match.end()

    def _skip_bodies(self, position: int) -> int:
        begin = position
        for word, strips in self._bodies:
            while True:
                end = self._text.find("\n", position)
                line = self._text[position : len(self._text) if end < 0 else end]
                position = len(self._text) if end < 0 else end + 1
                if (line.lstrip("\t") if strips else line) == word or end < 0:
                    break
        self._bodies = []
        return self._next_field(begin, position, "stands in a here-document")


def misplaced_in_shell(text: str, fields: Sequence[Span]) -> tuple[Span, str] | None:
    """The first field whose place is not plain text of a shell script, and what place it is."""
    shell = _Shell(text, fields)
    shell.read()
    return shell.problem


def misplaced_in_python(text: str, fields: Sequence[Span]) -> tuple[Span, str] | None:
    """The first field that does not stand for a whole expression of Python, and what it is in."""
    names, pieces, position = {}, [], 0
    for number, (begin, end) in enumerate(fields):
        name = f"ecs_field_{number}_"
        while name in text or keyword.iskeyword(name):
            name += "_"
        names[name] = begin, end
        pieces += [text[position:begin], name]
        position = end
    found: set[str] = set()
    depth = 0
    try:
        source = "".join([*pieces, text[position:]])
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = tokenize.tok_name[token.type]
            depth += {"FSTRING_START": 1, "FSTRING_END": -1}.get(kind, 0)
            if kind == "NAME" and not depth:
                found.add(token.string)
    except (tokenize.TokenError, SyntaxError):
        pass  # what was read until then counts
    for name, span in names.items():
        if name not in found:
            return span, "stands in a string, a comment or a name"
    return None
