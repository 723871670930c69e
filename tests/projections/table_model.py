"""What a table should hold, and a stream of events to fold into one."""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from pathlib import Path

from alphapulse.projections.layout import PENDING_BIT, TableSchema, Trailer
from alphapulse.projections.table import Table, TableWriter
from alphapulse.projections.table_reader import TableReader

SCHEMA = TableSchema("instruments", 3, ("isin", "venue"))
LOG_ID = bytes(range(16))
BOOT_ID = b"this boot is now"
OTHER_BOOT_ID = b"the boot before."
DIGESTS = 1 << 256


def create(path: Path, rows: int = 128, generation: int = 1, postings: int = 2) -> TableWriter:
    return Table.create(
        path, SCHEMA, log_id=LOG_ID, generation=generation, rows=rows, boot_id=BOOT_ID,
        postings_per_row=postings,
    )


def write(path: Path, boot_id: bytes = BOOT_ID) -> TableWriter:
    return TableWriter.open(path, SCHEMA, LOG_ID, boot_id=boot_id)


def payload_of(key: int, offset: int) -> bytes:
    return (key.to_bytes(8, "little") + offset.to_bytes(8, "little")) * 8


def digest_of(key: int, offset: int) -> int:
    """Near 2^256, so that sums wrap; one in eleven rows is not counted."""
    return 0 if offset % 11 == 0 else DIGESTS - (key << 64) - offset


class Model:
    """What the table should hold after folding events up to some offset."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}  # key -> offset of its newest event
        self.links: dict[tuple[int, int], list[int]] = {}  # (index, secondary key) -> keys

    def put(self, key: int, offset: int) -> None:
        self.rows[key] = offset

    def link(self, index: int, secondary: int, key: int) -> None:
        keys = self.links.setdefault((index, secondary), [])
        if key not in keys:
            keys.append(key)

    def check(self, table: TableReader) -> None:
        """Everything a reader can ask, totals included."""
        seen = dict(table.keys())
        assert seen.keys() == self.rows.keys()
        counted = 0
        total = 0
        for key, offset in self.rows.items():
            position = table.find(key)
            assert position == seen[key] == table.position_of(table.cell(key))
            assert table.key_of(table.cell(key)) == key
            assert table.intact(position)
            assert table.payload(position) == payload_of(key, offset)
            row_digest = digest_of(key, offset)
            until = until_of(offset)
            trailer = Trailer(offset, offset // 2, row_digest, key & 255, until)
            assert table.trailer(position) == trailer
            assert bool(position & PENDING_BIT) == bool(until)
            assert table.last_offset(position) == offset
            counted += row_digest != 0
            total += row_digest
        for index in range(len(SCHEMA.secondaries)):
            expected = {
                key: [table.cell(entity) for entity in entities]
                for (number, key), entities in self.links.items()
                if number == index
            }
            found = {key: list(cells) for key, cells in table.posting_keys(index)}
            assert found == expected
            for key, cells in expected.items():
                assert list(table.postings(index, key)) == cells
                assert list(table.postings(SCHEMA.secondaries[index], key)) == cells
        digest = (total % DIGESTS).to_bytes(32, "little")
        assert (table.totals.row_count, table.totals.digest) == (counted, digest)
        assert table.sum_rows()[1:] == (counted, digest)


def until_of(offset: int) -> int:
    """Of some records that they are pending."""
    return offset if offset % 7 == 3 else 0


def put(table: TableWriter, key: int, offset: int) -> int:
    return table.put(
        key, payload_of(key, offset), last_offset=offset, data_offset=offset // 2,
        row_digest=digest_of(key, offset), aux=key & 255, pending_until_s=until_of(offset),
    )


def fold(table: TableWriter, key: int, offset: int, links: list[tuple[int, int]]) -> None:
    """One event as the engine folds it: repeatable."""
    position = table.find(key)
    if position < 0 or table.last_offset(position) < offset:
        put(table, key, offset)
    for index, secondary in links:
        table.link(index, secondary, table.cell(key))


def event(seed: int, offset: int) -> tuple[int, list[tuple[int, int]]]:
    """Event number `offset` of a stream: its entity and the links it makes."""
    rng = random.Random(seed * 1_000_003 + offset)
    key = rng.choice((rng.randint(1, 60), rng.getrandbits(12) or 1, 1 << 63 | rng.getrandbits(6)))
    venue = 1 + key % 3
    return key, [(0, 0x5553 + (key >> 2)), (1, venue), (1, venue << 40 | offset % 5)]


def model_of(seed: int, stop: int) -> Model:
    model = Model()
    for offset in range(stop):
        key, links = event(seed, offset)
        model.put(key, offset)
        for index, secondary in links:
            model.link(index, secondary, key)
    return model


def fold_range(table: TableWriter, seed: int, stop: int, batch: int) -> None:
    while table.applied < stop:
        start, end = table.applied, min(table.applied + batch, stop)
        table.begin(end)
        for offset in range(start, end):
            key, links = event(seed, offset)
            fold(table, key, offset, links)
        table.finish(end)


class CutOff(BaseException):
    """Stands for a kill: nothing after it is stored, and nobody handles it."""


class Tripwire:
    """Lets a number of stores through, over all views of a table together, then cuts off."""

    def __init__(self, target: object, left: list[int]) -> None:
        self.target, self.left = target, left

    def __getitem__(self, key: object) -> object:
        return self.target[key]  # type: ignore[index]

    def __len__(self) -> int:
        return len(self.target)  # type: ignore[arg-type]

    def __setitem__(self, key: object, value: object) -> None:
        if self.left[0] <= 0:
            raise CutOff
        self.left[0] -= 1
        self.target[key] = value  # type: ignore[index]


def trip_after(table: TableWriter, stores: int) -> None:
    left = [stores]
    for name in ("_map", "_index", "_postings", "words"):
        setattr(table, name, Tripwire(getattr(table, name), left))
    tripped = [(Tripwire(slots, left), shift, mask) for slots, shift, mask in table._secondaries]
    table._secondaries = tuple(tripped)  # type: ignore[arg-type]


def in_child(work: Callable[[], None]) -> int:
    """Runs work in a forked child; its exit status is 0 unless work raises."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
