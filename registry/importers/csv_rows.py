"""CSV files with a header: columns by name in any order, damage that stays in its own line.

Records are put together here and not by the csv module alone: a line that is no UTF-8, is too long
or begins a quote that never ends refuses itself and no other line. A format of rows is a subclass
of `CsvReading` that says which columns it knows and what the cells of one row stand for; one whose
rows only together say something is a subclass of `CsvFile`.
"""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from alphapulse.log import InvalidInput
from alphapulse.registry import validation
from alphapulse.registry.commands import Command

from .base import LINE_SIZE_BYTES_MAX, InputFile, Line, Refused, Row, slug

RECORD_LINES_MAX: Final = 100
"""A quoted cell may hold line ends; a quote that is never closed must not eat the file."""
_SHOWN_MAX: Final = 1_000
_COLUMN_LENGTH_MAX: Final = 64


class Record(NamedTuple):
    """`cells`, or the `problem` because of which there are none."""

    line: int
    cells: list[str]
    problem: str
    raw: str


def records(lines: Iterator[Line], legacy: str = "") -> Iterator[Record]:
    """Records of RFC 4180. Blank lines are none. legacy: the encoding of lines that are no UTF-8,
    where the format has one. Cost: 2 µs and the cells."""
    ahead: deque[Line] = deque()
    while (first := ahead.popleft() if ahead else next(lines, None)) is not None:
        taken = [first]
        problem = _unreadable(first, legacy)
        cells: list[str] = []
        if not problem:
            try:
                cells = next(csv.reader(_texts(taken, ahead, lines, legacy), strict=True))
            except csv.Error as error:
                problem = f"it is not CSV: {error}"
                if len(taken) > 1 or "unexpected end" in str(error):
                    problem = "a quote is opened here and not closed within its record"
                ahead.extendleft(reversed(taken[1:]))
                del taken[1:]
        if problem or any(cell.strip() for cell in cells):
            yield Record(first.number, cells, problem, _shown(taken, legacy))


def _texts(
    taken: list[Line], ahead: deque[Line], lines: Iterator[Line], legacy: str
) -> Iterator[str]:
    """The first line, and more of them as long as the parser asks for more."""
    yield _decoded(taken[0], legacy)
    size_bytes = taken[0].size_bytes
    while len(taken) < RECORD_LINES_MAX:
        line = ahead.popleft() if ahead else next(lines, None)
        if line is None:
            return
        size_bytes += line.size_bytes
        taken.append(line)
        if size_bytes > LINE_SIZE_BYTES_MAX or _unreadable(line, legacy):
            return
        yield _decoded(line, legacy)


def _decoded(line: Line, legacy: str) -> str:
    try:
        return line.data.decode("utf-8-sig" if line.number == 1 else "utf-8")
    except UnicodeDecodeError:
        if not legacy:
            raise
        return line.data.decode(legacy)


def _unreadable(line: Line, legacy: str) -> str:
    if line.is_cut:
        return f"the line has {line.size_bytes} bytes, at most {LINE_SIZE_BYTES_MAX} are read"
    try:
        _decoded(line, legacy)
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line.data[error.start]:02x} at {error.start}"
        return f"the line is not UTF-8 ({byte}); save the file as UTF-8"
    return ""


def _shown(taken: list[Line], legacy: str) -> str:
    raw = b"".join(line.data for line in taken)
    if taken[0].is_cut:
        raw = raw[:_SHOWN_MAX]
    try:
        text = _decoded(Line(taken[0].number, raw, len(raw)), legacy)
    except UnicodeDecodeError:
        text = raw.decode(errors="backslashreplace")
    return text.rstrip("\r\n") + ("…" if taken[0].is_cut else "")


def column_names(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def header_names(head: bytes) -> set[str]:
    """The names of the columns in the first line of a file that begins with `head`."""
    first = head.decode("utf-8-sig", "replace").lstrip().splitlines()[:1]
    return set(column_names(next(csv.reader(first), []))) if first else set()


class CsvFile(ABC):
    """One pass over a CSV file, in bounded memory."""

    FORMAT: ClassVar[str]
    """The format's name, the source of files whose name says nothing."""
    COLUMNS: ClassVar[tuple[str, ...]]
    """The columns that mean something."""
    ALTERNATIVES: ClassVar[tuple[str, ...]] = ()
    """At most one of these columns may be there."""
    legacy = ""
    """The encoding of lines that are no UTF-8; empty = they are refused."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self.content_hash = file.content_hash()
        self.total = file.size_bytes
        self.done = 0
        self.source = slug(file.path.stem) or self.FORMAT
        self._records = records(self._counted(file.lines(self.content_hash)), self.legacy)
        self.columns: list[str] = self._header()
        self._known = self.known_columns(self.columns)
        self.unknown_columns = tuple(
            name[:_COLUMN_LENGTH_MAX] or f"column {number}"
            for number, name in enumerate(self.columns, 1)
            if name not in self._known
        )

    def known_columns(self, columns: Sequence[str]) -> frozenset[str]:
        """Those that mean something in a file with this header."""
        return frozenset(self.COLUMNS)

    @abstractmethod
    def needed(self, columns: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Of each of these a file with this header must have at least one column."""

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
        columns = column_names(header.cells)
        for name in sorted(self.known_columns(columns)):
            if columns.count(name) > 1:
                file.refuse(f"the column {name} stands twice", line=header.line)
        both = [name for name in self.ALTERNATIVES if name in columns]
        if len(both) > 1:
            file.refuse(f"it has a column {' and a column '.join(both)}",
                        cure="keep one of them", line=header.line)  # fmt: skip
        missing = [
            " or ".join(wanted) for wanted in self.needed(columns)
            if not set(wanted) & set(columns)
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

    def cells(self) -> Iterator[tuple[Record, str, dict[str, str]]]:
        """Of each row, what is wrong with it, else its known columns to their text."""
        width = len(self.columns)
        for record in self._records:
            problem = record.problem
            if not problem and len(record.cells) != width:
                problem = f"it has {len(record.cells)} cells, the header has {width}"
            named = zip(self.columns, record.cells, strict=True) if not problem else ()
            yield record, problem, {n: cell.strip() for n, cell in named if n in self._known}


class CsvReading(CsvFile):
    """Each row stands for itself."""

    @abstractmethod
    def commands(self, cells: Mapping[str, str]) -> tuple[Command, ...]:
        """What a row stands for. cells: known column to its text. Raises InvalidInput."""

    def rows(self, source: str) -> Iterator[Row | Refused]:
        for record, problem, cells in self.cells():
            place = f"line {record.line}"
            if problem:
                yield Refused(place, problem, record.raw)
                continue
            try:
                yield Row(place, self.commands(cells), record.raw)
            except InvalidInput as error:
                yield Refused(place, str(error), record.raw)


_DIGITS: Final = re.compile(r"[0-9]{1,9}")


def count(cells: Mapping[str, str], field: str) -> int | None:
    """A small number that counts; None for an empty cell and for a column that is not there."""
    cell = cells.get(field, "")
    if not cell:
        return None
    if not _DIGITS.fullmatch(cell):
        validation.refuse(field, "it must be an integer", cell)
    return int(cell)
