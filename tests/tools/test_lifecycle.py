from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from alphapulse.log import EventLog
from alphapulse.registry import Equity, Registry

from .conftest import APPLE, Run


def digests(run: Run, home: Path) -> tuple[object, object]:
    (row,) = run("stats", "--home", str(home), "--json").rows
    return row["chain_head"], {name: view["digest"] for name, view in row["views"].items()}


def test_there_and_back_by_a_backup(run: Run, home: Path, tmp_path: Path, apple: int) -> None:
    b, back = str(tmp_path / "b"), tmp_path / "back"
    (made,) = run("backup", b, "--json").rows
    assert list(made) == ["from", "into", "events", "chain_head", "size_bytes", "verified"]
    assert (made["from"], made["into"], made["events"], made["verified"]) == (str(home), b, 7, True)
    (restored,) = run("restore", b, "--home", str(back), "--json").rows
    assert list(restored) == ["from", "into", "events", "chain_head", "size_bytes"]
    assert (restored["from"], restored["into"], restored["events"]) == (b, str(back), 7)
    assert restored["chain_head"] == made["chain_head"]
    assert digests(run, back) == digests(run, home)
    assert run("audit", "--home", str(back)).code == 0
    assert run("restore", b, "--home", str(back)).code == 2
    with Registry.open(home) as registry:
        registry.register(Equity(isin="US5949181045"))
    (again,) = run("backup", b, "--no-verify", "--json").rows
    assert (again["events"], again["verified"]) == (8, False)
    people = run("backup", b, "--no-verify")
    assert "verified    no\n" in people.out and "restore" in people.err


def test_restore_and_fork_to_a_point(run: Run, home: Path, tmp_path: Path, apple: int) -> None:
    run("backup", str(tmp_path / "b"), "--no-verify")
    time = run("tail", "--json").rows[2]["recorded"]
    (restored,) = run("restore", str(tmp_path / "b"), "--to", time, "--home", str(tmp_path / "r"),
                      "--json").rows  # fmt: skip
    (forked,) = run("fork", str(tmp_path / "f"), "--at", "2", "--json").rows
    assert list(forked) == ["from", "into", "events", "chain_head", "size_bytes"]
    with EventLog.open(home, mode="r") as log:
        assert forked["chain_head"] == restored["chain_head"] == log.chain_at(3).hex()
    assert digests(run, tmp_path / "f") == digests(run, tmp_path / "r")
    assert run("audit", "--home", str(tmp_path / "f")).code == 0
    assert run("amend", APPLE, "--symbol", "X", "--home", str(tmp_path / "f")).code == 0
    with EventLog.open(home, mode="r") as log, EventLog.open(tmp_path / "f", mode="r") as fork:
        assert (log.head, fork.head) == (7, 4)


def test_a_cursor_that_restore_sets_back_is_shown_and_reset(
    run: Run, home: Path, tmp_path: Path, apple: int
) -> None:
    assert run("tail", "--cursor", "late").code == 0
    run("backup", str(tmp_path / "b"), "--no-verify")
    back = ("--home", str(tmp_path / "r"))
    assert run("restore", str(tmp_path / "b"), "--to", "3", *back).code == 0
    why = "log restored: to head 4, behind where this cursor was (offset 7)"
    for words in ((), ("show", "late")):
        (row,) = run("cursors", *words, *back, "--json").rows
        assert (row["state"], row["offset"], row["error"]) == ("paused", 4, why)
    for number in range(5):
        assert run("amend", APPLE, "--symbol", f"X{number}", *back).code == 0
    paused = run("tail", "--cursor", "late", *back, "--json")
    assert paused.code == 1 and why in paused.error["error"]
    assert "`alphapulse cursors reset late` goes on at offset 4" in paused.error["cure"]
    (row,) = run("cursors", "reset", "late", *back, "--json").rows
    assert (row["state"], row["offset"], row["error"]) == ("idle", 4, None)
    assert [row["offset"] for row in run("tail", "--cursor", "late", *back, "--json").rows] == [
        4, 5, 6, 7, 8,
    ]  # fmt: skip


def test_there_and_back_by_a_file(run: Run, home: Path, tmp_path: Path, apple: int) -> None:
    file, back = str(tmp_path / "log.aplog"), tmp_path / "back"
    (made,) = run("export", file, "--json").rows
    assert list(made) == ["from", "file", "events", "chain_head", "size_bytes"]
    assert made["size_bytes"] == (tmp_path / "log.aplog").stat().st_size
    (read,) = run("import-log", file, "--home", str(back), "--json").rows
    assert list(read) == ["file", "into", "events", "chain_head", "size_bytes"]
    assert (read["chain_head"], read["events"]) == (made["chain_head"], 7)
    assert digests(run, back) == digests(run, home)
    assert run("audit", "--home", str(back)).code == 0
    (part,) = run("export", str(tmp_path / "part"), "--to", "2", "--json").rows
    with EventLog.open(home, mode="r") as log:
        assert (part["events"], part["chain_head"]) == (3, log.chain_at(3).hex())


