"""Commands: what callers ask for, and how each is decided against the state at the head.

`decide(state, origin)` either emits events into the state and returns a receipt, or raises and
has emitted nothing that counts (the unit is abandoned). It reads no clock and no file, so the same
state gives the same events. Two rules live here that cost people money elsewhere:

* *same key, same instrument*: a registration of something known adds nothing, fills in what was
  not known, or, when its source said the old value itself, amends it;
* *another source that disagrees changes nothing*: it raises a conflict, once for each field, value
  and source. Decimals conflict whoever says them. An explicit `Amend` is a person's decision and
  always applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from alphapulse.log import (
    AcknowledgedBody,
    AssetClass,
    CollisionBody,
    ConflictBody,
    InstrumentBody,
    InstrumentRecord,
    InvalidInput,
    Kind,
    ListingBody,
    RelationBody,
    RelationKind,
    Space,
    Status,
)

from .check import NEXT
from .errors import (
    IdSpaceFull,
    IllegalTransition,
    RequestReused,
    UnknownAlert,
    UnknownInstrument,
    UnknownListing,
)
from .facts import (
    Facts,
    Value,
    amended,
    body_of,
    facts_from,
    facts_of,
    merge,
    normalised,
    status_of,
    valid_from_of,
)
from .identity import (
    fingerprint_of,
    group_relation_key,
    id_candidates,
    listing_key,
    primary_id,
    venue_fingerprint,
)
from .instruments import AnyInstrument, Listing
from .state import DataBody, Held, Origin, State

DOING: Final = "deciding a command"


class Receipt(NamedTuple):
    """What became of a command.

    outcome: new, unchanged, amended, or collision (new, under a fallback id). offset: of the event
    that was written or, for unchanged, of the one that already said so. conflicts: offsets of the
    conflicts it raised. durable: False on a relaxed log or a memory disk.
    """

    id: int
    fingerprint: bytes
    offset: int
    outcome: str
    conflicts: tuple[int, ...] = ()
    durable: bool = False


class Command(Protocol):
    def decide(self, state: State, origin: Origin) -> Receipt: ...


def decide(command: Command, state: State, origin: Origin) -> Receipt:
    """The command's receipt; a request id that was used before gives what it led to then."""
    if not origin.request_id:
        return command.decide(state, origin)
    unit_start = state.head - len(state.drafts)
    first = state.request(origin.request_id)
    if first is not None and first < unit_start:
        return _replayed(command, state, origin.request_id, first)
    receipt = command.decide(state, origin)
    if first is None and state.drafts:
        state.remember_request(origin.request_id, unit_start)
    return receipt


_KINDS_OF_COMMAND: Final[dict[str, frozenset[int]]] = {
    "Register": frozenset({Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_AMENDED,
                           Kind.INSTRUMENT_STATUS, Kind.CONFLICT_DETECTED}),
    "Amend": frozenset({Kind.INSTRUMENT_AMENDED}),
    "SetStatus": frozenset({Kind.INSTRUMENT_STATUS}),
    "AddListing": frozenset({Kind.LISTING_ADDED, Kind.LISTING_AMENDED, Kind.CONFLICT_DETECTED}),
    "EndListing": frozenset({Kind.LISTING_ENDED}),
    "AddToGroup": frozenset({Kind.RELATION_ADDED}),
    "Acknowledge": frozenset({Kind.ALERT_ACKNOWLEDGED}),
}  # fmt: skip
_OUTCOMES: Final[dict[int, str]] = {
    Kind.INSTRUMENT_REGISTERED: "new", Kind.LISTING_ADDED: "new", Kind.RELATION_ADDED: "new",
    Kind.INSTRUMENT_AMENDED: "amended", Kind.INSTRUMENT_STATUS: "amended",
    Kind.LISTING_AMENDED: "amended", Kind.LISTING_ENDED: "amended",
    Kind.CONFLICT_DETECTED: "unchanged", Kind.ALERT_ACKNOWLEDGED: "amended",
}  # fmt: skip


