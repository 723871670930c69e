"""What holds from one day to another, what is announced, what is dated back: seen from every day,
as known on every day, against a plain list of who said what when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import EventLog, InvalidInput, Status, format_time, parse_time
from alphapulse.log.clock import RecordingClock
from alphapulse.log.times import NS
from alphapulse.projections import PENDING_BIT
from alphapulse.registry import Equity, Future, Listing, Registry, related, valid_time
from alphapulse.registry.facts import facts_from
from alphapulse.registry.importing import import_file
from alphapulse.registry.valid_time import When

from .homes import isin, token

DAY = 86_400 * NS
START = parse_time("1980-01-01")
APART = 30
"""Days between what one example says and the next. A view counts announced days up to 2106, which
some 1,000 examples take."""
DAYS = 12


class Days:
    """A registry for which it is the day, counted from `start`, that `on` says."""

    def __init__(self, home: Path) -> None:
        self.start = self.now = START
        EventLog.create(home)
        clock = RecordingClock(lambda: self.now, lambda: self.now)
        self.registry = Registry(EventLog.open(home, durability="relaxed", clock=clock), 10.0)

    def on(self, day: int) -> Registry:
        self.now = max(self.now, self.time(day))
        return self.registry

    def time(self, day: int) -> int:
        return self.start + day * DAY


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    made = Days(tmp_path_factory.mktemp("days") / "home")
    with pytest.MonkeyPatch.context() as patch, made.registry:
        for module in (valid_time, related):
            patch.setattr(module, "time", SimpleNamespace(time_ns=lambda: made.now))
        yield made
        checked = made.registry.rebuild(["instruments"], check=True)
        assert [each.equal for each in checked] == [True]


@pytest.fixture
def fresh(days: Days) -> Days:
    """From here on days count anew, after all there was."""
    days.start = days.now = days.now + APART * DAY
    return days


def new_isin(days: Days) -> str:
    return isin(days.registry.log.head)


# --- the property ----------------------------------------------------------------------------

VALUES = st.sampled_from(["EUR", "USD", None])


class Word(NamedTuple):
    """Said in this place of the list: these fields have these values from day to day."""

    since: int
    until: int
    changes: dict[str, Any]
    is_dated: bool


AMENDMENTS = st.lists(
    st.tuples(
        st.integers(0, 2), st.none() | st.integers(-3, DAYS), st.none() | st.integers(1, 4),
        st.dictionaries(st.sampled_from(["symbol", "name"]), VALUES, max_size=2),
    ),
    max_size=5,
)  # fmt: skip


def of_the_list(words: list[Word], day: int) -> dict[str, Any] | None:
    """The last one who spoke of a day is right about it; the first one, if nobody else did."""
    if day < min(word.since for word in words if word.is_dated or word is words[0]):
        return None
    state: dict[str, Any] = dict(words[0].changes)
    for word in words[1:]:
        if word.since <= day < word.until:
            state.update(word.changes)
    return {field: value for field, value in state.items() if value is not None}


@given(st.none() | st.integers(-2, 5), AMENDMENTS)
def test_against_a_plain_list(
    days: Days, begins: int | None, said: list[tuple[int, int | None, int | None, dict[str, Any]]]
) -> None:
    days.start = days.now = days.now + APART * DAY
    registry, today, code = days.registry, 0, new_isin(days)
    since = "" if begins is None else days.time(begins)
    first = registry.register(Equity(isin=code, symbol="USD", valid_from=since))
    words = [Word(0 if begins is None else begins, DAYS * 9, {"isin": code, "symbol": "USD"}, True)]
    heads = [first.offset + 1]
    for later, dated, length, changes in said:
        today += later
        given: dict[str, Any] = {} if dated is None else {"valid_from": days.time(dated)}
        until = DAYS * 9
        if dated is not None and length is not None and changes:
            until = dated + length
            given["valid_to"] = days.time(until)
        receipt = days.on(today).amend(first.id, **given, **changes)
        words.append(Word(today if dated is None else dated, until, changes, dated is not None))
        again = registry.amend(first.id, **given, **changes)
        assert (again.outcome, again.offset) == ("unchanged", receipt.offset)
        heads.append(registry.log.head)
    for known, head in enumerate(heads, 1):
        for day in range(-4, DAYS + 6):
            match = registry.lookup.match(first.id, When(head, days.time(day)))
            found = None if match is None else facts_from(match.body).values
            assert found == of_the_list(words[:known], day), (known, day)
    for day in range(today, DAYS + 6):
        record = days.on(day).get(first.id)
        assert record is not None
        state = of_the_list(words, day)
        if state is None:
            assert record.status is Status.PENDING, day
        else:
            assert (record.status, record.symbol) == (Status.ACTIVE, state.get("symbol", "")), day


# --- as of now ---------------------------------------------------------------------------------


def test_what_is_announced_counts_from_its_day_on(fresh: Days) -> None:
    """By every door, and without a write."""
    old, new = new_isin(fresh), isin(10_000_000 + fresh.registry.log.head)
    registry = fresh.on(0)
    id = registry.register(Equity(isin=old, symbol="OLD"), source="feed").id
    registry.add_listing(Listing(instrument=id, venue="XNAS", currency="USD"))
    registry.amend(id, symbol="NEW", isin=new, valid_from=fresh.time(5))
    registry.set_status(id, "halted", valid_from=fresh.time(7))

    def answers(symbol: str, code: str, status: Status) -> None:
        other = {"OLD": "NEW", "NEW": "OLD"}[symbol]
        for record in (
            registry.get(id), registry.by_isin(code), *registry.by_symbol(symbol),
            registry.lookup.find(code)[1][0].record,
        ):  # fmt: skip
            assert record is not None
            assert (record.symbol, record.isin, record.status) == (symbol, code, status)
            record.verify()
        assert registry.by_symbol(other) == []
        assert [each.venue for each in registry.listings_by_isin(code)] == ["XNAS"]
        assert (list(registry.listings_by_isin(new)) == []) == (symbol == "OLD")
        facts = registry.facts(id)
        assert facts is not None and facts.values["symbol"] == symbol
        assert len(registry.related(symbol)) == 0

    head = registry.log.head
    for day, said in (
        (0, ("OLD", old, Status.ACTIVE)), (4, ("OLD", old, Status.ACTIVE)),
        (5, ("NEW", new, Status.ACTIVE)), (7, ("NEW", new, Status.HALTED)),
    ):  # fmt: skip
        fresh.on(day)
        answers(*said)
    assert list(registry.listings_by_isin(old)) != [], "it was registered under that one"
    for as_of, symbol in ((head - 1, "OLD"), (fresh.time(6), "NEW"), (fresh.time(3), "OLD")):
        record = registry.get(id, as_of=as_of if as_of < head else format_time(as_of))
        assert record is not None and record.symbol == symbol
    assert registry.log.head == head


def test_a_name_that_comes_later_is_told_as_such(fresh: Days) -> None:
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh), symbol="LATEOLD")).id
    registry.amend(id, symbol="LATENEW", valid_from=fresh.time(5))
    ((why, match),) = registry.lookup.near("LATENEW")
    assert (why.split(" from ")[0], match.id) == ("it will have this symbol", id)
    fresh.on(6)
    assert registry.lookup.near("LATEOLD") == [("it had this symbol before", registry.describe(id))]


def test_what_is_registered_for_later_is_pending(fresh: Days) -> None:
    registry = fresh.on(0)
    coin = token(fresh.registry.log.head, symbol="SOON", valid_from=fresh.time(5))
    id = registry.register(coin, source="a").id
    registry.amend(id, name="Announced")
    for day, status in ((1, Status.PENDING), (4, Status.PENDING), (5, Status.ACTIVE)):
        fresh.on(day)
        record = registry.get(id)
        assert record is not None and record.status is status
        assert [each.status for each in registry.by_symbol("SOON")] == [status]
        then = registry.get(id, valid=fresh.now)
        assert (then is None) == (status is Status.PENDING)
    assert registry.register(coin, source="a").outcome == "unchanged"
    halted = registry.register(
        token(id % 1000 + 5000, status="delisted", valid_from=fresh.time(9))
    ).id
    record = registry.get(halted)
    assert record is not None and record.status is Status.DELISTED, "it will never be traded"


def test_a_symbol_of_a_listing_counts_from_its_day_on(fresh: Days) -> None:
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh))).id
    for symbol, since in (("LBEFORE", 0), ("LAFTER", fresh.time(5))):
        registry.add_listing(
            Listing(instrument=id, venue="XNAS", symbol=symbol, symbol_from=since), source="x"
        )
    for day, symbol, other in ((4, "LBEFORE", "LAFTER"), (5, "LAFTER", "LBEFORE")):
        fresh.on(day)
        assert [body.symbol for _, body in registry.listing_bodies(id)] == [symbol]
        assert [each.id for each in registry.by_symbol(symbol, venue="XNAS")] == [id]
        assert registry.by_symbol(other) == []


def test_a_request_that_is_sent_again_after_the_day_means_the_same(fresh: Days) -> None:
    registry = fresh.on(0)
    a, b = (registry.register(Equity(isin=new_isin(fresh), symbol=each)).id for each in "XY")
    registry.amend(a, symbol="SWAP", valid_from=fresh.time(2))
    fresh.on(3)
    formula = "0.5 * SWAP + 0.5"
    first = registry.lookup.formula(formula)
    assert f"0x{a:016x}" in first
    offset = registry.amend(b, name="Y Inc.", request_id=f"r{fresh.start}").offset
    registry.amend(a, symbol="GONE", valid_from=fresh.time(4))
    fresh.on(5)
    assert registry.offset_of_request(f"r{fresh.start}") == offset
    assert registry.lookup.formula(formula, f"r{fresh.start}") == first


# --- dating back -------------------------------------------------------------------------------


def test_dating_back(fresh: Days) -> None:
    """By an amendment, with other fields or without, and by the registration said again."""
    registry, code = fresh.on(0), new_isin(fresh)
    equity = Equity(isin=code, symbol="A", currency="USD")
    id = registry.register(equity, source="feed").id
    fresh.on(10)
    assert registry.amend(id, valid_from=fresh.time(-5)).outcome == "amended"
    assert registry.amend(id, valid_from=fresh.time(-5)).outcome == "unchanged"
    assert registry.amend(id, valid_from=fresh.time(-4)).outcome == "unchanged"
    fresh.on(11)
    dated = Equity(isin=code, symbol="A", currency="USD", valid_from=fresh.time(-10))
    for outcome in ("amended", "unchanged"):
        assert registry.register(dated, source="other").outcome == outcome
    assert registry.alerts() == []
    fresh.on(12)
    registry.amend(id, symbol="B", valid_from=fresh.time(-20))

    def said(valid: int, known: int) -> str | None:
        record = registry.get(id, valid=fresh.time(valid), known=format_time(fresh.time(known)))
        return None if record is None else record.symbol

    table = {
        #     known: 5    10    11    12
        -21: (None, None, None, None),
        -20: (None, None, None, "B"),
        -10: (None, None, "A", "B"),
        -5: (None, "A", "A", "B"),
        -1: (None, "A", "A", "B"),
        0: ("A", "A", "A", "B"),
    }
    for valid, row in table.items():
        assert tuple(said(valid, known) for known in (5, 10, 11, 12)) == row, valid
    assert registry.lookup.begins(id) == (fresh.time(-20), True)
    event = registry.history(id)[-1]
    assert [(each.field, each.offset) for each in registry.blame(id) if each.field == "symbol"] == [
        ("symbol", event.offset)
    ]


def test_a_source_that_corrects_itself_is_not_outdone_by_who_dates_back(fresh: Days) -> None:
    registry, code = fresh.on(0), new_isin(fresh)
    registry.register(Equity(isin=code, symbol="A"), source="feed")
    registry.register(Equity(isin=code, valid_from=fresh.time(-3)), source="other")
    receipt = registry.register(Equity(isin=code, symbol="B"), source="feed")
    assert (receipt.outcome, receipt.conflicts) == ("amended", ())


def test_an_import_says_since_when(fresh: Days, tmp_path: Path) -> None:
    registry = fresh.on(0)
    codes = [isin(20_000_000 + fresh.registry.log.head + n) for n in range(2)]
    file = tmp_path / "list.csv"
    file.write_text("isin,venue,symbol\n" + "".join(f"{code},XNAS,S\n" for code in codes))
    registry.register(Equity(isin=codes[0]))
    for since, counts in (
        (0, (1, 0, 1)), (fresh.time(-5), (0, 2, 0)), (fresh.time(-5), (0, 0, 2)),
        (fresh.time(-4), (0, 0, 2)), (0, (0, 0, 2)),
    ):  # fmt: skip
        report = import_file(registry, file, source="list", valid_from=since)
        assert (report.new, report.amended, report.unchanged) == counts or since == 0
        assert report.is_clean
    for code in codes:
        for day, is_there in ((-6, False), (-5, True)):
            assert (registry.by_isin(code, valid=fresh.time(day)) is not None) == is_there
    with pytest.raises(InvalidInput, match="valid_from"):
        import_file(registry, file, valid_from="soon")


# --- until -------------------------------------------------------------------------------------


def test_a_correction_of_some_days_only(fresh: Days) -> None:
    """And what is known of later days, announced ones too, stays as it was."""
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh), symbol="A", currency="USD")).id
    fresh.on(20)
    registry.amend(id, symbol="B", valid_from=fresh.time(10))
    registry.amend(id, symbol="C", valid_from=fresh.time(30))
    before = registry.log.head
    receipt = registry.amend(
        id, symbol="X", currency="EUR", valid_from=fresh.time(5), valid_to=fresh.time(8),
        request_id=f"until{fresh.start}",
    )  # fmt: skip
    assert registry.log.head - before == 4, "X, A from the 8th, B from the 10th, C from the 30th"
    again = registry.amend(
        id, symbol="X", currency="EUR", valid_from=fresh.time(5), valid_to=fresh.time(8),
        request_id=f"until{fresh.start}",
    )  # fmt: skip
    assert again == receipt and registry.log.head - before == 4

    def said(day: int) -> tuple[str, str]:
        record = registry.get(id, valid=fresh.time(day))
        assert record is not None
        return record.symbol, record.currency

    assert [said(day) for day in (4, 5, 7, 8, 10, 29, 30)] == [
        ("A", "USD"), ("X", "EUR"), ("X", "EUR"), ("A", "USD"), ("B", "USD"), ("B", "USD"),
        ("C", "USD"),
    ]  # fmt: skip
    for times in (
        {"valid_to": fresh.time(3)}, {"valid_from": fresh.time(3), "valid_to": fresh.time(3)},
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="valid_to needs a valid_from before it"):
            registry.amend(id, symbol="Y", **times)  # type: ignore[arg-type]


def test_an_announcement_is_moved(fresh: Days) -> None:
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh), symbol="A")).id

    def since() -> int:
        days = range(1, 20)
        records = [registry.get(id, valid=fresh.time(day)) for day in days]
        return next(d for d, r in zip(days, records, strict=True) if r and r.symbol == "B")

    registry.amend(id, symbol="B", valid_from=fresh.time(10))
    assert since() == 10
    registry.amend(id, symbol="B", valid_from=fresh.time(8))
    assert since() == 8
    registry.amend(id, symbol="A", valid_from=fresh.time(8), valid_to=fresh.time(12))
    assert since() == 12
    fresh.on(5)
    assert registry.amend(id, symbol="B").outcome == "amended"
    assert since() == 5


# --- status and listings at a time ---------------------------------------------------------------


def test_one_status_at_a_time(fresh: Days) -> None:
    """The record that is asked for a time has the status at that time."""
    registry = fresh.on(0)
    future = Future(
        venue="XCME", product="ES", symbol="ESF", maturity=format_time(fresh.time(5))[:10],
        expiry=fresh.time(5),
    )  # fmt: skip
    id = registry.register(future).id
    now = registry.get(id)
    assert now is not None
    for day, status in ((1, Status.ACTIVE), (4, Status.ACTIVE), (5, Status.EXPIRED)):
        then = registry.get(id, valid=fresh.time(day))
        assert then is not None
        then.verify()
        assert then.status is then.status_at(fresh.time(day)) is status
        assert now.status_at(fresh.time(day)) is status
    (found,) = registry.by_symbol("ESF", valid=fresh.time(6))
    assert found.status is Status.EXPIRED


def test_listings_at_a_time(fresh: Days) -> None:
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh))).id
    assert list(registry.listings(id, valid=fresh.time(1))) == []
    for venue, begins, ends in (("XNAS", 1, 4), ("XLON", 3, None)):
        registry.add_listing(Listing(
            instrument=id, venue=venue, symbol="L", valid_from=fresh.time(begins),
            valid_to=0 if ends is None else fresh.time(ends),
        ))  # fmt: skip
    for day, venues in ((0, []), (1, ["XNAS"]), (3, ["XNAS", "XLON"]), (4, ["XLON"])):
        records = registry.listings(id, valid=fresh.time(day))
        assert [record.venue for record in records] == venues
        assert all(record.current(fresh.time(day)) for record in records)
    known = registry.log.head - 2
    assert [each.venue for each in registry.listings(id, known=known)] == ["XNAS"]
    assert [each.venue for each in registry.listings(id, as_of=known)] == ["XNAS"]
    assert registry.listings(id, valid=fresh.time(3), known=known)[0].venue == "XNAS"
    assert [each.venue for each in registry.listings(id)] == ["XNAS", "XLON"]
    with pytest.raises(InvalidInput, match="known"):
        registry.listings(id, as_of=1, known=1)


def test_a_status_is_said_for_another_day(fresh: Days) -> None:
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh), symbol="ST")).id

    def days_of(status: Status) -> list[int]:
        records = [registry.get(id, valid=fresh.time(day)) for day in range(-3, 12)]
        return [day - 3 for day, each in enumerate(records) if each and each.status is status]

    registry.delist(id, valid_from=fresh.time(9))
    assert days_of(Status.DELISTED) == [9, 10, 11]
    registry.delist(id, valid_from=fresh.time(7))
    assert days_of(Status.DELISTED) == [7, 8, 9, 10, 11]
    fresh.on(5)
    assert registry.delist(id).outcome == "amended", "now, not on its day"
    head = registry.log.head
    assert days_of(Status.DELISTED) == [5, 6, 7, 8, 9, 10, 11]
    assert days_of(Status.ACTIVE) == [0, 1, 2, 3, 4]
    fresh.on(8)
    for again in ({}, {"valid_from": fresh.time(6)}, {"valid_from": fresh.time(20)}):
        assert registry.delist(id, **again).outcome == "unchanged"  # type: ignore[arg-type]
    assert registry.log.head == head
    registry.delist(id, valid_from=fresh.time(-2))
    assert days_of(Status.ACTIVE) == []
    assert days_of(Status.DELISTED) == list(range(-2, 12))
    migrated = registry.register(token(registry.log.head, symbol="M")).id
    registry.set_status(migrated, "migrated")
    assert registry.set_status(migrated, "migrated", valid_from=fresh.time(1)).outcome == (
        "unchanged"
    )


def test_what_was_announced_is_read_in_place_again(fresh: Days) -> None:
    """Once its day has come, and once something else is written the mark is gone."""
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh), symbol="P")).id
    registry.amend(id, symbol="Q", valid_from=fresh.time(2))

    def pending() -> bool:
        table = registry.views.table("instruments")
        position = table.find(id)
        assert bool(position & PENDING_BIT) == bool(table.trailer(position).pending_until_s)
        return bool(position & PENDING_BIT)

    assert pending()
    registry.register(Equity(isin=new_isin(fresh)))
    registry.amend(id, name="N", source="x")
    assert pending(), "another word does not make it true"
    fresh.on(3)
    record = registry.get(id)
    assert record is not None and (record.symbol, record.revision) == ("Q", 3)
    registry.amend(id, name="O")
    assert not pending()
    assert registry.get(id) == registry.lookup.match(id).record  # type: ignore[union-attr]


def test_blame_is_about_what_is_true(fresh: Days) -> None:
    registry = fresh.on(0)
    id = registry.register(Equity(isin=new_isin(fresh), symbol="A")).id
    after = registry.amend(id, symbol="B", name="N", valid_from=fresh.time(4)).offset
    known = registry.amend(id, currency="USD", valid_from=fresh.time(-2)).offset

    def blames(**when: int) -> dict[str, tuple[object, int]]:
        found = registry.blame(id, valid=fresh.time(when.pop("day")), **when)
        return {each.field: (each.value, each.offset) for each in found}

    before = blames(day=3)
    assert (before["symbol"], before["currency"]) == (("A", after - 1), ("USD", known))
    assert "name" not in before
    assert (blames(day=4)["symbol"], blames(day=4)["name"]) == (("B", after), ("N", after))
    assert "currency" not in blames(day=4, known=after)


# --- said again with an earlier date -------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_words_with_dates_mean_the_same_in_any_order(fresh: Days, order: tuple[int, ...]) -> None:
    """Nobody's word of one day is lost to another one's order of files; again adds nothing."""
    registry, code = fresh.on(20), new_isin(fresh)
    first = registry.register(Equity(isin=code, symbol="A", valid_from=fresh.time(0)), source="s")
    words = [
        Equity(isin=code, symbol="B", currency="USD", valid_from=fresh.time(day))
        for day in (12, 5, 9)
    ]  # fmt: skip
    for number in order:
        registry.register(words[number], source="s")
    head = registry.log.head
    for number in order:
        assert registry.register(words[number], source="s").outcome == "unchanged"
    assert registry.log.head == head

    def said(day: int) -> tuple[str, str]:
        record = registry.get(first.id, valid=fresh.time(day))
        assert record is not None
        return record.symbol, record.currency

    assert [said(day) for day in (0, 4, 5, 9, 12, 30)] == [("A", "")] * 2 + [("B", "USD")] * 4


def test_who_says_again_what_was_not_known_yet(fresh: Days) -> None:
    registry, code = fresh.on(10), new_isin(fresh)
    id = registry.register(Equity(isin=code, symbol="A", valid_from=fresh.time(0)), source="s").id
    registry.register(Equity(isin=code, name="N", status="halted"), source="s")
    receipt = registry.register(
        Equity(isin=code, name="N", status="halted", valid_from=fresh.time(4)), source="s"
    )
    assert receipt.outcome == "amended" and not receipt.conflicts
    for day, name, status in ((3, None, Status.ACTIVE), (4, "N", Status.HALTED)):
        facts, record = (
            registry.facts(id, valid=fresh.time(day)), registry.get(id, valid=fresh.time(day))
        )  # fmt: skip
        assert record is not None and record.status is status and record.symbol == "A"
        assert facts is not None and facts.values.get("name") == name


def test_what_another_source_said_of_the_days_before_stands(fresh: Days) -> None:
    """A repeated word reaches back over what nobody said and over its own source's, no further;
    and to where the next word begins."""
    registry, code = fresh.on(30), new_isin(fresh)
    said = (("A", 0, "one"), ("C", 5, "one"), ("A", 9, "one"), ("B", 20, "one"))
    for symbol, day, source in said:
        id = registry.register(
            Equity(isin=code, symbol=symbol, valid_from=fresh.time(day)), source=source
        ).id
    word = Equity(isin=code, symbol="B", valid_from=fresh.time(2))
    other = registry.register(word, source="other")
    assert other.outcome == "unchanged" and len(other.conflicts) == 1
    again = registry.register(word, source="other")
    assert again.conflicts == other.conflicts
    assert registry.register(word, source="one").outcome == "amended"
    symbols = []
    for day in (0, 2, 4, 5, 9, 20):
        record = registry.get(id, valid=fresh.time(day))
        assert record is not None
        symbols.append(record.symbol)
    assert symbols == ["A", "B", "B", "C", "A", "B"]


def test_what_is_in_conflict_dates_nothing_back(fresh: Days) -> None:
    registry, code = fresh.on(10), new_isin(fresh)
    id = registry.register(Equity(isin=code, symbol="META"), source="one").id
    old = Equity(isin=code, symbol="FB", name="Facebook", valid_from=fresh.time(2))
    receipt = registry.register(old, source="two")
    assert receipt.outcome == "amended" and len(receipt.conflicts) == 1
    assert registry.get(id, valid=fresh.time(5)) is None
    facts = registry.facts(id)
    assert facts is not None
    assert facts.values == {"isin": code, "symbol": "META", "name": "Facebook"}
    head = registry.log.head
    assert registry.register(old, source="two").outcome == "unchanged"
    halted = Equity(isin=code, status="halted", valid_from=fresh.time(2))
    assert registry.register(halted, source="two").outcome == "unchanged"
    assert registry.log.head == head + 1  # the second conflict
    assert registry.get(id, valid=fresh.time(5)) is None


def test_a_word_that_never_held_is_no_contradiction(fresh: Days) -> None:
    """`one` said M since day 6 and then A since day 3: what was so before day 3 nobody said."""
    registry, code = fresh.on(30), new_isin(fresh)
    for symbol, day in (("M", 6), ("A", 3)):
        id = registry.register(
            Equity(isin=code, symbol=symbol, valid_from=fresh.time(day)), source="one"
        ).id
    word = Equity(isin=code, symbol="A", valid_from=fresh.time(1))
    receipt = registry.register(word, source="two")
    assert (receipt.outcome, receipt.conflicts) == ("amended", ())
    assert registry.register(word, source="two").outcome == "unchanged"
    record = registry.get(id, valid=fresh.time(2))
    assert record is not None and record.symbol == "A"
