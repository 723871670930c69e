"""What was true at T, as known at K: the bitemporal table, and a model of one field after field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapulse.log import ConflictBody, EventLog, InvalidInput, Status, format_time, parse_time
from alphapulse.log.clock import RecordingClock
from alphapulse.registry import Equity, Listing, Registry
from alphapulse.registry.facts import facts_from
from alphapulse.registry.valid_time import When

from .homes import APPLE, isin, open_home, token

JANUARY, FEBRUARY, MARCH, APRIL = (f"2026-{month:02d}-01" for month in range(1, 5))


class Calendar:
    """A registry whose events are recorded when `at` says."""

    def __init__(self, home: Path, start: str) -> None:
        self._now = parse_time(start)
        EventLog.create(home)
        clock = RecordingClock(lambda: self._now, lambda: self._now)
        self.registry = Registry(EventLog.open(home, durability="relaxed", clock=clock), 10.0)

    def at(self, time: str) -> Registry:
        self._now = parse_time(time)
        return self.registry


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    made = Calendar(tmp_path / "home", "2026-01-01")
    with made.registry:
        yield made


def test_the_bitemporal_table(calendar: Calendar) -> None:
    """Registered in January; renamed in February, from then on; and in March somebody finds out
    that the currency was another one all along, since the middle of January."""
    known = calendar.at("2026-01-10").register(
        Equity(isin=APPLE.isin, symbol="OLD", currency="USD", valid_from=JANUARY)
    )
    calendar.at("2026-02-10").amend(known.id, symbol="NEW", valid_from="2026-02-05")
    calendar.at("2026-03-10").amend(known.id, currency="EUR", valid_from="2026-01-15")

    def said(valid: str, as_of: str) -> tuple[str, str] | None:
        record = calendar.registry.get(known.id, valid=valid, as_of=as_of)
        return None if record is None else (record.symbol, record.currency)

    table = {
        # true at      known: January 5   January 31        February 28       April 1
        "2025-12-31": (None, None, None, None),
        "2026-01-12": (None, ("OLD", "USD"), ("OLD", "USD"), ("OLD", "USD")),
        "2026-01-20": (None, ("OLD", "USD"), ("OLD", "USD"), ("OLD", "EUR")),
        "2026-02-20": (None, ("OLD", "USD"), ("NEW", "USD"), ("NEW", "EUR")),
        "2026-04-01": (None, ("OLD", "USD"), ("NEW", "USD"), ("NEW", "EUR")),
    }
    for valid, row in table.items():
        for as_of, wanted in zip(("2026-01-05", "2026-01-31", "2026-02-28", APRIL), row,
                                 strict=True):  # fmt: skip
            assert said(valid, as_of) == wanted, (valid, as_of)


def test_what_names_no_date_holds_since_it_was_recorded(calendar: Calendar) -> None:
    id = calendar.at(FEBRUARY).register(APPLE).id
    calendar.at(MARCH).amend(id, symbol="X")
    registry = calendar.registry
    symbols = [
        None if (record := registry.get(id, valid=valid)) is None else record.symbol
        for valid in ("2026-01-31", FEBRUARY, "2026-02-28", MARCH)
    ]
    assert symbols == [None, "AAPL", "AAPL", "X"]


def test_what_is_announced_is_not_true_yet(calendar: Calendar) -> None:
    id = calendar.at(JANUARY).register(APPLE).id
    registry = calendar.at(FEBRUARY)
    registry.set_status(id, "halted", valid_from=APRIL)
    registry.amend(id, symbol="SOON", valid_from=MARCH)
    for valid, symbol, status in (
        ("2026-02-15", "AAPL", Status.ACTIVE), (MARCH, "SOON", Status.ACTIVE),
        (APRIL, "SOON", Status.HALTED),
    ):  # fmt: skip
        record = registry.get(id, valid=valid)
        assert record is not None
        assert (record.symbol, record.status) == (symbol, status)
        record.verify()


def test_what_holds_today_takes_no_announcement_back(registry: Registry) -> None:
    """Said again by the feed that announced it, as a file of every day does."""
    words = Equity(isin=APPLE.isin, symbol="A", name="Old", status="active")
    id = registry.register(words, source="feed").id
    announced: dict[str, Any] = {"class": "etf", "name": "New", "status": "halted"}
    registry.set_status(id, announced.pop("status"), source="feed", valid_from="2090-01-01")
    registry.amend(id, source="feed", valid_from="2090-01-01", **announced)
    for source in ("feed", "other"):
        again = registry.register(words, source=source)
        assert (again.outcome, again.conflicts) == ("unchanged", ())
    then = registry.get(id, valid="2090-01-01")
    assert then is not None and (then.asset_class.name, then.status.name) == ("ETF", "HALTED")
    today = registry.get(id)
    assert today is not None and (today.asset_class.name, today.status.name) == ("EQUITY", "ACTIVE")


def test_nothing_is_there_before_its_registration_holds(calendar: Calendar) -> None:
    """Nor before the earliest day that is said of it: what corrects that day dates it back. A word
    without a date does not."""
    future = calendar.at(JANUARY).register(token(3, symbol="F", valid_from="2030-01-01")).id
    calendar.registry.amend(future, name="Announced")
    late = calendar.at(MARCH).register(APPLE).id
    assert calendar.registry.get(late, valid=FEBRUARY) is None
    calendar.at(APRIL).amend(late, symbol="APPL", valid_from=JANUARY)
    for id, before, since, words in (
        (late, "2025-12-31", JANUARY, "APPL"), (future, "2029-12-31", "2030-01-01", "F"),
    ):  # fmt: skip
        assert calendar.registry.get(id, valid=before) is None
        facts = calendar.registry.facts(id, valid=since)
        assert facts is not None and facts.values["symbol"] == words
    assert facts is not None and facts.values["name"] == "Announced"
    assert calendar.registry.get(late, valid=FEBRUARY, known=MARCH) is None, "not known in March"


def test_who_a_key_means_at_a_time(calendar: Calendar) -> None:
    """A symbol whoever had it then; an id, an ISIN or an address the same one always."""
    registry = calendar.at(JANUARY)
    arcx = registry.register(
        Equity(isin=APPLE.isin, symbol="META", valid_from="2010-01-01")
    ).id
    meta = registry.register(
        Equity(isin="US30303M1027", symbol="FB", valid_from="2012-01-01")
    ).id
    registry.amend(arcx, symbol="METV", valid_from="2022-01-01")
    registry.amend(meta, symbol="META", valid_from="2022-06-01")

    def means(key: str, valid: str) -> list[int]:
        return [match.id for match in registry.lookup.whom(key, registry.when(valid=valid))]

    assert means("META", "2021-01-01") == [arcx]
    assert means("META", "2022-03-01") == []
    assert means("META", "2022-06-01") == [meta]
    assert means("META", "2001-01-01") == []
    for key in (APPLE.isin, f"0x{arcx:016x}"):
        assert means(key, "2001-01-01") == means(key, "2021-01-01") == [arcx]
    registry.relate(arcx, "underlying", meta, valid_from="2000-01-01")
    (found,) = registry.related("META", valid="2021-01-01")
    assert (found.instrument, found.other) == (arcx, meta)
    assert registry.related("META", valid="2001-01-01") == []
    assert len(registry.related(APPLE.isin, valid="2001-01-01")) == 1


def test_the_first_instant_of_1970_is_no_date(calendar: Calendar) -> None:
    registry = calendar.at(JANUARY)
    with pytest.raises(InvalidInput, match="first instant of 1970"):
        registry.register(Equity(isin=APPLE.isin, valid_from="1970-01-01"))
    id = registry.register(
        Equity(isin=APPLE.isin, valid_from="1970-01-01T00:00:00.000000001Z")
    ).id
    assert registry.get(id, valid="1970-01-01") is None
    assert registry.get(id, valid=1) is not None


def test_a_symbol_goes_from_one_to_another(calendar: Calendar) -> None:
    registry = calendar.at(JANUARY)
    first = registry.register(token(1, symbol="LUNA", valid_from="2020-01-01")).id
    registry.amend(first, symbol="LUNC", valid_from="2022-05-28")
    second = registry.register(token(2, symbol="LUNA", valid_from="2022-05-28")).id
    registry.add_listing(Listing(
        instrument=first, venue="XETR", symbol="LUNX", valid_from="2021-01-01",
        valid_to="2022-01-01",
    ))  # fmt: skip

    def holders(symbol: str, valid: str, venue: str = "") -> list[int]:
        return [r.id for r in registry.by_symbol(symbol, valid=valid, venue=venue)]

    assert holders("LUNA", "2021-06-01") == [first]
    assert holders("LUNA", "2022-05-27T23:59:59.999999999Z") == [first]
    assert holders("LUNA", "2022-05-28") == [second]
    assert holders("LUNC", "2021-06-01") == []
    for valid, wanted in (
        ("2020-12-31", []), ("2021-01-01", [first]), ("2022-01-01", []),
    ):  # fmt: skip
        assert holders("LUNX", valid) == holders("LUNX", valid, "XETR") == wanted
    assert [r.id for r in registry.by_symbol("LUNA")] == [second]


def test_who_was_listed_before_its_own_date_is_found_by_every_key(registry: Registry) -> None:
    figi, cusip = "BBG000B9XRY4", APPLE.isin[2:-1]
    id = registry.register(Equity(isin=APPLE.isin, figi=figi, symbol="AAPL")).id
    registry.amend(id, isin=isin(7))
    registry.add_listing(
        Listing(instrument=id, venue="XNAS", symbol="AP", valid_from="2010", valid_to="2016")
    )
    for key in (f"0x{id:016x}", APPLE.isin, figi, cusip, "AAPL", "AP"):
        for year, wanted in (("2009", []), ("2015", [id]), ("2017", [])):
            found = registry.lookup.find(key, when=When(None, parse_time(year)))[1]
            assert [match.id for match in found] == wanted, (key, year)
    then = When(None, parse_time("2015"))
    assert registry.lookup.by_isin(isin(7), then) == [], "it got that one only later"


def test_every_way_to_ask_takes_both_times(calendar: Calendar) -> None:
    registry = calendar.at(MARCH)
    apple = registry.register(Equity(isin=APPLE.isin, symbol="A", valid_from=FEBRUARY)).id
    coin = registry.register(token(7, symbol="T", valid_from=FEBRUARY))
    address = token(7).address
    for valid, is_there in ((JANUARY, False), (FEBRUARY, True)):
        for found in (
            registry.get(apple, valid=valid), registry.describe(apple, valid=valid),
            registry.facts(apple, valid=valid), registry.by_isin(APPLE.isin, valid=valid),
            registry.by_address("eip155:1", address, valid=valid),
            registry.lookup.by_fingerprint(coin.fingerprint, registry.when(valid=valid)),
        ):  # fmt: skip
            assert (found is not None) == is_there, valid
            assert registry.get(apple, as_of="2026-02-28", valid=valid) is None
    with pytest.raises(InvalidInput, match="valid"):
        registry.get(apple, valid="soon")


FIELDS = st.sampled_from(["symbol", "name", "currency"])
EVENTS = st.lists(
    st.tuples(FIELDS, st.sampled_from(["EUR", "USD", None]), st.integers(0, 9)), max_size=7
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One home for all examples: each has an instrument of its own."""
    with open_home(tmp_path_factory.mktemp("model") / "home") as registry:
        yield registry


