"""Reading a table: a memory-mapped hash table that any process probes without a lock.

The idea: everything a reader follows is one aligned 8-byte word, and what the word leads to was
complete before the word was stored and never changes afterwards. So a reader sees an entity as it
was or as it is, never a mixture, and a writer killed between two stores leaves only bytes that
nothing leads to. It rests on three things: an aligned store through a cast memoryview is a single
instruction; x86-64 makes one core's stores visible in order (Intel SDM 3A, 8.2; elsewhere ask
`intact()` of each record); and a mapped file is never truncated (that is a SIGBUS). It breaks when
anything wider than a word is changed in place; the one such thing, the totals, has two slots of
which the writer fills the one not in force before it swings their number.

A growing view gets a new file. The old one stays as it is, says `superseded`, and lives for as
long as someone maps it.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Collection, Iterator, Sequence
from itertools import compress
from typing import Final, NoReturn, TypeAlias, cast
from zlib import crc32

from alphapulse.log import Closed, Closing

from .errors import ViewUnusable
from .layout import (
    APPLIED,
    ARENA_NEXT,
    BLOCK_HEAD_WORDS,
    BOOT_ID,
    CLEAN,
    CRC_RESIDUE,
    DIGEST_MASK,
    IN_PROGRESS,
    MIX,
    PAGE_SIZE_BYTES,
    PAYLOAD_SIZE_BYTES,
    POSTINGS_USED,
    RECORD_SIZE_BYTES,
    ROW_DIGEST_AT,
    ROW_DIGEST_SIZE_BYTES,
    SLOT_SIZE_BYTES,
    SUPERSEDED,
    TOTALS,
    TOTALS_APPLIED,
    TOTALS_NUMBER,
    TOTALS_ROWS,
    TRAILER,
    TRAILER_SIZE_BYTES,
    Geometry,
    TableSchema,
    Totals,
    Trailer,
    check_states,
    unpack_static,
)

Cells: TypeAlias = Sequence[int]
"""Primary cells under one secondary key: a tuple or a slice of the mapped posting block. It stays
as it was when it was asked for; cells linked later are not in it."""

_SCAN_SLOTS: Final = 8192
_SLOT_WORDS_A_PROBE: Final = 16
"""So many words of slots are read in a row in the time that probing for one key takes."""


class _Gone:
    """Stands in for the views of a closed table, so that the hot path needs no check."""

    def __getitem__(self, index: object) -> NoReturn:
        raise Closed("reading a view")

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise Closed("writing a view")

    def __len__(self) -> NoReturn:
        raise Closed("reading a view")


def map_table(
    path: str, schema: TableSchema, log_id: bytes, boot_id: bytes | None, *, writable: bool
) -> tuple[mmap.mmap, Geometry]:
    """Checks the header and maps the whole file; ViewUnusable when it is not what we expect.

    boot_id: of this boot. Given, a file that was left dirty in another boot is refused.
    """
    doing = f"opening view {schema.name}"
    flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ViewUnusable(doing, problem="it is not a regular file", path=path)
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise ViewUnusable(doing, problem="there is no such file", path=path) from error
    try:
        size_bytes = os.fstat(fd).st_size
        page = os.pread(fd, PAGE_SIZE_BYTES, 0)
        geometry = unpack_static(page, schema, log_id, size_bytes=size_bytes, path=path)
        check_states(page, schema, geometry, boot_id, path=path)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return mmap.mmap(fd, size_bytes, access=access), geometry
    finally:
        os.close(fd)


class TableReader(Closing):
    """One generation of a view, mapped. Safe for threads; holds no lock and no descriptor of ours.

    words: the whole file as u64, for a caller that polls `words[SUPERSEDED]` before each probe.
    arena: the whole file as read-only bytes; a flyweight is `Record(table.arena, position)`. It
    keeps the mapping alive after `close()` for as long as the flyweight lives.
    """

    __slots__ = (
        "_index", "_map", "_mask", "_numbers", "_postings", "_secondaries", "arena", "geometry",
        "path", "schema", "words",
    )

    def __init__(
        self, path: str, schema: TableSchema, mapped: mmap.mmap, geometry: Geometry
    ) -> None:
        self.path: Final = path
        self.schema: Final = schema
        self.geometry: Final = geometry
        self._numbers: Final = {name: n for n, name in enumerate(schema.secondaries)}
        self._map: Final = mapped
        self._mask: Final = (2 << geometry.primary_bits) - 1
        self.arena: memoryview = memoryview(mapped).toreadonly()
        self.words: memoryview = memoryview(mapped).cast("Q")
        self._index: memoryview = self._section(PAGE_SIZE_BYTES, geometry.index_at(0))
        self._secondaries: tuple[tuple[memoryview, int, int], ...] = tuple(
            (
                self._section(geometry.index_at(n), geometry.index_at(n + 1)),
                63 - bits,
                (2 << bits) - 2,
            )
            for n, bits in enumerate(geometry.secondary_bits)
        )
        self._postings: memoryview = self._section(geometry.postings_at, geometry.arena_at)

    def _section(self, start: int, stop: int) -> memoryview:
        return self.words[start >> 3 : stop >> 3]

    # Lookup. `find` and `cell` are one loop written twice: a call between them would cost a fifth.

    def find(self, key: int) -> int:
        """Position of the entity's record, or -1. About 0.4 µs for random keys of a million."""
        index, mask = self._index, self._mask
        i = (key << 1) & mask
        found = index[i]
        while found != key:
            if not found:
                return -1
            i = (i + 2) & mask
            found = index[i]
        return index[i + 1] or -1  # asked for key 0, the probe ends at a free slot

    def cell(self, key: int) -> int:
        """The entity's cell, or -1. It stays the same for the life of this generation."""
        index, mask = self._index, self._mask
        i = (key << 1) & mask
        found = index[i]
        while found != key:
            if not found:
                return -1
            i = (i + 2) & mask
            found = index[i]
        return i + 1

    # Words of a file that was damaged in place lead anywhere. To ask before each step would cost
    # more than the step; leaving the file raises by itself, and is told apart here.

    def position_of(self, cell: int) -> int:
        try:
            return self._index[cell]
        except IndexError as error:
            raise self.damaged("a posting", cell=cell) from error

    def positions_of(self, cells: Cells) -> list[int]:
        """`position_of` each, at a fifth of the cost."""
        index = self._index
        try:
            return [index[cell] for cell in cells]
        except IndexError as error:
            raise self.damaged("a posting", cells=len(cells)) from error

    def key_of(self, cell: int) -> int:
        try:
            return self._index[cell - 1]
        except IndexError as error:
            raise self.damaged("a posting", cell=cell) from error

    def offset_of(self, position: int) -> int:
        """Byte offset in `arena` of the record: positions are byte offsets."""
        return position

    def index_number(self, name: str) -> int:
        return self._numbers[name]

    def postings(self, index: int | str, key: int) -> Cells:
        """Cells linked under a secondary key, in the order in which they were linked."""
        slots, shift, mask = self._secondaries[
            index if index.__class__ is int else self._numbers[cast(str, index)]
        ]
        i = key * MIX >> shift & mask
        found = slots[i]
        while found != key:
            if not found:
                return ()
            i = (i + 2) & mask
            found = slots[i]
        return self._cells(slots[i + 1])

    def linked(self, index: int | str, keys: Collection[int]) -> set[int]:
        """Those of the keys that something is linked under. Cost: 0.3 µs a key, or 20 ns for each
        slot of the index where that is less."""
        number = index if isinstance(index, int) else self._numbers[index]
        slots = self._secondaries[number][0]
        if len(slots) > _SLOT_WORDS_A_PROBE * len(keys):
            return {key for key in keys if self.postings(number, key)}
        return set(keys).intersection(slots[::2].tolist())

    def block(self, start: int, count: int) -> Cells:
        """The first so many cells of the block whose cells begin at word `start`."""
        postings = self._postings
        cells = postings[start : start + count]
        if not 0 < count <= postings[start - BLOCK_HEAD_WORDS] or len(cells) != count:
            raise self.damaged("a posting block", word=start - BLOCK_HEAD_WORDS, cells=count)
        return cells

    # Records

    def payload(self, position: int) -> bytes:
        """A copy of the 128 bytes."""
        return bytes(self.arena[position : position + PAYLOAD_SIZE_BYTES])

    def trailer(self, position: int) -> Trailer:
        try:
            fields = TRAILER.unpack_from(self.arena, position + PAYLOAD_SIZE_BYTES)
        except TypeError:  # only our stand-in for a closed view has no buffer
            raise Closed("reading a view") from None
        except (OverflowError, struct.error) as error:
            raise self.damaged("an index slot", position=position) from error
        last_offset, data_offset, row_digest, aux, pending_until_s, _ = fields
        row = int.from_bytes(row_digest, "little")
        return Trailer(last_offset, data_offset, row, aux, pending_until_s)

    def last_offset(self, position: int) -> int:
        """`trailer(position).last_offset` at a fifth of the cost, for a fold that asks each time
        whether the record covers the event already."""
        try:
            return self.words[(position + PAYLOAD_SIZE_BYTES) >> 3]
        except IndexError as error:
            raise self.damaged("an index slot", position=position) from error

    def intact(self, position: int) -> bool:
        """Whether a whole record stands there: its CRC holds. False too outside of the file."""
        record = self.arena[position : position + RECORD_SIZE_BYTES]
        return len(record) == RECORD_SIZE_BYTES and crc32(record) == CRC_RESIDUE

    # Iteration

    def keys(self) -> Iterator[tuple[int, int]]:
        """(key, position) of every entity, in index order, which differs between generations."""
        yield from used_slots(self._index)

    def posting_keys(self, index: int | str) -> Iterator[tuple[int, Cells]]:
        """(key, cells) of every key of a secondary index, in index order."""
        number = index if isinstance(index, int) else self._numbers[index]
        for key, word in used_slots(self._secondaries[number][0]):
            yield key, self._cells(word)

    def _cells(self, word: int) -> Cells:
        """The cells a posting word leads to."""
        if word & 1:
            return (word,)
        try:
            return self.block(word + BLOCK_HEAD_WORDS, self._postings[word + 1])
        except IndexError as error:
            raise self.damaged("a posting block", word=word) from error

    def sum_rows(self) -> Totals:
        """The totals counted anew from the records, each CRC checked; about 1 µs a row.

        Raises ViewUnusable when a record is damaged.
        """
        applied, row_count, total = self.applied, 0, 0
        arena = self.arena
        for key, position in used_slots(self._index):
            record = arena[position : position + RECORD_SIZE_BYTES]
            if crc32(record) != CRC_RESIDUE:
                raise self.damaged("a record", key=f"{key:#018x}", position=position)
            row_digest = int.from_bytes(record[ROW_DIGEST_AT : ROW_DIGEST_AT + 32], "little")
            if row_digest:
                row_count += 1
                total += row_digest
        digest = (total & DIGEST_MASK).to_bytes(ROW_DIGEST_SIZE_BYTES, "little")
        return Totals(applied, row_count, digest)

    def damaged(self, what: str, **facts: object) -> ViewUnusable:
        """The error to raise when what was read here cannot be what was written."""
        return ViewUnusable(
            f"reading view {self.schema.name}", problem=f"{what} is damaged",
            cure=ViewUnusable.cure, path=self.path, **facts,
        )

    # Header

    @property
    def applied(self) -> int:
        """The offset of the next event to fold."""
        return self.words[APPLIED]

    @property
    def in_progress(self) -> int:
        """Where the fold that was begun last stops; equal to `applied` when none is open."""
        return self.words[IN_PROGRESS]

    @property
    def clean(self) -> bool:
        return bool(self.words[CLEAN])

    @property
    def superseded(self) -> int:
        """The generation that took over, or 0."""
        return self.words[SUPERSEDED]

    @property
    def generation(self) -> int:
        return self.geometry.generation

    @property
    def boot_id(self) -> bytes:
        """16 bytes: the boot in which it was last written."""
        start = BOOT_ID * 8
        return bytes(self.arena[start : start + 16])

    @property
    def totals(self) -> Totals:
        """Row count and digest as of the last `finish`, consistent with each other."""
        words = self.words
        while True:  # goes round again only when the writer finished a fold meanwhile
            number = words[TOTALS_NUMBER]
            at = TOTALS[number & 1]
            digest = bytes(self.arena[at * 8 : at * 8 + ROW_DIGEST_SIZE_BYTES])
            found = Totals(words[at + TOTALS_APPLIED], words[at + TOTALS_ROWS], digest)
            if words[TOTALS_NUMBER] == number:
                return found

    @property
    def row_count(self) -> int:
        return self.totals.row_count

    @property
    def digest(self) -> bytes:
        return self.totals.digest

    @property
    def arena_used(self) -> int:
        """Places of records taken so far, garbage included; a pending one takes two."""
        return (self.words[ARENA_NEXT] - self.geometry.arena_at) // RECORD_SIZE_BYTES

    @property
    def arena_capacity(self) -> int:
        return self.geometry.arena_size_bytes // RECORD_SIZE_BYTES

    @property
    def postings_used(self) -> int:
        """Words of the posting area in use, garbage included."""
        return self.words[POSTINGS_USED]

    def close(self) -> None:
        """Lets go of the mapping. Reads after it raise Closed; flyweights made before stay good."""
        # Dropped, not released: another thread may be in the middle of a probe, and a released
        # view would turn records that people still hold into errors.
        gone = cast(memoryview, _Gone())
        self.arena = self.words = self._index = self._postings = gone
        self._secondaries = tuple((gone, shift, mask) for _, shift, mask in self._secondaries)
        try:
            self._map.close()
        except BufferError:
            # Someone still holds a record or a slice of this mapping. It is unmapped when the
            # last of them is collected.
            return


def used_slots(slots: memoryview) -> Iterator[tuple[int, int]]:
    """(key, word) of every used slot. Copies the keys of a stretch at a time: first a key, then its
    word. Cost: 90 ns, and 20 ns a slot that is free, which most are in small tables."""
    step = 2 * _SCAN_SLOTS
    for start in range(0, len(slots), step):
        stretch = slots[start : start + step]
        keys = stretch[::2].tolist()
        for at in compress(range(len(keys)), keys):
            yield keys[at], stretch[2 * at + 1]


if TRAILER_SIZE_BYTES + PAYLOAD_SIZE_BYTES != RECORD_SIZE_BYTES or SLOT_SIZE_BYTES != 16:
    raise ImportError("the reader's arithmetic follows records of 192 and slots of 16 bytes")
