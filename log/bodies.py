"""The variable part of each kind of event: MessagePack maps with named fields.

Fields at their default are left out, unknown fields are ignored, and a field once written keeps
its name and meaning for ever; a change that this cannot express is a new version of the kind and
a step in `upcast.py`. Dicts are stored with sorted keys, so equal facts have equal bytes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from .kinds import SAMPLE_KINDS, Kind


class Body(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Base of the bodies: immutable values. None can lead back to itself, so the collector of
    garbage need not look at them, of which a block has a thousand."""


class Extension(Body, frozen=True):
    """What does not fit the 128 bytes of an instrument. Together they are the whole truth."""

    key: bytes
    """Canonical key: length-prefixed fields (registry.identity)."""
    counter: int = 0
    """0 = the id is the derived one; n = it is the nth fallback after collisions."""
    symbol: str = ""
    """The whole symbol, only when it is longer than the message's 16 bytes."""
    name: str = ""
    chain: str = ""
    """CAIP-2."""
    namespace: str = ""
    """CAIP-19 asset namespace: erc20, token, slip44, …"""
    address: str = ""
    """CAIP-19 asset reference."""
    venue: str = ""
    """Slug of the issuing venue, when it has no MIC."""
    identifiers: dict[str, str] = {}
    """Scheme to value: cusip, sedol, figi, …; sorted by scheme."""
    terms: dict[str, str | int] = {}
    """Fields of other classes by name; exact numbers as decimal text; sorted by name."""


class InstrumentBody(msgspec.Struct, frozen=True, gc=False):
    """Body of `instrument.*`: always the full state, so the newest frame is all a reader needs."""

    message: bytes
    extension: Extension


class ListingWords(Body, frozen=True):
    """What a listing says of one of its earlier periods; each as in `ListingBody`."""

    symbol: str = ""
    symbol_from: int = 0
    primary: bool = False
    tick: str = ""
    lot: str = ""
    ticks: str = ""
    min_size: str = ""
    max_size: str = ""
    min_notional: str = ""
    figi: str = ""


class RelationWords(Body, frozen=True):
    """What a relation says of one of its earlier periods; each as in `RelationBody`."""

    ratio_numerator: int = 1
    ratio_denominator: int = 1
    one_to_one: bool = False


class ListingBody(Body, frozen=True):
    """Body of `listing.*`: the full state of one listing."""

    fingerprint: bytes
    instrument: int
    instrument_fingerprint: bytes
    asset_class: int
    venue: str
    """MIC, or the venue's slug in lower case."""
    currency: str = ""
    line: int = 0
    symbol: str = ""
    """Local symbol, empty = not known."""
    primary: bool = False
    status: int = 2
    valid_from: int = 0
    """ns, 0 = not known."""
    valid_to: int = 0
    """ns, the first instant at which it is no longer listed; 0 = open."""
    counter: int = 0
    revision: int = 1
    tick: str = ""
    lot: str = ""
    """Exact numbers as decimal text, empty = not known."""
    figi: str = ""
    symbol_from: int = 0
    """ns, since when it has this symbol; 0 = as long as it is listed, as far as is known."""
    ticks: str = ""
    """As an instrument's: bands, each a price and the step from there on."""
    min_size: str = ""
    max_size: str = ""
    min_notional: str = ""
    earlier: tuple[tuple[int, int, ListingWords], ...] = ()
    """Periods (valid_from, valid_to, what was so in it) before this one, the oldest first."""


class RelationBody(Body, frozen=True):
    """Body of `relation.*`: the full state of a link from an instrument to another one, or to a
    named group."""

    fingerprint: bytes
    relation: int
    asset_class: int
    instrument: int
    """Id; 0 while it is not registered."""
    instrument_fingerprint: bytes
    other: int = 0
    """Id of the instrument at the far end; 0 for a group, and while it is not registered."""
    other_fingerprint: bytes = b""
    group_source: str = ""
    group: str = ""
    ratio_numerator: int = 1
    ratio_denominator: int = 1
    """One of the instrument stands for so much of the other, in lowest terms."""
    valid_to: int = 0
    """ns, the first instant at which it does not hold; 0 = open."""
    counter: int = 0
    valid_from: int = 0
    """ns, 0 = not known."""
    revision: int = 1
    one_to_one: bool = False
    """The ratio 1/1 was said. Without it, 1/1 means that no ratio is known."""
    missing_key: bytes = b""
    """Canonical key of the end that is not registered, for which the relation waits; empty when
    there is none."""
    earlier: tuple[tuple[int, int, RelationWords], ...] = ()
    """Periods (valid_from, valid_to, what was so in it) before this one, the oldest first."""

    @property
    def missing(self) -> bytes:
        """Fingerprint of the end that it waits for; empty when it waits for none."""
        if not self.missing_key:
            return b""
        return self.instrument_fingerprint if self.other else self.other_fingerprint


