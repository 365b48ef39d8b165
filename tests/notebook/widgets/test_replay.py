"""Where a stream is cut: never in a character or a control sequence."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ecs_exec_magic.notebook.widgets.replay import ScreenModes

WHOLE = [
    b"a",
    b"text",
    b"\r\n",
    "é".encode(),
    "漢字".encode(),
    "🐙".encode(),
    b"\x1b[1;31m",
    b"\x1b[?1049h",
    b"\x1b[?1;2004h",
    b"\x1b[12;40H",
    b"\x1b]0;a title\x07",
    b"\x1b]8;;http://x\x1b\\",
    b"\x1bP$qm\x1b\\",
    b"\x1b(0",
    b"\x1b7",
    b"\x1b=",
]


@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=60), st.data())
def test_cuts_lie_between_what_is_whole(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    wanted = data.draw(st.integers(0, len(stream)))
    cut = ScreenModes().pass_over(stream, wanted)
    borders, at = {0}, 0
    for part in parts:
        # Between two letters, or the two bytes of a line's end, is as good as between two parts.
        borders |= set(range(at, at + len(part))) if part in (b"text", b"\r\n") else {at}
        if part == "漢字".encode():
            borders.add(at + 3)
        at += len(part)
        borders.add(at)
    assert cut in borders
    assert wanted <= cut


@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=60), st.data())
def test_modes_do_not_depend_on_where_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    all_at_once, piecewise = ScreenModes(), ScreenModes()
    all_at_once.follow(stream)
    cut = piecewise.pass_over(stream, data.draw(st.integers(0, len(stream))))
    # What stands between the wanted place and the line's end holds no sequences.
    piecewise.follow(stream[cut:])
    assert piecewise == all_at_once


def test_a_line_that_ends_soon_is_passed_over() -> None:
    assert ScreenModes().pass_over(b"abc def\nghi", 4) == 8
    assert ScreenModes().pass_over(b"abc d\x1b[mef\nghi", 4) == 4  # it would miss a sequence
    assert ScreenModes().pass_over(b"x" * 5000, 4) == 4


@pytest.mark.parametrize("reset", [b"\x1bc", b"\x1b[!p"])
def test_resets(reset: bytes) -> None:
    modes = ScreenModes()
    modes.follow(b"\x1b[?2004h\x1b[?1049h\x1b(0\x1b=" + reset)
    assert not modes.keypad
    assert not modes.drawing
    assert "2004" not in modes.private
    assert modes.alternate == (reset == b"\x1b[!p")  # a soft one stays on its screen


@pytest.mark.parametrize(
    "evil", [b"\x1b]" * 150_000, b"\x1b]" + b"x" * 300_000, b"\x1b[" + b"1" * 300_000]
)
def test_sequences_without_end_cost_no_more_than_others(evil: bytes) -> None:
    # Read again and again from each escape, these would take minutes.
    assert ScreenModes().pass_over(evil, len(evil)) == len(evil)
