"""A report of recorded runs, for a post-mortem: Markdown or one HTML file.

Knows what readers of such a report look for. Never knows where the records come from, and takes
nothing in them for markup.
"""

from __future__ import annotations

import html as markup
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .. import __version__
from .excerpt import Excerpt, excerpt, plain
from .record_views import command_text, duration_text, facts, one_line, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..journal import Record

__all__ = ["Report", "html", "markdown"]

SHOWN_LINES = 60
"""Lines of one output in a report; of longer ones it has the first and the last."""

_STREAMS = ("stdout", "stderr")
_MARKS = {"good": "✓", "bad": "✗", "open": "…"}
_TOLD = {"when", "target", "secrets", "error", "cause"}
_OFTEN_COMMON = {"user", "notebook", "process"}


@dataclass(frozen=True)
class Report:
    """Runs, and what there is to say about all of them.

    Attributes:
        made: when the report was.
        common: circumstances of every run.
    """

    title: str
    records: Sequence[Record]
    made: datetime
    common: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, records: Sequence[Record], title: str = "") -> Report:
        """A report of these runs, which are at least one.

        Args:
            title: its headline; else one that says what it has.
        """
        ordered = sorted(records, key=lambda record: record.started)
        if not title:
            places = _distinct(plain(record.where) for record in ordered)
            where = places[0] if len(places) == 1 else f"{len(places)} targets"
            day = f"{ordered[0].started:%Y-%m-%d}"
            runs = "1 command" if len(ordered) == 1 else f"{len(ordered)} commands"
            title = f"{runs} in {where}, {day}" if places else f"{runs}, {day}"
        common = frozenset.intersection(*(frozenset(facts(record)) for record in ordered))
        told = frozenset(pair for pair in common if pair[0] in _OFTEN_COMMON)
        return cls(" ".join(plain(title).split()), ordered, datetime.now(timezone.utc), told)

    @property
    def counts(self) -> dict[str, int]:
        """How many runs succeeded, failed, and are not known to have ended."""
        states = [state_of(record) for record in self.records]
        return {state: states.count(state) for state in _MARKS}

    def clock(self, record: Record) -> str:
        """When a run began: with the day, if the report has several."""
        days = {each.started.date() for each in (self.records[0], self.records[-1])}
        return (
            f"{record.started:%Y-%m-%d %H:%M:%S}" if len(days) > 1 else f"{record.started:%H:%M:%S}"
        )

    def summary(self) -> list[tuple[str, list[str], bool]]:
        """Who, where and when: names, what is said of them, and whether that is code."""
        records = self.records
        begin = records[0].started
        end = max((record.ended or record.started) for record in records)
        same_day = begin.date() == end.date()
        until = f"{end:%H:%M:%S}" if same_day else f"{end:%Y-%m-%d %H:%M:%S}"
        counts = self.counts
        outcomes = [
            f"{counts[state]} {words}"
            for state, words in (("good", "succeeded"), ("bad", "failed"), ("open", "open"))
            if counts[state]
        ]
        accounts = _distinct(_account(record) for record in records)
        exact = sum(record.exact for record in records)
        masked = sum(record.masked for record in records)
        found = [
            ("When", [f"{begin:%Y-%m-%d %H:%M:%S} to {until} UTC"], False),
            ("Runs", [", ".join(outcomes)], False),
            ("Where", _distinct(plain(record.where) for record in records), True),
            ("Account", accounts, False),
            ("Who", _distinct(plain(record.identity) for record in records), True),
            ("Notebook", _distinct(plain(record.notebook) for record in records), True),
            (
                "Proof",
                [f"{exact} of {len(records)} outputs are exact by both ends' checksums"],
                False,
            ),
            ("Secrets", [f"{masked} masked"] if masked else [], False),
        ]
        return [(name, values, code) for name, values, code in found if values]


def _account(record: Record) -> str:
    if record.target is None:
        return ""
    account = re.match(r"arn:[^:]*:ecs:[^:]*:(\d+):", record.target.task_arn)
    return plain(f"{account[1]}, {record.target.region}" if account else record.target.region)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _outputs(record: Record) -> list[tuple[str, Excerpt | None]]:
    """What was printed, stream by stream; None for what cannot be read any more."""
    found: list[tuple[str, Excerpt | None]] = []
    for name in _STREAMS:
        stored = getattr(record, name)
        if stored.size:
            try:
                cut = excerpt(record.output(name), SHOWN_LINES)
            except OSError:
                found.append((name, None))
            else:
                found.append((name, cut if cut.size else None))
    return found


