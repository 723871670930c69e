"""A listing and a relation that end and are there again: both periods stay answerable."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from alphapulse.log import InvalidInput, ListingBody, ListingWords
from alphapulse.registry import (
    IllegalEvent,
    Listing,
    Receipt,
    Registry,
    RelationCycle,
    import_file,
)
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.periods import each_period, flaw, holds, periods_of, place
from alphapulse.registry.render import event_dict

from .homes import APPLE, open_home, token

Dates = tuple[int, int]


def body(*periods: Dates) -> ListingBody:
    *earlier, (begins, ends) = periods
    return ListingBody(
        fingerprint=bytes(16), instrument=1, instrument_fingerprint=bytes(16), asset_class=1,
        venue="XNAS", earlier=tuple((f, t, ListingWords()) for f, t in earlier),
        valid_from=begins, valid_to=ends, revision=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "said", "after"),
    [
        ([(10, 20)], (30, 0), [(10, 20), (30, 0)]),
        ([(10, 20)], (20, 0), [(10, 20), (20, 0)]),
        ([(10, 20)], (15, 0), [(15, 20)]),
        ([(10, 20)], (0, 30), [(10, 30)]),
        ([(30, 0)], (10, 20), [(10, 20), (30, 0)]),
        ([(30, 0)], (0, 20), [(0, 20), (30, 0)]),
        ([(0, 20)], (30, 40), [(0, 20), (30, 40)]),
        ([(30, 0)], (10, 0), [(10, 0)]),
        ([(30, 0)], (10, 35), [(10, 35)]),
        ([(0, 0)], (10, 20), [(10, 20)]),
        ([(10, 20), (40, 50)], (30, 35), [(10, 20), (30, 35), (40, 50)]),
        ([(10, 20), (40, 50)], (10, 25), [(10, 25), (40, 50)]),
        ([(10, 20), (40, 50)], (0, 20), [(10, 20), (40, 50)]),
        ([(10, 20), (40, 50)], (40, 0), [(10, 20), (40, 50)]),
        ([(10, 20), (40, 50)], (12, 18), [(12, 18), (40, 50)]),
        ([(10, 20), (40, 50)], (60, 0), [(10, 20), (40, 50), (60, 0)]),
        ([(-10, -5)], (3, 0), [(-10, -5), (3, 0)]),
        ([(10, 20), (40, 50)], (5, 0), [(5, 20), (40, 50)]),
        ([(10, 20), (40, 50), (60, 0)], (30, 0), [(10, 20), (30, 50), (60, 0)]),
    ],
)
def test_which_period_dates_are_about(known: list[Dates], said: Dates, after: list[Dates]) -> None:
    where = place(body(*known), *said)
    dates = {f: v for f, v in zip(("valid_from", "valid_to"), said, strict=True) if v}
    told = replace(body(*known), **where.said(body(*known), dates, said[0]))
    assert list(periods_of(told)) == after
    assert flaw(body(*after)) == ""


@pytest.mark.parametrize(
    ("periods", "why"),
    [
        ([(10, 20), (15, 30)], "overlap"), ([(10, 0), (15, 30)], "overlap"),
        ([(10, 20), (0, 30)], "overlap"), ([(20, 10), (30, 0)], "before it begins"),
        ([(2 * n + 1, 2 * n + 2) for n in range(1001)], "over 1000 periods"),
    ],
)  # fmt: skip
def test_what_no_event_may_say(periods: list[Dates], why: str) -> None:
    assert why in flaw(body(*periods))


def listed(registry: Registry, id: int, **words: Any) -> Receipt:
    return registry.add_listing(Listing(instrument=id, venue="XNAS", currency="USD", **words),
                                source=words.pop("source", ""))  # fmt: skip


def test_a_listing_that_comes_back(registry: Registry) -> None:
    id = registry.register(replace(APPLE, valid_from="1980-12-12")).id
    first = listed(registry, id, valid_from="2010-01-04", symbol="OLD")
    ended = registry.end_listing(first.id, valid_to="2015-07-01")
    again = listed(registry, id, valid_from="2020-02-03", symbol="NEW")
    assert (again.outcome, again.id, again.conflicts) == ("amended", first.id, ())
    ((_, state),) = registry.listing_bodies(id)
    periods = [(each.valid_from // 10**9, each.valid_to // 10**9) for each in each_period(state)]
    assert periods == [(1262563200, 1435708800), (1580688000, 0)]
    for at, symbol in (("2012-01-01", "OLD"), ("2017-01-01", ""), ("2021-01-01", "NEW")):
        assert bool(registry.by_symbol("OLD", venue="XNAS", at=at)) == (symbol == "OLD"), at
        assert bool(registry.by_symbol("NEW", venue="XNAS", at=at)) == (symbol == "NEW"), at
    ((_, then),) = registry.listing_bodies(id, as_of=ended.offset)
    assert (then.earlier, then.valid_to) == ((), 1435708800 * 10**9)
    (record,) = registry.listings(id)
    assert record.has_earlier and record.current(record.valid_from)
    head = registry.log.head
    for words in ({"valid_from": "2010-01-04"}, {"valid_to": "2015-07-01"}, {"symbol": "NEW"}, {}):
        assert listed(registry, id, **words).outcome == "unchanged"
    assert registry.end_listing(first.id, valid_to="2015-07-01").outcome == "unchanged"
    assert registry.log.head == head
    registry.end_listing(first.id, valid_to="2022-01-01")
    with pytest.raises(InvalidInput, match="before it begins"):
        registry.end_listing(first.id, valid_to="2009-01-01")
    registry.end_listing(first.id, valid_to="2014-01-01")
    periods = [(each.valid_from, each.valid_to) for _, each in registry.listing_periods(id)]
    assert [ends // 10**9 for _, ends in periods] == [1388534400, 1640995200]
    assert len(registry.history(id)) == registry.log.head
    assert audit_meaning(registry.log).ok
    assert [each.equal for each in registry.rebuild(["listings"], check=True)] == [True]


def test_a_relation_that_holds_again(registry: Registry) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "wraps", b, valid_from=10, source="x")
    registry.unrelate(a, "wraps", b, valid_to=20, source="x")
    again = registry.relate(a, "wraps", b, valid_from=30, source="y")
    assert (again.outcome, again.conflicts) == ("amended", ()), "nobody contradicts anybody"
    for at, found in ((15, [(10, 20)]), (25, []), (35, [(30, 0)])):
        links = registry.related(a, valid=at)
        assert [(link.valid_from, link.valid_to) for link in links] == found
        assert [(k.valid_from, k.valid_to) for k in registry.related(b, valid=at)] == found
    assert [(k.valid_from, k.valid_to) for k in registry.related(a, ended=True)] == [
        (10, 20), (30, 0)]  # fmt: skip
    assert [k.valid_from for k in registry.related(a, valid=15, as_of=again.offset - 1)] == [10]
    assert registry.related(a, valid=35, as_of=again.offset - 1) == []
    with pytest.raises(RelationCycle):
        registry.relate(b, "wraps", a, valid_from=15, valid_to=18)
    assert registry.relate(b, "wraps", a, valid_from=20, valid_to=30).outcome == "new"
    with pytest.raises(IllegalEvent):
        registry.relate(a, "wraps", b, valid_from=22, valid_to=25)
    assert registry.unrelate(a, "wraps", b, valid_to=20).outcome == "unchanged"
    assert audit_meaning(registry.log).ok
    (blame,) = [each for each in registry.blame(a) if " from " in each.field]
    assert blame.field.endswith(" from 1970-01-01T00:00:00.000000010Z")
    assert blame.value == "to 1970-01-01T00:00:00.000000020Z"


def test_who_said_a_date_may_correct_it_and_another_may_not(registry: Registry) -> None:
    id = registry.register(APPLE).id

    def say(source: str, **words: Any) -> Receipt:
        return registry.add_listing(Listing(instrument=id, venue="XNAS", **words), source=source)

    say("x", valid_from=10, valid_to=20)
    say("x", valid_from=40, valid_to=50)
    other = say("y", valid_from=12, valid_to=20)
    assert (other.outcome, len(other.conflicts)) == ("unchanged", 1)
    assert say("y", valid_from=10, valid_to=20).conflicts == ()
    assert say("x", valid_from=12, valid_to=20).outcome == "amended"
    ((_, state),) = registry.listing_bodies(id)
    assert periods_of(state) == ((12, 20), (40, 50))
    assert audit_meaning(registry.log).ok


@given(st.lists(st.integers(1, 90), min_size=4, max_size=8, unique=True), st.randoms())
def test_any_order_of_periods_gives_the_same_row(marks: list[int], rng: Any) -> None:
    marks = sorted(marks)
    periods = list(itertools.batched(marks, 2)) if hasattr(itertools, "batched") else [
        (a, b) for a, b in zip(marks[::2], marks[1::2], strict=False)]  # fmt: skip
    shuffled = periods[:]
    rng.shuffle(shuffled)
    state = body(shuffled[0])
    for begins, ends in shuffled[1:]:
        where = place(state, begins, ends)
        dates = {"valid_from": begins, "valid_to": ends}
        state = replace(state, **where.said(state, dates, begins))
    assert list(periods_of(state)) == sorted(periods)
    assert all((holds(state, begins) and not holds(state, ends)) or ends in marks
               for begins, ends in periods)  # fmt: skip


def test_two_orders_of_files_and_another_home(tmp_path: Path) -> None:
    head = "isin,mic,currency,symbol,valid_from,valid_to\n"
    rows = ["US0378331005,XNAS,USD,AAPL,2010-01-04,2015-07-01\n",
            "US0378331005,XNAS,USD,AAPL,2020-02-03,\n"]  # fmt: skip
    told = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text(head + "".join(order))
        with open_home(tmp_path / name) as registry:
            report = import_file(registry, tmp_path / f"{name}.csv", source="x")
            assert (report.quarantined, report.conflicts) == (0, 0)
            again = import_file(registry, tmp_path / f"{name}.csv", source="x")
            assert (again.unchanged, again.amended) == (2, 0)
            told.append(registry.statistics().views["listings"].digest)
            lines = [json.dumps(event_dict(event, raw=True)) for event in registry.read()]
            assert audit_meaning(registry.log).ok
    told += [_in_two_symbols(tmp_path / "two", 1), _in_two_symbols(tmp_path / "owt", -1)]
    assert told == [*told[:1] * 2, *told[2:3] * 2] and told[0] != told[2]
    told = told[:2]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    with open_home(tmp_path / "c") as registry:
        assert import_file(registry, tmp_path / "events.jsonl").is_clean
        told.append(registry.statistics().views["listings"].digest)
    assert told == told[:1] * 3


def _in_two_symbols(home: Path, step: int) -> bytes:
    with open_home(home) as registry:
        id = registry.register(APPLE).id
        words = [{"valid_from": 10, "valid_to": 20, "symbol": "OLD"},
                 {"valid_from": 30, "symbol": "NEW"}]  # fmt: skip
        for each in words[::step]:
            assert not listed(registry, id, **each).conflicts
        ((_, state),) = registry.listing_bodies(id)
        assert (state.symbol, state.symbol_from) == ("NEW", 0)
        return registry.statistics().views["listings"].digest
