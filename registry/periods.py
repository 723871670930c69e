"""A listing or a relation may hold more than once: it ends, and is there again later.

Its state has the newest period, `valid_from` to `valid_to`, and `earlier` ones, the oldest first.
They never overlap. Words with dates that overlap none of them are about another period; all others
are about the one that they overlap, and correct or contradict its dates. So files that name the
same periods lead to the same state in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from alphapulse.log import ListingBody, RelationBody

from .validation import is_backward

Period = tuple[int, int]
"""ns; 0 = not known when it began, or that it is open."""
Dated = ListingBody | RelationBody
T = TypeVar("T", ListingBody, RelationBody)
DATES: Final = ("valid_from", "valid_to")
PERIODS_MAX: Final = 1_000
"""Of one listing or relation: each of its events holds all of them."""
_ALWAYS: Final = -(1 << 63)


def periods_of(body: Dated) -> tuple[Period, ...]:
    """The oldest first, the newest last."""
    return (*body.earlier, (body.valid_from, body.valid_to))


def each_period(body: T) -> list[T]:
    """The same state once for each period, as if that were the only one."""
    if not body.earlier:
        return [body]
    return [replace(body, valid_from=f, valid_to=t, earlier=()) for f, t in periods_of(body)]


def holds(body: Dated, at: int) -> bool:
    """Whether one of its periods includes `at` (ns); a date that is not known leaves it open."""
    return any(begins <= at and (not ends or at < ends) for begins, ends in periods_of(body))


def has_date(body: Dated, field: str, value: int) -> bool:
    """Whether one of its periods begins or ends then."""
    which = DATES.index(field)
    return any(period[which] == value for period in periods_of(body))


def flaw(body: Dated) -> str:
    """Which rule its periods break; empty when they break none."""
    periods = periods_of(body)
    if any(is_backward(*period) for period in periods):
        return "it ends before it begins"
    if len(periods) > PERIODS_MAX:
        return f"it has over {PERIODS_MAX} periods"
    for (_, ends), (begins, _) in pairwise(periods):
        if not ends or not begins or begins < ends:
            return "its periods overlap"
    return ""


class Place(NamedTuple):
    """Where words with dates belong."""

    periods: tuple[Period, ...]
    number: int
    """Of the period that they are about; as many as there are when they are about another one."""

    @property
    def is_new(self) -> bool:
        return self.number == len(self.periods)

    @property
    def is_newest(self) -> bool:
        """Whether all else that is said with the dates is about the state as it is now."""
        return self.number == len(self.periods) - 1

    def date(self, field: str) -> int:
        """What is known of that period; 0 of a new one."""
        return 0 if self.is_new else self.periods[self.number][DATES.index(field)]

    def said(self, dates: Mapping[str, int]) -> dict[str, object]:
        """The fields of the state once that period has these dates."""
        period = [dates.get(field, self.date(field)) for field in DATES]
        others = [each for number, each in enumerate(self.periods) if number != self.number]
        *earlier, newest = sorted(
            [*others, (period[0], period[1])], key=lambda each: each[0] or _ALWAYS
        )
        return {"earlier": tuple(earlier), "valid_from": newest[0], "valid_to": newest[1]}


def place(body: Dated, begins: int, ends: int) -> Place:
    """Which period words are about that name these dates; 0 names none."""
    periods = periods_of(body)
    newest = len(periods) - 1
    if not begins and not ends:
        return Place(periods, newest)
    for number, period in enumerate(periods):
        if (begins and begins == period[0]) or (ends and ends == period[1]):
            return Place(periods, number)
    for number in range(newest, -1, -1):
        if not _apart(periods[number], begins, ends):
            return Place(periods, number)
    return Place(periods, newest + 1)


def _apart(period: Period, begins: int, ends: int) -> bool:
    """Whether the dates say that there is no time in both."""
    comes_after = bool(period[1] and begins) and begins >= period[1]
    comes_before = bool(period[0] and ends) and ends <= period[0]
    return comes_after or comes_before


def dates_in(changes: Mapping[str, object]) -> dict[str, int]:
    return {
        field: value for field, value in changes.items()
        if field in DATES and isinstance(value, int)
    }  # fmt: skip
