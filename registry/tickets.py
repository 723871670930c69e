"""Tickets: one for each call that waits for the group commit, from a thread or from a coroutine.

A ticket is woken for one of two reasons: it is done, or it is its turn to lead. A thread sleeps on
a lock of its own and then leads itself. A coroutine must never block its event loop, so another
thread leads in its place (`lead`). What became of a coroutine's is handed over to its loop, with
one call for all tickets of that loop.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from alphapulse.log import AlphaPulseError

from .commands import Command
from .deciding import Receipt
from .held import Origin

if TYPE_CHECKING:
    import asyncio


class Unit(NamedTuple):
    """Commands that are all carried out, or none."""

    commands: Sequence[Command]
    origin: Origin


Outcome = list[Receipt] | AlphaPulseError
"""Of a unit: a receipt for each command, or why it was refused."""


class Ticket(ABC):
    """Units of one caller, and what became of them."""

    def __init__(self, units: Sequence[Unit], wait_s: float) -> None:
        self.units = units
        self.deadline = time.monotonic() + wait_s
        self.outcomes: list[Outcome | None] = [None] * len(units)
        self.mistake: Exception | None = None
        """What is no error of ours: raised to the caller whose unit it came from."""
        self.done = False

    @property
    def left_s(self) -> float:
        """How much longer it may wait."""
        return max(self.deadline - time.monotonic(), 0)

    @abstractmethod
    def appoint(self) -> None:
        """It is the ticket's turn to lead. Must not block or raise."""

    def settle(self, failure: AlphaPulseError) -> None:
        """What has no outcome yet ends with this one."""
        for index, outcome in enumerate(self.outcomes):
            if outcome is None:
                self.outcomes[index] = failure
        self.done = True

    def result(self) -> list[Outcome]:
        if self.mistake is not None:
            raise self.mistake
        return [outcome for outcome in self.outcomes if outcome is not None]


class ThreadTicket(Ticket):
    """Of a thread. Its lock is free when it may go on: 0.2 µs, where an Event costs 8."""

    def __init__(self, units: Sequence[Unit], wait_s: float) -> None:
        super().__init__(units, wait_s)
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def appoint(self) -> None:
        self.wake()

    def wake(self) -> None:
        """It leads, or is done."""
        try:  # noqa: SIM105  # a third of what `suppress` costs
            self._asleep.release()
        except RuntimeError:
            pass  # woken already: by the leader as its own time ended

    def sleep(self, timeout_s: float) -> bool:
        """Until it is woken, True, or the time is over, False."""
        return self.done or self._asleep.acquire(timeout=timeout_s)


class CoroutineTicket(Ticket):
    """Of a coroutine, made on its loop. lead: called when it should lead, on another thread."""

    def __init__(
        self, units: Sequence[Unit], wait_s: float, lead: Callable[[Ticket], object]
    ) -> None:
        import asyncio  # takes 20 ms to load, which a command line would pay each time

        super().__init__(units, wait_s)
        self.loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self.loop.create_future()
        self._lead = lead

    def appoint(self) -> None:
        self._lead(self)


def finish(tickets: Iterable[Ticket], failure: AlphaPulseError) -> None:
    """Wakes the callers; what has no outcome yet ends with `failure`."""
    finished: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for ticket in tickets:
        ticket.settle(failure)
        if isinstance(ticket, CoroutineTicket):
            finished.setdefault(ticket.loop, []).append(ticket.finished)
        elif isinstance(ticket, ThreadTicket):
            ticket.wake()
    for loop, futures in finished.items():
        with suppress(RuntimeError):  # the loop is closed, so nobody waits there any more
            loop.call_soon_threadsafe(_resolve, futures)


def _resolve(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():  # else its coroutine was cancelled
            future.set_result(None)
