"""Seeded histories of a whole registry with faults; see `World` for what must hold in each.

`ALPHAPULSE_TEST_SEED=n` replays one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from unittest import mock

import pytest

from tests.crash.children import seeds

from .memory_store import MemoryStore
from .world import Subscriber, World

STEPS = 200
PARTS = 4
CONTROL_SEEDS = 30


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """A directory for each world."""
    return (tmp_path / str(number) for number in range(1_000_000))


@pytest.mark.parametrize("part", range(PARTS))
def test_every_history_converges(places: Iterator[Path], part: int, scale: float) -> None:
    """100 seeds of 200 steps in all parts together."""
    counts: Counter[str] = Counter()
    for seed in islice(seeds(max(PARTS, round(100 * scale))), part, None, PARTS):
        world = World(next(places), seed)
        world.run(STEPS)
        counts.update(world.counts)
    print(dict(counts.most_common()))


def test_the_same_seed_is_the_same_history(places: Iterator[Path]) -> None:
    for seed in seeds(3):
        first, again = World(next(places), seed), World(next(places), seed)
        assert first.run(STEPS) == again.run(STEPS), _first_difference(first, again)
        assert first.trace != World(next(places), seed + 1).trace


def _first_difference(first: World, again: World) -> str:
    pairs = zip(first.trace, again.trace, strict=False)
    return next((f"{one!r} is not {other!r}" for one, other in pairs if one != other), "length")


# Controls: each breaks one thing, and some history of a few must tell.


class SkipsASeam(Subscriber):
    """History first and then "now": what comes between the two is lost."""

    _caught_up = False

    def poll(self) -> bool:
        if self._caught_up:
            self._subscription = self._registry.subscribe(self.pattern, "now")
        found = super().poll()
        self._caught_up = not found
        return found


class LosesBlocks(MemoryStore):
    """Acknowledges as durable what is only in the cache of the drive."""

    def flush(self) -> None:
        pass


def complaint(
    places: Iterator[Path], *, store: type[MemoryStore] = MemoryStore,
    subscriber: type[Subscriber] = Subscriber,
) -> str:  # fmt: skip
    """What the first history that goes wrong says."""
    for number, seed in enumerate(seeds(CONTROL_SEEDS), 1):
        try:
            World(next(places), seed, store=store, subscriber=subscriber).run(STEPS)
        except Exception as error:
            print(f"found by history {number}: {type(error).__name__}: {error}")
            return f"{type(error).__name__}: {error}"
    return "nothing"


def test_control_a_subscriber_that_skips_where_it_caught_up(places: Iterator[Path]) -> None:
    assert "a subscriber to" in complaint(places, subscriber=SkipsASeam)


def test_control_a_store_that_loses_what_it_acknowledged(places: Iterator[Path]) -> None:
    assert "but a checkpoint saw it at" in complaint(places, store=LosesBlocks)


def test_control_without_checkpoints_the_loss_still_shows(places: Iterator[Path]) -> None:
    with mock.patch("alphapulse.log.checkpoints.Checkpoints.last", return_value=None):
        assert complaint(places, store=LosesBlocks) != "nothing"


def test_control_views_of_before_a_power_loss_are_believed(places: Iterator[Path]) -> None:
    with mock.patch("alphapulse.projections.table_reader.check_states"):
        assert complaint(places) != "nothing"
