"""Random words about one listing, against a model that keeps beside each word who said it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import ConflictBody, EventLog, InvalidInput, parse_time
from alphapulse.log.clock import RecordingClock
from alphapulse.log.times import NS
from alphapulse.registry import Listing, Receipt, Registry
from alphapulse.registry.audit import audit_meaning
from tests.places import in_memory

from .homes import APPLE

START = parse_time("1970-01-04T12:00")
"""Days -3 and before are before 1970."""
FIELDS = ("symbol", "tick", "lot")
DATES = ("valid_from", "valid_to")
EVER = 1 << 40
Answer = tuple[str, list[str]]
"""The outcome, and the fields in conflict."""


class Wrong(Exception):
    pass


class Period:
    def __init__(self, words: dict[str, Any], by: dict[str, str]) -> None:
        self.words = dict(words)
        """By field, the days `valid_from` and `valid_to` among them; none that is not known."""
        self.by = dict(by)

    @property
    def begins(self) -> int:
        return int(self.words.get("valid_from", -EVER))

    @property
    def ends(self) -> int:
        return int(self.words.get("valid_to", EVER))

    def but(self, source: str, **words: Any) -> Period:
        return Period({**self.words, **words}, {**self.by, **dict.fromkeys(words, source)})


class Model:
    def __init__(self) -> None:
        self.periods: list[Period] = []

    def say(self, source: str, said: dict[str, Any], now: int) -> Answer:
        if said.get("valid_to", EVER) <= said.get("valid_from", -EVER):
            raise Wrong
        before, self.periods = self.periods, [period.but("") for period in self.periods]
        try:
            if not before:
                self.periods, answer = [Period({}, {}).but(source, **said)], ("new", list[str]())
            else:
                answer = self._again(source, said, now)
            self._check()
        except Wrong:
            self.periods = before
            raise
        if answer[0] == "unchanged":
            self.periods = before
        return answer

    def end(self, source: str, day: int) -> Answer:
        if any(period.ends == day for period in self.periods):
            return "unchanged", []
        meant = [period for period in self.periods if period.begins <= day] or self.periods[:1]
        at = self.periods.index(meant[-1])
        before, self.periods = self.periods, self.periods[:]
        self.periods[at] = meant[-1].but(source, valid_to=day)
        try:
            self._check()
        except Wrong:
            self.periods = before
            raise
        return "amended", []

    def _check(self) -> None:
        self.periods.sort(key=lambda period: period.begins)
        if any(period.ends <= period.begins for period in self.periods):
            raise Wrong
        for one, following in zip(self.periods, self.periods[1:], strict=False):
            if following.begins < one.ends:
                raise Wrong

    def _again(self, source: str, said: dict[str, Any], now: int) -> Answer:
        begins, ends = said.get("valid_from"), said.get("valid_to")
        about = self._about(begins, ends, now)
        is_free = about is None
        is_part = False
        if about is None:
            newest = self.periods[-1]
            about = Period({}, {})
            if begins is not None and begins > newest.begins:
                words = {field: newest.words[field] for field in FIELDS if field in newest.words}
                about = Period(words, {field: newest.by[field] for field in words})
            self.periods.append(about)
        elif begins is not None and self._is_otherwise(about, said):
            at, is_own = self.periods.index(about), about.by.get("valid_from") == source
            is_announced = about.ends == EVER and about.begins <= now < begins
            if begins > about.begins and (is_own or is_announced):
                rest = about.but(source, valid_from=begins)
                parts = [about.but(source, valid_to=begins), rest]
                if ends is not None:
                    parts[1] = rest.but(source, valid_to=ends)
                    if ends < about.ends:
                        parts.append(about.but(source, valid_from=ends))
                self.periods[at : at + 1] = parts
                about, is_free, is_part = parts[1], is_announced, True
            elif begins < about.begins and is_own and ends is None:
                dates = {"valid_from": begins, "valid_to": about.begins}
                about = Period({}, {}).but(source, **dates)
                self.periods.insert(at, about)
        changes, conflicts = dict[str, Any](), list[str]()
        for field in (*FIELDS, *DATES):
            value, known = said.get(field), about.words.get(field)
            if value is None or value == known:
                continue
            since = changes.get("valid_from", about.words.get("valid_from"))
            if field == "valid_to" and known is None and begins not in (None, since):
                continue
            if known is None or is_free or about.by[field] == source:
                changes[field] = value
            else:
                conflicts.append(field)
        since = changes.get("valid_from")
        holds = "valid_from" in about.words and about.begins <= now < about.ends
        if since is not None and holds and since > now and not is_part:
            raise Wrong  # it would be gone until then
        self.periods[self.periods.index(about)] = about.but(source, **changes)
        return "amended" if changes else "unchanged", conflicts

    def _about(self, begins: int | None, ends: int | None, now: int) -> Period | None:
        day = now if begins is None else begins
        if ends is None:
            for period in self.periods[:-1]:
                if period.begins <= day < period.ends:
                    return period
            if begins is None:
                return self.periods[-1]
        for period in self.periods:
            if begins == period.begins or ends == period.ends:
                return period
        met = [
            period for period in self.periods
            if (begins is None or begins < period.ends) and (ends is None or ends > period.begins)
        ]  # fmt: skip
        return None if not met else met[-1 if ends is not None else 0]

    def _is_otherwise(self, about: Period, said: dict[str, Any]) -> bool:
        return any(
            field in said and said[field] != about.words.get(field)
            and (field in about.words or "valid_from" in about.words)
            for field in FIELDS
        )  # fmt: skip

    def spans(self) -> list[tuple[Any, ...]]:
        return [
            (
                *(time_of(each.words[day]) if day in each.words else 0 for day in DATES),
                *(each.words.get(field, "") for field in FIELDS),
            )
            for each in self.periods
        ]


class Home:
    """A home in which it is the day that `today` says, with one instrument."""

    def __init__(self, home: Path) -> None:
        self.today = 0
        EventLog.create(home)
        clock = RecordingClock(lambda: time_of(self.today), lambda: time_of(self.today))
        self.registry = Registry(EventLog.open(home, durability="relaxed", clock=clock), 10.0)
        self.id = self.registry.register(APPLE).id

    def say(self, source: str, said: dict[str, Any]) -> Answer:
        words: Any = {f: time_of(value) if f in DATES else value for f, value in said.items()}
        listing = Listing(instrument=self.id, venue="XNAS", **words)
        return self._answer(lambda: self.registry.add_listing(listing, source=source))

    def end(self, source: str, day: int) -> Answer:
        (listing,) = self.registry.listings(self.id)
        return self._answer(
            lambda: self.registry.end_listing(listing.id, valid_to=time_of(day), source=source)
        )

    def _answer(self, command: Callable[[], Receipt]) -> Answer:
        try:
            receipt = command()
        except InvalidInput:
            return "refused", []
        bodies = [self.registry.body_at(offset) for offset in receipt.conflicts]
        return receipt.outcome, [b.field for b in bodies if isinstance(b, ConflictBody)]

    def spans(self) -> list[tuple[Any, ...]]:
        return [
            tuple(getattr(each, field) for field in (*DATES, *FIELDS))
            for _, each in self.registry.listing_periods(self.id)
        ]


def time_of(day: int) -> int:
    return START + day * 86_400 * NS


DAY = st.none() | st.integers(-9, 12)
WORDS = st.fixed_dictionaries(
    {}, optional={"symbol": st.sampled_from("ABC"), "tick": st.sampled_from(["0.1", "0.2"]),
                  "lot": st.sampled_from("12")},
)  # fmt: skip
SAID = st.tuples(st.sampled_from("sst"), WORDS, DAY, DAY)
ENDS = st.tuples(st.sampled_from("st"), st.none(), st.none(), st.integers(-9, 12))
NEXT = st.one_of(SAID, SAID, SAID, SAID, ENDS, st.integers(1, 4))


@given(st.lists(NEXT, min_size=2, max_size=10))
def test_against_a_model_of_who_said_what(commands: list[Any]) -> None:
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        model, home = Model(), Home(Path(folder) / "home")
        with home.registry as registry:
            for command in commands:
                if isinstance(command, int):
                    home.today += command
                else:
                    _say(model, home, *command)
                    assert model.spans() == home.spans(), command
            assert audit_meaning(registry.log).ok
            (checked,) = registry.rebuild(["listings"], check=True)
            assert checked.equal


def _say(
    model: Model, home: Home, source: str, words: dict[str, Any] | None, begins: int | None,
    ends: int | None,
) -> None:  # fmt: skip
    if words is None and not model.periods:
        return
    said = {**(words or {}), "valid_from": begins, "valid_to": ends}
    said = {field: value for field, value in said.items() if value is not None}
    found = home.say(source, said) if words is not None else home.end(source, said["valid_to"])
    try:
        if words is None:
            outcome, conflicts = model.end(source, said["valid_to"])
        else:
            outcome, conflicts = model.say(source, said, home.today)
    except Wrong:
        outcome, conflicts = "refused", []
    assert (found[0], sorted(found[1])) == (outcome, sorted(conflicts)), (source, said)
    head = home.registry.log.head
    if words is not None and outcome != "refused":
        again = home.say(source, said)
        assert (again[0], home.registry.log.head) == ("unchanged", head), said
