"""A new home with exactly a prefix of another one's log: same genesis, same bytes, same chain.

It is how the good part of a damaged home is kept, and how a question about the past becomes a
registry of its own. Whole blocks are copied as they are; the last one is cut at `stop`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from alphapulse.log import EventLog, OffsetOutOfRange
from alphapulse.projections import Views


class ReplayReport(NamedTuple):
    """events: how many the new home has. chain_head: equals the source's chain there."""

    events: int
    chain_head: bytes


def replay_into(
    source: str | os.PathLike[str], target: str | os.PathLike[str], stop: int, *,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:  # fmt: skip
    """Makes the home `target` with the events of `source` before offset `stop`, and its views.

    Raises HomeExists, OffsetOutOfRange when the source is shorter, and Corrupt or ChainBroken,
    naming the offset, when something before `stop` is not what was written.
    """
    with EventLog.open(source, mode="r") as log:
        head = log.head
        if not 0 <= stop <= head:
            raise OffsetOutOfRange(
                f"replaying {log.home.path}", stop=stop, head=head,
                cure="--to takes an offset of an event that is there",
            )  # fmt: skip
        EventLog.create(target, genesis=log.genesis)
        with EventLog.open(target) as copy:
            chain = _copy(log, copy, stop, progress)
            Views(copy).close()
    return ReplayReport(stop, chain)


def _copy(
    log: EventLog, copy: EventLog, stop: int, progress: Callable[[int, int], None] | None
) -> bytes:
    chain = log.chain_at(0)
    with copy.writing() as session:
        for block in log.blocks(0, stop):
            if block.stop <= stop:
                block.check_chain(chain)
                data = block.data
            else:
                for event in block.events(stop=stop - block.first):
                    event.body  # noqa: B018  # decoding is the check: the block's hash covers more
                data = block.prefix(stop, chain)
            chain = session.append_block(data).chain
            if progress is not None:
                progress(min(block.stop, stop), stop)
    return chain
