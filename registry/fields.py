"""What is known of an instrument, its listings and relations, field by field, as people read it.

One way to name fields and to write their values, for `lookup`, events, `diff` and `blame`: names
are those of `facts`; ids are `0x%016x`, times RFC 3339, exact numbers text. What is not known has
no field. A listing is a field that is true, named by venue, currency and line, and its own fields
begin with that name: `listing XETR EUR 0`, `listing XETR EUR 0 symbol`. So is a group that counts
the instrument: `group superchain-token-list usdc`. A relation is a field of the instrument that it
starts from: `receipt_of 0x…`, `receipt_of 0x… ratio`. Their earlier periods are one field each.
"""

from __future__ import annotations

from alphapulse.log import (
    CLASS_NAMES,
    RELATION_NAMES,
    STATUS_NAMES,
    InstrumentBody,
    InstrumentRecord,
    ListingBody,
    ListingWords,
    RelationBody,
    RelationWords,
    Status,
    format_time,
)

from .facts import Value, facts_from
from .held import FactBody
from .identity import key_text
from .instruments import ORDER_FIELDS
from .periods import LISTING_WORDS
from .relation_rules import ratio_in, ratio_text

Shown = str | int | bool
Fields = dict[str, Shown]


def id_text(id: int) -> str:
    return f"0x{id:016x}"


def time_text(time_ns: int) -> str | None:
    """RFC 3339, None for 0, which means that the time is not known or not set."""
    return format_time(time_ns) if time_ns else None


def said_text(field: str, value: str) -> str:
    """A word as a conflict keeps it, for people: dates of listings and relations are in ns."""
    is_date = field in ("valid_from", "valid_to", "symbol_from") and value.lstrip("-").isdecimal()
    return (time_text(int(value)) or "none") if is_date else value


def class_text(asset_class: int) -> str:
    return CLASS_NAMES.get(asset_class, str(asset_class))


def status_text(status: int) -> str:
    return STATUS_NAMES.get(status, str(status))


def relation_text(relation: int) -> str:
    return RELATION_NAMES.get(relation, str(relation))


def fact(field: str, value: Value) -> Value:
    """The value of a fact in the form in which it is shown, and can be registered again."""
    if field in ("expiry", "last_trade"):
        return format_time(int(value))
    return id_text(int(value)) if field == "underlying" else value


def fact_fields(body: InstrumentBody) -> dict[str, Value]:
    """The facts that a body holds. Cost: 5 µs."""
    return {field: fact(field, value) for field, value in facts_from(body).values.items()}


def fields_of(body: FactBody) -> tuple[int, Fields]:
    """(instrument, fields) of an instrument's, a listing's or a relation's full state."""
    if isinstance(body, InstrumentBody):
        return _of_instrument(body)
    if isinstance(body, ListingBody):
        return _of_listing(body)
    return _of_relation(body)


def _of_instrument(body: InstrumentBody) -> tuple[int, Fields]:
    record = InstrumentRecord(body.message)
    fields: Fields = {
        "class": class_text(body.message[2]), "status": status_text(body.message[3]),
        **fact_fields(body),
    }  # fmt: skip
    if valid_from := time_text(record.valid_from):
        fields["valid_from"] = valid_from
    return record.id, fields


def _of_listing(body: ListingBody) -> tuple[int, Fields]:
    active = body.status == Status.ACTIVE  # as they all are: the rest follows from the dates
    known: dict[str, Shown | None] = {
        "status": None if active else status_text(body.status),
        "symbol": body.symbol, "symbol_from": time_text(body.symbol_from), "primary": body.primary,
        "valid_from": time_text(body.valid_from), "valid_to": time_text(body.valid_to),
        **{field: getattr(body, field) for field in ORDER_FIELDS}, "figi": body.figi,
    }  # fmt: skip
    name = f"listing {body.venue} {body.currency or '-'} {body.line}"
    fields: Fields = {name: True}
    fields.update((f"{name} {field}", value) for field, value in known.items() if value)
    return body.instrument, fields | _periods(name, body)


def _periods(name: str, body: ListingBody | RelationBody) -> Fields:
    """A field for each earlier period: `listing XNAS USD 0 from 2010-01-04`, which is `to
    2015-06-30 symbol=FB`."""
    return {
        f"{name} from {_day(begins)}": " ".join((
            f"to {_day(ends)}",
            *(f"{field}={value}" for field, value in words_shown(words).items()),
        )) for begins, ends, words in body.earlier
    }  # fmt: skip


def _day(time_ns: int) -> str:
    return (time_text(time_ns) or "..").removesuffix("T00:00:00.000000000Z")


def words_shown(words: ListingWords | RelationWords) -> dict[str, Shown]:
    """What is not at its default, as people read it."""
    if isinstance(words, RelationWords):
        ratio = words.ratio_numerator, words.ratio_denominator
        is_said = words.one_to_one or ratio != (1, 1)
        return {"ratio": str(ratio_text(ratio))} if is_said else {}
    shown = {field: getattr(words, field) for field in LISTING_WORDS}
    shown["symbol_from"] = time_text(words.symbol_from)
    return {field: value for field, value in shown.items() if value}


def _of_relation(body: RelationBody) -> tuple[int, Fields]:
    if body.group:
        return body.instrument, {f"group {body.group_source} {body.group}": True}
    known: dict[str, Shown | None] = {
        "ratio": ratio_text(ratio_in(body)), "valid_from": time_text(body.valid_from),
        "valid_to": time_text(body.valid_to),
    }
    name = f"{relation_text(body.relation)} {id_text(body.other)}"
    if body.missing_key:
        missing = key_text(body.missing_key)
        name = f"{relation_text(body.relation)} {missing}, which is not registered"
        if not body.instrument:
            name = f"{missing}, which is not registered, {relation_text(body.relation)} it"
    fields: Fields = {name: True}
    fields.update((f"{name} {field}", value) for field, value in known.items() if value)
    return body.instrument or body.other, fields | _periods(name, body)
