"""Threads behind widgets: one thing at a time, the last wish wins, and an end."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from ecs_exec_magic.notebook.widgets.work import Beat, Worker


def test_of_what_is_asked_meanwhile_only_the_last_is_done() -> None:
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()
    worker = Worker("test")

    def first() -> None:
        begun.set()
        assert go_on.wait(20)
        done.append(0)

    worker.ask(first)
    assert begun.wait(20)
    for number in (1, 2, 3):
        worker.ask(lambda number=number: done.append(number))  # type: ignore[misc]
    assert worker.stale
    assert not worker.idle(0)
    go_on.set()
    assert worker.idle(20)
    assert done == [0, 3]
    worker.ask(lambda: done.append(4))  # its thread had ended; a new one begins
    assert worker.idle(20) and done == [0, 3, 4]


def test_work_that_fails_is_logged_and_the_next_is_done(caplog: pytest.LogCaptureFixture) -> None:
    worker, done = Worker("test"), threading.Event()
    with caplog.at_level(logging.ERROR):
        worker.ask(lambda: 1 / 0)
        assert worker.idle(20)
        worker.ask(done.set)
        assert worker.idle(20)
    assert done.is_set()
    assert "ZeroDivisionError" in caplog.text


def test_a_closed_worker_begins_nothing() -> None:
    worker = Worker("test")
    worker.close()
    worker.ask(lambda: pytest.fail("it was done"))
    assert worker.idle(0) and worker.stale


class Ticks:
    """Counts beats; the test decides how time goes by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.came = threading.Semaphore(0)

    def beat(self) -> None:
        self.count += 1
        self.came.release()


def ended(beat: Beat) -> None:
    end = time.monotonic() + 20
    while beat.beating:
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.001)


def test_it_beats_while_somebody_looks_and_begins_again() -> None:
    ticks = Ticks()
    beat = Beat("test", ticks.beat, lambda: 0.001, patience=10, clock=lambda: ticks.now)
    beat.touch()
    for _ in range(3):
        assert ticks.came.acquire(timeout=20)
    ticks.now = 10.0
    ended(beat)  # its patience is over
    seen = ticks.count
    beat.touch()
    assert ticks.came.acquire(timeout=20)
    while ticks.count <= seen:
        assert ticks.came.acquire(timeout=20)
    beat.close()
    ended(beat)
    beat.touch()
    ended(beat)


def test_one_that_rests_ends_at_once_however_long_its_beat() -> None:
    ticks = Ticks()
    beat = Beat("test", ticks.beat, lambda: 3600, patience=3600, clock=lambda: ticks.now)
    beat.touch()
    beat.rest()
    ended(beat)
    assert ticks.count == 0
