"""The views of feeds and of the files that they sent."""

from __future__ import annotations

from alphapulse.log import (
    Event,
    FeedBody,
    Kind,
    RulesBody,
    SnapshotBody,
    Space,
)

from .entity_view import NOTES
from .layout import TableSchema
from .records import ImportRecord, pack_feed, pack_import
from .table import TableWriter
from .table_reader import TableReader
from .view import EventView, Fetch, row_digest_of


class FeedView(EventView):
    """Feeds, the snapshots of each source, and the rules for sources, by id. Which files there
    were, and what was in them, is for the log to say."""

    schema = TableSchema("feeds", 2, ())
    kinds = frozenset(
        {int(Kind.FEED_IMPORTED), int(Kind.FEED_SNAPSHOT), int(Kind.FEED_RULES)}
    ) | NOTES  # fmt: skip

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        position = table.find(event.entity) if event.space == Space.FEED else -1
        body = event.body
        if position >= 0 and table.last_offset(position) >= event.offset:
            return
        if isinstance(body, FeedBody | SnapshotBody | RulesBody):
            table.put(
                event.entity, pack_feed(event.entity, body), last_offset=event.offset,
                data_offset=event.offset, row_digest=row_digest_of(body.fingerprint),
            )  # fmt: skip
        elif position >= 0:  # the chain goes on
            held = table.trailer(position)
            table.put(
                event.entity, table.payload(position), last_offset=event.offset,
                data_offset=held.data_offset, row_digest=held.row_digest,
            )  # fmt: skip


class ImportView(EventView):
    """The content of files that were imported, so that none is imported again."""

    schema = TableSchema("imports", 1, ())
    kinds = frozenset({int(Kind.FEED_IMPORTED)})

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        body = event.body
        assert isinstance(body, FeedBody)
        for key in import_keys(body.content_hash):
            position = table.find(key)
            if position < 0:
                table.put(
                    key, pack_import(event.offset, body.content_hash), last_offset=event.offset,
                    data_offset=event.offset, row_digest=row_digest_of(body.content_hash),
                )  # fmt: skip
                return
            if ImportRecord(table.arena, position).content_hash == body.content_hash:
                return


def import_keys(content_hash: bytes) -> list[int]:
    """The primary keys under one of which this content is found, first come first served: whoever
    makes two files whose hashes begin alike gains nothing."""
    return [int.from_bytes(content_hash[at : at + 8], "little") or 1 for at in range(0, 32, 8)]


def find_import(table: TableReader, content_hash: bytes) -> int | None:
    """Offset of the event that says this content was imported. Cost: 2 µs."""
    for key in import_keys(content_hash):
        position = table.find(key)
        if position < 0:
            return None
        record = ImportRecord(table.arena, position)
        if record.content_hash == content_hash:
            return record.offset
    return None
