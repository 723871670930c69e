"""What long-lived processes and files cost as time goes by, and whether it keeps growing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from statistics import linear_regression
from typing import Final, NamedTuple

MINUTES_JUDGED: Final = 3.0
"""A shorter run only tells its slopes: what is filled at the start looks like growth. After one
minute a writer still gains 1 to 3 MiB a minute, after three 0.3."""
LIMITS: Final = {"private KiB": 2_048.0, "descriptors": 1.0}
"""The most that a process may gain a minute, over the second half of a run."""


class Slope(NamedTuple):
    """One figure of one thing over time."""

    what: str
    unit: str
    first: float
    last: float
    per_minute: float
    """Of the line through the samples of the second half."""

    @property
    def problem(self) -> str:
        limit = LIMITS.get(self.unit)
        if limit is None or self.per_minute <= limit:
            return ""
        return f"{self.what} gains {self.per_minute:.0f} {self.unit} a minute, limit {limit:.0f}"


class Samples:
    """Figures by the thing they are about, its unit, and the time (s) of each sample."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def add(self, what: str, unit: str, at_s: float, value: float) -> None:
        self._points.setdefault((what, unit), []).append((at_s, value))

    def process(self, what: str, pid: int, at_s: float) -> None:
        """Nothing of one that ended. Private memory too, since mapped views are everybody's."""
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmRSS" not in fields:
            return  # not waited for yet; then its exit status will tell
        self.add(what, "resident KiB", at_s, float(fields["VmRSS"].split()[0]))
        self.add(what, "private KiB", at_s, float(fields["RssAnon"].split()[0]))
        self.add(what, "descriptors", at_s, float(len(os.listdir(f"/proc/{pid}/fd"))))

    def files(self, what: str, paths: Iterable[Path], at_s: float) -> None:
        """Blocks that they hold on disk: files of a home are sparse."""
        used = sum(path.stat().st_blocks * 512 for path in paths if path.exists())
        self.add(what, "KiB on disk", at_s, used / 1024)

    def slopes(self) -> list[Slope]:
        return [
            Slope(what, unit, points[0][1], points[-1][1], per_minute(points))
            for (what, unit), points in self._points.items()
        ]


def per_minute(points: list[tuple[float, float]]) -> float:
    """The slope of the line through the second half of (s, value) points."""
    half = points[len(points) // 2 :]
    if len({at_s for at_s, _ in half}) < 2:
        return 0.0
    return linear_regression(*zip(*half, strict=True)).slope * 60
