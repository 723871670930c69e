"""Is this event legal after what came before it?

One function, called by every writer for each event it is about to append and by the audit for
each event it reads. So what the audit calls wrong can never be written, and what a writer may do
is what the audit accepts: ids re-derive from keys, collisions follow the rule, revisions count up
by one, statuses follow the table, links name things that exist.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn, Protocol

import msgspec
from blake3 import blake3

from alphapulse.log import (
    CANDIDATE_STATES,
    CLASS_NAMES,
    KIND_NAMES,
    RELATION_NAMES,
    STATUS_NAMES,
    VENUE_BODIES,
    VENUE_KINDS,
    AcknowledgedBody,
    AnswerBody,
    AnyBody,
    AspectBody,
    AssetClass,
    CandidateBody,
    CandidateState,
    CollisionBody,
    ConflictBody,
    EndorsedBody,
    FeedBody,
    InstrumentBody,
    Kind,
    ListingBody,
    ProposalBody,
    RelationBody,
    RelationKind,
    RulesBody,
    SnapshotBody,
    Space,
    Status,
    VenueBody,
    summary_of,
)

from . import periods, precedence, proposal_rules, snapshots, synthetics
from .errors import FormulaCycle, IllegalEvent, RelationCycle, UnknownComponent
from .formula import components_of
from .identity import (
    candidate_key,
    canonical_key,
    feed_key,
    fingerprint_of,
    group_relation_key,
    id_candidates,
    listing_key,
    primary_id,
    relation_key,
    rules_key,
    snapshots_key,
    venue_fingerprint,
)
from .proposal_rules import POLICIES, Proposals
from .relation_rules import REACH_MAX, RULES, Links, flaw, way_back
from .synthetics import Uses
from .venue_state import VenueState, status_slot

NEXT: Final[dict[Status, frozenset[Status]]] = {
    Status.PENDING: frozenset({Status.ACTIVE, Status.DELISTED}),
    Status.ACTIVE: frozenset({Status.HALTED, Status.DELISTED, Status.EXPIRED, Status.MIGRATED}),
    Status.HALTED: frozenset({Status.ACTIVE, Status.DELISTED, Status.EXPIRED, Status.MIGRATED}),
    Status.DELISTED: frozenset({Status.ACTIVE}),
    Status.EXPIRED: frozenset(),
    Status.MIGRATED: frozenset(),
}
"""Life of an instrument. A delisted one may come back; expiry and migration are final."""
if NEXT.keys() != set(Status):
    raise ImportError("the table of statuses is not total")

NEXT_CANDIDATE: Final[dict[CandidateState, frozenset[CandidateState]]] = {
    CandidateState.PROPOSED: frozenset(CandidateState),
    CandidateState.CONFIRMED: frozenset(),
    CandidateState.REFUSED: frozenset({CandidateState.PROPOSED, CandidateState.CONFIRMED}),
}
"""Life of a candidate. It is proposed again only on other evidence; once it is confirmed, its
relation says the rest."""
if NEXT_CANDIDATE.keys() != set(CandidateState):
    raise ImportError("the table of the states of candidates is not total")

NEW_KINDS: Final = frozenset(
    {Kind.INSTRUMENT_REGISTERED, Kind.LISTING_ADDED, Kind.RELATION_ADDED, Kind.FEED_IMPORTED,
     Kind.FEED_SNAPSHOT, Kind.FEED_RULES, Kind.INSTRUMENT_SEEN, Kind.INSTRUMENT_MISSING,
     Kind.CANDIDATE_PROPOSED, *VENUE_KINDS - {Kind.VENUE_AMENDED}}
)  # fmt: skip
"""Kinds that register an entity, at its revision 1."""
_DOMAINS: Final = {"coin": "token", "equity": "security", "etf": "security", "bond": "security"}
_KEY_BEGINS: Final = {
    int(asset_class): canonical_key(_DOMAINS.get(name, name))
    for asset_class, name in CLASS_NAMES.items()
}
"""The first field of the key, its domain. Only classes of one domain become each other."""
CONTENT_HASH_SIZE_BYTES: Final = 32
_INSTRUMENT: Final = Space.INSTRUMENT
_REGISTERED: Final = Kind.INSTRUMENT_REGISTERED
_SYNTHETIC: Final = AssetClass.SYNTHETIC
"""Members of an enum are looked up by a function of Python's, which takes as long as a probe."""


