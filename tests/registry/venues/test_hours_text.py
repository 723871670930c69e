"""Hours as TOML and CSV: both ways of writing say the same, and what is wrong is named."""

from __future__ import annotations

import pytest
from hypothesis import given

from alphapulse.log import InvalidInput
from alphapulse.registry.venues import (
    Hours,
    HoursInvalid,
    PhasesOverlap,
    UnknownZone,
    define,
    hours_of_toml,
    read_csv,
    read_toml,
    rule,
    span,
    special_day,
    to_toml,
)
from alphapulse.registry.venues.hours_text import FILE_SIZE_BYTES_MAX
from tests.registry.venues.worlds import any_hours

TOKYO = define(
    "Asia/Tokyo",
    [
        rule("continuous", "mon-fri", "09:00", "11:30"),
        rule("break", "mon-fri", "11:30", "12:30"),
        rule("continuous", "mon-fri", "12:30", "15:00", "", "2024-11-04"),
        rule("continuous", "mon-fri", "12:30", "15:30", "2024-11-05"),
    ],
    [
        special_day("2020-10-01", 'a "failure" \\ of the system'),
        special_day("2026-12-30", "half day", [span("continuous", "09:00", "11:30")]),
        special_day("2026-12-31", "New Year's holiday"),
        special_day("2027-01-01", "New Year's holiday"),
    ],
    holidays_to="2027-12-31",
)
TOML = r"""
venues = ["XTKS", "japannext:test"]
zone = "Asia/Tokyo"
holidays_to = 2027-12-31        # a date of TOML is taken as its text is

[[rule]]
phase = "continuous"
weekdays = "mon-fri"
start = "9:00"
end = 11:30:00

[[rule]]
phase = "break"
weekdays = "mon tue wed thu fri"
start = "11:30"
end = "12:30"

[[rule]]
phase = "continuous"
weekdays = "mon-fri"
start = "12:30"
end = "15:00"
last = 2024-11-04

[[rule]]
phase = "continuous"
weekdays = "mon-fri"
start = "12:30"
end = "15:30"
first = "2024-11-05"

[[day]]
date = 2020-10-01
reason = 'a "failure" \ of the system'

[[day]]
dates = ["2026-12-31", 2027-01-01]
reason = "New Year's holiday"

[[day]]
date = "2026-12-30"
reason = "half day"
phases = ["continuous 9:00 11:30"]
"""
CSV = r"""venue,zone,holidays_to,phase,weekdays,start,end,first,last,date,reason
XTKS,Asia/Tokyo,2027-12-31,continuous,mon-fri,09:00,11:30,,,,
binance,,,,,,,,,2026-01-01,maintenance
XTKS,,,break,mon-fri,11:30,12:30,,,,
XTKS,,,continuous,mon-fri,12:30,15:00,,2024-11-04,,
XTKS,Asia/Tokyo,,continuous,mon-fri,12:30,15:30,2024-11-05,,,

XTKS,,,,,,,,,2020-10-01,"a ""failure"" \ of the system"
XTKS,,,,,,,,,2026-12-31,New Year's holiday
XTKS,,,,,,,,,2027-01-01,New Year's holiday
XTKS,,,continuous,,09:00,11:30,,,2026-12-30,half day
binance,UTC,,continuous,sun-sat,00:00,24:00,,,,
"""


def test_toml_and_csv_say_the_same() -> None:
    assert read_toml(TOML.encode()) == (("XTKS", TOKYO), ("japannext:test", TOKYO))
    (tokyo, binance) = read_csv(CSV.replace("\n", "\r\n").encode("utf-8-sig"))
    assert tokyo == ("XTKS", TOKYO)
    assert (binance.venue, binance.hours.zone) == ("binance", "UTC")
    assert binance.hours.days[0].reason == "maintenance"


@given(any_hours())
def test_what_is_written_is_read(hours: Hours) -> None:
    text = to_toml(hours, ["XNAS"])
    assert max(map(len, text.splitlines())) <= 100
    assert read_toml(text.encode()) == (("XNAS", hours),)


