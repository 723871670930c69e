"""Makes the bundled hours and the golden sessions from exchange_calendars (extra `[calendars]`).

    python -m tests.registry.venues.exporting bundled    writes registry/venues/data/*.toml
    python -m tests.registry.venues.exporting golden     writes GOLDEN, if it is not there

The two go different ways from the package: bundled hours are its calendars as rules and special
days, golden sessions are its own instants as they are.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from importlib import import_module
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

from alphapulse.registry.venues import ALWAYS, bundled_names, from_calendar, to_toml
from alphapulse.registry.venues.calendars import source

GOLDEN: Final = Path(__file__).with_name("sessions_2020_2026.json")
GOLDEN_MICS: Final = ("XNAS", "XNYS", "XLON", "XETR", "XTKS", "XHKG")
FIRST, LAST = "2010-01-01", "2028-12-31"
"""Of the bundled hours."""
DATA: Final = Path(__file__).parents[3] / "registry" / "venues" / "data"
MINUTE_NS: Final = 60_000_000_000


def sessions_of(calendar: Any) -> list[tuple[int, ...]]:
    """Open and close of each session of 2020 to 2026, with the break between if it has one; ns."""
    columns = (
        calendar.opens_nanos, calendar.break_starts_nanos, calendar.break_ends_nanos,
        calendar.closes_nanos,
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [tuple(instant for instant in row if instant >= 0) for row in rows]


def packed(sessions: list[tuple[int, ...]]) -> str:
    """Minutes since the instant before, a line for each session; compressed, as base64."""
    lines, before = [], 0
    for session in sessions:
        minutes = [instant // MINUTE_NS for instant in session]
        if any(instant % MINUTE_NS for instant in session):
            raise ValueError(f"not a whole minute: {session}")
        steps = [minute - last for last, minute in pairwise([before, *minutes])]
        lines.append(" ".join(map(str, steps)))
        before = minutes[-1]
    return base64.b64encode(zlib.compress("\n".join(lines).encode(), 9)).decode()


def unpacked(text: str) -> list[tuple[int, ...]]:
    before, found = 0, []
    for line in zlib.decompress(base64.b64decode(text)).decode().splitlines():
        minutes = list(accumulate(map(int, line.split()), initial=before))[1:]
        before = minutes[-1]
        found.append(tuple(minute * MINUTE_NS for minute in minutes))
    return found


def write_bundled() -> None:
    for name in bundled_names():
        hours = from_calendar("24/7" if name == ALWAYS else name, FIRST, LAST)
        about = f"# Exported from {source()}; see SOURCES.md.\n"
        venues = [] if name == ALWAYS else [name]
        (DATA / f"{name}.toml").write_text(about + to_toml(hours, venues))


def write_golden() -> None:
    if GOLDEN.exists():
        raise SystemExit(f"{GOLDEN.name} is golden: it is never made again")
    get_calendar = import_module("exchange_calendars").get_calendar
    calendars = {
        mic: packed(sessions_of(get_calendar(mic, start="2020-01-01", end="2026-12-31")))
        for mic in GOLDEN_MICS
    }
    about = {
        "source": f"PyPI {source()}, sessions from 2020-01-01 to 2026-12-31",
        "licence": "Apache-2.0, © 2018 Quantopian, Inc. and the authors of exchange_calendars",
        "form": "tests/registry/venues/exporting.py, packed()",
    }
    GOLDEN.write_text(json.dumps(about | {"calendars": calendars}, indent=1) + "\n")


if __name__ == "__main__":
    {"bundled": write_bundled, "golden": write_golden}[sys.argv[1]]()
