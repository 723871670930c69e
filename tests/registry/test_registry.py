"""The facade as its users see it: the documented example, time travel, other processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import (
    Closed,
    Event,
    HomeMissing,
    InvalidInput,
    OffsetOutOfRange,
    ReadOnly,
    eventlog,
    format_time,
    subscription,
    waiting,
)
from alphapulse.log.bell import Ringer
from alphapulse.projections import Views
from alphapulse.registry import (
    Equity,
    InstrumentRecord,
    Listing,
    Registry,
    Token,
)
from tests.log.logs import draft, until

from .homes import APPLE, isin, open_home, record, rows, token, tokens

pytestmark = pytest.mark.usefixtures("forked_interpreters")


def test_the_documented_example(tmp_path: Path) -> None:
    home, tokens = tmp_path / "home", [
        Token(chain="eip155:137", address=f"0x{n:040x}", symbol=f"T{n}") for n in range(1, 4)
    ]  # fmt: skip
    with Registry.open(home) as registry:
        receipt = registry.register(Equity(isin="US0378331005", symbol="AAPL", name="Apple Inc."))
        registry.add_listing(
            Listing(instrument=receipt.id, venue="XETR", symbol="APC", currency="EUR")
        )
        receipts = registry.register_many(tokens)
        assert [each.offset for each in receipts] == [2, 3, 4]
        assert all(each.durable for each in receipts) == registry.statistics().durable
        apple = registry.get(receipt.id)
        assert isinstance(apple, InstrumentRecord)
        assert apple.symbol == "AAPL"
        assert registry.get(receipt.id + 1) is None
        for found in (registry.by_isin("US0378331005"), *registry.by_symbol("APC", venue="XETR")):
            assert found is not None
            assert found.id == apple.id
        by_address = registry.by_address("eip155:137", "0x" + "0" * 39 + "2")
        assert by_address is not None
        assert by_address.id == receipts[1].id
        assert [each.symbol for each in registry.listings(apple.id)] == ["APC"]
        assert [event.offset for event in registry.history(apple.id)] == [0, 1]
        assert registry.get(apple.id, as_of=0) is not None
        assert registry.resolve(Token(chain="eip155:137", address=tokens[0].address)) == (
            receipts[0].id
        )
        seen = []
        for event in registry.subscribe("class=token chain=eip155:137", start="beginning"):
            seen.append(event.entity)
            if len(seen) == 3:
                break
        assert seen == [each.id for each in receipts]
        assert asyncio.run(first_collision(registry)) is not None


async def first_collision(registry: Registry) -> Event | None:
    """The pattern of the example is `kind=collision`; here conflicts stand in, being cheap."""
    started = asyncio.Event()

    async def tail() -> Event | None:
        subscription = registry.subscribe("kind=conflict")
        started.set()
        async for event in subscription:
            return event
        return None

    tailing = asyncio.create_task(tail())
    await started.wait()
    registry.register(Equity(isin="US0378331005", symbol="X"), source="other")
    return await asyncio.wait_for(tailing, 30)


def test_spinning_follows_a_view_to_its_next_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without bells, and with the looks by the clock minutes apart."""
    monkeypatch.setattr(Ringer, "ring", lambda _: None)
    for module in (waiting, subscription):
        monkeypatch.setattr(module, "BACKSTOP_S", 600.0)
    with open_home(tmp_path / "home") as registry:
        seen: list[int] = []
        events = registry.subscribe("kind=instrument.registered", start=0, spin=True)
        thread = threading.Thread(target=lambda: seen.extend(event.offset for event in events))
        thread.start()
        for number in range(3):
            registry.register(token(number))
            until(lambda: len(seen) == registry.log.head)
            registry.rebuild()
        events.close()
        thread.join()
        assert seen == [0, 1, 2]


