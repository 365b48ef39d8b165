"""``%ecs_history``: what was run from this notebook's directory, and what came of it.

Knows how runs are looked up, re-opened and reported. Never knows how they are recorded.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..errors import InvalidRequest
from .options import Command, Option, variable_name
from .record_views import KeptResult, Records
from .selection import Selection, numbered, since
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..journal import Record
    from .options import Parsed
    from .workspace import Workspace

__all__ = ["EcsHistory"]

_NEWEST = 20
_FORMATS = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number of runs; 0 means all")
    return int(text)


def _report_path(text: str) -> Path:
    path = Path(text).expanduser()
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(f"{text!r} does not end with .md or .html")
    return path


_AMONG_MANY = (
    Option(("--failed",), "failed", "only runs that did not succeed"),
    Option(
        ("-t", "--target"),
        "target",
        "only runs in targets of this name, a part of it, or a pattern with *",
        "PATTERN",
    ),
    Option(("--grep",), "grep", "only runs with TEXT in the command or its output", "TEXT"),
    Option(("--since",), "since", "only runs since 2h, 3d, 10:30, today or 2026-11-27", "T", since),
    Option(("-n", "--newest"), "newest", f"so many; 0: all; default {_NEWEST}", "N", _count),
    Option(("--all-notebooks",), "all", "those of other notebooks in this directory, too"),
)

HISTORY_LINE = Command(
    "%ecs_history",
    "[RUN]...",
    "List the recorded runs, re-open one, or write a report of them.",
    (
        *_AMONG_MANY,
        Option(("-o", "--out"), "out", "keep what is returned as NAME", "NAME", variable_name),
        Option(
            ("--export",), "export", "write a report: FILE.md or FILE.html", "FILE", _report_path
        ),
        Option(("--title",), "title", "headline of the report", "TEXT"),
        Option(("--force",), "force", "overwrite the file of the report"),
    ),
    """
    RUN is a number of the list, as in 12, 12-20 or `last`, or the begin of an id. One of them
    re-opens that run: it is shown whole, and returned as a CommandResult, so that
    `r = %ecs_history 12` goes on with what it printed. Several, or none, give the list of runs.

    Every run is recorded before it starts and again when it has ended, in .ecs-exec/ of the
    directory in which the extension was loaded (`%config EcsExec.history` names another, '' turns
    it off), readable by you alone. What looks like a secret is masked in it, so a re-opened result
    is exact only where nothing was.
    """,
    takes_words=True,
)


@magics_class
class EcsHistory(EcsMagics):
    """The record of all runs."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @HISTORY_LINE.document
    def ecs_history(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        parsed = HISTORY_LINE.parse(line, self._workspace.expander(local_ns))
        if parsed.help:
            sys.stdout.write(HISTORY_LINE.help())
            return None
        if (parsed["title"] or parsed["force"]) and not parsed["export"]:
            raise HISTORY_LINE.error("--title and --force belong to --export FILE")
        journal = self._workspace.journal()
        if journal is None:
            raise InvalidRequest(
                "no runs are recorded: the setting `history` is empty",
                cure="%config EcsExec.history = '.ecs-exec' records them from now on",
            )
        records = journal.read()
        if parsed["export"]:
            return self._export(parsed, records)
        words = parsed.words
        value: Any
        if len(words) == 1 and "-" not in words[0]:
            given = [each.name for each in _AMONG_MANY if parsed[each.dest] not in (None, False)]
            if given:
                raise HISTORY_LINE.error(f"{given[0]} chooses among runs, and {words[0]} is one")
            value = KeptResult.of(numbered(records, words)[0])
        else:
            value = self._listed(parsed, records, _NEWEST)
            if not records:
                value.note = f"no runs are recorded yet in {journal.directory}"
        if parsed["out"]:
            self._workspace.variables[parsed["out"]] = value
        return value

    def _listed(self, parsed: Parsed, records: list[Record], newest: int) -> Records:
        """The runs that a line means, and a note on those that it leaves out."""
        if parsed.words:
            records, notebook, newest = numbered(records, parsed.words), "", 0
        else:
            notebook = "" if parsed["all"] else self._workspace.notebook
        asked = Selection(
            failed=parsed["failed"],
            target=parsed["target"] or "",
            grep=parsed["grep"] or "",
            since=parsed["since"],
        )
        matching = [record for record in records if asked.matches(record)]
        ours = [record for record in matching if Selection(notebook=notebook).matches(record)]
        newest = newest if parsed["newest"] is None else parsed["newest"]
        shown = ours[-newest:] if newest else ours
        notes = []
        if not matching:
            notes.append(f"none of {len(records)} recorded runs matches")
        if len(shown) < len(ours):
            notes.append(f"the newest {len(shown)} of {len(ours)}; -n 0 shows all")
        if len(ours) < len(matching):
            others = len(matching) - len(ours)
            notes.append(f"{others} more of other notebooks; --all-notebooks shows them")
        return Records(shown, "; ".join(notes))

    def _export(self, parsed: Parsed, records: list[Record]) -> None:
        from . import report

        path: Path = parsed["export"]
        chosen = self._listed(parsed, records, 0)
        if not chosen:
            raise InvalidRequest(f"nothing to report: {chosen.note or 'no runs are recorded'}")
        render = getattr(report, _FORMATS[path.suffix.lower()])
        text = render(report.Report.of(chosen, parsed["title"] or ""))
        try:
            with path.open("w" if parsed["force"] else "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            raise InvalidRequest(
                f"{path} is there already", cure="--force overwrites it, or name another"
            ) from None
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be written: {error.strerror}") from None
        if parsed["out"]:
            self._workspace.variables[parsed["out"]] = chosen
        note = f"; {chosen.note}" if chosen.note else ""
        sys.stdout.write(f"{path}: {len(chosen)} run{'s' * (len(chosen) > 1)}{note}\n")
