"""The Condition element of a policy.

Knows the operators and how they treat several values and missing keys. Never knows statements,
resources or who calls.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation

from .patterns import Context, arn_like, matches, pattern, variables

__all__ = ["Condition", "Operator", "operator"]

_Compare = Callable[[str, str, "Context | None"], bool]
"""(a value of the policy, a value of the request, the context for variables)."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A condition operator with its prefix and suffix.

    Args:
        name: as the policy spells it.
        compare: whether one value of the policy fits one of the request.
        negated: whether the operator holds when none fits.
        if_exists: ``...IfExists``: a missing key holds.
        every: ``ForAllValues:``; None without one of the two prefixes, False for
            ``ForAnyValue:``.
    """

    name: str
    compare: _Compare
    negated: bool = False
    if_exists: bool = False
    every: bool | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key: the values are alternatives.

    Args:
        operator: how they are compared.
        key: the condition key, in lower case.
        values: what the policy names.
        variables: whether ``${...}`` means a variable (by the policy's version).
    """

    operator: Operator
    key: str
    values: tuple[str, ...]
    variables: bool = True

    def needed(self) -> tuple[str, ...]:
        """Every key that this needs, those of variables included."""
        named = [name for value in self.values for name in variables(value)]
        return (self.key, *named) if self.variables else (self.key,)

    def holds(self, context: Context) -> bool:
        """Whether a request fulfils it."""
        given = tuple(context.get(self.key, ()))
        operator_ = self.operator
        if operator_.compare is _null:
            return any(_null(value, str(not given).lower(), None) for value in self.values)
        if not given:
            if operator_.every is not None:
                return operator_.every or operator_.if_exists
            return operator_.if_exists or operator_.negated
        source = context if self.variables else None
        fits = [
            any(operator_.compare(value, one, source) for value in self.values)
            != (operator_.negated and operator_.every is not None)
            for one in given
        ]
        if operator_.every is None:
            return any(fits) != operator_.negated
        return all(fits) if operator_.every else any(fits)


def operator(name: str) -> Operator | None:
    """The operator of that name; None for one that IAM does not know."""
    rest, every = name, None
    if name.startswith("ForAllValues:"):
        rest, every = name[13:], True
    elif name.startswith("ForAnyValue:"):
        rest, every = name[12:], False
    base = rest.removesuffix("IfExists")
    found = _OPERATORS.get(base)
    if found is None or (base == "Null" and rest != base):
        return None
    compare, negated = found
    return Operator(name, compare, negated, rest != base, every)


def _string(wanted: str, given: str, context: Context | None) -> bool:
    parts = pattern(wanted, context, wild=False)
    return parts is not None and matches(parts, given)


def _ignore_case(wanted: str, given: str, context: Context | None) -> bool:
    parts = pattern(wanted, context, wild=False)
    return parts is not None and "".join(map(str, parts)).lower() == given.lower()


def _like(wanted: str, given: str, context: Context | None) -> bool:
    parts = pattern(wanted, context)
    return parts is not None and matches(parts, given)


def _arn(wanted: str, given: str, context: Context | None) -> bool:
    parts = pattern(wanted, context)
    return parts is not None and arn_like(parts, given)


def _bool(wanted: str, given: str, context: Context | None) -> bool:
    return wanted.lower() == given.lower()


def _null(wanted: str, given: str, context: Context | None) -> bool:
    return wanted.lower() == given


def _exact(wanted: str, given: str, context: Context | None) -> bool:
    return wanted == given


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _moment(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return float(number)
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return moment.timestamp()
    except OverflowError:
        return math.inf


def _ordered(read: Callable[[str], Decimal | float | None], signs: tuple[int, ...]) -> _Compare:
    """Compare by order: the request's value below (-1), equal to (0) or above (1) the policy's."""

    def compare(wanted: str, given: str, context: Context | None) -> bool:
        left, right = read(given), read(wanted)
        if left is None or right is None:
            return False
        return (left > right) - (left < right) in signs

    return compare


def _address(wanted: str, given: str, context: Context | None) -> bool:
    try:
        return ipaddress.ip_address(given) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


_ORDERS = {
    "Equals": (0,),
    "LessThan": (-1,),
    "LessThanEquals": (-1, 0),
    "GreaterThan": (1,),
    "GreaterThanEquals": (1, 0),
}
_OPERATORS: dict[str, tuple[_Compare, bool]] = {
    "StringEquals": (_string, False),
    "StringNotEquals": (_string, True),
    "StringEqualsIgnoreCase": (_ignore_case, False),
    "StringNotEqualsIgnoreCase": (_ignore_case, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnLike": (_arn, False),
    "ArnNotLike": (_arn, True),
    "Bool": (_bool, False),
    "Null": (_null, False),
    "BinaryEquals": (_exact, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    **{f"Numeric{name}": (_ordered(_number, signs), False) for name, signs in _ORDERS.items()},
    "NumericNotEquals": (_ordered(_number, (0,)), True),
    **{f"Date{name}": (_ordered(_moment, signs), False) for name, signs in _ORDERS.items()},
    "DateNotEquals": (_ordered(_moment, (0,)), True),
}
