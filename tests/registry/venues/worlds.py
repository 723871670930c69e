"""Hours at random, in zones whose clocks change, and what they mean minute by minute."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from alphapulse.log import InvalidInput
from alphapulse.registry.venues import Hours, Phase, Rule, Span, SpecialDay, define
from alphapulse.registry.venues.hours import WEEKDAYS, clock_s, clock_text

ZONES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Cairo",
         "UTC")  # fmt: skip
STEP_S = 1800
"""All times of random hours, and all clock changes in ZONES, are multiples of it."""
_NAMES = [phase.name.lower() for phase in Phase if phase]


def _spans(draw: st.DrawFn) -> list[Span]:
    """One to four phases without overlap, the first on the day before at the earliest."""
    count = draw(st.integers(1, 4))
    edges = draw(st.lists(st.integers(-20, 93), min_size=2 * count, max_size=2 * count))
    edges.sort()
    texts = [clock_text(edge * STEP_S) for edge in edges]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return [Span(low, high, draw(st.sampled_from(_NAMES))) for low, high in pairs if low != high]


_PERIODS = (("", ""), ("", ""), ("2026-03-20", ""), ("", "2026-03-19"))
_DATES = st.dates(date(2026, 3, 1), date(2026, 4, 10)).map(date.isoformat)


@st.composite
def any_hours(draw: st.DrawFn) -> Hours:
    """Hours that `define` takes; those that it refuses are drawn again without what it refuses."""
    if draw(st.integers(0, 30)) == 7:
        return define("UTC", always=True)
    rules = []
    for _ in range(draw(st.integers(1, 3))):
        first, last = draw(st.sampled_from(_PERIODS))
        days = draw(st.sets(st.sampled_from(WEEKDAYS), min_size=1))
        rules += [Rule(each.phase, ",".join(days), each.start, each.end, first, last)
                  for each in _spans(draw)]  # fmt: skip
    dates = draw(st.lists(_DATES, max_size=3, unique=True))
    special = [SpecialDay(day, "drawn", tuple(_spans(draw)) if draw(st.booleans()) else ())
               for day in dates]  # fmt: skip
    zone, to = draw(st.sampled_from(ZONES)), draw(st.sampled_from(["", "2026-12-31"]))
    while True:
        try:
            return define(zone, rules, special, holidays_to=to)
        except InvalidInput:
            if special:
                special.pop()
            elif rules:
                rules.pop()
            else:
                return define(zone, days=[SpecialDay("2026-03-10", "drawn")])


def phase_by_the_clock(hours: Hours, at_s: int) -> tuple[str, Phase]:
    """The session's date and the phase at a second: what the definition says, without compiling."""
    if hours.always:
        return "", Phase.CONTINUOUS
    wall = datetime.fromtimestamp(at_s, ZoneInfo(hours.zone)).replace(tzinfo=None)
    for shift in range(-2, 3):  # a session begins at most a day before its date, and ends in two
        day = wall.date() + timedelta(days=shift)
        seconds = (wall - datetime(day.year, day.month, day.day)) // timedelta(seconds=1)
        for span in _spans_on(hours, day):
            if _seconds(span.start) <= seconds < _seconds(span.end):
                return day.isoformat(), Phase[span.phase.upper()]
    return "", Phase.CLOSED


@lru_cache(maxsize=64)
def _spans_on(hours: Hours, day: date) -> list[Span | Rule]:
    text = day.isoformat()
    for special in hours.days:
        if special.date == text:
            return list(special.phases)
    return [
        each for each in hours.rules
        if WEEKDAYS[day.weekday()] in _listed(each.weekdays)
        and (each.first or "0") <= text <= (each.last or "9")
    ]  # fmt: skip


@cache
def _seconds(text: str) -> int:
    return clock_s(text, "start")


@cache
def _listed(weekdays: str) -> set[str]:
    found: set[str] = set()
    for part in weekdays.split(","):
        low, _, high = part.partition("-")
        found.update(WEEKDAYS[WEEKDAYS.index(low) : WEEKDAYS.index(high or low) + 1])
    return found
