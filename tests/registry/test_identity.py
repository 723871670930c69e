from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import InvalidInput, NotDecodable, RelationKind
from alphapulse.registry.identity import (
    canonical_key,
    currency_key,
    fallback_id,
    fingerprint_of,
    group_relation_key,
    id_candidates,
    key_fields,
    key_text,
    listing_key,
    primary_id,
    relation_key,
    venue_fingerprint,
    venue_key,
)
from alphapulse.registry.instruments import CLASSES, from_mapping
from alphapulse.registry.readers import facts_of
from tests.texts import texts

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "identity.json").read_text())
FIELDS = st.lists(texts(max_size=20), min_size=1, max_size=6)


@pytest.mark.parametrize("row", GOLDEN["instruments"], ids=lambda row: row["key"])
def test_identity_never_changes(row: dict[str, str]) -> None:
    facts = facts_of(from_mapping(CLASSES[row["class"]], json.loads(row["fields"])))
    fingerprint = fingerprint_of(facts.key)
    assert facts.key.hex() == row["key_hex"]
    assert key_text(facts.key) == row["key"]
    assert fingerprint.hex() == row["fingerprint"]
    assert f"0x{primary_id(fingerprint):016x}" == row["id"]
    assert f"0x{fallback_id(fingerprint, 1):016x}" == row["fallback_1"]


@pytest.mark.parametrize("row", GOLDEN["venues"], ids=lambda row: row["key"])
def test_venues_never_change(row: dict[str, str]) -> None:
    assert key_text(venue_key(row["venue"])) == row["key"]
    assert venue_fingerprint(row["venue"]).hex() == row["fingerprint"]


@pytest.mark.parametrize("row", GOLDEN["links"], ids=lambda row: row["fingerprint"])
def test_listings_and_relations_never_change(row: dict[str, str]) -> None:
    assert fingerprint_of(bytes.fromhex(row["key_hex"])).hex() == row["fingerprint"]
    apple, usdc = (bytes.fromhex(GOLDEN["instruments"][i]["fingerprint"]) for i in (0, 1))
    made = {
        "listing": listing_key(apple, venue_fingerprint("XETR"), "EUR"),
        "listing line 2": listing_key(apple, venue_fingerprint("XETR"), "EUR", 2),
        "relation": relation_key(RelationKind.WRAPS, apple, usdc),
        "group": group_relation_key(usdc, "optimism", "USDC"),
    }
    assert made[row["what"]].hex() == row["key_hex"]


@given(FIELDS)
def test_a_key_gives_its_fields_back(fields: list[str]) -> None:
    assert key_fields(canonical_key(*fields)) == tuple(fields)


@given(FIELDS, FIELDS)
def test_other_fields_have_other_bytes_and_other_text(a: list[str], b: list[str]) -> None:
    same = a == b
    assert (canonical_key(*a) == canonical_key(*b)) is same
    assert (key_text(canonical_key(*a)) == key_text(canonical_key(*b))) is same


def test_a_separator_cannot_be_smuggled_in() -> None:
    assert key_text(canonical_key("a|b", "c\\")) == r"a\|b|c\\"
    assert canonical_key("a", "bc") != canonical_key("ab", "c")


@pytest.mark.parametrize("key", [b"", b"\x01", b"\x05\x00abc", b"\x01\x00\xff", b"\x00\x00\x01"])
def test_a_malformed_key_is_refused(key: bytes) -> None:
    with pytest.raises(NotDecodable):
        key_fields(key)


def test_a_field_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        canonical_key("token", "\ud800")
    with pytest.raises(InvalidInput, match="65535"):
        canonical_key("token", "x" * 65_536)
    assert len(canonical_key("", "x" * 65_535)) == 65_539


def test_ids_keep_the_low_bits() -> None:
    fingerprint = bytes(range(16))
    assert primary_id(fingerprint) == 0x0706050403020100
    assert primary_id(fingerprint, 12) == 0x100
    assert fallback_id(fingerprint, 7, 12) == fallback_id(fingerprint, 7) & 0xFFF
    for bits in (0, 65):
        with pytest.raises(InvalidInput, match="id_bits"):
            primary_id(fingerprint, bits)


def test_candidates_start_with_the_primary_and_count_the_fallbacks() -> None:
    fingerprint = fingerprint_of(currency_key("EUR"))
    assert list(islice(id_candidates(fingerprint), 3)) == [
        (0, primary_id(fingerprint)), (1, fallback_id(fingerprint, 1)),
        (2, fallback_id(fingerprint, 2)),
    ]  # fmt: skip


def test_an_id_of_zero_is_nobodys() -> None:
    assert next(id_candidates(bytes(16)))[0] == 1
    ((counter, found),) = id_candidates(bytes(16), id_bits=1)
    assert found == 1
    assert [fallback_id(bytes(16), n, 1) for n in range(1, counter + 1)] == [
        *[0] * (counter - 1), 1
    ]  # fmt: skip


def test_each_id_of_a_small_space_is_tried_once() -> None:
    candidates = list(id_candidates(bytes(range(1, 17)), id_bits=8))
    assert {id for _, id in candidates} == set(range(1, 256))
    assert len(candidates) == 255
    fallbacks = [fallback_id(bytes(range(1, 17)), n, 8) for n in range(1, 4_000)]
    primary = primary_id(bytes(range(1, 17)), 8)
    assert candidates[0] == (0, primary)
    assert candidates[1:] == [
        (fallbacks.index(id) + 1, id) for id in dict.fromkeys(fallbacks) if id not in (0, primary)
    ]


def test_venues_have_environments() -> None:
    assert venue_key("binance") == venue_key("BINANCE") == venue_key("binance:live")
    assert venue_key("binance") != venue_key("binance:test")
    assert key_fields(venue_key("XNAS")) == ("venue", "mic", "XNAS", "live")
    assert key_fields(venue_key("xnas")) == ("venue", "slug", "xnas", "live")


def test_a_group_is_not_a_relation() -> None:
    a, b = bytes(16), bytes(range(16))
    assert relation_key(RelationKind.WRAPS, a, b) != relation_key(RelationKind.WRAPS, b, a)
    assert relation_key(RelationKind.GROUPED, a, b) != group_relation_key(a, b.hex(), "")
