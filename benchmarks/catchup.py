"""Reading the log from its beginning, as a subscriber that catches up does.

frames: every event's header, CRC checked. decoded: its body too. selective: a chain that one event
in a hundred has; the rate counts the events scanned. The peer keeps each frame as a value of its
own in LMDB and checks the same CRC: the construction that blocks were chosen over.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

import lmdb

from alphapulse.log import EventLog, Pattern

from .budgets import OURS
from .data import RARE_CHAIN
from .harness import Row, race_passes, rows_of, settle
from .topics import Context

EVENTS_MAX: Final = 300_000
EACH: Final = "LMDB, a value an event"
_KEY: Final = struct.Struct(">Q")
_CRC: Final = struct.Struct("<I")


def run(context: Context) -> Iterator[Row]:
    home, peer = context.homes.home(context.size), context.homes.scratch("frames")
    with EventLog.open(home, mode="r") as log:
        stop = min(log.head, EVENTS_MAX)
        try:
            environment = _write_frames(log, stop, peer)
            yield from _measure(log, stop, environment, context.size)
            environment.close()
        finally:
            shutil.rmtree(peer, ignore_errors=True)


def _measure(
    log: EventLog, stop: int, environment: lmdb.Environment, size: int
) -> Iterator[Row]:
    rare = Pattern.parse(f"chain={RARE_CHAIN}")

    def frames() -> int:
        count = 0
        for _ in log.subscribe("", "beginning", stop=stop):
            count += 1
        return count

    def decoded() -> int:
        count = 0
        for event in log.subscribe("", "beginning", stop=stop):
            if event.body is not None:
                count += 1
        return count

    def selective() -> int:
        matches = sum(1 for _ in log.read(0, stop, rare))
        if not stop // 200 <= matches <= stop // 50:
            raise RuntimeError(f"{matches} of {stop} events match, which is not about 1%")
        return stop

    def peer() -> int:
        count = 0
        with environment.begin(buffers=True) as transaction:
            for _, value in transaction.cursor():
                frame = bytes(value)
                if crc32(memoryview(frame)[4:]) != _CRC.unpack_from(frame)[0]:
                    raise RuntimeError("the peer's frame is damaged")
                count += 1
        return count

    settle()
    yield from rows_of("catchup", "frames", size, race_passes({OURS: frames, EACH: peer}))
    yield from rows_of("catchup", "decoded", size, race_passes({OURS: decoded}))
    case = "1% selective, events scanned"
    yield from rows_of("catchup", case, size, race_passes({OURS: selective}))


def _write_frames(log: EventLog, stop: int, path: Path) -> lmdb.Environment:
    path.mkdir(parents=True)
    environment = lmdb.open(str(path), map_size=8 << 30, sync=False)
    with environment.begin(write=True) as transaction:
        for event in log.read(0, stop):
            transaction.put(_KEY.pack(event.offset), event.frame, append=True)
    return environment
