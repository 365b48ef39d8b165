"""Wildcards, policy variables and ARNs of policies.

Knows how a pattern of a policy is compared with a text. Never knows statements or who calls.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

__all__ = [
    "Context",
    "Pattern",
    "arn_like",
    "arn_matches",
    "context_of",
    "matches",
    "pattern",
    "variables",
]

Context: TypeAlias = Mapping[str, Sequence[str]]
"""Values of condition keys; the names are in lower case, see :func:`context_of`."""


class _Wild(enum.Enum):
    ANY = "*"
    ONE = "?"
    ANY_IN_SEGMENT = "* up to a colon"
    ONE_IN_SEGMENT = "? but no colon"


Pattern: TypeAlias = Sequence["str | _Wild"]
"""Single characters and wildcards."""

_VARIABLE = re.compile(r"\$\{([^},]+)(?:,\s*'([^'}]*)'\s*)?\}")
_ESCAPES = ("*", "?", "$")
_ARN_PARTS = 6
_MANY = (_Wild.ANY, _Wild.ANY_IN_SEGMENT)


def context_of(*parts: Mapping[str, Sequence[str] | str]) -> dict[str, tuple[str, ...]]:
    """Join contexts; names are not case-sensitive, and an earlier part wins over a later one."""
    joined: dict[str, tuple[str, ...]] = {}
    for part in parts:
        for name, values in part.items():
            listed = (values,) if isinstance(values, str) else tuple(values)
            joined.setdefault(name.lower(), listed)
    return joined


def variables(text: str) -> tuple[str, ...]:
    """The names of the keys that a text takes in by ``${...}``, in lower case."""
    names = (found[1].strip().lower() for found in _VARIABLE.finditer(text))
    return tuple(name for name in names if name not in _ESCAPES)


def pattern(text: str, context: Context | None = None, *, wild: bool = True) -> Pattern | None:
    """Take a text of a policy apart.

    What a variable brings in is never a wildcard, and ``${*}``, ``${?}`` and ``${$}`` stand for
    the characters themselves.

    Args:
        text: with ``*``, ``?`` and ``${...}``.
        context: where variables get their values; None leaves them as they are (policies of
            the version 2008-10-17 know none).
        wild: whether ``*`` and ``?`` are wildcards at all.

    Returns:
        None when a variable has no value and no default: such a text fits nothing.
    """
    tokens: list[str | _Wild] = []
    start = 0
    for found in _VARIABLE.finditer(text) if context is not None else ():
        tokens += _tokens(text[start : found.start()], wild)
        start = found.end()
        name = found[1].strip().lower()
        if name in _ESCAPES:
            tokens.append(name)
            continue
        values = (context or {}).get(name, ())
        value = values[0] if len(values) == 1 else found[2]
        if value is None:
            return None
        tokens += value
    return tokens + _tokens(text[start:], wild)


def _tokens(text: str, wild: bool) -> list[str | _Wild]:
    if not wild:
        return list(text)
    return [_Wild(c) if c in "*?" else c for c in text]


def matches(wanted: Pattern, text: str) -> bool:
    """Whether a pattern fits the whole text, in time of at most their lengths multiplied."""
    if not any(isinstance(token, _Wild) for token in wanted):
        return list(text) == list(wanted)
    end = len(wanted)

    def close(places: set[int]) -> set[int]:
        reached = set(places)
        for place in places:
            while place < end and wanted[place] in _MANY:
                place += 1
                reached.add(place)
        return reached

    places = close({0})
    for character in text:
        following: set[int] = set()
        for place in places:
            token = wanted[place] if place < end else None
            if token is _Wild.ANY or (token is _Wild.ANY_IN_SEGMENT and character != ":"):
                following.add(place)
            elif token in (character, _Wild.ONE) or (
                token is _Wild.ONE_IN_SEGMENT and character != ":"
            ):
                following.add(place + 1)
        places = close(following)
        if not places:
            return False
    return end in places


def arn_matches(wanted: Pattern, arn: str) -> bool:
    """Whether an entry of a Resource element takes in a resource.

    In the first five segments a wildcard stops at a colon, unless it ends its segment: then it
    may go beyond. A pattern of fewer than six segments is completed by ``*``.
    """
    bounded: list[str | _Wild] = []
    colons = 0
    for place, token in enumerate(wanted):
        last = place + 1 == len(wanted) or wanted[place + 1] == ":"
        colons += token == ":"
        if colons < _ARN_PARTS - 1 and token is _Wild.ANY and not last:
            bounded.append(_Wild.ANY_IN_SEGMENT)
        elif colons < _ARN_PARTS - 1 and token is _Wild.ONE:
            bounded.append(_Wild.ONE_IN_SEGMENT)
        else:
            bounded.append(token)
    if matches(bounded, arn):
        return True
    incomplete = list(wanted[:4]) == list("arn:") and colons < _ARN_PARTS - 1
    return incomplete and matches([*bounded, ":", _Wild.ANY], arn)


def arn_like(wanted: Pattern, arn: str) -> bool:
    """Whether an ARN fits, each of its six parts for itself (ArnLike and ArnEquals)."""
    parts: list[list[str | _Wild]] = [[]]
    for token in wanted:
        if token == ":" and len(parts) < _ARN_PARTS:
            parts.append([])
        else:
            parts[-1].append(token)
    texts = arn.split(":", _ARN_PARTS - 1)
    if len(parts) != len(texts):
        return False
    return all(matches(part, text) for part, text in zip(parts, texts, strict=True))
