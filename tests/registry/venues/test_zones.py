"""Time zones: wall times to instants, where clocks change, and names that are no zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import InvalidInput, format_time, parse_time
from alphapulse.registry.venues import UnknownZone, zones
from alphapulse.registry.venues.zones import WallClock, clock_changes, zone_named

NS = 1_000_000_000
ZONES = (
    "America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Casablanca",
    "America/Sao_Paulo", "Asia/Beirut", "America/Recife", "Pacific/Apia", "UTC",
)  # fmt: skip


def wall_s(text: str) -> int:
    return parse_time(text) // NS


@pytest.mark.parametrize(
    "zone, wall, utc",
    [
        ("America/New_York", "2026-01-05 09:30:00", "2026-01-05T14:30:00"),
        ("America/New_York", "2026-07-06 09:30:00", "2026-07-06T13:30:00"),
        ("America/New_York", "2026-03-08 01:59:59", "2026-03-08T06:59:59"),
        ("America/New_York", "2026-03-08 02:00:00", "2026-03-08T07:00:00"),  # these do not exist
        ("America/New_York", "2026-03-08 02:59:59", "2026-03-08T07:00:00"),
        ("America/New_York", "2026-03-08 03:00:00", "2026-03-08T07:00:00"),
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00"),  # twice: the first
        ("America/New_York", "2026-11-01 02:00:00", "2026-11-01T07:00:00"),
        ("America/Sao_Paulo", "2018-11-04 00:30:00", "2018-11-04T03:00:00"),  # at midnight
        ("America/Sao_Paulo", "2018-11-04 01:00:00", "2018-11-04T03:00:00"),
        ("America/Sao_Paulo", "2018-02-17 23:30:00", "2018-02-18T01:30:00"),
        ("America/Sao_Paulo", "2018-02-18 00:00:00", "2018-02-18T03:00:00"),
        ("Asia/Tokyo", "2024-11-05 15:30:00", "2024-11-05T06:30:00"),
        ("Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03T15:30:00"),  # by half an hour
        ("America/New_York", "1800-01-01 00:00:00", "1800-01-01T04:56:02"),
    ],
)
def test_every_wall_time_has_one_instant(zone: str, wall: str, utc: str) -> None:
    found = WallClock(ZoneInfo(zone)).utc_s(wall_s(wall))
    assert format_time(found * NS) == f"{utc}.000000000Z"


@given(st.sampled_from(ZONES), st.integers(0, 80_000), st.lists(st.integers(0, 4 * 86_400)))
def test_later_wall_times_have_no_earlier_instants(zone: str, day: int, steps: list[int]) -> None:
    near = [change.at_s for change in clock_changes(zone)] or [0]
    start = near[day % len(near)] - 2 * 86_400
    clock = WallClock(ZoneInfo(zone))
    instants = [clock.utc_s(start + step) for step in sorted(steps)]
    assert instants == sorted(instants)


@given(st.sampled_from(ZONES), st.integers(-5 * 10**9, 9 * 10**9))
def test_an_instant_s_wall_time_leads_back_to_it(zone: str, at_s: int) -> None:
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at_s)).astimezone(ZoneInfo(zone))
    wall = at_s + zones.offset_at_s(ZoneInfo(zone), at_s)
    assert wall == (local.replace(tzinfo=None) - datetime(1970, 1, 1)) // timedelta(seconds=1)
    if local.fold == 0:
        assert WallClock(ZoneInfo(zone)).utc_s(wall) == at_s


@pytest.mark.parametrize("zone", ZONES)
def test_no_change_of_a_clock_is_missed(zone: str) -> None:
    """Against the offset at each noon and midnight, of every day for some years around each."""
    changes = clock_changes(zone)
    place, info = 0, ZoneInfo(zone)
    for at_s in range(wall_s("1995-01-01"), wall_s("2012-01-01"), 43_200):
        while place < len(changes) and changes[place].at_s <= at_s:
            place += 1
        expected = changes[place - 1].after_s if place else changes[0].before_s if changes else None
        found = zones.offset_at_s(info, at_s)
        assert found == (expected if expected is not None else zones.offset_at_s(info, 0))
    for change in changes:
        assert zones.offset_at_s(info, change.at_s - 1) == change.before_s
        assert zones.offset_at_s(info, change.at_s) == change.after_s


@pytest.mark.parametrize("zone", ["America/Recife", "America/Noronha", "America/Boa_Vista"])
def test_clocks_that_change_twice_within_a_week_are_looked_at_more_often(zone: str) -> None:
    changes = clock_changes(zone)
    days = [format_time(change.at_s * NS)[:10] for change in changes]
    assert {"2000-10-08", "2000-10-15"} <= set(days)
    shortest_s = min(later.at_s - change.at_s for change, later in pairwise(changes))
    assert zones._STEP_S < shortest_s < 7 * zones.DAY_S


@pytest.mark.parametrize(
    "name",
    [
        "Mars/Olympus_Mons", "", "America", "../../etc/passwd", "/etc/localtime",
        "right/UTC", "posix/UTC", "localtime", "posixrules", "zone.tab", "America/New\x00York",
        "a" * 5000, None, 5,
    ],
)  # fmt: skip
def test_what_is_no_zone(name: object) -> None:
    with pytest.raises(InvalidInput, match=r"field zone: (there is no such time zone|it must be)"):
        zone_named(name)


@pytest.mark.parametrize(
    "name, meant",
    [("america/new york", "America/New_York"), ("Europe/Londn", "Europe/London")],
)
def test_a_zone_that_is_spelled_alike_is_named(name: str, meant: str) -> None:
    with pytest.raises(UnknownZone, match=f"did you mean {meant}"):
        zone_named(name)


def test_without_a_zone_database_the_cure_is_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "ZoneInfo", lambda name: {}[name])
    monkeypatch.setattr(zones, "available_timezones", set)
    with pytest.raises(UnknownZone, match="install the package tzdata"):
        zone_named("Asia/Tokyo")
