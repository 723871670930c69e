"""The view of venues: each venue, and the newest word on each aspect of it.

What was true at some time, by what was known, is a fold of an aspect's chain in the log; the view
says which chains there are and where they end.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from alphapulse.log import ASPECTS as ASPECT_BODIES
from alphapulse.log import VENUE_KINDS, AnyBody, Event, Kind, Space, TradingBody, VenueBody

from .entity_view import NOTES, EntityView, First
from .keys import text_key
from .layout import TableSchema
from .records import pack_venue
from .table import TableWriter


class Aspect(IntEnum):
    """The respects in which a venue is known; `VENUE` is who it is."""

    VENUE = 0
    ENDPOINTS = 1
    FEES = 2
    HOURS = 3
    STATUS = 4
    PERFORMANCE = 5


_BODIES: Final = (VenueBody, *ASPECT_BODIES)
_ASPECTS: Final = {
    int(Kind.VENUE_REGISTERED): Aspect.VENUE, int(Kind.VENUE_AMENDED): Aspect.VENUE,
    int(Kind.VENUE_ENDPOINTS): Aspect.ENDPOINTS, int(Kind.VENUE_FEES): Aspect.FEES,
    int(Kind.VENUE_HOURS): Aspect.HOURS, int(Kind.VENUE_STATUS): Aspect.STATUS,
    int(Kind.VENUE_PERFORMANCE): Aspect.PERFORMANCE,
}  # fmt: skip
if _ASPECTS.keys() != VENUE_KINDS:
    raise ImportError("every kind of venue needs its aspect")


class VenueView(EntityView):
    """Venues and their aspects by id, by venue and by the instrument that a status is about; all
    venues; the segments of a venue by who operates them."""

    schema = TableSchema("venues", 1, ("venue", "all", "operating", "instrument"))
    space = Space.VENUE
    first_kind = Kind.VENUE_REGISTERED
    links_per_event = (3, 1)
    data_kinds: frozenset[int] = VENUE_KINDS
    kinds: frozenset[int] = data_kinds | NOTES

    def payload(self, event: Event, body: AnyBody) -> bytes:
        assert isinstance(body, _BODIES)
        return pack_venue(event.entity, _ASPECTS[event.kind], body)

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        if isinstance(body, VenueBody):
            table.link(1, ALL, cell)
            if body.operating:
                table.link(2, text_key(body.operating), cell)
        elif isinstance(body, TradingBody) and body.instrument:
            table.link(3, body.instrument, cell)
        assert isinstance(body, _BODIES)
        table.link(0, text_key(body.venue), cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        """They are few: all go the long way."""
        return 0


ALL: Final = 1
"""The one key of the index of all venues."""
