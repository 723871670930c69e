from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from alphapulse.projections import Rebuilt
from alphapulse.registry import Registry

from .conftest import Run

NAMES = ["bytes", "continuity", "chain", "meaning", "views"]


def test_a_good_home_passes(run: Run, apple: int) -> None:
    ran = run("audit", "--json")
    assert ran.code == 0
    assert [row["verdict"] for row in ran.rows] == NAMES
    for row in ran.rows:
        assert list(row) == [
            "verdict", "ok", "checked", "rate_per_s", "first_bad_offset", "detail", "cure"
        ]  # fmt: skip
        assert (row["ok"], row["first_bad_offset"]) == (True, None)
        assert (row["detail"], row["cure"]) == (None, None)
    assert [row["checked"] for row in ran.rows] == [7, 7, 7, 7, 70]
    people = run("audit")
    assert people.code == 0
    assert people.out.count(" ok ") == 5


def test_a_flipped_bit_fails_and_names_the_place(run: Run, home: Path, apple: int) -> None:
    file = home / "log" / "data.mdb"
    data = bytearray(file.read_bytes())
    at = data.rindex(b"Apple Inc.")
    data[at] ^= 1
    file.write_bytes(data)
    ran = run("audit", "--json")
    assert ran.code == 1
    bad = {row["verdict"]: row for row in ran.rows if not row["ok"]}
    assert bad["bytes"]["first_bad_offset"] == 0
    assert bad["bytes"]["cure"]
    people = run("audit")
    assert people.code == 1
    assert "FAILED" in people.out
    assert "cure: " in people.err


def test_a_home_without_checkpoints_passes_with_a_note(run: Run, home: Path, apple: int) -> None:
    (home / "checkpoints").unlink()
    people = run("audit")
    assert people.code == 0
    assert people.out.count(" ok ") == 5
    assert "a cut tail would not show" in people.out
    notes = {row["verdict"]: row["detail"] for row in run("audit", "--json").rows if row["detail"]}
    assert list(notes) == ["chain"]


def test_a_full_disk_fails_the_views_and_shows_what_was_judged(
    run: Run, apple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    ran = run("audit", "--json")
    assert ran.code == 1
    assert [(row["verdict"], row["ok"]) for row in ran.rows] == [
        *((name, True) for name in NAMES[:4]), ("views", False)
    ]  # fmt: skip
    assert ran.rows[-1]["cure"].startswith("free disk space")
    people = run("audit")
    assert (people.code, people.out.count(" ok ")) == (1, 4)
    assert "no space" in people.out
    assert "cure: free disk space" in people.err


def test_rebuild_and_compare(run: Run, apple: int) -> None:
    ran = run("rebuild", "--check", "--json")
    assert ran.code == 0
    assert [row["view"] for row in ran.rows] == [
        "instruments", "listings", "relations", "alerts", "requests", "feeds", "imports",
        "candidates", "proposals", "venues",
    ]  # fmt: skip
    for row in ran.rows:
        assert list(row) == ["view", "events", "events_per_s", "digest", "live_digest", "equal"]
        assert row["equal"]
        assert row["digest"] == row["live_digest"]
        assert len(bytes.fromhex(row["digest"])) == 32
    (one,) = run("rebuild", "listings", "--json").rows
    assert (one["view"], one["events"], one["equal"]) == ("listings", 7, True)
    assert "equal" in run("rebuild").out
    assert run("lookup", "AAPL").code == 0


@pytest.mark.parametrize("words, code", [(["--check"], 1), ([], 0)])
def test_a_difference_names_the_rows(
    run: Run, apple: int, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    def differ(*_: object, **__: object) -> list[Rebuilt]:
        return [Rebuilt("instruments", 7, 1, bytes(32), b"\1" * 32, [apple])]

    monkeypatch.setattr(Registry, "rebuild", differ)
    machine = run("rebuild", *words, "--json")
    assert machine.code == code
    assert not machine.rows[0]["equal"]
    assert f"0x{apple:016x}" in machine.err
    assert "differs" in run("rebuild", *words).out
