"""What decisions about venues ask of the state before them, and the keys of what they are about.

Apart from `venues`, which takes 25 ms to load: whoever decides about instruments does without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from alphapulse.log import (
    ASPECTS,
    AspectBody,
    EndpointsBody,
    FeesBody,
    HoursBody,
    PerformanceBody,
    Status,
    TradingBody,
    VenueBody,
)

from .identity import aspect_key, performance_key, trading_key, venue_fingerprint

OPERATING: Final = 1
SEGMENT: Final = 2
"""Of the entity of a venue, in the place of a status: whether another one operates it."""
_NAMES: Final[dict[type, str]] = {
    EndpointsBody: "endpoints", FeesBody: "fees", HoursBody: "hours",
}  # fmt: skip


_OF_VENUES: Final = (VenueBody, *ASPECTS)


class VenueState(Protocol):
    """The part of the state before an event that is about venues."""

    def operates(self, venue: str) -> bool:
        """Whether some venue is a segment of this one."""

    def trading_words(self, entity: int) -> Iterable[TradingBody]:
        """What was said of a trading status, the newest first."""

    def summarised_until(self, entity: int) -> int:
        """ns: the end of the newest window of a performance; 0 before the first."""


def key_of_aspect(body: AspectBody) -> bytes:
    of = venue_fingerprint(body.venue)
    if isinstance(body, TradingBody):
        return trading_key(of, body.side, body.listing_fingerprint)
    if isinstance(body, PerformanceBody):
        return performance_key(of, body.window_to - body.window_from, body.listing_fingerprint)
    return aspect_key(of, _NAMES[type(body)])


def status_slot(body: object) -> int:
    """What an entity keeps as its status that has none of its own; of the space of venues, whether
    it is a segment, and how it trades."""
    if isinstance(body, TradingBody):
        return body.status
    if not isinstance(body, _OF_VENUES):
        return Status.ACTIVE
    if isinstance(body, VenueBody) and body.operating:
        return SEGMENT
    return OPERATING
