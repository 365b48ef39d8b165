"""What reaches the screen: clean text, in the order and the amount a notebook can take."""

from __future__ import annotations

import io
import itertools
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.notebook import display
from ecs_exec_magic.notebook.display import Cleaner, Screen

from .conftest import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

SGR = re.compile(r"\x1b\[[0-9;:]*m")

pieces_of_terminal = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.text("\x1b[]P0123456789;:?mHJK\\\x07\x9b\x9c\x9d \r\n\b", max_size=8),
        st.sampled_from(
            ["\x1b[31m", "\x1b[0m", "\x1b[2J", "\x1b]0;title\x07", "\x1bP1$r\x1b\\", "\x1b(B"]
        ),
    )
).map("".join)


def cut(text: str, places: list[int]) -> Iterator[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    for start, end in itertools.pairwise(edges):
        yield text[start:end]


@given(pieces_of_terminal, st.lists(st.integers(0, 1000), max_size=6))
@example("\x1b[" + "1;" * 70 + "m" + "x", [3, 60, 90])
@example("\x1b]0;a\x1b\x1b\\b", [5, 6, 7])
def test_pieces_give_what_the_whole_gives(text: str, places: list[int]) -> None:
    whole = Cleaner().feed(text)
    cleaner = Cleaner()
    assert "".join(cleaner.feed(piece) for piece in cut(text, places)) == whole
    bare = SGR.sub("", whole)
    assert not re.search("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]", bare)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_plain_text_is_untouched(text: str) -> None:
    assert Cleaner().feed(text + "\t\r\n\b") == text + "\t\r\n\b"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[38:5:1mred", "\x1b[38:5:1mred"),
        ("\x9b31mred", "\x1b[31mred"),
        ("\x1b[>4;2mno", "no"),
        ("\x1b[2J\x1b[1;1Hhi\x1b[?25l", "hi"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;t\x07a", "a"),
        ("\x1bPq#0\x1b\\a", "a"),
        ("\x1b(Ba\x1b7\x1b8\x1b=", "a"),
        ("a\x07\x00b", "ab"),
        ("10%\r20%", "10%\r20%"),
        ("\x1b\nA", "\nA"),
        ("\x1b[3\nA", "\nA"),
        ("\x1b]never ends", ""),
    ],
)
def test_sequences(raw: str, clean: str) -> None:
    assert Cleaner().feed(raw) == clean


class Recorder(io.StringIO):
    """A stream that remembers what happened to it and its brother, in order."""

    def __init__(self, name: str, log: list[tuple[str, str]]) -> None:
        super().__init__()
        self.name, self.log = name, log

    def write(self, text: str) -> int:
        self.log.append((self.name, text))
        return super().write(text)

    def flush(self) -> None:
        self.log.append((self.name, "FLUSH"))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    log: list[tuple[str, str]] = []
    streams = SimpleNamespace(stdout=Recorder("out", log), stderr=Recorder("err", log))
    monkeypatch.setattr(display, "sys", streams)
    return log


def written(log: list[tuple[str, str]], name: str | None = None) -> str:
    return "".join(text for who, text in log if name in (None, who) and text != "FLUSH")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_characters_cut_anywhere_come_whole(log: list[tuple[str, str]]) -> None:
    screen = Screen()
    for byte in "grün € 🙂\n".encode():
        screen.output(Event("stdout", bytes([byte])))
    screen.output(Event("stderr", b"\xff"))
    screen.output(Event("stdout", b"\xe2\x82"))
    screen.close()
    assert written(log, "out") == "grün € 🙂\n\N{REPLACEMENT CHARACTER}"
    assert written(log, "err") == "\N{REPLACEMENT CHARACTER}"


def test_streams_stay_in_order(log: list[tuple[str, str]]) -> None:
    screen = Screen(clock=Clock())
    for stream, data in (("stdout", b"1\n"), ("stdout", b"2\n"), ("stderr", b"3\n")):
        screen.output(Event(stream, data))
    screen.output(Event("stdout", b"4\n"))
    assert log == [
        ("out", "1\n"),
        ("out", "2\n"),
        ("out", "FLUSH"),
        ("err", "3\n"),
        ("err", "FLUSH"),
        ("out", "4\n"),
    ]


def test_flushes_are_few_however_often_streams_change(log: list[tuple[str, str]]) -> None:
    clock = Clock()
    screen = Screen(clock=clock)
    for _ in range(1000):
        clock.now += 0.01
        screen.output(Event("stdout", b"a"))
        screen.output(Event("stderr", b"b"))
    flushes = sum(text == "FLUSH" for _, text in log)
    assert 10 <= flushes <= 10 + 5 * clock.now + 1
    assert written(log, "out") == "a" * 1000


def test_a_terminal_is_flushed_always(
    log: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "isatty", lambda self: True)
    screen = Screen()
    screen.output(Event("stdout", b"password: "))
    assert log == [("out", "password: "), ("out", "FLUSH")]
    screen.notice("waiting")
    assert written(log, "err") == "\nwaiting\n"


def test_large_output_shows_its_begin_and_its_end(log: list[tuple[str, str]]) -> None:
    screen = Screen(limit=1000)
    lines = [f"line {number}\n" for number in range(20_000)]
    data = "".join(lines).encode()
    for start in range(0, len(data), 777):
        screen.output(Event("stdout", data[start : start + 777]))
    screen.close()
    shown = written(log, "out").splitlines(keepends=True)
    assert 5000 < len("".join(shown)) < 6000
    gap = next(i for i, line in enumerate(shown) if line != lines[i])
    assert shown[gap:] == lines[len(lines) - (len(shown) - gap) :]
    hidden = len(data) - len("".join(shown))
    notes = written(log, "err").splitlines()
    assert len(notes) == 2
    assert "the rest is kept in the result" in notes[0]
    assert notes[1] == f"… {hidden / 1024:.0f} KiB not shown …"


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab\n", min_size=1, max_size=300)),
        max_size=60,
    )
)
def test_shown_and_hidden_make_the_whole(events: list[tuple[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        log: list[tuple[str, str]] = []
        streams = SimpleNamespace(stdout=Recorder("out", log), stderr=Recorder("err", log))
        patch.setattr(display, "sys", streams)
        screen = Screen(limit=200)
        for stream, text in events:
            screen.output(Event(stream, text.encode()))
        screen.close()
    total = sum(len(text) for _, text in events)
    notes = [text for _, text in log if text.startswith("…")]
    shown = len(written(log)) - sum(map(len, notes))
    if total <= 200:
        assert not notes
        assert shown == total
    else:
        hidden = 0
        if len(notes) == 2:
            amount = re.fullmatch(r"… (\d+) (characters|KiB) not shown …\n", notes[1])
            assert amount is not None
            if amount[2] == "KiB":
                return
            hidden = int(amount[1])
        # a notice may begin a line of its own
        assert 0 <= shown + hidden - total <= 2


def test_a_colour_left_on_is_turned_off(log: list[tuple[str, str]]) -> None:
    screen = Screen()
    screen.output(Event("stdout", b"\x1b[31mred"))
    screen.output(Event("stderr", b"\x1b[31mred\x1b[0m"))
    screen.close()
    assert written(log, "out") == "\x1b[31mred\x1b[0m"
    assert written(log, "err") == "\x1b[31mred\x1b[0m"


def test_a_stream_without_flush_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

    bare = Bare()
    monkeypatch.setattr("sys.stdout", bare)
    screen = Screen()
    screen.output(Event("stdout", b"x"))
    screen.close()
    assert bare.text == "x"
