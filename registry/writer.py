"""Group commit: callers that write at the same time share one session and one flush.

Whoever gets the turn decides for everyone who is waiting: it takes the queue, enters the write
session, brings the views to the head, decides each unit against one state, and commits blocks of
at most 1,000 events. Each caller then gets its own receipts or its own error. A unit is a few
commands that stand or fall together; one that is refused leaves no trace and touches no other.
Acknowledged means: on stable storage, and in this process's views.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from alphapulse.log import AlphaPulseError, AnyBody, Closed, Draft, EventLog, Staged, WriteSession
from alphapulse.projections import Views

from .commands import Command, decide
from .deciding import Receipt
from .state import Origin, State


class Unit(NamedTuple):
    """Commands that are all carried out, or none."""

    commands: Sequence[Command]
    origin: Origin


Outcome = list[Receipt] | AlphaPulseError
"""Of a unit: a receipt for each command, or why it was refused."""


class _Ticket:
    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self.outcomes: list[Outcome | None] = [None] * len(units)
        self.done = False
        self.woken = threading.Event()


class Writer:
    """The one way in. `submit` may be called from any thread."""

    def __init__(self, log: EventLog, views: Views, wait_s: float) -> None:
        self._log = log
        self._views = views
        self._wait_s = wait_s
        self._turn = threading.Lock()
        self._queue: list[_Ticket] = []
        self._queue_lock = threading.Lock()
        self._led = False
        """Somebody leads, or was appointed to."""
        self.groups = 0
        """Sessions entered so far."""

    def submit(self, units: Sequence[Unit]) -> list[Outcome]:
        """An outcome for each unit, in order. Raises nothing of its own but KeyboardInterrupt."""
        ticket = _Ticket(units)
        with self._queue_lock:
            self._queue.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            try:
                ticket.woken.wait()
            except BaseException:
                self._withdraw(ticket)
                raise
        if not ticket.done:
            self._take_turn()
        return [outcome for outcome in ticket.outcomes if outcome is not None]

    def _take_turn(self) -> None:
        """Leads for all who wait, wakes them, and appoints the next of those who came meanwhile."""
        tickets: list[_Ticket] = []
        try:
            with self._turn:
                with self._queue_lock:
                    tickets, self._queue = self._queue, []
                self._lead(tickets)
        finally:
            self._appoint()
            for ticket in tickets:
                ticket.woken.set()

    def _appoint(self) -> None:
        """A ticket that is woken without being done leads."""
        with self._queue_lock:
            if self._queue:
                self._queue[0].woken.set()
            else:
                self._led = False

    def _withdraw(self, ticket: _Ticket) -> None:
        """The caller was interrupted while it waited; if it was to lead, another one does."""
        with self._queue_lock:
            waiting = ticket in self._queue
            if waiting:
                self._queue.remove(ticket)
        if waiting and ticket.woken.is_set():
            self._appoint()

    @contextmanager
    def rehearsal(self) -> Iterator[Rehearsal]:
        """Decides as `submit` would and writes nothing. Other writers wait until it is left.

        Raises LogBusy, LogFull, ReadOnly, ChainBroken.
        """
        with self._turn, self._log.writing(self._wait_s) as session:
            self._views.catch_up_locked()
            yield Rehearsal(State(self._log, self._views, session.head))

    def _lead(self, tickets: list[_Ticket]) -> None:
        """Carries out everybody's units; whatever happens, each ends with an outcome."""
        failure: AlphaPulseError = Closed("writing", problem="the writing process was interrupted")
        try:
            self.groups += 1
            with self._log.writing(self._wait_s) as session:
                _Group(self._log, self._views, session).run(tickets)
        except AlphaPulseError as error:
            failure = error
        finally:
            for ticket in tickets:
                for index, outcome in enumerate(ticket.outcomes):
                    if outcome is None:
                        ticket.outcomes[index] = failure
                ticket.done = True


class Rehearsal:
    """What would become of units, each decided as if those before it had been written.

    Its receipts name offsets that no event has. Memory grows with every event decided.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def execute(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """An outcome for each unit, in order, as `Registry.execute` gives it."""
        state = self._state
        for unit in units:
            state.begin_unit()
            try:
                outcome: Outcome = [decide(each, state, unit.origin) for each in unit.commands]
            except AlphaPulseError as error:
                state.abandon_unit()
                outcome = error
            yield outcome

    def body_at(self, offset: int) -> AnyBody:
        """Of an event of the log, or of one that was decided here."""
        return self._state.event_at(offset)[0]


class _Group:
    """One session's work. Units are in flight from their decision until their block is durable."""

    def __init__(self, log: EventLog, views: Views, session: WriteSession) -> None:
        self._session = session
        self._views = views
        views.catch_up_locked()
        self._state = State(log, views, session.head)
        self._in_flight: list[tuple[_Ticket, int, list[Receipt]]] = []
        self._kinds: list[int] = []

    def run(self, tickets: list[_Ticket]) -> None:
        for ticket in tickets:
            for index, unit in enumerate(ticket.units):
                self._unit(ticket, index, unit)
        self._flush()

    def _unit(self, ticket: _Ticket, index: int, unit: Unit) -> None:
        state = self._state
        state.begin_unit()
        try:
            receipts = [decide(command, state, unit.origin) for command in unit.commands]
            staged = self._session.stage(state.drafts)
        except AlphaPulseError as error:
            state.abandon_unit()
            ticket.outcomes[index] = error
            return
        self._append(staged, state.drafts)
        self._in_flight.append((ticket, index, receipts))

    def _append(self, staged: Staged, drafts: list[Draft]) -> None:
        if not self._session.has_room(staged):
            self._flush()
        self._session.add(staged)
        self._kinds.extend(draft.kind for draft in drafts)

    def _flush(self) -> None:
        """Reserves space in the views, commits, folds the block, and only then answers."""
        if self._session.pending:
            self._views.reserve_locked(self._kinds)
            commit = self._session.commit()
            assert commit is not None
            self._kinds.clear()
            self._views.apply_locked(commit.block)
        durable = self._session.durable
        for ticket, index, receipts in self._in_flight:
            ticket.outcomes[index] = [receipt._replace(durable=durable) for receipt in receipts]
        self._in_flight.clear()
