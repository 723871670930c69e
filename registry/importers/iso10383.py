"""ISO 10383, the list of market identifier codes: the official CSV, or an extract in UTF-8.

Each row is a venue; who operates it makes it a segment. Operating MICs go first whatever the order
of the file, so all rows are read before the first segment. In a new edition an operator may have
become a segment, once its own segments have moved: so segments wait for each other. A segment of a
segment is refused: in the list these are leftovers of mergers, and nobody operates what is no venue
by itself.

A MIC holds from its creation to its expiry, as the list has them: a date is the first instant of
that day, UTC. `ZZ` is the list's word for "no country".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command

from .base import InputFile, Refused, Row
from .csv_rows import CsvReading, header_names
from .json_document import DOCUMENT_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from alphapulse.registry.venues.commands import AddVenue

OFFICIAL: Final = {
    "mic": "mic", "operating mic": "operating_mic", "oprt/sgmt": "level",
    "market name-institution description": "market_name", "lei": "lei",
    "market category code": "category", "iso country code (iso 3166)": "country",
    "website": "website", "status": "status", "creation date": "created",
    "expiry date": "expiry",
}  # fmt: skip
"""Columns of the official file that mean something here, and what the extract calls them."""
CATEGORIES: Final = {
    "RMKT": "exchange", "DCMS": "exchange", "MLTF": "mtf", "OTFS": "otf", "ATSS": "ats",
    "SINT": "systematic_internaliser", "SEFS": "sef", "IDQS": "quotation_system",
    "CASP": "crypto_exchange", "APPA": "reporting", "ARMS": "reporting", "CTPS": "reporting",
    "TRFS": "reporting", "RMOS": "other", "OTHR": "other", "NSPD": "", "": "",
}  # fmt: skip
"""RMOS, recognised market operators of Singapore, are of many kinds. NSPD is "not specified"."""
STATUSES: Final = ("ACTIVE", "UPDATED", "MODIFIED", "EXPIRED")
LEVELS: Final = {"OPRT": True, "SGMT": False}
SOURCE: Final = "iso-10383"
"""Of every edition of the list in every form: a newer one corrects what an older one said."""
_DATE: Final = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")


class Iso10383:
    name = "iso-10383"
    summary = "the CSV of market identifier codes: MIC, OPERATING MIC, …"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        names = header_names(head)
        return "mic" in names and bool({"operating mic", "operating_mic"} & names)

    def open(self, file: InputFile) -> IsoReading:
        if file.size_bytes > DOCUMENT_SIZE_BYTES_MAX:
            file.refuse(f"it has {file.size_bytes} bytes, the list has less than a million")
        return IsoReading(file)


class IsoReading(CsvReading):
    FORMAT = Iso10383.name
    COLUMNS = tuple(OFFICIAL.values())

    def __init__(self, file: InputFile) -> None:
        if self._is_official(header_names(file.head)):
            self.legacy = "cp1252"  # Latin-1, and the quotes and dashes that Windows adds to it
        super().__init__(file)
        self.source = SOURCE

    @staticmethod
    def _is_official(columns: Sequence[str] | set[str]) -> bool:
        return "operating mic" in columns

    def known_columns(self, columns: Sequence[str]) -> frozenset[str]:
        return frozenset(OFFICIAL if self._is_official(columns) else OFFICIAL.values())

    def needed(self, columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        if self._is_official(columns):
            return ("mic",), ("operating mic",), ("status",), ("expiry date",)
        return ("mic",), ("operating_mic",), ("status",), ("expiry",)

    def rows(self, source: str) -> Iterator[Row | Refused]:
        """Segments last, and of those of a segment the reason, which needs all rows."""
        said: dict[str, tuple[str, AddVenue]] = {}
        segments: list[tuple[Row, AddVenue]] = []
        for row in super().rows(source):
            if isinstance(row, Refused):
                yield row
                continue
            command = _venue_of(row)
            key = command.venue.key
            place, before = said.setdefault(key, (row.place, command))
            if before != command:
                yield Refused(row.place, f"{key} is another one in {place}", row.raw)
            elif command.venue.operating:
                segments.append((row._replace(waits=True), command))
            else:
                yield row
        for row, command in segments:
            above = said.get(command.venue.operating)
            if above is not None and above[1].venue.operating:
                reason = (
                    f"its operating MIC {command.venue.operating} is a segment itself"
                    f" ({above[0]}), of {above[1].venue.operating}"
                )
                yield Refused(row.place, reason, row.raw)
            else:
                yield row

    def commands(self, cells: Mapping[str, str]) -> tuple[Command, ...]:
        # What is about venues takes 25 ms to load, which no other import needs.
        from alphapulse.registry.venues.commands import AddVenue
        from alphapulse.registry.venues.venue import Venue

        said = {OFFICIAL.get(name, name): cell for name, cell in cells.items()}
        mic, operating = _mic(said["mic"], "mic"), _mic(said["operating_mic"], "operating_mic")
        _check_level(said.get("level", ""), is_operating=mic == operating)
        country = said.get("country", "").rstrip("_")  # IN_ in extracts: `in` is a word of Python
        venue = Venue(
            key=mic, operating=operating, name=said.get("market_name", ""),
            kind=_word(said.get("category", ""), CATEGORIES, "category"),
            country="" if country == "ZZ" else country, lei=said.get("lei", ""),
            links=_links(said.get("website", "")), valid_from=_date(said, "created"),
            valid_to=_expiry(said),
        )  # fmt: skip
        return (AddVenue.make(venue),)


def _venue_of(row: Row) -> AddVenue:
    from alphapulse.registry.venues.commands import AddVenue

    (command,) = row.commands
    assert isinstance(command, AddVenue), "rows of this format are venues"
    return command


def _mic(cell: str, field: str) -> str:
    if validation.venue_parts(cell, field)[0] != "mic":
        validation.refuse(field, "it is not a MIC", cell, "write four capitals or digits")
    return cell


def _check_level(cell: str, *, is_operating: bool) -> None:
    if not cell:
        return
    if cell.upper() not in LEVELS:
        validation.refuse("oprt/sgmt", "its meaning is not known", cell, "use OPRT or SGMT")
    if LEVELS[cell.upper()] != is_operating:
        whose = "its own" if is_operating else "another's"
        validation.refuse("oprt/sgmt", f"it disagrees with its operating MIC, which is {whose}",
                          cell)  # fmt: skip


def _word(cell: str, words: Mapping[str, str], field: str) -> str:
    found = words.get(cell.upper())
    if found is None:
        known = ", ".join(word for word in words if word)
        validation.refuse(field, "its meaning is not known", cell, f"these are known: {known}")
    return found


def _date(said: Mapping[str, str], field: str) -> str:
    cell = said.get(field, "")
    if not cell:
        return ""
    found = _DATE.fullmatch(cell)
    if found is None:
        validation.refuse(field, "it is no date", cell, "write it like 2025-02-10")
    return "-".join(found.groups())


def _expiry(said: Mapping[str, str]) -> str:
    status = said["status"].upper()
    if status not in STATUSES:
        validation.refuse("status", "its meaning is not known", said["status"],
                          f"these are known: {', '.join(STATUSES)}")  # fmt: skip
    expiry = _date(said, "expiry")
    if status == "EXPIRED" and not expiry:
        raise InvalidInput("reading field expiry", problem="it expired, and nothing says when",
                           cure="give the date, or leave the row out")  # fmt: skip
    return expiry


def _links(cell: str) -> dict[str, str]:
    """`www.a.com, WWW.B.COM/c` has two addresses; hosts have no case."""
    found = {}
    for number, address in enumerate(re.split(r"[\s,;]+", cell.strip(" ,;")), 1):
        if address:
            scheme, _, rest = address.rpartition("://")
            host, slash, path = rest.partition("/")
            name = "web" if number == 1 else f"web-{number}"
            found[name] = f"{scheme.lower() or 'https'}://{host.lower()}{slash}{path}"
    return found
