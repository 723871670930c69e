"""The view of relations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from blake3 import blake3

from alphapulse.log import (
    RELATION_KINDS,
    AnyBody,
    Event,
    Kind,
    RelationBody,
    Space,
)

from .entity_view import NOTES, EntityView, First, without_class
from .layout import TableSchema
from .records import ALL_MISSING, fingerprint_key, group_key, pack_relation
from .rows import canonical_row
from .table import TableWriter

_decode_relation: Final = msgspec.msgpack.Decoder(RelationBody).decode


class RelationView(EntityView):
    """Relations by id, by the instrument they start from, by the one at the far end, by group (who
    is a sibling of whom), and by the end that they wait for or once did."""

    schema = TableSchema("relations", 4, ("instrument", "other", "group", "missing"))
    space = Space.RELATION
    first_kind = Kind.RELATION_ADDED
    links_per_event = (3, 2)
    data_kinds: frozenset[int] = RELATION_KINDS
    kinds: frozenset[int] = data_kinds | NOTES

    def payload(self, event: Event, body: AnyBody) -> bytes:
        assert isinstance(body, RelationBody)
        return pack_relation(event.entity, body)

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        assert isinstance(body, RelationBody)
        if body.instrument:
            table.link(0, body.instrument, cell)
        if body.other:
            table.link(1, body.other, cell)
        if body.group:
            table.link(2, group_key(body.group_source, body.group), cell)
        if body.missing_key:
            table.link(3, fingerprint_key(body.missing), cell)
            table.link(3, ALL_MISSING, cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        rows, bodies = [], []
        for entity, offset, data in new:
            body = _decode_relation(data)
            row = without_class(data) if body.revision == 1 else canonical_row(body)
            rows.append((entity, pack_relation(entity, body), offset, blake3(row).digest()))
            bodies.append(body)
        cells = table.insert_all(rows)
        for body, cell in zip(bodies, cells, strict=False):
            self.link(body, table, cell)
        return len(cells)
