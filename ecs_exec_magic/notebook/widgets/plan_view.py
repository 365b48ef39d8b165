"""A plan as it is shown: its steps with their states, its policies, and what will cost.

Knows plans by their interface. Never knows controls or AWS.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError
from ...tables import Cell, Column, Row, Table, dot, escaped
from ..progress import GREY
from .parts import failure, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ...client import Step
    from .plan_run import PlanRun, StepStatus

__all__ = [
    "count_of",
    "error_markup",
    "error_text",
    "facts_markup",
    "steps_table",
    "summary",
]

_COLUMNS = (
    Column(""),
    Column("RESOURCE"),
    Column("NAME", least=20, mono=True),
    Column("ABOUT", least=20),
)
_ACTIONS = {
    "create": ("wait", "to make"),
    "keep": ("none", "is there"),
    "update": ("wait", "to change"),
    "delete": ("bad", "to delete"),
    "conflict": ("bad", "in the way"),
}
_DOING = {"create": "making", "update": "changing", "delete": "deleting"}
_DONE = {"create": "made", "update": "changed", "delete": "deleted"}


def summary(steps: Iterable[Step]) -> str:
    """What a plan comes to, in a few words."""
    counts = dict.fromkeys(("conflict", "create", "update", "delete", "keep"), 0)
    for step in steps:
        counts[step.action] += 1
    words = {
        "conflict": "in the way",
        "create": "to make",
        "update": "to change",
        "delete": "to delete",
        "keep": "there already",
    }
    return ", ".join(f"{count} {words[name]}" for name, count in counts.items() if count)


def count_of(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def steps_table(run: PlanRun, caption: str, masked: Callable[[str], str] = str) -> Table:
    """The steps as a table.

    Args:
        masked: takes secrets out of what AWS said.
    """
    return Table(caption, _COLUMNS, tuple(_row(each, masked) for each in run.steps))


def _row(each: StepStatus, masked: Callable[[str], str]) -> Row:
    step = each.step
    return Row(
        (
            _state(each),
            Cell(step.kind, f'<span style="white-space:nowrap">{escaped(step.kind)}</span>'),
            Cell(step.name, f'<div style="min-width:11em">{_breakable(step.name)}</div>'),
            _about(each, masked),
        )
    )


def _state(each: StepStatus) -> Cell:
    action = each.step.action
    colour, words = _ACTIONS[action]
    if each.state == "waiting":
        colour, words = "none", "waiting"
    elif each.state == "running":
        colour, words = "wait", f"{_DOING.get(action, 'checking')}…"
    elif each.state == "done":
        colour, words = "good", _DONE.get(action, "is there")
    elif each.state == "failed":
        colour, words = "bad", "failed"
    # As wide as the longest word, so that nothing moves while a plan is applied.
    return Cell(words, f'<div style="min-width:6.5em">{dot(colour, words)}</div>')


def _about(each: StepStatus, masked: Callable[[str], str]) -> Cell:
    if each.error is not None:
        return Cell(error_text(each.error, masked), error_markup(each.error, masked))
    words = masked(each.said if each.state == "running" and each.said else each.step.why)
    lines = [masked(line) for line in each.step.difference]
    shows = lines and each.step.action in ("update", "conflict")
    markup = escaped(words)
    if shows:
        inner = "".join(map(_breakable, lines))
        markup += f'<div style="font-family:monospace;font-size:90%">{inner}</div>'
    return Cell("; ".join([words, *lines] if shows else [words]), markup)


def _breakable(text: str) -> str:
    """Markup of a name that a narrow page may break anywhere: names have no blanks."""
    return f'<div style="overflow-wrap:anywhere">{escaped(text)}</div>'


def error_text(error: BaseException, masked: Callable[[str], str] = str) -> str:
    """What happened, why, and what to do, in one line."""
    parts = [str(error) or type(error).__name__]
    parts += [getattr(error, "cause", ""), getattr(error, "cure", "")]
    return masked("; ".join(filter(None, parts)))


def error_markup(error: BaseException, masked: Callable[[str], str] = str) -> str:
    """What happened, why, and what to do, as markup."""
    if isinstance(error, EcsExecError):
        inner = failure(error, masked)
    else:
        inner = said(masked(f"{type(error).__name__}: {error}"), "bad")
    return f'<div style="max-width:60em;overflow-wrap:anywhere">{inner}</div>'


def facts_markup(
    documents: Mapping[str, Any], costs: Sequence[str], masked: Callable[[str], str] = str
) -> str:
    """Policies, folded, and what costs."""
    parts = []
    if costs:
        items = "".join(f"<li>{escaped(masked(each))}</li>" for each in costs)
        parts.append(
            f'<div style="{GREY};margin-top:6px">What costs</div>'
            f'<ul style="margin:0;padding-left:1.4em;line-height:1.45">{items}</ul>'
        )
    if documents:
        parts.append(f'<div style="{GREY};margin-top:6px">IAM documents</div>')
    for title, document in documents.items():
        text = document if isinstance(document, str) else json.dumps(document, indent=2)
        parts.append(
            f'<details><summary style="cursor:pointer">{escaped(title)}</summary>'
            '<pre style="margin:2px 0 6px 1.2em;font-size:90%;line-height:1.35;overflow-x:auto">'
            f"{html.escape(masked(text))}</pre></details>"
        )
    return "".join(parts)
