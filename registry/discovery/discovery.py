"""Watching directories and importing what appears there, each content once.

The log is the only memory: `feed.imported` is written after all rows of a file, so a kill at any
moment leads to importing that file again, which adds nothing twice, and never to losing it. What
was imported is known by its content, so a copy, a renamed file or one that is written again as it
was adds nothing.

A file is read into a private copy first. Before and after, it must be the very file that was looked
at, unchanged; then the copy, which nobody else can change, is hashed, looked up, and imported. So
the hash is that of what was parsed, and a file that grows while it is read is left for later.

A notification is only a hint that it is worth looking; a slow look by the clock is the backstop.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from blake3 import blake3

from alphapulse.log import AlphaPulseError, InvalidInput, LogBusy, LogFull, SystemRefused, refused
from alphapulse.projections import ViewFull
from alphapulse.registry.commands import Command
from alphapulse.registry.commands_feeds import RecordImport, StateRules
from alphapulse.registry.deciding import Receipt
from alphapulse.registry.held import Origin
from alphapulse.registry.importing import ImportReport, import_file
from alphapulse.registry.snapshots import INSTRUMENTS_MAX
from alphapulse.registry.tickets import Unit
from alphapulse.registry.writing import receipts

from .feeds import ANY, Feed, FeedsFile
from .folder import Candidate, Folder, Identity, identity_of, open_within, usable_directories
from .hints import Hints
from .snapshot import LARGE, Taken, command_of, flaw_of_time, is_newest, judge, judged

if TYPE_CHECKING:
    from alphapulse.registry.registry import Registry

SETTLE_S: Final = 1.0
"""How long a file must have been the same."""
RESCAN_S: Final = 5.0
"""How often directories are looked at when nothing is heard of them."""
ONCE_SETTLES: Final = 10
"""For how many settling times `once` waits for files that are being written."""
FEEDS_FILE: Final = "feeds-file"
"""Who states the rules of one, in the log."""
_PIECE_SIZE_BYTES: Final = 1 << 20
_RESERVE_SIZE_BYTES: Final = 64 << 20
"""Disk space that a copy leaves free, as the log does."""
_PASSING: Final = (LogBusy, LogFull, ViewFull, SystemRefused)
"""What may be over at the next look."""


class Found(NamedTuple):
    """Something that a look came to.

    what: imported, known (the content was imported before), refused (and never tried again while it
    stays as it is), postponed (to the next look), vanished and back (a directory), deaf (no
    notifications, so only the clock is left).
    """

    what: str
    path: Path
    report: ImportReport | None = None
    """Of imported."""
    offset: int | None = None
    """Of the event `feed.imported`, for imported and known."""
    problem: AlphaPulseError | None = None
    """Of refused, postponed, vanished and deaf."""
    snapshot: Taken | None = None
    """Of imported, where the feed is one of complete files."""


class DiscoveryStatistics(NamedTuple):
    looks: int
    imported: int
    known: int
    refused: int
    waiting: int
    """Files that are not complete, or were postponed."""
    listening: bool
    """Whether notifications come from every directory that is there."""


class Discovery:
    """Iterate over `run` or `once`; one at a time, from one thread. Nothing happens in between."""

    def __init__(
        self, registry: Registry, directories: Iterable[str | os.PathLike[str]],
        feeds: FeedsFile = ANY, *, settle_s: float = SETTLE_S, rescan_s: float = RESCAN_S,
    ) -> None:  # fmt: skip
        """feeds: see `read_feeds`; without any, formats are detected. settle_s: how long a file
        must have been the same before it is read. rescan_s: how often to look when nothing is
        heard. Raises InvalidInput for a bad directory or time."""
        if not (settle_s >= 0 and rescan_s > 0):  # so that what is no number is refused too
            raise InvalidInput(
                "watching", problem="settle_s must be 0 or more, and rescan_s above 0",
                cure=f"try {SETTLE_S:g} and {RESCAN_S:g}", settle_s=settle_s, rescan_s=rescan_s,
            )  # fmt: skip
        self._registry = registry
        self._feeds = feeds.feeds
        self._rules = feeds.rules
        self._are_rules_stated = feeds.rules == StateRules()
        """Once, before anything is imported."""
        self._settle_s = settle_s
        self._rescan_s = rescan_s
        self._folders = [Folder(path, settle_s) for path in usable_directories(directories)]
        self._gone: set[Path] = set()
        self._hints = Hints()
        self._looks = 0
        self._counts = dict.fromkeys(("imported", "known", "refused"), 0)

    def statistics(self) -> DiscoveryStatistics:
        waiting = sum(len(folder.candidates) for folder in self._folders)
        return DiscoveryStatistics(
            self._looks, **self._counts, waiting=waiting, listening=self._hints.listening
        )

    def once(self, stop: threading.Event | None = None) -> Iterator[Found]:
        """What is there now. Files that are being written are waited for, up to ten settling
        times; then they are told as postponed. Raises what stops an import."""
        stop = stop or threading.Event()
        deadline_s = time.monotonic() + ONCE_SETTLES * self._settle_s
        while not stop.is_set():
            yield from self.look(stop)
            wait_s = self._wait_s()
            if wait_s is None:
                return
            if time.monotonic() + wait_s > deadline_s:
                yield from self._unfinished()
                return
            stop.wait(wait_s)

    def run(self, stop: threading.Event | None = None) -> Iterator[Found]:
        """For ever, or until `stop` is set. Raises what stops an import and does not pass by
        itself (ReadOnly, ChainBroken). Cost while nothing happens: ten wake-ups a second."""
        stop = stop or threading.Event()
        with self._hints:
            while not stop.is_set():
                yield from self._listen(stop)
                yield from self.look(stop)
                wait_s = self._wait_s()
                if not stop.is_set():
                    wait_s = self._rescan_s if wait_s is None else min(wait_s, self._rescan_s)
                    self._hints.wait(stop, wait_s)

    def _listen(self, stop: threading.Event) -> Iterator[Found]:
        """Hears of the directories that are there, before they are looked at."""
        paths = []
        for folder in self._folders:
            try:
                found = os.stat(folder.path, follow_symlinks=False)
            except OSError:  # the look tells it
                continue
            if stat.S_ISDIR(found.st_mode):
                paths.append((folder.path, found.st_dev, found.st_ino))
        problem = self._hints.listen(tuple(paths), stop)
        if problem:
            yield Found("deaf", self._folders[0].path, problem=InvalidInput(
                "watching directories", problem=f"the system gives no notifications: {problem}",
                cure=f"nothing is lost, they are looked at each {self._rescan_s:g} s; raise"
                " fs.inotify.max_user_watches or max_user_instances for quicker ones",
            ))  # fmt: skip

    def look(self, stop: threading.Event | None = None) -> Iterator[Found]:
        """One look at all directories: imports what is complete."""
        self._looks += 1
        if not self._are_rules_stated:
            try:
                receipts(self._registry.execute([Unit((self._rules,), Origin(FEEDS_FILE))]))
            except _PASSING as error:  # nothing is imported by other rules than those
                yield Found("postponed", self._folders[0].path, problem=error)
                return
            self._are_rules_stated = True
        for folder in self._folders:
            directory = folder.look()
            if directory is None:
                if folder.path not in self._gone:
                    self._gone.add(folder.path)
                    yield Found("vanished", folder.path, problem=InvalidInput(
                        f"watching {folder.path}", problem=folder.trouble,
                        cure="it is watched again as soon as it is back",
                    ))  # fmt: skip
                continue
            try:
                if folder.path in self._gone:
                    self._gone.remove(folder.path)
                    yield Found("back", folder.path)
                for feed, candidate in self._ready(folder):
                    if stop is not None and stop.is_set():
                        return
                    found = self._take(folder, directory, candidate, feed)
                    if found is not None:
                        if found.what in self._counts:
                            self._counts[found.what] += 1
                        yield found
            finally:
                os.close(directory)

    def _ready(self, folder: Folder) -> list[tuple[Feed | None, Candidate]]:
        """Complete files with their feeds, those of the first feed first; None = of no feed."""
        now_s, found = time.monotonic(), []
        for candidate in folder.candidates:
            if candidate.ready_at_s <= now_s:
                place, feed = next(
                    ((n, f) for n, f in enumerate(self._feeds) if f.fits(candidate.name)),
                    (len(self._feeds), None),
                )
                found.append((place, candidate.name, feed, candidate))
        found.sort(key=lambda each: each[:2])
        return [(feed, candidate) for _, _, feed, candidate in found]

    def _wait_s(self) -> float | None:
        """Until the next file may be complete; None when none is waited for."""
        at_s = [each.ready_at_s for folder in self._folders for each in folder.candidates]
        return max(min(at_s) - time.monotonic(), 0.001) if at_s else None

    def _unfinished(self) -> Iterator[Found]:
        for folder in self._folders:
            for candidate in folder.candidates:
                if candidate.is_told:
                    continue
                path = folder.path / candidate.name
                yield Found("postponed", path, problem=InvalidInput(
                    f"importing {path}", problem="it is still being written",
                    cure="write it under a name that ends in .part, then rename it",
                ))  # fmt: skip

    def _take(
        self, folder: Folder, directory: int, candidate: Candidate, feed: Feed | None
    ) -> Found | None:
        """What became of a file; None when it changed, and is another one at the next look."""
        path = folder.path / candidate.name
        try:
            if candidate.trouble:
                raise InvalidInput(
                    f"importing {path}", problem=candidate.trouble,
                    cure="put a file of your own there, not a link",
                )  # fmt: skip
            if feed is None:
                raise InvalidInput(
                    f"importing {path}", problem="no feed's pattern fits its name",
                    cure="add a [[feed]] with such a pattern, or put it elsewhere",
                )  # fmt: skip
            found = self._import(path, directory, candidate, feed)
        except InvalidInput as error:
            candidate.done = True
            return Found("refused", path, problem=error)
        except _PASSING as error:
            candidate.postpone(self._rescan_s)
            was_told, candidate.is_told = candidate.is_told, True
            return None if was_told else Found("postponed", path, problem=error)
        candidate.done = found is not None
        if found is None:
            candidate.postpone(self._settle_s)
        return found

    def _import(
        self, path: Path, directory: int, candidate: Candidate, feed: Feed
    ) -> Found | None:
        try:
            descriptor = open_within(directory, candidate)
            if descriptor is None:
                return None
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                return self._import_opened(path, file, candidate.identity, feed)
        except PermissionError as error:
            raise InvalidInput(
                f"importing {path}", problem="this user may not read it",
                cure="make it readable, or write it again",
            ) from error  # fmt: skip
        except OSError as error:
            raise refused(f"importing {path}", error) from error

    def _import_opened(
        self, path: Path, file: BinaryIO, looked_at: Identity, feed: Feed
    ) -> Found | None:
        """None when it is not, or no longer, what was looked at."""
        content_hash = _read(file, looked_at)
        if content_hash is None:
            return None
        registry, offset = self._registry, self._registry.imported(content_hash)
        flaw = flaw_of_time(registry, feed, looked_at.modified_ns) if feed.complete else ""
        if offset is not None and (flaw or not feed.complete):
            if feed.complete and is_newest(registry, feed, content_hash, looked_at.modified_ns):
                judge(registry, feed)  # a kill may have come before what follows from it
            return Found("known", path, offset=offset)
        self._make_room(path, looked_at.size_bytes)
        named: set[int] = set()
        # Without a name, so that a kill leaves nothing behind.
        with tempfile.TemporaryFile(dir=registry.log.home.path) as copy:
            if _read(file, looked_at, copy) != content_hash:
                return None
            copy.seek(0)
            report = import_file(
                registry, path, format=feed.format, source=feed.source, opened=copy,
                named=named if feed.complete else None,
            )  # fmt: skip
        if feed.complete and not flaw and len(named) > INSTRUMENTS_MAX:
            flaw = LARGE
        if flaw or not feed.complete:
            snapshot = Taken(flaw) if flaw else None
            return Found("imported", path, report, record(registry, report).offset, None, snapshot)
        command = command_of(feed, report, named, looked_at.modified_ns)
        receipt, recorded = _recorded(registry, report, command)
        return Found(
            "imported", path, report, receipt.offset, None, judged(registry, feed, recorded)
        )

    def _make_room(self, path: Path, size_bytes: int) -> None:
        """Raises LogFull when a copy would take what the log needs."""
        space = os.statvfs(self._registry.log.home.path)
        free_bytes = space.f_bavail * space.f_frsize
        if free_bytes < size_bytes + _RESERVE_SIZE_BYTES:
            raise LogFull(
                f"copying {path} into the home", free_bytes=free_bytes, size_bytes=size_bytes,
                reserve_bytes=_RESERVE_SIZE_BYTES,
            )  # fmt: skip


def record(registry: Registry, report: ImportReport) -> Receipt:
    """Says in the log that all of a file was imported, unless it says so already."""
    return _recorded(registry, report)[0]


def _recorded(registry: Registry, report: ImportReport, *more: Command) -> list[Receipt]:
    """The same, in one commit with more that is to be said of the file; a receipt for each."""
    name = os.fsencode(os.path.basename(report.file)).decode("utf-8", "backslashreplace")
    command = RecordImport(
        source=report.source, file=name, content_hash=report.content_hash, format=report.format,
        rows=report.rows, new=report.new, unchanged=report.unchanged, amended=report.amended,
        quarantined=report.quarantined, collisions=report.collisions, conflicts=report.conflicts,
    )  # fmt: skip
    origin = Origin(report.source, report.content_hash, "")
    return receipts(registry.execute([Unit((command, *more), origin)]))


def _read(file: BinaryIO, looked_at: Identity, copy: BinaryIO | None = None) -> bytes | None:
    """Blake3 of all of it, copied if wanted; None when it changed since it was looked at."""
    hasher, left = blake3(), looked_at.size_bytes
    file.seek(0)
    while piece := file.read(min(_PIECE_SIZE_BYTES, left)):
        left -= len(piece)
        hasher.update(piece)
        if copy is not None:
            copy.write(piece)
    return hasher.digest() if identity_of(os.fstat(file.fileno())) == looked_at else None
