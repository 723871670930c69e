"""Each period of a listing or relation has its own symbol, tick, ratio: what is said of one, former
or announced, changes nothing in another."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphapulse.log import InvalidInput, Kind
from alphapulse.registry import Listing, Receipt, Registry, import_file
from alphapulse.registry.audit import audit_meaning
from alphapulse.registry.render import event_dict
from alphapulse.tools.events import describe

from .homes import APPLE, open_home, token

AHEAD = "2199-01-01"


def listed(registry: Registry, id: int, source: str = "s", **words: Any) -> Receipt:
    listing = Listing(instrument=id, venue="XNAS", currency="USD", **words)
    return registry.add_listing(listing, source=source)


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
    (record,) = registry.listed(id)
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
    assert len(registry.listed(id)) == 1
    assert ticks(registry, id, None, "2199-01-02") == ["0.01", "0.005"]
    assert audit_meaning(registry.log).ok


def test_a_relation_ends_before_a_later_period(registry: Registry) -> None:
    a, b = (registry.register(token(n)).id for n in (1, 2))
    registry.relate(a, "wraps", b, valid_from=10, valid_to=20, source="s")
    registry.relate(a, "wraps", b, valid_from=30, source="s")
    assert registry.unrelate(a, "wraps", b, valid_to=15).outcome == "amended"
    found = [(link.valid_from, link.valid_to) for link in registry.related(a, ended=True)]
    assert found == [(10, 15), (30, 0)]
    with pytest.raises(InvalidInput, match="before it begins"):
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