def test_a_collision_reaches_an_async_subscriber(tmp_path: Path) -> None:
    async def run() -> list[Event]:
        found: list[Event] = []
        with open_home(tmp_path / "home", id_bits=8) as registry:
            receipts = registry.register_many(tokens(60))
            stop = registry.log.head
            async for event in registry.subscribe("kind=collision", "beginning", stop=stop):
                found.append(event)
            collided = [receipt.id for receipt in receipts if receipt.outcome == "collision"]
            assert [event.entity for event in found] == collided
        return found

    assert asyncio.run(run())


# --- time travel -----------------------------------------------------------------------------


def test_as_of_an_offset_or_a_time(registry: Registry) -> None:
    id = registry.register(token(1, symbol="A")).id
    registry.amend(id, symbol="B")
    registry.delist(id)
    registry.register(token(2))
    times = [format_time(event.recorded) for event in registry.read()]
    assert len(set(times)) == 4
    for as_of, expected in enumerate([("A", 1), ("B", 2), ("B", 3), ("B", 3)]):
        for point in (as_of, str(as_of), times[as_of]):
            then = registry.get(id, as_of=point)
            assert then is not None
            assert (then.symbol, then.revision) == expected
    before = format_time(registry.log.event(0).recorded - 1)
    for point in (before, "2020-01", "1999-01-01"):
        assert registry.get(id, as_of=point) is None
        assert registry.stop_of(point) == 0
    assert registry.stop_of("2200-01-01") == registry.stop_of(3) == registry.log.head == 4
    assert registry.get(id ^ 1, as_of=2) is None


@pytest.mark.parametrize("beyond", [1, "1", 1 << 70])
def test_an_offset_that_is_not_there_yet_is_no_moment(
    registry: Registry, beyond: int | str
) -> None:
    """A time may lie ahead, and means now; an offset that nobody wrote is a slip."""
    id = registry.register(APPLE).id
    assert registry.get(id, as_of="2200-01-01") == registry.get(id, as_of=0) == registry.get(id)
    for ask in (registry.get, registry.describe, registry.siblings, registry.listing_bodies):
        with pytest.raises(OffsetOutOfRange, match=f"offset={beyond}, head=1"):
            ask(id, as_of=beyond)


@pytest.mark.parametrize("bad", [-1, "yesterday", "", "-1", "2020-13-01", "²", "9" * 5_000])
def test_a_bad_as_of(registry: Registry, bad: int | str) -> None:
    id = registry.register(APPLE).id
    with pytest.raises(InvalidInput):
        registry.get(id, as_of=bad)


def test_a_bare_integer_as_text_is_an_offset_everywhere(registry: Registry) -> None:
    """Never a year, though `2026` could be read as one."""
    for as_of in ("2026", 2026):
        with pytest.raises(OffsetOutOfRange):
            registry.stop_of(as_of)
    assert registry.subscribe(start="2026").position == registry.subscribe(start=2026).position


def test_events_of_one_commit_share_their_time(registry: Registry) -> None:
    """A time means all that was recorded by then, so the whole commit."""
    registry.register_many(tokens(3))
    time = format_time(registry.log.event(0).recorded)
    assert registry.stop_of(time) == 3


def test_the_history_merges_what_is_linked(registry: Registry) -> None:
    apple = registry.register(APPLE, source="a").id
    other = registry.register(token(1)).id
    listing = registry.add_listing(Listing(instrument=apple, venue="XETR"), source="a").id
    registry.add_to_group(apple, "a", "g")
    registry.add_to_group(other, "a", "g")
    registry.amend(apple, symbol="B")
    registry.end_listing(listing, valid_to=5)
    registry.register(Equity(isin=APPLE.isin, symbol="C"), source="b")
    registry.acknowledge(7)
    assert [event.offset for event in registry.history(apple)] == [0, 2, 3, 5, 6, 7, 8]
    assert [event.offset for event in registry.history(other)] == [1, 4]
    assert registry.history(99) == []
    description = registry.describe(apple, as_of=4)
    assert description is not None
    assert (description.offset, description.record.symbol) == (0, "AAPL")
    assert registry.facts(99) is None


