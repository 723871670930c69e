"""`diff` and `blame` against what describing each field at each offset says."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from alphapulse.log import InvalidInput, OffsetOutOfRange
from alphapulse.registry import Change, Equity, Listing, Origin, Registry, Unit
from alphapulse.registry.fields import Shown, fields_of
from alphapulse.registry.held import FactBody
from alphapulse.registry.venues import WINDOWS_NS, Summary, Venue, fee_line, fee_schedule
from alphapulse.registry.venues.commands import SetPerformance

from .homes import APPLE, open_home, token

SEED = int(os.environ.get("ALPHAPULSE_TEST_SEED", random.SystemRandom().getrandbits(32)))
State = Mapping[tuple[int, str], Shown]


def state_at(registry: Registry, stop: int) -> State:
    """Every field of every instrument after the first `stop` events, by folding them all."""
    newest: dict[tuple[int, int], FactBody] = {}
    for event in registry.read(0, stop, "kind=instrument,listing,relation"):
        assert isinstance(event.body, FactBody)
        newest[event.space, event.entity] = event.body
    found: dict[tuple[int, str], Shown] = {}
    for body in newest.values():
        id, fields = fields_of(body)
        found.update({(id, field): value for field, value in fields.items()})
    return found


def expected(registry: Registry, start: int, stop: int) -> set[Change]:
    """By comparing whole states, one event at a time."""
    states = [state_at(registry, at) for at in range(start, stop + 1)]
    before, after = states[0], states[-1]
    found = set()
    for key in before.keys() | after.keys():
        if before.get(key) != after.get(key):
            offset = max(
                start + step for step in range(len(states) - 1)
                if states[step].get(key) != states[step + 1].get(key)
            )  # fmt: skip
            found.add(Change(*key, before.get(key), after.get(key), offset))
    return found


def busy(registry: Registry, rng: random.Random, events: int) -> list[int]:
    """Fills a home with changes of all kinds to few things, some of them back to what was."""
    ids = [registry.register(token(n), source="a").id for n in range(3)]
    ids.append(registry.register(APPLE, source="a").id)
    while registry.log.head < events:
        id, symbol = rng.choice(ids), rng.choice("ABC")
        venue = rng.choice(["XETR", "XFRA"])
        choice = rng.randrange(6)
        if choice == 0:
            registry.amend(id, symbol=symbol, name=rng.choice([None, "N", "M"]))
        elif choice == 1:
            registry.amend(id, tick=rng.choice([None, "0.1", "0.01"]), valid_from="2020")
        elif choice == 2:
            registry.add_listing(
                Listing(instrument=id, venue=venue, symbol=symbol, primary=rng.random() < 0.5),
                source=rng.choice("ab"),
            )
        elif choice == 3:
            registry.add_to_group(id, "a", symbol)
        elif choice == 4 and registry.listings(id):
            listing = registry.find_listing(id, registry.listings(id)[0].venue)
            registry.end_listing(listing, valid_to=rng.randrange(1, 4))
        elif choice == 5:
            registry.set_status(id, rng.choice(["halted", "active"]))
    return ids


def test_diff_and_blame_say_what_a_fold_of_everything_says(tmp_path: Path, scale: float) -> None:
    rng = random.Random(SEED)
    print(f"ALPHAPULSE_TEST_SEED={SEED}")
    with open_home(tmp_path / "home") as registry:
        ids = busy(registry, rng, 60)
        head = registry.log.head
        for _ in range(max(1, round(15 * scale))):
            a, b = sorted(rng.sample(range(head), 2))
            found = list(registry.diff(a, b))
            assert set(found) == expected(registry, a + 1, b + 1)
            assert len(set(found)) == len(found)
            one = [change for change in found if change.id == ids[0]]
            assert list(registry.diff(a, b, [ids[0]])) == one
        for id in ids:
            at = rng.randrange(3, head)
            blames = {each.field: each for each in registry.blame(id, as_of=at)}
            changes = {c.field: c for c in expected(registry, 0, at + 1) if c.id == id}
            assert {f: (c.after, c.offset) for f, c in changes.items()} == {
                f: (each.value, each.offset) for f, each in blames.items()
            }
            for each in blames.values():
                event = registry.log.event(each.offset)
                assert (each.recorded, each.source) == (event.recorded, event.source)


def test_new_changed_and_gone(registry: Registry) -> None:
    """before is None for what is new, after for what is gone; no change is no line."""
    apple = registry.register(APPLE, source="a").id
    registry.amend(apple, name=None, symbol="X", tick="0.010")
    registry.amend(apple, symbol="AAPL")
    listing = registry.add_listing(Listing(instrument=apple, venue="XETR", currency="EUR"))
    assert set(registry.diff(0, 3)) == {
        Change(apple, "name", "Apple Inc.", None, 1),
        Change(apple, "tick", None, "0.01", 1),
        Change(apple, "listing XETR EUR 0", None, True, listing.offset),
    }
    assert list(registry.diff(3, 3)) == []
    nothing = list(registry.diff("1970-01-01", 0))
    assert {(c.before, c.offset) for c in nothing} == {(None, 0)}
    assert {c.field for c in nothing} == {"class", "status", "symbol", "name", "isin"}


def test_a_conflict_changes_nothing(registry: Registry) -> None:
    apple = registry.register(APPLE, source="a").id
    registry.register(Equity(isin=APPLE.isin, symbol="Z"), source="b")
    registry.amend(apple, symbol="Y")
    assert list(registry.diff(0, 1)) == []
    assert list(registry.diff(1, 2)) == [Change(apple, "symbol", "AAPL", "Y", 2)]
    assert {blame.offset for blame in registry.blame(apple, as_of=1)} == {0}


def test_venues_and_what_is_said_of_them(registry: Registry) -> None:
    """A warning stands in the chain of fees, and a window of performance in one of its own."""
    venues = registry.venues
    for key in ("binance", "kraken"):
        id = venues.add(Venue(key=key)).id
        for offset, value in enumerate(("9", "0.1")):
            line = fee_line({"value": value})
            said = venues.set_fees(key, fee_schedule([line]), valid_from=f"202{offset}-01-01")
    assert [event.kind_name for event in venues.history("kraken")] == [
        "venue.registered", "venue.fees", "venue.warning", "venue.fees",
    ]  # fmt: skip
    changes = [Change(id, "fees kraken valid_from", "2020-01-01T00:00:00.000000000Z",
                      "2021-01-01T00:00:00.000000000Z", said.offset, "kraken"),
               Change(id, "fees kraken - both trading 0", "9 percent of quote",
                      "0.1 percent of quote", said.offset, "kraken")]  # fmt: skip
    assert list(registry.diff(said.offset - 1, said.offset)) == changes
    assert {each.venue for each in registry.diff(0, said.offset, venues=["Kraken"])} == {"kraken"}
    assert {each.venue for each in registry.diff(0, 6, venues=["binance"])} == {"binance"}
    summary = Summary(0, WINDOWS_NS["1h"])
    command = SetPerformance("kraken", 0, summary.stop, 0, summary.measures(), {})
    assert isinstance(next(registry.execute([Unit((command,), Origin())])), list)
    assert list(registry.diff(said.offset, said.offset + 1)) == []
    assert {each.offset for each in venues.blame("kraken")} == {4, 5, said.offset}
    assert venues.blame("bitstamp") == []


def test_points_in_time_that_are_not_there(registry: Registry) -> None:
    registry.register(APPLE)
    with pytest.raises(OffsetOutOfRange):
        registry.diff(0, 1)
    registry.register(token(1))
    with pytest.raises(InvalidInput, match="after the second"):
        registry.diff(1, 0)
    assert registry.blame(5) == []


def test_a_diff_reads_no_more_than_what_changed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cost follows the events between, not the size of the log."""
    ids = [registry.register(token(n)).id for n in range(40)]
    registry.amend(ids[7], symbol="X")
    real, read = registry.log.event, []

    def event(offset: int) -> object:
        read.append(offset)
        return real(offset)

    monkeypatch.setattr(registry.log, "event", event)
    assert len(list(registry.diff(39, 40))) == 1
    assert sorted(read) == [7, 40]
