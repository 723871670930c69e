"""This project's own events as JSON Lines: what `alphapulse --json tail --raw` prints.

A way from one home into another that has a life of its own (for a copy there is `export`). Only
`frame_hex` is read; its CRC and its meaning are checked like any input. What is carried over is
what the other home knows now: each instrument with its status, each listing, each membership of a
group, each relation with its ratio and dates, by ordinary commands. What is not: history, who said
what (all of it is this file's word), times of recording, since when a change is valid and, of an
instrument that was changed, since when it is (the newest words would be dated back with it),
alerts, answers to requests, candidates, ids (they derive again), and that something is no longer
known. A file holds the events of one home; an event that a later one of the same entity replaces is
no row.

*How*: a first pass marks replaced events, each named as `previous` by its successor, in one bit an
offset; then a pass for each space, so that instruments come before what names them. Synthetics come
behind all others, each behind those it is made of, wherever their newest events stand. Memory is
that bit, 100 bytes for each alert or answer, which stand between an event and its successor, and
the lines of the synthetics.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alphapulse.log import (
    CLASS_NAMES,
    AlphaPulseError,
    Event,
    InstrumentBody,
    InstrumentRecord,
    InvalidInput,
    Kind,
    ListingBody,
    RelationBody,
    RelationKind,
    Space,
    Status,
)
from alphapulse.projections import DATA_KINDS
from alphapulse.registry import validation
from alphapulse.registry.commands import Command, Register
from alphapulse.registry.commands_listings import AddListing, AddToGroup
from alphapulse.registry.commands_relations import Relate
from alphapulse.registry.facts import facts_from
from alphapulse.registry.formula import components_of
from alphapulse.registry.identity import key_text
from alphapulse.registry.instruments import ORDER_FIELDS, Listing
from alphapulse.registry.periods import each_period
from alphapulse.registry.relation_rules import ratio_in, ratio_text
from alphapulse.registry.synthetics import formula_of

from .base import InputFile, Line, Refused, Relation, Row, slug
from .json_document import loads
from .said_again import UNSAID, UNSAID_CURE, Synthetic, in_order, raw, registration
from .token_list import GROUP_SIZE_BYTES_MAX

OFFSET_MAX: Final = 1 << 31
"""The marks take an eighth of it in bytes."""
SPACES: Final = (Space.INSTRUMENT, Space.LISTING, Space.RELATION)
_KEY_SHOWN_MAX: Final = 100
_DOING: Final = "reading an event"
_CURE: Final = "print it again with `alphapulse --json tail --raw`"


class EventsJsonl:
    name = "events-jsonl"
    summary = "JSON Lines of `alphapulse --json tail --raw`"
    needs = ("frame_hex",)
    marks = ("offset", "kind", "version", "recorded", "body")

    def sniff(self, path: Path, head: bytes) -> bool:
        first = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
        return first.startswith(b"{") and b'"frame_hex"' in first

    def open(self, file: InputFile) -> EventsReading:
        return EventsReading(file)


class EventsReading:
    unknown_columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self.content_hash = file.content_hash()
        self.source = slug(file.path.name.split(".")[0]) or EventsJsonl.name
        self.total = file.size_bytes * (1 + len(SPACES))
        self.done = 0
        self._replaced = bytearray()

    def rows(self, source: str) -> Iterator[Row | Relation | Refused]:
        self._mark()
        for space in SPACES:
            synthetics: list[Synthetic] = []
            for line in self._lines():
                event = _event(line)
                if isinstance(event, Refused):
                    if space == SPACES[0]:  # once, not in each pass
                        yield event
                elif (
                    event.space == space and event.kind in DATA_KINDS
                    and not self._is_replaced(event.offset)
                ):  # fmt: skip
                    for row in _rows(event, line):
                        if isinstance(row, Row) and (formula := formula_of(event.body)):
                            synthetics.append(Synthetic(event.entity, components_of(formula), row))
                        else:
                            yield row
            yield from in_order(synthetics)

    def _lines(self) -> Iterator[Line]:
        for line in self._file.lines(self.content_hash):
            self.done += line.size_bytes
            if line.data.strip():
                yield line

    def _mark(self) -> None:
        aside: dict[int, int] = {}
        """Of each event that says nothing of its entity's state, the one before it that does."""
        for line in self._lines():
            event = _event(line)
            if isinstance(event, Refused) or event.previous is None:
                continue
            before = aside.get(event.previous, event.previous)
            if event.kind not in DATA_KINDS:
                aside[event.offset] = before
                continue
            at, bit = divmod(before, 8)
            if at >= len(self._replaced):
                self._replaced.extend(bytes(at + 1 - len(self._replaced)))
            self._replaced[at] |= 1 << bit

    def _is_replaced(self, offset: int) -> bool:
        at, bit = divmod(offset, 8)
        return at < len(self._replaced) and bool(self._replaced[at] >> bit & 1)


