"""The writer lock: who holds it may append, and may change the views.

An advisory `flock` on `home/run/writer`, so the kernel frees it when the holder dies, with the
holder's pid inside, and waiting with a deadline. LMDB's own write lock is taken only while we
hold this one, because waiting for LMDB's has no limit: a stopped holder would block it for ever.
Threads of one process queue on an ordinary lock first, since `flock` is per open file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Final

from .errors import Closed, ForkedProcess, HomeUnsupported, LogBusy
from .interrupts import HeldInterrupts, safe_point
from .refusals import refused

WAIT_S_DEFAULT: Final = 10.0
_MAY_NOT: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT})
_PAUSE_S_MIN: Final = 0.0001
_PAUSE_S_MAX: Final = 0.005
_LOOK_S: Final = 0.1
"""How often who waits for another thread lets a signal interrupt it."""


class WriterLock:
    """One for each process and path. Not reentrant.

    needed: False for who only reads: where its file may not be written the lock cannot be taken,
    and `acquire` raises HomeUnsupported.
    """

    def __init__(self, path: Path, *, needed: bool = True) -> None:
        self._path = path
        self._pid = os.getpid()
        self._name = f"{self._pid:<20}\n".encode()
        """What the file says while we hold it, and after."""
        self._thread_lock = threading.Lock()
        self._holder = 0
        """The thread that holds it, 0 for none."""
        self._file = -1
        self._refusal: OSError | None = None
        """Why it cannot be taken."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if needed or error.errno not in _MAY_NOT:
                raise
            self._refusal = error
        _open_locks.add(self)

    def acquire(self, wait_s: float = WAIT_S_DEFAULT) -> None:
        """Raises LogBusy, naming the holder and its state, after `wait_s`; Closed once closed.

        Cost: 4 µs when free, and as much to release, on a slow machine.
        A forked child shares the open file and so the parent's lock: it gets ForkedProcess.
        """
        taken = False
        try:
            with HeldInterrupts():
                self._acquire(wait_s)
                taken = True
        except BaseException:  # a signal that was held back, too
            if taken:
                self.release()
            raise

    def _acquire(self, wait_s: float) -> None:
        """Within HeldInterrupts."""
        if os.getpid() != self._pid:
            raise ForkedProcess("waiting for the write session", opened_by_pid=self._pid)
        deadline = time.monotonic() + wait_s
        self._acquire_threads("waiting for the write session", deadline, wait_s)
        self._holder = threading.get_ident()
        try:
            self._check_open()
            self._acquire_file(deadline, wait_s)
            if os.pread(self._file, len(self._name), 0) != self._name:  # cheaper than to write
                os.pwrite(self._file, self._name, 0)
        except BaseException as error:
            self._release()
            if isinstance(error, OSError):
                raise refused("waiting for the write session", error) from error
            raise

    def _acquire_threads(self, doing: str, deadline: float, wait_s: float) -> None:
        if self._thread_lock.acquire(blocking=False):
            return
        left_s = wait_s
        while not self._thread_lock.acquire(timeout=min(max(left_s, 0), _LOOK_S)):
            safe_point()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise busy_thread(doing, wait_s)

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise HomeUnsupported(
                "waiting for the write session", problem="this home may only be read here, and "
                f"neither its log nor its views be changed: {self._refusal.strerror}",
                cure="restore or copy it to where it may be written",
            ) from self._refusal  # fmt: skip
        if self._file < 0:
            raise Closed("waiting for the write session")

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
                        holder=process_state(pid),
                    ) from None  # fmt: skip
            safe_point()
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def hold(self, wait_s: float = WAIT_S_DEFAULT) -> Holding:
        """`acquire` for a `with`, which gives it back."""
        return Holding(self, wait_s)

    def try_hold(self) -> Holding | None:
        """None when somebody else holds it, or it cannot be taken here."""
        try:
            return Holding(self, 0)
        except (LogBusy, HomeUnsupported):
            return None

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._holder == threading.get_ident()

    def release(self) -> None:
        """By the thread that holds it; by any other, or again, it does nothing."""
        with HeldInterrupts():
            self._release()

    def _release(self) -> None:
        """Within HeldInterrupts."""
        if not self.is_mine:
            return
        try:
            if self._file >= 0:  # else it was closed, or dropped in a forked child
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._holder = 0
            self._thread_lock.release()

    def holder_pid(self) -> int:
        """The last holder's pid, 0 when nobody ever held it."""
        self._check_open()
        text = os.pread(self._file, 20, 0).strip()
        return int(text) if text.isdigit() else 0

    def close(self, wait_s: float = WAIT_S_DEFAULT) -> bool:
        """True when this call closed it, False when it was closed before.

        Another thread that holds it goes on undisturbed: after `wait_s` LogBusy is raised, and it
        stays open. Without that the thread would work on without the lock, or write its pid into
        whatever file got the descriptor's number next. This thread's own hold ends.
        """
        if self._file < 0 and self._refusal is None:
            return False
        self.release()
        with HeldInterrupts():
            deadline = time.monotonic() + wait_s
            self._acquire_threads("closing the writer lock", deadline, wait_s)
            try:
                return self._drop()
            finally:
                self._thread_lock.release()

    def _drop(self) -> bool:
        """Closes the file, with which the lock goes."""
        file, self._file = self._file, -1
        was_open, self._refusal = file >= 0 or self._refusal is not None, None
        if file >= 0:
            os.close(file)
        return was_open


class Holding:
    """The lock, held from the making of this to the end of the `with` that it stands in.

    An interrupt cannot part the two: between them it leaves nobody who has this, and then it lets
    go of the lock as well.
    """

    def __init__(self, lock: WriterLock, wait_s: float) -> None:
        self._lock: WriterLock | None = None
        try:
            with HeldInterrupts():
                lock._acquire(wait_s)
                self._lock = lock
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Again is fine."""
        with HeldInterrupts():
            lock, self._lock = self._lock, None
            if lock is not None:
                lock._release()

    def __enter__(self) -> Holding:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        if self._lock is not None:
            self.release()


def busy_thread(doing: str, waited_s: float) -> LogBusy:
    """Another thread of this process is in the way."""
    return LogBusy(
        doing, problem="another thread of this process is writing", waited_s=waited_s,
        holder_pid=os.getpid(), holder="another thread of this process",
    )  # fmt: skip


_open_locks: Final[weakref.WeakSet[WriterLock]] = weakref.WeakSet()


def _close_in_fork() -> None:
    """A forked child must not keep the lock of a parent that dies while it holds it."""
    for lock in list(_open_locks):
        lock._drop()  # whichever thread of the parent holds it is not here to let go of it


os.register_at_fork(after_in_child=_close_in_fork)


def process_state(pid: int) -> str:
    """What the kernel says of a process: `T (stopped)`, `S (sleeping)`, or `gone`."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("State:"):
                    return line.split(":", 1)[1].strip().replace("\t", " ")
    except OSError:
        return "gone"
    return "unknown"
