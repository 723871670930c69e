"""Time zones: what the clock on a venue's wall shows, as seconds, and which instant that is.

A *wall time* is seconds since 1970-01-01 00:00 on the clock of a zone, as if that clock never
changed; a *day* is a date as its number since then. On the day a clock changes, some wall times do
not exist (it jumps ahead) and some exist twice (it is put back). Hours that begin or end at one are
refused when they are defined (`hours.define`). But governments move clock changes, and hours that
were defined must keep having a meaning under a later zone database. So here every wall time has
exactly one instant: of two the first, and of none the moment of the jump. Then later wall times
never have earlier instants, and phases that do not overlap on the wall do not overlap in time.

The database is the system's, else the package tzdata (PEP 615).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from alphapulse.log import InvalidInput
from alphapulse.registry import validation

DAY_S: Final = 86_400
CHANGES_FROM: Final = 1970
CHANGES_TO: Final = 2038
"""Years in which `clock_changes` looks: to the first instant of the second. The database lists
changes to 2037; from then on it has one rule for each zone, which no longer falls differently."""
_STEP_S: Final = 5 * DAY_S
"""Two changes of one zone's clock were never less than 6.9 days apart (Brazil in October 2000)."""
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
_NAME_LENGTH_MAX: Final = 64
_NOT_ZONES: Final = re.compile(r"Factory$|localtime$|posixrules$|posix/|right/")
"""Files of zone databases that name no place; `right/…` counts leap seconds, which we do not."""
_SECOND: Final = timedelta(seconds=1)


class UnknownZone(InvalidInput):
    problem = "there is no such time zone"
    cure = "write an IANA name such as America/New_York"


def day_of(text: str) -> int:
    """`1970-01-02` gives 1."""
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL


def day_text(day: int) -> str:
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def wall_text(wall_s: int) -> str:
    return (_EPOCH + timedelta(seconds=wall_s)).isoformat(" ")


def zone_name(value: object) -> str:
    """What may be the name of a zone, in a database that has it. Raises UnknownZone."""
    name = validation.stripped(value, "zone")
    if len(name) > _NAME_LENGTH_MAX or not _ZONE.fullmatch(name) or _NOT_ZONES.match(name):
        raise _unknown(name)
    return name


def zone_named(value: object) -> ZoneInfo:
    """Raises UnknownZone, which names one that is spelled alike."""
    name = zone_name(value)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:  # no file, a directory, or no zone's file
        raise _unknown(name) from error


def _unknown(name: str) -> UnknownZone:
    from difflib import get_close_matches

    known = available_timezones()
    cure = UnknownZone.cure
    if not known:
        cure = "this system has no zone database: install the package tzdata"
    else:
        spelled = {zone.lower(): zone for zone in known}
        alike = get_close_matches(name[:_NAME_LENGTH_MAX].lower().replace(" ", "_"), spelled, n=1)
        cure = f"did you mean {spelled[alike[0]]}?" if alike else cure
    return UnknownZone("reading field zone", value=validation.shown(name), cure=cure)


class ClockChange(NamedTuple):
    """A zone's clock jumps or is put back."""

    at_s: int
    """Its instant, seconds since 1970 UTC."""
    before_s: int
    """What was added to UTC until then."""
    after_s: int

    @property
    def is_jump(self) -> bool:
        return self.after_s > self.before_s

    @property
    def wall_from_s(self) -> int:
        """The first wall time that does not exist, or exists twice."""
        return self.at_s + min(self.before_s, self.after_s)

    @property
    def wall_to_s(self) -> int:
        """The first wall time after those."""
        return self.at_s + max(self.before_s, self.after_s)


@lru_cache(maxsize=64)
def clock_changes(name: str) -> tuple[ClockChange, ...]:
    """Of the years from CHANGES_FROM to before CHANGES_TO, in order. Cost: 30 ms, then kept."""
    zone = zone_named(name)
    found: list[ClockChange] = []
    at_s = _first_second(CHANGES_FROM)
    before_s = offset_at_s(zone, at_s)
    while at_s < _first_second(CHANGES_TO):
        at_s += _STEP_S
        after_s = offset_at_s(zone, at_s)
        if after_s != before_s:
            change_s = _change_s(zone, at_s - _STEP_S, at_s)
            found.append(ClockChange(change_s, before_s, after_s))
            before_s = after_s
    return tuple(found)


def _first_second(year: int) -> int:
    return day_of(f"{year}-01-01") * DAY_S


def offset_at_s(zone: ZoneInfo, at_s: int) -> int:
    offset = (_EPOCH_UTC + timedelta(seconds=at_s)).astimezone(zone).utcoffset()
    return (offset or timedelta(0)) // _SECOND


def _change_s(zone: ZoneInfo, low_s: int, high_s: int) -> int:
    """The first second that has another offset than `low_s`, when `high_s` has another one."""
    before_s = offset_at_s(zone, low_s)
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if offset_at_s(zone, middle_s) == before_s:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s


def _offset_s(zone: ZoneInfo, wall_s: int, fold: int) -> int:
    moment = (_EPOCH + timedelta(seconds=wall_s)).replace(tzinfo=zone, fold=fold)
    return (moment.utcoffset() or timedelta(0)) // _SECOND


class WallClock:
    """From wall times of a zone to instants. Remembers each midnight, so keep it for one task.

    Cost: 2 µs for a day, then 0.2 µs for each time in it.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._midnights: dict[int, int | None] = {}

    def utc_s(self, wall_s: int) -> int:
        """Seconds since 1970 UTC."""
        day = wall_s // DAY_S
        offset = self._midnight_s(day)
        if offset is None or offset != self._midnight_s(day + 1):
            return _exact_utc_s(self._zone, wall_s)
        return wall_s - offset

    def _midnight_s(self, day: int) -> int | None:
        """The offset with which a date begins; None when the clock changes at that very time."""
        try:
            return self._midnights[day]
        except KeyError:
            midnight = datetime.fromordinal(day + _EPOCH_ORDINAL)
            offset = self._zone.utcoffset(midnight)
            is_one = offset == self._zone.utcoffset(midnight.replace(fold=1))
            found = (offset or timedelta(0)) // _SECOND if is_one else None
            self._midnights[day] = found
            return found


def _exact_utc_s(zone: ZoneInfo, wall_s: int) -> int:
    first, second = _offset_s(zone, wall_s, 0), _offset_s(zone, wall_s, 1)
    if first >= second:  # one instant, or two: the first has the larger offset
        return wall_s - first
    return _change_s(zone, wall_s - second, wall_s - first)
