"""Looking for instruments that look alike, among all that are known. See `candidates`.

*Never all with all.* Whoever shares a value is grouped under it, and only pairs within a group are
compared. A group of over `GROUP_MAX` is not paired and told as a crowd: 90 tokens called CAT are no
evidence. So the cost grows with the instruments; memory is some 400 bytes for each.

*As few pairs as connect them.* Of n instruments that look alike, n - 1 decisions connect all, so
no more are proposed: the strongest pairs that do not go in circles (Kruskal's forest), over what is
related already (same_as, wraps, a common group: `JOINING`) and what is open. Once a pair is
refused, the next best one between the two sides comes up. The forest of each group is kept alone:
what is best in all is best in its group.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Final, NamedTuple

from alphapulse.log import CandidateState, EventLog, RelationKind
from alphapulse.projections import RelationRecord, Views

from . import validation
from .candidates import (
    FAMILIES,
    FIELDS,
    SCORE_MIN,
    Candidate,
    Candidates,
    Evidence,
    Side,
    candidate_state,
    evidence_of,
    groups_of,
    is_same,
    score_of,
    side_of,
)

GROUP_MAX: Final = 64
"""Members of a group that are paired; of more it is said how many they are."""
PAIRS_MAX: Final = 10_000
"""Found at once by default."""
JOINING: Final = frozenset(
    {RelationKind.GROUPED, RelationKind.SAME_AS, RelationKind.WRAPS, RelationKind.BRIDGED_FROM,
     RelationKind.RECEIPT_OF, RelationKind.SUCCEEDS}
)  # fmt: skip
"""Relations of things that look alike. Whoever is connected by these was decided about."""
_PROGRESS_INSTRUMENTS: Final = 1_000
_GAP: Final = "\0"
"""Between the words of an instrument, in none of which it stands."""
_Known = Mapping[tuple[int, int], Candidate]
"""By the ids of both sides, the lesser first."""


class LookAlike(NamedTuple):
    """A pair that would be proposed. a: the one whose fingerprint comes first."""

    a: int
    b: int
    fingerprints: tuple[bytes, bytes]
    evidence: Evidence


class Crowd(NamedTuple):
    """So many instruments share a value that pairing them would say nothing."""

    field: str
    value: str
    members: int


class LookAlikes(NamedTuple):
    """What looks alike and is not decided."""

    pairs: list[LookAlike]
    """Strongest first, then by fingerprint."""
    more: int
    """How many weaker ones there are beside them."""
    crowds: list[Crowd]
    compared: int
    """Instruments that were looked at."""


class _Edge(NamedTuple):
    """A pair that might be proposed, small: there may be many. They sort as they are preferred."""

    is_new: bool
    """Not open already."""
    weakness: int
    """The score, negative."""
    ids: tuple[int, int]
    """The lesser first."""
    offsets: tuple[int, int]


class _Sets:
    """Disjoint sets: who is connected with whom. Memory: 100 bytes for each that is joined."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def root(self, of: int) -> int:
        parents = self._parents
        root = of
        while (parent := parents.get(root, root)) != root:
            root = parent
        while (parent := parents.get(of, of)) != root:
            parents[of], of = root, parent
        return root

    def join(self, one: int, other: int) -> bool:
        """Whether they were apart."""
        one, other = self.root(one), self.root(other)
        self._parents[one] = other
        return one != other


class _Compared(NamedTuple):
    """All instruments that may look alike, by number."""

    ids: array[int]
    offsets: array[int]
    words: list[str]
    """Those that are compared, with a gap between each."""


def look_alikes(
    log: EventLog, views: Views, *, score_min: int = SCORE_MIN, most: int = PAIRS_MAX,
    progress: Callable[[int], None] | None = None,
) -> LookAlikes:  # fmt: skip
    """What would be proposed now. progress: told how many instruments were read.

    Cost: 35 µs for each instrument and 185 µs for each pair found, on a slow machine; within a
    group all are compared, pair by pair.
    """
    known = _known(log, views)
    joined = _joined(views)
    for ids, candidate in known.items():
        if candidate.state == CandidateState.CONFIRMED:
            joined.join(*ids)
    compared = _Compared(array("Q"), array("Q"), [])
    groups, crowds = _groups(_sides(log, views, progress), compared)
    kept: set[_Edge] = set()
    for members in groups:
        kept.update(_forest(_edges(log, compared, members, known, score_min), joined))
    edges = [edge for edge in _forest(kept, joined) if _is_news(log, edge, known)]
    edges.sort(key=lambda edge: edge[1:])
    pairs = [pair for edge in edges[:most] if (pair := _pair(log, edge)) is not None]
    more = max(len(edges) - most, 0)
    return LookAlikes(pairs, more, crowds, len(compared.ids))


def _known(log: EventLog, views: Views) -> dict[tuple[int, int], Candidate]:
    written = Candidates(log, views).written(CandidateState)
    return {(min(each.a, each.b), max(each.a, each.b)): each for each in written}


def _joined(views: Views) -> _Sets:
    table, joined = views.table("relations"), _Sets()
    for _, position in table.keys():  # noqa: SIM118  # not a dict: it gives pairs
        record = RelationRecord(table.arena, position)
        link = record.link()
        if link.relation in JOINING and link.instrument and (link.other or record.group):
            joined.join(link.instrument, link.other or -record.group)
    return joined


