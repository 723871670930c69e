"""Payloads of the views other than instruments: 128 bytes each, read in place by flyweights.

An instrument's payload is its 128-byte message itself (`alphapulse.log.InstrumentRecord`). These
are private to the views and may change with a schema version, since views are rebuilt at will.
Text that is cut here stands whole in the event that `data_offset` names.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from alphapulse.log import (
    Answered,
    AspectBody,
    AssetClass,
    CandidateBody,
    CandidateState,
    FeedBody,
    Flyweight,
    Kind,
    ListingBody,
    PerformanceBody,
    ProposalBody,
    Proposed,
    RelationBody,
    RelationKind,
    RulesBody,
    SnapshotBody,
    Space,
    Status,
    TradingBody,
    TradingStatus,
    VenueBody,
    VenueKind,
    is_during,
)

from .keys import text_key
from .layout import PAYLOAD_SIZE_BYTES

LISTING: Final = struct.Struct("<Q16sQqqIHBBBBBB12s24s28s4x")
RELATION: Final = struct.Struct("<Q16sQQQqqqqIBBBB40x")
ALERT: Final = struct.Struct("<QQQBxH100x")
REQUEST: Final = struct.Struct("<Q32s88x")
IMPORT: Final = struct.Struct("<Q32s88x")
FEED: Final = struct.Struct("<Q16sI100x")
PROPOSAL: Final = struct.Struct("<Q16sQQBB86x")
VENUE: Final = struct.Struct("<Q16sQQqqIBBBB64s")
CANDIDATE: Final = struct.Struct("<Q16sQQIBB82x")
for _layout in (LISTING, RELATION, ALERT, REQUEST, IMPORT, FEED, CANDIDATE, PROPOSAL, VENUE):
    if _layout.size != PAYLOAD_SIZE_BYTES:
        raise ImportError(f"payload {_layout.format} has {_layout.size} bytes, not 128")

FLAG_PRIMARY: Final = 1
FLAG_CUT: Final = 2
FLAG_EARLIER: Final = 4
FLAG_SYMBOL_DATED: Final = 8
_CURRENCY_BYTES: Final = 12
_VENUE_BYTES: Final = 24
_SYMBOL_BYTES: Final = 28
NOT_ACKNOWLEDGED: Final = (1 << 64) - 1

_Q: Final = struct.Struct("<Q").unpack_from
_SIGNED: Final = struct.Struct("<q").unpack_from
unpack_dates: Final = struct.Struct("<24xQqq7xB").unpack_from
"""(instrument, valid_from, valid_to, flags) of a listing's record, where there are many to see."""
unpack_listed: Final = struct.Struct("<24xQqqI3xB80xQ").unpack_from
"""(instrument, valid_from, valid_to, revision, flags, data offset), trailer included: what decides
whether a listing's record is the state that was asked for."""
_LINK: Final = struct.Struct("<24xQQ8xqqqq4xBxBB").unpack_from
_KINDS: Final = {int(kind): kind for kind in RelationKind}
_I: Final = struct.Struct("<I").unpack_from
_H: Final = struct.Struct("<H").unpack_from


def _cut(raw: bytes, size_bytes: int) -> bytes:
    """UTF-8 of at most so many bytes, cut at a whole character."""
    return raw[:size_bytes].decode(errors="ignore").encode()


def pack_listing(id: int, body: ListingBody) -> bytes:
    symbol, venue, currency = body.symbol.encode(), body.venue.encode(), body.currency.encode()
    whole = (
        len(symbol) <= _SYMBOL_BYTES and len(venue) <= _VENUE_BYTES
        and len(currency) <= _CURRENCY_BYTES
    )  # fmt: skip
    if not whole:
        symbol, venue = _cut(symbol, _SYMBOL_BYTES), _cut(venue, _VENUE_BYTES)
        currency = _cut(currency, _CURRENCY_BYTES)
    flags = (
        FLAG_PRIMARY * body.primary | FLAG_CUT * (not whole) | FLAG_EARLIER * bool(body.earlier)
        | FLAG_SYMBOL_DATED * (body.symbol_from != 0)
    )  # fmt: skip
    return LISTING.pack(
        id, body.fingerprint, body.instrument, body.valid_from, body.valid_to, body.revision,
        body.line, body.status, flags, body.asset_class, len(symbol), len(venue), len(currency),
        currency, venue, symbol,
    )  # fmt: skip


class _EntityRecord(Flyweight):
    """What has an id and a fingerprint of its own: the layouts begin alike."""

    @property
    def id(self) -> int:
        return int(_Q(self._buffer, self._at)[0])

    @property
    def fingerprint(self) -> bytes:
        return bytes(self._buffer[self._at + 8 : self._at + 24])


class _LinkRecord(_EntityRecord):
    """What hangs on an instrument."""

    @property
    def instrument(self) -> int:
        """0 while it is not registered."""
        return int(_Q(self._buffer, self._at + 24)[0])


