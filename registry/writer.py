"""Group commit: callers that write at the same time share one session and one flush.

Whoever leads decides for everyone who is waiting: it enters the write session, takes the queue,
brings the views to the head, decides each unit against one state, and commits blocks of
at most 1,000 events. Each caller then gets its own receipts or its own error. A unit is a few
commands that stand or fall together; one that is refused leaves no trace and touches no other.
Threads lead by themselves; in the place of a coroutine the writer's helper, one thread, leads. All
are woken at once: woken one after the other, each by the one before, they came back in smaller
groups and were slower. A signal may interrupt the main thread only where nobody depends on it:
while it waits for its turn or for the session.
Acknowledged means: on stable storage, and in this process's views.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Final

from alphapulse.log import (
    AlphaPulseError,
    AnyBody,
    Closed,
    EventLog,
    ForkedProcess,
    HeadMoved,
    WriteSession,
)
from alphapulse.log.interrupts import HeldInterrupts, safe_point
from alphapulse.log.lock import busy_thread
from alphapulse.projections import Views

from .commands import decide
from .deciding import Receipt
from .planning import Planned, planned
from .state import State
from .tickets import CoroutineTicket, Outcome, ThreadTicket, Ticket, Unit, finish

_LOGGER: Final = logging.getLogger("alphapulse")
LOOK_S: Final = 0.1
"""How often a caller that waits lets a signal interrupt it."""
CLOSE_LOOK_S: Final = 0.001
"""How often `close` looks whether those who write are done."""


class Writer:
    """The one way in: `submit` from any thread, `submit_async` from any event loop."""

    def __init__(self, log: EventLog, views: Views, wait_s: float) -> None:
        self._log = log
        self._views = views
        self._wait_s = wait_s
        self._pid = os.getpid()
        self._queue: dict[Ticket, None] = {}
        """Who waits, in order."""
        self._leader: Ticket | None = None
        """Whoever enters the session next, for all who wait. None only while nobody waits."""
        self._helper: _Helper | None = None
        """Leads in the place of coroutines, once they write."""
        self._rehearsals = 0
        self._closed = False
        self._lock = threading.Lock()
        """Held for the queue, the leader, and the count of rehearsals. Never for long, so that an
        event loop may wait for it."""
        self.groups = 0
        """Sessions entered so far."""

    def submit(self, units: Sequence[Unit]) -> list[Outcome]:
        """An outcome for each unit, in order.

        Whoever does not get the session in `wait_s` has LogBusy as outcome. Raises nothing of its
        own but ForkedProcess and KeyboardInterrupt; what a unit of the caller raises that is no
        AlphaPulseError (a value of a wrong type, say) is raised here once all other units are
        carried out. Interrupted, units that still wait are withdrawn; what was committed stays.
        """
        self._check_process()
        ticket = ThreadTicket(units, self._wait_s)
        with HeldInterrupts():
            try:
                self._enter(ticket)
                self._wait(ticket)
                if not ticket.done:
                    self._lead(ticket)
            finally:
                self._leave(ticket)
        return ticket.result()

    async def submit_async(self, units: Sequence[Unit]) -> list[Outcome]:
        """As `submit`, for coroutines: the event loop is never blocked, and no thread waits.

        A coroutine that is cancelled while its units wait withdraws them; once a group has taken
        them they are carried out all the same, and nobody hears of it.
        """
        self._check_process()
        ticket = CoroutineTicket(units, self._wait_s, self._lead_later)
        timer = ticket.loop.call_later(self._wait_s, self._give_up, ticket)
        try:
            with HeldInterrupts():
                self._have_helper()
                self._enter(ticket)
            await ticket.finished
        finally:
            timer.cancel()
            if not ticket.done:
                self._withdraw(ticket)
        return ticket.result()

    def _enter(self, ticket: Ticket) -> None:
        with self._lock:
            if not self._closed:
                self._queue[ticket] = None
                if self._leader is None:
                    self._appoint()
                return
        finish((ticket,), Closed("writing"))

    def _appoint(self) -> None:
        """A ticket that is woken without being done leads. Called with `_lock` held."""
        self._leader = next(iter(self._queue), None)
        if self._leader is not None:
            self._leader.appoint()

    def _wait(self, ticket: ThreadTicket) -> None:
        """Until the ticket leads or is done."""
        gave_up = False  # one that is being carried out then goes on: its outcome is near
        while not ticket.sleep(LOOK_S if gave_up else min(ticket.left_s, LOOK_S)):
            safe_point()
            if not (gave_up or ticket.left_s):
                self._give_up(ticket)
                gave_up = True

    def _give_up(self, ticket: Ticket) -> None:
        """Its time is over. One that leads fails by itself when it cannot enter the session."""
        if self._leader is not ticket and self._withdraw(ticket):
            finish((ticket,), busy_thread("waiting for the write session", self._wait_s))

    def _withdraw(self, ticket: Ticket) -> bool:
        """Whether it still waited. It does no more, and a group that comes will not see it."""
        with self._lock:
            waiting = ticket in self._queue
            self._queue.pop(ticket, None)
        return waiting

    def _leave(self, ticket: Ticket) -> None:
        """However the caller goes, by an interrupt too: it waits for nothing and leads no more."""
        with self._lock:
            self._queue.pop(ticket, None)
            if self._leader is ticket:
                self._appoint()

    def _check_process(self) -> None:
        """First of all: in a forked child a lock may be held by a thread that is not there."""
        if os.getpid() != self._pid:
            raise ForkedProcess("writing", opened_by_pid=self._pid)

    def _have_helper(self) -> None:
        """Its thread begins here, so that a machine that has no more threads fails this caller and
        not whoever appoints it."""
        with self._lock:
            if self._helper is None and not self._closed:
                self._helper = _Helper()
                weakref.finalize(self, self._helper.stop)  # at the end of the process at the latest

    def _lead_later(self, ticket: Ticket) -> None:
        assert self._helper is not None
        self._helper.work.put(partial(self._lead_for, ticket))

    def _lead_for(self, ticket: Ticket) -> None:
        """On the helper's thread. A ticket that was withdrawn still leads those who wait."""
        try:
            self._lead(ticket)
        finally:
            self._leave(ticket)

    @contextmanager
    def rehearsal(self) -> Iterator[Rehearsal]:
        """Decides as `submit` would and writes nothing. Other writers wait until it is left.

        Raises LogBusy, LogFull, ReadOnly, ChainBroken, Closed.
        """
        with self._lock:
            self._rehearsals += 1
        try:
            with self._log.writing(self._wait_s) as session:
                yield Rehearsal(State(self._log, self._views, session.head))
        finally:
            with self._lock:
                self._rehearsals -= 1

    def _lead(self, leader: Ticket) -> None:
        """Enters the session and carries out everybody's units; each ends with an outcome.

        Who waits is looked at inside the session, so one that cannot be entered fails the leader
        only: the others have time left, and one of them leads next.
        """
        tickets: Iterable[Ticket] = (leader,)
        failure: AlphaPulseError = Closed("writing", problem="the writing process was interrupted")
        try:
            with self._log.writing(leader.left_s) as session:
                with self._lock:
                    tickets, self._queue = self._queue, {}
                self.groups += 1
                self._carry_out(session, tickets)
        except AlphaPulseError as error:
            failure = error
        except Exception as error:
            failure = Closed("writing", problem=f"the thread that wrote for all failed: {error!r}")
            if None in leader.outcomes:
                leader.mistake = leader.mistake or error
        finally:
            finish(tickets, failure)

    def _carry_out(self, session: WriteSession, tickets: Iterable[Ticket]) -> None:
        """Decides again, once, when the log turns out to be longer than the session saw.

        So it is after a writer was killed within its commit: LMDB shows that commit to readers
        only once the next writer has recovered its lock, which our append just did.
        """
        before = session.committed
        try:
            _Group(self._log, self._views, session).run(tickets)
        except HeadMoved:
            if session.committed != before:
                raise
            session.look_again()
            _Group(self._log, self._views, session).run(tickets)

    def close(self) -> None:
        """Refuses what comes from now on and waits for those who are writing.

        Raises LogBusy when they are not done after `wait_s`, or this thread is in a rehearsal.
        """
        self._check_process()
        with self._lock:
            self._closed = True
        deadline = time.monotonic() + self._wait_s
        while not self._is_idle():
            if time.monotonic() > deadline:
                raise busy_thread("closing the registry", self._wait_s)
            time.sleep(CLOSE_LOOK_S)
        if self._helper is not None:
            self._helper.stop()

    def _is_idle(self) -> bool:
        with self._lock:
            return self._leader is None and not self._queue and not self._rehearsals