@given(EVENTS, st.integers(0, 9), st.integers(0, 8))
def test_against_a_model(
    shared: Registry, events: list[tuple[str, str | None, int]], valid: int, known: int
) -> None:
    """The model keeps one list for each field: who spoke last, of those whose date has come.

    Known are whole commands: one that says again what was announced takes two events.
    """
    start = parse_time(JANUARY)
    first = shared.log.head
    code = isin(first)
    id = shared.register(Equity(isin=code, symbol="A", valid_from=format_time(start))).id
    words: list[tuple[int, int, str, str | None]] = [(first, 0, "symbol", "A")]
    heads = [first, first + 1]
    for field, value, day in events:
        changes: dict[str, Any] = {field: value}
        receipt = shared.amend(id, valid_from=start + day, **changes)
        if receipt.outcome == "amended":
            words.append((receipt.offset, day, field, value))
        heads.append(shared.log.head)
    known = heads[min(known, len(heads) - 1)]
    model: dict[str, object] = {"isin": code}
    for offset, day, field, value in words:
        if offset < known and day <= valid:
            model.pop(field, None)
            model |= {} if value is None else {field: value}
    match = shared.lookup.match(id, When(known, start + valid))
    assert (match is None) == (known == first)
    if match is not None:
        assert facts_from(match.body).values == model


