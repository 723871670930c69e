from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from msgspec.structs import replace

from alphapulse.log.bodies import AnyBody
from alphapulse.log.facets import (
    FACETS,
    SEVERAL,
    Columns,
    columns_of,
    facet_values,
    symbol_of,
    text_number,
)
from alphapulse.log.kinds import AssetClass, Kind, Status, TradingStatus
from tests.texts import texts

from .builders import (
    acknowledged_body,
    answer_body,
    collision_body,
    columns_of_event,
    conflict_body,
    event_of_each_kind,
    instrument_body,
    listing_body,
    make_event,
    relation_body,
    trading_body,
    venue_body,
)

TOKEN = instrument_body(
    7, symbol="USDC", chain="eip155:1", venue="curve", isin="US0378331005", currency="USD",
    status=Status.HALTED,
)  # fmt: skip


@given(texts())
def test_text_numbers_are_crcs_and_only_empty_text_is_0(text: str) -> None:
    assert text_number(text) == ((crc32(text.encode()) or 1) if text else 0)
    assert 0 <= text_number(text) < 1 << 32
    assert bool(text) == bool(text_number(text))


def test_text_whose_crc_is_0_still_has_a_number() -> None:
    text = "v832-lktf"
    assert crc32(text.encode()) == 0
    assert text_number(text) == 1


def test_every_facet_of_an_instrument() -> None:
    event = make_event(Kind.INSTRUMENT_STATUS, TOKEN, entity=7, source="a.json")
    assert {facet: facet_values(event, facet) for facet in FACETS} == {
        "kind": ("instrument.status",), "class": ("token",), "chain": ("eip155:1",),
        "venue": ("curve",), "instrument": (7,), "isin": ("US0378331005",), "symbol": ("USDC",),
        "currency": ("USD",), "status": ("halted",), "severity": ("info",), "source": ("a.json",),
        "bps": (), "move_bps": (),
    }  # fmt: skip


def test_every_facet_of_a_listing() -> None:
    event = make_event(Kind.LISTING_ENDED, listing_body(9, instrument=7, venue="XETR"), entity=9)
    assert {facet: facet_values(event, facet) for facet in FACETS} == {
        "kind": ("listing.ended",), "class": ("equity",), "chain": (), "venue": ("XETR",),
        "instrument": (7,), "isin": (), "symbol": ("AAPL",), "currency": ("USD",),
        "status": ("active",), "severity": ("info",), "source": (), "bps": (), "move_bps": (),
    }  # fmt: skip


def test_every_facet_of_a_venue_and_its_status() -> None:
    body = trading_body(7, venue="XNAS", status=TradingStatus.CANCEL_ONLY)
    event = make_event(Kind.VENUE_STATUS, body, entity=7)
    assert {facet: found for facet in FACETS if (found := facet_values(event, facet))} == {
        "kind": ("venue.status",), "venue": ("XNAS",), "status": ("cancel_only",),
        "severity": ("info",),
    }  # fmt: skip
    event = make_event(Kind.VENUE_AMENDED, venue_body(7, currency="USD"), entity=7)
    assert facet_values(event, "currency") == ("USD",) and facet_values(event, "status") == ()


def test_a_status_that_only_a_newer_version_knows_is_none() -> None:
    assert facet_values(make_event(Kind.VENUE_STATUS, trading_body(status=99)), "status") == ()


def test_instrument_is_every_side() -> None:
    def sides(event_kind: int, body: AnyBody) -> tuple[str | int, ...]:
        return facet_values(make_event(event_kind, body, entity=5), "instrument")

    assert sides(Kind.RELATION_ADDED, relation_body(5, instrument=1, other=2)) == (1, 2)
    assert sides(Kind.RELATION_ADDED, relation_body(5, instrument=1)) == (1,)
    assert sides(Kind.COLLISION_DETECTED, collision_body(5, holder=1)) == (5, 1)
    assert sides(Kind.CONFLICT_DETECTED, conflict_body()) == (5,)
    assert sides(Kind.REQUEST_ANSWERED, answer_body()) == (5,)
    assert sides(Kind.REQUEST_ANSWERED, replace(answer_body(), instrument=9)) == (9,)


def test_a_mic_comes_before_the_venue_slug() -> None:
    event = make_event(Kind.INSTRUMENT_REGISTERED, instrument_body(venue="XNAS"))
    assert facet_values(event, "venue") == ("XNAS",)
    assert columns_of_event(event).venue == text_number("XNAS")


def test_a_long_symbol_comes_whole_from_the_extension() -> None:
    symbol = "a symbol of more than sixteen bytes"
    body = instrument_body(symbol=symbol)
    assert symbol_of(body) == symbol
    assert facet_values(make_event(Kind.INSTRUMENT_REGISTERED, body), "symbol") == (symbol,)
    assert symbol_of(instrument_body(symbol="short")) == "short"


def test_an_alert_without_a_class_has_none() -> None:
    acknowledged = make_event(Kind.ALERT_ACKNOWLEDGED, acknowledged_body())
    assert facet_values(acknowledged, "class") == ()
    with_class = make_event(Kind.ALERT_ACKNOWLEDGED, acknowledged_body(asset_class=3))
    assert facet_values(with_class, "class") == ("equity",)


def test_an_unknown_facet_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        facet_values(make_event(Kind.LISTING_ADDED), "colour")


def test_columns_of_each_sort_of_body() -> None:
    chain, venue = text_number("eip155:1"), text_number("curve")
    assert columns_of(3, 0, 7, TOKEN) == Columns(7, 7, chain, venue, 3, 1, 0)
    listing = listing_body(9, instrument=7, venue="XETR")
    assert columns_of(16, 0, 9, listing) == Columns(9, 7, 0, text_number("XETR"), 16, 3, 0)
    linked = relation_body(5, instrument=1, other=2)
    assert columns_of(32, 0, 5, linked) == Columns(5, SEVERAL, 0, 0, 32, 1, 0)
    grouped = relation_body(5, instrument=1)
    assert columns_of(32, 0, 5, grouped) == Columns(5, 1, 0, 0, 32, 1, 0)
    assert columns_of(48, 2, 5, collision_body(5)) == Columns(5, SEVERAL, 0, 0, 48, 1, 2)
    assert columns_of(49, 1, 5, conflict_body()) == Columns(5, 5, 0, 0, 49, 3, 1)
    assert columns_of(50, 0, 5, acknowledged_body()) == Columns(5, 5, 0, 0, 50, 0, 0)


def test_a_column_never_rules_out_what_the_facet_says() -> None:
    for event in event_of_each_kind():
        columns = columns_of_event(event)
        instruments = facet_values(event, "instrument")
        one = instruments[0] if instruments else 0
        assert columns.instrument == (SEVERAL if len(instruments) > 1 else one)
        for facet, column in (("chain", columns.chain), ("venue", columns.venue)):
            values = facet_values(event, facet)
            assert column == (text_number(str(values[0])) if values else 0)
        classes = facet_values(event, "class")
        name = AssetClass(columns.asset_class).name.lower() if columns.asset_class else None
        assert classes == ((name,) if name else ())
