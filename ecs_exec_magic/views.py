"""How a command's result looks in a notebook: HTML that needs no script and fits any theme.

Knows finished results. Never knows IPython.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture import Capture
    from .results import CommandResult

from .cleaning import plain
from .masking import mask

__all__ = ["json_tree", "parse_json", "result_html", "short_address", "size"]

_SHOWN_LINES = 30
_JSON_BYTES = 512 * 1024
_TREE_NODES = 2000
_OPEN_ITEMS = 20
"""Entries up to which a branch of a tree is shown unfolded."""

_TASK_ID = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24}\b")

# Colours carry over to light and dark themes because they only tint what is there.
GOOD, BAD = "#388e3c", "#d32f2f"
_KEY, _TEXT, _OTHER = "#4078c0", "#388e3c", "#b26a00"


def result_html(result: CommandResult) -> str:
    """One line of outcome and circumstances; the streams are folded into it, JSON is a tree."""
    where = str(result.target) if result.target else ""
    head = (
        f'<span style="color:{GOOD if result.ok else BAD};font-weight:bold">'
        f"{'✓' if result.ok else '✗'}</span> "
        f"<code>{html.escape(result._one_line())}</code> {html.escape(result._outcome())} "
        f'<span style="opacity:.65;font-size:85%" title="{html.escape(where)}">'
        f"{html.escape(short_address(where))}</span>"
    )
    streams = (("stdout", result.captured_stdout), ("stderr", result.captured_stderr))
    blocks = "".join(_stream(name, capture) for name, capture in streams if len(capture))
    if blocks:
        head = f'<details><summary style="cursor:pointer">{head}</summary>{blocks}</details>'
    # JSON may hold half of a pair of surrogates, which no message can carry.
    return f"<div>{head}{_json_of(result)}</div>".encode("utf-8", "replace").decode()


def short_address(address: str) -> str:
    """An address whose task id is cut to eight characters, which still name it."""
    return _TASK_ID.sub(lambda match: f"{match[1]}…", address)


def _stream(name: str, capture: Capture) -> str:
    data = capture.last_lines(_SHOWN_LINES, at_most=8192)
    text = mask(plain(data.decode("utf-8", "replace"))).text
    hidden = len(capture) - len(data)
    note = f", last {size(len(data))} of {size(len(capture))}" if hidden else ""
    return (
        f'<div style="padding-left:1.2em"><div style="opacity:.65;font-size:85%">{name}{note}</div>'
        f'<pre style="margin:0">{html.escape(text)}</pre></div>'
    )


def _json_of(result: CommandResult) -> str:
    """A tree of the JSON in stdout; nothing when there is none."""
    if not 2 <= len(result.captured_stdout) <= _JSON_BYTES:
        return ""
    if result.captured_stdout.read(0, 64).lstrip()[:1] not in (b"{", b"["):
        return ""
    try:
        value = parse_json(mask(result.stdout).text)
    except (ValueError, RecursionError):
        return ""
    return json_tree(value) if isinstance(value, (dict, list)) and value else ""


def json_tree(value: Any) -> str:
    """A value as nested lists that fold; what is beyond :data:`_TREE_NODES` is counted only."""
    budget = [_TREE_NODES]
    tree = _branch("", value, budget, depth=0)
    left = "" if budget[0] >= 0 else "<div><i>… more than fits here; .json() has it all</i></div>"
    return f'<div style="font-family:monospace;font-size:90%;margin:.3em 0">{tree}{left}</div>'


def _branch(label: str, value: Any, budget: list[int], depth: int) -> str:
    budget[0] -= 1
    if budget[0] < 0:
        return ""
    if not isinstance(value, (dict, list)) or not value or depth > 50:
        shown = "…" if depth > 50 else json.dumps(value, ensure_ascii=False)
        colour = _TEXT if isinstance(value, str) else _OTHER
        shown = shown if len(shown) <= 500 else f"{shown[:500]}…"
        leaf = f'<span style="color:{colour}">{html.escape(shown)}</span>'
        return f'<div style="padding-left:1em">{label}{leaf}</div>'
    is_dict = isinstance(value, dict)
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    inside = ""
    for key, each in items:
        name = f'<span style="color:{_KEY}">{html.escape(str(key))}</span>: '
        inside += _branch(name, each, budget, depth + 1)
    noun = "key" if is_dict else "item"
    count = f"{len(value)} {noun}{'' if len(value) == 1 else 's'}"
    brackets = "{}" if is_dict else "[]"
    summary = f'{label}{brackets[0]}<span style="opacity:.65">{count}</span>{brackets[1]}'
    is_open = " open" if depth < 2 and len(value) <= _OPEN_ITEMS else ""
    return (
        f'<details style="padding-left:1em"{is_open}>'
        f'<summary style="cursor:pointer">{summary}</summary>{inside}</details>'
    )


def parse_json(text: str) -> Any:
    """Read JSON: one value, or a list of them when there is one on each line.

    Raises:
        ValueError: it is neither.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2:
            raise
        return [json.loads(line) for line in lines]


def size(count: int) -> str:
    """A number of bytes for people, as in ``12.0 KiB``."""
    if count < 1024:
        return f"{count} B"
    amount = count / 1024
    for unit in ("KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