class Entity(NamedTuple):
    """What a check needs to know of an entity before the event."""

    fingerprint: bytes
    last_offset: int
    revision: int
    status: int
    counter: int


class Before(Links, Uses, Proposals, VenueState, Protocol):
    """The state before the event: the session's in a writer, a plain dict in the audit."""

    @property
    def id_bits(self) -> int: ...

    def entity(self, space: int, id: int) -> Entity | None: ...

    def alert(self, offset: int) -> tuple[int, int, bool] | None:
        """(space, entity, open) of the alert raised at this offset."""

    def awaits_collision(self, space: int, id: int) -> bool:
        """Whether it was registered in this commit under a fallback id, and no event said so."""

    def imported(self, content_hash: bytes) -> int | None:
        """Offset of the event that says a file with this content was imported."""

    def rules(self) -> RulesBody:
        """What holds for sources."""

    def evidence(self, candidate: int) -> bytes | None:
        """`evidence_hash` of a candidate's newest state."""


def evidence_hash(body: CandidateBody) -> bytes:
    """16 bytes; the same for the same words, whatever they are worth."""
    return blake3(msgspec.msgpack.encode((body.agree, body.differ), order="sorted")).digest(16)


def entity_of(
    body: InstrumentBody | ListingBody | RelationBody | FeedBody | ProposalBody | SnapshotBody
    | RulesBody | CandidateBody | VenueBody | AspectBody,
    last_offset: int,
) -> Entity:  # fmt: skip
    """The entity whose newest full state is `body`."""
    if isinstance(body, InstrumentBody):
        _, status, _, fingerprint, revision = summary_of(body.message)
        return Entity(fingerprint, last_offset, revision, status, body.extension.counter)
    if isinstance(body, ListingBody):
        return Entity(body.fingerprint, last_offset, body.revision, body.status, body.counter)
    if isinstance(body, CandidateBody):
        return Entity(body.fingerprint, last_offset, body.revision, body.state, body.counter)
    if isinstance(body, ProposalBody):
        return Entity(body.fingerprint, last_offset, body.revision, body.answered, body.counter)
    if isinstance(body, RelationBody):
        status = relation_status(body)
        return Entity(body.fingerprint, last_offset, body.revision, status, body.counter)
    return Entity(body.fingerprint, last_offset, body.revision, status_slot(body), body.counter)


def check(
    state: Before, kind: int, space: int, entity: int, previous: int | None, body: AnyBody
) -> Entity:
    """The entity after the event; raises IllegalEvent, naming the rule that it breaks.

    The result's `last_offset` is still that of the event before; the caller sets it.
    """
    held = state.entity(space, entity)
    if previous != (held.last_offset if held else None):
        refuse(kind, "it does not name the previous event of its entity")
    return check_body(state, kind, space, entity, held, body)


def check_body(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: AnyBody
) -> Entity:
    """`check` for who knows what the state holds, and takes the previous event from it."""
    if isinstance(body, InstrumentBody):
        return _instrument(state, kind, space, entity, held, body)
    may_lack = isinstance(body, AcknowledgedBody) or space in (Space.FEED, Space.VENUE)
    classless = may_lack and not body.asset_class
    if not classless and body.asset_class not in CLASS_NAMES:
        refuse(kind, "its class is unknown", asset_class=body.asset_class)
    if isinstance(body, VENUE_BODIES):
        from .venues.rules import check_venue  # what it needs takes 25 ms to load

        after = check_venue(state, kind, space, entity, held, body)
    elif isinstance(body, ListingBody):
        after = _listing(state, kind, space, entity, held, body)
    elif isinstance(body, RelationBody):
        after = _relation(state, kind, space, entity, held, body)
    elif isinstance(body, CollisionBody):
        after = _collision(state, kind, space, entity, held, body)
    elif isinstance(body, ConflictBody):
        after = _conflict(state, kind, held, body)
    elif isinstance(body, FeedBody):
        after = _feed(state, kind, space, entity, held, body)
    elif isinstance(body, CandidateBody):
        after = _candidate(state, kind, space, entity, held, body)
    elif isinstance(body, ProposalBody):
        after = _proposal(state, kind, space, entity, held, body)
    elif isinstance(body, SnapshotBody):
        after = _snapshot(state, kind, space, entity, held, body)
    elif isinstance(body, RulesBody):
        after = _rules(state, kind, space, entity, held, body)
    elif isinstance(body, EndorsedBody):
        if held is None or not body.fields:
            refuse(kind, "it endorses nothing that was said")
        after = held
    elif isinstance(body, AnswerBody):
        after = _answer(kind, held, body)
    elif isinstance(body, AcknowledgedBody):
        after = _acknowledged(state, kind, space, entity, held, body)
    else:
        refuse(kind, "samples stand in the market log, not in this one")
    return after


