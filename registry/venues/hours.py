"""Trading hours as they are written down: dated weekly rules in local time, and single days.

A *session* is what happens under one date of the venue's calendar. A rule says on which weekdays,
from which date to which, a session has a phase, and when by the clock on the wall; a special day
replaces everything that the rules say of its date, by phases of its own or by none (closed). What
no phase covers is closed, so a gap between two is fine. Phases may not overlap, neither within a
session nor of one session with another.

Times count from the midnight that begins the session's date, and a phase may begin the day before
or end up to six days after: `18:00-1` is 18:00 of the day before, `02:00+1` is 02:00 of the next. A
session over midnight says so; an end that is not after its start is refused, never guessed to be of
the next day. The last instant of a phase is no part of it.

A time that the clock skips or shows twice on a day with a session is refused when hours are
defined, by date and rule: nobody can say which instant is meant, and any choice would be wrong by
an hour at some venue. That is asked of the years 1970 to 2037, with the zone database of that
moment. It is no part of what hours must fulfil for ever, because governments move clock changes:
what is read back has a meaning under any database (`zones`).

What `define` gives is canonical: one spelling of each time, date and weekday, one order, weekdays
and adjoining periods of like rules put together. So equal hours have equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple, NoReturn

import msgspec

from alphapulse.log import InvalidInput
from alphapulse.registry import terms, validation

from .zones import (
    DAY_S,
    clock_changes,
    day_of,
    day_text,
    wall_text,
    zone_name,
    zone_named,
)

RULES_MAX: Final = 500
DAYS_MAX: Final = 10_000
"""Special days."""
HOURS_SIZE_BYTES_MAX: Final = 900_000
"""In MessagePack: an event has at most 1 MiB. Hong Kong's nineteen years are 15 kB."""
REASON_SIZE_BYTES_MAX: Final = 128
DAYS_BEFORE, DAYS_AFTER = 1, 6
"""How many days before and after its date a session may have phases."""
YEARS: Final = (1700, 2260)
"""Of dates: their instants fit 64 bits in every zone."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_IN_FULL: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAYS: Final = {
    word: number for number, name in enumerate(_IN_FULL) for word in (name, name[:3])
}
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?([+-]\d)?", re.ASCII)


class Phase(IntEnum):
    """What a venue does at an instant. `CLOSED` is what no phase covers."""

    CLOSED = 0
    PRE_OPEN = 1
    OPENING_AUCTION = 2
    CONTINUOUS = 3
    BREAK = 4
    CLOSING_AUCTION = 5
    POST = 6


PHASES: Final = {phase.name.lower(): phase for phase in Phase}


class Span(msgspec.Struct, frozen=True, order=True):
    """A phase of a special day, from its start to before its end."""

    start: str
    end: str
    phase: str

    def __str__(self) -> str:
        return f"{self.phase} {self.start} {self.end}"


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    phase: str
    weekdays: str
    """Of the session: `mon-fri`, `mon,wed,sat`."""
    start: str
    end: str
    first: str = ""
    """The first date on which it holds; empty: it always has."""
    last: str = ""
    """The last date on which it holds; empty: it has no end yet."""

    def __str__(self) -> str:
        dates = f" {self.first}..{self.last}" if self.first or self.last else ""
        return f"{self.phase} {self.weekdays} {self.start} {self.end}{dates}"


class SpecialDay(msgspec.Struct, frozen=True, omit_defaults=True):
    date: str
    reason: str
    phases: tuple[Span, ...] = ()
    """None: closed all day."""


class Hours(msgspec.Struct, frozen=True, omit_defaults=True):
    """Made by `define`, which checks it. Plain data: `plain` and `from_plain`."""

    zone: str
    rules: tuple[Rule, ...] = ()
    days: tuple[SpecialDay, ...] = ()
    """In the order of their dates, each date once."""
    holidays_to: str = ""
    """The last date whose special days are known; after it the rules alone speak."""
    always: bool = False
    """Open at every instant: no rules, no special days."""


class HoursInvalid(InvalidInput):
    problem = "the hours are not valid"
    cure = "correct them; nothing was changed"


class PhasesOverlap(HoursInvalid):
    problem = "two phases overlap"
    cure = "end one where the other begins, or give the rules dates that do not meet"


class LocalTimeInvalid(HoursInvalid):
    cure = "begin or end at another time, or write that date as a special day"


# --- fields ----------------------------------------------------------------------------------


def phase_named(value: object, field: str = "phase") -> Phase:
    """`closed` too, to ask about."""
    found = PHASES.get(validation.stripped(value, field).lower().replace("-", "_"))
    if found is None:
        validation.refuse(field, "there is no such phase", value, f"use one of {', '.join(PHASES)}")
    return found


def _phase(value: object) -> str:
    found = phase_named(value)
    if found is Phase.CLOSED:
        validation.refuse("phase", "what no phase covers is closed", value, "leave the row out")
    return found.name.lower()


def clock_s(value: object, field: str) -> int:
    """Seconds from the midnight that begins the session's date: `9:30`, `16:00:30`, `02:00+1`.

    `24:00` is `00:00+1`. Raises InvalidInput.
    """
    if isinstance(value, time) and value.tzinfo is None and not value.microsecond:
        value = value.isoformat()
    found = _CLOCK.fullmatch(validation.stripped(value, field))
    cure = "write it like 09:30, or 02:00+1 for the next day"
    if found is None:
        validation.refuse(field, "it is no local time", value, cure)
    hour, minute, second = (int(part or 0) for part in found.group(1, 2, 3))
    if minute > 59 or second > 59 or hour > 24 or (hour == 24 and (minute or second)):
        validation.refuse(field, "no clock shows this", value, cure)
    days = int(found[4] or 0)
    seconds = days * DAY_S + hour * 3600 + minute * 60 + second
    if not -DAYS_BEFORE * DAY_S <= seconds <= (DAYS_AFTER + 1) * DAY_S:
        validation.refuse(
            field, f"it must be within {DAYS_BEFORE} day before and {DAYS_AFTER} days after", value,
            "split the session into one for each day",
        )  # fmt: skip
    return seconds


def clock_text(seconds: int) -> str:
    days, rest = divmod(seconds, DAY_S)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}"
    return text + (f":{rest % 60:02d}" if rest % 60 else "") + (f"{days:+d}" if days else "")


def _clocks(start: object, end: object) -> tuple[str, str]:
    start_s, end_s = clock_s(start, "start"), clock_s(end, "end")
    if end_s <= start_s:
        validation.refuse(
            "end", f"it is not after the start, {clock_text(start_s)}", clock_text(end_s),
            "a session over midnight says so: 02:00+1 is 02:00 of the next day",
        )  # fmt: skip
    return clock_text(start_s), clock_text(end_s)


def weekdays_of(value: object) -> frozenset[int]:
    """Monday is 0. `mon-fri`, `sun-thu`, `mon, wed`, in any case, also in full."""
    found: set[int] = set()
    clean = validation.stripped(value, "weekdays").lower()
    for part in clean.replace(",", " ").split():
        first, dash, last = part.partition("-")
        low = _weekday(first, value)
        count = (_weekday(last, value) - low) % 7 + 1 if dash else 1
        found.update((low + step) % 7 for step in range(count))
    if not found:
        validation.refuse("weekdays", "there is none", value, "write them like mon-fri")
    return frozenset(found)


def _weekday(word: str, value: object) -> int:
    found = _WEEKDAYS.get(word)
    if found is None:
        validation.refuse("weekdays", f"{word[:10]!r} is none", value, "write them like mon-fri")
    return found


def weekdays_text(days: Iterable[int]) -> str:
    """Three and more in a row as a range: `mon-thu,sun`."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        f"{WEEKDAYS[run[0]]}-{WEEKDAYS[run[-1]]}" if len(run) > 2
        else ",".join(WEEKDAYS[day] for day in run)
        for run in runs
    )  # fmt: skip


