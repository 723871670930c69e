"""The bundled hours against the sessions of exchange_calendars, which are kept as golden instants.

The direct comparison, where exchange_calendars is installed, is in test_calendars.py.
"""

from __future__ import annotations

import json
import os
import random
from bisect import bisect_right
from pathlib import Path

import pytest

from alphapulse.log import InvalidInput, parse_time
from alphapulse.registry import venues
from alphapulse.registry.venues import (
    Phase,
    Timetable,
    bundled_hours,
    bundled_names,
    from_plain,
    plain,
    read_toml,
)
from alphapulse.registry.venues.bundled import FILES
from tests.registry.venues.exporting import GOLDEN, GOLDEN_MICS, MINUTE_NS

SEED = int(os.environ.get("ALPHAPULSE_TEST_SEED", random.SystemRandom().getrandbits(32)))
DATA = Path(venues.__file__).parent / "data"
RANDOM_MINUTES = 10_000
YEARS = parse_time("2020") // MINUTE_NS, parse_time("2027") // MINUTE_NS


class Sessions:
    """What instants of sessions say, by bisection; the same questions as to a timetable."""

    def __init__(self, sessions: list[tuple[int, ...]]) -> None:
        self.sessions = sessions
        self.opens = [session[0] for session in sessions]
        self.closes = [session[-1] for session in sessions]

    def phase_at(self, at: int) -> Phase:
        place = bisect_right(self.opens, at) - 1
        if place < 0 or at >= self.closes[place]:
            return Phase.CLOSED
        part = bisect_right(self.sessions[place], at)
        return Phase.BREAK if part == 2 else Phase.CONTINUOUS

    def next_open(self, at: int) -> int:
        return self.opens[bisect_right(self.opens, at)]

    def next_close(self, at: int) -> int:
        return self.closes[bisect_right(self.closes, at)]


@pytest.mark.parametrize("mic", GOLDEN_MICS)
def test_no_answer_differs_from_exchange_calendars(
    mic: str, golden: dict[str, list[tuple[int, ...]]]
) -> None:
    """10,000 random minutes of 2020 to 2026, and every boundary of a session with the minutes and
    the nanoseconds beside it."""
    print(f"ALPHAPULSE_TEST_SEED={SEED}")
    sessions, table = golden[mic], Timetable(bundled_hours(mic))
    theirs = Sessions(sessions)
    minutes = random.Random(SEED)
    instants = [minutes.randrange(*YEARS) * MINUTE_NS for _ in range(RANDOM_MINUTES)]
    for session in sessions:
        for edge in session:
            instants += (edge - MINUTE_NS, edge - 1, edge, edge + MINUTE_NS)
    last = theirs.opens[-1]  # what comes after is not in the golden sessions
    for at in instants:
        phase = theirs.phase_at(at)
        assert table.phase_at(at) is phase, at
        assert table.is_open(at) == (phase is Phase.CONTINUOUS), at
        if at < last:
            assert table.next_open(at) == theirs.next_open(at), at
            assert table.next_close(at) == theirs.next_close(at), at
    ours = list(table.sessions(YEARS[0] * MINUTE_NS, YEARS[1] * MINUTE_NS))
    assert [(each.open, each.close) for each in ours] == list(
        zip(theirs.opens, theirs.closes, strict=True)
    )
    print(f"{mic}: {len(instants)} instants, {len(sessions)} sessions, 0 differences")


def test_the_golden_sessions_are_those_of_seven_years(
    golden: dict[str, list[tuple[int, ...]]],
) -> None:
    counts = {mic: len(sessions) for mic, sessions in golden.items()}
    assert counts == COUNTS
    assert {len(session) for session in golden["XTKS"]} == {4}
    assert {len(session) for session in golden["XHKG"]} == {2, 4}
    assert json.loads(GOLDEN.read_text())["licence"].startswith("Apache-2.0")


COUNTS = {"XNAS": 1759, "XNYS": 1759, "XLON": 1768, "XETR": 1782, "XTKS": 1707, "XHKG": 1725}


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_files_are_as_they_were_exported(name: str) -> None:
    hours = bundled_hours(name)
    assert from_plain(plain(hours)) == hours
    data = (DATA / f"{name}.toml").read_bytes()
    if name == venues.ALWAYS:
        assert hours.always
        with pytest.raises(InvalidInput, match="field venues"):
            read_toml(data)
    else:
        assert read_toml(data) == ((name, hours),)
        assert hours.holidays_to == "2028-12-31"


def test_every_file_has_a_name_and_a_source() -> None:
    files = {path.name for path in DATA.iterdir()} - {"SOURCES.md"}
    assert files == {f"{name}.toml" for name in bundled_names()} | {*FILES.values()}
    sources = (DATA / "SOURCES.md").read_text()
    assert [name for name in sorted(files) if f"| `{name}` |" not in sources] == []


@pytest.mark.parametrize("name", ["XASX", "xnas", "", "../SOURCES"])
def test_what_is_not_bundled(name: str) -> None:
    with pytest.raises(InvalidInput, match="none come with this project"):
        bundled_hours(name)
