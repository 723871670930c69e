from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import (
    BLOCK_EVENTS_MAX,
    AlphaPulseError,
    Closed,
    InvalidInput,
    LogBusy,
    LogFull,
    ReadOnly,
    SystemRefused,
    WriteSession,
)
from alphapulse.projections import ViewFull, Views
from alphapulse.registry import (
    AddListing,
    AddToGroup,
    Amend,
    IdSpaceFull,
    Listing,
    Origin,
    Receipt,
    Register,
    Registry,
    UnknownInstrument,
)
from alphapulse.registry.commands import Command
from alphapulse.registry.state import State
from alphapulse.registry.writer import Writer
from tests.crash.children import seeds
from tests.log.logs import finish, python

from .homes import APPLE, open_home, receipts, record, rows, token, tokens, unit

pytestmark = pytest.mark.usefixtures("forked_interpreters")


def test_a_unit_is_all_or_nothing(registry: Registry) -> None:
    new, other = Register.of(token(1, symbol="T")), Register.of(token(2, symbol="U"))
    units = [
        unit(Register.of(APPLE)),
        unit(new, AddToGroup(new.fingerprint, "a", "g"), Amend(5, {"symbol": "X"})),
        unit(other, AddToGroup(other.fingerprint, "a", "g")),
        unit(new),
    ]  # fmt: skip
    first, refused, third, fourth = registry.execute(units)
    assert isinstance(refused, UnknownInstrument)
    assert [receipt.offset for receipt in receipts(first)] == [0]
    assert [receipt.offset for receipt in receipts(third)] == [1, 2]
    assert [(r.outcome, r.offset) for r in receipts(fourth)] == [("new", 3)]
    assert registry.log.head == 4
    assert registry.groups(receipts(fourth)[0].id) == []
    assert registry.siblings(receipts(third)[0].id) == []
    assert all(each.equal for each in registry.rebuild(check=True))


def test_commands_see_those_before_them(registry: Registry) -> None:
    """In one unit, in one group, before anything of it is in the log or in a view."""
    new = Register.of(token(1, symbol="T"))
    listing = AddListing.make(Listing(instrument=0, venue="XETR", symbol="T"), new.fingerprint)
    id = registry.register(token(9)).id
    registry.amend(id, name="N")
    first, second, third = registry.execute([
        unit(new, listing, new, listing, source="a"),
        unit(Register.of(token(1, symbol="U")), listing, source="a"),
        unit(Register.of(token(1, symbol="V")), source="b"),
    ])  # fmt: skip
    assert [r.outcome for r in receipts(first)] == ["new", "new", "unchanged", "unchanged"]
    assert [r.outcome for r in receipts(second)] == ["amended", "unchanged"]
    assert receipts(third)[0].conflicts == (5,)
    assert registry._writer.groups == 3
    assert registry.log.block(2).count == 4


def test_a_thousand_events_a_commit_and_no_unit_cut(registry: Registry) -> None:
    found = [Register.of(each) for each in tokens(1_001)]
    units = [unit(each, AddToGroup(each.fingerprint, "a", "g"),
                  AddToGroup(each.fingerprint, "a", "h")) for each in found]  # fmt: skip
    outcomes = [receipts(outcome) for outcome in registry.execute(units)]
    blocks = list(registry.log.blocks())
    assert max(block.count for block in blocks) <= BLOCK_EVENTS_MAX
    assert len(blocks) == 5  # 333 units fit; a second session takes what is above 1,000 units
    for outcome in outcomes:
        first, last = outcome[0].offset, outcome[-1].offset
        assert registry.log.block(first).first == registry.log.block(last).first
    assert registry._writer.groups == 2


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


