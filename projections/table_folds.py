"""The writer's counters, and a fold's beginning and end: see `table` for the order of stores.

Two copies of each counter are about: ours are the truth while we fold, the file's are the truth
between folds, when another process may have written. Whoever begins looks whether the file went
on without us, and loads or, after a fold that was cut off, counts what is really there.
"""

from __future__ import annotations

import mmap
from array import array
from typing import Final

from .layout import (
    APPLIED,
    ARENA_NEXT,
    BLOCK_HEAD_WORDS,
    BLOCKS,
    BLOCKS_COUNT,
    BOOT_ID,
    CELLS_USED,
    CLEAN,
    DIGEST_MASK,
    IN_PROGRESS,
    KEYS_USED,
    PAGE_SIZE_BYTES,
    POSTINGS_USED,
    RECORD_SIZE_BYTES,
    ROW_DIGEST_SIZE_BYTES,
    TOTALS,
    TOTALS_APPLIED,
    TOTALS_NUMBER,
    TOTALS_ROWS,
    WORD_SIZE_BYTES,
    Geometry,
    TableSchema,
    Totals,
)
from .table_reader import TableReader, used_slots

_REMEMBERED_CELLS_MAX: Final = 1 << 23


class TableFolds(TableReader):
    """A table that events can be folded into; `TableWriter` adds what to do within a fold."""

    __slots__ = (
        "_arena_next", "_arena_stop", "_block_class_max", "_blocks", "_blocks_changed",
        "_boot_id", "_cells_max", "_cells_used", "_folding", "_keys_used", "_left_at", "_members",
        "_members_cells", "_postings_used", "_repeat", "_row_count", "_total", "events_left",
    )

    def __init__(
        self, path: str, schema: TableSchema, mapped: mmap.mmap, geometry: Geometry, boot_id: bytes
    ) -> None:
        super().__init__(path, schema, mapped, geometry)
        assert len(boot_id) == 16, boot_id
        self._boot_id: Final = boot_id
        self._arena_stop: Final = (
            geometry.arena_at + geometry.arena_size_bytes - RECORD_SIZE_BYTES
        )
        self._cells_max: Final = 1 << (geometry.primary_bits - 1)
        self._folding = False
        self._repeat = False
        self._members: dict[tuple[int, int], set[int]] = {}
        self._members_cells = 0
        self._load()

    def _load(self) -> None:
        self.events_left = 0
        """For so many more of a view's events there is room for certain; see `folding`."""
        words = self.words
        applied, in_progress = words[APPLIED], words[IN_PROGRESS]
        self._arena_next = words[ARENA_NEXT]
        self._postings_used = words[POSTINGS_USED]
        totals = self._published()
        self._row_count = totals.row_count
        self._total = int.from_bytes(totals.digest, "little")
        if in_progress == applied:
            self._cells_used = words[CELLS_USED]
            self._keys_used = words[KEYS_USED : KEYS_USED + len(self._secondaries)].tolist()
            self._blocks = words[BLOCKS : BLOCKS + BLOCKS_COUNT].tolist()
        else:
            self._recount()
        self._repeat = self._blocks_changed = in_progress != applied
        self._block_class_max = max((k for k, n in enumerate(self._blocks) if n), default=0)
        self._left_at = (applied, in_progress, words[TOTALS_NUMBER])

    def _recount(self) -> None:
        """A fold was cut off, so the counters are older than the file: count the file."""
        self._cells_used = sum(1 for _ in used_slots(self._index))
        self._keys_used = [0] * len(self._secondaries)
        self._blocks = [0] * BLOCKS_COUNT
        postings = self._postings
        for number, (slots, _, _) in enumerate(self._secondaries):
            for _, word in used_slots(slots):
                self._keys_used[number] += 1
                if not word & 1:
                    self._cells(word)  # raises when the block is damaged
                    self._blocks[block_class(postings[word])] += 1

    def refresh(self) -> None:
        """Between folds: takes over what another process wrote, or a cut-off fold of ours left.

        Comes before `room_for` and `grow_into` when no fold is open; `begin` does it too.
        """
        words = self.words
        now = (words[APPLIED], words[IN_PROGRESS], words[TOTALS_NUMBER])
        if self._folding or self._left_at != now:
            self._folding = False
            self._load()

    def begin(self, stop_offset: int) -> None:
        """Opens the fold of the events from `applied` up to, not including, stop_offset."""
        words = self.words
        applied, in_progress = words[APPLIED], words[IN_PROGRESS]
        assert stop_offset >= applied, (stop_offset, applied)
        self.refresh()
        if words[CLEAN]:
            self.mark_dirty()
        # A cut-off fold stays in progress until all of it is folded again.
        words[IN_PROGRESS] = in_progress = max(stop_offset, in_progress)
        self._folding = in_progress > applied

    def finish(self, stop_offset: int) -> None:
        """Publishes row count and digest, then the applied offset. After a cut-off fold it sums
        the digest from the rows, about 1 µs each; else it costs some µs."""
        words = self.words
        assert words[APPLIED] <= stop_offset <= words[IN_PROGRESS], "begin() comes before finish()"
        if self._repeat:
            self.recompute_digest()
        self._publish(stop_offset)
        words[CELLS_USED] = self._cells_used
        for number, used in enumerate(self._keys_used):
            words[KEYS_USED + number] = used
        if self._blocks_changed:
            words[BLOCKS : BLOCKS + BLOCKS_COUNT] = memoryview(array("Q", self._blocks))
            self._blocks_changed = False
        words[APPLIED] = stop_offset
        self._folding = False
        self._left_at = (stop_offset, words[IN_PROGRESS], words[TOTALS_NUMBER])
        if self._members_cells > _REMEMBERED_CELLS_MAX:
            self._members.clear()
            self._members_cells = 0

    def skip_to(self, stop_offset: int) -> None:
        """As `begin` and `finish` of a fold that changes nothing: 1 µs instead of 10."""
        words = self.words
        if self._folding or words[IN_PROGRESS] != words[APPLIED]:
            self.begin(stop_offset)
            self.finish(stop_offset)
            return
        if words[CLEAN]:
            self.mark_dirty()
        number = words[TOTALS_NUMBER]
        words[TOTALS[number & 1] + TOTALS_APPLIED] = stop_offset
        words[IN_PROGRESS] = stop_offset
        words[APPLIED] = stop_offset
        if self._left_at[2] == number:
            self._left_at = (stop_offset, stop_offset, number)

    def _publish(self, applied: int) -> None:
        words = self.words
        number = words[TOTALS_NUMBER] + 1
        at = TOTALS[number & 1]
        self._total &= DIGEST_MASK
        digest = self._total.to_bytes(ROW_DIGEST_SIZE_BYTES, "little")
        words[at : at + ROW_DIGEST_SIZE_BYTES // WORD_SIZE_BYTES] = memoryview(digest).cast("Q")
        words[at + TOTALS_ROWS] = self._row_count
        words[at + TOTALS_APPLIED] = applied
        words[TOTALS_NUMBER] = number

    def recompute_digest(self) -> None:
        """Sums row count and digest from the rows, checking each CRC; outside of a fold the
        result is published at once. Raises ViewUnusable when a record is damaged."""
        totals = self.sum_rows()
        self._row_count = totals.row_count
        self._total = int.from_bytes(totals.digest, "little")
        self._repeat = False
        if not self._folding:
            self._publish(self.applied)
            self._left_at = (*self._left_at[:2], self.words[TOTALS_NUMBER])

    def _published(self) -> Totals:
        return super().totals

    @property
    def totals(self) -> Totals:
        """Within a fold: as of the last put, with the offset still to be applied."""
        if not self._folding:
            return self._published()
        digest = (self._total & DIGEST_MASK).to_bytes(ROW_DIGEST_SIZE_BYTES, "little")
        return Totals(self.applied, self._row_count, digest)

    # States of the file

    def mark_clean(self) -> None:
        """Syncs all of it, then says so: it may be trusted after a power loss. Milliseconds."""
        assert not self._folding, "finish() comes before mark_clean()"
        assert self.applied == self.in_progress, "a fold was cut off and not repeated"
        self._map.flush()
        self.words[CLEAN] = 1
        self._map.flush(0, PAGE_SIZE_BYTES)

    def mark_dirty(self) -> None:
        """Comes before the first `begin` after opening; costs a sync when the file was clean."""
        words = self.words
        if words[CLEAN] or self.boot_id != self._boot_id:
            words[BOOT_ID : BOOT_ID + 2] = memoryview(self._boot_id).cast("Q")
            words[CLEAN] = 0
            self._map.flush(0, PAGE_SIZE_BYTES)


def block_class(capacity: int) -> int:
    """k of a block of 2^k words."""
    return (capacity + BLOCK_HEAD_WORDS).bit_length() - 1
