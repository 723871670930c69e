"""Facts: the neutral form between the typed classes and the wire, made to be compared.

`Facts` holds a canonical key, a class, and a flat dict with only the fields that are known, in one
spelling each: exact numbers as decimal text, times and other integers as int, the rest as text. So
`==` compares two sources' words, and `merge` says what one adds and where it contradicts. The names
of the fields are those of conflicts, amendments and `projections.rows`.

    facts_of(typed) ── validates ──► Facts ◄── facts_from(body) ── body_of(facts, …) ──► body

`facts_from(body_of(facts, …)) == facts`: which part of the wire a field lives in is decided here
alone. A class is added with one function and a row in _READERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from alphapulse.log import (
    CLASS_NAMES,
    CLASSES_BY_NAME,
    DECIMALS_UNSET,
    FLAG_CHAIN_ID,
    FLAG_STRIKE,
    MANTISSA_UNSET,
    UNSET,
    AssetClass,
    Extension,
    InstrumentBody,
    Number,
    Status,
    decode_message,
    encode_message,
    number,
    pack_symbol,
)
from alphapulse.log import symbol_of as _symbol_of

from . import validation as check
from .chains import native_slip44
from .identity import currency_key, key_fields, security_key, token_key
from .instruments import CLASSES, Coin, Currency, Instrument, Listing, Security, Token
from .validation import IDENTIFIER_SCHEMES, refuse

Value = str | int


class Facts(NamedTuple):
    """What is known of one instrument. Do not change `values`; make new facts."""

    key: bytes
    asset_class: AssetClass
    values: dict[str, Value]


PLACEHOLDERS: Final = frozenset(
    {"0x" + "0" * 40, "0x" + "e" * 40, "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0000"}
)
"""EVM addresses that token lists use for the chain's native coin, in lower case."""
_DEFAULT_NAMESPACES: Final = {"eip155": "erc20", "solana": "token"}
BIRTH_SCHEMES: Final = ("isin", "figi", "cusip")
"""Which identifier makes the key of a security: the first of these that is given."""

# --- from typed classes ----------------------------------------------------------------------


def asset_of(chain: str, address: str, namespace: str = "") -> tuple[AssetClass, str, str, str]:
    """(class, chain, namespace, reference) as identity uses them; also for lookups by address.

    Default namespace: erc20 on eip155, token on solana. A placeholder address and `slip44` give
    the native coin. Raises InvalidInput. Cost: 1 µs for an EVM address.
    """
    chain = check.chain(chain)
    family = chain.partition(":")[0]
    if namespace:
        namespace = check.namespace(namespace)
    elif not (namespace := _DEFAULT_NAMESPACES.get(family, "")):
        refuse(
            "namespace", f"tokens on {family} have no default one", "",
            "give the CAIP-19 asset namespace",
        )  # fmt: skip
    if family == "eip155" and namespace == "erc20":
        found = check.evm_address(address)
        if found in PLACEHOLDERS:
            return AssetClass.COIN, chain, "slip44", str(native_slip44(chain))
    elif family == "solana" and namespace == "token":
        found = check.solana_address(address)
    elif family == "eip155" and namespace in ("erc721", "erc1155"):
        found = check.evm_item(address)
    else:
        found = check.reference(address)
        if namespace == "slip44":
            if not found.isdigit() or str(int(found)) != found:
                refuse("address", "the reference of slip44 is a number", address)
            given = check.slip44(int(found), "address")
            return AssetClass.COIN, chain, "slip44", str(native_slip44(chain, given))
    return AssetClass.TOKEN, chain, namespace, found


def facts_of(instrument: Instrument) -> Facts:
    """Validates everything in a Token, Coin, Equity, …; raises InvalidInput naming the field.

    `status` and `valid_from` are not facts: `status_of` and `valid_from_of` read them. Cost: 4 µs
    for a token; identifiers with check digits add 7 to 12 µs each.
    """
    reader = _READERS.get(type(instrument))
    if reader is None:
        raise TypeError(f"{type(instrument).__name__} is not a class of instrument")
    facts = reader(instrument)
    _common(instrument, facts.values)
    return facts


def status_of(instrument: Instrument) -> Status | None:
    """None when it says nothing of its status."""
    return check.status(instrument.status) if instrument.status else None