def test_known_is_another_word_for_as_of(registry: Registry) -> None:
    """And `at`, where a symbol is asked for, one for `valid`: the same answers, never both."""
    id = registry.register(APPLE).id
    registry.amend(id, symbol="APPL", valid_from="2030-01-01")
    ask: list[Callable[..., object]] = [
        partial(registry.get, id), partial(registry.describe, id), partial(registry.facts, id),
        partial(registry.by_isin, APPLE.isin), partial(registry.by_symbol, "APPL"),
        partial(registry.find, "APPL"), partial(registry.related, id),
        partial(registry.joined, [id]), partial(registry.components, id),
        partial(registry.by_address, "eip155:1", "0x" + "0" * 39 + "1"),
    ]  # fmt: skip
    differing = 0
    for each in ask:
        now = each(valid="2031-01-01", known=1)
        assert now == each(valid="2031-01-01", as_of=1)
        then = each(valid="2031-01-01", known=0)
        assert then == each(valid="2031-01-01", as_of=0)
        differing += then != now
        with pytest.raises(InvalidInput, match="reading known: as_of is given too"):
            each(known=0, as_of=0)
    assert differing == 6, "related, joined, components and an address say the same"
    assert [each.id for each in registry.by_symbol("APPL", at="2031-01-01")] == [id]
    assert registry.by_symbol("APPL", at="2029-01-01") == []
    with pytest.raises(InvalidInput, match="reading at: valid is given too"):
        registry.by_symbol("APPL", at="2031", valid="2031")