def _replayed(command: Command, state: State, request_id: str, first: int) -> Receipt:
    """The receipt that a request got before, made again from the events it led to."""
    events = state.events_of_request(request_id, first)
    kinds = _KINDS_OF_COMMAND[type(command).__name__]
    subject, repeats = getattr(command, "subject", None), getattr(command, "repeats", None)
    mine = [e for e in events if e.kind in kinds]
    if mine and subject is not None:
        wanted = subject(state)
        mine = [e for e in mine if state.fingerprint(e.space, e.entity) == wanted]
    if not mine or (repeats is not None and not repeats(mine[-1].body)):
        raise RequestReused(DOING, offset=first, used_for=f"0x{events[0].entity:016x}")
    space, id = mine[0].space, mine[0].entity
    conflicts = tuple(e.offset for e in mine if e.kind == Kind.CONFLICT_DETECTED)
    last = next((e for e in reversed(mine) if e.kind != Kind.CONFLICT_DETECTED), mine[0])
    collided = any(e.kind == Kind.COLLISION_DETECTED and e.entity == id for e in events)
    outcome = "collision" if collided else _OUTCOMES[last.kind]
    return Receipt(id, state.fingerprint(space, id), last.offset, outcome, conflicts)


def allocate(state: State, space: int, fingerprint: bytes) -> tuple[int, int, Held | None]:
    """(counter, id, first holder) for a fingerprint that is not registered in `space`."""
    primary = primary_id(fingerprint, state.id_bits)
    if state.is_free(space, primary):
        return 0, primary, None
    holder = None
    for counter, id in id_candidates(fingerprint, state.id_bits):
        held = state.held(space, id)
        if held is None:
            return counter, id, holder
        holder = holder or held
    raise IdSpaceFull("finding a free id", id_bits=state.id_bits)


def _announce_collision(
    state: State, space: int, asset_class: int, id: int, key: bytes, counter: int,
    holder: Held | None, metadata: bytes,
) -> None:  # fmt: skip
    if holder is None:
        return
    state.emit(
        Kind.COLLISION_DETECTED, space, id,
        CollisionBody(
            asset_class=asset_class, wanted=holder.id, assigned=id, counter=counter,
            fingerprint=fingerprint_of(key), key=key, holder=holder.id,
            holder_fingerprint=holder.entity.fingerprint, holder_key=key_of(holder.body),
        ),
        metadata=metadata,
    )  # fmt: skip


def key_of(body: DataBody) -> bytes:
    """The canonical key that a body's fingerprint was hashed from."""
    if isinstance(body, InstrumentBody):
        return body.extension.key
    if isinstance(body, ListingBody):
        return listing_key(
            body.instrument_fingerprint, venue_fingerprint(body.venue), body.currency, body.line
        )
    return group_relation_key(body.instrument_fingerprint, body.group_source, body.group)


class Register(NamedTuple):
    """Registers an instrument, or says again what is known of it. Validates before deciding."""

    facts: Facts
    fingerprint: bytes
    status: Status | None = None
    valid_from: int = 0

    @classmethod
    def of(cls, instrument: AnyInstrument) -> Register:
        """Raises InvalidInput, naming the field. Cost: 5 µs for a token."""
        facts = facts_of(instrument)
        return cls(
            facts, fingerprint_of(facts.key), status_of(instrument), valid_from_of(instrument)
        )

    def subject(self, state: State) -> bytes:
        return self.fingerprint

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = state.find(Space.INSTRUMENT, self.fingerprint)
        return self._first(state, origin) if held is None else self._again(state, origin, held)

    def _first(self, state: State, origin: Origin) -> Receipt:
        counter, id, holder = allocate(state, Space.INSTRUMENT, self.fingerprint)
        metadata, facts = origin.metadata(), self.facts
        body = body_of(
            facts, id=id, fingerprint=self.fingerprint, counter=counter,
            status=self.status or Status.ACTIVE, valid_from=self.valid_from,
        )  # fmt: skip
        offset = state.emit(
            Kind.INSTRUMENT_REGISTERED, Space.INSTRUMENT, id, body, metadata=metadata,
            valid_from=self.valid_from,
        )  # fmt: skip
        _announce_collision(
            state, Space.INSTRUMENT, facts.asset_class, id, facts.key, counter, holder, metadata
        )
        return Receipt(id, self.fingerprint, offset, "collision" if holder else "new")

    def _again(self, state: State, origin: Origin, held: Held) -> Receipt:
        known = facts_from(_instrument_body(held))
        filled, disagreements = merge(known, self.facts)
        changes: dict[str, Value] = dict(filled)
        conflicts = []
        for field, (value, offered) in disagreements.items():
            said_by = state.said_by(held, partial(_fact, field=field))
            if field != "decimals" and _may_correct(said_by, origin):
                changes[field] = offered
            else:
                conflicts.append((field, str(value), said_by.source, str(offered)))
        offset, outcome = held.data_offset, "unchanged"
        if changes:
            offset = _amend(
                state, held, amended(known, changes), self.valid_from, origin.metadata()
            )
            outcome = "amended"
        if self.status is not None and self.status != held.entity.status:
            status_offset = self._restatus(state, origin, held.id, conflicts)
            if status_offset is not None:
                offset, outcome = status_offset, "amended"
        raised = _raise_conflicts(
            state, Space.INSTRUMENT, held.id, known.asset_class, conflicts, origin
        )
        if outcome == "unchanged" and raised:
            offset = raised[0]
        return Receipt(held.id, self.fingerprint, offset, outcome, raised)

    def _restatus(
        self, state: State, origin: Origin, id: int, conflicts: list[tuple[str, str, str, str]]
    ) -> int | None:
        """The same source may move the status; another one's word is a conflict."""
        held = _held(state, id)
        assert self.status is not None
        said_by = state.said_by(held, _instrument_status)
        before = Status(held.entity.status)
        if _may_correct(said_by, origin) and self.status in NEXT[before]:
            return _set_status(state, held, self.status, self.valid_from, origin.metadata())
        conflicts.append(
            ("status", before.name.lower(), said_by.source, self.status.name.lower())
        )
        return None


