"""Backups under load, and kill -9 of whoever makes a home from a backup or a file.

The kills come at a counted call or return, so a seed replays them. Verification runs in the child
that is killed, not in one of its own: what is tested here is what a kill leaves behind.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from alphapulse.log import (
    Corrupt,
    EventLog,
    Genesis,
    Home,
    NotABackup,
    export_log,
    make_backup,
    read_manifest,
    restore_log,
    verify_store,
)
from alphapulse.log.checkpoints import Checkpoints
from alphapulse.log.cursors import Cursors
from alphapulse.log.home import replace_file
from alphapulse.log.lmdb_store import LmdbStore
from alphapulse.registry import Registry, import_log, restore

from .children import (
    Child,
    Hear,
    Say,
    complaints,
    kill_self_after,
    report,
    seeds,
    verification_here,
    verify_in_fork,
)
from .lists import tokens

EVENTS = 30
OLD_EVENTS = 20
KILLS_EACH = 5
CURSORS = ("billing", "risk")


def sound(home: Path, log: EventLog, head: int) -> list[str]:
    """What is wrong with a log that should be the prefix of another up to `head`."""
    try:
        wrong = [verdict.detail for verdict in verify_store(Home(home)) if not verdict.ok]
    except Corrupt as error:
        return [str(error)]
    with EventLog.open(home, mode="r") as copy:
        if copy.head != head or copy.chain_head != log.chain_at(copy.head):
            wrong.append(f"it ends at {copy.head}, not at {head}, or in another chain")
    return wrong


def test_backups_during_a_load_are_prefixes(tmp_path: Path, scale: float) -> None:
    home, instruments = tmp_path / "home", tokens(1_000)
    Registry.open(home, durability="relaxed").close()

    def writing(say: Say, _: Hear) -> None:
        with Registry.open(home, durability="relaxed") as registry:
            say("open")
            for number, token in enumerate(instruments):
                registry.register(token)
                say(str(number))
            while True:  # a load that lasts as long as it is needed
                known = registry.resolve(instruments[0])
                assert known is not None
                registry.amend(known, symbol="A")
                registry.amend(known, symbol="B")
                say("more")

    heads = []
    with (
        Child(writing) as child,
        mock.patch("alphapulse.log.backup.verify_in_child", verify_in_fork),
    ):
        for number in range(max(3, round(3 * scale**2))):
            for _ in range(40):
                assert child.hear()
            with EventLog.open(home, mode="r") as log:
                target = tmp_path / ("updated" if number % 2 else f"new{number}")
                heads.append((target, make_backup(log, target).head))
                assert log.head > heads[-1][1], "nobody wrote meanwhile"
    assert [head for _, head in heads] == sorted({head for _, head in heads})
    with EventLog.open(home, mode="r") as log:
        for target, head in dict(heads).items():
            assert read_manifest(target).verified
            assert sound(target, log, head) == []
    last = heads[-1][0]
    restore(last, tmp_path / "back")
    assert complaints(tmp_path / "back") == []


def count_calls(work: Callable[[], object]) -> int:
    """Calls and returns that `kill_self_after` would count."""
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(step)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


class Scene:
    """A home, a backup of its beginning, one of all of it, and its exported log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.old, self.whole = folder / "home", folder / "old", folder / "whole"
        self.file = folder / "file"
        with Registry.open(self.home, durability="relaxed") as registry:
            for token in tokens(EVENTS):
                registry.register(token)
                if registry.log.head == OLD_EVENTS:
                    make_backup(registry.log, self.old)
            for name in CURSORS:
                with registry.log.subscribe("", 0, cursor=name) as subscription:
                    event = subscription.next_event()
                    assert event is not None
                    subscription.ack(event)
            make_backup(registry.log, self.whole)
            export_log(registry.log, self.file)
        self.works = {
            "backup": self.backup, "update": self.backup, "restore": self.restore,
            "import-log": self.import_log,
        }  # fmt: skip

    def backup(self, target: Path) -> None:
        with EventLog.open(self.home, mode="r") as log:
            make_backup(log, target)

    def restore(self, target: Path) -> None:
        restore(self.whole, target)

    def import_log(self, target: Path) -> None:
        import_log(self.file, target)

    def prepare(self, name: str, target: Path) -> None:
        if name == "update":
            shutil.copytree(self.old, target)

    def wrong(self, name: str, target: Path) -> list[str]:
        """What a kill may not leave behind: half a home, or a backup that says what is not so."""
        if name in ("backup", "update"):
            return self._wrong_backup(target)
        if not Home(target).exists():
            return []
        with EventLog.open(self.home, mode="r") as log:
            found = sound(target, log, EVENTS)
        return found + (self._wrong_beside(target) if name == "restore" else [])

    def _wrong_beside(self, target: Path) -> list[str]:
        """A log that is there has its cursors and what the checkpoints saw: none is missed else."""
        wrong = [] if Cursors(Home(target)).names() == sorted(CURSORS) else ["a cursor is missing"]
        seen = set(Checkpoints(Home(self.home).checkpoints))
        if not seen <= set(Checkpoints(Home(target).checkpoints)):
            wrong.append("a checkpoint is missing")
        return wrong

    def _wrong_backup(self, target: Path) -> list[str]:
        try:
            head = read_manifest(target).head
            restore_log(target, back := self.folder / "checked")
        except NotABackup:
            return ["a log without a manifest"] if Home(target).exists() else []
        with EventLog.open(self.home, mode="r") as log:
            found = sound(back, log, head)
        if head == EVENTS:
            found += self._wrong_beside(back)
        shutil.rmtree(back)
        return found if head in (OLD_EVENTS, EVENTS) else [f"the manifest says {head}"]


