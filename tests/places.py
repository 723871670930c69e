"""Where tests make what they throw away."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_MIN_SIZE_BYTES = 1 << 30


@cache
def in_memory() -> Path:
    """For homes by the hundred that lose no power: a third of their time is syncs and unlinks.

    The directory of temporary files where there is no memory to mount, or too little of it.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_MIN_SIZE_BYTES:
        return MEMORY
    return Path(tempfile.gettempdir())
