"""The 64-byte sample: one measurement of how a venue behaves, and a flyweight that reads it.

    offset  size  field
         0     1  type = 2
         1     1  version = 1
         2     1  measure: 1 ack, 2 reject, 3 fill, 4 outage, 5 spread, 6 depth
         3     1  exponent of the value (i8)
         4     4  band (bps): what a depth is within, around the mid price; else zero
         8     8  time (ns since 1970 UTC): when the measurement was complete
        16    16  fingerprint of the venue
        32     8  id of the listing; 0 = about the venue as a whole
        40     8  value, mantissa (i64)
        48     8  currency of a depth, ASCII, zero padded; else zero
        56     4  zero
        60     4  CRC32 of bytes 0 to 59

Little-endian. What the value is: of ack, reject and fill a latency in ns, of an outage how long it
lasted up to `time` in ns, of a spread bps, of a depth an amount of the currency. Latencies of
rejects may be unset (the smallest i64). As with instruments the CRC of a good message is the
constant `MESSAGE_RESIDUE`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

from .errors import Corrupt, NotDecodable
from .flyweight import Flyweight
from .kinds import Measure
from .message import MESSAGE_RESIDUE
from .numbers import MANTISSA_UNSET, Number

SAMPLE_SIZE_BYTES: Final = 64
MESSAGE_TYPE_SAMPLE: Final = 2
SAMPLE_VERSION: Final = 1
CURRENCY_SIZE_BYTES_MAX: Final = 8
SAMPLE: Final = struct.Struct("<HBbIq16sQq8s4x")
"""Type and version are one number here, as in the instrument message."""
_CRC: Final = struct.Struct("<I")
if SAMPLE.size + _CRC.size != SAMPLE_SIZE_BYTES:
    raise ImportError(f"a sample is {SAMPLE.size + _CRC.size} bytes, FORMAT.md says 64")
_HEAD: Final = MESSAGE_TYPE_SAMPLE | SAMPLE_VERSION << 8
_MEASURES: Final = frozenset(map(int, Measure))


class SampleFields(NamedTuple):
    """Every field in wire order; `encode_sample(*fields)` takes them as they are."""

    measure: int
    exponent: int
    band_bps: int
    time: int
    fingerprint: bytes
    listing: int
    mantissa: int
    currency: bytes = bytes(CURRENCY_SIZE_BYTES_MAX)


def encode_sample(
    measure: int, exponent: int, band_bps: int, time: int, fingerprint: bytes, listing: int,
    mantissa: int, currency: bytes = bytes(CURRENCY_SIZE_BYTES_MAX),
) -> bytes:  # fmt: skip
    """64 bytes from values in wire order. Values that do not fit raise `struct.error`."""
    body = SAMPLE.pack(
        _HEAD, measure, exponent, band_bps, time, fingerprint, listing, mantissa, currency
    )
    return body + _CRC.pack(crc32(body))


def decode_sample(data: bytes | memoryview) -> SampleFields:
    """All fields of one sample. Raises NotDecodable, Corrupt. Cost: 3 µs."""
    if len(data) != SAMPLE_SIZE_BYTES:
        raise NotDecodable("reading a sample", problem="it is not 64 bytes", size_bytes=len(data))
    if crc32(data) != MESSAGE_RESIDUE:
        raise Corrupt("reading a sample", problem="its CRC32 does not match its bytes")
    head, *fields = SAMPLE.unpack_from(data)
    if head != _HEAD or fields[0] not in _MEASURES:
        raise NotDecodable(
            "reading a sample", problem="its type, version or measure is not known",
            type=head & 0xFF, version=head >> 8, measure=fields[0],
        )  # fmt: skip
    return SampleFields(*fields)


_U32: Final = struct.Struct("<I").unpack_from
_I64: Final = struct.Struct("<q").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_I8: Final = struct.Struct("<b").unpack_from


class SampleRecord(Flyweight):
    """Reads a sample in place; what it points into and for how long, `Flyweight` says.

    Nothing is checked: `decode_sample` does that, when bytes come from somewhere else.
    """

    @property
    def measure(self) -> Measure:
        return Measure(self._buffer[self._at + 2])

    @property
    def band_bps(self) -> int:
        return _U32(self._buffer, self._at + 4)[0]  # type: ignore[no-any-return]  # struct

    @property
    def time(self) -> int:
        """ns since 1970 UTC."""
        return _I64(self._buffer, self._at + 8)[0]  # type: ignore[no-any-return]  # struct

    @property
    def fingerprint(self) -> bytes:
        return bytes(self._buffer[self._at + 16 : self._at + 32])

    @property
    def listing(self) -> int:
        """Its id; 0 = about the venue as a whole."""
        return _U64(self._buffer, self._at + 32)[0]  # type: ignore[no-any-return]  # struct

    @property
    def mantissa(self) -> int:
        return _I64(self._buffer, self._at + 40)[0]  # type: ignore[no-any-return]  # struct

    @property
    def value(self) -> Number | None:
        """None when it is unset: a reject whose latency nobody measured."""
        mantissa = self.mantissa
        if mantissa == MANTISSA_UNSET:
            return None
        return Number(mantissa, _I8(self._buffer, self._at + 3)[0])

    @property
    def currency(self) -> str:
        start = self._at + 48
        end = start + CURRENCY_SIZE_BYTES_MAX
        return bytes(self._buffer[start:end]).rstrip(b"\0").decode("ascii")
