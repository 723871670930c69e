"""The engine of the simulation is an engine: it passes the suite, and its disk fails as it says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from alphapulse.log import Block, BlockStore, LogFull
from tests.log.logs import GENESIS
from tests.log.store_contract import StoreContract, block_after, grow

from .memory_store import Disk, MemoryStore, PowerLost


def new_disk(seed: int = 0) -> Disk:
    return Disk(GENESIS, random.Random(seed))


class TestContract(StoreContract):
    def setup_method(self) -> None:
        self.disks: dict[Path, Disk] = {}

    def make(self, place: Path) -> BlockStore:
        self.disks[place] = new_disk()
        return self.reopen(place)

    def reopen(self, place: Path) -> BlockStore:
        return MemoryStore(self.disks[place])


def test_a_power_loss_takes_nothing_that_was_synced() -> None:
    disk = new_disk()
    data = [block.data for block in grow(MemoryStore(disk), [1, 2, 3])]
    assert disk.crash() == 0
    assert MemoryStore(disk).blocks(0, 10) == data


def test_a_power_loss_takes_any_suffix_of_what_was_not_synced() -> None:
    left = set()
    for seed in range(40):
        disk = new_disk(seed)
        data = [block.data for block in grow(MemoryStore(disk), [1, 1])]
        relaxed = MemoryStore(disk, sync=False)
        assert not relaxed.durable
        data += [block.data for block in grow(relaxed, [1, 1, 1])]
        dropped = disk.crash()
        again = MemoryStore(disk).blocks(0, 10)
        assert again == data[: 5 - dropped] and len(again) >= 2
        left.add(len(again))
    assert left == {2, 3, 4, 5}


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_power_lost_within_a_commit_of_two_blocks_keeps_both_or_none(moment: int) -> None:
    left = set()
    for seed in range(20):
        disk = new_disk(seed)
        store = MemoryStore(disk)
        first = block_after(store, 2)
        other = new_disk()
        grow(MemoryStore(other), [2])
        second = block_after(MemoryStore(other), 1)
        disk.power_lost_at = moment
        with pytest.raises(PowerLost):
            store.append_all([first.data, second.data], 0)
        disk.crash()
        again = MemoryStore(disk)
        left.add(again.head().offset)
        assert [Block(data).count for data in again.blocks(0, 9)] in ([], [2, 1])
        grow(again, [1])
    # Not yet there; in the cache, so perhaps; on the platter, only unacknowledged.
    assert left == [{0}, {0, 3}, {3}][moment - 1]


def test_a_full_disk_refuses_and_a_larger_one_goes_on() -> None:
    disk = new_disk()
    store = MemoryStore(disk)
    data = [block.data for block in grow(store, [2])]
    block = block_after(store, 1)
    disk.full()
    with pytest.raises(LogFull):
        store.append(block.data, 2)
    assert store.blocks(0, 9) == data and store.frame_at(1) is not None
    disk.resize(disk.used_bytes + len(block.data))
    store.append(block.data, 2)
    assert store.head().offset == 3


def test_what_is_being_committed_is_not_seen_before_it_is_synced() -> None:
    disk = new_disk()
    store, reader = MemoryStore(disk), MemoryStore(disk)
    seen: list[tuple[int, int]] = []
    disk.delay = lambda: seen.append((reader.head().offset, disk.synced))
    grow(store, [2])
    assert seen == [(0, 0), (0, 0), (2, 1)]
