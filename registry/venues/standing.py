"""Whether a venue or a listing trades: the strictest of all that applies.

Up to six scopes may say something of a listing: the venue and the listing, each for both sides and
for either. Each is a timeline of its own words; here they are merged, once, into one array of the
instants at which the answer changes. To these comes what is no word of trading: the status of the
instrument, at all venues, and the dates of the listing and of the venue.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from alphapulse.log import (
    INSTRUMENT_KINDS,
    EventLog,
    InstrumentRecord,
    ListingBody,
    Status,
    TradingBody,
    TradingStatus,
    VenueBody,
)
from alphapulse.projections import (
    APPLIED,
    SUPERSEDED,
    ListingRecord,
    Views,
    backwards,
    state_named,
)
from alphapulse.registry import validation
from alphapulse.registry.errors import UnknownListing, UnknownVenue
from alphapulse.registry.identity import trading_key, venue_fingerprint, venue_key
from alphapulse.registry.periods import holds, periods_of
from alphapulse.registry.valid_time import When, holds_from, state_at

from .cache import Cache, Chain, Chains
from .trading_status import SIDES
from .words import Timeline, Word, timeline, words_of


class Standing(NamedTuple):
    """Whether something trades, and the word that decided."""

    status: TradingStatus
    scope: str = ""
    """venue, listing or instrument; empty when nobody says anything, and then it is open."""
    side: str = "both"
    """Of that word."""
    since: int = 0
    """ns."""
    until: int = 0
    """ns, the first instant at which that word holds no more; 0 = open."""
    reason: str = ""
    source: str = ""
    offset: int = -1
    """Of its event."""


_BY_STATUS: Final = {
    Status.HALTED: TradingStatus.HALTED, Status.DELISTED: TradingStatus.CLOSED,
    Status.EXPIRED: TradingStatus.CLOSED, Status.MIGRATED: TradingStatus.CLOSED,
    Status.PENDING: TradingStatus.CLOSED,
}  # fmt: skip
"""What does not trade anywhere."""
if _BY_STATUS.keys() != set(Status) - {Status.ACTIVE}:
    raise ImportError("every status of an instrument but active keeps it from trading")
UNSAID: Final = Standing(TradingStatus.OPEN)


class Life(NamedTuple):
    """Since when and until when it is a venue, ns, and which event says so; 0 = nobody does."""

    begins: int = 0
    ends: int = 0
    source: str = ""
    offset: int = -1

    def standing(self, at: int) -> Standing | None:
        """Closed before and after that; None while it is a venue."""
        if self.begins and at < self.begins:
            since, until, reason = 0, self.begins, "it is no venue yet"
        elif self.ends and self.ends <= at:
            since, until, reason = self.ends, 0, "it is a venue no more"
        else:
            return None
        return Standing(
            TradingStatus.CLOSED, "venue", "both", since, until, reason, self.source, self.offset
        )


class Merged(NamedTuple):
    words: list[list[Word]]
    """By scope."""
    venue: Chain
    life: Life
    """Of the venue, by all that is known."""
    changes: list[int]
    standings: list[Standing]
    """standings[0] before changes[0], standings[i + 1] from changes[i] on."""


class Standings:
    def __init__(self, log: EventLog, views: Views, chains: Chains) -> None:
        self._log = log
        self._views = views
        self._chains = chains
        self._merged: Cache[Merged] = Cache(chains, self._make)
        self._entries = self._merged.entries

    def standing(self, what: str | int, side: str, at: int, stop: int | None) -> Standing:
        """what: a venue, or the id of a listing. stop: only what was recorded before it."""
        entry = self._entries.get((what, side))
        if entry is None or entry.seen != entry.words[APPLIED] or entry.words[SUPERSEDED]:
            merged = self._merged.get(what, side)
        else:
            merged = entry.value
        if stop is not None:
            life = self._life(merged.venue, stop)
            merged = _merge(merged.words, merged.venue, life, stop)
        found = merged.standings[bisect_right(merged.changes, at)]
        others = [merged.life.standing(at)]
        if isinstance(what, int):
            others += self._listed(what, at, stop), self._of_instrument(what, at, stop)
        for other in others:
            if other is not None and other.status > found.status:
                found = other
        return found

    def _life(self, venue: Chain, stop: int | None) -> Life:
        for event in backwards(self._log, venue.last_offset, venue.id) if venue.id >= 0 else ():
            body = event.body
            if isinstance(body, VenueBody) and (stop is None or event.offset < stop):
                return Life(body.valid_from, body.valid_to, event.source, event.offset)
        return Life()

    def _listed(self, id: int, at: int, stop: int | None) -> Standing | None:
        """Closed when the instrument is not listed there at `at`; None when it is."""
        table = self._views.table("listings")
        record = ListingRecord(table.arena, table.find(id))
        if stop is None and not record.has_earlier and record.current(at):
            return None
        last_offset = table.last_offset(table.find(id))
        for event in backwards(self._log, last_offset, id):
            body = event.body
            if isinstance(body, ListingBody) and (stop is None or event.offset < stop):
                break
        else:
            return None  # it was not known by then
        if holds(body, at):
            return None
        since = max((ends for _, ends in periods_of(body) if ends and ends <= at), default=0)
        until = min((begins for begins, _ in periods_of(body) if begins and begins > at), default=0)
        reason = "it is listed there no more" if since else "it is not listed there yet"
        return Standing(
            TradingStatus.CLOSED, "listing", "both", since, until, reason, event.source,
            event.offset,
        )  # fmt: skip

    def _of_instrument(self, listing: int, at: int, stop: int | None) -> Standing | None:
        """What the status of its instrument means for trading; None when it trades, or when nobody
        had registered it by then."""
        listings, instruments = self._views.table("listings"), self._views.table("instruments")
        id = ListingRecord(listings.arena, listings.find(listing)).instrument
        position = instruments.find(id)
        if position < 0:
            return None
        record = InstrumentRecord(instruments.arena, position)
        if stop is None and record.revision == 1 and record.status_at(at) is Status.ACTIVE:
            return None  # nobody has ever said otherwise
        last_offset = instruments.last_offset(position)
        found = state_at(self._log, last_offset, When(stop, at), id)
        if found is None:
            return None
        status, offset = Status(found[0].message[3]), found[1]
        if status not in _BY_STATUS:
            return None
        since = 0
        for event in backwards(self._log, last_offset, id):
            if event.kind in INSTRUMENT_KINDS and event.offset <= offset:
                if event.instrument_body.message[3] != status:
                    break
                since, offset = holds_from(event), event.offset
        event = self._log.event(offset)
        return Standing(
            _BY_STATUS[status], "instrument", "both", since, 0,
            f"the instrument is {status.name.lower()}", event.source, offset,
        )  # fmt: skip

    def _make(self, what: str | int, side: str) -> tuple[Merged, tuple[Chain, ...]]:
        if side not in SIDES:
            validation.refuse("side", "there is no such one", side, f"use {', '.join(SIDES)}")
        scopes: tuple[bytes, ...] = (b"",)
        sides = SIDES if side == "both" else ("both", side)
        if isinstance(what, int):
            venue, listing = self._listing(what)
            scopes = (b"", listing)
        else:
            venue = what
        itself = self._chains.find(venue_key(venue))
        if itself.id < 0 and what == venue:
            raise UnknownVenue("asking for a status", venue=validation.shown(venue))
        of = venue_fingerprint(venue)
        chains = tuple(
            self._chains.find(trading_key(of, each, scope)) for scope in scopes for each in sides
        )
        words = [
            [] if chain.id < 0 else words_of(self._log, chain.last_offset, chain.id)
            for chain in chains
        ]
        return _merge(words, itself, self._life(itself, None), None), (itself, *chains)

    def _listing(self, id: int) -> tuple[str, bytes]:
        """(venue, fingerprint)."""
        table = self._views.table("listings")
        position = table.find(validation.id64(id, "listing"))
        if position < 0:
            raise UnknownListing("asking for a status", id=f"0x{id:016x}")
        record = ListingRecord(table.arena, position)
        if not record.is_cut:
            return record.venue, record.fingerprint
        body = state_named(self._log, table.trailer(position).data_offset, id).body
        return str(getattr(body, "venue")), record.fingerprint  # noqa: B009  # of a listing


def _merge(
    words: list[list[Word]], venue: Chain, life: Life, stop: int | None
) -> Merged:  # fmt: skip
    lines = [timeline(each, stop) for each in words]
    changes: list[int] = []
    standings = [UNSAID]
    for instant in sorted({instant for line in lines for instant in line.changes}):
        found = _strictest(lines, instant)
        if found != standings[-1]:
            changes.append(instant)
            standings.append(found)
    return Merged(words, venue, life, changes, standings)


def _strictest(lines: Sequence[Timeline], at: int) -> Standing:
    found = UNSAID
    for line in lines:
        word = line.at(at)
        if word is None:
            continue
        assert isinstance(word.body, TradingBody)
        if word.body.status > found.status or not found.scope:
            found = _standing(word, word.body)
    return found


def _standing(word: Word, body: TradingBody) -> Standing:
    return Standing(
        TradingStatus(body.status), "listing" if body.listing else "venue", body.side,
        word.begins, word.until, body.reason, word.source, word.offset,
    )  # fmt: skip
