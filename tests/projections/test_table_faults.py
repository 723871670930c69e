"""The table cut off at every store, killed, grown under readers, and on a full disk.

ALPHAPULSE_TEST_SCALE multiplies the rounds.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest

from alphapulse.projections.errors import ViewFull
from alphapulse.projections.layout import (
    IN_PROGRESS,
    SUPERSEDED,
)
from alphapulse.projections.table import Table, TableWriter

from .table_model import (
    BOOT_ID,
    LOG_ID,
    SCHEMA,
    CutOff,
    create,
    fold_range,
    in_child,
    model_of,
    payload_of,
    put,
    trip_after,
    wait,
    write,
)


def cut_off_at(path: Path, stores: int) -> bool:
    """Folds 24 events, then is cut off in the next 16 after so many stores; True if it was."""
    with create(path) as table:
        fold_range(table, 4, 24, 8)
    broken = write(path)
    trip_after(broken, stores)
    try:
        fold_range(broken, 4, 40, 16)
    except CutOff:
        return True
    return False


def test_cut_off_at_any_store_and_folded_again(tmp_path: Path) -> None:
    path = tmp_path / "v"
    model = model_of(4, 48)
    for stores in itertools.count():
        was_cut = cut_off_at(path, stores)
        with Table.open(path, SCHEMA, LOG_ID, boot_id=BOOT_ID) as reader:
            for key, position in list(reader.keys()):
                assert reader.intact(position), f"after {stores} stores"
                assert reader.find(key) == position
            reader.sum_rows()
        with write(path) as table:
            fold_range(table, 4, 48, 5)
            model.check(table)
            assert table._cells_used == len(model.rows)
            assert table._keys_used == [
                sum(1 for index, _ in model.links if index == number) for number in range(2)
            ]
            assert sum(table._blocks) == sum(len(keys) > 1 for keys in model.links.values())
        if not was_cut:
            break
    assert stores > 100


def test_cut_off_control_without_the_recomputed_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: with the cure taken away, totals are wrong at some store."""
    monkeypatch.setattr(TableWriter, "recompute_digest", lambda self: None)
    model = model_of(4, 48)
    wrong = 0
    for stores in range(10, 100, 10):
        assert cut_off_at(tmp_path / "v", stores)
        with write(tmp_path / "v") as table:
            fold_range(table, 4, 48, 5)
            try:
                model.check(table)
            except AssertionError:
                wrong += 1
    assert wrong > 0


