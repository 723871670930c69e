from __future__ import annotations

import sys
from collections.abc import Iterator
from zlib import crc32

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.block import (
    BLOCK_EVENTS_MAX,
    BLOCK_HEADER_SIZE_BYTES,
    Block,
    chain_hash,
    encode_block,
    frame_in,
)
from alphapulse.log.columns import check_columns
from alphapulse.log.errors import ChainBroken, Corrupt, NotDecodable, OffsetOutOfRange
from alphapulse.log.frame import Event
from alphapulse.log.kinds import Kind
from alphapulse.log.sheet import sheet_of
from alphapulse.log.verify import Verdict, verify_blocks

from .builders import CHAIN_SEED, TIME, columns_of_event, event_of_each_kind, make_block, make_event
from .logs import flips

VERIFY = sys.modules[verify_blocks.__module__]
"""Found by its name, a patch of it would take a tenth of the time of the tests of each bit."""


def worlds(first: int) -> st.SearchStrategy[list[Event]]:
    return st.lists(st.sampled_from(Kind), min_size=1, max_size=12).map(
        lambda kinds: [
            make_event(kind, offset=first + i, entity=first + i + 1) for i, kind in enumerate(kinds)
        ]
    )


@given(worlds(first=7), st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(events: list[Event], before: bytes) -> None:
    block = make_block(events, first=7, chain_before=before)
    assert (block.first, block.time, len(block)) == (7, TIME, len(events))
    assert block.stop == 7 + len(events)
    assert list(block.events()) == events
    assert [block.at(event.offset) for event in events] == events
    assert [Event(frame_in(block.data, event.offset)) for event in events] == events
    columns = zip(
        block.entities, block.instruments, block.chains, block.venues, block.kinds, block.classes,
        block.severities, strict=True,
    )  # fmt: skip
    assert [tuple(row) for row in columns] == [tuple(columns_of_event(e)) for e in events]
    block.check_chain(before)
    for index, event in enumerate(events):
        assert block.event(index) == event
    assert block.bounds is not None
    assert [*zip(*block.bounds, strict=True)] == [*map(block.frame_bounds, range(len(block)))]
    check_columns(sheet_of(block), len(block))


def test_the_bytes_stand_where_the_format_says() -> None:
    events = event_of_each_kind()[:3]
    data = make_block(events).data
    assert data[:32] == blake3(CHAIN_SEED + data[32:]).digest() == chain_hash(CHAIN_SEED, data[32:])
    assert data[32:36] == b"APB1"
    assert data[36:40] == len(data).to_bytes(4, "little")
    assert data[40:56] == bytes(8) + TIME.to_bytes(8, "little")
    assert data[56:64] == bytes([3, 0, 0, 0, 0, 0, 0, 0])
    assert data[64:88] == b"".join(e.entity.to_bytes(8, "little") for e in events)
    # 3 u32 are padded to 16 bytes, 3 u16 and 3 u8 to 8: frames start at 64+24+24+16*3+8*3.
    assert data[112:116] == (184 + events[0].size).to_bytes(4, "little")
    assert data[124:128] == bytes(4)
    assert data[184 : 184 + events[0].size] == events[0].frame


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, BLOCK_EVENTS_MAX])
def test_columns_are_aligned_at_every_count(count: int) -> None:
    frame = make_event(Kind.ALERT_ACKNOWLEDGED)
    frames, columns = [frame.frame] * count, [columns_of_event(frame)] * count
    block = Block(encode_block(0, TIME, CHAIN_SEED, frames, columns))
    assert list(block.kinds) == [50] * count and list(block.severities) == [0] * count
    start, end = block.frame_bounds(count - 1)
    assert start % 8 == 0 and end == len(block.data)


def test_a_block_has_1_to_1000_events() -> None:
    frame = make_event(Kind.ALERT_ACKNOWLEDGED)
    for count in (0, BLOCK_EVENTS_MAX + 1):
        with pytest.raises(AssertionError):
            encode_block(
                0, TIME, CHAIN_SEED, [frame.frame] * count, [columns_of_event(frame)] * count
            )


@pytest.mark.parametrize(
    "at,value",
    [(32, b"APB2"), (36, b"\0\0\0\0"), (36, b"\xff\xff\xff\xff"), (56, b"\0\0\0\0"),
     (56, b"\xe9\x03\0\0"), (56, b"\x20\0\0\0"), (60, b"\x01")],
)  # fmt: skip
def test_an_impossible_header_is_refused(at: int, value: bytes) -> None:
    data = bytearray(make_block(event_of_each_kind()[:2]).data)
    data[at : at + len(value)] = value
    with pytest.raises(NotDecodable):
        Block(bytes(data))


def test_a_cut_block_is_refused() -> None:
    data = make_block(event_of_each_kind()[:2]).data
    for size in (0, 1, 63, 64, 100, len(data) - 1):
        with pytest.raises(NotDecodable):
            Block(data[:size])
        with pytest.raises(NotDecodable):
            frame_in(data[: min(size, BLOCK_HEADER_SIZE_BYTES - 1)], 0)


