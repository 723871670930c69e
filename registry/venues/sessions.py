"""Trading hours compiled to instants: what a venue does at one, and when that changes.

A `Timetable` cuts time into chunks of 2⁵⁵ ns (417 days) and compiles a chunk when it is first asked
about: a sorted array of the instants at which the phase changes, and a byte for each phase between.
An answer is then a shift, a dict lookup and a bisection. Nothing is compiled that nobody asks for,
so rules without an end cost nothing, and the horizon is that of 64 bits: the years 1678 to 2261.
Chunks are only added and never change, so any number of threads may ask.

*Open* means continuous trading. An auction is not open, as the status `auction` of a venue is not
`open`, and a break is not either; ask with `phase=` for these. `next_open` and `next_close` speak
of sessions: the first instant of continuous trading under a date, and the end of the last. So in
the lunch break of Tokyo the next open is tomorrow's; `next_phase(at, Phase.CONTINUOUS)` is the end
of lunch. This is what exchange_calendars means, too. What is open always never opens or closes.

Hours may change on a day that has begun. So a timetable is made of pieces, each the hours that are
right from one instant to another; they are cut there and joined before anything is compiled, and
every answer, of sessions too, speaks of the same spans. What two pieces say of one date is one
session.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby, pairwise
from typing import Final, NamedTuple

import msgspec

from alphapulse.registry import validation

from .hours import DAYS_AFTER, DAYS_BEFORE, YEARS, Hours, LocalDays, Phase
from .words import ALWAYS
from .zones import DAY_S, WallClock, day_of, day_text, zone_named

CHUNK_BITS: Final = 55
I64_MAX: Final = (1 << 63) - 1
NEVER: Final = 1 << 63
"""After every instant, ns."""
_FIRST: Final = (day_of(f"{YEARS[0]}-01-01") + 2) * DAY_S * 10**9
"""ns; rules that name no date begin before it."""
_NEAR_NS: Final = (DAYS_BEFORE + DAYS_AFTER + 2) * DAY_S * 10**9
"""No session is farther from the midnight, by UTC, of its date."""
KEY_MIN, KEY_MAX = ~I64_MAX >> CHUNK_BITS, I64_MAX >> CHUNK_BITS
"""Of the chunks that 64 bits have."""
_NS: Final = 1_000_000_000
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_PHASES: Final = tuple(Phase)
if [int(phase) for phase in _PHASES] != list(range(len(_PHASES))):
    raise ImportError("phases are numbered in their order")


class SessionPhase(NamedTuple):
    """From its start to before its end, in ns UTC."""

    start: int
    end: int
    phase: Phase


class Piece(NamedTuple):
    """Hours that are right from `begins` to before `ends`, ns UTC."""

    begins: int
    ends: int
    hours: Hours


class Session(msgspec.Struct, frozen=True):
    """What happens under one date of the venue."""

    date: str
    phases: tuple[SessionPhase, ...]
    """In order, one or more."""
    reason: str = ""
    """Why the day is special, if it is."""

    @property
    def open(self) -> int | None:
        """When continuous trading begins, ns UTC; None when there is none, only an auction."""
        return next((each.start for each in self.phases if each.phase is Phase.CONTINUOUS), None)

    @property
    def close(self) -> int | None:
        """When continuous trading ends for the day, breaks aside."""
        found = [each.end for each in self.phases if each.phase is Phase.CONTINUOUS]
        return found[-1] if found else None


class _Chunk(NamedTuple):
    changes: array[int]
    """Instants at which the phase changes."""
    phases: bytes
    """phases[0] is the one before the first change, phases[i + 1] that from changes[i] on."""
    opens: array[int]
    """The first instant of continuous trading of each session."""
    closes: array[int]


class TimetableStatistics(NamedTuple):
    chunks: int
    changes: int
    size_bytes: int
    """Of their instants and phases."""


class Timetable:
    """Answers about hours. All instants are ns since 1970 UTC.

    Cost: 0.7 µs for an answer, 5 ms for the first in a chunk of 417 days. Raises UnknownZone at
    once when the zone database lacks the zone, and InvalidInput for instants beyond 64 bits.
    """

    def __init__(self, hours: Hours | Iterable[Piece]) -> None:
        """hours: of all times, or in pieces, one after the other; between them it is closed."""
        given = (Piece(ALWAYS, NEVER, hours),) if isinstance(hours, Hours) else hours
        self.pieces = tuple(given)
        self._pieces = [_Ready(piece) for piece in self.pieces]
        self._chunks: dict[int, _Chunk] = {}
        pieces = self._pieces  # the key of a chunk before which there is no change, and so on
        self._first_key = min((each.first for each in pieces), default=0) >> CHUNK_BITS
        self._last_key = max((each.last for each in pieces), default=-1) >> CHUNK_BITS
        self._settled_key = max((each.settled for each in pieces), default=0) >> CHUNK_BITS

    def is_open(self, at: int, phase: Phase | None = None) -> bool:
        """Whether there is continuous trading, or the phase asked for."""
        chunk = self._chunks.get(at >> CHUNK_BITS) or self._compile(at)
        found = chunk.phases[bisect_right(chunk.changes, at)]
        return found == (_CONTINUOUS if phase is None else phase)

    def phase_at(self, at: int) -> Phase:
        chunk = self._chunks.get(at >> CHUNK_BITS) or self._compile(at)
        return _PHASES[chunk.phases[bisect_right(chunk.changes, at)]]

    def next_open(self, at: int) -> int | None:
        """When the next session opens, after `at`; None when none ever does."""
        chunk = self._chunks.get(at >> CHUNK_BITS) or self._compile(at)
        place = bisect_right(chunk.opens, at)
        if place < len(chunk.opens):
            return chunk.opens[place]
        return next((later.opens[0] for later in self._after(at) if later.opens), None)

    def next_close(self, at: int) -> int | None:
        """When the next session to close does, after `at`; None when none ever does."""
        chunk = self._chunks.get(at >> CHUNK_BITS) or self._compile(at)
        place = bisect_right(chunk.closes, at)
        if place < len(chunk.closes):
            return chunk.closes[place]
        return next((later.closes[0] for later in self._after(at) if later.closes), None)

    def until(self, at: int) -> int | None:
        """When the phase of `at` ends: the next change after it; None when there is none."""
        return next((instant for instant, _ in self._changes(at)), None)

    def next_phase(self, at: int, phase: Phase) -> int | None:
        """When a phase next begins, after `at`. A break's end begins continuous trading anew."""
        return next((instant for instant, found in self._changes(at) if found == phase), None)

    def sessions(self, start: int, stop: int | None = None) -> Iterator[Session]:
        """Every session with an instant from `start` to before `stop`, in order of their dates.

        Lazily; without `stop` as long as the rules go, at most to the year 2260. Dates on which the
        venue is closed have no session, and neither has what is open always. Cost: 20 µs for each.
        """
        validation.moment(start, "start")
        end = I64_MAX if stop is None else validation.moment(stop, "stop")
        for day, phases, reason in _sessions(self._pieces, start, end):
            if phases[-1].end > start and phases[0].start < end:
                yield Session(day_text(day), phases, reason)

    def statistics(self) -> TimetableStatistics:
        chunks = list(self._chunks.values())
        changes = sum(len(chunk.changes) for chunk in chunks)
        instants = changes + sum(len(chunk.opens) + len(chunk.closes) for chunk in chunks)
        return TimetableStatistics(len(chunks), changes, 8 * instants + changes + len(chunks))

    def _after(self, at: int) -> Iterator[_Chunk]:
        """The chunks after that of `at` in which there may be the first change of any sort: when
        there is none in a year in which every week is like the next, there never is."""
        key = at >> CHUNK_BITS
        last = min(self._last_key, max(self._settled_key, key) + 1)
        for later in range(max(key + 1, self._first_key), last + 1):
            yield self._chunks.get(later) or self._compile(later << CHUNK_BITS)

    def _changes(self, at: int) -> Iterator[tuple[int, int]]:
        """Each change after `at`: its instant, and the phase that begins."""
        chunk = self._chunks.get(at >> CHUNK_BITS) or self._compile(at)
        place = bisect_right(chunk.changes, at)
        yield from zip(chunk.changes[place:], chunk.phases[place + 1 :], strict=True)
        for later in self._after(at):
            yield from zip(later.changes, later.phases[1:], strict=True)

    def _compile(self, at: int) -> _Chunk:
        key = at >> CHUNK_BITS
        if not KEY_MIN <= key <= KEY_MAX:
            validation.moment(at, "at")  # raises
        chunk = self._chunks[key] = self._compiled(key << CHUNK_BITS, (key + 1) << CHUNK_BITS)
        return chunk

    def _compiled(self, start: int, stop: int) -> _Chunk:
        spans = [
            SessionPhase(each.begins, each.ends, Phase.CONTINUOUS)
            for each in self.pieces if each.hours.always
        ]  # fmt: skip
        opens: list[int] = []
        closes: list[int] = []
        for _, phases, _ in _sessions(self._pieces, start, stop):
            spans += phases
            trading = [each for each in phases if each.phase is Phase.CONTINUOUS]
            if trading:
                opens.append(trading[0].start)
                closes.append(trading[-1].end)
        changes, phases_found = _changes_of(sorted(spans), start, stop)
        return _Chunk(
            array("q", changes), bytes(phases_found),
            array("q", sorted(each for each in opens if start <= each < stop)),
            array("q", sorted(each for each in closes if start <= each < stop)),
        )  # fmt: skip


