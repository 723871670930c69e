"""Fee schedules as people write them, in TOML.

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
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from alphapulse.log import AlphaPulseError, InvalidInput

from .fees import FeeSchedule, fee_line, fee_schedule
from .rules import schedules

_FIELDS: Final = frozenset({"products", "volume_unit", "volume_days", "line"})


def read_fees(data: bytes) -> tuple[FeeSchedule, ...]:
    """Raises InvalidInput."""
    try:
        table = tomllib.loads(data.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("reading fees", problem=str(error)[:200], cure="write TOML") from error
    if table.keys() != {"schedule"}:
        raise InvalidInput(
            "reading fees", problem="it has other tables than [[schedule]], or none",
            cure="write [[schedule]] and below it [[schedule.line]]",
        )  # fmt: skip
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
