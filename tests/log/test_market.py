"""The market log: what it keeps, what it forgets, and what it does when it cannot be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alphapulse.log import (
    ClockOff,
    Corrupt,
    CursorForeign,
    Cursors,
    EventLog,
    HomeMissing,
    InvalidInput,
    LogFull,
    MarketHome,
    MarketLog,
    NoLongerKept,
    RecordingClock,
    Retention,
    Verdict,
    market_offset,
    market_offset_text,
    verify_store,
)
from alphapulse.log.lmdb_store import LmdbStore

from .markets import add, fill, values

MIB = 1 << 20
DEAD = "open.999999999.1.0"
"""The marker of a writer that is gone."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    EventLog.create(tmp_path / "home")
    return tmp_path / "home"


def fine(home: Path) -> bool:
    return all(verdict.ok for verdict in verify_store(MarketHome(home)))


def test_it_is_made_when_first_written_and_says_that_it_is_not_durable(home: Path) -> None:
    with pytest.raises(HomeMissing, match="nothing was sampled yet"):
        MarketLog.of(home, mode="r")
    with MarketLog.of(home) as log:
        commit = add(log, 3)
        assert (commit.first, commit.last, commit.durable) == (0, 2, False)
        assert log.statistics().durable is False and not log.emptied
    with MarketLog.of(home, mode="r") as log:
        assert values(log) == [0, 1, 2] and (log.first, log.head) == (0, 3)
    assert fine(home) and not (MarketHome(home).checkpoints).exists()


