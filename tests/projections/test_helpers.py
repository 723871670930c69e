"""Helpers are real processes here: whatever becomes of one, the views are the log's.

Small logs pay for no helper, so what pays is set to nothing, and two CPUs are there.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alphapulse.log import Block, Corrupt, EventLog
from alphapulse.log.stops import start_time
from alphapulse.projections import VIEWS, engine, folding, helpers
from alphapulse.projections.helpers import Work, shares
from alphapulse.projections.table import Table, TableWriter
from alphapulse.registry import Listing, Origin, Register, Registry, Token, Unit

pytestmark = pytest.mark.usefixtures("forked_interpreters")

NAMES = [view.schema.name for view in VIEWS]
TOKENS, LISTED = 400, 120


def token(number: int) -> Token:
    return Token(chain="eip155:1", address=f"0x{number + 1:040x}", symbol=f"T{number % 50}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In some hundred blocks; every test leaves it as it was, or with more generations."""
    home = tmp_path_factory.mktemp("helped") / "home"
    with Registry.open(home, durability="relaxed") as registry:
        for start in range(0, TOKENS, 20):
            origins = [Origin("a", b"", f"r{n}") for n in range(start, start + 20)]
            units = [
                Unit((Register.of(token(start + n)),), origin) for n, origin in enumerate(origins)
            ]
            assert all(isinstance(outcome, list) for outcome in registry.execute(units))
        for n in range(LISTED):
            id = registry.resolve(token(n))
            assert id is not None
            registry.add_listing(Listing(instrument=id, venue="XETR", symbol=f"L{n}"), source="a")
    return home


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with Registry.open(home, durability="relaxed") as registry:
        yield registry


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ROWS_MIN", 2_048)  # as users have it
    monkeypatch.setattr(helpers, "WORK_MIN", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(helpers, "_LOOK_S", 0.01)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """View and first offset of each fold of a block in this process into a table that is built."""
    found: list[tuple[str, int]] = []
    real = folding.fold_block

    def noted(view: Any, writer: TableWriter, block: Block, start: int, *more: Any) -> None:
        found.append((view.schema.name, start))
        real(view, writer, block, start, *more)

    monkeypatch.setattr("alphapulse.projections.engine.fold_block", noted)
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every helper."""
    found: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **named: Any) -> subprocess.Popen[bytes]:
        found.append(subprocess.Popen(*arguments, **named))
        return found[-1]

    module = type("module", (), dict(vars(subprocess), Popen=staticmethod(start)))
    monkeypatch.setattr(helpers, "subprocess", module)
    return found


def files(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "views").iterdir())


def offsets(folded: list[tuple[str, int]], view: str) -> list[int]:
    return [start for name, start in folded if name == view]


def instead(monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Helpers run this first."""
    monkeypatch.setattr(helpers, "_CHILD", f"{before}\n{helpers._CHILD}")


SLEEPS = "import time; time.sleep(600)"


@pytest.mark.parametrize("check", [True, False])
def test_a_helper_does_its_share(
    registry: Registry, folded: list[tuple[str, int]], check: bool
) -> None:
    seen: list[tuple[str, int, int]] = []
    results = registry.rebuild(check=check, progress=lambda *each: seen.append(each))
    head = registry.log.head
    assert [(each.view, each.equal, each.events) for each in results] == [
        (name, True, head) for name in NAMES
    ]
    assert {name for name, _ in folded} == {"instruments"}, "all others are folded by the helper"
    assert len(folded) == len(list(registry.log.blocks()))
    assert {name for name, done, of in seen if done == of == head} == set(NAMES)
    for name in NAMES:
        told = [done for view, done, _ in seen if view == name]
        assert told == sorted(told)


def test_what_it_built_is_written_on(registry: Registry, folded: list[tuple[str, int]]) -> None:
    registry.rebuild()
    id = registry.register(token(7_001)).id
    registry.add_listing(Listing(instrument=id, venue="XETR", symbol="L1"), source="a")
    assert len(registry.listings(id)) == 1
    assert all(each.equal for each in registry.rebuild(check=True))


def test_the_first_open_without_views_is_helped(home: Path, folded: list[tuple[str, int]]) -> None:
    for path in (home / "views").iterdir():
        path.unlink()
    with Registry.open(home, durability="relaxed") as registry:
        assert sorted(registry.views.rebuilt) == sorted(NAMES)
        assert {name for name, _ in folded} == {"instruments"}
        assert {each.lag_events for each in registry.views.states().values()} == {0}
        assert all(each.equal for each in registry.rebuild(check=True))


KILLED = """
import os, signal
from alphapulse.projections.table import TableWriter
real, left = TableWriter.{where}, [{count}]
def dies(*arguments, **named):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)
TableWriter.{where} = dies
"""


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("begin", 1), ("insert_all", 1), ("insert_all", 60), ("link_all", 3), ("link_all", 250),
        ("finish", 50),
    ],
)
def test_a_killed_helper_costs_only_time(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, folded: list[tuple[str, int]],
    started: list[subprocess.Popen[bytes]], where: str, count: int,
) -> None:  # fmt: skip
    instead(monkeypatch, KILLED.format(where=where, count=count))
    assert all(each.equal for each in registry.rebuild(check=True))
    assert [each.returncode for each in started] == [-signal.SIGKILL]
    mine = offsets(folded, "listings")
    assert mine, "the rest is folded here"
    assert min(mine) > 0, "and nothing that it finished"
    assert all(each.equal for each in registry.rebuild())


