"""Compression of what follows the fixed part of a body: none, LZ4, Snappy, Zstd.

A packed part is a u32 with its unpacked size, then the codec's own bytes. The declared size is
read first and anything over `UNPACKED_SIZE_BYTES_MAX` is refused before a byte is allocated: a
bomb of a few kilobytes would otherwise cost half a gigabyte. Codecs that are asked for but make
the part larger are replaced by `Codec.NONE`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import cramjam

from .errors import NotDecodable, TooLarge

UNPACKED_SIZE_BYTES_MAX: Final = 1 << 20
COMPRESS_FROM_BYTES: Final = 512
"""Shorter parts are stored as they are: they do not shrink enough to pay for the call."""
_SIZE: Final = struct.Struct("<I")


class Codec(IntEnum):
    NONE = 0
    LZ4 = 1
    SNAPPY = 2
    ZSTD = 3


def zstd_unpack(data: bytes, size: int) -> bytes:
    """Exactly `size` bytes, which the frame must declare too. Raises NotDecodable."""
    import zstandard  # here, for a quicker start: few logs have such parts

    doing = "unpacking a zstd part"
    try:
        declared = zstandard.frame_content_size(data)
        if declared != size:
            raise NotDecodable(doing, declared_bytes=declared, expected_bytes=size)
        return zstandard.ZstdDecompressor().decompress(
            data, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise NotDecodable(doing, problem=str(error)) from error


_PACK: Final[dict[Codec, Callable[[bytes], bytes]]] = {
    Codec.LZ4: lambda data: bytes(cramjam.lz4.compress_block(data, store_size=False)),
    Codec.SNAPPY: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    Codec.ZSTD: lambda data: _zstd_pack(data),
}
_UNPACK: Final[dict[Codec, Callable[[bytes, int], bytes]]] = {
    Codec.LZ4: lambda data, size: _lz4_unpack(data, size),
    Codec.SNAPPY: lambda data, size: _snappy_unpack(data, size),
    Codec.ZSTD: zstd_unpack,
}
if _PACK.keys() != _UNPACK.keys() or _PACK.keys() | {Codec.NONE} != set(Codec):
    raise ImportError("the codec tables are not total")


def _zstd_pack(data: bytes) -> bytes:
    import zstandard  # here, for a quicker start

    return zstandard.ZstdCompressor(level=3).compress(data)


def _lz4_unpack(data: bytes, size: int) -> bytes:
    """Into a buffer of ours: `decompress_block` hides a short result behind zeros."""
    unpacked = bytearray(size)
    written: int = cramjam.lz4.decompress_block_into(data, unpacked)
    return bytes(unpacked[:written])


def _snappy_unpack(data: bytes, size: int) -> bytes:
    declared = cramjam.snappy.decompress_raw_len(data)
    if declared != size:
        raise NotDecodable("unpacking a snappy part", declared_bytes=declared, expected_bytes=size)
    return bytes(cramjam.snappy.decompress_raw(data))


def pack(data: bytes, codec: Codec) -> tuple[bytes, Codec]:
    """The bytes to store and the codec that was really used."""
    if len(data) > UNPACKED_SIZE_BYTES_MAX:
        raise TooLarge(
            "packing a part", size_bytes=len(data), size_bytes_max=UNPACKED_SIZE_BYTES_MAX
        )
    if codec is Codec.NONE or len(data) < COMPRESS_FROM_BYTES:
        return data, Codec.NONE
    packed = _SIZE.pack(len(data)) + _PACK[codec](data)
    return (packed, codec) if len(packed) < len(data) else (data, Codec.NONE)


def unpack(data: bytes, codec: int) -> bytes:
    """The part as it was before `pack`. Raises NotDecodable, never allocates more than the cap."""
    if codec == Codec.NONE:
        return data
    try:
        known = Codec(codec)
    except ValueError as error:
        raise NotDecodable("unpacking a part", codec=codec, known="0 to 3") from error
    if len(data) < _SIZE.size:
        raise NotDecodable("unpacking a part", problem="it is cut short", size_bytes=len(data))
    size: int = _SIZE.unpack_from(data)[0]
    if size > UNPACKED_SIZE_BYTES_MAX:
        raise TooLarge("unpacking a part", declared_bytes=size, cap_bytes=UNPACKED_SIZE_BYTES_MAX)
    try:
        unpacked = _UNPACK[known](data[_SIZE.size :], size)
    except (cramjam.DecompressionError, ValueError) as error:
        if isinstance(error, NotDecodable):
            raise
        raise NotDecodable("unpacking a part", codec=known.name, problem=str(error)) from error
    if len(unpacked) != size:
        raise NotDecodable("unpacking a part", unpacked_bytes=len(unpacked), declared_bytes=size)
    return unpacked
