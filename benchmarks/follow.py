"""From the end of a durable append to a subscriber in another process, every 5 ms.

Both processes read CLOCK_MONOTONIC. A subscriber that saw the event before the writer's commit
returned counts as 0.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Final

from alphapulse.log import EventLog
from alphapulse.registry import Registry

from .budgets import OURS
from .data import instrument
from .harness import Row, rows_of, timing_of
from .register import FlushClock
from .topics import Context

EVENTS_MAX: Final = 300
PAUSE_S: Final = 0.005


def run(context: Context) -> Iterator[Row]:
    home, count = context.homes.scratch("follow"), min(context.size // 10, EVENTS_MAX)
    try:
        with Registry.open(home) as registry:
            command = [sys.executable, "-m", "benchmarks.follow", os.fspath(home), str(count)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                child.stdout.readline()
                clock, committed = FlushClock(registry), []
                for number in range(count):
                    registry.register(instrument(number))
                    committed.append(clock.ended_ns)
                    time.sleep(PAUSE_S)
                seen = json.loads(child.stdout.readline())
    finally:
        shutil.rmtree(home, ignore_errors=True)
    latencies = [max(at - since, 0) for at, since in zip(seen, committed, strict=True)]
    timing = timing_of(latencies)._replace(rate_per_s=None)
    yield from rows_of("follow", "append to subscriber", count, {OURS: timing})


def _main(home: str, count: int) -> None:
    with EventLog.open(home, mode="r") as log, log.subscribe() as subscription:
        print("ready", flush=True)
        seen = []
        for _ in subscription:
            seen.append(perf_counter_ns())
            if len(seen) == count:
                break
    print(json.dumps(seen))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
