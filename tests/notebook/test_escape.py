"""``~.``, ``~~``, and every other key, however the bytes are cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.notebook.escape import Escapes, Typed

KEYS = st.lists(
    st.sampled_from([b"~", b".", b"\r", b"\n", b"x", b"\x03", b"\xc3\xa9"]), max_size=30
)


def fed(data: bytes, cuts: set[int] = frozenset()) -> tuple[bytes, bool]:  # type: ignore[assignment]
    """What comes out when the bytes are fed in pieces."""
    escapes, out, last = Escapes(), b"", 0
    for cut in sorted({cut for cut in cuts if cut < len(data)} | {len(data)}):
        typed = escapes.feed(data[last:cut])
        out += typed.data
        if typed.end:
            return out, True
        last = cut
    return out, False


@pytest.mark.parametrize(
    ("keys", "out", "end"),
    [
        (b"", b"", False),
        (b"~.", b"", True),
        (b"~.rm -rf\r", b"", True),
        (b"ls\r~.", b"ls\r", True),
        (b"ls\n~.", b"ls\n", True),
        (b"ls ~.\r", b"ls ~.\r", False),
        (b"~~", b"~", False),
        (b"~~.", b"~.", False),
        (b"~~~.", b"~~.", False),
        (b"~", b"", False),
        (b"~/bin/x\r", b"~/bin/x\r", False),
        (b"~\r~.", b"~\r", True),
        (b"cd ~\r~~\r~.", b"cd ~\r~\r", True),
        (b"\x1b[3~.", b"\x1b[3~.", False),
        (b"\x03~.", b"\x03~.", False),
    ],
)
def test_what_keys_come_to(keys: bytes, out: bytes, end: bool) -> None:
    assert fed(keys) == (out, end)
    assert fed(keys, set(range(len(keys)))) == (out, end)


@given(KEYS, st.sets(st.integers(0, 60)))
def test_it_is_the_rule_of_one_expression(keys: list[bytes], cuts: set[int]) -> None:
    data = b"".join(keys)
    # One look behind for the beginning of a line, from left to right, each tilde used once.
    rule = re.compile(rb"(?:(?<=[\r\n])|\A)~(.|\Z)", re.DOTALL)
    expected, at, end = b"", 0, False
    while found := rule.search(data, at):
        expected += data[at : found.start()]
        if found[1] == b".":
            at, end = len(data), True
            break
        if not found[1]:
            at = len(data)
            break
        expected += b"~" if found[1] == b"~" else b"~" + found[1]
        at = found.end()
    expected += data[at:]
    assert fed(data, cuts) == (expected, end)


@given(st.binary().filter(lambda data: b"~" not in data))
def test_without_a_tilde_nothing_changes(data: bytes) -> None:
    assert Escapes().feed(data) == Typed(data)
