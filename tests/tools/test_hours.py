from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .conftest import Run

TOML = """
venues = ["XTKS", "v"]
zone = "UTC"
[[rule]]
phase = "continuous"
weekdays = "mon-fri"
start = "09:00"
end = "10:00"
"""
CSV = "venue,zone,phase,weekdays,start,end\nv,UTC,continuous,mon-fri,11:00,12:00\n"


@pytest.fixture(autouse=True)
def _venue(run: Run) -> None:
    run("venue", "add", "XTKS")
    run("venue", "add", "v")


def test_hours_are_unknown_until_they_are_said(run: Run) -> None:
    for words in (("is-open",), ("next",), ("show",)):
        unknown = run("hours", *words, "XTKS")
        assert unknown.code == 1 and "no hours of this venue are known" in unknown.err
    assert "there is no such venue" in run("hours", "is-open", "XLON").err


def test_a_venue_says_whether_it_is_open(run: Run) -> None:
    run("hours", "set", "XTKS", "--bundled")
    lunch = ("--at", "2026-11-24T12:00:00+09:00")
    closed = run("hours", "is-open", "XTKS", *lunch, "--json")
    assert closed.code == 1 and closed.rows == [{
        "venue": "XTKS", "at": "2026-11-24T03:00:00.000000000Z", "open": False, "phase": "break",
        "until": "2026-11-24T03:30:00.000000000Z", "reason": None, "holidays_to": "2028-12-31",
    }]  # fmt: skip
    in_break = run("hours", "is-open", "XTKS", *lunch, "--phase", "break")
    assert in_break.code == 0 and "XTKS is in break at" in in_break.out
    assert run("hours", "is-open", "XTKS", "--at", "2026-11-24T01:00Z").code == 0
    (coming,) = run("hours", "next", "XTKS", *lunch, "--json").rows
    assert coming["next_open"] == "2026-11-25T00:00:00.000000000Z"
    assert coming["next_close"] == "2026-11-24T06:30:00.000000000Z"
    assert "next_close  2026-11-24 06:30:00 UTC" in run("hours", "next", "XTKS", *lunch).out
    assert run("hours", "is-open", "XTKS", *lunch, "--phase", "nap").code == 2


def test_what_no_special_day_is_known_of_is_told(run: Run) -> None:
    run("hours", "set", "XTKS", "--bundled")
    told = "XTKS: special days are known to 2028-12-31; after it only weekly rules speak"
    for words in (
        ("is-open", "XTKS", "--at", "2029-01-01T01:00Z"),
        ("next", "XTKS", "--at", "2028-12-31T06:00Z"),
        ("show", "XTKS", "--from", "2028-12-28", "--to", "2029-01-03"),
    ):
        assert told in run("hours", *words).err
    for words in (
        ("is-open", "XTKS", "--at", "2028-12-31T01:00Z"),
        ("next", "XTKS", "--at", "2028-12-26T06:00Z"),
        ("show", "XTKS", "--from", "2028-12-20", "--to", "2028-12-26"),
    ):
        assert told not in run("hours", *words).err
    (coming,) = run("hours", "next", "XTKS", "--at", "2029-01-01", "--json").rows
    assert coming["holidays_to"] == "2028-12-31"


def test_a_venue_that_is_over_is_closed_and_says_so(run: Run) -> None:
    run("hours", "set", "v", "--bundled", "always")
    midnight = ("--at", "2026-11-24T00:00Z")
    assert run("hours", "is-open", "v", *midnight).out == (
        "v is open at 2026-11-24 00:00:00 UTC: continuous\n"
    )
    always = run("hours", "next", "v", *midnight)
    assert "v never opens or closes after that: it is open" in always.err
    run("venue", "set", "v", "--valid-from", "2010-01-01", "--valid-to", "2020-01-01")
    over = run("hours", "is-open", "v", *midnight)
    assert over.code == 1 and over.out.endswith("closed; it is no venue since 2020-01-01\n")
    assert "it is closed" in run("hours", "next", "v", *midnight).err
    early = run("hours", "is-open", "v", "--at", "2009-12-01", "--json").rows[0]
    assert early["reason"] == "it is a venue from 2010-01-01 on"
    assert early["until"] == "2010-01-01T00:00:00.000000000Z"
    (shown,) = run("venue", "show", "v", *midnight, "--json").rows
    assert (shown["open"], shown["next_open"]) == (False, None)