class Callers:
    """Threads that each submit one unit, while nobody gets the write session until `release`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writer = registry._writer
        self.outcomes: dict[int, object] = {}
        self._threads: list[threading.Thread] = []

    def start(self, work: Sequence[Command]) -> None:
        self._registry.log.lock.acquire()
        for number, command in enumerate(work):
            thread = threading.Thread(target=self._submit, args=(number, command), daemon=True)
            self._threads.append(thread)
            thread.start()
            _until(partial(self._are_queued, number + 1))

    def _are_queued(self, count: int) -> bool:
        return len(self._writer._queue) == count

    def _submit(self, number: int, command: Command) -> None:
        try:
            (outcome,) = self._writer.submit([unit(command, source=f"s{number}")])
            self.outcomes[number] = outcome
        except BaseException as error:
            self.outcomes[number] = error

    def release(self) -> None:
        self._registry.log.lock.release()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def test_sixteen_callers_share_a_session(registry: Registry) -> None:
    """One leads and waits; whoever comes meanwhile is carried out with it, one refused."""
    refused = Register.of(APPLE)._replace(fingerprint=bytes(range(16)))  # key and print differ
    work = [Register.of(each) for each in tokens(15)]
    work.insert(7, refused)
    callers = Callers(registry)
    callers.start(work)
    callers.release()
    assert registry._writer.groups == 1
    assert [block.count for block in registry.log.blocks()] == [15]
    assert isinstance(callers.outcomes.pop(7), AlphaPulseError)
    for number, outcome in callers.outcomes.items():
        assert isinstance(outcome, list)
        (receipt,) = outcome
        event = registry.log.event(receipt.offset)
        assert (event.source, event.entity) == (f"s{number}", receipt.id)
        assert receipt.fingerprint == work[number].fingerprint
    assert len(callers.outcomes) == registry.log.head == 15


def test_many_threads_at_once_lose_nothing(registry: Registry) -> None:
    """Free-running: 16 threads, each with its own tokens and some that all have."""
    found: dict[int, list[Receipt]] = {}

    def work(thread: int) -> None:
        mine = [*tokens(20, 1_000 * (thread + 1)), *tokens(5)]
        found[thread] = [registry.register(each, source=f"s{thread}") for each in mine]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = [receipt for each in found.values() for receipt in each]
    assert len(outcomes) == 16 * 25
    assert sum(receipt.outcome == "new" for receipt in outcomes) == 16 * 20 + 5
    assert registry.log.head == 16 * 20 + 5
    assert registry._writer.groups <= 16 * 25
    assert all(registry.get(receipt.id) is not None for receipt in outcomes)
    assert all(each.equal for each in registry.rebuild(check=True))


def test_whoever_cannot_get_the_session_says_so_to_all(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", wait_s=0.02) as registry:
        registry.log.lock.acquire()
        try:
            with pytest.raises(LogBusy):
                registry.register(APPLE)
            outcomes = list(registry.execute(unit(Register.of(each)) for each in tokens(3)))
        finally:
            registry.log.lock.release()
        assert [type(outcome) for outcome in outcomes] == [LogBusy] * 3
        assert registry.register(APPLE).offset == 0


def test_nobody_writes_to_a_home_opened_for_reading(registry: Registry) -> None:
    path = registry.log.home.path
    registry.close()
    with Registry.open(path, mode="r") as reader:
        with pytest.raises(ReadOnly):
            reader.register(APPLE)
        (outcome,) = reader.execute([unit(Register.of(APPLE))])
        assert isinstance(outcome, ReadOnly)


@pytest.mark.parametrize("error", [LogFull("test"), ViewFull("test")])
def test_a_commit_that_fails_is_nobodys(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, error: AlphaPulseError
) -> None:
    """Units of blocks already written keep their receipts; the others all get the error."""
    owner: Any = WriteSession if isinstance(error, LogFull) else Views
    name = "commit" if owner is WriteSession else "reserve_locked"
    real, calls = getattr(owner, name), [0]

    def second_fails(self: object, *arguments: object, **named: object) -> object:
        calls[0] += 1
        if calls[0] == 2:
            raise error
        return real(self, *arguments, **named)

    monkeypatch.setattr(owner, name, second_fails)
    found = [Register.of(each) for each in tokens(600)]
    units = [unit(each, AddToGroup(each.fingerprint, "a", "g")) for each in found]
    outcomes = list(registry.execute(units))
    monkeypatch.undo()
    written = [outcome for outcome in outcomes if isinstance(outcome, list)]
    assert len(written) == 500
    assert outcomes[500:] == [error] * 100
    assert registry.log.head == 1_000
    assert registry.register(tokens(1, 599)[0]).outcome == "new"
    assert all(each.equal for each in registry.rebuild(check=True))


@pytest.mark.parametrize("error", [SystemRefused("folding"), RuntimeError("no")])
def test_what_fails_after_the_commit_says_what_is_written(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Each unit is told its own offsets, one that had nothing to write too."""

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Views, "apply_locked", fails)
        one, two = Register.of(token(1)), Register.of(token(2))
        group = AddToGroup(one.fingerprint, "a", "g")
        outcomes = registry._writer.submit([unit(one, group), unit(one), unit(two)])
    expected = type(error) if isinstance(error, AlphaPulseError) else Closed
    for outcome, written in zip(outcomes, ("0..1", "nothing was to write", "2..2"), strict=True):
        assert type(outcome) is expected
        assert isinstance(outcome, AlphaPulseError)
        assert outcome.facts["written"] == written
        assert "the events are written" in outcome.why
        assert "do not take it for not written" in outcome.advice
    assert registry.log.head == 3
    again = registry.register(token(2))
    assert (again.outcome, again.offset) == ("unchanged", 2)
    assert all(each.equal for each in registry.rebuild(check=True))


