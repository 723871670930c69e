"""A block is one commit: the unit of storage, of hashing and of reading. One value in the log.

    offset  size  field
         0    32  chain: Blake3(chain of the block before ‖ all bytes of this block after it)
        32     4  magic "APB1"
        36     4  size of the block in bytes, a multiple of 8
        40     8  first offset
        48     8  recorded time of every event in it (ns since 1970 UTC)
        56     4  count of events, 1 to 1,000
        60     4  zero
        64        columns, each padded to 8 bytes, in this order:
                  entity ids (8), instruments (8), frame ends from the block's start (4),
                  chains (4), venues (4), kinds (2), classes (1), severities (1)
                  frames

The first block's "chain before" is Blake3 of the genesis record. A reader copies a block out of
the store once and points into the copy. Columns only repeat what the frames say; `columns.py`
compares them, and `Block.prefix` re-encodes a block cut short, which is what the chain at an
offset inside a block means.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from functools import cache, reduce
from itertools import accumulate
from operator import or_, sub
from typing import Final

from blake3 import blake3

from .errors import ChainBroken, Corrupt, NotDecodable, OffsetOutOfRange
from .facets import Columns
from .frame import FRAME_HEADER_SIZE_BYTES, Event, events_of

BLOCK_HEADER: Final = struct.Struct("<32s4sIQQII")
BLOCK_HEADER_SIZE_BYTES: Final = 64
if BLOCK_HEADER.size != BLOCK_HEADER_SIZE_BYTES:
    raise ImportError(f"block header is {BLOCK_HEADER.size} bytes, FORMAT.md says 64")
BLOCK_EVENTS_MAX: Final = 1_000
BLOCK_SIZE_BYTES_MAX: Final = 1 << 20
"""A single larger event (its frame is at most 1 MiB) still makes a block of its own."""
MAGIC: Final = b"APB1"
CHAIN_SIZE_BYTES: Final = 32
FIRST_PLACE: Final = slice(40, 48)
"""Of the first offset in a block, u64."""
_FEW: Final = 2
"""So many events are read one by one: what reads many at once takes 6 µs to begin."""
_MOST: Final = 4
"""Hashing a block costs less than the CRCs of this part of its frames: a quarter."""
_U32: Final = struct.Struct("<I").unpack_from
_WIDTHS: Final = (8, 8, 4, 4, 4, 2, 1, 1)
if sys.byteorder != "little":
    raise ImportError("columns are read in place, which needs a little-endian machine")


@cache
def _starts(count: int) -> tuple[int, ...]:
    """Where each column starts, then the frames; remembered for the counts a block can have."""
    starts, at = [], BLOCK_HEADER_SIZE_BYTES
    for width in _WIDTHS:
        starts.append(at)
        at += (width * count + 7) & ~7
    return *starts, at


def block_overhead_bytes(count: int) -> int:
    """Header and columns of a block of so many events."""
    return _starts(count)[-1]


def chain_hash(
    previous: bytes, after_chain: bytes | memoryview, hasher: blake3 | None = None
) -> bytes:
    """hasher: one to use again, which makes short blocks a third cheaper; of one thread alone."""
    if hasher is None:
        hasher = blake3()
    else:
        hasher.reset()
    hasher.update(previous)
    hasher.update(after_chain)
    return hasher.digest()


def encode_block(
    first: int, time: int, previous_chain: bytes, frames: Sequence[bytes],
    columns: Sequence[Columns],
) -> bytes:  # fmt: skip
    """The block of these frames; its chain stands in the first 32 bytes."""
    count = len(frames)
    assert 0 < count <= BLOCK_EVENTS_MAX and count == len(columns)
    entities, instruments, chains, venues, kinds, classes, severities = zip(*columns, strict=True)
    _, *ends = accumulate(map(len, frames), initial=_starts(count)[-1])
    header = BLOCK_HEADER.pack(bytes(32), MAGIC, ends[-1], first, time, count, 0)
    packed = _columns_of(count).pack(
        *entities, *instruments, *ends, *chains, *venues, *kinds, *classes, *severities
    )
    after = b"".join((header[CHAIN_SIZE_BYTES:], packed, *frames))
    return chain_hash(previous_chain, after) + after


@cache
def _columns_of(count: int) -> struct.Struct:
    """All columns of a block of so many events, each padded to 8 bytes."""
    forms = zip("QQIIIHBB", _WIDTHS, strict=True)
    return struct.Struct(
        "<" + "".join(f"{count}{form}{-width * count & 7}x" for form, width in forms)
    )


def frame_in(block: bytes | memoryview, offset: int) -> bytes:
    """A copy of the one frame with this offset, without copying the block. Cost: 1 µs.

    For buffers that will not stay: nothing of them is kept. Raises NotDecodable.
    """
    if len(block) >= BLOCK_HEADER_SIZE_BYTES:
        _, magic, _, first, _, count, _ = BLOCK_HEADER.unpack_from(block)
        index = offset - first
        if magic == MAGIC and 0 <= index < count <= BLOCK_EVENTS_MAX:
            _, _, ends_at, *_, frames_at = _starts(count)
            if frames_at <= len(block):
                end: int = _U32(block, ends_at + 4 * index)[0]
                start: int = _U32(block, ends_at + 4 * index - 4)[0] if index else frames_at
                if frames_at <= start < end <= len(block):
                    return bytes(block[start:end])
    raise NotDecodable("reading a block", problem="its header or ends are impossible",
                       offset=offset)  # fmt: skip


class Block:
    """Reads a copied block in place. Making one checks its sizes, not its hash or its frames.

    Columns are memoryviews of `len(block)` items; `event(i)` decodes one frame and checks its
    CRC. Valid for as long as it is held. Raises NotDecodable when the sizes cannot be.

    `previous` is the chain of the block before, when who read it knows that: then `events` checks
    all bytes by one hash, which says more than the CRCs and costs a tenth. Where it is not right,
    or nothing is known, the CRC of each frame decides.
    """

    __slots__ = (
        "_ends", "_proven", "_starts", "count", "data", "first", "previous", "size_bytes", "time",
    )  # fmt: skip
    may_lack_frames = False
    """Whether `data` may end where the frames begin."""

    def __init__(self, data: bytes) -> None:
        if len(data) < BLOCK_HEADER_SIZE_BYTES:
            raise NotDecodable("reading a block", problem="it is cut short", size_bytes=len(data))
        self.first: int
        self.time: int
        _, magic, size, self.first, self.time, count, zero = BLOCK_HEADER.unpack_from(data)
        possible = magic == MAGIC and not zero and 0 < count <= BLOCK_EVENTS_MAX
        if not possible or (size != len(data) and not self._is_cut(size, count, len(data))):
            raise NotDecodable(
                "reading a block", problem="its header is impossible", first_offset=self.first,
                magic=magic, declared_bytes=size, size_bytes=len(data), count=count,
            )  # fmt: skip
        self._starts = _starts(count)
        if self._starts[-1] > size:
            raise NotDecodable(
                "reading a block", problem="its columns are longer than it", count=count,
                size_bytes=size, first_offset=self.first,
            )  # fmt: skip
        self.count: int = count
        self.data = data
        self.size_bytes: int = size
        self._ends: memoryview | None = None
        self.previous: bytes | None = None
        self._proven: bool | None = None

    def _is_cut(self, size: int, count: int, size_here: int) -> bool:
        return self.may_lack_frames and size_here == block_overhead_bytes(count) < size

    def __len__(self) -> int:
        return self.count

    @property
    def stop(self) -> int:
        """The offset after its last event."""
        return self.first + self.count

    @property
    def chain(self) -> bytes:
        return self.data[:CHAIN_SIZE_BYTES]

    def _column(self, index: int, form: str) -> memoryview:
        start = self._starts[index]
        size_bytes = self.count * _WIDTHS[index]
        column = memoryview(self.data)[start : start + size_bytes]
        return column.cast(form)  # type: ignore[call-overload, no-any-return]  # not a literal

    @property
    def entities(self) -> memoryview:
        return self._column(0, "Q")

    @property
    def instruments(self) -> memoryview:
        return self._column(1, "Q")

    @property
    def ends(self) -> memoryview:
        if self._ends is None:
            self._ends = self._column(2, "I")
        return self._ends

    @property
    def chains(self) -> memoryview:
        return self._column(3, "I")

    @property
    def venues(self) -> memoryview:
        return self._column(4, "I")

    @property
    def kinds(self) -> memoryview:
        return self._column(5, "H")

    @property
    def classes(self) -> memoryview:
        return self._column(6, "B")

    @property
    def severities(self) -> memoryview:
        return self._column(7, "B")

    def frame_bounds(self, index: int) -> tuple[int, int]:
        ends = self.ends
        start = ends[index - 1] if index else self._starts[-1]
        end = ends[index]
        possible = self._starts[-1] <= start <= end - FRAME_HEADER_SIZE_BYTES
        if not possible or end > self.size_bytes or (start | end) & 7:
            raise NotDecodable(
                "reading a block", problem="a frame end is impossible",
                offset=self.first + index, start=start, end=end,
            )  # fmt: skip
        return start, end

    @property
    def bounds(self) -> tuple[list[int], list[int]] | None:
        """Starts and ends of all frames; None when any is impossible, `event` says which."""
        ends: list[int] = self.ends.tolist()
        starts = [self._starts[-1], *ends[:-1]]
        if min(map(sub, ends, starts)) < FRAME_HEADER_SIZE_BYTES or ends[-1] > len(self.data):
            return None
        return None if reduce(or_, ends) & 7 else (starts, ends)

    def event(self, index: int, *, verify: bool = True) -> Event:
        """The event at this index. Raises Corrupt or NotDecodable, naming its offset."""
        start, end = self.frame_bounds(index)
        offset = self.first + index
        try:
            event = Event(self.data, start, verify=verify)
        except (Corrupt, NotDecodable) as error:
            error.facts["offset"] = offset
            raise
        if event.size != end - start or event.offset != offset:
            raise NotDecodable(
                "reading a block", problem="a frame is not the one its column names",
                offset=offset, frame_offset=event.offset, size_bytes=event.size,
            )  # fmt: skip
        return event

    def at(self, offset: int) -> Event:
        if not self.first <= offset < self.stop:
            raise OffsetOutOfRange("reading a block", offset=offset, first=self.first)
        return self.event(offset - self.first)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[Event]:
        """Events by index, in order; checked as `event` does, or by the hash of the block.

        Cost: 0.5 µs each by the hash, 1.1 by CRCs, 3 if few.
        """
        stop = self.count if stop is None else stop
        bounds = self.bounds if stop - start > _FEW else None
        if bounds is None:  # few, or `event` says which of them is wrong
            return map(self.event, range(start, stop))
        starts, ends = bounds
        offsets = range(self.first + start, self.first + stop)
        places = zip(offsets, starts[start:stop], ends[start:stop], strict=True)
        return events_of(self.data, places, self.at, verify=not self._is_proven(stop - start))

    def events_at(self, indexes: Sequence[int]) -> Iterator[Event]:
        """Events at these indexes, in their order; checked as `events` are. Cost: 2 µs each."""
        places = ((self.first + index, *self.frame_bounds(index)) for index in indexes)
        return events_of(self.data, places, self.at, verify=not self._is_proven(len(indexes)))

    def _is_proven(self, wanted: int) -> bool:
        """Whether these are the bytes that were hashed when the block was written; not looked at
        for too few of its events.

        They held good frames then: whoever writes others with a hash of his own makes the next
        block wrong, or is found by an audit, which checks both.
        """
        if self.previous is None or wanted * _MOST < self.count:
            return False
        if self._proven is None:
            after = memoryview(self.data)[CHAIN_SIZE_BYTES:]
            self._proven = chain_hash(self.previous, after) == self.chain
        return self._proven

    def check_chain(self, previous: bytes) -> None:
        """Raises ChainBroken unless this block follows the block with that chain."""
        if chain_hash(previous, memoryview(self.data)[CHAIN_SIZE_BYTES:]) != self.chain:
            raise ChainBroken("checking the chain", offset=self.first, events=self.count)

    def prefix(self, stop: int, previous_chain: bytes) -> bytes:
        """This block re-encoded with only its events before offset `stop`."""
        count = stop - self.first
        assert 0 < count <= self.count
        if count == self.count:
            return self.data
        frames = [self.data[slice(*self.frame_bounds(index))] for index in range(count)]
        columns = [
            Columns(*row)
            for row in zip(
                self.entities[:count], self.instruments[:count], self.chains[:count],
                self.venues[:count], self.kinds[:count], self.classes[:count],
                self.severities[:count], strict=True,
            )
        ]  # fmt: skip
        return encode_block(self.first, self.time, previous_chain, frames, columns)
