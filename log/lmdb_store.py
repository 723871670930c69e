"""The engine on LMDB: one value for each block, keyed by its first offset (u64 big-endian).

What LMDB does well (durable commits, readers without locks) is used as it is; what hurts is
fenced here:

* opened in the default mode only for the record; never `writemap` (a full disk would be SIGBUS);
* transactions are short and never leave a method: a held reader makes the file grow for good;
* no memoryview leaves its transaction: blocks are copied out;
* `set_mapsize` waits until no transaction of this process is open, since it kills them;
* slots of dead readers are freed at open, every ten seconds, as the file grows, and when slots or
  space run out;
* where a log may not be written by anybody, it is read without LMDB's lock file;
* one handle for each path and process; a forked child gets a typed error;
* LMDB refuses everything (MDB_PANIC) once a write of its meta page failed: the next transaction
  opens it again, alone, and so goes on from the last commit that the file has.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import lmdb

from .block import BLOCK_HEADER, CHAIN_SIZE_BYTES, chain_hash, frame_in
from .errors import (
    Closed,
    Corrupt,
    ForkedProcess,
    HeadMoved,
    HomeUnsupported,
    InvalidInput,
    LogFull,
    SystemRefused,
    TooManyReaders,
)
from .gate import Gate
from .home import Genesis, decode_genesis
from .lmdb_base import (
    BLOCK_KEY,
    FORGOTTEN_BLOCKS_MAX,
    base_from,
    check_size,
    count_of,
    ends_by,
    first_of,
    forget,
    head_of,
    misplaced,
    put_base,
)
from .lmdb_refusals import DISK_REFUSED, Refusals, nobody_writes, unreadable
from .store import Head, StoreStatistics

BLOCKS_DB: Final = b"blocks"
META_DB: Final = b"meta"
GENESIS_KEY: Final = b"genesis"
MAP_SIZE_BYTES: Final = 64 << 30
"""Sparse: address space, not disk."""
MAP_FULL_RATIO: Final = 0.8
READERS_MAX: Final = 1024
READER_CHECK_S: Final = 10.0
READER_CHECK_PAGES: Final = 16
"""Growth of the file after which a writer looks for dead readers: one that was killed while it
read pins all pages freed since, and within a second the file would be many times as large."""
RESERVE_SIZE_BYTES: Final = 64 << 20
"""Appends are refused when less than this would stay free, so that there is room to act."""
_KEY_MAX: Final = (1 << 64) - 1
_NO_MEANS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK})
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
CURE_READ_ONLY: Final = "it can be read here; to write to it, restore or copy it elsewhere"
CURE_NOT_OURS: Final = (
    "open it as its owner; others read it when nobody may write its files (`chmod -R a-w`)"
)


class LmdbStore:
    """`open` an existing log directory or `create` one. See `BlockStore` for the contract."""

    def __init__(
        self, path: Path, *, sync: bool, durable: bool, reserve_size_bytes: int,
        map_size_bytes: int, read_only: bool = False,
    ) -> None:  # fmt: skip
        self._path = path
        self._name = os.fspath(path)
        self.read_only = read_only
        """Opened without a lock file, which is right as long as nobody writes."""
        self._pid = os.getpid()
        self._reserve_size_bytes = reserve_size_bytes
        self._map_size_bytes = map_size_bytes
        self._gate = Gate()
        self._inside = _Inside(self)
        self._closed = False
        self._shut = False
        """Whether the handle of LMDB is closed: for good, or until it can be opened again."""
        self._sync = sync
        self._users = 0
        self._checked_at = time.monotonic()
        self._checked_pages = 0
        self._known = (-1, Head(0, b"", 0))
        """The number of a transaction and the head after it: the head as long as a reader gets the
        same number, and a writer the next. One tuple, so that threads see both or neither."""
        self.durable = durable
        self._env = self._new_env()
        try:
            with Refusals(f"opening {path}"):
                self._page_size_bytes = self._env.stat()["psize"]
                self._check_size()
                self._env.reader_check()
        except BaseException:
            self._env.close()
            raise

    def _new_env(self) -> lmdb.Environment:
        doing = f"opening {self._path}"
        try:
            return lmdb.open(
                str(self._path), map_size=self._map_size_bytes, max_dbs=2,
                max_readers=READERS_MAX, mode=0o600, sync=self._sync, metasync=self._sync,
                readonly=self.read_only, lock=not self.read_only, create=not self.read_only,
            )  # fmt: skip
        except lmdb.Error as error:
            if error.code in _NOT_ALLOWED:
                cure = CURE_READ_ONLY if error.code == errno.EROFS else CURE_NOT_OURS
                raise HomeUnsupported(doing, problem=error.reason, cure=cure) from error
            if error.code in DISK_REFUSED | _NO_MEANS:
                raise SystemRefused(doing, problem=str(error)) from error
            raise Corrupt(doing, problem=str(error)) from error

    def _reopen(self) -> None:
        """Alone in the gate, and tried again by the next transaction if it fails."""
        if self._closed:
            raise Closed("using the log")
        self._shut = True
        self._known = (-1, Head(0, b"", 0))
        self._env.close()
        with Refusals(f"opening {self._path}"):
            check_size(self._path, 1)
        self._env = self._new_env()
        try:
            with Refusals(f"opening {self._path}"):
                self._check_size()
                self._blocks = self._env.open_db(BLOCKS_DB, create=False)
                self._meta = self._env.open_db(META_DB, create=False)
        except BaseException:
            self._env.close()
            raise
        self._shut = False

    def _check_size(self) -> None:
        check_size(self._path, (self._env.info()["last_pgno"] + 1) * self._page_size_bytes)

    @classmethod
    def create(
        cls, path: Path, genesis: Genesis, *, first: int = 0, map_size_bytes: int = MAP_SIZE_BYTES
    ) -> LmdbStore:
        """A new store in the directory `path`, made for it, with its genesis record durable.

        first: the offset that its first event gets.
        """
        path.mkdir(mode=0o700)
        store = cls(
            path, sync=True, durable=True, reserve_size_bytes=RESERVE_SIZE_BYTES,
            map_size_bytes=map_size_bytes,
        )  # fmt: skip
        try:
            with Refusals("making the log"):
                blocks, meta = store._env.open_db(BLOCKS_DB), store._env.open_db(META_DB)
                with store._env.begin(write=True) as txn:
                    txn.put(GENESIS_KEY, genesis.encode(), db=meta)
                    if first:
                        seed = chain_hash(b"", genesis.encode())
                        put_base(txn, meta, Head(first, seed, 0))
        except BaseException:
            store._env.close()
            raise
        store._attach(blocks, meta, genesis)
        return store

    @classmethod
    def open(
        cls, path: Path, *, sync: bool = True, exacting: bool = True, durable: bool = True,
        reserve_size_bytes: int = RESERVE_SIZE_BYTES, map_size_bytes: int = MAP_SIZE_BYTES,
    ) -> LmdbStore:  # fmt: skip
        """The one handle of this process for `path`; each `open` needs its own `close`.

        sync: wait for the disk at each commit. exacting: False for who only reads, and so takes
        a handle that is there as it is, or one to read only where nobody may write.
        durable: what commits may say of themselves.
        Raises Corrupt or FormatTooNew when it is not a log that we can read, HomeUnsupported when
        we may not, InvalidInput when it is already open with another `sync`.
        """
        path = path.resolve()
        with _open_stores_lock:
            store = _open_stores.get(path)
            if store is not None:
                store._check_process()
            if store is None:
                make = partial(
                    cls, path, sync=sync, durable=durable, reserve_size_bytes=reserve_size_bytes,
                    map_size_bytes=map_size_bytes,
                )  # fmt: skip
                with Refusals(f"opening {path}"):
                    check_size(path, 1)
                try:
                    store = make()
                except HomeUnsupported as refusal:
                    if exacting or not nobody_writes(path, refusal):
                        raise
                    store = make(read_only=True)
                store._load()
                _open_stores[path] = store
            elif exacting and store.read_only:
                raise HomeUnsupported(
                    f"opening {path}", problem="it may only be read", cure=CURE_READ_ONLY
                )
            elif exacting and store._sync != sync:
                held = "fsync" if store._sync else "relaxed"
                raise InvalidInput(
                    f"opening {path}", problem="this process has it open with another durability",
                    cure=f'close it there first, or open it with durability="{held}" here too',
                )  # fmt: skip
            store._users += 1
        return store

    def _load(self) -> None:
        try:
            blocks = self._env.open_db(BLOCKS_DB, create=False)
            meta = self._env.open_db(META_DB, create=False)
            stored = self._stored_genesis(meta)
            if stored is None:
                raise HomeUnsupported(
                    f"opening {self._path}", problem="it has no genesis record",
                    cure="restore it from a backup",
                )  # fmt: skip
            genesis = decode_genesis(stored, self._path)
        except lmdb.Error as error:
            self._env.close()
            raise unreadable(f"opening {self._path}", error) from error
        except BaseException:
            self._env.close()
            raise
        self._attach(blocks, meta, genesis)

    def _stored_genesis(self, meta: lmdb._Database) -> bytes | None:
        with self._inside, self._begin(db=meta) as txn:
            stored = txn.get(GENESIS_KEY)
            return None if stored is None else bytes(stored)

    def _attach(self, blocks: lmdb._Database, meta: lmdb._Database, genesis: Genesis) -> None:
        self._blocks, self._meta = blocks, meta
        self.genesis = genesis
        self._seed = chain_hash(b"", genesis.encode())

    def head(self) -> Head:
        """Cost: 2 µs, one short read transaction; as much again after a commit of others."""
        with self._reading() as txn:
            last, head = self._known
            number = txn.id()
            if last != number:
                head = self._head_from(txn)
                self._known = number, head
        return head

    def base(self) -> Head:
        """Cost: 2 µs, one short read transaction."""
        with self._reading() as txn:
            return base_from(txn, self._meta, self._seed)

    def _head_from(self, txn: lmdb.Transaction[memoryview[int]]) -> Head:
        cursor = txn.cursor()
        if not cursor.last():
            return base_from(txn, self._meta, self._seed)
        with memoryview(cursor.value()) as value:
            if len(value) < BLOCK_HEADER.size:
                raise Corrupt("reading the head", block=first_of(cursor), size_bytes=len(value))
            chain, _, _, first, recorded, count, _ = BLOCK_HEADER.unpack_from(value)
        return Head(first + count, chain, recorded)

    def append(self, block: bytes, expected_head: int) -> None:
        self.append_all((block,), expected_head)

    def append_all(self, blocks: Sequence[bytes], expected_head: int) -> None:
        """One LMDB transaction begun, checked and committed on this thread. Cost: a flush."""
        self._check_process()
        try:
            with Refusals("appending a block"):
                self._check_space(sum(map(len, blocks)))
                self._put_with_room(blocks, expected_head)
        except LogFull as error:
            # A flush that failed may leave the new meta page in force all the same.
            if self.block_at(expected_head) != blocks[0]:
                raise
            raise SystemRefused(
                "appending a block", problem="it is in the log, but the disk refused to flush it",
                cure="read the head again before you append", offset=expected_head,
            ) from error  # fmt: skip

    def _put_with_room(self, blocks: Sequence[bytes], expected_head: int) -> None:
        grown = False
        while True:
            try:
                with self._inside:
                    self._put(blocks, expected_head)
                return
            except lmdb.MapFullError as error:
                if grown:
                    raise LogFull(
                        "appending a block", problem="the memory map cannot grow further"
                    ) from error
                self._grow()
                grown = True

    def _put(self, blocks: Sequence[bytes], expected_head: int) -> None:
        with self._begin(write=True) as txn:
            last, head = self._known
            number = txn.id()
            if last != number - 1:
                head = self._head_from(txn)
            if head.offset != expected_head:
                raise HeadMoved("appending a block", expected=expected_head, head=head.offset)
            at = expected_head
            for block in blocks:
                if not txn.put(BLOCK_KEY.pack(at), block, append=True):
                    raise Corrupt(
                        "appending a block", head=head.offset,
                        problem="the last block's header is not what its key says",
                    )  # fmt: skip
                at += count_of(block)
        chain, _, _, _, recorded, _, _ = BLOCK_HEADER.unpack_from(blocks[-1])
        self._known = number, Head(at, chain, recorded)

    def trim(self, size_bytes_max: int, before_time: int) -> int:
        """Forgets the oldest blocks that were recorded before `before_time` (ns), and more while
        the rest takes over `size_bytes_max`; the newest block stays. Returns how many went.

        Its pages are used again, so the file stays as large as it is. Only for the holder of the
        writer lock. Cost: a commit for each 256 blocks. Raises LogFull, SystemRefused.
        """
        gone, pages_max = 0, size_bytes_max // self._page_size_bytes
        while True:
            with Refusals("forgetting the oldest events"), self._inside:
                with self._begin(write=True) as txn:
                    forgotten = forget(txn, self._blocks, self._meta, pages_max, before_time)
            gone += forgotten
            if forgotten < FORGOTTEN_BLOCKS_MAX:
                return gone

    def flush(self) -> None:
        """Waits until all that was committed is on the disk."""
        with Refusals("flushing"), self._inside:
            self._env.sync(True)

    def _check_space(self, size_bytes: int) -> None:
        state = os.statvfs(self._name)
        free_bytes = state.f_bavail * state.f_frsize
        if free_bytes < self._reserve_size_bytes + size_bytes:
            raise LogFull(
                "appending a block", free_bytes=free_bytes, needed_bytes=size_bytes,
                reserve_bytes=self._reserve_size_bytes,
            )  # fmt: skip
        with self._inside:
            info = self._env.info()
            pages = info["last_pgno"] + 1
            if pages - self._checked_pages >= READER_CHECK_PAGES:
                self._checked_pages = pages
                self._env.reader_check()
        if pages * self._page_size_bytes > MAP_FULL_RATIO * info["map_size"]:
            self._grow()

    def _grow(self) -> None:
        def double() -> None:
            self._env.reader_check()
            self._env.set_mapsize(self._env.info()["map_size"] * 2)

        with self._inside:
            self._alone(double)

    def block_at(self, offset: int) -> bytes | None:
        with self._reading() as txn:
            cursor = txn.cursor()
            if not self._seek(cursor, offset):
                return None
            value = bytes(cursor.value())
        if len(value) < BLOCK_HEADER.size:
            raise Corrupt("reading the log", offset=offset, size_bytes=len(value))
        _, _, _, first, _, count, _ = BLOCK_HEADER.unpack_from(value)
        return value if first <= offset < first + count else None

    def frame_at(self, offset: int) -> bytes | None:
        with self._reading() as txn:
            cursor = txn.cursor()
            if not self._seek(cursor, offset):
                return None
            with memoryview(cursor.value()) as value:
                first, count = first_of(cursor), count_of(value)
                return frame_in(value, offset) if offset < first + count else None

    def blocks(self, start: int, events_max: int) -> list[bytes]:
        return self._copied(start, events_max, bytes)

    def heads(self, start: int, events_max: int) -> list[bytes]:
        return self._copied(start, events_max, head_of)

    def frames(self, first: int, bounds: Sequence[tuple[int, int]]) -> bytes:
        with self._reading() as txn:
            value = txn.get(BLOCK_KEY.pack(first))
            return b"" if value is None else b"".join([value[start:end] for start, end in bounds])

    def _copied(
        self, start: int, events_max: int, part: Callable[[memoryview[int]], bytes]
    ) -> list[bytes]:
        found: list[bytes] = []
        with self._reading() as txn:
            cursor = txn.cursor()
            # Where nothing is at or before it, the log is empty or damage took its beginning.
            if not self._seek(cursor, start) and not (0 <= start <= _KEY_MAX and cursor.first()):
                return found
            if ends_by(cursor, start) and not cursor.next():
                return found  # at the head: the last block is not copied for nothing
            events = 0
            for value in cursor.iternext(keys=False):
                found.append(part(value))
                events += (count := count_of(value))
                if events >= events_max or not count:
                    break
        return found

    def chain_before(self, first: int) -> bytes:
        with self._reading() as txn:
            cursor = txn.cursor()
            if self._seek(cursor, first - 1):
                return bytes(cursor.value()[:CHAIN_SIZE_BYTES])
            return base_from(txn, self._meta, self._seed).chain

    def misplaced(self, firsts: Sequence[int]) -> int | None:
        """The first of these offsets of blocks that follow each other which does not lead to its
        block. Cost: 0.4 µs each, and a read transaction."""
        with self._reading() as txn:
            return misplaced(txn, firsts)

    @staticmethod
    def _seek(cursor: lmdb.Cursor, offset: int) -> bool:
        """To the last block whose first offset is at most `offset`; False if there is none."""
        if not 0 <= offset <= _KEY_MAX:
            return False
        key = BLOCK_KEY.pack(offset)
        if cursor.set_range(key):
            return cursor.key() == key or cursor.prev()
        return cursor.last()

    def _reading(self) -> _Reading:
        """A short read transaction; nothing of it may be used after it."""
        return _Reading(self)

    def _enter(self) -> None:
        """Into the gate; LMDB is open in there. Raises Closed, or why it cannot be opened again."""
        self._check_process()
        self._gate.enter()
        try:
            if self._shut:
                self._gate.promote(self._reopen)
        except BaseException:
            self._gate.leave()
            raise

    def _alone(self, action: Callable[[], None]) -> None:
        """From inside the gate, before a transaction: others may close LMDB until we are alone."""

        def act() -> None:
            if self._shut:
                self._reopen()
            action()

        self._gate.promote(act)

    def _free_dead_readers(self) -> None:
        """Now and then."""
        now = time.monotonic()
        if now - self._checked_at > READER_CHECK_S:
            self._checked_at = now
            self._env.reader_check()

    def _begin(
        self, *, write: bool = False, db: lmdb._Database | None = None
    ) -> lmdb.Transaction[memoryview[int]]:
        """From inside the gate. A second try, once what LMDB complained of is mended."""
        try:
            return self._env.begin(db=db or self._blocks, buffers=True, write=write)
        except lmdb.ReadersFullError:
            self._env.reader_check()
        except lmdb.MapResizedError:
            self._alone(lambda: self._env.set_mapsize(0))
        except lmdb.PanicError:
            self._alone(self._reopen)
        try:  # the handle of the blocks is another one when LMDB was opened again
            return self._env.begin(db=db or self._blocks, buffers=True, write=write)
        except lmdb.ReadersFullError as error:
            raise TooManyReaders("reading the log", max_readers=READERS_MAX) from error

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcess("using the log", opened_by_pid=self._pid)

    def statistics(self) -> StoreStatistics:
        with self._reading() as txn:
            entries = txn.stat(self._blocks)["entries"]
            info = self._env.info()
        with Refusals("looking at the log"):
            size_bytes = os.stat(self._path / "data.mdb").st_blocks * 512
        return StoreStatistics(entries, size_bytes, info["map_size"], info["num_readers"])

    def close(self) -> None:
        """Gives the handle back; the last user closes it. In a forked child nothing is touched."""
        if os.getpid() != self._pid:
            return
        with _open_stores_lock:
            self._users -= 1
            if self._users > 0 or self._closed:
                return
            # Under the lock to the end: LMDB refuses to open what this process has open still.
            with self._gate.alone():
                self._closed = self._shut = True
                self._env.close()
            if _open_stores.get(self._path) is self:
                del _open_stores[self._path]


_open_stores: Final[dict[Path, LmdbStore]] = {}
_open_stores_lock: Final = threading.Lock()


def is_open_here(path: Path) -> bool:
    """Whether this process has a handle of it."""
    return path.resolve() in _open_stores


class _Inside:
    """Within it the gate is entered and LMDB is open. One for each store: it keeps nothing."""

    __slots__ = ("_store",)

    def __init__(self, store: LmdbStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store._enter()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._store._gate.leave()


class _Reading:
    """A plain class, because a generator would cost as much as the transaction."""

    __slots__ = ("_store", "_txn")

    def __init__(self, store: LmdbStore) -> None:
        self._store = store

    def __enter__(self) -> lmdb.Transaction[memoryview[int]]:
        store = self._store
        store._enter()
        try:
            store._free_dead_readers()
            self._txn = store._begin()
        except BaseException as error:
            store._gate.leave()
            if isinstance(error, lmdb.Error):
                raise unreadable("reading the log", error) from error
            raise
        return self._txn

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._txn.abort()
        finally:
            self._store._gate.leave()
        if isinstance(error, lmdb.Error):
            raise unreadable("reading the log", error) from error
