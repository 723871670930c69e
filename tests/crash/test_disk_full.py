"""No space left: for the log, for a view, for a small file. Typed errors, and readers go on.

A tmpfs of a few megabytes where we may mount one; everywhere a limit on the size of files.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import lmdb
import pytest

from alphapulse.log import AlphaPulseError, LogFull
from alphapulse.projections.errors import ViewFull
from alphapulse.registry import Registry, Token
from tests.places import mount

from .children import Child, Hear, Say, complaints, report
from .lists import tokens

DISK_SIZE_BYTES = 16 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_SIZE_BYTES},mode=700", "none", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


class Ballast:
    """A file that leaves just so much space."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def leave(self, size_bytes: int) -> None:
        with open(self._path, "ab") as file:
            state = os.statvfs(self._path.parent)
            at = file.tell()
            more = state.f_bavail * state.f_frsize - size_bytes
            if more > 0:
                os.posix_fallocate(file.fileno(), at, more)

    def drop(self) -> None:
        self._path.unlink()


def all_there(registry: Registry, instruments: list[Token]) -> bool:
    ids = [registry.resolve(token) for token in instruments]
    return all(id is not None and registry.get(id) is not None for id in ids)


def register_until_full(
    registry: Registry, instruments: list[Token], done: int
) -> tuple[int, LogFull]:
    """(how many are acknowledged, the refusal of the next ten)"""
    while True:
        try:
            registry.register_many(instruments[done : done + 10])
        except LogFull as error:
            return done, error
        done += 10
        assert done < len(instruments), "it was never full"


def test_the_reserve_is_kept(disk: Path) -> None:
    """Writes stop while there is still room to act."""
    instruments = tokens(40)
    with Registry.open(disk / "home", reserve_size_bytes=2 << 20) as registry:
        receipts = registry.register_many(instruments[:20])
        assert not any(receipt.durable for receipt in receipts), "memory is not stable storage"
        assert not registry.statistics().durable
        ballast = Ballast(disk)
        ballast.leave(1 << 20)
        with pytest.raises(LogFull) as caught:
            registry.register_many(instruments[20:])
        facts = caught.value.facts
        assert facts["reserve_bytes"] == 2 << 20 and facts["free_bytes"] == 1 << 20
        assert registry.log.head == 20 and all_there(registry, instruments[:20])
        ballast.drop()
        registry.register_many(instruments[20:])
        assert all_there(registry, instruments)
    assert complaints(disk / "home", forked=True) == []


@pytest.mark.parametrize("left_bytes", [0, 4096, 8192, 20_000, 60_000])
def test_the_log_appends_into_a_full_disk(disk: Path, left_bytes: int) -> None:
    """Without a reserve the disk itself says no, somewhere within a commit."""
    home, instruments = disk / "home", tokens(700)
    with (
        Registry.open(home, reserve_size_bytes=0) as registry,
        Registry.open(home, mode="r", reserve_size_bytes=0) as reader,
    ):
        registry.register_many(instruments[:20])
        ballast = Ballast(disk)
        ballast.leave(left_bytes)
        done, error = register_until_full(registry, instruments, 20)
        assert "disk" in str(error)
        assert registry.log.head == done
        for each in (registry, reader):
            assert all_there(each, instruments[:done])
            assert each.resolve(instruments[done]) is None
            assert len(list(each.read())) == done
        ballast.drop()
        registry.register_many(instruments[done:])
        assert all_there(reader, instruments)
    report("full disk", left_bytes=left_bytes, acknowledged=done, then=len(instruments) - done)
    assert complaints(home, forked=True) == []


def test_full_disk_control_writes_through_a_mapping(disk: Path) -> None:
    """The test above can fail: with LMDB's `writemap`, and nobody who looks at the space that is
    left, a full disk ends the process."""
    home, instruments = disk / "home", tokens(700)

    def work(say: Say, _: Hear) -> None:
        with (
            mock.patch("lmdb.open", partial(lmdb.open, writemap=True)),
            mock.patch("alphapulse.log.lmdb_store.LmdbStore._check_space"),
            Registry.open(home, reserve_size_bytes=0) as registry,
        ):
            registry.register_many(instruments[:20])
            Ballast(disk).leave(0)
            register_until_full(registry, instruments, 20)

    with Child(work) as child:
        assert child.wait() == -signal.SIGBUS
    report("full disk, control: writemap", ended_by="SIGBUS")


@pytest.mark.parametrize("left_bytes", [0, 40_960, 400_000, 720_000])
def test_a_view_grows_into_a_full_disk(disk: Path, left_bytes: int) -> None:
    """Refused before anything is committed: the log never holds what the views cannot."""
    home, instruments = disk / "home", tokens(400)
    with (
        mock.patch("alphapulse.projections.engine.ROWS_MIN", 16),
        mock.patch("alphapulse.projections.engine.GROWTH_FACTOR", 4),
        Registry.open(home, reserve_size_bytes=0) as registry,
        Registry.open(home, mode="r", reserve_size_bytes=0) as reader,
    ):
        registry.register_many(instruments[:100])
        generation = registry.views.table("instruments").generation
        # The log has its pages already, so that it is the view which finds no space.
        ballast = Ballast(disk)
        ballast.leave(left_bytes)
        with (
            mock.patch("alphapulse.log.lmdb_store.LmdbStore.append") as append,
            pytest.raises(ViewFull) as caught,
        ):
            registry.register_many(instruments[100:])
        append.assert_not_called()
        assert isinstance(caught.value, AlphaPulseError) and "free disk space" in str(caught.value)
        for each in (registry, reader):
            assert each.log.head == 100 and all_there(each, instruments[:100])
            # With the most space left this view still grows, and then it is another that cannot.
            if left_bytes < 720_000:
                assert each.views.table("instruments").generation == generation
        ballast.drop()
        registry.register_many(instruments[100:])
        assert registry.views.table("instruments").generation > generation
        assert all_there(reader, instruments)
    assert complaints(home, forked=True) == []


