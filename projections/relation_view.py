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
from .records import group_key, pack_relation
from .rows import canonical_row
from .table import TableWriter

_decode_relation: Final = msgspec.msgpack.Decoder(RelationBody).decode


class RelationView(EntityView):
    """Relations by id, by the instrument they start from, by the one at the far end, and by group:
    who is a sibling of whom."""

    schema = TableSchema("relations", 3, ("instrument", "other", "group"))
    space = Space.RELATION
    first_kind = Kind.RELATION_ADDED
    links_per_event = (3, 1)
    data_kinds: frozenset[int] = RELATION_KINDS
    kinds: frozenset[int] = data_kinds | NOTES

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
            row = without_class(data) if body.revision == 1 else canonical_row(body)
            rows.append((entity, pack_relation(entity, body), offset, blake3(row).digest()))
            bodies.append(body)
        cells = table.insert_all(rows)
        for body, cell in zip(bodies, cells, strict=False):
            self.link(body, table, cell)
        return len(cells)
