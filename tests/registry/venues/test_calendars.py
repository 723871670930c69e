"""Exporting from exchange_calendars: with the package where it is installed, else with a stand-in
that gives the golden sessions in the package's way."""

from __future__ import annotations

import os
import random
import sys
from array import array
from collections.abc import Iterator
from datetime import datetime, time
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alphapulse.log import parse_time
from alphapulse.registry.venues import (
    CalendarsMissing,
    Hours,
    HoursInvalid,
    Phase,
    Timetable,
    UnknownCalendar,
    bundled_hours,
    calendar_names,
    calendars,
    from_calendar,
)
from tests.registry.venues.exporting import GOLDEN_MICS, MINUTE_NS

SEED = int(os.environ.get("ALPHAPULSE_TEST_SEED", random.SystemRandom().getrandbits(32)))
NO_TIME = -(1 << 63)
DAY_NS = 86_400_000_000_000
YEARS = parse_time("2024"), parse_time("2026")
Golden = dict[str, list[tuple[int, ...]]]


@pytest.fixture(autouse=True)
def _package_is_looked_for_again() -> Iterator[None]:
    calendars._package.cache_clear()
    yield
    calendars._package.cache_clear()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    for ask in (calendar_names, calendars.source, lambda: from_calendar("XNYS")):
        with pytest.raises(CalendarsMissing, match=r"alphapulse\[calendars\]"):
            ask()


# --- with a stand-in -------------------------------------------------------------------------


