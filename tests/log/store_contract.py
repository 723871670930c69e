"""What any engine must do. A suite for one engine inherits `StoreContract` and gives `make`."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.log.block import Block, chain_hash, encode_block
from alphapulse.log.errors import Closed, HeadMoved
from alphapulse.log.kinds import Kind
from alphapulse.log.store import BlockStore, Head

from .builders import TIME, columns_of_event, make_event
from .logs import GENESIS


def block_after(store: BlockStore, count: int, *, time: int = TIME) -> Block:
    """A good next block of `count` events."""
    head = store.head()
    events = [
        make_event(Kind.ALERT_ACKNOWLEDGED, offset=head.offset + i, entity=head.offset + i + 1)
        for i in range(count)
    ]
    frames, columns = [e.frame for e in events], [columns_of_event(e) for e in events]
    return Block(encode_block(head.offset, time, head.chain, frames, columns))


def grow(store: BlockStore, sizes: list[int]) -> list[Block]:
    blocks = []
    for size in sizes:
        blocks.append(block := block_after(store, size))
        store.append(block.data, block.first)
    return blocks


class StoreContract(ABC):
    @abstractmethod
    def make(self, place: Path) -> BlockStore:
        """A new empty store with the genesis record `GENESIS`; called once for each place."""

    @abstractmethod
    def reopen(self, place: Path) -> BlockStore:
        """The store at this place again, as a new process would open it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> BlockStore:
        return self.make(tmp_path / "store")

    def test_an_empty_store_ends_at_0_with_the_chain_of_its_genesis(
        self, store: BlockStore
    ) -> None:
        assert store.genesis == GENESIS
        assert store.head() == Head(0, chain_hash(b"", GENESIS.encode()), 0)
        assert store.block_at(0) is None and store.frame_at(0) is None
        assert store.blocks(0, 10) == []
        assert store.statistics().blocks == 0

    def test_a_block_is_read_back_by_every_offset_in_it(self, store: BlockStore) -> None:
        blocks = grow(store, [1, 3, 2])
        for block in blocks:
            for offset in range(block.first, block.stop):
                assert store.block_at(offset) == block.data
                assert store.frame_at(offset) == block.at(offset).frame
        assert store.head() == Head(6, blocks[-1].chain, TIME)
        assert store.statistics().blocks == 3

    def test_each_block_follows_the_chain_of_the_one_before(self, store: BlockStore) -> None:
        seed = chain_hash(b"", GENESIS.encode())
        assert store.chain_before(0) == seed
        blocks = grow(store, [2, 1, 3])
        chains = [seed, *(block.chain for block in blocks)]
        assert [store.chain_before(block.first) for block in blocks] == chains[:3]
        assert store.chain_before(6) == chains[3]
        for block, chain in zip(blocks, chains, strict=False):
            block.check_chain(chain)

    def test_a_block_comes_in_parts_too(self, store: BlockStore) -> None:
        blocks = grow(store, [2, 300, 1])
        for head, block in zip(store.heads(0, 1_000), blocks, strict=True):
            frames_at = block.frame_bounds(0)[0]
            assert head in (block.data, block.data[:frames_at])
        assert len(store.heads(2, 1)[0]) < len(blocks[1].data) // 2, "a long one is cut"
        assert store.heads(302, 5) == [data[: len(data)] for data in store.heads(0, 999)[2:]]
        for block in blocks:
            last = block.count - 1
            bounds = [block.frame_bounds(last), block.frame_bounds(0)]
            assert store.frames(block.first, bounds) == b"".join(
                block.event(index).frame for index in (last, 0)
            )
            end = len(block.data)
            assert store.frames(block.first, [(end - 8, end + 8)]) == block.data[-8:]
        assert store.frames(1, [(0, 8)]) == b"" == store.frames(303, [(0, 8)])

    def test_past_the_head_and_outside_there_is_nothing(self, store: BlockStore) -> None:
        grow(store, [2, 2])
        for offset in (4, 5, (1 << 64) - 1, 1 << 64, 1 << 80, -1):
            assert store.block_at(offset) is None
            assert store.frame_at(offset) is None
            assert store.blocks(offset, 5) == []

    def test_blocks_come_from_the_one_that_holds_start_until_enough(
        self, store: BlockStore
    ) -> None:
        data = [block.data for block in grow(store, [2, 3, 1, 4])]
        assert store.blocks(0, 1) == data[:1]
        assert store.blocks(0, 2) == data[:1]
        assert store.blocks(0, 3) == data[:2]
        assert store.blocks(4, 1) == data[1:2]
        assert store.blocks(4, 4) == data[1:3]
        assert store.blocks(5, 100) == data[2:]
        assert store.blocks(9, 1) == data[3:]

    def test_an_append_at_another_head_is_refused_and_changes_nothing(
        self, store: BlockStore
    ) -> None:
        grow(store, [2])
        block = block_after(store, 1)
        for expected in (0, 1, 3):
            with pytest.raises(HeadMoved):
                store.append(block.data, expected)
        assert store.head().offset == 2
        store.append(block.data, 2)
        with pytest.raises(HeadMoved):
            store.append(block.data, 2)
        assert store.head() == Head(3, block.chain, TIME) and store.statistics().blocks == 2

    def test_many_blocks_are_appended_at_once_or_not_at_all(
        self, store: BlockStore, tmp_path: Path
    ) -> None:
        other = self.make(tmp_path / "other")
        blocks = [block.data for block in grow(other, [2, 1, 3, 1])]
        other.close()
        store.append_all(blocks[:1], 0)
        for wrong in (0, 1, 3):
            with pytest.raises(HeadMoved):
                store.append_all(blocks[1:], wrong)
        assert store.blocks(0, 100) == blocks[:1]
        store.append_all(blocks[1:], 2)
        assert store.blocks(0, 100) == blocks and store.statistics().blocks == 4
        assert [store.block_at(offset) for offset in (0, 2, 5, 6)] == blocks
        assert store.head() == Head(7, Block(blocks[-1]).chain, TIME)

    def test_what_was_appended_is_there_after_opening_again(self, tmp_path: Path) -> None:
        store = self.make(tmp_path / "store")
        data = [block.data for block in grow(store, [3, 1])]
        head = store.head()
        store.close()
        again = self.reopen(tmp_path / "store")
        assert again.head() == head and again.blocks(0, 100) == data
        assert again.genesis == GENESIS
        again.close()

    def test_blocks_given_out_are_copies(self, store: BlockStore) -> None:
        first = grow(store, [2])[0].data
        got = store.block_at(0)
        frame = store.frame_at(1)
        grow(store, [5] * 50)
        assert got == first and type(got) is bytes and type(frame) is bytes
        store.close()
        assert got == first and frame == Block(first).at(1).frame

    def test_a_closed_store_says_so(self, tmp_path: Path) -> None:
        store = self.make(tmp_path / "store")
        block = block_after(store, 1)
        store.close()
        for use in (
            store.head, lambda: store.block_at(0), lambda: store.frame_at(0),
            lambda: store.blocks(0, 1), store.statistics, lambda: store.append(block.data, 0),
            lambda: store.append_all([block.data], 0),
        ):  # fmt: skip
            with pytest.raises(Closed):
                use()
        store.close()

    def test_many_threads_read_while_one_appends(self, store: BlockStore) -> None:
        stop, failures = threading.Event(), []

        def read() -> None:
            seen = 0
            while not stop.is_set():
                head = store.head().offset
                offsets: list[int] = []
                for data in store.blocks(0, 1000):
                    block = Block(data)
                    offsets.extend(range(block.first, block.stop))
                if offsets != list(range(len(offsets))) or not seen <= head <= len(offsets):
                    failures.append((seen, head, offsets))
                seen = head

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            grow(store, [1, 2, 3] * 20)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        assert not failures

    @settings(
        # One contract for several engines is meant: a class for each runs it.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture, HealthCheck.differing_executors
        ],
        max_examples=15,
    )  # fmt: skip
    @given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), data=st.data())
    def test_any_blocks_read_from_anywhere(
        self, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
    ) -> None:
        store = self.make(tmp_path_factory.mktemp("contract") / "store")
        written = grow(store, sizes)
        head = sum(sizes)
        start = data.draw(st.integers(0, head + 2))
        events_max = data.draw(st.integers(1, 30))
        got = [Block(block) for block in store.blocks(start, events_max)]
        store.close()
        if start >= head:
            assert got == []
            return
        assert got[0].first <= start < got[0].stop
        at = [block.first for block in written].index(got[0].first)
        assert [b.data for b in got] == [b.data for b in written[at : at + len(got)]]
        counts = [block.count for block in got]
        assert sum(counts[:-1]) < events_max
        assert sum(counts) >= events_max or got[-1].stop == head
