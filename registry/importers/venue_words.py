"""Hours and fees of venues as people write them, TOML and CSV: `venues.hours_text`, `fees_text`.

What is said of one venue is taken whole or refused whole: hours without some of their holidays are
wrong hours, and so are fees without some of their lines. So a row of these formats is a venue, and
a line of CSV that cannot be read refuses the file, for nobody knows whose it is.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from blake3 import blake3

from alphapulse.log import AlphaPulseError, InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command

from .base import InputFile, Reading, Refused, Row, slug
from .csv_rows import CsvFile, header_names

if TYPE_CHECKING:
    from alphapulse.registry.venues.fees_text import VenueFees

# What is about venues takes 25 ms to load, so it is imported where a file is of these formats.

FILE_SIZE_BYTES_MAX: Final = 4 << 20
_SCHEDULE: Final = re.compile(rb"^\s*\[\[schedule", re.MULTILINE)
_HOURS: Final = re.compile(rb"^\s*(zone|always)\s*=", re.MULTILINE)
Cells = list[tuple[int, Mapping[str, str]]]
"""Of one venue: the line of each row, and its cells by column."""


class HoursToml:
    name = "hours-toml"
    summary = "trading hours as TOML: venues, zone, [[rule]], [[day]]"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        return path.suffix.lower() == ".toml" and bool(_HOURS.search(head))

    def open(self, file: InputFile) -> Reading:
        return TomlReading(file, _hours_of_toml)


class HoursCsv:
    name = "hours-csv"
    summary = "trading hours as CSV: venue, zone, phase, weekdays, start, end, date, …"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        names = header_names(head)
        return "venue" in names and ({"phase", "start", "end"} <= names or "always" in names)

    def open(self, file: InputFile) -> Reading:
        return HoursReading(file)


class FeesToml:
    name = "fees-toml"
    summary = "fees as TOML: venues, [[schedule]], [[schedule.line]]"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        return path.suffix.lower() == ".toml" and bool(_SCHEDULE.search(head))

    def open(self, file: InputFile) -> Reading:
        return TomlReading(file, _fees_of_toml)


class FeesCsv:
    name = "fees-csv"
    summary = "fees as CSV: venue, side, value; products, basis, volume_from, …"
    needs = marks = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        return {"venue", "side", "value"} <= header_names(head)

    def open(self, file: InputFile) -> Reading:
        return FeesReading(file)


def _hours_of_toml(data: bytes) -> Iterator[Row]:
    from alphapulse.registry.venues.commands import SetHours
    from alphapulse.registry.venues.hours_text import read_toml

    for venue, hours in read_toml(data):
        yield Row(venue, (SetHours(venue, hours, only_news=True),), {"venue": venue})


def _fees_of_toml(data: bytes) -> Iterator[Row]:
    from alphapulse.registry.venues.fees_text import read_venue_fees

    for each in read_venue_fees(data):
        yield _fees_row(each.venue, (each,), {"venue": each.venue})


def _fees_row(place: str, said: Sequence[VenueFees], raw: object) -> Row:
    from alphapulse.registry.venues.commands import SetFees

    commands = [
        SetFees(each.venue, each.schedules, each.valid_from, only_news=True) for each in said
    ]
    odd = tuple(
        command.told(number, doubt) for command in commands for number, doubt in command.doubts()
    )
    return Row(place, tuple(commands), raw, odd)


class TomlReading:
    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile, read: Callable[[bytes], Iterator[Row]]) -> None:
        data = file.read(FILE_SIZE_BYTES_MAX)
        self.content_hash = blake3(data).digest()
        self.source = slug(file.path.stem)
        try:
            self._rows = list(read(data))
        except AlphaPulseError as error:
            error.doing = f"{file.doing}: {error.doing}"
            raise
        self.total = len(self._rows)
        self.done = 0

    def rows(self, source: str) -> Iterator[Row]:
        for row in self._rows:
            self.done += 1
            yield row


class VenueReading(CsvFile):
    """Rows that together say one aspect of a venue."""

    NEEDED: ClassVar[tuple[str, ...]]

    def __init__(self, file: InputFile) -> None:
        if file.size_bytes > FILE_SIZE_BYTES_MAX:
            file.refuse(f"it has {file.size_bytes} bytes, at most {FILE_SIZE_BYTES_MAX} are read",
                        cure="split it by venues")  # fmt: skip
        super().__init__(file)
        if self.unknown_columns:
            file.refuse(f"it has a column {self.unknown_columns[0]}, which says nothing here",
                        cure=f"use {', '.join(self.COLUMNS)}")  # fmt: skip

    def needed(self, columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        return tuple((name,) for name in self.NEEDED)

    @abstractmethod
    def row(self, place: str, venue: str, cells: Cells, raw: str) -> Row:
        """What the rows of a venue stand for. Raises InvalidInput, naming the line."""

    def rows(self, source: str) -> Iterator[Row | Refused]:
        said: dict[str, Cells] = {}
        raw: dict[str, list[str]] = {}
        for record, problem, cells in self.cells():
            try:
                venue = "" if problem else validation.venue(cells["venue"])
            except InvalidInput as error:
                problem = str(error)
            if problem:
                self._file.refuse(f"nobody knows whose row this is: {problem}", line=record.line,
                                  cure="correct it, then import the file again")  # fmt: skip
            named = {name: cells.get(name, "") for name in self.COLUMNS}
            said.setdefault(venue, []).append((record.line, named))
            raw.setdefault(venue, []).append(record.raw)
        for venue, rows in said.items():
            place, text = f"line {rows[0][0]}", "\n".join(raw[venue])
            try:
                yield self.row(place, venue, rows, text)
            except InvalidInput as error:
                yield Refused(place, f"{venue}: {error}", text)


class HoursReading(VenueReading):
    FORMAT = HoursCsv.name
    COLUMNS = (
        "venue", "zone", "phase", "weekdays", "start", "end", "first", "last", "date", "reason",
        "holidays_to", "always",
    )  # fmt: skip
    NEEDED = ("venue",)

    def row(self, place: str, venue: str, cells: Cells, raw: str) -> Row:
        from alphapulse.registry.venues.commands import SetHours
        from alphapulse.registry.venues.hours_text import HoursRows, at

        said = HoursRows(cells[0][0])
        for line, each in cells:
            with at(f"line {line}"):
                said.add(each)
        command: Command = SetHours(venue, said.hours(), only_news=True)
        return Row(place, (command,), raw)


class FeesReading(VenueReading):
    FORMAT = FeesCsv.name
    COLUMNS = (
        "venue", "products", "volume_unit", "volume_days", "valid_from", "side", "basis", "value",
        "charged", "minimum", "maximum", "maximum_percent", "volume_from", "component",
        "confidence",
    )  # fmt: skip
    NEEDED = ("venue", "value")

    def row(self, place: str, venue: str, cells: Cells, raw: str) -> Row:
        from alphapulse.registry.venues.fees_text import venue_fees

        return _fees_row(place, venue_fees(venue, cells), raw)
