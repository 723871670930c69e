from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import cursor_subscription as module
from alphapulse.log.cursors import Cursor, Cursors, encode_cursor
from alphapulse.log.errors import (
    Closed,
    CursorBusy,
    CursorDamaged,
    CursorForeign,
    CursorMismatch,
    CursorNotSaved,
    CursorPaused,
    HandlerFailed,
    InvalidInput,
    OffsetOutOfRange,
)
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.pattern import Pattern, where

from .logs import draft, fill, make_log, until


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    """Offsets 0 to 9; the odd ones come from the source `odd`."""
    with make_log(tmp_path / "home") as made:
        mixed(made, 10)
        yield made


@pytest.fixture
def save_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAVE_EVENTS_MAX", 1)


@pytest.fixture
def save_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `close` saves."""
    monkeypatch.setattr(module, "SAVE_INTERVAL_S", 1e9)


def mixed(log: EventLog, count: int) -> None:
    with log.writing() as session:
        for _ in range(count):
            odd = session.head % 2
            session.append(draft(1 + session.head, source="odd" if odd else "even"))


def saved(log: EventLog, name: str = "a") -> Cursor:
    return Cursors(log.home).read(name)


def drained(log: EventLog, pattern: Pattern | str = "", **given: Any) -> list[int]:
    with log.subscribe(pattern, cursor="a", **given) as events:
        return [event.offset for event in iter(events.poll, None)]


def test_it_goes_on_where_it_was(log: EventLog) -> None:
    assert drained(log, "source=odd", start="beginning") == [1, 3, 5, 7, 9]
    assert saved(log).offset == 10
    mixed(log, 4)
    assert drained(log, "source=odd", start="beginning") == [11, 13], "the offset wins over start"
    assert drained(log, "source=odd") == []
    assert saved(log).offset == 14


def test_a_new_one_is_durable_at_once(log: EventLog) -> None:
    """`now` must mean the same after a crash before the first save."""
    abandoned = log.subscribe(cursor="a")
    assert saved(log).offset == 10
    mixed(log, 2)
    del abandoned  # as a kill would, without a close
    assert drained(log) == [10, 11]


def test_it_begins_no_further_than_the_head(log: EventLog) -> None:
    with pytest.raises(OffsetOutOfRange):
        log.subscribe(start=11, cursor="a")
    assert Cursors(log.home).names() == [] and Cursors(log.home).holder_pid("a") is None


def test_it_passes_over_what_does_not_match(log: EventLog, save_each: None) -> None:
    with log.subscribe("source=none", "beginning", cursor="a") as events:
        assert events.poll() is None
    assert saved(log).offset == 10
    with log.subscribe("source=odd", 2, cursor="b") as events:
        assert next(events).offset == 3
        assert next(events).offset == 5
        assert saved(log, "b").offset == 5, "5 is in hand"


def test_asking_for_the_next_acknowledges(log: EventLog, save_each: None) -> None:
    with log.subscribe("", "beginning", cursor="a") as events:
        for offset in range(5):
            assert next(events).offset == offset
            assert saved(log).offset == offset
    assert saved(log).offset == 5, "leaving the block, too"


def test_leaving_by_an_exception_does_not(log: EventLog) -> None:
    def work() -> None:
        with log.subscribe("", "beginning", cursor="a") as events:
            for event in events:
                if event.offset == 3:
                    raise RuntimeError("at 3")

    with pytest.raises(RuntimeError):
        work()
    assert saved(log).offset == 3
    events = log.subscribe(cursor="a")
    try:
        next(events)
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        events.close()
    assert saved(log).offset == 3
    assert drained(log) == list(range(3, 10))


def test_closing_where_the_event_was_taken_acknowledges(log: EventLog) -> None:
    events = log.subscribe("", "beginning", cursor="a")
    next(events)
    events.close()
    events.close()
    assert saved(log).offset == 1


def test_closing_from_elsewhere_does_not(log: EventLog) -> None:
    """Whoever works on the event in hand has not come back."""
    events = log.subscribe("", "beginning", cursor="a")
    next(events)
    next(events)
    closing = threading.Thread(target=events.close)
    closing.start()
    closing.join()
    assert saved(log).offset == 1

    async def close_from_another_task() -> None:
        events = log.subscribe(cursor="a")
        working, done = asyncio.Event(), asyncio.Event()

        async def consume() -> None:
            async for _ in events:
                working.set()
                await done.wait()

        task = asyncio.create_task(consume())
        await working.wait()
        events.close()
        assert saved(log).offset == 1
        done.set()
        await task

    asyncio.run(close_from_another_task())
    assert drained(log) == list(range(1, 10))


def test_closing_wakes_a_waiting_one_and_saves(log: EventLog, save_never: None) -> None:
    events = log.subscribe("", "beginning", cursor="a")
    got: list[int] = []
    consuming = threading.Thread(target=lambda: got.extend(event.offset for event in events))
    consuming.start()
    until(lambda: len(got) == 10 or events.caught_up)
    events.close()
    consuming.join()
    assert got == list(range(10))
    assert saved(log).offset in (9, 10), "10 when it had asked for more"


def test_it_is_saved_now_and_then(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log, [90])
    monkeypatch.setattr(module, "SAVE_INTERVAL_S", 1e9)
    monkeypatch.setattr(module, "SAVE_EVENTS_MAX", 30)
    positions = []
    with log.subscribe("", "beginning", cursor="a") as events:
        for _ in range(100):
            next(events)
            positions.append(saved(log).offset)
        assert events.cursor_statistics().saves == 3
        assert events.cursor_statistics().unsaved_events == 9
    assert [key for key, _ in itertools.groupby(positions)] == [0, 30, 60, 90]
    assert saved(log).offset == 100


def test_it_is_saved_while_it_waits(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over what does not match, in a thread and in a loop, without any close."""
    monkeypatch.setattr(module, "SAVE_INTERVAL_S", 0.01)
    events = log.subscribe("source=none", "beginning", cursor="a")
    waiting = threading.Thread(target=events.next_event)
    waiting.start()
    until(lambda: saved(log).offset == 10)
    mixed(log, 1)
    until(lambda: saved(log).offset == 11)
    events.close()
    waiting.join()

    async def wait() -> None:
        events = log.subscribe(cursor="a")
        task = asyncio.create_task(anext(events, None))
        mixed(log, 2)
        while saved(log).offset != 13:
            await asyncio.sleep(0.005)
        events.close()
        await task

    asyncio.run(asyncio.wait_for(wait(), 30))


