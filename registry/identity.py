"""Who something is: canonical keys, fingerprints, ids. Pure functions, no I/O.

A canonical key is a tuple of text fields, a domain first, written as length-prefixed UTF-8, so two
different tuples never have equal bytes (joining with a separator would not give that). It holds
only what never changes. Its Blake3 hash in key-derivation mode is the fingerprint, and the
fingerprint's first 8 bytes are the id, so any process derives the same id alone.

Only the log can tell that two keys want one id, and colliding 64-bit ids can be made on purpose by
whoever picks token addresses. So fingerprints decide, and listing and relation keys are built on
fingerprints, never on ids. The bytes here are part of the format: `tests/golden/identity.json`.

    domain     fields after it
    token      CAIP-2 chain, CAIP-19 namespace, reference      (a native coin: slip44, its number)
    security   birth scheme (isin, figi, cusip), value
    currency   ISO 4217 code
    fx_pair    base, quote, tenor
    spot_pair  venue, market, native market id, settlement, generation
    dex_pool   CAIP-2 chain, factory or manager, pool address or id
    perpetual  venue, market, native market id, settlement, generation
    future     issuing market, product, maturity (a whole date), generation
    option     clearing scope or venue, root, date of expiry, strike, right, style, adjustment
    index      administrator, code
    outcome    venue, chain, contract, condition, outcome         (either a venue, or a chain and
                                                                a contract; empty what is not said)
    synthetic  owner, name                          (its formula is hashed apart, and changes)
    venue      mic | slug, its value, environment
    aspect     venue fingerprint, endpoints | fees | hours
    aspect     venue fingerprint, performance, window (ns), listing fingerprint or empty
    aspect     venue fingerprint, status, both | buy | sell, listing fingerprint or empty
    listing    instrument fingerprint, venue fingerprint, currency, line number
    relation   kind, fingerprint, fingerprint                  (a group: kind, fingerprint, source,
                                                                group)
    feed       source
    candidate  fingerprint, fingerprint        (of two instruments, the one that comes first first)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Final

from blake3 import blake3

from alphapulse.log import InvalidInput, NotDecodable, Proposed, RelationKind

from .validation import venue_parts

FINGERPRINT_SIZE_BYTES: Final = 16
ID_BITS_MAX: Final = 64
COUNTER_MAX: Final = 0xFFFF
FIELD_SIZE_BYTES_MAX: Final = 0xFFFF

# Fixed for ever: another context gives every instrument another fingerprint.
_FINGERPRINT: Final = blake3(
    derive_key_context="alphapulse registry 2026-11-22 canonical key to fingerprint"
)
_FALLBACK: Final = blake3(
    key=blake3(
        derive_key_context="alphapulse registry 2026-11-22 fingerprint to fallback id"
    ).digest()
)
_U16: Final = struct.Struct("<H")
_pack_size = _U16.pack


def canonical_key(domain: str, *fields: str) -> bytes:
    """Each field as u16 little-endian size and UTF-8, the domain first.

    Raises InvalidInput for a field over 65,535 bytes or one that is not encodable text.
    """
    cause: Exception
    try:
        if not fields:
            raw = domain.encode()
            return _pack_size(len(raw)) + raw
        raws = [field.encode() for field in (domain, *fields)]
        return b"".join([_pack_size(len(raw)) + raw for raw in raws])
    except UnicodeEncodeError as error:
        problem, cause = "a field has a lone surrogate", error
    except struct.error as error:
        problem, cause = f"a field is over {FIELD_SIZE_BYTES_MAX} bytes", error
    raise InvalidInput("making a canonical key", problem=problem, domain=domain) from cause


def key_fields(key: bytes) -> tuple[str, ...]:
    """The fields of a key, domain first. Raises NotDecodable; keys come from disk too."""
    fields = []
    at, end = 0, len(key)
    while at < end:
        stop = at + 2 + _U16.unpack_from(key, at)[0] if at + 2 <= end else end + 1
        if stop > end:
            raise NotDecodable("reading a canonical key", problem="it is cut short", at_byte=at)
        try:
            fields.append(key[at + 2 : stop].decode())
        except UnicodeDecodeError as error:
            raise NotDecodable(
                "reading a canonical key", problem="a field is not UTF-8", at_byte=at
            ) from error
        at = stop
    if not fields:
        raise NotDecodable("reading a canonical key", problem="it is empty")
    return tuple(fields)


def key_text(key: bytes) -> str:
    r"""For people and JSON: `token|eip155:1|slip44|60`. A `|` or `\` in a field gets a `\`."""
    return "|".join(field.replace("\\", "\\\\").replace("|", "\\|") for field in key_fields(key))


def fingerprint_of(key: bytes) -> bytes:
    """16 bytes. Cost: one Blake3 of a short input, 0.35 µs."""
    hasher = _FINGERPRINT.copy()
    hasher.update(key)
    return hasher.digest(FINGERPRINT_SIZE_BYTES)


@cache
def id_mask(id_bits: int) -> int:
    if not 1 <= id_bits <= ID_BITS_MAX:
        raise InvalidInput("deriving an id", problem="id_bits must be 1 to 64", id_bits=id_bits)
    return (1 << id_bits) - 1


def primary_id(fingerprint: bytes, id_bits: int = ID_BITS_MAX) -> int:
    """The low `id_bits` of the first 8 bytes, little-endian. May be 0, which is nobody's id."""
    assert len(fingerprint) == FINGERPRINT_SIZE_BYTES
    return int.from_bytes(fingerprint[:8], "little") & id_mask(id_bits)


def fallback_id(fingerprint: bytes, n: int, id_bits: int = ID_BITS_MAX) -> int:
    """The nth id to try after a collision, n from 1. May be 0, which is skipped."""
    assert len(fingerprint) == FINGERPRINT_SIZE_BYTES and 1 <= n <= COUNTER_MAX
    hasher = _FALLBACK.copy()
    hasher.update(fingerprint + _U16.pack(n))
    return int.from_bytes(hasher.digest(8), "little") & id_mask(id_bits)


def id_candidates(fingerprint: bytes, id_bits: int = ID_BITS_MAX) -> Iterator[tuple[int, int]]:
    """(counter, id) in the order to try: the primary id with counter 0, then the fallback ids.

    Ids of 0 are left out, and so are repeats, which fill a small id space: whoever was refused an
    id once would be again. Whoever finds none free raises `IdSpaceFull`.
    """
    if primary := primary_id(fingerprint, id_bits):
        yield 0, primary
    tried = {0, primary}
    for n in range(1, COUNTER_MAX + 1):
        if (fallback := fallback_id(fingerprint, n, id_bits)) not in tried:
            tried.add(fallback)
            yield n, fallback


def token_key(chain: str, namespace: str, reference: str) -> bytes:
    """All three already validated (`facts.asset_of`); a native coin is `slip44` and its number."""
    return _token_prefix(chain, namespace) + canonical_key(reference)


@lru_cache(maxsize=4096)
def _token_prefix(chain: str, namespace: str) -> bytes:
    return canonical_key("token", chain, namespace)


def security_key(scheme: str, value: str) -> bytes:
    """Equity, ETF or bond by its birth identifier. The class is not in it: sources disagree."""
    return _security_prefix(scheme) + canonical_key(value)


@cache
def _security_prefix(scheme: str) -> bytes:
    return canonical_key("security", scheme)


def currency_key(code: str) -> bytes:
    return canonical_key("currency", code)


def class_key(domain: str, values: Mapping[str, str | int], fields: tuple[str, ...]) -> bytes:
    """Of a class whose key is some of its fields in order, each canonical; unknown ones are empty.

    Numbers are decimal text, a venue is as `validation.venue` spells it: `XEUR`, `binance:test`.
    """
    return canonical_key(domain, *(str(values.get(field, "")) for field in fields))


def venue_key(venue: str) -> bytes:
    """`XNAS` (a MIC), `binance` (environment live) or `binance:test`. Raises InvalidInput."""
    return canonical_key("venue", *venue_parts(venue))


def venue_fingerprint(venue: str) -> bytes:
    return fingerprint_of(venue_key(venue))


def aspect_key(venue_fingerprint: bytes, aspect: str, *scope: str) -> bytes:
    """Of what a venue is like in one respect; scope: which part of it."""
    return canonical_key("aspect", venue_fingerprint.hex(), aspect, *scope)


def performance_key(
    venue_fingerprint: bytes, window_ns: int, listing_fingerprint: bytes = b""
) -> bytes:
    """Of how a venue, or one listing there, behaves in windows of this length."""
    return aspect_key(
        venue_fingerprint, "performance", str(window_ns), listing_fingerprint.hex()
    )


def trading_key(venue_fingerprint: bytes, side: str, listing_fingerprint: bytes = b"") -> bytes:
    """Of the trading status of a venue, or of one listing there."""
    return aspect_key(venue_fingerprint, "status", side, listing_fingerprint.hex())


def listing_key(
    instrument_fingerprint: bytes, venue_fingerprint: bytes, currency: str, line: int = 0
) -> bytes:
    """`line` tells apart several lines of one instrument at one venue in one currency."""
    return canonical_key(
        "listing", instrument_fingerprint.hex(), venue_fingerprint.hex(), currency, str(line)
    )


def relation_key(kind: RelationKind, from_fingerprint: bytes, to_fingerprint: bytes) -> bytes:
    return canonical_key(
        "relation", kind.name.lower(), from_fingerprint.hex(), to_fingerprint.hex()
    )


def group_relation_key(from_fingerprint: bytes, source: str, group: str) -> bytes:
    """Membership of a named group; one more field than `relation_key`, so they never meet."""
    return canonical_key(
        "relation", RelationKind.GROUPED.name.lower(), from_fingerprint.hex(), source, group
    )


def feed_key(source: str) -> bytes:
    """A feed is everything that one source sends."""
    return canonical_key("feed", source)


def candidate_key(first: bytes, second: bytes) -> bytes:
    """Of two instruments that look alike, by their fingerprints, in whatever order."""
    return canonical_key("candidate", *sorted((first.hex(), second.hex())))


def snapshots_key(source: str) -> bytes:
    """The snapshots of a source; one more field than `feed_key`, so they never meet."""
    return canonical_key("feed", source, "snapshots")


def rules_key() -> bytes:
    """What holds for sources, of which each log has one."""
    return canonical_key("rules")


def proposal_key(proposed: Proposed, instrument_fingerprint: bytes, source: str = "") -> bytes:
    """To register an instrument there is one, whoever saw it; to delist it one for each source."""
    said_by = (source,) if proposed == Proposed.DELIST else ()
    return canonical_key(
        "proposal", proposed.name.lower(), instrument_fingerprint.hex(), *said_by
    )
