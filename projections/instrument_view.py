"""The view of instruments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from blake3 import blake3

from alphapulse.log import (
    INSTRUMENT_KINDS,
    MESSAGE_SIZE_BYTES,
    AnyBody,
    AssetClass,
    Event,
    InstrumentBody,
    InstrumentRecord,
    Kind,
    Space,
    symbol_of,
)

from .entity_view import NOTES, EntityView, First
from .keys import address_key, bytes_key, interleaved, isin_key, text_key
from .layout import TableSchema
from .table import TableWriter

MANY_USED: Final = 1
"""Key under which those stand that use more than USED_MAX others: they are few, and looked through.
A key for each would make room for thousands in every event."""
USED_MAX: Final = 2
USED_BY_NAME: Final = 2
"""Key under which those stand that name others by an address or a code, and not by an id."""


class _Terms(msgspec.Struct):
    native_id: str = ""
    tokens: str = ""
    formula: str = ""
    base: str = ""
    quote: str = ""


class _Indexed(msgspec.Struct):
    """The fields of an extension that are indexed; decoding skips the others."""

    address: str = ""
    symbol: str = ""
    identifiers: dict[str, str] | None = None
    terms: _Terms | None = None


CUSIP_COUNTRIES: Final = ("US", "CA")
"""How the ISINs begin that contain a CUSIP."""
_NO_PARENT: Final = bytes(8)
_NO_TERMS: Final = _Terms()
_IDS: Final = re.compile(r"0x[0-9a-f]{16}").findall
_decode_indexed: Final = msgspec.msgpack.Decoder(_Indexed).decode
IDENTIFIER_INDEXES: Final = {
    "lei": "isin", "figi": "address", "composite_figi": "address", "cusip": "number",
    "sedol": "number",
}  # fmt: skip
"""Scheme of an identifier to its index, where it stands under its text: records say of which scheme
it is. So spread, no index gets over two links of an event (`links_per_event`), for which it must
have room."""


class InstrumentView(EntityView):
    """Instruments by id, ISIN, symbol (a venue's native id is one too), address, the other
    identifiers (`IDENTIFIER_INDEXES`), and by what they derive from or are made of. The payload is
    the 128-byte message of the newest event, whatever date that names; a pending record says that
    the log has to be asked what is true."""

    schema = TableSchema("instruments", 3, ("isin", "symbol", "address", "number", "uses"))
    space = Space.INSTRUMENT
    first_kind = Kind.INSTRUMENT_REGISTERED
    dated = True
    links_per_event = (7, 3)  # a security's; no class has an address and a native id
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
        identifiers = _indexed(body.extension.identifiers, isin)
        for scheme, number in _NUMBERS:
            if scheme in identifiers:
                table.link(number, text_key(identifiers[scheme]), cell)
        for key in _used_keys(body.message, _terms_of(body)):
            table.link(_USES, key, cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        rows: list[tuple[int, bytes, int, bytes]] = []
        isins, symbols, natives, addresses = [], [], [], []
        identified: list[tuple[int, dict[str, str]]] = []
        """Places in `rows` with what `_indexed` gives of them."""
        used: list[tuple[int, int]] = []
        """Keys, each with the number of its row."""
        for entity, offset, data in new:
            message, rest = data[:MESSAGE_SIZE_BYTES], data[MESSAGE_SIZE_BYTES:]
            indexed = _decode_indexed(rest)
            row = b"".join((data[:40], data[48:84], data[88:124], rest))
            if indexed.terms is not None or message[32:40] != _NO_PARENT:
                terms = indexed.terms or _NO_TERMS
                used += [(key, len(rows)) for key in _used_keys(message, terms)]
            rows.append((entity, message, offset, blake3(row).digest()))
            isins.append(isin_key(data[96:108]) if data[96] else 0)
            symbol = indexed.symbol.encode() or data[108 : 108 + data[82]]
            symbols.append(bytes_key(symbol) if symbol else 0)
            native_id = indexed.terms.native_id if indexed.terms else ""
            natives.append(text_key(native_id) if native_id else 0)
            addresses.append(address_key(indexed.address) if indexed.address else 0)
            if indexed.identifiers:
                isin = data[96:108].decode("ascii")
                identified.append((len(rows) - 1, _indexed(indexed.identifiers, isin)))
        cells = table.insert_all(rows)
        done = len(cells)
        for number, keys in enumerate((isins, symbols, addresses)):
            if number == 1 and any(natives):
                table.link_all(1, *interleaved(symbols, natives, cells))
            elif any(keys):
                table.link_all(number, keys[:done], cells)
        for scheme, number in _NUMBERS if identified else ():
            said = [(at, value) for at, all_ in identified if (value := all_.get(scheme))]
            said = [each for each in said if each[0] < done]
            table.link_all(
                number, [text_key(value) for _, value in said], [cells[at] for at, _ in said]
            )
        if used:
            used = [(key, row) for key, row in used if row < done]
            table.link_all(_USES, [key for key, _ in used], [cells[row] for _, row in used])
        return done


_NUMBERS: Final = [
    (scheme, InstrumentView.schema.secondaries.index(name))
    for scheme, name in IDENTIFIER_INDEXES.items()
]
_USES: Final = InstrumentView.schema.secondaries.index("uses")


def _indexed(identifiers: dict[str, str], isin: str) -> dict[str, str]:
    """Without a CUSIP that the ISIN contains: that finds it, as where nobody said it."""
    if identifiers.get("cusip", "") != cusip_in(isin):
        return identifiers
    return {scheme: value for scheme, value in identifiers.items() if scheme != "cusip"}


def cusip_in(isin: str) -> str:
    """The CUSIP that an ISIN contains; empty outside of `CUSIP_COUNTRIES`."""
    return isin[2:11] if isin.startswith(CUSIP_COUNTRIES) else ""


def _terms_of(body: InstrumentBody) -> _Terms:
    terms = body.extension.terms
    return _Terms(**{field: str(terms.get(field, "")) for field in _Terms.__struct_fields__})


def _used_keys(message: bytes, terms: _Terms) -> list[int]:
    """Of the underlying and the components: ids, addresses of tokens and codes of currencies."""
    keys = [int.from_bytes(message[32:40], "little")] if message[32:40] != _NO_PARENT else []
    if message[2] == AssetClass.FX_PAIR:
        keys += [text_key(terms.base), text_key(terms.quote or message[92:95].decode("ascii"))]
    elif message[2] == AssetClass.DEX_POOL:
        keys += map(address_key, terms.tokens.split())
    elif message[2] == AssetClass.SYNTHETIC:
        keys += (int(id, 16) for id in _IDS(terms.formula))
    keys = list(dict.fromkeys(keys))
    if len(keys) > USED_MAX:
        keys = [MANY_USED]
    by_name = message[2] in (AssetClass.FX_PAIR, AssetClass.DEX_POOL)
    return [*keys, USED_BY_NAME] if keys and by_name else keys


def native_id_of(body: InstrumentBody) -> str:
    """What the issuing venue calls it; empty when that is not known."""
    return str(body.extension.terms.get("native_id", ""))
