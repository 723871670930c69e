"""Two times: since when something is true in the world (valid), and since when we know it (known).

An event says from when on its words hold: its valid-from, or the moment it was recorded when it
names none. Each event holds the full state, so its words are the fields in which it differs from
the event before. What was true at T, as known at K, is the words of the events recorded by K that
hold by T, in the order in which they were recorded: who speaks later is right about all that comes
after the date he names. So a correction that is recorded in March and holds from January is not
known in February; and what is announced for next year is not true yet, however long it is known.

The registration holds from the earliest date that any of these events names: who says what was so
in 2020 says that it was there. So an instrument is dated back by an event that names an earlier
day, be it with no word beside. One that names none says nothing of that.

A question that names no valid time is about the moment as of which it asks, or about now. It finds
also what is registered for a later day, as it will be on that day and pending until then; one that
names a valid time finds nothing before it was there: before all of these dates, and those of its
listings (`Lookup.match`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from alphapulse.log import (
    INSTRUMENT_KINDS,
    AnyBody,
    AssetClass,
    Event,
    EventLog,
    InstrumentBody,
    InstrumentRecord,
    InvalidInput,
    ListingBody,
    Status,
    decode_message,
    encode_message,
)
from alphapulse.projections import backwards

from .facts import Facts, Value, body_of, facts_from
from .periods import place

NEVER: Final = 1 << 63
TRADED: Final = frozenset({Status.ACTIVE, Status.HALTED})


class When(NamedTuple):
    """What a question is about. known: the head of the log then, None = now. valid: the time (ns
    since 1970 UTC) that it names. at: the moment it is about when it names none, None = when the
    last event before `known` was recorded, or now."""

    known: int | None = None
    valid: int | None = None
    at: int | None = None

    def moment(self, log: EventLog) -> int:
        """The time (ns) that it is about. Cost: up to 5 µs."""
        for at in (self.valid, self.at):
            if at is not None:
                return at
        if self.known is None:
            return time.time_ns()
        return int(log.event(self.known - 1).recorded) if self.known else 0


NOW = When()


def either(
    value: int | str | None, other: int | str | None, name: str, other_name: str
) -> int | str | None:
    """Of an argument that has two names. Raises InvalidInput when it is given under both."""
    if other is None:
        return value
    if value is not None:
        raise InvalidInput(
            f"reading {other_name}", problem=f"{name} is given too, and means the same",
            cure="give one of the two",
        )  # fmt: skip
    return other


def holds_from(event: Event) -> int:
    """The time (ns) from which on an event's words are true."""
    return int(event.valid_from or event.recorded)


def state_at(
    log: EventLog, last_offset: int, when: When, id: int
) -> tuple[InstrumentBody, int] | None:
    """An instrument's state, and the offset of the newest event that it is made of.

    last_offset: of its newest event, as a view names it. None when nothing was known of it then,
    or, if the question names a valid time, when it was not there yet. Asked for a time that it
    names, the status is that at that time, EXPIRED from the expiry on. Cost: 10 µs for each of its
    events; 25 µs when some of them are not true yet.
    """
    events = list(_known(log, last_offset, when.known, id))[::-1]
    if not events:
        return None
    at = when.moment(log)
    begins = begins_of(holds_from(events[0]), (event.valid_from for event in events))
    if at < begins:
        if when.valid is not None:
            return None
        body, offset = _true_at(events, begins)
        return with_status(body, Status.PENDING), offset
    body, offset = _true_at(events, at)
    if when.valid is not None:
        body = with_status(body, InstrumentRecord(body.message).status_at(at))
    return body, offset


def begins_of(since: int, dates: Iterable[int]) -> int:
    """Since when (ns) an instrument is there: since its registration holds, or the earliest date
    that an event about it names (0 = none)."""
    return min(since, *(date or NEVER for date in dates))


def _true_at(events: list[Event], at: int) -> tuple[InstrumentBody, int]:
    """events: of an instrument that is there at that time, oldest first."""
    true = [event for event in events if event is events[0] or holds_from(event) <= at]
    newest = true[-1]
    if len(true) == len(events):
        return newest.instrument_body, newest.offset
    said = [
        Said(holds_from(event), words_of(event.instrument_body), event.valid_from)
        for event in events
    ]
    return _body(newest, words_at(said, at)), newest.offset


def with_status(body: InstrumentBody, status: Status) -> InstrumentBody:
    """A status that nobody wrote. PENDING is only of what would be traded."""
    said = body.message[3]
    if said == status or (status is Status.PENDING and said not in TRADED):
        return body
    fields = decode_message(body.message)._replace(status=status)
    return InstrumentBody(encode_message(*fields), body.extension)


def symbol_before(
    bodies: Iterable[AnyBody], period: ListingBody, valid: int
) -> tuple[str, int]:
    """The symbol that a listing had at a time in this period, before the newest one that it had in
    it, and since when (ns, 0 = its beginning); empty when it is not known.

    bodies: of its events, the newest first. An event that changes the symbol says since when it has
    that; one that changes only the date says that the symbol before it did not hold till then,
    either.
    """
    after = ""
    for body in bodies:
        if isinstance(body, ListingBody):
            where = place(body, period.valid_from, period.valid_to)
            if where.is_new:
                continue  # it tells nothing of this period
            body = where.state(body, period.valid_from)
            begins = body.symbol_from
            if body.symbol != after and (not begins or begins <= valid):
                return body.symbol, begins
            after = body.symbol
    return "", 0


def _known(log: EventLog, last_offset: int, known: int | None, id: int) -> Iterator[Event]:
    for event in backwards(log, last_offset, id):
        if event.kind in INSTRUMENT_KINDS and (known is None or event.offset < known):
            yield event


class Said(NamedTuple):
    """An event about an instrument: since when (ns) its words hold, the state it leaves, and the
    date that it names, 0 = none."""

    since: int
    words: dict[str, Value]
    valid_from: int


def words_at(said: Iterable[Said], at: int) -> dict[str, Value]:
    """The words of those that are true at a time, each against the event before it, true or not;
    those of the first one always. said: all of an instrument that are known, oldest first."""
    before, state = dict[str, Value](), dict[str, Value]()
    for since, words, _ in said:
        if since <= at or not before:
            for field in before.keys() - words.keys():
                state.pop(field, None)
            state.update((f, value) for f, value in words.items() if before.get(f) != value)
        before = words
    return state


def words_of(body: InstrumentBody) -> dict[str, Value]:
    """Its facts, its class and its status, by name."""
    return {**facts_words(facts_from(body)), "status": body.message[3]}


def facts_words(facts: Facts) -> dict[str, Value]:
    return {**facts.values, "class": int(facts.asset_class)}


def _body(event: Event, state: dict[str, Value]) -> InstrumentBody:
    newest = event.instrument_body
    record = InstrumentRecord(newest.message)
    facts = Facts(
        newest.extension.key, AssetClass(int(state["class"])),
        {field: value for field, value in state.items() if field not in ("class", "status")},
    )  # fmt: skip
    return body_of(
        facts, id=event.entity, fingerprint=record.fingerprint, counter=newest.extension.counter,
        status=Status(int(state["status"])), revision=record.revision,
        valid_from=record.valid_from,
    )  # fmt: skip
