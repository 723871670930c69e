"""The views: what each keeps of the log, and how one event changes it.

A view is a schema and a fold. The fold of an event is *idempotent*: it may run again after a
crash, so it puts a record only when the stored one is older than the event, and linking the same
cell twice does nothing. It is *deterministic*: it reads nothing but the event, the table and, by
offset, earlier events. Whoever once carried a symbol or an ISIN stays linked under it for ever;
whether it did at a given moment is answered from the entity's history.

A view counts in its digest only what another home that learnt the same facts in another order
would count too; see `rows`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence, Set
from typing import Final, Protocol, TypeAlias

import msgspec
from blake3 import blake3

from alphapulse.log import (
    FRAME_HEADER_SIZE_BYTES,
    INSTRUMENT_KINDS,
    LISTING_KINDS,
    MESSAGE_SIZE_BYTES,
    RELATION_KINDS,
    VERSIONS,
    AcknowledgedBody,
    AnyBody,
    Block,
    Codec,
    CollisionBody,
    ConflictBody,
    Event,
    FeedBody,
    InstrumentBody,
    InstrumentRecord,
    Kind,
    ListingBody,
    NotDecodable,
    RelationBody,
    Space,
    symbol_of,
)

from .keys import (
    address_key,
    bytes_key,
    hash_key,
    isin_key,
    mixed_key,
    pair_key,
    text_key,
)
from .layout import TableSchema
from .records import (
    NOT_ACKNOWLEDGED,
    ImportRecord,
    group_key,
    pack_alert,
    pack_feed,
    pack_import,
    pack_listing,
    pack_relation,
    pack_request,
)
from .rows import canonical_row
from .table import TableWriter
from .table_reader import TableReader

Fetch = Callable[[int], Event]
"""Reads an earlier event by offset."""
First: TypeAlias = tuple[int, int, bytes]
"""The first event of an entity: its id, the offset, the body's bytes."""

CONFLICT_FIELDS: Final = (
    "symbol", "name", "decimals", "isin", "currency", "class", "tick", "lot", "cusip", "sedol",
    "figi", "composite_figi", "lei", "cfi", "primary", "valid_from", "valid_to", "multiplier",
    "parent", "status", "base", "quote", "settlement", "ticks", "min_size", "max_size",
    "min_notional", "underlying", "payoff", "expiry", "last_trade", "native_id", "tokens",
    "fee_bps", "ratio", "formula",
)  # fmt: skip
"""Fields that sources may disagree on; the place is the bit in a record's aux word. Append only."""
_BITS: Final = {field: 1 << bit for bit, field in enumerate(CONFLICT_FIELDS)}
_OTHER_BIT: Final = 1 << 63


class View(Protocol):
    """One projection. kinds: what it folds; sees_all: it looks at the metadata of every event."""

    @property
    def schema(self) -> TableSchema: ...
    @property
    def kinds(self) -> frozenset[int]: ...
    @property
    def sees_all(self) -> bool: ...
    @property
    def links_per_event(self) -> tuple[int, int]:
        """How many links one event makes at most: in all, and in one index."""

    def concerns(self, block: Block, kinds: Set[int]) -> bool:
        """False when folding the block, whose events are of these kinds, would change nothing."""

    def fold_block(self, block: Block, start: int, table: TableWriter, fetch: Fetch) -> None:
        """Folds the events of a block from offset `start` on."""


def _row_of(body: AnyBody, aux: int) -> bytes:
    """The canonical row of an entity's state, without the fields that `aux` says are disputed."""
    assert isinstance(body, InstrumentBody | ListingBody | RelationBody)
    return canonical_row(body, fields_in_conflict(aux))


def _digest(row: bytes) -> int:
    return int.from_bytes(blake3(row).digest(), "little")


def native_id_of(body: InstrumentBody) -> str:
    """What the issuing venue calls it; empty when that is not known."""
    return str(body.extension.terms.get("native_id", ""))


