"""Facts: the neutral form between the typed classes and the wire, made to be compared.

`Facts` holds a canonical key, a class, and a flat dict with only the fields that are known, in one
spelling each: exact numbers as decimal text, times and other integers as int, the rest as text. So
`==` compares two sources' words, and `merge` says what one adds and where it contradicts. The names
of the fields are those of conflicts, amendments and `projections.rows`.

    facts_of(typed) ── validates ──► Facts ◄── facts_from(body) ── body_of(facts, …) ──► body

`facts_from(body_of(facts, …)) == facts`: which part of the wire a field lives in is decided here
alone. `readers.facts_of` is the way from the typed classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

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

from . import formula, terms
from . import validation as check
from .identity import class_key, key_fields
from .instruments import CLASSES, Instrument, Security, articled
from .validation import IDENTIFIER_SCHEMES, refuse

Value = str | int


class Facts(NamedTuple):
    """What is known of one instrument. Do not change `values`; make new facts."""

    key: bytes
    asset_class: AssetClass
    values: dict[str, Value]


# --- to and from the wire --------------------------------------------------------------------

_MESSAGE_FIELDS: Final = frozenset(
    {"symbol", "decimals", "tick", "lot", "isin", "currency", "venue", "underlying", "expiry",
     "strike", "multiplier", "chain", "namespace", "address", "name"}
)  # fmt: skip
"""Fields with a place of their own in message or extension; the rest are identifiers or terms."""
_QUOTED_FIELDS: Final = _MESSAGE_FIELDS - {"currency"} | {"quote"}
_QUOTED: Final = frozenset(
    CLASSES_BY_NAME[name] for name, kind in CLASSES.items() if "quote" in kind.__struct_fields__
)
"""Classes with a quote asset: for them the message's currency is that."""
_IDENTIFIER_FIELDS: Final = frozenset(IDENTIFIER_SCHEMES) - {"isin"}


