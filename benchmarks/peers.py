"""The same events in our log and in other stores, each behind the same few methods.

Peers get the very frames that our log would write, made beforehand; ours has to decide, encode and
hash within the time that is measured. All files are below one directory, hence on one disk, and
all stores wait for it at every commit: `mode` says how. Threads queue on a lock before they write
to LMDB or SQLite, because waiting inside of these is slower. UmaDB is a server that its wheel
brings, here a process of its own on loopback; the others live in the measuring process.
"""

from __future__ import annotations

import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID
from zlib import crc32

import lmdb
from blake3 import blake3

from alphapulse.log import (
    NO_PREVIOUS,
    Draft,
    Event,
    EventLog,
    Kind,
    Metadata,
    Pattern,
    Space,
    encode_body,
    encode_frame,
    encode_metadata,
)
from alphapulse.registry import Registry, Token, facts_of, fingerprint_of
from alphapulse.registry.facts import body_of
from alphapulse.registry.identity import primary_id

from .budgets import EVENTSOURCING, LMDB, SQLITE, UMADB

COMMON: Final = "eip155:1"
SPREAD: Final = "eip155:42220"
"""The chain of every hundredth event."""
CLUSTERED: Final = "eip155:43114"
"""The chain of one run of events in the middle, a hundredth of all."""
PAGE: Final = 1_000
"""How many events a peer without a cursor is asked for at once."""
_LMDB_MODE: Final = (
    f"LMDB {'.'.join(map(str, lmdb.version()))}, fdatasync and then a synced meta page"
)
_KEY: Final = struct.Struct(">Q")
_CRC: Final = struct.Struct("<I")


class Made(NamedTuple):
    """One event: what a caller of `Registry` gives, what the log takes, what peers get."""

    command: Token
    draft: Draft
    chain: str
    frame: bytes


Append = Callable[[Sequence[Made]], object]
"""Returns when all of them are on stable storage: one commit, or a share of one."""


class Store(Protocol):
    """What is measured, with files of its own."""

    @property
    def who(self) -> str: ...

    @property
    def mode(self) -> str:
        """Its version and how it waits for the disk."""

    def writer(self) -> Append:
        """For one thread, which is the one that calls this."""

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        """All events in order, or those of a chain; raises RuntimeError at a damaged one."""

    def close(self) -> None: ...


def made(count: int) -> Iterator[Made]:
    """Registrations of tokens, about 300 bytes each."""
    metadata = encode_metadata(Metadata(source="benchmark"))
    for number in range(count):
        address = "0x" + blake3(b"log %d" % number).digest(20).hex()
        command = Token(
            chain=_chain(number, count), address=address, symbol=f"L{number}",
            name=f"Token number {number}", decimals=18,
        )  # fmt: skip
        facts = facts_of(command)
        fingerprint = fingerprint_of(facts.key)
        id = primary_id(fingerprint)
        body = body_of(facts, id=id, fingerprint=fingerprint)
        draft = Draft(Kind.INSTRUMENT_REGISTERED, Space.INSTRUMENT, id, None, body, metadata)
        fixed, rest = encode_body(body)
        frame = encode_frame(
            kind=draft.kind, space=draft.space, offset=number, recorded=1, valid_from=0, entity=id,
            previous=NO_PREVIOUS, fixed=fixed, rest=rest, metadata=metadata,
        )  # fmt: skip
        yield Made(command, draft, command.chain, frame)


def _chain(number: int, count: int) -> str:
    if 0 <= number - count // 2 < count // 100:
        return CLUSTERED
    return SPREAD if number % 100 == 7 else COMMON


def checked(frame: bytes) -> bytes:
    """For stores that keep no checksum of what they hand out, and so would hand out anything."""
    if crc32(memoryview(frame)[4:]) != _CRC.unpack_from(frame)[0]:
        raise RuntimeError("the peer's frame is damaged")
    return frame


