"""Ticker collections: `[{"name", "isins": […], "symbols": [{"yahoo", "google", "currency"}]}]`.

The form of pytickersymbols: ISINs and tickers belong to a company, and nothing says which ticker
trades under which ISIN; ordinary shares and depositary receipts are mixed. So only what can be
known for certain is registered, and the rest is quarantined:

* a company with exactly one ISIN, which no other company in the file has, is an equity with that
  ISIN and name;
* its ticker is the equity's symbol if it is the company's only one, no other company has it, it
  trades in the country of the ISIN (`ARM.L` beside the ISIN of American receipts does not), and
  nothing in it is a vendor's spelling (Yahoo's `SAAB-B` is `SAAB B` in Stockholm);
* it never becomes a listing: tickers of American exchanges do not say which one, and prices in
  London are in pence where the file says GBP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Register
from alphapulse.registry.instruments import Equity

from .base import InputFile, Refused, Row, slug
from .json_document import DOCUMENT_SIZE_BYTES_MAX, flaw_of, parsed, text

COUNTRIES: Final = {
    "": "US", "AS": "NL", "BR": "BE", "DE": "DE", "F": "DE", "HE": "FI", "L": "GB", "MC": "ES",
    "MI": "IT", "PA": "FR", "ST": "SE", "SW": "CH", "T": "JP",
}  # fmt: skip
"""Country of the exchange, by the suffix of Yahoo's tickers; as ISINs of its companies begin."""
_DOING: Final = "reading a company"
_SHARING_SHOWN_MAX: Final = 3


class TickerCollection:
    name = "ticker-collection"
    summary = 'a JSON list [{"name", "isins": […], "symbols": [{"yahoo", "google", …}]}]'
    needs = ("isins", "symbols")
    marks = ("yahoo", "google", "indices", "industries")

    def sniff(self, path: Path, head: bytes) -> bool:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return start.startswith(b"[") and b'"isins"' in start and b'"symbols"' in start

    def open(self, file: InputFile) -> TickerReading:
        return TickerReading(file, file.read(DOCUMENT_SIZE_BYTES_MAX))


class Company(NamedTuple):
    name: str
    isins: tuple[str, ...]
    tickers: tuple[tuple[str, str], ...]
    """Each in Yahoo's and in Google's spelling."""


class TickerReading:
    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile, data: bytes) -> None:
        self.content_hash = blake3(data).digest()
        document = parsed(file, data)
        if not isinstance(document, list):
            file.refuse("it is no ticker collection: it must be a list of companies")
        self.source = slug(file.path.name.split(".")[0]) or TickerCollection.name
        self.total = len(document)
        self.done = 0
        self._raw: list[object] = document
        self._companies = [_company(raw) for raw in document]
        known = [each for each in self._companies if isinstance(each, Company)]
        self._names: dict[str, list[str]] = {}
        """By ISIN, of the companies that have it."""
        for company in known:
            for isin in set(company.isins):
                self._names.setdefault(isin, []).append(company.name)
        self._owners = Counter(
            ticker for each in known for ticker in {_split(yahoo)[0] for yahoo, _ in each.tickers}
        )
        """Of each ticker, how many companies have it, wherever it trades."""

    def rows(self, source: str) -> Iterator[Row | Refused]:
        for index, (raw, company) in enumerate(zip(self._raw, self._companies, strict=True)):
            self.done = index + 1
            place = f"[{index}]"
            try:
                if isinstance(company, InvalidInput):
                    raise company
                equity = Equity(
                    isin=self._isin(company), name=company.name, symbol=self._symbol(company)
                )
                yield Row(place, (Register.of(equity),), raw)
            except InvalidInput as error:
                yield Refused(place, str(error), raw)

    def _isin(self, company: Company) -> str:
        """The only one that can be meant. Raises InvalidInput."""
        isins = company.isins
        if not isins:
            raise InvalidInput(
                _DOING, problem="it has no ISIN, and a ticker does not say who it is",
                cure="register it with its ISIN",
            )  # fmt: skip
        for isin in isins:
            validation.isin(isin)
        if len(isins) > 1:
            raise InvalidInput(
                _DOING, problem=f"it has {len(isins)} ISINs, and nothing says which is whose",
                cure="register each with its own name and tickers; `alphapulse candidates propose` "
                "then says which look alike", isins=" ".join(isins),
            )  # fmt: skip
        names = self._names[isins[0]]
        if len(names) > 1:
            shown = ", ".join(validation.shown(name) for name in names[:_SHARING_SHOWN_MAX])
            raise InvalidInput(
                _DOING, problem=f"its ISIN stands on {len(names)} companies", isin=isins[0],
                companies=shown, cure="register it for the one that it belongs to",
            )  # fmt: skip
        return isins[0]

    def _symbol(self, company: Company) -> str:
        """Empty unless only one pairing of ISIN and ticker is possible."""
        if len(company.tickers) != 1:
            return ""
        ((yahoo, google),) = company.tickers
        local, suffix = _split(yahoo)
        is_domestic = COUNTRIES.get(suffix) == company.isins[0][:2]
        is_agreed = google.rpartition(":")[2] == local and local.isascii() and local.isalnum()
        return local if self._owners[local] == 1 and is_domestic and is_agreed else ""


def _split(yahoo: str) -> tuple[str, str]:
    """`AC.PA` is AC in Paris; without a suffix it is American."""
    local, dot, suffix = yahoo.rpartition(".")
    return (local, suffix) if dot else (yahoo, "")


def _company(raw: object) -> Company | InvalidInput:
    """What is read of it before the companies are compared; the reason when it is no company."""
    try:
        if not isinstance(raw, dict):
            raise InvalidInput(_DOING, problem=f"it is {validation.shown(raw)}",
                               cure="write an object in braces")  # fmt: skip
        if flaw := flaw_of(raw):
            raise InvalidInput(_DOING, problem=flaw)
        isins = _list(raw, "isins")
        for isin in isins:
            if not isinstance(isin, str):
                validation.refuse("isins", "it must be text", isin)
        return Company(
            text(raw, "name").strip(), tuple(dict.fromkeys(isin.strip().upper() for isin in isins)),
            tuple(dict.fromkeys(_ticker(each) for each in _list(raw, "symbols"))),
        )  # fmt: skip
    except InvalidInput as error:
        return error


def _list(fields: dict[str, Any], field: str) -> list[Any]:
    found = fields.get(field, [])
    if not isinstance(found, list):
        validation.refuse(field, "it must be a list", found)
    return found


def _ticker(given: object) -> tuple[str, str]:
    if not isinstance(given, dict):
        validation.refuse("symbols", "it must be an object", given)
    return text(given, "yahoo").strip(), text(given, "google").strip()
