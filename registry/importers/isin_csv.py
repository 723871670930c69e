"""ISIN lists as CSV: one row for each security, as depositories and numbering agencies give them.

Columns: isin and type are needed; name, status, exchange, symbol, currency as known. Types and
statuses are the source's own words, exchanges are everyday names such as NSE: each is translated
by a table, and a word that is in none refuses its row. A symbol beside an exchange is that of the
listing only; alone it is the instrument's. Where no currency is said, the listing is in the only
one in which shares trade there, if there is only one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from alphapulse.registry import validation
from alphapulse.registry.commands import Command, Register
from alphapulse.registry.commands_listings import AddListing
from alphapulse.registry.instruments import Bond, Equity, Etf, Listing

from .base import InputFile
from .csv_rows import CsvReading, header_names
from .venue_aliases import venue_of

_NOT_OURS: Final = frozenset({"mic", "venue", "class"})
"""Columns by which a file is known to be listings-csv."""

TYPES: Final[dict[str, type[Equity] | type[Etf] | type[Bond]]] = {
    "EQUITY": Equity, "EQUITY SHARE": Equity, "EQUITY SHARES": Equity, "COMMON STOCK": Equity,
    "ORDINARY SHARES": Equity,
    "ETF": Etf, "EXCHANGE TRADED FUND": Etf,
    "BOND": Bond, "CORPORATE BOND": Bond, "GOVERNMENT BOND": Bond,
    "NON CONVERTIBLE DEBENTURE": Bond,
}  # fmt: skip
"""Mutual funds, preference shares, warrants and rights are missing: they have no class here."""
STATUSES: Final = {"ACTIVE": "active", "SUSPENDED": "halted", "DELISTED": "delisted", "": ""}


class IsinCsv:
    name = "isin-csv"
    summary = "CSV with a header: isin, type; name, status, exchange, symbol, …"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        names = header_names(head)
        return {"isin", "type"} <= names and not names & _NOT_OURS

    def open(self, file: InputFile) -> IsinReading:
        return IsinReading(file)


class IsinReading(CsvReading):
    FORMAT = IsinCsv.name
    COLUMNS = ("isin", "type", "name", "status", "exchange", "symbol", "currency")

    def needed(self, columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        return ("isin",), ("type",)

    def commands(self, cells: Mapping[str, str]) -> tuple[Command, ...]:
        get = cells.get
        kind = _word(TYPES, cells["type"], "type", "it has no certain class")
        status = _word(STATUSES, get("status", ""), "status", "its meaning is not known")
        exchange, symbol = get("exchange", ""), get("symbol", "")
        register = Register.of(
            kind(
                isin=cells["isin"], name=get("name", ""), status=status,
                symbol="" if exchange else symbol,
            )
        )  # fmt: skip
        if not exchange or status == "delisted":  # until when it was listed there is not said
            return (register,)
        venue = venue_of(exchange, cells["isin"])
        listing = Listing(
            instrument=0, venue=venue.mic, symbol=symbol,
            currency=get("currency", "") or venue.currency,
        )  # fmt: skip
        return register, AddListing.make(listing, of=register.fingerprint)


T = TypeVar("T")


def _word(words: Mapping[str, T], given: str, field: str, problem: str) -> T:
    found = words.get(" ".join(given.upper().split()))
    if found is None:
        known = ", ".join(word for word in words if word)
        validation.refuse(field, problem, given, f"these are known: {known}")
    return found