class OurLog:
    """`EventLog` alone: each append is a write session and a commit of its own."""

    who = "ours, log alone"

    def __init__(self, directory: Path) -> None:
        home = directory / "log"
        EventLog.create(home)
        self.log = EventLog.open(home)

    @property
    def mode(self) -> str:
        return f"{_LMDB_MODE}; {_durable(self.log)}"

    def writer(self) -> Append:
        return self._append

    def _append(self, events: Sequence[Made]) -> None:
        with self.log.writing() as session:
            session.add(session.stage([event.draft for event in events]))

    def events(self, chain: str | None = None) -> Iterator[Event]:
        return self.log.read(pattern=Pattern.parse("" if chain is None else f"chain={chain}"))

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        return (event.frame for event in self.events(chain))

    def close(self) -> None:
        self.log.close()


class OurRegistry:
    """`Registry`: validates, decides, keeps views, and callers at the same time share commits."""

    who = "ours, registry"

    def __init__(self, directory: Path) -> None:
        self.registry = Registry.open(directory / "registry")

    @property
    def mode(self) -> str:
        return f"group commit; {_durable(self.registry.log)}"

    def writer(self) -> Append:
        return self._append

    def _append(self, events: Sequence[Made]) -> None:
        if len(events) == 1:
            self.registry.register(events[0].command)
        else:
            self.registry.register_many([event.command for event in events])

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        pattern = Pattern.parse("" if chain is None else f"chain={chain}")
        return (event.frame for event in self.registry.log.read(pattern=pattern))

    def close(self) -> None:
        self.registry.close()


def _durable(log: EventLog) -> str:
    return "receipts say durable" if log.statistics().durable else "NOT DURABLE: a memory disk"


class BareLmdb:
    """A value an event, appended in key order; it has no index, so a chain is looked for."""

    who = LMDB
    mode = _LMDB_MODE

    def __init__(self, directory: Path) -> None:
        self._environment = lmdb.open(str(directory / "lmdb"), map_size=8 << 30)
        self._turn = threading.Lock()

    def writer(self) -> Append:
        return self._append

    def _append(self, events: Sequence[Made]) -> None:
        with self._turn, self._environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            next_key = _KEY.unpack(cursor.key())[0] + 1 if cursor.last() else 0
            pairs = [(_KEY.pack(key), made.frame) for key, made in enumerate(events, next_key)]
            cursor.putmulti(pairs, append=True)

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        wanted = b"" if chain is None else chain.encode()
        with self._environment.begin() as transaction:
            for _, frame in transaction.cursor():
                if wanted in frame:
                    yield checked(frame)

    def close(self) -> None:
        self._environment.close()


class Sqlite:
    """A table of events; a second one has an index on their chain too."""

    def __init__(self, directory: Path, *, indexed: bool = False) -> None:
        self.who = f"{SQLITE}, indexed" if indexed else SQLITE
        self._path = directory / ("sqlite-indexed" if indexed else "sqlite")
        self._connections: list[sqlite3.Connection] = []
        self._turn = threading.Lock()
        database = self._connect()
        database.execute("create table events(offset integer primary key, chain text, frame blob)")
        if indexed:
            database.execute("create index by_chain on events(chain)")
        (journal,) = database.execute("pragma journal_mode").fetchone()
        (sync,) = database.execute("pragma synchronous").fetchone()
        self.mode = (
            f"SQLite {sqlite3.sqlite_version}, journal {journal},"
            f" synchronous {('OFF', 'NORMAL', 'FULL', 'EXTRA')[sync]}: one fsync"
        )

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._path, timeout=60, isolation_level=None, check_same_thread=False
        )
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        self._connections.append(database)
        return database

    def writer(self) -> Append:
        database = self._connect()

        def append(events: Sequence[Made]) -> None:
            with self._turn:
                database.execute("begin immediate")
                database.executemany(
                    "insert into events(chain, frame) values (?, ?)",
                    [(event.chain, event.frame) for event in events],
                )
                database.execute("commit")

        return append

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        where, given = ("", ()) if chain is None else ("where chain = ?", (chain,))
        rows = self._connections[0].execute(
            f"select frame from events {where} order by offset", given
        )
        return (checked(frame) for (frame,) in rows)

    def close(self) -> None:
        for database in self._connections:
            database.close()


