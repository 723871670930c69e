"""Exactly once, across kill -9: a cursor, and a sink that keeps the offset with its effect.

One process appends while another follows by pattern into SQLite, and is killed ten times: before
the effect, inside of its transaction, after it, and at a counted call or return thereafter. The
controls are sinks that leave out one half of the bargain.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple
from unittest import mock

import pytest

from alphapulse.log import (
    AcknowledgedBody,
    CursorSubscription,
    Draft,
    Event,
    EventLog,
    Home,
    Kind,
    Metadata,
    Pattern,
    Space,
    encode_metadata,
)
from alphapulse.log.cursors import Cursors

from .children import SEED_NAME, Child, Hear, Say, kill_self_after, report, seeds

PATTERN = "source=wanted"
KILLS = 10
Phase = Literal["before", "inside", "after", "calls"]
PHASES: tuple[Phase, ...] = ("before", "inside", "after", "calls")


class Death(NamedTuple):
    """Of the nth event that a process is given, or the first after it that comes to this phase.

    calls: so many of them later.
    """

    nth: int
    phase: Phase
    calls: int


Fate = Callable[[Phase], None]
Sink = Callable[[sqlite3.Connection, CursorSubscription, Event, Fate], None]


def append(home: Path, parts: list[int], seed: int, say: Say, hear: Hear) -> None:
    """Appends one part at each word from the parent, some 1 in 5 of it wanted."""
    choose = random.Random(seed)
    with EventLog.open(home) as log:
        for part in parts:
            hear()
            while part:
                with log.writing() as session:
                    count = min(part, choose.randrange(1, 100))
                    for _ in range(count):
                        source = "wanted" if choose.random() < 0.2 else f"other {session.head % 7}"
                        session.append(
                            Draft(
                                Kind.ALERT_ACKNOWLEDGED, Space.INSTRUMENT, 1 + session.head, None,
                                AcknowledgedBody(alert=1), encode_metadata(Metadata(source=source)),
                            )
                        )  # fmt: skip
                part -= count
            say("appended")


def follow(
    home: Path, database: Path, stop: int, sink: Sink, death: Death | None, saves: int
) -> None:
    """Feeds the sink up to `stop`, or to its death. saves: acknowledged events for each save."""
    given = 0

    def fate(phase: Phase) -> None:
        if death is not None and given >= death.nth and phase == death.phase:
            os.kill(os.getpid(), signal.SIGKILL)

    ack: Literal["auto", "explicit"] = "explicit" if sink is acknowledging_first else "auto"
    with (
        mock.patch("alphapulse.log.cursor_subscription.SAVE_EVENTS_MAX", saves),
        EventLog.open(home, mode="r") as log,
        closing(sqlite3.connect(database)) as sinking,
        log.subscribe(PATTERN, "beginning", stop=stop, cursor="sink", ack=ack) as events,
    ):
        sinking.execute("PRAGMA journal_mode=WAL")
        sinking.execute("PRAGMA synchronous=OFF")  # against a kill, not a power cut
        sinking.execute("CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, offset)")
        sinking.execute("CREATE TABLE IF NOT EXISTS done (one INTEGER PRIMARY KEY, offset)")
        for event in events:
            given += 1
            if death is not None and given == death.nth and death.phase == "calls":
                kill_self_after(death.calls)
            sink(sinking, events, event, fate)


def exactly_once(
    sinking: sqlite3.Connection, _: CursorSubscription, event: Event, fate: Fate
) -> None:
    """The right one: effect and offset in one transaction, and what it has already is passed."""
    fate("before")
    with sinking:
        (done,) = sinking.execute("SELECT coalesce(max(offset), -1) FROM done").fetchone()
        if event.offset > done:
            sinking.execute("INSERT INTO effects (offset) VALUES (?)", (event.offset,))
            fate("inside")
            sinking.execute("REPLACE INTO done VALUES (0, ?)", (event.offset,))
    fate("after")


def repeating(sinking: sqlite3.Connection, _: CursorSubscription, event: Event, fate: Fate) -> None:
    """Takes "at least once" for "once"."""
    fate("before")
    with sinking:
        sinking.execute("INSERT INTO effects (offset) VALUES (?)", (event.offset,))
        fate("inside")
    fate("after")


def acknowledging_first(
    sinking: sqlite3.Connection, events: CursorSubscription, event: Event, fate: Fate
) -> None:
    """Says that it is done before it is."""
    events.ack(event)
    exactly_once(sinking, events, event, fate)


def deaths(choose: random.Random) -> Iterator[Death]:
    for number in range(KILLS):
        phase = PHASES[number % len(PHASES)]
        yield Death(choose.randrange(1, 30), phase, choose.randrange(300))


def run(tmp_path: Path, total: int, sink: Sink, seed: int) -> tuple[list[int], list[int]]:
    """(offsets in the sink, offsets of matching events), both in order."""
    choose = random.Random(seed)
    home, database = tmp_path / "home", tmp_path / "sink.db"
    EventLog.create(home)
    parts = [total // (KILLS + 1)] * KILLS
    parts.append(total - sum(parts))
    with Child(lambda say, hear: append(home, parts, seed, say, hear)) as appending:
        for death in [*deaths(choose), None]:
            saves = 1 if sink is not exactly_once else choose.choice((1, 7, 1_000))
            if death is None:
                saves = 1_000  # each save is an fsync, and nothing is to be lost any more
            appending.say("go")  # and appends while the other one follows
            work = partial(follow, home, database, total, sink, death, saves)
            with Child(lambda *_: work()) as following:  # noqa: B023  # forked here and now
                assert following.wait() == (0 if death is None else -signal.SIGKILL)
            assert appending.hear() == "appended"
        assert appending.wait() == 0
    with EventLog.open(home, mode="r") as log, closing(sqlite3.connect(database)) as sinking:
        (state,) = Cursors(Home(home)).states(log)
        assert (state.offset, state.lag_events, state.state) == (total, 0, "idle")
        rows = sinking.execute("SELECT offset FROM effects ORDER BY number").fetchall()
        matching = [event.offset for event in log.read(pattern=Pattern.parse(PATTERN))]
    return [offset for (offset,) in rows], matching


def test_every_matching_event_is_in_the_sink_once_and_in_order(
    tmp_path: Path, scale: float
) -> None:
    total = max(5_000, round(5_000 * scale))
    for seed in seeds(1):
        got, matching = run(tmp_path / str(seed), total, exactly_once, seed)
        assert len(matching) > total / 10
        assert got == matching, f"replay with {SEED_NAME}={seed}"
        report("cursor and sink", [seed], events=total, matching=len(matching), kills=KILLS,
               lost=0, twice=0)  # fmt: skip


@pytest.mark.parametrize("sink,wrong", [(repeating, "twice"), (acknowledging_first, "lost")])
def test_a_sink_that_breaks_the_bargain_is_caught(tmp_path: Path, sink: Sink, wrong: str) -> None:
    for seed in seeds(1):
        got, matching = run(tmp_path / str(seed), 5_000, sink, seed)
        if wrong == "twice":
            assert len(got) > len(set(got)) and set(got) == set(matching)
        else:
            assert len(got) == len(set(got)) and set(got) < set(matching)
        report(f"cursor and sink, control: {wrong}", [seed], matching=len(matching), got=len(got))
