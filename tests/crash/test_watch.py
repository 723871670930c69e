"""kill -9 of a process that watches a directory, while a feed drops files into it.

What was imported is known by the log alone, so a watcher that starts again must neither pass over a
file nor import one twice. Half of the kills come at a counted call, which a seed replays; the
others from outside after a random time. The control watches without the look for the content.
"""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import watchfiles  # noqa: F401  # here once, not in each child

from alphapulse.log import FeedBody
from alphapulse.registry import Discovery, Registry
from alphapulse.registry.discovery import hints
from alphapulse.registry.state import State
from tests.registry.discovery.drops import content, drop

from .children import (
    Child,
    Hear,
    Say,
    complaints,
    kill_self_after,
    killed,
    report,
    seeds,
    small_tables,
    verification_here,
)

FILES = 200
KILLS = 10
ROWS = 2


class Life(NamedTuple):
    """What a child does until it is killed; without `calls`, until all that is there is known."""

    home: Path
    feeds: Path
    guarded: bool
    calls: int | None = None
    """Where it kills itself; 0 = it waits for somebody else to."""


def watching(life: Life, say: Say, _: Hear) -> None:
    with ExitStack() as stack:
        stack.enter_context(verification_here())
        stack.enter_context(small_tables())
        if not life.guarded:
            stack.enter_context(mock.patch.object(Registry, "imported", return_value=None))
            stack.enter_context(mock.patch.object(State, "imported", return_value=None))
        for name, ms in (("_STEP_MS", 2), ("_TICK_MS", 10)):  # it looks first after a tick
            stack.enter_context(mock.patch.object(hints, name, ms))
        registry = stack.enter_context(Registry.open(life.home, durability="relaxed"))
        say("open")
        if life.calls:
            kill_self_after(life.calls)
        watcher = Discovery(registry, [life.feeds], settle_s=0, rescan_s=0.02)
        for found in watcher.once() if life.calls is None else watcher.run():
            say(found.what)
    say("complete")


def twice_or_never(home: Path, files: Sequence[str]) -> list[str]:
    """What is wrong with a home that all files were dropped for."""
    wrong = []
    with Registry.open(home, durability="relaxed") as registry:
        bodies = [e.body for e in registry.read(pattern="kind=feed")]
        said = [body.file for body in bodies if isinstance(body, FeedBody)]
        wrong += [f"{name} {said.count(name)} times" for name in files if said.count(name) != 1]
        added = len(list(registry.read(pattern="kind=instrument.registered")))
        if not added == registry.statistics().instruments == ROWS * len(files):
            wrong.append(f"{added} rows")
        if list(registry.read(pattern="kind=instrument.amended,conflict")):
            wrong.append("a row changed another")
    return wrong + complaints(home)


def round_of(life: Life, rng: random.Random, names: Sequence[str]) -> bool:
    """Drops files before, while and after a watcher is killed; whether it had imported some."""
    killed_at = rng.randrange(len(names))
    with Child(partial(watching, life)) as child:
        assert child.hear() == "open"
        time.sleep(0.03)
        for number, name in enumerate(names):
            drop(life.feeds, name, content(int(name[:3]), ROWS))
            time.sleep(rng.uniform(0, 0.004))
            if not life.calls and number == killed_at:
                child.send(signal.SIGKILL)
        imported = child.rest().count("imported")
        assert child.wait() == -signal.SIGKILL
    return 0 < imported < len(names)


def live(directory: Path, seed: int, files: int, *, guarded: bool = True) -> tuple[int, list[str]]:
    """(kills halfway through a drop, what is wrong in the end)."""
    rng, halfway = random.Random(seed), 0
    life = Life(directory / "home", directory / "feeds", guarded)
    life.feeds.mkdir(parents=True)
    Registry.open(life.home, durability="relaxed").close()
    names = [f"{number:03}.csv" for number in range(files)]
    for start in range(0, files, files // KILLS):
        calls = int(10 ** rng.uniform(3.5, 4.5)) if rng.random() < 0.5 else 0
        drops = names[start : start + files // KILLS]
        halfway += round_of(life._replace(calls=calls), rng, drops)
    said, was_killed = killed(partial(watching, life), None)
    assert not was_killed and "refused" not in said
    return halfway, twice_or_never(life.home, names)


def test_kill_9_while_files_are_dropped(tmp_path: Path) -> None:
    (seed,) = seeds(1)
    halfway, wrong = live(tmp_path, seed, FILES)
    assert not wrong, f"seed {seed}: {wrong}"
    report(f"{KILLS} kills of a watcher", [seed], files=FILES, kills_halfway=halfway)
    assert halfway


def test_without_the_look_for_the_content_files_are_imported_twice(tmp_path: Path) -> None:
    """The control: the same life finds fault with it."""
    (seed,) = seeds(1)
    _, wrong = live(tmp_path, seed, FILES // 10, guarded=False)
    assert any(re.search(r" ([2-9]|\d\d) times$", each) for each in wrong), wrong
    assert any("imported already" in each for each in wrong), "and so does the audit"
