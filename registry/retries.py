"""Request ids: a command that is sent again gets the receipt it got the first time.

The events that a request led to name it, follow each other, and are found through the view
`requests`; so the log alone remembers, through restarts and rebuilds and for every process. Nothing
else is kept: the first receipt is made again from those events, and that a retry says what the
first command said is read from them too. Every word of a registration is then either in the state
that it left behind, or in a conflict that was raised by then. A command that changed nothing leaves
an event of its own, `request.answered`, with its receipt and a hash of what it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from blake3 import blake3

from alphapulse.log import AnswerBody, ConflictBody, InstrumentBody, Kind

from .deciding import DOING, Receipt, owner_of
from .errors import RequestReused
from .state import Origin, Past, State

_KINDS_OF_COMMAND: Final[dict[str, frozenset[int]]] = {
    "Register": frozenset({Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_AMENDED,
                           Kind.INSTRUMENT_STATUS, Kind.CONFLICT_DETECTED}),
    "Amend": frozenset({Kind.INSTRUMENT_AMENDED}),
    "SetStatus": frozenset({Kind.INSTRUMENT_STATUS}),
    "AddListing": frozenset({Kind.LISTING_ADDED, Kind.LISTING_AMENDED, Kind.CONFLICT_DETECTED}),
    "EndListing": frozenset({Kind.LISTING_ENDED}),
    "AddToGroup": frozenset({Kind.RELATION_ADDED}),
    "Relate": frozenset({Kind.RELATION_ADDED, Kind.RELATION_AMENDED, Kind.CONFLICT_DETECTED}),
    "Unrelate": frozenset({Kind.RELATION_ENDED}),
    "Acknowledge": frozenset({Kind.ALERT_ACKNOWLEDGED}),
    "RecordImport": frozenset({Kind.FEED_IMPORTED}),
}  # fmt: skip
_OUTCOMES: Final[dict[int, str]] = {
    Kind.INSTRUMENT_REGISTERED: "new", Kind.LISTING_ADDED: "new", Kind.RELATION_ADDED: "new",
    Kind.INSTRUMENT_AMENDED: "amended", Kind.INSTRUMENT_STATUS: "amended",
    Kind.LISTING_AMENDED: "amended", Kind.LISTING_ENDED: "amended",
    Kind.RELATION_AMENDED: "amended", Kind.RELATION_ENDED: "amended",
    Kind.CONFLICT_DETECTED: "unchanged", Kind.ALERT_ACKNOWLEDGED: "amended",
    Kind.FEED_IMPORTED: "new",
}  # fmt: skip


def replayed(command: object, state: State, origin: Origin, first: int) -> Receipt:
    """The receipt of the command whose events begin at `first`. Raises RequestReused when they are
    another command's.

    What a command offers for it, all optional: `subject(state)`, the fingerprint of what it is
    about; `repeats(body)`, whether its newest event says what it says; `unsaid(body)`, its words
    (field, value) that the state it left does not say, which conflicts must.
    """
    events = state.events_of_request(origin.request_id, first)
    answered = _answered(command, state, events)
    if answered is not None:
        return answered
    mine = _events_of(command, state, events)
    repeats, unsaid = getattr(command, "repeats", None), getattr(command, "unsaid", None)
    conflicts: tuple[int, ...] | None = ()
    if mine and unsaid is not None:
        space, id = mine[-1].space, mine[-1].entity
        words = unsaid(state.data_at(mine[-1].offset))
        conflicts = _conflicts(state, space, id, words, origin.source, events)
    if not mine or conflicts is None or (repeats is not None and not repeats(mine[-1].body)):
        raise RequestReused(DOING, offset=first, used_for=f"0x{events[0].entity:016x}")
    space, id = mine[0].space, mine[0].entity
    last = next((e for e in reversed(mine) if e.kind != Kind.CONFLICT_DETECTED), None)
    offset = conflicts[0] if last is None else last.offset
    collided = any(e.kind == Kind.COLLISION_DETECTED and e.entity == id for e in events)
    outcome = "collision" if collided else "unchanged" if last is None else _OUTCOMES[last.kind]
    return Receipt(id, state.fingerprint(space, id), offset, outcome, conflicts)


def keep_answer(command: object, state: State, origin: Origin, receipt: Receipt) -> None:
    """For a command that changed nothing: its receipt, as an event of the thing it is about."""
    _, _, space, id = state.event_at(receipt.offset)
    held = state.held(space, id)
    assert held is not None and id == receipt.id
    body = held.body
    state.emit(
        Kind.REQUEST_ANSWERED, space, id,
        AnswerBody(
            command=_hash_of(command), answer=receipt.offset, conflicts=receipt.conflicts,
            asset_class=body.message[2] if isinstance(body, InstrumentBody) else body.asset_class,
            instrument=owner_of(state, space, id),
        ),
        metadata=origin.metadata(),
    )  # fmt: skip


def _answered(command: object, state: State, events: Iterable[Past]) -> Receipt | None:
    """The receipt that was kept of this very command, if one was."""
    for event in events:
        body = event.body
        if isinstance(body, AnswerBody) and body.command == _hash_of(command):
            fingerprint = state.fingerprint(event.space, event.entity)
            return Receipt(event.entity, fingerprint, body.answer, "unchanged", body.conflicts)
    return None


def _hash_of(command: Any) -> bytes:
    """16 bytes, equal for commands that say the same. What a listing leaves empty is left out, so
    that a field which listings get one day changes nothing here."""
    said = command._asdict()  # all commands are named tuples
    for name, value in said.items():
        if isinstance(value, msgspec.Struct):
            fields = msgspec.structs.asdict(value).items()
            said[name] = {field: given for field, given in fields if given}
    data = (type(command).__name__, said)
    return blake3(msgspec.msgpack.encode(data, order="sorted", enc_hook=str)).digest(16)


def _events_of(command: object, state: State, events: Iterable[Past]) -> list[Past]:
    """Those that the command can have led to; a unit of several commands has others too."""
    kinds = _KINDS_OF_COMMAND[type(command).__name__]
    subject = getattr(command, "subject", None)
    mine = [event for event in events if event.kind in kinds]
    if mine and subject is not None:
        wanted = subject(state)
        mine = [e for e in mine if state.fingerprint(e.space, e.entity) == wanted]
    return mine


def _conflicts(
    state: State, space: int, id: int, words: Iterable[tuple[str, str]], source: str,
    events: list[Past],
) -> tuple[int, ...] | None:  # fmt: skip
    """Offsets of the conflicts that the words were in, and which were open then. None when there
    is a word without a conflict: then somebody else said it."""
    found = []
    for field, offered in words:
        body = ConflictBody(
            asset_class=0, field=field, held="", held_source="", offered=offered,
            offered_source=source,
        )  # fmt: skip
        raised = state.raised_before(space, id, body)
        if raised is None or raised[0] > events[-1].offset:
            return None
        offset, acknowledged = raised
        if acknowledged is None or acknowledged > events[-1].offset:
            found.append(offset)
    return tuple(found)