def conflict_bit(field: str) -> int:
    return _BITS.get(field, _OTHER_BIT)


def fields_in_conflict(aux: int) -> frozenset[str]:
    """The fields whose bits are set in a record's aux word."""
    if not aux:
        return frozenset()
    return frozenset(field for field, bit in _BITS.items() if aux & bit)


class _EventView:
    """A view that folds event by event. `fold_block` gives it the events of its kinds."""

    kinds: frozenset[int]
    sees_all = False
    links_per_event = (0, 0)

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        raise TypeError("each view has its own fold")

    def concerns(self, block: Block, kinds: Set[int]) -> bool:
        return not self.kinds.isdisjoint(kinds)

    def fold_block(self, block: Block, start: int, table: TableWriter, fetch: Fetch) -> None:
        kinds, first = self.kinds, start - block.first
        for index, kind in enumerate(block.kinds.tolist()):
            if kind in kinds and index >= first:
                self.fold(block.event(index, verify=False), table, fetch)


class _EntityView(_EventView):
    """What instruments and listings share: full state in each data event, conflicts in aux."""

    space: Space
    first_kind: Kind
    data_kinds: frozenset[int]

    def payload(self, event: Event, body: AnyBody) -> bytes:
        raise TypeError("each entity view has its own payload")

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        raise TypeError("each entity view has its own links")

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        """Folds the first events of entities, up to one that the table knows; how many."""
        raise TypeError("each entity view has its own short way")

    def fold_block(self, block: Block, start: int, table: TableWriter, fetch: Fetch) -> None:
        """As event by event, with a short way for what nearly every event is: the first one.

        It is right when the table does not know the entity yet and the frame is of the newest
        version and not packed: then its bytes are the canonical row, or contain it.
        """
        data, offset, first_kind, kinds = block.data, block.first, self.first_kind, self.kinds
        plain = VERSIONS[first_kind] | Codec.NONE << 8
        new: list[First] = []
        at = block.frame_bounds(0)[0]
        for kind, end in zip(block.kinds.tolist(), block.ends.tolist(), strict=True):
            if kind in kinds and offset >= start:
                packing, flags, metadata_size, entity = _unpack_brief(data, at)
                if kind == first_kind and packing == plain:
                    body_end = end - metadata_size - (flags >> 2 & 7)
                    body = data[at + FRAME_HEADER_SIZE_BYTES : body_end]
                    new.append((entity, offset, body))
                else:
                    self._fold_new(new, block, table, fetch)
                    new.clear()
                    self.fold(block.event(offset - block.first, verify=False), table, fetch)
            at = end
            offset += 1
        self._fold_new(new, block, table, fetch)

    def _fold_new(
        self, new: Sequence[First], block: Block, table: TableWriter, fetch: Fetch
    ) -> None:
        """All in their order, which postings keep: the long way from the first known one on."""
        done = self.put_new(table, new) if new else 0
        for _, offset, _ in new[done:]:
            self.fold(block.event(offset - block.first, verify=False), table, fetch)

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        if event.space != self.space:
            return
        entity = event.entity
        position = table.find(entity)
        fresh = position < 0 or table.last_offset(position) < event.offset
        if event.kind in self.data_kinds:
            body = event.body
            if fresh:
                aux = table.trailer(position).aux if position >= 0 else 0
                row = _row_of(body, aux)
                cell = table.put(
                    entity, self.payload(event, body), last_offset=event.offset,
                    data_offset=event.offset, row_digest=_digest(row), aux=aux,
                )  # fmt: skip
            else:
                cell = table.cell(entity)
            self.link(body, table, cell)
        elif fresh and position >= 0:
            self._note(event, table, position, fetch)

    def _note(self, event: Event, table: TableWriter, position: int, fetch: Fetch) -> None:
        """The state stays, the chain goes on; what is disputed may change."""
        held = table.trailer(position)
        aux, row_digest, body = held.aux, held.row_digest, event.body
        if isinstance(body, ConflictBody):
            aux |= conflict_bit(body.field)
        elif isinstance(body, AcknowledgedBody):
            alert = fetch(body.alert).body
            if isinstance(alert, ConflictBody) and not _others_open(event, alert.field, fetch):
                aux &= ~conflict_bit(alert.field)
        if aux != held.aux:
            state = fetch(held.data_offset).body
            row_digest = _digest(_row_of(state, aux))
        table.put(
            event.entity, table.payload(position), last_offset=event.offset,
            data_offset=held.data_offset, row_digest=row_digest, aux=aux,
        )  # fmt: skip


