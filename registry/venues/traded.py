"""What a fee needs to know of an instrument: which products it is one of, what it is paid in."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple

from alphapulse.log import AssetClass
from alphapulse.registry.facts import Facts
from alphapulse.registry.terms import CHOICES

_PRODUCTS: Final[dict[AssetClass, str]] = {
    AssetClass.SPOT_PAIR: "spot", AssetClass.PERPETUAL: "swap", AssetClass.DEX_POOL: "pool",
    AssetClass.FX_PAIR: "fx",
}  # fmt: skip
"""How fee schedules call them, as ccxt does; the others by the name of their class."""
_PAYOFFS: Final = frozenset(CHOICES["payoff"])


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
    is_there: bool | None
    """Whether it is known to be traded at the venue; None = nobody says where it is."""
    unclear: tuple[str, str]
    """Why a fee there may have no currency, and the cure."""


def is_product(word: str) -> bool:
    """Whether an instrument may be of a product that a schedule names."""
    product, point, payoff = word.partition(".")
    return (product in _NAMED and (not point or payoff in _PAYOFFS)) or word in _PAYOFFS


def traded(
    facts: Facts, listed_in: frozenset[str], tokens: tuple[str, str] | None, is_there: bool | None
) -> Traded:
    """listed_in: the currencies of its listings at the venue. tokens: of a pool, by their names."""
    values = facts.values

    def said(field: str) -> str:
        return str(values.get(field, ""))

    product = _product(facts.asset_class)
    payoff = said("payoff")
    products = (f"{product}.{payoff}", product, payoff) if payoff else (product,)
    first, second = tokens or ("", "")
    one = min(listed_in) if len(listed_in) == 1 else ""
    quote = said("quote") or second or one
    if not quote and len(listed_in) < 2:
        quote = said("currency")
    base = said("base") or first or said("symbol") or said("isin")
    settlement, multiplier = said("settlement"), said("multiplier") or "1"
    money = settlement or quote if payoff else quote
    return Traded(
        products, base, quote, settlement, multiplier, payoff,
        "" if payoff == "inverse" else money, Fraction(multiplier).as_integer_ratio(), is_there,
        _unclear(facts, money, listed_in),
    )  # fmt: skip


def _unclear(facts: Facts, money: str, listed_in: frozenset[str]) -> tuple[str, str]:
    if money:
        return "its base has no name", "amend the instrument: --symbol"
    if len(listed_in) > 1:
        named = ", ".join(sorted(currency or "no currency" for currency in listed_in))
        return f"it is listed there in {named}", "name the one that is meant: --currency"
    cure = "say the currency of its listing there: add-listing KEY --venue VENUE --currency CODE"
    if facts.asset_class is AssetClass.DEX_POOL:
        cure = "amend the pool: --tokens, its two in their order, or --base and --quote"
    elif _product(facts.asset_class) != facts.asset_class.name.lower() or "payoff" in facts.values:
        cure = "amend the instrument: --quote, of a contract --settlement"
    return "the currency that it is traded in is not known", cure


def _product(asset_class: AssetClass) -> str:
    return _PRODUCTS.get(asset_class, asset_class.name.lower())


_NAMED: Final = frozenset(map(_product, AssetClass))
