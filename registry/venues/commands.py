"""Commands about venues, and how each is decided; see `registry.commands`.

Who a venue is follows the rule of all that is registered: a source may say more and correct
itself, and another source that disagrees raises a conflict and changes nothing.

What a venue is like (endpoints, fees, hours, status) is said in dated words, each of which is the
whole of its aspect from a date on. They do not conflict: of those that hold at a time, the one that
begins last is right, and of two that begin together the one that was recorded later. So what is
announced for April does not change March, and a correction names the date that it corrects. Saying
the same again adds nothing; with `only_news`, which importers use, neither does a source that says
again what it said before, though another one, or a person, has spoken since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from alphapulse.log import (
    ASPECTS,
    AspectBody,
    EndpointsBody,
    FeesBody,
    HoursBody,
    InvalidInput,
    Kind,
    ListingBody,
    PerformanceBody,
    Space,
    TradingBody,
    TradingStatus,
    VenueBody,
    WarningBody,
    format_time,
)
from alphapulse.registry import validation
from alphapulse.registry.deciding import (
    DOING,
    Disagreement,
    Receipt,
    Word,
    allocate,
    announce_collision,
    endorse,
    raise_conflicts,
    weigh,
)
from alphapulse.registry.errors import UnknownListing, UnknownVenue, VenueOver
from alphapulse.registry.held import Held, Origin
from alphapulse.registry.identity import fingerprint_of, venue_fingerprint, venue_key
from alphapulse.registry.state import State
from alphapulse.registry.venue_state import key_of_aspect

from . import rules
from .endpoints import Endpoint
from .errors import NoSuchTransition, WindowClosed
from .fees import CHARGED, Doubt, FeeSchedule, doubts
from .hours import Hours, plain
from .trading_status import NEXT, SIDES
from .venue import Venue, field_from, fields_of, normalised

REASON_SIZE_BYTES_MAX: Final = 512
Spoken = TypeVar("Spoken", TradingBody, PerformanceBody)


class AddVenue(NamedTuple):
    """Registers a venue, or says again what is known of it. Make it with `make`."""

    venue: Venue
    operates_itself: bool = False
    """Its source names it as its own operator: so it is no segment, or none any more."""

    @classmethod
    def make(cls, venue: Venue) -> AddVenue:
        """Raises InvalidInput."""
        clean = normalised(venue)
        return cls(clean, bool(venue.operating) and not clean.operating)

    def unsaid(self, body: VenueBody, _now: int) -> list[tuple[str, str]]:
        """Its words that this state does not say: (field, value)."""
        said = fields_of(self.venue).items()
        return [(f, _shown(f, v)) for f, v in said if v and v != getattr(body, f)]

    def decide(self, state: State, origin: Origin) -> Receipt:
        key = venue_key(self.venue.key)
        fingerprint = fingerprint_of(key)
        held = state.find(Space.VENUE, fingerprint)
        if held is not None:
            return self._again(state, origin, held)
        counter, id, holder = allocate(state, Space.VENUE, fingerprint)
        body = VenueBody(
            fingerprint=fingerprint, venue=self.venue.key, counter=counter, **fields_of(self.venue)
        )
        _check_operating(state, body)
        metadata = origin.metadata()
        offset = state.emit(
            Kind.VENUE_REGISTERED, Space.VENUE, id, body, metadata=metadata,
            valid_from=body.valid_from,
        )  # fmt: skip
        announce_collision(state, Space.VENUE, 0, id, key, counter, holder, metadata)
        return Receipt(id, fingerprint, offset, "collision" if holder else "new")

    def _again(self, state: State, origin: Origin, held: Held) -> Receipt:
        """What is not given says nothing; the rest fills in, amends or conflicts."""
        known = _venue_body(held)
        offered = {field: value for field, value in fields_of(self.venue).items() if value}
        if self.operates_itself:
            offered["operating"] = ""
        changes: dict[str, object] = {}
        conflicts: list[Disagreement] = []
        for field, value in offered.items():
            before = getattr(known, field)
            if value == before:
                continue
            said_by = state.said_by(held, field, attrgetter(field))
            said = Disagreement(
                field, _shown(field, before), said_by.source,
                _shown(field, value) or self.venue.key, origin.source,
            )
            word = Word.CORRECTS
            if before:
                word = weigh(state, Space.VENUE, held.id, said_by, origin, said)
            if word != Word.CONFLICTS:
                changes[field] = value
            if word != Word.CORRECTS:
                conflicts.append(said.turned() if word == Word.OUTRANKS else said)
        agreed = (
            (field, attrgetter(field)) for field, value in offered.items()
            if value == getattr(known, field)
        )  # fmt: skip
        endorsed = endorse(state, Space.VENUE, held, 0, agreed, origin)
        offset, outcome = held.data_offset if endorsed is None else endorsed, "unchanged"
        if changes:
            offset, outcome = _amend(state, held, changes, origin), "amended"
        raised = raise_conflicts(state, Space.VENUE, held.id, 0, conflicts, origin)
        if outcome == "unchanged" and endorsed is None and raised:
            offset = raised[0]
        return Receipt(held.id, held.entity.fingerprint, offset, outcome, raised)


class AmendVenue(NamedTuple):
    """A person's correction: always applies. changes: field to value, None = no longer known."""

    venue: str
    changes: Mapping[str, object]

    @classmethod
    def make(cls, venue: object, changes: Mapping[str, object]) -> AmendVenue:
        """Raises InvalidInput."""
        found = {name: field_from(name, value) for name, value in changes.items()}
        return cls(validation.venue(venue), found)

    def decide(self, state: State, origin: Origin) -> Receipt:
        held = found_venue(state, self.venue)
        known, fingerprint = _venue_body(held), held.entity.fingerprint
        changes = {f: v for f, v in self.changes.items() if getattr(known, f) != v}
        if changes.get("operating") == self.venue:
            changes["operating"] = ""
        if not changes:
            return Receipt(held.id, fingerprint, held.data_offset, "unchanged")
        return Receipt(held.id, fingerprint, _amend(state, held, changes, origin), "amended")


