"""A stretch of the log into tables, block by block: the steps that every process that folds takes.

A block's hash is checked before anything of it is folded, and there must be room for all that its
events could need, so that a fold once begun ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from typing import Final

from alphapulse.log import AlphaPulseError, Block, Corrupt, EventLog, marking

from .table import TableWriter
from .view import Fetch, View
from .views import VIEWS

ROOM_EVENTS: Final = 1_000


def checked_blocks(log: EventLog, start: int, stop: int) -> Iterator[tuple[Block, Counter[int]]]:
    """Blocks from the one that holds `start`, the last cut at `stop`, each with how many events it
    has of each kind. Raises ChainBroken, Corrupt, and then the log is marked as broken."""
    with marking(log.home):
        chain = log.chain_at(log.block(start).first) if start < stop else b""
        for block in log.blocks(start, stop):
            block.check_chain(chain)
            if block.stop > stop:  # as of an offset inside it
                block = Block(block.prefix(stop, chain))
            chain = block.chain
            yield block, Counter(block.kinds.tolist())


def count_for(view: View, block: Block, kinds: Mapping[int, int]) -> int:
    """How many events of a block the view folds at most."""
    if view.sees_all:
        return block.count
    folded = view.kinds
    return sum([count for kind, count in kinds.items() if kind in folded])


@lru_cache(maxsize=1024)
def views_of(kinds: frozenset[int]) -> tuple[View, ...]:
    """Those that fold events of these kinds, or look at all."""
    return tuple(view for view in VIEWS if view.sees_all or not view.kinds.isdisjoint(kinds))


def has_room(view: View, writer: TableWriter, count: int) -> bool:
    """Whether so many events fit for certain; `writer.refresh()` comes before.

    Room for many is looked for at once, and counted down as it is promised.
    """
    if writer.events_left < count:
        many = max(count, ROOM_EVENTS)
        writer.events_left = (
            many if _fit(view, writer, many) else count if _fit(view, writer, count) else 0
        )
    if writer.events_left < count:
        return False
    writer.events_left -= count
    return True


def _fit(view: View, writer: TableWriter, count: int) -> bool:
    most, each = view.links_per_event
    pending = count if view.dated else 0
    return writer.room_for(count, most * count, links_each_index=each * count, pending=pending)


def fold_block(
    view: View, writer: TableWriter, block: Block, start: int, kinds: Set[int], fetch: Fetch
) -> None:
    """Folds the events of a block from offset `start` on. Raises Corrupt, ViewFull."""
    if not view.concerns(block, kinds):
        writer.skip_to(block.stop)
        return
    writer.begin(block.stop)
    try:
        view.fold_block(block, start, writer, fetch)
    except AlphaPulseError:
        raise
    except Exception as error:  # bytes whose chain holds and which still make no sense
        raise Corrupt(
            f"folding events into view {view.schema.name}",
            problem=f"one cannot be understood: {type(error).__name__}: {error}",
            first_offset=block.first, events=block.count,
        ) from error  # fmt: skip
    writer.finish(block.stop)