def refuse(kind: int, rule: str, **facts: object) -> NoReturn:
    raise IllegalEvent(
        f"checking {KIND_NAMES.get(kind, kind)}", problem=rule, cure=IllegalEvent.cure, **facts
    )


def _instrument(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: InstrumentBody
) -> Entity:
    extension = body.extension
    key, counter = extension.key, extension.counter
    asset_class, status, id, fingerprint, revision = summary_of(body.message)
    if space != _INSTRUMENT or id != entity or fingerprint != fingerprint_of(key):
        refuse(kind, "id, fingerprint and key do not belong together")
    begins = _KEY_BEGINS.get(asset_class)
    if begins is None or not key.startswith(begins):
        refuse(kind, "its class is not one of its key", asset_class=asset_class)
    if asset_class == _SYNTHETIC:
        _check_formula(state, kind, entity, held, body)
    if kind == _REGISTERED:
        check_new(state, kind, space, entity, held, fingerprint, counter, revision)
        return tuple.__new__(Entity, (fingerprint, -1, revision, status, counter))
    held = check_next(kind, held, fingerprint, counter, revision)
    if kind == Kind.INSTRUMENT_STATUS:
        if status not in NEXT[Status(held.status)]:
            refuse(kind, f"{Status(held.status).name} cannot become {Status(status).name}")
    elif status != held.status:
        refuse(kind, "an amendment does not change the status")
    return held._replace(revision=revision, status=status)


def _check_formula(
    state: Before, kind: int, entity: int, held: Entity | None, body: InstrumentBody
) -> None:
    if broken := synthetics.flaw(body):
        refuse(kind, broken)
    # What it uses already is registered, and no way back. So a rebalance of the same components
    # and a change of its status walk nowhere, however much there is below it by now.
    known = frozenset(state.components(entity))
    used = [id for id in components_of(synthetics.formula_of(body)) if id not in known]
    doing = f"checking {KIND_NAMES[kind]}"
    for component in used:
        if component != entity and state.entity(Space.INSTRUMENT, component) is None:
            raise UnknownComponent(doing, component=f"0x{component:016x}")
    path = synthetics.way_back(state, entity, used, is_new=held is None)
    if path is None:
        refuse(kind, f"what it begins to use leads to over {synthetics.USES_MAX} components")
    if path:
        raise FormulaCycle(doing, path=synthetics.path_text(path))


def _listing(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: ListingBody
) -> Entity:
    owner = state.entity(Space.INSTRUMENT, body.instrument)
    if owner is None or owner.fingerprint != body.instrument_fingerprint:
        refuse(kind, "its instrument is not registered", instrument=f"0x{body.instrument:016x}")
    key = listing_key(
        body.instrument_fingerprint, venue_fingerprint(body.venue), body.currency, body.line
    )
    if space != Space.LISTING or fingerprint_of(key) != body.fingerprint:
        refuse(kind, "fingerprint and key do not belong together")
    if body.status not in STATUS_NAMES:
        refuse(kind, "its status is unknown", status=body.status)
    if broken := periods.flaw(body):
        refuse(kind, broken)
    if body.symbol_from and not body.symbol:
        refuse(kind, "it says since when it has a symbol, and none")
    if kind == Kind.LISTING_ADDED:
        check_new(
            state, kind, space, entity, held, body.fingerprint, body.counter, body.revision
        )
        return Entity(body.fingerprint, -1, body.revision, body.status, body.counter)
    held = check_next(kind, held, body.fingerprint, body.counter, body.revision)
    if kind == Kind.LISTING_ENDED and not (body.valid_to or body.earlier):
        refuse(kind, "it says no end")
    return held._replace(revision=body.revision, status=body.status)


