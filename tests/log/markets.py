"""Fills market logs, quickly."""

from __future__ import annotations

from alphapulse.log import Draft, EventLog, Kind, Metadata, Space, encode_metadata
from alphapulse.log.session import Commit

from .builders import sample_body

BIG = encode_metadata(Metadata(source="s" * 60_000))
"""Of an event that makes its block 15 pages long, which is quicker than many events."""


def add(log: EventLog, count: int = 1, value: int = 0, metadata: bytes = b"") -> Commit:
    drafts = [
        Draft(Kind.SAMPLE_ACK, Space.VENUE, 7, None, sample_body(value=value + number), metadata)
        for number in range(count)
    ]
    with log.writing() as session:
        session.add(session.stage(drafts))
        found = session.commit()
    assert found is not None
    return found


def fill(log: EventLog, blocks: int = 24) -> None:
    """1.4 MiB in blocks of one event, whose values are their offsets."""
    for _ in range(blocks):
        add(log, value=log.head, metadata=BIG)


def values(log: EventLog, start: int = 0) -> list[int]:
    return [event.sample.mantissa for event in log.read(start)]