def test_long_lists_are_broken() -> None:
    days = [special_day(f"20{year}-12-25", "Christmas") for year in range(10, 99)]
    text = to_toml(define("UTC", days=days))
    assert max(map(len, text.splitlines())) <= 100
    assert hours_of_toml(text.encode()).days == tuple(days)


def test_days_with_several_phases_stand_in_several_rows() -> None:
    (found,) = read_csv(
        b"venue,zone,date,reason,phase,start,end\n"
        b"XHKG,Asia/Hong_Kong,2026-01-02,x,continuous,13:00,16:00\n"
        b"XHKG,,2026-01-02,x,continuous,09:30,12:00\n"
    )
    assert [str(each) for each in found.hours.days[0].phases] == [
        "continuous 09:30 12:00", "continuous 13:00 16:00",
    ]  # fmt: skip


def test_what_is_always_open_needs_no_zone() -> None:
    always = define("UTC", always=True)
    assert read_toml(b'venues = ["kraken"]\nalways = true') == (("kraken", always),)
    assert read_csv(b"venue,always\nkraken,Yes\n") == (("kraken", always),)


RULE = '[[rule]]\nphase="continuous"\nweekdays="mon"\nstart="09:00"\nend="10:00"\n'
HEAD = 'venues=["XNAS"]\nzone="America/New_York"\n'


