"""An entity's past, from the log: each event names the previous one of its entity.

So a question about the past costs as many reads as the entity has events, at any size of the log,
and no view is ever built for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from alphapulse.log import (
    INSTRUMENT_KINDS,
    LISTING_KINDS,
    RELATION_KINDS,
    Event,
    EventLog,
    OffsetOutOfRange,
)

from .entity_view import NOTES
from .errors import ViewUnusable

DATA_KINDS = INSTRUMENT_KINDS | LISTING_KINDS | RELATION_KINDS
"""Kinds whose body is the entity's full state."""


def event_named(log: EventLog, offset: int, entity: int | None = None) -> Event:
    """The event that a record of a view names, of this entity if it is known. Cost: 5 µs.

    Nobody typed such an offset, so one that leads nowhere is damage: raises ViewUnusable, and
    Corrupt when it is the log that is damaged there.
    """
    try:
        event = log.event(offset)
    except OffsetOutOfRange as error:
        raise ViewUnusable(
            "reading an event that a view names", problem="the log has no such event",
            cure=ViewUnusable.cure, **error.facts,
        ) from error  # fmt: skip
    if entity is not None and event.entity != entity:
        raise _of_another(offset, entity)
    return event


def state_named(log: EventLog, data_offset: int, entity: int) -> Event:
    """As `event_named`, for the event that holds the full state of an entity."""
    event = event_named(log, data_offset, entity)
    if event.kind in NOTES:
        raise _of_another(data_offset, entity)
    return event


def _of_another(offset: int, entity: int) -> ViewUnusable:
    return ViewUnusable(
        "reading an event that a view names", problem="it is not the one that it should be",
        cure=ViewUnusable.cure, entity=f"0x{entity:016x}", offset=offset,
    )  # fmt: skip


def backwards(log: EventLog, last_offset: int, entity: int | None = None) -> Iterator[Event]:
    """The events of one entity, newest first. Cost: 5 µs each.

    last_offset, entity: as a view names them. Raises ViewUnusable, Corrupt.
    """
    event = event_named(log, last_offset, entity)
    yield event
    while event.previous is not None:
        event = log.event(event.previous)
        yield event


def state_before(
    log: EventLog, last_offset: int, stop: int, entity: int | None = None
) -> Event | None:
    """The event that holds the entity's state when the head was `stop`; None = not yet known."""
    for event in backwards(log, last_offset, entity):
        if event.offset < stop and event.kind in DATA_KINDS:
            return event
    return None
