"""Lookups by id and ISIN in another process, while this one has the home open for writing.

The peers answer from the same process as our reader: a dict of all messages, a raw LMDB get in
one long transaction, SQLite by primary key. Keys are random.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import lmdb

from alphapulse.registry import Registry

from .budgets import DICT, LMDB, OURS, SQLITE
from .data import LISTED_EVERY, Loaded, Peers, id_of, isin_of, load, sample, signed
from .harness import Contender, Row, private_dirty_bytes, race, rows_of, settle
from .topics import Context

KEYS: Final = 200_000
_BY_ID: Final = "select message from instruments where id = ?"
_BY_ISIN: Final = "select record from listings where isin = ?"


def run(context: Context) -> Iterator[Row]:
    home, peers = context.homes.home(context.size), context.homes.peers(context.size)
    spawn = multiprocessing.get_context("spawn")
    with Registry.open(home), ProcessPoolExecutor(1, mp_context=spawn) as other:
        yield from other.submit(measure, home, peers, context.size).result()


def measure(home: Path, peers: Peers, size: int) -> list[Row]:
    """Runs in the other process."""
    numbers = sample(size, min(KEYS, max(2 * size, 1_000)))
    ids = [id_of(number) for number in numbers]
    listed = sample(size, len(numbers) // 2, every=LISTED_EVERY)
    isins = [isin_of(number) for number in listed]
    with Registry.open(home, mode="r") as registry:
        by_id, by_isin = _peers_of(peers, home, ids, isins)
        ours = Contender(OURS, registry.get, ids)
        rows = rows_of("lookup", "id", size, _race([ours, *by_id]))
        listings_of = registry.listings_by_isin
        ours = Contender(OURS, listings_of, isins)
        rows += rows_of("lookup", "ISIN to 8 listings", size, _race([ours, *by_isin]))

        def fields_of(isin: str) -> list[int]:
            return [listing.valid_to for listing in listings_of(isin)]

        ours = Contender(OURS, fields_of, isins)
        rows += rows_of("lookup", "ISIN to 8 listings, a field each", size, _race([ours]))
    return rows


def _race(contenders: list[Contender]) -> dict[str, Any]:
    """Checks that each finds its last key, notes the memory its first pass takes, races them."""
    measured = []
    for contender in contenders:
        before = private_dirty_bytes()
        found = [contender.call(argument) for argument in contender.arguments[-1:]]
        if not found or not found[0]:
            raise RuntimeError(f"{contender.who} does not find what it holds")
        for argument in contender.arguments:
            contender.call(argument)
        grown = private_dirty_bytes() - before + (contender.private_dirty_bytes or 0)
        measured.append(contender._replace(private_dirty_bytes=max(grown, 0)))
    settle()
    return race(measured)


def _peers_of(
    peers: Peers, home: Path, ids: Sequence[int], isins: Sequence[str]
) -> tuple[list[Contender], list[Contender]]:
    before = private_dirty_bytes()
    loaded: Loaded = load(home)
    settle()
    dict_bytes = private_dirty_bytes() - before
    environment = lmdb.open(str(peers.lmdb), readonly=True, max_dbs=2, lock=False)
    id_db, isin_db = environment.open_db(b"ids"), environment.open_db(b"isins")
    get = environment.begin().get
    database = sqlite3.connect(f"file:{peers.sqlite}?mode=ro", uri=True)
    return [
        Contender(DICT, loaded.messages.get, ids, private_dirty_bytes=dict_bytes),
        Contender(LMDB, _lmdb_get(get, id_db), ids),
        Contender(SQLITE, lambda id: database.execute(_BY_ID, (signed(id),)).fetchone(), ids),
    ], [
        Contender(DICT, loaded.listings.get, isins, private_dirty_bytes=dict_bytes),
        Contender(LMDB, lambda isin: get(isin.encode(), db=isin_db), isins),
        Contender(SQLITE, lambda isin: database.execute(_BY_ISIN, (isin,)).fetchall(), isins),
    ]


def _lmdb_get(get: Callable[..., bytes | None], db: object) -> Callable[[int], bytes | None]:
    return lambda id: get(id.to_bytes(8, "little"), db=db)
