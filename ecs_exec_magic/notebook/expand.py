"""``--expand``: ``{{name}}`` in a command becomes the value of the notebook's variable, quoted.

Knows quoting for shells and a few other interpreters. Never knows what runs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import string
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["expanded"]

# A name, with attributes and indexes as str.format has them: {{page}}, {{task.address}}, {{a[0]}}
_FIELD = re.compile(r"\{\{\s*([^\W\d]\w*(?:\.[^\W\d]\w*|\[[^\[\]{}]+\])*)\s*\}\}")
_QUOTES = "'\""

_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh", "mksh")


def expanded(text: str, names: Mapping[str, Any], interpreter: str | None = None) -> str:
    """Fill in every ``{{name}}``; nothing else is touched.

    A shell gets text as one quoted word, and a list as several. Python gets the value's ``repr``,
    Node.js its JSON.

    Args:
        names: the variables.
        interpreter: the program that will read the text; a shell when None.

    Raises:
        ValueError: there is no such variable, its value cannot be written, or the place is quoted
            already. The message is one line.
    """
    quote = _quoter(interpreter)

    def fill(match: re.Match[str]) -> str:
        before, behind = text[: match.start()][-1:], text[match.end() :][:1]
        if before and before in _QUOTES and before == behind:
            raise ValueError(f"{match[0]} stands in quotes: leave them out, the value gets its own")
        value = _value(match[1], names)
        try:
            return quote(value)
        except ValueError as error:
            raise ValueError(f"{match[0]}: {error}") from None

    return _FIELD.sub(fill, text)


def _value(field: str, names: Mapping[str, Any]) -> Any:
    first = re.split(r"[.\[]", field, maxsplit=1)[0]
    if first not in names:
        raise ValueError(f"there is no variable {first!r} for {{{{{field}}}}}")
    try:
        value, _ = string.Formatter().get_field(field, (), names)
    except Exception as error:  # noqa: BLE001 - attributes run whatever code they have
        raise ValueError(f"{{{{{field}}}}}: {type(error).__name__}: {error}") from None
    return value


def _quoter(interpreter: str | None) -> Callable[[Any], str]:
    words = (interpreter or "sh").split()
    program = (words or ["sh"])[0].rsplit("/", 1)[-1].rstrip("0123456789.")
    if program in _SHELLS:
        return _for_shell
    if program in ("python", "pypy"):
        return _for_python
    if program in ("node", "nodejs"):
        return _for_node

    def refuse(value: Any) -> str:
        raise ValueError(f"how values are quoted for {program} is not known")

    return refuse


def _for_shell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("the list is empty: the command would lack a word")
        return " ".join(_for_shell(each) for each in value)
    if isinstance(value, (bytes, bytearray)):
        try:
            value = bytes(value).decode()
        except UnicodeDecodeError:
            raise ValueError("bytes that are not UTF-8 cannot stand in a command") from None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (dict, set)) or callable(value):
        raise ValueError(f"a value of {type(value).__name__} is no word of a command")
    text = str(value)
    if "\0" in text:
        raise ValueError("a NUL character cannot stand in a command")
    return shlex.quote(text)


def _for_python(value: Any) -> str:
    text = repr(value)
    if text.startswith("<"):
        raise ValueError(f"a value of {type(value).__name__} cannot be written in Python")
    return text


def _for_node(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(str(error)) from None
