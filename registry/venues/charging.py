"""What a trade costs at a venue: its fee schedule of that time, asked about an instrument."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from alphapulse.log import EventLog, FeesBody, ListingBody
from alphapulse.projections import APPLIED, SUPERSEDED, ListingRecord, Views, state_named
from alphapulse.registry import validation
from alphapulse.registry.errors import UnknownInstrument
from alphapulse.registry.facts import facts_from
from alphapulse.registry.identity import aspect_key, venue_fingerprint

from .cache import Cache, Chain, Chains
from .errors import FeesUnknown
from .fees import Charge, Exact, FeeNotComputable, Fees, FeeUnknown, Trade
from .rules import schedules_from
from .traded import Traded, traded
from .words import Word, timeline, words_of

TRADED_MAX = 100_000


class More(NamedTuple):
    """What only some fees depend on; see `Fees.charges`."""

    buying: bool | None = None
    rates: Mapping[str, Exact] | None = None
    gas_price: Exact | None = None


NO_MORE: Final = More()


class Products(NamedTuple):
    """The schedules of one word, by product; "" is everything else."""

    by_name: dict[str, Fees]

    def of(self, products: tuple[str, ...]) -> Fees | None:
        for product in products:
            found = self.by_name.get(product)
            if found is not None:
                return found
        return self.by_name.get("")


class Line(NamedTuple):
    words: list[Word]
    changes: list[int]
    products: list[Products | None]


class _Known(NamedTuple):
    """An instrument at a venue, and how it was found to be right."""

    traded: Traded
    last_offset: int
    listings: int
    seen: int
    words: memoryview


class Charging:
    def __init__(
        self, log: EventLog, views: Views, chains: Chains, missing: Callable[[str], None]
    ) -> None:
        """missing: raises when a venue is not registered."""
        self._log = log
        self._views = views
        self._chains = chains
        self._missing = missing
        self._lines: Cache[Line] = Cache(chains, self._make)
        self._entries = self._lines.entries
        self._made: dict[int, Products] = {}
        self._traded: dict[tuple[str, int], _Known] = {}

    def fee(
        self, venue: str, instrument: int, side: str, quantity: Exact, price: Exact,
        volume: Exact | None, at: int, stop: int | None, more: More,
    ) -> Charge:  # fmt: skip
        what = self._what(venue, instrument)
        fees = self._fees(venue, what.products, at, stop)
        if what.money:
            plain = fees.plain_charge(side, quantity, price, volume, what.money, what.units)
            if plain is not None:
                return plain
        return _sum(_charges(fees, what, side, quantity, price, volume, more))

    def charges(
        self, venue: str, instrument: int, side: str, quantity: Exact, price: Exact,
        volume: Exact | None, at: int, stop: int | None, more: More,
    ) -> list[Charge]:  # fmt: skip
        what = self._what(venue, instrument)
        fees = self._fees(venue, what.products, at, stop)
        return _charges(fees, what, side, quantity, price, volume, more)

    def _what(self, venue: str, instrument: int) -> Traded:
        known = self._traded.get((venue, instrument))
        if known is None or known.seen != known.words[APPLIED] or known.words[SUPERSEDED]:
            known = self._known(venue, instrument)
        return known.traded

    def _fees(
        self, venue: str, products: tuple[str, ...], at: int, stop: int | None
    ) -> Fees:
        entry = self._entries.get(venue)
        if entry is None or entry.seen != entry.words[APPLIED] or entry.words[SUPERSEDED]:
            line = self._lines.get(venue)
        else:
            line = entry.value
        if stop is not None:
            line = self._line(line.words, stop)
        found = line.products[bisect_right(line.changes, at)]
        if found is None:
            self._missing(venue)
            raise FeesUnknown("computing a fee", venue=venue)
        fees = found.of(products)
        if fees is None:
            raise FeeUnknown(
                "computing a fee", problem="no schedule is about this product", venue=venue,
                product=products[0],
            )  # fmt: skip
        return fees

    def _make(self, venue: str) -> tuple[Line, tuple[Chain, ...]]:
        chain = self._chains.find(aspect_key(venue_fingerprint(venue), "fees"))
        words = [] if chain.id < 0 else words_of(self._log, chain.last_offset, chain.id)
        return self._line(words, None), (chain,)

    def _line(self, words: list[Word], stop: int | None) -> Line:
        line = timeline(words, stop)
        products = [None if word is None else self._products(word) for word in line.words]
        return Line(words, line.changes, products)

    def _products(self, word: Word) -> Products:
        """Events never change, so what was compiled once is kept."""
        found = self._made.get(word.offset)
        if found is None:
            assert isinstance(word.body, FeesBody)
            by_name: dict[str, Fees] = {}
            for schedule in schedules_from(word.body.schedules):
                by_name.update(dict.fromkeys(schedule.products or ("",), Fees(schedule)))
            found = self._made[word.offset] = Products(by_name)
        return found

    def _known(self, venue: str, instrument: int) -> _Known:
        instruments, listings = self._views.table("instruments"), self._views.table("listings")
        table, seen = self._chains.look()
        position = instruments.find(validation.id64(instrument, "instrument"))
        if position < 0:
            raise UnknownInstrument("computing a fee", id=f"0x{instrument:016x}")
        last_offset = instruments.last_offset(position)
        cells = listings.postings("instrument", instrument)
        known = self._traded.get((venue, instrument))
        if known is not None and known[1:3] == (last_offset, len(cells)):
            known = known._replace(seen=seen, words=table.words)
        else:
            offset = instruments.trailer(position).data_offset
            body = state_named(self._log, offset, instrument).instrument_body
            listing = self._listing(venue, instrument)
            what = traded(facts_from(body), listing)
            known = _Known(what, last_offset, len(cells), seen, table.words)
        if len(self._traded) >= TRADED_MAX:
            self._traded.clear()
        self._traded[venue, instrument] = known
        return known

    def _listing(self, venue: str, instrument: int) -> ListingBody | None:
        """Its listing there: the primary one, else the first that goes on, else the last."""
        key, table = validation.venue(venue), self._views.table("listings")
        best: tuple[tuple[bool, bool], int, int] | None = None
        for cell in table.postings("instrument", instrument):
            position = table.position_of(cell)
            record = ListingRecord(table.arena, position)
            if record.venue == key:
                rank = (record.primary, not record.valid_to)
                if best is None or rank > best[0]:
                    best = rank, table.trailer(position).data_offset, table.key_of(cell)
        if best is None:
            return None
        body = state_named(self._log, best[1], best[2]).body
        assert isinstance(body, ListingBody)
        return body


def _charges(
    fees: Fees, what: Traded, side: str, quantity: Exact, price: Exact, volume: Exact | None,
    more: More,
) -> list[Charge]:  # fmt: skip
    trade = Trade(
        side, quantity, price, what.base, what.quote, what.settlement, what.multiplier,
        what.payoff, more.buying,
    )  # fmt: skip
    return fees.charges(trade, volume=volume, rates=more.rates, gas_price=more.gas_price)


def _sum(found: list[Charge]) -> Charge:
    """Of components that are charged in one currency; its rate names all, its line the first."""
    if len(found) == 1:
        return found[0]
    currencies = sorted({charge.currency for charge in found})
    if len(currencies) > 1:
        raise FeeNotComputable(
            "computing a fee", problem=f"it is charged in {', '.join(currencies)}",
            cure="ask for `charges`, which has each component",
        )  # fmt: skip
    return Charge(
        sum((charge.amount for charge in found), Fraction(0)), currencies[0],
        " + ".join(charge.rate for charge in found), found[0].line,
        "".join(dict.fromkeys(charge.bound for charge in found)),
    )
