"""What an engine must offer so that an `EventLog` can stand on it.

A store keeps blocks in order of their first offset and knows one rule: *append this block if the
head is still h*. It knows nothing of events. Blocks that it gives out are copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .home import Genesis


class Head(NamedTuple):
    """Where the log ends: the next offset, the last block's chain and recorded time."""

    offset: int
    chain: bytes
    time: int


class StoreStatistics(NamedTuple):
    blocks: int
    size_bytes: int
    """Bytes of the store's files on disk."""
    map_size_bytes: int
    readers: int


class BlockStore(Protocol):
    """One engine. Methods may be called from any thread; appending only by the write session."""

    @property
    def genesis(self) -> Genesis: ...

    @property
    def durable(self) -> bool:
        """True when `append` returns only after the block is on stable storage."""

    def head(self) -> Head: ...

    def base(self) -> Head:
        """Where the blocks begin: the first offset, the chain and time of what was before it.

        Offset 0, the seed and time 0, but in a store that forgets.
        """

    def append(self, block: bytes, expected_head: int) -> None:
        """Raises HeadMoved when the head is another, LogFull when space is short."""

    def append_all(self, blocks: Sequence[bytes], expected_head: int) -> None:
        """Blocks that follow each other, all of them or none, in one commit. Raises as `append`."""

    def block_at(self, offset: int) -> bytes | None:
        """The block that holds this offset, None at or past the head."""

    def frame_at(self, offset: int) -> bytes | None:
        """One frame, without copying its block; None at or past the head."""

    def blocks(self, start: int, events_max: int) -> list[bytes]:
        """Blocks from the one that holds `start` on, until `events_max` events are reached.

        Where damage took that one, from the next that is there: what is left can be looked at.
        """

    def heads(self, start: int, events_max: int) -> list[bytes]:
        """As `blocks`; of long ones only what stands before the frames."""

    def frames(self, first: int, bounds: Sequence[tuple[int, int]]) -> bytes:
        """These parts, starts and ends, of the block that begins at `first`, joined. Less of them
        when it is not so long, nothing when it is gone."""

    def chain_before(self, first: int) -> bytes:
        """The chain that the block which begins at `first` follows, as it stands in the store."""

    def statistics(self) -> StoreStatistics: ...

    def close(self) -> None: ...