class ListingRecord(_LinkRecord):
    """An instrument at a venue, read in place. It points into a view's mapping: see `Views`."""

    @property
    def valid_from(self) -> int:
        """ns since 1970 UTC; 0 = not known."""
        return int(_SIGNED(self._buffer, self._at + 32)[0])

    @property
    def valid_to(self) -> int:
        """ns, the first instant at which it is no longer listed; 0 = open."""
        return int(_SIGNED(self._buffer, self._at + 40)[0])

    @property
    def revision(self) -> int:
        return int(_I(self._buffer, self._at + 48)[0])

    @property
    def line(self) -> int:
        return int(_H(self._buffer, self._at + 52)[0])

    @property
    def status(self) -> Status:
        return Status(self._buffer[self._at + 54])

    @property
    def primary(self) -> bool:
        return bool(self._buffer[self._at + 55] & FLAG_PRIMARY)

    @property
    def is_cut(self) -> bool:
        """Symbol, venue or currency did not fit; `Registry.listing_bodies` has them whole."""
        return bool(self._buffer[self._at + 55] & FLAG_CUT)

    @property
    def has_earlier(self) -> bool:
        """It was listed before, too; `Registry.listing_bodies` has those periods."""
        return bool(self._buffer[self._at + 55] & FLAG_EARLIER)

    @property
    def asset_class(self) -> AssetClass:
        return AssetClass(self._buffer[self._at + 56])

    @property
    def currency(self) -> str:
        return self._text(60, 59)

    @property
    def venue(self) -> str:
        """MIC, or slug in lower case."""
        return self._text(72, 58)

    @property
    def symbol(self) -> str:
        """The newest, also when it is announced for a later day; `listing_bodies` has it as of now,
        and a record that was asked for by a valid time as of then."""
        return self._text(96, 57)

    def current(self, at: int) -> bool:
        """Whether it is listed at `at` (ns): after it began, if that is known, and not ended. Of
        its newest period only, see `has_earlier`."""
        return is_during(at, self.valid_from, self.valid_to)

    def _text(self, at: int, size_at: int) -> str:
        start = self._at + at
        return str(self._buffer[start : start + self._buffer[self._at + size_at]], "utf-8")

    def __repr__(self) -> str:
        return f"<listing 0x{self.id:016x} {self.symbol!r} at {self.venue}>"


def group_key(source: str, group: str) -> int:
    return text_key(f"{source}\0{group}")


ALL_MISSING: Final = 1
"""Key under which every relation stands that waits for an end, or once did."""


def fingerprint_key(fingerprint: bytes) -> int:
    """Of an instrument that has no id yet."""
    return int.from_bytes(fingerprint[:8], "little") | 1


def pack_relation(id: int, body: RelationBody) -> bytes:
    group = group_key(body.group_source, body.group) if body.group else 0
    return RELATION.pack(
        id, body.fingerprint, body.instrument, body.other, group, body.valid_from, body.valid_to,
        body.ratio_numerator, body.ratio_denominator, body.revision, body.relation,
        body.asset_class, body.one_to_one, bool(body.earlier),
    )  # fmt: skip


class LinkFields(NamedTuple):
    instrument: int
    relation: RelationKind
    other: int
    ratio: tuple[int, int] | None
    """One of `instrument` stands for so much of `other`; None when that was not said."""
    valid_from: int
    """ns since 1970 UTC; 0 = not known."""
    valid_to: int
    """ns, the first instant at which it does not hold; 0 = open."""
    has_earlier: bool
    """It held before, too: its newest event says when."""


class RelationRecord(_LinkRecord):
    """A link from an instrument to another, or to a named group; read in place."""

    @property
    def other(self) -> int:
        """Instrument at the far end, 0 for a group."""
        return int(_Q(self._buffer, self._at + 32)[0])

    @property
    def group(self) -> int:
        """Key of the group (`group_key`), 0 for a link to an instrument."""
        return int(_Q(self._buffer, self._at + 40)[0])

    def link(self) -> LinkFields:
        """All that a walk over links asks, read at once."""
        instrument, other, begins, ends, *ratio, relation, one_to_one, has_earlier = _LINK(
            self._buffer, self._at
        )
        known = tuple(ratio) if one_to_one or ratio != [1, 1] else None
        return LinkFields(
            instrument, _KINDS[relation], other, known, begins, ends, bool(has_earlier)
        )


def pack_alert(offset: int, acknowledged: int, entity: int, space: int, kind: int) -> bytes:
    return ALERT.pack(offset, acknowledged, entity, space, kind)


class AlertRecord(Flyweight):
    """A collision or conflict, and whether a person has seen it; read in place."""

    @property
    def offset(self) -> int:
        """Of the event that raised it."""
        return int(_Q(self._buffer, self._at)[0])

    @property
    def acknowledged(self) -> int | None:
        """Offset of the acknowledgement, None while it is open."""
        offset = int(_Q(self._buffer, self._at + 8)[0])
        return None if offset == NOT_ACKNOWLEDGED else offset

    @property
    def entity(self) -> int:
        return int(_Q(self._buffer, self._at + 16)[0])

    @property
    def space(self) -> Space:
        return Space(self._buffer[self._at + 24])

    @property
    def kind(self) -> Kind:
        return Kind(_H(self._buffer, self._at + 26)[0])


