"""The rate of calls that AWS throttles."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.aws.pace import Pace


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def calls(pace: Pace, clock: Clock, takes: float, seconds: float) -> tuple[int, int]:
    """Make calls as fast as one may, at a server that takes so many a second; taken, refused."""
    tokens, last, taken, refused = takes, clock.now, 0, 0
    end = clock.now + seconds
    while clock.now < end:
        await pace.turn(clock.sleep)
        await clock.sleep(0.01)  # the call itself
        tokens, last = min(takes, tokens + (clock.now - last) * takes), clock.now
        if tokens >= 1:
            tokens, taken = tokens - 1, taken + 1
            pace.served()
        else:
            refused += 1
            pace.throttled()
    return taken, refused


async def test_nothing_is_held_back_until_it_is_refused() -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now)
    for _ in range(1000):
        await pace.turn(clock.sleep)
        pace.served()
    assert clock.now == 0.0
    assert pace.rate is None


async def test_refusals_that_come_together_count_once() -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now)
    for _ in range(10):
        pace.served()
    for _ in range(50):
        pace.throttled()
    assert pace.rate == 7.0
    await clock.sleep(2)
    pace.throttled()
    assert pace.rate is not None and 1.0 <= pace.rate < 7.0


@given(st.floats(2, 60))
def test_it_finds_what_is_taken(takes: float) -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now)
    taken, refused = asyncio.run(calls(pace, clock, takes, 120))
    assert taken >= 0.6 * takes * 120  # most of what there is
    assert refused <= 0.25 * taken  # and few calls for nothing


async def test_it_is_free_again_once_enough_is_taken() -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now)
    await calls(pace, clock, 10, 20)
    assert pace.rate == pytest.approx(10, rel=0.5)
    _, refused = await calls(pace, clock, 1e9, 600)
    assert (pace.rate, refused) == (None, 0)


@given(st.lists(st.sampled_from(["served", "throttled", "wait"]), max_size=200))
def test_the_rate_stays_in_its_bounds(events: list[str]) -> None:
    clock = Clock()
    pace = Pace(lambda: clock.now)
    for event in events:
        if event == "wait":
            clock.now += 0.7
        else:
            getattr(pace, event)()
        assert pace.rate is None or 1.0 <= pace.rate <= 200.0
