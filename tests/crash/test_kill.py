"""kill -9, Ctrl-C and SIGSTOP of a process that imports.

Most kills come at a counted call or return, Python's and C's alike, so a seed replays them; the
others come from outside after a random time, and so also inside of a system call.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from alphapulse.log import Home, LogBusy
from alphapulse.projections.table import TableWriter
from alphapulse.registry import Registry, audit, facts_of, fingerprint_of, import_file

from .children import (
    SEED_NAME,
    Child,
    Hear,
    Say,
    complaints,
    kill_self_after,
    killed,
    report,
    seeds,
    small_tables,
    verification_here,
)
from .lists import ROWS, token_of, tokens, write_list

ROWS_IN_A_LIFE = 100
KILLS_IN_A_LIFE = 5
KILLS = 35
"""With the 25 of the test of group commit 60."""


class Work(NamedTuple):
    """What a child does in one round. calls: where it is killed. early: rows it acknowledges
    before they are committed, which is the broken variant."""

    home: Path
    file: Path
    chunk_rows: int
    durability: Any
    calls: int | None = None
    early: int = 0


def importing(work: Work, say: Say, _: Hear) -> None:
    """Says how many rows are acknowledged, each time there are more."""
    if work.calls is not None:
        kill_self_after(work.calls)
    with (
        verification_here(),
        mock.patch("alphapulse.registry.importing.CHUNK_ROWS_MAX", work.chunk_rows),
        small_tables(),
        Registry.open(work.home, durability=work.durability) as registry,
    ):
        import_file(
            registry, work.file,
            progress=lambda done, total: say(str(min(done + work.early, total))),
        )  # fmt: skip
        say("complete")


def lost(home: Path, rows: list[dict[str, Any]], acknowledged: int) -> list[str]:
    """What is wrong after a kill: an acknowledged row that is not there, or a failed audit."""
    if not Home(home).exists():
        return [f"{acknowledged} rows are gone with the home"] if acknowledged else []
    with verification_here(), Registry.open(home) as registry:
        wrong = [
            f"row {index} of {acknowledged} is not there"
            for index, row in enumerate(rows[:acknowledged])
            if (id := registry.resolve(token_of(row))) is None or registry.get(id) is None
        ]
    return wrong + complaints(home)


def facts_of_home(registry: Registry) -> dict[str, tuple[int, bytes]]:
    """Rows and digest of each view."""
    return {name: (view.rows, view.digest) for name, view in registry.statistics().views.items()}


def _calls(rng: random.Random) -> int:
    """Making and opening a home takes some 15,000 calls, all of an import 115,000 to 200,000."""
    return int(10 ** rng.uniform(1, 4.2) if rng.random() < 0.3 else rng.uniform(5_000, 100_000))


def live(directory: Path, seed: int, *, broken: bool = False) -> tuple[int, list[str]]:
    """A home that is killed again and again during the same import, then completed: (kills,
    what went wrong)."""
    rng = random.Random(seed)
    rows = rng.sample(ROWS, ROWS_IN_A_LIFE)
    file = write_list(directory / "list.json", rows)
    home, wrong, kills, acknowledged = directory / "home", [], 0, 0
    for _ in range(KILLS_IN_A_LIFE):
        counted = broken or rng.random() < 0.75
        work = Work(
            home, file, rng.choice((1, 7, 20, 60)), rng.choice(("fsync", "relaxed")),
            calls=_calls(rng) if counted else None, early=20 if broken else 0,
        )  # fmt: skip
        after_s = None if counted else rng.uniform(0, 0.1)
        said, was_killed = killed(partial(importing, work), after_s)
        acknowledged = max(acknowledged, *map(int, said), 0)
        kills += was_killed
        wrong += [f"seed {seed}, kill {kills}: {text}" for text in lost(home, rows, acknowledged)]
    with verification_here(), Registry.open(home) as registry:
        fingerprints = {fingerprint_of(facts_of(token_of(row)).key): token_of(row) for row in rows}
        missing = sum(registry.resolve(token) is None for token in fingerprints.values())
        assert import_file(registry, file).new == missing
        head, found = registry.log.head, facts_of_home(registry)
        again = import_file(registry, file)
        assert (again.new, again.amended, registry.log.head) == (0, 0, head)
    with Registry.open(directory / "never killed", durability="relaxed") as registry:
        import_file(registry, file)
        assert (head, found) == (registry.log.head, facts_of_home(registry))
    return kills, wrong + complaints(home)


def test_kill_9_while_importing(tmp_path: Path, on_disk: Path, scale: float) -> None:
    """Every other home on a disk, where a kill may come while the writer waits for it."""
    kills_min, total = max(1, round(KILLS * scale)), 0
    tried: list[int] = []
    for seed in seeds(kills_min):  # a life that is completed before its kills has fewer
        directory = (tmp_path, on_disk)[len(tried) % 2] / str(len(tried))
        directory.mkdir()
        tried.append(seed)
        kills, wrong = live(directory, seed)
        assert not wrong, f"seed {seed}: {wrong}"
        total += kills
        if total >= kills_min:
            break
    report("kill -9, import", tried, kills=total, bad=0)
    assert total >= kills_min or os.environ.get(SEED_NAME)


def test_kill_9_control_acknowledged_before_the_commit(tmp_path: Path) -> None:
    """The test above can fail: rows acknowledged before their commit are found to be lost."""
    for seed in range(10):
        directory = tmp_path / str(seed)
        directory.mkdir()
        kills, wrong = live(directory, seed, broken=True)
        if any("is not there" in text for text in wrong):
            report("kill -9, import, control: acknowledged early", [seed], kills=kills,
                   bad=len(wrong))  # fmt: skip
            return
    raise AssertionError("it was never noticed")


def test_a_home_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    """`log/` appears by rename: wherever the kill comes, there is a whole home or none."""
    home, kinds = tmp_path / "home", set()
    for calls in range(0, 12_000, 1_100):

        def making(say: Say, _: Hear, calls: int = calls) -> None:
            kill_self_after(calls)
            Registry.open(home)

        with Child(making) as child:
            child.wait()
        kinds.add(Home(home).exists())
        if Home(home).exists():
            with verification_here():
                Registry.open(home, create=False).close()
            shutil.rmtree(home / "log")
    assert kinds == {True, False}
    Registry.open(home).close()
    assert complaints(home) == []


def test_ctrl_c_while_importing_leaves_a_good_home(tmp_path: Path, scale: float) -> None:
    """Wherever it comes: between rows, in a commit, in a fold of a view."""
    file = write_list(tmp_path / "list.json", ROWS[:150])
    interrupted = 0
    for number, seed in enumerate(seeds(max(1, round(4 * scale**2)))):
        rng = random.Random(seed)
        home = tmp_path / str(number)
        work = Work(home, file, rng.choice((1, 10, 50)), "relaxed")
        with Child(partial(importing, work)) as child:
            assert child.hear()
            time.sleep(rng.uniform(0, 0.08))
            child.send(signal.SIGINT)
            acknowledged = max([int(n) for n in child.rest() if n != "complete"], default=0)
            status = child.wait()
        assert status in (0, 130)
        interrupted += status == 130
        assert lost(home, ROWS, acknowledged) == []
        assert list((home / "run").glob("open.*")) == [], "it was not closed in an orderly way"
    assert interrupted or os.environ.get(SEED_NAME)


@pytest.mark.parametrize(
    ("new", "again"), [("insert_all", "put"), ("link_all", "link"), ("finish", "finish")]
)
def test_ctrl_c_within_a_fold(tmp_path: Path, new: str, again: str) -> None:
    """The commit is in the log and the view half folded: the same process may go on, or close."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    first, second, third = tokens(3)
    with Registry.open(tmp_path / "home", durability="relaxed") as registry:
        registry.register(first)
        with mock.patch.object(TableWriter, new, interrupt), pytest.raises(KeyboardInterrupt):
            registry.register(second)
        receipt = registry.register(third)
        assert registry.get(receipt.id) is not None
        assert registry.resolve(second) is not None
        with mock.patch.object(TableWriter, again, interrupt), pytest.raises(KeyboardInterrupt):
            registry.amend(receipt.id, symbol="NEW")
    assert complaints(tmp_path / "home") == []
    with Registry.open(tmp_path / "home") as registry:
        assert facts_of_home(registry)["instruments"][0] == 3
        assert [record.symbol for record in registry.by_symbol("NEW")] == ["NEW"]


