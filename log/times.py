"""Times are integers: nanoseconds since 1970 UTC. Text is RFC 3339 with nine decimals and a Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from .errors import InvalidInput

NS: Final = 1_000_000_000
I64_MIN: Final = -(1 << 63)
I64_MAX: Final = (1 << 63) - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


def format_time(time_ns: int) -> str:
    """`1764000000000000001` gives `2025-11-24T16:00:00.000000001Z`."""
    seconds, nanoseconds = divmod(time_ns, NS)
    moment = datetime.fromtimestamp(seconds, UTC) if seconds >= 0 else _before_1970(seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z".rjust(30, "0")


def _before_1970(seconds: int) -> datetime:
    from datetime import timedelta

    return _EPOCH + timedelta(seconds=seconds)


def is_during(at: int, begins: int, ends: int) -> bool:
    """Whether a time (ns) lies from a beginning on, and before an end. 0 of either is not known,
    and leaves that side open, before 1970 as after it."""
    return (not begins or begins <= at) and (not ends or at < ends)


def parse_time(text: str) -> int:
    """RFC 3339, or a date, a month or a year, which mean their first instant in UTC.

    A time without a zone is UTC. Raises InvalidInput; years 1678 to 2261 fit.
    """
    match = _TIME.fullmatch(text.strip()) if len(text) <= 64 else None
    if match is None:
        raise InvalidInput(
            "reading a time",
            problem="it is not RFC 3339",
            value=repr(text[:40]),
            cure="write it like 2026-01-31, 2026-01 or 2026-01-31T09:30:00.123456789Z",
        )
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            int(second or 0), tzinfo=UTC,
        )
    except ValueError as error:
        raise InvalidInput("reading a time", problem=str(error), value=repr(text)) from error
    whole = moment - _EPOCH
    time_ns = (whole.days * 86_400 + whole.seconds) * NS + int((fraction or "").ljust(9, "0") or 0)
    if zone and zone != "Z":
        shift_s = (int(zone[1:3]) * 60 + int(zone[4:6])) * 60
        if int(zone[1:3]) > 23 or int(zone[4:6]) > 59:
            raise InvalidInput("reading a time", problem="no such zone", value=repr(text))
        time_ns += -shift_s * NS if zone[0] == "+" else shift_s * NS
    if not I64_MIN < time_ns <= I64_MAX:
        raise InvalidInput("reading a time", problem="it is outside 1678 to 2261", value=repr(text))
    return time_ns
