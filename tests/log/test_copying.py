from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.log import copying
from alphapulse.log.block import Block
from alphapulse.log.broken import mark_broken
from alphapulse.log.copying import check_unbroken, copy_blocks, copy_prefix, stop_offset
from alphapulse.log.errors import (
    ChainBroken,
    Corrupt,
    HomeExists,
    InvalidInput,
    LogFull,
    OffsetOutOfRange,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.home import BUILDING, Home
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.log.making import new_log

from .logs import GENESIS, fill, make_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [3, 1, 1, 5, 2]) as made:
        yield made


class Forged:
    """A log of which one block is another."""

    def __init__(self, log: EventLog, number: int, data: bytes) -> None:
        self.name, self.genesis, self.head = "forged", log.genesis, log.head
        self._blocks = list(log.blocks())
        self._blocks[number] = Block(data)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        stop = self.head if stop is None else stop
        return (b for b in self._blocks if b.stop > start and b.first < stop)


def changed(data: bytes, at: int) -> bytes:
    copy = bytearray(data)
    copy[at] ^= 1
    return bytes(copy)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(sizes=st.lists(st.integers(1, 6), max_size=9), data=st.data())
def test_any_prefix_has_the_bytes_and_the_chain_of_the_original(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("copying")
    stop = data.draw(st.integers(0, sum(sizes)))
    with pytest.MonkeyPatch.context() as patch, make_log(folder / "home", sizes) as log:
        patch.setattr(copying, "BATCH_BLOCKS_MAX", data.draw(st.integers(1, 4)))
        patch.setattr(copying, "BATCH_SIZE_BYTES_MAX", data.draw(st.integers(1, 4000)))
        seen: list[tuple[int, int]] = []
        copied = copy_prefix(log, folder / "copy", stop, progress=lambda *n: seen.append(n))
        assert copied[:2] == (stop, log.chain_at(stop))
        assert seen == sorted(set(seen)) and seen[-1:] == ([(stop, stop)] if stop else [])
        with EventLog.open(folder / "copy") as copy:
            assert copy.genesis == log.genesis
            assert [e.frame for e in copy.read()] == [e.frame for e in log.read(0, stop)]
            whole = [block.data for block in log.blocks() if block.stop <= stop]
            assert [block.data for block in copy.blocks()][: len(whole)] == whole
            assert copied.size_bytes == copy.statistics().size_bytes


def test_many_blocks_share_a_commit(log: EventLog, tmp_path: Path) -> None:
    commits, append_all = list[int](), LmdbStore.append_all

    def append(store: LmdbStore, blocks: list[bytes], head: int) -> None:
        commits.append(len(blocks))
        append_all(store, blocks, head)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LmdbStore, "append_all", append)
        copy_prefix(log, tmp_path / "copy", log.head)
        assert commits == [5]
        patch.setattr(copying, "BATCH_SIZE_BYTES_MAX", len(log.block(0).data))
        copy_prefix(log, tmp_path / "slowly", log.head)
        assert len(commits) > 2


def test_blocks_that_are_missing_are_added(log: EventLog, tmp_path: Path) -> None:
    copy_prefix(log, tmp_path / "copy", 4)
    fill(log, [2, 2])
    with EventLog.open(tmp_path / "copy") as copy, copy.writing():
        for stop in (5, log.head, log.head):
            head = copy_blocks(log, copy.store, stop)
            assert head == copy.store.head() and head.chain == log.chain_at(stop)


def test_a_block_that_does_not_follow_ends_the_copy_and_leaves_nothing(
    log: EventLog, tmp_path: Path
) -> None:
    data = log.block(3).data
    for at in (0, 31, 48, 64, len(data) - 1):  # chain, time, a column, a frame
        with pytest.raises(Corrupt) as caught:
            copy_prefix(Forged(log, 1, changed(data, at)), tmp_path / "copy", log.head)
        assert isinstance(caught.value, ChainBroken) and caught.value.facts["offset"] == 3
        assert not (tmp_path / "copy").exists()
    last = log.block(10)
    _, end = last.frame_bounds(0)
    with pytest.raises(Corrupt):  # the block is cut, so its own hash cannot tell
        copy_prefix(Forged(log, 4, changed(last.data, end - 9)), tmp_path / "copy", 11)
    assert not (tmp_path / "copy").exists()
    copy_prefix(Forged(log, 4, changed(last.data, len(last.data) - 9)), tmp_path / "copy", 11)


def test_a_prefix_that_is_not_there(log: EventLog, tmp_path: Path) -> None:
    for stop in (-1, log.head + 1):
        with pytest.raises(OffsetOutOfRange, match="no such event"):
            copy_prefix(log, tmp_path / "copy", stop)
    assert not (tmp_path / "copy").exists()


def test_a_place_with_other_things_is_left_alone(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "letter").touch()
    for place in (tmp_path / "copy", log.home.path):
        with pytest.raises(HomeExists):
            copy_prefix(log, place, log.head)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["letter"]


def fail_in_new_log(place: Path) -> None:
    with new_log(Home(place), GENESIS):
        assert next(place.glob(f"{BUILDING}*"))
        raise LogFull("testing")


def test_a_body_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """An empty directory stays, a missing one does not come, the home of another stays whole."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(LogFull):
            fail_in_new_log(tmp_path / name)
    assert not (tmp_path / "missing").exists()
    assert list((tmp_path / "empty").glob("log*")) == []
    with pytest.raises(HomeExists), new_log(Home(tmp_path / "home"), GENESIS):
        make_log(tmp_path / "home", [2]).close()
    with EventLog.open(tmp_path / "home") as log:
        assert log.head == 2
    assert list((tmp_path / "home").glob(f"{BUILDING}*")) == []


def test_who_was_second_takes_nothing_from_who_was_first(tmp_path: Path) -> None:
    with pytest.raises(HomeExists), new_log(Home(tmp_path / "home"), GENESIS):
        EventLog.create(tmp_path / "home")
    assert (tmp_path / "home" / "views").is_dir()


def test_a_log_that_its_checkpoints_contradict_is_not_copied_blindly(
    log: EventLog, tmp_path: Path
) -> None:
    check_unbroken(log, "testing")
    mark_broken(log.home, "its tail was cut", None, "")
    with pytest.raises(ChainBroken, match="its tail was cut"):
        check_unbroken(log, "testing")


def test_points_are_inclusive(log: EventLog) -> None:
    assert [stop_offset(log, to, "") for to in (0, "4", 11, 99)] == [1, 5, 12, 100]
    assert [stop_offset(log, to, "") for to in ("1999-01", "2199-01")] == [0, log.head]
    with pytest.raises(InvalidInput):
        stop_offset(log, "tomorrow", "")
    with pytest.raises(InvalidInput):
        stop_offset(log, -1, "")
