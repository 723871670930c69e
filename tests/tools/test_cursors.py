from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from alphapulse.log import (
    CursorPaused,
    Cursors,
    Event,
    HandlerFailed,
    Home,
    MarketHome,
    MarketLog,
    Retention,
)
from alphapulse.registry import Equity, Registry
from tests.log.markets import add, fill

from .conftest import Run, start

pytestmark = pytest.mark.usefixtures("forked_interpreters")

FIELDS = ["name", "pattern", "offset", "lag_events", "lag_s", "state", "error"]
MORE = ["policy", "skipped", "error_offset", "error_time", "saved", "holder_pid"]


def shown(run: Run, *words: str) -> list[int]:
    ran = run("tail", *words, "--json")
    assert ran.code == 0, ran.err
    return [row["offset"] for row in ran.rows]


def pause(home: Path, offset: int) -> None:
    def handler(event: Event) -> None:
        if event.offset == offset:
            raise ValueError("no \x1b[2J price")

    with Registry.open(home) as registry, pytest.raises(HandlerFailed):
        with registry.subscribe("", "beginning", cursor="billing") as events:
            events.handle(handler)


def test_tail_goes_on_where_it_was(run: Run, home: Path, apple: int) -> None:
    assert shown(run, "--cursor", "ops", "--limit", "2") == [0, 1]
    assert shown(run, "--cursor", "ops", "--limit", "1") == [2]
    assert shown(run, "--cursor", "ops", "--from", "0") == [3, 4, 5, 6]
    again = run("tail", "--cursor", "ops")
    assert (again.code, again.out) == (0, "") and "nothing new" in again.err
    with Registry.open(home) as registry:
        registry.register(Equity(isin="US5949181045", symbol="MSFT"))
    assert shown(run, "--cursor", "ops", "--follow", "--limit", "1") == [7]


def test_a_cursor_keeps_its_pattern(run: Run, apple: int) -> None:
    assert shown(run, "kind=listing", "--cursor", "ops", "--limit", "1") == [1]
    assert shown(run, "--cursor", "ops") == [2]
    refused = run("tail", "class=token", "--cursor", "ops", "--json")
    assert refused.code == 2
    assert refused.error["error"].startswith("CursorMismatch")
    assert "alphapulse cursors delete ops" in refused.error["cure"]
    assert run("tail", "--cursor", "../ops").code == 2


def test_a_new_one_begins_where_it_is_told(run: Run, apple: int) -> None:
    assert shown(run, "--cursor", "a", "--from", "5") == [5, 6]
    assert shown(run, "--cursor", "b", "--from", "now") == []
    assert run("tail", "--cursor", "c", "--from", "8").code == 2


def test_the_list_has_the_fields_of_the_table(run: Run, apple: int) -> None:
    empty = run("cursors")
    assert (empty.code, empty.out) == (0, "") and "no cursors" in empty.err
    shown(run, "kind=listing", "--cursor", "b", "--limit", "1")
    shown(run, "--cursor", "a")
    a, b = run("cursors", "--json").rows
    assert list(a) == list(b) == FIELDS
    assert a == {"name": "a", "pattern": "", "offset": 7, "lag_events": 0, "lag_s": 0.0,
                 "state": "idle", "error": None}  # fmt: skip
    assert (b["pattern"], b["offset"], b["lag_events"]) == ("kind=listing", 2, 5)
    assert b["lag_s"] > 0
    assert run("cursors", "list", "--json").rows[0] == a
    table = run("cursors").out.splitlines()
    assert table[0].split() == ["name", "state", "offset", "lag", "events", "lag", "s", "pattern"]
    assert table[2].split()[:4] == ["b", "idle", "2", "5"]
    (row,) = run("cursors", "show", "a", "--json").rows
    assert list(row) == FIELDS + MORE
    assert "saved" in run("cursors", "show", "a").out


