from __future__ import annotations

import os
import re
import resource
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alphapulse.log import cursors as cursors_module
from alphapulse.log.cursors import (
    Cursor,
    CursorError,
    Cursors,
    check_fits,
    decode_cursor,
    encode_cursor,
)
from alphapulse.log.errors import (
    CursorBusy,
    CursorDamaged,
    CursorForeign,
    CursorMissing,
    CursorNotSaved,
    InvalidInput,
    OffsetOutOfRange,
    SystemRefused,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.times import format_time

from .builders import TIME
from .logs import GENESIS, fill, flips, make_log, python, says

pytestmark = pytest.mark.usefixtures("forked_interpreters")

EXAMPLE = Cursor(
    name="billing", log_id=GENESIS.log_id.hex(), pattern="class=token chain=eip155:1",
    offset=1204, state="paused",
    error=CursorError("ValueError", "no price", 1204, 1_764_000_000_123_456_789),
    saved=1_764_000_000_123_456_790,
)  # fmt: skip


def cursor_of(log: EventLog, name: str = "a", **fields: Any) -> Cursor:
    given = {"pattern": "", "offset": 0, "log_id": log.genesis.log_id.hex(), **fields}
    return Cursor(name=name, **given)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [3, 4]) as made:
        yield made


@pytest.fixture
def cursors(log: EventLog) -> Cursors:
    return Cursors(log.home)


def path_of(log: EventLog, name: str = "a") -> Path:
    return log.home.cursors / f"{name}.cursor"


def test_the_file_is_the_one_of_the_format() -> None:
    text = (Path(__file__).parents[2] / "log" / "FORMAT.md").read_text(encoding="utf-8")
    found = re.search(r"```text cursor\n(.*?\n)```", text, re.DOTALL)
    assert found is not None
    assert found[1].encode() == encode_cursor(EXAMPLE)
    assert decode_cursor(found[1].encode(), "billing") == EXAMPLE


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    data = encode_cursor(EXAMPLE)
    damaged = [changed for _, changed in flips(data)]
    damaged += [data[:size] for size in range(len(data))]
    damaged += [data + b"\n", bytes(len(data)), b"x" * 100_000]
    for changed in damaged:
        with pytest.raises(CursorDamaged) as caught:
            decode_cursor(changed, "billing")
        assert "alphapulse cursors reset billing --to" in caught.value.advice


