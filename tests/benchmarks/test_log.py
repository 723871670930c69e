"""The benchmark of the log: stores give back the events they got, and no writer fails unseen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from alphapulse.log import Event
from benchmarks import appends, dispatch, follow, harness, log, scans
from benchmarks.budgets import BUDGETS, EVENTSOURCING, OURS, UMADB
from benchmarks.data import Homes
from benchmarks.harness import Row, Timing, rows_of, table
from benchmarks.peers import CLUSTERED, SPREAD, Append, Made, OurLog, checked, made, open_stores
from benchmarks.topics import Context

PEERS = {"LMDB", "SQLite", "SQLite, indexed", EVENTSOURCING, UMADB}


def test_stores_give_back_what_they_got(tmp_path: Path) -> None:
    events = list(made(1_000))
    with ExitStack() as opened:
        stores = open_stores(tmp_path, opened)
        scans.fill(stores, events)
        stores.registry.writer()(events[:1])
        stores.registry.writer()(events[1:])
        for chain in (None, SPREAD, CLUSTERED):
            wanted = [one.frame for one in events if chain in (None, one.chain)]
            assert len(wanted) in (1_000, 10, 9), "all, or about 1%"
            for store in stores.all:
                found = [Event(frame) for frame in store.frames(chain)]
                assert [one.body for one in found] == [Event(frame).body for frame in wanted]
            assert all(list(store.frames(chain)) == wanted for store in stores.peers)
        modes = {store.who: store.mode for store in stores.all}
        assert "synchronous FULL" in modes["SQLite"] and "fdatasync" in modes["LMDB"]
        assert {store.who for store in stores.peers} | set(stores.absent) == PEERS


def test_a_damaged_frame_is_not_counted() -> None:
    (one,) = made(1)
    assert checked(one.frame) == one.frame
    with pytest.raises(RuntimeError, match="damaged"):
        checked(one.frame[:-1] + bytes([one.frame[-1] ^ 1]))


def _of(name: str) -> Iterator[Row]:
    yield from rows_of(name, "x", 1, {OURS: Timing(1.0)})


def test_all_parts_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(appends, "EACH", {1: 2, 16: 1, 64: 1})
    monkeypatch.setattr(appends, "ROUNDS", 2)
    monkeypatch.setattr(appends, "BATCHES", 1)
    monkeypatch.setattr(harness, "private_dirty_bytes", lambda: 4096)  # slow in a large process
    monkeypatch.setattr(log, "EVENTS_MAX", 1_000)
    monkeypatch.setattr(follow, "run", lambda context: _of("follow"))
    monkeypatch.setattr(dispatch, "run", lambda context: _of("dispatch"))
    monkeypatch.setitem(sys.modules, "umadb", None)
    rows = list(log.run(Context(1_000, Homes(tmp_path))))
    assert [row.benchmark for row in rows[-2:]] == ["follow", "dispatch"]
    del rows[-2:]
    assert not list(tmp_path.iterdir()), "the stores are removed"
    cases = list(dict.fromkeys(row.case for row in rows))
    assert cases == list(dict.fromkeys(case for topic, case, _ in BUDGETS if topic == "log"))
    for case in cases:
        of_case = {row.who: row for row in rows if row.case == case}
        assert of_case.keys() >= PEERS | {OURS}
        assert "not installed" in of_case.pop(UMADB).note
        del of_case[EVENTSOURCING]  # installed or not
        assert all(row.rate_per_s for row in of_case.values())
        if case.startswith("append"):
            assert all(row.p50_ns and row.p999_ns for row in of_case.values())
            assert "durable" in of_case[OURS].note.lower()
    text = table(rows)
    assert text.count("synchronous FULL: one fsync") <= 3, "a note is given once"


def test_a_writer_that_fails_fails_the_benchmark(tmp_path: Path) -> None:
    class Failing(OurLog):
        def writer(self) -> Append:
            def fail(events: Sequence[Made]) -> NoReturn:
                raise OSError("no more")

            return fail

    class NotBegun(OurLog):
        def writer(self) -> NoReturn:
            raise OSError("not even begun")

    shares = [[[one]] for one in made(2)]
    for kind in (Failing, NotBegun):
        with ExitStack() as opened:
            (place := tmp_path / kind.__name__).mkdir()
            store = kind(place)
            opened.callback(store.close)
            with pytest.raises(RuntimeError, match="of 2 failed") as caught:
                appends._write(store, shares)
        assert isinstance(caught.value.__cause__, OSError)
