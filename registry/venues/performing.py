"""Performance: samples in, summaries out, and what is known of how venues behave.

Samples go to the market log, which forgets; `summarise` closes windows and says in the log what
they held, for good. A window is closed by the event that says so: from then on samples for it are
refused. Whoever takes samples looks for that event within the session of the market log, and
whoever closes a window holds that session until the event is there, so no sample falls between.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from alphapulse.log import (
    BLOCK_EVENTS_MAX,
    SAMPLE_KINDS,
    AlphaPulseError,
    Closing,
    Draft,
    InvalidInput,
    MarketHome,
    MarketLog,
    Measure,
    Metadata,
    PerformanceBody,
    ReadOnly,
    Retention,
    SampleBody,
    Space,
    encode_metadata,
    where,
)
from alphapulse.projections import Aspect, ListingRecord, VenueRecord, backwards, text_key
from alphapulse.registry import validation
from alphapulse.registry.deciding import Receipt
from alphapulse.registry.errors import UnknownListing, UnknownVenue
from alphapulse.registry.identity import performance_key, primary_id, venue_fingerprint, venue_key
from alphapulse.registry.tickets import Unit
from alphapulse.registry.writing import Writing

from .cache import Chains
from .commands import SetPerformance
from .performance import (
    SETTLE_NS,
    WINDOW_DEFAULT,
    WINDOWS_NS,
    Place,
    Summary,
    Windows,
    summary_of,
    window_named,
)
from .samples import NS, SKEW_NS_MAX, Sample, SampleRefused, check_time, sample, sample_of_line

if TYPE_CHECKING:
    from alphapulse.log.eventlog import Mode
    from alphapulse.registry import Registry

_KINDS: Final[dict[Measure, int]] = {measure: kind for kind, measure in SAMPLE_KINDS.items()}


class Taken(NamedTuple):
    """What became of samples. durable is False: a power cut may take what is not summarised."""

    taken: int
    refused: dict[str, int]
    """By reason: invalid, unknown_venue, unknown_listing, future, late, too_old."""
    first: int | None
    last: int | None
    """Market offsets (`m:`) of the first and last; None when none was taken."""
    registry_head: int
    durable: bool = False


class Window(NamedTuple):
    """One window of a place. open: from samples, and more may come; else it is in the log."""

    place: Place
    summary: Summary
    open: bool


class Performance(Closing):
    """Of one registry, which stays open longer. A context manager; thread-safe."""

    def __init__(
        self, registry: Registry, *, mode: Mode = "rw", retention: Retention | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        """Opens the market log; with mode "r" there need be none. clock: ns since 1970 UTC.

        Raises as `MarketLog.of`.
        """
        self._registry = registry
        self._clock = clock
        self._chains = Chains(registry.log, registry.views)
        self._market: MarketLog | None = None
        home = registry.log.home.path
        if mode == "rw" or MarketHome(home).exists():
            self._market = MarketLog.of(home, mode=mode, retention=retention)

    def close(self) -> None:
        if self._market is not None:
            self._market.close()

    @property
    def market(self) -> MarketLog:
        """Raises ReadOnly where nothing was sampled yet and nothing may be."""
        if self._market is None:
            raise ReadOnly("opening the market log")
        return self._market

    # Samples

    def add(
        self, rows: Iterable[Mapping[str, object] | bytes], *, source: str = "",
        refused: Callable[[int, AlphaPulseError], None] | None = None,
    ) -> Taken:  # fmt: skip
        """Takes samples, up to 1,000 in a commit; each that cannot be taken is refused alone.

        rows: each by the fields of `sample`, or a line of JSON; blank lines are passed over.
        refused: called with the number of each such row, from 0, and why. Raises LogBusy, LogFull:
        what was committed before stays. Cost: 25 µs each.
        """
        counts: Counter[str] = Counter()
        total = Taken(0, {}, None, None, self._registry.log.head)
        numbered = enumerate(rows)

        def refuse(number: int, error: AlphaPulseError) -> None:
            counts[_reason(error)] += 1
            if refused is not None:
                refused(number, error)

        while batch := list(islice(numbered, BLOCK_EVENTS_MAX)):
            good: list[tuple[int, Sample]] = []
            for number, row in batch:
                try:
                    if not isinstance(row, bytes):
                        good.append((number, sample(row)))
                    elif not row.isspace() and row:
                        good.append((number, sample_of_line(row)))
                except InvalidInput as error:
                    refuse(number, error)
            total = self._commit(good, source, refuse, total)
        return total._replace(refused=dict(sorted(counts.items())))

    def _commit(
        self, rows: list[tuple[int, Sample]], source: str,
        refuse: Callable[[int, AlphaPulseError], None], total: Taken,
    ) -> Taken:  # fmt: skip
        with self.market.writing() as session:
            head, now = self._registry.log.head, self._clock()
            metadata = encode_metadata(Metadata(source=source, registry_head=head))
            kept_from = now - self.market.retention.age_s_max * NS
            known: dict[str, tuple[int, int]] = {}
            drafts = []
            for number, row in rows:
                try:
                    if row.venue not in known:
                        entity = primary_id(venue_fingerprint(row.venue))
                        known[row.venue] = self._closed_until(row.venue), entity
                    closed_until, entity = known[row.venue]
                    check_time(row, now, closed_until, kept_from)
                    self._check_listing(row)
                except AlphaPulseError as error:
                    refuse(number, error)
                    continue
                kind = _KINDS[row.measure]
                drafts.append(Draft(kind, Space.VENUE, entity, None, row.body(), metadata))
            if not drafts:
                return total
            session.add(session.stage(drafts))
            commit = session.commit()
        assert commit is not None
        first = commit.first if total.first is None else total.first
        return total._replace(
            taken=total.taken + len(drafts), first=first, last=commit.last, registry_head=head,
            durable=commit.durable,
        )  # fmt: skip

    def _check_listing(self, row: Sample) -> None:
        if row.listing:
            listing = self._listing(row.listing)
            if listing is None or self._venue_of(listing) != row.venue:
                raise UnknownListing(
                    "taking a sample", problem="the venue has no such listing",
                    venue=row.venue, id=f"0x{row.listing:016x}",
                )  # fmt: skip

    def _venue_of(self, listing: ListingRecord) -> str:
        """Whole also where the record has it cut."""
        if not listing.is_cut:
            return listing.venue
        return dict(self._registry.listing_bodies(listing.instrument))[listing.id].venue

    def _closed_until(self, venue: str) -> int:
        """ns: up to where windows of any length are closed. Raises UnknownVenue."""
        if self._chains.find(venue_key(venue)).id < 0:
            raise UnknownVenue("taking a sample", venue=venue)
        return max(self._summarised_until(venue, length_ns) for length_ns in WINDOWS_NS.values())

    # Summaries

    def summarise(
        self, window: str = WINDOW_DEFAULT, *, listings: bool = False, source: str = "samples"
    ) -> list[tuple[Window, Receipt]]:
        """Closes every window that ended 30 s ago and says in the log what it held, a commit each;
        windows without samples are left out, and those that the market log no longer has whole.

        listings: for each listing that samples name, too. Raises InvalidInput, and what writing
        raises: windows before that stay closed. Cost: 20 µs a sample since the last closed window,
        with `listings` since the last closed one of any listing.
        """
        length_ns, until = window_named(window), self._clock() - SETTLE_NS
        windows = Windows(length_ns, listings=listings)
        stop = self.market.head
        # Most of it while others may write.
        self._fold(windows, self._start(length_ns, listings), stop)
        with self.market.lock.hold():
            self._fold(windows, stop, self.market.head)
            whole_from = self._whole_from()
            return [
                (Window(place, summary, False), self._say(place, summary, source))
                for place, summary in windows.closed(until)
                if summary.start >= whole_from
                and summary.start >= self._summarised_until(place.venue, length_ns, place.listing)
            ]

    def _say(self, place: Place, summary: Summary, source: str) -> Receipt:
        command = SetPerformance(
            place.venue, summary.start, summary.stop, summary.samples, summary.measures(),
            summary.sketches(), place.listing,
        )  # fmt: skip
        outcome = next(self._registry.execute([Unit((command,), Writing.origin(source, ""))]))
        if isinstance(outcome, AlphaPulseError):
            raise outcome
        return outcome[0]

    def _start(self, length_ns: int, listings: bool) -> int:
        """The market offset before which no sample is in an open window of this length.

        Windows are closed in the order of their ends, those of all venues together, so whoever
        closed the newest one had closed all that ended before it began. A sample in an open window
        was recorded after that, or at most 5 s before that window. Windows of listings are closed
        together with those of venues, but not every time: then the newest of theirs says it.
        """
        newest = 0
        table, _ = self._chains.look()
        for venue in self._registry.venues.all():
            for cell in table.postings("venue", text_key(venue.key)):
                record = VenueRecord(table.arena, table.position_of(cell))
                if (
                    record.aspect == Aspect.PERFORMANCE and bool(record.listing) == listings
                    and record.valid_to - record.valid_from == length_ns
                ):  # fmt: skip
                    newest = max(newest, record.valid_to)
        return self._recorded_from(newest - length_ns) if newest else self.market.first

    def _whole_from(self) -> int:
        """ns: samples of this time and later are all kept. Those that were forgotten were recorded
        before the oldest that is kept, so they are from at most 5 s after that."""
        first = self.market.first
        if not first or first == self.market.head:
            return 0
        return self.market.block(first).time + SKEW_NS_MAX

    def _recorded_from(self, time: int) -> int:
        """The market offset before which no sample of this time (ns), or later, is."""
        return self.market.offset_at(time - SKEW_NS_MAX)

    def _fold(self, windows: Windows, start: int, stop: int, venue: str = "") -> None:
        """venue: only what is about it."""
        wanted = where(venue=venue) if venue else None
        for event in self.market.read(start, stop, wanted):
            body = event.body
            if isinstance(body, SampleBody):  # other kinds are to come
                windows.add(body.extension.venue, event.sample)

    def _summarised_until(self, venue: str, length_ns: int, listing: int = 0) -> int:
        found = self._chain(venue, length_ns, listing)
        return 0 if found is None else found.valid_to

    def _chain(self, venue: str, length_ns: int, listing: int) -> VenueRecord | None:
        key = performance_key(venue_fingerprint(venue), length_ns, self._print_of(listing))
        chain = self._chains.find(key)
        if chain.id < 0:
            return None
        table, _ = self._chains.look()
        position = table.find(chain.id)
        return VenueRecord(table.arena, position) if position >= 0 else None

    def _print_of(self, listing: int) -> bytes:
        if not listing:
            return b""
        found = self._listing(listing)
        if found is None:
            raise UnknownListing("asking for a listing", id=f"0x{listing:016x}")
        return found.fingerprint

    def _listing(self, id: int) -> ListingRecord | None:
        table = self._registry.views.table("listings")
        position = table.find(id)
        return ListingRecord(table.arena, position) if position >= 0 else None

    # Questions

    def windows(
        self, venue: str, window: str = WINDOW_DEFAULT, *, start: int | str = 0,
        stop: int | str = 0, listing: int = 0, open: bool = True,
        known: int | str | None = None,
    ) -> list[Window]:  # fmt: skip
        """Windows in order: those in the log, then with `open` those that samples were taken for
        since. start, stop: only windows that begin from then on, end by then; 0 = all. known: only
        what the log said by then, an offset or a time; no samples, which forget.

        Raises UnknownVenue, InvalidInput. Cost: 100 µs for each in the log.
        """
        place, length_ns = Place(validation.venue(venue), listing), window_named(window)
        begin, end = validation.time_ns(start, "start"), validation.time_ns(stop, "stop")
        if self._chains.find(venue_key(place.venue)).id < 0:
            raise UnknownVenue("asking about a venue", venue=place.venue)
        head = None if known is None else self._registry.stop_of(known, "reading known")
        found = [Window(place, each, False) for each in self._said(place, length_ns, begin, head)]
        if open and head is None and self._market is not None:
            found += self._open(place, length_ns)
        return [
            each for each in found
            if each.summary.start >= begin and (not end or each.summary.stop <= end)
        ]  # fmt: skip

    def newest(
        self, venue: str, window: str = WINDOW_DEFAULT, *, listing: int = 0
    ) -> Summary | None:
        """What the log says of the newest closed window; None when there is none. Cost: 100 µs."""
        place = Place(validation.venue(venue), listing)
        body = next(self._bodies(place, window_named(window), None), None)
        return None if body is None else summary_of(body)

    def _said(
        self, place: Place, length_ns: int, begin: int, head: int | None
    ) -> list[Summary]:
        """Windows of a chain rise."""
        bodies = takewhile(lambda b: b.window_from >= begin, self._bodies(place, length_ns, head))
        return [summary_of(body) for body in bodies][::-1]

    def _bodies(
        self, place: Place, length_ns: int, head: int | None
    ) -> Iterator[PerformanceBody]:
        """The newest first. head: only what was recorded before it; None = all."""
        record = self._chain(place.venue, length_ns, place.listing)
        if record is None:
            return
        table, _ = self._chains.look()
        last_offset = table.last_offset(table.find(record.id))
        for event in backwards(self._registry.log, last_offset, record.id):
            body = event.body
            is_known = head is None or event.offset < head
            if is_known and isinstance(body, PerformanceBody):
                yield body

    def _open(self, place: Place, length_ns: int) -> Iterator[Window]:
        closed = self._summarised_until(place.venue, length_ns, place.listing)
        windows = Windows(length_ns, listings=bool(place.listing))
        start = self._recorded_from(closed) if closed else self.market.first
        self._fold(windows, start, self.market.head, place.venue)
        for found, summary in windows.closed(1 << 63):
            if found == place and summary.start >= closed:
                yield Window(found, summary, True)


def merge_windows(windows: Sequence[Window]) -> Summary:
    """One summary of windows that follow each other, at least one."""
    start = windows[0].summary.start
    found = Summary(start, start)
    for each in windows:
        found.merge(each.summary)
    return found


def _reason(error: AlphaPulseError) -> str:
    if isinstance(error, SampleRefused):
        return error.reason
    if isinstance(error, UnknownVenue):
        return "unknown_venue"
    return "unknown_listing" if isinstance(error, UnknownListing) else "invalid"
