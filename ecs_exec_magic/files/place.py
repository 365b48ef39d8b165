"""Where a copy begins or ends, as a line says it: a local path, or ``TARGET:PATH``.

Knows the grammar only. Never knows what exists.

======================================  =========================================================
``:/etc/hosts``, ``:logs``              in the notebook's target; relative to its working directory
``web:/etc``, ``prod/web:nginx:/etc``   in that container: the first ``:/`` ends the address
``./a:b``, ``/a:b``, ``../a``, ``~/a``  local, whatever follows
``report.csv``, ``dir/``                local: there is no colon in it
``a:b``                                 refused, since nobody can tell what is meant
======================================  =========================================================
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..address import parse_address
from ..errors import InvalidRequest

__all__ = ["Place", "parse_place"]

_LOCAL = ("/", "./", "../", "~")
_SCHEME = re.compile(r"[a-z][a-z0-9+.]+://", re.IGNORECASE)
_CURE = "write TARGET:/PATH, as in prod/web:nginx:/etc/hosts, :PATH for the notebook's own target, "


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy.

    Attributes:
        remote: it is in a container.
        path: there, or here.
        address: of the container; None for the notebook's own target.
    """

    remote: bool
    path: str
    address: str | None = None

    def __str__(self) -> str:
        return f"{self.address or ''}:{self.path}" if self.remote else self.path


def parse_place(text: str, *, windows: bool = os.name == "nt") -> Place:
    """Read one end of a copy.

    Args:
        windows: a letter before the colon is a drive.

    Raises:
        InvalidRequest: it is empty, or nobody can tell what is meant.
    """
    if not text:
        raise InvalidRequest("a path is empty", cure=_CURE + "or a local path")
    if "\0" in text:
        raise InvalidRequest(f"{text!r} holds a NUL byte, which no path can")
    if text.startswith(_LOCAL) or text in (".", ".."):
        return Place(False, text)
    if windows and (text.startswith((".\\", "..\\", "\\")) or re.match(r"[A-Za-z]:[\\/]", text)):
        return Place(False, text)
    if text.startswith(":"):
        if text == ":":
            raise InvalidRequest("no path follows the colon", cure=_CURE + "or a local path")
        return Place(True, text[1:])
    if _SCHEME.match(text):
        raise InvalidRequest(
            f"{text!r} is a URL, and files are copied between here and a container only",
            cure="fetch it first, or let the container fetch it",
        )
    if ":/" in text:
        address, _, path = text.partition(":/")
        parse_address(address)  # refuses what is none before anything is called
        return Place(True, f"/{path}", address)
    if ":" in text:
        raise InvalidRequest(
            f"{text!r} may be a local file or one in a container",
            cause="what follows a target's colon begins with /, or it would be a container's name",
            cure=_CURE + f"or ./{text} for a local file",
        )
    return Place(False, text)
