"""The log beside other stores: durable appends and catching up; then following and dispatch.

The latter two are topics of their own as well, since no peer has its like in the same process.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Final

from . import appends, dispatch, follow, scans
from .harness import Row
from .peers import Stores, made, open_stores
from .topics import Context

EVENTS_MAX: Final = 100_000
"""To catch up with: ten times the instruments of a home, at most so many."""


def run(context: Context) -> Iterator[Row]:
    count = min(EVENTS_MAX, 10 * context.size)
    yield from _with_stores(context, lambda stores: appends.measure(stores, context.size))
    yield from _with_stores(context, lambda stores: _catch_up(stores, count))
    yield from chain(follow.run(context), dispatch.run(context))


def _catch_up(stores: Stores, count: int) -> Iterator[Row]:
    events = list(made(count))
    scans.fill(stores, events)
    yield from scans.measure(stores, events)


def _with_stores(context: Context, measure: Callable[[Stores], Iterator[Row]]) -> Iterator[Row]:
    """On empty stores, which are removed afterwards."""
    directory = context.homes.scratch("stores")
    directory.mkdir()
    try:
        with ExitStack() as opened:
            yield from measure(open_stores(directory, opened))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
