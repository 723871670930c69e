"""Trading hours as people write them: TOML, one file for the hours of one or more venues, and CSV,
one row for each rule and each phase of a special day.

    venues = ["XTKS"]                      # who keeps these hours
    zone = "Asia/Tokyo"
    holidays_to = "2027-12-31"             # optional: the last date whose special days are known
    always = false                         # true: 24/7, and then nothing else but the zone

    [[rule]]
    phase = "continuous"
    weekdays = "mon-fri"
    start = "12:30"
    end = "15:30"                          # 02:00+1 is 02:00 of the next day
    first = "2024-11-05"                   # optional, as is last

    [[day]]
    dates = ["2026-12-31"]                 # or date = "2026-12-31"
    reason = "market holiday"
    phases = ["continuous 09:00 11:30"]    # optional: without, it is closed

CSV has these as columns, in any order: venue, zone, phase, weekdays, start, end, first, last, date,
reason, holidays_to, always. A row with a date is of a special day, which is closed when the row has
no phase, and rows of one venue may stand anywhere. What holds for all rows of a venue (zone,
holidays_to, always) may be left out after its first row.

A file is taken whole or refused whole: hours without some of their holidays are wrong hours. Errors
name the place: the line, or the table and its number.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from io import StringIO
from itertools import groupby
from typing import Final, NamedTuple, NoReturn

from alphapulse.log import AlphaPulseError
from alphapulse.registry import validation

from .hours import Hours, HoursInvalid, Rule, Span, SpecialDay, define, rule, span, special_day

FILE_SIZE_BYTES_MAX: Final = 4 << 20
_RULE: Final = ("phase", "weekdays", "start", "end", "first", "last")
_DAY: Final = ("date", "dates", "reason", "phases")
_FILE: Final = ("venues", "zone", "holidays_to", "always", "rule", "day")
COLUMNS: Final = (
    "venue", "zone", *_RULE, "date", "reason", "holidays_to", "always",
)  # fmt: skip
_LINE_LENGTH_MAX: Final = 100


class VenueHours(NamedTuple):
    venue: str
    """A MIC, or a slug with its environment if that is not live."""
    hours: Hours


@contextmanager
def at(place: str) -> Iterator[None]:
    try:
        yield
    except AlphaPulseError as error:
        error.doing = f"{place}: {error.doing}"
        raise


def _refuse(problem: str, cure: str, **facts: object) -> NoReturn:
    raise HoursInvalid("reading hours", problem=problem, cure=cure, **facts)


def _text(data: bytes) -> str:
    if len(data) > FILE_SIZE_BYTES_MAX:
        _refuse(f"the file has {len(data)} bytes, at most {FILE_SIZE_BYTES_MAX} are read",
                "give each venue a file")  # fmt: skip
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"the file is not UTF-8 (byte {error.start})", "save it as UTF-8")


# --- TOML ------------------------------------------------------------------------------------


def read_toml(data: bytes) -> tuple[VenueHours, ...]:
    """The hours in a TOML file, the same for each venue that it names. Raises InvalidInput.

    A file may leave `venues` out, as the bundled hours of crypto venues do; then it gives none:
    use `hours_of_toml`.
    """
    table = _toml(data)
    hours = _hours(table)
    names = table.get("venues", [])
    if not isinstance(names, list) or not names:
        validation.refuse("venues", "it must list the venues", names, 'write venues = ["XNAS"]')
    venues = [validation.venue(name, "venues") for name in names]
    return tuple(VenueHours(venue, hours) for venue in dict.fromkeys(venues))


def hours_of_toml(data: bytes) -> Hours:
    """The hours in a TOML file, whoever keeps them. Raises InvalidInput."""
    return _hours(_toml(data))


def _toml(data: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(_text(data).replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        _refuse(f"it is not TOML: {error}", "correct it there")
    except RecursionError:
        _refuse("it is nested too deep", "write hours in it and nothing else")


def _hours(table: Mapping[str, object]) -> Hours:
    _check_names(table, _FILE, "the file")
    rules = [_toml_rule(number, each) for number, each in _tables(table, "rule")]
    days = [day for number, each in _tables(table, "day") for day in _toml_days(number, each)]
    always = table.get("always", False)
    if not isinstance(always, bool):
        validation.refuse("always", "it must be true or false", always)
    zone = table.get("zone", "UTC" if always else None)
    return define(zone, rules, days, holidays_to=_day(table.get("holidays_to", "")), always=always)


def _check_names(table: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for name in table:
        if name not in known:
            _refuse(f"{where} has an unknown name", f"use only {', '.join(known)}",
                    name=validation.shown(name))  # fmt: skip


def _tables(table: Mapping[str, object], name: str) -> Iterator[tuple[int, dict[str, object]]]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        _refuse(f"{name} must be tables", f"write each under [[{name}]]")
    yield from enumerate(found, 1)


def _toml_rule(number: int, table: Mapping[str, object]) -> Rule:
    with at(f"rule {number}"):
        _check_names(table, _RULE, "it")
        first, last = _day(table.get("first", "")), _day(table.get("last", ""))
        phase, weekdays, start, end = (table.get(name) for name in _RULE[:4])
        return rule(phase, weekdays, start, end, first, last)


def _toml_days(number: int, table: Mapping[str, object]) -> list[SpecialDay]:
    with at(f"day {number}"):
        _check_names(table, _DAY, "it")
        dates = table.get("dates", [table["date"]] if "date" in table else [])
        if not isinstance(dates, list) or not dates or ("dates" in table and "date" in table):
            _refuse("it must have either date or dates", 'write dates = ["2026-12-25"]')
        phases = table.get("phases", [])
        if not isinstance(phases, list):
            validation.refuse("phases", "it must be a list", phases, _PHASE_CURE)
        spans = [_span(each) for each in phases]
        return [special_day(_day(each), table.get("reason"), spans) for each in dates]


_PHASE_CURE: Final = 'write phases = ["continuous 09:00 11:30"]'


def _span(value: object) -> Span:
    words = validation.stripped(value, "phases").split()
    if len(words) != 3:
        validation.refuse("phases", "it is not a phase, its start and its end", value, _PHASE_CURE)
    return span(*words)


def _day(value: object) -> object:
    """A date of TOML as text; a time within a day is left for the check to refuse."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return value


