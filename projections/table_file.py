"""Making the file of a table: its space reserved, its header written, mapped for the writer."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from typing import Final

from .errors import ViewFull
from .layout import (
    ARENA_NEXT,
    BOOT_ID,
    POSTINGS_FIRST,
    POSTINGS_USED,
    STATIC_SIZE_BYTES,
    Geometry,
    TableSchema,
    pack_static,
)

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


def make_table_file(
    path: str, schema: TableSchema, geometry: Geometry, boot_id: bytes
) -> mmap.mmap:
    """Maps a new, empty, dirty table; a file of that name is unlinked first, never truncated.

    The static header is written last: a file whose making was killed has none. All space is
    reserved: a hole in a mapped file on a full disk is a SIGBUS. Raises ViewFull, leaving no file.
    """
    assert len(boot_id) == 16, boot_id
    size_bytes = geometry.file_size_bytes
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            mapped = mmap.mmap(fd, size_bytes, access=mmap.ACCESS_WRITE)
        finally:
            os.close(fd)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        if error.errno not in NO_SPACE:
            raise
        raise ViewFull(
            f"making view {schema.name}", path=path, size_bytes=size_bytes, reason=error.strerror
        ) from error
    with memoryview(mapped).cast("Q") as words:
        words[BOOT_ID : BOOT_ID + 2] = memoryview(boot_id).cast("Q")
        words[ARENA_NEXT] = geometry.arena_at
        words[POSTINGS_USED] = POSTINGS_FIRST
    mapped[:STATIC_SIZE_BYTES] = pack_static(schema, geometry)
    return mapped
