"""Registering into a home of N: alone, in batches, from 32 threads. Processing and flush apart.

Processing is all that is not the store's `append`: validation, identity, deciding, encoding,
hashing, folding into the views. The peer is a bare LMDB environment on the same file system that
gets the very blocks that we write, one durable transaction each, taking turns with ours. The
first registrations are not timed: they may find a view full and pay for its growth.
"""

from __future__ import annotations

import shutil
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import lmdb

from alphapulse.registry import Equity, Registry, Token

from .budgets import LMDB, OURS
from .data import instrument
from .harness import NS, Row, Timing, private_dirty_bytes, rows_of, settle, timing_of
from .topics import Context

WARM_UP: Final = 5_000
BATCHES_MAX: Final = 20
BATCH: Final = 1_000
ALONE_MAX: Final = 1_000
THREADS: Final = 32
_KEY: Final = struct.Struct(">Q")


class FlushClock:
    """Stands between a registry's log and its store: times each append and keeps its blocks."""

    def __init__(self, registry: Registry) -> None:
        self._store = registry.log.store
        self._append = self._store.append
        self.flush_ns = 0
        self.ended_ns = 0
        """perf_counter_ns at the end of the last append."""
        self.blocks: list[tuple[int, bytes]] = []
        setattr(self._store, "append", self._timed)  # noqa: B010  # methods are not assignable

    def _timed(self, block: bytes, expected_head: int) -> None:
        began = perf_counter_ns()
        self._append(block, expected_head)
        self.ended_ns = perf_counter_ns()
        self.flush_ns += self.ended_ns - began
        self.blocks.append((expected_head, block))

    def take(self) -> tuple[int, list[tuple[int, bytes]]]:
        """Time in the store and the blocks it got since the last `take`."""
        taken = self.flush_ns, self.blocks
        self.flush_ns, self.blocks = 0, []
        return taken


class BareLmdb:
    """The least that a durable commit of these blocks costs."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self._environment = lmdb.open(str(path), map_size=8 << 30)

    def commit(self, blocks: Sequence[tuple[int, bytes]]) -> int:
        """ns for all of them, a transaction each."""
        began = perf_counter_ns()
        for first, block in blocks:
            with self._environment.begin(write=True) as transaction:
                transaction.put(_KEY.pack(first), block, append=True)
        return perf_counter_ns() - began

    def close(self) -> None:
        self._environment.close()


def run(context: Context) -> Iterator[Row]:
    size = context.size
    home, peer = context.homes.copy(context.homes.home(size)), context.homes.scratch("bare")
    try:
        with Registry.open(home) as registry:
            bare, clock = BareLmdb(peer), FlushClock(registry)
            try:
                yield from _measure(registry, clock, bare, size)
            finally:
                bare.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(peer, ignore_errors=True)


def _measure(
    registry: Registry, clock: FlushClock, bare: BareLmdb, size: int
) -> Iterator[Row]:
    at = size + size % 2
    new = [instrument(number) for number in range(at, at + WARM_UP)]
    at += WARM_UP
    registry.register_many(new)
    settle()
    bare.commit(clock.take()[1])
    alone = [instrument(number) for number in range(at, at + max(100, min(ALONE_MAX, size // 10)))]
    at += len(alone)
    yield from _case("alone", registry, clock, bare, size, [[one] for one in alone])
    count = max(1, min(BATCHES_MAX, size // BATCH))
    batches = [
        [instrument(number) for number in range(at + BATCH * batch, at + BATCH * (batch + 1))]
        for batch in range(count)
    ]
    at += BATCH * count
    settle()
    yield from _case("batches of 1,000", registry, clock, bare, size, batches)
    again = _case("again, unchanged, batches of 1,000", registry, clock, bare, size, batches)
    yield next(again)
    yield from _threads(registry, clock, bare, size, at)


def _case(
    name: str, registry: Registry, clock: FlushClock, bare: BareLmdb, size: int,
    batches: Sequence[Sequence[Equity | Token]],
) -> Iterator[Row]:  # fmt: skip
    processing_ns, durable_ns, bare_ns, events = [], [], [], len(batches[0])
    before = private_dirty_bytes()
    for batch in batches:
        began = perf_counter_ns()
        if len(batch) == 1:
            registry.register(batch[0])
        else:
            registry.register_many(batch)
        elapsed_ns = perf_counter_ns() - began
        flush_ns, blocks = clock.take()
        durable_ns.append(elapsed_ns)
        processing_ns.append(elapsed_ns - flush_ns)
        bare_ns.append(bare.commit(blocks))
    grown = private_dirty_bytes() - before
    note = "times are a batch's, divided by its instruments" if events > 1 else ""
    processing = timing_of(processing_ns, operations_each=events, note=note)
    durable = timing_of(durable_ns, operations_each=events, note=note)
    timings = {OURS: processing._replace(private_dirty_bytes=grown)}
    timings[OURS] = _per_event(timings[OURS], processing_ns, events)
    yield from rows_of("register", f"{name}, processing", size, timings)
    timings = {
        OURS: _per_event(durable, durable_ns, events),
        LMDB: _per_event(timing_of(bare_ns, operations_each=events), bare_ns, events),
    }
    yield from rows_of("register", f"{name}, durable", size, timings)


def _per_event(timing: Timing, durations_ns: Sequence[int], events: int) -> Timing:
    """The rate over all of it, not of rounded quotients."""
    total_ns = max(sum(durations_ns), 1)
    return timing._replace(rate_per_s=len(durations_ns) * events * NS / total_ns)


def _threads(
    registry: Registry, clock: FlushClock, bare: BareLmdb, size: int, at: int
) -> Iterator[Row]:
    """Callers that register one by one at the same time, and so share commits."""
    each = max(5, min(100, size // 100))
    shares = [
        [instrument(at + thread * each + index) for index in range(each)]
        for thread in range(THREADS)
    ]
    durations_ns: list[int] = []

    def work(share: Sequence[Equity | Token]) -> None:
        for one in share:
            began = perf_counter_ns()
            registry.register(one)
            durations_ns.append(perf_counter_ns() - began)

    workers = [threading.Thread(target=work, args=(share,)) for share in shares]
    began = perf_counter_ns()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed_ns = perf_counter_ns() - began
    count = THREADS * each
    if len(durations_ns) != count:
        raise RuntimeError(f"{count - len(durations_ns)} registrations failed")
    _, blocks = clock.take()
    bare_ns = bare.commit(blocks)
    note = f"{count} in {len(blocks)} commits; times are one caller's, waiting included"
    ours = timing_of(durations_ns, note=note)._replace(rate_per_s=count * NS / elapsed_ns)
    timings = {OURS: ours, LMDB: Timing(count * NS / max(bare_ns, 1))}
    yield from rows_of("register", "32 threads, durable", size, timings)
