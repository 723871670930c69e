"""Dry runs: what an import would do, field by field, is what it does then."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import InvalidInput
from alphapulse.registry import (
    ImportReport,
    Planned,
    Registry,
    import_file,
    importing,
    open_for_dry_run,
)
from alphapulse.registry.changes import changes

from .test_importing import ALL, APPLE, token, token_list


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def digests(registry: Registry) -> dict[str, bytes]:
    return {name: state.digest for name, state in registry.statistics().views.items()}


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def rehearsed(registry: Registry, path: Path, **how: Any) -> tuple[ImportReport, list[Planned]]:
    """A dry run, its plan held against its own counts."""
    plan: list[Planned] = []
    report = import_file(registry, path, dry_run=True, plan=plan.append, **how)
    told = Counter(each.what for each in plan)
    assert told["quarantined"] == report.quarantined + report.relations_quarantined
    assert told["collision"] == report.collisions
    said = {(e.id, e.changes[0].field, e.changes[0].after) for e in plan if e.what == "conflict"}
    assert len(said) == report.conflicts <= told["conflict"], "each row tells of it"
    places = {each.place for each in plan if each.what in ("new", "amended")}
    assert len(places) >= report.new + report.amended + report.relations_new
    return report, plan


def becomes(plan: list[Planned]) -> set[tuple[int, str, object, object]]:
    return {
        (each.id, *change) for each in plan if each.what in ("new", "amended")
        for change in each.changes
    }  # fmt: skip


def import_as_planned(registry: Registry, path: Path, **how: Any) -> ImportReport:
    """Imports what a dry run said, neither more nor less, in its report and field by field."""
    expected, plan = rehearsed(registry, path, **how)
    head = registry.log.head
    real = import_file(registry, path, **how)
    assert real._replace(quarantine_file=None, dry_run=True) == expected
    done = changes(registry.log, head, registry.log.head, registry.venues.id_of)
    assert {tuple(change[:4]) for change in done} == becomes(plan)
    kinds = Counter(each.kind for each in plan if each.kind)
    assert kinds == Counter(event.kind_name for event in registry.read(head))
    return real


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_dry_run_says_what_an_import_does_and_the_next_adds_no_event(
    tmp_path: Path, path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    with Registry.open(tmp_path / "home", durability="relaxed") as registry:
        first = import_as_planned(registry, path)
        assert first.new
        head = registry.log.head
        again = import_file(registry, path, progress=lambda done, of: calls.append((done, of)))
        assert registry.log.head == head
    assert (again.new, again.amended, again.conflicts) == (0, 0, 0)
    assert (again.rows, again.quarantined) == (first.rows, first.quarantined)
    assert (again.relations, again.relations_new) == (first.relations, 0)
    assert again.relations_quarantined == first.relations_quarantined
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] > 0


def test_a_dry_run_needs_no_home(tmp_path: Path) -> None:
    with open_for_dry_run(tmp_path / "home") as empty:
        assert import_file(empty, APPLE, dry_run=True).new == 6
        assert empty.statistics().head == 0
    assert not (tmp_path / "home").exists()


def test_dry_runs_of_random_files_say_what_the_imports_do(tmp_path: Path) -> None:
    """Rows of few shares at few venues, so that sources fill in, correct and contradict."""
    seed = int(os.environ.get("ALPHAPULSE_TEST_SEED") or 7)
    print(f"ALPHAPULSE_TEST_SEED={seed}")
    choose = random.Random(seed)
    isins = ["US0378331005", "US5949181045", "GB00BP6MXD84", "US0378331006"]
    columns = {
        "isin": isins, "mic": ["XNAS", "XETR"], "symbol": ["", "A", "B"], "name": ["", "N", "M"],
        "primary": ["yes", "no"], "valid_from": ["", "2020", "2021"], "valid_to": ["", "2020-06"],
        "class": ["equity", "etf"], "tick": ["", "0.01"], "line": ["0", "0", "1", "2", "3", "4"],
    }  # fmt: skip
    outcomes = Counter[str]()
    with Registry.open(tmp_path / "home", durability="relaxed", id_bits=8) as registry:
        for number in range(14):
            path = tmp_path / f"{number}.csv"
            rows = [[choose.choice(each) for each in columns.values()] for _ in range(6)]
            path.write_text("\n".join(",".join(row) for row in ([*columns], *rows)))
            report = import_as_planned(registry, path, source=choose.choice(["one", "two"]))
            for name in ("new", "unchanged", "amended", "quarantined", "collisions", "conflicts"):
                outcomes[name] += getattr(report, name)
    assert len(outcomes) == 6 and min(outcomes.values()) > 0, outcomes


def test_a_plan_says_whose_word_is_taken(registry: Registry, tmp_path: Path) -> None:
    """The conflict has the winning word as the held one, whoever came last."""
    registry.state_rules(precedence=["two", "one"])
    import_file(registry, token_list(tmp_path / "a.json", token(2), name="one"))
    other = token_list(tmp_path / "b.json", token(2, symbol="X"), name="two")
    _, plan = rehearsed(registry, other)
    assert [(each.what, each.changes) for each in plan] == [
        ("amended", (("symbol", "T2", "X"),)), ("conflict", (("symbol", "T2", "X"),)),
    ]  # fmt: skip
    told = "symbol: 'T2' is known from 'one', this row says 'X', which has precedence"
    assert plan[1].reason == told
    assert import_file(registry, other).problems[0].reason == told
    again = import_file(registry, token_list(tmp_path / "c.json", token(2, symbol="Y"), name="one"))
    assert again.problems[0].reason == "symbol: 'X' is known from 'two', this row says 'Y'"


def test_a_plan_says_what_each_row_would_do(registry: Registry, tmp_path: Path) -> None:
    import_file(registry, token_list(tmp_path / "a.json", token(1), token(2), name="one"))
    other = token_list(
        tmp_path / "b.json", token(1), token(2, symbol="X"), token(2, symbol="X"), {}, name="two"
    )
    _, plan = rehearsed(registry, other)
    known = registry.by_address("eip155:1", token(2)["address"])
    assert known is not None
    assert [(each.place, each.what, each.kind, each.id, each.changes) for each in plan] == [
        ("tokens[1]", "conflict", "conflict.detected", known.id, (("symbol", "T2", "X"),)),
        ("tokens[2]", "conflict", "", known.id, (("symbol", "T2", "X"),)),
        ("tokens[3]", "quarantined", "", 0, ()),
    ]
    assert plan[1].reason == "symbol: 'T2' is known from 'one', this row says 'X'"
    assert "chainId" in plan[2].reason
    longer = token_list(tmp_path / "c.json", token(1, name="Other"), token(3), name="one")
    _, plan = rehearsed(registry, longer)
    assert [(each.what, each.kind, each.changes[-1]) for each in plan] == [
        ("amended", "instrument.amended", ("name", "Token 1", "Other")),
        ("new", "instrument.registered", ("decimals", None, 6)),
    ]


def test_files_of_one_dry_run_know_of_each_other(registry: Registry, tmp_path: Path) -> None:
    plan: list[Planned] = []
    with registry.rehearsal() as rehearsal:
        first = import_file(registry, APPLE, dry_run=rehearsal)
        again = import_file(registry, APPLE, dry_run=rehearsal, plan=plan.append)
    assert (first.new, again.new, again.unchanged, again.dry_run) == (6, 0, 6, True)
    assert plan == []
    assert registry.log.head == 0


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old = token_list(tmp_path / "a.json", token(1), token(2), name="one")
    new = token_list(
        tmp_path / "b.json", token(1), token(2, symbol="X"), token(3), token(3), {}, name="two"
    )
    with Registry.open(home) as registry:
        import_file(registry, old)
        before = snapshot(home)
        report = import_file(registry, new, dry_run=True)
        assert snapshot(home) == before
        views = digests(registry)
    assert (report.new, report.unchanged, report.quarantined, report.conflicts) == (1, 3, 1, 1)
    assert report.quarantine_file is None
    assert "symbol: 'T2' is known from 'one'" in report.problems[1].reason
    with Registry.open(home) as registry:
        assert digests(registry) == views
        real = import_file(registry, new)
    assert real._replace(dry_run=True, quarantine_file=None) == report


def test_a_dry_run_has_a_limit(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "DRY_RUN_ROWS_MAX", 3)
    path = token_list(tmp_path / "a.json", *[token(number) for number in range(1, 5)])
    with pytest.raises(InvalidInput, match="at most 3 rows"):
        import_file(registry, path, dry_run=True)
    assert import_file(registry, path).new == 4
