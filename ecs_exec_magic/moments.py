"""Times in the past as people say them.

Knows ages, days and times of day. Never knows what happened then.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from .errors import InvalidRequest

__all__ = ["moment", "since"]

_AGE = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
# What str() and .isoformat() of Python's dates and times give, and what people write.
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)


def since(text: str, now: datetime | None = None) -> datetime:
    """Read a time in the past: an age, a day, or a time of day.

    Local time is meant, unless a Z or an offset follows.

    Raises:
        ValueError: it is none of these.
    """
    now = now or datetime.now().astimezone()
    text = text.strip()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return midnight - timedelta(days=text == "yesterday")
    try:
        if age := _AGE.fullmatch(text):
            return now - timedelta(seconds=float(age[1]) * _SECONDS[age[2]])
        if re.fullmatch(r"\d\d?:\d\d", text):
            hour, minute = map(int, text.split(":"))
            today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return today if today <= now else today - timedelta(days=1)
        if re.fullmatch(r"\d{4}-\d\d-\d\dZ", text):
            text = f"{text[:-1]}T00:00Z"
        if _ISO.fullmatch(text):
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError(f"{text!r} is no time; 2h, 30m, 3d, 2026-11-27, 10:30 and today are some")


def moment(given: str | timedelta | datetime, what: str = "since") -> datetime:
    """A time in UTC, of what :func:`since` reads, of an age, or of a time.

    Raises:
        InvalidRequest: it is none of these.
    """
    try:
        if isinstance(given, timedelta):
            return datetime.now(timezone.utc) - abs(given)
        if isinstance(given, datetime):
            return given.astimezone(timezone.utc)  # without a zone, local time is meant
        return since(given).astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError, AttributeError) as error:
        raise InvalidRequest(
            f"{what}={given!r} is no time", cure="2h, 30m, 3d, 2026-11-27, 10:30 and today are some"
        ) from error
