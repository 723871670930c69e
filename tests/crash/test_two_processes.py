"""Two processes at once: both writing, or one reading while another writes, grows and rebuilds."""

from __future__ import annotations

import json
import logging
import random
import shutil
from functools import partial
from pathlib import Path

import pytest

from alphapulse.log import Event, InstrumentBody, Kind
from alphapulse.projections import Views
from alphapulse.registry import Registry, Token, facts_of, key_text, replay_into

from .children import Child, Hear, Say, complaints, report, seeds, verification_here
from .lists import tokens


def feeding(home: Path, seed: int, instruments: list[Token], say: Say, hear: Hear) -> None:
    rng = random.Random(seed)
    logging.disable()  # of 500 collisions, to each of pytest's handlers
    say("ready")
    hear()
    outcomes: dict[str, int] = {}
    with verification_here(), Registry.open(home, id_bits=12) as registry:
        at = 0
        while at < len(instruments):
            chunk = instruments[at : at + rng.choice((1, 10, 100, 400))]
            for receipt in registry.register_many(chunk):
                outcomes[receipt.outcome] = outcomes.get(receipt.outcome, 0) + 1
            at += len(chunk)
    say(json.dumps(outcomes))


def feed_twice(home: Path, seed: int, instruments: list[Token]) -> dict[str, int]:
    """Outcomes of both children together. They race from the making of the home on."""
    children = [Child(partial(feeding, home, seed + n, instruments)) for n in range(2)]
    with children[0] as first, children[1] as second:
        for child in (first, second):
            assert child.hear() == "ready"
        for child in (first, second):
            child.say("go")
        total: dict[str, int] = {}
        for child in (first, second):
            line = child.hear()
            assert child.wait() == 0
            for outcome, count in json.loads(line).items():
                total[outcome] = total.get(outcome, 0) + count
    return total


def digests_of(registry: Registry) -> dict[str, bytes]:
    """Of each view; ids and fingerprints are in them."""
    return {name: view.digest for name, view in registry.statistics().views.items()}


def key_of(event: Event) -> bytes:
    """Under which an instrument was registered."""
    assert isinstance(event.body, InstrumentBody)
    return event.body.extension.key


def test_two_processes_feed_the_same_tokens_at_once(tmp_path: Path, scale: float) -> None:
    """One registration a key, whoever was first; each collision is an event and an alert."""
    instruments, found = tokens(2_000), 0
    keys = [facts_of(token).key for token in instruments]
    assert all(t.address.lower() in key_text(key) for t, key in zip(instruments, keys, strict=True))
    wanted = list(seeds(max(1, round(10 * scale))))
    for number, seed in enumerate(wanted):
        home = tmp_path / str(number)
        outcomes = feed_twice(home, seed, instruments)
        assert sum(outcomes.values()) == 2 * len(instruments)
        assert outcomes["new"] + outcomes["collision"] == outcomes["unchanged"] == len(instruments)
        with Registry.open(home) as registry:
            ids = [registry.resolve(token) for token in instruments]
            assert None not in ids and len(set(ids)) == len(instruments)
            events = list(registry.read())
            registered = [e for e in events if e.kind == Kind.INSTRUMENT_REGISTERED]
            assert len(registered) == len(instruments)
            collisions = sum(event.kind == Kind.COLLISION_DETECTED for event in events)
            assert collisions == outcomes["collision"] == len(registry.alerts()) > 100
            assert len(events) == len(instruments) + collisions
            found += collisions
            assert {event.entity: key_of(event) for event in registered} == dict(
                zip(ids, keys, strict=True)
            )
            head, digests = registry.log.head, digests_of(registry)
        assert complaints(home) == []
        if number % 10:  # replays, which no race can change: one of ten, so one at scale 1
            continue
        with verification_here():
            replay_into(home, tmp_path / f"{number}-again", head)
        with Registry.open(tmp_path / f"{number}-again") as registry:
            assert digests_of(registry) == digests
            assert [registry.resolve(token) for token in instruments] == ids
    report("two processes, same tokens", wanted, runs=len(wanted), collisions=found, bad=0)


