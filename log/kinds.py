"""The closed vocabularies of the wire: entity spaces, event kinds, classes, statuses, severities.

The numbers are part of the format (FORMAT.md) and are never reused. Names are what patterns,
JSON and people use.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Space(IntEnum):
    """Whose state an event changes; each space has its own ids."""

    INSTRUMENT = 1
    LISTING = 2
    VENUE = 3
    RELATION = 4
    FEED = 5
    CANDIDATE = 6
    PROPOSAL = 7


class Kind(IntEnum):
    """Kinds of events. The dotted name is `kind_name(kind)`."""

    INSTRUMENT_REGISTERED = 1
    INSTRUMENT_AMENDED = 2
    INSTRUMENT_STATUS = 3
    VENUE_REGISTERED = 8
    VENUE_AMENDED = 9
    VENUE_ENDPOINTS = 10
    VENUE_FEES = 11
    VENUE_HOURS = 12
    VENUE_STATUS = 13
    VENUE_PERFORMANCE = 14
    VENUE_WARNING = 15
    LISTING_ADDED = 16
    LISTING_AMENDED = 17
    LISTING_ENDED = 18
    RELATION_ADDED = 32
    RELATION_AMENDED = 33
    RELATION_ENDED = 34
    COLLISION_DETECTED = 48
    CONFLICT_DETECTED = 49
    ALERT_ACKNOWLEDGED = 50
    REQUEST_ANSWERED = 64
    FEED_IMPORTED = 80
    CANDIDATE_PROPOSED = 96
    CANDIDATE_CONFIRMED = 97
    CANDIDATE_REFUSED = 98
    INSTRUMENT_SEEN = 112
    INSTRUMENT_MISSING = 113
    PROPOSAL_CONFIRMED = 114
    PROPOSAL_REFUSED = 115
    PROPOSAL_WITHDRAWN = 116
    FEED_SNAPSHOT = 117
    FEED_RULES = 118
    WORD_ENDORSED = 119
    SAMPLE_ACK = 128
    SAMPLE_REJECT = 129
    SAMPLE_FILL = 130
    SAMPLE_OUTAGE = 131
    SAMPLE_SPREAD = 132
    SAMPLE_DEPTH = 133


class AssetClass(IntEnum):
    """What sort of claim an instrument is."""

    TOKEN = 1
    COIN = 2
    EQUITY = 3
    ETF = 4
    BOND = 5
    CURRENCY = 6
    FX_PAIR = 7
    SPOT_PAIR = 8
    DEX_POOL = 9
    PERPETUAL = 10
    FUTURE = 11
    OPTION = 12
    INDEX = 13
    SYNTHETIC = 14
    OUTCOME = 15


class Status(IntEnum):
    PENDING = 1
    ACTIVE = 2
    HALTED = 3
    DELISTED = 4
    EXPIRED = 5
    MIGRATED = 6


class Severity(IntEnum):
    INFO = 0
    WARNING = 1
    CRITICAL = 2


class RelationKind(IntEnum):
    """Links between instruments; GROUPED links a token to a named group of one source."""

    GROUPED = 1
    UNDERLYING = 2
    BRIDGED_FROM = 3
    WRAPS = 4
    RECEIPT_OF = 5
    SUCCEEDS = 6
    SAME_AS = 7
    COMPONENT = 8


class CandidateState(IntEnum):
    """What became of two instruments that look alike."""

    PROPOSED = 1
    CONFIRMED = 2
    REFUSED = 3


class Proposed(IntEnum):
    """What a proposal asks a person for."""

    REGISTER = 1
    DELIST = 2


class Answered(IntEnum):
    """How far a proposal is."""

    OPEN = 1
    CONFIRMED = 2
    REFUSED = 3
    WITHDRAWN = 4


class VenueKind(IntEnum):
    """What sort of place to trade a venue is."""

    EXCHANGE = 1
    MTF = 2
    OTF = 3
    SYSTEMATIC_INTERNALISER = 4
    ATS = 5
    SEF = 6
    DARK_POOL = 7
    OTC = 8
    QUOTATION_SYSTEM = 9
    REPORTING = 10
    BROKER = 11
    CRYPTO_EXCHANGE = 12
    DEX = 13
    OTHER = 14


class TradingStatus(IntEnum):
    """Whether a venue trades, from the least strict to the strictest."""

    OPEN = 1
    AUCTION = 2
    CANCEL_ONLY = 3
    HALTED = 4
    CLOSED = 5
    DOWN = 6


class Measure(IntEnum):
    """What a sample measures."""

    ACK = 1
    REJECT = 2
    FILL = 3
    OUTAGE = 4
    SPREAD = 5
    DEPTH = 6


def _dotted(kind: Kind) -> str:
    return kind.name.lower().replace("_", ".", 1)


KIND_NAMES: Final[dict[int, str]] = {int(kind): _dotted(kind) for kind in Kind}
KINDS_BY_NAME: Final[dict[str, Kind]] = {_dotted(kind): kind for kind in Kind}
CLASS_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in AssetClass}
CLASSES_BY_NAME: Final[dict[str, AssetClass]] = {v.name.lower(): v for v in AssetClass}
STATUS_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in Status}
STATUSES_BY_NAME: Final[dict[str, Status]] = {v.name.lower(): v for v in Status}
SEVERITY_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in Severity}
SPACE_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in Space}
RELATION_NAMES: Final[dict[int, str]] = {int(v): v.name.lower() for v in RelationKind}
RELATIONS_BY_NAME: Final[dict[str, RelationKind]] = {v.name.lower(): v for v in RelationKind}
CANDIDATE_STATE_NAMES: Final[dict[int, str]] = {
    int(value): value.name.lower() for value in CandidateState
}
PROPOSED_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in Proposed}
MEASURE_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in Measure}
MEASURES_BY_NAME: Final[dict[str, Measure]] = {v.name.lower(): v for v in Measure}
ANSWERED_NAMES: Final[dict[int, str]] = {int(value): value.name.lower() for value in Answered}
VENUE_KIND_NAMES: Final[dict[int, str]] = {int(v): v.name.lower() for v in VenueKind}
VENUE_KINDS_BY_NAME: Final[dict[str, VenueKind]] = {v.name.lower(): v for v in VenueKind}
TRADING_NAMES: Final[dict[int, str]] = {int(v): v.name.lower() for v in TradingStatus}
TRADING_BY_NAME: Final[dict[str, TradingStatus]] = {v.name.lower(): v for v in TradingStatus}
STATUS_WORDS: Final[dict[str, int]] = {
    **STATUSES_BY_NAME,
    **{n: 256 + v for n, v in TRADING_BY_NAME.items() if n not in STATUSES_BY_NAME},
}
"""What the facet `status` may be, of an instrument, a listing or a venue, each with a number of its
own: `halted` is one word, whoever is."""

INSTRUMENT_KINDS: Final = frozenset(
    {Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_AMENDED, Kind.INSTRUMENT_STATUS}
)
"""Kinds whose body starts with the 128-byte instrument message."""

LISTING_KINDS: Final = frozenset({Kind.LISTING_ADDED, Kind.LISTING_AMENDED, Kind.LISTING_ENDED})

RELATION_KINDS: Final = frozenset(
    {Kind.RELATION_ADDED, Kind.RELATION_AMENDED, Kind.RELATION_ENDED}
)

CANDIDATE_STATES: Final[dict[int, CandidateState]] = {
    int(Kind.CANDIDATE_PROPOSED): CandidateState.PROPOSED,
    int(Kind.CANDIDATE_CONFIRMED): CandidateState.CONFIRMED,
    int(Kind.CANDIDATE_REFUSED): CandidateState.REFUSED,
}
"""The state that an event of each kind of candidate leaves."""
PROPOSAL_KINDS: Final = frozenset(
    {Kind.INSTRUMENT_SEEN, Kind.INSTRUMENT_MISSING, Kind.PROPOSAL_CONFIRMED,
     Kind.PROPOSAL_REFUSED, Kind.PROPOSAL_WITHDRAWN}
)  # fmt: skip

VENUE_KINDS: Final = frozenset(
    {Kind.VENUE_REGISTERED, Kind.VENUE_AMENDED, Kind.VENUE_ENDPOINTS, Kind.VENUE_FEES,
     Kind.VENUE_HOURS, Kind.VENUE_STATUS, Kind.VENUE_PERFORMANCE}
)  # fmt: skip
"""Kinds whose body is the full state of a venue, or of one aspect of it."""

SAMPLE_KINDS: Final[dict[int, Measure]] = {
    int(Kind.SAMPLE_ACK): Measure.ACK,
    int(Kind.SAMPLE_REJECT): Measure.REJECT,
    int(Kind.SAMPLE_FILL): Measure.FILL,
    int(Kind.SAMPLE_OUTAGE): Measure.OUTAGE,
    int(Kind.SAMPLE_SPREAD): Measure.SPREAD,
    int(Kind.SAMPLE_DEPTH): Measure.DEPTH,
}
"""Kinds whose body starts with the 64-byte sample. They stand in the market log only."""

MARKET_KINDS: Final = frozenset(SAMPLE_KINDS)
"""What stands in the market log, and nowhere else. Its events name no previous event of their
entity: what is kept for days only has no history to follow back."""

SEVERITIES: Final[dict[int, Severity]] = {
    int(kind): Severity.INFO for kind in Kind
} | {
    int(Kind.COLLISION_DETECTED): Severity.CRITICAL,
    int(Kind.CONFLICT_DETECTED): Severity.WARNING,
    int(Kind.VENUE_WARNING): Severity.WARNING,
}