def _relation(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: RelationBody
) -> Entity:
    if body.relation not in RELATION_NAMES:
        refuse(kind, "its relation is unknown", relation=body.relation)
    if body.missing_key:
        _check_missing(state, kind, held, body)
    if body.instrument or not body.missing_key:
        owner = state.entity(Space.INSTRUMENT, body.instrument)
        if owner is None or owner.fingerprint != body.instrument_fingerprint:
            refuse(
                kind, "its instrument is not registered", instrument=f"0x{body.instrument:016x}"
            )
    if body.relation == RelationKind.GROUPED:
        key = group_relation_key(body.instrument_fingerprint, body.group_source, body.group)
    else:
        if body.other or not body.missing_key:
            other = state.entity(Space.INSTRUMENT, body.other)
            if other is None or other.fingerprint != body.other_fingerprint:
                refuse(kind, "its far end is not registered", other=f"0x{body.other:016x}")
        key = relation_key(
            RelationKind(body.relation), body.instrument_fingerprint, body.other_fingerprint
        )
    if space != Space.RELATION or fingerprint_of(key) != body.fingerprint:
        refuse(kind, "fingerprint and key do not belong together")
    if broken := flaw(body):
        refuse(kind, broken)
    _check_way_back(state, kind, body)
    if kind == Kind.RELATION_ADDED:
        check_new(
            state, kind, space, entity, held, body.fingerprint, body.counter, body.revision
        )
        return Entity(body.fingerprint, -1, body.revision, relation_status(body), body.counter)
    held = check_next(kind, held, body.fingerprint, body.counter, body.revision)
    if kind == Kind.RELATION_ENDED and not (body.valid_to or body.earlier):
        refuse(kind, "it says no end")
    return held._replace(revision=body.revision, status=relation_status(body))


def relation_status(body: RelationBody) -> Status:
    """Pending while it waits for an end; its dates say the rest."""
    return Status.PENDING if body.missing_key else Status.ACTIVE


def _check_missing(state: Before, kind: int, held: Entity | None, body: RelationBody) -> None:
    """A relation may be known before one of its ends is."""
    if body.relation == RelationKind.GROUPED or bool(body.instrument) == bool(body.other):
        refuse(kind, "only one end of a link can be missing")
    if fingerprint_of(body.missing_key) != body.missing:
        refuse(kind, "the missing end's key and fingerprint do not belong together")
    if held is not None:
        if held.status != Status.PENDING:
            refuse(kind, "an end that was there is missing")
    elif _registered(state, Space.INSTRUMENT, body.missing):
        refuse(kind, "the end that it waits for is registered")


def _registered(state: Before, space: int, fingerprint: bytes) -> bool:
    for _, id in id_candidates(fingerprint, state.id_bits):
        found = state.entity(space, id)
        if found is None or found.fingerprint == fingerprint:
            return found is not None
    return False


def _check_way_back(state: Before, kind: int, body: RelationBody) -> None:
    if body.relation == RelationKind.GROUPED or body.missing_key:
        return
    path = way_back(state, body)
    if path is None:
        refuse(kind, f"its far end leads to over {REACH_MAX} instruments", other=body.other)
    if path:
        circle = (f"0x{id:016x}" for id in (body.instrument, *path, body.instrument))
        raise RelationCycle(
            f"checking {KIND_NAMES[kind]}", path=f" {RELATION_NAMES[body.relation]} ".join(circle)
        )


def _feed(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: FeedBody
) -> Entity:
    if space != Space.FEED or fingerprint_of(feed_key(body.source)) != body.fingerprint:
        refuse(kind, "fingerprint and source do not belong together")
    if len(body.content_hash) != CONTENT_HASH_SIZE_BYTES:
        refuse(kind, "its content hash has not 32 bytes", size_bytes=len(body.content_hash))
    counts = (body.new, body.unchanged, body.amended, body.quarantined)
    if min(*counts, body.collisions, body.conflicts) < 0 or sum(counts) != body.rows:
        refuse(kind, "its rows are not as many as what became of them", rows=body.rows)
    if (before := state.imported(body.content_hash)) is not None:
        refuse(kind, "a file with this content was imported already", before=before)
    return _of_feeds(state, kind, space, entity, held, body)


