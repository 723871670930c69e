"""Processes that fold views ahead of the engine, one for each usable CPU beyond the first.

The idea: *a helper only does earlier what the engine would do anyway*. It folds into a table that
is in force nowhere yet, block by block, and each finished block counts. When it ends, however it
ends, the engine goes on from the applied offset in the table's header, repeats a block that was
cut off, and makes room where a helper found none. So a helper that is killed, refused or stuck
costs time and nothing else, what is wrong with the log is found and raised by the engine, and
nothing is ever asked of a helper but that it is gone.

That is the invariant, since a table has one writer: nobody folds into a table while its helper
lives. A helper takes no lock, names no generation, and ends by itself when its engine is gone or
has let go of the file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Final, NamedTuple

from alphapulse.log import EventLog
from alphapulse.log.interrupts import safe_point

from .folding import checked_blocks, count_for, fold_block, has_room
from .table import TableWriter
from .view import View
from .views import VIEWS_BY_NAME

WORK_MIN: Final = 100_000
"""Rows and links to write into a view for which a process of its own pays: starting one takes as
long as a quarter of that."""
STALLED_S: Final = 30.0
"""A helper that finishes no block for so long is ended."""
_LOOK_S: Final = 0.1
_CHILD: Final = (
    "import sys; from alphapulse.projections import helpers; sys.exit(helpers.main(sys.argv[1:]))"
)


class Work(NamedTuple):
    """A table to fill. size: rows and links to write. inode: of its file, since the name may have
    become another's by the time a helper opens it."""

    table: TableWriter
    size: int
    inode: int


class Helpers:
    """The processes at work for one fold."""

    def __init__(self, tables: Sequence[TableWriter]) -> None:
        self.tables = tables
        """Nobody else may write these until `wait` or `end` has returned."""
        self.children: list[subprocess.Popen[bytes]] = []

    def applied(self) -> list[int]:
        return [table.applied for table in self.tables]

    def wait(self, tell: Callable[[], None]) -> None:
        """Until all have ended. tell: called a few times a second."""
        seen, moved_at = self.applied(), monotonic()
        for child in self.children:
            while child.poll() is None:
                safe_point()
                tell()
                now = self.applied()
                if now != seen:
                    seen, moved_at = now, monotonic()
                elif monotonic() - moved_at > STALLED_S:
                    child.kill()
                try:
                    child.wait(_LOOK_S)
                except subprocess.TimeoutExpired:
                    continue
        tell()

    def end(self) -> None:
        """Kills those that still run."""
        for child in self.children:
            child.kill()
        for child in self.children:
            child.wait()


def shares(work: Sequence[Work]) -> list[list[Work]]:
    """The tables of each process, the first of which is the engine's own; only one when help does
    not pay."""
    heavy = sum(each.size >= WORK_MIN for each in work)
    count = max(1, min(heavy, len(os.sched_getaffinity(0))))
    found: list[list[Work]] = [[] for _ in range(count)]
    for each in sorted(work, key=lambda each: each.size, reverse=True):
        min(found, key=lambda share: sum(other.size for other in share)).append(each)
    return found


@contextmanager
def helping(
    log: EventLog, groups: Sequence[Sequence[Work]], stop: int, boot_id: bytes
) -> Iterator[Helpers]:
    """A process for each group, which folds its tables up to `stop`. Leaving kills who is left.

    Where the system refuses a process there is just less help.
    """
    helpers = Helpers([each.table for group in groups for each in group])
    common = [
        sys.executable, "-P", "-c", _CHILD, os.fspath(log.home.path), str(os.getpid()), str(stop),
        boot_id.hex(),
    ]  # fmt: skip
    try:
        for group in groups:
            tables = [
                text
                for each in group
                for text in (each.table.schema.name, each.table.path, str(each.inode))
            ]
            try:
                # What one complains of, the engine meets itself.
                helpers.children.append(subprocess.Popen(
                    [*common, *tables], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ))  # fmt: skip
            except OSError:
                break
        yield helpers
    finally:
        helpers.end()


# In the helper


class _Table(NamedTuple):
    view: View
    writer: TableWriter
    inode: int

    def is_ours(self) -> bool:
        """False when the engine let go of the file, or somebody swept it away."""
        try:
            return os.stat(self.writer.path).st_ino == self.inode
        except FileNotFoundError:
            return False


def main(arguments: list[str]) -> int:
    """home, pid of the engine, stop, boot id; then name, path and inode of each table."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the engine, which ends us
    home, engine, stop, boot_id, *rest = arguments
    with EventLog.open(home, mode="r") as log:
        tables = []
        for name, path, inode in zip(*[iter(rest)] * 3, strict=True):
            view = VIEWS_BY_NAME[name]
            writer = TableWriter.open(
                path, view.schema, log.genesis.log_id, boot_id=bytes.fromhex(boot_id)
            )
            tables.append(_Table(view, writer, int(inode)))
        _fold(log, tables, int(stop), int(engine))
    return 0


def _fold(log: EventLog, tables: list[_Table], stop: int, engine: int) -> None:
    start = min(table.writer.applied for table in tables)
    for block, kinds in checked_blocks(log, start, stop):
        if os.getppid() != engine:
            return
        for table in tables[:]:
            view, writer = table.view, table.writer
            if not (table.is_ours() and has_room(view, writer, count_for(view, block, kinds))):
                tables.remove(table)
            elif writer.applied < block.stop:
                fold_block(view, writer, block, writer.applied, kinds.keys(), log.event)
        if not tables:
            return
