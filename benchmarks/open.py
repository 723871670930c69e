"""Opening a home for reading, each time in a fresh process, up to the first answer.

Imports are not in the times. Private_Dirty is all of the process, interpreter and modules included.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any, Final

import lmdb

from alphapulse.registry import Registry

from .budgets import LMDB, OURS, SQLITE
from .data import id_of, signed
from .harness import Row, Timing, private_dirty_bytes, rows_of, timing_of
from .topics import Context

REPEATS_MAX: Final = 9


def run(context: Context) -> Iterator[Row]:
    home, peers = context.homes.home(context.size), context.homes.peers(context.size)
    places = {OURS: home, LMDB: peers.lmdb, SQLITE: peers.sqlite}
    results: dict[str, list[tuple[int, int, int]]] = {who: [] for who in places}
    id = id_of(context.size // 2)
    for _ in range(min(REPEATS_MAX, max(3, context.size // 1_000))):
        for who, place in places.items():
            results[who].append(_in_a_process(who, os.fspath(place), id))
    timings: dict[str, Timing] = {}
    for who, runs in results.items():
        imported, opened = (max(run[place] for run in runs) for place in (1, 2))
        timings[who] = timing_of([run[0] for run in runs])._replace(
            private_dirty_bytes=opened, note=f"{imported / 1e6:.1f} MB of it before opening"
        )
    yield from rows_of("open", "for reading", context.size, timings)


def _in_a_process(who: str, place: str, id: int) -> tuple[int, int, int]:
    """(ns, Private_Dirty after the imports, and after the first answer)."""
    command = [sys.executable, "-m", "benchmarks.open", who, place, str(id)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    elapsed_ns, imported, opened = json.loads(output)
    return elapsed_ns, imported, opened


def _main(who: str, place: str, id: int) -> None:
    imported, began = private_dirty_bytes(), perf_counter_ns()
    held: Any
    if who == OURS:
        held = Registry.open(place, mode="r")
        found: object = held.get(id)
    elif who == LMDB:
        held = lmdb.open(place, readonly=True, max_dbs=2, lock=False)
        with held.begin(db=held.open_db(b"ids")) as transaction:
            found = transaction.get(id.to_bytes(8, "little"))
    else:
        held = sqlite3.connect(f"file:{place}?mode=ro", uri=True)
        query = "select message from instruments where id = ?"
        found = held.execute(query, (signed(id),)).fetchone()
    elapsed_ns = perf_counter_ns() - began
    if not found:
        raise RuntimeError(f"{who} does not find {id}")
    print(json.dumps([elapsed_ns, imported, private_dirty_bytes()]))
    held.close()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
