"""The rows of a picker: one for each container, found by typing.

Knows tasks as plain data, and how a row reads. Never knows widgets, nor where tasks come from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ...tables import clean, cut, width_of
from ..listing import short_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Found", "PickRow", "Rows", "labels"]

_MARKS = {"ready": "●", "starting": "◐", "off": "○"}
_WORDS = {"ready": "ready", "starting": "starting", "off": "exec off"}
_TAKE = "choose another task"
_WIDEST = 28
_GAP = "\u2002"  # an option's runs of plain blanks are shown as one


@dataclass(frozen=True, slots=True)
class PickRow:
    """One container.

    Attributes:
        address: ``CLUSTER/TASKID:CONTAINER``.
        service: short name; empty for a task on its own.
        state: ``ready``, ``starting``, or ``off``: no command can be run in it.
        why: it is not ready, in a sentence.
        cure: what makes it ready.
        cells: what the row shows, by column.
        haystack: what typing finds it by, in lower case.
    """

    address: str
    service: str
    state: str
    why: str
    cure: str
    cells: tuple[str, ...]
    haystack: str

    @property
    def ready(self) -> bool:
        """Whether commands can be run in it."""
        return self.state == "ready"


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that fit what was typed: the first of them, and how many there are."""

    rows: tuple[PickRow, ...]
    count: int


class Rows:
    """The containers of one cluster at one moment.

    Args:
        tasks: in the order in which they are to be shown; those that are ready come first anyway.
        at: when they were listed.
    """

    def __init__(self, tasks: Iterable[Any] = (), at: datetime | None = None) -> None:
        self.at = at or datetime.now(timezone.utc)
        self.tasks = tuple(tasks)
        ids = short_ids([task.task_id for task in self.tasks])
        rows = [
            _row(task, container, short, self.at)
            for task, short in zip(self.tasks, ids, strict=True)
            for container in task.containers
            if not container.injected
        ]
        # Those of one kind beside each other: then Shift chooses them all.
        rows.sort(key=lambda row: (list(_MARKS).index(row.state), row.cells[1], row.cells[3]))
        self._rows = tuple(rows)
        self._by_address = {row.address: row for row in rows}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, address: object) -> bool:
        return address in self._by_address

    def get(self, address: str) -> PickRow | None:
        """The row of that address."""
        return self._by_address.get(address)

    @property
    def services(self) -> list[str]:
        """Services that have tasks, by name; an empty one if there are tasks without."""
        names = sorted({row.service for row in self._rows})
        return sorted(names, key=lambda name: name == "")

    def gone(self, row: PickRow) -> PickRow:
        """A row of an earlier moment, whose task is not listed any more."""
        where = f"{row.cells[3]} of {row.cells[1]}"
        cells = (_MARKS["off"], *row.cells[1:4], "gone", *row.cells[5:])
        return replace(
            row, state="off", why=f"{where} is gone: its task has stopped", cure=_TAKE, cells=cells
        )

    def find(self, typed: str, *, service: str | None = None, limit: int = 200) -> Found:
        """Rows in which every word that was typed occurs, whatever its case.

        Args:
            service: only of this one; empty: only tasks without one.
            limit: how many rows to give at most.
        """
        words = typed.lower().split()
        fitting = (
            row
            for row in self._rows
            if (service is None or row.service == service)
            and all(word in row.haystack for word in words)
        )
        kept: list[PickRow] = []
        count = 0
        for row in fitting:
            count += 1
            if len(kept) < limit:
                kept.append(row)
        return Found(tuple(kept), count)


def labels(rows: Sequence[PickRow]) -> list[str]:
    """The rows as lines of aligned columns, for a list in a fixed-width type."""
    widths = [
        max(map(width_of, column), default=0)
        for column in zip(*(row.cells for row in rows), strict=True)
    ]
    return [
        (2 * _GAP)
        .join(
            cell + _GAP * (width - width_of(cell))
            for cell, width in zip(row.cells, widths, strict=True)
        )
        .rstrip(_GAP)
        for row in rows
    ]


def _row(task: Any, container: Any, short: str, at: datetime) -> PickRow:
    state, why, cure = _state(task, container)
    name = task.service or f"family:{task.family}"
    cells = (
        _MARKS[state],
        *(cut(clean(text), _WIDEST) for text in (name, short, container.name)),
        _since(task, at) if state == "ready" else _WORDS[state],
        task.zone,
    )
    address = f"{task.address}:{container.name}"
    tags = [f"{key}={value}" for key, value in task.tags.items()]
    found_by = (
        name,
        task.family,
        task.task_id,
        container.name,
        address,
        container.image,
        _WORDS[state],
        task.zone,
        task.launch_type,
        *tags,
    )
    return PickRow(
        address, task.service or "", state, why, cure, cells, "\n".join(found_by).lower()
    )


def _state(task: Any, container: Any) -> tuple[str, str, str]:
    where = f"{container.name} of {task.label}"
    if task.desired_status == "STOPPED":
        return "off", f"{where} is about to stop", _TAKE
    refusal = task.refusal(container)
    if task.exec_enabled and (not task.running or container.status != "RUNNING"):
        status = (container.status or task.status).lower()
        if status == "stopped":
            return "off", f"{where} has stopped: {container.reason or 'no reason'}", _TAKE
        return "starting", f"{where} is {status}", "it becomes ready by itself"
    if refusal is None:
        return "ready", "", ""
    state = "starting" if container.agent_status == "PENDING" else "off"
    return state, f"{refusal}: {refusal.cause}", refusal.cure


def _since(task: Any, at: datetime) -> str:
    """When it started: unlike an age it stays the same, and so does the list."""
    started = task.started_at
    if started is None:
        return ""
    return f"since {started:%H:%M}" if (at - started).days < 1 else f"since {started:%d %b}"
