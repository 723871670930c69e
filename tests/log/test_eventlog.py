from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.log.block import Block
from alphapulse.log.copying import copy_blocks
from alphapulse.log.errors import (
    Closed,
    Corrupt,
    HomeExists,
    InvalidInput,
    NotDecodable,
    OffsetOutOfRange,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.pattern import Pattern

from .builders import TIME
from .logs import Ticks, draft, fill, finish, make_log, python, ticking

pytestmark = pytest.mark.usefixtures("forked_interpreters")

SIZES = [1, 5, 2, 1, 7]
HEAD = sum(SIZES)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", SIZES) as made:
        yield made


def offsets(events: Iterable[Event]) -> list[int]:
    return [event.offset for event in events]


def test_reading_from_and_to_anywhere(log: EventLog) -> None:
    for start in range(HEAD + 2):
        for stop in [*range(HEAD + 3), None]:
            last = HEAD if stop is None else min(stop, HEAD)
            assert offsets(log.read(start, stop)) == list(range(start, last))


def test_reading_by_pattern(log: EventLog) -> None:
    with log.writing() as session:
        for entity in range(20, 40):
            session.append(draft(entity, source="odd" if entity % 2 else "even"))
    pattern = Pattern.parse("source=odd")
    assert offsets(log.read(pattern=pattern)) == list(range(HEAD + 1, HEAD + 20, 2))
    assert offsets(log.read(HEAD + 2, HEAD + 6, pattern)) == [HEAD + 3, HEAD + 5]


def test_one_event_and_its_block(log: EventLog) -> None:
    for offset in range(HEAD):
        assert log.event(offset).offset == offset
        assert log.event(offset) == log.block(offset).at(offset)


@pytest.mark.parametrize("offset", [-1, HEAD, HEAD + 1, 1 << 64, 1 << 80])
def test_an_offset_outside_is_refused(log: EventLog, offset: int) -> None:
    for use in (log.event, log.block):
        with pytest.raises(OffsetOutOfRange) as caught:
            use(offset)
        assert caught.value.facts == {"offset": offset, "head": HEAD}
    if offset != HEAD:
        with pytest.raises(OffsetOutOfRange):
            log.chain_at(offset)


def test_reading_from_below_0_is_refused(log: EventLog) -> None:
    with pytest.raises(OffsetOutOfRange):
        list(log.read(-1))


def test_reading_stops_at_the_head_of_its_beginning(log: EventLog) -> None:
    reading = log.read()
    next(reading)
    fill(log, [3])
    assert offsets(reading) == list(range(1, HEAD))


def test_times_lead_to_offsets(tmp_path: Path) -> None:
    EventLog.create(tmp_path / "home")
    ticks = Ticks(step=0)
    with EventLog.open(tmp_path / "home", clock=ticking(ticks)) as log:
        assert log.offset_at(0) == log.offset_at(1 << 62) == 0
        expected = []
        for block, size in enumerate([2, 1, 3, 1, 1, 4]):
            ticks.now = TIME + block // 2 * 10  # two blocks at each time
            expected.append((log.head, ticks.now))
            fill(log, [size])
        for time in range(TIME - 1, TIME + 23):
            at = next((first for first, recorded in expected if recorded >= time), log.head)
            assert log.offset_at(time) == at
        assert log.offset_at(TIME + 1) == 3, "the head as it was at TIME"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), data=st.data())
