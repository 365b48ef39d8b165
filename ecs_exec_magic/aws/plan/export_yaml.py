"""YAML as CloudFormation reads it, with the short forms of its functions.

Knows the language. Never knows what is written in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Function", "yaml_of"]

# What needs no quotes, in every reading of YAML: no numbers, dates, booleans or signs.
_PLAIN = re.compile(
    r"[A-Za-z/][A-Za-z0-9_./:<>,+-]*(?<!:)(?: [A-Za-z0-9_./:<>,+-]*[A-Za-z0-9_./<>,+-])*"
)
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


@dataclass(frozen=True)
class Function:
    """One of CloudFormation's functions.

    Attributes:
        name: as in ``Sub``.
        value: what it is given.
    """

    name: str
    value: Any


def yaml_of(document: Any) -> str:
    """A document as text; mappings keep their order."""
    return "".join(f"{line}\n" for line in _lines(document))


def _lines(value: Any) -> list[str]:
    """The lines of something that is not written on one."""
    if isinstance(value, dict):
        return [line for key, each in value.items() for line in _item(f"{_scalar(key)}:", each)]
    lines = []
    for each in value:
        first, *rest = _item("-", each)
        if isinstance(each, (dict, list)) and each:
            first, *rest = _lines(each)
            first = f"- {first}"
        lines += (
            [first, *rest]
            if not (isinstance(each, (dict, list)) and each)
            else [
                first,
                *(f"  {line}" for line in rest),
            ]
        )
    return lines


def _item(head: str, value: Any) -> list[str]:
    """What stands behind a key or a dash."""
    if isinstance(value, Function):
        head, value = f"{head} !{value.name}", value.value
        if isinstance(value, Function):  # one short form may not follow another on a line
            value = {_long(value.name): value.value}
    if isinstance(value, (dict, list)) and value:
        return [head, *(f"  {line}" for line in _lines(value))]
    if isinstance(value, str) and _is_block(value):
        return [f"{head} |", *(f"  {line}" for line in value.splitlines())]
    return [f"{head} {_scalar(value)}"]


def _long(name: str) -> str:
    return name if name == "Ref" else f"Fn::{name}"


def _is_block(text: str) -> bool:
    """Whether a text is a script to be read line by line."""
    lines = text.split("\n")
    return (
        len(lines) > 2
        and not lines[-1]
        and all(line and line.isprintable() and line == line.strip() for line in lines[:-1])
    )


def _scalar(value: Any) -> str:
    if value == {} or value == []:
        return "{}" if value == {} else "[]"
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        # JSON's strings are YAML's, but for characters that YAML wants escaped.
        text = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return json.dumps(value)
