"""Which file of a view is in force: `views/<view>.<generation>`, named by `views/CURRENT`.

CURRENT is a small text file, one line `view generation` each, replaced by rename; so a reader sees
the old set or the new one and never half of either. A generation is never changed into another:
growing and rebuilding make a new file beside, and one earlier generation is kept to go back to.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from alphapulse.log import refused

from .errors import ViewFull
from .layout import PAGE_SIZE_BYTES, SUPERSEDED, WORD_SIZE_BYTES
from .table_file import NO_SPACE

CURRENT: Final = "CURRENT"
NO_CURRENT: Final = (0, 0)
"""The stamp when there is no CURRENT."""
_NO_FILE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO})
"""Gone, a link, a directory, a socket: nothing that anybody can have mapped."""
_DIGITS_MAX: Final = 18
"""Of a generation's number, which is a u64 in its file; more digits are damage."""


class Found(NamedTuple):
    """What is in `views/`: the generation in force of each view, and all that have a file."""

    current: dict[str, int]
    """Empty when there is no CURRENT or it is damaged."""
    files: dict[str, list[int]]
    """Oldest first."""

    def next_number(self, view: str) -> int:
        """A generation above every file's and above the one in force, whose file may be gone."""
        return max([self.current.get(view, 0), *self.files.get(view, [])]) + 1


class Generations:
    """Reads and switches generations in one `views/` directory. Switching needs the writer lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = os.fspath(directory)
        self._current = self._place(CURRENT)

    def _place(self, name: str) -> str:
        return f"{self.directory}/{name}"

    def path(self, view: str, generation: int) -> str:
        return self._place(f"{view}.{generation}")

    def current(self) -> dict[str, int]:
        """View to generation; empty when there is no CURRENT or it is damaged."""
        try:
            with open(self._current, "rb") as file:
                lines = file.read().decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines:
            view, _, number = line.partition(" ")
            if number.isdigit() and len(number) <= _DIGITS_MAX and int(number):
                found[view] = int(number)
        return found

    def stamp(self) -> tuple[int, int]:
        """Changes whenever CURRENT is replaced. Cost: one stat."""
        try:
            state = os.stat(self._current)
        except FileNotFoundError:
            return NO_CURRENT
        except OSError as error:
            raise refused("looking at the views", error) from error
        return (state.st_ino, state.st_mtime_ns)

    def forget(self) -> None:
        """Puts none in force: whoever opens the views next makes all of them."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._current)

    def found(self) -> Found:
        """Cost: 50 µs for all views together."""
        files: dict[str, list[int]] = {}
        for name in os.listdir(self.directory):
            view, _, number = name.rpartition(".")
            if number.isdigit() and len(number) <= _DIGITS_MAX:
                files.setdefault(view, []).append(int(number))
        for numbers in files.values():
            numbers.sort()
        return Found(self.current(), files)

    def switch(self, numbers: Mapping[str, int]) -> Found:
        """Makes a generation of each of these views the one in force, all at once, and removes all
        but the one before it; tells what is there then.

        Raises ViewFull when CURRENT cannot be written; then all is as before.
        """
        before = self.current()
        current = {**before, **numbers}
        text = "".join(f"{name} {number}\n" for name, number in sorted(current.items()))
        building = self._place(f"{CURRENT}.{os.getpid()}")
        try:
            _write_durably(building, text.encode("ascii"))
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(building)
            if error.errno not in NO_SPACE:
                raise
            raise ViewFull(
                f"switching {', '.join(sorted(numbers))}", path=building, reason=error.strerror
            ) from error
        os.rename(building, self._current)
        found = self.found()
        for view, generation in numbers.items():
            kept = []
            for number in found.files.get(view, ()):
                if number < generation and number != before.get(view):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.path(view, number))
                else:
                    kept.append(number)
            found.files[view] = kept
        return found


def _write_durably(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "the disk took only a part")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def supersede_file(path: str | os.PathLike[str], generation: int) -> None:
    """Tells readers that have this file mapped where to go on, whatever state it is in.

    It need not be a good table: one that is torn, or was left dirty by a power loss, may be mapped
    all the same. Does nothing to a file that says so already or is too short to be mapped. Raises
    OSError, as when no descriptor is left: then it must be called again.
    """
    at = SUPERSEDED * WORD_SIZE_BYTES
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _NO_FILE:
            return
        raise  # a reader that has it mapped would stay on it for good
    try:
        word = os.pread(descriptor, WORD_SIZE_BYTES, at)
        if word == bytes(WORD_SIZE_BYTES) and os.fstat(descriptor).st_size >= PAGE_SIZE_BYTES:
            os.pwrite(descriptor, generation.to_bytes(WORD_SIZE_BYTES, "little"), at)
    finally:
        os.close(descriptor)
