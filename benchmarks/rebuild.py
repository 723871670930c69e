"""Rebuilding every view from the log, beside the live ones, and comparing digests."""

from __future__ import annotations

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
        with Registry.open(home) as registry:
            settle()
            before, began = private_dirty_bytes(), perf_counter_ns()
            results = registry.rebuild(check=True)
            elapsed_ns = perf_counter_ns() - began
            grown, head = private_dirty_bytes() - before, registry.log.head
    finally:
        shutil.rmtree(home, ignore_errors=True)
    for result in results:
        if not result.equal:
            raise RuntimeError(f"the rebuilt view {result.view} differs from the live one")
        timing = Timing(result.events_per_s)
        yield from rows_of("rebuild", result.view, context.size, {OURS: timing})
    note = f"{head:,} events, each counted once"
    timing = Timing(head * NS / elapsed_ns, private_dirty_bytes=grown, note=note)
    yield from rows_of("rebuild", "all views", context.size, {OURS: timing})