def test_listings_by_isin(registry: Registry) -> None:
    one, two = (registry.register(Equity(isin=isin(n))).id for n in range(2))
    ids = [
        registry.add_listing(Listing(instrument=id, venue=venue)).id
        for id, venue in ((one, "XETR"), (two, "XLON"), (one, "XNAS"))
    ]
    assert [each.id for each in registry.listings_by_isin(isin(0))] == [ids[0], ids[2]]
    assert list(registry.listings_by_isin(isin(7))) == []
    registry.amend(two, isin=isin(0))  # now two carry it
    assert [each.id for each in registry.listings_by_isin(isin(0))] == [ids[0], ids[2], ids[1]]
    assert repr(registry.listings_by_isin(isin(7))) == "[]"
    assert [each.id for each in registry.listings_by_isin(isin(1))] == [ids[1]]  # born with it
    held = registry.listings(one)
    registry.add_listing(Listing(instrument=one, venue="XPAR"))
    assert (len(held), len(registry.listings(one))) == (2, 3)
    assert isinstance(held, Sequence) and held[-1].id == ids[2] == next(reversed(held)).id
    for bad in ("", "US-", "-US", "-0000000001", "é", "US_0378331005", "US0378331006"):
        with pytest.raises(InvalidInput):
            registry.listings_by_isin(bad)


WRONG: list[tuple[str, Callable[[Registry, Any], object]]] = [
    ("id", lambda registry, bad: registry.amend(bad, symbol="X")),
    ("id", lambda registry, bad: registry.set_status(bad, "active")),
    ("id", lambda registry, bad: registry.delist(bad)),
    ("id", lambda registry, bad: registry.end_listing(bad, valid_to=5)),
    ("id", lambda registry, bad: registry.add_to_group(bad, "a", "g")),
    ("alert", lambda registry, bad: registry.acknowledge(bad)),
]


@pytest.mark.parametrize("bad", ["0x12", "5", None, 1.0, True, -1, 1 << 64])
@pytest.mark.parametrize("name,use", WRONG)
def test_an_id_that_is_none_is_refused_by_name(
    registry: Registry, name: str, use: Callable[[Registry, Any], object], bad: object
) -> None:
    with pytest.raises(InvalidInput, match=f"field {name}: "):
        use(registry, bad)
    assert registry._writer.groups == 0, "before anybody else's session is troubled"


ASKED: list[tuple[str, Callable[[Registry, Any], object]]] = [
    ("id", lambda registry, bad: registry.get(bad)),
    ("id", lambda registry, bad: registry.get(bad, as_of=0)),
    ("id", lambda registry, bad: registry.listings(bad)),
    ("id", lambda registry, bad: registry.describe(bad)),
    ("id", lambda registry, bad: registry.facts(bad)),
    ("id", lambda registry, bad: registry.components(bad)),
    ("id", lambda registry, bad: registry.listing_bodies(bad)),
    ("id", lambda registry, bad: registry.find_listing(bad, "XETR")),
    ("id", lambda registry, bad: registry.groups(bad)),
    ("id", lambda registry, bad: registry.siblings(bad)),
    ("id", lambda registry, bad: registry.history(bad)),
    ("id", lambda registry, bad: registry.blame(bad)),
    ("id", lambda registry, bad: registry.joined([bad])),
    ("id", lambda registry, bad: registry.diff(0, 0, [bad])),
    ("offset", lambda registry, bad: registry.body_at(bad)),
    ("content_hash", lambda registry, bad: registry.imported(bad)),
    ("views", lambda registry, bad: registry.rebuild([bad])),
    ("start", lambda registry, bad: registry.read(bad)),
    ("instrument", lambda registry, bad: registry.resolve(bad)),
    ("instrument", lambda registry, bad: registry.register(bad)),
]
ASKED_IN_TEXT: list[tuple[str, Callable[[Registry, Any], object]]] = [
    ("symbol", lambda registry, bad: registry.by_symbol(bad)),
    ("isin", lambda registry, bad: registry.by_isin(bad)),
    ("chain", lambda registry, bad: registry.by_address(bad, "0x" + "0" * 40)),
    ("key", lambda registry, bad: registry.lookup.find(bad)),
    ("request_id", lambda registry, bad: registry.offset_of_request(bad)),
    ("pattern", lambda registry, bad: registry.read(pattern=bad)),
]


