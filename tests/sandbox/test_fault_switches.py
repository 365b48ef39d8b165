"""The switches by themselves: their names, their spelling, and what a seed decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.faults import ACTIONS, Faults, explanations


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("drop", "1,4-6", {1, 4, 5, 6}),
        ("drop-rate", "0.25", 0.25),
        ("stall_output", "", True),
        ("stall_output", "off", False),
        ("expire_token", "", 1),
        ("cut_after_frames", "7", 7),
        ("hold_closed", "1.5", 1.5),
        ("throttle", "RunTask=2,*=1", {"RunTask": 2, "*": 1}),
        ("seed", "12", 12),
    ],
)
def test_switches_are_set_from_text(name: str, text: str, value: object) -> None:
    faults = Faults()
    faults.set(name, text)
    assert getattr(faults, name.replace("-", "_")) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("drop_rte", "1", "did you mean drop_rate"),
        ("on_action", "x", "no fault on_action"),
        ("drop_rate", "1.5", "probability"),
        ("drop_rate", "nan", "cannot be nan"),
        ("latency", "-1", "cannot be -1"),
        ("latency", "inf", "cannot be inf"),
        ("drop", "", "numbers such as"),
        ("drop", "3-x", "numbers such as"),
        ("drop", "0-99999999999", "numbers such as"),
        ("stall_input", "perhaps", "on or off"),
        ("cut_after_frames", "many", "whole number"),
        ("throttle", "RunTask=x", "NAME=COUNT"),
    ],
)
def test_mistakes_are_told_in_one_line(name: str, text: str, message: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=message) as caught:
        faults.set(name, text)
    assert "\n" not in str(caught.value)
    assert faults == Faults()


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_text_breaks_the_switches(name: str, text: str) -> None:
    faults = Faults()
    for one in (name, *(known for known, _ in explanations())):
        try:
            faults.set(one, text)
        except ValueError as error:
            assert str(error)
    faults.clear()
    assert faults.active() in ({}, {"seed": faults.seed})


def test_every_fault_is_explained_and_can_be_cleared() -> None:
    names = dict(explanations())
    assert set(ACTIONS) < set(names)
    assert all(names.values())
    faults = Faults()
    with pytest.raises(AttributeError):
        faults.dorp = {1}  # type: ignore[attr-defined]  # a slip of the pen is told
    faults.set("drop", "1")
    faults.set("latency", "1")
    faults.set("seed", "5")
    assert faults.active() == {"drop": [1], "latency": 1.0, "seed": 5}
    faults.clear("drop")
    assert faults.active() == {"latency": 1.0, "seed": 5}
    faults.clear()
    assert faults.active() == {"seed": 5}
    with pytest.raises(ValueError, match="no fault"):
        faults.clear("nothing")
    with pytest.raises(ValueError, match="no practice cluster"):
        faults.cut()


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_seed_decides_where_rates_strike(seed: int, frame: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    few, many = Faults(seed=seed, drop_rate=low), Faults(seed=seed, drop_rate=high)
    assert few.strikes("drop", frame) == Faults(seed=seed, drop_rate=low).strikes("drop", frame)
    assert many.strikes("drop", frame) or not few.strikes("drop", frame)
    assert not Faults(seed=seed).strikes("drop", frame)
    assert Faults(seed=seed, drop_rate=1.0).strikes("drop", frame)


@pytest.mark.parametrize(
    ("service", "throttled", "expired"),
    [
        ("ecs", "ThrottlingException", "ExpiredTokenException"),
        ("sts", "Throttling", "ExpiredToken"),
        ("ec2", "RequestLimitExceeded", "RequestExpired"),
        ("s3", "SlowDown", "ExpiredToken"),
    ],
)
def test_refusals_have_the_services_own_codes(service: str, throttled: str, expired: str) -> None:
    faults = Faults(throttle={"Any": 1})
    assert faults.refusal(service, "Other", "me") is None
    refusal = faults.refusal(service, "Any", "me")
    assert refusal is not None and refusal[0] == throttled
    assert faults.refusal(service, "Any", "me") is None
    faults.expire_credentials = True
    refusal = faults.refusal(service, "Any", "me")
    assert refusal is not None and refusal[0] == expired
