"""Writing a table: put, link, and the order of stores that makes a kill at any point harmless.

The idea: a fold is open from `begin` to `finish`, and all it does is repeatable. Within it `put`
stores record bytes, arena_next, then the position, then (for a new entity) the key; `link` stores
the cell, the count, then the posting word, then the key. A process killed in between leaves space
that nothing leads to, never a word that leads to unfinished bytes. Whoever folds next sees
in_progress ahead of applied, counts what is in the file instead of trusting the counters, folds
the same events again (linking twice is linking once; the engine skips a put whose event the
record's last_offset already covers), and `finish` sums the digest anew. That holds for a killed
process, because its stores are in the page cache. After a power loss only a file that says
`clean` can be trusted: `mark_clean` syncs everything before the flag, `mark_dirty` syncs the
cleared flag before anything else may change. Beginning, ending and counting are in `table_folds`.

The invariant that breaks it all: two writers at once. The lock is the caller's.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias
from zlib import crc32

from .errors import ViewFull
from .layout import (
    ARENA_NEXT,
    BLOCK_CLASS_MIN,
    BLOCK_HEAD_WORDS,
    CRC,
    CRC_RESIDUE,
    IN_PROGRESS,
    MIX,
    PAYLOAD_SIZE_BYTES,
    PENDING_BIT,
    POSTING_WORDS_EACH,
    POSTINGS_USED,
    RECORD_BODY,
    RECORD_SIZE_BYTES,
    ROW_DIGEST_AT,
    ROW_DIGEST_SIZE_BYTES,
    SUPERSEDED,
    Geometry,
    TableSchema,
    bits_for,
    new_geometry,
)
from .table_file import make_table_file
from .table_folds import TableFolds, block_class
from .table_reader import TableReader, map_table, used_slots

ROWS_MIN: Final = 1 << 7
POSTINGS_PER_ROW: Final = 2
_SCAN_CELLS_MAX: Final = 14
"""Blocks of up to so many cells are searched in place; of longer ones the writer keeps a set."""
NewRow: TypeAlias = tuple[int, bytes, int, bytes]
"""The first record of an entity: key, payload, offset of the event, row digest of 32 bytes."""
_LINK_WORDS_MAX: Final = 8
"""Words one link can take, beyond the first growth of a block that is full already. The dearest
run is 1 to 3 cells: blocks of 4 and 8 words for two links."""


class Table:
    """The doors: `create` gives a writer, `open` a reader; `TableWriter.open` a writer again."""

    @staticmethod
    def create(
        path: str | os.PathLike[str], schema: TableSchema, *, log_id: bytes, generation: int,
        rows: int, boot_id: bytes, postings_per_row: int = POSTINGS_PER_ROW,
    ) -> TableWriter:
        """A new, empty, dirty table; a file of that name is unlinked first, never truncated.

        rows: records that fit, updates included, and entities. postings_per_row: links for each
        row beyond the first under its key, for all secondary indexes together. log_id, boot_id:
        16 bytes each. All space is reserved here (a hole in a mapped file on a full disk is a
        SIGBUS). Raises ViewFull, leaving no file.
        """
        rows = max(rows, ROWS_MIN)
        bits = bits_for(rows)
        geometry = new_geometry(
            generation, log_id, bits, (bits,) * len(schema.secondaries),
            rows * postings_per_row * POSTING_WORDS_EACH, rows,
        )
        return _create(os.fspath(path), schema, geometry, boot_id)

    @staticmethod
    def open(
        path: str | os.PathLike[str], schema: TableSchema, log_id: bytes, *,
        boot_id: bytes | None = None,
    ) -> TableReader:
        """Maps a table for reading, about 0.1 ms at any size.

        Raises ViewUnusable, whose problem says why: missing, cut, damaged, another view, version,
        layout or log; with the boot_id of this boot given, also left dirty in another boot.
        """
        mapped, geometry = map_table(os.fspath(path), schema, log_id, boot_id, writable=False)
        return TableReader(os.fspath(path), schema, mapped, geometry)


class TableWriter(TableFolds):
    """The one writer of a generation. `put` and `link` belong between `begin` and `finish`.

    Another process may write between two folds of ours, each under the caller's lock: `begin`
    notices and loads what has changed.
    """

    __slots__ = ()

    @staticmethod
    def open(
        path: str | os.PathLike[str], schema: TableSchema, log_id: bytes, *, boot_id: bytes
    ) -> TableWriter:
        """For the holder of the writer's lock. boot_id: 16 bytes, of this boot.

        Raises ViewUnusable as `Table.open` does.
        """
        mapped, geometry = map_table(os.fspath(path), schema, log_id, boot_id, writable=True)
        return TableWriter(os.fspath(path), schema, mapped, geometry, boot_id)

    # Rows

    def put(
        self, key: int, payload: bytes, *, last_offset: int, data_offset: int, row_digest: int,
        aux: int = 0, pending_until_s: int = 0,
    ) -> int:
        """Insert or replace the entity's record; returns its cell. About 1.5 µs.

        payload: 128 bytes. row_digest: below 2^256, 0 when the row is not counted. pending_until_s:
        as in `Trailer`. Raises ViewFull before it changes anything.
        """
        assert self._folding, "begin() comes before put()"
        assert key, "0 marks a free slot"
        assert len(payload) == PAYLOAD_SIZE_BYTES, len(payload)
        index, mask, words = self._index, self._mask, self.words
        i = (key << 1) & mask
        found = index[i]
        while found != key and found:
            i = (i + 2) & mask
            found = index[i]
        position = self._arena_next
        stop = position + RECORD_SIZE_BYTES
        if pending_until_s:
            position, stop = position + PENDING_BIT, stop + RECORD_SIZE_BYTES
        room = stop - RECORD_SIZE_BYTES <= self._arena_stop
        if not room or not (found or self._cells_used < self._cells_max):
            raise self._full("a record", rows=self._cells_used, records=self.arena_used)
        body = RECORD_BODY.pack(
            payload, last_offset, data_offset,
            row_digest.to_bytes(ROW_DIGEST_SIZE_BYTES, "little"), aux, pending_until_s,
        )
        mapped = self._map
        mapped[position : position + RECORD_SIZE_BYTES] = body + CRC.pack(crc32(body))
        words[ARENA_NEXT] = self._arena_next = stop
        if found:
            at = index[i + 1] + ROW_DIGEST_AT
            old_digest = int.from_bytes(mapped[at : at + ROW_DIGEST_SIZE_BYTES], "little")
            index[i + 1] = position
            if old_digest:
                self._row_count -= 1
                self._total -= old_digest
        else:
            index[i + 1] = position
            index[i] = key
            self._cells_used += 1
        if row_digest:
            self._row_count += 1
            self._total += row_digest
        return i + 1

    def insert_all(self, rows: Sequence[NewRow]) -> list[int]:
        """As `put` of each row, which counts, up to the first whose entity is here already: the
        cells of those before it. About 4 µs each. Raises ViewFull before it changes anything."""
        assert self._folding, "begin() comes before insert_all()"
        position = self._arena_next
        stop = position + len(rows) * RECORD_SIZE_BYTES
        if stop > self._arena_stop + RECORD_SIZE_BYTES or (
            self._cells_used + len(rows) > self._cells_max
        ):
            raise self._full("records", rows=self._cells_used, records=self.arena_used)
        pack = RECORD_BODY.pack
        bodies = [pack(payload, at, at, digest, 0, 0) for _, payload, at, digest in rows]
        self._map[position:stop] = b"".join([body + CRC.pack(crc32(body)) for body in bodies])
        self.words[ARENA_NEXT] = stop
        index, mask, cells = self._index, self._mask, list[int]()
        for key, _, _, _ in rows:
            i = (key << 1) & mask
            found = index[i]
            while found and found != key:
                i = (i + 2) & mask
                found = index[i]
            if found:
                break
            index[i + 1] = position
            index[i] = key
            position += RECORD_SIZE_BYTES
            cells.append(i + 1)
        self.words[ARENA_NEXT] = self._arena_next = position
        self._cells_used += len(cells)
        self._row_count += len(cells)
        done = rows if len(cells) == len(rows) else rows[: len(cells)]
        self._total += sum([int.from_bytes(digest, "little") for _, _, _, digest in done])
        return cells

    # Postings

    def link_all(self, number: int, keys: Iterable[int], cells: Iterable[int]) -> None:
        """As `link` of each cell under its key, 0 = under none, where `insert_all` gave the cells
        just now: nothing but a link of the same event can have put one there, so long blocks need
        no search. About 1.5 µs each."""
        slots, shift, mask = self._secondaries[number]
        keys_used, keys_max = self._keys_used, (mask + 2) >> 2
        for key, cell in zip(keys, cells, strict=True):
            if not key:
                continue
            i = key * MIX >> shift & mask
            found = slots[i]
            while found and found != key:
                i = (i + 2) & mask
                found = slots[i]
            if found:
                self._link_more(slots, i + 1, cell)
            elif keys_used[number] < keys_max:
                slots[i + 1] = cell
                slots[i] = key
                keys_used[number] += 1
            else:
                raise self._full("a key", index=self.schema.secondaries[number])

    def _link_more(self, slots: memoryview, at: int, cell: int) -> None:
        """Adds the cell behind those that the posting word at `at` leads to, if it is not the last
        of them."""
        word, postings = slots[at], self._postings
        if word & 1:
            if word != cell:
                slots[at] = self._new_block(2, memoryview(array("Q", (word, cell))))
            return
        count = postings[word + 1]
        start = word + BLOCK_HEAD_WORDS
        stop = start + count
        if postings[stop - 1] == cell:
            return
        if count < postings[word]:
            postings[stop] = cell
            postings[word + 1] = count + 1
        else:
            slots[at] = self._new_block(count + 1, postings[start:stop], cell)
            self._blocks[block_class(count)] -= 1

    def link(self, index: int | str, key: int, cell: int) -> None:
        """Put the cell under a secondary key, where it stays for ever; again does nothing.

        About 1 µs. Raises ViewFull before it changes anything.
        """
        assert self._folding, "begin() comes before link()"
        assert key, "0 marks a free slot"
        assert cell & 1, cell
        number = index if isinstance(index, int) else self._numbers[index]
        slots, shift, mask = self._secondaries[number]
        i = key * MIX >> shift & mask
        found = slots[i]
        while found != key:
            if not found:
                if self._keys_used[number] >= (mask + 2) >> 2:
                    raise self._full("a key", index=self.schema.secondaries[number])
                slots[i + 1] = cell
                slots[i] = key
                self._keys_used[number] += 1
                return
            i = (i + 2) & mask
            found = slots[i]
        word, members = slots[i + 1], None
        if not word & 1:
            count = self._postings[word + 1]
            start = word + BLOCK_HEAD_WORDS
            if count > _SCAN_CELLS_MAX:
                members = self._members_of(number, key, count, start)
                if cell in members:
                    return
            elif cell in self._postings[start : start + count].tolist():
                return
        self._link_more(slots, i + 1, cell)
        if members is not None:
            members.add(cell)
            self._members_cells += 1

    def _members_of(self, number: int, key: int, count: int, start: int) -> set[int]:
        """The cells of a long block as a set. Blocks only ever gain cells at the end, so a set
        that is short (another process linked meanwhile) needs just the rest."""
        members = self._members.get((number, key))
        if members is None:
            members = self._members[number, key] = set()
        if len(members) != count:
            self._members_cells += count - len(members)
            members.update(self._postings[start + len(members) : start + count].tolist())
        return members

    def _new_block(self, count: int, cells: memoryview, last: int = 0) -> int:
        """Appends a block of the cells (and one more when `last` is given), with the room that is
        left up to a power of two; returns its word number."""
        size_class = max(BLOCK_CLASS_MIN, (count + BLOCK_HEAD_WORDS - 1).bit_length())
        size = 1 << size_class
        word = self._postings_used
        postings = self._postings
        if word + size > len(postings):
            raise self._full("a posting", words=word, cells=count)
        postings[word] = size - BLOCK_HEAD_WORDS
        postings[word + 1] = count
        start = word + BLOCK_HEAD_WORDS
        postings[start : start + len(cells)] = cells
        if last:
            postings[start + count - 1] = last
        self.words[POSTINGS_USED] = self._postings_used = word + size
        self._blocks[size_class] += 1
        self._blocks_changed = True
        if size_class > self._block_class_max:
            self._block_class_max = size_class
        return word

    def _full(self, what: str, **facts: object) -> ViewFull:
        return ViewFull(
            f"adding {what} to view {self.schema.name}", problem="this generation is full",
            cure="grow_into() a larger one", path=self.path, **facts,
        )

    # Space

    def room_for(
        self, rows: int, links: int, *, links_each_index: int | None = None, pending: int = 0
    ) -> bool:
        """Whether so many puts and links fit for certain, whatever their keys: each put takes a
        record, each link a new key or the growth of the largest block not yet grown.

        links_each_index: how many of the links one index may get at most; None = all of them.
        pending: how many of the rows may be pending.
        """
        new_keys = links if links_each_index is None else links_each_index
        if self._arena_next + (rows + pending - 1) * RECORD_SIZE_BYTES > self._arena_stop:
            return False
        if self._cells_used + rows > self._cells_max:
            return False
        for used, (_, _, mask) in zip(self._keys_used, self._secondaries, strict=True):
            if used + new_keys > (mask + 2) >> 2:
                return False
        free = len(self._postings) - self._postings_used
        if (_LINK_WORDS_MAX + (2 << self._block_class_max)) * links <= free:
            return True  # even if each link grew a block of the largest size
        need, left = _LINK_WORDS_MAX * links, links
        for size_class in [k for k, count in enumerate(self._blocks) if count][::-1]:
            grown = min(left, self._blocks[size_class])
            need += grown << (size_class + 1)
            left -= grown
            if not left:
                break
        return need <= free

    def grow_into(
        self, path: str | os.PathLike[str], generation: int, rows: int, *,
        postings_per_row: int = POSTINGS_PER_ROW,
    ) -> TableWriter:
        """A new file with the current records, without the garbage, and all postings.

        rows: as for `create`, and at least twice what is here; secondary indexes and the posting
        area get twice what they hold when that is more. It has the same applied and in-progress
        offsets and the same digest; an open fold goes on in the new one. About 3 µs a row. Raises
        ViewFull, or ViewUnusable when something here is damaged, leaving no new file; this table
        is not changed. The caller makes the new one current and then calls `supersede` here.
        """
        rows = max(rows, 2 * self._cells_used, ROWS_MIN)  # room for them if each were pending
        in_force = sum(count << size_class for size_class, count in enumerate(self._blocks))
        geometry = new_geometry(
            generation, self.geometry.log_id, bits_for(rows),
            tuple(bits_for(max(rows, 2 * used)) for used in self._keys_used),
            max(rows * postings_per_row * POSTING_WORDS_EACH, 4 * in_force), rows,
        )
        new = _create(os.fspath(path), self.schema, geometry, self._boot_id)
        try:
            self._copy_into(new)
        except BaseException:
            new.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise
        return new

    def _copy_into(self, new: TableWriter) -> None:
        new._append_records(self)
        index = self._index
        for number, (slots, _, _) in enumerate(self._secondaries):
            for key, word in used_slots(slots):
                try:
                    cells = tuple(new.cell(index[cell - 1]) for cell in self._cells(word))
                except IndexError as error:
                    raise self.damaged("a posting", key=f"{key:#018x}") from error
                if min(cells, default=-1) < 0:
                    raise self.damaged("a posting", key=f"{key:#018x}")
                new._append_key(number, key, cells)
        new.words[IN_PROGRESS] = self.in_progress
        new._row_count, new._total = self._row_count, self._total
        new._folding = True
        new._repeat = self._repeat  # then finish counts the rows: our running totals are not true
        new.finish(self.applied)
        new._folding, new._repeat = self._folding, self._repeat

    def _append_records(self, old: TableWriter) -> None:
        """Copies every record an index slot of `old` leads to, checking its CRC."""
        arena, index, mask, mapped = old.arena, self._index, self._mask, self._map
        position = self._arena_next
        for key, old_position in used_slots(old._index):
            record = arena[old_position : old_position + RECORD_SIZE_BYTES]
            if crc32(record) != CRC_RESIDUE:
                raise old.damaged("a record", key=f"{key:#018x}", position=old_position)
            stop = position + RECORD_SIZE_BYTES
            if old_position & PENDING_BIT:
                position, stop = position + PENDING_BIT, stop + RECORD_SIZE_BYTES
            mapped[position : position + RECORD_SIZE_BYTES] = record
            i = (key << 1) & mask
            while index[i]:
                i = (i + 2) & mask
            index[i + 1] = position
            index[i] = key
            position = stop
            self._cells_used += 1
        self.words[ARENA_NEXT] = self._arena_next = position

    def _append_key(self, number: int, key: int, cells: tuple[int, ...]) -> None:
        slots, shift, mask = self._secondaries[number]
        i = key * MIX >> shift & mask
        while slots[i]:
            i = (i + 2) & mask
        if len(cells) == 1:
            slots[i + 1] = cells[0]
        else:
            slots[i + 1] = self._new_block(len(cells), memoryview(array("Q", cells)))
        slots[i] = key
        self._keys_used[number] += 1

    def supersede(self, generation: int) -> None:
        """Tells readers that have this file mapped where to go on. It is never written again."""
        assert generation > self.generation, generation
        self.words[SUPERSEDED] = generation


def _create(path: str, schema: TableSchema, geometry: Geometry, boot_id: bytes) -> TableWriter:
    mapped = make_table_file(path, schema, geometry, boot_id)
    return TableWriter(path, schema, mapped, geometry, boot_id)
