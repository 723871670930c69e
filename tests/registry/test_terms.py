"""Which orders are taken, of securities and of listings; the terms of bonds; what must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import InvalidInput, ListingBody, encode_body
from alphapulse.registry import Bond, Equity, Etf, Listing, Perpetual, Registry
from alphapulse.registry.facts import amended
from alphapulse.registry.instruments import ORDER_FIELDS
from alphapulse.registry.readers import facts_of, normalised
from tests.registry.homes import APPLE, open_home

ORDERS: dict[str, Any] = {
    "tick": "1/256", "lot": "0.10", "ticks": "0:1/256, 1:0.50", "min_size": "5", "max_size": "9",
    "min_notional": "1e2",
}  # fmt: skip
CANONICAL = {
    "tick": "0.00390625", "lot": "0.1", "ticks": "0:0.00390625 1:0.5", "min_size": "5",
    "max_size": "9", "min_notional": "100",
}  # fmt: skip
BOND: dict[str, Any] = {"isin": "US912810TN81"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_home(tmp_path / "home") as opened:
        yield opened


@pytest.mark.parametrize("kind", [Equity, Etf, Bond])
def test_securities_say_which_orders_are_taken(kind: type[Equity | Etf | Bond]) -> None:
    values = facts_of(kind(isin="US0378331005", **ORDERS)).values
    assert {field: values[field] for field in ORDER_FIELDS} == CANONICAL


@pytest.mark.parametrize(
    "kind, fields, says",
    [
        (Bond, {"coupon": "-1"}, "coupon: it must not be below zero"),
        (Bond, {"coupon_frequency": 3}, "coupon_frequency: there is no such one.*1, 2, 4 or 12"),
        (Bond, {"coupon_frequency": True}, "coupon_frequency: there is no such one"),
        (Bond, {"maturity": "2053-02"}, "maturity: it is not a whole date"),
        (Bond, {"issue_date": "2023-02-30"}, "issue_date: "),
        (Bond, {"issue_date": "2053-02-15", "maturity": "2053-02-15"}, "maturity: it is not after"),
        (Bond, {"denomination": "0"}, "denomination: it must be above zero"),
        (Bond, {"denomination": "9", "min_denomination": "1"}, "min_denomination: it is below"),
        (Bond, {"day_count": "30/361"}, "day_count: there is no such one.*ACT/ACT.ICMA"),
        (Equity, {"cusip": "594918104"}, "cusip: the ISIN US912810TN81 contains 912810TN8"),
        (Equity, {"ticks": "0:1", "tick": "2"}, "tick: the smallest step of ticks is 1"),
        (Etf, {"min_size": "2", "max_size": "1"}, "max_size: it is below min_size"),
        (Etf, {"tick": "1/3"}, "tick: it has no end as a decimal"),
        (Etf, {"tick": "1/0"}, "tick: it divides by zero"),
        (Etf, {"tick": "1/x"}, "tick: it is not decimal text.*write it like 0.25"),
    ],
)
def test_what_is_refused(kind: type[Any], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=f"reading field {says}"):
        facts_of(kind(**BOND, **fields))


@pytest.mark.parametrize(
    "given, canonical",
    [("1/256", "0.00390625"), ("3/4", "0.75"), (" 6/3 ", "2"), ("1/1000000000000", "1e-12")],
)
def test_a_fraction_that_ends_is_a_decimal(given: str, canonical: str) -> None:
    assert facts_of(Equity(**BOND, tick=given)) == facts_of(Equity(**BOND, tick=canonical))


def test_a_cusip_stands_in_isins_of_its_two_countries_alone() -> None:
    assert facts_of(Equity(isin="CA0679011084", cusip="067901108")).values["cusip"] == "067901108"
    with pytest.raises(InvalidInput, match="contains 067901108"):
        facts_of(Equity(isin="CA0679011084", cusip="037833100"))
    assert facts_of(Equity(isin="IE00B4BNMY34", cusip="037833100"))
    held = facts_of(Equity(isin="US0378331005", cusip="037833100"))
    changed = amended(held, {"isin": "US5949181045", "cusip": "594918104"})
    assert changed.values["cusip"] == "594918104"


@dataclass
class Paid:
    payoff: str
    settlement: str
    says: str = ""


@pytest.mark.parametrize(
    "paid",
    [
        Paid("linear", "USD"), Paid("linear", "USDC"), Paid("inverse", "BTC"),
        Paid("inverse", "WBTC"), Paid("quanto", "ETH"), Paid("quanto", "USDT"),
        Paid("linear", "BTC", "linear settles in the quote, USD, and the settlement is BTC"),
        Paid("linear", "EUR", "linear settles in the quote"),
        Paid("inverse", "USD", "inverse settles in the base, BTC"),
        Paid("quanto", "USD", "neither base nor quote"), Paid("quanto", "BTC", "neither base nor"),
    ],
    ids=lambda paid: f"{paid.payoff}-{paid.settlement}",
)  # fmt: skip
def test_what_a_payoff_settles_in(registry: Registry, paid: Paid) -> None:
    fields: dict[str, Any] = {
        "venue": "okx", "native_id": "X", "settlement": paid.settlement, "base": "BTC"
    }  # fmt: skip
    said = Perpetual(**fields, quote="USD", payoff=paid.payoff)
    if not paid.says:
        assert registry.register(said).outcome == "new"
        return
    with pytest.raises(InvalidInput, match=paid.says):
        registry.register(said)
    held = registry.register(Perpetual(**fields, quote="USD")).id
    with pytest.raises(InvalidInput, match=paid.says):
        registry.amend(held, payoff=paid.payoff)
    registry.amend(held, payoff=paid.payoff, base="", quote="")


def test_a_bond_becomes_another_class_without_the_terms_of_bonds(registry: Registry) -> None:
    id = registry.register(Bond(**BOND, coupon="3", maturity="2053-02-15"), source="a").id
    with pytest.raises(InvalidInput, match="an equity has no coupon, maturity"):
        registry.amend(id, **{"class": "equity"})
    forget: dict[str, Any] = {"class": "equity", "coupon": None, "maturity": ""}
    with pytest.raises(InvalidInput, match="an equity has no such field"):
        registry.amend(id, **{**forget, "coupon": "4"})
    registry.amend(id, **forget)
    facts = registry.facts(id)
    assert facts is not None and facts.values == BOND
    assert registry.amend(id, **{"class": "bond", "coupon": "0"}).outcome == "amended"


def test_sources_that_disagree_on_the_class_leave_equal_digests(tmp_path: Path) -> None:
    bond, etf = Bond(**BOND, coupon="3", name="N"), Etf(**BOND, lot="1")
    digests = set()
    words: list[tuple[str, Bond | Etf]] = [("a", bond), ("b", etf)]
    for number, order in enumerate([words, words[::-1]]):
        with open_home(tmp_path / str(number)) as registry:
            for source, said in order:
                receipt = registry.register(said, source=source)
            assert len(receipt.conflicts) == 1
            again = registry.register(said, source=source)
            assert again.outcome == "unchanged"
            digests.add(registry.statistics().views["instruments"].digest)
            assert all(view.equal for view in registry.rebuild(check=True))
    assert len(digests) == 1


# --- listings --------------------------------------------------------------------------------


def body(registry: Registry, id: int) -> ListingBody:
    ((_, found),) = registry.listing_bodies(id)
    return found


def test_a_listing_says_which_orders_are_taken(registry: Registry) -> None:
    apple = registry.register(APPLE).id
    plain = Listing(instrument=apple, venue="XNAS", symbol="AAPL")
    registry.add_listing(plain, source="a")
    assert b"ticks" not in encode_body(body(registry, apple))[1]  # as before there were any
    full = Listing(instrument=apple, venue="XNAS", symbol="AAPL", **ORDERS)
    assert registry.add_listing(full, source="a").outcome == "amended"
    held = body(registry, apple)
    assert {field: getattr(held, field) for field in ORDER_FIELDS} == CANONICAL
    assert registry.add_listing(full, source="b").outcome == "unchanged"
    assert registry.add_listing(plain, source="a").outcome == "unchanged"
    other = Listing(instrument=apple, venue="XNAS", ticks="0:0.00390625 1:0.5", min_size="6")
    receipt = registry.add_listing(other, source="b")
    assert (receipt.outcome, len(receipt.conflicts)) == ("unchanged", 1)
    assert registry.add_listing(other, source="a").outcome == "amended"
    assert body(registry, apple).min_size == "6"
    blamed = {each.field: each.value for each in registry.blame(apple)}
    assert blamed["listing XNAS - 0 ticks"] == CANONICAL["ticks"]


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"tick": "0.1", "ticks": "0:0.2"}, "tick: the smallest step"),
        ({"min_size": "2", "max_size": "1"}, "max_size: it is below min_size"),
        ({"ticks": "1"}, "ticks: a band is FROM:STEP"), ({"min_notional": "-1"}, "min_notional: "),
    ],
)
def test_what_a_listing_may_not_say(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=f"reading field {says}"):
        normalised(Listing(instrument=1, venue="XNAS", **fields))


def test_listings_in_another_order_have_equal_digests(tmp_path: Path) -> None:
    words: list[tuple[str, dict[str, Any]]] = [
        ("a", {"min_size": "1", "ticks": "0:1"}), ("b", {"min_size": "2", "lot": "3"})
    ]  # fmt: skip
    digests = set()
    for number, order in enumerate([words, words[::-1]]):
        with open_home(tmp_path / str(number)) as registry:
            apple = registry.register(APPLE, source="c").id
            for source, said in order:
                registry.add_listing(
                    Listing(instrument=apple, venue="XNAS", **said), source=source
                )
            digests.add(registry.statistics().views["listings"].digest)
    assert len(digests) == 1
