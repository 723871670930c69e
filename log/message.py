"""The 128-byte instrument message: layout, encoding, and a flyweight that reads it in place.

    offset  size  field
         0     1  type = 1                     64  8  expiry (ns) or numeric chain id (i64)
         1     1  version = 1                  72  8  strike or multiplier, mantissa (i64)
         2     1  asset class                  80  1  lot exponent (i8)
         3     1  status                       81  1  strike or multiplier exponent (i8)
         4     2  flags                        82  1  symbol size in bytes, as stored here
         6     1  decimals, 255 = unset        83  1  zero
         7     1  tick exponent (i8)           84  4  revision, from 1
         8     8  id                           88  4  venue: a MIC in ASCII, else zero
        16    16  fingerprint                  92  4  currency: ISO 4217 letters, else zero
        32     8  parent or underlying id      96 12  ISIN, else zero
        40     8  valid-from (ns, 0 = since   108 16  symbol, UTF-8, zero padded
                  recorded; i64)              124  4  CRC32 of bytes 0 to 123
        48     8  tick mantissa (i64)
        56     8  lot mantissa (i64)

Little-endian. The CRC comes last, so the CRC of a whole good message is the constant
`MESSAGE_RESIDUE`: verifying is one call. Mantissas use the smallest i64 for "unset". A symbol of
more than 16 bytes is cut at a character and stands whole in the extension (flag SYMBOL_LONG), so
these bytes are the hot record and never the only truth.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

from .errors import Corrupt, NotDecodable, TooLarge
from .flyweight import Flyweight
from .kinds import AssetClass, Status
from .numbers import MANTISSA_UNSET, Number

MESSAGE_SIZE_BYTES: Final = 128
MESSAGE_TYPE_INSTRUMENT: Final = 1
MESSAGE_VERSION: Final = 1
MESSAGE_RESIDUE: Final = 0x2144DF1C
SYMBOL_SIZE_BYTES_MAX: Final = 16
DECIMALS_UNSET: Final = 255

FLAG_SYMBOL_LONG: Final = 1
FLAG_CHAIN_ID: Final = 2
"""The field at 64 is a numeric chain id; without it, it is an expiry."""
FLAG_STRIKE: Final = 4
"""The field at 72 is a strike; without it, it is a multiplier."""
FLAGS_KNOWN: Final = FLAG_SYMBOL_LONG | FLAG_CHAIN_ID | FLAG_STRIKE

BODY: Final = struct.Struct("<HBBHBbQ16sQqqqqqbbBxI4s4s12s16s")
"""Type and version are one number here: an argument less to pack."""
CRC: Final = struct.Struct("<I")
if BODY.size + CRC.size != MESSAGE_SIZE_BYTES:
    raise ImportError(f"instrument message is {BODY.size + CRC.size} bytes, FORMAT.md says 128")

_pack: Final = BODY.pack
_pack_crc: Final = CRC.pack
_TYPE_AND_VERSION: Final = MESSAGE_TYPE_INSTRUMENT | MESSAGE_VERSION << 8


class InstrumentFields(NamedTuple):
    """Every field of the message, in wire order; `encode_message(*fields)` takes them as they are.

    Numbers come as mantissa and exponent, text as padded bytes: this is the hot form. Use
    `registry.Token` and its siblings to make instruments from people's values.
    """

    asset_class: int
    status: int = Status.ACTIVE
    flags: int = 0
    decimals: int = DECIMALS_UNSET
    tick_exponent: int = 0
    id: int = 0
    fingerprint: bytes = bytes(16)
    parent: int = 0
    valid_from: int = 0
    tick_mantissa: int = MANTISSA_UNSET
    lot_mantissa: int = MANTISSA_UNSET
    expiry_or_chain: int = 0
    strike_or_multiplier_mantissa: int = MANTISSA_UNSET
    lot_exponent: int = 0
    strike_or_multiplier_exponent: int = 0
    symbol_size: int = 0
    revision: int = 1
    venue: bytes = bytes(4)
    currency: bytes = bytes(4)
    isin: bytes = bytes(12)
    symbol: bytes = bytes(16)


def encode_message(
    asset_class: int, status: int, flags: int, decimals: int, tick_exponent: int, id: int,
    fingerprint: bytes, parent: int, valid_from: int, tick_mantissa: int, lot_mantissa: int,
    expiry_or_chain: int, strike_or_multiplier_mantissa: int, lot_exponent: int,
    strike_or_multiplier_exponent: int, symbol_size: int, revision: int, venue: bytes,
    currency: bytes, isin: bytes, symbol: bytes,
) -> bytes:  # fmt: skip
    """128 bytes from values in wire order. Values that do not fit raise `struct.error`."""
    body = _pack(
        _TYPE_AND_VERSION, asset_class, status, flags, decimals, tick_exponent, id, fingerprint,
        parent, valid_from, tick_mantissa, lot_mantissa, expiry_or_chain,
        strike_or_multiplier_mantissa, lot_exponent, strike_or_multiplier_exponent, symbol_size,
        revision, venue, currency, isin, symbol,
    )  # fmt: skip
    return body + _pack_crc(crc32(body))


# Verifying is written three times below, since a call between would cost a tenth.


def decode_message(data: bytes | memoryview) -> InstrumentFields:
    """All fields of one message; raises what `verify_message` raises."""
    try:
        head, flags, symbol_size = _unpack_checked(data)
        if (
            crc32(data) == MESSAGE_RESIDUE and head in _HEADS
            and flags <= FLAGS_KNOWN and symbol_size <= SYMBOL_SIZE_BYTES_MAX
        ):  # fmt: skip
            return _as_fields(InstrumentFields, _unpack_fields(data))
    except struct.error as error:
        raise _refusal(data) from error
    raise _refusal(data)


def verify_message(data: bytes | memoryview) -> None:
    """Raises NotDecodable for a wrong size, type, version or vocabulary, Corrupt for a bad CRC."""
    try:
        head, flags, symbol_size = _unpack_checked(data)
    except struct.error as error:
        raise _refusal(data) from error
    if (
        crc32(data) != MESSAGE_RESIDUE or head not in _HEADS
        or flags > FLAGS_KNOWN or symbol_size > SYMBOL_SIZE_BYTES_MAX
    ):  # fmt: skip
        raise _refusal(data)


class MessageSummary(NamedTuple):
    """Who a message is about, and at which step of its life."""

    asset_class: int
    status: int
    id: int
    fingerprint: bytes
    revision: int


def summary_of(data: bytes | memoryview) -> MessageSummary:
    """Of one message; raises what `verify_message` raises."""
    try:
        head, flags, id, fingerprint, symbol_size, revision = _unpack_summary(data)
    except struct.error as error:
        raise _refusal(data) from error
    if (
        crc32(data) != MESSAGE_RESIDUE or head not in _HEADS
        or flags > FLAGS_KNOWN or symbol_size > SYMBOL_SIZE_BYTES_MAX
    ):  # fmt: skip
        raise _refusal(data)
    return _as_summary(
        MessageSummary, (head >> 16 & 0xFF, head >> 24, id, fingerprint, revision)
    )


def _refusal(data: bytes | memoryview) -> Corrupt | NotDecodable:
    """What is wrong with a message that did not pass."""
    doing = "reading an instrument message"
    if len(data) != MESSAGE_SIZE_BYTES:
        return NotDecodable(doing, size_bytes=len(data), expected=MESSAGE_SIZE_BYTES)
    if crc32(data) != MESSAGE_RESIDUE:
        return Corrupt(doing, problem="its CRC32 does not match its bytes")
    if data[0] != MESSAGE_TYPE_INSTRUMENT or data[1] != MESSAGE_VERSION:
        return NotDecodable(doing, type=data[0], version=data[1], known="1 and 1")
    if _unpack_checked(data)[0] not in _HEADS:
        return NotDecodable(doing, asset_class=data[2], status=data[3])
    return NotDecodable(doing, problem="a reserved bit is set or a size is too large")


_as_fields: Final = tuple.__new__
"""Of a NamedTuple, without the check of the length that `_make` repeats."""
_as_summary: Final = tuple.__new__
_unpack_fields: Final = struct.Struct("<2xBBHBbQ16sQqqqqqbbBxI4s4s12s16s4x").unpack
_unpack_checked: Final = struct.Struct("<IH76xH44x").unpack
"""The first four bytes, the flags, and the symbol's size with the zero byte after it."""
_unpack_summary: Final = struct.Struct("<IH2xQ16s50xHI40x").unpack
"""The same, and id, fingerprint and revision between and behind."""
_HEADS: Final = frozenset(
    _TYPE_AND_VERSION | asset_class << 16 | status << 24
    for asset_class in AssetClass for status in Status
)  # fmt: skip
"""Every first four bytes that a message may have."""
if FLAGS_KNOWN & (FLAGS_KNOWN + 1):
    raise ImportError("the known flags must be the lowest bits")


