"""Commands about proposals: an instrument was seen, or is missing, and what a person says to it.

See `proposal_rules` for what may follow what. Nothing is registered or delisted without a person,
but for what is seen by a source whose policy is `auto`.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from alphapulse.log import (
    Answered,
    AssetClass,
    InstrumentRecord,
    InvalidInput,
    Kind,
    ProposalBody,
    Proposed,
    Space,
    Status,
)

from . import validation
from .commands import REASON_SIZE_BYTES_MAX, Register, SetStatus
from .deciding import (
    DOING,
    Receipt,
    allocate,
    announce_collision,
    held_instrument,
    instrument_body,
    key_of,
)
from .errors import UnknownProposal
from .facts import Facts
from .held import Held, Origin
from .identity import fingerprint_of, proposal_key
from .instruments import AnyInstrument
from .proposal_rules import AUTO, CAN_BE_DELISTED, PROPOSE
from .proposals import answer, find_proposal, proposal_body
from .state import State


class Seen(NamedTuple):
    """A source saw an instrument. What is known says nothing new; what is not is registered at
    once or proposed to a person, once for its key."""

    register: Register
    policy: str = ""
    """propose or auto; empty = what the rules say of the source, else propose."""

    @classmethod
    def of(cls, instrument: AnyInstrument, policy: str = "") -> Seen:
        """policy: checked already. Raises InvalidInput."""
        return cls(Register.of(instrument), policy)

    def decide(self, state: State, origin: Origin) -> Receipt:
        register = self.register
        known = state.find(Space.INSTRUMENT, register.fingerprint)
        if known is not None:
            return Receipt(known.id, register.fingerprint, known.data_offset, "unchanged")
        held = find_proposal(state, Proposed.REGISTER, register.fingerprint)
        policy = self.policy or state.rules().seen.get(origin.source, PROPOSE)
        if held is not None:
            if policy == AUTO and proposal_body(held).answered == Answered.OPEN:
                return register.first(state, origin)
            return Receipt(held.id, held.entity.fingerprint, held.data_offset, "unchanged")
        at_once = register.first(state, origin) if policy == AUTO else None
        proposed = self._propose(state, origin, at_once)
        return at_once or proposed

    def _propose(self, state: State, origin: Origin, at_once: Receipt | None) -> Receipt:
        facts, register = self.register.facts, self.register
        said = ProposalBody(
            fingerprint=b"", proposed=Proposed.REGISTER, key=facts.key,
            instrument_fingerprint=register.fingerprint, asset_class=facts.asset_class,
            source=origin.source, facts=facts.values, status=register.status or 0,
            valid_from=register.valid_from,
        )  # fmt: skip
        if at_once is not None:
            said = replace(said, policy=AUTO, answered=Answered.CONFIRMED, instrument=at_once.id)
        return _begin(state, origin, Kind.INSTRUMENT_SEEN, said, "proposed")


class ProposeDelisting(NamedTuple):
    """Proposes to delist what so many complete snapshots of a source did not name; where that is
    not so, or it was proposed before, nothing."""

    source: str
    instrument: int
    missing_after: int
    at: int
    """ns: of the snapshot. What had expired by then is gone rightly."""

    def decide(self, state: State, origin: Origin) -> Receipt:
        members, held = state.members(self.source), held_instrument(state, self.instrument)
        body, fingerprint = instrument_body(held), held.entity.fingerprint
        since, missed = members.since(self.instrument), members.missed(self.instrument)
        before = find_proposal(state, Proposed.DELIST, fingerprint, self.source)
        status = InstrumentRecord(body.message).status_at(self.at)
        known = None if before is None else proposal_body(before)
        was_proposed = known is not None and (
            known.since >= since or known.answered == Answered.OPEN
        )
        if missed < self.missing_after or status not in CAN_BE_DELISTED or was_proposed:
            return Receipt(held.id, fingerprint, held.data_offset, "unchanged")
        said = ProposalBody(
            fingerprint=b"", proposed=Proposed.DELIST, key=key_of(body),
            instrument_fingerprint=fingerprint, asset_class=body.message[2], source=self.source,
            instrument=held.id, since=since, missed=missed, missing_after=self.missing_after,
        )  # fmt: skip
        if before is None or known is None:
            return _begin(state, origin, Kind.INSTRUMENT_MISSING, said, "new")
        said = replace(
            said, fingerprint=known.fingerprint, counter=known.counter,
            revision=known.revision + 1,
        )  # fmt: skip
        offset = state.emit(
            Kind.INSTRUMENT_MISSING, Space.PROPOSAL, before.id, said, metadata=origin.metadata()
        )
        return Receipt(before.id, known.fingerprint, offset, "amended")


class WithdrawDelisting(NamedTuple):
    """Ends a proposal to delist, if it is open and its source has named the instrument since."""

    id: int

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = _proposal(state, self.id)
        body = proposal_body(held)
        since = state.members(body.source).since(body.instrument)
        if body.answered != Answered.OPEN or since == body.since:
            return Receipt(held.id, body.fingerprint, held.data_offset, "unchanged")
        offset = answer(
            state, held, Kind.PROPOSAL_WITHDRAWN, Answered.WITHDRAWN, origin.metadata()
        )
        return Receipt(held.id, body.fingerprint, offset, "amended")


class ConfirmProposal(NamedTuple):
    """A person agrees: what was seen is registered as its source's word, what is missing is
    delisted. The receipt is about the instrument."""

    id: int

    @classmethod
    def make(cls, proposal: int) -> ConfirmProposal:
        """Raises InvalidInput."""
        return cls(validation.id64(proposal))

    def decide(self, state: State, origin: Origin) -> Receipt:
        body = proposal_body(_proposal(state, self.id))
        if body.answered == Answered.WITHDRAWN:
            raise InvalidInput(
                DOING, problem="the proposal was withdrawn: its source names the instrument again",
                cure="`alphapulse delist KEY` delists it all the same", id=f"0x{self.id:016x}",
            )  # fmt: skip
        if body.answered == Answered.CONFIRMED:
            held = held_instrument(state, body.instrument)
            return Receipt(held.id, held.entity.fingerprint, held.data_offset, "unchanged")
        if body.proposed == Proposed.DELIST:
            return SetStatus(body.instrument, Status.DELISTED).decide(state, origin)
        facts = Facts(body.key, AssetClass(body.asset_class), dict(body.facts))
        status = Status(body.status) if body.status else None
        register = Register(facts, body.instrument_fingerprint, status, body.valid_from)
        return register.first(state, origin._replace(source=body.source), confirmed_by=origin)


class RefuseProposal(NamedTuple):
    """A person says no: it is not proposed again, while its key or its absence is the same."""

    id: int
    reason: str = ""

    @classmethod
    def make(cls, proposal: int, reason: str = "") -> RefuseProposal:
        """Raises InvalidInput."""
        said = validation.text(reason, "reason", REASON_SIZE_BYTES_MAX)
        return cls(validation.id64(proposal), said)

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = _proposal(state, self.id)
        body = proposal_body(held)
        if body.answered == Answered.REFUSED:
            return Receipt(held.id, body.fingerprint, held.data_offset, "unchanged")
        if body.answered != Answered.OPEN:
            raise InvalidInput(
                DOING, problem=f"the proposal was {Answered(body.answered).name.lower()}",
                cure="`alphapulse proposals` shows the open ones", id=f"0x{self.id:016x}",
            )  # fmt: skip
        offset = answer(
            state, held, Kind.PROPOSAL_REFUSED, Answered.REFUSED, origin.metadata(),
            reason=self.reason,
        )  # fmt: skip
        return Receipt(held.id, body.fingerprint, offset, "amended")


def _proposal(state: State, id: int) -> Held:
    held = state.held(Space.PROPOSAL, id)
    if held is None:
        raise UnknownProposal(DOING, id=f"0x{id:016x}")
    return held


def _begin(
    state: State, origin: Origin, kind: Kind, said: ProposalBody, outcome: str
) -> Receipt:
    """The first event of a proposal. said: without what allocating its id gives."""
    key = proposal_key(Proposed(said.proposed), said.instrument_fingerprint, said.source)
    fingerprint, metadata = fingerprint_of(key), origin.metadata()
    counter, id, holder = allocate(state, Space.PROPOSAL, fingerprint)
    body = replace(said, fingerprint=fingerprint, counter=counter)
    offset = state.emit(kind, Space.PROPOSAL, id, body, metadata=metadata)
    announce_collision(
        state, Space.PROPOSAL, said.asset_class, id, key, counter, holder, metadata
    )
    return Receipt(id, fingerprint, offset, outcome)