def _sides(
    log: EventLog, views: Views, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Side]]:
    """(offset of its newest state, what is compared) of each that may look alike, in the order of
    the log, which is read through once."""
    table = views.table("instruments")
    arena = table.arena
    offsets = array("Q", sorted(
        table.trailer(position).data_offset
        for _, position in table.keys()  # noqa: SIM118  # not a dict: it gives pairs
        if arena[position + 2] in FAMILIES
    ))  # fmt: skip
    at = 0
    for block in log.blocks(0, offsets[-1] + 1) if offsets else ():
        while at < len(offsets) and offsets[at] < block.stop:
            if progress is not None and at % _PROGRESS_INSTRUMENTS == 0:
                progress(at)
            side = side_of(block.event(offsets[at] - block.first).instrument_body)
            if side is not None:
                yield offsets[at], side
            at += 1


def _groups(
    sides: Iterable[tuple[int, Side]], compared: _Compared
) -> tuple[list[list[int]], list[Crowd]]:
    """Numbers of those that share a value, and the values that too many share; fills `compared`.

    Groups are told apart by 64-bit hashes: should two of them meet, a pair of it that has nothing
    in common is left out at last.
    """
    first: dict[int, int] = {}
    groups: dict[int, list[int]] = {}
    crowds: dict[int, Crowd] = {}
    for number, (offset, side) in enumerate(sides):
        compared.ids.append(side.id)
        compared.offsets.append(offset)
        compared.words.append(_GAP.join(side.compared))
        family = FAMILIES[side.asset_class]
        for place, value in groups_of(side.asset_class, side.compared):
            key = hash((family, place, value))
            if first.setdefault(key, number) == number:
                continue
            members = groups.setdefault(key, [first[key]])
            if len(members) < GROUP_MAX:
                members.append(number)
            else:
                before = crowds.get(key)
                count = GROUP_MAX if before is None else before.members
                crowds[key] = Crowd(FIELDS[place], value, count + 1)
    small = {tuple(members) for key, members in groups.items() if key not in crowds}
    return [list(members) for members in small], sorted(crowds.values())


def _edges(
    log: EventLog, compared: _Compared, members: Iterable[int], known: _Known, score_min: int
) -> Iterator[_Edge]:
    """The pairs of a group that may be proposed, or are open."""
    ids, offsets = compared.ids, compared.offsets
    sides = sorted((ids[n], offsets[n], compared.words[n].split(_GAP)) for n in members)
    for (a, at_a, one), (b, at_b, other) in combinations(sides, 2):
        score, before = score_of(one, other), known.get((a, b))
        is_open = before is not None and before.state == CandidateState.PROPOSED
        if not is_open and score < score_min:
            continue
        edge = _Edge(not is_open, -score, (a, b), (at_a, at_b))
        if before is None or is_open or _is_news(log, edge, known):
            yield edge


def _forest(edges: Iterable[_Edge], joined: _Sets) -> list[_Edge]:
    """The best edges that connect what they can without going in circles."""
    connected = _Sets()
    return [
        edge for edge in sorted(edges)
        if connected.join(joined.root(edge.ids[0]), joined.root(edge.ids[1]))
    ]  # fmt: skip


def _is_news(log: EventLog, edge: _Edge, known: _Known) -> bool:
    """Whether it is not what was written of them before."""
    before = known.get(edge.ids)
    if before is None:
        return True
    pair = _pair(log, edge)
    return pair is not None and not is_same(before.evidence, pair.evidence)


def _pair(log: EventLog, edge: _Edge) -> LookAlike | None:
    one, other = (side_of(log.event(offset).instrument_body) for offset in edge.offsets)
    evidence = evidence_of(one, other) if one and other else None
    if one is None or other is None or evidence is None:
        return None
    a, b = sorted((one, other), key=lambda side: side.fingerprint)
    return LookAlike(a.id, b.id, (a.fingerprint, b.fingerprint), evidence)


class CandidateQuestions:
    """What `Registry` answers about candidates."""

    log: EventLog
    views: Views
    alike: Candidates

    def candidates(
        self, *, states: Collection[str] = ("proposed",), of: Iterable[int] | None = None
    ) -> list[Candidate]:
        """Instruments that were proposed because they look alike, strongest evidence first.

        states: of proposed, confirmed, refused. of: only those with one of these instruments.
        `confirm` and `refuse` decide about one. Raises InvalidInput. Cost: 10 µs each.
        """
        wanted = [candidate_state(state) for state in states]
        return self.alike.written(wanted, None if of is None else map(validation.id64, of))

    def look_alikes(
        self, *, score_min: int = SCORE_MIN, most: int = PAIRS_MAX,
        progress: Callable[[int], None] | None = None,
    ) -> LookAlikes:  # fmt: skip
        """Instruments that look alike and were not decided about, for `propose`; writes nothing.

        score_min: how strong the evidence must be, see `candidates`. most: how many to give, the
        strongest. Cost: 35 µs and 400 bytes for each instrument, 185 µs for each pair.
        """
        return look_alikes(
            self.log, self.views, score_min=score_min, most=most, progress=progress
        )
