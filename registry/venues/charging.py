"""What a trade costs at a venue: its fee schedule of that time, asked about an instrument."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from alphapulse.log import EventLog, FeesBody
from alphapulse.projections import APPLIED, SUPERSEDED, Views
from alphapulse.registry.identity import aspect_key, venue_fingerprint

from .cache import Cache, Chain, Chains
from .dealings import Dealings, Ends
from .errors import FeesUnknown
from .fees import Charge, Exact, FeeNotComputable, Fees, FeeUnknown, Trade
from .rules import schedules_from
from .traded import Traded
from .words import Word, timeline, words_of

TRADED_MAX = 100_000


class More(NamedTuple):
    """What only some fees depend on; see `Fees.charges`."""

    buying: bool | None = None
    rates: Mapping[str, Exact] | None = None
    gas_price: Exact | None = None
    currency: str = ""
    """Of the listing that is traded, where there are several."""


NO_MORE: Final = More()


class Products(NamedTuple):
    """The schedules of one word, by product; "" is everything else."""

    by_name: dict[str, Fees]

    def of(self, products: tuple[str, ...], venue: str) -> Fees:
        """Raises FeeUnknown, which names the venue."""
        for product in products:
            found = self.by_name.get(product)
            if found is not None:
                return found
        found = self.by_name.get("")
        if found is not None:
            return found
        raise FeeUnknown(
            "computing a fee", problem="no schedule is about this product", venue=venue,
            product=products[0],
        )  # fmt: skip


class Line(NamedTuple):
    words: list[Word]
    changes: list[int]
    products: list[Products | None]


class _Known(NamedTuple):
    """An instrument at a venue, and how it was found to be right."""

    changes: list[int]
    traded: list[Traded | None]
    """traded[0] before changes[0], traded[i + 1] from changes[i] on; None = not asked yet."""
    ends: Ends | None
    """None of a pool, which depends on its tokens: so it is read anew each time."""
    seen: int
    words: memoryview


class Charging:
    def __init__(
        self, log: EventLog, views: Views, chains: Chains, missing: Callable[[str], None]
    ) -> None:
        """missing: raises when a venue is not registered."""
        self._log = log
        self._chains = chains
        self._dealings = Dealings(log, views)
        self._missing = missing
        self._lines: Cache[Line] = Cache(chains, self._make)
        self._entries = self._lines.entries
        self._made: dict[int, Products] = {}
        self._traded: dict[tuple[str, int, str], _Known] = {}

    def fee(
        self, venue: str, instrument: int, side: str, quantity: Exact, price: Exact,
        volume: Exact | None, at: int, stop: int | None, more: More,
    ) -> Charge:  # fmt: skip
        schedules = self._schedules(venue, at, stop)
        what = self.what(venue, instrument, more.currency, at, stop)
        fees = schedules.of(what.products, venue)
        if what.money:
            plain = fees.plain_charge(side, quantity, price, volume, what.money, what.units)
            if plain is not None:
                return plain
        return _sum(_charges(fees, what, side, quantity, price, volume, more))

    def charges(
        self, venue: str, instrument: int, side: str, quantity: Exact, price: Exact,
        volume: Exact | None, at: int, stop: int | None, more: More,
    ) -> list[Charge]:  # fmt: skip
        schedules = self._schedules(venue, at, stop)
        what = self.what(venue, instrument, more.currency, at, stop)
        fees = schedules.of(what.products, venue)
        return _charges(fees, what, side, quantity, price, volume, more)

    def what(
        self, venue: str, instrument: int, currency: str, at: int, stop: int | None
    ) -> Traded:
        """What is traded there, as of both times. Raises UnknownInstrument, FeeNotComputable."""
        if stop is not None:
            return self._dealings.traded(venue, instrument, currency, at, stop)
        known = self._traded.get((venue, instrument, currency))
        if known is None or known.seen != known.words[APPLIED] or known.words[SUPERSEDED]:
            known = self._known(venue, instrument, currency)
        place = bisect_right(known.changes, at)
        found = known.traded[place]
        if found is None:
            found = self._dealings.traded(venue, instrument, currency, at, None)
            if known.ends is not None:
                known.traded[place] = found
        return found

    def _schedules(self, venue: str, at: int, stop: int | None) -> Products:
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
        return found

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

    def _known(self, venue: str, instrument: int, currency: str) -> _Known:
        """It is checked as `cache` says; and what is read of it is never older than that check."""
        table, seen = self._chains.look()
        known, dealings = self._traded.get((venue, instrument, currency)), self._dealings
        is_pool = dealings.is_pool(instrument) if known is None else known.ends is None
        ends = None if is_pool else dealings.ends(venue, instrument)
        if known is not None and known.ends is not None and known.ends == ends:
            known = known._replace(seen=seen, words=table.words)
        else:
            changes = [] if ends is None else dealings.changes(venue, instrument)
            known = _Known(changes, [None] * (len(changes) + 1), ends, seen, table.words)
        if len(self._traded) >= TRADED_MAX:
            self._traded.clear()
        self._traded[venue, instrument, currency] = known
        return known


def _charges(
    fees: Fees, what: Traded, side: str, quantity: Exact, price: Exact, volume: Exact | None,
    more: More,
) -> list[Charge]:  # fmt: skip
    trade = Trade(
        side, quantity, price, what.base, what.quote, what.settlement, what.multiplier,
        what.payoff, more.buying,
    )  # fmt: skip
    found = fees.charges(trade, volume=volume, rates=more.rates, gas_price=more.gas_price)
    if not all(charge.currency for charge in found):
        problem, cure = what.unclear
        raise FeeNotComputable("computing a fee", problem=problem, cure=cure)
    return found


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
        "".join(dict.fromkeys(charge.bound for charge in found)), found[0].products,
    )