def test_it_needs_a_home_and_a_sane_retention(tmp_path: Path, home: Path) -> None:
    with pytest.raises(HomeMissing):
        MarketLog.of(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(InvalidInput, match="at least 1 s and 1 MiB"):
        MarketLog.of(home, retention=Retention(size_bytes_max=1000))


def test_what_is_too_much_is_forgotten_from_the_beginning(home: Path) -> None:
    with MarketLog.of(home, retention=Retention(size_bytes_max=MIB)) as log:
        fill(log)
        assert log.trim() > 0
        first = log.first
        assert 0 < first < log.head == 24 and log.statistics().blocks == log.head - first
        assert values(log) == values(log, first) == list(range(first, 24))
        for gone in (1, first - 1):
            with pytest.raises(NoLongerKept, match=f"first={first}"):
                list(log.read(gone))
            with pytest.raises(NoLongerKept):
                log.event(gone)
        with log.subscribe(start="beginning", stop=first + 1) as events:
            assert [event.offset for event in events] == [first]
        assert log.offset_at(0) == first and log.offset_at(1 << 62) == 24
        before = log.statistics().size_bytes
        for _ in range(6):
            fill(log, 4)
            log.trim()
        assert log.statistics().size_bytes <= before + MIB // 2, "pages are used again"
    assert fine(home)


def test_what_is_too_old_is_forgotten_and_the_newest_commit_stays(home: Path) -> None:
    now = [1_764_000_000_000_000_000]
    clock = RecordingClock(lambda: now[0], lambda: now[0])
    with MarketLog.of(home, retention=Retention(age_s_max=60), clock=clock) as log:
        for _ in range(3):
            add(log, 2)
            log._trimmed_at = float("-inf")
            now[0] += 40_000_000_000
        assert (log.first, log.head, log.trimmed_blocks) == (2, 6, 1), "80 s old, 40 s old, new"
        log.trim()
        assert (log.first, log.head) == (4, 6), "the real clock is years ahead"
        assert add(log).first == 6
    assert fine(home)


def test_an_empty_base_and_a_cut_one_verify_too(home: Path) -> None:
    with MarketLog.of(home, retention=Retention(size_bytes_max=MIB)) as log:
        fill(log)
        log.trim()
        kept = log.store.statistics().blocks
    place = MarketHome(home)
    for last_blocks in (1, kept, kept + 5, None):
        verdicts = verify_store(place, last_blocks=last_blocks)
        assert [v.ok for v in verdicts] == [True] * 3
        assert verdicts[0].checked == min(kept, last_blocks or kept)


def test_a_trim_that_is_refused_leaves_the_commit_done(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise LogFull("forgetting")

    with MarketLog.of(home) as log:
        monkeypatch.setattr(LmdbStore, "trim", full)
        assert add(log, 2).last == 1
        assert "forgetting" in log.trim_refused
        monkeypatch.undo()
        log._trimmed_at = float("-inf")
        add(log)
        assert log.trim_refused == "" and log.head == 3


def test_a_reader_beside_the_writer_sees_each_commit_and_what_is_forgotten(home: Path) -> None:
    with MarketLog.of(home, retention=Retention(size_bytes_max=MIB)) as log:
        add(log, 1000)
        with MarketLog.of(home, mode="r") as reader, reader.subscribe(start="beginning") as events:
            assert next(iter(events)).offset == 0
            fill(log)
            log.trim()
            assert reader.head == 1024 and reader.first == log.first > 1000
            with pytest.raises(NoLongerKept, match="start at the beginning"):
                for _ in events:
                    pass
        log.clock = RecordingClock(lambda: 10**18, lambda: 0)
        with pytest.raises(ClockOff):
            add(log)


def test_a_cursor_behind_what_is_kept_says_so_and_is_reset(home: Path) -> None:
    with MarketLog.of(home, retention=Retention(size_bytes_max=MIB)) as log:
        add(log, 1000)
        with log.subscribe(start="beginning", cursor="late") as events:
            assert events.poll() is not None
        fill(log)
        log.subscribe(cursor="new").close()
        log.trim()
        cursors = Cursors(log.home)
        late, new = cursors.states(log)
        assert (late.state, late.offset, late.lag_events) == ("unusable", 1, None)
        assert late.error is not None and "older than what is kept" in late.error
        assert new.state == "idle"
        with pytest.raises(CursorForeign, match=r"older than what is kept.*reset m:late --to"):
            log.subscribe(cursor="late")
        assert cursors.reset("late", log, "beginning").offset == log.first
        with log.subscribe(cursor="late") as events:
            event = events.poll()
            assert event is not None and event.offset == log.first


def damage(home: Path) -> None:
    """As a power cut leaves it: not closed, and a page that never reached the disk."""
    place = MarketHome(home)
    (place.run / DEAD).touch()
    data = place.log / "data.mdb"
    with open(data, "r+b") as file:
        file.seek(data.stat().st_size // 2 & ~4095)
        file.write(os.urandom(4096))


def in_process(home: Path, *, last_blocks: int | None = None) -> list[Verdict]:
    """A child process costs 0.4 s; this damage is one that ours can look at."""
    try:
        return verify_store(MarketHome(home.parent), last_blocks=last_blocks)
    except Corrupt as error:
        return [Verdict("bytes", False, 0, 0, 0, str(error))] * 3


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    asked: list[int | None] = []

    def verify(home: Path, *, last_blocks: int | None = None) -> list[Verdict]:
        asked.append(last_blocks)
        return in_process(home, last_blocks=last_blocks)

    monkeypatch.setattr("alphapulse.log.market.verify_in_child", verify)
    return asked


def test_not_closed_but_sound_is_verified_once_and_kept(
    home: Path, no_child: list[int | None]
) -> None:
    with MarketLog.of(home) as log:
        add(log, 5)
    marker = MarketHome(home).run / DEAD
    marker.touch()
    with MarketLog.of(home, mode="r") as log:
        assert values(log) == list(range(5)) and marker.exists(), "only a writer clears it"
    with MarketLog.of(home) as log:
        assert log.head == 5 and not log.emptied and not marker.exists()
    with MarketLog.of(home):
        assert no_child == [64, 64], "the newest blocks, as the machine still runs"
    marker.touch()
    os.utime(marker, (1, 1))
    with MarketLog.of(home):
        assert no_child[2:] == [None], "all of it, since the machine was started anew"


def test_damage_empties_it_and_no_offset_is_given_twice(
    home: Path, no_child: list[int | None]
) -> None:
    with MarketLog.of(home) as log:
        fill(log, 9)
        before = log.genesis.log_id
    damage(home)
    with pytest.raises(Corrupt, match="the next who writes to it empties it"):
        MarketLog.of(home, mode="r")
    with MarketLog.of(home) as log:
        assert "unclean stop" in log.emptied
        assert log.genesis.log_id != before and log.first == log.head > 1_700_000_000_000_000
        assert values(log) == []
        first = add(log, 2).first
        assert first == log.first and values(log) == [0, 1]
    with MarketLog.of(home) as log:
        assert not log.emptied and log.head == first + 2
    assert fine(home) and sorted(os.listdir(MarketHome(home).path)) == ["cursors", "log", "run"]


@pytest.mark.parametrize("is_there", [True, False])
def test_one_without_its_file_is_emptied(home: Path, is_there: bool) -> None:
    """No backup has it, so nothing else would help."""
    with MarketLog.of(home) as log:
        fill(log, 9)
    file = MarketHome(home).log / "data.mdb"
    file.unlink()
    if is_there:
        file.touch()
    with pytest.raises(Corrupt, match=r"gone or empty.*the next who writes to it empties it"):
        MarketLog.of(home, mode="r")
    with MarketLog.of(home) as log:
        assert "gone or empty" in log.emptied and log.first > 1_700_000_000_000_000
        assert add(log).first == log.first


def test_damage_is_not_mended_under_somebody(home: Path, no_child: list[int | None]) -> None:
    with MarketLog.of(home) as log:
        fill(log, 9)
        damage(home)
        with pytest.raises(Corrupt, match="end who has it open"):
            MarketLog.of(home)
    with MarketLog.of(home) as log:
        assert log.emptied


def test_a_crash_while_it_is_emptied_ends_in_an_empty_one(home: Path) -> None:
    with MarketLog.of(home) as log:
        add(log)
    place = MarketHome(home)
    os.rename(place.log, place.damaged)
    with MarketLog.of(home) as log:
        assert log.emptied and log.first > 1_700_000_000_000_000
    assert not place.damaged.exists()


def test_closing_flushes_before_the_marker_goes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    real = LmdbStore.flush

    def flush(store: LmdbStore) -> None:
        flushed.append(any(MarketHome(home).run.glob("open.*")))
        real(store)

    monkeypatch.setattr(LmdbStore, "flush", flush)
    with MarketLog.of(home) as log:
        add(log)
        assert not flushed, "a commit does not wait for the disk"
    assert flushed == [True] and not any(MarketHome(home).run.glob("open.*"))


def test_offsets_are_written_with_their_prefix() -> None:
    assert market_offset_text(123) == "m:123" and market_offset("m:123") == 123
    for wrong in ("123", "m:", "m:-1", "m:1.5", "m:٣", "M:1", "m:" + "1" * 21):
        with pytest.raises(InvalidInput, match="m: and digits"):
            market_offset(wrong)
