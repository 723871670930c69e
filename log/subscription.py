"""Following the log: history first, then live, and no seam between them.

There is one position and one way to read: from the position to the head, in batches. "Live" only
means that the head was reached and we wait for it to move. So nothing can be missed or doubled at
the moment of catching up, and whoever falls behind just reads further back. Wake-ups (a commit in
this process, the poll for commits of others) are hints and never carry events.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .errors import Closed, Corrupt, InvalidInput, NotDecodable
from .frame import Event
from .pattern import Pattern
from .times import parse_time

if TYPE_CHECKING:
    from .eventlog import EventLog

Start = int | Literal["now", "beginning"] | str
POLL_S: Final = 0.0005
"""How long a commit of another process may go unnoticed while events come."""
POLL_IDLE_S: Final = 0.002
"""The same when none came for a while: waking up, not looking, is what costs."""
_IDLE_AFTER_S: Final = 0.05
_TURN_S: Final = 0.005
"""How long `async for` may go through history before others on the loop have a turn."""
_BATCH_EVENTS_MAX: Final = 1_000
_OFFSET_DIGITS_MAX: Final = 20


class SubscriptionStatistics(NamedTuple):
    position: int
    """Offset up to which everything was delivered or did not match."""
    lag_events: int
    delivered: int
    caught_up: bool


def start_offset(log: EventLog, start: Start) -> int:
    """The offset that "now", "beginning", an offset or RFC 3339 text means."""
    if start == "now":
        return log.head
    if start == "beginning":
        return 0
    offset = offset_given("subscribing", start)
    return log.offset_at(parse_time(str(start))) if offset is None else offset


def offset_given(doing: str, point: int | str) -> int | None:
    """The offset that a point of the log names; None when it is text that names a time.

    A bare integer is an offset, as text too: `"2026"` is one, `"2026-01"` is a time.
    """
    if isinstance(point, int):
        if point < 0:
            raise InvalidInput(doing, problem="offsets start at 0", given=point)
        return point
    text = point.strip()
    if not (text.isascii() and text.isdecimal()):
        return None
    if len(text) > _OFFSET_DIGITS_MAX:
        raise InvalidInput(doing, problem="no offset has so many digits", digits=len(text))
    return int(text)


class Subscription:
    """Iterate it, with `for` or `async for`. Made by `EventLog.subscribe`.

    `position` may be stored with the effect of an event and given as `start` later: that is
    exactly-once. `timeout_s` on `next_event` bounds a wait. Not for use by two threads at once.
    """

    def __init__(
        self, log: EventLog, pattern: Pattern | str, start: Start, stop: int | None
    ) -> None:
        self._log = log
        self.pattern = Pattern.parse(pattern) if isinstance(pattern, str) else pattern
        self._scanned = start_offset(log, start)
        self._stop = stop
        self._ready: deque[Event] = deque()
        self._position = self._scanned
        self._delivered = 0
        self._closed = False
        self._moved_at = time.monotonic()
        """When there was last something to read."""
        self._yielded_at = 0.0
        """When `async for` last let others run."""

    @property
    def position(self) -> int:
        """The offset to go on from: all before it was delivered or did not match."""
        return self._position

    @property
    def caught_up(self) -> bool:
        """True when everything up to the head, as it is now, was delivered."""
        return not self._ready and self._position >= self._log.head

    @property
    def finished(self) -> bool:
        return self._closed or (
            self._stop is not None and not self._ready and self._scanned >= self._stop
        )

    def poll(self) -> Event | None:
        """The next event if there is one by now. Never waits, but reads on up to the head."""
        while (event := self._take()) is None:
            if not self._fill():
                return None
        return event

    def _take(self) -> Event | None:
        if self._closed:
            raise Closed("reading a subscription")
        if not self._ready:
            return None
        event = self._ready.popleft()
        self._delivered += 1
        self._position = event.offset + 1 if self._ready else self._scanned
        return event

    def _fill(self) -> bool:
        """Looks at some 1,000 events; False when there was nothing to read."""
        begin, head = self._scanned, self._log.head
        stop = head if self._stop is None else min(head, self._stop)
        if begin >= stop:
            self._position = begin
            return False
        self._moved_at = time.monotonic()
        try:
            for block in self._log.blocks(begin, stop):
                first = self._scanned - block.first
                found = self.pattern.select(block, first, min(stop - block.first, block.count))
                try:
                    self._ready.extend(found)
                except BaseException:  # what it gave before that will be delivered, once
                    if self._ready:
                        self._scanned = max(self._scanned, self._ready[-1].offset + 1)
                    raise
                self._scanned = min(block.stop, stop)
                if self._scanned - begin >= _BATCH_EVENTS_MAX:
                    break
        except (Corrupt, NotDecodable):
            if not self._ready:
                raise  # only when all that came before the damage is delivered
        if not self._ready:
            self._position = self._scanned
        return True

    def _pause_s(self) -> float:
        """Until the next look: short while events come, longer when there were none lately."""
        idle_s = time.monotonic() - self._moved_at
        return POLL_S if idle_s < _IDLE_AFTER_S else POLL_IDLE_S

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """The next event, None after `timeout_s` without one or when `stop` is reached.

        Time spent on events that do not match counts too; the next call goes on from there, and
        `caught_up` says whether the head was reached.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not self.finished:
            event = self._take()
            if event is not None:
                return event
            moved = self._fill()
            left_s = deadline - time.monotonic()
            if self.finished or (left_s <= 0 and not self._ready):
                return None
            if not moved:
                self._log.wait_past(self._scanned, min(self._pause_s(), left_s))
        return None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self._take() if self._ready else self.next_event()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        import asyncio  # takes 40 ms to load, which a command line would pay each time

        while not self.finished:
            # Others get their turn before an event is taken: a cancelled wait must not lose it.
            if time.monotonic() - self._yielded_at >= _TURN_S:
                await asyncio.sleep(0)
                self._yielded_at = time.monotonic()
            elif (event := self._take()) is not None:
                return event
            elif not self._fill() and not self.finished:
                await asyncio.sleep(self._pause_s())
                self._yielded_at = time.monotonic()
        raise StopAsyncIteration

    def statistics(self) -> SubscriptionStatistics:
        lag_events = max(self._log.head - self._position, 0)
        return SubscriptionStatistics(self._position, lag_events, self._delivered, self.caught_up)

    def close(self) -> None:
        """Ends every iteration over it; what it has not delivered stays in the log."""
        self._closed = True
        self._ready.clear()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
