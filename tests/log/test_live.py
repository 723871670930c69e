from __future__ import annotations

import gc
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.log import eventlog, live
from alphapulse.log.block import Block
from alphapulse.log.errors import Corrupt
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.home import Home
from alphapulse.log.index import PatternIndex
from alphapulse.log.live import Live
from alphapulse.log.seat import Seat
from alphapulse.log.subscription import Subscription
from tests.crash.children import seeds
from tests.sim.memory_store import Disk, MemoryStore

from .logs import GENESIS, draft, make_log, ticking

PATTERNS = ("", "source=odd", "source=even", "source=none", "not source=odd")


def matches(pattern: str, offset: int) -> bool:
    odd = offset % 2 == 1
    return {"": True, "source=odd": odd, "source=even": not odd, "source=none": False}.get(
        pattern, not odd
    )


def grow(log: EventLog, count: int) -> None:
    """One block, of sources `odd` and `even` by offset."""
    with log.writing() as session:
        for _ in range(count):
            odd = session.head % 2
            session.append(draft(1 + session.head, source="odd" if odd else "even"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home") as made:
        yield made


def counted(look: Callable[..., Iterator[Block]], most: int) -> Callable[..., Iterator[Block]]:
    """It fails when it is called more often."""
    left = [None] * most

    def call(*arguments: Any, **named: Any) -> Iterator[Block]:
        left.pop()
        return look(*arguments, **named)

    return call


def drained(subscription: Subscription) -> list[int]:
    offsets = []
    while (event := subscription.poll()) is not None:
        offsets.append(event.offset)
    return offsets


def attached(log: EventLog, pattern: str = "") -> Subscription:
    subscription = log.subscribe(pattern)
    assert subscription.poll() is None
    assert subscription._seat.attached
    return subscription


# Against a model: what each of them was given, and where it says it is

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(1, 7)),
        st.tuples(st.just("subscribe"), st.sampled_from(PATTERNS), st.integers(0, 12)),
        st.tuples(st.just("poll"), st.integers(0, 5), st.integers(1, 6)),
        st.tuples(st.just("close"), st.integers(0, 5)),
        st.tuples(st.just("pump")),
    ),
    max_size=40,
)  # fmt: skip


class Follower:
    """One subscription beside the plain list of what it must be given."""

    def __init__(self, log: EventLog, pattern: str, start: int) -> None:
        self.log, self.pattern, self.start = log, pattern, start
        self.subscription = log.subscribe(pattern, start=start)
        self.got: list[int] = []
        self.position = start

    def take(self, count: int) -> None:
        for _ in range(count):
            event = self.subscription.poll()
            if event is None:
                break
            self.got.append(event.offset)
        self.check()

    def check(self) -> None:
        position = self.subscription.position
        assert position >= self.position, "a position never goes back"
        assert self.got == self.wanted(position)
        seat = self.subscription._seat
        assert not seat.attached or len(seat.ready) <= live.BUFFER_EVENTS_MAX
        self.position = position

    def wanted(self, stop: int) -> list[int]:
        return [offset for offset in range(self.start, stop) if matches(self.pattern, offset)]


def play(log: EventLog, steps: list[Any]) -> None:
    followers: list[Follower] = []
    for step, *rest in steps:
        if step == "grow":
            grow(log, rest[0])
        elif step == "subscribe":
            followers.append(Follower(log, *rest))
        elif step == "pump":
            log.live.pump()
        elif followers:
            follower = followers[rest[0] % len(followers)]
            if step == "poll":
                follower.take(rest[1])
            else:
                follower.subscription.close()
                followers.remove(follower)
                follower.check()
        for follower in followers:
            follower.check()
    for follower in followers:
        follower.take(10**6)
        head = log.head
        assert follower.got == follower.wanted(head)
        assert follower.position == max(head, follower.start)
        follower.subscription.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_each_is_given_exactly_what_matches(
    steps: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "BUFFER_EVENTS_MAX", 3)
        patch.setattr(live, "BUFFER_SPAN_MAX", 12)
        home = Home(tmp_path_factory.mktemp("live"))
        home.make_directories()
        disk = Disk(GENESIS, random.Random(0))
        with EventLog(home, MemoryStore(disk), ticking()) as log:
            play(log, steps)


SCRIPT: list[Any] = [
    ("subscribe", "", 0), ("subscribe", "source=odd", 0), ("poll", 0, 1), ("poll", 1, 1),
    ("grow", 2), ("pump",), ("grow", 5), ("pump",), ("poll", 0, 9), ("poll", 0, 9),
    ("subscribe", "", 0), ("poll", 2, 4), ("grow", 3), ("poll", 0, 9), ("poll", 2, 99),
    ("grow", 2), ("subscribe", "", 0), ("poll", 3, 99), ("grow", 1),
]  # fmt: skip


def detaches_too_late(self: Live, seat: Seat, offset: int) -> None:
    REAL_LEAVE(self, seat, offset + 1)