def pack_symbol(symbol: str) -> tuple[bytes, int]:
    """The 16-byte field (zero padding left to the packer) and the flag to set: 0 or SYMBOL_LONG.

    Cost: one UTF-8 encoding. A symbol that does not fit is cut at a whole character.
    """
    raw = symbol.encode()
    if len(raw) <= SYMBOL_SIZE_BYTES_MAX:
        return raw, 0
    cut = raw[:SYMBOL_SIZE_BYTES_MAX].decode(errors="ignore").encode()
    return cut, FLAG_SYMBOL_LONG


def pack_currency(code: str) -> bytes:
    raw = code.encode("ascii")
    if len(raw) > 4:
        raise TooLarge("encoding a currency code", value=code)
    return raw


_U32: Final = struct.Struct("<I").unpack_from
_U64: Final = struct.Struct("<Q").unpack_from
_I64: Final = struct.Struct("<q").unpack_from
_I8: Final = struct.Struct("<b").unpack_from


_ENDS: Final = frozenset({Status.PENDING, Status.ACTIVE, Status.HALTED})
"""Statuses that an expiry ends; the others are ends already."""


class InstrumentRecord(Flyweight):
    """Reads a message in place; what it points into and for how long, `Flyweight` says.

    A record never changes: after an amendment, `get` again.
    """

    @property
    def message(self) -> bytes:
        """A copy of the 128 bytes, as they can be sent or stored."""
        return bytes(self._buffer[self._at : self._at + MESSAGE_SIZE_BYTES])

    @property
    def asset_class(self) -> AssetClass:
        return AssetClass(self._buffer[self._at + 2])

    @property
    def status(self) -> Status:
        """As it was last said; of a record that was asked for by a valid time, as it was then. An
        expiry comes without a word: `status_at` tells it."""
        return Status(self._buffer[self._at + 3])

    @property
    def flags(self) -> int:
        return self._buffer[self._at + 4] | self._buffer[self._at + 5] << 8

    @property
    def decimals(self) -> int | None:
        value = self._buffer[self._at + 6]
        return None if value == DECIMALS_UNSET else value

    @property
    def id(self) -> int:
        return _U64(self._buffer, self._at + 8)[0]  # type: ignore[no-any-return]  # struct

    @property
    def fingerprint(self) -> bytes:
        return bytes(self._buffer[self._at + 16 : self._at + 32])

    @property
    def parent(self) -> int:
        """Id of the parent or underlying instrument, 0 = none."""
        return _U64(self._buffer, self._at + 32)[0]  # type: ignore[no-any-return]  # struct

    @property
    def valid_from(self) -> int:
        """ns since 1970 UTC; 0 = since it was recorded."""
        return _I64(self._buffer, self._at + 40)[0]  # type: ignore[no-any-return]  # struct

    @property
    def tick(self) -> Number | None:
        return self._number(48, 7)

    @property
    def lot(self) -> Number | None:
        return self._number(56, 80)

    @property
    def expiry(self) -> int | None:
        """ns since 1970 UTC."""
        return None if self.flags & FLAG_CHAIN_ID else self._i64(64) or None

    @property
    def chain_number(self) -> int | None:
        """The numeric chain id of an `eip155` chain; other chains stand in the extension."""
        return self._i64(64) if self.flags & FLAG_CHAIN_ID else None

    @property
    def strike(self) -> Number | None:
        return self._number(72, 81) if self.flags & FLAG_STRIKE else None

    @property
    def multiplier(self) -> Number | None:
        """An option's stands in the extension, since its strike stands here."""
        return None if self.flags & FLAG_STRIKE else self._number(72, 81)

    @property
    def revision(self) -> int:
        return _U32(self._buffer, self._at + 84)[0]  # type: ignore[no-any-return]  # struct

    @property
    def venue(self) -> str:
        """The MIC, or empty."""
        return self._text(88, 4)

    @property
    def currency(self) -> str:
        return self._text(92, 4)

    @property
    def isin(self) -> str:
        return self._text(96, 12)

    @property
    def symbol(self) -> str:
        """At most 16 bytes of it; whole unless `symbol_is_cut`."""
        return str(self._buffer[(at := self._at + 108) : at + self._buffer[at - 26]], "utf-8")

    @property
    def symbol_is_cut(self) -> bool:
        return bool(self._buffer[self._at + 4] & FLAG_SYMBOL_LONG)

    def status_at(self, time_ns: int) -> Status:
        """The status, or EXPIRED from the expiry on, without anybody having written that."""
        status, expiry = self.status, self.expiry
        return Status.EXPIRED if expiry and time_ns >= expiry and status in _ENDS else status

    def verify(self) -> None:
        verify_message(self.message)

    def _number(self, mantissa_at: int, exponent_at: int) -> Number | None:
        mantissa = self._i64(mantissa_at)
        if mantissa == MANTISSA_UNSET:
            return None
        return Number(mantissa, _I8(self._buffer, self._at + exponent_at)[0])

    def _i64(self, at: int) -> int:
        return _I64(self._buffer, self._at + at)[0]  # type: ignore[no-any-return]  # struct

    def _text(self, at: int, size: int) -> str:
        start = self._at + at
        return bytes(self._buffer[start : start + size]).rstrip(b"\0").decode("ascii")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InstrumentRecord) and self.message == other.message

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return (
            f"<{self.asset_class.name.lower()} 0x{self.id:016x} {self.symbol!r} "
            f"revision {self.revision}>"
        )
