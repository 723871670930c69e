"""Backups: a prefix of a log in a directory of its own, verified, and back from there.

A backup is laid out like a home, so that `audit` and `replay` work on it too:

    DIR/log/         the events before the head that `backup` saw when it began
    DIR/checkpoints  the home's lines up to there, and one for the head
    DIR/cursors/     the cursors, none ahead of that head
    DIR/backup.json  the manifest: which log, up to where, verified or not

What a home has besides is no part of it: `views/` are made anew, `market/` is kept for days only,
and `quarantine/` is for who imported. Where `log/` alone was lost, a home is restored in its own
directory, and the latter two stay.

What is beside the log comes first, then the manifest, and `log/` appears last, so a directory with
both is a complete backup; a restored home appears in the same way. The manifest is written again
once all was verified: at any moment it says nothing that is not true. An update appends what is
new: until it is done the manifest speaks of the old prefix, which is still there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from .checkpoints import Checkpoints
from .copying import (
    Accept,
    Copied,
    Progress,
    check_accepted,
    check_stop,
    check_unbroken,
    copy_blocks,
    stop_offset,
)
from .cursors import SUFFIX, behind
from .errors import Corrupt, FormatTooNew, LogBusy, NotABackup
from .eventlog import EventLog
from .home import MARKET, Home, replace_file
from .lock import WriterLock
from .making import new_log, require_outside
from .refusals import SystemCalls
from .store import Head
from .times import format_time
from .verify import verify_in_child

BACKUP_FORMAT: Final = 1
MANIFEST: Final = "backup.json"
MANIFEST_SIZE_BYTES_MAX: Final = 65_536
BESIDE: Final = (MANIFEST, "checkpoints", "broken")
"""What a killed backup or restore leaves without a log, and the next one replaces."""
BESIDE_A_HOME: Final = (*BESIDE[1:], MARKET)
"""The same where a home is to be; the samples of one whose log was lost are still its own."""


class Backup(msgspec.Struct, frozen=True):
    """The manifest, `backup.json`."""

    format: int
    log_id: str
    """Of the genesis record, in hex."""
    head: int
    chain_head: str
    created: str
    """RFC 3339; when `backup` began."""
    size_bytes: int
    """Of the log on disk."""
    verified: bool
    """Every byte of it was read back and checked since it was written."""


@SystemCalls("reading a backup")
def read_manifest(directory: str | os.PathLike[str]) -> Backup:
    """What a backup says of itself. Raises NotABackup, FormatTooNew."""
    place, doing = Home(directory), f"reading the backup {os.path.abspath(directory)}"
    try:
        with open(place.path / MANIFEST, "rb") as file:
            data = file.read(MANIFEST_SIZE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        missing = not place.path.is_dir()
        problem = "there is no such directory" if missing else f"it has no {MANIFEST}"
        raise NotABackup(doing, problem=problem) from None
    try:
        format_version = msgspec.json.decode(data)["format"]
        if format_version > BACKUP_FORMAT:
            raise FormatTooNew(doing, format=format_version, newest_known=BACKUP_FORMAT)
        found = msgspec.json.decode(data, type=Backup)
        if found.head < 0 or len(bytes.fromhex(found.chain_head)) != 32:
            raise ValueError(f"head {found.head}, chain head {found.chain_head}")
        return found
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise NotABackup(doing, problem=f"its {MANIFEST} cannot be read: {error}") from error


@SystemCalls("making a backup")
def make_backup(
    log: EventLog, directory: str | os.PathLike[str], *, verify: bool = True,
    progress: Progress | None = None,
) -> Backup:  # fmt: skip
    """Makes or updates the backup of `log` in a directory, up to the head as it is now.

    Others may write meanwhile. progress: of copying, then of verifying. Raises NotABackup when the
    directory holds another log's backup or one that went another way, InvalidInput when it is to be
    made within a home, HomeExists when it holds other things, LogBusy when another one works on
    that directory, LogFull, ChainBroken when the log itself cannot be trusted, and Corrupt when the
    copy is not what was written.
    Cost: that of copying the new events, and of an audit of all.
    """
    check_unbroken(log, doing := f"backing up {log.name}")
    place = Home(directory)
    if place.exists():
        read_manifest(place.path)  # else nothing is written there, not even a lock
    else:
        require_outside(place.path, doing)
        place.require_room(BESIDE)
    with _alone(place, doing):
        return _back_up(log, place, doing, verify, progress)


def _back_up(
    log: EventLog, place: Home, doing: str, verify: bool, progress: Progress | None
) -> Backup:
    cursors = _cursor_files(log.home)
    head = log.store.head()  # after the cursors: none is ahead of it
    found = Backup(
        BACKUP_FORMAT, log.genesis.log_id.hex(), head.offset, head.chain.hex(),
        format_time(time.time_ns()), 0, False,
    )  # fmt: skip
    checkpoints = Checkpoints(log.home.checkpoints).until(head.offset)
    if place.exists():
        found = _update(log, place, head, found, progress)
        _write_beside(place, head, checkpoints, cursors)
        _write(place, found)
    else:
        if (place.path / MANIFEST).exists():  # of one that a crash ended, or whose log is gone
            _check_same_log(read_manifest(place.path), found, doing)
        with new_log(place, log.genesis, beside=BESIDE) as store:
            copy_blocks(log, store, head.offset, progress=progress)
            found = msgspec.structs.replace(found, size_bytes=store.statistics().size_bytes)
            _write_beside(place, head, checkpoints, cursors)
            _write(place, found)
    if verify:
        verify_copy(place, doing, progress and (lambda done: progress(done, head.offset)))
        found = msgspec.structs.replace(found, verified=True)
        _write(place, found)
    return found


@contextlib.contextmanager
def _alone(place: Home, doing: str) -> Iterator[None]:
    """Nobody else makes or updates a backup there, or restores one to there, within it.

    Else an older manifest could come over a newer log. Raises LogBusy at once. A directory that
    was made for it goes again unless it ends with a log.
    """
    made = not place.path.exists()
    place.make_directories()
    lock = WriterLock(place.run / "maker")
    try:
        holding = lock.hold(0)
    except LogBusy as busy:
        lock.close()
        raise LogBusy(
            doing, problem=f"another backup or restore works on {place.path}",
            cure="wait for it, or name another directory", **busy.facts,
        ) from busy  # fmt: skip
    try:
        with holding:
            yield
    except BaseException:
        if made and not place.exists():
            shutil.rmtree(place.path, ignore_errors=True)
        raise
    finally:
        lock.close()


def _check_same_log(there: Backup, wanted: Backup, doing: str) -> None:
    if there.log_id != wanted.log_id:
        raise NotABackup(
            doing, problem="the directory holds the backup of another log", log_id=there.log_id,
            cure="name another directory, empty or missing",
        )  # fmt: skip


def _update(
    log: EventLog, place: Home, head: Head, wanted: Backup, progress: Progress | None
) -> Backup:
    doing = f"updating the backup {place.path}"
    _check_same_log(read_manifest(place.path), wanted, doing)
    with EventLog.open(place.path) as copy, copy.writing():
        there = copy.store.head()
        if there.offset > head.offset or log.chain_at(there.offset) != there.chain:
            raise NotABackup(
                doing, problem="it holds events that this home does not have",
                backup_head=there.offset, head=head.offset,
                cure="keep it, and name another directory, empty or missing",
            )  # fmt: skip
        copy_blocks(log, copy.store, head.offset, progress=progress)
        size_bytes = copy.store.statistics().size_bytes
    return msgspec.structs.replace(wanted, size_bytes=size_bytes)


def _cursor_files(home: Home) -> dict[str, bytes]:
    found = {}
    for path in home.cursors.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # deleted since we looked
            found[path.name] = path.read_bytes()
    return found


def _write(place: Home, found: Backup) -> None:
    replace_file(place.path / MANIFEST, msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def _write_beside(place: Home, head: Head, checkpoints: bytes, cursors: dict[str, bytes]) -> None:
    """What belongs to a copied log but is not it.

    The checkpoints first: wherever they are without a log, no other home is made beside cursors
    that are none of its own.
    """
    place.broken.unlink(missing_ok=True)  # of a log that is gone
    replace_file(place.checkpoints, checkpoints)
    Checkpoints(place.checkpoints).note(head.offset, head.chain, head.time, now=True)
    for path in place.cursors.glob(f"*{SUFFIX}"):
        if path.name not in cursors:
            path.unlink()
    for name, data in cursors.items():
        replace_file(place.cursors / name, data)


def verify_copy(
    place: Home, doing: str, progress: Callable[[int], None] | None = None
) -> None:
    """Audits a copy in a child process. Raises Corrupt, with the first verdict that fails."""
    for verdict in verify_in_child(place.path, progress=progress):
        if not verdict.ok:
            raise Corrupt(
                doing, problem=f"{place.path} is damaged: {verdict.detail}", verdict=verdict.name,
                first_bad_offset=verdict.first_bad_offset,
                cure=f"{verdict.cure} (with --home {place.path})",
            )  # fmt: skip


@SystemCalls("restoring a backup")
def restore_log(
    directory: str | os.PathLike[str], target: str | os.PathLike[str],
    to: int | str | None = None, *, progress: Progress | None = None,
    accept: Accept | None = None,
) -> Copied:  # fmt: skip
    """Makes the home `target` from a backup, which is verified first, up to and including `to`.

    to: an offset, or a time as text and then all that was recorded by it; None is all.
    The cursors come along; one that was ahead is paused, to go on there. Raises NotABackup,
    Corrupt when the backup is damaged, HomeExists, LogBusy when another restore works on `target`,
    OffsetOutOfRange, InvalidInput, LogFull, and what `accept` does; then there is no home.
    """
    doing, manifest, place = f"restoring {directory}", read_manifest(directory), Home(directory)
    made = Home(target)
    require_outside(made.path, doing)
    made.require_room(BESIDE_A_HOME)
    if not place.exists():
        raise NotABackup(
            doing, problem="it is not finished: its log is missing",
            cure="run that `alphapulse backup` again, or use another one",
        )  # fmt: skip
    verify_copy(place, doing)
    with EventLog.open(place.path, mode="r") as log:
        head = log.head
        if (
            log.genesis.log_id.hex() != manifest.log_id  # which cursors are compared with, too
            or head < manifest.head or log.chain_at(manifest.head).hex() != manifest.chain_head
        ):  # fmt: skip
            raise Corrupt(
                doing, problem=f"its log is not the one that its {MANIFEST} names",
                head=head, manifest_head=manifest.head, cure="restore another backup",
            )  # fmt: skip
        stop = manifest.head if to is None else stop_offset(log, to, doing)
        check_stop(log, stop)
        checkpoints = Checkpoints(place.checkpoints).until(stop)
        cursors = {
            name: behind(data, name.removesuffix(SUFFIX), manifest.log_id, stop)
            for name, data in _cursor_files(place).items()
        }
        with (
            _alone(made, doing),
            new_log(made, log.genesis, beside=BESIDE_A_HOME) as store,
        ):
            reached = copy_blocks(log, store, stop, progress=progress)
            check_accepted(store, log.name, accept)
            _write_beside(made, reached, checkpoints, cursors)
            return Copied(reached.offset, reached.chain, store.statistics().size_bytes)
