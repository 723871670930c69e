"""Named cursors: how far a subscriber of that name has come, kept in `home/cursors`.

A cursor is one small file, written whole beside itself, synced and renamed, so a crash leaves the
old position or the new one. A position says: every event before it that matches is done with. It
may be older than the truth, never newer; that is all there is to at-least-once. One subscriber at
a time holds a cursor, by a `flock` that the kernel frees when the holder dies, and only the holder
writes its file. Whoever only looks takes that lock shared for an instant, so taking it in earnest
tries again for a moment before it says who is in the way. FORMAT.md has the bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from .errors import (
    CursorBusy,
    CursorDamaged,
    CursorForeign,
    CursorMissing,
    CursorNotSaved,
    InvalidInput,
    NoLongerKept,
    OffsetOutOfRange,
)
from .home import Home, sync_directory
from .lock import process_state
from .refusals import refused
from .subscription import Start, start_offset

if TYPE_CHECKING:
    from .eventlog import EventLog

CURSOR_FORMAT: Final = 1
CURSOR_SIZE_BYTES_MAX: Final = 65_536
"""A pattern has at most 4,096 bytes of text, which JSON may write six times as long."""
ERROR_TEXT_MAX: Final = 500
LOG_RESTORED: Final = "log restored"
"""The type of the error of a cursor that `behind` set back; no handler raises one of that name."""
Policy = Literal["pause", "skip"]
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
SUFFIX: Final = ".cursor"
_CRC_SIZE_BYTES: Final = 9
_GRACE_S: Final = 0.1
"""How long taking a cursor tries: looks of others last microseconds."""
_PAUSE_S: Final = 0.002
_NS_PER_S: Final = 1_000_000_000


class CursorError(msgspec.Struct, frozen=True):
    """What a handler raised, or why the cursor is not where it was (LOG_RESTORED)."""

    type: str
    message: str
    offset: int
    """Of the event; with LOG_RESTORED, where the cursor was."""
    time: int
    """ns since 1970 UTC."""

    def __str__(self) -> str:
        return f"{self.type}: {self.message} (offset {self.offset})"


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """What the file of a cursor says. All before `offset` that matches is done with."""

    format: int = CURSOR_FORMAT
    name: str
    log_id: str
    """Of the log that the position is in, in hex."""
    pattern: str | None
    """None after the file was damaged and reset: the next subscriber's pattern becomes its own."""
    offset: int
    state: Literal["idle", "paused"] = "idle"
    policy: Policy = "pause"
    """What its last handler does when it raises."""
    skipped: int = 0
    """Events that its handlers failed on and passed over, since the last reset."""
    error: CursorError | None = None
    """The last one, since the last reset."""
    saved: int = 0
    """When (ns since 1970 UTC)."""


class CursorState(NamedTuple):
    """A cursor as it is now. What a damaged file does not tell is None."""

    name: str
    pattern: str | None
    offset: int | None
    lag_events: int | None
    """Events of the log from its position to the head, whether they match or not."""
    lag_s: float | None
    """Age of the oldest of them; 0 when there is none."""
    state: Literal["active", "idle", "paused", "unusable"]
    """active: somebody holds it now. unusable: subscribing raises what `error` says."""
    error: str | None
    holder_pid: int | None
    cursor: Cursor | None


def encode_cursor(cursor: Cursor) -> bytes:
    """CRC32 in 8 hex digits, a blank, JSON, a newline."""
    body = msgspec.json.encode(cursor)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode_cursor(data: bytes, name: str, shown: str = "") -> Cursor:
    """Raises CursorDamaged for all that `encode_cursor` of this version did not write.

    shown: what a person types for it, when that is not its name.
    """
    body, shown = data[_CRC_SIZE_BYTES:-1], shown or name
    if len(data) > CURSOR_SIZE_BYTES_MAX or data != b"%08x %b\n" % (zlib.crc32(body), body):
        raise _damaged(shown, "it was cut short or changed", size_bytes=len(data))
    try:
        version = msgspec.json.decode(body)["format"]
        if version != CURSOR_FORMAT:
            raise _damaged(shown, "it was written by another version", format=version)
        cursor = msgspec.json.decode(body, type=Cursor)
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeError) as error:
        raise _damaged(shown, f"it cannot be read: {error}") from error
    if cursor.name != name or cursor.offset < 0:
        raise _damaged(shown, "it is not this cursor's", says=cursor.name, offset=cursor.offset)
    if cursor.state == "paused" and cursor.error is None:
        raise _damaged(shown, "it is paused without an error")
    return cursor


def _damaged(name: str, problem: str, **facts: object) -> CursorDamaged:
    return CursorDamaged(
        f"reading the cursor {name}", problem=problem, cure=_position_cure(name), **facts
    )


def _position_cure(name: str) -> str:
    return f"give it a position: `alphapulse cursors reset {name} --to beginning|now|OFFSET|TIME`"


