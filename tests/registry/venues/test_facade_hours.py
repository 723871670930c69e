"""Hours that begin, change and end, and venues that do."""

from __future__ import annotations

import pytest

from alphapulse.log import parse_time
from alphapulse.registry import Registry
from alphapulse.registry.venues import Phase, bundled_hours, define, rule
from alphapulse.registry.venues.errors import HoursUnknown
from alphapulse.registry.venues.venue import Venue

ALWAYS = bundled_hours("always")
XNAS = Venue(key="XNAS", name="Nasdaq", kind="exchange", country="US", currency="USD")
BINANCE = Venue(key="binance", kind="crypto_exchange")


def test_hours_that_change_on_a_day_say_one_thing(registry: Registry) -> None:
    venues = registry.venues
    venues.add(XNAS)
    for valid_from, end in (
        (0, "12:00"), ("2026-11-24T14:00Z", "20:00"), ("2026-11-26T15:00Z", "12:00"),
        ("2026-11-27T11:00Z", "18:00"),
    ):  # fmt: skip
        day = define("UTC", [rule("continuous", "mon-fri", "09:00", end)])
        venues.set_hours("XNAS", day, valid_from=valid_from)
    days = {
        each.date: [(part.start, part.end) for part in each.phases]
        for each in venues.sessions("XNAS", "2026-11-23", "2026-11-28")
    }
    spans = {
        "23": [(9, 12)], "24": [(9, 12), (14, 20)], "25": [(9, 20)], "26": [(9, 15)],
        "27": [(9, 18)],
    }  # fmt: skip
    assert days == {
        f"2026-11-{day}": [
            tuple(parse_time(f"2026-11-{day}T{hour:02}:00Z") for hour in span) for span in of_day
        ] for day, of_day in spans.items()
    }  # fmt: skip
    opens = [parts[0][0] for parts in days.values()]
    closes = [parts[-1][1] for parts in days.values()]
    flat_spans = [span for parts in days.values() for span in parts]
    for at in range(parse_time("2026-11-23"), closes[-1] - 1, 1800 * 10**9):
        inside = [(start, end) for start, end in flat_spans if start <= at < end]
        assert venues.is_open("XNAS", at) is bool(inside)
        assert venues.next_close("XNAS", at) == min(each for each in closes if each > at)
        if at < opens[-1]:
            assert venues.next_open("XNAS", at) == min(each for each in opens if each > at)
        ends = inside[0][1] if inside else min(start for start, _ in flat_spans if start > at)
        assert venues.until("XNAS", at) == ends


def test_what_is_open_always_may_begin_and_end(registry: Registry) -> None:
    venues = registry.venues
    venues.add(BINANCE)
    venues.set_hours("binance", define("UTC", [rule("continuous", "mon-fri", "09:00", "12:00")]))
    venues.set_hours("binance", ALWAYS, valid_from="2026-11-24T11:00Z")
    begins = parse_time("2026-11-24T09:00Z")
    assert venues.is_open("binance", "2030-01-05") and venues.until("binance", begins) is None
    (session,) = venues.sessions("binance", "2026-11-24", "2030-01-01")
    assert (session.open, session.close) == (begins, parse_time("2026-11-24T11:00Z"))


def test_a_venue_is_closed_before_and_after_it_is_one(registry: Registry) -> None:
    venues = registry.venues
    venues.add(Venue(key="XBOS"))
    venues.set_hours("XBOS", define("UTC", [rule("continuous", "mon-fri", "09:00", "12:00")]))
    monday = parse_time("2026-11-23T10:00Z")
    assert venues.is_open("XBOS", monday)
    before = registry.log.head - 1
    venues.amend("XBOS", valid_from="2019-01-01", valid_to="2020-01-01T10:00Z")
    assert not venues.is_open("XBOS", monday) and venues.is_open("XBOS", monday, known=before)
    assert venues.phase_at("XBOS", monday) is Phase.CLOSED
    assert venues.next_open("XBOS", monday) is None and venues.until("XBOS", monday) is None
    assert not venues.is_open("XBOS", "2018-11-26T10:00Z")
    assert venues.next_open("XBOS", "2018-11-26T10:00Z") == parse_time("2019-01-01T09:00Z")
    last = parse_time("2020-01-01T10:00Z")
    assert venues.next_close("XBOS", "2020-01-01T09:30Z") == last
    assert venues.is_open("XBOS", last - 1) and not venues.is_open("XBOS", last)
    assert venues.hours("XBOS", monday).rules


def test_a_venue_that_is_over_is_closed_whatever_hours_it_had(registry: Registry) -> None:
    venues = registry.venues
    venues.add(Venue(key="XOLD", valid_from="2010-01-01"))
    venues.amend("XOLD", valid_to="2020-01-01")
    assert not venues.is_open("XOLD", "2020-01-01") and venues.has_hours("XOLD", "2020-01-01")
    assert venues.next_open("XOLD", "2020-01-01") is venues.until("XOLD", "2020-01-01") is None
    for day in ("2009-12-31", "2019-12-31"):
        with pytest.raises(HoursUnknown):
            venues.is_open("XOLD", day)
    with pytest.raises(HoursUnknown):
        venues.is_open("XOLD", "2020-01-01", known=0)


def test_before_the_first_date_that_hours_name_they_are_unknown(registry: Registry) -> None:
    venues = registry.venues
    venues.add(XNAS)
    venues.set_hours("XNAS", bundled_hours("XNAS"))
    for ask in (venues.is_open, venues.phase_at, venues.next_open, venues.next_close, venues.until):
        with pytest.raises(HoursUnknown):
            ask("XNAS", "2005-06-01T15:00Z")
    with pytest.raises(HoursUnknown):
        venues.sessions("XNAS", "2005-06-01", "2020-06-01")
    assert not venues.has_hours("XNAS", "2005-06-01")
    first = parse_time("2010-01-01T05:00Z")  # of a holiday, midnight in New York
    assert not venues.has_hours("XNAS", first - 1) and venues.has_hours("XNAS", first)
    assert venues.next_open("XNAS", first) == parse_time("2010-01-04T14:30Z")
    evening = define("UTC", [rule("continuous", "mon", "22:00-1", "12:00", "2024-01-01")])
    venues.set_hours("XNAS", evening, valid_from="2023-01-01")
    assert venues.until("XNAS", "2022-12-30T22:00Z") == parse_time("2023-01-01")
    assert not venues.has_hours("XNAS", "2023-12-31T21:59Z")
    assert venues.is_open("XNAS", "2023-12-31T22:00Z")
