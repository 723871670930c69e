"""Catching up from the beginning: raw, decoded, and the 1% of one chain, spread and clustered.

raw: each event's bytes with their CRC checked (UmaDB's are taken as they come: its pages have
checksums of their own). decoded: the body too, by the same decoder for all stores. Where 1% is
wanted the rate is that of events passed over, so a store that keeps an index on the chain has
little to do; ours has none and finds any pattern in the columns of its blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from alphapulse.log import Event

from .budgets import OURS
from .harness import Row, absent, race_passes, rows_of, settle
from .peers import CLUSTERED, SPREAD, Made, Store, Stores

BATCH: Final = 1_000
BLOCKS: Final = "ours, whole blocks"

Pass = Callable[[], int]


def fill(stores: Stores, events: Sequence[Made]) -> None:
    """The same events into all stores; not the registry, whose log is like the other."""
    for store in (stores.log, *stores.peers):
        append = store.writer()
        for at in range(0, len(events), BATCH):
            append(events[at : at + BATCH])


def measure(stores: Stores, events: Sequence[Made]) -> Iterator[Row]:
    """Of stores that were filled with these events and nothing else."""
    log, peers, count = stores.log, stores.peers, len(events)

    def blocks() -> int:
        return sum(block.count for block in log.log.blocks())

    settle()
    raw = {OURS: _counted(log.events, count), BLOCKS: blocks}
    raw |= {store.who: _counted(store.frames, count) for store in peers}
    yield from _rows("catch-up, raw", stores, count, raw)
    decoded = {OURS: _counted(lambda: _bodies(log.events()), count)}
    decoded |= {store.who: _counted(_decoding(store), count) for store in peers}
    yield from _rows("catch-up, decoded", stores, count, decoded)
    for how, chain in (("spread", SPREAD), ("clustered", CLUSTERED)):
        wanted = sum(made.chain == chain for made in events)
        some = {OURS: _passing(partial(log.events, chain), wanted, count)}
        some |= {
            store.who: _passing(partial(store.frames, chain), wanted, count) for store in peers
        }
        yield from _rows(f"catch-up, 1% {how}", stores, count, some)


def _rows(case: str, stores: Stores, count: int, passes: dict[str, Pass]) -> list[Row]:
    timings = race_passes(passes) | {who: absent(who) for who in stores.absent}
    return rows_of("log", case, count, timings)


def _counted(read: Callable[[], Iterable[object]], expected: int) -> Pass:
    def run() -> int:
        if (count := _length(read())) != expected:
            raise RuntimeError(f"{count} events came, not {expected}")
        return count

    return run


def _passing(read: Callable[[], Iterable[object]], wanted: int, count: int) -> Pass:
    """A pass that finds some of the events and is counted as having passed over all of them."""
    find = _counted(read, wanted)

    def run() -> int:
        find()
        return count

    return run


def _length(items: Iterable[object]) -> int:
    """At the speed of C, so that what is timed is the store."""
    last = deque(enumerate(items, 1), maxlen=1)
    return last[0][0] if last else 0


def _bodies(events: Iterable[Event]) -> Iterator[object]:
    return (event.body for event in events)


def _decoding(store: Store) -> Callable[[], Iterable[object]]:
    return lambda: _bodies(map(Event, store.frames()))