def test_a_paused_one_is_shown_and_goes_on_after_reset(run: Run, home: Path, apple: int) -> None:
    pause(home, 3)
    (row,) = run("cursors", "--json").rows
    assert (row["state"], row["offset"], row["lag_events"]) == ("paused", 3, 4)
    assert row["error"] == "ValueError: no \x1b[2J price (offset 3)"
    assert "\x1b" not in run("cursors").out and "paused" in run("cursors").out
    refused = run("tail", "--cursor", "billing", "--json")
    assert refused.code == 1 and refused.error["error"].startswith("CursorPaused")
    assert "cursors reset billing --to 4" in refused.error["cure"]
    (more,) = run("cursors", "show", "billing", "--json").rows
    assert (more["error_offset"], more["policy"], more["holder_pid"]) == (3, "pause", None)

    (reset,) = run("cursors", "reset", "billing", "--json").rows
    assert list(reset) == FIELDS + MORE
    assert (reset["state"], reset["offset"], reset["error"]) == ("idle", 3, None)
    assert shown(run, "--cursor", "billing", "--limit", "1") == [3]


@pytest.mark.parametrize(
    "to,offset", [("beginning", 0), ("now", 7), ("4", 4), ("1999-01-01", 0), ("2199", 7)]
)  # fmt: skip
def test_reset_moves_it(run: Run, apple: int, to: str, offset: int) -> None:
    to = "2199-01-01" if to == "2199" else to
    shown(run, "--cursor", "a", "--limit", "2")
    (row,) = run("cursors", "reset", "a", "--to", to, "--json").rows
    assert row["offset"] == offset
    assert shown(run, "--cursor", "a") == list(range(offset, 7))


def test_what_cannot_be_done(run: Run, home: Path, apple: int) -> None:
    for words in (["show"], ["reset"], ["delete"], ["list", "a"], ["show", "a", "--to", "1"],
                  ["odd"]):  # fmt: skip
        assert run("cursors", *words).code == 2
    for words in (["show", "a"], ["reset", "a"], ["delete", "a"]):
        missing = run("cursors", *words, "--json")
        assert missing.code == 1 and missing.error["error"].startswith("CursorMissing")
    shown(run, "--cursor", "a")
    assert run("cursors", "reset", "a", "--to", "8").code == 2
    (home / "cursors" / "a.cursor").write_bytes(b"torn")
    (row,) = run("cursors", "--json").rows
    assert (row["state"], row["offset"]) == ("unusable", None)
    damaged = run("tail", "--cursor", "a", "--json")
    assert damaged.code == 1 and "cursors reset a --to" in damaged.error["cure"]
    assert run("cursors", "reset", "a").code == 1
    assert run("cursors", "reset", "a", "--to", "5").code == 0
    assert shown(run, "--cursor", "a") == [5, 6]
    (row,) = run("cursors", "delete", "a", "--json").rows
    assert row == {"name": "a", "deleted": True}
    assert Cursors(Home(home)).names() == []


def test_one_that_is_active_is_left_alone(run: Run, home: Path, apple: int) -> None:
    with start(home, "tail", "--cursor", "ops", "--follow", "--from", "0", "--json") as following:
        assert following.stdout is not None
        lines = [json.loads(following.stdout.readline()) for _ in range(7)]
        assert [line["offset"] for line in lines] == list(range(7))
        (row,) = run("cursors", "--json").rows
        assert row["state"] == "active"
        (row,) = run("cursors", "show", "ops", "--json").rows
        assert row["holder_pid"] == following.pid
        for words in (["reset", "ops", "--to", "now"], ["delete", "ops"]):
            refused = run("cursors", *words, "--json")
            assert refused.code == 1
            assert f"holder_pid={following.pid}" in refused.error["error"]
        busy = run("tail", "--cursor", "ops", "--json")
        assert busy.code == 1 and busy.error["error"].startswith("CursorBusy")
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 130
    (row,) = run("cursors", "--json").rows
    assert (row["state"], row["offset"]) == ("idle", 7)


def test_what_nobody_read_is_not_acknowledged(run: Run, home: Path, apple: int) -> None:
    with start(home, "tail", "--cursor", "ops", "--follow", "--from", "0") as following:
        assert following.stdout is not None
        following.stdout.close()
        assert following.wait(30) == 141
    assert shown(run, "--cursor", "ops")[0] <= 1, "at most what fitted before the pipe was gone"