@pytest.mark.parametrize(
    "fields",
    [{"format": 2}, {"offset": -1}, {"name": "other"}, {"state": "odd"}, {"pattern": 7},
     {"offset": 1.5}, {"state": "paused", "error": None}],
)  # fmt: skip
def test_what_another_hand_wrote_is_refused(fields: dict[str, object]) -> None:
    """The CRC is right; what it says is not."""
    body = msgspec.json.encode(msgspec.to_builtins(EXAMPLE) | fields)
    with pytest.raises(CursorDamaged):
        decode_cursor(b"%08x %b\n" % (zlib.crc32(body), body), "billing")
    for other in (b"[]", b'"x"', b"{}", b"\xff"):
        with pytest.raises(CursorDamaged):
            decode_cursor(b"%08x %b\n" % (zlib.crc32(other), other), "billing")


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-9", "x" * 64, "a.cursor"])
def test_names_that_are_fine(log: EventLog, cursors: Cursors, name: str) -> None:
    cursors.write(cursor_of(log, name))
    assert cursors.names() == [name] and cursors.read(name).name == name
    assert path_of(log, name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a/b", "../a", "x" * 65, "ä", "a\n", "a b"])
def test_names_that_are_not(log: EventLog, cursors: Cursors, name: str) -> None:
    for use in (cursors.read, cursors.hold, cursors.delete, lambda n: cursors.reset(n, log)):
        with pytest.raises(InvalidInput):
            use(name)
    assert list(log.home.cursors.iterdir()) == []


def test_what_is_no_cursor_is_not_listed(log: EventLog, cursors: Cursors) -> None:
    cursors.write(cursor_of(log))
    for other in (".b.tmp", "note.txt", "-c.cursor"):
        (log.home.cursors / other).write_text("x")
    assert cursors.names() == ["a"]


def test_one_that_is_missing(log: EventLog, cursors: Cursors) -> None:
    for use in (cursors.read, cursors.delete, lambda n: cursors.reset(n, log, "beginning")):
        with pytest.raises(CursorMissing):
            use("a")
    assert cursors.holder_pid("a") is None
    assert list(log.home.run.glob("cursor.*")) == [], "a name that was mistyped leaves no file"


def test_a_failed_write_leaves_the_old_file(
    log: EventLog, cursors: Cursors, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors.write(cursor_of(log, offset=1))
    real = os.fsync

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CursorNotSaved, match="No space left"):
        cursors.write(cursor_of(log, offset=2))
    monkeypatch.setattr(os, "fsync", real)
    assert cursors.read("a").offset == 1
    cursors.write(cursor_of(log, offset=2))
    assert cursors.read("a").offset == 2


def test_no_descriptor_left_is_told(cursors: Cursors, log: EventLog) -> None:
    cursors.write(cursor_of(log))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for look in (cursors.read, cursors.holder_pid):
            with pytest.raises(SystemRefused, match="Too many open files"):
                look("a")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_short_write_leaves_the_old_file(log: EventLog) -> None:
    """As of a disk that has room for a part: the first write is short, the next one fails."""
    Cursors(log.home).write(cursor_of(log))
    code = """
        import resource, signal, sys
        from pathlib import Path
        from alphapulse.log.cursors import Cursor, Cursors
        from alphapulse.log.errors import CursorNotSaved
        from alphapulse.log.home import Home
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
        try:
            cursor = Cursor(name="a", log_id="", pattern="x" * 2_000, offset=1)
            Cursors(Home(Path(sys.argv[1]))).write(cursor)
        except CursorNotSaved:
            print("refused")
    """
    assert python(code, log.home.path).communicate()[0] == "refused\n"
    assert Cursors(log.home).read("a").offset == 0


def test_a_file_is_synced_before_it_is_renamed(
    log: EventLog, cursors: Cursors, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*given: object) -> None:
            done.append(name)
            real(*given)

        return call

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    monkeypatch.setattr(cursors_module, "sync_directory", lambda path: done.append(path.name))
    cursors.write(cursor_of(log))
    assert done == ["fsync", "rename", "cursors"]


HOLDER = """
    import sys
    from alphapulse.log import Cursors, Home
    hold = Cursors(Home(sys.argv[1])).hold("a")
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_one_holder_at_a_time_in_any_process(log: EventLog, cursors: Cursors) -> None:
    cursors.write(cursor_of(log))
    child = python(HOLDER, log.home.path)
    assert says(child) == "held"
    assert cursors.holder_pid("a") == child.pid
    assert cursors.state(log, "a").state == "active"
    for use in (
        lambda: cursors.hold("a"), lambda: cursors.delete("a"), lambda: cursors.reset("a", log, 0)
    ):  # fmt: skip
        with pytest.raises(CursorBusy) as caught:
            use()
        assert caught.value.facts["holder_pid"] == child.pid
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert cursors.holder_pid("a") is None
    with cursors.hold("a") as hold:
        assert hold.held and cursors.holder_pid("a") == os.getpid()
        with pytest.raises(CursorBusy) as caught:
            cursors.hold("a")
        assert caught.value.facts["holder_pid"] == os.getpid()
    cursors.hold("a").release()


def test_a_look_does_not_take_it_away(log: EventLog, cursors: Cursors) -> None:
    """A shared lock of a moment, which `holder_pid` takes, is waited for."""
    import fcntl
    import threading

    cursors.hold("a").release()
    with open(log.home.run / "cursor.a", "rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        assert cursors.holder_pid("a") is None, "whoever only looks is no holder"
        threading.Timer(0.01, lambda: fcntl.flock(look, fcntl.LOCK_UN)).start()
        cursors.hold("a").release()


def test_a_forked_child_has_no_hold(cursors: Cursors) -> None:
    hold = cursors.hold("a")
    pid = os.fork()
    if pid == 0:
        os._exit(7 if not hold.held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert hold.held and cursors.holder_pid("a") == os.getpid(), "the parent keeps it"
    hold.release()


def test_a_dropped_hold_is_free(cursors: Cursors) -> None:
    cursors.hold("a")
    assert cursors.holder_pid("a") is None


def test_states_say_how_far_behind(log: EventLog, cursors: Cursors) -> None:
    for name, offset in (("at-head", 7), ("behind", 3), ("start", 0)):
        cursors.write(cursor_of(log, name, offset=offset, pattern="source=x"))
    cursors.write(cursor_of(log, "z", offset=2, state="paused", error=EXAMPLE.error))
    at_head, behind, start, paused = cursors.states(log)
    assert (at_head.offset, at_head.lag_events, at_head.lag_s) == (7, 0, 0.0)
    assert (behind.lag_events, start.lag_events, behind.pattern) == (4, 7, "source=x")
    assert behind.lag_s is not None
    assert behind.lag_s == pytest.approx((time.time_ns() - log.block(3).time) / 1e9, abs=60)
    assert (start.state, start.error, start.holder_pid) == ("idle", None, None)
    assert (paused.state, paused.error) == ("paused", "ValueError: no price (offset 1204)")


def test_states_show_what_cannot_be_used(log: EventLog, cursors: Cursors) -> None:
    path_of(log, "torn").write_bytes(encode_cursor(EXAMPLE)[:40])
    cursors.write(cursor_of(log, "ahead", offset=8))
    cursors.write(cursor_of(log, "foreign", log_id="00" * 16))
    ahead, foreign, torn = cursors.states(log)
    assert {state.state for state in (ahead, foreign, torn)} == {"unusable"}
    assert "ahead of the log" in str(ahead.error) and ahead.offset == 8
    assert "another log" in str(foreign.error)
    assert "cut short" in str(torn.error) and torn.offset is None and torn.lag_events is None
    for name, expected in (("ahead", CursorForeign), ("foreign", CursorForeign)):
        with pytest.raises(expected) as caught:
            check_fits(cursors.read(name), log)
        assert f"alphapulse cursors reset {name} --to" in caught.value.advice


def test_states_need_no_right_to_write(log: EventLog, cursors: Cursors) -> None:
    cursors.write(cursor_of(log))
    log.home.cursors.chmod(0o500)
    log.home.run.chmod(0o500)
    try:
        assert [state.name for state in cursors.states(log)] == ["a"]
    finally:
        log.home.cursors.chmod(0o700)
        log.home.run.chmod(0o700)


def test_reset_keeps_the_position_or_moves_it(log: EventLog, cursors: Cursors) -> None:
    paused = cursor_of(
        log, offset=2, pattern="source=x", state="paused", error=EXAMPLE.error, skipped=3,
        policy="skip",
    )  # fmt: skip
    cursors.write(paused)
    again = cursors.reset("a", log)
    assert (again.offset, again.state, again.error, again.skipped) == (2, "idle", None, 0)
    assert (again.pattern, again.policy) == ("source=x", "skip")
    assert cursors.read("a") == again
    for to, offset in (("beginning", 0), ("now", 7), (5, 5), ("4", 4), ("1999-01", 0)):
        assert cursors.reset("a", log, to).offset == offset
    assert cursors.reset("a", log, format_time(TIME)).offset == 0
    for to, expected in ((8, OffsetOutOfRange), (-1, InvalidInput), ("soon", InvalidInput)):
        with pytest.raises(expected):
            cursors.reset("a", log, to)
    assert cursors.read("a").offset == 0, "a refused reset changes nothing"


def test_reset_mends_what_cannot_be_used_but_only_to_somewhere(
    log: EventLog, cursors: Cursors
) -> None:
    path_of(log).write_bytes(b"")
    with pytest.raises(CursorDamaged):
        cursors.reset("a", log)
    assert (cursors.reset("a", log, "now").offset, cursors.read("a").pattern) == (7, None)
    cursors.write(cursor_of(log, log_id="00" * 16, pattern="source=x"))
    with pytest.raises(CursorForeign):
        cursors.reset("a", log)
    mended = cursors.reset("a", log, 1)
    assert (mended.log_id, mended.pattern) == (log.genesis.log_id.hex(), "source=x")
    cursors.delete("a")
    assert cursors.names() == []


def test_a_log_that_was_cut_makes_its_cursors_foreign(tmp_path: Path, log: EventLog) -> None:
    with make_log(tmp_path / "other", [2]) as other:
        Cursors(other.home).write(cursor_of(log, offset=5))
        (state,) = Cursors(other.home).states(other)
        assert state.state == "unusable"
        fill(other, [3])
        (state,) = Cursors(other.home).states(other)
        assert (state.state, state.lag_events) == ("idle", 0)


def test_a_coroutine_function_is_no_handler_for_threads(tmp_path: Path) -> None:
    """Nobody would await it, and its events would count as handled."""

    async def handler(event: Event) -> None:
        raise RuntimeError

    with make_log(tmp_path / "home") as log:
        fill(log, [3])
        with log.subscribe("", "beginning", cursor="a") as events:
            with pytest.raises(InvalidInput, match="ahandle"):
                events.handle(handler, stop_when_caught_up=True)
        assert Cursors(log.home).read("a").offset == 0
        with log.subscribe("", cursor="a") as events:
            assert events.handle(lambda event: None, stop_when_caught_up=True) == 3