def test_what_was_not_yet_committed_is_not_said_to_be_written(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise SystemRefused("folding")

    with monkeypatch.context() as patch:
        patch.setattr(Views, "apply_locked", fails)
        outcomes = registry._writer.submit([unit(Register.of(each)) for each in tokens(1_001)])
    told = [isinstance(each, AlphaPulseError) and "written" in each.facts for each in outcomes]
    assert told == [True] * 1_000 + [False]
    assert registry.log.head == 1_000


class Interrupt:
    def decide(self, state: State, origin: Origin) -> Receipt:
        raise KeyboardInterrupt


def test_an_interrupted_leader_leaves_no_one_waiting(registry: Registry) -> None:
    callers = Callers(registry)
    callers.start([Interrupt(), Register.of(APPLE)])
    callers.release()
    assert [type(callers.outcomes[n]) for n in range(2)] == [KeyboardInterrupt, Closed]
    assert registry.log.head == 0
    with pytest.raises(KeyboardInterrupt):
        registry._writer.submit([unit(Interrupt())])
    assert registry.register(APPLE).offset == 0


@pytest.mark.parametrize(
    "name", ["_check_process", "_enter", "_wait", "_lead"]
)
def test_an_interrupt_at_any_step_leaves_the_next_writer_free(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before and after each step of `submit` on the main thread, as a signal would come."""
    real = getattr(Writer, name)

    def before(*arguments: object) -> object:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return real(*arguments)

    def after(*arguments: object) -> object:
        found = real(*arguments)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return found

    for step in (before, after):
        with monkeypatch.context() as patch:
            patch.setattr(Writer, name, step)
            with pytest.raises(KeyboardInterrupt):
                registry.register(APPLE)
        done: list[Receipt] = []
        next_one = threading.Thread(
            target=lambda found=done: found.append(registry.register(token(1))), daemon=True
        )
        next_one.start()
        next_one.join(30)
        assert done, "the next writer waits for a leader that is gone"


def test_signals_at_random_moments_stop_nobody(registry: Registry, scale: float) -> None:
    """Eight threads write while the main thread, which does so too, gets Ctrl-C all the time."""
    numbers, stop = itertools.count(), threading.Event()
    written = [0] * 8

    def work(thread: int) -> None:
        while not stop.is_set():
            registry.register(token(next(numbers)))
            written[thread] += 1

    def write_until_interrupted(moments: random.Random) -> None:
        main = threading.get_ident()
        timer = threading.Timer(
            moments.uniform(0.001, 0.012), signal.pthread_kill, (main, signal.SIGINT)
        )
        timer.start()
        while True:
            registry.register(token(next(numbers)))

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for seed in seeds(max(1, round(100 * scale))):
        with pytest.raises(KeyboardInterrupt):
            write_until_interrupted(random.Random(seed))
    seen = list(written)
    _until(lambda: all(now > then for now, then in zip(written, seen, strict=True)))
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert registry.register(token(next(numbers))).outcome == "new"
    registry.close()


FORKING = """
    import os, sys, threading, time
    from alphapulse.log import ForkedProcess
    from alphapulse.registry import Currency, Registry

    def fork():
        child = os.fork()
        if child == 0:
            begun = time.monotonic()
            for use in (lambda: registry.register(Currency(code="EUR")), registry.close):
                try:
                    use()
                    os._exit(1)
                except ForkedProcess:
                    pass
            os._exit(0 if time.monotonic() - begun < 5 else 2)
        deadline = time.monotonic() + 8
        while not (done := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, 9)
            time.sleep(0.01)
        print("fine" if done[1] == 0 else done[1])

    registry = Registry.open(sys.argv[1])
    with registry._writer._lock:  # in the child, a thread that is not there holds it
        forking = threading.Thread(target=fork)
        forking.start()
        forking.join()
"""


def test_a_child_forked_while_the_parent_writes_is_refused_at_once(tmp_path: Path) -> None:
    assert finish(python(FORKING, tmp_path / "home")) == "fine\n"


def test_nobody_waits_longer_than_said(tmp_path: Path) -> None:
    """Neither for another thread's rehearsal nor behind one that leads."""
    with open_home(tmp_path / "home", wait_s=0.1) as registry:
        callers: list[threading.Thread] = []
        outcomes: list[object] = []

        def write() -> None:
            (outcome,) = registry._writer.submit([unit(Register.of(APPLE))])
            outcomes.append(outcome)

        with registry.rehearsal():
            for _ in range(3):
                callers.append(threading.Thread(target=write, daemon=True))
                callers[-1].start()
            for caller in callers:
                caller.join(30)
                assert not caller.is_alive()
        assert [type(outcome) for outcome in outcomes] == [LogBusy] * 3
        assert all("another thread of this process" in str(outcome) for outcome in outcomes)
        assert registry.register(APPLE).outcome == "new"


class Mistake:
    def decide(self, state: State, origin: Origin) -> Receipt:
        Register.of(token(9)).decide(state, origin)
        raise TypeError("a mistake")


def test_a_mistake_is_its_own_callers_alone(registry: Registry) -> None:
    callers = Callers(registry)
    callers.start([Register.of(token(1)), Mistake(), Register.of(token(2))])
    callers.release()
    assert registry._writer.groups == 1
    assert isinstance(callers.outcomes.pop(1), TypeError)
    assert [type(outcome) for outcome in callers.outcomes.values()] == [list, list]
    with pytest.raises(TypeError, match="a mistake"):
        list(registry.execute([unit(Mistake()), unit(Register.of(token(3)))]))
    assert registry.log.head == 3, "all but the mistakes, of which nothing is left"
    assert registry.resolve(token(3)) is not None
    assert registry.resolve(token(9)) is None
    assert all(each.equal for each in registry.rebuild(check=True))


def test_closing_waits_for_who_is_writing(registry: Registry) -> None:
    callers = Callers(registry)
    callers.start([Register.of(each) for each in tokens(3)])
    closing = threading.Thread(target=registry.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    callers.release()
    closing.join(30)
    assert not closing.is_alive()
    assert [type(outcome) for outcome in callers.outcomes.values()] == [list] * 3
    with pytest.raises(Closed):
        registry.register(APPLE)
    with pytest.raises(Closed), registry.rehearsal():
        pass


def test_register_many_is_in_order_and_checked_first(registry: Registry) -> None:
    several = tokens(1_200)
    found = registry.register_many(iter(several), source="a")
    assert [receipt.offset for receipt in found] == list(range(1_200))
    assert [record(registry, r.id).symbol for r in found] == [each.symbol for each in several]
    assert [block.count for block in registry.log.blocks()] == [1_000, 200]
    again = registry.register_many([*reversed(several), token(5_000)], source="a")
    assert [receipt.id for receipt in again[:-1]] == [receipt.id for receipt in reversed(found)]
    assert {receipt.outcome for receipt in again[:-1]} == {"unchanged"}
    assert again[-1].offset == 1_200


@pytest.mark.parametrize("index", [0, 3, 1_100])
def test_one_bad_instrument_stops_all_before_anything(registry: Registry, index: int) -> None:
    several = tokens(1_101)
    several[index] = token(1, decimals=99)
    with pytest.raises(InvalidInput) as caught:
        registry.register_many(several)
    assert caught.value.facts["index"] == index
    assert registry.log.head == 0
    assert registry.register_many([]) == []


def test_a_refusal_inside_register_many(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", id_bits=8) as registry:
        registry.register_many(tokens(255))
        with pytest.raises(IdSpaceFull):
            registry.register_many([token(1), token(900)])


def test_a_rehearsal_decides_and_writes_nothing(registry: Registry) -> None:
    known = registry.register(token(1, symbol="T"), source="a")
    before = rows(registry)
    units = [
        unit(Register.of(token(1, symbol="U")), source="a"),
        unit(Register.of(token(1, symbol="V")), source="b"),
        unit(Register.of(token(2))),
        unit(Register.of(token(3)), Amend(5, {"symbol": "X"})),
        unit(Register.of(token(2))),
    ]
    with registry.rehearsal() as rehearsal:
        outcomes = list(rehearsal.execute(units))
    amended, conflict, new, refused, unchanged = outcomes
    assert receipts(amended) == [known._replace(offset=1, outcome="amended")]
    assert receipts(conflict)[0].conflicts == (2,)
    assert (receipts(new)[0].outcome, receipts(new)[0].offset) == ("new", 3)
    assert isinstance(refused, UnknownInstrument)
    assert receipts(unchanged)[0].outcome == "unchanged"
    assert registry.log.head == 1
    assert rows(registry) == before
    really = list(registry.execute(units))
    assert [o if isinstance(o, list) else type(o) for o in really] == [
        o if isinstance(o, list) else type(o) for o in outcomes
    ]


def test_a_commit_that_a_killed_writer_left_unseen_is_decided_after(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB shows it to readers once somebody has begun to write; until then the head is the old."""
    registry.register(token(1))
    store = registry.log.store
    stale, head, append = store.head(), store.head, store.append
    with monkeypatch.context() as killed:
        killed.setattr(Views, "apply_locked", lambda *_: None)
        lost = registry.register(token(2)).id

    def recovering(block: bytes, expected_head: int) -> None:
        monkeypatch.setattr(store, "head", head)
        append(block, expected_head)

    monkeypatch.setattr(store, "head", lambda: stale)
    monkeypatch.setattr(store, "append", recovering)
    again, new = registry.execute([unit(Register.of(token(2))), unit(Register.of(token(3)))])
    assert [(r.outcome, r.id) for r in receipts(again)] == [("unchanged", lost)]
    assert [(r.outcome, r.offset) for r in receipts(new)] == [("new", 2)]
    assert registry.log.head == 3
    assert all(each.equal for each in registry.rebuild(check=True))