def _hidden(record: Record, cut: Excerpt) -> str:
    return f"{cut.hidden} lines hidden; run {record.number} of the record has all {cut.lines}"


def _said(record: Record) -> str:
    """What the run ended with, in words, beyond its outcome."""
    if record.error == "CommandFailed" and record.exit_code is not None:
        return plain(record.cause)
    said = f"{record.error}: {record.message}" if record.message else record.error
    said += f" ({record.cause})" if record.cause else ""
    return plain("" if record.interrupted else said)


def _details(report: Report, record: Record) -> list[tuple[str, str]]:
    """Circumstances of this run that are not those of all."""
    return [pair for pair in facts(record) if pair[0] not in _TOLD and pair not in report.common]


# -- Markdown ------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The report as Markdown, as GitHub and JupyterLab show it."""
    parts = [f"# {_prose(report.title)}", _markdown_summary(report), "## Timeline"]
    parts.append(
        "\n".join([*_TABLE_HEAD, *(_markdown_row(report, each) for each in report.records)])
    )
    for record in report.records:
        parts += _markdown_run(report, record)
    parts.append(f"Made {report.made:%Y-%m-%d %H:%M} UTC by ecs-exec-magic {__version__}.")
    return "\n\n".join(parts) + "\n"


_TABLE_HEAD = ["| run | UTC | target | command | outcome | took |", "|--:|---|---|---|---|--:|"]


def _markdown_row(report: Report, record: Record) -> str:
    return (
        f"| [{record.number}](#run-{record.number}) | {report.clock(record)} "
        f"| {_code(plain(record.where), table=True)} | {_code(one_line(record, 60), table=True)} "
        f"| {_MARKS[state_of(record)]} {_prose(record.outcome)} | {duration_text(record)} |"
    )


def _markdown_summary(report: Report) -> str:
    rows = ["| | |", "|---|---|"]
    for name, values, is_code in report.summary():
        cells = [_code(value, table=True) if is_code else _prose(value) for value in values]
        rows.append(f"| **{name}** | {'<br>'.join(cells)} |")
    return "\n".join(rows)


def _markdown_run(report: Report, record: Record) -> list[str]:
    mark = _MARKS[state_of(record)]
    took = f", {duration_text(record)}" if record.ended else ""
    parts = [
        f"### Run {record.number}",
        f"{mark} **{_prose(record.outcome)}** at {report.clock(record)} UTC{took}"
        + (f", in {_code(plain(record.where))}" if record.where else ""),
        _fenced(plain(command_text(record)), "sh" if not record.interpreter else ""),
    ]
    if said := _said(record):
        parts.append(f"> {_prose(said)}")
    for name, cut in _outputs(record):
        if cut is None:
            parts.append(f"{name}: it was not stored, or cannot be read any more")
            continue
        parts += [f"{name}:", _fenced(cut.head)]
        if cut.tail:
            parts += [f"*… {_hidden(record, cut)} …*", _fenced(cut.tail)]
    lines = [f"- {name}: {_code(value)}" for name, value in _details(report, record)]
    return [*parts, "\n".join(lines)]


def _fenced(text: str, language: str = "") -> str:
    """A block that nothing in it can end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}"


def _code(text: str, *, table: bool = False) -> str:
    """A span of code that nothing in it can end."""
    text = " ".join(text.split())
    if not text:
        return ""
    if table and "\\|" in text:
        return _prose(text)  # readers of Markdown differ on these within code
    longest = max(map(len, re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if text[0] == "`" or text[-1] == "`" else ""
    # In a table a bar ends the cell, wherever it stands.
    inner = text.replace("|", "\\|") if table else text
    return f"{ticks}{space}{inner}{space}{ticks}"


_MARKUP = re.compile(r"([\\`*_\[\]<>|~&])")


def _prose(text: str) -> str:
    """Words that are no markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


# -- HTML ----------------------------------------------------------------------------------------


def html(report: Report) -> str:
    """The report as one HTML file that needs nothing else, light or dark as its reader likes."""
    title = markup.escape(report.title)
    summary = "".join(
        f"<dt>{name}</dt><dd>{'<br>'.join(_html_value(value, code) for value in values)}</dd>"
        for name, values, code in report.summary()
    )
    rows = "".join(_html_row(report, record) for record in report.records)
    runs = "".join(_html_run(report, record) for record in report.records)
    counts = report.counts
    bar = "".join(
        f'<i class="{state}" style="flex:{count}"></i>' for state, count in counts.items() if count
    )
    made = f"Made {report.made:%Y-%m-%d %H:%M} UTC by ecs-exec-magic {__version__}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
        f'<div class="bar">{bar}</div>\n<dl>{summary}</dl>\n</header>\n'
        f'<table>\n<thead><tr><th class="n">run</th><th>UTC</th><th>target</th><th>command</th>'
        f'<th>outcome</th><th class="n">took</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n'
        f"{runs}<footer>{made}</footer>\n</body>\n</html>\n"
    )


