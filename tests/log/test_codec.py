from __future__ import annotations

import subprocess
import sys
import tracemalloc

import cramjam
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.codec import (
    COMPRESS_FROM_BYTES,
    UNPACKED_SIZE_BYTES_MAX,
    Codec,
    pack,
    unpack,
)
from alphapulse.log.errors import NotDecodable, TooLarge

REAL = [Codec.LZ4, Codec.SNAPPY, Codec.ZSTD]
PARTS = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda unit, times: unit * times, st.binary(max_size=9), st.integers(0, 400)),
)


def sized(size: int, data: bytes) -> bytes:
    return size.to_bytes(4, "little") + data


def squeeze(codec: Codec, data: bytes) -> bytes:
    """What the codec itself makes of any data, with no limit of ours."""
    if codec is Codec.LZ4:
        return bytes(cramjam.lz4.compress_block(data, store_size=False))
    if codec is Codec.SNAPPY:
        return bytes(cramjam.snappy.compress_raw(data))
    return zstandard.ZstdCompressor().compress(data)


@given(PARTS, st.sampled_from(Codec))
def test_what_is_packed_is_unpacked(data: bytes, codec: Codec) -> None:
    packed, used = pack(data, codec)
    assert used in (codec, Codec.NONE)
    assert len(packed) <= len(data)
    assert unpack(packed, used) == data


@pytest.mark.parametrize("codec", REAL)
def test_only_long_parts_that_shrink_are_packed(codec: Codec) -> None:
    assert pack(bytes(COMPRESS_FROM_BYTES - 1), codec)[1] is Codec.NONE
    packed, used = pack(bytes(COMPRESS_FROM_BYTES), codec)
    assert used is codec and packed[:4] == COMPRESS_FROM_BYTES.to_bytes(4, "little")
    noise = bytes((i * i * 31 + i // 7 * 101) % 251 for i in range(600))
    noise = zstandard.ZstdCompressor(level=19).compress(noise + noise[::-1])[:600]
    noise = noise + bytes(range(256)) * 2
    assert unpack(*pack(noise, codec)) == noise


@pytest.mark.parametrize("codec", REAL)
def test_the_largest_part_is_packed_and_one_byte_more_is_refused(codec: Codec) -> None:
    data = bytes(UNPACKED_SIZE_BYTES_MAX)
    assert unpack(*pack(data, codec)) == data
    with pytest.raises(TooLarge):
        pack(data + b"\0", codec)
    with pytest.raises(TooLarge):
        pack(data + b"\0", Codec.NONE)


@pytest.mark.parametrize("codec", REAL)
@pytest.mark.parametrize("declared", [8, UNPACKED_SIZE_BYTES_MAX, UNPACKED_SIZE_BYTES_MAX + 1])
def test_a_bomb_is_refused_before_anything_is_allocated(codec: Codec, declared: int) -> None:
    """64 MiB of zeros, whatever size the part declares for itself."""
    bomb = sized(declared, squeeze(codec, bytes(64 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises((TooLarge, NotDecodable)):
            unpack(bomb, codec)
        assert tracemalloc.get_traced_memory()[1] < len(bomb) * 3 + (3 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", REAL)
def test_a_bomb_does_not_grow_the_process(codec: Codec) -> None:
    """Memory of the codecs' own, which Python does not see: the address space is limited."""
    bomb = sized(4096, squeeze(codec, bytes(512 << 20)))
    code = (
        "import sys, resource\n"
        "from alphapulse.log.codec import unpack\n"
        "from alphapulse.log.errors import NotDecodable, TooLarge\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    unpack(sys.stdin.buffer.read(), int(sys.argv[1]))\n"
        "except (NotDecodable, TooLarge):\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(int(codec))], input=bomb, capture_output=True, check=True
    )
    assert int(done.stdout) < 100_000 + 3 * len(bomb) // 1024, "KiB"


@pytest.mark.parametrize("codec", REAL)
def test_a_wrong_declared_size_is_refused(codec: Codec) -> None:
    data = b"abc" * 300
    packed = squeeze(codec, data)
    assert unpack(sized(len(data), packed), codec) == data
    for declared in (0, 1, len(data) - 1, len(data) + 1, 1 << 20, (1 << 20) + 1, (1 << 32) - 1):
        with pytest.raises((NotDecodable, TooLarge)):
            unpack(sized(declared, packed), codec)


@pytest.mark.parametrize("codec", REAL)
def test_an_honest_part_over_the_cap_is_refused(codec: Codec) -> None:
    data = bytes(UNPACKED_SIZE_BYTES_MAX + 1)
    with pytest.raises(TooLarge):
        unpack(sized(len(data), squeeze(codec, data)), codec)


@pytest.mark.parametrize("codec", REAL)
def test_cut_and_lengthened_parts_are_refused(codec: Codec) -> None:
    data = b"some words that come again and again, " * 30
    packed, used = pack(data, codec)
    assert used is codec
    for size in range(len(packed)):
        with pytest.raises(NotDecodable):
            pytest.fail(f"cut to {size}: {len(unpack(packed[:size], codec))}")
    with pytest.raises(NotDecodable):
        unpack(packed + b"more", codec)


@given(st.binary(max_size=300), st.sampled_from(REAL))
def test_rubbish_raises_nothing_but_our_errors(data: bytes, codec: Codec) -> None:
    try:
        unpacked = unpack(data, codec)
    except (NotDecodable, TooLarge):
        return
    assert len(unpacked) == int.from_bytes(data[:4], "little")


def test_zstd_without_a_content_size_is_refused() -> None:
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(600))
    with pytest.raises(NotDecodable):
        unpack(sized(600, packed), Codec.ZSTD)


@pytest.mark.parametrize("codec", [4, 5, 255])
def test_an_unknown_codec_is_refused(codec: int) -> None:
    with pytest.raises(NotDecodable, match=f"codec={codec}"):
        unpack(bytes(20), codec)
