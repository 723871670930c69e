"""Doorbells: how a writer wakes those who wait for a commit, in any process of the same user.

A bell is a FIFO `home/run/bell.<pid>.<start>.<n>`: its owner polls it for reading, and every writer
puts one byte into every bell *after* its commit. A ring carries nothing, it only says "look"; so a
full FIFO (the owner has not looked since) needs no byte more, and a ring that is lost costs no
event but time, until the owner's next look by the clock.

The invariant: who can see a bell can ring it. A bell is made under another name, opened, and only
then renamed into place, so one without a reader belongs to somebody who is gone, and whoever finds
it removes it. The FIFO itself is asked (ENXIO, EPIPE), not the pid: that may be of another
container. What would break it is a forked child that keeps the reading end of a dead parent, so
children close it. fifo(7), pipe(7); a writer that gave SIGPIPE back its default action dies of a
closed bell, as of any closed pipe (Python ignores it).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import select
import stat
import time
import weakref
from collections.abc import Iterator
from typing import Final

from .home import Home
from .stops import start_time

BELLS_MAX: Final = 1_024
"""How many a writer rings, and at most a quarter of its descriptors; the others find out by
polling."""
_PREFIX: Final = "bell."
_MAKING: Final = ".bell."
"""Begins the name of a FIFO that is not a bell yet."""
_RING: Final = b"\1"
_SETTLED_NS: Final = 50_000_000
"""Two changes of a directory may have the same time, that of a clock tick (10 ms or less); a
listing is only remembered by a time that is older."""
_numbers: Final = itertools.count()
_open_bells: Final[weakref.WeakSet[Bell]] = weakref.WeakSet()


class Bell:
    """The owner's end. Rings once by itself, so who made it looks again before the first wait.

    Making one raises OSError where there can be none (a read-only directory, no descriptors). It
    costs some 100 µs, and a new listing of `home/run` to each writer.
    """

    def __init__(self, home: Home) -> None:
        pid = os.getpid()
        name = f"{pid}.{start_time(pid)}.{next(_numbers)}"
        making = os.fspath(home.run / f"{_MAKING}{name}")
        path = os.fspath(home.run / f"{_PREFIX}{name}")
        os.mkfifo(making, 0o600)
        try:
            self._file = os.open(making, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.rename(making, path)
            except BaseException:
                os.close(self._file)
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(making)
            raise
        self._finalizer = weakref.finalize(self, _remove, path, self._file, pid)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        _open_bells.add(self)
        self.ring()

    def fileno(self) -> int:
        return self._file

    @property
    def _open(self) -> bool:
        """Else its descriptor's number may be somebody else's, as in a forked child."""
        return self._finalizer.alive

    def wait(self, timeout_s: float) -> bool:
        """True as soon as it has rung since `clear`, False after `timeout_s`."""
        return not self._open or bool(self._poll.poll(max(timeout_s, 0) * 1_000))

    def clear(self) -> None:
        """Forgets the rings so far. Do it first and look for events then, or one may be missed."""
        try:
            while self._open and len(os.read(self._file, 4_096)) == 4_096:
                pass
        except BlockingIOError:
            pass  # a multiple of that

    def ring(self) -> None:
        """By the owner, from any thread."""
        if self._open:
            with contextlib.suppress(BlockingIOError):  # full, so it rings
                os.write(self._file, _RING)

    def close(self) -> None:
        """Removes it; again is fine. Not while another thread waits."""
        self._finalizer()


def _remove(path: str, file: int, pid: int) -> None:
    """Closed last, so that no writer finds it without a reader."""
    if os.getpid() == pid:
        with contextlib.suppress(OSError):  # gone with the whole home, or with its permissions
            os.unlink(path)
        os.close(file)


def _close_in_fork() -> None:
    for bell in list(_open_bells):
        if bell._finalizer.detach() is not None:
            os.close(bell._file)


os.register_at_fork(after_in_child=_close_in_fork)


class Ringer:
    """The writers' side: knows the bells of a home and rings them all. Not thread-safe.

    Cost: one stat when there is none, 2 to 9 µs for each bell. Descriptors are kept, so
    that known bells ring before anything is looked at; the listing is remembered by the time of the
    directory. A forked child rings nothing.
    """

    def __init__(self, home: Home) -> None:
        self._directory = os.fspath(home.run)
        self._pid = os.getpid()
        self._listed_at_ns = -1
        """The directory's time that belongs to the listing; -1 = list it again."""
        self._bells: dict[str, int] = {}
        self._finalizer = weakref.finalize(self, _close_all, self._bells, self._pid)

    def ring(self) -> None:
        """To be called after a commit. Never waits and never raises: a ring is only a hint."""
        if os.getpid() != self._pid:
            return
        gone = []
        for name, file in self._bells.items():
            try:
                os.write(file, _RING)
            except BlockingIOError:
                pass  # full: it rings, and nobody has come to look
            except OSError:  # EPIPE: its owner is gone, and nothing else is known to happen
                gone.append(name)
        for name in gone:
            os.close(self._bells.pop(name))
            self._unlink(name)
        try:
            changed_ns = os.stat(self._directory).st_mtime_ns
            if changed_ns != self._listed_at_ns:
                self._list(changed_ns)
        except OSError:  # no `run`, no descriptors: others poll
            self._listed_at_ns = -1

    def _list(self, changed_ns: int) -> None:
        """Opens and rings new bells, lets go of removed ones, removes those left behind."""
        names = set(os.listdir(self._directory))
        for name in [name for name in self._bells if name not in names]:
            os.close(self._bells.pop(name))
        room = min(BELLS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        for name in names:
            if name.startswith(_PREFIX) and name not in self._bells:
                if len(self._bells) < room:
                    self._open(name)
            elif name.startswith(_MAKING) and _is_abandoned(name):
                self._unlink(name)
        settled = time.time_ns() - changed_ns > _SETTLED_NS
        self._listed_at_ns = changed_ns if settled else -1

    def _open(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            file = os.open(f"{self._directory}/{name}", flags)
        except OSError as error:
            if error.errno == errno.ENXIO:
                self._unlink(name)
            elif error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return  # removed meanwhile, or nothing of ours
        if stat.S_ISFIFO(os.fstat(file).st_mode):
            self._bells[name] = file
            with contextlib.suppress(OSError):  # whatever it is, it will be so at the next ring
                os.write(file, _RING)
        else:
            os.close(file)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):  # another writer was faster, or may not
            os.unlink(f"{self._directory}/{name}")

    def __iter__(self) -> Iterator[str]:
        """Names of the bells that are rung."""
        return iter(self._bells)

    def close(self) -> None:
        """Gives its descriptors back; nothing is rung any more."""
        self._finalizer()


def _is_abandoned(name: str) -> bool:
    parts = name.removeprefix(_MAKING).split(".")
    return len(parts) == 3 and parts[0].isdigit() and start_time(int(parts[0])) != parts[1]


def _close_all(bells: dict[str, int], pid: int) -> None:
    if os.getpid() == pid:
        while bells:
            os.close(bells.popitem()[1])
