"""Hours at random, in zones whose clocks change, and what they mean minute by minute."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from alphapulse.registry.venues import (
    Hours,
    LocalTimeInvalid,
    Phase,
    Rule,
    Span,
    SpecialDay,
    define,
)
from alphapulse.registry.venues.hours import WEEKDAYS, clock_s, clock_text

ZONES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Cairo",
         "UTC")  # fmt: skip
STEP_S = 1800
"""All times of random hours, and all clock changes in ZONES, are multiples of it."""
_NAMES = [phase.name.lower() for phase in Phase if phase]


def _spans(draw: st.DrawFn, begins: int) -> list[Span]:
    """One to four phases without overlap, within 24 hours from a step that may be of the day before
    or after: with one `begins` for all no session meets another."""
    count = draw(st.integers(1, 4))
    edges = st.integers(begins, begins + 48)
    drawn = sorted(draw(st.lists(edges, min_size=2 * count, max_size=2 * count, unique=True)))
    texts = [clock_text(edge * STEP_S) for edge in drawn]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return [Span(low, high, draw(st.sampled_from(_NAMES))) for low, high in pairs]


_PERIODS = ((("", ""),), (("", "2026-03-19"), ("2026-03-20", "")), (("2026-03-10", "2026-03-29"),))
_DATES = st.dates(date(2026, 3, 1), date(2026, 4, 10)).map(date.isoformat)


@st.composite
def any_hours(draw: st.DrawFn) -> Hours:
    """Hours that `define` takes: what it refuses for a clock change is left out, part by part."""
    if draw(st.integers(0, 30)) == 7:
        return define("UTC", always=True)
    begins = draw(st.integers(-20, 40))
    weekdays = draw(st.lists(st.integers(0, 2), min_size=7, max_size=7))
    rules = [
        Rule(each.phase, ",".join(days), each.start, each.end, first, last)
        for number in (1, 2)
        if (days := [WEEKDAYS[day] for day in range(7) if weekdays[day] == number])
        for first, last in draw(st.sampled_from(_PERIODS))
        for each in _spans(draw, begins)
    ]
    special = [
        SpecialDay(day, "drawn", tuple(_spans(draw, begins)) if draw(st.booleans()) else ())
        for day in draw(st.lists(_DATES, max_size=3, unique=True))
    ]
    zone, to = draw(st.sampled_from(ZONES)), draw(st.sampled_from(["", "2026-12-31"]))
    while rules or special:
        try:
            return define(zone, rules, special, holidays_to=to)
        except LocalTimeInvalid:
            draw(st.sampled_from([each for each in (rules, special) if each])).pop()
    return define(zone, days=[SpecialDay("2026-03-10", "drawn")])


def phase_by_the_clock(hours: Hours, at_s: int) -> tuple[str, Phase]:
    """The session's date and the phase at a second: what the definition says, without compiling."""
    if hours.always:
        return "", Phase.CONTINUOUS
    wall = datetime.fromtimestamp(at_s, ZoneInfo(hours.zone)).replace(tzinfo=None)
    for shift in range(-3, 2):  # sessions begin at most a day before their dates, and end in two
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
