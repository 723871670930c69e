"""The benchmark of dispatch asks what it says it asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import dispatch
from benchmarks.budgets import MAKING, OURS, SCAN
from benchmarks.data import Homes
from benchmarks.topics import Context


def test_index_and_scan_are_raced_over_every_population(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dispatch, "WANTED", 1_000)
    monkeypatch.setattr(dispatch, "EVENTS", 50)
    rows = list(dispatch.run(Context(10, Homes(tmp_path))))
    cases = [f"{n} shapes, {how}" for n in (5, 400) for how in ("few match", "0.7% match")]
    assert [(row.case, row.who) for row in rows] == [
        (case, who) for case in cases for who in (OURS, MAKING, SCAN)
    ]
    assert all(row.rate_per_s for row in rows)
    assert {row.size for row in rows} == {10}
    assert [bool(row.must) for row in rows] == [row.who == OURS for row in rows]
