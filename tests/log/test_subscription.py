from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.log.errors import Closed, Corrupt, InvalidInput, PatternError
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.pattern import Pattern
from alphapulse.log.subscription import Start, Subscription, start_offset
from alphapulse.log.times import format_time

from .builders import TIME
from .logs import Ticks, draft, fill, finish, make_log, python, ticking


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [3, 4]) as made:
        yield made


def drained(subscription: Subscription) -> list[int]:
    offsets = []
    while (event := subscription.poll()) is not None:
        offsets.append(event.offset)
    return offsets


def mixed(log: EventLog, count: int) -> None:
    """One block, of sources `odd` and `even` by turns."""
    with log.writing() as session:
        for _ in range(count):
            odd = session.head % 2
            session.append(draft(1 + session.head, source="odd" if odd else "even"))


@pytest.mark.parametrize(
    "start,expected", [("beginning", range(9)), ("now", (7, 8)), (0, range(9)), (5, range(5, 9)),
                       (8, [8]), (9, [])]
)  # fmt: skip
def test_where_it_starts(log: EventLog, start: Start, expected: list[int]) -> None:
    with log.subscribe(start=start) as subscription:
        before = drained(subscription)
        fill(log, [2])
        assert before + drained(subscription) == list(expected)


def test_starting_by_time(tmp_path: Path) -> None:
    EventLog.create(tmp_path / "home")
    ticks = Ticks(step=0)
    with EventLog.open(tmp_path / "home", clock=ticking(ticks)) as log:
        for _ in range(4):
            ticks.now += 60 * 10**9
            fill(log, [2])
        for block in range(4):
            text = format_time(TIME + (block + 1) * 60 * 10**9)
            assert start_offset(log, text) == block * 2
            assert drained(log.subscribe(start=text)) == list(range(block * 2, 8))
        assert start_offset(log, "1999-01") == 0 and start_offset(log, "2200-01") == 8


@pytest.mark.parametrize("start", [-1, "yesterday", ""])
def test_a_start_that_means_nothing_is_refused(log: EventLog, start: Start) -> None:
    with pytest.raises(InvalidInput):
        log.subscribe(start=start)
    with pytest.raises(PatternError):
        log.subscribe("colour=red")


def test_a_bare_integer_as_text_is_an_offset(log: EventLog) -> None:
    assert start_offset(log, "2026") == 2026
    assert start_offset(log, " 3 ") == 3
    for bad in ("²", "٣", "9" * 5_000):
        with pytest.raises(InvalidInput):
            start_offset(log, bad)


@pytest.mark.parametrize("bad", [None, 10.5, True, b"3", []])
def test_what_is_neither_offset_nor_time_is_refused(log: EventLog, bad: Any) -> None:
    with pytest.raises(InvalidInput, match="neither an offset nor a time"):
        log.subscribe("", bad)


@pytest.mark.parametrize("bad", [-1, "-1", " -2026 ", "-" + "9" * 100])
def test_a_negative_offset_is_told_where_offsets_start(log: EventLog, bad: Start) -> None:
    with pytest.raises(InvalidInput, match="offsets start at 0"):
        start_offset(log, bad)


def test_an_offset_ahead_of_the_head_waits_for_it(log: EventLog) -> None:
    subscription = log.subscribe(start=8)
    assert drained(subscription) == []
    fill(log, [1])
    assert drained(subscription) == []
    fill(log, [2])
    assert drained(subscription) == [8, 9]


def test_it_says_where_it_is(log: EventLog) -> None:
    mixed(log, 6)  # offsets 7 to 12, odd first
    subscription = log.subscribe("source=odd", start="beginning")
    assert subscription.statistics() == (0, 13, 0, False)
    first = subscription.poll()
    assert first is not None and first.offset == 7
    assert subscription.statistics() == (9, 4, 1, False), "8 does not match"
    assert drained(subscription) == [9, 11]
    assert subscription.statistics() == (13, 0, 3, True)
    mixed(log, 1)
    assert not subscription.caught_up
    assert drained(subscription) == [13] and subscription.position == 14
    mixed(log, 1)
    assert drained(subscription) == [] and subscription.position == 15, "over what did not match"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(stops=st.lists(st.integers(0, 5), max_size=12), pattern=st.sampled_from(["", "source=odd"]))