# --- symbols of listings ---------------------------------------------------------------------

FACEBOOK, METAVERSE = "US30303M1027", "US5949181045"


def listed(registry: Registry, id: int, symbol: str, since: str = "", **how: Any) -> str:
    """What became of a listing's symbol on Nasdaq. since: of this symbol."""
    listing = Listing(
        instrument=id, venue="XNAS", currency="USD", symbol=symbol, symbol_from=since,
        valid_from=how.pop("valid_from", ""),
    )  # fmt: skip
    return registry.add_listing(listing, source=how.pop("source", "nasdaq")).outcome


def test_a_symbol_goes_from_one_listing_to_another(registry: Registry) -> None:
    """META was an ETF's until January 2022, and Facebook's from June on."""
    facebook = registry.register(Equity(isin=FACEBOOK, valid_from="2012-05-18")).id
    fund = registry.register(Equity(isin=METAVERSE, valid_from="2021-06-30")).id
    listed(registry, facebook, "FB", valid_from="2012-05-18")
    listed(registry, fund, "META", valid_from="2021-06-30")
    assert listed(registry, fund, "METV", "2022-01-31") == "amended"
    assert listed(registry, facebook, "META", "2022-06-09") == "amended"

    def who(symbol: str, at: str | None, **known: int) -> list[int]:
        both = [
            [each.id for each in registry.by_symbol(symbol, venue=venue, at=at, **known)]
            for venue in ("", "XNAS")
        ]
        assert both[0] == both[1]
        return both[0]

    for at, meta, fb in (
        ("2021-06-29", [], [facebook]), ("2021-06-30", [fund], [facebook]),
        ("2022-01-30", [fund], [facebook]), ("2022-01-31", [], [facebook]),
        ("2022-06-08", [], [facebook]), ("2022-06-09", [facebook], []), (None, [facebook], []),
    ):  # fmt: skip
        assert (who("META", at), who("FB", at)) == (meta, fb), at
    assert who("META", "2023-01-01", known=3) == [fund], "as it was known before the changes"

    def symbol(at: str) -> str:
        ((_, body),) = registry.listing_bodies(facebook, valid=at)
        return body.symbol

    assert [symbol(at) for at in ("2011-01-01", "2022-06-08", "2022-06-09")] == ["FB", "FB", "META"]


