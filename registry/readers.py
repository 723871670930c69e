"""From the typed classes to `Facts`: every field checked, the key derived.

Some classes have readers of their own, because their key is more than some of their fields: a
placeholder is a native coin, a security is its birth identifier. All others are read field by
field; a class of that sort is added in `instruments.py` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from alphapulse.log import CLASSES_BY_NAME, AssetClass, Status

from . import validation as check
from .chains import native_slip44
from .facts import CHECKS, NO_FACTS, Facts, Value, derived, says_nothing
from .identity import class_key, currency_key, security_key, token_key
from .instruments import (
    NAMES,
    ORDER_FIELDS,
    Coin,
    Currency,
    DexPool,
    FxPair,
    Instrument,
    Listing,
    PredictionOutcome,
    Security,
    Synthetic,
    Token,
    articled,
)
from .terms import agree, contract_on, pool_parts
from .validation import IDENTIFIER_SCHEMES, is_backward, refuse

PLACEHOLDERS: Final = frozenset(
    {"0x" + "0" * 40, "0x" + "e" * 40, "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0000"}
)
"""EVM addresses that token lists use for the chain's native coin, in lower case."""
_DEFAULT_NAMESPACES: Final = {"eip155": "erc20", "solana": "token"}
BIRTH_SCHEMES: Final = ("isin", "figi", "cusip")
"""Which identifier makes the key of a security: the first of these that is given."""

# --- classes with readers of their own -------------------------------------------------------


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
    kind = type(instrument)
    if kind not in NAMES:
        refuse(
            "instrument", "it is of no class of instruments", instrument,
            "give an Equity, a Token or one of the other classes",
        )  # fmt: skip
    reader = _READERS.get(kind)
    if reader is None:
        return _by_fields(instrument)
    facts = reader(instrument)
    _common(instrument, facts.values)
    if kind in _SECURITIES:
        agree(facts.values, facts.values.keys())
    return facts


def status_of(instrument: Instrument) -> Status | None:
    """None when it says nothing of its status."""
    return check.status(instrument.status) if instrument.status else None


def valid_from_of(instrument: Instrument) -> int:
    """ns since 1970 UTC, 0 = since recorded."""
    return check.time_ns(instrument.valid_from, "valid_from")


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
    for field in _TERMS[type(security)]:
        given = getattr(security, field)
        if given is not None and given != "" and (canonical := CHECKS[field](given)) != "":
            values[field] = canonical
    return Facts(security_key(birth, str(values[birth])), _SECURITIES[type(security)], values)


def _currency(currency: Currency) -> Facts:
    code = check.currency(currency.code, "code")
    if currency.symbol and currency.symbol.strip() != code:
        refuse("symbol", f"the symbol of a currency is its code, {code}", currency.symbol)
    return Facts(currency_key(code), AssetClass.CURRENCY, {"symbol": code, "currency": code})


_SECURITIES: Final = {
    kind: CLASSES_BY_NAME[kind.__name__.lower()] for kind in Security.__subclasses__()
}
_TERMS: Final = {
    kind: tuple(
        field for field in kind.__struct_fields__
        if field not in {*Instrument.__struct_fields__, *IDENTIFIER_SCHEMES, "currency"}
    )
    for kind in _SECURITIES
}  # fmt: skip
"""Fields of a security beyond who it is and what every class has."""
_READERS: Final[dict[type, Callable[[Any], Facts]]] = {
    Token: _token, Coin: _coin, Currency: _currency, **dict.fromkeys(_SECURITIES, _security),
}  # fmt: skip
"""Classes whose key is more than some of their fields; `_by_fields` reads the others."""


# --- classes that are their fields -----------------------------------------------------------


