"""Answers are kept, fetched once, and waited for no longer than the limit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ecs_exec_magic.notebook.cache import Cache


class Clock:
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Something slow, or broken."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = threading.Event()
        self.gate.set()
        self.answer: Any = "first"
        self.error: Exception | None = None

    def __call__(self) -> Any:
        self.calls += 1
        answer, error = self.answer, self.error
        assert self.gate.wait(60)
        if error is not None:
            raise error
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source() -> Source:
    return Source()


def ended() -> None:
    """Wait until nothing is being fetched."""
    for thread in threading.enumerate():
        if thread.name == "ecs-exec-completion":
            thread.join(60)


def get(cache: Cache, *sources: Source) -> list[Any]:
    return cache.get([(id(each), each) for each in sources], cache.deadline())


def test_an_answer_is_kept_for_its_time(clock: Clock, source: Source) -> None:
    cache = Cache(ttl=30, limit=20, clock=clock)
    assert get(cache, source) == ["first"]
    source.answer = "second"
    clock.now += 29.9
    assert get(cache, source) == ["first"]
    assert source.calls == 1
    clock.now += 0.1
    assert get(cache, source) == ["second"]
    assert source.calls == 2


def test_what_takes_longer_is_there_the_next_time(clock: Clock, source: Source) -> None:
    cache = Cache(limit=0, clock=clock)
    source.gate.clear()
    assert get(cache, source) == [None]
    assert get(cache, source) == [None]
    assert source.calls == 1, "one is enough"
    source.gate.set()
    ended()
    assert get(cache, source) == ["first"]
    assert source.calls == 1


def test_an_old_answer_is_better_than_none(clock: Clock, source: Source) -> None:
    cache = Cache(ttl=30, limit=0, clock=clock)
    get(cache, source)
    ended()
    clock.now += 31
    source.answer = "second"
    source.gate.clear()
    assert get(cache, source) == ["first"]
    source.gate.set()
    ended()
    assert get(cache, source) == ["second"]


def test_a_thread_that_has_its_answer_is_at_work_no_more(
    clock: Clock, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be alive for another moment."""
    cache = Cache(ttl=30, limit=20, clock=clock)
    monkeypatch.setattr(threading.Thread, "is_alive", lambda thread: True)
    assert get(cache, source) == ["first"]
    source.answer = "second"
    clock.now += 31
    assert get(cache, source) == ["second"]


def test_a_failure_is_not_tried_again_at_once(clock: Clock, source: Source) -> None:
    cache = Cache(retry=5, limit=20, clock=clock)
    source.error = RuntimeError("no")
    assert get(cache, source) == [None]
    source.error = None
    clock.now += 4
    assert get(cache, source) == [None]
    clock.now += 1
    assert get(cache, source) == ["first"]
    source.error = RuntimeError("no")
    clock.now += 60
    assert get(cache, source) == ["first"], "what was known stays known"


def test_one_failure_loses_one_answer(clock: Clock) -> None:
    cache = Cache(limit=20, clock=clock)
    good, bad, other = Source(), Source(), Source()
    bad.error = SystemError("no")
    assert get(cache, good, bad, other) == ["first", None, "first"]


def test_several_share_one_limit() -> None:
    """The clock runs on while somebody waits: what is left of the limit is what the next waits."""
    waits: list[float] = []

    class Watched(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            ticking.now += 0.7
            return False

    ticking = Clock()
    cache = Cache(limit=1, clock=ticking)
    gate = threading.Event()
    sources = [Source() for _ in range(3)]
    for each in sources:
        each.gate = gate
    deadline = cache.deadline()
    wanted = [(id(each), each) for each in sources]
    for key, fetch in wanted:
        cache._begun(key, fetch).done = Watched()
    assert cache.get(wanted, deadline) == [None] * 3
    assert waits == pytest.approx([1, 0.3, 0])
    gate.set()
    ended()


def test_threads_are_daemons_with_a_context_of_their_own(clock: Clock) -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default="nothing")
    variable.set("of the cell")
    seen: list[tuple[bool, str]] = []
    cache = Cache(limit=20, clock=clock)
    cache.get(
        [("key", lambda: seen.append((threading.current_thread().daemon, variable.get())))],
        cache.deadline(),
    )
    assert seen == [(True, "nothing")]


def test_what_is_forgotten_does_not_come_back(clock: Clock, source: Source) -> None:
    cache = Cache(limit=0, clock=clock)
    source.gate.clear()
    get(cache, source)
    cache.forget()
    source.gate.set()
    ended()
    source.gate.clear()
    assert get(cache, source) == [None], "it went nowhere"
    assert source.calls == 2
    source.gate.set()
    ended()


def test_it_does_not_grow_without_end(clock: Clock, source: Source) -> None:
    cache = Cache(limit=20, clock=clock)
    for number in range(2000):
        cache.get([(number, source)], cache.deadline())
    assert len(cache._entries) <= 501