@pytest.mark.parametrize(
    "said, before, after",
    [
        ([("FB", ""), ("MTEA", "2022"), ("META", "2022")], "FB", "META"),
        ([("FB", ""), ("META", "2022"), ("FB", "2024")], "FB", "META"),
        ([("FB", ""), ("META", "2024"), ("META", "2022")], "FB", "META"),
        ([("META", ""), ("META", "2022")], "", "META"),
        ([("META", "2022")], "", "META"),
        ([("FB", ""), ("META", "")], "META", "META"),
        ([("FB", ""), ("META", "2022"), ("METV", "")], "FB", "METV"),
        ([("", ""), ("META", "2022")], "", "META"),
        ([("A", ""), ("B", "2019"), ("C", "2022")], "B", "C"),
    ],
)
def test_since_when_a_listing_has_its_symbol(
    registry: Registry, said: list[tuple[str, str]], before: str, after: str
) -> None:
    id = registry.register(Equity(isin=APPLE.isin, valid_from="2000-01-01")).id
    for symbol, since in said:
        listed(registry, id, symbol, since)
    for at, expected in (("2021-01-01", before), ("2023-01-01", after)):
        ((_, body),) = registry.listing_bodies(id, valid=at)
        assert body.symbol == expected, at
        if expected:
            assert [each.id for each in registry.by_symbol(expected, venue="XNAS", at=at)] == [id]


def test_the_date_of_a_symbol_that_is_not_taken_is_not_taken_either(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, "FB")
    assert listed(registry, id, "META", "2022", source="rumour") == "unchanged"
    ((alert, _),) = registry.alerts()
    assert isinstance(alert.body, ConflictBody) and alert.body.field == "symbol"
    assert registry.listing_bodies(id)[0][1].symbol_from == 0
    assert listed(registry, id, "FB", "2012", source="rumour") == "amended"
    assert listed(registry, id, "META", "2022") == "amended", "with its date, whoever said the old"
    assert registry.listing_bodies(id)[0][1].symbol_from == parse_time("2022")
    for wrong in ({"symbol": ""}, {"valid_to": "2021"}):
        fields: dict[str, Any] = {"symbol": "X", "symbol_from": "2022", **wrong}
        with pytest.raises(InvalidInput, match="symbol_from"):
            registry.add_listing(Listing(instrument=id, venue="XNAS", **fields))


def test_sources_that_disagree_on_the_date_of_a_symbol(tmp_path: Path) -> None:
    """Whoever was first: the same is known and disputed."""
    digests = []
    for order in (("one", "two"), ("two", "one")):
        with open_home(tmp_path / order[0]) as registry:
            id = registry.register(APPLE, source="x").id
            for source in order:
                listed(registry, id, "A", {"one": "2020", "two": "2021"}[source], source=source)
            ((alert, _),) = registry.alerts()
            assert isinstance(alert.body, ConflictBody) and alert.body.field == "symbol_from"
            digests.append(registry.statistics().views["listings"].digest)
    assert digests[0] == digests[1]