def _html_value(value: str, is_code: bool) -> str:
    value = markup.escape(value)
    return f"<code>{value}</code>" if is_code else value


def _html_row(report: Report, record: Record) -> str:
    state = state_of(record)
    return (
        f'<tr><td class="n"><a href="#run-{record.number}">{record.number}</a></td>'
        f"<td>{report.clock(record)}</td><td>{markup.escape(plain(record.where))}</td>"
        f"<td><code>{markup.escape(one_line(record, 80))}</code></td>"
        f'<td class="{state}">{_MARKS[state]} {markup.escape(record.outcome)}</td>'
        f'<td class="n">{duration_text(record)}</td></tr>\n'
    )


def _html_run(report: Report, record: Record) -> str:
    state = state_of(record)
    took = f" · {duration_text(record)}" if record.ended else ""
    blocks = [f'<pre class="command">{markup.escape(plain(command_text(record)))}</pre>']
    if said := _said(record):
        blocks.append(f'<p class="{state}">{markup.escape(said)}</p>')
    for name, cut in _outputs(record):
        if cut is None:
            blocks.append(f"<h3>{name}</h3><p>It was not stored, or cannot be read any more.</p>")
            continue
        text = markup.escape(cut.head)
        if cut.tail:
            note = markup.escape(_hidden(record, cut))
            text = f'{text}<span class="cut">… {note} …</span>\n{markup.escape(cut.tail)}'
        blocks.append(f"<h3>{name}</h3><pre>{text}</pre>")
    details = "".join(
        f"<dt>{name}</dt><dd><code>{markup.escape(value)}</code></dd>"
        for name, value in _details(report, record)
    )
    return (
        f'<section id="run-{record.number}" class="{state}">\n'
        f"<h2><b>{_MARKS[state]}</b> Run {record.number} "
        f"<small>{markup.escape(record.outcome)} · {report.clock(record)} UTC{took} · "
        f"{markup.escape(plain(record.where))}</small></h2>\n"
        f"{''.join(blocks)}\n<details><summary>Circumstances</summary><dl>{details}</dl></details>\n"
        "</section>\n"
    )


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --paper: #fff; --soft: #5c6670; --line: #d8dee4;
  --block: #f5f7f9; --good: #1a7f37; --bad: #cf222e; --open: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe4ea; --paper: #14181d; --soft: #93a0ad;
  --line: #313941; --block: #1d232a; --good: #4ac26b; --bad: #ff7b72; --open: #d9a72c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 2.5rem 1.5rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: .8rem 0 .2rem; }
small { font-size: .85rem; font-weight: 400; color: var(--soft); margin-left: .4rem; }
code, pre { font: .85rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { margin: 0; padding: .6rem .8rem; background: var(--block); border-radius: 6px;
  overflow-x: auto; tab-size: 8; }
pre.command { border: 1px solid var(--line); background: none; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.cut { display: inline-block; padding: .1rem 0; color: var(--soft); font-style: italic; }
.bar { display: flex; gap: 2px; height: 6px; border-radius: 3px; overflow: hidden; }
.bar i.good { background: var(--good); } .bar i.bad { background: var(--bad); }
.bar i.open { background: var(--open); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; margin: 1.5rem 0 2.5rem; font-size: .9rem; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td:nth-child(2), .n { white-space: nowrap; font-variant-numeric: tabular-nums; }
.n { text-align: right; }
td.good, p.good, section.good > h2 b { color: var(--good); }
td.bad, p.bad, section.bad > h2 b { color: var(--bad); }
td.open, p.open, section.open > h2 b { color: var(--open); }
p { margin: .5rem 0; overflow-wrap: anywhere; }
a { color: inherit; }
section { margin: 0 0 2rem; padding: 0 0 0 1rem; border-left: 3px solid var(--line); }
section.good { border-color: var(--good); } section.bad { border-color: var(--bad); }
section.open { border-color: var(--open); }
details { margin-top: .6rem; font-size: .9rem; } summary { color: var(--soft); cursor: pointer; }
footer { color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; padding: 0; } pre { white-space: pre-wrap; } }
"""