def test_a_reader_sees_each_registration_at_once(tmp_path: Path) -> None:
    """Acknowledged means visible to every process, without opening again."""
    home = tmp_path / "home"
    Registry.open(home, durability="relaxed").close()

    def reading(say: Say, hear: Hear) -> None:
        with Registry.open(home, mode="r", durability="relaxed") as registry:
            say("open")
            while line := hear():
                record = registry.get(int(line))
                say("missing" if record is None else record.symbol)

    with Child(reading) as child:
        assert child.hear() == "open"
        with Registry.open(home, durability="relaxed") as registry:
            # From no row at all past the first growth of the view.
            for number, token in enumerate(tokens(2_300)):
                if number % 10 == 0 or number > 1_990:
                    child.say(str(registry.register(token).id))
                    assert child.hear() == (token.symbol or "")
                elif number % 10 == 1:
                    registry.register_many(tokens(number + 9)[number:])
            renamed = registry.resolve(tokens(1)[0])
            assert renamed is not None
            registry.amend(renamed, symbol="NEW")
            child.say(str(renamed))
            assert child.hear() == "NEW"
            assert registry.views.table("instruments").generation > 1
        child.say("")
        assert child.wait() == 0


def checking(home: Path, known: dict[int, Token], seed: int, stop: Path, say: Say) -> None:
    """Looks up known instruments again and again, until the file `stop` is there."""
    rng, ids, rounds, generations = random.Random(seed), list(known), 0, set()
    with Registry.open(home, mode="r", durability="relaxed") as registry:
        say("open")
        while not stop.exists():
            for id in rng.sample(ids, 50):
                record = registry.get(id)
                assert record is not None, f"0x{id:016x} is missing"
                assert (record.id, record.symbol) == (id, known[id].symbol)
            token = known[rng.choice(ids)]
            assert registry.resolve(token) in known
            found = {record.id for record in registry.by_symbol(token.symbol or "")}
            assert found & known.keys(), f"{token.symbol} is missing"
            assert registry.get(12345) is None
            rounds += 1
            generations.add(registry.views.table("instruments").generation)
        say(f"{rounds} {len(generations)}")


def grow(registry: Registry, name: str) -> None:
    """What the engine does when a view is full."""
    views, lock = registry.views, registry.log.lock
    lock.acquire()
    try:
        views.catch_up_locked()
        writer = views._writers[name]
        generation = views._generations.found().next_number(name)
        path = views._generations.path(name, generation)
        views._switch({name: writer.grow_into(path, generation, writer.arena_used)})
    finally:
        lock.release()


def test_a_reader_survives_growths_and_rebuilds(tmp_path: Path, scale: float) -> None:
    """It never misses a known instrument nor sees another in its place."""
    home, stop = tmp_path / "home", tmp_path / "stop"
    (seed,) = list(seeds(1))
    rng, instruments = random.Random(seed), tokens(600)
    with Registry.open(home, durability="relaxed") as registry:
        receipts = registry.register_many(instruments[:300])
    known = {r.id: token for r, token in zip(receipts, instruments[:300], strict=True)}
    with Child(lambda say, _: checking(home, known, seed, stop, say)) as child:
        assert child.hear() == "open"
        with Registry.open(home, durability="relaxed") as registry:
            fresh = iter(instruments[300:])
            for _ in range(max(10, round(100 * scale))):
                if rng.random() < 0.5:
                    grow(registry, rng.choice(("instruments", "instruments", "listings")))
                else:
                    (rebuilt,) = registry.rebuild(["instruments"])
                    assert rebuilt.equal
                token = next(fresh, None)
                if token is not None:
                    registry.register(token)
        stop.touch()
        rounds, generations = map(int, child.hear().split())
        assert child.wait() == 0
    assert rounds > 10 and generations > 10
    report("a reader beside growths and rebuilds", [seed], rounds=rounds, generations=generations,
           bad=0)  # fmt: skip
    assert complaints(home) == []


