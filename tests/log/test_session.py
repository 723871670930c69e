from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.log.block import BLOCK_SIZE_BYTES_MAX, Block, block_overhead_bytes
from alphapulse.log.bodies import AcknowledgedBody, Extension, InstrumentBody
from alphapulse.log.codec import Codec
from alphapulse.log.errors import Closed, HeadMoved, LogBusy, LogFull, ReadOnly, TooLarge
from alphapulse.log.eventlog import EventLog
from alphapulse.log.kinds import Kind
from alphapulse.log.session import Draft

from .builders import TIME, instrument_body
from .logs import draft, fill, finish, make_log, python

pytestmark = pytest.mark.usefixtures("forked_interpreters")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home") as made:
        yield made


def test_leaving_commits_one_block(log: EventLog) -> None:
    with log.writing() as session:
        assert session.head == 0 and session.pending == 0
        assert [session.append(draft(i + 1)) for i in range(3)] == [0, 1, 2]
        assert session.head == 3 and session.pending == 3
        assert log.head == 0
    assert log.head == 3 and log.statistics().blocks == 1
    assert [event.entity for event in log.read()] == [1, 2, 3]


def test_a_commit_says_what_it_wrote(log: EventLog) -> None:
    with log.writing() as session:
        assert session.commit() is None
        session.append(draft(1, source="a"))
        session.append(draft(2))
        commit = session.commit()
        assert commit is not None
        assert (commit.first, commit.last) == (0, 1) and commit.durable == session.durable
        assert commit.block.data == log.block(0).data
        assert commit.time == log.event(0).recorded > TIME
        assert session.committed.chain == log.chain_head and session.pending == 0
        session.append(draft(3))
    assert log.head == 3 and log.block(2).first == 2
    log.block(2).check_chain(commit.block.chain)


def test_an_error_on_its_way_out_writes_nothing(log: EventLog) -> None:
    def change_my_mind() -> None:
        with log.writing() as session:
            session.append(draft(1))
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError):
        change_my_mind()
    assert log.head == 0
    with log.writing(0) as session:
        session.append(draft(1))
        session.discard()
    assert log.head == 0


def test_every_field_of_a_draft_is_written(log: EventLog) -> None:
    fill(log, [1])
    given = draft(9, kind=Kind.INSTRUMENT_AMENDED, previous=0, source="feed")
    given = given._replace(valid_from=-5)
    with log.writing() as session:
        session.append(given, Codec.NONE)
    event = log.event(1)
    assert (event.kind, event.entity, event.space) == (given.kind, 9, given.space)
    assert (event.previous, event.valid_from, event.source) == (0, -5, "feed")
    assert event.body == given.body


def test_sessions_exclude_each_other(log: EventLog) -> None:
    with log.writing():
        with pytest.raises(LogBusy, match="another thread"):
            log.writing(0.01).__enter__()
    with log.writing(0):
        pass


def test_room_counts_events_and_bytes(log: EventLog) -> None:
    with log.writing() as session:
        for i in range(999):
            session.append(draft(i + 1))
        one = draft(5000)
        assert session.has_room(session.stage([one]))
        assert not session.has_room(session.stage([one, one]))
        session.append(one)
        assert not session.has_room(session.stage([one]))
        session.commit()
        assert session.has_room(session.stage([one] * 1000))
        with pytest.raises(TooLarge, match="events=1001"):
            session.stage([one] * 1001)
        large = InstrumentBody(instrument_body(1).message, Extension(key=b"k" * 900_000))
        session.append(draft(6000, body=large), Codec.NONE)
        few, many = (session.stage([one] * count) for count in (400, 999))
        assert session.has_room(few)
        assert not session.has_room(many), "it would be larger than a block may be"
    assert log.head == 1001


def test_room_ends_at_the_last_byte_of_a_block(log: EventLog) -> None:
    def sized(key_size_bytes: int) -> Draft:
        extension = Extension(key=b"k" * key_size_bytes)
        return draft(1, body=InstrumentBody(instrument_body(1).message, extension))

    with log.writing() as session:
        session.add(first := session.stage([sized(500_000)], Codec.NONE))
        left = BLOCK_SIZE_BYTES_MAX - block_overhead_bytes(2) - first.size_bytes
        size_bytes = left // 8 * 8
        more = size_bytes - session.stage([sized(500_000)], Codec.NONE).size_bytes
        for beyond in (0, 8):
            staged = session.stage([sized(500_000 + more + beyond)], Codec.NONE)
            assert staged.size_bytes == size_bytes + beyond
            assert session.has_room(staged) == (not beyond)


