"""Comparing stored columns with what the frames say, fast enough for audits.

The columns are derived again from the frames by `facets.columns_of`; for the two most frequent
bodies only the three fields that stand in columns are decoded, which is what makes it fast.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from .errors import AlphaPulseError, Corrupt, NotDecodable
from .facets import Columns, columns_of, text_number, text_numbers
from .frame import FRAME_HEADER_SIZE_BYTES, Event
from .kinds import INSTRUMENT_KINDS, KIND_NAMES, LISTING_KINDS
from .message import MESSAGE_SIZE_BYTES
from .sheet import Sheet, first_difference, mark_of
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
_SEVERITY_OF_FLAGS: Final = bytes(flags & 3 for flags in range(256))
_OTHER, _INSTRUMENT, _LISTING = range(3)
_NO_MIC: Final = bytes(4)
_FIXED_END: Final = FRAME_HEADER_SIZE_BYTES + MESSAGE_SIZE_BYTES


def check_columns(sheet: Sheet, stop: int) -> None:
    """Raises Corrupt or NotDecodable, naming the offset, where a column is not its frame's.

    Of the first `stop` frames, whose sizes, CRCs, kinds and versions are right; what comes after
    them may be anything. Cost: 0.5 µs an event.
    """
    entities, instruments, chains, venues, kinds, classes, severities = sheet.columns
    said = memoryview(sheet.flags.tobytes().translate(_SEVERITY_OF_FLAGS))
    _same(sheet, stop, "kinds", kinds, sheet.kinds)
    _same(sheet, stop, "entity ids", entities, sheet.entities)
    _same(sheet, stop, "severities", severities, said)
    marks, numbers = sheet.marks[:stop].tolist(), text_numbers
    layouts = {mark: _layout_of(mark) for mark in set(marks)}
    offset = sheet.first
    try:
        for (
            mark, buffer, start, end, entity, instrument, chain, venue, asset_class,
        ) in zip(
            marks, sheet.buffers, sheet.starts, sheet.ends, entities.tolist(),
            instruments.tolist(), chains.tolist(), venues.tolist(), classes.tolist(), strict=False,
        ):  # fmt: skip
            layout, tail = layouts[mark]
            if layout == _INSTRUMENT:
                placed = _decode_placed(buffer[start + _FIXED_END : end - tail])
                mic = buffer[start + 144 : start + 148]
                good = (
                    instrument == entity
                    and asset_class == buffer[start + 58]
                    and chain == numbers[placed.chain]
                    and venue == (numbers[placed.venue] if mic == _NO_MIC else _mic_number(mic))
                )
            elif layout == _LISTING:
                listed = _decode_listed(buffer[start + FRAME_HEADER_SIZE_BYTES : end - tail])
                good = (
                    instrument == listed.instrument
                    and asset_class == listed.asset_class
                    and chain == 0
                    and venue == numbers[listed.venue]
                )
            else:
                says = _columns_of_event(buffer, start, offset)
                kind, severity = mark_of(mark).kind, mark_of(mark).severity
                good = says == (entity, instrument, chain, venue, kind, asset_class, severity)
            if not good:
                raise _differ(offset, mark_of(mark).kind)
            offset += 1
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotDecodable(
            "auditing", problem=f"a body cannot be read: {error}", offset=offset
        ) from error


def _layout_of(number: int) -> tuple[int, int]:
    """How a body with this mark is read, and the bytes after it."""
    mark = mark_of(number)
    layout = _OTHER
    if mark.codec == 0 and mark.version == VERSIONS[mark.kind]:
        if mark.kind in INSTRUMENT_KINDS:
            layout = _INSTRUMENT
        elif mark.kind in LISTING_KINDS:
            layout = _LISTING
    return layout, mark.tail_size_bytes


@lru_cache(maxsize=4096)
def _mic_number(mic: bytes) -> int:
    return text_number(mic.decode("ascii"))


def _columns_of_event(buffer: bytes, start: int, offset: int) -> Columns:
    """The usual derivation, for a body that is packed, old or of a rare kind."""
    try:
        event = Event(buffer, start, verify=False)
        return columns_of(event.kind, event.severity, event.entity, event.body)
    except AlphaPulseError as error:
        error.facts["offset"] = offset
        raise


def _same(sheet: Sheet, stop: int, what: str, stored: memoryview, says: memoryview) -> None:
    index = first_difference(stored, says)
    if index < stop:
        raise _differ(sheet.first + index, sheet.kinds[index], what)


def _differ(offset: int, kind: int, what: str = "columns") -> Corrupt:
    return Corrupt(
        "auditing", problem=f"the {what} of a block do not repeat what a frame says",
        offset=offset, kind=KIND_NAMES.get(kind, kind),
    )  # fmt: skip