def test_explicit_acknowledging(log: EventLog, save_each: None) -> None:
    with log.subscribe("source=odd", "beginning", cursor="a", ack="explicit") as events:
        taken = [next(events) for _ in range(4)]
        assert saved(log).offset <= 1
        events.ack(taken[1])
        assert saved(log).offset == 4
        events.ack(taken[0])
        events.ack(3)
        assert saved(log).offset == 4, "what was acknowledged before may be again"
        none: Any
        for none in ("x", "0", -1, True, None, 1.0):
            with pytest.raises(InvalidInput, match="no event and no offset"):
                events.ack(none)
        for ahead in (8, 10_000):
            with pytest.raises(InvalidInput):
                events.ack(ahead)
    assert saved(log).offset == 4, "closing acknowledges nothing"
    with pytest.raises(Closed):
        events.ack(taken[3])
    with log.subscribe("source=odd", cursor="a", ack="explicit") as events:
        assert [event.offset for event in iter(events.poll, None)] == [5, 7, 9]
        events.ack(9)
    assert saved(log).offset == 10, "all of it, and what does not match behind it"


def test_acknowledging_early_in_auto(log: EventLog) -> None:
    def work() -> None:
        with log.subscribe("", "beginning", cursor="a") as events:
            events.ack(next(events))
            raise RuntimeError("after it was done")

    with pytest.raises(RuntimeError):
        work()
    assert saved(log).offset == 1


