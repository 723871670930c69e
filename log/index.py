"""Which of many patterns an event matches, at a cost that does not follow their number.

Every pattern is filed (`pattern_filing`) under paths of facet values, from the rarest facet to
the commonest, and the paths form trees: a node has one table for each facet that goes on from it,
from value to node. An event walks down all the branches that its own values open, all at once: it
costs a lookup in each table that it meets, however many patterns stand in the table. At each node
it collects the keys whose paths end there, after asking what a path could not say.

Most events have nothing of their own but an instrument, an ISIN and a symbol: the paths that
begin with one of these are walked for each event. What the other paths lead to depends on common
facets only (kind, class, chain, venue, …), so it is kept by the values that an event has of them,
and found again for the next one that has the same. Whatever changes there forgets all of it.

The invariant: a key is found exactly when one of its pattern's filings is met, so a walk needs
every branch that the event may open, and what is kept must hold for all events that are alike.
What breaks it is a facet read here in another way than `Pattern.matches` does (`facets.py`), or
one that decides and is not among those by which outcomes are kept; the tests hold index and
patterns against each other. The number of nodes met is bounded by the combinations of facets and
the lengths of prefixes that patterns use, and by the bounds that are met, not by the patterns
(Aguilera et al., "Matching events in a content-based subscription system", PODC 1999).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from .facets import FACETS
from .frame import Event
from .index_readers import READERS, Reader
from .pattern import Matcher, Pattern, matcher_of
from .pattern_filing import AT, COMMON, FAMILIES, Family, Filing, Step, filings
from .pattern_tree import EVERYTHING, Node, terms_of

Key = TypeVar("Key", bound=Hashable)
KEPT_SIZE_BYTES_MAX: Final = 8 << 20
"""Of the outcomes kept for each family of events, as estimated; beyond it all are forgotten."""
_KEPT_SIZE_BYTES: Final = 1_000
"""An outcome without its keys, and each place where it leaves something to decide."""
_NOTHING_READ: Final[list[Any]] = [None] * len(FACETS)
_KIND: Final = AT["kind"]
_Getter: TypeAlias = Callable[[Sequence[Any]], Any]
"""From what is held of an event to the value of a facet, or the values of several."""


class IndexStatistics(NamedTuple):
    patterns: int
    filings: int
    """Places where keys stand; one pattern may need several."""
    checked: int
    """Filings with a rest that is asked of each event which comes by."""
    unguarded: int
    """Of these, the ones that every event of a family comes by."""
    kept: int
    """Outcomes that are known for events with the same common facets."""


class PatternIndex(Generic[Key]):
    """Patterns by key, any hashable; `keys(event)` are those whose pattern matches.

    `add` costs 30 to 100 µs and 1 to 2 KiB, more for patterns with many alternatives; `keys` 2 µs,
    0.3 µs for each set of facets that is wanted beside a rare value of the event, and 0.5 µs for
    each rest asked; 20 µs more for the first event with its common facets since a pattern came or
    went that asks of these alone. A body is decoded where a pattern needs more than an
    instrument's message. Not safe for use by two threads at once: the caller locks.
    """

    def __init__(self) -> None:
        self._patterns: dict[Key, Pattern] = {}
        self._trees: Final[tuple[_Tree[Key], ...]] = tuple(map(_Tree, FAMILIES))
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
        kind = event.kind
        tree = self._tree_of_kind.get(kind, self._tree_of_others)
        held = _NOTHING_READ.copy()
        held[_KIND] = kind
        for read in tree.reads:
            read(event, held)
        kept = tree.kept.get(tree.alike(held)) or tree.keep(event, held)
        found = kept.keys.copy()
        nodes = kept.on.copy()
        unread = tree.reads_below
        for node in nodes:  # which grows while the walk goes down
            for values_of, table in node.tables:
                below = table.get(values_of(held))
                if below is not None:
                    if below.keys:
                        found += below.keys
                    elif below.keys is None:
                        found += below.list_keys()
                    if below.leads_on:
                        nodes.append(below)
                        for read in unread:
                            read(event, held)
                        unread = ()
            for values_of, opened_by in node.openings:
                for below in opened_by(values_of(held)):
                    found += below.list_keys() if below.keys is None else below.keys
                    if below.leads_on:
                        nodes.append(below)
                        for read in unread:
                            read(event, held)
                        unread = ()
            for rest in node.asked:
                if rest.matches(event):
                    found += rest.keys
        if tree.overlapping and len(found) > len(kept.keys):
            return list(dict.fromkeys(found))
        return found

    def statistics(self) -> IndexStatistics:
        trees = self._trees
        return IndexStatistics(
            len(self._patterns), sum(tree.filings for tree in trees),
            sum(tree.checked for tree in trees), sum(tree.unguarded for tree in trees),
            sum(len(tree.kept) for tree in trees),
        )  # fmt: skip


class _Rest(NamedTuple, Generic[Key]):
    """A question that paths leave open, and the keys that it decides."""

    matches: Matcher
    keys: dict[Key, None]
    is_common: bool
    """Whether it asks of common facets only."""


class _Kept(NamedTuple, Generic[Key]):
    """What a walk over common facets came to, for all events that have the same of them."""

    keys: list[Key]
    on: list[_Stop[Key]]
    """Where each of them walks on: at `rare`, and where other facets than common ones decide."""


class _Tree(Generic[Key]):
    """The paths of one family: those that begin with a rare facet below `rare`, the others below
    `common`."""

    def __init__(self, family: Family) -> None:
        self.family: Final = family
        self._readers: Final = READERS[family]
        self._several: Final = frozenset(AT[facet] for facet in family.several)
        self.rare: Final[_Node[Key]] = _Node()
        self.common: Final[_Node[Key]] = _Node()
        self.filings = self.checked = self.unguarded = 0
        self.overlapping = 0
        """Patterns of which an event may meet several filings."""
        self.reads: tuple[Reader, ...] = ()
        """Of every event: what `rare` and all below `common` look at."""
        self.reads_below: tuple[Reader, ...] = ()
        """Of those that have a value which `rare` knows: what else stands there."""
        self.kept: Final[dict[Any, _Kept[Key]]] = {}
        self._kept_size_bytes = 0
        self._asked: Final = Counter[int]()
        """How often filings ask each facet of every event."""
        self._asked_below: Final = Counter[int]()
        """How often they do only below a rare one."""
        self._arrange()

    def add(self, key: Key, filed: Sequence[Filing]) -> None:
        for path, rest in filed:
            node, steps = self._place(path)
            for step in steps:
                node = node.below(step, several=step.at in self._several)
            node.put(key, rest)
        self._count(filed, 1)

    def discard(self, key: Key, filed: Sequence[Filing]) -> None:
        for path, rest in filed:
            self._discard(*self._place(path), key, rest)
        self._count(filed, -1)

    def keep(self, event: Event, held: list[Any]) -> _Kept[Key]:
        """Walks down from `common` as far as common facets lead, and keeps the outcome."""
        keys: list[Key] = []
        on: list[_Stop[Key]] = [self.rare]
        size_bytes = _KEPT_SIZE_BYTES
        nodes = [self.common]
        for node in nodes:
            if node.ends:
                keys += node.ends
            for values_of, table in node.tables:  # of common facets: the others have several values
                below = table.get(values_of(held))
                if below is not None:
                    nodes.append(below)
            if node.openings or node.asked:
                others: list[_Way[Key]] = []
                for way in (node.ways or {}).values():
                    if way.at not in COMMON:
                        others.append(way)
                    elif type(way) is not _Way:
                        nodes += way.open(way.values_of(held))
                for rest in node.asked:
                    if rest.is_common and rest.matches(event):
                        keys += rest.keys
                asked = [rest for rest in node.asked if not rest.is_common]
                if others or asked:
                    on.append(_Stop(others, asked))
                    size_bytes += _KEPT_SIZE_BYTES + 8 * len(asked)
        kept = _Kept(list(dict.fromkeys(keys)) if self.overlapping else keys, on)
        size_bytes += 8 * len(kept.keys)
        if self._kept_size_bytes + size_bytes > KEPT_SIZE_BYTES_MAX:
            self._forget()
        self._kept_size_bytes += size_bytes
        self.kept[self.alike(held)] = kept
        return kept

    def _forget(self) -> None:
        self.kept.clear()
        self._kept_size_bytes = 0

    def _place(self, path: Sequence[Step]) -> tuple[_Node[Key], Sequence[_AnyStep]]:
        """The root and the steps from there. All values that are wanted beside a rare one are
        looked up in one go: few patterns want that one, so their steps would share little."""
        if not path or path[0].at in COMMON:
            return self.common, path
        values = [step for step in path[1:] if step.how == "=" and step.at not in self._several]
        if len(values) < 2:
            return self.rare, path
        joint = _Joint(tuple(step.at for step in values), "=", tuple(step.value for step in values))
        return self.rare, [path[0], joint, *(step for step in path[1:] if step not in values)]

    def _discard(self, node: _Node[Key], steps: Sequence[_AnyStep], key: Key, rest: Node) -> None:
        """Takes the key away, and each node on the way back that is empty then."""
        if not steps:
            node.take(key, rest)
            return
        assert node.ways is not None
        step = steps[0]
        below = node.ways[step.at, step.how].nodes[step.value]
        self._discard(below, steps[1:], key, rest)
        if below.is_empty:
            node.cut(step)

    def _count(self, filed: Sequence[Filing], by: int) -> None:
        self.filings += by * len(filed)
        for path, rest in filed:
            if rest is not EVERYTHING:
                self.checked += by
                self.unguarded += by * (not path)
            self._count_facets(path, rest, by)
        if len(filed) > 1 and not self._exclude(filed):
            self.overlapping += by

    def _count_facets(self, path: Sequence[Step], rest: Node, by: int) -> None:
        """Which facets the walks need; forgets those that would go another way now."""
        always = [step.at for step in path]
        below: list[int] = []
        if path and path[0].at not in COMMON:
            always, below = always[:1], always[1:]
        else:
            self._forget()
            if rest is not EVERYTHING and _is_common(rest):
                always += _facets(rest)
        if _add_up(self._asked, always, by) | _add_up(self._asked_below, below, by):
            self._arrange()

    def _arrange(self) -> None:
        """For `common`, events are alike that have the same of the common facets that it asks."""
        self.reads = self._readers_of(self._asked)
        self.reads_below = tuple(
            read for read in self._readers_of(self._asked_below) if read not in self.reads
        )
        self.alike = itemgetter(*COMMON.intersection(self._asked) or (0,))

    def _readers_of(self, facets: Collection[int]) -> tuple[Reader, ...]:
        """Each once, in the order in which they know what others have read."""
        return tuple(dict.fromkeys(read for at, read in self._readers.items() if at in facets))

    def _exclude(self, filed: Sequence[Filing]) -> bool:
        """Whether an event can meet one of these at most: they want other values of one facet."""
        steps = [step for filing in filed for step in filing.path]
        return (
            len({filing.path for filing in filed}) == len(filed)
            and len({tuple(step.at for step in filing.path) for filing in filed}) == 1
            and not any(step.how != "=" or step.at in self._several for step in steps)
        )


def _add_up(counts: Counter[int], counted: Iterable[int], by: int) -> bool:
    """Whether there is one more or one less to count."""
    size = len(counts)
    for each in counted:
        counts[each] += by
        if not counts[each]:
            del counts[each]
    return len(counts) != size


def _facets(rest: Node) -> set[int]:
    return {AT[term.facet] for term in terms_of(rest)}


def _is_common(rest: Node) -> bool:
    return _facets(rest) <= COMMON


class _Joint(NamedTuple):
    """Several steps in one."""

    at: tuple[int, ...]
    how: str
    value: tuple[Any, ...]


_AnyStep: TypeAlias = Step | _Joint


class _Stop(Generic[Key]):
    """Where a walk may go on."""

    __slots__ = ("asked", "openings", "tables")
    tables: tuple[tuple[_Getter, dict[Any, _Node[Key]]], ...]
    """Ways on of which an event opens one node at most, by the value that it has there."""
    openings: tuple[tuple[_Getter, Callable[[Any], Iterable[_Node[Key]]]], ...]
    """The other ways, as what gives the nodes that a value opens."""

    def __init__(self, ways: Sequence[_Way[Key]] = (), asked: Collection[_Rest[Key]] = ()) -> None:
        self.arrange(ways)
        self.asked = asked

    def arrange(self, ways: Collection[_Way[Key]]) -> None:
        self.tables = tuple((way.values_of, way.nodes) for way in ways if type(way) is _Way)
        self.openings = tuple((way.values_of, way.open) for way in ways if type(way) is not _Way)


class _Node(_Stop[Key]):
    """Where the paths that have come this far end or part. Nearly all are leaves of one key, so
    what a leaf does not need is None."""

    __slots__ = ("ends", "keys", "leads_on", "rests", "ways")

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[Key, None] | None = None
        """Whose path ends here and says all."""
        self.keys: list[Key] | None = []
        """The same, as what is quickest to add to a list; None when `ends` changed since."""
        self.leads_on = False
        """Whether there is anything but keys, or was."""
        self.rests: dict[Node, _Rest[Key]] | None = None
        """Whose path ends here, by what it leaves to ask: once for all that leave the same."""
        self.ways: dict[tuple[int | tuple[int, ...], str], _Way[Key]] | None = None
        """Ways on, by facet, or facets, and how a step tells its values."""

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
        if self.rests is None:
            self.rests = {}
            self.asked = self.rests.values()
        if rest not in self.rests:
            self.rests[rest] = _Rest(matcher_of(rest), {}, _is_common(rest))
        self.rests[rest].keys[key] = None

    def take(self, key: Key, rest: Node) -> None:
        if rest is EVERYTHING:
            assert self.ends is not None
            del self.ends[key]
            self.keys = None
            return
        assert self.rests is not None
        keys = self.rests[rest].keys
        del keys[key]
        if not keys:
            del self.rests[rest]

    def below(self, step: _AnyStep, *, several: bool) -> _Node[Key]:
        """The node that the step leads to, made if there is none."""
        self.leads_on = True
        self.ways = self.ways or {}
        way = self.ways.get((step.at, step.how))
        if way is None:
            way = self.ways[step.at, step.how] = _way(step, several=several)
            self.arrange(self.ways.values())
        node = way.nodes.get(step.value)
        return way.grow(step.value) if node is None else node

    def cut(self, step: _AnyStep) -> None:
        assert self.ways is not None
        way = self.ways[step.at, step.how]
        way.cut(step.value)
        if not way.nodes:
            del self.ways[step.at, step.how]
            self.arrange(self.ways.values())


class _Way(Generic[Key]):
    """Nodes by the value that opens them: this one, of facets with one value at most."""

    def __init__(self, step: _AnyStep) -> None:
        self.at: Final = step.at
        self.values_of: Final[_Getter] = (
            itemgetter(*step.at) if isinstance(step, _Joint) else itemgetter(step.at)
        )
        self.nodes: Final[dict[Any, _Node[Key]]] = {}

    def grow(self, value: Any) -> _Node[Key]:
        node = self.nodes[value] = _Node()
        return node

    def cut(self, value: Any) -> None:
        del self.nodes[value]

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        """The nodes that an event's value opens, None for none; of a facet with several, the
        tuple of them."""
        node = self.nodes.get(value)
        return () if node is None else (node,)


class _OfSeveral(_Way[Key]):
    """Any of the event's values may open a node."""

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        return [self.nodes[each] for each in dict.fromkeys(value or ()) if each in self.nodes]


class _Prefixes(_Way[Key]):
    """Looks up the start of the text at each length there is."""

    def __init__(self, step: _AnyStep) -> None:
        super().__init__(step)
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
        if not value:  # no text does not start with the empty prefix
            return ()
        nodes = self.nodes
        lengths = self._lengths[: bisect_right(self._lengths, len(value))]
        return [nodes[start] for length in lengths if (start := value[:length]) in nodes]


class _Bounds(_Way[Key]):
    """Sorted bounds: those that the event's largest or smallest value is beyond stand together."""

    def __init__(self, step: _AnyStep) -> None:
        super().__init__(step)
        self._how = step.how
        self._bounds: list[Any] = []

    def grow(self, value: Any) -> _Node[Key]:
        insort(self._bounds, value)
        return super().grow(value)

    def cut(self, value: Any) -> None:
        super().cut(value)
        del self._bounds[bisect_left(self._bounds, value)]

    def open(self, value: Any) -> Iterable[_Node[Key]]:
        if not value:
            return ()
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


def _way(step: _AnyStep, *, several: bool) -> _Way[Any]:
    if step.how == "=":
        return _OfSeveral(step) if several else _Way(step)
    return _Prefixes(step) if step.how == "*" else _Bounds(step)
