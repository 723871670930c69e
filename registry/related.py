"""Which instruments are related, both ways and through others; read from the view, without locks.

The walk is breadth first: depth 1 are an instrument's own relations, whichever side it is on, depth
2 those of the instruments that these lead to. Each relation comes once, at the least depth it has,
so the walk ends where relations go in circles, as those of `same_as` may. It follows what holds at
one moment, as it was known at one head. Groups are no links between instruments: see `siblings`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from alphapulse.log import (
    EventLog,
    InstrumentRecord,
    RelationBody,
    RelationKind,
    is_during,
    offset_given,
    parse_time,
)
from alphapulse.projections import (
    ALL_MISSING,
    RelationRecord,
    TableReader,
    Views,
    state_before,
    state_named,
)

from .identity import id_candidates
from .lookup import Lookup
from .periods import each_period
from .relation_rules import Ratio, ratio_in
from .uses import KINDS, Use, Uses
from .valid_time import When


class Related(NamedTuple):
    """`instrument` RELATION `other`, as in: this one wraps that one."""

    id: int
    """Of the relation. One that held in several periods comes once for each that is asked for."""
    instrument: int
    relation: RelationKind
    other: int
    ratio: Ratio | None
    """One of `instrument` stands for so much of `other`; None when that was not said."""
    valid_from: int
    """ns since 1970 UTC, 0 = not known."""
    valid_to: int
    """ns, the first instant at which it does not hold; 0 = open."""
    depth: int
    """How many relations away from what was asked about, from 1."""
    offset: int
    """Of the event that holds this state."""
    field: str = ""
    """Of `instrument`, when its own state says so, and no relation (then `id` is 0): underlying,
    base, quote, tokens, formula."""

    def holds(self, at: int) -> bool:
        return is_during(at, self.valid_from, self.valid_to)

    def far_from(self, instrument: int) -> int:
        return self.other if self.instrument == instrument else self.instrument


class Waiting(NamedTuple):
    """A relation that is kept until its other end is registered."""

    id: int
    instrument: int
    """0 when it waits for this one."""
    relation: RelationKind
    other: int
    """0 when it waits for this one."""
    missing_key: bytes
    """Canonical key of the end that it waits for."""
    is_refused: bool
    """That end is registered, and with it the relation would lead back to where it starts."""
    offset: int
    """Of the event that holds this state."""


class Joined(NamedTuple):
    """An instrument that is, or took the place of, one that was asked about."""

    id: int
    relation: RelationKind
    to: int
    """The instrument that it has this relation to."""
    is_former: bool = False
    """It is `to` that has this relation to it, and took its place."""


class Relations:
    """Read-only questions about links. `stop`: as when the head was there; None = now."""

    def __init__(self, log: EventLog, views: Views, lookup: Lookup) -> None:
        self._log = log
        self._views = views
        self._lookup = lookup

    def moment(self, as_of: int | str | None) -> int:
        """The time (ns) that a question is about: now, that time, or when that event was
        recorded. Raises InvalidInput, OffsetOutOfRange."""
        if as_of is None:
            return time.time_ns()
        offset = offset_given("reading as_of", as_of)
        return parse_time(str(as_of)) if offset is None else int(self._log.event(offset).recorded)

    def related(
        self, starts: Iterable[int], *, depth: int | None, at: int | None, stop: int | None,
        relations: Collection[RelationKind] | None,
    ) -> list[Related]:  # fmt: skip
        """By depth, and then in the order in which they became known.

        depth: None = as far as they lead. at: None = at any time. relations: None = all. Cost:
        5 µs for each, and what `Uses.of` costs for each instrument; 8 µs more for each event of one
        that changed since `stop`.
        """
        found: list[Related] = []

        def take(link: Related, instrument: int) -> int | None:
            if relations is not None and link.relation not in relations:
                return None
            found.append(link)
            return link.far_from(instrument)

        uses = None
        if relations is None or not KINDS.isdisjoint(relations):
            uses = Uses(self._lookup, self._views, When(stop, at))
        self._walk(starts, depth, at, stop, take, uses)
        return found

    def waiting(self) -> Iterator[Waiting]:
        """The relations that wait for an end now, in the order in which they became known. Cost:
        8 µs for each that waits, and 1 µs for each that ever did."""
        table = self._views.table("relations")
        for cell in _waiting(table):
            id, offset = table.key_of(cell), table.trailer(table.position_of(cell)).data_offset
            body = state_named(self._log, offset, id).body
            assert isinstance(body, RelationBody)
            yield Waiting(
                id, body.instrument, RelationKind(body.relation), body.other, body.missing_key,
                self._is_registered(body.missing), offset,
            )  # fmt: skip

    def waiting_count(self) -> int:
        return sum(1 for _ in _waiting(self._views.table("relations")))

    def _is_registered(self, fingerprint: bytes) -> bool:
        table = self._views.table("instruments")
        for _, id in id_candidates(fingerprint, self._log.genesis.id_bits):
            position = table.find(id)
            if position < 0:
                return False
            if InstrumentRecord(table.arena, position).fingerprint == fingerprint:
                return True
        return False

    def joined(self, starts: Iterable[int], *, at: int, stop: int | None) -> list[Joined]:
        """Who else is meant by these: what is `same_as` them, and what succeeds them."""
        return self._joined(list(starts), at, stop, former=False)

    def around(self, starts: Iterable[int], *, at: int, stop: int | None) -> list[Joined]:
        """As `joined`, and then those whose place these took: others, to be hinted at."""
        starts = list(starts)
        found = self._joined(starts, at, stop, former=False)
        known = {joined.id for joined in found}
        before = self._joined(starts, at, stop, former=True)
        return found + [joined for joined in before if joined.id not in known]

    def _joined(
        self, starts: list[int], at: int, stop: int | None, *, former: bool
    ) -> list[Joined]:
        """By `same_as`, and by `succeeds` in one direction: to the former ones, or to the later."""
        found: dict[int, Joined] = {}

        def take(link: Related, instrument: int) -> int | None:
            is_same = link.relation == RelationKind.SAME_AS
            near = link.instrument if former else link.other
            if not is_same and (link.relation, near) != (RelationKind.SUCCEEDS, instrument):
                return None
            far = link.far_from(instrument)
            found.setdefault(
                far, Joined(far, link.relation, instrument, former and not is_same)
            )
            return far

        self._walk(starts, None, at, stop, take)
        return [joined for joined in found.values() if joined.id not in starts]

    def _walk(
        self, starts: Iterable[int], depth: int | None, at: int | None, stop: int | None,
        take: Callable[[Related, int], int | None], uses: Uses | None = None,
    ) -> None:  # fmt: skip
        """take: told each link once, with the side it was reached from; says where to go on.
        uses: what instruments say of others is a link, too."""
        table = self._views.table("relations")
        frontier = list(dict.fromkeys(starts))
        reached, seen, level, used = set(frontier), set[int](), 0, set[Use]()
        while frontier and (depth is None or level < depth):
            level += 1
            further = []
            for instrument in frontier:
                links = self._links(table, instrument, level, stop, seen)
                if uses is not None:
                    links = chain(links, _derived(uses, instrument, level, used))
                for link in links:
                    if at is not None and not link.holds(at):
                        continue
                    far = take(link, instrument)
                    if far is not None and far not in reached:
                        reached.add(far)
                        further.append(far)
            frontier = further

    def _links(
        self, table: TableReader, instrument: int, depth: int, stop: int | None, seen: set[int]
    ) -> Iterator[Related]:
        """Those of one instrument, on either side, that were not seen yet."""
        for index in ("instrument", "other"):
            for cell in table.postings(index, instrument):
                id = table.key_of(cell)
                if id in seen:
                    continue
                seen.add(id)
                position = table.position_of(cell)
                link = RelationRecord(table.arena, position).link()
                if not (link.instrument and link.other):
                    continue  # a group, or it waits for its other end
                trailer = table.trailer(position)
                is_newest = stop is None or trailer.data_offset < stop
                if is_newest and not link.has_earlier:
                    yield Related(id, *link[:6], depth, trailer.data_offset)
                    continue
                event = (
                    state_named(self._log, trailer.data_offset, id)
                    if stop is None or is_newest
                    else state_before(self._log, trailer.last_offset, stop, id)
                )
                if event is None or not isinstance(body := event.body, RelationBody):
                    continue
                if not body.missing_key:
                    for then in each_period(body):
                        yield Related(
                            id, body.instrument, RelationKind(body.relation), body.other,
                            ratio_in(then), then.valid_from, then.valid_to, depth, event.offset,
                        )  # fmt: skip


def _derived(uses: Uses, instrument: int, depth: int, seen: set[Use]) -> Iterator[Related]:
    """Those of one instrument, on either side, that were not seen yet."""
    for use in uses.of(instrument):
        if use not in seen:
            seen.add(use)
            yield Related(
                0, use.user, use.relation, use.used, None, 0, 0, depth, use.offset, use.field
            )


def _waiting(table: TableReader) -> Iterator[int]:
    """Cells of the relations that wait for an end."""
    for cell in table.postings("missing", ALL_MISSING):
        link = RelationRecord(table.arena, table.position_of(cell)).link()
        if not (link.instrument and link.other):
            yield cell
