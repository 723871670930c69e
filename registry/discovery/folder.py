"""One watched directory: which files are in it, which of them are complete, which are refused.

Whoever can put a file here can make the registry read what it names, so nothing is followed: the
directory is opened once for each look, names are opened within it without following links, and
what was opened must be what was looked at. A file is complete when it has not changed for a while;
a rename into place is no exception, for nobody tells us of it for certain.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from alphapulse.log import InvalidInput

CLOCKS_APART_S: Final = 60.0
"""A file's age by the clock counts only beyond this: the clock may have been set since it was
written, and that of a file server may be another one."""
_UNFINISHED: Final = (".tmp", ".part", "~")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: should a pipe stand there by now, opening it must not wait for its writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Identity(NamedTuple):
    """What is another after any change of a file but one through a memory map."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    """Of the inode: unlike the time above nobody can set it."""


def identity_of(found: os.stat_result) -> Identity:
    return Identity(
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


class Candidate:
    """A file by name, while it stays the same."""

    __slots__ = ("done", "identity", "is_told", "name", "ready_at_s", "trouble")

    def __init__(self, name: str, found: os.stat_result, settle_s: float) -> None:
        self.name = name
        self.identity = identity_of(found)
        self.trouble = _trouble(found)
        """Why it is never opened; empty for a good one."""
        self.done = False
        self.is_told = False
        """Whether it was said why it waits."""
        age_s = (time.time_ns() - found.st_ctime_ns) / 1e9
        left_s = 0.0 if age_s >= settle_s + CLOCKS_APART_S or self.trouble else settle_s
        self.ready_at_s = time.monotonic() + left_s
        """By `time.monotonic`: once it has been the same for long enough."""

    def postpone(self, wait_s: float) -> None:
        self.ready_at_s = time.monotonic() + wait_s


def _trouble(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}, not to this one, {os.geteuid()}"
    return ""


def is_passed_over(name: str) -> bool:
    """Hidden, or of a name that says: still being written."""
    return name.startswith(".") or name.endswith(_UNFINISHED)


class Folder:
    """A directory from look to look. Memory: some 400 bytes for each file that is in it."""

    def __init__(self, path: Path, settle_s: float) -> None:
        self.path = path
        self._settle_s = settle_s
        self._files: dict[str, Candidate] = {}
        self.key: tuple[int, int] | None = None
        """Which directory it was at the last look; None = there was none."""
        self.trouble = ""
        """Why there was none."""

    def look(self) -> int | None:
        """Brings `candidates` up to date; a descriptor to open them by, None when it is not there.

        Cost: 5 µs for each name.
        """
        try:
            directory = os.open(self.path, _DIRECTORY)
        except OSError as error:
            self.key, self.trouble = None, _why_no_directory(self.path, error)
            return None
        try:
            found = os.fstat(directory)
            if self.key != (found.st_dev, found.st_ino):
                self._files.clear()
            self.key, self.trouble = (found.st_dev, found.st_ino), ""
            self._files = self._now_in(directory)
        except OSError as error:  # its server is gone, say, or one may list it and look at nothing
            os.close(directory)
            self.key, self.trouble = None, _why_no_directory(self.path, error)
            return None
        except BaseException:
            os.close(directory)
            raise
        return directory

    def _now_in(self, directory: int) -> dict[str, Candidate]:
        files: dict[str, Candidate] = {}
        with os.scandir(directory) as entries:
            for entry in entries:
                if is_passed_over(entry.name):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # gone since it was listed
                    continue
                if stat.S_ISDIR(found.st_mode):
                    continue
                known = self._files.get(entry.name)
                if known is None or known.identity != identity_of(found):
                    known = Candidate(entry.name, found, self._settle_s)
                files[entry.name] = known
        return files

    @property
    def candidates(self) -> list[Candidate]:
        """Those with which nothing was done yet."""
        return [file for file in self._files.values() if not file.done]


def open_within(directory: int, candidate: Candidate) -> int | None:
    """A descriptor of the file that was looked at; None when another one, or none, is there now.

    Raises OSError where it may not be read.
    """
    try:
        opened = os.open(candidate.name, _FILE, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return None
        raise
    if identity_of(os.fstat(opened)) != candidate.identity:
        os.close(opened)
        return None
    return opened


def usable_directories(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The directories, each once. Raises InvalidInput for one that cannot be watched."""
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        try:
            os.close(os.open(path, _DIRECTORY))
        except (OSError, ValueError) as error:
            problem = _why_no_directory(path, error)
            raise InvalidInput(
                f"watching {path}", problem=problem,
                cure="name a directory that is there and that you may read",
            ) from error  # fmt: skip
        found[path] = None
    if not found:
        raise InvalidInput("watching", problem="no directory is named", cure="name one")
    return list(found)


def _why_no_directory(path: Path, error: Exception) -> str:
    if os.path.islink(path):
        return "it is a symbolic link, and links are not followed"
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"it cannot be opened: {why}"
