"""What an importer is, and the one way in which files are opened and read.

An importer turns a file into rows: each is either the commands it stands for or a refusal with its
reason. It decides nothing and writes nothing; `registry.importing` does. Files are input from
outside: whatever is in them ends in an InvalidInput that names the file, or in one refused row.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, NoReturn, Protocol

from blake3 import blake3

from alphapulse.log import Closing, InvalidInput
from alphapulse.registry.commands import Command
from alphapulse.registry.commands_relations import Relate

PIECE_SIZE_BYTES: Final = 1 << 20
HEAD_SIZE_BYTES: Final = 64 << 10
LINE_SIZE_BYTES_MAX: Final = 128 << 10
"""Longer lines are handed on cut: memory stays bounded whatever is in a file."""
SOURCE_LENGTH_MAX: Final = 64


class Row(NamedTuple):
    """Commands that stand or fall together, from one row of a file."""

    place: str
    """`line 7` (physical lines, from 1) or `tokens[12]` (from 0)."""
    commands: tuple[Command, ...]
    raw: object
    """The row as it was given, as JSON can write it; the quarantine keeps it."""
    odd: tuple[str, ...] = ()
    """What is odd about it, and holds all the same: told with the report."""
    first_decides: bool = False
    """Whether its first command alone says if it is new; what the others add amends it."""
    waits: bool = False
    """Whether other rows may make it legal: if it is refused, it is tried again after them."""


class Relation(NamedTuple):
    """What a row says of two instruments. Counted apart from the rows, and yielded after all that
    register instruments: the far end may stand below."""

    place: str
    """`tokens[12].extensions.bridgeInfo.10`: the row it stands in, and where."""
    command: Relate
    raw: object
    """The row as it was given."""
    names: Mapping[bytes, str]
    """Fingerprint of each end to how people call it; a refusal names the one that is missing."""


class Refused(NamedTuple):
    """A row, or a relation, that cannot be imported."""

    place: str
    reason: str
    raw: object
    is_relation: bool = False


class Reading(Protocol):
    """A file whose outer form was understood. `done` and `total` count rows or bytes."""

    content_hash: bytes
    """Blake3 of the file's bytes, 32 bytes."""
    source: str
    """Who says so, when the user does not name a source."""
    unknown_columns: tuple[str, ...]
    total: int

    @property
    def done(self) -> int: ...

    def rows(self, source: str) -> Iterator[Row | Relation | Refused]:
        """Each row once, in the file's order unless one row needs another, and relations when all
        instruments are through, each as often as it is said. What a refused row says of relations
        stays with it. Raises InvalidInput when reading cannot go on."""


class Importer(Protocol):
    """One format. Instances stand in `importers.FORMATS` under their name."""

    name: str
    summary: str
    """One line for people: what such a file looks like."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Of JSON: keys without which it is not of this format; empty for other files."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Other keys, by which a document that is not quite of this format is like it."""

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether a file with this name that begins like this is likely of the format."""

    def open(self, file: InputFile) -> Reading:
        """Raises InvalidInput, naming file and place, for a file that is unusable as a whole."""


def slug(text: str) -> str:
    """`Superchain Token List` gives `superchain-token-list`; empty when nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:SOURCE_LENGTH_MAX].rstrip("-")


class Line(NamedTuple):
    number: int
    data: bytes
    """With its line end. Only the beginning when the line is longer than LINE_SIZE_BYTES_MAX."""
    size_bytes: int

    @property
    def is_cut(self) -> bool:
        return self.size_bytes > len(self.data)


class InputFile(Closing):
    """A regular file (or a link to one), open for reading. A context manager.

    What is read is what the file held when it was opened: lines appended since are left for the
    next import, any other change is noticed by its hash.
    """

    def __init__(self, path: str | os.PathLike[str], opened: BinaryIO | None = None) -> None:
        """opened: a regular file to read instead of the one at `path`; it is closed with this."""
        self.path = Path(path)
        self.doing = f"importing {self.path}"
        self._file = self._open() if opened is None else opened
        self.size_bytes = os.fstat(self._file.fileno()).st_size
        self.head = self._read_at(0, HEAD_SIZE_BYTES)
        if not self.head:
            self._file.close()
            self.refuse("it is empty", cure="name a file with rows in it")

    def _open(self) -> BinaryIO:
        try:
            # O_NONBLOCK: a pipe without a writer must not block before we can see that it is one.
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            self._unreadable(error)
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            os.close(file)
            is_directory = stat.S_ISDIR(found.st_mode)
            self.refuse(
                "it is a directory" if is_directory else "it is not a regular file",
                cure="name the files in it" if is_directory else "save it as a file first",
            )
        return os.fdopen(file, "rb")

    def refuse(self, problem: str, *, cure: str | None = None, **facts: object) -> NoReturn:
        raise InvalidInput(self.doing, problem=problem, cure=cure, **facts)

    def _unreadable(self, error: Exception) -> NoReturn:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput(
            self.doing, problem=f"it cannot be read: {why}", cure="name a file that you may read"
        ) from error

    def _read_at(self, start: int, size_bytes: int) -> bytes:
        try:
            self._file.seek(start)
            return self._file.read(min(size_bytes, self.size_bytes - start))
        except OSError as error:
            self._unreadable(error)

    def read(self, size_bytes_max: int) -> bytes:
        """All of it. Raises InvalidInput when it is larger."""
        if self.size_bytes > size_bytes_max:
            self.refuse(
                f"it has {self.size_bytes} bytes, at most {size_bytes_max} are read at once",
                cure="split it",
            )
        return self._read_at(0, self.size_bytes)

    def content_hash(self) -> bytes:
        """Blake3 of all of it, 32 bytes. Cost: one pass, 1 MiB of memory."""
        hasher = blake3()
        for start in range(0, self.size_bytes, PIECE_SIZE_BYTES):
            hasher.update(self._read_at(start, PIECE_SIZE_BYTES))
        return hasher.digest()

    def lines(self, content_hash: bytes) -> Iterator[Line]:
        """Physical lines, in bounded memory. Raises InvalidInput at the end when they are not what
        `content_hash` was taken of."""
        hasher = blake3()
        number, left = 0, self.size_bytes
        try:
            self._file.seek(0)
            while left:
                piece = data = self._file.readline(min(LINE_SIZE_BYTES_MAX, left))
                size_bytes = 0
                while piece:
                    hasher.update(piece)
                    size_bytes += len(piece)
                    left -= len(piece)
                    if piece.endswith(b"\n") or not left:
                        break
                    piece = self._file.readline(min(PIECE_SIZE_BYTES, left))
                if not data:
                    break
                number += 1
                yield Line(number, data, size_bytes)
        except OSError as error:
            self._unreadable(error)
        if hasher.digest() != content_hash:
            self.refuse(
                "it changed while it was read", cure="import it again when nobody writes to it",
                last_line=number,
            )  # fmt: skip

    def close(self) -> None:
        self._file.close()
