"""Commands: what callers ask for, and how each is decided against the state at the head.

`decide(state, origin)` either emits events into the state and returns a receipt, or raises and
has emitted nothing that counts (the unit is abandoned). It reads no clock and no file, so the same
state gives the same events. Two rules live here that cost people money elsewhere:

* *same key, same instrument*: a registration of something known adds nothing, fills in what was
  not known, or, when its source said the old value itself, amends it;
* *another source that disagrees changes nothing*: it raises a conflict, once for each field, value
  and source. Decimals conflict whoever says them. Where a precedence names both sources, the word
  of the one that comes first stands, and the conflict is raised all the same. An explicit `Amend`
  is a person's decision and always applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol

from alphapulse.log import (
    CLASSES_BY_NAME,
    AcknowledgedBody,
    CollisionBody,
    ConflictBody,
    InstrumentBody,
    InstrumentRecord,
    Kind,
    Space,
    Status,
)

from .check import NEXT
from .deciding import (
    DOING,
    Disagreement,
    Receipt,
    Word,
    allocate,
    announce_collision,
    endorse,
    held_instrument,
    instrument_body,
    raise_conflicts,
    weigh,
)
from .errors import IllegalTransition, UnknownAlert
from .facts import (
    Facts,
    Value,
    amendable_fields,
    amended,
    body_of,
    facts_from,
    merge,
    of_generation,
)
from .fields import fact
from .generations import check_not_over, meant
from .identity import fingerprint_of
from .instruments import AnyInstrument
from .proposals import left, registered
from .readers import facts_of, status_of, valid_from_of
from .retries import identified, keep_answer, replayed
from .state import DataBody, Held, Origin, State
from .terms import agree
from .validation import offset, text
from .waiting import met

REASON_SIZE_BYTES_MAX: Final = 512


class Command(Protocol):
    """A named tuple of all that is asked for."""

    def decide(self, state: State, origin: Origin) -> Receipt: ...


def decide(command: Command, state: State, origin: Origin, index: int = 0) -> Receipt:
    """The command's receipt; a request id that was used before gives what it led to then.

    index: its place in its unit. With a request id a command leaves an event even when it changes
    nothing.
    """
    if not origin.request_id:
        return command.decide(state, origin)
    origin = identified(command, origin, index)
    unit_start = state.head - len(state.drafts)
    first = state.request(origin.request_id)
    if first is not None and first < unit_start:
        return replayed(command, state, origin, first)
    before = state.head
    receipt = command.decide(state, origin)
    if state.head == before:
        keep_answer(state, origin, receipt)
    if first is None:
        state.remember_request(origin.request_id, unit_start)
    return receipt


class Register(NamedTuple):
    """Registers an instrument, or says again what is known of it. Validates before deciding."""

    facts: Facts
    fingerprint: bytes
    status: Status | None = None
    valid_from: int = 0
    newest: bool = False
    """Of a source that knows no generations: when there are several, it means the newest. Else what
    a venue says of an asset would go to the one that had its id. See `generations`."""

    @classmethod
    def of(cls, instrument: AnyInstrument, *, newest: bool = False) -> Register:
        """Raises InvalidInput, naming the field. Cost: 5 µs for a token."""
        facts = facts_of(instrument)
        return cls(
            facts, fingerprint_of(facts.key), status_of(instrument), valid_from_of(instrument),
            newest and "generation" in facts.values,
        )  # fmt: skip

    def meant(self, state: State) -> Register:
        """The same about the generation that it means. Raises GenerationOver."""
        if not self.newest:
            return self
        facts = meant(state, self.facts, self.status)
        return self._replace(facts=facts, fingerprint=fingerprint_of(facts.key))

    def unsaid(self, body: InstrumentBody) -> list[tuple[str, str]]:
        """Its words that this state does not say: (field, value)."""
        known, facts = facts_from(body), self.facts
        if self.newest:
            facts = of_generation(facts, int(known.values.get("generation", 0)))
        filled, disagreements = merge(known, facts)
        words = [(name, str(fact(name, said))) for name, (_, said) in disagreements.items()]
        if self.status is not None and self.status != body.message[3]:
            words.append(("status", self.status.name.lower()))
        return words + [(name, str(fact(name, said))) for name, said in filled.items()]

    def decide(self, state: State, origin: Origin) -> Receipt:
        register = self.meant(state)
        held = state.find(Space.INSTRUMENT, register.fingerprint)
        if held is None:
            return register.first(state, origin)
        check_not_over(state, held, register.facts, register.status)
        receipt = register._again(state, origin, held)
        if not origin.request_id:  # else a retry would take the relation for what was said
            receipt = receipt._replace(met=met(state, held.id, register.fingerprint, origin))
        return receipt

    def first(
        self, state: State, origin: Origin, confirmed_by: Origin | None = None
    ) -> Receipt:
        """Of what is not registered yet. confirmed_by: who confirmed the proposal to register it
        [who registers it]."""
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
        announce_collision(
            state, Space.INSTRUMENT, facts.asset_class, id, facts.key, counter, holder, metadata
        )
        registered(state, id, self.fingerprint, (confirmed_by or origin).metadata())
        outcome = "collision" if holder else "new"
        count = met(state, id, self.fingerprint, origin)
        return Receipt(id, self.fingerprint, offset, outcome, met=count)

    def _again(self, state: State, origin: Origin, held: Held) -> Receipt:
        known = facts_from(instrument_body(held))
        filled, disagreements = merge(known, self.facts)
        changes: dict[str, Value] = dict(filled)
        conflicts: list[Disagreement] = []
        for field, (value, offered) in disagreements.items():
            said_by = state.said_by(held, field, partial(_fact, field=field))
            said = Disagreement(
                field, str(fact(field, value)), said_by.source, str(fact(field, offered)),
                origin.source,
            )  # fmt: skip
            word = weigh(
                state, Space.INSTRUMENT, held.id, said_by, origin, said,
                correctable=field != "decimals",
            )  # fmt: skip
            if word != Word.CONFLICTS:
                changes[field] = offered
            if word != Word.CORRECTS:
                conflicts.append(said.turned() if word == Word.OUTRANKS else said)
        agreed = (
            (field, partial(_fact, field=field)) for field, value in self.facts.values.items()
            if known.values.get(field) == value
        )  # fmt: skip
        endorsed = endorse(state, Space.INSTRUMENT, held, known.asset_class, agreed, origin)
        offset, outcome = held.data_offset if endorsed is None else endorsed, "unchanged"
        allowed = amendable_fields(CLASSES_BY_NAME[str(changes["class"])]
                                   if "class" in changes else known.asset_class)  # fmt: skip
        # What only another class has goes with the word that it is of that class.
        changes = {field: value for field, value in changes.items() if field in allowed}
        if changes:
            offset = _amend(
                state, held, amended(known, changes), self.valid_from, origin.metadata()
            )
            outcome = "amended"
        if self.status is not None and self.status != held.entity.status:
            status_offset = self._restatus(state, origin, held.id, conflicts)
            if status_offset is not None:
                offset, outcome = status_offset, "amended"
        raised = raise_conflicts(
            state, Space.INSTRUMENT, held.id, known.asset_class, conflicts, origin
        )
        if outcome == "unchanged" and endorsed is None and raised:
            offset = raised[0]
        return Receipt(held.id, self.fingerprint, offset, outcome, raised)

    def _restatus(
        self, state: State, origin: Origin, id: int, conflicts: list[Disagreement]
    ) -> int | None:
        """The same source may move the status; another one's word is a conflict, and moves it only
        if that one comes first."""
        held = held_instrument(state, id)
        assert self.status is not None
        said_by = state.said_by(held, "status", _instrument_status)
        before = Status(held.entity.status)
        said = Disagreement(
            "status", before.name.lower(), said_by.source, self.status.name.lower(), origin.source
        )
        word = weigh(state, Space.INSTRUMENT, id, said_by, origin, said)
        if word == Word.CONFLICTS or self.status not in NEXT[before]:
            conflicts.append(said)
            return None
        if word == Word.OUTRANKS:
            conflicts.append(said.turned())
        return _set_status(state, held, self.status, self.valid_from, origin.metadata())


def _instrument_status(body: DataBody) -> int:
    assert isinstance(body, InstrumentBody)
    return body.message[3]


def _valid_from(body: InstrumentBody) -> int:
    return InstrumentRecord(body.message).valid_from


def _fact(body: DataBody, field: str) -> object:
    assert isinstance(body, InstrumentBody)
    facts = facts_from(body)
    return facts.asset_class if field == "class" else facts.values.get(field)


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
        facts_from(instrument_body(held)), id=held.id, fingerprint=held.entity.fingerprint,
        counter=held.entity.counter, status=status, revision=held.entity.revision + 1,
        valid_from=valid_from,
    )  # fmt: skip
    offset = state.emit(
        Kind.INSTRUMENT_STATUS, Space.INSTRUMENT, held.id, body, metadata=metadata,
        valid_from=valid_from,
    )  # fmt: skip
    left(state, held.id, status, metadata)
    return offset


class Amend(NamedTuple):
    """A person's correction: always applies. changes: field to value, None = no longer known."""

    id: int
    changes: Mapping[str, object]
    valid_from: int = 0

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = held_instrument(state, self.id)
        known = facts_from(instrument_body(held))
        facts = amended(known, self.changes)
        agree(facts.values, self.changes.keys())
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

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = held_instrument(state, self.id)
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


class Acknowledge(NamedTuple):
    """Closes an alert: a person has seen it, and lets the held value stand."""

    alert: int
    reason: str = ""

    @classmethod
    def make(cls, alert: int, reason: str = "") -> Acknowledge:
        """Raises InvalidInput."""
        return cls(offset(alert, "alert"), text(reason, "reason", REASON_SIZE_BYTES_MAX))

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
            alert=self.alert, asset_class=raised.asset_class, reason=self.reason,
            instrument=raised.instrument
        )
        offset = state.emit(
            Kind.ALERT_ACKNOWLEDGED, space, id, body, metadata=origin.metadata()
        )
        return Receipt(id, held.entity.fingerprint, offset, "amended")


