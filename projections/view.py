"""What a view is: a schema and a fold, and the base of those that fold event by event.

The fold of an event is *idempotent*: it may run again after a crash, so it puts a record only when
the stored one is older than the event, and linking the same cell twice does nothing. It is
*deterministic*: it reads nothing but the event, the table and, by offset, earlier events.

A view counts in its digest only what another home that learnt the same facts in another order
would count too; see `rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Protocol

from blake3 import blake3

from alphapulse.log import (
    AlphaPulseError,
    Block,
    Corrupt,
    Event,
    NotDecodable,
    OffsetOutOfRange,
)

from .layout import TableSchema
from .table import TableWriter

Fetch = Callable[[int], Event]
"""Reads an earlier event by offset."""


class View(Protocol):
    """One projection. kinds: what it folds; sees_all: it looks at the metadata of every event."""

    @property
    def schema(self) -> TableSchema: ...
    @property
    def kinds(self) -> frozenset[int]: ...
    @property
    def sees_all(self) -> bool: ...
    @property
    def links_per_event(self) -> tuple[int, int]:
        """How many links one event makes at most: in all, and in one index."""
    @property
    def dated(self) -> bool:
        """Whether words of its events may come true later than they are recorded."""

    def concerns(self, block: Block, kinds: Set[int]) -> bool:
        """False when folding the block, whose events are of these kinds, would change nothing."""

    def fold_block(self, block: Block, start: int, table: TableWriter, fetch: Fetch) -> None:
        """Folds the events of a block from offset `start` on."""


def row_digest_of(row: bytes) -> int:
    return int.from_bytes(blake3(row).digest(), "little")


class EventView:
    """A view that folds event by event. `fold_block` gives it the events of its kinds."""

    schema: TableSchema
    kinds: frozenset[int]
    sees_all = False
    links_per_event = (0, 0)
    dated = False

    def fold(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        raise TypeError("each view has its own fold")

    def fold_named(self, event: Event, table: TableWriter, fetch: Fetch) -> None:
        """`fold`; what it makes no sense of leaves it as Corrupt, naming that event."""
        try:
            self.fold(event, table, fetch)
        except (OffsetOutOfRange, NotDecodable) as error:
            named = error.facts.get("offset")
            what = f"{error.why} (it names offset {named})" if named is not None else error.why
            raise self._no_sense(event, what) from error
        except AlphaPulseError:
            raise
        except Exception as error:  # bytes whose chain holds and which still make no sense
            raise self._no_sense(event, f"{type(error).__name__}: {error}") from error

    def _no_sense(self, event: Event, what: str) -> Corrupt:
        return Corrupt(
            f"folding events into view {self.schema.name}", offset=event.offset,
            problem=f"one cannot be understood: {what}",
        )  # fmt: skip

    def concerns(self, block: Block, kinds: Set[int]) -> bool:
        return not self.kinds.isdisjoint(kinds)

    def fold_block(self, block: Block, start: int, table: TableWriter, fetch: Fetch) -> None:
        kinds, first = self.kinds, start - block.first
        for index, kind in enumerate(block.kinds.tolist()):
            if kind in kinds and index >= first:
                self.fold_named(block.event(index, verify=False), table, fetch)
