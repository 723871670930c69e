"""A small block with everything in it: every kind of event, every codec, entities that recur.

As few bytes as that takes, for tests that go over all its bits: most of its events are of the
kind with the shortest body.
"""

from __future__ import annotations

from alphapulse.log import (
    NO_PREVIOUS,
    Codec,
    Event,
    Kind,
    Metadata,
    encode_block,
    encode_body,
    encode_frame,
    encode_metadata,
)
from tests.log.builders import (
    CHAIN_SEED,
    TIME,
    body_of,
    columns_of_event,
    instrument_body,
    space_of,
)

EVENTS = 64
KINDS = tuple(Kind)
PACKED_AT = len(KINDS)
"""From here on the packed events: one for each codec, instruments and not."""
ENTITIES = 8
"""How many ids the short events that follow share."""
LONG = "x" * 600
"""Long enough for a codec to be tried on it, and packed small."""


def frame_at(offset: int, *, time: int = TIME) -> bytes:
    """The frame of the event with this offset in a log of such events."""
    kind, body = Kind.ALERT_ACKNOWLEDGED, body_of(Kind.ALERT_ACKNOWLEDGED)
    codec, entity, previous = Codec.NONE, 1_000 + offset, NO_PREVIOUS
    if offset < PACKED_AT:
        kind, body = KINDS[offset], body_of(KINDS[offset], entity)
    elif offset < PACKED_AT + len(Codec):
        codec = Codec(offset - PACKED_AT)
        kind, body = Kind.INSTRUMENT_AMENDED, instrument_body(entity, name=LONG if codec else "")
    else:
        entity = 1 + offset % ENTITIES
        if offset >= PACKED_AT + len(Codec) + ENTITIES:
            previous = offset - ENTITIES
    fixed, rest = encode_body(body)
    source = encode_metadata(Metadata(source="s")) if offset % 10 == 0 else b""
    return encode_frame(
        kind=kind, space=space_of(body), offset=offset, recorded=time, valid_from=0,
        entity=entity, previous=previous, fixed=fixed, rest=rest, codec=codec, metadata=source,
    )  # fmt: skip


def mixed_block(
    count: int = EVENTS, *, first: int = 0, time: int = TIME, chain_before: bytes = CHAIN_SEED
) -> bytes:
    """`count` events from `first` on, as one commit."""
    frames = [frame_at(offset, time=time) for offset in range(first, first + count)]
    columns = [columns_of_event(Event(frame)) for frame in frames]
    return encode_block(first, time, chain_before, frames, columns)
