"""How fast this machine is, beside the one on which the budgets were set.

Three bare primitives that our hot paths stand on, each measured alone in this very run: a random
probe of memory, a checksum of a message, a hash of a short key. The machine's factor is the
median of their three ratios. It says nothing of the disk, so only rows that compute are scaled.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import random
from array import array
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple
from zlib import crc32

from blake3 import blake3

from .harness import NS, Contender, race

KEYS: Final = 1_000_000
CALLS: Final = 100_000
BUDGETS_NS: Final = {"dict.get": 372, "CRC32 of 124 B": 110, "Blake3 of a short key": 326}
"""On the budgets' machine: median ns of one call, the loop around it included. `dict.get` is of a
random key in a million; it took 364 to 380 there."""
SHORT_KEY: Final = b"security isin US0378331005"


class Speed(NamedTuple):
    took_ns: dict[str, float]
    """For each primitive of BUDGETS_NS."""

    @property
    def slowness(self) -> float:
        """How many times slower than the budgets' machine this one is; below 1 it is faster."""
        return median(self.took_ns[name] / then_ns for name, then_ns in BUDGETS_NS.items())

    def __str__(self) -> str:
        each = ", ".join(
            f"{name} {self.took_ns[name]:.0f} ns ({then_ns} there)"
            for name, then_ns in BUDGETS_NS.items()
        )
        return (
            f"machine: {self.slowness:.2f} x slower than the one the budgets were set on: {each}"
        )


def measure() -> Speed:
    """Takes some seconds, in a process of its own: what it allocates is in nobody's numbers."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as other:
        return other.submit(_measure).result()


def _measure() -> Speed:
    rng = random.Random(1)
    known = dict.fromkeys(array("Q", rng.randbytes(8 * KEYS)), b"")
    prepared = blake3(key=bytes(32))
    message = rng.randbytes(124)

    def hashed(key: bytes) -> bytes:
        return prepared.copy().update(key).digest()

    dict_get, checksum, short_hash = BUDGETS_NS
    timings = race([
        Contender(dict_get, known.get, rng.sample(list(known), CALLS)),
        Contender(checksum, crc32, [message] * CALLS),
        Contender(short_hash, hashed, [SHORT_KEY] * CALLS),
    ])  # fmt: skip
    return Speed({who: NS / (timing.rate_per_s or 1) for who, timing in timings.items()})


def described() -> str:
    """What the numbers depend on, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{model}, {os.cpu_count()} cores, load {load}; Linux {platform.release()},"
        f" {platform.python_implementation()} {platform.python_version()}"
    )
