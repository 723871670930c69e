"""How a venue behaves: samples folded into windows, exactly, and the number that sums it up.

A window is a minute, an hour or so of UTC, from a multiple of its length on. It holds the samples
whose time is in it, and of outages the part that is in it; two that overlap count once. Everything
is a sum, a bound or a sketch, so nothing depends on the order of samples, equal samples give equal
bytes, and windows that follow each other merge into what one over both would have held. (One thing
may differ: an outage that is told when the window it began in is closed already.)

**Liquidity score**, a whole number from 0 to 10,000:

    floor(10,000 × U × (1 − R) × 10 / (10 + S) × D / (D + 1,000,000))

    U  uptime: the share of the window without outage
    R  reject rate: rejects ÷ (acks + rejects), 0 without any
    S  mean spread in bps: 10 bps halve the score
    D  mean depth within 10 bps of the mid price, in its currency: 1,000,000 halve the score

Exact fractions, rounded once. There is none unless both spread and depth within 10 bps were
sampled; where depth was in several currencies, that with the most samples counts, and of equals
the first by code: scores of different currencies do not compare.

A window that closes keeps 100 pairs of distance and currency of depth, so that nobody who samples
ever more of them keeps it from being said: first those within 10 bps, then those with the most
samples. How many it left out is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import floor
from typing import Final, NamedTuple, NoReturn

from alphapulse.log import InvalidInput, Measure, NotDecodable, PerformanceBody, SampleRecord

from .fees import exact_text
from .samples import NS
from .sketch import Sketch, decode_sketch

WINDOWS_NS: Final = {
    "1m": 60 * NS, "5m": 300 * NS, "15m": 900 * NS, "1h": 3_600 * NS, "1d": 86_400 * NS,
}  # fmt: skip
WINDOW_DEFAULT: Final = "1h"
SETTLE_NS: Final = 30 * NS
"""How long a window stays open after its end, for samples that come late and out of order."""
SCORE_MAX: Final = 10_000
SCORE_BAND_BPS: Final = 10
SPREAD_HALF_BPS: Final = 10
DEPTH_HALF: Final = 1_000_000
DEPTHS_MAX: Final = 100
_LATENCIES: Final = {
    Measure.ACK: "ack", Measure.REJECT: "reject", Measure.FILL: "fill"
}  # fmt: skip


class Place(NamedTuple):
    """Whose window: a venue as bodies spell it, and a listing's id or 0 for all of the venue."""

    venue: str
    listing: int = 0


class Latencies:
    """Of one sort: exact count, sum and bounds in ns, and a sketch. count may be above the
    sketch's: latencies of rejects may be unknown."""

    def __init__(self) -> None:
        self.count = self.sum_ns = self.min_ns = self.max_ns = 0
        self.sketch = Sketch()

    def add(self, value: int | None) -> None:
        self.count += 1
        if value is not None:
            empty = not self.sketch.count
            self.min_ns = value if empty else min(self.min_ns, value)
            self.max_ns = max(self.max_ns, value)
            self.sum_ns += value
            self.sketch.add(value)

    def merge(self, other: Latencies) -> None:
        self.count += other.count
        if other.sketch.count:
            empty = not self.sketch.count
            self.min_ns = other.min_ns if empty else min(self.min_ns, other.min_ns)
            self.max_ns = max(self.max_ns, other.max_ns)
            self.sum_ns += other.sum_ns
            self.sketch.merge(other.sketch)

    def quantile(self, q: float) -> int | None:
        """ns, within 1 % of the exact one, and never beyond what was measured."""
        found = self.sketch.quantile(q)
        return None if found is None else min(max(found, self.min_ns), self.max_ns)