@pytest.mark.parametrize("other", ["grow", "rebuild", "check"])
def test_a_rebuild_overtaken_by_another_process(tmp_path: Path, other: str) -> None:
    """A generation made meanwhile has a higher number and may have swept ours away."""
    home, instruments = tmp_path / "home", tokens(40)
    Registry.open(home).close()

    def overtaking(say: Say, hear: Hear) -> None:
        with Registry.open(home, durability="relaxed") as registry:
            registry.register_many(instruments[:30])
            say("ready")
            hear()
            for token in instruments[30:]:
                registry.register(token)
                if other == "grow":
                    grow(registry, "instruments")
                else:
                    registry.rebuild(["instruments"], check=other == "check")
            say("done")
            hear()

    with Child(overtaking) as child:
        assert child.hear() == "ready"
        with Registry.open(home, durability="relaxed") as registry:
            overtaken = False

            def overtake(*_: object) -> None:
                nonlocal overtaken
                if not overtaken:
                    overtaken = True
                    child.say("go")
                    assert child.hear() == "done"

            (rebuilt,) = registry.views.rebuild(["instruments"], progress=overtake)
            assert overtaken and rebuilt.equal and rebuilt.events == 40
            assert all(registry.resolve(token) is not None for token in instruments)
            assert Views(registry.log).rebuilt == []
            with Registry.open(home, mode="r", durability="relaxed") as reader:
                assert all(reader.resolve(token) is not None for token in instruments)
            child.say("end")
            assert child.wait() == 0
    assert complaints(home) == []


@pytest.mark.parametrize("what", ["views", "CURRENT", "zeros"])
def test_views_removed_under_open_processes(tmp_path: Path, what: str) -> None:
    """They may be deleted at any time: the next write or miss makes them again, for everyone."""
    home, (first, second, third) = tmp_path / "home", tokens(3)
    with (
        Registry.open(home, durability="relaxed") as writer,
        Registry.open(home, mode="r", durability="relaxed") as reader,
    ):
        known = writer.register(first).id
        assert reader.get(known) is not None
        if what == "views":
            shutil.rmtree(home / "views")
        elif what == "CURRENT":
            (home / "views" / "CURRENT").unlink()
        else:
            (home / "views" / "CURRENT").write_bytes(bytes(40))
        assert reader.get(known) is not None
        assert reader.get(12345) is None
        with Registry.open(home, mode="r", durability="relaxed") as newcomer:
            assert newcomer.get(known) is not None
            written = writer.register(second).id
            for registry in (newcomer, reader, writer):
                assert registry.get(written) is not None
                assert registry.resolve(third) is None
    assert complaints(home) == []


def test_a_reader_elsewhere_notices_new_files_of_the_same_numbers(tmp_path: Path) -> None:
    """Views deleted by hand are numbered from 1 again by a process that never saw them."""
    home, (first, second) = tmp_path / "home", tokens(2)
    with Registry.open(home, durability="relaxed") as registry:
        known = registry.register(first).id

    def reading(say: Say, hear: Hear) -> None:
        with Registry.open(home, mode="r", durability="relaxed") as registry:
            say("open")
            while line := hear():
                record = registry.get(int(line))
                say("missing" if record is None else record.symbol)

    with Child(reading) as child:
        assert child.hear() == "open"
        child.say(str(known))
        assert child.hear() == first.symbol
        shutil.rmtree(home / "views")
        with Registry.open(home, durability="relaxed") as registry:
            assert registry.views.table("instruments").generation == 1
            child.say(str(registry.register(second).id))
            assert child.hear() == second.symbol
        child.say("")
        assert child.wait() == 0
