"""Is a live view what a fresh fold of the log makes? Row by row and link by link.

Digests are running sums, so they say nothing of a record or an index that was damaged where it
lies: both tables are walked. The live one may go on meanwhile: what it learnt after the fresh
fold's last event is passed over. It may be damaged in any way, so nothing it says is trusted.
"""

from __future__ import annotations

from typing import Final

from .errors import ViewUnusable
from .layout import PENDING_BIT
from .table_reader import TableReader

KEYS_MAX: Final = 20


def differing(live: TableReader, built: TableReader) -> list[int]:
    """Keys whose rows or links are not the same in both, at most 20. Cost: 5 µs a row."""
    stop, found = built.applied, set[int]()
    for key, position in built.keys():  # noqa: SIM118  # not a dict: it gives pairs
        other = live.find(key)
        newer = _is_whole(live, other) and live.last_offset(other) >= stop
        if not newer and _row(live, other) != _row(built, position):
            found.add(key)
    for key, position in live.keys():  # noqa: SIM118  # not a dict: it gives pairs
        known = built.find(key) >= 0
        if not known and not (_is_whole(live, position) and live.last_offset(position) >= stop):
            found.add(key)
    for index in range(len(built.schema.secondaries)):
        for key, cells in built.posting_keys(index):
            try:
                linked = {live.key_of(cell) for cell in live.postings(index, key)}
            except (IndexError, ViewUnusable):
                linked = set()
            found.update({built.key_of(cell) for cell in cells} - linked)
    return sorted(found)[:KEYS_MAX]


def _is_whole(table: TableReader, position: int) -> bool:
    return position >= 0 and position & 7 == 0 and table.intact(position)


def _row(table: TableReader, position: int) -> tuple[bytes, int, int, bool] | None:
    """None when there is no whole record."""
    if not _is_whole(table, position):
        return None
    trailer = table.trailer(position)
    pending = bool(position & PENDING_BIT)
    return table.payload(position), trailer.row_digest, trailer.pending_until_s, pending
