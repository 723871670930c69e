"""A home of N equities listed at 40 venues, and the same listings in SQLite.

Every tenth instrument is listed at both of the first two venues, which so have N/10 in common; the
others at one of the other 38 each; every hundredth at the eight after the first two as well. Ten
venues have the hours that come with the project, all have a schedule of fees made up for this, and
of every thousandth listing somebody said that it is halted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alphapulse.log import (
    FORMAT_VERSION,
    AssetClass,
    Draft,
    EventLog,
    Genesis,
    Kind,
    ListingBody,
    Metadata,
    Space,
    encode_metadata,
)
from alphapulse.registry import Equity, Registry, facts_of, fingerprint_of
from alphapulse.registry.facts import body_of
from alphapulse.registry.identity import listing_key, primary_id, venue_fingerprint
from alphapulse.registry.venues import Phase, Venue, fee_line, fee_schedule

from .data import CREATED_NS, Homes, isin_of, say, signed

VERSION: Final = 1
WITH_HOURS: Final = ("XNAS", "XLON", "XNYS", "XETR", "XFRA", "XPAR", "XSWX", "XTKS", "XHKG")
"""The first two have the instruments in common."""
VENUES: Final = (
    *WITH_HOURS, "XMIL", "XASX", "XTSE", "BVMF", "XBUE", "XAMS", "XBRU", "XLIS", "XOSL", "XSTO",
    "XHEL", "XCSE", "XICE", "XWBO", "XWAR", "XBUD", "XPRA", "XATH", "XIST", "XJSE", "XBOM", "XNSE",
    "XKRX", "XSHG", "XSHE", "XSES", "XTAI", "XIDX", "XKLS", "XBKK", "XMEX",
)  # fmt: skip
COMMON_EVERY: Final = 10
WIDE_EVERY: Final = 100
WIDE_AT: Final = 5
"""Numbers that leave this rest by WIDE_EVERY are listed at eight venues more."""
HALTED_EVERY: Final = 1_000
YEARS: Final = ("2020-01-01", "2026-01-01")
"""Questions about hours are about this time."""
FEE_TIERS: Final = ("0", "10000", "100000", "1000000", "10000000")


def venues_of(number: int) -> list[str]:
    """Where an instrument is listed."""
    if number % COMMON_EVERY == 0:
        return list(VENUES[:2])
    only = VENUES[2 + number % (len(VENUES) - 2)]
    if number % WIDE_EVERY == WIDE_AT:
        return [only, *(venue for venue in VENUES[2:11] if venue != only)][:9]
    return [only]


def equity(number: int) -> Equity:
    return Equity(isin=isin_of(2 * number), symbol=f"E{number}", name=f"Company {number} plc")


def id_of_equity(number: int) -> int:
    return primary_id(fingerprint_of(facts_of(equity(number)).key))


def drafts(size: int) -> Iterator[Draft]:
    """The events of a home, decided as `Registry` would: ids here never collide."""
    metadata = encode_metadata(Metadata(source="benchmark"))
    fingerprints = {venue: venue_fingerprint(venue) for venue in VENUES}
    for number in range(size):
        facts = facts_of(equity(number))
        fingerprint = fingerprint_of(facts.key)
        id = primary_id(fingerprint)
        body = body_of(facts, id=id, fingerprint=fingerprint)
        yield Draft(Kind.INSTRUMENT_REGISTERED, Space.INSTRUMENT, id, None, body, metadata)
        for venue in venues_of(number):
            key = fingerprint_of(listing_key(fingerprint, fingerprints[venue], "USD"))
            listing = ListingBody(
                fingerprint=key, instrument=id, instrument_fingerprint=fingerprint,
                asset_class=AssetClass.EQUITY, venue=venue, currency="USD", symbol=f"L{number}",
            )  # fmt: skip
            yield Draft(
                Kind.LISTING_ADDED, Space.LISTING, primary_id(key), None, listing, metadata
            )


def home_with_venues(homes: Homes, size: int) -> tuple[Path, Path]:
    """(home, SQLite database); made once."""
    path = homes.made(f"venues-{VERSION}-{size}", lambda building: _build(building, size))
    return path / "home", path / "sqlite"


def _build(building: Path, size: int) -> None:
    home = building / "home"
    genesis = Genesis(FORMAT_VERSION, bytes(range(16)), 64, CREATED_NS)
    building.mkdir()
    EventLog.create(home, genesis=genesis)
    with EventLog.open(home, durability="relaxed") as log, log.writing() as session:
        for draft in drafts(size):
            session.append(draft)
            if session.pending == 1_000:
                session.commit()
    with Registry.open(home, durability="relaxed") as registry:
        _say_of_venues(registry)
        _write_sqlite(building / "sqlite", registry)
    say(f"made a home of {size:,} instruments at {len(VENUES)} venues")


def _say_of_venues(registry: Registry) -> None:
    lines = [
        fee_line({"side": side, "value": f"0.{20 - place * 2 - (side == 'maker'):02}",
                  "volume_from": volume, "minimum": "1" if not place else ""})
        for place, volume in enumerate(FEE_TIERS) for side in ("maker", "taker")
    ]  # fmt: skip
    schedule = fee_schedule(lines, volume_unit="USD", volume_days=30)
    for venue in VENUES:
        registry.venues.add(Venue(key=venue), source="benchmark")
        registry.venues.set_fees(venue, schedule, valid_from="2020-01-01", source="benchmark")
        if venue in WITH_HOURS:
            registry.venues.set_hours(venue)
    for record in halted(registry):
        registry.venues.set_status(
            record, "halted", valid_from="2024-01-01", source="benchmark", reason="news"
        )


def halted(registry: Registry) -> Iterator[int]:
    """Ids of the listings that are halted: some of the first venue."""
    for place, record in enumerate(registry.instruments_at(VENUES[0])):
        if place % HALTED_EVERY == 0:
            yield record.id


def _write_sqlite(path: Path, registry: Registry) -> None:
    with sqlite3.connect(path) as database:
        database.executescript(
            "create table listings(id integer primary key, instrument integer, venue text,"
            " symbol text, currency text, valid_from integer, valid_to integer);"
            "create table fees(venue text, side text, volume_from integer, value text,"
            " minimum text);"
            "create table statuses(venue text, listing integer, side text, status integer,"
            " valid_from integer, until integer);"
            "create table sessions(venue text, opens integer, closes integer);"
        )
        for venue in VENUES:
            database.executemany(
                "insert into listings values (?, ?, ?, ?, ?, ?, ?)",
                (
                    (signed(each.id), signed(each.instrument), venue, each.symbol, each.currency,
                     each.valid_from, each.valid_to)
                    for each in registry.instruments_at(venue)
                ),
            )  # fmt: skip
            database.executemany(
                "insert into fees values (?, ?, ?, ?, ?)",
                (
                    (venue, line.side, int(line.volume_from), line.value, line.minimum)
                    for schedule in registry.venues.schedules(venue) for line in schedule.lines
                ),
            )
        database.executemany(
            "insert into statuses values (?, ?, 'both', 4, 1704067200000000000, 0)",
            ((VENUES[0], signed(id)) for id in halted(registry)),
        )
        for venue in WITH_HOURS:
            database.executemany(
                "insert into sessions values (?, ?, ?)",
                (
                    (venue, phase.start, phase.end)
                    for session in registry.venues.sessions(venue, *YEARS)
                    for phase in session.phases if phase.phase is Phase.CONTINUOUS
                ),
            )  # fmt: skip
        database.executescript(
            "create index by_session on sessions(venue, opens);"
            "create index by_venue on listings(venue, instrument);"
            "create index by_instrument on listings(instrument);"
            "create index by_fee on fees(venue, side, volume_from);"
            "create index by_status on statuses(venue, listing);"
        )
    database.close()


if len(set(VENUES)) != 40:
    raise ImportError(f"{len(set(VENUES))} venues, not 40")
