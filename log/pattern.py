"""Patterns: predicates over facets. One compiled form serves tails, catch-up, replay and doors.

Text and typed patterns are two spellings of one thing:

    >>> from alphapulse.log.kinds import AssetClass
    >>> from alphapulse.log.pattern import Pattern, facet, where
    >>> typed = where(asset_class=AssetClass.TOKEN, chain="eip155:1") | facet("isin").prefix("US")
    >>> typed == Pattern.parse("isin=US* or class=token and chain=eip155:1")
    True
    >>> print(typed)
    isin=US* or class=token chain=eip155:1

`pattern_tree` says what terms mean, `pattern_parse` has the grammar, `pattern_columns` scans
blocks. A pattern has at most 4,096 bytes of text and nests at most 64 deep, however it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final, Protocol, TypeAlias

import msgspec

from .errors import PatternError
from .facets import facet_values
from .frame import Event
from .kinds import KIND_NAMES, AssetClass, Kind, Severity, Status, TradingStatus
from .numbers import Number
from .pattern_columns import (
    ColumnBlock,
    full,
    indexes,
    is_exact,
    kind_numbers,
    mask_bytes,
    scan_of,
)
from .pattern_parse import parse_text
from .pattern_tree import (
    COMPARE,
    DEPTH_MAX,
    DOING,
    NUMERIC_FACETS,
    SEVERITIES_BY_NAME,
    TEXT_SIZE_BYTES_MAX,
    AllOf,
    AnyOf,
    Node,
    Not,
    Operator,
    Term,
    Value,
    all_of,
    any_of,
    check_facet,
    depth_of,
    negate,
    quoted,
    term,
    terms_of,
)

Matcher: TypeAlias = Callable[[Event], bool]
Given: TypeAlias = str | int | Number | Kind | AssetClass | Status | TradingStatus | Severity
"""A value in a typed pattern: ids are integers, names are text or their enum."""
_ENUMS: Final[dict[str, tuple[type[IntEnum], ...]]] = {
    "kind": (Kind,), "class": (AssetClass,), "status": (Status, TradingStatus),
    "severity": (Severity,),
}  # fmt: skip


class EventBlock(ColumnBlock, Protocol):
    def events(self, start: int, stop: int) -> Iterator[Event]: ...
    def events_at(self, indexes: Sequence[int]) -> Iterator[Event]: ...


class Explanation(msgspec.Struct, frozen=True):
    """Why a pattern did or did not match; `str()` draws it, one line for each node."""

    text: str
    matched: bool
    values: tuple[str, ...] = ()
    """Of a term: the event's values of that facet."""
    parts: tuple[Explanation, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, level: int) -> Iterator[str]:
        has = "" if self.parts or not self.values else f"   the event has {', '.join(self.values)}"
        yield f"{'yes' if self.matched else 'no ':3} {'  ' * level}{self.text}{has}"
        for part in self.parts:
            yield from part._lines(level + 1)


