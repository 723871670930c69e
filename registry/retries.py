"""Request ids: a command that is sent again gets the receipt it got the first time.

The events that a request led to name it, follow each other, and are found through the view
`requests`; so the log alone remembers, through restarts and rebuilds and for every process. Nothing
else is kept: the first receipt is made again from those events. Each names its command too, by a
hash of what that says, who says it and its place in the unit, so that another command under the id
is told from a retry. A command may answer proposals besides; its receipt is about what it was for.
A command that changed nothing leaves an event of its own, `request.answered`, with its receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from blake3 import blake3

from alphapulse.log import (
    ASPECTS,
    VENUE_KINDS,
    AnswerBody,
    ConflictBody,
    InstrumentBody,
    Kind,
    RelationBody,
    Space,
)

from .deciding import DOING, Receipt, owner_of
from .errors import RequestReused
from .held import Origin
from .state import State

_OUTCOMES: Final[dict[int, str]] = {
    Kind.INSTRUMENT_REGISTERED: "new", Kind.LISTING_ADDED: "new", Kind.RELATION_ADDED: "new",
    Kind.INSTRUMENT_AMENDED: "amended", Kind.INSTRUMENT_STATUS: "amended",
    Kind.LISTING_AMENDED: "amended", Kind.LISTING_ENDED: "amended",
    Kind.RELATION_AMENDED: "amended", Kind.RELATION_ENDED: "amended",
    Kind.ALERT_ACKNOWLEDGED: "amended", Kind.FEED_IMPORTED: "new", Kind.FEED_RULES: "amended",
    Kind.WORD_ENDORSED: "unchanged", Kind.INSTRUMENT_SEEN: "proposed",
    Kind.PROPOSAL_REFUSED: "amended",
    Kind.CANDIDATE_PROPOSED: "new", Kind.CANDIDATE_CONFIRMED: "amended",
    Kind.CANDIDATE_REFUSED: "amended",
    Kind.VENUE_REGISTERED: "new", **dict.fromkeys(VENUE_KINDS - {Kind.VENUE_REGISTERED}, "amended"),
}  # fmt: skip


def identified(command: object, origin: Origin, index: int) -> Origin:
    """The origin that the command's events name. index: its place in its unit."""
    return origin._replace(command=_hash_of(command, origin.source, index))


def replayed(command: object, state: State, origin: Origin, first: int) -> Receipt:
    """The receipt of the command whose request began at `first`. Raises RequestReused when that was
    of another command.

    `command.unsaid(body, now)`, where there is one: its words (field, value) that a state does not
    say. now: ns, when that state was told.
    """
    events = state.events_of_request(origin.request_id, first)
    mine = [event for event in events if event.command == origin.command]
    if not mine:
        raise RequestReused(DOING, offset=first, used_for=f"0x{events[0].entity:016x}")
    space, id = mine[0].space, mine[0].entity
    told = [event for event in mine if (event.space, event.entity) == (space, id)]
    fingerprint, newest = state.fingerprint(space, id), told[-1]
    if isinstance(newest.body, AnswerBody):
        return Receipt(id, fingerprint, newest.body.answer, "unchanged", newest.body.conflicts)
    unsaid = getattr(command, "unsaid", None)
    conflicts: tuple[int, ...] = ()
    if unsaid is not None:
        words = unsaid(state.data_at(newest.offset), newest.recorded)
        conflicts = _conflicts(state, space, id, words, origin.source, events[-1].offset)
        raised = (event.offset for event in told if isinstance(event.body, ConflictBody))
        conflicts = tuple(dict.fromkeys((*conflicts, *raised)))
    said = [event for event in told if event.kind in _OUTCOMES]
    if not said:
        return Receipt(id, fingerprint, conflicts[0], "unchanged", conflicts)
    outcome, body = _OUTCOMES[said[-1].kind], said[-1].body
    if any(event.kind == Kind.COLLISION_DETECTED for event in mine):
        outcome = "collision"
    elif isinstance(body, RelationBody) and body.missing_key:
        outcome = "waiting"
    elif isinstance(body, ASPECTS) and body.revision == 1:
        outcome = "new"
    met = 0
    if space == Space.INSTRUMENT:
        met = sum(event.kind == Kind.RELATION_AMENDED for event in mine)
    return Receipt(id, fingerprint, said[-1].offset, outcome, conflicts, met=met)


def keep_answer(state: State, origin: Origin, receipt: Receipt) -> None:
    """For a command that changed nothing: its receipt, as an event of the thing it is about."""
    _, _, space, id = state.event_at(receipt.offset)
    held = state.held(space, id)
    assert held is not None and id == receipt.id
    body = held.body
    state.emit(
        Kind.REQUEST_ANSWERED, space, id,
        AnswerBody(
            answer=receipt.offset, conflicts=receipt.conflicts,
            asset_class=body.message[2] if isinstance(body, InstrumentBody) else body.asset_class,
            instrument=owner_of(state, space, id),
        ),
        metadata=origin.metadata(),
    )  # fmt: skip


def _hash_of(command: Any, source: str, index: int) -> bytes:
    """16 bytes, equal when the same source says the same in the same place. What a command leaves
    empty is left out, so that a field which commands get one day changes nothing here."""
    said = (type(command).__name__, source, index, _given(command._asdict()))
    return blake3(msgspec.msgpack.encode(said, order="sorted")).digest(16)


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(value) for name, value in fields.items() if value}


def _plain(value: object) -> object:
    """What MessagePack can hold, in one spelling: numbers of any size are text."""
    if isinstance(value, msgspec.Struct):
        return _given(msgspec.structs.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bytes):
        return value
    return str(int(value)) if isinstance(value, int) else str(value)


def _conflicts(
    state: State, space: int, id: int, words: Iterable[tuple[str, str]], source: str, last: int
) -> tuple[int, ...]:
    """Offsets of the conflicts that the words were in, and which were open at event `last`."""
    found = []
    for field, offered in words:
        body = ConflictBody(
            asset_class=0, field=field, held="", held_source="", offered=offered,
            offered_source=source,
        )  # fmt: skip
        raised = state.raised_before(space, id, body)
        if raised is not None and raised[0] <= last and (raised[1] is None or raised[1] > last):
            found.append(raised[0])
    return tuple(found)
