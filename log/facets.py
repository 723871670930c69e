"""Facets: the properties of an event that patterns select on.

`facets(event)` gives the values of one facet; most have one, `instrument` has one for each side.
The most used facets also stand in a block's columns as fixed-width numbers (`Columns`), so that a
selective scan never touches the frames that cannot match. Text is stored there as its CRC32
(0 = none): equal text has an equal number, so a column can rule a frame out and the frame decides.

`symbol` is an instrument's symbol, or the local one of a listing. Native ids of venues are none:
they stand in the extension, which is never decoded for a live event that nobody wants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from zlib import crc32

from .bodies import (
    VENUE_BODIES,
    AnyBody,
    CandidateBody,
    CollisionBody,
    FeedBody,
    InstrumentBody,
    ListingBody,
    ProposalBody,
    RelationBody,
    RulesBody,
    SampleBody,
    SnapshotBody,
    TradingBody,
    VenueBody,
)
from .frame import Event
from .kinds import (
    CLASS_NAMES,
    KIND_NAMES,
    SEVERITY_NAMES,
    STATUS_NAMES,
    TRADING_NAMES,
    Space,
)
from .message import FLAG_SYMBOL_LONG, InstrumentRecord

FACETS: Final = (
    "kind", "class", "chain", "venue", "instrument", "isin", "symbol", "currency", "status",
    "severity", "source", "bps", "move_bps",
)  # fmt: skip
SEVERAL: Final = (1 << 64) - 1
"""In the instrument column: more than one instrument, look at the frame."""


_LINKS: Final = (RelationBody, CandidateBody)
"""Bodies that may be about two instruments. A union would be built anew at each `isinstance`."""
_OF_NO_INSTRUMENT: Final = (
    FeedBody, SnapshotBody, RulesBody, ProposalBody, *VENUE_BODIES, SampleBody
)  # fmt: skip
"""Unless they name one."""
_AT_A_VENUE: Final = (ListingBody, *VENUE_BODIES)
_IN_A_CURRENCY: Final = (ListingBody, VenueBody)
_as_columns: Final = tuple.__new__
"""Of a NamedTuple: half of what calling it costs."""


class Columns(NamedTuple):
    """What a block's columns say of one event."""

    entity: int
    instrument: int
    chain: int
    venue: int
    kind: int
    asset_class: int
    severity: int


def text_number(text: str) -> int:
    """A u32 for the columns: 0 for empty text, else its CRC32 (1 where that is 0)."""
    return (crc32(text.encode()) or 1) if text else 0


class _TextNumbers(dict[str, int]):
    """`text_number`, remembered: a log names few chains and venues, and names them again."""

    def __missing__(self, text: str) -> int:
        if len(self) >= _TEXTS_MAX:
            self.clear()
        number = self[text] = text_number(text)
        return number


_TEXTS_MAX: Final = 4096
text_numbers: Final = _TextNumbers()


def columns_of(kind: int, severity: int, entity: int, body: AnyBody) -> Columns:
    """The one derivation of the columns, used to write them and to check them."""
    instrument, chain, venue = entity, "", ""
    if isinstance(body, InstrumentBody):
        message, extension = body.message, body.extension
        asset_class = message[2]
        chain = extension.chain
        venue = message[88:92].decode("ascii") if message[88] else extension.venue
    else:
        asset_class = body.asset_class
        if isinstance(body, ListingBody):
            instrument, venue = body.instrument, body.venue
        elif isinstance(body, _LINKS):
            both = body.instrument and body.other
            instrument = SEVERAL if both else body.instrument or body.other
        elif body.instrument:
            instrument = body.instrument
        elif isinstance(body, CollisionBody):
            instrument = SEVERAL
        elif isinstance(body, _OF_NO_INSTRUMENT):
            instrument = 0
        if isinstance(body, VENUE_BODIES):
            venue = body.venue
        elif isinstance(body, ProposalBody):
            chain, venue = _fact(body, "chain"), _fact(body, "venue")
        elif isinstance(body, SampleBody):
            venue = body.extension.venue
    return _as_columns(Columns, (
        entity, instrument, text_numbers[chain], text_numbers[venue], kind, asset_class, severity,
    ))  # fmt: skip


def symbol_of(body: InstrumentBody) -> str:
    """The whole symbol, from the extension when the message holds only its start."""
    if body.message[4] & FLAG_SYMBOL_LONG:
        return body.extension.symbol
    return InstrumentRecord(body.message).symbol