def behind(data: bytes, name: str, log_id: str, head: int) -> bytes:
    """The file of a cursor for a log that was restored to `head`, which keeps its `log_id`.

    One that was ahead is set back to the head and paused. Left where it was, it would fit again
    once the log has grown past it, and silently pass over what came before.
    """
    try:
        cursor = decode_cursor(data, name)
    except CursorDamaged:
        return data  # it says so when it is used
    if cursor.log_id != log_id or cursor.offset <= head:
        return data
    now = time.time_ns()
    message = f"to head {head}, behind where this cursor was"
    error = CursorError(LOG_RESTORED, message, cursor.offset, now)
    return encode_cursor(
        msgspec.structs.replace(cursor, offset=head, state="paused", error=error, saved=now)
    )


def check_fits(cursor: Cursor, log: EventLog) -> int:
    """The log's head. Raises CursorForeign when the position means nothing in this log."""
    shown = log.home.cursor_shown(cursor.name)
    doing, cure = f"using the cursor {shown}", _position_cure(shown)
    log_id, head = log.genesis.log_id.hex(), log.head
    if cursor.log_id != log_id:
        raise CursorForeign(
            doing, problem="it was made for another log", cursor_log_id=cursor.log_id,
            log_id=log_id, cure=cure,
        )  # fmt: skip
    if cursor.offset > head:
        raise CursorForeign(
            doing, problem="it is ahead of the log, which was perhaps restored",
            offset=cursor.offset, head=head, cure=cure,
        )  # fmt: skip
    if cursor.offset < log.first:  # of a market log
        raise CursorForeign(
            doing, problem="it is older than what is kept", offset=cursor.offset, first=log.first,
            cure=cure,
        )  # fmt: skip
    return head


class CursorHold:
    """The right to write a cursor's file, until `release`, or until it is dropped or we die."""

    def __init__(self, path: Path, doing: str) -> None:
        """Raises CursorBusy, naming the holder's pid and state."""
        self._pid = os.getpid()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(file, doing)
            os.pwrite(file, f"{self._pid:<20}\n".encode(), 0)
        except BaseException:
            os.close(file)
            raise
        self._finalizer = weakref.finalize(self, os.close, file)
        _holds.add(self)

    @property
    def held(self) -> bool:
        return self._finalizer.alive

    def release(self) -> None:
        self._finalizer()

    def __enter__(self) -> CursorHold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_holds: Final[weakref.WeakSet[CursorHold]] = weakref.WeakSet()


def _release_in_fork() -> None:
    """A forked child must neither write its parent's cursors nor keep them when it dies."""
    for hold in list(_holds):
        hold.release()  # closes the child's descriptor only; the parent's keeps the lock


os.register_at_fork(after_in_child=_release_in_fork)


def _lock(file: int, doing: str) -> None:
    deadline = time.monotonic() + _GRACE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                pid = _pid_in(file)
                raise CursorBusy(doing, holder_pid=pid, holder=process_state(pid)) from None
        time.sleep(_PAUSE_S)


def _pid_in(file: int) -> int:
    text = os.pread(file, 20, 0).strip()
    return int(text) if text.isdigit() else 0


