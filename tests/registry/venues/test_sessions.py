"""Timetables: against the clock on the wall, minute by minute, and at known instants."""

from __future__ import annotations

from itertools import islice, pairwise
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import InvalidInput, format_time, parse_time
from alphapulse.registry.venues import (
    Hours,
    Phase,
    Rule,
    Session,
    Timetable,
    UnknownZone,
    bundled_hours,
    define,
    rule,
    span,
    special_day,
)
from alphapulse.registry.venues.sessions import CHUNK_BITS
from tests.registry.venues.worlds import STEP_S, any_hours, phase_by_the_clock

NS = 1_000_000_000
C = Phase.CONTINUOUS
NEVER = None


def ns(text: str) -> int:
    return parse_time(text)


def text(instant: int | None) -> str | None:
    return None if instant is None else format_time(instant)[:16]


@pytest.fixture(scope="module")
def tokyo() -> Timetable:
    return Timetable(bundled_hours("XTKS"))


# --- against the clock on the wall -----------------------------------------------------------


@given(any_hours(), st.integers(0, 45), st.integers(1, 3))
def test_every_answer_is_what_the_clock_on_the_wall_says(
    hours: Hours, first: int, days: int
) -> None:
    """Around clock changes of March and April 2026, and where the random rules begin and end."""
    start_s = ns("2026-03-01") // NS + first * 86_400
    instants = range(start_s, start_s + days * 86_400, STEP_S)
    by_clock = [phase_by_the_clock(hours, at_s) for at_s in instants]
    table = Timetable(hours)
    for at_s, (_, phase) in zip(instants, by_clock, strict=True):
        for at in (at_s * NS, (at_s + STEP_S) * NS - 1):
            assert table.phase_at(at) is phase
            assert table.is_open(at) == (phase is C)
            assert table.is_open(at, phase)
            assert not table.is_open(at, Phase((phase + 1) % 7))
    changes = [
        (at_s * NS, phase) for (_, before), (at_s, (_, phase))
        in pairwise(zip(instants, by_clock, strict=True)) if before[1] is not phase
    ]  # fmt: skip
    _check_changes(table, start_s * NS, instants.stop * NS, changes)
    trading = [at_s * NS for at_s, found in zip(instants, by_clock, strict=True) if found[1] is C]
    dates = [date for date, phase in by_clock if phase is C]
    _check_sessions(
        table, start_s * NS, instants.stop * NS, list(zip(dates, trading, strict=True))
    )


def _check_changes(
    table: Timetable, start: int, stop: int, changes: list[tuple[int, Phase]]
) -> None:
    at = start
    for instant, phase in changes:
        assert table.until(at) == table.until(instant - 1) == instant
        assert (table.next_phase(at, phase) or stop) <= instant
        assert table.next_phase(instant - 1, phase) == instant
        at = instant
    last = table.until(at)
    assert last is None or last >= stop or table.pieces[0].hours.always


def _check_sessions(
    table: Timetable, start: int, stop: int, trading: list[tuple[str, int]]
) -> None:
    """trading: date of the session and instant, for each step that is open."""
    steps: dict[str, list[int]] = {}
    for date, at in trading:
        steps.setdefault(date, []).append(at)
    found = {each.date: each for each in table.sessions(start, stop)}
    if table.pieces[0].hours.always:
        assert found == {}
        return
    assert steps.keys() <= found.keys()
    whole = [
        date for date in steps
        if found[date].phases[0].start >= start and found[date].phases[-1].end <= stop
    ]  # fmt: skip
    for date in whole:
        opens, closes = steps[date][0], steps[date][-1] + STEP_S * NS
        assert (found[date].open, found[date].close) == (opens, closes)
        assert table.next_open(opens - 1) == opens
        assert table.next_close(closes - 1) == closes
    if len(whole) == len(steps):
        for before, after in pairwise(sorted(steps[date][0] for date in whole)):
            assert table.next_open(before) == after


# --- at known instants -----------------------------------------------------------------------


def test_the_close_of_tokyo_moved(tokyo: Timetable) -> None:
    for day, close in (("2024-11-01", "06:00"), ("2024-11-05", "06:30")):
        last = ns(f"{day}T{close}:00Z")
        assert tokyo.is_open(last - 1)
        assert not tokyo.is_open(last)
        assert tokyo.next_close(last - 1) == last
        assert tokyo.until(last - 1) == last
        (session,) = tokyo.sessions(ns(day), ns(day) + 86_400 * NS)
        assert (session.date, session.close) == (day, last)
    assert text(tokyo.next_open(ns("2024-11-01T06:00:00Z"))) == "2024-11-05T00:00"  # Culture Day


