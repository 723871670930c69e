"""Trading hours as they are written down: one spelling of each, and what is refused."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import msgspec
import pytest
from hypothesis import given

from alphapulse.log import InvalidInput
from alphapulse.registry.venues import (
    Hours,
    HoursInvalid,
    LocalTimeInvalid,
    PhasesOverlap,
    Rule,
    SpecialDay,
    UnknownZone,
    define,
    from_plain,
    plain,
    rule,
    span,
    special_day,
)
from alphapulse.registry.venues.hours import (
    DAYS_MAX,
    RULES_MAX,
    clock_s,
    clock_text,
    weekdays_of,
    weekdays_text,
)
from tests.registry.venues.worlds import any_hours

NEW_YORK = "America/New_York"


def weekly(
    start: str = "09:30", end: str = "16:00", weekdays: str = "mon-fri", phase: str = "continuous",
    first: str = "", last: str = "",
) -> Rule:  # fmt: skip
    return rule(phase, weekdays, start, end, first, last)


# --- spelling --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_, text, seconds",
    [
        ("9:30", "09:30", 34_200), (" 09:30 ", "09:30", 34_200), ("09:30:00", "09:30", 34_200),
        ("09:30:15", "09:30:15", 34_215), ("24:00", "00:00+1", 86_400), ("00:00", "00:00", 0),
        ("02:00+1", "02:00+1", 93_600), ("18:00-1", "18:00-1", -21_600), ("24:00-1", "00:00", 0),
        ("24:00+6", "00:00+7", 604_800), (time(9, 30), "09:30", 34_200),
    ],
)  # fmt: skip
def test_times_of_the_clock(given_: object, text: str, seconds: int) -> None:
    assert clock_s(given_, "start") == seconds
    assert clock_text(seconds) == text
    assert clock_s(text, "start") == seconds


@pytest.mark.parametrize(
    "value",
    [
        "", "9", "9.30", "24:01", "25:00", "12:60", "12:00:60", "12:00+8", "12:00-2", "1200", "+1",
        "12:00 PM", "١٢:00", None, 930, time(9, 30, 0, 5), "00:00+7:00",
    ],
)  # fmt: skip
def test_what_is_no_time_of_the_clock(value: object) -> None:
    with pytest.raises(InvalidInput, match="reading field start"):
        clock_s(value, "start")


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("mon-fri", "mon-fri"), ("Mon, Tue,wed THU Friday", "mon-fri"), ("sun-thu", "mon-thu,sun"),
        ("sat-mon", "mon,sat,sun"), ("sunday", "sun"), ("mon-sun", "mon-sun"),
        ("tue,mon", "mon,tue"), ("wed-wed", "wed"), ("mon-wed,tue-thu", "mon-thu"),
    ],
)  # fmt: skip
def test_weekdays(text: str, canonical: str) -> None:
    assert weekdays_text(weekdays_of(text)) == canonical
    assert weekdays_of(canonical) == weekdays_of(text)


@pytest.mark.parametrize("text", ["", "never", "mon-", "-fri", "m-f", "12345", "mon–fri", None, 5])
def test_what_are_no_weekdays(text: object) -> None:
    with pytest.raises(InvalidInput, match="reading field weekdays"):
        weekdays_of(text)


def test_equal_hours_have_equal_bytes() -> None:
    """Rules in another order, spelling and grouping, and special days in another order."""
    one = define(
        NEW_YORK,
        [weekly(weekdays="mon-fri"), weekly("16:00", "20:00", phase="post")],
        [special_day("2026-12-25", "Christmas"),
         special_day("2026-12-24", "half day", [span("pre_open", "8:00", "9:30"),
                                                span("continuous", "9:30", "13:00")])],
    )  # fmt: skip
    other = define(
        f" {NEW_YORK}",
        [
            rule("Post", "fri,thu,wed,tue,mon", "16:00:00", "20:00"),
            weekly("9:30", weekdays="mon,wed", last="2024-02-28"),
            weekly("9:30", weekdays="fri"),
            weekly("9:30", weekdays="mon,wed", first="2024-02-29"),
            weekly("9:30", weekdays="tuesday thursday"),
        ],
        [special_day(date(2026, 12, 24), " half day ", [span("CONTINUOUS", time(9, 30), "13:00"),
                                                        span("pre-open", "08:00", "09:30")]),
         special_day("2026-12-25", "Christmas")],
    )  # fmt: skip
    assert one == other
    assert msgspec.msgpack.encode(plain(one)) == msgspec.msgpack.encode(plain(other))
    assert [str(each) for each in one.rules] == [
        "continuous mon-fri 09:30 16:00", "post mon-fri 16:00 20:00",
    ]  # fmt: skip


def test_periods_that_do_not_adjoin_stay_apart() -> None:
    hours = define(NEW_YORK, [weekly(last="2024-02-28"), weekly(first="2024-03-01")])
    assert [each.first for each in hours.rules] == ["", "2024-03-01"]


@given(any_hours())
def test_hours_are_plain_data(hours: Hours) -> None:
    data = msgspec.msgpack.encode(plain(hours))
    assert from_plain(msgspec.msgpack.decode(data)) == hours
    assert define(hours.zone, hours.rules, hours.days, holidays_to=hours.holidays_to,
                  always=hours.always) == hours  # fmt: skip


def test_the_plain_form() -> None:
    rules = [weekly("12:30", "15:30", first="2024-11-05")]
    days = [special_day("2026-12-31", "New Year's Eve")]
    hours = define("Asia/Tokyo", rules, days, holidays_to="2026-12-31")
    assert plain(hours) == {
        "zone": "Asia/Tokyo",
        "rules": [{"phase": "continuous", "weekdays": "mon-fri", "start": "12:30", "end": "15:30",
                   "first": "2024-11-05"}],
        "days": [{"date": "2026-12-31", "reason": "New Year's Eve"}],
        "holidays_to": "2026-12-31",
    }  # fmt: skip
    assert plain(define("UTC", always=True)) == {"zone": "UTC", "always": True}


@pytest.mark.parametrize(
    "change",
    [
        {"zone": 5}, {"zone": "Asia/Tokyo\n"}, {"zone": "A" * 65},
        {"rules": [{"phase": "continuous"}]}, {"rules": "mon-fri"},
        {"rules": [{"phase": "continuous", "weekdays": "fri,mon", "start": "09:30",
                    "end": "16:00"}]},
        {"rules": [{"phase": "continuous", "weekdays": "mon", "start": "9:30", "end": "16:00"}]},
        {"rules": [{"phase": "continuous", "weekdays": "mon", "start": "16:00", "end": "09:30"}]},
        {"always": True}, {"days": [{"date": "2026-13-01", "reason": "x"}]}, {"always": "yes"},
        {"days": [{"date": "2026-12-02", "reason": "x"}, {"date": "2026-12-01", "reason": "x"}]},
    ],
)  # fmt: skip
def test_plain_data_that_define_never_gives_is_refused(change: dict[str, object]) -> None:
    good = plain(define("Asia/Tokyo", [weekly()]))
    assert from_plain(good).zone == "Asia/Tokyo"
    with pytest.raises(InvalidInput):
        from_plain(good | change)


def test_what_is_read_back_depends_on_no_zone_database() -> None:
    """A government may move a clock change to where a session begins; the record stays readable."""
    for zone, start in (("Mars/Olympus_Mons", "09:30"), (NEW_YORK, "02:30")):
        given_ = Hours(zone, (Rule("continuous", "sun", start, "16:00"),))
        assert from_plain(plain(given_)) == given_
        with pytest.raises((UnknownZone, LocalTimeInvalid)):
            define(zone, given_.rules)


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"phase": "open"}, "field phase: there is no such phase"),
        ({"phase": "closed"}, "field phase: what no phase covers is closed"),
        ({"phase": None}, "field phase: it must be text"),
        ({"end": "09:30"}, "field end: it is not after the start, 09:30"),
        ({"start": "18:00", "end": "02:00"}, r"02:00\+1 is 02:00 of the next day"),
        ({"first": "2026-05-02", "last": "2026-05-01"}, "field last: it is before the first date"),
        ({"first": "2026-02-30"}, "field first"), ({"last": "tomorrow"}, "field last"),
        ({"first": "1600-01-01"}, "its year must be 1700 to 2260"), ({"last": None}, "field last"),
    ],
)  # fmt: skip
def test_rules_that_are_refused(change: dict[str, Any], problem: str) -> None:
    good = {"phase": "continuous", "weekdays": "mon", "start": "09:30", "end": "16:00"}
    assert rule(**good) == weekly(weekdays="mon")
    with pytest.raises(InvalidInput, match=problem):
        rule(**(good | change))


@pytest.mark.parametrize(
    "day, reason, problem",
    [
        ("2026-12-32", "x", "field date"), ("", "x", "field date"),
        ("2026-12-25", "", "field reason: it is missing"), ("2026-12-25", None, "field reason"),
        ("2026-12-25", "\u202etxet", r"U\+202E"), ("2026-12-25", "x" * 129, "129 bytes"),
    ],
)  # fmt: skip
def test_special_days_that_are_refused(day: object, reason: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        special_day(day, reason)


def test_a_gap_between_phases_is_fine() -> None:
    hours = define("Asia/Tokyo", [weekly("09:00", "11:30"), weekly("12:30", "15:30")])
    assert len(hours.rules) == 2


@pytest.mark.parametrize(
    "rules, days, dates",
    [
        # within a session
        ([weekly(), weekly("15:59", "17:00", phase="post")], [], ("2024-01-01", "2024-01-01")),
        ([weekly(), weekly()], [], ("2024-01-01", "2024-01-01")),
        ([weekly(), weekly("15:59:59", "17:00", phase="post")], [], ("2024-01-01", "2024-01-01")),
        # only before a date, on a weekday that is days before it
        ([weekly(weekdays="mon", last="2010-12-31"), weekly("10:00", last="2010-12-31")], [],
         ("2010-12-20", "2010-12-20")),
        # of one session with the next, by dates that meet late, and on one weekday only
        ([weekly("18:00", "09:31+1"), weekly(phase="post")], [], ("2024-01-01", "2024-01-02")),
        ([weekly(last="2030-03-06", weekdays="wed"), weekly("12:00", first="2030-03-06")], [],
         ("2030-03-06", "2030-03-06")),
        ([weekly("00:00", "01:00+6", weekdays="mon"), weekly("00:00", "01:00", weekdays="sun")], [],
         ("2024-01-01", "2024-01-07")),
        ([weekly(end="09:31+1", weekdays="tue", last="2030-03-05"), weekly(first="2030-03-06")], [],
         ("2030-03-05", "2030-03-06")),
        # of special days: within, with the day before and with the day after
        ([weekly()], [special_day("2040-01-04", "x", [span("post", "10:00", "11:00"),
                                                      span("continuous", "10:59", "12:00")])],
         ("2040-01-04", "2040-01-04")),
        ([weekly()], [special_day("2040-01-04", "x", [span("post", "10:00-1", "11:00")])],
         ("2040-01-03", "2040-01-04")),
        ([weekly()], [special_day("2040-01-02", "x", [span("post", "10:00", "09:31+2")])],
         ("2040-01-03", "2040-01-02")),
    ],
)  # fmt: skip
def test_phases_that_overlap(
    rules: list[Rule], days: list[SpecialDay], dates: tuple[str, str]
) -> None:
    with pytest.raises(PhasesOverlap) as caught:
        define(NEW_YORK, rules, days)
    facts = caught.value.facts
    assert {facts["date"], facts["other_date"]} == set(dates)
    texts = {str(each) for each in rules} | {
        f"{phase} of {day.date}" for day in days for phase in day.phases
    }
    assert {facts["phase"], facts["other"]} <= texts


def test_special_days_replace_what_would_overlap() -> None:
    days = [special_day("2040-01-02", "x", [span("continuous", "09:30", "09:30+1")])]
    assert define(NEW_YORK, [weekly("09:30", "16:00")], days).days == tuple(days)


@pytest.mark.parametrize(
    "zone, rules, days, problem, date_",
    [
        (NEW_YORK, [weekly("02:30", "16:00", "sun")], [], "1970-04-26 02:30:00 does not exist",
         "1970-04-26"),
        (NEW_YORK, [weekly("02:30", "16:00", "sun", first="2026-01-01")], [],
         "2026-03-08 02:30:00 does not exist", "2026-03-08"),
        (NEW_YORK, [weekly("18:00", "01:00+1", "sat", first="2026-06-01")], [],
         "2026-11-01 01:00:00 exists twice", "2026-10-31"),
        ("America/Sao_Paulo", [weekly("00:00", "12:00", "sun", first="2018-06-01")], [],
         "2018-11-04 00:00:00 does not exist", "2018-11-04"),
        ("America/Sao_Paulo", [weekly("10:00", "24:00", "sat", first="2018-06-01")], [],
         "2018-11-04 00:00:00 does not exist", "2018-11-03"),
        ("Australia/Lord_Howe", [weekly("01:59", "10:00", "sun", first="2027-01-01")], [],
         "2027-04-04 01:59:00 exists twice", "2027-04-04"),
        (NEW_YORK, [weekly()],
         [special_day("2026-03-08", "test", [span("continuous", "01:00", "02:00")])],
         "2026-03-08 02:00:00 does not exist", "2026-03-08"),
    ],
)  # fmt: skip
def test_local_times_that_do_not_exist_or_exist_twice(
    zone: str, rules: list[Rule], days: list[SpecialDay], problem: str, date_: str
) -> None:
    with pytest.raises(LocalTimeInvalid, match=problem) as caught:
        define(zone, rules, days)
    assert caught.value.facts["date"] == date_
    texts = [str(each) for each in rules] + [f"{days[0].phases[0]} of {date_}"] if days else rules
    assert str(caught.value.facts["phase"]) in map(str, texts)


def test_times_beside_a_clock_change_and_on_days_without_a_session() -> None:
    for rules in (
        [weekly("03:00", "16:00", "sun", first="2026-01-01", last="2026-06-01")],
        [weekly("02:00", "16:00", "sun", first="2026-06-01", last="2026-12-01")],
        [weekly("02:30", "16:00", "mon-sat")],
        [weekly("02:30", "16:00", "sun", first="2026-03-09", last="2026-10-31")],
    ):
        assert define(NEW_YORK, rules).rules == tuple(rules)
    days = [special_day("2026-03-08", "clocks change", [span("continuous", "03:00", "16:00")])]
    rules = [weekly("02:30", "16:00", "sun", first="2026-01-01", last="2026-10-01")]
    assert define(NEW_YORK, rules, days).days == tuple(days)


@pytest.mark.parametrize(
    "keywords, problem",
    [
        ({}, "it has no rule and no special day"),
        ({"rules": [weekly()], "always": True}, "it is open always and has rules"),
        ({"days": [special_day("2026-01-01", "x")], "always": True}, "open always and has rules"),
        ({"days": [special_day("2026-01-01", "x"), special_day("2026-01-01", "y")]},
         "two special days have it: x, y"),
        ({"rules": [weekly()] * (RULES_MAX + 1)}, "field rules: there are 501"),
        ({"days": [SpecialDay("2026-01-01", "x")] * (DAYS_MAX + 1)}, "field days: there are 10001"),
        ({"days": [special_day(f"2{year:03d}-06-{day:02d}", "x" * 128)
                   for year in range(250) for day in range(1, 31)]},
         "they have 1[0-9]{6} bytes, at most 900000"),
        ({"rules": [weekly()], "holidays_to": "soon"}, "field holidays_to"),
        ({"rules": [Rule("open", "mon", "09:30", "16:00")]}, "field phase"),
    ],
)  # fmt: skip
def test_hours_that_are_refused_as_a_whole(keywords: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        define(NEW_YORK, **keywords)


def test_a_zone_that_does_not_exist() -> None:
    with pytest.raises(UnknownZone, match="America/New_York"):
        define("america/newyork", [weekly()])


def test_errors_are_of_the_house() -> None:
    assert issubclass(HoursInvalid, InvalidInput)
    error = HoursInvalid("defining hours")
    assert "nothing was changed" in str(error)
