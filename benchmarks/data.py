"""What is measured: made-up instruments that depend on a number only, and homes of N of them.

Even numbers are equities with a valid ISIN, odd ones tokens; symbols, ISINs and addresses are all
distinct. Every 16th instrument has listings at eight venues, registered right after it, so a home
of N instruments has 1.5 N events, in blocks of 1,000. Homes are built once for each size: into
`--cache DIR` if given, else into a temporary directory of the run.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import lmdb
from blake3 import blake3

from alphapulse.log import (
    FORMAT_VERSION,
    AssetClass,
    Draft,
    EventLog,
    Genesis,
    Kind,
    ListingBody,
    Metadata,
    Pattern,
    Space,
    encode_metadata,
)
from alphapulse.registry import Equity, Registry, Token, facts_of, fingerprint_of
from alphapulse.registry.facts import body_of
from alphapulse.registry.identity import listing_key, primary_id, venue_fingerprint

VERSION: Final = 1
"""Count up when homes or peers' files change, so that a cache of before is not used."""
SEED: Final = 20261122
LISTED_EVERY: Final = 16
VENUES: Final = ("XNAS", "XETR", "XLON", "XPAR", "XTKS", "XSWX", "XMIL", "XASX")
RARE_CHAIN: Final = "eip155:42220"
"""Of one event in a hundred, spread evenly."""
_RARE_EVERY: Final = 66
_CHAINS: Final = tuple(f"eip155:{number}" for number in (1, 10, 56, 137, 8453, 42161, 43114))
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ISINS: Final = 36**9
_STEP: Final = 70_607_384_120_251
"""Coprime to 36, so number × step mod 36^9 gives every number another ISIN, in no order."""
_PREFIXES: Final = ("US", "DE", "GB", "FR", "JP", "CH", "IT", "AU")
_CURRENCIES: Final = ("USD", "EUR", "GBP", "EUR", "JPY", "CHF", "EUR", "AUD")
CREATED_NS: Final = 1_764_000_000_000_000_000


