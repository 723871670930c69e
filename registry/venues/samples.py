"""Samples of how a venue behaves, from what collectors send: checked, and made 64-byte messages.

A sample is one measurement: `ack`, `reject` and `fill` took `latency_ns` from sending the order
(of a reject it may be unknown); an `outage` lasted `duration_ns` up to its time; a `spread` was
`spread_bps` wide; within `within_bps` of the mid price there was `depth` of `currency` on both
sides together. Numbers are exact: decimal text, or JSON numbers, whose digits are taken as they
stand. What is not a number, below zero or beyond its bound is refused, naming the field.

A sample may come late and out of order. It belongs to the window of its own time, as long as that
is open; for a closed one it is refused, and so is one from further in the future than clocks
differ. `check_time` decides it, and nothing else depends on when a sample arrives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from alphapulse.log import (
    MEASURES_BY_NAME,
    UNSET,
    InvalidInput,
    Measure,
    Number,
    SampleBody,
    SampleExtension,
    SampleRecord,
    encode_sample,
    format_time,
    number,
)
from alphapulse.registry.identity import venue_fingerprint
from alphapulse.registry.validation import (
    exact_or_zero,
    listing_currency,
    moment,
    one_of,
    refuse,
    refuse_others,
    stripped,
    venue,
)

NS: Final = 1_000_000_000
SKEW_NS_MAX: Final = 5 * NS
"""A sample may be from so far in the future: clocks differ."""
LATENCY_NS_MAX: Final = 3_600 * NS
OUTAGE_NS_MAX: Final = 86_400 * NS
"""Longer ones are told in parts, while they last."""
SPREAD_BPS_MAX: Final = 1_000_000
BAND_BPS_MAX: Final = 10_000
_LISTING: Final = re.compile(r"0x[0-9a-f]{16}")
_VALUES: Final = {
    Measure.ACK: "latency_ns", Measure.REJECT: "latency_ns", Measure.FILL: "latency_ns",
    Measure.OUTAGE: "duration_ns", Measure.SPREAD: "spread_bps", Measure.DEPTH: "depth",
}  # fmt: skip
"""The field that has the value."""
if _VALUES.keys() != set(Measure):
    raise ImportError("every measure needs the field of its value")
_NS_MAX: Final = {
    Measure.ACK: LATENCY_NS_MAX, Measure.REJECT: LATENCY_NS_MAX, Measure.FILL: LATENCY_NS_MAX,
    Measure.OUTAGE: OUTAGE_NS_MAX,
}  # fmt: skip
LINE_SIZE_BYTES_MAX: Final = 4_096
_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_COMMON: Final = ("venue", "measure", "time", "listing")


class SampleRefused(InvalidInput):
    """A good sample at a wrong time. `reason`: future, late or too_old."""

    def __init__(self, reason: str, problem: str, cure: str, **facts: object) -> None:
        super().__init__("taking a sample", problem=problem, cure=cure, **facts)
        self.reason = reason


class Sample(NamedTuple):
    """One that was checked; make it with `sample`. time: ns. listing: its id, 0 = the venue."""

    venue: str
    measure: Measure
    time: int
    value: Number
    listing: int = 0
    band_bps: int = 0
    currency: str = ""

    def body(self) -> SampleBody:
        """What is stored of it."""
        message = encode_sample(
            self.measure, self.value.exponent, self.band_bps, self.time, _fingerprint(self.venue),
            self.listing, self.value.mantissa, self.currency.encode().ljust(8, b"\0"),
        )  # fmt: skip
        return SampleBody(message, _extension(self.venue))


@lru_cache(maxsize=1024)
def _fingerprint(name: str) -> bytes:
    return venue_fingerprint(name)


@lru_cache(maxsize=1024)
def _extension(name: str) -> SampleExtension:
    return SampleExtension(venue=name)


def sample(fields: Mapping[str, object]) -> Sample:
    """A sample from its fields by name. Raises InvalidInput naming the field. Cost: 6 µs.

    time: ns since 1970 UTC, or RFC 3339 text.
    """
    name = one_of(fields.get("measure"), "measure", MEASURES_BY_NAME)
    measure = MEASURES_BY_NAME[name]
    wanted = _VALUES[measure]
    allowed = {*_COMMON, wanted, *(("within_bps", "currency") if wanted == "depth" else ())}
    refuse_others(fields, sorted(allowed), f"a sample of {name}")
    depth = measure is Measure.DEPTH
    return Sample(
        venue(fields.get("venue")), measure, _time(fields.get("time")),
        _value(measure, fields.get(wanted), wanted), _listing(fields.get("listing", "")),
        _whole(fields.get("within_bps"), "within_bps", 1, BAND_BPS_MAX) if depth else 0,
        _currency(fields.get("currency")) if depth else "",
    )  # fmt: skip


def sample_of_line(line: bytes) -> Sample:
    """A sample from a line of JSON. Raises InvalidInput."""
    if len(line) > LINE_SIZE_BYTES_MAX:
        raise InvalidInput(
            "reading a sample", problem=f"the line is over {LINE_SIZE_BYTES_MAX} bytes long",
            size_bytes=len(line),
        )  # fmt: skip
    try:
        fields = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("reading a sample", problem=f"it is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidInput("reading a sample", problem="it is no JSON object")
    return sample(fields)


def _time(value: object) -> int:
    found = moment(value, "time")
    if found <= 0:
        refuse("time", "it is before 1970, or not known", value)
    return found


def _value(measure: Measure, value: object, field: str) -> Number:
    if value is None and measure is Measure.REJECT:
        return UNSET
    if (bound := _NS_MAX.get(measure)) is not None:
        return Number(_whole(value, field, int(measure is Measure.OUTAGE), bound), 0)
    found = number(exact_or_zero(value, field))
    if measure is Measure.SPREAD and found.to_decimal() > SPREAD_BPS_MAX:
        refuse(field, f"it is over {SPREAD_BPS_MAX}", value)
    return found


def _whole(value: object, field: str, low: int, high: int) -> int:
    """An integer, as JSON or as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        value = int(value)
    if type(value) is not int:
        refuse(field, "it must be a whole number", value)
    if not low <= value <= high:
        refuse(field, f"it must be {low} to {high}", value)
    return value


