"""Run commands in Amazon ECS containers from notebooks, with exact output and exit codes.

In a notebook::

    %load_ext ecs_exec_magic
    %ecs_target prod/web:nginx
    %ecs_exec ls -l /

In Python::

    import ecs_exec_magic as ecs

    result = ecs.connect().target("prod/web:nginx").run("ls -l /")

Importing this package loads no AWS library and starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors as _errors
from .errors import *  # noqa: F403 - the whole tree is public, see errors.__all__
from .results import CommandResult, OutputEvent

if TYPE_CHECKING:
    from .client import Client, FleetResult, OutputStream, RunningCommand, Target, connect

__version__ = "0.1.0"

_LAZY = dict.fromkeys(
    ("Client", "FleetResult", "OutputStream", "RunningCommand", "Target", "connect"), "client"
)

__all__ = [
    "Client",
    "CommandResult",
    "FleetResult",
    "OutputEvent",
    "OutputStream",
    "RunningCommand",
    "Target",
    "connect",
    *_errors.__all__,
]


def __getattr__(name: str) -> Any:
    # boto3 takes most of a second to import: %load_ext must not wait for it.
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to a shell: ``%load_ext ecs_exec_magic``."""
    from .notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics out again: ``%unload_ext ecs_exec_magic``."""
    from .notebook.extension import unload

    unload(shell)
