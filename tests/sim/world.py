"""A whole registry in one thread: processes, subscribers, a disk, a clock and one dice.

Everything here is the real code but for four things that are fakes: the disk under the log
(`Disk`), the clock, the boot id, and time between steps. `World.step` lets the dice choose who
does what. While a commit is under way (`Disk.delay`) others have their turn, or the power goes, or
the writer is killed. Each process has its own handles and its own writer lock, and no wait is
longer than nothing, so no step depends on real time: one seed is one history, and `trace` says
which. What it holds the registry to:

* what was acknowledged is there, at its offset, for ever;
* a subscriber has, in order and once each, the events that match it up to its position;
* whatever the views say at an offset, every process says there, and a fresh fold too.

`World.settle` ends the faults, lets everyone catch up, and then all must agree.
"""

from __future__ import annotations

import gc
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

from blake3 import blake3

from alphapulse.log import (
    AlphaPulseError,
    Block,
    Event,
    EventLog,
    Genesis,
    Home,
    Pattern,
    RecordingClock,
    Subscription,
    chain_hash,
)
from alphapulse.log.verify import verify_blocks
from alphapulse.projections.layout import CLEAN, PAGE_SIZE_BYTES, WORD_SIZE_BYTES
from alphapulse.registry import Listing, Registry
from alphapulse.registry.audit import audit_meaning, audit_views
from tests.registry.homes import token

from .memory_store import Disk, MemoryStore, PowerLost

HOUR_NS = 3_600 * 10**9
NUMBERS = 30
"""Tokens that are written about; few, so that most are written about again."""
PROCESSES = 3
SUBSCRIBERS_MAX = 8
PATTERNS = (
    "", "kind=instrument.registered", "kind=instrument", "kind=listing.added", "source=a",
    "symbol=S1", "not source=a", "kind=conflict or kind=collision", "venue=XNAS or symbol=S2",
)  # fmt: skip
WEIGHTS = {
    "register": 20, "register_many": 6, "amend": 8, "add_listing": 6, "poll": 34, "read": 6,
    "look": 5, "subscribe": 3, "resubscribe": 3, "hold": 2, "let_go": 4, "kill": 1, "start": 14,
    "close": 1, "lose_power": 0.5, "doom": 2, "full": 1, "resize": 6, "set_clock": 4,
    "rebuild": 0.5,
}  # fmt: skip
MEANWHILE = ("register", "amend", "poll", "poll", "poll", "read", "look")
"""What others may do while a commit is under way."""


parsed = cache(Pattern.parse)


class Killed(BaseException):
    """The writing process is gone in the middle of a commit."""


class Clock:
    """ns. `skew` is what an operator or a broken time server adds to the wall clock."""

    def __init__(self) -> None:
        self.boot = 0
        self.skew = 0

    def wall_ns(self) -> int:
        return 1_764_000_000 * 10**9 + self.boot + self.skew

    def boot_ns(self) -> int:
        return self.boot


