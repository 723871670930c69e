"""Long blocks whose frames are fetched when a pattern wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import lmdb
import pytest

from alphapulse.log.errors import Corrupt, NoLongerKept, NotDecodable
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.kinds import Kind
from alphapulse.log.pattern import Pattern
from alphapulse.log.scanned import ScannedBlock

from .logs import draft, make_log

SIZES = [3, 200, 1, 300]
LONG = 3
"""Where the first long block begins."""
RARE = "source=rare"
PATTERNS = (
    "kind=listing.added", "kind=instrument", "not kind=listing.added", "kind=alert.acknowledged",
    "kind=listing.added or kind=collision", "severity=info", "venue=XNAS", RARE, "symbol=*",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Every 17th event is a listing, every 19th of a rare source."""
    with make_log(tmp_path / "home") as log:
        for size in SIZES:
            with log.writing() as session:
                for _ in range(size):
                    at = session.head
                    kind = Kind.INSTRUMENT_REGISTERED if at % 17 else Kind.LISTING_ADDED
                    session.append(draft(at + 1, kind=kind, source="" if at % 19 else "rare"))
    return tmp_path / "home"


@pytest.fixture
def log(home: Path) -> Iterator[EventLog]:
    with EventLog.open(home) as opened:
        yield opened


def ended(events: Iterator[Event]) -> tuple[list[Event], str, object]:
    """What came, and how it ended."""
    came: list[Event] = []
    try:
        came.extend(events)
    except (Corrupt, NotDecodable) as error:
        return came, type(error).__name__, error.facts["offset"]
    return came, "", None


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize(("start", "stop"), [(0, 504), (2, 4), (20, 190), (100, 500), (203, 504)])
def test_what_matches_comes_however_much_was_copied(
    log: EventLog, text: str, start: int, stop: int
) -> None:
    pattern = Pattern.parse(text)
    expected = [event for event in log.read(start, stop) if pattern.matches(event)]
    assert list(log.read(start, stop, pattern)) == expected
    with log.subscribe(pattern, start, stop=stop) as subscription:
        assert list(subscription) == expected


def test_frames_that_do_not_match_stay_in_the_store(log: EventLog) -> None:
    blocks = list(log.blocks(scanned=True))
    assert [len(block.data) < block.size_bytes for block in blocks] == [False, True, False, True]
    fetched, whole = Mock(wraps=log.store.frames), Mock(wraps=log.store.block_at)
    log.store.frames, log.store.block_at = fetched, whole  # type: ignore[method-assign]
    assert list(log.read(pattern=Pattern.parse("kind=alert.acknowledged"))) == []
    assert not fetched.called and not whole.called
    listings = list(log.read(pattern=Pattern.parse("kind=listing.added")))
    assert [event.offset for event in listings] == list(range(0, 504, 17))
    assert fetched.call_count == 2 and not whole.called
    assert max(map(len, (event._buffer for event in listings))) < 20_000
    assert len(list(log.read(pattern=Pattern.parse("kind=instrument")))) == 504 - len(listings)
    assert fetched.call_count == 2 and whole.call_count == 2, "many are fetched with their block"


def test_its_events_are_those_of_the_block(log: EventLog) -> None:
    for scanned, block in zip(log.blocks(scanned=True), log.blocks(), strict=True):
        events = list(block.events())
        assert list(scanned.events()) == list(map(scanned.at, range(block.first, block.stop)))
        assert list(scanned.events()) == events and list(scanned.events(1)) == events[1:]
        for indexes in ([], [0], range(block.count)):
            assert list(scanned.events_at(indexes)) == [events[index] for index in indexes]
        previous = log.chain_at(block.first)
        scanned.check_chain(previous)
        for stop in {block.first + 1, block.stop}:
            assert scanned.prefix(stop, previous) == block.prefix(stop, previous)


def change(home: Path, at: int, byte: int) -> None:
    """Of the first long block, behind the log's back."""
    key = LONG.to_bytes(8, "big")
    with lmdb.open(str(home / "log"), max_dbs=2) as env:
        blocks = env.open_db(b"blocks")
        with env.begin(write=True, db=blocks) as txn:
            data = bytearray(txn.get(key) or b"")
            data[at] ^= byte
            txn.put(key, bytes(data))


@pytest.mark.parametrize("part", ["frame", "other frame", "end", "size", "count"])
def test_damage_ends_it_where_it_would_end_in_a_whole_block(home: Path, part: str) -> None:
    listings = [17, 34, 51]
    with EventLog.open(home) as log:
        block = log.block(LONG)
        index = listings[1] - LONG
        frame, ends = block.frame_bounds(index)[0], block._starts[2]
    at, byte = {
        "frame": (frame + 70, 4), "other frame": (frame - 9, 4),
        "end": (ends + 4 * index + 2, 8), "size": (36, 8), "count": (57, 64),
    }[part]  # fmt: skip
    change(home, at, byte)
    pattern = Pattern.parse("kind=listing.added")
    with EventLog.open(home) as log:
        if part in ("size", "count"):
            with pytest.raises(NotDecodable):
                list(log.read(pattern=pattern))
            return
        blocks = iter([log.block(0), log.block(LONG)])
        whole = ended(event for block in blocks for event in pattern.select(block))
        assert (whole[1] == "") == (part == "other frame")
        assert ended(log.read(0, 203, pattern)) == whole
        assert ended(log.subscribe(pattern, 0, stop=203)) == whole


def test_a_block_that_is_forgotten_meanwhile_is_not_passed_over(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (b for b in log.blocks(LONG, LONG + 1, scanned=True))
    assert isinstance(block, ScannedBlock)
    monkeypatch.setattr(log.store, "frames", lambda *_: b"")
    monkeypatch.setattr(log.store, "block_at", lambda _: None)
    monkeypatch.setattr(log.store, "base", lambda: log.store.head())
    with pytest.raises(NoLongerKept):
        list(block.events_at([5]))
    assert list(block.events_at([])) == []
