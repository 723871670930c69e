from __future__ import annotations

import errno
import os
import shutil
import struct
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path

import lmdb
import pytest

from alphapulse.log import (
    ChainBroken,
    Corrupt,
    Draft,
    EventLog,
    HomeMissing,
    InstrumentBody,
    InvalidInput,
    Kind,
    Space,
    Verdict,
    verify_store,
)
from alphapulse.log.eventlog import Durability
from alphapulse.log.home import Home
from alphapulse.projections import VIEWS, VIEWS_BY_NAME, ViewFull, Views, ahead_of
from alphapulse.projections.layout import APPLIED, IN_PROGRESS
from alphapulse.registry import Registry, audit, facts_from, fingerprint_of, replay_into
from alphapulse.registry.audit import NAMES, Remembered, audit_views
from alphapulse.registry.facts import body_of

from .homes import APPLE, open_home, tokens

pytestmark = pytest.mark.usefixtures("forked_interpreters")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        registry.register_many(tokens(40), source="a")
        registry.amend(registry.log.event(0).entity, symbol="NEW")
    return tmp_path / "home"


def test_a_sound_home(home: Path) -> None:
    seen: Counter[str] = Counter()
    verdicts = audit(home, progress=lambda name, done: seen.update([name]))
    with EventLog.open(home, mode="r") as log:
        head = log.head
    assert tuple(each.name for each in verdicts) == NAMES
    assert all(each.ok and each.first_bad_offset is None for each in verdicts)
    assert [each.checked for each in verdicts[:4]] == [head] * 4
    assert verdicts[4].checked == head * len(VIEWS)
    assert seen["views"] > 0


def test_an_empty_home(tmp_path: Path) -> None:
    open_home(tmp_path / "home").close()
    assert all(each.ok for each in audit(tmp_path / "home"))


def test_no_home(tmp_path: Path) -> None:
    with pytest.raises(HomeMissing):
        audit(tmp_path)


def test_a_decision_that_nobody_could_make_fails_the_meaning(home: Path) -> None:
    """Bytes, continuity and chain are right: somebody wrote it past the registry."""
    with EventLog.open(home) as log:
        event = next(e for e in log.read() if e.kind == Kind.INSTRUMENT_AMENDED)
        body = event.body
        assert isinstance(body, InstrumentBody)
        head = log.head
        jumped = body_of(
            facts_from(body), id=event.entity, revision=9,
            fingerprint=fingerprint_of(body.extension.key), counter=body.extension.counter,
        )  # fmt: skip
        with log.writing() as session:
            session.append(
                Draft(Kind.INSTRUMENT_AMENDED, Space.INSTRUMENT, event.entity, event.offset, jumped)
            )
    verdicts = audit(home)
    assert [each.name for each in verdicts if not each.ok] == ["meaning", "views"]
    assert verdicts[4].detail == "not judged: meaning failed first"
    bad = verdicts[3]
    assert (bad.first_bad_offset, bad.checked) == (head, head)
    assert "revision 9 does not follow 2" in bad.detail
    assert f"--to {head - 1}" in bad.cure


@contextmanager
def without_block(home: Path, offset: int) -> Iterator[None]:
    """Takes a block out of the log behind its back, and puts it back."""
    key = struct.pack(">Q", offset)
    with lmdb.open(str(home / "log"), max_dbs=2) as env:
        db = env.open_db(b"blocks")
        with env.begin(write=True, db=db) as txn:
            data = txn.pop(key)
    yield
    with lmdb.open(str(home / "log"), max_dbs=2) as env:
        db = env.open_db(b"blocks")
        with env.begin(write=True, db=db) as txn:
            assert data is not None and txn.put(key, data)


def test_what_an_audit_found_stops_writers_until_one_finds_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(path: Path, *, progress: None) -> list[Verdict]:
        return verify_store(Home(path))  # without a child, which costs more than all the rest

    monkeypatch.setattr(import_module("alphapulse.registry.audit"), "verify_in_child", verify)
    with open_home(home) as registry:
        registry.register(APPLE)
        at = registry.log.head - 1
        registry.register_many(tokens(3, 80))
    with without_block(home, at):
        assert [each.name for each in audit(home) if not each.ok][:2] == ["continuity", "chain"]
        with open_home(home) as registry:
            assert f"at offset {at}" in registry.statistics().broken
            with pytest.raises(ChainBroken, match="a person decides"):
                registry.register_many(tokens(3, 90))
            assert registry.resolve(tokens(1)[0]) is not None
        kept = home.with_name("kept")
        replay_into(home, kept, at)
        with open_home(kept) as registry:
            assert registry.register(APPLE).outcome == "new"
    assert all(each.ok for each in audit(home))
    with open_home(home) as registry:
        assert registry.register_many(tokens(3, 90))[0].outcome == "new"


def test_a_fold_that_meets_a_break_marks_it_too(home: Path) -> None:
    with open_home(home) as registry:
        registry.register(APPLE)
        at = registry.log.head - 1
        registry.register_many(tokens(3, 80))
    shutil.rmtree(home / "views")
    with without_block(home, at):
        with pytest.raises(Corrupt):
            open_home(home)
        with EventLog.open(home) as log, pytest.raises(ChainBroken, match=f"at offset {at}"):
            log.check_writable()


def test_what_the_log_fails_is_not_judged_further(home: Path) -> None:
    data = (home / "checkpoints").read_text().splitlines()
    fields = data[-1].split()
    with open(home / "checkpoints", "a", encoding="ascii") as file:
        file.write(" ".join([str(int(fields[0]) + 5), *fields[1:]]) + "\n")
    verdicts = audit(home)
    assert [each.ok for each in verdicts[3:]] == [False, False]
    assert "not judged" in verdicts[3].detail
    assert verdicts[3].cure == next(each.cure for each in verdicts if not each.ok)


