"""What ``%ecs_tasks`` gives: lists that show themselves as tables.

Knows how tasks and clusters look. Never knows how they are found.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..tables import Cell, Column, Row, Table, dot, escaped, muted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Clusters", "Tasks", "age_text", "short_ids"]

_SHORTEST_ID = 8
_SHOWN_TAGS = 4

_COLUMNS = (
    Column("SERVICE", least=16),
    Column("TASK", mono=True),
    Column("CONTAINERS", least=24),
    Column("EXEC"),
    Column("AGE", number=True),
    Column("AZ"),
    Column("TYPE"),
    Column("TAGS", least=8),
)
_STOPPED_COLUMNS = (
    Column("SERVICE", least=16),
    Column("TASK", mono=True),
    Column("CONTAINERS", least=24),
    Column("STATE"),
    Column("ENDED", number=True),
    Column("RAN FOR", number=True),
    Column("AZ"),
    Column("TYPE"),
    Column("TAGS", least=8),
)
_CLUSTER_COLUMNS = (
    Column("CLUSTER"),
    Column("RUNNING", number=True),
    Column("PENDING", number=True),
    Column("SERVICES", number=True),
    Column("STATUS"),
)


class _Shown(list[Any]):
    """A list that shows itself as a table."""

    def table(self) -> Table:
        """The table that it shows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.table().bundle()


class Tasks(_Shown):
    """Tasks as they were at one moment; each has ``.address``, as ``-t`` takes it.

    Attributes:
        where: what was listed, as in ``prod/web``.
        at: when it was listed.
        of: how many there were before some were left out.
        stopped: whether these are tasks that have stopped.
    """

    def __init__(
        self,
        tasks: Iterable[Any],
        where: str,
        *,
        of: int | None = None,
        stopped: bool = False,
        at: datetime | None = None,
    ) -> None:
        super().__init__(tasks)
        self.where = where
        self.of = len(self) if of is None else of
        self.stopped = stopped
        self.at = at or datetime.now(timezone.utc)

    def table(self) -> Table:
        """Service, id, containers, exec, age, zone, launch type and tags of each task."""
        short = short_ids([task.task_id for task in self])
        ended = self._ended()
        row = self._ended_row if ended else self._row
        rows = tuple(row(task, name) for task, name in zip(self, short, strict=True))
        return Table(self._caption(), _STOPPED_COLUMNS if ended else _COLUMNS, rows)

    def _ended(self) -> bool:
        return self.stopped or any(task.stopped_at for task in self)

    def _caption(self) -> str:
        regions = sorted({task.region for task in self})
        where = f"{self.where} ({', '.join(regions)})" if regions else self.where
        state = "stopped " if self.stopped else ""
        if not self.of:
            hint = "" if self.stopped else "; --stopped shows those that have ended"
            verb = "has stopped lately" if self.stopped else "runs"
            return f"no task {verb} in {where}{hint}"
        count = f"{len(self)} of {self.of}" if len(self) != self.of else f"{self.of}"
        noun = "task" if self.of == 1 else "tasks"
        caption = f"{count} {state}{noun} in {where} at {self.at:%H:%M:%S} UTC"
        off = 0 if self._ended() else sum(task.exec_state != "on" for task in self)
        if off:
            caption += f"; exec is off in {off}"
        return caption

    def _row(self, task: Any, short: str) -> Row:
        state, colour, why = _exec(task)
        cells = (
            _label(task),
            _id(task, short),
            _containers(task),
            Cell(state, dot(colour, state)),
            Cell(age_text(self._since(task.started_at))),
            _zone(task),
            Cell(task.launch_type),
            _tags(task),
        )
        return Row(cells, f"exec {state}: {why}" if why else "")

    def _ended_row(self, task: Any, short: str) -> Row:
        state = task.status.lower()
        began, ended = task.started_at, task.stopped_at
        ran = (ended - began).total_seconds() if began and ended else None
        cells = (
            _label(task),
            _id(task, short),
            _containers(task),
            Cell("" if state == "stopped" else state, dot("wait", state)),
            Cell(f"{age_text(self._since(ended))} ago" if ended else ""),
            Cell(age_text(ran)),
            _zone(task),
            Cell(task.launch_type),
            _tags(task),
        )
        return Row(cells, "; ".join(_ends(task)))

    def _since(self, moment: datetime | None) -> float | None:
        return None if moment is None else max(0.0, (self.at - moment).total_seconds())