class Pattern:
    """An immutable predicate over events; equal when its tree is.

    Combine with `&`, `|` and `~`. Making one costs some 20 µs a term; `matches` 0.1 µs a term on
    the header (kind, severity), plus decoding the body once for the rest.
    """

    __slots__ = ("_match", "_scan", "_text", "exact", "is_everything", "tree")

    def __init__(self, tree: Node) -> None:
        """From a tree of `pattern_tree`; raises PatternError when it is over the limits."""
        depth = depth_of(tree)
        if depth > DEPTH_MAX:
            raise PatternError(
                DOING, problem="it nests too deeply", cure=f"nest at most {DEPTH_MAX} deep"
            )
        self._text = str(tree)
        if len(self._text.encode()) > TEXT_SIZE_BYTES_MAX:
            raise PatternError(
                DOING, problem="it is too long", cure="shorten it or use several patterns",
                size_bytes=len(self._text.encode()), size_bytes_max=TEXT_SIZE_BYTES_MAX,
            )  # fmt: skip
        self.tree: Final = tree
        self.exact: Final = is_exact(tree)
        """Whether columns alone decide, so that `candidates` are the matches."""
        self.is_everything: Final = tree == AllOf(())
        self._match = matcher_of(tree)
        self._scan = scan_of(tree)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """From text; the empty text matches everything. Raises PatternError, naming the column."""
        return cls(parse_text(text))

    def matches(self, event: Event) -> bool:
        """Raises what decoding the event's body raises."""
        return self._match(event)

    def explain(self, event: Event) -> Explanation:
        """Evaluates every term, so it costs more than `matches` and says the same."""
        return _explain(self.tree, event)

    def candidates(self, block: ColumnBlock) -> list[int]:
        """Indexes, in order, that may match; all others certainly do not. Reads columns only."""
        return indexes(self._scan(block).may, len(block))

    def select(self, block: EventBlock, start: int = 0, stop: int | None = None) -> Iterator[Event]:
        """The matching events with indexes from `start` up to `stop`, in order.

        Only frames that may match are read, and only those that the columns leave open decoded.
        """
        count = len(block)
        stop = count if stop is None else min(stop, count)
        may, must = self._scan(block)
        if must == full(count):
            return block.events(start, stop)
        found = indexes(may, count)
        if start > 0 or stop < count:
            found = [index for index in found if start <= index < stop]
        events = block.events_at(found)
        if may == must:
            return events
        if not must:
            return filter(self._match, events)
        certain = mask_bytes(must, count)
        pairs = zip(found, events, strict=True)
        return (event for index, event in pairs if certain[index] or self._match(event))

    def terms(self) -> tuple[Term, ...]:
        """Every term of the tree, in the order of the text."""
        return terms_of(self.tree)

    def __and__(self, other: Pattern) -> Pattern:
        if not isinstance(other, Pattern):
            return NotImplemented
        return Pattern(all_of((self.tree, other.tree)))

    def __or__(self, other: Pattern) -> Pattern:
        if not isinstance(other, Pattern):
            return NotImplemented
        return Pattern(any_of((self.tree, other.tree)))

    def __invert__(self) -> Pattern:
        return Pattern(negate(self.tree))

    def __bool__(self) -> bool:
        # `p and q` and `1 < facet("bps") < 5` would silently drop a side.
        raise TypeError("a pattern is neither true nor false: combine with & | ~, compare to None")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash(self.tree)

    def __str__(self) -> str:
        """The canonical text, which parses back to an equal pattern."""
        return self._text

    def __repr__(self) -> str:
        return f"Pattern.parse({self._text!r})"

    def __reduce__(self) -> tuple[Callable[[str], Pattern], tuple[str]]:
        return Pattern.parse, (self._text,)


