"""Listings as CSV: one row for each listing of an instrument, columns by name in any order.

Columns: one or more of isin, figi (share class), cusip; mic or venue; and, as known, symbol,
currency, valid_from, valid_to, primary, line, tick, lot, ticks, min_size,
max_size, min_notional, listing_figi, symbol_from (of the listing)
and name, class (equity unless said), sedol, composite_figi, lei, cfi, decimals (of the instrument).
An empty cell says nothing.

A file with a column `class` may hold every class, and has columns of the names of their fields (of
a security only those above and a bond's own count). The listing's venue is who issued a contract or
a pair, unless a column `issuer` says otherwise; tick, lot and the like of what has terms of its own
are its own; and what no venue issues need not be listed anywhere.

*Whose symbol is it?* That of the listing. It becomes the instrument's too in rows with
`primary` true; and in every row of a file without a column `primary`, which is taken as a file of
one listing for each instrument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from alphapulse.registry import validation
from alphapulse.registry.commands import Command, Register
from alphapulse.registry.commands_listings import AddListing
from alphapulse.registry.instruments import (
    CLASSES,
    ORDER_FIELDS,
    AnyInstrument,
    Bond,
    Identified,
    Index,
    Listing,
    Security,
    class_named,
    from_mapping,
)

from .base import InputFile
from .csv_rows import CsvReading, count, header_names

_KEYS: Final = ("isin", "figi", "cusip")
_VENUES: Final = ("mic", "venue")
COLUMNS: Final = (
    *_KEYS, *_VENUES, "sedol", "composite_figi", "lei", "cfi", "symbol", "currency", "valid_from",
    "valid_to", "primary", "name", "class", "line", "decimals", *ORDER_FIELDS,
    "listing_figi", "symbol_from",
)  # fmt: skip
_OF_THE_LISTING: Final = frozenset(
    {*_VENUES, *ORDER_FIELDS, "issuer", "symbol", "currency", "valid_from", "valid_to", "primary",
     "line", "listing_figi", "symbol_from", "class"}
)  # fmt: skip
"""The other columns are fields of the instrument."""
COLUMNS_OF_CLASSES: Final = frozenset({*COLUMNS, "issuer"}).union(
    *(kind.__struct_fields__ for kind in CLASSES.values())
)
"""Of a file with a column `class`."""
_INTEGERS: Final = ("decimals", "slip44", "generation", "adjustment", "coupon_frequency")
_OF_SECURITIES: Final = frozenset({*COLUMNS, *Bond.__struct_fields__})
_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})


class ListingsCsv:
    name = "listings-csv"
    summary = "CSV with a header: isin, figi or cusip; mic or venue; symbol, currency, …"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        names = header_names(head)
        return bool(names.intersection((*_KEYS, "class")) and names.intersection(_VENUES)) or (
            path.suffix.lower() == ".csv"
        )

    def open(self, file: InputFile) -> ListingsReading:
        return ListingsReading(file)


class ListingsReading(CsvReading):
    FORMAT = ListingsCsv.name
    COLUMNS = COLUMNS
    ALTERNATIVES = _VENUES

    def known_columns(self, columns: Sequence[str]) -> frozenset[str]:
        return COLUMNS_OF_CLASSES if "class" in columns else frozenset(COLUMNS)

    def needed(self, columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        return (_VENUES,) if "class" in columns else (_KEYS, _VENUES)

    def commands(self, cells: Mapping[str, str]) -> tuple[Command, ...]:
        get = cells.get
        symbol = get("symbol", "")
        primary = _flag(get("primary", ""), "primary")
        kind = class_named(get("class") or "equity")
        register = Register.of(
            _instrument(kind, cells, symbol if primary or "primary" not in cells else ""),
            newest=not get("generation"),
        )
        if not (issubclass(kind, Security) or get("mic") or get("venue")):
            return (register,)
        orders = {} if _has_own_terms(kind) else {name: get(name, "") for name in ORDER_FIELDS}
        listing = Listing(
            instrument=0, venue=_venue(cells), symbol=symbol, currency=get("currency", ""),
            line=count(cells, "line") or 0, primary=primary,
            valid_from=get("valid_from", ""), valid_to=get("valid_to", ""),
            figi=get("listing_figi", ""), symbol_from=get("symbol_from", ""), **orders,
        )  # fmt: skip
        of = register if register.newest else register.fingerprint
        return register, AddListing.make(listing, of=of)


def _instrument(kind: type[AnyInstrument], cells: Mapping[str, str], symbol: str) -> AnyInstrument:
    """Raises InvalidInput, also for a cell under a field that the class does not have."""
    if issubclass(kind, Security):
        cells = {name: cell for name, cell in cells.items() if name in _OF_SECURITIES}
    fields: dict[str, object] = {
        name: cell for name, cell in cells.items() if cell and name not in _OF_THE_LISTING
    }
    if symbol:
        fields["symbol"] = symbol
    for name in fields.keys() & _INTEGERS:
        fields[name] = count(cells, name)
    if "venue" in kind.__struct_fields__ and "contract" not in fields:
        fields["venue"] = cells.get("issuer") or _venue(cells)
    if _has_own_terms(kind):
        fields.update((name, cells[name]) for name in ORDER_FIELDS if cells.get(name))
    if issubclass(kind, Index) and cells.get("currency"):
        fields["currency"] = cells["currency"]
    return from_mapping(kind, fields)


def _has_own_terms(kind: type[AnyInstrument]) -> bool:
    """Whether which orders are taken is its own, and not that of each of its listings."""
    return issubclass(kind, Identified) and not issubclass(kind, Security)


def _venue(cells: Mapping[str, str]) -> str:
    """A column `mic` holds MICs only: `xnas` there would become a venue of that name."""
    given = cells.get("mic")
    if given is None:
        return cells["venue"]
    if validation.venue_parts(given, "mic")[0] != "mic":
        validation.refuse("mic", "it is not a MIC", given,
                          "write four capitals or digits, or call the column venue")  # fmt: skip
    return given


def _flag(cell: str, field: str) -> bool:
    word = cell.lower()
    if word not in _TRUE and word not in _FALSE:
        validation.refuse(field, "it is neither true nor false", cell, "write true or false")
    return word in _TRUE
