"""The view of listings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from blake3 import blake3

from alphapulse.log import (
    LISTING_KINDS,
    AnyBody,
    Event,
    Kind,
    ListingBody,
    Space,
)

from .entity_view import NOTES, EntityView, First, without_class
from .keys import interleaved, mixed_key, pair_key, text_key
from .layout import TableSchema
from .records import pack_listing
from .rows import canonical_row
from .table import TableWriter

_decode_listing: Final = msgspec.msgpack.Decoder(ListingBody).decode


class ListingView(EntityView):
    """Listings by id, instrument, venue and symbol, symbol (and FIGI), venue."""

    schema = TableSchema("listings", 5, ("instrument", "venue_symbol", "symbol", "venue"))
    space = Space.LISTING
    first_kind = Kind.LISTING_ADDED
    links_per_event = (5, 2)
    data_kinds: frozenset[int] = LISTING_KINDS
    kinds: frozenset[int] = data_kinds | NOTES

    def payload(self, event: Event, body: AnyBody) -> bytes:
        assert isinstance(body, ListingBody)
        return pack_listing(event.entity, body)

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        assert isinstance(body, ListingBody)
        table.link(0, body.instrument, cell)
        if body.symbol:
            table.link(1, pair_key(body.venue, body.symbol), cell)
            table.link(2, text_key(body.symbol), cell)
        table.link(3, text_key(body.venue), cell)
        if body.figi:
            table.link(2, text_key(body.figi), cell)
        if body.earlier:
            self._link_earlier(body, table, cell)

    def _link_earlier(self, body: ListingBody, table: TableWriter, cell: int) -> None:
        """What it was called in a period that was told of after a later one. All but at most one
        of them stand there already, as an event adds one."""
        for symbol in {words.symbol for _, _, words in body.earlier} - {"", body.symbol}:
            table.link(1, pair_key(body.venue, symbol), cell)
            table.link(2, text_key(symbol), cell)
        for figi in {words.figi for _, _, words in body.earlier} - {"", body.figi}:
            table.link(2, text_key(figi), cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        rows, instruments, pairs, symbols, venues, figis = [], [], [], [], [], []
        for entity, offset, data in new:
            body = _decode_listing(data)
            row = without_class(data) if body.revision == 1 else canonical_row(body)
            payload = pack_listing(entity, body)
            rows.append((entity, payload, offset, blake3(row).digest()))
            venue, symbol = text_key(body.venue), text_key(body.symbol) if body.symbol else 0
            instruments.append(body.instrument)
            pairs.append(mixed_key(venue, symbol) if symbol else 0)
            symbols.append(symbol)
            venues.append(venue)
            figis.append(text_key(body.figi) if body.figi else 0)
        cells = table.insert_all(rows)
        done = len(cells)
        for number, keys in enumerate((instruments, pairs, symbols, venues)):
            if number == 2 and any(figis):
                table.link_all(2, *interleaved(symbols, figis, cells))
            else:
                table.link_all(number, keys[:done], cells)
        return done
