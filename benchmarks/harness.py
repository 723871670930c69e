"""Measuring, and the rows that come of it.

Contenders take turns within one run, so a busy moment of the machine slows all of them and the
ratio stays. A rate is the median of several passes over the same arguments with one timer around
each pass. Percentiles come from a pass of its own with a timer around each call, so they include
the timer (about 0.1 µs) and, when one is due, a garbage collection or a context switch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from statistics import median
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

import msgspec

from .budgets import BUDGETS, OURS, Budget, computes

REPEATS: Final = 5
NS: Final = 1_000_000_000


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one case. Null = not measured, or the design names no budget."""

    benchmark: str
    case: str
    size: int
    """Instruments in the home; where there is none, messages, events or live patterns."""
    who: str
    rate_per_s: float | None = None
    p50_ns: int | None = None
    p99_ns: int | None = None
    p999_ns: int | None = None
    private_dirty_bytes: int | None = None
    """By how much Private_Dirty of the measuring process grew for this contender; in `open`, all
    of a fresh process."""
    ratio: float | None = None
    """Our rate over this peer's."""
    must: str = ""
    must_met: bool | None = None
    """As measured, on this machine."""
    must_met_at_speed: bool | None = None
    """Computed: at the speed of the machine on which the budgets were set. Null where a row waits
    for the disk or for another process, since no factor is known for those."""
    aim: str = ""
    aim_met: bool | None = None
    aim_met_at_speed: bool | None = None
    slowness: float | None = None
    """By how much that machine is faster; null as above."""
    note: str = ""


class Timing(NamedTuple):
    rate_per_s: float | None = None
    p50_ns: int | None = None
    p99_ns: int | None = None
    p999_ns: int | None = None
    private_dirty_bytes: int | None = None
    note: str = ""


class Contender(NamedTuple):
    """`call(argument)` for each argument, or `call(*argument)` when `spread`."""

    who: str
    call: Callable[..., object]
    arguments: Sequence[Any]
    spread: bool = False
    private_dirty_bytes: int | None = None


