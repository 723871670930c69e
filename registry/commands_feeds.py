"""The command of discovery: all of a file was imported."""

from __future__ import annotations

from typing import NamedTuple

from alphapulse.log import FeedBody, Kind, Space

from .deciding import Receipt, allocate, announce_collision
from .identity import feed_key, fingerprint_of
from .state import Origin, State


class RecordImport(NamedTuple):
    """Says that all of a file was imported, and what became of its rows.

    The same content again adds nothing, whatever the file is called and whoever sent it: the
    receipt is then that of the event that said so. Given after the rows, so a crash in between
    leaves rows without it; they are imported again, which adds nothing.
    """

    source: str
    file: str
    content_hash: bytes
    format: str
    rows: int
    new: int
    unchanged: int
    amended: int
    quarantined: int
    collisions: int
    conflicts: int

    def decide(self, state: State, origin: Origin) -> Receipt:
        before = state.imported(self.content_hash)
        if before is not None:
            _, _, space, id = state.event_at(before)
            return Receipt(id, state.fingerprint(space, id), before, "unchanged")
        key, metadata, holder = feed_key(self.source), origin.metadata(), None
        fingerprint = fingerprint_of(key)
        held = state.find(Space.FEED, fingerprint)
        if held is None:
            counter, id, holder = allocate(state, Space.FEED, fingerprint)
            revision = 1
        else:
            counter, id, revision = held.entity.counter, held.id, held.entity.revision + 1
        body = FeedBody(
            fingerprint=fingerprint, counter=counter, revision=revision, **self._asdict()
        )
        offset = state.emit(Kind.FEED_IMPORTED, Space.FEED, id, body, metadata=metadata)
        announce_collision(state, Space.FEED, 0, id, key, counter, holder, metadata)
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")
