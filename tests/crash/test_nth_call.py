"""The nth call fails, for every n: of LMDB, of the file system, of memory.

A scenario (open, register, a unit of two events, amend, list, look up, subscribe, close) runs once
to count its calls, then once for each of them, failing just there. What must hold each time:

* the error is one of ours, or the MemoryError itself;
* what was acknowledged is there, and no half of a unit is;
* the very same registry goes on when the fault is gone, or a new one where none could be opened: in
  the end the audit is clean, log and views are those of a run without a fault, and no descriptor
  is left open.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import gc
import io
import mmap
import os
import random
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import lmdb
import pytest

from alphapulse.log import AlphaPulseError, Home, LogBusy, Subscription, verify_store
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.registry import Listing, Origin, Receipt, Registry, Token, Unit
from alphapulse.registry.audit import audit_meaning, audit_views
from alphapulse.registry.commands import Register
from tests.places import in_memory

from .children import report, seeds

LmdbError = tuple[type[lmdb.Error], int]
PARTS = 4
VIEWS_EVERY = 6
"""Of so many points two get a fresh fold of the views; their digests are compared at all."""
DISK: LmdbError = (lmdb.DiskError, errno.EIO)
CORRUPTED: LmdbError = (lmdb.CorruptedError, -30796)
FULL: LmdbError = (lmdb.MapFullError, -30792)
LMDB_ERRORS: dict[str, tuple[LmdbError, ...]] = {
    "lmdb.open": (DISK,),
    "Environment.begin": (DISK, (lmdb.ReadersFullError, -30790), (lmdb.MapResizedError, -30785)),
    "Environment.begin for writing": (DISK, (lmdb.MapResizedError, -30785)),
    "Transaction.put": (DISK, FULL),
    "Transaction.commit": (DISK, FULL),
}
"""By call; all others only read."""
LMDB_READ_ERRORS = (DISK, CORRUPTED)
MENDED = ("ReadersFullError", "MapResizedError", "MapFullError")
"""The store mends these and tries again, so nobody hears of one. (What makes a new log
writes a hundred bytes, alone: there its map is not full, nor bigger than it knows.)"""
UNFAILING = {"abort", "close", "readers", "__exit__", "__enter__"}
"""Calls of LMDB that return nothing that could say so."""
OS_CALLS: dict[tuple[Any, str], tuple[int, ...]] = {
    (os, "open"): (errno.EMFILE, errno.ENFILE),
    (builtins, "open"): (errno.EMFILE,),
    (io, "open"): (errno.EMFILE,),
    (os, "statvfs"): (errno.EMFILE, errno.EIO),
    (os, "scandir"): (errno.EMFILE,),
    (os, "listdir"): (errno.EMFILE,),
    (os, "mkdir"): (errno.ENOSPC, errno.EIO),
    (os, "mkfifo"): (errno.ENOSPC,),
    (os, "rename"): (errno.ENOSPC, errno.EIO),
    (os, "pread"): (errno.EIO,),
    (os, "pwrite"): (errno.EIO,),
    (os, "write"): (errno.ENOSPC, errno.EIO),
    (os, "fsync"): (errno.EIO,),
    (os, "posix_fallocate"): (errno.ENOSPC,),
    (fcntl, "flock"): (errno.ENOLCK,),
    (mmap, "mmap"): (errno.ENOMEM,),
}


class Faults:
    """Counts the calls that this thread makes and fails one of them."""

    def __init__(self, rng: random.Random) -> None:
        self.names: list[str] = []
        self.failed = ""
        self._rng = rng
        self._nth = 0
        self._thread = threading.get_ident()
        self._active = False

    @contextlib.contextmanager
    def failing(self, nth: int) -> Iterator[None]:
        """Within it the nth call from now on fails, counted from 1; 0 for none."""
        self.names, self.failed, self._nth, self._active = [], "", nth, True
        try:
            yield
        finally:
            self._active = False

    def called(self, name: str, errors: list[Callable[[], BaseException]]) -> None:
        if self._active and threading.get_ident() == self._thread:
            self.names.append(name)
            if len(self.names) == self._nth:
                error = self._rng.choice([*errors, MemoryError])()
                self.failed = f"{name} with {error!r}"
                raise error

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                mock.patch("alphapulse.log.lmdb_store.lmdb", _Lmdb("lmdb", faults=self))
            )
            for (place, name), numbers in OS_CALLS.items():
                failing = self._wrapped(getattr(place, name), name, numbers)
                stack.enter_context(mock.patch.object(place, name, failing))
            yield

    def _wrapped(
        self, real: Callable[..., Any], name: str, numbers: tuple[int, ...]
    ) -> Callable[..., Any]:
        errors = [_os_error(number) for number in numbers]

        def call(*arguments: Any, **named: Any) -> Any:
            if name != "flock" or arguments[1] != fcntl.LOCK_UN:  # letting go cannot fail
                self.called(name, errors)
            return None if name == "fsync" else real(*arguments, **named)  # no power is lost here

        return call


def _os_error(number: int) -> Callable[[], BaseException]:
    return lambda: OSError(number, os.strerror(number))


def _lmdb_error(kind: type[lmdb.Error], number: int) -> Callable[[], BaseException]:
    def make() -> BaseException:
        error = kind(f"injected: {kind.__name__}")
        vars(error).update(code=number, reason=kind.__name__)
        return error

    return make


@cache
def _lmdb_errors(name: str) -> list[Callable[[], BaseException]]:
    return [_lmdb_error(*each) for each in LMDB_ERRORS.get(name, LMDB_READ_ERRORS)]


class _Lmdb(ModuleType):
    """The module, but that what it opens can fail."""

    def __init__(self, name: str, *, faults: Faults) -> None:
        super().__init__(name)
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(lmdb, name)

    def open(self, *arguments: Any, **named: Any) -> Any:
        self._faults.called("lmdb.open", _lmdb_errors("lmdb.open"))
        return _Proxy(lmdb.open(*arguments, **named), self._faults)


class _Proxy:
    """An environment, transaction or cursor whose calls are counted."""

    def __init__(self, real: Any, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if name in UNFAILING:
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            writing = " for writing" if named.get("write") else ""
            called = f"{type(self._real).__name__}.{name}{writing}"
            self._faults.called(called, _lmdb_errors(called))
            made = value(*arguments, **named)
            if isinstance(made, lmdb.Transaction | lmdb.Cursor):
                return _Proxy(made, self._faults)
            return made

        return call

    def __enter__(self) -> _Proxy:
        self._real.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        if kind is None:
            try:
                self._faults.called("Transaction.commit", _lmdb_errors("Transaction.commit"))
            except BaseException as failure:  # LMDB aborts what it cannot commit
                self._real.__exit__(type(failure), failure, None)
                raise
        return self._real.__exit__(kind, error, trace)


def token(number: int, symbol: str) -> Token:
    return Token(chain="eip155:1", address=f"0x{number + 1:040x}", symbol=symbol)


class Run:
    """The scenario on one home, and what it saw so far. Each part may be done again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.registry: Registry | None = None
        self.worked = False
        self.acknowledged: dict[int, int] = {}
        """Offset to id."""
        self.subscribed: list[int] = []

    def open(self) -> None:
        registry = Registry.open(self.home, reserve_size_bytes=0, durability="relaxed")
        self.registry = registry
        self._subscription: Subscription | None = None

    def work(self) -> None:
        registry = self.registry
        assert registry is not None
        (first,) = self._got(registry.register(token(0, "A"), source="s"))
        two = Unit([Register.of(token(1, "B")), Register.of(token(2, "B"))], Origin("s"))
        outcome = next(iter(registry.execute([two])))
        if isinstance(outcome, AlphaPulseError):
            raise outcome
        second, third = self._got(*outcome)
        self._got(registry.amend(first, name="Alpha", source="s"))
        self._got(registry.add_listing(Listing(instrument=third, venue="XNAS", currency="USD")))
        assert {record.id for record in registry.by_symbol("B")} == {second, third}
        assert registry.resolve(token(0, "A")) == first
        facts = registry.facts(first)
        assert facts is not None and facts.values["name"] == "Alpha"
        assert len(registry.listings(third)) == 1 and len(registry.history(first)) == 2
        assert registry.by_address("eip155:1", f"0x{1:040x}", as_of=0) is not None
        if self._subscription is None:
            self._subscription = registry.subscribe("", len(self.subscribed))
        while (event := self._subscription.poll()) is not None:
            self.subscribed.append(event.offset)
        assert registry.statistics().instruments == 3
        self.worked = True

    def _got(self, *receipts: Receipt) -> list[int]:
        self.acknowledged.update((receipt.offset, receipt.id) for receipt in receipts)
        return [receipt.id for receipt in receipts]

    def close(self) -> None:
        if self.registry is not None:
            if self._subscription is not None:
                self._subscription.close()
            self.registry.close()
            self.registry = None

    def all(self) -> None:
        self.open()
        self.work()
        self.close()


