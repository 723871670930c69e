"""Which file of a view is in force: `views/<view>.<generation>`, named by `views/CURRENT`.

CURRENT is a small text file, one line `view generation` each, replaced by rename; so a reader sees
the old set or the new one and never half of either. A generation is never changed into another:
growing and rebuilding make a new file beside, and one earlier generation is kept to go back to.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

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


class Generations:
    """Reads and switches generations in one `views/` directory. Switching needs the writer lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._current = directory / CURRENT
        self._current_name = os.fspath(self._current)

    def path(self, view: str, generation: int) -> Path:
        return self.directory / f"{view}.{generation}"

    def current(self) -> dict[str, int]:
        """View to generation; empty when there is no CURRENT or it is damaged."""
        try:
            lines = self._current.read_text(encoding="ascii", errors="replace").splitlines()
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
            state = os.stat(self._current_name)
        except FileNotFoundError:
            return NO_CURRENT
        except OSError as error:
            raise refused("looking at the views", error) from error
        return (state.st_ino, state.st_mtime_ns)

    def forget(self) -> None:
        """Puts none in force: whoever opens the views next makes all of them."""
        self._current.unlink(missing_ok=True)

    def next_number(self, view: str) -> int:
        """A generation above every file's and above the one in force, whose file may be gone."""
        return max([self.current().get(view, 0), *(number for number, _ in self.files(view))]) + 1

    def files(self, view: str) -> list[tuple[int, Path]]:
        """(generation, path) of every file of a view, oldest first."""
        found = []
        for path in self.directory.glob(f"{view}.*"):
            number = path.name[len(view) + 1 :]
            if number.isdigit() and len(number) <= _DIGITS_MAX:
                found.append((int(number), path))
        return sorted(found)

    def switch(self, view: str, generation: int) -> None:
        """Makes a generation the one in force and removes all but the one before it.

        Raises ViewFull when CURRENT cannot be written; then all is as before.
        """
        current = self.current()
        before = current.get(view, 0)
        current[view] = generation
        text = "".join(f"{name} {number}\n" for name, number in sorted(current.items()))
        building = self._current.with_suffix(f".{os.getpid()}")
        try:
            _write_durably(building, text.encode("ascii"))
        except OSError as error:
            building.unlink(missing_ok=True)
            if error.errno not in NO_SPACE:
                raise
            raise ViewFull(
                f"switching view {view}", path=building, reason=error.strerror
            ) from error
        os.rename(building, self._current)
        for number, path in self.files(view):
            if number < generation and number != before:
                path.unlink(missing_ok=True)


def _write_durably(path: Path, data: bytes) -> None:
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
