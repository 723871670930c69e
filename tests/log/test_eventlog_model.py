"""Random uses of one log beside a plain list of what was committed: they must always be equal."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alphapulse.log.block import chain_hash, encode_block
from alphapulse.log.bodies import AnyBody
from alphapulse.log.copying import copy_prefix
from alphapulse.log.errors import OffsetOutOfRange
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.kinds import Kind
from alphapulse.log.pattern import Pattern
from alphapulse.log.session import WriteSession
from alphapulse.log.subscription import Subscription
from tests.crash.children import report, seeds
from tests.places import in_memory

from .builders import columns_of_event, instrument_body, listing_body
from .logs import GENESIS, Ticks, draft, ticking

STEP_NS = 1_000
SUBSCRIPTIONS_MAX = 3


class Said(NamedTuple):
    """One event, as the model remembers it."""

    kind: int
    entity: int
    previous: int | None
    source: str
    symbol: str
    body: AnyBody


PATTERNS: dict[str, Callable[[Said], bool]] = {
    "": lambda said: True,
    "kind=instrument.registered": lambda said: said.kind == Kind.INSTRUMENT_REGISTERED,
    "kind=instrument": lambda said: said.kind != Kind.LISTING_ADDED,
    "source=a": lambda said: said.source == "a",
    "not source=a": lambda said: said.source != "a",
    "kind=listing or symbol=S1": lambda said: (
        said.kind == Kind.LISTING_ADDED or said.symbol == "S1"
    ),
    "kind=instrument.amended and source=b": lambda said: (
        said.kind == Kind.INSTRUMENT_AMENDED and said.source == "b"
    ),
    "symbol=none": lambda said: False,
}
KINDS = st.sampled_from(
    [Kind.INSTRUMENT_REGISTERED, Kind.INSTRUMENT_AMENDED, Kind.LISTING_ADDED]
)  # fmt: skip
ASKED = st.sampled_from(sorted(PATTERNS))
PLACE = st.floats(0, 1)
"""A place in the log, as a part of its length."""


class Following(NamedTuple):
    subscription: Subscription
    pattern: str
    stop: int | None


class Logs(RuleBasedStateMachine):
    runs = 0
    """Of all machines so far."""

    def __init__(self) -> None:
        super().__init__()
        Logs.runs += 1
        self.folder = Path(tempfile.mkdtemp(dir=in_memory()))
        self.clock = Ticks(step=STEP_NS)
        EventLog.create(self.folder / "home", genesis=GENESIS)
        self.committed: list[Said] = []
        self.pending: list[Said] = []
        self.ends: list[int] = []
        """The head after each commit."""
        self.times: list[int] = []
        """Recorded time of each commit."""
        self.session: WriteSession | None = None
        self.followed: list[Following] = []
        self.positions: list[int] = []
        self.copies = 0
        self._open()

    def _open(self) -> None:
        self.log = EventLog.open(
            self.folder / "home", durability="relaxed", clock=ticking(self.clock)
        )

    def teardown(self) -> None:
        try:
            if self.session is not None:
                self.session.discard()
                self.session.__exit__(None, None, None)
            self.log.close()
        finally:
            shutil.rmtree(self.folder)

    # Writing

    @precondition(lambda self: self.session is None)
    @rule()
    def enter(self) -> None:
        self.session = self.log.writing()
        self.session.__enter__()

    def _append(self, session: WriteSession, kind: int, number: int, source: str) -> None:
        head = len(self.committed) + len(self.pending)
        symbol = f"S{number % 3}"
        body = (
            listing_body(number, symbol=symbol) if kind == Kind.LISTING_ADDED
            else instrument_body(number, symbol=symbol)
        )  # fmt: skip
        previous = head - 1 if number % 2 and head else None
        drafted = draft(number, kind=kind, previous=previous, body=body, source=source)
        assert session.append(drafted) == head
        self.pending.append(Said(kind, number, previous, source, symbol, body))

    @rule(kind=KINDS, number=st.integers(1, 9), source=st.sampled_from("ab"))
    def append_one(self, kind: int, number: int, source: str) -> None:
        if self.session is not None:
            self._append(self.session, kind, number, source)
            return
        with self.log.writing() as session:
            self._append(session, kind, number, source)
        self._committed()

    @rule(count=st.integers(2, 20), kind=KINDS, source=st.sampled_from("ab"))
    def append_many(self, count: int, kind: int, source: str) -> None:
        with_own = self.log.writing() if self.session is None else None
        session = self.session or with_own
        assert session is not None
        if with_own is not None:
            with_own.__enter__()
        for number in range(1, count + 1):
            self._append(session, kind, number, source)
        if with_own is not None:
            with_own.__exit__(None, None, None)
            self._committed()

    @precondition(lambda self: self.session is not None)
    @rule()
    def commit(self) -> None:
        assert self.session is not None
        commit = self.session.commit()
        assert (commit is None) == (not self.pending)
        if commit is not None:
            assert commit.first == len(self.committed)
            assert commit.last == commit.first + len(self.pending) - 1
        self._committed()

    @precondition(lambda self: self.session is not None)
    @rule()
    def discard(self) -> None:
        assert self.session is not None
        self.session.discard()
        self.pending.clear()

    @precondition(lambda self: self.session is not None)
    @rule(failed=st.booleans())
    def leave(self, failed: bool) -> None:
        assert self.session is not None
        error = ValueError("of the caller") if failed else None
        self.session.__exit__(type(error) if error else None, error, None)
        self.session = None
        if failed:
            self.pending.clear()
        self._committed()

    def _committed(self) -> None:
        if self.pending:
            self.committed += self.pending
            self.pending.clear()
            self.ends.append(len(self.committed))
            self.times.append(self.log.block(len(self.committed) - 1).time)

    @precondition(lambda self: self.session is None)
    @rule()
    def reopen(self) -> None:
        self.log.close()
        self._open()
        assert not self.log.broken
        self.followed = [
            Following(self.log.subscribe(each.pattern, at, stop=each.stop), *each[1:])
            for each, at in zip(self.followed, self.positions, strict=True)
        ]

    # Reading

    def _at(self, place: float) -> int:
        return round(place * len(self.committed))

    def _same(self, event: Event, offset: int) -> None:
        said = self.committed[offset]
        assert (event.offset, event.kind, event.entity) == (offset, said.kind, said.entity)
        assert (event.previous, event.source, event.body) == (
            said.previous, said.source, said.body
        )  # fmt: skip
        assert event.recorded == self.times[bisect_left(self.ends, offset + 1)]

    @rule(start=PLACE, stop=PLACE, beyond=st.integers(0, 3), pattern=ASKED)
    def read(self, start: float, stop: float, beyond: int, pattern: str) -> None:
        first, end = self._at(start), self._at(stop) + beyond
        found = list(self.log.read(first, end, Pattern.parse(pattern)))
        wanted = [
            offset
            for offset in range(first, min(end, len(self.committed)))
            if PATTERNS[pattern](self.committed[offset])
        ]
        assert [event.offset for event in found] == wanted
        for event in found:
            self._same(event, event.offset)

    @rule(place=PLACE)
    def look_at_one(self, place: float) -> None:
        offset = self._at(place)
        if offset == len(self.committed):
            for ask in (self.log.event, self.log.block):
                with pytest.raises(OffsetOutOfRange):
                    ask(offset)
            return
        self._same(self.log.event(offset), offset)
        index = bisect_left(self.ends, offset + 1)
        block = self.log.block(offset)
        assert (block.first, block.stop) == (self.ends[index - 1] if index else 0, self.ends[index])
        self._same(block.at(offset), offset)

    @precondition(lambda self: self.committed)
    @rule(place=PLACE, shift=st.integers(-1, 1))
    def offset_at(self, place: float, shift: int) -> None:
        at = self.times[min(int(place * len(self.times)), len(self.times) - 1)] + shift
        earlier = [end for end, time in zip(self.ends, self.times, strict=True) if time < at]
        assert self.log.offset_at(at) == max(earlier, default=0)

    def _chain(self, head: int) -> bytes:
        """Of all blocks up to there, encoded again from their events."""
        chain, first = chain_hash(b"", GENESIS.encode()), 0
        for end, time in zip(self.ends, self.times, strict=True):
            stop = min(end, head)
            if first < stop:
                events = [self.log.event(offset) for offset in range(first, stop)]
                frames = [event.frame for event in events]
                columns = [columns_of_event(event) for event in events]
                chain = encode_block(first, time, chain, frames, columns)[:32]
            first = end
        return chain

    @rule(place=PLACE)
    def chain_at(self, place: float) -> None:
        assert self.log.chain_at(self._at(place)) == self._chain(self._at(place))
        assert self.log.chain_at(len(self.committed)) == self.log.chain_head

    @rule(place=PLACE)
    def copy(self, place: float) -> None:
        stop, self.copies = self._at(place), self.copies + 1
        target = self.folder / f"copy{self.copies}"
        copied = copy_prefix(self.log, target, stop)
        assert (copied.events, copied.chain_head) == (stop, self._chain(stop))
        with EventLog.open(target, mode="r") as log:
            frames = [event.frame for event in log.read()]
            assert frames == [event.frame for event in self.log.read(0, stop)]
            assert log.genesis == self.log.genesis

    # Following

    @precondition(lambda self: len(self.followed) < SUBSCRIPTIONS_MAX)
    @rule(
        pattern=ASKED, start=st.one_of(st.sampled_from(["now", "beginning"]), PLACE),
        stop=st.one_of(st.none(), st.none(), st.integers(0, 60)),
    )  # fmt: skip
    def subscribe(self, pattern: str, start: str | float, stop: int | None) -> None:
        given = start if isinstance(start, str) else self._at(start)
        at = {"now": len(self.committed), "beginning": 0}.get(str(start), given)
        assert isinstance(at, int)
        following = self.log.subscribe(pattern, given, stop=stop)
        assert following.position == at
        self.followed.append(Following(following, pattern, stop))
        self.positions.append(at)

    @precondition(lambda self: self.followed)
    @rule(which=st.integers(0, SUBSCRIPTIONS_MAX - 1), count=st.sampled_from([1, 3, 100]))
    def poll(self, which: int, count: int) -> None:
        number = which % len(self.followed)
        following, pattern, stop = self.followed[number]
        end = len(self.committed) if stop is None else min(stop, len(self.committed))
        for _ in range(count):
            at = self.positions[number]
            matching = (o for o in range(at, end) if PATTERNS[pattern](self.committed[o]))
            wanted, event = next(matching, None), following.poll()
            if wanted is None:
                assert event is None
                assert following.position == max(at, end)
                self.positions[number] = following.position
                return
            assert event is not None
            self._same(event, wanted)
            assert wanted < following.position <= end
            self.positions[number] = following.position

    @invariant()
    def it_ends_where_the_list_ends(self) -> None:
        assert self.log.head == len(self.committed)
        assert self.log.statistics().blocks == len(self.ends)


class Forgetful(Logs):
    """Beside a log that has lost its last event whenever it is opened again."""

    def _open(self) -> None:
        super()._open()
        if self.committed:
            self.copies += 1
            less = self.folder / f"less{self.copies}"
            copy_prefix(self.log, less, len(self.committed) - 1)
            self.log.close()
            self.log = EventLog.open(less, durability="relaxed", clock=ticking(self.clock))


RUNS, STEPS = 100, 50
_PROFILE = settings.get_profile(settings.get_current_profile_name())
_SETTINGS = settings(
    _PROFILE, max_examples=max(RUNS, 4 * _PROFILE.max_examples), stateful_step_count=STEPS
)  # fmt: skip


def test_the_log_is_the_list() -> None:
    """100 runs of up to 50 steps, however few examples other tests have."""
    before, wanted = Logs.runs, list(seeds(1))
    run_state_machine_as_test(seed(wanted[0])(Logs), settings=_SETTINGS)
    runs = Logs.runs - before
    report("state machine", wanted, runs=runs, steps_max=STEPS, bad=0)
    assert runs >= RUNS


def test_control_a_log_that_forgets_an_event_at_reopen() -> None:
    wanted = list(seeds(1))
    unshrunk = settings(_SETTINGS, phases=[Phase.generate], print_blob=False)
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(seed(wanted[0])(Forgetful), settings=unshrunk)
    found = traceback.extract_tb(caught.value.__traceback__)[-1].name
    assert found == Logs.it_ends_where_the_list_ends.__name__
    report("state machine, control: an event is gone at reopen", wanted, found=found)