def facet_values(event: Event, facet: str) -> tuple[str | int, ...]:
    """The event's values of one facet, empty when it has none.

    Text but for `instrument` (ids), `bps` and `move_bps` (integers). Raises KeyError for an
    unknown facet. Cost: decodes the body at the first facet that needs it.
    """
    return _READERS[facet](event)


def _fact(body: ProposalBody, field: str) -> str:
    """What a proposal to register knows of its instrument."""
    return str(body.facts.get(field, ""))


def _fact_of(event: Event, field: str) -> tuple[str, ...]:
    fact = _fact(event.body, field) if isinstance(event.body, ProposalBody) else ""
    return (fact,) if fact else ()


def _kind(event: Event) -> tuple[str, ...]:
    return (KIND_NAMES[event.kind],)


def _class(event: Event) -> tuple[str, ...]:
    body = event.body
    number = body.message[2] if isinstance(body, InstrumentBody) else body.asset_class
    return (CLASS_NAMES[number],) if number else ()


def _chain(event: Event) -> tuple[str, ...]:
    body = event.body
    if isinstance(body, InstrumentBody) and body.extension.chain:
        return (body.extension.chain,)
    return _fact_of(event, "chain")


def _venue(event: Event) -> tuple[str, ...]:
    body = event.body
    if isinstance(body, _AT_A_VENUE):
        return (body.venue,)
    if isinstance(body, SampleBody):
        return (body.extension.venue,)
    if isinstance(body, InstrumentBody):
        venue = InstrumentRecord(body.message).venue or body.extension.venue
        return (venue,) if venue else ()
    return _fact_of(event, "venue")


def _instrument(event: Event) -> tuple[int, ...]:
    body = event.body
    if isinstance(body, ListingBody):
        return (body.instrument,)
    if isinstance(body, _LINKS):
        return tuple(id for id in (body.instrument, body.other) if id)
    if isinstance(body, InstrumentBody):
        return (event.entity,)
    if body.instrument:
        return (body.instrument,)
    if event.space != Space.INSTRUMENT:  # also an alert or an answer about one of those
        return ()
    return (body.assigned, body.holder) if isinstance(body, CollisionBody) else (event.entity,)


def _isin(event: Event) -> tuple[str, ...]:
    body = event.body
    if not isinstance(body, InstrumentBody):
        return _fact_of(event, "isin")
    isin = InstrumentRecord(body.message).isin
    return (isin,) if isin else ()


def _symbol(event: Event) -> tuple[str, ...]:
    body = event.body
    if isinstance(body, InstrumentBody):
        symbol = symbol_of(body)
    elif isinstance(body, ListingBody):
        symbol = body.symbol
    else:
        return _fact_of(event, "symbol")
    return (symbol,) if symbol else ()


def _currency(event: Event) -> tuple[str, ...]:
    body = event.body
    if isinstance(body, InstrumentBody):
        currency = InstrumentRecord(body.message).currency or _long_currency(body)
    elif isinstance(body, _IN_A_CURRENCY):
        currency = body.currency
    else:
        return _fact_of(event, "currency") or _fact_of(event, "quote")
    return (currency,) if currency else ()


def _long_currency(body: InstrumentBody) -> str:
    """A code that does not fit the message: `FDUSD`."""
    terms = body.extension.terms
    return str(terms.get("quote") or terms.get("currency", ""))


def _status(event: Event) -> tuple[str, ...]:
    body = event.body
    if isinstance(body, InstrumentBody):
        return (STATUS_NAMES[body.message[3]],)
    if isinstance(body, TradingBody):
        return (TRADING_NAMES[body.status],) if body.status in TRADING_NAMES else ()
    return (STATUS_NAMES[body.status],) if isinstance(body, ListingBody) else ()


def _severity(event: Event) -> tuple[str, ...]:
    return (SEVERITY_NAMES[event.severity],)


def _source(event: Event) -> tuple[str, ...]:
    return (event.source,) if event.source else ()


def _none(event: Event) -> tuple[int, ...]:
    """Market facets: no kind written to this log has them."""
    return ()


_READERS: Final[dict[str, Callable[[Event], tuple[str | int, ...]]]] = {
    "kind": _kind, "class": _class, "chain": _chain, "venue": _venue, "instrument": _instrument,
    "isin": _isin, "symbol": _symbol, "currency": _currency, "status": _status,
    "severity": _severity, "source": _source, "bps": _none, "move_bps": _none,
}  # fmt: skip
if tuple(_READERS) != FACETS:
    raise ImportError("every facet needs a reader")