class Calendar:
    """As much of an ExchangeCalendar as is read; columns are arrays, whose `tolist` is numpy's."""

    name = "stand-in"
    open_times = ((None, time(9)),)
    break_start_times = break_end_times = None
    regular_holidays = None
    special_opens: tuple[Any, ...] = ()
    special_closes: tuple[Any, ...] = ()

    def __init__(self, zone: str, sessions: list[tuple[int, ...]], cut: str = "") -> None:
        self.tz = ZoneInfo(zone)
        cuts = [(datetime.fromisoformat(cut), time(15, 30))] if cut else []
        self.close_times = ((None, time(15)), *cuts)
        rows = [each if len(each) == 4 else (each[0], NO_TIME, NO_TIME, each[1])
                for each in sessions]  # fmt: skip
        opens, break_starts, break_ends, closes = zip(*rows, strict=True)
        self.opens_nanos, self.closes_nanos = array("q", opens), array("q", closes)
        self.break_starts_nanos = array("q", break_starts)
        self.break_ends_nanos = array("q", break_ends)
        shift = 9 * 3600 * 10**9 if zone.startswith("Asia") else 0
        self.sessions_nanos = array("q", [(each + shift) // DAY_NS * DAY_NS for each in opens])

    def bound_min(self) -> datetime | None:
        return datetime(2024, 1, 1)

    def bound_max(self) -> datetime | None:
        return datetime(2025, 12, 31)

    def default_end(self) -> datetime:
        return datetime(2025, 12, 31)


def install(monkeypatch: pytest.MonkeyPatch, **named: Calendar) -> None:
    def get_calendar(name: str, **dates: str) -> Calendar:
        return named[name]

    package = SimpleNamespace(get_calendar_names=lambda: list(named), get_calendar=get_calendar)
    monkeypatch.setitem(sys.modules, "exchange_calendars", package)


def of_sessions(hours: Hours) -> list[tuple[int, ...]]:
    found = Timetable(hours).sessions(0, YEARS[1])
    return [(each.phases[0].start, *(part.end for part in each.phases)) for each in found]


@pytest.mark.parametrize(
    "mic, cut, days",
    [
        ("XTKS", "2024-11-05", 35), ("XETR", "", 18),
        # who does not say when times changed gets special days for the rest of that year
        ("XTKS", "", 75),
    ],
)  # fmt: skip
def test_what_is_exported_has_the_sessions_of_its_source(
    monkeypatch: pytest.MonkeyPatch, golden: Golden, mic: str, cut: str, days: int
) -> None:
    sessions = [each for each in golden[mic] if YEARS[0] < each[0] < YEARS[1]]
    install(monkeypatch, **{mic: Calendar(bundled_hours(mic).zone, sessions, cut)})
    hours = from_calendar(mic)
    assert of_sessions(hours) == sessions
    assert (hours.holidays_to, len(hours.days)) == ("2025-12-31", days)
    continuous = [str(each).split("20")[0] for each in bundled_hours(mic).rules]
    assert [str(each).split("20")[0] for each in hours.rules] == continuous
    assert hours.rules[0].first == "2024-01-01"


@pytest.mark.parametrize(
    "first, last", [("2023-12-31", ""), ("", "2026-01-01"), ("2025-02-02", "2025-02-01")]
)
def test_dates_that_the_calendar_does_not_know(
    monkeypatch: pytest.MonkeyPatch, golden: Golden, first: str, last: str
) -> None:
    install(monkeypatch, XETR=Calendar("Europe/Berlin", golden["XETR"]))
    with pytest.raises(HoursInvalid, match=r"it does not know these dates.*2024-01-01\.\.2025"):
        from_calendar("XETR", first, last)
    with pytest.raises(UnknownCalendar, match="no such calendar"):
        from_calendar("XXXX")


def test_sessions_that_are_not_understood_are_refused(
    monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    """Two sessions of one date."""
    sessions = [each for each in golden["XETR"] if YEARS[0] < each[0] < YEARS[1]]
    opens, closes = sessions[200]
    install(monkeypatch, XETR=Calendar(
        "Europe/Berlin",
        [*sessions[:200], (opens, opens + MINUTE_NS), (opens + MINUTE_NS, closes), *sessions[201:]],
    ))  # fmt: skip
    with pytest.raises(HoursInvalid, match="of a kind that is not understood"):
        from_calendar("XETR")


def test_what_the_package_cannot_make(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, XETR=Calendar("Europe/Berlin", [(0, MINUTE_NS)]))
    monkeypatch.setattr(sys.modules["exchange_calendars"], "get_calendar", lambda name: 1 // 0)
    with pytest.raises(HoursInvalid, match="cannot make it: integer division"):
        from_calendar("XETR")


# --- with the package ------------------------------------------------------------------------

needs_package = pytest.mark.skipif(
    find_spec("exchange_calendars") is None, reason="exchange_calendars is not installed"
)


@needs_package
@pytest.mark.filterwarnings("ignore")  # pandas warns of what exchange_calendars does
@pytest.mark.parametrize("mic", GOLDEN_MICS)
def test_no_answer_differs_from_the_package(mic: str) -> None:
    """10,000 random minutes of 2020 to 2026 and every boundary of a session, asked of both."""
    print(f"ALPHAPULSE_TEST_SEED={SEED}")
    stamp = import_module("pandas").Timestamp
    package = import_module("exchange_calendars")
    theirs = package.get_calendar(mic, start="2019-12-01", end="2027-01-31")
    first, last = (stamp(day, tz="UTC").value // MINUTE_NS for day in ("2020-01-01", "2027-01-01"))
    minutes = random.Random(SEED)
    instants = {minutes.randrange(first, last) for _ in range(10_000)}
    boundaries = 0
    for name in ("opens", "closes", "break_starts", "break_ends"):
        for instant in getattr(theirs, f"{name}_nanos").tolist():
            minute = instant // MINUTE_NS
            if first <= minute < last:
                boundaries += 1
                instants |= {minute - 1, minute, minute + 1}
    table = Timetable(bundled_hours(mic))
    for minute in instants:
        at, moment = minute * MINUTE_NS, stamp(minute * MINUTE_NS, tz="UTC")
        is_open, is_break = theirs.is_open_on_minute(moment), theirs.is_break_minute(moment)
        phase = Phase.CONTINUOUS if is_open else Phase.BREAK if is_break else Phase.CLOSED
        assert table.phase_at(at) is phase, moment
        assert table.is_open(at) == is_open, moment
        assert table.is_open(at, Phase.BREAK) == is_break, moment
        assert table.next_open(at) == theirs.next_open(moment).value, moment
        assert table.next_close(at) == theirs.next_close(moment).value, moment
    print(f"{mic}: {len(instants)} minutes, {boundaries} boundaries of sessions, 0 differences")


@needs_package
@pytest.mark.filterwarnings("ignore")  # as above
def test_what_is_exported_anew_is_what_is_bundled() -> None:
    if calendars.source() != "exchange_calendars 4.13.2":
        pytest.skip("the bundled hours are of another version")
    assert from_calendar("XHKG", "2010-01-01", "2028-12-31") == bundled_hours("XHKG")
    assert from_calendar("24/7") == bundled_hours("always")