def _may_correct(said_by: Origin, origin: Origin) -> bool:
    """A source may correct itself. A file that contradicts itself is no correction: it would amend
    to and fro with each import, and the same file again must add nothing."""
    return said_by.source == origin.source and (
        not origin.content_hash or said_by.content_hash != origin.content_hash
    )


def _instrument_body(held: Held) -> InstrumentBody:
    assert isinstance(held.body, InstrumentBody)
    return held.body


def _instrument_status(body: DataBody) -> int:
    assert isinstance(body, InstrumentBody)
    return body.message[3]


def _fact(body: DataBody, field: str) -> object:
    assert isinstance(body, InstrumentBody)
    facts = facts_from(body)
    return facts.asset_class if field == "class" else facts.values.get(field)


def _held(state: State, id: int) -> Held:
    held = state.held(Space.INSTRUMENT, id)
    if held is None:
        raise UnknownInstrument(DOING, id=f"0x{id:016x}")
    return held


def _amend(state: State, held: Held, facts: Facts, valid_from: int, metadata: bytes) -> int:
    body = body_of(
        facts, id=held.id, fingerprint=held.entity.fingerprint, counter=held.entity.counter,
        status=held.entity.status, revision=held.entity.revision + 1, valid_from=valid_from,
    )  # fmt: skip
    return state.emit(
        Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, held.id, body, metadata=metadata,
        valid_from=valid_from,
    )  # fmt: skip


def _set_status(
    state: State, held: Held, status: Status, valid_from: int, metadata: bytes
) -> int:
    body = body_of(
        facts_from(_instrument_body(held)), id=held.id, fingerprint=held.entity.fingerprint,
        counter=held.entity.counter, status=status, revision=held.entity.revision + 1,
        valid_from=valid_from,
    )  # fmt: skip
    return state.emit(
        Kind.INSTRUMENT_STATUS, Space.INSTRUMENT, held.id, body, metadata=metadata,
        valid_from=valid_from,
    )  # fmt: skip


def _raise_conflicts(
    state: State, space: int, id: int, asset_class: int,
    conflicts: list[tuple[str, str, str, str]], origin: Origin,
) -> tuple[int, ...]:  # fmt: skip
    """One event for each disagreement that was not raised before: (field, held, by, offered)."""
    raised = []
    for field, value, said_by, offered in conflicts:
        body = ConflictBody(
            asset_class=asset_class, field=field, held=value, held_source=said_by,
            offered=offered, offered_source=origin.source,
        )  # fmt: skip
        if not state.has_alert(space, id, body):
            raised.append(
                state.emit(Kind.CONFLICT_DETECTED, space, id, body, metadata=origin.metadata())
            )
    return tuple(raised)


class Amend(NamedTuple):
    """A person's correction: always applies. changes: field to value, None = no longer known."""

    id: int
    changes: Mapping[str, object]
    valid_from: int = 0

    def subject(self, state: State) -> bytes:
        return _held(state, self.id).entity.fingerprint

    def repeats(self, body: InstrumentBody) -> bool:
        """Whether the event with this body says what the command asks for."""
        facts = facts_from(body)
        return amended(facts, self.changes) == facts

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = _held(state, self.id)
        known = facts_from(_instrument_body(held))
        facts = amended(known, self.changes)
        fingerprint = held.entity.fingerprint
        if facts == known:
            return Receipt(self.id, fingerprint, held.data_offset, "unchanged")
        offset = _amend(state, held, facts, self.valid_from, origin.metadata())
        return Receipt(self.id, fingerprint, offset, "amended")


