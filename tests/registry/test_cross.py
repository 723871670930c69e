"""Who is listed where, and what trades on both of two venues."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import Closed, InvalidInput, format_time
from alphapulse.projections import ViewUnusable, text_key
from alphapulse.registry import Equity, Listing, Registry, import_file
from alphapulse.registry.cross import JOINING
from alphapulse.registry.periods import holds
from tests.crash.children import seeds

from .homes import APPLE, isin, open_home, tokens

SAMPLE = Path(__file__).parents[2] / "tools/samples/apple_listings.csv"
TABLE_READER = "alphapulse.projections.table_reader"
LONG = "an-exchange-with-a-very-long-name"


def listed(registry: Registry, id: int, venue: str, **fields: Any) -> int:
    """Id of the new listing."""
    return registry.add_listing(Listing(instrument=id, venue=venue, **fields)).id


def names(registry: Registry, venue: str, **asked: Any) -> list[str]:
    return [each.symbol for each in registry.instruments_at(venue, **asked)]


def test_apple_is_where_it_is(registry: Registry) -> None:
    import_file(registry, SAMPLE)
    record = registry.by_isin(str(APPLE.isin))
    assert record is not None
    today = ["XNAS", "XNYS", "XETR", "XFRA", "XLON"]
    assert registry.venues_for(record.id) == today
    assert registry.venues_for(record.id, ended=True) == [*today, "XTKS"]
    assert "XTKS" in registry.venues_for(record.id, valid="2000-01-01")
    assert "XNYS" not in registry.venues_for(record.id, valid="2000-01-01")
    assert registry.cross("XNAS", "XLON").same == [record.id]
    assert registry.cross("XNAS", "XTKS").same == []
    assert registry.cross("XNAS", "XTKS", valid="2000-01-01").same == [record.id]
    assert registry.cross("XNAS", "XHKG") == ([], [])
    assert list(registry.instruments_at("XHKG", ended=True)) == []
    assert names(registry, "XLON") == ["0R2V"]
    assert names(registry, "XTKS") == []
    assert names(registry, "XTKS", ended=True) == [""]


def test_a_receipt_is_related_with_its_ratio_and_never_the_same(registry: Registry) -> None:
    share, brazil, argentina, other = (
        registry.register(Equity(isin=isin(n), symbol=f"S{n}")).id for n in range(4)
    )
    for id, venue in ((share, "XNAS"), (brazil, "BVMF"), (argentina, "XBUE"), (other, "BVMF")):
        listed(registry, id, venue)
    registry.relate(brazil, "receipt_of", share, ratio="1/28")
    registry.relate(argentina, "receipt_of", share, ratio="1/20")
    registry.relate(other, "underlying", share)
    here, there = registry.cross("XNAS", "BVMF"), registry.cross("BVMF", "XNAS")
    assert here.same == there.same == []
    assert [(p.a, p.b, p.ratio) for p in here.related] == [(share, brazil, (28, 1))]
    assert [(p.a, p.b, p.ratio) for p in there.related] == [(brazil, share, (1, 28))]
    assert [step.forward for step in here.related[0].path] == [False]
    (far,) = registry.cross("XBUE", "BVMF").related
    assert (far.a, far.b, far.ratio) == (argentina, brazil, (7, 5))  # 28/20
    assert [(s.link.instrument, s.forward) for s in far.path] == [
        (argentina, True), (brazil, False)
    ]  # fmt: skip


def test_what_stands_for_itself_stands_one_for_one_without_saying_so(registry: Registry) -> None:
    coin, wrapped, bridged, twin, claim = (r.id for r in registry.register_many(tokens(5)))
    registry.relate(wrapped, "wraps", coin)
    registry.relate(bridged, "bridged_from", wrapped, ratio="1/1")
    registry.relate(twin, "same_as", bridged)
    registry.relate(claim, "receipt_of", coin)
    listed(registry, twin, "binance")
    for id in (coin, claim, bridged):
        listed(registry, id, "kraken")
    crossing = registry.cross("binance", "kraken")
    assert crossing.same == []
    assert [(pair.b, pair.ratio, len(pair.path)) for pair in crossing.related] == [
        (bridged, (1, 1), 1), (coin, (1, 1), 3), (claim, None, 4)
    ]  # fmt: skip
    assert [pair.ratio for pair in registry.cross("kraken", "binance").related] == [
        (1, 1), None, (1, 1)
    ]  # fmt: skip


def test_relations_count_while_they_hold_and_once_they_are_known(registry: Registry) -> None:
    a, b = (receipt.id for receipt in registry.register_many(tokens(2)))
    listed(registry, a, "one")
    listed(registry, b, "two")
    before = registry.relate(a, "wraps", b, valid_from="2020-01-01").offset - 1
    registry.unrelate(a, "wraps", b, valid_to="2022-01-01")
    assert registry.cross("one", "two").related == []
    assert len(registry.cross("one", "two", valid="2021-06-01").related) == 1
    assert registry.cross("one", "two", valid="2019-06-01").related == []
    assert registry.cross("one", "two", valid="2021-06-01", known=before).related == []


def test_a_group_joins_nobody(registry: Registry) -> None:
    a, b = (receipt.id for receipt in registry.register_many(tokens(2)))
    for id, venue in ((a, "one"), (b, "two")):
        listed(registry, id, venue)
        registry.add_to_group(id, "list", "usdc")
    assert registry.cross("one", "two") == ([], [])


def test_symbols_are_those_of_the_time_asked(registry: Registry) -> None:
    id = registry.register(APPLE).id
    first = registry.add_listing(Listing(instrument=id, venue="XNAS", symbol="OLD"), source="s")
    registry.add_listing(
        Listing(instrument=id, venue="XNAS", symbol="NEW", symbol_from="2024-06-01"), source="s"
    )
    assert names(registry, "XNAS") == names(registry, "XNAS", valid="2024-07-01") == ["NEW"]
    assert names(registry, "XNAS", valid="2024-05-01") == ["OLD"]
    assert names(registry, "XNAS", known=first.offset) == ["OLD"]
    assert names(registry, "XNAS", known=first.offset - 1) == []


def test_a_listing_that_came_back_counts_in_each_of_its_periods(registry: Registry) -> None:
    id, stayed = (registry.register(Equity(isin=isin(n))).id for n in range(2))
    listed(registry, stayed, "XETR", valid_from="1990-01-01")
    for id_, venue in ((id, "XLON"), (stayed, "XLON"), (id, "XETR")):
        listed(registry, id_, venue, valid_from="2000-01-01", valid_to="2001-01-01")
    listed(registry, id, "XETR", valid_from="2010-01-01")
    for valid, there, both in (
        ("1999-06-01", [stayed], []), ("2000-06-01", [id, stayed], [id, stayed]),
        ("2005-06-01", [stayed], []), ("2010-06-01", [id, stayed], []),
    ):  # fmt: skip
        found = {each.instrument for each in registry.instruments_at("XETR", valid=valid)}
        assert (found, set(registry.cross("XETR", "XLON", valid=valid).same)) == (
            set(there), set(both)
        ), valid  # fmt: skip
        assert registry.venues_for(id, valid=valid) == [
            venue for venue in ("XLON", "XETR") if id in there and (venue == "XETR" or both)
        ], valid
    (_, first), (_, second) = (
        each for each in registry.listing_periods(id) if each[1].venue == "XETR"
    )
    assert 0 < first.valid_to <= second.valid_from


def test_an_instrument_with_two_lines_counts_once(registry: Registry) -> None:
    id = registry.register(APPLE).id
    for currency in ("USD", "EUR"):
        for venue in ("XLON", "XETR"):
            listed(registry, id, venue, currency=currency, symbol=currency)
    assert registry.cross("XLON", "XETR").same == [id]
    assert names(registry, "XLON") == ["USD", "EUR"]
    assert registry.venues_for(id) == ["XLON", "XETR"]


def test_names_that_are_longer_than_a_record(registry: Registry) -> None:
    """32 letters and the environment, of which a record has 24."""
    name = LONG[:32]
    a, b = (receipt.id for receipt in registry.register_many(tokens(2)))
    listed(registry, a, f"{name}:test", symbol="x" * 40)
    listed(registry, b, name)
    assert registry.venues_for(a) == [f"{name}:test"]
    assert [each.instrument for each in registry.instruments_at(name)] == [b]
    assert registry.cross(name, f"{name}:test").same == []


def test_what_only_has_the_same_key_in_the_index_is_elsewhere(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (receipt.id for receipt in registry.register_many(tokens(2)))
    listed(registry, a, "exchange-one")
    listed(registry, b, "exchange-two")
    key = text_key("exchange-one")
    monkeypatch.setattr("alphapulse.registry.cross.text_key", lambda text: key)
    assert [each.instrument for each in registry.instruments_at("exchange-one")] == [a]
    assert [each.instrument for each in registry.instruments_at("exchange-two")] == []
    assert registry.cross("exchange-one", "exchange-two").same == []


def test_what_cannot_be_asked(registry: Registry) -> None:
    for wrong in ("", "X NAS", 5):
        with pytest.raises(InvalidInput):
            registry.cross("XNAS", wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            registry.instruments_at(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        registry.venues_for("XNAS")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        registry.cross("XNAS", "XLON", as_of=0, known=0)
    assert registry.venues_for(5) == []
    assert registry.cross("XNAS", "XLON") == ([], [])


def test_after_close(registry: Registry) -> None:
    listed(registry, registry.register(APPLE).id, "XNAS")
    ask = registry.instruments_at("XNAS")
    registry.close()
    with pytest.raises(Closed):
        next(ask)
    with pytest.raises(Closed):
        registry.cross("XNAS", "XLON")


def test_damage_is_told_apart(registry: Registry, tmp_path: Path) -> None:
    listed(registry, registry.register(APPLE).id, "XNAS")
    registry.close()
    with open_home(tmp_path / "home") as again:
        table = again.views.table("listings")
        (cell,) = table.postings(0, again.lookup.by_symbol("AAPL")[0].id)
        path, place = Path(table.path), (table.geometry.index_at(0) and 4096) + cell * 8
        with path.open("r+b") as file:
            file.seek(place)
            file.write((1 << 40).to_bytes(8, "little"))
        with pytest.raises(ViewUnusable):
            again.cross("XNAS", "XLON")
        with pytest.raises(ViewUnusable):
            list(again.instruments_at("XNAS", ended=True))


def test_as_a_fold_of_the_bodies_would_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Random homes and times; what is expected is read from the log, listing by listing."""
    counted = Counter[str]()
    for seed in seeds(3):
        chooser = random.Random(seed)
        with open_home(tmp_path / f"{seed}") as registry:
            _random_home(registry, chooser)
            for _ in range(12):
                words = chooser.choice((0, 1 << 30))  # both ways to find who is related
                monkeypatch.setattr(f"{TABLE_READER}._SLOT_WORDS_A_PROBE", words)
                _check(registry, chooser, counted)
    print(f"cross: {dict(counted)}")
    assert min(counted[name] for name in ("same", "related", "ratio")) > 0


