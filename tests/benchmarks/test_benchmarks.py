"""The benchmarks run and print what they promise. How fast anything is, no test asserts."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from alphapulse.registry.importers import FORMATS
from benchmarks import (
    audit,
    follow,
    harness,
    imports,
    lookup,
    machine,
    register,
    venue_data,
    venues,
)
from benchmarks.__main__ import TOPICS, main
from benchmarks.budgets import BUDGETS, OURS, SQLITE, Budget
from benchmarks.data import Homes, instrument, isin_of
from benchmarks.harness import (
    Row,
    Timing,
    at_speed,
    percentile,
    rows_of,
    table,
    timing_of,
)
from benchmarks.machine import Speed
from benchmarks.topics import Context

ROOT = Path(__file__).resolve().parents[2]
FIELDS = set(Row.__struct_fields__)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`main` shares this process with all tests, whose objects stay frozen, and writes where they
    do. What a case leaves behind is not frozen beside them."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def forget_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts all pages of a process as large as this one for each number."""
    for module in (harness, audit, lookup):
        monkeypatch.setattr(module, "private_dirty_bytes", lambda: 4096)


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` runs in this process, which knows its imports, and warms up less than for numbers."""
    monkeypatch.chdir(ROOT)
    forget_memory(monkeypatch)
    monkeypatch.setattr(machine, "KEYS", 10_000)
    monkeypatch.setattr(machine, "CALLS", 1_000)
    monkeypatch.setattr(machine, "measure", machine._measure)
    monkeypatch.setattr(register, "WARM_UP", 500)
    monkeypatch.setattr(register, "BATCHES_MAX", 4)
    monkeypatch.setattr(follow, "EVENTS_MAX", 20)
    monkeypatch.setattr(follow, "PAUSE_S", 0.001)
    monkeypatch.setattr("benchmarks.open.REPEATS_MAX", 1)


@pytest.mark.usefixtures("fewer", "forked_interpreters")
def test_json_lines_carry_every_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = ("--cache", str(tmp_path / "cache"))
    assert main(["--json", "--size", "1000", *cache, "message", "lookup", "catchup", "open"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(row) == FIELDS for row in rows)
    assert {row["benchmark"] for row in rows} == {"message", "lookup", "catchup", "open"}
    by_id = {row["who"]: row for row in rows if row["case"] == "id"}
    assert by_id.keys() == {"ours", "dict.get", "LMDB", "SQLite"}
    assert by_id["ours"]["rate_per_s"] > 0 and by_id["ours"]["p50_ns"] <= by_id["ours"]["p999_ns"]
    assert by_id["SQLite"]["ratio"] == pytest.approx(
        by_id["ours"]["rate_per_s"] / by_id["SQLite"]["rate_per_s"]
    )
    opened = next(row for row in rows if row["benchmark"] == "open" and row["who"] == "ours")
    assert opened["private_dirty_bytes"] > 0


def test_every_format_of_files_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_memory(monkeypatch)
    monkeypatch.setattr(imports, "REPEATS", 1)
    rows = list(imports.run(Context(30, Homes(tmp_path))))
    by_hand = {"hours-toml", "hours-csv", "fees-toml", "fees-csv"}
    assert imports.FORMATS.keys() | by_hand == FORMATS.keys()
    assert [(row.case, row.who) for row in rows] == [
        found for name in imports.FORMATS
        for found in ((name, OURS), (name, SQLITE), (f"{name}, all known", OURS))
    ]  # fmt: skip
    assert all(row.rate_per_s for row in rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("fewer", "forked_interpreters")
def test_a_table_shows_budgets_and_writing_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--size", "1000", "register", "audit", "rebuild", "follow"]) == 0
    told = capsys.readouterr()
    for text in ("p99.9", "must", "≥ 100 k/s", "1,000, durable", "blocks of 1", "all views"):
        assert text in told.out
    assert "made a home of 1,000 instruments" in told.err
    assert "machine: " in told.err and "Blake3 of a short key" in told.err


def test_it_runs_as_a_module() -> None:
    """Nothing is smaller here, and the machine's speed is measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--json", "--size", "1000", "message"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {json.loads(line)["benchmark"] for line in done.stdout.splitlines()} == {"message"}
    assert "machine: " in done.stderr


def test_unknown_names_and_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["lokup"], ["--size", "0", "message"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "lokup" in told and "lookup" in told and "at least 1000" in told


def test_budgets_name_topics_that_exist() -> None:
    assert {name for name, _, _ in BUDGETS} <= TOPICS.keys()


def test_made_up_instruments_are_valid_and_distinct() -> None:
    from stdnum import isin

    made = [instrument(number) for number in range(3_000)]
    assert made == [instrument(number) for number in range(3_000)]
    assert len({one.symbol for one in made}) == len(made)
    isins = [isin_of(number) for number in range(3_000)]
    assert len({text[:11] for text in isins}) == len(isins)
    assert all(isin.is_valid(text) for text in isins)


def test_memory_that_only_this_process_has() -> None:
    before = harness.private_dirty_bytes()
    held = b"x" * 10_000_000
    assert harness.private_dirty_bytes() - before >= 9_000_000, len(held)


def test_percentiles_and_ratios() -> None:
    thousand = list(range(1, 1_001))
    assert [percentile(thousand, share) for share in (0.5, 0.99, 0.999)] == [500, 990, 999]
    assert percentile([7], 0.5) == 7
    timing = timing_of([1_000, 3_000])
    assert (timing.rate_per_s, timing.p50_ns, timing.p99_ns) == (500_000, 1_000, 3_000)
    ours, peer = rows_of("x", "y", 1, {OURS: Timing(300.0), "peer": Timing(100.0)})
    assert ours.ratio is None and peer.ratio == 3.0
    assert "300" in table([ours, peer])


def test_a_budget_is_judged() -> None:
    slow, fast = (
        rows_of("rebuild", "all views", 1, {OURS: Timing(rate)})[0] for rate in (99_999.0, 4e5)
    )
    assert (slow.must_met, slow.aim_met) == (False, False)
    assert (fast.must_met, fast.aim_met) == (True, True)
    assert fast.must == "≥ 100 k/s"
    assert not Budget("p99_ns", 5.0).is_met(6.0, 5.0)


@pytest.mark.usefixtures("fewer", "forked_interpreters")
def test_a_missing_peer_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    assert main(["--json", "--size", "1000", "message"]) == 0
    absent = [
        row for line in capsys.readouterr().out.splitlines()
        if (row := json.loads(line))["who"] == "databento-dbn"
    ]  # fmt: skip
    assert absent and all(
        row["rate_per_s"] is None and "not installed" in row["note"] for row in absent
    )


def test_a_verdict_at_the_other_machines_speed_is_apart_from_the_measured_one() -> None:
    measured = rows_of("message", "encode", 1, {OURS: Timing(9e5, p99_ns=9_000)})[0]
    assert (measured.must_met, measured.must_met_at_speed, measured.slowness) == (False, None, None)
    row = at_speed(measured, 2.5)
    assert (row.must_met, row.must_met_at_speed) == (False, True)
    assert (row.aim_met, row.aim_met_at_speed) == (False, False)
    assert (row.rate_per_s, row.p99_ns) == (9e5, 9_000), "numbers stay as measured"
    assert at_speed(measured, 1.7).must_met_at_speed is False, "the time there is above 5 µs"
    assert "NO " in (text := table([row])) and "(yes at 1/2.50)" in text
    assert at_speed(measured, 0.5).must_met_at_speed is False


def test_what_waits_for_the_disk_is_not_scaled() -> None:
    for topic, case in (
        ("register", "batches of 1,000, durable"), ("rebuild", "all views"),
        ("open", "for reading"), ("follow", "append to subscriber"),
    ):  # fmt: skip
        row = rows_of(topic, case, 1, {OURS: Timing(1.0, 10**12)})[0]
        assert row.must_met is False and at_speed(row, 1e9) == row
    case = "batches of 1,000, processing"
    processing = rows_of("register", case, 1, {OURS: Timing(1.0, 150_000)})[0]
    assert at_speed(processing, 2.0).must_met_at_speed is True
    against_dict = rows_of("lookup", "id", 10**6, {OURS: Timing(1.0), "dict.get": Timing(2.0)})[1]
    assert against_dict.aim_met is False
    assert at_speed(against_dict, 100.0).aim_met_at_speed is None, "a ratio is no speed"


def test_the_speed_of_the_machine() -> None:
    speed = Speed({"dict.get": 372 * 3, "CRC32 of 124 B": 220, "Blake3 of a short key": 326})
    assert speed.slowness == 2.0
    assert str(speed).startswith("machine: 2.00 x slower than the one the budgets were set on: d")


def test_questions_about_venues_agree_with_the_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peers' answers are compared before anything is timed; a wrong one raises."""
    forget_memory(monkeypatch)
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)  # it needs seconds to begin
    monkeypatch.setattr(venues, "QUESTIONS", 100)
    for module in (venues, venue_data):
        monkeypatch.setattr(module, "WITH_HOURS", ("XNAS", "XTKS"))
        monkeypatch.setattr(module, "YEARS", ("2024-01-01", "2025-01-01"))
    rows = list(venues.run(Context(1_000, Homes(tmp_path))))
    measured = {(row.case, row.who) for row in rows if row.rate_per_s}
    cases = list(dict.fromkeys(row.case for row in rows))
    assert measured == {(case, who) for case in cases for who in (OURS, SQLITE)}
    assert len(cases) == 7
    (crossing,) = [row.note for row in rows if row.case.startswith("cross") and row.who == OURS]
    assert crossing == "100 instruments at both"
    (missing,) = [row for row in rows if row.who == venues.CALENDARS]
    assert "not installed" in missing.note
