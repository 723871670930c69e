"""What a fee needs to know of an instrument: which products it is one of, what it is paid in."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple

from alphapulse.log import AssetClass, ListingBody
from alphapulse.registry.facts import Facts

_PRODUCTS: Final[dict[AssetClass, str]] = {
    AssetClass.SPOT_PAIR: "spot", AssetClass.PERPETUAL: "swap", AssetClass.DEX_POOL: "pool",
    AssetClass.FX_PAIR: "fx",
}  # fmt: skip
"""How fee schedules call them, as ccxt does; the others by the name of their class."""


class Traded(NamedTuple):
    products: tuple[str, ...]
    """From the narrowest on: `swap.inverse`, `swap`, `inverse`."""
    base: str
    quote: str
    settlement: str
    multiplier: str
    payoff: str
    money: str
    """What the value of a trade, units × price, is in; empty of an inverse contract, whose value is
    another."""
    units: tuple[int, int]
    """In one of the quantity: the multiplier as numerator and denominator."""


def traded(facts: Facts, listing: ListingBody | None) -> Traded:
    """listing: of the instrument at the venue, when there is one: its currency is the quote."""
    values = facts.values

    def said(field: str) -> str:
        return str(values.get(field, ""))

    product = _PRODUCTS.get(facts.asset_class, facts.asset_class.name.lower())
    payoff = said("payoff")
    products = (f"{product}.{payoff}", product, payoff) if payoff else (product,)
    quote = said("quote") or (listing.currency if listing else "") or said("currency")
    base = said("base") or said("symbol") or said("isin")
    settlement, multiplier = said("settlement"), said("multiplier") or "1"
    money = settlement or quote if payoff else quote
    return Traded(
        products, base, quote, settlement, multiplier, payoff,
        "" if payoff == "inverse" else money, Fraction(multiplier).as_integer_ratio(),
    )  # fmt: skip