VENUES = ("XNAS", "XLON", "binance", "a-long-name")
YEARS = (2010, 2015, 2020, 2025)


def _random_home(registry: Registry, chooser: random.Random) -> None:
    ids = [receipt.id for receipt in registry.register_many(tokens(12))]
    for _ in range(40):
        id, venue = chooser.choice(ids), chooser.choice(VENUES)
        dates = sorted(chooser.sample(YEARS, 2))
        what = chooser.randrange(4)
        if what < 2:
            listed(
                registry, id, venue, currency=chooser.choice(("USD", "EUR")),
                valid_from=str(dates[0]) if chooser.random() < 0.5 else "",
                valid_to=str(dates[1]) if chooser.random() < 0.3 else "",
            )  # fmt: skip
        elif what == 2 and venue in registry.venues_for(id, ended=True):
            for listing, body in registry.listing_bodies(id):
                if body.venue == venue and not body.valid_to:
                    registry.end_listing(listing, valid_to="2030")
                    break
        else:
            one, other = chooser.sample(range(len(ids)), 2)
            first, second = ids[max(one, other)], ids[min(one, other)]  # so never in a circle
            relation = chooser.choice(("wraps", "receipt_of", "same_as", "component"))
            ratio = f"{chooser.randint(1, 9)}/7" if relation == "receipt_of" else None
            registry.relate(first, relation, second, ratio=ratio)


