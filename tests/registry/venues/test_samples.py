"""Samples as collectors send them: taken exactly, or refused naming the field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from alphapulse.log import UNSET, InvalidInput, Measure, Number, SampleRecord
from alphapulse.registry.identity import venue_fingerprint
from alphapulse.registry.venues.samples import (
    NS,
    SKEW_NS_MAX,
    Sample,
    SampleRefused,
    check_time,
    sample,
    sample_dict,
)

T = 1_764_000_000 * NS
AT = {"venue": "XNAS", "time": T}
ACK = {**AT, "measure": "ack", "latency_ns": 250}
DEPTH = {**AT, "measure": "depth", "depth": "5.0", "within_bps": 10, "currency": "USDT"}
GOOD: list[tuple[dict[str, object], Sample]] = [
    (ACK, Sample("XNAS", Measure.ACK, T, Number(250, 0))),
    ({**ACK, "venue": "Binance:test", "latency_ns": "250", "measure": "ACK"},
     Sample("binance:test", Measure.ACK, T, Number(250, 0))),
    ({**ACK, "time": "2025-11-24T16:00:00Z"}, Sample("XNAS", Measure.ACK, T, Number(250, 0))),
    ({**AT, "measure": "reject"}, Sample("XNAS", Measure.REJECT, T, UNSET)),
    ({**ACK, "measure": "fill", "listing": "0x00000000000000FF"},
     Sample("XNAS", Measure.FILL, T, Number(250, 0), 255)),
    ({**AT, "measure": "outage", "duration_ns": NS},
     Sample("XNAS", Measure.OUTAGE, T, Number(NS, 0))),
    ({**AT, "measure": "spread", "spread_bps": Decimal("1.250")},
     Sample("XNAS", Measure.SPREAD, T, Number(125, -2))),
    (DEPTH, Sample("XNAS", Measure.DEPTH, T, Number(5, 0), 0, 10, "USDT")),
]  # fmt: skip


@pytest.mark.parametrize("fields,wanted", GOOD)
def test_a_sample_is_taken_exactly_and_shown_as_it_was_sent(
    fields: dict[str, object], wanted: Sample
) -> None:
    found = sample(fields)
    assert found == wanted
    body = found.body()
    record = SampleRecord(body.message)
    assert (record.time, record.listing, record.band_bps) == (T, wanted.listing, wanted.band_bps)
    assert record.fingerprint == venue_fingerprint(wanted.venue)
    assert body.extension.venue == wanted.venue
    assert sample(sample_dict(body)) == wanted


BAD: list[tuple[dict[str, object], str, str]] = [
    ({}, "measure", "must be text"),
    ({**ACK, "measure": "ping"}, "measure", "no such one"),
    ({**ACK, "venue": "?"}, "venue", "neither a MIC nor a slug"),
    ({**ACK, "venue": None}, "venue", "must be text"),
    ({"venue": "XNAS", "measure": "ack", "latency_ns": 1}, "time", "must be an integer"),
    ({**ACK, "time": 0}, "time", "before 1970"),
    ({**ACK, "time": -5}, "time", "before 1970"),
    ({**ACK, "time": 1.5}, "time", "must be an integer"),
    ({**ACK, "latency_ns": float("nan")}, "latency_ns", "whole number"),
    ({**ACK, "latency_ns": float("inf")}, "latency_ns", "whole number"),
    ({**ACK, "latency_ns": "NaN"}, "latency_ns", "whole number"),
    ({**ACK, "latency_ns": Decimal("1.5")}, "latency_ns", "whole number"),
    ({**ACK, "latency_ns": True}, "latency_ns", "whole number"),
    ({**ACK, "latency_ns": None}, "latency_ns", "whole number"),
    ({**ACK, "latency_ns": -1}, "latency_ns", "it must be 0 to"),
    ({**ACK, "latency_ns": 3_601 * NS}, "latency_ns", "it must be 0 to"),
    ({**AT, "measure": "outage", "duration_ns": 0}, "duration_ns", "it must be 1 to"),
    ({**AT, "measure": "spread", "spread_bps": "NaN"}, "spread_bps", "not decimal text"),
    ({**AT, "measure": "spread", "spread_bps": Decimal("NaN")}, "spread_bps", "not decimal"),
    ({**AT, "measure": "spread", "spread_bps": float("nan")}, "spread_bps", "float is not exact"),
    ({**AT, "measure": "spread", "spread_bps": "-0.1"}, "spread_bps", "below zero"),
    ({**AT, "measure": "spread", "spread_bps": "1000000.1"}, "spread_bps", "over 1000000"),
    ({**DEPTH, "depth": "-1"}, "depth", "below zero"),
    ({**DEPTH, "within_bps": 0}, "within_bps", "it must be 1 to"),
    ({**DEPTH, "currency": "usd"}, "currency", "capitals or digits"),
    ({**DEPTH, "currency": "ABCDEFGHI"}, "currency", "at most 8"),
    ({**ACK, "listing": "255"}, "listing", "not the id"),
]


@pytest.mark.parametrize("fields,field,problem", BAD)
def test_what_cannot_be_is_refused_naming_the_field(
    fields: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem) as refused:
        sample(fields)
    assert f"field {field}" in str(refused.value)


def test_an_unknown_field_is_named_and_what_it_holds_is_not() -> None:
    with pytest.raises(InvalidInput) as refused:
        sample({**ACK, "currency": "hunter2"})
    assert str(refused.value) == (
        "reading a sample of ack: there is no such field [field='currency'] "
        "(use latency_ns, listing, measure, time, venue)"
    )


def test_a_sample_from_the_future_is_refused_but_clocks_may_differ() -> None:
    good = sample(ACK)
    check_time(good, T - SKEW_NS_MAX, 0)
    with pytest.raises(SampleRefused, match="from the future") as refused:
        check_time(good, T - SKEW_NS_MAX - 1, 0)
    assert refused.value.reason == "future"


def test_late_is_what_is_before_the_end_of_a_closed_window() -> None:
    good = sample(ACK)
    check_time(good, T, closed_until=T)
    with pytest.raises(SampleRefused, match="its window is closed") as refused:
        check_time(good, T, closed_until=T + 1)
    assert refused.value.reason == "late"
    with pytest.raises(SampleRefused, match="older than what is kept") as refused:
        check_time(good, T, 0, kept_from=T + 1)
    assert refused.value.reason == "too_old"
