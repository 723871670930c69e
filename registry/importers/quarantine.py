"""Where refused rows go: JSON Lines `{file, place, reason, row}`, complete or not there at all.

The file is written beside its final place and renamed when it is complete, so an interrupted
import leaves the one of the import before. Text is escaped to ASCII: a row may be refused exactly
because its characters fake or break a line, and people look at these files in terminals.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NoReturn

from alphapulse.log import InvalidInput

ROW_SIZE_BYTES_MAX: Final = 128 << 10
_SHOWN_MAX: Final = 1_000
_BEGIN: Final = b'{"file": '
"""Of each line."""
_NAME_SIZE_BYTES_MAX: Final = 180
"""Of the file's name inside the quarantine's; a name has at most 255 bytes on Linux."""


def default_path(directory: Path, file: Path, content_hash: bytes) -> Path:
    """`DIRECTORY/tokens.json-1f0c22aa.jsonl`: the same content has the same place."""
    name = os.fsdecode(os.fsencode(file.name)[:_NAME_SIZE_BYTES_MAX])
    return directory / f"{name}-{content_hash[:4].hex()}.jsonl"


class Quarantine:
    """A context manager: leaving it keeps the file, unless an error is on its way out.

    Nothing is created before the first row. One that is given to several imports collects the
    refused rows of all.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises InvalidInput where no file can be written."""
        self.path = Path(os.path.abspath(path))
        self._building = self.path.with_name(f".{self.path.name[:200]}.{os.getpid()}")
        self._file: BinaryIO | None = None
        self.rows = 0
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise InvalidInput(
                f"opening the quarantine {self.path}",
                problem="it is a directory" if self.path.is_dir() else "it is in no directory",
                cure="name a file in an existing directory",
            )

    @classmethod
    def named(cls, path: str | os.PathLike[str]) -> Quarantine:
        """By a person, who may have named a file of another kind: InvalidInput."""
        found = cls(path)
        if not found._is_ours():
            raise InvalidInput(
                f"opening the quarantine {found.path}", problem="another file has that name",
                cure="name a new file, or one that an import left",
            )  # fmt: skip
        return found

    def _is_ours(self) -> bool:
        """Whether it may be replaced: nothing is there, or what an import left."""
        try:
            with open(self.path, "rb") as file:
                return file.read(len(_BEGIN)) in (b"", _BEGIN)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._fail(error)

    def add(self, file: str, place: str, reason: str, row: object) -> None:
        line = {"file": file, "place": place, "reason": reason, "row": row}
        encoded = json.dumps(line, default=str)
        if len(encoded) > ROW_SIZE_BYTES_MAX:
            whole = row if isinstance(row, str) else json.dumps(row, default=str)
            encoded = json.dumps({**line, "row": whole[:_SHOWN_MAX] + "…"})
        try:
            if self._file is None:
                self._file = self._create()
            self._file.write(encoded.encode() + b"\n")
        except OSError as error:
            self._fail(error)
        self.rows += 1

    def _create(self) -> BinaryIO:
        self._building.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return open(os.open(self._building, flags, 0o600), "wb")

    def keep(self) -> bool:
        """Puts the file in its place; False when there is nothing to keep."""
        if self._file is None:
            return False
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._building, self.path)
        except OSError as error:
            self._fail(error)
        self._file = None
        return True

    def discard(self) -> None:
        """Forgets the rows; a file of an earlier import stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be written is being given up
                self._file.close()
            self._building.unlink(missing_ok=True)
            self._file = None

    def _fail(self, error: OSError) -> NoReturn:
        self.discard()
        raise InvalidInput(
            f"writing the quarantine {self.path}", problem=error.strerror or str(error),
            cure="name another file with --quarantine, then import again",
        ) from error  # fmt: skip

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is None:
            self.keep()
        else:
            self.discard()
