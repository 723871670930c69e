"""What the views of instruments, listings and relations share: their state in each data event, and
in a record's aux word the fields that sources disagree on.

Whoever once carried a symbol or an ISIN stays linked under it for ever; whether it did at a given
moment is answered from the entity's history.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from alphapulse.log import (
    ASPECTS,
    FRAME_HEADER_SIZE_BYTES,
    VERSIONS,
    AcknowledgedBody,
    AnyBody,
    Block,
    CandidateBody,
    Codec,
    ConflictBody,
    Event,
    InstrumentBody,
    Kind,
    ListingBody,
    RelationBody,
    Space,
    VenueBody,
)
from alphapulse.log.times import NS

from .layout import Trailer
from .rows import canonical_row
from .table import TableWriter
from .view import EventView, Fetch, row_digest_of

First: TypeAlias = tuple[int, int, bytes]
"""The first event of an entity: its id, the offset, the body's bytes."""

CONFLICT_FIELDS: Final = (
    "symbol", "name", "decimals", "isin", "currency", "class", "tick", "lot", "cusip", "sedol",
    "figi", "composite_figi", "lei", "cfi", "primary", "valid_from", "valid_to", "multiplier",
    "parent", "status", "base", "quote", "settlement", "ticks", "min_size", "max_size",
    "min_notional", "underlying", "payoff", "expiry", "last_trade", "native_id", "tokens",
    "fee_bps", "ratio", "formula", "symbol_from", "coupon", "coupon_frequency", "maturity",
    "denomination", "min_denomination", "day_count", "issue_date", "operating", "kind", "country",
    "links",
)  # fmt: skip
"""Fields that sources may disagree on; the place is the bit in a record's aux word. Append only."""
_BITS: Final = {field: 1 << bit for bit, field in enumerate(CONFLICT_FIELDS)}
_OTHER_BIT: Final = 1 << 63

ALERT_KINDS: Final[frozenset[int]] = frozenset(
    {Kind.COLLISION_DETECTED, Kind.CONFLICT_DETECTED, Kind.ALERT_ACKNOWLEDGED}
)
NOTES: Final[frozenset[int]] = ALERT_KINDS | {
    Kind.REQUEST_ANSWERED, Kind.WORD_ENDORSED, Kind.VENUE_WARNING,
}  # fmt: skip
"""Kinds that stand in the chain of any entity and leave its state as it is."""
_WITH_ROWS: Final = (
    InstrumentBody, ListingBody, RelationBody, CandidateBody, VenueBody, *ASPECTS,
)  # fmt: skip
_unpack_brief: Final = struct.Struct("<10xHBxH8xQqQ8x").unpack_from
"""Of a frame's header: version and codec, flags, size of the metadata, recorded time, valid-from,
entity."""
_NEW: Final = Trailer(0, 0, 0, 0)
_UNTIL_S_MAX: Final = (1 << 32) - 1
_CLASS_FIELD: Final = b"\xabasset_class"
"""In MessagePack; before it in a body stand only other names, ids and fingerprints."""


def conflict_bit(field: str) -> int:
    return _BITS.get(field, _OTHER_BIT)


def fields_in_conflict(aux: int) -> frozenset[str]:
    """The fields whose bits are set in a record's aux word."""
    if not aux:
        return frozenset()
    return frozenset(field for field, bit in _BITS.items() if aux & bit)


class EntityView(EventView):
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

        It is right when the table does not know the entity yet, the frame is of the newest version
        and not packed, so that its bytes are the canonical row or contain it, and it names no
        later day than its own.
        """
        data, offset, first_kind, kinds = block.data, block.first, self.first_kind, self.kinds
        plain = VERSIONS[first_kind] | Codec.NONE << 8
        new: list[First] = []
        at = block.frame_bounds(0)[0]
        for kind, end in zip(block.kinds.tolist(), block.ends.tolist(), strict=True):
            if kind in kinds and offset >= start:
                packing, flags, metadata_size, recorded, since, entity = _unpack_brief(data, at)
                if kind == first_kind and packing == plain and since <= recorded:
                    body_end = end - metadata_size - (flags >> 2 & 7)
                    body = data[at + FRAME_HEADER_SIZE_BYTES : body_end]
                    new.append((entity, offset, body))
                else:
                    self._fold_new(new, block, table, fetch)
                    new.clear()
                    self.fold_named(block.event(offset - block.first, verify=False), table, fetch)
            at = end
            offset += 1
        self._fold_new(new, block, table, fetch)

    def _fold_new(
        self, new: Sequence[First], block: Block, table: TableWriter, fetch: Fetch
    ) -> None:
        """All in their order, which postings keep: the long way from the first known one on."""
        done = self.put_new(table, new) if new else 0
        for _, offset, _ in new[done:]:
            self.fold_named(block.event(offset - block.first, verify=False), table, fetch)

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        if event.space != self.space:
            return
        entity = event.entity
        position = table.find(entity)
        fresh = position < 0 or table.last_offset(position) < event.offset
        if event.kind in self.data_kinds:
            body = event.body
            if fresh:
                held = table.trailer(position) if position >= 0 else _NEW
                aux = held.aux
                row = _row_of(body, aux)
                cell = table.put(
                    entity, self.payload(event, body), last_offset=event.offset,
                    data_offset=event.offset, row_digest=row_digest_of(row), aux=aux,
                    pending_until_s=_pending(event, held.pending_until_s) if self.dated else 0,
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
            if held.data_offset >= event.offset:  # the log would be blamed for what a view says
                raise table.damaged("a record", key=f"{event.entity:#018x}", position=position)
            state = fetch(held.data_offset).body
            row_digest = row_digest_of(_row_of(state, aux))
        table.put(
            event.entity, table.payload(position), last_offset=event.offset,
            data_offset=held.data_offset, row_digest=row_digest, aux=aux,
            pending_until_s=held.pending_until_s,
        )  # fmt: skip


def _pending(event: Event, until_s: int) -> int:
    """By when all words of an entity are true, after an event that says something of it. until_s:
    the same before it. 0 when they all are once it is recorded."""
    until_s = max(until_s, min(-(-event.valid_from // NS), _UNTIL_S_MAX))
    return until_s if until_s * NS > event.recorded else 0


def _row_of(body: AnyBody, aux: int) -> bytes:
    """The canonical row of an entity's state, without the fields that `aux` says are disputed."""
    assert isinstance(body, _WITH_ROWS)
    return canonical_row(body, fields_in_conflict(aux))


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


def without_class(data: bytes) -> bytes:
    """`canonical_row` of a listing's or relation's first body from its bytes: its class set to 0,
    which like any class takes one byte."""
    at = data.index(_CLASS_FIELD) + len(_CLASS_FIELD)
    return b"".join((data[:at], b"\0", data[at + 1 :]))
