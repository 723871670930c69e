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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from unittest import mock

from alphapulse.log import make_backup
from alphapulse.registry import (
    Listing,
    Receipt,
    Registry,
    Token,
    facts_of,
    fingerprint_of,
)
from alphapulse.registry.identity import primary_id
from alphapulse.registry.venues import Performance, Venue
from tests.crash.children import Say, forked_verification

THREADS: Final = 4
PATTERN: Final = "kind=instrument.registered"
VENUE: Final = "binance"
MIX: Final = "mix"
"""Begins the request ids of `mix`."""
MIXED: Final = range(1 << 60, (1 << 60) + 20)
"""The tokens it talks about."""
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


def mix(place: Place, say: Say, stop: threading.Event) -> None:
    """Says all sorts of things, each under its request id, and samples a venue now and then.

    Line n of the record is what request n was answered with. A new life says the last one again.
    """
    record, sampled = Record(place.record), Record(place.record.with_suffix(".samples"))
    answers = whole_lines(place.record)
    with registry(place, write=True) as opened, Performance(opened) as performance:
        opened.register_many(map(token, MIXED))
        say("ready")
        number = max(len(answers) - 1, 0)
        while not stop.is_set():
            offset = mixed(opened, number).offset
            if number >= len(answers):
                record.line(offset)
            elif answers[number] != offset:
                say(f"wrong: request {number} was answered with {answers[number]}, then {offset}")
            if number % 4 == 0:
                row = {"venue": VENUE, "measure": "ack", "time": time.time_ns(), "latency_ns": 1}
                last = performance.add([row]).last
                assert last is not None
                sampled.line(last)
            if number % 64 == 0:
                performance.summarise("1m")
            number += 1
            stop.wait(max(place.pause_s, 0.02))


def mixed(to: Registry, number: int) -> Receipt:
    """One command, the same whenever the number is the same."""
    rng, request_id = random.Random(number), f"{MIX}/{number}"
    of, other = rng.sample(MIXED, 2)
    id, source = primary_id(fingerprint_of(facts_of(token(of)).key)), f"source {number % 3}"
    other_id = primary_id(fingerprint_of(facts_of(token(other)).key))
    listing = Listing(instrument=id, venue=VENUE, currency="USD", symbol=f"L{number % 9}")
    commands: tuple[Callable[[], Receipt], ...] = (
        lambda: to.venues.add(Venue(key=VENUE, name=source), source=source, request_id=request_id),
        lambda: to.amend(id, name=f"N{number}", request_id=request_id),
        lambda: to.add_listing(listing, source=source, request_id=request_id),
        lambda: to.relate(max(id, other_id), "wraps", min(id, other_id), request_id=request_id),
        lambda: to.venues.set_status(
            VENUE, ("halted", "open")[number // 5 % 2], valid_from=number + 1, request_id=request_id
        ),
    )  # fmt: skip
    return commands[number % len(commands)]()


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
