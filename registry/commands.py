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
from typing import Final, NamedTuple, Protocol, runtime_checkable

from alphapulse.log import (
    CLASS_NAMES,
    CLASSES_BY_NAME,
    AcknowledgedBody,
    AssetClass,
    CollisionBody,
    ConflictBody,
    InstrumentBody,
    InvalidInput,
    Kind,
    Space,
    Status,
    format_time,
)

from .check import NEXT
from .dating import Step, steps
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
    DERIVED,
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
from .held import DataBody, Held, Origin
from .identity import fingerprint_of
from .instruments import AnyInstrument
from .proposals import left, registered
from .readers import facts_of, status_of, valid_from_of
from .retries import identified, keep_answer, replayed
from .state import State
from .terms import agree
from .valid_time import Said, begins_of, facts_words, words_at, words_of
from .validation import offset, text
from .waiting import met

REASON_SIZE_BYTES_MAX: Final = 512
_INSTRUMENT: Final = Space.INSTRUMENT
_REGISTERED: Final = Kind.INSTRUMENT_REGISTERED
_ACTIVE: Final = Status.ACTIVE
"""Members of an enum are looked up by a function of Python's, which takes as long as a probe."""


class Command(Protocol):
    """A named tuple of all that is asked for."""

    def decide(self, state: State, origin: Origin) -> Receipt: ...


