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

from ecs_exec_magic.cleaning import Cleaner
from ecs_exec_magic.masking import Masker
from ecs_exec_magic.notebook import display
from ecs_exec_magic.notebook.display import Fold, Screen

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
        ("\x1b]0;never ends\nnext line", "\nnext line"),
        ("He said “ok\xe2\x80\x9d fine\nmore", "He said “ok\xe2 fine\nmore"),
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


def messages(log: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What a kernel would send: what was written to a stream up to its flush."""
    sent, held = [], {"out": "", "err": ""}
    for who, text in log:
        if text != "FLUSH":
            held[who] += text
        elif held[who]:
            sent.append((who, held[who]))
            held[who] = ""
    assert not any(held.values()), "all is flushed, or the order of streams would be lost"
    return sent


def test_streams_stay_in_order(log: list[tuple[str, str]]) -> None:
    clock = Clock()
    screen = Screen(clock=clock)
    for stream, data in (("stdout", b"1\n"), ("stdout", b"2\n"), ("stderr", b"3\n")):
        screen.output(Event(stream, data))
    screen.output(Event("stdout", b"4\n"))
    screen.output(Event("stderr", b"5\n"))
    assert len(messages(log)) == 3, "the first are shown at once"
    clock.now += 1
    screen.tick()
    screen.close()
    assert written(log) == "1\n2\n3\n4\n5\n"
    assert messages(log)[-2:] == [("out", "4\n"), ("err", "5\n")]


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr", "tick"]), st.sampled_from([0, 0.01, 0.3])),
        max_size=300,
    )
)
def test_messages_are_few_whatever_comes(events: list[tuple[str, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        log: list[tuple[str, str]] = []
        streams = SimpleNamespace(stdout=Recorder("out", log), stderr=Recorder("err", log))
        patch.setattr(display, "sys", streams)
        clock = Clock()
        times: list[float] = []
        screen = Screen(clock=clock)
        for stream, pause in events:
            clock.now += pause
            if stream == "tick":
                screen.tick()
            else:
                screen.output(Event(stream, b"x"))
            times += [clock.now] * (len(messages(log)) - len(times))
        screen.close()
        times += [clock.now] * (len(messages(log)) - len(times))
    for start in times:
        assert sum(start <= each < start + 1 for each in times) <= 9
    for name, who in (("stdout", "out"), ("stderr", "err")):
        assert len(written(log, who)) == sum(each == name for each, _ in events)


def test_what_waits_for_its_turn_is_shown_by_a_tick(log: list[tuple[str, str]]) -> None:
    clock = Clock()
    screen = Screen(clock=clock)
    for number in range(6):
        screen.output(Event(("stdout", "stderr")[number % 2], b"%d" % number))
    assert written(log) == "012"
    for _ in range(10):
        clock.now += 0.1
        screen.tick()
    assert written(log) == "012345"


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
    folds: list[Fold] = []
    screen = Screen(limit=1000, on_fold=folds.append)
    lines = [f"line {number}\n" for number in range(20_000)]
    data = "".join(lines).encode()
    for start in range(0, len(data), 777):
        screen.output(Event("stdout", data[start : start + 777]))
    assert screen.folding
    assert screen.last_line == "line 19999"
    assert screen.received == len(data)
    screen.close()
    shown = written(log, "out").splitlines(keepends=True)
    head = next(i for i, line in enumerate(shown) if line != lines[i])
    assert shown[head:] == lines[-20:]
    assert len("".join(shown[:head])) <= 1000
    (fold,) = folds
    assert fold.lines == 20_000 - head - 20
    assert fold.chars == len(data) - len("".join(shown))
    assert fold.text == "".join(lines[head:-20])[: 64 * 1024]
    assert str(fold).startswith(f"{fold.lines:,} lines folded (")


def test_each_stream_has_its_lines(log: list[tuple[str, str]]) -> None:
    folds: list[Fold] = []
    screen = Screen(lines=10, on_fold=folds.append)
    for number in range(100):
        screen.output(Event("stderr", b"%d\n" % number))
    assert screen.folding
    screen.output(Event("stdout", b"is shown all the same\n"))
    screen.close()
    assert written(log, "out") == "is shown all the same\n"
    assert list(map(int, written(log, "err").split())) == [*range(10), *range(80, 100)]
    assert [(fold.stream, fold.lines, len(fold.text.split())) for fold in folds] == [
        ("stderr", 70, 70)
    ]
    assert str(folds[0]).startswith("70 lines of stderr folded (")


def test_without_a_place_for_folds_a_line_tells_of_them(log: list[tuple[str, str]]) -> None:
    screen = Screen(lines=1)
    screen.output(Event("stdout", b"a\n" * 100))
    screen.close()
    assert "… 79 lines folded (158 B); the result has it all …\n" in written(log, "err")


def test_what_fits_the_tail_is_not_folded(log: list[tuple[str, str]]) -> None:
    screen = Screen(lines=10)
    screen.output(Event("stdout", b"a\n" * 30))
    screen.close()
    assert written(log) == "a\n" * 30


def test_an_endless_line_is_folded_too(log: list[tuple[str, str]]) -> None:
    folds: list[Fold] = []
    screen = Screen(limit=100, on_fold=folds.append)
    for _ in range(1000):
        screen.output(Event("stdout", b"x" * 100))
    screen.close()
    shown = len(written(log, "out"))
    assert 3900 < shown - 100 <= 4096
    assert [(fold.lines, fold.chars) for fold in folds] == [(0, 100_000 - shown)]


@given(st.integers(1, 60), st.integers(0, 3))
def test_no_cut_breaks_a_colour(limit: int, lines: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        log: list[tuple[str, str]] = []
        streams = SimpleNamespace(stdout=Recorder("out", log), stderr=Recorder("err", log))
        patch.setattr(display, "sys", streams)
        screen = Screen(limit=limit, lines=lines, on_fold=lambda fold: None)
        screen.output(Event("stdout", b"\x1b[1;38;5;208mcolour\x1b[0m\n" * 300))
        screen.output(Event("stdout", b"\x1b[1;38;5;208mcolour\x1b[0m" * 300))
        screen.close()
    shown = written(log, "out")
    assert not re.search("\x1b", SGR.sub("", shown))
    assert not re.search(r"\d", SGR.sub("", shown))
    assert SGR.findall(shown)[-1:] in ([], ["\x1b[0m"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stdout", "stderr"]), st.text("ab\n\u2028", min_size=1, max_size=300)
        ),
        max_size=60,
    ),
    st.integers(0, 40),
)
def test_shown_and_folded_make_the_whole(events: list[tuple[str, str]], lines: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        log: list[tuple[str, str]] = []
        streams = SimpleNamespace(stdout=Recorder("out", log), stderr=Recorder("err", log))
        patch.setattr(display, "sys", streams)
        folds: list[Fold] = []
        screen = Screen(limit=2000, lines=lines, on_fold=folds.append)
        for stream, text in events:
            screen.output(Event(stream, text.encode()))
        screen.close()
    total = "".join(text for _, text in events)
    folded = sum(fold.chars for fold in folds)
    assert len(written(log)) + folded == len(total)
    assert written(log).count("\n") + sum(fold.lines for fold in folds) == total.count("\n")
    for stream, who in (("stdout", "out"), ("stderr", "err")):
        whole = "".join(text for name, text in events if name == stream)
        shown = written(log, who)
        assert any(
            whole[:cut] + whole[len(whole) - len(shown) + cut :] == shown
            for cut in range(len(shown) + 1)
        ), "its begin and its end"


class Hold:
    """A filter that lets only whole lines pass, and upper-cases them."""

    count = 0

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        whole, newline, self.held = (self.held + text).rpartition("\n")
        return (whole + newline).upper()

    def flush(self, *, final: bool) -> str:
        held, self.held = self.held, ""
        return held.upper()


def test_secrets_are_masked_and_counted(log: list[tuple[str, str]]) -> None:
    screen = Screen(masker=Masker)
    for byte in b"export DB_PASSWORD=hunter2hunter2\nfine\n":
        screen.output(Event("stdout", bytes([byte])))
    screen.output(Event("stderr", b"AKIAIOSFODNN7EXAMPLE"))
    screen.close()
    assert "hunter2" not in written(log)
    assert "AKIAIOSFODNN7EXAMPLE" not in written(log)
    assert "fine\n" in written(log, "out")
    assert written(log, "err").endswith("2 secrets are masked here; the result is exact\n")


def test_what_a_filter_holds_back_comes_after_a_silence(log: list[tuple[str, str]]) -> None:
    clock = Clock()
    screen = Screen(masker=Hold, clock=clock)
    screen.output(Event("stdout", b"one\nname: "))
    clock.now += 0.1
    screen.tick()
    assert written(log) == "ONE\n"
    clock.now += 1
    screen.tick()
    assert written(log) == "ONE\nNAME: "
    screen.output(Event("stdout", b"two"))
    screen.close()
    assert written(log) == "ONE\nNAME: TWO"


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
