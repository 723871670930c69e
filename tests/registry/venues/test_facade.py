"""Venues as events: who they are, and what they are like as of both times."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path
from unittest import mock

import pytest

from alphapulse.log import InvalidInput, Kind, TradingStatus, parse_time
from alphapulse.registry import (
    Equity,
    Listing,
    Registry,
    RequestReused,
    SpotPair,
    UnknownInstrument,
)
from alphapulse.registry.audit import audit_meaning, audit_views
from alphapulse.registry.commands import Command
from alphapulse.registry.venues import (
    FeeSchedule,
    FeesUnknown,
    FeeUnknown,
    HoursUnknown,
    Phase,
    UnknownVenue,
    VenueOver,
    bundled_hours,
    define,
    fee_line,
    fee_schedule,
    rule,
)
from alphapulse.registry.venues.commands import AddVenue, SetFees
from alphapulse.registry.venues.rules import schedules
from alphapulse.registry.venues.venue import Venue
from tests.crash.children import Child, Hear, Say
from tests.registry.homes import receipts, recorded_at, unit

OPEN, AUCTION, HALTED, CLOSED = (
    TradingStatus.OPEN, TradingStatus.AUCTION, TradingStatus.HALTED, TradingStatus.CLOSED
)  # fmt: skip
ALWAYS = bundled_hours("always")
PAIR = SpotPair(venue="binance", native_id="BTCUSDT", base="BTC", quote="USDT")
XNAS = Venue(key="XNAS", name="Nasdaq", kind="exchange", country="US", currency="USD")
BINANCE = Venue(key="binance", kind="crypto_exchange")


def flat(value: str, *more: str) -> FeeSchedule:
    return fee_schedule([fee_line({"value": value})], products=more)


# Who there is


def test_a_venue_is_what_was_said_of_it(registry: Registry) -> None:
    venues = registry.venues
    links = {"web": "www.nasdaq.com", "api": "https://api.nasdaq.com/v1"}
    receipt = venues.add(
        Venue(key="XNAS", operating="XNAS", name=" Nasdaq ", kind="Exchange", country="US",
              currency="USD", lei="549300L8X1Q78ERXFD06", links=links, valid_from="1971-02-08"),
        source="iso",
    )  # fmt: skip
    assert receipt.outcome == "new"
    found = venues.get("XNAS")
    assert found == Venue(
        key="XNAS", name="Nasdaq", kind="exchange", country="US", currency="USD",
        lei="549300L8X1Q78ERXFD06", valid_from=parse_time("1971-02-08"),
        links={"api": "https://api.nasdaq.com/v1", "web": "https://www.nasdaq.com"},
    )  # fmt: skip
    assert (found.mic, found.slug, found.environment, found.operating_mic) == (
        "XNAS", "", "live", "XNAS",
    )  # fmt: skip
    venues.add(Venue(key="Binance:TEST"))
    test = venues.get("binance:test")
    assert test is not None and venues.get("binance") is None
    assert (test.mic, test.slug, test.environment, test.operating_mic) == (
        "", "binance", "test", "",
    )  # fmt: skip
    assert [venue.key for venue in venues.all()] == ["XNAS", "binance:test"]
    assert [venue.key for venue in venues.all(country="US", kind="exchange")] == ["XNAS"]


@pytest.mark.parametrize(
    "fields,what",
    [
        ({"key": "XNAS", "kind": "bazaar"}, "kind"),
        ({"key": "XNAS", "country": "us"}, "country"),
        ({"key": "XNAS", "country": "ZZ"}, "country"),
        ({"key": "XNAS", "lei": "549300L8X1Q78ERXFD07"}, "check digit"),
        ({"key": "XNAS", "operating": "nasdaq"}, "no MIC"),
        ({"key": "binance", "operating": "XNAS"}, "only a MIC"),
        ({"key": "XNAS", "valid_from": "2026-01-01", "valid_to": "2026-01-01"}, "after"),
        ({"key": "XNAS", "links": {"api": "https://u:p@x.com"}}, "user or a password"),
        ({"key": "XNAS", "links": {"api": "ftp://x.com"}}, "begins with"),
        ({"key": "not a venue"}, "neither a MIC nor a slug"),
        ({"key": "XNAS:test"}, "no environment"),
    ],
)
def test_a_bad_venue_is_refused(
    registry: Registry, fields: dict[str, object], what: str
) -> None:
    with pytest.raises(InvalidInput, match=what):
        registry.venues.add(Venue(**fields))  # type: ignore[arg-type]  # bad ones
    assert registry.log.head == 0


def test_a_segment_needs_an_operating_venue_that_is_none(registry: Registry) -> None:
    venues = registry.venues
    with pytest.raises(InvalidInput, match=r"XNAS is not registered .*\(add XNAS first\)"):
        venues.add(Venue(key="XNGS", operating="XNAS"))
    assert registry.log.head == 0
    venues.add(XNAS)
    venues.add(Venue(key="XNGS", operating="XNAS"))
    with pytest.raises(InvalidInput, match="XNGS is a segment of XNAS"):
        venues.add(Venue(key="XNCM", operating="XNGS"))
    venues.add(Venue(key="XLON"))
    with pytest.raises(InvalidInput, match="operates others"):
        venues.amend("XNAS", operating="XLON")
    assert [venue.key for venue in venues.segments("XNAS")] == ["XNGS"]
    venues.amend("XNGS", operating="XLON")
    assert (venues.segments("XNAS"), venues.segments("XLON")[0].key) == ([], "XNGS")
    venues.amend("XNAS", operating="XLON")  # it operates nobody by now
    assert {venue.key for venue in venues.segments("XLON")} == {"XNGS", "XNAS"}
    assert audit_meaning(registry.log).ok


def test_sources_add_correct_and_contradict(registry: Registry) -> None:
    venues = registry.venues
    first = venues.add(XNAS, source="iso")
    assert venues.add(XNAS, source="other")[2:4] == (first.offset, "unchanged")
    filled = venues.add(Venue(key="XNAS", lei="549300L8X1Q78ERXFD06"), source="other")
    assert filled.outcome == "amended"
    against = venues.add(Venue(key="XNAS", name="NASDAQ", kind="mtf"), source="other")
    assert (against.outcome, len(against.conflicts)) == ("unchanged", 2)
    said = [event.body for event, _ in registry.alerts()]
    assert [(body.field, body.held, body.offered) for body in said] == [  # type: ignore[union-attr]
        ("name", "Nasdaq", "NASDAQ"), ("kind", "exchange", "mtf"),
    ]  # fmt: skip
    assert venues.add(Venue(key="XNAS", name="NASDAQ"), source="iso").outcome == "amended"
    assert venues.amend("XNAS", lei=None, name="Nasdaq").outcome == "amended"
    found = venues.get("XNAS")
    assert found is not None and (found.name, found.lei) == ("Nasdaq", "")
    was = venues.get("XNAS", known=filled.offset)
    assert was is not None and was.lei and venues.get("XNAS", known="2020-01-01") is None
    with pytest.raises(UnknownVenue):
        venues.amend("XLON", name="London")
    assert audit_meaning(registry.log).ok and audit_views(registry.log).ok


def test_a_request_is_told_the_same_again(registry: Registry) -> None:
    venues = registry.venues
    first = venues.add(XNAS, request_id="a")
    assert venues.add(XNAS, request_id="a") == first
    with pytest.raises(RequestReused):
        venues.add(BINANCE, request_id="a")
    odd = fee_schedule([fee_line({"value": "9"})])
    fees = venues.set_fees("XNAS", odd, request_id="b")
    head = registry.log.head
    assert venues.set_fees("XNAS", odd, request_id="b") == fees and fees.outcome == "new"
    assert registry.log.head == head
    assert venues.set_fees("XNAS", flat("0.2"), request_id="c").outcome == "amended"
    with pytest.raises(InvalidInput, match="must say when"):
        venues.set_status("XNAS", "halted", request_id="d")


def test_ids_that_collide_are_told_apart(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home", durability="relaxed", id_bits=8) as registry:
        outcomes = [registry.venues.add(Venue(key=f"v{number}")).outcome for number in range(40)]
        assert "collision" in outcomes
        for number in range(40):
            registry.venues.set_hours(f"v{number}", ALWAYS)
        assert all(registry.venues.is_open(f"v{number}", 0) for number in range(40))
        assert [venue.key for venue in registry.venues.all()] == [f"v{n}" for n in range(40)]
        assert audit_meaning(registry.log).ok and audit_views(registry.log).ok




# As of both times


def test_a_fee_that_is_announced_is_known_before_it_holds(registry: Registry) -> None:
    """Must show 5: said in March, for April."""
    venues = registry.venues
    with recorded_at("2026-01-02"):
        venues.add(BINANCE)
        pair = registry.register(PAIR).id
        venues.set_fees("binance", flat("0.1"), valid_from="2026-01-01")
    with recorded_at("2026-03-10"):
        announced = venues.set_fees("binance", flat("0.2"), valid_from="2026-04-01")

    def fee(at: str, known: str | int | None = None) -> int:
        quote = venues.fee("binance", pair, "taker", 1, 1000, at=at, known=known)
        assert quote.amount.denominator == 1
        return quote.amount.numerator

    assert (fee("2026-03-20"), fee("2026-04-20")) == (1, 2)
    assert fee("2026-03-31T23:59:59.999999999Z") == 1 and fee("2026-04-01") == 2
    assert (fee("2026-03-20", "2026-02-15"), fee("2026-04-20", "2026-02-15")) == (1, 1)
    assert (fee("2026-03-20", "2026-03-15"), fee("2026-04-20", "2026-03-15")) == (1, 2)
    assert fee("2026-04-20", announced.offset - 1) == 1
    with pytest.raises(FeesUnknown):
        fee("2025-12-31")
    with pytest.raises(FeesUnknown):
        fee("2026-04-20", "2026-01-01")
    # A correction of what held in February leaves the announcement alone.
    with recorded_at("2026-05-01"):
        venues.set_fees("binance", flat("0.3"), valid_from="2026-02-01")
    assert [fee(f"2026-0{month}-15") for month in (1, 2, 4)] == [1, 3, 2]
    assert fee("2026-02-15", "2026-04-30") == 1


def test_a_halt_that_was_recorded_late_shows_in_known_time_only(registry: Registry) -> None:
    """Must show 5: it began at ten, and nobody wrote it down before three."""
    venues = registry.venues
    with recorded_at("2026-03-02T08:00:00Z"):
        venues.add(XNAS)
        venues.set_status("XNAS", "open", valid_from="2026-03-02T08:00:00Z")
    with recorded_at("2026-03-02T14:00:00Z"):
        venues.set_status("XNAS", "closed", valid_from="2026-03-02T14:00:00Z")
    with recorded_at("2026-03-02T15:00:00Z"):
        venues.set_status(
            "XNAS", "halted", valid_from="2026-03-02T10:00:00Z", until="2026-03-02T10:30:00Z",
            reason="storm",
        )  # fmt: skip

    def status(at: str, known: str | None = None) -> TradingStatus:
        time = None if known is None else f"2026-03-02T{known}:00Z"
        return venues.status("XNAS", at=f"2026-03-02T{at}:00Z", known=time).status

    assert status("10:15") == HALTED and status("10:15", known="15:00") == HALTED
    assert status("10:15", known="14:59") == OPEN
    assert [status(at) for at in ("09:59", "10:00", "10:29", "10:30", "13:59", "14:00")] == [
        OPEN, HALTED, HALTED, OPEN, OPEN, CLOSED,
    ]  # fmt: skip
    found = venues.status("XNAS", at="2026-03-02T10:15:00Z")
    assert (found.reason, found.scope, found.source) == ("storm", "venue", "operator")
    assert found.until == parse_time("2026-03-02T10:30:00Z")


# Hours


def test_hours_are_unknown_until_they_are_said(registry: Registry) -> None:
    venues = registry.venues
    with pytest.raises(UnknownVenue):
        venues.is_open("XTKS")
    venues.add(Venue(key="XTKS"))
    with pytest.raises(HoursUnknown):
        venues.is_open("XTKS")
    assert not venues.has_hours("XTKS")
    receipt = venues.set_hours("XTKS")
    assert venues.set_hours("XTKS")[2:4] == (receipt.offset, "unchanged")
    lunch = parse_time("2026-11-24T12:00:00+09:00")
    assert venues.phase_at("XTKS", lunch) is Phase.BREAK and not venues.is_open("XTKS", lunch)
    assert venues.is_open("XTKS", lunch, "break") and venues.is_open("XTKS", "2026-11-24T01:00Z")
    assert venues.until("XTKS", lunch) == parse_time("2026-11-24T12:30:00+09:00")
    assert venues.next_open("XTKS", lunch) == parse_time("2026-11-25T09:00:00+09:00")
    assert venues.next_close("XTKS", lunch) == parse_time("2026-11-24T15:30:00+09:00")
    week = [each.date for each in venues.sessions("XTKS", "2026-11-22", "2026-11-26")]
    assert week == ["2026-11-24", "2026-11-25"]  # the 23rd is a holiday
    with pytest.raises(HoursUnknown):
        venues.is_open("XTKS", lunch, known=receipt.offset - 1)
    assert venues.is_open("XTKS", parse_time("2015-01-13T01:00Z"))
    with pytest.raises(InvalidInput, match="none come with"):
        venues.set_hours("kraken")


def test_hours_that_change_are_joined(registry: Registry) -> None:
    venues = registry.venues
    venues.add(Venue(key="v"))
    early = define("UTC", [rule("continuous", "mon-fri", "08:00", "12:00")])
    late = define("UTC", [rule("continuous", "mon-fri", "10:00", "14:00")])
    venues.set_hours("v", early, valid_from="2026-06-01")
    change = "2026-06-04T11:00:00Z"  # a Thursday, in the middle of a session
    venues.set_hours("v", late, valid_from=change)
    assert venues.is_open("v", "2026-06-04T08:30Z") and venues.is_open("v", "2026-06-04T13:30Z")
    assert venues.next_close("v", "2026-06-04T09:00Z") == parse_time("2026-06-04T14:00Z")
    assert venues.next_open("v", "2026-06-04T09:00Z") == parse_time("2026-06-05T10:00Z")
    assert venues.next_open("v", "2026-06-03T09:00Z") == parse_time("2026-06-04T08:00Z")
    assert venues.until("v", "2026-06-04T09:00Z") == parse_time("2026-06-04T14:00Z")
    assert venues.until("v", "2026-06-03T13:00Z") == parse_time("2026-06-04T08:00Z")
    found = list(venues.sessions("v", "2026-06-03T09:00Z", "2026-06-06"))
    assert [(each.date, each.open) for each in found] == [
        ("2026-06-03", parse_time("2026-06-03T08:00Z")),
        ("2026-06-04", parse_time("2026-06-04T08:00Z")),  # by the hours that were right then
        ("2026-06-05", parse_time("2026-06-05T10:00Z")),
    ]  # fmt: skip
    noon = define("UTC", [rule("continuous", "mon-fri", "00:00", "24:00")])
    venues.set_hours("v", noon, valid_from="2026-06-09T07:00Z")  # closed until then
    assert venues.until("v", "2026-06-09T06:00Z") == parse_time("2026-06-09T07:00Z")
    with pytest.raises(HoursUnknown):
        venues.is_open("v", "2026-05-29T09:00Z")
    before = registry.log.head - 3
    assert not venues.is_open("v", "2026-06-04T13:30Z", known=before)


# Fees


def test_fees_are_those_of_the_product(registry: Registry) -> None:
    venues = registry.venues
    venues.add(BINANCE)
    pair = registry.register(PAIR).id
    venues.set_fees("binance", flat("1", "spot"), flat("2", "swap"))
    quote = venues.fee("binance", pair, "maker", "0.5", "100")
    assert (quote.amount, quote.currency, quote.rate, quote.line) == (
        Fraction(1, 2), "USDT", "1 %", 0,
    )  # fmt: skip
    share = registry.register(Equity(isin="US0378331005", currency="USD")).id
    with pytest.raises(FeeUnknown, match="no schedule is about this product"):
        venues.fee("binance", share, "taker", 1, 1)
    with pytest.raises(UnknownInstrument):
        venues.fee("binance", 1, "taker", 1, 1)
    with pytest.raises(UnknownVenue):
        venues.fee("kraken", pair, "taker", 1, 1)
    with pytest.raises(InvalidInput, match="two of them are about spot"):
        venues.set_fees("binance", flat("1", "spot"), flat("2", "spot", "swap"))


def test_a_share_is_paid_in_the_currency_of_its_listing(registry: Registry) -> None:
    venues = registry.venues
    venues.add(Venue(key="XETR"))
    id = registry.register(Equity(isin="US0378331005", currency="USD")).id
    venues.set_fees("XETR", flat("0.1"))
    assert venues.fee("XETR", id, "taker", 1, 1).currency == "USD"
    registry.add_listing(Listing(instrument=id, venue="XETR", currency="EUR"))
    assert venues.fee("XETR", id, "taker", 1, 1).currency == "EUR"
    charges = venues.charges("XETR", id, "taker", 1, 1)
    assert [charge.currency for charge in charges] == ["EUR"]


def test_odd_fees_are_warned_of_by_row_and_hold(registry: Registry) -> None:
    venues = registry.venues
    venues.add(BINANCE)
    lines = [
        fee_line({"side": "taker", "value": value, "volume_from": start})
        for value, start in (("0.1", "0"), ("0.2", "100"), ("0.05", "1000"))
    ]
    receipt = venues.set_fees("binance", fee_schedule(lines))
    (warning,) = venues.warnings(receipt.offset)
    assert (warning.schedule, warning.line) == (0, 1) and "more than 0.1" in warning.problem
    kinds = [event.kind for event in registry.read(pattern="kind=venue.warning venue=binance")]
    assert kinds == [Kind.VENUE_WARNING]
    assert venues.set_fees("binance", fee_schedule(lines)).outcome == "unchanged"
    assert venues.set_fees("binance", flat("0.1")).outcome == "amended"
    assert audit_meaning(registry.log).ok and audit_views(registry.log).ok


# Status


def test_the_strictest_of_venue_listing_and_side_applies(registry: Registry) -> None:
    venues = registry.venues
    venues.add(XNAS)
    id = registry.register(Equity(isin="US0378331005", symbol="AAPL")).id
    listing = registry.add_listing(Listing(instrument=id, venue="XNAS", symbol="AAPL")).id
    noon = "2026-03-02T12:00:00Z"

    def now(what: str | int, side: str = "both") -> TradingStatus:
        return venues.status(what, side, noon).status

    assert now("XNAS") == now(listing) == OPEN
    venues.set_status(listing, "halted", side="sell", valid_from="2026-03-02")
    assert (now(listing), now(listing, "sell"), now(listing, "buy")) == (HALTED, HALTED, OPEN)
    assert now("XNAS") == OPEN
    venues.set_status("XNAS", "closed", valid_from="2026-03-02")
    assert now(listing, "buy") == now(listing, "sell") == CLOSED
    assert venues.status(listing, at=noon).scope == "venue"
    venues.set_status("XNAS", "auction", valid_from="2026-03-02T11:00:00Z")
    assert (now(listing, "buy"), now(listing, "sell")) == (AUCTION, HALTED)
    assert venues.status(listing, at=noon)[1:3] == ("listing", "sell")
    events = [event.kind_name for event in registry.history(id)]
    assert events.count("venue.status") == 1
    assert len(list(registry.read(pattern=f"kind=venue.status instrument={id:#x}"))) == 1


def test_with_known_alone_a_question_is_about_that_moment(registry: Registry) -> None:
    venues = registry.venues
    with recorded_at("2026-03-02T10:00:00Z"):
        venues.add(XNAS)
    with recorded_at("2026-03-02T10:00:01Z"):
        halt = venues.set_status("XNAS", "halted", valid_from="2026-03-02T10:00:01Z").offset
    with recorded_at("2026-03-02T10:00:05Z"):
        venues.set_status("XNAS", "open", valid_from="2026-03-02T10:00:05Z")
    assert venues.status("XNAS").status is OPEN
    for known in (halt, "2026-03-02T10:00:03Z"):
        assert venues.status("XNAS", known=known).status is HALTED
    assert venues.status("XNAS", at="2026-03-02T10:00:00Z", known=halt).status is OPEN


def test_what_is_over_is_said_nothing_of(registry: Registry) -> None:
    registry.venues.add(Venue(key="XOLD", valid_to="2020-01-01"))
    with pytest.raises(VenueOver):
        registry.venues.set_status("XOLD", "halted", valid_from="2020-01-01")
    with pytest.raises(VenueOver, match="says no beginning"):
        registry.venues.set_fees("XOLD", flat("1"))
    registry.venues.set_fees("XOLD", flat("1"), valid_from="2019-01-01")
    registry.venues.set_status("XOLD", "halted", valid_from="2019-01-01")
    registry.venues.set_hours("XOLD", ALWAYS)
    with pytest.raises(UnknownVenue):
        registry.venues.set_hours("XLON")


def test_equal_facts_have_equal_bytes(registry: Registry) -> None:
    """However they were spelt, and whether a default was said or left out."""
    registry.venues.add(BINANCE)
    said = ("".join(("bo", "th")), "".join(("per", "cent")), "".join(("un", "known")))
    full = {"side": said[0], "basis": said[1], "confidence": said[2], "volume_from": "0.0"}
    short = fee_schedule([fee_line({"value": "0.10"})])
    registry.venues.set_fees("binance", short)
    long = fee_schedule([fee_line({"value": "0.1", **full})])
    assert registry.venues.set_fees("binance", long).outcome == "unchanged"
    (event,) = registry.read(pattern="kind=venue.fees")
    assert event.body.schedules == ({"lines": [{"value": "0.1"}]},)  # type: ignore[union-attr]
    place = {"kind": "rest", "address": "https://x.com", "limits": [{"count": 5}]}
    registry.venues.set_endpoints("binance", [place])
    again = {**place, "environment": "LIVE", "limits": [{"count": "5.0", "seconds": "1.0"}]}
    assert registry.venues.set_endpoints("binance", [again]).outcome == "unchanged"


def test_endpoints_are_dated(registry: Registry) -> None:
    venues = registry.venues
    venues.add(BINANCE)
    one = [{"kind": "rest", "address": "https://api.binance.com"}]
    venues.set_endpoints("binance", one, valid_from="2026-01-01")
    venues.set_endpoints("binance", [], valid_from="2026-02-01")
    (found,) = venues.endpoints("binance", "2026-01-15")
    assert found.address == "https://api.binance.com"
    assert venues.endpoints("binance", "2026-02-15") == venues.endpoints("binance", 0) == ()


def test_endpoints_are_read_as_they_were_taken(registry: Registry) -> None:
    registry.venues.add(BINANCE)
    address = "https://api.binance.com/?token=hunter2"
    with mock.patch("alphapulse.registry.venues.endpoints.check_no_secret"):  # a version before
        registry.venues.set_endpoints("binance", [{"kind": "rest", "address": address}])
    (found,) = registry.venues.endpoints("binance")
    assert found.address == address and audit_meaning(registry.log).ok


# Caches


def test_what_is_written_is_seen_by_warm_caches(registry: Registry) -> None:
    venues = registry.venues
    venues.add(BINANCE)
    pair = registry.register(PAIR).id
    venues.set_fees("binance", flat("0.1"), valid_from="2020-01-01")
    venues.set_hours("binance", ALWAYS)
    assert venues.is_open("binance", 5) and not venues.status("binance", at=5).scope
    assert venues.fee("binance", pair, "taker", 1, 1000).amount == 1
    venues.set_status("binance", "down", valid_from="1960-01-01")
    assert venues.status("binance", at=5).status == TradingStatus.DOWN
    venues.set_fees("binance", flat("0.5"), valid_from="2020-01-01")
    assert venues.fee("binance", pair, "taker", 1, 1000).amount == 5
    registry.rebuild(["venues"])
    venues.set_fees("binance", flat("0.7"), valid_from="2020-01-01")
    assert venues.fee("binance", pair, "taker", 1, 1000).amount == 7
    assert venues.is_open("binance", 5)


def test_a_venue_that_is_not_registered_has_no_aspects(registry: Registry) -> None:
    with pytest.raises(UnknownVenue):
        registry.venues.set_fees("binance", flat("1"))
    assert registry.log.head == 0


def test_a_mic_in_small_letters_is_another_venue_and_told(registry: Registry) -> None:
    registry.venues.add(XNAS)
    for ask in (registry.venues.status, registry.venues.is_open, registry.venues.schedules):
        with pytest.raises(UnknownVenue) as caught:
            ask("xnas")
        assert caught.value.advice.startswith("a MIC has capitals: XNAS; else register it first")
    with pytest.raises(UnknownVenue) as caught:
        registry.venues.is_open("kraken")
    assert caught.value.advice.startswith("register it first")


def test_what_another_process_writes_is_seen(tmp_path: Path) -> None:
    """By one word of the view's header, and by nothing else."""
    home = tmp_path / "home"

    def write(say: Say, hear: Hear) -> None:
        with Registry.open(home, durability="relaxed") as registry:
            registry.venues.add(BINANCE)
            say("ready")
            while (line := hear()) != "end":
                since = {"valid_from": "1960-01-01"}
                if line == "down":
                    registry.venues.set_status("binance", "down", **since)
                else:
                    registry.venues.set_hours("binance", ALWAYS)
                say("done")

    with Child(write) as child:
        assert child.hear() == "ready"
        with Registry.open(home, mode="r") as registry:
            venues = registry.venues
            assert not venues.has_hours("binance", 5)
            assert venues.status("binance", at=5).status == OPEN
            for line in ("hours", "down"):
                child.say(line)
                assert child.hear() == "done"
            assert venues.is_open("binance", 5)
            assert venues.status("binance", at=5).status == TradingStatus.DOWN
        child.say("end")
        assert child.wait() == 0