def _base36(value: int, width: int) -> str:
    digits = []
    for _ in range(width):
        value, digit = divmod(value, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def isin_of(number: int) -> str:
    """A valid ISIN (ISO 6166 Annex: letters as two digits, then Luhn), another for each number."""
    text = _PREFIXES[number // 2 % 8] + _base36((number * _STEP + SEED) % _ISINS, 9)
    total = 0
    for place, digit in enumerate(reversed("".join(str(int(c, 36)) for c in text))):
        value = int(digit) * (2 - place % 2)
        total += value // 10 + value % 10
    return text + str(-total % 10)


def instrument(number: int) -> Equity | Token:
    if number % 2 == 0:
        return Equity(
            isin=isin_of(number), symbol=f"E{_base36(number, 5)}", name=f"Company {number} plc",
            currency=_CURRENCIES[number // 2 % 8],
        )  # fmt: skip
    digest = blake3(b"%d token %d" % (SEED, number)).digest(20)
    chain = RARE_CHAIN if number % _RARE_EVERY == 33 else _CHAINS[digest[0] % len(_CHAINS)]
    return Token(
        chain=chain, address="0x" + digest.hex(), symbol=f"T{_base36(number, 5)}",
        name=f"Token number {number}", decimals=(6, 8, 18)[digest[1] % 3],
    )  # fmt: skip


def id_of(number: int) -> int:
    return primary_id(fingerprint_of(facts_of(instrument(number)).key))


def sample(size: int, count: int, every: int = 1) -> list[int]:
    """Numbers of instruments in random order, with repetition when there are too few."""
    chooser = random.Random(SEED)
    return [chooser.randrange(-(-size // every)) * every for _ in range(count)]


def drafts(size: int) -> Iterator[Draft]:
    """The events of a home, decided as `Registry` would: ids here never collide."""
    metadata = encode_metadata(Metadata(source="benchmark"))
    venues = [(venue, venue_fingerprint(venue)) for venue in VENUES]
    for number in range(size):
        facts = facts_of(instrument(number))
        fingerprint = fingerprint_of(facts.key)
        id = primary_id(fingerprint)
        body = body_of(facts, id=id, fingerprint=fingerprint)
        yield Draft(
            Kind.INSTRUMENT_REGISTERED, Space.INSTRUMENT, id, None, body, metadata
        )
        if number % LISTED_EVERY:
            continue
        for place, (venue, venue_print) in enumerate(venues):
            currency = _CURRENCIES[place]
            key = fingerprint_of(listing_key(fingerprint, venue_print, currency))
            yield Draft(
                Kind.LISTING_ADDED, Space.LISTING, primary_id(key), None,
                ListingBody(
                    fingerprint=key, instrument=id, instrument_fingerprint=fingerprint,
                    asset_class=AssetClass.EQUITY, venue=venue, currency=currency,
                    symbol=f"L{_base36(number, 5)}", primary=place == 0,
                ),
                metadata,
            )  # fmt: skip


def write_log(home: Path, size: int, events_per_block: int = 1_000) -> None:
    """A home with only its log. Not waiting for the disk: the whole of it is made again at will."""
    genesis = Genesis(FORMAT_VERSION, bytes(range(16)), 64, CREATED_NS)
    EventLog.create(home, genesis=genesis)
    with EventLog.open(home, durability="relaxed") as log, log.writing() as session:
        for draft in drafts(size):
            session.append(draft)
            if session.pending == events_per_block:
                session.commit()


class Peers(NamedTuple):
    """The same instruments and listings in other stores.

    lmdb: sub-databases `ids` (u64 little-endian to message) and `isins` (ISIN to its eight
    listing records, joined). sqlite: tables `instruments(id, message)`, `listings(isin, record)`.
    """

    lmdb: Path
    sqlite: Path


class Homes:
    """Builds and remembers homes and peers' stores below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def home(self, size: int) -> Path:
        """A home of `size` instruments, with views. Do not write to it: `copy` it."""
        path = self._directory / f"home-{VERSION}-{size}"
        if not path.exists():
            building = self._fresh(path)
            began = perf_counter()
            write_log(building, size)
            logged = perf_counter()
            with Registry.open(building):
                pass
            say(
                f"made a home of {size:,} instruments: log {logged - began:.1f} s,"
                f" views {perf_counter() - logged:.1f} s"
            )
            building.rename(path)
        return path

    def singles(self, size: int) -> Path:
        """A home without views whose every block has one event."""
        path = self._directory / f"singles-{VERSION}-{size}"
        if not path.exists():
            building = self._fresh(path)
            write_log(building, size, events_per_block=1)
            building.rename(path)
        return path

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A directory that `make` fills, once."""
        path = self._directory / name
        if not path.exists():
            building = self._fresh(path)
            make(building)
            building.rename(path)
        return path

    def peers(self, size: int) -> Peers:
        path = self._directory / f"peers-{VERSION}-{size}"
        if not path.exists():
            building = self._fresh(path)
            building.mkdir()
            _write_peers(building, self.home(size))
            building.rename(path)
        return Peers(path / "lmdb", path / "sqlite")

    def scratch(self, name: str) -> Path:
        """A path where nothing is; the caller removes what it puts there."""
        return self._fresh(self._directory / name)

    def copy(self, home: Path) -> Path:
        target = self.scratch("copy")
        shutil.copytree(home, target, ignore=shutil.ignore_patterns("run", "checkpoints"))
        return target

    @staticmethod
    def _fresh(path: Path) -> Path:
        building = path.with_name(f"{path.name}.building-{os.getpid()}")
        shutil.rmtree(building, ignore_errors=True)
        return building


class Loaded(NamedTuple):
    """Messages by id and listing records by ISIN, as any peer may hold them."""

    messages: dict[int, bytes]
    listings: dict[str, list[bytes]]


def load(home: Path) -> Loaded:
    """Everything in a home, as a program without a registry would keep it: in dicts."""
    messages: dict[int, bytes] = {}
    listings: dict[str, list[bytes]] = {}
    with Registry.open(home, mode="r") as registry:
        pattern = Pattern.parse("kind=instrument.registered")
        for event in registry.log.read(pattern=pattern):
            messages[event.entity] = bytes(event.message_view())
        for event in registry.log.read(pattern=Pattern.parse("kind=listing.added venue=XNAS")):
            assert isinstance(event.body, ListingBody)
            record = registry.get(event.body.instrument)
            assert record is not None
            records = registry.listings(event.body.instrument)
            listings[record.isin] = [bytes(_payload(listing)) for listing in records]
    return Loaded(messages, listings)


def _payload(record: object) -> memoryview:
    """The 128 bytes of a listing record; peers get the very bytes that we store."""
    buffer, at = record._buffer, record._at  # type: ignore[attr-defined]  # a peer's copy of ours
    return memoryview(buffer)[at : at + 128]


def signed(id: int) -> int:
    """SQLite's integers are signed."""
    return id - (1 << 64) if id >> 63 else id


def _write_peers(directory: Path, home: Path) -> None:
    loaded = load(home)
    environment = lmdb.open(str(directory / "lmdb"), map_size=8 << 30, max_dbs=2, sync=False)
    ids, isins = environment.open_db(b"ids"), environment.open_db(b"isins")
    keyed = sorted((id.to_bytes(8, "little"), data) for id, data in loaded.messages.items())
    with environment.begin(write=True) as transaction:
        for key, data in keyed:
            transaction.put(key, data, db=ids, append=True)
        for isin, records in sorted(loaded.listings.items()):
            transaction.put(isin.encode(), b"".join(records), db=isins, append=True)
    environment.sync(True)
    environment.close()
    with sqlite3.connect(directory / "sqlite") as database:
        database.execute("create table instruments(id integer primary key, message blob)")
        database.execute("create table listings(isin text, record blob)")
        database.executemany(
            "insert into instruments values (?, ?)",
            ((signed(id), data) for id, data in loaded.messages.items()),
        )
        database.executemany(
            "insert into listings values (?, ?)", _pairs(loaded.listings)
        )
        database.execute("create index by_isin on listings(isin)")
    database.close()


def _pairs(listings: dict[str, list[bytes]]) -> Iterator[Sequence[str | bytes]]:
    for isin, records in listings.items():
        for record in records:
            yield isin, record


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