class SetEndpoints(NamedTuple):
    venue: str
    endpoints: tuple[Endpoint, ...]
    """As `endpoints` gives them."""
    valid_from: int = 0
    only_news: bool = False

    def decide(self, state: State, origin: Origin) -> Receipt:
        body = EndpointsBody(
            fingerprint=b"", venue=self.venue, valid_from=self.valid_from,
            endpoints=tuple(rules.plain_list(self.endpoints)),
        )  # fmt: skip
        return _say(state, origin, Kind.VENUE_ENDPOINTS, body, self.only_news)

    def dated(self, since: int) -> SetEndpoints:
        return self._replace(valid_from=self.valid_from or since)


class SetFees(NamedTuple):
    venue: str
    schedules: tuple[FeeSchedule, ...]
    """As `rules.schedules` gives them."""
    valid_from: int = 0
    only_news: bool = False
    noted: tuple[tuple[int, Doubt], ...] = ()
    """What its source says that no line can: (place of the schedule, what is odd)."""

    def dated(self, since: int) -> SetFees:
        return self._replace(valid_from=self.valid_from or since)

    def doubts(self) -> list[tuple[int, Doubt]]:
        """What is odd: (place of the schedule, from 0, and of the line in it)."""
        found = [
            (number, doubt) for number, schedule in enumerate(self.schedules)
            for doubt in doubts(schedule)
        ]  # fmt: skip
        return [*self.noted, *found]

    def decide(self, state: State, origin: Origin) -> Receipt:
        body = FeesBody(
            fingerprint=b"", venue=self.venue, valid_from=self.valid_from,
            schedules=tuple(rules.plain_list(self.schedules)),
        )  # fmt: skip
        receipt = _say(state, origin, Kind.VENUE_FEES, body, self.only_news)
        unnamed = list(self._unnamed(state))
        if receipt.outcome != "unchanged":
            self._warn(state, origin, receipt, unnamed)
        return receipt._replace(odd=tuple(self.told(*each) for each in unnamed))

    def told(self, schedule: int, doubt: Doubt) -> str:
        return f"{self.venue}: schedule {schedule}, line {doubt.line}: {doubt.problem}"

    def _unnamed(self, state: State) -> Iterator[tuple[int, Doubt]]:
        """Lines that are charged in what nobody knows by that name: most often a slip, UDS."""
        for number, schedule in enumerate(self.schedules):
            for place, each in enumerate(schedule.lines):
                charged = each.charged
                is_known = charged in CHARGED or charged in validation.ISO_4217
                if not is_known and not state.is_symbol(charged):
                    problem = f"{charged} is no currency of ISO 4217, nor any instrument's symbol"
                    yield number, Doubt(place, problem)

    def _warn(
        self, state: State, origin: Origin, receipt: Receipt, unnamed: list[tuple[int, Doubt]]
    ) -> None:
        for number, doubt in [*self.doubts(), *unnamed]:
            body = WarningBody(
                venue=self.venue, problem=doubt.problem, schedule=number, line=doubt.line
            )
            state.emit(
                Kind.VENUE_WARNING, Space.VENUE, receipt.id, body, metadata=origin.metadata()
            )


class SetHours(NamedTuple):
    venue: str
    hours: Hours
    valid_from: int = 0
    """0 = they always were: rules and days name their own dates."""
    only_news: bool = False

    def decide(self, state: State, origin: Origin) -> Receipt:
        body = HoursBody(
            fingerprint=b"", venue=self.venue, hours=plain(self.hours), valid_from=self.valid_from
        )
        return _say(state, origin, Kind.VENUE_HOURS, body, self.only_news)


