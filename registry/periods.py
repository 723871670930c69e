"""A listing or a relation may hold more than once: it ends, and is there again later.

Its state has the newest period, `valid_from` to `valid_to`, and `earlier` ones, the oldest first,
each with its own words: symbol, tick, ratio. They never overlap. Words with dates that overlap none
of them are about another period; all others are about the one that they overlap, and correct or
contradict it. Words without dates are about the period that holds now, if any does. A period after
all others takes over what is not said of it; one before them has only what is said. So files that
say all of the same periods lead to the same state in whatever order they come. Where they leave out
a tick, or say again later what held before, the order decides what the periods between have: who
says X since 2010 and X since 2020 has corrected the date, so Y since 2015 then ends in 2020.

Who says of his own period since when something in it is otherwise ends it that day, and the next
one begins; where he says until when, it holds again after that. Who says how it was before it, and
not until when, ends that with its beginning. So neither what is announced nor what is told late
changes anything else. A day on which a period begins names it, and says nothing of a day within it;
dates that begin before a period and end in or after it are a correction of its dates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final, Generic, NamedTuple, TypeVar

from msgspec.structs import asdict, replace

from alphapulse.log import (
    ListingBody,
    ListingWords,
    RelationBody,
    RelationWords,
    format_time,
    is_during,
)

from .validation import is_backward, refuse

Period = tuple[int, int]
"""ns; 0 = not known when it began, or that it is open."""
Dated = ListingBody | RelationBody
T = TypeVar("T", ListingBody, RelationBody)
DATES: Final = ("valid_from", "valid_to")
PERIODS_MAX: Final = 1_000
"""Of one listing or relation: each of its events holds all of them."""
Words = ListingWords | RelationWords
Span = tuple[int, int, Any]
"""valid_from, valid_to, and the Words of that period."""
LISTING_WORDS: Final = ListingWords.__struct_fields__
RELATION_WORDS: Final = RelationWords.__struct_fields__
_ALWAYS: Final = -(1 << 63)


def periods_of(body: Dated) -> tuple[Period, ...]:
    """The oldest first, the newest last."""
    return (*((each[0], each[1]) for each in body.earlier), (body.valid_from, body.valid_to))


def words_of(body: Dated) -> Words:
    """Of its newest period."""
    if isinstance(body, ListingBody):
        return ListingWords(**{field: getattr(body, field) for field in LISTING_WORDS})
    return RelationWords(**{field: getattr(body, field) for field in RELATION_WORDS})


def _spans(body: Dated) -> list[Span]:
    """The oldest first, the newest last."""
    return [*body.earlier, (body.valid_from, body.valid_to, words_of(body))]


def _in(body: T, span: Span) -> T:
    return replace(body, earlier=(), **_fields(span))


def _fields(span: Span) -> dict[str, Any]:
    begins, ends, words = span
    return {"valid_from": begins, "valid_to": ends, **asdict(words)}


def _of(body: T, spans: list[Span]) -> T:
    """The state with these periods, the oldest first."""
    *earlier, newest = spans
    return replace(_in(body, newest), earlier=tuple(earlier))


def each_period(body: T) -> list[T]:
    """The same state once for each period, as if that were the only one."""
    if not body.earlier:
        return [body]
    spans: tuple[Span, ...] = body.earlier
    found: list[T] = [_in(body, span) for span in spans]
    found.append(replace(body, earlier=()))
    return found


def with_symbols(
    body: ListingBody, before: Callable[[ListingBody, int], tuple[str, int]]
) -> ListingBody:  # fmt: skip
    """A symbol that would come when its period is over is none of that: it keeps the one `before`,
    at a time in this period, as `symbol_before` gives it."""
    spans = _spans(body)
    for number, (begins, ends, words) in enumerate(spans):
        if is_backward(words.symbol_from, ends):
            symbol, since = before(_in(body, spans[number]), ends - 1)
            kept = _known_from(replace(words, symbol=symbol, symbol_from=since), begins)
            spans[number] = begins, ends, kept
    return _of(body, spans)


def at_time(body: T, at: int) -> T:
    """The state as it is in the period that holds at `at` (ns), those before it as the earlier
    ones; as it is in the newest when none holds then."""
    for number, span in enumerate(body.earlier):
        if is_during(at, span[0], span[1]):
            return replace(_in(body, span), earlier=body.earlier[:number])
    return body


def holds(body: Dated, at: int) -> bool:
    """Whether one of its periods includes `at` (ns); a date that is not known leaves it open."""
    return any(is_during(at, *period) for period in periods_of(body))


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
    if body.earlier and body.revision == 1:
        return "it is new, and has earlier periods"
    for _, _, words in body.earlier:
        if isinstance(words, ListingWords) and words.symbol_from and not words.symbol:
            return "an earlier period says since when it has a symbol, and none"
    if any(_overlap(*pair) for pair in pairwise(periods)):
        return "its periods overlap"
    return ""


def flawed(body: Dated) -> str:
    """For people: the periods that are wrong by themselves, else those that overlap; empty when
    none of them is the reason."""
    periods = periods_of(body)
    wrong = [period for period in periods if is_backward(*period)] or [
        period for pair in pairwise(periods) if _overlap(*pair) for period in pair
    ]
    return ", ".join(
        f"{_date(begins)} to {_date(ends)}" for begins, ends in list(dict.fromkeys(wrong))[:5]
    )


def _overlap(one: Period, next: Period) -> bool:
    return not one[1] or not next[0] or next[0] < one[1]


def _date(time: int) -> str:
    return format_time(time) if time else "not known"


def _known_from(words: Words, begins: int) -> Words:
    """Of a period that begins then: a symbol that came before, it has from its beginning on."""
    if isinstance(words, ListingWords) and begins and words.symbol_from <= begins:
        return replace(words, symbol_from=0)
    return words


class Turned(NamedTuple, Generic[T]):
    """A state in which what is said otherwise has a period of its own."""

    state: T
    is_cut: bool = False
    """That is a part of a known one."""
    is_announced: bool = False
    """That one holds now, and who said so named no end, so nobody is contradicted."""


class Place(NamedTuple):
    """Where words with dates belong."""

    periods: tuple[Period, ...]
    number: int
    """Of the period that they are about; as many as there are when they are about another one."""

    @property
    def is_new(self) -> bool:
        return self.number == len(self.periods)

    def date(self, field: str) -> int:
        """What is known of that period; 0 of a new one."""
        return 0 if self.is_new else self.periods[self.number][DATES.index(field)]

    def state(self, body: T, begins: int) -> T:
        """What is known of that period, and of a new one until more is said of it."""
        if not self.is_new:
            return each_period(body)[self.number]
        words = words_of(body) if self.is_latest(begins) else type(words_of(body))()
        return _in(body, (0, 0, _known_from(words, begins)))

    def is_latest(self, begins: int) -> bool:
        """Whether a new period comes after all that are known."""
        return bool(begins) and begins > (self.periods[-1][0] or _ALWAYS)

    def said(self, body: T, changes: Mapping[str, Any], begins: int) -> dict[str, Any]:
        """The fields of the state once that period has these words and dates, and all else that
        was known of it."""
        after = replace(self.state(body, begins), **changes)
        spans = _spans(body)
        if not self.is_new:
            del spans[self.number]
        spans.append((after.valid_from, after.valid_to, words_of(after)))
        *earlier, newest = sorted(spans, key=lambda span: span[0] or _ALWAYS)
        return {"earlier": tuple(earlier), **_fields(newest)}

    def turned(
        self, body: T, begins: int, ends: int, now: int, is_own: Callable[[int], bool]
    ) -> Turned[T]:
        """The state once words that are otherwise have a period of their own from `begins` on; as
        it is where the dates say no such thing.

        What is told of a time within a known period cuts it there, until `ends` [its end], after
        which what was known holds again. What is told of a time before one ends with its beginning.
        Only of who said himself since when the known one holds (`is_own`), else the two disagree;
        but one that has no end is cut by anybody who announces something.
        """
        first, last = self.date("valid_from"), self.date("valid_to")
        is_announced = self._puts_off(begins, now) and not last
        if not is_announced and (not begins or not first or not is_own(first)):
            return Turned(body)
        spans = _spans(body)
        words = spans[self.number][2]
        if begins > first:
            parts: list[Span] = [
                (first, begins, words), (begins, ends or last, _known_from(words, begins))
            ]  # fmt: skip
            if ends and (not last or ends < last):
                parts.append((ends, last, _known_from(words, ends)))
        elif begins < first and not ends:
            parts = [(begins, first, type(words)()), spans[self.number]]  # nothing is known of it
        else:
            return Turned(body)
        spans[self.number : self.number + 1] = parts
        return Turned(_of(body, spans), begins > first, is_announced)

    def _puts_off(self, begins: int, now: int) -> bool:
        """Whether the dates would put off the beginning of what holds now."""
        if self.is_new or begins <= now:
            return False
        return is_during(now, *self.periods[self.number])

    def refuse_symbol_from(self, changes: Mapping[str, Any]) -> None:
        """Raises InvalidInput when it would be the symbol of an earlier period, too: each has its
        own; and when the period is over by then, so that it never had it."""
        since = changes.get("symbol_from", 0)
        if not since:
            return
        own, last = (changes.get(field) or self.date(field) for field in DATES)
        if is_backward(since, last):
            refuse(
                "symbol_from", f"its period is over by then, since {format_time(last)}",
                format_time(since), "if it is there again, give the valid_from of that",
            )  # fmt: skip
        for begins, ends in self.periods:
            if 0 != ends <= own and is_during(since, begins, ends):
                refuse(
                    "symbol_from", f"it is in an earlier period, which ends {format_time(ends)}",
                    format_time(since),
                    "say it with the valid_to of that one; and of this one the symbol alone",
                )  # fmt: skip

    def refuse_to_put_off(self, changes: Mapping[str, Any], now: int) -> None:
        """Raises InvalidInput when it would be gone until a later day, for no other word's sake."""
        begins, since = changes.get("valid_from", 0), self.date("valid_from")
        if since and self._puts_off(begins, now):
            refuse(
                "valid_from", f"it holds already, since {format_time(since)}",
                format_time(begins), "say what is different from then on; or end it first",
            )  # fmt: skip


