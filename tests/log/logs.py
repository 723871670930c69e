"""Small real logs, and child processes that work on them.

Times come from `Ticks`, so a log built here has the same bytes each run.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from alphapulse.log.bodies import AnyBody, Metadata
from alphapulse.log.clock import RecordingClock
from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import encode_metadata
from alphapulse.log.home import Genesis
from alphapulse.log.kinds import Kind
from alphapulse.log.session import Draft

from .builders import TIME, body_of, space_of

GENESIS = Genesis(1, bytes(range(16)), 64, TIME)


class Ticks:
    """A clock that goes on by `step` ns at each look."""

    def __init__(self, now: int = TIME, step: int = 1_000) -> None:
        self.now = now
        self.step = step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


def ticking(ticks: Ticks | None = None) -> RecordingClock:
    ticks = ticks or Ticks()
    return RecordingClock(wall_ns=ticks, boot_ns=lambda: ticks.now)


def draft(
    entity: int, *, kind: int = Kind.INSTRUMENT_REGISTERED, previous: int | None = None,
    body: AnyBody | None = None, source: str = "",
) -> Draft:  # fmt: skip
    body = body_of(kind, entity) if body is None else body
    return Draft(
        kind, space_of(body), entity, previous, body, encode_metadata(Metadata(source=source))
    )


def fill(log: EventLog, sizes: Iterable[int], *, entities: int = 1 << 60) -> None:
    """One block for each size. With few `entities`, events name the one before of their entity."""
    for size in sizes:
        with log.writing() as session:
            for _ in range(size):
                offset = session.head
                entity = 1 + offset % entities
                previous = offset - entities if offset >= entities else None
                session.append(draft(entity, previous=previous))


def make_log(home: Path, sizes: Iterable[int] = (), *, entities: int = 1 << 60) -> EventLog:
    """A new open log with these blocks, its bytes the same each time."""
    EventLog.create(home, genesis=GENESIS)
    log = EventLog.open(home, clock=ticking())
    fill(log, sizes, entities=entities)
    return log


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A child that runs `code` with `alphapulse` installed; arguments are `sys.argv[1:]`."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(child: subprocess.Popen[str], timeout_s: float = 60) -> str:
    """What the child printed; fails with its complaint when it did not end well."""
    out, complaint = child.communicate(timeout=timeout_s)
    assert child.returncode == 0, complaint
    return out


def says(child: subprocess.Popen[str]) -> str:
    """The child's next line."""
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    if not line:
        assert child.stderr is not None
        raise AssertionError(f"the child ended: {child.stderr.read()}")
    return line


def until(true: Callable[[], bool], timeout_s: float = 30) -> None:
    """Waits for another process or thread; the limit only ends a test that hangs."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def flips(data: bytes, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """Every copy of these bytes in which one bit is another, or each `step`th of them."""
    for bit in range(0, len(data) * 8, step):
        changed = bytearray(data)
        changed[bit >> 3] ^= 1 << (bit & 7)
        yield bit, bytes(changed)
