"""How an index reads an event's facets: one reader for each facet and family of kinds.

They say the same as `facet_values`, but a facet with at most one value is given bare, None for
none, and names are left as the numbers that stand in the event. Of an instrument, what stands in
its header and its 128-byte message is read there, so that an event which nobody wants is not
decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from .facets import FACETS, facet_values
from .frame import Event
from .message import FLAG_SYMBOL_LONG
from .pattern_filing import FAMILIES, INSTRUMENTS, LISTINGS, OTHERS, Family

Reader = Callable[[Event], Any]


def _none(event: Event) -> None:
    return None


def _several(facet: str) -> Reader:
    def read(event: Event) -> tuple[str | int, ...] | None:
        return facet_values(event, facet) or None

    return read


def _source(event: Event) -> str | None:
    return event.metadata.source or None if event.metadata_size else None


def _message_class(event: Event) -> int:
    return event.message[2]


def _message_status(event: Event) -> int:
    return event.message[3]


def _message_isin(event: Event) -> str | None:
    text = event.message[96:108]
    return str(text.rstrip(b"\0"), "ascii") if text[0] else None


def _message_currency(event: Event) -> str | None:
    text = event.message[92:96]
    return str(text.rstrip(b"\0"), "ascii") if text[0] else None


def _message_venue(event: Event) -> str | None:
    mic = event.message[88:92]
    return str(mic, "ascii") if mic[0] else event.instrument_body.extension.venue or None


def _message_symbol(event: Event) -> str | None:
    message = event.message
    if message[4] & FLAG_SYMBOL_LONG:
        return event.instrument_body.extension.symbol or None
    return str(message[108 : 108 + message[82]], "utf-8") or None


def _chain(event: Event) -> str | None:
    return event.instrument_body.extension.chain or None


_SHARED: Final[dict[str, Reader]] = {
    "kind": attrgetter("kind"), "severity": attrgetter("severity"), "source": _source,
    "bps": _several("bps"), "move_bps": _several("move_bps"),
}  # fmt: skip
_READERS: Final[dict[Family, dict[str, Reader]]] = {
    INSTRUMENTS: {
        "instrument": attrgetter("entity"), "class": _message_class, "status": _message_status,
        "isin": _message_isin, "symbol": _message_symbol, "currency": _message_currency,
        "venue": _message_venue, "chain": _chain,
    },
    LISTINGS: {
        "instrument": attrgetter("body.instrument"), "class": attrgetter("body.asset_class"),
        "status": attrgetter("body.status"), "venue": attrgetter("body.venue"),
        "symbol": attrgetter("body.symbol"), "currency": attrgetter("body.currency"),
    },
    OTHERS: {"instrument": _several("instrument"), "class": attrgetter("body.asset_class")},
}  # fmt: skip


def _row(family: Family) -> tuple[Reader, ...]:
    """In the order of FACETS; what the family does not have, no path of it asks for."""
    readers = _SHARED | _READERS[family]
    if readers.keys() != family.facets:
        raise ImportError(f"these facets need a reader, or none: {readers.keys() ^ family.facets}")
    return tuple(readers.get(facet, _none) for facet in FACETS)


ROWS: Final[dict[Family, tuple[Reader, ...]]] = {family: _row(family) for family in FAMILIES}
"""For each family its readers, in the order of FACETS."""
