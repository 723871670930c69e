"""Copying a log's prefix, whole blocks as they are: what backup, restore, fork and import share.

Blocks below the head never change, so whoever copies up to a head that it once saw copies a
consistent prefix while others write, in short reads. Each block is held to the chain before it,
from the genesis record on; the last one may be cut. So what arrives is the source's log or an
error that names the offset, and nothing appears in between: see `making`. Many blocks share a
commit, which makes the copy as fast as its disk also when every block is one event.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from .block import CHAIN_SIZE_BYTES, Block
from .errors import ChainBroken, OffsetOutOfRange
from .home import Genesis, Home
from .making import new_log, require_outside
from .store import BlockStore, Head
from .subscription import offset_given
from .times import parse_time

if TYPE_CHECKING:
    from .eventlog import EventLog

BATCH_BLOCKS_MAX: Final = 1_000
BATCH_SIZE_BYTES_MAX: Final = 16 << 20

Progress = Callable[[int, int], None]
"""Called with the events done so far, and of how many."""


class BlockSource(Protocol):
    """Whoever gives out a log's blocks: an `EventLog`, an `Archive`."""

    @property
    def name(self) -> str:
        """For errors."""

    @property
    def genesis(self) -> Genesis: ...

    @property
    def head(self) -> int: ...

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """Blocks that hold offsets start to stop; the first and last may reach beyond them."""


Accept = Callable[[BlockSource], None]
"""Looks at a whole copy before it becomes a home; when it raises, there is none."""


class _Arrived:
    """What a store holds, as a source to read from."""

    def __init__(self, store: BlockStore, name: str) -> None:
        self._store = store
        self.name = name

    @property
    def genesis(self) -> Genesis:
        return self._store.genesis

    @property
    def head(self) -> int:
        return self._store.head().offset

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        stop = self.head if stop is None else stop
        while start < stop:
            for data in self._store.blocks(start, BATCH_BLOCKS_MAX):
                block = Block(data)
                start = block.stop
                if block.first < stop:
                    yield block


class Copied(NamedTuple):
    """events: how many the copy has. chain_head: equals the source's chain there."""

    events: int
    chain_head: bytes
    size_bytes: int


def copy_prefix(
    source: BlockSource, target: str | os.PathLike[str], stop: int, *,
    progress: Progress | None = None, accept: Accept | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` with a log of the events before offset `stop`, and nothing else.

    Raises HomeExists, InvalidInput within another home, OffsetOutOfRange when the source is
    shorter, LogFull, Corrupt or ChainBroken, naming the offset, when something before `stop` is
    not what was written, and what `accept` does.
    """
    check_stop(source, stop)
    require_outside(target, f"copying {source.name} into {os.path.abspath(target)}")
    with new_log(Home(target), source.genesis) as store:
        head = copy_blocks(source, store, stop, progress=progress)
        check_accepted(store, source.name, accept)
        size_bytes = store.statistics().size_bytes
    return Copied(head.offset, head.chain, size_bytes)


def check_accepted(store: BlockStore, name: str, accept: Accept | None) -> None:
    """Raises what `accept` does. name: of where the blocks came from."""
    if accept is not None:
        accept(_Arrived(store, name))


def check_stop(source: BlockSource, stop: int) -> None:
    """Raises OffsetOutOfRange unless the source has all events before `stop`."""
    head = source.head
    if not 0 <= stop <= head:
        raise OffsetOutOfRange(
            f"copying {source.name}", problem="it has no such event", offset=stop - 1, head=head,
            cure="name the offset of an event that is there: 0 to head-1",
        )  # fmt: skip


def check_unbroken(log: EventLog, doing: str) -> None:
    """Raises ChainBroken: a copy would hide that the log was cut or rewritten."""
    if log.broken:
        raise ChainBroken(doing, problem=f"{log.broken}; a copy would hide that")


def stop_offset(log: EventLog, to: int | str, doing: str) -> int:
    """The head that `to` means, inclusive: after that event, or after all recorded by that time.

    It may lie past the log's. Raises InvalidInput.
    """
    offset = offset_given(doing, to)
    return log.offset_at(parse_time(str(to)) + 1) if offset is None else offset + 1


def copy_blocks(
    source: BlockSource, store: BlockStore, stop: int, *, progress: Progress | None = None
) -> Head:
    """Appends to `store`, which has a prefix of the source, what is missing up to `stop`.

    The new head. Who calls it holds the write session, or a store that nobody else has.
    """
    head = store.head()
    for batch in _batches(checked_blocks(source, head, stop)):
        store.append_all(batch, head.offset)
        head = store.head()
        if progress is not None:
            progress(head.offset, stop)
    return head


def checked_blocks(source: BlockSource, start: Head, stop: int) -> Iterator[bytes]:
    """The blocks from the head `start` of a prefix up to `stop`, each following the one before."""
    chain = start.chain
    for block in source.blocks(start.offset, stop):
        if block.stop <= stop:
            block.check_chain(chain)
            data = block.data
        else:
            for event in block.events(stop=stop - block.first):
                event.body  # noqa: B018  # decoding is the check: the block's hash covers more
            data = block.prefix(stop, chain)
        chain = data[:CHAIN_SIZE_BYTES]
        yield data


def _batches(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size_bytes = 0
    for data in blocks:
        if batch and (
            len(batch) == BATCH_BLOCKS_MAX or size_bytes + len(data) > BATCH_SIZE_BYTES_MAX
        ):
            yield batch
            batch, size_bytes = [], 0
        batch.append(data)
        size_bytes += len(data)
    if batch:
        yield batch