class Eventsourcing:
    """Its application recorder on SQLite, with waits long enough for 64 writers."""

    who = EVENTSOURCING

    def __init__(self, directory: Path) -> None:
        from eventsourcing.persistence import StoredEvent
        from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

        self._stored = StoredEvent
        path = directory / "eventsourcing"
        self._datastore = SQLiteDatastore(str(path), lock_timeout=60, pool_timeout=60)
        self._recorder = SQLiteApplicationRecorder(self._datastore)
        self._recorder.create_table()
        with self._datastore.transaction(commit=False) as cursor:
            cursor.execute("pragma synchronous")
            sync = cursor.fetchone()[0]
        self.mode = (
            f"eventsourcing {version('eventsourcing')}, SQLite with WAL, synchronous"
            f" {('OFF', 'NORMAL', 'FULL', 'EXTRA')[sync]}: one fsync"
        )

    def writer(self) -> Append:
        return self._append

    def _append(self, events: Sequence[Made]) -> None:
        self._recorder.insert_events(
            [self._stored(UUID(int=made.draft.entity), 1, made.chain, made.frame)
             for made in events]
        )  # fmt: skip

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        start, topics = 1, () if chain is None else (chain,)
        while page := self._recorder.select_notifications(start, PAGE, topics=topics):
            for notification in page:
                yield checked(notification.state)
            start = page[-1].id + 1

    def close(self) -> None:
        self._datastore.close()


class Umadb:
    """A client a thread, and the server as a process of its own; a chain is a tag there."""

    who = UMADB

    def __init__(self, directory: Path) -> None:
        import umadb

        self._umadb = umadb
        self._clients: list[umadb.Client] = []
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self._url = f"http://{address}"
        serve = "import sys, umadb; umadb.run_server_from_args(sys.argv)"
        self._server = subprocess.Popen(
            [sys.executable, "-c", serve, "--listen", address, "--db-path", directory / "umadb"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.mode = f"UmaDB {version('umadb')}, a server on loopback in its synchronous mode"
        try:
            self._reader = self._first_client()
        except BaseException:
            self.close()
            raise

    def _first_client(self) -> Any:
        deadline = time.monotonic() + 30
        while True:
            try:
                client = self._client()
                client.head()
                return client
            except self._umadb.TransportError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise
                time.sleep(0.02)

    def _client(self) -> Any:
        client = self._umadb.Client(self._url)
        self._clients.append(client)
        return client

    def writer(self) -> Append:
        client, event = self._client(), self._umadb.Event
        return lambda events: client.append(
            [event("registered", made.frame, [made.chain]) for made in events]
        )

    def frames(self, chain: str | None = None) -> Iterator[bytes]:
        umadb = self._umadb
        query = None if chain is None else umadb.Query([umadb.QueryItem(tags=[chain])])
        return (found.event.data for found in self._reader.read(query))

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._server.terminate()
        self._server.wait()


class Stores(NamedTuple):
    log: OurLog
    registry: OurRegistry
    lmdb: BareLmdb
    others: list[Store]
    absent: list[str]
    """Peers that are not installed."""

    @property
    def peers(self) -> list[Store]:
        return [self.lmdb, *self.others]

    @property
    def all(self) -> list[Store]:
        return [self.log, self.registry, *self.peers]


def open_stores(directory: Path, opened: ExitStack) -> Stores:
    """Empty ones below `directory`; `opened` closes them."""
    log = opened.enter_context(closing(OurLog(directory)))
    registry = opened.enter_context(closing(OurRegistry(directory)))
    bare = opened.enter_context(closing(BareLmdb(directory)))
    others: list[Store] = [
        opened.enter_context(closing(Sqlite(directory, indexed=indexed)))
        for indexed in (False, True)
    ]
    absent = []
    for optional in (Eventsourcing, Umadb):
        try:
            others.append(opened.enter_context(closing(optional(directory))))
        except ImportError:
            absent.append(optional.who)
    return Stores(log, registry, bare, others, absent)
