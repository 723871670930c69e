from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from alphapulse.log import Event, ListingBody, RelationBody, RelationKind
from alphapulse.registry import Equity, Listing, Registry, Token
from alphapulse.registry.fields import time_text
from alphapulse.registry.render import (
    body_dict,
    event_dict,
    listing_dict,
    match_dict,
    on_chain_dict,
    receipt_dict,
)
from alphapulse.registry.venues import Venue

APPLE = Equity(
    isin="US0378331005", symbol="AAPL", name="Apple Inc.", currency="USD", tick="0.010",
    cusip="037833100", valid_from="1980-12-12",
)  # fmt: skip


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "home")


def first(registry: Registry, pattern: str) -> Event:
    return next(iter(registry.read(0, None, pattern)))


def test_an_instrument_event_is_its_known_facts(registry: Registry) -> None:
    with registry:
        receipt = registry.register(APPLE, source="a")
        shown = event_dict(registry.log.event(0))
        assert json.loads(json.dumps(shown)) == shown
        assert shown["id"] == f"0x{receipt.id:016x}"
        assert shown["valid_from"] == "1980-12-12T00:00:00.000000000Z"
        assert str(shown["recorded"]).endswith("Z")
        assert shown["body"] == {
            "fingerprint": receipt.fingerprint.hex(), "class": "equity", "status": "active",
            "revision": 1, "counter": 0, "key": "security|isin|US0378331005", "symbol": "AAPL",
            "name": "Apple Inc.", "isin": "US0378331005", "currency": "USD", "tick": "0.01",
            "cusip": "037833100",
        }  # fmt: skip
        assert receipt_dict(receipt) == {
            "id": shown["id"], "fingerprint": receipt.fingerprint.hex(), "offset": 0,
            "outcome": "new",
        }  # fmt: skip
        raw = event_dict(registry.log.event(0), raw=True)
        assert raw.pop("frame_hex") == registry.log.event(0).frame.hex()
        assert raw == shown


def test_a_long_symbol_is_whole(registry: Registry) -> None:
    with registry:
        id = registry.register(
            Token(chain="eip155:1", address="0x" + "a" * 40, symbol="S" * 40)
        ).id
        match = registry.describe(id)
        assert match is not None
        assert match_dict(match, 0)["symbol"] == "S" * 40
        assert body_dict(registry.log.event(0).body)["symbol"] == "S" * 40


def test_what_is_not_known_is_null(registry: Registry) -> None:
    with registry:
        id = registry.register(Token(chain="eip155:1", address="0x" + "a" * 40)).id
        match = registry.describe(id)
        assert match is not None
        shown = match_dict(match, 0)
        assert [name for name, value in shown.items() if value is None] == [
            "symbol", "name", "decimals", "isin", "joined"
        ]  # fmt: skip
        on_chain = on_chain_dict(match, 0, match)
        assert (on_chain["venue"], on_chain["symbol"], on_chain["valid_from"]) == (
            "eip155:1", None, None
        )  # fmt: skip
        assert on_chain["current"]
        registry.set_status(id, "halted")
        halted = registry.describe(id)
        assert halted is not None
        shown = on_chain_dict(match, 0, halted)
        assert (shown["status"], shown["current"]) == ("halted", False)
    assert time_text(0) is None


def test_listings_groups_and_conflicts(registry: Registry) -> None:
    with registry:
        id = registry.register(APPLE, source="a").id
        registry.add_listing(Listing(instrument=id, venue="XETR", symbol="APC"))
        registry.add_to_group(id, "list", "x|y")
        registry.register(Equity(isin="US0378331005", symbol="APPL"), source="b")
        listing = body_dict(first(registry, "kind=listing").body)
        assert (listing["venue"], listing["currency"], listing["valid_to"]) == ("XETR", None, None)
        assert str(listing["key"]).startswith("listing|")
        group = body_dict(first(registry, "kind=relation").body)
        assert (group["relation"], group["other"], group["group"]) == ("grouped", None, "x|y")
        assert str(group["key"]).endswith("|x\\|y")
        conflict = body_dict(first(registry, "kind=conflict").body)
        assert conflict == {
            "class": "equity", "field": "symbol", "held": "AAPL", "held_source": "a",
            "offered": "APPL", "offered_source": "b", "instrument": None,
        }  # fmt: skip


def test_a_link_between_two_instruments_names_both() -> None:
    body = RelationBody(
        fingerprint=bytes(16), relation=RelationKind.BRIDGED_FROM, asset_class=1, instrument=1,
        instrument_fingerprint=b"\1" * 16, other=2, other_fingerprint=b"\2" * 16,
    )  # fmt: skip
    shown = body_dict(body)
    assert (shown["relation"], shown["other"]) == ("bridged_from", "0x0000000000000002")
    assert shown["other_fingerprint"] == "02" * 16
    assert shown["key"] == f"relation|bridged_from|{'01' * 16}|{'02' * 16}"
    unheard_of = replace(body, relation=99)
    assert (body_dict(unheard_of)["relation"], body_dict(unheard_of)["key"]) == ("99", None)


@pytest.mark.parametrize(
    "valid_from, valid_to, at, status",
    [
        (0, 0, 5, "active"),
        (5, 0, 4, "pending"),
        (5, 0, 5, "active"),
        (5, 9, 8, "active"),
        (5, 9, 9, "delisted"),
        (0, 9, 9, "delisted"),
    ],
)
def test_the_status_of_a_listing_follows_from_its_dates(
    valid_from: int, valid_to: int, at: int, status: str
) -> None:
    body = ListingBody(
        fingerprint=bytes(16), instrument=1, instrument_fingerprint=bytes(16), asset_class=3,
        venue="XNAS", valid_from=valid_from, valid_to=valid_to,
    )  # fmt: skip
    shown = listing_dict(body, at)
    assert (shown["status"], shown["current"]) == (status, status == "active")


def test_a_collision_names_both_keys(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "small", id_bits=8) as registry:
        for number in range(300):
            token = Token(chain="eip155:1", address=f"0x{number + 1:040x}")
            if registry.register(token).outcome == "collision":
                break
        body = body_dict(registry.alerts()[0][0].body)
        assert body["wanted"] == body["holder"] != body["assigned"]
        assert body["key"] == f"token|eip155:1|erc20|0x{number + 1:040x}"
        assert str(body["holder_key"]).startswith("token|eip155:1|erc20|0x")
        assert body["key"] != body["holder_key"]


def test_an_answer_about_a_venue_is_of_no_class(registry: Registry) -> None:
    with registry:
        first_one = registry.register(APPLE)
        for number in (1, 2):
            registry.venues.add(Venue(key="XNAS"), request_id=f"r{number}")
        registry.register(APPLE, request_id="r3")
        of_venue, of_apple = registry.read(0, None, "kind=request.answered")
        assert body_dict(of_venue.body)["class"] is None
        assert body_dict(of_apple.body)["class"] == "equity"
        assert of_apple.entity == first_one.id
        about = registry.read(0, None, f"instrument=0x{of_venue.entity:016x}")
        assert not list(about)
