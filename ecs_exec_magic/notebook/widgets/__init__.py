"""Widgets: pick a task, run a command in it, provision, open a terminal.

Knows only names: a widget's module, and ipywidgets with it, is imported when the name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ProvisionForm", "RunPanel", "TaskPicker", "Terminal"]

_HOMES = {
    "ProvisionForm": "provision",
    "RunPanel": "run_panel",
    "TaskPicker": "picker",
    "Terminal": "terminal",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