CTRL_C = """
import sys
from alphapulse.registry import Registry, import_file
with Registry.open(sys.argv[1], durability="relaxed") as registry:
    while True:
        import_file(registry, sys.argv[2], progress=lambda done, total: print(done, flush=True))
"""


def test_ctrl_c_of_a_real_interpreter(tmp_path: Path) -> None:
    file = write_list(tmp_path / "list.json", ROWS)
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C, tmp_path / "home", file],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None and child.stdout.readline()
        child.send_signal(signal.SIGINT)
        _, complaint = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGINT
    assert complaint.strip().endswith("KeyboardInterrupt")
    assert list((tmp_path / "home" / "run").glob("open.*")) == []
    assert [verdict.name for verdict in audit(tmp_path / "home") if not verdict.ok] == []


def test_a_stopped_writer_is_named_and_readers_go_on(tmp_path: Path) -> None:
    home, (first, second) = tmp_path / "home", tokens(2)
    with Registry.open(home, durability="relaxed") as registry:
        known = registry.register(first).id

    def stopping(say: Say, _: Hear) -> None:
        with Registry.open(home, durability="relaxed") as registry:
            with registry.log.writing():
                say("holding")
                os.kill(os.getpid(), signal.SIGSTOP)
            registry.register(second)

    with Child(stopping) as child:
        assert child.hear() == "holding"
        os.waitpid(child.pid, os.WUNTRACED)
        with (
            Registry.open(home, durability="relaxed", wait_s=0.05) as writer,
            Registry.open(home, mode="r", durability="relaxed") as reader,
            reader.subscribe("", "beginning") as following,
        ):
            with pytest.raises(LogBusy) as caught:
                writer.register(second)
            assert caught.value.facts["holder_pid"] == child.pid
            assert "stopped" in str(caught.value.facts["holder"])
            assert str(child.pid) in str(caught.value)
            report("SIGSTOP of the lock holder", pid=child.pid, error=caught.value)
            for registry in (reader, writer):
                record = registry.get(known)
                assert record is not None and record.symbol == first.symbol
                assert registry.resolve(second) is None
                assert len(list(registry.read())) == 1
            seen = following.next_event()
            assert seen is not None and seen.offset == 0
            assert following.next_event(timeout_s=0.01) is None
            child.send(signal.SIGCONT)
            assert child.wait() == 0
            assert reader.resolve(second) is not None
            seen = following.next_event()
            assert seen is not None and seen.offset == 1
            assert writer.register(second).outcome == "unchanged"
    assert complaints(home) == []