def test_going_on_from_a_position_is_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], pattern: str
) -> None:
    with make_log(tmp_path_factory.mktemp("s") / "home") as log:
        for size in (1, 5, 3, 1, 1, 8):
            mixed(log, size)
        expected = [event.offset for event in log.read() if not pattern or event.offset % 2]
        position, got = 0, []
        for count in [*stops, 100]:
            subscription = log.subscribe(pattern, start=position)
            for _ in range(count):
                event = subscription.poll()
                if event is None:
                    break
                got.append(event.offset)
                position = subscription.position
            subscription.close()
        assert got == expected


def test_it_ends_at_stop(log: EventLog) -> None:
    assert [event.offset for event in log.subscribe(start=1, stop=5)] == [1, 2, 3, 4]
    assert [event.offset for event in log.subscribe("source=none", start=0, stop=7)] == []
    later = log.subscribe(start="now", stop=9)
    fill(log, [5])
    assert [event.offset for event in later] == [7, 8]
    assert later.finished and later.next_event() is None
    assert later.position == 9, "inside the block, where it stopped"


def test_next_event_waits_no_longer_than_said(log: EventLog) -> None:
    subscription = log.subscribe()
    assert subscription.next_event(timeout_s=0) is None
    assert subscription.next_event(timeout_s=0.01) is None
    fill(log, [1])
    event = subscription.next_event(timeout_s=0)
    assert event is not None and event.offset == 7


def test_what_does_not_match_counts_as_waiting_too(log: EventLog) -> None:
    """A writer that never pauses must not hold a reader that looks for something else."""
    subscription = log.subscribe("source=none")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            fill(log, [1])

    writing = threading.Thread(target=write)
    writing.start()
    begin = time.monotonic()
    assert subscription.next_event(timeout_s=0.2) is None
    took_s = time.monotonic() - begin
    stop.set()
    writing.join()
    assert 0.2 <= took_s < 2


def test_a_closed_one_ends(log: EventLog) -> None:
    with log.subscribe(start="beginning") as subscription:
        assert next(subscription).offset == 0
    assert list(subscription) == [] and subscription.finished
    with pytest.raises(Closed):
        subscription.poll()


