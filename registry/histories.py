"""What views lead to in the log: all about an instrument and what is linked to it; alerts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alphapulse.log import Event, EventLog
from alphapulse.projections import AlertRecord, Views, backwards, event_named

_LINKED: Final = (
    ("listings", "instrument"), ("relations", "instrument"), ("relations", "other"),
    ("candidates", "instrument"), ("proposals", "instrument"), ("venues", "instrument"),
)  # fmt: skip
"""Views and their indexes, by which what has a chain of its own is found."""


def history_of(log: EventLog, views: Views, id: int) -> list[Event]:
    """See `Registry.history`."""
    events = {event.offset: event for event in _collisions_with(log, views, id)}
    linked = [("instruments", [id])]
    for name, index in _LINKED:
        table = views.table(name)
        linked.append((name, [table.key_of(cell) for cell in table.postings(index, id)]))
    for name, keys in linked:
        table = views.table(name)
        for key in keys:
            position = table.find(key)
            if position >= 0:
                for event in backwards(log, table.last_offset(position), key):
                    events[event.offset] = event
    return [events[offset] for offset in sorted(events)]


def _collisions_with(log: EventLog, views: Views, holder: int) -> Iterator[Event]:
    """Where another instrument wanted the id that this one holds."""
    table = views.table("alerts")
    for cell in table.postings("holder", holder):
        record = AlertRecord(table.arena, table.position_of(cell))
        yield event_named(log, record.offset, record.entity)


def alerts_of(log: EventLog, views: Views, acknowledged: bool) -> list[tuple[Event, int | None]]:
    """See `Registry.alerts`."""
    table = views.table("alerts")
    found = []
    for _, position in table.keys():  # noqa: SIM118  # not a dict: it gives pairs
        record = AlertRecord(table.arena, position)
        if acknowledged or record.acknowledged is None:
            found.append((record.offset, record.acknowledged))
    return [(event_named(log, offset), closed) for offset, closed in sorted(found)]
