from __future__ import annotations

import os
from pathlib import Path

import pytest

from alphapulse.log import broken
from alphapulse.log.broken import keep_mark, mark_broken, marking, read_mark
from alphapulse.log.errors import ChainBroken, Corrupt
from alphapulse.log.eventlog import EventLog
from alphapulse.log.home import Home
from alphapulse.log.verify import Verdict, cure_at

from .logs import fill, make_log

GOOD = [Verdict(name, True, 3, 1) for name in ("bytes", "continuity", "chain", "meaning")]
BAD = [
    GOOD[0],
    Verdict("continuity", False, 3, 1, 5, "block 5 is gone", cure_at(5)),
    Verdict("chain", False, 3, 1, 4, ChainBroken.problem, cure_at(4)),
    GOOD[3],
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    make_log(tmp_path / "home", [2]).close()
    return Home(tmp_path / "home")


def test_a_marked_log_is_read_and_not_written_until_the_mark_is_lifted(home: Home) -> None:
    with EventLog.open(home.path) as opened:
        fill(opened, [1])
        assert keep_mark(home, BAD) == BAD
        for again in (opened, EventLog.open(home.path)):
            with again, pytest.raises(ChainBroken) as raised:
                fill(again, [1])
            assert "found broken at offset 4" in again.broken
            assert raised.value.why.count("read-only until a person decides") == 1
            assert "replay --to 3 --into DIR" in raised.value.advice
        with EventLog.open(home.path, mode="r") as log:
            assert (log.head, len(list(log.read()))) == (3, 3)
    assert keep_mark(home, GOOD) == GOOD
    with EventLog.open(home.path) as log:
        fill(log, [1])
        assert (log.head, log.broken) == (4, "")
    assert not home.broken.exists()


def test_meaning_and_views_make_no_mark(home: Home) -> None:
    keep_mark(home, [*GOOD[:3], GOOD[3]._replace(ok=False)])
    assert read_mark(home) is None


def test_where_no_mark_can_be_looked_for_it_is_opened(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    mark_broken(home, "a chain", 3, "")
    monkeypatch.setattr(os, "lstat", refused)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    mark = read_mark(home)
    assert mark is not None and mark.offset == 3
    home.broken.unlink()
    assert read_mark(home) is None


@pytest.mark.parametrize("text", [b"", b"{", b'{"found":1}', b"\xff" * 9])
def test_a_mark_that_cannot_be_read_counts(home: Home, text: bytes) -> None:
    home.broken.write_bytes(text)
    with EventLog.open(home.path) as log, pytest.raises(ChainBroken, match="cannot be read"):
        fill(log, [1])


def test_who_may_not_write_says_that_nothing_stops_writers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    mark_broken(home, "it was cut", 1, "mend it")
    with monkeypatch.context() as patch:
        patch.setattr(broken, "replace_file", refuse)
        said = keep_mark(home, BAD)
        assert [verdict.ok for verdict in said] == [True, False, False, True]
        assert all("nothing stops writers" in verdict.cure for verdict in said[1:3])
        patch.setattr(Path, "unlink", refuse)
        said = keep_mark(home, GOOD)
    assert all(verdict.ok for verdict in said) and "stays read-only" in said[2].detail
    assert read_mark(home) is not None


def test_what_a_reader_meets_is_marked_unless_it_may_pass(home: Home) -> None:
    passing = Corrupt("reading", offset=1)
    passing.__cause__ = OSError(5, "I/O error")
    first = Corrupt("reading", problem="a block is missing", offset=7)
    for error in (passing, Corrupt("reading"), first, Corrupt("reading", offset=8)):
        assert error.facts.get("offset") == 8 or read_mark(home) is None
        with pytest.raises(Corrupt), marking(home):
            raise error
    mark = read_mark(home)
    assert mark is not None and (mark.offset, mark.reason) == (7, "a block is missing")
    assert os.stat(home.broken).st_mode & 0o777 == 0o600
