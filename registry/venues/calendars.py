"""Hours from the package exchange_calendars, which the extra `[calendars]` installs.

It knows for each of its calendars, by MIC, the opening, the break and the close of every session,
as instants; holidays and half days follow from its rules and lists. From that comes what people
would have written: for each weekday the times that most of its sessions have, for each period in
which that package says that times were alike, and every other date as a special day. What is
exported is then compiled and compared with the source, session by session, so a calendar of a kind
that this does not understand is refused and not exported wrong.

It has no auctions, nothing before the opening and nothing after the close, so neither have these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import zip_longest
from types import ModuleType
from typing import Any, Final, NamedTuple

from alphapulse.log import AlphaPulseError, InvalidInput
from alphapulse.registry import terms, validation

from .hours import (
    Hours,
    HoursInvalid,
    LocalDays,
    Rule,
    Span,
    SpecialDay,
    clock_text,
    define,
    rule,
    span,
    special_day,
    weekdays_text,
)
from .sessions import Session, Timetable
from .zones import DAY_S, day_of, day_text, offset_at_s, zone_named

FIRST: Final = "2010-01-01"
"""From when, unless said otherwise: further back its calendars are less complete."""
_NS: Final = 1_000_000_000
_NO_TIME: Final = -(1 << 63)
"""What pandas has for the break of a session without one."""
_USUAL_DAYS: Final = 366
_Times = tuple[Span, ...]


class CalendarsMissing(AlphaPulseError, ImportError):
    problem = "the package exchange_calendars is not installed"
    cure = "install the extra: pip install 'alphapulse[calendars]'"


class UnknownCalendar(InvalidInput):
    problem = "exchange_calendars has no such calendar"
    cure = "use a MIC such as XNYS; `calendar_names()` lists them"


class _Session(NamedTuple):
    day: int
    instants: tuple[int, ...]
    """Open, close; or open, start of the break, end of the break, close: ns UTC."""
    times: _Times


@cache
def _package() -> ModuleType:
    """Loaded when it is first needed: it takes a second and 100 MB, most of it for pandas."""
    try:
        return import_module("exchange_calendars")
    except ImportError as error:
        raise CalendarsMissing("exporting a calendar", missing=error.name) from error


def source() -> str:
    """`exchange_calendars 4.13.2`. Raises CalendarsMissing."""
    from importlib.metadata import version

    _package()
    return f"exchange_calendars {version('exchange_calendars')}"


def calendar_names() -> tuple[str, ...]:
    """MICs, and names of that package's own such as 24/7. Raises CalendarsMissing."""
    return tuple(sorted(_package().get_calendar_names()))


def from_calendar(name: str, first: str = "", last: str = "") -> Hours:
    """The hours of a calendar from one date to another; its rules go on after the last.

    Without dates from `FIRST` on, or since when the calendar knows, to a year from today. Raises
    CalendarsMissing, UnknownCalendar, and HoursInvalid for dates that the calendar does not have.
    Cost: a second, and some for the package.
    """
    calendar, first_day, last_day = _calendar(name, first, last)
    if calendar.name == "24/7":
        return define("UTC", always=True)
    in_order = list(_sessions(calendar))
    sessions = {each.day: each for each in in_order}
    rules = list(_rules(sessions, _periods(calendar, first_day, max(sessions))))
    days = list(_special_days(calendar, sessions, rules, first_day, last_day))
    hours = define(str(calendar.tz), rules, days, holidays_to=day_text(last_day))
    _compare(name, hours, [each for each in in_order if each.day <= last_day])
    return hours


def _calendar(name: str, first: str, last: str) -> tuple[Any, int, int]:
    """The calendar up to a year after the last date, by which to tell what is usual then."""
    if name not in _package().get_calendar_names():
        raise UnknownCalendar("exporting a calendar", calendar=validation.shown(name))
    known = _made(name)
    low, high = known.bound_min(), known.bound_max()
    low, high = (str(each.date()) if each is not None else "" for each in (low, high))
    first = terms.day(first, "first") if first else max(low, FIRST)
    last = terms.day(last, "last") if last else str(known.default_end().date())
    if first > last or (low and first < low) or (high and last > high):
        raise HoursInvalid(
            "exporting a calendar", problem="it does not know these dates", calendar=name,
            first=first, last=last, knows=f"{low}..{high}", cure="ask for dates that it knows",
        )  # fmt: skip
    further = day_text(day_of(last) + _USUAL_DAYS)
    end = min(further, high) if high else further
    return _made(name, start=first, end=end), day_of(first), day_of(last)


def _made(name: str, **dates: str) -> Any:
    try:
        return _package().get_calendar(name, **dates)
    except Exception as error:  # its calendars raise what pandas does, which is anything
        raise HoursInvalid(
            "exporting a calendar", calendar=name,
            problem=f"exchange_calendars cannot make it: {str(error)[:200]}",
            cure="try other versions of exchange_calendars and pandas",
        ) from error  # fmt: skip


