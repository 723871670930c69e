"""Where a pattern is filed in an index: paths of facet values that an event must have.

A tree is brought to a disjunction of conjunctions of terms and negated terms. Each conjunction
becomes paths, one for each combination of its alternatives: steps from the rarest facet to the
commonest, each a value, a prefix or a bound. What no step can say (a negated term, a part that
would unfold into too many conjunctions) stays as a rest, to be asked of the events that the path
leads to. So the conjunctions are bounded, and whatever is left unfolded costs time, never a match.

Events come in three families by what their bodies hold, and a conjunction is filed only where it
can hold at all: `isin=US*` never meets a listing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain, product
from typing import Final, NamedTuple

from .bodies import BODY_TYPES
from .facets import FACETS
from .kinds import CLASSES_BY_NAME, INSTRUMENT_KINDS, LISTING_KINDS, STATUSES_BY_NAME
from .pattern_columns import kind_numbers
from .pattern_tree import (
    NUMERIC_FACETS,
    SEVERITIES_BY_NAME,
    AllOf,
    AnyOf,
    Node,
    Not,
    Term,
    all_of,
    any_of,
    negate,
)

CONJUNCTIONS_MAX: Final = 256
"""A tree that unfolds into more keeps the part that does it as a rest."""
COMBINATIONS_MAX: Final = 64
"""Alternatives of several facets multiply; beyond this the commoner facet becomes a rest."""
AT: Final = {facet: place for place, facet in enumerate(FACETS)}
_RARITY: Final = (
    "instrument", "isin", "symbol", "venue", "chain", "source", "currency", "class", "status",
    "kind", "severity", "bps", "move_bps",
)  # fmt: skip
"""From the facet whose values are rarest to the commonest, so that nearly every path that an
event does not match ends at its first step."""
if sorted(_RARITY) != sorted(FACETS):
    raise ImportError("every facet needs a place in the order of rarity")
_RANK: Final = {facet: rank for rank, facet in enumerate(_RARITY)}
_NUMBERS: Final[dict[str, dict[str, int]]] = {
    "class": {name: int(value) for name, value in CLASSES_BY_NAME.items()},
    "status": {name: int(value) for name, value in STATUSES_BY_NAME.items()},
    "severity": {name: int(value) for name, value in SEVERITIES_BY_NAME.items()},
}
"""Names that an event holds as numbers."""
_EVERY: Final = frozenset({"kind", "severity", "source", "class", "instrument"}) | NUMERIC_FACETS
_LISTED: Final = _EVERY | {"venue", "symbol", "currency", "status"}


class Family(NamedTuple):
    """Kinds with the same facets."""

    kinds: frozenset[int]
    facets: frozenset[str]
    several: frozenset[str]
    """Facets of which an event may have more than one value."""
    open: bool = False
    """Kinds that this version does not know belong here too."""


INSTRUMENTS: Final = Family(
    frozenset(map(int, INSTRUMENT_KINDS)), _LISTED | {"chain", "isin"}, NUMERIC_FACETS
)
LISTINGS: Final = Family(frozenset(map(int, LISTING_KINDS)), _LISTED, NUMERIC_FACETS)
OTHERS: Final = Family(
    frozenset(BODY_TYPES) - INSTRUMENTS.kinds - LISTINGS.kinds, _EVERY,
    NUMERIC_FACETS | {"instrument"}, open=True,
)  # fmt: skip
FAMILIES: Final = (INSTRUMENTS, LISTINGS, OTHERS)


class Step(NamedTuple):
    """The event has this value (=), one that starts so (*), or one beyond this bound."""

    at: int
    """The facet, as its place in FACETS."""
    how: str
    value: str | int | Decimal


class Filing(NamedTuple):
    path: tuple[Step, ...]
    rest: Node
    """What the path does not say; EVERYTHING when it says all."""


def filings(tree: Node, family: Family) -> list[Filing]:
    """Of all events of the family, those match that meet one of these, path and rest."""
    found = chain.from_iterable(_filed(each, family) for each in conjunctions(tree))
    return list(dict.fromkeys(found))


def conjunctions(node: Node) -> list[frozenset[Node]]:
    """The tree holds when all nodes of one of these hold; at most CONJUNCTIONS_MAX."""
    if isinstance(node, Not) and not isinstance(node.part, Term):
        opposite = any_of if isinstance(node.part, AllOf) else all_of
        assert isinstance(node.part, AllOf | AnyOf)
        return conjunctions(opposite(map(negate, node.part.parts)))
    if isinstance(node, Term | Not):
        return [frozenset((node,))]
    parts = [(part, conjunctions(part)) for part in node.parts]
    if isinstance(node, AnyOf):
        either = list(dict.fromkeys(chain.from_iterable(each for _, each in parts)))
        return either if len(either) <= CONJUNCTIONS_MAX else [frozenset((node,))]
    both: list[frozenset[Node]] = [frozenset()]
    for part, each in sorted(parts, key=lambda pair: len(pair[1])):
        if len(both) * len(each) > CONJUNCTIONS_MAX:
            each = [frozenset((part,))]
        both = list(dict.fromkeys(one | other for one in both for other in each))
    return both


def _filed(conjunction: frozenset[Node], family: Family) -> Iterable[Filing]:
    """Its paths and what they leave; none when no event of the family can meet it."""
    rest: list[Node] = []
    about_kind: list[Node] = []
    choices: list[tuple[list[Node], list[Step]]] = []
    for node in conjunction:
        term = node.part if isinstance(node, Not) else node
        if not isinstance(term, Term):
            rest.append(node)
        elif term.facet == "kind":
            about_kind.append(node)
        elif term.facet not in family.facets:
            if node is term:
                return ()
        elif node is term:
            choices.append(([term], _alternatives(term)))
        else:
            rest.append(node)
    if about_kind:
        kinds, unknown = _kinds(about_kind, family)
        if unknown:
            rest.extend(about_kind)
        elif family.open or kinds != family.kinds:
            steps = [Step(AT["kind"], "=", kind) for kind in sorted(kinds)]
            choices.append((about_kind, steps))
    return _paths(choices, rest)


def _paths(choices: list[tuple[list[Node], list[Step]]], rest: list[Node]) -> Iterator[Filing]:
    """One for each combination of alternatives, as far as these stay few."""
    kept: list[list[Step]] = []
    count = 1
    for nodes, steps in sorted(choices, key=_rank):
        if kept and count * len(steps) > COMBINATIONS_MAX:
            rest.extend(nodes)
        else:
            kept.append(steps)
            count *= len(steps)
    left = all_of(rest)
    return (Filing(path, left) for path in product(*kept))


def _rank(choice: tuple[list[Node], list[Step]]) -> tuple[int, int]:
    """Of the same facet, what has fewer alternatives first; none means that nothing can match."""
    _, steps = choice
    return (_RANK[FACETS[steps[0].at]], len(steps)) if steps else (-1, 0)


def _kinds(about_kind: list[Node], family: Family) -> tuple[frozenset[int], bool]:
    """The known kinds that these leave, and whether those of newer versions stay too."""
    kinds, unknown = family.kinds, family.open
    for node in about_kind:
        if isinstance(node, Not):
            assert isinstance(node.part, Term)
            kinds -= kind_numbers(node.part)
        else:
            assert isinstance(node, Term)
            kinds &= kind_numbers(node)
            unknown = False
    return kinds, unknown


def _alternatives(term: Term) -> list[Step]:
    """The steps of which an event that meets the term has at least one."""
    at = AT[term.facet]
    if term.operator != "=":
        return [Step(at, term.operator, term.numbers[0])]
    if term.facet in NUMERIC_FACETS:
        return [Step(at, "=", value) for value in sorted(term.numbers)]
    if term.facet == "instrument":
        return [Step(at, "=", id) for id in sorted(term.ids)]
    numbers = _NUMBERS.get(term.facet)
    if numbers is not None:
        return [Step(at, "=", numbers[text]) for text in sorted(term.texts)]
    exact = [Step(at, "=", text) for text in sorted(term.texts)]
    return exact + [Step(at, "*", text) for text in term.prefixes]
