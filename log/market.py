"""The market log: what is worth days and not for ever, in `home/market`. Samples of venues for now.

It is a log like the other one, of a small home of its own below the home: the same frames and
blocks, patterns and subscriptions, another writer lock, so that collectors and the registry never
wait for each other. Three things differ, and each says so:

* a commit does not wait for the disk (`durable` is False in every receipt). A killed writer loses
  nothing, for what it committed is in the kernel's cache; a power cut may damage the file. So a
  log whose writer did not close is verified in a child process before anybody writes to it, after
  a new boot all of it, and one that fails is emptied: whatever it said may be wrong.
* what is old, or too much, is forgotten from its beginning, whole blocks at a time.
* offsets are written `m:123`. One is never given twice: a log that was emptied goes on at the
  microseconds since 1970, beyond all offsets that it can have given.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Final, NamedTuple

from .clock import RecordingClock
from .errors import Corrupt, HomeExists, HomeMissing, InvalidInput, LogFull, SystemRefused
from .eventlog import EventLog, Mode, check_choices
from .home import BUILDING, MARKET, Home, new_genesis, publish_log, sync_directory
from .interrupts import opened
from .lmdb_base import GONE, is_gone
from .lmdb_store import RESERVE_SIZE_BYTES, LmdbStore, is_open_here
from .lock import WriterLock
from .refusals import SystemCalls
from .stops import PROBE_BLOCKS, check_unwritten, living_writers, stale_markers
from .store import Head
from .times import NS
from .verify import verify_in_child

MARKET_PREFIX: Final = "m:"
TRIM_S: Final = 1.0
"""How often a writer looks for what is to be forgotten."""
_DAMAGED: Final = "log.damaged"


class Retention(NamedTuple):
    """What is kept: nothing older than `age_s_max`, and no more than `size_bytes_max`, of which a
    sample takes about 180. The newest commit always is."""

    age_s_max: int = 7 * 86_400
    size_bytes_max: int = 1 << 30


class MarketHome(Home):
    """`market/` in a home: `log/`, `cursors/` and `run/`, as the home itself has them."""

    def __init__(self, home: str | os.PathLike[str]) -> None:
        super().__init__(Path(home) / MARKET)
        self.above = Home(home)
        self.damaged = self.path / _DAMAGED
        self.directories = (self.path, self.cursors, self.run)

    def cursor_shown(self, name: str) -> str:
        return f"{MARKET_PREFIX}{name}"

    def offset_shown(self, offset: int) -> str:
        return market_offset_text(offset)


class MarketLog(EventLog):
    """Open with `MarketLog.of`, close it or use it as a context manager. Thread-safe."""

    home: MarketHome
    retention: Retention = Retention()

    @classmethod
    @SystemCalls("opening the market log")
    def of(
        cls, home: str | os.PathLike[str], *, mode: Mode = "rw",
        retention: Retention | None = None, reserve_size_bytes: int = RESERVE_SIZE_BYTES,
        clock: RecordingClock | None = None,
    ) -> MarketLog:  # fmt: skip
        """That of a home, made when it is not there and may be written. Cost: 1 ms.

        After a writer did not close it, a new process looks at it first: 0.3 s, after another boot
        1.5 µs an event too. `emptied` says if that found damage. Raises HomeMissing, InvalidInput,
        HomeUnsupported, Corrupt for who only reads, or while another process writes to it.
        """
        check_choices(home, mode, "relaxed")
        kept = retention or Retention()
        if kept.age_s_max < 1 or kept.size_bytes_max < 1 << 20:
            raise InvalidInput(
                "opening the market log", problem="what is kept is at least 1 s and 1 MiB",
                **kept._asdict(),
            )  # fmt: skip
        return opened(lambda: cls._of(home, mode, kept, reserve_size_bytes, clock))

    @classmethod
    def _of(
        cls, home: str | os.PathLike[str], mode: Mode, retention: Retention,
        reserve_size_bytes: int, clock: RecordingClock | None,
    ) -> MarketLog:  # fmt: skip
        place = MarketHome(home)
        place.above.require()
        emptied = _prepare(place, mode)
        store = LmdbStore.open(
            place.log, sync=False, exacting=mode == "rw", durable=False,
            reserve_size_bytes=reserve_size_bytes,
        )  # fmt: skip
        try:
            check_unwritten(place, store)
            log = cls(place, store, clock or RecordingClock(), mode)
        except BaseException:
            store.close()
            raise
        log.retention, log.emptied = retention, emptied
        if mode == "rw":
            sync_directory(place.run)  # else a power cut may take the marker that we write
        return log

    emptied: str = ""
    """Why this opening found the log damaged, and emptied it; empty when it did not."""
    trimmed_blocks: int = 0
    """How many this handle has forgotten."""
    trim_refused: str = ""
    """Why it could not forget when it last tried; the next commit a second later tries again."""
    _trimmed_at: float = float("-inf")

    def after_commit(self, head: Head) -> None:
        """Within the session. There are no checkpoints: they would outgrow what they speak of."""
        moment = time.monotonic()
        if moment - self._trimmed_at >= TRIM_S:
            self._trimmed_at = moment
            try:
                self._trim(head.time)
                self.trim_refused = ""
            except (LogFull, SystemRefused) as error:
                # The commit is done, and whoever waits for it must not be told otherwise.
                self.trim_refused = str(error)

    def _trim(self, now: int) -> None:
        before = now - self.retention.age_s_max * NS
        self.trimmed_blocks += _lmdb(self).trim(self.retention.size_bytes_max, before)

    def trim(self) -> int:
        """Forgets what is not to be kept any more; how many blocks. Raises LogBusy, LogFull."""
        before = self.trimmed_blocks
        with self.writing():
            self._trim(time.time_ns())
        return self.trimmed_blocks - before

    def checkpoint(self) -> None:
        """Writes all of it to the disk: a log that was closed survives a power cut."""
        _lmdb(self).flush()


def _lmdb(log: MarketLog) -> LmdbStore:
    assert isinstance(log.store, LmdbStore)
    return log.store


def market_offset_text(offset: int) -> str:
    return f"{MARKET_PREFIX}{offset}"


def market_offset(text: str) -> int:
    """The offset that `m:123` means. Raises InvalidInput."""
    digits = text.removeprefix(MARKET_PREFIX)
    if digits == text or not (digits.isascii() and digits.isdecimal() and len(digits) <= 20):
        raise InvalidInput(
            "reading a market offset", problem="it is not m: and digits", value=repr(text[:40]),
            cure="write it like m:123",
        )  # fmt: skip
    return int(digits)


def _prepare(place: MarketHome, mode: Mode) -> str:
    """Sees to it that there is a sound log. Why it was emptied, else empty text."""
    if mode == "rw":
        place.make_directories()
        lock = WriterLock(place.writer_lock)
        try:
            if place.exists() and not is_gone(place.log) and not any(stale_markers(place)):
                return ""
            with lock.hold():
                return _made_sound(place)
        finally:
            lock.close()
    if not place.exists():
        raise HomeMissing(
            f"opening {place.path}", problem="nothing was sampled yet",
            cure="`alphapulse performance add -` takes samples",
        )  # fmt: skip
    if problem := _damage(place):
        raise Corrupt(
            f"opening {place.path}", problem=problem, cure="the next who writes to it empties it"
        )
    return ""


def _made_sound(place: MarketHome) -> str:
    """While nobody else makes, verifies or writes it."""
    problem = _damage(place) if place.exists() else ""
    if place.damaged.exists():
        problem = problem or "it was being emptied"
    if not place.exists():
        with contextlib.suppress(HomeExists):
            _make(place, after_damage=bool(problem))
    elif problem:
        alive = [pid for pid in living_writers(place) if pid != os.getpid()]
        if alive or is_open_here(place.log):
            raise Corrupt(
                f"opening {place.path}", problem=problem,
                cure="end who has it open, then open it again: that empties it",
                open_in_pid=alive[0] if alive else os.getpid(),
            )  # fmt: skip
        shutil.rmtree(place.damaged, ignore_errors=True)
        os.rename(place.log, place.damaged)
        _make(place, after_damage=True)
    shutil.rmtree(place.damaged, ignore_errors=True)
    for path in stale_markers(place):
        path.unlink(missing_ok=True)
    return problem


def _damage(place: MarketHome) -> str:
    """What is wrong with a log that has no file, or whose writer did not close; empty when nothing
    is."""
    if is_gone(place.log):
        return GONE
    stale = list(stale_markers(place))
    if not stale:
        return ""
    booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    same_boot = all(path.stat().st_mtime > booted_s for path in stale)
    for verdict in verify_in_child(place.path, last_blocks=PROBE_BLOCKS if same_boot else None):
        if not verdict.ok:
            return f"{verdict.name} failed after an unclean stop: {verdict.detail}"
    return ""


def _make(place: MarketHome, *, after_damage: bool) -> None:
    first = time.time_ns() // 1_000 if after_damage else 0
    building = place.path / f"{BUILDING}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        LmdbStore.create(building, new_genesis(64), first=first).close()
        publish_log(place, building)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
