"""With the looks by the clock minutes apart, only bells and each other wake those who wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.log import waiting
from alphapulse.log.bell import Ringer
from alphapulse.log.errors import Closed
from alphapulse.log.eventlog import EventLog
from alphapulse.log.subscription import Subscription

from .logs import draft, fill, make_log, python, says, until

pytestmark = pytest.mark.usefixtures("forked_interpreters")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [3, 4]) as made:
        yield made


def mixed(log: EventLog, count: int) -> None:
    """One block, of sources `odd` and `even` by turns."""
    with log.writing() as session:
        for _ in range(count):
            odd = session.head % 2
            session.append(draft(1 + session.head, source="odd" if odd else "even"))


@pytest.fixture
def only_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "BACKSTOP_S", 600.0)


class Waiter(threading.Thread):
    """Waits for `count` events in a thread of its own; what it got, or what was raised."""

    def __init__(self, subscription: Subscription, count: int = 1) -> None:
        super().__init__(daemon=True)
        self.subscription = subscription
        self.got: list[int | None] = []
        self.error: Exception | None = None
        self._count = count
        self.start()

    def run(self) -> None:
        try:
            for _ in range(self._count):
                event = self.subscription.next_event()
                self.got.append(None if event is None else event.offset)
        except Exception as error:
            self.error = error

    def sleeps(self) -> Waiter:
        """Returns once it waits."""
        until(lambda: self.subscription._seat.wake is not None)
        return self

    def end(self) -> list[int | None]:
        self.join(60)
        assert not self.is_alive(), "it was not woken"
        return self.got


def bells_of(log: EventLog) -> list[Path]:
    return list(log.home.run.glob("bell.*"))


@pytest.mark.usefixtures("only_bells")
@pytest.mark.parametrize("stop", [None, 100])
def test_a_commit_wakes_a_thread(log: EventLog, stop: int | None) -> None:
    """Those that read on their own, too."""
    waiter = Waiter(log.subscribe(stop=stop), 3).sleeps()
    fill(log, [1])
    until(lambda: waiter.got == [7])
    waiter.sleeps()
    fill(log, [2])
    assert waiter.end() == [7, 8, 9]
    until(lambda: bells_of(log) == [])  # with its thread


@pytest.mark.usefixtures("only_bells")
def test_without_a_ring_nobody_wakes(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: it is the bell that wakes them."""
    waiter = Waiter(log.subscribe()).sleeps()
    until(lambda: waiter.subscription._seat.attached)
    with monkeypatch.context() as patch:
        patch.setattr(Ringer, "ring", lambda _: None)
        fill(log, [1])
        waiter.join(0.1)
        assert waiter.is_alive() and waiter.got == []
    fill(log, [1])
    assert waiter.end() == [7]