def test_stopped_writer_control_without_a_limit_nobody_goes_on(tmp_path: Path) -> None:
    """The limit is what ends the wait: a writer that has none hangs as long as it is let."""
    home, (first, second) = tmp_path / "home", tokens(2)
    with Registry.open(home, durability="relaxed") as registry:
        registry.register(first)

    def stopping(say: Say, _: Hear) -> None:
        with Registry.open(home, durability="relaxed") as registry, registry.log.writing():
            say("holding")
            os.kill(os.getpid(), signal.SIGSTOP)

    def waiting(say: Say, _: Hear) -> None:
        with Registry.open(home, durability="relaxed", wait_s=3_600) as registry:
            say("waiting")
            registry.register(second)
            say("registered")

    with Child(stopping) as holder:
        assert holder.hear() == "holding"
        os.waitpid(holder.pid, os.WUNTRACED)
        with Child(waiting) as writer:  # not before, or it may be the first to hold the lock
            assert writer.hear() == "waiting"
            time.sleep(0.25)  # five times what the writer of the test above waits
            assert writer.is_running(), "it went on, or gave up"
            report("SIGSTOP, control: no limit", waited_ms=250, hangs=1)
            holder.send(signal.SIGCONT)
            assert holder.wait() == 0
            assert writer.hear() == "registered"
            assert writer.wait() == 0
