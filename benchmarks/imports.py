"""Importing a file of each format into a new home, beside parsing it and inserting it into SQLite.

Ours validates each row, derives ids, decides, records events with source and content hash, and
keeps views. The peer parses the same file with the standard library and inserts its rows under
their key in commits of as many rows, durably too. A second case imports what is known already.
"""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from alphapulse.registry import Registry, import_file
from alphapulse.registry.importing import CHUNK_ROWS_MAX
from alphapulse.registry.render import event_dict

from .budgets import OURS, SQLITE
from .data import instrument, isin_of
from .harness import Row, race_passes, rows_of, settle
from .topics import Context

REPEATS: Final = 2
Entry = tuple[str, str, str]
"""Key, symbol, name: what the peer keeps of a row."""


class Format(NamedTuple):
    file: str
    write: Callable[[Path, int], None]
    parse: Callable[[Path], Iterator[Entry]]


def _csv(header: Sequence[str], row: Callable[[int], Sequence[str]]) -> Callable[[Path, int], None]:
    def write(path: Path, size: int) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(row(number) for number in range(size))

    return write


def _json(row: Callable[[int], Any], around: str = "") -> Callable[[Path, int], None]:
    def write(path: Path, size: int) -> None:
        rows = [row(number) for number in range(size)]
        path.write_text(json.dumps({"name": "benchmark", around: rows} if around else rows))

    return write


def _lines(path: Path, size: int) -> None:
    with path.open("w") as file:
        for n in range(size):
            fields = {
                "class": "equity", "isin": isin_of(n), "symbol": f"E{n}", "currency": "USD",
                "name": f"Company {n} plc",
            }  # fmt: skip
            file.write(json.dumps(fields) + "\n")


def _fields(path: Path) -> Iterator[Entry]:
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            yield row["isin"], row["symbol"], row["name"]


def _events(path: Path, size: int) -> None:
    home = path.with_name("events")
    with Registry.open(home, durability="relaxed") as registry, path.open("w") as file:
        for _ in registry.register_many(instrument(number) for number in range(size)):
            pass
        for event in registry.read():
            file.write(json.dumps(event_dict(event, raw=True)) + "\n")
    shutil.rmtree(home)


def _bodies(path: Path) -> Iterator[Entry]:
    with path.open() as file:
        for line in file:
            event = json.loads(line)
            yield event["id"], event["body"]["symbol"], event["body"]["name"]


def _cells(path: Path) -> Iterator[Entry]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield row["isin"], row["symbol"], row["name"]


def _tokens(path: Path) -> Iterator[Entry]:
    for row in json.loads(path.read_bytes())["tokens"]:
        yield f"{row['chainId']}:{row['address']}", row["symbol"], row["name"]


def _assets(path: Path) -> Iterator[Entry]:
    for row in json.loads(path.read_bytes()):
        yield f"{row['chain_id']}:{row['base']}", row["symbol"], row["name"]


def _markets(path: Path) -> Iterator[Entry]:
    for row in json.loads(path.read_bytes())["markets"]:
        yield row["id"], row["symbol"], row["base"]


def _companies(path: Path) -> Iterator[Entry]:
    for row in json.loads(path.read_bytes()):
        yield row["isins"][0], row["symbols"][0]["yahoo"], row["name"]


def _exchanges(path: Path) -> Iterator[Entry]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield row["mic"], row["market_name"], row["country"]


def _crypto(path: Path) -> Iterator[Entry]:
    for row in json.loads(path.read_bytes()):
        yield row["id"], row["name"], row["countries"][0]


def _mic(number: int) -> str:
    rest = ""
    for _ in range(3):
        number, digit = divmod(number, 36)
        rest += "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit]
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 26] + rest


