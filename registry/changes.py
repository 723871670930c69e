"""What changed between two heads (`diff`), and which event set what is known now (`blame`).

Both fold an entity's events into fields, and keep for each field the event since which it has had
its value. `diff` folds only the events between the heads, over the state before them, which the
first one's back-link leads to: its cost follows those events, at any size of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from alphapulse.log import KIND_NAMES, Event, EventLog, InvalidInput, Pattern
from alphapulse.projections import DATA_KINDS, state_before

from .fields import Fields, Shown, fields_of, id_text
from .held import FactBody
from .valid_time import holds_from


class Change(NamedTuple):
    """A field that has another value after than before; None = not known, or no such thing."""

    id: int
    """Of the instrument. Its listings, groups and relations are fields of it."""
    field: str
    before: Shown | None
    after: Shown | None
    offset: int
    """Of the event that set the value of after, or ended that of before."""


class Blame(NamedTuple):
    """A field of an instrument as it stands, and the event that set it."""

    field: str
    value: Shown
    offset: int
    recorded: int
    """ns since 1970 UTC."""
    source: str
    """Empty when nobody was named."""


_DATA: Final = f"kind={','.join(KIND_NAMES[kind] for kind in sorted(DATA_KINDS))}"


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
    log: EventLog, start: int, stop: int, instruments: Sequence[int] = ()
) -> Iterator[Change]:
    """What the events from `start` to `stop` changed, of these instruments or of all.

    Entities come in the order in which they were first touched. Cost: 30 µs for each event that
    says something of them, and some 200 bytes.
    """
    pattern = _DATA
    if instruments:
        pattern += f" instrument={','.join(id_text(id) for id in instruments)}"
    touched: dict[tuple[int, int], list[int]] = {}
    for event in log.read(start, stop, Pattern.parse(pattern)):
        touched.setdefault((event.space, event.entity), []).append(event.offset)
    for offsets in touched.values():
        events = [log.event(offset) for offset in offsets]
        yield from _changes_of(_before(log, events[0]), events)


def _before(log: EventLog, event: Event) -> Fields:
    """What was known of the event's entity before it."""
    if event.previous is None:
        return {}
    known = state_before(log, event.previous, event.offset)
    return {} if known is None else fields_of(_data(known))[1]


def _changes_of(before: Fields, events: Iterable[Event]) -> Iterator[Change]:
    now, setters, id = dict(before), dict[str, Event](), 0
    for event in events:
        id, said = fields_of(_data(event))
        _say(now, said, event, setters)
    for field in {**before, **now}:
        if before.get(field) != now.get(field):
            yield Change(id, field, before.get(field), now.get(field), setters[field].offset)


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
    return [
        Blame(field, value, setters[field].offset, setters[field].recorded, setters[field].source)
        for fields in known.values()
        for field, value in fields.items()
    ]


def _data(event: Event) -> FactBody:
    body = event.body
    assert isinstance(body, FactBody)
    return body