def valid_from_of(instrument: Instrument) -> int:
    """ns since 1970 UTC, 0 = since recorded."""
    return check.time_ns(instrument.valid_from, "valid_from") if instrument.valid_from else 0


def _common(instrument: Instrument, values: dict[str, Value]) -> None:
    if instrument.symbol and (symbol := check.symbol(instrument.symbol)):
        values["symbol"] = symbol
    if instrument.name and (name := check.name(instrument.name)):
        values["name"] = name
    if instrument.decimals is not None:
        values["decimals"] = check.decimals(instrument.decimals)
    if instrument.tick is not None:
        values["tick"] = check.exact(instrument.tick, "tick")
    if instrument.lot is not None:
        values["lot"] = check.exact(instrument.lot, "lot")


def _token(token: Token) -> Facts:
    asset_class, chain, namespace, reference = asset_of(token.chain, token.address, token.namespace)
    return Facts(
        token_key(chain, namespace, reference), asset_class,
        {"chain": chain, "namespace": namespace, "address": reference},
    )  # fmt: skip


def _coin(coin: Coin) -> Facts:
    chain = check.chain(coin.chain)
    given = None if coin.slip44 is None else check.slip44(coin.slip44)
    reference = str(native_slip44(chain, given))
    return Facts(
        token_key(chain, "slip44", reference), AssetClass.COIN,
        {"chain": chain, "namespace": "slip44", "address": reference},
    )  # fmt: skip


def _security(security: Security) -> Facts:
    values: dict[str, Value] = {
        scheme: check.identifier(scheme, given)
        for scheme in IDENTIFIER_SCHEMES
        if (given := getattr(security, scheme))
    }
    for birth in BIRTH_SCHEMES:
        if birth in values:
            break
    else:
        refuse(
            "isin", "a security needs an ISIN, a share-class FIGI or a CUSIP", "",
            "give one of isin, figi, cusip",
        )  # fmt: skip
    if security.currency:
        values["currency"] = check.currency(security.currency)
    return Facts(security_key(birth, str(values[birth])), _SECURITIES[type(security)], values)


def _currency(currency: Currency) -> Facts:
    code = check.currency(currency.code, "code")
    if currency.symbol and currency.symbol.strip() != code:
        refuse("symbol", f"the symbol of a currency is its code, {code}", currency.symbol)
    return Facts(currency_key(code), AssetClass.CURRENCY, {"symbol": code, "currency": code})


_SECURITIES: Final = {
    kind: CLASSES_BY_NAME[kind.__name__.lower()] for kind in Security.__subclasses__()
}
_READERS: Final[dict[type, Callable[[Any], Facts]]] = {
    Token: _token, Coin: _coin, Currency: _currency, **dict.fromkeys(_SECURITIES, _security),
}  # fmt: skip


def normalised(listing: Listing) -> Listing:
    """The listing with every field but `instrument` in its canonical form: times as int ns, tick
    and lot as decimal text or None. Raises InvalidInput."""
    valid_from = check.time_ns(listing.valid_from, "valid_from")
    valid_to = check.time_ns(listing.valid_to, "valid_to")
    if valid_to and valid_to <= valid_from:
        refuse("valid_to", "it must be after valid_from", listing.valid_to)
    if type(listing.primary) is not bool:
        refuse("primary", "it must be true or false", listing.primary)
    return msgspec.structs.replace(
        listing,
        venue=check.venue(listing.venue),
        symbol=check.symbol(listing.symbol),
        currency=check.listing_currency(listing.currency) if listing.currency else "",
        line=check.line(listing.line),
        valid_from=valid_from,
        valid_to=valid_to,
        tick=None if listing.tick is None else check.exact(listing.tick, "tick"),
        lot=None if listing.lot is None else check.exact(listing.lot, "lot"),
    )


# --- to and from the wire --------------------------------------------------------------------

_MESSAGE_FIELDS: Final = frozenset(
    {"symbol", "decimals", "tick", "lot", "isin", "currency", "venue", "parent", "expiry",
     "strike", "multiplier", "chain", "namespace", "address", "name"}
)  # fmt: skip
"""Fields with a place of their own in message or extension; the rest are identifiers or terms."""
_IDENTIFIER_FIELDS: Final = frozenset(IDENTIFIER_SCHEMES) - {"isin"}