class Clusters(_Shown):
    """The clusters of an account, in one region."""

    def table(self) -> Table:
        """How many tasks and services each has."""
        rows = tuple(
            Row(
                (
                    Cell(each.name, f"<b>{escaped(each.name)}</b>"),
                    *(_count(number) for number in (each.running, each.pending, each.services)),
                    Cell(each.status.lower() if each.status != "ACTIVE" else ""),
                )
            )
            for each in self
        )
        if not rows:
            return Table("there is no cluster in this region", _CLUSTER_COLUMNS, ())
        caption = f"{len(rows)} clusters in {self[0].region}"
        foot = f"%ecs_tasks {self[0].name} lists the tasks of one"
        return Table(caption, _CLUSTER_COLUMNS, rows, foot)


# -- cells ---------------------------------------------------------------------------------------


def _count(number: int | None) -> Cell:
    return Cell("" if number is None else str(number))


def _label(task: Any) -> Cell:
    if task.service:
        return Cell(task.service, f"<b>{escaped(task.service)}</b>", title=f"family {task.family}")
    return Cell(task.label, f"{muted('family ')}{escaped(task.family)}")


def _id(task: Any, short: str) -> Cell:
    return Cell(short, title=task.address)


def _exec(task: Any) -> tuple[str, str, str]:
    """Exec's state in one word, its colour, and why it is not on."""
    if not task.exec_enabled:
        return "off", "none", "not enabled when the task was started"
    off = task.agents_off
    if not off:
        return "on", "good", ""
    why = "; ".join(f"agent of {name} is {state}" for name, state in off.items())
    if any(each.name not in off and not each.injected for each in task.containers):
        return "partly", "wait", why
    if all(state.startswith("pending") for state in off.values()):
        return "pending", "wait", why
    return "off", "bad", why


def _containers(task: Any) -> Cell:
    """The containers by state: ``running: nginx, sidecar``."""
    groups: dict[str, list[str]] = {}
    lines = []
    for each in task.containers:
        state, text, said = each.status.lower() or "unknown", each.name, ""
        if each.exit_code is not None:
            text, said = f"{text} ({each.exit_code})", f", exit {each.exit_code}"
        elif each.health == "UNHEALTHY":
            text, said = f"{text} (unhealthy)", ", unhealthy"
        groups.setdefault(state, []).append(text)
        line = f"{dot(_colour(each), each.name)} {muted(state + said)}"
        lines.append(f'<span style="white-space:nowrap">{line}</span>')
    texts = (f"{state}: {', '.join(names)}" for state, names in groups.items())
    return Cell("; ".join(texts), "<br>".join(lines))


def _colour(container: Any) -> str:
    # 143 is how most programs end when ECS asks them to.
    if container.health == "UNHEALTHY" or container.exit_code not in (None, 0, 143):
        return "bad"
    return {"RUNNING": "good", "STOPPED": "none"}.get(container.status, "wait")


def _unbroken(text: str) -> str:
    return f'<span style="white-space:nowrap">{escaped(text)}</span>'


def _zone(task: Any) -> Cell:
    # The caption names the region: `1a` is what is left of us-east-1a.
    _, dash, zone = task.zone.rpartition("-")
    short = task.zone.startswith(task.region) and task.zone.count("-") == task.region.count("-")
    return Cell(zone if dash and short else task.zone, _unbroken(task.zone))


def _tags(task: Any) -> Cell:
    """Tags but for those that AWS sets itself."""
    own = {name: value for name, value in task.tags.items() if not name.startswith("aws:")}
    pairs = [f"{name}={value}" if value else name for name, value in sorted(own.items())]
    shown, more = pairs[:_SHOWN_TAGS], len(pairs) - _SHOWN_TAGS
    markup = "<br>".join(
        muted(pair) for pair in [*shown, *([f"and {more} more"] if more > 0 else [])]
    )
    return Cell(", ".join(pairs), markup, title=", ".join(pairs) if more > 0 else "")


def _ends(task: Any) -> list[str]:
    """Why a task has stopped, and what its containers say of it."""
    reasons = [task.stopped_reason or task.stop_code]
    reasons += [f"{each.name}: {each.reason}" for each in task.containers if each.reason]
    return [reason for reason in reasons if reason]


# -- words ---------------------------------------------------------------------------------------


def short_ids(ids: Sequence[str]) -> list[str]:
    """Beginnings of ids, as short as they are still different from each other."""
    length = _SHORTEST_ID
    whole = max(map(len, ids), default=0)
    while length < whole and len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return [each[:length] for each in ids]


def age_text(seconds: float | None) -> str:
    """A span of time in one unit, as in ``5m``; empty for None."""
    if seconds is None:
        return ""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)}{name}"
    return f"{int(seconds // 86400)}d"