def to_toml(hours: Hours, venues: Sequence[str] = ()) -> str:
    """The text that `read_toml` reads as these hours, in lines of at most 100 characters."""
    lines = _listed("venues", venues) if venues else []
    lines.append(f"zone = {_quoted(hours.zone)}")
    if hours.holidays_to:
        lines.append(f"holidays_to = {_quoted(hours.holidays_to)}")
    if hours.always:
        lines.append("always = true")
    for each in hours.rules:
        values = (each.phase, each.weekdays, each.start, each.end, each.first, each.last)
        named = zip(_RULE, values, strict=True)
        lines += ["", "[[rule]]", *(f"{name} = {_quoted(value)}" for name, value in named if value)]
    for (reason, phases), days in _alike(hours.days):
        lines += ["", "[[day]]", f"reason = {_quoted(reason)}", *_listed("dates", days)]
        if phases:
            lines += _listed("phases", [str(phase) for phase in phases])
    return "\n".join(lines) + "\n"


def _alike(
    days: Iterable[SpecialDay],
) -> Iterator[tuple[tuple[str, tuple[Span, ...]], list[str]]]:
    """Dates by reason and phases."""
    in_order = sorted(days, key=lambda day: (day.reason, day.phases, day.date))
    for key, group in groupby(in_order, key=lambda day: (day.reason, day.phases)):
        yield key, [day.date for day in group]


def _listed(name: str, values: Iterable[str]) -> list[str]:
    items = [f"{_quoted(value)}," for value in values]
    one_line = f"{name} = [{' '.join(items)[:-1]}]"
    if len(one_line) <= _LINE_LENGTH_MAX:
        return [one_line]
    lines = [""]
    for item in items:
        if len(lines[-1]) + 1 + len(item) > _LINE_LENGTH_MAX - 4:
            lines.append("")
        lines[-1] += f" {item}" if lines[-1] else item
    return [f"{name} = [", *(f"    {line}" for line in lines), "]"]