def _of_feeds(
    state: Before, kind: int, space: int, entity: int, held: Entity | None,
    body: FeedBody | SnapshotBody | RulesBody,
) -> Entity:  # fmt: skip
    if held is None:
        check_new(
            state, kind, space, entity, held, body.fingerprint, body.counter, body.revision
        )
        return Entity(body.fingerprint, -1, 1, Status.ACTIVE, body.counter)
    held = check_next(kind, held, body.fingerprint, body.counter, body.revision)
    return held._replace(revision=body.revision)


def _candidate(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: CandidateBody
) -> Entity:
    sides = body.instrument_fingerprint, body.other_fingerprint
    for id, fingerprint in zip((body.instrument, body.other), sides, strict=True):
        side = state.entity(Space.INSTRUMENT, id)
        if side is None or side.fingerprint != fingerprint:
            refuse(kind, "one of its instruments is not registered", id=f"0x{id:016x}")
    if sides[0] >= sides[1]:
        refuse(kind, "its sides are not in the order of their fingerprints")
    if space != Space.CANDIDATE or fingerprint_of(candidate_key(*sides)) != body.fingerprint:
        refuse(kind, "fingerprint and key do not belong together")
    if body.state != CANDIDATE_STATES.get(kind):
        refuse(kind, "its state is not that of its kind", state=body.state)
    if not body.agree:
        refuse(kind, "it names no evidence")
    if kind == Kind.CANDIDATE_CONFIRMED:
        _check_confirmed(state, kind, body)
    elif body.relation or body.backwards:
        refuse(kind, "it names a relation and is not confirmed")
    if kind == Kind.CANDIDATE_REFUSED and not body.reason:
        refuse(kind, "it says no reason")
    known = state.evidence(entity)
    if known is not None and (kind == Kind.CANDIDATE_PROPOSED) == (known == evidence_hash(body)):
        refuse(kind, "evidence is what a proposal changes and a decision leaves as it is")
    if held is None and kind == Kind.CANDIDATE_PROPOSED:
        check_new(
            state, kind, space, entity, held, body.fingerprint, body.counter, body.revision
        )
        return Entity(body.fingerprint, -1, body.revision, body.state, body.counter)
    held = check_next(kind, held, body.fingerprint, body.counter, body.revision)
    before, after = CandidateState(held.status), CandidateState(body.state)
    if after not in NEXT_CANDIDATE[before]:
        refuse(kind, f"what is {before.name.lower()} is not {after.name.lower()} again")
    return held._replace(revision=body.revision, status=body.state)


def _check_confirmed(state: Before, kind: int, body: CandidateBody) -> None:
    """Its relation stands in the log before it."""
    if body.relation not in RULES:
        refuse(kind, "its relation is unknown", relation=body.relation)
    ends = body.instrument_fingerprint, body.other_fingerprint
    fingerprint = fingerprint_of(
        relation_key(RelationKind(body.relation), *(ends[::-1] if body.backwards else ends))
    )
    if not _registered(state, Space.RELATION, fingerprint):
        refuse(
            kind, "they are not related as it says", relation=RELATION_NAMES[body.relation]
        )


def _snapshot(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: SnapshotBody
) -> Entity:
    if space != Space.FEED or fingerprint_of(snapshots_key(body.source)) != body.fingerprint:
        refuse(kind, "fingerprint and source do not belong together")
    if len(body.content_hash) != CONTENT_HASH_SIZE_BYTES:
        refuse(kind, "its content hash has not 32 bytes", size_bytes=len(body.content_hash))
    if broken := snapshots.flaw(body, state.members(body.source)):
        refuse(kind, broken)
    return _of_feeds(state, kind, space, entity, held, body)


def _rules(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: RulesBody
) -> Entity:
    if space != Space.FEED or fingerprint_of(rules_key()) != body.fingerprint:
        refuse(kind, "fingerprint and key do not belong together")
    if len(set(body.precedence)) != len(body.precedence):
        refuse(kind, "a source stands twice in its precedence")
    if not set(body.seen.values()) <= set(POLICIES):
        refuse(kind, "it has an unknown policy")
    return _of_feeds(state, kind, space, entity, held, body)