def _listing(value: object) -> int:
    clean = stripped(value, "listing").lower()
    if clean and not _LISTING.fullmatch(clean):
        refuse("listing", "it is not the id of a listing", value, "write it like 0x…, 16 digits")
    return int(clean, 16) if clean else 0


def _currency(value: object) -> str:
    clean = listing_currency(value, "currency")
    if len(clean) > 8:
        refuse("currency", "a depth's has at most 8 characters", value)
    return clean


def check_time(given: Sample, now: int, closed_until: int, kept_from: int = 0) -> None:
    """Raises SampleRefused when it cannot be taken any more, or not yet.

    now, closed_until, kept_from: ns. Windows that end by `closed_until` are closed. An outage that
    began before is taken: what of it is in open windows counts.
    """
    if given.time > now + SKEW_NS_MAX:
        raise SampleRefused(
            "future", "it is from the future", "set the clock of whoever sends it",
            time=format_time(given.time), ahead_ns=given.time - now, ahead_ns_max=SKEW_NS_MAX,
        )  # fmt: skip
    if given.time < closed_until:
        raise SampleRefused(
            "late", "its window is closed", "send samples sooner, or summarise later",
            venue=given.venue, time=format_time(given.time),
            closed_until=format_time(closed_until),
        )  # fmt: skip
    if given.time < kept_from:
        raise SampleRefused(
            "too_old", "it is older than what is kept", "keep samples for longer",
            time=format_time(given.time), kept_from=format_time(kept_from),
        )  # fmt: skip


def sample_dict(body: SampleBody) -> dict[str, object]:
    """A stored sample as it is sent and shown; `sample` takes it again."""
    record = SampleRecord(body.message)
    measure, value = record.measure, record.value
    found: dict[str, object] = {
        "venue": body.extension.venue, "measure": measure.name.lower(),
        "time": format_time(record.time),
    }  # fmt: skip
    if record.listing:
        found["listing"] = f"0x{record.listing:016x}"
    if value is not None:
        found[_VALUES[measure]] = value.mantissa if measure in _NS_MAX else str(value)
    if measure is Measure.DEPTH:
        found |= {"within_bps": record.band_bps, "currency": record.currency}
    return found
