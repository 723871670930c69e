from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log.bodies import (
    BODY_TYPES,
    AcknowledgedBody,
    AnswerBody,
    Body,
    CandidateBody,
    CollisionBody,
    ConflictBody,
    EndorsedBody,
    EndpointsBody,
    Extension,
    FeedBody,
    FeesBody,
    HoursBody,
    InstrumentBody,
    ListingBody,
    Metadata,
    PerformanceBody,
    ProposalBody,
    RelationBody,
    RulesBody,
    SampleExtension,
    SnapshotBody,
    TradingBody,
    VenueBody,
    WarningBody,
)
from alphapulse.log.frame import encode_body
from alphapulse.log.kinds import Kind
from tests.texts import texts

from .builders import body_of, make_event

TEXT = texts(max_size=12)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
PLAIN = st.lists(st.dictionaries(TEXT, TEXT | st.lists(TEXT), max_size=3), max_size=3)
BODIES: dict[type[Body], st.SearchStrategy[Body]] = {
    Extension: st.builds(
        Extension, key=st.binary(max_size=40), counter=st.integers(0, 65535), symbol=TEXT,
        name=TEXT, chain=TEXT, namespace=TEXT, address=TEXT, venue=TEXT,
        identifiers=st.dictionaries(TEXT, TEXT, max_size=4),
        terms=st.dictionaries(TEXT, TEXT | I64, max_size=4),
    ),
    ListingBody: st.builds(
        ListingBody, fingerprint=st.binary(), instrument=U64, instrument_fingerprint=st.binary(),
        asset_class=st.integers(1, 15), venue=TEXT, currency=TEXT, line=st.integers(0, 99),
        symbol=TEXT, primary=st.booleans(), status=st.integers(1, 6), valid_from=I64,
        valid_to=I64, counter=st.integers(0, 65535), revision=st.integers(1, 9), tick=TEXT,
        lot=TEXT,
    ),
    RelationBody: st.builds(
        RelationBody, fingerprint=st.binary(), relation=st.integers(1, 8),
        asset_class=st.integers(1, 15), instrument=U64, instrument_fingerprint=st.binary(),
        other=U64, other_fingerprint=st.binary(), group_source=TEXT, group=TEXT,
        ratio_numerator=I64, ratio_denominator=I64, valid_to=I64, counter=st.integers(0, 65535),
        valid_from=I64, revision=st.integers(1, 9), one_to_one=st.booleans(),
    ),
    CollisionBody: st.builds(
        CollisionBody, asset_class=st.integers(1, 15), wanted=U64, assigned=U64,
        counter=st.integers(1, 65535), fingerprint=st.binary(), key=st.binary(), holder=U64,
        holder_fingerprint=st.binary(), holder_key=st.binary(),
    ),
    ConflictBody: st.builds(
        ConflictBody, asset_class=st.integers(1, 15), field=TEXT, held=TEXT, held_source=TEXT,
        offered=TEXT, offered_source=TEXT,
    ),
    AcknowledgedBody: st.builds(
        AcknowledgedBody, alert=U64, asset_class=st.integers(0, 15), reason=TEXT
    ),
    AnswerBody: st.builds(
        AnswerBody, answer=U64, conflicts=st.lists(U64).map(tuple),
        asset_class=st.integers(0, 15), instrument=U64,
    ),
    FeedBody: st.builds(
        FeedBody, fingerprint=st.binary(), source=TEXT, file=TEXT, content_hash=st.binary(),
        format=TEXT, rows=I64, new=I64, unchanged=I64, amended=I64, quarantined=I64,
        collisions=I64, conflicts=I64, counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    CandidateBody: st.builds(
        CandidateBody, fingerprint=st.binary(), asset_class=st.integers(1, 15), instrument=U64,
        instrument_fingerprint=st.binary(), other=U64, other_fingerprint=st.binary(),
        agree=st.dictionaries(TEXT, TEXT, max_size=4),
        differ=st.dictionaries(TEXT, st.tuples(TEXT, TEXT), max_size=4), score=I64,
        state=st.integers(1, 3), relation=st.integers(0, 8), backwards=st.booleans(), reason=TEXT,
        counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    ProposalBody: st.builds(
        ProposalBody, fingerprint=st.binary(), proposed=st.integers(1, 2),
        instrument_fingerprint=st.binary(), key=st.binary(), asset_class=st.integers(1, 15),
        source=TEXT, answered=st.integers(1, 4), instrument=U64,
        facts=st.dictionaries(TEXT, st.one_of(TEXT, I64)), status=st.integers(0, 6),
        valid_from=I64, policy=TEXT, since=U64, missed=U64, missing_after=U64, reason=TEXT,
        counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    SnapshotBody: st.builds(
        SnapshotBody, fingerprint=st.binary(), source=TEXT, content_hash=st.binary(),
        modified=I64, number=U64, named=U64, flaw=TEXT, appeared=st.binary(), gone=st.binary(),
        counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    RulesBody: st.builds(
        RulesBody, fingerprint=st.binary(), precedence=st.lists(TEXT).map(tuple),
        seen=st.dictionaries(TEXT, TEXT), counter=st.integers(0, 65535),
        revision=st.integers(1, 9),
    ),
    EndorsedBody: st.builds(
        EndorsedBody, fields=st.lists(TEXT).map(tuple), asset_class=st.integers(0, 15),
        instrument=U64,
    ),
    VenueBody: st.builds(
        VenueBody, fingerprint=st.binary(), venue=TEXT, operating=TEXT, name=TEXT,
        kind=st.integers(0, 14), country=TEXT, currency=TEXT, lei=TEXT,
        links=st.dictionaries(TEXT, TEXT), valid_from=I64, valid_to=I64,
        counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    EndpointsBody: st.builds(
        EndpointsBody, fingerprint=st.binary(), venue=TEXT, endpoints=PLAIN.map(tuple),
        valid_from=I64, counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    FeesBody: st.builds(
        FeesBody, fingerprint=st.binary(), venue=TEXT, schedules=PLAIN.map(tuple),
        valid_from=I64, counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    HoursBody: st.builds(
        HoursBody, fingerprint=st.binary(), venue=TEXT,
        hours=st.dictionaries(TEXT, TEXT | st.booleans() | st.lists(TEXT)), valid_from=I64,
        counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    TradingBody: st.builds(
        TradingBody, fingerprint=st.binary(), venue=TEXT, status=st.integers(1, 6),
        valid_from=I64, until=I64, side=TEXT, listing=U64, listing_fingerprint=st.binary(),
        asset_class=st.integers(0, 15), instrument=U64, reason=TEXT,
        counter=st.integers(0, 65535), revision=st.integers(1, 9),
    ),
    PerformanceBody: st.builds(
        PerformanceBody, fingerprint=st.binary(), venue=TEXT, window_from=I64, window_to=I64,
        samples=U64, measures=st.dictionaries(TEXT, TEXT),
        sketches=st.dictionaries(TEXT, st.binary()), counter=st.integers(0, 65535),
        revision=st.integers(1, 9),
    ),
    WarningBody: st.builds(WarningBody, venue=TEXT, problem=TEXT, schedule=U64, line=U64),
    SampleExtension: st.builds(SampleExtension, venue=TEXT),
    Metadata: st.builds(
        Metadata, source=TEXT, content_hash=st.binary(), request_id=TEXT, command=st.binary()
    ),
}  # fmt: skip


@given(st.one_of(*BODIES.values()))
def test_what_is_written_is_read(body: Body) -> None:
    data = msgspec.msgpack.encode(body, order="deterministic")
    assert msgspec.msgpack.decode(data, type=type(body)) == body


def test_every_body_type_is_tried() -> None:
    assert set(BODY_TYPES.values()) | {Metadata} == set(BODIES)
    assert BODY_TYPES.keys() == {int(kind) for kind in Kind}


@given(st.permutations([("figi", "1"), ("cusip", "2"), ("sedol", "3"), ("a", "4"), ("z", "5")]))
def test_equal_facts_have_equal_bytes(pairs: list[tuple[str, str]]) -> None:
    body = ConflictBody(
        asset_class=1, field="x", held="", held_source="", offered="", offered_source=""
    )
    event = make_event(Kind.CONFLICT_DETECTED, body)
    assert event.body == body
    one = Extension(key=b"k", identifiers=dict(pairs), terms=dict(pairs))
    two = Extension(key=b"k", identifiers=dict(sorted(pairs)), terms=dict(sorted(pairs)))
    encoded = encode_body(InstrumentBody(bytes(128), one))
    assert encoded == encode_body(InstrumentBody(bytes(128), two))


def test_fields_at_their_default_are_left_out() -> None:
    assert msgspec.msgpack.decode(encode_body(AcknowledgedBody(alert=3))[1]) == {"alert": 3}
    listing = ListingBody(
        fingerprint=b"f", instrument=1, instrument_fingerprint=b"i", asset_class=3, venue="XNAS"
    )
    assert list(msgspec.msgpack.decode(encode_body(listing)[1])) == [
        "fingerprint", "instrument", "instrument_fingerprint", "asset_class", "venue",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_bodies_are_values(kind: Kind) -> None:
    body = body_of(kind, 5)
    assert body == body_of(kind, 5) and make_event(kind, entity=5).body == body
    with pytest.raises(AttributeError):
        body.asset_class = 9  # type: ignore[misc, union-attr]  # frozen, which is what is tested