Fact = tuple[int, int, int]
"""Kind, space and entity of an event."""


def facts_of(registry: Registry) -> list[Fact]:
    return [(event.kind, event.space, event.entity) for event in registry.read()]


class Left(NamedTuple):
    facts: list[Fact]
    digests: dict[str, bytes]


HEADS = (0, 1, 3, 4, 5)
"""Between two units: the second has two events."""


def left_in(home: Path, *, fold: bool = True) -> Left:
    """What is in a home, once it is found whole. fold: also compares the views with a new fold."""
    verdicts = verify_store(Home(home))
    with Registry.open(home, mode="r") as registry:
        verdicts.append(audit_meaning(registry.log))
        if fold:
            verdicts.append(audit_views(registry.log))
        views = registry.statistics().views
        left = Left(facts_of(registry), {name: view.digest for name, view in views.items()})
    assert all(verdict.ok for verdict in verdicts), verdicts
    return left


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def nothing_left_open(before: set[str]) -> bool:
    if len(descriptors()) > len(before):
        gc.collect()  # the frame of a generator that failed may hold a mapping until then
    return len(descriptors()) <= len(before)


def without_fault(home: Path, faults: Faults) -> Left:
    """Leaves the names of all calls in `faults`."""
    with faults.failing(0):
        Run(home).all()
    left = left_in(home)
    assert len(left.facts) == HEADS[-1]
    return left


