"""A frame is the bytes of one event: a fixed header, the body, and metadata if there is any.

    offset  size  field
         0     4  CRC32 of everything after it
         4     4  size of the frame in bytes, a multiple of 8
         8     2  kind
        10     1  version of the kind
        11     1  codec of the body after its fixed part
        12     1  flags: bits 0-1 severity, bits 2-4 zero bytes of padding at the end
        13     1  space of the entity
        14     2  size of the metadata in bytes
        16     8  offset in the log
        24     8  recorded time (ns since 1970 UTC)
        32     8  valid-from time (ns, i64; 0 = since recorded)
        40     8  entity id
        48     8  previous offset of the same entity, all ones = none
        56        fixed part (128 bytes in `instrument.*`, 64 in `sample.*`, else none), body,
                  metadata, padding

Padding keeps every frame, and so every 64-bit field in a block, 8-aligned. The fixed part is
never compressed: an instrument message can be read in place. Frames come from disk, so decoding
raises and never asserts, and looks at lengths before it allocates.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec

from .bodies import (
    BODY_TYPES,
    AnyBody,
    InstrumentBody,
    ListingBody,
    Metadata,
    RelationBody,
    SampleBody,
)
from .codec import COMPRESS_FROM_BYTES, Codec, pack, unpack
from .errors import Corrupt, NotDecodable, TooLarge
from .kinds import INSTRUMENT_KINDS, KIND_NAMES, SAMPLE_KINDS, SEVERITIES, SPACE_NAMES
from .message import MESSAGE_SIZE_BYTES
from .sample import SAMPLE_SIZE_BYTES, SampleRecord
from .upcast import VERSIONS, check_version, upcast

FRAME_HEADER: Final = struct.Struct("<IIHBBBBHQQqQQ")
FRAME_HEADER_SIZE_BYTES: Final = 56
if FRAME_HEADER.size != FRAME_HEADER_SIZE_BYTES:
    raise ImportError(f"frame header is {FRAME_HEADER.size} bytes, FORMAT.md says 56")
FRAME_SIZE_BYTES_MAX: Final = 1 << 20
METADATA_SIZE_BYTES_MAX: Final = 0xFFFF
NO_PREVIOUS: Final = (1 << 64) - 1

_HEADER_AFTER_CRC: Final = struct.Struct("<IHBBBBHQQqQQ")
_CRC: Final = struct.Struct("<I")
_PADDING: Final = tuple(map(bytes, range(8)))
_UNPACKED: Final = Codec.NONE
"""By a name of its own: looking up a member of an enum costs as much as packing a header."""
_MAP_16: Final = 0xDE
_MAP_SMALL: Final = 0x80
"""Heads of MessagePack maps: a u16 count follows, or it stands in the low four bits."""
_encode_map = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_metadata = msgspec.msgpack.Decoder(Metadata).decode
_decode_raw = msgspec.msgpack.Decoder(dict[str, object]).decode
_NO_METADATA: Final = Metadata()
_FIXED_BODIES: Final = (InstrumentBody, SampleBody)
FIXED_SIZES_BYTES: Final[dict[int, int]] = {
    **dict.fromkeys(map(int, INSTRUMENT_KINDS), MESSAGE_SIZE_BYTES),
    **dict.fromkeys(SAMPLE_KINDS, SAMPLE_SIZE_BYTES),
}
"""How long the fixed part is, of the kinds that have one."""
_WithFixed: TypeAlias = Callable[[bytes, Any], Any]
_WITH_FIXED: Final[dict[int, _WithFixed]] = {
    **dict.fromkeys(map(int, INSTRUMENT_KINDS), InstrumentBody),
    **dict.fromkeys(SAMPLE_KINDS, SampleBody),
}
if _WITH_FIXED.keys() != FIXED_SIZES_BYTES.keys():
    raise ImportError("a kind with a fixed part needs a body that has one")
_PLANS: Final[dict[int, tuple[int, Callable[[bytes], Any], _WithFixed | None]]] = {
    kind: (
        FIXED_SIZES_BYTES.get(kind, 0), msgspec.msgpack.Decoder(body_type).decode,
        _WITH_FIXED.get(kind),
    )
    for kind, body_type in BODY_TYPES.items()
}  # fmt: skip
"""By kind: the size of the fixed part, the decoder of the rest, and what puts both together."""


def encode_body(body: AnyBody) -> tuple[bytes, bytes]:
    """The fixed part (empty but for instruments and samples) and the MessagePack map."""
    if isinstance(body, _FIXED_BODIES):
        return body.message, _encode_map(body.extension)
    rest = _encode_map(body)
    if isinstance(body, RelationBody) and rest[0] == _MAP_16 and rest[2] < 16 and not rest[1]:
        # A class of over 15 fields gets the wide head, however few it says. This one had 13 when
        # its first frames were written, and the same facts keep the same bytes.
        rest = bytes((_MAP_SMALL | rest[2],)) + rest[3:]
    return b"", rest


def encode_metadata(metadata: Metadata | None) -> bytes:
    """Empty bytes for no metadata. The same object for many events is worth encoding once."""
    if metadata is None or metadata == _NO_METADATA:
        return b""
    data = _encode_map(metadata)
    if len(data) > METADATA_SIZE_BYTES_MAX:
        raise TooLarge(
            "encoding metadata", size_bytes=len(data), size_bytes_max=METADATA_SIZE_BYTES_MAX
        )
    return data


def encode_frame(
    kind: int, space: int, offset: int, recorded: int, valid_from: int, entity: int,
    previous: int, fixed: bytes, rest: bytes, metadata: bytes = b"", codec: Codec = Codec.ZSTD,
) -> bytes:  # fmt: skip
    """One frame. `codec` is tried on `rest` when that is long enough to gain from it.

    Cost: 0.6 µs, a sixth more when its parts are named.
    """
    used = _UNPACKED
    if len(rest) >= COMPRESS_FROM_BYTES:
        rest, used = pack(rest, codec)
    metadata_size = len(metadata)
    unpadded = FRAME_HEADER_SIZE_BYTES + len(fixed) + len(rest) + metadata_size
    padding = -unpadded & 7
    size = unpadded + padding
    if size > FRAME_SIZE_BYTES_MAX:
        raise TooLarge("encoding an event", size_bytes=size, size_bytes_max=FRAME_SIZE_BYTES_MAX)
    flags = SEVERITIES[kind] | padding << 2
    after = b"".join((
        _HEADER_AFTER_CRC.pack(
            size, kind, VERSIONS[kind], used, flags, space, metadata_size, offset, recorded,
            valid_from, entity, previous,
        ),
        fixed, rest, metadata, _PADDING[padding],
    ))  # fmt: skip
    return _CRC.pack(crc32(after)) + after


def decode_metadata(data: bytes) -> Metadata:
    """What `encode_metadata` wrote; raises NotDecodable."""
    if not data:
        return _NO_METADATA
    try:
        return _decode_metadata(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotDecodable("reading metadata", problem=str(error)) from error


class Event:
    """One decoded event; body and metadata are decoded when first asked for.

    It points into a copy of its block, so it stays valid for as long as it is held (and holds
    that copy, up to 1 MiB). Cost: 0.8 µs to make, CRC included.
    """

    __slots__ = (
        "_body", "_buffer", "_flags", "_metadata", "_previous", "_start", "codec", "entity", "kind",
        "metadata_size", "offset", "recorded", "size", "space", "valid_from", "version",
    )  # fmt: skip
    _flags: int
    _previous: int
    _body: AnyBody | None
    _metadata: Metadata | None

    def __init__(self, buffer: bytes, start: int = 0, *, verify: bool = True) -> None:
        """Reads the frame at `start`; raises Corrupt or NotDecodable with what is wrong."""
        if len(buffer) - start < FRAME_HEADER_SIZE_BYTES:
            raise NotDecodable("reading a frame", problem="it is cut short", at_byte=start)
        (
            crc, self.size, self.kind, self.version, self.codec, self._flags, self.space,
            self.metadata_size, self.offset, self.recorded, self.valid_from, self.entity,
            self._previous,
        ) = FRAME_HEADER.unpack_from(buffer, start)  # fmt: skip
        end = start + self.size
        if self.size < FRAME_HEADER_SIZE_BYTES or self.size & 7 or end > len(buffer):
            raise NotDecodable(
                "reading a frame", problem="its size is impossible", size_bytes=self.size,
                at_byte=start, available_bytes=len(buffer) - start,
            )  # fmt: skip
        if verify and crc32(buffer[start + 4 : end]) != crc:
            raise Corrupt(
                "reading a frame", problem="its CRC32 does not match its bytes",
                offset=self.offset, size_bytes=self.size, kind=KIND_NAMES.get(self.kind, self.kind),
            )  # fmt: skip
        self._buffer = buffer
        self._start = start
        self._body = self._metadata = None

    @property
    def severity(self) -> int:
        return self._flags & 3

    @property
    def padding(self) -> int:
        return self._flags >> 2 & 7

    @property
    def previous(self) -> int | None:
        """Offset of the previous event of the same entity."""
        return None if self._previous == NO_PREVIOUS else self._previous

    @property
    def frame(self) -> bytes:
        """A copy of the bytes as they stand in the log."""
        return self._buffer[self._start : self._start + self.size]

    @property
    def kind_name(self) -> str:
        return KIND_NAMES.get(self.kind, str(self.kind))

    @property
    def space_name(self) -> str:
        return SPACE_NAMES.get(self.space, str(self.space))

    @property
    def metadata(self) -> Metadata:
        if self._metadata is None:
            end = self._start + self.size - self.padding
            start = end - self.metadata_size
            if start < self._start + FRAME_HEADER_SIZE_BYTES:
                raise NotDecodable(
                    "reading metadata", problem="it is longer than its frame",
                    offset=self.offset, kind=self.kind_name,
                )  # fmt: skip
            self._metadata = decode_metadata(self._buffer[start:end])
        return self._metadata

    @property
    def source(self) -> str:
        return self.metadata.source

    @property
    def body(self) -> AnyBody:
        body = self._body
        if body is not None:
            return body
        kind = self.kind
        if self.codec or VERSIONS.get(kind) != self.version:
            body = self._body = self._decode_unusual()
            return body
        buffer, start = self._buffer, self._start
        end = start + self.size - (self._flags >> 2 & 7) - self.metadata_size
        start += FRAME_HEADER_SIZE_BYTES
        fixed_size, decode, with_fixed = _PLANS[kind]
        fixed_end = start + fixed_size
        if fixed_end > end:
            raise self._too_short()
        try:
            decoded = decode(buffer[fixed_end:end])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error
        if with_fixed is not None:
            decoded = with_fixed(buffer[start:fixed_end], decoded)
        self._body = decoded
        return decoded  # type: ignore[no-any-return]  # what the decoder of this kind makes

    @property
    def instrument_body(self) -> InstrumentBody:
        """The body of an `instrument.*` event."""
        body = self.body
        if not isinstance(body, InstrumentBody):
            raise TypeError(f"{self.kind_name} has no instrument message")
        return body

    @property
    def sample(self) -> SampleRecord:
        """Reads the 64 bytes of a `sample.*` event in place; valid as long as it is held."""
        if self.size < FRAME_HEADER_SIZE_BYTES + SAMPLE_SIZE_BYTES:
            raise self._too_short()
        return SampleRecord(self._buffer, self._start + FRAME_HEADER_SIZE_BYTES)

    @property
    def message(self) -> bytes:
        """A copy of the 128 bytes of an `instrument.*` event, whose body need not be decoded."""
        start = self._start + FRAME_HEADER_SIZE_BYTES
        if self.size < FRAME_HEADER_SIZE_BYTES + MESSAGE_SIZE_BYTES:
            raise self._too_short()
        return self._buffer[start : start + MESSAGE_SIZE_BYTES]

    def unpack_message(self, fields: struct.Struct) -> tuple[Any, ...]:
        """The same, read in place by a struct of its size."""
        if self.size < FRAME_HEADER_SIZE_BYTES + MESSAGE_SIZE_BYTES:
            raise self._too_short()
        return fields.unpack_from(self._buffer, self._start + FRAME_HEADER_SIZE_BYTES)

    def message_view(self) -> memoryview:
        """The 128 bytes of an `instrument.*` event, in place."""
        start = self._start + FRAME_HEADER_SIZE_BYTES
        return memoryview(self._buffer)[start : start + MESSAGE_SIZE_BYTES]

    def body_bytes(self) -> tuple[bytes, bytes]:
        """The fixed part, and the rest unpacked."""
        start = self._start + FRAME_HEADER_SIZE_BYTES
        end = self._start + self.size - self.padding - self.metadata_size
        fixed_end = start + FIXED_SIZES_BYTES.get(self.kind, 0)
        if fixed_end > end:
            raise self._too_short()
        return self._buffer[start:fixed_end], unpack(self._buffer[fixed_end:end], self.codec)

    def _decode_unusual(self) -> AnyBody:
        """A body that was packed, or is of an older version."""
        check_version(self.kind, self.version)
        fixed, rest = self.body_bytes()
        try:
            _, decode, with_fixed = _PLANS[self.kind]
            if VERSIONS[self.kind] == self.version:
                decoded = decode(rest)
            else:
                raw = upcast(self.kind, self.version, _decode_raw(rest))
                decoded = msgspec.convert(raw, BODY_TYPES[self.kind])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error
        body: AnyBody = decoded if with_fixed is None else with_fixed(fixed, decoded)
        return body

    def _unreadable(self, error: Exception) -> NotDecodable:
        return NotDecodable(
            "reading an event", problem=str(error), offset=self.offset, kind=self.kind_name
        )

    def _too_short(self) -> NotDecodable:
        return NotDecodable(
            "reading an event", problem="its parts are longer than its frame", offset=self.offset,
            kind=self.kind_name,
        )  # fmt: skip

    @property
    def is_instrument(self) -> bool:
        return self.kind in INSTRUMENT_KINDS

    @property
    def is_listing(self) -> bool:
        return BODY_TYPES.get(self.kind) is ListingBody

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.frame == other.frame

    def __hash__(self) -> int:
        return hash((self.offset, self.entity))

    def __repr__(self) -> str:
        return f"<{self.offset} {self.kind_name} {self.space_name} 0x{self.entity:016x}>"


def events_of(
    buffer: bytes, places: Iterable[tuple[int, int, int]], again: Callable[[int], Event],
    *, verify: bool = True,
) -> Iterator[Event]:  # fmt: skip
    """The events at these places: offset, start and end, within the buffer and a header long.

    Does what `Event(buffer, start, verify=verify)` does, and holds the frame against its offset and
    its size. again: reads the one with this offset, where anything is wrong, and says what by
    raising. Cost: 1 µs an event, half of it for the CRC.
    """
    new, unpack, crc_of = Event.__new__, FRAME_HEADER.unpack_from, crc32
    for offset, start, end in places:
        event = new(Event)
        (
            crc, event.size, event.kind, event.version, event.codec, event._flags, event.space,
            event.metadata_size, event.offset, event.recorded, event.valid_from, event.entity,
            event._previous,
        ) = unpack(buffer, start)  # fmt: skip
        if (
            event.size != end - start
            or event.offset != offset
            or (verify and crc_of(buffer[start + 4 : end]) != crc)
        ):
            event = again(offset)
        else:
            event._buffer = buffer
            event._start = start
            event._body = event._metadata = None
        yield event
