"""The bytes of a table file: sizes, places and the structs that read them. Access is elsewhere.

All integers are little-endian; every word is 8 bytes and 8-aligned; sections are page-aligned.

    file     0 ┌──────────────────────────────┐
               │ header page                  │ 4096 B, below
          4096 ├──────────────────────────────┤
               │ primary index                │ 2^bits slots: u64 key, u64 position
               ├──────────────────────────────┤
               │ secondary index 0 … N-1      │ 2^bits slots: u64 key, u64 posting word
               ├──────────────────────────────┤
               │ posting area                 │ u64 words; word 0 and 1 are never used
               ├──────────────────────────────┤
               │ record arena                 │ records of 192 B, appended, never changed
               └──────────────────────────────┘

    position      byte offset of a record in the file (so never 0); an update swings it. Records
                  stand at multiples of 64; one whose words are not all true yet stands 8 bytes
                  further, so that its position says so (PENDING_BIT) to who reads nothing else
    cell          word number, inside the primary index, of an entity's position: always odd
    posting word  0 none · odd: the only cell · even: word number of a block in the posting area
    block         u64 capacity, u64 count, capacity × u64 cell; 2^k words, so capacity is 2^k - 2

    header     0  static part, 128 B: magic 8 s, layout version u32, schema version u32,
                  schema name 24 s, schema digest 16 s, log id 16 s, generation u64,
                  posting words u64, arena bytes u64, file bytes u64, bits of each secondary 16 s,
                  bits of the primary u8, number of secondaries u8, 2 zero bytes, crc32 u32 over
                  all before it
             128  what readers look at: applied offset, in-progress offset, superseded by,
                  clean, boot id (2 words)
             192  arena next (byte offset in the file), posting words used
             256  totals number n; the totals in force stand in slot n % 2
             320  totals slot 0, 448 totals slot 1: digest (4 words), rows, applied offset
             512  primary cells used; then at 576 keys used in each secondary (16 words), at 704
                  number of blocks in force of each size 2^k words (64 words)

    record     0  payload, 128 B          128  u64 last offset      136  u64 data offset
             144  row digest, 32 B        176  u64 aux
             184  u32 pending until: seconds since 1970, rounded up, at which the last of its words
                  comes true, the largest u32 = then or later; 0 = all of them are true
             188  u32 crc32 over bytes 0..187, so crc32 of the whole record is a constant
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from typing import Final, NamedTuple
from zlib import crc32

from .errors import ViewUnusable

MAGIC: Final = b"APTABLE\x00"
LAYOUT_VERSION: Final = 1
PAGE_SIZE_BYTES: Final = 4096
WORD_SIZE_BYTES: Final = 8
SLOT_SIZE_BYTES: Final = 16
SECONDARIES_MAX: Final = 16
BITS_MIN: Final = 8
BITS_MAX: Final = 40

PAYLOAD_SIZE_BYTES: Final = 128
TRAILER_SIZE_BYTES: Final = 64
RECORD_SIZE_BYTES: Final = 192
PENDING_BIT: Final = 8
TRAILER: Final = struct.Struct("<QQ32sQII")
RECORD_BODY: Final = struct.Struct("<128sQQ32sQI")
CRC: Final = struct.Struct("<I")
CRC_RESIDUE: Final = 0x2144DF1C
ROW_DIGEST_AT: Final = 144
ROW_DIGEST_SIZE_BYTES: Final = 32
DIGEST_MASK: Final = (1 << 256) - 1

STATIC: Final = struct.Struct("<8sII24s16s16sQQQQ16sBB2xI")
STATIC_SIZE_BYTES: Final = 128

# Word numbers in the header page. What readers poll has a cache line that only finish() touches.
APPLIED: Final = 16
IN_PROGRESS: Final = 17
SUPERSEDED: Final = 18
CLEAN: Final = 19
BOOT_ID: Final = 20
ARENA_NEXT: Final = 24
POSTINGS_USED: Final = 25
TOTALS_NUMBER: Final = 32
TOTALS: Final = (40, 56)
TOTALS_ROWS: Final = 4
TOTALS_APPLIED: Final = 5
CELLS_USED: Final = 64
KEYS_USED: Final = 72
BLOCKS: Final = 88
BLOCKS_COUNT: Final = 64

POSTINGS_FIRST: Final = 2
BLOCK_HEAD_WORDS: Final = 2
BLOCK_CLASS_MIN: Final = 2
POSTING_WORDS_EACH: Final = 4
"""Words reserved for one expected posting: doubling leaves up to half a block free, and as much
again behind as garbage."""

MIX: Final = 0x9E3779B97F4A7C15
"""Odd, 2^64 over the golden ratio (Knuth, TAOCP 3, 6.4): the top bits of the low 64 of key × MIX
spread keys that are not uniform. Slot word = (key × MIX >> 63 - bits) & (2^(bits+1) - 2)."""


if STATIC.size != STATIC_SIZE_BYTES or STATIC.size > APPLIED * WORD_SIZE_BYTES:
    raise ImportError(f"static header is {STATIC.size} bytes, not {STATIC_SIZE_BYTES}")
if TRAILER.size != TRAILER_SIZE_BYTES:
    raise ImportError(f"record trailer is {TRAILER.size} bytes, not {TRAILER_SIZE_BYTES}")
if PAYLOAD_SIZE_BYTES + TRAILER_SIZE_BYTES != RECORD_SIZE_BYTES:
    raise ImportError("payload and trailer do not fill the record")
if RECORD_BODY.size + CRC.size != RECORD_SIZE_BYTES:
    raise ImportError(f"record body and crc are {RECORD_BODY.size + CRC.size} bytes")
if PAGE_SIZE_BYTES % 64 or RECORD_SIZE_BYTES % 64 or PENDING_BIT != WORD_SIZE_BYTES:
    raise ImportError("positions of records do not leave the bit that says pending")
if (BLOCKS + BLOCKS_COUNT) * WORD_SIZE_BYTES > PAGE_SIZE_BYTES:
    raise ImportError("the header words do not fit the header page")
if (KEYS_USED - CELLS_USED < 1) or BLOCKS - KEYS_USED < SECONDARIES_MAX:
    raise ImportError("header words overlap")


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What a view keeps in its table. Count `version` up when rows or keys change their meaning:
    files of another version are refused, and so rebuilt."""

    name: str
    version: int
    secondaries: tuple[str, ...]

    def __post_init__(self) -> None:
        assert 0 < len(self.name.encode()) <= 24, self.name
        assert len(self.secondaries) <= SECONDARIES_MAX, self.secondaries
        assert len(set(self.secondaries)) == len(self.secondaries), self.secondaries

    @property
    def digest(self) -> bytes:
        """16 bytes that differ when the name, the version or a secondary index differs."""
        text = "\n".join((self.name, str(self.version), *self.secondaries))
        return blake2b(text.encode(), digest_size=16).digest()


