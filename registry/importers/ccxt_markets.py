"""Markets as ccxt's `load_markets()` gives them: ccxt's "Market Structure", written as JSON.

    {"id": "binance", "precisionMode": 4, "markets": {"BTC/USDT": {…}, …}}    best: nothing is open
    {"BTC/USDT": {…}, …}     or     [{…}, …]

A market names neither its exchange nor the precision mode, so the first form says them: they are
`exchange.id`, with `:test` for a sandbox, and `exchange.precisionMode`. Else the exchange is
`--source` or the beginning of the file's name (`binance.markets.json`), whichever is an exchange of
ccxt (if both are, they must be one), and the mode is known where it cannot be another:

* a market whose precision has a fraction (0.01) counts in steps: digits are whole;
* one whose numbers are whole (8) could be of each mode, and is quarantined.

In mode 4 (TICK_SIZE) precision is the tick and the lot themselves, in mode 2 (DECIMAL_PLACES) n
digits are a step of 10^-n, in mode 3 (SIGNIFICANT_DIGITS) the step moves with the price: there tick
and lot stay unknown.

No market says its generation: what is said goes to the newest that is registered.

What has no place in an instrument is left out: fees, leverage, margin modes, limits of the price,
the largest cost, the venue's ids of currencies, `created` and `info`; also an expiry of what has
none (Deribit's perpetuals and spot pairs: in the year 3000). Fields that ccxt does not document are
reported. `ccxt_venues.py` says how product, root and style are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

from alphapulse.log import InvalidInput, number
from alphapulse.registry import terms, validation
from alphapulse.registry.commands import Register
from alphapulse.registry.instruments import AnyInstrument, Future, Option, Perpetual, SpotPair

from .base import InputFile, Refused, Row, slug
from .ccxt_venues import EXCHANGES, product_of, root_of, style_of, venue_of
from .json_document import DOCUMENT_SIZE_BYTES_MAX, doubled_key, flaw_of, integer, parsed, text

DECIMAL_PLACES: Final = 2
SIGNIFICANT_DIGITS: Final = 3
TICK_SIZE: Final = 4
DIGITS_MAX: Final = 30
"""More decimal places than this are no precision but damage."""
UNKNOWN_SHOWN_MAX: Final = 20
_DOING: Final = "reading a market"
_NS_A_MS: Final = 1_000_000
_NS_A_DAY: Final = 86_400 * 10**9
_WRAPPER: Final = frozenset({"id", "exchange", "precisionMode", "markets"})
_DOCUMENTED: Final = """
id lowercaseId uppercaseId numericId symbol base quote settle baseId quoteId settleId type spot
margin swap future option index contract active linear inverse quanto subType taker maker percentage
tierBased feeSide contractSize expiry expiryDatetime strike optionType precision limits marginModes
created info
"""
_MARKET: Final = frozenset(_DOCUMENTED.split())
"""Fields that ccxt documents; all others are reported."""
_PRECISION: Final = frozenset({"amount", "price", "cost", "base", "quote"})
_LIMITS: Final = frozenset({"amount", "price", "cost", "leverage"})
_KINDS: Final = ("spot", "margin", "swap", "future", "option")
_FLAGS: Final = ("spot", "swap", "future", "option")
_STATUSES: Final = {True: "active", False: "halted"}

Fields = Mapping[str, Any]


class CcxtMarkets:
    name = "ccxt-markets"
    summary = 'JSON of ccxt\'s load_markets(): {"id", "precisionMode", "markets"}, or markets alone'
    needs = ("baseId", "quoteId")
    marks = ("markets", "precisionMode", "precision", "limits", "base", "quote", "contractSize")

    def sniff(self, path: Path, head: bytes) -> bool:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return start[:1] in (b"{", b"[") and b'"baseId"' in start and b'"quoteId"' in start

    def open(self, file: InputFile) -> CcxtReading:
        return CcxtReading(file, file.read(DOCUMENT_SIZE_BYTES_MAX))


class _Place(NamedTuple):
    name: str
    """`['BTC/USDT']` or `[12]`, behind `markets` if that is where it stands."""
    key: str
    """What the document calls it; empty in a list."""
    raw: object


class CcxtReading:
    def __init__(self, file: InputFile, data: bytes) -> None:
        self.content_hash = blake3(data).digest()
        self._file = file
        document = parsed(file, data)
        self._exchange, self._mode, inside, unknown = "", 0, "", set[str]()
        if isinstance(document, dict) and "markets" in document:
            if flaw := flaw_of({**document, "markets": None}) or doubled_key(document):
                file.refuse(flaw, cure="correct the document around its markets")
            self._exchange, self._mode = _exchange(file, document), _mode(file, document)
            unknown, inside = {key[:40] for key in document.keys() - _WRAPPER}, "markets"
            document = document["markets"]
        self._places = _places(file, document, inside)
        unknown.update(*(_unknown(place.raw) for place in self._places))
        self.unknown_columns = tuple(sorted(unknown)[:UNKNOWN_SHOWN_MAX])
        stem = slug(file.path.name.split(".")[0])
        self.source = self._exchange or stem or CcxtMarkets.name
        self._stem = stem
        self.total = len(self._places)
        self.done = 0

    def rows(self, source: str) -> Iterator[Row | Refused]:
        venue = venue_of(self._named(source))
        read = [self._read(place, venue) for place in self._places]
        told = Counter(each.fingerprint for each in read if isinstance(each, Register))
        for place, each in zip(self._places, read, strict=True):
            self.done += 1
            if isinstance(each, InvalidInput):
                yield Refused(place.name, str(each), place.raw)
            elif told[each.fingerprint] > 1:
                native_id = validation.shown(each.facts.values["native_id"])
                yield Refused(
                    place.name, f"{_DOING}: {told[each.fingerprint]} markets of this file are the"
                    f" same instrument, id {native_id} (leave one of them)", place.raw,
                )  # fmt: skip
            else:
                yield Row(place.name, (each,), place.raw)

    def _named(self, source: str) -> str:
        """ccxt's id of the exchange. Raises InvalidInput when nothing says it, or two differ."""
        if self._exchange:
            return self._exchange
        names = [name for name in (source, self._stem) if name.partition(":")[0] in EXCHANGES]
        if len({venue_of(name).partition(":")[0] for name in names}) != 1:
            said = f", only {' and '.join(names)}" if names else ""
            self._file.refuse(
                f"it does not say which exchange its markets are of{said}",
                cure='give --source binance, call it binance.json, or write {"id": "binance",'
                ' "precisionMode": exchange.precisionMode, "markets": exchange.markets}',
            )  # fmt: skip
        return names[0]

    def _read(self, place: _Place, venue: str) -> Register | InvalidInput:
        try:
            raw = place.raw
            if not isinstance(raw, dict):
                raise InvalidInput(_DOING, problem=f"it is {validation.shown(raw)}",
                                   cure="write an object in braces")  # fmt: skip
            if flaw := flaw_of(raw):
                raise InvalidInput(_DOING, problem=flaw)
            said = _said(raw)
            symbol = text(said, "symbol")
            if place.key and place.key != symbol:
                validation.refuse("symbol", "the document calls it otherwise", symbol,
                                  f"it stands under {validation.shown(place.key)}")  # fmt: skip
            return Register.of(_instrument(said, venue, self._mode), newest=True)
        except InvalidInput as error:
            return error


