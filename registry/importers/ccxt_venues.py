"""What ccxt's markets do not say but a key needs: venue, product of a future, root and style of an
option. Each is read from a table, or from the venue's own id where ccxt's other fields agree with
it; else it is refused.

Sources: ids of exchanges and which are one venue from ccxt 4.5.90 (MIT); styles from the venues'
own contract specifications and help pages, of Derive as NautilusTrader's documentation says it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Final, NoReturn

from alphapulse.registry import validation

_EXCHANGES: Final = """
alpaca apex aster backpack bequant bigone binance binancecoinm binanceus binanceusdm bingx bit2c
bitbank bitbns bitfinex bitflyer bitget bithumb bitopro bitrue bitso bitstamp bitteam bittrade
bitvavo blockchaincom blofin btcbox btcmarkets btcturk btse bullish bybit bybiteu bybitid bydfi cex
coinbase coinbaseexchange coinbaseinternational coincheck coinmate coinone coinsph coinspot
cryptocom cryptomus deepcoin delta deribit derive digifinex dydx extended fmfwio foxbit gate gateeu
gemini grvt hashkey hibachi hitbtc hollaex htx hyperliquid independentreserve indodax kraken
krakenfutures kucoin kucoinfutures latoken lbank lighter luno mercado mexc modetrade mudrex myokx
nado ndax okx okxus onetrading p2b pacifica paradex paymium phemex poloniex polymarket revolutx
tokocrypto toobit upbit weex whitebit woo woofipro xt zaif zebpay
"""
EXCHANGES: Final = frozenset(_EXCHANGES.split())
"""Ids of ccxt. A file's name is taken for the exchange only if it is one of these."""
SAME_VENUE: Final = {
    "binanceusdm": "binance", "binancecoinm": "binance", "kucoinfutures": "kucoin",
}  # fmt: skip
"""Classes of ccxt that load some of another's markets, with the same ids."""
STYLES: Final = dict.fromkeys(
    ("binance", "bybit", "delta", "deribit", "derive", "gate", "okx"), "european"
)
"""Of all plain calls and puts of a venue. Who is not here may have either."""

_SEPARATOR: Final = re.compile("([-_])")
_STRIKE: Final = re.compile(r"[0-9]+(?:[.d][0-9]+)?", re.ASCII)
_MONTHS: Final = (
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
)  # fmt: skip
_MONTH_CODES: Final = "FGHJKMNQUVXZ"
_RIGHTS: Final = {"call": ("C", "CALL"), "put": ("P", "PUT")}


def venue_of(exchange: str) -> str:
    """Of one of ccxt's exchange ids; `binance:test` is its sandbox. Raises InvalidInput."""
    scheme, slug, environment = validation.venue_parts(exchange, "exchange")
    if scheme != "slug":
        validation.refuse("exchange", "it is a MIC and no exchange of ccxt", exchange,
                          "write its id in ccxt, such as binance")  # fmt: skip
    return validation.venue(f"{SAME_VENUE.get(slug, slug)}:{environment}")


def style_of(venue: str) -> str:
    """Raises InvalidInput where it is not documented that all options are of one style."""
    slug = venue.partition(":")[0]
    if slug not in STYLES:
        validation.refuse(
            "style", "ccxt does not say it, and of this venue it is not known", slug,
            "register the option with its style",
        )  # fmt: skip
    return STYLES[slug]


def product_of(native_id: str, maturity: date) -> str:
    """A venue's own code of the series: the id of one of its futures without the date.

    `BTCUSD_270625` and `BTCUSDM27` give `BTCUSD`, `BIT-25JUN27-CDE` gives `BIT-CDE`. Raises
    InvalidInput when the id has no date, or another one than the maturity.
    """
    parts = _SEPARATOR.split(native_id)
    spelt = _spellings(maturity)
    dates = [at for at in range(0, len(parts), 2) if parts[at].upper() in spelt]
    product = ""
    if len(dates) == 1:
        product = _without(parts, dates)
    elif not dates:
        code = f"{_MONTH_CODES[maturity.month - 1]}{maturity.year % 100:02}"
        ends = [end for end in (*spelt, code) if native_id.upper().endswith(end)]
        end = max(ends, key=len, default="")
        series = native_id[: len(native_id) - len(end)]
        is_whole = not (series[-1:].isdigit() and end[:1].isdigit())  # 15JUN27 is no 5JUN27
        product = series.rstrip("-_") if end and is_whole else ""
    if not product:
        _refuse_id("it does not name its date of expiry once", native_id, maturity, "product")
    return product


def root_of(native_id: str, maturity: date, strike: Decimal, right: str) -> str:
    """The same of an option: its id without date, strike and right. `BTC-USD-270625-90000-C` gives
    `BTC-USD`, `XRP_USDC-25JUN27-0d5-C` gives `XRP_USDC`. Raises InvalidInput unless each stands in
    it exactly once and is what ccxt says."""
    parts = _SEPARATOR.split(native_id)
    even = range(0, len(parts), 2)
    spelt, letters = _spellings(maturity), _RIGHTS[right]
    found = (
        [at for at in even if parts[at].upper() in spelt],
        [at for at in even if _is_strike(parts[at], strike)],
        [at for at in even if parts[at].upper() in letters],
    )
    places = {at for each in found for at in each}
    is_clear = all(len(each) == 1 for each in found) and len(places) == len(found)
    root = _without(parts, places)
    if not is_clear or not root:
        _refuse_id(
            "it does not name date, strike and right, each once", native_id, maturity, "root"
        )
    return root


def _spellings(day: date) -> frozenset[str]:
    year, month, number = f"{day.year % 100:02}", f"{day.month:02}", f"{day.day:02}"
    name = _MONTHS[day.month - 1]
    return frozenset({
        f"{year}{month}{number}", f"{day.year}{month}{number}", f"{number}{month}{year}",
        f"{number}{name}{year}", f"{day.day}{name}{year}",
    })  # fmt: skip


def _is_strike(part: str, strike: Decimal) -> bool:
    return _STRIKE.fullmatch(part) is not None and Decimal(part.replace("d", ".")) == strike


def _without(parts: list[str], places: Collection[int]) -> str:
    """The parts that are left, each behind the separator that stood before it."""
    left = [at for at in range(0, len(parts), 2) if at not in places]
    return "".join(("" if at == left[0] else parts[at - 1]) + parts[at] for at in left)


def _refuse_id(problem: str, native_id: str, maturity: date, field: str) -> NoReturn:
    validation.refuse(
        "id", f"{problem} ({maturity.isoformat()}), so the {field} is not known", native_id,
        f"register it with its {field}",
    )  # fmt: skip
