"""Live events: who has caught up gets them from one pump instead of reading the log itself.

A subscription reads on its own until nothing is left, and then attaches, if its next offset is
`Live.offset`. From there on whoever notices a commit first pumps, under the lock: it reads the new
blocks once, asks the index which patterns match each event, and puts the event into the buffers of
those. `offset` moves on behind it, past events that match nobody too.

The invariant: an attached subscription has got every matching event below `offset` and none from
there on. So it may come and go at `offset` without a seam. When its buffer is full, or its oldest
event would hold too much of the log in memory, it is detached at the first event that it does not
get, and reads on from exactly there by itself once the buffer is empty; the pump waits for nobody.
When reading fails or is interrupted, all are detached at the event in question, and each goes on
by itself, from behind what it took; so damage is reported by those whose pattern meets it.

Subscriptions are known by weak references: one that its owner dropped is forgotten.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from .block import Block
from .errors import Corrupt, NotDecodable
from .index import PatternIndex
from .seat import Seat
from .waiting import Waiting

if TYPE_CHECKING:
    from .eventlog import EventLog
    from .frame import Event
    from .pattern import Pattern

BUFFER_EVENTS_MAX: Final = 1_000
BUFFER_SPAN_MAX: Final = 10_000
"""How far apart, in offsets, the events of a buffer may be: each holds its whole block."""


class LiveStatistics(NamedTuple):
    attached: int
    offset: int
    """What is attached was given everything before it; means nothing without any."""
    detached: int
    """How often one was detached because it did not keep up, or an event could not be read."""


class Live:
    """One for each open log; thread-safe. `waiting` is how its subscriptions wait."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._index: PatternIndex[weakref.ref[Seat]] = PatternIndex()
        self._attached: set[weakref.ref[Seat]] = set()
        self._dropped: deque[weakref.ref[Seat]] = deque()
        self._detached = 0
        self.offset = 0
        self.waiting = Waiting(log.home, self.pump)
        _lives.add(self)

    def seat(self, pattern: Pattern, scanned: int, *, every_ring: bool) -> Seat:
        """For a new subscription; it may be dropped, by any thread, without a word."""
        return Seat(pattern, scanned, every_ring=every_ring, dropped=self._dropped.append)

    def attach(self, seat: Seat) -> bool:
        """Attaches one that found nothing more to read, unless it is ahead of the log.

        True when there is something to look at after all. It has been read on, then, by others.
        """
        with self._lock:
            self._forget_dropped()
            head = self._log.head
            if not self._attached:
                # Not the head: of the newest block nothing is told before the views have it.
                self.offset = min(head, seat.scanned)
            elif self.offset < seat.scanned:  # others are behind, and do not look
                self._pump()
            if seat.scanned == self.offset <= head and not seat.closed:
                self._index.add(seat.reference, seat.pattern)
                self._attached.add(seat.reference)
                seat.attached = True
            return seat.scanned < self.offset

    def detach(self, seat: Seat) -> None:
        """When it is closed; what it did not take is of no interest any more. Never waits.

        Who holds the lock may be this very thread, when a signal handler closes a subscription;
        then the next pump removes it.
        """
        if not self._lock.acquire(blocking=False):
            self._dropped.append(seat.reference)
            return
        try:
            if seat.attached:
                self._leave(seat, self.offset)
        finally:
            self._lock.release()

    def pump(self) -> int:
        """Hands out what came since, some 1,000 events at most; how many events it read.

        Raises what reading from the store raises. Cost: 5 µs when there is nothing.
        """
        with self._lock:
            return self._pump()

    def _pump(self) -> int:
        self._forget_dropped()
        if not self._attached:
            return 0
        begin = self.offset
        try:
            for block in self._log.new_blocks(begin):
                self._hand_out(block)
        except (Corrupt, NotDecodable):
            self._detach_all()  # each finds out by itself whether that concerns it
        except BaseException:
            self._detach_all()
            raise
        return self.offset - begin

    def _hand_out(self, block: Block) -> None:
        keys = self._index.keys
        for event in block.events(self.offset - block.first):
            for reference in keys(event):
                seat = reference()
                if seat is not None:
                    self._give(seat, event)
            self.offset = event.offset + 1

    def _give(self, seat: Seat, event: Event) -> None:
        ready = seat.ready
        if ready and not _has_room(ready, event.offset):
            self._detached += 1
            self._leave(seat, event.offset)
        else:
            ready.append(event)
        wake = seat.wake
        if wake is not None:
            wake()

    def _leave(self, seat: Seat, offset: int) -> None:
        """It reads on from `offset` by itself."""
        self._index.discard(seat.reference)
        self._attached.discard(seat.reference)
        seat.scanned = offset
        seat.attached = False  # last: what it reads then must be true

    def _detach_all(self) -> None:
        for reference in list(self._attached):
            seat = reference()
            if seat is not None:
                self._detached += 1
                self._leave(seat, self.offset)
                if seat.wake is not None:
                    seat.wake()

    def _forget_dropped(self) -> None:
        while self._dropped:
            reference = self._dropped.popleft()
            if reference in self._attached:
                self._attached.discard(reference)
                self._index.discard(reference)

    def statistics(self) -> LiveStatistics:
        return LiveStatistics(len(self._attached), self.offset, self._detached)

    def close(self) -> None:
        """Removes all bells; those who wait look once more, and find the log closed."""
        self.waiting.close()


def _has_room(ready: deque[Event], offset: int) -> bool:
    try:
        return len(ready) < BUFFER_EVENTS_MAX and offset - ready[0].offset < BUFFER_SPAN_MAX
    except IndexError:  # its owner took the last one just now
        return True


_lives: Final[weakref.WeakSet[Live]] = weakref.WeakSet()


def _unlock_in_fork() -> None:
    """Whichever thread of the parent held the lock is not here to let go of it."""
    for live in list(_lives):
        live._lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_fork)