def test_every_amount_of_space_left(disk: Path, scale: float) -> None:
    """Few pages at a time: whatever finds the disk full, the error is typed, and what was
    acknowledged is there."""
    home, instruments, ballast = disk / "home", tokens(1_000), Ballast(disk)
    seen, done = set(), 0
    with mock.patch("alphapulse.projections.engine.ROWS_MIN", 16), mock.patch(
        "alphapulse.projections.engine.GROWTH_FACTOR", 1
    ), mock.patch("alphapulse.log.checkpoints.INTERVAL_S", 0.0):  # fmt: skip
        with Registry.open(home, reserve_size_bytes=0) as registry:
            registry.register(instruments[0])
        for left_pages in range(0, 120, max(1, round(16 / scale**2))):
            ballast.leave(left_pages * 4096)
            with contextlib.ExitStack() as stack:
                try:
                    registry = stack.enter_context(Registry.open(home, reserve_size_bytes=0))
                    while done < len(instruments):
                        registry.register_many(instruments[done : done + 7])
                        done += 7
                except (LogFull, ViewFull) as error:
                    seen.add(type(error))
                if done:
                    assert all_there(registry, instruments[:done])
            ballast.drop()
        with Registry.open(home, reserve_size_bytes=0) as registry:
            assert all_there(registry, instruments[:done])
            registry.register_many(instruments)
    assert seen == {LogFull, ViewFull}
    assert complaints(home, forked=True) == []


@pytest.mark.parametrize("what", ["log", "view"])
def test_a_limit_on_file_sizes(tmp_path: Path, what: str) -> None:
    """EFBIG stands for a full disk where nothing may be mounted."""
    home, instruments = tmp_path / "home", tokens(1_100)
    with Registry.open(home, durability="relaxed") as registry:
        registry.register_many(instruments[:200])
    log_size_bytes = (home / "log" / "data.mdb").stat().st_size

    def work(say: Say, _: Hear) -> None:
        with (
            Registry.open(home) as registry,
            Registry.open(home, mode="r") as reader,
            mock.patch("alphapulse.projections.engine.ROWS_MIN", 16),
        ):
            unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
            limit = log_size_bytes + 8_192 if what == "log" else 100_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
            done = 200
            if what == "view":
                with pytest.raises(ViewFull):
                    registry.rebuild(["instruments"])
            else:
                done, _full = register_until_full(registry, instruments, done)
            assert all_there(registry, instruments[:done])
            assert all_there(reader, instruments[:done])
            assert registry.log.head == done
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            registry.register_many(instruments[done:])
            assert all_there(reader, instruments)
        say("good")

    with Child(work) as child:
        assert child.rest() == ["good"]
        assert child.wait() == 0
    assert complaints(home, forked=True) == []


def test_a_checkpoint_that_cannot_be_written_spoils_no_commit(tmp_path: Path) -> None:
    """It comes after the commit, so it must not make it look failed."""
    first, second = tokens(2)
    with (
        mock.patch("alphapulse.log.checkpoints.INTERVAL_S", 0.0),
        Registry.open(tmp_path / "home", durability="relaxed") as registry,
    ):
        registry.register(first)
        real = os.write

        def refuse(descriptor: int, data: bytes) -> int:
            if b" " in data and len(data) > 64:
                raise OSError(28, "No space left on device")
            return real(descriptor, data)

        with mock.patch("os.write", refuse):
            assert registry.register(second).outcome == "new"
        assert all_there(registry, [first, second])
    assert complaints(tmp_path / "home", forked=True) == []


def test_no_space_for_the_name_of_a_new_generation(tmp_path: Path) -> None:
    """The file got the last pages, and CURRENT finds none: as full as if there were no file."""
    home, instruments = tmp_path / "home", tokens(400)
    real = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if data.startswith(b"alerts "):
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    with (
        mock.patch("alphapulse.projections.engine.ROWS_MIN", 16),
        Registry.open(home, durability="relaxed") as registry,
    ):
        registry.register_many(instruments[:20])
        files = sorted(path.name for path in (home / "views").iterdir())
        with mock.patch("os.write", refuse):
            with pytest.raises(ViewFull):
                registry.register_many(instruments[20:])
            with pytest.raises(ViewFull):
                registry.rebuild(["instruments"])
        assert registry.log.head == 20 and all_there(registry, instruments[:20])
        assert sorted(path.name for path in (home / "views").iterdir()) == files
        registry.register_many(instruments[20:])
        assert all_there(registry, instruments)
    assert complaints(home, forked=True) == []
