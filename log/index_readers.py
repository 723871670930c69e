"""How an index reads an event's facets: one reader for each facet and family of kinds.

They say the same as `facet_values`, but a facet with at most one value is given bare, None for
none, and names are left as the numbers that stand in the event. Of an instrument, what stands in
its header and its 128-byte message is read there, so that an event which nobody wants is not
decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from .bodies import InstrumentBody, ListingBody
from .facets import FACETS, facet_values
from .frame import Event
from .message import FLAG_SYMBOL_LONG, MESSAGE_SIZE_BYTES
from .pattern_filing import AT, FAMILIES, INSTRUMENTS, LISTINGS, OTHERS, Family

Reader = Callable[[Event, list[Any]], Any]
"""Gives the value, and may put those of other facets in their places of the list on the way."""
_MESSAGE_FACETS: Final = Struct("<2xBBH76xBx4x4x4s12s16s4x")
"""Class, status, flags, symbol size, currency, ISIN, symbol: see the layout in `message.py`."""
if _MESSAGE_FACETS.size != MESSAGE_SIZE_BYTES:
    raise ImportError("the facets are not read where `message.py` says")
_MESSAGE: Final = _MESSAGE_FACETS.unpack
_CLASS, _STATUS, _CURRENCY, _ISIN, _SYMBOL, _VENUE, _INSTRUMENT = (
    AT["class"], AT["status"], AT["currency"], AT["isin"], AT["symbol"], AT["venue"],
    AT["instrument"],
)  # fmt: skip


def _none(event: Event, held: list[Any]) -> None:
    return None


def _kind(event: Event, held: list[Any]) -> Any:
    return event.kind


def _severity(event: Event, held: list[Any]) -> Any:
    return event.severity


def _source(event: Event, held: list[Any]) -> str | None:
    return event.metadata.source or None if event.metadata_size else None


def _several(facet: str) -> Reader:
    def read(event: Event, held: list[Any]) -> tuple[str | int, ...] | None:
        return facet_values(event, facet) or None

    return read


def _entity(event: Event, held: list[Any]) -> Any:
    return event.entity


def _chain(event: Event, held: list[Any]) -> str | None:
    return event.instrument_body.extension.chain or None


def _venue(event: Event, held: list[Any]) -> str | None:
    mic = event.message[88:92]
    return mic.decode("ascii") if mic[0] else event.instrument_body.extension.venue or None


def _of_message(at: int) -> Reader:
    """Takes all that stands in the message: whoever asks for one facet mostly asks for more."""

    def read(event: Event, held: list[Any]) -> Any:
        held[_CLASS], held[_STATUS], flags, symbol_size, currency, isin, symbol = _MESSAGE(
            event.message
        )
        held[_CURRENCY] = currency.rstrip(b"\0").decode("ascii") if currency[0] else None
        held[_ISIN] = isin.rstrip(b"\0").decode("ascii") if isin[0] else None
        held[_SYMBOL] = (
            event.instrument_body.extension.symbol if flags & FLAG_SYMBOL_LONG
            else symbol[:symbol_size].decode()
        )  # fmt: skip
        return held[at]

    return read


def _of_body(at: int) -> Reader:
    """The same of a body without a message."""

    def read(event: Event, held: list[Any]) -> Any:
        body = event.body
        assert isinstance(body, ListingBody)
        held[_INSTRUMENT], held[_CLASS] = body.instrument, body.asset_class
        held[_STATUS], held[_VENUE] = body.status, body.venue
        held[_SYMBOL], held[_CURRENCY] = body.symbol, body.currency
        return held[at]

    return read


def _class(event: Event, held: list[Any]) -> int:
    body = event.body
    assert not isinstance(body, InstrumentBody)
    return body.asset_class


_SHARED: Final[dict[str, Reader]] = {
    "kind": _kind, "severity": _severity, "source": _source,
    "bps": _several("bps"), "move_bps": _several("move_bps"),
}  # fmt: skip
_READERS: Final[dict[Family, dict[str, Reader]]] = {
    INSTRUMENTS: {
        "instrument": _entity, "chain": _chain, "venue": _venue,
        **{name: _of_message(AT[name]) for name in ("class", "status", "isin", "symbol",
                                                    "currency")},
    },
    LISTINGS: {
        name: _of_body(AT[name])
        for name in ("instrument", "class", "status", "venue", "symbol", "currency")
    },
    OTHERS: {"instrument": _several("instrument"), "class": _class},
}  # fmt: skip


def _row(family: Family) -> tuple[Reader, ...]:
    """In the order of FACETS; what the family does not have, no path of it asks for."""
    readers = _SHARED | _READERS[family]
    if readers.keys() != family.facets:
        raise ImportError(f"these facets need a reader, or none: {readers.keys() ^ family.facets}")
    return tuple(readers.get(facet, _none) for facet in FACETS)


ROWS: Final[dict[Family, tuple[Reader, ...]]] = {family: _row(family) for family in FAMILIES}
"""For each family its readers, in the order of FACETS."""