@pytest.mark.parametrize("name,use", ASKED + ASKED_IN_TEXT)
def test_a_question_about_what_is_none_is_refused_by_name(
    registry: Registry, name: str, use: Callable[[Registry, Any], object]
) -> None:
    registry.register(APPLE)
    wrong: list[object] = [None, 1.5, [], {}]
    wrong += [5, b"x"] if (name, use) in ASKED_IN_TEXT else ["AAPL", ""]
    for bad in wrong:
        with pytest.raises(InvalidInput, match=f"field {name}: "):
            use(registry, bad)


def test_names_that_are_no_text_or_no_choice(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="naming a cursor"):
        registry.subscribe(cursor=5)  # type: ignore[call-overload]  # what is tested
    for mode in ("w", "q", ""):
        with pytest.raises(InvalidInput, match="there is no mode"):
            Registry.open(tmp_path / "new", mode=mode)  # type: ignore[arg-type]  # what is tested
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("bad", ["\ud800", "\x1b[31m", "a\u202eb", "x" * 513, "é" * 300, 5, None])
def test_a_reason_is_text_that_can_be_shown(registry: Registry, bad: Any) -> None:
    registry.register(APPLE, source="a")
    other = registry.register(Equity(isin=APPLE.isin, symbol="B"), source="b")
    with pytest.raises(InvalidInput, match="field reason"):
        registry.acknowledge(other.conflicts[0], reason=bad)
    assert registry.log.head == 2
    closed = registry.acknowledge(other.conflicts[0], reason="x" * 512)
    assert closed.offset == 2


def test_a_source_that_is_no_text_is_refused(registry: Registry) -> None:
    for bad in (0, None, b"a"):
        with pytest.raises(InvalidInput, match="field source"):
            registry.register(APPLE, source=bad)  # type: ignore[arg-type]  # what is tested


def test_a_closed_registry_says_so(tmp_path: Path) -> None:
    with open_home(tmp_path / "home") as registry:
        id = registry.register(APPLE).id
    uses: list[Callable[[], object]] = [
        lambda: registry.register(APPLE), lambda: registry.amend(id, symbol="X"),
        lambda: registry.register_many([APPLE]), lambda: registry.get(id),
        lambda: registry.listings_by_isin(APPLE.isin), lambda: list(registry.read()),
        lambda: registry.subscribe().poll(), lambda: registry.statistics(),
        lambda: registry.listings(id), lambda: registry.by_symbol("AAPL"), registry.alerts,
        lambda: registry.history(id), lambda: registry.siblings(id),
        lambda: registry.rebuild(), lambda: registry.rehearsal().__enter__(),
    ]  # fmt: skip
    for number, use in enumerate(uses):
        with pytest.raises(Closed):
            pytest.fail(f"{number}: {use()}")


def test_the_log_is_closed_when_the_views_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Views) -> None:
        raise OSError("no space")

    registry = open_home(tmp_path / "home")
    monkeypatch.setattr(Views, "close", fail)
    with pytest.raises(OSError, match="no space"):
        registry.close()
    with pytest.raises(Closed):
        registry.log.head  # noqa: B018  # it is a property


def test_statistics(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=32) as registry:
        found = registry.statistics()
        assert (found.head, found.events, found.instruments, found.id_bits) == (0, 0, 0, 32)
        apple = registry.register(APPLE, source="a").id
        registry.add_listing(Listing(instrument=apple, venue="XETR"))
        registry.register(Equity(isin=APPLE.isin, symbol="C"), source="b")
        found = registry.statistics()
        assert (found.head, found.events, found.instruments, found.listings) == (3, 3, 1, 1)
        assert (found.alerts_open, found.durable, found.broken) == (1, False, "")
        assert found.chain_head == registry.log.chain_head
        assert found.size_bytes > 0
        assert {view.offset for view in found.views.values()} == {3}


# --- readers ---------------------------------------------------------------------------------