@pytest.mark.parametrize(
    "words, code, error, said",
    [
        ("restore {0}/missing --home {0}/r", 2, "NotABackup", "there is no such directory"),
        ("restore {0}/home --home {0}/r", 2, "NotABackup", "it has no backup.json"),
        ("restore {0}/b", 2, "HomeExists", "already a registry home"),
        ("restore {0}/b --to 7 --home {0}/r", 2, "OffsetOutOfRange", "no such event"),
        ("restore {0}/b --to soon --home {0}/r", 2, "InvalidInput", ""),
        ("restore {0}/b --to -1 --home {0}/r", 2, "InvalidInput", "offsets start at 0"),
        ("restore {0}/bad --home {0}/r", 1, "Corrupt", "is damaged"),
        ("restore {0}/b --home {0}/b/views/r", 2, "InvalidInput", "within a home"),
        ("backup {0}/home/views/deep/er", 2, "InvalidInput", "within a home"),
        ("backup {0}/link/r", 2, "InvalidInput", "within a home"),
        ("fork {0}/home/r --at 1", 2, "InvalidInput", "within a home"),
        ("export {0}/home/file", 2, "InvalidInput", "within a home"),
        ("backup {0}/home", 2, "NotABackup", "it has no backup.json"),
        ("backup {0}/full", 2, "HomeExists", "letter"),
        ("fork {0}/r --at 7", 2, "OffsetOutOfRange", "no such event"),
        ("fork {0}/r --at -5", 2, "InvalidInput", "offsets start at 0"),
        ("fork {0}/full --at 1", 2, "HomeExists", "letter"),
        ("export {0}/file", 2, "InvalidInput", "a file of that name"),
        ("export {0}/no/file", 2, "InvalidInput", "No such file"),
        ("import-log {0}/missing --home {0}/r", 2, "NotAnExport", "No such file"),
        ("import-log {0}/full/letter --home {0}/r", 2, "NotAnExport", "does not begin like one"),
        ("import-log {0}/cut --home {0}/r", 1, "ExportDamaged", "cut short"),
        ("import-log {0}/file", 2, "HomeExists", "already a registry home"),
    ],
)
def test_what_cannot_be_is_said_clearly(
    run: Run, tmp_path: Path, apple: int, words: str, code: int, error: str, said: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear all")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    run("export", str(tmp_path / "file"))
    (tmp_path / "cut").write_bytes((tmp_path / "file").read_bytes()[:-1])
    if "/b" in words:
        run("backup", str(tmp_path / "b"), "--no-verify")
    if "/bad" in words:
        run("backup", str(tmp_path / "bad"), "--no-verify")
        file = tmp_path / "bad" / "log" / "data.mdb"
        file.write_bytes(file.read_bytes().replace(b"Apple Inc.", b"Apple Ink."))
    ran = run(*words.format(tmp_path).split(), "--json")
    assert (ran.code, ran.out) == (code, "")
    assert ran.error["error"].startswith(f"{error}: ") and said in ran.error["error"]
    assert ran.error["cure"] and not (tmp_path / "r").exists()


def test_a_directory_of_other_logs_is_no_home(run: Run, tmp_path: Path, apple: int) -> None:
    (tmp_path / "var" / "log").mkdir(parents=True)
    assert run("backup", str(tmp_path / "var" / "b"), "--no-verify").code == 0
    assert run("export", str(tmp_path / "var" / "file")).code == 0


def test_the_manifest_is_json(run: Run, tmp_path: Path, apple: int) -> None:
    run("backup", str(tmp_path / "b"), "--no-verify")
    found = json.loads((tmp_path / "b" / "backup.json").read_text())
    assert list(found) == ["format", "log_id", "head", "chain_head", "created", "size_bytes",
                           "verified"]  # fmt: skip


def test_a_new_home_before_the_first_event_is_said_to_be_empty(
    run: Run, tmp_path: Path, apple: int
) -> None:
    ran = run("fork", str(tmp_path / "f"), "--at", "1999-01-01")
    assert ran.code == 0 and "nothing was recorded by 1999-01-01: the new home is empty" in ran.err
    assert "empty" not in run("fork", str(tmp_path / "g"), "--at", "0").err


def test_an_export_does_not_go_to_a_file_called_minus(
    run: Run, tmp_path: Path, apple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("export", "-")
    assert ran.code == 2 and "name one" in ran.err and not (tmp_path / "-").exists()


def test_samples_stay_behind_and_a_lost_log_comes_back_beside_them(
    run: Run, home: Path, tmp_path: Path, apple: int
) -> None:
    b, left = str(tmp_path / "b"), "not in it: the samples of venues in market/"
    assert run("venue", "add", "XNAS").code == 0
    assert left not in run("backup", b, "--no-verify").err
    sample = {"venue": "XNAS", "measure": "ack", "time": time.time_ns(), "latency_ns": 1}
    assert run("performance", "add", "-", stdin=json.dumps(sample)).code == 0
    for words in (
        ("backup", b, "--no-verify"), ("export", str(tmp_path / "file")),
        ("fork", str(tmp_path / "f"), "--at", "2"),
        ("replay", "--to", "2", "--into", str(tmp_path / "r")),
    ):  # fmt: skip
        assert left in run(*words).err
    (window,) = run("performance", "show", "XNAS", "--json").rows
    head = digests(run, home)
    shutil.rmtree(home / "log")
    lost = run("stats", "--json")
    assert "`alphapulse restore BACKUP`" in lost.error["cure"]
    assert run("restore", b).code == 0
    assert digests(run, home) == head and run("audit").code == 0
    assert run("performance", "show", "XNAS", "--json").rows == [window]