class Figures:
    """Exact numbers of one sort: count, sum and bounds."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = self.min = self.max = Fraction(0)

    def add(self, value: Fraction) -> None:
        self.merge_parts(1, value, value, value)

    def merge(self, other: Figures) -> None:
        if other.count:
            self.merge_parts(other.count, other.sum, other.min, other.max)

    def merge_parts(self, count: int, total: Fraction, low: Fraction, high: Fraction) -> None:
        self.min = min(self.min, low) if self.count else low
        self.max = max(self.max, high) if self.count else high
        self.count += count
        self.sum += total

    @property
    def mean(self) -> Fraction:
        return self.sum / self.count


class Summary:
    """One window, or several that follow each other, of one place."""

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        """ns; no part of it."""
        self.samples = 0
        self.latencies = {name: Latencies() for name in _LATENCIES.values()}
        self.spread = Figures()
        self.depths: defaultdict[tuple[int, str], Figures] = defaultdict(Figures)
        """By bps around the mid price, and currency."""
        self.depths_left_out = 0
        self._down_ns = 0
        self._outages: list[tuple[int, int]] = []
        """Not yet in `_down_ns`: they may overlap."""

    def add(self, record: SampleRecord) -> None:
        """A sample whose time is in it. Outages are also told to `down`."""
        self.samples += 1
        measure = record.measure
        if (name := _LATENCIES.get(measure)) is not None:
            value = record.value
            self.latencies[name].add(None if value is None else value.mantissa)
        elif measure is Measure.SPREAD:
            self.spread.add(_fraction(record))
        elif measure is Measure.DEPTH:
            self.depths[record.band_bps, record.currency].add(_fraction(record))

    def down(self, start: int, stop: int) -> None:
        """An outage; only what of it is in this window counts."""
        self._outages.append((max(start, self.start), min(stop, self.stop)))

    @property
    def down_ns(self) -> int:
        found, reached = self._down_ns, self.start
        for start, stop in sorted(self._outages):
            found += max(0, stop - max(start, reached))
            reached = max(reached, stop)
        return found

    def merge(self, other: Summary) -> None:
        """One that follows. Raises InvalidInput for windows that overlap: sums would count twice.

        Time between them counts as without outage.
        """
        if other.start < self.stop:
            raise InvalidInput(
                "merging summaries", problem="the windows overlap, or go back",
                stop=self.stop, start=other.start, cure="merge windows in order, of one length",
            )  # fmt: skip
        self._down_ns, self._outages = self.down_ns + other.down_ns, []
        self.stop = other.stop
        self.samples += other.samples
        for name, latencies in self.latencies.items():
            latencies.merge(other.latencies[name])
        self.spread.merge(other.spread)
        for key, figures in other.depths.items():
            self.depths[key].merge(figures)
        self.depths_left_out += other.depths_left_out

    def bound(self) -> None:
        """Leaves out what is over DEPTHS_MAX of depth."""
        if len(self.depths) <= DEPTHS_MAX:
            return
        kept = sorted(
            self.depths.items(),
            key=lambda each: (each[0][0] != SCORE_BAND_BPS, -each[1].count, each[0]),
        )[:DEPTHS_MAX]
        self.depths_left_out += len(self.depths) - len(kept)
        self.depths = defaultdict(Figures, kept)

    @property
    def uptime(self) -> Fraction:
        return 1 - Fraction(self.down_ns, self.stop - self.start)

    @property
    def reject_rate(self) -> Fraction | None:
        """None when no order was answered."""
        rejects = self.latencies["reject"].count
        orders = self.latencies["ack"].count + rejects
        return Fraction(rejects, orders) if orders else None

    @property
    def scored(self) -> tuple[str, Figures] | None:
        """The currency and depth that the score is of."""
        found = [(c, f) for (band, c), f in self.depths.items() if band == SCORE_BAND_BPS]
        return min(found, key=lambda each: (-each[1].count, each[0])) if found else None

    @property
    def score(self) -> int | None:
        """See the formula above."""
        if not self.spread.count or self.scored is None:
            return None
        depth = self.scored[1].mean
        return floor(
            SCORE_MAX * self.uptime * (1 - (self.reject_rate or 0))
            * SPREAD_HALF_BPS / (SPREAD_HALF_BPS + self.spread.mean)
            * depth / (depth + DEPTH_HALF)
        )  # fmt: skip

    def measures(self) -> dict[str, str]:
        """All but the sketches, as exact text by name; what was not measured is left out."""
        found = {"down_ns": str(self.down_ns), "uptime": exact_text(self.uptime)}
        for name, latencies in self.latencies.items():
            if latencies.count:
                found[f"{name}_count"] = str(latencies.count)
            if latencies.sketch.count:
                for quantity, value in (
                    ("sum", latencies.sum_ns), ("min", latencies.min_ns), ("max", latencies.max_ns),
                    ("p50", latencies.quantile(0.5)), ("p99", latencies.quantile(0.99)),
                ):  # fmt: skip
                    found[f"{name}_{quantity}_ns"] = str(value)
        if (rate := self.reject_rate) is not None:
            found["reject_rate"] = exact_text(rate)
        if self.spread.count:
            found |= _figures("spread_bps", self.spread)
        for (band, currency), figures in self.depths.items():
            found |= _figures(f"depth_{band}bps_{currency}", figures)
        if self.depths_left_out:
            found["left_out_depths"] = str(self.depths_left_out)
        if (score := self.score) is not None and self.scored is not None:
            found |= {"score": str(score), "score_currency": self.scored[0]}
        return dict(sorted(found.items()))

    def sketches(self) -> dict[str, bytes]:
        return {
            name: latencies.sketch.encode()
            for name, latencies in sorted(self.latencies.items()) if latencies.sketch.count
        }  # fmt: skip


def _figures(name: str, figures: Figures) -> dict[str, str]:
    return {
        f"{name}_count": str(figures.count), f"{name}_sum": exact_text(figures.sum),
        f"{name}_min": exact_text(figures.min), f"{name}_max": exact_text(figures.max),
        f"{name}_mean": exact_text(figures.mean),
    }  # fmt: skip


def _fraction(record: SampleRecord) -> Fraction:
    value = record.value
    assert value is not None, "only latencies of rejects may be unset"
    mantissa, exponent = value
    return Fraction(mantissa * 10**exponent if exponent >= 0 else mantissa, 10 ** max(-exponent, 0))


def summary_of(body: PerformanceBody) -> Summary:
    """What an event holds, to merge and to ask. Raises NotDecodable unless it is the very one that
    would be written again: every derived number is held to the sums."""
    found = Summary(body.window_from, body.window_to)
    measures, sketches = body.measures, body.sketches
    if not 0 <= found.start < found.stop or body.samples < 0:
        _strange("its window is impossible")
    found.samples = body.samples
    try:
        _read(found, measures, sketches)
        same = found.measures() == measures and found.sketches() == sketches
    except (KeyError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, NotDecodable):
            raise
        raise NotDecodable("reading a summary", problem=f"a number is missing: {error}") from error
    if not same:
        _strange("its numbers do not follow from its sums")
    return found


def _read(found: Summary, measures: Mapping[str, str], sketches: Mapping[str, bytes]) -> None:
    found._down_ns = int(measures["down_ns"])
    found.depths_left_out = int(measures.get("left_out_depths", "0"))
    for name, latencies in found.latencies.items():
        latencies.count = int(measures.get(f"{name}_count", "0"))
        if name in sketches:
            latencies.sketch = decode_sketch(sketches[name])
            latencies.sum_ns, latencies.min_ns, latencies.max_ns = (
                int(measures[f"{name}_{quantity}_ns"]) for quantity in ("sum", "min", "max")
            )
    for name, value in measures.items():
        if name.startswith(("spread_", "depth_")) and name.endswith("_count"):
            _read_figures(found, name.removesuffix("_count"), int(value), measures)


def _read_figures(
    found: Summary, name: str, count: int, measures: Mapping[str, str]
) -> None:
    low, high, total = (Fraction(measures[f"{name}_{part}"]) for part in ("min", "max", "sum"))
    if name == "spread_bps":
        figures = found.spread
    else:
        _, band, currency = name.split("_", 2)
        figures = found.depths[int(band.removesuffix("bps")), currency]
    figures.merge_parts(count, total, low, high)


def _strange(problem: str) -> NoReturn:
    raise NotDecodable("reading a summary", problem=problem)


class Windows:
    """Folds samples into windows of one length, for each venue and, if asked, each listing."""

    def __init__(self, length_ns: int, *, listings: bool = False) -> None:
        self._length_ns = length_ns
        self._listings = listings
        self._open: dict[tuple[Place, int], Summary] = {}

    def add(self, venue: str, record: SampleRecord) -> None:
        """Of any time, in any order. Cost: 10 µs; an outage, as much for each window it is in."""
        time = record.time
        places = [Place(venue)]
        if self._listings and record.listing:
            places.append(Place(venue, record.listing))
        outage = record.measure is Measure.OUTAGE
        for place in places:
            self._window(place, time).add(record)
            if outage:
                for start in self._starts(time - record.mantissa, time):
                    self._window(place, start).down(time - record.mantissa, time)

    def _starts(self, start: int, stop: int) -> Iterable[int]:
        return range(start - start % self._length_ns, stop, self._length_ns)

    def _window(self, place: Place, time: int) -> Summary:
        start = time - time % self._length_ns
        found = self._open.get((place, start))
        if found is None:
            found = self._open[place, start] = Summary(start, start + self._length_ns)
        return found

    def closed(self, until: int) -> Iterator[tuple[Place, Summary]]:
        """Those that end by `until` (ns), in the order of their ends and places; each once."""
        ready = [key for key, found in self._open.items() if found.stop <= until]
        for place, start in sorted(ready, key=lambda key: (key[1], key[0])):
            found = self._open.pop((place, start))
            found.bound()
            yield place, found


def window_named(text: str) -> int:
    """ns. Raises InvalidInput."""
    found = WINDOWS_NS.get(text)
    if found is None:
        raise InvalidInput(
            "reading a window", problem="there is no such length", value=repr(text[:20]),
            cure=f"use one of {', '.join(WINDOWS_NS)}",
        )  # fmt: skip
    return found
