"""Which of many patterns an event matches, at a cost that follows the matches.

Every pattern is filed (`pattern_filing`) under paths of facet values, from the rarest facet to
the commonest, and the paths form a tree: a node has one table for each facet that goes on from
it, from value to node. An event walks down all the branches that its own values open, all at
once: it costs a lookup in each table that it meets, however many patterns stand in the table. At
each node it collects the keys whose paths end there, after asking what a path could not say.

The invariant: a key is found exactly when one of its pattern's filings is met, so the walk needs
every branch that the event may open. What breaks it is a facet read here in another way than
`Pattern.matches` does (`facets.py`); the tests hold the two against each other. The number of
nodes met is bounded by the combinations of facets and the lengths of prefixes that patterns use,
and by the bounds that are met, not by the patterns (Aguilera et al., "Matching events in a
content-based subscription system", PODC 1999).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from .facets import FACETS
from .frame import Event
from .index_readers import ROWS
from .pattern import Matcher, Pattern, matcher_of
from .pattern_filing import FAMILIES, Family, Filing, Step, filings
from .pattern_tree import EVERYTHING, Node

Key = TypeVar("Key", bound=Hashable)
_UNREAD: Final = object()
_NOTHING_READ: Final[list[Any]] = [_UNREAD] * len(FACETS)


class IndexStatistics(NamedTuple):
    patterns: int
    filings: int
    """Places where keys stand; one pattern may need several."""
    checked: int
    """Filings with a rest that is asked of each event which comes by."""
    unguarded: int
    """Of these, the ones that every event of a family comes by."""


class PatternIndex(Generic[Key]):
    """Patterns by key, any hashable; `keys(event)` are those whose pattern matches.

    `add` costs 20 to 60 µs and 1 KiB, more for patterns with many alternatives; `keys` 0.7 µs,
    0.2 µs for each combination of facets that comes near, and 0.5 µs for each rest asked, plus
    decoding a body where a pattern needs more than an instrument's message. Not safe
    for use by two threads at once: the caller locks.
    """

    def __init__(self) -> None:
        self._patterns: dict[Key, Pattern] = {}
        self._trees: Final = tuple(_Tree[Key](family) for family in FAMILIES)
        self._tree_of_kind = {kind: tree for tree in self._trees for kind in tree.family.kinds}
        (self._tree_of_others,) = (tree for tree in self._trees if tree.family.open)

    def __len__(self) -> int:
        return len(self._patterns)

    def add(self, key: Key, pattern: Pattern) -> None:
        """Takes the place of the pattern that the key had, if any."""
        self.discard(key)
        self._patterns[key] = pattern
        for tree, filed in zip(self._trees, filings(pattern.tree), strict=True):
            tree.add(key, filed)

    def discard(self, key: Key) -> None:
        """Does nothing when there is no such key."""
        pattern = self._patterns.pop(key, None)
        if pattern is not None:
            for tree, filed in zip(self._trees, filings(pattern.tree), strict=True):
                tree.discard(key, filed)

    def keys(self, event: Event) -> list[Key]:
        """Each key whose pattern matches, once, in any order.

        Raises what decoding the event's body raises, if any pattern needs to look there.
        """
        tree = self._tree_of_kind.get(event.kind, self._tree_of_others)
        readers = tree.readers
        held = _NOTHING_READ.copy()
        found = list(tree.root.ends or ())
        nodes = [tree.root]
        for node in nodes:  # which grows while the walk goes down
            for at, table in node.tables:
                value = held[at]
                if value is _UNREAD:
                    value = held[at] = readers[at](event, held)
                below = table.get(value)
                if below is not None:
                    if below.keys:
                        found += below.keys
                    elif below.keys is None:
                        found += below.list_keys()
                    if below.leads_on:
                        nodes.append(below)
            if node.openings:
                for at, opened_by in node.openings:
                    value = held[at]
                    if value is _UNREAD:
                        value = held[at] = readers[at](event, held)
                    if value:
                        for below in opened_by(value):
                            found += below.list_keys() if below.keys is None else below.keys
                            nodes.append(below)
            if node.rests:
                for matches, keys in node.rests.values():
                    if matches(event):
                        found += keys
        return list(dict.fromkeys(found)) if tree.overlapping and len(found) > 1 else found

    def statistics(self) -> IndexStatistics:
        trees = self._trees
        return IndexStatistics(
            len(self._patterns), sum(tree.filings for tree in trees),
            sum(tree.checked for tree in trees), sum(tree.unguarded for tree in trees),
        )  # fmt: skip


class _Tree(Generic[Key]):
    """The paths of one family."""

    def __init__(self, family: Family) -> None:
        self.family: Final = family
        self.readers: Final = ROWS[family]
        self.root: Final = _Node[Key]()
        self.filings = self.checked = self.unguarded = 0
        self.overlapping = 0
        """Patterns of which an event may meet several filings."""

    def add(self, key: Key, filed: Sequence[Filing]) -> None:
        for filing in filed:
            node = self.root
            for step in filing.path:
                node = node.below(step, several=self._has_several(step))
            node.put(key, filing.rest)
        self._count(filed, 1)

    def discard(self, key: Key, filed: Sequence[Filing]) -> None:
        for filing in filed:
            self._discard(self.root, filing.path, key, filing.rest)
        self._count(filed, -1)

    def _discard(self, node: _Node[Key], path: Sequence[Step], key: Key, rest: Node) -> None:
        """Takes the key away, and each node on the way back that is empty then."""
        if not path:
            node.take(key, rest)
            return
        assert node.ways is not None
        step = path[0]
        below = node.ways[step.at, step.how].nodes[step.value]
        self._discard(below, path[1:], key, rest)
        if below.is_empty:
            node.cut(step)

    def _has_several(self, step: Step) -> bool:
        return FACETS[step.at] in self.family.several

    def _count(self, filed: Sequence[Filing], by: int) -> None:
        self.filings += by * len(filed)
        for path, rest in filed:
            if rest is not EVERYTHING:
                self.checked += by
                self.unguarded += by * (not path)
        if len(filed) > 1 and not self._exclude(filed):
            self.overlapping += by

    def _exclude(self, filed: Sequence[Filing]) -> bool:
        """Whether an event can meet one of these at most: they want other values of one facet."""
        steps = [step for filing in filed for step in filing.path]
        return (
            len({filing.path for filing in filed}) == len(filed)
            and len({tuple(step.at for step in filing.path) for filing in filed}) == 1
            and not any(step.how != "=" or self._has_several(step) for step in steps)
        )


class _Node(Generic[Key]):
    """Where the paths that have come this far end or part. Nearly all are leaves of one key, so
    what a leaf does not need is None."""

    __slots__ = ("ends", "keys", "leads_on", "openings", "rests", "tables", "ways")

    def __init__(self) -> None:
        self.ends: dict[Key, None] | None = None
        """Whose path ends here and says all."""
        self.keys: list[Key] | None = []
        """The same, as what is quickest to add to a list; None when `ends` changed since."""
        self.leads_on = False
        """Whether there is anything but keys, or was."""
        self.rests: dict[Node, tuple[Matcher, dict[Key, None]]] | None = None
        """Whose path ends here, by what it leaves to ask: once for all that leave the same."""
        self.ways: dict[tuple[int, str], _Way[Key]] | None = None
        """Ways on, by facet and how a step tells its values."""
        self.tables: tuple[tuple[int, dict[Any, _Node[Key]]], ...] = ()
        """Of these, the ones where a value opens one node at most."""
        self.openings: tuple[tuple[int, Callable[[Any], Iterable[_Node[Key]]]], ...] = ()
        """The others, as what gives the nodes that a value opens."""

    @property
    def is_empty(self) -> bool:
        return not (self.ends or self.rests or self.ways)

    def list_keys(self) -> list[Key]:
        keys = self.keys = list(self.ends or ())
        return keys

    def put(self, key: Key, rest: Node) -> None:
        if rest is EVERYTHING:
            self.ends = self.ends or {}
            self.ends[key] = None
            self.keys = None
            return
        self.leads_on = True
        self.rests = self.rests or {}
        if rest not in self.rests:
            self.rests[rest] = (matcher_of(rest), {})
        self.rests[rest][1][key] = None

    def take(self, key: Key, rest: Node) -> None:
        if rest is EVERYTHING:
            assert self.ends is not None
            del self.ends[key]
            self.keys = None
            return
        assert self.rests is not None
        keys = self.rests[rest][1]
        del keys[key]
        if not keys:
            del self.rests[rest]

    def below(self, step: Step, *, several: bool) -> _Node[Key]:
        """The node that the step leads to, made if there is none."""
        self.leads_on = True
        self.ways = self.ways or {}
        way = self.ways.get((step.at, step.how))
        if way is None:
            way = self.ways[step.at, step.how] = _way(step.how, several=several)
            self._arrange()
        node = way.nodes.get(step.value)
        return way.grow(step.value) if node is None else node

    def cut(self, step: Step) -> None:
        assert self.ways is not None
        way = self.ways[step.at, step.how]
        way.cut(step.value)
        if not way.nodes:
            del self.ways[step.at, step.how]
            self._arrange()

    def _arrange(self) -> None:
        assert self.ways is not None
        ways = [(at, way) for (at, _), way in self.ways.items()]
        self.tables = tuple((at, way.nodes) for at, way in ways if type(way) is _Way)
        self.openings = tuple((at, way.open) for at, way in ways if type(way) is not _Way)


class _Way(Generic[Key]):
    """Nodes by the value that opens them: this one, of a facet with one value at most."""

    def __init__(self) -> None:
        self.nodes: Final[dict[Any, _Node[Key]]] = {}

    def grow(self, value: Any) -> _Node[Key]:
        node = self.nodes[value] = _Node()
        return node

    def cut(self, value: Any) -> None:
        del self.nodes[value]

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        """The nodes that an event's value opens; of a facet with several, the tuple of them."""
        raise NotImplementedError


