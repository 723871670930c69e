"""What dates do to periods: none of them is lost, and no symbol begins where its period is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import InvalidInput, ListingBody
from alphapulse.registry import (
    ImportReport,
    Listing,
    Origin,
    Receipt,
    Registry,
    Relate,
    RelationCycle,
    Unit,
    import_file,
    periods,
)
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.render import event_dict

from .homes import APPLE, open_home, receipts, token


def listed(registry: Registry, id: int, source: str = "s", **words: Any) -> Receipt:
    return registry.add_listing(
        Listing(instrument=id, venue="XNAS", currency="USD", **words), source=source
    )


def spans(registry: Registry, id: int) -> list[tuple[str, str, str]]:
    """(since, until, symbol), of the dates the year alone."""
    return [
        (_year(body.valid_from), _year(body.valid_to), body.symbol)
        for _, body in registry.listing_periods(id)
    ]


def _year(time: int) -> str:
    return str(1970 + round(time / (365.2425 * 86_400 * 10**9))) if time else ""


def test_a_dated_import_leaves_a_former_period_its_symbol(
    registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"

    def imported(*rows: str, since: str = "") -> ImportReport:
        head = "isin,mic,symbol,currency,valid_from,valid_to"
        file.write_text("\n".join([head, *(f"{APPLE.isin},XNAS,{row}" for row in rows), ""]))
        return import_file(registry, file, source="s", valid_from=since)

    former = "X,USD,2010-01-01,2015-01-01"
    imported(former, "Y,USD,2018-01-01,")
    apple = registry.by_isin(str(APPLE.isin))
    assert apple is not None
    for source_row in (former, "X2,USD,2010-01-01,2015-01-01"):
        symbol = source_row.split(",")[0]
        assert imported(source_row, since="2020-01-01").quarantined == 0
        ((_, then),) = registry.listing_bodies(apple.id, valid="2012-01-01")
        assert (then.symbol, then.symbol_from) == (symbol, 0)
        found = registry.by_symbol(symbol, venue="XNAS", at="2012-01-01")
        assert [match.id for match in found] == [apple.id]
    (problem,) = imported("X3,USD,2010-01-01,", since="2020-01-01").problems
    assert "symbol_from: its period is over by then, since 2015-01-01" in problem.reason
    assert imported("X2,USD,2010-01-01,2015-01-01", since="2012-01-01").quarantined == 0
    assert spans(registry, apple.id) == [("2010", "2015", "X2"), ("2018", "", "Y")]
    assert audit_meaning(registry.log).ok


def test_a_dated_import_of_a_listing_that_is_over_and_not_known(
    registry: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        f"isin,mic,symbol,currency,valid_from,valid_to\n"
        f"{APPLE.isin},XNAS,X,USD,2010-01-01,2015-01-01\n"
    )
    assert import_file(registry, file, source="s", valid_from="2020-01-01").new == 1
    apple = registry.by_isin(str(APPLE.isin))
    assert apple is not None
    ((_, body),) = registry.listing_periods(apple.id)
    assert (body.symbol, body.symbol_from) == ("X", 0)


def test_a_symbol_cannot_come_when_its_period_is_over(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from="2010-01-01", valid_to="2015-01-01")
    with pytest.raises(InvalidInput, match="its period is over by then, since 2015-01-01"):
        listed(registry, id, symbol="Y", symbol_from="2020-01-01", valid_from="2010-01-01")
    assert spans(registry, id) == [("2010", "2015", "X")]


def test_what_is_told_from_to_leaves_the_rest(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", tick="0.01", valid_from="2010-01-01")
    told = {"symbol": "Y", "valid_from": "2015-01-01", "valid_to": "2018-01-01"}
    assert (listed(registry, id, **told).outcome, listed(registry, id, **told).outcome) == (
        "amended", "unchanged")  # fmt: skip
    assert spans(registry, id) == [
        ("2010", "2015", "X"), ("2015", "2018", "Y"), ("2018", "", "X")]  # fmt: skip
    assert [body.tick for _, body in registry.listing_periods(id)] == ["0.01"] * 3
    listed(registry, id, symbol="Z", valid_from="2016-01-01", valid_to="2017-01-01")
    assert [span[2] for span in spans(registry, id)] == ["X", "Y", "Z", "Y", "X"]
    # a day that a period begins or ends on names it: so its dates and words are corrected
    listed(registry, id, symbol="Z2", valid_from="2016-01-01", valid_to="2016-07-01")
    assert [span[2] for span in spans(registry, id)] == ["X", "Y", "Z2", "Y", "X"]
    assert audit_meaning(registry.log).ok


@pytest.mark.parametrize("source", ["s", "t"])
def test_what_is_announced_from_to_leaves_the_rest(registry: Registry, source: str) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", tick="0.01", valid_from="2010-01-01")
    said = listed(
        registry, id, source, symbol="Y", valid_from="2190-01-01", valid_to="2195-01-01"
    )
    assert said.conflicts == ()
    assert spans(registry, id) == [
        ("2010", "2190", "X"), ("2190", "2195", "Y"), ("2195", "", "X")]  # fmt: skip
    assert audit_meaning(registry.log).ok


@pytest.mark.parametrize(
    ("since", "parts"), [("2016", [("A", ""), ("B", "2016")]), ("2012", [("B", "2012"), ("B", "")])]
)
def test_a_part_has_the_symbol_of_its_time(
    registry: Registry, since: str, parts: list[tuple[str, str]]
) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="A", valid_from="2010-01-01")
    listed(registry, id, symbol="B", symbol_from=f"{since}-01-01")
    listed(registry, id, symbol="C", symbol_from="2020-01-01")
    listed(registry, id, tick="0.01", valid_from="2014-01-01", valid_to="2018-01-01")
    found = [(body.symbol, _year(body.symbol_from)) for _, body in registry.listing_periods(id)]
    assert found == [*parts, ("C", "2020")]


def test_one_file_may_tell_that_a_ratio_changes(registry: Registry) -> None:
    a, b = (registry.register(token(n)) for n in (1, 2))
    origin = Origin("s", bytes(32))
    said: list[tuple[str, str, str | int]] = [
        ("1/2", "2010-01-01", 0), ("1/3", "2015-01-01", 0), ("1/5", "2016-01-01", "2017-01-01")
    ]  # fmt: skip
    for ratio, since, until in said:
        relate = Relate.make(
            a.fingerprint, "receipt_of", b.fingerprint, ratio=ratio, valid_from=since,
            valid_to=until,
        )  # fmt: skip
        (outcome,) = registry.execute([Unit((relate,), origin)])
        assert [receipt.conflicts for receipt in receipts(outcome)] == [()]
    found = [(link.ratio, _year(link.valid_from)) for link in registry.related(a.id, ended=True)]
    assert found == [((1, 2), "2010"), ((1, 3), "2015"), ((1, 5), "2016"), ((1, 3), "2017")]
    assert audit_meaning(registry.log).ok


@pytest.mark.parametrize("known", [False, True])
def test_a_symbol_does_not_begin_in_a_period_before(registry: Registry, known: bool) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from="2010-01-01", valid_to="2015-01-01")
    if known:
        listed(registry, id, valid_from="2018-01-01")
    with pytest.raises(InvalidInput, match="it is in an earlier period, which ends 2015-01-01"):
        listed(registry, id, symbol="Y", symbol_from="2012-01-01", valid_from="2018-01-01")
    listed(registry, id, symbol="Y", symbol_from="2019-01-01", valid_from="2018-01-01")
    assert [span[2] for span in spans(registry, id)] == ["X", "Y"]


def test_an_earlier_time_is_disputed_with_who_told_the_oldest_period(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from="2010-01-01", valid_to="2015-01-01")
    listed(registry, id, "t", symbol="Y", valid_from="2018-01-01")
    disputed = listed(registry, id, "t", symbol="W", valid_from="2005-01-01")
    assert (disputed.outcome, len(disputed.conflicts)) == ("unchanged", 2)
    assert spans(registry, id) == [("2010", "2015", "X"), ("2018", "", "Y")]
    assert listed(registry, id, symbol="W", valid_from="2005-01-01").conflicts == ()
    assert [span[2] for span in spans(registry, id)] == ["W", "X", "Y"]
    assert audit_meaning(registry.log).ok


def test_too_many_periods_are_not_a_matter_of_their_dates(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periods, "PERIODS_MAX", 2)
    id = registry.register(APPLE).id
    a, b = (registry.register(token(n)).id for n in (1, 2))

    def say(year: int, until: int) -> None:
        dates = {"valid_from": f"{year}-01-01", "valid_to": f"{until}-01-01"}
        listed(registry, id, symbol="X", **dates)
        registry.relate(a, "wraps", b, **dates)

    say(2000, 2001)
    say(2002, 2003)
    refusals = []
    with pytest.raises(InvalidInput, match="over 2 periods") as found:
        listed(registry, id, valid_from="2004-01-01")
    refusals.append(str(found.value))
    with pytest.raises(InvalidInput, match="over 2 periods") as found:
        registry.relate(a, "wraps", b, valid_from="2004-01-01")
    refusals.append(str(found.value))
    for refusal in refusals:
        assert "periods=" not in refusal and "no other can be added" in refusal


def test_days_before_1970_are_days_as_well(registry: Registry, tmp_path: Path) -> None:
    id = registry.register(APPLE).id

    def symbols() -> list[str]:
        bodies = [event.body for event in registry.read()]
        *_, newest = (body for body in bodies if isinstance(body, ListingBody))
        return [each.symbol for each in periods.each_period(newest)]

    listed(registry, id, symbol="X", valid_from="1950-01-01", valid_to="1965-01-01")
    listed(registry, id, symbol="Y", valid_from="1960-01-01")
    listed(registry, id, symbol="Z", valid_from="1955-01-01", valid_to="1957-01-01")
    assert symbols() == ["X", "Z", "X", "Y"]
    listed(registry, id, symbol="Y2", valid_to="1965-01-01")  # a day that names it
    assert symbols() == ["X", "Z", "X", "Y2"]
    file = tmp_path / "a.csv"
    head = "isin,mic,symbol,currency,valid_from,valid_to"
    file.write_text(f"{head}\n{APPLE.isin},XNAS,Z2,USD,1955-01-01,1957-01-01\n")
    assert import_file(registry, file, source="s", valid_from="1958-01-01").amended == 1
    assert symbols()[1] == "Z2"
    other = registry.register(token(1)).id
    listed(registry, other, symbol="X")  # since nobody knows when
    listed(registry, other, symbol="Y", valid_from="1960-01-01")
    assert spans(registry, other) == [("1960", "", "Y")]
    assert audit_meaning(registry.log).ok


@pytest.mark.parametrize("since", ["", "1950-01-01"])
def test_a_symbol_without_a_date_is_in_no_earlier_period(registry: Registry, since: str) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from=since, valid_to="2015-01-01")
    listed(registry, id, symbol="Y", valid_from="2018-01-01")
    assert [symbol for _, _, symbol in spans(registry, id)] == ["X", "Y"]


def test_what_began_nobody_knows_when_was_so_before_1970(registry: Registry) -> None:
    """A date that is not known is no day of 1970."""
    id = registry.register(replace(APPLE, valid_from="1940-01-01")).id
    listing = listed(registry, id, symbol="OLD").id
    at = "1955-01-01"
    (record,) = registry.listings(id, valid=at)
    assert (record.id, registry.venues_for(id, valid=at)) == (listing, ["XNAS"])
    assert [each.instrument for each in registry.instruments_at("XNAS", valid=at)] == [id]
    assert registry.cross("XNAS", "XNAS", valid=at).same == [id]
    assert [each.id for each in registry.by_symbol("OLD", venue="XNAS", at=at)] == [id]
    listed(registry, id, symbol="NEW", symbol_from="1960-01-01")
    for year, symbol in ((1955, "OLD"), (1965, "NEW")):
        ((_, body),) = registry.listing_periods(id, valid=f"{year}-01-01")
        assert body.symbol == symbol
    registry.end_listing(listing, valid_to="1965-01-01", source="s")
    listed(registry, id, valid_from="1968-01-01")
    ((_, body),) = registry.listing_bodies(id, valid=at)
    assert (body.symbol, _year(body.valid_to)) == ("OLD", "1965")
    with pytest.raises(InvalidInput, match="it is in an earlier period, which ends 1965"):
        listed(registry, id, symbol="LAST", symbol_from="1964-01-01", valid_from="1968-01-01")
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "wraps", b, valid_to="1960-01-01")
    assert [link.other for link in registry.related(a, valid=at)] == [b]
    with pytest.raises(RelationCycle):
        registry.relate(b, "wraps", a, valid_to="1950-01-01")
    assert audit_meaning(registry.log).ok


def test_an_import_that_is_dated_before_1970_is_dated(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    found = list[tuple[str, str]]()
    for symbol in ("X", "X", "Y"):
        file.write_text(f"isin,mic,symbol,currency\n{APPLE.isin},XNAS,{symbol},USD\n")
        import_file(registry, file, source="s", valid_from="1960-01-01" if found else "")
        apple = registry.by_isin(str(APPLE.isin))
        assert apple is not None
        ((_, body),) = registry.listing_periods(apple.id)
        found.append((body.symbol, _year(body.symbol_from)))
    assert found == [("X", ""), ("X", ""), ("Y", "1960")]


def test_a_period_that_ended_before_1970_has_its_symbol(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="OLD", valid_from="1950-01-01", valid_to="1960-01-01")
    (record,) = registry.listings(id, valid="1955-01-01")
    assert record.symbol == "OLD"
    assert [each.id for each in registry.by_symbol("OLD", venue="XNAS", at="1955-01-01")] == [id]


def test_what_is_told_of_a_time_between_two_periods_changes_neither(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", tick="1", valid_from="2000-01-01", valid_to="2005-01-01")
    listed(registry, id, symbol="Y", tick="2", valid_from="2015-01-01")
    disputed = listed(registry, id, "t", symbol="W", valid_from="2010-01-01")
    assert (disputed.outcome, len(disputed.conflicts)) == ("unchanged", 2)
    listed(registry, id, symbol="W", valid_from="2010-01-01")
    assert spans(registry, id) == [
        ("2000", "2005", "X"), ("2010", "2015", "W"), ("2015", "", "Y")]  # fmt: skip
    assert [body.tick for _, body in registry.listing_periods(id)] == ["1", "", "2"]
    listed(registry, id, symbol="W", valid_from="2009-01-01")  # nothing is otherwise: it corrects
    assert spans(registry, id)[1] == ("2009", "2015", "W")


@pytest.mark.parametrize("until", ["2020", "2022"])
@pytest.mark.parametrize("since", [2015, 2190])
def test_what_is_told_until_an_end_leaves_what_was_before(
    registry: Registry, since: int, until: str
) -> None:
    later = since - 2015
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from="2010-01-01", valid_to=f"{2020 + later}-01-01")
    ends = str(int(until) + later)
    told = {"symbol": "Y", "valid_from": f"{since}-01-01", "valid_to": f"{ends}-01-01"}
    assert listed(registry, id, **told).outcome == "amended"
    assert listed(registry, id, **told).outcome == "unchanged"
    assert spans(registry, id) == [("2010", str(since), "X"), (str(since), ends, "Y")]


def test_an_announced_period_cannot_end_as_it_begins(registry: Registry) -> None:
    """Nor does a former one go on till then."""
    id = registry.register(APPLE).id
    listing = listed(registry, id, valid_from="2010-01-01", valid_to="2015-01-01").id
    listed(registry, id, valid_from="2190-01-01")
    with pytest.raises(InvalidInput, match=r"before it begins \[periods=2190-01-01.* to 2190"):
        registry.end_listing(listing, valid_to="2190-01-01")
    assert [span[:2] for span in spans(registry, id)] == [("2010", "2015"), ("2190", "")]
    listed(registry, id, valid_from="2010-01-01", valid_to="2190-01-01")
    assert registry.end_listing(listing, valid_to="2190-01-01").outcome == "unchanged"


def test_who_disputes_when_it_began_does_not_end_it(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from="2010-01-01")
    for symbol, disputed in (("X", 1), ("Y", 2)):
        dates = {"valid_from": "2012-01-01", "valid_to": "2014-01-01"}
        said = listed(registry, id, "t", symbol=symbol, **dates)
        assert (said.outcome, len(said.conflicts)) == ("unchanged", disputed)
    assert spans(registry, id) == [("2010", "", "X")]
    assert listed(registry, id, "t", symbol="X", valid_to="2014-01-01").outcome == "amended"
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "receipt_of", b, ratio="1/2", valid_from="2010-01-01", source="s")
    registry.relate(a, "receipt_of", b, valid_from="2012", valid_to="2014", source="t")
    assert [link.valid_to for link in registry.related(a, ended=True)] == [0]


def test_nobody_corrects_another_ones_word_of_another_time(registry: Registry) -> None:
    """Though both said the same of two periods."""
    id = registry.register(APPLE).id
    listed(registry, id, "t", symbol="A", valid_from="2010-01-01", valid_to="2020-01-01")
    listed(registry, id, lot="2")
    before = {"symbol": "C", "lot": "2", "valid_from": "2005-01-01"}
    assert listed(registry, id, "t", **before).conflicts == ()
    disputed = listed(registry, id, lot="1", valid_from="2003-01-01")
    assert (disputed.outcome, len(disputed.conflicts)) == ("unchanged", 2)
    assert [body.lot for _, body in registry.listing_periods(id)] == ["2", "2"]
    assert listed(registry, id, "t", lot="3", valid_from="2005-01-01").outcome == "amended"
    assert [body.lot for _, body in registry.listing_periods(id)] == ["3", "2"]


def test_who_cuts_a_period_corrects_no_word_of_another_one(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, valid_from="2012-01-01")
    listed(registry, id, "t", symbol="FB", lot="1")
    listed(registry, id, "t", symbol="META", symbol_from="2022-01-01")
    cut = listed(registry, id, tick="0.1", lot="2", valid_from="2015-01-01")
    assert (cut.outcome, len(cut.conflicts)) == ("amended", 1)
    assert [(b.symbol, b.lot, b.tick) for _, b in registry.listing_periods(id)] == [
        ("FB", "1", ""), ("META", "1", "0.1")]  # fmt: skip
    dates = {"valid_from": "2012-01-01", "valid_to": "2015-01-01"}
    assert len(listed(registry, id, symbol="S", **dates).conflicts) == 1
    assert listed(registry, id, "t", symbol="T", **dates).outcome == "amended"
    assert [span[2] for span in spans(registry, id)] == ["T", "META"]


def test_what_a_period_took_over_stays_of_who_said_it(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", tick="1", valid_from="2010-01-01", valid_to="2015-01-01")
    listed(registry, id, "t", symbol="Y", valid_from="2018-01-01")
    assert len(listed(registry, id, "t", tick="2", valid_from="2018-01-01").conflicts) == 1
    assert listed(registry, id, tick="2", valid_from="2018-01-01").conflicts == ()


def test_a_word_stays_of_who_said_it_when_its_period_gets_another_date(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="A", valid_from="2010-01-01", valid_to="2012-01-01")
    listed(registry, id, "t", lot="1")
    listed(registry, id, lot="1", valid_from="2005-01-01")
    assert listed(registry, id, "t", lot="2", valid_to="2009-01-01").outcome == "amended"
    ((_, body),) = registry.listing_periods(id)
    assert (body.lot, _year(body.valid_to)) == ("2", "2012")


def test_a_symbol_that_would_come_after_the_end_never_comes(
    registry: Registry, tmp_path: Path
) -> None:
    id = registry.register(APPLE).id
    listing = listed(registry, id, symbol="FB", valid_from="2012-01-01").id
    listed(registry, id, symbol="META", symbol_from="2190-01-01")
    ((_, body),) = registry.listing_bodies(id)
    assert (body.symbol, body.symbol_from) == ("FB", 0)
    registry.end_listing(listing, valid_to="2180-01-01")
    assert spans(registry, id) == [("2012", "2180", "FB")]
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{json.dumps(event_dict(e, raw=True))}\n" for e in registry.read()))
    with open_home(tmp_path / "copy") as copy:
        assert import_file(copy, file).is_clean
        assert spans(copy, id) == [("2012", "2180", "")]  # only the newest symbol is told


def test_a_part_that_began_nobody_knows_when_keeps_the_day_of_its_symbol(
    registry: Registry,
) -> None:
    id = registry.register(replace(APPLE, valid_from="1940-01-01")).id
    for symbol, since in (("A", 0), ("B", "1950-01-01"), ("C", "2195-01-01")):
        listed(registry, id, symbol=symbol, symbol_from=since, tick="1")
    listed(registry, id, tick="2", valid_from="2190-01-01")
    for at, symbol in (("1945-01-01", "A"), ("1955-01-01", "B"), ("2196-01-01", "C")):
        assert [body.symbol for _, body in registry.listing_bodies(id, valid=at)] == [symbol]


def test_who_announces_from_to_takes_over_what_he_does_not_say(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", tick="0.01", valid_from="2010-01-01")
    listed(registry, id, "t", symbol="Y", valid_from="2190-01-01", valid_to="2195-01-01")
    assert [body.tick for _, body in registry.listing_periods(id)] == ["0.01"] * 3


def test_who_announces_does_not_endorse_the_days_of_others(registry: Registry) -> None:
    registry.state_rules(precedence=["t", "s"])
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", valid_from="2010-01-01")
    listed(registry, id, "t", symbol="Y", valid_from="2190-01-01")
    assert [event.kind for event in registry.read(pattern="kind=word.endorsed")] == []
    assert listed(registry, id, symbol="X", valid_from="2011-01-01").outcome == "amended"


def test_a_period_after_one_that_began_nobody_knows_when_takes_over(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="X", tick="1", valid_to="1960-01-01")
    listed(registry, id, symbol="Y", valid_from="1965-01-01")
    assert [body.tick for _, body in registry.listing_periods(id)] == ["1", "1"]


@pytest.mark.parametrize(
    ("symbol", "since", "until", "parts"),
    [
        ("META", 2014, 2016, [("2012", "2014", "FB"), ("2014", "2016", "META"), ("2016", "", "")]),
        ("META", 2014, 0, [("2012", "2014", "FB"), ("2014", "", "META")]),
        ("FACE", 2014, 0, [("2012", "2014", "FB"), ("2014", "", "FACE")]),
        ("FB", 2014, 0, [("2012", "2014", "FB"), ("2014", "", "FB")]),
        ("FB", 2014, 2016, [("2012", "", "")]),
    ],
)
def test_a_symbol_is_of_the_time_of_which_it_is_told(
    registry: Registry, symbol: str, since: int, until: int, parts: list[tuple[str, str, str]]
) -> None:
    """And not compared with the one that came later; no symbol stands for both."""
    id = registry.register(APPLE).id
    listed(registry, id, symbol="FB", valid_from="2012-01-01")
    listed(registry, id, symbol="META", symbol_from="2022-01-01")
    dates: dict[str, Any] = {"valid_from": f"{since}-01-01"}
    if until:
        dates["valid_to"] = f"{until}-01-01"
    said = listed(registry, id, symbol=symbol, **dates)
    assert (said.outcome, said.conflicts) == ("amended" if len(parts) > 1 else "unchanged", ())
    for begins, ends, called in parts:
        for at in (begins, "2021", "2023"):
            if begins <= at and (not ends or at < ends):
                wanted = called or ("FB" if at < "2022" else "META")
                ((_, body),) = registry.listing_bodies(id, valid=f"{at}-02-01")
                assert (body.symbol, _year(body.valid_from)) == (wanted, begins)
    assert [span[:2] for span in spans(registry, id)] == [part[:2] for part in parts]
    assert listed(registry, id, symbol=symbol, **dates).outcome == "unchanged"
    assert audit_meaning(registry.log).ok


def test_what_cuts_a_period_is_the_same_again(registry: Registry) -> None:
    """Though the symbol that it tells was followed by another one."""
    id = registry.register(APPLE).id
    listed(registry, id, symbol="FB", tick="1", valid_from="2012-01-01")
    listed(registry, id, symbol="META", symbol_from="2022-01-01")
    told = {"symbol": "FB", "tick": "2", "valid_from": "2014-01-01"}
    assert (listed(registry, id, **told).outcome, listed(registry, id, **told).outcome) == (
        "amended", "unchanged")  # fmt: skip
    ((_, body),) = registry.listing_bodies(id)
    assert (body.symbol, body.symbol_from) == ("FB", 0)