def pack_request(offset: int, digest: bytes) -> bytes:
    return REQUEST.pack(offset, digest)


class RequestRecord(Flyweight):
    """Which event a request id led to; read in place."""

    @property
    def offset(self) -> int:
        return int(_Q(self._buffer, self._at)[0])

    @property
    def digest(self) -> bytes:
        """Blake3 of the request id, 32 bytes."""
        return bytes(self._buffer[self._at + 8 : self._at + 40])


def pack_import(offset: int, content_hash: bytes) -> bytes:
    return IMPORT.pack(offset, content_hash)


class ImportRecord(Flyweight):
    """Which event says that a file with this content was imported; read in place."""

    @property
    def offset(self) -> int:
        return int(_Q(self._buffer, self._at)[0])

    @property
    def content_hash(self) -> bytes:
        """Blake3 of the file, 32 bytes."""
        return bytes(self._buffer[self._at + 8 : self._at + 40])


def pack_feed(id: int, body: FeedBody | SnapshotBody | RulesBody) -> bytes:
    return FEED.pack(id, body.fingerprint, body.revision)


def pack_candidate(id: int, body: CandidateBody) -> bytes:
    return CANDIDATE.pack(
        id, body.fingerprint, body.instrument, body.other, body.revision, body.state,
        body.asset_class,
    )  # fmt: skip


class CandidateRecord(_LinkRecord):
    """Two instruments that look alike, and what became of it; read in place."""

    @property
    def other(self) -> int:
        return int(_Q(self._buffer, self._at + 32)[0])

    @property
    def state(self) -> CandidateState:
        return CandidateState(self._buffer[self._at + 44])


def pack_proposal(id: int, body: ProposalBody) -> bytes:
    return PROPOSAL.pack(
        id, body.fingerprint, body.instrument, body.since, body.proposed, body.answered
    )


class ProposalRecord(_LinkRecord):
    """What a person is asked for, and how far it is; read in place."""

    @property
    def since(self) -> int:
        """To delist: number of the first complete snapshot without it."""
        return int(_Q(self._buffer, self._at + 32)[0])

    @property
    def proposed(self) -> Proposed:
        return Proposed(self._buffer[self._at + 40])

    @property
    def answered(self) -> Answered:
        return Answered(self._buffer[self._at + 41])


_VENUE_SIDES: Final = ("both", "buy", "sell")


def pack_venue(id: int, aspect: int, body: VenueBody | AspectBody) -> bytes:
    listing = instrument = side = value = valid_from = valid_to = 0
    if isinstance(body, TradingBody):
        listing, instrument, value = body.listing, body.instrument, body.status
        side, valid_from, valid_to = _VENUE_SIDES.index(body.side), body.valid_from, body.until
    elif isinstance(body, VenueBody):
        value, valid_from, valid_to = body.kind, body.valid_from, body.valid_to
    elif isinstance(body, PerformanceBody):
        listing, instrument = body.listing, body.instrument
        valid_from, valid_to = body.window_from, body.window_to
    else:
        valid_from = body.valid_from
    venue = body.venue.encode()
    return VENUE.pack(
        id, body.fingerprint, listing, instrument, valid_from, valid_to, body.revision, aspect,
        value, side, len(venue), venue,
    )  # fmt: skip


class VenueRecord(_EntityRecord):
    """A venue, or the newest word on one aspect of it; read in place."""

    @property
    def listing(self) -> int:
        """Of a trading status or a performance: whose it is; 0 = the whole venue's."""
        return int(_Q(self._buffer, self._at + 24)[0])

    @property
    def valid_from(self) -> int:
        return int(_SIGNED(self._buffer, self._at + 40)[0])

    @property
    def valid_to(self) -> int:
        """ns; of a trading status its `until`, of a performance the end of its newest window.
        0 = open."""
        return int(_SIGNED(self._buffer, self._at + 48)[0])

    @property
    def aspect(self) -> int:
        """0 = the venue itself; see `Aspect`."""
        return int(self._buffer[self._at + 60])

    @property
    def kind(self) -> VenueKind | None:
        """Of a venue; None = not known."""
        number = self._buffer[self._at + 61]
        return VenueKind(number) if number else None

    @property
    def status(self) -> TradingStatus:
        """Of a trading status."""
        return TradingStatus(self._buffer[self._at + 61])

    @property
    def side(self) -> str:
        return _VENUE_SIDES[self._buffer[self._at + 62]]

    @property
    def venue(self) -> str:
        start = self._at + 64
        return str(self._buffer[start : start + self._buffer[self._at + 63]], "utf-8")
