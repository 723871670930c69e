"""Noticing that a writer did not stop cleanly.

Each open writer keeps a marker `home/run/open.<pid>.<start>.<n>` and removes it on close. A
marker whose process is gone means a crash, a kill or a power cut; then the log's file is first
looked at from a child process, because a damaged LMDB file can end a process by signal.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import Corrupt, HomeUnsupported
from .home import Home
from .lmdb_store import LmdbStore

PROBE_BLOCKS: Final = 64
_PREFIX: Final = "open."
_numbers = itertools.count()


class StopMarker:
    """Exists from open to close; also removed when the interpreter ends in an orderly way."""

    def __init__(self, home: Home) -> None:
        name = f"{_PREFIX}{os.getpid()}.{start_time(os.getpid())}.{next(_numbers)}"
        self._path = home.run / name
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._finalizer = weakref.finalize(self, _remove_own, self._path, os.getpid())

    def remove(self) -> None:
        self._finalizer()


def _remove_own(path: Path, pid: int) -> None:
    if os.getpid() == pid:
        path.unlink(missing_ok=True)


def start_time(pid: int) -> str:
    """Start time of a process in clock ticks since boot: a reused pid has another.

    Empty if it is gone, or dead and not yet waited for.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def stale_markers(home: Home) -> Iterator[Path]:
    """Markers of writers that are gone without having closed."""
    return (path for path, _, alive in _markers(home) if not alive)


def living_writers(home: Home) -> list[int]:
    """Pids of those who have it open to write."""
    return [pid for _, pid, alive in _markers(home) if alive]


def _markers(home: Home) -> Iterator[tuple[Path, int, bool]]:
    """Each with the pid of its writer, and whether that is alive."""
    for path in home.run.glob(f"{_PREFIX}*"):
        parts = path.name.split(".")
        if len(parts) == 4 and parts[1].isdigit():
            yield path, int(parts[1]), start_time(int(parts[1])) == parts[2]


def check_unwritten(home: Home, store: LmdbStore) -> None:
    """Raises HomeUnsupported when a store that may only be read here is open to a writer elsewhere,
    by another path: without LMDB's lock file nothing keeps it from what we read."""
    if store.read_only and (pids := living_writers(home)):
        raise HomeUnsupported(
            f"opening {home.path}", problem="it may only be read here, and a process writes to it",
            pid=pids[0], cure="read it where it may be written, or when that process has ended",
        )  # fmt: skip


def probe_after_crash(home: Home) -> None:
    """After an unclean stop: the newest blocks are checked in a child. Raises Corrupt.

    Cost: one directory listing (20 µs) when all is well, a new process otherwise.
    """
    stale = list(stale_markers(home))
    if not stale:
        return
    from .verify import verify_in_child

    for verdict in verify_in_child(home.path, last_blocks=PROBE_BLOCKS):
        if not verdict.ok:
            raise Corrupt(
                f"opening {home.path} after an unclean stop", problem=verdict.detail,
                verdict=verdict.name, first_bad_offset=verdict.first_bad_offset,
                cure=verdict.cure,
            )  # fmt: skip
    for path in stale:
        with contextlib.suppress(OSError):  # not ours to remove: the next writer looks again
            path.unlink()
