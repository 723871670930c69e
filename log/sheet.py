"""Many frames field by field, for audits: what can be compared a column at a time, is.

A sheet holds one block, or a run of blocks of one event (which a log of single registrations is
full of). The frames' headers are copied out, one after another; then every field of them is a
memoryview with a stride, as every stored column is one. A comparison of two such views costs 10 ns
an event instead of the 100 of a loop's step, and makes no object.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import ne, or_
from struct import Struct
from typing import Final, NamedTuple

from .block import BLOCK_HEADER_SIZE_BYTES, MAGIC, Block, block_overhead_bytes
from .errors import NotDecodable
from .frame import FRAME_HEADER, FRAME_HEADER_SIZE_BYTES

_WIDTHS: Final = {"B": 1, "H": 2, "I": 4, "Q": 8}
_FRAME_FIELDS: Final = (
    ("I", 0), ("I", 4), ("Q", 8), ("H", 8), ("B", 12), ("B", 13), ("Q", 16), ("Q", 24), ("Q", 40),
    ("Q", 48),
)  # fmt: skip
"""Form and place of CRC, size, mark, kind, flags, space, offset, time, entity and previous."""
_COLUMNS: Final = (("Q", 64), ("Q", 72), ("I", 88), ("I", 96), ("H", 104), ("B", 112), ("B", 120))
"""The same of the columns in a block of one event; the frame's end stands between them."""
_BLOCK_FIELDS: Final = (("I", 32), ("I", 36), ("Q", 40), ("Q", 48), ("I", 80))
"""Magic, size, first offset, time; and the frame's end."""
_SINGLE_FRAME_AT: Final = 128
_SINGLE_SIZE_BYTES_MIN: Final = _SINGLE_FRAME_AT + FRAME_HEADER_SIZE_BYTES
if block_overhead_bytes(1) != _SINGLE_FRAME_AT or FRAME_HEADER.format != "<IIHBBBBHQQqQQ":
    raise ImportError("a block of one event does not begin as `block.py` and `frame.py` say")
_COUNT: Final = slice(56, BLOCK_HEADER_SIZE_BYTES)
_ONE: Final = (1).to_bytes(8, "little")
"""The count and the four zero bytes after it."""
_MARK: Final = Struct("<HBBBBH")


class Mark(NamedTuple):
    """The eight bytes of a frame's header that are the same in very many frames."""

    kind: int
    version: int
    codec: int
    flags: int
    space: int
    metadata_size: int

    @property
    def severity(self) -> int:
        return self.flags & 3

    @property
    def tail_size_bytes(self) -> int:
        """Of what stands after the body: metadata and padding."""
        return self.metadata_size + (self.flags >> 2 & 7)


class Sheet(NamedTuple):
    """One item an event in every field but `blocks`; offsets count from `first`, no gaps."""

    first: int
    blocks: Sequence[bytes]
    """One block of all the events, or one for each event."""
    buffers: Sequence[bytes]
    """The block that each frame stands in; `starts` and `ends` are places in it."""
    starts: Sequence[int]
    ends: Sequence[int]
    times: Sequence[int]
    """Of the event's block."""
    columns: tuple[memoryview, ...]
    """Entities, instruments, chains, venues, kinds, classes, severities, as stored."""
    crcs: memoryview
    sizes: memoryview
    marks: memoryview
    """Kind to metadata size as one number, see `mark_of`."""
    kinds: memoryview
    flags: memoryview
    spaces: memoryview
    offsets: memoryview
    recorded: memoryview
    entities: memoryview
    previous: memoryview

    @property
    def event_count(self) -> int:
        return len(self.starts)

    @property
    def stop(self) -> int:
        return self.first + len(self.starts)


@lru_cache(maxsize=4096)
def mark_of(number: int) -> Mark:
    return Mark._make(_MARK.unpack(number.to_bytes(_MARK.size, "little")))


def is_single(block: bytes) -> bool:
    """Whether it says to hold one event and is long enough for one."""
    return block[_COUNT] == _ONE and len(block) >= _SINGLE_SIZE_BYTES_MIN


def sheet_of(block: Block) -> Sheet:
    """Raises NotDecodable, naming the offset, when a frame's end is impossible."""
    bounds = block.bounds
    if bounds is None:
        for index in range(block.count):
            block.frame_bounds(index)
        raise NotDecodable("auditing", problem="frame ends are impossible", offset=block.first)
    starts, ends = bounds
    data, count = block.data, block.count
    headers = b"".join([data[start : start + FRAME_HEADER_SIZE_BYTES] for start in starts])
    stored = (
        block.entities, block.instruments, block.chains, block.venues, block.kinds, block.classes,
        block.severities,
    )  # fmt: skip
    return Sheet(
        block.first, (data,), [data] * count, starts, ends, [block.time] * count, stored,
        *_fields(headers, FRAME_HEADER_SIZE_BYTES, 0, _FRAME_FIELDS),
    )  # fmt: skip


def sheet_of_singles(blocks: Sequence[bytes], first: int) -> Sheet | None:
    """Of blocks that `is_single` holds for; None unless offsets and sizes are as they must be.

    Then every block has to be looked at by itself.
    """
    size, count, lengths = _SINGLE_SIZE_BYTES_MIN, len(blocks), list(map(len, blocks))
    headers = b"".join([block[:size] for block in blocks])
    magics, block_sizes, firsts, times, ends = _fields(headers, size, 0, _BLOCK_FIELDS)
    if (
        magics.tobytes() != MAGIC * count
        or firsts.tolist() != list(range(first, first + count))
        or block_sizes.tolist() != lengths
        or ends.tolist() != lengths
        or reduce(or_, lengths) & 7
    ):
        return None
    return Sheet(
        first, blocks, blocks, [_SINGLE_FRAME_AT] * count, lengths, times.tolist(),
        tuple(_fields(headers, size, 0, _COLUMNS)),
        *_fields(headers, size, _SINGLE_FRAME_AT, _FRAME_FIELDS),
    )  # fmt: skip


def _fields(
    headers: bytes, stride: int, start: int, fields: Sequence[tuple[str, int]]
) -> list[memoryview]:
    """Each field of headers that stand `stride` bytes apart; its place counts from `start`."""
    whole = memoryview(headers)
    views = {
        form: whole.cast(form)  # type: ignore[call-overload]  # not a literal
        for form in _WIDTHS
    }
    return [
        views[form][(start + place) // _WIDTHS[form] :: stride // _WIDTHS[form]]
        for form, place in fields
    ]


def first_difference(left: Sequence[int], right: Sequence[int]) -> int:
    """The index of the first item that is another; their length when all are equal."""
    if left == right:
        return len(left)
    return list(map(ne, left, right)).index(True)
