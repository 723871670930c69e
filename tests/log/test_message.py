from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.errors import Corrupt, NotDecodable, TooLarge
from alphapulse.log.kinds import AssetClass, Status
from alphapulse.log.message import (
    BODY,
    DECIMALS_UNSET,
    FLAG_CHAIN_ID,
    FLAG_STRIKE,
    FLAG_SYMBOL_LONG,
    FLAGS_KNOWN,
    MESSAGE_RESIDUE,
    MESSAGE_SIZE_BYTES,
    InstrumentFields,
    InstrumentRecord,
    decode_message,
    encode_message,
    pack_currency,
    pack_symbol,
    summary_of,
    verify_message,
)
from alphapulse.log.numbers import MANTISSA_UNSET, Number
from tests.texts import texts

from .logs import flips

U8, U32, U64 = st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
I8, I64 = st.integers(-128, 127), st.integers(-(2**63), 2**63 - 1)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126))


def padded(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


FIELDS = st.builds(
    InstrumentFields, asset_class=st.sampled_from(AssetClass), status=st.sampled_from(Status),
    flags=st.integers(0, FLAGS_KNOWN), decimals=U8, tick_exponent=I8, id=U64,
    fingerprint=padded(16), parent=U64, valid_from=I64, tick_mantissa=I64, lot_mantissa=I64,
    expiry_or_chain=I64, strike_or_multiplier_mantissa=I64, lot_exponent=I8,
    strike_or_multiplier_exponent=I8, symbol_size=st.integers(0, 16), revision=U32,
    venue=padded(4), currency=padded(4), isin=padded(12), symbol=padded(16),
)  # fmt: skip


def sealed(message: bytes | bytearray) -> bytes:
    return bytes(message[:124]) + crc32(message[:124]).to_bytes(4, "little")


@given(FIELDS)
def test_what_is_written_is_read(fields: InstrumentFields) -> None:
    message = encode_message(*fields)
    assert len(message) == MESSAGE_SIZE_BYTES
    assert crc32(message) == MESSAGE_RESIDUE
    verify_message(message)
    assert decode_message(message) == fields
    assert decode_message(memoryview(message)) == fields
    summary = summary_of(message)
    assert summary == tuple(getattr(fields, name) for name in summary._fields)


@given(FIELDS, st.integers(0, 40))
def test_a_record_reads_in_place_what_the_fields_say(fields: InstrumentFields, at: int) -> None:
    message = encode_message(*fields)
    record = InstrumentRecord(memoryview(bytes(at) + message + b"after"), at)
    record.verify()
    assert record.message == message
    assert (record.asset_class, record.status) == (fields.asset_class, fields.status)
    assert (record.flags, record.id, record.parent) == (fields.flags, fields.id, fields.parent)
    assert record.fingerprint == fields.fingerprint
    assert (record.valid_from, record.revision) == (fields.valid_from, fields.revision)
    assert record.decimals == (None if fields.decimals == 255 else fields.decimals)
    assert record.symbol_is_cut == bool(fields.flags & FLAG_SYMBOL_LONG)
    tick, lot = Number(fields.tick_mantissa, fields.tick_exponent), fields.lot_mantissa
    assert record.tick == (None if tick.mantissa == MANTISSA_UNSET else tick)
    assert record.lot == (None if lot == MANTISSA_UNSET else Number(lot, fields.lot_exponent))
    either = Number(fields.strike_or_multiplier_mantissa, fields.strike_or_multiplier_exponent)
    present = None if either.mantissa == MANTISSA_UNSET else either
    is_strike, is_chain = fields.flags & FLAG_STRIKE, fields.flags & FLAG_CHAIN_ID
    assert (record.strike, record.multiplier) == (
        (present, None) if is_strike else (None, present)
    )
    assert (record.chain_number, record.expiry) == (
        (fields.expiry_or_chain, None) if is_chain else (None, fields.expiry_or_chain or None)
    )


def test_every_field_stands_where_the_format_says() -> None:
    message = encode_message(
        asset_class=12, status=3, flags=6, decimals=8, tick_exponent=-2, id=0x0102030405060708,
        fingerprint=bytes(range(16)), parent=9, valid_from=-10, tick_mantissa=11, lot_mantissa=12,
        expiry_or_chain=13, strike_or_multiplier_mantissa=14, lot_exponent=-15,
        strike_or_multiplier_exponent=16, symbol_size=3, revision=18, venue=b"XNAS",
        currency=b"USD", isin=b"US0378331005", symbol=b"abc",
    )  # fmt: skip
    assert message[:8] == bytes([1, 1, 12, 3, 6, 0, 8, 254])
    assert message[8:16] == bytes([8, 7, 6, 5, 4, 3, 2, 1])
    assert message[16:32] == bytes(range(16))
    assert list(struct.unpack_from("<6q", message, 32)) == [
        9, -10, 11, 12, 13, 14,
    ]  # fmt: skip
    assert message[80:84] == bytes([241, 16, 3, 0])
    assert message[84:88] == (18).to_bytes(4, "little")
    assert message[88:96] == b"XNASUSD\0"
    assert message[96:124] == b"US0378331005abc" + bytes(13)
    assert message[124:] == crc32(message[:124]).to_bytes(4, "little")


def test_any_flipped_bit_is_refused() -> None:
    message = encode_message(*InstrumentFields(AssetClass.TOKEN, symbol_size=3, symbol=b"abc"))
    for bit, changed in flips(message):
        for read in (verify_message, summary_of):
            try:
                read(changed)
            except Corrupt:
                continue
            pytest.fail(f"bit {bit} was called fine by {read.__name__}")


@pytest.mark.parametrize("size", [0, 127, 129, 256])
def test_another_size_is_refused(size: int) -> None:
    for read in (verify_message, summary_of):
        with pytest.raises(NotDecodable):
            read(bytes(size))


@pytest.mark.parametrize(
    "at,value",
    [(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (2, 16), (3, 0), (3, 7), (4, 8), (5, 1), (82, 17),
     (83, 1)],
)  # fmt: skip
def test_an_unknown_value_under_a_right_crc_is_refused(at: int, value: int) -> None:
    message = bytearray(encode_message(*InstrumentFields(AssetClass.TOKEN)))
    verify_message(bytes(message))
    message[at] = value
    with pytest.raises(NotDecodable):
        verify_message(sealed(message))
    with pytest.raises(NotDecodable):
        decode_message(sealed(message))
    with pytest.raises(NotDecodable):
        summary_of(sealed(message))


@pytest.mark.parametrize(
    "wrong",
    [{"id": -1}, {"id": 1 << 64}, {"decimals": 256}, {"tick_exponent": -129}, {"flags": -1}],
)
def test_a_value_that_does_not_fit_is_not_written(wrong: dict[str, int]) -> None:
    with pytest.raises(struct.error):
        encode_message(**InstrumentFields(AssetClass.TOKEN)._asdict() | wrong)


@given(texts(max_size=24))
def test_a_long_symbol_is_cut_at_a_character(symbol: str) -> None:
    raw = symbol.encode()
    stored, flag = pack_symbol(symbol)
    assert len(stored) <= 16
    if len(raw) <= 16:
        assert (stored, flag) == (raw, 0)
        return
    assert flag == FLAG_SYMBOL_LONG
    kept = stored.decode()
    assert symbol.startswith(kept)
    assert len((kept + symbol[len(kept)]).encode()) > 16
    record = InstrumentRecord(encode_message(*InstrumentFields(
        AssetClass.TOKEN, flags=flag, symbol_size=len(stored), symbol=stored
    )))  # fmt: skip
    assert record.symbol == kept and record.symbol_is_cut


@given(ASCII.filter(lambda text: len(text) <= 4))
def test_currencies_are_short_ascii(code: str) -> None:
    record = InstrumentRecord(encode_message(*InstrumentFields(
        AssetClass.EQUITY, currency=pack_currency(code)
    )))  # fmt: skip
    assert record.currency == code


def test_a_long_currency_is_refused() -> None:
    with pytest.raises(TooLarge):
        pack_currency("USDCX")
    with pytest.raises(UnicodeEncodeError):
        pack_currency("€")


def test_what_is_unset_reads_as_none_or_empty() -> None:
    record = InstrumentRecord(encode_message(*InstrumentFields(AssetClass.INDEX)))
    assert record.decimals is None and record.tick is None and record.lot is None
    assert record.expiry is None and record.chain_number is None
    assert record.strike is None and record.multiplier is None
    assert (record.venue, record.currency, record.isin, record.symbol) == ("", "", "", "")
    assert record.flags == 0 and record.status is Status.ACTIVE and record.revision == 1
    assert DECIMALS_UNSET == 255 and BODY.size == 124


def test_records_are_equal_when_their_bytes_are() -> None:
    one, two = (encode_message(*InstrumentFields(1, id=7, revision=r)) for r in (1, 2))
    assert InstrumentRecord(one) == InstrumentRecord(b"x" + one, 1) != InstrumentRecord(two)
    assert hash(InstrumentRecord(one)) == hash(InstrumentRecord(b"x" + one, 1))
    assert InstrumentRecord(one) != one
    assert "token 0x0000000000000007" in repr(InstrumentRecord(one))
