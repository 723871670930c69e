"""Relations that wait for an end: they are kept, and known as soon as that is registered.

Files point at each other, and none can come first. So a relation whose other end nobody registered
yet is written all the same, between fingerprints and with the key of the missing end, and takes no
part in any answer. The unit that registers that end completes it: `relation.amended` with the id.
Nothing is asked again and nobody has to come back, whatever is killed between the two; and
whichever end came first, the row of the relation is the same.

What a relation says is checked when it is complete. One that would lead back to where it starts
goes on waiting, and whoever says it again is told why.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from alphapulse.log import BLOCK_EVENTS_MAX, Kind, RelationBody, Space

from .errors import IllegalEvent
from .held import Held, Origin
from .state import State

MET_MAX: Final = BLOCK_EVENTS_MAX * 9 // 10
"""In one unit, which is one block at most. The rest is met when the instrument is said again."""
PERIODS_PER_EVENT: Final = 20
"""So many take no more room than an event without any."""


def met(state: State, instrument: int, fingerprint: bytes, origin: Origin) -> int:
    """Completes the relations that wait for an instrument; how many. Cost: 1 µs when none does."""
    count, room = 0, MET_MAX
    for held in state.waiting_for(fingerprint):
        assert isinstance(held.body, RelationBody)
        room -= 1 + len(held.body.earlier) // PERIODS_PER_EVENT
        if room < 0:
            break
        try:
            complete(state, held, instrument, origin)
        except IllegalEvent:  # it would lead back to where it starts
            continue
        count += 1
    return count


def complete(state: State, held: Held, missing: int, origin: Origin) -> None:
    """Gives the relation the id of the end that it waited for. Raises IllegalEvent.

    The event has the source and the content hash of the one that it completes: those words are
    not of whoever registered the end. The request is that of the unit.
    """
    body = held.body
    assert isinstance(body, RelationBody)
    ids = {"other" if body.instrument else "instrument": missing}
    said_by = state.origin_at(held.data_offset)
    state.emit(
        Kind.RELATION_AMENDED, Space.RELATION, held.id,
        replace(body, missing_key=b"", revision=body.revision + 1, **ids),
        metadata=origin._replace(
            source=said_by.source, content_hash=said_by.content_hash
        ).metadata(),
        valid_from=body.valid_from,
    )  # fmt: skip
