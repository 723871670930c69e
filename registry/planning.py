"""What an import would do, thing by thing and field by field: the diff of a dry run.

A rehearsal keeps the events that a row would lead to. Each is told as its fields before and after
it, named and written as by `diff`: so what is planned is what `registry.diff` tells once the import
is done. Nothing is collected here: whoever asks gets one row at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from alphapulse.log import (
    ASPECTS,
    KIND_NAMES,
    CollisionBody,
    ConflictBody,
    Draft,
    InstrumentBody,
    ListingBody,
    RelationBody,
    Space,
    VenueBody,
    WarningBody,
)

from . import validation
from .deciding import Receipt
from .fields import Fields, Shown, fields_of, said_text
from .held import DataBody, FactBody
from .identity import key_text, venue_fingerprint
from .state import State
from .venue_fields import venue_fields

_OF_VENUES: Final = (VenueBody, *ASPECTS)
_TOLD: Final = (InstrumentBody, ListingBody, RelationBody, *_OF_VENUES)


class Planned(NamedTuple):
    """What a row of a file would do to one thing."""

    place: str
    """Of the row in its file."""
    what: str
    """new, amended, collision, conflict, warning or quarantined."""
    kind: str
    """Of the event that the import would write. Empty when it would write none: for what is
    quarantined, and for a conflict that was raised before."""
    id: int
    """Of the instrument; its listings, groups and relations are fields of it. Or of the venue, as
    its hours and fees are. 0 for what is quarantined."""
    changes: tuple[FieldChange, ...]
    """Of a conflict: what stays, as before, and what the row says, as after."""
    reason: str
    """Of what is quarantined, of a conflict, a collision and a warning; else empty."""


class FieldChange(NamedTuple):
    """None = not known."""

    field: str
    before: Shown | None
    after: Shown | None


def planned(
    state: State, place: str, source: str, drafts: Iterable[Draft], receipts: Iterable[Receipt]
) -> Iterator[Planned]:
    """What a row of a source came to. drafts: the events it would lead to, the last ones of
    `state`."""
    news = set[int]()
    for offset, draft in enumerate(drafts := list(drafts), state.head - len(drafts)):
        kind, body = KIND_NAMES[draft.kind], draft.body
        if isinstance(body, _TOLD):
            before: Fields = {}
            if draft.previous is not None:
                _, before = _fields(state, state.data_at(draft.previous))
            id, after = _fields(state, body)
            what = "new" if draft.previous is None else "amended"
            yield Planned(place, what, kind, id, _differences(before, after), "")
        elif isinstance(body, CollisionBody):
            reason = (
                f"0x{body.wanted:016x} is the id of {key_text(body.holder_key)},"
                f" so this gets 0x{body.assigned:016x}"
            )
            yield Planned(place, "collision", kind, body.instrument or draft.entity, (), reason)
        elif isinstance(body, WarningBody):
            reason = f"{body.venue}: schedule {body.schedule}, line {body.line}: {body.problem}"
            yield Planned(place, "warning", kind, _venue_id(state, body.venue), (), reason)
        else:
            news.add(offset)
    for receipt in receipts:
        for offset in receipt.conflicts:
            yield _conflict(state, place, source, offset, is_new=offset in news)


def disagreement(body: ConflictBody, source: str, thing: str = "") -> str:
    """For who reads a row of `source`. thing: what has the field, when that is not the instrument
    itself, and a blank."""
    is_taken = _is_taken(body, source)
    known, by, says = body.held, body.held_source, body.offered
    if is_taken:
        known, by, says = body.offered, body.offered_source, body.held
    known, says = said_text(body.field, known), said_text(body.field, says)
    after = ", which has precedence" if is_taken else ""
    return (
        f"{thing}{body.field}: {validation.shown(known)} is known from"
        f" {validation.shown(by or 'an unnamed source')}, this row says"
        f" {validation.shown(says)}{after}"
    )


def _is_taken(body: ConflictBody, source: str) -> bool:
    """Whether the source's word is the one that stands."""
    return body.held_source == source and body.offered_source != source


def _differences(before: Fields, after: Fields) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(field, before.get(field), after.get(field))
        for field in {**before, **after}
        if before.get(field) != after.get(field)
    )


def _conflict(state: State, place: str, source: str, offset: int, *, is_new: bool) -> Planned:
    body, kind, space, entity = state.event_at(offset)
    held = state.held(space, entity)
    assert isinstance(body, ConflictBody) and held is not None
    id, fields = _fields(state, held.body)
    name = "" if isinstance(held.body, InstrumentBody) else f"{next(iter(fields))} "
    sides = (body.offered, body.held) if _is_taken(body, source) else (body.held, body.offered)
    change = FieldChange(f"{name}{body.field}", *(said_text(body.field, side) for side in sides))
    reason = disagreement(body, source, name)
    return Planned(place, "conflict", KIND_NAMES[kind] if is_new else "", id, (change,), reason)


def _venue_id(state: State, venue: str) -> int:
    held = state.find(Space.VENUE, venue_fingerprint(venue))
    assert held is not None, "nothing is said of a venue before it is registered"
    return held.id


def _fields(state: State, body: DataBody) -> tuple[int, Fields]:
    if isinstance(body, _OF_VENUES):
        return _venue_id(state, body.venue), venue_fields(body)
    assert isinstance(body, FactBody), "rows of files are about instruments and venues"
    return fields_of(body)
