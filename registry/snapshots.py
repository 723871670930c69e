"""Snapshots: files that name all that their source knows, and whom a source names no longer.

A `feed.snapshot` says which instruments came and went since the one before, so what a source names
is a fold of its snapshots, from the log alone. A snapshot that is short or broken is not complete:
it may say that an instrument is there, and never that one is gone. Only complete ones are counted,
so `missed` counts unbroken ones: an instrument that any snapshot names begins anew.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from typing import Final, Protocol

from alphapulse.log import SnapshotBody

INSTRUMENTS_MAX: Final = 60_000
"""How many a snapshot may name: the ids of all that came and went stand in one event."""
DROP_MAX_PERCENT: Final = 10
"""By how much a snapshot may be shorter than the complete one before, if nothing else is said."""
PERCENT: Final = 100
_ID_SIZE_BYTES: Final = 8


class Members:
    """Whom a source names, folded from its snapshots. Memory: 100 bytes for each instrument."""

    def __init__(self) -> None:
        self.number = 0
        """How many complete snapshots there were."""
        self.modified = 0
        """ns: when the newest snapshot was last written, complete or not."""
        self.content_hash = b""
        """Of the newest snapshot."""
        self._gone: dict[int, int] = {}
        """By id, the number of the first complete snapshot without it; 0 = it is named."""

    def copy(self) -> Members:
        made = Members()
        made.number, made.modified = self.number, self.modified
        made.content_hash, made._gone = self.content_hash, dict(self._gone)
        return made

    def fold(self, body: SnapshotBody) -> None:
        self.number, self.modified = body.number, body.modified
        self.content_hash = body.content_hash
        self._gone.update(dict.fromkeys(unpack_ids(body.appeared), 0))
        self._gone.update(dict.fromkeys(unpack_ids(body.gone), body.number))

    def names(self, instrument: int) -> bool:
        return self._gone.get(instrument) == 0

    def since(self, instrument: int) -> int:
        """Number of the first complete snapshot without it; 0 when it is, or never was, named."""
        return self._gone.get(instrument, 0)

    def missed(self, instrument: int) -> int:
        """How many complete snapshots in a row were without it."""
        since = self.since(instrument)
        return self.number - since + 1 if since else 0

    def named(self) -> set[int]:
        return {id for id, since in self._gone.items() if not since}

    def missing(self, after: int) -> list[int]:
        """Whom at least so many complete snapshots in a row did not name, by id."""
        last = self.number - after + 1
        return sorted(id for id, since in self._gone.items() if 0 < since <= last)


class Snapshots(Protocol):
    def members(self, source: str) -> Members:
        """Whom a source names. Do not change it."""


def pack_ids(ids: Collection[int]) -> bytes:
    return struct.pack(f"<{len(ids)}Q", *sorted(ids))


def unpack_ids(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(packed) // _ID_SIZE_BYTES}Q", packed)


def is_short(named: int, before: int, drop_max_percent: int) -> bool:
    """Whether so few are a sudden drop. One instrument less never is, or a small feed could lose
    none; no instrument at all is."""
    return not named or before - named > max(1, before * drop_max_percent // PERCENT)


def flaw(body: SnapshotBody, before: Members) -> str:
    """Which rule a snapshot breaks after those before it; empty when it breaks none."""
    if len(body.appeared) % _ID_SIZE_BYTES or len(body.gone) % _ID_SIZE_BYTES:
        return "its ids are cut short"
    appeared, gone = unpack_ids(body.appeared), unpack_ids(body.gone)
    if not (_rising(appeared) and _rising(gone)):
        return "its ids are not in order, each once"
    if body.modified <= before.modified:
        return "it is not later than the snapshot before it"
    if body.number != before.number + (not body.flaw):
        return f"it cannot be snapshot {body.number} after {before.number}"
    if body.flaw and gone:
        return "it is not complete, so nobody is gone"
    if any(map(before.names, appeared)):
        return "somebody appeared who was there"
    if not all(map(before.names, gone)):
        return "somebody is gone who was not there"
    if not body.flaw and body.named != len(before.named()) + len(appeared) - len(gone):
        return "its count is not that of whom it names"
    return ""


def _rising(ids: Iterable[int]) -> bool:
    last = 0
    for id in ids:
        if id <= last:
            return False
        last = id
    return True
