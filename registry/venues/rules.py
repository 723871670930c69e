"""What must be true of an event about a venue, asked by who writes it and by the audit alike.

The words of an aspect are plain maps in the log. Here they are read back, and refused unless they
are what our own readers make of them: so a log never holds two spellings of one fact, and whoever
reads it later need not check again. The verdict depends on nothing but the log: not on a zone
database, and not on the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from alphapulse.log import (
    AspectBody,
    EndpointsBody,
    FeesBody,
    HoursBody,
    InvalidInput,
    Kind,
    NotDecodable,
    PerformanceBody,
    Space,
    TradingBody,
    TradingStatus,
    VenueBody,
    WarningBody,
)
from alphapulse.registry import validation
from alphapulse.registry.check import Before, Entity, check_new, check_next, refuse
from alphapulse.registry.identity import (
    fingerprint_of,
    id_candidates,
    venue_fingerprint,
    venue_key,
)
from alphapulse.registry.venue_state import OPERATING, VenueState, key_of_aspect, status_slot

from .endpoints import endpoints
from .fees import FeeLine, FeeSchedule, fee_line, fee_schedule
from .hours import from_plain
from .performance import WINDOWS_NS, summary_of
from .plainly import plain_of
from .trading_status import NEXT, SIDES
from .venue import fields_of, normalised, venue_from

SCHEDULES_MAX = 64
MEASURES_MAX = 1_000


class State(VenueState, Protocol):
    @property
    def id_bits(self) -> int: ...

    def entity(self, space: int, id: int) -> Entity | None: ...


AnyWord = VenueBody | EndpointsBody | FeesBody | HoursBody | TradingBody | PerformanceBody


def check_venue(
    state: Before, kind: int, space: int, entity: int, held: Entity | None,
    body: VenueBody | AspectBody | WarningBody,
) -> Entity:  # fmt: skip
    """As `check_body`, of a body about a venue. Raises IllegalEvent."""
    if space != Space.VENUE:
        refuse(kind, "it is in another space")
    if isinstance(body, WarningBody):
        if held is None or not body.problem:
            refuse(kind, "it warns of nothing that was said")
        return held
    key = venue_key(body.venue) if isinstance(body, VenueBody) else key_of_aspect(body)
    if fingerprint_of(key) != body.fingerprint:
        refuse(kind, "fingerprint and key do not belong together")
    if broken := flaw(state, entity, held, body):
        refuse(kind, broken, venue=body.venue)
    slot = status_slot(body)
    if kind == Kind.VENUE_REGISTERED or (held is None and kind != Kind.VENUE_AMENDED):
        check_new(
            state, kind, space, entity, held, body.fingerprint, body.counter, body.revision
        )
        return Entity(body.fingerprint, -1, body.revision, slot, body.counter)
    held = check_next(kind, held, body.fingerprint, body.counter, body.revision)
    return held._replace(revision=body.revision, status=slot)


def flaw(state: State, entity: int, held: Entity | None, body: AnyWord) -> str:
    """What is wrong with an event about a venue; empty when nothing is. held: its entity before."""
    try:
        if isinstance(body, VenueBody):
            return _of_venue(state, held, body)
        if _registered(state, body.venue) is None:
            return "its venue is not registered"
        if isinstance(body, TradingBody):
            return _of_trading(state, entity, body)
        if isinstance(body, PerformanceBody):
            return _of_performance(state, entity, body)
        return _of_aspect(body)
    except (InvalidInput, NotDecodable) as error:
        return str(error.why)


def _registered(state: State, venue: str) -> Entity | None:
    """The entity of a venue, whatever id it got."""
    fingerprint = venue_fingerprint(venue)
    for _, id in id_candidates(fingerprint, state.id_bits):
        found = state.entity(Space.VENUE, id)
        if found is None or found.fingerprint == fingerprint:
            return found
    return None


def _of_venue(state: State, held: Entity | None, body: VenueBody) -> str:
    known = venue_from(body)
    clean = normalised(known, stored=True)
    if clean != known or fields_of(clean)["kind"] != body.kind:
        return "it is not in canonical form"
    if not body.operating:
        return ""
    parent = _registered(state, body.operating)
    if parent is None:
        return f"its operating MIC {body.operating} is not registered"
    if parent.status != OPERATING:
        return f"its operating MIC {body.operating} is a segment itself"
    if held is not None and held.status == OPERATING and state.operates(body.venue):
        return "it operates others, so it cannot be a segment"
    return ""


def _of_aspect(body: EndpointsBody | FeesBody | HoursBody) -> str:
    is_clean = True
    if isinstance(body, EndpointsBody):
        is_clean = plain_list(endpoints(body.endpoints, stored=True)) == _lists(body.endpoints)
    elif isinstance(body, FeesBody):
        schedules_from(body.schedules)
    else:
        from_plain(body.hours)
    return "" if is_clean else "it is not in canonical form"


def _of_performance(state: State, entity: int, body: PerformanceBody) -> str:
    length_ns = body.window_to - body.window_from
    if length_ns not in WINDOWS_NS.values() or body.window_from % length_ns:
        return "its window has another length than windows have, or another beginning"
    if len(body.measures) > MEASURES_MAX:
        return f"it has over {MEASURES_MAX} measures"
    if body.window_from < state.summarised_until(entity):
        return "its window is before the end of one that was summarised"
    summary_of(body)
    return _of_listing(state, body)


def _of_listing(state: State, body: TradingBody | PerformanceBody) -> str:
    if bool(body.listing) != bool(body.listing_fingerprint) or bool(body.listing) != bool(
        body.instrument
    ):
        return "it names a listing without its fingerprint and instrument, or the other way round"
    if body.listing:
        listing = state.entity(Space.LISTING, body.listing)
        if listing is None or listing.fingerprint != body.listing_fingerprint:
            return "its listing is not registered"
    return ""


def _of_trading(state: State, entity: int, body: TradingBody) -> str:
    if body.side not in SIDES:
        return "it is about no side"
    if not body.valid_from:
        return "it says no beginning"
    if validation.is_backward(body.valid_from, body.until):
        return "it ends before it begins"
    try:
        after = TradingStatus(body.status)
    except ValueError:
        return "its status is unknown"
    if problem := _of_listing(state, body):
        return problem
    words = list(state.trading_words(entity))
    before = status_before(words, body.valid_from)
    # Once it was judged by words that were corrected, too: logs of that time are legal as well.
    readings = (before, _last_before(words, body.valid_from))
    if before is None or any(is_allowed(each, after) for each in readings):
        return ""
    return f"{before.name.lower()} cannot become {after.name.lower()}"


def is_allowed(before: TradingStatus | None, after: TradingStatus) -> bool:
    """Whether a status may follow another one (None: nobody says which), or itself."""
    return before is None or after == before or after in NEXT[before]


def status_before(words: Iterable[TradingBody], at: int) -> TradingStatus | None:
    """What a status was just before `at` (ns), by all words, the newest of them first; None when
    nobody says. A word that is dated at that very instant is one that the new one corrects, and of
    those that begin together the newest has corrected the others, also where it ends sooner."""
    newest: dict[int, TradingBody] = {}
    for word in words:
        newest.setdefault(word.valid_from, word)
    return _last_before(newest.values(), at)


def _last_before(words: Iterable[TradingBody], at: int) -> TradingStatus | None:
    """Of the words that hold just before `at` (ns) the one that begins last; of those that begin
    together, the first."""
    known = (
        word for word in words if word.valid_from < at and not (word.until and word.until < at)
    )
    found = max(known, key=lambda word: word.valid_from, default=None)
    return None if found is None else TradingStatus(found.status)


# --- plain forms -----------------------------------------------------------------------------


def plain_list(values: Iterable[msgspec.Struct]) -> list[dict[str, Any]]:
    """As the log has them: maps without what is at its default, lists, text."""
    return [plain_of(value) for value in values]


def _lists(value: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of maps that may hold tuples."""
    found: list[dict[str, Any]] = msgspec.msgpack.decode(msgspec.msgpack.encode(list(value)))
    return found