def test_no_event_is_lost_whatever_is_acknowledged(
    log: EventLog, save_each: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random takes, acks, crashes and appends against a model; the position is never too far."""
    seed = int(os.environ.get("ALPHAPULSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"ALPHAPULSE_TEST_SEED={seed}")
    choose = random.Random(seed)
    monkeypatch.setattr(module, "SAVE_INTERVAL_S", 0)
    unacknowledged = [1, 3, 5, 7, 9]
    for _ in range(12):
        explicit = choose.random() < 0.5
        events = log.subscribe(
            "source=odd", "beginning", cursor="a", ack="explicit" if explicit else "auto"
        )
        taken: list[int] = []
        for _ in range(choose.randrange(12)):
            if choose.random() < 0.3:
                count = choose.randrange(1, 4)
                unacknowledged += [o for o in range(log.head, log.head + count) if o % 2]
                mixed(log, count)
            elif explicit and taken and choose.random() < 0.4:
                offset = choose.choice(taken)
                events.ack(offset)
                unacknowledged = [o for o in unacknowledged if o > offset]
            else:
                if not explicit and taken:
                    unacknowledged = [o for o in unacknowledged if o > taken[-1]]
                event = events.poll()
                if event is not None:
                    taken.append(event.offset)
            first = unacknowledged[0] if unacknowledged else log.head
            assert saved(log).offset <= first, "it passed an event that nobody acknowledged"
        del events  # without a close
    assert drained(log, "source=odd") == unacknowledged


def test_one_at_a_time(log: EventLog) -> None:
    with log.subscribe(cursor="a"):
        with pytest.raises(CursorBusy) as caught:
            log.subscribe(cursor="a")
        assert caught.value.facts["holder_pid"] == os.getpid()
        log.subscribe(cursor="b").close()
    log.subscribe(cursor="a").close()


def test_the_pattern_stays(log: EventLog) -> None:
    assert drained(log, "source=odd isin=US*", start="beginning") == []
    for same in ("isin=US* and source=odd", Pattern.parse("source=odd isin=US*"), "", " "):
        assert drained(log, same) == []
    with log.subscribe(cursor="a") as events:
        assert events.pattern == Pattern.parse("source=odd isin=US*"), "none means the cursor's"
    for other in ("source=odd", "isin=US*", Pattern.parse(""), where(source="odd")):
        with pytest.raises(CursorMismatch) as caught:
            log.subscribe(other, cursor="a")
        assert "cursors delete a" in caught.value.advice
    assert drained(log, "") == [], "a refusal leaves it free"


def test_one_that_cannot_be_used(log: EventLog, tmp_path: Path) -> None:
    path, cursors = log.home.cursors / "a.cursor", Cursors(log.home)
    path.write_bytes(b"torn")
    with pytest.raises(CursorDamaged):
        log.subscribe(cursor="a")
    cursors.reset("a", log, 8)
    assert drained(log, "source=odd") == [9]
    assert saved(log).pattern == "source=odd", "after damage the next pattern is the cursor's"
    with make_log(tmp_path / "other", [2]) as other:
        (other.home.cursors / "a.cursor").write_bytes(path.read_bytes())
        with pytest.raises(CursorForeign, match="ahead of the log"):
            other.subscribe(cursor="a")
    unknown = Cursor(name="a", log_id=log.genesis.log_id.hex(), pattern="flavour=x", offset=0)
    path.write_bytes(encode_cursor(unknown))
    with pytest.raises(CursorDamaged):
        log.subscribe(cursor="a")


def test_what_is_asked_for_wrongly(log: EventLog) -> None:
    for given in ({"cursor": "a", "ack": "never"}, {"ack": "explicit"}, {"cursor": "a/b"}):
        with pytest.raises(InvalidInput):
            log.subscribe(**given)  # type: ignore[call-overload]
    with log.subscribe(cursor="a") as events:
        with pytest.raises(InvalidInput):
            events.handle(print, "explode")  # type: ignore[arg-type]
    with pytest.raises(Closed):
        events.handle(print)


def test_a_disk_that_is_full_stops_no_event(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "SAVE_INTERVAL_S", 0)
    real = Cursors.write

    def full(*_: object, **__: object) -> None:
        raise CursorNotSaved("saving the cursor a")

    with log.subscribe("", "beginning", cursor="a") as events:
        monkeypatch.setattr(Cursors, "write", full)
        assert [next(events).offset for _ in range(5)] == list(range(5))
        assert len(caplog.records) == 1, "said once"
        assert events.cursor_statistics().save_error == CursorNotSaved.problem
        monkeypatch.setattr(Cursors, "write", real)
        next(events)
        assert saved(log).offset == 5 and events.cursor_statistics().save_error == ""
        next(events)
        monkeypatch.setattr(Cursors, "write", full)
        with pytest.raises(CursorNotSaved):
            events.close()
    assert Cursors(log.home).holder_pid("a") is None
    monkeypatch.setattr(Cursors, "write", real)
    assert drained(log)[0] in (5, 6)


# Handlers


class Boom(Exception):
    pass


class Handler:
    """Raises at one offset, until it is mended."""

    def __init__(self, bad: int = 3) -> None:
        self.bad, self.got = bad, list[int]()

    def __call__(self, event: Event) -> None:
        if event.offset == self.bad:
            raise Boom(f"no price \udcff at {event.offset}" + "!" * 1_000)
        self.got.append(event.offset)

    async def later(self, event: Event) -> None:
        await asyncio.sleep(0)
        self(event)


def run(log: EventLog, handler: Handler, coroutine: bool, *given: Any) -> int:
    with log.subscribe("", "beginning", cursor="a") as events:
        if coroutine:
            return asyncio.run(events.ahandle(handler.later, *given, stop_when_caught_up=True))
        return events.handle(handler, *given, stop_when_caught_up=True)


both = pytest.mark.parametrize("coroutine", [False, True], ids=["thread", "loop"])


@both
def test_a_handler_that_fails_pauses_its_cursor(log: EventLog, coroutine: bool) -> None:
    handler = Handler()
    with pytest.raises(HandlerFailed, match="Boom: no price") as caught:
        run(log, handler, coroutine)
    assert isinstance(caught.value.__cause__, Boom)
    paused = saved(log)
    assert (paused.state, paused.offset, handler.got) == ("paused", 3, [0, 1, 2])
    assert paused.error is not None and len(paused.error.message) < 600
    assert (paused.error.type, paused.error.offset) == ("Boom", 3)
    assert Cursors(log.home).state(log, "a").state == "paused", "it holds it no longer"
    with pytest.raises(CursorPaused, match="Boom") as said:
        log.subscribe(cursor="a")
    assert "cursors reset a`" in said.value.advice and "--to 4`" in said.value.advice

    Cursors(log.home).reset("a", log)
    with pytest.raises(HandlerFailed):
        run(log, handler, coroutine)
    assert handler.got == [0, 1, 2], "the same event was tried again"
    Cursors(log.home).reset("a", log, 4)
    assert run(log, handler, coroutine) == 6
    assert handler.got == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert (saved(log).state, saved(log).offset) == ("idle", 10)


@both
def test_a_handler_that_skips_keeps_the_last_error(log: EventLog, coroutine: bool) -> None:
    handler = Handler()
    assert run(log, handler, coroutine, "skip") == 9
    assert handler.got == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    kept = saved(log)
    assert (kept.state, kept.offset, kept.skipped, kept.policy) == ("idle", 10, 1, "skip")
    assert kept.error is not None and kept.error.offset == 3
    mixed(log, 2)
    handler.bad = 10
    assert run(log, handler, coroutine, "skip") == 1
    again = saved(log)
    assert again.skipped == 2 and again.error is not None and again.error.offset == 10


@both
def test_an_interrupted_handler_was_not_done(log: EventLog, coroutine: bool) -> None:
    class Interrupted(Handler):
        def __call__(self, event: Event) -> None:
            if event.offset == 3:
                raise asyncio.CancelledError
            super().__call__(event)

    with pytest.raises(asyncio.CancelledError):
        run(log, Interrupted(), coroutine)
    assert (saved(log).state, saved(log).offset) == ("idle", 3)


def test_a_handler_that_timed_out_was_not_done(log: EventLog) -> None:
    """Also when the block is left as if nothing had happened."""
    handled = []

    async def stuck(event: Event) -> None:
        if event.offset == 3:
            await asyncio.Event().wait()
        handled.append(event.offset)

    async def work() -> None:
        with log.subscribe("", "beginning", cursor="a") as events:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await events.ahandle(stuck)
            with pytest.raises(Closed):
                await events.ahandle(stuck, stop_when_caught_up=True)

    asyncio.run(work())
    assert handled == [0, 1, 2]
    assert drained(log) == list(range(3, 10))


@pytest.mark.parametrize("ack", ["auto", "explicit"])
def test_ctrl_c_that_is_caught_loses_no_event(
    log: EventLog, ack: module.Ack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even between two handlers, and when the disk is full too."""
    with log.subscribe("", "beginning", cursor="a", ack=ack) as events:
        real = events.next_by_now

        def interrupted() -> Event | None:
            event = real()
            if event is not None and event.offset == 3:
                monkeypatch.setattr(Cursors, "write", full)
                raise KeyboardInterrupt
            return event

        def full(*_: object, **__: object) -> None:
            raise CursorNotSaved("saving the cursor a")

        monkeypatch.setattr(events, "next_by_now", interrupted)
        handled = []
        with pytest.raises(KeyboardInterrupt):
            events.handle(lambda event: handled.append(event.offset), stop_when_caught_up=True)
        monkeypatch.undo()
        with pytest.raises(Closed):
            events.handle(print, stop_when_caught_up=True)
    assert handled == [0, 1, 2]
    assert drained(log)[-7:] == list(range(3, 10))


def test_a_signal_handler_may_close_it_within_a_save(
    log: EventLog, save_each: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, real = log.subscribe("", "beginning", cursor="a"), Cursors.write

    def write(*given: Any, **kept: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        real(*given, **kept)

    before = signal.signal(signal.SIGTERM, lambda *_: events.close())
    try:
        assert events.poll() is not None
        with monkeypatch.context() as patch:
            patch.setattr(Cursors, "write", write)
            events.poll()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert events.closed
    assert drained(log) == list(range(1, 10))


def test_cancelling_the_wait_for_an_event_closes_nothing(log: EventLog) -> None:
    handler = Handler(bad=-1)

    async def work() -> None:
        with log.subscribe(cursor="a") as events:
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await events.ahandle(handler)
                mixed(log, 1)
            await events.ahandle(handler, stop_when_caught_up=True)

    asyncio.run(work())
    assert handler.got == [10, 11]


@both
def test_a_handler_waits_for_more_until_stop(log: EventLog, coroutine: bool) -> None:
    handler = Handler(bad=-1)

    def write() -> None:
        for _ in range(5):
            mixed(log, 1)

    writing = threading.Thread(target=write)
    with log.subscribe("", 8, stop=14, cursor="a") as events:
        writing.start()
        if coroutine:
            assert asyncio.run(events.ahandle(handler)) == 6, "a plain function is fine too"
        else:
            assert events.handle(handler) == 6
    writing.join()
    assert handler.got == list(range(8, 14))


@both
def test_a_handler_may_close_it(log: EventLog, coroutine: bool) -> None:
    with log.subscribe("", "beginning", cursor="a") as events:
        if coroutine:
            asyncio.run(events.ahandle(lambda event: events.close(), stop_when_caught_up=True))
        else:
            events.handle(lambda event: events.close(), stop_when_caught_up=True)
    assert saved(log).offset == 1


def test_a_failure_that_cannot_be_kept_is_told(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise CursorNotSaved("saving the cursor a")

    with log.subscribe("", "beginning", cursor="a") as events:
        monkeypatch.setattr(Cursors, "write", full)
        with pytest.raises(HandlerFailed, match="it is not paused") as caught:
            events.handle(Handler(bad=0))
    assert isinstance(caught.value.__cause__, Boom)
    assert "reset" not in caught.value.advice
    assert Cursors(log.home).holder_pid("a") is None


def test_a_failure_of_one_that_was_closed_meanwhile_advises_no_reset(log: EventLog) -> None:
    def fail(event: Event) -> None:
        closing = threading.Thread(target=events.close)
        closing.start()
        closing.join()
        raise Boom

    with log.subscribe("", "beginning", cursor="a") as events:
        with pytest.raises(HandlerFailed) as caught:
            events.handle(fail)
    assert "reset" not in caught.value.advice
    assert drained(log) == list(range(10)), "as it says, subscribing again is enough"