def test_coroutines_write_too(registry: Registry) -> None:
    async def write() -> None:
        venues = registry.aio.venues
        assert (await venues.add(XNAS)).outcome == "new"
        receipts = await asyncio.gather(
            venues.set_hours("XNAS"), venues.set_fees("XNAS", flat("0.1"))
        )
        assert [receipt.outcome for receipt in receipts] == ["new", "new"]

    asyncio.run(write())
    assert registry.venues.has_hours("XNAS") and registry.venues.schedules("XNAS")


def test_importers_say_only_what_is_new(registry: Registry) -> None:
    """A source that says again what it said adds nothing, though a person has spoken since."""
    registry.venues.add(BINANCE)

    def imported(value: str, valid_from: int = 0) -> str:
        command = SetFees("binance", schedules([flat(value)]), valid_from, only_news=True)
        (receipt,) = receipts(next(registry.execute([unit(command, source="ccxt")])))
        return receipt.outcome

    assert [imported("0.1"), imported("0.1")] == ["new", "unchanged"]
    assert registry.venues.set_fees("binance", flat("0.3")).outcome == "amended"
    assert imported("0.1") == "unchanged"
    assert imported("0.4") == "amended"  # a person's next word is news, the same one too
    assert registry.venues.set_fees("binance", flat("0.3")).outcome == "amended"
    assert registry.venues.schedules("binance")[0].lines[0].value == "0.3"
    assert [imported("0.4"), imported("0.1"), imported("0.1")] == [
        "unchanged", "amended", "unchanged",
    ]  # fmt: skip
    later = parse_time("2030-01-01")
    assert [imported("0.5", later), imported("0.1"), imported("0.5", later)] == [
        "amended", "unchanged", "unchanged",
    ]  # fmt: skip


def test_a_dry_run_tells_what_would_be_known(registry: Registry) -> None:
    registry.venues.add(Venue(key="XNAS", name="Nasdaq"), source="iso")
    commands: list[tuple[Command, str]] = [
        (AddVenue.make(Venue(key="XNAS", name="NASDAQ", country="US", kind="mtf")), "else"),
        (SetFees("XNAS", schedules([flat("9")])), "else"),
    ]  # fmt: skip
    told = []
    with registry.rehearsal() as rehearsal:
        for command, source in commands:
            (outcome,) = rehearsal.execute([unit(command, source=source)])
            for planned in rehearsal.plan("row 1", source, receipts(outcome)):
                told += [(planned.what, change.field, change.after) for change in planned.changes]
    assert told == [
        ("amended", "venue XNAS kind", "mtf"), ("amended", "venue XNAS country", "US"),
        ("conflict", "venue XNAS name", "NASDAQ"),
        ("new", "fees XNAS", True), ("new", "fees XNAS - both trading 0", "9 percent of quote"),
    ]  # fmt: skip
    assert registry.log.head == 1
