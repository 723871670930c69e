from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from subprocess import Popen

import pytest

from tests.registry.discovery.drops import content, drop

from .conftest import Run, start

pytestmark = pytest.mark.usefixtures("forked_interpreters")


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    (tmp_path / "feeds").mkdir()
    return tmp_path / "feeds"


def test_once(run: Run, feeds: Path) -> None:
    drop(feeds, "a.csv", content(1, rows=2))
    first = run("watch", str(feeds), "--once", "--settle", "0")
    assert (first.code, first.out) == (
        0, "imported  a.csv as listings-csv of a: 2 rows, 2 new  offset 4\n"
    )  # fmt: skip
    assert first.err == "1 imported, 0 known already, 0 refused\n"
    again = run("watch", str(feeds), "--once", "--settle", "0")
    assert (again.code, again.out) == (0, "")
    assert again.err == "0 imported, 1 known already, 0 refused\n"
    assert "a.csv as listings-csv: 2 rows, 2 new (a)" in run("tail", "kind=feed").out


def test_json_and_a_feeds_file(run: Run, feeds: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.csv")
    drop(feeds, name, content(1) + "US0000000000,XNAS,BAD,USD\n")
    (feeds / "link.csv").symlink_to("a")
    (tmp_path / "feeds.toml").write_text('[[feed]]\npattern = "*.csv"\nsource = "desk"\n')
    words = ("--once", "--settle", "0", "--feeds", str(tmp_path / "feeds.toml"), "--json")
    ran = run("watch", str(feeds), *words)
    (row,) = ran.rows
    assert ran.code == 1 and list(row) == [
        "file", "format", "rows", "new", "unchanged", "amended", "quarantined", "collisions",
        "conflicts", "quarantine_file", "relations", "relations_new", "relations_waiting",
        "relations_met", "relations_quarantined", "warnings", "source", "content_hash", "offset",
    ]  # fmt: skip
    assert (row["file"], row["source"]) == (f"{feeds}/\\xff.csv", "desk")
    assert (row["new"], row["quarantined"], row["offset"]) == (1, 1, 2)
    assert ran.error["error"].endswith("it is a symbolic link")


def test_a_name_that_acts_is_escaped(run: Run, feeds: Path) -> None:
    drop(feeds, "a\x1b[2J\n.csv", content(1))
    ran = run("watch", str(feeds), "--once", "--settle", "0")
    assert ran.code == 0 and "a\\x1b[2J\\n.csv" in ran.out and "\x1b" not in ran.out


@pytest.mark.parametrize("toml, why", [
    ("[[feed]", "not TOML"), ('[[feed]]\npattern = "*"\nformat = "x"', "no format 'x'"),
    (None, "cannot be read"),
])  # fmt: skip
def test_a_bad_feeds_file_makes_no_home(
    run: Run, home: Path, feeds: Path, tmp_path: Path, toml: str | None, why: str
) -> None:
    if toml is not None:
        (tmp_path / "feeds.toml").write_text(toml)
    ran = run("watch", str(feeds), "--feeds", str(tmp_path / "feeds.toml"))
    assert ran.code == 2 and why in ran.err and str(tmp_path / "feeds.toml") in ran.err
    assert run("watch", str(tmp_path / "none")).code == 2
    assert not home.exists()


def line(process: Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_until_a_signal(home: Path, feeds: Path, number: int) -> None:
    drop(feeds, "a.csv", content(1))
    with start(home, "watch", str(feeds), "--settle", "0.05", "--json") as process:
        assert json.loads(line(process))["file"] == str(feeds / "a.csv")
        drop(feeds, "b.csv", content(2))
        assert json.loads(line(process))["new"] == 1
        time.sleep(0.2)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_what_is_odd_about_fees_is_told(run: Run, feeds: Path) -> None:
    run("venue", "add", "kraken")
    drop(feeds, "fees.csv", "venue,side,value,volume_from\nkraken,both,0.1,\nkraken,both,0.2,5\n")
    ran = run("watch", str(feeds), "--once", "--settle", "0")
    assert ran.code == 0 and "fees-csv" in run("tail", "kind=feed").out
    assert "warning: kraken: schedule 0, line 1: 0.2 from volume 5 on" in ran.err
