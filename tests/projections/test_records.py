from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import AssetClass, Kind, ListingBody, RelationBody, RelationKind, Space, Status
from alphapulse.projections.records import (
    NOT_ACKNOWLEDGED,
    AlertRecord,
    ListingRecord,
    RelationRecord,
    RequestRecord,
    group_key,
    pack_alert,
    pack_listing,
    pack_relation,
    pack_request,
)
from alphapulse.registry.relation_rules import ratio_in
from tests.texts import texts

PRINT = bytes(range(16))
U64 = st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)


def listing(**fields: Any) -> ListingBody:
    known = {
        "fingerprint": PRINT, "instrument": 5, "instrument_fingerprint": PRINT,
        "asset_class": AssetClass.EQUITY, "venue": "XETR",
    }  # fmt: skip
    return ListingBody(**{**known, **fields})


def fits(text: str, size_bytes: int) -> bool:
    return len(text.encode()) <= size_bytes


@given(
    id=U64, instrument=U64, valid_from=I64, valid_to=I64, revision=st.integers(1, (1 << 32) - 1),
    line=st.integers(0, (1 << 16) - 1), primary=st.booleans(), status=st.sampled_from(Status),
    symbol=texts(max_size=40), venue=texts(max_size=30), currency=texts(max_size=14),
    before=st.integers(0, 3),
)  # fmt: skip
def test_a_listing_reads_as_it_was_packed(id: int, before: int, **fields: Any) -> None:
    body = listing(**fields)
    payload = pack_listing(id, body)
    assert len(payload) == 128
    record = ListingRecord(bytes(before * 128) + payload, before * 128)
    assert (record.id, record.fingerprint, record.asset_class) == (id, PRINT, AssetClass.EQUITY)
    names = ("instrument", "valid_from", "valid_to", "revision", "line", "primary", "status")
    assert {name: getattr(record, name) for name in names} == {n: fields[n] for n in names}
    cut = False
    for name, size_bytes in (("symbol", 28), ("venue", 24), ("currency", 12)):
        text, found = fields[name], getattr(record, name)
        assert text.startswith(found)
        assert (found == text) == fits(text, size_bytes)
        if found != text:  # as much as fits, at a whole character
            assert fits(found, size_bytes)
            assert not fits(text[: len(found) + 1], size_bytes)
            cut = True
    assert record.is_cut == cut


@pytest.mark.parametrize(
    "valid_from, valid_to, at, current",
    [(0, 0, 5, True), (5, 0, 4, False), (5, 0, 5, True), (0, 9, 8, True), (0, 9, 9, False),
     (5, 9, 5, True), (5, 9, 10, False)],
)  # fmt: skip
def test_when_a_listing_is_current(valid_from: int, valid_to: int, at: int, current: bool) -> None:
    body = listing(valid_from=valid_from, valid_to=valid_to)
    assert ListingRecord(pack_listing(1, body)).current(at) is current


def test_a_listing_shows_itself() -> None:
    record = ListingRecord(pack_listing(255, listing(symbol="APC")))
    assert repr(record) == "<listing 0x00000000000000ff 'APC' at XETR>"


@given(U64, U64, U64, I64, I64)
def test_a_relation(id: int, instrument: int, other: int, valid_from: int, valid_to: int) -> None:
    body = RelationBody(
        fingerprint=PRINT, relation=RelationKind.WRAPS, asset_class=AssetClass.TOKEN,
        instrument=instrument, instrument_fingerprint=PRINT, other=other, valid_to=valid_to,
        valid_from=valid_from,
    )  # fmt: skip
    record = RelationRecord(pack_relation(id, body))
    assert (record.id, record.fingerprint, record.instrument) == (id, PRINT, instrument)
    assert (record.other, record.group) == (other, 0)
    link = (instrument, RelationKind.WRAPS, other, None, valid_from, valid_to, False)
    assert tuple(record.link()) == link


@pytest.mark.parametrize(
    "fields, ratio",
    [
        ({}, None),
        ({"one_to_one": True}, (1, 1)),
        ({"ratio_denominator": 10}, (1, 10)),
        ({"ratio_numerator": (1 << 63) - 1, "ratio_denominator": 2}, ((1 << 63) - 1, 2)),
    ],
)
def test_the_ratio_of_a_relation(fields: dict[str, Any], ratio: tuple[int, int] | None) -> None:
    body = RelationBody(
        fingerprint=PRINT, relation=RelationKind.RECEIPT_OF, asset_class=AssetClass.TOKEN,
        instrument=1, instrument_fingerprint=PRINT, other=2, **fields,
    )  # fmt: skip
    assert RelationRecord(pack_relation(1, body)).link().ratio == ratio == ratio_in(body)


def test_a_group() -> None:
    body = RelationBody(
        fingerprint=PRINT, relation=RelationKind.GROUPED, asset_class=AssetClass.TOKEN,
        instrument=3, instrument_fingerprint=PRINT, group_source="a", group="g",
    )  # fmt: skip
    record = RelationRecord(pack_relation(1, body))
    assert (record.group, record.other) == (group_key("a", "g"), 0)
    assert len({group_key("a", "g"), group_key("ag", ""), group_key("g", "a")}) == 3


@given(st.integers(0, NOT_ACKNOWLEDGED - 1), U64, st.sampled_from(Space))
def test_an_alert(offset: int, entity: int, space: Space) -> None:
    is_open = AlertRecord(
        pack_alert(offset, NOT_ACKNOWLEDGED, entity, space, Kind.CONFLICT_DETECTED)
    )
    assert (is_open.offset, is_open.acknowledged, is_open.entity) == (offset, None, entity)
    assert (is_open.space, is_open.kind) == (space, Kind.CONFLICT_DETECTED)
    closed = AlertRecord(pack_alert(offset, offset, entity, space, Kind.COLLISION_DETECTED))
    assert (closed.acknowledged, closed.kind) == (offset, Kind.COLLISION_DETECTED)


@given(U64, st.binary(min_size=32, max_size=32))
def test_a_request(offset: int, digest: bytes) -> None:
    record = RequestRecord(pack_request(offset, digest))
    assert (record.offset, record.digest) == (offset, digest)
