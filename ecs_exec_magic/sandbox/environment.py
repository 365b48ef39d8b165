"""The environment of a practice cluster's users, in the words of their shells.

Knows quoting. Never knows what the variables mean.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SHELLS", "UNSET", "exports"]

SHELLS = ("bash", "fish", "powershell", "cmd")

UNSET = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
"""What would lead elsewhere: a profile of the user's, or a token that belongs to other keys."""


def exports(environment: Mapping[str, str], shell: str) -> str:
    """Lines that set the variables in a shell of this kind, and unset what would be in the way."""
    if shell == "fish":
        lines = [f"set -e {name};" for name in UNSET]
        lines += [f"set -gx {name} {_fish(value)};" for name, value in environment.items()]
    elif shell == "powershell":
        lines = [f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in UNSET]
        lines += [f"$Env:{name} = {_powershell(value)}" for name, value in environment.items()]
    elif shell == "cmd":
        lines = [f"set {name}=" for name in UNSET]
        lines += [f"set {name}={_cmd(value)}" for name, value in environment.items()]
    else:
        lines = [f"unset {' '.join(UNSET)}"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join(lines)


def _fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _powershell(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _cmd(value: str) -> str:
    return "".join("^" + char if char in "&|<>^" else char for char in value)