def test_the_chain_at_an_offset_is_that_of_a_log_replayed_to_there(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("chains")
    head = data.draw(st.integers(0, sum(sizes)))
    with make_log(folder / "whole", sizes) as log, make_log(folder / "part") as part:
        chain = log.chain_at(head)
        assert log.chain_at(log.head) == log.chain_head
        with part.writing():
            copy_blocks(log, part.store, head)
        assert part.head == head and part.chain_head == chain
        for before in range(head):
            assert part.chain_at(before) == log.chain_at(before) != chain


def test_statistics(log: EventLog) -> None:
    found = log.statistics()
    assert (found.head, found.chain_head, found.blocks) == (HEAD, log.chain_head, len(SIZES))
    assert found.size_bytes > 0


def test_opening_again_finds_everything(tmp_path: Path) -> None:
    with make_log(tmp_path / "home", SIZES) as log:
        events, genesis = list(log.read()), log.genesis
    for _ in range(2):
        with EventLog.open(tmp_path / "home", mode="r") as again:
            assert list(again.read()) == events and again.genesis == genesis and not again.broken


def test_several_opens_in_one_process_share_one_store(log: EventLog) -> None:
    with EventLog.open(log.home.path) as other:
        fill(other, [1])
        assert log.head == other.head == HEAD + 1
    assert log.head == HEAD + 1


def test_closing_twice_is_closing_once_and_use_after_it_is_refused(tmp_path: Path) -> None:
    log = make_log(tmp_path / "home", [1])
    log.close()
    log.close()
    for use in (lambda: log.head, lambda: log.event(0), lambda: list(log.read())):
        with pytest.raises(Closed):
            use()


def test_events_outlive_the_log(tmp_path: Path) -> None:
    with make_log(tmp_path / "home", [3]) as log:
        events, block = list(log.read()), log.block(0)
    assert [event.instrument_body.message[8] for event in events] == [1, 2, 3]
    assert list(block.events()) == events


def test_two_makers_of_one_home_leave_one_good_home(tmp_path: Path) -> None:
    code = """
        import sys
        from alphapulse.log import EventLog, HomeExists
        sys.stdin.readline()
        try:
            EventLog.create(sys.argv[1])
            print("made")
        except HomeExists:
            print("was there")
    """
    children = [python(code, tmp_path / "home") for _ in range(3)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = sorted(finish(child).strip() for child in children)
    assert said == ["made", "was there", "was there"]
    with EventLog.open(tmp_path / "home") as log:
        fill(log, [1])
    assert not list((tmp_path / "home").glob("log.*"))
    with pytest.raises(HomeExists):
        EventLog.create(tmp_path / "home")


def replace_block(home: Path, first: int, data: bytes | None) -> None:
    """Behind the log's back: another value, or none, under a block's key."""
    with lmdb.open(str(home / "log"), max_dbs=2) as env:
        blocks = env.open_db(b"blocks")
        with env.begin(write=True, db=blocks) as txn:
            txn.delete(first.to_bytes(8, "big"))
            if data is not None:
                txn.put(first.to_bytes(8, "big"), data)


def test_a_damaged_event_is_refused_by_every_way_to_read_it(tmp_path: Path) -> None:
    with make_log(tmp_path / "home", [2, 3, 1]) as log:
        block = log.block(2)
    data = bytearray(block.data)
    data[block.frame_bounds(1)[0] + 60] ^= 4
    replace_block(tmp_path / "home", 2, bytes(data))
    with EventLog.open(tmp_path / "home") as log:
        for use in (lambda: log.event(3), lambda: log.block(3).at(3), lambda: list(log.read())):
            with pytest.raises(Corrupt) as caught:
                use()
            assert caught.value.facts["offset"] == 3
        assert offsets(log.read(0, 3)) == [0, 1, 2] and offsets(log.read(4)) == [4, 5]
        damaged_end = bytearray(block.data)
        damaged_end[32] ^= 1
        assert not log.broken
    replace_block(tmp_path / "home", 2, bytes(damaged_end))
    with EventLog.open(tmp_path / "home") as log:
        with pytest.raises(NotDecodable):
            log.event(3)


def test_many_events_are_read_by_the_hash_of_their_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From wherever reading begins; damage is found and named all the same."""
    with make_log(tmp_path / "home", [40, 40, 3]) as log:
        expected, damaged = list(log.read()), bytearray(log.block(40).data)
        with monkeypatch.context() as patch:
            patch.setattr(Event.__module__ + ".crc32", lambda data: 0)
            assert list(log.read(0, 80)) == list(log.subscribe("", 0, stop=80)) == expected[:80]
            assert list(log.read(50, 80)) == expected[50:80]
            with pytest.raises(Corrupt):
                list(log.read(80))
        monkeypatch.setattr(log.store, "chain_before", Mock(side_effect=Corrupt("reading")))
        assert list(log.read(40)) == expected[40:], "the block before may be damaged"
        damaged[Block(bytes(damaged)).frame_bounds(9)[0] + 60] ^= 4
    replace_block(tmp_path / "home", 40, bytes(damaged))
    with EventLog.open(tmp_path / "home") as log:
        for events in (log.read(), log.subscribe("", 0)):
            assert [next(events) for _ in range(49)] == expected[:49]
            with pytest.raises(Corrupt) as caught:
                next(events)
            assert caught.value.facts["offset"] == 49


def test_a_missing_block_is_not_passed_over(tmp_path: Path) -> None:
    make_log(tmp_path / "home", [2, 3, 1]).close()
    replace_block(tmp_path / "home", 2, None)
    with EventLog.open(tmp_path / "home") as log:
        assert log.head == 6
        with pytest.raises(Corrupt, match="missing"):
            list(log.read())
        for use in (log.event, log.block, log.chain_at):
            with pytest.raises(Corrupt, match=r"offset=3, head=6\] \(run `alphapulse audit`"):
                use(4 if use == log.chain_at else 3)
        with pytest.raises(OffsetOutOfRange):
            log.event(6)
        assert offsets(log.read(5)) == [5]
    replace_block(tmp_path / "home", 0, None)
    with EventLog.open(tmp_path / "home") as log:
        assert (log.head, offsets(log.read(5))) == (6, [5])
        with pytest.raises(Corrupt, match="missing"):
            next(log.read())


@pytest.mark.parametrize(
    "choice", [{"mode": "w"}, {"mode": "q"}, {"mode": None}, {"durability": "full"}]
)
def test_what_is_no_mode_or_durability_is_refused_at_once(
    tmp_path: Path, choice: dict[str, Any]
) -> None:
    make_log(tmp_path / "home", [2]).close()
    (wrong,) = choice
    with pytest.raises(InvalidInput, match=f"there is no {wrong}.*use '(rw|fsync)' or '"):
        EventLog.open(tmp_path / "home", **choice)


FORKING = """
    import os, sys
    from alphapulse.log import EventLog, ForkedProcess
    log = EventLog.open(sys.argv[1])
    with log.writing() as session:
        pid = os.fork()
        if pid == 0:
            refused = 0
            for use in (lambda: log.head, lambda: log.event(0), lambda: list(log.read()),
                        lambda: log.writing(0).__enter__(), log.statistics,
                        lambda: log.subscribe(start="beginning").poll(),
                        lambda: EventLog.open(sys.argv[1])):
                try:
                    use()
                except ForkedProcess:
                    refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert not __import__("alphapulse.log").log.WriterLock(log.home.writer_lock).try_hold()
    log.close()
    print("fine")
"""


def test_a_forked_child_is_refused_everywhere(tmp_path: Path) -> None:
    make_log(tmp_path / "home", [2]).close()
    assert finish(python(FORKING, tmp_path / "home")) == "fine\n"


def test_a_spawned_process_reads_while_this_one_writes(log: EventLog) -> None:
    code = (
        "import sys\nfrom alphapulse.log import EventLog\n"
        "with EventLog.open(sys.argv[1], mode='r') as log:\n"
        "    print(log.head, log.chain_head.hex(), sum(1 for _ in log.read()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, log.home.path], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(HEAD), log.chain_head.hex(), str(HEAD)]


def test_closing_leaves_a_running_session_alone(log: EventLog) -> None:
    """Whoever holds the session commits; then the log closes, and the next one is refused."""
    entered, may_go_on = threading.Event(), threading.Event()
    heads: list[int] = []

    def write() -> None:
        with log.writing() as session:
            entered.set()
            may_go_on.wait(30)
            session.append(draft(50))
            session.commit()
            heads.append(log.head)

    writing = threading.Thread(target=write)
    closing = threading.Thread(target=log.close)
    writing.start()
    assert entered.wait(30)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    may_go_on.set()
    for thread in (writing, closing):
        thread.join(30)
        assert not thread.is_alive()
    assert heads == [HEAD + 1]
    with pytest.raises(Closed):
        log.writing().__enter__()