def _sessions(calendar: Any) -> Iterator[_Session]:
    columns = (
        calendar.sessions_nanos, calendar.opens_nanos, calendar.break_starts_nanos,
        calendar.break_ends_nanos, calendar.closes_nanos,
    )  # fmt: skip
    zone = zone_named(str(calendar.tz))
    for midnight, *row in zip(*(column.tolist() for column in columns), strict=True):
        day = midnight // (_NS * DAY_S)
        instants = tuple(each for each in row if each != _NO_TIME)
        walls = [each // _NS + offset_at_s(zone, each // _NS) - day * DAY_S for each in instants]
        edges = [clock_text(each) for each in walls]
        phases = ["continuous", "break", "continuous"] if len(edges) == 4 else ["continuous"]
        times = tuple(map(span, phases, edges[:-1], edges[1:]))
        yield _Session(day, instants, times)


def _periods(calendar: Any, first: int, last: int) -> list[tuple[int, int]]:
    """First and last days: cut where the package says that times change, and at each new year,
    because weekdays change without its saying so. Like ones are put together by `define`."""
    cuts = {first}
    for name in ("open_times", "break_start_times", "break_end_times", "close_times"):
        for since, _ in getattr(calendar, name) or ():
            if since is not None:
                cuts.add(day_of(str(since.date())))
    for year in range(int(day_text(first)[:4]) + 1, int(day_text(last - _USUAL_DAYS // 2)[:4]) + 1):
        cuts.add(day_of(f"{year}-01-01"))
    begins = sorted(cut for cut in cuts if first <= cut <= last)
    return list(zip(begins, [*(begin - 1 for begin in begins[1:]), last], strict=True))


def _rules(sessions: dict[int, _Session], periods: list[tuple[int, int]]) -> Iterator[Rule]:
    """What most days of a weekday have in common."""
    for first, last in periods:
        for weekday in range(7):
            days = [day for day in range(first, last + 1) if (day + 3) % 7 == weekday]
            found = Counter(sessions[day].times for day in days if day in sessions)
            times, count = found.most_common(1)[0] if found else ((), 0)
            if 2 * count < len(days):
                continue
            until = "" if (first, last) == periods[-1] else day_text(last)
            for each in times:
                yield rule(each.phase, weekdays_text([weekday]), each.start, each.end,
                           day_text(first), until)  # fmt: skip


def _special_days(
    calendar: Any, sessions: dict[int, _Session], rules: list[Rule], first: int, last: int
) -> Iterator[SpecialDay]:
    """Every date that is not as the rules say."""
    usual = LocalDays(Hours("UTC", tuple(rules)))
    names = _names(calendar, first, last)
    for day in range(first, last + 1):
        expected = tuple(
            Span(clock_text(part.start_s), clock_text(part.end_s), part.phase.name.lower())
            for part in usual.on(day)
        )
        found = sessions[day].times if day in sessions else ()
        if found != expected:
            yield special_day(day_text(day), _reason(names.get(day, ""), found, expected), found)


def _reason(name: str, found: _Times, expected: _Times) -> str:
    if not found:
        return name or "market holiday"
    what = "special hours"
    if expected and found[0].start == expected[0].start:
        what = "early close" if found[-1].end < expected[-1].end else what
    elif expected and found[-1].end == expected[-1].end:
        what = "late open" if found[0].start > expected[0].start else what
    return f"{what}: {name}" if name else what


def _names(calendar: Any, first: int, last: int) -> dict[int, str]:
    """What the package calls its special days; those that it only lists have no name."""
    named = [each for _, each in (*calendar.special_opens, *calendar.special_closes)]
    found: dict[int, str] = {}
    for holidays in [calendar.regular_holidays, *named]:
        if hasattr(holidays, "rules"):  # else a number of a weekday, or nothing
            days = holidays.holidays(day_text(first), day_text(last), return_name=True)
            for moment, name in days.items():
                found.setdefault(day_of(str(moment.date())), name)
    return found


def _compare(name: str, hours: Hours, sessions: list[_Session]) -> None:
    stop = sessions[-1].instants[-1]
    ours = Timetable(hours).sessions(sessions[0].instants[0], stop)
    for theirs, found in zip_longest(sessions, ours):
        same = theirs is not None and found is not None and (
            day_text(theirs.day) == found.date and theirs.instants == _instants(found)
        )  # fmt: skip
        if not same:
            raise HoursInvalid(
                "exporting a calendar", problem="its sessions are of a kind that is not understood",
                calendar=name, theirs=day_text(theirs.day) if theirs else "none",
                ours=found.date if found else "none", cure="write its hours as TOML or CSV",
            )  # fmt: skip


def _instants(session: Session) -> tuple[int, ...]:
    return (session.phases[0].start, *(each.end for each in session.phases))