def private_dirty_bytes() -> int:
    """Of this process: pages that only it has and that differ from any file."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/smaps_rollup has no Private_Dirty")


def settle() -> None:
    """Collects garbage and freezes what was loaded, so that collections do not walk through it."""
    gc.collect()
    gc.freeze()


def _rate(contender: Contender) -> float:
    call, arguments = contender.call, contender.arguments
    began = perf_counter_ns()
    if contender.spread:
        for _ in starmap(call, arguments):
            pass
    else:
        for argument in arguments:
            call(argument)
    return len(arguments) * NS / max(perf_counter_ns() - began, 1)


def _each(contender: Contender) -> list[int]:
    call, now = contender.call, perf_counter_ns
    durations_ns = []
    for argument in contender.arguments:
        if contender.spread:
            began = now()
            call(*argument)
        else:
            began = now()
            call(argument)
        durations_ns.append(now() - began)
    return durations_ns


def percentile(ordered: Sequence[int], share: float) -> int:
    """Of a sorted sequence: the smallest value that at least `share` of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def timing_of(durations_ns: Iterable[int], *, operations_each: int = 1, note: str = "") -> Timing:
    """From durations of single calls, each of so many operations; times are for one operation."""
    ordered = sorted(duration // operations_each for duration in durations_ns)
    rate_per_s = len(ordered) * NS / max(sum(ordered), 1)
    p50, p99, p999 = (percentile(ordered, share) for share in (0.5, 0.99, 0.999))
    return Timing(rate_per_s, p50, p99, p999, note=note)


def race(contenders: Sequence[Contender], repeats: int = REPEATS) -> dict[str, Timing]:
    """Times each contender; they take turns. The first pass of each only warms up."""
    rates: dict[str, list[float]] = {contender.who: [] for contender in contenders}
    for contender in contenders:
        _rate(contender)
    for _ in range(repeats):
        for contender in contenders:
            rates[contender.who].append(_rate(contender))
    timings = {}
    for contender in contenders:
        singles = timing_of(_each(contender))
        timings[contender.who] = singles._replace(
            rate_per_s=median(rates[contender.who]),
            private_dirty_bytes=contender.private_dirty_bytes,
        )
    return timings


def race_passes(
    passes: dict[str, Callable[[], int]], repeats: int = 3
) -> dict[str, Timing]:
    """Rates of whole passes, which return how many operations they did; they take turns. The
    first pass of each only warms up."""
    rates: dict[str, list[float]] = {who: [] for who in passes}
    grown: dict[str, int] = dict.fromkeys(passes, 0)
    for run in passes.values():
        run()
    for _ in range(repeats):
        for who, run in passes.items():
            before, began = private_dirty_bytes(), perf_counter_ns()
            count = run()
            rates[who].append(count * NS / max(perf_counter_ns() - began, 1))
            grown[who] = max(grown[who], private_dirty_bytes() - before)
    return {
        who: Timing(median(rates[who]), private_dirty_bytes=grown[who]) for who in passes
    }


def rows_of(benchmark: str, case: str, size: int, timings: dict[str, Timing]) -> list[Row]:
    """Rows with ratios and budgets, in the order of `timings`."""
    ours = timings[OURS].rate_per_s
    rows = []
    for who, timing in timings.items():
        comparable = who != OURS and ours and timing.rate_per_s
        row = Row(
            benchmark=benchmark, case=case, size=size, who=who, **timing._asdict(),
            ratio=ours / timing.rate_per_s if comparable and ours and timing.rate_per_s else None,
        )
        rows.append(_judged(row))
    return rows


def absent(who: str) -> Timing:
    """Of a peer that is not installed: said, not faked."""
    return Timing(note=f"{who} is not installed: pip install -e '.[bench]'")


def _budgets_of(row: Row) -> list[Budget]:
    named = BUDGETS.get((row.benchmark, row.case, row.who), ())
    return [budget for budget in named if budget.size_min <= row.size <= budget.size_max]


def _judged(row: Row) -> Row:
    budgets = _budgets_of(row)
    must, aim = [(b, b.must) for b in budgets], [(b, b.aim) for b in budgets]
    return msgspec.structs.replace(
        row, must=_texts(must), must_met=_met_by(row, must), aim=_texts(aim),
        aim_met=_met_by(row, aim),
    )  # fmt: skip


def at_speed(row: Row, slowness: float) -> Row:
    """The row judged a second time, at the speed of the machine on which the budgets were set.

    Its numbers stay as measured. slowness: by how much that machine is faster.
    """
    if not computes(row.benchmark, row.case):
        return row
    budgets = [budget for budget in _budgets_of(row) if budget.depends_on_speed]
    return msgspec.structs.replace(
        row, slowness=slowness,
        must_met_at_speed=_met_by(row, [(b, b.must) for b in budgets], slowness),
        aim_met_at_speed=_met_by(row, [(b, b.aim) for b in budgets], slowness),
    )  # fmt: skip


Bounds = list[tuple[Budget, float | None]]


def _texts(bounds: Bounds) -> str:
    return ", ".join(_bound(budget, bound) for budget, bound in bounds if bound is not None)


def _met_by(row: Row, bounds: Bounds, slowness: float | None = None) -> bool | None:
    """None when there is no bound to meet. slowness: None = as measured."""
    met = None
    for budget, bound in bounds:
        if bound is not None:
            value: float | None = getattr(row, budget.field)
            if value is not None and slowness is not None:
                value = budget.at_speed(value, slowness)
            met = met is not False and value is not None and budget.is_met(value, bound)
    return met


def _bound(budget: Budget, bound: float) -> str:
    if budget.field == "rate_per_s":
        return f"≥ {count_text(bound)}/s"
    if budget.field == "ratio":
        return f"ratio ≥ {bound:.2g}"
    if budget.field == "private_dirty_bytes":
        return f"≤ {bytes_text(bound)}"
    return f"{budget.field[:3]} ≤ {time_text(bound)}"


def count_text(value: float | None) -> str:
    if value is None:
        return ""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def time_text(value_ns: float | None) -> str:
    if value_ns is None:
        return ""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value_ns >= size:
            return f"{value_ns / size:.3g} {unit}"
    return f"{value_ns:.0f} ns"


def bytes_text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1e6:.1f} MB"


_HEADINGS: Final = (
    "case", "size", "who", "rate/s", "p50", "p99", "p99.9", "dirty", "ratio", "must", "met here",
    "met there", "aim", "met here", "met there",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text, and notes below, each where it first applies. "Here" is as measured;
    "there" is computed, for the machine on which the budgets were set."""
    lines: list[tuple[str, ...]] = [_HEADINGS]
    for row in rows:
        lines.append((
            row.case, f"{row.size:,}", row.who, count_text(row.rate_per_s), time_text(row.p50_ns),
            time_text(row.p99_ns), time_text(row.p999_ns), bytes_text(row.private_dirty_bytes),
            "" if row.ratio is None else f"{row.ratio:.2f}", row.must, _met(row.must_met),
            _met_there(row, row.must_met_at_speed), row.aim, _met(row.aim_met),
            _met_there(row, row.aim_met_at_speed),
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    notes: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.note:
            notes.setdefault((row.who, row.note), f"  {row.case}, {row.who}: {row.note}")
    return "\n".join([*text, *notes.values()])


def _met(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "NO"


def _met_there(row: Row, met: bool | None) -> str:
    return "" if met is None else f"({_met(met)} at 1/{row.slowness:.2f})"
