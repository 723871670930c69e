"""The state that decisions are made against: the views at the head, under a group's own events.

A group is decided before anything of it is written, so a decision must see the events decided
just before it. `State` is the views (brought to the head by whoever holds the session) with an
overlay of those events, which falls through to the view and the log. A unit of commands is all or
nothing: `begin_unit` and `abandon_unit` work on the overlay alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, TypeVar

from alphapulse.log import (
    AcknowledgedBody,
    AnswerBody,
    AnyBody,
    CandidateBody,
    CollisionBody,
    ConflictBody,
    Draft,
    EndorsedBody,
    Event,
    EventLog,
    FeedBody,
    InstrumentBody,
    Metadata,
    PerformanceBody,
    ProposalBody,
    Proposed,
    RelationBody,
    RulesBody,
    SnapshotBody,
    Space,
    TradingBody,
    VenueBody,
    WarningBody,
    decode_metadata,
)
from alphapulse.log.times import NS
from alphapulse.projections import (
    ALL_MISSING,
    AlertRecord,
    ProposalRecord,
    RelationRecord,
    RequestRecord,
    TableReader,
    Views,
    ViewUnusable,
    alert_key,
    event_named,
    find_import,
    fingerprint_key,
    request_key,
    state_named,
    text_key,
)

from .check import NEW_KINDS, Entity, check_body, entity_of, evidence_hash
from .formula import components_of
from .held import DATA_BODIES, DataBody, Held, Origin, Past
from .identity import fingerprint_of, id_candidates, id_mask, rules_key, snapshots_key
from .precedence import outranks
from .relation_rules import Link, links_in
from .snapshots import Members
from .synthetics import formula_of
from .valid_time import Said, holds_from, words_of

K = TypeVar("K")
V = TypeVar("V")
_VIEW_OF_SPACE = {Space.INSTRUMENT: "instruments", Space.LISTING: "listings",
                  Space.RELATION: "relations", Space.FEED: "feeds",
                  Space.CANDIDATE: "candidates", Space.PROPOSAL: "proposals",
                  Space.VENUE: "venues"}  # fmt: skip
_RULES: Final = fingerprint_of(rules_key())
_NO_RULES: Final = RulesBody(fingerprint=_RULES, revision=0)
_NOTHING: Final = object()
_as: Final = tuple.__new__
"""Of a NamedTuple: half of what calling it costs."""


class State:
    """Made inside a write session, for one group. Not thread-safe, and not kept.

    Brings the views to the head first.
    """

    def __init__(
        self, log: EventLog, views: Views, head: int, *, durable: bool = False
    ) -> None:
        self._log = log
        self.durable = durable
        """Of what is decided here, once it is committed."""
        tables = views.tables_locked(head)
        self._tables: dict[int, TableReader] = {
            space: tables[name] for space, name in _VIEW_OF_SPACE.items()
        }
        self._alerts = tables["alerts"]
        self._requests = tables["requests"]
        self._imports = tables["imports"]
        self._overlay: dict[tuple[int, int], Held] = {}
        self._new_alerts: dict[int, tuple[int, int, int, int | None]] = {}
        """Offset, space, entity and offset of the acknowledgement, of those this group touched."""
        self._new_requests: dict[str, int] = {}
        self._new_links: dict[int, tuple[int, ...]] = {}
        """By instrument, the relations that this group has it start."""
        self._new_waiting: dict[bytes, tuple[int, ...]] = {}
        """By fingerprint, the relations that this group has wait for it."""
        self._new_imports: dict[bytes, int] = {}
        self._new_delistings: dict[int, tuple[int, ...]] = {}
        """By instrument, the proposals to delist it that this group makes."""
        self._new_segments: dict[str, tuple[int, ...]] = {}
        """By operating venue, those that this group makes its segments."""
        self._rules: RulesBody | None = None
        """Those in force, once they were asked for."""
        self._members: dict[str, tuple[int, Members]] = {}
        """By source, with the offset of the snapshot that was folded last."""
        self._any_waited = len(tables["relations"].postings("missing", ALL_MISSING)) > 0
        self.has_proposals = tables["proposals"].arena_used > 0
        """Whether there may be any, so that nobody else pays for them."""
        self._pending: dict[int, Draft] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        """What the unit has set: in which dict, the key, and what was there before."""
        self.id_bits = log.genesis.id_bits
        self._id_mask = id_mask(self.id_bits)
        self._free_space = self._free_id = 0
        """The last id that nobody had. It is asked for at each step on the way of a new entity."""
        self.head = head
        """Offset of the next event that is emitted."""
        self.drafts: list[Draft] = []
        """Events of the unit that is being decided."""

    # Reading

    def held(self, space: int, id: int) -> Held | None:
        """The entity with this id, its newest body read from the log. Cost: 8 µs when it exists."""
        found = self._overlay.get((space, id))
        if found is not None:
            return found
        table = self._tables[space]
        position = table.find(id)
        if position < 0:
            return None
        trailer = table.trailer(position)
        body = state_named(self._log, trailer.data_offset, id).body
        assert isinstance(body, DATA_BODIES)
        return Held(id, entity_of(body, trailer.last_offset), body, trailer.data_offset)

    def entity(self, space: int, id: int) -> Entity | None:
        """As `held`, without the body. Cost: 1 µs when nobody has the id."""
        if id == self._free_id and space == self._free_space:
            return None
        found = self._overlay.get((space, id))
        if found is not None:
            return found.entity
        if self.is_free(space, id):
            return None
        held = self.held(space, id)
        return held.entity if held else None

    def fingerprint(self, space: int, id: int) -> bytes:
        """Of an entity that is there."""
        held = self.held(space, id)
        assert held is not None
        return held.entity.fingerprint

    def is_free(self, space: int, id: int) -> bool:
        """Whether nobody has this id, which is not 0. Cost: 1 µs."""
        if id == 0 or (space, id) in self._overlay or self._tables[space].find(id) >= 0:
            return False
        self._free_space, self._free_id = space, id
        return True

    def vacant(self, space: int, fingerprint: bytes) -> int:
        """The id that a fingerprint derives to, if nobody has it; else 0. Cost: 1 µs."""
        id = int.from_bytes(fingerprint[:8], "little") & self._id_mask
        if id == self._free_id and space == self._free_space and id:
            return id
        return id if self.is_free(space, id) else 0

    def find(self, space: int, fingerprint: bytes) -> Held | None:
        """Whoever is registered under this fingerprint, collisions included."""
        if self.vacant(space, fingerprint):
            return None
        for _, id in id_candidates(fingerprint, self.id_bits):
            held = self.held(space, id)
            if held is None:
                return None
            if held.entity.fingerprint == fingerprint:
                return held
        return None

    def is_symbol(self, symbol: str) -> bool:
        """Whether an instrument has it, of those from before this group. Cost: 2 µs."""
        table = self._tables[Space.INSTRUMENT]
        return len(table.postings("symbol", text_key(symbol))) > 0

    def links_from(self, instrument: int, relation: int) -> Iterator[Link]:
        """The links of one relation that start at an instrument. Cost: 3 µs each."""
        table = self._tables[Space.RELATION]
        known = map(table.key_of, table.postings("instrument", instrument))
        # One of this group may have been folded by now, and then it is in both.
        for id in dict.fromkeys((*known, *self._new_links.get(instrument, ()))):
            held = self._overlay.get((Space.RELATION, id))
            if held is None:
                link = RelationRecord(table.arena, table.find(id)).link()
                if link.relation != relation or not link.other:
                    continue
                if not link.has_earlier:
                    yield Link(link.other, link.valid_from, link.valid_to)
                    continue
                held = self.held(Space.RELATION, id)
            body = None if held is None else held.body
            if isinstance(body, RelationBody) and body.relation == relation and body.other:
                yield from links_in(body)

    def waiting_for(self, fingerprint: bytes) -> list[Held]:
        """The relations that wait for this instrument. Cost: 1 µs when there are none."""
        table = self._tables[Space.RELATION]
        known = map(table.key_of, table.postings("missing", fingerprint_key(fingerprint)))
        found = []
        for id in dict.fromkeys((*known, *self._new_waiting.get(fingerprint, ()))):
            held = self.held(Space.RELATION, id)
            assert held is not None and isinstance(held.body, RelationBody)
            if held.body.missing == fingerprint:
                found.append(held)
        return found

    def alert(self, offset: int) -> tuple[int, int, bool] | None:
        """(space, entity, open) of the alert raised at `offset`."""
        for raised, space, entity, acknowledged in self._new_alerts.values():
            if raised == offset:
                return space, entity, acknowledged is None
        if not 0 <= offset < self._log.head:
            return None
        event = self._log.event(offset)
        if not isinstance(event.body, CollisionBody | ConflictBody):
            return None
        key = alert_key(event.space, event.entity, event.body)
        position = self._alerts.find(key)
        is_open = position >= 0 and (
            AlertRecord(self._alerts.arena, position).acknowledged is None
        )
        return event.space, event.entity, is_open and key not in self._new_alerts

    def components(self, instrument: int) -> tuple[int, ...]:
        held = self.held(Space.INSTRUMENT, instrument)
        return () if held is None else components_of(formula_of(held.body))

    def rules(self) -> RulesBody:
        """What holds for sources. Cost: once in a group 10 µs."""
        if self._rules is None:
            held = self.find(Space.FEED, _RULES)
            body = _NO_RULES if held is None else held.body
            assert isinstance(body, RulesBody)
            self._rules = body
        return self._rules

    def members(self, source: str) -> Members:
        """Whom a source names by its snapshots. Do not change it. Cost: once in a group 10 µs for
        each snapshot there ever was, and 0.1 µs for each that came or went in it."""
        held = self.find(Space.FEED, fingerprint_of(snapshots_key(source)))
        if held is None:
            return Members()
        known = self._members.get(source)
        if known is not None and known[0] == held.data_offset:
            return known[1]
        bodies: list[SnapshotBody] = []
        at: int | None = held.entity.last_offset
        while at is not None:
            body, _, before = self._past(at)
            if isinstance(body, SnapshotBody):
                bodies.append(body)
            at = before
        members = Members()
        for body in reversed(bodies):
            members.fold(body)
        self._members[source] = (held.data_offset, members)
        return members

    def status_of(self, instrument: int) -> tuple[bytes, int] | None:
        """(fingerprint, status) of an instrument."""
        found = self.entity(Space.INSTRUMENT, instrument)
        return None if found is None else (found.fingerprint, found.status)

    def proposed_since(self, proposal: int) -> int:
        held = self.held(Space.PROPOSAL, proposal)
        return held.body.since if held and isinstance(held.body, ProposalBody) else 0

    def delistings_of(self, instrument: int) -> list[Held]:
        """The proposals to delist an instrument, whatever was answered."""
        table = self._tables[Space.PROPOSAL]
        known = [
            table.key_of(cell) for cell in table.postings("instrument", instrument)
            if ProposalRecord(table.arena, table.position_of(cell)).proposed == Proposed.DELIST
        ]  # fmt: skip
        found = []
        for id in dict.fromkeys((*known, *self._new_delistings.get(instrument, ()))):
            held = self.held(Space.PROPOSAL, id)
            assert held is not None
            found.append(held)
        return found

    def operates(self, venue: str) -> bool:
        """Whether some venue is a segment of this one."""
        table = self._tables[Space.VENUE]
        known = (table.key_of(cell) for cell in table.postings("operating", text_key(venue)))
        new = self._new_segments.get(venue, ())
        held = (self.held(Space.VENUE, id) for id in (*known, *new))
        return any(
            each and isinstance(each.body, VenueBody) and each.body.operating == venue
            for each in held
        )

    def trading_words(self, entity: int) -> Iterator[TradingBody]:
        """What was said of a trading status, the newest first. Cost: 8 µs for each."""
        held = self.held(Space.VENUE, entity)
        for body, _ in self.words(held) if held else ():
            assert isinstance(body, TradingBody)
            yield body

    def summarised_until(self, entity: int) -> int:
        """ns: the end of the newest window of a performance; 0 before the first."""
        held = self.held(Space.VENUE, entity)
        return held.body.window_to if held and isinstance(held.body, PerformanceBody) else 0

    def words(self, held: Held) -> Iterator[tuple[DataBody, Metadata]]:
        """Every full state of an entity and who said it, the newest first. Cost: 8 µs for each."""
        at: int | None = held.entity.last_offset
        while at is not None:
            body, metadata, at = self._past(at)
            if isinstance(body, DATA_BODIES):
                yield body, metadata

    def awaits_collision(self, space: int, id: int) -> bool:
        """Whether its newest event is its registration, and that is one of this group."""
        held = self._overlay.get((space, id))
        if held is None or held.entity.revision != 1:
            return False
        newest = self._pending.get(held.entity.last_offset)
        return newest is not None and newest.kind in NEW_KINDS

    def imported(self, content_hash: bytes) -> int | None:
        """Offset of the event that says a file with this content was imported."""
        offset = self._new_imports.get(content_hash)
        return find_import(self._imports, content_hash) if offset is None else offset

    def evidence(self, candidate: int) -> bytes | None:
        """Hash of the evidence that a candidate was proposed on."""
        held = self.held(Space.CANDIDATE, candidate)
        return evidence_hash(held.body) if held and isinstance(held.body, CandidateBody) else None

    def raised_before(
        self, space: int, entity: int, body: ConflictBody
    ) -> tuple[int, int | None] | None:
        """Offsets of the alert of this very disagreement and of its acknowledgement, None while
        that is open; None when it is new. What was held, and by whom, makes no difference."""
        key = alert_key(space, entity, body)
        if key in self._new_alerts:
            offset, _, _, acknowledged = self._new_alerts[key]
            return offset, acknowledged
        position = self._alerts.find(key)
        if position < 0:
            return None
        record = AlertRecord(self._alerts.arena, position)
        return record.offset, record.acknowledged

    def request(self, request_id: str) -> int | None:
        """Offset of the first event that this request id led to."""
        if request_id in self._new_requests:
            return self._new_requests[request_id]
        key, digest = request_key(request_id)
        position = self._requests.find(key)
        if position < 0:
            return None
        record = RequestRecord(self._requests.arena, position)
        return record.offset if record.digest == digest else None

    def events_of_request(self, request_id: str, first: int) -> list[Past]:
        """What a request led to: events of one unit follow each other, and all name it."""
        found = []
        for offset in range(first, self.head):
            draft = self._pending.get(offset)
            event = draft if draft is not None else self._log.event(offset)
            metadata = (
                event.metadata if isinstance(event, Event) else decode_metadata(event.metadata)
            )
            if metadata.request_id != request_id:
                break
            recorded = int(event.recorded) if isinstance(event, Event) else self.now
            found.append(Past(
                offset, event.kind, event.space, event.entity, event.body, metadata.command,
                recorded,
            ))  # fmt: skip
        if not found:
            raise ViewUnusable(
                "looking for what a request led to", offset=first,
                problem="the view of requests names an event that is of another or of none",
            )  # fmt: skip
        return found

    def event_at(self, offset: int) -> tuple[AnyBody, int, int, int]:
        """(body, kind, space, entity) of the event at `offset`."""
        draft = self._pending.get(offset)
        found = draft if draft is not None else event_named(self._log, offset)
        return found.body, found.kind, found.space, found.entity

    def data_at(self, offset: int) -> DataBody:
        """The state of an entity after its event at `offset`."""
        at: int | None = offset
        while at is not None:
            body, _, at = self._past(at)
            if isinstance(body, DATA_BODIES):
                return body
        raise AssertionError(f"the entity of event {offset} was never registered")

    @cached_property
    def now(self) -> int:
        """The time (ns) of this group by the log's clock, never before the newest event of the log;
        the commit's is not earlier. Raises ClockOff."""
        head = self.head - len(self._pending)
        last = self._log.event(head - 1).recorded if head else self._log.genesis.created
        return self._log.clock.next_time(int(last))

    def is_pending(self, held: Held) -> bool:
        """Whether some words of an instrument may not be true yet. Cost: 1 µs."""
        table = self._tables[Space.INSTRUMENT]
        position = table.find(held.id)
        announced = position >= 0 and table.trailer(position).pending_until_s * NS > self.now
        return announced or any(
            draft.entity == held.id and draft.valid_from > self.now
            for draft in self._pending.values() if draft.valid_from
        )  # fmt: skip

    def said_of(self, held: Held) -> list[Said]:
        """What was said of an instrument, oldest first. What names no date and is decided in this
        group holds since the newest event of the log. Cost: 15 µs for each of its events."""
        now, found = self.now, list[Said]()
        at: int | None = held.entity.last_offset
        while at is not None:
            event = self._pending.get(at) or event_named(self._log, at)
            if isinstance(event.body, InstrumentBody):
                since = holds_from(event) if isinstance(event, Event) else event.valid_from or now
                found.append(Said(since, words_of(event.body), event.valid_from))
            at = event.previous
        return found[::-1]

    def said_by(
        self, held: Held, field: str, value_of: Callable[[DataBody], object],
        formerly: object = None,
    ) -> Origin:  # fmt: skip
        """Whose word the value is which a field has now, without a request id: who said it first,
        unless one that comes before it has endorsed it since.

        value_of: from a body to the field's value. formerly: a value that it had before the one of
        now, whose word is asked instead. Cost: 8 µs for each event of the entity.
        """
        value = value_of(held.body) if formerly is None else formerly
        origin, endorsed, is_found = Origin(), list[Origin](), formerly is None
        at: int | None = held.entity.last_offset
        while at is not None:
            body, said_by, at = self._past(at)
            if isinstance(body, DATA_BODIES):
                if value_of(body) != value:
                    if is_found:
                        break
                    endorsed.clear()  # what was endorsed is another value
                    continue
                is_found = True
                origin = Origin(said_by.source, said_by.content_hash)
            elif isinstance(body, EndorsedBody) and field in body.fields:
                endorsed.append(Origin(said_by.source, said_by.content_hash))
        for other in endorsed:
            if outranks(self.rules().precedence, other.source, origin.source):
                origin = other
        return origin

    def origin_at(self, offset: int) -> Origin:
        """Who said what the event at `offset` says, without a request id."""
        said_by = self._past(offset)[1]
        return Origin(said_by.source, said_by.content_hash)

    def bodies_of(self, held: Held) -> Iterator[AnyBody]:
        """Of the events of an entity, the newest first. Cost: 8 µs each."""
        at: int | None = held.entity.last_offset
        while at is not None:
            body, _, at = self._past(at)
            yield body

    def sources_of(self, held: Held) -> set[str]:
        """Everybody who said something of an entity. Cost: 8 µs for each of its events."""
        sources: set[str] = set()
        at: int | None = held.entity.last_offset
        while at is not None:
            body, said_by, at = self._past(at)
            if isinstance(body, DATA_BODIES):
                sources.add(said_by.source)
        return sources

    def _past(self, offset: int) -> tuple[AnyBody, Metadata, int | None]:
        """(body, metadata, previous offset) of an event, decided in this group or in the log."""
        draft = self._pending.get(offset)
        if draft is not None:
            return draft.body, decode_metadata(draft.metadata), draft.previous
        event = event_named(self._log, offset)
        return event.body, event.metadata, event.previous

    @property
    def any_waits(self) -> bool:
        """Whether a relation may wait for an end, so that nobody else pays for them."""
        return self._any_waited or bool(self._new_waiting)

    # Emitting

    def emit(
        self, kind: int, space: int, entity: int, body: AnyBody, *, metadata: bytes,
        valid_from: int = 0,
    ) -> int:  # fmt: skip
        """Checks the event, adds it to the unit and to the overlay; returns its offset."""
        before = self.entity(space, entity)
        previous = before.last_offset if before else None
        fingerprint, _, revision, status, counter = check_body(
            self, kind, space, entity, before, body
        )
        offset = self.head
        draft = _as(Draft, (kind, space, entity, previous, body, metadata, valid_from))
        self.drafts.append(draft)
        self.head = offset + 1
        self._free_id = 0
        after = _as(Entity, (fingerprint, offset, revision, status, counter))
        self._pending[offset] = draft
        if isinstance(body, DATA_BODIES):
            held = _as(Held, (entity, after, body, offset))
            self._set(self._overlay, (space, entity), held)
            if isinstance(body, InstrumentBody):
                return offset
            if isinstance(body, RelationBody):
                self._file_relation(entity, body)
            elif isinstance(body, FeedBody):
                self._set(self._new_imports, body.content_hash, offset)
            elif isinstance(body, RulesBody):
                self._rules = None
            elif isinstance(body, VenueBody) and body.operating:
                ids = (*self._new_segments.get(body.operating, ()), entity)
                self._set(self._new_segments, body.operating, ids)
            elif isinstance(body, ProposalBody):
                self.has_proposals = True
                if body.proposed == Proposed.DELIST and before is None:
                    ids = (*self._new_delistings.get(body.instrument, ()), entity)
                    self._set(self._new_delistings, body.instrument, ids)
            return offset
        known = self.held(space, entity)
        assert known is not None
        self._set(self._overlay, (space, entity), known._replace(entity=after))
        if isinstance(body, AcknowledgedBody):
            alert, _, _ = self._past(body.alert)
            key = alert_key(space, entity, alert)
            self._set(self._new_alerts, key, (body.alert, space, entity, offset))
        elif not isinstance(body, AnswerBody | EndorsedBody | WarningBody):
            key = alert_key(space, entity, body)
            self._set(self._new_alerts, key, (offset, space, entity, None))
        return offset

    def _file_relation(self, id: int, body: RelationBody) -> None:
        """Under the instrument that it starts from, and the one that it waits for."""
        started, missing = self._new_links.get(body.instrument, ()), body.missing
        if body.instrument and id not in started[-1:]:
            self._set(self._new_links, body.instrument, (*started, id))
        if missing:
            self._set(self._new_waiting, missing, (*self._new_waiting.get(missing, ()), id))

    def remember_request(self, request_id: str, offset: int) -> None:
        """Within this group, the same request id again finds `offset`."""
        self._set(self._new_requests, request_id, offset)

    def _set(self, where: dict[K, V], key: K, value: V) -> None:
        self._undo.append((where, key, where.get(key, _NOTHING)))
        where[key] = value

    def begin_unit(self) -> None:
        self.drafts = []
        self._undo.clear()

    def abandon_unit(self) -> None:
        """Forgets the unit: the overlay and the head are as they were before it."""
        for where, key, old in reversed(self._undo):
            if old is _NOTHING:
                del where[key]
            else:
                where[key] = old
        for offset in range(self.head - len(self.drafts), self.head):
            del self._pending[offset]
        self._members.clear()
        self._rules = None
        self.head -= len(self.drafts)
        self.begin_unit()
