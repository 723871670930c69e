"""Following the log: history first, then live, and no seam between them.

There is one position and one way to read: from the position to the head, in batches. "Live" only
means that the head was reached and we wait for it to move. So nothing can be missed or doubled at
the moment of catching up, and whoever falls behind just reads further back. Wake-ups (a commit in
this process, the poll for commits of others) are hints and never carry events.
"""

from __future__ import annotations

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
"""How long a commit of another process may go unnoticed; a poll costs some 5 µs."""
_BATCH_EVENTS_MAX: Final = 1_000


class SubscriptionStatistics(NamedTuple):
    position: int
    """Offset up to which everything was delivered or did not match."""
    lag_events: int
    delivered: int
    caught_up: bool


def start_offset(log: EventLog, start: Start) -> int:
    """The offset that "now", "beginning", an offset or RFC 3339 text means."""
    if isinstance(start, int):
        if start < 0:
            raise InvalidInput("subscribing", problem="offsets start at 0", start=start)
        return start
    if start == "now":
        return log.head
    return 0 if start == "beginning" else log.offset_at(parse_time(start))


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
        """The next event if there is one by now. Never waits."""
        if self._closed:
            raise Closed("reading a subscription")
        while not self._ready:
            if not self._fill():
                return None
        event = self._ready.popleft()
        self._delivered += 1
        self._position = event.offset + 1 if self._ready else self._scanned
        return event

    def _fill(self) -> bool:
        """Reads one batch; False when there was nothing to read."""
        head = self._log.head
        stop = head if self._stop is None else min(head, self._stop)
        if self._scanned >= stop:
            self._position = self._scanned
            return False
        try:
            for block in self._log.blocks(self._scanned, stop):
                matching = list(self.pattern.select(
                    block, self._scanned - block.first, min(stop - block.first, block.count)
                ))  # fmt: skip
                self._ready.extend(matching)
                self._scanned = min(block.stop, stop)
                if len(self._ready) >= _BATCH_EVENTS_MAX:
                    break
        except (Corrupt, NotDecodable):
            if not self._ready:
                raise  # only when all that came before the damage is delivered
        if not self._ready:
            self._position = self._scanned
        return True

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """The next event, None after `timeout_s` without one or when `stop` is reached."""
        waited_s = 0.0
        while not self.finished:
            event = self.poll()
            if event is not None:
                return event
            if self.finished or (timeout_s is not None and waited_s >= timeout_s):
                return None
            self._log.wait_past(self._scanned, POLL_S)
            waited_s += POLL_S
        return None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next_event()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        import asyncio  # takes 40 ms to load, which a command line would pay each time

        while not self.finished:
            event = self.poll()
            if event is not None:
                return event
            await asyncio.sleep(POLL_S)
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
