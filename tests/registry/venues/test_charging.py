"""What a fee is charged on and in: the instrument and its listings as they were then."""

from __future__ import annotations

from fractions import Fraction

import pytest

from alphapulse.registry import DexPool, Equity, Listing, Perpetual, Registry, Token
from alphapulse.registry.venues import FeeNotComputable, FeeSchedule, fee_line, fee_schedule
from alphapulse.registry.venues.venue import Venue


def flat(value: str) -> FeeSchedule:
    return fee_schedule([fee_line({"value": value})])


def test_a_listing_that_was_there_then_says_the_currency(registry: Registry) -> None:
    venues, long = registry.venues, "v" * 32
    id = registry.register(Equity(isin="US0378331005", currency="CHF")).id
    for venue in ("XLON", long):
        venues.add(Venue(key=venue))
        venues.set_fees(venue, flat("0.1"), valid_from="1990-01-01")

    def currency(at: str, venue: str = "XLON", known: int | None = None) -> str:
        return venues.fee(venue, id, "taker", 1, 1, at=at, known=known).currency

    assert currency("2005-01-01") == "CHF" and not venues.is_traded("XLON", id, "2005-01-01")
    before = registry.log.head - 1
    registry.add_listing(Listing(
        instrument=id, venue="XLON", currency="GBP", valid_from="2000-01-01", valid_to="2010-01-01",
    ))  # fmt: skip
    assert (currency("2005-01-01"), currency("2011-01-01")) == ("GBP", "GBP")  # the only one
    later = Listing(instrument=id, venue="XLON", currency="USD", valid_from="2010-01-01")
    listing = registry.add_listing(later).id
    assert (currency("2009-12-31"), currency("2010-01-01")) == ("GBP", "USD")
    assert currency("2010-01-01", known=before) == "CHF"
    assert currency("2010-01-01", known=before + 1) == "GBP"
    assert currency("2016-01-01") == "USD" and venues.is_traded("XLON", id, "2009-12-31")
    assert not venues.is_traded("XLON", id, "1999-12-31")
    registry.end_listing(listing, valid_to="2015-01-01")  # seen by what is remembered
    assert currency("2012-01-01") == "USD"
    for at in ("1999-01-01", "2015-01-01"):
        with pytest.raises(FeeNotComputable, match="listed there in GBP, USD"):
            currency(at)
    assert venues.fee("XLON", id, "taker", 1, 1, at="2016-01-01", currency="USD").currency == "USD"
    registry.add_listing(Listing(instrument=id, venue=long, currency="EUR"))
    registry.add_listing(Listing(instrument=id, venue="vvv", currency="JPY"))
    assert currency("2011-01-01", long) == "EUR"  # of its name the record has a part


def test_a_fee_goes_by_the_instrument_as_it_was_then(registry: Registry) -> None:
    venues = registry.venues
    venues.add(Venue(key="binance"))
    venues.set_fees("binance", flat("1"), valid_from="2020-01-01")
    future = Perpetual(
        venue="binance", native_id="P", base="BTC", quote="USDC", settlement="USDC",
        multiplier="1", payoff="linear",
    )  # fmt: skip
    id = registry.register(future).id
    known = registry.log.head - 1

    def amount(at: str, known: int | None = None) -> str:
        return str(venues.fee("binance", id, "taker", 1, 100, at=at, known=known).amount)

    assert amount("2037-06-01") == "1"
    registry.amend(id, multiplier="10", valid_from="2037-06-01")
    assert (amount("2037-05-31"), amount("2037-06-01"), amount("2021-01-01")) == ("1", "10", "1")
    assert amount("2037-06-01", known) == "1" and amount("2037-06-01", known + 1) == "10"
    registry.amend(id, multiplier="5", valid_from="2037-07-01")
    assert (amount("2037-06-01"), amount("2037-07-01")) == ("10", "5")


def test_a_pool_is_charged_in_its_tokens(registry: Registry) -> None:
    venues, chain = registry.venues, "eip155:1"
    venues.add(Venue(key="uniswap", kind="dex"))
    venues.set_fees("uniswap", fee_schedule([
        fee_line({"value": "0.3"}), fee_line({"value": "1", "charged": "base", "component": "b"}),
    ]), valid_from="2020-01-01")  # fmt: skip
    first, second = "0x" + "a" * 40, "0x" + "b" * 40
    registry.register(Token(chain=chain, address=first, symbol="AAA"))

    def pool(number: int, tokens: str) -> int:
        address, factory = f"0x{number:040x}", "0x" + "f" * 40
        return registry.register(
            DexPool(chain=chain, factory=factory, address=address, tokens=tokens)
        ).id

    def found(id: int, at: str = "2021-01-01") -> list[tuple[Fraction, str]]:
        charges = venues.charges("uniswap", id, "taker", 2, 500, at=at)
        return [(charge.amount, charge.currency) for charge in charges]

    pair, three = pool(1, f"{first} {second}"), pool(2, f"{first} {second} {'0x' + 'c' * 40}")
    assert found(pair) == [(3, second), (Fraction(2, 100), "AAA")]
    other = registry.register(Token(chain=chain, address=second, symbol="BBB")).id
    assert found(pair) == [(3, "BBB"), (Fraction(2, 100), "AAA")]
    registry.amend(other, symbol="CCC", valid_from="2037-01-01")
    assert found(pair)[0][1] == "BBB" and found(pair, "2037-01-01")[0][1] == "CCC"
    assert venues.is_traded("uniswap", pair) is None
    for id in (three, pool(3, "")):
        with pytest.raises(FeeNotComputable, match="is not known"):
            found(id)
