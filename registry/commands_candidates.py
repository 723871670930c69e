"""Commands about instruments that look alike: propose, confirm, refuse. See `candidates`.

What is proposed is worked out again inside the session, from what is known of both there: nobody
can propose what is not so, and evidence is never stale. To confirm, a unit first relates the two
and then says so, all or nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from alphapulse.log import (
    CandidateBody,
    CandidateState,
    InvalidInput,
    Kind,
    RelationBody,
    RelationKind,
    Space,
    format_time,
)

from .candidates import Evidence, Side, evidence_in, evidence_of, is_same, side_of
from .deciding import (
    DOING,
    Receipt,
    allocate,
    announce_collision,
    found_instrument,
    instrument_body,
)
from .errors import NotAlike, UnknownCandidate, UnknownRelation
from .held import Held, Origin
from .identity import candidate_key, fingerprint_of, relation_key
from .relation_rules import RULES, link_named
from .state import State
from .validation import refuse


class Propose(NamedTuple):
    """Says that two instruments look alike, for a person to decide. Nothing is said twice: what is
    open, confirmed, or refused on this very evidence stays as it is."""

    a: bytes
    b: bytes
    """Fingerprints of the two, in whatever order."""

    def decide(self, state: State, origin: Origin) -> Receipt:
        one, other = (found_instrument(state, each) for each in sorted((self.a, self.b)))
        a, b = side_of(instrument_body(one)), side_of(instrument_body(other))
        evidence = evidence_of(a, b) if a and b else None
        if a is None or b is None or evidence is None:
            raise NotAlike(DOING, a=f"0x{one.id:016x}", b=f"0x{other.id:016x}")
        key = candidate_key(self.a, self.b)
        fingerprint = fingerprint_of(key)
        held = state.find(Space.CANDIDATE, fingerprint)
        if held is None:
            return _first(state, origin, key, (a, b), evidence)
        known = _candidate_body(held)
        is_decided = known.state == CandidateState.CONFIRMED
        if is_decided or is_same(evidence_in(known), evidence):
            return Receipt(held.id, fingerprint, held.data_offset, "unchanged")
        body = replace(
            known, revision=known.revision + 1, state=CandidateState.PROPOSED, reason="",
            **evidence._asdict(),
        )  # fmt: skip
        return _say(state, origin, Kind.CANDIDATE_PROPOSED, held, body)


def _first(
    state: State, origin: Origin, key: bytes, sides: tuple[Side, Side], evidence: Evidence
) -> Receipt:
    fingerprint, metadata, (a, b) = fingerprint_of(key), origin.metadata(), sides
    counter, id, holder = allocate(state, Space.CANDIDATE, fingerprint)
    body = CandidateBody(
        fingerprint=fingerprint, asset_class=a.asset_class, instrument=a.id,
        instrument_fingerprint=a.fingerprint, other=b.id, other_fingerprint=b.fingerprint,
        counter=counter, **evidence._asdict(),
    )  # fmt: skip
    offset = state.emit(Kind.CANDIDATE_PROPOSED, Space.CANDIDATE, id, body, metadata=metadata)
    announce_collision(
        state, Space.CANDIDATE, a.asset_class, id, key, counter, holder, metadata
    )
    return Receipt(id, fingerprint, offset, "collision" if holder else "new")


class Confirm(NamedTuple):
    """Says that a candidate was right, and how the two are related; a `Relate` comes before it."""

    id: int
    relation: RelationKind
    backwards: bool = False
    """The relation leads from the second to the first."""
    reason: str = ""

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = _held(state, self.id)
        known = _candidate_body(held)
        said = self.relation, self.backwards
        if known.state == CandidateState.CONFIRMED:
            if (known.relation, known.backwards) == said:
                return Receipt(self.id, held.entity.fingerprint, held.data_offset, "unchanged")
            raise InvalidInput(
                DOING, problem="the candidate is confirmed already, by another relation",
                relation=RelationKind(known.relation).name.lower(), id=f"0x{self.id:016x}",
                cure="`relate` and `unrelate` say more, or something else, of the two",
            )  # fmt: skip
        self._look_at_relation(state, known)
        body = replace(
            known, revision=known.revision + 1, state=CandidateState.CONFIRMED,
            relation=self.relation, backwards=self.backwards, reason=self.reason,
        )  # fmt: skip
        return _say(state, origin, Kind.CANDIDATE_CONFIRMED, held, body)

    def _look_at_relation(self, state: State, known: CandidateBody) -> None:
        ends = known.instrument_fingerprint, known.other_fingerprint
        key = relation_key(self.relation, *(ends[::-1] if self.backwards else ends))
        held = state.find(Space.RELATION, fingerprint_of(key))
        if held is None:
            raise UnknownRelation(
                DOING, candidate=f"0x{self.id:016x}", relation=self.relation.name.lower(),
                cure="relate them first",
            )  # fmt: skip
        assert isinstance(held.body, RelationBody)
        if held.body.valid_to:
            raise InvalidInput(
                DOING, problem="this relation is known, with an end",
                valid_to=format_time(held.body.valid_to), candidate=f"0x{self.id:016x}",
                cure="say since when it holds again: --valid-from, that time or later",
            )  # fmt: skip


class Refuse(NamedTuple):
    """Says that a candidate is none. It is not proposed again until its evidence is another."""

    id: int
    reason: str

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = _held(state, self.id)
        known = _candidate_body(held)
        if known.state == CandidateState.REFUSED:
            return Receipt(self.id, held.entity.fingerprint, held.data_offset, "unchanged")
        if known.state == CandidateState.CONFIRMED:
            raise InvalidInput(
                DOING, problem="the candidate is confirmed", id=f"0x{self.id:016x}",
                relation=RelationKind(known.relation).name.lower(),
                cure="`alphapulse unrelate` ends its relation",
            )  # fmt: skip
        body = replace(
            known, revision=known.revision + 1, state=CandidateState.REFUSED, reason=self.reason
        )
        return _say(state, origin, Kind.CANDIDATE_REFUSED, held, body)


def direction(
    body: CandidateBody, relation: object, start: int | None
) -> tuple[RelationKind, bool]:
    """How the two are related, and whether backwards. start: who the relation starts from; not
    asked of `same_as`, which has no direction. Raises InvalidInput."""
    kind = link_named(relation)
    if start not in (None, body.instrument, body.other):
        refuse("start", "it is neither of the two", f"0x{start:016x}", "name one of them")
    if kind == RelationKind.SAME_AS:
        return kind, False
    if start is None:
        refuse(
            "start", f"{kind.name.lower()} has a direction ({RULES[kind].meaning})", "",
            "say by its id which of the two is A; at the shell --from a or --from b",
        )  # fmt: skip
    return kind, start == body.other


def _say(state: State, origin: Origin, kind: Kind, held: Held, body: CandidateBody) -> Receipt:
    offset = state.emit(kind, Space.CANDIDATE, held.id, body, metadata=origin.metadata())
    return Receipt(held.id, held.entity.fingerprint, offset, "amended")


def _held(state: State, id: int) -> Held:
    held = state.held(Space.CANDIDATE, id)
    if held is None:
        raise UnknownCandidate(DOING, id=f"0x{id:016x}")
    return held


def _candidate_body(held: Held) -> CandidateBody:
    assert isinstance(held.body, CandidateBody)
    return held.body
