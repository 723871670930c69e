"""Checkpoints: lines of `head chain time` beside the log, each written after a durable commit.

A log whose tail was cut off, or that was recomputed with a valid chain of its own, still hashes
right; but it no longer agrees with what these lines say it once was. They are appended at most
once a second and on close, so an auditor who copies the file elsewhere can hold the log to it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .times import format_time

INTERVAL_S: Final = 1.0
_TORN: Final = re.compile(
    rb"([0-9]{1,20}( [0-9a-f]{0,64}| [0-9a-f]{64} [0-9TZ:.-]{0,30})?)?\n?"
    rb"|[0-9a-fTZ:. \0-]*\0[0-9a-fTZ:. \0-]*\n?"
)
"""What a crash leaves of lines: the beginning of one, and the line end of whoever wrote next; or
zeros where a sector did not reach the disk, with what stood in the others, and no line end between.
Of one that is being written, its beginning is seen."""


class Checkpoint(NamedTuple):
    head: int
    chain: bytes


class Checkpoints:
    """Appends to and reads `home/checkpoints`. Lines that were cut by a crash are passed over; so
    are those that nobody wrote, which `strange` tells of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_at = float("-inf")
        self._written_head = -1

    def note(self, head: int, chain: bytes, recorded: int, *, now: bool = False) -> None:
        """Writes a line if the last one is a second old, or at once with `now`."""
        if head == self._written_head or head == 0:
            return
        moment = time.monotonic()
        if not now and moment - self._written_at < INTERVAL_S:
            return
        line = f"{head} {chain.hex()} {format_time(recorded)}\n".encode()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size_bytes = os.fstat(descriptor).st_size
            if size_bytes and os.pread(descriptor, 1, size_bytes - 1) != b"\n":
                line = b"\n" + line  # else a line that was cut would become part of this one
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
        self._written_at, self._written_head = moment, head

    def __iter__(self) -> Iterator[Checkpoint]:
        """Every whole line, oldest first."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as lines:
            for line in lines:
                checkpoint = _parse(line)
                if checkpoint is not None:
                    yield checkpoint

    def strange(self) -> str:
        """Names the file and the first line that is no checkpoint, nor what a crash leaves of one;
        empty when there is none."""
        if not self._path.exists():
            return ""
        with open(self._path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if _parse(line) is None and not _TORN.fullmatch(line):
                    return f"line {number} of {self._path} is no checkpoint: what it said is lost"
        return ""

    def until(self, head: int) -> bytes:
        """The whole lines up to a head, as they are: what they say holds for that prefix too."""
        if not self._path.exists():
            return b""
        lines = self._path.read_bytes().splitlines(keepends=True)
        return b"".join(
            line for line in lines if (found := _parse(line)) is not None and found.head <= head
        )

    def last(self) -> Checkpoint | None:
        """The newest whole line, read from the end of the file."""
        if not self._path.exists():
            return None
        with open(self._path, "rb") as lines:
            lines.seek(max(0, lines.seek(0, os.SEEK_END) - 4096))
            for line in reversed(lines.read().splitlines(keepends=True)):
                checkpoint = _parse(line)
                if checkpoint is not None:
                    return checkpoint
        return None


def _parse(line: bytes) -> Checkpoint | None:
    parts = line.split()
    if not line.endswith(b"\n") or len(parts) != 3 or not parts[0].isdigit() or len(parts[1]) != 64:
        return None
    try:
        return Checkpoint(int(parts[0]), bytes.fromhex(parts[1].decode("ascii")))
    except ValueError:
        return None