class SetTrading(NamedTuple):
    """Says whether a venue, or a listing there, trades. Make it with `make`."""

    venue: str
    """Empty when a listing says it."""
    status: TradingStatus
    valid_from: int
    until: int = 0
    side: str = "both"
    listing: int = 0
    reason: str = ""
    only_news: bool = False

    @classmethod
    def make(
        cls, venue: object, status: object, *, valid_from: object, until: object = 0,
        side: object = "both", listing: int = 0, reason: object = "", only_news: bool = False,
    ) -> SetTrading:  # fmt: skip
        """Raises InvalidInput."""
        begins = validation.time_ns(valid_from, "valid_from")
        if not begins:
            validation.refuse("valid_from", "a status needs its beginning", valid_from,
                              "say since when")  # fmt: skip
        ends = validation.time_ns(until, "until")
        if validation.is_backward(begins, ends):
            validation.refuse("until", "it must be after valid_from", until)
        clean = validation.stripped(side, "side").lower()
        if clean not in SIDES:
            validation.refuse("side", "there is no such one", side, f"use {', '.join(SIDES)}")
        return cls(
            "" if listing else validation.venue(venue), trading_status(status), begins, ends, clean,
            validation.id64(listing, "listing"),
            validation.text(reason, "reason", REASON_SIZE_BYTES_MAX) if reason != "" else "",
            only_news,
        )  # fmt: skip

    def decide(self, state: State, origin: Origin) -> Receipt:
        body = TradingBody(
            fingerprint=b"", venue=self.venue, status=self.status, valid_from=self.valid_from,
            until=self.until, side=self.side, reason=self.reason,
        )  # fmt: skip
        if self.listing:
            body = _of_listing(state, body, self.listing)
        return _say(state, origin, Kind.VENUE_STATUS, body, self.only_news)


class SetPerformance(NamedTuple):
    """Closes a window: says how a venue, or one listing there, behaved in it."""

    venue: str
    window_from: int
    window_to: int
    samples: int
    measures: dict[str, str]
    sketches: dict[str, bytes]
    listing: int = 0

    def decide(self, state: State, origin: Origin) -> Receipt:
        """Raises WindowClosed when one that ends later was said to be otherwise, or already."""
        body = PerformanceBody(
            fingerprint=b"", venue=self.venue, window_from=self.window_from,
            window_to=self.window_to, samples=self.samples, measures=self.measures,
            sketches=self.sketches,
        )  # fmt: skip
        if self.listing:
            body = _of_listing(state, body, self.listing)
        held = state.find(Space.VENUE, fingerprint_of(key_of_aspect(body)))
        until = 0 if held is None else state.summarised_until(held.id)
        if held and body.window_from < until and not _is_said(state, held, body, "", False):
            raise WindowClosed(
                DOING, venue=self.venue, window_from=format_time(self.window_from),
                closed_until=format_time(until),
            )  # fmt: skip
        return _say(state, origin, Kind.VENUE_PERFORMANCE, body, False)


def _of_listing(state: State, body: Spoken, listing: int) -> Spoken:
    """The word about the listing with this id, and its venue. Raises UnknownListing."""
    held = state.held(Space.LISTING, listing)
    if held is None or not isinstance(held.body, ListingBody):
        raise UnknownListing(DOING, id=f"0x{listing:016x}")
    return replace(
        body, venue=held.body.venue, listing=listing, listing_fingerprint=held.entity.fingerprint,
        instrument=held.body.instrument, asset_class=held.body.asset_class,
    )  # fmt: skip


def trading_status(value: object) -> TradingStatus:
    """Raises InvalidInput."""
    if isinstance(value, TradingStatus):
        return value
    clean = validation.stripped(value, "status").lower().replace("-", "_")
    found = {status.name.lower(): status for status in TradingStatus}
    if clean not in found:
        validation.refuse("status", "there is no such one", value, f"use {', '.join(found)}")
    return found[clean]


def found_venue(state: State, venue: str) -> Held:
    held = state.find(Space.VENUE, venue_fingerprint(venue))
    if held is None:
        raise UnknownVenue(DOING, venue=venue)
    return held


def _venue_body(held: Held) -> VenueBody:
    assert isinstance(held.body, VenueBody)
    return held.body


def _shown(field: str, value: object) -> str:
    """A value as a conflict has it."""
    if field == "kind":
        from alphapulse.log import VENUE_KIND_NAMES

        return VENUE_KIND_NAMES.get(int(str(value)), str(value)) if value else ""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={address}" for name, address in value.items())
    return str(value) if value else ""


