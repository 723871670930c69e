"""What all commands share: receipts, finding a free id, collisions, conflicts.

A collision is announced by whoever gets the fallback id, in the same unit as its registration. A
conflict is raised once for each field, value and source, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from alphapulse.log import (
    ASPECTS,
    CandidateBody,
    CollisionBody,
    ConflictBody,
    EndorsedBody,
    FeedBody,
    InstrumentBody,
    InvalidInput,
    Kind,
    ListingBody,
    ProposalBody,
    Proposed,
    RelationBody,
    RelationKind,
    RulesBody,
    SnapshotBody,
    Space,
    VenueBody,
)

from .errors import IdSpaceFull, UnknownInstrument
from .held import DataBody, Held, Origin
from .identity import (
    candidate_key,
    feed_key,
    fingerprint_of,
    group_relation_key,
    id_candidates,
    listing_key,
    proposal_key,
    relation_key,
    rules_key,
    snapshots_key,
    venue_fingerprint,
    venue_key,
)
from .periods import flaw, flawed
from .precedence import outranks
from .state import State
from .venue_state import key_of_aspect

DOING: Final = "deciding a command"


class Receipt(NamedTuple):
    """What became of a command.

    outcome: new, unchanged, amended, or collision (new, under a fallback id); of a relation also
    waiting: kept, and known once the end that is not registered is. offset: of the event
    that was written or, for unchanged, of the one that already said so. conflicts: offsets of the
    open conflicts that its words are in, new or not. durable: False on a relaxed log or a memory
    disk.
    """

    id: int
    fingerprint: bytes
    offset: int
    outcome: str
    conflicts: tuple[int, ...] = ()
    met: int = 0
    """Of a registration: how many relations had waited for it, and are known now."""
    odd: tuple[str, ...] = ()
    """What is odd about what was said, and shows only beside what else is known; it holds."""
    durable: bool = False


def allocate(state: State, space: int, fingerprint: bytes) -> tuple[int, int, Held | None]:
    """(counter, id, first holder) for a fingerprint that is not registered in `space`."""
    if id := state.vacant(space, fingerprint):
        return 0, id, None
    holder = None
    for counter, id in id_candidates(fingerprint, state.id_bits):
        held = state.held(space, id)
        if held is None:
            return counter, id, holder
        holder = holder or held
    raise IdSpaceFull("finding a free id", id_bits=state.id_bits)


def announce_collision(
    state: State, space: int, asset_class: int, id: int, key: bytes, counter: int,
    holder: Held | None, metadata: bytes,
) -> None:  # fmt: skip
    """holder: who has the id that the key derives to; None = nobody, so there is none."""
    if holder is None:
        return
    state.emit(
        Kind.COLLISION_DETECTED, space, id,
        CollisionBody(
            asset_class=asset_class, wanted=holder.id, assigned=id, counter=counter,
            fingerprint=fingerprint_of(key), key=key, holder=holder.id,
            holder_fingerprint=holder.entity.fingerprint, holder_key=key_of(holder.body),
            instrument=owner_of(state, space, id),
        ),
        metadata=metadata,
    )  # fmt: skip


def owner_of(state: State, space: int, id: int) -> int:
    """The instrument that a listing or relation belongs to; 0 for an instrument itself and for a
    feed."""
    held = state.held(space, id)
    assert held is not None
    if isinstance(held.body, InstrumentBody):
        return 0
    if isinstance(held.body, RelationBody) and not held.body.instrument:
        return held.body.other
    return held.body.instrument


def key_of(body: DataBody) -> bytes:
    """The canonical key that a body's fingerprint was hashed from."""
    if isinstance(body, InstrumentBody):
        return body.extension.key
    if isinstance(body, FeedBody):
        return feed_key(body.source)
    if isinstance(body, CandidateBody):
        return candidate_key(body.instrument_fingerprint, body.other_fingerprint)
    if isinstance(body, SnapshotBody):
        return snapshots_key(body.source)
    if isinstance(body, RulesBody):
        return rules_key()
    if isinstance(body, ProposalBody):
        return proposal_key(Proposed(body.proposed), body.instrument_fingerprint, body.source)
    if isinstance(body, VenueBody):
        return venue_key(body.venue)
    if isinstance(body, ASPECTS):
        return key_of_aspect(body)
    if isinstance(body, ListingBody):
        return listing_key(
            body.instrument_fingerprint, venue_fingerprint(body.venue), body.currency, body.line
        )
    if body.relation == RelationKind.GROUPED:
        return group_relation_key(body.instrument_fingerprint, body.group_source, body.group)
    return relation_key(
        RelationKind(body.relation), body.instrument_fingerprint, body.other_fingerprint
    )


