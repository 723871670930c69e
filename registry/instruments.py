"""The typed classes that people, importers and JSON Lines use to say what an instrument is.

They only carry values; `readers.facts_of` validates them. Empty text and None mean "not known".
Times are RFC 3339 text or nanoseconds since 1970 UTC, 0 = since recorded; exact numbers are decimal
text or an int, never a float. A class is added here with its fields and in CLASSES; a field of a
new name needs its check in `facts.CHECKS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final, TypeVar

import msgspec

from alphapulse.log import InvalidInput

from . import validation
from .chains import CHAINS


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every class may say."""

    identity: ClassVar[tuple[str, ...]] = ()
    """The fields that say who it is. They are never amended: that is another instrument. Of a class
    that `readers.py` has no reader for, they are the fields of its key, in this order."""

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

    identity = ("chain", "namespace", "address")

    chain: str
    """CAIP-2, such as `eip155:1`."""
    address: str
    """CAIP-19 asset reference: contract address, mint, denom."""
    namespace: str = ""
    """CAIP-19 asset namespace; empty = erc20 on eip155, token on solana."""


class Coin(Instrument, frozen=True, kw_only=True):
    """The native coin of a chain."""

    identity = ("chain", "slip44")

    chain: str
    slip44: int | None = None
    """Needed only for chains that `chains.py` does not know."""


class Identified(Instrument, frozen=True, kw_only=True):
    """Identifiers that a contract, a pair or an index may carry; none of them is its identity."""

    isin: str = ""
    figi: str = ""
    """Of itself; the FIGI of one listing is the listing's."""
    cfi: str = ""
    """ISO 10962: six letters that classify it."""


class Ordered(Identified, frozen=True, kw_only=True):
    """Which orders are taken. Of a security these are the terms that hold everywhere; a venue's own
    are the listing's."""

    ticks: str = ""
    """Price steps by band, `FROM:STEP …`: `0:0.0001 1:0.0005` steps by 0.0001 below a price of 1.
    Beside it, `tick` is the smallest step."""
    min_size: str | int | None = None
    """The smallest order, counted as `lot` is."""
    max_size: str | int | None = None
    min_notional: str | int | None = None
    """The smallest price × size of an order, in the quote asset; of a security in its currency."""


class Security(Ordered, frozen=True, kw_only=True):
    """What equities, ETFs and bonds share.

    One of isin, figi, cusip is needed. The first of them, in this order, is the birth identifier:
    it alone is hashed, and later changes of identifiers do not change who this is. `figi` is that
    of the share class: a country's is `composite_figi`, an exchange's the listing's.
    """

    cusip: str = ""
    """An ISIN of the United States or Canada contains it."""
    sedol: str = ""
    composite_figi: str = ""
    """The FIGI of the share class in one country."""
    lei: str = ""
    """LEI of the issuer."""
    currency: str = ""
    """ISO 4217."""
    settlement: str = ""
    """What it is paid for in, where that is not its currency."""


class Equity(Security, frozen=True, kw_only=True):
    pass


class Etf(Security, frozen=True, kw_only=True):
    pass


class Bond(Security, frozen=True, kw_only=True):
    coupon: str | int | None = None
    """Percent a year, exact: `4.25`; 0 = none."""
    coupon_frequency: int | None = None
    """Payments a year: 1, 2, 4 or 12; 0 = none before the maturity."""
    maturity: str = ""
    """The whole date: `2033-05-15`. Nothing makes it expired that day; whoever knows says so."""
    denomination: str | int | None = None
    """Nominal of one bond, in its currency."""
    min_denomination: str | int | None = None
    """The smallest nominal that may be held: not below the denomination."""
    day_count: str = ""
    """How interest accrues, by FpML's names: `30/360`, `ACT/ACT.ICMA`, … See `terms.CHOICES`."""
    issue_date: str = ""
    """The whole date, before the maturity."""


class Currency(Instrument, frozen=True, kw_only=True):
    """A currency of ISO 4217. Its symbol is its code."""

    identity = ("code", "symbol")

    code: str


class Traded(Ordered, frozen=True, kw_only=True):
    """What is priced in one asset by the rules of a market; of a derivative, the lot and the sizes
    count contracts.

    Assets are currency codes or the venue's own asset codes, taken as they are: `USD`, `USDT`,
    `1000SATS`.
    """

    base: str = ""
    """The asset that is priced."""
    quote: str = ""
    """The asset that prices are in."""


