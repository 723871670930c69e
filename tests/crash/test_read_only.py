"""Homes and backups where nothing may be written: a read-only mount, files without that right."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alphapulse.log import (
    ChainBroken,
    Cursors,
    EventLog,
    HomeUnsupported,
    copy_prefix,
    export_log,
    import_archive,
    make_backup,
    verify_store,
)
from alphapulse.log.broken import mark_broken
from alphapulse.log.home import Home
from alphapulse.log.stops import start_time
from alphapulse.registry import Registry, audit, restore
from tests.places import mount
from tests.registry.homes import APPLE, open_home, tokens

NOBODY = 65_534
EVENTS = 6


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_home(tmp_path / "home") as registry:
        registry.register_many([APPLE, *tokens(EVENTS - 1)])
    return tmp_path / "home"


@contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """The same directory by another path, where the kernel refuses to write."""
    by = place.with_name(f"{place.name}-ro")
    by.mkdir()
    mount("--bind", str(place), str(by))
    try:
        mount("-o", "remount,ro,bind", str(by))
        yield by
    finally:
        subprocess.run(["umount", "--lazy", by], check=True)


def test_a_backup_on_a_read_only_disk_is_restored_and_read(home: Path, tmp_path: Path) -> None:
    with EventLog.open(home, mode="r") as log:
        make_backup(log, tmp_path / "backup", verify=False)
    with read_only(tmp_path / "backup") as place:
        assert restore(place, tmp_path / "back").events == EVENTS
        with EventLog.open(place, mode="r") as log:
            assert len(list(log.read())) == EVENTS and Cursors(log.home).states(log) == []
            assert [e.offset for e in log.subscribe(start=0, stop=EVENTS)] == [*range(EVENTS)]
            export_log(log, tmp_path / "file")
        with pytest.raises(HomeUnsupported, match="it can be read here"):
            EventLog.open(place)
    assert import_archive(tmp_path / "file", tmp_path / "again").events == EVENTS


def test_a_home_on_a_read_only_disk_answers_and_is_audited(home: Path) -> None:
    mark_broken(Home(home), "it was cut", 1, "mend it")
    with read_only(home) as place:
        with Registry.open(place, mode="r") as registry:
            assert registry.by_isin(APPLE.isin) is not None and registry.log.broken
        *others, views = audit(place)
        assert all(verdict.ok for verdict in others)
        assert "broken could not be removed" in others[2].detail
        assert not views.ok and "may only be read here" in views.detail
        with open_home(home) as registry, pytest.raises(ChainBroken):
            registry.register(tokens(1, 50)[0])
        pid = os.getpid()
        (home / "run" / f"open.{pid}.{start_time(pid)}.99").touch()  # as a writer's, by `home`
        with pytest.raises(HomeUnsupported, match="a process writes to it") as raised:
            EventLog.open(place, mode="r")
        assert raised.value.facts["pid"] == pid


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root may write whatever files say; then this process is nobody for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_that_nobody_may_write_are_read_and_others_are_not() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with open_home(home) as registry:
            registry.register_many(tokens(EVENTS))
        (home / "run" / "writer").unlink()
        places = [Path(folder), home, *home.rglob("*")]
        for path in places:
            path.chmod(0o555 if path.is_dir() else 0o444)
        with somebody_else():
            assert all(verdict.ok for verdict in verify_store(Home(home)))
            with EventLog.open(home, mode="r") as log:
                assert len(list(log.read())) == EVENTS
            with pytest.raises(HomeUnsupported, match="open it as its owner"):
                EventLog.open(home)
        (home / "log" / "data.mdb").chmod(0o644)
        (home / "log" / "lock.mdb").chmod(0o644)
        if not os.geteuid():  # its owner could write, and we could not know when
            for mode in (0o555, 0o500):
                (home / "log").chmod(mode)
                with somebody_else(), pytest.raises(HomeUnsupported, match="nobody may write"):
                    EventLog.open(home, mode="r")
        for path in places:
            path.chmod(0o700)
        with EventLog.open(home) as log:
            copy_prefix(log, Path(folder) / "copy", 3)