def _amend(state: State, held: Held, changes: Mapping[str, Any], origin: Origin) -> int:
    body = replace(_venue_body(held), revision=held.entity.revision + 1, **changes)
    if validation.is_backward(body.valid_from, body.valid_to):
        raise InvalidInput(
            DOING, problem="the venue would end before it begins", venue=body.venue,
            valid_from=format_time(body.valid_from), valid_to=format_time(body.valid_to),
            cure="`alphapulse venue show KEY` shows what is known; give dates that agree",
        )  # fmt: skip
    _check_operating(state, body)
    return state.emit(
        Kind.VENUE_AMENDED, Space.VENUE, held.id, body, metadata=origin.metadata(),
        valid_from=body.valid_from,
    )  # fmt: skip


def _check_operating(state: State, body: VenueBody) -> None:
    """As `rules.flaw`, as an error that says what to do."""
    if not body.operating:
        return
    parent = state.find(Space.VENUE, venue_fingerprint(body.operating))
    problem, cure = "", ""
    if parent is None:
        problem = f"its operating MIC {body.operating} is not registered"
        cure = f"add {body.operating} first"
    elif above := _venue_body(parent).operating:
        problem = f"its operating MIC {body.operating} is a segment of {above}"
        cure = f"name {above}, if that operates it"
    elif state.operates(body.venue):
        problem = "it operates others, so it cannot be a segment"
        cure = "say first who operates those"
    if problem:
        raise InvalidInput("reading field operating", problem=problem, venue=body.venue, cure=cure)


# --- words of aspects ------------------------------------------------------------------------


def _say(
    state: State, origin: Origin, kind: Kind, said: AspectBody, only_news: bool
) -> Receipt:
    """The next word on an aspect. Its fingerprint, counter and revision are put in here."""
    venue = _venue_body(found_venue(state, said.venue))
    _check_not_over(venue, said)
    key, metadata, holder = key_of_aspect(said), origin.metadata(), None
    fingerprint = fingerprint_of(key)
    held = state.find(Space.VENUE, fingerprint)
    if held is None:
        counter, id, holder = allocate(state, Space.VENUE, fingerprint)
        revision = 1
    else:
        counter, id, revision = held.entity.counter, held.id, held.entity.revision + 1
        if _is_said(state, held, said, origin.source, only_news):
            return Receipt(id, fingerprint, held.data_offset, "unchanged")
    body = replace(said, fingerprint=fingerprint, counter=counter, revision=revision)
    if isinstance(body, TradingBody):
        _check_transition(state, id, body)
    offset = state.emit(
        kind, Space.VENUE, id, body, metadata=metadata, valid_from=_begins(body)
    )
    announce_collision(state, Space.VENUE, 0, id, key, counter, holder, metadata)
    outcome = "collision" if holder else "amended" if held else "new"
    return Receipt(id, fingerprint, offset, outcome)


def _check_not_over(venue: VenueBody, said: AspectBody) -> None:
    """A word that begins when it is recorded may begin too late, and that is not known here."""
    begins = _begins(said)
    if not venue.valid_to or 0 < begins < venue.valid_to:
        return
    if not begins and isinstance(said, HoursBody | PerformanceBody):
        return
    problem = VenueOver.problem if begins else "the venue has an end, and this says no beginning"
    raise VenueOver(
        DOING, problem=problem, venue=venue.venue, valid_to=format_time(venue.valid_to)
    )


def _begins(body: AspectBody) -> int:
    assert isinstance(body, ASPECTS)
    return int(getattr(body, "valid_from", 0))


def _is_said(
    state: State, held: Held, said: AspectBody, source: str, only_news: bool
) -> bool:
    """Whether the newest word for that date says the same; with `only_news`, the newest word of
    this very source for it. A word without a date is one for now: any word after it, of whatever
    date, may have changed what holds now."""
    begins = _begins(said)
    for body, metadata in state.words(held):
        assert isinstance(body, ASPECTS)
        is_for_it = _begins(body) == begins
        if only_news and metadata.source != source:
            continue
        if is_for_it or (not begins and not only_news and not isinstance(said, HoursBody)):
            return _words(body) == _words(said)
    return False


def _words(body: AspectBody) -> AspectBody:
    """What it says, without how it came to be said."""
    return replace(body, fingerprint=b"", counter=0, revision=1)


def _check_transition(state: State, id: int, body: TradingBody) -> None:
    before = rules.status_before(state.trading_words(id), body.valid_from)
    after = TradingStatus(body.status)
    if before is None or rules.is_allowed(before, after):
        return
    allowed = ", ".join(sorted(status.name.lower() for status in NEXT[before]))
    raise NoSuchTransition(
        DOING, problem=f"{before.name.lower()} cannot become {after.name.lower()}",
        cure=f"from there it can become {allowed}", venue=body.venue,
    )  # fmt: skip


