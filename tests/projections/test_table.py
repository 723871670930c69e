"""The shared table against a dict, and what it refuses to open.

Random tests print their seed when they fail; ALPHAPULSE_TEST_SCALE multiplies their counts.
"""

from __future__ import annotations

import itertools
import os
import random
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alphapulse.log import Closed
from alphapulse.projections.errors import ViewFull, ViewUnusable
from alphapulse.projections.layout import (
    APPLIED,
    CRC_RESIDUE,
    PAGE_SIZE_BYTES,
    PENDING_BIT,
    POSTINGS_FIRST,
    RECORD_SIZE_BYTES,
    TableSchema,
)
from alphapulse.projections.table import Table
from tests.places import in_memory

from .table_model import (
    BOOT_ID,
    LOG_ID,
    OTHER_BOOT_ID,
    SCHEMA,
    Model,
    create,
    fold,
    fold_range,
    model_of,
    payload_of,
    put,
    until_of,
    write,
)

KEYS = st.one_of(
    st.integers(1, 40),
    st.integers(1, 6).map(lambda n: n << 40 | 7),  # all meet in one slot
    st.integers(1, (1 << 64) - 1),
)


class TableMachine(RuleBasedStateMachine):
    """Random puts, links, folds, crashes, reopenings and growths against the model."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        self.model = Model()
        self.offset = 1

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory(dir=in_memory())
        self.path = Path(self.directory.name) / "view.1"
        self.table = create(self.path, generation=next(self.numbers), postings=0)
        self.table.begin(1 << 40)

    @rule(key=KEYS)
    def put(self, key: int) -> None:
        self.offset += 1
        if not self.table.room_for(1, 0, pending=1):
            self.grow(1)
        put(self.table, key, self.offset)
        self.model.put(key, self.offset)

    @rule(index=st.integers(0, 1), secondary=KEYS, data=st.data())
    def link(self, index: int, secondary: int, data: st.DataObject) -> None:
        if self.model.rows:
            self.link_one(index, secondary, data.draw(st.sampled_from(sorted(self.model.rows))))

    def link_one(self, index: int, secondary: int, key: int) -> None:
        if not self.table.room_for(0, 1):
            self.grow(1)
        self.table.link(index, secondary, self.table.cell(key))
        self.model.link(index, secondary, key)

    @rule(count=st.integers(1, 120), seed=st.integers(0, 1 << 32), spread=st.integers(1, 200))
    def many(self, count: int, seed: int, spread: int) -> None:
        """When room_for says yes, any such puts and links fit."""
        if not self.table.room_for(count, count, pending=count):
            self.grow(1)
        if not self.table.room_for(count, count, pending=count):
            return
        rng = random.Random(seed)
        for _ in range(count):
            self.offset += 1
            key = rng.randint(1, 2 * spread)
            put(self.table, key, self.offset)
            self.model.put(key, self.offset)
            secondary = rng.randint(1, spread) if spread > 3 else 1
            self.table.link(0, secondary, self.table.cell(key))
            self.model.link(0, secondary, key)

    @rule(times=st.integers(1, 2))
    def grow(self, times: int) -> None:
        for _ in range(times):
            number = next(self.numbers)
            path = self.path.with_name(f"view.{number}")
            new = self.table.grow_into(path, number, rows=self.table.arena_capacity + 1)
            self.table.supersede(number)
            assert self.table.superseded == number
            pending = sum(bool(until_of(offset)) for offset in self.model.rows.values())
            assert new.arena_used == len(self.model.rows) + pending
            self.table.close()
            self.path.unlink()
            self.path, self.table = path, new

    @rule(clean=st.booleans())
    def finish(self, clean: bool) -> None:
        self.table.finish(self.table.in_progress)
        with Table.open(self.path, SCHEMA, LOG_ID, boot_id=BOOT_ID) as reader:
            self.model.check(reader)
        if clean:
            self.table.mark_clean()
            self.table.close()
            self.table = write(self.path, OTHER_BOOT_ID)
            self.table.begin(self.table.applied + 1)
            self.table.finish(self.table.applied + 1)
            self.table.mark_clean()
            self.table.close()
            self.table = write(self.path)
        self.table.begin(self.table.applied + (1 << 20))

    @rule()
    def crash(self) -> None:
        """The writer goes away in the middle of a fold; the next one repeats it."""
        self.table.close()
        self.table = write(self.path)
        assert self.table.in_progress > self.table.applied
        self.table.begin(self.table.in_progress)

    @rule()
    def another_writer_takes_turns(self) -> None:
        """A second process folds between two folds of ours."""
        self.table.finish(self.table.in_progress)
        with write(self.path) as other:
            other.begin(other.applied + 1)
            self.offset += 1
            key = self.offset
            if other.room_for(1, 1, pending=1):
                cell = put(other, key, self.offset)
                self.model.put(key, self.offset)
                other.link(1, 1, cell)
                self.model.link(1, 1, key)
            other.finish(other.in_progress)
        self.table.begin(self.table.applied + (1 << 20))

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "table"):
            assert dict(self.table.keys()).keys() == self.model.rows.keys()

    def teardown(self) -> None:
        if hasattr(self, "table"):
            try:
                self.table.finish(self.table.in_progress)
                self.model.check(self.table)
            finally:
                self.table.close()
                self.directory.cleanup()


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(stateful_step_count=30)


def test_a_new_table_is_private_empty_and_dirty(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        mode = (tmp_path / "v").stat()
        assert stat.S_IMODE(mode.st_mode) == 0o600
        assert mode.st_blocks * 512 >= mode.st_size, "holes in a mapped file are a SIGBUS"
        assert (table.applied, table.in_progress, table.superseded) == (0, 0, 0)
        assert (table.clean, table.generation, table.boot_id) == (False, 1, BOOT_ID)
        assert (table.row_count, table.digest, table.arena_used) == (0, bytes(32), 0)
        assert table.find(5) == table.cell(5) == -1
        assert len(table.postings("venue", 5)) == 0
        assert list(table.keys()) == []


def test_the_record_crc_and_flyweight_offset(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        table.begin(1)
        put(table, 77, 9)
        start = table.offset_of(table.find(77))
        record = bytes(table.arena[start : start + RECORD_SIZE_BYTES])
        assert start % 64 == 0
        assert crc32(record[:188]) == int.from_bytes(record[188:], "little")
        assert crc32(record) == CRC_RESIDUE
        assert not table.intact(start + 8)
        assert not table.intact(table.geometry.file_size_bytes + 8)


def test_a_reader_sees_each_change_without_reopening(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table, Table.open(tmp_path / "v", SCHEMA, LOG_ID) as reader:
        fold_range(table, 1, 40, 7)
        model_of(1, 40).check(reader)
        assert reader.applied == 40
        before = reader.totals
        table.begin(41)
        cell = put(table, 1 << 50, 40)
        assert reader.find(1 << 50) > 0
        assert reader.totals == before, "totals belong to the applied offset"
        assert table.row_count == before.row_count + 1
        old = reader.postings(1, 2)
        held = list(old)
        table.link(1, 2, cell)
        assert list(old) == held, "cells stay as they were when asked for"
        assert list(reader.postings(1, 2)) == [*held, cell]


def test_a_record_outlives_its_closed_reader(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        table.begin(1)
        put(table, 7, 3)
    reader = Table.open(tmp_path / "v", SCHEMA, LOG_ID)
    arena, position = reader.arena, reader.find(7)
    reader.close()
    reader.close()
    assert bytes(arena[position : position + 128]) == payload_of(7, 3)
    for use in (
        lambda: reader.find(7), lambda: reader.applied, lambda: reader.postings(0, 1),
        lambda: reader.trailer(position), lambda: reader.totals, lambda: list(reader.keys()),
    ):
        with pytest.raises(Closed):
            use()


def test_a_full_table_says_so_and_changes_nothing(tmp_path: Path) -> None:
    with create(tmp_path / "v", postings=0) as table:
        table.begin(10)
        for key in range(1, 129):
            put(table, key, 1)
        assert not table.room_for(1, 0)
        with pytest.raises(ViewFull):
            put(table, 129, 1)
        assert table.find(129) == -1
        for key in range(1, 129):
            table.link(0, key, table.cell(key))
        assert not table.room_for(0, 1)
        with pytest.raises(ViewFull):
            table.link(0, 999, table.cell(1))
        with pytest.raises(ViewFull):  # noqa: PT012 - how many fit is the table's business
            for key in range(1, 129):
                for secondary in range(1, 20):
                    table.link(1, secondary, table.cell(key))
        assert max(map(len, (cells for _, cells in table.posting_keys(1)))) < 128


def test_pending_records_take_twice_the_room(tmp_path: Path) -> None:
    """Room that was promised is there, and a table of nothing else grows."""
    with create(tmp_path / "v", postings=0) as table:
        table.begin(10)
        for key in range(1, 65):
            assert table.room_for(1, 0, pending=1)
            put(table, key, 3)
        assert not table.room_for(1, 0)
        with pytest.raises(ViewFull):
            put(table, 65, 3)
        positions = dict(table.keys())
        assert len(positions) == 64 and all(at & PENDING_BIT for at in positions.values())
        with table.grow_into(tmp_path / "w", 2, 128) as grown:
            assert grown.arena_used == 128
            found = dict(grown.keys()).values()
            assert {grown.trailer(at).pending_until_s for at in found} == {3}


@pytest.mark.parametrize("links", [1, 2, 3, 7, 40])
def test_room_for_holds_for_the_dearest_links(tmp_path: Path, links: int) -> None:
    """Second and third cells under keys that had one, and the growth of every full block."""
    with create(tmp_path / "v", rows=4096, postings=0) as table:
        table.begin(1)
        cells = [put(table, key, 1) for key in range(1, 600)]
        dearest = [(1 + n // 2, cells[1 + n % 2]) for n in range(2000)]
        for secondary in range(1, 600):
            table.link(0, secondary, cells[0])
        linked = 0
        while table.room_for(0, links):
            for secondary, cell in dearest[linked : linked + links]:
                table.link(0, secondary, cell)
            linked += links
        assert linked > 3, "the posting area was too small to show anything"
        grown = table.grow_into(tmp_path / "w", 2, 4096, postings_per_row=0)
        assert grown.room_for(0, links)
        grown.close()


def test_room_for_counts_the_growth_of_a_full_block(tmp_path: Path) -> None:
    with create(tmp_path / "v", rows=4096, postings=0) as table:
        table.begin(1)
        cells = [put(table, key, 1) for key in range(1, 600)]
        assert not table.room_for(0, 600), "600 first and second cells cannot fit one page"
        for cell in cells[:126]:
            table.link(0, 1, cell)
        for cell in cells[:2]:
            table.link(0, 2, cell)
        assert not table.room_for(0, 1)
        with pytest.raises(ViewFull):
            table.link(0, 1, cells[126])
        assert len(table.postings(0, 1)) == 126


def damage(path: Path, at: int, value: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)


def into_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil, problem",
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "shorter than a header"),
        (lambda path: path.write_bytes(bytes(PAGE_SIZE_BYTES)), "not a table file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "cut or grew"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "cut or grew"),
        (lambda path: damage(path, 70, b"\xff"), "header is damaged"),
        (lambda path: damage(path, 24 * 8, b"\x01"), "counters are damaged"),
        (lambda path: damage(path, 25 * 8 + 4, b"\x01"), "counters are damaged"),
        (lambda path: damage(path, APPLIED * 8, b"\x05"), "counters are damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
        (into_fifo, "not a regular file"),
        (lambda path: (path.rename(f"{path}2"), path.symlink_to(f"{path}2")), "not a regular"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "v"
    create(path).close()
    Table.open(path, SCHEMA, LOG_ID).close()
    spoil(path)
    with pytest.raises(ViewUnusable, match=problem):
        Table.open(path, SCHEMA, LOG_ID)
    with pytest.raises(ViewUnusable, match=problem):
        write(path)


def test_every_flipped_bit_of_the_static_header_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "v"
    create(path).close()
    page = path.read_bytes()[:128]
    for bit in range(128 * 8):
        flipped = bytearray(page)
        flipped[bit // 8] ^= 1 << bit % 8
        damage(path, 0, bytes(flipped))
        with pytest.raises(ViewUnusable):
            Table.open(path, SCHEMA, LOG_ID)
    damage(path, 0, page)
    Table.open(path, SCHEMA, LOG_ID).close()


@pytest.mark.parametrize(
    "schema, log_id, problem",
    [
        (TableSchema("instruments", 2, ("isin", "venue")), LOG_ID, "another version"),
        (TableSchema("instruments", 4, ("isin", "venue")), LOG_ID, "another version"),
        (TableSchema("listings", 3, ("isin", "venue")), LOG_ID, "another view"),
        (TableSchema("instruments", 3, ("venue", "isin")), LOG_ID, "other secondary"),
        (TableSchema("instruments", 3, ("isin",)), LOG_ID, "other secondary"),
        (SCHEMA, bytes(16), "another log"),
    ],
)
def test_a_foreign_or_older_file_is_refused(
    tmp_path: Path, schema: TableSchema, log_id: bytes, problem: str
) -> None:
    create(tmp_path / "v").close()
    with pytest.raises(ViewUnusable, match=problem):
        Table.open(tmp_path / "v", schema, log_id)


def test_dirty_from_another_boot_is_refused_and_clean_is_not(tmp_path: Path) -> None:
    path = tmp_path / "v"
    with create(path) as table:
        fold_range(table, 2, 30, 10)
    with pytest.raises(ViewUnusable, match="closed cleanly"):
        write(path, OTHER_BOOT_ID)
    with pytest.raises(ViewUnusable, match="closed cleanly"):
        Table.open(path, SCHEMA, LOG_ID, boot_id=OTHER_BOOT_ID)
    with write(path) as table:
        table.mark_clean()
        assert table.clean
    with write(path, OTHER_BOOT_ID) as table:
        assert (table.clean, table.boot_id) == (True, BOOT_ID)
        table.mark_dirty()
        assert (table.clean, table.boot_id) == (False, OTHER_BOOT_ID)
    with pytest.raises(ViewUnusable, match="closed cleanly"):
        write(path)


def test_damaged_records_and_postings_are_noticed_where_they_are_trusted(tmp_path: Path) -> None:
    path = tmp_path / "v"
    with create(path) as table:
        fold_range(table, 3, 60, 10)
        key, position = next(table.keys())
        damage(path, position + 20, b"\xff\xff")
        assert not table.intact(position)
        for use in (table.sum_rows, lambda: table.grow_into(tmp_path / "w", 2, 128)):
            with pytest.raises(ViewUnusable, match="record is damaged"):
                use()
        assert not (tmp_path / "w").exists()
        damage(path, position, payload_of(key, table.last_offset(position)))
        table.grow_into(tmp_path / "w", 2, 128).close()
        words = table.postings_used - POSTINGS_FIRST
        damage(path, table.geometry.postings_at + 8 * POSTINGS_FIRST, b"\xff" * 8 * words)
        with pytest.raises(ViewUnusable, match="posting"):
            table.grow_into(tmp_path / "x", 2, 128)


def test_long_postings_are_linked_once_by_each_of_two_writers(tmp_path: Path) -> None:
    with create(tmp_path / "v", rows=2048) as one, write(tmp_path / "v") as two:
        model = Model()
        for turn in range(40):
            table = (one, two)[turn % 2]
            table.begin(turn + 1)
            for key in range(1 + 10 * turn, 31 + 10 * turn):
                fold(table, key, 1 + key // 100, [(1, 5), (1, 5)])
                model.put(key, 1 + key // 100)
                model.link(1, 5, key)
            table.finish(turn + 1)
        model.check(one)
        model.check(two)


def test_writes_outside_of_a_fold_are_our_own_mistake(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        with pytest.raises(AssertionError, match="begin"):
            put(table, 1, 1)
        with pytest.raises(AssertionError, match="begin"):
            table.link(0, 1, 1)
        with pytest.raises(AssertionError, match="begin"):
            table.finish(5)


# --- many at once ----------------------------------------------------------------------------


def test_many_at_once_are_as_one_by_one(tmp_path: Path) -> None:
    """Keys that collide, that share a secondary key, none, and twice the same for one cell."""
    keys = [1, 1 + (1 << 63), 7, 7 + (1 << 40), 900, 3]
    firsts, seconds = [5, 5, 5, 0, 5, 9], [8, 8, 0, 8, 4, 4]
    rows = [
        (key, payload_of(key, at), at, ((1 << 256) - key).to_bytes(32, "little"))
        for at, key in enumerate(keys, 20)
    ]
    with create(tmp_path / "one") as one, create(tmp_path / "many") as many:
        one.begin(50)
        for key, payload, at, digest in rows:
            one.put(key, payload, last_offset=at, data_offset=at,
                    row_digest=int.from_bytes(digest, "little"))  # fmt: skip
        for number, secondary in enumerate((firsts, seconds)):
            for key, under in zip(keys, secondary, strict=True):
                if under:
                    one.link(number, under, one.cell(key))
        one.finish(50)
        many.begin(50)
        cells = many.insert_all(rows)
        assert cells == [many.cell(key) for key in keys]
        many.link_all(0, firsts, cells)
        many.link_all(1, [key for key in seconds for _ in range(2)],
                      [cell for cell in cells for _ in range(2)])  # fmt: skip
        many.finish(50)
        assert many.totals == one.totals == many.sum_rows()
        for key in keys:
            assert many.payload(many.find(key)) == one.payload(one.find(key))
            assert many.trailer(many.find(key)) == one.trailer(one.find(key))
        for number in range(2):
            assert {
                under: [many.key_of(cell) for cell in cells]
                for under, cells in many.posting_keys(number)
            } == {
                under: [one.key_of(cell) for cell in cells]
                for under, cells in one.posting_keys(number)
            }


def test_many_at_once_end_before_one_that_is_known(tmp_path: Path) -> None:
    rows = [(key, payload_of(key, 1), 1, bytes(31) + b"\1") for key in (4, 5, 6, 5, 7)]
    with create(tmp_path / "v") as table:
        table.begin(9)
        cells = table.insert_all(rows)
        assert cells == [table.cell(key) for key in (4, 5, 6)]
        assert table.find(7) == -1
        assert table.insert_all(rows[1:]) == []
        assert table.arena_used == 3
        assert len(table.insert_all(rows[4:])) == 1
        table.finish(9)
        assert table.totals == table.sum_rows()
        assert (table.row_count, table.arena_used) == (4, 4)


def test_too_many_at_once_change_nothing(tmp_path: Path) -> None:
    with create(tmp_path / "v") as table:
        capacity = table.arena_capacity
        rows = [(key, payload_of(key, 1), 1, bytes(32)) for key in range(1, capacity + 2)]
        table.begin(9)
        with pytest.raises(ViewFull):
            table.insert_all(rows)
        assert table.find(1) == -1
        assert table.arena_used == 0
        assert len(table.insert_all(rows[:128])) == 128
        with pytest.raises(ViewFull):
            table.link_all(0, range(1, 1_000), range(1, 1_999, 2))