def may_correct(said_by: Origin, origin: Origin) -> bool:
    """A source may correct itself. A file that contradicts itself is no correction: it would amend
    to and fro with each import, and the same file again must add nothing."""
    return said_by.source == origin.source and (
        not origin.content_hash or said_by.content_hash != origin.content_hash
    )


class Word(Enum):
    """What becomes of a word that disagrees with the one that is held."""

    CORRECTS = auto()
    """Whoever said the other corrects it: it is held from now on."""
    OUTRANKS = auto()
    """It is held from now on, and the other one's disagreement is a conflict."""
    CONFLICTS = auto()
    """It changes nothing, and is a conflict."""


class Disagreement(NamedTuple):
    field: str
    held: str
    held_source: str
    offered: str
    offered_source: str

    def turned(self) -> Disagreement:
        """What is said of it where the offered word is held from now on. So it is the same
        conflict, whichever of the two came first."""
        return Disagreement(
            self.field, self.offered, self.offered_source, self.held, self.held_source
        )


def weigh(
    state: State, space: int, id: int, said_by: Origin, origin: Origin, said: Disagreement, *,
    correctable: bool = True,
) -> Word:  # fmt: skip
    """By who says so. correctable: whether a source may correct its own word of this field."""
    if correctable and may_correct(said_by, origin):
        return Word.CORRECTS
    if outranks(state.rules().precedence, origin.source, said_by.source):
        before = state.raised_before(space, id, _conflict(state, space, id, 0, said))
        if before is None or before[1] is None:  # else a person let the held value stand
            return Word.OUTRANKS
    return Word.CONFLICTS


def endorse(
    state: State, space: int, held: Held, asset_class: int,
    agreed: Iterable[tuple[str, Callable[[DataBody], object]]], origin: Origin,
) -> int | None:  # fmt: skip
    """Takes over the words that `origin` says too and comes first with; None when there are none.

    Without it the one who said them first could correct them against a source that comes before
    it, though not if that one had come first. agreed: fields, and how to read them from a body.
    """
    precedence = state.rules().precedence
    if origin.source not in precedence or not any(
        outranks(precedence, origin.source, source) for source in state.sources_of(held)
    ):
        return None
    fields = tuple(
        field for field, value_of in agreed
        if outranks(precedence, origin.source, state.said_by(held, field, value_of).source)
    )  # fmt: skip
    if not fields:
        return None
    owner = owner_of(state, space, held.id)
    body = EndorsedBody(fields=fields, asset_class=asset_class, instrument=owner)
    return state.emit(Kind.WORD_ENDORSED, space, held.id, body, metadata=origin.metadata())


def instrument_body(held: Held) -> InstrumentBody:
    assert isinstance(held.body, InstrumentBody)
    return held.body


def held_instrument(state: State, id: int) -> Held:
    held = state.held(Space.INSTRUMENT, id)
    if held is None:
        raise UnknownInstrument(DOING, id=f"0x{id:016x}")
    return held


def found_instrument(state: State, fingerprint: bytes) -> Held:
    """As `held_instrument`, whatever id it got."""
    held = state.find(Space.INSTRUMENT, fingerprint)
    if held is None:
        raise UnknownInstrument(DOING, fingerprint=fingerprint.hex())
    return held


def raise_conflicts(
    state: State, space: int, id: int, asset_class: int, conflicts: list[Disagreement],
    origin: Origin,
) -> tuple[int, ...]:  # fmt: skip
    """Offsets of the open conflicts that these words are in.

    One event for each disagreement that was not raised before. What a person has acknowledged
    stays settled.
    """
    raised = []
    for said in conflicts:
        body = _conflict(state, space, id, asset_class, said)
        before = state.raised_before(space, id, body)
        if before is None:
            raised.append(
                state.emit(Kind.CONFLICT_DETECTED, space, id, body, metadata=origin.metadata())
            )
        elif before[1] is None:
            raised.append(before[0])
    return tuple(raised)


def _conflict(
    state: State, space: int, id: int, asset_class: int, said: Disagreement
) -> ConflictBody:
    return ConflictBody(
        asset_class=asset_class, field=said.field, held=said.held, held_source=said.held_source,
        offered=said.offered, offered_source=said.offered_source,
        instrument=owner_of(state, space, id),
    )  # fmt: skip


def check_periods(body: ListingBody | RelationBody, what: str, cure: str) -> None:
    """Raises InvalidInput when its periods break a rule. cure: of those whose dates do."""
    if not (broken := flaw(body)):
        return
    problem = f"the {what} would be wrong: {broken}"
    if periods := flawed(body):
        raise InvalidInput(DOING, problem=problem, periods=periods, cure=cure)
    raise InvalidInput(
        DOING, problem=problem, cure="give dates of a period that is known; no other can be added"
    )
