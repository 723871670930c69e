"""Waiting for a log to grow: each thread that waits has a bell of its own, each event loop one.

Always in this order: the bell exists (a new one counts as rung), look for events, wait for the
bell, clear it, look again. A commit rings after it is visible, so one that the look missed rings
later, and one that rang before `clear` is seen by the look after it. The look by the clock is the
backstop, for rings that were lost and for writers that ring too many others; without a bell (a
read-only directory, no descriptors) the clock is all there is and looks more often.

`seat.wake` ends a wait from outside: the pump calls it when another's look brought it
events, `close` when there will be none. Who waits sets it and then looks once more; who wakes
changes what is looked at and then calls it; so one of the two sees the other.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .bell import Bell
from .errors import AlphaPulseError

if TYPE_CHECKING:
    import asyncio

    from .home import Home
    from .seat import Seat

BACKSTOP_S: Final = 0.05
"""The look by the clock of who has a bell."""
POLL_S: Final = 0.0005
"""Of who has none, while events come."""
POLL_IDLE_S: Final = 0.002
"""The same when none came for a while: waking up, not looking, is what costs."""
IDLE_AFTER_S: Final = 0.05
_RETRY_S: Final = 1.0
"""After a bell could not be made."""
_UNUSED_S: Final = 1.0
"""Nobody waited for so long: a loop's bell, which would wake it at each commit, is removed."""
_PUMPED_MANY: Final = 1_000
Pump = Callable[[], int]


class Waiting:
    """The bells of one log in this process."""

    def __init__(self, home: Home, pump: Pump) -> None:
        self._home = home
        self._pump = pump
        self._lock = threading.Lock()
        """Of the two collections, which threads add to."""
        self._bells: weakref.WeakSet[Bell] = weakref.WeakSet()
        self._loops: weakref.WeakValueDictionary[int, _Loop] = weakref.WeakValueDictionary()
        """By id of the event loop, which is what keeps it: so a closed loop's bell is removed."""
        self._threads = threading.local()
        self._refused_at = float("-inf")
        self._moved_at = time.monotonic()
        self._closed = False

    def moved(self) -> None:
        """There was something to read."""
        self._moved_at = time.monotonic()

    def wait(self, seat: Seat, timeout_s: float) -> None:
        """Returns when it is worth to look again, after `timeout_s` at most."""
        bell: Bell | None = getattr(self._threads, "bell", None)
        if bell is None:
            bell = self._threads.bell = self.new_bell()
        pause_s = min(self.pause_s(bell), timeout_s)
        if bell is None:
            time.sleep(max(pause_s, 0))
            return
        seat.wake = bell.ring
        try:
            if not seat.ready and not seat.closed and bell.wait(pause_s):
                bell.clear()
        finally:
            seat.wake = None

    async def wait_async(self, seat: Seat) -> None:
        """The same for a coroutine."""
        import asyncio  # takes 40 ms to load, which a command line would pay each time

        loop = asyncio.get_running_loop()
        with self._lock:
            mine = self._loops.get(id(loop))
            if mine is None:
                mine = self._loops[id(loop)] = _Loop(self, loop, self._pump)
        await mine.wait(seat)

    def new_bell(self) -> Bell | None:
        """None where there can be none; asked again a second later."""
        if self._closed or time.monotonic() - self._refused_at < _RETRY_S:
            return None
        try:
            bell = Bell(self._home)
        except OSError:
            self._refused_at = time.monotonic()
            return None
        with self._lock:
            self._bells.add(bell)
        return bell

    def pause_s(self, bell: Bell | None) -> float:
        """Until the next look by the clock."""
        if bell is not None:
            return BACKSTOP_S
        idle_s = time.monotonic() - self._moved_at
        return POLL_S if idle_s < IDLE_AFTER_S else POLL_IDLE_S

    def close(self) -> None:
        """Wakes everyone. The bell of who waits now is removed when that wait ends."""
        self._closed = True
        with self._lock:
            bells, loops = list(self._bells), list(self._loops.values())
        for bell in bells:
            bell.ring()
        for loop in loops:
            loop.close_soon()
        self._threads = threading.local()


class _Loop:
    """One event loop: its bell, its clock, and who waits on it.

    A ring pumps, and that wakes those who got something; those who read the log on their own are
    all woken. So a commit that concerns none of 10,000 coroutines wakes none.
    """

    def __init__(self, waiting: Waiting, loop: asyncio.AbstractEventLoop, pump: Pump) -> None:
        self._waiting = waiting
        self._loop = loop
        self._pump = pump
        self._fed: set[_Wake] = set()
        """Who waits for the pump."""
        self._alone: set[_Wake] = set()
        """Who waits for any ring."""
        self._bell: Bell | None = None
        self._ticking = False
        """Its handle is not kept: that would hold this, and so the bell, after the loop."""
        self._used_at = time.monotonic()

    async def wait(self, seat: Seat) -> None:
        self._used_at = time.monotonic()
        self._arm()
        alone = seat.every_ring or not seat.attached
        group = self._alone if alone else self._fed
        wake = seat.wake = _Wake(self._loop)
        group.add(wake)
        try:
            if not seat.ready and not seat.closed and (alone or seat.attached):
                await wake.future
        finally:
            seat.wake = None
            group.discard(wake)

    def _arm(self) -> None:
        """Makes a bell, or tries to, and sets the clock."""
        if self._bell is None:
            self._bell = self._waiting.new_bell()
            if self._bell is not None:
                self._loop.add_reader(self._bell.fileno(), self._look)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(self._waiting.pause_s(self._bell), self._tick)

    def _tick(self) -> None:
        self._ticking = False
        self._look()
        if self._fed or self._alone:
            self._arm()

    def _look(self) -> None:
        if self._bell is not None:
            self._bell.clear()
        pumped = 0
        try:
            pumped = self._pump()
        except AlphaPulseError:  # each of them meets it when it looks
            _wake_all(self._fed)
        _wake_all(self._alone)
        if pumped >= _PUMPED_MANY:
            self._loop.call_soon(self._look)  # there is more, but others have their turn first
        elif not (self._fed or self._alone) and time.monotonic() - self._used_at > _UNUSED_S:
            self._remove_bell()

    def _remove_bell(self) -> None:
        if self._bell is not None:
            self._loop.remove_reader(self._bell.fileno())
            self._bell.close()
            self._bell = None

    def close_soon(self) -> None:
        with suppress(RuntimeError):  # a closed loop, which let go of everything
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        self._remove_bell()
        _wake_all(self._fed)
        _wake_all(self._alone)


class _Wake:
    """Ends one wait of a coroutine, from any thread."""

    __slots__ = ("_called", "_loop", "_thread", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._called = False
        self.future = loop.create_future()

    def __call__(self) -> None:
        if self._called:
            return
        self._called = True
        with suppress(RuntimeError):  # a closed loop: nobody waits
            if threading.get_ident() == self._thread:
                self._resolve()
            else:
                self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _wake_all(group: set[_Wake]) -> None:
    for wake in group:
        wake()
