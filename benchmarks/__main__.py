"""The command line: names of topics, sizes, a table or JSON Lines."""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from . import (
    audit,
    catchup,
    dispatch,
    follow,
    imports,
    log,
    lookup,
    machine,
    message,
    open,
    rebuild,
    register,
    venues,
)
from .data import Homes
from .harness import Row, at_speed, table
from .topics import Context, Run

SIZES: Final = (10_000, 1_000_000)
TOPICS: Final[dict[str, Run]] = {
    "lookup": lookup.run, "message": message.run, "register": register.run,
    "catchup": catchup.run, "audit": audit.run, "rebuild": rebuild.run, "open": open.run,
    "log": log.run, "follow": follow.run, "dispatch": dispatch.run,
    "import": imports.run, "venues": venues.run,
}  # fmt: skip
ONE_SIZE: Final = frozenset({"message", "log", "follow", "dispatch", "import"})
"""Topics that need no home of N: measured once."""
PARTS: Final = frozenset({"follow", "dispatch"})
"""Topics that `log` measures too: alone only when they are named."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TOPICS)}; all")
    parser.add_argument("--json", action="store_true", help="JSON Lines on stdout")
    parser.add_argument("--size", type=int, help="instruments, instead of 10,000 and 1,000,000")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the homes made there")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in TOPICS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(TOPICS)}")
    if given.size is not None and given.size < 1_000:
        parser.error("--size must be at least 1000")
    say(machine.described())
    speed = machine.measure()
    say(str(speed))
    names = given.names or [name for name in TOPICS if name not in PARTS]
    sizes = [given.size] if given.size else list(SIZES)
    show = show_json if given.json else show_table
    if given.cache is not None:
        return run(names, sizes, Homes(given.cache), speed.slowness, show)
    with tempfile.TemporaryDirectory(prefix="alphapulse-benchmarks-") as directory:
        return run(names, sizes, Homes(Path(directory)), speed.slowness, show)


def run(
    names: list[str], sizes: list[int], homes: Homes, slowness: float,
    show: Callable[[str, Iterator[Row]], None],
) -> int:  # fmt: skip
    for name in names:
        for size in sizes[:1] if name in ONE_SIZE else sizes:
            rows = TOPICS[name](Context(size, homes))
            show(name, (at_speed(row, slowness) for row in rows))
            gc.unfreeze()
    return 0


def show_json(name: str, rows: Iterator[Row]) -> None:
    for row in rows:
        print(msgspec.json.encode(row).decode(), flush=True)


def show_table(name: str, rows: Iterator[Row]) -> None:
    print(f"{name}\n{table(list(rows))}\n", flush=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
