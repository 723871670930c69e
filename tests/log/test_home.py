from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import lmdb
import msgspec
import pytest

from alphapulse.log.errors import (
    Corrupt,
    FormatTooNew,
    HomeExists,
    HomeMissing,
    HomeUnsupported,
    InvalidInput,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.home import FORMAT_VERSION, Home, decode_genesis, new_genesis, publish_log

from .logs import GENESIS, draft, fill, make_log

RAW = {"format": 1, "log_id": bytes(16), "id_bits": 64, "created": 5}


def test_the_genesis_record_is_kept() -> None:
    genesis = new_genesis(12)
    assert genesis.format == FORMAT_VERSION and genesis.id_bits == 12
    assert len(genesis.log_id) == 16 and genesis.log_id != new_genesis(12).log_id
    assert decode_genesis(genesis.encode(), Path()) == genesis


@pytest.mark.parametrize("extra", [{}, {"engine": "another", "id_bits": [1, 2]}])
def test_a_newer_home_is_refused_before_anything_else_is_looked_at(
    extra: dict[str, object],
) -> None:
    data = msgspec.msgpack.encode(RAW | {"format": FORMAT_VERSION + 1} | extra)
    with pytest.raises(FormatTooNew, match="upgrade alphapulse; nothing was changed"):
        decode_genesis(data, Path("home"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgspec.msgpack.encode(5), msgspec.msgpack.encode([1]), b"\x80",
     msgspec.msgpack.encode({"format": 1}), msgspec.msgpack.encode(RAW | {"format": "1"}),
     msgspec.msgpack.encode(RAW | {"log_id": 3}), msgspec.msgpack.encode({"format": None})],
)  # fmt: skip
def test_a_genesis_record_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(HomeUnsupported, match="genesis"):
        decode_genesis(data, Path("home"))


def put_genesis(home: Path, data: bytes | None) -> None:
    with lmdb.open(str(home / "log"), max_dbs=2) as env:
        meta = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.delete(b"genesis", db=meta)
            if data is not None:
                txn.put(b"genesis", data, db=meta)


def test_opening_a_home_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    make_log(tmp_path / "home", [2]).close()
    data = msgspec.msgpack.encode(RAW | {"format": FORMAT_VERSION + 1})
    put_genesis(tmp_path / "home", data)
    for _ in range(2):  # the refused open must leave nothing open
        with pytest.raises(FormatTooNew):
            EventLog.open(tmp_path / "home")
    put_genesis(tmp_path / "home", GENESIS.encode())
    with EventLog.open(tmp_path / "home") as log:
        assert log.head == 2


def test_a_home_without_a_genesis_record_is_refused(tmp_path: Path) -> None:
    make_log(tmp_path / "home").close()
    put_genesis(tmp_path / "home", None)
    with pytest.raises(HomeUnsupported, match=r"no genesis record \(restore it from a backup"):
        EventLog.open(tmp_path / "home")


def test_a_home_that_lost_its_log_says_so_and_not_to_make_one(tmp_path: Path) -> None:
    log = make_log(tmp_path / "home")
    log.close()
    shutil.rmtree(tmp_path / "home" / "log")
    with pytest.raises(HomeMissing, match="make one with `alphapulse init`"):
        EventLog.open(tmp_path / "home")  # nothing was ever in it: no checkpoints
    EventLog.create(tmp_path / "home")
    with EventLog.open(tmp_path / "home") as log:
        fill(log, [2])
    shutil.rmtree(tmp_path / "home" / "log")
    with pytest.raises(HomeMissing, match=r"its log is gone: .*`alphapulse restore BACKUP`"):
        EventLog.open(tmp_path / "home")
    with pytest.raises(HomeExists, match=r"its log is gone: .*`alphapulse restore BACKUP`"):
        EventLog.create(tmp_path / "home")
    (tmp_path / "home" / "checkpoints").rename(tmp_path / "home" / "other")
    with pytest.raises(HomeExists, match=r"holds other things \[found=other\]"):
        EventLog.create(tmp_path / "home")


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeMissing):
        EventLog.open(tmp_path / "home")
    (tmp_path / "empty" / "log").mkdir(parents=True)
    with pytest.raises(Corrupt):
        EventLog.open(tmp_path / "empty")
    (tmp_path / "odd" / "log").mkdir(parents=True)
    (tmp_path / "odd" / "log" / "data.mdb").write_bytes(b"not LMDB" * 2000)
    with pytest.raises(Corrupt):
        EventLog.open(tmp_path / "odd")


