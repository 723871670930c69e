"""What the audit refuses about venues, in events that no command of ours would write."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import (
    AnyBody,
    EndpointsBody,
    Event,
    FeesBody,
    HoursBody,
    InvalidInput,
    Kind,
    PerformanceBody,
    Space,
    TradingBody,
    VenueBody,
    WarningBody,
)
from alphapulse.registry.audit import Remembered
from alphapulse.registry.check import check
from alphapulse.registry.errors import IllegalEvent
from alphapulse.registry.identity import fingerprint_of, primary_id, venue_key
from alphapulse.registry.venue_state import key_of_aspect
from alphapulse.registry.venues import bundled_hours, fee_line, fee_schedule, plain
from alphapulse.registry.venues.endpoints import endpoints
from alphapulse.registry.venues.rules import plain_list, schedules
from alphapulse.registry.venues.venue import Venue, field_from, normalised
from tests.log.builders import make_frame

LINE = {"value": "0.1", "volume_from": "0"}
FEES = plain_list(schedules([fee_schedule([fee_line(LINE)], products=["spot"])]))
PLACES = plain_list(endpoints([{"kind": "rest", "address": "https://x.com"}]))
HOURS = plain(bundled_hours("XNAS"))
HOUR = 3_600 * 10**9
BODIES: dict[Kind, Any] = {
    Kind.VENUE_ENDPOINTS: EndpointsBody(
        fingerprint=b"", venue="XNAS", endpoints=tuple(PLACES)
    ),
    Kind.VENUE_FEES: FeesBody(fingerprint=b"", venue="XNAS", schedules=tuple(FEES)),
    Kind.VENUE_HOURS: HoursBody(fingerprint=b"", venue="XNAS", hours=HOURS),
    Kind.VENUE_STATUS: TradingBody(
        fingerprint=b"", venue="XNAS", status=5, valid_from=100, side="both"
    ),
    Kind.VENUE_PERFORMANCE: PerformanceBody(
        fingerprint=b"", venue="XNAS", window_from=HOUR, window_to=2 * HOUR, samples=3,
        measures={"down_ns": "0", "reject_count": "3", "reject_rate": "1", "uptime": "1"},
    ),
}  # fmt: skip


def key_of(body: Any) -> bytes:
    return venue_key(body.venue) if isinstance(body, VenueBody) else key_of_aspect(body)


class Judge:
    """An audit that is told one event after the other."""

    def __init__(self) -> None:
        self.state = Remembered(64)
        self.offset = 0

    def judge(self, kind: Kind, body: AnyBody, entity: int = 0) -> int:
        """The entity of a legal event, which is then remembered. Raises IllegalEvent."""
        if not entity:
            fingerprint = fingerprint_of(key_of(body))
            entity = primary_id(fingerprint)
            if not getattr(body, "fingerprint", b""):
                body = replace(body, fingerprint=fingerprint)
        held = self.state.entity(Space.VENUE, entity)
        previous = held.last_offset if held else None
        frame = make_frame(kind, body, offset=self.offset, entity=entity, previous=previous)
        self.state.fold(Event(frame))
        self.offset += 1
        return entity


@pytest.fixture
def judge() -> Judge:
    made = Judge()
    made.judge(Kind.VENUE_REGISTERED, VenueBody(fingerprint=b"", venue="XNAS"))
    return made


def later(body: Any, revision: int) -> Any:
    """The same word again; of a performance, about the window so many later."""
    windows = {}
    if isinstance(body, PerformanceBody):
        windows = {"window_from": revision * HOUR, "window_to": (revision + 1) * HOUR}
    return replace(body, revision=revision, **windows)


@pytest.mark.parametrize("kind", BODIES)
def test_a_legal_word_is_legal(judge: Judge, kind: Kind) -> None:
    entity = judge.judge(kind, BODIES[kind])
    judge.judge(kind, later(BODIES[kind], 2))
    judge.judge(Kind.VENUE_WARNING, WarningBody(venue="XNAS", problem="odd"), entity)
    judge.judge(kind, later(BODIES[kind], 3))


SECRET_LIKE = "https://api.example.com/v3/0123456789abcdef?token=0123456789abcdef"


def test_what_was_taken_once_stays_legal_whatever_looks_like_a_secret_later(judge: Judge) -> None:
    """Guesses judge what enters. Those of a later version must not make this log illegal."""
    with pytest.raises(InvalidInput, match="looks like a secret"):
        endpoints([{"kind": "rest", "address": SECRET_LIKE}])
    places = ({"kind": "rest", "address": SECRET_LIKE},)
    judge.judge(Kind.VENUE_ENDPOINTS, replace(BODIES[Kind.VENUE_ENDPOINTS], endpoints=places))
    with pytest.raises(InvalidInput, match="looks like a secret"):
        normalised(Venue(key="XLON", links={"web": SECRET_LIKE}))
    with pytest.raises(InvalidInput, match="looks like a secret"):
        field_from("links", {"web": SECRET_LIKE})
    linked = VenueBody(fingerprint=b"", venue="XLON", links={"web": SECRET_LIKE})
    judge.judge(Kind.VENUE_REGISTERED, linked)
    user = ({"kind": "rest", "address": "https://bob:hunter2@api.example.com"},)
    body = replace(BODIES[Kind.VENUE_ENDPOINTS], endpoints=user, revision=2)
    with pytest.raises(IllegalEvent, match="a user or a password"):
        judge.judge(Kind.VENUE_ENDPOINTS, body)


def test_a_window_is_summarised_once_and_in_order(judge: Judge) -> None:
    body = BODIES[Kind.VENUE_PERFORMANCE]
    judge.judge(Kind.VENUE_PERFORMANCE, body)
    with pytest.raises(IllegalEvent, match="before the end of one that was summarised"):
        judge.judge(Kind.VENUE_PERFORMANCE, replace(body, revision=2))


@pytest.mark.parametrize(
    "kind,changes,rule",
    [
        (Kind.VENUE_FEES, {"venue": "XLON"}, "not registered"),
        (Kind.VENUE_FEES, {"revision": 2}, "first revision"),
        (Kind.VENUE_FEES, {"counter": 1}, "counter is not that|earlier id"),
        (Kind.VENUE_FEES, {"fingerprint": bytes(16)}, "do not belong together"),
        (Kind.VENUE_FEES, {"schedules": ({"lines": [{"value": "0.10"}]},)}, "canonical form"),
        (Kind.VENUE_FEES, {"schedules": ({"lines": [{"value": 1}]},)}, "Expected"),
        (Kind.VENUE_FEES, {"schedules": ({"lines": [{"value": "1", "side": "both"}]},)},
         "canonical form"),
        (Kind.VENUE_FEES, {"schedules": ()}, "a venue has 1 to"),
        (Kind.VENUE_FEES, {"schedules": (*FEES, *FEES)}, "about spot"),
        (Kind.VENUE_FEES, {"schedules": ({**FEES[0], "more": 1},)}, "canonical form"),
        (Kind.VENUE_ENDPOINTS, {"endpoints": (*PLACES, *PLACES)}, "canonical form"),
        (Kind.VENUE_ENDPOINTS, {"endpoints": ({**PLACES[0], "secret": "x"},)}, "no such field"),
        (Kind.VENUE_ENDPOINTS, {"endpoints": ({"kind": "rest", "address": "https://u:p@x"},)},
         "user or a password"),
        (Kind.VENUE_HOURS, {"hours": {"zone": "UTC"}}, "no rule"),
        (Kind.VENUE_HOURS, {"hours": {**HOURS, "always": True}}, "open always and has"),
        (Kind.VENUE_STATUS, {"status": 7}, "status is unknown"),
        (Kind.VENUE_STATUS, {"until": 100}, "ends before it begins"),
        (Kind.VENUE_STATUS, {"side": "left"}, "about no side"),
        (Kind.VENUE_STATUS, {"listing": 7}, "without its fingerprint"),
        (Kind.VENUE_STATUS, {"listing": 7, "listing_fingerprint": bytes(16), "instrument": 1,
                             "asset_class": 3}, "listing is not registered"),
        (Kind.VENUE_PERFORMANCE, {"window_to": 1}, "another length"),
        (Kind.VENUE_PERFORMANCE, {"window_to": 2 * HOUR + 1}, "another length"),
        (Kind.VENUE_PERFORMANCE, {"window_from": 1, "window_to": HOUR + 1}, "another beginning"),
        (Kind.VENUE_PERFORMANCE, {"samples": -1}, "window is impossible"),
        (Kind.VENUE_PERFORMANCE, {"measures": {"a": "1.50"}}, "a number is missing"),
        (Kind.VENUE_PERFORMANCE, {"measures": {"down_ns": "0"}}, "follow from its sums"),
        (Kind.VENUE_PERFORMANCE, {"measures": dict.fromkeys(map(str, range(1_001)), "")}, "1000"),
        (Kind.VENUE_PERFORMANCE, {"sketches": {"ack": b"\0"}}, "its bins"),
        (Kind.VENUE_PERFORMANCE, {"listing": 7}, "without its fingerprint"),
    ],
)  # fmt: skip
def test_an_illegal_word_is_refused(
    judge: Judge, kind: Kind, changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(IllegalEvent, match=rule):
        judge.judge(kind, replace(BODIES[kind], **changes))


def test_a_status_needs_its_beginning(judge: Judge) -> None:
    with pytest.raises(IllegalEvent, match="no beginning"):
        judge.judge(Kind.VENUE_STATUS, replace(BODIES[Kind.VENUE_STATUS], valid_from=0))


def test_transitions_are_those_of_the_table(judge: Judge) -> None:
    closed = BODIES[Kind.VENUE_STATUS]
    judge.judge(Kind.VENUE_STATUS, closed)
    halted = replace(closed, status=4, valid_from=200, revision=2)
    with pytest.raises(IllegalEvent, match="closed cannot become halted"):
        judge.judge(Kind.VENUE_STATUS, halted)
    judge.judge(Kind.VENUE_STATUS, replace(halted, valid_from=50))  # nobody said what it was then
    judge.judge(Kind.VENUE_STATUS, replace(halted, valid_from=100, revision=3))  # corrects it


@pytest.mark.parametrize(
    "changes,rule",
    [
        ({"operating": "XLON"}, "XLON is not registered"),
        ({"operating": "XNGS"}, "XNGS is a segment itself"),
        ({"operating": "binance"}, "no MIC"),
        ({"kind": 99}, "canonical form"),
        ({"name": " x"}, "canonical form"),
        ({"operating": "XNCM"}, "canonical form"),
        ({"country": "usa"}, "no country"),
        ({"valid_from": 5, "valid_to": 5}, "after valid_from"),
        ({"links": {"web": "www.x.com"}}, "canonical form"),
    ],
)
def test_an_illegal_venue_is_refused(judge: Judge, changes: dict[str, Any], rule: str) -> None:
    segment = VenueBody(fingerprint=b"", venue="XNGS", operating="XNAS")
    judge.judge(Kind.VENUE_REGISTERED, segment)
    with pytest.raises(IllegalEvent, match=rule):
        judge.judge(
            Kind.VENUE_REGISTERED, replace(VenueBody(fingerprint=b"", venue="XNCM"), **changes)
        )


def test_a_venue_is_registered_once_and_amended_after(judge: Judge) -> None:
    body = VenueBody(fingerprint=b"", venue="XNAS", revision=2)
    with pytest.raises(IllegalEvent, match="its id is taken"):
        judge.judge(Kind.VENUE_REGISTERED, body)
    with pytest.raises(IllegalEvent, match="not registered"):
        judge.judge(Kind.VENUE_AMENDED, VenueBody(fingerprint=b"", venue="XLON"))
    judge.judge(Kind.VENUE_AMENDED, body)
    with pytest.raises(IllegalEvent, match="does not follow"):
        judge.judge(Kind.VENUE_AMENDED, body)


def test_who_operates_others_is_no_segment(judge: Judge) -> None:
    segment = VenueBody(fingerprint=b"", venue="XNGS", operating="XNAS")
    judge.judge(Kind.VENUE_REGISTERED, segment)
    judge.judge(Kind.VENUE_REGISTERED, VenueBody(fingerprint=b"", venue="XLON"))
    below = VenueBody(fingerprint=b"", venue="XNAS", operating="XLON", revision=2)
    with pytest.raises(IllegalEvent, match="it operates others"):
        judge.judge(Kind.VENUE_AMENDED, below)
    judge.judge(Kind.VENUE_AMENDED, replace(segment, operating="", revision=2))
    judge.judge(Kind.VENUE_AMENDED, below)


def test_a_warning_is_about_something(judge: Judge) -> None:
    with pytest.raises(IllegalEvent, match="warns of nothing"):
        judge.judge(Kind.VENUE_WARNING, WarningBody(venue="XNAS", problem="odd"), 7)


def test_the_space_is_that_of_venues() -> None:
    body = VenueBody(fingerprint=fingerprint_of(venue_key("XNAS")), venue="XNAS")
    id = primary_id(body.fingerprint)
    with pytest.raises(IllegalEvent, match="another space"):
        check(Remembered(64), Kind.VENUE_REGISTERED, Space.FEED, id, None, body)
