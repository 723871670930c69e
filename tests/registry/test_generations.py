"""A venue gives the name of a contract that is over to another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.registry import (
    Future,
    GenerationOver,
    Perpetual,
    Register,
    Registry,
    SpotPair,
    Status,
    import_file,
)

from .homes import APPLE, open_home, record, unit


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_home(tmp_path / "home") as opened:
        yield opened


def perpetual(**fields: Any) -> Perpetual:
    return Perpetual(
        **{"venue": "binance", "native_id": "LUNAUSDT", "settlement": "USDT", "base": "LUNA",
           "quote": "USDT", **fields}
    )  # fmt: skip


def market(base: str, **fields: object) -> dict[str, object]:
    """What ccxt says of the same contract."""
    return {
        "id": "LUNAUSDT", "symbol": f"{base}/USDT:USDT", "base": base, "quote": "USDT",
        "baseId": base, "quoteId": "USDT", "settle": "USDT", "type": "swap", "active": True,
        "precision": {"price": 0.1}, **fields,
    }  # fmt: skip


def markets(path: Path, base: str, **fields: object) -> Path:
    document = {"id": "binance", "precisionMode": 4, "markets": [market(base, **fields)]}
    path.write_text(json.dumps(document))
    return path


# --- registering -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.DELISTED, Status.EXPIRED, Status.MIGRATED])
def test_a_contract_that_is_over_does_not_become_another(
    registry: Registry, status: Status
) -> None:
    first = registry.register(perpetual(), source="op")
    registry.set_status(first.id, status)
    head = registry.log.head
    for offered in (perpetual(base="LUNA2"), perpetual(base="LUNA2", status="halted")):
        with pytest.raises(GenerationOver) as caught:
            registry.register(offered, source="op")
        message = str(caught.value)
        assert f"generation 0 of it is {status.name.lower()}, and" in message
        assert "base LUNA, not LUNA2" in message
        assert f"0x{first.id:016x}" in message and "--generation 1;" in message
    assert registry.log.head == head
    second = registry.register(perpetual(base="LUNA2", generation=1), source="op")
    assert (second.outcome, record(registry, first.id).status) == ("new", status)
    with pytest.raises(GenerationOver, match="if generation 1 is meant, say so"):
        registry.register(perpetual(base="LUNA2"), source="op")


@pytest.mark.parametrize("term", ["base", "quote", "payoff", "multiplier", "underlying", "isin"])
def test_each_of_its_terms_counts(registry: Registry, term: str) -> None:
    terms = {"multiplier": "1", "underlying": 5, "isin": "US0378331005"}
    if term == "payoff":  # which must go with the quote
        terms |= {"payoff": "linear", "quote": ""}
    others = {"base": "ETH", "quote": "USDC", "payoff": "quanto", "multiplier": "10",
              "underlying": 6, "isin": "US5949181045"}  # fmt: skip
    registry.delist(registry.register(perpetual(**terms), source="op").id)
    with pytest.raises(GenerationOver, match=f"terms: {term} "):
        registry.register(perpetual(**{**terms, term: others[term]}), source="op")


def test_what_is_no_other_contract_is_told_as_ever(registry: Registry) -> None:
    """Another symbol or tick, terms that were not known, a living contract, other classes."""
    first = registry.register(perpetual(symbol="A", tick="0.1"), source="op")
    assert registry.register(perpetual(base="LUNC"), source="op").outcome == "amended"
    registry.delist(first.id, source="op")
    same = perpetual(base="LUNC", symbol="B", tick="1", multiplier="1")
    assert registry.register(same, source="op").outcome == "amended"
    assert record(registry, first.id).status is Status.DELISTED
    wrong = perpetual(base="LUNA", status="delisted")
    assert registry.register(wrong, source="op").outcome == "amended"
    again = registry.register(perpetual(status="active"), source="op")
    assert (again.id, record(registry, again.id).status) == (first.id, Status.ACTIVE)
    share = registry.register(APPLE, source="op")
    registry.delist(share.id)
    assert registry.register(type(APPLE)(isin=APPLE.isin, figi="BBG001S5N8V8")).outcome == "amended"


def test_pairs_and_futures_have_generations_too(registry: Registry) -> None:
    pair = SpotPair(venue="binance", native_id="LUNAUSDT", base="LUNA", quote="USDT")
    future = Future(venue="XCME", product="ES", maturity="2026-12-18", settlement="USD")
    for instrument, others in ((pair, {"base": "LUNC"}), (future, {"settlement": "EUR"})):
        registry.delist(registry.register(instrument, source="op").id)
        fields = {**{f: getattr(instrument, f) for f in instrument.__struct_fields__}, **others}
        with pytest.raises(GenerationOver):
            registry.register(type(instrument)(**fields), source="op")
        assert registry.register(type(instrument)(**{**fields, "generation": 1})).outcome == "new"


# --- finding ---------------------------------------------------------------------------------


def test_the_one_that_is_traded_comes_first(registry: Registry) -> None:
    when = {"first": "2020-01-01", "over": "2022-06-01", "second": "2023-01-01"}
    first = registry.register(perpetual(symbol="LUNA", valid_from=when["first"]))
    registry.delist(first.id, valid_from=when["over"])
    second = registry.register(perpetual(symbol="LUNA", generation=1, valid_from=when["second"]))

    def found(key: str, valid: str | None = None) -> list[tuple[int, str]]:
        _, matches = registry.lookup.find(key, when=registry.when(None, valid))
        return [(match.id, match.record.status.name) for match in matches]

    both = [(second.id, "ACTIVE"), (first.id, "DELISTED")]
    for key in ("LUNA", "LUNAUSDT", "LUNAUSDT@binance", "LUNA@binance"):
        assert found(key) == both
        assert found(key, "2024-01-01") == both
        assert found(key, "2021-01-01") == [(first.id, "ACTIVE")]
        assert found(key, "2022-07-01") == [(first.id, "DELISTED")]
    assert [each.id for each in registry.by_symbol("LUNA")] == [second.id, first.id]
    registry.delist(second.id)
    assert [id for id, _ in found("LUNA")] == [first.id, second.id]
    registry.set_status(first.id, "active")
    assert [id for id, _ in found("LUNA")] == [first.id, second.id]
    assert [id for id, _ in found("LUNA", "2024-01-01")] == [first.id, second.id][::-1]


def test_a_name_of_each_decade(registry: Registry) -> None:
    """CME's ESZ6 is a future of 2016 and one of 2026: that one expired by its instant alone."""
    ids = [
        registry.register(
            Future(venue="XCME", product="ES", native_id="ESZ6", maturity=f"{day}",
                   expiry=f"{day}T14:30:00Z", valid_from="2010-01-01")
        ).id
        for day in ("2016-12-16", "2126-12-18")
    ]  # fmt: skip
    assert [each.id for each in registry.by_symbol("ESZ6", venue="XCME")] == ids[::-1]
    assert [each.id for each in registry.by_symbol("ESZ6", valid="2016-12-16T14:29Z")] == ids
    assert [each.id for each in registry.by_symbol("ESZ6", valid="2016-12-17")] == ids[::-1]