def test_a_home_is_private_and_laid_out_as_said(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with make_log(tmp_path / "a" / "home", [1]) as log:
            home = log.home
            log.checkpoint()
    finally:
        os.umask(old)
    directories = [home.path, home.log, home.views, home.cursors, home.quarantine, home.run]
    files = [home.checkpoints, home.writer_lock, home.log / "data.mdb", home.log / "lock.mdb"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert sorted(path.name for path in home.path.iterdir()) == [
        "checkpoints", "cursors", "log", "quarantine", "run", "views",
    ]  # fmt: skip


def test_a_home_is_made_once(tmp_path: Path) -> None:
    make_log(tmp_path / "home", [1]).close()
    with pytest.raises(HomeExists):
        EventLog.create(tmp_path / "home")
    with EventLog.open(tmp_path / "home") as log:
        assert log.head == 1


def test_who_is_second_to_publish_leaves_the_first_alone(tmp_path: Path) -> None:
    make_log(tmp_path / "home", [1]).close()
    building = tmp_path / "home" / "log.building"
    building.mkdir()
    (building / "data.mdb").write_bytes(b"second")
    with pytest.raises(HomeExists):
        publish_log(Home(tmp_path / "home"), building)
    assert not building.exists()
    with EventLog.open(tmp_path / "home") as log:
        assert log.head == 1


def test_a_file_system_that_refuses_is_not_taken_for_another_maker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", refuse)
        with pytest.raises(HomeUnsupported, match="Input/output error"):
            EventLog.create(tmp_path / "home")
    assert not list((tmp_path / "home").glob("log*"))
    make_log(tmp_path / "home", [1]).close()


def test_what_dead_makers_left_is_swept(tmp_path: Path) -> None:
    home, gone = tmp_path / "home", 1 << 30  # above any pid
    left = [home / f"log.building-{pid}-00" for pid in (gone, os.getpid(), gone + 1)]
    for path in left:
        path.mkdir(parents=True)
        (path / "data.mdb").write_bytes(b"half")
    for path in left[:2]:
        os.utime(path, (5, 5))
    make_log(home, [1]).close()
    assert [path.exists() for path in left] == [False, True, True], "dead and old, or not ours"


def test_a_half_made_home_is_none(tmp_path: Path) -> None:
    """A crash before the rename leaves a building directory, and the next try succeeds."""
    home = tmp_path / "home"
    (home / f"log.building-{os.getpid()}").mkdir(parents=True)
    assert not Home(home).exists()
    make_log(home, [1]).close()


@pytest.mark.parametrize("id_bits", [7, 65, 0, -1])
def test_id_bits_have_limits(tmp_path: Path, id_bits: int) -> None:
    with pytest.raises(InvalidInput):
        EventLog.create(tmp_path / "home", id_bits=id_bits)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_network_file_systems_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make_log(tmp_path / "local").close()
    monkeypatch.setattr(Home, "file_system", lambda self: kind)
    with pytest.raises(HomeUnsupported, match=f"{kind} is a network file system"):
        EventLog.create(tmp_path / "home")
    assert not (tmp_path / "home").exists()
    with pytest.raises(HomeUnsupported, match="network"):
        EventLog.open(tmp_path / "local")


def test_on_a_memory_disk_no_commit_says_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(tmp_path / "home").close()
    monkeypatch.setattr(Home, "file_system", lambda self: "tmpfs")
    with EventLog.open(tmp_path / "home") as log:
        assert not log.statistics().durable
        with log.writing() as session:
            session.append(draft(1))
            commit = session.commit()
        assert commit is not None and not commit.durable


def test_the_file_system_is_found_in_the_real_tables(tmp_path: Path) -> None:
    types = {line.split()[1] for line in Path("/proc/filesystems").read_text().splitlines()
             if len(line.split()) == 2}  # fmt: skip
    types |= {line.strip() for line in Path("/proc/filesystems").read_text().splitlines()}
    found = Home(tmp_path / "not" / "yet" / "made").file_system()
    assert found == Home(tmp_path).file_system()
    assert found in types | {"unknown"}
    assert Home("/proc/self").file_system() == "proc"
    assert not (tmp_path / "not").exists()


def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnsupported, match="making the home"):
        EventLog.create(tmp_path / "file" / "home")


def test_making_a_home_object_touches_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "x" / ".." / "home")
    assert home.path == tmp_path / "home"
    with pytest.raises(HomeMissing):
        home.require()
    assert list(tmp_path.iterdir()) == []


def test_a_home_through_a_symlink_is_the_same_home(tmp_path: Path) -> None:
    with make_log(tmp_path / "home", [1]) as log:
        (tmp_path / "link").symlink_to(tmp_path / "home")
        with EventLog.open(tmp_path / "link") as other:
            fill(log, [1])
            assert other.head == log.head == 2
