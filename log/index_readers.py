"""How an index reads an event's facets: one reader for each facet and family of kinds.

They say the same as `facet_values`, but a facet with at most one value is given bare, None for
none, and names are left as the numbers that stand in the event. Of an instrument, what stands in
its header and its 128-byte message is read there, so that an event which nobody wants is not
decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from .bodies import Extension, InstrumentBody, ListingBody, TradingBody
from .facets import facet_values
from .frame import Event
from .kinds import STATUS_WORDS, TRADING_NAMES
from .message import FLAG_SYMBOL_LONG, MESSAGE_SIZE_BYTES
from .pattern_filing import AT, FAMILIES, INSTRUMENTS, LISTINGS, OTHERS, PROPOSALS, VENUES, Family

Reader = Callable[[Event, list[Any]], None]
"""Puts the value in its place of the list, and with it those of facets that cost no more then."""
_MESSAGE_FACETS: Final = Struct("<2xBBH76xBx4x8s12s16s4x")
"""Class, status, flags, symbol size, MIC and currency, ISIN, symbol: see `message.py`."""
if _MESSAGE_FACETS.size != MESSAGE_SIZE_BYTES:
    raise ImportError("the facets are not read where `message.py` says")
_SEVERITY, _SOURCE, _CLASS, _STATUS, _CURRENCY, _ISIN, _SYMBOL, _CHAIN, _VENUE, _INSTRUMENT = (
    AT["severity"], AT["source"], AT["class"], AT["status"], AT["currency"], AT["isin"],
    AT["symbol"], AT["chain"], AT["venue"], AT["instrument"],
)  # fmt: skip


def _severity(event: Event, held: list[Any]) -> None:
    held[_SEVERITY] = event.severity


def _source(event: Event, held: list[Any]) -> None:
    held[_SOURCE] = event.metadata.source or None if event.metadata_size else None


def _several(facet: str) -> Reader:
    at = AT[facet]

    def read(event: Event, held: list[Any]) -> None:
        held[at] = facet_values(event, facet) or None

    return read


def _one(facet: str) -> Reader:
    """Of which there is at most one value."""
    at = AT[facet]

    def read(event: Event, held: list[Any]) -> None:
        held[at] = next(iter(facet_values(event, facet)), None)

    return read


def _entity(event: Event, held: list[Any]) -> None:
    held[_INSTRUMENT] = event.entity


def _extension(event: Event) -> Extension:
    body = event.body
    assert isinstance(body, InstrumentBody)
    return body.extension


def _chain(event: Event, held: list[Any]) -> None:
    held[_CHAIN] = _extension(event).chain or None


def _venue(event: Event, held: list[Any]) -> None:
    """A MIC stands in the message, a slug does not."""
    if held[_CLASS] is None:
        _of_message(event, held)
    if held[_VENUE] is None:
        held[_VENUE] = _extension(event).venue or None


def _of_message(event: Event, held: list[Any]) -> None:
    """All that stands in the message: whoever asks for one facet mostly asks for more."""
    held[_CLASS], held[_STATUS], flags, symbol_size, codes, isin, symbol = event.unpack_message(
        _MESSAGE_FACETS
    )
    mic, held[_CURRENCY] = _mic_and_currency(codes)
    if mic:
        held[_VENUE] = mic
    held[_ISIN] = isin.rstrip(b"\0").decode("ascii") if isin[0] else None
    held[_SYMBOL] = (
        _extension(event).symbol if flags & FLAG_SYMBOL_LONG else symbol[:symbol_size].decode()
    )


@lru_cache(maxsize=1 << 12)
def _mic_and_currency(codes: bytes) -> tuple[str | None, str | None]:
    """From the four bytes of each; there are few pairs, and remembering one is quicker."""
    currency = codes[4:].rstrip(b"\0").decode("ascii")
    return codes[:4].decode("ascii") if codes[0] else None, currency or None


def _of_listing(event: Event, held: list[Any]) -> None:
    """The same of a body without a message."""
    body = event.body
    assert isinstance(body, ListingBody)
    held[_INSTRUMENT], held[_CLASS] = body.instrument, body.asset_class
    held[_STATUS], held[_VENUE] = body.status, body.venue
    held[_SYMBOL], held[_CURRENCY] = body.symbol, body.currency


def _trading(event: Event, held: list[Any]) -> None:
    """Numbered as words of the facet: the body's own numbers mean others for instruments."""
    body = event.body
    held[_STATUS] = _TRADING.get(body.status) if isinstance(body, TradingBody) else None


_TRADING: Final = {number: STATUS_WORDS[name] for number, name in TRADING_NAMES.items()}


def _class(event: Event, held: list[Any]) -> None:
    body = event.body
    assert not isinstance(body, InstrumentBody)
    held[_CLASS] = body.asset_class


_SHARED: Final[dict[str, Reader]] = {
    "severity": _severity, "source": _source, "bps": _several("bps"),
    "move_bps": _several("move_bps"),
}  # fmt: skip
_BY_FAMILY: Final[dict[Family, dict[str, Reader]]] = {
    INSTRUMENTS: {
        **dict.fromkeys(("class", "status", "isin", "symbol", "currency"), _of_message),
        "instrument": _entity, "chain": _chain, "venue": _venue,
    },
    LISTINGS: dict.fromkeys(
        ("instrument", "class", "status", "venue", "symbol", "currency"), _of_listing
    ),
    PROPOSALS: {"class": _class} | {facet: _one(facet) for facet in (
        "instrument", "chain", "venue", "isin", "symbol", "currency"
    )},
    VENUES: {"class": _class, "status": _trading} | {facet: _one(facet) for facet in (
        "instrument", "venue", "currency"
    )},
    OTHERS: {"instrument": _several("instrument"), "class": _class},
}  # fmt: skip


def _readers(family: Family) -> dict[int, Reader]:
    readers = _BY_FAMILY[family] | _SHARED
    if readers.keys() != family.facets - {"kind"}:
        raise ImportError(f"these facets need a reader, or none: {readers.keys() ^ family.facets}")
    return {AT[facet]: read for facet, read in readers.items()}


READERS: Final[dict[Family, dict[int, Reader]]] = {family: _readers(family) for family in FAMILIES}
"""For each family its readers by facet, in the order to call them; the walk knows the kind."""
