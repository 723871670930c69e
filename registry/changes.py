"""What changed between two heads (`diff`), and which event set what is known now (`blame`).

Both fold an entity's events into fields, and keep for each field the event since which it has had
its value. `diff` folds only the events between the heads, over the state before them, which the
first one's back-link leads to: its cost follows those events, at any size of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Final, NamedTuple

from alphapulse.log import (
    ASPECTS,
    KIND_NAMES,
    VENUE_KINDS,
    AspectBody,
    Event,
    EventLog,
    InvalidInput,
    Kind,
    Pattern,
    VenueBody,
    is_during,
    where,
)
from alphapulse.projections import DATA_KINDS, backwards

from .fields import Fields, Shown, fields_of
from .held import FactBody
from .valid_time import holds_from
from .venue_fields import venue_fields


class Change(NamedTuple):
    """A field that has another value after than before; None = not known, or no such thing."""

    id: int
    """Of the instrument; its listings, groups and relations are fields of it. Or of the venue; what
    is said of its endpoints, fees, hours and status are fields of it."""
    field: str
    before: Shown | None
    after: Shown | None
    offset: int
    """Of the event that set the value of after, or ended that of before."""
    venue: str = ""
    """Its key, when the field is one of a venue."""


class Blame(NamedTuple):
    """A field of an instrument or a venue as it stands, and the event that set it."""

    field: str
    value: Shown
    offset: int
    recorded: int
    """ns since 1970 UTC."""
    source: str
    """Empty when nobody was named."""


_VENUE_KINDS: Final = VENUE_KINDS - {Kind.VENUE_PERFORMANCE}
"""A window of performance does not take the place of the one before it."""
_KINDS: Final = DATA_KINDS | _VENUE_KINDS


def between(
    stop_of: Callable[[int | str, str], int], a: int | str, b: int | str
) -> tuple[int, int]:
    """The heads that two points mean. stop_of: `Registry.stop_of`, with what is being done.

    Raises InvalidInput when `a` is after `b`.
    """
    start, stop = stop_of(a, "reading A"), stop_of(b, "reading B")
    if start > stop:
        raise InvalidInput(
            "comparing states", problem="the first is after the second", cure="swap them",
            first=a, second=b,
        )  # fmt: skip
    return start, stop


def changes(
    log: EventLog, start: int, stop: int, venue_id: Callable[[str], int],
    instruments: Sequence[int] = (), venues: Sequence[str] = (),
) -> Iterator[Change]:  # fmt: skip
    """What the events from `start` to `stop` changed, of these instruments and venues or of all.

    venue_id: of the venue with a key. Entities come in the order in which they were first touched.
    Cost: 30 µs for each event that says something of them, and some 200 bytes.
    """
    touched: dict[tuple[int, int], list[int]] = {}
    for event in log.read(start, stop, _wanted(instruments, venues)):
        touched.setdefault((event.space, event.entity), []).append(event.offset)
    for offsets in touched.values():
        events = [log.event(offset) for offset in offsets]
        yield from _changes_of(_before(log, events[0]), events, venue_id)


def _wanted(instruments: Sequence[int], venues: Sequence[str]) -> Pattern:
    if not instruments and not venues:
        return where(kind=_names(_KINDS))
    of_these = [where(kind=_names(DATA_KINDS), instrument=instruments)] if instruments else []
    if venues:
        of_these.append(where(kind=_names(_VENUE_KINDS), venue=venues))
    return reduce(or_, of_these)


def _names(kinds: Iterable[int]) -> list[str]:
    return [KIND_NAMES[kind] for kind in sorted(kinds)]


def _before(log: EventLog, event: Event) -> Fields:
    """What was known of the event's entity before it."""
    earlier = () if event.previous is None else backwards(log, event.previous, event.entity)
    known = next((each for each in earlier if each.kind in _KINDS), None)
    return {} if known is None else _said(known)


