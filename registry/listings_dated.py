"""Listings that an import says with a date: its rows name none for what they say of a listing.

A listing has one date for its symbol, `symbol_from`, and none for its other words: those hold at
once, or with its period. So the symbol counts from the date of the import on, unless the period of
the row is over by then. A date that lies ahead cannot be given to the other words, so a row that
would change them is refused; a listing that is not known begins on that day.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from alphapulse.log import InvalidInput, ListingBody, Space, format_time

from .commands_listings import AddListing, ListingAgain
from .deciding import DOING, Receipt
from .held import Held, Origin
from .instruments import ORDER_FIELDS
from .periods import place
from .state import State

_UNDATED: Final = ("primary", "figi", *ORDER_FIELDS)


class ListingSince(NamedTuple):
    """`add`, whose words hold since a time (ns) where they name none. Raises InvalidInput for
    words that cannot be announced."""

    add: AddListing
    since: int

    def decide(self, state: State, origin: Origin) -> Receipt:
        add, since = self.add, self.since
        begins, ends = add.dates()
        if add.listing.symbol_from or 0 != begins >= since:
            return add.decide(state, origin)
        held, is_ahead = add.held(state), since > state.now
        is_over = 0 != ends <= since
        if held is None:
            field = "valid_from" if is_ahead and not begins else "symbol_from"
            if is_over:
                pass  # all of it holds with its period
            elif field == "valid_from" or add.listing.symbol:
                add = _dated(add, field, since)
            return add.decide(state, origin)
        assert isinstance(held.body, ListingBody)
        known = place(held.body, begins, ends, state.now).state(held.body, begins)
        if is_ahead:
            self._check_undated(known)
        if add.listing.symbol not in ("", known.symbol) and not is_over:
            return _dated(add, "symbol_from", since).decide(state, origin)
        receipt = add.decide(state, origin)
        if add.listing.symbol:
            return self._date_back(state, held, origin, receipt)
        return receipt

    def _check_undated(self, known: ListingBody) -> None:
        for field in _UNDATED:
            value = getattr(self.add.listing, field)
            if value and str(value) != str(getattr(known, field)):
                raise InvalidInput(
                    DOING, problem=f"{field} of a listing that is known cannot be announced",
                    cure="import it when that day has come; or, of a listing that begins anew, give"
                    " its valid_from in the row",
                    since=format_time(self.since),
                )  # fmt: skip

    def _date_back(self, state: State, held: Held, origin: Origin, receipt: Receipt) -> Receipt:
        """Says that the symbol was so earlier, where its date is a later one. Another source's
        stands, and is no conflict: who says since when he knows it does not say that it was
        otherwise before."""
        newest = state.held(Space.LISTING, held.id)
        assert newest is not None
        again = ListingAgain(state, origin, newest, self.add.words())
        dated = again.then.symbol_from
        if not dated or dated <= self.since:
            return receipt
        if again.said_by("symbol_from", dated).source != origin.source:
            return receipt
        offset = again.amend(
            again.where.said(again.known, {"symbol_from": self.since}, again.begins)
        )
        return receipt._replace(offset=offset, outcome="amended")


def _dated(add: AddListing, field: str, since: int) -> AddListing:
    return add._replace(listing=replace(add.listing, **{field: since}))