def test_the_lunch_break_is_within_a_session(tokyo: Timetable) -> None:
    noon = ns("2026-11-24T12:00:00+09:00")
    assert tokyo.phase_at(noon) is Phase.BREAK
    assert not tokyo.is_open(noon)
    assert tokyo.is_open(noon, Phase.BREAK)
    assert text(tokyo.until(noon)) == "2026-11-24T03:30"
    assert text(tokyo.next_phase(noon, C)) == "2026-11-24T03:30"
    assert text(tokyo.next_open(noon)) == "2026-11-25T00:00"
    assert text(tokyo.next_close(noon)) == "2026-11-24T06:30"


def test_new_york_through_clock_changes_and_half_days() -> None:
    table = Timetable(bundled_hours("XNYS"))
    opens = [text(each.open) for each in table.sessions(ns("2026-03-06"), ns("2026-03-10"))]
    assert opens == ["2026-03-06T14:30", "2026-03-09T13:30"]
    (day,) = table.sessions(ns("2026-11-27"), ns("2026-11-28"))
    assert (day.reason, text(day.close)) == ("early close: Black Friday", "2026-11-27T18:00")
    assert list(table.sessions(ns("2025-01-09"), ns("2025-01-10"))) == []  # a day of mourning
    assert text(table.next_open(ns("2025-01-09T15:00:00Z"))) == "2025-01-10T14:30"


def test_phases_without_trading_are_not_open() -> None:
    rules = [
        rule("pre_open", "mon-fri", "07:00", "09:30"),
        rule("opening_auction", "mon-fri", "09:30", "09:35"),
        rule("continuous", "mon-fri", "09:35", "16:00"),
        rule("closing_auction", "mon-fri", "16:00", "16:05"),
        rule("post", "mon-fri", "17:00", "18:00"),
    ]
    table = Timetable(define("UTC", rules, [
        special_day("2026-01-06", "auction only", [span("closing_auction", "12:00", "12:10")]),
    ]))  # fmt: skip
    phases = {
        "06:59": Phase.CLOSED, "07:00": Phase.PRE_OPEN, "09:30": Phase.OPENING_AUCTION, "09:35": C,
        "15:59": C, "16:00": Phase.CLOSING_AUCTION, "16:05": Phase.CLOSED, "17:00": Phase.POST,
        "18:00": Phase.CLOSED,
    }  # fmt: skip
    for minute, phase in phases.items():
        assert table.phase_at(ns(f"2026-01-05T{minute}:00Z")) is phase
        assert table.is_open(ns(f"2026-01-05T{minute}:00Z")) == (phase is C)
    friday = ns("2026-01-05T07:00:00Z")
    assert text(table.next_open(friday)) == "2026-01-05T09:35"
    assert text(table.next_close(friday)) == "2026-01-05T16:00"
    monday, tuesday = islice(table.sessions(ns("2026-01-05")), 2)
    assert [each.phase for each in monday.phases] == [1, 2, 3, 5, 6]
    assert (tuesday.date, tuesday.open, tuesday.close) == ("2026-01-06", None, None)
    assert text(table.next_open(ns("2026-01-05T10:00:00Z"))) == "2026-01-07T09:35"


def test_a_session_over_midnight_belongs_to_its_date() -> None:
    """As futures trade: Monday's session begins on Sunday evening."""
    rules = [rule("continuous", "mon-fri", "17:00-1", "16:00")]
    days = [special_day("2026-01-06", "holiday", [])]
    table = Timetable(define("America/Chicago", rules, days))
    sunday = ns("2026-01-04T22:59:00Z")
    assert not table.is_open(sunday)
    assert text(table.next_open(sunday)) == "2026-01-04T23:00"
    assert table.is_open(sunday + 60 * NS)
    (monday,) = table.sessions(sunday, ns("2026-01-05T00:00:00Z"))
    assert (monday.date, text(monday.close)) == ("2026-01-05", "2026-01-05T22:00")
    # Tuesday is a holiday, so nothing begins on Monday evening.
    assert text(table.next_open(ns("2026-01-05T10:00:00Z"))) == "2026-01-06T23:00"
    week = Timetable(define("UTC", [rule("continuous", "sun", "22:00", "22:00+5")]))
    assert week.is_open(ns("2026-01-08T12:00:00Z"))
    assert text(week.next_close(ns("2026-01-05T12:00:00Z"))) == "2026-01-09T22:00"


