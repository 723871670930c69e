"""Following the log: history first, then live, and no seam between them.

A subscription reads the log on its own, from its position, in batches, until nothing is left; then
it attaches to `live.py`, whose pump reads each new block once for all that have come so far. It
attaches where the pump stands and is detached at the very event that it could not take, so there
is one position at any time and nothing is missed or doubled where the ways meet. Wake-ups
(`waiting.py`) are hints and never carry events.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .closing import Closing
from .errors import Closed, Corrupt, InvalidInput, NotDecodable
from .frame import Event
from .markers import Marked
from .pattern import Pattern
from .times import parse_time
from .waiting import BACKSTOP_S

if TYPE_CHECKING:
    from .eventlog import EventLog

Start = int | Literal["now", "beginning"] | str
Spin = Callable[[], int]
"""Gives the head, or what it was a moment ago, at the cost of a look at memory."""
_TURN_S: Final = 0.005
"""How long `async for` may go through history before others on the loop have a turn."""
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
        return log.first
    offset = offset_given("subscribing", start)
    if offset is not None:
        return offset
    try:
        return log.offset_at(parse_time(str(start)))
    except InvalidInput as error:
        error.advice += "; or give an offset, beginning or now"
        raise


def offset_given(doing: str, point: int | str) -> int | None:
    """The offset that a point of the log names; None when it is text that names a time.

    A bare integer is an offset, as text too: `"2026"` is one, `"2026-01"` is a time. Raises
    InvalidInput for a negative one and for what is neither integer nor text.
    """
    if isinstance(point, bool) or not isinstance(point, (int, str)):
        raise InvalidInput(
            doing, problem="it is neither an offset nor a time", given=repr(point)[:80],
            cure="give an integer, or a time as text",
        )  # fmt: skip
    if isinstance(point, int):
        if point < 0:
            raise InvalidInput(doing, problem="offsets start at 0", given=point)
        return point
    text = point.strip()
    if text[:1] == "-" and text[1:].isdecimal():
        raise InvalidInput(doing, problem="offsets start at 0", given=text[:_OFFSET_DIGITS_MAX])
    if not (text.isascii() and text.isdecimal()):
        return None
    if len(text) > _OFFSET_DIGITS_MAX:
        raise InvalidInput(doing, problem="no offset has so many digits", digits=len(text))
    return int(text)


class Subscription(Closing):
    """Iterate it, with `for` or `async for`. Made by `EventLog.subscribe`.

    `position` may be stored with the effect of an event and given as `start` later: that is
    exactly-once. `timeout_s` on `next_event` bounds a wait. Not for use by two threads at once,
    but any thread may close it.
    """

    _every_ring = False
    """Whether a coroutine that waits here is woken by events that do not match, too."""
    spin: Spin | None = None
    """Asked without pause instead of sleeping."""

    def __init__(
        self, log: EventLog, pattern: Pattern | str, start: Start, stop: int | None
    ) -> None:
        self._log = log
        self._live = log.live
        self.pattern = Pattern.parse(pattern) if isinstance(pattern, str) else pattern
        self._stop = stop
        self._position = start_offset(log, start)
        """Behind the last event that was taken."""
        self._seat = self._live.seat(self.pattern, self._position, every_ring=self._every_ring)
        self._ready = self._seat.ready
        self._delivered = 0
        self._closed_at = 0
        self._yielded_at = 0.0
        """When `async for` last let others run."""

    @property
    def position(self) -> int:
        """The offset to go on from: all before it was delivered or did not match."""
        if self.closed:
            return max(self._closed_at, self._position)
        scanned = self._scanned  # read first: what is put into `_ready` from now on is behind it
        try:
            next_ready: int = self._ready[0].offset
            return next_ready
        except IndexError:
            return scanned

    @property
    def _scanned(self) -> int:
        """Behind everything that was put into `_ready`, was taken, or does not match."""
        seat = self._seat
        if seat.attached:
            scanned = self._live.offset
            if seat.attached:  # else it was detached just now, and that may have been before
                return max(scanned, self._position)
        return max(seat.scanned, self._position)

    @property
    def caught_up(self) -> bool:
        """True when everything up to the head, as it is now, was delivered."""
        return not self._ready and self.position >= self._log.head

    @property
    def closed(self) -> bool:
        return self._seat.closed

    @property
    def finished(self) -> bool:
        return self.closed or (
            self._stop is not None and not self._ready and self._scanned >= self._stop
        )

    def poll(self) -> Event | None:
        """The next event if there is one by now. Never waits, but reads on up to the head."""
        if self.closed:
            raise Closed("reading a subscription")
        return self.next_by_now()

    def next_by_now(self) -> Event | None:
        """As `poll`; None once it is closed."""
        while (event := self._take()) is None:
            if not self._fill():
                return None
        return event

    def _take(self) -> Event | None:
        """Hands over one event that was read."""
        if self._seat.closed or not self._ready:
            return None
        try:
            event = self._ready.popleft()
        except IndexError:  # another thread closed it just now
            return None
        self._delivered += 1
        self._position = event.offset + 1
        return event

    def _fill(self) -> bool:
        """Looks at some 1,000 events; False when there was nothing to read."""
        seat = self._seat
        if seat.closed:  # first: who closed it from another thread may have left something ready
            return False
        if self._ready:
            return True
        if not seat.attached:
            if self._read_on():
                self._live.waiting.moved()
                return True
            # With others that were further it is not attached, and there is more to read.
            return self._stop is None and self._live.attach(seat)
        # One that the pump detached, at damage perhaps, has to look at the log itself.
        return self._live.pump() > 0 or bool(self._ready) or not seat.attached

    def _read_on(self) -> bool:
        """Reads from the log itself, from behind what it has; False when nothing is there."""
        seat, stop = self._seat, self._stop
        begin = seat.scanned = self._scanned
        if stop is not None and begin >= stop:
            return False
        try:
            for block in self._log.new_blocks(begin, scanned=not self.pattern.is_everything):
                last = block.count if stop is None else min(stop - block.first, block.count)
                self._ready.extend(self.pattern.select(block, seat.scanned - block.first, last))
                seat.scanned = block.first + last
                if seat.scanned == stop:
                    break
        except (Corrupt, NotDecodable):
            if not self._ready:
                raise  # only when all that came before the damage is delivered
        return bool(self._ready) or seat.scanned > begin

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
            if moved:
                continue
            if self.spin is None:
                self._live.waiting.wait(self._seat, left_s)
            else:
                looks_until = time.monotonic() + min(left_s, BACKSTOP_S)
                while not self._sees_more(self.spin) and time.monotonic() < looks_until:
                    time.sleep(0)  # lets go of the interpreter, which a writer here may wait for
        return None

    def _sees_more(self, spin: Spin) -> bool:
        return spin() > self._scanned or bool(self._ready) or self.closed

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self._take() or self.next_event()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.next_async()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next_async(self, *, wait: bool = True) -> Event | None:
        """As `next_event`, for coroutines; with `wait=False` None as soon as it has caught up.

        Cancelling it loses no event.
        """
        import asyncio  # takes 40 ms to load, which a command line would pay each time

        while not self.finished:
            # Others get their turn before an event is taken: a cancelled wait must not lose it.
            if time.monotonic() - self._yielded_at >= _TURN_S:
                await asyncio.sleep(0)
            elif (event := self._take()) is not None:
                return event
            elif self._fill() or self.finished:
                continue
            elif not wait:
                return None
            elif self.spin is None:
                await self._live.waiting.wait_async(self._seat)
            else:
                looks_until = time.monotonic() + BACKSTOP_S
                while not self._sees_more(self.spin) and time.monotonic() < looks_until:
                    await asyncio.sleep(0)
            self._yielded_at = time.monotonic()
        return None

    def with_markers(self) -> Marked:
        """Its events, and a `CaughtUp` whenever all there is was delivered."""
        return Marked(self)

    def statistics(self) -> SubscriptionStatistics:
        position = self.position
        lag_events = max(self._log.head - position, 0)
        return SubscriptionStatistics(position, lag_events, self._delivered, self.caught_up)

    def close(self) -> None:
        """Ends every iteration over it; what it has not delivered stays in the log."""
        self._closed_at = self.position
        seat = self._seat
        seat.closed = True
        self._live.detach(seat)
        self._ready.clear()
        wake = seat.wake
        if wake is not None:
            wake()