class CollisionBody(Body, frozen=True):
    """Two keys wanted one id. Written in the same commit as the newcomer's registration."""

    asset_class: int
    wanted: int
    """The id that the newcomer's fingerprint derives to."""
    assigned: int
    """The fallback id it got, which is the entity of this event."""
    counter: int
    fingerprint: bytes
    key: bytes
    holder: int
    """Entity that has the wanted id."""
    holder_fingerprint: bytes
    holder_key: bytes
    instrument: int = 0
    """Whose listing or relation the newcomer is; 0 when it is an instrument itself."""


class ConflictBody(Body, frozen=True):
    """A source disagrees with what another source said; nothing was changed."""

    asset_class: int
    field: str
    held: str
    held_source: str
    offered: str
    offered_source: str
    instrument: int = 0
    """Whose listing or relation it is about; 0 when it is about an instrument itself."""


class AcknowledgedBody(Body, frozen=True):
    """A person has seen an alert; a conflict so closed lets the held value stand."""

    alert: int
    """Offset of the collision or conflict."""
    asset_class: int = 0
    reason: str = ""
    instrument: int = 0
    """Whose listing or relation it is about; 0 when it is about an instrument itself."""


class AnswerBody(Body, frozen=True):
    """A command with a request id changed nothing. Kept so that its retries are told the same."""

    answer: int
    """Offset of the event that already said so."""
    conflicts: tuple[int, ...] = ()
    """Offsets of the open conflicts that its words were in."""
    asset_class: int = 0
    instrument: int = 0
    """Whose listing or relation it is about; 0 when it is about an instrument itself."""


class FeedBody(Body, frozen=True):
    """Body of `feed.imported`: all of a file of this feed was imported. rows = new + unchanged +
    amended + quarantined."""

    fingerprint: bytes
    """Of the feed: everything that one source sends."""
    source: str
    file: str
    """Its name, without directories; what is no UTF-8 in it stands as `\\xff`."""
    content_hash: bytes
    """Blake3 of the bytes that were imported, 32 bytes. Stands in one event of a log at most."""
    format: str
    rows: int = 0
    new: int = 0
    unchanged: int = 0
    amended: int = 0
    quarantined: int = 0
    collisions: int = 0
    conflicts: int = 0
    counter: int = 0
    revision: int = 1
    """Which file of this feed it is, from 1."""
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0
    """What is about sources is of no class and belongs to no instrument; other bodies say both."""


class ProposalBody(Body, frozen=True):
    """Body of `instrument.seen`, `instrument.missing` and `proposal.*`: the full state of one
    proposal."""

    fingerprint: bytes
    proposed: int
    instrument_fingerprint: bytes
    key: bytes
    """Canonical key of the instrument."""
    asset_class: int
    source: str = ""
    """Who saw the instrument, or names it no longer."""
    answered: int = 1
    instrument: int = 0
    """Its id; 0 while it is not registered."""
    facts: dict[str, str | int] = {}
    """To register: what is known of it, by field; sorted by field."""
    status: int = 0
    """To register: with this status; 0 = not said."""
    valid_from: int = 0
    """To register: ns, 0 = not known."""
    policy: str = ""
    """"auto" = it was registered at once; "" = a person is asked."""
    since: int = 0
    """To delist: number of the first complete snapshot without it."""
    missed: int = 0
    """To delist: how many complete snapshots in a row had been without it."""
    missing_after: int = 0
    """To delist: after how many of them it is proposed."""
    reason: str = ""
    """Of who confirmed or refused it."""
    counter: int = 0
    revision: int = 1


class SnapshotBody(Body, frozen=True):
    """Body of `feed.snapshot`: a file that names all that its source knows."""

    fingerprint: bytes
    """Of the snapshots of this source."""
    source: str
    content_hash: bytes
    modified: int
    """ns: when the file was last written, later than the one before."""
    number: int = 0
    """How many complete ones there were by then, this one included if it is one."""
    named: int = 0
    """How many instruments it names."""
    flaw: str = ""
    """Why it is not complete; it then says of no instrument that it is gone."""
    appeared: bytes = b""
    """Ids (u64, little-endian, rising) of instruments that it names and that were gone or new."""
    gone: bytes = b""
    """Ids of instruments that were named before and are not any more."""
    counter: int = 0
    revision: int = 1
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class RulesBody(Body, frozen=True):
    """Body of `feed.rules`: what holds for sources from here on. A log has one such entity."""

    fingerprint: bytes
    precedence: tuple[str, ...] = ()
    """Sources, the one whose word stands against all others first."""
    seen: dict[str, str] = {}
    """Source to its policy for instruments that are not known, where that is not "propose"."""
    counter: int = 0
    revision: int = 1
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class EndorsedBody(Body, frozen=True):
    """A source says what is held already, and comes before whoever said it: the word is its own
    from now on."""

    fields: tuple[str, ...]
    asset_class: int = 0
    instrument: int = 0
    """Whose listing or relation it is about; 0 when it is about an instrument itself."""


