"""The 128-byte message: encode from values, verify, verify and read all fields.

Peers hold the same 21 fields: `struct` with the CRC inline is the floor that Python allows;
msgspec writes a MessagePack array and a CRC after it; databento-dbn's definition record is their
nearest (520 bytes, no CRC: it has nothing to verify, and its reading is decode and 21 attributes).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final
from zlib import crc32

import msgspec

from alphapulse.log import (
    BODY,
    MESSAGE_RESIDUE,
    InstrumentFields,
    decode_message,
    encode_message,
    verify_message,
)
from alphapulse.registry import facts_of, fingerprint_of
from alphapulse.registry.facts import body_of
from alphapulse.registry.identity import primary_id

from .budgets import DBN, MSGSPEC, OURS, STRUCT
from .data import instrument
from .harness import Contender, Row, Timing, absent, race, rows_of, settle
from .topics import Context

MESSAGES_MAX: Final = 20_000
_CRC: Final = struct.Struct("<I")
_pack, _unpack, _pack_crc = BODY.pack, BODY.unpack_from, _CRC.pack
_DBN_FIELDS: Final = (
    "rtype", "publisher_id", "instrument_id", "ts_event", "ts_recv", "min_price_increment",
    "display_factor", "expiration", "activation", "strike_price", "raw_instrument_id",
    "unit_of_measure_qty", "contract_multiplier", "underlying_id", "min_lot_size", "currency",
    "exchange", "cfi", "raw_symbol", "security_type", "instrument_class",
)  # fmt: skip


class Packed(msgspec.Struct, array_like=True):
    """The fields of `InstrumentFields`."""

    asset_class: int
    status: int
    flags: int
    decimals: int
    tick_exponent: int
    id: int
    fingerprint: bytes
    parent: int
    valid_from: int
    tick_mantissa: int
    lot_mantissa: int
    expiry_or_chain: int
    strike_or_multiplier_mantissa: int
    lot_exponent: int
    strike_or_multiplier_exponent: int
    symbol_size: int
    revision: int
    venue: bytes
    currency: bytes
    isin: bytes
    symbol: bytes


if Packed.__struct_fields__ != InstrumentFields._fields:
    raise ImportError("the peer must hold the fields of the message")

_msgpack_encode: Final = msgspec.msgpack.Encoder().encode
_msgpack_decode: Final = msgspec.msgpack.Decoder(Packed).decode


def struct_encode(*fields: Any) -> bytes:
    body = _pack(0x0101, *fields)
    return body + _pack_crc(crc32(body))


def struct_verify(data: bytes) -> bool:
    return crc32(data) == MESSAGE_RESIDUE


def struct_decode(data: bytes) -> tuple[Any, ...]:
    if crc32(data) != MESSAGE_RESIDUE:
        raise ValueError("bad CRC")
    return _unpack(data)


def msgspec_encode(*fields: Any) -> bytes:
    body = _msgpack_encode(Packed(*fields))
    return body + _pack_crc(crc32(body))


def msgspec_decode(data: bytes) -> Packed:
    if crc32(data) != MESSAGE_RESIDUE:
        raise ValueError("bad CRC")
    return _msgpack_decode(memoryview(data)[:-4])


def run(context: Context) -> Iterator[Row]:
    fields = list(_fields(min(context.size, MESSAGES_MAX)))
    ours = [encode_message(*values) for values in fields]
    theirs = [msgspec_encode(*values) for values in fields]
    size = len(fields)
    dbn = _dbn(fields)
    values = [tuple(each) for each in fields]  # calling with a NamedTuple would copy it first
    settle()

    def rows(case: str, contenders: Sequence[Contender], *, dbn_does_it: bool = True) -> list[Row]:
        timings: dict[str, Timing] = race(contenders)
        if dbn_does_it and dbn is None:
            timings[DBN] = absent(DBN)
        return rows_of("message", case, size, timings)

    encoders = [
        Contender(OURS, encode_message, values, spread=True),
        Contender(STRUCT, struct_encode, values, spread=True),
        Contender(MSGSPEC, msgspec_encode, values, spread=True),
    ]
    verifiers = [
        Contender(OURS, verify_message, ours),
        Contender(STRUCT, struct_verify, ours),
        Contender(MSGSPEC, struct_verify, theirs),
    ]
    decoders = [
        Contender(OURS, decode_message, ours),
        Contender(STRUCT, struct_decode, ours),
        Contender(MSGSPEC, msgspec_decode, theirs),
    ]
    if dbn is not None:
        encoders.append(dbn[0])
        decoders.append(dbn[1])
    yield from rows("encode", encoders)
    yield from rows("verify", verifiers, dbn_does_it=False)
    yield from rows("verify and all fields", decoders)


def _fields(count: int) -> Iterator[InstrumentFields]:
    for number in range(count):
        facts = facts_of(instrument(number))
        fingerprint = fingerprint_of(facts.key)
        body = body_of(facts, id=primary_id(fingerprint), fingerprint=fingerprint)
        yield decode_message(body.message)


def _dbn(fields: Sequence[InstrumentFields]) -> tuple[Contender, Contender] | None:
    """Encoding and decoding by databento-dbn; None when it is not installed."""
    try:
        import databento_dbn as dbn
    except ImportError:
        return None
    make: Callable[..., Any] = dbn.InstrumentDefMsg  # its stub takes other enums than it does
    kind, action = dbn.InstrumentClass.STOCK, dbn.SecurityUpdateAction.ADD

    def encode(values: InstrumentFields) -> bytes:
        return bytes(
            make(
                1, values.id & 0xFFFFFFFF, values.valid_from, values.valid_from, 1, 1,
                values.symbol.decode(), "", "CS", kind, action, currency="USD", exchange="XNAS",
                raw_instrument_id=values.id, underlying_id=0,
            )
        )  # fmt: skip

    read = attrgetter(*_DBN_FIELDS)
    return (
        Contender(DBN, encode, fields),
        Contender(DBN, _dbn_decode(dbn.DBNDecoder, read), [encode(v) for v in fields]),
    )


def _dbn_decode(
    decoder_type: Callable[..., Any], read: Callable[[Any], tuple[Any, ...]]
) -> Callable[[bytes], tuple[Any, ...]]:
    decoder = decoder_type(has_metadata=False)

    def decode(data: bytes) -> tuple[Any, ...]:
        decoder.write(data)
        return read(decoder.decode()[0])

    return decode
