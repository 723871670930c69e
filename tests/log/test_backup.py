from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import backup as backup_module
from alphapulse.log.backup import MANIFEST, Backup, make_backup, read_manifest, restore_log
from alphapulse.log.broken import mark_broken
from alphapulse.log.checkpoints import Checkpoint, Checkpoints
from alphapulse.log.copying import copy_blocks
from alphapulse.log.cursors import Cursor, Cursors
from alphapulse.log.errors import (
    ChainBroken,
    Corrupt,
    CursorPaused,
    FormatTooNew,
    HomeExists,
    InvalidInput,
    LogBusy,
    LogFull,
    NotABackup,
    OffsetOutOfRange,
    SystemRefused,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.home import Home
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.log.store import Head
from alphapulse.log.verify import verify_store

from .logs import fill, make_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [3, 1, 4, 2]) as made:
        yield made


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child costs half a second; that it is one is for tests/tools and tests/crash."""
    monkeypatch.setattr(
        backup_module, "verify_in_child", lambda home, progress: verify_store(Home(home))
    )


def frames(home: Path) -> list[bytes]:
    with EventLog.open(home, mode="r") as log:
        return [event.frame for event in log.read()]


def test_a_backup_is_a_prefix_with_its_manifest(log: EventLog, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = make_backup(log, tmp_path / "b", progress=lambda *each: seen.append(each))
    assert made == read_manifest(tmp_path / "b") == Backup(
        1, log.genesis.log_id.hex(), 10, log.chain_head.hex(), made.created, made.size_bytes, True
    )  # fmt: skip
    assert made.size_bytes > 0 and made.created.endswith("Z") and seen[-1] == (10, 10)
    assert frames(tmp_path / "b") == [event.frame for event in log.read()]
    place = Home(tmp_path / "b")
    assert Checkpoints(place.checkpoints).last() == Checkpoint(10, log.chain_head)
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o700
    for path in (place.path / MANIFEST, place.checkpoints, place.log / "data.mdb"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_comes_while_it_runs_is_for_the_next_one(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_write(*arguments: Any, **options: Any) -> Head:
        fill(log, [5])
        return copy_blocks(*arguments, **options)

    monkeypatch.setattr(backup_module, "copy_blocks", and_write)
    assert make_backup(log, tmp_path / "b").head == 10
    log.checkpoint()
    assert make_backup(log, tmp_path / "b").head == 15
    assert len(frames(tmp_path / "b")) == 15 and log.head == 20


def test_an_update_appends_what_is_new(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_backup(log, tmp_path / "b", verify=False)
    assert not first.verified
    fill(log, [1, 1, 7])
    appended, append_all = list[int](), LmdbStore.append_all

    def append(store: LmdbStore, blocks: list[bytes], head: int) -> None:
        appended.append(len(blocks))
        append_all(store, blocks, head)

    monkeypatch.setattr(LmdbStore, "append_all", append)
    second = make_backup(log, tmp_path / "b")
    assert appended == [3] and second.verified and (first.head, second.head) == (10, 19)
    assert make_backup(log, tmp_path / "b").head == 19 and appended == [3]
    assert frames(tmp_path / "b") == [event.frame for event in log.read()]


def test_an_update_that_died_half_way_is_still_the_old_backup(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_backup(log, tmp_path / "b")
    fill(log, [2])

    def die(*_: object) -> None:
        raise LogFull("testing")

    with monkeypatch.context() as broken:
        broken.setattr(backup_module, "_write", die)
        with pytest.raises(LogFull):
            make_backup(log, tmp_path / "b")
    assert read_manifest(tmp_path / "b") == old
    assert restore_log(tmp_path / "b", tmp_path / "back").events == 10
    assert make_backup(log, tmp_path / "b").head == 12


def test_a_first_backup_that_died_can_be_repeated(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backup(log, tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "log")  # it died between the manifest and the log
    (tmp_path / "b" / "checkpoints").unlink()
    with pytest.raises(NotABackup, match="not finished"):
        restore_log(tmp_path / "b", tmp_path / "back")
    EventLog.create(tmp_path / "other")
    with EventLog.open(tmp_path / "other") as other:
        with pytest.raises(NotABackup, match="another log"):
            make_backup(other, tmp_path / "b")
    assert make_backup(log, tmp_path / "b").verified


def test_two_at_once_in_one_place_are_refused(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the slower one would write its older manifest over that of the faster."""
    make_backup(log, tmp_path / "b")
    fill(log, [2])
    write_beside, refusals = backup_module._write_beside, []

    def meanwhile(*arguments: Any) -> None:
        fill(log, [1])
        with pytest.raises(LogBusy, match="another backup or restore") as caught:
            make_backup(log, tmp_path / "b")
        refusals.append(caught.value.facts["holder_pid"])
        write_beside(*arguments)

    with monkeypatch.context() as slow:
        slow.setattr(backup_module, "_write_beside", meanwhile)
        assert make_backup(log, tmp_path / "b").head == 12
    assert refusals == [os.getpid()]
    assert make_backup(log, tmp_path / "b") == read_manifest(tmp_path / "b")
    assert read_manifest(tmp_path / "b").head == 13


