"""What each relation means, which have a ratio, and which can never lead back to where they start.

One table, `RULES`, that commands and `check` read alike. `A RELATION B` is read aloud: A wraps B,
A is a receipt of B, A succeeds B. A ratio N/D always says the same: *one A stands for N/D of B*.

That a chain of claims leads back to itself (A wraps B wraps A) is a mistake of somebody's, and one
that would send whoever unwraps it round for ever, so it is refused, with the way it goes. Only
links that hold at some time together with the new one count. `same_as` is an equivalence and may
go in circles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import gcd
from typing import Final, NamedTuple, Protocol

from alphapulse.log import RELATIONS_BY_NAME, RelationBody, RelationKind

from . import periods
from .validation import refuse

Ratio = tuple[int, int]


class Rule(NamedTuple):
    meaning: str
    ratio: str
    """any: an exact one, above zero; one: 1/1 and no other; none."""
    acyclic: bool = True


RULES: Final[dict[RelationKind, Rule]] = {
    RelationKind.UNDERLYING: Rule("A is a derivative of B", "none"),
    RelationKind.BRIDGED_FROM: Rule("A stands for B, which a bridge holds", "one"),
    RelationKind.WRAPS: Rule("A is B in another form, one for one", "one"),
    RelationKind.RECEIPT_OF: Rule("A is a claim on N/D of B: a depositary receipt", "any"),
    RelationKind.SUCCEEDS: Rule("A took the place of B, as after a change of ISIN", "any"),
    RelationKind.SAME_AS: Rule("A and B are one thing, registered twice", "none", acyclic=False),
    RelationKind.COMPONENT: Rule("B is in the basket A; the ratio is its weight", "any"),
}
"""Of links between two instruments: every relation but `grouped`."""
if RULES.keys() != set(RelationKind) - {RelationKind.GROUPED}:
    raise ImportError("every link between instruments needs its rule")

REACH_MAX: Final = 100_000
"""Instruments that are looked at for a way back. Who leads to more is refused."""
_I64_MAX: Final = (1 << 63) - 1
_RATIO: Final = re.compile(r"([0-9]{1,40})(?:/([0-9]{1,40}))?", re.ASCII)
LINKS: Final = tuple(kind.name.lower() for kind in RULES)


class Link(NamedTuple):
    """Where a relation leads, and when it holds."""

    other: int
    valid_from: int
    valid_to: int


def links_in(body: RelationBody) -> list[Link]:
    """One for each period."""
    return [Link(body.other, *period) for period in periods.periods_of(body)]


class Links(Protocol):
    def links_from(self, instrument: int, relation: int) -> Iterable[Link]:
        """The links of one relation that start at an instrument, once for each period, ended ones
        too."""


def link_named(name: object) -> RelationKind:
    """`wraps` gives WRAPS. Raises InvalidInput."""
    found = RELATIONS_BY_NAME.get(name.strip().lower()) if isinstance(name, str) else None
    if found not in RULES:
        refuse("relation", "there is no such relation", name, f"use one of {', '.join(LINKS)}")
    return found


def ratio_of(value: object, relation: RelationKind) -> Ratio | None:
    """`2/4` gives (1, 2), `10` gives (10, 1), None and empty text None. Raises InvalidInput."""
    if value is None or value == "":
        return None
    if RULES[relation].ratio == "none":
        refuse("ratio", f"{relation.name.lower()} has none", value, "leave it out")
    found = _RATIO.fullmatch(value.strip()) if isinstance(value, str) else None
    if type(value) is int:
        numerator, denominator = value, 1
    elif found is not None:
        numerator, denominator = int(found[1]), int(found[2] or 1)
    else:
        refuse("ratio", "it is no ratio", value, "write N/D, two integers above zero")
    if numerator <= 0 or denominator <= 0:
        refuse("ratio", "it must be above zero", value, "write N/D, two integers above zero")
    common = gcd(numerator, denominator)
    ratio = numerator // common, denominator // common
    if max(ratio) > _I64_MAX:
        refuse("ratio", f"its parts must be at most {_I64_MAX}", value)
    if RULES[relation].ratio == "one" and ratio != (1, 1):
        refuse(
            "ratio", f"{relation.name.lower()} is one for one", value,
            "a claim on another amount is receipt_of",
        )  # fmt: skip
    return ratio


def ratio_text(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio[0]}/{ratio[1]}"


def ratio_in(body: RelationBody) -> Ratio | None:
    """None when no ratio was said."""
    ratio = body.ratio_numerator, body.ratio_denominator
    return None if ratio == (1, 1) and not body.one_to_one else ratio


def ratio_fields(ratio: Ratio | None) -> dict[str, int | bool]:
    """The fields of a body that `ratio_in` reads."""
    numerator, denominator = ratio or (1, 1)
    return {
        "ratio_numerator": numerator, "ratio_denominator": denominator,
        "one_to_one": ratio == (1, 1),
    }  # fmt: skip


def flaw(body: RelationBody) -> str:
    """Which rule of its own a relation's state breaks; empty when it breaks none."""
    if broken := periods.flaw(body):
        return broken
    flaws = (_flaw_of_period(period) for period in periods.each_period(body))
    return next(filter(None, flaws), "")


def _flaw_of_period(body: RelationBody) -> str:
    numerator, denominator = body.ratio_numerator, body.ratio_denominator
    if not (0 < numerator <= _I64_MAX and 0 < denominator <= _I64_MAX):
        return "its ratio is not above zero"
    if gcd(numerator, denominator) != 1:
        return "its ratio is not in lowest terms"
    if body.one_to_one and (numerator, denominator) != (1, 1):
        return "its ratio is not one for one as it says"
    kind = RelationKind(body.relation)
    rule = "none" if kind == RelationKind.GROUPED else RULES[kind].ratio
    ratio = ratio_in(body)
    if ratio is not None and (rule == "none" or (rule == "one" and ratio != (1, 1))):
        return f"{kind.name.lower()} has no such ratio"
    if kind == RelationKind.GROUPED:
        return ""
    if body.instrument == body.other:
        return "it leads to itself"
    if kind == RelationKind.SAME_AS and body.instrument_fingerprint > body.other_fingerprint:
        return "its sides are not in the order of their fingerprints"
    return ""


def way_back(state: Links, body: RelationBody) -> list[int] | None:
    """Ids from the far end of a link back to where it starts: the circle that it would close.

    Empty when there is none, None when over REACH_MAX instruments would have to be looked at.
    Cost: 5 µs for each link on the way.
    """
    if not RULES[RelationKind(body.relation)].acyclic:
        return []
    came_from: dict[int, int | None] = {body.other: None}
    frontier = [body.other]
    while frontier:
        reached = []
        for instrument in frontier:
            for link in state.links_from(instrument, body.relation):
                if link.other in came_from or not _together(link, body):
                    continue
                came_from[link.other] = instrument
                if link.other == body.instrument:
                    return _path(came_from, link.other)
                if len(came_from) > REACH_MAX:
                    return None
                reached.append(link.other)
        frontier = reached
    return []


def _together(link: Link, body: RelationBody) -> bool:
    """Whether there is a time at which both hold."""
    known = link.valid_from, link.valid_to
    return not all(periods.apart(known, period) for period in periods.periods_of(body))


def _path(came_from: dict[int, int | None], end: int) -> list[int]:
    path, at = [], came_from[end]
    while at is not None:
        path.append(at)
        at = came_from[at]
    return path[::-1]
