"""Policies to read and to hand on, and what IAM says somebody can do.

Knows how documents and verdicts look. Never knows AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from .tables import Cell, Column, Row, Table, dot, escaped

if TYPE_CHECKING:
    from .aws.policies import Draft
    from .aws.simulation import Verdict

__all__ = ["PolicyDocument", "Simulation"]

_TOKEN = re.compile(r'(?P<key>"(?:[^"\\]|\\.)*")(?=:)|(?P<text>"(?:[^"\\]|\\.)*")')
_LONG_ID = re.compile(r"\b([0-9a-f]{8})(?:[0-9a-f]{24}|(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
# Mid-tones, which stand out from white and from black alike.
_KEY, _TEXT = "#4078c0", "#2e9e5b"


class PolicyDocument(Mapping[str, Any]):
    """A policy: a mapping as IAM takes it, with what each statement is for.

    Attributes:
        kind: ``operator``, ``task-role`` or ``deny-start-session``.
        target: what it is for.
        notes: sentences by the Sid of a statement.
        remarks: sentences about all of it.
    """

    def __init__(self, draft: Draft, target: str) -> None:
        self.kind = draft.kind
        self.target = target
        self.notes = dict(draft.notes)
        self.remarks = draft.remarks
        self._document = draft.document

    def __getitem__(self, name: str) -> Any:
        return self._document[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __len__(self) -> int:
        return len(self._document)

    def json(self, indent: int | None = 2) -> str:
        """The document as JSON, ready for IAM.

        Args:
            indent: None: in one line, without blanks.
        """
        separators = (",", ":") if indent is None else None
        return json.dumps(self._document, indent=indent, separators=separators)

    def __str__(self) -> str:
        return self.json()

    def __repr__(self) -> str:
        count = len(self._document["Statement"])
        return f"<PolicyDocument {self.kind} for {self.target}, {count} statements>"

    def text(self) -> str:
        """The document, and the notes below it."""
        lines = [self.json(), ""]
        lines += [f"{sid}: {note}" for sid, note in self.notes.items()]
        lines += [f"- {remark}" for remark in self.remarks]
        return "\n".join(lines).rstrip()

    def html(self) -> str:
        """The same as one HTML element."""
        caption = f"policy {self.kind} for {self.target}"
        lines = "\n".join(map(_coloured, self.json().splitlines()))
        notes = "".join(
            f"<li><code>{escaped(sid)}</code>: {escaped(note)}</li>"
            for sid, note in self.notes.items()
        )
        remarks = "".join(f"<li>{escaped(remark)}</li>" for remark in self.remarks)
        return (
            f'<div style="line-height:1.4"><div style="opacity:.72">{escaped(caption)}</div>'
            f'<pre style="margin:4px 0">{lines}</pre><ul>{notes}{remarks}</ul></div>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self.html()}


def _coloured(line: str) -> str:
    """A line of JSON with colours; its indentation stays."""
    parts, at = [], len(line) - len(line.lstrip())
    parts.append(line[:at])
    for found in _TOKEN.finditer(line):
        colour = _KEY if found["key"] else _TEXT
        parts.append(_spaced(line[at : found.start()]))
        parts.append(f'<span style="color:{colour}">{escaped(found[0])}</span>')
        at = found.end()
    return "".join([*parts, _spaced(line[at:])])


def _spaced(text: str) -> str:
    """Marks between values, with the blanks around them."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


_COLUMNS = (
    Column("answer"),
    Column("action", mono=True),
    Column("on", least=16, mono=True),
    Column("container"),
    Column("by", least=16),
)
_AROUND = "ssm:startsession"
_FOOT = (
    "Session policies and the policies of keys, buckets and endpoints are not looked at; of "
    "organisations only whether they allow it."
)


class Simulation(Sequence["Verdict"]):
    """What somebody can do in a place: IAM's verdicts, action by action.

    Attributes:
        principal: the ARN that was asked about.
        target: the place.
        kind: of the policy whose actions were asked for.
    """

    def __init__(self, verdicts: Sequence[Verdict], principal: str, target: str, kind: str) -> None:
        self._verdicts = tuple(verdicts)
        self.principal = principal
        self.target = target
        self.kind = kind

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, index: int | slice) -> Verdict | Sequence[Verdict]:
        return self._verdicts[index]

    def __len__(self) -> int:
        return len(self._verdicts)

    def __repr__(self) -> str:
        said = f"{len(self.denied)} denied" if self.denied else "all allowed"
        return f"<Simulation of {self.principal} at {self.target}: {said}>"

    @property
    def denied(self) -> tuple[Verdict, ...]:
        """What is wanted and not allowed."""
        return tuple(each for each in self._wanted if not each.allowed)

    @property
    def ok(self) -> bool:
        """Whether all that is wanted is allowed."""
        return not self.denied

    @property
    def around(self) -> bool:
        """Whether sessions can be opened that no ExecuteCommand event tells of."""
        return any(each.allowed and _is_around(each) for each in self._verdicts)

    @property
    def _wanted(self) -> tuple[Verdict, ...]:
        return tuple(each for each in self._verdicts if not _is_around(each))

    def table(self) -> Table:
        """The verdicts as a table; what is denied comes first."""
        ordered = sorted(self._verdicts, key=lambda each: each.allowed != _is_around(each))
        who = self.principal.rpartition(":")[2]
        if self.kind == "deny-start-session":
            said = "sessions around the audit: " + ("possible" if self.around else "denied")
        else:
            said = f"{len(self.denied)} denied" if self.denied else "all allowed"
        return Table(f"{who} at {self.target}: {said}", _COLUMNS, tuple(map(_row, ordered)), _FOOT)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.table().bundle()


def _is_around(verdict: Verdict) -> bool:
    return verdict.question.action.lower() == _AROUND


def _row(verdict: Verdict) -> Row:
    question = verdict.question
    good = verdict.allowed != _is_around(verdict)
    answer = "allowed" if verdict.allowed else "denied"
    container = question.context.get("ecs:container-name", "")
    note = "" if good else verdict.why
    if _is_around(verdict) and verdict.allowed:
        note = "better denied: sessions that it opens are neither logged nor told of by ECS"
    return Row(
        (
            Cell(answer, dot("good" if good else "bad", answer)),
            Cell(question.action),
            Cell(_short(question.resource), title=question.resource),
            Cell(container if isinstance(container, str) else ", ".join(container)),
            Cell(", ".join(verdict.by)),
        ),
        note,
    )


def _short(resource: str) -> str:
    """An ARN without partition, region and account; of long ids the beginning."""
    parts = resource.split(":", 5)
    name = parts[5] if len(parts) == 6 else resource
    return _LONG_ID.sub(lambda found: f"{found[1]}…", name)