@runtime_checkable
class Datable(Protocol):
    """Says what is true from a date on, and may name none."""

    def dated(self, since: int) -> Command:
        """The same from then on (ns), unless it names its own date."""


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
        facts, valid_from = facts_of(instrument), instrument.valid_from
        if valid_from.__class__ is not int or valid_from:
            valid_from = valid_from_of(instrument)
        return tuple.__new__(cls, (
            facts, fingerprint_of(facts.key), status_of(instrument), valid_from,
            newest and "generation" in facts.values,
        ))  # fmt: skip

    def meant(self, state: State) -> Register:
        """The same about the generation that it means. Raises GenerationOver."""
        if not self.newest:
            return self
        facts = meant(state, self.facts, self.status)
        return self._replace(facts=facts, fingerprint=fingerprint_of(facts.key))

    def unsaid(self, body: InstrumentBody, _now: int) -> list[tuple[str, str]]:
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
        register = self.meant(state) if self.newest else self
        held = state.find(_INSTRUMENT, register.fingerprint)
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
        facts, fingerprint, status, valid_from, _ = self
        counter, id, holder = allocate(state, _INSTRUMENT, fingerprint)
        metadata = origin.metadata()
        body = body_of(
            facts, id=id, fingerprint=fingerprint, counter=counter, status=status or _ACTIVE,
            valid_from=valid_from,
        )
        offset = state.emit(
            _REGISTERED, _INSTRUMENT, id, body, metadata=metadata, valid_from=valid_from
        )
        if holder is not None:
            announce_collision(
                state, _INSTRUMENT, facts.asset_class, id, facts.key, counter, holder, metadata
            )
        if state.has_proposals:
            registered(state, id, fingerprint, (confirmed_by or origin).metadata())
        outcome = "collision" if holder else "new"
        count = met(state, id, fingerprint, origin) if state.any_waits else 0
        return tuple.__new__(
            Receipt, (id, fingerprint, offset, outcome, (), count, (), state.durable)
        )

    def _again(self, state: State, origin: Origin, held: Held) -> Receipt:
        known = facts_from(instrument_body(held))
        conflicts: list[Disagreement] = []
        today = dict[str, Value]()
        if not self.valid_from and state.is_pending(held):
            today = words_at(state.said_of(held), state.now)
            today["class"] = CLASS_NAMES[AssetClass(int(today["class"]))]  # as `merge` has it
        changes = self._news(state, origin, held, known, today, conflicts)
        moves = self._moves(state, origin, held, today, conflicts)
        said = state.said_of(held) if self.valid_from else []
        repeated = self._repeated(state, origin, held, said, conflicts)
        since = self.valid_from
        if said and any(each.offered_source == origin.source for each in conflicts):
            # What is not taken does not say that it was there.
            since = max(since, begins_of(said[0].since, (each.valid_from for each in said)))
        agreed = (
            (field, partial(_fact, field=field)) for field, value in self.facts.values.items()
            if known.values.get(field) == value
        )  # fmt: skip
        endorsed = endorse(state, Space.INSTRUMENT, held, known.asset_class, agreed, origin)
        metadata = origin.metadata()
        offset = None
        if changes:
            offset = _amend(state, held, amended(known, changes), since, metadata)
        for until, words in repeated.items():
            offset = _say_earlier(state, held.id, words, since, until, metadata) or offset
        if offset is None and since:
            offset = _date_back(state, held, since, metadata)
        if moves and self.status is not None:
            offset = _set_status(
                state, held_instrument(state, held.id), self.status, since, metadata
            )
        raised = raise_conflicts(
            state, Space.INSTRUMENT, held.id, known.asset_class, conflicts, origin
        )
        if offset is not None:
            return Receipt(held.id, self.fingerprint, offset, "amended", raised)
        if endorsed is None:
            offset = raised[0] if raised else held.data_offset
        else:
            offset = endorsed
        return Receipt(held.id, self.fingerprint, offset, "unchanged", raised)

    def _news(
        self, state: State, origin: Origin, held: Held, known: Facts, today: Mapping[str, Value],
        conflicts: list[Disagreement],
    ) -> dict[str, Value]:  # fmt: skip
        """What it says otherwise than the newest word, and is taken; the rest goes to conflicts.
        today: what holds now, where something else is announced; who says that agrees with both."""
        filled, disagreements = merge(known, self.facts)
        changes = {field: value for field, value in filled.items() if today.get(field) != value}
        for field, (value, offered) in disagreements.items():
            if today.get(field) == offered:
                continue
            word = self._weigh(state, origin, held, (field, value, offered), conflicts)
            if word != Word.CONFLICTS:
                changes[field] = offered
        allowed = amendable_fields(CLASSES_BY_NAME[str(changes["class"])]
                                   if "class" in changes else known.asset_class)  # fmt: skip
        # What only another class has goes with the word that it is of that class.
        return {field: value for field, value in changes.items() if field in allowed}

    def _weigh(
        self, state: State, origin: Origin, held: Held, word: tuple[str, Value, Value],
        conflicts: list[Disagreement], *, formerly: bool = False,
    ) -> Word:  # fmt: skip
        """Of (field, value that is known, value that it says). formerly: the value is not the one
        that is held now, but one that was."""
        field, value, offered = word
        said_by = state.said_by(
            held, field, partial(_fact, field=field), value if formerly else None
        )
        said = Disagreement(
            field, _shown(field, value), said_by.source, _shown(field, offered), origin.source
        )
        weighed = weigh(
            state, Space.INSTRUMENT, held.id, said_by, origin, said,
            correctable=field != "decimals",
        )  # fmt: skip
        if weighed != Word.CORRECTS:
            conflicts.append(said.turned() if weighed == Word.OUTRANKS else said)
        return weighed

    def _moves(
        self, state: State, origin: Origin, held: Held, today: Mapping[str, Value],
        conflicts: list[Disagreement],
    ) -> bool:  # fmt: skip
        """The same source may move the status; another one's word is a conflict, and moves it only
        if that one comes first."""
        before = Status(held.entity.status)
        if self.status is None or self.status in (before, today.get("status")):
            return False
        said_by = state.said_by(held, "status", _instrument_status)
        said = Disagreement(
            "status", before.name.lower(), said_by.source, self.status.name.lower(), origin.source
        )
        word = weigh(state, Space.INSTRUMENT, held.id, said_by, origin, said)
        if word == Word.CONFLICTS or self.status not in NEXT[before]:
            conflicts.append(said)
            return False
        if word == Word.OUTRANKS:
            conflicts.append(said.turned())
        return True

    def _repeated(
        self, state: State, origin: Origin, held: Held, said: list[Said],
        conflicts: list[Disagreement],
    ) -> dict[int, dict[str, Value]]:  # fmt: skip
        """The words that are held already but not since `valid_from`: until when (ns) they are
        said anew, which is when the next word begins. So it ends alike in whatever order words
        with dates come, and the same again says nothing.

        said: what was said of it; empty = it names no date. A status cannot be bounded: it is said
        anew only where no other one comes later.
        """
        if len(said) < 2:
            return {}
        then, newest = words_at(said, self.valid_from), said[-1].words
        begins = begins_of(said[0].since, (each.valid_from for each in said))
        at_first = words_at(said, max(begins, self.valid_from))  # nothing is known of before it
        offered = facts_words(self.facts)
        if self.status is not None:
            offered["status"] = int(self.status)
        earlier = {
            field: value for field, value in offered.items()
            if newest.get(field) == value != then.get(field) and field not in DERIVED
        }  # fmt: skip
        found: dict[int, dict[str, Value]] = {}
        times = sorted({each.since for each in said if each.since > self.valid_from})
        later = [(at, words_at(said, at)) for at in times] if earlier else []
        for field, value in earlier.items():
            before = then.get(field)
            known = [(at, words.get(field)) for at, words in later]
            until, *rest = [(at, word) for at, word in known if word != before]
            if field == "status" and any(word != value for _, word in (until, *rest)):
                continue
            if before is not None and before == at_first.get(field):
                word = (field, before, value)
                weighed = self._weigh(state, origin, held, word, conflicts, formerly=True)
                if weighed == Word.CONFLICTS:
                    continue
            words = found.setdefault(until[0], {})
            words[field] = value
            for name, of in DERIVED.items():
                if of == field:
                    words[name] = newest[name]
        return found