@pytest.mark.usefixtures("only_bells")
def test_who_gets_events_by_anothers_look_is_woken(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiter = Waiter(log.subscribe("source=odd")).sleeps()
    until(lambda: waiter.subscription._seat.attached)
    monkeypatch.setattr(Ringer, "ring", lambda _: None)
    mixed(log, 2)
    log.live.pump()
    assert waiter.end() == [7]


@pytest.mark.usefixtures("only_bells")
def test_closing_it_wakes_it(log: EventLog) -> None:
    waiter = Waiter(log.subscribe()).sleeps()
    waiter.subscription.close()
    assert waiter.end() == [None]


@pytest.mark.usefixtures("only_bells")
def test_closing_the_log_wakes_everyone_and_removes_the_bells(log: EventLog) -> None:
    waiters = [Waiter(log.subscribe()).sleeps(), Waiter(log.subscribe(stop=99)).sleeps()]

    async def follow() -> None:
        waiting = asyncio.create_task(anext(log.subscribe(), None))
        await asyncio.sleep(0.01)
        log.close()
        with pytest.raises(Closed):
            await waiting

    asyncio.run(follow())
    for waiter in waiters:
        waiter.join(60)
        assert isinstance(waiter.error, Closed)
    until(lambda: bells_of(log) == [])


def test_where_no_bell_can_be_made_the_clock_is_looked_at(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(waiting, "Bell", refuse)

    async def follow() -> list[int]:
        return [event.offset async for event in log.subscribe(start=7, stop=8)]

    waiter = Waiter(log.subscribe("source=odd"), 1)
    later = threading.Timer(0.05, mixed, (log, 1))
    later.start()
    assert asyncio.run(follow()) == [7]
    assert waiter.end() == [7]
    later.join()
    pauses = log.live.waiting
    pauses.moved()
    assert pauses.pause_s(None) == waiting.POLL_S
    pauses._moved_at -= 1
    assert pauses.pause_s(None) == waiting.POLL_IDLE_S


@pytest.mark.usefixtures("only_bells")
@pytest.mark.parametrize("stop", [None, 100])
def test_a_commit_wakes_a_coroutine(log: EventLog, stop: int | None) -> None:
    async def follow() -> list[int]:
        got = []
        async for event in log.subscribe(stop=stop):
            got.append(event.offset)
            if len(got) == 3:
                break
            threading.Thread(target=fill, args=(log, [1])).start()
        return got

    async def main() -> list[int]:
        following = asyncio.create_task(follow())
        await asyncio.sleep(0.01)
        fill(log, [1])
        got = await following
        assert len(bells_of(log)) == 1
        return got

    assert asyncio.run(main()) == [7, 8, 9]
    assert bells_of(log) == [], "removed with its loop"


@pytest.mark.usefixtures("only_bells")
def test_a_coroutine_is_woken_only_by_what_matches(log: EventLog) -> None:
    looked: list[str] = []

    class Looking(Subscription):
        def _fill(self) -> bool:
            looked.append(str(self.pattern))
            return super()._fill()

    async def main() -> None:
        patterns = ["source=none", "source=odd"] * 10
        waiting_tasks = [
            asyncio.create_task(Looking(log, pattern, "now", None).next_async())
            for pattern in patterns
        ]
        await asyncio.sleep(0.05)
        looked.clear()
        mixed(log, 2)
        await asyncio.wait(waiting_tasks[1::2])
        found = [task.result() for task in waiting_tasks[1::2]]
        assert [event and event.offset for event in found] == [7] * 10
        assert "source=none" not in looked
        for task in waiting_tasks:
            task.cancel()

    asyncio.run(main())


def test_a_loop_whose_coroutines_wait_no_more_is_left_in_peace(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_UNUSED_S", 0.0)

    async def main() -> None:
        subscription = log.subscribe()
        following = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0.01)
        fill(log, [1])
        assert (await following).offset == 7
        fill(log, [1])
        while bells_of(log):
            await asyncio.sleep(0.001)
        following = asyncio.create_task(anext(subscription))
        assert (await following).offset == 8

    asyncio.run(main())


def test_a_cancelled_wait_loses_no_event(log: EventLog) -> None:
    """Given up at all moments, while a thread writes."""
    total = 7 + 120

    def write() -> None:
        for _ in range(120):
            fill(log, [1])

    async def follow() -> list[int]:
        got: list[int] = []
        subscription = log.subscribe(start=7)
        while len(got) < 120:
            for patience_s in (0, 0.0003, 0.001):
                following = asyncio.ensure_future(anext(subscription))
                await asyncio.wait([following], timeout=patience_s)
                if not following.done():
                    following.cancel()
                    await asyncio.wait([following])
                if not following.cancelled():
                    got.append(following.result().offset)
        return got

    writing = threading.Thread(target=write)
    writing.start()
    assert asyncio.run(follow()) == list(range(7, total))
    writing.join()


FOLLOWER = """
    import sys
    from alphapulse.log import EventLog, waiting
    waiting.BACKSTOP_S = 600
    with EventLog.open(sys.argv[1], mode="r") as log:
        with log.subscribe("source=odd", start=7) as events:
            print(events.poll(), flush=True)
            for event in events:
                print(event.offset, flush=True)
"""


@pytest.mark.usefixtures("only_bells")
def test_a_thread_a_loop_and_another_process_see_what_one_writes(log: EventLog) -> None:
    """By bells alone, blocks of one and of several."""
    total, odd = 7 + 90, list(range(7, 97, 2))
    waiter = Waiter(log.subscribe("source=odd", start=7), len(odd))

    async def follow() -> list[int]:
        got: list[int] = []
        async for event in log.subscribe("source=odd or source=even", start=7):
            got.append(event.offset)
            if len(got) == total - 7:
                return got
        return got

    with python(FOLLOWER, log.home.path) as child:
        assert says(child) == "None"
        coroutine: list[int] = []
        in_loop = threading.Thread(target=lambda: coroutine.extend(asyncio.run(follow())))
        in_loop.start()
        for count in (1, 1, 4) * 15:
            mixed(log, count)
        in_loop.join(60)
        assert coroutine == list(range(7, total))
        assert waiter.end() == odd
        assert [int(says(child)) for _ in odd] == odd
        child.kill()
        child.wait()
    mixed(log, 1)
    until(lambda: bells_of(log) == [])


# Spinning


def test_spinning_looks_at_the_head_it_is_given(log: EventLog) -> None:
    asked = 0

    def head() -> int:
        nonlocal asked
        asked += 1
        return log.head

    with log.subscribe(spin=head) as subscription:
        waiter = Waiter(subscription, 2)
        until(lambda: asked > 10)
        fill(log, [1])
        until(lambda: waiter.got == [7])
        fill(log, [1])
        assert waiter.end() == [7, 8]
        assert bells_of(log) == []
        before = asked
        assert subscription.next_event(timeout_s=0.01) is None and asked > before
        waiter = Waiter(subscription)
        subscription.close()
        assert waiter.end() == [None]

    async def follow() -> list[int]:
        asyncio.get_running_loop().call_later(0.01, fill, log, [1])
        return [event.offset async for event in log.subscribe(stop=10, spin=head)]

    assert asyncio.run(follow()) == [9]


def test_a_word_that_stays_behind_costs_time_but_no_event(log: EventLog) -> None:
    waiter = Waiter(log.subscribe(spin=lambda: 0))
    fill(log, [1])
    assert waiter.end() == [7]
