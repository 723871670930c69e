"""What is held: bodies with full state, entities that have them, and where commands come from."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from alphapulse.log import (
    ASPECTS,
    AnyBody,
    AspectBody,
    CandidateBody,
    FeedBody,
    InstrumentBody,
    ListingBody,
    Metadata,
    ProposalBody,
    RelationBody,
    RulesBody,
    SnapshotBody,
    VenueBody,
    encode_metadata,
)

from .check import Entity

FactBody = InstrumentBody | ListingBody | RelationBody
"""What is known of an instrument stands in these."""
DataBody = (
    FactBody | FeedBody | CandidateBody | ProposalBody | SnapshotBody | RulesBody | VenueBody
    | AspectBody
)
"""The full state of an entity."""
DATA_BODIES: Final = (
    InstrumentBody, ListingBody, RelationBody, FeedBody, CandidateBody, ProposalBody,
    SnapshotBody, RulesBody, VenueBody, *ASPECTS,
)  # fmt: skip
"""The same as a tuple: a union would be built anew at each `isinstance`."""


class Origin(NamedTuple):
    """Where commands come from; kept in each event they lead to."""

    source: str = ""
    content_hash: bytes = b""
    request_id: str = ""
    command: bytes = b""
    """With a request id, of the command that is being decided."""

    def metadata(self) -> bytes:
        return _metadata_of(self)


@lru_cache(maxsize=256)
def _metadata_of(origin: Origin) -> bytes:
    """Most commands of a batch have one origin."""
    return encode_metadata(
        Metadata(
            source=origin.source, content_hash=origin.content_hash,
            request_id=origin.request_id, command=origin.command,
        )
    )


class Held(NamedTuple):
    """An entity with its newest full state."""

    id: int
    entity: Entity
    body: DataBody
    data_offset: int
    """Offset of the event that holds the body."""


class Past(NamedTuple):
    """An event of the log, or one that was decided in this group."""

    offset: int
    kind: int
    space: int
    entity: int
    body: AnyBody
    command: bytes
    """Of its metadata."""
    recorded: int
    """ns; of one of this group the time of the group, before which it is not recorded."""
