"""What `Registry` answers about listings: of an instrument, of an ISIN, at a venue; now or then."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from alphapulse.log import ListingBody
from alphapulse.projections import (
    ListingRecord,
    Listings,
    TableReader,
    Views,
    listings_of_isin,
    pack_listing,
)

from . import validation
from .errors import Ambiguous, UnknownListing
from .lookup import Lookup
from .periods import holds
from .times_asked import AsOf, TimesAsked, ValidAt


class ListingQuestions(TimesAsked):
    views: Views
    lookup: Lookup
    _instruments: TableReader
    _listings: TableReader

    def listings(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> Sequence[ListingRecord]:
        """Every listing of an instrument, past ones too, in the order they became known.

        as_of, known: as they were known then. valid: only those that were listed at that time,
        under the symbol they had, with the dates of that period; else with those of the newest.
        With one of these times each is read from the log, at 8 µs or more; without, from the view,
        which has the newest symbol, also one that is announced for later.
        """
        if as_of is not None or valid is not None or known is not None:
            at = None if valid is None else validation.moment(valid, "valid")
            bodies = self.listing_bodies(id, as_of=as_of, valid=at, known=known)
            return [
                ListingRecord(pack_listing(listing, body), 0)
                for listing, body in bodies
                if at is None or holds(replace(body, earlier=()), at)
            ]
        table = self.views.table("listings")
        try:
            cells = table.postings(0, id)
        except (TypeError, OverflowError):
            validation.id64(id)
            raise
        return Listings(table, cells, len(cells))

    def listings_by_isin(self, isin: str) -> Listings:
        """The listings of whoever carries this ISIN. Raises InvalidInput. Cost: 1 to 2 µs."""
        found = listings_of_isin(self._instruments, self._listings, isin)
        if found is not None:
            return found
        self.views.recheck("listings")  # nothing, or not this simple: then by the table in force
        self._instruments = self.views.table("instruments")
        listings = self._listings = self.views.table("listings")
        holders = [match.id for match in self.lookup.by_isin(isin)]
        cells = [cell for id in holders for cell in listings.postings(0, id)]
        return Listings(listings, cells, len(cells))

    def listing_bodies(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> list[tuple[int, ListingBody]]:
        """(listing id, full state) of every listing of an instrument, from the log, with what was
        so at `valid` [now, or at the moment of as_of]: symbol, tick, dates of the period that held
        then, of the newest when none did; `listing_periods` has all."""
        table, when = self.views.table("listings"), self.when(as_of, valid, known)
        found = []
        for cell in table.postings("instrument", validation.id64(id)):
            body = self.lookup.listing_at(table, cell, when)
            if body is not None:
                found.append((table.key_of(cell), body))
        return found

    def listing_periods(
        self, id: int, *, as_of: AsOf = None, valid: ValidAt = None, known: AsOf = None
    ) -> list[tuple[int, ListingBody]]:
        """As `listing_bodies`, a listing once for each period in which it is listed, the oldest
        first: former ones, and those that lie ahead."""
        table, when = self.views.table("listings"), self.when(as_of, valid, known)
        return [
            (table.key_of(cell), period)
            for cell in table.postings("instrument", validation.id64(id))
            for period in self.lookup.listing_periods(table, cell, when)
        ]  # fmt: skip

    def find_listing(
        self, id: int, venue: str, *, currency: str = "", line: int | None = None,
        as_of: AsOf = None,
    ) -> int:
        """Id of the one listing of an instrument at a venue.

        Raises InvalidInput, UnknownListing, Ambiguous.
        """
        venue = validation.venue(venue)
        currency = currency if currency == "" else validation.listing_currency(currency)
        line = None if line is None else validation.line(line)
        found = [
            listing for listing, body in self.listing_bodies(id, as_of=as_of)
            if body.venue == venue and currency in ("", body.currency)
            and line in (None, body.line)
        ]  # fmt: skip
        if not found:
            raise UnknownListing("looking for a listing", instrument=f"0x{id:016x}", venue=venue)
        if len(found) > 1:
            raise Ambiguous(
                "looking for a listing", venue=venue, cure="name its currency or its line too"
            )
        return found[0]
