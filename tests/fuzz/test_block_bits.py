"""Every single bit of a block of 64 events, through the verifier in this process.

The controls take out one guard each: the CRC of frames, the hash of the block, both. What they
miss is what that guard is for.
"""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from unittest import mock

import pytest

from alphapulse.log import AlphaPulseError, Block, Columns, Event, Kind, Verdict
from alphapulse.log.block import BLOCK_HEADER_SIZE_BYTES, CHAIN_SIZE_BYTES
from alphapulse.log.columns import _columns_of_event, _layout_of, check_columns
from alphapulse.log.sheet import Sheet, sheet_of
from alphapulse.log.verify import _Audit, _Run, verify_blocks
from tests.crash.children import report
from tests.log.builders import CHAIN_SEED

from .blocks import EVENTS, mixed_block

DATA = mixed_block()
BLOCK = Block(DATA)
FRAMES_AT = BLOCK.frame_bounds(0)[0]
STARTS = [BLOCK.frame_bounds(index)[0] for index in range(EVENTS)]
CHAIN_BITS = CHAIN_SIZE_BYTES * 8
PARTS = 8
"""So that all workers take part. Bits are dealt out in turn: each part gets some of every field."""


@pytest.fixture(autouse=True)
def _cheap() -> Iterator[None]:
    """63 of 64 frames are the same each time, so what follows from their bytes is remembered:

    what their columns should be, that all columns are right up to a frame, and that all headers
    go on from one another.
    All of it is functions of these bytes alone. And nothing here makes cycles to be collected.
    """
    good, head, after = sheet_of(BLOCK), DATA[:BLOCK_HEADER_SIZE_BYTES], DATA[CHAIN_SIZE_BYTES:]
    headers, continuous = good.crcs.obj, _Audit._check_continuity
    assert all(verdict.ok for verdict in verdicts_on(DATA))

    @lru_cache(maxsize=4096)
    def columns_of_frame(frame: bytes) -> Columns:
        return _columns_of_event(frame, 0, 0)

    def remembered(buffer: bytes, start: int, offset: int) -> Columns:
        del offset  # only named by errors, which good frames do not raise
        size_bytes = int.from_bytes(buffer[start + 4 : start + 8], "little")
        return columns_of_frame(buffer[start : start + size_bytes])

    def check_unknown(sheet: Sheet, stop: int) -> None:
        # All that it reads: the columns, and the frames up to there.
        asked = sheet.blocks[0][CHAIN_SIZE_BYTES : sheet.ends[stop - 1] if stop else FRAMES_AT]
        if not after.startswith(asked):
            check_columns(sheet, stop)

    def continuous_unknown(self: _Audit, run: _Run) -> None:
        # All that it reads, of a block that is the only one: its header and those of its frames.
        if run.sheet.crcs.obj != headers or not run.blocks[0].startswith(head):
            continuous(self, run)

    gc.disable()
    with (
        mock.patch("alphapulse.log.verify.check_columns", check_unknown),
        mock.patch.object(_Audit, "_check_continuity", continuous_unknown),
        mock.patch("alphapulse.log.columns._columns_of_event", remembered),
        mock.patch("alphapulse.log.columns._layout_of", lru_cache(maxsize=4096)(_layout_of)),
    ):
        yield
    gc.enable()


def verdicts_on(data: bytes) -> list[Verdict]:
    return verify_blocks([data], CHAIN_SEED, [])


def changed(bit: int) -> bytes:
    data = bytearray(DATA)
    data[bit >> 3] ^= 1 << (bit & 7)
    return bytes(data)


def missed(bits: range) -> list[int]:
    """The bits whose change no verdict is about."""
    return [bit for bit in bits if all(verdict.ok for verdict in verdicts_on(changed(bit)))]


def test_the_block_holds_some_of_everything() -> None:
    assert all(verdict.ok and verdict.checked == EVENTS for verdict in verdicts_on(DATA))
    events = list(BLOCK.events())
    assert {event.kind for event in events} == set(Kind)
    assert {event.codec for event in events} == {0, 1, 2, 3}
    assert any(event.previous is not None for event in events)
    assert {bool(event.source) for event in events} == {True, False}


def frame_of_bit(bit: int) -> int:
    return bisect_right(STARTS, bit >> 3) - 1


@pytest.mark.parametrize("part", range(PARTS))
def test_every_bit(part: int) -> None:
    """Some verdict fails, names an event of the block, and the very one if a frame was changed."""
    bits = range(part, len(DATA) * 8, PARTS)
    for bit in bits:
        bytes_, continuity, chained = verdicts = verdicts_on(changed(bit))
        bad = [verdict for verdict in verdicts if not verdict.ok]
        assert not chained.ok, f"bit {bit}: the hash covers all, {verdicts}"
        for verdict in bad:
            assert verdict.first_bad_offset in range(EVENTS), f"bit {bit}: {verdict}"
            assert verdict.detail and verdict.cure, f"bit {bit}: {verdict}"
        if bit < CHAIN_BITS:
            assert bytes_.ok and continuity.ok, f"bit {bit}: {verdicts}"
        elif bit >> 3 >= FRAMES_AT:
            assert bytes_.first_bad_offset == frame_of_bit(bit), f"bit {bit}: {verdicts}"
    report(f"every bit, part {part + 1} of {PARTS}", bits=len(bits), events=EVENTS, missed=0)


# Controls. `mock.ANY` equals everything: the comparison that stands there lets all pass.


def _anything(*_: object) -> object:
    return mock.ANY


def without(*guards: str) -> Callable[[range], list[int]]:
    """`missed` of a verifier that does not compare what these functions of it compute."""

    def search(bits: range) -> list[int]:
        with ExitStack() as stack:
            for guard in guards:
                stack.enter_context(mock.patch(f"alphapulse.log.verify.{guard}", _anything))
            assert all(verdict.ok for verdict in verdicts_on(DATA))
            return missed(bits)

    return search


EVERY = range(0, len(DATA) * 8, 53)
"""53 is prime to all sizes, so bits of every field are among these."""


def test_control_without_the_chain_its_own_bits_go_unseen() -> None:
    found = without("chain_hash")(EVERY)
    assert found == [bit for bit in EVERY if bit < CHAIN_BITS]
    report("every bit, control: no chain", bits=len(EVERY), missed=len(found))


def test_control_without_crc_and_chain_changed_frames_go_unseen() -> None:
    found = without("crc32", "chain_hash")(EVERY)
    frames = {frame_of_bit(bit) for bit in found if bit >> 3 >= FRAMES_AT}
    report("every bit, control: no CRC, no chain", bits=len(EVERY), missed=len(found))
    assert len(frames) > EVENTS // 2, f"{len(found)} of {len(EVERY)} bits were not seen"


def test_control_without_crc_the_chain_sees_all_but_cannot_name_the_event() -> None:
    with mock.patch("alphapulse.log.verify.crc32", _anything):
        assert missed(EVERY) == []
        verdicts = [verdicts_on(changed(bit)) for bit in EVERY if bit >> 3 >= FRAMES_AT]
    assert any(bytes_.ok for bytes_, _, _ in verdicts)


def test_a_frame_is_refused_one_by_one_too() -> None:
    """What a reader without an audit sees: the frame's CRC stands alone."""
    start, end = BLOCK.frame_bounds(EVENTS - 1)
    for bit in range(start * 8, end * 8):
        with pytest.raises(AlphaPulseError):
            Event(changed(bit), start)