def body_of(
    facts: Facts, *, id: int, fingerprint: bytes, counter: int = 0, status: int = Status.ACTIVE,
    revision: int = 1, valid_from: int = 0,
) -> InstrumentBody:  # fmt: skip
    """Message and extension of these facts. Cost: 2.5 µs.

    Three pairs share a place in the message; what has none there stands in the extension's terms:
    expiry goes before the chain number, strike before multiplier, and a currency code of up to
    four ASCII characters before another one.
    """
    key, asset_class = facts.key, facts.asset_class
    values: dict[str, Any] = facts.values
    get = values.get
    quoted = asset_class in _QUOTED
    placed, code = (_QUOTED_FIELDS, "quote") if quoted else (_MESSAGE_FIELDS, "currency")
    others = set() if placed.issuperset(values) else values.keys() - placed
    currency = get(code, "")
    if len(currency) > 4 or not currency.isascii():
        others.add(code)
        currency = ""
    if "strike" in values and "multiplier" in values:
        others.add("multiplier")
    terms: dict[str, Value] = {}
    identifiers: dict[str, str] = {}
    for field in sorted(others) if others else ():
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
    else:
        at_72 = number(values["multiplier"]) if "multiplier" in values else UNSET
    tick, tick_exponent = number(values["tick"]) if "tick" in values else UNSET
    lot, lot_exponent = number(values["lot"]) if "lot" in values else UNSET
    mic = venue if venue and check.venue_parts(venue)[0] == "mic" else ""
    message = encode_message(
        asset_class, status, flags, get("decimals", DECIMALS_UNSET), tick_exponent, id, fingerprint,
        get("underlying", 0), valid_from, tick, lot, at_64, at_72[0], lot_exponent, at_72[1],
        len(raw_symbol), revision, mic.encode(), currency.encode(), get("isin", "").encode(),
        raw_symbol,
    )  # fmt: skip
    return InstrumentBody(
        message,
        Extension(
            key=key, counter=counter, symbol=long_symbol, name=get("name", ""), chain=chain,
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
        ("isin", _ascii(message.isin)),
        ("quote" if message.asset_class in _QUOTED else "currency", _ascii(message.currency)),
        ("venue", extension.venue or _ascii(message.venue)),
    )  # fmt: skip
    for field, text in texts:
        if text:
            values[field] = text
    if message.decimals != DECIMALS_UNSET:
        values["decimals"] = message.decimals
    if message.parent:
        values["underlying"] = message.parent
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

NO_FACTS: Final = frozenset({"status", "valid_from"})
"""Fields of every class that stand apart from its facts."""
DERIVED: Final = {"formula_hash": "formula"}
"""Fields that follow from another one. Nobody says them; the log keeps them for its readers."""
NOT_KNOWN_IF_ZERO: Final = frozenset({"underlying", "expiry", "last_trade"})


def _amendable(kind: type[Instrument]) -> frozenset[str]:
    """What a registration may say, but for its identity; so no field fits only one of the two."""
    fields = frozenset(kind.__struct_fields__) - {*kind.identity} - NO_FACTS
    return fields | {"class"} if issubclass(kind, Security) else fields


_KINDS: Final = {CLASSES_BY_NAME[name]: kind for name, kind in CLASSES.items()}
_AMENDABLE: Final[dict[AssetClass, frozenset[str]]] = {
    asset_class: _amendable(kind) for asset_class, kind in _KINDS.items()
}
AMENDABLE_FIELDS: Final = frozenset().union(*_AMENDABLE.values())
"""Of any class; `amendable_fields(asset_class)` gives those of one."""


_CHECKS_OF_FIELDS: Final[dict[str, Callable[..., Value]]] = {
    "symbol": check.symbol,
    "name": check.name,
    "decimals": check.decimals,
    "tick lot multiplier min_size max_size min_notional denomination min_denomination":
        check.exact,
    "fee_bps coupon": check.exact_or_zero,
    "coupon_frequency": terms.frequency,
    "strike": check.signed,
    "generation adjustment": check.line,
    "currency": check.currency,
    "venue": check.venue,
    "chain": check.chain,
    "address factory contract": check.reference,
    "base quote settlement product root code": terms.code,
    "native_id": terms.native_id,
    "market": terms.slug,
    "tenor": terms.tenor,
    "ticks": terms.ladder,
    "tokens": terms.addresses,
    "maturity issue_date": terms.day,
    "expiry last_trade": terms.instant,
    "payoff right style day_count": terms.choice,
    "underlying": terms.instrument_id,
    "administrator": terms.administrator,
    "condition outcome": terms.opaque_id,
    "owner": terms.administrator,
    "formula": terms.formula_text,
}
CHECKS: Final[dict[str, Callable[[Any], Value]]] = {
    **{
        field: partial(checked, field=field)
        for fields, checked in _CHECKS_OF_FIELDS.items() for field in fields.split()
    },
    **{scheme: partial(check.identifier, scheme) for scheme in IDENTIFIER_SCHEMES},
}
"""By the name of a field, which means the same in every class: what people write to a value."""
if not CHECKS.keys() | {"class"} >= AMENDABLE_FIELDS:
    raise ImportError("every amendable field needs a check")


def derived(values: dict[str, Value]) -> None:
    """Brings the field that follows from another one up to date."""
    if "formula" in values:
        values["formula_hash"] = formula.formula_hash(str(values["formula"]))


def amendable_fields(asset_class: AssetClass) -> frozenset[str]:
    return _AMENDABLE.get(asset_class, frozenset())


def amended(held: Facts, changes: Mapping[str, object]) -> Facts:
    """The facts after `changes`, given as people write them; None or "" = no longer known.

    Raises InvalidInput for a bad value and for a field that cannot be amended, and for another
    class that has no place for what is known.
    """
    values, asset_class = dict(held.values), held.asset_class
    formerly = amendable_fields(asset_class)
    if "class" in changes and "class" in formerly:
        asset_class = _security_class(changes["class"])
    allowed = amendable_fields(asset_class)
    for field, value in changes.items():
        if field == "class" and field in allowed:
            continue
        if field in DERIVED and field in held.values:
            refuse(field, f"it follows from {DERIVED[field]}", value, f"change {DERIVED[field]}")
        if field not in allowed and (value or field not in formerly):
            identity = field in _KINDS[asset_class].identity or (
                field in held.values and field not in formerly
            )
            refuse(
                field[:40],
                "it is part of who this is" if identity
                else f"{articled(CLASS_NAMES[asset_class])} has no such field",
                value,
                "register the other instrument" if identity
                else f"what can change: {', '.join(sorted(allowed))}",
            )  # fmt: skip
        values.pop(field, None)
        if value is not None and value != "" and not says_nothing(
            field, canonical := CHECKS[field](value)
        ):
            values[field] = canonical
        elif field == "formula":
            refuse(field, "a synthetic needs it", value, "delist it when it is no longer used")
    if asset_class != held.asset_class and (homeless := sorted(values.keys() - allowed)):
        name = CLASS_NAMES[asset_class]
        refuse(
            "class", f"{articled(name)} has no {', '.join(homeless)}", name,
            "say in the same amendment that these are not known: an empty value each",
        )  # fmt: skip
    derived(values)
    return Facts(held.key, asset_class, values)


def of_generation(facts: Facts, generation: int) -> Facts:
    """The same words about another generation: the instrument that has the native id then."""
    name, values = CLASS_NAMES[facts.asset_class], {**facts.values, "generation": generation}
    key = class_key(name, values, _KINDS[facts.asset_class].identity)
    return Facts(key, facts.asset_class, values)


def says_nothing(field: str, canonical: Value) -> bool:
    """Whether a checked value means "not known"."""
    return canonical == "" or (canonical == 0 and field in NOT_KNOWN_IF_ZERO)


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
        if field in DERIVED:
            continue  # its formula is compared
        if field not in known:
            filled[field] = value
        elif known[field] != value and (field, value) != birth_of(held.key):
            disagreements[field] = (known[field], value)
    if held.asset_class != offered.asset_class:
        disagreements["class"] = (
            CLASS_NAMES[held.asset_class], CLASS_NAMES[offered.asset_class]
        )  # fmt: skip
    return filled, disagreements