@pytest.mark.parametrize(
    "text, error, problem",
    [
        ("", InvalidInput, "reading field zone: it must be text"),
        (HEAD + "always=true\nholidays_to=2026-01-01", HoursInvalid, "it is open always and"),
        ("\nzone = 5 6", HoursInvalid, r"it is not TOML: .*line 2"),
        ("x = " + "[" * 5000, HoursInvalid, "it is not TOML|nested too deep"),
        (HEAD, HoursInvalid, "it has no rule and no special day"),
        ('venues=["XNAS"]\n' + RULE, InvalidInput, "reading field zone: it must be text"),
        ('zone="UTC"\n' + RULE, InvalidInput, "reading field venues: it must list the venues"),
        ('venues="XNAS"\nzone="UTC"\n' + RULE, InvalidInput, "field venues"),
        ('venues=["new york"]\nzone="UTC"\n' + RULE, InvalidInput, "neither a MIC nor a slug"),
        ('venues=[5]\nzone="UTC"\n' + RULE, InvalidInput, "reading field venues: it must be text"),
        ('venues=["XNAS"]\nzone="New York"\n' + RULE, UnknownZone, "did you mean America/New_York"),
        (HEAD + "hours=1\n" + RULE, HoursInvalid, "the file has an unknown name.*hours"),
        (HEAD + "always=1\n" + RULE, InvalidInput, "field always: it must be true or false"),
        (HEAD + "always=true\n" + RULE, HoursInvalid, "it is open always and has rules"),
        (HEAD + 'rule="mon-fri"', HoursInvalid, r"write each under \[\[rule\]\]"),
        (HEAD + RULE + RULE.replace("mon", "moon"), InvalidInput, "^rule 2: .*field weekdays"),
        (HEAD + RULE + "until=2026-01-01", HoursInvalid, "^rule 1: .*it has an unknown name"),
        (HEAD + RULE.replace('end="10:00"\n', ""), InvalidInput, "^rule 1: reading field end"),
        (HEAD + RULE + "last=2026-01-01T10:00:00", InvalidInput, "^rule 1: reading field last"),
        (HEAD + RULE + RULE, PhasesOverlap, "two phases overlap"),
        (HEAD + '[[day]]\nreason="x"', HoursInvalid, "^day 1: .*either date or dates"),
        (HEAD + '[[day]]\nreason="x"\ndates=[]', HoursInvalid, "^day 1: .*either date or dates"),
        (HEAD + '[[day]]\nreason="x"\ndate=2026-01-01\ndates=[]', HoursInvalid, "either date or"),
        (HEAD + "[[day]]\ndate=2026-01-01", InvalidInput, "^day 1: reading field reason"),
        (HEAD + '[[day]]\nreason="x"\ndate=2026-01-01\nphases=["09:00"]', InvalidInput,
         "^day 1: reading field phases: it is not a phase, its start and its end"),
        (HEAD + '[[day]]\nreason="x"\ndate=2026-01-01\nphases="09:00"', InvalidInput,
         "^day 1: reading field phases: it must be a list"),
        (HEAD + '[[day]]\nreason="x"\ndate=2026-01-01\n' * 2, InvalidInput, "two special days"),
    ],
)  # fmt: skip
def test_toml_that_is_refused(text: str, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        read_toml(text.encode())


HEADER = "venue,zone,phase,weekdays,start,end,first,last,date,reason,always,holidays_to\n"
GOOD = "XNAS,UTC,continuous,mon,09:00,10:00,,,,,,\n"


@pytest.mark.parametrize(
    "text, error, problem",
    [
        ("", HoursInvalid, "the header must have a column venue"),
        ("zone\nUTC\n", HoursInvalid, "the header must have a column venue"),
        ("venue,venue\n", HoursInvalid, "each column once"),
        ("venue,weekday\nXNAS,mon\n", HoursInvalid, "the header has an unknown name.*weekday"),
        (HEADER, HoursInvalid, "it has no row"),
        (HEADER + GOOD + "XNAS,UTC\n", HoursInvalid, "line 3 has 2 cells, the header 12"),
        (HEADER + GOOD + '"XNAS,UTC\n', HoursInvalid, "line 3 is not CSV"),
        (HEADER + GOOD + ",UTC,continuous,tue,09:00,10:00,,,,,,\n", InvalidInput,
         "^line 3: reading field venue"),
        (HEADER + GOOD + "XNAS,UTC,continuous,tue,09:00,08:00,,,,,,\n", InvalidInput,
         "^line 3: reading field end: it is not after the start"),
        (HEADER + GOOD + "XNAS,Asia/Tokyo,continuous,tue,09:00,10:00,,,,,,\n", HoursInvalid,
         "^line 3: .*this venue has another zone"),
        (HEADER + GOOD + GOOD, PhasesOverlap, "^XNAS, from line 2: defining hours"),
        (HEADER + "XNAS,,continuous,mon,09:00,10:00,,,,,,\n", UnknownZone, "^XNAS, from line 2"),
        (HEADER + GOOD + "XNAS,,,,,,,,2026-01-01,,,\n", InvalidInput,
         "^line 3: reading field reason: it is missing"),
        (HEADER + "XNAS,UTC,continuous,mon,09:00,10:00,,,,why,,\n", HoursInvalid,
         "^line 2: .*it has a reason and no date"),
        (HEADER + GOOD + "XNAS,,,,,,,,,why,,\n", HoursInvalid, "^line 3: .*a reason and no date"),
        (HEADER + "XNAS,UTC,continuous,mon,09:00,10:00,,,2026-01-01,x,,\n", HoursInvalid,
         "^line 2: .*it has a date and weekdays"),
        (HEADER + "XNAS,UTC,,,,,,,2026-01-01,x,,\nXNAS,,post,,09:00,10:00,,,2026-01-01,x,,\n",
         HoursInvalid, "^line 3: .*closed in one row"),
        (HEADER + "XNAS,UTC,post,,09:00,10:00,,,2026-01-01,x,,\nXNAS,,,,,,,,2026-01-01,x,,\n",
         HoursInvalid, "^line 3: .*closed in one row"),
        (HEADER + "XNAS,UTC,post,,09:00,10:00,,,2026-01-01,x,,\n"
         "XNAS,UTC,post,,10:00,11:00,,,2026-01-01,y,,\n", InvalidInput, "two special days have it"),
        (HEADER + "XNAS,UTC,,,,,,,,,maybe,\n", InvalidInput, "field always: it must be yes or no"),
        (HEADER + "XNAS,UTC,continuous,mon,09:00,10:00,,,,,yes,\n", HoursInvalid, "open always"),
    ],
)  # fmt: skip
def test_csv_that_is_refused(text: str, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        read_csv(text.encode())


@pytest.mark.parametrize("read", [read_toml, read_csv])
def test_bytes_that_are_no_text(read: object) -> None:
    assert callable(read)
    with pytest.raises(HoursInvalid, match="not UTF-8"):
        read(b"venue,zone\nXNAS,\xff\n")
    with pytest.raises(HoursInvalid, match="at most 4194304 are read"):
        read(b" " * (FILE_SIZE_BYTES_MAX + 1))