# --- the document ----------------------------------------------------------------------------


def _exchange(file: InputFile, document: Fields) -> str:
    """Raises InvalidInput; empty when the document does not name one."""
    names = [document[field] for field in ("id", "exchange") if document.get(field) is not None]
    if not names:
        return ""
    name = names[0]
    if names[-1] != name or not isinstance(name, str) or not name:
        file.refuse("its id and exchange must be one name in text", cure="write exchange.id")
    venue_of(name)
    return name


def _mode(file: InputFile, document: Fields) -> int:
    """0 when the document does not say it. Raises InvalidInput."""
    mode = document.get("precisionMode")
    if mode is None:
        return 0
    if type(mode) is not int or mode not in (DECIMAL_PLACES, SIGNIFICANT_DIGITS, TICK_SIZE):
        file.refuse(
            "its precisionMode is none of ccxt's", precisionMode=validation.shown(mode),
            cure="write exchange.precisionMode: 2 digits, 3 significant digits, 4 tick sizes",
        )  # fmt: skip
    return mode


def _places(file: InputFile, markets: object, inside: str) -> list[_Place]:
    if isinstance(markets, list):
        return [_Place(f"{inside}[{at}]", "", raw) for at, raw in enumerate(markets)]
    if not isinstance(markets, dict):
        file.refuse("it has no markets", cure=f"it looks like {CcxtMarkets.summary}")
    if isinstance(markets.get("symbol"), str):
        file.refuse("it is one market", cure="write it as a list of one")
    if flaw := doubled_key(markets):
        file.refuse(flaw, cure="write it again, a market was lost")
    return [
        _Place(f"{inside}[{validation.shown(key)}]", key, raw) for key, raw in markets.items()
    ]


