"""Questions about venues and across them: listings, cross, hours, fees, status.

The peers answer from the same process: SQLite from tables with the indexes that the questions need,
exchange_calendars about hours. Where both give an answer it is compared before anything is timed.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any, Final

from alphapulse.registry import Registry, time_ns

from .budgets import OURS, SQLITE
from .data import SEED, signed
from .harness import Contender, Row, Timing, race, race_passes, rows_of, settle
from .topics import Context
from .venue_data import (
    VENUES,
    WIDE_AT,
    WIDE_EVERY,
    WITH_HOURS,
    YEARS,
    home_with_venues,
    id_of_equity,
)

CALENDARS: Final = "exchange_calendars"
QUESTIONS: Final = 20_000
CROSSINGS: Final = 5
_MINUTE_NS: Final = 60_000_000_000
_NOW: Final = time_ns("2025-06-02T15:00:00Z", "now")
_DATES: Final = "valid_from <= ? and (valid_to = 0 or ? < valid_to)"
_LISTINGS: Final = "select venue, symbol from listings where instrument = ?"
_VENUES: Final = f"select venue from listings where instrument = ? and {_DATES}"
_AT: Final = f"select instrument, symbol from listings where venue = ? and {_DATES}"
_CROSS: Final = (
    "select distinct a.instrument from listings a join listings b on b.instrument = a.instrument"
    " where a.venue = ? and b.venue = ?"
    " and a.valid_from <= ?3 and (a.valid_to = 0 or ?3 < a.valid_to)"
    " and b.valid_from <= ?3 and (b.valid_to = 0 or ?3 < b.valid_to)"
)
_OPEN: Final = (
    "select closes > ?2 from sessions where venue = ?1 and opens <= ?2 order by opens desc limit 1"
)
_FEE: Final = (
    "select value, minimum from fees where venue = ? and side = ? and volume_from <= ?"
    " order by volume_from desc limit 1"
)
_STATUS: Final = (
    "select max(status) from statuses where venue = ? and listing in (0, ?)"
    " and valid_from <= ?3 and (until = 0 or ?3 < until)"
)


def run(context: Context) -> Iterator[Row]:
    home, database = home_with_venues(context.homes, context.size)
    with Registry.open(home, mode="r") as registry:
        peer = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        settle()
        for measure in (_listings, _instruments_at, _cross, _is_open, _fee, _status):
            for case, timings in measure(registry, peer, context.size):
                yield from rows_of("venues", case, context.size, timings)
        peer.close()


Measured = Iterator[tuple[str, dict[str, Timing]]]


def _race(contenders: list[Contender], agree: Callable[[Any, Any], bool]) -> dict[str, Timing]:
    """ours: the first. Each other one must agree with it about some questions."""
    first, *others = contenders
    for other in others:
        questions = zip(first.arguments, other.arguments, strict=True)
        for number, (ours, theirs) in enumerate(islice(questions, 1_000)):
            one = first.call(*ours) if first.spread else first.call(ours)
            answer = other.call(*theirs) if other.spread else other.call(theirs)
            if not agree(one, answer):
                raise RuntimeError(f"question {number}: {one!r} and {other.who}: {answer!r}")
    return race(contenders)


def _listings(registry: Registry, peer: sqlite3.Connection, size: int) -> Measured:
    chooser = random.Random(SEED)
    wide = [
        id_of_equity(chooser.randrange(size // WIDE_EVERY) * WIDE_EVERY + WIDE_AT)
        for _ in range(QUESTIONS // 4)
    ]
    signed_ids = [signed(id) for id in wide]

    def ours(id: int) -> list[tuple[str, str]]:
        return [(listing.venue, listing.symbol) for listing in registry.listings(id)]

    yield "listings of an instrument: 9, two fields each", _race(
        [Contender(OURS, ours, wide),
         Contender(SQLITE, lambda id: peer.execute(_LISTINGS, (id,)).fetchall(), signed_ids)],
        lambda one, other: sorted(one) == sorted(other),
    )  # fmt: skip
    yield "venues_for an instrument: 9", _race(
        [Contender(OURS, partial(registry.venues_for, valid=_NOW), wide),
         Contender(SQLITE, lambda id: peer.execute(_VENUES, (id, _NOW, _NOW)).fetchall(),
                   signed_ids)],
        lambda one, other: sorted(one) == sorted(venue for (venue,) in other),
    )  # fmt: skip


def _instruments_at(registry: Registry, peer: sqlite3.Connection, size: int) -> Measured:
    def ours() -> int:
        return sum(bool(each.symbol) for each in registry.instruments_at(VENUES[0], valid=_NOW))

    def theirs() -> int:
        return sum(bool(symbol) for _, symbol in peer.execute(_AT, (VENUES[0], _NOW, _NOW)))

    if ours() != theirs():
        raise RuntimeError(f"instruments at {VENUES[0]}: {ours()} and {SQLITE}: {theirs()}")
    yield "instruments_at a venue, a listing", race_passes({OURS: ours, SQLITE: theirs})


def _cross(registry: Registry, peer: sqlite3.Connection, size: int) -> Measured:
    pair = [(VENUES[0], VENUES[1])] * CROSSINGS

    def theirs(a: str, b: str) -> list[int]:
        return [id for (id,) in peer.execute(_CROSS, (a, b, _NOW))]

    found = len(registry.cross(*pair[0], valid=_NOW).same)
    timings = _race(
        [Contender(OURS, partial(registry.cross, valid=_NOW), pair, spread=True),
         Contender(SQLITE, theirs, pair, spread=True)],
        lambda one, other: sorted(map(signed, one.same)) == sorted(other),
    )  # fmt: skip
    note = f"{found:,} instruments at both"
    timings[OURS] = timings[OURS]._replace(note=note)
    yield "cross of two venues", timings


def _moments(venues: tuple[str, ...]) -> list[tuple[str, int]]:
    chooser = random.Random(SEED)
    start, stop = (time_ns(year, "year") // _MINUTE_NS for year in YEARS)
    return [
        (chooser.choice(venues), chooser.randrange(start + 1_440, stop - 1_440) * _MINUTE_NS)
        for _ in range(QUESTIONS)
    ]


def _is_open(registry: Registry, peer: sqlite3.Connection, size: int) -> Measured:
    moments = _moments(WITH_HOURS[:6])

    def theirs(venue: str, at: int) -> bool:
        found = peer.execute(_OPEN, (venue, at)).fetchone()
        return bool(found and found[0])

    contenders = [
        Contender(OURS, registry.venues.is_open, moments, spread=True),
        Contender(SQLITE, theirs, moments, spread=True),
    ]
    timings: dict[str, Timing] = {}
    try:
        calendar = import_module("exchange_calendars").get_calendar
        timestamp = import_module("pandas").Timestamp
    except ImportError:
        missing = f"{CALENDARS} is not installed: pip install -e '.[calendars]'"
        timings = {CALENDARS: Timing(note=missing)}
    else:
        calendars = {venue: calendar(venue) for venue in WITH_HOURS[:6]}
        minutes = [
            (calendars[venue].is_open_on_minute, timestamp(at, tz="UTC"))
            for venue, at in moments
        ]
        contenders.append(
            Contender(CALENDARS, lambda ask, minute: ask(minute), minutes, spread=True)
        )
    yield "is_open at a random minute", _race(contenders, lambda a, b: a == bool(b)) | timings


def _fee(registry: Registry, peer: sqlite3.Connection, size: int) -> Measured:
    chooser = random.Random(SEED)
    some = [record.instrument for record in islice(registry.instruments_at(VENUES[0]), 1_000)]
    questions = [
        (VENUES[0], chooser.choice(some), chooser.choice(("maker", "taker")),
         chooser.randrange(1, 1_000), Decimal(chooser.randrange(1, 100_000)) / 100,
         chooser.randrange(0, 20_000_000), _NOW)
        for _ in range(QUESTIONS // 2)
    ]  # fmt: skip

    def theirs(
        venue: str, instrument: int, side: str, quantity: int, price: Decimal, volume: int, at: int
    ) -> Decimal:  # fmt: skip
        value, minimum = peer.execute(_FEE, (venue, side, volume)).fetchone()
        amount = Decimal(value) * quantity * price / 100
        return max(amount, Decimal(minimum)) if minimum else amount

    yield "fee", _race(
        [Contender(OURS, registry.venues.fee, questions, spread=True),
         Contender(SQLITE, theirs, questions, spread=True)],
        lambda one, other: one.amount == other,
    )  # fmt: skip


def _status(registry: Registry, peer: sqlite3.Connection, size: int) -> Measured:
    chooser = random.Random(SEED)
    some = [record.id for record in islice(registry.instruments_at(VENUES[0]), 2_000)]
    asked = [chooser.choice(some) for _ in range(QUESTIONS)]
    status = registry.venues.status

    def theirs(listing: int) -> int:
        found = peer.execute(_STATUS, (VENUES[0], listing, _NOW)).fetchone()[0]
        return found or 1

    yield "effective status of a listing", _race(
        [Contender(OURS, lambda listing: status(listing, at=_NOW), asked),
         Contender(SQLITE, theirs, [signed(id) for id in asked])],
        lambda one, other: one.status == other,
    )  # fmt: skip
