"""Tables, under the name by which the magics and widgets know them.

Knows only where they are: :mod:`ecs_exec_magic.tables`, since plans are shown in them too.
"""

from __future__ import annotations

from ..tables import (
    SHOWN_ROWS,
    Cell,
    Column,
    Row,
    Table,
    clean,
    cut,
    dot,
    escaped,
    muted,
    width_of,
)

__all__ = [
    "SHOWN_ROWS",
    "Cell",
    "Column",
    "Row",
    "Table",
    "clean",
    "cut",
    "dot",
    "escaped",
    "muted",
    "width_of",
]