def test_any_flipped_bit_of_a_block_is_found_by_verify() -> None:
    """In this process: nothing but verdicts comes out, whatever bit it is."""
    events = [
        make_event(Kind.ALERT_ACKNOWLEDGED, offset=0, entity=1, source="a"),
        make_event(Kind.LISTING_ADDED, offset=1, entity=2),
    ]
    good = make_block(events)
    assert all(verdict.ok for verdict in verify_blocks([good.data], CHAIN_SEED, []))
    for bit, data in flips(good.data):
        verdicts = verify_blocks([data], CHAIN_SEED, [])
        bad = [verdict for verdict in verdicts if not verdict.ok]
        assert bad, f"bit {bit} was called fine"
        assert not verdicts[2].ok, f"bit {bit} held the chain"
        for verdict in bad:
            assert verdict.first_bad_offset in (0, 1), f"bit {bit}: {verdict}"
            assert verdict.cure and verdict.detail


def test_a_flipped_bit_in_a_frame_names_that_event_in_verify() -> None:
    good = make_block(event_of_each_kind())
    for index in range(len(good)):
        start, end = good.frame_bounds(index)
        for at in (start, start + 5, (start + end) // 2, end - 1):
            data = bytearray(good.data)
            data[at] ^= 0x10
            bytes_ = verify_blocks([bytes(data)], CHAIN_SEED, [])[0]
            assert not bytes_.ok and bytes_.first_bad_offset == index


def singles() -> list[bytes]:
    """Four blocks of one event each, of four kinds."""
    chain, blocks = CHAIN_SEED, []
    for at, kind in enumerate((
        Kind.LISTING_ADDED, Kind.INSTRUMENT_REGISTERED, Kind.ALERT_ACKNOWLEDGED,
        Kind.LISTING_AMENDED,
    )):  # fmt: skip
        event = make_event(kind, offset=at, entity=at + 1)
        blocks.append(make_block([event], first=at, chain_before=chain).data)
        chain = blocks[-1][:32]
    return blocks


def verified(blocks: list[bytes], together: int) -> list[Verdict]:
    """The verdicts, without their rates, when so many blocks of one event are checked at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VERIFY, "SINGLES_MAX", together)
        return [v._replace(rate_per_s=0) for v in verify_blocks(blocks, CHAIN_SEED, [])]


@pytest.fixture
def step(scale: float) -> int:
    """Every bit from scale 2 on, which `.ci/run` has; else each third, so some of every byte."""
    return 1 if scale >= 2 else 3


@pytest.mark.parametrize("index", range(4))
def test_any_flipped_bit_in_a_run_of_blocks_of_one_is_found_as_when_each_is_alone(
    index: int, step: int
) -> None:
    good = singles()
    assert [v.checked for v in verified(good, 1000) if v.ok] == [4, 4, 4]
    for bit, data in flips(good[index], step):
        blocks = [*good[:index], data, *good[index + 1 :]]
        together = verified(blocks, 1000)
        assert together == verified(blocks, 1), f"bit {bit}"
        assert not together[2].ok, f"bit {bit} held the chain"
        for verdict in together:
            assert verdict.ok or verdict.first_bad_offset in (index, index + 1), f"bit {bit}"


@pytest.mark.parametrize("index", range(4))
def test_any_flipped_bit_under_right_hashes_is_judged_in_a_run_as_alone(
    index: int, step: int
) -> None:
    """The frame's CRC and all chains made good, so that only what the bytes mean can object."""
    good, found = singles(), 0
    for bit, data in flips(good[index], step):
        if bit < 8 * 32:
            continue
        frame = data[132:]
        sealed = data[:128] + crc32(frame).to_bytes(4, "little") + frame
        blocks, chain = [], CHAIN_SEED
        for block in (*good[:index], sealed, *good[index + 1 :]):
            chain = chain_hash(chain, block[32:])
            blocks.append(chain + block[32:])
        together = verified(blocks, 1000)
        assert together == verified(blocks, 1), f"bit {bit}"
        found += not all(verdict.ok for verdict in together)
    assert found > 8 * 80 // step, "most of the headers and columns"


@pytest.mark.parametrize("column,width", [(0, 8), (1, 8), (3, 4), (4, 4), (5, 2), (6, 1), (7, 1)])
def test_a_column_that_lies_is_found_though_the_chain_holds(column: int, width: int) -> None:
    good = make_block(event_of_each_kind())
    for index in range(len(good)):
        data = bytearray(good.data)
        data[good._starts[column] + index * width] ^= 1
        data[:32] = chain_hash(CHAIN_SEED, bytes(data[32:]))
        bytes_, continuity, chain = verify_blocks([bytes(data)], CHAIN_SEED, [])
        assert chain.ok and continuity.ok
        assert not bytes_.ok and bytes_.first_bad_offset == index
        with pytest.raises(Corrupt, match=r"do not repeat"):
            check_columns(sheet_of(Block(bytes(data))), len(good))


@pytest.mark.parametrize("lies_at,first_bad", [(2, 2), (5, 5), (7, 5)])
def test_of_a_bad_frame_and_a_column_that_lies_the_first_is_named(
    lies_at: int, first_bad: int
) -> None:
    good = make_block(event_of_each_kind())
    data = bytearray(good.data)
    data[good._starts[6] + lies_at] ^= 1
    data[good.frame_bounds(5)[0]] ^= 1  # of its CRC
    bytes_, _, _ = verify_blocks([bytes(data)], CHAIN_SEED, [])
    assert bytes_.first_bad_offset == first_bad
    assert ("CRC" in bytes_.detail) == (lies_at >= 5)


def test_a_frame_end_that_lies_is_refused() -> None:
    good = make_block(event_of_each_kind())
    at = good._starts[2] + 4
    first, second = good.ends[:2]
    for end in (0, 1, first, first + 8, second + 8, len(good.data) + 8, 2**32 - 8):
        data = bytearray(good.data)
        data[at : at + 4] = end.to_bytes(4, "little")
        block = Block(bytes(data))
        with pytest.raises((Corrupt, NotDecodable)) as caught:
            block.event(1)
        assert caught.value.facts["offset"] == 1
        assert not verify_blocks([bytes(data)], CHAIN_SEED, [])[0].ok


def told(events: Iterator[Event]) -> tuple[list[Event], str, object]:
    """What came, and how it ended."""
    came: list[Event] = []
    try:
        came.extend(events)
    except (Corrupt, NotDecodable) as error:
        return came, type(error).__name__, error.facts
    return came, "", {}


def test_events_in_bulk_are_checked_as_each_is_alone() -> None:
    """Whichever bit is another: the same events come, then the same error, or none."""
    events = [
        make_event(Kind.ALERT_ACKNOWLEDGED, offset=0, entity=1),
        make_event(Kind.LISTING_ADDED, offset=1, entity=2),
        make_event(Kind.ALERT_ACKNOWLEDGED, offset=2, entity=1),
    ]
    good, ended = make_block(events), 0
    for bit, data in flips(good.data):
        try:
            block = Block(data)
        except NotDecodable:
            continue
        alone = told(block.event(index) for index in range(block.count))
        assert told(block.events()) == alone, f"bit {bit}"
        assert told(block.events_at(range(block.count))) == alone, f"bit {bit}"
        some = [block.count - 1, 0]
        expected = told(block.event(index) for index in some)
        assert told(block.events_at(some)) == expected, f"bit {bit}"
        ended += alone[1] != ""
    assert ended > 8 * sum(event.size for event in events)


def test_events_are_the_same_where_the_chain_before_is_known() -> None:
    """Whichever bit is another, and if it is one of that chain."""
    events = [make_event(Kind.ALERT_ACKNOWLEDGED, offset=at, entity=1) for at in range(3)]
    good = make_block(events)
    for bit, data in flips(CHAIN_SEED + good.data):
        try:
            block = Block(data[32:])
        except NotDecodable:
            continue
        alone = told(block.event(index) for index in range(block.count))
        block.previous = data[:32]
        assert told(block.events()) == alone, f"bit {bit}"
        assert told(block.events_at(range(block.count))) == alone, f"bit {bit}"
        assert told(block.events(1)) == told(block.event(index) for index in range(1, block.count))


def test_a_right_hash_stands_for_the_crcs_of_many_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [make_event(Kind.ALERT_ACKNOWLEDGED, offset=at, entity=1) for at in range(40)]
    block = make_block(events)
    monkeypatch.setattr(Event.__module__ + ".crc32", lambda _: 0)  # which is wrong everywhere
    block.previous = CHAIN_SEED
    assert list(block.events()) == events
    assert list(block.events(10, 20)) == events[10:20] == list(block.events_at(range(10, 20)))
    for few in (block.events(10, 19), block.events_at([3]), make_block(events).events()):
        with pytest.raises(Corrupt):
            list(few)


def test_some_events_of_a_block() -> None:
    events = event_of_each_kind()
    block = make_block(events)
    assert list(block.events(2, 5)) == events[2:5] and list(block.events(3)) == events[3:]
    assert list(block.events(3, 3)) == [] == list(block.events_at([]))
    assert list(block.events_at([0, 3, 4])) == [events[0], *events[3:5]]


def test_offsets_outside_are_refused() -> None:
    block = make_block([make_event(Kind.ALERT_ACKNOWLEDGED, offset=5)], first=5)
    for offset in (4, 6, -1):
        with pytest.raises(OffsetOutOfRange):
            block.at(offset)
        with pytest.raises(NotDecodable):
            frame_in(block.data, offset)


def test_another_chain_before_breaks_it() -> None:
    block = make_block(event_of_each_kind())
    with pytest.raises(ChainBroken) as caught:
        block.check_chain(b"\1" + CHAIN_SEED[1:])
    assert caught.value.facts["offset"] == 0


@given(worlds(first=3), st.data())
def test_a_prefix_is_what_a_shorter_commit_would_have_been(
    events: list[Event], data: st.DataObject
) -> None:
    stop = data.draw(st.integers(4, 3 + len(events)))
    before = bytes(range(32))
    whole = make_block(events, first=3, chain_before=before)
    shorter = make_block(events[: stop - 3], first=3, chain_before=before)
    assert whole.prefix(stop, before) == shorter.data
