"""The view of collisions and conflicts."""

from __future__ import annotations

import msgspec

from alphapulse.log import (
    AcknowledgedBody,
    AnyBody,
    CollisionBody,
    ConflictBody,
    Event,
    Kind,
    NotDecodable,
    Space,
)

from .entity_view import ALERT_KINDS
from .keys import hash_key
from .layout import TableSchema
from .records import NOT_ACKNOWLEDGED, pack_alert
from .table import TableWriter
from .view import EventView, Fetch, row_digest_of


class AlertView(EventView):
    """Collisions and conflicts. Open ones are the rows that count; acknowledged ones stay.

    Each stands in the chain of the thing that was written. A collision of instruments is found by
    the one that held the id, too: it is about both.
    """

    schema = TableSchema("alerts", 3, ("holder",))
    kinds = ALERT_KINDS
    links_per_event = (1, 1)

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        acknowledged, alert = NOT_ACKNOWLEDGED, event
        if event.kind == Kind.ALERT_ACKNOWLEDGED:
            assert isinstance(event.body, AcknowledgedBody)
            acknowledged, alert = event.offset, fetch(event.body.alert)
        key = alert_key(alert.space, alert.entity, alert.body)
        position = table.find(key)
        if position < 0 or table.last_offset(position) < event.offset:
            is_open = acknowledged == NOT_ACKNOWLEDGED
            row_digest = row_digest_of(_alert_row(alert)) if is_open else 0
            cell = table.put(
                key, pack_alert(alert.offset, acknowledged, alert.entity, alert.space, alert.kind),
                last_offset=event.offset, data_offset=alert.offset, row_digest=row_digest,
            )  # fmt: skip
        else:
            cell = table.cell(key)
        if isinstance(event.body, CollisionBody) and event.space == Space.INSTRUMENT:
            table.link(0, event.body.holder, cell)


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