def test_closing_it_while_it_catches_up_ends_the_look(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread closes it where this one is about to keep what it read."""
    subscription = log.subscribe(start="beginning")
    real = log.new_blocks

    def closed_meanwhile(begin: int, *, scanned: bool) -> Iterator[Any]:
        for block in real(begin, scanned=scanned):
            subscription.close()
            yield block

    monkeypatch.setattr(log, "new_blocks", closed_meanwhile)
    looking = threading.Thread(target=subscription.poll, daemon=True)
    looking.start()
    looking.join(5)
    ended = not looking.is_alive()
    subscription._ready.clear()  # which lets one that goes round and round end
    assert ended


def test_no_gap_no_double_no_seam_while_a_thread_writes(log: EventLog) -> None:
    """Several start at once in history, at the head and ahead of it, and end live."""
    total = 7 + 40 * 5

    def write() -> None:
        for _ in range(40):
            fill(log, [1, 3, 1])

    starts = [0, 3, 6, 7, 20, 100]
    got: dict[int, list[int]] = {}

    def follow(start: int) -> None:
        got[start] = [event.offset for event in log.subscribe(start=start, stop=total)]

    threads = [threading.Thread(target=follow, args=(start,)) for start in starts]
    threads.append(threading.Thread(target=write))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {start: list(range(start, total)) for start in starts}


WRITER = """
    import sys
    from alphapulse.log import AcknowledgedBody, Draft, EventLog
    with EventLog.open(sys.argv[1]) as log:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(60):
            with log.writing(60) as session:
                for _ in range(1 + number % 3):
                    session.append(Draft(50, 1, 1 + session.head, None, AcknowledgedBody(alert=1)))
"""


def test_no_gap_no_double_while_another_process_writes(log: EventLog) -> None:
    child = python(WRITER, log.home.path)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == "ready\n"
    subscription = log.subscribe("kind=alert.acknowledged", start="now", stop=7 + 120)
    child.stdin.write("go\n")
    child.stdin.flush()
    assert [event.offset for event in subscription] == list(range(7, 127))
    finish(child)


def test_async_iteration_goes_from_history_into_live(log: EventLog) -> None:
    async def follow() -> list[int]:
        return [event.offset async for event in log.subscribe(start=2, stop=20)]

    async def write() -> None:
        for _ in range(7):
            await asyncio.sleep(0.003)
            fill(log, [2])

    async def both() -> list[list[int]]:
        first, second, _ = await asyncio.gather(follow(), follow(), write())
        return [first, second]

    assert asyncio.run(both()) == [list(range(2, 20))] * 2


def test_async_iteration_through_history_lets_others_run(tmp_path: Path) -> None:
    """They have a turn every few ms, and giving it up at such a point loses no event.

    By the thread's own time, without collections of garbage: neither that other processes have the
    core nor what other tests left behind is the subscription's doing.
    """
    with make_log(tmp_path / "home", [1_000] * 6) as log:

        async def follow() -> tuple[list[int], float]:
            longest_s, before, done = 0.0, time.thread_time(), False

            async def tick() -> None:
                nonlocal longest_s, before
                while not done:
                    now = time.thread_time()
                    longest_s, before = max(longest_s, now - before), now
                    await asyncio.sleep(0)

            ticking = asyncio.create_task(tick())
            await asyncio.sleep(0)
            begin, got = time.thread_time(), []
            async for event in log.subscribe(start=0, stop=6_000):
                got.append(event.offset)
            ended, done = time.thread_time(), True
            longest_s = max(longest_s, ended - before)  # the tick that it did not come to
            await ticking
            return got, longest_s / (ended - begin)

        gc.disable()
        try:
            rounds = [asyncio.run(follow()) for _ in range(3)]
        finally:
            gc.enable()
        assert all(got == list(range(6_000)) for got, _ in rounds)
        # Without its turns it stands still in each of them.
        assert min(share for _, share in rounds) < 0.6, "the loop stood still meanwhile"


def test_async_iteration_ends_on_close(log: EventLog) -> None:
    async def close_while_waiting() -> int:
        subscription = log.subscribe(start="now")
        waiting = asyncio.create_task(anext(subscription, None))
        await asyncio.sleep(0.01)
        subscription.close()
        assert await waiting is None
        return 1

    assert asyncio.run(close_while_waiting()) == 1


def test_damage_is_reported_once_all_before_it_is_delivered_and_nothing_comes_twice(
    tmp_path: Path,
) -> None:
    with make_log(tmp_path / "home", [2, 3, 2]) as log:
        block = log.block(2)
    data = bytearray(block.data)
    data[block.frame_bounds(1)[0] + 70] ^= 1
    with lmdb.open(str(tmp_path / "home" / "log"), max_dbs=2) as env:
        blocks = env.open_db(b"blocks")
        with env.begin(write=True, db=blocks) as txn:
            txn.put((2).to_bytes(8, "big"), bytes(data))
    with EventLog.open(tmp_path / "home") as log:
        subscription = log.subscribe(start="beginning")
        assert [next(subscription).offset for _ in range(3)] == [0, 1, 2]
        for _ in range(3):
            with pytest.raises(Corrupt) as caught:
                subscription.poll()
            assert caught.value.facts["offset"] == 3
            assert subscription.position == 3
        assert drained(log.subscribe(start=4)) == [4, 5, 6]


def test_a_pattern_that_fails_midway_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the reading of a block, what came before it is delivered once."""
    with make_log(tmp_path / "home", [2, 4, 2]) as log:
        subscription = log.subscribe("isin=US* or kind=instrument", start="beginning")
        select, broken = Pattern.select, True

        def failing(self: Pattern, *given: Any) -> Iterator[Event]:
            for event in select(self, *given):
                if broken and event.offset == 4:
                    raise RuntimeError("at offset 4")
                yield event

        monkeypatch.setattr(Pattern, "select", failing)
        with pytest.raises(RuntimeError, match="offset 4"):
            subscription.poll()
        assert [next(subscription).offset for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(RuntimeError, match="offset 4"):
            subscription.poll()
        broken = False
        assert drained(subscription) == [4, 5, 6, 7]
