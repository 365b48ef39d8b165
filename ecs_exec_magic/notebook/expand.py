"""``--expand``: ``{{name}}`` in a command becomes the value of the notebook's variable, quoted.

Knows how values are written for shells and for Python. Never knows what runs.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import string
from typing import TYPE_CHECKING, Any

from .contexts import misplaced_in_python, misplaced_in_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["expanded"]

# A name, with attributes and indexes as str.format has them: {{page}}, {{task.address}}, {{a[0]}}
_FIELD = re.compile(r"\{\{\s*([^\W\d]\w*(?:\.[^\W\d]\w*|\[[^\[\]{}]+\])*)\s*\}\}")
_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh", "mksh")


def expanded(text: str, names: Mapping[str, Any], interpreter: str | None = None) -> str:
    """Fill in every ``{{name}}``; nothing else is touched.

    A shell gets text as one quoted word, and a list as several; Python gets the value's ``repr``.

    Args:
        names: the variables.
        interpreter: the program that will read the text; a shell when None.

    Raises:
        ValueError: there is no such variable, its value cannot be written, or the place is in a
            string, a comment or the like. The message is one line.
    """
    matches = list(_FIELD.finditer(text))
    if not matches:
        return text
    quote, misplaced = _language(interpreter)
    if found := misplaced(text, [match.span() for match in matches]):
        (begin, end), where = found
        raise ValueError(
            f"{text[begin:end]} {where}, where no value can be quoted safely: "
            "give it a word of its own there"
        )
    pieces, position = [], 0
    for match in matches:
        try:
            filled = quote(_value(match[1], names))
        except ValueError as error:
            raise ValueError(f"{match[0]}: {error}") from None
        pieces += [text[position : match.start()], filled]
        position = match.end()
    return "".join([*pieces, text[position:]])


def _value(field: str, names: Mapping[str, Any]) -> Any:
    first = re.split(r"[.\[]", field, maxsplit=1)[0]
    if first not in names:
        raise ValueError(f"there is no variable {first!r}")
    try:
        value, _ = string.Formatter().get_field(field, (), names)
    except Exception as error:  # noqa: BLE001 - attributes run whatever code they have
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return value


def _language(interpreter: str | None) -> tuple[Callable[[Any], str], Callable[..., Any]]:
    """How values are written for an interpreter, and where they may not stand."""
    words = (interpreter or "sh").split()
    program = (words or ["sh"])[0].rsplit("/", 1)[-1].rstrip("0123456789.")
    if program in _SHELLS:
        return _for_shell, misplaced_in_shell
    if program in ("python", "pypy"):
        return _for_python, misplaced_in_python
    raise ValueError(f"how values are quoted for {program} is not known; send them with --stdin")


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
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        same = False
    if not same:
        raise ValueError(f"a value of {type(value).__name__} cannot be written as a Python literal")
    return text