class FxPair(Traded, frozen=True, kw_only=True):
    """One currency in another, for a tenor; whoever quotes it is a listing."""

    identity = ("base", "quote", "tenor")

    base: str
    """ISO 4217, as the quote."""
    quote: str
    tenor: str = "SPOT"
    """SPOT, ON, TN, SN, TOD, TOM, or a number and D, W, M or Y: `3M`."""
    settlement: str = ""
    """What a pair that is not delivered is settled in."""


class SpotPair(Traded, frozen=True, kw_only=True):
    """A pair of assets that an exchange trades for delivery at once."""

    identity = ("venue", "market", "native_id", "settlement", "generation")

    venue: str
    """MIC, or slug of a venue without one."""
    native_id: str
    """What the venue calls it, as it writes it: `BTCUSDT`."""
    market: str = "spot"
    """Which of the venue's markets, when it names instruments in each anew."""
    settlement: str = ""
    """Empty = both assets are delivered."""
    generation: int = 0
    """Counts up when the venue gives a native id to another asset."""


class DexPool(Traded, frozen=True, kw_only=True):
    """A pool of a decentralised exchange."""

    identity = ("chain", "factory", "address")

    chain: str
    """CAIP-2."""
    factory: str
    """Address of the factory or manager that made it; the program on Solana."""
    address: str
    """Of the pool, or its id in the manager: 0x and 64 hex digits on an EVM chain."""
    tokens: str = ""
    """Addresses of what is in it, in the pool's order, with blanks between: `0xa0b8… 0xc02a…`."""
    fee_bps: str | int | None = None
    """Of a swap, in hundredths of a percent, exact: `0.01`, `5`, `30`; 0 = none."""


class Contract(Traded, frozen=True, kw_only=True):
    """What derivatives share."""

    multiplier: str | int | None = None
    """Contract size: how much of the underlying one contract is."""
    underlying: int | str = 0
    """Id of an instrument, which need not be registered: a number or `0x…`; 0 = not known."""


class Perpetual(Contract, frozen=True, kw_only=True):
    """A contract on a price without expiry."""

    identity = ("venue", "market", "native_id", "settlement", "generation")

    venue: str
    """MIC, or slug of a venue without one."""
    native_id: str
    """What the venue calls it, as it writes it: `BTCUSDT`, `XBTUSD`."""
    settlement: str
    """The asset that profit and loss are paid in."""
    market: str = "perpetual"
    """Which of the venue's markets, when it names instruments in each anew."""
    generation: int = 0
    """Counts up when the venue gives a native id to another asset."""
    payoff: str = ""
    """linear (settles in the quote asset), inverse (in the base), quanto (in a third)."""


class Expiring(Contract, frozen=True, kw_only=True):
    """A contract that ends. Once its expiry is past, it is shown as expired."""

    expiry: str | int = 0
    """The instant: `2026-12-18T14:30:00Z`, not only the day; 0 = not known."""
    last_trade: str | int = 0
    """The instant after which it is not traded any more; not after the expiry."""
    native_id: str = ""
    """What the venue calls it, as it writes it."""


class Future(Expiring, frozen=True, kw_only=True):
    """A future of an issuing market."""

    identity = ("venue", "product", "maturity", "generation")

    venue: str
    """The issuing market: operating MIC, or slug of a venue without one."""
    product: str
    """The market's code of the series: `ES`, `FDAX`, `BTCUSD`."""
    maturity: str
    """The whole date: `2026-12-18`."""
    generation: int = 0
    """Counts up when the market uses product and maturity again."""
    settlement: str = ""
    """The asset that it is settled in."""
    payoff: str = ""
    """linear (settles in the quote asset), inverse (in the base), quanto (in a third)."""


class Option(Expiring, frozen=True, kw_only=True):
    """The right to buy or to sell at a price."""

    identity = ("venue", "root", "maturity", "strike", "right", "style", "adjustment")

    venue: str
    """Who issues it: the clearing scope or the venue, such as `occ`, `XEUR`, `deribit`. Where else
    it trades are listings."""
    root: str
    """The code of the series: `AAPL`, `BTC`."""
    maturity: str
    """The whole date of expiry: `2026-12-18`."""
    strike: str | int
    right: str
    """call or put."""
    style: str
    """european, american or bermudan."""
    adjustment: int = 0
    """Number of the adjustment, after a corporate action for example; 0 = the standard contract."""
    settlement: str = ""
    """The asset that it is settled in."""
    payoff: str = ""
    """linear (settles in the quote asset), inverse (in the base), quanto (in a third)."""