def body_of(
    facts: Facts, *, id: int, fingerprint: bytes, counter: int = 0, status: int = Status.ACTIVE,
    revision: int = 1, valid_from: int = 0,
) -> InstrumentBody:  # fmt: skip
    """Message and extension of these facts. Cost: 2.5 µs.

    Three pairs share a place in the message; what has none there stands in the extension's terms:
    expiry goes before the chain number, strike before multiplier, and a currency code of up to
    four letters before a longer one.
    """
    values: dict[str, Any] = facts.values
    get = values.get
    terms: dict[str, Value] = {}
    identifiers: dict[str, str] = {}
    if not values.keys() <= _MESSAGE_FIELDS:
        for field in sorted(values.keys() - _MESSAGE_FIELDS):
            if field in _IDENTIFIER_FIELDS:
                identifiers[field] = values[field]
            else:
                terms[field] = values[field]
    symbol, chain, venue = get("symbol", ""), get("chain", ""), get("venue", "")
    raw_symbol, flags = pack_symbol(symbol)
    long_symbol = symbol if flags else ""
    at_64 = get("expiry", 0)
    if not at_64 and chain.startswith("eip155:"):
        flags |= FLAG_CHAIN_ID
        at_64 = int(chain[7:])
    if "strike" in values:
        flags |= FLAG_STRIKE
        at_72 = number(values["strike"])
        if "multiplier" in values:
            terms = dict(sorted({**terms, "multiplier": values["multiplier"]}.items()))
    else:
        at_72 = number(values["multiplier"]) if "multiplier" in values else UNSET
    tick = number(values["tick"]) if "tick" in values else UNSET
    lot = number(values["lot"]) if "lot" in values else UNSET
    currency = get("currency", "")
    if len(currency) > 4:
        terms = dict(sorted({**terms, "currency": currency}.items()))
        currency = ""
    mic = venue if venue and check.venue_parts(venue)[0] == "mic" else ""
    message = encode_message(
        facts.asset_class, status, flags, get("decimals", DECIMALS_UNSET), tick[1], id, fingerprint,
        get("parent", 0), valid_from, tick[0], lot[0], at_64, at_72[0], lot[1], at_72[1],
        len(raw_symbol), revision, mic.encode(), currency.encode(), get("isin", "").encode(),
        raw_symbol,
    )  # fmt: skip
    return InstrumentBody(
        message,
        Extension(
            key=facts.key, counter=counter, symbol=long_symbol, name=get("name", ""), chain=chain,
            namespace=get("namespace", ""), address=get("address", ""),
            venue="" if mic else venue, identifiers=identifiers, terms=terms,
        ),
    )  # fmt: skip


def facts_from(body: InstrumentBody) -> Facts:
    """What a body says, whatever its status, id, revision and times. Verifies the message's CRC."""
    message, extension = decode_message(body.message), body.extension
    values: dict[str, Value] = {}
    texts = (
        ("chain", extension.chain), ("namespace", extension.namespace),
        ("address", extension.address), ("symbol", _symbol_of(body)), ("name", extension.name),
        ("isin", _ascii(message.isin)), ("currency", _ascii(message.currency)),
        ("venue", extension.venue or _ascii(message.venue)),
    )  # fmt: skip
    for field, text in texts:
        if text:
            values[field] = text
    if message.decimals != DECIMALS_UNSET:
        values["decimals"] = message.decimals
    if message.parent:
        values["parent"] = message.parent
    if message.expiry_or_chain and not message.flags & FLAG_CHAIN_ID:
        values["expiry"] = message.expiry_or_chain
    at_72 = "strike" if message.flags & FLAG_STRIKE else "multiplier"
    numbers = (
        ("tick", message.tick_mantissa, message.tick_exponent),
        ("lot", message.lot_mantissa, message.lot_exponent),
        (at_72, message.strike_or_multiplier_mantissa, message.strike_or_multiplier_exponent),
    )
    for field, mantissa, exponent in numbers:
        if mantissa != MANTISSA_UNSET:
            values[field] = str(Number(mantissa, exponent))
    values.update(extension.identifiers)
    values.update(extension.terms)
    return Facts(extension.key, AssetClass(message.asset_class), values)


