"""Seeded histories of a whole registry with faults; see `World` for what must hold in each.

`ALPHAPULSE_TEST_SEED=n` replays one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from unittest import mock

import pytest

from tests.crash.children import report, seeds

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
    wanted = list(islice(seeds(max(PARTS, round(100 * scale))), part, None, PARTS))
    for seed in wanted:
        world = World(next(places), seed)
        world.run(STEPS)
        counts.update(world.counts)
    print(dict(counts.most_common()))
    report(
        f"simulation, part {part + 1} of {PARTS}", wanted, histories=len(wanted), steps=STEPS,
        registrations=counts["register"], powers_lost=counts["power lost"], bad=0,
    )  # fmt: skip


def test_the_same_seed_is_the_same_history(places: Iterator[Path], scale: float) -> None:
    wanted = list(seeds(max(1, round(scale**2))))
    for seed in wanted:
        first, again = World(next(places), seed), World(next(places), seed)
        assert first.run(STEPS) == again.run(STEPS), _first_difference(first, again)
        other = World(next(places), seed + 1)
        other.run(STEPS)
        assert first.trace != other.trace
    report("simulation, same seed, same trace", wanted, different=0)


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


def finding(
    wanted: str, places: Iterator[Path], *, store: type[MemoryStore] = MemoryStore,
    subscriber: type[Subscriber] = Subscriber,
) -> str:  # fmt: skip
    """The first finding of this kind, a regular expression; AssertionError if there is none.

    What is broken may also end a history in other ways; those prove nothing and are passed over.
    """
    others = []
    for number, seed in enumerate(seeds(CONTROL_SEEDS), 1):
        try:
            World(next(places), seed, store=store, subscriber=subscriber).run(STEPS)
        except Exception as error:
            text = str(error)
            if isinstance(error, AssertionError) and re.search(wanted, text):
                report(f"simulation, control: {wanted}", [seed], histories=number, found=repr(text))
                return text
            others.append(f"{type(error).__name__}: {text}")
    raise AssertionError(f"{wanted!r} was never found, but {others}")


def test_control_a_subscriber_that_skips_where_it_caught_up(places: Iterator[Path]) -> None:
    assert finding("^a subscriber to", places, subscriber=SkipsASeam)


def test_control_a_store_that_loses_what_it_acknowledged(places: Iterator[Path]) -> None:
    assert finding("^the log ends at .* but a checkpoint saw it at", places, store=LosesBlocks)


def test_control_without_checkpoints_the_loss_still_shows(places: Iterator[Path]) -> None:
    with mock.patch("alphapulse.log.checkpoints.Checkpoints.last", return_value=None):
        assert finding("acknowledged (as two events|and is gone)", places, store=LosesBlocks)


def test_control_views_of_before_a_power_loss_are_believed(places: Iterator[Path]) -> None:
    with mock.patch("alphapulse.projections.table_reader.check_states"):
        assert finding("from a fresh fold|is not in the views", places)


def test_control_nothing_broken_has_no_finding(
    places: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CONTROL_SEEDS", 2)
    with pytest.raises(AssertionError, match="was never found"):
        finding("", places)