def _others_open(acknowledged: Event, field: str, fetch: Fetch) -> bool:
    """Whether another conflict on the field stays open. Cost: a read for each earlier event."""
    assert isinstance(acknowledged.body, AcknowledgedBody)
    closed, at = {acknowledged.body.alert}, acknowledged.previous
    while at is not None:
        event = fetch(at)
        if isinstance(event.body, AcknowledgedBody):
            closed.add(event.body.alert)
        elif (
            isinstance(event.body, ConflictBody) and event.body.field == field
            and event.offset not in closed
        ):  # fmt: skip
            return True
        at = event.previous
    return False


_ALERT_KINDS: Final[frozenset[int]] = frozenset(
    {Kind.COLLISION_DETECTED, Kind.CONFLICT_DETECTED, Kind.ALERT_ACKNOWLEDGED}
)
_NOTES: Final[frozenset[int]] = _ALERT_KINDS | {Kind.REQUEST_ANSWERED}
"""Kinds that stand in the chain of any entity and leave its state as it is."""


class _Terms(msgspec.Struct):
    native_id: str = ""


class _Indexed(msgspec.Struct):
    """The fields of an extension that are indexed; decoding skips the others."""

    address: str = ""
    symbol: str = ""
    terms: _Terms | None = None


_unpack_brief: Final = struct.Struct("<10xHBxH24xQ8x").unpack_from
"""Of a frame's header: version and codec, flags, size of the metadata, entity."""
_CLASS_FIELD: Final = b"\xabasset_class"
"""In MessagePack; before it in a body stand only other names, ids and fingerprints."""


def _without_class(data: bytes) -> bytes:
    """`canonical_row` of a listing's or relation's first body from its bytes: its class set to 0,
    which like any class takes one byte."""
    at = data.index(_CLASS_FIELD) + len(_CLASS_FIELD)
    return b"".join((data[:at], b"\0", data[at + 1 :]))


_decode_indexed: Final = msgspec.msgpack.Decoder(_Indexed).decode
_decode_listing: Final = msgspec.msgpack.Decoder(ListingBody).decode
_decode_relation: Final = msgspec.msgpack.Decoder(RelationBody).decode


class InstrumentView(_EntityView):
    """Instruments by id, ISIN, symbol (a venue's native id is one too) and address. The payload is
    the 128-byte message."""

    schema = TableSchema("instruments", 1, ("isin", "symbol", "address"))
    space = Space.INSTRUMENT
    first_kind = Kind.INSTRUMENT_REGISTERED
    links_per_event = (3, 2)  # no class has an address and a native id
    data_kinds: frozenset[int] = INSTRUMENT_KINDS
    kinds: frozenset[int] = data_kinds | _NOTES

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


