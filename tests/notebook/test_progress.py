"""What is said about a run while it goes on."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ecs_exec_magic.notebook import progress
from ecs_exec_magic.notebook.display import Fold, Screen
from ecs_exec_magic.notebook.progress import InPlace, Progress, StatusLine, seconds, show_fold

from .conftest import Event


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Publisher:
    """Stands in for a shell's, and remembers what it was given."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.places: set[str] = set()

    def publish(self, *, data: dict[str, str], transient: Any, update: bool, **how: Any) -> None:
        assert update == (transient["display_id"] in self.places)
        self.places.add(transient["display_id"])
        self.shown.append(data)


@pytest.fixture
def handle() -> Publisher:
    return Publisher()


def test_it_comes_late_and_once_a_second_and_goes(handle: Publisher) -> None:
    clock, screen = Clock(), Screen()
    shown = Progress(screen, InPlace(handle), after=2.0, note=lambda: "c/t:n", clock=clock)
    for _ in range(40):
        clock.now += 0.125
        shown.tick()
    assert [bundle["text/plain"] for bundle in handle.shown] == [
        f"running {passed} s · c/t:n" for passed in ("2.0", "3.0", "4.0", "5.0")
    ]
    shown.end(success=True)
    assert handle.shown[-1] == {"text/plain": "", "text/html": ""}


def test_what_is_over_before_leaves_no_trace(handle: Publisher) -> None:
    clock = Clock()
    shown = Progress(Screen(), InPlace(handle), after=2.0, clock=clock)
    clock.now = 1.9
    shown.tick()
    shown.end(success=True)
    shown.end(success=False)
    never = Progress(Screen(), InPlace(handle), after=-1, clock=clock)
    clock.now = 1000.0
    never.tick()
    assert handle.shown == []


def test_it_tells_how_much_came_and_the_last_line(
    handle: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, screen = Clock(), Screen(lines=1)
    shown = Progress(screen, InPlace(handle), after=0, clock=clock)
    screen.output(Event("stdout", b"one\n\x1b[31m<two>\x1b[0m\n\n" + b"\n" * 30))
    clock.now = 61
    shown.tick()
    (bundle,) = handle.shown
    assert bundle["text/plain"] == (
        "running 1 min 1 s · 50 B received · what comes now is folded · <two>"
    )
    assert "&lt;two&gt;" in bundle["text/html"]
    assert "\x1b" not in "".join(bundle.values())
    shown.end(success=False)
    assert handle.shown[-1]["text/plain"] == "ended after 1 min 1 s"


def test_a_fold_can_be_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(progress, "_publish", shown.append)
    show_fold(Fold("stdout", 2, 8, "<a>\nbcd\n"))
    show_fold(Fold("stdout", 9, 9000, "x" * 64))
    assert shown[0]["text/plain"] == "… 2 lines folded (8 B); the result has it all …"
    assert "&lt;a&gt;\nbcd\n</pre>" in shown[0]["text/html"]
    assert "the first 64 characters" in shown[1]["text/html"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_it_on_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    screen = Screen()
    line = StatusLine(screen)
    line.show("running 2 s", "")
    line.show("running 3 s", "")
    screen.output(Event("stdout", b"out\n"))
    line.show("running 4 s", "")
    screen.output(Event("stdout", b"no newline"))
    line.show("running 5 s", "")
    screen.close()
    text = terminal.getvalue()
    assert text.endswith("no newline"), "an unfinished line is left alone"
    assert "5 s" not in text
    # As the terminal shows it: what stands between a CR and an erase is gone.
    rows = [row.rpartition("\r\x1b[K")[2] for row in text.split("\n")]
    assert rows == ["out", "no newline"]


def test_durations() -> None:
    assert [seconds(count) for count in (0.04, 59.94, 61, 3600, 90_061)] == [
        "0.0 s",
        "59.9 s",
        "1 min 1 s",
        "1 h 0 min",
        "25 h 1 min",
    ]