class Facet:
    """One facet, to make terms of: `facet("bps") > 50`, `facet("isin").prefix("US")`."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = check_facet(name)

    def any_of(self, *values: Given) -> Pattern:
        """Events that have one of these values; text is literal, a star has no meaning in it."""
        return self._pattern("=", (Value(_text(self.name, value)) for value in values))

    def prefix(self, *texts: str) -> Pattern:
        """Events with a value that starts like one of these; "" = any value at all."""
        return self._pattern("=", (Value(text, prefix=True) for text in texts))

    def __gt__(self, value: Given) -> Pattern:
        return self._pattern(">", (Value(_text(self.name, value)),))

    def __ge__(self, value: Given) -> Pattern:
        return self._pattern(">=", (Value(_text(self.name, value)),))

    def __lt__(self, value: Given) -> Pattern:
        return self._pattern("<", (Value(_text(self.name, value)),))

    def __le__(self, value: Given) -> Pattern:
        return self._pattern("<=", (Value(_text(self.name, value)),))

    def _pattern(self, operator: Operator, values: Iterable[Value]) -> Pattern:
        return Pattern(term(self.name, operator, values))


facet: Final = Facet


def where(**facets: Given | Iterable[Given]) -> Pattern:
    """Events that have all these facets: `where(kind="collision", asset_class=AssetClass.TOKEN)`.

    `asset_class` is the facet `class`. Several values mean any of them; no facets, everything.
    """
    trees = []
    for name, given in facets.items():
        values = [given] if isinstance(given, str | int | Number) else list(given)
        trees.append(Facet("class" if name == "asset_class" else name).any_of(*values).tree)
    return Pattern(all_of(trees))


def _text(facet: str, value: Given) -> str:
    """A typed value as the text that means it."""
    if isinstance(value, str):
        return value
    if isinstance(value, IntEnum):
        if type(value) in _ENUMS.get(facet, ()):
            return KIND_NAMES[value] if isinstance(value, Kind) else value.name.lower()
    elif facet == "instrument" and type(value) is int and value >= 0:
        return hex(value)
    elif facet in NUMERIC_FACETS and (type(value) is int or isinstance(value, Number)):
        return str(value)
    raise PatternError(
        DOING, problem=f"{facet} takes no {type(value).__name__} like {value!r}",
        cure="give text, an id for instrument, an enum of log/kinds.py for a name",
    )  # fmt: skip


def matcher_of(node: Node) -> Matcher:
    """The tree as a predicate; `Pattern.matches` is this."""
    if isinstance(node, Term):
        return _term_matcher(node)
    if isinstance(node, Not):
        inner = matcher_of(node.part)
        return lambda event: not inner(event)
    matchers = tuple(map(matcher_of, node.parts))
    outcome = isinstance(node, AnyOf)

    # Parts are sorted by cost, so the header decides before a body is decoded.
    def match(event: Event) -> bool:
        for part in matchers:
            if part(event) is outcome:
                return outcome
        return not outcome

    return match


def _term_matcher(term: Term) -> Matcher:
    facet = term.facet
    if facet == "kind":
        kinds = kind_numbers(term)
        return lambda event: event.kind in kinds
    if facet == "severity":
        severities = frozenset(SEVERITIES_BY_NAME[text] for text in term.texts)
        return lambda event: event.severity in severities
    if facet == "instrument":
        ids = term.ids
        return lambda event: not ids.isdisjoint(facet_values(event, facet))
    if facet in NUMERIC_FACETS:
        numbers, compare = term.numbers, COMPARE[term.operator]
        return lambda event: any(
            compare(value, number) for value in facet_values(event, facet) for number in numbers
        )
    texts, prefixes = term.texts, term.prefixes
    if not prefixes:
        return lambda event: not texts.isdisjoint(facet_values(event, facet))
    return lambda event: any(
        value and (value in texts or value.startswith(prefixes))
        for value in map(str, facet_values(event, facet))
    )


def _explain(node: Node, event: Event) -> Explanation:
    if isinstance(node, Term) or (isinstance(node, Not) and isinstance(node.part, Term)):
        inner = node if isinstance(node, Term) else node.part
        assert isinstance(inner, Term)
        shown = tuple(_shown(inner.facet, value) for value in _values(event, inner.facet))
        return Explanation(str(node), matcher_of(node)(event), shown or (f"no {inner.facet}",))
    if isinstance(node, Not):
        part = _explain(node.part, event)
        return Explanation("not", not part.matched, parts=(part,))
    parts = tuple(_explain(part, event) for part in node.parts)
    if isinstance(node, AllOf):
        text = "all of" if parts else "everything"
        return Explanation(text, all(part.matched for part in parts), parts=parts)
    text = "any of" if parts else "nothing"
    return Explanation(text, any(part.matched for part in parts), parts=parts)


def _values(event: Event, facet: str) -> tuple[str | int, ...]:
    # A kind that this version does not know still has a number to show.
    return (event.kind_name,) if facet == "kind" else facet_values(event, facet)


def _shown(facet: str, value: str | int) -> str:
    if isinstance(value, str):
        return quoted(value)
    return f"0x{value:016x}" if facet == "instrument" else str(value)
