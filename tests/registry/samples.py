"""One of each class: the fields of its identity, and then everything that can be known of it."""

from __future__ import annotations

from typing import Any, Final

Fields = dict[str, Any]
USDC: Final = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
WETH: Final = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
POOL: Final = "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640"
FACTORY: Final = "0x1F98431c8aD98523631AE4a59f267346ea31F984"
EUR: Final = "0x746132e19d8c507f"
"""Id of the currency, which the formula of the synthetic uses."""
CONDITIONS: Final = "0x4D97DCd97eC945f40cF65F87097ACe5EA0476045"

_COMMON: Final[Fields] = {
    "symbol": "a symbol of 21 chars🦄", "name": "N", "decimals": 3, "tick": "0.0001", "lot": "1",
}  # fmt: skip
_ORDERS: Final[Fields] = {
    "ticks": "0:0.0001 1:0.00390625", "min_size": "0.001", "max_size": "900", "min_notional": "5",
}  # fmt: skip
_SECURITY: Final[Fields] = {
    **_COMMON, "isin": "US0378331005", "figi": "BBG001S5N8V8", "cusip": "037833100",
    "sedol": "2046251", "composite_figi": "BBG000B9XRY4", "lei": "HWUPKR0MPOU8FGXBT394",
    "currency": "USD", "cfi": "ESVUFR", "settlement": "USDC", **_ORDERS,
}  # fmt: skip
_BOND: Final[Fields] = {
    **_SECURITY, "coupon": "4.125", "coupon_frequency": 2, "maturity": "2053-05-15",
    "denomination": "1000", "min_denomination": "100000", "day_count": "ACT/ACT.ICMA",
    "issue_date": "2023-05-15",
}  # fmt: skip
_TRADED: Final[Fields] = {
    **_COMMON, "isin": "DE000C4SA5W8", "figi": "BBG000BLNNH6", "cfi": "FFICSX", "base": "1000SATS",
    "quote": "USDT", **_ORDERS,
}  # fmt: skip
_CONTRACT: Final[Fields] = {
    **_TRADED, "multiplier": "0.000000000001", "underlying": "0xe6bee3829654f008",
}  # fmt: skip
_EXPIRING: Final[Fields] = {
    **_CONTRACT, "expiry": "2226-12-18T14:30:00.000000000Z",
    "last_trade": "2226-12-18T14:00:00.000000000Z", "native_id": "ES Z6",
}  # fmt: skip
_DERIVATIVE: Final[Fields] = {**_EXPIRING, "settlement": "USDC", "payoff": "quanto"}

IDENTITIES: Final[dict[str, Fields]] = {
    "token": {"chain": "eip155:1", "address": USDC},
    "coin": {"chain": "eip155:1"},
    "equity": {"cusip": "037833100"},
    "etf": {"cusip": "037833100"},
    "bond": {"cusip": "037833100"},
    "currency": {"code": "EUR"},
    "fx_pair": {"base": "EUR", "quote": "USD", "tenor": "SPOT"},
    "spot_pair": {"venue": "binance", "market": "spot", "native_id": "BTCUSDT", "generation": 0},
    "dex_pool": {"chain": "eip155:1", "factory": FACTORY.lower(), "address": POOL.lower()},
    "perpetual": {"venue": "binance:test", "market": "perpetual", "native_id": "BTCUSDT",
                  "settlement": "USDT", "generation": 1},
    "future": {"venue": "XCME", "product": "ES", "maturity": "2226-12-18", "generation": 0},
    "option": {"venue": "deribit", "root": "PEPE", "maturity": "2226-12-18",
               "strike": "0.000012345678", "right": "call", "style": "european", "adjustment": 0},
    "index": {"administrator": "stoxx", "code": "SX5E"},
    "outcome": {"chain": "eip155:137", "contract": CONDITIONS.lower(),
                "condition": "0x" + "ab" * 32, "outcome": "1"},
    "synthetic": {"owner": "desk", "name": "TOP2", "formula": f"0.5*{EUR} + 1"},
}  # fmt: skip
MORE: Final[dict[str, Fields]] = {
    "token": _COMMON,
    "coin": _COMMON,
    "equity": _SECURITY,
    "etf": _SECURITY,
    "bond": _BOND,
    "currency": {**_COMMON, "symbol": "EUR"},
    "fx_pair": {**_TRADED, "base": "EUR", "quote": "USD", "settlement": "CHF"},
    "spot_pair": _TRADED,
    "dex_pool": {**_TRADED, "tokens": f"{USDC} {WETH}".lower(), "fee_bps": "0.01"},
    "perpetual": {**_CONTRACT, "payoff": "linear"},
    "future": _DERIVATIVE,
    "option": _DERIVATIVE,
    "index": {**_COMMON, "isin": "EU0009658145", "figi": "BBG000BLNNH6", "cfi": "TIEXXX",
              "currency": "EUR"},
    "outcome": {**_EXPIRING, "settlement": "USDC"},
    "synthetic": {**_COMMON, "name": "TOP2", "quote": "USDT",
                  "formula": f"max(-{EUR}/0.000000000001, 2 - (1 + {EUR}*3)) - 0.5*({EUR} - 1)"},
}  # fmt: skip
FULL: Final = {name: IDENTITIES[name] | MORE[name] for name in IDENTITIES}
NEW: Final = tuple(IDENTITIES)[6:]
"""Classes whose facts are their fields, so that what is shown can be registered again."""
ABOUT: Final = frozenset(
    {"id", "fingerprint", "revision", "offset", "key", "formula_hash", "components"}
)
"""What is shown too, and nobody says."""
