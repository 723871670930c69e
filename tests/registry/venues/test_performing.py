"""Samples in, summaries out: what is taken, refused, closed, and asked for again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from alphapulse.log import (
    AlphaPulseError,
    HomeUnsupported,
    InvalidInput,
    MarketHome,
    PerformanceBody,
    ReadOnly,
    RecordingClock,
    SampleBody,
)
from alphapulse.registry import IllegalEvent, Registry, audit
from alphapulse.registry.errors import UnknownListing
from alphapulse.registry.instruments import Listing, Token
from alphapulse.registry.render import event_dict
from alphapulse.registry.venues import (
    WINDOWS_NS,
    Performance,
    Place,
    UnknownVenue,
    WindowClosed,
    merge_windows,
    sample_dict,
)
from alphapulse.registry.venues.commands import SetPerformance
from alphapulse.registry.venues.samples import NS, SKEW_NS_MAX
from alphapulse.registry.venues.venue import Venue

HOUR = WINDOWS_NS["1h"]
T = 1_764_000_000 * NS
"""A whole hour."""


class Clock:
    now = T + 2 * HOUR

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def performance(registry: Registry, clock: Clock) -> Iterator[Performance]:
    for venue in ("XNAS", "binance"):
        registry.venues.add(Venue(key=venue))
    with Performance(registry, clock=clock) as found:
        # Samples of a fixed time are years old for the real clock, which writes are stamped with.
        found.market.retention = found.market.retention._replace(age_s_max=100 * 365 * 86_400)
        yield found


def ack(at_s: float, latency_ns: object = 1_000, venue: str = "XNAS", **more: Any) -> Any:
    return {"venue": venue, "measure": "ack", "time": T + round(at_s * NS),
            "latency_ns": latency_ns, **more}  # fmt: skip


def test_samples_are_taken_with_the_registry_head_and_are_not_durable(
    registry: Registry, performance: Performance
) -> None:
    taken = performance.add([ack(1), ack(2), ack(3, venue="binance")], source="col-1")
    assert taken == (3, {}, 0, 2, registry.log.head, False)
    registry.venues.add(Venue(key="XLON"))
    again = performance.add([b'{"venue":"XLON","measure":"spread","time":%d,"spread_bps":1.50}' % T,
                             b"", b" \r"])  # fmt: skip
    assert again == (1, {}, 3, 3, registry.log.head, False)
    events = list(performance.market.read())
    assert [event.metadata.registry_head for event in events] == [2, 2, 2, 3]
    assert [event.source for event in events] == ["col-1"] * 3 + [""]
    assert [event.kind_name for event in events] == ["sample.ack"] * 3 + ["sample.spread"]
    assert isinstance(events[3].body, SampleBody)
    assert sample_dict(events[3].body)["spread_bps"] == "1.5"
    assert event_dict(events[0])["body"] == sample_dict(events[0].body)  # type: ignore[arg-type]
    with performance.market.subscribe("venue=binance kind=sample", "beginning", stop=4) as found:
        assert [event.offset for event in found] == [2]


def test_each_bad_sample_is_refused_alone_and_counted(
    performance: Performance, clock: Clock
) -> None:
    told: list[tuple[int, str]] = []
    ahead = (clock.now - T + SKEW_NS_MAX) / NS

    def refused(number: int, error: AlphaPulseError) -> None:
        told.append((number, type(error).__name__))

    taken = performance.add(
        [ack(5), ack(1), ack(1, -1), b"{", b"[1]", b'{"venue":' + b" " * 5_000,
         ack(1, venue="XPAR"), ack(ahead), ack(ahead + 1), ack(3, "NaN"),
         ack(4, listing="0x0000000000000001")],
        refused=refused,
    )  # fmt: skip
    assert taken.taken == 3, "out of order is fine, and so is 5 s ahead"
    assert taken.refused == {"future": 1, "invalid": 5, "unknown_listing": 1, "unknown_venue": 1}
    assert sorted(told) == [
        (2, "InvalidInput"), (3, "InvalidInput"), (4, "InvalidInput"), (5, "InvalidInput"),
        (6, "UnknownVenue"), (8, "SampleRefused"), (9, "InvalidInput"), (10, "UnknownListing"),
    ]  # fmt: skip
    performance.market.retention = performance.market.retention._replace(age_s_max=60)
    assert performance.add([ack(1), ack(7_190)]).refused == {"too_old": 1}


def test_windows_close_once_and_refuse_what_is_late(
    registry: Registry, performance: Performance, clock: Clock
) -> None:
    performance.add([ack(10, 3), ack(5, 1), ack(3_601, 7), ack(8, venue="binance")])
    assert performance.add([ack(7_199)]).taken == 1
    clock.now = T + HOUR + 29 * NS
    assert performance.summarise() == [], "late samples have 30 s"
    clock.now += NS
    closed = performance.summarise(source="me")
    assert [(each.place, each.summary.start, each.summary.samples) for each, _ in closed] == [
        (Place("XNAS"), T, 2), (Place("binance"), T, 1),
    ]  # fmt: skip
    assert [receipt.outcome for _, receipt in closed] == ["new", "new"]
    event = registry.log.event(closed[0][1].offset)
    assert event.kind_name == "venue.performance" and event.source == "me"
    body = event.body
    assert isinstance(body, PerformanceBody) and body.measures["ack_sum_ns"] == "4"
    assert performance.summarise() == []
    late = performance.add([ack(20), ack(3_620), ack(20, venue="binance")])
    assert (late.taken, late.refused) == (1, {"late": 2})
    clock.now = T + 3 * HOUR
    (again,) = performance.summarise()
    assert again[0].summary.samples == 3 and again[1].outcome == "amended"
    with registry.log.subscribe("kind=venue.performance venue=XNAS", 0, stop=99) as found:
        assert [next(found).offset for _ in range(2)] == [closed[0][1].offset, again[1].offset]


def test_closing_reads_on_from_the_newest_closed_window(
    performance: Performance, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds what came late for a window that no sample had been in, and that nobody closed."""
    times = [T - HOUR]
    performance.market.clock = RecordingClock(lambda: times[-1], lambda: times[-1] - times[0])
    starts: list[int] = []
    real = performance._fold

    def fold(windows: Any, start: int, *more: Any) -> None:
        starts.append(start)
        real(windows, start, *more)

    monkeypatch.setattr(performance, "_fold", fold)
    for hour in range(4):
        times.append(T + hour * HOUR + 10 * NS)
        clock.now = times[-1]
        performance.add([ack(hour * 3_600 + 5), ack(hour * 3_600 + 9)])
    times.append(T + 4 * HOUR + 40 * NS)
    clock.now = times[-1]
    assert len(performance.summarise()) == 4
    performance.add([ack(3_600 + 7, venue="binance"), ack(4 * 3_600 + 7)])
    times.append(T + 5 * HOUR + 40 * NS)
    clock.now = times[-1]
    closed = performance.summarise()
    assert [(each.place.venue, (each.summary.start - T) // HOUR) for each, _ in closed] == [
        ("binance", 1), ("XNAS", 4),
    ]  # fmt: skip
    assert starts[::2] == [0, 6], "the block of the newest window that was closed, and on"


def test_what_is_asked_for_is_the_log_and_then_the_open_windows(
    registry: Registry, performance: Performance, clock: Clock
) -> None:
    performance.add([ack(10), ack(3_700), ack(7_000)])
    clock.now = T + HOUR + 30 * NS
    performance.summarise()
    found = performance.windows("XNAS")
    assert [(each.open, each.summary.samples) for each in found] == [(False, 1), (True, 2)]
    assert [each.open for each in performance.windows("XNAS", open=False)] == [False]
    assert [each.open for each in performance.windows("XNAS", start=T + 1)] == [True]
    assert len(performance.windows("XNAS", stop=T + HOUR)) == 1
    assert len(performance.windows("XNAS", "1m")) == 3, "all from samples"
    said = registry.log.head - 1
    (then,) = performance.windows("XNAS", known=said)  # and no samples, which forget
    assert (then.open, then.summary.samples) == (False, 1)
    assert performance.windows("XNAS", known=said - 1) == []
    assert merge_windows(found).samples == 3 and performance.windows("binance") == []
    with pytest.raises(UnknownVenue):
        performance.windows("XPAR")
    with pytest.raises(InvalidInput, match="no such length"):
        performance.windows("XNAS", "2h")
    with Performance(registry, mode="r") as reader:
        newest = reader.newest("XNAS")
        assert newest is not None and newest.measures() == found[0].summary.measures()
        assert reader.newest("XNAS", "1m") is None
        assert len(reader.windows("XNAS")) == 2
        with pytest.raises(ReadOnly):
            reader.add([ack(7_001)])


def test_an_hour_of_the_log_is_what_its_minutes_merge_to(
    performance: Performance, clock: Clock
) -> None:
    performance.add([ack(second, 10**6 + second) for second in range(0, 3_600, 40)])
    clock.now = T + 2 * HOUR
    performance.summarise("1m")
    assert performance.add([ack(1)]).refused == {"late": 1}
    ((hour, _),) = performance.summarise("1h")
    minutes = merge_windows(performance.windows("XNAS", "1m", open=False))
    assert minutes.sketches() == hour.summary.sketches()
    assert minutes.samples == hour.summary.samples == 90


def test_listings_have_windows_of_their_own(
    registry: Registry, performance: Performance, clock: Clock
) -> None:
    token = registry.register(Token(chain="eip155:1", address="0x" + "a" * 40))
    listing = registry.add_listing(Listing(instrument=token.id, venue="binance", currency="USDT"))
    named = {"listing": f"0x{listing.id:016x}"}
    taken = performance.add([ack(1, venue="binance", **named), ack(2, venue="binance"),
                             ack(3, **named)])  # fmt: skip
    assert (taken.taken, taken.refused) == (2, {"unknown_listing": 1}), "XNAS does not list it"
    closed = performance.summarise(listings=True)
    assert [(each.place, each.summary.samples) for each, _ in closed] == [
        (Place("binance"), 2), (Place("binance", listing.id), 1),
    ]  # fmt: skip
    body = registry.log.event(closed[1][1].offset).body
    assert isinstance(body, PerformanceBody)
    assert (body.instrument, body.listing_fingerprint) == (token.id, listing.fingerprint)
    assert len(performance.windows("binance", listing=listing.id)) == 1
    with pytest.raises(UnknownListing):
        performance.windows("binance", listing=12345)


def test_windows_of_listings_are_whole_though_those_of_their_venue_were_closed_before(
    registry: Registry, performance: Performance, clock: Clock
) -> None:
    times = [T]
    performance.market.clock = RecordingClock(lambda: times[-1], lambda: times[-1] - T)
    token = registry.register(Token(chain="eip155:1", address="0x" + "a" * 40))
    listing = registry.add_listing(Listing(instrument=token.id, venue="binance"))

    def measure(at_s: int, count: int) -> None:
        times.append(T + at_s * NS)
        clock.now = times[-1]
        row = ack(at_s, venue="binance", listing=f"0x{listing.id:016x}")
        assert performance.add([row] * count).taken == count

    def counts(listing: int) -> list[int]:
        return [each.summary.samples for each in performance.windows("binance", "1m",
                                                                     listing=listing)]  # fmt: skip

    for minute in range(2):
        for at_s, count in ((5, 10), (57, 1), (65, 1)):
            measure(180 * minute + at_s, count)
        clock.now += 90 * NS
        assert len(performance.summarise("1m")) == 2
    assert counts(0) == counts(listing.id) == [11, 1, 11, 1]
    assert len(performance.summarise("1m", listings=True)) == 4
    measure(600, 2)
    clock.now += 90 * NS
    assert len(performance.summarise("1m", listings=True)) == 2, "the venue's and the listing's"
    assert counts(listing.id) == [11, 1, 11, 1, 2]
    assert all(not each.open for each in performance.windows("binance", "1m", listing=listing.id))


def test_a_window_of_which_samples_were_forgotten_is_not_closed(
    performance: Performance, clock: Clock
) -> None:
    times = [T]
    market = performance.market
    market.clock = RecordingClock(lambda: times[-1], lambda: times[-1] - T)
    for hour in range(4):
        for at_s in (10, 3_000):
            times.append(T + (hour * 3_600 + at_s) * NS)
            clock.now = times[-1]
            performance.add([ack(hour * 3_600 + at_s)])
    clock.now = T + 5 * HOUR
    market.retention = market.retention._replace(age_s_max=4 * 3_600 - 100)
    market._trim(clock.now)
    assert market.first == 3
    closed = performance.summarise()
    assert [(window.summary.start - T) // HOUR for window, _ in closed] == [2, 3]


def test_a_listing_is_at_its_own_venue_only(registry: Registry, performance: Performance) -> None:
    """Also where one name begins the other, and where a name is too long for the view."""
    token = registry.register(Token(chain="eip155:1", address="0x" + "a" * 40))
    long = "v" * 32
    ids = {}
    for venue in ("bit", "bitstamp", long, long[:-1]):
        registry.venues.add(Venue(key=venue))
        listing = registry.add_listing(Listing(instrument=token.id, venue=venue))
        ids[venue] = f"0x{listing.id:016x}"
    for venue in ids:
        for other, id in ids.items():
            taken = performance.add([ack(1, venue=venue, listing=id)]).taken
            assert taken == (venue == other), f"{venue}, listing at {other}"


def test_nobody_keeps_windows_open_with_ever_more_distances_and_currencies_of_depth(
    performance: Performance, clock: Clock
) -> None:
    """Not even with amounts whose sums are as long as sums get."""
    def depth(within_bps: int, currency: str, amount: str) -> Any:
        return {"venue": "XNAS", "measure": "depth", "time": T + 1, "depth": amount,
                "within_bps": within_bps, "currency": currency}  # fmt: skip

    rows = [
        depth(band, f"{band}X", amount)
        for band in range(100, 400) for amount in (f"{(1 << 63) - 1}e109", "1e-128", "3e-128")
    ]
    rows += [depth(399, "399X", "1"), depth(10, "USD", "5")]
    performance.add([*rows, ack(1, venue="binance")])
    (open_one,) = performance.windows("XNAS")
    closed = {window.place.venue: window.summary for window, _ in performance.summarise()}
    assert closed["binance"].samples == 1 and closed["XNAS"].samples == len(rows)
    kept = sorted(closed["XNAS"].depths)
    assert kept == [(10, "USD"), *((band, f"{band}X") for band in (*range(100, 198), 399))]
    assert closed["XNAS"].depths_left_out == 201
    (window,) = performance.windows("XNAS")
    assert not window.open
    assert window.summary.measures() == closed["XNAS"].measures() == open_one.summary.measures()
    assert merge_windows([window]).depths_left_out == 201
    assert performance.summarise() == []


def test_the_log_has_each_window_once_whoever_says_it(
    registry: Registry, performance: Performance
) -> None:
    performance.add([ack(1)])
    ((window, receipt),) = performance.summarise()
    summary = window.summary

    def say(**changes: Any) -> Any:
        command = SetPerformance(
            "XNAS", summary.start, summary.stop, 1, summary.measures(), summary.sketches()
        )._replace(**changes)
        return registry.venues._unit(command, "other", "")

    assert say() == receipt._replace(outcome="unchanged")
    with pytest.raises(WindowClosed, match="2025-11-24T17"):
        say(samples=2)
    later = {"window_from": T + HOUR, "window_to": T + 2 * HOUR}
    for wrong, problem in (
        ({**later, "samples": -1}, "window is impossible"),
        ({**later, "measures": {"down_ns": "0"}}, "a number is missing"),
        ({**later, "sketches": {}}, "do not follow"),
        ({"window_from": T + 3 * HOUR, "window_to": T + 5 * HOUR}, "another length"),
        ({"window_from": T + 3 * HOUR + 1, "window_to": T + 4 * HOUR + 1}, "another beginning"),
        ({"venue": "XPAR"}, "no such venue"),
    ):
        with pytest.raises((IllegalEvent, UnknownVenue), match=problem):
            say(**wrong)
    assert registry.log.head == receipt.offset + 1


def test_the_audit_takes_no_window_out_of_order(
    registry: Registry, performance: Performance, monkeypatch: pytest.MonkeyPatch
) -> None:
    performance.add([ack(1), ack(3_700)])
    performance.summarise()
    home = registry.log.home.path
    registry.close()
    assert all(verdict.ok for verdict in audit(home))
    monkeypatch.setattr(
        sys.modules[audit.__module__].Remembered, "summarised_until", lambda *_: T + 9 * HOUR
    )
    assert any("before the end of one" in verdict.detail for verdict in audit(home))


def test_no_sample_falls_between_taking_and_closing(
    performance: Performance, clock: Clock
) -> None:
    """Each of many samples is in the summary, or was refused as late."""
    stop, taken = threading.Event(), 0

    def collect() -> None:
        nonlocal taken
        while not stop.is_set():
            taken += performance.add([ack(1)]).taken

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        while performance.market.head < 5:
            pass
        ((window, _),) = performance.summarise()
    finally:
        stop.set()
        collector.join()
    assert window.summary.samples == taken >= 5


def test_the_market_log_is_no_home_of_its_own(registry: Registry, performance: Performance) -> None:
    place = MarketHome(registry.log.home.path)
    with pytest.raises(HomeUnsupported, match="market log of a home"):
        Registry.open(place.path)
