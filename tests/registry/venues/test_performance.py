"""Windows and summaries: exact, whatever the order, and merged into what one window would hold."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.log import (
    InvalidInput,
    Measure,
    NotDecodable,
    Number,
    PerformanceBody,
    SampleRecord,
)
from alphapulse.registry.venues.performance import (
    WINDOWS_NS,
    Place,
    Summary,
    Windows,
    summary_of,
    window_named,
)
from alphapulse.registry.venues.samples import NS, Sample

MINUTE, HOUR = WINDOWS_NS["1m"], WINDOWS_NS["1h"]
START = 1_764_000_000 * NS
"""A whole hour."""


def make(measure: Measure, at_s: float, value: str = "0", **more: Any) -> Sample:
    mantissa, _, exponent = value.partition("e")
    return Sample(
        "XNAS", measure, START + round(at_s * NS), Number(int(mantissa), int(exponent or 0)), **more
    )


def fold(samples: list[Sample], length_ns: int = HOUR, **more: bool) -> dict[Place, list[Summary]]:
    windows = Windows(length_ns, **more)
    for each in samples:
        windows.add(each.venue, SampleRecord(each.body().message))
    found: dict[Place, list[Summary]] = {}
    for place, summary in windows.closed(1 << 62):
        found.setdefault(place, []).append(summary)
    return found


def one(samples: list[Sample]) -> Summary:
    (summaries,) = fold(samples).values()
    (found,) = summaries
    return found


HAND = [
    make(Measure.ACK, 1, "1000000"), make(Measure.ACK, 2, "3000000"),
    make(Measure.ACK, 3, "2000000"), make(Measure.REJECT, 4, "500"),
    make(Measure.FILL, 5, "9000000"),
    make(Measure.OUTAGE, 100, str(60 * NS)), make(Measure.OUTAGE, 90, str(10 * NS)),
    make(Measure.OUTAGE, 400, str(30 * NS)),
    make(Measure.SPREAD, 6, "15e-1"), make(Measure.SPREAD, 7, "35e-1"),
    make(Measure.DEPTH, 8, "1e6", band_bps=10, currency="USD"),
    make(Measure.DEPTH, 9, "3e6", band_bps=10, currency="USD"),
    make(Measure.DEPTH, 9, "7e6", band_bps=10, currency="EUR"),
    make(Measure.DEPTH, 9, "9e6", band_bps=50, currency="USD"),
]  # fmt: skip


def test_a_window_computed_by_hand() -> None:
    found = one(HAND)
    assert (found.start, found.stop, found.samples) == (START, START + HOUR, len(HAND))
    assert found.down_ns == 90 * NS, "40 to 100, which has 80 to 90 in it, and 370 to 400"
    assert found.uptime == Fraction(3510, 3600) and found.reject_rate == Fraction(1, 4)
    # 10,000 × 3510/3600 × 3/4 × 10/(10 + 2.5) × 2/(2 + 1), of USD, which has more samples
    assert found.score == 3900 and found.scored is not None and found.scored[0] == "USD"
    measures = found.measures()
    assert measures == dict(sorted(measures.items()))
    assert {name: measures[name] for name in (
        "ack_count", "ack_sum_ns", "ack_min_ns", "ack_max_ns", "ack_p99_ns", "reject_count",
        "reject_rate", "uptime", "down_ns", "spread_bps_mean", "depth_10bps_USD_mean",
        "depth_50bps_USD_count", "score", "score_currency", "fill_p50_ns",
    )} == {
        "ack_count": "3", "ack_sum_ns": "6000000", "ack_min_ns": "1000000",
        "ack_max_ns": "3000000", "ack_p99_ns": measures["ack_p50_ns"], "reject_count": "1",
        "reject_rate": "0.25", "uptime": "0.975", "down_ns": "90000000000",
        "spread_bps_mean": "2.5", "depth_10bps_USD_mean": "2000000",
        "depth_50bps_USD_count": "1", "score": "3900", "score_currency": "USD",
        "fill_p50_ns": "9000000",
    }  # fmt: skip
    assert abs(int(measures["ack_p50_ns"]) - 2_000_000) <= 20_000
    assert sorted(found.sketches()) == ["ack", "fill", "reject"]


def test_without_spread_or_depth_there_is_no_score_and_without_orders_no_rate() -> None:
    assert one([make(Measure.SPREAD, 1, "1")]).score is None
    depth = make(Measure.DEPTH, 1, "1e6", band_bps=20, currency="USD")
    assert one([make(Measure.SPREAD, 1, "1"), depth]).score is None
    found = one([make(Measure.OUTAGE, 10, "1")])
    assert found.reject_rate is None and "reject_rate" not in found.measures()
    assert found.measures() == {"down_ns": "1", "uptime": "3599999999999/3600000000000"}


def test_the_score_is_bounded_and_falls_with_each_of_its_parts() -> None:
    perfect = [
        make(Measure.SPREAD, 1, "0"), make(Measure.DEPTH, 1, "1e30", band_bps=10, currency="USD")
    ]
    assert one(perfect).score == 9999
    assert one([*perfect, make(Measure.REJECT, 1, "1"), make(Measure.ACK, 1, "1")]).score == 4999
    assert one([*perfect, make(Measure.OUTAGE, 1800, str(900 * NS))]).score == 7499
    assert one([*perfect, make(Measure.SPREAD, 1, "20")]).score == 4999
    assert one([*perfect[:1], make(Measure.DEPTH, 1, "0", band_bps=10, currency="USD")]).score == 0


_MEASURES = st.sampled_from(Measure)


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    found = []
    for measure in draw(st.lists(_MEASURES, max_size=25)):
        at = draw(st.integers(0, HOUR - 1))
        more: dict[str, Any] = {}
        value = Number(draw(st.integers(0, 3_000 * NS)), 0)
        if measure is Measure.OUTAGE:
            value = Number(min(value.mantissa, at) + 1, 0)
        elif measure in (Measure.SPREAD, Measure.DEPTH):
            value = Number(value.mantissa, draw(st.integers(-12, 3)))
        if measure is Measure.DEPTH:
            more = {"band_bps": draw(st.sampled_from([10, 50])),
                    "currency": draw(st.sampled_from(["USD", "EUR"]))}  # fmt: skip
        found.append(Sample("XNAS", measure, START + at, value, **more))
    return found


@given(samples(), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_sixty_minutes_are_the_hour_whatever_the_order(
    given_: list[Sample], rng: random.Random
) -> None:
    mixed = list(given_)
    rng.shuffle(mixed)
    hours = fold(given_)
    again = fold(mixed)
    minutes = fold(mixed, MINUTE)
    assert hours.keys() == again.keys() == minutes.keys()
    for place, found in hours.items():
        for hour, same in zip(found, again[place], strict=True):
            assert (hour.measures(), hour.sketches()) == (same.measures(), same.sketches())
            merged = Summary(hour.start, hour.start)
            for minute in minutes[place]:
                if hour.start <= minute.start < hour.stop:
                    merged.merge(
                        summary_of(body_of(minute))
                    )  # fmt: skip
            merged.stop = hour.stop
            assert (merged.measures(), merged.sketches(), merged.samples) == (
                hour.measures(), hour.sketches(), hour.samples,
            )  # fmt: skip


def test_outages_over_windows_are_cut_and_a_boundary_belongs_to_the_next() -> None:
    long = make(Measure.OUTAGE, 7_200, str(5_400 * NS))
    found = fold([long, make(Measure.ACK, 3_600, "1")])[Place("XNAS")]
    assert [(each.start - START) // HOUR for each in found] == [0, 1, 2]
    assert [each.down_ns // NS for each in found] == [1_800, 3_600, 0]
    assert [each.samples for each in found] == [0, 1, 1]


def test_windows_close_in_order_once_and_listings_are_apart() -> None:
    windows = Windows(MINUTE, listings=True)
    for each in (make(Measure.ACK, 61, "5", listing=9), make(Measure.ACK, 5, "7")):
        windows.add(each.venue, SampleRecord(each.body().message))
    assert list(windows.closed(START + MINUTE - 1)) == []
    first = list(windows.closed(START + MINUTE))
    assert [(place, found.samples) for place, found in first] == [(Place("XNAS"), 1)]
    second = list(windows.closed(START + 10 * MINUTE))
    assert [place for place, _ in second] == [Place("XNAS"), Place("XNAS", 9)]


def test_summaries_that_overlap_do_not_merge() -> None:
    found = one(HAND)
    with pytest.raises(InvalidInput, match="overlap"):
        found.merge(one(HAND))


def body_of(found: Summary, **changes: Any) -> PerformanceBody:
    fields: dict[str, Any] = {
        "window_from": found.start, "window_to": found.stop, "samples": found.samples,
        "measures": found.measures(), "sketches": found.sketches(),
    }  # fmt: skip
    return PerformanceBody(fingerprint=b"", venue="XNAS", **fields | changes)


@pytest.mark.parametrize(
    "name,value",
    [
        ("score", "9000"), ("ack_p50_ns", "1"), ("ack_count", "4"), ("ack_count", "٣"),
        ("uptime", "1"), ("reject_rate", "0.5"), ("spread_bps_mean", "1"), ("new", "1"),
        ("down_ns", "-1"), ("depth_10bps_USD_sum", "nan"), ("spread_bps_count", "0"),
    ],
)  # fmt: skip
def test_a_summary_whose_numbers_do_not_follow_is_refused(name: str, value: str) -> None:
    good = one(HAND)
    assert summary_of(body_of(good)).measures() == good.measures()
    with pytest.raises(NotDecodable, match="reading a summary"):
        summary_of(body_of(good, measures=good.measures() | {name: value}))


@pytest.mark.parametrize("gone", ["down_ns", "ack_sum_ns", "spread_bps_max", "score"])
def test_a_summary_that_lacks_something_is_refused(gone: str) -> None:
    good = one(HAND)
    measures = good.measures()
    del measures[gone]
    with pytest.raises(NotDecodable, match="reading a summary"):
        summary_of(body_of(good, measures=measures))
    wrongs: list[dict[str, Any]] = [
        {"samples": -1}, {"window_to": START}, {"window_from": -1}, {"sketches": {}},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(NotDecodable):
            summary_of(body_of(good, **wrong))


def test_windows_have_names() -> None:
    assert window_named("1h") == HOUR
    with pytest.raises(InvalidInput, match="no such length"):
        window_named("2h")