class _Ready:
    """A piece, made ready."""

    def __init__(self, piece: Piece) -> None:
        local = self.local = LocalDays(piece.hours)
        self.piece = piece
        self.zone = zone_named(piece.hours.zone)
        first = (local.first * DAY_S + local.earliest_s - DAY_S) * _NS
        last = (local.last * DAY_S + local.latest_s + DAY_S) * _NS
        settled = (local.settled * DAY_S + local.latest_s + DAY_S) * _NS
        begins, ends, always = piece.begins, piece.ends, piece.hours.always
        self.first = begins if always else max(first, begins)
        """ns; before it there is no change."""
        self.last = (begins if ends == NEVER else ends) if always else min(last, ends)
        self.settled = max(begins, settled) if ends == NEVER else ends
        """ns; after it every week is like the next."""

    def days(self, start: int, stop: int) -> range:
        """All whose sessions may have an instant between two. No zone is a day from UTC."""
        low, high = max(start, self.piece.begins), min(stop, self.piece.ends)
        return self.local.days(low // _NS - DAY_S, high // _NS + DAY_S)

    def session(self, day: int, clock: WallClock) -> list[SessionPhase]:
        """What is left of it in this piece."""
        midnight_s, found = day * DAY_S, list[SessionPhase]()
        begins, ends, _ = self.piece
        if not begins - _NEAR_NS < midnight_s * _NS < ends + _NEAR_NS:
            return found
        for part in self.local.on(day):
            start = max(clock.utc_s(midnight_s + part.start_s) * _NS, begins)
            end = min(clock.utc_s(midnight_s + part.end_s) * _NS, ends)
            if start < end:  # one within an hour that the clock skips has no instant
                found.append(SessionPhase(start, end, part.phase))
        return found


def first_instant(hours: Hours) -> int:
    """ns; before it these hours say nothing: they begin with the first date that they name."""
    local = LocalDays(hours)
    begins_s = local.first * DAY_S + min(local.earliest_s, 0)
    first = WallClock(zone_named(hours.zone)).utc_s(begins_s) * _NS
    return ALWAYS if hours.always or first < _FIRST else first


def _sessions(
    pieces: Sequence[_Ready], start: int, stop: int
) -> Iterator[tuple[int, tuple[SessionPhase, ...], str]]:
    """Days with a session that may have an instant between two: the day, its phases, its reason."""
    clocks = [WallClock(each.zone) for each in pieces]
    for day, _ in groupby(merge(*(each.days(start, stop) for each in pieces))):
        phases: list[SessionPhase] = []
        reason = ""
        for each, clock in zip(pieces, clocks, strict=True):
            found = each.session(day, clock)
            if phases and found and _goes_on(phases[-1], found[0]):
                phases[-1] = SessionPhase(phases[-1].start, *found.pop(0)[1:])
            if found:
                reason = reason or each.local.reasons.get(day, "")
            phases += found
        if phases:
            yield day, tuple(phases), reason


def _goes_on(phase: SessionPhase, later: SessionPhase) -> bool:
    return phase.end == later.start and phase.phase is later.phase


def _changes_of(spans: list[SessionPhase], start: int, stop: int) -> tuple[list[int], list[int]]:
    """The changes from `start` to before `stop`, and the phases before, between and after them."""
    edges: list[tuple[int, int]] = []
    for each, later in pairwise([*spans, SessionPhase(1 << 64, 1 << 64, Phase.CLOSED)]):
        edges.append((each.start, each.phase))
        if each.end < later.start:
            edges.append((each.end, Phase.CLOSED))
    changes: list[int] = []
    phases = [int(Phase.CLOSED)]
    for instant, phase in edges:
        if instant < start:
            phases[0] = phase
        elif instant < stop and phase != phases[-1]:
            changes.append(instant)
            phases.append(phase)
    return changes, phases
