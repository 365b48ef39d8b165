"""How the agent splits a command into words (PROTOCOL 6.3).

Knows the lexer's rules, which are neither POSIX's nor Python's. Never knows what is run.
"""

from __future__ import annotations

__all__ = ["SplitError", "split"]

_BLANKS = " \t\r\n"


class SplitError(ValueError):
    """The text ends inside quotes or after a backslash; the message is the agent's own."""


def split(text: str) -> list[str]:
    """Split a command as the agent in a container does.

    No variables, globs, pipes or redirections. A backslash takes the next character as it is,
    within double quotes too, whatever that character may be. ``#`` at the start of a word begins
    a comment up to the end of the line.

    Raises:
        SplitError: quotes or an escape are left open.
    """
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(text)
    for char in characters:
        if quote == "#":
            if char == "\n":
                quote = ""
        elif quote and char == quote:
            quote = ""
        elif quote == "'":
            assert word is not None
            word.append(char)
        elif char == "\\":
            word = [] if word is None else word
            following = next(characters, None)
            if following is None:
                raise SplitError("EOF found after escape character")
            word.append(following)
        elif quote:
            assert word is not None
            word.append(char)
        elif char in "'\"":
            word = [] if word is None else word
            quote = char
        elif char in _BLANKS:
            if word is not None:
                words.append("".join(word))
                word = None
        elif char == "#" and word is None:
            quote = "#"
        else:
            word = [] if word is None else word
            word.append(char)
    if quote in ("'", '"'):
        raise SplitError("EOF found when expecting closing quote")
    if word is not None:
        words.append("".join(word))
    return words