def schedules(given: Iterable[FeeSchedule]) -> tuple[FeeSchedule, ...]:
    """In one order whatever theirs. Raises InvalidInput when two are about one product."""
    found = sorted(given, key=lambda each: each.products)
    if not 0 < len(found) <= SCHEDULES_MAX:
        validation.refuse("schedules", f"a venue has 1 to {SCHEDULES_MAX}", len(found))
    named: set[str] = set()
    for each in found:
        for product in each.products or ("",):
            if product in named:
                what = product or "everything that no other one names"
                validation.refuse("schedules", f"two of them are about {what}", product,
                                  "put their lines into one")  # fmt: skip
            named.add(product)
    return tuple(found)


def schedules_from(given: Iterable[Mapping[str, Any]]) -> tuple[FeeSchedule, ...]:
    """What `plain_list` gave. Raises InvalidInput, also for what is not canonical."""
    given = _lists(given)
    try:
        read = [msgspec.convert(each, FeeSchedule) for each in given]
    except msgspec.ValidationError as error:
        raise InvalidInput("reading fees", problem=str(error)) from error
    found = schedules([
        fee_schedule(
            [fee_line(_given(line)) for line in each.lines], products=each.products,
            volume_unit=each.volume_unit, volume_days=each.volume_days,
        )
        for each in read
    ])  # fmt: skip
    if plain_list(found) != given:
        raise InvalidInput(
            "reading fees", problem="they are not in canonical form",
            cure="write what `fee_schedule` gives",
        )  # fmt: skip
    return found


def _given(line: FeeLine) -> dict[str, object]:
    return msgspec.structs.asdict(line)


