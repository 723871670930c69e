"""The map across venues: who is listed where, and what trades on both of two venues.

Who was ever listed at a venue, or of an instrument, stands in the view of listings; whether it
counts at the moment asked is decided by its record where that is what was known then, and else by
its events. What is not the same instrument may be joined through relations that say how much one is
of the other: a receipt and its share, a bridged token and what it stands for. So a receipt comes
beside its share, with the ratio, and never in its place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from itertools import chain
from math import gcd
from typing import Final, NamedTuple

from alphapulse.log import Closed, RelationKind
from alphapulse.projections import (
    FLAG_EARLIER,
    FLAG_SYMBOL_DATED,
    Cells,
    ListingRecord,
    RelationRecord,
    TableReader,
    Views,
    pack_listing,
    text_key,
    unpack_dates,
    unpack_listed,
)

from . import validation
from .lookup import Lookup
from .periods import holds
from .related import Related, Relations
from .relation_rules import RULES, Ratio
from .valid_time import When, either

JOINING: Final = frozenset(
    {RelationKind.SAME_AS, RelationKind.RECEIPT_OF, RelationKind.WRAPS, RelationKind.BRIDGED_FROM}
)
"""Relations by which one instrument stands for an amount of another."""
_CHUNK_CELLS: Final = 1_000
_EXACT_BYTES: Final = 7
"""Names of venues up to this length are the key of the index themselves, not a hash."""
_ANY_HEAD: Final = 1 << 64


class Asked(NamedTuple):
    """What a question is about. at: only what is listed at this time (ns), None = at any."""

    at: int | None
    when: When


class Step(NamedTuple):
    """A relation on the way from one instrument to another."""

    link: Related
    forward: bool
    """Whether it is gone from `link.instrument` to `link.other`."""

    @property
    def ratio(self) -> Ratio | None:
        """One of where it comes from is so much of where it leads. None when that was not said."""
        link = self.link
        ratio = link.ratio
        if ratio is None and RULES[link.relation].ratio != "any":
            ratio = 1, 1  # which is what the relation means
        return ratio if ratio is None or self.forward else ratio[::-1]


class Pair(NamedTuple):
    """Two instruments, one at each venue, that stand for each other."""

    a: int
    b: int
    ratio: Ratio | None
    """One of `a` is so much of `b`; None when a relation on the way says no ratio."""
    path: tuple[Step, ...]
    """From a to b, the fewest relations there are."""


class Crossing(NamedTuple):
    """What trades on both of two venues, in the order in which it became known at the first."""

    same: list[int]
    """Instruments that are listed at both."""
    related: list[Pair]
    """Pairs of different instruments."""


class VenueMap:
    """Read-only questions about listings, many at once."""

    def __init__(self, views: Views, lookup: Lookup, relations: Relations) -> None:
        self._views = views
        self._lookup = lookup
        self._relations = relations

    def of(self, instrument: int, asked: Asked) -> Iterator[ListingRecord]:
        """The listings of one instrument."""
        table = self._views.table("listings")
        for _, records in self._listed(table, table.postings(0, instrument), asked):
            yield from _records(table, records)

    def at(self, venue: str, asked: Asked) -> Iterator[ListingRecord]:
        """The listings at a venue, as the view has them when the first is asked for."""
        table = self._views.table("listings")
        for _, records in self._at(table, venue, asked):
            yield from _records(table, records)

    def venue_of(self, record: ListingRecord, asked: Asked) -> str:
        """Its venue, whole also where the record has it cut."""
        if record.is_cut:
            table = self._views.table("listings")
            body = self._lookup.listing_at(table, table.cell(record.id), asked.when)
            if body is not None:
                return body.venue
        return record.venue

    def cross(self, a: str, b: str, asked: Asked) -> Crossing:
        table = self._views.table("listings")
        here, there = self._instruments(table, a, asked), self._instruments(table, b, asked)
        return Crossing(
            [id for id in here if id in there], list(self._pairs(here, there, asked))
        )

    def _instruments(self, table: TableReader, venue: str, asked: Asked) -> dict[int, None]:
        """Each instrument once. What `_listed` does, without what is not needed where the view
        knows it all: two thirds of the time."""
        at = asked.at
        if asked.when.known is not None or at is None or not _is_exact(venue):
            parts = self._at(table, venue, asked)
            return dict.fromkeys(chain.from_iterable(ids for ids, _ in parts))
        cells = table.postings("venue", text_key(venue))
        found: dict[int, None] = {}
        for start in range(0, len(cells), _CHUNK_CELLS):
            part = cells[start : start + _CHUNK_CELLS]
            rows = _read(table, unpack_dates, table.positions_of(part))
            ids: Iterable[int] = [  # written out: a call of `is_during` for each costs a quarter
                id for id, begins, ends, _ in rows
                if (begins <= at or not begins) and (not ends or at < ends)
            ]
            if any(flags & FLAG_EARLIER for _, _, _, flags in rows):
                parts = self._listed(table, part, asked, venue)
                ids = chain.from_iterable(ids for ids, _ in parts)
            found.update(dict.fromkeys(ids))
        return found

    def _at(
        self, table: TableReader, venue: str, asked: Asked
    ) -> Iterator[tuple[list[int], list[int | ListingRecord]]]:
        cells = table.postings("venue", text_key(venue))
        return self._listed(table, cells, asked, venue)

    def _listed(
        self, table: TableReader, cells: Cells, asked: Asked, venue: str = ""
    ) -> Iterator[tuple[list[int], list[int | ListingRecord]]]:
        """(instruments, where their listings are read) of those that count, some at a time: a
        position in the view, or a record where that has another state than the one asked about.

        venue: leave out what is at another, which has the same key in the index.
        """
        at, when = asked.at, asked.when
        stop = _ANY_HEAD if when.known is None else when.known
        unlike = FLAG_EARLIER | FLAG_SYMBOL_DATED
        is_exact = _is_exact(venue)
        for start in range(0, len(cells), _CHUNK_CELLS):
            part = cells[start : start + _CHUNK_CELLS]
            positions = table.positions_of(part)
            rows = _read(table, unpack_listed, positions)
            ids: list[int] = []
            places: list[int | ListingRecord] = []
            for cell, at_byte, row in zip(part, positions, rows, strict=True):
                id, begins, ends, revision, flags, offset = row
                if offset >= stop and revision == 1:
                    continue  # its first event came later
                if offset >= stop or flags & unlike or not is_exact:
                    key = table.key_of(cell)
                    for period in self._lookup.listing_periods(table, cell, when):
                        if venue and period.venue != venue:
                            break  # as all its periods are
                        if at is None or holds(period, at):
                            ids.append(id)
                            places.append(ListingRecord(pack_listing(key, period), 0))
                elif at is None or (
                    (begins <= at or not begins) and (not ends or at < ends)
                ):
                    ids.append(id)
                    places.append(at_byte)
            yield ids, places

    def _pairs(
        self, here: Collection[int], there: Collection[int], asked: Asked
    ) -> Iterator[Pair]:
        """Of the instruments here with others there, through any number of relations."""
        fewer = here if len(here) <= len(there) else there
        links = self._relations.related(
            self._joined(fewer), depth=None, at=asked.at, stop=asked.when.known, relations=JOINING
        )
        steps: dict[int, list[tuple[int, Step]]] = {}
        for link in links:
            steps.setdefault(link.instrument, []).append((link.other, Step(link, True)))
            steps.setdefault(link.other, []).append((link.instrument, Step(link, False)))
        for a in here if steps else ():
            if a in steps:
                for b, path in _paths(steps, a):
                    if b in there:
                        yield Pair(a, b, _ratio_of(path), path)

    def _joined(self, ids: Collection[int]) -> list[int]:
        """Those that any of these relations is known of, at any time, in their order."""
        table = self._views.table("relations")
        found = set[int]()
        for index in ("instrument", "other"):
            found.update(
                id for id in table.linked(index, ids)
                if id not in found and _has_join(table, table.postings(index, id))
            )
        return [id for id in ids if id in found] if found else []


def _is_exact(venue: str) -> bool:
    """Whether nothing else has its key in the index."""
    return len(venue.encode()) <= _EXACT_BYTES


def _read(
    table: TableReader, unpack: Callable[..., tuple[int, ...]], positions: Iterable[int]
) -> list[tuple[int, ...]]:  # fmt: skip
    """Of each record, what `unpack` gives."""
    arena = table.arena
    try:
        return [unpack(arena, position) for position in positions]
    except TypeError:  # only the stand-in for a closed view has no buffer
        raise Closed("reading a view") from None
    except (OverflowError, struct.error) as error:
        raise table.damaged("an index slot") from error


def _records(
    table: TableReader, places: Iterable[int | ListingRecord]
) -> Iterator[ListingRecord]:
    arena = table.arena
    for place in places:
        yield ListingRecord(arena, place) if isinstance(place, int) else place


def _has_join(table: TableReader, cells: Cells) -> bool:
    return any(
        RelationRecord(table.arena, position).link().relation in JOINING
        for position in table.positions_of(cells)
    )


def _paths(
    steps: dict[int, list[tuple[int, Step]]], start: int
) -> Iterator[tuple[int, tuple[Step, ...]]]:
    """(instrument, the way to it) of all that can be reached, the nearest first."""
    ways: dict[int, tuple[Step, ...]] = {start: ()}
    frontier = [start]
    while frontier:
        reached = []
        for at in frontier:
            for far, step in steps[at]:
                if far not in ways:
                    ways[far] = (*ways[at], step)
                    reached.append(far)
                    yield far, ways[far]
        frontier = reached


def _ratio_of(path: Iterable[Step]) -> Ratio | None:
    """Of all steps together, exact and in lowest terms."""
    numerator = denominator = 1
    for step in path:
        if step.ratio is None:
            return None
        numerator, denominator = numerator * step.ratio[0], denominator * step.ratio[1]
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


class VenueMapQuestions:
    """What `Registry` answers about many listings at once.

    Only what is listed at the time asked counts: at `valid`, else at the moment of `as_of`, else
    now; with `ended` what was listed before or will be, too. An instrument may be delisted or
    expired itself while its listing says no end: its status is not asked here. Names of venues are
    those of the listings: what is listed at a segment is not at its operating venue.
    """

    views: Views
    lookup: Lookup
    relations: Relations
    when: Callable[..., When]

    @cached_property
    def venue_map(self) -> VenueMap:
        return VenueMap(self.views, self.lookup, self.relations)

    def venues_for(
        self, id: int, *, as_of: int | str | None = None, valid: int | str | None = None,
        known: int | str | None = None, ended: bool = False,
    ) -> list[str]:  # fmt: skip
        """Venues at which an instrument is listed, in the order in which they became known.

        Cost: 2 µs and 2 µs a listing; 8 µs more for each event of one that changed since `as_of`.
        """
        asked = self._asked(as_of, valid, known, ended)
        records = self.venue_map.of(validation.id64(id), asked)
        return list(dict.fromkeys(self.venue_map.venue_of(record, asked) for record in records))

    def instruments_at(
        self, venue: str, *, as_of: int | str | None = None, valid: int | str | None = None,
        known: int | str | None = None, ended: bool = False,
    ) -> Iterator[ListingRecord]:  # fmt: skip
        """The listings at a venue, one after the other, in the order in which they became known:
        `instrument`, `symbol`, `currency` and the others as they were at the time asked.

        Raises InvalidInput. Cost: 0.5 µs each; as `venues_for` of other times.
        """
        return self.venue_map.at(validation.venue(venue), self._asked(as_of, valid, known, ended))

    def cross(
        self, venue_a: str, venue_b: str, *, as_of: int | str | None = None,
        valid: int | str | None = None, known: int | str | None = None,
    ) -> Crossing:  # fmt: skip
        """What trades on both venues: the same instrument, or others that stand for each other
        through any number of `JOINING` relations, with the exact ratio where all of them say it.

        Raises InvalidInput. Cost: 0.4 µs for each listing at either; 10 µs for each instrument
        that has such relations.
        """
        a, b = validation.venue(venue_a, "venue_a"), validation.venue(venue_b, "venue_b")
        return self.venue_map.cross(a, b, self._asked(as_of, valid, known, False))

    def _asked(
        self, as_of: int | str | None, valid: int | str | None, known: int | str | None,
        ended: bool,
    ) -> Asked:  # fmt: skip
        when = self.when(as_of, valid, known)
        if ended:
            return Asked(None, when)
        at = self.relations.moment(either(as_of, known, "as_of", "known"))
        return Asked(at if when.valid is None else when.valid, when)