def test_reading_needs_no_right_to_write(run: Run, home: Path, apple: int) -> None:
    shown(run, "--cursor", "a", "--limit", "1")
    before = {path: path.read_bytes() for path in (home / "cursors").iterdir()}
    assert run("cursors").code == 0 and run("cursors", "show", "a").code == 0
    assert {path: path.read_bytes() for path in (home / "cursors").iterdir()} == before


def test_those_of_the_market_log_are_known_by_their_prefix(run: Run, home: Path) -> None:
    run("init")
    shown(run, "--cursor", "scores")
    with MarketLog.of(home, retention=Retention(size_bytes_max=1 << 20)) as log:
        add(log, 5)
        log.subscribe("kind=sample", cursor="scores").close()
        add(log, 2)
        rows = run("cursors", "--json").rows
        assert [(row["name"], row["offset"], row["lag_events"]) for row in rows] == [
            ("scores", 0, 0), ("m:scores", "m:5", 2),
        ]  # fmt: skip
        table = run("cursors").out.splitlines()
        assert table[2].split()[:4] == ["m:scores", "idle", "m:5", "2"]
        (row,) = run("cursors", "reset", "m:scores", "--to", "m:1", "--json").rows
        assert list(row) == FIELDS + MORE and (row["name"], row["offset"]) == ("m:scores", "m:1")
        for wrong in ("1", "m:x", "m:8"):
            refused = run("cursors", "reset", "m:scores", "--to", wrong)
            assert refused.code == 2, refused.err
        fill(log)
        log.trim()
        first = log.first
    (_, late) = run("cursors", "--json").rows
    assert (late["state"], late["offset"]) == ("unusable", "m:1")
    assert run("cursors", "reset", "m:scores", "--to", "m:1").code == 2
    (row,) = run("cursors", "reset", "m:scores", "--to", "beginning", "--json").rows
    assert row["offset"] == f"m:{first}"
    assert run("cursors", "show", "m:scores").code == 0
    (row,) = run("cursors", "delete", "m:scores", "--json").rows
    assert row == {"name": "m:scores", "deleted": True}
    assert [row["name"] for row in run("cursors", "--json").rows] == ["scores"]
    assert Cursors(MarketHome(home)).names() == []
    missing = run("cursors", "reset", "m:scores", "--json")
    assert missing.code == 1 and "the cursor m:scores" in missing.error["doing"]


def test_what_a_paused_one_of_the_market_log_says_can_be_typed(run: Run, home: Path) -> None:
    run("init")
    with MarketLog.of(home) as log:
        add(log, 3)
        with log.subscribe(start="beginning", cursor="scores") as events:
            with pytest.raises(HandlerFailed) as failed:
                events.handle(lambda event: 1 / 0)
        with pytest.raises(CursorPaused) as paused:
            log.subscribe(cursor="scores")
    cures = [
        re.findall("`alphapulse (cursors reset [^`]*)`", error.advice)
        for error in (failed.value, paused.value)
    ]
    again, after = cures[0]
    assert cures[1] == cures[0]
    for words, offset in ((again, "m:0"), (after, "m:1")):
        (row,) = run(*words.split(), "--json").rows
        assert (row["state"], row["offset"]) == ("idle", offset)


def test_a_market_log_that_is_gone_hides_no_cursor_of_the_registry(run: Run, home: Path) -> None:
    run("init")
    shown(run, "--cursor", "scores")
    with MarketLog.of(home) as log:
        log.subscribe(cursor="scores").close()
    for gone in (MarketHome(home).log / "data.mdb", MarketHome(home).log):
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        listed = run("cursors", "--json")
        assert listed.code == 0
        assert [(row["name"], row["state"]) for row in listed.rows] == [
            ("scores", "idle"), ("m:scores", "unusable"),
        ]  # fmt: skip
        assert listed.rows[1]["error"] and listed.rows[1]["offset"] is None
    assert run("cursors", "delete", "m:scores").code == 0
    assert run("cursors", "delete", "m:scores").code == 1
    assert [row["name"] for row in run("cursors", "--json").rows] == ["scores"]