class Trailer(NamedTuple):
    """What stands behind a record's payload. Offsets are of events; aux belongs to the view.

    pending_until_s: when the last of its words comes true, in UTC seconds; 0 = they all are.
    """

    last_offset: int
    data_offset: int
    row_digest: int
    aux: int
    pending_until_s: int = 0


class Totals(NamedTuple):
    """What the table held when it had applied all events below `applied`; digest is 32 bytes."""

    applied: int
    row_count: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Geometry:
    """The static part of a header, and where the sections stand, in bytes from the file's start."""

    generation: int
    log_id: bytes
    primary_bits: int
    secondary_bits: tuple[int, ...]
    postings_words: int
    arena_size_bytes: int

    def index_at(self, number: int) -> int:
        """Where secondary index `number` starts; `len(secondary_bits)` gives the posting area."""
        return _index_places(self.primary_bits, *self.secondary_bits)[number]

    @property
    def postings_at(self) -> int:
        return self.index_at(len(self.secondary_bits))

    @property
    def arena_at(self) -> int:
        return self.postings_at + self.postings_words * WORD_SIZE_BYTES

    @property
    def file_size_bytes(self) -> int:
        return self.arena_at + self.arena_size_bytes


@lru_cache(maxsize=256)
def _index_places(*bits: int) -> list[int]:
    """Where each secondary index starts, and what follows them: whoever opens a view asks often."""
    sizes_bytes = (SLOT_SIZE_BYTES << each for each in bits)
    return list(accumulate(sizes_bytes, initial=PAGE_SIZE_BYTES))[1:]


def bits_for(keys: int) -> int:
    """Bits of the smallest index that holds so many keys at a load of at most one half."""
    return max(BITS_MIN, (2 * keys - 1).bit_length())


