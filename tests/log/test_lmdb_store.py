from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from alphapulse.log import lmdb_store
from alphapulse.log.block import Block
from alphapulse.log.errors import (
    Closed,
    Corrupt,
    HomeUnsupported,
    InvalidInput,
    LogFull,
    SystemRefused,
    TooManyReaders,
)
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.log.store import BlockStore

from .logs import GENESIS, finish, python, says
from .store_contract import StoreContract, block_after, grow

pytestmark = pytest.mark.usefixtures("forked_interpreters")

SMALL = 1 << 20


class TestContract(StoreContract):
    def make(self, place: Path) -> BlockStore:
        LmdbStore.create(place, GENESIS).close()
        return self.reopen(place)

    def reopen(self, place: Path) -> BlockStore:
        return LmdbStore.open(place, reserve_size_bytes=0)


def new_store(place: Path, *, map_size_bytes: int = SMALL, reserve: int = 0) -> LmdbStore:
    LmdbStore.create(place, GENESIS, map_size_bytes=map_size_bytes).close()
    return LmdbStore.open(place, reserve_size_bytes=reserve, map_size_bytes=map_size_bytes)


def map_size(store: LmdbStore) -> int:
    return store.statistics().map_size_bytes


def test_keys_and_names_are_those_of_the_format(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    blocks = grow(store, [300, 2])
    store.close()
    with lmdb.open(str(tmp_path / "log"), max_dbs=2) as env:
        names = [env.open_db(name, create=False) for name in (b"blocks", b"meta")]
        with env.begin() as txn:
            assert [name for name, _ in txn.cursor()] == [b"blocks", b"meta"]
            assert list(txn.cursor(names[0])) == [
                (bytes(8), blocks[0].data), ((300).to_bytes(8, "big"), blocks[1].data),
            ]  # fmt: skip
            assert list(txn.cursor(names[1])) == [(b"genesis", GENESIS.encode())]


def test_the_map_grows_before_it_is_full(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    grow(store, [200] * 60)
    assert map_size(store) > SMALL
    assert store.head().offset == 12_000
    assert sum(Block(data).count for data in store.blocks(0, 20_000)) == 12_000
    store.close()


def test_a_full_map_grows_and_the_append_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the early growth, LMDB itself says MapFull."""
    monkeypatch.setattr(lmdb_store, "MAP_FULL_RATIO", 1e9)
    store = new_store(tmp_path / "log")
    grow(store, [200] * 60)
    assert map_size(store) > SMALL and store.head().offset == 12_000
    store.close()


def test_a_map_that_one_growth_does_not_help_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_store, "MAP_FULL_RATIO", 1e9)
    store = new_store(tmp_path / "log", map_size_bytes=96 << 10)
    block = block_after(store, 1000)
    with monkeypatch.context() as broken:
        broken.setattr(LmdbStore, "_grow", lambda self: None)
        with pytest.raises(LogFull, match="cannot grow"):
            store.append(block.data, 0)
    assert store.head().offset == 0
    store.append(block.data, 0)
    assert store.head().offset == 1000
    store.close()


def test_growth_waits_for_readers_of_this_process(tmp_path: Path) -> None:
    """`set_mapsize` with a transaction open would end the process."""
    store = new_store(tmp_path / "log", map_size_bytes=128 << 10)
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.wait(0.0005):
            try:
                for data in store.blocks(0, 3000):
                    Block(data).event(0)
            except Exception as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        grow(store, [100] * 80)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not failures
    assert map_size(store) >= 1 << 20
    store.close()


GROWER = """
    import sys
    from pathlib import Path
    from alphapulse.log.lmdb_store import LmdbStore
    store = LmdbStore.open(Path(sys.argv[1]), reserve_size_bytes=0, map_size_bytes=int(sys.argv[2]))
    for path in sys.stdin:
        data = Path(path.strip()).read_bytes()
        store.append(data, store.head().offset)
        print(store.head().offset, flush=True)
"""


def test_a_map_that_another_process_resized_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First by a read, then by an append: each `begin` may be the one that learns of it."""
    monkeypatch.setattr(lmdb_store, "MAP_FULL_RATIO", 1e9)  # else this process grows it itself
    LmdbStore.create(tmp_path / "source", GENESIS).close()
    source = LmdbStore.open(tmp_path / "source", reserve_size_bytes=0)
    blocks = grow(source, [1000] * 12)
    source.close()
    store = new_store(tmp_path / "log", map_size_bytes=512 << 10)
    child = python(GROWER, tmp_path / "log", 512 << 10)
    assert child.stdin is not None

    def append_there(block: Block) -> None:
        assert child.stdin is not None
        path = tmp_path / f"block{block.first}"
        path.write_bytes(block.data)
        print(path, file=child.stdin, flush=True)
        assert says(child) == str(block.stop)

    for block in blocks[:6]:
        append_there(block)
    assert store.head().offset == 6000
    assert store.block_at(5999) == blocks[5].data
    before = map_size(store)
    for block in blocks[6:11]:
        append_there(block)
    store.append(blocks[11].data, 11_000)
    assert map_size(store) > before > 512 << 10
    assert store.blocks(0, 20_000) == [block.data for block in blocks]
    finish(child)
    store.close()


HOLDER = """
    import lmdb, sys, time
    env = lmdb.open(sys.argv[1], max_dbs=2, max_readers=int(sys.argv[2]), lock=True)
    held = [env.begin() for _ in range(int(sys.argv[3]))]
    print("holding", flush=True)
    time.sleep(600)
"""


def test_slots_of_killed_readers_are_freed_when_they_run_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_store, "READERS_MAX", 4)
    LmdbStore.create(tmp_path / "log", GENESIS).close()
    store = LmdbStore.open(tmp_path / "log", reserve_size_bytes=0)
    child = python(HOLDER, tmp_path / "log", 4, 4)
    try:
        assert says(child) == "holding"
        with pytest.raises(TooManyReaders):
            store.head()
    finally:
        child.kill()
        child.communicate()
    assert store.head().offset == 0
    grow(store, [3])
    assert store.head().offset == 3
    store.close()


def test_slots_of_killed_readers_are_freed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LmdbStore.create(tmp_path / "log", GENESIS).close()
    store = LmdbStore.open(tmp_path / "log", reserve_size_bytes=0)
    child = python(HOLDER, tmp_path / "log", lmdb_store.READERS_MAX, 7)
    assert says(child) == "holding"
    child.kill()
    child.communicate()
    assert store._env.readers().count(str(child.pid)) == 7
    monkeypatch.setattr(lmdb_store, "READER_CHECK_S", 0)
    store.head()
    assert str(child.pid) not in store._env.readers()
    store.close()


def test_appends_are_refused_below_the_reserve_and_go_on_above_it(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    blocks = grow(store, [2])
    block = block_after(store, 1)
    state = os.statvfs(tmp_path)
    free_bytes = state.f_bavail * state.f_frsize
    store._reserve_size_bytes = free_bytes * 2
    with pytest.raises(LogFull) as caught:
        store.append(block.data, 2)
    assert caught.value.facts["reserve_bytes"] == free_bytes * 2
    assert store.head().offset == 2 and store.block_at(1) == blocks[0].data
    store._reserve_size_bytes = 0
    store.append(block.data, 2)
    assert store.head().offset == 3
    store.close()


LIMITED = """
    import resource, sys
    from pathlib import Path
    from alphapulse.log.errors import LogFull
    from alphapulse.log.lmdb_store import LmdbStore
    home, blocks = Path(sys.argv[1]), [Path(p).read_bytes() for p in sys.argv[2:]]
    store = LmdbStore.open(home, reserve_size_bytes=0)
    size = (home / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40_000, resource.RLIM_INFINITY))
    written = 0
    try:
        for block in blocks:
            store.append(block, store.head().offset)
            written += 1
    except LogFull as error:
        assert len(store.blocks(0, 99_999)) == written, "reading goes on"
        print(written, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for block in blocks[written:]:
        store.append(block, store.head().offset)
    print(store.head().offset)
"""


def saved_blocks(tmp_path: Path, sizes: list[int]) -> list[Path]:
    LmdbStore.create(tmp_path / "source", GENESIS).close()
    source = LmdbStore.open(tmp_path / "source", reserve_size_bytes=0)
    paths = []
    for block in grow(source, sizes):
        paths.append(tmp_path / f"block{block.first}")
        paths[-1].write_bytes(block.data)
    source.close()
    return paths


def test_a_file_that_may_not_grow_is_a_full_log(tmp_path: Path) -> None:
    """The kernel refuses writes past a limit, as it does on a full disk; then the limit goes."""
    paths = saved_blocks(tmp_path, [100] * 30)
    new_store(tmp_path / "log").close()
    full, head = finish(python(LIMITED, tmp_path / "log", *paths)).splitlines()
    written = int(full.split()[0])
    assert 0 < written < 30 and "the disk refused" in full
    assert head == "3000"
    store = LmdbStore.open(tmp_path / "log")
    assert store.blocks(0, 5000) == [path.read_bytes() for path in paths]
    store.close()


FILLED = """
    import os, sys
    from pathlib import Path
    from alphapulse.log.errors import LogFull
    from alphapulse.log.lmdb_store import LmdbStore
    from alphapulse.log.home import Genesis
    disk, blocks = Path(sys.argv[1]), [Path(p).read_bytes() for p in sys.argv[2:]]
    ballast = disk / "ballast"
    genesis = Genesis(1, bytes(range(16)), 64, int(os.environ["TIME"]))
    LmdbStore.create(disk / "log", genesis).close()
    store = LmdbStore.open(disk / "log", reserve_size_bytes=0)
    with open(ballast, "wb") as file:
        file.write(bytes(700_000))
    written = 0
    try:
        for block in blocks:
            store.append(block, store.head().offset)
            written += 1
    except LogFull as error:
        assert len(store.blocks(0, 99_999)) == written, "reading goes on"
        print(written, error)
    ballast.unlink()
    for block in blocks[written:]:
        store.append(block, store.head().offset)
    print(store.head().offset)
"""


def test_a_full_disk_is_a_full_log(tmp_path: Path) -> None:
    """A real one of 1 MiB, in a mount namespace that ends with the child."""
    paths = saved_blocks(tmp_path, [100] * 30)
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"'
    disk = str(tmp_path / "disk")
    enter = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", disk]
    try:
        probe = subprocess.run([*enter, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here to mount a small disk with")
    if probe.returncode:
        pytest.skip(f"no mounts here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*enter, sys.executable, "-c", textwrap.dedent(FILLED), disk, *map(str, paths)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"TIME": str(GENESIS.created)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    full, head = done.stdout.splitlines()
    assert 0 < int(full.split()[0]) < 30
    assert head == "3000"


def test_one_handle_for_a_place_in_a_process(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    again = LmdbStore.open(tmp_path / "log")
    (tmp_path / "link").symlink_to(tmp_path / "log")
    linked = LmdbStore.open(tmp_path / "link")
    assert store is again is linked
    with pytest.raises(InvalidInput, match=r'another durability.*durability="fsync" here too'):
        LmdbStore.open(tmp_path / "log", sync=False)
    again.close()
    linked.close()
    grow(store, [1])
    store.close()
    relaxed = LmdbStore.open(tmp_path / "log", sync=False, durable=False)
    assert not relaxed.durable and relaxed.head().offset == 1
    relaxed.close()


def test_opening_and_closing_at_once_finds_no_damage(tmp_path: Path) -> None:
    """LMDB refuses to open what this process has not closed yet."""
    new_store(tmp_path / "log").close()
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(200):
                store = LmdbStore.open(tmp_path / "log")
                assert store.head().offset == 0
                store.close()
        except Exception as error:
            failures.append(error)

    with switching_often():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_whoever_reads_while_it_is_closed_is_told_so(tmp_path: Path) -> None:
    new_store(tmp_path / "log").close()
    told: list[Exception] = []

    def read(store: LmdbStore, begun: threading.Event) -> None:
        try:
            while True:
                store.head()
                begun.set()
        except Exception as error:
            told.append(error)

    with switching_often():
        for _ in range(100):
            store, begun = LmdbStore.open(tmp_path / "log"), threading.Event()
            readers = [threading.Thread(target=read, args=(store, begun)) for _ in range(2)]
            for reader in readers:
                reader.start()
            begun.wait()
            store.close()
            for reader in readers:
                reader.join()
    assert len(told) == 200 and {type(error) for error in told} == {Closed}


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads take turns a thousand times as often, so that they meet where they seldom do."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)


FORKING = """
    import gc, os, sys
    from pathlib import Path
    from alphapulse.log.errors import ForkedProcess
    from alphapulse.log.lmdb_store import LmdbStore
    path = Path(sys.argv[1])
    store = LmdbStore.open(path)
    pid = os.fork()
    if pid == 0:
        refused = 0
        for use in (store.head, lambda: store.append(b"", 0), lambda: store.blocks(0, 1),
                    lambda: LmdbStore.open(path)):
            try:
                use()
            except ForkedProcess as error:
                assert str(os.getppid()) in str(error)
                refused += 1
        store.close()
        del store
        gc.collect()
        sys.exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    assert store.head().offset == 0
    store.close()
    pid = os.fork()
    if pid == 0:
        os._exit(LmdbStore.open(path).head().offset)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    print("fine")
"""


def test_a_forked_child_is_refused_and_leaves_the_parent_well(tmp_path: Path) -> None:
    new_store(tmp_path / "log").close()
    assert finish(python(FORKING, tmp_path / "log")) == "fine\n"


def test_a_head_that_contradicts_its_key_is_refused_and_not_written_over(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    blocks = grow(store, [2, 2])
    store.close()
    damaged = bytearray(blocks[1].data)
    damaged[40] = 0  # its first offset, so that it seems to end at 2
    with lmdb.open(str(tmp_path / "log"), max_dbs=2) as env:
        db = env.open_db(b"blocks")
        with env.begin(write=True, db=db) as txn:
            txn.put((2).to_bytes(8, "big"), bytes(damaged))
    store = LmdbStore.open(tmp_path / "log", reserve_size_bytes=0)
    with pytest.raises(Corrupt):
        store.append(blocks[1].data, store.head().offset)
    store.close()


def test_a_value_too_short_to_be_a_block_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log")
    grow(store, [1])
    with store._env.begin(write=True, db=store._blocks) as txn:
        txn.put((1).to_bytes(8, "big"), b"short")
    with pytest.raises(Corrupt):
        store.head()
    assert store.blocks(0, 9)[1] == b"short"
    store.close()


def test_who_may_not_read_it_is_told_so(tmp_path: Path) -> None:
    new_store(tmp_path / "log").close()
    (tmp_path / "log" / "data.mdb").chmod(0o000)
    if os.access(tmp_path / "log" / "data.mdb", os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(HomeUnsupported, match="as its owner"):
        LmdbStore.open(tmp_path / "log")


def test_a_killed_writer_leaves_the_last_commit(tmp_path: Path) -> None:
    paths = saved_blocks(tmp_path, [5] * 40)
    new_store(tmp_path / "log").close()
    child = python(GROWER, tmp_path / "log", SMALL)
    assert child.stdin is not None
    for path in paths[:20]:
        print(path, file=child.stdin, flush=True)
        head = int(says(child))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    store = LmdbStore.open(tmp_path / "log")
    assert store.head().offset == head == 100
    store.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path, is_there: bool) -> None:
    place = tmp_path / "log"
    new_store(place).close()
    file = place / "data.mdb"
    file.unlink()
    if is_there:
        file.touch()
    for exacting in (True, False):
        with pytest.raises(Corrupt, match="gone or empty"):
            LmdbStore.open(place, exacting=exacting)
    assert file.exists() is is_there and (not is_there or file.stat().st_size == 0)


def test_a_file_that_is_gone_is_not_made_anew_by_who_opens_again(tmp_path: Path) -> None:
    store, file = new_store(tmp_path / "log"), tmp_path / "log" / "data.mdb"
    file.unlink()
    with store._inside, pytest.raises(Corrupt, match="gone or empty"):
        store._alone(store._reopen)
    assert not file.exists()
    with pytest.raises(Corrupt, match="gone or empty"):
        store.head()
    assert not file.exists()
    store.close()


def test_a_path_that_the_system_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    place = tmp_path / "log"
    new_store(place).close()
    (place / "data.mdb").unlink()
    (place / "data.mdb").symlink_to("data.mdb")
    with pytest.raises(SystemRefused, match="symbolic links"):
        LmdbStore.open(place)