def test_a_reader_in_another_thread_sees_what_is_registered(registry: Registry) -> None:
    reader = Registry.open(registry.log.home.path, mode="r", durability="relaxed")
    with reader, pytest.raises(ReadOnly):
        reader.register(APPLE)
    reader = Registry.open(registry.log.home.path, mode="r", durability="relaxed")
    missing: list[int] = []

    def look() -> None:
        for event in reader.subscribe("class=token", start="beginning", stop=200):
            registered.wait(30)
            if reader.get(event.entity) is None:
                missing.append(event.entity)

    registered = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    found = [registry.register(each) for each in tokens(200)]
    registered.set()
    thread.join(60)
    assert not thread.is_alive()
    assert missing == []
    assert all(reader.get(receipt.id) is not None for receipt in found)
    reader.close()


READER = """
import sys
from alphapulse.registry import Registry, Token

with Registry.open(sys.argv[1], mode="r") as registry:
    print("open", flush=True)
    for line in sys.stdin:
        id, symbol = line.split()
        found = registry.get(int(id))
        by_symbol = [each.id for each in registry.by_symbol(symbol)]
        print(None if found is None else found.symbol, by_symbol, flush=True)
"""


def test_a_reader_in_another_process_sees_it_without_reopening(registry: Registry) -> None:
    registry.register(APPLE)
    child = subprocess.Popen(
        [sys.executable, "-c", READER, str(registry.log.home.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "open\n"

        def ask(id: int, symbol: str) -> str:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(f"{id} {symbol}\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        for number in range(20):
            id = registry.register(token(number, symbol=f"T{number}")).id
            assert ask(id, f"T{number}") == f"T{number} [{id}]"
            assert ask(id ^ 1, "none") == "None []"
        registry.register_many(tokens(1_000, 100))  # the views grow, twice
        registry.amend(id, symbol="NEW")
        assert ask(id, "NEW") == f"NEW [{id}]"
        registry.rebuild()
        registry.amend(id, symbol="NEWER")
        assert ask(id, "NEWER") == f"NEWER [{id}]"
        child.stdin.close()
    assert child.returncode == 0


def test_a_reader_makes_no_home(tmp_path: Path) -> None:
    for options in ({"mode": "r"}, {"create": False}):
        with pytest.raises(HomeMissing):
            Registry.open(tmp_path / "home", **options)
    assert not (tmp_path / "home").exists()


def test_a_reopened_home_is_as_it_was(tmp_path: Path) -> None:
    with open_home(tmp_path / "home") as registry:
        found = registry.register_many(tokens(10))
        before = rows(registry)
    with open_home(tmp_path / "home", id_bits=8) as registry:  # bits are for new homes
        assert registry.statistics().id_bits == 64
        assert rows(registry) == before
        assert [record(registry, each.id).symbol for each in found] == [f"T{n}" for n in range(10)]
    registry.close()  # again, which is fine


@pytest.mark.parametrize("spin", [False, True])
def test_who_is_told_of_an_event_finds_it_in_the_views(tmp_path: Path, spin: bool) -> None:
    with Registry.open(tmp_path / "home") as registry:
        events = registry.subscribe("kind=instrument.registered", "now", stop=150, spin=spin)
        missing: list[int] = []

        def look() -> None:
            missing.extend(e.offset for e in events if registry.get(e.entity) is None)

        looking = threading.Thread(target=look)
        looking.start()
        for number in range(150):
            registry.register(token(number))
        looking.join(30)
        assert not looking.is_alive() and missing == []


def test_what_a_killed_writer_left_unfolded_is_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert eventlog.UNSHOWN_NS_MAX == 1_000_000_000
    monkeypatch.setattr(eventlog, "UNSHOWN_NS_MAX", 200_000_000)
    with Registry.open(tmp_path / "home") as registry:
        events = registry.subscribe(start="now")
        began = time.monotonic()
        with registry.log.writing() as session:  # commits, and folds nothing
            session.append(draft(1))
        event = events.next_event(timeout_s=30)
        assert event is not None and event.offset == 0
        assert time.monotonic() - began > 0.18