class Followed:
    """A period, followed back through older states: it may have had other dates there, and was part
    of a longer one before it was cut. Ask about newer states first."""

    def __init__(self, begins: int, ends: int) -> None:
        self._dates = begins, ends
        self._symbol = ("", 0)

    def within(self, body: T) -> T | None:
        """What was known of it then, what it took over from another one included; None when
        nothing was. A symbol that came when it was over is none of it, as `with_symbols` has it."""
        begins, ends = self._dates
        where = place(body, begins, ends)
        if where.is_new and not where.is_latest(begins):
            return None
        self._dates = where.periods[-1 if where.is_new else where.number]
        then = where.state(body, begins)
        if isinstance(then, ListingBody):
            if is_backward(then.symbol_from, ends) and self._symbol[0]:
                symbol, since = self._symbol
                then = replace(then, symbol=symbol, symbol_from=since)
            self._symbol = then.symbol, then.symbol_from
        return then


def ended(body: T, at: int, is_now: bool) -> dict[str, Any]:
    """The fields of the state once it ends at `at`; empty when that is known.

    The period that is meant is the newest that begins by then, and not one before it: who says of
    one that is announced that it ends as it begins does not say that a former one held till then.
    is_now: `at` is only when it was asked; one that had ended by then stays as it is.
    """
    if has_date(body, "valid_to", at):
        return {}
    periods = periods_of(body)
    before = [number for number, (begins, _) in enumerate(periods) if begins <= at]
    where = Place(periods, before[-1] if before else 0)
    if is_now and 0 != where.date("valid_to") < at:
        return {}
    return where.said(body, {"valid_to": at}, 0)


def place(body: Dated, begins: int, ends: int, now: int = 0) -> Place:
    """Which period words are about that name these dates, and none (0) that which holds `now`."""
    periods = periods_of(body)
    newest = len(periods) - 1
    if not ends and (at := begins or now):
        for number, period in enumerate(periods[:-1]):
            if is_during(at, *period):
                return Place(periods, number)
    if not begins and not ends:
        return Place(periods, newest)
    for number, period in enumerate(periods):
        if (begins and begins == period[0]) or (ends and ends == period[1]):
            return Place(periods, number)
    # the one that comes first after a beginning alone, else the newest
    for number in range(newest, -1, -1) if ends else range(newest + 1):
        if not apart(periods[number], (begins, ends)):
            return Place(periods, number)
    return Place(periods, newest + 1)


def apart(one: Period, other: Period) -> bool:
    """Whether the dates say that there is no time in both."""
    return is_backward(one[0], other[1]) or is_backward(other[0], one[1])
