"""Terraform's language: blocks, values and expressions as text, laid out as ``terraform fmt`` does.

Knows the language. Never knows what is written in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Block", "Expression", "hcl_of", "literal"]

_ESCAPE = re.compile(r"\\.")
_OTHER = {r"\b": r"\u0008", r"\f": r"\u000c"}  # what JSON has and HCL has not
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Expression:
    """What is worked out, as in ``var.region``."""

    text: str


@dataclass(frozen=True)
class Block:
    """A block.

    Attributes:
        head: its type and labels.
        body: attributes by name; a :class:`Block` under a name of its own, which is not written,
            is a block in it.
    """

    head: tuple[str, ...]
    body: dict[str, Any]


def hcl_of(blocks: list[Block]) -> str:
    """Blocks as a file."""
    return "\n".join("".join(f"{line}\n" for line in _block(each)) for each in blocks)


def literal(text: str) -> str:
    """The inside of a quoted string that means this text and nothing else."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    quoted = _ESCAPE.sub(lambda found: _OTHER.get(found[0], found[0]), quoted)
    return quoted.replace("${", "$${").replace("%{", "%%{")


def _block(block: Block) -> list[str]:
    kind, *labels = block.head
    head = " ".join([kind, *(json.dumps(label) for label in labels)])
    body = _body(block.body)
    if not body:
        return [f"{head} {{}}"]
    return [f"{head} {{", *(f"  {line}" if line else "" for line in body), "}"]


def _body(body: dict[str, Any]) -> list[str]:
    """Attributes first, in groups whose signs stand below each other; blocks stand apart."""
    lines: list[str] = []
    short: list[tuple[str, str]] = []

    def close() -> None:
        lines.extend(_aligned(short))
        short.clear()

    for name, value in body.items():
        if isinstance(value, Block):
            close()
            lines += ([""] if lines else []) + _block(value)
            continue
        text = _value(value)
        if len(text) == 1:
            if not short and lines:
                lines.append("")
            short.append((name, text[0]))
            continue
        close()
        lines += ([""] if lines else []) + [f"{name} = {text[0]}", *text[1:]]
    close()
    return lines


def _aligned(pairs: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{name:<{width}} = {text}" for name, text in pairs]


def _value(value: Any) -> list[str]:
    """The lines of a value; the first one stands behind the sign."""
    if isinstance(value, Expression):
        return value.text.split("\n")
    if isinstance(value, bool) or value is None:
        return [json.dumps(value)]
    if isinstance(value, (int, float)):
        return [str(value)]
    if isinstance(value, str):
        return [f'"{literal(value)}"']
    if isinstance(value, dict):
        return _object(value)
    items = [_value(each) for each in value]
    flat = f"[{', '.join(each[0] for each in items)}]"
    if all(len(each) == 1 for each in items) and len(flat) <= 80:
        return [flat]
    lines = ["["]
    for each in items:
        lines += [f"  {line}" if line else "" for line in each[:-1]] + [f"  {each[-1]},"]
    return [*lines, "]"]


def _object(value: dict[str, Any]) -> list[str]:
    if not value:
        return ["{}"]
    names = {name: name if _NAME.fullmatch(name) else f'"{literal(name)}"' for name in value}
    lines = _runs([(names[name], _value(each)) for name, each in value.items()])
    return ["{", *(f"  {line}" if line else "" for line in lines), "}"]


def _runs(members: list[tuple[str, list[str]]]) -> list[str]:
    """Members of an object: one that has several lines ends a group."""
    lines: list[str] = []
    run: list[tuple[str, list[str]]] = []

    def close() -> None:
        width = max((len(name) for name, _ in run), default=0)
        for name, text in run:
            lines.extend([f"{name:<{width}} = {text[0]}", *text[1:]])
        run.clear()

    for name, text in members:
        if len(text) > 1:
            close()
            run.append((name, text))
            close()
        else:
            run.append((name, text))
    close()
    return lines