def test_sessions_that_adjoin_are_sessions_without_a_change() -> None:
    table = Timetable(define("UTC", [rule("continuous", "mon-sun", "00:00", "24:00")]))
    at = ns("2026-01-05T12:00:00Z")
    assert table.until(at) is NEVER
    assert table.next_phase(at, C) is NEVER
    assert text(table.next_open(at)) == text(table.next_close(at)) == "2026-01-06T00:00"


def test_what_is_always_open() -> None:
    table = Timetable(bundled_hours("always"))
    for at in (0, 1, -(1 << 62), ns("2026-01-05"), (1 << 63) - 1):
        assert table.is_open(at)
        assert table.phase_at(at) is C
        assert not table.is_open(at, Phase.BREAK)
        assert (table.next_open(at), table.next_close(at), table.until(at)) == (None, None, None)
    assert list(table.sessions(0)) == []


# --- the edges of time -----------------------------------------------------------------------


def test_changes_at_the_seam_of_two_chunks() -> None:
    """A chunk's first instant is a change, the end of a phase, or within one."""
    seam = 49 << CHUNK_BITS
    second = seam // NS + 1  # the first whole second in the chunk
    for shift in (-1, 0, 1, 3600):
        start = second + shift
        low, high = (text(each * NS) for each in (start, start + 7200))
        assert low is not None and high is not None
        day, clock = format_time(start * NS)[:10], format_time(start * NS)[11:19]
        end_s = start + 7200 - ns(day) // NS
        end = f"{end_s // 3600 % 24:02d}:{end_s // 60 % 60:02d}:{end_s % 60:02d}"
        end += "+1" if end_s >= 86_400 else ""
        days = [special_day(day, "x", [span("continuous", clock, end)])]
        table = Timetable(define("UTC", days=days))
        opens, closes = start * NS, (start + 7200) * NS
        expected = [(opens - 1, False), (opens, True), (closes - 1, True), (closes, False)]
        assert [(at, table.is_open(at)) for at, _ in expected] == expected
        assert table.next_open(opens - 1) == table.until(opens - 1) == opens
        assert table.next_close(opens) == table.until(opens) == closes
        assert table.next_open(0) == table.next_phase(0, C) == opens
        assert table.next_open(opens) is table.until(closes) is NEVER
        assert [each.open for each in table.sessions(0)] == [opens]


def test_a_change_at_the_first_instant_of_a_chunk() -> None:
    """1970 is the only whole second with which a chunk begins."""
    table = Timetable(define("UTC", [rule("continuous", "thu", "00:00", "01:00", "1970-01-01")]))
    assert table.until(-1) == table.next_open(-1) == table.next_phase(-1, C) == 0
    assert (table.is_open(-1), table.is_open(0)) == (False, True)
    assert table.until(0) == 3600 * NS


def test_answers_look_over_the_seam_of_two_chunks() -> None:
    """Long after the last date that is named, where nothing is compiled but what is asked about."""
    weekly = rule("continuous", "wed", "10:00", "11:00")
    for key in range(49, 56):
        table = Timetable(define("UTC", [weekly]))
        at = (key << CHUNK_BITS) - 1
        session = next(each for each in table.sessions(at) if (each.open or 0) > at)
        assert table.next_open(at) == table.next_phase(at, C) == table.until(at) == session.open
        assert table.next_close(at) == session.close
        assert table.statistics().chunks == 2


def test_rules_that_end_and_rules_that_do_not() -> None:
    ended = Timetable(define("UTC", [rule("continuous", "mon-fri", "09:00", "17:00",
                                          "1990-01-01", "1999-12-31")]))  # fmt: skip
    assert text(ended.next_open(ns("1800-01-01"))) == "1990-01-01T09:00"
    assert text(ended.next_close(ns("1999-12-31T16:00:00Z"))) == "1999-12-31T17:00"
    assert ended.next_open(ns("1999-12-31T09:00:00Z")) is NEVER
    assert ended.next_close(ns("1999-12-31T17:00:00Z")) is NEVER
    assert ended.until(ns("2026-01-01")) is NEVER
    assert ended.statistics().chunks < 20
    weekly = rule("continuous", "mon-fri", "9:30", "16:00")
    endless = Timetable(define("America/New_York", [weekly]))
    assert text(endless.next_open(ns("1750-01-02T00:00:00Z"))) == "1750-01-02T14:26"  # -4:56:02
    assert text(endless.next_open(ns("2250-07-01T00:00:00Z"))) == "2250-07-01T13:30"
    last = endless.next_open(ns("2260-12-30T00:00:00Z"))
    assert text(last) == "2260-12-31T14:30" or last is None or text(last) == "2260-12-30T14:30"
    assert endless.next_open(ns("2261-06-01")) is NEVER
    assert not endless.is_open(ns("1690-01-03"))