def test_sessions_and_rules_are_shown(run: Run) -> None:
    run("hours", "set", "XTKS", "--bundled")
    days = ("--from", "2026-11-22T00:00Z", "--to", "2026-11-25T00:00Z")
    rows = run("hours", "show", "XTKS", *days, "--json").rows
    assert [row["date"] for row in rows] == ["2026-11-24", "2026-11-25"]  # a holiday before
    assert [part["phase"] for part in rows[0]["phases"]] == ["continuous", "break", "continuous"]
    assert rows[0]["open"] == "2026-11-24T00:00:00.000000000Z"
    shown = run("hours", "show", "XTKS", *days)
    assert "2 sessions, in UTC; the clock there is of Asia/Tokyo" in shown.err
    one = run("hours", "show", "XTKS", "--from", "2026-11-24T00:00Z", "--to", "2026-11-24T01:00Z")
    assert "1 session, in UTC" in one.err and "2026-11-24 00:00:00" in one.out
    rules = run("hours", "show", "XTKS", "--toml")
    assert rules.code == 0 and 'zone = "Asia/Tokyo"' in rules.out
    assert run("hours", "show", "XTKS", "--toml", "--json").code == 2


def test_hours_come_from_files(run: Run, tmp_path: Path) -> None:
    toml, csv, other = (tmp_path / name for name in ("a.toml", "b.csv", "c.toml"))
    toml.write_text(TOML)
    csv.write_text(CSV)
    assert run("hours", "set", "v", str(toml), "--json").rows[0]["outcome"] == "new"
    assert run("hours", "is-open", "v", "--at", "2026-11-24T09:30Z").code == 0
    assert run("hours", "set", "v", str(csv)).code == 0
    assert run("hours", "is-open", "v", "--at", "2026-11-24T09:30Z").code == 1
    before = ("--as-of", "2")
    assert run("hours", "is-open", "v", "--at", "2026-11-24T09:30Z", *before).code == 0
    other.write_text(run("hours", "show", "v", "--toml").out.replace('"v"', '"w"'))
    refused = run("hours", "set", "v", str(other))
    assert refused.code == 2 and "about other venues" in refused.err and "name one of w" in (
        refused.err
    )
    other.write_text(TOML.replace('venues = ["XTKS", "v"]', ""))
    assert run("hours", "set", "v", str(other)).out.startswith("amended")
    other.write_text(TOML.replace("10:00", "08:00"))
    assert run("hours", "set", "v", str(other)).code == 2
    assert run("hours", "set", "v", str(tmp_path / "none.toml")).code == 2


def test_either_a_file_or_what_comes_along(run: Run, tmp_path: Path) -> None:
    assert run("hours", "set", "v").code == 2
    assert "none come with" in run("hours", "set", "v", "--bundled").err
    assert run("hours", "set", "v", "--bundled", "always").code == 0
    assert "open at every instant" in run("hours", "show", "v").err
    assert run("hours", "is-open", " V ", "--json").rows[0]["venue"] == "v"
    twice = run("hours", "set", "v", "--bundled", "always", "--json").rows[0]
    assert (twice["outcome"], twice["offset"]) == ("unchanged", 2)


def test_hours_of_many_venues_are_taken_over_all_or_none(run: Run) -> None:
    run("venue", "add", "XLON")
    taken = run("hours", "import", "XTKS", "XLON")
    assert taken.code == 0
    told = [line.split()[:2] for line in taken.out.splitlines()]
    assert told == [["XTKS", "new"], ["XLON", "new"]]
    again = run("hours", "import", "XLON", "XTKS", "XLON", "--json").rows
    assert [(row["venue"], row["outcome"]) for row in again] == [
        ("XLON", "unchanged"), ("XTKS", "unchanged")
    ]  # fmt: skip
    head = run("stats", "--json").rows[0]["head"]
    for venues, why in ((("XNAS", "XTKS"), "no such venue"), (("XTKS", "v"), "none come with")):
        refused = run("hours", "import", *venues)
        assert refused.code != 0 and why in refused.err
    assert run("stats", "--json").rows[0]["head"] == head
    assert run("hours", "import", "XTKS", "--first", "2020-01-01").code == 2


def test_hours_of_exchange_calendars(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from alphapulse.registry import venues

    asked = []

    def from_calendar(name: str, first: str, last: str) -> venues.Hours:
        asked.append((name, first, last))
        return venues.bundled_hours("XTKS")

    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    missing = run("hours", "import", "XTKS", "--from", "exchange-calendars")
    assert missing.code == 1 and "pip install 'alphapulse[calendars]'" in missing.err
    monkeypatch.setattr(venues, "from_calendar", from_calendar)
    monkeypatch.setattr(venues, "calendar_source", lambda: "exchange_calendars 4.13.2")
    words = ("--from", "exchange-calendars", "--first", "2020-01-01")
    assert run("hours", "import", "XTKS", *words).code == 0
    assert asked == [("XTKS", "2020-01-01", "")]
    (event,) = run("tail", "kind=venue.hours", "--json").rows
    assert event["source"] == "exchange_calendars 4.13.2"
