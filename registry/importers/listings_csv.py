"""Listings as CSV: one row for each listing of an instrument, columns by name in any order.

Columns: one or more of isin, figi (share class), cusip; mic or venue; and, as known, symbol,
currency, valid_from, valid_to, primary, line, tick, lot, listing_figi (of the listing) and name,
class (equity unless said), sedol, composite_figi, lei, cfi, decimals (of the instrument). An empty
cell says nothing.

A file with a column `class` may hold every class, and has columns of the names of their fields (of
a security only those above count). The listing's venue is who issued a contract or a pair, unless
a column `issuer` says otherwise; tick and lot of what has terms of its own are its own; and what
no venue issues need not be listed anywhere.

*Whose symbol is it?* That of the listing. It becomes the instrument's too in rows with
`primary` true; and in every row of a file without a column `primary`, which is taken as a file of
one listing for each instrument.

Records are put together here and not by the csv module alone, so that damage stays local: a line
that is no UTF-8, is too long or begins a quote that never ends refuses itself and no other line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command, Register
from alphapulse.registry.commands_listings import AddListing
from alphapulse.registry.instruments import (
    CLASSES,
    AnyInstrument,
    Identified,
    Index,
    Listing,
    Security,
    class_named,
    from_mapping,
)

from .base import LINE_SIZE_BYTES_MAX, InputFile, Line, Refused, Row, slug

RECORD_LINES_MAX: Final = 100
"""A quoted cell may hold line ends; a quote that is never closed must not eat the file."""
_KEYS: Final = ("isin", "figi", "cusip")
_VENUES: Final = ("mic", "venue")
COLUMNS: Final = (
    *_KEYS, *_VENUES, "sedol", "composite_figi", "lei", "cfi", "symbol", "currency", "valid_from",
    "valid_to", "primary", "name", "class", "line", "decimals", "tick", "lot",
    "listing_figi",
)  # fmt: skip
_OF_THE_LISTING: Final = frozenset(
    {*_VENUES, "issuer", "symbol", "currency", "valid_from", "valid_to", "primary", "line", "tick",
     "lot", "listing_figi", "class"}
)  # fmt: skip
"""The other columns are fields of the instrument."""
COLUMNS_OF_CLASSES: Final = frozenset({*COLUMNS, "issuer"}).union(
    *(kind.__struct_fields__ for kind in CLASSES.values())
)
"""Of a file with a column `class`."""
_INTEGERS: Final = ("decimals", "slip44", "generation", "adjustment")
_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_SHOWN_MAX: Final = 1_000
_COLUMN_LENGTH_MAX: Final = 64


class ListingsCsv:
    name = "listings-csv"
    summary = "CSV with a header: isin, figi or cusip; mic or venue; symbol, currency, …"

    def sniff(self, path: Path, head: bytes) -> bool:
        first = head.decode("utf-8-sig", "replace").lstrip().splitlines()[:1]
        names = set(_names(next(csv.reader(first), []))) if first else set()
        return bool(names.intersection((*_KEYS, "class")) and names.intersection(_VENUES)) or (
            path.suffix.lower() == ".csv"
        )

    def open(self, file: InputFile) -> ListingsReading:
        return ListingsReading(file)


class Record(NamedTuple):
    """`cells`, or the `problem` because of which there are none."""

    line: int
    cells: list[str]
    problem: str
    raw: str


def records(lines: Iterator[Line]) -> Iterator[Record]:
    """Records of RFC 4180. Blank lines are none. Cost: 2 µs and the cells."""
    ahead: deque[Line] = deque()
    while (first := ahead.popleft() if ahead else next(lines, None)) is not None:
        taken = [first]
        problem = _unreadable(first)
        cells: list[str] = []
        if not problem:
            try:
                cells = next(csv.reader(_texts(taken, ahead, lines), strict=True))
            except csv.Error as error:
                problem = f"it is not CSV: {error}"
                if len(taken) > 1 or "unexpected end" in str(error):
                    problem = "a quote is opened here and not closed within its record"
                ahead.extendleft(reversed(taken[1:]))
                del taken[1:]
        if problem or any(cell.strip() for cell in cells):
            yield Record(first.number, cells, problem, _shown(taken))


def _texts(taken: list[Line], ahead: deque[Line], lines: Iterator[Line]) -> Iterator[str]:
    """The first line, and more of them as long as the parser asks for more."""
    yield _decoded(taken[0])
    size_bytes = taken[0].size_bytes
    while len(taken) < RECORD_LINES_MAX:
        line = ahead.popleft() if ahead else next(lines, None)
        if line is None:
            return
        size_bytes += line.size_bytes
        taken.append(line)
        if size_bytes > LINE_SIZE_BYTES_MAX or _unreadable(line):
            return
        yield line.data.decode()


def _decoded(line: Line) -> str:
    return line.data.decode("utf-8-sig" if line.number == 1 else "utf-8")


def _unreadable(line: Line) -> str:
    if line.is_cut:
        return f"the line has {line.size_bytes} bytes, at most {LINE_SIZE_BYTES_MAX} are read"
    try:
        _decoded(line)
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line.data[error.start]:02x} at {error.start}"
        return f"the line is not UTF-8 ({byte}); save the file as UTF-8"
    return ""


def _shown(taken: list[Line]) -> str:
    raw = b"".join(line.data for line in taken)
    if taken[0].is_cut:
        raw = raw[:_SHOWN_MAX]
    text = raw.decode("utf-8-sig" if taken[0].number == 1 else "utf-8", "backslashreplace")
    return text.rstrip("\r\n") + ("…" if taken[0].is_cut else "")


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


class ListingsReading:
    def __init__(self, file: InputFile) -> None:
        self._file = file
        self.content_hash = file.content_hash()
        self.total = file.size_bytes
        self.done = 0
        self.source = slug(file.path.stem) or ListingsCsv.name
        self._records = records(self._counted(file.lines(self.content_hash)))
        self._columns: list[str] = self._header()
        known = self._known = _known_columns(self._columns)
        self.unknown_columns = tuple(
            name[:_COLUMN_LENGTH_MAX] or f"column {number}"
            for number, name in enumerate(self._columns, 1)
            if name not in known
        )
        self._has_primary = "primary" in self._columns

    def _counted(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            self.done += line.size_bytes
            yield line

    def _header(self) -> list[str]:
        file = self._file
        header = next(self._records, None)
        if header is None:
            file.refuse("it has no header", cure="name the columns in its first line")
        if header.problem:
            file.refuse(header.problem, cure="save it as CSV in UTF-8", line=header.line)
        columns = _names(header.cells)
        for name in _known_columns(columns):
            if columns.count(name) > 1:
                file.refuse(f"the column {name} stands twice", line=header.line)
        if set(_VENUES) <= set(columns):
            file.refuse("it has a column mic and a column venue", cure="keep one of them",
                        line=header.line)  # fmt: skip
        missing = [
            " or ".join(wanted) for wanted in (_KEYS, _VENUES)
            if not {*wanted} & {*columns} and (wanted is _VENUES or "class" not in columns)
        ]
        if missing:
            cure = "name the columns in its first line"
            if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
                cure = "separate the cells by commas"
            file.refuse(
                f"it has no column {', and none '.join(missing)}", cure=cure, line=header.line,
                columns=" ".join(validation.shown(name) for name in columns[:20]),
            )  # fmt: skip
        return columns

    def rows(self, source: str) -> Iterator[Row | Refused]:
        width = len(self._columns)
        for record in self._records:
            place, problem = f"line {record.line}", record.problem
            if not problem and len(record.cells) != width:
                problem = f"it has {len(record.cells)} cells, the header has {width}"
            if problem:
                yield Refused(place, problem, record.raw)
                continue
            try:
                yield Row(place, self._commands(record.cells), record.raw)
            except InvalidInput as error:
                yield Refused(place, str(error), record.raw)

    def _commands(self, given: list[str]) -> tuple[Command, ...]:
        cells = {
            name: cell.strip()
            for name, cell in zip(self._columns, given, strict=True) if name in self._known
        }  # fmt: skip
        get = cells.get
        symbol = get("symbol", "")
        primary = _flag(get("primary", ""), "primary")
        kind = class_named(get("class") or "equity")
        register = Register.of(
            _instrument(kind, cells, symbol if primary or not self._has_primary else "")
        )
        if not (issubclass(kind, Security) or get("mic") or get("venue")):
            return (register,)
        own_terms = issubclass(kind, Identified)
        listing = Listing(
            instrument=0, venue=_venue(cells), symbol=symbol, currency=get("currency", ""),
            line=_count(cells, "line") or 0, primary=primary,
            valid_from=get("valid_from", ""), valid_to=get("valid_to", ""),
            tick=None if own_terms else get("tick") or None,
            lot=None if own_terms else get("lot") or None, figi=get("listing_figi", ""),
        )  # fmt: skip
        return register, AddListing.make(listing, of=register.fingerprint)


def _known_columns(columns: list[str]) -> frozenset[str]:
    return COLUMNS_OF_CLASSES if "class" in columns else frozenset(COLUMNS)


def _instrument(kind: type[AnyInstrument], cells: dict[str, str], symbol: str) -> AnyInstrument:
    """Raises InvalidInput, also for a cell under a field that the class does not have."""
    if issubclass(kind, Security):
        cells = {name: cell for name, cell in cells.items() if name in COLUMNS}
    fields: dict[str, object] = {
        name: cell for name, cell in cells.items() if cell and name not in _OF_THE_LISTING
    }
    if symbol:
        fields["symbol"] = symbol
    for name in fields.keys() & _INTEGERS:
        fields[name] = _count(cells, name)
    if "venue" in kind.__struct_fields__ and "contract" not in fields:
        fields["venue"] = cells.get("issuer") or _venue(cells)
    if issubclass(kind, Identified):
        fields.update((name, cells[name]) for name in ("tick", "lot") if cells.get(name))
    if issubclass(kind, Index) and cells.get("currency"):
        fields["currency"] = cells["currency"]
    return from_mapping(kind, fields)


def _venue(cells: dict[str, str]) -> str:
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


def _count(cells: dict[str, str], field: str) -> int | None:
    cell = cells.get(field, "")
    if not cell:
        return None
    if not _DIGITS.fullmatch(cell):
        validation.refuse(field, "it must be an integer", cell)
    return int(cell)