class CandidateBody(Body, frozen=True):
    """Body of `candidate.*`: the full state of two instruments that only look alike. Nothing is
    merged: a person confirms it, which relates them, or refuses it."""

    fingerprint: bytes
    asset_class: int
    instrument: int
    instrument_fingerprint: bytes
    """Comes before that of the other."""
    other: int
    other_fingerprint: bytes
    agree: dict[str, str]
    """The evidence: fields in which both say the same, as compared (registry.candidates)."""
    differ: dict[str, tuple[str, str]] = {}
    """Fields in which both say something else: the instrument's word, the other's."""
    score: int = 0
    """How strong the evidence is; higher is stronger."""
    state: int = 1
    relation: int = 0
    """Once confirmed: the relation that they are in."""
    backwards: bool = False
    """Once confirmed: that relation leads from the other to the instrument."""
    reason: str = ""
    """Why a person decided so."""
    counter: int = 0
    revision: int = 1


class VenueBody(Body, frozen=True):
    """Body of `venue.registered` and `venue.amended`: the full state of one venue."""

    fingerprint: bytes
    venue: str
    """MIC, or the venue's slug in lower case, as in listings; `binance:test` is its test
    environment."""
    operating: str = ""
    """MIC of the venue that operates this one, which is then a segment; empty: nobody does."""
    name: str = ""
    kind: int = 0
    """See `VenueKind`; 0 = not known."""
    country: str = ""
    """ISO 3166, two letters."""
    currency: str = ""
    lei: str = ""
    links: dict[str, str] = {}
    """What is there to its address: web, api, …; sorted."""
    valid_from: int = 0
    """ns, 0 = not known."""
    valid_to: int = 0
    """ns, the first instant at which it is no venue any more; 0 = open."""
    counter: int = 0
    revision: int = 1
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class EndpointsBody(Body, frozen=True):
    """Body of `venue.endpoints`: all ways to reach a venue, from some time on."""

    fingerprint: bytes
    """Of this aspect of the venue; so in the other bodies of aspects."""
    venue: str
    endpoints: tuple[dict[str, Any], ...] = ()
    """Each by field (registry.venues.endpoints)."""
    valid_from: int = 0
    """ns, since when; 0 = since it was recorded."""
    counter: int = 0
    revision: int = 1
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class FeesBody(Body, frozen=True):
    """Body of `venue.fees`: all that a venue charges, from some time on."""

    fingerprint: bytes
    venue: str
    schedules: tuple[dict[str, Any], ...] = ()
    """Each by field (registry.venues.fees); no two are about one product."""
    valid_from: int = 0
    """ns, since when; 0 = since it was recorded."""
    counter: int = 0
    revision: int = 1
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class HoursBody(Body, frozen=True):
    """Body of `venue.hours`: when a venue trades."""

    fingerprint: bytes
    venue: str
    hours: dict[str, Any]
    """By field (registry.venues.hours); its rules and days name their own dates."""
    valid_from: int = 0
    """ns, since when these are the hours; 0 = always."""
    counter: int = 0
    revision: int = 1
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class TradingBody(Body, frozen=True):
    """Body of `venue.status`: whether a venue, or one listing there, trades on one side or both."""

    fingerprint: bytes
    venue: str
    status: int
    """See `TradingStatus`."""
    valid_from: int
    """ns, since when."""
    side: str
    """both, buy or sell."""
    until: int = 0
    """ns, the first instant at which it holds no more; 0 = open."""
    listing: int = 0
    """Id; 0 = the whole venue."""
    listing_fingerprint: bytes = b""
    asset_class: int = 0
    instrument: int = 0
    """Of the listing, and its class; 0 for a whole venue."""
    reason: str = ""
    counter: int = 0
    revision: int = 1


class PerformanceBody(Body, frozen=True):
    """Body of `venue.performance`: how a venue, or one listing there, behaved within a window."""

    fingerprint: bytes
    venue: str
    window_from: int
    window_to: int
    """ns; the second is no part of it."""
    samples: int = 0
    measures: dict[str, str] = {}
    """What was measured to its value (registry.venues.performance), as text; sorted."""
    sketches: dict[str, bytes] = {}
    """ack, fill, reject: the latencies (registry.venues.sketch)."""
    counter: int = 0
    revision: int = 1
    listing: int = 0
    """Id; 0 = the whole venue."""
    listing_fingerprint: bytes = b""
    asset_class: int = 0
    instrument: int = 0
    """Of the listing, and its class; 0 for a whole venue."""


