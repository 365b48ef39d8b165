"""What was before, kept in the tags of what is changed, so that anybody can put it back.

Knows which characters tags take. Never knows what is done with what it keeps.

A setting is one tag that people can read, as in ``ecs-exec-magic:before:logging = OVERRIDE``.
Characters that tags do not take are written as ``=`` and two hexadecimal digits for each byte, and
a value that is too long goes on in tags whose names end in ``.2`` and up.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from ..plan.names import OWN_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BEFORE",
    "DEPLOY",
    "EXEC",
    "ROLE",
    "SET",
    "configuration_of",
    "digest",
    "flat",
    "mark",
    "quote",
    "tags_for",
    "unquote",
]

EXEC = f"{OWN_TAGS}exec"
"""On a service: whether exec was on before, and the definition that it had if that is changed."""

ROLE = f"{OWN_TAGS}exec-role"
"""On a service: the role that has the policy."""

DEPLOY = f"{OWN_TAGS}exec-deploy"
"""On a service: that new tasks are still to be started."""

BEFORE = f"{OWN_TAGS}before:"
"""On a cluster: its settings before the first change."""

SET = f"{OWN_TAGS}exec-set"
"""On a cluster: the digest of the settings that were made."""

_NONE = "none"
_MOST = 256
_UNFIT = re.compile(r"[^A-Za-z0-9 +._:/@-]")
_LOGS = "logConfiguration"


def mark(region: str, address: str) -> str:
    """A short name of a service that no other service has."""
    return hashlib.sha256(f"{region}/{address}".encode()).hexdigest()[:12]


def quote(text: str) -> str:
    """A text in the characters of tags."""
    return _UNFIT.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), text)


def unquote(text: str) -> str:
    """What :func:`quote` was given."""
    data = re.sub(
        rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), text.encode("utf-8")
    )
    return data.decode("utf-8", "replace")


def flat(execution: Mapping[str, Any]) -> dict[str, str]:
    """Settings of exec sessions as one level of texts."""
    levels = {**execution, **(execution.get(_LOGS) or {})}
    levels.pop(_LOGS, None)
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in levels.items()
        if value not in (None, "")
    }


def digest(execution: Mapping[str, Any]) -> str:
    """The same for settings that say the same; AWS's defaults may be left out."""
    said = {
        name: value
        for name, value in flat(execution).items()
        if value != "false" and (name, value) != ("logging", "DEFAULT")
    }
    return hashlib.sha256(repr(sorted(said.items())).encode()).hexdigest()[:16]


def tags_for(execution: Mapping[str, Any]) -> dict[str, str]:
    """Tags that remember settings."""
    found: dict[str, str] = {}
    for name, value in flat(execution).items():
        text, part = quote(value), 1
        while text or part == 1:
            # Never in the middle of a byte's three characters.
            end = _MOST
            while end < len(text) and "=" in text[end - 2 : end]:
                end -= 1
            found[BEFORE + name + (f".{part}" if part > 1 else "")] = text[:end]
            text, part = text[end:], part + 1
    return found or {BEFORE + _NONE: _NONE}


def configuration_of(tags: Mapping[str, str]) -> dict[str, Any] | None:
    """The settings that tags remember; None when they remember none."""
    own = {key[len(BEFORE) :]: value for key, value in tags.items() if key.startswith(BEFORE)}
    if not own:
        return None
    own.pop(_NONE, None)
    texts: dict[str, str] = {}
    for key in sorted(own, key=lambda each: (each.partition(".")[0], _number(each))):
        name = key.partition(".")[0]
        texts[name] = texts.get(name, "") + own[key]
    top: dict[str, Any] = {}
    log: dict[str, Any] = {}
    for name, text in texts.items():
        value = unquote(text)
        place = top if name in ("kmsKeyId", "logging") else log
        place[name] = value == "true" if name.endswith("Enabled") else value
    return {**top, **({_LOGS: log} if log else {})}


def _number(key: str) -> int:
    end = key.partition(".")[2]
    return int(end) if end.isdigit() else 1
