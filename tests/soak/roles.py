"""What the processes of a soak do, each until it is told to stop, or is killed.

What they acknowledge goes to files by one write for each line, which a kill -9 does not undo. A
process that sees something wrong says so and goes on.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from unittest import mock

from alphapulse.log import make_backup
from alphapulse.registry import Registry, Token
from tests.crash.children import Say, forked_verification

THREADS: Final = 4
PATTERN: Final = "kind=instrument.registered"
NUMBERS: Final = 1 << 32
"""So many tokens one life of a writer may register; the next life counts from there."""


class Place(NamedTuple):
    """Where a role works. life: the how-manieth process of this name it is."""

    home: Path
    name: str
    number: int
    life: int
    seed: int
    pause_s: float
    early: bool
    """Acknowledge before the commit: the broken variant."""

    @property
    def record(self) -> Path:
        """What this role acknowledged or received, in all its lives."""
        return self.home.parent / f"{self.name}.record"

    @property
    def first(self) -> int:
        return ((self.number << 16) + self.life) * NUMBERS


Role = Callable[[Place, Say, threading.Event], None]


def token(number: int) -> Token:
    return Token(
        chain="eip155:10", address=f"0x{number + 1:040x}", symbol=f"S{number % 1000}", decimals=18
    )


@contextmanager
def registry(place: Place, *, write: bool) -> Iterator[Registry]:
    """Opened as any process would, but that small views grow often, and forks verify."""
    with (
        forked_verification(),
        mock.patch("alphapulse.projections.engine.ROWS_MIN", 64),
        mock.patch("alphapulse.projections.engine.GROWTH_FACTOR", 1.5),
        Registry.open(place.home, mode="rw" if write else "r", wait_s=60) as opened,
    ):
        yield opened


class Record:
    """Lines that survive this process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def line(self, number: int) -> None:
        os.write(self._file, b"%d\n" % number)


def whole_lines(path: Path, newest_bytes: int | None = None) -> list[int]:
    """The numbers in a record, or those that its newest bytes hold whole."""
    if not path.exists():
        return []
    with open(path, "rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        start = 0 if newest_bytes is None else max(0, size_bytes - newest_bytes)
        file.seek(start)
        lines = file.read().splitlines(keepends=True)
    return [int(line) for line in lines[start > 0 :] if line.endswith(b"\n")]


def write_in_threads(place: Place, say: Say, stop: threading.Event) -> None:
    """Threads that register one token at a time and so share commits; now and then they retry."""
    record = Record(place.record)

    def work(thread: int, to: Registry) -> None:
        rng = random.Random(place.seed + thread)
        number = place.first + thread
        while not stop.is_set():
            if place.early:
                record.line(number)
            receipt = to.register(token(number))
            if not place.early:
                record.line(number)
            if rng.random() < 0.05 and to.register(token(number)).id != receipt.id:
                say(f"wrong: token {number} got another id when it was registered again")
            number += THREADS
            stop.wait(rng.uniform(0, 2 * place.pause_s))

    def guarded(thread: int, to: Registry) -> None:
        try:
            work(thread, to)
        except Exception as error:
            say(f"wrong: {place.name}: {type(error).__name__}: {error}".replace("\n", " "))

    with registry(place, write=True) as opened:
        threads = [threading.Thread(target=guarded, args=(n, opened)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        say("ready")
        for thread in threads:
            thread.join()


def write_in_coroutines(place: Place, say: Say, stop: threading.Event) -> None:
    record = Record(place.record)

    async def work(lane: int, to: Registry) -> None:
        rng = random.Random(place.seed + lane)
        number = place.first + lane
        while not stop.is_set():
            await to.aio.register(token(number))
            record.line(number)
            number += THREADS
            await asyncio.sleep(rng.uniform(0, 2 * place.pause_s))

    async def all_of_it(to: Registry) -> None:
        await asyncio.gather(*(work(lane, to) for lane in range(THREADS)))

    with registry(place, write=True) as opened:
        say("ready")
        asyncio.run(all_of_it(opened))


def read(place: Place, say: Say, stop: threading.Event) -> None:
    """Looks up what others acknowledged, while they write and die."""
    rng = random.Random(place.seed)
    with registry(place, write=False) as opened:
        say("ready")
        while not stop.is_set():
            records = list(place.home.parent.glob("write*.record"))
            known = whole_lines(rng.choice(records), 4096) if records else []
            for number in rng.sample(known, min(len(known), 20)):
                id = opened.resolve(token(number))
                found = None if id is None else opened.get(id)
                if not place.early and (found is None or found.id != id):
                    say(f"wrong: a reader does not find the acknowledged token {number}")
            stop.wait(place.pause_s * 10)


def subscribe(place: Place, say: Say, stop: threading.Event) -> None:
    """Writes the offset of each event to its record, then takes the next one."""
    record = Record(place.record)
    with registry(place, write=False) as opened:
        with opened.subscribe(PATTERN, "beginning", cursor=place.name) as events:
            say("ready")
            while not stop.is_set():
                event = events.next_event(0.1)
                if event is not None:
                    record.line(event.offset)
            # What was committed before the stop is still to be received.
            while (event := events.next_event(0.5)) is not None:
                record.line(event.offset)


def back_up(place: Place, say: Say, stop: threading.Event) -> None:
    """Updates one backup again and again."""
    with registry(place, write=False) as opened:
        say("ready")
        while not stop.wait(max(1.0, 40 * place.pause_s)):
            make_backup(opened.log, place.home.parent / "backup", verify=False)


def run(role: Role, place: Place, say: Say) -> None:
    """The whole life of one process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        role(place, say, stop)
    except Exception as error:
        say(f"wrong: {place.name}: {type(error).__name__}: {error}".replace("\n", " "))
        raise