def killed(scene: Scene, name: str, target: Path, calls: int) -> bool:
    def work(_: Say, __: Hear) -> None:
        kill_self_after(calls)
        scene.works[name](target)

    with Child(work) as child:
        status = child.wait()
    assert status in (0, -9), status
    return status != 0


def live(folder: Path, seed: int) -> set[tuple[str, bool, bool]]:
    """Kills each kind of work all along its way; (work, killed, left a home) of each round."""
    rng, seen, scene = random.Random(seed), set(), Scene(folder)
    for name, work in scene.works.items():
        scene.prepare(name, counted := folder / f"{name}-counted")
        total = count_calls(partial(work, counted))
        parts = [(place + 0.9 * rng.random()) / KILLS_EACH for place in range(KILLS_EACH)]
        # The first before any home is there: one from a file appears soon.
        for place, part in enumerate([0.05, *parts]):
            target = folder / f"{name}-{place}"
            scene.prepare(name, target)
            calls = round(total * part)
            was_killed = killed(scene, name, target, calls)
            assert scene.wrong(name, target) == [], f"{name}, {calls} of {total} calls"
            seen.add((name, was_killed, Home(target).exists()))
            if name in ("backup", "update") or not Home(target).exists():
                work(target)  # again, and now to its end
                assert scene.wrong(name, target) == []
                assert Home(target).exists()
    return seen


def test_kill_9_leaves_a_whole_home_or_none(tmp_path: Path, scale: float) -> None:
    wanted = list(seeds(max(1, round(scale))))
    for number, seed in enumerate(wanted):
        folder = tmp_path / str(number)
        folder.mkdir()
        with verification_here():
            seen = live(folder, seed)
        assert {("backup", True, False), ("restore", True, False), ("restore", True, True),
                ("import-log", True, False), ("update", True, True)} <= seen  # fmt: skip
    tries = len(wanted) * 4 * (KILLS_EACH + 1)
    report("kill -9, backup and restore", wanted, kills_tried=tries, bad=0)


def dies_at_file(nth: int, work: Callable[[], None]) -> int:
    """The status of a child that is killed instead of writing its nth small file."""
    left = nth

    def write(path: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        replace_file(path, data)

    with (
        mock.patch("alphapulse.log.backup.replace_file", write),
        Child(lambda _, __: work()) as child,
    ):
        return child.wait()


@pytest.mark.parametrize("work", ["backup", "restore"])
def test_a_kill_beside_the_log_loses_no_cursor(tmp_path: Path, work: str) -> None:
    """At every file that is written beside the log, not only where a seed happens to kill."""
    with verification_here():
        scene = Scene(tmp_path)
        for place in range(1, 20):
            target = tmp_path / f"{work}-{place}"
            status = dies_at_file(place, partial(scene.works[work], target))
            assert scene.wrong(work, target) == [], f"killed at file {place}"
            if status == 0:
                assert place >= 1 + len(CURSORS), "it was never killed"
                return
            if not Home(target).exists():
                scene.works[work](target)
                assert scene.wrong(work, target) == []
    raise AssertionError("it never came to its end")


@contextlib.contextmanager
def log_in_its_place(home: Home, genesis: Genesis, **_: object) -> Iterator[LmdbStore]:
    """`new_log` without the rename: the log fills where everybody sees it."""
    home.make_directories()
    store = LmdbStore.create(home.log, genesis)
    yield store
    store.close()


def test_kill_9_control_a_log_that_fills_in_its_place(tmp_path: Path) -> None:
    """The test above can fail: then a kill leaves a home with a part of the log."""
    with (
        verification_here(),
        mock.patch("alphapulse.log.copying.BATCH_BLOCKS_MAX", 1),
    ):
        scene = Scene(tmp_path)
        with mock.patch("alphapulse.log.backup.new_log", log_in_its_place):
            total = count_calls(lambda: restore(scene.whole, tmp_path / "counted"))
            for place in range(1, 12):
                target = tmp_path / str(place)
                killed(scene, "restore", target, total * place // 12)
                if wrong := scene.wrong("restore", target):
                    report("kill -9, backup, control: filled in its place", found=repr(wrong[0]))
                    return
    raise AssertionError("it was never noticed")
