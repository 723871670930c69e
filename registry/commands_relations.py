"""Commands about links between two instruments. See `commands`, and `relation_rules` for the rules.

A relation is told by its kind and both sides, so saying it again is the same one. Its ratio and its
dates are words about it: who says nothing of them leaves them as they are, the source that said
them may amend them, and another one's disagreement is a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from msgspec.structs import replace

from alphapulse.log import Kind, RelationBody, RelationKind, Space, format_time

from .deciding import (
    DOING,
    Receipt,
    allocate,
    announce_collision,
    check_periods,
    found_instrument,
    instrument_body,
)
from .errors import UnknownRelation
from .held import DataBody, Held, Origin
from .identity import fingerprint_of, relation_key
from .periods import ended, place
from .relation_rules import Ratio, link_named, ratio_fields, ratio_in, ratio_of, ratio_text
from .retelling import Retelling
from .state import State
from .validation import is_backward, refuse, time_ns
from .waiting import complete

_ITSELF: Final = "an instrument is not related to itself"
_Value = Ratio | int | None


class Relate(NamedTuple):
    """Says how two instruments are related. Make it with `make`."""

    of: bytes
    """Fingerprint of the instrument that the relation starts from."""
    relation: RelationKind
    other: bytes
    """Fingerprint of the one it leads to."""
    ratio: Ratio | None = None
    """One of the first stands for so much of the other; None says nothing."""
    valid_from: int = 0
    valid_to: int = 0
    """ns; 0 says nothing."""
    keys: tuple[bytes, ...] = ()
    """Canonical keys of both ends, empty where it is not known: whoever has one may be registered
    later, and the relation waits for it."""

    @classmethod
    def make(
        cls, of: bytes, relation: object, other: bytes, *, ratio: object = None,
        valid_from: object = 0, valid_to: object = 0,
    ) -> Relate:  # fmt: skip
        """relation: by name; ratio: `N/D`; times: ns or RFC 3339. Raises InvalidInput."""
        kind = link_named(relation)
        of, other = _sides(of, kind, other)
        begins, ends = time_ns(valid_from, "valid_from"), time_ns(valid_to, "valid_to")
        if is_backward(begins, ends):
            refuse(
                "valid_to", f"it must be after valid_from, {format_time(begins)}", format_time(ends)
            )
        return cls(of, kind, other, ratio_of(ratio, kind), begins, ends)

    @classmethod
    def between(cls, of_key: bytes, relation: object, other_key: bytes) -> Relate:
        """Of instruments that may not be registered yet, by their canonical keys. Raises
        InvalidInput."""
        keys = {fingerprint_of(key): key for key in (of_key, other_key)}
        said = cls.make(fingerprint_of(of_key), relation, fingerprint_of(other_key))
        return said._replace(keys=(keys[said.of], keys[said.other]))

    def _key(self) -> bytes:
        return relation_key(self.relation, self.of, self.other)

    def unsaid(self, body: RelationBody, now: int) -> list[tuple[str, str]]:
        """Its words that this state does not say: (field, value). now: ns, when it was decided."""
        begins, ends = self.valid_from, self.valid_to
        then = place(body, begins, ends, now).state(body, begins)
        return [
            (field, _text(value)) for field, value in self._words().items()
            if value != _value(then, field)
        ]

    def _words(self) -> dict[str, _Value]:
        """What it says of the relation, by field."""
        words: dict[str, _Value] = {
            "ratio": self.ratio, "valid_from": self.valid_from, "valid_to": self.valid_to
        }
        return {field: value for field, value in words.items() if value}

    def decide(self, state: State, origin: Origin) -> Receipt:
        key = self._key()
        fingerprint = fingerprint_of(key)
        held = state.find(Space.RELATION, fingerprint)
        if held is not None:
            return self._said_before(state, origin, held)
        owner, other, missing_key = self._ends(state)
        there = owner or other
        assert there is not None, "one of them can be missing, and not both"
        counter, id, holder = allocate(state, Space.RELATION, fingerprint)
        body = RelationBody(
            fingerprint=fingerprint, relation=self.relation,
            asset_class=instrument_body(there).message[2], instrument=owner.id if owner else 0,
            instrument_fingerprint=self.of, other=other.id if other else 0,
            other_fingerprint=self.other, counter=counter, missing_key=missing_key,
        )  # fmt: skip
        body, metadata = replace(body, **_fields(self._words())), origin.metadata()
        offset = state.emit(
            Kind.RELATION_ADDED, Space.RELATION, id, body, metadata=metadata,
            valid_from=body.valid_from,
        )  # fmt: skip
        announce_collision(
            state, Space.RELATION, body.asset_class, id, key, counter, holder, metadata
        )
        outcome = "waiting" if missing_key else "new"
        return Receipt(id, fingerprint, offset, "collision" if holder else outcome)

    def _ends(self, state: State) -> tuple[Held | None, Held | None, bytes]:
        """Both, and the key of the one that is not registered. Raises UnknownInstrument."""
        owner, other = (state.find(Space.INSTRUMENT, end) for end in (self.of, self.other))
        of_key, other_key = self.keys or (b"", b"")
        if owner is None and other is not None and of_key:
            return None, other, of_key
        if other is None and owner is not None and other_key:
            return owner, None, other_key
        return found_instrument(state, self.of), found_instrument(state, self.other), b""

    def _said_before(self, state: State, origin: Origin, held: Held) -> Receipt:
        """Of one that waits and need not any more, as when it led to a circle: tries again, now
        that its dates may be others."""
        receipt = _RelationAgain(state, origin, held, self._words()).decide()
        missing = _relation_body(held).missing
        if not missing:
            return receipt
        end = state.find(Space.INSTRUMENT, missing)
        if end is None:
            is_said = receipt.outcome == "unchanged"
            return receipt._replace(outcome="waiting") if is_said else receipt
        held = state.held(Space.RELATION, held.id) or held
        complete(state, held, end.id, origin)
        return receipt._replace(outcome="amended", offset=state.head - 1)


class _RelationAgain(Retelling[RelationBody]):
    space = Space.RELATION

    def value(self, period: RelationBody, field: str) -> _Value:
        return _value(period, field)

    def text(self, value: object) -> str:
        return _text(cast("_Value", value))

    def fields(self, words: Mapping[str, Any]) -> dict[str, Any]:
        return _fields(words)

    def amend(self, fields: Mapping[str, Any]) -> int:
        metadata = self.origin.metadata()
        return _change(self.state, self.held, Kind.RELATION_AMENDED, fields, metadata)


class Unrelate(NamedTuple):
    """Ends a relation at `valid_to` (ns, the first instant without it). Make it with `make`.

    now: `valid_to` is only when it was asked; a relation that had ended by then stays as it is.
    """

    of: bytes
    relation: RelationKind
    other: bytes
    valid_to: int
    now: bool = False

    @classmethod
    def make(
        cls, of: bytes, relation: object, other: bytes, valid_to: object, *, now: bool = False
    ) -> Unrelate:
        """Raises InvalidInput."""
        kind = link_named(relation)
        ends = time_ns(valid_to, "valid_to")
        if not ends:
            refuse("valid_to", "it is missing", valid_to, "say when it ends")
        of, other = _sides(of, kind, other)
        return cls(of, kind, other, ends, now)

    def decide(self, state: State, origin: Origin) -> Receipt:
        fingerprint = fingerprint_of(relation_key(self.relation, self.of, self.other))
        held = state.find(Space.RELATION, fingerprint)
        if held is None:
            of, other = found_instrument(state, self.of), found_instrument(state, self.other)
            raise UnknownRelation(
                DOING, instrument=f"0x{of.id:016x}", relation=self.relation.name.lower(),
                other=f"0x{other.id:016x}",
            )  # fmt: skip
        changes = ended(_relation_body(held), self.valid_to, self.now)
        if not changes:
            return Receipt(held.id, fingerprint, held.data_offset, "unchanged")
        offset = _change(state, held, Kind.RELATION_ENDED, changes, origin.metadata())
        return Receipt(held.id, fingerprint, offset, "amended")


def be_two(id: int, other: int) -> None:
    """For who knows ids: they say more than the fingerprints that `make` compares."""
    if id == other:
        refuse("to", _ITSELF, f"0x{id:016x}", "name another")


def _sides(of: bytes, kind: RelationKind, other: bytes) -> tuple[bytes, bytes]:
    """`same_as` has no direction: whoever says it from the other side says the same."""
    if of == other:
        refuse("to", _ITSELF, f"fingerprint {of.hex()}", "name another")
    return (other, of) if kind == RelationKind.SAME_AS and of > other else (of, other)


def _relation_body(held: Held) -> RelationBody:
    assert isinstance(held.body, RelationBody)
    return held.body


def _value(body: DataBody, field: str) -> _Value:
    """One of its words; 0 and None when it is not known."""
    assert isinstance(body, RelationBody)
    if field == "ratio":
        return ratio_in(body)
    return body.valid_from if field == "valid_from" else body.valid_to


def _text(value: _Value) -> str:
    """As conflicts hold it."""
    return str(value) if isinstance(value, int) else ratio_text(value)


def _fields(words: Mapping[str, object]) -> dict[str, object]:
    """As a body holds them."""
    fields: dict[str, object] = {f: value for f, value in words.items() if f != "ratio"}
    ratio = words.get("ratio")
    if ratio is not None:
        fields.update(ratio_fields(cast("Ratio", ratio)))
    return fields


def _change(
    state: State, held: Held, kind: Kind, changes: Mapping[str, object], metadata: bytes
) -> int:
    known = _relation_body(held)
    body = replace(known, revision=known.revision + 1, **changes)
    check_periods(
        body, "relation",
        "`alphapulse related KEY --ended` shows what is known; give dates that agree",
    )  # fmt: skip
    return state.emit(
        kind, Space.RELATION, held.id, body, metadata=metadata, valid_from=body.valid_from
    )
