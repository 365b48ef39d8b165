"""Where a value that stands by a name begins and ends, and whether it is one at all.

Knows quotes, escapes and separators of shells, JSON, YAML, INI, URLs and programs. Never knows the
names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MARK", "QUOTE", "Span", "bare", "closes", "harmless", "quoted", "rest"]

MARK = "[masked]"
"""What stands for a secret. It tells neither its kind nor its length."""

QUOTE = re.compile(r"[bBrRuUfF]{0,2}(?P<slashes>\\{0,7})(?P<char>[\"'])")
"""A quote that opens, escaped or not, with a string prefix of Python."""


class Span(NamedTuple):
    """A secret in a text.

    Attributes:
        begin: where that begins by which it is recognised, as its name; at most ``start``.
        start: where the secret begins.
        end: where it ends.
    """

    begin: int
    start: int
    end: int


def quoted(text: str, opening: re.Match[str]) -> tuple[int, int]:
    """The inside of a quoted value; up to the end of the text where the quote is not closed.

    A quote that opens behind N backslashes closes behind N of them again: so nest JSON in JSON, and
    shells in shells. More of them are a quote inside.
    """
    quote, level = opening["char"], len(opening["slashes"])
    start = position = opening.end()
    while (found := text.find(quote, position)) >= 0:
        slashes = 0
        while found - slashes > start and text[found - slashes - 1] == "\\":
            slashes += 1
        if slashes < level or slashes % (2 * level + 2) == level:
            return start, found - min(slashes, level)
        position = found + 1
    return start, len(text)


def closes(text: str, quote: re.Match[str]) -> bool:
    """Whether a quote ends a text around the name, as in ``read -p 'Password: ' x``."""
    following = text[quote.end() : quote.end() + 1]
    ends = not following or following in " \t;,)}]&|<>"
    return ends and text.count(quote["char"], 0, quote.start()) % 2 == 1


# What may end a value that has no quotes. It does only where something follows that a value is not
# likely to go on with: passwords hold such characters, too.
_KEY = r"(?:[A-Za-z_][A-Za-z0-9_.-]{0,60}|\[masked\])[=:]"
_ENDS = rf"""(?:\\{{0,7}}["'`]|\\[nrt]|[&;,)}}\]>])(?:[\s"'`&;,)}}\]>/<:+\\]|{_KEY}|\Z)"""
_BARE = re.compile(rf"(?:(?!{_ENDS})(?:\\[^\n]|\S))+")


def bare(text: str, start: int) -> tuple[int, int]:
    """A value without quotes: one word."""
    match = _BARE.match(text, start)
    return start, match.end() if match else start


_COMMENT = re.compile(r"[ \t](?:#|;[ \t])")


def rest(text: str, start: int) -> tuple[int, int]:
    """A value that is the rest of its line, without a comment behind it."""
    match = _COMMENT.search(text, start)
    end = match.start() if match else len(text)
    return start, start + len(text[start:end].rstrip(" \t,;"))


_HARMLESS = re.compile(
    r"(?i:true|false|yes|no|none|null|nil|on|off|undefined|x{3,})"
    r"|(?:str|string|bytes|int|float|bool|boolean|number|object|any)"  # types of parameters
    r"|\[\]|\{\}|\(\)"
    r"|[*.…-]*"
    r"|\[(?:masked|hidden|redacted)\]{1,2}|<[^<>]*>{1,2}|\{\{?[\w. ]*\}{1,2}"
    r"|\$[A-Z_][A-Z0-9_]*|\$\{[A-Za-z_]\w*\}|\$\(.*|%[sd]|%\(\w*\)s|%[A-Z_]+%"
    r"|[|>][+-]?"  # a block of YAML begins in the next line
    r"|(?:os\.(?:environ|getenv)|environ|getenv|process\.env|getpass|input|ENV|config|settings|self|"
    r"args|options|sys\.argv|secrets|vault)[.(\[].*"
)
_CLOSERS = {"<": ">", "[": "]", "{": "}", "$": "}"}


def harmless(text: str, start: int, end: int) -> bool:
    """Whether a value tells nothing: a stand-in, a variable, a switch, or masked already."""
    value = text[start:end]
    closer = _CLOSERS.get(value[:1], "")
    if closer and not value.endswith(closer):
        # A bracket can be what ends a value without quotes.
        following = text[end : end + 2]
        value += following[: len(following) - len(following.lstrip(closer))]
    return _HARMLESS.fullmatch(value) is not None
