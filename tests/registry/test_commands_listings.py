from __future__ import annotations

from typing import Any

import pytest

from alphapulse.log import InvalidInput, Kind, ListingBody, parse_time
from alphapulse.registry import (
    AddListing,
    Ambiguous,
    EndListing,
    Listing,
    Registry,
    UnknownInstrument,
    UnknownListing,
)

from .homes import APPLE, unit


@pytest.fixture
def apple(registry: Registry) -> int:
    return registry.register(APPLE, source="a").id


def listed(apple: int, **fields: Any) -> Listing:
    return Listing(**{"instrument": apple, "venue": "XETR", "currency": "EUR", **fields})


def body(registry: Registry, offset: int) -> ListingBody:
    found = registry.body_at(offset)
    assert isinstance(found, ListingBody)
    return found


def test_a_listing(registry: Registry, apple: int) -> None:
    listing = listed(apple, symbol="APC", valid_from="2001-02-03", primary=True, tick="0.010")
    receipt = registry.add_listing(listing, source="a")
    assert (receipt.outcome, receipt.offset) == ("new", 1)
    (found,) = registry.listings(apple)
    assert (found.id, found.fingerprint) == (receipt.id, receipt.fingerprint)
    assert found.instrument == apple
    assert (found.venue, found.symbol, found.currency, found.line) == ("XETR", "APC", "EUR", 0)
    assert (found.primary, found.valid_to, found.revision) == (True, 0, 1)
    assert found.valid_from == parse_time("2001-02-03") == registry.log.event(1).valid_from
    assert body(registry, 1).tick == "0.01"
    assert not found.current(found.valid_from - 1)
    assert found.current(found.valid_from)
    for again in (listing, listed(apple), listed(apple, symbol="APC")):
        unchanged = receipt._replace(outcome="unchanged")
        assert registry.add_listing(again, source="b") == unchanged
    assert registry.log.head == 2


def test_currency_venue_and_line_make_another_listing(registry: Registry, apple: int) -> None:
    several: list[dict[str, Any]] = [
        {}, {"currency": "USD"}, {"currency": ""}, {"venue": "XFRA"}, {"line": 1},
        {"venue": "binance"}, {"venue": "binance:test"},
    ]  # fmt: skip
    ids = [registry.add_listing(listed(apple, **each)).id for each in several]
    assert len(set(ids)) == len(several)
    assert [each.id for each in registry.listings(apple)] == ids
    assert [each.id for each in registry.listings(apple)[1:3]] == ids[1:3]
    assert registry.find_listing(apple, "XETR", currency="EUR", line=1) == ids[4]
    assert registry.find_listing(apple, "XFRA") == ids[3]
    with pytest.raises(Ambiguous):
        registry.find_listing(apple, "XETR", currency="EUR")
    with pytest.raises(UnknownListing):
        registry.find_listing(apple, "XNAS")


def test_the_same_source_amends_and_another_conflicts(registry: Registry, apple: int) -> None:
    first = registry.add_listing(listed(apple, symbol="APC"), source="a")
    amended = registry.add_listing(listed(apple, symbol="APX"), source="a")
    assert amended == first._replace(offset=2, outcome="amended")
    refused = registry.add_listing(listed(apple, symbol="APY"), source="b")
    assert (refused.outcome, refused.offset, refused.conflicts) == ("unchanged", 3, (3,))
    again = registry.add_listing(listed(apple, symbol="APY"), source="b")
    assert (again, registry.log.head) == (refused, 4)
    filled = registry.add_listing(listed(apple, symbol="APY", valid_from=5, lot=10), source="b")
    assert (filled.outcome, filled.conflicts) == ("amended", (3,))
    (found,) = registry.listings(apple)
    assert (found.symbol, found.valid_from, found.revision) == ("APX", 5, 3)
    assert registry.add_listing(listed(apple, valid_from=6), source="a").conflicts == (5,)
    kinds = [event.kind for event in registry.history(apple)][1:]
    assert kinds == [Kind.LISTING_ADDED, Kind.LISTING_AMENDED, Kind.CONFLICT_DETECTED,
                     Kind.LISTING_AMENDED, Kind.CONFLICT_DETECTED]  # fmt: skip


def test_a_listing_ends(registry: Registry, apple: int) -> None:
    first = registry.add_listing(listed(apple, valid_from=10))
    ended = registry.end_listing(first.id, valid_to=20)
    assert ended == first._replace(offset=2, outcome="amended")
    assert registry.log.event(2).kind == Kind.LISTING_ENDED
    (found,) = registry.listings(apple)
    assert (found.valid_to, found.revision) == (20, 2)
    assert (found.current(19), found.current(20)) == (True, False)
    assert registry.end_listing(first.id, valid_to=20).outcome == "unchanged"
    assert registry.end_listing(first.id, valid_to=30).outcome == "amended"


def test_a_listing_cannot_end_before_it_begins(registry: Registry, apple: int) -> None:
    id = registry.add_listing(listed(apple, valid_from=10), source="a").id
    for valid_to in (10, 9):
        with pytest.raises(InvalidInput):
            registry.end_listing(id, valid_to=valid_to)
        with pytest.raises(InvalidInput):
            registry.add_listing(listed(apple, valid_from=10, valid_to=valid_to))
    assert registry.log.head == 2
    again = registry.add_listing(listed(apple, valid_to=9), source="a")
    assert again.outcome == "amended", "it was there before, too"
    (found,) = registry.listings(apple)
    assert (found.valid_from, found.valid_to, found.has_earlier) == (10, 0, True)


def test_what_is_not_there_has_no_listing(registry: Registry) -> None:
    with pytest.raises(UnknownInstrument):
        registry.add_listing(listed(5))
    with pytest.raises(InvalidInput):
        registry.add_listing(listed(5, instrument="US0378331005"))
    with pytest.raises(UnknownListing):
        registry.end_listing(5, valid_to=1)
    (outcome,) = registry.execute([unit(AddListing.make(listed(0), of=bytes(16)))])
    assert isinstance(outcome, UnknownInstrument)
    (outcome,) = registry.execute([unit(EndListing(5, 1))])
    assert isinstance(outcome, UnknownListing)
    assert registry.log.head == 0
    assert list(registry.listings(5)) == []


def test_long_symbols_stand_whole_in_the_log(registry: Registry, apple: int) -> None:
    symbol = "Ä" * 20
    registry.add_listing(listed(apple, symbol=symbol))
    (found,) = registry.listings(apple)
    assert (found.symbol, found.is_cut) == ("Ä" * 14, True)
    assert registry.listing_bodies(apple) == [(found.id, body(registry, 1))]
    assert body(registry, 1).symbol == symbol
    assert [each.id for each in registry.by_symbol(symbol, venue="XETR")] == [apple]


def test_a_conflict_of_a_listing_is_found_by_its_instrument(registry: Registry, apple: int) -> None:
    """The facet matches every side; the conflict's own entity is the listing."""
    for source, symbol in (("a", "APC"), ("b", "APX")):
        registry.add_listing(listed(apple, symbol=symbol), source=source)
    ((conflict, _),) = registry.alerts()
    registry.acknowledge(conflict.offset)
    found = registry.read(pattern=f"instrument=0x{apple:016x} kind=conflict,alert")
    assert [event.offset for event in found] == [conflict.offset, conflict.offset + 1]
    assert list(registry.read(pattern=f"instrument=0x{conflict.entity:016x}")) == []