class Process:
    """`registry` is None while it is down."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.registry: Registry | None = None
        self.holding: AbstractContextManager[object] | None = None
        """The write session, kept over several steps."""

    def die(self) -> None:
        """As the kernel does it: its files are closed, so its lock is free; nothing is tidied."""
        if self.registry is not None:
            self.registry.log.lock._drop()
        self.registry = self.holding = None


class Subscriber:
    """A consumer that stores position and effect in one transaction, so exactly once."""

    def __init__(self, registry: Registry, pattern: str, start: int) -> None:
        self.pattern = pattern
        self.start = self.position = start
        self.frames: list[bytes] = []
        self._subscription: Subscription | None = None
        self.subscribe(registry)

    def subscribe(self, registry: Registry) -> None:
        self._subscription = registry.subscribe(self.pattern, self.position)
        self._registry = registry

    def lives_in(self, registry: Registry | None) -> bool:
        return registry is not None and self._registry is registry

    def poll(self) -> bool:
        """Takes one event; False when there is none."""
        assert self._subscription is not None
        event = self._subscription.poll()
        if event is not None:
            self.frames.append(event.frame)
        self.position = self._subscription.position
        return event is not None


class World:
    def __init__(
        self, place: Path, seed: int, *, store: type[MemoryStore] = MemoryStore,
        subscriber: type[Subscriber] = Subscriber,
    ) -> None:  # fmt: skip
        self.rng = random.Random(seed)
        self.home = Home(place)
        self.home.path.mkdir()
        self.home.make_directories()
        self.clock = Clock()
        genesis = Genesis(1, self.rng.randbytes(16), self.rng.choice([8, 64]), 1)
        self.disk = Disk(genesis, self.rng)
        self.disk.delay = self._meanwhile
        self.trace: list[str] = []
        self.counts: dict[str, int] = {}
        """Of what happened, to see that a run did not happen to be dull."""
        self._store = store
        self._subscriber = subscriber
        self._boot = 1
        self._processes = [Process(number) for number in range(PROCESSES)]
        self._subscribers: list[Subscriber] = []
        self._acknowledged: dict[int, tuple[int, int]] = {}
        """Offset of each receipt: number of the token, id."""
        self._views: dict[int, list[bytes]] = {}
        """The digests that were seen at each offset."""
        self._events: list[Event] = []
        self._busy = self._doomed = False
        self._actions = {name: getattr(self, f"_{name}") for name in WEIGHTS}

    @contextmanager
    def running(self) -> Iterator[World]:
        """Small tables, a checkpoint after each commit, and our own boot id."""
        with (
            mock.patch("alphapulse.projections.engine.ROWS_MIN", 16),
            mock.patch("alphapulse.log.checkpoints.INTERVAL_S", -1.0),
            mock.patch("alphapulse.projections.engine.this_boot", side_effect=self._boot_id),
            mock.patch("os.fsync"),  # the power that goes here is not the real one
        ):
            self._start()
            try:
                yield self
            finally:
                for process in self._processes:
                    process.die()
                # The dead left cycles, young ones, and in them mapped files by the dozen.
                gc.collect(1)

    def _boot_id(self) -> bytes:
        return self._boot.to_bytes(16, "little")

    def run(self, steps: int) -> bytes:
        """Digest of the whole history. Raises AssertionError at the first thing that is wrong."""
        with self.running():
            for _ in range(steps):
                self.step()
            self.settle()
        return blake3("\n".join(self.trace).encode()).digest()

    # One step

    def step(self) -> None:
        self.clock.boot += self.rng.randint(1, 10**9)
        name = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        try:
            self._do(name)
        except PowerLost:
            self._power_is_gone()

    def _do(self, name: str, nested: str = "") -> None:
        try:
            said = self._actions[name]()
        except AlphaPulseError as error:
            said = type(error).__name__
        self.trace.append(f"{nested}{self.clock.boot} {name} {said}")
        self.counts[name] = self.counts.get(name, 0) + 1
        if isinstance(said, str):
            self.counts[said] = self.counts.get(said, 0) + 1

    def _meanwhile(self) -> None:
        """Within a commit: a moment in which others go on, or the writer is killed."""
        if self._doomed:
            self._doomed = False
            raise Killed
        if not self._busy and self.rng.random() < 0.3:
            self._busy = True
            try:
                self._do(self.rng.choice(MEANWHILE), nested="  ")
            finally:
                self._busy = False

    def _one(self) -> Registry | None:
        living = [each.registry for each in self._processes if each.registry is not None]
        return self.rng.choice(living) if living else None

    # Writing

    def _write(self, write: Callable[[Registry], object]) -> object:
        registry = self._one()
        if registry is None:
            return "nobody"
        try:
            said = write(registry)
        except Killed:
            next(each for each in self._processes if each.registry is registry).die()
            return "killed"
        self._remember_views(registry)
        return said

    def _token(self) -> int:
        return self.rng.randrange(NUMBERS)

    def _register(self) -> object:
        number, source = self._token(), self.rng.choice("ab")
        symbol = f"S{self.rng.randrange(3)}"

        def write(registry: Registry) -> object:
            receipt = registry.register(token(number, symbol=symbol), source=source)
            self._acknowledge(receipt.offset, number, receipt.id)
            return receipt.outcome, receipt.offset

        return self._write(write)

    def _register_many(self) -> object:
        numbers = [self._token() for _ in range(self.rng.randint(2, 12))]

        def write(registry: Registry) -> object:
            receipts = registry.register_many([token(n) for n in numbers], source="a")
            for number, receipt in zip(numbers, receipts, strict=True):
                self._acknowledge(receipt.offset, number, receipt.id)
            return [receipt.offset for receipt in receipts]

        return self._write(write)

    def _known(self) -> tuple[int, int] | None:
        known = list(self._acknowledged.values())
        return self.rng.choice(known) if known else None

    def _amend(self) -> object:
        name, known = f"N{self.rng.randrange(4)}", self._known()
        if known is None:
            return None

        def write(registry: Registry) -> object:
            receipt = registry.amend(known[1], name=name, source="b")
            self._acknowledge(receipt.offset, *known)
            return receipt.outcome, receipt.offset

        return self._write(write)

    def _add_listing(self) -> object:
        venue, known = self.rng.choice(["XNAS", "XETR", "binance"]), self._known()
        if known is None:
            return None

        def write(registry: Registry) -> object:
            receipt = registry.add_listing(Listing(instrument=known[1], venue=venue))
            return receipt.outcome, receipt.offset

        return self._write(write)

    def _acknowledge(self, offset: int, number: int, id: int) -> None:
        known = self._acknowledged.setdefault(offset, (number, id))
        assert known == (number, id), f"{offset} was acknowledged as two events"

    def _hold(self) -> object:
        process = self.rng.choice(self._processes)
        if process.registry is None or process.holding is not None:
            return None
        holding = process.registry.rehearsal()
        holding.__enter__()
        process.holding = holding
        return process.number

    def _let_go(self) -> object:
        for process in self._processes:
            if process.holding is not None:
                holding, process.holding = process.holding, None
                holding.__exit__(None, None, None)
                return process.number
        return None

    # Reading

    def _log(self) -> list[Event]:
        """All events as the disk has them; the blocks that came since the last look are decoded."""
        disk = self.disk
        head = disk.heads[disk.visible - 1].offset if disk.visible else 0
        del self._events[head:]
        while len(self._events) < head:
            block = Block(disk.blocks[bisect_right(disk.firsts, len(self._events)) - 1])
            self._events += block.events()
        return self._events

    def _read(self) -> object:
        registry, events = self._one(), self._log()
        pattern = parsed(self.rng.choice(PATTERNS))
        start = self.rng.randint(0, len(events))
        if registry is None:
            return "nobody"
        found = [event.frame for event in registry.log.read(start, None, pattern)]
        assert found == self._matching(pattern, start, len(events)), "a read is not the log"
        return len(found)

    def _matching(self, pattern: Pattern, start: int, stop: int) -> list[bytes]:
        return [event.frame for event in self._log()[start:stop] if pattern.matches(event)]

    def _look(self) -> object:
        registry = self._one()
        return "nobody" if registry is None else self._remember_views(registry)

    def _remember_views(self, registry: Registry) -> object:
        """What each process says at an offset must be the same."""
        states = list(registry.statistics().views.values())
        offsets = {state.offset for state in states}
        if len(offsets) == 1:
            offset, digests = offsets.pop(), [state.digest for state in states]
            known = self._views.setdefault(offset, digests)
            assert known == digests, f"the views at {offset} are not those seen before"
            return offset
        return sorted(offsets)

    # Subscribing

    def _subscribe(self) -> object:
        registry = self._one()
        if registry is None or len(self._subscribers) == SUBSCRIBERS_MAX:
            return None
        pattern = self.rng.choice(PATTERNS)
        start = self.rng.choice([0, registry.log.head, self.rng.randint(0, registry.log.head)])
        self._subscribers.append(self._subscriber(registry, pattern, start))
        return pattern, start

    def _poll(self) -> object:
        if not self._subscribers:
            return None
        subscriber = self.rng.choice(self._subscribers)
        if not any(subscriber.lives_in(each.registry) for each in self._processes):
            registry = self._one()
            if registry is None:
                return "nobody"
            subscriber.subscribe(registry)
        wanted = self.rng.choice([1, 3, 1_000])
        taken = 0
        while taken < wanted and subscriber.poll():
            taken += 1
        return self._subscribers.index(subscriber), taken, subscriber.position

    def _resubscribe(self) -> object:
        registry = self._one()
        if registry is None or not self._subscribers:
            return None
        subscriber = self.rng.choice(self._subscribers)
        subscriber.subscribe(registry)
        return self._subscribers.index(subscriber), subscriber.position

    # Faults

    def _start(self) -> object:
        down = [each for each in self._processes if each.registry is None]
        if not down:
            return None
        process = self.rng.choice(down)
        self.clock.skew = 0  # an opener believes the clock that it finds
        log = EventLog(
            self.home, self._store(self.disk),
            RecordingClock(wall_ns=self.clock.wall_ns, boot_ns=self.clock.boot_ns),
        )  # fmt: skip
        assert not log.broken, log.broken
        process.registry = Registry(log, wait_s=0)
        return process.number

    def _kill(self) -> object:
        process = self.rng.choice(self._processes)
        process.die()
        return process.number

    def _close(self) -> object:
        process = self.rng.choice(self._processes)
        if process.registry is None or process.holding is not None:
            return None
        process.registry.close()
        process.registry = None
        return process.number

    def _doom(self) -> object:
        """The next commits: the power goes, or the writer is killed."""
        if self.rng.random() < 0.5:
            self._doomed = True
            return "writer"
        self.disk.power_lost_at = self.rng.randint(1, 6)
        return self.disk.power_lost_at

    def _lose_power(self) -> object:
        raise PowerLost

    def _power_is_gone(self) -> None:
        for process in self._processes:
            process.die()
        dropped = self.disk.crash()
        self._boot += 1
        self.clock.skew = 0
        for path in sorted(self.home.views.glob("*.*")):
            self._lose_pages(path)
        self.trace.append(f"{self.clock.boot} the power was lost, {dropped} blocks")
        self.counts["power lost"] = self.counts.get("power lost", 0) + 1

    def _lose_pages(self, path: Path) -> None:
        """Of a view that was not synced any page may be an old one."""
        data = bytearray(path.read_bytes())
        clean = data[CLEAN * WORD_SIZE_BYTES]
        if not clean and len(data) >= PAGE_SIZE_BYTES:
            page = self.rng.randrange(1, len(data) // PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES
            data[page : page + PAGE_SIZE_BYTES] = bytes(PAGE_SIZE_BYTES)
            path.unlink()  # nobody has it mapped any more who is alive
            path.write_bytes(data)

    def _full(self) -> object:
        self.disk.full()
        return None

    def _resize(self) -> object:
        self.disk.resize(self.rng.choice([self.disk.used_bytes + 2_000, 1 << 40]))
        return None

    def _set_clock(self) -> object:
        self.clock.skew = self.rng.choice(
            [0, -HOUR_NS // 2, HOUR_NS // 3, -3 * HOUR_NS, 2 * HOUR_NS, 600_000 * HOUR_NS]
        )
        return self.clock.skew

    def _rebuild(self) -> object:
        registry = self._one()
        if registry is None or any(each.holding is not None for each in self._processes):
            return None
        results = registry.rebuild()
        assert all(result.equal for result in results), "the views differ from a fresh fold"
        return len(results)

    # The end

    def settle(self) -> None:
        """No more faults: everybody starts, catches up, and must agree."""
        self.disk.delay = lambda: None
        self.disk.power_lost_at = 0
        self._doomed = False
        self.disk.resize()
        self.clock.skew = 0
        self._let_go()
        while any(each.registry is None for each in self._processes):
            self._start()
        registries = [each.registry for each in self._processes if each.registry is not None]
        registries[0].register(token(NUMBERS), source="end")
        events = self._log()
        for offset, (number, id) in self._acknowledged.items():
            assert offset < len(events), f"{offset} was acknowledged and is gone"
            ids = {each.resolve(token(number)) for each in registries}
            assert ids == {id}, f"the instrument of {offset} is not in the views"
        for subscriber in self._subscribers:
            subscriber.subscribe(self.rng.choice(registries))
            while subscriber.poll():
                pass
            assert subscriber.position == len(events)
            expected = self._matching(
                parsed(subscriber.pattern), subscriber.start, len(events)
            )
            assert subscriber.frames == expected, f"a subscriber to {subscriber.pattern!r}"
        self._agree(registries)

    def _agree(self, registries: list[Registry]) -> None:
        log = registries[0].log
        seed = chain_hash(b"", log.genesis.encode())
        verdicts = [*verify_blocks(self.disk.blocks, seed, []), audit_meaning(log)]
        verdicts.append(audit_views(log))
        assert all(verdict.ok for verdict in verdicts), [v.detail for v in verdicts if not v.ok]
        said = [
            [(view.offset, view.digest) for view in each.statistics().views.values()]
            for each in registries
        ]
        assert all(each == said[0] for each in said) and said[0][0][0] == log.head
        self.trace.append(f"{log.chain_head.hex()} {said[0]}")