# --- importing -------------------------------------------------------------------------------


def test_markets_of_ccxt_follow_the_generations(registry: Registry, tmp_path: Path) -> None:
    old, new = markets(tmp_path / "old.json", "LUNA"), markets(tmp_path / "new.json", "LUNA2")
    assert import_file(registry, old).new == 1
    (first,) = registry.by_symbol("LUNAUSDT")
    registry.delist(first.id)
    head = registry.log.head
    report = import_file(registry, new)
    assert (report.quarantined, registry.log.head) == (1, head)
    assert "--generation 1;" in report.problems[0].reason
    second = registry.register(perpetual(base="LUNA2", generation=1), source="binance")
    assert (import_file(registry, new).amended, import_file(registry, new).unchanged) == (1, 1)
    facts = registry.facts(second.id)
    assert facts is not None and facts.values["tick"] == "0.1"

    report = import_file(registry, old)
    assert report.quarantined == 1
    assert "generation 1, which came after it, has other terms" in report.problems[0].reason
    over = Register.of(perpetual(status="delisted"), newest=True)
    (outcome,) = registry.execute([unit(over, source="binance")])
    assert isinstance(outcome, list)
    assert [(receipt.id, receipt.outcome) for receipt in outcome] == [(first.id, "unchanged")]
    third = import_file(registry, markets(tmp_path / "3.json", "LUNA3"))
    assert (third.amended, record(registry, second.id).revision) == (1, 3), "it is still traded"


def test_listings_follow_the_generations(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "binance.csv"
    header = "class,venue,native_id,settlement,base,quote,symbol,generation\n"

    def imported(base: str, symbol: str, generation: str = "") -> tuple[int, int]:
        row = f"perpetual,binance,LUNAUSDT,USDT,{base},USDT,{symbol},{generation}\n"
        path.write_text(header + row)
        report = import_file(registry, path)
        return report.new, report.quarantined

    assert imported("LUNA", "LUNA") == (1, 0)
    (first,) = registry.by_symbol("LUNA")
    registry.delist(first.id)
    assert imported("LUNA2", "LUNB") == (0, 1)
    assert imported("LUNA2", "LUNB", "1") == (1, 0)
    (second,) = registry.by_symbol("LUNB")
    assert imported("LUNA2", "LUNC") == (0, 0)
    assert [listing.symbol for listing in registry.listings(second.id)] == ["LUNC"]
    assert [listing.symbol for listing in registry.listings(first.id)] == ["LUNA"]


def test_whoever_knows_no_generations_means_one_that_is_known(
    registry: Registry, tmp_path: Path
) -> None:
    known = registry.register(perpetual(base="LUNA2", generation=1), source="binance")
    assert import_file(registry, markets(tmp_path / "m.json", "LUNA2")).amended == 1
    assert registry.statistics().instruments == 1
    assert record(registry, known.id).revision == 2


def test_a_retry_is_told_the_same_whatever_generation_was_meant(registry: Registry) -> None:
    registry.register(perpetual(generation=1), source="other")
    for words in ({"base": "LUNA2"}, {"tick": "0.1"}):
        command = Register.of(perpetual(**words), newest=True)
        request = unit(command, source="me", request_id=f"r{words}")
        (told,) = registry.execute([request])
        head = registry.log.head
        assert list(registry.execute([request])) == [told]
        assert registry.log.head == head
