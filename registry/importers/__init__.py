"""Importers: from a file of somebody's format to rows of commands.

A format is one module with a class that follows `base.Importer`, and one line in FORMATS.
"""

from typing import Final

from .base import Importer, InputFile, Reading, Refused, Relation, Row
from .ccxt_descriptions import CcxtDescriptions
from .ccxt_markets import CcxtMarkets
from .chain_registry import ChainRegistry
from .events_jsonl import EventsJsonl
from .instruments_jsonl import InstrumentsJsonl
from .isin_csv import IsinCsv
from .iso10383 import Iso10383
from .listings_csv import ListingsCsv
from .quarantine import Quarantine
from .ticker_collection import TickerCollection
from .token_list import TokenList
from .venue_words import FeesCsv, FeesToml, HoursCsv, HoursToml

FORMATS: Final[dict[str, Importer]] = {
    importer.name: importer
    for importer in (
        CcxtDescriptions(), CcxtMarkets(), EventsJsonl(), InstrumentsJsonl(), TickerCollection(),
        ChainRegistry(), TokenList(), IsinCsv(), Iso10383(), HoursToml(), FeesToml(), HoursCsv(),
        FeesCsv(), ListingsCsv(),
    )
}
"""By name, in the order in which an unnamed file is tried."""

__all__ = [
    "FORMATS",
    "CcxtDescriptions",
    "CcxtMarkets",
    "ChainRegistry",
    "EventsJsonl",
    "FeesCsv",
    "FeesToml",
    "HoursCsv",
    "HoursToml",
    "Importer",
    "InputFile",
    "InstrumentsJsonl",
    "IsinCsv",
    "Iso10383",
    "ListingsCsv",
    "Quarantine",
    "Reading",
    "Refused",
    "Relation",
    "Row",
    "TickerCollection",
    "TokenList",
]
