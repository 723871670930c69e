"""Rebuilding every view from the log beside the live ones, and comparing them row by row.

All views are folded at once, the large ones in a process each while there are CPUs. What is
compared is every row and link of the live views with those of the fresh fold; it is timed apart.
Then each view is folded alone, which is always one process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from time import perf_counter_ns

from alphapulse.registry import Registry

from .budgets import OURS
from .harness import NS, Row, Timing, private_dirty_bytes, rows_of, settle
from .topics import Context


def run(context: Context) -> Iterator[Row]:
    home = context.homes.copy(context.homes.home(context.size))
    try:
        os.sync()  # else who dirties pages waits for the disk to take the copy
        with Registry.open(home) as registry:
            yield from _all_views(registry, context.size)
            for view in registry.views.states():
                (result,) = registry.rebuild([view])
                timing = Timing(result.events_per_s)
                yield from rows_of("rebuild", view, context.size, {OURS: timing})
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _all_views(registry: Registry, size: int) -> Iterator[Row]:
    settle()
    folded_ns = 0

    def folding(_view: str, _done: int, _of: int) -> None:
        nonlocal folded_ns
        folded_ns = perf_counter_ns()

    before, began = private_dirty_bytes(), perf_counter_ns()
    results = registry.rebuild(check=True, progress=folding)
    compared_ns = perf_counter_ns()
    grown, head = private_dirty_bytes() - before, registry.log.head
    for result in results:
        if not result.equal:
            raise RuntimeError(f"the rebuilt view {result.view} differs from the live one")
    note = f"{head:,} events, each counted once; {len(os.sched_getaffinity(0))} CPUs"
    timing = Timing(head * NS / (folded_ns - began), private_dirty_bytes=grown, note=note)
    yield from rows_of("rebuild", "all views", size, {OURS: timing})
    rows = sum(state.rows for state in registry.views.states().values())
    timing = Timing(rows * NS / (compared_ns - folded_ns), note=f"{rows:,} rows, links included")
    yield from rows_of("rebuild", "rows compared", size, {OURS: timing})