def _date(value: object, field: str) -> str:
    if type(value) is date:
        value = value.isoformat()
    found = terms.day(value, field)
    if not YEARS[0] <= int(found[:4]) <= YEARS[1]:
        validation.refuse(field, f"its year must be {YEARS[0]} to {YEARS[1]}", value)
    return found


def _date_or_none(value: object, field: str) -> str:
    return "" if value == "" else _date(value, field)


def rule(
    phase: object, weekdays: object, start: object, end: object, first: object = "",
    last: object = "",
) -> Rule:  # fmt: skip
    """A rule from what people write. Raises InvalidInput, naming the field."""
    start, end = _clocks(start, end)
    first, last = _date_or_none(first, "first"), _date_or_none(last, "last")
    if first and last and last < first:
        validation.refuse("last", f"it is before the first date, {first}", last)
    days = weekdays_text(weekdays_of(weekdays))
    return Rule(_phase(phase), days, start, end, first, last)


def span(phase: object, start: object, end: object) -> Span:
    """A phase of a special day. Raises InvalidInput, naming the field."""
    start, end = _clocks(start, end)
    return Span(start, end, _phase(phase))


def special_day(day: object, reason: object, phases: Iterable[Span] = ()) -> SpecialDay:
    """Without phases: closed. Raises InvalidInput, naming the field."""
    found = validation.text(reason, "reason", REASON_SIZE_BYTES_MAX)
    if not found:
        validation.refuse("reason", "it is missing", reason, "say why this day is special")
    spans = tuple(sorted(phases, key=lambda each: clock_s(each.start, "start")))
    return SpecialDay(_date(day, "date"), found, spans)