def test_a_backup_of_another_log_or_history_is_left_alone(log: EventLog, tmp_path: Path) -> None:
    EventLog.create(tmp_path / "other")
    with EventLog.open(tmp_path / "other") as other:
        make_backup(other, tmp_path / "b")
        with pytest.raises(NotABackup, match="another log"):
            make_backup(log, tmp_path / "b")
    made = make_backup(log, tmp_path / "ahead")
    restore_log(tmp_path / "ahead", tmp_path / "earlier", 5)
    with EventLog.open(tmp_path / "earlier") as earlier:
        with pytest.raises(NotABackup, match="events that this home does not have"):
            make_backup(earlier, tmp_path / "ahead")
        fill(earlier, [9])
        with pytest.raises(NotABackup, match="events that this home does not have"):
            make_backup(earlier, tmp_path / "ahead")
    assert read_manifest(tmp_path / "ahead") == made and len(frames(tmp_path / "ahead")) == 10


def test_a_place_with_other_things_or_a_home_is_refused(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    with pytest.raises(HomeExists, match="letter"):
        make_backup(log, tmp_path / "full")
    for place in (tmp_path / "home", log.home.path):
        with pytest.raises(NotABackup, match=MANIFEST):
            make_backup(log, place)
    mark_broken(log.home, "its tail was cut", None, "")
    with pytest.raises(ChainBroken, match="its tail was cut"):
        make_backup(log, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("to, events", [(None, 10), (9, 10), ("4", 5), (0, 1)])
def test_a_backup_comes_back(
    log: EventLog, tmp_path: Path, to: int | str | None, events: int
) -> None:
    make_backup(log, tmp_path / "b")
    between = Checkpoint(3, log.chain_at(3))
    Checkpoints(tmp_path / "b" / "checkpoints").note(*between, 1, now=True)
    copied = restore_log(tmp_path / "b", tmp_path / "back", to)
    assert copied[:2] == (events, log.chain_at(events))
    with EventLog.open(tmp_path / "back") as back:
        assert not back.broken and (back.head, back.chain_head) == copied[:2]
        lines = list(Checkpoints(back.home.checkpoints))
        assert lines[-1] == Checkpoint(events, copied.chain_head)
        assert (between in lines) == (events > 3) and max(lines).head == events
        assert [e.frame for e in back.read()] == [e.frame for e in log.read(0, events)]
    assert all(verdict.ok for verdict in verify_store(Home(tmp_path / "back")))


def test_a_time_means_all_that_was_recorded_by_it(log: EventLog, tmp_path: Path) -> None:
    make_backup(log, tmp_path / "b")
    for number, (to, events) in enumerate((("1999-01", 0), ("2199-01", 10))):
        assert restore_log(tmp_path / "b", tmp_path / str(number), to).events == events
    for wrong, error in (("tomorrow", InvalidInput), (10, OffsetOutOfRange)):
        with pytest.raises(error):
            restore_log(tmp_path / "b", tmp_path / "back", wrong)
    assert not (tmp_path / "back").exists()


def test_an_empty_log_is_backed_up_too(tmp_path: Path) -> None:
    with make_log(tmp_path / "home") as log:
        assert make_backup(log, tmp_path / "b").head == 0
        assert restore_log(tmp_path / "b", tmp_path / "back")[:2] == (0, log.chain_head)
        fill(log, [2])
        assert make_backup(log, tmp_path / "b").head == 2


def test_cursors_come_along_and_one_that_was_ahead_goes_on_at_the_restored_head(
    log: EventLog, tmp_path: Path
) -> None:
    def put(name: str, offset: int) -> None:
        cursors.write(
            Cursor(name=name, log_id=log.genesis.log_id.hex(), pattern="", offset=offset)
        )

    cursors = Cursors(log.home)
    put("early", 2)
    put("gone", 2)
    put("late", 9)
    make_backup(log, tmp_path / "b")
    (log.home.cursors / "gone.cursor").unlink()
    put("early", 3)
    make_backup(log, tmp_path / "b")
    restore_log(tmp_path / "b", tmp_path / "back", 4)
    with EventLog.open(tmp_path / "back") as back:
        assert Cursors(back.home).names() == ["early", "late"]
        assert back.subscribe(cursor="early").position == 3
        fill(back, [5])  # past where it was
        with pytest.raises(CursorPaused, match=r"restored: to head 5, .*offset 9") as paused:
            back.subscribe(cursor="late")
        assert "`alphapulse cursors reset late` goes on at offset 5" in str(paused.value)
        state = Cursors(back.home).state(back, "late")
        assert (state.state, state.offset, state.lag_events) == ("paused", 5, 5)
        assert "to head 5" in str(state.error) and "offset 9" in str(state.error)
        Cursors(back.home).reset("late", back)
        with back.subscribe(cursor="late") as events:
            got = [event.offset for event in iter(events.next_by_now, None)]
        assert got == [5, 6, 7, 8, 9], "nothing is passed over"


@pytest.mark.parametrize("to", [8, None])
def test_a_cursor_that_is_not_ahead_or_not_readable_comes_back_as_it_was(
    log: EventLog, tmp_path: Path, to: int | None
) -> None:
    log_id = log.genesis.log_id.hex()
    for name, of, offset in (("at", log_id, 9), ("foreign", "00" * 16, 10), ("bad", log_id, 10)):
        Cursors(log.home).write(Cursor(name=name, log_id=of, pattern="", offset=offset))
    with (log.home.cursors / "bad.cursor").open("ab") as file:
        file.write(b"x")
    make_backup(log, tmp_path / "b")
    restore_log(tmp_path / "b", tmp_path / "back", to)
    for name in ("at.cursor", "foreign.cursor", "bad.cursor"):
        data = (tmp_path / "back" / "cursors" / name).read_bytes()
        assert data == (log.home.cursors / name).read_bytes()


@pytest.mark.parametrize("work", [make_backup, restore_log])
def test_what_fails_takes_the_directory_that_it_made_along(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[..., object]
) -> None:
    make_backup(log, tmp_path / "b")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(backup_module, "replace_file", full)
    source = log if work is make_backup else tmp_path / "b"
    with pytest.raises(SystemRefused, match="the disk is full"):
        work(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_the_system_refuses_is_an_error_of_ours(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backup(log, tmp_path / "b")
    with pytest.raises(NotABackup, match="no such directory"):
        read_manifest(tmp_path / "b" / MANIFEST)
    (tmp_path / "odd" / MANIFEST).mkdir(parents=True)
    with pytest.raises(SystemRefused, match="Is a directory"):
        read_manifest(tmp_path / "odd")

    def refuse(*_: object) -> dict[str, bytes]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(backup_module, "_cursor_files", refuse)
    with pytest.raises(SystemRefused, match="Input/output"):
        make_backup(log, tmp_path / "b")
    with pytest.raises(SystemRefused, match="Input/output"):
        restore_log(tmp_path / "b", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_home_is_not_replaced_and_that_is_said_at_once(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backup(log, tmp_path / "b")
    monkeypatch.setattr(backup_module, "verify_in_child", None)
    for target in (log.home.path, tmp_path / "b"):
        with pytest.raises(HomeExists):
            restore_log(tmp_path / "b", target)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format":1}', '{"format":"1"}', "\xff", "5"],
)  # fmt: skip
def test_what_is_no_backup_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotABackup, match="no such directory"):
        restore_log(tmp_path / "missing", tmp_path / "back")
    (tmp_path / "b").mkdir()
    with pytest.raises(NotABackup, match=MANIFEST):
        restore_log(tmp_path / "b", tmp_path / "back")
    (tmp_path / "b" / MANIFEST).write_bytes(text.encode("latin1"))
    with pytest.raises(NotABackup, match="cannot be read"):
        restore_log(tmp_path / "b", tmp_path / "back")


def test_a_newer_manifest_and_one_that_lies(log: EventLog, tmp_path: Path) -> None:
    make_backup(log, tmp_path / "b")
    path = tmp_path / "b" / MANIFEST
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"format": 2, "head": [1]}))
    with pytest.raises(FormatTooNew):
        restore_log(tmp_path / "b", tmp_path / "back")
    other = {"log_id": "00" * 16}
    for lie in (other, {"head": 9}, {"head": 11}, {"chain_head": "00" * 32}):
        path.write_text(json.dumps(fields | lie))
        with pytest.raises(Corrupt, match="not the one that its"):
            restore_log(tmp_path / "b", tmp_path / "back")
    for nonsense in ({"head": -1}, {"chain_head": "00"}, {"chain_head": "xy"}):
        path.write_text(json.dumps(fields | nonsense))
        with pytest.raises(NotABackup):
            restore_log(tmp_path / "b", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def damage(home: Path, block: bytes) -> None:
    """Changes a byte of that block, and of every older copy that LMDB left in the file."""
    data = (home / "log" / "data.mdb").read_bytes()
    assert block in data
    (home / "log" / "data.mdb").write_bytes(data.replace(block, block[:-1] + b"?"))


def test_a_damaged_backup_is_refused_with_what_to_do(log: EventLog, tmp_path: Path) -> None:
    make_backup(log, tmp_path / "b")
    damage(tmp_path / "b", log.block(4).data)
    with pytest.raises(Corrupt, match="is damaged") as caught:
        restore_log(tmp_path / "b", tmp_path / "back")
    assert caught.value.facts["first_bad_offset"] == 7
    assert "replay --to" in caught.value.advice and str(tmp_path / "b") in caught.value.advice
    assert not (tmp_path / "back").exists()
    with pytest.raises(Corrupt, match="is damaged"):
        make_backup(log, tmp_path / "b")
    assert not read_manifest(tmp_path / "b").verified


def test_a_damaged_home_gives_no_backup(tmp_path: Path) -> None:
    with make_log(tmp_path / "home", [3, 1, 4, 2]) as log:
        block = log.block(4).data
    damage(tmp_path / "home", block)
    with EventLog.open(tmp_path / "home", mode="r") as log, pytest.raises(ChainBroken):
        make_backup(log, tmp_path / "b")
    assert not (tmp_path / "b").exists()