def fail_at(home: Path, faults: Faults, nth: int, wanted: Left) -> str:
    """One point. Says how the fault was told; AssertionError if anything is wrong."""
    before, run, said = descriptors(), Run(home), "not noticed"
    try:
        with faults.failing(nth):
            run.all()
    except (AlphaPulseError, MemoryError) as error:
        said = type(error).__name__
    if not faults.failed:  # some calls are made by the clock
        assert nth > len(faults.names)
        said = "not reached"
    if run.registry is not None or ("MapFull" not in faults.failed and "writ" not in faults.failed):
        assert said == "not noticed" or not any(name in faults.failed for name in MENDED), said
    if run.registry is not None:
        if not run.worked:
            facts = facts_of(run.registry)
            assert facts == wanted.facts[: len(facts)] and len(facts) in HEADS, facts
            run.work()
        run.close()
    else:
        run.all()
    assert all(wanted.facts[offset][2] == id for offset, id in run.acknowledged.items())
    assert run.subscribed == list(range(len(wanted.facts))), run.subscribed
    assert left_in(home, fold=nth % VIEWS_EVERY < 2) == wanted
    assert nothing_left_open(before), "a descriptor stayed open"
    return said


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: no power is lost here."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as directory:
        yield Path(directory)


@pytest.fixture(autouse=True)
def small_views() -> Iterator[None]:
    with mock.patch("alphapulse.projections.engine.ROWS_MIN", 16):
        yield


def fail_at_each(
    place: Path, seed: int, part: int = 0, parts: int = 1, calls: str = ""
) -> Counter[str]:
    """How faults were told, of every call of a part; AssertionError at the first bad point.

    calls: only those whose names have this regular expression.
    """
    told: Counter[str] = Counter()
    faults = Faults(random.Random(seed))
    with faults.installed():
        wanted = without_fault(place / "whole", faults)
        points = [nth for nth, name in enumerate(faults.names, 1) if re.search(calls, name)]
        for nth in points[part::parts]:
            home = place / str(nth)
            try:
                told[fail_at(home, faults, nth, wanted)] += 1
            except Exception as error:
                raise AssertionError(f"call {nth}, {faults.failed}: {error!r}") from error
            shutil.rmtree(home)
    return told


@pytest.mark.parametrize("part", range(PARTS))
def test_each_call_fails_once(tmp_path: Path, part: int, scale: float) -> None:
    """All parts together: every call once, with one of the errors it can have."""
    for seed in seeds(max(1, round(scale))):
        place = tmp_path / str(seed)
        place.mkdir()
        told = fail_at_each(place, seed, part, PARTS)
        report(f"nth call, part {part + 1} of {PARTS}", [seed], points=told.total(), bad=0,
               **dict(told.most_common()))  # fmt: skip
        assert PARTS * told.total() >= 200
        # Some do no harm, like a doorbell that cannot be had; a scenario without errors is none.
        assert told["MemoryError"] and told["SystemRefused"] and told["Corrupt"]


# Controls: the calls that each is about are enough to find it.


def found(place: Path, calls: str) -> str:
    """What the first bad point says."""
    for seed in seeds(3):
        place = place / "again"
        place.mkdir()
        try:
            fail_at_each(place, seed, calls=calls)
        except AssertionError as error:
            return str(error)
    return "nothing"


def test_control_a_put_that_hides_its_error(tmp_path: Path) -> None:
    """The registry then acknowledges what is not there."""
    real = LmdbStore._put

    def put(self: LmdbStore, blocks: Sequence[bytes], expected_head: int) -> None:
        with contextlib.suppress(lmdb.Error):
            real(self, blocks, expected_head)

    with mock.patch.object(LmdbStore, "_put", put):
        says = found(tmp_path, r"Transaction\.put")
    report("nth call, control: a put that hides its error", found=says[:80])
    assert "injected" in says


def test_control_an_error_that_nobody_mends(tmp_path: Path) -> None:
    """One that is told, and typed, where the store should have mended it and gone on."""
    with mock.patch.object(LmdbStore, "_alone", side_effect=LogBusy("growing the map")):
        says = found(tmp_path, r"Environment\.begin|Transaction\.put")
    report("nth call, control: an error that nobody mends", found=says[:80])
    assert any(name in says for name in MENDED)


def test_control_a_system_error_as_it_is(tmp_path: Path) -> None:
    with mock.patch("alphapulse.log.refusals.SystemCalls.__exit__", return_value=None):
        says = found(tmp_path, "^[a-z_]+$")
    report("nth call, control: a system error as it is", found=says[:80])
    assert "OSError" in says
