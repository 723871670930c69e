"""Comparing a block's columns with its frames, fast enough for audits.

The columns are derived again from the frames by `facets.columns_of`; for the two most frequent
bodies only the three fields that stand in columns are decoded, which is what makes it fast.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .block import Block
from .errors import Corrupt, NotDecodable
from .facets import text_number
from .frame import FRAME_HEADER, FRAME_HEADER_SIZE_BYTES
from .kinds import INSTRUMENT_KINDS, KIND_NAMES, LISTING_KINDS
from .message import MESSAGE_SIZE_BYTES
from .upcast import VERSIONS


class _Placed(msgspec.Struct):
    """The fields of an extension that stand in columns."""

    chain: str = ""
    venue: str = ""


class _Listed(msgspec.Struct):
    """The fields of a listing that stand in columns."""

    instrument: int
    venue: str
    asset_class: int


_decode_placed: Final = msgspec.msgpack.Decoder(_Placed).decode
_decode_listed: Final = msgspec.msgpack.Decoder(_Listed).decode
_FIXED_END: Final = FRAME_HEADER_SIZE_BYTES + MESSAGE_SIZE_BYTES


def check_columns_of_block(block: Block) -> None:
    """Raises Corrupt or NotDecodable, naming the offset, where a column is not its frame's."""
    data, view = block.data, memoryview(block.data)
    unpack, numbers = FRAME_HEADER.unpack_from, _Numbers()
    start = block.frame_bounds(0)[0]
    rows = zip(
        range(block.count), block.ends, block.entities, block.instruments, block.chains,
        block.venues, block.kinds, block.classes, block.severities, strict=True,
    )  # fmt: skip
    for index, end, entity, instrument, chain, venue, kind, asset_class, severity in rows:
        header = unpack(data, start)
        codec, flags, metadata_size = header[4], header[5], header[7]
        body_end = end - metadata_size - (flags >> 2 & 7)
        good = header[2] == kind and header[11] == entity and flags & 3 == severity
        try:
            if codec or header[3] != VERSIONS[kind]:
                event = block.event(index, verify=False)
                block.check_columns(index, event, event.body)
            elif kind in INSTRUMENT_KINDS:
                placed = _decode_placed(view[start + _FIXED_END : body_end])
                mic = data[start + 144 : start + 148]
                where = mic.decode("ascii") if mic[0] else placed.venue
                good = good and (
                    instrument == entity and asset_class == data[start + 58]
                    and chain == numbers[placed.chain] and venue == numbers[where]
                )  # fmt: skip
            elif kind in LISTING_KINDS:
                listed = _decode_listed(view[start + FRAME_HEADER_SIZE_BYTES : body_end])
                good = good and (
                    instrument == listed.instrument and asset_class == listed.asset_class
                    and chain == 0 and venue == numbers[listed.venue]
                )  # fmt: skip
            else:
                event = block.event(index, verify=False)
                block.check_columns(index, event, event.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotDecodable(
                "auditing", problem=f"a body cannot be read: {error}", offset=block.first + index
            ) from error
        if not good:
            raise Corrupt(
                "auditing", problem="the columns do not repeat what a frame says",
                offset=block.first + index, kind=KIND_NAMES.get(kind, kind),
            )  # fmt: skip
        start = end


class _Numbers(dict[str, int]):
    """Text to its column number, remembered: a block names few chains and venues."""

    def __missing__(self, text: str) -> int:
        self[text] = text_number(text)
        return self[text]
