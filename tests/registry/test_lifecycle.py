from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alphapulse.log import (
    AcknowledgedBody,
    AlphaPulseError,
    Copied,
    Corrupt,
    Draft,
    EventLog,
    ExportDamaged,
    HomeExists,
    Kind,
    OffsetOutOfRange,
    Space,
    backup,
    export_log,
    make_backup,
)
from alphapulse.projections import ahead_of
from alphapulse.registry import Equity, Listing, audit, import_log, replay_into, restore
from alphapulse.registry.audit import audit_meaning, audit_views

from .homes import APPLE, open_home, rows, token, tokens


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Blocks of one event and of many, collisions, conflicts, packed bodies."""
    with open_home(tmp_path / "home", id_bits=8) as registry:
        apple = registry.register(APPLE, source="a", request_id="r").id
        registry.register_many(tokens(40), source="a")
        registry.register(Equity(isin=APPLE.isin, symbol="X"), source="b")
        registry.add_listing(Listing(instrument=apple, venue="XETR"))
        registry.register(token(99, name="long and the same " * 28))
        registry.amend(apple, symbol="NEW")
    return tmp_path / "home"


def test_every_prefix_is_a_home_with_the_same_events_and_chain(home: Path, tmp_path: Path) -> None:
    with EventLog.open(home, mode="r") as source:
        head = source.head
        for stop in (0, 1, 2, head // 2, *range(head - 5, head + 1)):
            target = tmp_path / f"copy{stop}"
            seen: list[tuple[int, int]] = []
            report = replay_into(home, target, stop, progress=lambda *each, s=seen: s.append(each))
            assert (report.events, report.chain_head) == (stop, source.chain_at(stop))
            assert seen[-1:] == ([(stop, stop)] if stop else [])
            with EventLog.open(target, mode="r") as copy:
                assert (copy.head, copy.chain_head) == (stop, report.chain_head)
                assert copy.genesis == source.genesis
                for one, other in zip(copy.read(), source.read(0, stop), strict=True):
                    assert one.body == other.body
                    assert one.metadata == other.metadata
                    assert (one.offset, one.recorded, one.entity, one.previous) == (
                        other.offset, other.recorded, other.entity, other.previous
                    )  # fmt: skip
                assert audit_meaning(copy).ok
                assert audit_views(copy).ok


def test_a_prefix_cut_between_a_registration_and_its_collision(home: Path, tmp_path: Path) -> None:
    with EventLog.open(home, mode="r") as source:
        collision = next(e.offset for e in source.read() if e.kind == 48)
    replay_into(home, tmp_path / "copy", collision)
    assert all(verdict.ok for verdict in audit(tmp_path / "copy"))


def test_a_replayed_home_goes_on_as_the_first_would(home: Path, tmp_path: Path) -> None:
    with open_home(home) as registry:
        head = registry.log.head
    replay_into(home, tmp_path / "copy", head)
    found = []
    for each in (home, tmp_path / "copy"):
        with open_home(each) as registry:
            retried = registry.register(APPLE, source="a", request_id="r")
            assert (retried.outcome, retried.offset) == ("new", 0)
            receipts = registry.register_many(tokens(20, 200), source="a")
            found.append((receipts, rows(registry)))
    assert found[0] == found[1]


@pytest.mark.parametrize("stop", [-1, 1_000])
def test_a_prefix_that_is_not_there(home: Path, tmp_path: Path, stop: int) -> None:
    with pytest.raises(OffsetOutOfRange):
        replay_into(home, tmp_path / "copy", stop)
    assert not (tmp_path / "copy").exists()


def test_a_home_is_never_overwritten(home: Path) -> None:
    with pytest.raises(HomeExists):
        replay_into(home, home, 1)


def test_views_that_a_lost_log_left_accuse_nobody(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They have seen more of the same log than was brought back."""
    with EventLog.open(home, mode="r") as log:
        make_backup(log, tmp_path / "backup", verify=False)
    shutil.rmtree(home / "log")
    caplog.clear()
    restore(tmp_path / "backup", home, 20)
    assert caplog.text == ""
    with EventLog.open(home, mode="r") as log:
        assert log.head == 21 and ahead_of(log) is None


def forge(home: Path, how: str) -> int:
    """Appends past the registry what no command decides; its offset."""
    with EventLog.open(home) as log, log.writing() as session:
        first = log.event(0)
        kind, body = Kind.INSTRUMENT_REGISTERED, first.body
        if how == "an acknowledgement of nothing":
            kind, body = Kind.ALERT_ACKNOWLEDGED, AcknowledgedBody(alert=12345)
        last = max(e.offset for e in log.read() if e.entity == first.entity)
        return session.append(Draft(kind, Space.INSTRUMENT, first.entity, last, body))


@pytest.mark.parametrize("how", ["an acknowledgement of nothing", "a second registration"])
def test_what_nobody_could_decide_makes_no_home(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(backup, "verify_copy", lambda *_: None)  # a child, and finds nothing
    bad = forge(home, how)
    with EventLog.open(home, mode="r") as log:
        make_backup(log, tmp_path / "backup", verify=False)
        export_log(log, tmp_path / "file")
    new = tmp_path / "new"
    ways: list[tuple[Callable[[], Copied], type[Corrupt], str]] = [
        (lambda: import_log(tmp_path / "file", new), ExportDamaged, "file"),
        (lambda: restore(tmp_path / "backup", new), Corrupt, "backup"),
        (lambda: replay_into(home, new, bad + 1), Corrupt, "home"),
    ]
    for make, kind, names in ways:
        with pytest.raises(kind) as raised:
            make()
        error = raised.value
        assert not new.exists()
        assert (error.facts["verdict"], error.facts["offset"]) == ("meaning", bad)
        assert str(tmp_path / names) in error.doing and f"--to {bad - 1}" in error.advice
    assert restore(tmp_path / "backup", new, bad - 1).events == bad
    with EventLog.open(new, mode="r") as copy:
        assert audit_meaning(copy).ok and audit_views(copy).ok


def test_an_event_that_no_fold_understands_is_named(home: Path) -> None:
    bad = forge(home, "an acknowledgement of nothing")
    with pytest.raises(Corrupt, match="12345") as raised:
        open_home(home)
    assert raised.value.facts["offset"] == bad and "audit" in raised.value.advice
    with EventLog.open(home, mode="r") as log:
        assert log.broken == "", "the chain holds, so it is no broken log"


def test_a_home_without_room_for_its_views_says_that_it_is_there(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(AlphaPulseError) as raised:
            replay_into(home, tmp_path / "new", 5)
    assert "the home is made all the same" in raised.value.advice
    with EventLog.open(tmp_path / "new", mode="r") as copy:
        assert copy.head == 5 and audit_views(copy).ok