class WarningBody(Body, frozen=True):
    """Body of `venue.warning`: something is odd about what was said of a venue, and it holds all
    the same. Stands in the chain of that aspect, right after the event that says it."""

    venue: str
    problem: str
    schedule: int = 0
    line: int = 0
    """Which schedule of the fees, and which line of it, from 0."""
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class SampleExtension(Body, frozen=True):
    """What does not fit the 64 bytes of a sample."""

    venue: str
    """MIC, or the venue's slug in lower case."""


class SampleBody(msgspec.Struct, frozen=True, gc=False):
    """Body of `sample.*`: one measurement of how a venue behaves."""

    message: bytes
    extension: SampleExtension
    asset_class: ClassVar[int] = 0
    instrument: ClassVar[int] = 0


class Metadata(Body, frozen=True):
    """Where an event came from. An event without any costs no byte."""

    source: str = ""
    content_hash: bytes = b""
    """Blake3 of the file or message it came from."""
    request_id: str = ""
    command: bytes = b""
    """With a request id: 16 bytes that tell the command from others (registry.retries)."""
    registry_head: int = -1
    """For market events: the registry head the commit saw; -1 = not a market event."""


BODY_TYPES: Final[dict[int, type[Body]]] = {
    int(Kind.INSTRUMENT_REGISTERED): Extension,
    int(Kind.INSTRUMENT_AMENDED): Extension,
    int(Kind.INSTRUMENT_STATUS): Extension,
    int(Kind.VENUE_REGISTERED): VenueBody,
    int(Kind.VENUE_AMENDED): VenueBody,
    int(Kind.VENUE_ENDPOINTS): EndpointsBody,
    int(Kind.VENUE_FEES): FeesBody,
    int(Kind.VENUE_HOURS): HoursBody,
    int(Kind.VENUE_STATUS): TradingBody,
    int(Kind.VENUE_PERFORMANCE): PerformanceBody,
    int(Kind.VENUE_WARNING): WarningBody,
    int(Kind.LISTING_ADDED): ListingBody,
    int(Kind.LISTING_AMENDED): ListingBody,
    int(Kind.LISTING_ENDED): ListingBody,
    int(Kind.RELATION_ADDED): RelationBody,
    int(Kind.RELATION_AMENDED): RelationBody,
    int(Kind.RELATION_ENDED): RelationBody,
    int(Kind.COLLISION_DETECTED): CollisionBody,
    int(Kind.CONFLICT_DETECTED): ConflictBody,
    int(Kind.ALERT_ACKNOWLEDGED): AcknowledgedBody,
    int(Kind.REQUEST_ANSWERED): AnswerBody,
    int(Kind.FEED_IMPORTED): FeedBody,
    int(Kind.CANDIDATE_PROPOSED): CandidateBody,
    int(Kind.CANDIDATE_CONFIRMED): CandidateBody,
    int(Kind.CANDIDATE_REFUSED): CandidateBody,
    int(Kind.INSTRUMENT_SEEN): ProposalBody,
    int(Kind.INSTRUMENT_MISSING): ProposalBody,
    int(Kind.PROPOSAL_CONFIRMED): ProposalBody,
    int(Kind.PROPOSAL_REFUSED): ProposalBody,
    int(Kind.PROPOSAL_WITHDRAWN): ProposalBody,
    int(Kind.FEED_SNAPSHOT): SnapshotBody,
    int(Kind.FEED_RULES): RulesBody,
    int(Kind.WORD_ENDORSED): EndorsedBody,
    **dict.fromkeys(SAMPLE_KINDS, SampleExtension),
}
if BODY_TYPES.keys() != {int(kind) for kind in Kind}:
    raise ImportError("every kind needs a body type")

AspectBody = EndpointsBody | FeesBody | HoursBody | TradingBody | PerformanceBody
"""The full state of one aspect of a venue."""
ASPECTS: Final = (EndpointsBody, FeesBody, HoursBody, TradingBody, PerformanceBody)
VENUE_BODIES: Final = (VenueBody, *ASPECTS, WarningBody)
"""The same as tuples: a union would be built anew at each `isinstance`."""

AnyBody = (
    InstrumentBody
    | ListingBody
    | RelationBody
    | CollisionBody
    | ConflictBody
    | AcknowledgedBody
    | AnswerBody
    | FeedBody
    | CandidateBody
    | ProposalBody
    | SnapshotBody
    | RulesBody
    | EndorsedBody
    | VenueBody
    | AspectBody
    | WarningBody
    | SampleBody
)
