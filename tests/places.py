"""Where tests make what they throw away."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

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


def mount(*words: str) -> None:
    """Runs `mount`; skips the test, and says why, where that is not there or not allowed."""
    try:
        mounted = subprocess.run(["mount", *words], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mount {' '.join(words)} is refused here: {mounted.stderr.strip()}")
