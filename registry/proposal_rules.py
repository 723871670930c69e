"""What a proposal may become, and when: the rules that commands and `check` read alike.

A proposal asks a person for one thing: to *register* an instrument that a source saw (one proposal
for each instrument, whoever saw it), or to *delist* one that the complete snapshots of a source
name no longer (one for each source and instrument). It is about a key, so what was refused stays
refused for as long as the key is the same. A delisting may be proposed again once the source named
the instrument in between: it is then missing since another snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from alphapulse.log import ANSWERED_NAMES, Answered, Kind, ProposalBody, Proposed, Status

from .identity import fingerprint_of, proposal_key
from .snapshots import Snapshots

AUTO: Final = "auto"
PROPOSE: Final = "propose"
POLICIES: Final = (PROPOSE, AUTO)
"""What becomes of an instrument that is seen and not known."""

_NOT_YET: Final = 0
_REGISTER: Final[Mapping[int, frozenset[Kind]]] = {
    _NOT_YET: frozenset({Kind.INSTRUMENT_SEEN}),
    Answered.OPEN: frozenset({Kind.PROPOSAL_CONFIRMED, Kind.PROPOSAL_REFUSED}),
    Answered.CONFIRMED: frozenset(),
    Answered.REFUSED: frozenset({Kind.PROPOSAL_CONFIRMED}),
    Answered.WITHDRAWN: frozenset(),
}
_DELIST: Final[Mapping[int, frozenset[Kind]]] = {
    _NOT_YET: frozenset({Kind.INSTRUMENT_MISSING}),
    Answered.OPEN: frozenset(
        {Kind.PROPOSAL_CONFIRMED, Kind.PROPOSAL_REFUSED, Kind.PROPOSAL_WITHDRAWN}
    ),
    Answered.CONFIRMED: frozenset({Kind.INSTRUMENT_MISSING}),
    Answered.REFUSED: frozenset({Kind.PROPOSAL_CONFIRMED, Kind.INSTRUMENT_MISSING}),
    Answered.WITHDRAWN: frozenset({Kind.INSTRUMENT_MISSING}),
}
NEXT_KINDS: Final = {Proposed.REGISTER: _REGISTER, Proposed.DELIST: _DELIST}
"""By what is proposed and how it was answered, the events that may follow."""
for _table in NEXT_KINDS.values():
    if _table.keys() != {_NOT_YET, *Answered}:
        raise ImportError("the table of answers is not total")
_LEADS_TO: Final[Mapping[int, Answered]] = {
    Kind.INSTRUMENT_MISSING: Answered.OPEN, Kind.PROPOSAL_CONFIRMED: Answered.CONFIRMED,
    Kind.PROPOSAL_REFUSED: Answered.REFUSED, Kind.PROPOSAL_WITHDRAWN: Answered.WITHDRAWN,
}  # fmt: skip
CAN_BE_DELISTED: Final = frozenset({Status.PENDING, Status.ACTIVE, Status.HALTED})


class Proposals(Snapshots, Protocol):
    def proposed_since(self, proposal: int) -> int:
        """`since` of the newest state of a proposal; 0 when there is none."""

    def status_of(self, instrument: int) -> tuple[bytes, int] | None:
        """(fingerprint, status) of an instrument; None when it is not registered."""


def flaw(
    state: Proposals, kind: int, proposal: int, answered: int, body: ProposalBody
) -> str:
    """Which rule an event of a proposal breaks; empty when it breaks none. answered: before it, 0
    when there was no proposal."""
    if body.proposed not in NEXT_KINDS:
        return "what it proposes is unknown"
    proposed = Proposed(body.proposed)
    if fingerprint_of(body.key) != body.instrument_fingerprint:
        return "the instrument's key and fingerprint do not belong together"
    key = proposal_key(proposed, body.instrument_fingerprint, body.source)
    if fingerprint_of(key) != body.fingerprint:
        return "fingerprint and key do not belong together"
    if kind not in NEXT_KINDS[proposed][answered]:
        return f"it cannot follow: the proposal is {ANSWERED_NAMES.get(answered, 'not there')}"
    at_once = Answered.CONFIRMED if body.policy == AUTO else Answered.OPEN
    if body.answered != _LEADS_TO.get(kind, at_once):
        return "its kind says another answer"
    if proposed == Proposed.DELIST:
        return _flaw_of_delisting(state, kind, proposal, body)
    return _flaw_of_registering(state, body)


def _flaw_of_registering(state: Proposals, body: ProposalBody) -> str:
    if body.answered != Answered.CONFIRMED:
        return "it is not registered yet" if body.instrument else ""
    found = state.status_of(body.instrument)
    if found is None or found[0] != body.instrument_fingerprint:
        return "the instrument was not registered"
    return ""


def _flaw_of_delisting(
    state: Proposals, kind: int, proposal: int, body: ProposalBody
) -> str:
    found = state.status_of(body.instrument)
    if found is None or found[0] != body.instrument_fingerprint:
        return "the instrument is not registered"
    status = Status(found[1])
    if kind == Kind.PROPOSAL_CONFIRMED:
        return "" if status == Status.DELISTED else "the instrument is not delisted"
    members = state.members(body.source)
    if kind == Kind.PROPOSAL_WITHDRAWN:
        was_named = members.since(body.instrument) != body.since
        is_over = was_named or status not in CAN_BE_DELISTED
        return "" if is_over else "its source has not named the instrument since"
    if kind != Kind.INSTRUMENT_MISSING:
        return ""
    if status not in CAN_BE_DELISTED:
        return f"the instrument is {status.name.lower()}"
    if not body.since or members.since(body.instrument) != body.since:
        return "the snapshots do not say that it is missing since then"
    if not 1 <= body.missing_after <= body.missed == members.missed(body.instrument):
        return "it was not missing for long enough"
    if body.since <= state.proposed_since(proposal):
        return "it was proposed already"
    return ""