class Index(Identified, frozen=True, kw_only=True):
    """A number that an administrator publishes."""

    identity = ("administrator", "code")

    administrator: str
    """Its LEI, or a slug such as `stoxx`."""
    code: str
    """The administrator's: `SX5E`."""
    currency: str = ""
    """ISO 4217."""


class PredictionOutcome(Expiring, frozen=True, kw_only=True):
    """One outcome of a question that people bet on, asked by a venue or by a contract on a chain.

    The question's text is its name; `multiplier` is what one share pays when it comes true.
    """

    identity = ("venue", "chain", "contract", "condition", "outcome")

    condition: str
    """The venue's or the contract's id of the question."""
    outcome: str
    """The id of this outcome in it: `0`, `YES`, a number of a position."""
    venue: str = ""
    """MIC, or slug of a venue without one: `kalshi`. Empty when the contract is given."""
    chain: str = ""
    """CAIP-2, with the contract."""
    contract: str = ""
    """Address of the contract that keeps the conditions."""
    settlement: str = ""
    """The asset that it pays in."""


class Synthetic(Instrument, frozen=True, kw_only=True):
    """A basket of instruments, or another formula over them. A rebalance amends the formula."""

    identity = ("owner", "name")

    owner: str
    """LEI or slug of who defines it."""
    name: str
    """The owner's, as it is written: `TOP2`. Lookups go by id and symbol."""
    formula: str
    """`0.5*0x… + 0.5*0x…` of registered instruments, as `formula.py` says. `Registry` takes other
    KEYs too, and keeps the ids that they mean."""
    quote: str = ""
    """The asset that its value is in."""


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
    ticks: str = ""
    """This and the sizes: as of an instrument, by the rules of this venue."""
    min_size: str | int | None = None
    max_size: str | int | None = None
    min_notional: str | int | None = None
    figi: str = ""
    """The FIGI of this listing, the third level below those of the share class and the country."""
    symbol_from: str | int = 0
    """Since when it has this symbol, after another one; 0 = as long as it is listed."""


AnyInstrument = (
    Token | Coin | Equity | Etf | Bond | Currency | FxPair | SpotPair | DexPool | Perpetual | Future
    | Option | Index | PredictionOutcome | Synthetic
)  # fmt: skip

CLASSES: Final[dict[str, type[AnyInstrument]]] = {
    "token": Token, "coin": Coin, "equity": Equity, "etf": Etf, "bond": Bond, "currency": Currency,
    "fx_pair": FxPair, "spot_pair": SpotPair, "dex_pool": DexPool, "perpetual": Perpetual,
    "future": Future, "option": Option, "index": Index, "outcome": PredictionOutcome,
    "synthetic": Synthetic,
}  # fmt: skip
"""By the name that commands, CSV columns and JSON use."""
NAMES: Final[dict[type[Instrument], str]] = {kind: name for name, kind in CLASSES.items()}

ORDER_FIELDS: Final = ("tick", "lot", "ticks", "min_size", "max_size", "min_notional")
"""Which orders are taken: fields of an `Ordered` instrument and of a listing alike."""

T = TypeVar("T", bound=msgspec.Struct)


def articled(name: str) -> str:
    """Of a class, for messages: `a token`, `an equity`, `an fx pair`."""
    return f"{'an' if name[0] in 'aeiou' or name == 'fx_pair' else 'a'} {name.replace('_', ' ')}"


_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


def from_mapping(kind: type[T], fields: Mapping[str, object]) -> T:
    """A Token, Equity, Listing, … from parsed JSON. Raises InvalidInput with the field's path."""
    try:
        return msgspec.convert(dict(fields), kind)
    except msgspec.ValidationError as error:
        missing = _MISSING.fullmatch(str(error))
        problem = f"{missing[1]} is missing" if missing else str(error)[:200]
        raise InvalidInput(
            f"reading {articled(_name_of(kind))}", problem=problem,
            cure=f"its fields are {', '.join(kind.__struct_fields__)}",
        ) from error  # fmt: skip


def _name_of(kind: type[msgspec.Struct]) -> str:
    return NAMES[kind] if issubclass(kind, Instrument) else kind.__name__.lower()


def class_named(name: object) -> type[AnyInstrument]:
    """`equity` gives Equity, in any case; `fx-pair` is `fx_pair`. Raises InvalidInput."""
    known = name.strip().lower().replace("-", "_") if isinstance(name, str) else ""
    found = CLASSES.get(known)
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
