"""The audit: each verdict's own rate, and the three of the log together with reading it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from alphapulse.log import Home, Verdict, verify_store
from alphapulse.registry import audit

from .budgets import OURS
from .harness import NS, Row, Timing, private_dirty_bytes, rows_of
from .topics import Context

SINGLES_MAX: Final = 20_000
REPEATS: Final = 3
ALL: Final = "bytes, continuity, chain"


def run(context: Context) -> Iterator[Row]:
    home = context.homes.home(context.size)
    yield from _log(home, context.size, "")
    singles = context.homes.singles(min(context.size, SINGLES_MAX))
    yield from _log(singles, min(context.size, SINGLES_MAX), ", blocks of 1")
    copy = context.homes.copy(home)
    try:
        verdicts = audit(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    for verdict in verdicts:
        if verdict.name in ("meaning", "views"):
            timing = Timing(_rate(verdict), note="in events")
            yield from rows_of("audit", verdict.name, context.size, {OURS: timing})


def _rate(verdict: Verdict) -> float:
    if not verdict.ok:
        raise RuntimeError(f"the audit of a home that was just made fails: {verdict}")
    return verdict.rate_per_s


def _log(home: Path, size: int, suffix: str) -> Iterator[Row]:
    """The best of three passes: verdicts time themselves, so passes cannot take turns.

    Two processes share a long log; `bytes` is then what one of them does in its own time.
    """
    rates: dict[str, float] = {}
    best = 0.0
    before = private_dirty_bytes()
    for _ in range(REPEATS):
        began = perf_counter_ns()
        verdicts = verify_store(Home(home))
        elapsed_ns = perf_counter_ns() - began
        best = max(best, verdicts[0].checked * NS / elapsed_ns)
        for verdict in verdicts:
            rates[verdict.name] = max(rates.get(verdict.name, 0.0), _rate(verdict))
    grown = private_dirty_bytes() - before
    for name, rate in rates.items():
        yield from rows_of("audit", f"{name}{suffix}", size, {OURS: Timing(rate)})
    timing = Timing(best, private_dirty_bytes=grown)
    yield from rows_of("audit", f"{ALL}{suffix}", size, {OURS: timing})