class Cursors:
    """All cursors of a home. Making one touches nothing on disk; any number may be made.

    Names are letters, digits and `._-`, at most 64, the first a letter or digit; else
    InvalidInput.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def names(self) -> list[str]:
        found = (path.name.removesuffix(SUFFIX) for path in self._home.cursors.glob(f"*{SUFFIX}"))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def read(self, name: str) -> Cursor:
        """What its file says. Cost: 20 µs. Raises CursorMissing, CursorDamaged, InvalidInput,
        SystemRefused.
        """
        path, doing = self._path(name), f"reading the cursor {self._shown(name)}"
        try:
            with open(path, "rb") as file:
                data = file.read(CURSOR_SIZE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise CursorMissing(doing) from None
        except OSError as error:
            raise refused(doing, error) from error
        return decode_cursor(data, name, self._shown(name))

    def hold(self, name: str) -> CursorHold:
        """Takes the cursor, whether it exists or not. Raises CursorBusy, CursorNotSaved."""
        self._path(name)
        doing = f"taking the cursor {self._shown(name)}"
        with _saving(doing):
            return CursorHold(self._lock_path(name), doing)

    def holder_pid(self, name: str) -> int | None:
        """Who holds it, None when nobody does. Takes no right to write. Raises SystemRefused."""
        try:
            file = os.open(self._lock_path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(f"looking who holds the cursor {self._shown(name)}", error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return _pid_in(file)
        finally:
            os.close(file)

    def write(self, cursor: Cursor, *, publish: bool = True) -> None:
        """Replaces the file; only for who holds the cursor. Raises CursorNotSaved.

        publish: sync the directory too. Without it a power cut may bring the older file back,
        which is whole, and enough for a position that only moved on.
        Cost: that of one fsync, with `publish` two.
        """
        path = self._path(cursor.name)
        temporary = path.with_name(f".{cursor.name}.tmp")  # one writer, so one name is enough
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with _saving(f"saving the cursor {self._shown(cursor.name)}"):
            with open(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(encode_cursor(cursor))
                file.flush()  # all of it or an error, where one unbuffered write may be short
                os.fsync(file.fileno())
            os.rename(temporary, path)
            if publish:
                sync_directory(path.parent)

    def states(self, log: EventLog) -> list[CursorState]:
        """Every cursor of the home, by name; needs no right to write."""
        found = []
        for name in self.names():
            with contextlib.suppress(CursorMissing):  # deleted since we looked
                found.append(self.state(log, name))
        return found

    def state(self, log: EventLog, name: str) -> CursorState:
        """Raises CursorMissing; what else is wrong with a cursor stands in its `error`."""
        pid, cursor, lag_s = self.holder_pid(name), None, 0.0
        try:
            cursor = self.read(name)
            head = check_fits(cursor, log)
            if cursor.offset < head:
                age_ns = time.time_ns() - log.block(cursor.offset).time
                lag_s = max(age_ns, 0) / _NS_PER_S
        except (CursorDamaged, CursorForeign, NoLongerKept) as error:
            pattern, offset = (cursor.pattern, cursor.offset) if cursor else (None, None)
            return CursorState(
                name, pattern, offset, None, None, "unusable", error.why, pid, cursor
            )
        return CursorState(
            name, cursor.pattern, cursor.offset, head - cursor.offset, lag_s,
            cursor.state if pid is None else "active",
            None if cursor.error is None else str(cursor.error), pid, cursor,
        )  # fmt: skip

    def reset(self, name: str, log: EventLog, to: Start | None = None) -> Cursor:
        """Lets a paused cursor go on, with `to` from there; forgets its error.

        to: as `start` of a subscription. It may move a cursor back, and makes one whose file is
        damaged, or that is of another log, good again.
        Raises CursorMissing, CursorBusy, OffsetOutOfRange, NoLongerKept; CursorDamaged and
        CursorForeign when `to` is needed and missing.
        """
        self._require(name)
        with self.hold(name):
            if to is None:
                old = self.read(name)
                check_fits(old, log)
                pattern, offset, policy = old.pattern, old.offset, old.policy
            else:
                pattern, policy = self._kept(name)
                offset = position_at(log, name, to)
            cursor = Cursor(
                name=name, log_id=log.genesis.log_id.hex(), pattern=pattern, offset=offset,
                policy=policy, saved=time.time_ns(),
            )  # fmt: skip
            self.write(cursor)
            return cursor

    def _kept(self, name: str) -> tuple[str | None, Policy]:
        """What a cursor keeps when it is moved."""
        try:
            old = self.read(name)
        except CursorDamaged:
            return None, "pause"
        return old.pattern, old.policy

    def delete(self, name: str) -> None:
        """Raises CursorMissing, CursorBusy, CursorNotSaved."""
        self._require(name)
        with self.hold(name), _saving(f"deleting the cursor {self._shown(name)}"):
            # The lock's file stays: whoever waits for it must not hold what others do not see.
            self._path(name).unlink(missing_ok=True)
            sync_directory(self._home.cursors)

    def _require(self, name: str) -> None:
        """Before the lock, so that a name that was mistyped leaves no file."""
        if not self._path(name).exists():
            raise CursorMissing(f"looking for the cursor {self._shown(name)}")

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                "naming a cursor", problem="names are 1 to 64 letters, digits, dots, _ and -",
                name=repr(name)[:80], cure="begin it with a letter or digit",
            )  # fmt: skip
        return self._home.cursors / f"{name}{SUFFIX}"

    def _shown(self, name: str) -> str:
        return self._home.cursor_shown(name)

    def _lock_path(self, name: str) -> Path:
        return self._home.run / f"cursor.{name}"


def position_at(log: EventLog, name: str, start: Start) -> int:
    """The offset that `start` means. A cursor is never ahead, nor before what a market log keeps:
    raises OffsetOutOfRange, NoLongerKept."""
    offset, head, first = start_offset(log, start), log.head, log.first
    doing = f"placing the cursor {log.home.cursor_shown(name)}"
    if offset < first:
        raise NoLongerKept(doing, offset=offset, first=first)
    if offset > head:
        raise OffsetOutOfRange(
            doing, problem="the log has not come so far", offset=offset, head=head,
            cure="give an offset up to the head",
        )  # fmt: skip
    return offset


@contextlib.contextmanager
def _saving(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CursorNotSaved(doing, problem=f"{CursorNotSaved.problem}: {reason}") from error
