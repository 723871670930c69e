"""The view of instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from blake3 import blake3

from alphapulse.log import (
    INSTRUMENT_KINDS,
    MESSAGE_SIZE_BYTES,
    AnyBody,
    Event,
    InstrumentBody,
    InstrumentRecord,
    Kind,
    Space,
    symbol_of,
)

from .entity_view import NOTES, EntityView, First
from .keys import address_key, bytes_key, isin_key, text_key
from .layout import TableSchema
from .table import TableWriter


class _Terms(msgspec.Struct):
    native_id: str = ""


class _Indexed(msgspec.Struct):
    """The fields of an extension that are indexed; decoding skips the others."""

    address: str = ""
    symbol: str = ""
    terms: _Terms | None = None


_decode_indexed: Final = msgspec.msgpack.Decoder(_Indexed).decode


class InstrumentView(EntityView):
    """Instruments by id, ISIN, symbol (a venue's native id is one too) and address. The payload is
    the 128-byte message."""

    schema = TableSchema("instruments", 1, ("isin", "symbol", "address"))
    space = Space.INSTRUMENT
    first_kind = Kind.INSTRUMENT_REGISTERED
    links_per_event = (3, 2)  # no class has an address and a native id
    data_kinds: frozenset[int] = INSTRUMENT_KINDS
    kinds: frozenset[int] = data_kinds | NOTES

    def payload(self, event: Event, body: AnyBody) -> bytes:
        assert isinstance(body, InstrumentBody)
        return body.message

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        assert isinstance(body, InstrumentBody)
        isin = InstrumentRecord(body.message).isin
        if isin:
            table.link(0, isin_key(isin), cell)
        symbol = symbol_of(body)
        if symbol:
            table.link(1, text_key(symbol), cell)
        native_id = native_id_of(body)
        if native_id:
            table.link(1, text_key(native_id), cell)
        address = body.extension.address
        if address:
            table.link(2, address_key(address), cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        rows, isins, symbols, natives, addresses = [], [], [], [], []
        for entity, offset, data in new:
            message, rest = data[:MESSAGE_SIZE_BYTES], data[MESSAGE_SIZE_BYTES:]
            indexed = _decode_indexed(rest)
            row = b"".join((data[:40], data[48:84], data[88:124], rest))
            rows.append((entity, message, offset, blake3(row).digest()))
            isins.append(isin_key(data[96:108]) if data[96] else 0)
            symbol = indexed.symbol.encode() or data[108 : 108 + data[82]]
            symbols.append(bytes_key(symbol) if symbol else 0)
            native_id = indexed.terms.native_id if indexed.terms else ""
            natives.append(text_key(native_id) if native_id else 0)
            addresses.append(address_key(indexed.address) if indexed.address else 0)
        cells = table.insert_all(rows)
        done = len(cells)
        for number, keys in enumerate((isins, symbols, addresses)):
            if number == 1 and any(natives):  # each cell twice, in the order of `link`
                keys = [key for pair in zip(symbols, natives, strict=True) for key in pair]
                table.link_all(1, keys[: 2 * done], [cell for cell in cells for _ in range(2)])
            else:
                table.link_all(number, keys[:done], cells)
        return done


def native_id_of(body: InstrumentBody) -> str:
    """What the issuing venue calls it; empty when that is not known."""
    return str(body.extension.terms.get("native_id", ""))
