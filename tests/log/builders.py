"""Makes real events of every kind, for tests that need some and do not care how they arose.

`from .builders import ...` works between the files of this folder. Every builder takes the fields
that matter to a test and fills the rest with plain, deterministic values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alphapulse.log.block import Block, encode_block
from alphapulse.log.bodies import (
    VENUE_BODIES,
    AcknowledgedBody,
    AnswerBody,
    AnyBody,
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
    SampleBody,
    SampleExtension,
    SnapshotBody,
    TradingBody,
    VenueBody,
    WarningBody,
)
from alphapulse.log.facets import Columns, columns_of
from alphapulse.log.frame import NO_PREVIOUS, Event, encode_body, encode_frame, encode_metadata
from alphapulse.log.kinds import (
    CANDIDATE_STATES,
    INSTRUMENT_KINDS,
    LISTING_KINDS,
    PROPOSAL_KINDS,
    RELATION_KINDS,
    SAMPLE_KINDS,
    VENUE_KINDS,
    AssetClass,
    Kind,
    Measure,
    Proposed,
    Space,
    Status,
)
from alphapulse.log.message import InstrumentFields, encode_message, pack_currency, pack_symbol
from alphapulse.log.sample import encode_sample

TIME = 1_764_000_000_000_000_000
"""Recorded time of built events (ns), unless a test says another."""
CHAIN_SEED = bytes(32)


def fingerprint(number: int) -> bytes:
    return number.to_bytes(16, "little")


def instrument_body(
    entity: int = 1, *, asset_class: int = AssetClass.TOKEN, status: int = Status.ACTIVE,
    symbol: str = "", isin: str = "", currency: str = "", venue: str = "", chain: str = "",
    name: str = "", revision: int = 1,
) -> InstrumentBody:  # fmt: skip
    """`venue` is a MIC when it is 4 upper-case characters, else a slug in the extension."""
    stored, flag = pack_symbol(symbol)
    is_mic = len(venue) == 4 and venue.isupper()
    fields = InstrumentFields(
        asset_class=asset_class, status=status, flags=flag, id=entity,
        fingerprint=fingerprint(entity), symbol_size=len(stored), revision=revision,
        venue=venue.encode() if is_mic else b"", currency=pack_currency(currency),
        isin=isin.encode(), symbol=stored,
    )  # fmt: skip
    extension = Extension(
        key=b"key %d" % entity, symbol=symbol if flag else "", name=name, chain=chain,
        venue="" if is_mic else venue,
    )  # fmt: skip
    return InstrumentBody(encode_message(*fields), extension)


def listing_body(
    entity: int = 2, *, instrument: int = 1, asset_class: int = AssetClass.EQUITY,
    venue: str = "XNAS", currency: str = "USD", symbol: str = "AAPL", status: int = Status.ACTIVE,
) -> ListingBody:  # fmt: skip
    return ListingBody(
        fingerprint=fingerprint(entity), instrument=instrument,
        instrument_fingerprint=fingerprint(instrument), asset_class=asset_class, venue=venue,
        currency=currency, symbol=symbol, status=status,
    )  # fmt: skip


def relation_body(
    entity: int = 3, *, relation: int = 2, asset_class: int = AssetClass.TOKEN,
    instrument: int = 1, other: int = 0,
) -> RelationBody:  # fmt: skip
    return RelationBody(
        fingerprint=fingerprint(entity), relation=relation, asset_class=asset_class,
        instrument=instrument, instrument_fingerprint=fingerprint(instrument), other=other,
        other_fingerprint=fingerprint(other) if other else b"",
    )  # fmt: skip


def collision_body(
    assigned: int = 4, *, holder: int = 1, asset_class: int = AssetClass.TOKEN
) -> CollisionBody:
    return CollisionBody(
        asset_class=asset_class, wanted=holder, assigned=assigned, counter=1,
        fingerprint=fingerprint(assigned), key=b"key of the newcomer", holder=holder,
        holder_fingerprint=fingerprint(holder), holder_key=b"key of the holder",
    )  # fmt: skip


def conflict_body(*, asset_class: int = AssetClass.EQUITY) -> ConflictBody:
    return ConflictBody(
        asset_class=asset_class, field="name", held="Apple", held_source="a", offered="Apple Inc.",
        offered_source="b",
    )  # fmt: skip


def acknowledged_body(alert: int = 0, *, asset_class: int = 0) -> AcknowledgedBody:
    return AcknowledgedBody(alert=alert, asset_class=asset_class, reason="seen")


def answer_body(answer: int = 0, *, asset_class: int = AssetClass.TOKEN) -> AnswerBody:
    return AnswerBody(answer=answer, asset_class=asset_class)


def feed_body(number: int = 1, *, revision: int = 1) -> FeedBody:
    return FeedBody(
        fingerprint=fingerprint(number), source="lists", file="a.json",
        content_hash=number.to_bytes(32, "little"), format="token-list", rows=1, new=1,
        revision=revision,
    )  # fmt: skip


def candidate_body(
    entity: int = 5, *, instrument: int = 1, other: int = 2, asset_class: int = AssetClass.TOKEN,
    state: int = 1,
) -> CandidateBody:  # fmt: skip
    return CandidateBody(
        fingerprint=fingerprint(entity), asset_class=asset_class, instrument=instrument,
        instrument_fingerprint=fingerprint(instrument), other=other,
        other_fingerprint=fingerprint(other), agree={"symbol": "usdc"}, score=2, state=state,
    )  # fmt: skip


def proposal_body(
    number: int = 1, *, instrument: int = 0, asset_class: int = AssetClass.TOKEN,
    facts: dict[str, str | int] | None = None,
) -> ProposalBody:  # fmt: skip
    return ProposalBody(
        fingerprint=fingerprint(number), proposed=Proposed.REGISTER,
        instrument_fingerprint=fingerprint(number), key=b"key", asset_class=asset_class,
        source="lists", instrument=instrument, facts=facts or {},
    )  # fmt: skip


def snapshot_body(number: int = 1) -> SnapshotBody:
    return SnapshotBody(
        fingerprint=fingerprint(number), source="lists", content_hash=bytes(32), modified=TIME,
        number=1, named=1, appeared=number.to_bytes(8, "little"),
    )  # fmt: skip


def rules_body(number: int = 1) -> RulesBody:
    return RulesBody(fingerprint=fingerprint(number), precedence=("a", "b"), seen={"a": "auto"})


def endorsed_body(*, asset_class: int = AssetClass.TOKEN) -> EndorsedBody:
    return EndorsedBody(fields=("symbol",), asset_class=asset_class)


def venue_body(number: int = 1, *, venue: str = "XNAS", currency: str = "") -> VenueBody:
    return VenueBody(
        fingerprint=fingerprint(number), venue=venue, name="A venue", kind=1, currency=currency
    )


def trading_body(
    number: int = 1, *, venue: str = "XNAS", instrument: int = 0, asset_class: int = 0,
    status: int = 4,
) -> TradingBody:  # fmt: skip
    return TradingBody(
        fingerprint=fingerprint(number), venue=venue, status=status, valid_from=TIME, side="both",
        instrument=instrument, asset_class=asset_class if instrument else 0,
    )  # fmt: skip


def aspect_body(kind: int, number: int = 1, *, venue: str = "XNAS") -> AnyBody:
    """Of a kind of venue but for the venue itself."""
    of = fingerprint(number)
    if kind == Kind.VENUE_ENDPOINTS:
        return EndpointsBody(fingerprint=of, venue=venue, endpoints=({"kind": "rest"},))
    if kind == Kind.VENUE_FEES:
        return FeesBody(fingerprint=of, venue=venue, schedules=({"lines": [{"value": "0.1"}]},))
    if kind == Kind.VENUE_HOURS:
        return HoursBody(fingerprint=of, venue=venue, hours={"zone": "UTC", "always": True})
    if kind == Kind.VENUE_PERFORMANCE:
        return PerformanceBody(
            fingerprint=of, venue=venue, window_from=TIME, window_to=TIME + 1, samples=1,
            measures={"ack_p50_ns": "12"}, sketches={"ack_ns": b"sketch"},
        )  # fmt: skip
    if kind == Kind.VENUE_WARNING:
        return WarningBody(venue=venue, problem="odd", line=2)
    return trading_body(number, venue=venue)
def sample_body(
    measure: int = Measure.ACK, *, venue: str = "XNAS", time: int = TIME, value: int = 250_000,
    exponent: int = 0, listing: int = 0, band_bps: int = 0, currency: str = "",
) -> SampleBody:  # fmt: skip
    message = encode_sample(
        measure, exponent, band_bps, time, fingerprint(7), listing, value,
        currency.encode().ljust(8, b"\0"),
    )  # fmt: skip
    return SampleBody(message, SampleExtension(venue=venue))


def body_of(kind: int, entity: int = 1) -> AnyBody:
    """A plain body of this kind; its entity is `entity`."""
    if kind in INSTRUMENT_KINDS:
        return instrument_body(entity)
    if kind in LISTING_KINDS:
        return listing_body(entity)
    if kind in RELATION_KINDS:
        return relation_body(entity)
    if kind in (Kind.VENUE_REGISTERED, Kind.VENUE_AMENDED):
        return venue_body(entity)
    if kind in VENUE_KINDS or kind == Kind.VENUE_WARNING:
        return aspect_body(kind, entity)
    if kind == Kind.COLLISION_DETECTED:
        return collision_body(entity)
    if kind == Kind.REQUEST_ANSWERED:
        return answer_body()
    if kind == Kind.FEED_IMPORTED:
        return feed_body(entity)
    if kind in CANDIDATE_STATES:
        return candidate_body(entity, state=CANDIDATE_STATES[kind])
    if kind in PROPOSAL_KINDS:
        return proposal_body(entity)
    if kind == Kind.FEED_SNAPSHOT:
        return snapshot_body(entity)
    if kind == Kind.WORD_ENDORSED:
        return endorsed_body()
    if kind == Kind.FEED_RULES:
        return rules_body(entity)
    if kind in SAMPLE_KINDS:
        return sample_body(SAMPLE_KINDS[kind])
    return conflict_body() if kind == Kind.CONFLICT_DETECTED else acknowledged_body()


def space_of(body: AnyBody) -> Space:
    if isinstance(body, ListingBody):
        return Space.LISTING
    if isinstance(body, FeedBody | SnapshotBody | RulesBody):
        return Space.FEED
    if isinstance(body, CandidateBody):
        return Space.CANDIDATE
    if isinstance(body, ProposalBody):
        return Space.PROPOSAL
    if isinstance(body, (*VENUE_BODIES, SampleBody)):
        return Space.VENUE
    return Space.RELATION if isinstance(body, RelationBody) else Space.INSTRUMENT


def make_frame(
    kind: int, body: AnyBody | None = None, *, offset: int = 0, entity: int = 1,
    recorded: int = TIME, valid_from: int = 0, previous: int | None = None, source: str = "",
    space: Space | None = None,
) -> bytes:  # fmt: skip
    """The frame of one event of any kind; without a body it has a plain one."""
    body = body_of(kind, entity) if body is None else body
    fixed, rest = encode_body(body)
    return encode_frame(
        kind=kind, space=space_of(body) if space is None else space, offset=offset,
        recorded=recorded, valid_from=valid_from, entity=entity,
        previous=NO_PREVIOUS if previous is None else previous, fixed=fixed, rest=rest,
        metadata=encode_metadata(Metadata(source=source)),
    )  # fmt: skip


def make_event(
    kind: int, body: AnyBody | None = None, *, offset: int = 0, entity: int = 1, source: str = "",
    space: Space | None = None,
) -> Event:  # fmt: skip
    frame = make_frame(kind, body, offset=offset, entity=entity, source=source, space=space)
    return Event(frame)


def event_of_each_kind() -> list[Event]:
    return [make_event(kind, offset=index, entity=index + 1) for index, kind in enumerate(Kind)]


def columns_of_event(event: Event) -> Columns:
    return columns_of(event.kind, event.severity, event.entity, event.body)


def make_block(
    events: Sequence[Event] | Iterable[Event], *, first: int = 0, time: int = TIME,
    chain_before: bytes = CHAIN_SEED,
) -> Block:  # fmt: skip
    """A real block of these events; their offsets must run from `first`."""
    events = list(events)
    assert [event.offset for event in events] == list(range(first, first + len(events)))
    frames = [event.frame for event in events]
    columns = [columns_of_event(event) for event in events]
    return Block(encode_block(first, time, chain_before, frames, columns))
