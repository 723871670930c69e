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

from collections.abc import Iterable
from decimal import Decimal
from itertools import chain, product
from typing import Final, NamedTuple

from .bodies import BODY_TYPES
from .facets import FACETS
from .kinds import (
    CLASSES_BY_NAME,
    INSTRUMENT_KINDS,
    LISTING_KINDS,
    PROPOSAL_KINDS,
    SAMPLE_KINDS,
    STATUS_WORDS,
    VENUE_KINDS,
    Kind,
)
from .pattern_columns import kind_numbers
from .pattern_tree import (
    EVERYTHING,
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
COMBINATIONS_MAX: Final = 16
"""Alternatives of several parts or facets multiply: beyond this only the widest part and the
rarest facet are unfolded, which are worth it, and the others become a rest."""
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
COMMON: Final = frozenset(
    AT[facet] for facet in FACETS
    if facet not in {"instrument", "isin", "symbol"} and facet not in NUMERIC_FACETS
)  # fmt: skip
"""Facets, as their places, of which few values come again and again."""
_NUMBERS: Final[dict[str, dict[str, int]]] = {
    "class": {name: int(value) for name, value in CLASSES_BY_NAME.items()},
    "status": STATUS_WORDS,
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


_KINDS: Final = frozenset(BODY_TYPES)
INSTRUMENTS: Final = Family(
    frozenset(map(int, INSTRUMENT_KINDS)), _LISTED | {"chain", "isin"}, NUMERIC_FACETS
)
LISTINGS: Final = Family(frozenset(map(int, LISTING_KINDS)), _LISTED, NUMERIC_FACETS)
PROPOSALS: Final = Family(
    frozenset(map(int, PROPOSAL_KINDS)),
    _EVERY | {"chain", "venue", "isin", "symbol", "currency"}, NUMERIC_FACETS,
)  # fmt: skip
VENUES: Final = Family(
    frozenset(map(int, VENUE_KINDS | {Kind.VENUE_WARNING})) | frozenset(SAMPLE_KINDS),
    _EVERY | {"venue", "currency", "status"}, NUMERIC_FACETS,
)  # fmt: skip
OTHERS: Final = Family(
    _KINDS - INSTRUMENTS.kinds - LISTINGS.kinds - PROPOSALS.kinds - VENUES.kinds, _EVERY,
    NUMERIC_FACETS | {"instrument"}, open=True,
)  # fmt: skip
FAMILIES: Final = (INSTRUMENTS, LISTINGS, PROPOSALS, VENUES, OTHERS)
if any(NUMERIC_FACETS - family.several for family in FAMILIES):
    raise ImportError("below common facets, an index expects facets with several values only")


class Step(NamedTuple):
    """The event has this value (=), one that starts so (*), or one beyond this bound."""

    at: int
    """The facet, as its place in FACETS."""
    how: str
    value: str | int | Decimal


class Filing(NamedTuple):
    path: tuple[Step, ...]
    rest: Node
    """What the path does not say; the very EVERYTHING when it says all."""


def _is_literal(node: Node) -> bool:
    return isinstance(node.part if isinstance(node, Not) else node, Term)


class Choice(NamedTuple):
    """What terms of one facet ask: an event that meets them has at least one of the steps."""

    facet: str
    nodes: tuple[Node, ...]
    steps: list[Step]


def filings(tree: Node) -> tuple[list[Filing], ...]:
    """For each of FAMILIES: of its events, those match that meet one of these, path and rest."""
    found = [_filings_of(conjunction) for conjunction in conjunctions(tree)]
    if len(found) == 1:
        return found[0]
    joined = (list(dict.fromkeys(chain.from_iterable(lists))) for lists in zip(*found, strict=True))
    return tuple(joined) if found else tuple([] for _ in FAMILIES)


def conjunctions(node: Node) -> list[frozenset[Node]]:
    """The tree holds when all nodes of one of these hold; at most CONJUNCTIONS_MAX."""
    if _is_literal(node):
        return [frozenset((node,))]
    if isinstance(node, Not):
        assert isinstance(node.part, AllOf | AnyOf)
        opposite = any_of if isinstance(node.part, AllOf) else all_of
        return conjunctions(opposite(map(negate, node.part.parts)))
    assert isinstance(node, AllOf | AnyOf)
    if isinstance(node, AllOf) and all(map(_is_literal, node.parts)):
        return [frozenset(node.parts)]
    parts = [(part, conjunctions(part)) for part in node.parts]
    if isinstance(node, AnyOf):
        either = list(dict.fromkeys(chain.from_iterable(each for _, each in parts)))
        return either if len(either) <= CONJUNCTIONS_MAX else [frozenset((node,))]
    both: list[frozenset[Node]] = [frozenset()]
    for part, each in sorted(parts, key=lambda pair: len(pair[1]), reverse=True):
        if len(both) > 1 and len(each) > 1 and len(both) * len(each) > COMBINATIONS_MAX:
            each = [frozenset((part,))]
        both = list(dict.fromkeys(one | other for one in both for other in each))
    return both


def _filings_of(conjunction: Iterable[Node]) -> tuple[list[Filing], ...]:
    about_kind: list[Node] = []
    rest: list[Node] = []
    choices: list[Choice] = []
    for node in conjunction:
        term = node.part if isinstance(node, Not) else node
        if not isinstance(term, Term):
            rest.append(node)
        elif term.facet == "kind":
            about_kind.append(node)
        elif node is term:
            choices.append(Choice(term.facet, (node,), _alternatives(term)))
        else:
            rest.append(node)
    choices.sort(key=_rank)
    kinds, unknown = _kinds(about_kind)
    found: list[list[Filing]] = []
    for family in FAMILIES:
        here = kinds & family.kinds
        left = [node for node in rest if not _always_holds(node, family)]
        if not family.facets.issuperset([choice.facet for choice in choices]):
            found.append([])
        elif here == family.kinds and (unknown or not family.open):
            found.append(_paths(choices, left))
        elif unknown and family.open:
            found.append(_paths(choices, left + about_kind))
        else:
            steps = [Step(AT["kind"], "=", kind) for kind in here]
            of_kind = Choice("kind", tuple(about_kind), steps)
            found.append(_paths(sorted([*choices, of_kind], key=_rank), left))
    return tuple(found)


def _always_holds(node: Node, family: Family) -> bool:
    """No event of the family has what it refuses."""
    return (
        isinstance(node, Not)
        and isinstance(node.part, Term)
        and node.part.facet not in family.facets
    )


def _paths(choices: list[Choice], rest: list[Node]) -> list[Filing]:
    """One for each combination of alternatives, as far as these stay few."""
    kept: list[list[Step]] = []
    left = list(rest)
    count = 1
    for _, nodes, steps in choices:
        if kept and count * len(steps) > COMBINATIONS_MAX:
            left.extend(nodes)
        else:
            kept.append(steps)
            count *= len(steps)
    asked = all_of(left) if left else EVERYTHING
    return [Filing(path, asked) for path in product(*kept)]


def _rank(choice: Choice) -> tuple[int, int]:
    """Of one facet, what has fewer alternatives first."""
    return _RANK[choice.facet], len(choice.steps)


def _kinds(about_kind: list[Node]) -> tuple[frozenset[int], bool]:
    """The known kinds that these leave, and whether those of newer versions stay too."""
    kinds, unknown = _KINDS, True
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
        return [Step(at, "=", value) for value in dict.fromkeys(term.numbers)]
    if term.facet == "instrument":
        return [Step(at, "=", id) for id in term.ids]
    numbers = _NUMBERS.get(term.facet)
    if numbers is not None:
        return [Step(at, "=", numbers[text]) for text, _ in term.values]
    exact = [Step(at, "=", text) for text in term.texts]
    return exact + [Step(at, "*", text) for text in term.prefixes]