def test_no_block_is_larger_than_a_block_may_be(log: EventLog) -> None:
    """What stays together starts a new block when it does not fit; offsets go on all the same."""
    body = InstrumentBody(instrument_body(1).message, Extension(key=b"k" * 90_000))
    with log.writing() as session:
        for first in range(0, 40, 4):
            staged = session.stage([draft(first + i + 1, body=body) for i in range(4)], Codec.NONE)
            assert staged.first == first
            if not session.has_room(staged):
                session.commit()
            session.add(staged)
    blocks = list(log.blocks())
    assert len(blocks) > 3 and [event.offset for event in log.read()] == list(range(40))
    assert all(len(block.data) <= BLOCK_SIZE_BYTES_MAX for block in blocks)
    assert all(block.first % 4 == 0 for block in blocks)


def test_an_event_too_large_leaves_what_is_pending_alone(log: EventLog) -> None:
    large = InstrumentBody(instrument_body(1).message, Extension(key=b"k" * (1 << 20)))
    with log.writing() as session:
        session.append(draft(1))
        with pytest.raises(TooLarge):
            session.append(draft(2, body=large))
        session.append(draft(3))
    assert [event.entity for event in log.read()] == [1, 3]


def test_a_failed_commit_is_no_longer_pending_and_nothing_of_it_is_there(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log.writing() as session:
        session.append(draft(1))
        with monkeypatch.context() as full:
            full.setattr(log.store, "_reserve_size_bytes", 1 << 60)
            with pytest.raises(LogFull):
                session.commit()
        assert session.pending == 0 and session.head == 0 and log.head == 0
        session.append(draft(2))
    assert [event.entity for event in log.read()] == [2]


def test_a_head_that_moved_under_the_session_is_noticed(log: EventLog) -> None:
    """The lock makes this impossible; the store checks all the same."""
    with log.writing() as session:
        session.append(draft(1))
        log.lock.release()
        fill(log, [2])
        log.lock.acquire()
        with pytest.raises(HeadMoved):
            session.commit()
    assert log.head == 2


def test_a_commit_is_told_as_written_though_its_checkpoint_was_not(log: EventLog) -> None:
    log.home.checkpoints.mkdir()  # so that writing it fails
    fill(log, [1])
    assert log.head == 1
    log.home.checkpoints.rmdir()
    log.checkpoint()
    assert log.home.checkpoints.is_file()


def test_a_log_opened_for_reading_cannot_be_written(log: EventLog) -> None:
    with EventLog.open(log.home.path, mode="r") as reader:
        with pytest.raises(ReadOnly):
            reader.writing().__enter__()
        fill(log, [1])
        assert reader.head == 1


def test_relaxed_durability_says_so_in_every_commit(tmp_path: Path) -> None:
    make_log(tmp_path / "other").close()
    with EventLog.open(tmp_path / "other", durability="relaxed") as log:
        with log.writing() as session:
            session.append(draft(1))
            commit = session.commit()
        assert commit is not None and not commit.durable and not session.durable


def test_threads_take_turns(log: EventLog) -> None:
    def write(number: int) -> None:
        for _ in range(10):
            with log.writing(30) as session:
                first = session.append(draft(1 + session.head * 10 + number))
                session.append(draft(1 + session.head * 10 + number))
                assert session.head == first + 2

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.head == 80 and log.statistics().blocks == 40
    for block in log.blocks():
        one, two = block.events()
        assert (one.entity - 1) % 10 == (two.entity - 1) % 10


WRITER = """
    import sys
    from alphapulse.log import AcknowledgedBody, Draft, EventLog
    with EventLog.open(sys.argv[1]) as log:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(30):
            with log.writing(60) as session:
                previous = session.head
                body = AcknowledgedBody(alert=number, reason=sys.argv[2])
                session.append(Draft(50, 1, 1 + previous, None, body))
                assert session.head == previous + 1
"""


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    make_log(tmp_path / "home").close()
    children = [python(WRITER, tmp_path / "home", name) for name in ("a", "b", "c")]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        finish(child, 120)
    with EventLog.open(tmp_path / "home", mode="r") as log:
        events = list(log.read())
        assert [event.offset for event in events] == list(range(90))
        bodies = [e.body for e in events if isinstance(e.body, AcknowledgedBody)]
        assert len(bodies) == 90
        for name in ("a", "b", "c"):
            said = [body for body in bodies if body.reason == name]
            alerts = [body.alert for body in said]
            assert alerts == list(range(30))
        chain = log.chain_at(0)
        for block in map(Block, log.store.blocks(0, 100)):
            block.check_chain(chain)
            chain = block.chain


def test_a_session_whose_log_was_closed_writes_no_more(log: EventLog) -> None:
    other = EventLog.open(log.home.path)
    session = other.writing().__enter__()
    session.append(draft(1))
    other.close()
    with pytest.raises(Closed):
        session.commit()
    assert log.head == 0
