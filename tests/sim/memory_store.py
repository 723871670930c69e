"""An engine in memory on a disk that can lose power, fill up and be slow.

A disk holds blocks in order. Those up to `synced` stay whatever happens; the ones after it are in
the drive's cache, and a power loss keeps a random prefix of them. Readers see what LMDB's readers
see: a block whose commit has returned, never one that is still on its way to the platter. Every
random choice comes from the generator that is given, so a seed replays a disk's whole life.
"""

from __future__ import annotations

import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence

from alphapulse.log import Block, Closed, Genesis, Head, HeadMoved, LogFull, chain_hash
from alphapulse.log.block import block_overhead_bytes, frame_in
from alphapulse.log.store import StoreStatistics

CAPACITY_BYTES = 1 << 40


class PowerLost(BaseException):
    """The machine is gone: nothing may catch this and go on."""


class Disk:
    """What the stores of all processes share.

    delay: called while a commit is under way, before it is visible: time may pass there, and
    others may read. power_lost_at: calls of `delay` until the power goes, in the middle of a
    commit; 0 for never.
    """

    def __init__(self, genesis: Genesis, rng: random.Random) -> None:
        self.genesis = genesis
        self.blocks: list[bytes] = []
        self.firsts: list[int] = []
        """The first offset of each block."""
        self.heads: list[Head] = []
        """Of the log that ends with each block."""
        self.commits: list[int] = [0]
        """Counts of blocks after each commit: a transaction is kept whole or lost whole."""
        self.visible = 0
        """Count of blocks that readers see."""
        self.synced = 0
        """Count of blocks that a power loss leaves."""
        self.capacity_bytes = CAPACITY_BYTES
        self.delay: Callable[[], None] = lambda: None
        self.power_lost_at = 0
        self.lock = threading.RLock()
        self._rng = rng

    @property
    def used_bytes(self) -> int:
        return sum(map(len, self.blocks))

    def full(self) -> None:
        """Not one more block fits."""
        self.resize(0)

    def resize(self, capacity_bytes: int = CAPACITY_BYTES) -> None:
        """What is stored stays, also above the capacity."""
        self.capacity_bytes = capacity_bytes

    def crash(self) -> int:
        """Power loss: drops a random suffix of what was not synced; the count of dropped blocks."""
        before = len(self.blocks)
        kept = self._rng.choice([count for count in self.commits if count >= self.synced])
        self.synced = self.visible = kept
        self.drop_invisible()
        self.power_lost_at = 0
        return before - kept

    def drop_invisible(self) -> None:
        """The transaction of a process that died is as if it had never begun."""
        dropped = slice(self.visible, None)
        del self.blocks[dropped], self.firsts[dropped], self.heads[dropped]
        self.commits = [count for count in self.commits if count <= self.visible]

    def store(self, blocks: Sequence[bytes]) -> None:
        """Into the cache of the drive, as one commit."""
        for block in map(Block, blocks):
            self.blocks.append(block.data)
            self.firsts.append(block.first)
            self.heads.append(Head(block.stop, block.chain, block.time))
        self.commits.append(len(self.blocks))

    def pause(self) -> None:
        """A moment within a commit."""
        if self.power_lost_at:
            self.power_lost_at -= 1
            if not self.power_lost_at:
                raise PowerLost
        self.delay()


class MemoryStore:
    """A handle on a disk, one for each process. sync: False acknowledges what is only cached."""

    def __init__(self, disk: Disk, *, sync: bool = True) -> None:
        self.genesis = disk.genesis
        self.durable = sync
        self._disk = disk
        self._closed = False
        self._seed = chain_hash(b"", disk.genesis.encode())

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("using the log")

    def _index(self, offset: int) -> int | None:
        """Of the visible block that holds this offset."""
        self._check_open()
        disk = self._disk
        index = bisect_right(disk.firsts, offset, hi=disk.visible) - 1
        return index if index >= 0 and offset < disk.heads[index].offset else None

    def base(self) -> Head:
        """Nothing is forgotten here."""
        return Head(0, chain_hash(b"", self.genesis.encode()), 0)

    def head(self) -> Head:
        self._check_open()
        with self._disk.lock:
            visible = self._disk.visible
            return self._disk.heads[visible - 1] if visible else Head(0, self._seed, 0)

    def append(self, block: bytes, expected_head: int) -> None:
        self.append_all([block], expected_head)

    def append_all(self, blocks: Sequence[bytes], expected_head: int) -> None:
        """All of them in one commit, or none."""
        disk = self._disk
        with disk.lock:
            head = self.head().offset
            if head != expected_head:
                raise HeadMoved("appending a block", expected=expected_head, head=head)
            if disk.used_bytes + sum(map(len, blocks)) > disk.capacity_bytes:
                raise LogFull("appending a block", capacity_bytes=disk.capacity_bytes)
            try:
                disk.pause()
                disk.store(blocks)
                disk.pause()
            except PowerLost:
                raise  # `crash` decides what is left
            except BaseException:
                disk.drop_invisible()
                raise
            if self.durable:
                self.flush()
            disk.visible = len(disk.blocks)
            disk.pause()

    def flush(self) -> None:
        self._disk.synced = len(self._disk.blocks)

    def block_at(self, offset: int) -> bytes | None:
        with self._disk.lock:
            index = self._index(offset)
            return None if index is None else self._disk.blocks[index]

    def frame_at(self, offset: int) -> bytes | None:
        data = self.block_at(offset)
        return None if data is None else frame_in(data, offset)

    def blocks(self, start: int, events_max: int) -> list[bytes]:
        found: list[bytes] = []
        events = 0
        with self._disk.lock:
            index = self._index(start)
            while index is not None and index < self._disk.visible and events < events_max:
                found.append(self._disk.blocks[index])
                events += self._disk.heads[index].offset - self._disk.firsts[index]
                index += 1
        return found

    def heads(self, start: int, events_max: int) -> list[bytes]:
        return [data[: block_overhead_bytes(Block(data).count)]
                for data in self.blocks(start, events_max)]  # fmt: skip

    def frames(self, first: int, bounds: Sequence[tuple[int, int]]) -> bytes:
        data = self.block_at(first) or b""
        if not data or Block(data).first != first:
            return b""
        return b"".join(data[start:end] for start, end in bounds)

    def chain_before(self, first: int) -> bytes:
        data = self.block_at(first - 1)
        return self._seed if data is None else data[:32]

    def statistics(self) -> StoreStatistics:
        self._check_open()
        disk = self._disk
        return StoreStatistics(disk.visible, disk.used_bytes, disk.capacity_bytes, 0)

    def close(self) -> None:
        self._closed = True
