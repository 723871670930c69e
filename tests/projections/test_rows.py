from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import (
    AssetClass,
    InstrumentBody,
    ListingBody,
    ListingWords,
    RelationBody,
    RelationWords,
    Status,
)
from alphapulse.projections.rows import canonical_row
from alphapulse.registry.facts import Facts, body_of

BASE: dict[str, Any] = {
    "chain": "eip155:1", "namespace": "erc20", "address": "0x" + "1" * 40, "symbol": "AAA",
    "name": "A", "decimals": 6, "tick": "0.01", "lot": "1", "isin": "US0378331005",
    "currency": "USD", "venue": "XNAS", "cusip": "037833100", "strike": "5", "multiplier": "100",
    "right": "call", "underlying": 3,
}  # fmt: skip
OTHER: dict[str, Any] = {
    "symbol": "a symbol of more than 16 bytes", "name": "B", "decimals": 7, "tick": "0.1",
    "lot": "20", "isin": "XS0971721963", "currency": "1000SATS", "venue": "binance",
    "cusip": "594918104", "strike": "6", "multiplier": "10", "right": "put", "underlying": 4,
}  # fmt: skip


def body(values: dict[str, Any] = BASE, **wire: Any) -> InstrumentBody:
    facts = Facts(b"\x01\x00k", wire.pop("asset_class", AssetClass.OPTION), values)
    known: dict[str, Any] = {"id": 7, "fingerprint": bytes(range(16)), **wire}
    return body_of(facts, **known)


def test_a_row_says_nothing_of_how_it_came_to_be() -> None:
    row = canonical_row(body())
    assert canonical_row(body(revision=9, valid_from=12345)) == row
    assert row[:4] == bytes([1, 1, AssetClass.OPTION, Status.ACTIVE])


@pytest.mark.parametrize(
    "wire",
    [{"id": 8}, {"fingerprint": bytes(16)}, {"status": Status.HALTED}, {"counter": 1},
     {"asset_class": AssetClass.FUTURE}],
)  # fmt: skip
def test_a_row_says_who_and_how_it_stands(wire: dict[str, Any]) -> None:
    assert canonical_row(body(**wire)) != canonical_row(body())


@pytest.mark.parametrize("field", sorted(OTHER))
def test_a_field_in_conflict_is_left_out(field: str) -> None:
    """With another value or with none, the row is the same without the field, and not with it."""
    missing = {name: value for name, value in BASE.items() if name != field}
    held, offered, unknown = body(), body({**BASE, field: OTHER[field]}), body(missing)
    assert len({canonical_row(each) for each in (held, offered, unknown)}) == 3
    without = frozenset({field})
    same = {canonical_row(each, without) for each in (held, offered)}
    if field not in ("strike", "multiplier"):  # without a strike, its place is the multiplier's
        same.add(canonical_row(unknown, without))
    assert len(same) == 1
    control = body({**BASE, "name": "C"} if field != "name" else {**BASE, "symbol": "C"})
    assert canonical_row(control, without) not in same


@pytest.mark.parametrize(
    "field, wire",
    [("status", {"status": Status.HALTED}), ("class", {"asset_class": AssetClass.FUTURE})],
)
def test_class_and_status_are_left_out_too(field: str, wire: dict[str, Any]) -> None:
    without = frozenset({field})
    assert canonical_row(body(**wire), without) == canonical_row(body(), without)


def test_expiry_and_chain_number_share_a_place() -> None:
    without = frozenset({"expiry"})
    plain = {name: value for name, value in BASE.items() if name != "chain"}
    rows = {canonical_row(body({**plain, "expiry": at}), without) for at in (5, 6)}
    assert rows == {canonical_row(body(plain), without)}
    assert canonical_row(body(), without) == canonical_row(body())  # the chain number stays


def test_several_fields_and_unknown_names() -> None:
    fields = frozenset(OTHER) - {"strike", "multiplier"}
    changed = {**BASE, **{field: OTHER[field] for field in fields}}
    assert canonical_row(body(changed), fields) == canonical_row(body(), fields)
    assert canonical_row(body(), frozenset({"no_such"})) == canonical_row(body())


LISTING = ListingBody(
    fingerprint=bytes(16), instrument=7, instrument_fingerprint=bytes(16), asset_class=3,
    venue="XETR", currency="EUR", symbol="APC", tick="0.01", valid_from=5, status=2,
)  # fmt: skip


def test_listing_rows() -> None:
    row = canonical_row(LISTING)
    assert canonical_row(replace(LISTING, revision=4)) == row
    changed = {"symbol": "X", "figi": "F", "status": 4, "primary": True, "valid_from": 6}
    for field, value in changed.items():
        other = replace(LISTING, revision=2, **{field: value})
        assert canonical_row(other) != row
        without = frozenset({field, "name"})
        assert canonical_row(other, without) == canonical_row(LISTING, without)
    assert canonical_row(replace(LISTING, venue="XFRA"), frozenset({"venue"})) != row


def test_relation_rows() -> None:
    relation = RelationBody(
        fingerprint=bytes(16), relation=1, asset_class=1, instrument=7,
        instrument_fingerprint=bytes(16), group_source="optimism", group="USDC",
    )  # fmt: skip
    assert canonical_row(relation) != canonical_row(replace(relation, group="DAI"))
    assert canonical_row(replace(relation, revision=2, asset_class=2)) == canonical_row(relation)
    ratio = {"ratio_numerator": 2, "ratio_denominator": 3}
    for field, value in {
        "ratio": ratio, "valid_from": {"valid_from": 5}, "valid_to": {"valid_to": 9},
    }.items():  # fmt: skip
        other = replace(relation, **value)
        assert canonical_row(other) != canonical_row(relation)
        assert canonical_row(other, frozenset({field, "name"})) == canonical_row(relation)
    said = replace(relation, one_to_one=True)
    assert canonical_row(said) != canonical_row(relation)
    assert canonical_row(said, frozenset({"ratio"})) == canonical_row(relation)


@pytest.mark.parametrize("field", ["valid_from", "valid_to"])
def test_disputed_dates_may_be_those_of_any_period(field: str) -> None:
    relation = RelationBody(
        fingerprint=bytes(16), relation=2, asset_class=1, instrument=1,
        instrument_fingerprint=bytes(16), other=2, other_fingerprint=bytes(16),
    )  # fmt: skip
    listing = ListingBody(
        fingerprint=bytes(16), instrument=1, instrument_fingerprint=bytes(16), asset_class=1,
        venue="XNAS",
    )  # fmt: skip
    for body, words in ((relation, RelationWords()), (listing, ListingWords())):
        periods = (), ((1, 2, words),)
        once, twice = (replace(body, earlier=each, **{field: 9}) for each in periods)
        assert canonical_row(once) != canonical_row(twice)
        disputed = frozenset({field})
        assert canonical_row(once, disputed) == canonical_row(twice, disputed)
