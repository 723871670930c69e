from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alphapulse.log import EventLog, HomeExists, OffsetOutOfRange, make_backup
from alphapulse.projections import ahead_of
from alphapulse.registry import Equity, Listing, audit, replay_into, restore
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