def _check(registry: Registry, chooser: random.Random, counted: Counter[str]) -> None:
    known = chooser.choice((None, chooser.randrange(12, registry.log.head)))
    year = chooser.choice((2012, 2017, 2022, 2026))
    valid = format_time(registry.when(valid=f"{year}-06-01").valid or 0)
    at = registry.when(valid=valid).valid
    assert at is not None
    ids = [e.entity for e in registry.read(pattern="kind=instrument.registered")]
    where = {
        id: [
            (listing, body.venue)
            for listing, body in registry.listing_bodies(id, as_of=known) if holds(body, at)
        ]
        for id in ids
    }  # fmt: skip
    for id in ids:
        expected = dict.fromkeys(venue for _, venue in where[id])
        assert registry.venues_for(id, known=known, valid=valid) == list(expected)
    for venue in VENUES:
        found = {each.id for each in registry.instruments_at(venue, known=known, valid=valid)}
        assert found == {key for each in where.values() for key, at in each if at == venue}
    a, b = chooser.sample(VENUES, 2)
    crossing = registry.cross(a, b, known=known, valid=valid)
    at_a, at_b = ({id for id in ids if v in {x for _, x in where[id]}} for v in (a, b))
    assert set(crossing.same) == at_a & at_b
    assert len(crossing.same) == len(at_a & at_b)
    joined = [
        each for id in ids for each in registry.related(id, as_of=known, valid=valid)
        if each.relation in JOINING
    ]  # fmt: skip
    reach = {id: {id} for id in ids}
    for _ in ids:
        for each in joined:
            both = reach[each.instrument] | reach[each.other]
            for id in both:
                reach[id] = both
    expected_pairs = {(x, y) for x in at_a for y in reach[x] & at_b if x != y}
    assert {(pair.a, pair.b) for pair in crossing.related} == expected_pairs
    for pair in crossing.related:
        ratio, id = Fraction(1), pair.a
        for step in pair.path:
            one = Fraction(*(step.link.ratio or (1, 1)))
            assert id == (step.link.instrument if step.forward else step.link.other)
            ratio, id = ratio * (one if step.forward else 1 / one), step.link.far_from(id)
        assert id == pair.b
        assert pair.ratio == ratio.as_integer_ratio()
    counted["same"] += len(crossing.same)
    counted["related"] += len(crossing.related)
    counted["ratio"] += sum(pair.ratio != (1, 1) for pair in crossing.related)