def attaches_anywhere(self: Live, seat: Seat) -> bool:
    seat.scanned = self.offset if self._attached else seat.scanned
    return REAL_ATTACH(self, seat)


REAL_LEAVE, REAL_ATTACH = Live._leave, Live.attach


@pytest.mark.parametrize(
    "name,broken", [("_leave", None), ("_leave", detaches_too_late), ("attach", attaches_anywhere)]
)
def test_the_model_finds_what_is_broken(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, name: str, broken: Callable[..., Any] | None
) -> None:
    monkeypatch.setattr(live, "BUFFER_EVENTS_MAX", 3)
    if broken is None:
        play(log, SCRIPT)
        return
    monkeypatch.setattr(Live, name, broken)
    with pytest.raises(AssertionError):
        play(log, SCRIPT)


def test_threads_that_come_and_go_are_each_given_exactly_what_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    """Followers of all speeds, small buffers, one writer; some begin while others are behind."""
    monkeypatch.setattr(live, "BUFFER_EVENTS_MAX", 4)
    monkeypatch.setattr(live, "BUFFER_SPAN_MAX", 40)
    for number, seed in enumerate(seeds(max(1, round(scale**2)))):
        with make_log(tmp_path / str(number)) as log:
            _race(log, random.Random(seed))
            assert log.live.statistics().detached > 0, "nobody fell behind: nothing was tested"