FORMATS: Final[dict[str, Format]] = {
    "events-jsonl": Format("events.jsonl", _events, _bodies),
    "instruments-jsonl": Format("instruments.jsonl", _lines, _fields),
    "token-list": Format("list.json", _json(lambda n: {
        "chainId": 1, "address": f"0x{n + 1:040x}", "symbol": f"T{n}", "name": f"Token {n}",
        "decimals": 18,
    }, "tokens"), _tokens),
    "listings-csv": Format("listings.csv", _csv(
        ("isin", "mic", "symbol", "currency", "name"),
        lambda n: (isin_of(n), "XNAS", f"E{n}", "USD", f"Company {n} plc"),
    ), _cells),
    "isin-csv": Format("isins.csv", _csv(
        ("isin", "name", "type", "status", "symbol", "exchange"),
        lambda n: (isin_of(n), f"Company {n} plc", "EQUITY SHARES", "ACTIVE", f"E{n}", "NYSE"),
    ), _cells),
    "chain-registry": Format("assets.json", _json(lambda n: {
        "chain": "osmosis", "chain_id": "osmosis-1", "chain_type": "cosmos",
        "base": f"factory/osmo1maker/{n}", "type_asset": "sdk.coin", "address": None,
        "symbol": f"T{n}", "name": f"Token {n}", "decimals": 6, "traces": [],
    }), _assets),
    "ticker-collection": Format("tickers.json", _json(lambda n: {
        "name": f"Company {n} plc", "isins": [isin_of(n)],
        "symbols": [{"yahoo": f"E{n}", "google": f"E{n}", "currency": "USD"}],
    }), _companies),
    "ccxt-markets": Format("binance.json", _json(lambda n: {
        "id": f"T{n}USDT", "symbol": f"T{n}/USDT", "base": f"T{n}", "quote": "USDT",
        "baseId": f"T{n}", "quoteId": "USDT", "type": "spot", "spot": True, "active": True,
        "precision": {"price": 0.01, "amount": 1e-05},
        "limits": {"amount": {"min": 1e-05, "max": 9000.0}, "cost": {"min": 5.0}},
    }, "markets"), _markets),
    "iso-10383": Format("mics.csv", _csv(
        ("mic", "operating_mic", "market_name", "country", "category", "status", "created",
         "expiry"),
        lambda n: (_mic(n), _mic(n), f"Exchange {n}", "GB", "rmkt", "active", "2009-04-27", ""),
    ), _exchanges),
    "ccxt-venues": Format("venues.json", _json(lambda n: {
        "id": f"venue{n}", "name": f"Venue {n}", "countries": ["US"], "rateLimit": 50,
        "maker": 0.001, "taker": 0.002, "api": [f"https://api.venue{n}.example"],
    }), _crypto),
}  # fmt: skip
"""Of rows that come by the thousand; hours and fees by hand are a file for each venue."""


def run(context: Context) -> Iterator[Row]:
    directory = context.homes.scratch("imports")
    directory.mkdir(parents=True)
    try:
        for name, format in FORMATS.items():
            path = directory / format.file
            format.write(path, context.size)
            settle()
            yield from _first(name, format, path, context.size)
            yield from _again(name, path, context.size)
            path.unlink()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _first(name: str, format: Format, path: Path, size: int) -> Iterator[Row]:
    home, database = path.with_name("home"), path.with_name("sqlite")

    def ours() -> int:
        with Registry.open(home) as registry:
            done = import_file(registry, path, format=name)
        shutil.rmtree(home)
        if done.new != size:
            raise RuntimeError(f"{done.new} of {size} rows of {name} were new")
        return done.rows

    def peer() -> int:
        count = _into_sqlite(database, format.parse(path))
        shutil.rmtree(database)
        return count

    yield from rows_of("import", name, size, race_passes({OURS: ours, SQLITE: peer}, REPEATS))


def _again(name: str, path: Path, size: int) -> Iterator[Row]:
    """A whole pass each, with the registry open."""
    home = path.with_name("home")
    with Registry.open(home) as registry:

        def again() -> int:
            return import_file(registry, path, format=name).rows

        timings = race_passes({OURS: again}, REPEATS)
    shutil.rmtree(home)
    yield from rows_of("import", f"{name}, all known", size, timings)


def _into_sqlite(directory: Path, entries: Iterator[Entry]) -> int:
    directory.mkdir()
    database = sqlite3.connect(directory / "rows.db", isolation_level=None)
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=full")
    database.execute("create table rows(key text primary key, symbol text, name text)")
    count = 0
    while chunk := list(islice(entries, CHUNK_ROWS_MAX)):
        database.execute("begin")
        database.executemany("insert or ignore into rows values (?, ?, ?)", chunk)
        database.execute("commit")
        count += len(chunk)
    database.close()
    return count