# --- what happens on a date ------------------------------------------------------------------


class Part(NamedTuple):
    """A phase of a session; its times in seconds from the midnight that begins the date."""

    start_s: int
    end_s: int
    phase: Phase
    text: str
    """The rule that says so, for messages."""


class _Weekly(NamedTuple):
    first: int
    last: int
    part: Part


_FIRST_DAY: Final = day_of(f"{YEARS[0]}-01-01")
_LAST_DAY: Final = day_of(f"{YEARS[1]}-12-31")
_ANY_DAY: Final = day_of("2024-01-01")
"""A Monday; errors name it and the days after when all weeks are alike."""


class LocalDays:
    """The sessions of hours in local time, by date. A day is its number since 1970-01-01."""

    def __init__(self, hours: Hours) -> None:
        self._weekly: tuple[list[_Weekly], ...] = tuple([] for _ in WEEKDAYS)
        self._special: dict[int, tuple[Part, ...]] = {}
        self.reasons: dict[int, str] = {}
        edges: list[int] = []
        parts: list[Part] = []
        for each in hours.rules:
            first = day_of(each.first) if each.first else _FIRST_DAY
            last = day_of(each.last) if each.last else _LAST_DAY
            edges += (first, last)
            part = _part(each.phase, each.start, each.end, str(each))
            parts.append(part)
            for weekday in weekdays_of(each.weekdays):
                self._weekly[weekday].append(_Weekly(first, last, part))
        for special in hours.days:
            day = day_of(special.date)
            edges.append(day)
            self.reasons[day] = special.reason
            self._special[day] = tuple(
                _part(each.phase, each.start, each.end, f"{each} of {special.date}")
                for each in special.phases
            )
            parts += self._special[day]
        for weekly in self._weekly:
            weekly.sort(key=lambda each: each.part)
        self.first = min(edges, default=0)
        """No day before has a session; likewise none after `last`."""
        self.last = max(edges, default=-1)
        self.settled = max((edge for edge in edges if edge < _LAST_DAY), default=self.first)
        """After this day every week is like the next."""
        self.earliest_s = min((part.start_s for part in parts), default=0)
        """No session has a phase before this time, from the midnight that begins its date."""
        self.latest_s = max((part.end_s for part in parts), default=0)

    def on(self, day: int) -> tuple[Part, ...]:
        """The phases of a session in order; none when the venue is closed. Cost: 0.5 µs and more
        with the number of rules of one weekday."""
        special = self._special.get(day)
        if special is not None:
            return special
        weekly = self._weekly[(day + 3) % 7]  # day 0 was a Thursday
        return tuple([part for first, last, part in weekly if first <= day <= last])

    def days(self, wall_from_s: int, wall_to_s: int) -> range:
        """All days whose sessions may have a phase, or end one, between two wall times."""
        first = max(self.first, (wall_from_s - self.latest_s) // DAY_S)
        return range(first, min(self.last, (wall_to_s - self.earliest_s) // DAY_S) + 1)


def _part(phase: str, start: str, end: str, text: str) -> Part:
    return Part(clock_s(start, "start"), clock_s(end, "end"), phase_named(phase), text)


# --- hours as a whole ------------------------------------------------------------------------


def define(
    zone: object, rules: Iterable[Rule] = (), days: Iterable[SpecialDay] = (), *,
    holidays_to: object = "", always: bool = False,
) -> Hours:  # fmt: skip
    """Hours that are canonical and hold together. Raises InvalidInput: UnknownZone, PhasesOverlap
    and LocalTimeInvalid name the rules and the date. Cost: 1 ms and
    0.02 ms for each special day; 30 ms for the first hours of a zone."""
    zone_named(zone)
    hours = _canonical(zone, rules, days, holidays_to, always)
    _check_clock_changes(hours)
    return hours


def _canonical(
    zone: object, rules: Iterable[Rule], days: Iterable[SpecialDay], holidays_to: object,
    always: bool,
) -> Hours:  # fmt: skip
    """All that no zone database can change."""
    zone, to = zone_name(zone), _date_or_none(holidays_to, "holidays_to")
    rules, days = list(rules), list(days)
    _check_counts(len(rules), len(days))
    rules = [rule(*_given(each)) for each in rules]
    days = [
        special_day(each.date, each.reason, [span(*_given(phase)) for phase in each.phases])
        for each in days
    ]
    days.sort(key=lambda each: each.date)
    if always and (rules or days or to):
        _refuse("it is open always and has rules or special days", "leave them out, or `always`")
    if not always and not rules and not days:
        _refuse("it has no rule and no special day", "give a rule, or say that it is open always")
    for one, other in pairwise(days):
        if one.date == other.date:
            validation.refuse(
                "date", f"two special days have it: {one.reason}, {other.reason}", one.date,
                "keep one, with all phases of that date",
            )  # fmt: skip
    hours = Hours(zone, tuple(rules), tuple(days), to, always)
    size_bytes = len(msgspec.msgpack.encode(hours))
    if size_bytes > HOURS_SIZE_BYTES_MAX:
        _refuse(f"they have {size_bytes} bytes, at most {HOURS_SIZE_BYTES_MAX} are allowed",
                "leave out the special days of long ago")  # fmt: skip
    _check_overlaps(hours)
    merged = _merged(rules)
    _check_counts(len(merged), len(days))
    return msgspec.structs.replace(hours, rules=merged)


def _check_counts(rules: int, days: int) -> None:
    for name, count, most in (("rules", rules, RULES_MAX), ("days", days, DAYS_MAX)):
        if count > most:
            validation.refuse(name, f"there are {count}, at most {most} are allowed", "")


def _given(each: Rule | Span) -> tuple[str, ...]:
    if isinstance(each, Rule):
        return each.phase, each.weekdays, each.start, each.end, each.first, each.last
    return each.phase, each.start, each.end


def _refuse(problem: str, cure: str) -> NoReturn:
    raise HoursInvalid("defining hours", problem=problem, cure=cure)


def _merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """One rule for what several say alike of adjoining periods, then of several weekdays."""
    periods: dict[tuple[str, str, str, int], list[list[int]]] = {}
    for each in sorted(rules, key=lambda each: each.first):
        first = day_of(each.first) if each.first else _FIRST_DAY
        last = day_of(each.last) if each.last else _LAST_DAY
        for weekday in weekdays_of(each.weekdays):
            known = periods.setdefault((each.phase, each.start, each.end, weekday), [])
            if known and known[-1][1] == first - 1:
                known[-1][1] = last
            else:
                known.append([first, last])
    weekdays: dict[tuple[int, int, str, str, str], list[int]] = {}
    for (phase, start, end, weekday), known in periods.items():
        for first, last in known:
            weekdays.setdefault((first, last, phase, start, end), []).append(weekday)
    found = [
        Rule(
            phase, weekdays_text(days), start, end,
            "" if first == _FIRST_DAY else day_text(first),
            "" if last == _LAST_DAY else day_text(last),
        )
        for (first, last, phase, start, end), days in weekdays.items()
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: (
        each.first, clock_s(each.start, "start"), each.weekdays, each.last, each.phase,
    )))  # fmt: skip


def _check_overlaps(hours: Hours) -> None:
    """On enough days to see every pair of sessions that can meet: any two weeks, two before and
    after where a rule begins or ends, and the days near each special one."""
    local, near = LocalDays(hours), set(range(_ANY_DAY, _ANY_DAY + 15))
    for each in hours.rules:
        for edge in (day_of(text) for text in (each.first, each.last) if text):
            near.update(range(edge - 15, edge + 16))
    for day in local.reasons:
        begins_s = day * DAY_S
        near.update(local.days(begins_s + local.earliest_s, begins_s + local.latest_s))
    parts = sorted(
        ((day * DAY_S + part.start_s, day * DAY_S + part.end_s, day, part)
         for day in near for part in local.on(day)),
    )  # fmt: skip
    for (_, end_s, day, part), (start_s, _, other_day, other) in pairwise(parts):
        if start_s < end_s:
            raise PhasesOverlap(
                "defining hours", date=day_text(day), phase=part.text,
                other_date=day_text(other_day), other=other.text,
            )  # fmt: skip


def _check_clock_changes(hours: Hours) -> None:
    local = LocalDays(hours)
    for change in clock_changes(hours.zone):
        for day in local.days(change.wall_from_s, change.wall_to_s):
            for part in local.on(day):
                for wall_s in (day * DAY_S + part.start_s, day * DAY_S + part.end_s):
                    if change.wall_from_s <= wall_s < change.wall_to_s:
                        _refuse_wall(hours.zone, day, part, wall_s, change.is_jump)


def _refuse_wall(zone: str, day: int, part: Part, wall_s: int, is_jump: bool) -> NoReturn:
    what = "does not exist" if is_jump else "exists twice"
    raise LocalTimeInvalid(
        "defining hours", problem=f"the local time {wall_text(wall_s)} {what}", zone=zone,
        date=day_text(day), phase=part.text,
    )  # fmt: skip


def plain(hours: Hours) -> dict[str, object]:
    """Maps, lists, text and a truth value, as MessagePack and JSON have them."""
    found: dict[str, object] = msgspec.msgpack.decode(msgspec.msgpack.encode(hours))
    return found


def from_plain(value: Mapping[str, object]) -> Hours:
    """What `plain` gave. Everything is checked as `define` does but the zone and its clock changes,
    so that the verdict never depends on a zone database. Raises InvalidInput. Cost: as `define`."""
    try:
        given = msgspec.convert(value, Hours)
        hours = _canonical(given.zone, given.rules, given.days, given.holidays_to, given.always)
    except msgspec.ValidationError as error:
        raise HoursInvalid("reading hours", problem=str(error)) from error
    if hours != given:
        raise HoursInvalid("reading hours", problem="they are not in canonical form",
                           cure="write what `define` gives")  # fmt: skip
    return hours
