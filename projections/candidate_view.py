"""The view of candidates: instruments that look alike, two by two."""

from __future__ import annotations

from collections.abc import Sequence

from alphapulse.log import CANDIDATE_STATES, AnyBody, CandidateBody, Event, Kind, Space

from .entity_view import NOTES, EntityView, First
from .layout import TableSchema
from .records import pack_candidate
from .table import TableWriter


class CandidateView(EntityView):
    """Candidates by id and by either of their instruments."""

    schema = TableSchema("candidates", 1, ("instrument",))
    space = Space.CANDIDATE
    first_kind = Kind.CANDIDATE_PROPOSED
    links_per_event = (2, 2)
    data_kinds: frozenset[int] = frozenset(CANDIDATE_STATES)
    kinds: frozenset[int] = data_kinds | NOTES

    def payload(self, event: Event, body: AnyBody) -> bytes:
        assert isinstance(body, CandidateBody)
        return pack_candidate(event.entity, body)

    def link(self, body: AnyBody, table: TableWriter, cell: int) -> None:
        assert isinstance(body, CandidateBody)
        table.link(0, body.instrument, cell)
        table.link(0, body.other, cell)

    def put_new(self, table: TableWriter, new: Sequence[First]) -> int:
        """They are few: all go the long way."""
        return 0
