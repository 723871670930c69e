"""The verb `performance`, as a collector and a person type it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from .conftest import Run

HOUR_NS = 3_600 * 10**9
FIELDS = [
    "venue", "listing", "window_from", "window_to", "open", "samples", "acks", "fills", "rejects",
    "reject_rate", "uptime", "ack_p50_ns", "ack_p99_ns", "fill_p50_ns", "fill_p99_ns",
    "spread_bps", "depth", "depths_left_out", "score", "score_currency",
]  # fmt: skip


@pytest.fixture
def last_hour(run: Run) -> int:
    """ns: where a window began that is over for long; XNAS is registered."""
    assert run("venue", "add", "XNAS").code == 0
    return (time.time_ns() // HOUR_NS - 2) * HOUR_NS


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def ack(at: int, latency_ns: object = 250_000, venue: str = "XNAS") -> dict[str, object]:
    return {"venue": venue, "measure": "ack", "time": at, "latency_ns": latency_ns}


def test_samples_become_a_window_that_is_closed_once(run: Run, last_hour: int) -> None:
    rows = lines(
        ack(last_hour + 5), ack(last_hour), "",
        {"venue": "XNAS", "measure": "spread", "time": last_hour, "spread_bps": 1.250},
        {"venue": "XNAS", "measure": "depth", "time": last_hour, "depth": "1250000",
         "within_bps": 10, "currency": "USD"},
        {"venue": "XNAS", "measure": "outage", "time": last_hour + 7, "duration_ns": 7},
    )  # fmt: skip
    ran = run("performance", "add", "-", "--source", "col", "--json", stdin=rows)
    assert ran.code == 0 and ran.rows == [
        {"taken": 5, "refused": {}, "first": "m:0", "last": "m:4", "registry_head": 1,
         "durable": False}
    ]  # fmt: skip
    (row,) = run("performance", "show", "XNAS", "--json").rows
    assert list(row) == FIELDS
    assert (row["open"], row["acks"], row["ack_p99_ns"], row["score"]) == (True, 2, 250_000, 4938)
    assert row["uptime"] == "3599999999993/3600000000000" and row["spread_bps"] == "1.25"
    assert row["depth"] == [{"within_bps": 10, "currency": "USD", "mean": "1250000"}]
    (closed,) = run("performance", "summarise", "--json").rows
    assert closed == row | {"open": False, "offset": 1, "outcome": "new"}
    assert run("performance", "show", "XNAS", "--as-of", "1", "--json").rows == [
        row | {"open": False}
    ]
    before = run("performance", "show", "XNAS", "--as-of", "0")
    assert before.code == 1 and "the log said nothing of it by then" in before.err
    again = run("performance", "summarise")
    assert (again.code, again.out) == (0, "") and "was not closed before" in again.err
    shown = run("performance", "show", "XNAS", "--merged", "--closed")
    assert "250 µs" in shown.out and "1,250,000 USD (10 bps)" in shown.out and "4938" in shown.out
    assert "open" not in shown.out
    (event,) = run("tail", "kind=venue.performance", "--json").rows
    assert event["body"]["measures"]["ack_count"] == "2" and event["body"]["class"] is None
    late = run("performance", "add", "-", stdin=lines(ack(last_hour + 9)))
    assert (late.code, late.out) == (1, "0 taken, 1 refused (1 late)\n")
    assert "line 1: taking a sample: its window is closed" in late.err
    assert run("audit").code == 0


def test_bad_lines_are_told_and_the_others_taken(
    run: Run, last_hour: int, tmp_path: Path
) -> None:
    rows = lines(
        ack(last_hour), "{", "", ack(last_hour, -1), ack(last_hour, "NaN"),
        '{"venue":"XNAS","measure":"ack","time":1,"latency_ns":NaN}',
        ack(time.time_ns() + HOUR_NS), ack(last_hour, venue="XLON"), ack(last_hour - 400 * HOUR_NS),
        ack(last_hour + 1),
    )  # fmt: skip
    file = tmp_path / "samples.jsonl"
    file.write_text(rows.rstrip("\n"))
    ran = run("performance", "add", str(file))
    refused = "7 refused (1 future, 4 invalid, 1 too_old, 1 unknown_venue)"
    assert ran.out == f"2 taken, m:0 to m:1, not safe from a power cut, {refused}\n"
    assert ran.code == 1
    for number, problem in ((2, "no JSON"), (4, "latency_ns: it must be 0"), (5, "whole number"),
                            (6, "no JSON"), (7, "from the future"), (8, "no such venue"),
                            (9, "older than what is kept")):  # fmt: skip
        assert any(line.startswith(f"line {number}: ") and problem in line
                   for line in ran.err.splitlines()), problem  # fmt: skip
    many = run("performance", "add", "-", stdin="x\n" * 30)
    assert many.err.count("line ") == 20 and "… and 10 more lines" in many.err


def test_what_cannot_be_asked(run: Run, last_hour: int, home: Path) -> None:
    empty = run("performance", "show", "XNAS")
    assert (empty.code, empty.out) == (1, "") and "nothing was sampled" in empty.err
    assert not (home / "market").exists(), "who only asks makes nothing"
    assert run("performance", "show", "XLON").code == 1
    assert run("performance", "show", "XNAS", "--window", "2h").code == 2
    assert run("performance", "show", "XNAS", "--listing", "7").code == 2
    assert run("performance", "add", "/nowhere/at.all").code == 1


def test_a_long_line_is_no_sample(run: Run, last_hour: int) -> None:
    ran = run("performance", "add", "-", stdin="x" * 600_000 + "\n" + lines(ack(last_hour)))
    assert ran.code == 1 and "1 taken" in ran.out and "over 4096 bytes" in ran.err


def test_an_emptied_market_log_is_told(
    run: Run, last_hour: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("performance", "add", "-", stdin=lines(ack(last_hour))).code == 0
    (home / "market" / "log").rename(home / "market" / "log.damaged")
    ran = run("performance", "add", "-", stdin=lines(ack(last_hour)))
    assert ran.code == 0 and "CRITICAL: the market log was emptied" in ran.err




def test_people_see_a_few_of_many_depths(run: Run, last_hour: int) -> None:
    rows = lines(*(
        {"venue": "XNAS", "measure": "depth", "time": last_hour, "depth": "5", "within_bps": bps,
         "currency": "USD"} for bps in range(1, 131)
    ))  # fmt: skip
    assert run("performance", "add", "-", stdin=rows).code == 0
    assert "5 USD (4 bps) and 126 more" in run("performance", "show", "XNAS").out
    (row,) = run("performance", "show", "XNAS", "--json").rows
    assert (len(row["depth"]), row["depths_left_out"]) == (100, 30)
    assert row["depth"][-1]["within_bps"] == 100
