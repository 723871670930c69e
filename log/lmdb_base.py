"""Where the blocks of a store are and begin, forgetting the oldest, and whether its file is whole.

A log that keeps its events for good begins at 0, and nothing is stored of that. One that forgets
keeps the offset it begins at and the chain before it in `meta`, changed in the transaction that
deletes: so what is left verifies to the last byte.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import lmdb

from .block import BLOCK_EVENTS_MAX, BLOCK_HEADER, FIRST_PLACE, block_overhead_bytes
from .errors import Corrupt
from .store import Head

GONE: Final = "its file data.mdb is gone or empty"
CURE_RESTORE: Final = "move the home away, then `alphapulse restore BACKUP` in its place"
BASE_KEY: Final = b"base"
FORGOTTEN_BLOCKS_MAX: Final = 256
"""In one transaction."""
BLOCK_KEY: Final = struct.Struct(">Q")
"""The offset of a block's first event, so that the order of keys is that of events."""
LONG_SIZE_BYTES: Final = 16_384
"""Copying a shorter block costs less than a second look at it."""
_BASE: Final = struct.Struct("<QQ32s")
"""Offset, time and chain."""
_COUNT: Final = struct.Struct("<I").unpack_from


def check_size(path: Path, expected_bytes: int) -> None:
    """Raises Corrupt when the file is gone or cut short: in the place of one that is missing or
    empty LMDB would make a new one, and reading what is cut off would be a SIGBUS."""
    try:
        size_bytes = _size_bytes(path)
    except PermissionError:
        return  # LMDB is refused as well, and says so
    if not size_bytes:
        raise Corrupt(f"opening {path}", problem=GONE, cure=CURE_RESTORE)
    if size_bytes < expected_bytes:
        raise Corrupt(
            f"opening {path}", problem="its file was cut short", size_bytes=size_bytes,
            expected_bytes=expected_bytes, cure=CURE_RESTORE,
        )  # fmt: skip


def is_gone(path: Path) -> bool:
    """Whether the file of a log is missing or empty."""
    return not _size_bytes(path)


def _size_bytes(path: Path) -> int:
    """0 when there is no file."""
    try:
        return os.stat(path / "data.mdb").st_size
    except FileNotFoundError:
        return 0


def put_base(txn: lmdb.Transaction[Any], meta: lmdb._Database, base: Head) -> None:
    txn.put(BASE_KEY, _BASE.pack(base.offset, base.time, base.chain), db=meta)


def base_from(txn: lmdb.Transaction[memoryview[int]], meta: lmdb._Database, seed: bytes) -> Head:
    """Raises Corrupt."""
    stored = txn.get(BASE_KEY, db=meta)
    if stored is None:
        return Head(0, seed, 0)
    if len(stored) != _BASE.size:
        raise Corrupt("reading where the log begins", size_bytes=len(stored))
    first, recorded, chain = _BASE.unpack(stored)
    return Head(first, chain, recorded)


def forget(
    txn: lmdb.Transaction[memoryview[int]], blocks: lmdb._Database, meta: lmdb._Database,
    pages_max: int, before_time: int,
) -> int:  # fmt: skip
    """Deletes the oldest blocks while they were recorded before `before_time`, or what is kept
    takes over `pages_max`; the newest one stays. Returns how many it deleted."""
    cursor, gone, base = txn.cursor(db=blocks), 0, Head(0, b"", 0)
    more = cursor.first()
    while more and gone < FORGOTTEN_BLOCKS_MAX:
        stat = txn.stat(blocks)
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        chain, _, _, first, recorded, count, _ = BLOCK_HEADER.unpack_from(cursor.value())
        kept = recorded >= before_time and pages <= pages_max
        if kept or stat["entries"] == 1:
            break
        base, gone = Head(first + count, chain, recorded), gone + 1
        more = cursor.delete()
    if gone:
        put_base(txn, meta, base)
    return gone


def misplaced(txn: lmdb.Transaction[memoryview[int]], firsts: Sequence[int]) -> int | None:
    """The first of these offsets of blocks that follow each other which does not lead to its block:
    a key was changed, or a branch that leads there. Cost: 0.4 µs each."""
    keys, cursor = list(map(BLOCK_KEY.pack, firsts)), txn.cursor()
    if all(map(cursor.set_key, keys)) and cursor.set_key(keys[0]):
        there = islice(cursor.iternext(values=False), len(keys))
        if b"".join(there) == b"".join(keys):
            return None
    for first, key in zip(firsts, keys, strict=True):
        if not cursor.set_key(key):
            return first
        with memoryview(cursor.value()) as value:
            if value[FIRST_PLACE] != first.to_bytes(8, "little"):
                return first
    return firsts[0]  # something stands between them


def first_of(cursor: lmdb.Cursor) -> int:
    """The offset in the key of a block; a damaged page may give keys of any size."""
    key = bytes(cursor.key())
    if len(key) != BLOCK_KEY.size:
        raise Corrupt("reading the log", problem="the key of a block is no offset", key=key.hex())
    return int(BLOCK_KEY.unpack(key)[0])


def count_of(block: bytes | memoryview) -> int:
    return int(_COUNT(block, 56)[0]) if len(block) >= BLOCK_HEADER.size else 0


def head_of(block: memoryview) -> bytes:
    """What stands before the frames; all of one that is short, or whose sizes cannot be."""
    if len(block) >= LONG_SIZE_BYTES:
        _, _, size, _, _, count, _ = BLOCK_HEADER.unpack_from(block)
        if size == len(block) and 0 < count <= BLOCK_EVENTS_MAX:
            return bytes(block[: block_overhead_bytes(count)])
    return bytes(block)


def ends_by(cursor: lmdb.Cursor, offset: int) -> bool:
    """Whether the block here has no event from `offset` on. One cut short is not passed over."""
    with memoryview(cursor.value()) as value:
        count = count_of(value)
    return 0 < count <= offset - first_of(cursor)