class _Helper:
    """A thread that does what is put into `work`, until it is stopped."""

    def __init__(self) -> None:
        self.work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_do_all, args=(self.work,), name="alphapulse-writer", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Once what it was given is done. Does no harm again."""
        self.work.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _do_all(work: SimpleQueue[Callable[[], object] | None]) -> None:
    while (do := work.get()) is not None:
        try:
            do()
        except BaseException:  # those who waited were told; the next ones need this thread
            _LOGGER.exception("a write session was cut short")
        del do  # it may be the last that knows the writer


class Rehearsal:
    """What would become of units, each decided as if those before it had been written.

    Its receipts name offsets that no event has. Memory grows with every event decided.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.units = 0
        """Decided so far, those that were refused too."""

    def execute(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """An outcome for each unit, in order, as `Registry.execute` gives it.

        Each is decided when its outcome is asked for.
        """
        state = self._state
        for unit in units:
            self.units += 1
            state.begin_unit()
            try:
                outcome: Outcome = _decided(unit, state)
            except AlphaPulseError as error:
                state.abandon_unit()
                outcome = error
            yield outcome

    def plan(self, place: str, source: str, receipts: Iterable[Receipt]) -> Iterator[Planned]:
        """What the unit whose outcome came last would do. place, source: of its row. Cost: 30 µs
        for each event."""
        return planned(self._state, place, source, self._state.drafts, receipts)

    def body_at(self, offset: int) -> AnyBody:
        """Of an event of the log, or of one that was decided here."""
        return self._state.event_at(offset)[0]


class _Group:
    """One session's work. Units are in flight from their decision until their block is durable."""

    def __init__(self, log: EventLog, views: Views, session: WriteSession) -> None:
        self._log = log
        self._session = session
        self._views = views
        self._state = State(log, views, session.head, durable=session.durable)
        self._in_flight: list[tuple[Ticket, int, list[Receipt], int, int]] = []
        """Ticket and place of a unit, its receipts, its first offset and how many events it has."""
        self._kinds: list[int] = []

    def run(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            for index, unit in enumerate(ticket.units):
                self._unit(ticket, index, unit)
        self._flush()

    def _unit(self, ticket: Ticket, index: int, unit: Unit) -> None:
        state, session = self._state, self._session
        state.begin_unit()
        try:
            receipts = _decided(unit, state)
            staged = session.stage(state.drafts)
        except AlphaPulseError as error:
            state.abandon_unit()
            ticket.outcomes[index] = error
            return
        except Exception as error:  # a mistake in one caller's command is not the others' trouble
            state.abandon_unit()
            ticket.mistake = ticket.mistake or error
            return
        if not session.has_room(staged):
            self._flush()
        session.add(staged)
        for draft in state.drafts:
            self._kinds.append(draft.kind)
        self._in_flight.append((ticket, index, receipts, staged.first, len(staged.frames)))

    def _flush(self) -> None:
        """Reserves space in the views, commits, folds the block, and only then answers."""
        before = self._session.committed
        try:
            if self._session.pending:
                self._views.reserve_locked(self._kinds)
                commit = self._session.commit(ring=False)
                assert commit is not None
                self._kinds.clear()
                try:
                    self._views.apply_locked(commit.block)
                finally:
                    self._log.ring()  # who hears of an event finds it in the views
            durable = self._session.durable
            for ticket, index, receipts, _, _ in self._in_flight:
                ticket.outcomes[index] = [
                    each if each.durable == durable else each._replace(durable=durable)
                    for each in receipts
                ]
        except BaseException as error:
            if self._session.committed != before:
                self._tell_written(error)
            raise
        self._in_flight.clear()

    def _tell_written(self, error: BaseException) -> None:
        """What failed came after the commit: nobody may take it for "not written"."""
        for ticket, index, _, first, count in self._in_flight:
            if ticket.outcomes[index] is None:
                ticket.outcomes[index] = _written(error, first, count)


def _decided(unit: Unit, state: State) -> list[Receipt]:
    receipts: list[Receipt] = []
    for command in unit.commands:
        receipts.append(decide(command, state, unit.origin, len(receipts)))
    return receipts


def _written(error: BaseException, first: int, count: int) -> AlphaPulseError:
    """The error for a unit whose events are in the log, so many from `first` on: of the same class
    where it is ours."""
    if isinstance(error, AlphaPulseError):
        told = type(error)(error.doing, problem=error.why, cure=error.advice, **error.facts)
    else:
        problem, cure = f"the thread that wrote for all failed: {error!r}", "mend what failed"
        told = Closed("folding what was written", problem=problem, cure=cure)
    written = f"{first}..{first + count - 1}" if count else "nothing was to write"
    told.facts["written"] = written
    told.why += "; it came after the commit: the events are written, and stay"
    told.advice = f"do not take it for not written, the next writer folds it; then {told.advice}"
    told.__cause__ = error
    return told