class SetStatus(NamedTuple):
    """Moves an instrument through its life; raises IllegalTransition."""

    id: int
    status: Status
    valid_from: int = 0

    def subject(self, state: State) -> bytes:
        return _held(state, self.id).entity.fingerprint

    def repeats(self, body: InstrumentBody) -> bool:
        return _instrument_status(body) == self.status

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = _held(state, self.id)
        before, fingerprint = Status(held.entity.status), held.entity.fingerprint
        if before == self.status:
            return Receipt(self.id, fingerprint, held.data_offset, "unchanged")
        if self.status not in NEXT[before]:
            allowed = ", ".join(status.name.lower() for status in NEXT[before]) or "nothing"
            raise IllegalTransition(
                DOING, problem=f"{before.name.lower()} cannot become {self.status.name.lower()}",
                cure=f"from there it can become {allowed}", id=f"0x{self.id:016x}",
            )  # fmt: skip
        offset = _set_status(state, held, self.status, self.valid_from, origin.metadata())
        return Receipt(self.id, fingerprint, offset, "amended")


class AddListing(NamedTuple):
    """Says that an instrument is listed somewhere. `of`: its fingerprint, else `listing.instrument`
    is its id."""

    listing: Listing
    of: bytes | None = None

    @classmethod
    def make(cls, listing: Listing, of: bytes | None = None) -> AddListing:
        """Validates; raises InvalidInput."""
        return cls(normalised(listing), of)

    def _owner(self, state: State) -> Held:
        if self.of is not None:
            held = state.find(Space.INSTRUMENT, self.of)
            if held is None:
                raise UnknownInstrument(DOING, fingerprint=self.of.hex())
            return held
        if not isinstance(self.listing.instrument, int):
            raise InvalidInput(DOING, problem="the instrument of a listing is given by its id")
        return _held(state, self.listing.instrument)

    def _key(self, owner: Held) -> bytes:
        listing = self.listing
        return listing_key(
            owner.entity.fingerprint, venue_fingerprint(listing.venue), listing.currency,
            listing.line,
        )  # fmt: skip

    def subject(self, state: State) -> bytes:
        return fingerprint_of(self._key(self._owner(state)))

    def decide(self, state: State, origin: Origin) -> Receipt:
        owner, metadata = self._owner(state), origin.metadata()
        key = self._key(owner)
        fingerprint = fingerprint_of(key)
        held = state.find(Space.LISTING, fingerprint)
        if held is not None:
            return self._again(state, origin, held)
        counter, id, holder = allocate(state, Space.LISTING, fingerprint)
        listing = self.listing
        body = ListingBody(
            fingerprint=fingerprint, instrument=owner.id,
            instrument_fingerprint=owner.entity.fingerprint,
            asset_class=_instrument_body(owner).message[2], venue=listing.venue,
            currency=listing.currency, line=listing.line, symbol=listing.symbol,
            primary=listing.primary, valid_from=int(listing.valid_from),
            valid_to=int(listing.valid_to), counter=counter, tick=str(listing.tick or ""),
            lot=str(listing.lot or ""),
        )  # fmt: skip
        offset = state.emit(
            Kind.LISTING_ADDED, Space.LISTING, id, body, metadata=metadata,
            valid_from=body.valid_from,
        )  # fmt: skip
        _announce_collision(
            state, Space.LISTING, body.asset_class, id, key, counter, holder, metadata
        )
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")

    def _again(self, state: State, origin: Origin, held: Held) -> Receipt:
        """What is not given says nothing; the rest fills in, amends or conflicts."""
        known, listing = held.body, self.listing
        assert isinstance(known, ListingBody)
        offered: dict[str, object] = {
            "symbol": listing.symbol, "primary": listing.primary,
            "valid_from": listing.valid_from, "valid_to": listing.valid_to,
            "tick": str(listing.tick or ""), "lot": str(listing.lot or ""),
        }  # fmt: skip
        changes: dict[str, object] = {}
        conflicts = []
        for field, value in offered.items():
            before = getattr(known, field)
            if not value or value == before:
                continue
            said_by = state.said_by(held, attrgetter(field))
            if not before or _may_correct(said_by, origin):
                changes[field] = value
            else:
                conflicts.append((field, str(before), said_by.source, str(value)))
        offset, outcome = held.data_offset, "unchanged"
        if changes:
            offset = _change_listing(
                state, held, Kind.LISTING_AMENDED, changes, origin.metadata()
            )
            outcome = "amended"
        raised = _raise_conflicts(
            state, Space.LISTING, held.id, known.asset_class, conflicts, origin
        )
        if outcome == "unchanged" and raised:
            offset = raised[0]
        return Receipt(held.id, held.entity.fingerprint, offset, outcome, raised)