def _instrument_status(body: DataBody) -> int:
    assert isinstance(body, InstrumentBody)
    return body.message[3]


def _fact(body: DataBody, field: str) -> object:
    assert isinstance(body, InstrumentBody)
    if field == "status":
        return body.message[3]
    facts = facts_from(body)
    return facts.asset_class if field == "class" else facts.values.get(field)


def _shown(field: str, value: Value) -> str:
    """A value of a field as a conflict shows it."""
    if field == "status":
        return Status(int(value)).name.lower()
    if field == "class" and isinstance(value, int):
        return CLASS_NAMES[AssetClass(value)]
    return str(fact(field, value))


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
    """A person's correction: always applies. changes: field to value, None = no longer known; none
    at all with a valid-from before it was there only dates it back.

    valid_to: with it what held from then on before goes on to hold; see `dating`.
    """

    id: int
    changes: Mapping[str, object]
    valid_from: int = 0
    valid_to: int = 0

    def decide(self, state: State, origin: Origin) -> Receipt:
        if self.valid_to and not 0 != self.valid_from < self.valid_to:
            said = {"valid_from": format_time(self.valid_from)} if self.valid_from else {}
            raise InvalidInput(
                DOING, problem="valid_to needs a valid_from before it",
                cure="say from when to when it holds", **said, valid_to=format_time(self.valid_to),
            )  # fmt: skip
        held, metadata = held_instrument(state, self.id), origin.metadata()
        known = facts_from(instrument_body(held))
        facts = amended(known, self.changes)
        agree(facts.values, self.changes.keys())
        before, after = words_of(instrument_body(held)), facts_words(facts)
        fields = {*self.changes, *(field for field, of in DERIVED.items() if of in self.changes)}
        wanted = {field: after.get(field) for field in fields}
        offset = None
        is_held = any(before.get(field) == value for field, value in wanted.items())
        if self.valid_to or (is_held and (self.valid_from or state.is_pending(held))):
            since = self.valid_from or state.now
            for step in steps(state.said_of(held), wanted, since, self.valid_to):
                offset = _say(state, self.id, step, self.valid_from and step.since, metadata)
        elif facts != known:
            offset = _amend(state, held, facts, self.valid_from, metadata)
        if offset is None and self.valid_from:
            offset = _date_back(state, held, self.valid_from, metadata)
        outcome = "unchanged" if offset is None else "amended"
        offset = held.data_offset if offset is None else offset
        return Receipt(self.id, held.entity.fingerprint, offset, outcome)


