"""From the end of a durable append to a subscriber that holds the event, every 5 ms.

In another process by doorbell, beside a bare FIFO that is pinged in turns with it; in another
process by spinning on a view's word; and in a thread of the writer's process. All read
CLOCK_MONOTONIC. A subscriber that saw the event before the writer's commit returned counts as 0.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from alphapulse.registry import Registry

from .budgets import FIFO, OURS
from .data import instrument
from .harness import Row, Timing, rows_of, timing_of
from .register import FlushClock
from .topics import Context

EVENTS_MAX: Final = 300
PAUSE_S: Final = 0.005
WARM: Final = 20
"""First events, which are not counted: caches, and a bell that is still to be found."""


def run(context: Context) -> Iterator[Row]:
    count = max(min(context.size // 10, EVENTS_MAX), 1)
    home = context.homes.scratch("follow")
    try:
        with Registry.open(home) as registry:
            measure = _Measure(registry, count + WARM)
            with tempfile.TemporaryDirectory() as directory:
                fifo = Path(directory) / "fifo"
                os.mkfifo(fifo)
                with _child("bell", home, measure.count) as ours, _child("fifo", fifo) as bare:
                    ping = os.open(fifo, os.O_WRONLY)
                    pinged = measure.write(lambda: os.write(ping, b"\1"))
                    os.close(ping)
                    timings = {OURS: measure.against(_seen(ours))}
                    timings[FIFO] = _against(_seen(bare), pinged)
            yield from rows_of("follow", "append to subscriber", count, timings)
            with _child("spin", home, measure.count) as ours:
                measure.write()
                timings = {OURS: measure.against(_seen(ours))}
            yield from rows_of("follow", "append to subscriber, spinning", count, timings)
            timings = {OURS: _in_process(registry, measure)}
            yield from rows_of("follow", "append to subscriber, in process", count, timings)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class _Measure:
    """Writes events and remembers when each was durable."""

    def __init__(self, registry: Registry, count: int) -> None:
        self.count = count
        self._registry = registry
        self._clock = FlushClock(registry)
        self._number = 0
        self._durable: list[int] = []

    def write(self, between: Callable[[], object] | None = None) -> list[int]:
        """Each event and a pause; with `between`, that too in turns, and when each began."""
        self._durable, began = [], []
        for _ in range(self.count):
            self._registry.register(instrument(self._number))
            self._number += 1
            self._durable.append(self._clock.ended_ns)
            time.sleep(PAUSE_S)
            if between is not None:
                began.append(perf_counter_ns())
                between()
                time.sleep(PAUSE_S)
        return began

    def against(self, seen: Sequence[int]) -> Timing:
        return _against(seen, self._durable)


def _against(seen: Sequence[int], since: Sequence[int]) -> Timing:
    latencies = [max(at - then, 0) for at, then in zip(seen, since, strict=True)]
    return timing_of(latencies[WARM:])._replace(rate_per_s=None)


@contextmanager
def _child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.follow", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child


def _seen(child: subprocess.Popen[str]) -> list[int]:
    assert child.stdout is not None
    seen: list[int] = json.loads(child.stdout.readline())
    return seen


def _in_process(registry: Registry, measure: _Measure) -> Timing:
    seen: list[int] = []
    with registry.subscribe() as subscription:
        events = islice(subscription, measure.count)
        thread = threading.Thread(target=lambda: seen.extend(perf_counter_ns() for _ in events))
        thread.start()
        measure.write()
        thread.join()
    return measure.against(seen)


def _follow(home: str, count: int, *, spin: bool) -> list[int]:
    with Registry.open(home, mode="r") as registry, registry.subscribe(spin=spin) as events:
        print("ready", flush=True)
        return [perf_counter_ns() for _ in islice(events, count)]


def _read_fifo(path: str) -> list[int]:
    """When each byte was read, until the writer is gone."""
    print("ready", flush=True)
    file, seen = os.open(path, os.O_RDONLY), []
    poll = select.poll()
    poll.register(file, select.POLLIN)
    while poll.poll() and os.read(file, 1):
        seen.append(perf_counter_ns())
    os.close(file)
    return seen


def _main(how: str, path: str, count: int = 0) -> None:
    seen = _read_fifo(path) if how == "fifo" else _follow(path, count, spin=how == "spin")
    print(json.dumps(seen))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
