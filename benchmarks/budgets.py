"""The budgets of the design: what must be reached, and what a prototype reached (the aim).

Rates and ratios are at least, times and memory at most. A ratio is our rate over the peer's in
the same run, so 1 is as quick and more is quicker.
"""

from __future__ import annotations

from math import inf
from typing import Final, Literal, NamedTuple

Field = Literal["rate_per_s", "p50_ns", "p99_ns", "ratio", "private_dirty_bytes"]
OURS: Final = "ours"
DICT: Final = "dict.get"
LMDB: Final = "LMDB"
SQLITE: Final = "SQLite"
EVENTSOURCING: Final = "eventsourcing"
UMADB: Final = "UmaDB"
STRUCT: Final = "struct + CRC"
MSGSPEC: Final = "msgspec + CRC"
DBN: Final = "databento-dbn"
MAKING: Final = "ours, event made and decoded too"
SCAN: Final = "asking every pattern"
FIFO: Final = "bare FIFO"
MS: Final = 1_000_000
MILLION: Final = 1_000_000


class Budget(NamedTuple):
    """One number of a row; None where the design names none."""

    field: Field
    must: float | None = None
    aim: float | None = None
    size_min: int = 0
    """Smaller homes are not judged by it: a dict that fits the cache is no measure."""
    size_max: float = inf

    @property
    def depends_on_speed(self) -> bool:
        """Ratios and memory are what they are on a machine of any speed."""
        return self.field in ("rate_per_s", "p50_ns", "p99_ns")

    def at_speed(self, value: float, slowness: float) -> float:
        """What a rate or a time would be on a machine so many times as fast."""
        return value * slowness if self.field == "rate_per_s" else value / slowness

    def is_met(self, value: float, bound: float) -> bool:
        return value >= bound if self.field in ("rate_per_s", "ratio") else value <= bound


BUDGETS: Final[dict[tuple[str, str, str], tuple[Budget, ...]]] = {
    ("lookup", "id", OURS): (Budget("rate_per_s", 1e6, 1.8e6), Budget("p99_ns", 35e3, 1.5e3)),
    ("lookup", "id", DICT): (Budget("ratio", None, 0.6, MILLION),),
    ("lookup", "id", LMDB): (Budget("ratio", None, 2.5, MILLION),),
    ("lookup", "ISIN to 8 listings", OURS): (Budget("rate_per_s", 5e5, 1.2e6),),
    ("lookup", "ISIN to 8 listings, a field each", OURS): (Budget("rate_per_s", None, 4e5),),
    ("message", "encode", OURS): (Budget("rate_per_s", 2e6, 2.8e6), Budget("p99_ns", 5e3)),
    ("message", "encode", MSGSPEC): (Budget("ratio", None, 1.0),),
    ("message", "verify", OURS): (Budget("rate_per_s", 2e6, 6e6), Budget("p99_ns", 5e3)),
    ("message", "verify and all fields", OURS): (
        Budget("rate_per_s", 2e6, 2.5e6), Budget("p99_ns", 5e3),
    ),
    ("message", "verify and all fields", MSGSPEC): (Budget("ratio", None, 1.0),),
    ("register", "alone, processing", OURS): (Budget("p50_ns", 100e3, 15e3),),
    ("register", "alone, durable", LMDB): (Budget("ratio", None, 1 / 1.3),),
    ("register", "batches of 1,000, processing", OURS): (Budget("p50_ns", 100e3, 15e3),),
    ("register", "batches of 1,000, durable", OURS): (Budget("rate_per_s", 1e4, 8e4),),
    ("register", "32 threads, durable", OURS): (Budget("rate_per_s", 1e4),),
    ("follow", "append to subscriber", OURS): (Budget("p50_ns", 1 * MS, 40e3),),
    ("follow", "append to subscriber, spinning", OURS): (Budget("p50_ns", 1 * MS, 15e3),),
    ("catchup", "frames", OURS): (Budget("rate_per_s", None, 3e6),),
    ("catchup", "decoded", OURS): (Budget("rate_per_s", 3e5, 8e5),),
    ("catchup", "1% selective, events scanned", OURS): (Budget("rate_per_s", None, 1e7),),
    ("audit", "chain", OURS): (Budget("rate_per_s", None, 6e6),),
    ("audit", "bytes, continuity, chain", OURS): (Budget("rate_per_s", 5e5, 1.1e6),),
    ("audit", "chain, blocks of 1", OURS): (Budget("rate_per_s", None, 7e5),),
    ("audit", "bytes, continuity, chain, blocks of 1", OURS): (
        Budget("rate_per_s", 2e5, 4.3e5),
    ),
    **{
        ("dispatch", f"{shapes} shapes, {matching}", OURS): (
            Budget("rate_per_s", 1e5), Budget("p99_ns", 10e3),
            Budget("rate_per_s", None, at_10_000, size_max=10_000),
            Budget("rate_per_s", None, 2e5, size_min=100_000),
        )
        for shapes, at_10_000 in ((5, 1e6), (400, 1 / 6e-6))
        for matching in ("few match", "0.7% match")
    },
    **{
        ("log", case, peer): (Budget("ratio", None, 1.0),)
        for peer in (SQLITE, EVENTSOURCING, UMADB)
        for case in (
            "append, 1 writer", "append, 16 writers", "append, 64 writers",
            "append, batches of 1,000", "catch-up, raw", "catch-up, decoded",
            "catch-up, 1% spread", "catch-up, 1% clustered",
        )
    },
    ("log", "append, batches of 1,000", LMDB): (Budget("ratio", None, 0.6),),
    ("rebuild", "all views", OURS): (Budget("rate_per_s", 1e5, 4e5),),
    ("venues", "cross of two venues", OURS): (Budget("p50_ns", None, 100 * MS, MILLION),),
    ("venues", "is_open at a random minute", OURS): (Budget("p50_ns", None, 1.5e3),),
    ("venues", "fee", OURS): (Budget("p50_ns", None, 8e3),),
    ("open", "for reading", OURS): (
        Budget("p50_ns", 200 * MS, 5 * MS), Budget("private_dirty_bytes", None, 20e6),
    ),
}  # fmt: skip


def computes(benchmark: str, case: str) -> bool:
    """Whether a row waits for nothing but processor and memory: not for the disk, as durable
    rows, `rebuild` (which syncs its files) and `open` may, nor to be woken up, as in `follow`."""
    return (
        benchmark in ("lookup", "message", "dispatch", "catchup", "audit", "venues")
        or (benchmark == "register" and case.endswith("processing"))
        or (benchmark == "log" and case.startswith("catch-up"))
    )