def _say(state: State, id: int, step: Step, valid_from: int, metadata: bytes) -> int:
    """Writes some fields, whatever the others are."""
    held = held_instrument(state, id)
    known = facts_from(instrument_body(held))
    said = {**known.values, "class": int(known.asset_class), **step.words}
    asset_class = AssetClass(int(said.pop("class") or 0))
    values = {field: value for field, value in said.items() if value is not None}
    return _amend(state, held, Facts(known.key, asset_class, values), valid_from, metadata)


def _date_back(state: State, held: Held, valid_from: int, metadata: bytes) -> int | None:
    """Says that it was there from a time (ns) on, with no word beside; None when that is known."""
    said = state.said_of(held)
    if valid_from >= begins_of(said[0].since, (each.valid_from for each in said)):
        return None
    return _amend(state, held, facts_from(instrument_body(held)), valid_from, metadata)


def _say_earlier(
    state: State, id: int, words: Mapping[str, Value], since: int, until: int, metadata: bytes
) -> int | None:
    """Says words from a time (ns) until another; of a status, for good. None when they hold."""
    if since >= until:
        return None
    facts, offset = dict(words), None
    status = facts.pop("status", None)
    if facts:
        for step in steps(state.said_of(held_instrument(state, id)), facts, since, until):
            offset = _say(state, id, step, step.since, metadata)
    if status is not None:
        offset = _set_status_again(state, id, Status(int(status)), since, metadata) or offset
    return offset


_ASIDE: Final = {
    Status.ACTIVE: Status.HALTED, Status.HALTED: Status.ACTIVE, Status.DELISTED: Status.ACTIVE,
}
"""What a status becomes for the moment in which it is said again, for an earlier day: `dating`."""
if any(other not in NEXT[status] or status not in NEXT[other] for status, other in _ASIDE.items()):
    raise ImportError("no way leads back to a status that is said again")


def _set_status_again(
    state: State, id: int, status: Status, valid_from: int, metadata: bytes
) -> int | None:
    """Says a status that is held already since a time (ns), 0 = now. None when it holds since then,
    or can be left for no other."""
    aside, held = _ASIDE.get(status), held_instrument(state, id)
    since = valid_from or state.now
    if aside is None or not steps(state.said_of(held), {"status": int(status)}, since, 0):
        return None
    _set_status(state, held, aside, valid_from, metadata)
    return _set_status(state, held_instrument(state, id), status, valid_from, metadata)


class SetStatus(NamedTuple):
    """Moves an instrument through its life; raises IllegalTransition."""

    id: int
    status: Status
    valid_from: int = 0

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = held_instrument(state, self.id)
        before, fingerprint = Status(held.entity.status), held.entity.fingerprint
        if before == self.status:
            return self._again(state, held, origin)
        if self.status not in NEXT[before]:
            allowed = ", ".join(status.name.lower() for status in NEXT[before]) or "nothing"
            raise IllegalTransition(
                DOING, problem=f"{before.name.lower()} cannot become {self.status.name.lower()}",
                cure=f"from there it can become {allowed}", id=f"0x{self.id:016x}",
            )  # fmt: skip
        offset = _set_status(state, held, self.status, self.valid_from, origin.metadata())
        return Receipt(self.id, fingerprint, offset, "amended")


    def _again(self, state: State, held: Held, origin: Origin) -> Receipt:
        """Of a status that is held already: it may be announced, or true since an earlier day."""
        offset = None
        if self.valid_from or state.is_pending(held):
            offset = _set_status_again(
                state, self.id, self.status, self.valid_from, origin.metadata()
            )
        outcome = "unchanged" if offset is None else "amended"
        offset = held.data_offset if offset is None else offset
        return Receipt(self.id, held.entity.fingerprint, offset, outcome)


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