def _ascii(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii")


# --- comparing and amending ------------------------------------------------------------------

IDENTITY_FIELDS: Final = frozenset({"chain", "namespace", "address", "slip44", "code"})
"""What a person may call the parts of a key. They are never amended: that is another instrument."""
_NO_FACTS: Final = frozenset({"status", "valid_from"})


def _amendable(kind: type[Instrument]) -> frozenset[str]:
    """What a registration may say, but for its identity; so no field fits only one of the two."""
    fields = frozenset(kind.__struct_fields__) - IDENTITY_FIELDS - _NO_FACTS
    if issubclass(kind, Security):
        return fields | {"class"}
    return fields - {"symbol"} if issubclass(kind, Currency) else fields


_AMENDABLE: Final[dict[AssetClass, frozenset[str]]] = {
    CLASSES_BY_NAME[name]: _amendable(kind) for name, kind in CLASSES.items()
}
AMENDABLE_FIELDS: Final = frozenset().union(*_AMENDABLE.values())
"""Of any class; `amendable_fields(asset_class)` gives those of one."""

_CHECKS: Final[dict[str, Callable[[Any], Value]]] = {
    "symbol": check.symbol,
    "name": check.name,
    "decimals": check.decimals,
    "tick": lambda value: check.exact(value, "tick"),
    "lot": lambda value: check.exact(value, "lot"),
    "currency": check.currency,
    **{scheme: partial(check.identifier, scheme) for scheme in IDENTIFIER_SCHEMES},
}
if _CHECKS.keys() | {"class"} != AMENDABLE_FIELDS:
    raise ImportError("every amendable field needs a check")


def amendable_fields(asset_class: AssetClass) -> frozenset[str]:
    return _AMENDABLE.get(asset_class, frozenset())


def amended(held: Facts, changes: Mapping[str, object]) -> Facts:
    """The facts after `changes`, given as people write them; None or "" = no longer known.

    Raises InvalidInput for a bad value and for a field that cannot be amended.
    """
    values, asset_class = dict(held.values), held.asset_class
    allowed = amendable_fields(held.asset_class)
    for field, value in changes.items():
        if field not in allowed:
            identity = field in IDENTITY_FIELDS or field in held.values
            refuse(
                field[:40],
                "it is part of who this is" if identity
                else f"a {CLASS_NAMES[held.asset_class]} has no such field",
                value,
                "register the other instrument" if identity
                else f"what can change: {', '.join(sorted(allowed))}",
            )  # fmt: skip
        if field == "class":
            asset_class = _security_class(value)
        elif value is None or value == "":
            values.pop(field, None)
        elif (canonical := _CHECKS[field](value)) != "":
            values[field] = canonical
        else:
            values.pop(field, None)
    return Facts(held.key, asset_class, values)


def _security_class(value: object) -> AssetClass:
    names = [CLASS_NAMES[c] for c, fields in _AMENDABLE.items() if "class" in fields]
    if not isinstance(value, str) or value not in names:
        refuse("class", "it cannot become this class", value, f"use one of {', '.join(names)}")
    return CLASSES_BY_NAME[value]


def birth_of(key: bytes) -> tuple[str, str] | None:
    """(scheme, value) of a security's birth identifier, None for other keys."""
    fields = key_fields(key)
    return (fields[1], fields[2]) if fields[0] == "security" and len(fields) == 3 else None


def merge(held: Facts, offered: Facts) -> tuple[dict[str, Value], dict[str, tuple[Value, Value]]]:
    """What `offered` adds, and where it says something else: field to (held, offered).

    Fields that `offered` does not know say nothing. `class` is compared too, by name. A birth
    identifier that was replaced since is no disagreement: offering it only says who is meant.
    """
    assert held.key == offered.key, "only facts of one instrument can be compared"
    filled: dict[str, Value] = {}
    disagreements: dict[str, tuple[Value, Value]] = {}
    known = held.values
    for field, value in offered.values.items():
        if field not in known:
            filled[field] = value
        elif known[field] != value and (field, value) != birth_of(held.key):
            disagreements[field] = (known[field], value)
    if held.asset_class != offered.asset_class:
        disagreements["class"] = (
            CLASS_NAMES[held.asset_class], CLASS_NAMES[offered.asset_class]
        )  # fmt: skip
    return filled, disagreements