def new_geometry(
    generation: int, log_id: bytes, primary_bits: int, secondary_bits: tuple[int, ...],
    postings_words: int, records: int,
) -> Geometry:
    """Sections rounded up to whole pages, so that each starts at a page."""
    assert generation > 0, generation
    assert len(log_id) == 16, log_id
    assert max(primary_bits, *secondary_bits, 0) <= BITS_MAX, (primary_bits, secondary_bits)
    postings_size_bytes = whole_pages((POSTINGS_FIRST + postings_words) * WORD_SIZE_BYTES)
    return Geometry(
        generation, log_id, primary_bits, secondary_bits, postings_size_bytes // WORD_SIZE_BYTES,
        whole_pages(records * RECORD_SIZE_BYTES),
    )


def whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES


def pack_static(schema: TableSchema, geometry: Geometry) -> bytes:
    head = STATIC.pack(
        MAGIC, LAYOUT_VERSION, schema.version, schema.name.encode(), schema.digest,
        geometry.log_id, geometry.generation, geometry.postings_words, geometry.arena_size_bytes,
        geometry.file_size_bytes, bytes(geometry.secondary_bits), geometry.primary_bits,
        len(geometry.secondary_bits), 0,
    )
    return head[: -CRC.size] + CRC.pack(crc32(head[: -CRC.size]))


def unpack_static(
    page: bytes, schema: TableSchema, log_id: bytes, *, size_bytes: int, path: str
) -> Geometry:
    """The geometry in a header page; ViewUnusable says what is wrong with it.

    page: the file's first bytes, fewer than a page when the file is short. size_bytes: of the file.
    """

    def unusable(problem: str, **facts: object) -> ViewUnusable:
        return ViewUnusable(
            f"opening view {schema.name}", problem=problem, cure=ViewUnusable.cure, path=path,
            **facts,
        )

    if len(page) < PAGE_SIZE_BYTES:
        raise unusable("the file is shorter than a header", size_bytes=len(page))
    if not page.startswith(MAGIC):
        raise unusable("it is not a table file, or was never finished", magic=page[:8].hex())
    (
        _, layout, version, name, digest, found_log_id, generation, postings_words,
        arena_size_bytes, file_size_bytes, secondary_bits, primary_bits, secondaries, crc,
    ) = STATIC.unpack_from(page)
    if crc != crc32(page[: STATIC.size - CRC.size]):
        raise unusable("the header is damaged")
    if layout != LAYOUT_VERSION:
        raise unusable("it has another layout", found=layout, expected=LAYOUT_VERSION)
    if name.rstrip(b"\x00") != schema.name.encode():
        raise unusable("it is another view", found=repr(name.rstrip(b"\x00")))
    if version != schema.version:
        raise unusable("it has another version", found=version, expected=schema.version)
    if digest != schema.digest or secondaries != len(schema.secondaries):
        raise unusable("it has other secondary indexes")
    if found_log_id != log_id:
        raise unusable("it belongs to another log", found=found_log_id.hex(), expected=log_id.hex())
    geometry = Geometry(
        generation, log_id, primary_bits, tuple(secondary_bits[:secondaries]), postings_words,
        arena_size_bytes,
    )
    if file_size_bytes != geometry.file_size_bytes or size_bytes != file_size_bytes:
        raise unusable("the file was cut or grew", size_bytes=size_bytes, expected=file_size_bytes)
    return geometry


def check_states(
    page: bytes, schema: TableSchema, geometry: Geometry, boot_id: bytes | None, *, path: str
) -> None:
    """Raises ViewUnusable when the changing words of a header page cannot be true together."""
    words = memoryview(page).cast("Q")
    doing = f"opening view {schema.name}"
    arena_stop = geometry.arena_at + geometry.arena_size_bytes
    if (
        not geometry.arena_at <= words[ARENA_NEXT] <= arena_stop
        or (words[ARENA_NEXT] - geometry.arena_at) % RECORD_SIZE_BYTES
        or not POSTINGS_FIRST <= words[POSTINGS_USED] <= geometry.postings_words
        or words[APPLIED] > words[IN_PROGRESS]
        or words[CLEAN] > 1
    ):
        raise ViewUnusable(doing, problem="the header's counters are damaged", path=path)
    found = page[BOOT_ID * WORD_SIZE_BYTES :][:16]
    if boot_id is not None and found != boot_id and not words[CLEAN]:
        problem = "the machine went down before it was closed cleanly"
        raise ViewUnusable(doing, problem=problem, path=path)
