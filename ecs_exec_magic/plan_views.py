"""How a plan looks: as text and as HTML.

Knows steps, documents and sentences. Never knows AWS.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .tables import Cell, Column, Row, Table, dot, escaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .aws.plan import Step

__all__ = ["PlanView", "steps_table"]

_COLOURS = {
    "create": "good",
    "keep": "none",
    "update": "wait",
    "delete": "bad",
    "conflict": "bad",
}
_COLUMNS = (
    Column("action"),
    Column("what"),
    Column("name", least=24, mono=True),
    Column("why", 20),
)


def steps_table(steps: Sequence[Step], caption: str, foot: str = "") -> Table:
    """Steps as a table; differences stand below the step they belong to."""
    rows = tuple(
        Row(
            (
                Cell(step.action, dot(_COLOURS[step.action], step.action)),
                Cell(step.kind),
                Cell(step.name),
                Cell(step.why),
            ),
            "; ".join(step.difference),
        )
        for step in steps
    )
    return Table(caption, _COLUMNS, rows, foot)


class PlanView:
    """What ``Plan.show()`` returns: a text, and HTML where there is a front end for it."""

    def __init__(
        self,
        caption: str,
        steps: Sequence[Step],
        costs: Sequence[str],
        documents: Mapping[str, Mapping[str, Any]],
        warnings: Sequence[str] = (),
    ) -> None:
        self._table = steps_table(steps, caption)
        self._costs = tuple(costs)
        self._documents = dict(documents)
        self._warnings = tuple(warnings)

    def __str__(self) -> str:
        lines = [self._table.text()]
        if self._warnings:
            lines += ["", "To know before:", *(f"  - {each}" for each in self._warnings)]
        if self._costs:
            lines += ["", "What costs money:", *(f"  - {each}" for each in self._costs)]
        if self._documents:
            lines += ["", f"Its policies ({', '.join(self._documents)}) are in .documents."]
        return "\n".join(lines)

    __repr__ = __str__

    def html(self) -> str:
        """The same as one HTML element; the policies are folded."""
        parts = [self._table.html()]
        for title, sentences in (
            ("To know before", self._warnings),
            ("What costs money", self._costs),
        ):
            if sentences:
                items = "".join(f"<li>{escaped(each)}</li>" for each in sentences)
                parts.append(f'<div style="margin-top:6px">{title}:<ul>{items}</ul></div>')
        for title, document in self._documents.items():
            # Line by line: the text of a table's cell would lose its indentation.
            text = "\n".join(
                line[: len(line) - len(line.lstrip())] + escaped(line)
                for line in json.dumps(document, indent=2).splitlines()
            )
            parts.append(
                f'<details><summary style="cursor:pointer">Policy of the {escaped(title)}</summary>'
                f'<pre style="margin:0">{text}</pre></details>'
            )
        return f"<div>{''.join(parts)}</div>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}