def test_kill_9_while_writing(tmp_path: Path, scale: float) -> None:
    path, stop = tmp_path / "v", 1 << 15
    for _ in range(max(1, round(10 * scale**2))):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}")
        create(path, rows=stop).close()

        def work(seed: int = seed) -> None:
            fold_range(write(path), seed, stop, 100)

        child = in_child(work)
        with Table.open(path, SCHEMA, LOG_ID) as reader:
            while reader.applied == 0:
                time.sleep(0.0005)
        time.sleep(random.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        assert wait(child) == -signal.SIGKILL
        with write(path) as table:
            reached = table.in_progress
            fold_range(table, seed, reached, 37)
            assert table.in_progress == table.applied == reached
            model_of(seed, reached).check(table)


def test_a_reader_in_another_process_survives_growth(tmp_path: Path, scale: float) -> None:
    """It finds every key at each moment, through all generations, in whole records."""
    growths = max(5, round(15 * scale**2))
    known = range(1, 101)

    def path_of(generation: int) -> Path:
        return tmp_path / f"v.{generation}"

    table = create(path_of(1), rows=256)
    table.begin(1)
    for key in known:
        table.link(1, 1, put(table, key, 0))
    table.finish(1)

    def read() -> None:
        reader = Table.open(path_of(1), SCHEMA, LOG_ID)
        seen = {1}
        newest = 0
        while True:
            for key in known:
                if reader.words[SUPERSEDED]:
                    following = reader.superseded
                    reader.close()
                    reader = Table.open(path_of(following), SCHEMA, LOG_ID)
                    seen.add(following)
                position = reader.find(key)
                assert reader.intact(position)
                offset = reader.last_offset(position)
                assert reader.payload(position) == payload_of(key, offset)
                newest = max(newest, offset)
            assert len(reader.postings(1, 1)) >= len(known)
            if reader.applied == 1 << 30:
                assert reader.generation == growths + 1
                assert newest > growths
                return

    child = in_child(read)
    offset = 1
    for generation in range(2, growths + 2):
        while table.room_for(1, 1):
            table.begin(offset + 1)
            table.link(1, 1, put(table, 1 + offset % 150, offset))
            offset += 1
            table.finish(offset)
        new = table.grow_into(path_of(generation), generation, rows=256)
        assert new.totals == table.totals
        table.supersede(generation)
        table.close()
        table = new
    table.begin(1 << 30)
    table.finish(1 << 30)
    assert wait(child) == 0
    table.close()


@pytest.mark.parametrize("limit_bytes", [0, 5000, 100_000])
def test_no_space_leaves_no_file_and_the_old_table_as_it_was(
    tmp_path: Path, limit_bytes: int
) -> None:
    """posix_fallocate past RLIMIT_FSIZE gives EFBIG, which stands for a full disk here."""
    table = create(tmp_path / "v.1")
    fold_range(table, 5, 100, 10)
    before = table.totals

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        with pytest.raises(ViewFull) as caught:
            table.grow_into(tmp_path / "v.2", 2, 4096)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EFBIG
        assert not (tmp_path / "v.2").exists()

    assert wait(in_child(work)) == 0
    assert table.totals == before
    model_of(5, 100).check(table)
    table.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_each_way_of_having_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(ViewFull, match=r"free disk space"):
        create(tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_creating_over_a_mapped_file_leaves_its_readers_alone(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        fold_range(table, 6, 50, 10)
        reader = Table.open(tmp_path / "v", SCHEMA, LOG_ID)
    create(tmp_path / "v", generation=2).close()
    model_of(6, 50).check(reader)
    reader.close()


def test_a_partly_repeated_fold_stays_in_progress_until_all_is_folded(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        table.begin(50)
    with write(tmp_path / "v") as table:
        table.begin(10)
        table.finish(10)
        assert (table.applied, table.words[IN_PROGRESS]) == (10, 50)
        with pytest.raises(AssertionError):
            table.mark_clean()
        fold_range(table, 7, 50, 20)
        assert table.in_progress == table.applied == 50
        table.mark_clean()


def test_growing_within_a_repeated_fold_counts_the_rows_anew(tmp_path: Path) -> None:
    """After a cut-off fold the running totals are not true until all of it is folded again."""
    path = tmp_path / "view.1"
    with create(path) as table:
        table.begin(5)
        for key in (1, 2, 3):
            table.put(key, bytes(128), last_offset=key, data_offset=key, row_digest=key)
    with write(path) as again:
        again.begin(5)
        for key in (1, 2, 3, 4):
            again.put(key, bytes(128), last_offset=key, data_offset=key, row_digest=key)
        with again.grow_into(tmp_path / "view.2", 2, rows=1) as grown:
            grown.finish(5)
            assert grown.row_count == 4
            assert grown.digest == (1 + 2 + 3 + 4).to_bytes(32, "little")


def test_room_and_growth_count_what_another_process_wrote(tmp_path: Path) -> None:
    """Between its own folds a writer's counters are as old as its last one."""
    path = tmp_path / "view.1"
    with create(path) as first, write(path) as second:
        fold_range(first, 8, 10, 10)
        assert second.arena_used == 11, "one of ten is pending"
        second.refresh()
        with second.grow_into(tmp_path / "view.2", 2, rows=1) as grown:
            assert grown.totals == first.totals
        fold_range(second, 8, 112, 102)  # 16 of them are pending
        assert first.room_for(1, 0)
        first.refresh()
        assert not first.room_for(1, 0)
        model_of(8, 112).check(first)
