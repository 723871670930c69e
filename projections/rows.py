"""Canonical rows: the bytes that a view's digest sums, one row for each entity.

A row says what is known and nothing of how it came to be known, so two homes that learnt the same
facts in another order have equal rows: no offset, time of recording, valid-from of the last change,
revision or source. Fields in open conflict are left out, because there the first one wins and order
shows. Names of fields are those of `registry.facts` and of conflicts; a name that an entity does
not have is no error, since conflicts come from the log.

    instrument   message bytes 0-39, 48-83 and 88-123 (without valid-from, revision, CRC),
                 then the extension as MessagePack with sorted keys
    listing      its body as MessagePack with sorted keys, without revision and class
    relation     its body as MessagePack with sorted keys, without revision and class
    venue        its body as MessagePack with sorted keys, without revision
    its aspects  the same, of the newest word
    candidate    as a relation, and without evidence: that is what other rows say, as of some day

The class of a listing or relation is only its instrument's, copied: sources may disagree on that.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from msgspec.structs import replace

from alphapulse.log import (
    DECIMALS_UNSET,
    FLAG_CHAIN_ID,
    FLAG_STRIKE,
    FLAG_SYMBOL_LONG,
    MANTISSA_UNSET,
    AspectBody,
    CandidateBody,
    Extension,
    InstrumentBody,
    ListingBody,
    RelationBody,
    VenueBody,
    encode_body,
)

NOTHING: Final[frozenset[str]] = frozenset()

_UNSET_MANTISSA: Final = struct.pack("<q", MANTISSA_UNSET)
_BLANKS: Final[dict[str, tuple[tuple[int, bytes], ...]]] = {
    "class": ((2, b"\0"),),
    "status": ((3, b"\0"),),
    "decimals": ((6, bytes([DECIMALS_UNSET])),),
    "underlying": ((32, bytes(8)),),
    "tick": ((7, b"\0"), (48, _UNSET_MANTISSA)),
    "lot": ((80, b"\0"), (56, _UNSET_MANTISSA)),
    "venue": ((88, bytes(4)),),
    "currency": ((92, bytes(4)),),
    "quote": ((92, bytes(4)),),
    "isin": ((96, bytes(12)),),
    "symbol": ((82, b"\0"), (108, bytes(16))),
}
"""Field to (offset in the message, bytes it has there when it is not known)."""
_LISTING_BLANKS: Final[dict[str, Any]] = {
    "symbol": "", "currency": "", "tick": "", "lot": "", "figi": "", "primary": False, "status": 0,
    "valid_from": 0, "valid_to": 0, "symbol_from": 0, "ticks": "", "min_size": "", "max_size": "",
    "min_notional": "",
}  # fmt: skip
_VENUE_BLANKS: Final[dict[str, Any]] = {
    "operating": "", "name": "", "kind": 0, "country": "", "currency": "", "lei": "", "links": {},
    "valid_from": 0, "valid_to": 0,
}  # fmt: skip

_FOLLOWS: Final = {
    "formula_hash": "formula",
    **dict.fromkeys(
        ("coupon", "coupon_frequency", "maturity", "denomination", "min_denomination", "day_count",
         "issue_date"), "class",
    ),
}  # fmt: skip
"""A field that says what another one says, or stands and falls with it: of bonds alone."""
_RELATION_BLANKS: Final[dict[str, dict[str, Any]]] = {
    "ratio": {"ratio_numerator": 1, "ratio_denominator": 1, "one_to_one": False},
    "valid_from": {"valid_from": 0, "earlier": ()}, "valid_to": {"valid_to": 0, "earlier": ()},
}  # fmt: skip
_DATES: Final = frozenset({"valid_from", "valid_to"})
"""Of the newest period or of an earlier one: conflicts do not say which."""


def canonical_row(
    body: InstrumentBody | ListingBody | RelationBody | CandidateBody | VenueBody | AspectBody,
    without: frozenset[str] = NOTHING,
) -> bytes:
    """The row of one entity, `without` the fields in open conflict. Cost: 0.6 µs, 5 µs with any."""
    if isinstance(body, InstrumentBody):
        if without:
            body = InstrumentBody(
                _blank_message(body.message, without), _blank_extension(body.extension, without)
            )
        message, rest = encode_body(body)
        return message[:40] + message[48:84] + message[88:124] + rest
    if isinstance(body, ListingBody):
        blanks = {field: _LISTING_BLANKS[field] for field in without & _LISTING_BLANKS.keys()}
        if without & _DATES:
            blanks["earlier"] = ()
        elif blanks and body.earlier:
            blanks["earlier"] = _without(body.earlier, blanks)
        body = replace(body, revision=1, asset_class=0, **blanks)
    elif isinstance(body, CandidateBody):
        body = replace(body, revision=1, asset_class=0, agree={}, differ={}, score=0)
    elif isinstance(body, VenueBody):
        empty = {field: _VENUE_BLANKS[field] for field in without & _VENUE_BLANKS.keys()}
        body = replace(body, revision=1, **empty)
    elif not isinstance(body, RelationBody):
        body = replace(body, revision=1)
    else:
        blanks = {}
        for field in without & _RELATION_BLANKS.keys():
            blanks.update(_RELATION_BLANKS[field])
        if blanks and body.earlier:
            blanks.setdefault("earlier", _without(body.earlier, blanks))
        body = replace(body, revision=1, asset_class=0, **blanks)
    return encode_body(body)[1]


def _without(earlier: Any, blanks: dict[str, Any]) -> Any:
    """Of each earlier period, too: conflicts do not say which one they are about."""
    return tuple(
        (begins, ends, replace(words, **{
            field: empty for field, empty in blanks.items() if field in words.__struct_fields__
        })) for begins, ends, words in earlier
    )  # fmt: skip


def _blank_message(message: bytes, fields: frozenset[str]) -> bytes:
    """The message with fields unset. Its CRC is not made good: rows do not hold it."""
    blanked = bytearray(message)
    for field in fields:
        for at, empty in _BLANKS.get(field, ()):
            blanked[at : at + len(empty)] = empty
    flags = message[4]
    if "symbol" in fields:
        blanked[4] &= ~FLAG_SYMBOL_LONG & 0xFF
    if "expiry" in fields and not flags & FLAG_CHAIN_ID:
        blanked[64:72] = bytes(8)
    if ("strike" if flags & FLAG_STRIKE else "multiplier") in fields:
        blanked[4] &= ~FLAG_STRIKE & 0xFF
        blanked[72:80], blanked[81] = _UNSET_MANTISSA, 0
    return bytes(blanked)


def _blank_extension(extension: Extension, fields: frozenset[str]) -> Extension:
    return replace(
        extension,
        symbol="" if "symbol" in fields else extension.symbol,
        name="" if "name" in fields else extension.name,
        venue="" if "venue" in fields else extension.venue,
        identifiers={k: v for k, v in extension.identifiers.items() if k not in fields},
        terms={
            k: v for k, v in extension.terms.items()
            if k not in fields and _FOLLOWS.get(k) not in fields
        },
    )