def _changes_of(
    before: Fields, events: Sequence[Event], venue_id: Callable[[str], int]
) -> Iterator[Change]:
    now, setters = dict(before), dict[str, Event]()
    for event in events:
        _say(now, _said(event), event, setters)
    body = events[-1].body
    venue = "" if isinstance(body, FactBody) else _of_venue(events[-1]).venue
    id = fields_of(body)[0] if isinstance(body, FactBody) else venue_id(venue)
    for field in {**before, **now}:
        old, new = before.get(field), now.get(field)
        if old != new:
            yield Change(id, field, old, new, setters[field].offset, venue)


def _said(event: Event) -> Fields:
    body = event.body
    return fields_of(body)[1] if isinstance(body, FactBody) else venue_fields(_of_venue(event))


def _say(now: Fields, said: Fields, event: Event, setters: dict[str, Event]) -> None:
    """Brings `now` to what an event says: the full state. setters: who changed each field last."""
    for field in now.keys() | said.keys():
        if now.get(field) != said.get(field):
            setters[field] = event
    now.clear()
    now.update(said)


def _add(
    now: Fields, before: Fields, said: Fields, event: Event, setters: dict[str, Event]
) -> None:
    """Adds the words of an event to `now`: the fields in which it differs from the one before."""
    after = dict(now)
    for field in before.keys() | said.keys():
        if before.get(field) != said.get(field):
            setters[field] = event
            after.pop(field, None)
            if field in said:
                after[field] = said[field]
    now.clear()
    now.update((field, after[field]) for field in {**said, **after} if field in after)


def blamed(id: int, events: Iterable[Event], at: int) -> list[Blame]:
    """Of the fields that the events of one instrument left behind, without the words that are not
    true yet at a time (ns). events: oldest first, with those of its listings and relations; those
    that lead to it are fields of the other one. Cost: 25 µs for each."""
    known: dict[tuple[int, int], Fields] = {}
    before: dict[tuple[int, int], Fields] = {}
    setters: dict[str, Event] = {}
    for event in events:
        if event.kind in DATA_KINDS:
            owner, said = fields_of(_data(event))
            of = (event.space, event.entity)
            if owner == id:
                words_before = before.get(of, {})
                if not words_before or not event.is_instrument or holds_from(event) <= at:
                    _add(known.setdefault(of, {}), words_before, said, event, setters)
                before[of] = said
    return _blames(known.values(), setters)


def blamed_of_venue(events: Iterable[Event], at: int) -> list[Blame]:
    """Of the fields that a venue has at a time (ns). events: about it and its aspects, oldest
    first. Of the words on an aspect that hold then, one that begins later stands above the others,
    whenever it was said. Cost: 25 µs for each."""
    from .venues.words import word_of

    chains: dict[int, list[tuple[int, Event]]] = {}
    for event in events:
        if event.kind in _VENUE_KINDS:
            begins, until = 0, 0
            if isinstance(event.body, ASPECTS):
                begins, until = word_of(event)[:2]
            if is_during(at, begins, until):
                chains.setdefault(event.entity, []).append((begins, event))
    known, setters = [], dict[str, Event]()
    for words in chains.values():
        fields: Fields = {}
        for _, event in sorted(words, key=lambda word: (word[0], word[1].offset)):
            _say(fields, _said(event), event, setters)
        known.append(fields)
    return _blames(known, setters)


def _blames(known: Iterable[Fields], setters: Mapping[str, Event]) -> list[Blame]:
    return [
        Blame(field, value, setters[field].offset, setters[field].recorded, setters[field].source)
        for fields in known
        for field, value in fields.items()
    ]


def _data(event: Event) -> FactBody:
    body = event.body
    assert isinstance(body, FactBody)
    return body


def _of_venue(event: Event) -> VenueBody | AspectBody:
    body = event.body
    assert isinstance(body, (VenueBody, *ASPECTS))
    return body
