"""The typed classes that people, importers and JSON Lines use to say what an instrument is.

They only carry values; `facts.facts_of` validates them. Empty text and None mean "not known". Times
are RFC 3339 text or nanoseconds since 1970 UTC, 0 = since recorded; exact numbers are decimal text
or an int, never a float. A class is added here with its fields, in `facts.py` with its key and
checks, and in CLASSES.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from alphapulse.log import InvalidInput

from . import validation
from .chains import CHAINS


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every class may say."""

    symbol: str = ""
    name: str = ""
    decimals: int | None = None
    """Of the smallest unit that is counted, 0 to 77: 6 for USDC, 2 for EUR; of a security, of its
    fractions. None = not known; never guessed."""
    tick: str | int | None = None
    lot: str | int | None = None
    status: str = ""
    """Empty = active when it is new, unchanged when it is known."""
    valid_from: str | int = 0


class Token(Instrument, frozen=True, kw_only=True):
    """A token on a chain. A placeholder address of an EVM chain names the chain's native coin."""

    chain: str
    """CAIP-2, such as `eip155:1`."""
    address: str
    """CAIP-19 asset reference: contract address, mint, denom."""
    namespace: str = ""
    """CAIP-19 asset namespace; empty = erc20 on eip155, token on solana."""


class Coin(Instrument, frozen=True, kw_only=True):
    """The native coin of a chain."""

    chain: str
    slip44: int | None = None
    """Needed only for chains that `chains.py` does not know."""


class Security(Instrument, frozen=True, kw_only=True):
    """What equities, ETFs and bonds share.

    One of isin, figi, cusip is needed. The first of them, in this order, is the birth identifier:
    it alone is hashed, and later changes of identifiers do not change who this is.
    """

    isin: str = ""
    figi: str = ""
    """The share-class FIGI. A FIGI of a country or an exchange belongs elsewhere."""
    cusip: str = ""
    sedol: str = ""
    composite_figi: str = ""
    """The FIGI of the share class in one country."""
    lei: str = ""
    """LEI of the issuer."""
    currency: str = ""
    """ISO 4217."""


class Equity(Security, frozen=True, kw_only=True):
    pass


class Etf(Security, frozen=True, kw_only=True):
    pass


class Bond(Security, frozen=True, kw_only=True):
    pass


class Currency(Instrument, frozen=True, kw_only=True):
    """A currency of ISO 4217. Its symbol is its code."""

    code: str


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An instrument at a venue, in a currency, under a local symbol, from a time to a time."""

    instrument: int | str
    """Its id; in JSON also the id, ISIN or other key as text."""
    venue: str
    """MIC, or the slug of a venue without one: `binance`, `binance:test`."""
    symbol: str = ""
    currency: str = ""
    line: int = 0
    """Tells apart several lines of one instrument at one venue in one currency."""
    primary: bool = False
    valid_from: str | int = 0
    valid_to: str | int = 0
    """The first instant at which it is no longer listed; 0 = open."""
    tick: str | int | None = None
    lot: str | int | None = None


AnyInstrument = Token | Coin | Equity | Etf | Bond | Currency

CLASSES: Final[dict[str, type[AnyInstrument]]] = {
    "token": Token, "coin": Coin, "equity": Equity, "etf": Etf, "bond": Bond, "currency": Currency,
}  # fmt: skip
"""By the name that commands, CSV columns and JSON use."""

T = TypeVar("T", bound=msgspec.Struct)


def _articled(noun: str) -> str:
    """`a token`, `an equity`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def from_mapping(kind: type[T], fields: Mapping[str, object]) -> T:
    """A Token, Equity, Listing, … from parsed JSON. Raises InvalidInput with the field's path."""
    try:
        return msgspec.convert(dict(fields), kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"reading {_articled(kind.__name__.lower())}", problem=str(error)[:200],
            cure=f"its fields are {', '.join(kind.__struct_fields__)}",
        ) from error  # fmt: skip


def class_named(name: object) -> type[AnyInstrument]:
    """`equity` gives Equity, in any case. Raises InvalidInput."""
    found = CLASSES.get(name.strip().lower()) if isinstance(name, str) else None
    if found is None:
        validation.refuse(
            "class", "there is no such class", name, f"use one of {', '.join(CLASSES)}"
        )
    return found


def native_coin(chain: str) -> Coin:
    """The native coin of a chain with the symbol and decimals of the bundled table."""
    known = CHAINS.get(validation.chain(chain))
    if known is None:
        validation.refuse(
            "chain", "its native coin is not known", chain, "give slip44, symbol and decimals"
        )
    return Coin(chain=known.id, slip44=known.slip44, symbol=known.symbol, decimals=known.decimals)
