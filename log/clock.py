"""The time that is recorded in events: the system clock, checked, and never going back.

A recorded time stays for ever and must never decrease, so a clock that leaps to 2099 once would
poison the log for good. The wall clock is therefore compared with CLOCK_BOOTTIME, which no
operator and no NTP server can set: more than an hour ahead of it since open is refused. Small
steps back are clamped to the last recorded time; more than an hour behind the log is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .errors import ClockOff
from .times import NS, format_time

DRIFT_NS_MAX: Final = 3_600 * NS


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class RecordingClock:
    """Gives the time for the next commit. The two sources can be replaced in tests."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, boot_ns: Callable[[], int] = _boot_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._boot_ns = boot_ns
        self._opened_wall = wall_ns()
        self._opened_boot = boot_ns()

    def next_time(self, last_recorded: int) -> int:
        """ns, at least `last_recorded`; raises ClockOff and says by how much."""
        now = self._wall_ns()
        expected = self._opened_wall + self._boot_ns() - self._opened_boot
        if now - expected > DRIFT_NS_MAX:
            raise ClockOff(
                "taking the time of a commit", problem="the clock leapt ahead since open",
                clock=format_time(now), expected_about=format_time(expected),
            )  # fmt: skip
        if last_recorded - now > DRIFT_NS_MAX:
            raise ClockOff(
                "taking the time of a commit", problem="the clock is behind the log",
                clock=format_time(now), last_recorded=format_time(last_recorded),
            )  # fmt: skip
        return max(now, last_recorded)
