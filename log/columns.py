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
from .frame import FRAME_HEADER_SIZE_BYTES
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
_FREQUENT: Final = INSTRUMENT_KINDS | LISTING_KINDS
_NO_MIC: Final = bytes(4)
_FIXED_END: Final = FRAME_HEADER_SIZE_BYTES + MESSAGE_SIZE_BYTES


def check_columns_of_block(block: Block) -> None:
    """Raises Corrupt or NotDecodable, naming the offset, where a column is not its frame's."""
    headers = block.headers
    _same(block, "kinds", block.kinds, [header[4] for header in headers])
    _same(block, "entity ids", block.entities, [header[13] for header in headers])
    _same(block, "severities", block.severities, [header[7] & 3 for header in headers])
    data, numbers, offset = block.data, _Numbers(), block.first
    rows = zip(
        headers, block.entities.tolist(), block.instruments.tolist(), block.chains.tolist(),
        block.venues.tolist(), block.classes.tolist(), strict=True,
    )  # fmt: skip
    for header, entity, instrument, chain, venue, asset_class in rows:
        start, end, _, _, kind, version, codec, flags, _, metadata_size, *_ = header
        body_end = end - metadata_size - (flags >> 2 & 7)
        good = True
        try:
            if codec or kind not in _FREQUENT or version != VERSIONS[kind]:
                event = block.event(offset - block.first, verify=False)
                block.check_columns(offset - block.first, event, event.body)
            elif kind in INSTRUMENT_KINDS:
                placed = _decode_placed(data[start + _FIXED_END : body_end])
                mic = data[start + 144 : start + 148]
                where = placed.venue if mic == _NO_MIC else mic.decode("ascii")
                good = (
                    instrument == entity and asset_class == data[start + 58]
                    and chain == numbers[placed.chain] and venue == numbers[where]
                )  # fmt: skip
            else:
                listed = _decode_listed(data[start + FRAME_HEADER_SIZE_BYTES : body_end])
                good = (
                    instrument == listed.instrument and asset_class == listed.asset_class
                    and chain == 0 and venue == numbers[listed.venue]
                )  # fmt: skip
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotDecodable(
                "auditing", problem=f"a body cannot be read: {error}", offset=offset
            ) from error
        if not good:
            raise _differ(offset, kind)
        offset += 1


def _same(block: Block, what: str, column: memoryview, says: list[int]) -> None:
    """Compares a whole column with what the frames say, and looks for the place only if it must."""
    stored = column.tolist()
    if stored != says:
        index = next(i for i, pair in enumerate(zip(stored, says, strict=True)) if len({*pair}) > 1)
        raise _differ(block.first + index, block.headers[index][4], what)


def _differ(offset: int, kind: int, what: str = "columns") -> Corrupt:
    return Corrupt(
        "auditing", problem=f"the {what} of a block do not repeat what a frame says",
        offset=offset, kind=KIND_NAMES.get(kind, kind),
    )  # fmt: skip


class _Numbers(dict[str, int]):
    """Text to its column number, remembered: a block names few chains and venues."""

    def __missing__(self, text: str) -> int:
        self[text] = text_number(text)
        return self[text]
