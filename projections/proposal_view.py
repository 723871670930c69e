"""The view of proposals: what a person is asked for, by whom, and how far it is."""

from __future__ import annotations

from alphapulse.log import PROPOSAL_KINDS, Event, ProposalBody, Space

from .entity_view import NOTES
from .keys import text_key
from .layout import TableSchema
from .records import pack_proposal
from .table import TableWriter
from .view import EventView, Fetch, row_digest_of


class ProposalView(EventView):
    """Proposals by id, by the instrument to delist, and by the source that says so.

    A row counts what is proposed and how it was answered: of several sources that saw one unknown
    instrument, the first one stands in the proposal, and that is left out.
    """

    schema = TableSchema("proposals", 1, ("instrument", "source"))
    links_per_event = (2, 1)
    kinds: frozenset[int] = PROPOSAL_KINDS | NOTES

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        if event.space != Space.PROPOSAL:
            return
        body, position = event.body, table.find(event.entity)
        is_old = position >= 0 and table.last_offset(position) >= event.offset
        if isinstance(body, ProposalBody):
            if is_old:
                cell = table.cell(event.entity)
            else:
                row = body.fingerprint + bytes((body.answered,))
                cell = table.put(
                    event.entity, pack_proposal(event.entity, body), last_offset=event.offset,
                    data_offset=event.offset, row_digest=row_digest_of(row),
                )  # fmt: skip
            if body.instrument:
                table.link(0, body.instrument, cell)
            table.link(1, text_key(body.source), cell)
        elif position >= 0 and not is_old:  # the chain goes on
            held = table.trailer(position)
            table.put(
                event.entity, table.payload(position), last_offset=event.offset,
                data_offset=held.data_offset, row_digest=held.row_digest,
            )  # fmt: skip