def test_a_view_that_says_something_else_fails_views_alone(home: Path) -> None:
    with open_home(home) as registry:
        table = registry.views._writers["instruments"]
        key, position = next(iter(table.keys()))
        trailer = table.trailer(position)
        payload = table.payload(position)[:108] + b"FAKE" + bytes(16)
        table.begin(registry.log.head + 1)
        table.put(
            key, payload, last_offset=trailer.last_offset, data_offset=trailer.data_offset,
            row_digest=trailer.row_digest + 1,
        )  # fmt: skip
        table.finish(registry.log.head)
        table.words[IN_PROGRESS] = registry.log.head
    verdicts = audit(home)
    assert [each.name for each in verdicts if not each.ok] == ["views"]
    assert "instruments differ" in verdicts[4].detail
    assert "rebuild" in verdicts[4].cure
    with Registry.open(home) as registry:
        registry.rebuild()
    assert all(each.ok for each in audit(home))


def without_its_last_block(home: Path) -> int:
    """Behind the log's back, and without the checkpoints that knew of it; the head that is left."""
    (home / "checkpoints").unlink()
    with lmdb.open(str(home / "log"), max_dbs=2) as env:
        blocks = env.open_db(b"blocks")
        with env.begin(write=True, db=blocks) as txn, txn.cursor() as cursor:
            assert cursor.last()
            head = int.from_bytes(cursor.key(), "big")
            cursor.delete()
    return head


def test_views_that_saw_more_are_evidence_of_a_cut_tail(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EventLog.open(home, mode="r") as log:
        before = log.head
    head = without_its_last_block(home)
    verdicts = audit(home)
    assert [each.ok for each in verdicts] == [True, True, False, False, False]
    assert verdicts[2].first_bad_offset == head
    assert f"ends at {head}, but the view instruments saw it at {before}" in verdicts[2].detail
    assert f"replay --to {head - 1}" in verdicts[2].cure
    with EventLog.open(home, mode="r") as log:
        assert ahead_of(log) == ("instruments", before, head), "the audit left the evidence there"
        with closing(Views(log)) as views:
            assert views.rebuilt == list(VIEWS_BY_NAME)  # that takes it away, and says so
        assert f"the log has {head} events, but instruments, " in caplog.text
        assert ahead_of(log) is None
    again = audit(home)
    assert not again[2].ok, "the mark remembers it"
    assert f"ends at {head}, but an earlier audit saw it at {before}" in again[2].detail
    with pytest.raises(ChainBroken), EventLog.open(home) as log, log.writing():
        pass


def test_a_view_with_a_damaged_header_is_no_evidence(home: Path) -> None:
    (path,) = (home / "views").glob("instruments.*")
    for words in ((APPLIED, IN_PROGRESS), (IN_PROGRESS,)):
        with open(path, "r+b") as file:
            for word in words:
                file.seek(8 * word)
                file.write((1 << 40).to_bytes(8, "little"))
        with EventLog.open(home, mode="r") as log:
            assert ahead_of(log) is None


def test_lagging_and_missing_views_are_healed_first(home: Path) -> None:
    (home / "views" / "listings.1").unlink()
    with EventLog.open(home, mode="r") as log:
        assert audit_views(log).ok
        views = Views(log)
        assert views.rebuilt == []
        views.close()


def test_views_that_cannot_be_built_leave_the_other_verdicts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, which this acts."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files = sorted((home / "views").iterdir())
    monkeypatch.setattr(os, "posix_fallocate", full)
    *others, views = audit(home)
    assert [each.name for each in others] == list(NAMES[:4])
    assert all(each.ok for each in others)
    assert (views.name, views.ok, views.first_bad_offset) == ("views", False, None)
    assert views.detail.startswith("not judged: making view ")
    assert ViewFull.problem in views.detail
    assert views.cure == ViewFull.cure
    assert sorted((home / "views").iterdir()) == files
    monkeypatch.undo()
    assert all(each.ok for each in audit(home))


@pytest.mark.parametrize("durability", ["fsync", "relaxed"])
def test_a_home_that_this_process_writes_to_is_read_all_the_same(
    on_disk: Path, durability: str
) -> None:
    """Durability is a promise of those who write: to audit, replay and readers it is nothing."""
    with open_home(on_disk / "home", durability=durability) as registry:
        registry.register_many(tokens(3))
        assert all(each.ok for each in audit(on_disk / "home"))
        assert replay_into(on_disk / "home", on_disk / "copy", 2).events == 2
        with Registry.open(on_disk / "home", mode="r") as reader:
            durable = registry.register_many(tokens(1, 9))[0].durable
            assert durable == (durability == "fsync")
            assert reader.log.head == registry.log.head == 4
        other: Durability = "relaxed" if durability == "fsync" else "fsync"
        with pytest.raises(InvalidInput, match="another durability"):
            EventLog.open(on_disk / "home", durability=other)


def test_the_memory_of_the_audit_grows_slowly(tmp_path: Path) -> None:
    """By the same for each entity; the README states it for a large log."""
    with open_home(tmp_path / "home") as registry:
        registry.register_many(tokens(2_000))
        state = Remembered(registry.log.genesis.id_bits)
        held_size_bytes = []
        tracemalloc.start()
        try:
            for event in registry.read():
                state.fold(event)
                if event.offset in (999, 1_999):
                    held_size_bytes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert held_size_bytes[1] - held_size_bytes[0] < 280 * 1_000