class _OfSeveral(_Way[Key]):
    """Any of the event's values may open a node."""

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        return [self.nodes[each] for each in dict.fromkeys(value) if each in self.nodes]


class _Prefixes(_Way[Key]):
    """Looks up the start of the text at each length there is."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths: list[int] = []
        self._counts: Counter[int] = Counter()

    def grow(self, value: Any) -> _Node[Key]:
        length = len(value)
        if not self._counts[length]:
            insort(self._lengths, length)
        self._counts[length] += 1
        return super().grow(value)

    def cut(self, value: Any) -> None:
        super().cut(value)
        length = len(value)
        self._counts[length] -= 1
        if not self._counts[length]:
            del self._counts[length]
            self._lengths.remove(length)

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        nodes = self.nodes
        lengths = self._lengths[: bisect_right(self._lengths, len(value))]
        return [nodes[start] for length in lengths if (start := value[:length]) in nodes]


class _Bounds(_Way[Key]):
    """Sorted bounds: those that the event's largest or smallest value is beyond stand together."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how
        self._bounds: list[Any] = []

    def grow(self, value: Any) -> _Node[Key]:
        insort(self._bounds, value)
        return super().grow(value)

    def cut(self, value: Any) -> None:
        super().cut(value)
        del self._bounds[bisect_left(self._bounds, value)]

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        bounds = self._bounds
        if self._how == ">":
            met = bounds[: bisect_left(bounds, max(value))]
        elif self._how == ">=":
            met = bounds[: bisect_right(bounds, max(value))]
        elif self._how == "<":
            met = bounds[bisect_right(bounds, min(value)) :]
        else:
            met = bounds[bisect_left(bounds, min(value)) :]
        return [self.nodes[bound] for bound in met]


def _way(how: str, *, several: bool) -> _Way[Key]:
    if how == "=":
        return _OfSeveral() if several else _Way()
    return _Prefixes() if how == "*" else _Bounds(how)
