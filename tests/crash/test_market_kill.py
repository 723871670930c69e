"""A market log whose writer is killed: what it acknowledged is there, flushed or not."""

from __future__ import annotations

import random
from pathlib import Path
from unittest import mock

from alphapulse.log import EventLog, MarketHome, MarketLog, Retention, verify_store
from tests.log.markets import add, fill, values

from .children import Hear, Say, killed, report, seeds, verify_in_fork

ROUNDS = 3


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    home = tmp_path / "home"
    EventLog.create(home)
    wanted, acknowledged, kills = list(seeds(ROUNDS)), 0, 0
    for seed in wanted:
        rng = random.Random(seed)

        def work(say: Say, hear: Hear) -> None:
            # Small enough that it forgets all the time, and so is killed while it does.
            with MarketLog.of(home, retention=Retention(size_bytes_max=1 << 20)) as log:
                for _ in range(10_000):
                    fill(log, 2)
                    say(str(log.head))
                    log._trimmed_at = float("-inf")
                    add(log, value=log.head)
                    say(str(log.head))

        with mock.patch("alphapulse.log.market.verify_in_child", verify_in_fork):
            lines, was_killed = killed(work, rng.uniform(0.05, 0.2))
            kills += was_killed
            head = max(map(int, lines), default=0)
            acknowledged = max(acknowledged, head)
            with MarketLog.of(home) as log:
                assert not log.emptied and log.head >= acknowledged
                assert values(log) == list(range(log.first, log.head))
        assert all(verdict.ok for verdict in verify_store(MarketHome(home)))
    assert kills and acknowledged
    report("killed market writer", wanted, kills=kills, acknowledged=acknowledged)