def _change_listing(
    state: State, held: Held, kind: Kind, changes: Mapping[str, object], metadata: bytes
) -> int:
    assert isinstance(held.body, ListingBody)
    body = replace(held.body, revision=held.body.revision + 1, **changes)
    if body.valid_to and body.valid_to <= body.valid_from:
        raise InvalidInput(
            DOING, problem="the listing would end before it begins", valid_from=body.valid_from,
            valid_to=body.valid_to,
        )  # fmt: skip
    return state.emit(
        kind, Space.LISTING, held.id, body, metadata=metadata, valid_from=body.valid_from
    )


class EndListing(NamedTuple):
    """Ends the listing with this id at `valid_to` (ns, the first instant without it)."""

    id: int
    valid_to: int

    def subject(self, state: State) -> bytes:
        return self._listing(state).entity.fingerprint

    def repeats(self, body: ListingBody) -> bool:
        return body.valid_to == self.valid_to

    def _listing(self, state: State) -> Held:
        held = state.held(Space.LISTING, self.id)
        if held is None:
            raise UnknownListing(DOING, id=f"0x{self.id:016x}")
        return held

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = self._listing(state)
        assert isinstance(held.body, ListingBody)
        fingerprint = held.entity.fingerprint
        if held.body.valid_to == self.valid_to:
            return Receipt(self.id, fingerprint, held.data_offset, "unchanged")
        offset = _change_listing(
            state, held, Kind.LISTING_ENDED, {"valid_to": self.valid_to}, origin.metadata()
        )
        return Receipt(self.id, fingerprint, offset, "amended")


class AddToGroup(NamedTuple):
    """Says that a source counts an instrument to a named group: its siblings are the others."""

    of: bytes
    """Fingerprint of the instrument."""
    source: str
    group: str

    def _key(self) -> bytes:
        return group_relation_key(self.of, self.source, self.group)

    def subject(self, state: State) -> bytes:
        return fingerprint_of(self._key())

    def decide(self, state: State, origin: Origin) -> Receipt:
        owner = state.find(Space.INSTRUMENT, self.of)
        if owner is None:
            raise UnknownInstrument(DOING, fingerprint=self.of.hex())
        key = self._key()
        fingerprint = fingerprint_of(key)
        held = state.find(Space.RELATION, fingerprint)
        if held is not None:
            return Receipt(held.id, fingerprint, held.data_offset, "unchanged")
        counter, id, holder = allocate(state, Space.RELATION, fingerprint)
        asset_class = AssetClass(InstrumentRecord(_instrument_body(owner).message).asset_class)
        body = RelationBody(
            fingerprint=fingerprint, relation=RelationKind.GROUPED, asset_class=asset_class,
            instrument=owner.id, instrument_fingerprint=self.of, group_source=self.source,
            group=self.group, counter=counter,
        )  # fmt: skip
        metadata = origin.metadata()
        offset = state.emit(Kind.RELATION_ADDED, Space.RELATION, id, body, metadata=metadata)
        _announce_collision(
            state, Space.RELATION, asset_class, id, key, counter, holder, metadata
        )
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")


class Acknowledge(NamedTuple):
    """Closes an alert: a person has seen it, and lets the held value stand."""

    alert: int
    reason: str = ""

    def repeats(self, body: AcknowledgedBody) -> bool:
        return body.alert == self.alert

    def decide(self, state: State, origin: Origin) -> Receipt:
        found = state.alert(self.alert)
        if found is None:
            raise UnknownAlert(DOING, offset=self.alert)
        space, id, is_open = found
        held = state.held(space, id)
        assert held is not None
        if not is_open:
            return Receipt(id, held.entity.fingerprint, self.alert, "unchanged")
        raised = state.event_at(self.alert)[0]
        assert isinstance(raised, CollisionBody | ConflictBody)
        body = AcknowledgedBody(
            alert=self.alert, asset_class=raised.asset_class, reason=self.reason
        )
        offset = state.emit(
            Kind.ALERT_ACKNOWLEDGED, space, id, body, metadata=origin.metadata()
        )
        return Receipt(id, held.entity.fingerprint, offset, "amended")