@pytest.mark.parametrize("at", [1 << 63, -(1 << 63) - 1, 1 << 200])
def test_instants_beyond_64_bits(at: int) -> None:
    table = Timetable(bundled_hours("XNYS"))
    for ask in (table.is_open, table.phase_at, table.next_open, table.next_close, table.until):
        with pytest.raises(InvalidInput, match="reading field at"):
            ask(at)
    with pytest.raises(InvalidInput, match="reading field start"):
        next(table.sessions(at))


def test_sessions_are_lazy_and_have_an_instant_in_the_range(tokyo: Timetable) -> None:
    opens, closes = ns("2026-11-24T00:00:00Z"), ns("2026-11-24T06:30:00Z")
    dates = [each.date for each in islice(tokyo.sessions(opens), 2)]
    assert dates == ["2026-11-24", "2026-11-25"]
    assert [each.date for each in tokyo.sessions(closes - 1, closes)] == ["2026-11-24"]
    assert list(tokyo.sessions(closes, closes + 1)) == []
    assert [each.date for each in tokyo.sessions(opens, opens + 1)] == ["2026-11-24"]
    assert list(tokyo.sessions(opens - 1, opens)) == []
    assert next(tokyo.sessions(0)).date == "2010-01-04"  # where the bundled hours begin
    assert list(tokyo.sessions(closes, opens)) == []


# --- under another zone database -------------------------------------------------------------


@pytest.mark.parametrize(
    "start, end, opens, closes",
    [
        ("02:30", "16:00", "2026-03-08T07:00", "2026-03-08T20:00"),
        ("00:00", "02:30", "2026-03-08T05:00", "2026-03-08T07:00"),
        ("02:15", "02:45", None, None),
    ],
)
def test_a_clock_change_that_moved_to_where_a_session_begins(
    start: str, end: str, opens: str | None, closes: str | None
) -> None:
    """`define` refuses these; written down before the database changed, they have a meaning."""
    rules = (Rule("continuous", "sun", start, end), Rule("post", "sun", end, "23:00"))
    table = Timetable(Hours("America/New_York", rules))
    (session,) = table.sessions(ns("2026-03-08T06:00:00Z"), ns("2026-03-08T23:00:00Z"))
    assert (text(session.open), text(session.close)) == (opens, closes)
    _check_no_overlap(session)


def test_a_clock_that_is_put_back_to_where_a_session_begins() -> None:
    rules = (Rule("pre_open", "sun", "00:00", "01:30"), Rule("continuous", "sun", "01:30", "16:00"))
    table = Timetable(Hours("America/New_York", rules))
    (session,) = table.sessions(ns("2026-11-01T10:00:00Z"), ns("2026-11-01T11:00:00Z"))
    assert text(session.open) == "2026-11-01T05:30"  # the first of two
    _check_no_overlap(session)


def _check_no_overlap(session: Session) -> None:
    assert all(one.end <= other.start for one, other in pairwise(session.phases))


def test_a_zone_that_the_database_lacks() -> None:
    with pytest.raises(UnknownZone):
        Timetable(Hours("Mars/Olympus_Mons", (Rule("continuous", "mon", "09:00", "10:00"),)))


def test_threads_may_ask_at_once(tokyo: Timetable) -> None:
    table = Timetable(bundled_hours("XTKS"))
    instants = [ns(f"{year}-06-15T01:00:00Z") for year in range(2022, 2027)]
    expected = [tokyo.is_open(at) for at in instants]
    found: list[list[bool]] = []
    threads = [Thread(target=lambda: found.append([table.is_open(at) for at in instants]))
               for _ in range(4)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_statistics(tokyo: Timetable) -> None:
    table = Timetable(bundled_hours("XTKS"))
    assert table.statistics() == (0, 0, 0)
    table.is_open(ns("2026-01-01"))
    found = table.statistics()
    assert found.chunks == 1
    assert 800 < found.changes < 1400
    assert found.size_bytes > 8 * found.changes