def _proposal(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: ProposalBody
) -> Entity:
    if space != Space.PROPOSAL:
        refuse(kind, "it is in another space")
    if not body.key.startswith(_KEY_BEGINS[body.asset_class]):
        refuse(kind, "its class is not one of its key", asset_class=body.asset_class)
    answered = held.status if held else 0
    if broken := proposal_rules.flaw(state, kind, entity, answered, body):
        refuse(kind, broken)
    if held is None:
        check_new(
            state, kind, space, entity, held, body.fingerprint, body.counter, body.revision
        )
        return Entity(body.fingerprint, -1, 1, body.answered, body.counter)
    held = check_next(kind, held, body.fingerprint, body.counter, body.revision)
    return held._replace(revision=body.revision, status=body.answered)


def check_new(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, fingerprint: bytes,
    counter: int, revision: int,
) -> None:  # fmt: skip
    """The id must be the first free one of its fingerprint's candidates."""
    if held is not None:
        refuse(kind, "its id is taken", id=f"0x{entity:016x}")
    if revision != 1:
        refuse(kind, "its first revision is not 1", revision=revision)
    if counter == 0 and entity == primary_id(fingerprint, state.id_bits):
        return
    for number, candidate in id_candidates(fingerprint, state.id_bits):
        if candidate == entity:
            if number != counter:
                refuse(kind, "its counter is not that of its id", counter=counter)
            return
        holder = state.entity(space, candidate)
        if holder is None:
            refuse(kind, "an earlier id of its key is free", free=f"0x{candidate:016x}")
        if holder.fingerprint == fingerprint:
            refuse(kind, "its key is registered already", id=f"0x{candidate:016x}")
    refuse(kind, "its id does not derive from its key", id=f"0x{entity:016x}")


def check_next(
    kind: int, held: Entity | None, fingerprint: bytes, counter: int, revision: int
) -> Entity:
    if held is None or held.fingerprint != fingerprint or held.counter != counter:
        refuse(kind, "it is about something that was not registered")
    if revision != held.revision + 1:
        refuse(kind, f"revision {revision} does not follow {held.revision}")
    return held


def _collision(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: CollisionBody
) -> Entity:
    holder = state.entity(space, body.holder)
    fingerprint = fingerprint_of(body.key)
    if held is None or held.fingerprint != body.fingerprint or body.assigned != entity:
        refuse(kind, "the newcomer is not registered before it")
    if not state.awaits_collision(space, entity):
        refuse(kind, "it was told already, or is not told with the registration")
    if fingerprint != body.fingerprint or body.counter != held.counter or not body.counter:
        refuse(kind, "key, fingerprint and counter do not belong together")
    if body.holder != body.wanted or body.wanted == entity:
        refuse(kind, "nobody else holds the wanted id")
    if holder is None or holder.fingerprint != body.holder_fingerprint:
        refuse(kind, "the holder is another")
    if fingerprint_of(body.holder_key) != body.holder_fingerprint:
        refuse(kind, "the holder's key and fingerprint do not belong together")
    if primary_id(body.fingerprint, state.id_bits) not in (body.wanted, 0):
        refuse(kind, "the wanted id does not derive from the key")
    return held


def _conflict(
    state: Before, kind: int, held: Entity | None, body: ConflictBody
) -> Entity:
    if held is None:
        refuse(kind, "it is about something that was not registered")
    if body.held == body.offered:
        refuse(kind, "both sides say the same")
    sources = state.rules().precedence
    if body.field != "status" and precedence.outranks(
        sources, body.offered_source, body.held_source
    ):
        refuse(
            kind, "the held word is of a source that comes after the other one",
            held_source=body.held_source, offered_source=body.offered_source,
        )  # fmt: skip
    return held


def _answer(kind: int, held: Entity | None, body: AnswerBody) -> Entity:
    if held is None:
        refuse(kind, "it is about something that was not registered")
    for offset in (body.answer, *body.conflicts):
        if not 0 <= offset <= held.last_offset:
            refuse(kind, "it names an event that is not before it", offset=offset)
    return held


def _acknowledged(
    state: Before, kind: int, space: int, entity: int, held: Entity | None, body: AcknowledgedBody
) -> Entity:
    found = state.alert(body.alert)
    if held is None or found is None or found[:2] != (space, entity):
        refuse(kind, "there is no such alert of this entity", alert=body.alert)
    if not found[2]:
        refuse(kind, "the alert is acknowledged already", alert=body.alert)
    return held