def _quoted(text: str) -> str:
    """Controls never come here: `validation.text` refuses them."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- CSV -------------------------------------------------------------------------------------


class HoursRows:
    """What the rows of one venue say. `add` takes the cells of each, `hours` says it whole; both
    raise InvalidInput."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.said: dict[str, str] = {}
        self.rules: list[Rule] = []
        self.days: dict[tuple[str, str], list[Span]] = {}
        self.closed: set[str] = set()

    def add(self, cells: Mapping[str, str]) -> None:
        for name in ("zone", "holidays_to", "always"):
            cell = cells[name]
            if cell and self.said.setdefault(name, cell) != cell:
                _refuse(
                    f"this venue has another {name} in a row before",
                    "write it alike in all its rows, or in the first only",
                    this=validation.shown(cell), before=validation.shown(self.said[name]),
                )  # fmt: skip
        if cells["date"]:
            self._add_day(cells)
        elif cells["reason"]:
            _refuse("it has a reason and no date", "give the date of the special day")
        elif any(cells[name] for name in _RULE):
            self.rules.append(rule(*(cells[name] for name in _RULE)))

    def _add_day(self, cells: Mapping[str, str]) -> None:
        for name in ("weekdays", "first", "last"):
            if cells[name]:
                _refuse(f"it has a date and {name}", "write a special day and a rule as two rows")
        is_closed = not any(cells[name] for name in ("phase", "start", "end"))
        spans = [] if is_closed else [span(cells["phase"], cells["start"], cells["end"])]
        day = special_day(cells["date"], cells["reason"], spans)
        known = self.days.setdefault((day.date, day.reason), [])
        if day.date in self.closed or (is_closed and known):
            _refuse("the date is closed in one row and has another row", "keep one of them",
                    date=day.date)  # fmt: skip
        known += spans
        if is_closed:
            self.closed.add(day.date)

    def hours(self) -> Hours:
        always = self.said.get("always", "").lower()
        if always not in ("", "no", "false", "yes", "true"):
            validation.refuse("always", "it must be yes or no", always)
        is_always = always in ("yes", "true")
        days = [special_day(day, reason, spans) for (day, reason), spans in self.days.items()]
        return define(
            self.said.get("zone", "UTC" if is_always else ""), self.rules, days,
            holidays_to=self.said.get("holidays_to", ""), always=is_always,
        )  # fmt: skip


def read_csv(data: bytes) -> tuple[VenueHours, ...]:
    """The hours in a CSV file, by venue. Raises InvalidInput, naming the line."""
    rows: dict[str, HoursRows] = {}
    for line, cells in _csv_rows(_text(data)):
        with at(f"line {line}"):
            venue = validation.venue(cells["venue"])
            rows.setdefault(venue, HoursRows(line)).add(cells)
    found = []
    for venue, each in rows.items():
        with at(f"{venue}, from line {each.line}"):
            found.append(VenueHours(venue, each.hours()))
    if not found:
        _refuse("it has no row", "give each rule a row")
    return tuple(found)


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        columns = [cell.strip().lower() for cell in next(reader, [])]
        _check_names(dict.fromkeys(columns), COLUMNS, "the header")
        if "venue" not in columns or len(set(columns)) < len(columns):
            _refuse("the header must have a column venue and each column once",
                    f"name the columns in the first line: {', '.join(COLUMNS)}")  # fmt: skip
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                _refuse(f"line {reader.line_num} has {len(cells)} cells, the header {len(columns)}",
                        "give each row a cell for each column")  # fmt: skip
            named = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
            yield reader.line_num, {name: named.get(name, "") for name in COLUMNS}
    except csv.Error as error:
        _refuse(f"line {reader.line_num} is not CSV: {error}", "correct it there")
