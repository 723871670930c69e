"""Proposals in a state: which there are of an instrument, and how they come to an end.

What every command that registers or delists does besides: whoever says by other ways what was
proposed has answered the proposal.
"""

from __future__ import annotations

from msgspec.structs import replace

from alphapulse.log import Answered, Kind, ProposalBody, Proposed, Space, Status

from .held import Held
from .identity import fingerprint_of, proposal_key
from .proposal_rules import CAN_BE_DELISTED
from .state import State


def proposal_body(held: Held) -> ProposalBody:
    assert isinstance(held.body, ProposalBody)
    return held.body


def find_proposal(
    state: State, proposed: Proposed, instrument: bytes, source: str = ""
) -> Held | None:
    """instrument: its fingerprint. source: of a delisting."""
    if not state.has_proposals:
        return None
    return state.find(
        Space.PROPOSAL, fingerprint_of(proposal_key(proposed, instrument, source))
    )


def answer(
    state: State, held: Held, kind: Kind, answered: Answered, metadata: bytes, *,
    instrument: int = 0, reason: str = "",
) -> int:  # fmt: skip
    """Offset of the event that says so. instrument: the id that it got."""
    body = proposal_body(held)
    body = replace(
        body, answered=answered, instrument=instrument or body.instrument, reason=reason,
        revision=body.revision + 1,
    )  # fmt: skip
    return state.emit(kind, Space.PROPOSAL, held.id, body, metadata=metadata)


def registered(state: State, instrument: int, fingerprint: bytes, metadata: bytes) -> None:
    """Answers the proposal to register what was just registered."""
    held = find_proposal(state, Proposed.REGISTER, fingerprint)
    if held is not None and proposal_body(held).answered in (Answered.OPEN, Answered.REFUSED):
        answer(
            state, held, Kind.PROPOSAL_CONFIRMED, Answered.CONFIRMED, metadata,
            instrument=instrument,
        )  # fmt: skip


def left(state: State, instrument: int, status: Status, metadata: bytes) -> None:
    """Ends the proposals to delist what was just delisted, or is no longer there to delist."""
    if status in CAN_BE_DELISTED or not state.has_proposals:
        return
    for held in state.delistings_of(instrument):
        if status == Status.DELISTED:
            if proposal_body(held).answered in (Answered.OPEN, Answered.REFUSED):
                answer(state, held, Kind.PROPOSAL_CONFIRMED, Answered.CONFIRMED, metadata)
        elif proposal_body(held).answered == Answered.OPEN:
            answer(state, held, Kind.PROPOSAL_WITHDRAWN, Answered.WITHDRAWN, metadata)
