"""Each period of a listing or relation has its own symbol, tick, ratio: what is said of one, former
or announced, changes nothing in another."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import InvalidInput, Kind
from alphapulse.registry import Equity, ImportReport, Listing, Receipt, Registry, import_file
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.render import event_dict
from alphapulse.registry.validation import time_ns
from alphapulse.tools.events import describe

from .homes import APPLE, open_home, token

AHEAD = "2199-01-01"


def listed(
    registry: Registry, id: int, source: str = "s", request_id: str = "", **words: Any
) -> Receipt:
    listing = Listing(instrument=id, venue="XNAS", currency="USD", **words)
    return registry.add_listing(listing, source=source, request_id=request_id)


def ticks(registry: Registry, id: int, *times: str | None) -> list[str]:
    bodies = (registry.listing_bodies(id, valid=at) for at in times)
    return [body.tick for ((_, body),) in bodies]


def test_an_announced_period_changes_nothing_today(registry: Registry) -> None:
    id = registry.register(APPLE).id
    first = listed(registry, id, symbol="AAPL", tick="0.01", lot="100", valid_from="2000-01-01")
    registry.end_listing(first.id, valid_to=AHEAD, source="s")
    listed(registry, id, tick="0.05", lot="1", valid_from=AHEAD)
    assert ticks(registry, id, None, "2199-06-01") == ["0.01", "0.05"]
    assert [body.symbol for _, body in registry.listing_periods(id)] == ["AAPL", "AAPL"]
    ((_, now),) = registry.listing_bodies(id)
    assert (now.lot, now.earlier) == ("100", ())
    (record,) = registry.listings(id, valid=time.time_ns())
    assert record.current(record.valid_from) and record.valid_to
    assert audit_meaning(registry.log).ok


def test_a_former_period_has_its_own_tick(registry: Registry) -> None:
    id = registry.register(APPLE).id
    until = {"valid_from": "1980-01-01", "valid_to": "2001-04-09"}
    listed(registry, id, symbol="AAPL", tick="0.0625", **until)
    listed(registry, id, tick="0.01", valid_from="2001-04-09")
    assert ticks(registry, id, "1990-01-01", None) == ["0.0625", "0.01"]
    corrected = listed(registry, id, tick="0.125", **until)
    assert (corrected.outcome, corrected.conflicts) == ("amended", ())
    assert ticks(registry, id, "1990-01-01", None) == ["0.125", "0.01"]
    other = listed(registry, id, "t", tick="0.25", **until)
    assert len(other.conflicts) == 1
    assert ticks(registry, id, "1990-01-01", None) == ["0.125", "0.01"]
    dated = listed(registry, id, "t", valid_from="1981-01-01", valid_to="2001-04-09")
    text = describe(registry.log.event(dated.conflicts[0]))
    assert "1980-01-01 by s stays, 1981-01-01 by t was offered" in text
    assert [each.equal for each in registry.rebuild(["listings"], check=True)] == [True]


def test_who_was_there_under_a_symbol_said_later(registry: Registry) -> None:
    id = registry.register(replace(APPLE, valid_from="1980-12-12")).id
    listed(registry, id, symbol="NEW", valid_from="2020-01-01")
    listed(registry, id, symbol="OLD", valid_from="2010-01-01", valid_to="2015-01-01")
    assert [m.id for m in registry.by_symbol("OLD", venue="XNAS", at="2012-01-01")] == [id]
    assert registry.by_symbol("NEW", venue="XNAS", at="2012-01-01") == []
    assert [m.id for m in registry.by_symbol("NEW", venue="XNAS")] == [id]
    assert [each.symbol for each in registry.instruments_at("XNAS", valid="2012-01-01")] == ["OLD"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_ratio_is_of_its_period(registry: Registry, turned: bool) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    words: list[dict[str, Any]] = [
        {"ratio": "5/1", "valid_from": "2000-01-01", "valid_to": "2005-01-01"},
        {"ratio": "2/1", "valid_from": "2010-01-01"},
    ]
    for said in words[::-1] if turned else words:
        registry.relate(a, "receipt_of", b, source="s", **said)
    for at, ratio in (("2003-01-01", [(5, 1)]), ("2007-01-01", []), (None, [(2, 1)])):
        assert [link.ratio for link in registry.related(a, valid=at)] == ratio
    assert audit_meaning(registry.log).ok


def test_what_is_announced_of_an_open_one_ends_it_that_day(registry: Registry) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "receipt_of", b, ratio="2/1", valid_from="2010-01-01", source="s")
    registry.relate(a, "receipt_of", b, ratio="1/1", valid_from=AHEAD, source="s")
    assert [link.ratio for link in registry.related(a)] == [(2, 1)]
    assert [link.ratio for link in registry.related(a, valid="2199-01-02")] == [(1, 1)]
    again = registry.relate(a, "receipt_of", b, ratio="1/1", valid_from=AHEAD, source="s")
    assert again.outcome == "unchanged"
    id = registry.register(APPLE).id
    listed(registry, id, tick="0.01", valid_from="2001-04-09")
    with pytest.raises(InvalidInput, match="it holds already"):
        listed(registry, id, valid_from=AHEAD)
    listed(registry, id, tick="0.005", valid_from=AHEAD)
    assert len(registry.listings(id, valid=time.time_ns())) == 1
    assert ticks(registry, id, None, "2199-01-02") == ["0.01", "0.005"]
    assert audit_meaning(registry.log).ok


def test_what_is_told_late_changes_nothing_before(registry: Registry) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "receipt_of", b, ratio="3/1", valid_from="2010-01-01", source="s")
    before = registry.relate(a, "receipt_of", b, ratio="2/1", valid_from="2001-01-01", source="t")
    assert len(before.conflicts) == 2  # it is the date of the other source that is disputed
    registry.relate(a, "receipt_of", b, ratio="4/1", valid_from="2015-01-01", source="s")
    for at, ratio in (("2014-12-31", [(3, 1)]), ("2015-01-01", [(4, 1)]), ("2009-12-31", [])):
        assert [link.ratio for link in registry.related(a, valid=at)] == ratio
    disputed = registry.relate(a, "receipt_of", b, ratio="5/1", valid_from="2012-01-01", source="t")
    assert len(disputed.conflicts) == 2  # the date and the ratio: another source cuts no period
    early = registry.relate(a, "receipt_of", b, ratio="2/1", valid_from="2005-01-01", source="s")
    assert early.outcome == "amended"
    assert [link.ratio for link in registry.related(a, valid="2009-12-31")] == [(2, 1)]
    assert [link.ratio for link in registry.related(a, valid="2010-01-01")] == [(3, 1)]
    moved = registry.relate(a, "receipt_of", b, valid_from="2016-01-01", source="s")
    assert moved.outcome == "amended"  # nothing is otherwise from then on: it corrects the date
    found = [(link.ratio, link.valid_to != 0) for link in registry.related(a, ended=True)]
    assert found == [((2, 1), True), ((3, 1), True), ((4, 1), False)]
    assert audit_meaning(registry.log).ok


def test_a_former_period_is_cut_where_its_words_change(registry: Registry) -> None:
    id = registry.register(replace(APPLE, valid_from="1980-12-12")).id
    listed(registry, id, symbol="FB", tick="0.01", valid_from="2010-01-01", valid_to="2020-01-01")
    listed(registry, id, symbol="FB2", valid_from="2022-01-01")
    listed(registry, id, symbol="META", valid_from="2015-01-01")
    again = listed(registry, id, symbol="META", valid_from="2015-01-01")
    assert again.outcome == "unchanged"
    spans = [
        (body.symbol, body.tick, body.valid_to != 0) for _, body in registry.listing_periods(id)
    ]
    assert spans == [("FB", "0.01", True), ("META", "0.01", True), ("FB2", "0.01", False)]
    for symbol, year in (("FB", 2014), ("META", 2015), ("META", 2019), ("FB2", 2022)):
        found = registry.by_symbol(symbol, venue="XNAS", at=f"{year}-12-31")
        assert [match.id for match in found] == [id]
    assert registry.by_symbol("META", venue="XNAS", at="2014-12-31") == []
    assert registry.by_symbol("META", venue="XNAS", at="2020-12-31") == []
    assert audit_meaning(registry.log).ok


def test_a_symbol_that_came_later_stays_in_its_part(registry: Registry) -> None:
    id = registry.register(replace(APPLE, valid_from="1980-12-12")).id
    listed(registry, id, symbol="FB", valid_from="2012-01-01")
    listed(registry, id, symbol="META", symbol_from="2022-01-01")
    listed(registry, id, tick="0.01", valid_from="2018-01-01")
    for year, symbol, tick in ((2015, "FB", ""), (2020, "FB", "0.01"), (2023, "META", "0.01")):
        ((_, body),) = registry.listing_bodies(id, valid=f"{year}-01-02")
        assert (body.symbol, body.tick) == (symbol, tick)
    listed(registry, id, tick="0.05", valid_from="2015-01-01")
    listed(registry, id, tick="0.02", lot="1", valid_from="2023-01-01")
    for year, symbol, tick in ((2013, "FB", ""), (2016, "FB", "0.05"), (2022, "META", "0.01")):
        ((_, body),) = registry.listing_bodies(id, valid=f"{year}-01-02")
        assert (body.symbol, body.tick) == (symbol, tick)
    said = [words.symbol for _, _, words in body.earlier]
    assert said == ["FB", "FB"]  # as another home is told
    with pytest.raises(InvalidInput, match="it is in an earlier period, which ends 2023-01-01"):
        listed(registry, id, symbol="FB3", symbol_from="2022-06-01")


def test_a_cut_leaves_the_symbol_before_the_last(registry: Registry) -> None:
    id = registry.register(replace(APPLE, valid_from="1980-12-12")).id
    listed(registry, id, symbol="A", valid_from="2010-01-01")
    listed(registry, id, symbol="B", symbol_from="2012-01-01")
    listed(registry, id, symbol="C", symbol_from="2018-01-01")
    listed(registry, id, tick="0.01", valid_from="2015-01-01")
    (*_, (_, last)) = registry.listing_periods(id)
    assert (last.symbol, last.symbol_from) == ("C", time_ns("2018-01-01", "t"))
    listed(registry, id, lot="1", valid_from="2019-01-01")
    (*_, (_, last)) = registry.listing_periods(id)
    assert (last.symbol, last.symbol_from) == ("C", 0)  # it has it from its beginning on
    symbols = [body.symbol for year in (2011, 2013, 2016, 2019)
               for _, body in registry.listing_bodies(id, valid=f"{year}-01-01")]  # fmt: skip
    assert symbols == ["A", "B", "B", "C"]
    assert audit_meaning(registry.log).ok


def test_what_was_before_several_periods_ends_with_them(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, tick="0.0625", valid_from="1997-06-02")
    listed(registry, id, tick="0.01", valid_from="2001-04-09")
    disputed = listed(registry, id, "t", tick="0.125", valid_from="1980-12-12")
    assert (disputed.outcome, len(disputed.conflicts)) == ("unchanged", 2)  # as of a single one
    assert listed(registry, id, tick="0.125", valid_from="1980-12-12").conflicts == ()
    assert ticks(registry, id, "1990-01-01", "1998-01-01", None) == ["0.125", "0.0625", "0.01"]
    a, b = (registry.register(token(n)).id for n in (1, 2))
    for ratio, since in (("2/1", "2010"), ("3/1", "2015"), ("1/1", "2005")):
        registry.relate(a, "receipt_of", b, ratio=ratio, valid_from=since, source="s")
    ratios = {year: registry.related(a, valid=f"{year}-06-01") for year in (2004, 2006, 2011, 2016)}
    assert [[link.ratio for link in found] for found in ratios.values()] == [
        [], [(1, 1)], [(2, 1)], [(3, 1)]]  # fmt: skip
    assert audit_meaning(registry.log).ok


def test_a_history_is_told_in_any_order(registry: Registry) -> None:
    said = [("2/1", "2005-01-01"), ("3/1", "2010-01-01"), ("5/1", AHEAD)]
    for number, order in enumerate(itertools.permutations(said)):
        a, b = (registry.register(token(2 * number + n)).id for n in (1, 2))
        for ratio, since in order:
            receipt = registry.relate(a, "receipt_of", b, ratio=ratio, valid_from=since, source="s")
            assert not receipt.conflicts
        found = registry.related(a, ended=True)
        assert [link.ratio for link in found] == [(2, 1), (3, 1), (5, 1)]
        ends = [link.valid_to for link in found]
        assert ends == [*(link.valid_from for link in found[1:]), 0]


def test_one_file_may_tell_a_history(tmp_path: Path) -> None:
    path, digests = tmp_path / "ticks.csv", set()
    rows = [
        f"US0378331005,XNAS,USD,{tick},{since}\n"
        for tick, since in (("0.125", "1980-12-12"), ("0.0625", "1997-06-02"), ("0.01", "2001-04"))
    ]
    for number, order in enumerate(itertools.permutations(rows)):
        path.write_text("isin,mic,currency,tick,valid_from\n" + "".join(order))
        with open_home(tmp_path / str(number)) as registry:
            first, again = (import_file(registry, path) for _ in range(2))
            assert (first.conflicts, again.conflicts, again.unchanged) == (0, 0, 3)
            (apple,) = registry.by_identifier("isin", "US0378331005")
            at = ("1990-01-01", "1998-01-01", None)
            assert ticks(registry, apple.id, *at) == ["0.125", "0.0625", "0.01"]
            digests.add(registry.statistics().views["listings"].digest)
            assert audit_meaning(registry.log).ok
    assert len(digests) == 1


def test_words_without_dates_are_about_what_holds_now(registry: Registry) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "receipt_of", b, ratio="2/1", valid_from="2010-01-01", source="s")
    registry.relate(a, "receipt_of", b, ratio="3/1", valid_from=AHEAD, source="s")
    registry.relate(a, "receipt_of", b, ratio="1/1", source="s")
    assert [link.ratio for link in registry.related(a)] == [(1, 1)]
    assert [link.ratio for link in registry.related(a, valid="2199-01-02")] == [(3, 1)]
    id = registry.register(APPLE).id
    listed(registry, id, tick="0.01", valid_from="2001-04-09")
    listed(registry, id, tick="0.005", valid_from=AHEAD)
    assert listed(registry, id, tick="0.01").outcome == "unchanged"
    disputed = listed(registry, id, "t", tick="0.02", request_id="r")
    assert len(disputed.conflicts) == 1
    assert listed(registry, id, "t", tick="0.02", request_id="r") == disputed
    assert listed(registry, id, tick="0.02").outcome == "amended"
    assert ticks(registry, id, None, "2199-01-02") == ["0.02", "0.005"]


def test_what_holds_is_not_put_off_where_it_has_an_end(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, tick="0.01", valid_from="2001-04-09", valid_to="2199-06-01")
    with pytest.raises(InvalidInput, match="it holds already, since 2001"):
        listed(registry, id, valid_from=AHEAD)
    listed(registry, id, tick="0.005", valid_from=AHEAD)
    assert ticks(registry, id, None, "2199-05-31") == ["0.01", "0.005"]
    assert registry.listings(id, valid="2199-06-01") == []


def test_who_was_listed_was_there(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="FB", valid_from="2012-05-18", valid_to="2020-01-01")
    for at, found in (("2012-05-17", []), ("2012-05-18", [id]), ("2020-01-01", [])):
        assert [match.id for match in registry.by_symbol("FB", venue="XNAS", at=at)] == found
        assert (registry.get(id, valid=at) is not None) == bool(found)
    assert registry.get(id, valid="2015-01-01", known=0) is None  # the listing came later
    other = registry.register(replace(token(1), status="delisted"), source="s").id
    registry.add_listing(Listing(instrument=other, venue="XETR", valid_from="2000-01-01"))
    then = registry.get(other, valid="2010-01-01")
    assert then is not None and then.status.name == "ACTIVE"  # delisted since nobody knows when


def test_a_relation_ends_before_a_later_period(registry: Registry) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "wraps", b, valid_from=10, valid_to=20, source="s")
    registry.relate(a, "wraps", b, valid_from=30, source="s")
    assert registry.unrelate(a, "wraps", b, valid_to=15).outcome == "amended"
    found = [(link.valid_from, link.valid_to) for link in registry.related(a, ended=True)]
    assert found == [(10, 15), (30, 0)]
    with pytest.raises(InvalidInput, match=r"before it begins \[periods=1970.*10Z to 1970.*05Z"):
        registry.unrelate(a, "wraps", b, valid_to=5)
    assert audit_meaning(registry.log).ok


def test_any_order_of_three_periods_and_another_home(tmp_path: Path) -> None:
    words: list[dict[str, Any]] = [
        {"symbol": "A", "tick": "0.1", "valid_from": 10, "valid_to": 20},
        {"symbol": "B", "tick": "0.2", "primary": True, "valid_from": 20, "valid_to": 30},
        {"symbol": "C", "tick": "0.3", "primary": True, "valid_from": 40},
    ]
    digests, lines = set(), list[str]()
    for number, order in enumerate(itertools.permutations(words)):
        with open_home(tmp_path / str(number)) as registry:
            id = registry.register(APPLE).id
            for said in order:
                assert not listed(registry, id, **said).conflicts
            digests.add(registry.statistics().views["listings"].digest)
            lines = [json.dumps(event_dict(event, raw=True)) for event in registry.read()]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    with open_home(tmp_path / "copy") as registry:
        assert import_file(registry, tmp_path / "events.jsonl").is_clean
        digests.add(registry.statistics().views["listings"].digest)
        (shown,) = [
            event_dict(event)["body"]["earlier"]  # type: ignore[index]
            for event in list(registry.read())[-1:] if event.kind == Kind.LISTING_AMENDED
        ]  # fmt: skip
    assert [each[2]["tick"] for each in shown] == ["0.1", "0.2"]
    assert len(digests) == 1


def test_a_symbol_that_is_announced_is_not_shown_today(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="FB", valid_from="2000-01-01")
    listed(registry, id, symbol="META", symbol_from=AHEAD)
    assert [each.symbol for each in registry.instruments_at("XNAS")] == ["FB"]
    assert [each.symbol for each in registry.instruments_at("XNAS", valid=AHEAD)] == ["META"]


def test_who_says_what_holds_today_takes_no_announcement_back(
    registry: Registry, tmp_path: Path
) -> None:
    """As the daily file of a source that announced a new symbol."""
    path = tmp_path / "daily.csv"
    head = "isin,mic,symbol,currency,name\n"

    def daily(symbol: str, name: str, source: str = "s", since: str = "") -> ImportReport:
        path.write_text(f"{head}{APPLE.isin},XNAS,{symbol},USD,{name}\n")
        return import_file(registry, path, source=source, valid_from=since)

    assert daily("FB", "Facebook").new == 1
    assert daily("META", "Meta", since=AHEAD).amended == 1
    for source in ("s", "t"):
        report = daily("FB", "Facebook", source)
        assert (report.unchanged, report.conflicts) == (1, 0)
    (id,) = (each.id for each in registry.by_symbol("FB", venue="XNAS"))
    for at, symbol in ((None, "FB"), (AHEAD, "META")):
        facts = registry.facts(id, valid=at)
        assert facts is not None and facts.values["symbol"] == symbol
        assert [body.symbol for _, body in registry.listing_bodies(id, valid=at)] == [symbol]
    assert daily("FACE", "Facebook", "t").conflicts == 2  # neither what holds nor what will
    assert listed(registry, id, symbol="FB", valid_from="2000-01-01").outcome == "amended"
    assert listed(registry, id, symbol="FB", valid_from="2000-01-01").outcome == "unchanged"
    ((_, body),) = registry.listing_bodies(id, valid=AHEAD)
    assert body.symbol == "META"
    listed(registry, id, symbol="FB", symbol_from=AHEAD)  # so it is taken back
    ((_, body),) = registry.listing_bodies(id, valid=AHEAD)
    assert body.symbol == "FB"
    registry.amend(id, name=None, valid_from="2199-06-01")
    named = registry.register(Equity(isin=APPLE.isin, name="Facebook"), source="s")
    assert named.outcome == "unchanged"
    registry.set_status(id, "delisted", valid_from=AHEAD, source="s")
    active = registry.register(Equity(isin=APPLE.isin, status="active"), source="s")
    assert (active.outcome, active.conflicts) == ("unchanged", ())
    then = registry.get(id, valid=AHEAD)
    assert then is not None and then.status.name == "DELISTED"


def test_a_symbol_at_a_venue_means_who_has_it_now(registry: Registry) -> None:
    dated = replace(APPLE, valid_from="1980-12-12")
    former, later = registry.register(dated).id, registry.register(token(1)).id
    listed(registry, former, symbol="FB", valid_from="2012-05-18", valid_to="2022-06-09")
    listed(registry, later, symbol="FB", valid_from=AHEAD)
    assert {m.id for m in registry.by_symbol("FB", venue="XNAS")} == {former, later}
    now = registry.register(token(2)).id
    listed(registry, now, symbol="FB", valid_from="2023-01-01")
    assert [m.id for m in registry.by_symbol("FB", venue="XNAS")] == [now]
    assert [m.id for m in registry.lookup.find("FB@XNAS")[1]] == [now]
    assert [m.id for m in registry.by_symbol("FB", venue="XNAS", at="2020-01-01")] == [former]


def test_a_source_does_not_contradict_what_it_said_of_orders(registry: Registry) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, ticks="0:0.01 1:0.02", min_size="10", valid_from="2000-01-01")
    for words in ({"tick": "0.02"}, {"max_size": "5"}):
        with pytest.raises(InvalidInput):
            listed(registry, id, **words)
    assert listed(registry, id, "t", tick="0.02").outcome == "amended"  # between two nobody judges
    listed(registry, id, max_size="20")
    id = registry.register(token(1)).id
    listed(registry, id, ticks="0:0.01 1:0.02", tick="0.01", valid_from="2000-01-01")
    listed(registry, id, tick="0.02", ticks="", valid_from="1990-01-01", valid_to="1995-01-01")
    listed(registry, id, "t", lot="1")
    assert ticks(registry, id, None, "1992-01-01") == ["0.01", "0.02"]


def test_each_period_is_a_field_of_its_own(registry: Registry, tmp_path: Path) -> None:
    id = registry.register(APPLE).id
    listed(registry, id, symbol="AAPL", tick="0.125", valid_from="1980-12-12")
    before = listed(registry, id, tick="0.01", valid_from="2001-04-09T13:30:00Z").offset
    listed(registry, id, tick="0.0625", valid_from="1997-06-02")
    name = "listing XNAS USD 0"
    changes = [(each.field, each.after) for each in registry.diff(before, before + 1)]
    assert changes == [
        (f"{name} from 1980-12-12", "to 1997-06-02 symbol=AAPL tick=0.125"),
        (f"{name} from 1997-06-02", "to 2001-04-09T13:30:00.000000000Z symbol=AAPL tick=0.0625"),
    ]
    blamed = {each.field: each.offset for each in registry.blame(id)}
    assert (blamed[f"{name} from 1997-06-02"], blamed[f"{name} tick"]) == (before + 1, before)
    path = tmp_path / "other.csv"
    path.write_text(f"isin,mic,currency,valid_from\n{APPLE.isin},XNAS,USD,1980-12-13\n")
    (warning,) = import_file(registry, path).problems
    assert "valid_from: '1980-12-12T00:00:00.000000000Z' is known from 's'" in warning.reason
