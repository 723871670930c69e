"""Which of many live patterns an event matches: the index, beside asking pattern after pattern.

Patterns want what made-up instruments and listings have, of which only some come. They have 5
shapes (sets of facets) or 400; "few match" is one in ten thousand, "0.7% match" adds patterns that
want only what many have in common. Events come decoded, as subscribers get them; what making and
decoding adds is a row of its own. The peer asks every pattern's compiled predicate, of fewer
events where there are many patterns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from alphapulse.log import (
    FACETS,
    NO_PREVIOUS,
    Event,
    Pattern,
    PatternIndex,
    encode_body,
    encode_frame,
    facet_values,
    where,
)

from .budgets import MAKING, OURS, SCAN
from .data import SEED, drafts
from .harness import Contender, Row, race, rows_of, settle
from .topics import Context

EVENTS: Final = 2_000
WANTED: Final = 20_000
"""Patterns take their values from so many events; the first of them come."""
PATTERNS: Final = (10, 1_000, 10_000, 100_000)
PREDICATES_EACH: Final = 100_000
"""How often the peer may ask in a pass."""
RARE: Final = frozenset({"instrument", "isin", "symbol"})
FIVE: Final = (
    ("class", "chain"), ("venue", "currency"), ("instrument",), ("kind", "isin"),
    ("class", "symbol"),
)  # fmt: skip
SHAPES: Final = 400
COMMON_SHARE: Final = {5: 0.3, SHAPES: 0.025}
"""By how many shapes: the share of patterns without a rare facet that lets 0.7% match."""

Values = Mapping[str, str | int]
Shape = tuple[str, ...]


def run(context: Context) -> Iterator[Row]:
    frames = list(_frames(WANTED))
    values = [_values(Event(frame)) for frame in frames]
    come = frames[:EVENTS]
    for shapes in (FIVE, _many_shapes(values)):
        for common, matching in ((0.0, "few match"), (COMMON_SHARE[len(shapes)], "0.7% match")):
            patterns = _patterns(shapes, values, common)
            index: PatternIndex[int] = PatternIndex()
            held: list[Pattern] = []
            for count in PATTERNS:
                if count <= 10 * context.size:
                    for pattern in islice(patterns, count - len(held)):
                        index.add(len(held), pattern)
                        held.append(pattern)
                    yield from _measure(f"{len(shapes)} shapes, {matching}", index, held, come)


def _measure(
    case: str, index: PatternIndex[int], patterns: Sequence[Pattern], frames: Sequence[bytes]
) -> list[Row]:
    events = [_decoded(frame) for frame in frames]
    few = events[:: -(-len(events) * len(patterns) // PREDICATES_EACH)]

    def scan(event: Event) -> list[int]:
        return [key for key, pattern in enumerate(patterns) if pattern.matches(event)]

    for event in few:
        if sorted(index.keys(event)) != scan(event):
            raise RuntimeError(f"the index and the scan disagree about event {event.offset}")
    found = sum(len(index.keys(event)) for event in events) / len(events)
    settle()
    timings = race(
        [
            Contender(OURS, index.keys, events),
            Contender(MAKING, lambda frame: index.keys(_decoded(frame)), frames),
            Contender(SCAN, scan, few),
        ]
    )
    note = f"{found:.3g} of {len(patterns):,} patterns match an event, {found / len(patterns):.2%}"
    timings[OURS] = timings[OURS]._replace(note=note)
    return rows_of("dispatch", case, len(patterns), timings)


def _decoded(frame: bytes) -> Event:
    event = Event(frame)
    assert event.body is not None and event.metadata is not None
    return event


def _frames(count: int) -> Iterator[bytes]:
    for offset, draft in enumerate(islice(drafts(count), count)):
        fixed, rest = encode_body(draft.body)
        yield encode_frame(
            kind=draft.kind, space=draft.space, offset=offset, recorded=1, valid_from=0,
            entity=draft.entity, previous=NO_PREVIOUS, fixed=fixed, rest=rest,
            metadata=draft.metadata,
        )  # fmt: skip


def _values(event: Event) -> Values:
    found = ((facet, facet_values(event, facet)) for facet in FACETS)
    return {facet: values[0] for facet, values in found if values}


def _many_shapes(values: Sequence[Values]) -> Sequence[Shape]:
    """Sets of two to five facets that some event has all of."""
    chooser = random.Random(SEED)
    shapes: set[Shape] = set()
    while len(shapes) < SHAPES:
        facets = sorted(chooser.choice(values))
        shapes.add(tuple(sorted(chooser.sample(facets, chooser.randint(2, 5)))))
    return sorted(shapes)


def _patterns(
    shapes: Sequence[Shape], values: Sequence[Values], common_share: float
) -> Iterator[Pattern]:
    chooser = random.Random(SEED)
    rare = [shape for shape in shapes if not RARE.isdisjoint(shape)]
    common = [shape for shape in shapes if RARE.isdisjoint(shape)]
    while True:
        shape = chooser.choice(common if chooser.random() < common_share else rare)
        wanted = chooser.choice(values)
        if wanted.keys() >= set(shape):
            names = {name: "asset_class" if name == "class" else name for name in shape}
            yield where(**{names[facet]: wanted[facet] for facet in shape})