def _race(log: EventLog, choose: random.Random) -> None:
    total, got = 600, dict[int, list[int]]()
    plans = [
        (choose.choice(PATTERNS), choose.randrange(total // 2), choose.random() ** 3 / 600)
        for _ in range(6)
    ]
    plans.append(("", 0, 0.001))  # there from the beginning, and soon behind
    sizes = [choose.choice((1, 1, 2, 30)) for _ in range(total)]

    def follow(number: int) -> None:
        pattern, start, pause_s = plans[number]
        pace, mine = threading.Event(), []
        while log.head < start:
            pace.wait(0.001)
        with log.subscribe(pattern, start=start) as subscription:
            while subscription.position < total:
                event = subscription.next_event(timeout_s=0.02)
                if event is not None:
                    mine.append(event.offset)
                    pace.wait(pause_s)
        got[number] = mine

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(len(plans))]
    for thread in threads:
        thread.start()
    while (left := total - log.head) > 0:
        grow(log, min(sizes.pop(), left))
    for thread in threads:
        thread.join()
    for number, (pattern, start, _) in enumerate(plans):
        wanted = [offset for offset in range(start, total) if matches(pattern, offset)]
        assert got[number] == wanted, f"{plans[number]}"


# The pump


def test_one_look_at_the_log_serves_all(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    followers = [attached(log, PATTERNS[number % 3]) for number in range(60)]
    looks = 0
    real = type(log.store).blocks

    def blocks(self: Any, *given: int) -> list[bytes]:
        nonlocal looks
        looks += 1
        return real(self, *given)

    monkeypatch.setattr(type(log.store), "blocks", blocks)
    grow(log, 5)
    assert drained(followers[0]) == [0, 1, 2, 3, 4]
    assert looks == 2, "one with the events, one that found no more"
    assert len(followers[1]._seat.ready) == 2 and len(followers[2]._seat.ready) == 3
    assert looks == 2
    assert log.live.statistics().attached == 60


def test_what_does_not_match_moves_the_position_of_all(log: EventLog) -> None:
    idle, busy = attached(log, "source=none"), attached(log)
    grow(log, 4)
    assert idle.statistics() == (0, 4, 0, False)
    assert drained(busy) == [0, 1, 2, 3]
    assert idle.statistics() == (4, 0, 0, True)


def test_who_does_not_take_is_detached_and_comes_back(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BUFFER_EVENTS_MAX", 3)
    slow, quick = attached(log), attached(log, "source=odd")
    for _ in range(5):
        grow(log, 2)
        quick.poll()
    assert log.live.statistics() == (1, 10, 1)
    assert slow._seat.scanned == 3 and slow.position == 0
    assert drained(slow) == list(range(10))
    assert log.live.statistics().attached == 2


def test_a_sparse_buffer_does_not_hold_the_whole_log(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event in a buffer keeps its whole block in memory."""
    monkeypatch.setattr(live, "BUFFER_SPAN_MAX", 6)
    slow = attached(log)
    for _ in range(9):
        grow(log, 1)
        log.live.pump()
    assert [event.offset for event in slow._seat.ready] == [0, 1, 2, 3, 4, 5]
    assert drained(slow) == list(range(9))


def test_one_that_was_dropped_is_forgotten(log: EventLog) -> None:
    followers = [attached(log) for _ in range(5)]
    kept, gone = followers[0], weakref.ref(followers[1])
    del followers
    gc.collect()
    assert gone() is None
    grow(log, 2)
    assert drained(kept) == [0, 1]
    assert log.live.statistics().attached == 1


def test_who_ends_somewhere_or_starts_ahead_reads_on_its_own(log: EventLog) -> None:
    ends, ahead = log.subscribe(stop=5), log.subscribe(start=3)
    assert ends.poll() is None and ahead.poll() is None
    assert log.live.statistics().attached == 0
    grow(log, 2)
    assert drained(ends) == [0, 1] and drained(ahead) == []
    assert log.live.statistics().attached == 0
    grow(log, 6)
    assert drained(ends) == [2, 3, 4] and ends.finished
    assert drained(ahead) == [3, 4, 5, 6, 7]
    assert log.live.statistics().attached == 1


def test_damage_is_reported_by_those_whom_it_concerns(log: EventLog) -> None:
    everything, odd = attached(log), attached(log, "kind=instrument.amended")
    grow(log, 4)
    block = log.block(0)
    data = bytearray(block.data)
    data[block.frame_bounds(2)[0] + 70] ^= 1
    path = log.home.log
    log.close()
    with lmdb.open(str(path), max_dbs=2) as env:
        with env.begin(write=True, db=env.open_db(b"blocks")) as txn:
            txn.put((0).to_bytes(8, "big"), bytes(data))
    del everything, odd
    with EventLog.open(log.home.path) as log:
        everything = log.subscribe(start=0)
        other = log.subscribe("kind=instrument.amended", start=0)
        for each in (everything, other):  # as if the block had come while both were live
            each._seat.attached = True
            log.live._index.add(each._seat.reference, each.pattern)
            log.live._attached.add(each._seat.reference)
        assert drained(other) == [] and other.position == 4
        assert [next(everything).offset for _ in range(2)] == [0, 1]
        for _ in range(2):
            with pytest.raises(Corrupt) as caught:
                everything.poll()
            assert caught.value.facts["offset"] == 2
        assert everything.position == 2
        grow(log, 1)
        assert drained(other) == [] and other.position == 5


def test_damage_of_others_does_not_look_like_having_caught_up(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = attached(log)
    grow(log, 2)

    def damaged(event: Event) -> list[Any]:
        raise Corrupt("reading an event")

    monkeypatch.setattr(log.live._index, "keys", damaged)
    assert drained(subscription) == [0, 1]


def test_a_signal_handler_may_close_one_while_its_thread_pumps(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, other = attached(log), attached(log)
    grow(log, 2)
    real = log.live._hand_out

    def interrupted(block: Any) -> None:
        closing.close()
        real(block)

    monkeypatch.setattr(log.live, "_hand_out", interrupted)
    pumping = threading.Thread(target=log.live.pump, daemon=True)
    pumping.start()
    pumping.join(5)
    assert not pumping.is_alive()
    assert drained(other) == [0, 1]
    assert closing.finished and log.live.statistics().attached == 1


@pytest.mark.parametrize("at", range(8))
def test_an_interrupt_between_two_deliveries_loses_and_doubles_nothing(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    followers = [Follower(log, pattern, 0) for pattern in ("", "source=odd", "")]
    for follower in followers:
        follower.take(1)
    grow(log, 4)
    real, given_out = Live._give, 0

    def give(self: Live, seat: Seat, event: Event) -> None:
        nonlocal given_out
        if given_out == at:
            raise KeyboardInterrupt
        real(self, seat, event)
        given_out += 1

    with monkeypatch.context() as patch:
        patch.setattr(Live, "_give", give)
        with pytest.raises(KeyboardInterrupt):
            log.live.pump()
    assert log.live.statistics().attached == 0
    grow(log, 3)
    for follower in followers:
        follower.take(99)
        assert follower.got == follower.wanted(7)


def test_a_mistake_in_the_index_is_raised_and_costs_no_event(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = attached(log)
    grow(log, 3)
    with monkeypatch.context() as patch:

        def fail(*_: object) -> list[object]:
            raise ZeroDivisionError

        patch.setattr(PatternIndex, "keys", fail)
        with pytest.raises(ZeroDivisionError):
            follower.poll()
    assert drained(follower) == [0, 1, 2]


def test_a_forked_child_does_not_wait_for_the_lock_of_a_thread_it_has_not_got(
    log: EventLog,
) -> None:
    log.live._lock.acquire()
    pid = os.fork()
    if not pid:
        os._exit(0 if log.live._lock.acquire(timeout=10) else 1)
    log.live._lock.release()
    assert os.waitpid(pid, 0)[1] == 0


def test_one_that_is_not_attached_does_not_look_again_and_again_for_what_no_view_has(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "UNSHOWN_NS_MAX", 1 << 62)
    heads = [0]
    log.shown = lambda: heads[0]
    events = log.subscribe("", 0)
    grow(log, 2)
    monkeypatch.setattr(log, "next_blocks", counted(log.next_blocks, most=10))
    assert events.poll() is None and events.position == 0 and not events.caught_up
    grow(log, 2)
    heads[0] = 2
    assert drained(events) == [0, 1]
    heads[0] = 4
    assert drained(events) == [2, 3] and events.caught_up
