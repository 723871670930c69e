"""Instruments that a home knows, as registrations that say the same: what JSON Lines share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, NamedTuple

from alphapulse.registry.commands import Register
from alphapulse.registry.facts import DERIVED
from alphapulse.registry.instruments import class_named, from_mapping

from .base import Line, Row

UNSAID: Final = "no registration says the same (is its birth identifier replaced?)"
UNSAID_CURE: Final = "register and amend it by hand"


def registration(name: str, values: Mapping[str, object], **more: object) -> Register:
    """values: the facts of an instrument of the class of this name. more: `status`, `valid_from`.
    Raises InvalidInput when there is none."""
    fields: dict[str, Any] = {f: v for f, v in values.items() if f not in DERIVED}
    if name == "coin" and str(fields.get("address")).isdecimal():
        fields["slip44"] = int(fields.pop("address"))
        fields.pop("namespace", None)
    elif name == "currency" and "code" not in fields and "currency" in fields:
        fields["code"] = fields.pop("currency")
    return Register.of(from_mapping(class_named(name), {**fields, **more}))


def raw(line: Line) -> str:
    return line.data.decode("utf-8", "backslashreplace").rstrip("\r\n")


class Synthetic(NamedTuple):
    id: int
    uses: tuple[int, ...]
    row: Row


def in_order(synthetics: list[Synthetic]) -> Iterator[Row]:
    """Each behind those it is made of. In a circle, which no home holds, as they stand in the file:
    the registry refuses what it must."""
    rows: dict[int, list[Row]] = {}
    for each in synthetics:
        rows.setdefault(each.id, []).append(each.row)
    uses = {each.id: [id for id in each.uses if id in rows] for each in synthetics}
    try:
        order = list(TopologicalSorter(uses).static_order())
    except CycleError:
        order = list(rows)
    for id in order:
        yield from rows[id]