class ListingView(_EntityView):
    """Listings by id, instrument, venue and symbol, symbol, venue."""

    schema = TableSchema("listings", 2, ("instrument", "venue_symbol", "symbol", "venue"))
    space = Space.LISTING
    first_kind = Kind.LISTING_ADDED
    links_per_event = (4, 1)
    data_kinds: frozenset[int] = LISTING_KINDS
    kinds: frozenset[int] = data_kinds | _NOTES

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

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        rows, instruments, pairs, symbols, venues = [], [], [], [], []
        for entity, offset, data in new:
            body = _decode_listing(data)
            row = _without_class(data) if body.revision == 1 else canonical_row(body)
            payload = pack_listing(entity, body)
            rows.append((entity, payload, offset, blake3(row).digest()))
            venue, symbol = text_key(body.venue), text_key(body.symbol) if body.symbol else 0
            instruments.append(body.instrument)
            pairs.append(mixed_key(venue, symbol) if symbol else 0)
            symbols.append(symbol)
            venues.append(venue)
        cells = table.insert_all(rows)
        done = len(cells)
        for number, keys in enumerate((instruments, pairs, symbols, venues)):
            table.link_all(number, keys[:done], cells)
        return done


class RelationView(_EntityView):
    """Relations by id, by the instrument they start from, by the one at the far end, and by group:
    who is a sibling of whom."""

    schema = TableSchema("relations", 3, ("instrument", "other", "group"))
    space = Space.RELATION
    first_kind = Kind.RELATION_ADDED
    links_per_event = (3, 1)
    data_kinds: frozenset[int] = RELATION_KINDS
    kinds: frozenset[int] = data_kinds | _NOTES

    def payload(self, event: Event, body: AnyBody) -> bytes:
        assert isinstance(body, RelationBody)
        return pack_relation(event.entity, body)

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        assert isinstance(body, RelationBody)
        table.link(0, body.instrument, cell)
        if body.other:
            table.link(1, body.other, cell)
        if body.group:
            table.link(2, group_key(body.group_source, body.group), cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        rows, bodies = [], []
        for entity, offset, data in new:
            body = _decode_relation(data)
            row = _without_class(data) if body.revision == 1 else canonical_row(body)
            rows.append((entity, pack_relation(entity, body), offset, blake3(row).digest()))
            bodies.append(body)
        cells = table.insert_all(rows)
        for body, cell in zip(bodies, cells, strict=False):
            self.link(body, table, cell)
        return len(cells)


class AlertView(_EventView):
    """Collisions and conflicts. Open ones are the rows that count; acknowledged ones stay."""

    schema = TableSchema("alerts", 2, ())
    kinds = _ALERT_KINDS

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        acknowledged, alert = NOT_ACKNOWLEDGED, event
        if event.kind == Kind.ALERT_ACKNOWLEDGED:
            assert isinstance(event.body, AcknowledgedBody)
            acknowledged, alert = event.offset, fetch(event.body.alert)
        key = alert_key(alert.space, alert.entity, alert.body)
        position = table.find(key)
        if position >= 0 and table.last_offset(position) >= event.offset:
            return
        is_open = acknowledged == NOT_ACKNOWLEDGED
        row_digest = _digest(_alert_row(alert)) if is_open else 0
        table.put(
            key, pack_alert(alert.offset, acknowledged, alert.entity, alert.space, alert.kind),
            last_offset=event.offset, data_offset=alert.offset, row_digest=row_digest,
        )  # fmt: skip


def _alert_row(alert: Event) -> bytes:
    """What an open alert adds to the digest. Which side of a conflict came first does not show, so
    two sources that disagree give one row in either order. (Of three, the first one's word is held
    against each other's, so there order shows.)"""
    body = alert.body
    if not isinstance(body, ConflictBody):
        return alert_key(alert.space, alert.entity, body).to_bytes(8, "little")
    sides = sorted(((body.held, body.held_source), (body.offered, body.offered_source)))
    place = alert.space.to_bytes(1, "little") + alert.entity.to_bytes(8, "little")
    return msgspec.msgpack.encode((place, body.field, sides))


def alert_key(space: int, entity: int, body: AnyBody) -> int:
    """What makes two alerts the same one: a disagreement is raised once for each field, value
    and source."""
    parts = (space.to_bytes(1, "little"), entity.to_bytes(8, "little"))
    if isinstance(body, CollisionBody):
        return hash_key(b"collision", *parts, body.fingerprint)
    if not isinstance(body, ConflictBody):
        raise NotDecodable("folding an event", problem="it names an alert that is none")
    return hash_key(
        b"conflict", *parts, body.field.encode(), body.offered.encode(),
        body.offered_source.encode(),
    )  # fmt: skip


class RequestView(_EventView):
    """Request ids and the first event each led to, so that a retry finds what it did before."""

    schema = TableSchema("requests", 1, ())
    kinds: frozenset[int] = frozenset(int(kind) for kind in Kind)
    sees_all = True

    def concerns(self, block: Block, kinds: Set[int]) -> bool:
        return _REQUEST_FIELD in block.data  # few blocks have any; it may stand in a name, too

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        request_id = event.metadata.request_id if event.metadata_size else ""
        if not request_id:
            return
        key, digest = request_key(request_id)
        if table.find(key) < 0:
            table.put(
                key, pack_request(event.offset, digest), last_offset=event.offset,
                data_offset=event.offset, row_digest=_digest(digest),
            )  # fmt: skip


def request_key(request_id: str) -> tuple[int, bytes]:
    """The primary key, and the digest that the record holds against it."""
    digest = blake3(request_id.encode()).digest()
    return int.from_bytes(digest[:8], "little") or 1, digest


class FeedView(_EventView):
    """Feeds by id. Which files they sent, and what was in them, is for the log to say."""

    schema = TableSchema("feeds", 1, ())
    kinds = frozenset({int(Kind.FEED_IMPORTED)}) | _NOTES

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        position = table.find(event.entity) if event.space == Space.FEED else -1
        body = event.body
        if position >= 0 and table.last_offset(position) >= event.offset:
            return
        if isinstance(body, FeedBody):
            table.put(
                event.entity, pack_feed(event.entity, body), last_offset=event.offset,
                data_offset=event.offset, row_digest=_digest(body.fingerprint),
            )  # fmt: skip
        elif position >= 0:  # the chain goes on
            held = table.trailer(position)
            table.put(
                event.entity, table.payload(position), last_offset=event.offset,
                data_offset=held.data_offset, row_digest=held.row_digest,
            )  # fmt: skip


class ImportView(_EventView):
    """The content of files that were imported, so that none is imported again."""

    schema = TableSchema("imports", 1, ())
    kinds = frozenset({int(Kind.FEED_IMPORTED)})

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        body = event.body
        assert isinstance(body, FeedBody)
        for key in import_keys(body.content_hash):
            position = table.find(key)
            if position < 0:
                table.put(
                    key, pack_import(event.offset, body.content_hash), last_offset=event.offset,
                    data_offset=event.offset, row_digest=_digest(body.content_hash),
                )  # fmt: skip
                return
            if ImportRecord(table.arena, position).content_hash == body.content_hash:
                return


def import_keys(content_hash: bytes) -> list[int]:
    """The primary keys under one of which this content is found, first come first served: whoever
    makes two files whose hashes begin alike gains nothing."""
    return [int.from_bytes(content_hash[at : at + 8], "little") or 1 for at in range(0, 32, 8)]


def find_import(table: TableReader, content_hash: bytes) -> int | None:
    """Offset of the event that says this content was imported. Cost: 2 µs."""
    for key in import_keys(content_hash):
        position = table.find(key)
        if position < 0:
            return None
        record = ImportRecord(table.arena, position)
        if record.content_hash == content_hash:
            return record.offset
    return None


_REQUEST_FIELD: Final = b"request_id"
"""The name of the metadata's field, as MessagePack has it."""

VIEWS: Final[tuple[View, ...]] = (
    InstrumentView(), ListingView(), RelationView(), AlertView(), RequestView(), FeedView(),
    ImportView(),
)  # fmt: skip
VIEWS_BY_NAME: Final = {view.schema.name: view for view in VIEWS}
