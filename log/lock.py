"""The writer lock: who holds it may append, and may change the views.

An advisory `flock` on `home/run/writer`, so the kernel frees it when the holder dies, with the
holder's pid inside, and waiting with a deadline. LMDB's own write lock is taken only while we
hold this one, because waiting for LMDB's has no limit: a stopped holder would block it for ever.
Threads of one process queue on an ordinary lock first, since `flock` is per open file.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Final

from .errors import ForkedProcess, LogBusy

WAIT_S_DEFAULT: Final = 10.0
_PAUSE_S_MIN: Final = 0.0001
_PAUSE_S_MAX: Final = 0.005


class WriterLock:
    """One for each process and path. Not reentrant."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._thread_lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _open_locks.add(self)

    def acquire(self, wait_s: float = WAIT_S_DEFAULT) -> None:
        """Raises LogBusy, naming the holder and its state, after `wait_s`. Cost: 2 µs when free.

        A forked child shares the open file and so the parent's lock: it gets ForkedProcess.
        """
        if os.getpid() != self._pid:
            raise ForkedProcess("waiting for the write session", opened_by_pid=self._pid)
        deadline = time.monotonic() + wait_s
        if not self._thread_lock.acquire(timeout=max(wait_s, 0)):
            raise LogBusy(
                "waiting for the write session", waited_s=wait_s, holder_pid=os.getpid(),
                holder="another thread of this process",
            )  # fmt: skip
        try:
            self._acquire_file(deadline, wait_s)
            os.pwrite(self._file, f"{os.getpid():<20}\n".encode(), 0)
        except BaseException:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._thread_lock.release()
            raise

    def _acquire_file(self, deadline: float, wait_s: float) -> None:
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    pid = self.holder_pid()
                    raise LogBusy(
                        "waiting for the write session", waited_s=wait_s, holder_pid=pid,
                        holder=_process_state(pid),
                    ) from None  # fmt: skip
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def try_acquire(self) -> bool:
        try:
            self.acquire(0)
        except LogBusy:
            return False
        return True

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread_lock.release()

    def holder_pid(self) -> int:
        """The last holder's pid, 0 when nobody ever held it."""
        text = os.pread(self._file, 20, 0).strip()
        return int(text) if text.isdigit() else 0

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


_open_locks: Final[weakref.WeakSet[WriterLock]] = weakref.WeakSet()


def _close_in_fork() -> None:
    """A forked child must not keep the lock of a parent that dies while it holds it."""
    for lock in list(_open_locks):
        lock.close()


os.register_at_fork(after_in_child=_close_in_fork)


def _process_state(pid: int) -> str:
    """What the kernel says of a process: `T (stopped)`, `S (sleeping)`, or `gone`."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("State:"):
                    return line.split(":", 1)[1].strip().replace("\t", " ")
    except OSError:
        return "gone"
    return "unknown"
