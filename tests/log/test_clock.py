from __future__ import annotations

import pytest

from alphapulse.log.clock import DRIFT_NS_MAX, RecordingClock
from alphapulse.log.errors import ClockOff
from alphapulse.log.eventlog import EventLog
from alphapulse.log.times import parse_time

from .builders import TIME

HOUR = 3_600 * 10**9


class Clocks:
    """A wall clock that can leap, and a boot clock that cannot."""

    def __init__(self) -> None:
        self.wall = TIME
        self.boot = 5 * HOUR

    def pass_ns(self, ns: int) -> None:
        self.wall += ns
        self.boot += ns

    def recording(self) -> RecordingClock:
        return RecordingClock(wall_ns=lambda: self.wall, boot_ns=lambda: self.boot)


def test_it_gives_the_wall_clock() -> None:
    clocks = Clocks()
    clock = clocks.recording()
    assert clock.next_time(0) == TIME
    clocks.pass_ns(100 * HOUR)
    assert clock.next_time(TIME) == TIME + 100 * HOUR


def test_small_steps_back_are_clamped_to_the_last_recorded_time() -> None:
    clocks = Clocks()
    clock = clocks.recording()
    clocks.wall -= 5
    assert clock.next_time(TIME) == TIME
    assert clock.next_time(TIME - 10) == TIME - 5
    clocks.wall = TIME - HOUR
    assert clock.next_time(TIME) == TIME


def test_a_leap_ahead_is_refused_from_the_hour_on() -> None:
    clocks = Clocks()
    clock = clocks.recording()
    clocks.wall += DRIFT_NS_MAX
    assert clock.next_time(0) == clocks.wall
    clocks.wall += 1
    with pytest.raises(ClockOff, match="leapt ahead"):
        clock.next_time(0)
    clocks.wall -= 1
    assert clock.next_time(0) == clocks.wall


def test_a_clock_far_behind_the_log_is_refused() -> None:
    clocks = Clocks()
    clock = clocks.recording()
    assert clock.next_time(TIME + DRIFT_NS_MAX) == TIME + DRIFT_NS_MAX
    with pytest.raises(ClockOff, match="behind the log"):
        clock.next_time(TIME + DRIFT_NS_MAX + 1)


def test_a_log_is_not_poisoned_by_a_leap_to_2099(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from .logs import draft

    clocks = Clocks()
    EventLog.create(tmp_path / "home")
    with EventLog.open(tmp_path / "home", clock=clocks.recording()) as log:
        with log.writing() as session:
            session.append(draft(1))
        before, clocks.wall = clocks.wall, parse_time("2099")
        with pytest.raises(ClockOff, match="nothing was written"):
            with log.writing() as session:
                session.append(draft(2))
        assert log.head == 1
        clocks.wall = before - 30
        with log.writing() as session:
            session.append(draft(2))
        assert [event.recorded for event in log.read()] == [before, before]


def test_the_real_clocks_agree() -> None:
    assert RecordingClock().next_time(0) > parse_time("2020")
