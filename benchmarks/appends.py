"""Durable appends: 1, 16 and 64 threads that write one event at a time, and batches of 1,000.

Stores take turns, round after round, with the same events; the first round of each only warms up.
A rate is the median of the rounds, from the first append to the last one's return. Times are one
caller's, waiting for others included; in batches they are a batch's divided by its events.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from statistics import median
from time import perf_counter_ns
from typing import Final

from .budgets import OURS
from .harness import NS, Row, Timing, absent, rows_of, settle, timing_of
from .peers import Append, Made, Store, Stores, made

ROUNDS: Final = 4
"""The first of them warms up."""
EACH: Final = {1: 200, 16: 20, 64: 10}
"""By count of writers: how many events each of them writes in a round."""
BATCH: Final = 1_000
BATCHES: Final = 5
"""In a round."""

Share = Sequence[Sequence[Made]]
"""What one thread appends, commit after commit."""


def measure(stores: Stores, size: int) -> Iterator[Row]:
    """Writers are judged by the registry, whose callers share commits; batches by the log.

    size: below 10,000 there are fewer events of each kind, down to a tenth.
    """
    share = max(min(size / 10_000, 1), 0.1)
    singles = {writers: max(round(each * share), 1) for writers, each in EACH.items()}
    batches_each = max(round(BATCHES * share), 1)
    count = ROUNDS * (sum(w * each for w, each in singles.items()) + BATCH * batches_each)
    events = made(count)
    for writers, each in singles.items():
        rounds = [
            [[[one] for one in islice(events, each)] for _ in range(writers)] for _ in range(ROUNDS)
        ]
        settle()
        case = f"append, {writers} writer{'s' if writers > 1 else ''}"
        yield from _case(case, stores, stores.registry, rounds)
    batches = [[[list(islice(events, BATCH)) for _ in range(batches_each)]] for _ in range(ROUNDS)]
    settle()
    yield from _case("append, batches of 1,000", stores, stores.log, batches)


def _case(case: str, stores: Stores, judged: Store, rounds: Sequence[Sequence[Share]]) -> list[Row]:
    rates: dict[str, list[float]] = {store.who: [] for store in stores.all}
    durations_ns: dict[str, list[int]] = {store.who: [] for store in stores.all}
    for warm, shares in enumerate(rounds):
        for store in stores.all:
            singles, elapsed_ns = _write(store, shares)
            if warm:
                events = sum(len(together) for share in shares for together in share)
                rates[store.who].append(events * NS / elapsed_ns)
                durations_ns[store.who] += singles
    together = len(rounds[0][0][0])
    timings: dict[str, Timing] = {}
    for store in sorted(stores.all, key=lambda store: store is not judged):
        timing = timing_of(
            durations_ns[store.who], operations_each=together, note=store.mode
        )._replace(rate_per_s=median(rates[store.who]))
        timings[OURS if store is judged else store.who] = timing
    timings[OURS] = timings[OURS]._replace(note=f"{judged.who}: {judged.mode}")
    timings |= {who: absent(who) for who in stores.absent}
    return rows_of("log", case, sum(map(len, rounds[0])) * together, timings)


def _write(store: Store, shares: Sequence[Share]) -> tuple[list[int], int]:
    """Durations of single calls, and how long it took until all threads were through."""
    durations_ns: list[int] = []
    failed: list[BaseException] = []
    ready = threading.Barrier(len(shares) + 1)

    def work(share: Share) -> None:
        try:
            append = store.writer()
            ready.wait()
            durations_ns.extend(_timed(append, share))
        except BaseException as error:
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    with suppress(threading.BrokenBarrierError):  # then a thread failed, and `failed` says why
        ready.wait()
    began = perf_counter_ns()
    for thread in threads:
        thread.join()
    elapsed_ns = perf_counter_ns() - began
    if failed:
        raise RuntimeError(f"{store.who}: {len(failed)} of {len(shares)} failed") from failed[0]
    return durations_ns, elapsed_ns


def _timed(append: Append, share: Share) -> Iterator[int]:
    for together in share:
        began = perf_counter_ns()
        append(together)
        yield perf_counter_ns() - began