def _event(line: Line) -> Event | Refused:
    """The event of a line, its CRC verified and its body not yet read."""
    try:
        if line.is_cut:
            raise InvalidInput(_DOING, problem=f"its line has {line.size_bytes} bytes", cure=_CURE)
        try:
            said = loads(line.data.decode("utf-8-sig" if line.number == 1 else "utf-8"))
            frame = bytes.fromhex(said["frame_hex"]) if isinstance(said, dict) else b""
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInput(_DOING, problem="it has no frame_hex", cure=_CURE) from error
        event = Event(frame)
        if len(frame) != event.size:
            raise InvalidInput(_DOING, problem="bytes follow its frame", cure=_CURE)
        if not -1 <= (-1 if event.previous is None else event.previous) < event.offset < OFFSET_MAX:
            raise InvalidInput(_DOING, problem="its offset is impossible", offset=event.offset)
    except AlphaPulseError as error:
        return Refused(f"line {line.number}", str(error), raw(line))
    return event


def _rows(event: Event, line: Line) -> list[Row | Relation | Refused]:
    """One; of a relation one for each of its periods."""
    place, is_relation = f"line {line.number}", False
    try:
        body = event.body
        if isinstance(body, RelationBody) and body.relation != RelationKind.GROUPED:
            is_relation = True
            relates = [_relate(period) for period in reversed(each_period(body))]
            return [Relation(place, relate, raw(line), _names(body)) for relate in relates]
        if isinstance(body, ListingBody):
            return [Row(place, tuple(_listings(body)), raw(line))]
        return [Row(place, (_command(event),), raw(line))]
    # ValueError: a frame can be whole and hold a number, or bytes of a text, that mean nothing.
    except (AlphaPulseError, ValueError) as error:
        return [Refused(place, str(error), raw(line), is_relation)]


def _listings(body: ListingBody) -> Iterator[AddListing]:
    """The newest period first: another one before it takes over nothing that is said of it."""
    for period in reversed(each_period(body)):
        never = validation.is_backward(period.symbol_from, period.valid_to)
        symbol, since = ("", 0) if never else (period.symbol, period.symbol_from)
        listing = Listing(
            instrument=0, venue=period.venue, symbol=symbol, currency=period.currency,
            line=period.line, primary=period.primary, valid_from=period.valid_from,
            valid_to=period.valid_to, figi=period.figi, symbol_from=since,
            **{field: getattr(period, field) for field in ORDER_FIELDS},
        )  # fmt: skip
        yield AddListing.make(listing, of=period.instrument_fingerprint)


def _command(event: Event) -> Command:
    body = event.body
    if isinstance(body, InstrumentBody):
        # Since when a later change is valid does not say since when the instrument is; and with the
        # day since which it is, the words of today would claim that they were true then.
        is_first = event.kind == Kind.INSTRUMENT_REGISTERED
        return _register(body, event.valid_from if is_first else 0)
    if isinstance(body, RelationBody) and body.relation == RelationKind.GROUPED:
        group_source, group = (
            validation.text(text, "group", GROUP_SIZE_BYTES_MAX)
            for text in (body.group_source, body.group)
        )
        return AddToGroup(body.instrument_fingerprint, group_source, group)
    raise InvalidInput(_DOING, problem=f"a {event.kind_name} of this sort is not carried over",
                       cure="say it again by hand")  # fmt: skip


def _relate(body: RelationBody) -> Relate:
    relate = Relate.make(
        body.instrument_fingerprint, RelationKind(body.relation).name, body.other_fingerprint,
        ratio=ratio_text(ratio_in(body)), valid_from=body.valid_from, valid_to=body.valid_to,
    )  # fmt: skip
    if not body.missing_key:
        return relate
    keys = (b"", body.missing_key) if body.instrument else (body.missing_key, b"")
    return relate._replace(keys=keys)


def _names(body: RelationBody) -> dict[bytes, str]:
    """By the ids that the ends have where the file comes from."""
    return {
        fingerprint: f"what is 0x{id:016x} there" if id else key_text(body.missing_key)
        for fingerprint, id in (
            (body.instrument_fingerprint, body.instrument), (body.other_fingerprint, body.other)
        )
    }  # fmt: skip


def _register(body: InstrumentBody, valid_from: int) -> Register:
    """A registration that says what the body says. Raises InvalidInput when there is none."""
    facts = facts_from(body)
    status = Status(InstrumentRecord(body.message).status).name.lower()
    register = registration(
        CLASS_NAMES[facts.asset_class], facts.values, status=status, valid_from=valid_from
    )
    if register.facts != facts:
        raise InvalidInput(
            _DOING, problem=UNSAID, key=key_text(facts.key)[:_KEY_SHOWN_MAX], cure=UNSAID_CURE
        )
    return register
