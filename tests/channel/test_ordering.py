"""Numbers, order, repetition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.channel.ordering import Incoming, Outgoing, RoundTrip


def test_the_estimate_follows_the_official_constants() -> None:
    trip = RoundTrip()
    assert trip.timeout == 0.2
    trip.sample(0.2)
    assert trip.variation == 0.025
    assert trip.smoothed == 0.1125
    assert abs(trip.timeout - (0.1125 + 0.1)) < 1e-12


@given(st.lists(st.floats(-1, 1e6), max_size=50))
def test_the_timeout_stays_within_its_bounds(samples: list[float]) -> None:
    trip = RoundTrip()
    for sample in samples:
        trip.sample(sample)
        assert 0 < trip.timeout <= 1.0


@given(st.permutations(range(30)))
def test_messages_leave_in_order(order: list[int]) -> None:
    incoming: Incoming[int] = Incoming()
    got = []
    for number in order:
        assert incoming.accept(number, number, 1)
        assert incoming.accept(number, -1, 1)
        while (item := incoming.pop()) is not None:
            got.append(item)
    assert got == list(range(30))
    assert incoming.waiting_bytes == 0
    assert len(incoming) == 0


def test_what_waits_is_bounded_in_number_and_bytes() -> None:
    incoming: Incoming[str] = Incoming(max_messages=5, max_bytes=100)
    assert not incoming.accept(6, "far", 1)
    assert incoming.accept(5, "near", 60)
    assert not incoming.accept(4, "too much", 60)
    # the one that is expected always fits: it leaves at once
    assert incoming.accept(0, "next", 1000)
    assert incoming.pop() == "next"
    incoming.clear()
    assert incoming.waiting_bytes == 0


def test_acknowledgements_are_selective() -> None:
    outgoing = Outgoing()
    for payload in (b"a", b"bb", b"ccc"):
        outgoing.add(payload, len(payload), 0.0)
    assert outgoing.acknowledge(1, 0.1)
    assert not outgoing.acknowledge(1, 0.1)
    assert not outgoing.acknowledge(7, 0.1)
    assert outgoing.size == 4
    assert outgoing.resend_all(1.0) == [b"a", b"ccc"]


def test_only_the_head_is_repeated_and_not_before_its_time() -> None:
    outgoing = Outgoing()
    outgoing.add(b"a", 1, 0.0)
    outgoing.add(b"b", 1, 0.0)
    assert outgoing.tick(0.15) is None
    assert outgoing.tick(0.2) == b"a"
    assert outgoing.tick(0.25) is None
    assert outgoing.tick(0.45) == b"a"
    outgoing.acknowledge(1, 0.5)
    assert outgoing.tick(1.6) == b"a"
    outgoing.acknowledge(0, 1.7)
    assert outgoing.next_timeout() is None
    assert outgoing.tick(9.0) is None


def test_after_a_loss_the_others_follow_without_waiting_for_the_tick() -> None:
    outgoing = Outgoing()
    for payload in (b"a", b"b", b"c"):
        outgoing.add(payload, 1, 0.0)
    assert outgoing.tick(5.0) == b"a"
    outgoing.add(b"d", 1, 5.001)
    outgoing.acknowledge(0, 5.002)
    assert outgoing.tick(5.002) == b"b"
    assert outgoing.tick(5.003) is None
    outgoing.acknowledge(1, 5.004)
    assert outgoing.tick(5.004) == b"c"
    outgoing.acknowledge(2, 5.006)
    # this one was sent after the repetitions had begun, and is given its time
    assert outgoing.tick(5.006) == b"d"
    assert outgoing.tick(5.007) is None


def test_a_head_that_stays_is_repeated_more_slowly() -> None:
    outgoing = Outgoing()
    outgoing.add(b"a", 1, 0.0)
    times = []
    now = 0.0
    while now < 20.0:
        if outgoing.tick(now):
            times.append(now)
        now += 0.01
    assert len(times) < 20 + 20
    assert times[-1] - times[-2] > 0.99
    assert not outgoing.exhausted
