from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapulse.log.eventlog import EventLog
from alphapulse.log.frame import Event
from alphapulse.log.markers import CaughtUp

from .logs import fill, make_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with make_log(tmp_path / "home", [3, 4]) as made:
        yield made


def marked(found: Event | CaughtUp) -> int | tuple[int]:
    return (found.offset,) if isinstance(found, CaughtUp) else found.offset


def test_a_marker_says_that_all_there_is_was_given(log: EventLog) -> None:
    following = log.subscribe(start=5).with_markers()
    assert [marked(next(following)) for _ in range(3)] == [5, 6, (7,)]
    fill(log, [2])
    assert [marked(next(following)) for _ in range(3)] == [7, 8, (9,)]
    nothing = log.subscribe("source=none", start="beginning", stop=20).with_markers()
    assert next(nothing) == CaughtUp(9)
    later = threading.Timer(0.02, fill, (log, [11]))
    later.start()
    assert list(nothing) == [], "it ends, and was told once"
    later.join()
    assert [marked(each) for each in log.subscribe(start=18, stop=20).with_markers()] == [
        18, 19, (20,),
    ]  # fmt: skip
    assert [marked(each) for each in log.subscribe(start=2, stop=4).with_markers()] == [2, 3]
    closed = log.subscribe(start=0)
    closed.close()
    assert list(closed.with_markers()) == []


def test_markers_for_coroutines(log: EventLog) -> None:
    async def follow() -> list[int | tuple[int]]:
        found = []
        async for each in log.subscribe(start=5, stop=10).with_markers():
            found.append(marked(each))
            if found[-1] == (7,):
                fill(log, [1, 1, 1])
        return found

    assert asyncio.run(follow()) == [5, 6, (7,), 7, 8, 9, (10,)]
