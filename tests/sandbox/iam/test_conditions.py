"""Condition operators: values, several of them, and keys that are not there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.iam.conditions import Condition, operator
from ecs_exec_magic.sandbox.iam.documents import parse
from ecs_exec_magic.sandbox.iam.patterns import context_of
from ecs_exec_magic.sandbox.iam.policies import evaluate

from .practice import allow, calm, document


def holds(name: str, wanted: str | list[str], context: dict[str, Any]) -> bool:
    known = operator(name)
    assert known is not None
    values = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    return Condition(known, "k", values).holds(context_of(context))


@pytest.mark.parametrize(
    ("name", "wanted", "given_", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["x", "a"], "a", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", "Nginx", "nGINX", True),
        ("StringNotEqualsIgnoreCase", "Nginx", "nGINX", False),
        ("StringLike", "web-*", "web-1", True),
        ("StringLike", "web-?", "web-12", False),
        ("StringNotLike", "web-*", "web-1", False),
        ("ArnLike", "arn:aws:ecs:*:*:cluster/d*", "arn:aws:ecs:e:1:cluster/demo", True),
        ("ArnEquals", "arn:aws:ecs:*:*:cluster/d*", "arn:aws:ecs:e:1:cluster/demo", True),
        ("ArnLike", "arn:aws:ecs:*", "arn:aws:ecs:e:1:cluster/demo", False),
        ("ArnNotLike", "arn:aws:ecs:*:*:cluster/d*", "arn:aws:ecs:e:1:cluster/demo", False),
        ("Bool", "true", "True", True),
        ("Bool", "false", "true", False),
        ("BinaryEquals", "QUI=", "QUI=", True),
        ("NumericEquals", "5", "5.0", True),
        ("NumericNotEquals", "5", "5.0", False),
        ("NumericLessThan", "5", "4", True),
        ("NumericLessThan", "5", "5", False),
        ("NumericLessThanEquals", "5", "5", True),
        ("NumericGreaterThan", "5", "7", True),
        ("NumericGreaterThanEquals", "5", "4.9", False),
        ("NumericLessThan", "5", "many", False),
        ("NumericLessThan", "5", "NaN", False),
        ("DateLessThan", "2030-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        ("DateGreaterThan", "2030-01-01", "2026-01-01T00:00:00Z", False),
        ("DateEquals", "1970-01-01T00:01:00Z", "60", True),
        ("DateNotEquals", "1970-01-01T00:01:00Z", "61", True),
        ("DateLessThan", "soon", "60", False),
        ("IpAddress", "127.0.0.0/8", "127.0.0.1", True),
        ("IpAddress", "10.1.2.3/8", "10.9.9.9", True),
        ("IpAddress", "::1/128", "127.0.0.1", False),
        ("NotIpAddress", "127.0.0.0/8", "127.0.0.1", False),
        ("IpAddress", "nowhere", "127.0.0.1", False),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
    ],
)
def test_operators(name: str, wanted: str | list[str], given_: str, expected: bool) -> None:
    assert holds(name, wanted, {"K": given_}) is expected


_POSITIVE = ["StringEquals", "StringLike", "ArnLike", "Bool", "NumericLessThan", "IpAddress"]
_NEGATED = ["StringNotEquals", "StringNotLike", "ArnNotEquals", "NumericNotEquals", "NotIpAddress"]


@pytest.mark.parametrize("name", _POSITIVE)
def test_a_missing_key_fails_what_is_positive(name: str) -> None:
    assert not holds(name, "1", {})
    assert holds(f"{name}IfExists", "1", {})


@pytest.mark.parametrize("name", _NEGATED)
def test_a_missing_key_passes_what_is_negated(name: str) -> None:
    assert holds(name, "1", {})
    assert holds(f"{name}IfExists", "1", {})


def test_a_missing_key_is_null() -> None:
    assert holds("Null", "true", {}) and not holds("Null", "false", {})
    assert holds("Null", ["true", "false"], {})


def test_names_of_operators() -> None:
    for name in ("StringSame", "stringequals", "NullIfExists", "ForSomeValues:StringEquals", ""):
        assert operator(name) is None, name
    for name in ("ForAllValues:StringLike", "ForAnyValue:ArnEqualsIfExists", "BoolIfExists"):
        assert operator(name) is not None, name


_values = st.lists(st.sampled_from("abc"), max_size=4)


@calm
@given(_values, st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
def test_sets_of_values(given_: list[str], wanted: list[str]) -> None:
    context = {"k": given_} if given_ else {}
    assert holds("ForAllValues:StringEquals", wanted, context) == (set(given_) <= set(wanted))
    assert holds("ForAnyValue:StringEquals", wanted, context) == bool(set(given_) & set(wanted))
    assert holds("ForAllValues:StringNotEquals", wanted, context) == (not set(given_) & set(wanted))
    assert holds("ForAnyValue:StringNotEquals", wanted, context) == bool(set(given_) - set(wanted))


@calm
@given(st.sampled_from(["String", "StringLike"]), st.text("ab*", max_size=4),
       st.text("ab", max_size=4))  # fmt: skip
def test_negations_are_opposites(kind: str, wanted: str, given_: str) -> None:
    names = {"String": ("StringEquals", "StringNotEquals"),
             "StringLike": ("StringLike", "StringNotLike")}[kind]  # fmt: skip
    context = {"k": given_}
    assert holds(names[0], wanted, context) != holds(names[1], wanted, context)


@calm
@given(st.decimals(allow_nan=False, allow_infinity=False, places=3),
       st.decimals(allow_nan=False, allow_infinity=False, places=3))  # fmt: skip
def test_numbers_are_in_order(wanted: Decimal, given_: Decimal) -> None:
    context = {"k": str(given_)}
    assert holds("NumericLessThan", str(wanted), context) == (given_ < wanted)
    assert holds("NumericGreaterThanEquals", str(wanted), context) == (given_ >= wanted)


@calm
@given(st.sampled_from([*_POSITIVE, *_NEGATED, "DateLessThan", "DateNotEquals", "NumericEquals"]),
       st.text(max_size=20), st.text(max_size=20))  # fmt: skip
def test_no_value_is_an_accident(name: str, wanted: str, given_: str) -> None:
    assert holds(name, wanted, {"k": given_}) in (True, False)


def test_several_keys_and_operators_must_all_hold() -> None:
    condition = {
        "StringEquals": {"ecs:container-name": "nginx", "aws:ResourceTag/environment": ["a", "b"]},
        "Bool": {"aws:SecureTransport": "true"},
    }
    policy = [parse(document(allow("ecs:*", Condition=condition)))]
    right = {
        "ecs:container-name": "nginx",
        "aws:resourcetag/ENVIRONMENT": "b",
        "aws:securetransport": "true",
    }
    assert evaluate(policy, "ecs:ExecuteCommand", "*", context_of(right)).allowed
    for name in right:
        for wrong in ({**right, name: "no"}, {k: v for k, v in right.items() if k != name}):
            assert not evaluate(policy, "ecs:ExecuteCommand", "*", context_of(wrong)).allowed


def test_variables_in_values() -> None:
    condition = {"StringEquals": {"aws:ResourceTag/owner": "${aws:username}"}}
    policy = [parse(document(allow("ecs:*", Condition=condition)))]
    mine = context_of({"aws:username": "dev", "aws:ResourceTag/owner": "dev"})
    assert evaluate(policy, "ecs:X", "*", mine).allowed
    nobody = context_of({"aws:ResourceTag/owner": "${aws:username}"})
    verdict = evaluate(policy, "ecs:X", "*", nobody)
    assert not verdict.allowed and verdict.missing == ("aws:username",)
