"""The append-only log of events: one home, one writer at a time, any number of readers.

Reading copies whole blocks out of short transactions (at most 1,000 events each), so a slow
consumer never holds a transaction open. Nothing above this file knows which engine is below.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, Literal, NamedTuple, get_args, overload

from .bell import Ringer
from .block import CHAIN_SIZE_BYTES, Block
from .broken import read_mark
from .checkpoints import Checkpoint, Checkpoints
from .clock import RecordingClock
from .closing import Closing
from .cursor_subscription import Ack, CursorSubscription, open_cursor
from .errors import (
    READ_ONLY,
    AlphaPulseError,
    ChainBroken,
    Corrupt,
    HomeUnsupported,
    InvalidInput,
    NoLongerKept,
    NotDecodable,
    OffsetOutOfRange,
    ReadOnly,
)
from .frame import Event
from .home import Genesis, Home, new_genesis
from .interrupts import opened
from .live import Live
from .lmdb_store import RESERVE_SIZE_BYTES, LmdbStore
from .lock import WAIT_S_DEFAULT, WriterLock
from .making import new_log
from .pattern import Pattern
from .refusals import SystemCalls
from .scanned import ScannedBlock
from .session import WriteSession
from .stops import StopMarker, check_unwritten, probe_after_crash
from .store import BlockStore, Head
from .subscription import Spin, Start, Subscription

BATCH_EVENTS_MAX: Final = 1_000
UNSHOWN_NS_MAX: Final = 1_000_000_000
"""How long after its commit an event waits for the views, before subscribers are told anyway."""
_SCANNED_EVENTS_MAX: Final = 4_000
"""In one transaction: without their frames so many take as long as a quarter of them with."""
_PROVEN_FROM: Final = 32
"""Of so many events a block is worth a look at the chain before it, which its hash needs."""
Durability = Literal["fsync", "relaxed"]
Mode = Literal["rw", "r"]


class LogStatistics(NamedTuple):
    head: int
    chain_head: bytes
    blocks: int
    size_bytes: int
    readers: int
    durable: bool


class EventLog(Closing):
    """Open with `EventLog.open`, close it or use it as a context manager. Thread-safe.

    Made directly it stands on any engine: the home is where its lock and checkpoints are.
    """

    def __init__(
        self, home: Home, store: BlockStore, clock: RecordingClock, mode: Mode = "rw"
    ) -> None:
        self.home = home
        self.store = store
        self.clock = clock
        self.mode = mode
        self._checkpoints = Checkpoints(home.checkpoints)
        # The checkpoint is read before the head, which others may move meanwhile.
        self._contradiction = _contradiction(store, self._checkpoints.last())
        self._ringer = Ringer(home)
        self.live = Live(self)
        """What hands new events to the subscriptions that have caught up."""
        self.shown: Callable[[], int] | None = None
        """How far the views are; set by who folds the log into some."""
        self.lock = WriterLock(home.writer_lock, needed=mode == "rw")
        try:
            self._marker = StopMarker(home) if mode == "rw" else None
        except BaseException:
            self.lock.close()
            raise

    @classmethod
    def create(
        cls, home: str | os.PathLike[str], *, id_bits: int = 64, genesis: Genesis | None = None
    ) -> None:
        """Makes a home with an empty log. Raises HomeExists, HomeUnsupported, InvalidInput.

        genesis: that of another home, to replay a prefix of it; else a new one is made.
        """
        with new_log(Home(home), genesis or new_genesis(id_bits)):
            pass  # an empty one

    @classmethod
    @SystemCalls("opening a log")
    def open(
        cls, home: str | os.PathLike[str], *, mode: Mode = "rw", durability: Durability = "fsync",
        reserve_size_bytes: int = RESERVE_SIZE_BYTES, clock: RecordingClock | None = None,
    ) -> EventLog:  # fmt: skip
        """Opens an existing home. Cost: under 1 ms.

        durability: "relaxed" does not wait for the disk and says so in every commit. Writers of
        one process must agree on it, else InvalidInput; to those who read it is nothing.
        Raises InvalidInput, HomeMissing, HomeUnsupported, FormatTooNew, Corrupt. A log that its
        checkpoints contradict, or that an audit found broken, opens, read-only: `broken` says why.
        """
        check_choices(home, mode, durability)
        return opened(lambda: cls._open(home, mode, durability, reserve_size_bytes, clock))

    @classmethod
    def _open(
        cls, home: str | os.PathLike[str], mode: Mode, durability: Durability,
        reserve_size_bytes: int, clock: RecordingClock | None,
    ) -> EventLog:  # fmt: skip
        place = Home(home)
        place.require()
        on_disk = place.is_durable()
        try:
            place.make_directories()
        except HomeUnsupported:
            if mode == "rw":
                raise
        probe_after_crash(place)
        synced = durability == "fsync"
        store = LmdbStore.open(
            place.log, sync=synced, exacting=mode == "rw", durable=synced and on_disk,
            reserve_size_bytes=reserve_size_bytes,
        )  # fmt: skip
        try:
            check_unwritten(place, store)
            return cls(place, store, clock or RecordingClock(), mode)
        except BaseException:
            store.close()
            raise

    @property
    def name(self) -> str:
        return str(self.home.path)

    @property
    def genesis(self) -> Genesis:
        return self.store.genesis

    @property
    def head(self) -> int:
        """The next offset: the count of events. Cost: 2 µs."""
        return self.store.head().offset

    @property
    def first(self) -> int:
        """Offset of the oldest event that is kept: 0 but in a market log. Cost: 2 µs."""
        return self.store.base().offset

    @property
    def chain_head(self) -> bytes:
        return self.store.head().chain

    @property
    def broken(self) -> str:
        """Why the chain cannot be trusted; empty when it can. Not empty means read-only.

        Cost: 2 µs.
        """
        return self._contradiction or str(read_mark(self.home) or "")

    def writing(self, wait_s: float = WAIT_S_DEFAULT) -> WriteSession:
        """The write session, a context manager; entering raises LogBusy, ReadOnly, ChainBroken."""
        return WriteSession(self, wait_s)

    def check_writable(self) -> None:
        if self.mode == "r":
            raise ReadOnly(f"writing to {self.home.path}")
        mark = read_mark(self.home)
        if broken := self._contradiction or str(mark or ""):
            raise ChainBroken(
                f"writing to {self.home.path}",
                problem=f"{broken}, {READ_ONLY}",
                cure=f"{mark.cure}; an audit that finds nothing any more lifts this"
                if mark else None,
            )

    def ring(self) -> None:
        """Wakes who waits for events, in any process; waits for none of them."""
        self._ringer.ring()

    def after_commit(self, head: Head) -> None:
        """Notes a checkpoint now and then."""
        # The commit is durable, and whoever waits for it must not be told otherwise when only the
        # checkpoint cannot be written. The next commit tries again, and `close` raises.
        with suppress(OSError):
            self._checkpoints.note(head.offset, head.chain, head.time)

    def block(self, offset: int) -> Block:
        """The block that holds `offset`, copied. Raises OffsetOutOfRange, Corrupt."""
        data = self.store.block_at(offset)
        if data is None:
            raise self._nothing_at(offset)
        return Block(data)

    def event(self, offset: int) -> Event:
        """One event, its CRC checked. Cost: 5 µs. Raises OffsetOutOfRange, Corrupt."""
        frame = self.store.frame_at(offset)
        if frame is None:
            raise self._nothing_at(offset)
        try:
            event = Event(frame)
        except (Corrupt, NotDecodable) as error:
            error.facts["offset"] = offset
            raise
        if event.offset != offset or event.size != len(frame):
            raise Corrupt("reading the log", offset=offset, frame_offset=event.offset)
        return event

    def _nothing_at(self, offset: int) -> AlphaPulseError:
        """Why no block holds an offset: the log is not so long, has forgotten it, or a hole."""
        head, first = self.head, self.first
        if 0 <= offset < first:
            return NoLongerKept("reading the log", offset=offset, first=first, head=head)
        if 0 <= offset < head:
            return Corrupt(
                "reading the log", problem="the block that held this event is gone or damaged",
                offset=offset, head=head,
            )  # fmt: skip
        return OffsetOutOfRange("reading the log", offset=offset, head=head)

    def whole_block(self, first: int) -> Block:
        """As `block`, and it knows the chain before it, if that pays."""
        block = self.block(first)
        if block.count >= _PROVEN_FROM:
            block.previous = self._chain_before(block.first)
        return block

    def blocks(
        self, start: int = 0, stop: int | None = None, *, scanned: bool = False
    ) -> Iterator[Block]:
        """Blocks that hold offsets start to stop; the first and last may reach beyond them.

        start: 0 is the first that is kept. scanned: long ones without their frames, which are
        fetched when asked for. Raises NoLongerKept for one before that, Corrupt.
        """
        head = self.head
        if start < 0:
            raise OffsetOutOfRange("reading the log", offset=start, head=head)
        start = start or self.first
        stop = head if stop is None else min(stop, head)
        chain: bytes | None = None
        while start < stop:
            before = start
            events = min(_SCANNED_EVENTS_MAX if scanned else BATCH_EVENTS_MAX, stop - start)
            for block in self.next_blocks(start, events, chain, scanned=scanned):
                start, chain = block.stop, block.chain
                yield block
            if start == before:
                raise Corrupt("reading the log", problem="a block is missing", offset=start)

    def next_blocks(
        self, start: int, events_max: int = BATCH_EVENTS_MAX, chain: bytes | None = None, *,
        scanned: bool = False,
    ) -> Iterator[Block]:  # fmt: skip
        """Blocks from the one that holds `start` on, until so many events are reached.

        None at or past the head. One read transaction, so what follows a head need not ask for it.
        chain: that of the block before, if it is known. scanned: as in `blocks`.
        """
        copied = self.store.heads if scanned else self.store.blocks
        for data in copied(start, events_max):
            block = ScannedBlock(data, self) if scanned else Block(data)
            if block.count >= _PROVEN_FROM and not scanned:
                block.previous = chain or self._chain_before(block.first)
            if not block.first <= start < block.stop:
                if start < self.first:
                    raise self._nothing_at(start)
                raise Corrupt(
                    "reading the log", problem="blocks overlap or one is missing",
                    offset=start, first_offset=block.first,
                )  # fmt: skip
            start, chain = block.stop, block.chain
            yield block

    def _chain_before(self, first: int) -> bytes | None:
        try:
            return self.store.chain_before(first)
        except Corrupt:  # of a block that nobody asked for
            return None

    def new_blocks(self, start: int, *, scanned: bool = False) -> Iterator[Block]:
        """As `next_blocks`, for subscriptions: none that the views do not have yet, so who is told
        of an event finds it there. One that was left unfolded (its writer was killed) waits for a
        second after its commit, no longer."""
        shown = self.shown
        for block in self.next_blocks(start, scanned=scanned):
            if (
                shown is not None and block.stop > shown()
                and 0 <= time.time_ns() - block.time < UNSHOWN_NS_MAX
            ):  # fmt: skip
                return
            yield block

    def read(
        self, start: int = 0, stop: int | None = None, pattern: Pattern | None = None
    ) -> Iterator[Event]:
        """Events from `start` (inclusive) to `stop` (exclusive, default: the head now) that match.

        Only the columns of events that cannot match are looked at, and they are trusted: that they
        say what the events say is for `verify_store` to check. Raises Corrupt, naming the offset,
        at an event whose bytes are not what was written; NoLongerKept at one that a market log
        forgot meanwhile.
        """
        pattern = Pattern.parse("") if pattern is None else pattern
        stop = self.head if stop is None else min(stop, self.head)
        for block in self.blocks(start, stop, scanned=not pattern.is_everything):
            first = max(start - block.first, 0)
            yield from pattern.select(block, first, min(stop - block.first, block.count))

    def offset_at(self, time: int) -> int:
        """First offset recorded at or after `time` (ns); the head if there is none.

        So `offset_at(time + 1)` is the head as it was at `time`. Cost: log2(n) block reads.
        """
        low, high = self.first, self.head
        while low < high:
            block = self.block((low + high) // 2)
            if block.time < time:
                low = block.stop
            else:
                high = block.first
        return low

    def chain_at(self, head: int) -> bytes:
        """The chain of a log that ended at `head`: inside a block, that block cut short."""
        base = self.store.base()
        if head == base.offset:
            return base.chain
        block = self.block(head - 1)
        if block.stop == head:
            return block.chain
        return block.prefix(head, self.chain_at(block.first))[:CHAIN_SIZE_BYTES]

    @overload
    def subscribe(
        self, pattern: Pattern | str = "", start: Start = "now", *, stop: int | None = None,
        spin: Spin | None = None, cursor: None = None,
    ) -> Subscription: ...  # fmt: skip

    @overload
    def subscribe(
        self, pattern: Pattern | str = "", start: Start = "now", *, stop: int | None = None,
        spin: Spin | None = None, cursor: str, ack: Ack = "auto",
    ) -> CursorSubscription: ...  # fmt: skip

    def subscribe(
        self, pattern: Pattern | str = "", start: Start = "now", *, stop: int | None = None,
        spin: Spin | None = None, cursor: str | None = None, ack: Ack = "auto",
    ) -> Subscription:  # fmt: skip
        """Events in log order: from `start` through history into live, without a seam.

        start: "now", "beginning", an offset (a bare integer as text is one too), or a time as
        RFC 3339 text. stop: end there.
        Iterate it with `for` (blocks until the next event) or `async for`.
        spin: gives the head cheaply; waiting then asks it without pause, on a core of its own,
        instead of sleeping until a commit rings.

        cursor: the name of a durable position, made at `start` when it is new; else it goes on
        where that was acknowledged to, at least once, and empty text means the cursor's pattern.
        ack: "auto", each event when the next is asked for; "explicit", by `ack` alone.
        Raises CursorBusy, CursorPaused, CursorMismatch, CursorForeign, CursorDamaged.
        """
        if cursor is not None:
            made: Subscription = open_cursor(self, pattern, start, stop, cursor, ack)
        elif ack != "auto":
            raise InvalidInput("subscribing", problem="only cursors are acknowledged", ack=ack)
        else:
            made = Subscription(self, pattern, start, stop)
        made.spin = spin
        return made

    def statistics(self) -> LogStatistics:
        head, stored = self.store.head(), self.store.statistics()
        return LogStatistics(
            head.offset, head.chain, stored.blocks, stored.size_bytes, stored.readers,
            self.store.durable,
        )  # fmt: skip

    def checkpoint(self) -> None:
        """Writes a checkpoint of the head now."""
        if not self.broken:
            head = self.store.head()
            self._checkpoints.note(head.offset, head.chain, head.time, now=True)

    @SystemCalls("closing a log")
    def close(self) -> None:
        """Waits for a session that is running in this process; again is fine.

        Raises LogBusy when that session does not end within 10 s; then all of it stays open.
        """
        if not self.lock.close():
            return
        try:
            if self.mode == "rw":
                self.checkpoint()
        finally:
            self.store.close()
            self.live.close()
            self._ringer.close()
            if self._marker is not None:
                self._marker.remove()


def check_choices(home: str | os.PathLike[str], mode: Mode, durability: Durability) -> None:
    """Raises InvalidInput for a mode or durability that there is not."""
    for name, given, choices in (
        ("mode", mode, get_args(Mode)), ("durability", durability, get_args(Durability))
    ):  # fmt: skip
        if given not in choices:
            raise InvalidInput(
                f"opening {os.fspath(home)}", problem=f"there is no {name} {given!r}",
                cure=f"use {' or '.join(map(repr, choices))}",
            )  # fmt: skip


def _contradiction(store: BlockStore, newest: Checkpoint | None) -> str:
    """Why the log is not the one its newest checkpoint saw; empty when it is."""
    if newest is None:
        return ""
    head = store.head()
    if newest.head > head.offset:
        return f"the log ends at {head.offset}, but a checkpoint saw it at {newest.head}"
    last = store.block_at(newest.head - 1)
    if last is None or last[:CHAIN_SIZE_BYTES] != newest.chain:
        return f"the chain at {newest.head} is not what a checkpoint saw"
    return ""
