"""Relations that files state: after all rows, counted apart, added once their far end is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import InvalidInput, Kind, RelationKind
from alphapulse.registry import Currency, ImportReport, Registry, import_file, importing
from alphapulse.registry.identity import key_text
from tests.registry.test_importing import COSMOS, token, token_list


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home", durability="relaxed") as opened:
        yield opened


def bridged(number: int, *chains: int) -> dict[str, Any]:
    """A token on Ethereum whose bridges lead to the token of the same number on other chains."""
    there = {"tokenAddress": f"0x{number:040x}"}
    return token(number, extensions={"bridgeInfo": {str(chain): there for chain in chains}})


def counts(report: ImportReport) -> tuple[int, int, int]:
    return report.relations, report.relations_new, report.relations_quarantined


def test_the_relations_of_the_sample(registry: Registry) -> None:
    report = import_file(registry, COSMOS)
    assert counts(report) == (12, 8, 1)  # that WETH wraps ETH is said twice
    weth = registry.by_address("eip155:1", "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2")
    assert weth is not None
    linked = registry.related(weth.id)
    assert sorted(link.relation for link in linked) == [
        RelationKind.BRIDGED_FROM, RelationKind.BRIDGED_FROM, RelationKind.WRAPS
    ]
    assert {event.metadata.source for event in registry.read()} == {"chain-registry"}
    said = [event for event in registry.read() if event.kind == Kind.RELATION_ADDED]
    assert {event.metadata.content_hash for event in said} == {report.content_hash}
    assert report.relations_waiting == 2
    assert registry.register(Currency(code="USD")).met == 2
    again = import_file(registry, COSMOS)
    assert (counts(again), again.relations_waiting) == ((12, 0, 1), 0)


def test_a_relation_is_added_when_its_far_end_is_known(registry: Registry, tmp_path: Path) -> None:
    near = token_list(tmp_path / "near.json", bridged(1, 10, 137), token(2))
    first = import_file(registry, near)
    assert (first.rows, first.new, first.quarantined, first.is_clean) == (2, 2, 0, True)
    assert (counts(first), first.relations_waiting, first.quarantine_file) == ((2, 0, 0), 2, None)
    (one, two) = registry.relations.waiting()
    assert [key_text(each.missing_key) for each in (one, two)] == [
        f"token|eip155:{chain}|erc20|0x{1:040x}" for chain in (10, 137)
    ]
    head = registry.log.head
    assert import_file(registry, near).relations_waiting == 2 and registry.log.head == head
    far = token_list(tmp_path / "far.json", token(1, chainId=10), name="far")
    assert import_file(registry, far).relations_met == 1
    second = import_file(registry, near)
    assert (second.unchanged, counts(second), second.relations_waiting) == (2, (2, 0, 0), 1)
    last = token_list(tmp_path / "last.json", token(1, chainId=137), name="last")
    assert import_file(registry, last).relations_met == 1
    head = registry.log.head
    assert counts(import_file(registry, near)) == (2, 0, 0)
    assert registry.log.head == head


def test_two_orders_relate_the_same(tmp_path: Path) -> None:
    """Each list says of tokens that only the other one has, on both sides of one bridge too."""
    files = [
        token_list(tmp_path / "a.json", bridged(1, 10), bridged(2, 10), name="a"),
        token_list(
            tmp_path / "b.json", token(2, chainId=10), token(
                1, chainId=10, extensions={"bridgeInfo": {"1": {"tokenAddress": f"0x{1:040x}"}}}
            ), name="b",
        ),
    ]  # fmt: skip

    def told(name: str, files: list[Path]) -> tuple[int, bytes]:
        with Registry.open(tmp_path / name, durability="relaxed") as registry:
            for path in files:
                import_file(registry, path)
            view = registry.statistics().views["relations"]
        return view.rows, view.digest

    whole = told("one", files)
    assert (whole[0], told("other", files[::-1]), told("again", files * 2)) == (2, whole, whole)


def test_a_circle_is_refused_in_its_place(registry: Registry, tmp_path: Path) -> None:
    """Stakes of each other: whichever comes second would lead back."""
    assets = [
        {"chain": "c", "chain_id": "c-1", "chain_type": "cosmos", "type_asset": "sdk.coin",
         "base": base, "traces": [{"type": "liquid-stake", "chain": "c", "denom": other}]}
        for base, other in ("ab", "ba")
    ]  # fmt: skip
    path = tmp_path / "c.json"
    path.write_text(json.dumps(assets))
    report = import_file(registry, path)
    assert (report.new, counts(report)) == (2, (2, 1, 1))
    (problem,) = report.problems
    assert problem.place == "[1].traces[0]"
    assert "lead back to where it starts" in problem.reason


def test_a_dry_run_has_a_limit_for_relations_too(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "DRY_RUN_ROWS_MAX", 3)
    path = token_list(tmp_path / "b.json", bridged(1, 137), bridged(2, 137))
    with pytest.raises(InvalidInput, match="at most 3 rows and relations"):
        import_file(registry, path, dry_run=True)
