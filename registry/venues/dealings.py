"""What an instrument is at a venue, as of two times: for fees, which depend on it.

The instrument's words are those that are true at the time asked, by what was known then; and of its
listings at the venue those count that hold then, or all of them when none does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alphapulse.log import INSTRUMENT_KINDS, AssetClass, EventLog, InvalidInput, ListingBody
from alphapulse.projections import ListingRecord, Views, backwards
from alphapulse.registry import validation
from alphapulse.registry.errors import UnknownInstrument
from alphapulse.registry.facts import Facts, facts_from
from alphapulse.registry.lookup import Lookup
from alphapulse.registry.periods import holds, periods_of
from alphapulse.registry.valid_time import When, holds_from, state_at

from .fees import FeeNotComputable
from .traded import Traded, traded

Ends = tuple[int, int, tuple[tuple[int, int], ...]]
_PAIR: Final = 2


class Dealings:
    def __init__(self, log: EventLog, views: Views) -> None:
        self._log = log
        self._views = views
        self._lookup = Lookup(log, views)

    def traded(
        self, venue: str, instrument: int, currency: str, at: int, stop: int | None
    ) -> Traded:
        """Raises UnknownInstrument. Cost: 10 µs for each event of the instrument and each of its
        listings there; of a pool 30 µs for each token."""
        when = When(stop, None, at)
        last_offset = self._last_offset(instrument)
        state = state_at(self._log, last_offset, when, instrument)
        if state is None:
            raise _unknown(instrument)
        facts, key = facts_from(state[0]), validation.venue(venue)
        known = list(self._listings(key, instrument, when))
        there = [body for body in known if holds(body, at)]
        listed_in = frozenset(body.currency for body in there or known)
        primary = frozenset(body.currency for body in there or known if body.primary)
        if currency and "quote" not in facts.values:
            if listed_in and currency not in listed_in:
                raise FeeNotComputable(
                    "computing a fee", problem=f"it is not listed there in {currency}",
                    cure=f"ask in {', '.join(sorted(filter(None, listed_in))) or 'none'}",
                )  # fmt: skip
            primary = frozenset((currency,))
        is_pool = facts.asset_class is AssetClass.DEX_POOL
        is_there = bool(there) or facts.values.get("venue") == key or (None if is_pool else False)
        tokens = self._tokens(facts, state[0].extension.chain, when) if is_pool else None
        return traded(facts, primary or listed_in, tokens, is_there)

    def changes(self, venue: str, instrument: int) -> list[int]:
        """The instants (ns) at which `traded` may change, by all that is known."""
        found = {
            holds_from(event)
            for event in backwards(self._log, self._last_offset(instrument), instrument)
            if event.kind in INSTRUMENT_KINDS
        }
        for body in self._listings(validation.venue(venue), instrument, When(at=0)):
            found.update(edge for period in periods_of(body) for edge in period if edge)
        return sorted(found)

    def ends(self, venue: str, instrument: int) -> Ends:
        """What changes whenever an answer of `traded` may, of what is no pool: where the chains end
        that it is made from. Cost: 3 µs, and 1 µs for each listing of the instrument."""
        key, table = validation.venue(venue), self._views.table("listings")
        cells = table.postings("instrument", instrument)
        found = []
        for cell in cells:
            position = table.position_of(cell)
            if key.startswith(ListingRecord(table.arena, position).venue):
                found.append((cell, table.last_offset(position)))
        return self._last_offset(instrument), len(cells), tuple(found)

    def is_pool(self, instrument: int) -> bool:
        """Then what it is depends on its tokens, too."""
        match = self._lookup.match(instrument)
        return match is not None and match.record.asset_class is AssetClass.DEX_POOL

    def _last_offset(self, instrument: int) -> int:
        table = self._views.table("instruments")
        position = table.find(validation.id64(instrument, "instrument"))
        if position < 0:
            raise _unknown(instrument)
        return table.last_offset(position)

    def _listings(self, key: str, instrument: int, when: When) -> Iterator[ListingBody]:
        """Of an instrument at a venue. The record of one with a long name has a part of it."""
        table = self._views.table("listings")
        for cell in table.postings("instrument", instrument):
            if key.startswith(ListingRecord(table.arena, table.position_of(cell)).venue):
                body = self._lookup.listing_at(table, cell, when)
                if body is not None and body.venue == key:
                    yield body

    def _tokens(self, facts: Facts, chain: str, when: When) -> tuple[str, str] | None:
        """The names of a pool's two tokens; None when it has not two."""
        addresses = str(facts.values.get("tokens", "")).split()
        if len(addresses) != _PAIR:
            return None
        first, second = (self._token(chain, address, when) for address in addresses)
        return (first, second) if first != second else (addresses[0], addresses[1])

    def _token(self, chain: str, address: str, when: When) -> str:
        """Its symbol, and its address where that is not known."""
        try:
            match = self._lookup.by_address(chain, address, when=when)
        except InvalidInput:  # of a chain where an address alone names no token
            return address
        if match is None:
            return address
        return str(facts_from(match.body).values.get("symbol", address))


def _unknown(instrument: int) -> UnknownInstrument:
    return UnknownInstrument("computing a fee", id=f"0x{instrument:016x}")
