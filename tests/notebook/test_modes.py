"""What a program leaves switched on is found, however its output is cut, and undone."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.notebook.modes import Modes

VI = (
    b"\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[1;24r\x1b[?12h"
    b"\x1b[?12l\x1b[22;2t\x1b[22;1t\x1b[27m\x1b[23m\x1b[29m\x1b[m\x1b[H\x1b[2J\x1b[?25l\x1b[24;1H"
    b'"/etc/passwd" 5L, 200B\x1b[2;1H\x1b]11;?\x07\x1b[34h\x1b[?25h\x1b[2 q\x1b[?1000h\x1b[?1006h'
)
LEFT = (
    b"\x1b[>4m\x1b>\x1b7\x1b[r\x1b8\x1b[0 q\x1b[?1l\x1b[?1000l\x1b[?1004l\x1b[?1006l\x1b[?2004l"
    b"\x1b[?1049l"
)
NUMBERS = st.sampled_from([0, 1, 4, 7, 12, 25, 31, 47, 1000, 1006, 1049, 2004, 99999])
SEQUENCES = st.one_of(
    st.builds(lambda n, c: b"\x1b[?%d%c" % (n, c), NUMBERS, st.sampled_from(b"hlrsm")),
    st.builds(
        lambda n, m, c: b"\x1b[%d;%d%c" % (n, m, c), NUMBERS, NUMBERS, st.sampled_from(b"hlrmHJ")
    ),
    st.sampled_from(
        [
            b"\x1b=",
            b"\x1b>",
            b"\x1b(0",
            b"\x1b(B",
            b"\x1b)0",
            b"\x0e",
            b"\x0f",
            b"\x1b[m",
            b"\x1b[r",
        ]
    ),
    st.sampled_from([b"\x1bc", b"\x1b[!p", b"\x1b[>1u", b"\x1b[<u", b"\x1b[<2u", b"\x1b[>4;1m"]),
    st.sampled_from(
        [b"\x1b[4 q", b"\x1b[ q", b"\x1b[4h", b"\x1b[4l", b"\x1b]0;title\x07", b"\x1b"]
    ),
    st.sampled_from([b"text\r\n", "é日".encode(), b"\x1b[", b"\x1b[?", b"\x1b(", b"\xff\x00"]),
)
OUTPUT = st.lists(SEQUENCES, max_size=12).map(b"".join)


def after(*pieces: bytes) -> Modes:
    modes = Modes()
    for piece in pieces:
        modes.feed(piece)
    return modes


def test_an_editor_whose_session_is_lost() -> None:
    modes = after(VI)
    assert modes.other_screen
    assert modes.undo() == LEFT
    assert modes.redo() == (b"\x1b[?1049h\x1b[?1h\x1b[?1000h\x1b[?1004h\x1b[?1006h\x1b[?2004h\x1b=")


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"plain\r\n",
        b"\x1b[31mred\x1b[0m",
        b"\x1b[31mred\x1b[m",
        b"\x1b[?25l...\x1b[?25h",
        b"\x1b[?7l\x1b[?7h",
        b"\x1b[?1049h...\x1b[?1049l",
        b"\x1b[?1000;1006h\x1b[?1000;1006l",
        b"\x1b[3;9r\x1b[r",
        b"\x1b[>1u\x1b[>1u\x1b[<2u",
        b"\x1b[<9u",
        b"\x1b(0lqqk\x1b(B",
        b"\x0e\x0f",
        b"\x1b[>4;2m\x1b[>4;m",
        b"\x1b[>4;2m\x1b[>4m",
        b"\x1b[31m\x1b[?25l\x1b[?1049h\x0e\x1bc",
        b"\x1b[?12h\x1b[?8h\x1b[20h",
        b"\x1b]0;[31m\x07",
        b"\x1b[2J\x1b[H\x1b[6n",
    ],
)
def test_what_is_put_right_again_leaves_nothing_to_undo(output: bytes) -> None:
    assert after(output).undo() == b""


@pytest.mark.parametrize(
    ("output", "undo"),
    [
        (b"\x1b[31mred", b"\x1b[0m"),
        (b"\x1b[0;1m", b"\x1b[0m"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[>1u\x1b[>5u", b"\x1b[<2u"),
        (b"\x1b(0", b"\x1b(B"),
        (b"\xff\x0e\xfe", b"\x0f"),
        (b"\x1b[4h", b"\x1b[4l"),
        (b"\x1b[5 q", b"\x1b[0 q"),
        (b"\x1b[?25l\x1b[38;5", b"\x18\x1b[?25h"),
        (b"\x1b[?25l\x1b]0;tit", b"\x18\x1b[?25h"),
        (b"\x1b(", b"\x18"),
        (b"\x1b[?1049h\x1b[?25l\x1b[!p", b"\x1b[?1049l"),
    ],
)
def test_what_is_left_on_is_undone(output: bytes, undo: bytes) -> None:
    assert after(output).undo() == undo


@given(OUTPUT, st.sets(st.integers(0, 80)))
@example(VI, set(range(len(VI))))
def test_cuts_make_no_difference(output: bytes, cuts: set[int]) -> None:
    ends = sorted({cut for cut in cuts if cut < len(output)} | {len(output)})
    pieces = [output[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert b"".join(pieces) == output
    assert after(*pieces).undo() == after(output).undo()


@given(OUTPUT)
def test_undone_is_undone(output: bytes) -> None:
    modes = after(output)
    modes.feed(modes.undo())
    assert modes.undo() == b""
    assert not modes.other_screen


@given(OUTPUT)
def test_what_is_done_again_is_what_was_undone(output: bytes) -> None:
    modes = after(output)
    again = after(modes.redo())
    assert again.other_screen == modes.other_screen
    assert again.redo() == modes.redo()


@given(st.binary(max_size=400))
def test_nothing_breaks_it(output: bytes) -> None:
    modes = after(output)
    assert isinstance(modes.undo(), bytes)
    assert len(modes._tail) <= 256