def _by_fields(instrument: Instrument) -> Facts:
    """Each field by its check; the key is the class and the fields of its identity, in order.

    Cost: 10 to 20 µs.
    """
    kind = type(instrument)
    name = NAMES[kind]
    values: dict[str, Value] = {}
    for field in _FIELDS[kind]:
        given = getattr(instrument, field)
        if given is None or given == "" or says_nothing(field, canonical := CHECKS[field](given)):
            continue
        values[field] = canonical
    for field in _REQUIRED[kind]:
        if field not in values:
            why = ": it is part of who this is" if field in kind.identity else ""
            refuse(field, f"{articled(name)} needs it", "", f"give it{why}")
    more = _MORE.get(kind)
    if more is not None:
        more(values)
    agree(values, values.keys())
    return Facts(class_key(name, values, kind.identity), CLASSES_BY_NAME[name], values)


def _fx_pair(values: dict[str, Value]) -> None:
    for field in ("base", "quote"):
        check.currency(values[field], field)
    if values["base"] == values["quote"]:
        refuse("quote", "it is the base", values["quote"], "name two currencies")


def _dex_pool(values: dict[str, Value]) -> None:
    values["factory"], values["address"] = pool_parts(
        str(values["chain"]), values["factory"], values["address"]
    )


def _outcome(values: dict[str, Value]) -> None:
    """Asked by a venue, or by a contract on a chain; one of the two is who it is."""
    on_chain = values.keys() & {"chain", "contract"}
    if ("venue" in values) == bool(on_chain) or len(on_chain) == 1:
        refuse("venue", "an outcome needs a venue, or else a chain and a contract",
               values.get("venue", ""), "give venue, or chain and contract")  # fmt: skip
    if on_chain:
        values["contract"] = contract_on(str(values["chain"]), values["contract"])


_MORE: Final[dict[type, Callable[[dict[str, Value]], None]]] = {
    FxPair: _fx_pair, DexPool: _dex_pool, PredictionOutcome: _outcome, Synthetic: derived,
}  # fmt: skip
"""What a class asks of its fields beyond the check of each."""
_FIELDS: Final = {
    kind: tuple(field for field in kind.__struct_fields__ if field not in NO_FACTS)
    for kind in NAMES if kind not in _READERS
}  # fmt: skip
if not frozenset().union(*_FIELDS.values()) <= CHECKS.keys():
    raise ImportError("every field of a class without a reader needs a check")
_REQUIRED: Final = {
    kind: tuple(f.name for f in msgspec.structs.fields(kind) if f.required) for kind in _FIELDS
}


# --- listings ---------------------------------------------------------------------------------


def normalised(listing: Listing) -> Listing:
    """The listing with every field but `instrument` in its canonical form: times as int ns, exact
    numbers as decimal text or None. Raises InvalidInput."""
    valid_from = check.time_ns(listing.valid_from, "valid_from")
    valid_to = check.time_ns(listing.valid_to, "valid_to")
    if is_backward(valid_from, valid_to):
        refuse("valid_to", "it must be after valid_from", listing.valid_to)
    symbol_from = check.time_ns(listing.symbol_from, "symbol_from")
    if symbol_from and not listing.symbol:
        refuse("symbol_from", "it says nothing without the symbol", listing.symbol_from,
               "give the symbol too")  # fmt: skip
    if is_backward(symbol_from, valid_to):
        refuse("symbol_from", "it must be before valid_to", listing.symbol_from)
    if type(listing.primary) is not bool:
        refuse("primary", "it must be true or false", listing.primary)
    orders: dict[str, Any] = {
        field: CHECKS[field](given)
        for field in ORDER_FIELDS
        if (given := getattr(listing, field)) is not None and given != ""
    }
    agree(orders, orders.keys())
    return msgspec.structs.replace(
        listing,
        venue=check.venue(listing.venue),
        symbol=check.symbol(listing.symbol),
        currency=check.listing_currency(listing.currency) if listing.currency else "",
        line=check.line(listing.line),
        valid_from=valid_from,
        valid_to=valid_to,
        **orders,
        figi=check.identifier("figi", listing.figi) if listing.figi else "",
        symbol_from=symbol_from,
    )