def test_a_helper_without_room_leaves_it_to_the_engine(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, folded: list[tuple[str, int]]
) -> None:
    """The requests are built small, since hardly any event has an id; here each token has."""
    monkeypatch.setattr(engine, "ROWS_MIN", 16)
    kept = files(registry.log.home.path)
    assert all(each.equal for each in registry.rebuild(check=True))
    mine = offsets(folded, "requests")
    assert min(mine) > 0
    assert offsets(folded, "listings") == []
    assert files(registry.log.home.path) == kept
    assert registry.views.states()["requests"].rows == TOKENS


def test_the_log_grows_meanwhile(registry: Registry, folded: list[tuple[str, int]]) -> None:
    more = iter([[token(n) for n in range(8_000, 8_300)]])

    def meanwhile(view: str, done: int, total: int) -> None:
        for batch in more:
            registry.register_many(batch)

    head = registry.log.head
    assert all(each.equal for each in registry.rebuild(progress=meanwhile))
    # The live view took the batch in its commit; the built one when all else was done.
    assert offsets(folded, "listings") == [head, head]
    assert all(each.equal for each in registry.rebuild(check=True))


def test_a_stuck_helper_is_ended(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    instead(monkeypatch, SLEEPS)
    monkeypatch.setattr(helpers, "STALLED_S", 0.1)
    assert all(each.equal for each in registry.rebuild(check=True))
    assert [each.returncode for each in started] == [-signal.SIGKILL]


def test_a_refused_process_is_no_error(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, folded: list[tuple[str, int]]
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert all(each.equal for each in registry.rebuild(check=True))
    assert {name for name, _ in folded} == set(NAMES)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Corrupt("folding")])
@pytest.mark.parametrize("waiting", [False, True])
def test_an_interrupted_engine_leaves_no_process_and_no_file(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]],
    waiting: bool, error: BaseException,
) -> None:  # fmt: skip
    """Among its own blocks, or when they are done and only the helper is waited for."""
    instead(monkeypatch, SLEEPS)
    kept = files(registry.log.home.path)
    own_done = [False]

    def interrupt(view: str, done: int, of: int) -> None:
        if not waiting or own_done[0]:
            raise error
        own_done[0] = view == "instruments" and done == of

    with pytest.raises(type(error)):
        registry.rebuild(progress=interrupt)
    assert [each.returncode for each in started] == [-signal.SIGKILL]
    assert files(registry.log.home.path) == kept
    monkeypatch.undo()
    assert all(each.equal for each in registry.rebuild(check=True))


DIES_WITH_A_HELPER = """
import os, signal, sys, time
from alphapulse.projections import helpers
from alphapulse.registry import Registry
helpers.WORK_MIN = 1
os.sched_getaffinity = lambda pid: {0, 1}
helpers._CHILD = sys.argv[2] + helpers._CHILD
real = helpers.Helpers.wait
def dies(self, tell):
    print(self.children[0].pid, flush=True)
    while min(self.applied()) == 0:
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)
helpers.Helpers.wait = dies
with Registry.open(sys.argv[1], durability="relaxed") as registry:
    registry.rebuild()
"""
SLOWLY = """
import time
from alphapulse.projections import helpers
real = helpers.fold_block
def slowly(*arguments):
    time.sleep(0.05)
    real(*arguments)
helpers.fold_block = slowly
"""


def test_a_helper_does_not_outlive_its_engine(home: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DIES_WITH_A_HELPER, home, SLOWLY], capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid = int(ended.stdout)
    deadline = time.monotonic() + 15
    while start_time(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not start_time(pid), "left to itself it would go on for half a minute"
    with Registry.open(home, durability="relaxed") as registry:
        assert all(each.equal for each in registry.rebuild())


def _swept(path: Path) -> None:
    path.unlink()


def _replaced(path: Path) -> None:
    """As by another process that took the same name after the first was swept away."""
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(path.with_name("elsewhere").read_bytes())


@pytest.mark.parametrize("happens", [_swept, _replaced, None])
def test_only_a_file_that_is_still_the_engines_is_written(
    home: Path, tmp_path: Path, happens: Callable[[Path], None] | None
) -> None:
    view, path = VIEWS[0], tmp_path / "instruments.9"
    with EventLog.open(home, mode="r") as log, Table.create(
        path, view.schema, log_id=log.genesis.log_id, generation=9, rows=2_000, boot_id=bytes(16),
        postings_per_row=view.links_per_event[0],
    ) as made:  # fmt: skip
        inode = path.stat().st_ino
        writer = TableWriter.open(path, view.schema, log.genesis.log_id, boot_id=bytes(16))
        if happens is not None:
            happens(path)
        with writer:
            tables = [helpers._Table(view, writer, inode)]
            helpers._fold(log, tables, log.head, os.getppid())
        assert made.applied == (0 if happens else log.head)


def test_work_is_shared_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    def split(*sizes: int) -> list[list[int]]:
        work = [Work(None, size, 0) for size in sizes]  # type: ignore[arg-type]  # not looked at
        return [[each.size for each in share] for share in shares(work)]

    monkeypatch.setattr(helpers, "WORK_MIN", 100)
    assert split() == [[]]
    assert split(900, 99) == [[900, 99]]
    assert split(500, 900, 0, 99) == [[900], [500, 99, 0]]
    assert split(100, 900, 0, 700) == [[900], [700, 100, 0]]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert split(100, 900, 5, 700) == [[900], [700], [100, 5]]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert split(900, 900) == [[900, 900]]