def _unknown(raw: object) -> Iterator[str]:
    """Names of fields that ccxt does not document, cut to 40 characters."""
    if not isinstance(raw, dict):
        return
    yield from (key[:40] for key in raw.keys() - _MARKET)
    for field, known in (("precision", _PRECISION), ("limits", _LIMITS)):
        inner = raw.get(field)
        if isinstance(inner, dict):
            yield from (f"{field}.{key[:40]}" for key in inner.keys() - known)


def _said(fields: Fields) -> dict[str, Any]:
    """Without the fields that are null, or empty as some languages write it: they say nothing."""
    return {field: value for field, value in fields.items() if value not in (None, "")}


def _inner(fields: Fields, field: str, name: str = "") -> dict[str, Any]:
    found = fields.get(field, {})
    if not isinstance(found, dict):
        validation.refuse(name or field, "it must be an object", found)
    return _said(found)


# --- one market ------------------------------------------------------------------------------


def _instrument(said: Fields, venue: str, mode: int) -> AnyInstrument:
    kind = _kind(said)
    common = _common(said, venue, mode)
    if kind in ("spot", "margin"):
        return SpotPair(market=kind, **common)
    settle = _needed(said, "settle")
    contract = {
        **common, "multiplier": _exact(said, "contractSize"), "settlement": settle,
        "payoff": _payoff(said),
    }  # fmt: skip
    if kind == "swap":
        return Perpetual(**contract)
    expiry = _expiry(said)
    day = date(1970, 1, 1) + timedelta(days=expiry // _NS_A_DAY)
    series = f"{common['base']}/{common['quote']}:{settle}-"
    if not common["symbol"].startswith(series):  # Deribit's combinations of several, for example
        validation.refuse("symbol", f"it does not begin with {series}", common["symbol"],
                          "a contract of another kind is not known to this format")  # fmt: skip
    contract |= {"expiry": expiry, "maturity": day.isoformat()}
    if kind == "future":
        return Future(product=product_of(common["native_id"], day), **contract)
    strike, right = _exact(said, "strike"), text(said, "optionType")
    if strike is None:
        validation.refuse("strike", "it is missing", None, "give the price at which it exercises")
    if right not in terms.CHOICES["right"]:
        validation.refuse("optionType", "it must be call or put", right)
    root = root_of(common["native_id"], day, number(strike).to_decimal(), right)
    return Option(root=root, strike=strike, right=right, style=style_of(venue), **contract)


def _kind(said: Fields) -> str:
    """`type`, which the flags and the other fields must not contradict."""
    kind = text(said, "type")
    if kind not in _KINDS:
        validation.refuse("type", "there is no class for it", kind,
                          f"these have one: {', '.join(_KINDS)}")  # fmt: skip
    for flag in (*_FLAGS, "margin"):
        value = said.get(flag)
        if value is not None and type(value) is not bool:
            validation.refuse(flag, "it must be true or false", value)
        other = flag in _FLAGS and flag != kind and (kind, flag) != ("margin", "spot")
        if (flag == kind and value is False) or (other and value is True):
            validation.refuse("type", f"the field {flag} contradicts it", kind)
    for field in ("strike", "optionType"):
        if field in said and kind != "option":
            validation.refuse(field, f"a market of type {kind} has none", str(said[field]))
    return kind


def _common(said: Fields, venue: str, mode: int) -> dict[str, Any]:
    active = said.get("active")
    if active is not None and type(active) is not bool:
        validation.refuse("active", "it must be true or false", active)
    limits = _inner(said, "limits")
    amount = _inner(limits, "amount", "limits.amount")
    cost = _inner(limits, "cost", "limits.cost")
    precision = _inner(said, "precision")
    mode = mode or _mode_of(precision)
    return {
        "venue": venue,
        "native_id": terms.native_id(_needed(said, "id"), "id"),
        "symbol": _needed(said, "symbol"),
        "base": _needed(said, "base"),
        "quote": _needed(said, "quote"),
        "status": "" if active is None else _STATUSES[active],
        "tick": _step(precision, "price", mode),
        "lot": _step(precision, "amount", mode),
        "min_size": _least(amount, "limits.amount.min"),
        "max_size": _exact(amount, "max", "limits.amount.max"),
        "min_notional": _least(cost, "limits.cost.min"),
    }


def _needed(said: Fields, field: str) -> str:
    found = text(said, field)
    if not found.strip():
        validation.refuse(field, "it is missing", None, "give it: such a market needs it")
    return found


def _payoff(said: Fields) -> str:
    """Empty when it says nothing."""
    words = []
    for word in terms.CHOICES["payoff"]:
        value = said.get(word, False)
        if type(value) is not bool:
            validation.refuse(word, "it must be true or false", value)
        if value:
            words.append(word)
    if len(words) > 1:
        validation.refuse(words[0], f"it cannot be {words[1]} as well", True)
    return words[0] if words else ""


def _expiry(said: Fields) -> int:
    """ns since 1970; ccxt has ms, and the same as text."""
    ms, words = integer(said, "expiry", 1_798_185_600_000), text(said, "expiryDatetime")
    written = terms.instant(words, "expiryDatetime")
    if not ms and not written:
        validation.refuse("expiry", "it is missing", ms, "give it in ms since 1970")
    expiry = written if ms is None else terms.instant(ms * _NS_A_MS, "expiry")
    if not expiry or (written and written != expiry):
        validation.refuse("expiry", f"expiryDatetime says {validation.shown(words)}", ms)
    return expiry


# --- numbers ---------------------------------------------------------------------------------


def _exact(fields: Fields, field: str, name: str = "") -> str | None:
    """Exactly what the document says, as text: a JSON number, or a string of one as ccxt writes
    them with `exchange.number = str`."""
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        validation.refuse(name or field, "it must be a number", value)
    return validation.signed(value if isinstance(value, int) else str(value), name or field)


def _least(fields: Fields, name: str) -> str | None:
    """The least that is allowed; 0 allows everything and says nothing."""
    found = _exact(fields, "min", name)
    return None if found == "0" else found


def _mode_of(precision: Fields) -> int:
    """Of a market without a stated mode, the only one that its numbers can be of."""
    steps = [_exact(precision, field, f"precision.{field}") for field in sorted(_PRECISION)]
    if any(step is not None and number(step).exponent < 0 for step in steps):
        return TICK_SIZE
    for field in ("price", "amount"):
        if field in precision:
            given = str(precision[field])
            validation.refuse(
                f"precision.{field}", "it may be a step or a count of digits", given,
                'write {"id": …, "precisionMode": exchange.precisionMode, "markets": …}',
            )  # fmt: skip
    return TICK_SIZE


def _step(precision: Fields, field: str, mode: int) -> str | None:
    name = f"precision.{field}"
    if mode == TICK_SIZE:
        return _exact(precision, field, name)
    digits = integer(precision, field, 8, name)
    if digits is None:
        return None
    if not -DIGITS_MAX <= digits <= DIGITS_MAX:
        validation.refuse(name, "so many digits are no precision", digits)
    return f"1e{-digits}" if mode == DECIMAL_PLACES else None
