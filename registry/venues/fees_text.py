"""Fee schedules as people write them, in TOML and as CSV.

    venues = ["binance"]               # to import it; `fees set` names the venue itself
    valid_from = "2026-04-01"          # optional, to import it: since when

    [[schedule]]
    products = ["spot"]                # optional: without, all that no other schedule names
    volume_unit = "USD"                # optional: what tiers are counted in
    volume_days = 30                   # optional: over how many days

    [[schedule.line]]
    side = "maker"                     # maker, taker or both
    value = "0.1"                      # 0.1 %; below zero a rebate

    [[schedule.line]]
    side = "maker"
    volume_from = "1000000"
    value = "0.08"

The other fields of a line are those of `FeeLine`. Numbers may stand without quotes: they are read
digit by digit and never become a float. A file is taken whole or refused whole, naming the line.

CSV has a row for each line, with the columns venue, products (with blanks between them),
volume_unit, volume_days, valid_from and those of a line. Rows of one venue, date and products are a
schedule, wherever they stand.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from alphapulse.log import AlphaPulseError, InvalidInput
from alphapulse.registry import validation

from .fees import FeeLine, FeeSchedule, fee_line, fee_schedule
from .hours_text import at
from .rules import schedules

_DAYS_LENGTH_MAX: Final = 9
_OF_A_VENUE: Final = frozenset({"venues", "valid_from"})
_FIELDS: Final = frozenset({"products", "volume_unit", "volume_days", "line"})


_LINE: Final = FeeLine.__struct_fields__


class VenueFees(NamedTuple):
    venue: str
    schedules: tuple[FeeSchedule, ...]
    valid_from: int
    """ns; 0 = since it is recorded."""


def read_fees(data: bytes) -> tuple[FeeSchedule, ...]:
    """The schedules of a file that names no venue. Raises InvalidInput."""
    table = _toml(data)
    if table.keys() & _OF_A_VENUE:
        raise InvalidInput(
            "reading fees", problem="the file itself names venues or a date",
            cure="`alphapulse import FILE` takes it, or leave these out",
        )  # fmt: skip
    return _schedules(table)


def read_venue_fees(data: bytes) -> tuple[VenueFees, ...]:
    """The schedules of a file for each venue that it names. Raises InvalidInput."""
    table = _toml(data)
    names = table.get("venues", [])
    if not isinstance(names, list) or not names:
        validation.refuse("venues", "it must list the venues", names, 'write venues = ["binance"]')
    found, begins = _schedules(table), _begins(table.get("valid_from", ""))
    venues = dict.fromkeys(validation.venue(name, "venues") for name in names)
    return tuple(VenueFees(venue, found, begins) for venue in venues)


def _begins(value: object) -> int:
    """TOML has dates of its own."""
    text = value.isoformat() if isinstance(value, date) else value
    return validation.time_ns(text, "valid_from")


def venue_fees(
    venue: str, rows: Iterable[tuple[int, Mapping[str, str]]]
) -> tuple[VenueFees, ...]:
    """What the rows of one venue in a CSV file say, for each date. rows: the line of each, and its
    cells by column. Raises InvalidInput, naming the line."""
    dated: dict[int, dict[str, list[FeeLine]]] = {}
    units: dict[tuple[int, str], tuple[str, str]] = {}
    for number, cells in rows:
        with at(f"line {number}"):
            begins = _begins(cells.get("valid_from", ""))
            products = " ".join(sorted(cells.get("products", "").split()))
            unit = cells.get("volume_unit", ""), cells.get("volume_days", "")
            if units.setdefault((begins, products), unit) != unit:
                validation.refuse("volume_unit", "this schedule has another one in a row before",
                                  " ".join(unit), "write it alike in all its rows")  # fmt: skip
            line = fee_line({name: cells.get(name, "") for name in _LINE})
            dated.setdefault(begins, {}).setdefault(products, []).append(line)
    found = []
    for begins, by_products in sorted(dated.items()):
        made = [
            fee_schedule(
                lines, products=products.split(), volume_unit=units[begins, products][0],
                volume_days=_days(units[begins, products][1]),
            )
            for products, lines in by_products.items()
        ]  # fmt: skip
        found.append(VenueFees(venue, schedules(made), begins))
    return tuple(found)


def _days(cell: str) -> int:
    if cell and not (cell.isascii() and cell.isdigit() and len(cell) <= _DAYS_LENGTH_MAX):
        validation.refuse("volume_days", "it must be an integer", cell)
    return int(cell or 0)


def _toml(data: bytes) -> dict[str, Any]:
    try:
        table = tomllib.loads(data.decode("utf-8-sig"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("reading fees", problem=str(error)[:200], cure="write TOML") from error
    if "schedule" not in table or table.keys() - {"schedule", *_OF_A_VENUE}:
        raise InvalidInput(
            "reading fees", problem="it has other tables than [[schedule]], or none",
            cure="write [[schedule]] and below it [[schedule.line]]",
        )  # fmt: skip
    return table


def _schedules(table: Mapping[str, Any]) -> tuple[FeeSchedule, ...]:
    return schedules(
        _schedule(number, each) for number, each in enumerate(_tables(table["schedule"]), 1)
    )


def _schedule(number: int, table: Mapping[str, Any]) -> FeeSchedule:
    place = f"schedule {number}"
    unknown = table.keys() - _FIELDS
    if unknown:
        raise InvalidInput(
            f"reading fees: {place}", problem=f"it has no field {sorted(unknown)[0][:40]!r}",
            cure=f"use {', '.join(sorted(_FIELDS))}",
        )  # fmt: skip
    lines = []
    for line_number, line in enumerate(_tables(table.get("line", [])), 1):
        try:
            lines.append(fee_line(line))
        except AlphaPulseError as error:
            error.doing = f"{place}, line {line_number}: {error.doing}"
            raise
    try:
        products = table.get("products", ())
        if not isinstance(products, list | tuple):
            raise InvalidInput("reading fees", problem="products is no list", cure='write ["spot"]')
        return fee_schedule(
            lines, products=products, volume_unit=table.get("volume_unit", ""),
            volume_days=table.get("volume_days", 0),
        )  # fmt: skip
    except AlphaPulseError as error:
        error.doing = f"{place}: {error.doing}"
        raise


def _tables(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidInput("reading fees", problem="there is a value where tables should be",
                           cure="write [[schedule]] and [[schedule.line]]")  # fmt: skip
    return value
