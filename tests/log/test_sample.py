"""The 64-byte sample: what is written is read, in place and as a whole, or refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.log.errors import Corrupt, NotDecodable
from alphapulse.log.kinds import SAMPLE_KINDS, Kind, Measure
from alphapulse.log.numbers import MANTISSA_UNSET, Number
from alphapulse.log.sample import SampleFields, SampleRecord, decode_sample, encode_sample

from .builders import make_event, sample_body

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
FIELDS = st.builds(
    SampleFields, st.sampled_from(Measure), st.integers(-128, 127), st.integers(0, (1 << 32) - 1),
    I64, st.binary(min_size=16, max_size=16), st.integers(0, (1 << 64) - 1), I64,
    st.sampled_from([b"", b"USD", b"USDT", b"12345678"]).map(lambda code: code.ljust(8, b"\0")),
)  # fmt: skip


@given(FIELDS, st.integers(0, 9))
@settings(max_examples=50)
def test_what_is_written_is_read(fields: SampleFields, at: int) -> None:
    data = encode_sample(*fields)
    assert len(data) == 64 and decode_sample(data) == fields
    record = SampleRecord(bytes(at) + data, at)
    assert (record.measure, record.band_bps, record.time, record.fingerprint) == (
        fields.measure, fields.band_bps, fields.time, fields.fingerprint,
    )  # fmt: skip
    assert (record.listing, record.currency.encode()) == (
        fields.listing, fields.currency.rstrip(b"\0")
    )
    unset = fields.mantissa == MANTISSA_UNSET
    assert record.value == (None if unset else Number(fields.mantissa, fields.exponent))


def test_any_flipped_bit_is_refused() -> None:
    for bit in range(512):
        data = bytearray(sample_body().message)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            decode_sample(bytes(data))


def test_another_size_type_version_or_measure_is_refused() -> None:
    with pytest.raises(NotDecodable, match="not 64 bytes"):
        decode_sample(sample_body().message[:-1])
    with pytest.raises(NotDecodable, match="not known"):
        decode_sample(encode_sample(7, 0, 0, 0, bytes(16), 0, 0))
    with pytest.raises(struct.error):
        encode_sample(1, 0, -1, 0, bytes(16), 0, 0)


@pytest.mark.parametrize("kind", SAMPLE_KINDS)
def test_an_event_gives_its_sample_in_place(kind: int) -> None:
    event = make_event(kind, sample_body(SAMPLE_KINDS[kind], value=42))
    assert event.sample.measure == SAMPLE_KINDS[kind] and event.sample.mantissa == 42
    with pytest.raises(NotDecodable, match="longer than its frame"):
        make_event(Kind.ALERT_ACKNOWLEDGED).sample.measure  # noqa: B018  # asking is the test
