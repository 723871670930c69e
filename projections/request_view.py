"""The view of requests: what makes a retry find what it did before."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from blake3 import blake3

from alphapulse.log import (
    Block,
    Event,
    Kind,
)

from .layout import TableSchema
from .records import pack_request
from .table import TableWriter
from .view import EventView, Fetch, row_digest_of

_REQUEST_FIELD: Final = b"request_id"
"""The name of the metadata's field, as MessagePack has it."""


class RequestView(EventView):
    """Request ids and the first event each led to, so that a retry finds what it did before."""

    schema = TableSchema("requests", 1, ())
    kinds: frozenset[int] = frozenset(int(kind) for kind in Kind)
    sees_all = True

    def concerns(self, block: Block, kinds: Set[int]) -> bool:
        return _REQUEST_FIELD in block.data  # few blocks have any; it may stand in a name, too

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        request_id = event.metadata.request_id if event.metadata_size else ""
        if not request_id:
            return
        key, digest = request_key(request_id)
        if table.find(key) < 0:
            table.put(
                key, pack_request(event.offset, digest), last_offset=event.offset,
                data_offset=event.offset, row_digest=row_digest_of(digest),
            )  # fmt: skip


def request_key(request_id: str) -> tuple[int, bytes]:
    """The primary key, and the digest that the record holds against it."""
    digest = blake3(request_id.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") or 1, digest
